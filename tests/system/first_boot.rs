//! What a guest is told before its first start, and the script that is run once inside.

use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::fs;

impl TestBox {
    fn first_boot(&self, name: &str) -> Value {
        self.info(name)["first_boot"].clone()
    }

    fn wait_for_script(&self, name: &str, state: &str) {
        eventually(&format!("the script of {name} is {state}"), || self.first_boot(name)["state"] == state);
    }

    fn script_log(&self, name: &str) -> String {
        let reply = self.container_call("log", json!({ "name": name, "first_boot": true }));
        reply["log"].as_str().unwrap().to_string()
    }
}

#[test]
fn a_script_is_run_once_with_its_output_and_status_to_be_seen() {
    let Some(the_box) = TestBox::new("the first-boot script") else { return };
    // Without a shebang, with quotes, and with words on both outputs.
    let script =
        "echo \"it's $(id -u) on $(hostname)\"; echo $HOME $PATH >&2; ip -4 -o addr show eth0 | wc -l\n\
                  echo run >> /root/runs; exit 3";
    the_box.create("web", json!({ "first_boot": script, "hostname": "www.lan" }));
    the_box.wait_for_script("web", "failed");
    assert_eq!(the_box.first_boot("web")["code"], 3);
    let log = the_box.script_log("web");
    assert!(log.starts_with("it's 0 on www.lan\n/root /usr/local/sbin:"), "{log}");
    assert!(log.ends_with("1\n"), "it had an address: {log}");
    let job = the_box.jobs().into_iter().find(|job| job["kind"] == "first_boot").unwrap();
    assert_eq!((&job["state"], &job["target"]), (&json!("failed"), &json!("web")));
    // Never again: not after a stop, nor by the guest's own reboot.
    the_box.kill("web");
    the_box.start("web");
    the_box.quiet();
    assert_eq!(the_box.inside("web", "cat /root/runs"), "run");
    assert_eq!(the_box.first_boot("web")["state"], "failed");
    the_box.delete_last("web");
}

#[test]
fn a_script_is_its_text_and_its_flood_is_cut() {
    let Some(the_box) = TestBox::new("a first-boot script and its flood") else { return };
    the_box.edit_config(|text| text + "\nconfig container 'web'\n\toption first_boot '/etc/setup.sh'\n");
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "failed");
    let status = the_box.call("cloudbox", "status", json!({})).unwrap();
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("first_boot") && warnings.contains("/etc/setup.sh"), "{status}");
    the_box.delete("web");

    let script = "#!/bin/sh\nyes flood | head -c 3000000\necho over >&2\n";
    the_box.create("web", json!({ "first_boot": script }));
    the_box.wait_for_script("web", "done");
    let log = fs::metadata(the_box.container("web").first_boot_log()).unwrap().len();
    assert_eq!(log, 256 << 10);
    the_box.delete_last("web");
}

#[test]
fn a_long_script_holds_nobody_up_and_is_begun_once_whatever_happens() {
    let Some(mut the_box) = TestBox::new("a long first-boot script") else { return };
    let script = "#!/bin/sh\necho begun >> /root/runs\nexec sleep 3000\n";
    the_box.create("web", json!({ "first_boot": script }));
    eventually("its begin", || the_box.exec("web", &["cat", "/root/runs"])["stdout"] == "begun\n");
    assert_eq!(
        (the_box.first_boot("web")["state"].clone(), the_box.state("web")),
        (json!("running"), "running".into())
    );
    the_box.restart_daemon();
    the_box.wait_for_script("web", "interrupted");
    the_box.kill("web");
    the_box.start("web");
    the_box.quiet();
    assert_eq!(the_box.inside("web", "cat /root/runs"), "begun");
    the_box.delete("web");
    // A delete under the script.
    the_box.create("web", json!({ "first_boot": script }));
    eventually("its begin", || the_box.exec("web", &["cat", "/root/runs"])["stdout"] == "begun\n");
    the_box.delete("web");
    the_box.quiet();
    the_box.assert_nothing_left();
}

#[test]
fn the_distro_runs_its_script() {
    let Some(the_box) = TestBox::new("the distro's first boot") else { return };
    the_box.import(Image::Distro);
    let script = "#!/bin/sh -e\nhostname -f\ngetent hosts www.example.org\necho done > /etc/marked\n";
    let arguments =
        json!({ "image": "distro", "memory": "256M", "hostname": "www.example.org", "first_boot": script });
    the_box.create("web", arguments);
    the_box.wait_for_script("web", "done");
    assert!(the_box.script_log("web").starts_with("www.example.org\n"), "{}", the_box.script_log("web"));
    assert_eq!(the_box.inside("web", "cat /etc/marked"), "done");
    the_box.delete_last("web");
}

#[test]
fn a_time_zone_is_one_that_the_image_has() {
    let Some(the_box) = TestBox::new("time zones") else { return };
    the_box.import(Image::Distro);
    let create = |image: &str, zone: &str| {
        let asked = json!({ "name": "web", "image": image, "memory": "256M", "timezone": zone, "wait": 15 });
        the_box.call("cloudbox.container", "create", asked)
    };
    for (image, zone, why) in [
        ("mini", "Europe/Madrid", "it has none at all"),
        ("distro", "Europe/Madird", "it may be misspelt"),
        ("distro", "Europe", "it may be misspelt"),
    ] {
        let refusal = create(image, zone).unwrap_err();
        assert_eq!(refusal.code, "invalid_argument", "{zone}: {refusal:?}");
        assert!(refusal.message.contains(why) && refusal.message.contains(zone), "{zone}: {refusal:?}");
        the_box.assert_nothing_left();
    }
    create("distro", "Europe/Madrid").unwrap();
    assert_eq!(
        the_box.inside("web", "cat /etc/timezone; readlink /etc/localtime; test -e /etc/localtime"),
        "Europe/Madrid\n../usr/share/zoneinfo/Europe/Madrid"
    );
    the_box.delete("web");
    the_box.assert_nothing_left();
}
