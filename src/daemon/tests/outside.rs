//! Files of the box that callers name.

use super::{Bench, CONFIG};
use openwrt_ubus::to_fields;
use serde_json::json;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const EXPORT: &str = "cloudbox.container export";
const IMPORT: &str = "cloudbox.container import";
const IMAGE_IMPORT: &str = "cloudbox.image import";

/// The calls that name a file, each with the name of the option that lists where it may lie.
fn calls(path: &str) -> [(&'static str, serde_json::Value, &'static str); 3] {
    [
        (EXPORT, json!({"name": "web", "path": path}), "export_dir"),
        (IMPORT, json!({"name": "there", "path": path}), "import_dir"),
        (IMAGE_IMPORT, json!({"name": "there", "path": path}), "import_dir"),
    ]
}

#[test]
fn a_call_names_files_below_what_the_owner_has_listed_and_no_others() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.change(|world| world.host_config = String::new());
    bench.reload(CONFIG);
    let archives = bench.dir.path().join("archives").display().to_string();
    let listed = "config host 'host'\n\tlist export_dir '/mnt/usb'\n\tlist import_dir '/mnt/usb'\n";
    for (host, dir) in [("", archives.as_str()), (listed, "/mnt/usb")] {
        bench.fake.change(|world| world.host_config = host.to_string());
        bench.reload(CONFIG);
        let before = bench.fake.world();
        for path in ["/etc/hotplug.d/iface/99-x", &format!("{dir}/../x"), &format!("{dir}x/y"), "/mnt/x"] {
            for (method, arguments, option) in calls(path) {
                let message = bench.fails("invalid_argument", method, arguments);
                assert!(message.contains(&format!("is not below {dir}")), "{message}");
                assert!(message.contains(&format!("`{option}`")), "{message}");
            }
        }
        assert_eq!(bench.fake.world(), before);
        let path = format!("{dir}/web.tar");
        bench.ok(EXPORT, json!({"name": "web", "path": path, "wait": 15}));
        bench.ok(IMPORT, json!({"name": "copy", "path": path, "wait": 15}));
        bench.ok("cloudbox.container delete", json!({"name": "copy", "wait": 15}));
        bench.ok(IMAGE_IMPORT, json!({"name": "there", "path": format!("{dir}/image"), "wait": 15}));
    }
    // Where LuCI's server puts an upload.
    bench.ok(IMAGE_IMPORT, json!({"name": "sent", "path": "/tmp/cloudbox-upload", "wait": 15}));
}

#[test]
fn a_file_that_is_handed_over_needs_no_list() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.change(|world| world.host_config = String::new());
    bench.reload(CONFIG);
    for (method, mut arguments, _) in calls("/nowhere/called-so") {
        arguments["wait"] = json!(15);
        let file: OwnedFd = File::open("/dev/null").unwrap().into();
        let (object, name) = method.split_once(' ').unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let fields = to_fields(&arguments).unwrap();
        let call = bench.client.call_with(object, name, &fields, Some(file), deadline);
        bench.pump();
        let answer = bench.wait_for(call);
        assert_eq!(answer.status, 0, "{method}: {}", answer.text);
        // It was for that call alone.
        assert_eq!(bench.call(method, arguments).code(), "invalid_argument");
    }
}

#[test]
fn a_first_boot_script_is_its_text_and_never_a_path() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.fake.world();
    let message = bench.fails(
        "invalid_argument",
        "cloudbox.container create",
        json!({"name": "web", "first_boot": "/etc/shadow"}),
    );
    assert!(message.contains("first_boot") && message.contains("not its path"), "{message}");
    assert_eq!(bench.fake.world(), before);
    // Declared: it is not made, and its section is named.
    bench.reload(&format!("{CONFIG}\nconfig container 'web'\n\toption first_boot '/etc/shadow'\n"));
    assert_eq!(bench.states(), ["web failed"]);
    let warnings = bench.warnings();
    assert!(warnings.iter().any(|w| w.contains("section 'web', option 'first_boot'")), "{warnings:?}");
    // A text that begins with a slash has more than one line.
    let text = "/bin/true\n/bin/false\n";
    bench.ok("cloudbox.container create", json!({"name": "db", "first_boot": text, "wait": 15}));
}
