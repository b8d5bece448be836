//! Servers of images that want the box's disk, memory, files or patience.

#[path = "../web/mod.rs"]
mod web;

use crate::bus::Answer;
use crate::processes::{self, output};
use crate::storage;
use crate::test_box::{eventually, Image, TestBox};
use cloudbox::error::Code;
use serde_json::{json, Value};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use web::{Mischief, Web};

const INDEX: &str = "/streams/v1/index.json";
const LIST: &str = "/streams/v1/images.json";
/// The longest that a call takes which asks a server that does not answer.
const ANSWER: Duration = Duration::from_secs(40);
/// What a hostile server may take of the box's memory, in KiB.
const GROWTH: u64 = 24 << 10;

struct Hostile {
    the_box: TestBox,
    web: Web,
    /// The lists and the image as an honest server has them.
    index: String,
    list: String,
    image: String,
}

impl Hostile {
    /// A box that has this server as its remote `evil`, and believes it without a signature.
    fn new(what: &str) -> Option<Hostile> {
        let mut the_box = TestBox::bare(what, false)?;
        let web = Web::start();
        let www = the_box.dir.join("www");
        let mut publish = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
        publish.args(["image", "publish"]).arg(&www).arg(Image::Mini.path()).args(["--name", "os"]);
        let said = output(publish.args(["--serial", "20261121"]));
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        web.serve(&www);
        the_box.write_config(&format!("config remote 'evil'\n\toption url '{}'\n", web.url()));
        the_box.start_bus();
        the_box.start_daemon();
        let text = |path: &str| String::from_utf8(web.file(path)).unwrap();
        let (index, list) = (text(INDEX), text(LIST));
        let arch = cloudbox::simplestreams::arch(std::env::consts::ARCH);
        let image = format!("/images/os/{arch}/20261121/rootfs.squashfs");
        Some(Hostile { the_box, web, index, list, image })
    }

    fn behave(&self) {
        self.web.behave();
        self.web.put(INDEX, self.index.as_bytes());
        self.web.put(LIST, self.list.as_bytes());
    }

    fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.the_box.daemon_pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks what there is, and pulls; each must end in time, and be refused if it is not `good`.
    fn try_it(&self, what: &str, good: bool) {
        let begun = Instant::now();
        let daemon = self.the_box.daemon_pid();
        let before = self.memory();
        let available = self.the_box.call("cloudbox.image", "available", json!({ "remote": "evil" }));
        let took = begun.elapsed();
        let pulled = self.the_box.call("cloudbox.image", "pull", json!({ "name": "evil:os" }));
        let pulled = pulled.map(|job| self.the_box.job_end(job["job"].as_str().unwrap()));
        println!("{what}: listed in {took:?}, pulled in {:?}: {}", begun.elapsed(), verdict(&pulled));
        assert!(took < ANSWER, "{what}: {took:?}");
        assert!(processes::lives(daemon), "{what}: the daemon has died");
        if let Err(refusal) = &available {
            assert!(!refusal.message.is_empty(), "{what}: {refusal:?}");
        }
        let done = verdict(&pulled) == "done";
        assert!(!done || good, "{what}: it was pulled");
        if done {
            self.the_box.whole("cloudbox.image", "delete", json!({ "name": "os" })).unwrap();
        } else {
            let code = verdict(&pulled);
            assert!(Code::ALL.iter().any(|of| of.as_str() == code), "{what}: {pulled:?}");
        }
        let after = self.memory();
        assert!(after < before + GROWTH, "{what}: the daemon's memory was {before} KiB, and is {after} KiB");
        // Nothing runs on, and what is half fetched waits for the next time, within bounds.
        let place = self.the_box.dir.display().to_string();
        eventually("the end of the program that fetches", || {
            !processes::all().iter().any(|pid| {
                let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let title = String::from_utf8_lossy(&title);
                (title.starts_with("curl") || title.starts_with("wget")) && title.contains(&place)
            })
        });
        let images = self.the_box.layout.storage.join("images");
        let size = output(Command::new("du").args(["-sk", "--apparent-size"]).arg(&images));
        let kib: u64 =
            String::from_utf8_lossy(&size.stdout).split_whitespace().next().unwrap().parse().unwrap();
        assert!(kib < 64 << 10, "{what}: {kib} KiB lie among the images");
        for outside in ["/tmp/evil", "/etc/evil", "evil"] {
            assert!(!self.the_box.dir.join(outside).exists(), "{what}: {outside} was written");
        }
    }
}

fn verdict(pulled: &Answer) -> String {
    match pulled {
        Ok(job) if job["state"] == "done" => "done".to_string(),
        Ok(job) => job["error"]["code"].as_str().unwrap_or_default().to_string(),
        Err(refusal) => refusal.code.clone(),
    }
}

#[test]
fn a_server_that_lies_is_refused_and_takes_nothing() {
    let Some(hostile) = Hostile::new("a server that lies") else { return };
    hostile.try_it("an honest server", true);
    let size = hostile.web.file(&hostile.image).len();
    let list = |from: &str, to: &str| {
        assert!(hostile.list.contains(from), "{from} is not in {}", hostile.list);
        hostile.list.replace(from, to)
    };
    let path = hostile.image.trim_start_matches('/');
    let (of_size, of_path) = (format!("\"size\":{size}"), format!("\"path\":\"{path}\""));
    let plain = hostile.list.replace(": ", ":");
    let hostile_lists = [
        (
            "a path that leads up",
            of_path.as_str(),
            "\"path\":\"../../../../../../../etc/shadow\"".to_string(),
        ),
        ("a path from the root", of_path.as_str(), "\"path\":\"/etc/shadow\"".to_string()),
        ("another server's address", of_path.as_str(), "\"path\":\"http://127.0.0.1:1/x\"".to_string()),
        ("a file's address", of_path.as_str(), "\"path\":\"file:///etc/shadow\"".to_string()),
        ("an option of curl", of_path.as_str(), "\"path\":\"-o/tmp/evil\"".to_string()),
        ("a path with a line's end", of_path.as_str(), "\"path\":\"x\\r\\nHost: evil\"".to_string()),
        ("a size that is too small", of_size.as_str(), "\"size\":10".to_string()),
        ("a size of all disks", of_size.as_str(), "\"size\":9223372036854775807".to_string()),
        ("a size below zero", of_size.as_str(), "\"size\":-1".to_string()),
        ("a size in words", of_size.as_str(), "\"size\":\"much\"".to_string()),
    ];
    for (what, from, to) in hostile_lists {
        hostile.behave();
        assert!(plain.contains(from), "{from} is not in {plain}");
        hostile.web.put(LIST, plain.replace(from, &to).as_bytes());
        hostile.try_it(what, false);
    }
    // The sum is another file's.
    hostile.behave();
    let wrong: Vec<u8> = hostile.web.file(&hostile.image).iter().map(|byte| byte ^ 1).collect();
    let right = hostile.web.file(&hostile.image);
    hostile.web.put(&hostile.image, &wrong);
    hostile.try_it("another file", false);
    hostile.web.put(&hostile.image, &right);
    // Texts that a terminal would obey, and lists that are no lists.
    for (what, text) in [
        ("names for a terminal", list("os", "os\\u001b[2J\\u0007")),
        ("an empty list", String::new()),
        ("half a list", hostile.list[..hostile.list.len() / 2].to_string()),
        ("brackets without end", "[".repeat(1 << 20)),
        ("objects without end", "{\"products\":".repeat(200_000)),
        ("a number without end", format!("{{\"products\":{}}}", "9".repeat(1 << 20))),
        ("a text without end", format!("{{\"products\":\"{}", "x".repeat(4 << 20))),
        ("a list of nothing", "null".to_string()),
        ("bytes", "\u{0}\u{1}\u{2}".repeat(100_000)),
        (
            "members without end",
            format!("{{\"products\":{{{}\"x\":{{}}}}}}", "\"os:x\":{\"versions\":{}},".repeat(100_000)),
        ),
    ] {
        hostile.behave();
        hostile.web.put(LIST, text.as_bytes());
        hostile.try_it(what, false);
        hostile.behave();
        hostile.web.put(INDEX, text.as_bytes());
        hostile.try_it(&format!("{what}, as index"), false);
    }
    hostile.behave();
    hostile.try_it("honest again", true);
    let look = storage::look(&hostile.the_box, Path::new("/nowhere"));
    assert!(look.wrong.is_empty(), "{:#?}", look.wrong);
    hostile.the_box.assert_nothing_left();
}

#[test]
fn an_old_list_brings_no_old_image_back() {
    let Some(hostile) = Hostile::new("an old list") else { return };
    let publish = |serial: &str, bytes: &[u8]| {
        let (www, image) =
            (hostile.the_box.dir.join(format!("www{serial}")), hostile.the_box.dir.join("new.squashfs"));
        fs::write(&image, bytes).unwrap();
        let mut publish = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
        publish.args(["image", "publish"]).arg(&www).arg(&image).args(["--name", "os", "--serial", serial]);
        let said = output(&mut publish);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        www
    };
    let mut bytes = fs::read(Image::Mini.path()).unwrap();
    let old = publish("20260101", &bytes);
    bytes.extend([0; 4096]);
    let new = publish("20260202", &bytes);
    let pull = || hostile.the_box.whole("cloudbox.image", "pull", json!({ "name": "evil:os" }));
    hostile.web.serve(&new);
    pull().unwrap();
    hostile.web.serve(&old);
    let again = pull();
    assert!(again.is_err(), "the older image has come back");
    hostile.the_box.assert_nothing_left();
}

#[test]
fn a_server_that_leads_elsewhere_or_never_ends_is_left() {
    let Some(hostile) = Hostile::new("a server that never ends") else { return };
    let url = hostile.web.url();
    let image = hostile.image.clone();
    for path in [INDEX, LIST, image.as_str()] {
        for to in [
            "file:///etc/shadow",
            "gopher://127.0.0.1:1/x",
            &format!("{url}{path}"),
            "/../../etc/shadow",
            "//evil/x",
        ] {
            hostile.behave();
            hostile.web.always(path, Mischief::Redirect(to.to_string()));
            hostile.try_it(&format!("{path} leads to {to}"), false);
        }
        hostile.behave();
        hostile.web.always(path, Mischief::Endless);
        hostile.try_it(&format!("{path} never ends"), false);
        hostile.behave();
        hostile.web.always(path, Mischief::Status(500));
        hostile.try_it(&format!("{path} fails"), false);
    }
    // One that says nothing more keeps nobody else.
    hostile.behave();
    hostile.web.always(LIST, Mischief::Hold(10));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            hostile
                .the_box
                .call("cloudbox.image", "available", json!({ "remote": "evil" }))
                .unwrap_or(Value::Null)
        });
        hostile.web.wait_until_held();
        let at = Instant::now();
        hostile.the_box.container_call("list", json!({}));
        assert!(at.elapsed() < Duration::from_secs(2), "list took {:?}", at.elapsed());
        println!("it said nothing more: {}", held.join().unwrap());
    });
    assert!(begun.elapsed() < ANSWER, "{:?}", begun.elapsed());
    hostile.web.go_on();
    hostile.behave();
    hostile.try_it("honest again", true);
    hostile.the_box.assert_nothing_left();
}
