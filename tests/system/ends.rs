//! How containers end: by their own will, by ours, and not at all.

use crate::processes;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_guest_may_power_itself_off_and_reboot() {
    let Some(the_box) = TestBox::new("poweroff and reboot") else { return };
    the_box.import(Image::Distro);
    for (image, poweroff, reboot) in
        [("mini", "/sbin/poweroff", "/sbin/reboot"), ("distro", "systemctl poweroff", "systemctl reboot")]
    {
        the_box.create(image, json!({ "image": image, "memory": "256M", "disk": "64M" }));
        if image == "distro" {
            the_box.booted(image);
        }
        the_box.inside(image, "echo kept > /root/file");

        let (before, monitor) = (the_box.init(image), the_box.monitor(image));
        the_box.exec(image, &["/bin/sh", "-c", reboot]);
        eventually("a new init", || {
            the_box.state(image) == "running" && the_box.info(image)["pid"].as_i64() != Some(before.into())
        });
        assert!(!processes::lives(before));
        assert_eq!(the_box.monitor(image), monitor);
        eventually("a command in the rebooted guest", || {
            the_box.exec(image, &["cat", "/root/file"])["stdout"] == "kept\n"
        });
        assert_eq!(the_box.inits(image), [the_box.init(image)]);
        the_box.wait_for_address(image);

        if image == "distro" {
            the_box.booted(image);
        }
        the_box.exec(image, &["/bin/sh", "-c", poweroff]);
        the_box.wait_for_state(image, "stopped");
        eventually("the end of its processes", || the_box.processes(image).is_empty());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(the_box.container(image).path().to_str().unwrap()), "it is still mounted");
        the_box.start(image);
        assert_eq!(the_box.inside(image, "cat /root/file"), "kept");
        the_box.delete(image);
        the_box.assert_nothing_left();
    }
}

#[test]
fn a_stop_is_quick_even_right_after_the_start() {
    let Some(the_box) = TestBox::new("early stops") else { return };
    the_box.import(Image::Distro);
    for image in ["mini", "distro"] {
        the_box.create(image, json!({ "image": image, "memory": "256M", "start": false }));
        for _ in 0..3 {
            the_box.start(image);
            let begun = Instant::now();
            the_box.stop(image);
            println!("stop of {image} right after its start: {:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(10), "{image}: {:?}", begun.elapsed());
        }
        the_box.delete(image);
    }
    the_box.assert_nothing_left();
}

#[test]
fn a_guest_that_does_not_shut_down_is_killed_and_delays_nobody() {
    let Some(the_box) = TestBox::new("a hanging guest") else { return };
    the_box.create("stubborn", json!({}));
    the_box.create("other", json!({}));
    let init = the_box.init("stubborn");
    let pid = nix::unistd::Pid::from_raw(init);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();

    let begun = Instant::now();
    let stop = the_box.container_call("stop", json!({ "name": "stubborn", "timeout": 4 }));
    assert_eq!(the_box.state("stubborn"), "stopping");
    // Everybody else is served as ever.
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let call = Instant::now();
        the_box.list();
        slowest = slowest.max(call.elapsed());
    }
    println!("slowest list while a guest hangs: {slowest:?}");
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
    the_box.create("third", json!({}));
    the_box.inside("other", "true");
    the_box.delete("other");
    assert!(begun.elapsed() < Duration::from_secs(4), "the others waited for it: {:?}", begun.elapsed());
    // And itself is told to wait.
    let refused = the_box.call("cloudbox.container", "start", json!({ "name": "stubborn" })).unwrap_err();
    assert_eq!(refused.code, "busy");

    let job = the_box.job_end(stop["job"].as_str().unwrap());
    assert_eq!(job["state"], "done", "{job}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    assert!(!processes::lives(init));
    the_box.delete("stubborn");
    the_box.delete_last("third");
}
