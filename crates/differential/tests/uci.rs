//! openwrt-uci against libuci.
//!
//! The crate `libuci-sys` brings libuci of 2021. Its parser is that of today, but its tree is not. So with it
//!
//! * options are compared without their order: one that got another value moved to the end of its section then, and
//!   keeps its place today;
//! * a file that opens a section a third time is passed over: then libuci lost the section, and refused the options in
//!   it or put them elsewhere.
//!
//! With the environment variable `UCI_DIR` (a prefix with `include/uci.h` and `lib/libuci.so`) another libuci is
//! taken, and neither is passed over. Files with NUL bytes are not compared at all: openwrt-uci refuses them, and how
//! libuci reads them depends on the size of its buffer.

#[path = "../../openwrt-uci/tests/common/mod.rs"]
mod common;
mod libuci;

use std::fs;
use std::path::PathBuf;

use common::edits::{apply_and_check, random_edit};
use common::{Random, TABLE};
use libuci::{Libuci, Plain};
use openwrt_uci::{ConfigFile, Document, Package};

/// Whether the libuci of 2021 is compared with.
const OLD: bool = option_env!("UCI_DIR").is_none();

/// Compares what both read. Says whether the file was accepted.
#[track_caller]
fn compare(libuci: &mut Libuci, file: &[u8]) -> bool {
    let ours = Package::parse(file);
    if OLD && ours.as_ref().is_ok_and(opens_a_section_thrice) {
        return true;
    }
    let theirs = libuci.import(file);
    let agree = match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => sorted(plain(ours)) == sorted(theirs.clone()),
        (Err(_), None) => true,
        _ => false,
    };
    assert!(agree, "{}\nours:   {ours:?}\ntheirs: {theirs:?}", file.escape_ascii());
    ours.is_ok()
}

fn opens_a_section_thrice(package: &Package) -> bool {
    let repeats = package.repeats();
    repeats
        .iter()
        .enumerate()
        .any(|(at, repeat)| repeats[..at].iter().any(|other| other.section == repeat.section))
}

fn plain(package: &Package) -> Vec<Plain> {
    let sections = package.sections().iter().map(|section| {
        let options = section.options().iter().map(|option| {
            let values = option.values().iter().map(|value| value.as_bytes().to_vec()).collect();
            (option.name().to_owned(), option.is_list(), values)
        });
        Plain {
            kind: section.kind().to_owned(),
            name: section.name().to_owned(),
            anonymous: section.is_anonymous(),
            options: options.collect(),
        }
    });
    sections.collect()
}

fn sorted(mut sections: Vec<Plain>) -> Vec<Plain> {
    if OLD {
        sections.iter_mut().for_each(|section| section.options.sort());
    }
    sections
}

#[test]
fn the_table_is_what_libuci_reads() {
    let mut libuci = Libuci::new();
    for (name, file, expected) in TABLE {
        assert_eq!(compare(&mut libuci, file), expected.is_some(), "{name}");
    }
}

#[test]
fn generated_files_read_alike() {
    let mut libuci = Libuci::new();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..100_000 {
        let file = Random::new(seed).file();
        *(if compare(&mut libuci, &file) { &mut read } else { &mut refused }) += 1;
    }
    println!("{read} files read alike, {refused} refused alike");
    assert!(read > 20_000 && refused > 20_000);
}

#[test]
fn random_bytes_of_the_grammar_read_alike() {
    const PIECES: &[&[u8]] = &[
        b"config", b"option", b"list", b"package", b"c", b"o", b"l", b"p", b" ", b" ", b" ", b" ", b"\t",
        b"\n", b"\n", b"\n", b"\r", b"'", b"\"", b"\\", b"#", b";", b"a", b"b", b"x y", b"\x0b", b"\x80",
        b"=",
    ];
    let mut libuci = Libuci::new();
    let mut read = 0;
    for seed in 0..200_000 {
        let mut random = Random::new(1_000_000 + seed);
        let mut file = if random.below(2) == 0 { b"config a b\n".to_vec() } else { Vec::new() };
        for _ in 0..random.below(20) {
            file.extend_from_slice(random.pick(PIECES));
        }
        read += usize::from(compare(&mut libuci, &file));
    }
    println!("{read} of 200000 files read alike, the others refused alike");
}

#[test]
fn long_words_read_alike() {
    let mut libuci = Libuci::new();
    // libuci's buffer starts with 32 bytes and doubles.
    for length in (0..200).chain([1000, 4095, 4096, 4097, 100_000]) {
        for pad in 0..4 {
            let (word, pad) = ("w".repeat(length), " ".repeat(pad));
            assert!(compare(&mut libuci, format!("config a b\n{pad}option v '{word}'\n").as_bytes()));
            assert!(compare(
                &mut libuci,
                format!("config a b\n{pad}option v '{word}\n{word}'; option w x\n").as_bytes()
            ));
            assert!(compare(&mut libuci, format!("config a b\n{pad}option v {word}\\\n{word}\n").as_bytes()));
            compare(&mut libuci, format!("config a b\n{pad}option v {word}\\").as_bytes());
            compare(&mut libuci, format!("config a b\n{pad}option v '{word}\n").as_bytes());
        }
    }
}

#[test]
fn many_anonymous_sections_get_the_same_names() {
    let mut libuci = Libuci::new();
    assert!(compare(&mut libuci, "config rule\nconfig redirect x\n".repeat(400).as_bytes()));
}

#[test]
fn edited_files_read_alike() {
    let mut libuci = Libuci::new();
    let mut edits = 0;
    for seed in 0..20_000 {
        let mut random = Random::new(2_000_000 + seed);
        let Ok(mut document) = Document::parse(&random.file()) else { continue };
        for _ in 0..1 + random.below(4) {
            apply_and_check(&mut document, &random_edit(&mut random));
            assert!(compare(&mut libuci, document.as_bytes()));
            edits += 1;
        }
    }
    println!("{edits} edited files read alike");
    assert!(edits > 10_000);
}

/// A directory for files of one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("differential-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("save")).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn libuci_loads_what_we_write_and_keeps_its_delta() {
    let directory = Directory::new("load");
    fs::write(directory.0.join("test"), "# comment\nconfig a b\n\toption v 'x'\n").unwrap();
    let mut libuci = Libuci::at(&directory.0);
    libuci.set("test.b.delta=1");
    ConfigFile::new(directory.0.join("test"))
        .edit_document(|document| document.set("b", "v", "it's\n\"new\""))
        .unwrap();
    // The change that was not committed comes on top of ours.
    let mut libuci = Libuci::at(&directory.0);
    libuci.commit("test");
    let committed = ConfigFile::new(directory.0.join("test")).read().unwrap();
    let section = committed.section("b").unwrap();
    assert_eq!((section.get_str("v"), section.get_str("delta")), (Some("it's\n\"new\""), Some("1")));
}

#[test]
fn edits_beside_commits_all_count() {
    const EDITS: usize = 200;
    let directory = Directory::new("beside");
    let path = directory.0.join("test");
    fs::write(&path, "config a b\n").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..EDITS {
                // Each with a context of its own, as the `uci` command has it.
                Libuci::at(&directory.0).set(&format!("test.b.libuci{number}=x"));
                Libuci::at(&directory.0).commit("test");
            }
        });
        for number in 0..EDITS {
            let file = ConfigFile::new(&path);
            file.edit_document(|document| document.set("b", &format!("ours{number}"), "x")).unwrap();
        }
    });
    let package = ConfigFile::new(&path).read().unwrap();
    let count = |prefix| {
        let options = package.section("b").unwrap().options();
        options.iter().filter(|option| option.name().starts_with(prefix)).count()
    };
    assert_eq!((count("ours"), count("libuci")), (EDITS, EDITS));
}
