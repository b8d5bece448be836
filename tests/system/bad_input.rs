//! What must be refused: each with a code from the closed set, a message that names the thing, and nothing changed.

use crate::bus::{self, Answer, Refusal};
use crate::processes::{output, sh};
use crate::test_box::{eventually, Image, TestBox};
use cloudbox::error::Code;
use openwrt_ubus::blobmsg::Builder;
use serde_json::{json, Value};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything a refused call must leave as it is.
fn picture(the_box: &TestBox) -> String {
    let containers: Vec<String> = the_box
        .list()
        .iter()
        .map(|c| format!("{} {} {} {}", c["name"], c["state"], c["pid"], c["memory_limit"]))
        .collect();
    let images = the_box.call("cloudbox.image", "list", json!({})).unwrap();
    let files =
        sh(&format!("cd {} && find containers images -maxdepth 2 | sort", the_box.layout.storage.display()));
    format!("{containers:#?}\n{images}\n{files}\n{}", the_box.config_text())
}

/// A refusal as scripts and LuCI can rely on.
fn refused(what: &str, answer: Answer, code: &str, named: &str) -> Refusal {
    let refusal = match answer {
        Err(refusal) => refusal,
        Ok(reply) => panic!("{what} was accepted: {reply}"),
    };
    assert!(
        Code::ALL.iter().any(|c| c.as_str() == refusal.code),
        "{what}: {refusal:?} has no code of the set"
    );
    assert!((1..=10).contains(&refusal.status), "{what}: {refusal:?}");
    assert_eq!(refusal.code, code, "{what}: {refusal:?}");
    assert!(refusal.message.contains(named), "{what}: {:?} does not name {named:?}", refusal.message);
    refusal
}

#[test]
fn wrong_arguments_of_create() {
    let Some(the_box) = TestBox::new("wrong arguments") else { return };
    let taken = format!("{}/24", the_box.address(50));
    the_box.create("taken", json!({ "address": taken }));
    let before = picture(&the_box);
    let init = the_box.init("taken");

    let long = "a".repeat(64);
    let own = format!("{}/24", the_box.address(1));
    let longest_line = "x".repeat(300);
    let cases = [
        // names
        (json!({ "name": "" }), "invalid_name", "empty"),
        (json!({ "name": long }), "invalid_name", "64"),
        (json!({ "name": "Web" }), "invalid_name", "Web"),
        (json!({ "name": ".." }), "invalid_name", ".."),
        (json!({ "name": "a/b" }), "invalid_name", "a/b"),
        (json!({ "name": "a\nb" }), "invalid_name", "\\n"),
        (json!({ "name": "-a" }), "invalid_name", "-a"),
        (json!({ "name": "a-" }), "invalid_name", "a-"),
        (json!({ "name": "a_b" }), "invalid_name", "a_b"),
        (json!({ "name": "ü" }), "invalid_name", "ü"),
        (json!({ "name": "$(reboot)" }), "invalid_name", "$"),
        (json!({ "name": "taken" }), "exists", "taken"),
        (json!({}), "invalid_argument", "name"),
        (json!({ "name": null }), "invalid_argument", "name"),
        // sizes
        (json!({ "name": "x", "memory": "-1" }), "invalid_argument", "-1"),
        (json!({ "name": "x", "memory": -1 }), "invalid_argument", "-1"),
        (json!({ "name": "x", "memory": "0" }), "invalid_argument", "memory"),
        (json!({ "name": "x", "memory": "10X" }), "invalid_argument", "10X"),
        (json!({ "name": "x", "memory": "1T" }), "no_memory", "1T"),
        (json!({ "name": "x", "memory": "99999999999999999999" }), "invalid_argument", "memory"),
        (json!({ "name": "x", "disk": "-1" }), "invalid_argument", "-1"),
        (json!({ "name": "x", "disk": "0" }), "invalid_argument", "disk"),
        (json!({ "name": "x", "disk": "10X" }), "invalid_argument", "10X"),
        (json!({ "name": "x", "disk": "10T" }), "no_space", "10T"),
        (json!({ "name": "x", "cpus": "-1" }), "invalid_argument", "-1"),
        (json!({ "name": "x", "cpus": "0" }), "invalid_argument", "cpus"),
        (json!({ "name": "x", "cpus": "many" }), "invalid_argument", "many"),
        (json!({ "name": "x", "pids": 0 }), "invalid_argument", "pids"),
        // the rest
        (json!({ "name": "x", "image": "nosuch" }), "not_found", "nosuch"),
        (json!({ "name": "x", "image": "../etc" }), "invalid_name", "../etc"),
        (json!({ "name": "x", "network": "nosuchbr" }), "not_found", "nosuchbr"),
        (json!({ "name": "x", "network": "a b\nc" }), "invalid_argument", "bridge"),
        (json!({ "name": "x", "network": "lo" }), "not_found", "lo"),
        (json!({ "name": "x", "address": "banana" }), "invalid_argument", "banana"),
        (json!({ "name": "x", "address": "300.1.2.3/24" }), "invalid_argument", "300.1.2.3"),
        (json!({ "name": "x", "address": "10.1.2.3" }), "invalid_argument", "10.1.2.3"),
        (json!({ "name": "x", "address": "10.1.2.3/33" }), "invalid_argument", "10.1.2.3/33"),
        (json!({ "name": "x", "address": "127.0.0.1/8" }), "invalid_argument", "127.0.0.1"),
        (json!({ "name": "x", "address": taken }), "exists", "taken"),
        (json!({ "name": "x", "address": own }), "exists", "box"),
        (
            json!({ "name": "x", "address": "10.1.2.3/24", "gateway": "10.9.9.9" }),
            "invalid_argument",
            "10.9.9.9",
        ),
        (json!({ "name": "x", "description": "two\nlines" }), "invalid_argument", "description"),
        (json!({ "name": "x", "description": longest_line }), "invalid_argument", "description"),
        (json!({ "name": "x", "authorized_keys": ["rm -rf /"] }), "invalid_argument", "authorized_keys"),
        (
            json!({ "name": "x", "authorized_keys": ["ssh-ed25519 AAAA a\nssh-rsa BBBB b"] }),
            "invalid_argument",
            "authorized_keys",
        ),
    ];
    for (mut arguments, code, named) in cases {
        arguments["wait"] = 15.into();
        let shown = arguments.to_string();
        refused(&shown, the_box.call("cloudbox.container", "create", arguments), code, named);
        assert_eq!(picture(&the_box), before, "{shown} changed something");
    }
    // Other methods, and things that are not there.
    for method in ["info", "start", "stop", "delete"] {
        let missing = the_box.call("cloudbox.container", method, json!({ "name": "nosuch" }));
        assert_eq!(refused(method, missing, "not_found", "nosuch").status, 4);
        refused(
            method,
            the_box.call("cloudbox.container", method, json!({ "name": "A/.." })),
            "invalid_name",
            "A/..",
        );
    }
    for (command, code) in [(json!([]), "invalid_argument"), (json!([""]), "invalid_argument")] {
        let answer =
            the_box.call("cloudbox.container", "exec", json!({ "name": "taken", "command": command }));
        refused("exec of nothing", answer, code, "command");
    }
    for (method, id) in [("status", "12345"), ("wait", "-1"), ("cancel", "banana"), ("status", "")] {
        let answer = the_box.call("cloudbox.job", method, json!({ "id": id }));
        let refusal = answer.unwrap_err();
        assert!(["not_found", "invalid_argument"].contains(&refusal.code.as_str()), "{refusal:?}");
    }
    assert_eq!(picture(&the_box), before);
    assert_eq!(the_box.init("taken"), init);
    the_box.delete_last("taken");
}

/// A value in a message, written where it stands.
type Fill = for<'a> fn(&'a mut Builder) -> &'a mut Builder;

fn build(fill: Fill) -> Vec<u8> {
    let mut builder = Builder::new();
    fill(&mut builder);
    builder.finish().unwrap()
}

/// Arguments of a create with one more field.
fn named(fill: Fill) -> Vec<u8> {
    let mut builder = Builder::new();
    fill(builder.str("name", "x"));
    builder.finish().unwrap()
}

/// `depth` tables, one inside the other.
fn nested(depth: usize) -> Vec<u8> {
    let mut inside = Vec::new();
    for _ in 0..depth {
        let length = (4 + 4 + inside.len()) as u32;
        let mut table = (0x8200_0000 | length).to_be_bytes().to_vec();
        table.extend([0, 1, b'n', 0]);
        table.extend(inside);
        inside = table;
    }
    inside
}

#[test]
fn wrong_types_and_monstrous_messages() {
    let Some(the_box) = TestBox::new("wrong types") else { return };
    the_box.create("taken", json!({}));
    let before = picture(&the_box);
    let create: Vec<(&str, Vec<u8>)> = vec![
        ("name", build(|b| b.int("name", 5))),
        (
            "name",
            build(|b| {
                b.array("name", |a| {
                    a.str("", "x");
                })
            }),
        ),
        (
            "name",
            build(|b| {
                b.table("name", |t| {
                    t.str("x", "x");
                })
            }),
        ),
        ("name", build(|b| b.bool("name", true))),
        ("memory", named(|b| b.table("memory", |_| {}))),
        (
            "memory",
            named(|b| {
                b.array("memory", |a| {
                    a.str("", "64M");
                })
            }),
        ),
        ("image", named(|b| b.int("image", 1))),
        ("autostart", named(|b| b.str("autostart", "banana"))),
        ("start", named(|b| b.table("start", |_| {}))),
        ("authorized_keys", named(|b| b.str("authorized_keys", "ssh-rsa AAAA"))),
        (
            "authorized_keys",
            named(|b| {
                b.array("authorized_keys", |a| {
                    a.int("", 1);
                })
            }),
        ),
        ("wait", named(|b| b.str("wait", "soon"))),
        ("wait", named(|b| b.int("wait", -1))),
        ("wait", named(|b| b.double("wait", f64::NAN))),
        ("description", named(|b| b.str("description", &"x".repeat(1_040_000)))),
    ];
    for (field, fields) in &create {
        let answer = bus::call_raw(&the_box.socket(), "cloudbox.container", "create", fields);
        let refusal = refused(field, answer, "invalid_argument", field);
        assert_eq!(refusal.status, 2);
        assert!(refusal.message.len() < 500, "{} bytes of message", refusal.message.len());
        assert_eq!(picture(&the_box), before, "{field}");
    }
    let exec = build(|b| b.str("name", "taken").str("command", "ls"));
    refused(
        "command",
        bus::call_raw(&the_box.socket(), "cloudbox.container", "exec", &exec),
        "invalid_argument",
        "command",
    );

    // Deeper than anybody nests, longer than anything may be, and broken altogether.
    let mut deep = build(|b| b.str("name", "x"));
    deep.extend(nested(200));
    let too_long = [build(|b| b.str("name", "x")), vec![0; 1 << 20]].concat();
    let broken: [Vec<u8>; 4] =
        [vec![0xff; 64], vec![0x83, 0, 0, 0], vec![0x83, 0, 0xff, 0xff, 0, 1, b'n', 0], vec![1, 2, 3]];
    for (what, fields) in [("200 levels", deep), ("more than 1 MiB", too_long)]
        .into_iter()
        .chain(broken.into_iter().map(|b| ("broken fields", b)))
    {
        let refusal =
            bus::call_raw(&the_box.socket(), "cloudbox.container", "create", &fields).expect_err(what);
        assert!(refusal.status <= 10, "{what}: {refusal:?}");
        if what == "200 levels" {
            assert_eq!(refusal.code, "invalid_argument");
            assert!(refusal.message.contains("nested too deeply"), "{refusal:?}");
        }
        assert_eq!(picture(&the_box), before, "{what}");
    }
    // What is harmless is accepted: uhttpd's extra field, empty text for nothing said, numbers of either width.
    let fields = build(|b| {
        b.str("name", "harmless").str("ubus_rpc_session", "0").str("memory", "").null("disk").int("pids", 100)
    });
    let reply = bus::call_raw(&the_box.socket(), "cloudbox.container", "create", &fields).unwrap();
    assert_eq!(the_box.job_end(reply["job"].as_str().unwrap())["state"], "done");
    the_box.delete("harmless");
    the_box.delete_last("taken");
}

#[test]
fn a_name_that_is_being_made_or_deleted_is_nobody_elses() {
    let Some(the_box) = TestBox::new("names at work") else { return };
    let arguments: Vec<Value> = (0..20).map(|_| json!({ "name": "web", "disk": "32M" })).collect();
    let created = bus::call_all(&the_box.socket(), "cloudbox.container", "create", &arguments);
    let accepted: Vec<_> = created.iter().flatten().collect();
    assert_eq!(accepted.len(), 1, "{created:?}");
    assert!(
        created
            .iter()
            .filter_map(|c| c.as_ref().err())
            .all(|e| e.code == "busy" && e.message.contains("web")),
        "{created:?}"
    );
    let busy = the_box.call("cloudbox.container", "delete", json!({ "name": "web", "force": true }));
    refused("delete while it is made", busy, "busy", "web");
    the_box.quiet();
    assert_eq!(the_box.state("web"), "running");

    let arguments: Vec<Value> = (0..20).map(|_| json!({ "name": "web", "force": true })).collect();
    let deleted = bus::call_all(&the_box.socket(), "cloudbox.container", "delete", &arguments);
    assert_eq!(deleted.iter().flatten().count(), 1, "{deleted:?}");
    assert!(deleted.iter().filter_map(|c| c.as_ref().err()).all(|e| e.code == "busy"), "{deleted:?}");
    refused(
        "a name being deleted",
        the_box.call("cloudbox.container", "create", json!({ "name": "web" })),
        "busy",
        "web",
    );
    the_box.quiet();
    assert_eq!(the_box.state("web"), "absent");
    the_box.assert_nothing_left();
}

/// A tarball with one entry as nobody would make it by accident.
fn evil_tar(path: &Path, name: &[u8], kind: tar::EntryType, link: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    builder.append(&header, std::io::empty()).unwrap();
    builder.finish().unwrap();
}

#[test]
fn files_that_are_no_images() {
    let Some(the_box) = TestBox::new("bad images") else { return };
    let before = picture(&the_box);
    let good = Image::Mini.path();
    let file = |name: &str| the_box.dir.join(name);
    let whole = fs::read(&good).unwrap();
    fs::write(file("truncated"), &whole[..whole.len() / 2]).unwrap();
    fs::write(file("empty"), "").unwrap();
    fs::write(file("text"), "no image\n".repeat(1000)).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    for byte in &mut flipped[middle..middle + 4096] {
        *byte ^= 0xff;
    }
    fs::write(file("damaged"), flipped).unwrap();
    evil_tar(&file("dots.tar"), b"../../evil", tar::EntryType::Regular, b"");
    evil_tar(&file("link.tar"), b"link", tar::EntryType::Link, b"/etc/shadow");
    evil_tar(&file("up.tar"), b"link", tar::EntryType::Link, b"../../../etc/shadow");
    sh(&format!("cd {} && mkfifo pipe && tar -cf none.tar --files-from /dev/null", the_box.dir.display()));

    let zeros = "0".repeat(64);
    let cases = [
        (json!({ "path": file("truncated"), "name": "x" }), "bad_image", "truncated"),
        (json!({ "path": file("empty"), "name": "x" }), "bad_image", "empty"),
        (json!({ "path": file("text"), "name": "x" }), "bad_image", "text"),
        (json!({ "path": file("dots.tar"), "name": "x" }), "bad_image", "../../evil"),
        (json!({ "path": file("link.tar"), "name": "x" }), "bad_image", "/etc/shadow"),
        (json!({ "path": file("up.tar"), "name": "x" }), "bad_image", "link"),
        (json!({ "path": file("none.tar"), "name": "x" }), "bad_image", "none.tar"),
        (json!({ "path": good, "name": "x", "sha256": zeros }), "checksum", "0000"),
        (json!({ "path": good, "name": "x", "sha256": "banana" }), "invalid_argument", "banana"),
        (json!({ "path": good, "name": "../x" }), "invalid_name", "../x"),
        (json!({ "path": good, "name": "" }), "invalid_name", "image's name"),
        (json!({ "path": "mini.squashfs", "name": "x" }), "invalid_argument", "mini.squashfs"),
        (json!({ "path": file("nosuch"), "name": "x" }), "not_found", "nosuch"),
        (json!({ "path": the_box.dir, "name": "x" }), "invalid_argument", "cbt"),
        (json!({ "path": file("pipe"), "name": "x" }), "invalid_argument", "pipe"),
        (json!({ "path": "/dev/zero", "name": "x" }), "invalid_argument", "/dev/zero"),
        (json!({ "name": "x" }), "invalid_argument", "path"),
    ];
    for (mut arguments, code, named) in cases {
        arguments["wait"] = 15.into();
        let shown = arguments.to_string();
        refused(&shown, the_box.call("cloudbox.image", "import", arguments), code, named);
        assert_eq!(picture(&the_box), before, "{shown} changed something");
    }
    // Damage inside, which only reading all of it would show, must not harm the daemon at least.
    let damaged = json!({ "path": file("damaged"), "name": "damaged" });
    if the_box.whole("cloudbox.image", "import", damaged).is_ok() {
        let _ = the_box.whole("cloudbox.container", "create", json!({ "name": "d", "image": "damaged" }));
        if the_box.state("d") != "absent" {
            // A guest that finds no whole program ends again and again, each time with a job that sees to it.
            let delete =
                || the_box.whole("cloudbox.container", "delete", json!({ "name": "d", "force": true }));
            eventually("the delete of a damaged container", || delete().is_ok());
        }
        the_box.call("cloudbox.image", "delete", json!({ "name": "damaged" })).unwrap();
    }
    assert_eq!(picture(&the_box), before);
    for method in ["info", "delete"] {
        refused(
            method,
            the_box.call("cloudbox.image", method, json!({ "name": "nosuch" })),
            "not_found",
            "nosuch",
        );
    }
    the_box.assert_nothing_left();
}

#[test]
fn mistakes_in_the_configuration_file() {
    let Some(mut the_box) = TestBox::new("configuration mistakes") else { return };
    the_box.create("web", json!({ "memory": "48M" }));
    let good = the_box.config_text();
    let init = the_box.init("web");
    let lines = good.lines().count();
    let web = "config container 'web'\n";
    assert!(good.contains(web), "{good}");
    let of_web = good.lines().position(|l| l == web.trim()).unwrap() + 1;

    let cases: Vec<(&str, String, Vec<String>)> = vec![
        ("a syntax error", format!("{good}config container 'x\n"), vec![(lines + 1).to_string()]),
        ("no keyword", format!("{good}banana\n"), vec![(lines + 1).to_string()]),
        (
            "an unknown option",
            good.replace(web, &format!("{web}\toption colour 'red'\n")),
            vec![format!("line {}", of_web + 1), "'web'".into(), "'colour'".into()],
        ),
        (
            "a wrong value",
            good.replace("option memory '48M'", "option memory '10X'"),
            vec!["'web'".into(), "'memory'".into(), "10X".into()],
        ),
        (
            "a wrong setting",
            good.replace("option memory '64M'", "option memory 'lots'"),
            vec!["'main'".into(), "'memory'".into(), "lots".into()],
        ),
        (
            "a section twice",
            format!("{good}{web}\toption memory '32M'\n"),
            vec!["'web'".into(), "twice".into()],
        ),
        (
            "an unknown section",
            format!("{good}config banana 'b'\n"),
            vec![format!("line {}", lines + 1), "banana".into()],
        ),
        ("no name", format!("{good}config container\n"), vec![format!("line {}", lines + 1)]),
        (
            "a bad name",
            format!("{good}config container 'WEB2'\n"),
            vec![format!("line {}", lines + 1), "WEB2".into()],
        ),
    ];
    for (what, text, named) in cases {
        the_box.edit_config(|_| text.clone());
        for restarted in [false, true] {
            if restarted {
                the_box.restart_daemon();
            }
            let reply = the_box.reload();
            let status = the_box.call("cloudbox", "status", json!({})).unwrap();
            let doctor = the_box.call("cloudbox", "doctor", json!({})).unwrap();
            for told in [&reply["warnings"], &status["warnings"], &doctor["checks"]] {
                let told = told.to_string();
                assert!(
                    named.iter().all(|n| told.contains(n.as_str())),
                    "{what}: {told} does not name {named:?}"
                );
            }
            assert_eq!(reply["jobs"], json!([]), "{what}");
            assert_eq!((the_box.state("web").as_str(), the_box.init("web")), ("running", init), "{what}");
            assert_eq!(the_box.names(), ["web"], "{what}");
            assert_eq!(the_box.info("web")["memory_limit"], 48 << 20, "{what}: the last good value holds");
        }
        the_box.edit_config(|_| good.clone());
        assert_eq!(the_box.reload()["warnings"], json!([]), "after {what}");
        assert_eq!(the_box.init("web"), init);
    }

    // What cannot be read is not written to either.
    the_box.edit_config(|text| text + "config 'broken\n");
    the_box.reload();
    let before = picture(&the_box);
    let answer = the_box.call("cloudbox.container", "create", json!({ "name": "new", "wait": 15 }));
    refused("create with a broken file", answer, "config", "line");
    assert_eq!(picture(&the_box), before);
    the_box.edit_config(|_| good.clone());
    // A mistake in one section does not hold up the others.
    the_box
        .edit_config(|text| text + "config container 'bad'\n\toption memory 'x'\nconfig container 'fine'\n");
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.state("fine"), "running");
    assert_eq!(the_box.state("bad"), "failed");
    the_box.delete("fine");
    the_box.delete("bad");
    the_box.delete_last("web");
}

/// Fills a file system, leaving `left` bytes.
fn fill(dir: &Path, left: u64) {
    let file = dir.join("fill");
    let _ = fs::remove_file(&file);
    output(Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", file.display())));
    output(Command::new("sh").arg("-c").arg(format!("dd if=/dev/zero bs=512 >> {}", file.display())));
    let size = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(&file).unwrap().set_len(size.saturating_sub(left)).unwrap();
    sh("sync -f /tmp 2>/dev/null || true");
}

#[test]
fn a_full_disk() {
    let Some(mut the_box) = TestBox::bare("a full disk", false) else { return };
    let storage = the_box.layout.storage.clone();
    the_box.own_mounts.push(storage.clone());
    sh(&format!(
        "mkdir {storage} && truncate -s 64M {dir}/small && mkfs.ext4 -q -m 0 {dir}/small && mount -o loop {dir}/small {storage}",
        storage = storage.display(),
        dir = the_box.dir.display()
    ));
    the_box.edit_config(|text| text.replace("disk_reserve '256M'", "disk_reserve '0'"));
    the_box.start_bus();
    the_box.start_daemon();
    the_box.import(Image::Mini);
    let tar = the_box.dir.join("mini.tar");
    sh(&format!(
        "cd {} && unsquashfs -quiet -no-progress -d root {} >/dev/null 2>&1; tar -C root -cf mini.tar .; rm -rf root",
        the_box.dir.display(),
        Image::Mini.path().display()
    ));
    // Once while there is room, so that what is made once for all containers is there.
    the_box.create("first", json!({ "disk": "16M" }));
    the_box.delete("first");
    let before = picture(&the_box);
    let (mut made, mut failed) = (0, 0);
    for left in [0, 4 << 10, 8 << 10, 16 << 10, 24 << 10, 32 << 10, 64 << 10, 256 << 10] {
        fill(&storage, left);
        let answer = the_box.call("cloudbox.container", "create", json!({ "name": "web", "wait": 15 }));
        match answer {
            Ok(_) => {
                made += 1;
                the_box.delete("web");
            }
            Err(refusal) => {
                failed += 1;
                assert_eq!(
                    (refusal.code.as_str(), refusal.status),
                    ("no_space", 6),
                    "{left} left: {refusal:?}"
                );
            }
        }
        for path in [&Image::Distro.path(), &tar] {
            let import = json!({ "path": path, "name": "big", "wait": 15 });
            let refusal = the_box.call("cloudbox.image", "import", import).unwrap_err();
            assert_eq!(refusal.code, "no_space", "{}: {refusal:?}", path.display());
        }
        assert_eq!(picture(&the_box), before, "{left} left");
        the_box.assert_nothing_left();
    }
    println!("creates with a full disk: {failed} refused, {made} had room");
    assert!(failed > 0);

    // Room again: everything works again.
    fs::remove_file(storage.join("fill")).unwrap();
    the_box.create("web", json!({ "disk": "16M" }));
    // The guest's disk is full before the box's is, or the other way round: only the guest notices.
    fill(&storage, 0);
    the_box.exec("web", &["dd", "if=/dev/zero", "of=/root/big", "bs=1M", "count=8"]);
    assert_eq!(the_box.state("web"), "running");
    fs::remove_file(storage.join("fill")).unwrap();
    the_box.delete_last("web");
    the_box.stop_daemon();
}

/// A check of `doctor`.
fn check(the_box: &TestBox, name: &str) -> Value {
    let doctor = the_box.call("cloudbox", "doctor", json!({})).unwrap();
    let checks = doctor["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}: {doctor}")).clone()
}

#[test]
fn without_lxc_the_daemon_runs_and_says_what_to_install() {
    let Some(mut the_box) = TestBox::new("no lxc-start") else { return };
    assert_eq!(check(&the_box, "lxc")["state"], "ok");
    the_box.stop_daemon();
    let hide = "mount --bind /dev/null \"$(readlink -f \"$(command -v lxc-start)\")\"; exec \"$@\"";
    the_box.wrapper = ["unshare", "--mount", "sh", "-c", hide, "sh"].map(String::from).to_vec();
    the_box.start_daemon();
    let lxc = check(&the_box, "lxc");
    assert_eq!(lxc["state"], "error", "{lxc}");
    assert!(lxc["message"].as_str().unwrap().contains("lxc-start"), "{lxc}");
    assert!(lxc["remedy"].as_str().unwrap().contains("lxc"), "{lxc}");
    let before = picture(&the_box);
    let answer = the_box.call("cloudbox.container", "create", json!({ "name": "web", "wait": 15 }));
    assert_eq!(refused("create without LXC", answer, "missing_tool", "lxc-start").status, 8);
    assert_eq!(picture(&the_box), before);
    the_box.stop_daemon();
    the_box.wrapper.clear();
    the_box.start_daemon();
    the_box.create("web", json!({}));
    the_box.delete_last("web");
}

#[test]
fn doctor_finds_what_is_wrong_with_the_storage_and_with_what_was_left() {
    let Some(the_box) = TestBox::with_web("doctor in full") else { return };
    for name in ["lxc", "layers", "user ids", "clock", "leftovers", "seccomp", "veth"] {
        assert_eq!(check(&the_box, name)["state"], "ok", "{name}: {}", check(&the_box, name));
    }
    assert!(check(&the_box, "lxc")["message"].as_str().unwrap().contains("LXC "));
    let storage = the_box.layout.storage.display();
    let look = || sh(&format!("ls -A {storage}; grep {storage} /proc/mounts"));
    let before = look();
    check(&the_box, "layers");
    assert_eq!(look(), before, "the trial left something");
    fs::create_dir_all(the_box.layout.containers().join(".new-half")).unwrap();
    let left = check(&the_box, "leftovers");
    assert!(left["state"] == "warning" && left["message"].as_str().unwrap().contains("half"), "{left}");
    the_box.container_call("prune", json!({ "yes": true }));
    the_box.quiet();
    assert_eq!(check(&the_box, "leftovers")["state"], "ok");
    the_box.delete_last("web");
}

#[test]
fn without_its_bridge_the_box_says_so_and_recovers() {
    let Some(the_box) = TestBox::with_web("no bridge") else { return };
    the_box.stop("web");
    assert_eq!(check(&the_box, "bridge")["state"], "ok");
    let bridge = the_box.bridge.clone();
    // One that a failed run left behind is in the way.
    output(Command::new("ip").args(["link", "delete", &format!("{bridge}x")]));
    sh(&format!("ip link set {bridge} down; ip link set {bridge} name {bridge}x"));
    let before = picture(&the_box);
    let told = check(&the_box, "bridge");
    assert_eq!(told["state"], "error", "{told}");
    assert!(told["message"].as_str().unwrap().contains(&bridge), "{told}");
    assert!(!told["remedy"].as_str().unwrap().is_empty(), "{told}");
    for (method, name) in [("create", "new"), ("start", "web")] {
        let answer = the_box.call("cloudbox.container", method, json!({ "name": name, "wait": 15 }));
        refused(method, answer, "not_found", &bridge);
    }
    let after = picture(&the_box).replace("failed", "stopped");
    assert_eq!(after, before);
    sh(&format!("ip link set {bridge}x name {bridge}; ip link set {bridge} up"));
    the_box.start("web");
    assert_eq!(the_box.state("web"), "running");
    the_box.delete_last("web");
}
