//! A container's life from one call to nothing, with the real distro.

use crate::processes;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

#[test]
fn a_container_of_the_distro_lives_as_asked_and_leaves_nothing() {
    let Some(the_box) = TestBox::new("the story") else { return };
    the_box.import(Image::Distro);

    // One call is enough: made, started, at work.
    let begun = Instant::now();
    let asked = json!({
        "name": "web", "image": "distro", "memory": "256M", "cpus": 0.5, "pids": 200, "disk": "64M", "wait": 15,
    });
    the_box.container_call("create", asked);
    println!("create → running: {:?}", begun.elapsed());
    the_box.booted("web");
    println!("create → multi-user: {:?}", begun.elapsed());

    // It is itself.
    assert_eq!(the_box.inside("web", "hostname"), "web");
    let machine_id = the_box.inside("web", "cat /etc/machine-id");
    assert_eq!(machine_id.len(), 32, "{machine_id}");
    assert_eq!(the_box.inside("web", "getent hosts web | cut -d' ' -f1"), "127.0.1.1");

    // It has an address, and answers there.
    let address = the_box.wait_for_address("web");
    println!("create → address: {:?}", begun.elapsed());
    processes::sh(&format!("ping -c 1 -W 5 {address}"));

    // What was asked is what the kernel enforces, and what `info` says.
    assert_eq!(
        the_box.limit("web", "memory", "memory.limit_in_bytes", "memory.max"),
        (256 * MIB).to_string()
    );
    assert_eq!(the_box.limit("web", "pids", "pids.max", "pids.max"), "200");
    let quota = the_box.limit("web", "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota.split(' ').next(), Some("50000"));
    let info = the_box.info("web");
    assert_eq!(info["in_force"], info["asked"]);
    assert_eq!(
        info["in_force"],
        json!({ "memory": 256 * MIB, "cpus": "0.5", "pids": 200, "disk": 64 * MIB })
    );

    // The quota is real, and costs the host only what is used.
    let disk = the_box.container("web").disk();
    assert!(fs::metadata(&disk).unwrap().blocks() * 512 < 16 * MIB, "the file is not sparse");
    let full = the_box.exec("web", &["dd", "if=/dev/zero", "of=/root/big", "bs=1M", "count=100"]);
    assert_ne!(full["code"], 0);
    assert!(full["stderr"].as_str().unwrap().contains("No space left"), "{full}");
    assert!(fs::metadata(&disk).unwrap().len() <= 64 * MIB);
    the_box.inside("web", "rm /root/big; echo precious > /root/kept");

    // Its root is nobody on the host, and another's ids and hardware address are others.
    the_box.create("mail", json!({ "image": "mini", "disk": "none" }));
    let (web, mail) = (the_box.info("web"), the_box.info("mail"));
    let range = |info: &serde_json::Value| {
        let base = info["id_base"].as_u64().unwrap();
        base..base + info["id_count"].as_u64().unwrap()
    };
    for (name, info) in [("web", &web), ("mail", &mail)] {
        let base = range(info).start;
        let map = fs::read_to_string(format!("/proc/{}/uid_map", the_box.init(name))).unwrap();
        let fields: Vec<u64> = map.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert_eq!(fields, [0, base, info["id_count"].as_u64().unwrap()]);
        for pid in the_box.processes(name).into_iter().filter(|pid| *pid != the_box.monitor(name)) {
            let Ok(meta) = fs::metadata(format!("/proc/{pid}")) else { continue };
            assert!(
                range(info).contains(&u64::from(meta.uid())),
                "process {pid} of {name} is {}",
                meta.uid()
            );
        }
    }
    assert!(range(&web).start >= 65536);
    assert!(range(&web).end <= range(&mail).start || range(&mail).end <= range(&web).start);
    assert_ne!(web["mac"], mail["mac"]);
    assert_ne!(the_box.wait_for_address("mail"), address);

    // It stops when asked, at once, and comes back with what it had.
    let begun = Instant::now();
    the_box.stop("web");
    println!("graceful stop of the distro: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(the_box.state("web"), "stopped");
    assert!(the_box.processes("web").is_empty());
    the_box.start("web");
    assert_eq!(
        the_box.inside("web", "cat /root/kept; cat /etc/machine-id"),
        format!("precious\n{machine_id}")
    );
    assert_eq!(the_box.wait_for_address("web"), address, "the same hardware address gets the same lease");
    assert_eq!(the_box.info("web")["mac"], web["mac"]);

    // It goes, whole.
    let refused = the_box.call("cloudbox.container", "delete", json!({ "name": "web" })).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.status), ("running", 9));
    the_box.delete("web");
    the_box.delete("mail");
    assert_eq!(the_box.names(), Vec::<String>::new());
    the_box.assert_nothing_left();
    the_box.whole("cloudbox.image", "delete", json!({ "name": "distro" })).unwrap();
}

#[test]
fn many_containers_share_one_mounted_image() {
    let Some(the_box) = TestBox::new("sharing an image") else { return };
    for name in ["a", "b", "c"] {
        the_box.create(name, json!({}));
    }
    let loops = || {
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let files = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
        files.filter(|f| f.starts_with(the_box.dir.to_str().unwrap())).count()
    };
    assert_eq!(loops(), 1);
    let refused = the_box.call("cloudbox.image", "delete", json!({ "name": "mini" })).unwrap_err();
    assert_eq!(refused.code, "in_use");
    assert!(refused.message.contains("a, b, c"), "{}", refused.message);
    for name in ["a", "b", "c"] {
        the_box.delete(name);
    }
    eventually("the image's loop device is free", || loops() == 0);
    the_box.assert_nothing_left();
    let used: BTreeSet<_> = the_box.names().into_iter().collect();
    assert!(used.is_empty());
    the_box.call("cloudbox.image", "delete", json!({ "name": "mini" })).unwrap();
    let images = the_box.call("cloudbox.image", "list", json!({})).unwrap();
    assert_eq!(images["images"], json!([]));
}
