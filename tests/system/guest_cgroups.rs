//! What a guest does with control groups of its own.

use crate::test_box::TestBox;
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
    let Some(mut the_box) = TestBox::new("many groups of a guest") else { return };
    the_box.create("web", json!({}));
    // One in another, as deep as the shell gets without a path: far more than a path may have.
    let deep = "cd /mnt/x; n=0; while [ $n -lt 3000 ] && mkdir d 2>/dev/null; do cd d 2>/dev/null || break; n=$((n+1)); done; \
                sleep 1000 & echo $! > cgroup.procs; echo $n";
    let depth = the_box.inside("web", &format!("{FREEZER} {deep}"));
    println!("{depth} groups in one another");
    the_box.kill_daemon();
    the_box.start_daemon();
    assert_eq!(the_box.state("web"), "running");
    the_box.delete("web");
    the_box.assert_nothing_left();
}
