//! What a changed configuration leads to, and what becomes of containers that fail, end, or lose their section.

use super::*;

fn with(config: &str, more: &str) -> String {
    format!("{config}{more}")
}

#[test]
fn a_new_section_makes_its_container() {
    let mut bench = Bench::new(CONFIG);
    let web =
        "config container 'web'\n\toption memory '32M'\nconfig container 'idle'\n\toption autostart '0'\n";
    let reply = bench.reload(&with(CONFIG, web));
    assert_eq!(reply, json!({"jobs": ["1", "2"], "restart_required": [], "warnings": []}));
    assert_eq!(bench.states(), ["idle stopped", "web running"]);
    assert_eq!(bench.entry("web")["memory_limit"], 32 << 20);
    assert_eq!(bench.ok("cloudbox reload", json!({}))["jobs"], json!([]), "all is as it should be");
    assert_eq!(bench.fake.world().config, with(CONFIG, web), "the owner's file is the owner's");
}

#[test]
fn a_created_container_needs_no_reload_to_be_known() {
    let mut bench = Bench::with(&["my-wiki"]);
    assert!(bench.fake.world().config.contains("config container 'my_wiki'"));
    assert_eq!(
        bench.ok("cloudbox reload", json!({})),
        json!({"jobs": [], "restart_required": [], "warnings": []})
    );
    assert_eq!(bench.states(), ["my-wiki running"]);
}

#[test]
fn changed_limits_are_applied_and_what_only_a_start_applies_is_named() {
    let mut bench = Bench::new(&with(CONFIG, &sections(&["web"])));
    bench.work();
    let changed = "config container 'web'\n\toption memory '48M'\n\toption pids '99'\n\toption disk '64M'\n\
                   \toption address '10.0.0.9/24'\n\toption description 'new'\n";
    let reply = bench.reload(&with(CONFIG, changed));
    assert_eq!((&reply["restart_required"], &reply["jobs"]), (&json!(["web"]), &json!(["2"])));
    let entry = bench.entry("web");
    assert_eq!(entry["restart_required"], json!(["address"]));
    assert_eq!((entry["state"].as_str(), entry["description"].as_str()), (Some("running"), Some("new")));
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!((&info["fixed"], &info["in_force"]["memory"]), (&json!(["disk"]), &json!(48 << 20)));
    assert_eq!((&info["in_force"]["pids"], &info["asked"]["memory"]), (&json!(99), &json!(48 << 20)));
    assert_eq!(bench.ok("cloudbox reload", json!({}))["jobs"], json!([]), "nothing is left to apply");

    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.entry("web").get("restart_required"), None);
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!(info["in_force"]["memory"], json!(48 << 20));
    assert_eq!(info["in_force"].get("disk"), None, "a quota is given once, when the container is made");
}

#[test]
fn limits_that_change_while_a_job_works_are_applied_behind_it() {
    let mut bench = Bench::new(&with(CONFIG, &sections(&["web"])));
    bench.work();
    bench.fake.hold("runtime.freeze");
    let freeze = bench.begin("cloudbox.container freeze", json!({"name": "web"}));
    bench.work_until_held("runtime.freeze web");
    bench.fake.change(|world| world.config = with(CONFIG, "config container 'web'\n\toption memory '48M'\n"));
    let reply = bench.ok("cloudbox reload", json!({}));
    assert_eq!((&reply["restart_required"], &reply["jobs"]), (&json!(["web"]), &json!([])));
    bench.fake.release("runtime.freeze");
    bench.wait_for(freeze);
    bench.work();
    assert_eq!(bench.entry("web").get("restart_required"), None);
    assert_eq!(bench.fake.world().limits[&name("web")].0, 48 << 20);
}

#[test]
fn limits_that_the_box_cannot_give_are_told_and_not_tried_again_and_again() {
    let mut bench = Bench::new(&with(CONFIG, &sections(&["web"])));
    bench.work();
    for (memory, code) in [("900T", "no_memory"), ("8M", "in_use")] {
        let reply =
            bench.reload(&with(CONFIG, &format!("config container 'web'\n\toption memory '{memory}'\n")));
        assert_eq!((&reply["restart_required"], &reply["jobs"]), (&json!(["web"]), &json!([])));
        let entry = bench.entry("web");
        assert_eq!((&entry["error"]["code"], &entry["state"]), (&json!(code), &json!("running")));
        assert_eq!(bench.fake.world().limits[&name("web")].0, 16 << 20);
    }
    bench.reload(&with(CONFIG, &sections(&["web"])));
    assert_eq!(bench.entry("web").get("error"), None);
    // What the kernel refuses is left at that, too.
    bench.fake.fail_always("runtime.set_limits");
    let reply = bench.reload(&with(CONFIG, "config container 'web'\n\toption memory '48M'\n"));
    assert_eq!(reply["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(bench.entry("web")["restart_required"], json!(["memory"]));
    bench.fake.heal();
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.entry("web").get("restart_required"), None);
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing_until_it_is_mended() {
    let good = with(CONFIG, &sections(&["web"]));
    let mut bench = Bench::new(&good);
    bench.work();
    let before = bench.fake.world();
    let reply = bench.reload("config container 'web\n");
    assert_eq!((&reply["jobs"], reply["warnings"].as_array().unwrap().len()), (&json!([]), 1));
    assert!(
        bench.warnings()[0].ends_with("what it said before holds until it is mended"),
        "{:?}",
        bench.warnings()
    );
    assert_eq!(bench.states(), ["web running"]);
    assert_eq!(bench.fake.world().processes, before.processes);
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.reload(&good)["warnings"], json!([]));
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn a_wrong_value_in_main_keeps_the_one_before_and_is_named() {
    let mut bench = Bench::new(CONFIG);
    let reply = bench.reload(&CONFIG.replace("'16M'", "'16X'"));
    assert_eq!(
        reply["warnings"].as_array().unwrap()[0],
        "/etc/config/cloudbox line 2: section 'main', option 'memory': \
         memory \"16X\": its unit is unknown; write a whole number and K, M, G or T, such as 512M; \
         the earlier value stays"
    );
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.entry("web")["memory_limit"], 16 << 20);
}

#[test]
fn a_broken_section_stops_nothing_and_the_last_good_spec_stands_in() {
    let mut bench = Bench::new(&with(CONFIG, "config container 'web'\n\toption memory '32M'\n"));
    bench.work();
    let reply = bench.reload(&with(CONFIG, "config container 'web'\n\toption memory 'lots'\n"));
    assert_eq!(reply["jobs"], json!([]));
    assert!(reply["warnings"][0].as_str().unwrap().contains("section 'web', option 'memory'"), "{reply}");
    let entry = bench.entry("web");
    assert_eq!((entry["state"].as_str(), &entry["memory_limit"]), (Some("running"), &json!(32 << 20)));
    assert_eq!(entry["error"]["code"], "invalid_argument");
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.fails("invalid_argument", "cloudbox.container start", json!({"name": "web"}));
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
}

#[test]
fn a_container_without_a_section_is_stopped_and_its_data_kept() {
    let mut bench = Bench::with(&["web"]);
    let files = bench.fake.world().alive;
    let config = bench.fake.world().config;
    let reply = bench.reload(CONFIG);
    assert_eq!(reply["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(bench.states(), ["web orphan"]);
    let world = bench.fake.world();
    assert_eq!((world.alive, world.processes.len()), (files.clone(), 0));
    assert!(bench.warnings()[0].contains("its data is kept"), "{:?}", bench.warnings());
    assert_eq!(bench.ok("cloudbox status", json!({}))["containers"]["orphans"], 1);
    let message = bench.fails("not_found", "cloudbox.container start", json!({"name": "web"}));
    assert!(message.contains("uci set cloudbox.web=container"), "{message}");
    bench.fails("exists", "cloudbox.container create", json!({"name": "web"}));

    bench.reload(&config);
    assert_eq!((bench.states(), bench.fake.world().alive), (vec!["web stopped".to_string()], files));
    bench.reload(CONFIG);
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), Vec::<String>::new());
    assert!(bench.fake.world().alive.is_empty());
}

#[test]
fn a_section_removed_while_its_container_starts_stops_it_all_the_same() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.hold("runtime.start");
    bench.job("cloudbox.container start", json!({"name": "web"}));
    bench.work_until_held("runtime.start web");
    bench.fake.change(|world| world.config = CONFIG.to_string());
    bench.ok("cloudbox reload", json!({}));
    bench.fake.release("runtime.start");
    bench.work();
    assert_eq!(bench.states(), ["web orphan"]);
}

#[test]
fn an_orphan_that_does_not_stop_is_not_stopped_again_and_again() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.fail_always("runtime.stop");
    let reply = bench.reload(CONFIG);
    assert_eq!(reply["jobs"].as_array().unwrap().len(), 1);
    assert_eq!((bench.states(), bench.core.state.jobs.iter().count()), (vec!["web running".to_string()], 2));
    bench.fake.heal();
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.states(), ["web orphan"]);
}

#[test]
fn a_section_that_says_deleting_is_finished() {
    let mut bench = Bench::with(&["web", "idle-"]);
    let config = bench.fake.world().config;
    let deleting =
        config.replace("config container 'web'\n", "config container 'web'\n\toption deleting '1'\n");
    bench.reload(&with(&deleting, "config container 'gone'\n\toption deleting '1'\n"));
    assert_eq!(bench.states(), ["idle stopped"]);
    let left = bench.fake.world();
    assert!(!left.config.contains("deleting"), "{}", left.config);
    assert_eq!((left.alive.len(), left.processes.len()), (1, 0));
}

#[test]
fn a_box_that_is_off_makes_nothing_and_lets_run_what_runs() {
    let mut bench = Bench::with(&["web"]);
    let config = bench
        .fake
        .world()
        .config
        .replace("config cloudbox 'main'\n", "config cloudbox 'main'\n\toption enabled '0'\n");
    let reply = bench.reload(&with(&config, &sections(&["new"])));
    assert_eq!(reply["jobs"], json!([]));
    assert_eq!(bench.ok("cloudbox status", json!({}))["enabled"], false);
    assert_eq!(bench.entry("web")["state"], "running");
}

#[test]
fn what_cannot_be_made_says_why_until_it_can_be_or_need_not_be() {
    let broken = with(CONFIG, "config container 'web'\n\toption image 'nothing'\n");
    let mut bench = Bench::new(&broken);
    assert_eq!(bench.states(), ["web failed"]);
    assert_eq!(bench.entry("web")["error"]["code"], "not_found");
    assert!(bench.warnings()[0].starts_with("container web: no image \"nothing\""), "{:?}", bench.warnings());
    let message = bench.fails("not_found", "cloudbox.container info", json!({"name": "web"}));
    assert!(message.contains("is not made: no image"), "{message}");
    bench.fails("not_found", "cloudbox.container start", json!({"name": "web"}));

    bench.ok("cloudbox.image import", json!({"path": "/x", "name": "nothing", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!((bench.states(), bench.warnings()), (vec!["web running".to_string()], vec![]));

    let mut bench = Bench::new(&broken);
    bench.reload(CONFIG);
    assert_eq!((bench.states(), bench.warnings()), (vec![], vec![]), "nobody wants it any more");
}

#[test]
fn a_declared_container_whose_making_fails_is_tried_again_by_reload() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.fail("storage.mount");
    bench.reload(&with(CONFIG, &sections(&["web"])));
    assert_eq!(bench.states(), ["web failed"]);
    assert_eq!(bench.entry("web")["error"]["message"], "injected failure of storage.mount web");
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!((bench.states(), bench.warnings()), (vec!["web running".to_string()], vec![]));
}

#[test]
fn a_failed_start_is_shown_until_one_goes_well() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.fail("runtime.start");
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["web failed"]);
    assert_eq!(bench.entry("web")["error"]["message"], "injected failure of runtime.start web");
    assert_eq!(bench.warnings(), ["container web: injected failure of runtime.start web"]);
    assert_eq!(bench.ok("cloudbox status", json!({}))["containers"]["failed"], 1);
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!((bench.states(), bench.warnings()), (vec!["web running".to_string()], vec![]));
}

#[test]
fn a_failed_delete_is_finished_by_the_next_one() {
    let mut bench = Bench::with(&["web"]);
    for call in [
        "config.mark_deleting",
        "storage.unmount",
        "storage.take_name",
        "config.remove_container",
        "storage.erase",
    ] {
        bench.fake.fail(call);
        bench.fails("failed", "cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    }
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
    let world = bench.fake.world();
    assert_eq!((world.config.trim_end(), world.alive.len(), world.dead.len()), (CONFIG.trim_end(), 0, 0));
    assert!(world.roots.is_empty() && world.images.is_empty() && world.processes.is_empty());
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
}

#[test]
fn what_is_half_deleted_is_not_started_any_more() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.fail("storage.take_name");
    bench.fails("failed", "cloudbox.container delete", json!({"name": "web", "wait": 15}));
    bench.fails("busy", "cloudbox.container create", json!({"name": "web"}));
    bench.fails("busy", "cloudbox.container start", json!({"name": "web"}));
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.states(), Vec::<String>::new());
}

#[test]
fn what_is_deleted_but_for_its_erasing_is_not_started_any_more() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.fail("storage.erase");
    bench.fails("failed", "cloudbox.container delete", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["web orphan"]);
    bench.fails("not_found", "cloudbox.container start", json!({"name": "web"}));
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
    assert_eq!((bench.states(), bench.fake.world().dead.len()), (vec![], 0));
}

#[test]
fn a_container_that_ends_by_itself_is_cleaned_up_after() {
    let mut bench = Bench::with(&["web", "other"]);
    assert_eq!(bench.poll_containers(), 0);
    bench.fake.end("web");
    assert_eq!(bench.poll_containers(), 1);
    assert_eq!(bench.poll_containers(), 0, "what a job works on is the job's to watch");
    assert_eq!(bench.entry("web")["state"], "stopping");
    bench.work();
    assert_eq!(bench.states(), ["other running", "web stopped"]);
    assert_eq!(bench.fake.world().roots.len(), 1);
    assert_eq!(bench.poll_containers(), 0);
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
}

#[test]
fn a_container_that_reboots_goes_on_running() {
    let mut bench = Bench::with(&["web"]);
    let before = bench.entry("web")["pid"].clone();
    bench.fake.reboot("web");
    assert_eq!(bench.poll_containers(), 1);
    bench.work();
    let entry = bench.entry("web");
    assert_eq!(entry["state"], "running");
    assert_ne!(entry["pid"], before);
    bench.fake.end("web");
    assert_eq!(bench.poll_containers(), 1, "the new init is watched");
    bench.work();
    assert_eq!(bench.states(), ["web stopped"]);
}

#[test]
fn one_that_ends_while_it_is_stopped_is_seen_to_once() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("runtime.stop");
    bench.job("cloudbox.container stop", json!({"name": "web"}));
    bench.work_until_held("runtime.stop web");
    bench.fake.end("web");
    assert_eq!(bench.poll_containers(), 0);
    bench.fake.release("runtime.stop");
    bench.work();
    assert_eq!(bench.states(), ["web stopped"]);
    assert_eq!(bench.poll_containers(), 0);
}

#[test]
fn a_stop_that_failed_behind_the_kill_leaves_a_container_that_can_be_started() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.fail("storage.unmount");
    bench.fails("failed", "cloudbox.container stop", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["web stopped"]);
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn memory_promised_to_a_container_that_is_being_started_is_what_it_starts_with() {
    let total = crate::steps::host::memory_total();
    let mut bench = Bench::with(&["a-", "b-"]);
    let large = format!("\toption memory '{}'\n", total / 5 * 3);
    let config: String = sections(&["a", "b"]).lines().map(|line| format!("{line}\n{large}")).collect();
    bench.reload(&with(CONFIG, &config));
    bench.fake.hold("runtime.start");
    bench.job("cloudbox.container start", json!({"name": "a"}));
    bench.fails("no_memory", "cloudbox.container start", json!({"name": "b"}));
    bench.fake.release("runtime.start");
    bench.work();
}

#[test]
fn a_file_that_has_lost_all_it_said_is_one_that_cannot_be_read() {
    let good = with(CONFIG, &sections(&["web"]));
    let mut bench = Bench::new(&good);
    bench.work();
    for restarted in [false, true] {
        let reply = bench.reload("");
        assert_eq!(reply["jobs"], json!([]));
        assert!(reply["error"].as_str().unwrap().contains("has no section any more"), "{reply}");
        assert_eq!(bench.states(), ["web running"]);
        if restarted {
            bench = bench.restarted();
            bench.work();
            assert_eq!(bench.states(), ["web running"]);
            assert!(bench.warnings()[0].contains("there are 1 containers"), "{:?}", bench.warnings());
        }
        assert_eq!(bench.reload(&good).get("error"), None);
        assert_eq!(bench.states(), ["web running"]);
    }
    // Whoever means it says so.
    bench.reload("config cloudbox 'main'\n");
    assert_eq!(bench.states(), ["web orphan"]);
    let mut bench = Bench::new("");
    assert_eq!(bench.reload("").get("error"), None, "a box without containers may say nothing");
}

#[test]
fn a_delete_that_failed_is_shown_as_one_that_is_to_be_finished() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.fail_always("storage.take_name");
    bench.fails("failed", "cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    let entry = bench.entry("web");
    assert_eq!(entry["state"], "deleting", "{entry}");
    let why = entry["error"]["message"].as_str().unwrap();
    assert!(
        why.contains("injected failure of storage.take_name") && why.contains("cloudbox delete web"),
        "{why}"
    );
    bench.fake.heal();
    let config = bench.fake.world().config;
    bench.reload(&config);
    assert_eq!(bench.states(), Vec::<String>::new());
}
