//! Jobs: told, waited for, cancelled, remembered.

use crate::processes::sh;
use crate::test_box::{eventually, is_final, Image, TestBox};
use serde_json::{json, Value};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A tarball of the mini image and a large file that does not compress: seconds of work.
fn slow_tarball(the_box: &TestBox) -> PathBuf {
    let dir = the_box.dir.display();
    sh(&format!(
        "cd {dir} && unsquashfs -quiet -no-progress -d root {} >/dev/null 2>&1
         openssl rand 200000000 > root/large 2>/dev/null || head -c 200000000 /dev/urandom > root/large
         tar -C root -cf slow.tar . && rm -rf root",
        Image::Mini.path().display()
    ));
    the_box.dir.join("slow.tar")
}

/// All files of the image store.
fn stored(the_box: &TestBox) -> String {
    sh(&format!("cd {} && find images -mindepth 1 | sort", the_box.layout.storage.display()))
}

#[test]
fn a_slow_job_tells_how_far_it_is_and_can_be_cancelled() {
    let Some(the_box) = TestBox::new("a slow import") else { return };
    let tarball = slow_tarball(&the_box);
    let before = stored(&the_box);
    let import = |name: &str| -> String {
        let started =
            the_box.call("cloudbox.image", "import", json!({ "path": tarball, "name": name })).unwrap();
        started["job"].as_str().unwrap().to_string()
    };

    // Told, four times in a second at most.
    let mut listener = the_box.listener();
    let job = import("slow");
    let busy =
        the_box.call("cloudbox.image", "import", json!({ "path": tarball, "name": "slow" })).unwrap_err();
    assert_eq!(busy.code, "busy");
    listener.hears("job.finished", "slow");
    let told: Vec<_> = listener.heard.iter().filter(|n| n.subscribed && n.name == "job.progress").collect();
    assert!(told.len() >= 2, "told {} times only", told.len());
    for pair in told.windows(5) {
        let span = pair[4].at - pair[0].at;
        assert!(span >= Duration::from_millis(900), "five times within {span:?}");
    }
    let bytes: Vec<u64> = told.iter().filter_map(|n| n.data["bytes"].as_u64()).collect();
    assert!(bytes.iter().any(|b| *b > 0), "{bytes:?}");
    assert!(told.iter().all(|n| n.data["percent"].as_u64().unwrap() <= 100));
    let done = the_box.job_end(&job);
    println!(
        "import of a 200 MB tarball: {} s, told {} times",
        done["finished"].as_u64().unwrap() - done["started"].as_u64().unwrap(),
        told.len()
    );
    assert_eq!((&done["state"], &done["percent"]), (&json!("done"), &json!(100)), "{done}");
    the_box.call("cloudbox.image", "delete", json!({ "name": "slow" })).unwrap();
    eventually("the store is as it was", || stored(&the_box) == before);

    // Cancelled in the middle it leaves nothing.
    for bytes in [1, 50_000_000] {
        let job = import("cut");
        let status = || the_box.call("cloudbox.job", "status", json!({ "id": job })).unwrap();
        eventually("the middle of the import", || {
            let status = status();
            assert!(!is_final(&status), "it was too fast: {status}");
            status["bytes"].as_u64().unwrap() >= bytes
        });
        let begun = Instant::now();
        the_box.call("cloudbox.job", "cancel", json!({ "id": job })).unwrap();
        let ended = the_box.job_end(&job);
        assert_eq!(
            (&ended["state"], &ended["error"]["code"]),
            (&json!("cancelled"), &json!("cancelled")),
            "{ended}"
        );
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(stored(&the_box), before);
    }
    // A job that has ended stays ended.
    let ended = the_box.call("cloudbox.job", "cancel", json!({ "id": job })).unwrap();
    assert_eq!(ended["state"], "done");
}

#[test]
fn a_daemon_that_ends_in_the_middle_says_so_afterwards() {
    let Some(mut the_box) = TestBox::new("interrupted jobs") else { return };
    let tarball = slow_tarball(&the_box);
    let before = stored(&the_box);
    for how in ["kill", "stop"] {
        let started =
            the_box.call("cloudbox.image", "import", json!({ "path": tarball, "name": "cut" })).unwrap();
        let id = started["job"].as_str().unwrap().to_string();
        let status = |the_box: &TestBox| the_box.call("cloudbox.job", "status", json!({ "id": id })).unwrap();
        eventually("the middle of the import", || status(&the_box)["bytes"].as_u64().unwrap() > 0);
        if how == "kill" {
            the_box.kill_daemon();
        } else {
            let begun = Instant::now();
            the_box.stop_daemon();
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "procd would have killed it: {:?}",
                begun.elapsed()
            );
        }
        the_box.start_daemon();
        let job = status(&the_box);
        assert!(is_final(&job), "{job}");
        assert!(["interrupted", "cancelled"].contains(&job["error"]["code"].as_str().unwrap()), "{job}");
        assert_eq!(stored(&the_box), before, "{how}");
    }
}

#[test]
fn the_last_64_jobs_are_remembered_over_a_restart() {
    let Some(mut the_box) = TestBox::new("remembered jobs") else { return };
    the_box.create("web", json!({ "start": false }));
    for _ in 0..70 {
        // Stopping what does not run is a job that has nothing to do.
        the_box.container_call("stop", json!({ "name": "web" }));
    }
    let before = the_box.jobs();
    assert_eq!(before.len(), 64);
    let last: u64 = before[63]["id"].as_str().unwrap().parse().unwrap();
    for kill in [false, true] {
        if kill {
            the_box.kill_daemon();
        } else {
            the_box.stop_daemon();
        }
        the_box.start_daemon();
        assert_eq!(the_box.jobs(), before);
    }
    let next = the_box.container_call("stop", json!({ "name": "web" }));
    assert!(next["job"].as_str().unwrap().parse::<u64>().unwrap() > last, "a number was given twice");
    let forgotten = the_box.call("cloudbox.job", "status", json!({ "id": "1" })).unwrap_err();
    assert_eq!((forgotten.code.as_str(), forgotten.status), ("not_found", 4));
    the_box.delete_last("web");
}

#[test]
fn a_reply_is_held_back_as_long_as_was_asked_and_no_longer() {
    let Some(the_box) = TestBox::with_web("waiting") else { return };
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(the_box.init("web")),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .unwrap();

    let begun = Instant::now();
    let reply = the_box.container_call("stop", json!({ "name": "web", "timeout": 17, "wait": 1 }));
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(3));
    assert_eq!(reply["state"], "running");
    let id = reply["job"].clone();
    // Whole numbers may come as text or as numbers, and more than 15 s nobody gets.
    let number: u64 = id.as_str().unwrap().parse().unwrap();
    let begun = Instant::now();
    let job = the_box.call("cloudbox.job", "wait", json!({ "id": number, "timeout": 600 })).unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(14_900) && took < Duration::from_millis(15_800), "{took:?}");
    assert_eq!(job["state"], "running");
    // A stop can be called off: the guest goes on.
    the_box.call("cloudbox.job", "cancel", json!({ "id": id })).unwrap();
    let job: Value = the_box.job_end(id.as_str().unwrap());
    assert!(["cancelled", "done"].contains(&job["state"].as_str().unwrap()), "{job}");
    the_box.delete_last("web");
}
