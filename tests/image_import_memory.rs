//! An archive of very many names takes little of the daemon's memory. Alone in its process, whose memory is measured.

use cloudbox::model::name::ImageName;
use cloudbox::model::size::Bytes;
use cloudbox::steps::ctx::Ctx;
use cloudbox::steps::image::{Images, Store};
use cloudbox::steps::outside::HostFile;
use cloudbox::steps::tool::Tool;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// So many directories.
const NAMES: u32 = 300_000;
/// More of the daemon's memory than before. KiB.
const MOST: u64 = 8 << 10;

/// The most memory this process has had since the last time, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

/// An archive of that many directories, of which the first comes again as a file: it is read twice, with all its names.
fn write_archive(path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut entry = |kind, name: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
    };
    (0..NAMES)
        .for_each(|number| entry(tar::EntryType::Directory, &format!("{}/{}/", number / 500, number % 500)));
    entry(tar::EntryType::Regular, "0/0");
    file.write_all(&[0; 1024]).unwrap();
    file.flush().unwrap();
}

#[test]
fn very_many_names_are_no_matter_of_the_daemons_memory() {
    if !nix::unistd::geteuid().is_root() || Tool::find("mksquashfs").is_err() {
        return println!("skipped: it needs root and mksquashfs");
    }
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cloudbox-names-{}", std::process::id()));
    std::fs::create_dir_all(&base).unwrap();
    let store = Store::new(&base.join("storage"), &base.join("run"), Bytes(0));
    store.clean().unwrap();
    let path = base.join("many.tar");
    write_archive(&path);
    let import = || {
        let (ctx, name) = (Ctx::silent().unwrap(), ImageName::new("many").unwrap());
        store.import(&ctx, &HostFile::own(&path), &name, None)
    };
    peak();
    let before = peak();
    let error = import().unwrap_err();
    let grown = peak().saturating_sub(before);
    // That it was read to its end is what it says: there is no system in it.
    assert!(error.message.contains("init"), "{error}");
    println!("{NAMES} names: {grown} KiB more at most");
    assert!(grown < MOST, "{grown} KiB");
    std::fs::remove_dir_all(&base).unwrap();
}
