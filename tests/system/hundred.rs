//! A hundred containers at once.

use crate::bus::call_all;
use crate::test_box::{Image, TestBox};
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The kernel counts the inotify instances of all guests as the host's root's; its usual 128 are enough for sixty guests
/// with systemd. This raises them as a box's sysctl.d does, and puts them back.
struct Inotify(String);

const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

impl Inotify {
    fn raise() -> Inotify {
        let before = std::fs::read_to_string(INSTANCES).unwrap();
        if before.trim().parse::<u32>().unwrap() < 8192 {
            std::fs::write(INSTANCES, "8192").unwrap();
        }
        Inotify(before)
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let _ = std::fs::write(INSTANCES, &self.0);
    }
}

fn a_hundred_of(image: Image, memory: &str) {
    let Some(the_box) = TestBox::alone("a hundred containers") else { return };
    let what = image.name();
    if matches!(image, Image::Distro) {
        the_box.import(image);
    }
    let names: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let each = |more: Value| -> Vec<Value> {
        let with = |name: &String| {
            let mut arguments = more.clone();
            arguments["name"] = name.as_str().into();
            arguments
        };
        names.iter().map(with).collect()
    };

    // All are asked for before the first is answered; each answer comes at once.
    let begun = Instant::now();
    let create = json!({ "image": what, "memory": memory, "disk": "none" });
    let started = call_all(&the_box.socket(), "cloudbox.container", "create", &each(create));
    println!("100 × {what}: create calls answered in {:?}", begun.elapsed());
    assert!(started.iter().all(Result::is_ok), "{:?}", started.iter().find(|s| s.is_err()));
    for job in &started {
        let job = the_box.job_end(job.as_ref().unwrap()["job"].as_str().unwrap());
        assert_eq!(job["state"], "done", "{job}");
    }
    println!("100 × {what}: all running after {:?}", begun.elapsed());

    let call = Instant::now();
    let list = the_box.list();
    println!("100 × {what}: list in {:?}, daemon has {} kB", call.elapsed(), resident(the_box.daemon_pid()));
    assert_eq!(list.iter().filter(|c| c["state"] == "running").count(), 100);
    let distinct = |field: &str| -> usize {
        let values = names.iter().map(|name| the_box.info(name)[field].to_string());
        values.collect::<BTreeSet<_>>().len()
    };
    for field in ["mac", "id_base", "veth", "pid"] {
        assert_eq!(distinct(field), 100, "{field}");
    }

    let begun = Instant::now();
    let deleted =
        call_all(&the_box.socket(), "cloudbox.container", "delete", &each(json!({ "force": true })));
    for job in &deleted {
        let job = the_box.job_end(job.as_ref().unwrap()["job"].as_str().unwrap());
        assert_eq!(job["state"], "done", "{job}");
    }
    println!("100 × {what}: all deleted after {:?}", begun.elapsed());
    assert_eq!(the_box.names(), Vec::<String>::new());
    the_box.assert_nothing_left();
    assert!(begun.elapsed() < Duration::from_secs(120));
}

fn resident(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").to_string()
}

#[test]
fn a_hundred_small_ones() {
    a_hundred_of(Image::Mini, "32M");
}

#[test]
fn a_hundred_with_the_distro() {
    let _inotify = std::env::var_os("CLOUDBOX_TEST_IMAGE").map(|_| Inotify::raise());
    a_hundred_of(Image::Distro, "128M");
}
