//! What the bus is told without asking, and what becomes of it all when ubusd restarts.

use super::*;
use openwrt_ubus::Object;
use std::net::IpAddr;

#[test]
fn a_containers_life_is_told_in_its_order_to_subscribers_and_listeners() {
    let mut bench = Bench::new(CONFIG);
    bench.listen();
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    bench.fake.reboot("web");
    bench.poll_containers();
    bench.work();
    bench.fake.end("web");
    bench.poll_containers();
    bench.work();
    bench.ok("cloudbox.container delete", json!({"name": "web", "wait": 15}));
    let told = ["created", "started", "stopped", "started", "changed", "stopped", "deleted"];
    let expected: Vec<String> = told
        .iter()
        .flat_map(|what| {
            let line = format!("container.{what} {{\"name\":\"web\"}}");
            [line.clone(), format!("event {line}")]
        })
        .collect();
    let mut heard = bench.heard();
    // A notification and an event take different ways through the bus.
    for pair in heard.chunks_mut(2) {
        pair.sort();
    }
    assert_eq!(heard, expected);
}

#[test]
fn the_end_of_every_job_is_told_after_what_it_did() {
    let mut bench = Bench::new(CONFIG);
    bench.listen();
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    let names: Vec<String> = std::mem::take(&mut bench.heard)
        .iter()
        .filter(|line| !line.starts_with("event ") && !line.starts_with("job.progress"))
        .map(|line| line.split(' ').next().unwrap().to_string())
        .collect();
    assert_eq!(names, ["container.created", "container.started", "job.finished"]);
}

#[test]
fn images_come_and_go_by_name() {
    let mut bench = Bench::new(CONFIG);
    bench.listen();
    let sha256 = "cd".repeat(32);
    bench.ok("cloudbox.image import", json!({"path": "/x", "name": "other", "sha256": sha256, "wait": 15}));
    bench.ok("cloudbox.image delete", json!({"name": "other"}));
    assert_eq!(
        bench.notified(),
        [
            format!("image.added {{\"name\":\"other\",\"sha256\":\"{sha256}\"}}"),
            "image.removed {\"name\":\"other\"}".into()
        ]
    );
}

#[test]
fn what_fails_is_told() {
    let mut bench = Bench::with(&["web-"]);
    bench.listen();
    bench.fake.fail("runtime.start");
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.notified(), ["container.failed {\"name\":\"web\"}"]);
}

#[test]
fn a_new_address_is_told_and_listed() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.give_addresses(&["10.0.0.77".parse::<IpAddr>().unwrap()]);
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.listen();
    assert_eq!(bench.entry("web")["addresses"], json!(["10.0.0.77"]));
    bench.fake.add_address("web", "fd00::77".parse().unwrap());
    assert_eq!(bench.poll_containers(), 1);
    assert_eq!(bench.poll_containers(), 0);
    assert_eq!(bench.notified(), ["container.changed {\"name\":\"web\"}"]);
    assert_eq!(bench.entry("web")["addresses"], json!(["10.0.0.77", "fd00::77"]));
    // The same again, or one nobody can use, is no news.
    bench.fake.add_address("web", "fd00::77".parse().unwrap());
    bench.fake.add_address("web", "fe80::1".parse().unwrap());
    bench.poll_containers();
    assert_eq!(bench.notified(), Vec::<String>::new());
}

/// ubusd restarts: all sockets end, and there is a new bus of new ids.
fn restart_bus(bench: &mut Bench) {
    bench.broker = Broker::new(2);
    for connection in [bench.core.connection(), &mut bench.client] {
        connection.disconnected();
    }
    bench.daemon_at = bench.broker.connect(Credentials::root());
    bench.client_at = bench.broker.connect(Credentials::root());
    bench.pump();
}

#[test]
fn after_a_restart_of_ubusd_all_is_published_again_and_no_job_is_lost() {
    let mut bench = Bench::new(CONFIG);
    bench.listen();
    bench.fake.hold("runtime.start");
    let waiting = bench.begin("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.work_until_held("runtime.start web");
    restart_bus(&mut bench);
    assert_eq!(bench.wait_for(waiting).status, 10, "the call's connection is gone");
    assert_eq!(bench.states(), ["web creating"]);
    bench.heard.clear();
    bench.fake.release("runtime.start");
    assert_eq!(bench.ok("cloudbox.job wait", json!({"id": 1}))["state"], "done");
    assert_eq!(bench.states(), ["web running"]);
    assert_eq!(
        bench.notified(),
        ["container.created {\"name\":\"web\"}", "container.started {\"name\":\"web\"}"]
    );
    for method in ["cloudbox status", "cloudbox.container list", "cloudbox.image list", "cloudbox.job list"] {
        bench.ok(method, json!({}));
    }
}

#[test]
fn without_a_bus_jobs_and_containers_are_seen_to() {
    let mut bench = Bench::new(&format!("{CONFIG}{}", sections(&["web"])));
    bench.core.connection().disconnected();
    while !bench.core.is_quiet() {
        let report = bench.next_report();
        bench.core.handle_report(report);
    }
    bench.fake.end("web");
    let ended = bench.core.fleet().map(|(name, _)| Watched::Init(name.clone())).next().unwrap();
    bench.core.handle_watched(&ended);
    assert_eq!(bench.core.state.jobs.iter().count(), 2);
    while !bench.core.is_quiet() {
        let report = bench.next_report();
        bench.core.handle_report(report);
    }
    restart_bus(&mut bench);
    assert_eq!(bench.states(), ["web stopped"]);
}

/// Equal looks at the network are one, and of one caller only a few wait: nobody keeps the others waiting.
#[test]
fn many_looks_share_answers_and_of_one_caller_few_wait() {
    let mut bench = Bench::with(&[]);
    bench.fake.hold("avahi.browse");
    let same: Vec<CallId> =
        (0..300).map(|_| bench.begin("cloudbox.service browse", json!({"type": "_http._tcp"}))).collect();
    bench.work_until_held("avahi.browse _http._tcp");
    assert!(same.iter().all(|call| bench.answer(*call).is_none()));
    // Two are at work and four wait; the others are refused at once. Whoever has another session may wait, too.
    let other = |bench: &mut Bench, n: u32, session: &str| {
        let arguments = json!({"type": format!("_t{n}._tcp"), "ubus_rpc_session": session});
        bench.begin("cloudbox.service browse", arguments)
    };
    let others: Vec<CallId> = (0..8).map(|n| other(&mut bench, n, "a")).collect();
    let mut refused = 0;
    for call in &others {
        if let Some(answer) = bench.answer(*call) {
            assert_eq!(answer.code(), "busy", "{answer:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 3, "one at work, four that wait");
    let late = other(&mut bench, 99, "b");
    assert_eq!(bench.answer(late), None);
    // Meanwhile everything else is answered.
    bench.ok("cloudbox.container list", json!({}));
    bench.fake.release("avahi.browse");
    for call in same {
        assert_eq!(bench.wait_for(call).status, 0);
    }
    assert_eq!(bench.wait_for(late).status, 0);
    let looks = bench.fake.calls().iter().filter(|call| call.starts_with("avahi.browse")).count();
    assert!(looks <= 20, "{looks} looks at the network");
}

/// Who asks for little does not wait until hundreds have got the answer that they share.
#[test]
fn between_parts_of_what_is_owed_others_are_answered() {
    let mut bench = Bench::with(&[]);
    bench.fake.hold("avahi.browse");
    let same: Vec<CallId> =
        (0..300).map(|_| bench.begin("cloudbox.service browse", json!({"type": "_http._tcp"}))).collect();
    bench.work_until_held("avahi.browse _http._tcp");
    bench.fake.release("avahi.browse");
    let report = bench.reports.recv_timeout(PATIENCE).unwrap();
    bench.core.handle_report(report);
    let first = bench.core.connection().transmit().len();
    assert!(bench.core.owes() && (1..16 << 10).contains(&first), "{first} bytes are on their way");
    bench.ok("cloudbox.container list", json!({}));
    for call in same {
        assert_eq!(bench.wait_for(call).status, 0);
    }
    assert!(!bench.core.owes());
}

/// 20,000 sections that cannot be used make no reply fail: it is shortened, and says so.
#[test]
fn replies_that_others_made_too_long_are_shortened() {
    let names: Vec<String> = (0..20_000).map(|n| format!("c{n}")).collect();
    let sections: String =
        names.iter().map(|name| format!("config container '{name}'\n\toption memory 'much'\n")).collect();
    let mut bench = Bench::new(&format!("{CONFIG}{sections}"));
    for (method, list) in [
        ("cloudbox status", "warnings"),
        ("cloudbox reload", "warnings"),
        ("cloudbox doctor", "checks"),
        ("cloudbox.container list", "containers"),
    ] {
        let reply = bench.ok(method, json!({}));
        assert_eq!(reply["truncated"], true, "{method}");
        assert!(reply[list].as_array().unwrap().len() > 500, "{method}");
    }
    let some = bench.ok("cloudbox.container list", json!({"fields": ["state", "error"]}));
    assert_eq!(some["truncated"], true);
    assert!(some["containers"][0].get("image").is_none());
}

/// ubusd still knows the objects of a daemon that has just ended: it goes with that one's socket.
#[test]
fn what_ubusd_refuses_is_published_a_little_later() {
    let mut bench = Bench::new(CONFIG);
    bench.broker = Broker::new(3);
    let before_at = bench.broker.connect(Credentials::root());
    let mut before = Connection::new();
    before.add_object(Object::new("cloudbox"));
    for _ in 0..2 {
        before.handle_input(bench.broker.transmit(before_at)).unwrap();
        bench.broker.consumed(before_at, usize::MAX);
        bench.broker.handle_input(before_at, before.transmit()).unwrap();
        before.consumed(usize::MAX);
    }
    for connection in [bench.core.connection(), &mut bench.client] {
        connection.disconnected();
    }
    bench.daemon_at = bench.broker.connect(Credentials::root());
    bench.client_at = bench.broker.connect(Credentials::root());
    bench.pump();
    bench.broker.disconnect(before_at);
    assert_eq!(bench.call("cloudbox status", json!({})).status, 4, "there is no such object");
    bench.ok("cloudbox.container list", json!({}));
    let soon = Instant::now() + Duration::from_secs(3);
    assert!(bench.core.next_time().is_some_and(|next| next < soon));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.call("cloudbox status", json!({})).status, 4, "it is not time yet");
    bench.pass(Duration::from_secs(2));
    bench.ok("cloudbox status", json!({}));
}

/// procd passes the signal on to dnsmasq, which may run in a jail.
#[test]
fn the_name_server_is_told_of_other_names_and_of_nothing_else() {
    let mut bench = Bench::new(CONFIG);
    bench.client.add_object(Object::new("service").method_of("signal", Vec::new()));
    bench.listen();
    bench.fake.give_addresses(&["10.0.0.77".parse().unwrap()]);
    let told = |bench: &mut Bench| {
        bench.settle();
        bench.heard().into_iter().filter(|line| line.starts_with("call ")).collect::<Vec<String>>()
    };
    let signal = r#"call signal {"name":"dnsmasq","signal":1}"#;
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    assert_eq!(told(&mut bench), [signal]);
    let service = json!({"container": "web", "type": "_http._tcp", "port": 80, "check": "none"});
    bench.ok("cloudbox.service publish", service);
    assert_eq!(told(&mut bench), [] as [String; 0]);
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    assert_eq!(told(&mut bench), [signal]);
}
