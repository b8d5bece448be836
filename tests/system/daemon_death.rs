//! The daemon dies, at every possible moment: containers do not notice, and nothing is ever half done.

use crate::processes;
use crate::test_box::{eventually, TestBox};
use serde_json::{json, Value};
use std::time::{Duration, Instant};

/// Pid and start time of the init of each container, and its monitor's.
fn identities(the_box: &TestBox) -> Vec<(String, i32, String, i32)> {
    let mut all = Vec::new();
    for name in the_box.names() {
        let init = the_box.init(&name);
        let monitor = the_box.monitor(&name);
        all.push((name, init, processes::start_time(init), monitor));
    }
    all
}

#[test]
fn five_containers_outlive_the_daemon() {
    let Some(mut the_box) = TestBox::alone("a killed daemon") else { return };
    for number in 1..=5 {
        the_box.create(
            &format!("c{number}"),
            json!({ "disk": if number % 2 == 0 { "32M" } else { "none" }, "restart": "no" }),
        );
    }
    let before = identities(&the_box);
    assert_eq!(before.len(), 5);

    // What procd kills with the service are the processes in its cgroup: the monitors are elsewhere.
    let own = processes::cgroups(the_box.daemon_pid());
    for (name, init, _, monitor) in &before {
        for pid in [init, monitor] {
            let theirs = processes::cgroups(*pid);
            assert!(
                theirs.iter().filter(|c| **c != "/").all(|c| !own.contains(c)),
                "{name}: {theirs:?} {own:?}"
            );
            assert!(
                theirs.iter().any(|c| c.starts_with(&format!("/{}/", the_box.layout.cgroup()))),
                "{theirs:?}"
            );
        }
    }

    for (how, kill) in [("kill -9", true), ("a restart", false)] {
        if kill {
            the_box.kill_daemon();
        } else {
            the_box.stop_daemon();
        }
        assert!(before.iter().all(|(_, init, _, _)| processes::lives(*init)));
        let begun = Instant::now();
        the_box.launch_daemon();
        let complete = |the_box: &TestBox| {
            let list = the_box.call("cloudbox.container", "list", json!({})).unwrap_or(Value::Null);
            list["containers"]
                .as_array()
                .is_some_and(|l| l.iter().filter(|c| c["state"] == "running").count() == 5)
        };
        eventually("a complete list", || complete(&the_box));
        println!("complete list after {how} with 5 running: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(identities(&the_box), before);
        assert_eq!(the_box.jobs().iter().filter(|job| job["state"] == "failed").count(), 0);
    }

    // They are watched and obeyed as before.
    the_box.inside("c1", "true");
    the_box.stop("c1");
    assert_eq!(the_box.state("c1"), "stopped");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[1].1), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    the_box.wait_for_state("c2", "failed");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

/// The points where faults can be injected, in the order they are passed by `story`.
#[cfg(feature = "faults")]
pub fn points_of(the_box: &mut TestBox, story: impl FnOnce(&TestBox)) -> Vec<String> {
    let trace = the_box.dir.join("trace");
    the_box.stop_daemon();
    the_box.environment.insert("CLOUDBOX_FAULT_TRACE", trace.display().to_string());
    the_box.start_daemon();
    let _ = std::fs::remove_file(&trace);
    story(the_box);
    the_box.stop_daemon();
    the_box.environment.clear();
    the_box.start_daemon();
    let mut points: Vec<String> = Vec::new();
    for point in std::fs::read_to_string(&trace).unwrap().lines() {
        if !points.iter().any(|p| p == point) {
            points.push(point.to_string());
        }
    }
    points
}

/// Makes `call` with a daemon that meets `fault` on the way, and waits for the daemon's death.
#[cfg(feature = "faults")]
pub fn die_at(the_box: &mut TestBox, point: &str, method: &str, arguments: &Value) {
    the_box.stop_daemon();
    the_box.environment.insert("CLOUDBOX_FAULT", format!("kill:{point}"));
    the_box.start_daemon();
    // The bus does not answer for who died: this waits for the death, not for a reply.
    let mut client = openwrt_ubus::client::Client::connect(the_box.socket()).unwrap();
    let fields = openwrt_ubus::to_fields(arguments).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    client.connection().call("cloudbox.container", method, &fields, deadline);
    eventually(&format!("the death at {point}"), || {
        let _ = client.next_event(Some(Instant::now() + Duration::from_millis(2)));
        the_box.daemon_has_ended()
    });
    the_box.environment.clear();
    the_box.start_daemon();
    the_box.quiet();
}

/// A container that exists must be a whole one.
#[cfg(feature = "faults")]
fn assert_whole(the_box: &TestBox, name: &str, when: &str) {
    let state = the_box.state(name);
    assert!(
        ["running", "stopped"].contains(&state.as_str()),
        "{when}: {name} is {state}: {:?}",
        the_box.list()
    );
    if state == "stopped" {
        the_box.start(name);
    }
    assert_eq!(the_box.inside(name, "hostname"), name, "{when}");
    assert_eq!(the_box.inits(name).len(), 1, "{when}");
    let status = the_box.call("cloudbox", "status", json!({})).unwrap();
    assert_eq!(status["warnings"], json!([]), "{when}");
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_any_step_of_create_the_container_is_whole_or_not_there() {
    let Some(mut the_box) = TestBox::new("kill -9 in create") else { return };
    let mut count = 0;
    for (disk, start) in [("none", true), ("32M", true), ("32M", false)] {
        let arguments =
            |name: &str| json!({ "name": name, "disk": disk, "start": start, "autostart": start });
        let points = points_of(&mut the_box, |b| b.create("trace", arguments("trace")));
        the_box.delete_last("trace");
        assert!(points.len() >= 7, "{points:?}");
        println!("create, disk {disk}, start {start}: {}", points.join(" "));
        let (mut whole, mut gone) = (0, 0);
        for point in &points {
            die_at(&mut the_box, point, "create", &arguments("web"));
            if the_box.state("web") == "absent" {
                gone += 1;
            } else {
                whole += 1;
                assert_whole(&the_box, "web", point);
                the_box.delete("web");
            }
            the_box.assert_nothing_left();
            count += 1;
        }
        println!("    {whole} times whole, {gone} times gone");
    }
    println!("killed at {count} points of create");
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_any_step_of_delete_the_container_goes_all_the_same() {
    let Some(mut the_box) = TestBox::new("kill -9 in delete") else { return };
    let arguments = json!({ "name": "web", "force": true });
    for (disk, running) in [("none", true), ("32M", true), ("32M", false)] {
        let create = |b: &TestBox| b.create("web", json!({ "disk": disk, "start": running }));
        create(&the_box);
        let points = points_of(&mut the_box, |b| b.delete("web"));
        assert!(points.len() >= 5, "{points:?}");
        println!("delete, disk {disk}, running {running}: {}", points.join(" "));
        for point in &points {
            create(&the_box);
            die_at(&mut the_box, point, "delete", &arguments);
            if point == &points[0] {
                // Nothing had been written down yet: it is as if nobody had asked.
                assert_whole(&the_box, "web", point);
                the_box.delete("web");
            }
            assert_eq!(the_box.state("web"), "absent", "{point}");
            the_box.assert_nothing_left();
        }
    }
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_any_step_of_start_and_stop_nothing_is_lost() {
    let Some(mut the_box) = TestBox::new("kill -9 in start and stop") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    the_box.inside("web", "echo kept > /root/file; sync");
    the_box.kill("web");
    let name = json!({ "name": "web" });
    for method in ["start", "stop"] {
        let points = points_of(&mut the_box, |b| {
            if method == "stop" {
                b.start("web");
            }
            b.whole("cloudbox.container", method, json!({ "name": "web", "force": false })).unwrap();
        });
        for point in points.iter().filter(|p| p.starts_with(method)) {
            if method == "stop" {
                the_box.start("web");
            } else {
                the_box.kill("web");
            }
            die_at(&mut the_box, point, method, &name);
            assert_whole(&the_box, "web", point);
            assert_eq!(the_box.inside("web", "cat /root/file"), "kept", "{point}");
        }
    }
    the_box.delete_last("web");
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_any_step_of_set_restart_and_rename_nothing_is_lost() {
    let Some(mut the_box) = TestBox::new("kill -9 in set, restart and rename") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    the_box.inside("web", "echo kept > /root/file; sync");
    let trace = |the_box: &mut TestBox, method: &'static str, arguments: Value| -> Vec<String> {
        let points = points_of(the_box, |b| {
            b.whole("cloudbox.container", method, arguments).unwrap();
        });
        println!("{method}: {}", points.join(" "));
        points
    };
    // A set: the section and what is in force say the same in the end.
    let points = trace(&mut the_box, "set", json!({ "name": "web", "memory": "48M" }));
    assert!(points.len() >= 3, "{points:?}");
    for (count, point) in points.iter().enumerate() {
        let memory = format!("{}M", 50 + count);
        die_at(&mut the_box, point, "set", &json!({ "name": "web", "memory": memory }));
        let info = the_box.info("web");
        assert_eq!(info["in_force"]["memory"], info["asked"]["memory"], "{point}");
        assert_eq!(info.get("restart_required"), None, "{point}");
        let written = the_box.config_text().contains(&format!("'{memory}'"));
        assert_eq!(written, count > 0, "{point}: {}", the_box.config_text());
        assert_whole(&the_box, "web", point);
    }
    let restart = json!({ "name": "web", "timeout": 0 });
    for point in trace(&mut the_box, "restart", restart.clone()) {
        die_at(&mut the_box, &point, "restart", &restart);
        assert_whole(&the_box, "web", &point);
        assert_eq!(the_box.inside("web", "cat /root/file"), "kept", "{point}");
    }
    // A renaming is finished, or was never begun.
    the_box.stop("web");
    let points = trace(&mut the_box, "rename", json!({ "name": "web", "new_name": "www" }));
    assert!(points.len() >= 4, "{points:?}");
    let (mut old, mut new) = ("www", "web");
    for (count, point) in points.iter().enumerate() {
        die_at(&mut the_box, point, "rename", &json!({ "name": old, "new_name": new }));
        if count > 0 {
            (old, new) = (new, old);
        }
        assert_eq!(the_box.names(), [old], "{point}");
        assert!(!the_box.config_text().contains("renaming"), "{point}");
        assert_whole(&the_box, old, point);
        assert_eq!(the_box.inside(old, "cat /root/file"), "kept", "{point}");
        the_box.stop(old);
    }
    the_box.delete(old);
    the_box.assert_nothing_left();
}

#[cfg(feature = "faults")]
#[test]
fn a_create_that_fails_at_any_step_leaves_nothing() {
    let Some(mut the_box) = TestBox::new("failing creates") else { return };
    for disk in ["none", "32M"] {
        let points = points_of(&mut the_box, |b| b.create("trace", json!({ "disk": disk })));
        the_box.delete("trace");
        let before = the_box.config_text();
        for point in &points {
            the_box.stop_daemon();
            the_box.environment.insert("CLOUDBOX_FAULT", format!("fail:{point}"));
            the_box.start_daemon();
            let refused = the_box
                .whole("cloudbox.container", "create", json!({ "name": "web", "disk": disk }))
                .unwrap_err();
            assert_eq!(refused.code, "failed");
            assert_eq!(refused.message, format!("injected fault at {point}"));
            assert_eq!(the_box.state("web"), "absent", "{point}");
            assert_eq!(the_box.config_text(), before, "{point}");
            the_box.assert_nothing_left();
            the_box.environment.clear();
        }
    }
    the_box.restart_daemon();
    the_box.create("web", json!({}));
    the_box.delete_last("web");
}

/// Not at the steps but between them, wherever the clock strikes: in the middle of `lxc-start`, `mkfs`, a rename.
#[test]
fn killed_at_any_time_nothing_is_half_done() {
    let Some(mut the_box) = TestBox::new("kill -9 at any time") else { return };
    let (mut whole, mut gone) = (0, 0);
    for round in 0..24u64 {
        let name = format!("r{round}");
        let deleting = round % 3 == 2;
        if deleting {
            the_box.create(&name, json!({ "disk": "32M" }));
            the_box.container_call("delete", json!({ "name": name, "force": true }));
        } else {
            the_box.container_call(
                "create",
                json!({ "name": name, "disk": if round % 2 == 0 { "32M" } else { "none" } }),
            );
        }
        std::thread::sleep(Duration::from_millis(round * 7 / 2));
        the_box.kill_daemon();
        the_box.start_daemon();
        the_box.quiet();
        let state = the_box.state(&name);
        if state == "absent" {
            gone += 1;
        } else {
            whole += 1;
            assert!(["running", "stopped"].contains(&state.as_str()), "round {round}: {:?}", the_box.list());
            if state == "stopped" {
                the_box.start(&name);
            }
            assert_eq!(
                the_box.inside(&name, "hostname; echo x > /root/written; cat /root/written"),
                format!("{name}\nx")
            );
            assert_eq!(the_box.inits(&name).len(), 1);
            the_box.delete(&name);
        }
        the_box.assert_nothing_left();
    }
    println!("killed at 24 moments: {whole} times whole, {gone} times gone");
}
