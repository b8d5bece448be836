//! What subscribers and listeners hear.

use crate::test_box::{Image, TestBox};
use serde_json::json;

#[test]
fn every_change_is_told_to_subscribers_and_to_listeners() {
    let Some(the_box) = TestBox::new("notifications") else { return };
    let mut listener = the_box.listener();
    the_box.create("web", json!({}));
    listener.hears("container.created", "web");
    listener.hears("container.started", "web");
    listener.hears("job.finished", "web");
    the_box.wait_for_address("web");
    listener.hears("container.changed", "web");
    the_box.kill("web");
    listener.hears("container.stopped", "web");
    the_box.start("web");
    // Its own end is told as well.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(the_box.init("web")),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    listener.until("a second container.stopped", |heard| {
        heard.iter().filter(|n| n.subscribed && n.name == "container.stopped").count() == 2
    });
    listener.hears("container.failed", "web");
    the_box.delete("web");
    listener.hears("container.deleted", "web");

    let again = json!({ "path": Image::Mini.path(), "name": "again" });
    the_box.whole("cloudbox.image", "import", again).unwrap();
    listener.hears("image.added", "again");
    the_box.call("cloudbox.image", "delete", json!({ "name": "again" })).unwrap();
    listener.hears("image.removed", "again");

    // A failure, too, and every job's end once.
    the_box.whole("cloudbox.image", "import", json!({ "path": "/etc/passwd", "name": "bad" })).unwrap_err();
    listener.hears("job.finished", "bad");
    let mut ended: Vec<String> = Vec::new();
    for notice in listener.heard.iter().filter(|n| n.subscribed && n.name == "job.finished") {
        let id = notice.data["id"].as_str().unwrap().to_string();
        assert!(!ended.contains(&id), "job {id} ended twice");
        ended.push(id);
    }
    the_box.assert_nothing_left();
}
