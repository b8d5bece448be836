//! Guests that do not behave: they reboot, hang, fork or end as soon as they run. Whoever stops or deletes one is never
//! told to wait for what the daemon does by itself.

use crate::bus::Refusal;
use crate::numbers::Numbers;
use crate::processes::sh;
use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a guest does, by the host name that it is given.
const KINDS: [&str; 4] = ["reboots", "hangs", "forks", "exits"];
const INIT: &str = "#!/bin/sh
case $(cat /proc/sys/kernel/hostname) in
reboots) exec busybox reboot -f ;;
hangs) while :; do sleep 1000; done ;;
forks) n=0; while [ $n -lt 200 ]; do sleep 1000 & n=$((n + 1)); done; exec sleep 100000 ;;
exits) exit 3 ;;
esac
";
/// Sequences of calls; a person may ask for more of them by CLOUDBOX_TEST_SEQUENCES, and for others by
/// CLOUDBOX_TEST_SEED.
const SEQUENCES: u32 = 20;
const CALLS: u32 = 30;
/// Guests at a time.
const AT_ONCE: usize = 8;

/// A box with the image `unruly`.
fn unruly_box(what: &str) -> Option<TestBox> {
    let the_box = TestBox::new(what)?;
    let dir = the_box.dir.join("unruly");
    let (shown, mini) = (dir.display(), Image::Mini.path());
    sh(&format!("unsquashfs -q -n -d {shown} {} >/dev/null; rm {shown}/sbin/init", mini.display()));
    fs::write(dir.join("sbin/init"), INIT).unwrap();
    sh(&format!(
        "chmod 755 {shown}/sbin/init; mksquashfs {shown} {shown}.squashfs -comp gzip -quiet -no-progress"
    ));
    let args = json!({ "path": format!("{shown}.squashfs"), "name": "unruly" });
    the_box.whole("cloudbox.image", "import", args).unwrap();
    sh(&format!("rm -r {shown} {shown}.squashfs"));
    Some(the_box)
}

fn create(the_box: &TestBox, name: &str, kind: &str) {
    let spec = json!({ "name": name, "image": "unruly", "hostname": kind, "memory": "16M", "start": false, "wait": 15 });
    the_box.container_call("create", spec);
}

#[test]
fn a_guest_that_reboots_for_ever_is_held_up_and_ended_at_once() {
    let Some(the_box) = unruly_box("a guest that reboots for ever") else { return };
    create(&the_box, "web", "reboots");
    let mut slowest = Duration::ZERO;
    for (call, force) in [("stop", false), ("stop", true), ("delete", true)].repeat(3) {
        // It may have ended before its start has been seen.
        let _ = the_box.whole("cloudbox.container", "start", json!({ "name": "web" }));
        let begun = Instant::now();
        the_box
            .whole("cloudbox.container", call, json!({ "name": "web", "force": force }))
            .unwrap_or_else(|refusal| panic!("{call} {force}: {refusal:?}"));
        slowest = slowest.max(begun.elapsed());
        if call == "delete" {
            the_box.assert_nothing_left();
            create(&the_box, "web", "reboots");
        }
        assert_eq!(the_box.processes("web"), [0_i32; 0], "{call}");
    }
    println!("slowest end of a guest that reboots for ever: {slowest:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");

    let held_up = || {
        let list = the_box.list();
        list.iter().any(|entry| entry["exit"] == "reboots" && entry["restart_in"].is_u64())
    };
    eventually("a rest between its reboots", || {
        let _ = the_box.call("cloudbox.container", "start", json!({ "name": "web" }));
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if held_up() {
                return true;
            }
        }
        false
    });
    the_box.delete("web");
    the_box.assert_nothing_left();
}

/// One guest, and the jobs that were made because somebody called.
struct Torment<'a> {
    the_box: &'a TestBox,
    name: String,
    kind: &'static str,
    mine: BTreeSet<String>,
    said: Vec<String>,
}

impl Torment<'_> {
    /// A call; its job is waited for or not. So many jobs are made that one is soon forgotten: the call itself waits.
    fn call(&mut self, method: &str, mut arguments: Value, waits: bool) {
        arguments["name"] = self.name.as_str().into();
        if waits {
            arguments["wait"] = 15.into();
        }
        self.said.push(format!("{method} {arguments}"));
        match self.the_box.call("cloudbox.container", method, arguments) {
            Ok(reply) => drop(self.mine.insert(reply["job"].as_str().unwrap().to_string())),
            Err(refusal) => self.check(&refusal),
        }
    }

    /// A refusal may name a job that somebody has asked for, and no other.
    fn check(&self, refusal: &Refusal) {
        if refusal.code != "busy" {
            return;
        }
        let number = refusal.message.strip_prefix("job ").and_then(|rest| rest.split(' ').next());
        let is_mine = number.is_some_and(|number| self.mine.contains(number));
        assert!(is_mine, "{}: {refusal:?} after {:#?}", self.kind, self.said);
    }

    fn run(&mut self, dice: &mut Numbers) {
        create(self.the_box, &self.name, self.kind);
        for _ in 0..CALLS {
            let waits = dice.one_of(&[true, true, true, false]);
            match dice.below(5) {
                0 => self.call("stop", json!({ "timeout": 1 }), waits),
                1 => self.call("stop", json!({ "force": true }), waits),
                2 => self.call("start", json!({}), waits),
                3 => self.call("restart", json!({ "timeout": 1 }), waits),
                _ => {
                    self.call("delete", json!({ "force": true }), true);
                    // A call waits no longer than 15 s; on a busy machine it may take more.
                    eventually("the end of a delete", || self.the_box.state(&self.name) != "deleting");
                    if self.the_box.state(&self.name) == "absent" {
                        create(self.the_box, &self.name, self.kind);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(dice.below(100)));
        }
        // What somebody has asked for last is waited for.
        eventually(&format!("the last job of {}", self.name), || {
            let open = self.the_box.list().into_iter().find(|entry| entry["name"] == self.name.as_str());
            !open.is_some_and(|entry| entry["job"].as_str().is_some_and(|job| self.mine.contains(job)))
        });
        let last = json!({ "name": self.name, "force": true, "wait": 15 });
        let gone = self.the_box.call("cloudbox.container", "delete", last);
        gone.unwrap_or_else(|refusal| panic!("{}: {refusal:?} after {:#?}", self.kind, self.said));
        // A call waits no longer than 15 s; a delete on a busy machine may take more.
        eventually(&format!("the end of {}", self.name), || self.the_box.state(&self.name) == "absent");
    }
}

#[test]
fn nobody_is_told_to_wait_for_what_the_daemon_does_by_itself() {
    let Some(the_box) = unruly_box("calls in random order") else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let sequences = number("CLOUDBOX_TEST_SEQUENCES").unwrap_or(SEQUENCES.into());
    let seed: u64 = number("CLOUDBOX_TEST_SEED").unwrap_or(20_251_129);
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| loop {
                let sequence = next.fetch_add(1, Ordering::Relaxed);
                if u64::from(sequence) >= sequences {
                    return;
                }
                // A seed of its own for each, so that one that fails can be had again; never 0.
                let mut dice = Numbers((seed + u64::from(sequence)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                let kind = KINDS[sequence as usize % KINDS.len()];
                let name = format!("c{sequence}");
                let (mine, said) = (BTreeSet::new(), vec![format!("sequence {sequence} of seed {seed}")]);
                Torment { the_box: &the_box, name, kind, mine, said }.run(&mut dice);
            });
        }
    });
    println!("{sequences} sequences of {CALLS} calls");
    the_box.assert_nothing_left();
}
