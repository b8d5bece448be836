//! What is announced, when, and what the calls say of it.

use super::*;
use std::net::{IpAddr, TcpListener};

/// What is announced when nothing is.
const NOTHING: [&str; 0] = [];

/// An address of this machine, which stands for a container's; without one, nobody's.
fn address() -> IpAddr {
    let own = crate::steps::network::Network::own_addresses(&crate::steps::network::Host::default());
    own.into_iter()
        .find(|a| !a.is_loopback() && !a.is_link_local())
        .map_or([192, 0, 2, 1].into(), IpAddr::from)
}

/// A listener that stands for a port of a container. None where this machine has no address.
fn port() -> Option<(TcpListener, u16)> {
    let listener = TcpListener::bind((address(), 0)).ok();
    if listener.is_none() {
        println!("skipped: this machine has no address but the loopback's");
    }
    let listener = listener?;
    let port = listener.local_addr().unwrap().port();
    Some((listener, port))
}

/// Containers that run and have an address of this machine.
fn bench(containers: &[&str]) -> Bench {
    let fake = FakeBox::new(vec![distro()]);
    fake.give_addresses(&[address()]);
    fake.change(|world| world.config = CONFIG.to_string());
    let mut bench = Bench::of(fake, TempDir::make());
    for name in containers {
        bench.ok("cloudbox.container create", json!({"name": name, "wait": 15}));
    }
    bench.settle();
    bench
}

impl Bench {
    /// Names of what is announced, without the box.
    fn announced(&mut self) -> Vec<String> {
        self.settle();
        let announced = self.fake.announced();
        announced.adverts.iter().skip(1).map(|a| format!("{} {}", a.name(), a.service.port)).collect()
    }

    /// A service's state and reason.
    fn service(&mut self, id: &str) -> String {
        let list = self.ok("cloudbox.service list", json!({}));
        let services = list["services"].as_array().unwrap().clone();
        let service = services.iter().find(|s| s["id"] == id).unwrap_or_else(|| panic!("{id} in {list}"));
        let text = |key: &str| service[key].as_str().unwrap_or("").to_string();
        format!("{} {}", text("state"), text("reason")).trim().to_string()
    }
}

#[test]
fn the_box_and_its_containers_have_names_on_the_network() {
    let mut bench = bench(&["web"]);
    let announced = bench.fake.announced();
    assert_eq!(announced.adverts[0].name(), "alpha");
    assert_eq!(announced.hosts, [("web-alpha".to_string(), address())]);
    // For the box's own name server.
    assert_eq!(announced.names, [("web".to_string(), address())]);
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.settle();
    assert_eq!(bench.fake.announced().hosts, []);
    assert_eq!(bench.fake.announced().names, []);
}

#[test]
fn a_service_is_announced_while_its_port_answers() {
    let Some((listener, port)) = port() else { return };
    let mut bench = bench(&["web"]);
    bench.listen();
    let id = bench.ok(
        "cloudbox.service publish",
        json!({"container": "web", "type": "_http._tcp", "port": port, "name": "Wiki", "txt": ["path=/"]}),
    );
    let id = id["id"].as_str().unwrap().to_string();
    assert_eq!(id, format!("web_http_{port}"));
    assert!(bench.fake.world().config.contains(&format!("config service '{id}'")));
    assert_eq!(bench.announced(), [format!("Wiki {port}")]);
    assert_eq!(bench.service(&id), "published");
    drop(listener);
    bench.pass_until_tried();
    assert_eq!(bench.announced(), NOTHING);
    assert_eq!(bench.service(&id), format!("withheld port {port} of container web does not answer"));
    let told = format!(
        "{{\"id\":\"{id}\",\"container\":\"web\",\"name\":\"Wiki\",\"type\":\"_http._tcp\",\"port\":{port}}}"
    );
    for what in ["published", "withdrawn"] {
        let event = format!("service.{what} {told}");
        assert!(bench.heard.contains(&event), "{event} in {:#?}", bench.heard);
    }
}

#[test]
fn nothing_is_published_while_avahi_daemon_does_not_run() {
    let mut bench = bench(&["web"]);
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_aa._udp", "port": 1}));
    assert_eq!(bench.announced(), ["web-alpha 1"]);
    assert_eq!(bench.service("web_aa_udp_1"), "published");
    bench.fake.change(|world| world.avahi_stopped = true);
    for id in ["box", "web_aa_udp_1"] {
        let said = bench.service(id);
        assert!(said.starts_with("withheld avahi-daemon does not run"), "{said}");
    }
    assert_eq!(bench.ok("cloudbox status", json!({}))["avahi"]["published"], 0);
    bench.fake.change(|world| world.avahi_stopped = false);
    bench.core.handle_watched(&Watched::Avahi);
    bench.settle();
    assert_eq!(bench.service("web_aa_udp_1"), "published");
    assert_eq!(bench.ok("cloudbox status", json!({}))["avahi"]["published"], 2);
}

#[test]
fn only_what_the_network_says_is_published() {
    let mut bench = bench(&["web"]);
    bench.listen();
    bench.fake.change(|world| world.unheard = true);
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_aa._udp", "port": 1}));
    bench.core.announce(Instant::now() + Duration::from_millis(100));
    bench.report();
    let said = bench.service("web_aa_udp_1");
    assert!(said.starts_with("announced avahi-daemon was told"), "{said}");
    assert_eq!(bench.service("box"), "published", "it was seen before");
    assert_eq!(bench.ok("cloudbox status", json!({}))["avahi"]["published"], 1);
    assert!(!bench.heard().iter().any(|event| event.contains("service.published")));
    bench.fake.change(|world| world.unheard = false);
    bench.settle();
    assert_eq!(bench.service("web_aa_udp_1"), "published");
    assert!(bench.heard().iter().any(|event| event.contains("service.published")));
    // avahi-daemon goes, and what it said with it.
    bench.fake.change(|world| world.avahi_stopped = true);
    bench.core.handle_watched(&Watched::Avahi);
    bench.pump();
    assert!(bench.heard().iter().any(|event| event.contains("service.withdrawn")));
}

#[test]
fn the_second_box_of_a_name_and_the_second_service_of_one_get_something_of_their_own() {
    let mut bench = bench(&["web"]);
    let own = bench.core.state.machine.own_name();
    assert!(own.starts_with("alpha-") && own.len() == "alpha-".len() + 4, "{own}");
    let wiki =
        json!({"container": "web", "type": "_http._tcp", "port": 80, "name": "Our wiki", "check": "none"});
    bench.ok("cloudbox.service publish", wiki);
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_aa._udp", "port": 1}));
    assert_eq!(bench.announced(), ["web-alpha 1", "Our wiki 80"]);

    // Somebody has a service of this name: this one alone is called otherwise.
    let again = |bench: &mut Bench| {
        for stopped in [true, false] {
            bench.fake.change(|world| world.avahi_stopped = stopped);
            bench.core.handle_watched(&Watched::Avahi);
        }
    };
    bench.fake.change(|world| world.taken = vec!["Our wiki".into()]);
    again(&mut bench);
    let told_apart = format!("Our wiki ({own}) 80");
    assert_eq!(bench.announced(), ["web-alpha 1".to_string(), told_apart.clone()]);
    assert_eq!(bench.service("web_http_80"), "published");

    // Another box of this name: all names that are made of it are.
    bench.fake.change(|world| world.taken.push("web-alpha".into()));
    again(&mut bench);
    let all = [format!("web-{own} 1"), told_apart];
    assert_eq!(bench.announced(), all);
    assert_eq!(bench.fake.announced().hosts[0].0, format!("web-{own}"));
    assert_eq!(bench.fake.announced().adverts[0].name(), own);
    let list = bench.ok("cloudbox.service list", json!({}));
    let of_web = list["services"][1].clone();
    assert_eq!(
        (&of_web["state"], &of_web["host"]),
        (&json!("published"), &json!(format!("web-{own}.local")))
    );

    // The next daemon knows it.
    let written =
        |bench: &Bench| bench.fake.calls().iter().filter(|c| c.starts_with("avahi.announce")).count();
    let mut bench = bench.restarted();
    let before = written(&bench);
    assert_eq!(bench.announced(), all);
    assert_eq!(written(&bench), before + 1);

    // What is taken as well is told, and not changed for ever.
    bench.fake.change(|world| world.taken.push(format!("web-{own}")));
    again(&mut bench);
    assert_eq!(bench.announced(), all);
    let said = bench.service("web_aa_udp_1");
    assert!(said.starts_with("announced another machine on the network is called web-"), "{said}");
}

#[test]
fn what_the_box_says_of_itself_is_written_once_in_ten_seconds() {
    let mut bench = bench(&[]);
    let containers = |bench: &Bench| bench.fake.announced().adverts[0].service.txt[4].clone();
    let mut said = vec![containers(&bench)];
    for number in 0..20 {
        bench.ok("cloudbox.container create", json!({"name": format!("c{number}"), "wait": 15}));
        bench.settle();
        said.push(containers(&bench));
    }
    said.dedup();
    assert_eq!(said, ["containers=0", "containers=1"], "the rest waits");
    // The containers' own names are there at once.
    assert_eq!(bench.fake.announced().hosts.len(), 20);
    let later = Instant::now() + Duration::from_secs(11);
    assert!(bench.core.next_time().is_some_and(|next| next <= later));
    bench.core.announce(later);
    bench.report();
    bench.settle();
    assert_eq!(containers(&bench), "containers=20");
    assert_eq!(bench.core.next_time(), None);
}

#[test]
fn what_is_not_checked_is_announced_while_its_container_runs() {
    let mut bench = bench(&["web"]);
    bench.ok(
        "cloudbox.service publish",
        json!({"container": "web", "type": "_ssh._tcp", "port": 22, "check": "none"}),
    );
    assert_eq!(bench.announced(), ["web-alpha 22"]);
    assert_eq!(bench.core.next_time(), None, "nothing is tried for it");
    bench.ok("cloudbox.container freeze", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.announced(), NOTHING);
    assert_eq!(bench.service("web_ssh_22"), "withheld container web is frozen");
    bench.ok("cloudbox.container unfreeze", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.announced(), ["web-alpha 22"]);
    bench.fake.hold("runtime.stop");
    bench.ok("cloudbox.container stop", json!({"name": "web"}));
    assert_eq!(bench.announced(), NOTHING, "withdrawn before it stops");
    assert_eq!(bench.service("web_ssh_22"), "withheld container web is stopping");
    bench.fake.release("runtime.stop");
    bench.work();
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.announced(), ["web-alpha 22"]);
    bench.fake.end("web");
    let watched = super::super::core::Watched::Init(name("web"));
    bench.core.handle_watched(&watched);
    assert_eq!(bench.announced(), NOTHING);
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let mut bench = bench(&["web"]);
    let written =
        |bench: &Bench| bench.fake.calls().iter().filter(|c| c.starts_with("avahi.announce")).count();
    let before = written(&bench);
    bench.ok("cloudbox reload", json!({}));
    bench.ok("cloudbox.service list", json!({}));
    bench.settle();
    assert_eq!(written(&bench), before);
}

#[test]
fn a_delete_takes_the_services_along_and_a_failed_create_does_not() {
    let mut bench = bench(&["web", "db"]);
    for container in ["web", "db"] {
        let service = json!({"container": container, "type": "_aa._udp", "port": 1});
        bench.ok("cloudbox.service publish", service);
    }
    bench.ok("cloudbox.container delete", json!({"name": "web", "force": true, "wait": 15}));
    let config = bench.fake.world().config;
    assert!(!config.contains("web") && config.contains("config service 'db_aa_udp_1'"), "{config}");
    // The next of its name announces what it likes.
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    let service = json!({"container": "web", "type": "_aa._udp", "port": 1});
    bench.ok("cloudbox.service publish", service);
    bench.fake.change(|world| world.config += "config service 'x'\n\toption container 'new'\n");
    bench.fake.fail("runtime.start");
    bench.fails("failed", "cloudbox.container create", json!({"name": "new", "wait": 15}));
    assert!(bench.fake.world().config.contains("config service 'x'"));
}

#[test]
fn what_an_image_offers_can_be_switched_off_and_on() {
    let mut offering = distro();
    offering.manifest.services = vec![crate::model::image::OfferedService {
        name: "graphs".into(),
        kind: "_snpservice._udp".into(),
        port: 80,
        optional: false,
    }];
    let fake = FakeBox::new(vec![offering]);
    fake.give_addresses(&[address()]);
    fake.change(|world| world.config = CONFIG.to_string());
    let mut bench = Bench::of(fake, TempDir::make());
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.announced(), ["graphs (web-alpha) 80"]);
    let id = "web_snpservice_udp_80";
    bench.ok("cloudbox.service withdraw", json!({"id": id}));
    assert_eq!(bench.announced(), NOTHING);
    assert!(bench.fake.world().config.contains("option enabled '0'"));
    let publish = json!({"container": "web", "type": "_snpservice._udp", "port": 80, "name": "Graphs"});
    assert_eq!(bench.ok("cloudbox.service publish", publish), json!({"id": id}));
    assert_eq!(bench.announced(), ["Graphs 80"]);
}

#[test]
fn an_optional_service_of_an_image_is_switched_on_and_announced_in_the_guest_alone() {
    let mut offering = distro();
    let optional = |name: &str, kind: &str, port| crate::model::image::OfferedService {
        name: name.into(),
        kind: kind.into(),
        port,
        optional: true,
    };
    let services = [optional("graphs", "_snpservice._udp", 80), optional("proxy", "_proxy3._udp", 3128)];
    offering.manifest.services = services.to_vec();
    let fake = FakeBox::new(vec![offering]);
    fake.give_addresses(&[address()]);
    fake.change(|world| world.config = CONFIG.to_string());
    let mut bench = Bench::of(fake, TempDir::make());
    let create = "cloudbox.container create";
    let why = bench.fails(
        "invalid_argument",
        create,
        json!({"name": "web", "services": ["proxy", "wiki"], "wait": 15}),
    );
    assert!(why.contains("services \"wiki\": image distro has graphs, proxy"), "{why}");
    let why =
        bench.fails("invalid_argument", create, json!({"name": "web", "services": ["../x"], "wait": 15}));
    assert!(why.contains("services \"../x\": use a-z"), "{why}");

    bench.ok(create, json!({"name": "web", "services": ["proxy"], "wait": 15}));
    bench.ok(create, json!({"name": "db", "wait": 15}));
    assert!(bench.fake.world().config.contains("\tlist services 'proxy'\n"));
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "web"}))["services"], json!(["proxy"]));
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "db"}))["services"], Json::Null);
    let image = bench.ok("cloudbox.image info", json!({"name": "distro"}));
    assert_eq!(image["optional_services"], json!(["graphs", "proxy"]));
    let list = bench.ok("cloudbox.service list", json!({}))["services"].as_array().unwrap().clone();
    let told: Vec<_> = list.iter().filter(|s| s["container"].is_string()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["name"], "proxy (web-alpha)");
    assert_eq!((&told[0]["source"], &told[0]["state"]), (&json!("guest"), &json!("published")));
    assert_eq!(bench.announced(), NOTHING, "the guest announces it");
    let why = bench.fails("not_supported", "cloudbox.service withdraw", json!({"id": "web_proxy3_udp_3128"}));
    assert!(why.contains("switch it off there"), "{why}");

    // A section is held to the same, and what was switched on at the making stays.
    bench.fake.change(|world| {
        world.config = world.config.replace("list services 'proxy'", "list services 'graphs'")
            + "config container 'new'\n\tlist services 'wiki'\n";
    });
    bench.ok("cloudbox reload", json!({}));
    bench.work();
    assert_eq!(bench.ok("cloudbox.container info", json!({"name": "web"}))["fixed"], json!(["services"]));
    let refused = bench.entry("new")["error"]["message"].to_string();
    assert!(refused.contains("image distro has graphs, proxy"), "{refused}");
}

#[test]
fn bad_services_are_refused_and_harm_nobody() {
    let mut bench = bench(&["web"]);
    let good = json!({"container": "web", "type": "_aa._udp", "port": 1});
    bench.ok("cloudbox.service publish", good.clone());
    for (code, key, value) in [
        ("exists", "type", json!("_aa._udp")),
        ("invalid_argument", "type", json!("http")),
        ("invalid_argument", "type", json!("_toolongservicename._tcp")),
        ("invalid_argument", "type", json!("_a._sctp")),
        ("invalid_argument", "port", json!(0)),
        ("invalid_argument", "port", json!(65536)),
        ("invalid_argument", "port", json!("abc")),
        ("invalid_argument", "name", json!("x".repeat(64))),
        ("invalid_argument", "name", json!("a\nb")),
        ("invalid_argument", "txt", json!(["x".repeat(256)])),
        ("invalid_argument", "txt", json!(vec!["x".repeat(216); 6])),
        ("not_found", "container", json!("nobody")),
        ("invalid_name", "container", json!("Web")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let said = bench.fails(code, "cloudbox.service publish", bad);
        assert!(said.len() > 20, "{said}");
    }
    bench.fails("not_found", "cloudbox.service withdraw", json!({"id": "nobody"}));
    bench.fails("not_supported", "cloudbox.service withdraw", json!({"id": "box"}));
    assert_eq!(bench.announced(), ["web-alpha 1"]);
}

#[test]
fn what_is_on_the_network_is_told_with_its_box() {
    let mut bench = bench(&[]);
    let reply = bench.ok("cloudbox.service browse", json!({"type": "_http._tcp"}));
    let services = reply["services"].as_array().unwrap().iter();
    let told: Vec<_> =
        services.map(|s| (s["name"].as_str(), s["box"].as_str(), s["ours"].as_bool().unwrap())).collect();
    assert_eq!(
        told,
        [
            (Some("Mine"), Some("alpha"), true),
            (Some("Printer"), None, false),
            (Some("Wiki"), Some("beta"), false)
        ]
    );
    assert_eq!(bench.ok("cloudbox.service browse", json!({}))["services"].as_array().unwrap().len(), 4);
    bench.fails("invalid_argument", "cloudbox.service browse", json!({"type": "http"}));
    bench.fails("invalid_argument", "cloudbox.service browse", json!({"timeout": 16}));
}

#[test]
fn what_cannot_be_written_is_said_and_tried_again() {
    let mut bench = bench(&["web"]);
    bench.fake.fail_always("avahi.announce");
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_aa._udp", "port": 1}));
    bench.settle();
    assert_eq!(bench.service("web_aa_udp_1"), "withheld injected failure of avahi.announce");
    assert!(bench.ok("cloudbox status", json!({}))["avahi"]["message"]
        .as_str()
        .unwrap()
        .contains("injected"));
    bench.settle();
    bench.fake.heal();
    bench.ok("cloudbox status", json!({}));
    assert_eq!(bench.announced(), ["web-alpha 1"]);
    assert_eq!(bench.service("web_aa_udp_1"), "published");
}

#[test]
fn after_a_restart_nothing_is_withdrawn_before_its_port_was_tried() {
    let Some((_listener, port)) = port() else { return };
    let mut bench = bench(&["web"]);
    bench.ok("cloudbox.service publish", json!({"container": "web", "type": "_aa._tcp", "port": port}));
    assert_eq!(bench.announced().len(), 1);
    let before = bench.fake.calls().len();
    let mut bench = bench.restarted();
    assert_eq!(bench.announced().len(), 1);
    let calls = bench.fake.calls();
    let written = calls.iter().skip(before).filter(|call| call.starts_with("avahi.announce")).count();
    assert_eq!(written, 1);
}

#[test]
fn what_a_guest_changes_by_itself_is_written_once_in_five_seconds() {
    let mut bench = bench(&["web"]);
    let changed = Watched::Addresses(name("web"));
    let written =
        |bench: &Bench| bench.fake.calls().iter().filter(|c| c.starts_with("avahi.announce")).count();
    let before = written(&bench);
    // Its first address of IPv6 is a part of its start.
    bench.fake.add_address("web", "fd00::1".parse().unwrap());
    bench.core.handle_watched(&changed);
    bench.settle();
    assert_eq!(written(&bench), before + 1);
    // The next one is the guest's, and the first of those for a while.
    bench.fake.add_address("web", "fd00::2".parse().unwrap());
    bench.core.handle_watched(&changed);
    bench.settle();
    assert_eq!((written(&bench), bench.fake.announced().hosts.len()), (before + 2, 3));
    for n in 3..9 {
        bench.fake.add_address("web", format!("fd00::{n}").parse().unwrap());
        bench.core.handle_watched(&changed);
    }
    bench.core.announce(Instant::now() + Duration::from_secs(4));
    assert_eq!(written(&bench), before + 2, "not yet");
    bench.core.announce(Instant::now() + Duration::from_secs(6));
    bench.settle();
    assert_eq!((written(&bench), bench.fake.announced().hosts.len()), (before + 3, 9));
    // What cloudbox does is written at once, whatever a guest has just done.
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.settle();
    assert_eq!(bench.fake.announced().hosts, []);
    // So is what belongs to the start of another one.
    bench.ok("cloudbox.container create", json!({"name": "db", "wait": 15}));
    bench.settle();
    let before = written(&bench);
    bench.fake.add_address("db", "fd00::1".parse().unwrap());
    bench.core.handle_watched(&Watched::Addresses(name("db")));
    bench.core.announce(Instant::now() + Duration::from_millis(100));
    bench.report();
    assert_eq!((written(&bench), bench.fake.announced().hosts.len()), (before + 1, 2));
}
