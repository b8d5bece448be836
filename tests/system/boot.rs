//! What starts with the box, and what does not.

use crate::test_box::TestBox;
use serde_json::json;

#[test]
fn after_a_boot_what_shall_start_with_it_runs() {
    let Some(mut the_box) = TestBox::new("a boot") else { return };
    the_box.create("always", json!({ "disk": "32M" }));
    the_box.create("never", json!({ "autostart": false }));
    the_box.create("rested", json!({}));
    the_box.inside("always", "echo kept > /root/file; sync");
    the_box.stop("rested");
    assert_eq!(the_box.state("never"), "running");

    // A mere restart of the daemon starts nothing its owner has stopped.
    the_box.restart_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("rested"), "stopped");
    the_box.kill_daemon();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("rested"), "stopped");

    the_box.power_cut();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("always"), "running");
    assert_eq!(the_box.state("rested"), "running", "autostart is what the section says, not what was last");
    assert_eq!(the_box.state("never"), "stopped");
    assert_eq!(the_box.inside("always", "cat /root/file"), "kept");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn a_box_that_is_switched_off_in_uci_starts_nothing() {
    let Some(mut the_box) = TestBox::new("option enabled") else { return };
    the_box.create("web", json!({}));
    the_box.edit_config(|text| {
        text.replace("\toption image 'mini'\n", "\toption image 'mini'\n\toption enabled '0'\n")
            + "\nconfig container 'new'\n"
    });
    the_box.reload();
    the_box.quiet();
    // What runs goes on; nothing is made or started.
    assert_eq!(the_box.state("web"), "running");
    assert_eq!(the_box.call("cloudbox", "status", json!({})).unwrap()["enabled"], false);
    assert!(!the_box.container("new").path().exists());
    the_box.power_cut();
    the_box.start_daemon();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "stopped");
    the_box.edit_config(|text| {
        text.replace("\toption enabled '0'\n", "").replace("\nconfig container 'new'\n", "")
    });
    the_box.reload();
    // Switched on again, it does what it would have done at boot.
    the_box.quiet();
    assert_eq!(the_box.state("web"), "running");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn a_second_daemon_leaves_the_box_to_the_first() {
    let Some(the_box) = TestBox::new("two daemons") else { return };
    the_box.create("web", json!({}));
    let status = the_box.daemon_command().status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(the_box.daemon_log().contains("another cloudbox daemon holds"), "{}", the_box.daemon_log());
    assert_eq!(the_box.state("web"), "running");
    the_box.delete("web");
    the_box.assert_nothing_left();
}
