//! Imports real squashfs files and tarballs, with the real tools, loop devices and mounts. Needs root; says so and passes
//! where it cannot run.

mod scratch;

use cloudbox::error::{Code, Error};
use cloudbox::model::image::Init;
use cloudbox::model::name::ImageName;
use cloudbox::model::size::Bytes;
use cloudbox::steps::ctx::{Cancel, Ctx, Update};
use cloudbox::steps::image::{Images, Store};
use cloudbox::steps::outside::HostFile;
use cloudbox::steps::tool::Tool;
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A box of its own: inputs, storage and runtime directory in a temporary directory, removed with its mounts.
struct Bench {
    base: PathBuf,
    store: Arc<Store>,
}

impl Bench {
    /// None, with a line that says why, where the test cannot run.
    fn new(what: &str) -> Option<Bench> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: {what} needs root");
            return None;
        }
        for tool in ["mksquashfs", "tar", "gzip", "xz", "zstd", "busybox"] {
            if let Err(e) = Tool::find(tool) {
                println!("skipped: {what}: {}", e.message);
                return None;
            }
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("cloudbox-import-{}-{serial}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let base = base.canonicalize().unwrap();
        let store = Arc::new(Store::new(&base.join("storage"), &base.join("run"), Bytes(1 << 20)));
        store.clean().unwrap();
        Some(Bench { base, store })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn sh(&self, script: &str) {
        let output = Command::new("/bin/sh").arg("-ec").arg(script).current_dir(&self.base).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A root filesystem of busybox, in every format.
    fn inputs(&self) {
        let root = self.path("root");
        for directory in ["bin", "sbin", "etc", "usr/share/cloudbox", "dev", "tmp"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy(Tool::find("busybox").unwrap(), root.join("bin/busybox")).unwrap();
        symlink("/bin/busybox", root.join("sbin/init")).unwrap();
        fs::hard_link(root.join("bin/busybox"), root.join("bin/sh")).unwrap();
        fs::write(root.join("etc/os-release"), "ID=tiny\nVERSION_ID=\"1.0\"\n").unwrap();
        fs::write(root.join("usr/share/cloudbox/image.json"), r#"{"name":"tiny","version":"7"}"#).unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        self.sh("mknod root/dev/null c 1 3; chown 12:34 root/etc/os-release
                 mksquashfs root image.squashfs -quiet -no-progress >/dev/null
                 tar -C root -cf image.tar .
                 gzip -k image.tar; xz -k -0 image.tar; zstd -q -k image.tar");
    }

    fn import(&self, file: &str, name: &str) -> Result<cloudbox::model::image::Image, Error> {
        self.store.import(
            &Ctx::silent().unwrap(),
            &HostFile::own(&self.path(file)),
            &ImageName::new(name).unwrap(),
            None,
        )
    }

    /// All there is in the store: files, mounts and loop devices.
    fn snapshot(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for directory in ["storage", "run"] {
            walk(&self.path(directory), &mut all);
        }
        let base = self.base.to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.extend(mounts.lines().filter(|l| l.contains(base)).map(String::from));
        for device in fs::read_dir("/sys/block").unwrap().flatten() {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if backing.contains(base) {
                all.insert(format!("loop {}", backing.trim()));
            }
        }
        all
    }

    /// Fails unless the store is as it was; the kernel may take a moment to free a loop device.
    fn assert_as(&self, before: &BTreeSet<String>, what: &str) {
        let begun = Instant::now();
        loop {
            let now = self.snapshot();
            if now == *before {
                return;
            }
            if begun.elapsed() > Duration::from_secs(10) {
                panic!("{what} left {:?}", now.symmetric_difference(before).collect::<Vec<_>>());
            }
            std::thread::yield_now();
        }
    }

    /// Imports what must be refused, and leave nothing.
    fn refused(&self, file: &str, code: Code, why: &str) {
        let before = self.snapshot();
        match self.import(file, "refused") {
            Ok(image) => panic!("{file} was imported: {image:?}"),
            Err(e) => {
                assert_eq!(e.code, code, "{file}: {}", e.message);
                assert!(e.message.contains(why), "{file}: {}", e.message);
                assert!(e.message.contains(file), "the file is named: {}", e.message);
                assert!(!e.message.contains("cleaning up"), "{}", e.message);
            }
        }
        self.assert_as(&before, file);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        scratch::remove(&self.base);
    }
}

fn walk(directory: &Path, all: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let data = entry.metadata().unwrap();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // Directories that every import makes first are no leftovers.
        let skeleton = ["images", "names"].iter().any(|n| entry.file_name() == *n);
        if !(data.is_dir() && skeleton) {
            let size = if data.is_dir() { 0 } else { data.len() };
            all.insert(format!("{} {size} {}", entry.path().display(), target.display()));
        }
        if data.is_dir() {
            walk(&entry.path(), all);
        }
    }
}

fn sha256sum(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_string()
}

#[test]
fn every_format_is_imported_mounted_and_deleted() {
    let Some(bench) = Bench::new("import of every format") else { return };
    bench.inputs();
    let empty = bench.snapshot();
    for file in ["image.squashfs", "image.tar", "image.tar.gz", "image.tar.xz", "image.tar.zst"] {
        let image = bench.import(file, "tiny").unwrap_or_else(|e| panic!("{file}: {e}"));
        let manifest = &image.manifest;
        assert_eq!(manifest.sha256, sha256sum(&bench.path(file)), "{file}");
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("tiny", "7"));
        assert_eq!((manifest.os.as_str(), manifest.release.as_str()), ("tiny", "1.0"));
        assert_eq!(manifest.init, Init::Busybox);
        assert_eq!(manifest.arch, nix::sys::utsname::uname().unwrap().machine().to_str().unwrap());
        assert_eq!(bench.store.find("tiny").unwrap(), image);
        assert_eq!(bench.store.find(&manifest.sha256[..12]).unwrap(), image);

        let root = bench.store.mount(&manifest.sha256).unwrap();
        assert_eq!(bench.store.mount(&manifest.sha256).unwrap(), root);
        assert_eq!(bench.store.mounted().unwrap(), std::slice::from_ref(&manifest.sha256));
        let root_data = root.metadata().unwrap();
        assert_eq!(root_data.mode() & 0o7777, 0o755, "{file}: the root directory");
        assert_eq!((root_data.uid(), root_data.gid()), (0, 0), "{file}");
        assert_eq!(root.join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777, "{file}");
        let release = root.join("etc/os-release").metadata().unwrap();
        assert_eq!((release.uid(), release.gid()), (12, 34), "{file}");
        assert_eq!(root.join("bin/sh").metadata().unwrap().nlink(), 2, "{file}: the hard link");
        assert_eq!(
            fs::read(root.join("bin/busybox")).unwrap(),
            fs::read(bench.path("root/bin/busybox")).unwrap(),
            "{file}"
        );
        assert!(fs::write(root.join("x"), "").is_err(), "read-only");
        assert!(fs::File::open(root.join("dev/null")).is_err(), "no devices");

        let open = fs::File::open(root.join("etc/os-release")).unwrap();
        assert_eq!(bench.store.unmount(&manifest.sha256).unwrap_err().code, Code::InUse);
        assert_eq!(bench.store.delete(&Ctx::silent().unwrap(), &image).unwrap_err().code, Code::InUse);
        assert_eq!(bench.store.find("tiny").unwrap(), image, "a refused delete changes nothing");
        drop(open);
        bench.store.delete(&Ctx::silent().unwrap(), &image).unwrap();
        assert_eq!(bench.store.find("tiny").unwrap_err().code, Code::NotFound);
        assert_eq!(bench.store.delete(&Ctx::silent().unwrap(), &image).unwrap_err().code, Code::NotFound);
        bench.assert_as(&empty, file);
    }
}

#[test]
fn names_move_and_content_is_kept_once() {
    let Some(bench) = Bench::new("names") else { return };
    bench.inputs();
    let first = bench.import("image.squashfs", "a").unwrap();
    let again = bench.import("image.squashfs", "b").unwrap();
    assert_eq!(again.manifest.sha256, first.manifest.sha256);
    assert_eq!(again.names.iter().map(ImageName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    bench.import("image.squashfs", "a").unwrap();
    let begun = Instant::now();
    let tar = bench.import("image.tar.xz", "a").unwrap();
    let converted = begun.elapsed();
    let names = |sha: &str| bench.store.find(sha).unwrap().names.len();
    assert_eq!((names(&first.manifest.sha256), names(&tar.manifest.sha256)), (1, 1));
    bench.import("image.tar.xz", "b").unwrap();
    println!("a tarball converted in {converted:?}, known in {:?}", begun.elapsed() - converted);
    assert_eq!((names(&first.manifest.sha256), names(&tar.manifest.sha256)), (0, 2));
    assert_eq!(bench.store.list().unwrap().len(), 2);
    assert_eq!(bench.store.find("b").unwrap().manifest, tar.manifest, "not imported again");

    // A damaged image is not listed; importing its file again repairs it.
    let rootfs = bench.path("storage/images").join(&tar.manifest.sha256).join("rootfs.squashfs");
    fs::write(&rootfs, "short").unwrap();
    assert_eq!(bench.store.list().unwrap().len(), 1);
    assert_eq!(bench.store.mount(&tar.manifest.sha256).unwrap_err().code, Code::BadImage);
    bench.import("image.tar.xz", "b").unwrap();
    bench.store.mount(&tar.manifest.sha256).unwrap();
}

#[test]
fn the_store_is_for_root_alone() {
    let Some(bench) = Bench::new("modes") else { return };
    bench.inputs();
    let image = bench.import("image.tar", "a").unwrap();
    bench.store.mount(&image.manifest.sha256).unwrap();
    let mode = |path: &str| bench.path(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("storage"), mode("run")), (0o711, 0o711), "containers' processes walk through");
    for private in ["storage/images", "storage/images/names", "run/images"] {
        assert_eq!(mode(private), 0o700, "{private}");
    }
    let place = format!("storage/images/{}", image.manifest.sha256);
    assert_eq!(mode(&place), 0o700);
    for file in ["rootfs.squashfs", "manifest.json"] {
        assert_eq!(mode(&format!("{place}/{file}")), 0o600, "{file}");
    }
}

#[test]
fn threads_that_mount_at_once_share_one_mount() {
    let Some(bench) = Bench::new("concurrent mounts") else { return };
    bench.inputs();
    let sha256 = bench.import("image.squashfs", "a").unwrap().manifest.sha256;
    for _ in 0..5 {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (store, sha256) = (bench.store.clone(), sha256.clone());
                std::thread::spawn(move || store.mount(&sha256).unwrap())
            })
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap().join("etc/os-release").exists());
        }
        let mounts = bench.snapshot().iter().filter(|l| l.contains(" - squashfs ")).count();
        assert_eq!(mounts, 1);
        bench.store.unmount(&sha256).unwrap();
        bench.store.unmount(&sha256).unwrap();
    }
    assert_eq!(bench.store.mount(&"0".repeat(64)).unwrap_err().code, Code::NotFound);
    assert_eq!(bench.store.mount("../names").unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn imports_of_the_same_file_at_once_agree() {
    let Some(bench) = Bench::new("concurrent imports") else { return };
    bench.inputs();
    for file in ["image.squashfs", "image.tar.gz"] {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let bench = &bench;
                scope.spawn(move || bench.import(file, name).unwrap());
            }
        });
        assert_eq!(bench.store.find("b").unwrap().names.len(), 3, "{file}");
    }
    assert_eq!(bench.store.list().unwrap().len(), 2);
    assert!(!bench.snapshot().iter().any(|l| l.contains("/.")), "nothing hidden is left");
}

#[test]
fn files_that_are_no_image_are_refused() {
    let Some(bench) = Bench::new("bad files") else { return };
    bench.inputs();
    bench.import("image.squashfs", "good").unwrap();
    bench.sh("mkfifo fifo; mkdir directory; ln -s directory linked; : > empty; ln -s image.nowhere dangling
              head -c 100000 /dev/urandom > random; printf hsqs > magic; head -c 5000 /dev/zero > zeros
              printf 'just text, and more of it than one line\n' > text");
    for (file, code, why) in [
        ("fifo", Code::InvalidArgument, "no regular file"),
        ("directory", Code::InvalidArgument, "no regular file"),
        ("linked", Code::InvalidArgument, "no regular file"),
        ("missing", Code::NotFound, "no such file"),
        ("dangling", Code::NotFound, "no such file"),
        ("empty", Code::BadImage, "it is empty"),
        ("random", Code::BadImage, "neither a squashfs nor a tar"),
        ("zeros", Code::BadImage, "neither a squashfs nor a tar"),
        ("text", Code::BadImage, "neither a squashfs nor a tar"),
        ("magic", Code::BadImage, "truncated"),
    ] {
        bench.refused(file, code, why);
    }
    let name = ImageName::new("refused").unwrap();
    for path in ["image.squashfs", "./image.squashfs", ""] {
        let error = bench
            .store
            .import(&Ctx::silent().unwrap(), &HostFile::own(Path::new(path)), &name, None)
            .unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{path}");
    }
    let error = bench
        .store
        .import(&Ctx::silent().unwrap(), &HostFile::own(Path::new("/dev/null")), &name, None)
        .unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
}

#[test]
fn damaged_squashfs_files_are_refused() {
    let Some(bench) = Bench::new("damaged squashfs") else { return };
    bench.inputs();
    let whole = fs::read(bench.path("image.squashfs")).unwrap();
    let used = u64::from_le_bytes(whole[40..48].try_into().unwrap()) as usize;
    for length in [1, 4, 95, 96, 512, 4096, used / 2, used - 1] {
        let file = format!("cut-{length}");
        fs::write(bench.path(&file), &whole[..length]).unwrap();
        let why = if length < 4 { "neither" } else { "truncated" };
        bench.refused(&file, Code::BadImage, why);
    }
    let change = |file: &str, at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(bench.path(file), changed).unwrap();
    };
    change("version", 28, &[3]);
    bench.refused("version", Code::BadImage, "version 3.0");
    change("compressor", 20, &[99]);
    bench.refused("compressor", Code::BadImage, "number 99");
    // Whole, but packed with what no kernel reads; one that ours reads is named.
    change("lzma", 20, &[2]);
    bench.refused(
        "lzma",
        Code::BadImage,
        "it is packed with lzma, which this kernel does not read; repack it with ",
    );
    change("lying-length", 40, &8192_u64.to_le_bytes());
    bench.refused("lying-length", Code::BadImage, "the kernel refuses the squashfs");
    change("block-size", 12, &[7; 4]);
    bench.refused("block-size", Code::BadImage, "the kernel refuses the squashfs: Invalid argument");
    change("metadata", used - 700, &[0x55; 700]);
    bench.refused("metadata", Code::BadImage, "the kernel refuses");
    // Whole to the last byte, though not to a block: the loop device must show all of it.
    fs::write(bench.path("unpadded"), &whole[..used]).unwrap();
    bench.import("unpadded", "unpadded").unwrap();
}

#[test]
fn images_that_could_not_start_are_refused() {
    let Some(bench) = Bench::new("unusable roots") else { return };
    bench.inputs();
    bench.sh("mkdir -p bare/etc foreign/sbin
              mksquashfs bare bare.squashfs -quiet -no-progress >/dev/null
              tar -C bare -cf bare.tar .
              printf '\\177ELF\\002\\001\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\026\\000' > foreign/sbin/init
              tar -C foreign -cf foreign.tar .");
    bench.refused("bare.squashfs", Code::BadImage, "it has no /sbin/init");
    bench.refused("bare.tar", Code::BadImage, "it has no /sbin/init");
    bench.refused("foreign.tar", Code::BadImage, "it is for s390x, this box is");
}

#[test]
fn evil_and_damaged_tarballs_are_refused() {
    let Some(bench) = Bench::new("bad tarballs") else { return };
    bench.inputs();
    // The evil entry comes last, when mksquashfs is well under way.
    bench.sh("cp image.tar up.tar; tar -rf up.tar --transform='s,^text$,../../evil,' -P text 2>/dev/null || {
                  echo evil > text; tar -rf up.tar --transform='s,^text$,../../evil,' -P text; }
              echo evil > text
              cp image.tar abs.tar; tar -rf abs.tar --transform='s,^text$,/etc/evil,' -P text
              ln text text2; cp image.tar link.tar; tar -rf link.tar -P --transform='flags=h;s,text,/etc/shadow,' text text2
              mkdir devices; mknod devices/sda b 8 0; cp image.tar dev.tar; tar -rf dev.tar devices
              truncate -s 1M sparse; cp image.tar sparse.tar; tar --format=gnu -S -rf sparse.tar sparse");
    for (file, why) in [
        ("up.tar", "\"../../evil\", contains '..'"),
        ("abs.tar", "\"/etc/evil\", is absolute"),
        ("link.tar", "the target of its hard link, \"/etc/shadow\", is absolute"),
        ("dev.tar", "\"devices/sda\" is a device node (8:0)"),
        ("sparse.tar", "sparse"),
    ] {
        bench.refused(file, Code::BadImage, why);
        bench.sh(&format!("gzip -1 -k {file}"));
        bench.refused(&format!("{file}.gz"), Code::BadImage, why);
    }
    for (file, lengths) in [
        ("image.tar", vec![512, 1500, 100_000, 1_000_448]),
        ("image.tar.gz", vec![18, 1000, 300_000]),
        ("image.tar.xz", vec![20, 1000, 300_000]),
        ("image.tar.zst", vec![8, 1000, 300_000]),
    ] {
        let whole = fs::read(bench.path(file)).unwrap();
        for length in lengths.into_iter().chain([whole.len() / 2]) {
            let cut = format!("cut-{length}-{file}");
            fs::write(bench.path(&cut), &whole[..length]).unwrap();
            let why = if file == "image.tar" { "truncated" } else { "cannot be unpacked" };
            bench.refused(&cut, Code::BadImage, why);
        }
    }
    for (file, cut) in [("image.tar.gz", "crc.gz"), ("image.tar.xz", "crc.xz"), ("image.tar.zst", "crc.zst")]
    {
        let mut changed = fs::read(bench.path(file)).unwrap();
        let middle = changed.len() / 2;
        changed[middle] ^= 0xff;
        fs::write(bench.path(cut), changed).unwrap();
        let error = bench.import(cut, "refused").unwrap_err();
        assert_eq!(error.code, Code::BadImage, "{cut}: {}", error.message);
    }
    bench.sh("head -c 100000 /dev/urandom | gzip > garbage.gz; echo text | xz > text.xz
              cat image.tar.gz > trailing.gz; echo trailing >> trailing.gz
              cat image.tar image.tar > twice.tar");
    bench.refused("garbage.gz", Code::BadImage, "wrong checksum");
    bench.refused("text.xz", Code::BadImage, "truncated");
    bench.refused("trailing.gz", Code::BadImage, "cannot be unpacked");
    bench.refused("twice.tar", Code::BadImage, "behind the end");
}

#[test]
fn what_is_appended_to_a_tarball_replaces_what_was_there() {
    let Some(bench) = Bench::new("appended entries") else { return };
    bench.inputs();
    // A newer file, and a link in the place of a directory with something in it.
    bench.sh("mkdir -p root/var/old newer/etc; echo old > root/var/old/file; echo first > root/etc/hosts
              echo second > newer/etc/hosts; ln -s tmp newer/var
              tar -C root -cf appended.tar .; tar -C newer -rf appended.tar ./etc/hosts ./var; gzip -k appended.tar");
    bench.sh("tar -C root -V label -cf labelled.tar .");
    bench.import("labelled.tar", "labelled").unwrap();
    for file in ["appended.tar", "appended.tar.gz"] {
        let image = bench.import(file, "appended").unwrap_or_else(|e| panic!("{file}: {e}"));
        let root = bench.store.mount(&image.manifest.sha256).unwrap();
        assert_eq!(fs::read_to_string(root.join("etc/hosts")).unwrap(), "second\n");
        assert_eq!(fs::read_link(root.join("var")).unwrap(), Path::new("tmp"));
        assert_eq!(root.join("bin/sh").metadata().unwrap().nlink(), 2, "{file}: the hard link");
        assert_eq!(root.join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
        bench.store.unmount(&image.manifest.sha256).unwrap();
    }
}

/// The notes of an import of `file`.
fn notes(bench: &Bench, file: &str) -> Vec<String> {
    let notes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = notes.clone();
    let ctx = Ctx::new(Cancel::new().unwrap(), move |update| {
        if let Update::Note(note) = update {
            heard.lock().unwrap().push(note);
        }
    });
    let (file, name) = (HostFile::own(&bench.path(file)), ImageName::new("noted").unwrap());
    bench.store.import(&ctx, &file, &name, None).unwrap();
    let notes = notes.lock().unwrap().clone();
    notes
}

#[test]
fn what_an_image_cannot_hold_is_told() {
    let Some(bench) = Bench::new("access lists") else { return };
    bench.inputs();
    assert_eq!(notes(&bench, "image.tar"), Vec::<String>::new());
    // As `tar --acls --xattrs` writes them: an access list, and two attributes of which one is kept.
    let list: &[u8] = b"user::rw-\nuser:1000:rw-\ngroup::r--\nmask::rw-\nother::r--\n";
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", bench.path("root")).unwrap();
    let records = [
        ("SCHILY.acl.access", list),
        ("SCHILY.xattr.user.kept", b"yes"),
        ("SCHILY.xattr.system.other", b"no"),
    ];
    archive.append_pax_extensions(records).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/listed", &b""[..]).unwrap();
    fs::write(bench.path("listed.tar"), archive.into_inner().unwrap()).unwrap();
    let told = notes(&bench, "listed.tar");
    assert_eq!(
        told,
        ["1 access list (ACL) and 1 other extended attribute left out: an image cannot hold them"]
    );
}

#[test]
fn the_sha256_is_checked() {
    let Some(bench) = Bench::new("sha256") else { return };
    bench.inputs();
    let name = ImageName::new("a").unwrap();
    let ctx = Ctx::silent().unwrap();
    let before = bench.snapshot();
    for file in ["image.squashfs", "image.tar.zst"] {
        let path = bench.path(file);
        let right = sha256sum(&path);
        for malformed in ["", "abc", &right[1..], &"x".repeat(64)] {
            let error = bench.store.import(&ctx, &HostFile::own(&path), &name, Some(malformed)).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{malformed}");
        }
        let wrong = "0".repeat(64);
        let error = bench.store.import(&ctx, &HostFile::own(&path), &name, Some(&wrong)).unwrap_err();
        assert_eq!(error.code, Code::Checksum);
        assert!(error.message.contains(&wrong) && error.message.contains(&right), "{}", error.message);
        bench.assert_as(&before, file);
    }
    for file in ["image.squashfs", "image.tar.zst"] {
        let path = bench.path(file);
        let right = sha256sum(&path).to_uppercase();
        bench.store.import(&ctx, &HostFile::own(&path), &name, Some(&right)).unwrap();
    }
}

/// Fills a small disk below the storage.
fn small_disk(bench: &Bench, megabytes: u32) {
    let storage = bench.path("storage");
    fs::create_dir_all(&storage).unwrap();
    let size = format!("size={megabytes}m,mode=711");
    mount(Some("none"), &storage, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
}

#[test]
fn a_full_disk_is_said_before_and_survived_in_the_middle() {
    let Some(bench) = Bench::new("full disk") else { return };
    bench.inputs();
    bench.sh("head -c 200000000 /dev/zero | gzip > bomb; mkdir bombed; cp -r root/. bombed/
              truncate -s 300M bombed/zeros; tar -C bombed -czf bomb.tar.gz .
              head -c 5000000 /dev/urandom > root/random; tar -C root -cf large.tar .
              mksquashfs root large.squashfs -quiet -no-progress >/dev/null");
    small_disk(&bench, 4);
    let before = bench.snapshot();
    for (file, why) in [
        ("large.squashfs", "the image needs 5"),
        ("large.tar", "unpacks to more than there is room for"),
        ("bomb.tar.gz", "unpacks to more than there is room for"),
    ] {
        let error = bench.import(file, "a").unwrap_err();
        assert_eq!(error.code, Code::NoSpace, "{file}: {}", error.message);
        assert!(
            error.message.contains(why) && error.message.contains("1M kept for the box"),
            "{}",
            error.message
        );
        bench.assert_as(&before, file);
    }
    umount2(&bench.path("storage"), MntFlags::empty()).unwrap();
    small_disk(&bench, 30);
    let before = bench.snapshot();
    for (file, step) in [("large.squashfs", "image.copy"), ("large.tar", "image.convert")] {
        // Somebody else fills the disk once the check has passed.
        let filler = bench.path("storage/filler");
        let fill = filler.clone();
        let ctx = Ctx::new(Cancel::new().unwrap(), move |update| {
            if update == Update::Step(step) {
                let mut zeros = std::io::repeat(1);
                let _ = std::io::copy(&mut zeros, &mut fs::File::create(&fill).unwrap());
                let length = fill.metadata().unwrap().len();
                fs::File::options().write(true).open(&fill).unwrap().set_len(length - 100_000).unwrap();
            }
        });
        let error = bench
            .store
            .import(&ctx, &HostFile::own(&bench.path(file)), &ImageName::new("a").unwrap(), None)
            .unwrap_err();
        assert_eq!(error.code, Code::NoSpace, "{file}: {}", error.message);
        fs::remove_file(&filler).unwrap();
        bench.assert_as(&before, file);
    }
    bench.import("large.tar", "a").unwrap();
}

#[test]
fn a_cancelled_import_leaves_nothing() {
    let Some(bench) = Bench::new("cancel") else { return };
    bench.inputs();
    bench.sh("head -c 6000000 /dev/urandom > root/random; tar -C root -cf large.tar .; gzip -1 -k large.tar
              zstd -q -k large.tar; mksquashfs root large.squashfs -quiet -no-progress >/dev/null");
    let before = bench.snapshot();
    for file in ["large.squashfs", "large.tar", "large.tar.gz", "large.tar.zst"] {
        for step in ["image.check", "image.copy", "image.convert", "image.probe", "image.store"] {
            let cancel = Cancel::new().unwrap();
            let asked = cancel.clone();
            let now = std::sync::Mutex::new("");
            let ctx = Ctx::new(cancel, move |update| {
                let mut now = now.lock().unwrap();
                match update {
                    Update::Step(name) => *now = name,
                    Update::Bytes { .. } | Update::Note(_) | Update::Runs => {}
                }
                // Steps that read are left in the middle, the others at their beginning.
                let reads = matches!(*now, "image.copy" | "image.convert");
                let middle = matches!(update, Update::Bytes { done, .. } if done > 2_000_000);
                if *now == step && (middle || !reads) {
                    asked.cancel();
                }
            });
            let imported = bench.store.import(
                &ctx,
                &HostFile::own(&bench.path(file)),
                &ImageName::new("a").unwrap(),
                None,
            );
            match imported {
                Err(e) => assert_eq!(e.code, Code::Cancelled, "{file} {step}: {}", e.message),
                // A squashfs is not converted, a tar not copied; and what is stored is stored.
                Ok(image) => {
                    assert!(ctx.cancel.check().is_ok() || step == "image.store", "{file} {step}");
                    bench.store.delete(&Ctx::silent().unwrap(), &image).unwrap();
                }
            }
            bench.assert_as(&before, &format!("{file} cancelled at {step}"));
        }
    }
}

#[test]
fn a_file_that_grows_meanwhile_is_refused() {
    let Some(bench) = Bench::new("growing file") else { return };
    bench.inputs();
    let before = bench.snapshot();
    for (file, step) in [("image.squashfs", "image.copy"), ("image.tar", "image.convert")] {
        let path = bench.path(file);
        let grown = path.clone();
        let ctx = Ctx::new(Cancel::new().unwrap(), move |update| {
            if update == Update::Step(step) {
                let length = grown.metadata().unwrap().len();
                fs::File::options().write(true).open(&grown).unwrap().set_len(length + 4096).unwrap();
            }
        });
        let error =
            bench.store.import(&ctx, &HostFile::own(&path), &ImageName::new("a").unwrap(), None).unwrap_err();
        assert_eq!(error.code, Code::BadImage, "{file}");
        assert!(error.message.contains("it grew"), "{}", error.message);
        bench.assert_as(&before, file);
    }
}

#[test]
fn what_a_crash_left_is_cleaned() {
    let Some(bench) = Bench::new("clean") else { return };
    bench.inputs();
    let image = bench.import("image.squashfs", "good").unwrap();
    bench.store.mount(&image.manifest.sha256).unwrap();
    let before = bench.snapshot();
    bench.sh(
        "cd storage/images; mkdir .new-1-1 .gone-1-2; echo x > .new-1-1/rootfs.squashfs; echo x > .gone-1-2/x
              ln -s ../nowhere names/.new-1-3; ln -s ../0000 names/dangling
              mkdir ../../run/images/.new-1-4 ../../run/images/.new-1-5
              mount -o loop,ro ../../image.squashfs ../../run/images/.new-1-4",
    );
    assert_eq!(bench.store.list().unwrap().len(), 1);
    bench.store.clean().unwrap();
    bench.assert_as(&before, "clean");
    bench.store.clean().unwrap();
}

/// The figures of the report: `CLOUDBOX_IMPORT_FILES` names files, separated by `:`.
#[test]
#[ignore = "a measurement"]
fn how_long_imports_take() {
    let Some(bench) = Bench::new("measurement") else { return };
    for file in
        std::env::var("CLOUDBOX_IMPORT_FILES").unwrap_or_default().split(':').filter(|f| !f.is_empty())
    {
        let begun = Instant::now();
        let image = bench
            .store
            .import(
                &Ctx::silent().unwrap(),
                &HostFile::own(Path::new(file)),
                &ImageName::new("measured").unwrap(),
                None,
            )
            .unwrap();
        println!("{file}: {:?}, {} on disk", begun.elapsed(), Bytes(image.manifest.size));
        let begun = Instant::now();
        bench.store.mount(&image.manifest.sha256).unwrap();
        println!("  mounted in {:?}", begun.elapsed());
        let begun = Instant::now();
        bench.store.mount(&image.manifest.sha256).unwrap();
        println!("  mounted already: {:?}", begun.elapsed());
    }
}
