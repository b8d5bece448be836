//! What a container goes through between its start and its end, as the kernel and the guest see it.

use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_frozen_container_stands_still_until_it_is_told_to_go_on() {
    let Some(mut the_box) = TestBox::new("freeze") else { return };
    the_box.create("web", json!({}));
    the_box.create("other", json!({}));
    the_box.inside("web", "(while :; do date +%s%N > /root/beat; done) > /dev/null 2>&1 &");
    let beat = the_box.container("web").upper().join("root/beat");
    let read = || std::fs::read_to_string(&beat).unwrap_or_default();
    let beats = || {
        let before = read();
        eventually("a beat", || read() != before);
    };
    beats();
    the_box.container_call("freeze", json!({ "name": "web" }));
    assert_eq!(the_box.state("web"), "frozen");
    assert_eq!(
        the_box.limit("web", "freezer", "freezer.state", "cgroup.freeze").replace('1', "FROZEN"),
        "FROZEN"
    );
    let (still, looked) = (read(), Instant::now());
    let refused = the_box.call("cloudbox.container", "exec", json!({ "name": "web", "command": ["true"] }));
    assert_eq!(refused.unwrap_err().code, "not_running");
    the_box.inside("other", "true");

    // Whoever comes next finds it frozen.
    the_box.kill_daemon();
    the_box.start_daemon();
    assert_eq!((the_box.state("web").as_str(), the_box.state("other").as_str()), ("frozen", "running"));
    assert!(looked.elapsed() > Duration::from_millis(10));
    assert_eq!(read(), still, "it went on while it was frozen");
    the_box.container_call("unfreeze", json!({ "name": "web" }));
    assert_eq!(the_box.state("web"), "running");
    beats();

    // A stop need not wait for what stands still, nor a delete.
    the_box.container_call("freeze", json!({ "name": "web" }));
    let begun = Instant::now();
    the_box.stop("web");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    the_box.start("web");
    for (name, force) in [("web", true), ("other", false)] {
        the_box.container_call("freeze", json!({ "name": name }));
        if !force {
            the_box.kill(name);
        }
        the_box.delete(name);
    }
    the_box.assert_nothing_left();
}
