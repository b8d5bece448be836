//! Orphans, foreign containers, and what is protected.

use super::{Bench, CONFIG};
use serde_json::json;

fn orphaned(names: &[&str]) -> Bench {
    let mut bench = Bench::with(names);
    bench.reload(CONFIG);
    bench.work();
    bench
}

#[test]
fn an_orphan_gets_its_section_back() {
    let mut bench = Bench::new(CONFIG);
    let asked = json!({"name": "my-web", "memory": "32M", "autostart": false, "restart": "always", "start": false,
                       "authorized_keys": ["ssh-ed25519 AAAA me"], "wait": 15});
    bench.ok("cloudbox.container create", asked);
    let before = bench.ok("cloudbox.container info", json!({"name": "my-web"}));
    bench.reload(CONFIG);
    let list = bench.ok("cloudbox.container list", json!({}));
    assert_eq!((&list["containers"], &list["orphans"][0]["name"]), (&json!([]), &json!("my-web")));

    // The defaults have changed meanwhile: it stays what it was.
    bench.reload(&CONFIG.replace("memory '16M'", "memory '8M'"));
    bench.ok("cloudbox.container adopt", json!({"name": "my-web", "wait": 15}));
    let config = bench.fake.world().config;
    for line in ["config container 'my_web'", "memory '32M'", "autostart '0'", "restart 'always'", "AAAA me"]
    {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert_eq!(bench.states(), ["my-web stopped"]);
    bench.ok("cloudbox reload", json!({}));
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "my-web"})), before);
    let message = bench.fails("exists", "cloudbox.container adopt", json!({"name": "my-web"}));
    assert!(message.contains("nothing to adopt"), "{message}");
    bench.ok("cloudbox.container start", json!({"name": "my-web", "wait": 15}));
}

#[test]
fn a_foreign_container_is_listed_apart_left_alone_and_taken_over() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.add_foreign("Old_Box", false);
    bench.fake.add_foreign("old", false);
    bench.fake.add_foreign("busy", true);
    let list = bench.ok("cloudbox.container list", json!({}));
    assert_eq!(list["containers"], json!([]));
    assert_eq!(list["foreign"][2], json!({"name": "busy", "path": "/srv/lxc/busy", "state": "running"}));
    for method in ["start", "stop", "delete", "info", "freeze"] {
        let message =
            bench.fails("not_found", &format!("cloudbox.container {method}"), json!({"name": "old"}));
        assert!(message.contains("cloudbox adopt old"), "{method}: {message}");
    }
    assert_eq!(bench.ok("cloudbox.container prune", json!({"yes": true}))["jobs"], json!([]));
    bench.fails("invalid_name", "cloudbox.container adopt", json!({"name": "Old_Box"}));
    bench.fails("not_found", "cloudbox.container adopt", json!({"name": "nobody"}));

    // What fails leaves neither image nor container.
    for call in ["runtime.open_foreign", "images.pack", "storage.build", "storage.give_name"] {
        bench.fake.fail(call);
        let message = bench.fails("failed", "cloudbox.container adopt", json!({"name": "old", "wait": 15}));
        assert!(message.contains(call), "{message}");
        assert_eq!(bench.states(), Vec::<String>::new(), "{call}");
        assert_eq!(
            bench.ok("cloudbox.image list", json!({}))["images"].as_array().unwrap().len(),
            1,
            "{call}"
        );
        assert!(!bench.fake.world().config.contains("config container"), "{call}");
    }
    bench.listen();
    bench.ok("cloudbox.container adopt", json!({"name": "old", "wait": 15}));
    assert_eq!(bench.states(), ["old stopped"]);
    assert!(bench.heard.iter().any(|heard| heard.starts_with("image.added")), "{:?}", bench.heard);
    assert!(bench.fake.world().config.contains("option autostart '0'"));
    assert!(bench.fake.world().config.contains("option image 'adopted-old'"));
    // Its name is taken now, and its image in use.
    bench.fails("exists", "cloudbox.container adopt", json!({"name": "old"}));
    bench.fails("in_use", "cloudbox.image delete", json!({"name": "adopted-old"}));
    bench.ok("cloudbox.container delete", json!({"name": "old", "wait": 15}));
    let message = bench.fails("exists", "cloudbox.container adopt", json!({"name": "old"}));
    assert!(message.contains("adopted-old"), "{message}");
}

#[test]
fn prune_says_first_and_removes_orphans_only() {
    let mut bench = orphaned(&["a-", "b-"]);
    bench.ok("cloudbox.container create", json!({"name": "c", "wait": 15}));
    let said = bench.ok("cloudbox.container prune", json!({}));
    assert_eq!(said, json!({"orphans": ["a", "b"], "leftovers": [], "protected": [], "jobs": []}));
    assert_eq!(bench.states(), ["a orphan", "b orphan", "c running"]);
    let done = bench.ok("cloudbox.container prune", json!({"yes": true}));
    assert_eq!(done["jobs"].as_array().unwrap().len(), 2);
    bench.work();
    assert_eq!(bench.states(), ["c running"]);
    assert_eq!(bench.fake.world().alive.len(), 1);
    let said = bench.ok("cloudbox.container prune", json!({"yes": true}));
    assert_eq!(said, json!({"orphans": [], "leftovers": [], "protected": [], "jobs": []}));
}

#[test]
fn leftovers_are_pruned_but_not_what_is_being_made() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.fail("storage.erase");
    bench.fails("failed", "cloudbox.container delete", json!({"name": "web", "wait": 15}));
    bench.fake.hold("storage.give_name");
    bench.job("cloudbox.container create", json!({"name": "new"}));
    bench.work_until_held("storage.give_name new");
    let said = bench.ok("cloudbox.container prune", json!({"yes": true}));
    assert!(said["leftovers"] == json!(["web"]) || said["orphans"] == json!(["web"]), "{said}");
    bench.fake.release("storage.give_name");
    bench.work();
    assert_eq!(bench.states(), ["new running"]);
    assert!(bench.fake.world().dead.is_empty());
}

#[test]
fn what_is_protected_is_not_deleted() {
    let mut bench = Bench::new(CONFIG);
    bench.ok(
        "cloudbox.container create",
        json!({"name": "web", "protected": true, "start": false, "wait": 15}),
    );
    let delete = json!({"name": "web", "force": true, "wait": 15});
    let message = bench.fails("protected", "cloudbox.container delete", delete.clone());
    assert!(message.contains("--protected no"), "{message}");
    // Nor when its section is gone.
    let config = bench.fake.world().config;
    bench.reload(CONFIG);
    let message = bench.fails("protected", "cloudbox.container delete", delete.clone());
    assert!(message.contains("cloudbox adopt web"), "{message}");
    let said = bench.ok("cloudbox.container prune", json!({"yes": true}));
    assert_eq!((&said["orphans"], &said["protected"]), (&json!([]), &json!(["web"])));
    bench.reload(&config);
    bench.ok("cloudbox.container set", json!({"name": "web", "protected": false, "wait": 15}));
    bench.ok("cloudbox.container delete", delete);
    assert_eq!(bench.states(), Vec::<String>::new());
}

#[test]
fn an_adopted_container_is_as_its_section_was_last() {
    // Changed while it was stopped, and since it was started; and by a file that was edited.
    for restarted in [false, true] {
        for name in ["idle-", "web"] {
            let mut bench = Bench::with(&[name]);
            let name = name.trim_end_matches('-');
            let set = json!({"name": name, "memory": "24M", "description": "x", "address": "10.0.0.7/24", "wait": 15});
            bench.ok("cloudbox.container set", set);
            bench.reload(CONFIG);
            if restarted {
                bench = bench.restarted();
            }
            assert_eq!(bench.entry(name)["state"], "orphan", "{name}");
            bench.ok("cloudbox.container adopt", json!({"name": name, "wait": 15}));
            let config = bench.fake.world().config;
            for line in ["option memory '24M'", "option description 'x'", "option address '10.0.0.7/24'"] {
                assert!(config.contains(line), "{name}: {line}: {config}");
            }
        }
    }
    let mut bench = Bench::with(&["idle-"]);
    let edited = bench.fake.world().config + "\toption memory '20M'\n";
    bench.reload(&edited);
    bench.reload(CONFIG);
    bench.ok("cloudbox.container adopt", json!({"name": "idle", "wait": 15}));
    assert!(bench.fake.world().config.contains("option memory '20M'"), "{}", bench.fake.world().config);
}
