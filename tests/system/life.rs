//! What a container goes through between its start and its end, as the kernel and the guest see it.

use crate::test_box::{eventually, TestBox};
use serde_json::{json, Value};
use std::time::{Duration, Instant};

#[test]
fn a_frozen_container_stands_still_until_it_is_told_to_go_on() {
    let Some(mut the_box) = TestBox::new("freeze") else { return };
    the_box.create("web", json!({}));
    the_box.create("other", json!({}));
    the_box.inside("web", "(while :; do date +%s%N > /root/beat; done) > /dev/null 2>&1 &");
    let beat = the_box.container("web").upper().join("root/beat");
    let read = || std::fs::read_to_string(&beat).unwrap_or_default();
    let beats = || {
        let before = read();
        eventually("a beat", || read() != before);
    };
    beats();
    the_box.container_call("freeze", json!({ "name": "web" }));
    assert_eq!(the_box.state("web"), "frozen");
    assert_eq!(
        the_box.limit("web", "freezer", "freezer.state", "cgroup.freeze").replace('1', "FROZEN"),
        "FROZEN"
    );
    let (still, looked) = (read(), Instant::now());
    let refused = the_box.call("cloudbox.container", "exec", json!({ "name": "web", "command": ["true"] }));
    assert_eq!(refused.unwrap_err().code, "not_running");
    the_box.inside("other", "true");

    // Whoever comes next finds it frozen.
    the_box.kill_daemon();
    the_box.start_daemon();
    assert_eq!((the_box.state("web").as_str(), the_box.state("other").as_str()), ("frozen", "running"));
    assert!(looked.elapsed() > Duration::from_millis(10));
    assert_eq!(read(), still, "it went on while it was frozen");
    the_box.container_call("unfreeze", json!({ "name": "web" }));
    assert_eq!(the_box.state("web"), "running");
    beats();

    // A stop need not wait for what stands still, nor a delete.
    the_box.container_call("freeze", json!({ "name": "web" }));
    let begun = Instant::now();
    the_box.stop("web");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    the_box.start("web");
    for (name, force) in [("web", true), ("other", false)] {
        the_box.container_call("freeze", json!({ "name": name }));
        if !force {
            the_box.kill(name);
        }
        the_box.delete(name);
    }
    the_box.assert_nothing_left();
}

const MIB: u64 = 1 << 20;

fn set(the_box: &TestBox, name: &str, mut arguments: Value) {
    arguments["name"] = name.into();
    assert_eq!(the_box.container_call("set", arguments)["state"], "done");
}

/// What the kernel enforces: memory, processors' quota, processes.
fn in_force(the_box: &TestBox, name: &str) -> [String; 3] {
    let quota = the_box.limit(name, "cpu", "cpu.cfs_quota_us", "cpu.max");
    [
        the_box.limit(name, "memory", "memory.limit_in_bytes", "memory.max"),
        quota.split(' ').next().unwrap().to_string(),
        the_box.limit(name, "pids", "pids.max", "pids.max"),
    ]
}

#[test]
fn limits_change_while_a_container_runs() {
    let Some(mut the_box) = TestBox::new("live limits") else { return };
    the_box.create("web", json!({ "memory": "64M", "cpus": 1, "pids": 100 }));
    let init = the_box.init("web");
    let bytes = |mib: u64| (mib * MIB).to_string();
    assert_eq!(in_force(&the_box, "web"), [bytes(64), "100000".into(), "100".into()]);

    set(&the_box, "web", json!({ "memory": "96M", "cpus": "0.25", "pids": 50 }));
    assert_eq!(in_force(&the_box, "web"), [bytes(96), "25000".into(), "50".into()]);
    let info = the_box.info("web");
    assert_eq!(info["in_force"], json!({ "memory": 96 * MIB, "cpus": "0.25", "pids": 50 }));
    assert_eq!((info["asked"].clone(), info.get("restart_required")), (info["in_force"].clone(), None));
    assert!(the_box.config_text().contains("\toption memory '96M'\n"), "{}", the_box.config_text());

    // The file says the same thing another way.
    the_box.edit_config(|text| {
        text.replace("'96M'", "'80M'").replace("\toption pids '50'\n", "\toption pids '60'\n")
    });
    the_box.reload();
    the_box.quiet();
    assert_eq!(in_force(&the_box, "web"), [bytes(80), "25000".into(), "60".into()]);

    // The guest's own reboot does not bring the old limits back.
    the_box.exec("web", &["/sbin/reboot"]);
    eventually("a new init", || the_box.state("web") == "running" && the_box.init("web") != init);
    assert_eq!(in_force(&the_box, "web"), [bytes(80), "25000".into(), "60".into()]);

    // What it uses cannot be taken from it, but by force.
    the_box.exec("web", &["mount", "-t", "tmpfs", "none", "/tmp"]);
    the_box.exec("web", &["dd", "if=/dev/zero", "of=/tmp/held", "bs=1M", "count=40"]);
    let config = the_box.config_text();
    let refused =
        the_box.call("cloudbox.container", "set", json!({ "name": "web", "memory": "20M" })).unwrap_err();
    assert_eq!(refused.code, "in_use");
    assert!(refused.message.contains("memory 20M: container web uses 4"), "{}", refused.message);
    assert_eq!((in_force(&the_box, "web")[0].clone(), the_box.config_text()), (bytes(80), config));
    set(&the_box, "web", json!({ "memory": "70M" }));
    assert_eq!(in_force(&the_box, "web")[0], bytes(70));

    // What a start is needed for says so.
    let address = format!("{}/24", the_box.address(50));
    set(&the_box, "web", json!({ "address": address }));
    assert_eq!(the_box.info("web")["restart_required"], json!(["address"]));
    let list = the_box.list();
    assert_eq!(list[0]["restart_required"], json!(["address"]));
    the_box.restart_daemon();
    assert_eq!(the_box.info("web")["restart_required"], json!(["address"]));
    the_box.kill("web");
    the_box.start("web");
    assert_eq!(the_box.info("web").get("restart_required"), None);
    assert_eq!(in_force(&the_box, "web"), [bytes(70), "25000".into(), "60".into()]);
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn a_disk_grows_as_the_guest_sees_it_and_keeps_what_is_on_it() {
    let Some(the_box) = TestBox::new("growing a disk") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    let size = || -> u64 {
        let df = the_box.inside("web", "df -m / | tail -1");
        df.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(size() < 32);
    the_box
        .inside("web", "dd if=/dev/urandom of=/root/kept bs=1M count=8; md5sum /root/kept > /root/sum; sync");
    set(&the_box, "web", json!({ "disk": "200M" }));
    // A kernel that does not let us grow what is mounted does it at the next start, and says so.
    if the_box.info("web")["restart_required"] == json!(["disk"]) {
        println!("this kernel grows no mounted file system for us");
        assert!(size() < 32);
        assert_eq!(std::fs::metadata(the_box.container("web").disk()).unwrap().len(), 32 * MIB);
        the_box.stop("web");
        the_box.start("web");
    }
    assert_eq!(the_box.info("web").get("restart_required"), None);
    assert!((150..200).contains(&size()), "{} M", size());
    assert_eq!(the_box.inside("web", "md5sum -c /root/sum"), "/root/kept: OK");
    the_box.inside("web", "dd if=/dev/zero of=/root/more bs=1M count=100");
    assert_eq!(the_box.info("web")["in_force"]["disk"], 200 * MIB);
    let refused =
        the_box.call("cloudbox.container", "set", json!({ "name": "web", "disk": "64M" })).unwrap_err();
    assert_eq!(refused.code, "not_supported");

    // One that is stopped grows at its next start.
    the_box.stop("web");
    set(&the_box, "web", json!({ "disk": "300M" }));
    the_box.start("web");
    assert!((230..300).contains(&size()), "{} M", size());
    assert_eq!(the_box.inside("web", "md5sum -c /root/sum"), "/root/kept: OK");
    the_box.stop("web");
    let disk = the_box.container("web").disk();
    crate::processes::sh(&format!("e2fsck -fn {}", disk.display()));
    the_box.delete("web");
    the_box.assert_nothing_left();
}
