//! A guest whose processes call themselves as the box's own do.

use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_guests_process_is_never_taken_for_lxcs_monitor() {
    let Some(mut the_box) = TestBox::new("titles of a guest's processes") else { return };
    the_box.import(Image::Distro);
    the_box.create("guest", json!({ "image": "distro", "memory": "256M" }));
    for name in ["one", "two"] {
        the_box.create(name, json!({ "start": false }));
        let title = format!("[lxc monitor] {} {name}", the_box.layout.containers().display());
        let script =
            format!("(setsid bash -c 'exec -a \"{title}\" cat < <(exec sleep 1000)' >/dev/null 2>&1 &)");
        the_box.inside("guest", &script);
        let has_title = |pid: &i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            text.trim_end_matches('\0') == title
        };
        eventually("a process with that title", || the_box.processes("guest").iter().any(has_title));
    }
    the_box.kill_daemon();
    let begun = Instant::now();
    the_box.start_daemon();
    assert_eq!(the_box.state("one"), "stopped");
    println!("the next daemon answers after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    the_box.start("one");
    the_box.inside("guest", "true");
    for name in ["one", "two", "guest"] {
        the_box.delete(name);
    }
    the_box.assert_nothing_left();
}
