//! What a container goes through between its start and its end.

use super::*;
use crate::daemon::core::Signal;
use crate::daemon::workers;
use crate::model::life::REBOOTS;
use crate::model::spec::Reach;
use crate::operations::Start;

#[test]
fn a_frozen_container_says_so_and_goes_on_when_told() {
    let mut bench = Bench::with(&["web", "rested-"]);
    bench.listen();
    assert_eq!(bench.ok("cloudbox.container freeze", json!({"name": "web"}))["state"], "done");
    assert_eq!(bench.states(), ["rested stopped", "web frozen"]);
    assert_eq!(bench.notified(), [r#"container.changed {"name":"web"}"#]);
    let why =
        bench.fails("not_running", "cloudbox.container exec", json!({"name": "web", "command": ["true"]}));
    assert!(why.contains("frozen; unfreeze it"), "{why}");
    // It takes its memory still.
    assert_eq!(bench.ok("cloudbox status", json!({}))["containers"]["running"], 1);
    // Twice is once, and tells nobody.
    bench.heard();
    assert_eq!(bench.ok("cloudbox.container freeze", json!({"name": "web"}))["state"], "done");
    assert_eq!(bench.notified(), Vec::<String>::new());

    let mut bench = bench.restarted();
    assert_eq!(bench.states(), ["rested stopped", "web frozen"]);
    bench.ok("cloudbox.container unfreeze", json!({"name": "web"}));
    assert_eq!(bench.states(), ["rested stopped", "web running"]);
    bench.ok("cloudbox.container unfreeze", json!({"name": "web"}));
    assert_eq!(bench.fake.calls().iter().filter(|c| *c == "runtime.thaw web").count(), 1);

    bench.ok("cloudbox.container freeze", json!({"name": "web"}));
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["rested stopped", "web running"]);
    for method in ["cloudbox.container freeze", "cloudbox.container unfreeze"] {
        bench.fails("not_running", method, json!({"name": "rested"}));
        bench.fails("not_found", method, json!({"name": "nobody"}));
        bench.fails("invalid_name", method, json!({"name": "../web"}));
    }
}

#[test]
fn what_does_not_freeze_runs_on() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.fail_with("runtime.freeze", crate::error::Code::Timeout);
    bench.fails("timeout", "cloudbox.container freeze", json!({"name": "web"}));
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn whoever_comes_second_is_told_who_came_first() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("runtime.freeze");
    let freeze = bench.begin("cloudbox.container freeze", json!({"name": "web"}));
    bench.work_until_held("runtime.freeze web");
    // Not yet frozen: it is what it was.
    assert_eq!(bench.states(), ["web running"]);
    let why = bench.fails("busy", "cloudbox.container stop", json!({"name": "web"}));
    assert!(why.contains("works on web (freeze)"), "{why}");
    bench.fake.release("runtime.freeze");
    assert_eq!(bench.wait_for(freeze).status, 0);
}

#[test]
fn a_set_changes_the_section_and_what_runs() {
    let mut bench = Bench::with(&["web", "rested-"]);
    bench.listen();
    let set = json!({"name": "web", "memory": "32M", "cpus": 0.5, "pids": 77, "autostart": false, "priority": 9,
        "restart": "always", "description": "A wiki", "slice": "s"});
    assert_eq!(bench.ok("cloudbox.container set", set)["state"], "done");
    assert_eq!(bench.notified(), [r#"container.changed {"name":"web"}"#]);
    assert_eq!(bench.fake.world().limits[&name("web")], (32 << 20, 500, 77));
    let config = bench.fake.world().config;
    for line in [
        "memory '32M'",
        "cpus '0.5'",
        "pids '77'",
        "autostart '0'",
        "priority '9'",
        "restart 'always'",
        "description 'A wiki'",
        "slice 's'",
    ] {
        assert!(config.contains(&format!("\toption {line}\n")), "{line}: {config}");
    }
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!(info["in_force"], json!({"memory": 32 << 20, "cpus": "0.5", "pids": 77}));
    assert_eq!((&info["description"], &info["autostart"]), (&json!("A wiki"), &json!(false)));
    assert_eq!(
        bench.ok("cloudbox reload", json!({})),
        json!({"jobs": [], "restart_required": [], "warnings": []})
    );

    // What only a start applies waits for it.
    bench.ok(
        "cloudbox.container set",
        json!({"name": "web", "address": "10.0.0.9/24", "gateway": "10.0.0.2"}),
    );
    assert_eq!(bench.entry("web")["restart_required"], json!(["address", "gateway"]));
    bench.ok("cloudbox.container set", json!({"name": "web", "address": "dhcp"}));
    assert!(!bench.fake.world().config.contains("gateway"), "a gateway without its network is gone");
    assert_eq!(bench.entry("web").get("restart_required"), None);
    // One that is stopped hears of it at its start.
    bench.ok("cloudbox.container set", json!({"name": "rested", "memory": "24M"}));
    bench.ok("cloudbox.container start", json!({"name": "rested", "wait": 15}));
    assert_eq!(bench.fake.world().limits[&name("rested")].0, 24 << 20);
    bench.restarted().ok("cloudbox.container info", json!({"name": "web"}));
}

#[test]
fn what_cannot_be_set_is_refused_with_the_reason_and_changes_nothing() {
    let mut bench = Bench::with(&["web"]);
    bench.ok(
        "cloudbox.container create",
        json!({"name": "big", "disk": "64M", "address": "10.0.0.8/24", "wait": 15}),
    );
    let before = bench.fake.world();
    for (code, set, why) in [
        ("invalid_argument", json!({"name": "web"}), "nothing to change"),
        ("invalid_argument", json!({"name": "web", "image": "other"}), "nothing to change"),
        ("invalid_argument", json!({"name": "web", "memory": "-1"}), "\"-1\""),
        ("invalid_argument", json!({"name": "web", "priority": 1000}), "from 0 to 999"),
        ("invalid_argument", json!({"name": "web", "restart": "sometimes"}), "no, on-failure or always"),
        ("invalid_argument", json!({"name": "web", "gateway": "10.0.0.2"}), "with address 'dhcp'"),
        ("not_found", json!({"name": "nobody", "memory": "32M"}), "no container nobody"),
        ("not_found", json!({"name": "web", "network": "br-none"}), "br-none"),
        ("exists", json!({"name": "web", "address": "10.0.0.8/24"}), "container big has it"),
        ("no_memory", json!({"name": "web", "memory": "900T"}), "900T: only"),
        ("no_space", json!({"name": "big", "disk": "900T"}), "only"),
        ("not_supported", json!({"name": "big", "disk": "32M"}), "disk 32M: container big has 64M"),
        ("not_supported", json!({"name": "big", "disk": "none"}), "has 64M"),
        ("not_supported", json!({"name": "web", "disk": "64M"}), "has none"),
        ("in_use", json!({"name": "web", "memory": "8M"}), "memory 8M: container web uses 11.7M"),
    ] {
        let message = bench.fails(code, "cloudbox.container set", set.clone());
        assert!(message.contains(why), "{set}: {message}");
        assert_eq!(bench.fake.world(), before, "{set}");
    }
    bench.ok("cloudbox.container set", json!({"name": "web", "memory": "8M", "force": true}));
    assert_eq!(bench.fake.world().limits[&name("web")].0, 8 << 20);
    bench.ok("cloudbox.container set", json!({"name": "big", "disk": "96M"}));
    assert_eq!(bench.entry("big")["disk_limit"], 96 << 20);
}

#[test]
fn a_set_that_fails_is_as_if_it_had_not_been_asked_for() {
    let mut bench = Bench::with(&["web"]);
    for call in ["config.change", "runtime.set_limits", "storage.save_record"] {
        let before = bench.fake.world();
        bench.fake.fail(call);
        bench.fails("failed", "cloudbox.container set", json!({"name": "web", "memory": "32M"}));
        assert_eq!(bench.fake.world(), before, "{call}");
        let entry = bench.entry("web");
        assert_eq!(
            (entry.get("restart_required"), &entry["memory_limit"]),
            (None, &json!(16 << 20)),
            "{call}"
        );
        assert_eq!(entry["state"], "running");
    }
}

#[test]
fn memory_that_is_being_given_is_not_given_twice() {
    let mut bench = Bench::with(&["web"]);
    let total = bench.ok("cloudbox status", json!({}))["memory"]["total"].as_u64().unwrap();
    let most = json!((total - (32 << 20)).to_string());
    bench.fake.hold("config.change");
    let set = bench.begin("cloudbox.container set", json!({"name": "web", "memory": most}));
    bench.work_until_held("config.change web");
    bench.fails("no_memory", "cloudbox.container create", json!({"name": "other", "memory": "48M"}));
    bench.fake.release("config.change");
    assert_eq!(bench.wait_for(set).status, 0);
    bench.fails("no_memory", "cloudbox.container create", json!({"name": "other", "memory": "48M"}));
    bench.ok("cloudbox.container set", json!({"name": "web", "memory": "16M"}));
    bench.ok("cloudbox.container create", json!({"name": "other", "memory": "48M", "wait": 15}));
}

/// Lets the container's init end with this wait status, and the daemon see to it.
fn crash(bench: &mut Bench, name: &str, status: Option<i32>) {
    bench.fake.crash(name, status);
    bench.poll_containers();
    bench.work();
}

/// The same for what `restart_in` says.
fn restart_in(bench: &mut Bench, name: &str) -> Option<u64> {
    bench.entry(name)["restart_in"].as_u64()
}

/// A box with the container web, whose section says this of restarts.
fn with_policy(policy: &str) -> Bench {
    let mut bench = Bench::new(&format!("{CONFIG}config container 'web'\n\toption restart '{policy}'\n"));
    bench.work();
    bench
}

#[test]
fn what_crashes_is_started_again_each_time_a_little_later() {
    let mut bench = with_policy("on-failure");
    bench.listen();
    for (count, wait) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        crash(&mut bench, "web", Some(9));
        let entry = bench.entry("web");
        assert_eq!((&entry["state"], &entry["exit"]), (&json!("failed"), &json!("crashed")));
        assert_eq!(entry["restart_in"], wait, "{entry}");
        assert!(entry["error"]["message"].as_str().unwrap().contains("was ended by signal 9"), "{entry}");
        assert!(bench.warnings()[0].starts_with("container web: its init"), "{:?}", bench.warnings());
        let told: Vec<String> =
            bench.notified().iter().map(|n| n.split(' ').next().unwrap().into()).collect();
        assert_eq!(told, ["container.stopped", "container.failed"]);

        bench.pass(Duration::from_millis(wait * 1000 - 500));
        assert_eq!(bench.states(), ["web failed"], "it is not time yet");
        bench.pass(Duration::from_secs(wait));
        bench.work();
        let entry = bench.entry("web");
        assert_eq!((&entry["state"], &entry["restarts"]), (&json!("running"), &json!(count)));
        assert_eq!((entry.get("error"), entry.get("exit"), entry.get("restart_in")), (None, None, None));
        assert_eq!(bench.notified(), [r#"container.started {"name":"web"}"#]);
    }
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!((&info["last_exit"]["reason"], &info["last_exit"]["signal"]), (&json!("crashed"), &json!(9)));
    // A hand at it begins the count anew.
    bench.ok("cloudbox.container restart", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.entry("web").get("restarts"), None);
    crash(&mut bench, "web", Some(1 << 8));
    assert_eq!(restart_in(&mut bench, "web"), Some(1));
}

#[test]
fn the_policy_says_who_is_started_again() {
    // How it ends: the wait status, whether it had run out of memory, and what that is called.
    let ends = [
        (Some(2), false, "poweroff"),
        (Some(0), false, "poweroff"),
        (Some(256), false, "crashed"),
        (Some(9), false, "crashed"),
        (Some(9), true, "out_of_memory"),
        (None, false, "unknown"),
    ];
    for (policy, expected) in
        [("no", [false; 6]), ("on-failure", [false, false, true, true, true, false]), ("always", [true; 6])]
    {
        for ((status, oom, reason), again) in ends.into_iter().zip(expected) {
            let mut bench = with_policy(policy);
            if oom {
                bench.fake.run_out_of_memory("web");
            }
            crash(&mut bench, "web", status);
            let entry = bench.entry("web");
            assert_eq!(entry["exit"], reason, "{policy}");
            assert_eq!(entry.get("restart_in").is_some(), again, "{policy} {reason}");
            assert_eq!(
                entry["state"] == "failed",
                ["crashed", "out_of_memory"].contains(&reason),
                "{reason}"
            );
            bench.pass(Duration::from_secs(2));
            bench.work();
            assert_eq!(bench.entry("web")["state"] == "running", again, "{policy} {reason}");
        }
    }
    // One that is stopped stays so.
    let mut bench = with_policy("always");
    for force in [false, true] {
        bench.ok("cloudbox.container stop", json!({"name": "web", "force": force, "wait": 15}));
        assert_eq!(restart_in(&mut bench, "web"), None);
        let entry = bench.entry("web");
        assert_eq!(entry.get("exit").and_then(Json::as_str), force.then_some("killed"), "{entry}");
        bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    }
}

#[test]
fn a_start_of_what_runs_is_good_whatever_its_section_says_now() {
    let mut bench = Bench::with(&["web"]);
    bench.reload(&(CONFIG.to_string() + "config container 'web'\n\toption memory '-1'\n"));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.fake.calls().iter().filter(|c| *c == "runtime.start web").count(), 1);
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.fails("invalid_argument", "cloudbox.container start", json!({"name": "web"}));
}

#[test]
fn a_restart_that_is_due_is_off_when_somebody_takes_care() {
    type Care = fn(&mut Bench);
    let cares: [(&str, Care, &str); 6] = [
        ("stop", |b| drop(b.ok("cloudbox.container stop", json!({"name": "web"}))), "failed"),
        ("start", |b| drop(b.ok("cloudbox.container start", json!({"name": "web", "wait": 15}))), "running"),
        ("delete", |b| drop(b.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}))), ""),
        (
            "no policy",
            |b| drop(b.ok("cloudbox.container set", json!({"name": "web", "restart": "no"}))),
            "failed",
        ),
        ("no section", |b| drop(b.reload(CONFIG)), "orphan"),
        (
            "off",
            |b| drop(b.reload(&(CONFIG.to_string() + "\toption enabled '0'\n" + &sections(&["web"])))),
            "failed",
        ),
    ];
    for (care, take, state) in cares {
        let mut bench = with_policy("on-failure");
        crash(&mut bench, "web", Some(9));
        assert_eq!(restart_in(&mut bench, "web"), Some(1), "{care}");
        take(&mut bench);
        let starts = bench.fake.calls().iter().filter(|c| *c == "runtime.start web").count();
        bench.pass(Duration::from_secs(3600));
        bench.work();
        assert_eq!(bench.fake.calls().iter().filter(|c| *c == "runtime.start web").count(), starts, "{care}");
        assert_eq!(bench.entry("web")["state"].as_str().unwrap_or_default(), state, "{care}");
        assert_eq!(bench.core.next_restart(), None, "{care}: a timer runs for nothing");
    }
}

#[test]
fn a_restart_that_fails_is_tried_again() {
    let mut bench = with_policy("on-failure");
    crash(&mut bench, "web", Some(9));
    bench.fake.fail("runtime.start");
    bench.pass(Duration::from_secs(2));
    bench.work();
    assert_eq!((bench.states(), restart_in(&mut bench, "web")), (vec!["web failed".to_string()], Some(2)));
    bench.fake.fail("network.check_bridge");
    bench.pass(Duration::from_secs(3));
    bench.work();
    assert_eq!(restart_in(&mut bench, "web"), Some(4));
    bench.pass(Duration::from_secs(5));
    bench.work();
    assert_eq!(bench.entry("web")["restarts"], 3);
    // What somebody starts and cannot be started is left at that.
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.fake.fail("runtime.start");
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!((restart_in(&mut bench, "web"), bench.core.next_restart()), (None, None));
}

#[test]
fn a_start_that_lacks_what_others_have_taken_is_tried_again() {
    let mut bench = with_policy("on-failure");
    let in_use = crate::error::Code::InUse;
    for (method, wait) in [("restart", 1), ("start", 1)] {
        bench.fake.fail_with("runtime.start", in_use);
        bench.fails("in_use", &format!("cloudbox.container {method}"), json!({"name": "web", "wait": 15}));
        assert_eq!(
            (bench.states(), restart_in(&mut bench, "web")),
            (vec!["web failed".to_string()], Some(wait))
        );
    }
    // There is none the next time either.
    bench.fake.fail_with("runtime.start", in_use);
    bench.pass(Duration::from_secs(2));
    bench.work();
    assert_eq!(restart_in(&mut bench, "web"), Some(2));
    bench.pass(Duration::from_secs(3));
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
    // A hand at it ends that, and a section that says so.
    bench.fake.fail_with("runtime.start", in_use);
    bench.fails("in_use", "cloudbox.container restart", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    assert_eq!(restart_in(&mut bench, "web"), None);
    let mut bench = with_policy("no");
    bench.fake.fail_with("runtime.start", in_use);
    bench.fails("in_use", "cloudbox.container restart", json!({"name": "web", "wait": 15}));
    assert_eq!(restart_in(&mut bench, "web"), None);
}

#[test]
fn a_daemon_that_ends_watches_nothing_and_starts_nothing() {
    let mut bench = with_policy("always");
    bench.ok("cloudbox.container create", json!({"name": "db", "wait": 15}));
    crash(&mut bench, "web", Some(9));
    assert_eq!(bench.core.fleet().count(), 1);
    assert!(bench.core.watched().iter().any(|(_, what)| matches!(what, Watched::Links)));
    let soon = Instant::now() + Duration::from_secs(2);
    assert!(bench.core.next_time().is_some_and(|next| next < soon));
    bench.core.handle_signal(Signal::End);
    assert_eq!((bench.core.fleet().count(), bench.core.watched().len()), (0, 0));
    assert_eq!(bench.core.next_time(), None);
    bench.pass(Duration::from_secs(60));
    assert!(bench.core.is_quiet());
    assert_eq!(bench.states(), ["db running", "web failed"]);
}

#[test]
fn a_later_daemon_remembers_what_is_due_and_how_it_ended() {
    let mut bench = with_policy("on-failure");
    crash(&mut bench, "web", Some(9));
    bench.pass(Duration::from_secs(2));
    bench.work();
    crash(&mut bench, "web", Some(3 << 8));
    let mut bench = bench.restarted();
    assert_eq!(bench.entry("web")["exit"], "crashed");
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!((&info["last_exit"]["code"], &info["restarts"]), (&json!(3), &json!(1)));
    assert_eq!((restart_in(&mut bench, "web"), bench.states()), (Some(2), vec!["web failed".to_string()]));
    bench.pass(Duration::from_secs(3));
    bench.work();
    assert_eq!(
        (bench.states(), &bench.entry("web")["restarts"]),
        (vec!["web running".to_string()], &json!(2))
    );
    let mut bench = bench.restarted();
    assert_eq!(bench.entry("web")["restarts"], 2);
}

#[test]
fn a_restart_stops_and_starts_with_what_the_section_says_now() {
    let mut bench = Bench::with(&["web", "rested-"]);
    bench.ok("cloudbox.container set", json!({"name": "web", "address": "10.0.0.9/24"}));
    bench.listen();
    let before = bench.fake.world().processes[&name("web")];
    assert_eq!(
        bench.ok("cloudbox.container restart", json!({"name": "web", "timeout": 5, "wait": 15}))["state"],
        "done"
    );
    assert_ne!(bench.fake.world().processes[&name("web")], before);
    assert_eq!(bench.notified(), [r#"container.started {"name":"web"}"#]);
    assert_eq!(bench.entry("web").get("restart_required"), None);
    // One that does not run is started.
    bench.ok("cloudbox.container restart", json!({"name": "rested", "wait": 15}));
    assert_eq!(bench.states(), ["rested running", "web running"]);

    bench.fails("not_found", "cloudbox.container restart", json!({"name": "nobody"}));
    bench.fails("invalid_argument", "cloudbox.container restart", json!({"name": "web", "timeout": 99999}));
    bench.fake.fail("runtime.start");
    bench.fails("failed", "cloudbox.container restart", json!({"name": "web", "wait": 15}));
    let entry = bench.entry("web");
    assert_eq!((&entry["state"], entry.get("restart_in")), (&json!("failed"), None));
    bench.fake.hold("runtime.stop");
    let restart = bench.job("cloudbox.container restart", json!({"name": "rested"}));
    bench.work_until_held("runtime.stop rested");
    assert_eq!(bench.entry("rested")["state"], "restarting");
    let why = bench.fails("busy", "cloudbox.container stop", json!({"name": "rested"}));
    assert!(why.contains(&format!("job {restart} works on rested (restart)")), "{why}");
    bench.fake.release("runtime.stop");
    bench.work();
}

#[test]
fn running_out_of_memory_is_told_but_not_each_time() {
    let mut bench = Bench::with(&["web"]);
    bench.listen();
    for _ in 0..3 {
        bench.fake.run_out_of_memory("web");
        bench.core.handle_watched(&super::super::core::Watched::Notices);
        bench.pump();
    }
    assert_eq!(bench.notified(), [r#"container.oom {"name":"web","count":1}"#]);
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn a_renamed_container_is_the_same_under_another_name() {
    let mut bench = Bench::with(&["web-", "db"]);
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_http._tcp", "port": 80}));
    let before = bench.ok("cloudbox.container info", json!({"name": "web"}));
    bench.listen();
    assert_eq!(
        bench.ok("cloudbox.container rename", json!({"name": "web", "new_name": "www"}))["state"],
        "done"
    );
    assert_eq!(bench.states(), ["db running", "www stopped"]);
    assert!(bench.notified().contains(&r#"container.changed {"name":"www","was":"web"}"#.to_string()));
    let after = bench.ok("cloudbox.container info", json!({"name": "www"}));
    for field in ["mac", "veth", "id_base", "image_sha256"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let services = bench.ok("cloudbox.service list", json!({}));
    assert_eq!(services["services"][1]["container"], "www", "{services}");
    assert_eq!(bench.warnings(), Vec::<String>::new());
    bench.fails("not_found", "cloudbox.container info", json!({"name": "web"}));

    // Whoever gets the old name is somebody else.
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    let second = bench.ok("cloudbox.container info", json!({"name": "web"}));
    for field in ["mac", "veth", "id_base"] {
        assert_ne!(after[field], second[field], "{field}");
    }
    bench.ok("cloudbox.container start", json!({"name": "www", "wait": 15}));
    let mut bench = bench.restarted();
    assert_eq!(bench.states(), ["db running", "web running", "www running"]);
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "www"}))["mac"], before["mac"]);
}

#[test]
fn what_cannot_be_renamed_keeps_its_name() {
    let mut bench = Bench::with(&["web-", "db"]);
    let before = bench.fake.world();
    for (code, name, new_name) in [
        ("running", "db", "www"),
        ("exists", "web", "db"),
        ("exists", "web", "web"),
        ("not_found", "nobody", "www"),
        ("invalid_name", "web", "../www"),
        ("invalid_name", "web", ""),
        ("invalid_argument", "web", "x"),
    ] {
        if code == "invalid_argument" {
            bench.fails(code, "cloudbox.container rename", json!({"name": name}));
        } else if !new_name.is_empty() {
            bench.fails(code, "cloudbox.container rename", json!({"name": name, "new_name": new_name}));
        }
        assert_eq!(bench.fake.world(), before, "{name} {new_name}");
    }
    for call in ["config.change", "storage.rename", "storage.save_record", "config.rename_container"] {
        bench.fake.fail(call);
        bench.fails("failed", "cloudbox.container rename", json!({"name": "web", "new_name": "www"}));
        assert_eq!(
            (bench.fake.world(), bench.states()),
            (before.clone(), vec!["db running".to_string(), "web stopped".into()])
        );
    }
    // The name is taken from the moment on when it is given.
    bench.fake.hold("storage.rename");
    let rename = bench.begin("cloudbox.container rename", json!({"name": "web", "new_name": "www"}));
    bench.work_until_held("storage.rename web");
    bench.fails("exists", "cloudbox.container create", json!({"name": "www"}));
    bench.fails("busy", "cloudbox.container start", json!({"name": "web"}));
    bench.fake.release("storage.rename");
    assert_eq!(bench.wait_for(rename).status, 0);
    assert_eq!(bench.states(), ["db running", "www stopped"]);
}

/// The file is read again for its sections' new names: what else stands in it is carried out, too.
#[test]
fn a_rename_carries_out_what_was_written_by_hand_meanwhile() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.change(|world| world.config.push_str("\nconfig container 'db'\n"));
    bench.ok("cloudbox.container rename", json!({"name": "web", "new_name": "www"}));
    bench.work();
    assert_eq!(bench.states(), ["db running", "www stopped"]);
}

/// What the plan wants and could not have is begun once, and again when somebody says `reload`. A renaming that fails is
/// taken back.
#[test]
fn what_failed_is_not_tried_for_ever() {
    for (call, before, section, failed, good) in [
        ("storage.build", &[][..], "config container 'a'\n", "a failed", "a running"),
        ("config.mark_deleting", &["a-"], "config container 'a'\n\toption deleting '1'\n", "a deleting", ""),
        ("config.change", &["a-"], "config container 'a'\n\toption renaming 'b'\n", "a stopped", "a stopped"),
        ("runtime.stop", &["a"], "", "a running", "a orphan"),
    ] {
        let mut bench = Bench::with(before);
        bench.fake.fail(call);
        bench.reload(&format!("{CONFIG}{section}"));
        assert_eq!(bench.states(), [failed], "{call}");
        let jobs = bench.core.state.jobs.iter().count();
        bench.pass(Duration::from_secs(600));
        bench.work();
        assert_eq!(bench.core.state.jobs.iter().count(), jobs, "{call}");
        bench.fake.heal();
        bench.ok("cloudbox reload", json!({}));
        bench.work();
        assert_eq!(bench.states().concat(), good, "{call}");
    }
}

#[test]
fn a_renaming_that_was_cut_short_is_finished() {
    for moved in [false, true] {
        let bench = Bench::with(&["web-"]);
        let config = bench.fake.world().config;
        let marked =
            config.replace("config container 'web'\n", "config container 'web'\n\toption renaming 'www'\n");
        bench.fake.change(|world| {
            world.config = marked;
            if moved {
                let files = world.alive.remove(&name("web")).unwrap();
                world.alive.insert(name("www"), files);
            }
        });
        let mut bench = bench.restarted();
        bench.work();
        assert_eq!(bench.states(), ["www stopped"], "moved: {moved}");
        let config = config.replace("config container 'web'", "config container 'www'");
        assert_eq!(bench.fake.world().config, config);
        bench.ok("cloudbox.container start", json!({"name": "www", "wait": 15}));
        bench.ok("cloudbox.container delete", json!({"name": "www", "force": true, "wait": 15}));
        assert!(bench.fake.world().alive.is_empty());
    }
}

/// Sections of containers with these priorities.
fn with_priorities(priorities: &[(&str, u16)]) -> String {
    let section = |(name, priority): &(&str, u16)| {
        format!("config container '{name}'\n\toption priority '{priority}'\n")
    };
    CONFIG.to_string() + &priorities.iter().map(section).collect::<String>()
}

/// The names in the order of these calls.
fn order(bench: &Bench, call: &str) -> Vec<String> {
    let calls = bench.fake.calls();
    calls.iter().filter_map(|c| Some(c.strip_prefix(call)?.trim().to_string())).collect()
}

/// Lets all go on but what waits for the start of `name`, which is held.
fn work_until_held_up(bench: &mut Bench, name: &str) {
    let started = Instant::now();
    let is_held_up = |bench: &Bench, name: &str| {
        bench.core.active.iter().all(|(id, active)| {
            let target = bench.core.state.jobs.get(*id).unwrap().target.to_string();
            target == name
                || active.is_behind_gate() && order(bench, &format!("storage.mount {target}")).len() > 1
        })
    };
    while !is_held_up(bench, name) {
        give_up(started, format_args!("somebody works on"));
        if let Ok(report) = bench.reports.try_recv() {
            bench.core.handle_report(report);
        }
        std::thread::yield_now();
    }
    bench.pump();
}

const GROUPS: [(&str, u16); 6] = [("a", 50), ("b", 10), ("c", 999), ("d", 10), ("e", 50), ("f", 0)];

#[test]
fn a_box_starts_its_containers_by_priority_one_group_after_the_other() {
    let bench = Bench::new(&with_priorities(&GROUPS));
    let mut bench = bench;
    bench.work();
    bench.ok("cloudbox shutdown", json!({"wait": 15}));
    std::fs::remove_file(bench.dir.path().join("boot")).unwrap();
    bench.fake.hold("runtime.start b");
    let before = order(&bench, "runtime.start").len();
    let mut bench = bench.restarted();
    bench.work_until_called("runtime.start b", 2);
    // It hangs: the other of its group goes on. Of the next group all is made that comes before an init, but none runs; of
    // the last nothing is begun.
    work_until_held_up(&mut bench, "b");
    for (name, mounted) in [("a", 2), ("e", 2), ("c", 1)] {
        assert_eq!(order(&bench, &format!("storage.mount {name}")).len(), mounted, "{name}");
    }
    let begun: Vec<String> = order(&bench, "runtime.start").split_off(before);
    assert!(["f b d", "f d b"].contains(&begun.join(" ").as_str()), "{begun:?}");
    assert!(!bench.dir.path().join("boot").exists(), "cut short now, a later daemon starts the rest");
    bench.fake.release("runtime.start b");
    // One that cannot be started holds up nobody.
    bench.fake.fail("runtime.start a");
    bench.work();
    let begun: Vec<String> = order(&bench, "runtime.start").split_off(before);
    let place = |name: &str| begun.iter().position(|b| b == name).unwrap();
    assert_eq!(begun.len(), 6);
    for (first, then) in [("f", "b"), ("f", "d"), ("b", "a"), ("d", "e"), ("a", "c"), ("e", "c")] {
        assert!(place(first) < place(then), "{begun:?}");
    }
    assert!(bench.dir.path().join("boot").exists());
    let states = ["a failed", "b running", "c running", "d running", "e running", "f running"];
    assert_eq!(bench.states(), states);
    // A restart of the daemon is no boot.
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(bench.states()[0], "a stopped");
}

/// A box that boots with these, all of which ran before; the start of `a` is held up.
fn booting(priorities: &[(&str, u16)]) -> Bench {
    let mut bench = Bench::new(&with_priorities(priorities));
    bench.work();
    bench.ok("cloudbox shutdown", json!({"wait": 15}));
    std::fs::remove_file(bench.dir.path().join("boot")).unwrap();
    bench.fake.hold("runtime.start a");
    let mut bench = bench.restarted();
    bench.work_until_called("runtime.start a", 2);
    bench
}

#[test]
fn what_is_deleted_or_started_while_the_box_starts_is_not_started_twice() {
    let mut bench = booting(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    bench.ok("cloudbox.container delete", json!({"name": "b", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "c", "wait": 15}));
    bench.ok("cloudbox reload", json!({}));
    bench.fake.release("runtime.start a");
    bench.work();
    assert_eq!(bench.states(), ["a running", "c running", "d running"]);
    assert_eq!(bench.warnings(), Vec::<String>::new());
    assert_eq!(order(&bench, "runtime.start c").len(), 2, "once before and once now");
}

/// What a person wants of a container that waits for its turn.
#[test]
fn a_start_that_waits_for_its_turn_gives_way_to_every_call() {
    let calls = [
        ("start", json!({"name": "b", "wait": 15}), "running"),
        ("stop", json!({"name": "b", "wait": 15}), "stopped"),
        ("delete", json!({"name": "b", "wait": 15}), ""),
        ("set", json!({"name": "b", "description": "x", "memory": "8M"}), "running"),
        ("snapshot", json!({"name": "b", "snapshot": "s", "wait": 15}), "running"),
        ("rename", json!({"name": "b", "new_name": "x", "wait": 15}), ""),
    ];
    for (method, arguments, state) in calls {
        let mut bench = booting(&[("a", 1), ("b", 2), ("c", 3)]);
        work_until_held_up(&mut bench, "a");
        let list = bench.ok("cloudbox.container list", json!({}));
        assert_eq!(list["containers"][1]["state"], "starting", "{list}");
        bench.ok(&format!("cloudbox.container {method}"), arguments);
        assert_eq!(bench.states()[0], "a starting", "{method}");
        bench.fake.release("runtime.start a");
        bench.work();
        let states = bench.states();
        assert!(states.contains(&"a running".into()) && states.contains(&"c running".into()), "{states:?}");
        let found = states.iter().find_map(|s| s.strip_prefix("b ")).unwrap_or_default();
        assert_eq!(found, state, "{method}");
        assert_eq!(bench.warnings(), Vec::<String>::new(), "{method}");
        assert!(bench.dir.path().join("boot").exists(), "{method}");
        let order = order(&bench, "runtime.start");
        let (b, c) = (order.iter().rposition(|n| n == "b"), order.iter().rposition(|n| n == "c"));
        assert!(state != "running" || b < c, "{method}: {order:?}");
    }
}

#[test]
fn a_start_that_waits_for_its_turn_keeps_no_place_and_ends_with_the_daemon() {
    let names: Vec<String> = (0..workers::AT_ONCE).map(|n| format!("b{n}")).collect();
    let mut all = vec![("a", 1)];
    all.extend(names.iter().map(|name| (name.as_str(), 2)));
    let mut bench = Bench::new(&with_priorities(&all));
    bench.work();
    bench.ok("cloudbox shutdown", json!({"wait": 15}));
    std::fs::remove_file(bench.dir.path().join("boot")).unwrap();
    bench.fake.hold("runtime.start a");
    let mut bench = bench.restarted();
    work_until_held_up(&mut bench, "a");
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.core.handle_signal(Signal::End);
    bench.work();
    let mounted: Vec<String> = bench.fake.world().roots.iter().map(|(_, name)| name.to_string()).collect();
    assert_eq!(mounted, ["web"]);
    bench.fake.release("runtime.start a");
    let mut bench = bench.restarted();
    bench.work();
    assert!(bench.states().iter().all(|state| state.ends_with(" running")), "{:?}", bench.states());
}

#[test]
fn a_delete_of_what_does_not_run_cuts_the_daemons_own_start_short() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.hold("runtime.start web");
    let start = Start::ask(&bench.core.state, &name("web")).unwrap();
    bench.core.begin_own(start);
    bench.work_until_held("runtime.start web");
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), Vec::<String>::new());
    // A person's own start is in the way.
    let mut bench = Bench::with(&["web-"]);
    bench.fake.hold("runtime.start web");
    bench.job("cloudbox.container start", json!({"name": "web"}));
    bench.work_until_held("runtime.start web");
    bench.fails("busy", "cloudbox.container delete", json!({"name": "web"}));
    bench.fake.release("runtime.start web");
    bench.work();
}

#[test]
fn a_box_stops_its_containers_in_reverse_order() {
    let mut bench = Bench::new(&with_priorities(&GROUPS));
    bench.work();
    bench.fake.hold("runtime.stop e");
    let job = bench.job("cloudbox shutdown", json!({"timeout": 60}));
    bench.work_until_held("runtime.stop e");
    while bench.core.active.len() > 1 {
        bench.report();
    }
    assert_eq!(order(&bench, "runtime.stop").iter().filter(|n| *n == "c").count(), 1);
    assert!(!order(&bench, "runtime.stop").contains(&"b".to_string()), "the group before has not ended");
    let status = bench.ok("cloudbox.job status", json!({"id": job}));
    assert_eq!(
        (&status["kind"], &status["target"], &status["state"]),
        (&json!("shutdown"), &json!("*"), &json!("running"))
    );
    assert_eq!((&status["percent"], &status["total"]), (&json!(33), &json!(6)), "{status}");
    // Nothing is started any more, by hand, by a reload or by itself.
    let why = bench.fails("busy", "cloudbox.container start", json!({"name": "c"}));
    assert!(why.contains(&format!("shutting down (job {job})")), "{why}");
    bench.fails("busy", "cloudbox.container create", json!({"name": "new"}));
    assert_eq!(bench.job("cloudbox shutdown", json!({})), job, "once is enough");
    bench.fake.release("runtime.stop e");
    bench.work();
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": job}))["state"], "done");
    let stops = order(&bench, "runtime.stop");
    let place = |name: &str| stops.iter().position(|b| b == name).unwrap();
    for (first, then) in [("c", "a"), ("c", "e"), ("a", "b"), ("e", "d"), ("b", "f"), ("d", "f")] {
        assert!(place(first) < place(then), "{stops:?}");
    }
    assert!(bench.fake.world().processes.is_empty());
    assert!(bench.fake.world().config.contains("priority '999'"), "what starts with the box does so still");
    bench.ok("cloudbox.container start", json!({"name": "a", "wait": 15}));
}

#[test]
fn a_shutdown_does_not_wait_for_what_somebody_wanted() {
    let mut bench = Bench::with(&["a", "b-", "c"]);
    crash(&mut bench, "c", Some(9));
    bench.fake.hold("runtime.start");
    bench.job("cloudbox.container start", json!({"name": "b"}));
    bench.work_until_held("runtime.start b");
    assert_eq!(bench.ok("cloudbox shutdown", json!({"wait": 15}))["state"], "done");
    assert_eq!(bench.states(), ["a stopped", "b failed", "c failed"]);
    assert_eq!(bench.core.next_restart(), None);
    assert!(bench.fake.world().processes.is_empty());

    // What cannot be stopped is named.
    bench.fake.release("runtime.start");
    bench.ok("cloudbox.container start", json!({"name": "a", "wait": 15}));
    bench.fake.fail("runtime.stop");
    let why = bench.fails("failed", "cloudbox shutdown", json!({"timeout": 0, "wait": 15}));
    assert_eq!(why, "a could not be stopped");
    bench.ok("cloudbox shutdown", json!({"wait": 15}));
    bench.fails("invalid_argument", "cloudbox shutdown", json!({"timeout": 99999}));
}

#[test]
fn where_a_container_may_go_holds_at_once() {
    let mut bench = Bench::with(&[]);
    let port = |bench: &Bench| bench.fake.ports().into_values().next().unwrap();
    bench.ok("cloudbox.container create", json!({"name": "web", "rate": "2M", "wait": 15}));
    assert_eq!((port(&bench).reach, port(&bench).rate.bytes), (Reach::All, Some(2 << 20)));
    bench.ok("cloudbox.container set", json!({"name": "web", "reach": "lan", "connections": 50, "wait": 15}));
    assert_eq!((port(&bench).reach, port(&bench).rate.connections), (Reach::Lan, Some(50)));
    assert_eq!(bench.entry("web")["restart_required"], Json::Null);
    bench.ok("cloudbox.container set", json!({"name": "web", "reach": "all", "rate": "none", "wait": 15}));
    assert_eq!((port(&bench).reach, port(&bench).rate.bytes), (Reach::All, None));

    // Who is of a slice is a stranger, unless told otherwise.
    bench.ok("cloudbox.container set", json!({"name": "web", "slice": "theirs", "wait": 15}));
    assert_eq!(port(&bench).reach, Reach::All);
    bench.ok("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    bench.ok("cloudbox.container create", json!({"name": "guest", "slice": "theirs", "wait": 15}));
    let guest = bench.fake.ports().into_values().find(|port| port.reach == Reach::Internet);
    assert!(guest.is_some(), "{:?}", bench.fake.ports());
    bench.fails("invalid_argument", "cloudbox.container set", json!({"name": "guest", "reach": "wan"}));
}

#[test]
fn what_a_container_may_send_is_settled_before_it_can_send() {
    let mut bench = Bench::with(&[]);
    // Each call for isolation and for a start, with what was asked for.
    let settled = |bench: &Bench, from: usize| -> Vec<String> {
        let calls = bench.fake.calls().into_iter().skip(from);
        calls.filter(|c| c.starts_with("network.isolate") || c.starts_with("runtime.start")).collect()
    };
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    let [isolated, started] = settled(&bench, 0).try_into().unwrap();
    assert!(isolated.starts_with("network.isolate cb"), "{isolated}");
    assert_eq!(started, "runtime.start web");

    // One that runs has it at once when it is set, and from a daemon that knew nothing of it.
    let from = bench.fake.calls().len();
    bench.ok("cloudbox.container set", json!({"name": "web", "isolate": false, "wait": 15}));
    assert_eq!(settled(&bench, from), [isolated.as_str()]);
    assert!(bench.fake.world().config.contains("option isolate '0'"));
    assert_eq!(bench.entry("web")["restart_required"], Json::Null);
    let from = bench.fake.calls().len();
    let mut bench = bench.restarted();
    assert_eq!(settled(&bench, from), [isolated.as_str()]);

    // Where the rules cannot be made, it does not start.
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.fake.fail("network.isolate");
    let from = bench.fake.calls().len();
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(settled(&bench, from), [isolated.as_str()]);
    assert_eq!(bench.states(), ["web failed"]);
}

#[test]
fn a_guest_that_reboots_again_and_again_is_held_up_as_one_that_crashes() {
    for (policy, again) in [("no", false), ("on-failure", true), ("always", true)] {
        let mut bench = with_policy(policy);
        for count in 1..=REBOOTS {
            bench.fake.reboot("web");
            bench.poll_containers();
            bench.work();
            assert_eq!(bench.states(), ["web running"], "{policy}: reboot {count}");
        }
        bench.fake.reboot("web");
        bench.poll_containers();
        bench.work();
        let entry = bench.entry("web");
        assert_eq!((&entry["state"], &entry["exit"]), (&json!("failed"), &json!("reboots")), "{policy}");
        assert_eq!(entry.get("restart_in").is_some(), again, "{policy}");
        assert!(entry["error"]["message"].as_str().unwrap().contains("rebooted again and again"), "{entry}");
        assert!(bench.fake.world().processes.is_empty() && bench.fake.world().roots.is_empty());
        bench.pass(Duration::from_secs(2));
        bench.work();
        assert_eq!(bench.entry("web")["state"] == "running", again, "{policy}");
    }
}

/// Lets a job of the daemon's own begin on container web, and stand still where it is.
struct OwnJob {
    what: &'static str,
    begin: fn(&mut Bench),
    held_at: &'static str,
}

const OWN_JOBS: [OwnJob; 3] = [
    OwnJob {
        what: "ended",
        begin: |bench| {
            bench.fake.hold("runtime.after_end");
            bench.fake.reboot("web");
            bench.poll_containers();
        },
        held_at: "runtime.after_end",
    },
    OwnJob {
        what: "start",
        begin: |bench| {
            crash(bench, "web", Some(9));
            bench.fake.hold("runtime.start");
            bench.pass(Duration::from_secs(2));
        },
        held_at: "runtime.start",
    },
    OwnJob {
        what: "set",
        begin: |bench| {
            bench.fake.hold("runtime.set_limits");
            let config = bench.fake.world().config.replace("'16M'", "'24M'");
            bench.fake.change(|world| world.config = config);
            bench.ok("cloudbox reload", json!({}));
        },
        held_at: "runtime.set_limits",
    },
];

#[test]
fn a_person_is_never_told_to_wait_for_a_job_of_the_daemons_own() {
    for OwnJob { what, begin, held_at } in OWN_JOBS {
        for (call, more, state) in [
            ("stop", json!({"wait": 15}), "stopped"),
            ("stop", json!({"wait": 15, "force": true}), "stopped"),
            ("delete", json!({"wait": 15, "force": true}), ""),
            ("start", json!({"wait": 15}), "running"),
            ("restart", json!({"wait": 15}), "running"),
            ("set", json!({"description": "x"}), "running"),
            ("snapshot", json!({"wait": 15}), "running"),
        ] {
            let mut bench = with_policy("on-failure");
            begin(&mut bench);
            bench.work_until_held(&format!("{held_at} web"));
            let mut arguments = more;
            arguments["name"] = "web".into();
            let call_id = bench.begin(&format!("cloudbox.container {call}"), arguments);
            assert_eq!(bench.answer(call_id), None, "{what}, {call}: it waits");
            // Who wants it to end waits for nothing: the job is cut short, unless it is about to end anyway.
            let cuts = matches!(call, "stop" | "delete") && what != "set";
            if !cuts {
                bench.fake.release(held_at);
            }
            let answer = bench.wait_for(call_id);
            assert_eq!(answer.status, 0, "{what}, {call}: {}", answer.text);
            bench.fake.release(held_at);
            bench.work();
            let entry = bench.entry("web");
            assert_eq!(entry["state"].as_str().unwrap_or(""), state, "{what}, {call}: {entry}");
            bench.pass(Duration::from_secs(3600));
            bench.work();
            let running = bench.fake.world().processes.contains_key(&name("web"));
            assert_eq!(running, state == "running", "{what}, {call}");
        }
    }
}

#[test]
fn a_job_of_the_daemons_own_is_waited_for_no_longer_than_a_caller_waits() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("runtime.after_end");
    bench.fake.reboot("web");
    bench.poll_containers();
    bench.work_until_held("runtime.after_end web");
    let calls: Vec<_> =
        (0..100).map(|_| bench.begin("cloudbox.container start", json!({"name": "web"}))).collect();
    let refused =
        calls.iter().filter(|call| bench.answer(**call).is_some_and(|a| a.code() == "busy")).count();
    assert_eq!(refused, 100 - 64, "not every number of calls is put aside");
    bench.pass(Duration::from_secs(30));
    let refused =
        calls.iter().filter(|call| bench.answer(**call).is_some_and(|a| a.code() == "busy")).count();
    assert_eq!(refused, 64);
    bench.fake.release("runtime.after_end");
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn a_disk_that_fails_is_told_once_and_shown_until_the_next_start() {
    let mut bench = Bench::new(CONFIG);
    bench.ok("cloudbox.container create", json!({"name": "web", "disk": "64M", "wait": 15}));
    bench.listen();
    for _ in 0..3 {
        bench.fake.fail_disk("web");
        bench.core.handle_watched(&Watched::Notices);
        bench.pump();
    }
    assert_eq!(bench.notified(), [r#"container.disk_failed {"name":"web"}"#]);
    let entry = bench.entry("web");
    assert_eq!(entry["state"], "running");
    assert!(entry["error"]["message"].as_str().unwrap().contains("read-only"), "{entry}");
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert!(info["error"]["message"].as_str().unwrap().contains("read-only"), "{info}");
    let doctor = bench.ok("cloudbox doctor", json!({}));
    assert!(doctor["checks"].to_string().contains("container web: its disk is read-only"), "{doctor}");
    bench.ok("cloudbox.container restart", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.entry("web").get("error"), None);
}

#[test]
fn a_disk_that_did_not_grow_is_told_as_it_is_and_tried_at_the_next_start_only() {
    let mut bench = Bench::new(CONFIG);
    bench.ok("cloudbox.container create", json!({"name": "web", "disk": "64M", "start": false, "wait": 15}));
    bench.ok("cloudbox.container set", json!({"name": "web", "disk": "1G", "wait": 15}));
    let small = crate::model::size::Bytes(64 << 20);
    bench.fake.change(|world| world.small_disks.extend([(name("web"), small)]));
    for _ in 0..2 {
        bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
        let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
        assert_eq!((&info["in_force"]["disk"], &info["asked"]["disk"]), (&json!(64 << 20), &json!(1 << 30)));
        assert_eq!(info["restart_required"], json!(["disk"]));
        let open = bench.core.state.jobs.open().count();
        assert_eq!(open, 0, "the daemon tries what it has just tried");
        bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    }
    bench.fake.change(|world| world.small_disks.clear());
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!((&info["in_force"]["disk"], info.get("restart_required")), (&json!(1 << 30), None));
}
