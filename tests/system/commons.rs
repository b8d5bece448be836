//! A slice on a real box: its owner at another computer, a real broker between them, and the process of the commons with no
//! more rights than its user has.

use crate::processes::wakings;
use crate::processes::{output, Process};
use crate::rights::{anna, made_to_host, UID};
use crate::server::{program as broker_program, Kind, Server};
use crate::test_box::{eventually, program, Image, TestBox};
use cloudbox::commons::id::Id;
use cloudbox::usign::{Number, SecretKey};
use nix::unistd::chown;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The process of a box, and Anna's desk elsewhere.
struct Commons {
    the_box: TestBox,
    process: Option<Process>,
    directory: PathBuf,
    /// How many times as fast the core's clock runs.
    speed: u32,
    /// Whether NTP has answered.
    ntp: bool,
}

/// Sections for these brokers.
fn sections(brokers: &[&Server]) -> String {
    let section = |(at, broker): (usize, &&Server)| {
        let (host, port) = (broker.address.ip(), broker.address.port());
        format!("config broker 'b{at}'\n\toption host '{host}'\n\toption port '{port}'\n")
    };
    brokers.iter().enumerate().map(section).collect()
}

impl Commons {
    /// On a box that hosts Anna. Her desk knows the same brokers.
    fn new(the_box: TestBox, brokers: &[&Server], speed: u32) -> Commons {
        let the_box = made_to_host(the_box, false, |bridge| {
            format!(
                "config commons 'commons'\n\toption enabled '1'\n\toption bridge '{bridge}'\n\
                 config peer 'anna'\n\toption key '{}'\n\toption memory '200M'\n\toption disk '1G'\n\tlist images 'any'\n{}",
                anna().0,
                sections(brokers)
            )
        });
        let directory = the_box.dir.join("commons");
        fs::create_dir_all(&directory).unwrap();
        chown(&directory, Some(UID.into()), Some(UID.into())).unwrap();
        let desk = the_box.dir.join("desk/cloudbox");
        fs::create_dir_all(&desk).unwrap();
        let key = SecretKey::new([7; 32], Number::new([7; 8]));
        fs::write(desk.join("me.sec"), key.to_text()).unwrap();
        let text = format!("config commons 'commons'\n\toption network 'guifi'\n{}", sections(brokers));
        fs::write(desk.join("commons"), text).unwrap();
        let mut commons = Commons { the_box, process: None, directory, speed, ntp: true };
        commons.start();
        commons
    }

    fn start(&mut self) {
        let log =
            fs::File::options().create(true).append(true).open(self.the_box.dir.join("commons.log")).unwrap();
        let mut command = Command::new(program());
        command.args(["commons", "run", "--foreground", "--directory"]).arg(&self.directory);
        // The machine's clock is right, whoever set it.
        command.arg("--ntp").arg(if self.ntp { "/dev/null" } else { "/nonexistent" });
        command.env("CLOUDBOX_COMMONS_SPEED", self.speed.to_string());
        command.env("UBUS_SOCKET", self.the_box.socket()).uid(UID).gid(UID).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(Process::spawn(&mut command));
        eventually("the objects of the commons", || self.status().is_some());
    }

    fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(nix::libc::SIGTERM);
        assert!(process.wait().success(), "its end was no good one: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.the_box.dir.join("commons.log")).unwrap_or_default()
    }

    fn id(&self) -> String {
        self.status().unwrap()["box"].as_str().unwrap_or_default().to_string()
    }

    fn status(&self) -> Option<Value> {
        self.the_box.call("cloudbox.commons", "status", json!({})).ok()
    }

    /// Runs `cloudbox` at Anna's desk: its exit code, and all it says.
    fn anna(&self, words: &[&str]) -> (i32, String) {
        self.at("desk", "nowhere", words)
    }

    /// The same as the box's owner.
    fn owner(&self, words: &[&str]) -> (i32, String) {
        self.at("nowhere", "etc", words)
    }

    /// Runs it with what lies in these two directories.
    fn at(&self, desk: &str, etc: &str, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(program());
        command
            .args(words)
            .current_dir(&self.the_box.dir)
            .env("XDG_CONFIG_HOME", self.the_box.dir.join(desk));
        command
            .env("CLOUDBOX_CONFIG_DIR", self.the_box.dir.join(etc))
            .env("UBUS_SOCKET", self.the_box.socket());
        let output = output(&mut command);
        let text = [&output.stdout[..], &output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// A slice of one, with these options behind the usual ones: of two that are the same the last counts.
    fn write_slice(&self, options: &str) {
        let image = Sha256::digest(fs::read(Image::Mini.path()).unwrap());
        let image: String = image.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption count '1'\n\toption image 'mini'\n\
             \tlist sha256 'x86_64={image}'\n\toption memory '48M'\n\toption disk '128M'\n\toption spares '0'\n{options}"
        );
        fs::write(self.the_box.dir.join("wiki.slice"), text).unwrap();
    }

    /// The containers of slices, with their states.
    fn members(&self) -> Vec<(String, String)> {
        let list = self.the_box.container_call("list", json!({}));
        let members = list["containers"].as_array().unwrap().iter();
        let members =
            members.filter(|entry| entry["slice"].as_str().is_some_and(|slice| slice.contains('/')));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        members.map(|entry| (text(&entry["name"]), text(&entry["state"]))).collect()
    }

    fn wait_for(&self, state: &str) -> String {
        eventually(&format!("a member that is {state}"), || self.members().iter().any(|(_, is)| is == state));
        self.members().remove(0).0
    }
}

impl Drop for Commons {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the process of the commons said:\n{}", self.log());
        }
    }
}

#[test]
fn a_slice_runs_on_a_box_and_follows_its_owner() {
    let Ok(mosquitto) = broker_program(Kind::Mosquitto) else { return };
    let broker = Server::start(Kind::Mosquitto, &mosquitto, "allow_anonymous true\nmax_queued_messages 0\n");
    let Some(the_box) = TestBox::bare("commons", false) else { return };
    let mut commons = Commons::new(the_box, &[&broker], 1);

    // The box offers itself.
    eventually("an offer", || commons.anna(&["commons", "offers"]).1.contains("yes"));
    let id = commons.status().unwrap()["box"].as_str().unwrap().to_string();
    assert!(commons.anna(&["commons", "offers"]).1.contains(&id));

    // A slice of one is made there, with what only this box can open.
    fs::write(commons.the_box.dir.join("password"), "correct horse").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(commons.the_box.dir.join("password"), mode).unwrap();
    commons.write_slice("\tlist secret 'db=./password'\n");
    let begun = Instant::now();
    let (code, told) = commons.anna(&["slice", "apply", "wiki.slice", "--any"]);
    assert_eq!(code, 0, "{told}");
    let name = commons.wait_for("running");
    eventually("a ready slice", || commons.anna(&["slice", "status", "wiki"]).0 == 0);
    println!("from apply to ready as its owner sees it: {} ms", begun.elapsed().as_millis());
    assert!(name.starts_with("wiki-web-"), "{name}");
    let info = commons.the_box.container_call("info", json!({ "name": name }));
    assert_eq!(info["slice"], format!("{}/wiki/web", anna().1));
    assert_eq!((&info["network"], &info["autostart"]), (&json!(commons.the_box.bridge), &json!(false)));
    let secret = format!("{}/var/lib/cloudbox/secrets/db", info["rootfs"].as_str().unwrap());
    assert_eq!(fs::read_to_string(secret).unwrap(), "correct horse");
    assert!(!commons.log().contains("correct horse"));

    // The process ends, and begins again: what runs goes on, and is known.
    let pid = info["pid"].clone();
    let session = commons.status().unwrap()["session"].as_u64().unwrap();
    commons.stop();
    assert_eq!(commons.members(), [(name.clone(), "running".to_string())]);
    commons.start();
    assert_eq!(commons.status().unwrap()["session"].as_u64().unwrap(), session + 1);
    assert_eq!(commons.status().unwrap()["box"], id.as_str());
    eventually("the slice is known again", || commons.status().unwrap()["ready"] == 1);
    assert_eq!(commons.the_box.container_call("info", json!({ "name": name }))["pid"], pid);

    // Nothing wakes it but a ping now and then.
    let process = commons.process.as_ref().unwrap().pid();
    let woken = wakings(process, Duration::from_secs(20));
    let memory = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let memory = memory.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default().to_string();
    println!("at rest it ran {woken} times in 20 s; {memory}");
    assert!(woken <= 20, "{woken}: {}", commons.log());

    // Limits change while it runs; stopped and started by its owner; deleted.
    commons.write_slice("\toption memory '64M'\n");
    assert_eq!(commons.anna(&["slice", "apply", "wiki.slice", "--any"]).0, 0);
    let memory =
        || commons.the_box.container_call("info", json!({ "name": name }))["asked"]["memory"].clone();
    eventually("more memory", || memory() == 64 << 20);
    assert_eq!(commons.the_box.container_call("info", json!({ "name": name }))["pid"], pid);
    assert_eq!(commons.anna(&["slice", "stop", "wiki"]).0, 0);
    commons.wait_for("stopped");
    assert_eq!(commons.anna(&["slice", "start", "wiki"]).0, 0);
    commons.wait_for("running");
    let (code, told) = commons.anna(&["slice", "delete", "wiki"]);
    assert_eq!(code, 0, "{told}");
    commons.wait_for("stopped");
    let (_, status) = commons.anna(&["slice", "status", "wiki"]);
    assert!(status.contains(", deleted"), "{status}");
    commons.stop();
}

/// A box that was switched off comes back where nobody is to be heard, and where its clock was never set: what ran there runs
/// again.
#[cfg(feature = "faults")]
#[test]
fn what_ran_runs_again_after_a_reboot_without_any_broker() {
    let Ok(mosquitto) = broker_program(Kind::Mosquitto) else { return };
    let mut broker =
        Server::start(Kind::Mosquitto, &mosquitto, "allow_anonymous true\nmax_queued_messages 0\n");
    let Some(the_box) = TestBox::bare("commons after a reboot", false) else { return };
    let mut commons = Commons::new(the_box, &[&broker], 30);
    eventually("an offer", || commons.anna(&["commons", "offers"]).1.contains(" yes"));
    commons.write_slice("");
    let (code, told) = commons.anna(&["slice", "apply", "wiki.slice", "--any"]);
    assert_eq!(code, 0, "{told}");
    let name = commons.wait_for("running");
    eventually("a ready slice", || commons.anna(&["slice", "status", "wiki"]).0 == 0);

    broker.stop(nix::sys::signal::Signal::SIGKILL);
    drop(commons.process.take());
    commons.the_box.container_call("stop", json!({ "name": name, "timeout": 1 }));
    commons.wait_for("stopped");
    commons.the_box.stop_daemon();
    // As a boot leaves it: what was noted for this run is gone.
    let _ = fs::remove_dir_all(&commons.the_box.layout.run);
    fs::create_dir_all(&commons.the_box.layout.run).unwrap();
    commons.the_box.start_daemon();
    commons.ntp = false;
    let begun = Instant::now();
    commons.start();
    assert_eq!(commons.wait_for("running"), name);
    println!("it runs again after {} s, of 60 at the usual speed", begun.elapsed().as_secs() * 30);
    let status = commons.status().unwrap();
    assert_eq!((&status["connected"], &status["ready"]), (&json!(0), &json!(1)));
}

/// Three boxes and two brokers: what one box loses another makes up for, and what one broker loses the other has. The core's
/// clock runs faster, since it waits for a quarter of an hour before it gives a box up.
#[cfg(feature = "faults")]
#[test]
fn a_spare_takes_the_place_of_a_box_that_is_lost() {
    let Ok(mosquitto) = broker_program(Kind::Mosquitto) else { return };
    let start =
        || Server::start(Kind::Mosquitto, &mosquitto, "allow_anonymous true\nmax_queued_messages 0\n");
    let _turn = crate::test_box::alone();
    let (mut a, b) = (start(), start());
    let mut boxes = Vec::new();
    for number in 1..=3 {
        let Some(the_box) = TestBox::bare_beside("commons of three") else { return };
        boxes.push(Commons::new(the_box, &[&a, &b], 30));
        println!("box {number} is {}", boxes[number - 1].id());
    }
    let say = |words: &[&str], (code, told): &(i32, String)| {
        println!("$ cloudbox {}\n{told}", words.join(" "));
        *code
    };
    let desk = |boxes: &[Commons], words: &[&str]| {
        let told = boxes[0].anna(words);
        say(words, &told)
    };
    eventually("three offers", || boxes[0].anna(&["commons", "offers"]).1.matches(" yes").count() == 3);
    desk(&boxes, &["commons", "offers"]);
    boxes[0].write_slice("\toption count '2'\n\toption spares '1'\n\toption grace '10m'\n");
    desk(&boxes, &["slice", "plan", "wiki.slice", "--any"]);
    let begun = Instant::now();
    assert_eq!(desk(&boxes, &["slice", "apply", "wiki.slice", "--any"]), 0);
    eventually("two that are ready", || boxes[0].anna(&["slice", "status", "wiki"]).0 == 0);
    println!("two are ready after {} ms", begun.elapsed().as_millis());
    let running = |boxes: &[Commons]| {
        let runs = |commons: &&Commons| commons.members().iter().any(|(_, state)| state == "running");
        boxes.iter().filter(runs).count()
    };
    eventually("the spare says so", || {
        boxes[0].anna(&["slice", "status", "wiki"]).1.contains("1 standing by")
    });
    desk(&boxes, &["slice", "status", "wiki"]);
    assert_eq!(running(&boxes), 2);

    // One that runs it is switched off, without a word. Its desk, if it is the first, goes with it: another one is taken.
    let lost = boxes.iter().rposition(|commons| !commons.members().is_empty()).unwrap();
    let begun = Instant::now();
    println!("box {} is switched off", boxes[lost].id());
    drop(boxes.remove(lost));
    eventually("the spare in its place", || running(&boxes) == 2);
    println!("the spare runs after {} s, of 600 at the usual speed", begun.elapsed().as_secs());
    eventually("two that are ready again", || {
        boxes[0].anna(&["slice", "status", "wiki"]).1.contains("ready")
    });
    desk(&boxes, &["slice", "status", "wiki"]);

    // With one broker left it is deleted all the same.
    println!("one of the two brokers is killed");
    a.stop(nix::sys::signal::Signal::SIGKILL);
    // The desk of another box has signed nothing yet.
    desk(&boxes, &["slice", "delete", "wiki", "--over"]);
    eventually("nothing that runs", || running(&boxes) == 0);
    desk(&boxes, &["slice", "list"]);
}

/// The box's daemon is killed in the middle of making a member, and begins again.
#[test]
fn a_daemon_that_dies_is_found_again() {
    let Ok(mosquitto) = broker_program(Kind::Mosquitto) else { return };
    let broker = Server::start(Kind::Mosquitto, &mosquitto, "allow_anonymous true\nmax_queued_messages 0\n");
    let Some(the_box) = TestBox::bare("commons without a daemon", false) else { return };
    let mut commons = Commons::new(the_box, &[&broker], 1);
    eventually("an offer", || commons.anna(&["commons", "offers"]).1.contains(" yes"));
    commons.write_slice("");
    let (code, told) = commons.anna(&["slice", "apply", "wiki.slice", "--any"]);
    assert_eq!(code, 0, "{told}");
    eventually("a member that is begun", || !commons.members().is_empty());
    commons.the_box.kill_daemon();
    commons.the_box.start_daemon();
    commons.wait_for("running");
    eventually("a ready slice", || commons.anna(&["slice", "status", "wiki"]).0 == 0);
    // And once more, while nothing is under way.
    commons.the_box.kill_daemon();
    commons.the_box.start_daemon();
    commons.write_slice("\toption memory '56M'\n");
    assert_eq!(commons.anna(&["slice", "apply", "wiki.slice", "--any"]).0, 0);
    let name = commons.members().remove(0).0;
    let memory =
        || commons.the_box.container_call("info", json!({ "name": name }))["asked"]["memory"].clone();
    eventually("more memory", || memory() == 56 << 20);
}

/// Somebody asks to be hosted, and the box's owner answers.
#[test]
fn who_asks_is_answered() {
    let Ok(mosquitto) = broker_program(Kind::Mosquitto) else { return };
    let broker = Server::start(Kind::Mosquitto, &mosquitto, "allow_anonymous true\nmax_queued_messages 0\n");
    let Some(the_box) = TestBox::bare("commons asked", false) else { return };
    let commons = Commons::new(the_box, &[&broker], 1);
    eventually("an offer", || commons.anna(&["commons", "offers"]).1.contains(" yes"));
    let mut ids = Vec::new();
    for (name, seed) in [("bert", 8), ("carl", 9), ("dora", 10)] {
        let desk = commons.the_box.dir.join(name).join("cloudbox");
        fs::create_dir_all(&desk).unwrap();
        let key = SecretKey::new([seed; 32], Number::new([seed; 8]));
        ids.push(Id::of(&key.public()).to_string());
        fs::write(desk.join("me.sec"), key.to_text()).unwrap();
        fs::copy(commons.the_box.dir.join("desk/cloudbox/commons"), desk.join("commons")).unwrap();
        let ask = ["commons", "ask", &commons.id(), "--memory", "64M", "--contact", "somebody@example.org"];
        let (code, told) = commons.at(name, "nowhere", &ask);
        assert_eq!(code, 0, "{told}");
    }
    let asks = || commons.owner(&["commons", "asks"]).1;
    eventually("three who ask", || ids.iter().all(|id| asks().contains(id.as_str())));
    assert!(asks().contains("somebody@example.org") && asks().contains("64M"), "{}", asks());

    let (code, told) = commons.owner(&["commons", "answer", &ids[0], "allow", "--name", "bert"]);
    assert_eq!(code, 0, "{told}");
    eventually("a peer more", || commons.owner(&["commons", "trust"]).1.contains(&ids[0]));
    let offers = || commons.at("bert", "nowhere", &["commons", "offers"]).1;
    eventually("an offer for him", || offers().contains(" yes"));
    assert!(
        commons.the_box.config_text().contains("config peer 'bert'\n"),
        "{}",
        commons.the_box.config_text()
    );
    let (code, told) = commons.owner(&["commons", "answer", &ids[1], "refuse", "--note", "no room"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = commons.owner(&["commons", "answer", &ids[2], "never"]);
    assert_eq!(code, 0, "{told}");
    assert!(commons.the_box.config_text().contains("config deny\n"), "{}", commons.the_box.config_text());
    eventually("nobody who asks", || asks().contains("nobody asks"));
    let (code, told) = commons.owner(&["commons", "answer", &ids[1], "allow"]);
    assert!(code == 1 && told.contains("does not ask"), "{told}");
    // Nothing new, and on again.
    let state =
        |word: &str| commons.anna(&["commons", "offers", "--json"]).1.contains(&format!("\"{word}\""));
    assert_eq!(commons.owner(&["commons", "pause"]).0, 0);
    eventually("a box that takes nothing", || state("safe"));
    assert_eq!(commons.owner(&["commons", "pause", "--off"]).0, 0);
    eventually("a box that takes something", || state("production"));
    let (_, brokers) = commons.owner(&["commons", "brokers"]);
    assert!(brokers.contains("yes"), "{brokers}");
}

/// Without any broker the commons works on the box alone, so that it can be learnt without a server.
#[test]
fn without_a_broker_a_box_is_its_own() {
    let Some(the_box) = TestBox::bare("commons alone", false) else { return };
    let mut commons = Commons::new(the_box, &[], 1);
    eventually("a box that is alone", || commons.status().unwrap()["alone"] == true);
    eventually("its own offer", || commons.anna(&["commons", "offers"]).1.contains(" yes"));
    commons.write_slice("");
    let (code, told) = commons.anna(&["slice", "apply", "wiki.slice", "--any"]);
    assert_eq!(code, 0, "{told}");
    let name = commons.wait_for("running");
    eventually("a ready slice", || commons.anna(&["slice", "status", "wiki"]).0 == 0);
    let (_, list) = commons.anna(&["slice", "list"]);
    assert!(list.contains("wiki"), "{list}");
    // What the box is told by a stranger it does not take.
    let refused = commons.the_box.call("cloudbox.slice", "apply", json!({ "texts": ["x"] })).unwrap_err();
    assert_eq!(refused.code, "invalid_argument");
    // It knows what it runs after it was ended without a word.
    drop(commons.process.take());
    commons.start();
    eventually("the slice is known again", || commons.status().unwrap()["ready"] == 1);
    assert_eq!(commons.members(), [(name, "running".to_string())]);
}
