//! What the neighbour sees when a file of avahi's is written by hand: the tests of the services rest on this.

use crate::avahi::Avahi;
use crate::neighbour::Neighbour;
use crate::test_box::{eventually, TestBox};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const KIND: &str = "_cbtest._tcp";

/// Writes a service file as the daemon must: never half, never with the last one's time.
fn publish(the_box: &TestBox, name: &str, host: &str, txt: &str, age: u64) {
    let text = format!(
        "<service-group><name>{name}</name><service protocol=\"ipv4\"><type>{KIND}</type>\
         <host-name>{host}</host-name><port>80</port><txt-record>{txt}</txt-record></service></service-group>"
    );
    replace(&the_box.avahi().join("services/by-hand.service"), &text, age);
}

fn replace(path: &Path, text: &str, age: u64) {
    let temporary = path.with_file_name(".new");
    fs::write(&temporary, text).unwrap();
    let time = SystemTime::now() - Duration::from_secs(age);
    fs::File::options().write(true).open(&temporary).unwrap().set_modified(time).unwrap();
    fs::rename(&temporary, path).unwrap();
}

fn by_hand(the_box: &TestBox, mut avahi: Avahi) {
    let neighbour = Neighbour::of(the_box);
    let mut watch = neighbour.watch(KIND);
    assert_eq!(neighbour.services(KIND), []);

    // A service with a host of its own appears,
    let begun = Instant::now();
    let address = the_box.address(77);
    let hosts = format!("{address} other-box.local\nfd00:77::1 other-box.local\n");
    replace(&the_box.avahi().join("hosts"), &hosts, 0);
    publish(the_box, "Ada's &lt;wiki&gt; &amp; más.", "other-box.local", "v=1", 60);
    let (found, seen) = watch.found_as("Ada's <wiki> & más.", begun);
    println!("a file → resolved by the neighbour: {found:?}");
    assert_eq!((seen.host.as_str(), seen.address, seen.port), ("other-box.local", address.into(), 80));
    assert_eq!(seen.txt, ["v=1"]);
    assert_eq!(neighbour.resolve("other-box.local"), Some(address.into()));
    assert_eq!(neighbour.resolve_ipv6("other-box.local"), Some("fd00:77::1".parse().unwrap()));

    // changes,
    publish(the_box, "Ada's &lt;wiki&gt; &amp; más.", "other-box.local", "v=2", 30);
    let changed = neighbour.wait_until(KIND, "v=2", |seen| seen.iter().any(|s| s.txt == ["v=2"]));
    println!("a changed file → seen by the neighbour: {changed:?}");

    // outlives avahi-daemon in the neighbour's memory, comes back with it, goes when it says goodbye,
    let begun = Instant::now();
    avahi.kill();
    avahi.start();
    assert_eq!(neighbour.names(KIND), ["Ada's <wiki> & más."]);
    assert_eq!(watch.times_gone("Ada's <wiki> & más.", begun), 0);
    let begun = Instant::now();
    avahi.stop();
    watch.gone("Ada's <wiki> & más.", begun);
    let begun = Instant::now();
    avahi.start();
    watch.found("Ada's <wiki> & más.", begun);
    assert!(watch.knows("Ada's <wiki> & más."));

    // and goes with its file.
    let begun = Instant::now();
    fs::remove_file(the_box.avahi().join("services/by-hand.service")).unwrap();
    let gone = watch.gone("Ada's <wiki> & más.", begun);
    println!("no file → gone for the neighbour: {gone:?}");
    assert!(!watch.knows("Ada's <wiki> & más."));
    replace(&the_box.avahi().join("hosts"), "# none\n", 0);
    eventually("the name to be gone", || neighbour.resolve("other-box.local").is_none());
    assert_eq!(neighbour.services(KIND), []);
}

#[test]
fn what_is_written_by_hand_is_seen_by_the_neighbour() {
    let Some(the_box) = TestBox::bare("avahi by hand", false) else { return };
    let avahi = Avahi::of(&the_box);
    by_hand(&the_box, avahi);
    the_box.assert_nothing_left();
}

#[test]
fn the_same_without_dbus() {
    let Some(the_box) = TestBox::bare("avahi by hand without D-Bus", false) else { return };
    let avahi = Avahi::without_dbus(&the_box);
    by_hand(&the_box, avahi);
    the_box.assert_nothing_left();
}
