//! The script that is run once inside a new container.

use super::{Bench, CONFIG};
use serde_json::{json, Value as Json};

fn script_jobs(bench: &mut Bench) -> Vec<Json> {
    let jobs = bench.ok("cloudbox.job list", json!({}))["jobs"].as_array().unwrap().clone();
    jobs.into_iter().filter(|job| job["kind"] == "first_boot").collect()
}

#[test]
fn a_script_is_run_once_the_container_runs_and_its_failure_is_told() {
    let mut bench = Bench::new(CONFIG);
    let create =
        json!({"name": "web", "start": false, "first_boot": "#!/bin/sh\necho 'hi' \"$1\"\n", "wait": 15});
    bench.ok("cloudbox.container create", create);
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "web"}))["first_boot"]["state"], "pending");
    assert!(script_jobs(&mut bench).is_empty());
    // What was written is read back as it was.
    bench.ok("cloudbox reload", json!({}));
    assert_eq!(bench.entry("web")["error"], Json::Null);
    assert_eq!(bench.warnings(), Vec::<String>::new());

    bench.fake.give_addresses(&["10.0.0.77".parse().unwrap()]);
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    bench.work();
    let job = script_jobs(&mut bench).remove(0);
    assert_eq!((&job["state"], &job["target"]), (&json!("failed"), &json!("web")));
    assert!(job["error"]["message"].as_str().unwrap().contains("log web --first-boot"), "{job}");
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn a_script_at_work_keeps_nobody_from_the_container() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.give_addresses(&["10.0.0.77".parse().unwrap()]);
    bench.fake.hold("runtime.first_boot");
    bench.ok("cloudbox.container create", json!({"name": "web", "first_boot": "sleep 99", "wait": 15}));
    bench.work_until_held("runtime.first_boot web");
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "web"}))["first_boot"]["state"], "running");
    assert_eq!(bench.states(), ["web running"]);
    bench.ok("cloudbox.container set", json!({"name": "web", "description": "x", "wait": 15}));
    bench.ok("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    // Another one of its name is not disturbed by its end.
    bench.ok("cloudbox.container create", json!({"name": "web", "start": false, "wait": 15}));
    bench.fake.release("runtime.first_boot");
    bench.work();
    assert_eq!(bench.states(), ["web stopped"]);
}
