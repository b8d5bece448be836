//! Archives that a stranger made: every field of every header changed, one at a time; archives that end at any place; and
//! entries that are put together to lead outside. Each is refused, or becomes a container that is whole; nothing else
//! changes, inside of the storage or outside.

use crate::bus;
use crate::is_long;
use crate::processes::{self, sh};
use crate::random::Random;
use crate::storage;
use crate::test_box::TestBox;
use cloudbox::error::Code;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BLOCK: usize = 512;
/// Imports at once.
const AT_ONCE: usize = 8;
/// How many mutations are tried in the short form, out of all.
const SHORT: usize = 100;

/// Fields of a header: where, how long, what it is.
const FIELDS: [(usize, usize, &str); 16] = [
    (0, 100, "name"),
    (100, 8, "mode"),
    (108, 8, "uid"),
    (116, 8, "gid"),
    (124, 12, "size"),
    (136, 12, "mtime"),
    (148, 8, "checksum"),
    (156, 1, "type"),
    (157, 100, "link"),
    (257, 6, "magic"),
    (263, 2, "version"),
    (265, 32, "user"),
    (297, 32, "group"),
    (329, 8, "major"),
    (337, 8, "minor"),
    (345, 155, "prefix"),
];

/// What stands in a field instead.
const VALUES: [&[u8]; 14] = [
    b"",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\0\0\0\0\0\0\0\0\x01",
    b"77777777777",
    b"0000000",
    b"-1",
    b" \0 \0",
    b"../../../../../../../../canary",
    b"/canary",
    b"layer/../../canary",
    b"layer",
    b"sha256",
    b"layer/root/link/canary",
];

/// Kinds of entries.
const TYPES: &[u8] = b"\0 0123456789ADIKLMNSVXgx\xff";

fn set_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Puts the right sha256 at the end again, so that what is in front of it is what is looked at.
fn seal(archive: &mut [u8]) {
    let header = archive.chunks_exact(BLOCK).rposition(|block| block.starts_with(b"sha256\0"));
    let Some(header) = header else { return };
    let begin = (header + 1) * BLOCK;
    if begin + 64 > archive.len() {
        return;
    }
    let hash = Sha256::digest(&archive[..begin]);
    let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    archive[begin..begin + 64].copy_from_slice(text.as_bytes());
}

/// Where the headers are.
fn headers(archive: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + BLOCK <= archive.len() && archive[at] != 0 {
        found.push(at);
        let text = std::str::from_utf8(&archive[at + 124..at + 135]).unwrap_or("0");
        let size = usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    found
}

/// All archives that differ from `good` in one thing.
fn mutations(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let headers = headers(good);
    for (number, at) in headers.iter().enumerate() {
        for (begin, length, field) in FIELDS {
            let values: Vec<Vec<u8>> = match field {
                "type" => TYPES.iter().map(|byte| vec![*byte]).collect(),
                _ => VALUES.iter().map(|value| value[..value.len().min(length)].to_vec()).collect(),
            };
            for value in values {
                let mut archive = good.to_vec();
                let place = &mut archive[at + begin..at + begin + length];
                place.fill(0);
                place[..value.len()].copy_from_slice(&value);
                let what = format!("entry {number}, {field} {:?}", String::from_utf8_lossy(&value));
                if field != "checksum" {
                    set_checksum(&mut archive[*at..at + BLOCK]);
                }
                seal(&mut archive);
                all.push((what, archive));
            }
        }
        // The entry is not there, is there twice, or is all there is.
        let end = headers.get(number + 1).copied().unwrap_or(good.len());
        let entry = &good[*at..end];
        for (what, parts) in [
            ("is missing", vec![&good[..*at], &good[end..]]),
            ("is there twice", vec![&good[..end], entry, &good[end..]]),
            ("comes first", vec![entry, &good[..*at], &good[end..]]),
            ("is all", vec![entry, &[0; 1024]]),
        ] {
            let mut archive = parts.concat();
            seal(&mut archive);
            all.push((format!("entry {number} {what}"), archive));
        }
    }
    for end in (0..good.len()).step_by(BLOCK) {
        all.push((format!("it ends after {end} bytes"), good[..end].to_vec()));
        all.push((format!("it ends after {} bytes", end + 1), good[..end + 1].to_vec()));
    }
    // Not sealed again: the sum is wrong.
    for at in (0..good.len()).step_by(good.len() / 40 + 1) {
        let mut archive = good.to_vec();
        archive[at] ^= 1;
        all.push((format!("byte {at} is another one"), archive));
    }
    all
}

/// An entry of a hostile archive.
struct Entry<'a> {
    name: &'a str,
    kind: u8,
    mode: u32,
    link: &'a str,
    data: &'a [u8],
    /// Extended records, `key=value`.
    records: &'a [(&'a str, &'a [u8])],
}

/// The records of a sparse file of this size.
fn sparse(size: &'static [u8]) -> [(&'static str, &'static [u8]); 4] {
    [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"layer/s"),
        ("GNU.sparse.realsize", size),
    ]
}

const FILE: Entry = Entry { name: "", kind: b'0', mode: 0o644, link: "", data: b"", records: &[] };

fn header(name: &str, kind: u8, mode: u32, link: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, length: usize, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(length)];
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, 100, name.as_bytes());
    put(100, 8, format!("{mode:07o}").as_bytes());
    put(108, 8, b"0000000");
    put(116, 8, b"0000000");
    put(124, 12, format!("{size:011o}").as_bytes());
    put(136, 12, b"00000000000");
    put(156, 1, &[kind]);
    put(157, 100, link.as_bytes());
    put(257, 8, b"ustar\x0000");
    put(329, 8, b"0000000");
    put(337, 8, b"0000000");
    set_checksum(&mut block);
    block
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().div_ceil(BLOCK) * BLOCK, 0);
    data
}

fn entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !entry.records.is_empty() {
        let mut text = Vec::new();
        for (key, value) in entry.records {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            text.extend([format!("{length} {key}=").as_bytes(), value, b"\n"].concat());
        }
        bytes.extend(header("pax", b'x', 0o644, "", text.len()));
        bytes.extend(padded(&text));
    }
    bytes.extend(header(entry.name, entry.kind, entry.mode, entry.link, entry.data.len()));
    bytes.extend(padded(entry.data));
    bytes
}

/// Archives with these entries in the place of the layer.
fn composed(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let headers = headers(good);
    let (manifest, seal_at) = (&good[..headers[1]], *headers.last().unwrap());
    let link = |name, link| Entry { name, kind: b'2', link, ..FILE };
    let hard = |name, link| Entry { name, kind: b'1', link, ..FILE };
    let dir = |name| Entry { name, kind: b'5', mode: 0o755, ..FILE };
    let file = |name| Entry { name, data: b"evil\n", ..FILE };
    let device = |name, kind| Entry { name, kind, ..FILE };
    let deep = format!("layer/{}", "d/".repeat(3000));
    let long = "n".repeat(300);
    let (of_all_there_is, of_ten_bytes) = (sparse(b"9223372036854775807"), sparse(b"10"));
    let (by_long, by_deep) = ([("path", long.as_bytes())], [("path", deep.as_bytes())]);
    let many: Vec<(&str, &[u8])> = vec![("SCHILY.xattr.user.x", &[b'x'; 60_000]); 30];
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("through a link", vec![dir("layer"), link("layer/l", "/"), file("layer/l/canary")]),
        ("through a link out", vec![dir("layer"), link("layer/l", "../../../.."), file("layer/l/canary")]),
        ("a link in the layer's place", vec![link("layer", "/"), file("layer/canary")]),
        ("a whiteout in the layer's place", vec![device("layer", b'3')]),
        ("a file in the layer's place", vec![file("layer")]),
        ("a hard link out", vec![dir("layer"), hard("layer/l", "../../../../canary")]),
        ("a hard link to the root", vec![dir("layer"), hard("layer/l", "/etc/shadow")]),
        ("a hard link to a directory", vec![dir("layer"), dir("layer/d"), hard("layer/l", "layer/d")]),
        (
            "a hard link by a link",
            vec![dir("layer"), link("layer/e", "/etc"), hard("layer/l", "layer/e/shadow")],
        ),
        ("a block device", vec![dir("layer"), device("layer/b", b'4')]),
        ("no directory before", vec![file("layer/a/b/c")]),
        ("dots", vec![dir("layer"), file("layer/./../canary")]),
        ("dots at the end", vec![dir("layer"), dir("layer/..")]),
        ("an empty part", vec![dir("layer"), file("layer//canary")]),
        ("a file twice", vec![dir("layer"), file("layer/f"), file("layer/f")]),
        ("a directory and a file", vec![dir("layer"), dir("layer/f"), file("layer/f")]),
        ("setuid", vec![dir("layer"), Entry { mode: 0o7777, ..file("layer/su") }]),
        (
            "an opaque whiteout",
            vec![
                dir("layer"),
                Entry { records: &[("SCHILY.xattr.trusted.overlay.opaque", b"y")], ..dir("layer/etc") },
            ],
        ),
        (
            "a redirect of overlayfs",
            vec![
                dir("layer"),
                Entry {
                    records: &[("SCHILY.xattr.trusted.overlay.redirect", b"/../../../etc")],
                    ..dir("layer/etc")
                },
            ],
        ),
        (
            "metadata of overlayfs",
            vec![
                dir("layer"),
                Entry { records: &[("SCHILY.xattr.trusted.overlay.metacopy", b"")], ..file("layer/f") },
            ],
        ),
        (
            "an attribute of the box's",
            vec![
                dir("layer"),
                Entry { records: &[("SCHILY.xattr.security.selinux", b"x")], ..file("layer/f") },
            ],
        ),
        (
            "a path by a record",
            vec![dir("layer"), Entry { records: &[("path", b"../../canary")], ..file("layer/f") }],
        ),
        (
            "a path with a zero",
            vec![dir("layer"), Entry { records: &[("path", b"layer/a\0b")], ..file("layer/f") }],
        ),
        (
            "a size by a record",
            vec![dir("layer"), Entry { records: &[("size", b"99999999999999999999")], ..file("layer/f") }],
        ),
        (
            "a sparse file of all there is",
            vec![
                dir("layer"),
                Entry { records: &of_all_there_is, data: b"1\n9223372036854775000\n512\n", ..FILE },
            ],
        ),
        (
            "a sparse file with a map that lies",
            vec![dir("layer"), Entry { records: &of_ten_bytes, data: b"99999999\n0\n512\n", ..FILE }],
        ),
        ("attributes without end", vec![dir("layer"), Entry { records: &many, ..dir("layer/d") }]),
        ("a name that is too long", vec![dir("layer"), Entry { records: &by_long, ..file("layer/f") }]),
        ("directories without end", vec![dir("layer"), Entry { records: &by_deep, ..dir("layer/f") }]),
        (
            "times before all",
            vec![
                dir("layer"),
                Entry { records: &[("mtime", b"-99999999999999999999.9")], ..file("layer/f") },
            ],
        ),
        ("a manifest once more", vec![dir("layer"), file("manifest.json")]),
        ("something besides", vec![dir("layer"), file("canary")]),
    ];
    let mut all: Vec<(String, Vec<u8>)> = cases
        .into_iter()
        .map(|(what, entries)| {
            let layer: Vec<u8> = entries.iter().flat_map(entry).collect();
            let mut archive = [manifest, &layer, &good[seal_at..]].concat();
            seal(&mut archive);
            (what.to_string(), archive)
        })
        .collect();
    all.extend(manifests(good));
    all
}

/// Archives whose manifest says something else.
fn manifests(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let rest = headers(good)[1];
    let mut text = good[BLOCK..rest].to_vec();
    text.truncate(text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let values = [
        json!(null),
        json!(-1),
        json!(u64::MAX),
        json!(""),
        json!("../../canary"),
        json!("$(touch /canary)\nlxc.hook.start = /bin/sh"),
        json!([]),
        json!({}),
        json!("9".repeat(2000)),
    ];
    let mut all = Vec::new();
    let mut put = |what: String, manifest: &Value| {
        // The number of the format stands first, whatever else does.
        let text = manifest.to_string();
        let fields = text.trim_start_matches('{');
        let version = manifest["cloudbox"].clone();
        let text = format!("{{\"cloudbox\":{version},{fields}");
        let mut archive = header("manifest.json", b'0', 0o644, "", text.len());
        archive.extend(padded(text.as_bytes()));
        archive.extend(&good[rest..]);
        seal(&mut archive);
        all.push((what, archive));
    };
    let spec: Vec<String> =
        manifest["spec"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    for value in &values {
        for key in manifest.as_object().unwrap().keys() {
            let mut changed = manifest.clone();
            changed[key] = value.clone();
            put(format!("manifest, {key}: {value:.40}"), &changed);
        }
        for key in &spec {
            let mut changed = manifest.clone();
            changed["spec"][key] = value.clone();
            put(format!("manifest, spec.{key}: {value:.40}"), &changed);
        }
    }
    all
}

/// Whether a container is there that nobody asked for, or something outside has changed.
struct Around {
    dir: String,
}

impl Around {
    fn of(the_box: &TestBox) -> Around {
        Around { dir: the_box.dir.display().to_string() }
    }

    /// All files around the box's storage, and those of the machine that an archive would like to write.
    fn picture(&self) -> String {
        sh(&format!(
            "cd {}; find . -path ./storage -prune -o -path ./run -prune -o -path ./archives -prune -o -print | sort; \
             cat outside/canary; ls -d /canary /tmp/canary /etc/canary 2>/dev/null || true; sha256sum /etc/shadow /etc/passwd",
            self.dir
        ))
    }
}

#[test]
fn archives_of_strangers_become_whole_containers_or_none() {
    let Some(the_box) = TestBox::new("hostile archives") else { return };
    let daemon = the_box.daemon_pid();
    let (mut random, seed) = Random::of_environment("hostile archives");
    let archives = the_box.dir.join("archives");
    fs::create_dir_all(&archives).unwrap();
    fs::create_dir_all(the_box.dir.join("outside")).unwrap();
    fs::write(the_box.dir.join("outside/canary"), "as it was\n").unwrap();
    the_box.create("good", json!({}));
    the_box.inside(
        "good",
        "echo x > /root/file; ln -s file /root/link; ln /root/file /root/hard; mkfifo /root/fifo; rm /www/index.html; \
         dd if=/dev/zero of=/root/sparse bs=4096 seek=100 count=1 2>/dev/null; mkdir -p /root/d/e; chmod 4755 /root/file",
    );
    the_box.kill("good");
    let path = archives.join("good.tar");
    let arguments = json!({ "name": "good", "path": path });
    the_box.whole("cloudbox.container", "export", arguments).unwrap();
    the_box.delete("good");
    let good = fs::read(&path).unwrap();
    let mut cases = mutations(&good);
    let whole = cases.len();
    if !is_long() {
        let mut some = Vec::new();
        for _ in 0..SHORT.min(cases.len()) {
            some.push(cases.swap_remove(random.below(cases.len())));
        }
        cases = some;
    }
    cases.extend(composed(&good));
    println!("{} archives, of {whole} mutations", cases.len());
    let around = Around::of(&the_box);
    let before = around.picture();
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    let mut accepted = Vec::new();
    for batch in cases.chunks(AT_ONCE) {
        let arguments: Vec<Value> = batch
            .iter()
            .enumerate()
            .map(|(number, (_, archive))| {
                let path = archives.join(format!("{number}.tar"));
                fs::write(&path, archive).unwrap();
                json!({ "name": format!("x{number}"), "path": path, "wait": 15 })
            })
            .collect();
        let answers = bus::call_all(&the_box.socket(), "cloudbox.container", "import", &arguments);
        let shown: Vec<&str> = batch.iter().map(|(what, _)| what.as_str()).collect();
        assert!(processes::lives(daemon), "SEED={seed}: the daemon has died of one of {shown:#?}");
        for ((what, _), answer) in batch.iter().zip(&answers) {
            let code = match answer {
                Ok(job) if job["state"] == "done" => {
                    accepted.push(what.clone());
                    "done".to_string()
                }
                Ok(job) if job["state"] == "failed" => job["error"]["code"].as_str().unwrap().to_string(),
                Ok(job) => panic!("{what}: {job}"),
                Err(refusal) => refusal.code.clone(),
            };
            let known = code == "done" || Code::ALL.iter().any(|of| of.as_str() == code);
            assert!(known, "{what}: {answer:?}");
            *ended.entry(code).or_default() += 1;
        }
        let look = storage::look(&the_box, Path::new("/nowhere"));
        assert!(look.wrong.is_empty(), "SEED={seed}: after one of {shown:#?}: {:#?}", look.wrong);
        for name in look.guests.keys() {
            the_box.delete(name);
        }
    }
    println!("{ended:?}");
    assert!(ended.get("done").is_some_and(|count| *count > 0), "none was accepted");
    // What leads outside is not taken in another sense either.
    for what in
        ["through a link", "a link in the layer's place", "a whiteout in the layer's place", "a block device"]
    {
        assert!(!accepted.iter().any(|of| of == what), "{what} was accepted");
    }
    assert_eq!(around.picture(), before, "SEED={seed}");
    the_box.assert_nothing_left();
}
