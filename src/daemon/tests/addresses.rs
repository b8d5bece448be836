//! Static addresses that may not work.

use super::*;
use std::net::Ipv4Addr;

/// The notes of the last job.
fn notes(bench: &mut Bench) -> Vec<String> {
    let jobs = bench.ok("cloudbox.job list", json!({}));
    let last = jobs["jobs"].as_array().unwrap().iter().max_by_key(|job| {
        let id = job["id"].as_str().unwrap();
        id.parse::<u32>().unwrap()
    });
    serde_json::from_value(last.unwrap()["notes"].clone()).unwrap_or_default()
}

#[test]
fn whoever_gives_an_address_is_told_who_has_it() {
    let mut bench = Bench::new(CONFIG);
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    bench.fake.add_neighbour(address(7), 0xab);
    bench.fake.add_lease(address(8), "\"phone\"");
    bench.ok("cloudbox.container create", json!({"name": "web", "address": "10.0.0.7/24", "wait": 15}));
    let said = notes(&mut bench);
    assert!(
        said.len() == 1 && said[0].contains("10.0.0.7: the machine") && said[0].contains("ab:ab:ab"),
        "{said:?}"
    );
    assert_eq!(bench.states(), ["web running"], "it may be about to go");
    for (address, notes_of_it) in
        [("10.0.0.8/24", "given it to \"phone\""), ("10.0.0.9/24", ""), ("dhcp", "")]
    {
        bench.ok("cloudbox.container set", json!({"name": "web", "address": address}));
        let said = notes(&mut bench).join("\n");
        assert!(said.contains(notes_of_it) && said.is_empty() == notes_of_it.is_empty(), "{address}: {said}");
    }
    // What is not changed is not asked again: by now the container itself has it.
    bench.ok("cloudbox.container set", json!({"name": "web", "address": "10.0.0.7/24"}));
    assert_eq!(notes(&mut bench).len(), 1);
    bench.ok("cloudbox.container set", json!({"name": "web", "address": "10.0.0.7/24", "description": "x"}));
    assert_eq!(notes(&mut bench), Vec::<String>::new());
}

#[test]
fn an_address_beside_its_bridges_network_is_told_when_it_is_given_and_by_doctor() {
    let mut bench = Bench::new(CONFIG);
    bench.ok(
        "cloudbox.container create",
        json!({"name": "web", "address": "10.0.1.7/24", "start": false, "wait": 15}),
    );
    let why = "address 10.0.1.7 is in no network of the bridge br-lan (10.0.0.1/24)";
    assert_eq!(notes(&mut bench), [why]);
    bench.ok("cloudbox.container create", json!({"name": "db", "address": "10.0.0.7/24", "wait": 15}));
    assert_eq!(notes(&mut bench), Vec::<String>::new());
    let doctor = bench.ok("cloudbox doctor", json!({}));
    let checks = doctor["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "addresses");
    let found: Vec<&str> = checks.map(|check| check["message"].as_str().unwrap()).collect();
    assert_eq!(found, [format!("web: {why}: few reach it")]);
}
