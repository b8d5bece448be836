//! Images from servers: pulled by hand or for a container, found to be outdated, pruned.

use super::*;

const REMOTES: &str = "config remote 'community'\n\toption url 'https://community.example.org'\n\
                       config remote 'lan'\n\toption url 'https://10.0.0.1'\n";

fn with_remotes(more: &str) -> Bench {
    let bench = Bench::new(&[CONFIG, REMOTES, more].concat());
    bench.fake.image_store().offer("community", "debian/12", "1", "0d");
    bench.fake.image_store().offer("lan", "alpine", "3", "0a");
    bench
}

impl Bench {
    /// Names of all images, with the versions they were pulled in.
    fn image_names(&mut self) -> Vec<String> {
        let list = self.ok("cloudbox.image list", json!({}));
        let text = |value: &Json| value.as_str().unwrap_or("").to_string();
        let image = |image: &Json| {
            let names: Vec<String> = image["names"].as_array().unwrap().iter().map(text).collect();
            format!("{} {} {}", names.join(","), text(&image["source"]), text(&image["newer"]))
                .trim_end()
                .to_string()
        };
        list["images"].as_array().unwrap().iter().map(image).collect()
    }
}

#[test]
fn a_container_is_made_of_an_image_that_is_not_there_yet() {
    let mut bench = with_remotes("");
    bench.listen();
    bench.ok("cloudbox.container create", json!({"name": "web", "image": "community:debian/12", "wait": 15}));
    assert_eq!(bench.states(), ["web running"]);
    assert!(bench.fake.world().config.contains("option image 'debian-12'"));
    assert_eq!(bench.image_names(), ["distro", "debian-12 community:debian/12"]);
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!(info["image_sha256"], "0d".repeat(32));
    assert!(bench.heard.iter().any(|heard| heard.starts_with("image.added") && heard.contains("debian-12")));
    // It is here now.
    bench.ok("cloudbox.container create", json!({"name": "two", "image": "community:debian/12", "wait": 15}));
    // By its name alone, at whichever server has it.
    bench.ok("cloudbox.container create", json!({"name": "three", "image": "alpine", "wait": 15}));
    let pulls = bench.fake.calls().iter().filter(|call| call.starts_with("images.pull")).count();
    assert_eq!(pulls, 2);
    assert_eq!(bench.image_names()[2], "alpine lan:alpine");
}

#[test]
fn a_section_may_ask_for_an_image_that_is_not_there_yet() {
    let mut bench = with_remotes("");
    let sections = "config image 'os'\n\toption remote 'lan'\n\toption alias 'alpine'\n\
                    config container 'web'\n\toption image 'os'\n";
    bench.fake.change(|world| world.config.push_str(sections));
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
    assert_eq!(bench.image_names(), ["distro", "os lan:alpine"]);
}

#[test]
fn a_pull_that_fails_leaves_nothing_of_its_container() {
    let mut bench = with_remotes("");
    let before = bench.fake.world();
    bench.fake.fail("images.pull debian-12");
    let create = json!({"name": "web", "image": "community:debian/12", "wait": 15});
    let message = bench.fails("failed", "cloudbox.container create", create.clone());
    assert!(message.contains("images.pull"), "{message}");
    assert_eq!(bench.fake.world(), before);
    assert_eq!(bench.states(), Vec::<String>::new());
    // What comes behind the pull fails: the image stays, which is no part of the container.
    bench.fake.fail("storage.build web");
    bench.fails("failed", "cloudbox.container create", create);
    assert_eq!(bench.fake.world().config, before.config);
    assert_eq!(bench.image_names().len(), 2);
}

#[test]
fn what_cannot_be_pulled_is_refused_at_once() {
    let mut bench = with_remotes("config remote 'bad'\n\toption url 'ftp://x'\n");
    for (code, name, remote, why) in [
        ("not_found", "x", "nobody", "there is no remote \"nobody\""),
        ("not_found", "nobody:x", "", "there is no remote \"nobody\""),
        ("invalid_argument", "bad:x", "", "ftp://x"),
        ("invalid_name", "community:../x", "", "cannot be an image's name"),
        ("invalid_name", "", "", "cannot be an image's name"),
    ] {
        let message = bench.fails(code, "cloudbox.image pull", json!({"name": name, "remote": remote}));
        assert!(message.contains(why), "{message}");
    }
    bench.fails("not_found", "cloudbox.image pull", json!({"name": "nothing", "wait": 15}));
    bench.fake.change(|world| world.config = CONFIG.to_string());
    bench.ok("cloudbox reload", json!({}));
    let message = bench.fails("not_found", "cloudbox.image pull", json!({"name": "x"}));
    assert!(message.contains("config remote"), "{message}");
    bench.fails("not_found", "cloudbox.container create", json!({"name": "web", "image": "x"}));
}

#[test]
fn versions_follow_each_other_and_containers_keep_theirs() {
    let mut bench = with_remotes("");
    bench.ok("cloudbox.container create", json!({"name": "web", "image": "lan:alpine", "wait": 15}));
    let state = |bench: &mut Bench| {
        let offers = bench.ok("cloudbox.image available", json!({"remote": "lan", "filter": "alp"}));
        offers["images"][0]["state"].as_str().unwrap().to_string()
    };
    assert_eq!(state(&mut bench), "here");
    bench.fake.image_store().offer("lan", "alpine", "4", "0b");
    assert_eq!(bench.image_names()[1], "alpine lan:alpine");
    assert_eq!(state(&mut bench), "newer");
    assert_eq!(bench.image_names(), ["distro", "alpine lan:alpine 4"]);
    bench.ok("cloudbox.image pull", json!({"name": "alpine", "wait": 15}));
    assert_eq!(state(&mut bench), "here");
    assert_eq!(bench.image_names()[1..], [" lan:alpine", "alpine lan:alpine"].map(str::to_string));
    let info = bench.ok("cloudbox.container info", json!({"name": "web"}));
    assert_eq!(info["image_sha256"], "0a".repeat(32));
}

#[test]
fn one_server_that_is_down_does_not_hide_the_others() {
    let mut bench = with_remotes("");
    bench.fake.fail("images.available community");
    let offers = bench.ok("cloudbox.image available", json!({}));
    assert_eq!(offers["images"].as_array().unwrap().len(), 1);
    assert_eq!(offers["errors"], json!(["community: injected failure of images.available community"]));
    bench.fake.fail("images.available community");
    bench.fails("failed", "cloudbox.image available", json!({"remote": "community"}));
    bench.fake.fail_always("images.available");
    bench.fails("failed", "cloudbox.image available", json!({}));
}

#[test]
fn prune_says_first_and_keeps_what_is_used_or_named() {
    let mut bench = with_remotes("config image 'named'\n\toption remote 'lan'\n\toption alias 'alpine'\n");
    bench.ok("cloudbox.container create", json!({"name": "web", "image": "community:debian/12", "wait": 15}));
    bench.ok("cloudbox.image pull", json!({"name": "named", "wait": 15}));
    bench.ok("cloudbox.image import", json!({"path": "/x", "name": "old", "wait": 15}));
    bench.fake.image_store().leave(7000);
    let said = bench.ok("cloudbox.image prune", json!({}));
    assert_eq!(said, json!({"images": ["old"], "bytes": 4096, "partial": 7000}));
    assert_eq!(bench.image_names().len(), 4);
    bench.listen();
    let job = bench.ok("cloudbox.image prune", json!({"yes": true}))["job"].as_str().unwrap().to_string();
    bench.ok("cloudbox.job wait", json!({"id": job}));
    assert!(
        bench.heard.iter().any(|h| h.contains("image.removed") && h.contains("old")),
        "{:?}",
        bench.heard
    );
    assert_eq!(bench.image_names().len(), 3);
    assert_eq!(
        bench.ok("cloudbox.image prune", json!({"yes": true})),
        json!({"images": [], "bytes": 0, "partial": 0})
    );
    // Nobody removes what a job may be about to use.
    bench.fake.image_store().leave(1);
    bench.fake.hold("images.pull new");
    let pull = bench.job("cloudbox.image pull", json!({"name": "new"}));
    bench.work_until_held("images.pull new");
    bench.fails("busy", "cloudbox.image prune", json!({"yes": true}));
    bench.ok("cloudbox.job cancel", json!({"id": pull}));
    bench.fake.release("images.pull new");
    bench.work();
    // And nobody begins with one while they are removed.
    bench.fake.hold("images.remove_partial");
    bench.job("cloudbox.image prune", json!({"yes": true}));
    bench.fails("busy", "cloudbox.image pull", json!({"name": "new"}));
    bench.fails("busy", "cloudbox.image import", json!({"path": "/x", "name": "new"}));
    bench.fails("busy", "cloudbox.image delete", json!({"name": "named"}));
    bench.fake.release("images.remove_partial");
    bench.work();
}

#[test]
fn one_version_is_pulled_by_its_sha256() {
    let (wanted, other) = ("0d".repeat(32), "ee".repeat(32));
    let mut bench = Bench::new(&format!(
        "{CONFIG}config remote 'community'\n\toption url 'https://community.example.org'\n\
         config image 'pinned'\n\toption remote 'community'\n\toption alias 'debian/12'\n\toption sha256 '{other}'\n"
    ));
    bench.fake.image_store().offer("community", "debian/12", "20261122_05:24", "0d");
    let pull = |name: &str, sha256: &str| json!({"name": name, "sha256": sha256, "wait": 15});
    bench.fails("checksum", "cloudbox.image pull", pull("community:debian/12", &other));
    bench.fails("invalid_argument", "cloudbox.image pull", pull("community:debian/12", "0d"));
    // What the configuration wants goes first.
    let message = bench.fails("checksum", "cloudbox.image pull", pull("pinned", &wanted));
    assert!(message.contains("`option sha256` of image pinned"), "{message}");
    // Who asks without the commons' rights has it under its own name.
    bench.ok("cloudbox.image pull", pull("community:debian/12", &wanted.to_uppercase()));
    let image = bench.core.state.images.iter().find(|image| image.manifest.sha256 == wanted).unwrap();
    assert_eq!(image.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["debian-12"]);
}
