//! The process of the commons as the bus and the kernel know it: a user of its own. What it may do is tried, and every method
//! there is.

use crate::bus::{Answer, Refusal};
use crate::processes::{output, sh};
use crate::test_box::{program, TestBox};
use cloudbox::api::COMMONS_USER;
use cloudbox::commons::id::Id;
use cloudbox::usign::{Number, SecretKey};
use openwrt_ubus::client::Client;
use openwrt_ubus::{Event, Object};
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// No user of the machine has it.
pub const UID: u32 = 61_234;

/// What that user may call, by its access list and by the daemon. Whoever adds a method says here which it is.
const MAY: &[&str] = &[
    "cloudbox.config commons",
    "cloudbox.container create",
    "cloudbox.container delete",
    "cloudbox.container info",
    "cloudbox.container list",
    "cloudbox.container restart",
    "cloudbox.container set",
    "cloudbox.container start",
    "cloudbox.container stop",
    "cloudbox.image pull",
    "cloudbox.job list",
    "cloudbox.job status",
    "cloudbox.job wait",
];
const MAY_NOT: &[&str] = &[
    "cloudbox doctor",
    "cloudbox reload",
    "cloudbox shutdown",
    "cloudbox status",
    "cloudbox.container adopt",
    "cloudbox.container clone",
    "cloudbox.container exec",
    "cloudbox.container export",
    "cloudbox.container freeze",
    "cloudbox.container import",
    "cloudbox.container log",
    "cloudbox.container prune",
    "cloudbox.container rename",
    "cloudbox.container restore",
    "cloudbox.container snapshot",
    "cloudbox.container snapshot_delete",
    "cloudbox.container snapshots",
    "cloudbox.container unfreeze",
    "cloudbox.image available",
    "cloudbox.image delete",
    "cloudbox.image import",
    "cloudbox.image info",
    "cloudbox.image list",
    "cloudbox.image prune",
    "cloudbox.image remotes",
    "cloudbox.job cancel",
    "cloudbox.service browse",
    "cloudbox.service list",
    "cloudbox.service publish",
    "cloudbox.service withdraw",
];

/// Anna's public key, as a line, and her id.
pub fn anna() -> (String, String) {
    let key = SecretKey::new([7; 32], Number::new([7; 8])).public();
    (key.to_line(), Id::of(&key).to_string())
}

/// A box that hosts anna, whose bus knows the user: in a mount namespace of the bus alone, so that the machine's own files
/// stay as they are. `all`: its access list grants whatever there is, so that nobody but the daemon refuses.
fn hosting(what: &str, all: bool) -> Option<TestBox> {
    hosting_with(what, all, |bridge| {
        format!(
            "config commons 'commons'\n\toption enabled '1'\n\toption bridge '{bridge}'\n\
             config peer 'anna'\n\toption key '{}'\n\toption memory '96M'\n\toption disk '512M'\n",
            anna().0
        )
    })
}

/// The same, with these sections: of the bridge they are given the name.
pub fn hosting_with(what: &str, all: bool, sections: impl FnOnce(&str) -> String) -> Option<TestBox> {
    Some(made_to_host(TestBox::bare(what, false)?, all, sections))
}

/// A box of which nothing runs yet becomes one that hosts.
pub fn made_to_host(mut the_box: TestBox, all: bool, sections: impl FnOnce(&str) -> String) -> TestBox {
    let lists = the_box.dir.join("acl.d");
    fs::create_dir_all(&lists).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("files/usr/share/acl.d/cloudbox-commons.json");
    let mut list: Value = serde_json::from_slice(&fs::read(shipped).unwrap()).unwrap();
    if all {
        list["access"] = json!({ "*": { "methods": ["*"] } });
    }
    // ubusd takes no list that others may write.
    fs::write(lists.join("cloudbox-commons.json"), list.to_string()).unwrap();
    fs::set_permissions(lists.join("cloudbox-commons.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let dir = the_box.dir.display().to_string();
    for (file, line) in [
        ("passwd", format!("{COMMONS_USER}:x:{UID}:{UID}::/var:/bin/false\n")),
        ("group", format!("{COMMONS_USER}:x:{UID}:\n")),
    ] {
        let own = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        fs::write(the_box.dir.join(file), [own, line].concat()).unwrap();
    }
    let enter = format!(
        "mount --make-rprivate / && mount --bind {dir}/passwd /etc/passwd && mount --bind {dir}/group /etc/group && \
         exec \"$@\""
    );
    the_box.bus_wrapper = ["unshare", "--mount", "sh", "-c", &enter, "bus"].map(String::from).to_vec();
    the_box.bus_lists = Some(lists);
    the_box.write_config(&sections(&the_box.bridge));
    the_box.start_bus();
    the_box.start_daemon();
    the_box.import(crate::test_box::Image::Mini);
    the_box
}

/// A call by the user. A refusal of the bus has a status and no code.
fn call_as_commons(the_box: &TestBox, object: &str, method: &str, arguments: &Value) -> Answer {
    let mut command = Command::new(program());
    command.arg("--socket").arg(the_box.socket()).args(["call", object, method, &arguments.to_string()]);
    let output = output(command.uid(UID).gid(UID).current_dir("/"));
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if output.status.success() {
        return Ok(reply);
    }
    let code = reply["error"]["code"].as_str().unwrap_or_default().to_string();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Refusal { status: output.status.code().unwrap_or(-1) as u32, code, message })
}

/// Every method that root sees on the bus, `object method`.
fn all_methods(the_box: &TestBox) -> BTreeSet<String> {
    let mut client = Client::connect(the_box.socket()).unwrap();
    let objects = client.lookup("*", Duration::from_secs(5)).unwrap();
    let methods = objects.iter().flat_map(|object| {
        object.methods().map(|(method, _)| format!("{} {method}", object.path)).collect::<Vec<_>>()
    });
    methods.collect()
}

/// Arguments that would fit each method, on what is the owner's.
fn owners(method: &str) -> Value {
    let mut arguments = json!({
        "name": "web", "new_name": "new", "snapshot": "s", "path": "/x.tar", "command": ["id"], "id": "1",
        "container": "web", "type": "_http._tcp", "port": 80, "force": true, "yes": true, "timeout": 1,
        "memory": "32M",
    });
    if method.starts_with("cloudbox.image") {
        arguments["name"] = "mini".into();
    }
    arguments
}

#[test]
fn every_method_of_every_object_is_tried_as_the_process_of_the_commons() {
    for all in [false, true] {
        let Some(the_box) = hosting("the process of the commons", all) else { return };
        the_box.create("web", json!({ "start": false }));
        let before = the_box.config_text();
        let methods = all_methods(&the_box);
        let known: BTreeSet<String> = MAY.iter().chain(MAY_NOT).map(ToString::to_string).collect();
        let unknown: Vec<_> = methods.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}: say whether the process of the commons may call them");
        assert_eq!(methods, known, "a method is gone");
        for name in &methods {
            let (object, method) = name.split_once(' ').unwrap();
            let answer = call_as_commons(&the_box, object, method, &owners(name));
            let code = answer.as_ref().err().map(|refusal| refusal.code.as_str());
            match (MAY.contains(&name.as_str()), answer.as_ref()) {
                // Nothing of the owner's is shown.
                (true, Ok(reply)) => {
                    assert!(name.ends_with(" list") || name == "cloudbox.config commons", "{name}: {reply}");
                    assert!(!reply.to_string().contains("\"web\""), "{name}: {reply}");
                }
                (true, Err(refusal)) => {
                    let expected = ["permission_denied", "invalid_argument"];
                    assert!(expected.contains(&refusal.code.as_str()), "{name}: {refusal:?}");
                }
                // By the daemon, with a reason; or by the bus already.
                (false, _) => {
                    assert_eq!(code, Some(if all { "permission_denied" } else { "" }), "{name}: {answer:?}")
                }
            }
        }
        assert_eq!(the_box.config_text(), before);
        assert_eq!(the_box.state("web"), "stopped");
        the_box.delete("web");
        the_box.assert_nothing_left();
    }
}

/// The user's part of the next test, in a process of its own: what it may offer and hear.
#[test]
#[ignore = "run by other tests"]
fn offers_and_hears() {
    let Some(socket) = std::env::var_os("CLOUDBOX_TEST_BUS") else { return };
    let mut client = Client::connect(socket).unwrap();
    let connection = client.connection();
    let objects: Vec<_> = ["cloudbox.slice", "cloudbox.commons", "cloudbox.other", "cloudbox.container"]
        .map(|path| (connection.add_object(Object::new(path).method::<()>("list")), path))
        .to_vec();
    let subscriptions: Vec<_> = ["cloudbox.config", "cloudbox.container", "cloudbox.job"]
        .map(|path| (connection.subscribe(path), path))
        .to_vec();
    let events = ["container.*", "job.*", "*"];
    for pattern in events {
        connection.register_event(pattern);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut told = BTreeSet::new();
    while told.len() < objects.len() + subscriptions.len() + events.len() {
        let event = client.next_event(Some(deadline)).unwrap().expect("the bus says yes or no");
        let path_of = |id| objects.iter().find(|(known, _)| *known == id).unwrap().1;
        let target_of = |id| subscriptions.iter().find(|(known, _)| *known == id).unwrap().1;
        told.insert(match event {
            Event::Published { object } => format!("offers {}", path_of(object)),
            Event::PublishFailed { object, .. } => format!("may not offer {}", path_of(object)),
            Event::Subscribed { subscription } => format!("hears {}", target_of(subscription)),
            Event::SubscribeFailed { subscription, .. } => {
                format!("may not hear {}", target_of(subscription))
            }
            Event::ListenFailed { pattern, .. } => format!("may not listen to {pattern}"),
            _ => continue,
        });
    }
    for line in told {
        println!("told: {line}");
    }
}

#[test]
fn the_process_of_the_commons_offers_its_own_objects_and_hears_of_its_own_affairs() {
    let Some(the_box) = hosting("what the process of the commons offers", false) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "rights::offers_and_hears", "--ignored", "--nocapture"]).current_dir("/");
    let output = output(child.env("CLOUDBOX_TEST_BUS", the_box.socket()).uid(UID).gid(UID));
    let said = String::from_utf8_lossy(&output.stdout);
    let told: Vec<&str> = said.lines().filter_map(|line| line.split("told: ").nth(1)).collect();
    assert_eq!(
        told,
        [
            "hears cloudbox.config",
            "may not hear cloudbox.container",
            "may not hear cloudbox.job",
            "may not listen to *",
            "may not listen to container.*",
            "may not listen to job.*",
            "may not offer cloudbox.container",
            "may not offer cloudbox.other",
            "offers cloudbox.commons",
            "offers cloudbox.slice",
        ],
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    the_box.assert_nothing_left();
}

#[test]
fn a_stranger_is_hosted_and_keeps_its_secrets() {
    let Some(the_box) = hosting("a stranger's container", false) else { return };
    let images = the_box.call("cloudbox.image", "list", json!({})).unwrap();
    let sha256 = images["images"][0]["sha256"].as_str().unwrap();
    let name = "wiki-web-ab12cd";
    let call =
        |method: &str, arguments: Value| call_as_commons(&the_box, "cloudbox.container", method, &arguments);
    let create = json!({
        "name": name, "slice": format!("{}/wiki/web", anna().1), "image": sha256, "memory": "48M", "disk": "64M",
        "cpus": "0.5", "secrets": { "db": "hunter2-text", "tls.key": { "base64": "aHVudGVyMi1ieXRlcwD/" } },
        "wait": 15,
    });
    assert_eq!(call("create", create.clone()).unwrap()["state"], "done");
    let mut more = create;
    more["name"] = "wiki-web-ffffff".into();
    more["memory"] = "49M".into();
    assert_eq!(call("create", more).unwrap_err().code, "quota");

    // Its root alone reads them.
    let said =
        the_box.inside(name, "cd /var/lib/cloudbox; stat -c '%a %u %g %n' secrets secrets/*; cat secrets/db");
    assert_eq!(said.trim(), "700 0 0 secrets\n600 0 0 secrets/db\n600 0 0 secrets/tls.key\nhunter2-text");
    let bytes = the_box.inside(name, "tail -c 2 /var/lib/cloudbox/secrets/tls.key | od -An -tx1");
    assert_eq!(bytes.trim(), "00 ff");
    // Nowhere on the box but in the guest's own disk, which is a file of root's.
    let found = sh(&format!(
        "grep -rlE 'hunter2|aHVudGVyMi1ieXRlcwD' {} --exclude-dir=layer --exclude-dir=rootfs --exclude=disk.img || true",
        the_box.dir.display()
    ));
    assert_eq!(found, "", "secrets lie about");

    // An export has them only if it is told to.
    call("stop", json!({ "name": name, "force": true, "wait": 15 })).unwrap();
    for (with, file) in [(false, "without.tar"), (true, "with.tar")] {
        let path = the_box.dir.join(file);
        let export = json!({ "name": name, "path": path, "secrets": with });
        the_box.whole("cloudbox.container", "export", export).unwrap();
        let listed = sh(&format!("tar -tf {}", path.display()));
        assert!(listed.contains("layer/etc/hostname"), "{listed}");
        assert_eq!(listed.contains("layer/var/lib/cloudbox/secrets/db"), with, "{listed}");
        assert_eq!(sh(&format!("grep -c hunter2 {} || true", path.display())).trim() != "0", with);
    }
    // What is made of it is the owner's, and on nobody's account.
    let import = json!({ "path": the_box.dir.join("with.tar"), "name": "mine" });
    the_box.whole("cloudbox.container", "import", import).unwrap();
    let listed = call("list", json!({})).unwrap();
    let names: Vec<&str> =
        listed["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, [name]);
    assert_eq!(call("start", json!({ "name": "mine" })).unwrap_err().code, "permission_denied");
    call("start", json!({ "name": name, "wait": 15 })).unwrap();
    call("delete", json!({ "name": name, "force": true, "wait": 15 })).unwrap();
    the_box.delete("mine");
    for file in ["without.tar", "with.tar"] {
        fs::remove_file(the_box.dir.join(file)).unwrap();
    }
    the_box.assert_nothing_left();
}
