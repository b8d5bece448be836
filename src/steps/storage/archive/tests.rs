//! What is packed comes back; what is hostile, broken or changed does not.

use super::super::super::image::tar::{Plain, BEGIN, BLOCK};
use super::super::super::image::{hex, tar as image_tar};
use super::super::tests::{is_root, record};
use super::super::tree::tests::{fingerprint, make_layer, BASE};
use super::super::tree::Progress;
use super::*;
use crate::error::{Code, Result};
use crate::model::idrange::SIZE;
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use crate::steps::tool::Source;
use crate::steps::walk::{at, walk, Descent, Moved, What};
use crate::testing::TempDir;
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use tar::{EntryType, Header};

const OTHER: u32 = BASE + 5 * SIZE;

fn pack(dir: &Path, image: Option<&[u8]>) -> PathBuf {
    let path = dir.join("web.tar");
    let ctx = Ctx::silent().unwrap();
    let progress = &mut Progress::new(&ctx, None);
    let json = serde_json::to_vec_pretty(&record("web")).unwrap();
    let size = image.map_or(0, |image| image.len() as u64);
    let file = File::create(&path).unwrap();
    let mut writer = Writer::begin(file, &path, &json, size, 77, progress).unwrap();
    if let Some(image) = image {
        fs::write(dir.join("image"), image).unwrap();
        writer.image(&dir.join("image"), size).unwrap();
    }
    writer.layer(&dir.join("from"), BASE, &dir.join("links")).unwrap();
    writer.end().unwrap();
    path
}

fn unpack_at(path: &Path, to: &Path, left: u64) -> Result<()> {
    let ctx = Ctx::silent().unwrap();
    let file = &HostFile::own(path);
    let manifest = read_manifest(&ctx, file)?;
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    unpack(&ctx, file, &manifest, to, OTHER, left)
}

#[test]
fn what_is_unpacked_is_what_was_packed() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    make_layer(&dir.path().join("from"));
    let deep = dir.path().join("from").join(vec!["directory"; 60].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "deep").unwrap();
    fs::hard_link(deep.join("file"), dir.path().join("from/near")).unwrap();
    for path in [dir.path().join("from/directory"), deep] {
        std::os::unix::fs::chown(path, Some(BASE + 3), Some(BASE + 3)).unwrap();
    }
    for image in [None, Some(&[9; 1000][..])] {
        let path = pack(dir.path(), image);
        let manifest = read_manifest(&Ctx::silent().unwrap(), &HostFile::own(&path)).unwrap();
        assert_eq!((manifest.bytes, &manifest.record), (77, &record("web")));
        if let (Some(image), Some((at, size))) = (image, manifest.image) {
            let archive = fs::read(&path).unwrap();
            assert_eq!(&archive[at as usize..(at + size) as usize], image);
        }
        assert_eq!(manifest.image.is_some(), image.is_some());
        let to = dir.path().join("to");
        unpack_at(&path, &to, u64::MAX).unwrap();
        // Root's own directories on the way are root's in both.
        let owners = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| !line.contains("directory/directory")).collect()
        };
        let (packed, unpacked) =
            (owners(fingerprint(&dir.path().join("from"), BASE)), owners(fingerprint(&to, OTHER)));
        for (is, was) in unpacked.iter().zip(&packed) {
            assert_eq!(is, was);
        }
        assert_eq!(unpacked.len(), packed.len());
        assert!(fs::metadata(&path).unwrap().len() < 1 << 20, "a hole takes no room");
        assert!(fs::metadata(to.join("hole")).unwrap().blocks() * 512 < 1 << 20);
    }
}

#[test]
fn no_file_of_a_guests_takes_much_more_of_an_archive_than_of_its_disk() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    // Its pieces are as far from each other as the file system permits.
    let (pieces, apart) = (5000_u64, 400 << 20);
    let name = from.join("holes");
    let file = File::create_new(&name).unwrap();
    for piece in 0..pieces {
        file.write_all_at(b"data", piece * apart).unwrap();
    }
    file.set_len(pieces * apart).unwrap();
    let path = pack(dir.path(), None);
    assert!(fs::metadata(&path).unwrap().len() < pieces * 4096 + (1 << 20));
    let to = dir.path().join("to");
    unpack_at(&path, &to, u64::MAX).unwrap();
    let back = File::open(to.join("holes")).unwrap();
    assert_eq!(back.metadata().unwrap().len(), pieces * apart);
    let mut data = [0; 4];
    for piece in [0, 1, pieces - 1] {
        back.read_exact_at(&mut data, piece * apart).unwrap();
        assert_eq!(&data, b"data");
    }
}

struct FromFile(File);

impl Source for FromFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(io::Read::read(&mut self.0, buffer).unwrap())
    }
}

#[test]
fn containers_and_images_are_told_from_each_other() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    make_layer(&dir.path().join("from"));
    for image in [None, Some(&[9; 1000][..])] {
        let path = pack(dir.path(), image);
        let mut out = Nowhere;
        let passed = image_tar::pass(
            &mut FromFile(File::open(&path).unwrap()),
            &mut out,
            &image_tar::Known::default(),
        );
        let error = passed.unwrap_err();
        assert!(error.message.contains("`cloudbox import FILE NAME`"), "{error}");
    }
    let path = dir.path().join("file");
    let told = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = read_manifest(&Ctx::silent().unwrap(), &HostFile::own(&path)).unwrap_err();
        assert_eq!(error.code, Code::BadImage);
        assert!(error.message.starts_with(path.to_str().unwrap()), "{error}");
        error.into_message()
    };
    assert!(told(b"hsqs").contains("it is an image"));
    assert!(told(b"\x1f\x8b").contains("`gzip -d FILE`"));
    assert!(told(&block(EntryType::Regular, b"etc/passwd", b"", 0)).contains("`cloudbox image import`"));
}

struct Nowhere;

impl image_tar::Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_deep_layer_comes_back_whole() {
    if !is_root() {
        return;
    }
    const DEPTH: usize = 1000;
    let dir = TempDir::make();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("first"), "linked").unwrap();
    let mut descent = Descent::new(File::open(&from).unwrap()).unwrap();
    let name = CString::new("directory").unwrap();
    for _ in 0..DEPTH {
        fs::create_dir(at(descent.dir(), name.to_bytes())).unwrap();
        descent.enter(&name).unwrap();
        fs::write(at(descent.dir(), b"file"), "x").unwrap();
        fs::hard_link(at(descent.dir(), b"file"), at(descent.dir(), b"same file")).unwrap();
    }
    fs::hard_link(from.join("first"), at(descent.dir(), b"last")).unwrap();
    let seen = |root: &Path| {
        let mut seen = Vec::new();
        walk(root, Moved::Fails, &mut |entry| {
            if let What::Directory(meta) | What::File(meta) = &entry.what {
                let links = if meta.is_dir() { 0 } else { meta.nlink() };
                seen.push((entry.path().unwrap().to_vec(), links, meta.mode(), meta.mtime(), meta.len()));
            }
            Ok(())
        })
        .unwrap();
        seen.sort();
        seen
    };
    let to = dir.path().join("to");
    unpack_at(&pack(dir.path(), None), &to, u64::MAX).unwrap();
    assert_eq!(seen(&from).len(), 3 * DEPTH + 3);
    assert!(seen(&from) == seen(&to));
    // No archive holds what is deeper than this.
    let long = CString::new("n".repeat(255)).unwrap();
    for _ in 0..=PATH_MAX / 256 {
        fs::create_dir(at(descent.dir(), long.to_bytes())).unwrap();
        descent.enter(&long).unwrap();
    }
    let packed = std::panic::catch_unwind(|| pack(dir.path(), None));
    assert!(packed.is_err());
}

#[test]
fn an_archive_does_not_outgrow_its_room() {
    let dir = TempDir::make();
    let path = dir.path().join("web.tar");
    let ctx = Ctx::silent().unwrap();
    let progress = &mut Progress::new(&ctx, None);
    let file = File::create(&path).unwrap();
    let mut writer = Writer::begin(file, &path, b"{}", 0, 0, progress).unwrap();
    writer.limit(4 * BLOCK as u64);
    let error = (0..9).try_for_each(|_| writer.member(b"name", b"content")).unwrap_err();
    assert_eq!(error.code, Code::NoSpace, "{error}");
}

#[test]
fn other_programs_read_it() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    make_layer(&dir.path().join("from"));
    let path = pack(dir.path(), None);
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&to)
        .arg("-f")
        .arg(&path);
    let Ok(output) = tar.output() else {
        println!("skipped: tar is not there");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = |lines: Vec<String>| -> Vec<String> {
        // Attributes with ids in them are the guest's in the archive, and tar knows no time of a link.
        lines.into_iter().filter(|l| !["ping", "listed", "link"].iter().any(|n| l.contains(n))).collect()
    };
    let (is, was) =
        (names(fingerprint(&to.join("layer"), 0)), names(fingerprint(&dir.path().join("from"), BASE)));
    for (is, was) in is.iter().zip(&was) {
        assert_eq!(is, was);
    }
    assert_eq!(is.len(), was.len());
    let told = fs::read_to_string(to.join("sha256")).unwrap();
    assert_eq!(told.len(), 64);
    assert!(serde_json::from_slice::<serde_json::Value>(&fs::read(to.join("manifest.json")).unwrap()).is_ok());
}

fn block(kind: EntryType, path: &[u8], link: &[u8], size: u64) -> Vec<u8> {
    Plain { kind, path, link, mode: 0o600, owner: (0, 0), mtime: 0, size }.to_bytes(Vec::new())
}

/// An archive of these entries, with a good sha256 at its end.
fn forged(manifest: &str, entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = block(EntryType::Regular, b"manifest.json", b"", manifest.len() as u64);
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(manifest.as_bytes());
    pad(&mut bytes);
    for (header, data) in entries {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        pad(&mut bytes);
    }
    bytes.extend_from_slice(&block(EntryType::Regular, b"sha256", b"", 64));
    let sha256 = hex(&Sha256::digest(&bytes));
    bytes.extend_from_slice(sha256.as_bytes());
    pad(&mut bytes);
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

fn manifest(version: u64) -> String {
    let json = serde_json::to_string(&record("web")).unwrap();
    format!("{BEGIN}{version},\"image\":0,\"bytes\":1,\n{}", &json[1..])
}

fn entry(
    path: &str,
    kind: EntryType,
    link: &str,
    size: usize,
    change: &dyn Fn(&mut Header),
) -> (Header, Vec<u8>) {
    let bytes = block(kind, path.as_bytes(), link.as_bytes(), size as u64);
    let mut header = Header::from_byte_slice(&bytes).clone();
    change(&mut header);
    header.set_cksum();
    (header, vec![b'x'; size])
}

fn same(_: &mut Header) {}

fn extended(records: &[(&str, &[u8])]) -> (Header, Vec<u8>) {
    let mut data = Vec::new();
    for (key, value) in records {
        record_of(&mut data, key, value);
    }
    let (header, _) = entry("PaxHeader", EntryType::XHeader, "", data.len(), &same);
    (header, data)
}

fn record_of(data: &mut Vec<u8>, key: &str, value: &[u8]) {
    image_tar::record(data, key.as_bytes(), value);
}

#[test]
fn what_is_hostile_or_broken_is_refused_by_name() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let (path, to) = (dir.path().join("a.tar"), dir.path().join("to"));
    let top = || entry("layer/", EntryType::Directory, "", 0, &same);
    let file = |path: &str| entry(path, EntryType::Regular, "", 3, &same);
    let link = |path: &str, target: &str| entry(path, EntryType::Link, target, 0, &same);
    let symlink = |path: &str, target: &str| entry(path, EntryType::Symlink, target, 0, &same);
    let owned = |user: u64| entry("layer/f", EntryType::Regular, "", 3, &move |h| h.set_uid(user));
    let device_at = |path: &str, kind: EntryType, major: u32| {
        entry(path, kind, "", 0, &move |h| h.set_device_major(major).and(h.set_device_minor(0)).unwrap())
    };
    let device = |kind: EntryType, major: u32| device_at("layer/d", kind, major);
    let long = [b"layer".to_vec(), b"/d".repeat(PATH_MAX)].concat();
    let value = vec![b'x'; 600 << 10];
    let large = || extended(&[("SCHILY.xattr.user.large", &value)]);
    let mut attributes = vec![top()];
    for depth in 1..=XATTRS_MAX / value.len() + 1 {
        let path = "layer/".to_string() + &"d/".repeat(depth);
        attributes.extend([large(), entry(&path, EntryType::Directory, "", 0, &same)]);
    }
    let names: Vec<String> = (0..=XATTRS_OF_ONE).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let many_attributes = extended(&names.iter().map(|name| (name.as_str(), &b"1"[..])).collect::<Vec<_>>());
    let sparse = |real: &str, map: &str, data: usize| {
        let mut content = map.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content.resize(content.len() + data, b'x');
        let (header, _) = entry("layer/s", EntryType::Regular, "", content.len(), &same);
        vec![
            top(),
            extended(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", real.as_bytes())]),
            (header, content),
        ]
    };
    type Row<'a> = (&'a str, Vec<(Header, Vec<u8>)>);
    let rows: Vec<Row> = vec![
        ("contains '..'", vec![top(), file("layer/../../etc/passwd")]),
        ("contains '..'", vec![top(), file("layer/..")]),
        ("is absolute", vec![top(), file("layer//etc/passwd")]),
        ("not known", vec![top(), file("/etc/passwd")]),
        ("not known", vec![top(), file("etc/passwd")]),
        ("contains '..'", vec![top(), file("layer/f"), link("layer/l", "layer/../../etc/passwd")]),
        ("is empty", vec![top(), link("layer/l", "/etc/passwd")]),
        ("is absolute", vec![top(), link("layer/l", "layer//etc/passwd")]),
        ("cannot unpack", vec![top(), link("layer/l", "layer/none")]),
        ("cannot unpack", vec![top(), symlink("layer/s", "/etc"), link("layer/l", "layer/s/passwd")]),
        ("without its directory", vec![top(), symlink("layer/s", "/etc"), file("layer/s/passwd")]),
        ("without its directory", vec![top(), file("layer/none/file")]),
        ("without its directory", vec![file("layer/f")]),
        ("is no directory", vec![device_at("layer/", EntryType::Char, 0), file("layer/f")]),
        ("is no directory", vec![symlink("layer/", "/etc"), file("layer/f")]),
        ("is no directory", vec![link("layer/", "layer/f")]),
        ("is no directory", vec![entry("layer/", EntryType::Fifo, "", 0, &same)]),
        ("is there twice", vec![top(), file("layer/f"), top()]),
        ("is there twice", vec![top(), device_at("layer/", EntryType::Char, 0)]),
        ("longer than a path", vec![top(), extended(&[("path", &long)]), file("")]),
        ("longer than a path", vec![top(), extended(&[("linkpath", &long)]), link("layer/l", "")]),
        ("headers that are too long", vec![top(), large(), large(), file("layer/f")]),
        ("too many extended attributes", attributes),
        ("is there twice", vec![top(), file("layer/f"), file("layer/f")]),
        ("is there twice", vec![top(), symlink("layer/f", "/etc/x"), file("layer/f")]),
        (
            "is there twice",
            vec![top(), symlink("layer/f", "/etc"), entry("layer/f/", EntryType::Directory, "", 0, &same)],
        ),
        ("device node", vec![top(), device(EntryType::Char, 1)]),
        ("device node", vec![top(), device(EntryType::Block, 0)]),
        ("unknown type", vec![top(), entry("layer/x", EntryType::new(b'S'), "", 0, &same)]),
        ("no file and has data", vec![top(), entry("layer/x", EntryType::Directory, "", 3, &same)]),
        ("which no guest has", vec![top(), owned(65_536)]),
        ("which no guest has", vec![top(), owned(1 << 40)]),
        ("to nothing", vec![top(), symlink("layer/s", "")]),
        ("extended attribute", vec![top(), extended(&[("SCHILY.xattr.trusted.x", b"1")]), file("layer/f")]),
        (
            "extended attribute",
            vec![top(), extended(&[("SCHILY.xattr.security.selinux", b"1")]), file("layer/f")],
        ),
        ("too many extended attributes", vec![top(), many_attributes, file("layer/f")]),
        ("is no number", vec![top(), extended(&[("mtime", b"x.5")]), file("layer/f")]),
        ("is no number", vec![top(), extended(&[("GNU.sparse.realsize", b"-1")]), file("layer/f")]),
        (
            "no list of records",
            vec![top(), (entry("x", EntryType::XHeader, "", 3, &same).0, b"abc".to_vec()), file("layer/f")],
        ),
        ("damaged map", sparse("100", "x\n", 10)),
        ("damaged map", sparse("100", "1000000000000\n1\n", 10)),
        ("pieces outside", sparse("100", "1\n95\n10\n", 10)),
        ("pieces outside", sparse("100", "1\n18446744073709551\n10\n", 10)),
        ("pieces outside", sparse("100", "1\n0\n99\n", 10)),
        ("more data than pieces", sparse("100", "1\n0\n5\n", 10)),
        ("no layer", vec![]),
    ];
    for (words, entries) in rows {
        fs::write(&path, forged(&manifest(1), &entries)).unwrap();
        let error = unpack_at(&path, &to, u64::MAX).unwrap_err();
        assert!(error.message.contains(words), "{words}: {error}");
        assert!(error.code == Code::BadImage || words == "cannot unpack", "{words}: {error}");
        assert!(!Path::new("/etc/l").exists());
    }
    for (code, text) in [
        (Code::NotSupported, manifest(2)),
        (Code::BadImage, "{}".to_string()),
        (Code::BadImage, format!("{BEGIN}1,\"image\":0,\"bytes\":1,\n\"name\":\"../web\"}}")),
        (Code::BadImage, manifest(1).replace(&"ab".repeat(32), "../x")),
        (
            Code::BadImage,
            format!("{BEGIN}1,\"image\":5,\"bytes\":1,{}", &manifest(1)[manifest(1).find('\n').unwrap()..]),
        ),
    ] {
        fs::write(&path, forged(&text, &[top()])).unwrap();
        assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, code, "{text}");
    }
    fs::write(&path, forged(&manifest(1), &[top(), file("layer/f")])).unwrap();
    unpack_at(&path, &to, 3 * ENTRY).unwrap();
    assert_eq!(unpack_at(&path, &to, ENTRY + 100).unwrap_err().code, Code::NoSpace);
    fs::write(&path, b"no tar").unwrap();
    assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, Code::BadImage);
}

#[test]
fn an_archive_that_was_changed_or_cut_is_never_taken_for_good() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("a"), vec![1; 700]).unwrap();
    std::os::unix::fs::symlink("x", from.join("b")).unwrap();
    let (path, to) = (pack(dir.path(), Some(&[5; 300])), dir.path().join("to"));
    let good = fs::read(&path).unwrap();
    unpack_at(&path, &to, u64::MAX).unwrap();
    // The two empty blocks at the end say nothing.
    let said = good.len() - 2 * BLOCK;
    for length in (0..said).step_by(100).chain([said - 448 - 1]) {
        fs::write(&path, &good[..length]).unwrap();
        let error = unpack_at(&path, &to, u64::MAX).unwrap_err();
        assert_eq!(error.code, Code::BadImage, "{length}: {error}");
    }
    for at in (0..said - 448).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        fs::write(&path, &bad).unwrap();
        let error = unpack_at(&path, &to, u64::MAX).expect_err(&format!("a changed byte at {at}"));
        assert!(
            matches!(error.code, Code::BadImage | Code::Checksum | Code::NotSupported | Code::NoSpace),
            "{at}: {error}"
        );
    }
    fs::write(&path, [&good[..], b"more"].concat()).unwrap();
    assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, Code::BadImage);
}
