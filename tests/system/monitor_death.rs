//! LXC's monitor is killed: the container goes on, known and counted, and is never started a second time.

use crate::processes;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;

fn kill_monitor(the_box: &TestBox, name: &str) {
    let monitor = the_box.monitor(name);
    let pid = nix::unistd::Pid::from_raw(monitor);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the monitor's end", || !processes::lives(monitor));
}

/// Starting it must not make a second one.
fn assert_one_instance(the_box: &TestBox, name: &str, init: i32) {
    assert_eq!(the_box.state(name), "running");
    assert_eq!(the_box.init(name), init);
    let _ = the_box.whole("cloudbox.container", "start", json!({ "name": name }));
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.inits(name), [init]);
    assert_eq!(the_box.state(name), "running");
}

#[test]
fn a_guest_that_dies_with_its_monitor_is_cleaned_up_and_starts_again() {
    let Some(mut the_box) = TestBox::new("a killed monitor") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    // LXC has the kernel kill an ordinary init with its monitor.
    kill_monitor(&the_box, "web");
    the_box.wait_for_state("web", "stopped");
    eventually("the end of its processes", || the_box.processes("web").is_empty());
    the_box.start("web");
    assert_eq!(the_box.inits("web"), [the_box.init("web")]);

    // The same while no daemon looks.
    let monitor = the_box.monitor("web");
    the_box.kill_daemon();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the monitor's end", || !processes::lives(monitor));
    the_box.start_daemon();
    // The daemon may be up before the guest's init has died.
    the_box.wait_for_state("web", "stopped");
    the_box.start("web");
    assert_eq!(the_box.inits("web"), [the_box.init("web")]);
    kill_monitor(&the_box, "web");
    the_box.wait_for_state("web", "stopped");
    the_box.delete_last("web");
}

#[test]
fn a_guest_that_outlives_its_monitor_is_never_started_twice() {
    let Some(mut the_box) = TestBox::new("an orphaned guest") else { return };
    the_box.import(Image::Distro);
    the_box.create("web", json!({ "image": "distro", "memory": "256M", "disk": "64M", "restart": "no" }));
    // An init that does not want to die with its parent.
    let script = "rm /sbin/init && printf '#!/bin/sh\\nexec setpriv --pdeathsig clear /lib/systemd/systemd\\n' > /sbin/init && chmod 755 /sbin/init";
    the_box.inside("web", script);
    the_box.kill("web");
    the_box.start("web");
    the_box.booted("web");
    let init = the_box.init("web");

    kill_monitor(&the_box, "web");
    assert_one_instance(&the_box, "web", init);
    the_box.restart_daemon();
    assert_one_instance(&the_box, "web", init);
    the_box.kill_daemon();
    the_box.start_daemon();
    assert_one_instance(&the_box, "web", init);

    // Force ends it, and it can be started again.
    the_box.kill("web");
    assert_eq!(the_box.state("web"), "stopped");
    assert!(the_box.processes("web").is_empty());
    the_box.start("web");
    the_box.booted("web");
    assert_eq!(the_box.inits("web").len(), 1);

    // Its monitor dies while no daemon looks.
    let init = the_box.init("web");
    let monitor = the_box.monitor("web");
    the_box.kill_daemon();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the monitor's end", || !processes::lives(monitor));
    the_box.start_daemon();
    assert_one_instance(&the_box, "web", init);

    // Its own end is noticed, and a graceful stop works as ever.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL).unwrap();
    the_box.wait_for_state("web", "stopped");
    the_box.start("web");
    the_box.booted("web");
    kill_monitor(&the_box, "web");
    the_box.stop("web");
    assert_eq!(the_box.state("web"), "stopped");
    the_box.start("web");
    the_box.booted("web");
    kill_monitor(&the_box, "web");
    the_box.delete_last("web");
}
