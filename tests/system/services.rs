//! What runs in the containers is found by name by the neighbour, and nothing stale is.

use crate::neighbour::{Neighbourhood, Seen};
use crate::processes::{output, sh};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HTTP: &str = "_http._tcp";

/// What another second's change would not show.
fn early_in_a_second() {
    let early = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_millis() < 100;
    eventually("the beginning of a second", early);
}

fn from_first_to_last(here: &Neighbourhood) {
    let (the_box, neighbour) = (&here.the_box, &here.neighbour);
    let config = the_box.config_text();
    let mut listener = the_box.listener();
    let mut watch = neighbour.watch(HTTP);
    the_box.create("web", json!({}));
    let address = the_box.wait_for_address("web");

    // Declared, and not announced before its port answers.
    let begun = Instant::now();
    let id = here.publish("web", HTTP, 8080, json!({ "name": "Our wiki", "txt": ["path=/wiki", "lang=ca"] }));
    assert_eq!(id, "web_http_8080");
    let service = here.service(&id);
    assert_eq!((&service["state"], &service["source"]), (&json!("withheld"), &json!("config")));
    assert!(service["reason"].as_str().unwrap().contains("8080"), "{service}");
    assert!(the_box.config_text().contains("config service 'web_http_8080'"), "{}", the_box.config_text());
    here.serve("web", 8080);
    let (_, seen) = watch.found_as("Our wiki", begun);
    let host = here.host("web");
    assert_eq!((&seen.host, seen.address, seen.port), (&host, address, 8080));
    assert_eq!(seen.txt, ["lang=ca", "path=/wiki"]);
    assert_eq!(neighbour.resolve(&host), Some(address));
    listener.hears("service.published", &id);
    here.wait_for_state(&id, "published");
    let service = here.service(&id);
    assert_eq!((&service["state"], &service["reason"]), (&json!("published"), &Value::Null));
    assert_eq!((&service["host"], &service["addresses"]), (&json!(host), &json!([address.to_string()])));

    // It changes as often as one likes, and the last word is what is seen; it never goes for that.
    let edit = |from: &str, to: &str| {
        the_box.edit_config(|text| text.replace(from, to));
        assert_eq!(the_box.reload()["warnings"], json!([]));
    };
    edit("path=/wiki", "path=/1");
    neighbour.wait_until(HTTP, "path=/1", says("path=/1"));
    early_in_a_second();
    let begun = Instant::now();
    for number in 1..=4 {
        edit(&format!("path=/{number}"), &format!("path=/{}", number + 1));
        // Each has been written before the next one comes.
        let file = the_box.avahi().join("services").join("cloudbox-web.web_http_8080.service");
        let text = format!("path=/{}<", number + 1);
        eventually("the file", || fs::read_to_string(&file).unwrap().contains(&text));
    }
    println!("four changes in {:?}", begun.elapsed());
    neighbour.wait_until(HTTP, "path=/5", says("path=/5"));

    // Withdrawn, it is gone, and so is its section; the container keeps its name.
    let begun = Instant::now();
    here.withdraw(&id);
    watch.gone("Our wiki", begun);
    listener.hears("service.withdrawn", &id);
    assert_eq!(here.service(&id), Value::Null);
    assert!(!the_box.config_text().contains("config service"), "{}", the_box.config_text());
    assert_eq!(neighbour.resolve(&host), Some(address));

    // And again at once, under a name of its own making.
    let begun = Instant::now();
    let id = here.publish("web", HTTP, 8080, json!({}));
    let (_, seen) = watch.found_as(host.trim_end_matches(".local"), begun);
    assert_eq!(seen.txt, Vec::<String>::new());
    here.wait_for_state(&id, "published");

    // With the container, everything of it goes.
    let begun = Instant::now();
    the_box.delete("web");
    watch.gone(host.trim_end_matches(".local"), begun);
    eventually("nobody of that name", || neighbour.resolve(&host).is_none());
    eventually("the box's own file only", || here.files() == ["cloudbox.service"]);
    assert!(!here.hosts().contains("web-"), "{}", here.hosts());
    assert_eq!(the_box.config_text(), config, "a deleted container's services are left");
    the_box.assert_nothing_left();
}

fn says(record: &'static str) -> impl Fn(&[Seen]) -> bool {
    move |seen| seen.iter().any(|service| service.txt.iter().any(|txt| txt == record))
}

#[test]
fn a_service_is_published_changed_and_withdrawn() {
    let Some(the_box) = TestBox::new("a service") else { return };
    from_first_to_last(&Neighbourhood::of(the_box));
}

#[test]
fn a_service_is_published_changed_and_withdrawn_without_dbus() {
    let Some(the_box) = TestBox::new("a service without D-Bus") else { return };
    from_first_to_last(&Neighbourhood::without_dbus(the_box));
}

#[test]
fn a_service_goes_with_its_container_however_that_ends_and_comes_back_with_it() {
    let Some(the_box) = TestBox::new("services and ends") else { return };
    let here = Neighbourhood::of(the_box);
    let (the_box, neighbour) = (&here.the_box, &here.neighbour);
    let mut watch = neighbour.watch(HTTP);
    the_box.create("web", json!({}));
    // Its shell reads what is added to the script that it is at: it has come past that when it has an address.
    the_box.wait_for_address("web");
    // It serves whenever it runs.
    the_box.inside("web", "echo 'httpd -p 80 -h /www' >> /etc/init.d/rcS");
    here.serve("web", 80);
    let begun = Instant::now();
    let id = here.publish("web", HTTP, 80, json!({ "name": "Wiki" }));
    watch.found("Wiki", begun);

    let stop = || the_box.stop("web");
    let kill = || the_box.kill("web");
    let power_off = || drop(the_box.exec("web", &["poweroff"]));
    let ends: [(&str, &dyn Fn()); 3] = [("stop", &stop), ("kill", &kill), ("poweroff", &power_off)];
    for (what, end) in ends {
        let begun = Instant::now();
        end();
        println!("{what} → gone: {:?}", watch.gone("Wiki", begun));
        the_box.wait_for_state("web", "stopped");
        assert!(here.service(&id)["reason"].as_str().unwrap().contains("stopped"), "{}", here.service(&id));
        assert!(!here.hosts().contains("web-"), "{}", here.hosts());
        assert_eq!(here.files(), ["cloudbox.service"]);
        let begun = Instant::now();
        the_box.start("web");
        println!("start → resolved: {:?}", watch.found("Wiki", begun));
    }

    // Killed by somebody, it goes and is started again.
    let begun = Instant::now();
    let init = nix::unistd::Pid::from_raw(the_box.init("web"));
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).unwrap();
    println!("death → gone: {:?}", watch.gone("Wiki", begun));
    println!("death → resolved again: {:?}", watch.found("Wiki", begun));

    // Frozen, it runs and does not answer.
    let begun = Instant::now();
    the_box.whole("cloudbox.container", "freeze", json!({ "name": "web" })).unwrap();
    println!("freeze → gone: {:?}", watch.gone("Wiki", begun));
    assert!(here.service(&id)["reason"].as_str().unwrap().contains("frozen"), "{}", here.service(&id));
    let begun = Instant::now();
    the_box.whole("cloudbox.container", "unfreeze", json!({ "name": "web" })).unwrap();
    println!("unfreeze → resolved: {:?}", watch.found("Wiki", begun));

    // The program ends, and not the container.
    let begun = Instant::now();
    here.silence("web");
    println!("a port falls silent → gone: {:?}", watch.gone("Wiki", begun));
    assert_eq!(neighbour.resolve(&here.host("web")), Some(the_box.wait_for_address("web")));
    let begun = Instant::now();
    here.serve("web", 80);
    watch.found("Wiki", begun);

    // Its section is taken away by hand.
    let begun = Instant::now();
    let config = the_box.config_text();
    the_box.edit_config(|text| text.split("config container 'web'").next().unwrap().to_string());
    the_box.reload();
    watch.gone("Wiki", begun);
    the_box.quiet();
    assert_eq!(here.files(), ["cloudbox.service"]);
    the_box.edit_config(|_| config);
    the_box.reload();
    the_box.quiet();
    the_box.delete_last("web");
}

#[test]
fn a_new_address_is_followed() {
    let Some(the_box) = TestBox::new("a new address") else { return };
    let mut here = Neighbourhood::of(the_box);
    here.the_box.create("web", json!({}));
    let before = here.the_box.wait_for_address("web");
    here.serve("web", 80);
    let begun = Instant::now();
    let mut watch = here.neighbour.watch(HTTP);
    here.publish("web", HTTP, 80, json!({ "name": "Wiki" }));
    assert_eq!(watch.found_as("Wiki", begun).1.address, before);

    // The server has forgotten, and the guest asks anew.
    here.the_box.new_dhcp(200);
    here.the_box.inside("web", "killall -9 udhcpc");
    let begun = Instant::now();
    let new = |address: std::net::IpAddr| address != before;
    eventually("another address", || new(here.the_box.wait_for_address("web")));
    println!("a new address after {:?}", begun.elapsed());
    let (begun, after) = (Instant::now(), here.the_box.wait_for_address("web"));
    eventually("the name at the new address", || here.neighbour.resolve(&here.host("web")) == Some(after));
    println!("a new address → resolved: {:?}", begun.elapsed());
    let is_there = move |seen: &[Seen]| seen.iter().any(|s| s.address == after);
    here.neighbour.wait_until(HTTP, "the service at the new address", is_there);
    assert!(!here.hosts().contains(&format!("{before} ")), "{}", here.hosts());

    // A second family comes and goes.
    let host = here.host("web");
    let six = "fd00:77::10".parse().unwrap();
    sh(&format!("ip -6 addr add fd00:77::1/64 dev {}", here.the_box.bridge));
    here.the_box.inside("web", "ip -6 addr add fd00:77::10/64 dev eth0");
    eventually("an IPv6 address", || here.neighbour.resolve_ipv6(&host) == Some(six));
    assert_eq!(here.neighbour.resolve(&host), Some(after));
    assert!(here.hosts().contains(&format!("fd00:77::10 {host}\n")), "{}", here.hosts());
    here.the_box.inside("web", "ip -6 addr del fd00:77::10/64 dev eth0");
    eventually("no IPv6 address", || !here.hosts().contains("fd00:77::10"));
    let over_ipv4 = |seen: &[Seen]| seen.iter().map(|s| s.address).collect::<Vec<_>>() == [after];
    here.neighbour.wait_until(HTTP, "IPv4 only", over_ipv4);
    here.the_box.delete("web");
    here.the_box.assert_nothing_left();
}

#[test]
fn avahi_may_go_and_come_back() {
    let Some(the_box) = TestBox::new("avahi restarted") else { return };
    let mut here = Neighbourhood::of(the_box);
    here.the_box.create("web", json!({}));
    here.serve("web", 80);
    let begun = Instant::now();
    let mut watch = here.neighbour.watch(HTTP);
    here.publish("web", HTTP, 80, json!({ "name": "Wiki" }));
    watch.found("Wiki", begun);
    let init = here.the_box.init("web");
    let state =
        |here: &Neighbourhood| here.the_box.call("cloudbox", "status", json!({})).unwrap()["avahi"].clone();
    assert_eq!(state(&here)["state"], "running");

    // Killed and started again, it announces what it did.
    here.avahi.kill();
    eventually("stopped", || state(&here)["state"] == "stopped");
    assert!(state(&here)["message"].as_str().unwrap().contains("avahi-daemon"), "{}", state(&here));
    assert_eq!(state(&here)["published"], 0);
    for service in here.services() {
        assert_eq!(service["state"], "withheld");
        assert!(service["reason"].as_str().unwrap().contains("avahi-daemon does not run"), "{service}");
    }
    assert_eq!(doctor(&here)["state"], "warning", "{}", doctor(&here));
    here.avahi.start();
    assert_eq!(state(&here)["state"], "running");
    here.neighbour.wait_until(HTTP, "Wiki", |seen| seen.iter().any(|s| s.name == "Wiki"));

    // What changes meanwhile comes with it.
    let begun = Instant::now();
    here.avahi.stop();
    watch.gone("Wiki", begun);
    assert_eq!(state(&here)["state"], "stopped");
    here.serve("web", 81);
    here.publish("web", HTTP, 81, json!({ "name": "Second" }));
    here.withdraw("web_http_80");
    let begun = Instant::now();
    here.avahi.start();
    watch.found("Second", begun);
    assert!(!watch.knows("Wiki"));
    assert_eq!(here.the_box.init("web"), init);
    assert_eq!(doctor(&here)["state"], "ok", "{}", doctor(&here));
    here.the_box.delete("web");
    here.the_box.assert_nothing_left();
}

/// What `doctor` says of avahi.
fn doctor(here: &Neighbourhood) -> Value {
    let reply = here.the_box.call("cloudbox", "doctor", json!({})).unwrap();
    let checks = reply["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "avahi").cloned().unwrap_or(reply)
}

#[test]
fn the_second_box_of_a_name_is_told_from_the_first() {
    let Some(the_box) = TestBox::new("two boxes of one name") else { return };
    let here = Neighbourhood::of(the_box);
    let (the_box, neighbour, name) = (&here.the_box, &here.neighbour, here.box_name());
    // The neighbour is the other box: it has a container of that name, and a wiki.
    let (first, theirs) = (here.host("web"), the_box.address(77).into());
    let mut watch = neighbour.watch(HTTP);
    let begun = Instant::now();
    neighbour.announce_host(&first, theirs, "Our wiki", HTTP, 80);
    assert_eq!(watch.found_as("Our wiki", begun).1.address, theirs);

    the_box.create("web", json!({}));
    let ours = the_box.wait_for_address("web");
    here.serve("web", 80);
    let begun = Instant::now();
    let id = here.publish("web", HTTP, 80, json!({ "name": "Our wiki" }));
    here.wait_for_state(&id, "published");
    println!("a second box of the same name → published as its own: {:?}", begun.elapsed());
    let own = here.box_name();
    assert!(own.starts_with(&format!("{name}-")) && own.len() == name.len() + 5, "{own}");
    let service = here.service(&id);
    assert_eq!(
        (&service["name"], &service["host"]),
        (&json!(format!("Our wiki ({own})")), &json!(format!("web-{own}.local")))
    );
    let (_, seen) = watch.found_as(&format!("Our wiki ({own})"), begun);
    assert_eq!((seen.host, seen.address), (format!("web-{own}.local"), ours));
    // The first box's is what it was, and nothing of ours leads there.
    assert_eq!(neighbour.resolve(&first), Some(theirs));
    eventually("no other names", || {
        let (mut names, mut expected) =
            (neighbour.names(HTTP), ["Our wiki".to_string(), format!("Our wiki ({own})")]);
        names.sort();
        expected.sort();
        names == expected
    });
    here.wait_for_state("box", "published");
    let found = here.call("browse", json!({ "type": "_cloudbox._tcp" })).unwrap()["services"].clone();
    let of_box =
        found.as_array().unwrap().iter().find(|s| s["name"] == own.as_str()).cloned().unwrap_or_default();
    assert_eq!((&of_box["host"], &of_box["box"]), (&here.service("box")["host"], &json!(own)), "{found}");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn the_box_does_not_go_while_twenty_containers_are_made() {
    let Some(the_box) = TestBox::new("twenty creations") else { return };
    let here = Neighbourhood::of(the_box);
    let (the_box, name) = (&here.the_box, here.box_name());
    let mut watch = here.neighbour.watch("_cloudbox._tcp");
    let begun = Instant::now();
    watch.found(&name, begun - Duration::from_secs(600));
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    for name in &names {
        the_box.create(name, json!({ "memory": "16M" }));
    }
    println!("twenty creations: {:?}", begun.elapsed());
    here.neighbour.wait_until("_cloudbox._tcp", "containers=20", says("containers=20"));
    println!("the box says so: {:?}", begun.elapsed());
    assert_eq!(watch.times_gone(&name, begun), 0);
    here.wait_for_state("box", "published");
    for name in &names {
        the_box.delete(name);
    }
    here.neighbour.wait_until("_cloudbox._tcp", "containers=0", says("containers=0"));
    assert_eq!(watch.times_gone(&name, begun), 0);
    the_box.assert_nothing_left();
}

#[test]
fn lines_and_files_of_others_stay_as_they_are() {
    let Some(the_box) = TestBox::new("foreign lines") else { return };
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    let path = the_box.avahi().join("hosts");
    let foreign = b"# mine\r\n\t192.0.2.1  printer.local # the \xfc one\n\n192.0.2.2 scanner.local";
    let mut behind = foreign.to_vec();
    fs::write(&path, foreign).unwrap();
    let services = the_box.avahi().join("services");
    let own =
        [("ssh.service", "<service-group/>"), ("cloudbox-mine.service", "<!-- mine -->"), ("README", "x")];
    for (name, text) in own {
        fs::write(services.join(name), text).unwrap();
    }
    the_box.create("web", json!({}));
    let address = the_box.wait_for_address("web");
    let line = format!("{address} {}\n", here.host("web"));
    eventually("our line", || here_has(&path, &line));
    let text = fs::read(&path).unwrap();
    let found = text.windows(foreign.len()).any(|window| window == foreign);
    assert!(found, "{:?}", String::from_utf8_lossy(&text));
    assert_eq!(here.neighbour.resolve("scanner.local"), Some("192.0.2.2".parse().unwrap()));

    // The owner edits it meanwhile, as an editor does.
    let mut edited = fs::read(&path).unwrap();
    let more = b"\n192.0.2.3 oven.local\n";
    edited.extend_from_slice(more);
    behind.extend_from_slice(more);
    fs::write(path.with_file_name("hosts~"), &edited).unwrap();
    fs::rename(path.with_file_name("hosts~"), &path).unwrap();
    the_box.create("mail", json!({}));
    let line = format!("{} {}\n", the_box.wait_for_address("mail"), here.host("mail"));
    eventually("a second line", || here_has(&path, &line));
    for name in ["web", "mail"] {
        the_box.delete(name);
    }
    eventually("the foreign lines only", || fs::read(&path).unwrap() == behind);
    for (name, text) in own {
        assert_eq!(fs::read_to_string(services.join(name)).unwrap(), text);
    }
    the_box.assert_nothing_left();
}

fn here_has(path: &std::path::Path, line: &str) -> bool {
    String::from_utf8_lossy(&fs::read(path).unwrap()).contains(line)
}

/// The mini image, offering services.
fn offering(the_box: &TestBox, services: &Value) -> std::path::PathBuf {
    let (root, image) = (the_box.dir.join("offering"), the_box.dir.join("offering.squashfs"));
    sh(&format!("unsquashfs -quiet -no-progress -dest {} {}", root.display(), Image::Mini.path().display()));
    let path = root.join("usr/share/cloudbox/image.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["name"] = "offering".into();
    manifest["services"] = services.clone();
    fs::write(&path, manifest.to_string()).unwrap();
    sh(&format!("mksquashfs {} {} -quiet -no-progress -all-root", root.display(), image.display()));
    image
}

#[test]
fn what_an_image_offers_needs_no_typing_and_can_be_switched_off() {
    let Some(the_box) = TestBox::new("offered services") else { return };
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    let services = json!([
        { "name": "wiki", "type": HTTP, "port": 80 },
        { "name": "broken", "type": "http", "port": 80 },
        { "name": "broken too", "type": "_xx._tcp", "port": 0 },
    ]);
    let image = offering(the_box, &services);
    let import = json!({ "path": image, "name": "offering" });
    the_box.whole("cloudbox.image", "import", import).unwrap();
    the_box.create("web", json!({ "image": "offering" }));
    the_box.wait_for_address("web");
    let id = "web_http_80";
    let service = here.service(id);
    assert_eq!((&service["source"], &service["state"]), (&json!("image"), &json!("withheld")), "{service}");
    let name = service["name"].as_str().unwrap().to_string();
    assert!(name.starts_with("wiki"), "{name}");
    let ids: Vec<Value> = here.services().iter().map(|s| s["id"].clone()).collect();
    assert_eq!(ids, ["box", id]);

    let mut watch = here.neighbour.watch(HTTP);
    let begun = Instant::now();
    here.serve("web", 80);
    watch.found(&name, begun);
    let begun = Instant::now();
    here.withdraw(id);
    watch.gone(&name, begun);
    assert!(the_box.config_text().contains("option enabled '0'"), "{}", the_box.config_text());
    // It stays off, and comes back when asked for.
    the_box.reload();
    assert_eq!(here.service(id), Value::Null);
    let begun = Instant::now();
    here.publish("web", HTTP, 80, json!({ "name": "Mine" }));
    watch.found("Mine", begun);
    // One container's services can all be kept quiet.
    let begun = Instant::now();
    the_box.edit_config(|text| {
        text.replace("config container 'web'\n", "config container 'web'\n\toption advertise '0'\n")
    });
    the_box.reload();
    watch.gone("Mine", begun);
    eventually("no host name", || !here.hosts().contains("web-"));
    the_box.delete_last("web");
}

#[test]
fn after_a_crash_nothing_stale_is_announced_and_what_holds_stays() {
    let Some(the_box) = TestBox::new("services after a crash") else { return };
    let mut here = Neighbourhood::of(the_box);
    let mut watch = here.neighbour.watch(HTTP);
    let begun = Instant::now();
    for name in ["dies", "lives"] {
        here.the_box.create(name, json!({}));
        here.serve(name, 80);
        here.publish(name, HTTP, 80, json!({ "name": name }));
        watch.found(name, begun);
    }
    let init = nix::unistd::Pid::from_raw(here.the_box.init("dies"));
    let files = here.files();

    // A crash takes nothing back,
    let crash = Instant::now();
    here.the_box.kill_daemon();
    assert_eq!(here.files(), files);
    nix::sys::signal::kill(init, nix::sys::signal::Signal::SIGKILL).unwrap();
    // and what was half written is no trouble.
    fs::write(here.the_box.avahi().join("services/.cloudbox-new"), "<service-gr").unwrap();
    let begun = Instant::now();
    here.the_box.start_daemon();
    println!("start of the daemon → what is stale is gone: {:?}", watch.gone("dies", begun));
    eventually("half a file to go", || !here.files().contains(&".cloudbox-new".to_string()));
    assert!(!here.hosts().contains("dies-"), "{}", here.hosts());
    assert!(here.hosts().contains("lives-"), "{}", here.hosts());
    here.wait_for_state("lives_http_80", "published");
    assert_eq!(watch.times_gone("lives", crash), 0, "what holds flickered");

    // The same with a stop as procd does it.
    let begun = Instant::now();
    here.the_box.restart_daemon();
    here.wait_for_state("lives_http_80", "published");
    assert_eq!(here.neighbour.names(HTTP), ["lives"]);
    assert_eq!(watch.times_gone("lives", begun), 0, "what holds flickered");
    for name in ["dies", "lives"] {
        here.the_box.delete(name);
    }
    here.the_box.assert_nothing_left();
}

#[test]
fn the_box_itself_is_announced() {
    let Some(the_box) = TestBox::new("the box's own service") else { return };
    let here = Neighbourhood::of(the_box);
    let name = here.box_name();
    let mut watch = here.neighbour.watch("_cloudbox._tcp");
    let begun = Instant::now() - Duration::from_secs(60);
    let (_, seen) = watch.found_as(&name, begun);
    let keys: Vec<&str> = seen.txt.iter().map(|txt| txt.split('=').next().unwrap()).collect();
    assert_eq!(keys, ["api", "arch", "containers", "memory", "path", "version"]);
    assert!(seen.txt.contains(&"containers=0".to_string()), "{seen:?}");
    let machine = output(Command::new("uname").arg("-m"));
    let arch = format!("arch={}", String::from_utf8_lossy(&machine.stdout).trim());
    assert!(seen.txt.contains(&arch), "{seen:?}");
    here.the_box.create("web", json!({}));
    here.neighbour.wait_until("_cloudbox._tcp", "containers=1", says("containers=1"));
    here.the_box.delete("web");
    here.neighbour.wait_until("_cloudbox._tcp", "containers=0", says("containers=0"));

    let begun = Instant::now();
    here.the_box.edit_config(|text| {
        text.replace("config cloudbox 'main'\n", "config cloudbox 'main'\n\toption advertise '0'\n")
    });
    here.the_box.reload();
    watch.gone(&name, begun);
    assert_eq!(here.files(), Vec::<String>::new());
    here.the_box.assert_nothing_left();
}

fn browsed(mut here: Neighbourhood) {
    // Boxes of other tests may be seen too, and have the same name: these have a name of their own.
    let web = here.the_box.bridge.clone();
    let (name, others, port) = (format!("Ours on {web}"), format!("Theirs on {web}"), 8081);
    here.the_box.create(&web, json!({}));
    let address = here.the_box.wait_for_address(&web);
    here.serve(&web, 80);
    let begun = Instant::now();
    let mut watch = here.neighbour.watch("_cbtest._tcp");
    here.publish(&web, "_cbtest._tcp", 80, json!({ "name": name, "txt": ["path=/"] }));
    here.neighbour.announce(others.as_str(), "_cbtest._tcp", port);
    for name in [&name, &others] {
        watch.found(name, begun);
    }
    // A responder is silent for a while after somebody else has asked, as other tests do: one looks again.
    let look_until =
        |here: &Neighbourhood, arguments: Value, holds: &dyn Fn(&[Value]) -> bool| -> Vec<Value> {
            let (mut services, mut looks) = (Vec::new(), 0);
            eventually(&format!("browse {arguments}"), || {
                let begun = Instant::now();
                let reply = here.call("browse", arguments.clone()).unwrap();
                services = reply["services"].as_array().unwrap().clone();
                looks += 1;
                println!("browse {arguments}, look {looks}: {:?}", begun.elapsed());
                holds(&services)
            });
            services
        };
    let find = |services: &[Value], name: &str, kind: &str| -> Value {
        let is_it = |s: &&Value| s["name"] == name && s["type"] == kind && s["addresses"] != json!([]);
        services.iter().find(is_it).cloned().unwrap_or_default()
    };
    let kind = "_cbtest._tcp";
    let both = |all: &[Value]| [&name, &others].iter().all(|name| find(all, name, kind) != Value::Null);
    let services = look_until(&here, json!({ "type": kind }), &both);
    assert!(services.iter().all(|service| service["type"] == kind), "{services:?}");
    let ours = find(&services, &name, kind);
    assert_eq!((&ours["ours"], &ours["box"]), (&json!(true), &json!(here.box_name())), "{ours}");
    assert_eq!((&ours["host"], &ours["port"]), (&json!(here.host(&web)), &json!(80)));
    assert_eq!((&ours["addresses"], &ours["txt"]), (&json!([address.to_string()]), &json!(["path=/"])));
    let theirs = find(&services, &others, kind);
    assert_eq!((&theirs["ours"], &theirs["box"]), (&json!(false), &Value::Null), "{theirs}");
    assert_eq!((&theirs["host"], &theirs["port"]), (&json!("neighbour.local"), &json!(port)));
    assert_eq!(theirs["txt"], json!(["of=neighbour"]));
    let seen: Vec<&str> = theirs["addresses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(seen.contains(&here.the_box.address(5).to_string().as_str()), "{theirs}");
    let box_name = here.box_name();
    look_until(&here, json!({}), &|all| both(all) && find(all, &box_name, "_cloudbox._tcp") != Value::Null);

    // Without an avahi-daemon of its own the box still sees the others, and no longer itself.
    here.avahi.stop();
    look_until(&here, json!({ "type": kind }), &|all| {
        find(all, &others, kind) != Value::Null && find(all, &name, kind) == Value::Null
    });
    here.the_box.delete(&web);
    here.the_box.assert_nothing_left();
}

#[test]
fn the_box_sees_the_neighbourhood() {
    let Some(the_box) = TestBox::new("browse") else { return };
    browsed(Neighbourhood::of(the_box));
}

#[test]
fn the_box_sees_the_neighbourhood_without_dbus() {
    let Some(the_box) = TestBox::new("browse without D-Bus") else { return };
    browsed(Neighbourhood::without_dbus(the_box));
}

#[test]
fn a_guest_with_an_avahi_of_its_own_goes_by_one_name() {
    let Some(the_box) = TestBox::new("a guest with avahi") else { return };
    let here = Neighbourhood::of(the_box);
    let (the_box, neighbour) = (&here.the_box, &here.neighbour);
    the_box.import(Image::Distro);
    let mut watch = neighbour.watch(HTTP);
    let begun = Instant::now();
    the_box.create("web", json!({ "image": "distro", "memory": "256M" }));
    the_box.booted("web");
    here.publish("web", HTTP, 80, json!({ "name": "By the box", "check": "none" }));
    watch.found("By the box", begun);
    let service = "<service-group><name>By the guest</name><service><type>_http._tcp</type><port>81</port></service></service-group>";
    the_box.inside("web", &format!("echo '{service}' > /etc/avahi/services/own.service"));
    watch.found("By the guest", begun);
    let host = here.host("web");
    for seen in neighbour.services(HTTP) {
        assert_eq!(seen.host, host, "{seen:?}");
    }
    assert_eq!(neighbour.resolve(&host), Some(the_box.wait_for_address("web")));

    // A start brings both up together; neither takes the name from the other.
    for _ in 0..2 {
        let begun = Instant::now();
        the_box.stop("web");
        watch.gone("By the guest", begun);
        let begun = Instant::now();
        the_box.start("web");
        the_box.booted("web");
        watch.found("By the guest", begun);
        eventually("the box's advert", || watch.knows("By the box"));
    }
    let log = the_box.inside("web", "journalctl --no-pager -u avahi-daemon | cat");
    assert!(!log.contains("conflict"), "{log}");
    assert!(!here.avahi.log().contains("conflict"), "{}", here.avahi.log());
    the_box.delete_last("web");
}
