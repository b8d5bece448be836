//! The daemon's start: what ran before is found again, what was left half is finished or cleared.

use super::*;
use crate::testing::Files;

/// The daemon was killed: another one starts on the same box, in the same boot.
fn killed(bench: Bench) -> Bench {
    // A box of its own, so that threads of the killed daemon change nothing any more.
    let fake = bench.fake.twin();
    Bench::of(fake, bench.dir)
}

#[test]
fn what_runs_is_found_again_and_watched() {
    let bench = Bench::with(&["web", "idle-"]);
    let before = bench.fake.world();
    let mut bench = bench.restarted();
    assert_eq!(bench.fake.world(), before, "a restart of the daemon changes nothing");
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
    assert_eq!(bench.entry("web")["pid"], before.processes[&name("web")]);
    assert_eq!(
        bench.ok("cloudbox.job list", json!({}))["jobs"].as_array().unwrap().len(),
        2,
        "nothing to do"
    );
    bench.fake.end("web");
    assert_eq!(bench.poll_containers(), 1);
    bench.work();
    assert_eq!(bench.states(), ["idle stopped", "web stopped"]);
    assert!(bench.fake.world().images.is_empty(), "the image was held for it");
}

#[test]
fn leftovers_of_a_killed_daemon_are_cleared() {
    let mut bench = Bench::with(&["web", "idle-"]);
    let before = bench.fake.world();
    let sha256 = "cd".repeat(32);
    bench.ok("cloudbox.image import", json!({"path": "/x", "name": "old", "sha256": sha256, "wait": 15}));
    bench.core.state.machine.images.mount(&sha256).unwrap();
    bench.fake.change(|world| {
        let files = Files { disk: true, ..Files::default() };
        world.unborn.insert(name("half"), files.clone());
        world.dead.insert(name("gone"), files);
        world.roots.insert(("unborn", name("half")));
        world.roots.insert(("alive", name("idle")));
    });
    let bench = bench.restarted();
    assert_eq!(bench.fake.world(), before);
}

#[test]
fn a_create_that_was_cut_short_is_made_from_its_section() {
    for call in ["storage.build", "storage.mount", "storage.give_name"] {
        let mut bench = Bench::new(CONFIG);
        bench.fake.hold(call);
        bench.job("cloudbox.container create", json!({"name": "web", "memory": "24M"}));
        bench.work_until_held(&format!("{call} web"));
        let mut after = killed(bench);
        after.work();
        assert_eq!(after.states(), ["web running"], "{call}");
        assert_eq!(after.entry("web")["memory_limit"], 24 << 20);
        assert_eq!(after.fake.world().unborn.len(), 0);
        let job = after.ok("cloudbox.job status", json!({"id": 1}));
        assert_eq!(
            (job["state"].as_str(), job["error"]["code"].as_str()),
            (Some("failed"), Some("interrupted"))
        );
    }
}

#[test]
fn a_delete_that_was_cut_short_is_finished() {
    for call in
        ["runtime.stop", "storage.unmount", "storage.take_name", "config.remove_container", "storage.erase"]
    {
        let mut bench = Bench::with(&["web"]);
        bench.fake.hold(call);
        bench.job("cloudbox.container delete", json!({"name": "web", "force": true}));
        bench.work_until_held(&format!("{call} web"));
        let mut after = killed(bench);
        after.work();
        assert_eq!(after.states(), Vec::<String>::new(), "{call}");
        let world = after.fake.world();
        assert_eq!(world.config.trim_end(), CONFIG.trim_end(), "{call}");
        assert!(
            world.alive.is_empty() && world.dead.is_empty() && world.roots.is_empty(),
            "{call}: {world:?}"
        );
        assert!(world.processes.is_empty() && world.images.is_empty(), "{call}: {world:?}");
    }
}

#[test]
fn a_boot_starts_what_shall_start_and_a_restart_does_not() {
    let mut bench = Bench::with(&["web", "off-"]);
    let config = bench.fake.world().config;
    let config = config.replace(
        "config container 'off'\n\toption autostart '1'",
        "config container 'off'\n\toption autostart '0'",
    );
    bench.reload(&config);
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(bench.states(), ["off stopped", "web stopped"]);

    // As after a boot, the runtime directory is empty.
    std::fs::remove_file(bench.core.state.layout.boot_marker()).unwrap();
    std::fs::remove_file(bench.core.state.layout.jobs()).unwrap();
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(bench.states(), ["off stopped", "web running"]);
}

#[test]
fn a_record_that_cannot_be_read_is_left_alone_until_its_container_is_deleted() {
    let fake = FakeBox::new(vec![distro()]);
    fake.change(|world| {
        world.config = format!("{CONFIG}{}", sections(&["hurt"]));
        world.damaged.insert(name("hurt"));
    });
    let mut bench = Bench::of(fake, TempDir::make());
    assert_eq!(bench.core.state.jobs.iter().count(), 0);
    assert_eq!(bench.states(), ["hurt failed"]);
    assert_eq!(bench.entry("hurt")["error"]["message"], "hurt/record.json is damaged");
    assert_eq!(bench.warnings(), ["hurt/record.json is damaged"]);
    bench.fails("exists", "cloudbox.container create", json!({"name": "hurt"}));
    bench.ok("cloudbox reload", json!({}));
    assert!(bench.fake.world().damaged.contains(&name("hurt")));

    bench.ok("cloudbox.container delete", json!({"name": "hurt", "wait": 15}));
    assert_eq!((bench.states(), bench.warnings()), (vec![], vec![]));
    bench.ok("cloudbox.container create", json!({"name": "hurt", "wait": 15}));
}

#[test]
fn a_configuration_that_cannot_be_read_at_the_start_stops_and_deletes_nothing() {
    let bench = Bench::with(&["web", "idle-"]);
    let config = bench.fake.world().config;
    bench.fake.change(|world| world.config = "config container 'web\n".into());
    let before = bench.fake.world();
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(bench.fake.world(), before);
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
    assert_eq!(bench.warnings().len(), 1);
    bench.fails("config", "cloudbox.container create", json!({"name": "new", "wait": 15}));
    assert_eq!(bench.reload(&config), json!({"jobs": [], "restart_required": [], "warnings": []}));
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
}

#[test]
fn a_damaged_table_of_jobs_is_worth_none() {
    for text in ["", "{", "[]", "{\"next\":\"x\"}"] {
        let bench = Bench::with(&["web"]);
        std::fs::write(bench.core.state.layout.jobs(), text).unwrap();
        let mut bench = bench.restarted();
        assert_eq!(bench.ok("cloudbox.job list", json!({}))["jobs"], json!([]));
        assert_eq!(bench.states(), ["web running"]);
    }
}

#[test]
fn a_storage_that_cannot_be_cleared_does_not_keep_the_daemon_from_starting() {
    let bench = Bench::with(&["web"]);
    for call in ["storage.sweep", "images.clean", "runtime.find", "images.mount", "network.watch"] {
        bench.fake.fail(call);
    }
    let mut bench = bench.restarted();
    bench.ok("cloudbox status", json!({}));
}

#[test]
fn a_daemon_waits_a_while_for_the_one_before_it() {
    use crate::daemon::{lock, LOCK_TIME};
    let dir = TempDir::make();
    let path = dir.path().join("lock");
    let (first, started) = (lock(&path).unwrap(), Instant::now());
    let error = lock(&path).err().unwrap();
    assert!(started.elapsed() >= LOCK_TIME);
    assert_eq!(error.code, crate::error::Code::Busy);
    let second = std::thread::spawn(move || lock(&path).map(drop));
    drop(first);
    assert_eq!(second.join().unwrap(), Ok(()));
}
