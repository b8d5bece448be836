//! The bus goes away in the middle of work and comes back: normal life.

use crate::test_box::{eventually, TestBox};
use serde_json::json;

#[test]
fn a_restart_of_the_bus_loses_no_job() {
    let Some(mut the_box) = TestBox::new("a restart of the bus") else { return };
    the_box.create("before", json!({ "restart": "no" }));
    let pid = the_box.daemon_pid();
    for round in 0..3 {
        for number in 0..6 {
            the_box.container_call("create", json!({ "name": format!("r{round}n{number}"), "disk": "32M" }));
        }
        the_box.kill_bus();
        the_box.start_bus();
        the_box.wait_for_daemon();
        assert_eq!(the_box.daemon_pid(), pid, "it is the same daemon");
        the_box.quiet();
        let running = the_box.list().iter().filter(|c| c["state"] == "running").count();
        assert_eq!(running, 1 + 6 * (round + 1), "{:?}", the_box.list());
        for object in ["cloudbox", "cloudbox.container", "cloudbox.image", "cloudbox.job"] {
            let mut client = openwrt_ubus::client::Client::connect(the_box.socket()).unwrap();
            eventually(object, || {
                !client.lookup(object, std::time::Duration::from_secs(5)).unwrap().is_empty()
            });
        }
    }
    assert!(the_box.jobs().iter().all(|job| job["state"] == "done"), "{:?}", the_box.jobs());

    // Without a bus it goes on, and looks after its containers.
    the_box.kill_bus();
    let init = the_box.inits("before")[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL).unwrap();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let rootfs = the_box.container("before").rootfs();
    eventually("the stopped container is unmounted", || !mounts().contains(rootfs.to_str().unwrap()));
    the_box.start_bus();
    the_box.wait_for_daemon();
    the_box.wait_for_state("before", "failed");

    // A listener that subscribes by name hears again, too.
    let mut listener = the_box.listener();
    the_box.start("before");
    listener.hears("container.started", "before");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
