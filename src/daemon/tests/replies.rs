//! What every method answers when all goes well, and what it takes.

use super::*;
use crate::state::{Live, Made};
use crate::testing::golden;
use openwrt_ubus::blobmsg::Type;
use std::net::IpAddr;

/// `ubus -v list`, as the program of OpenWrt prints it, without the objects' random ids.
#[test]
fn the_published_signature_is_the_contract() {
    let mut bench = Bench::new(CONFIG);
    bench.client.lookup("cloudbox*", Instant::now() + PATIENCE);
    let mut events = Vec::new();
    for _ in 0..4 {
        let bytes = bench.client.transmit().to_vec();
        bench.client.consumed(bytes.len());
        bench.broker.handle_input(bench.client_at, &bytes).unwrap();
        let bytes = bench.broker.transmit(bench.client_at).to_vec();
        bench.broker.consumed(bench.client_at, bytes.len());
        bench.client.handle_input(&bytes).unwrap();
        events.extend(std::iter::from_fn(|| bench.client.poll_event()));
    }
    let objects = events.into_iter().find_map(|event| match event {
        Event::LookupEnded { objects, .. } => Some(objects),
        _ => None,
    });
    let mut text = String::new();
    for object in objects.unwrap() {
        text += &format!("'{}'\n", object.path);
        for (method, arguments) in object.methods() {
            let kind = |ty| match ty {
                Type::Array => "Array",
                Type::Table => "Table",
                Type::String => "String",
                Type::Int32 => "Integer",
                Type::Bool => "Boolean",
                _ => "(unknown)",
            };
            let shown: Vec<String> =
                arguments.iter().map(|a| format!("\"{}\":\"{}\"", a.name, kind(a.ty))).collect();
            text += &format!("\t\"{method}\":{{{}}}\n", shown.join(","));
        }
    }
    golden::compare("ubus-list.txt", &text);
}

/// A reply with what differs from run to run and from machine to machine left out.
fn lasting(bench: &Bench, text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let dir = bench.dir.path().display().to_string();
    for line in text.lines() {
        let line = line.replace(&dir, "/srv/cloudbox");
        let key = line.trim_start().split("\": ").next().unwrap_or("").trim_start_matches('"').to_string();
        let before = lines.last().map(|l| l.trim_start().to_string()).unwrap_or_default();
        // What the box says of itself in its advert.
        if line.trim_start().starts_with("\"arch=") || line.trim_start().starts_with("\"memory=") {
            continue;
        }
        let varies = match key.as_str() {
            "started" | "finished" | "created" | "uptime" | "arch" | "free" | "cpu" | "at" => true,
            "memory" => before == "\"room\": {",
            "disk" => before == "\"memory\": ...,",
            "total" => before == "\"memory\": {" || before == "\"disk\": {",
            "pid" => line.contains(&std::process::id().to_string()),
            _ => false,
        };
        match line.split_once("\": ").filter(|_| varies) {
            Some((start, value)) => {
                lines.push(format!("{start}\": ...{}", if value.ends_with(',') { "," } else { "" }));
            }
            None => lines.push(line),
        }
    }
    lines.join("\n")
}

/// Makes every call in turn and writes down what is answered.
fn transcript(bench: &mut Bench, calls: &[(&str, Json)]) -> String {
    let mut text = String::new();
    for (method, arguments) in calls {
        let shown = arguments.as_object().filter(|a| !a.is_empty()).map(|_| format!(" '{arguments}'"));
        text += &format!("$ ubus call {method}{}\n", shown.unwrap_or_default());
        if *method == "cloudbox.service list" {
            // Written, although a port was not tried; and read back from the network.
            for _ in 0..2 {
                bench.core.announce(Instant::now() + Duration::from_secs(2));
                bench.report();
            }
        }
        let answer = bench.call(method, arguments.clone());
        if answer.text != "{}" {
            text += &format!("{}\n", lasting(bench, &answer.text));
        }
        if answer.status != 0 {
            text += &format!("status {}\n", answer.status);
        }
        text.push('\n');
    }
    text
}

#[test]
fn every_method_answers_as_written_down() {
    let remote = "config remote 'community'\n\toption url 'https://community.example.org'\n\
                  \tlist key 'RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F'\n\
                  config broker 'one'\n\toption host '10.0.0.1'\n\toption password_file '/etc/cloudbox/nothing'\n\
                  config peer 'anna'\n\toption key 'RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F'\n\
                  \toption contact 'anna@example.org'\n";
    let mut bench = Bench::new(&[CONFIG, remote].concat());
    bench.fake.image_store().offer("community", "debian/12", "20261122_05:24", "0d");
    bench.fake.give_addresses(&["10.0.0.77", "fd00::77"].map(|a| a.parse::<IpAddr>().unwrap()));
    let sha256 = "cd".repeat(32);
    let text = transcript(
        &mut bench,
        &[
            ("cloudbox status", json!({})),
            ("cloudbox.container list", json!({})),
            ("cloudbox.container create", json!({"name": "web", "wait": 15})),
            ("cloudbox.container list", json!({})),
            ("cloudbox.container list", json!({"fields": ["state", "memory", "disk"]})),
            ("cloudbox.container info", json!({"name": "web"})),
            ("cloudbox.container exec", json!({"name": "web", "command": ["echo", "hello"]})),
            ("cloudbox.container log", json!({"name": "web", "lines": 5})),
            (
                "cloudbox.container set",
                json!({"name": "web", "memory": "32M", "description": "Neighbourhood wiki", "wait": 15}),
            ),
            ("cloudbox.container restart", json!({"name": "web", "timeout": 5, "wait": 15})),
            ("cloudbox.container freeze", json!({"name": "web"})),
            ("cloudbox.container unfreeze", json!({"name": "web"})),
            (
                "cloudbox.container create",
                json!({
                    "name": "my-wiki", "image": "distro", "memory": "32M", "cpus": 0.5, "disk": "64M",
                    "pids": 100, "network": "br-lan", "address": "10.0.0.9/24", "gateway": "10.0.0.2",
                    "autostart": false, "start": false, "description": "Neighbourhood wiki",
                    "authorized_keys": ["ssh-ed25519 AAAA me"], "slice": "guifi", "wait": 15,
                }),
            ),
            ("cloudbox.container info", json!({"name": "my-wiki"})),
            ("cloudbox.container start", json!({"name": "my-wiki", "wait": 15})),
            ("cloudbox.container start", json!({"name": "my-wiki"})),
            ("cloudbox.container stop", json!({"name": "my-wiki", "timeout": 5, "wait": 15})),
            ("cloudbox.container stop", json!({"name": "my-wiki", "wait": 15})),
            ("cloudbox.container rename", json!({"name": "my-wiki", "new_name": "our-wiki"})),
            ("cloudbox.container rename", json!({"name": "our-wiki", "new_name": "my-wiki"})),
            ("cloudbox.container snapshot", json!({"name": "my-wiki", "snapshot": "before", "wait": 15})),
            ("cloudbox.container snapshots", json!({"name": "my-wiki"})),
            ("cloudbox.container restore", json!({"name": "my-wiki", "snapshot": "before", "wait": 15})),
            ("cloudbox.container clone", json!({"name": "my-wiki", "new_name": "copy", "wait": 15})),
            ("cloudbox.container delete", json!({"name": "copy", "wait": 15})),
            ("cloudbox.container export", json!({"name": "my-wiki", "path": "/mnt/wiki.tar", "wait": 15})),
            ("cloudbox.container import", json!({"path": "/mnt/wiki.tar", "name": "there", "wait": 15})),
            ("cloudbox.container delete", json!({"name": "there", "wait": 15})),
            (
                "cloudbox.container snapshot_delete",
                json!({"name": "my-wiki", "snapshot": "before", "wait": 15}),
            ),
            ("cloudbox.container delete", json!({"name": "my-wiki", "wait": 15})),
            (
                "cloudbox.service publish",
                json!({"container": "web", "type": "_http._tcp", "port": 80, "name": "Neighbourhood wiki",
                       "txt": ["path=/wiki"], "protocol": "ipv4", "check": "none"}),
            ),
            ("cloudbox.service publish", json!({"container": "web", "type": "_ssh._tcp", "port": 22})),
            ("cloudbox.service list", json!({})),
            ("cloudbox.service withdraw", json!({"id": "web_ssh_22"})),
            ("cloudbox.service browse", json!({"type": "_http._tcp", "timeout": 1})),
            ("cloudbox.container adopt", json!({"name": "web"})),
            ("cloudbox.container prune", json!({})),
            ("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15})),
            ("cloudbox.container list", json!({})),
            ("cloudbox.image list", json!({})),
            (
                "cloudbox.image import",
                json!({"path": "/tmp/x.squashfs", "name": "other", "sha256": sha256, "wait": 15}),
            ),
            ("cloudbox.image info", json!({"name": "other"})),
            ("cloudbox.image delete", json!({"name": "other"})),
            ("cloudbox.image remotes", json!({})),
            ("cloudbox.image available", json!({"filter": "debian"})),
            ("cloudbox.image pull", json!({"name": "community:debian/12", "wait": 15})),
            ("cloudbox.image info", json!({"name": "debian-12"})),
            ("cloudbox.image prune", json!({})),
            ("cloudbox.image prune", json!({"yes": true})),
            ("cloudbox.job wait", json!({"id": "26"})),
            ("cloudbox.job status", json!({"id": "1"})),
            ("cloudbox.job wait", json!({"id": 2})),
            ("cloudbox.job cancel", json!({"id": "1"})),
            ("cloudbox.job list", json!({})),
            ("cloudbox reload", json!({})),
            ("cloudbox.config commons", json!({})),
            ("cloudbox shutdown", json!({"timeout": 5, "wait": 15})),
            ("cloudbox status", json!({})),
        ],
    );
    golden::compare("replies.txt", &text);
}

#[test]
fn every_published_method_is_in_the_transcript() {
    let (transcript, list) = (golden::read("replies.txt"), golden::read("ubus-list.txt"));
    let mut object = String::new();
    for line in list.lines() {
        match line.strip_prefix("\t\"").and_then(|rest| rest.split_once('"')) {
            None => object = line.trim_matches('\'').to_string(),
            Some(("doctor", _)) => {}
            Some((method, _)) => {
                assert!(transcript.contains(&format!("$ ubus call {object} {method}")), "{object} {method}");
            }
        }
    }
}

/// What doctor finds differs from machine to machine; its shape does not.
#[test]
fn doctor_names_every_check_with_state_and_remedy() {
    let mut bench = Bench::new(&format!("{CONFIG}{}", sections(&["Web"])));
    let reply = bench.ok("cloudbox doctor", json!({}));
    let checks = reply["checks"].as_array().unwrap();
    let states = ["ok", "warning", "error"];
    let state_of = |check: &Json| states.iter().position(|s| check["state"] == *s).expect("a known state");
    let worst = checks.iter().map(state_of).max().unwrap();
    assert_eq!(reply["state"], states[worst]);
    for check in checks {
        assert!(!check["message"].as_str().unwrap().is_empty(), "{check}");
        assert_eq!(check.get("remedy").is_some(), check["state"] != "ok", "{check}");
    }
    let find = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(find("bridge")["state"], "ok");
    assert_eq!(find("images")["message"], "1 in the store");
    assert_eq!(find("configuration")["state"], "warning");
    assert!(find("configuration")["message"].as_str().unwrap().contains("\"Web\""));
    for name in [
        "lxc",
        "namespaces",
        "seccomp",
        "overlay",
        "squashfs",
        "loop devices",
        "veth",
        "cgroups",
        "storage",
        "layers",
        "user ids",
        "clock",
        "leftovers",
        "image tools",
    ] {
        find(name);
    }
}

/// One line at least for each promise, with a daemon.
#[test]
fn doctor_tells_what_of_the_promises_about_security_holds() {
    let mut bench = Bench::with(&["web-"]);
    let reply = bench.ok("cloudbox doctor", json!({"security": true}));
    let checks = reply["checks"].as_array().unwrap();
    for check in checks {
        assert!(!check["message"].as_str().unwrap().is_empty(), "{check}");
        assert_eq!(check.get("remedy").is_some(), check["state"] != "ok", "{check}");
    }
    for name in [
        "kernel",
        "namespaces",
        "user ids",
        "cgroups",
        "swap",
        "disk weight",
        "seccomp",
        "apparmor",
        "isolation",
        "core dumps",
        "inotify",
        "terminals",
        "neighbours",
        "aio",
        "helpers",
        "owner's files",
        "remotes",
        "avahi",
        "clock",
        "containers",
    ] {
        assert!(checks.iter().any(|c| c["name"] == name), "{name}");
    }
    // What the box needs is another matter, and is answered as before.
    assert!(!checks.iter().any(|c| c["name"] == "squashfs"));
    assert_eq!(bench.ok("cloudbox doctor", json!({"security": false}))["checks"][0]["name"], "lxc");
}

#[test]
fn doctor_names_each_container_that_does_not_start_and_each_orphan() {
    let mut bench = Bench::with(&["web-", "old-"]);
    bench.fake.fail("runtime.start web");
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    bench.fake.change(|world| {
        let at = world.config.find("config container 'old'").unwrap();
        world.config.truncate(at);
    });
    bench.ok("cloudbox reload", json!({}));
    let reply = bench.ok("cloudbox doctor", json!({}));
    let checks = reply["checks"].as_array().unwrap().iter().filter(|c| c["name"] == "container");
    let told: Vec<(&str, &str, &str)> = checks
        .map(|c| {
            (c["state"].as_str().unwrap(), c["message"].as_str().unwrap(), c["remedy"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].0 == "error" && told[0].1.starts_with("web: injected") && told[0].2.contains("start web")
    );
    assert!(
        told[1].0 == "warning" && told[1].1.starts_with("old ") && told[1].2.contains("adopt old"),
        "{told:?}"
    );
}

#[test]
fn doctor_says_what_cures_a_missing_bridge() {
    let mut bench = Bench::new(&format!("{CONFIG}\toption bridge 'br-none'\n"));
    let reply = bench.ok("cloudbox doctor", json!({}));
    let bridge = reply["checks"].as_array().unwrap().iter().find(|c| c["name"] == "bridge").unwrap().clone();
    assert_eq!((bridge["state"].as_str(), bridge["remedy"].as_str()), (Some("error"), Some("make it")));
}

#[test]
fn nothing_null_and_absent_are_the_same() {
    for nothing in [json!(""), Json::Null] {
        let mut bench = Bench::new(CONFIG);
        let mut arguments = json!({"name": "web", "start": false, "wait": 15});
        for key in [
            "image",
            "memory",
            "cpus",
            "disk",
            "pids",
            "network",
            "address",
            "gateway",
            "autostart",
            "description",
            "authorized_keys",
            "slice",
        ] {
            arguments[key] = nothing.clone();
        }
        bench.ok("cloudbox.container create", arguments);
        let with_nothing = bench.fake.world();

        let mut bench = Bench::new(CONFIG);
        bench.ok("cloudbox.container create", json!({"name": "web", "start": false, "wait": 15}));
        assert_eq!(with_nothing.config, bench.fake.world().config);
        let spec = |world: &crate::testing::World| {
            world.alive[&name("web")].record.as_ref().map(|record| record.spec.clone())
        };
        assert_eq!(spec(&with_nothing), spec(&bench.fake.world()));

        for (method, arguments) in [
            ("cloudbox.container delete", json!({"name": "web", "force": nothing, "wait": 15})),
            ("cloudbox.job wait", json!({"id": "1", "timeout": nothing})),
            ("cloudbox.image import", json!({"path": "/x", "name": "x", "sha256": nothing, "wait": nothing})),
        ] {
            bench.ok(method, arguments);
        }
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let mut bench = Bench::with(&["web"]);
    let session = "c1ed6c7b025d0caca723a816fa61b668";
    for (method, mut arguments) in [
        ("cloudbox status", json!({})),
        ("cloudbox doctor", json!({})),
        ("cloudbox reload", json!({})),
        ("cloudbox.container list", json!({})),
        ("cloudbox.container info", json!({"name": "web"})),
        ("cloudbox.container exec", json!({"name": "web", "command": ["true"]})),
        ("cloudbox.container stop", json!({"name": "web", "wait": 15})),
        ("cloudbox.container start", json!({"name": "web", "wait": 15})),
        ("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15})),
        ("cloudbox.container create", json!({"name": "web", "wait": 15})),
        ("cloudbox.image list", json!({})),
        ("cloudbox.image info", json!({"name": "distro"})),
        ("cloudbox.job list", json!({})),
        ("cloudbox.job status", json!({"id": "1"})),
    ] {
        arguments["ubus_rpc_session"] = json!(session);
        arguments["later"] = json!({"x": [1, {"y": null}]});
        bench.ok(method, arguments);
    }
}

fn list_all(bench: &mut Bench) -> crate::api::replies::ContainerList {
    crate::look::list(&bench.core.state, &mut bench.core.readings, &[])
}

#[test]
fn an_ordinary_container_takes_little_room() {
    let mut bench = Bench::new(&format!("{CONFIG}\toption disk '64M'\n"));
    bench.fake.give_addresses(&["10.139.140.110"].map(|a| a.parse::<IpAddr>().unwrap()));
    bench.ok("cloudbox.container create", json!({"name": "nextcloud", "wait": 15}));
    let entry = to_fields(&list_all(&mut bench).containers[0]).unwrap();
    let json = serde_json::to_string(&Fields::new(&entry)).unwrap();
    println!("{} bytes on the bus; {} as JSON: {json}", entry.len(), json.len());
    assert!(json.len() <= 320 && entry.len() <= 340, "{json}");
}

/// LuCI asks for what changes again and again, and gets JSON: of 200 containers no more than 64 KiB.
#[test]
fn what_changes_of_a_container_takes_less_room() {
    let mut bench = Bench::new(&format!("{CONFIG}\toption disk '64M'\n"));
    let addresses = ["10.139.140.110", "2001:db8:1234:5678:216:3eff:fe12:3456", "fe80::216:3eff:fe12:3456"];
    bench.fake.give_addresses(&addresses.map(|a| a.parse::<IpAddr>().unwrap()));
    let description = "a word ".repeat(30);
    let made = json!({"name": "neighbourhood-library-wiki", "description": description, "wait": 15});
    bench.ok("cloudbox.container create", made);
    let fields = ["state", "addresses", "memory", "disk", "cpu_time", "uptime", "job", "error"];
    let reply = bench.ok("cloudbox.container list", json!({"fields": fields}));
    let entry = reply["containers"][0].to_string();
    println!("{}: {entry}", entry.len());
    assert!(entry.len() <= 300 && !entry.contains("a word"), "{entry}");
    assert!(["name", "memory", "addresses"].iter().all(|field| entry.contains(field)), "{entry}");
    let all = bench.ok("cloudbox.container list", json!({"fields": []}));
    assert_eq!(all["containers"][0]["description"], description);
}

/// DESIGN.md section 4: 1,000 containers in one message. Descriptors are dear, so that they are made a hundred at once.
#[test]
fn a_thousand_containers_fit_into_one_message() {
    use crate::api::replies::ContainerList;
    let mut containers = Vec::new();
    for hundred in 0..10 {
        let fake = FakeBox::new(vec![image(&"ab".repeat(32), &["guifi-community-distro"])]);
        // Off, so that the daemon makes none of them by itself.
        let mut config = CONFIG.replace("'none'", "'64M'");
        config += "\toption enabled '0'\n\toption image 'guifi-community-distro'\n";
        let addresses = ["10.139.140.110", "2001:db8:1234:5678:216:3eff:fe12:3456"];
        fake.give_addresses(&addresses.map(|a| a.parse::<IpAddr>().unwrap()));
        let description = "Wiki of the neighbourhood, kept by the library";
        for n in 0..100 {
            let section = format!("c{:03}_{}", hundred * 100 + n, "x".repeat(58));
            config += &format!(
                "config container '{section}'\n\toption memory '256M'\n\toption description '{description}'\n"
            );
        }
        fake.change(|world| world.config = config);
        let mut bench = Bench::of(fake.clone(), TempDir::make());
        for (name, declared) in bench.core.state.config.containers.clone() {
            let spec = declared.spec.unwrap();
            let record = crate::steps::storage::Record {
                mac: String::new(),
                veth: String::new(),
                said: None,
                image_sha256: "ab".repeat(32),
                init: crate::model::image::Init::Systemd,
                ids: crate::model::idrange::IdRange { base: 0x7000_0000 },
                created: 1_700_000_000,
                was: Vec::new(),
                name: name.clone(),
                spec,
            };
            let live = Live::watch(&fake.machine(), &record, fake.run(&record));
            let made = Made { record: Box::new(record), live: Some(live) };
            bench.core.state.take_up(&name, made);
        }
        containers.extend(list_all(&mut bench).containers);
    }
    assert!(containers.iter().all(|c| c.state == "running" && c.addresses.len() == 2 && c.name.len() == 63));
    assert_eq!(containers.len(), 1000);
    let size =
        to_fields(&ContainerList { containers, orphans: Vec::new(), foreign: Vec::new() }).unwrap().len();
    println!("1000 containers: {size} bytes, {} each", size / 1000);
    assert!(size + 64 < 1 << 20, "{size}");
}

#[test]
fn of_very_many_containers_a_list_reads_some_in_turn() {
    let mut bench = Bench::new(&format!("{CONFIG}{}", sections(&["a", "b", "c", "d", "e"])));
    bench.work();
    bench.core.readings.at_a_time = 2;
    let mut read = |fields: &[&str]| -> String {
        let list = bench.ok("cloudbox.container list", json!({ "fields": fields }));
        let containers = list["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 5);
        if fields.is_empty() {
            let known = |c: &serde_json::Value| c["memory"] == 23_456_789 && c["received"] == 4_567_890;
            assert!(containers.iter().all(known), "{list}");
        }
        bench.fake.take_usages().iter().map(Name::as_str).collect()
    };
    // Of none nothing is known at first.
    assert_eq!(read(&[]), "abcde");
    assert_eq!(
        (read(&[]), read(&["cpu"]), read(&[]), read(&["sent"])),
        ("cd".into(), "e".into(), "ab".into(), "cd".into())
    );
    // It is nobody's turn while nobody wants to know.
    assert_eq!((read(&["state", "uptime"]), read(&[])), (String::new(), "e".into()));
    // Who asks for one gets it as it is now.
    bench.ok("cloudbox.container info", json!({ "name": "e" }));
    assert_eq!(bench.fake.take_usages(), [name("e")]);
}

#[test]
fn times_are_those_of_the_clock_and_what_is_used_is_a_share_of_them() {
    let begun = crate::state::now();
    let mut bench = Bench::with(&["web"]);
    let job = bench.ok("cloudbox.job status", json!({"id": 1}));
    let created = bench.ok("cloudbox.container info", json!({"name": "web"}))["created"].clone();
    for time in [&job["started"], &job["finished"], &created] {
        assert!((begun..begun + 60).contains(&time.as_u64().unwrap()), "{time}");
    }
    // It began a thousand seconds earlier, and nobody has looked since.
    let live = bench.core.state.containers.get_mut(&name("web")).unwrap().live.as_mut().unwrap();
    live.began = crate::sys::boottime().saturating_sub(Duration::from_secs(1000));
    live.reading.set(None);
    let entry = bench.entry("web");
    assert!((1000..1060).contains(&entry["uptime"].as_u64().unwrap()), "{entry}");
    // 1.2 s of them, in thousandths of a processor.
    assert_eq!((&entry["cpu_time"], &entry["cpu"]), (&json!(1_234_567), &json!(1)));
    assert_eq!(bench.entry("web")["cpu"], 0, "it has used nothing since");
}

#[test]
fn another_storage_is_used_from_the_next_start_on() {
    let mut bench = Bench::new(CONFIG);
    assert_eq!(bench.warnings(), Vec::<String>::new(), "the environment has named it");
    bench.core.storage_is_given(false);
    let used = bench.dir.path().display().to_string();
    let warning = format!("storage is {used} until the daemon is restarted; move what is in it to ");
    assert!(bench.warnings()[0].starts_with(&warning), "{:?}", bench.warnings());
    bench.fake.change(|world| world.host_config.push_str(&format!("\toption storage '{used}'\n")));
    bench.ok("cloudbox reload", json!({}));
    assert_eq!(bench.warnings(), Vec::<String>::new());
}
