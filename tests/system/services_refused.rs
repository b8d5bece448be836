//! Services that cannot be announced, and an avahi that cannot be told: each is said plainly, and harms no other.

use crate::bus::Answer;
use crate::neighbour::Neighbourhood;
use crate::processes::sh;
use crate::test_box::{eventually, TestBox};
use cloudbox::error::Code;
use serde_json::{json, Value};
use std::fs;
use std::time::Instant;

const HTTP: &str = "_http._tcp";

/// A box with a container `web` whose service `Good` is announced.
fn with_a_good_one(what: &str) -> Option<Neighbourhood> {
    let here = Neighbourhood::of(TestBox::new(what)?);
    here.the_box.create("web", json!({}));
    here.the_box.wait_for_address("web");
    here.publish("web", HTTP, 80, json!({ "name": "Good", "check": "none" }));
    here.wait_for_state("web_http_80", "published");
    here.neighbour.wait_until(HTTP, "Good", |seen| seen.iter().any(|s| s.name == "Good"));
    Some(here)
}

/// Everything that a refused call must leave as it is.
fn picture(here: &Neighbourhood) -> String {
    let texts: Vec<String> = here
        .files()
        .iter()
        .map(|file| fs::read_to_string(here.the_box.avahi().join("services").join(file)).unwrap())
        .collect();
    format!("{:#?}\n{texts:#?}\n{}\n{}", here.services(), here.hosts(), here.the_box.config_text())
}

fn refused(what: &str, answer: Answer, code: &str, named: &str) {
    let refusal = match answer {
        Err(refusal) => refusal,
        Ok(reply) => panic!("{what} was accepted: {reply}"),
    };
    assert!(Code::ALL.iter().any(|c| c.as_str() == refusal.code), "{what}: {refusal:?}");
    assert_eq!(refusal.code, code, "{what}: {refusal:?}");
    assert!(refusal.message.contains(named), "{what}: {:?} does not name {named:?}", refusal.message);
}

#[test]
fn wrong_services_are_refused_and_harm_no_other() {
    let Some(here) = with_a_good_one("wrong services") else { return };
    let mut watch = here.neighbour.watch(HTTP);
    let begun = Instant::now();
    watch.found("Good", begun);
    let before = picture(&here);

    let records = |sizes: &[usize]| -> Vec<String> { sizes.iter().map(|size| "x".repeat(*size)).collect() };
    let long_name = "n".repeat(64);
    let cases = [
        (json!({ "type": "http" }), "http"),
        (json!({ "type": "_toolongservicename._tcp" }), "_toolongservicename._tcp"),
        (json!({ "type": "_a._sctp" }), "_a._sctp"),
        (json!({ "type": "_a._tcp" }), "_a._tcp"),
        (json!({ "type": "_a b._tcp" }), "_a b._tcp"),
        (json!({ "type": "_http._tcp\n" }), "type"),
        (json!({ "type": "" }), "type"),
        (json!({ "type": null }), "type"),
        (json!({ "port": 0 }), "port"),
        (json!({ "port": 65536 }), "65536"),
        (json!({ "port": -1 }), "-1"),
        (json!({ "port": "abc" }), "abc"),
        (json!({ "port": "80 " }), "80 "),
        (json!({ "port": null }), "port"),
        (json!({ "name": long_name }), "63"),
        (json!({ "name": "ü".repeat(32) }), "63"),
        (json!({ "name": "two\nlines" }), "name"),
        (json!({ "name": "bell\u{7}" }), "name"),
        (json!({ "txt": records(&[256]) }), "255"),
        (json!({ "txt": records(&[255, 255, 255, 255, 255, 20]) }), "1301"),
        (json!({ "txt": ["a\nb"] }), "txt"),
        (json!({ "txt": ["=no key"] }), "txt"),
        (json!({ "txt": [""] }), "txt"),
        (json!({ "protocol": "ipx" }), "ipx"),
        (json!({ "check": "http" }), "http"),
        (json!({ "type": "_sip._udp", "check": "tcp" }), "UDP"),
    ];
    for (change, named) in cases {
        let mut arguments = json!({ "container": "web", "type": "_xx._tcp", "port": 8080 });
        for (field, value) in change.as_object().unwrap() {
            arguments[field] = value.clone();
        }
        let shown = arguments.to_string();
        refused(&shown, here.call("publish", arguments), "invalid_argument", named);
        assert_eq!(picture(&here), before, "{shown} changed something");
    }
    let of = |container: &str| json!({ "container": container, "type": "_xx._tcp", "port": 8080 });
    refused("nobody's", here.call("publish", of("nosuch")), "not_found", "nosuch");
    refused("a wrong name's", here.call("publish", of("No Such")), "invalid_name", "No Such");
    let twice = json!({ "container": "web", "type": HTTP, "port": 80, "name": "Twice" });
    refused("the second", here.call("publish", twice), "exists", "web_http_80");
    refused("nothing", here.call("withdraw", json!({ "id": "nosuch" })), "not_found", "nosuch");
    refused("the box", here.call("withdraw", json!({ "id": "box" })), "not_supported", "advertise");
    assert_eq!(picture(&here), before);
    assert_eq!(watch.times_gone("Good", begun), 0);
    here.the_box.delete("web");
    here.the_box.assert_nothing_left();
}

#[test]
fn wrong_sections_are_named_and_harm_no_other() {
    let Some(here) = with_a_good_one("wrong service sections") else { return };
    let mut watch = here.neighbour.watch(HTTP);
    let begun = Instant::now();
    watch.found("Good", begun);
    let good = here.the_box.config_text();
    let cases = [
        ("option type 'http'\n\toption port '80'", "type"),
        ("option type '_toolongservicename._tcp'\n\toption port '80'", "type"),
        ("option type '_a._sctp'\n\toption port '80'", "type"),
        ("option type '_xx._tcp'\n\toption port '0'", "port"),
        ("option type '_xx._tcp'\n\toption port '65536'", "port"),
        ("option type '_xx._tcp'\n\toption port 'abc'", "port"),
        ("option type '_xx._tcp'", "port"),
        ("option port '80'", "type"),
        ("option type '_xx._tcp'\n\toption port '81'\n\toption check 'maybe'", "check"),
        ("option type '_http._tcp'\n\toption port '80'", "web_http_80"),
    ];
    for (options, named) in cases {
        let section = format!("\nconfig service 'bad'\n\toption container 'web'\n\t{options}\n");
        here.the_box.edit_config(|_| good.clone() + &section);
        let warnings = here.the_box.reload()["warnings"].clone();
        let text = warnings.to_string();
        assert_eq!(warnings.as_array().unwrap().len(), 1, "{options}: {text}");
        assert!(text.contains("bad") && text.contains(named), "{options}: {text}");
        let status = here.the_box.call("cloudbox", "status", json!({})).unwrap();
        assert!(status["warnings"].to_string().contains(named), "{options}: {status}");
        assert_eq!(here.service("bad"), Value::Null, "{options}");
        assert_eq!(here.service("web_http_80")["state"], "published", "{options}");
    }
    // A service of a container that is not there waits for it.
    let section = "\nconfig service\n\toption container 'later'\n\toption type '_xx._tcp'\n\toption port '81'\n\toption check 'none'\n";
    here.the_box.edit_config(|_| good.clone() + section);
    assert!(here.the_box.reload()["warnings"].to_string().contains("later"));
    let waiting = here.services().into_iter().find(|s| s["container"] == "later").unwrap();
    assert!(waiting["reason"].as_str().unwrap().contains("later"), "{waiting}");
    let mut others = here.neighbour.watch("_xx._tcp");
    let made = Instant::now();
    here.the_box.create("later", json!({}));
    others.found(here.host("later").trim_end_matches(".local"), made);
    assert_eq!(watch.times_gone("Good", begun), 0);
    for name in ["web", "later"] {
        here.the_box.delete(name);
    }
    here.the_box.assert_nothing_left();
}

#[test]
fn what_the_neighbour_reads_is_what_was_written_to_the_last_byte() {
    let Some(here) = with_a_good_one("odd names") else { return };
    let names = [
        "a < b & c > d",
        "\"quoted\" 'twice' ]]> %h <!-- -->",
        "Xarxa oberta – ñ ü 網",
        "&amp; &#60; \\032 \\ ; .",
        &"n".repeat(63),
    ];
    let mut watch = here.neighbour.watch("_odd._tcp");
    let begun = Instant::now();
    let records = ["path=/?a=1&b=<2>", "q=\"x\" \\ ;", "utf8=ñ–網", "empty=", "flag"];
    let mut sorted = records.map(String::from);
    sorted.sort();
    for (number, name) in names.iter().enumerate() {
        let port = 1000 + u16::try_from(number).unwrap();
        here.publish("web", "_odd._tcp", port, json!({ "name": name, "txt": records, "check": "none" }));
        let (_, seen) = watch.found_as(name, begun);
        assert_eq!((&seen.name.as_str(), seen.port), (name, port));
        assert_eq!(seen.txt, sorted);
    }
    // As much as is allowed still fits a packet, with the longest name.
    let full: Vec<String> = (0..5).map(|_| "x".repeat(255)).chain(["y".repeat(19)]).collect();
    let name = "m".repeat(63);
    here.publish("web", "_odd._tcp", 2000, json!({ "name": name, "txt": full, "check": "none" }));
    assert_eq!(watch.found_as(&name, begun).1.txt, full);
    here.the_box.delete("web");
    here.the_box.assert_nothing_left();
}

#[test]
fn without_a_directory_of_services_all_else_goes_on() {
    let Some(the_box) = TestBox::new("avahi absent") else { return };
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    let (services, away) = (the_box.avahi().join("services"), the_box.avahi().join("away"));
    the_box.create("web", json!({}));
    the_box.wait_for_address("web");
    let mut watch = here.neighbour.watch(HTTP);
    fs::rename(&services, &away).unwrap();
    let status = || the_box.call("cloudbox", "status", json!({})).unwrap()["avahi"].clone();
    assert_eq!(status()["state"], "absent");
    assert!(status()["message"].as_str().unwrap().contains("install"), "{}", status());
    let id = here.publish("web", HTTP, 80, json!({ "name": "Wiki", "check": "none" }));
    here.wait_for_state(&id, "withheld");
    let reason = here.service(&id)["reason"].as_str().unwrap().to_string();
    assert!(reason.contains("services"), "{reason}");
    the_box.stop("web");
    the_box.start("web");
    the_box.wait_for_address("web");
    // It is there again, and nobody needs to ask.
    let begun = Instant::now();
    fs::rename(&away, &services).unwrap();
    println!("services/ is there again → resolved: {:?}", watch.found("Wiki", begun));
    here.wait_for_state(&id, "published");
    assert_eq!(status()["state"], "running");
    the_box.delete_last("web");
}

#[test]
fn what_cannot_be_written_is_said_and_written_later() {
    let Some(mut here) = with_a_good_one("read-only services") else { return };
    let services = here.the_box.avahi().join("services");
    let mut watch = here.neighbour.watch(HTTP);
    let begun = Instant::now();
    watch.found("Good", begun);
    let shown = services.display();
    sh(&format!("mount --bind {shown} {shown} && mount -o remount,bind,ro {shown}"));
    here.the_box.own_mounts.push(services.clone());
    let id = here.publish("web", HTTP, 81, json!({ "name": "Late", "check": "none" }));
    here.wait_for_state(&id, "withheld");
    let reason = here.service(&id)["reason"].as_str().unwrap().to_string();
    assert!(reason.contains("services") && reason.contains("Read-only"), "{reason}");
    let status = here.the_box.call("cloudbox", "status", json!({})).unwrap();
    assert!(status["avahi"]["message"].as_str().unwrap().contains("Read-only"), "{status}");
    assert_eq!(here.service("web_http_80")["state"], "published");
    assert_eq!(watch.times_gone("Good", begun), 0);
    let log = here.the_box.daemon_log();
    for _ in 0..20 {
        here.service(&id);
    }
    let lines = |log: &str| log.lines().filter(|line| line.contains("Read-only")).count();
    assert_eq!(lines(&here.the_box.daemon_log()), lines(&log), "each look fills the log");

    sh(&format!("umount {shown}"));
    here.the_box.own_mounts.clear();
    let begun = Instant::now();
    here.wait_for_state(&id, "published");
    watch.found("Late", begun);

    // A file of the same name that is somebody else's, and one that cannot be replaced.
    fs::create_dir(services.join("cloudbox-web.web_http_82.service")).unwrap();
    let blocked = here.publish("web", HTTP, 82, json!({ "name": "Blocked", "check": "none" }));
    here.wait_for_state(&blocked, "withheld");
    assert_eq!(here.service("web_http_80")["state"], "published");
    fs::remove_dir(services.join("cloudbox-web.web_http_82.service")).unwrap();
    here.wait_for_state(&blocked, "published");
    let begun = Instant::now();
    here.the_box.delete("web");
    watch.gone("Good", begun);
    eventually("our files to go", || here.files() == ["cloudbox.service"]);
    here.the_box.assert_nothing_left();
}
