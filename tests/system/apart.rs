//! Orphans, and containers that another tool made.

use crate::processes::sh;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::fs;
use std::path::PathBuf;

impl TestBox {
    fn apart(&self, kind: &str) -> Vec<Value> {
        self.container_call("list", json!({}))[kind].as_array().unwrap().clone()
    }

    /// Takes all containers' sections away.
    fn orphan_all(&self) {
        self.edit_config(|text| text[..text.find("config container").unwrap_or(text.len())].to_string());
        self.reload();
        self.quiet();
    }

    fn adopt(&self, name: &str) -> Result<(), crate::bus::Refusal> {
        self.whole("cloudbox.container", "adopt", json!({ "name": name }))
    }

    /// A container as lxc-create makes one: a directory with the files of the mini image, which belong to `owner`.
    fn make_foreign(&self, name: &str, owner: u32) -> PathBuf {
        let dir = self.dir.join("lxc").join(name);
        fs::create_dir_all(&dir).unwrap();
        let (shown, image) = (dir.display(), Image::Mini.path());
        sh(&format!(
            "unsquashfs -q -n -d {shown}/rootfs {} >/dev/null; echo {name}s > {shown}/rootfs/root/data; \
             echo odd > {shown}/rootfs/root/joes; chown -R {owner}:{owner} {shown}/rootfs; \
             chown {}:{} {shown}/rootfs/root/joes; chmod 4755 {shown}/rootfs/root/joes",
            image.display(),
            owner + 1000,
            owner + 1001
        ));
        let map = if owner == 0 {
            String::new()
        } else {
            format!("lxc.idmap = u 0 {owner} 65536\nlxc.idmap = g 0 {owner} 65536\n")
        };
        let config = format!(
            "# made by hand\nlxc.uts.name = {name}\nlxc.rootfs.path = dir:{shown}/rootfs\n{map}\
             lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed\n"
        );
        fs::write(dir.join("config"), config).unwrap();
        dir
    }
}

#[test]
fn orphans_are_adopted_or_pruned() {
    let Some(the_box) = TestBox::new("adopt and prune") else { return };
    the_box.create("web", json!({ "memory": "48M", "disk": "32M", "autostart": false }));
    the_box.create("old", json!({}));
    the_box.create("safe", json!({ "protected": true, "start": false }));
    the_box.inside("web", "echo precious > /root/kept");
    the_box.orphan_all();
    let orphans: Vec<Value> = the_box.apart("orphans").iter().map(|o| o["name"].clone()).collect();
    assert_eq!(
        (orphans, the_box.apart("containers")),
        (vec![json!("old"), json!("safe"), json!("web")], vec![])
    );

    the_box.adopt("web").unwrap();
    for line in ["config container 'web'", "memory '48M'", "disk '32M'", "autostart '0'"] {
        assert!(the_box.config_text().contains(line), "{line}: {}", the_box.config_text());
    }
    assert!(the_box.config_text().contains("# The owner's own words."));
    the_box.start("web");
    assert_eq!(the_box.inside("web", "cat /root/kept"), "precious");
    assert_eq!(the_box.adopt("web").unwrap_err().code, "exists");

    // What a crashed delete left is pruned, too.
    fs::create_dir_all(the_box.layout.containers().join(".gone-half/layer")).unwrap();
    let said = the_box.container_call("prune", json!({}));
    assert_eq!(said["orphans"], json!(["old"]));
    assert_eq!((&said["leftovers"], &said["protected"]), (&json!(["half"]), &json!(["safe"])));
    assert!(the_box.container("old").path().exists());
    the_box.container_call("prune", json!({ "yes": true }));
    the_box.quiet();
    assert_eq!(the_box.state("old"), "absent");
    assert!(!the_box.layout.containers().join(".gone-half").exists());
    assert_eq!(the_box.container_call("prune", json!({}))["orphans"], json!([]));

    let refused = the_box.call("cloudbox.container", "delete", json!({ "name": "safe" })).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.status), ("protected", 6));
    the_box.adopt("safe").unwrap();
    the_box.whole("cloudbox.container", "set", json!({ "name": "safe", "protected": false })).unwrap();
    the_box.delete("safe");
    the_box.delete_last("web");
}

#[test]
fn containers_of_another_tool_are_left_alone_until_they_are_adopted() {
    let Some(the_box) = TestBox::new("foreign containers") else { return };
    the_box.write_host_config(&format!("\toption lxcpath '{}'\n", the_box.dir.join("lxc").display()));
    the_box.reload();
    assert!(the_box.apart("foreign").is_empty());
    for (name, owner) in [("shifted", 1_000_000), ("plain", 0)] {
        let dir = the_box.make_foreign(name, owner);
        let lxcpath = the_box.dir.join("lxc").display().to_string();
        let entry = json!({ "name": name, "path": dir, "state": "stopped" });
        assert!(the_box.apart("foreign").contains(&entry), "{:?}", the_box.apart("foreign"));
        assert_eq!(the_box.state(name), "absent");
        let refused = the_box.call("cloudbox.container", "delete", json!({ "name": name, "force": true }));
        assert!(refused.unwrap_err().message.contains("adopt"));
        // One that runs is not read.
        // Without PATH it writes the id map itself.
        sh(&format!("env -i $(command -v lxc-start) -d -n {name} -P {lxcpath}"));
        eventually("a running one in the list", || {
            the_box.apart("foreign").iter().any(|f| f["name"] == name && f["state"] == "running")
        });
        let refused = the_box.adopt(name).unwrap_err();
        assert!(refused.code == "running" && refused.message.contains("lxc-stop"), "{refused:?}");
        sh(&format!("lxc-stop -k -n {name} -P {lxcpath}; rm -rf {}/rootfs/run/*", dir.display()));
        let look = || sh(&format!("cd {}; find . -printf '%p %u %m %s %l %T@\\n' | sort", dir.display()));
        let before = look();

        the_box.adopt(name).unwrap();
        assert_eq!(the_box.state(name), "stopped");
        the_box.start(name);
        assert_eq!(the_box.inside(name, "cat /root/data; hostname"), format!("{name}s\n{name}"));
        assert_eq!(
            the_box.inside(name, "stat -c '%u %g %a' / /root/data /root/joes"),
            "0 0 755\n0 0 644\n1000 1001 4755"
        );
        assert_eq!(look(), before, "the original has changed");
        assert_eq!(the_box.adopt(name).unwrap_err().code, "exists");
        the_box.delete(name);
        let image = json!({ "name": format!("adopted-{name}") });
        the_box.whole("cloudbox.image", "delete", image).unwrap();
    }
    // What cannot be taken over says why, and what to do.
    let dir = the_box.make_foreign("odd", 0);
    for (root, part) in [
        ("overlay:/a:/b", "no plain directory"),
        ("dir:/nowhere", "/nowhere"),
        ("dir:/proc", "/proc is not below"),
    ] {
        fs::write(dir.join("config"), format!("lxc.uts.name = odd\nlxc.rootfs.path = {root}\n")).unwrap();
        let refused = the_box.adopt("odd").unwrap_err();
        assert!(refused.message.contains(part), "{root}: {refused:?}");
    }
    assert_eq!(
        the_box.call("cloudbox.image", "list", json!({})).unwrap()["images"].as_array().unwrap().len(),
        1
    );
    // LXC's own, of those started by hand.
    sh("rmdir /sys/fs/cgroup/*/lxc.pivot /sys/fs/cgroup/lxc.pivot 2>/dev/null || true");
    the_box.assert_nothing_left();
}
