//! Static addresses that somebody else has, and a network that is renumbered.

use crate::processes::{network_namespace, sh, Process};
use crate::test_box::TestBox;
use serde_json::{json, Value};
use std::time::Instant;

/// The notes of the job that made container `name`.
fn notes(the_box: &TestBox, name: &str) -> Vec<Value> {
    let jobs = the_box.jobs();
    let made = jobs.iter().rfind(|job| job["kind"] == "create" && job["target"] == name);
    let made = made.unwrap_or_else(|| panic!("{name} was made by none of {jobs:?}"));
    made["notes"].as_array().cloned().unwrap_or_default()
}

/// Another machine on the box's bridge, with an address of its own.
fn machine(the_box: &TestBox, last: u8) -> Process {
    let (holder, namespace) = network_namespace();
    sh(&format!(
        "ip link add {port} type veth peer name eth0 address 02:11:22:33:44:55 netns {pid}; \
         ip link set {port} master {bridge} up; \
         nsenter --net={namespace} sh -ec 'ip addr add {address}/24 dev eth0; ip link set eth0 up'",
        port = the_box.neighbour_port(),
        pid = holder.pid(),
        bridge = the_box.bridge,
        address = the_box.address(last),
    ));
    holder
}

#[test]
fn a_static_address_that_somebody_has_is_told_and_a_renumbered_network_is() {
    let Some(the_box) = TestBox::new("addresses") else { return };
    let _machine = machine(&the_box, 5);
    let create = |name: &str, address: String| {
        let begun = Instant::now();
        the_box.create(name, json!({ "address": address }));
        (notes(&the_box, name), begun.elapsed())
    };
    let (taken, time) = create("taken", format!("{}/24", the_box.address(5)));
    println!("created with an address that somebody has: {time:?}");
    assert!(taken.len() == 1 && taken[0].as_str().unwrap().contains("02:11:22:33:44:55"), "{taken:?}");
    let (free, time) = create("free", format!("{}/24", the_box.address(6)));
    println!("created with an address that nobody has: {time:?}");
    assert!(free.is_empty(), "{free:?}");

    the_box.create("mail", json!({}));
    let leased = the_box.wait_for_address("mail");
    // Its lease outlives it.
    the_box.kill("mail");
    let (again, _) = create("db", format!("{leased}/24"));
    assert!(again.len() == 1 && again[0].as_str().unwrap().contains("given it to \"mail\""), "{again:?}");

    let beside = || -> Vec<String> {
        let doctor = the_box.call("cloudbox", "doctor", json!({})).unwrap();
        let checks = doctor["checks"].as_array().unwrap().clone();
        let found = checks.iter().filter(|check| check["name"] == "addresses");
        found.map(|check| check["message"].as_str().unwrap().split(':').next().unwrap().to_string()).collect()
    };
    assert_eq!(beside(), Vec::<String>::new());
    let (bridge, old) = (&the_box.bridge, the_box.address(1));
    sh(&format!("ip addr add 10.199.0.1/24 dev {bridge}; ip addr del {old}/24 dev {bridge}"));
    assert_eq!(beside(), ["db", "free", "taken"]);
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
