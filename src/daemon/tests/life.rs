//! What a container goes through between its start and its end.

use super::*;

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
