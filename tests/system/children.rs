//! What the daemon starts: it gets nothing of the daemon's, and does not outlive it.

use crate::processes;
use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;

/// What process `pid` has open, by descriptor.
fn open_of(pid: i32) -> BTreeMap<i32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
    };
    entries.filter_map(link).collect()
}

/// What of the daemon's nobody else may have: its sockets, its pipes, and the lock on its storage.
fn own_of(daemon: i32) -> BTreeSet<String> {
    let is_its_own =
        |link: &String| link.starts_with("socket:") || link.starts_with("pipe:") || link.ends_with("lock");
    open_of(daemon).into_values().filter(is_its_own).collect()
}

/// The programs that run as children of the daemon, by name. One that is about to be another is none yet.
fn children(daemon: i32) -> BTreeMap<String, i32> {
    let own = fs::read_link(format!("/proc/{daemon}/exe")).unwrap();
    let mut found = BTreeMap::new();
    for pid in processes::all().into_iter().filter(|pid| processes::parent(*pid) == daemon) {
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != own) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.insert(name.trim_end().to_string(), pid);
        }
    }
    found
}

#[test]
fn what_the_daemon_starts_has_nothing_of_its_own_and_ends_with_it() {
    let Some(mut the_box) = TestBox::new("the daemon's children") else { return };
    the_box.create("web", json!({}));
    // A server that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    the_box.edit_config(|text| format!("{text}\nconfig remote 'silent'\n\toption url '{url}'\n"));
    the_box.reload();
    // An archive that takes a while to be read and packed.
    let archive = the_box.dir.join("large.tar.gz");
    processes::sh(&format!(
        "mkdir -p '{dir}/etc'; head -c 16000000 /dev/urandom > '{dir}/noise'; : > '{dir}/etc/os-release'
        tar -C '{dir}' -cf - etc noise | gzip -1 > '{}'",
        archive.display(),
        dir = the_box.dir.join("large").display(),
    ));

    let daemon = the_box.daemon_pid();
    let mut awaited: BTreeSet<&str> = ["curl", "gzip", "mksquashfs"].into();
    if cloudbox::steps::tool::Tool::find("curl").is_err() {
        awaited.remove("curl");
    }
    let mut helpers = BTreeMap::new();
    std::thread::scope(|scope| {
        // They are not answered: the daemon is killed first.
        let call = |object: &'static str, method: &'static str, arguments| {
            let the_box = &the_box;
            scope.spawn(move || {
                let _ = the_box.call(object, method, arguments);
            });
        };
        call("cloudbox.image", "available", json!({}));
        call("cloudbox.image", "import", json!({ "path": archive, "name": "large" }));
        eventually("the daemon's children", || {
            for (name, pid) in children(daemon) {
                let (own, theirs) = (own_of(daemon), open_of(pid));
                // Its standard ones are the other ends of pipes of the daemon's.
                let inherited: Vec<_> =
                    theirs.iter().filter(|(number, link)| **number > 2 && own.contains(*link)).collect();
                assert!(inherited.is_empty(), "{name} has {inherited:?} of the daemon's");
                if awaited.remove(name.as_str()) {
                    println!("{name} is there; missing: {awaited:?}");
                }
                helpers.insert(name, pid);
            }
            awaited.is_empty()
        });
        let monitor = the_box.monitor("web");
        let own = own_of(daemon);
        for pid in [monitor, the_box.init("web")] {
            let theirs = open_of(pid);
            assert!(!theirs.values().any(|link| own.contains(link)), "{pid} has {theirs:?} of {own:?}");
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    });
    the_box.kill_daemon();
    for (name, pid) in helpers {
        eventually(&format!("the end of {name}"), || !processes::lives(pid));
    }
    assert!(the_box.inits("web").into_iter().all(processes::lives), "web has ended with the daemon");
    the_box.start_daemon();
    the_box.quiet();
    the_box.delete("web");
    the_box.assert_nothing_left();
}
