//! A daemon that has nothing to do does nothing.

use crate::processes::{wait_for_rest, wakings};
use crate::test_box::TestBox;
use serde_json::json;
use std::time::Duration;

#[test]
fn with_five_quiet_containers_the_daemon_sleeps() {
    let Some(the_box) = TestBox::alone("idleness") else { return };
    for number in 1..=5 {
        let name = format!("c{number}");
        the_box.create(&name, json!({}));
        the_box.wait_for_address(&name);
    }
    wait_for_rest(the_box.daemon_pid());
    // This wait is the measurement.
    let woken = wakings(the_box.daemon_pid(), Duration::from_secs(10));
    println!("context switches of the idle daemon in 10 s, 5 containers: {woken}");
    assert_eq!(woken, 0);
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}
