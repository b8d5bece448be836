//! What the process of the commons may do, whatever ubusd lets it: its access list here grants all there is.

use super::*;
use crate::api::{BusObject, COMMONS_USER};
use crate::commons::id::Id;
use crate::usign::{Number, SecretKey};
use openwrt_ubus::broker::Access;

/// The public key of somebody, as a line, and the id.
fn somebody(seed: u8) -> (String, String) {
    let key = SecretKey::new([seed; 32], Number::new([seed; 8])).public();
    (key.to_line(), Id::of(&key).to_string())
}

fn sha() -> String {
    "ab".repeat(32)
}

/// A box that hosts anna, who may vouch for others, with the owner's container `web` and a bridge for strangers.
fn config(more: &str) -> String {
    let (key, _) = somebody(1);
    format!(
        "{CONFIG}config commons 'commons'\n\toption enabled '1'\n\toption bridge 'br-commons'\n\
         config peer 'anna'\n\toption key '{key}'\n\toption memory '64M'\n\toption disk '256M'\n\
         \toption cpus '2'\n\toption containers '3'\n\toption delegate '1'\n\toption delegate_share '50%'\n\
         {more}config container 'web'\n"
    )
}

impl Bench {
    fn hosting(more: &str) -> Bench {
        let mut bench = Bench::new(&config(more));
        bench.work();
        bench
    }

    /// Whoever calls from here on is this user.
    fn become_user(&mut self, user: &str) {
        let all = || vec!["*".to_string()];
        self.broker.allow(Access {
            user: Some(user.into()),
            methods: vec![("*".into(), all())],
            subscribe: all(),
            listen: all(),
            ..Access::default()
        });
        let uid = if user == "root" { 0 } else { 1000 };
        let credentials = Credentials { uid, gid: uid, user: user.into(), group: user.into() };
        self.client_at = self.broker.connect(credentials);
        self.client = Connection::new();
        self.pump();
    }

    fn become_commons(&mut self) {
        self.become_user(COMMONS_USER);
    }

    /// A container of anna's wiki, as the process asks for it.
    fn host(&mut self, name: &str, group: &str, more: Json) -> Answer {
        let mut asked = json!({
            "name": name, "slice": format!("{}/wiki/{group}", somebody(1).1), "image": sha(),
            "memory": "16M", "disk": "64M", "cpus": "0.5", "wait": 15,
        });
        for (key, value) in more.as_object().unwrap() {
            asked[key] = value.clone();
        }
        self.call("cloudbox.container create", asked)
    }
}

/// Arguments that fit every method: the owner's container, a job that the owner has asked for, an image.
fn arguments(method: &str) -> Json {
    let mut arguments = json!({
        "new_name": "new", "snapshot": "s", "path": "/srv/cloudbox/archives/x.tar", "command": ["id"], "id": "1",
        "container": "web", "type": "_http._tcp", "port": 80, "force": true, "yes": true, "timeout": 0,
        "memory": "16M", "wait": 0, "name": "web",
    });
    if method == "cloudbox.image pull" {
        arguments["name"] = "community:distro".into();
    }
    arguments
}

#[test]
fn of_what_is_the_owners_the_process_gets_nothing() {
    let mut bench = Bench::hosting("");
    let before = bench.fake.world();
    bench.become_commons();
    let mut tried = 0;
    for (object, published) in crate::daemon::objects() {
        for (method, _) in published.methods() {
            let method = format!("{} {method}", object.path());
            tried += 1;
            let answer = bench.call(&method, arguments(&method));
            match method.as_str() {
                // What it may ask for shows nothing of the owner's.
                "cloudbox.container list" => {
                    let nothing = json!({ "containers": [], "orphans": [], "foreign": [] });
                    assert_eq!((answer.status, answer.body), (0, nothing), "{method}");
                }
                "cloudbox.job list" => assert_eq!(answer.body, json!({ "jobs": [] }), "{method}"),
                "cloudbox.config commons" => assert_eq!(answer.status, 0, "{method}"),
                // Without a sha256 nothing is pulled, and without a slice nothing is made.
                "cloudbox.image pull" | "cloudbox.container create" => {
                    assert_eq!(answer.code(), "invalid_argument", "{method}");
                }
                _ => {
                    assert_eq!((answer.code(), answer.status), ("permission_denied", 6), "{method}");
                    assert!(!answer.message().is_empty(), "{method}");
                }
            }
        }
    }
    assert!(tried > 40, "{tried} methods");
    assert_eq!(bench.fake.world(), before);
    assert_eq!(bench.core.state.jobs.iter().filter(|job| job.commons).count(), 0);
}

#[test]
fn what_the_configuration_says_of_the_commons_only_root_and_the_process_hear() {
    let mut bench = Bench::hosting("");
    assert_eq!(bench.ok("cloudbox.config commons", json!({}))["peers"][0]["name"], "anna");
    bench.become_user("guest");
    let message = bench.fails("permission_denied", "cloudbox.config commons", json!({}));
    assert!(message.contains("only root"), "{message}");
    // All else the box's access lists decide.
    bench.ok("cloudbox.container info", json!({"name": "web"}));
}

#[test]
fn where_a_container_is_and_what_it_may_the_box_says() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    let answer = bench.host("wiki-web-ab12cd", "web", json!({}));
    assert_eq!(answer.status, 0, "{}", answer.text);
    let text = bench.fake.world().config;
    let section = text.split("config container 'wiki_web_ab12cd'").nth(1).unwrap();
    let anna = somebody(1).1;
    for line in [
        "option bridge 'br-commons'",
        "option isolate '1'",
        "option advertise '1'",
        &format!("option slice '{anna}/wiki/web'"),
        &format!("option image '{}'", &sha()[..32]),
    ] {
        assert!(section.contains(line), "{line}: {section}");
    }
    let info = bench.ok("cloudbox.container info", json!({"name": "wiki-web-ab12cd"}));
    assert_eq!((&info["network"], &info["image_sha256"]), (&json!("br-commons"), &json!(sha())));
    let list = bench.ok("cloudbox.container list", json!({}));
    assert_eq!(list["containers"].as_array().unwrap().len(), 1);
    assert_eq!(list["containers"][0]["slice"], format!("{anna}/wiki/web"));

    // Whatever it says of other options.
    for (option, value) in [
        ("swap", json!("1M")),
        ("pids", json!(9)),
        ("network", json!("br-lan")),
        ("address", json!("10.0.0.9/24")),
        ("gateway", json!("10.0.0.1")),
        ("isolate", json!(false)),
        ("reach", json!("all")),
        ("rate", json!("10G")),
        ("connections", json!(1000)),
        ("priority", json!(0)),
        ("restart", json!("always")),
        ("description", json!("x")),
        ("hostname", json!("router")),
        ("timezone", json!("Europe/Madrid")),
        ("protected", json!(true)),
        ("nesting", json!(true)),
        ("io_uring", json!(true)),
    ] {
        let answer = bench.host("wiki-db-ab12cd", "db", json!({ option: value }));
        assert_eq!(answer.code(), "permission_denied", "{option}: {}", answer.text);
        assert!(answer.message().contains("is not for the commons to say"), "{option}: {}", answer.message());
        let set = json!({"name": "wiki-web-ab12cd", option: value});
        if !matches!(option, "hostname" | "timezone") {
            bench.fails("permission_denied", "cloudbox.container set", set);
        }
    }
    // And of a slice, afterwards.
    let elsewhere = json!({"name": "wiki-web-ab12cd", "slice": format!("{anna}/other/web")});
    bench.fails("permission_denied", "cloudbox.container set", elsewhere);

    // What its owner has changed of these goes back when the process changes the container.
    bench.become_user("root");
    bench.ok(
        "cloudbox.container set",
        json!({"name": "wiki-web-ab12cd", "isolate": false, "network": "br-lan"}),
    );
    bench.become_commons();
    bench.ok("cloudbox.container set", json!({"name": "wiki-web-ab12cd", "memory": "20M"}));
    let text = bench.fake.world().config;
    let section = text.split("config container 'wiki_web_ab12cd'").nth(1).unwrap();
    assert!(
        section.contains("option bridge 'br-commons'") && section.contains("option isolate '1'"),
        "{section}"
    );
    bench.ok("cloudbox.container stop", json!({"name": "wiki-web-ab12cd", "force": true, "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "wiki-web-ab12cd", "wait": 15}));
    bench.ok("cloudbox.container restart", json!({"name": "wiki-web-ab12cd", "timeout": 0, "wait": 15}));
    bench.ok("cloudbox.container delete", json!({"name": "wiki-web-ab12cd", "force": true, "wait": 15}));
    bench.fails("not_found", "cloudbox.container info", json!({"name": "wiki-web-ab12cd"}));
}

#[test]
fn a_container_that_is_not_whole_or_not_of_a_peer_is_refused() {
    let denied = somebody(4);
    let mut bench = Bench::hosting(&format!("config deny\n\toption key '{}'\n", denied.0));
    bench.become_commons();
    let anna = somebody(1).1;
    let other = somebody(9).1;
    for (name, more, code, words) in [
        ("wiki-web-ab12cd", json!({"slice": ""}), "invalid_argument", "<member>/<slice>/<group>"),
        ("wiki-web-ab12cd", json!({"slice": "lab"}), "invalid_argument", "<member>/<slice>/<group>"),
        ("web", json!({}), "invalid_name", "call it wiki-web-"),
        ("wiki-db-ab12cd", json!({}), "invalid_name", "call it wiki-web-"),
        ("wiki-web-ab12cd", json!({"slice": format!("{other}/wiki/web")}), "permission_denied", "is no peer"),
        (
            "wiki-web-ab12cd",
            json!({"slice": format!("{}/wiki/web", denied.1)}),
            "permission_denied",
            "the box's owner denies",
        ),
        (
            "wiki-web-ab12cd",
            json!({"slice": format!("{}/wiki/web", denied.1), "peer": anna}),
            "permission_denied",
            "the box's owner denies",
        ),
        ("wiki-web-ab12cd", json!({"peer": other}), "permission_denied", "is no peer"),
        ("wiki-web-ab12cd", json!({"image": "distro"}), "invalid_argument", "sha256"),
        ("wiki-web-ab12cd", json!({"image": "cd".repeat(32)}), "not_found", "pull it first"),
        ("wiki-web-ab12cd", json!({"disk": "none"}), "invalid_argument", "has a quota"),
        ("wiki-web-ab12cd", json!({"memory": "80M"}), "quota", "may have 64M"),
        ("wiki-web-ab12cd", json!({"disk": "257M"}), "quota", "may have 256M"),
        ("wiki-web-ab12cd", json!({"cpus": "2.1"}), "quota", "may have 2"),
    ] {
        let answer = bench.host(name, "web", more.clone());
        assert_eq!(answer.code(), code, "{more}: {}", answer.text);
        assert!(answer.message().contains(words), "{more}: {}", answer.message());
    }
    let world = bench.fake.world();
    assert!(!world.config.contains("wiki") && world.alive.len() == 1, "{}", world.config);
}

/// Sections of containers of anna's slice that are there already.
fn hosted(name: &str, more: &str) -> String {
    format!(
        "config container '{}'\n\toption slice '{}/wiki/web'\n\toption disk '16M'\n\toption image 'distro'\n{more}",
        name.replace('-', "_"),
        somebody(1).1
    )
}

#[test]
fn a_peers_containers_together_have_no_more_than_it_was_granted() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    let web = "wiki-web-aaaaaa";
    assert_eq!(bench.host(web, "web", json!({})).status, 0);
    assert_eq!(bench.host("wiki-db-aaaaaa", "db", json!({"memory": "32M"})).status, 0);
    // 48 of 64 are taken, and 2 of 3.
    let answer = bench.host("wiki-c-aaaaaa", "c", json!({"memory": "17M"}));
    assert_eq!(answer.code(), "quota", "{}", answer.text);
    assert!(answer.message().contains("others of its containers have 48M"), "{}", answer.message());
    // One that does not run takes disk only; it may not be started beyond the grants.
    let idle = json!({"memory": "17M", "start": false, "autostart": false});
    assert_eq!(bench.host("wiki-c-aaaaaa", "c", idle).status, 0);
    bench.fails("quota", "cloudbox.container start", json!({"name": "wiki-c-aaaaaa"}));
    bench.fails("quota", "cloudbox.container restart", json!({"name": "wiki-c-aaaaaa"}));
    bench.fails("quota", "cloudbox.container set", json!({"name": "wiki-c-aaaaaa", "autostart": true}));
    bench.ok("cloudbox.container set", json!({"name": "wiki-c-aaaaaa", "memory": "16M"}));
    bench.ok("cloudbox.container start", json!({"name": "wiki-c-aaaaaa", "wait": 15}));
    let answer = bench.host("wiki-d-aaaaaa", "d", json!({"memory": "4M", "disk": "16M"}));
    assert_eq!(answer.code(), "quota", "{}", answer.text);
    let idle = json!({"memory": "4M", "disk": "16M", "start": false, "autostart": false});
    assert_eq!(bench.host("wiki-d-aaaaaa", "d", idle).status, 0);
    let answer = bench.fails("quota", "cloudbox.container start", json!({"name": "wiki-d-aaaaaa"}));
    assert!(answer.starts_with("memory 4M") || answer.starts_with("containers 1"), "{answer}");
    // More by a change is no way round it, less is always one.
    bench.fails("quota", "cloudbox.container set", json!({"name": web, "memory": "17M"}));
    bench.fails("quota", "cloudbox.container set", json!({"name": web, "cpus": "1.5"}));
    bench.fails("quota", "cloudbox.container set", json!({"name": web, "disk": "200M"}));
    bench.ok("cloudbox.container set", json!({"name": web, "memory": "13M"}));

    // What all have, the process is told.
    let held = bench.ok("cloudbox.config commons", json!({}))["peers"][0]["held"].clone();
    assert_eq!(
        held,
        json!({"memory": 61 << 20, "disk": (64 * 3 + 16) << 20, "cpus": "1.5", "containers": 3})
    );

    // Granted less, what is there goes on, and may be made less; nothing else.
    let less = bench.fake.world().config.replace("option memory '64M'", "option memory '8M'");
    bench.become_user("root");
    bench.reload(&less);
    bench.become_commons();
    bench.ok("cloudbox.container restart", json!({"name": web, "timeout": 0, "wait": 15}));
    bench.ok("cloudbox.container set", json!({"name": web, "memory": "12M"}));
    bench.fails("quota", "cloudbox.container set", json!({"name": web, "memory": "14M"}));
    // A peer whose section has a wrong value keeps what it has, too.
    let wrong = less.replace("option memory '8M'", "option memory 'much'");
    bench.become_user("root");
    bench.reload(&wrong);
    bench.become_commons();
    assert_eq!(bench.host("wiki-e-aaaaaa", "e", json!({})).code(), "invalid_argument");
    bench.ok("cloudbox.container info", json!({"name": web}));
}

#[test]
fn whom_a_peer_vouches_for_counts_against_it_and_has_a_share() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    let (anna, bob, carl) = (somebody(1).1, somebody(2).1, somebody(3).1);
    let of = |member: &str, more: Json| {
        let mut asked = json!({"slice": format!("{member}/blog/web"), "peer": anna});
        for (key, value) in more.as_object().unwrap() {
            asked[key] = value.clone();
        }
        asked
    };
    // Half of 3 containers is one.
    let answer = bench.host("blog-web-aaaaaa", "web", of(&bob, json!({"memory": "33M"})));
    assert_eq!(answer.code(), "quota", "{}", answer.text);
    assert!(
        answer.message().contains(&format!("{bob}, for whom peer anna vouches, may have 32M")),
        "{}",
        answer.text
    );
    assert_eq!(bench.host("blog-web-aaaaaa", "web", of(&bob, json!({"memory": "32M"}))).status, 0);
    assert!(bench.fake.world().config.contains(&format!("option peer '{anna}'")));
    assert_eq!(bench.host("blog-web-bbbbbb", "web", of(&bob, json!({"memory": "4M"}))).code(), "quota");
    assert_eq!(bench.host("blog-web-cccccc", "web", of(&carl, json!({"memory": "32M"}))).status, 0);
    // Nothing is left for anna herself.
    let answer = bench.host("wiki-web-aaaaaa", "web", json!({"memory": "4M"}));
    assert_eq!(answer.code(), "quota", "{}", answer.text);
    // She may vouch no more: what is there stays, and is not started again.
    let config = bench.fake.world().config.replace("option delegate '1'", "option delegate '0'");
    bench.become_user("root");
    bench.reload(&config);
    bench.become_commons();
    let message =
        bench.fails("permission_denied", "cloudbox.container start", json!({"name": "blog-web-aaaaaa"}));
    assert!(message.contains("may vouch for nobody"), "{message}");
    bench.ok("cloudbox.container delete", json!({"name": "blog-web-aaaaaa", "force": true, "wait": 15}));
}

#[test]
fn a_box_that_hosts_nothing_takes_nothing_new() {
    let mut bench = Bench::hosting(&hosted("wiki-web-aaaaaa", ""));
    for (said, words) in [
        ("option state 'safe'", "takes nothing new"),
        ("option state 'failure'", "is broken"),
        ("option enabled '0'", "switched off"),
    ] {
        bench.become_user("root");
        let line = "option bridge 'br-commons'\n";
        bench.reload(&bench.fake.world().config.clone().replace(line, &format!("{line}\t{said}\n")));
        bench.become_commons();
        let answer = bench.host("wiki-db-aaaaaa", "db", json!({}));
        assert_eq!(answer.code(), "permission_denied", "{said}: {}", answer.text);
        assert!(answer.message().contains(words), "{said}: {}", answer.message());
        bench.fails("permission_denied", "cloudbox.container start", json!({"name": "wiki-web-aaaaaa"}));
        let pull = json!({"name": "community:x", "sha256": sha()});
        bench.fails("permission_denied", "cloudbox.image pull", pull);
        // What is there can be looked at, and ended.
        bench.ok("cloudbox.container info", json!({"name": "wiki-web-aaaaaa"}));
        bench.ok("cloudbox.container stop", json!({"name": "wiki-web-aaaaaa", "force": true, "wait": 15}));
        bench.become_user("root");
        bench.reload(&bench.fake.world().config.clone().replace(&format!("\t{said}\n"), ""));
    }
}

#[test]
fn a_members_slice_is_for_root_and_the_process_to_say() {
    let mut bench = Bench::hosting("");
    let members = json!(format!("{}/wiki/web", somebody(1).1));
    bench.become_user("guest");
    for (method, more) in [("create", json!({"name": "x"})), ("set", json!({"name": "web"}))] {
        let mut asked = more.clone();
        asked["slice"] = members.clone();
        let method = format!("cloudbox.container {method}");
        assert!(bench.fails("permission_denied", &method, asked).starts_with("slice: only root"));
    }
    bench.ok("cloudbox.container set", json!({"name": "web", "slice": "lab"}));
    bench.become_user("root");
    bench.ok("cloudbox.container set", json!({"name": "web", "slice": members}));
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "web"}))["slice"], members);
    // A copy of what is hosted is the owner's, and on nobody's account.
    bench.ok("cloudbox.container clone", json!({"name": "web", "new_name": "copy", "wait": 15}));
    assert!(bench.ok("cloudbox.container info", json!({"name": "copy"})).get("slice").is_none());
}

#[test]
fn the_process_sees_and_hears_of_its_own_jobs_and_containers_only() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    bench.client.subscribe("cloudbox.config");
    bench.pump();
    bench.heard.clear();
    let answer = bench.host("wiki-web-aaaaaa", "web", json!({}));
    let own = answer.body["job"].as_str().unwrap().to_string();
    bench.ok("cloudbox.job status", json!({"id": own}));
    assert_eq!(bench.ok("cloudbox.job wait", json!({"id": own}))["state"], "done");
    let listed = bench.ok("cloudbox.job list", json!({}));
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);
    let foreign = bench.core.state.jobs.iter().find(|job| !job.commons).unwrap().id.to_string();
    for method in ["cloudbox.job status", "cloudbox.job wait", "cloudbox.job cancel"] {
        bench.fails("permission_denied", method, json!({"id": foreign}));
    }
    bench.fails("not_found", "cloudbox.job status", json!({"id": "99"}));

    // The owner's doings with both containers: it hears of its own.
    let (client, client_at) = (std::mem::take(&mut bench.client), bench.client_at);
    bench.become_user("root");
    for name in ["web", "wiki-web-aaaaaa"] {
        bench.ok("cloudbox.container stop", json!({"name": name, "force": true, "wait": 15}));
        bench.ok("cloudbox.container delete", json!({"name": name, "wait": 15}));
    }
    bench.ok("cloudbox reload", json!({}));
    (bench.client, bench.client_at) = (client, client_at);
    bench.pump();
    let heard: Vec<String> =
        bench.heard.iter().map(|line| line.split(" {\"id\"").next().unwrap().to_string()).collect();
    let of = |what: &str| format!("container.{what} {{\"name\":\"wiki-web-aaaaaa\"}}");
    assert_eq!(
        heard,
        [
            of("created"),
            of("started"),
            "job.finished".into(),
            of("stopped"),
            of("deleted"),
            "config.changed {}".into()
        ]
    );
    // And still after a restart of the daemon.
    let mut bench = bench.restarted();
    bench.become_commons();
    assert_eq!(bench.ok("cloudbox.job list", json!({}))["jobs"][0]["id"], own);
}

#[test]
fn what_a_container_is_given_to_keep_nobody_else_sees() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    bench.client.subscribe("cloudbox.config");
    bench.pump();
    let secrets = json!({"db": "hunter2-text", "tls": {"base64": "aHVudGVyMi1ieXRlcwD/"}});
    // It is not made, at first.
    bench.fake.fail("storage.give_name");
    let failed = bench.host("wiki-web-aaaaaa", "web", json!({"secrets": secrets}));
    assert_eq!(failed.code(), "failed", "{}", failed.text);
    let answer = bench.host("wiki-web-aaaaaa", "web", json!({"secrets": secrets}));
    assert_eq!(answer.status, 0, "{}", answer.text);
    let world = bench.fake.world();
    let kept = &world.alive[&name("wiki-web-aaaaaa")].secrets;
    assert_eq!(
        kept.iter().collect::<Vec<_>>(),
        [("db", &b"hunter2-text"[..]), ("tls", &b"hunter2-bytes\0\xff"[..])]
    );
    let info = bench.ok("cloudbox.container info", json!({"name": "wiki-web-aaaaaa"}));
    bench.become_user("root");
    let mut shown = vec![info.to_string(), failed.text, answer.text, world.config.clone()];
    for method in ["cloudbox.job list", "cloudbox.container list", "cloudbox status", "cloudbox doctor"] {
        shown.push(bench.ok(method, json!({})).to_string());
    }
    shown.push(bench.heard.join("\n"));
    shown.push(std::fs::read_to_string(bench.dir.path().join("jobs.json")).unwrap());
    shown.extend(world.alive.values().map(|files| serde_json::to_string(&files.record).unwrap()));
    for text in shown {
        for secret in ["hunter2", "aHVudGVyMi1ieXRlcwD"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(!world.config.contains("deleting"), "{}", world.config);
    for (wrong, words) in [
        (json!({"../x": "y"}), "name it with"),
        (json!({"x": {"base64": "*hunter2*"}}), "base64 cannot be read"),
        (json!({"x": {"text": "y"}}), "a table with base64"),
        (json!({"x": 7}), "a text, or a table"),
    ] {
        let create = json!({"name": "x", "secrets": wrong});
        let message = bench.fails("invalid_argument", "cloudbox.container create", create);
        assert!(message.contains(words) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_crash_leaves_no_container_without_its_secrets() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    bench.fake.hold("storage.give_name");
    let slice = format!("{}/wiki/web", somebody(1).1);
    let asked = json!({"name": "wiki-web-aaaaaa", "slice": slice, "image": sha(), "memory": "16M", "disk": "64M",
                       "secrets": {"db": "x"}});
    bench.job("cloudbox.container create", asked);
    bench.work_until_held("storage.give_name wiki-web-aaaaaa");
    assert!(bench.fake.world().config.contains("option deleting '1'"));
    // The daemon is killed, and another one finds what is there.
    let twin = bench.fake.twin();
    let mut next = Bench::of(twin, TempDir::make());
    next.work();
    assert_eq!(next.states(), ["web running"]);
    assert!(!next.fake.world().config.contains("wiki"));
    bench.fake.release("storage.give_name");
    bench.work();
}

#[test]
fn an_image_is_pulled_by_its_sha256_under_no_name_of_the_owners() {
    let remote = "config remote 'community'\n\toption url 'https://community.example.org'\n";
    let mut bench = Bench::hosting(remote);
    bench.fake.image_store().offer("community", "debian/12", "20261122_05:24", "0d");
    let pin = "0d".repeat(32);
    bench.become_commons();
    for sha256 in [Json::Null, json!(""), json!("x"), json!("0d")] {
        let pull = json!({"name": "community:debian/12", "sha256": sha256, "wait": 15});
        bench.fails("invalid_argument", "cloudbox.image pull", pull);
    }
    let wrong = json!({"name": "community:debian/12", "sha256": "ee".repeat(32), "wait": 15});
    bench.fails("checksum", "cloudbox.image pull", wrong);
    let pull = json!({"name": "community:debian/12", "sha256": pin, "wait": 15});
    bench.ok("cloudbox.image pull", pull.clone());
    let image = bench.core.state.images.iter().find(|image| image.manifest.sha256 == pin).unwrap();
    assert_eq!(image.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), [&pin[..32]]);
    // Again it asks nobody.
    let asked =
        |bench: &Bench| bench.fake.calls().iter().filter(|call| call.starts_with("images.pull")).count();
    let before = asked(&bench);
    bench.ok("cloudbox.image pull", pull);
    assert_eq!(asked(&bench), before);
}

#[test]
fn services_are_announced_if_the_peer_may_and_go_with_their_container() {
    let mut bench = Bench::hosting("");
    bench.become_commons();
    let publish = json!({"publish": ["_http._tcp 80 Our wiki", "_ssh._tcp 22"]});
    for (wrong, words) in [
        (json!(["_http._tcp"]), "publish \"_http._tcp\": port"),
        (json!(["http 80"]), "write it as _http._tcp"),
        (json!(["_http._tcp 80 a", "_http._tcp 80 b"]), "twice"),
        (json!(vec!["_x1._tcp 1"; 17]), "the most"),
    ] {
        let answer = bench.host("wiki-web-aaaaaa", "web", json!({"publish": wrong}));
        assert_eq!(answer.code(), "invalid_argument", "{}", answer.text);
        assert!(answer.message().contains(words), "{}", answer.message());
    }
    let answer = bench.host("wiki-web-aaaaaa", "web", publish.clone());
    assert_eq!(answer.status, 0, "{}", answer.text);
    let world = bench.fake.world();
    for line in [
        "config service 'wiki_web_aaaaaa_http_80'",
        "option name 'Our wiki'",
        "config service 'wiki_web_aaaaaa_ssh_22'",
    ] {
        assert!(world.config.contains(line), "{line}: {}", world.config);
    }
    assert!(!world.config.contains("deleting"), "{}", world.config);
    let services = |bench: &mut Bench| bench.core.state.config.services.len();
    assert_eq!(services(&mut bench), 2);
    bench.become_user("root");
    bench.ok("cloudbox reload", json!({}));
    assert_eq!(services(&mut bench), 2);
    bench.become_commons();
    bench.ok("cloudbox.container delete", json!({"name": "wiki-web-aaaaaa", "force": true, "wait": 15}));
    assert_eq!(services(&mut bench), 0);
    assert!(!bench.fake.world().config.contains("wiki"));
    // A peer that may not gets none, nor what its image offers.
    let config = bench.fake.world().config.replace("option delegate '1'", "option publish '0'");
    bench.become_user("root");
    bench.reload(&config);
    bench.become_commons();
    let answer = bench.host("wiki-web-aaaaaa", "web", publish);
    assert_eq!(answer.code(), "permission_denied", "{}", answer.text);
    assert_eq!(bench.host("wiki-web-aaaaaa", "web", json!({})).status, 0);
    assert!(bench.fake.world().config.contains("option advertise '0'"));
}

#[test]
fn images_that_the_process_has_pulled_for_nothing_go_in_the_end() {
    let remote = "config remote 'community'\n\toption url 'https://community.example.org'\n";
    let mut bench = Bench::hosting(remote);
    // What the owner's names have moved away from is the owner's still.
    for version in ["c", "d"] {
        bench.fake.image_store().offer("community", "os", version, version);
        bench.ok("cloudbox.image pull", json!({"name": "community:os", "wait": 15}));
    }
    bench.become_commons();
    let hash = |n: usize| format!("{n:x}").repeat(64);
    for n in 1..=10 {
        bench.fake.image_store().offer("community", "os", &n.to_string(), &format!("{n:x}"));
        bench.ok("cloudbox.image pull", json!({"name": "community:os", "sha256": hash(n), "wait": 15}));
        if n == 1 {
            let answer = bench.host("wiki-web-aaaaaa", "web", json!({"image": hash(1)}));
            assert_eq!(answer.status, 0, "{}", answer.text);
        }
    }
    bench.work();
    // One is used, the owner's is the owner's, and of the nine others the oldest has gone.
    let has = |sha256: String| bench.core.state.images.iter().any(|image| image.manifest.sha256 == sha256);
    let left: Vec<usize> = (1..=10).filter(|n| has(hash(*n))).collect();
    assert_eq!(left, [1, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(has(sha()) && has("c".repeat(64)) && has("d".repeat(64)));
}

#[test]
fn the_process_has_no_more_than_a_few_jobs_under_way() {
    let remote = "config remote 'community'\n\toption url 'https://community.example.org'\n";
    let mut bench = Bench::hosting(remote);
    bench.become_commons();
    bench.fake.hold("images.pull");
    let pull = |n: usize| json!({"name": "community:x", "sha256": format!("{n:064}").chars().rev().collect::<String>()});
    for n in 0..32 {
        bench.job("cloudbox.image pull", pull(n));
    }
    bench.fails("busy", "cloudbox.image pull", pull(32));
    assert_eq!(bench.host("wiki-web-aaaaaa", "web", json!({})).code(), "busy");
    // Others are not held up by it.
    bench.become_user("root");
    bench.ok("cloudbox.container create", json!({"name": "mine", "wait": 15}));
    bench.fake.release("images.pull");
    bench.work();
    bench.become_commons();
    assert_eq!(bench.host("wiki-web-aaaaaa", "web", json!({})).status, 0);
}

#[test]
fn every_object_has_a_path_of_its_own() {
    let mut paths: Vec<&str> = BusObject::ALL.into_iter().map(BusObject::path).collect();
    paths.dedup();
    assert_eq!(paths.len(), BusObject::ALL.len());
}

#[test]
fn doctor_tells_what_the_commons_lacks() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let brokers = format!(
        "config broker 'here'\n\toption host '127.0.0.1'\n\toption port '{port}'\n\
         config broker 'closed'\n\toption host 'localhost'\n\toption port '1'\n\
         config broker 'elsewhere'\n\toption host '192.0.2.1'\n"
    );
    let found = |bench: &mut Bench| {
        let reply = bench.ok("cloudbox doctor", json!({}));
        let checks = reply["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "commons");
        let text = |check: &Json, field: &str| check[field].as_str().unwrap_or_default().to_string();
        checks
            .map(|check| {
                (text(check, "state"), format!("{}; {}", text(check, "message"), text(check, "remedy")))
            })
            .collect::<Vec<_>>()
    };
    let mut bench = Bench::hosting(&brokers);
    let findings = found(&mut bench);
    let says =
        |state: &str, words: &str| findings.iter().any(|(is, text)| is == state && text.contains(words));
    assert!(findings[0].1.contains(COMMONS_USER), "{findings:?}");
    assert!(says("ok", "containers of other people join br-commons"), "{findings:?}");
    assert!(says("ok", "broker here answers"), "{findings:?}");
    assert!(says("error", "broker closed is this box"), "{findings:?}");
    // Others are not asked: that would tell them of this box.
    assert_eq!(findings.len(), 4, "{findings:?}");
    let config = bench.fake.world().config.replace("br-commons", "br-none");
    bench.reload(&config);
    let findings = found(&mut bench);
    assert!(findings[1].0 == "error" && findings[1].1.contains("`cloudbox-bridge commons`"), "{findings:?}");
    let config = config.replace("br-none", "br-lan");
    bench.reload(&config);
    assert!(found(&mut bench)[1].1.contains("as your own do"));
    // Off, there is nothing to say.
    let off = config.replace("option bridge 'br-lan'", "option enabled '0'");
    bench.reload(&off);
    assert_eq!(found(&mut bench), []);
}
