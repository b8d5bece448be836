//! The box's bridges come and go: ports are put back, and what waits for a bridge is started when it is there.

use super::*;

/// A box without a bridge, just booted, with these containers made before.
fn booted_without_bridge(containers: &[&str]) -> Bench {
    let mut bench = Bench::with(containers);
    for container in containers {
        bench.ok("cloudbox.container stop", json!({"name": container, "wait": 15}));
    }
    bench.work();
    std::fs::remove_file(bench.core.state.layout.boot_marker()).unwrap();
    bench.fake.remove_bridge();
    let mut bench = bench.restarted();
    bench.work();
    bench
}

fn bridge_comes(bench: &mut Bench) {
    bench.fake.make_bridge();
    assert_eq!(bench.poll_containers(), 1);
    bench.work();
}

fn calls(bench: &Bench, call: &str) -> usize {
    bench.fake.calls().iter().filter(|made| made.starts_with(call)).count()
}

#[test]
fn ports_are_put_back_when_their_bridge_is_made_anew() {
    let mut bench = Bench::with(&["db", "web", "off-"]);
    bench.listen();
    bench.fake.remove_bridge();
    bench.poll_containers();
    bench.work();
    assert_eq!(calls(&bench, "network.join"), 0, "there is nothing to put them into");
    bridge_comes(&mut bench);
    let again = |name: &str| format!("container.rejoined {{\"name\":\"{name}\",\"bridge\":\"br-lan\"}}");
    assert_eq!(bench.notified(), [again("db"), again("web")]);
    assert_eq!(bench.states(), ["db running", "off stopped", "web running"]);
    bridge_comes(&mut bench);
    assert_eq!(calls(&bench, "network.join"), 2, "they are there");
}

#[test]
fn a_port_that_was_taken_out_is_put_back_and_what_fails_is_tried_with_the_next_news() {
    let mut bench = Bench::with(&["web"]);
    let port = bench.core.state.containers[&name("web")].record.veth.clone();
    bench.fake.fail("network.join");
    bench.fake.take_out(&port);
    bench.poll_containers();
    bench.work();
    bench.settle();
    assert_eq!((calls(&bench, "network.join"), bench.core.next_time()), (1, None), "no timer runs");
    bench.fake.take_out(&port);
    bench.poll_containers();
    bench.work();
    assert_eq!(calls(&bench, "network.join"), 2);
    // Nobody told: a reload looks all the same.
    bench.fake.lose_port(&port);
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(calls(&bench, "network.join"), 3);
    // Nor does a daemon that starts need to be told.
    bench.fake.lose_port(&port);
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(calls(&bench, "network.join"), 4);
}

#[test]
fn a_port_that_is_lost_while_a_job_works_on_its_container_is_put_back_behind_it() {
    let mut bench = Bench::with(&["web"]);
    let port = bench.core.state.containers[&name("web")].record.veth.clone();
    bench.fake.hold("runtime.set_limits");
    bench.begin("cloudbox.container set", json!({"name": "web", "memory": "24M"}));
    bench.work_until_held("runtime.set_limits web");
    bench.fake.take_out(&port);
    bench.poll_containers();
    assert_eq!(calls(&bench, "network.join"), 0);
    bench.fake.release("runtime.set_limits");
    bench.work();
    assert_eq!(calls(&bench, "network.join"), 1);
}

#[test]
fn what_starts_at_boot_waits_for_its_bridge() {
    let mut bench = booted_without_bridge(&["a", "b"]);
    assert_eq!(bench.states(), ["a failed", "b failed"]);
    let warnings = bench.warnings();
    assert!(
        warnings.iter().any(|w| w.contains("container a: the bridge br-lan is not there")),
        "{warnings:?}"
    );
    // It waits over a restart of the daemon, and not for what somebody stopped meanwhile.
    bench.ok("cloudbox.container stop", json!({"name": "b", "wait": 15}));
    let mut bench = bench.restarted();
    bench.work();
    bench.settle();
    assert_eq!(bench.core.next_time(), None, "no timer runs");
    bridge_comes(&mut bench);
    assert_eq!(bench.states(), ["a running", "b stopped"]);
    bench.ok("cloudbox.container stop", json!({"name": "a", "wait": 15}));
    bridge_comes(&mut bench);
    assert_eq!(bench.states(), ["a stopped", "b stopped"], "it waits no more");
}

#[test]
fn a_declared_container_is_made_when_its_bridge_comes() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.remove_bridge();
    bench.reload(&format!("{CONFIG}{}", sections(&["web"])));
    assert_eq!(bench.states(), ["web failed"]);
    bridge_comes(&mut bench);
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn a_container_that_crashes_without_its_bridge_is_started_again_when_the_bridge_comes() {
    let mut bench = Bench::with(&["web"]);
    let config = bench.fake.world().config + "\toption restart 'always'\n";
    bench.reload(&config);
    bench.fake.remove_bridge();
    bench.poll_containers();
    bench.fake.crash("web", Some(9));
    bench.poll_containers();
    bench.work();
    bench.pass(Duration::from_secs(2));
    bench.work();
    bench.settle();
    assert_eq!((bench.states(), bench.core.next_time()), (vec!["web failed".to_string()], None));
    bridge_comes(&mut bench);
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn those_that_waited_start_in_the_order_of_their_priorities() {
    let mut bench = booted_without_bridge(&["a", "b", "c"]);
    let config = bench.fake.world().config;
    let config = config.replace("config container 'c'", "config container 'c'\n\toption priority '1'");
    bench.reload(&config);
    bridge_comes(&mut bench);
    let calls = bench.fake.calls();
    let started: Vec<&String> = calls.iter().filter(|call| call.starts_with("runtime.start ")).collect();
    assert_eq!(started[started.len() - 3], "runtime.start c");
}
