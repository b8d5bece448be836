//! The configuration file is the record of intent: what it says is so, whoever wrote it.

use crate::test_box::TestBox;
use serde_json::{json, Value};

/// `info` without what is a container's own.
fn comparable(mut info: Value) -> Value {
    let own = [
        "name",
        "pid",
        "addresses",
        "memory",
        "pids",
        "disk",
        "cpu_time",
        "cpu",
        "memory_peak",
        "interfaces",
        "received",
        "sent",
        "uptime",
        "mac",
        "veth",
        "id_base",
        "created",
        "rootfs",
        "console_log",
        "section",
        "job",
    ];
    for field in own {
        info.as_object_mut().unwrap().remove(field);
    }
    info
}

#[test]
fn a_section_and_a_call_end_in_the_same_state() {
    let Some(the_box) = TestBox::new("uci and ubus") else { return };
    let before = the_box.config_text();
    the_box.create("by-call", json!({
        "memory": "48M", "cpus": "0.25", "pids": 99, "disk": "32M", "autostart": true, "description": "it's a \"test\"",
    }));
    the_box.edit_config(|text| {
        assert!(text.starts_with(&before), "what was there is not there any more:\n{text}");
        let section = text[before.len()..].to_string();
        text + &section.replace("by_call", "by_hand")
    });
    let reply = the_box.reload();
    assert_eq!(reply["warnings"], json!([]));
    assert_eq!(reply["jobs"].as_array().unwrap().len(), 1);
    the_box.quiet();
    assert_eq!(the_box.state("by-hand"), "running");
    assert_eq!(comparable(the_box.info("by-hand")), comparable(the_box.info("by-call")));
    assert_ne!(the_box.info("by-hand")["id_base"], the_box.info("by-call")["id_base"]);

    // Again: nothing to do.
    assert_eq!(the_box.reload()["jobs"], json!([]));
    the_box.delete("by-call");
    the_box.delete("by-hand");
    assert_eq!(the_box.config_text(), before);
    the_box.assert_nothing_left();
}

#[test]
fn a_section_taken_away_keeps_the_data_until_delete() {
    let Some(the_box) = TestBox::with_web("orphans") else { return };
    the_box.inside("web", "echo precious > /root/kept");
    let with = the_box.config_text();
    let without = with[..with.find("config container").unwrap()].to_string();

    // Taken away: it stops, its data stays, and it says so.
    the_box.edit_config(|_| without.clone());
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "orphan");
    assert!(the_box.processes("web").is_empty());
    let status = the_box.call("cloudbox", "status", json!({})).unwrap();
    assert!(status["warnings"].to_string().contains("web"), "{status}");
    assert_eq!(status["containers"]["orphans"], 1);

    // Brought back: it is what it was.
    the_box.edit_config(|_| with.clone());
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "stopped");
    the_box.start("web");
    assert_eq!(the_box.inside("web", "cat /root/kept"), "precious");

    // Taken away once more, over a restart of the daemon, and deleted for good.
    the_box.edit_config(|_| without.clone());
    the_box.reload();
    the_box.quiet();
    the_box.delete("web");
    assert_eq!(the_box.state("web"), "absent");
    the_box.assert_nothing_left();
}

#[test]
fn a_delete_that_is_written_in_the_file_is_finished() {
    let Some(the_box) = TestBox::with_web("option deleting") else { return };
    the_box.edit_config(|text| text + "\toption deleting '1'\n");
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.state("web"), "absent");
    the_box.assert_nothing_left();
}

#[test]
fn the_owners_words_survive_every_edit() {
    let Some(the_box) = TestBox::new("comments") else { return };
    let more = concat!(
        "\n# Neighbours first.\n",
        "config   container   'aaa' # odd spacing\n",
        "\toption memory \"48M\"\n",
        "\toption autostart 0\n",
        "\n",
        "#config container 'off'\n",
        "\n",
        "config container zzz\n",
        "  option memory 4'8'M   \t\n",
        "  list authorized_keys 'ssh-ed25519 AAAA x'\n",
        "# The end.\n",
    );
    the_box.write_config(more);
    let before = the_box.config_text();
    the_box.reload();
    the_box.quiet();
    assert_eq!(the_box.names(), ["aaa", "zzz"]);
    assert_eq!(the_box.config_text(), before, "making what the file says writes nothing");
    the_box.create("mid-dle", json!({}));
    assert!(the_box.config_text().starts_with(&before));
    the_box.delete("mid-dle");
    assert_eq!(the_box.config_text(), before);
    the_box.delete("aaa");
    let after = the_box.config_text();
    for line in ["# Neighbours first.", "#config container 'off'", "  option memory 4'8'M   \t", "# The end."]
    {
        assert!(after.contains(line), "{line} is lost:\n{after}");
    }
    the_box.delete("zzz");
    assert!(the_box.config_text().contains("# The owner's own words."));
    the_box.assert_nothing_left();
}
