//! Snapshots: what is decided before anything is touched, and what is told.

use super::*;

fn snapshot(bench: &mut Bench, of: &str, called: &str) {
    bench.ok("cloudbox.container snapshot", json!({"name": of, "snapshot": called, "wait": 15}));
}

fn snapshots(bench: &mut Bench, of: &str) -> Vec<String> {
    let list = bench.ok("cloudbox.container snapshots", json!({"name": of}));
    let names = list["snapshots"].as_array().unwrap().iter();
    names.map(|s| s["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_snapshot_is_made_listed_restored_and_deleted() {
    let mut bench = Bench::with(&["web", "idle-"]);
    assert_eq!(snapshots(&mut bench, "web"), Vec::<String>::new());
    bench.listen();
    snapshot(&mut bench, "web", "one");
    assert_eq!(bench.notified(), [r#"container.changed {"name":"web"}"#]);
    let calls = bench.fake.calls();
    let at = |call: &str| calls.iter().position(|c| c == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(at("storage.flush_layer web") < at("runtime.freeze web"), "what can be written before is");
    assert!(
        at("runtime.thaw web") < at("storage.give_snapshot_name web"),
        "it goes on before the copy is flushed"
    );

    // The time names one that has no name.
    bench.ok("cloudbox.container snapshot", json!({"name": "web", "snapshot": "", "wait": 15}));
    let names = snapshots(&mut bench, "web");
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"one".to_string()) && names.iter().any(|n| n.len() == 17), "{names:?}");

    let pid = bench.entry("web")["pid"].clone();
    bench.heard();
    bench.ok(
        "cloudbox.container restore",
        json!({"name": "web", "snapshot": "one", "force": true, "wait": 15}),
    );
    assert_eq!(bench.notified(), [r#"container.started {"name":"web"}"#]);
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
    assert_ne!(bench.entry("web")["pid"], pid);

    snapshot(&mut bench, "idle", "one");
    bench.ok("cloudbox.container restore", json!({"name": "idle", "snapshot": "one", "wait": 15}));
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
    bench.ok("cloudbox.container snapshot_delete", json!({"name": "web", "snapshot": "one", "wait": 15}));
    assert_eq!(snapshots(&mut bench, "web").len(), 1);
    bench.ok("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    assert_eq!(bench.fake.world().snapshots.len(), 1, "a container's snapshots go with it");
}

#[test]
fn a_bad_call_about_a_snapshot_touches_nothing() {
    let mut bench = Bench::with(&["web", "idle-"]);
    snapshot(&mut bench, "web", "one");
    bench.reload(&format!("{CONFIG}config container 'web'\nconfig container 'idle'\nconfig container 'broken'\n\toption memory 'x'\n"));
    bench.fake.hold("storage.layer_size idle");
    bench.job("cloudbox.container snapshot", json!({"name": "idle"}));
    bench.work_until_held("storage.layer_size idle");
    let before = bench.fake.world();
    let (snapshot, restore, delete) =
        ("cloudbox.container snapshot", "cloudbox.container restore", "cloudbox.container snapshot_delete");
    for (code, method, arguments, words) in [
        ("invalid_name", snapshot, json!({"name": "web", "snapshot": "a/b"}), "'/' is not allowed"),
        ("invalid_name", snapshot, json!({"name": "web", "snapshot": ".."}), "a snapshot's name"),
        ("invalid_name", snapshot, json!({"name": "../web"}), "a container's name"),
        ("exists", snapshot, json!({"name": "web", "snapshot": "one"}), "has a snapshot one already"),
        ("not_found", snapshot, json!({"name": "nobody"}), "no container nobody"),
        ("not_found", snapshot, json!({"name": "broken"}), "never made"),
        ("busy", snapshot, json!({"name": "idle"}), "works on idle (snapshot)"),
        ("busy", "cloudbox.container start", json!({"name": "idle"}), "works on idle (snapshot)"),
        ("busy", "cloudbox.container delete", json!({"name": "idle"}), "works on idle (snapshot)"),
        ("running", restore, json!({"name": "web", "snapshot": "one"}), "or restore it with force"),
        ("not_found", restore, json!({"name": "web", "snapshot": "two", "force": true}), "no snapshot two"),
        ("invalid_name", restore, json!({"name": "web", "snapshot": "../one"}), "'.' is not allowed"),
        ("invalid_name", restore, json!({"name": "web"}), "it is empty"),
        ("busy", restore, json!({"name": "idle", "snapshot": "one"}), "works on idle"),
        ("not_found", delete, json!({"name": "web", "snapshot": "two"}), "no snapshot two"),
        ("invalid_name", delete, json!({"name": "web"}), "it is empty"),
        ("busy", delete, json!({"name": "idle", "snapshot": "one"}), "works on idle"),
        ("not_found", "cloudbox.container snapshots", json!({"name": "nobody"}), "no container nobody"),
        ("invalid_name", "cloudbox.container snapshots", json!({"name": "/"}), "is not allowed"),
    ] {
        let message = bench.fails(code, method, arguments.clone());
        assert!(message.contains(words), "{method} {arguments}: {message}");
    }
    assert_eq!(bench.fake.world(), before);
    bench.fake.release("storage.layer_size idle");
    bench.work();
}

#[test]
fn a_copy_never_takes_what_is_kept_for_the_box() {
    let reserve = CONFIG.replace("disk_reserve '0'", "disk_reserve '1000T'");
    let mut bench = Bench::with(&["web"]);
    snapshot(&mut bench, "web", "one");
    bench.reload(&format!("{reserve}{}", sections(&["web"])));
    for (method, name) in [("snapshot", "two"), ("restore", "one")] {
        let arguments = json!({"name": "web", "snapshot": name, "force": true, "wait": 15});
        let why = bench.fails("no_space", &format!("cloudbox.container {method}"), arguments);
        assert!(why.contains("the copy needs 1M: only"), "{why}");
    }
    assert_eq!(bench.states(), ["web running"]);
    assert!(bench.fake.world().frozen.is_empty());
}

#[test]
fn a_container_that_a_killed_daemon_held_goes_on() {
    let bench = Bench::with(&["web", "rested"]);
    bench.fake.change(|world| {
        for (of, frozen) in [("web", true), ("rested", false)] {
            world.held.insert(name(of), frozen);
            world.frozen.insert(name(of));
            world.resting.insert(name(of));
        }
        world.unborn_snapshots.insert((name("web"), name("one")), 0);
    });
    let mut bench = bench.restarted();
    // One that its owner had frozen before stays frozen.
    assert_eq!(bench.states(), ["rested frozen", "web running"]);
    let world = bench.fake.world();
    assert!(world.held.is_empty() && world.resting.is_empty() && world.unborn_snapshots.is_empty());
}

#[test]
fn a_cancelled_snapshot_leaves_nothing_and_the_container_runs() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("storage.copy_to_snapshot web");
    let job = bench.job("cloudbox.container snapshot", json!({"name": "web", "snapshot": "one"}));
    bench.work_until_held("storage.copy_to_snapshot web");
    bench.ok("cloudbox.job cancel", json!({"id": job}));
    bench.work();
    let world = bench.fake.world();
    assert!(world.unborn_snapshots.is_empty() && world.frozen.is_empty() && world.held.is_empty());
    assert_eq!(bench.states(), ["web running"]);
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": job}))["state"], "cancelled");
}

#[test]
fn a_clone_is_a_container_of_its_own() {
    let mut bench = Bench::with(&["web"]);
    bench.reload(&format!(
        "{CONFIG}config container 'web'\n\toption memory '32M'\n\toption address '10.0.0.9/24'\n\toption autostart '0'\n"
    ));
    snapshot(&mut bench, "web", "one");
    bench.listen();
    bench.ok("cloudbox.container clone", json!({"name": "web", "new_name": "copy", "wait": 15}));
    assert_eq!(bench.notified(), [r#"container.created {"name":"copy"}"#]);
    assert_eq!(bench.states(), ["copy stopped", "web running"]);
    let (web, copy) = (
        bench.ok("cloudbox.container info", json!({"name": "web"})),
        bench.ok("cloudbox.container info", json!({"name": "copy"})),
    );
    for differs in ["mac", "veth", "id_base", "address", "section"] {
        assert_ne!(web[differs], copy[differs], "{differs}");
    }
    assert_eq!(copy["address"], "dhcp");
    for same in ["image_sha256", "memory_limit", "autostart", "image"] {
        assert_eq!(web[same], copy[same], "{same}");
    }
    let arguments = json!({"name": "web", "new_name": "copy-2", "snapshot": "one", "wait": 15});
    bench.ok("cloudbox.container clone", arguments);
    bench.ok("cloudbox.container start", json!({"name": "copy-2", "wait": 15}));
    // It is there for good: the file says the same.
    let mut bench = bench.restarted();
    assert_eq!(bench.states(), ["copy stopped", "copy-2 running", "web running"]);
    assert_eq!(bench.warnings(), Vec::<String>::new());
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.states(), ["copy stopped", "copy-2 running", "web running"]);
}

#[test]
fn while_a_clone_is_made_both_containers_are_busy() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("storage.copy_layer copy");
    let job = bench.job("cloudbox.container clone", json!({"name": "web", "new_name": "copy"}));
    bench.work_until_held("storage.copy_layer copy");
    assert_eq!(bench.states(), ["copy creating", "web running"]);
    for (method, name) in [("stop", "web"), ("delete", "web"), ("start", "copy"), ("delete", "copy")] {
        let why = bench.fails(
            "busy",
            &format!("cloudbox.container {method}"),
            json!({"name": name, "force": true}),
        );
        assert!(why.contains("(clone)") && why.contains(&format!("job {job}")), "{why}");
    }
    // A reload meets a section that shall be deleted, and leaves it to the job.
    bench.ok("cloudbox reload", json!({}));
    bench.fake.release("storage.copy_layer copy");
    bench.work();
    assert_eq!(bench.states(), ["copy stopped", "web running"]);
    bench.ok("cloudbox.container start", json!({"name": "copy", "wait": 15}));

    bench.fake.fail("storage.copy_layer");
    bench.fails(
        "failed",
        "cloudbox.container clone",
        json!({"name": "web", "new_name": "other", "wait": 15}),
    );
    bench.fake.fail("storage.give_name");
    bench.fails(
        "failed",
        "cloudbox.container clone",
        json!({"name": "web", "new_name": "other", "wait": 15}),
    );
    assert_eq!(bench.states(), ["copy running", "web running"]);
    assert!(bench.fake.world().frozen.is_empty());
}

#[test]
fn a_section_that_goes_while_its_container_is_cloned_stops_it_then() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("storage.copy_layer copy");
    bench.job("cloudbox.container clone", json!({"name": "web", "new_name": "copy"}));
    bench.work_until_held("storage.copy_layer copy");
    bench
        .fake
        .change(|world| world.config = world.config.replace("config container 'web'", "config other 'web'"));
    bench.ok("cloudbox reload", json!({}));
    bench.fake.release("storage.copy_layer copy");
    bench.work();
    assert_eq!(bench.states(), ["copy stopped", "web orphan"]);
}

#[test]
fn a_clone_that_was_cut_short_is_cleared_away() {
    let bench = Bench::with(&["web"]);
    bench.fake.change(|world| {
        world.config.push_str("config container 'copy'\n\toption deleting '1'\n");
        let files = world.alive[&name("web")].clone();
        world.unborn.insert(name("copy"), files);
    });
    let mut bench = bench.restarted();
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
    let world = bench.fake.world();
    assert!(!world.config.contains("copy") && world.unborn.is_empty(), "{}", world.config);
}

#[test]
fn a_bad_clone_is_refused() {
    let mut bench = Bench::with(&["web", "idle-"]);
    let before = bench.fake.world();
    for (code, arguments, words) in [
        ("invalid_name", json!({"name": "web", "new_name": "a/b"}), "'/' is not allowed"),
        ("invalid_argument", json!({"name": "web"}), "new_name"),
        ("exists", json!({"name": "web", "new_name": "idle"}), "a container named idle already exists"),
        ("exists", json!({"name": "web", "new_name": "web"}), "a container named web already exists"),
        ("not_found", json!({"name": "nobody", "new_name": "copy"}), "no container nobody"),
        ("not_found", json!({"name": "web", "new_name": "copy", "snapshot": "x"}), "no snapshot x"),
        ("invalid_name", json!({"name": "web", "new_name": "copy", "snapshot": "../x"}), "a snapshot's name"),
    ] {
        let message = bench.fails(code, "cloudbox.container clone", arguments.clone());
        assert!(message.contains(words), "{arguments}: {message}");
    }
    assert_eq!(bench.fake.world(), before);
}

fn export(bench: &mut Bench, of: &str, path: &str, image: bool) {
    bench.ok("cloudbox.container export", json!({"name": of, "path": path, "image": image, "wait": 15}));
}

/// Makes the archive's manifest say something else, as one from another box may.
fn forge(bench: &Bench, path: &str, change: impl FnOnce(&mut crate::steps::storage::Manifest)) {
    bench.fake.change(|world| change(&mut world.archives.get_mut(Path::new(path)).unwrap().0));
}

#[test]
fn an_archive_becomes_a_container_of_its_own() {
    let mut bench = Bench::with(&["web"]);
    bench.reload(&format!(
        "{CONFIG}config container 'web'\n\toption memory '32M'\n\toption address '10.0.0.9/24'\n"
    ));
    snapshot(&mut bench, "web", "one");
    export(&mut bench, "web", "/mnt/web.tar", false);
    assert!(bench.fake.world().frozen.is_empty());
    bench.ok(
        "cloudbox.container export",
        json!({"name": "web", "path": "/mnt/one.tar", "snapshot": "one", "wait": 15}),
    );
    bench.listen();
    bench.ok("cloudbox.container import", json!({"path": "/mnt/web.tar", "name": "there", "wait": 15}));
    assert_eq!(bench.notified(), [r#"container.created {"name":"there"}"#]);
    assert_eq!(bench.states(), ["there stopped", "web running"]);
    let (web, there) = (
        bench.ok("cloudbox.container info", json!({"name": "web"})),
        bench.ok("cloudbox.container info", json!({"name": "there"})),
    );
    for differs in ["mac", "veth", "id_base", "section"] {
        assert_ne!(web[differs], there[differs], "{differs}");
    }
    assert_eq!((&there["address"], &there["memory_limit"]), (&json!("dhcp"), &web["memory_limit"]));
    bench.ok("cloudbox.container start", json!({"name": "there", "wait": 15}));
    // A bridge that this box has not got gives way to its own.
    forge(&bench, "/mnt/web.tar", |manifest| manifest.record.spec.bridge = "br-other".into());
    bench.ok("cloudbox.container import", json!({"path": "/mnt/web.tar", "name": "third", "wait": 15}));
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "third"}))["network"], "br-lan");
}

#[test]
fn an_image_comes_along_and_takes_no_name_away() {
    let mut bench = Bench::with(&["web"]);
    export(&mut bench, "web", "/mnt/web.tar", true);
    let sha256 = "cd".repeat(32);
    forge(&bench, "/mnt/web.tar", |manifest| manifest.record.image_sha256.clone_from(&sha256));
    bench.ok("cloudbox.container import", json!({"path": "/mnt/web.tar", "name": "there", "wait": 15}));
    let images = bench.ok("cloudbox.image list", json!({}));
    assert_eq!(images["images"][0]["names"], json!(["distro"]));
    assert_eq!(images["images"][1]["names"], json!(["distro-cdcdcdcdcdcd"]));
    assert_eq!(images["images"][1]["used_by"], json!(["there"]));
    // The second one finds it.
    bench.ok("cloudbox.container import", json!({"path": "/mnt/web.tar", "name": "again", "wait": 15}));
    assert_eq!(bench.ok("cloudbox.image list", json!({}))["images"].as_array().unwrap().len(), 2);
}

#[test]
fn a_bad_export_or_import_touches_nothing() {
    let mut bench = Bench::with(&["web", "idle-"]);
    export(&mut bench, "web", "/mnt/web.tar", false);
    export(&mut bench, "web", "/mnt/hostile.tar", false);
    export(&mut bench, "web", "/mnt/elsewhere.tar", false);
    forge(&bench, "/mnt/hostile.tar", |manifest| manifest.record.spec.description = "a\nlxc.hook".into());
    forge(&bench, "/mnt/elsewhere.tar", |manifest| manifest.record.image_sha256 = "ef".repeat(32));
    let before = bench.fake.world();
    let (export, import) = ("cloudbox.container export", "cloudbox.container import");
    for (code, method, arguments, words) in [
        ("invalid_argument", export, json!({"name": "web", "path": "web.tar"}), "absolute"),
        ("invalid_argument", export, json!({"name": "web", "path": "/"}), "absolute"),
        ("invalid_argument", export, json!({"name": "web"}), "path"),
        ("not_found", export, json!({"name": "nobody", "path": "/x"}), "no container nobody"),
        ("not_found", export, json!({"name": "web", "path": "/x", "snapshot": "one"}), "no snapshot one"),
        ("invalid_argument", import, json!({"path": "web.tar", "name": "there"}), "absolute"),
        ("invalid_name", import, json!({"path": "/mnt/web.tar", "name": "../there"}), "is not allowed"),
        ("exists", import, json!({"path": "/mnt/web.tar", "name": "idle"}), "a container named idle"),
        ("not_found", import, json!({"path": "/mnt/none.tar", "name": "there"}), "/mnt/none.tar"),
        (
            "not_found",
            import,
            json!({"path": "/mnt/elsewhere.tar", "name": "there"}),
            "needs the image distro",
        ),
        ("invalid_argument", import, json!({"path": "/mnt/hostile.tar", "name": "there"}), "description"),
    ] {
        let message = bench.fails(code, method, arguments.clone());
        assert!(message.contains(words), "{method} {arguments}: {message}");
    }
    assert_eq!(bench.fake.world(), before);
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
}

#[test]
fn a_name_that_is_taken_while_an_archive_is_looked_at_is_taken() {
    let mut bench = Bench::with(&["web"]);
    export(&mut bench, "web", "/mnt/web.tar", false);
    bench.fake.hold("storage.look_at_archive");
    let import = bench
        .begin("cloudbox.container import", json!({"path": "/mnt/web.tar", "name": "there", "wait": 15}));
    bench.ok("cloudbox.container create", json!({"name": "there", "wait": 15}));
    bench.fake.release("storage.look_at_archive");
    assert_eq!(bench.wait_for(import).code(), "exists");
    assert_eq!(bench.states(), ["there running", "web running"]);
}

#[test]
fn snapshots_of_the_same_second_have_names_of_their_own() {
    let mut bench = Bench::with(&["web"]);
    for _ in 0..4 {
        bench.ok("cloudbox.container snapshot", json!({"name": "web", "wait": 15}));
    }
    let names = snapshots(&mut bench, "web");
    assert_eq!(names.len(), 4, "{names:?}");
    bench.fails("exists", "cloudbox.container snapshot", json!({"name": "web", "snapshot": names[0]}));
}
