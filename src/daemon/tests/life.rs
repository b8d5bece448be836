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
