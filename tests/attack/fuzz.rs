//! Calls of every published method with arguments of the published types and of others, many at once, by somebody who
//! may call all of them.

use crate::bus::{self, json};
use crate::is_long;
use crate::processes;
use crate::random::Random;
use crate::test_box::{TestBox, PATIENCE};
use openwrt_ubus::client::Client;
use openwrt_ubus::conn::Event;
use openwrt_ubus::to_fields;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Calls that wait for an answer at the same time.
const IN_FLIGHT: usize = 64;
/// How much more memory the daemon may have at the end, in KiB: what its allocator keeps.
const GROWTH: u64 = 16 << 10;

/// Texts for all options: good ones, so that something happens, and bad ones.
const TEXTS: [&str; 44] = [
    "a",
    "b",
    "c",
    "mini",
    "mini2",
    "64M",
    "16M",
    "none",
    "dhcp",
    "0",
    "1",
    "-1",
    "2.5",
    "on-failure",
    "yes",
    "s1",
    "web",
    "_http._tcp",
    "80",
    "tcp",
    "0.0.0.0/0",
    "10.200.0.77/24",
    "::1",
    "root",
    "/root",
    "/etc/shadow",
    "/proc/self/mem",
    "/dev/zero",
    "../../../../etc/passwd",
    "",
    ".",
    "..",
    "a/b",
    "A",
    "two\nlines",
    "\u{1b}[2J\u{7}",
    "$(reboot)",
    "'; reboot; '",
    "9223372036854775807M",
    "99999999999999999999",
    "\u{202e}evil",
    "%s%n",
    "lxc.hook.start = /x",
    "é",
];

fn text(random: &mut Random, place: &str) -> String {
    match random.below(30) {
        0 => "x".repeat(random.below(100_000)),
        1 => format!("{place}/{}", random.pick(&["a.tar", "b.tar", "../x", "."])),
        _ => (*random.pick(&TEXTS)).to_string(),
    }
}

/// A value of any type, so deep.
fn anything(random: &mut Random, place: &str, depth: usize) -> Value {
    match random.below(if depth > 0 { 9 } else { 6 }) {
        0 => json!(random.next() as i32),
        1 => json!(*random.pick(&[0, 1, 2, -1, i64::from(i32::MAX), i64::MIN, 1 << 40])),
        2 => json!(random.chance(50)),
        3 => json!(0.5),
        4 | 5 => json!(text(random, place)),
        6 | 7 => (0..random.below(6)).map(|_| anything(random, place, depth - 1)).collect(),
        _ => {
            let fields =
                (0..random.below(6)).map(|_| (text(random, place), anything(random, place, depth - 1)));
            Value::Object(fields.collect())
        }
    }
}

/// A value of a published type, most of the time.
fn value(random: &mut Random, kind: &str, place: &str) -> Value {
    if random.chance(7) {
        return anything(random, place, 4);
    }
    match kind {
        "Integer" => json!(*random.pick(&[0, 0, 1, 1, 2, 5, -1, i32::MAX, i32::MIN])),
        "Boolean" => json!(random.chance(60)),
        "Array" => (0..random.below(4)).map(|_| json!(text(random, place))).collect(),
        "Table" => Value::Object(
            (0..random.below(4)).map(|_| (text(random, place), json!(text(random, place)))).collect(),
        ),
        _ => json!(text(random, place)),
    }
}

/// What the daemon publishes: a method's object and name, and its arguments with their types.
type Methods = Vec<(String, String, Vec<(String, String)>)>;

fn published(client: &mut Client) -> Methods {
    let mut methods = Methods::new();
    for object in client.lookup("cloudbox*", PATIENCE).unwrap() {
        let signature = json(&object.signature);
        for (method, arguments) in signature.as_object().unwrap() {
            // As blobmsg numbers types.
            let kind = |number: &Value| match number.as_u64() {
                Some(1) => "Array",
                Some(2) => "Table",
                Some(5) => "Integer",
                Some(7) => "Boolean",
                _ => "String",
            };
            let arguments = arguments.as_object().unwrap();
            let arguments = arguments.iter().map(|(name, of)| (name.clone(), kind(of).to_string())).collect();
            methods.push((object.path.clone(), method.clone(), arguments));
        }
    }
    methods
}

fn memory(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn every_call_is_answered_whatever_it_says() {
    let Some(the_box) = TestBox::new("calls of all kinds") else { return };
    let (mut random, seed) = Random::of_environment("calls of all kinds");
    let number = if is_long() { 200_000 } else { 3_000 };
    let (daemon, place) = (the_box.daemon_pid(), the_box.dir.join("archives"));
    fs::create_dir_all(&place).unwrap();
    let place = place.display().to_string();
    // Its own directory of archives is all that calls may name here.
    let host = the_box.dir.join("etc/cloudbox-host");
    fs::write(
        &host,
        format!("config host 'host'\n\tlist export_dir '{place}'\n\tlist import_dir '{place}'\n"),
    )
    .unwrap();
    the_box.reload();
    let mut client = Client::connect(the_box.socket()).unwrap();
    let mut methods = published(&mut client);
    assert!(methods.len() > 40, "{methods:?}");
    // This one ends all containers, as it shall, and the box is off then.
    methods.retain(|(_, method, _)| method != "shutdown");
    let before = memory(daemon);
    let mut in_flight = BTreeMap::new();
    let mut statuses: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut asked, mut answered) = (0, 0);
    let (mut slowest, mut slowest_call) = (Duration::ZERO, String::new());
    while answered < number {
        while asked < number && in_flight.len() < IN_FLIGHT {
            let (object, method, arguments) = random.pick(&methods).clone();
            let mut fields = Map::new();
            for (name, kind) in &arguments {
                if name == "name" || random.chance(40) {
                    fields.insert(name.clone(), value(&mut random, kind, &place));
                }
            }
            if random.chance(5) {
                fields.insert(text(&mut random, &place), anything(&mut random, &place, 3));
            }
            // How long a call may take is not the question.
            for patience in ["wait", "timeout"] {
                let is_there = arguments.iter().any(|(name, _)| name == patience);
                let waits = ["wait", "exec", "browse"].contains(&method.as_str());
                if is_there && (waits || fields.contains_key(patience)) {
                    fields.insert(patience.to_string(), json!(random.below(2)));
                }
            }
            let Ok(bytes) = to_fields(&Value::Object(fields.clone())) else { continue };
            let deadline = Instant::now() + PATIENCE;
            let call = client.connection().call(&object, &method, &bytes, deadline);
            let shown = format!("{object} {method} {:.300}", Value::Object(fields).to_string());
            in_flight.insert(call, (shown, Instant::now()));
            asked += 1;
        }
        let event = client.next_event(Some(Instant::now() + PATIENCE)).unwrap();
        assert!(processes::lives(daemon), "SEED={seed}: the daemon has died of one of {in_flight:#?}");
        let Some(Event::CallEnded { call, reply, .. }) = event else {
            assert!(event.is_some(), "SEED={seed}: never answered: {in_flight:#?}");
            continue;
        };
        let (shown, since) = in_flight.remove(&call).unwrap();
        answered += 1;
        *statuses.entry(reply.status.0).or_default() += 1;
        if since.elapsed() > slowest {
            (slowest, slowest_call) = (since.elapsed(), shown.clone());
        }
        // 7: the bus gave up waiting for the daemon.
        assert_ne!(reply.status.0, 7, "SEED={seed}: not answered: {shown}");
        if let Err(refusal) = bus::answer(&reply) {
            let plain = [2, 3].contains(&refusal.status) && refusal.code.is_empty();
            assert!(plain || !refusal.message.is_empty(), "SEED={seed}: {shown}: {refusal:?}");
        }
    }
    the_box.quiet();
    let after = memory(daemon);
    println!("{number} calls, by status: {statuses:?}; the slowest took {slowest:?}: {slowest_call}");
    println!("the daemon's memory was {before} KiB, and is {after} KiB");
    assert!(after < before + GROWTH, "SEED={seed}: its memory was {before} KiB, and is {after} KiB");
    // It lists all that there is, still, and all of it can be removed.
    for container in the_box.list() {
        let name = container["name"].as_str().unwrap();
        let _ = the_box.whole("cloudbox.container", "set", json!({ "name": name, "protected": false }));
        the_box.delete(name);
    }
    assert_eq!(the_box.daemon_pid(), daemon);
    the_box.assert_nothing_left();
}
