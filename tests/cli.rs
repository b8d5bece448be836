//! The built command against a bus in this process and a daemon that only pretends.

use cloudbox::api::BusObject;
use cloudbox::daemon::objects;
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use openwrt_ubus::broker::{Broker, ClientId, Credentials};
use openwrt_ubus::client::Client;
use openwrt_ubus::{to_fields, Event, Fields, ObjectId, Request, Status};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// How often the threads look whether they are to end.
const TICK: Duration = Duration::from_millis(10);

// ---- The bus ---------------------------------------------------------------------------------------------------

/// A thread that runs until it is dropped.
struct Running {
    stop: Arc<AtomicBool>,
    /// What tests wait for: the clients of the bus, or the calls that wait for a job of the daemon.
    count: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(run: impl FnOnce(&AtomicBool, &AtomicU32) + Send + 'static) -> Running {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, counter) = (stop.clone(), count.clone());
        Running { stop, count, thread: Some(thread::spawn(move || run(&stopped, &counter))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.map(Result::unwrap);
        }
    }
}

fn start_bus(socket: &Path) -> Running {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    Running::start(move |stop, clients| serve_bus(&listener, stop, clients))
}

fn serve_bus(listener: &UnixListener, stop: &AtomicBool, connected: &AtomicU32) {
    let mut broker = Broker::new(7);
    let mut streams: BTreeMap<ClientId, UnixStream> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(streams.values().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, TICK.as_millis() as u16);
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            streams.insert(broker.connect(Credentials::root()), stream);
        }
        let clients: Vec<ClientId> = streams.keys().copied().collect();
        for client in clients {
            let mut buffer = [0; 64 << 10];
            let alive = match streams.get_mut(&client).unwrap().read(&mut buffer) {
                Ok(0) => false,
                Ok(n) => broker.handle_input(client, &buffer[..n]).is_ok(),
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            if !alive {
                streams.remove(&client);
                broker.disconnect(client);
            }
        }
        let talkative: Vec<ClientId> = broker.talkative().collect();
        for client in talkative {
            let stream = streams.get_mut(&client).unwrap();
            let sent = stream.write(broker.transmit(client)).unwrap_or(0);
            broker.consumed(client, sent);
        }
        connected.store(streams.len() as u32, Ordering::Relaxed);
    }
}

// ---- The daemon ------------------------------------------------------------------------------------------------

/// A job that does nothing and ends at its time.
#[derive(Clone)]
struct Job {
    id: u32,
    kind: &'static str,
    target: String,
    /// Never, for a target called `slow`.
    ends: Option<Instant>,
}

impl Job {
    fn json(&self) -> Value {
        let ended = self.ends.is_some_and(|ends| ends <= Instant::now());
        let mut job = json!({
            "id": self.id.to_string(), "kind": self.kind, "target": self.target, "state": "running",
            "step": "mount", "percent": 25, "bytes": 12 << 20, "total": 48 << 20, "started": 1000,
        });
        if ended {
            job["state"] = json!("done");
            job["finished"] = json!(1001);
            let error = match self.target.as_str() {
                "bad" => Some(json!({"code": "failed", "message": "the disk\u{1b}[2J is broken"})),
                "late" => Some(json!({"code": "timeout", "message": "late did not stop in 30 s"})),
                _ => None,
            };
            if let Some(error) = error {
                job["state"] = json!("failed");
                job["error"] = error;
            }
        }
        job
    }
}

struct Waiter {
    request: Request,
    job: u32,
    until: Instant,
}

struct Fake {
    client: Client,
    objects: BTreeMap<ObjectId, BusObject>,
    jobs: Vec<Job>,
    waiters: Vec<Waiter>,
}

/// Starts it, and returns when it is on the bus. It knows `jobs` from an earlier life.
fn start_daemon(socket: &Path, jobs: Vec<Job>) -> Running {
    let mut client = Client::connect(socket).unwrap();
    let mut objects = BTreeMap::new();
    for (object, published) in self::objects() {
        objects.insert(client.connection().add_object(published), object);
    }
    for _ in BusObject::ALL {
        while !matches!(client.next_event(None).unwrap(), Some(Event::Published { .. })) {}
    }
    let fake = Fake { client, objects, jobs, waiters: Vec::new() };
    Running::start(move |stop, followed| fake.run(stop, followed))
}

impl Fake {
    fn run(mut self, stop: &AtomicBool, followed: &AtomicU32) {
        while !stop.load(Ordering::Relaxed) {
            match self.client.next_event(Some(Instant::now() + TICK)) {
                Ok(Some(Event::Call { object, method, arguments, request, .. })) => {
                    let face = self.objects[&object];
                    let arguments = serde_json::to_value(Fields::new(&arguments)).unwrap();
                    if (face, method.as_str()) == (BusObject::Job, "wait") {
                        followed.fetch_add(1, Ordering::Relaxed);
                    }
                    self.call(face, &method, &arguments, request);
                }
                Ok(_) => {}
                // The bus has ended; a real one would connect again.
                Err(_) => return,
            }
            self.tick();
        }
    }

    fn call(&mut self, face: BusObject, method: &str, arguments: &Value, request: Request) {
        let name = arguments["name"].as_str().unwrap_or_default();
        let refused = |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
        let (reply, status) = match (face, method) {
            (BusObject::Container, "list") => (containers(), Status::OK),
            (BusObject::Container, "info") if name == "many" => {
                (json!({"name": name, "state": "running", "note": "x".repeat(200_000)}), Status::OK)
            }
            (BusObject::Container, "info") => {
                let state = if name == "db" { "stopped" } else { "running" };
                (json!({"name": name, "state": state, "lxcpath": "/nowhere"}), Status::OK)
            }
            (_, "create" | "delete" | "start" | "stop" | "import") if name == "dup" => {
                (refused("exists", "a container named dup already exists"), Status::UNKNOWN_ERROR)
            }
            (BusObject::Container, "exec") if name == "hung" => {
                (refused("timeout", "it did not end in 10 s"), Status::TIMEOUT)
            }
            (BusObject::Container, "exec") => {
                let words = arguments["command"].to_string();
                let reply = json!({"code": 7, "stdout": format!("{words}\n"), "stderr": "\u{1b}[31mno\n"});
                (reply, Status::OK)
            }
            (BusObject::Container, "create") => (self.begin("create", name), Status::OK),
            (BusObject::Container, "delete") => (self.begin("delete", name), Status::OK),
            (BusObject::Container, "start") => (self.begin("start", name), Status::OK),
            (BusObject::Container, "stop") => (self.begin("stop", name), Status::OK),
            (BusObject::Image, "import") => (self.begin("image_import", name), Status::OK),
            (BusObject::Job, "wait") => {
                let id = arguments["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
                if self.jobs.iter().all(|job| job.id != id) {
                    (refused("not_found", "there is no such job"), Status::NOT_FOUND)
                } else {
                    let seconds = arguments["timeout"].as_u64().unwrap();
                    assert!(seconds <= 15);
                    let until = Instant::now() + Duration::from_secs(seconds);
                    self.waiters.push(Waiter { request, job: id, until });
                    return;
                }
            }
            (BusObject::Box, "doctor") => {
                let check =
                    json!({"name": "lxc", "state": "error", "message": "none", "remedy": "install lxc"});
                (json!({"state": "error", "checks": [check]}), Status::OK)
            }
            _ => (json!({"big": 9_007_199_254_740_993_i64, "arguments": arguments}), Status::OK),
        };
        let connection = self.client.connection();
        connection.reply(&request, &to_fields(&reply).unwrap()).unwrap();
        connection.complete(request, status);
        self.client.flush().unwrap();
    }

    fn begin(&mut self, kind: &'static str, target: &str) -> Value {
        let id = 17 + self.jobs.len() as u32;
        let ends = (target != "slow").then(|| Instant::now() + Duration::from_millis(300));
        self.jobs.push(Job { id, kind, target: target.to_string(), ends });
        json!({ "job": id.to_string() })
    }

    /// Answers who has waited long enough, and tells everybody how far the jobs are.
    fn tick(&mut self) {
        let now = Instant::now();
        for waiter in std::mem::take(&mut self.waiters) {
            let job = self.jobs.iter().find(|job| job.id == waiter.job).unwrap();
            if waiter.until <= now || job.ends.is_some_and(|ends| ends <= now) {
                let reply = to_fields(&job.json()).unwrap();
                let connection = self.client.connection();
                connection.reply(&waiter.request, &reply).unwrap();
                connection.complete(waiter.request, Status::OK);
            } else {
                self.waiters.push(waiter);
            }
        }
        let object = *self.objects.iter().find(|(_, face)| **face == BusObject::Job).unwrap().0;
        for job in &self.jobs {
            let progress = to_fields(&job.json()).unwrap();
            let _ = self.client.connection().notify(object, "job.progress", &progress);
        }
        let event = to_fields(&json!({"name": "web", "text": "a\u{1b}b"})).unwrap();
        let _ = self.client.connection().send_event("container.started", &event);
        let _ = self.client.connection().send_event("network.interface", &event);
        self.client.flush().ok();
    }
}

fn containers() -> Value {
    json!({"containers": [
        {"name": "db", "state": "stopped", "image": "distro", "addresses": [], "memory_limit": 536_870_912,
         "autostart": false},
        {"name": "web", "state": "running", "image": "distro", "addresses": ["10.0.0.2"], "memory": 24_537_907,
         "memory_limit": 268_435_456, "pids": 14, "autostart": true},
    ]})
}

// ---- The command -----------------------------------------------------------------------------------------------

struct World {
    directory: PathBuf,
    daemon: Option<Running>,
    bus: Option<Running>,
}

impl World {
    /// Without a bus.
    fn empty() -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cloudbox-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        World { directory, daemon: None, bus: None }
    }

    fn with_bus() -> World {
        let mut world = World::empty();
        world.bus = Some(start_bus(&world.socket()));
        world
    }

    fn with_daemon() -> World {
        let mut world = World::with_bus();
        world.daemon = Some(start_daemon(&world.socket(), Vec::new()));
        world
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
        command.args(words).env("UBUS_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::from(self.command(words).output().unwrap())
    }

    /// Runs it in the background; its output is read at its end.
    fn spawn(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.daemon.take();
        self.bus.take();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// How a command has ended.
#[derive(Debug, PartialEq)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn ran(code: i32, out: &str, err: &str) -> Ran {
    Ran { code, out: out.to_string(), err: err.to_string() }
}

fn ended(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

/// Waits until the bus has as many clients, or the daemon has been called as often for a job's end.
fn counts(running: &Option<Running>, wanted: u32) {
    let count = &running.as_ref().unwrap().count;
    let deadline = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) != wanted {
        assert!(Instant::now() < deadline, "{} and not {wanted}", count.load(Ordering::Relaxed));
        thread::sleep(TICK);
    }
}

// ---- What it must do -------------------------------------------------------------------------------------------

#[test]
fn without_a_bus_or_a_daemon_it_says_what_to_do() {
    let world = World::empty();
    let without_bus = world.run(&["list"]);
    assert_eq!(without_bus.code, 3);
    assert!(
        without_bus.err.contains("/socket: No such file or directory; is ubusd running?"),
        "{without_bus:?}"
    );
    for words in [&["create", "web"][..], &["job", "wait", "17"], &["events"], &["exec", "web", "ls"]] {
        assert_eq!(world.run(words).code, 3, "{words:?}");
    }

    let world = World::with_bus();
    for words in [&["list"][..], &["create", "web"], &["job", "wait", "17"], &["call", "cloudbox", "status"]]
    {
        let without_daemon = world.run(words);
        assert_eq!(without_daemon.code, 3, "{words:?}");
        assert!(without_daemon.err.contains("/etc/init.d/cloudbox start"), "{without_daemon:?}");
        assert_eq!(without_daemon.out, "");
    }
    assert_eq!(world.run(&["call", "nobody", "there"]).code, 1);
}

#[test]
fn doctor_needs_neither_a_bus_nor_a_daemon() {
    for (world, why) in [
        (World::empty(), "/socket: No such file or directory"),
        (World::with_bus(), "the cloudbox daemon is not on the bus"),
    ] {
        let here = world.directory.join("config");
        std::fs::create_dir(&here).unwrap();
        std::fs::write(here.join("cloudbox"), "config cloudbox 'main'\n\toption memory 'much'\n").unwrap();
        let run = |words: &[&str]| {
            let mut command = world.command(words);
            command
                .env("CLOUDBOX_CONFIG_DIR", &here)
                .env("CLOUDBOX_STORAGE", world.directory.join("storage"));
            Ran::from(command.env("CLOUDBOX_RUN_DIR", world.directory.join("run")).output().unwrap())
        };
        let examined = run(&["doctor"]);
        assert_eq!((examined.code, examined.err.as_str()), (1, ""), "{examined:?}");
        let first = examined.out.lines().next().unwrap();
        assert!(first.starts_with("FAIL  daemon") && first.contains(why), "{first}");
        assert!(examined.out.contains("section 'main', option 'memory'"), "{examined:?}");
        let json: Value = serde_json::from_str(&run(&["doctor", "--json"]).out).unwrap();
        assert_eq!((&json["state"], &json["checks"][0]["name"]), (&json!("error"), &json!("daemon")));
        let secure = run(&["doctor", "--security"]);
        assert_eq!((secure.code, secure.err.as_str()), (1, ""), "{secure:?}");
        for name in ["daemon", "user ids", "seccomp", "isolation", "owner's files", "containers"] {
            let line =
                secure.out.lines().find(|line| line.get(6..).is_some_and(|line| line.starts_with(name)));
            assert!(line.is_some(), "{name}: {}", secure.out);
        }
        assert!(!world.directory.join("storage").exists());
    }
}

#[test]
fn wrong_usage_needs_no_bus() {
    let world = World::empty();
    assert_eq!(
        world.run(&["lsit"]),
        ran(2, "", "cloudbox: there is no command `lsit`; did you mean `cloudbox list`?\n")
    );
    assert_eq!(world.run(&["stop", "web", "--timeout", "soon"]).code, 2);
    assert_eq!(world.run(&["call", "a", "b", "[1]"]).code, 2);
    assert_eq!(world.run(&["image"]).code, 2);
    let nowhere = world.run(&["export", "web", "-"]);
    assert!(nowhere.code == 2 && nowhere.err.contains("not to standard output"), "{nowhere:?}");
    assert_eq!(world.run(&["help", "lsit"]).code, 2);
    let bare = world.run(&[]);
    assert_eq!((bare.code, bare.out.as_str()), (2, ""));
    assert!(bare.err.contains("Usage: cloudbox"), "{bare:?}");
    for words in [&["help"][..], &["help", "image", "import"], &["create", "-h"], &["-V"], &["version"]] {
        let good = world.run(words);
        assert!(good.code == 0 && good.err.is_empty() && !good.out.is_empty(), "{words:?} {good:?}");
    }
}

#[test]
fn replies_are_shown_as_tables_and_as_json() {
    let world = World::with_daemon();
    let table = "\
NAME  STATE    ADDRESS   CPU  MEMORY      PIDS  DISK  UP  IMAGE
db    stopped  -           -  -/512M         -  -     -   distro
web   running  10.0.0.2    -  23.4M/256M    14  -     -   distro
";
    assert_eq!(world.run(&["list"]), ran(0, table, ""));
    assert_eq!(world.run(&["list", "--names"]), ran(0, "db\nweb\n", ""));
    let json = world.run(&["list", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap(), containers());
    let doctor = "FAIL  lxc  none\n           install lxc\n";
    assert_eq!(world.run(&["doctor"]), ran(1, doctor, ""));
    assert_eq!(world.run(&["doctor", "--json"]).code, 1);
}

#[test]
fn a_reader_who_has_seen_enough_is_no_trouble() {
    let world = World::with_daemon();
    let mut child = world.spawn(&["info", "--json", "many"]);
    drop(child.stdout.take());
    assert_eq!(ended(child), ran(0, "", ""));
}

#[test]
fn any_method_can_be_called() {
    let world = World::with_daemon();
    let reply = "{\n  \"arguments\": {\n    \"a\": -1,\n    \"b\": [\n      true\n    ]\n  },\n  \"big\": 9007199254740993\n}\n";
    assert_eq!(world.run(&["call", "cloudbox", "reload", r#"{"a":-1,"b":[true]}"#]), ran(0, reply, ""));
    let failed = world.run(&["call", "cloudbox.container", "start", r#"{"name":"dup"}"#]);
    assert_eq!((failed.code, failed.err.as_str()), (1, "cloudbox: a container named dup already exists\n"));
    assert!(failed.out.contains("\"code\": \"exists\""), "{failed:?}");
    assert_eq!(world.run(&["call", "cloudbox", "nonsense"]).code, 1);
}

#[test]
fn exec_is_the_program_it_runs() {
    let world = World::with_daemon();
    let words = ["exec", "web", "--", "ls", "--json", "-l"];
    assert_eq!(world.run(&words), ran(7, "[\"ls\",\"--json\",\"-l\"]\n", "\u{1b}[31mno\n"));
    assert_eq!(world.run(&["exec", "--json", "web", "ls"]).code, 7);
    assert_eq!(world.run(&["exec", "hung", "ls"]), ran(124, "", "cloudbox: it did not end in 10 s\n"));
}

#[test]
fn a_job_is_followed_to_its_end() {
    let world = World::with_daemon();
    assert_eq!(world.run(&["create", "web"]), ran(0, "", ""));
    let tar = std::env::temp_dir().join(format!("cloudbox-cli-{}.tar", std::process::id()));
    std::fs::write(&tar, "").unwrap();
    assert_eq!(world.run(&["image", "import", tar.to_str().unwrap()]), ran(0, "", ""));
    std::fs::remove_file(&tar).unwrap();
    let json = world.run(&["start", "web", "--json"]);
    let job: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &job["state"], &job["id"]), (0, &json!("done"), &json!("19")));
    assert_eq!(world.run(&["create", "slow", "--no-wait"]), ran(0, "20\n", ""));
    assert_eq!(
        world.run(&["delete", "slow", "--no-wait", "--json"]),
        ran(0, "{\n  \"job\": \"21\"\n}\n", "")
    );
    assert_eq!(world.run(&["job", "wait", "17", "19"]), ran(0, "", ""));
    assert_eq!(world.run(&["job", "wait", "99"]), ran(1, "", "cloudbox: there is no such job\n"));
}

#[test]
fn what_fails_is_told_and_the_others_go_on() {
    let world = World::with_daemon();
    let exists = "cloudbox: a container named dup already exists\n";
    assert_eq!(world.run(&["create", "dup"]), ran(1, "", exists));
    let json = world.run(&["create", "dup", "--json"]);
    assert!(json.out.contains("\"code\": \"exists\"") && json.err == exists, "{json:?}");
    assert_eq!(world.run(&["start", "bad"]), ran(1, "", "cloudbox: the disk\\u{1b}[2J is broken\n"));
    assert_eq!(world.run(&["stop", "late"]), ran(124, "", "cloudbox: late did not stop in 30 s\n"));
    let begun = Instant::now();
    let several = world.run(&["start", "dup", "bad", "web", "db"]);
    assert_eq!(several, ran(1, "", &format!("{exists}cloudbox: bad: the disk\\u{{1b}}[2J is broken\n")));
    assert!(begun.elapsed() < Duration::from_millis(800), "they were not followed at the same time");
}

#[test]
fn ctrl_c_leaves_the_job_running_and_says_so() {
    let world = World::with_daemon();
    let child = world.spawn(&["create", "slow"]);
    counts(&world.daemon, 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let told = "cloudbox: job 17 goes on; `cloudbox job wait 17` follows, `cloudbox job cancel 17` ends it\n";
    assert_eq!(ended(child), ran(130, "", told));
}

#[test]
fn patience_ends() {
    let world = World::with_daemon();
    world.run(&["create", "slow", "--no-wait"]);
    let begun = Instant::now();
    let waited = world.run(&["job", "wait", "17", "--timeout", "1"]);
    assert_eq!(waited.code, 124);
    assert!(waited.err.starts_with("cloudbox: the time is up; job 17 goes on"), "{waited:?}");
    assert!((900..2500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn a_daemon_that_is_restarted_is_waited_for() {
    let mut world = World::with_daemon();
    let child = world.spawn(&["start", "slow"]);
    counts(&world.daemon, 1);
    world.daemon.take();
    // The command is told that the daemon has gone.
    counts(&world.bus, 1);
    let job = Job { id: 17, kind: "start", target: "slow".into(), ends: Some(Instant::now()) };
    world.daemon = Some(start_daemon(&world.socket(), vec![job]));
    let begun = Instant::now();
    assert_eq!(ended(child), ran(0, "", ""));
    assert!(begun.elapsed() < Duration::from_secs(2), "the slice of waiting was not given up");
}

#[test]
fn a_ubusd_that_is_restarted_is_waited_for() {
    let mut world = World::with_daemon();
    let child = world.spawn(&["start", "slow"]);
    counts(&world.daemon, 1);
    world.bus.take();
    world.daemon.take();
    world.bus = Some(start_bus(&world.socket()));
    // The command is back before the daemon is.
    counts(&world.bus, 1);
    let job = Job { id: 17, kind: "start", target: "slow".into(), ends: Some(Instant::now()) };
    world.daemon = Some(start_daemon(&world.socket(), vec![job]));
    assert_eq!(ended(child), ran(0, "", ""));
}

#[test]
fn events_are_lines() {
    let world = World::with_daemon();
    for (words, expected) in [
        (&["events"][..], "container.started name=web text=a\\u{1b}b"),
        (&["events", "--json"], r#"{"container.started":{"name":"web","text":"a\u001bb"}}"#),
    ] {
        let mut child = world.spawn(words);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.take(3) {
            assert_eq!(line.unwrap(), expected);
        }
        let _ = child.kill();
        assert_eq!(ended(child).err, "");
    }
}

#[test]
fn a_console_needs_root_a_running_container_and_lxc() {
    let world = World::with_daemon();
    if !nix::unistd::geteuid().is_root() {
        let refused = world.run(&["console", "web"]);
        assert!(refused.code == 1 && refused.err.contains("root"), "{refused:?}");
        return;
    }
    let stopped = "cloudbox: db is not running (stopped); `cloudbox start db` starts it\n";
    assert_eq!(world.run(&["console", "db"]), ran(1, "", stopped));
    let missing =
        Ran::from(world.command(&["console", "web"]).env("PATH", &world.directory).output().unwrap());
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("q leaves it\ncloudbox: lxc-console is missing"), "{missing:?}");

    let tool = world.directory.join("lxc-console");
    std::fs::write(&tool, "#!/bin/sh\nprintf '%s\\n' \"$*\"\nexit 5\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).unwrap();
    let entered =
        Ran::from(world.command(&["console", "web"]).env("PATH", &world.directory).output().unwrap());
    assert_eq!((entered.code, entered.out.as_str()), (5, "-n web -P /nowhere -t 0\n"));
}

#[test]
fn a_terminal_sees_how_far_a_job_is() {
    // util-linux's `script` gives the command a terminal.
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `script` here");
        return;
    }
    let world = World::with_daemon();
    let line = format!("{} create web", env!("CARGO_BIN_EXE_cloudbox"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("UBUS_SOCKET", world.socket()).env("TERM", "xterm");
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    let begun = Instant::now();
    let seen = Ran::from(command.output().unwrap());
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(seen.code, 0);
    assert!(
        seen.out.starts_with("\r\x1b[Kcreating web: mount 25% 12M/48M\r\x1b[K\x1b[32mweb is running (0."),
        "{seen:?}"
    );
}
