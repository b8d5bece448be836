//! What breaks on a box that is really used: its storage, its configuration, files of others, guests' disks and inits.

use crate::processes::{output, sh, Process};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A box whose storage is an ext4 of `size` in a file of its own.
fn on_a_small_disk(what: &str, size: &str) -> Option<TestBox> {
    let mut the_box = TestBox::bare(what, false)?;
    let (image, storage) = (the_box.dir.join("disk"), the_box.layout.storage.clone());
    fs::create_dir_all(&storage).unwrap();
    let (shown, at) = (image.display(), storage.display());
    sh(&format!(
        "truncate -s {size} {shown}; mkfs.ext4 -q -F {shown}; mount -o loop,errors=remount-ro {shown} {at}"
    ));
    the_box.own_mounts.push(storage);
    the_box.edit_config(|text| text.replace("disk_reserve '256M'", "disk_reserve '1M'"));
    the_box.start_bus();
    the_box.start_daemon();
    the_box.import(Image::Mini);
    Some(the_box)
}

fn doctor(the_box: &TestBox, name: &str) -> (String, String) {
    let reply = the_box.call("cloudbox", "doctor", json!({})).unwrap();
    let check = reply["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    let text = |field: &str| check.map_or("", |check| check[field].as_str().unwrap_or("")).to_string();
    (text("state"), format!("{}; {}", text("message"), text("remedy")))
}

#[test]
fn a_storage_that_became_read_only_is_named_and_holds_up_no_stop() {
    let Some(mut the_box) = on_a_small_disk("a storage that is read-only", "200M") else { return };
    the_box.create("gone", json!({}));
    the_box.create("web", json!({}));
    let device = fs::metadata(&the_box.layout.storage).unwrap().dev();
    let trigger = format!("/sys/fs/ext4/loop{}/trigger_fs_error", nix::sys::stat::minor(device));
    if fs::write(&trigger, "1").is_err() {
        println!("skipped: this kernel triggers no error of an ext4");
        the_box.delete("gone");
        the_box.delete("web");
        return;
    }
    let refusal =
        the_box.whole("cloudbox.container", "delete", json!({ "name": "gone", "force": true })).unwrap_err();
    assert!(refusal.message.contains("Read-only"), "{refusal:?}");
    for round in ["the same daemon", "another one"] {
        assert_eq!(the_box.state("gone"), "deleting", "{round}");
        assert_eq!(the_box.state("web"), "running", "{round}");
        let (state, said) = doctor(&the_box, "storage");
        assert!(state == "error" && said.contains("read-only") && said.contains("fsck"), "{round}: {said}");
        let (_, said) = doctor(&the_box, "layers");
        assert!(!said.contains("ext4, xfs or btrfs"), "{round}: {said}");
        if round == "the same daemon" {
            the_box.restart_daemon();
        }
    }
    the_box.whole("cloudbox", "shutdown", json!({ "timeout": 5 })).unwrap();
    assert_eq!(the_box.state("web"), "stopped");
    the_box.stop_daemon();
    // As fsck and another mount do it: then the delete is finished.
    sh(&format!(
        "umount {0}; e2fsck -fy {1} >/dev/null || true; mount -o loop {1} {0}",
        the_box.layout.storage.display(),
        the_box.dir.join("disk").display()
    ));
    the_box.start_daemon();
    eventually("the end of the delete", || the_box.names() == ["web"]);
    the_box.delete("web");
}

#[test]
fn a_quota_whose_host_disk_is_full_is_told() {
    let Some(the_box) = on_a_small_disk("a quota on a full disk", "150M") else { return };
    the_box.create("web", json!({ "disk": "60M" }));
    let mut listener = the_box.listener();
    sh(&format!("dd if=/dev/zero of={}/fill bs=1M 2>/dev/null || true", the_box.layout.storage.display()));
    let script = "dd if=/dev/zero of=/f bs=1M count=50 2>/dev/null; sync; touch /x; sync; true";
    the_box.exec("web", &["/bin/sh", "-c", script]);
    let of_info = || the_box.info("web")["error"]["message"].as_str().unwrap_or_default().to_string();
    eventually("word of the lost writes", || of_info().contains("its disk"));
    println!("{}", of_info());
    assert!(of_info().contains("e2fsck"), "{}", of_info());
    let (state, said) = doctor(&the_box, "container");
    assert!(state == "error" && said.contains("container web: "), "{said}");
    // What the kernel calls an error, and no warning, is an event, too.
    if of_info().contains("read-only") || of_info().contains("errors") {
        listener.hears("container.disk_failed", "web");
        let list = the_box.list();
        assert!(list[0]["error"]["message"].as_str().unwrap_or_default().contains("its disk"), "{list:?}");
    }
    fs::remove_file(the_box.layout.storage.join("fill")).unwrap();
    the_box.delete("web");
}

#[test]
fn a_configuration_that_is_empty_or_gone_stops_nothing() {
    let Some(mut the_box) = TestBox::new("a configuration that is gone") else { return };
    the_box.create("web", json!({}));
    let (good, init) = (the_box.config_text(), the_box.init("web"));
    for gone in [false, true] {
        if gone {
            fs::remove_file(the_box.config()).unwrap();
        } else {
            fs::write(the_box.config(), "").unwrap();
        }
        for restarted in [false, true] {
            if restarted {
                the_box.restart_daemon();
            }
            let reply = the_box.reload();
            assert!(reply["error"].as_str().unwrap_or("").contains("has no section any more"), "{reply}");
            assert_eq!((the_box.state("web").as_str(), the_box.init("web")), ("running", init));
            // A new section would look like all there is.
            let new = json!({ "name": "new", "image": "mini", "network": the_box.bridge, "disk": "none", "memory": "16M" });
            let refusal = the_box.whole("cloudbox.container", "create", new).unwrap_err();
            assert_eq!(refusal.code, "config", "{refusal:?}");
            assert_eq!(fs::read_to_string(the_box.config()).unwrap_or_default(), "");
        }
        fs::write(the_box.config(), &good).unwrap();
        assert!(the_box.reload()["error"].is_null());
        assert_eq!((the_box.state("web").as_str(), the_box.init("web")), ("running", init));
    }
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn a_foreign_lxc_conf_hinders_nobody() {
    let Some(mut the_box) = TestBox::bare("a foreign lxc.conf", false) else { return };
    if !Path::new("/etc/lxc").is_dir() {
        println!("skipped: there is no /etc/lxc to put a file over");
        return;
    }
    let dir = the_box.dir.join("lxc");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("lxc.conf"), "lxc.cgroup.use = memory,cpu\n").unwrap();
    let script = format!("mount --bind {} /etc/lxc && exec \"$@\"", dir.display());
    the_box.wrapper =
        ["unshare", "-m", "--propagation", "slave", "sh", "-c", &script, "sh"].map(String::from).to_vec();
    the_box.start_bus();
    the_box.start_daemon();
    the_box.import(Image::Mini);
    the_box.create("one", json!({ "disk": "32M" }));
    the_box.create("two", json!({ "disk": "32M" }));
    let (state, said) = doctor(&the_box, "lxc.conf");
    assert!(state == "warning" && said.contains("lxc.cgroup.use = memory,cpu"), "{said}");
    // The second one's monitor, which has mounts of its own, holds nothing of the first.
    the_box.delete("one");
    let loops = |name: &str| {
        let file = the_box.container(name).path().display().to_string();
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let backing =
            devices.map(|d| fs::read_to_string(d.path().join("loop/backing_file")).unwrap_or_default());
        backing.filter(|backing| backing.starts_with(&file) || backing.contains(".gone-one")).count()
    };
    eventually("no loop device of the first", || loops("one") == 0);
    the_box.whole("cloudbox.container", "restart", json!({ "name": "two" })).unwrap();
    the_box.delete("two");
    the_box.assert_nothing_left();
}

#[test]
fn an_error_points_at_nothing_that_is_gone() {
    let Some(the_box) = TestBox::new("errors of starts") else { return };
    let dir = the_box.dir.join("broken");
    let (shown, mini) = (dir.display(), Image::Mini.path());
    sh(&format!("unsquashfs -q -n -d {shown} {} >/dev/null; rm {shown}/sbin/init", mini.display()));
    fs::write(dir.join("sbin/init"), "#!/bin/sh\necho the disk of the wiki is not there\nexit 1\n").unwrap();
    sh(&format!(
        "chmod 755 {shown}/sbin/init; mksquashfs {shown} {shown}.squashfs -comp gzip -quiet -no-progress"
    ));
    let args = json!({ "path": format!("{shown}.squashfs"), "name": "broken" });
    the_box.whole("cloudbox.image", "import", args).unwrap();
    for _ in 0..20 {
        let made = the_box.whole("cloudbox.container", "create", json!({ "name": "web", "image": "broken" }));
        let Err(refusal) = made else {
            // It was seen while it ran.
            the_box.delete("web");
            continue;
        };
        let paths = refusal.message.split(' ').filter(|word| word.starts_with('/'));
        let gone: Vec<&str> = paths.filter(|path| !Path::new(path).exists()).collect();
        assert!(gone.is_empty(), "{refusal:?}");
    }
    the_box.assert_nothing_left();
}

#[test]
fn memory_and_swap_together_have_a_limit_that_follows_the_options() {
    let Some(the_box) = TestBox::new("swap") else { return };
    the_box.create("web", json!({ "memory": "32M" }));
    let together = || -> Option<u64> {
        let below = format!("{}/web", the_box.layout.cgroup());
        let read =
            |file: String| fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
        read(format!("/sys/fs/cgroup/memory/{below}/memory.memsw.limit_in_bytes")).or_else(|| {
            Some(
                read(format!("/sys/fs/cgroup/{below}/memory.swap.max"))?
                    + read(format!("/sys/fs/cgroup/{below}/memory.max"))?,
            )
        })
    };
    if together().is_none() {
        println!("skipped: this kernel does not count swap");
        the_box.delete("web");
        return;
    }
    assert_eq!(together(), Some(32 << 20));
    for (set, expected) in [
        (json!({ "swap": "16M" }), 48 << 20),
        (json!({ "memory": "64M" }), 80 << 20),
        (json!({ "memory": "24M", "swap": "8M" }), 32 << 20),
        (json!({ "swap": "none" }), 24 << 20),
        (json!({ "swap": "8M" }), 32 << 20),
    ] {
        let mut asked = set.clone();
        asked["name"] = "web".into();
        the_box.whole("cloudbox.container", "set", asked).unwrap();
        assert_eq!(together(), Some(expected), "{set}");
    }
    assert_eq!(the_box.info("web")["in_force"]["swap"], 8 << 20);
    the_box.whole("cloudbox.container", "restart", json!({ "name": "web" })).unwrap();
    assert_eq!(together(), Some(32 << 20), "after a restart");
    let before = the_box.init("web");
    the_box.exec("web", &["/sbin/reboot"]);
    eventually("a reboot", || the_box.state("web") == "running" && the_box.init("web") != before);
    assert_eq!(together(), Some(32 << 20), "after a reboot");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

/// As System V init: no signal means what it should, but there is a command.
const INIT: &str = "#!/bin/sh
trap : PWR
while :; do [ ! -e /halt ] || exec busybox poweroff -f; sleep 0.1; done
";

#[test]
fn a_guest_whose_init_takes_no_signal_is_shut_down_by_its_own_command() {
    let Some(the_box) = TestBox::new("guests without a signal to halt") else { return };
    let dir = the_box.dir.join("sysv");
    let (shown, mini) = (dir.display(), Image::Mini.path());
    sh(&format!(
        "unsquashfs -q -n -d {shown} {} >/dev/null; cd {shown}; rm -f sbin/init sbin/shutdown usr/share/cloudbox/image.json",
        mini.display()
    ));
    fs::write(dir.join("sbin/init"), INIT).unwrap();
    fs::write(dir.join("sbin/shutdown"), "#!/bin/sh\n[ \"$*\" = '-h now' ] && touch /halt\n").unwrap();
    sh(&format!("chmod 755 {shown}/sbin/init {shown}/sbin/shutdown; mksquashfs {shown} {shown}.squashfs -comp gzip -quiet -no-progress"));
    let args = json!({ "path": format!("{shown}.squashfs"), "name": "sysv" });
    the_box.whole("cloudbox.image", "import", args).unwrap();
    the_box.create("web", json!({ "image": "sysv" }));
    let begun = Instant::now();
    the_box.stop("web");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(the_box.info("web")["last_exit"]["reason"], "asked");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

/// Directories in one another, far deeper than a path can be long: pieces that a shell can name are put into one another.
const DEEP: &str = "d=$(printf %0200d 0); p=$d; k=1; while [ $k -lt 15 ]; do p=$p/$d; k=$((k + 1)); done; \
                    mkdir -p /deep/$p; n=1; while [ $n -lt 20 ]; do \
                    mkdir -p /next/$p; mv /deep /next/$p/deep; mv /next /deep; n=$((n + 1)); done; echo found > /deep/file";

#[test]
fn a_tree_deeper_than_any_path_blocks_nothing() {
    let Some(the_box) = TestBox::new("deep trees") else { return };
    for (name, disk) in [("tree", "none"), ("quota", "64M")] {
        the_box.create(name, json!({ "disk": disk }));
        the_box.inside(name, DEEP);
        // This find goes down step by step.
        let count = |name: &str| {
            let root = the_box.container(name).rootfs();
            let found =
                output(Command::new("sh").arg("-c").arg(format!("find {}/deep | wc -l", root.display())));
            String::from_utf8(found.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        assert!(count(name) > 300, "{name}: {}", count(name));
        let whole = |method: &str, more: serde_json::Value| {
            let mut asked = more;
            asked["name"] = name.into();
            the_box
                .whole("cloudbox.container", method, asked)
                .unwrap_or_else(|refusal| panic!("{method} of {name}: {refusal:?}"));
        };
        whole("snapshot", json!({ "snapshot": "one" }));
        whole("restore", json!({ "snapshot": "one", "force": true }));
        whole("clone", json!({ "new_name": "copy" }));
        the_box.start("copy");
        assert_eq!(count("copy"), count(name), "{name}");
        the_box.delete("copy");
        whole("snapshot_delete", json!({ "snapshot": "one" }));
        the_box.delete(name);
        the_box.assert_nothing_left();
    }
}

#[test]
fn a_mount_namespace_that_holds_a_layer_delays_no_start() {
    let Some(the_box) = TestBox::new("a mount namespace that holds a layer") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    let mut holder = Command::new("unshare");
    let holder = Process::spawn(holder.args(["-m", "--propagation", "private", "sleep", "1000"]));
    eventually("the other namespace", || {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        namespace(&holder.pid().to_string()) != namespace("self")
    });
    the_box.whole("cloudbox.container", "set", json!({ "name": "web", "disk": "64M" })).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        the_box.whole("cloudbox.container", "restart", json!({ "name": "web", "timeout": 5 })).unwrap();
        println!("restarted in {:?}", begun.elapsed());
        let info = the_box.info("web");
        let size: u64 = the_box.inside("web", "df -k / | tail -1 | awk '{print $2}'").parse().unwrap();
        let told = info["in_force"]["disk"].as_u64().unwrap();
        assert!(told.abs_diff(size * 1024) < 16 << 20, "{told} is told, {size}K is there");
    }
    drop(holder);
    the_box.whole("cloudbox.container", "restart", json!({ "name": "web" })).unwrap();
    assert_eq!(the_box.info("web")["in_force"]["disk"], 64 << 20);
    the_box.delete("web");
    the_box.assert_nothing_left();
}
