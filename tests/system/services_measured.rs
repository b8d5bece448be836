//! How soon the neighbour sees what changes, how often a file is written for it, and what it costs when nothing does.

use crate::bus::call_all;
use crate::neighbour::{answering, Neighbourhood, Watch};
use crate::processes::{wait_for_rest, wakings};
use crate::test_box::TestBox;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::json;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// From the port's answer, or from the call that ends the container.
const BAR: Duration = Duration::from_millis(1500);
/// For two hundred at once.
const MANY_BAR: Duration = Duration::from_secs(3);

#[test]
fn the_neighbour_sees_a_start_and_a_stop_in_time() {
    let Some(the_box) = TestBox::alone("bars of a service") else { return };
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    let mut watch = here.neighbour.watch("_http._tcp");
    let address = the_box.address(20);
    the_box.create("web", json!({ "address": format!("{address}/24") }));
    here.publish("web", "_http._tcp", 80, json!({ "name": "Wiki" }));
    let mut worst = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    // A program may take its time until it answers.
    for seconds in [0, 0, 0, 0, 1, 4, 12] {
        the_box.inside(
            "web",
            &format!("sed -i /httpd/d /etc/init.d/rcS; echo '(sleep {seconds}; httpd -p 80 -h /www) &' >> /etc/init.d/rcS"),
        );
        the_box.stop("web");
        let (began, answered) = std::thread::scope(|scope| {
            let answer = scope.spawn(|| answering(IpAddr::from(address), 80));
            let began = Instant::now();
            the_box.start("web");
            (began, answer.join().unwrap())
        });
        let found = watch.found("Wiki", began).saturating_sub(answered - began);
        here.wait_for_state("web_http_80", "published");
        let published = answered.elapsed();
        println!(
            "port answers {:?} after the start → resolved after {found:?}, published by {published:?}",
            answered - began
        );
        let begun = Instant::now();
        if seconds % 2 == 0 {
            the_box.stop("web");
        } else {
            the_box.kill("web");
        }
        let gone = watch.gone("Wiki", begun);
        println!("stop → gone after {gone:?}");
        worst = (worst.0.max(found), worst.1.max(gone), worst.2.max(published));
        the_box.start("web");
    }
    assert!(worst.0 <= BAR, "port answers → resolved: {:?}", worst.0);
    assert!(worst.1 <= BAR, "stop → gone: {:?}", worst.1);
    assert!(worst.2 <= BAR, "port answers → read back and published: {:?}", worst.2);
    the_box.delete_last("web");
}

/// Counts files that are put in their place.
struct Counter(Inotify);

impl Counter {
    fn on(dir: &Path) -> Counter {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE;
        inotify.add_watch(dir, flags).unwrap();
        Counter(inotify)
    }

    /// Renames, removals, and writes in place, since the last time.
    fn take(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        while let Ok(events) = self.0.read_events() {
            for event in events {
                let name = event.name.unwrap_or_default();
                match event.mask {
                    _ if name.to_string_lossy().starts_with('.') => {}
                    mask if mask.contains(AddWatchFlags::IN_MOVED_TO) => counts.0 += 1,
                    mask if mask.contains(AddWatchFlags::IN_DELETE) => counts.1 += 1,
                    _ => counts.2 += 1,
                }
            }
        }
        counts
    }
}

#[test]
fn two_hundred_services_are_seen_in_time_and_each_change_is_written_once() {
    let Some(the_box) = TestBox::alone("two hundred services") else { return };
    let mut here = Neighbourhood::of(the_box);
    let kinds: Vec<String> = (0..4).map(|n| format!("_kind{n}._tcp")).collect();
    let mut watches: Vec<Watch> = kinds.iter().map(|kind| here.neighbour.watch(kind)).collect();
    let names: Vec<String> = (0..50).map(|n| format!("c{n}")).collect();
    let create: Vec<_> = names.iter().map(|name| json!({ "name": name, "memory": "32M" })).collect();
    for job in call_all(&here.the_box.socket(), "cloudbox.container", "create", &create) {
        let job = here.the_box.job_end(job.unwrap()["job"].as_str().unwrap());
        assert_eq!(job["state"], "done", "{job}");
    }
    for name in &names {
        here.the_box.wait_for_address(name);
        for port in 8000..8004 {
            here.serve(name, port);
        }
    }
    let seen: Vec<String> =
        names.iter().map(|name| here.host(name).trim_end_matches(".local").into()).collect();
    // What the box says of itself is gathered.
    let says = |seen: &[crate::neighbour::Seen]| {
        seen.iter().any(|service| service.txt.contains(&"containers=50".to_string()))
    };
    here.neighbour.wait_until("_cloudbox._tcp", "containers=50", says);
    let services = Counter::on(&here.the_box.avahi().join("services"));
    let hosts = Counter::on(&here.the_box.avahi());

    // All at once, by the configuration.
    let mut sections = String::new();
    for name in &names {
        for (number, kind) in kinds.iter().enumerate() {
            sections += &format!(
                "\nconfig service\n\toption container '{name}'\n\toption type '{kind}'\n\toption port '{}'\n\tlist txt 'v=1'\n",
                8000 + number
            );
        }
    }
    here.the_box.edit_config(|text| text + &sections);
    let begun = Instant::now();
    assert_eq!(here.the_box.reload()["warnings"], json!([]));
    let took = watches.iter_mut().map(|watch| watch.found_all(&seen, begun)).max().unwrap();
    let (written, removed, in_place) = services.take();
    println!("200 services over 50 containers: all resolved after {took:?}, {written} files written");
    assert!(took <= MANY_BAR, "{took:?}");
    assert_eq!((removed, in_place), (0, 0));
    assert!((50..=100).contains(&written), "{written} files written for 50 containers");
    assert_eq!(hosts.take(), (0, 0, 0), "their names were there before");

    // Nothing changes: nothing is written.
    here.the_box.reload();
    here.the_box.reload();
    here.the_box.quiet();
    here.the_box.restart_daemon();
    here.wait_for_all_published(201);
    assert_eq!((services.take(), hosts.take()), ((0, 0, 0), (0, 0, 0)), "nothing changed");

    // One changes: one is written.
    here.the_box.edit_config(|text| text.replacen("'v=1'", "'v=2'", 1));
    let begun = Instant::now();
    here.the_box.reload();
    here.neighbour.wait_until(&kinds[0], "v=2", |seen| seen.iter().any(|s| s.txt == ["v=2"]));
    println!("one of 200 changed → seen after {:?}", begun.elapsed());
    assert_eq!(services.take(), (1, 0, 0));

    // One container goes: one file goes, and its name.
    let begun = Instant::now();
    here.the_box.kill("c7");
    let gone = watches.iter_mut().map(|watch| watch.gone(&seen[7], begun)).max().unwrap();
    println!("one of 50 containers stopped → its four gone after {gone:?}");
    assert!(gone <= BAR, "{gone:?}");
    here.the_box.quiet();
    assert_eq!((services.take(), hosts.take()), ((0, 1, 0), (1, 0, 0)));
    let before = watches.iter_mut().map(|watch| watch.times_gone(&seen[8], begun)).sum::<usize>();
    assert_eq!(before, 0, "another container's services went as well");

    let begun = Instant::now();
    let delete: Vec<_> = names.iter().map(|name| json!({ "name": name, "force": true })).collect();
    for job in call_all(&here.the_box.socket(), "cloudbox.container", "delete", &delete) {
        let job = here.the_box.job_end(job.unwrap()["job"].as_str().unwrap());
        assert_eq!(job["state"], "done", "{job}");
    }
    for watch in &mut watches {
        for name in &seen {
            watch.gone(name, Instant::now() - Duration::from_secs(600));
        }
    }
    println!("50 containers deleted → all gone after {:?}", begun.elapsed());
    here.the_box.assert_nothing_left();
}

#[test]
fn services_that_are_not_checked_cost_nothing() {
    let Some(the_box) = TestBox::alone("idle services") else { return };
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    for number in 1..=3 {
        let name = format!("c{number}");
        the_box.create(&name, json!({}));
        the_box.wait_for_address(&name);
        here.publish(&name, "_aa._tcp", 80, json!({ "check": "none" }));
        here.publish(&name, "_bb._udp", 80, json!({}));
    }
    here.wait_for_all_published(7);
    // What the box says of itself is gathered.
    let says =
        |seen: &[crate::neighbour::Seen]| seen.iter().any(|s| s.txt.contains(&"containers=3".to_string()));
    here.neighbour.wait_until("_cloudbox._tcp", "containers=3", says);
    wait_for_rest(the_box.daemon_pid());
    let in_ten_seconds = || wakings(the_box.daemon_pid(), Duration::from_secs(10));
    // These waits are the measurements.
    let idle = in_ten_seconds();
    println!("context switches in 10 s, six services that are not checked: {idle}");
    assert_eq!(idle, 0);

    // One that is checked costs a look now and then, ever more seldom.
    here.serve("c1", 8080);
    let id = here.publish("c1", "_cc._tcp", 8080, json!({}));
    here.wait_for_state(&id, "published");
    println!("context switches in 10 s, one that is checked and answers: {}", in_ten_seconds());
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
