//! What a guest does with control groups of its own.

use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

/// Mounts the freezer of either family at /mnt, as its guest's root may, and makes group `x` there.
const FREEZER: &str = "\
    mkdir -p /mnt; mount -t cgroup -o freezer none /mnt 2>/dev/null || mount -t cgroup2 none /mnt; mkdir /mnt/x; \
    freeze() { if [ -e /mnt/x/freezer.state ]; then echo FROZEN > /mnt/x/freezer.state; else echo 1 > /mnt/x/cgroup.freeze; fi; }; ";

#[test]
fn a_guest_that_freezes_its_own_groups_is_ended_by_force() {
    let Some(the_box) = TestBox::new("groups frozen by a guest") else { return };
    let a_process = "sleep 1000 & echo $! > /mnt/x/cgroup.procs; freeze";
    let its_init = "echo 1 > /mnt/x/cgroup.procs; freeze";
    for (what, script) in [("a process", a_process), ("its init", its_init)] {
        the_box.create("web", json!({}));
        the_box.inside("web", &format!("{FREEZER} ({script}) </dev/null >/dev/null 2>&1"));
        let begun = Instant::now();
        the_box.kill("web");
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
        assert_eq!(the_box.state("web"), "stopped");
        assert!(the_box.processes("web").is_empty());

        the_box.start("web");
        the_box.inside("web", &format!("{FREEZER} ({script}) </dev/null >/dev/null 2>&1"));
        let begun = Instant::now();
        the_box.delete("web");
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
        the_box.assert_nothing_left();
    }
}

#[test]
fn a_guest_with_thousands_of_groups_is_found_ended_and_removed() {
    let Some(mut the_box) = TestBox::with_web("many groups of a guest") else { return };
    // One in another, as deep as the shell gets without a path: far more than a path may have.
    let deep = "cd /mnt/x; n=0; while [ $n -lt 3000 ] && mkdir d 2>/dev/null; do cd d 2>/dev/null || break; n=$((n+1)); done; \
                sleep 1000 & echo $! > cgroup.procs; echo $n";
    let depth = the_box.inside("web", &format!("{FREEZER} {deep}"));
    println!("{depth} groups in one another");
    the_box.kill_daemon();
    the_box.start_daemon();
    assert_eq!(the_box.state("web"), "running");
    the_box.delete_last("web");
}

fn is_pure_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn a_guests_groups_are_bounded() {
    let Some(the_box) = TestBox::with_web("a guest's groups") else { return };
    for round in ["started", "rebooted"] {
        // v1: no groups of memory at all; v2: no more than so many.
        let script = if is_pure_v2() {
            "mkdir -p /mnt; mount -t cgroup2 none /mnt; n=0; while [ $n -lt 1100 ] && mkdir /mnt/g$n 2>/dev/null; do n=$((n+1)); done; \
             rmdir /mnt/g*; umount /mnt; echo $n"
        } else {
            "mkdir -p /mnt; mount -t cgroup -o memory none /mnt; mkdir /mnt/x 2>/dev/null && echo made; umount /mnt; echo 0"
        };
        let made = the_box.inside("web", script);
        let most = if is_pure_v2() { 1000 } else { 0 };
        assert!(made.parse::<u32>().is_ok_and(|made| made <= most), "{round}: {made}");
        // Swap is no way around the limit.
        let (v1, v2) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
        let swap = the_box.limit("web", "memory", v1, v2);
        assert!(swap == "0" || swap == (64 << 20).to_string(), "{swap}");
        let before = the_box.init("web");
        the_box.exec("web", &["/sbin/reboot"]);
        eventually("a new init", || the_box.state("web") == "running" && the_box.init("web") != before);
        eventually("a command in it", || the_box.exec("web", &["true"])["code"] == 0);
    }
    // More memory, then less: what counts swap goes along.
    for memory in ["96M", "32M"] {
        the_box.whole("cloudbox.container", "set", json!({ "name": "web", "memory": memory })).unwrap();
        let swap = the_box.limit("web", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        let limit = the_box.limit("web", "memory", "memory.limit_in_bytes", "memory.max");
        assert!(swap == "0" || swap == limit, "{memory}: {swap} and {limit}");
    }
    the_box.delete_last("web");
}

#[test]
fn the_box_comes_before_its_guests() {
    let Some(the_box) = TestBox::with_web("weights") else { return };
    let weight = the_box.limit(".", "cpu", "cpu.shares", "cpu.weight");
    assert!(["512", "50"].contains(&weight.as_str()), "{weight}");
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", the_box.init("web"))).unwrap();
    assert_eq!(score, "500\n");
    // It cannot take itself back.
    let refused = the_box.exec("web", &["/bin/sh", "-c", "echo -1 > /proc/self/oom_score_adj"]);
    assert_ne!(refused["code"], 0, "{refused}");
    the_box.delete_last("web");
}
