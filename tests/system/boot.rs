//! What starts with the box, and what does not.

use crate::processes::{self, Process};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn after_a_boot_what_shall_start_with_it_runs() {
    let Some(mut the_box) = TestBox::new("a boot") else { return };
    the_box.create("always", json!({ "disk": "32M" }));
    the_box.create("never", json!({ "autostart": false }));
    the_box.create("rested", json!({}));
    the_box.inside("always", "echo kept > /root/file; sync");
    the_box.stop("rested");
    assert_eq!(the_box.state("never"), "running");

    // A mere restart of the daemon starts nothing its owner has stopped.
    the_box.restart_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("rested"), "stopped");
    the_box.kill_daemon();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("rested"), "stopped");

    the_box.power_cut();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("always"), "running");
    assert_eq!(the_box.state("rested"), "running", "autostart is what the section says, not what was last");
    assert_eq!(the_box.state("never"), "stopped");
    assert_eq!(the_box.inside("always", "cat /root/file"), "kept");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn a_box_that_is_switched_off_in_uci_starts_nothing() {
    let Some(mut the_box) = TestBox::with_web("option enabled") else { return };
    the_box.edit_config(|text| {
        text.replace("\toption image 'mini'\n", "\toption image 'mini'\n\toption enabled '0'\n")
            + "\nconfig container 'new'\n"
    });
    the_box.reload();
    the_box.quiet();
    // What runs goes on; nothing is made or started.
    assert_eq!(the_box.state("web"), "running");
    assert_eq!(the_box.call("cloudbox", "status", json!({})).unwrap()["enabled"], false);
    assert!(!the_box.container("new").path().exists());
    the_box.power_cut();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "stopped");
    the_box.edit_config(|text| {
        text.replace("\toption enabled '0'\n", "").replace("\nconfig container 'new'\n", "")
    });
    the_box.reload();
    // Switched on again, it does what it would have done at boot.
    the_box.quiet();
    assert_eq!(the_box.state("web"), "running");
    the_box.delete_last("web");
}

#[test]
fn a_second_daemon_leaves_the_box_to_the_first() {
    let Some(the_box) = TestBox::with_web("two daemons") else { return };
    let status = Process::spawn(&mut the_box.daemon_command()).wait();
    assert_eq!(status.code(), Some(1));
    assert!(the_box.daemon_log().contains("another cloudbox daemon holds"), "{}", the_box.daemon_log());
    assert_eq!(the_box.state("web"), "running");
    the_box.delete_last("web");
}

/// Names in the order in which the daemon's log tells of them, since its `from`th byte.
fn told(the_box: &TestBox, from: usize, what: &str) -> Vec<String> {
    let log = the_box.daemon_log();
    let lines = log[from..].lines().filter(|line| line.contains(what));
    lines
        .map(|line| line.split("container ").nth(1).unwrap().split(' ').next().unwrap().to_string())
        .collect()
}

#[test]
fn sixteen_guests_start_by_priority_and_stop_in_reverse() {
    let Some(mut the_box) = TestBox::alone("order") else { return };
    the_box.import(Image::Distro);
    // Four groups of four; the names say nothing of the order.
    let group = |number: u32| ["40", "7", "50", "900"][number as usize % 4];
    for number in 0..16 {
        let name = format!("c{number}-p{}", group(number));
        let create =
            json!({ "image": "distro", "memory": "128M", "priority": group(number), "start": false });
        the_box.create(&name, create);
    }
    the_box.stop_daemon();
    std::fs::remove_file(the_box.layout.boot_marker()).unwrap();
    let from = the_box.daemon_log().len();
    let begun = Instant::now();
    the_box.start_daemon();
    the_box.quiet();
    while the_box.list().iter().any(|c| c["state"] != "running") {
        the_box.quiet();
    }
    println!("16 systemd guests started in order: {:?}", begun.elapsed());
    let groups = |told: Vec<String>| -> Vec<String> {
        assert_eq!(told.len(), 16, "{told:?}");
        let mut groups: Vec<String> =
            told.iter().map(|n| n.split("-p").nth(1).unwrap().to_string()).collect();
        groups.dedup();
        groups
    };
    assert_eq!(groups(told(&the_box, from, " runs")), ["7", "40", "50", "900"]);
    // LXC's monitor of one is there before its init.
    let mut runs_since = 0;
    for group in ["7", "40", "50", "900"] {
        let names =
            || (0..16).map(|n| format!("c{n}-p{group}")).filter(|name| the_box.names().contains(name));
        let began = |pid: i32| processes::start_time(pid).parse::<u64>().unwrap();
        let first = names().map(|name| began(the_box.monitor(&name))).min().unwrap();
        assert!(first >= runs_since, "one of group {group} was begun at {first}, before {runs_since}");
        runs_since = names().map(|name| began(the_box.init(&name))).max().unwrap();
    }
    for name in the_box.names() {
        // So many at once may want more than the box's usual limits give: whether all of it came up is not the matter.
        eventually(&format!("the boot of {name}"), || {
            let said = the_box.exec(&name, &["systemctl", "is-system-running", "--wait"]);
            ["running\n", "degraded\n"].iter().any(|state| said["stdout"] == *state)
        });
    }

    // One does not want to: it gets its share of the time, and the others what is left.
    let stubborn = "c3-p900";
    let pid = nix::unistd::Pid::from_raw(the_box.init(stubborn));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let from = the_box.daemon_log().len();
    let begun = Instant::now();
    the_box.whole("cloudbox", "shutdown", json!({ "timeout": 20 })).unwrap();
    let took = begun.elapsed();
    println!("16 systemd guests shut down in order, one of them stubborn: {took:?}");
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(19), "{took:?}");
    assert_eq!(groups(told(&the_box, from, " is stopped")), ["900", "50", "40", "7"]);
    for container in the_box.list() {
        let killed = container["name"] == stubborn;
        assert_eq!(container.get("exit").is_some(), killed, "{container}");
        assert_eq!((&container["state"], &container["autostart"]), (&json!("stopped"), &json!(true)));
    }
    // The box goes on: nothing comes back by itself, and anything by hand.
    the_box.restart_daemon();
    the_box.quiet();
    assert!(the_box.list().iter().all(|c| c["state"] == "stopped"));
    the_box.start(stubborn);
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
