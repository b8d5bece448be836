//! A daemon that has nothing to do does nothing.

use crate::processes::context_switches;
use crate::test_box::TestBox;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn with_five_quiet_containers_the_daemon_sleeps() {
    let Some(the_box) = TestBox::alone("idleness") else { return };
    for number in 1..=5 {
        let name = format!("c{number}");
        the_box.create(&name, json!({}));
        the_box.wait_for_address(&name);
    }
    // Guests take a moment until they have nothing to tell any more: quiet is when two looks see the same.
    let deadline = Instant::now() + Duration::from_secs(60);
    let quiet_for = |span: Duration| {
        let before = context_switches(the_box.daemon_pid());
        std::thread::sleep(span);
        context_switches(the_box.daemon_pid()) - before
    };
    while quiet_for(Duration::from_secs(1)) > 0 {
        assert!(Instant::now() < deadline, "the daemon never comes to rest");
    }
    // This wait is the measurement.
    let woken = quiet_for(Duration::from_secs(10));
    println!("context switches of the idle daemon in 10 s, 5 containers: {woken}");
    assert_eq!(woken, 0);
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
