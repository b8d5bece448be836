//! The box's bridge is deleted and made anew, renamed, loses ports, comes late, as a router's owner and netifd do it.

use crate::processes::{output, sh, wait_for_rest, wakings};
use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// As `network restart` does it.
fn delete_bridge(the_box: &TestBox) {
    sh(&format!("ip link delete {}", the_box.bridge));
}

fn make_bridge(the_box: &TestBox) {
    let (bridge, own) = (&the_box.bridge, the_box.address(1));
    sh(&format!(
        "ip link add {bridge} type bridge; ip address add {own}/24 dev {bridge}; ip link set {bridge} up"
    ));
}

fn create(the_box: &TestBox, name: &str, last: u8) {
    the_box.create(name, json!({ "address": format!("{}/24", the_box.address(last)), "memory": "16M" }));
}

fn answers(the_box: &TestBox, last: u8) -> bool {
    let address = the_box.address(last).to_string();
    output(Command::new("ping").args(["-c", "1", "-W", "1", &address])).status.success()
}

fn port(the_box: &TestBox, name: &str) -> String {
    the_box.info(name)["interfaces"][0]["host"].as_str().unwrap().to_string()
}

fn is_in(port: &str, bridge: &str) -> bool {
    Path::new("/sys/class/net").join(bridge).join("brif").join(port).exists()
}

/// What `doctor` finds by this name, all states and messages in one.
fn found(the_box: &TestBox, check: &str) -> String {
    let reply = the_box.call("cloudbox", "doctor", json!({})).unwrap();
    let checks = reply["checks"].as_array().unwrap().iter().filter(|c| c["name"] == check);
    checks.map(|c| format!("{} {}\n", c["state"].as_str().unwrap(), c["message"].as_str().unwrap())).collect()
}

#[test]
fn twenty_containers_are_reachable_two_seconds_after_their_bridge_is_back() {
    let Some(the_box) = TestBox::alone("a bridge made anew") else { return };
    let last = |number: u8| 20 + number;
    for number in 0..20 {
        create(&the_box, &format!("c{number}"), last(number));
    }
    let mut listener = the_box.listener();
    delete_bridge(&the_box);
    eventually("doctor's word", || found(&the_box, "ports").contains("c7 has lost its bridge"));
    make_bridge(&the_box);
    let back = Instant::now();
    let addresses: Vec<String> = (0..20).map(|number| the_box.address(last(number)).to_string()).collect();
    let script = format!(
        "for a in {}; do ping -q -c 1 -W 1 $a >/dev/null && echo $a & done; wait",
        addresses.join(" ")
    );
    eventually("all of them", || {
        let answered = output(Command::new("sh").args(["-c", &script])).stdout;
        answered.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count() == addresses.len()
    });
    let took = back.elapsed();
    println!("20 containers are reachable after {took:.2?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    listener.hears("container.rejoined", "c7");
    assert!(
        found(&the_box, "ports").starts_with("note c0 has lost its bridge"),
        "{}",
        found(&the_box, "ports")
    );
    wait_for_rest(the_box.daemon_pid());
    // This wait is the measurement.
    let woken = wakings(the_box.daemon_pid(), Duration::from_secs(60));
    println!("context switches of the daemon in the 60 s after that: {woken}");
    assert_eq!(woken, 0);
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn a_port_comes_back_whatever_was_done_to_it_and_is_never_free() {
    let Some(mut the_box) = TestBox::new("ports") else { return };
    create(&the_box, "web", 20);
    let (port, bridge) = (port(&the_box, "web"), the_box.bridge.clone());
    let is_back =
        |the_box: &TestBox| eventually("the port", || is_in(&port, &the_box.bridge) && answers(the_box, 20));
    is_back(&the_box);

    sh(&format!("ip link set {port} nomaster"));
    is_back(&the_box);

    // Renamed: there is nothing to put it into, so it stays; then there is.
    sh(&format!("ip link set {bridge} down; ip link set {bridge} name {bridge}x; ip link set {bridge}x up"));
    eventually("doctor's word", || found(&the_box, "ports").contains(&format!("is in {bridge}x")));
    sh(&format!("ip address flush dev {bridge}x"));
    make_bridge(&the_box);
    is_back(&the_box);
    sh(&format!("ip link delete {bridge}x"));

    // Down is somebody's wish; doctor tells.
    sh(&format!("ip link set {bridge} down"));
    assert!(found(&the_box, "bridge").contains(&format!("{bridge} is down")));
    sh(&format!("ip link set {bridge} up"));
    is_back(&the_box);

    // A guest changes its address to another one's while it has no bridge, and somebody removes the rules.
    delete_bridge(&the_box);
    let foreign = the_box.address(99);
    the_box.inside("web", &format!("ip address add {foreign}/24 dev eth0"));
    output(Command::new("nft").args(["delete", "table", "bridge", "cloudbox"]));
    make_bridge(&the_box);
    is_back(&the_box);
    assert!(!answers(&the_box, 99), "it may send from an address that is not its own");

    // A daemon that is not there cannot; the next one does.
    the_box.kill_daemon();
    sh(&format!("ip link set {port} nomaster"));
    the_box.start_daemon();
    is_back(&the_box);
    the_box.delete_last("web");
}

#[test]
fn what_starts_at_boot_waits_for_a_bridge_that_comes_late() {
    let Some(mut the_box) = TestBox::new("a late bridge") else { return };
    create(&the_box, "web", 20);
    the_box.whole("cloudbox", "shutdown", json!({})).unwrap();
    the_box.kill_daemon();
    fs::remove_file(the_box.layout.boot_marker()).unwrap();
    delete_bridge(&the_box);
    the_box.start_daemon();
    the_box.wait_for_state("web", "failed");
    // Not even a restart of the daemon makes it forget.
    the_box.restart_daemon();
    assert_eq!(the_box.state("web"), "failed");
    make_bridge(&the_box);
    the_box.wait_for_state("web", "running");
    eventually("web", || answers(&the_box, 20));
    the_box.delete_last("web");
}

#[test]
fn the_bridge_keeps_its_hardware_address_whatever_stops() {
    let Some(the_box) = TestBox::new("the bridge's hardware address") else { return };
    let address = |of: &str| fs::read_to_string(format!("/sys/class/net/{of}/address")).unwrap();
    for (name, last) in [("a", 20), ("b", 21), ("c", 22)] {
        create(&the_box, name, last);
    }
    let before = address(&the_box.bridge);
    assert!(
        found(&the_box, "bridge").contains("keeps its hardware address"),
        "{}",
        found(&the_box, "bridge")
    );
    for name in ["a", "b", "c"] {
        the_box.kill(name);
        assert_eq!(address(&the_box.bridge), before, "{name} stopped");
    }
    // An address of its owner's is left alone.
    sh(&format!("ip link set {} address 02:00:00:00:77:01", the_box.bridge));
    for name in ["a", "b"] {
        the_box.start(name);
    }
    assert_eq!(address(&the_box.bridge).trim(), "02:00:00:00:77:01");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
