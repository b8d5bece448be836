//! From an earlier version to this one, on a box with its package: nothing that runs notices, and nothing is lost. And
//! sysupgrade's way: the kept files on a fresh root.
//!
//! The earlier version is named by CLOUDBOX_UPGRADE_FROM, the directory of its sources, and CLOUDBOX_UPGRADE_PROGRAM;
//! `make upgrade-test` sets both.

use crate::package::{package, package_of, OnBox};
use crate::processes::{self, Process};
use crate::test_box::{eventually, TestBox};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const RUNNING: u8 = 20;
/// The port of a container's that sends back what it hears.
const ECHO: u16 = 7000;

/// A container that runs, told from another of its name.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    init: i32,
    began: String,
    address: IpAddr,
}

fn running() -> Vec<String> {
    (0..RUNNING).map(|n| format!("c{n:02}")).collect()
}

fn runs(the_box: &TestBox) -> BTreeMap<String, Run> {
    let run = |name: String| {
        let init = the_box.init(&name);
        let run = Run { init, began: processes::start_time(init), address: the_box.wait_for_address(&name) };
        (name, run)
    };
    running().into_iter().map(run).collect()
}

fn ping(address: IpAddr) -> bool {
    let mut command = Command::new("ping");
    command.args(["-c", "3", "-i", "0.2", "-W", "5"]).arg(address.to_string());
    processes::output(&mut command).status.success()
}

/// Five a second, until it is told to end; [`lost`] says how it went.
fn keep_pinging(address: IpAddr) -> Process {
    let mut command = Command::new("ping");
    command.args(["-n", "-i", "0.2"]).arg(address.to_string());
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))
}

/// How many were sent before the last that was answered, and of how many of them there was no answer.
fn lost(mut pings: Process) -> (usize, usize) {
    pings.signal(nix::libc::SIGINT);
    let said: Vec<String> = BufReader::new(pings.stdout()).lines().map_while(Result::ok).collect();
    pings.wait();
    let number =
        |line: &String| -> Option<usize> { line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok() };
    let answered: BTreeSet<usize> = said.iter().filter_map(number).collect();
    let sent = answered.last().copied().unwrap_or(0);
    (sent, sent - answered.len())
}

/// A connection that lives as long as this.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn begin(address: IpAddr) -> Talk {
        let mut stream = None;
        eventually("a connection", || {
            stream = TcpStream::connect((address, ECHO)).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Talk(BufReader::new(stream))
    }

    fn say(&mut self, word: &str) {
        writeln!(self.0.get_mut(), "{word}").unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim_end(), word);
    }
}

/// Names of a container's snapshots, and when each was made.
fn snapshots(the_box: &TestBox, name: &str) -> Vec<(Value, Value)> {
    let list = the_box.container_call("snapshots", json!({ "name": name }));
    let of = |snapshot: &Value| (snapshot["name"].clone(), snapshot["created"].clone());
    list["snapshots"].as_array().unwrap().iter().map(of).collect()
}

/// What is the same before and after, but for what runs.
fn assert_all_is_there(the_box: &TestBox, snapped: &[(Value, Value)]) {
    the_box.wait_for_state("doomed", "absent");
    assert!(!the_box.container("doomed").path().exists(), "what was being deleted is there");
    assert!(!the_box.config_text().contains("doomed"), "{}", the_box.config_text());
    assert_eq!(the_box.state("lost"), "orphan");
    assert_eq!(the_box.state("idle"), "stopped");
    assert_eq!(snapshots(the_box, "c00"), snapped);
    let kept = fs::read_to_string(the_box.container("lost").upper().join("root/kept")).unwrap();
    assert_eq!(kept, "precious\n");
    let config = the_box.config_text();
    for line in ["config remote 'community'", "# A word of the owner's.", "config service 'c00_http_80'"] {
        assert!(config.contains(line), "{line}: {config}");
    }
}

#[test]
fn an_upgrade_restarts_nothing_and_loses_nothing() {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let (Some(tree), Some(program)) = (named("CLOUDBOX_UPGRADE_FROM"), named("CLOUDBOX_UPGRADE_PROGRAM"))
    else {
        println!("skipped: an upgrade: CLOUDBOX_UPGRADE_FROM is not set; `make upgrade-test` sets it");
        return;
    };
    let Some(mut on_box) = OnBox::new("an upgrade") else { return };
    let dir = on_box.the_box.dir.clone();
    let old = package_of(&tree, &program, &dir.join("old"));
    let new = package(&dir);

    // The earlier version, as its owner had it: nothing knew of the owner's file.
    fs::remove_file(on_box.path("/etc/config/cloudbox-host")).unwrap();
    on_box.opkg_install(&old, false);
    let storage = on_box.the_box.layout.storage.clone();
    fs::create_dir_all(&storage).unwrap();
    for (option, value) in [
        ("storage", storage.display().to_string()),
        ("lxcpath", "/srv/lxc".into()),
        ("bridge", on_box.the_box.bridge.clone()),
        ("image", "mini".into()),
        ("memory", "32M".into()),
        ("disk", "none".into()),
        ("memory_reserve", "64M".into()),
        ("disk_reserve", "64M".into()),
    ] {
        on_box.sh(&format!("uci set cloudbox.main.{option}={value}"));
    }
    on_box.the_box.edit_config(|text| {
        text
            + "\n# A word of the owner's.\nconfig remote 'community'\n\toption url 'https://images.invalid'\n\
                \tlist key_file '/etc/keys/community.pub'\n"
    });
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    let import = json!({ "path": dir.join("mini.squashfs"), "name": "mini" });
    on_box.the_box.whole("cloudbox.image", "import", import).unwrap();
    for (name, number) in running().iter().zip(10..) {
        // Every other one has an address of its owner's.
        let address = format!("{}/24", on_box.the_box.address(number));
        let arguments = if number % 2 == 0 { json!({ "address": address }) } else { json!({}) };
        on_box.the_box.create(name, arguments);
    }
    on_box.the_box.create("idle", json!({ "autostart": false }));
    on_box.the_box.kill("idle");
    on_box.the_box.create("lost", json!({}));
    on_box.the_box.inside("lost", "echo precious > /root/kept");
    on_box.the_box.create("doomed", json!({}));
    on_box.the_box.kill("doomed");
    let publish = json!({ "container": "c00", "type": "_http._tcp", "port": "80" });
    on_box.the_box.call("cloudbox.service", "publish", publish).unwrap();
    for called in ["before", "later"] {
        let arguments = json!({ "name": "c00", "snapshot": called });
        on_box.the_box.whole("cloudbox.container", "snapshot", arguments).unwrap();
    }
    let snapped = snapshots(&on_box.the_box, "c00");
    assert_eq!(snapped.len(), 2);
    // An orphan; and what is being deleted when the daemon ends.
    on_box.the_box.edit_config(|text| {
        let (before, section) = text.split_once("config container 'lost'\n").unwrap();
        let rest = section.find("config ").map_or("", |next| &section[next..]);
        format!("{before}{rest}")
    });
    on_box.the_box.reload();
    on_box.the_box.quiet();
    on_box.the_box.wait_for_state("lost", "orphan");
    on_box.the_box.edit_config(|text| {
        text.replace("config container 'doomed'\n", "config container 'doomed'\n\toption deleting '1'\n")
    });

    // Somebody is at work with them.
    for name in ["c00", "c01"] {
        on_box.the_box.inside(name, &format!("nc -ll -p {ECHO} -e cat > /dev/null 2>&1 &"));
    }
    let before = runs(&on_box.the_box);
    let mut talks: Vec<Talk> = ["c00", "c01"].iter().map(|name| Talk::begin(before[*name].address)).collect();
    talks.iter_mut().for_each(|talk| talk.say("before"));
    assert!(before.values().all(|run| ping(run.address)));
    let pings: Vec<Process> = before.values().map(|run| keep_pinging(run.address)).collect();

    let daemon = on_box.daemon_pid();
    on_box.opkg_install(&new, true);
    on_box.the_box.wait_for_daemon();
    on_box.the_box.quiet();
    assert_ne!(on_box.daemon_pid(), daemon, "the old daemon goes on");

    // Nothing has restarted, and nobody was cut off, now that containers send in their own name only.
    assert_eq!(runs(&on_box.the_box), before);
    talks.iter_mut().for_each(|talk| talk.say("after"));
    Talk::begin(before["c01"].address).say("anew");
    assert!(before.values().all(|run| ping(run.address)));
    for (name, pings) in before.keys().zip(pings) {
        let (sent, lost) = lost(pings);
        assert!(sent > 10 && lost == 0, "{name}: {lost} of {sent} pings had no answer");
    }
    let gateway = on_box.the_box.address(1);
    for name in running() {
        on_box.the_box.inside(&name, &format!("ping -c 1 -W 5 {gateway}"));
    }
    // An address that is not its own gets nowhere.
    let foreign = on_box.the_box.address(77);
    let says = format!("ip addr add {foreign}/24 dev eth0; ! ping -c 2 -W 1 -I {foreign} {gateway}");
    on_box.the_box.inside("c01", &format!("{says}; ip addr del {foreign}/24 dev eth0"));
    assert_all_is_there(&on_box.the_box, &snapped);

    // What reaches outside is the owner's alone now.
    let host = on_box.read("/etc/config/cloudbox-host");
    for line in [
        format!("option storage '{}'", storage.display()),
        "option lxcpath '/srv/lxc'".into(),
        "list key_dir '/etc/keys'".into(),
    ] {
        assert!(host.contains(&line), "{line}: {host}");
    }
    assert!(!on_box.the_box.config_text().contains("option storage"), "{}", on_box.the_box.config_text());
    let status = on_box.the_box.call("cloudbox", "status", json!({})).unwrap();
    assert_eq!(status["storage"], storage.display().to_string());

    // They have what is new at their next start, and doctor says so.
    let to_restart = || {
        let doctor = on_box.the_box.call("cloudbox", "doctor", json!({ "security": true })).unwrap();
        let checks = doctor["checks"].as_array().unwrap();
        let says = |check: &&Value| check["message"].as_str().unwrap().contains("filter of system calls");
        checks.iter().filter(says).count()
    };
    let filtered = fs::read_to_string("/proc/self/status").unwrap().contains("\nSeccomp:");
    assert_eq!(to_restart(), if filtered { running().len() } else { 0 });
    on_box.the_box.whole("cloudbox.container", "restart", json!({ "name": "c03" })).unwrap();
    assert_eq!(to_restart(), if filtered { running().len() - 1 } else { 0 });
    let restore = json!({ "name": "c00", "snapshot": "before", "force": true });
    on_box.the_box.whole("cloudbox.container", "restore", restore).unwrap();

    // sysupgrade: what is kept of the root is there, and the disk; the package is installed again.
    let kept = on_box.read("/lib/upgrade/keep.d/cloudbox");
    // A directory's files; this box has none there.
    let kept: Vec<&str> = kept.lines().filter(|path| !path.ends_with('/')).collect();
    drop(talks);
    on_box.init("shutdown");
    eventually("the end of the containers", || {
        running().iter().all(|name| on_box.the_box.processes(name).is_empty())
    });
    on_box.renew_root(&kept);
    assert!(!on_box.path("/usr/bin/cloudbox").exists() && !on_box.the_box.layout.run.join("lives").exists());
    on_box.opkg_install(&new, false);
    on_box.the_box.wait_for_daemon();
    assert_eq!(on_box.read("/etc/config/cloudbox-host"), host);
    for name in running() {
        on_box.the_box.wait_for_state(&name, "running");
    }
    let addresses =
        |runs: &BTreeMap<String, Run>| -> Vec<IpAddr> { runs.values().map(|run| run.address).collect() };
    let after = runs(&on_box.the_box);
    assert_eq!(addresses(&after), addresses(&before), "an address has changed");
    assert!(after.values().all(|run| ping(run.address)));
    assert_all_is_there(&on_box.the_box, &snapped);

    on_box.the_box.whole("cloudbox.container", "adopt", json!({ "name": "lost" })).unwrap();
    for name in running().into_iter().chain(["idle".into(), "lost".into()]) {
        on_box.the_box.delete(&name);
    }
    on_box.the_box.assert_nothing_left();
    on_box.init("stop");
}
