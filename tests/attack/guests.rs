//! A guest's root does all it can: the program `guest/evil.c` in it, and what its neighbours and the box notice of that.

use crate::is_long;
use crate::processes;
use crate::test_box::{eventually, TestBox};
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program, which is static: it runs in any image.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attack/guest/evil.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("evil-{}", std::process::id()));
        let mut command = Command::new("gcc");
        command.args(["-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
        let said = processes::output(&mut command);
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{words} (scripts/install-deps.sh test installs gcc)");
        program
    })
}

/// Puts the program into a guest that runs.
pub fn put_into(the_box: &TestBox, name: &str) {
    let place = the_box.container(name).rootfs().join("bin/evil");
    fs::copy(program(), &place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs it in there to its end; what it printed.
pub fn evil(the_box: &TestBox, name: &str, line: &str) -> String {
    the_box.inside(name, &format!("exec evil {line}"))
}

/// Runs it in there and does not wait.
pub fn evil_aside(the_box: &TestBox, name: &str, line: &str) {
    the_box.inside(name, &format!("(setsid evil {line} >/tmp/said 2>&1 </dev/null &)"));
}

/// Waits until what runs aside has said something.
fn said(the_box: &TestBox, name: &str) -> String {
    let mut said = String::new();
    eventually("a word of the guest's program", || {
        said = the_box.inside(name, "cat /tmp/said 2>/dev/null || true");
        !said.is_empty()
    });
    said
}

/// A guest with the program in it.
fn guest(the_box: &TestBox, name: &str, arguments: Value) {
    the_box.create(name, arguments);
    put_into(the_box, name);
}

/// A call, and how long it took.
fn timed(the_box: &TestBox, method: &str, arguments: Value) -> (Value, Duration) {
    let begun = Instant::now();
    let reply = the_box.container_call(method, arguments);
    (reply, begun.elapsed())
}

/// A test's box at the end: the daemon that it had all the time, and no containers.
fn all_is_well(the_box: &TestBox, daemon: i32) {
    for name in the_box.names() {
        the_box.delete(&name);
    }
    assert!(processes::lives(daemon), "the daemon has died");
    the_box.assert_nothing_left();
}

#[test]
fn whatever_tree_a_guest_makes_it_is_copied_and_removed() {
    let Some(mut the_box) = TestBox::new("a guest's trees") else { return };
    // Few descriptors: a walk has no more of them in a deep tree.
    the_box.stop_daemon();
    the_box.wrapper = ["/bin/sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""].map(String::from).to_vec();
    the_box.start_daemon();
    let daemon = the_box.daemon_pid();
    let depth = if is_long() { 50_000 } else { 5000 };
    for (name, depth) in [("deep", depth), ("web", 1000)] {
        guest(&the_box, name, json!({ "memory": "512M" }));
        the_box.inside(name, "mkdir /root/deep /root/wide /root/odd");
        assert_eq!(evil(&the_box, name, &format!("deep /root/deep {depth}")), depth.to_string());
        assert_eq!(evil(&the_box, name, "wide /root/wide 1000"), "1000");
        assert_eq!(evil(&the_box, name, "odd /root/odd"), "made");
        the_box.kill(name);
    }
    let whole = |method: &str, arguments: Value| {
        let begun = Instant::now();
        the_box.whole("cloudbox.container", method, arguments).unwrap();
        println!("{method}: {:?}", begun.elapsed());
    };
    let archive = the_box.dir.join("web.tar");
    whole("snapshot", json!({ "name": "deep", "snapshot": "s" }));
    whole("clone", json!({ "name": "deep", "new_name": "copy" }));
    // An archive has each path whole: it is of the square of the depth.
    whole("export", json!({ "name": "web", "path": archive }));
    whole("import", json!({ "name": "other", "path": archive }));
    for name in ["copy", "deep", "web", "other"] {
        whole("delete", json!({ "name": name }));
    }
    all_is_well(&the_box, daemon);
}

#[test]
fn a_tree_that_changes_while_it_is_copied_and_removed_harms_nobody() {
    let Some(the_box) = TestBox::new("a tree in motion") else { return };
    let daemon = the_box.daemon_pid();
    let outside = the_box.dir.join("outside");
    fs::create_dir_all(outside.join("kept")).unwrap();
    guest(&the_box, "web", json!({ "memory": "256M" }));
    the_box.inside("web", "mkdir -p /root/x/a/b/c/d /root/y; ln -s ../../../../../../../../ /root/y/a");
    for names in ["/root/x/a /root/y/a", "/root/x/a/b /root/y", "/root/x/a/b/c /root/x/a/b/c/d"] {
        evil_aside(&the_box, "web", &format!("exchange {names} 60"));
    }
    let archive = the_box.dir.join("web.tar");
    for (round, path) in [0, 1, 2].map(|round| (round, archive.with_extension(round.to_string()))) {
        let copies = [
            ("snapshot", json!({ "name": "web", "snapshot": format!("s{round}") })),
            ("clone", json!({ "name": "web", "new_name": format!("copy{round}") })),
            ("export", json!({ "name": "web", "path": path })),
        ];
        for (method, arguments) in copies {
            the_box.whole("cloudbox.container", method, arguments).unwrap();
        }
    }
    // In the middle of all that.
    the_box.delete("web");
    assert!(outside.join("kept").is_dir());
    all_is_well(&the_box, daemon);
}

#[test]
fn a_guest_with_addresses_without_end_fails_no_list() {
    let Some(the_box) = TestBox::new("a guest's addresses") else { return };
    let daemon = the_box.daemon_pid();
    the_box.create("other", json!({}));
    guest(&the_box, "web", json!({}));
    let own = the_box.wait_for_address("web").to_string();
    // The box's own address, one of nobody's network, and thousands.
    let (box_, foreign) = (the_box.address(1), "192.0.2.66");
    the_box.inside("web", &format!("ip addr add {box_}/24 dev eth0; ip addr add {foreign}/24 dev eth0"));
    evil_aside(&the_box, "web", if is_long() { "addresses 40000" } else { "addresses 3000" });
    println!("{} addresses", said(&the_box, "web"));
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let hosts = the_box.avahi().join("hosts");
    let stamp = || fs::metadata(&hosts).and_then(|m| m.modified()).ok();
    let (mut writes, mut last) = (0, stamp());
    evil_aside(&the_box, "web", &format!("flood {} 10", the_box.address(99)));
    while begun.elapsed() < Duration::from_secs(10) {
        let (list, took) = timed(&the_box, "list", json!({}));
        slowest = slowest.max(took);
        let entries = list["containers"].as_array().unwrap();
        assert_eq!(entries.len(), 2, "{list}");
        let web = entries.iter().find(|entry| entry["name"] == "web").unwrap();
        let addresses: Vec<&str> =
            web["addresses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(addresses.len() <= 16, "{addresses:?}");
        let is = |wanted: &str| addresses.iter().any(|a| a.split('/').next() == Some(wanted));
        assert!(is(&own), "{addresses:?}");
        assert!(!is(&box_.to_string()) && !is(foreign), "{addresses:?}");
        let now = stamp();
        writes += usize::from(now != last);
        last = now;
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("the slowest list took {slowest:?}; hosts was written {writes} times in 10 s");
    assert!(writes <= 3, "hosts was written {writes} times");
    let text = fs::read_to_string(&hosts).unwrap_or_default();
    assert!(text.len() < 4096, "hosts has {} bytes", text.len());
    let says = |address: &str| text.lines().any(|line| line.split_whitespace().next() == Some(address));
    assert!(!says(foreign), "{text}");
    // It is stopped and started all the same.
    the_box.kill("web");
    the_box.start("web");
    all_is_well(&the_box, daemon);
}

#[test]
fn what_a_guest_says_of_others_reaches_neither_them_nor_the_box() {
    let Some(the_box) = TestBox::new("a guest's frames") else { return };
    let daemon = the_box.daemon_pid();
    let gateway = the_box.address(1).to_string();
    let mac = |of: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{of}/address")).unwrap();
        text.trim().to_string()
    };
    let prefix = "fd99:bad:bad:bad";
    for isolate in [true, false] {
        guest(&the_box, "evil", json!({ "isolate": isolate }));
        the_box.create("victim", json!({}));
        the_box.wait_for_address("victim");
        the_box.inside("victim", &format!("ping -c 1 {gateway} >/dev/null"));
        let neighbour = || the_box.inside("victim", &format!("ip neigh show {gateway}"));
        let has_prefix = || processes::sh("ip -6 addr").contains(prefix);
        let routes = || the_box.inside("victim", "ip -6 route; ip -6 addr show dev eth0").contains(prefix);
        evil(&the_box, "evil", &format!("arp {gateway}"));
        evil(&the_box, "evil", "router");
        evil(&the_box, "evil", "hardware 2000");
        let learned = || {
            let said =
                processes::sh(&format!("bridge fdb show br {} | grep -c ' master ' || true", the_box.bridge));
            said.trim().parse::<usize>().unwrap()
        };
        if isolate {
            // What has come through is there after an answer of the victim's, which goes the same way.
            the_box.inside("victim", &format!("ping -c 2 {gateway} >/dev/null"));
            let says = neighbour();
            assert!(says.contains(&mac(&the_box.bridge)), "the gateway is {says}");
            assert!(!routes(), "the victim has a route by the guest");
            assert!(!has_prefix(), "the box has an address in the guest's prefix");
            assert!(learned() < 50, "the bridge has learned {} hardware addresses", learned());
        } else {
            // Without, each of them is seen: this is how it looks like.
            eventually("a victim with a route by the guest", routes);
            eventually("a bridge that has learned what the guest made up", || learned() > 1000);
            processes::sh(&format!("ip -6 addr flush dev {} scope global", the_box.bridge));
        }
        the_box.delete("evil");
        the_box.delete("victim");
    }
    all_is_well(&the_box, daemon);
}

#[test]
fn what_the_kernel_has_for_all_a_guest_does_not_get() {
    let Some(the_box) = TestBox::new("what the kernel has for all") else { return };
    let daemon = the_box.daemon_pid();
    guest(&the_box, "web", json!({}));
    // As docs/security.md says: ENOSYS where programs go on in another way, EPERM elsewhere.
    let answers = evil(&the_box, "web", "calls");
    assert_eq!(answers.trim(), "38 38 38 38 1 1 38 38 1 1 1 1 1 1 1 1 1");
    assert_eq!(evil(&the_box, "web", "keys 50"), "0");
    // Control groups: what of them counts memory is not the guest's on v1, and bounded on v2.
    let groups =
        "mkdir -p /mnt; mount -t cgroup -o memory none /mnt 2>/dev/null || mount -t cgroup2 none /mnt; \
                  evil groups /mnt 3000; rmdir /mnt/g* 2>/dev/null || true; umount /mnt 2>/dev/null || true";
    let made: u32 = the_box.inside("web", groups).parse().unwrap();
    assert!(made <= 1000, "it made {made} control groups");
    // The box has terminals left.
    evil_aside(&the_box, "web", "terminals 10000 5");
    println!("it got {} terminals", said(&the_box, "web"));
    fs::File::options().read(true).write(true).open("/dev/ptmx").expect("a terminal for the box");
    all_is_well(&the_box, daemon);
}

#[test]
fn when_a_guest_has_all_inotify_instances_the_box_goes_on_and_says_so() {
    // The machine's instances are for all of its tests.
    let Some(the_box) = TestBox::alone("inotify instances") else { return };
    let daemon = the_box.daemon_pid();
    guest(&the_box, "web", json!({}));
    evil_aside(&the_box, "web", "inotify 100000 120");
    println!("it took {} instances", said(&the_box, "web"));
    let doctor = the_box.call("cloudbox", "doctor", json!({})).unwrap();
    let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "inotify");
    let check = check.unwrap_or_else(|| panic!("doctor does not watch the inotify instances: {doctor}"));
    let message = check["message"].as_str().unwrap();
    assert!(
        check["state"] != "ok" && message.contains("instances are left"),
        "doctor does not see it: {check}"
    );
    the_box.create("other", json!({}));
    the_box.inside("other", "true");
    all_is_well(&the_box, daemon);
}

#[test]
fn a_guest_that_rages_leaves_the_others_and_the_box_alone() {
    let Some(the_box) = TestBox::new("a guest that rages") else { return };
    let daemon = the_box.daemon_pid();
    guest(&the_box, "web", json!({ "cpus": "1" }));
    the_box.create("other", json!({}));
    // Nobody waits for a lease that a guest has on a file of its own which the box reads.
    the_box.inside("web", "echo 'ada:x:1000:1000::/tmp:/bin/sh' >> /etc/passwd");
    evil_aside(&the_box, "web", "lease /etc/passwd 100");
    said(&the_box, "web");
    let begun = Instant::now();
    let user = |who: &str| {
        let arguments = json!({ "name": "web", "command": ["id", "-u"], "user": who, "timeout": 5 });
        the_box.call("cloudbox.container", "exec", arguments)
    };
    assert_eq!(user("ada").unwrap_err().code, "busy");
    // Whatever reads it inside, waits there, and no longer than it may.
    let by_number = user("1000");
    assert!(by_number.as_ref().is_ok_and(|r| r["stdout"] == "1000\n") || by_number.is_err(), "{by_number:?}");
    println!("exec by a leased name was answered after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // Processes without end, and a console that is written to without end.
    // The console first: a guest that has all its processes lets nobody in.
    the_box.inside("web", "(setsid sh -c 'exec yes raging >/dev/console' >/dev/null 2>&1 </dev/null &)");
    evil_aside(&the_box, "web", "forks 0 6");
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(5) {
        let (list, took) = timed(&the_box, "list", json!({}));
        assert_eq!(list["containers"].as_array().map(Vec::len), Some(2), "{list}");
        slowest = slowest.max(took);
        assert_eq!(the_box.inside("other", "echo well"), "well");
    }
    println!("the slowest list took {slowest:?}");
    let logs = [the_box.container("web").console_log(), the_box.container("web").earlier_console_log()];
    let bytes: u64 = logs.iter().filter_map(|log| fs::metadata(log).ok()).map(|m| m.len()).sum();
    println!("its console's log has {bytes} bytes");
    assert!(bytes <= 300 << 10, "its console's log has {bytes} bytes");
    let begun = Instant::now();
    the_box.kill("web");
    println!("it was killed in {:?}", begun.elapsed());
    all_is_well(&the_box, daemon);
}
