//! Images from a web server, as a box pulls them: by hand, for a container, and over the daemon's death.

#[path = "../web/mod.rs"]
mod web;

use crate::processes::output;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use web::{Mischief, Web};

const SECRET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/usign/key.sec");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/usign/key.pub");

/// A box without images, and a signed server that has `image` as `community:os`.
fn with_server(what: &str, image: Image) -> Option<(TestBox, Web)> {
    let mut the_box = TestBox::bare(what, false)?;
    let web = Web::start();
    publish(&the_box, &web, &image.path(), "20261121");
    the_box.write_config(&format!(
        "config remote 'community'\n\toption url '{}'\n\tlist key_file '{KEY}'\n\
         config image 'mini'\n\toption remote 'community'\n\toption alias 'os'\n",
        web.url()
    ));
    the_box.start_bus();
    the_box.start_daemon();
    Some((the_box, web))
}

fn publish(the_box: &TestBox, web: &Web, image: &Path, version: &str) {
    let www = the_box.dir.join("www");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
    command.args(["image", "publish"]).arg(&www).arg(image);
    command.args(["--name", "os", "--serial", version, "--key", SECRET]);
    let said = output(&mut command);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    web.serve(&www);
}

fn image_path(version: &str) -> String {
    format!("/images/os/{}/{version}/rootfs.squashfs", cloudbox::simplestreams::arch(std::env::consts::ARCH))
}

fn cli(the_box: &TestBox, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
    let said = output(command.arg("--socket").arg(the_box.socket()).args(words));
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

fn images(the_box: &TestBox) -> Vec<String> {
    let list = the_box.call("cloudbox.image", "list", json!({})).unwrap();
    let names = |image: &serde_json::Value| format!("{} {}", image["names"], image["newer"]);
    list["images"].as_array().unwrap().iter().map(names).collect()
}

#[test]
fn a_container_of_an_image_that_only_a_server_has() {
    let Some((the_box, web)) = with_server("an image from a server", Image::Distro) else { return };
    let available = cli(&the_box, &["image", "available"]);
    assert!(
        available.contains("community") && available.contains("os") && available.contains("new"),
        "{available}"
    );
    let remotes = cli(&the_box, &["image", "remotes"]);
    assert!(remotes.contains(&web.url()) && remotes.contains("yes"), "{remotes}");

    // The default image of this box is at the server; nobody has to say where.
    the_box.create("web", json!({ "memory": "128M" }));
    the_box.booted("web");
    assert_eq!(images(&the_box), ["[\"mini\"] null"]);

    // A newer version does not touch it. It comes with its page cache of its own, for the next one.
    publish(&the_box, &web, &Image::Mini.path(), "20261122");
    assert!(cli(&the_box, &["image", "available", "os"]).contains("newer"));
    assert!(cli(&the_box, &["image", "list"])
        .contains("version 20261122 is there; `cloudbox image pull mini` fetches it"));
    let init = the_box.init("web");
    cli(&the_box, &["image", "pull", "mini"]);
    assert_eq!(the_box.init("web"), init);
    the_box.create("new", json!({}));
    assert_ne!(the_box.info("new")["image_sha256"], the_box.info("web")["image_sha256"]);
    assert_eq!(images(&the_box).len(), 2);

    // The old one is used still; then nobody uses it.
    assert!(cli(&the_box, &["image", "prune"]).contains("there is nothing to remove"));
    the_box.delete("web");
    assert!(cli(&the_box, &["image", "prune"]).contains("nobody uses"));
    cli(&the_box, &["image", "prune", "--yes"]);
    the_box.quiet();
    assert_eq!(images(&the_box), ["[\"mini\"] null"]);
    the_box.delete_last("new");
}

#[test]
fn a_daemon_killed_in_a_pull_leaves_nothing_half_done_and_goes_on_later() {
    let Some((mut the_box, web)) = with_server("kill -9 in a pull", Image::Distro) else { return };
    let path = image_path("20261121");
    let all = web.file(&path).len();
    web.once(&path, Mischief::Hold(all / 2));
    let job = the_box.call("cloudbox.container", "create", json!({ "name": "web" })).unwrap();
    web.wait_until_held();
    let images = the_box.layout.storage.join("images");
    let part = || {
        let parts = fs::read_dir(&images)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("rootfs.squashfs"));
        parts.filter_map(|path| path.metadata().ok()).map(|data| data.len() as usize).max().unwrap_or(0)
    };
    // Programs keep a few bytes back.
    eventually("half of the image", || part() > all / 2 - (256 << 10));
    let status = || the_box.call("cloudbox.job", "status", json!({ "id": job["job"] })).unwrap();
    eventually("word of its size", || status()["total"] == all);
    let job = status();
    assert_eq!((&job["state"], &job["step"]), (&json!("running"), &json!("fetch")), "{job}");
    assert!(job["percent"].as_u64().unwrap() <= 50, "{job}");
    the_box.kill_daemon();
    web.requests();
    the_box.launch_daemon();
    the_box.wait_for_daemon();
    // No image came of it; its section says what is to be, and the new daemon is at it.
    the_box.wait_for_state("web", "running");
    let from = web
        .requests()
        .into_iter()
        .find_map(|request| request.strip_prefix(&format!("{path} from "))?.parse().ok());
    let from: usize = from.expect("it goes on where it was");
    assert!(from > all / 2 - (256 << 10) && from <= all / 2, "{from} of {all}");
    web.go_on();
    the_box.booted("web");
    let hidden = fs::read_dir(the_box.layout.storage.join("images")).unwrap().flatten();
    let hidden: Vec<_> =
        hidden.map(|e| e.file_name()).filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert_eq!(hidden, Vec::<std::ffi::OsString>::new());
    the_box.delete_last("web");
}

#[cfg(feature = "faults")]
#[test]
fn killed_at_any_step_of_a_create_that_pulls_it_is_done_again() {
    use crate::daemon_death::{die_at, points_of};
    let Some((mut the_box, _web)) = with_server("kill -9 in a create that pulls", Image::Mini) else {
        return;
    };
    let arguments = json!({ "name": "web" });
    let again = |the_box: &TestBox| {
        the_box.delete("web");
        the_box.whole("cloudbox.image", "delete", json!({ "name": "mini" })).unwrap();
    };
    let points = points_of(&mut the_box, |b| b.create("web", json!({})));
    again(&the_box);
    println!("create with a pull: {}", points.join(" "));
    for wanted in ["pull.list", "pull.fetch", "image.move", "image.store"] {
        assert!(points.iter().any(|point| point == wanted), "{wanted}: {points:?}");
    }
    for point in &points {
        die_at(&mut the_box, point, "create", &arguments);
        match the_box.state("web").as_str() {
            // Nothing had been written down yet.
            "absent" => assert_eq!(point, &points[0]),
            // A whole one, which the boot was to start.
            "running" | "stopped" => again(&the_box),
            other => panic!("{point}: {other}: {:?}", the_box.list()),
        }
        let hidden = fs::read_dir(the_box.layout.storage.join("images")).into_iter().flatten().flatten();
        let hidden: Vec<_> =
            hidden.map(|e| e.file_name()).filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(hidden.is_empty(), "{point}: {hidden:?}");
        the_box.assert_nothing_left();
    }
}
