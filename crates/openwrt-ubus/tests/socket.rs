//! Over a real socket: against `ubus-broker`, and, where OpenWrt's own `ubusd` and `ubus` can be found (on the PATH, or
//! where the environment's `UBUSD` and `UBUS` say), against those too. The same tests for both, so that the broker can
//! stand in for `ubusd` everywhere else.

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use openwrt_ubus::client::{CallError, Client};
use openwrt_ubus::driver::{Backoff, Driver, Progress};
use openwrt_ubus::{from_fields, to_fields, Connection, Event, Fields, Object, Status};
use serde_json::{json, Value as Json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

// ---- The buses -------------------------------------------------------------------------------------------------

struct Bus {
    program: PathBuf,
    directory: PathBuf,
    child: Child,
}

impl Bus {
    fn start(program: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("openwrt-ubus-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let child = Self::spawn(program, &directory.join("socket"));
        Self { program: program.to_owned(), directory, child }
    }

    fn spawn(program: &Path, socket: &Path) -> Child {
        let child = Command::new(program).arg("-s").arg(socket).spawn().expect("the bus starts");
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            assert!(Instant::now() < end, "{} does not listen", program.display());
            thread::sleep(Duration::from_millis(5));
        }
        child
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.stop();
        self.child = Self::spawn(&self.program, &self.socket());
    }

    fn client(&self) -> Client {
        Client::connect(self.socket()).unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Runs a test on every bus there is.
fn on_every_bus(test: impl Fn(&mut Bus)) {
    test(&mut Bus::start(Path::new(env!("CARGO_BIN_EXE_ubus-broker"))));
    match program("UBUSD", "ubusd") {
        Some(ubusd) => test(&mut Bus::start(&ubusd)),
        None => println!("skipped in part: there is no ubusd on the PATH, nor in UBUSD"),
    }
}

// ---- A service --------------------------------------------------------------------------------------------------

/// Offers one object from a thread of its own, by the driver, and comes back after every restart of the bus.
struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[allow(dead_code)] // for its signature
#[derive(serde::Deserialize)]
struct Echo {
    s: Option<String>,
    n: Option<u64>,
    b: Option<bool>,
    list: Option<Vec<String>>,
    table: Option<Inner>,
}

#[allow(dead_code)]
#[derive(serde::Deserialize)]
struct Inner {
    k: Option<String>,
}

#[derive(serde::Deserialize)]
struct Defer {
    ms: u64,
}

impl Service {
    fn start(bus: &Bus) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, stopping) = (bus.socket(), stop.clone());
        let thread = thread::spawn(move || serve(&socket, &stopping));
        let service = Self { stop, thread: Some(thread) };
        service.wait(bus);
        service
    }

    fn wait(&self, bus: &Bus) {
        let mut client = bus.client();
        let end = Instant::now() + PATIENCE;
        while client.lookup("test.service", PATIENCE).unwrap().is_empty() {
            assert!(Instant::now() < end, "the service does not come");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(socket: &Path, stop: &AtomicBool) {
    let mut connection = Connection::new();
    let object = connection.add_object(
        Object::new("test.service")
            .method::<()>("ping")
            .method::<Echo>("echo")
            .method::<Defer>("defer")
            .method::<()>("fail")
            .method::<()>("drop")
            .method::<()>("notify")
            .method::<()>("silence"),
    );
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
    let mut driver: Option<Driver> = None;
    let mut deferred = Vec::new();
    let mut silent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if driver.is_none() && backoff.is_due(now) {
            driver = Driver::connect(socket).ok();
            backoff.tried(now);
        }
        connection.handle_timeout(now);
        if let Some(live) = &mut driver {
            if !matches!(live.on_ready(&mut connection), Ok(Progress::Open)) {
                driver = None;
            }
        }
        if connection.is_ready() {
            backoff.succeeded();
        }
        while let Some(event) = connection.poll_event() {
            let Event::Call { method, arguments, request, caller, descriptor, .. } = event else {
                continue;
            };
            match method.as_str() {
                "ping" if descriptor.is_some() => {
                    let file = descriptor.map(std::fs::File::from).unwrap();
                    let text = std::io::read_to_string(file).unwrap();
                    connection.answer(request, &json!({ "text": text })).unwrap();
                }
                "ping" => connection.answer(request, &json!({"ok": 1, "user": caller.user})).unwrap(),
                "echo" => match from_fields::<Echo>(&arguments) {
                    Ok(_) => {
                        connection.reply(&request, &arguments).unwrap();
                        connection.complete(request, Status::OK);
                    }
                    Err(error) => {
                        connection
                            .reply(&request, &to_fields(&json!({"error": error.to_string()})).unwrap())
                            .unwrap();
                        connection.complete(request, Status::INVALID_ARGUMENT);
                    }
                },
                "defer" => {
                    let Defer { ms } = from_fields(&arguments).unwrap();
                    deferred.push((now + Duration::from_millis(ms), ms, request));
                }
                "fail" => {
                    connection.reply(&request, &to_fields(&json!({"error": "broken"})).unwrap()).unwrap();
                    connection.complete(request, Status::UNKNOWN_ERROR);
                }
                "drop" => drop(request),
                "silence" => silent.push(request),
                "notify" => {
                    connection
                        .notify(object, "created", &to_fields(&json!({"name": "web"})).unwrap())
                        .unwrap();
                    connection
                        .send_event("test.created", &to_fields(&json!({"name": "web"})).unwrap())
                        .unwrap();
                    let subscribed = connection.has_subscribers(object);
                    connection.answer(request, &json!({ "subscribed": subscribed })).unwrap();
                }
                other => panic!("{other}"),
            }
        }
        let (due, later): (Vec<_>, Vec<_>) = deferred.into_iter().partition(|(at, ..)| *at <= now);
        deferred = later;
        for (_, ms, request) in due {
            connection.answer(request, &json!({ "waited": ms })).unwrap();
        }
        match &mut driver {
            None => thread::sleep(Duration::from_millis(5)),
            Some(live) => {
                let _ = live.flush(&mut connection);
                let mut flags = PollFlags::POLLIN;
                if live.wants_write() {
                    flags |= PollFlags::POLLOUT;
                }
                poll(&mut [PollFd::new(live.as_fd(), flags)], PollTimeout::from(10u8)).unwrap();
            }
        }
    }
}

fn call(client: &mut Client, method: &str, arguments: Json) -> Result<Json, (Status, Json)> {
    match client.call("test.service", method, &to_fields(&arguments).unwrap(), PATIENCE) {
        Ok(reply) => Ok(reply.read().unwrap()),
        Err(CallError::Failed(reply)) => Err((reply.status, reply.read().unwrap())),
        Err(error) => panic!("{error}"),
    }
}

// ---- Our client and our service over the bus ----------------------------------------------------------------------

#[test]
fn calls() {
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let mut client = bus.client();
        assert_eq!(call(&mut client, "ping", json!({})), Ok(json!({"ok": 1, "user": "root"})));
        let all = json!({"s": "é☃", "n": 5_000_000_000u64, "b": true, "list": ["a", "b"], "table": {"k": "v"}, "z": [null, 0.5]});
        assert_eq!(call(&mut client, "echo", all.clone()), Ok(all));
        let refused = call(&mut client, "echo", json!({"list": ["a", 5]}));
        let text = json!({"error": "list[1]: expected text, found 5"});
        assert_eq!(refused, Err((Status::INVALID_ARGUMENT, text)));
        assert_eq!(
            call(&mut client, "fail", json!({})),
            Err((Status::UNKNOWN_ERROR, json!({"error": "broken"})))
        );
        assert_eq!(call(&mut client, "drop", json!({})), Err((Status::UNKNOWN_ERROR, json!({}))));
        assert_eq!(call(&mut client, "nope", json!({})), Err((Status::METHOD_NOT_FOUND, json!({}))));
        for size in [100 << 10, 1_000_000] {
            let long = json!({"s": "x".repeat(size)});
            assert_eq!(call(&mut client, "echo", long.clone()), Ok(long));
        }
        match client.call("test.service", "silence", &[], Duration::from_millis(50)) {
            Err(CallError::Failed(reply)) => assert_eq!(reply.status, Status::TIMEOUT),
            other => panic!("{other:?}"),
        }
        match client.call("not.there", "ping", &[], PATIENCE) {
            Err(CallError::Failed(reply)) => {
                assert_eq!((reply.status, reply.from_callee), (Status::NOT_FOUND, false))
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_descriptor_comes_with_its_call() {
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let mut client = bus.client();
        let file = |text: &str| {
            let path = bus.directory.join(text);
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            file
        };
        // Twice: the second call goes to an object that is known already.
        for text in ["first", "second"] {
            let called = client.call_with("test.service", "ping", &[], Some(file(text).into()), PATIENCE);
            assert_eq!(called.unwrap().read::<Json>().unwrap(), json!({ "text": text }));
        }
        // Many at once, some without one, some longer than a read.
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = Vec::new();
        for number in 0..40 {
            let text = (number % 3 != 0).then(|| format!("of-{number}"));
            let handed = text.as_deref().map(|text| file(text).into());
            let filler = to_fields(&json!({ "filler": "x".repeat(number % 4 * 9000) })).unwrap();
            let call = client.connection().call_with("test.service", "ping", &filler, handed, deadline);
            let plain = json!({ "ok": 1, "user": "root" });
            waiting.push((call, text.map_or(plain, |text| json!({ "text": text }))));
        }
        let mut heard = 0;
        while heard < waiting.len() {
            let event = client.next_event(Some(deadline)).unwrap().expect("all are answered");
            let Event::CallEnded { call, reply } = event else { continue };
            let (_, expected) = waiting.iter().find(|(waiting, _)| *waiting == call).unwrap();
            assert_eq!(reply.read::<Json>().unwrap(), *expected);
            heard += 1;
        }
    });
}

#[test]
fn a_deferred_answer_does_not_hold_up_others() {
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let mut client = bus.client();
        let deadline = Instant::now() + PATIENCE;
        let slow = to_fields(&json!({"ms": 200})).unwrap();
        let slow = client.connection().call("test.service", "defer", &slow, deadline);
        assert_eq!(call(&mut client, "ping", json!({})), Ok(json!({"ok": 1, "user": "root"})));
        while let Some(event) = client.next_event(Some(deadline)).unwrap() {
            if let Event::CallEnded { call, reply } = event {
                assert_eq!((call, reply.read::<Json>().unwrap()), (slow, json!({"waited": 200})));
                return;
            }
        }
        panic!("no answer");
    });
}

#[test]
fn notifications_and_events() {
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let mut client = bus.client();
        assert_eq!(call(&mut client, "notify", json!({})), Ok(json!({"subscribed": false})));
        client.connection().subscribe("test.service");
        client.connection().register_event("test.*");
        let deadline = Instant::now() + PATIENCE;
        while let Some(event) = client.next_event(Some(deadline)).unwrap() {
            if matches!(event, Event::Subscribed { .. }) {
                break;
            }
        }
        assert_eq!(call(&mut client, "notify", json!({})), Ok(json!({"subscribed": true})));
        let mut heard = Vec::new();
        while heard.len() < 2 {
            match client.next_event(Some(deadline)).unwrap().expect("both are heard") {
                Event::Notification { name, data, .. } => {
                    heard.push((name, from_fields::<Json>(&data).unwrap()))
                }
                Event::BusEvent { id, data } => heard.push((id, from_fields(&data).unwrap())),
                _ => {}
            }
        }
        let web = json!({"name": "web"});
        assert_eq!(heard, [("created".to_owned(), web.clone()), ("test.created".to_owned(), web)]);
    });
}

#[test]
fn signatures() {
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let found = bus.client().lookup("test.*", PATIENCE).unwrap();
        let [object] = &found[..] else { panic!("{found:?}") };
        let methods: Vec<_> =
            object.methods().map(|(name, arguments)| (name.to_owned(), arguments)).collect();
        let of = |name: &str| methods.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(of("echo"), openwrt_ubus::signature::arguments::<Echo>());
        assert_eq!(of("ping"), []);
        assert_eq!(methods.len(), 7);
    });
}

#[test]
fn the_bus_restarts() {
    on_every_bus(|bus| {
        let service = Service::start(bus);
        for _ in 0..3 {
            let mut client = bus.client();
            assert!(call(&mut client, "ping", json!({})).is_ok());
            // A call in flight ends with the connection.
            let deadline = Instant::now() + PATIENCE;
            client.connection().call("test.service", "silence", &[], deadline);
            client.flush().unwrap();
            bus.restart();
            let ended = loop {
                match client.next_event(Some(deadline)) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the client does not notice"),
                    Err(error) => break error,
                }
            };
            drop(ended);
            service.wait(bus);
        }
        assert!(call(&mut bus.client(), "ping", json!({})).is_ok());
    });
}

#[test]
fn a_lasting_subscriber_outlives_the_bus() {
    on_every_bus(|bus| {
        let service = Service::start(bus);
        let mut connection = Connection::new();
        connection.subscribe("test.service");
        for _ in 0..2 {
            let mut driver = Driver::connect(bus.socket()).unwrap();
            drive_until(&mut driver, &mut connection, |event| matches!(event, Event::Subscribed { .. }));
            bus.stop();
            while let Ok(Progress::Open) = driver.on_ready(&mut connection) {
                thread::sleep(Duration::from_millis(1));
            }
            assert!(!connection.is_ready());
            bus.child = Bus::spawn(&bus.program, &bus.socket());
        }
        service.wait(bus);
    });
}

fn drive_until(driver: &mut Driver, connection: &mut Connection, wanted: impl Fn(&Event) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        assert_eq!(driver.on_ready(connection).unwrap(), Progress::Open);
        while let Some(event) = connection.poll_event() {
            if wanted(&event) {
                return;
            }
        }
        assert_eq!(driver.flush(connection).unwrap(), Progress::Open);
        assert!(Instant::now() < end, "what was waited for does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

// ---- Answers to odd input -----------------------------------------------------------------------------------------

/// A client without any library, which can say what no library would.
struct Raw {
    stream: UnixStream,
    id: u32,
    seq: u16,
}

struct Answer {
    kind: u8,
    seq: u16,
    peer: u32,
    attributes: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    fn u32(&self, id: u8) -> Option<u32> {
        let (_, data) = self.attributes.iter().find(|(found, _)| *found == id)?;
        Some(u32::from_be_bytes(data[..].try_into().ok()?))
    }
}

const STATUS: u8 = 1;
const OBJPATH: u8 = 2;
const OBJID: u8 = 3;
const METHOD: u8 = 4;
const OBJTYPE: u8 = 5;
const SIGNATURE: u8 = 6;
const DATA: u8 = 7;
const TARGET: u8 = 8;

fn attr(id: u8, data: &[u8]) -> Vec<u8> {
    let mut out = (u32::from(id) << 24 | (4 + data.len() as u32)).to_be_bytes().to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn id(attribute: u8, value: u32) -> Vec<u8> {
    attr(attribute, &value.to_be_bytes())
}

fn text(attribute: u8, value: &str) -> Vec<u8> {
    attr(attribute, format!("{value}\0").as_bytes())
}

impl Raw {
    fn connect(bus: &Bus) -> Self {
        let stream = UnixStream::connect(bus.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream, id: 0, seq: 100 };
        let hello = raw.receive();
        assert_eq!((hello.kind, hello.seq, hello.attributes.len()), (0, 0, 0));
        raw.id = hello.peer;
        raw
    }

    fn send(&mut self, version: u8, kind: u8, seq: u16, peer: u32, body: &[u8]) {
        let mut message = vec![version, kind];
        message.extend_from_slice(&seq.to_be_bytes());
        message.extend_from_slice(&peer.to_be_bytes());
        message.extend_from_slice(&(4 + body.len() as u32).to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message).unwrap();
    }

    fn receive(&mut self) -> Answer {
        let mut head = [0; 12];
        self.stream.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes(head[8..].try_into().unwrap()) as usize & 0xff_ffff;
        let mut body = vec![0; len - 4];
        self.stream.read_exact(&mut body).unwrap();
        let mut attributes = Vec::new();
        let mut rest = &body[..];
        while rest.len() >= 4 {
            let head = u32::from_be_bytes(rest[..4].try_into().unwrap());
            let len = head as usize & 0xff_ffff;
            attributes.push(((head >> 24) as u8, rest[4..len].to_vec()));
            rest = &rest[len.next_multiple_of(4).min(rest.len())..];
        }
        Answer {
            kind: head[1],
            seq: u16::from_be_bytes([head[2], head[3]]),
            peer: u32::from_be_bytes(head[4..8].try_into().unwrap()),
            attributes,
        }
    }

    /// Everything the bus has to say until it answers a PING: what was said before that, and nothing later.
    fn all(&mut self) -> Vec<Answer> {
        self.seq += 1;
        let ping = self.seq | 0x8000;
        self.send(0, 3, ping, 0, &[]);
        let mut answers = Vec::new();
        loop {
            let answer = self.receive();
            match (answer.kind, answer.seq == ping) {
                (2, true) => {}
                (_, true) => return answers,
                _ => answers.push(answer),
            }
        }
    }

    fn ask(&mut self, kind: u8, peer: u32, body: &[u8]) -> Vec<Answer> {
        self.seq += 1;
        self.send(0, kind, self.seq, peer, body);
        self.all()
    }

    /// Adds an object and gives its id and its type's.
    fn add(&mut self, body: &[u8]) -> (u32, u32) {
        let answers = self.ask(6, 0, body);
        assert_eq!(answers.last().unwrap().u32(STATUS), Some(0));
        (answers[0].u32(OBJID).unwrap(), answers[0].u32(OBJTYPE).unwrap_or(0))
    }
}

/// The answers as text, with names for the ids that differ from run to run.
fn describe(answers: &[Answer], names: &[(u32, &str)]) -> String {
    let name = |id: u32| match names.iter().find(|(known, _)| *known == id) {
        Some((_, name)) => (*name).to_owned(),
        None if id < 1024 => id.to_string(),
        None => "new".to_owned(),
    };
    let attribute = |(id, data): &(u8, Vec<u8>)| {
        let number = || data[..].try_into().map(u32::from_be_bytes).unwrap_or(0);
        match *id {
            STATUS => format!("STATUS={}", number()),
            OBJID => format!("OBJID={}", name(number())),
            OBJTYPE => format!("OBJTYPE={}", name(number())),
            TARGET => format!("TARGET={}", name(number())),
            OBJPATH => format!("PATH={}", String::from_utf8_lossy(&data[..data.len() - 1])),
            METHOD => format!("METHOD={}", String::from_utf8_lossy(&data[..data.len() - 1])),
            12 => format!("USER={}", String::from_utf8_lossy(&data[..data.len() - 1])),
            13 => format!("GROUP={}", String::from_utf8_lossy(&data[..data.len() - 1])),
            9 => format!("ACTIVE={}", data[0]),
            10 => format!("NO_REPLY={}", data[0]),
            11 => format!("SUBSCRIBERS={}", data.len() / 8),
            SIGNATURE => "SIGNATURE".to_owned(),
            DATA => format!("DATA={}", serde_json::to_string(&Fields::new(data)).unwrap()),
            other => format!("{other}"),
        }
    };
    let answer = |answer: &Answer| {
        let kind = [
            "HELLO", "STATUS", "DATA", "PING", "LOOKUP", "INVOKE", "ADD", "REMOVE", "SUB", "UNSUB", "NOTIFY",
        ];
        let attributes: Vec<_> = answer.attributes.iter().map(attribute).collect();
        format!("{} {}: {}", kind[usize::from(answer.kind)], name(answer.peer), attributes.join(" "))
    };
    answers.iter().map(answer).collect::<Vec<_>>().join(" | ")
}

fn signature(methods: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for method in methods {
        let mut table = (method.len() as u16).to_be_bytes().to_vec();
        table.extend_from_slice(method.as_bytes());
        table.push(0);
        table.resize(table.len().next_multiple_of(4), 0);
        let mut method = attr(2, &table);
        method[0] |= 0x80;
        out.extend_from_slice(&method);
    }
    attr(SIGNATURE, &out)
}

#[test]
fn answers_to_odd_input() {
    on_every_bus(|bus| {
        let mut owner = Raw::connect(bus);
        let mut caller = Raw::connect(bus);
        let (object, ty) = owner.add(&[text(OBJPATH, "obj"), signature(&["m"])].concat());
        let (ear, _) = caller.add(&[]);
        let names = [
            (owner.id, "owner"),
            (caller.id, "caller"),
            (object, "obj"),
            (ear, "ear"),
            (ty, "type"),
            (0x12345, "unknown"),
        ];
        let event = |json: Json| attr(DATA, &to_fields(&json).unwrap());
        let ear_number = ear as i32;

        // (what, type, peer, body, answer)
        let table: Vec<(&str, u8, u32, Vec<u8>, &str)> = vec![
            (
                "lookup",
                4,
                0,
                text(OBJPATH, "obj"),
                "DATA 0: PATH=obj OBJID=obj OBJTYPE=type SIGNATURE | STATUS 0: STATUS=0",
            ),
            (
                "lookup by prefix",
                4,
                0,
                text(OBJPATH, "o*"),
                "DATA 0: PATH=obj OBJID=obj OBJTYPE=type SIGNATURE | STATUS 0: STATUS=0",
            ),
            (
                "lookup of all",
                4,
                0,
                vec![],
                "DATA 0: PATH=obj OBJID=obj OBJTYPE=type SIGNATURE | STATUS 0: STATUS=0",
            ),
            ("lookup of nothing", 4, 0, text(OBJPATH, "nothing"), "STATUS 0: STATUS=4"),
            ("lookup of no prefix", 4, 0, text(OBJPATH, "nothing*"), "STATUS 0: STATUS=4"),
            ("lookup of an empty path", 4, 0, text(OBJPATH, ""), "STATUS 0: STATUS=2"),
            (
                "lookup, path not ended",
                4,
                0,
                attr(OBJPATH, b"nothing"),
                "DATA 0: PATH=obj OBJID=obj OBJTYPE=type SIGNATURE | STATUS 0: STATUS=0",
            ),
            (
                "call of an unknown object",
                5,
                0x12345,
                [id(OBJID, 0x12345), text(METHOD, "m"), attr(DATA, &[])].concat(),
                "STATUS unknown: STATUS=4",
            ),
            ("call without method", 5, object, id(OBJID, object), "STATUS obj: STATUS=2"),
            ("call without object", 5, 0, text(METHOD, "m"), "STATUS 0: STATUS=2"),
            ("path taken", 6, 0, [text(OBJPATH, "obj"), signature(&["m"])].concat(), "STATUS 0: STATUS=2"),
            (
                "no method's name",
                6,
                0,
                [text(OBJPATH, "bad"), attr(SIGNATURE, b"\x82\0\0\x08\0\0\0\0")].concat(),
                "DATA 0: OBJID=new | STATUS 0: STATUS=0",
            ),
            ("it is not shown", 4, 0, text(OBJPATH, "bad"), "STATUS 0: STATUS=0"),
            (
                "type known",
                6,
                0,
                [text(OBJPATH, "typed"), id(OBJTYPE, ty)].concat(),
                "DATA 0: OBJID=new | STATUS 0: STATUS=0",
            ),
            (
                "type unknown",
                6,
                0,
                [text(OBJPATH, "untyped"), id(OBJTYPE, 5)].concat(),
                "DATA 0: OBJID=new | STATUS 0: STATUS=0",
            ),
            (
                "neither signature nor type",
                6,
                0,
                text(OBJPATH, "bare"),
                "DATA 0: OBJID=new | STATUS 0: STATUS=0",
            ),
            ("it is not shown either", 4, 0, text(OBJPATH, "bare"), "STATUS 0: STATUS=0"),
            ("anonymous", 6, 0, vec![], "DATA 0: OBJID=new | STATUS 0: STATUS=0"),
            ("remove nothing", 7, 0, vec![], "STATUS 0: STATUS=2"),
            ("remove the unknown", 7, 0, id(OBJID, 0x12345), "STATUS 0: STATUS=4"),
            ("remove another's", 7, 0, id(OBJID, object), "STATUS 0: STATUS=6"),
            ("answer without object", 1, owner.id, id(STATUS, 0), ""),
            ("answer for another's object", 1, owner.id, [id(STATUS, 0), id(OBJID, object)].concat(), ""),
            ("data without data", 2, owner.id, id(OBJID, ear), ""),
            (
                "event of ubusd's",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "send"), event(json!({"id": "ubus.x", "data": {}}))].concat(),
                "STATUS 1: STATUS=6",
            ),
            (
                "event without data",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "send"), event(json!({"id": "x"}))].concat(),
                "STATUS 1: STATUS=2",
            ),
            (
                "event without anything",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "send")].concat(),
                "STATUS 1: STATUS=2",
            ),
            (
                "event to oneself",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "send"), event(json!({"id": "x", "data": {"a": 1}}))].concat(),
                "STATUS 1: STATUS=0",
            ),
            (
                "listen",
                5,
                1,
                [
                    id(OBJID, 1),
                    text(METHOD, "register"),
                    event(json!({"object": ear_number, "pattern": "x*"})),
                ]
                .concat(),
                "STATUS 1: STATUS=0",
            ),
            (
                "listen for another",
                5,
                1,
                [
                    id(OBJID, 1),
                    text(METHOD, "register"),
                    event(json!({"object": object as i32, "pattern": "x*"})),
                ]
                .concat(),
                "STATUS 1: STATUS=6",
            ),
            (
                "listen by ubusd's",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "register"), event(json!({"object": 5, "pattern": "x*"}))]
                    .concat(),
                "STATUS 1: STATUS=6",
            ),
            (
                "listen by the unknown",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "register"), event(json!({"object": 0x12345, "pattern": "x*"}))]
                    .concat(),
                "STATUS 1: STATUS=4",
            ),
            (
                "listen to nothing",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "register"), event(json!({"object": ear_number, "pattern": ""}))]
                    .concat(),
                "STATUS 1: STATUS=6",
            ),
            (
                "listen without pattern",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "register"), event(json!({"object": ear_number}))].concat(),
                "STATUS 1: STATUS=2",
            ),
            (
                "events' unknown method",
                5,
                1,
                [id(OBJID, 1), text(METHOD, "nope"), event(json!({"a": 1}))].concat(),
                "STATUS 1: STATUS=1",
            ),
            (
                "monitor's unknown method",
                5,
                3,
                [id(OBJID, 3), text(METHOD, "nope"), event(json!({}))].concat(),
                "STATUS 3: STATUS=3",
            ),
            ("ping", 3, 0x77, text(METHOD, "x"), "DATA 119: METHOD=x | STATUS 119: STATUS=0"),
            ("hello", 0, 0x77, vec![], "STATUS 119: STATUS=1"),
            ("monitor", 11, 0x77, vec![], "STATUS 119: STATUS=1"),
            ("type 12", 12, 0x77, vec![], "STATUS 119: STATUS=1"),
            ("type 200", 200, 0x77, vec![], "STATUS 119: STATUS=1"),
            ("subscribe without target", 8, 0, id(OBJID, ear), "STATUS 0: STATUS=2"),
            (
                "subscribe to the unknown",
                8,
                0,
                [id(OBJID, ear), id(TARGET, 0x12345)].concat(),
                "STATUS 0: STATUS=4",
            ),
            (
                "subscribe the unknown",
                8,
                0,
                [id(OBJID, 0x12345), id(TARGET, object)].concat(),
                "STATUS 0: STATUS=4",
            ),
            ("subscribe to oneself", 8, 0, [id(OBJID, ear), id(TARGET, ear)].concat(), "STATUS 0: STATUS=2"),
            (
                "subscribe for another",
                8,
                0,
                [id(OBJID, object), id(TARGET, ear)].concat(),
                "STATUS 0: STATUS=2",
            ),
            (
                "unsubscribe what is not",
                9,
                0,
                [id(OBJID, ear), id(TARGET, object)].concat(),
                "STATUS 0: STATUS=4",
            ),
            (
                "notify as another",
                10,
                object,
                [id(OBJID, object), text(METHOD, "n"), attr(DATA, &[])].concat(),
                "STATUS obj: STATUS=6",
            ),
            (
                "notify as nobody",
                10,
                0x12345,
                [id(OBJID, 0x12345), text(METHOD, "n"), attr(DATA, &[])].concat(),
                "STATUS unknown: STATUS=4",
            ),
            ("notify nothing", 10, ear, id(OBJID, ear), "STATUS ear: STATUS=2"),
            (
                "notify nobody",
                10,
                ear,
                [id(OBJID, ear), text(METHOD, "n"), attr(DATA, &[])].concat(),
                "STATUS ear: OBJID=ear SUBSCRIBERS=0 STATUS=0",
            ),
            ("attribute cut short", 7, 0, vec![3, 0, 0, 9, 0, 0, 0, 5], "STATUS 0: STATUS=2"),
            ("attribute of the wrong size", 7, 0, attr(OBJID, &[1, 2]), "STATUS 0: STATUS=2"),
            (
                "the last of two counts",
                7,
                0,
                [id(OBJID, ear), id(OBJID, 0x12345)].concat(),
                "STATUS 0: STATUS=4",
            ),
        ];
        for (what, kind, peer, body, expected) in table {
            let answers = caller.ask(kind, peer, &body);
            assert_eq!(describe(&answers, &names), expected, "{what}, on {}", bus.program.display());
            assert!(answers.iter().all(|answer| answer.seq == caller.seq - 1), "{what}");
        }
        assert_eq!(describe(&owner.all(), &names), "");

        // A call on its way: rebuilt by the bus, and answered by whoever says so.
        let no_reply = attr(10, &[1]);
        let forged = text(12, "forged");
        let x = event(json!({"s": "x"}));
        let body =
            [forged, no_reply, id(OBJID, object), text(METHOD, "m"), x.clone(), attr(99, &[1])].concat();
        caller.seq += 1;
        caller.send(9, 5, caller.seq, 0, &body); // also: another version, and no peer
        caller.all();
        let invoke = owner.all();
        assert_eq!(
            describe(&invoke, &names),
            r#"INVOKE caller: OBJID=obj METHOD=m USER=root GROUP=root DATA={"s":"x"}"#
        );
        let seq = invoke[0].seq;
        owner.send(0, 2, seq, caller.id, &[id(OBJID, object), x.clone()].concat());
        owner.send(0, 1, seq, caller.id, &[id(STATUS, 3), id(OBJID, object)].concat());
        owner.send(0, 1, seq, caller.id, &[id(STATUS, 0), id(OBJID, object)].concat());
        owner.all();
        assert_eq!(
            describe(&caller.all(), &names),
            r#"DATA obj: OBJID=obj DATA={"s":"x"} | STATUS obj: STATUS=3 OBJID=obj | STATUS obj: STATUS=0 OBJID=obj"#
        );
        caller.ask(5, object, &[id(OBJID, object), text(METHOD, "m")].concat());
        assert_eq!(describe(&owner.all(), &names), "INVOKE caller: OBJID=obj METHOD=m USER=root GROUP=root");

        // Subscription, notification with and without answer, and the object's end.
        let subscribe = [id(OBJID, ear), id(TARGET, object)].concat();
        assert_eq!(describe(&caller.ask(8, 0, &subscribe), &names), "STATUS 0: STATUS=0");
        assert_eq!(describe(&owner.all(), &names), "NOTIFY 0: OBJID=obj ACTIVE=1");
        let notify = [id(OBJID, object), text(METHOD, "n"), x.clone()].concat();
        assert_eq!(
            describe(&owner.ask(10, object, &notify), &names),
            "STATUS obj: OBJID=obj SUBSCRIBERS=1 STATUS=0"
        );
        let notify = [notify, attr(10, &[1])].concat();
        assert_eq!(describe(&owner.ask(10, object, &notify), &names), "");
        assert_eq!(
            describe(&caller.all(), &names),
            r#"INVOKE owner: OBJID=ear METHOD=n USER=root GROUP=root DATA={"s":"x"} | INVOKE owner: NO_REPLY=1 OBJID=ear METHOD=n USER=root GROUP=root DATA={"s":"x"}"#
        );
        assert_eq!(
            describe(&owner.ask(7, 0, &id(OBJID, object)), &names),
            "DATA 0: OBJID=obj | NOTIFY 0: OBJID=obj ACTIVE=0 | STATUS 0: STATUS=0"
        );
        assert_eq!(describe(&caller.all(), &names), "UNSUB 0: OBJID=ear TARGET=obj");

        // An event reaches the listener once, though two patterns match.
        let again = event(json!({"object": ear_number, "pattern": "x.y"}));
        caller.ask(5, 1, &[id(OBJID, 1), text(METHOD, "register"), again].concat());
        let send = event(json!({"id": "x.y", "data": {"k": 7}}));
        owner.ask(5, 1, &[id(OBJID, 1), text(METHOD, "send"), send].concat());
        assert_eq!(describe(&caller.all(), &names), r#"INVOKE 0: OBJID=ear METHOD=x.y DATA={"k":7}"#);

        // The longest message, and one that is longer.
        let mut long = Raw::connect(bus);
        let body = attr(DATA, &vec![0; (1 << 20) - 8]);
        long.send(0, 3, 1, 0, &body);
        let echo = long.receive();
        assert_eq!((echo.kind, echo.attributes[0].1.len()), (2, (1 << 20) - 8));
        assert_eq!(long.receive().u32(STATUS), Some(0));
        let _ = long.stream.write_all(&[0, 3, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 4]);
        assert!(matches!(long.stream.read(&mut [0]), Ok(0) | Err(_)), "the connection is closed");
    });
}

// ---- OpenWrt's own command -----------------------------------------------------------------------------------------

struct Ubus {
    program: PathBuf,
    socket: PathBuf,
}

impl Ubus {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-s").arg(&self.socket).args(arguments).stderr(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.command(arguments).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    /// The lines it prints while `meanwhile` happens again and again, until there are `enough`. The first times it may
    /// not listen yet.
    fn listen(
        &self,
        arguments: &[&str],
        meanwhile: impl Fn(),
        enough: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, printed) = mpsc::channel();
        let reader = thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| sender.send(line).unwrap_or(()))
        });
        let mut lines = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while !enough(&lines) {
            assert!(Instant::now() < deadline, "{arguments:?} prints only {lines:?}");
            meanwhile();
            while let Ok(line) = printed.recv_timeout(Duration::from_millis(100)) {
                lines.push(line);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        lines
    }
}

#[test]
fn the_ubus_command() {
    let Some(program) = program("UBUS", "ubus") else {
        println!("skipped: there is no ubus command on the PATH, nor in UBUS");
        return;
    };
    on_every_bus(|bus| {
        let _service = Service::start(bus);
        let ubus = Ubus { program: program.clone(), socket: bus.socket() };
        assert_eq!(ubus.run(&["list"]), ("test.service\n".into(), Some(0)));
        assert_eq!(ubus.run(&["list", "test.*"]), ("test.service\n".into(), Some(0)));
        assert_eq!(ubus.run(&["list", "nothing"]), (String::new(), Some(4)));
        let (list, _) = ubus.run(&["-v", "list"]);
        let signature = "\t\"ping\":{}\n\t\"echo\":{\"s\":\"String\",\"n\":\"Integer\",\"b\":\"Boolean\",\"list\":\"Array\",\"table\":\"Table\"}\n\t\"defer\":{\"ms\":\"Integer\"}\n\t\"fail\":{}\n\t\"drop\":{}\n\t\"notify\":{}\n\t\"silence\":{}\n";
        assert!(list.starts_with("'test.service' @") && list.ends_with(signature), "{list}");

        assert_eq!(
            ubus.run(&["-S", "call", "test.service", "ping"]),
            ("{\"ok\":1,\"user\":\"root\"}\n".into(), Some(0))
        );
        let all = r#"{"s":"é","n":5000000000,"b":true,"list":["a"],"table":{"k":"v"},"z":null}"#;
        assert_eq!(ubus.run(&["-S", "call", "test.service", "echo", all]), (format!("{all}\n"), Some(0)));
        let refused = ubus.run(&["-S", "call", "test.service", "echo", r#"{"n":-1}"#]);
        assert_eq!(
            refused,
            ("{\"error\":\"n: expected a non-negative integer, found -1\"}\n".into(), Some(2))
        );
        assert_eq!(
            ubus.run(&["-S", "call", "test.service", "fail"]),
            ("{\"error\":\"broken\"}\n".into(), Some(9))
        );
        assert_eq!(ubus.run(&["-S", "call", "test.service", "nope"]), (String::new(), Some(3)));
        assert_eq!(ubus.run(&["-S", "call", "nothing", "nope"]), (String::new(), Some(4)));
        assert_eq!(ubus.run(&["-S", "-t", "1", "call", "test.service", "silence"]), (String::new(), Some(7)));
        assert_eq!(
            ubus.run(&["-S", "call", "test.service", "defer", r#"{"ms":100}"#]),
            ("{\"waited\":100}\n".into(), Some(0))
        );

        let notify = || {
            assert!(call(&mut bus.client(), "notify", json!({})).is_ok());
        };
        let some = |lines: &[String]| !lines.is_empty();
        let heard = ubus.listen(&["subscribe", "test.service"], notify, some);
        assert_eq!(heard[0], "{ \"created\": {\"name\":\"web\"} }");
        let heard = ubus.listen(&["listen", "test.*"], notify, some);
        assert_eq!(heard[0], "{ \"test.created\": {\"name\":\"web\"} }");
        let send = || assert_eq!(ubus.run(&["send", "shell.event", r#"{"a":[1]}"#]).1, Some(0));
        let heard = ubus.listen(&["listen"], send, some);
        assert_eq!(heard[0], "{ \"shell.event\": {\"a\":[1]} }");

        assert_eq!(ubus.run(&["-t", "1", "wait_for", "test.service"]).1, Some(0));
        assert_eq!(ubus.run(&["-t", "1", "wait_for", "late"]).1, Some(7));
        let mut late = ubus.command(&["-t", "5", "wait_for", "late"]).spawn().unwrap();
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", late.id())).unwrap();
            stat.split(' ').nth(2).unwrap_or_default().to_string()
        };
        let deadline = Instant::now() + PATIENCE;
        while state() != "S" {
            assert!(Instant::now() < deadline, "it does not wait");
            thread::sleep(Duration::from_millis(1));
        }
        let mut client = bus.client();
        client.connection().add_object(Object::new("late"));
        let deadline = Instant::now() + PATIENCE;
        while !matches!(client.next_event(Some(deadline)).unwrap(), Some(Event::Published { .. })) {}
        assert_eq!(late.wait().unwrap().code(), Some(0));

        let ping = || assert!(call(&mut bus.client(), "ping", json!({})).is_ok());
        let wanted = [
            ["<-", "invoke:", "\"method\":\"ping\""],
            ["->", "invoke:", "\"user\":\"root\""],
            ["->", "data:", "\"ok\":1"],
        ];
        ubus.listen(&["monitor"], ping, |lines| {
            let printed = |parts: &[&str; 3]| lines.iter().any(|line| parts.iter().all(|p| line.contains(p)));
            wanted.iter().all(printed)
        });
    });
}
