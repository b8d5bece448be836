//! The loop itself: a socket, signals, threads and containers wake it, and time does.

use super::*;
use crate::daemon::event_loop::{run, Signals, Wake, LAST_WORDS};
use crate::error::Result;
use openwrt_ubus::Status;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};

/// How long the loop may take for anything.
const SOON: Duration = Duration::from_secs(10);

/// A daemon whose loop runs in a thread, the bus it finds on a socket, and a client of that bus.
struct Running {
    fake: FakeBox,
    dir: TempDir,
    listener: UnixListener,
    bus: Bus,
    reload: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    /// A byte here tells of a signal.
    signal: UnixStream,
    thread: JoinHandle<Result<()>>,
}

/// The bus behind one connection of the daemon's.
struct Bus {
    broker: Broker,
    daemon: UnixStream,
    daemon_at: ClientId,
    client: Connection,
    client_at: ClientId,
    heard: Vec<String>,
}

impl Bus {
    /// Takes the daemon's next connection.
    fn accept(listener: &UnixListener) -> Bus {
        let deadline = Instant::now() + SOON;
        let daemon = loop {
            match listener.accept() {
                Ok((daemon, _)) => break daemon,
                Err(_) => assert!(Instant::now() < deadline, "the daemon does not connect"),
            }
            thread::yield_now();
        };
        daemon.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut broker = Broker::new(1);
        let (daemon_at, client_at) =
            (broker.connect(Credentials::root()), broker.connect(Credentials::root()));
        let mut client = Connection::new();
        client.register_event("*");
        let mut bus = Bus { broker, daemon, daemon_at, client, client_at, heard: Vec::new() };
        // The daemon's objects are there.
        while bus.call("cloudbox status", json!({})).status == Status::NOT_FOUND.0 {
            assert!(Instant::now() < deadline, "the daemon has no objects on the bus");
        }
        bus
    }

    /// Carries bytes until `found` finds something among what comes.
    fn carry<T>(&mut self, what: &str, mut found: impl FnMut(&mut Bus, Event) -> Option<T>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < deadline, "{what} does not come");
            let bytes = self.client.transmit().to_vec();
            self.client.consumed(bytes.len());
            self.broker.handle_input(self.client_at, &bytes).unwrap();
            let bytes = self.broker.transmit(self.daemon_at).to_vec();
            self.broker.consumed(self.daemon_at, bytes.len());
            self.daemon.write_all(&bytes).unwrap();
            let mut buffer = [0; 64 << 10];
            match self.daemon.read(&mut buffer) {
                Ok(0) => panic!("the daemon hangs up before {what}"),
                Ok(read) => self.broker.handle_input(self.daemon_at, &buffer[..read]).unwrap(),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
            let bytes = self.broker.transmit(self.client_at).to_vec();
            self.broker.consumed(self.client_at, bytes.len());
            self.client.handle_input(&bytes).unwrap();
            while let Some(event) = self.client.poll_event() {
                if let Event::BusEvent { id, data } = &event {
                    let fields = serde_json::to_string(&Fields::new(data)).unwrap();
                    self.heard.push(format!("{id} {fields}"));
                }
                if let Some(found) = found(self, event) {
                    return found;
                }
            }
        }
    }

    fn call(&mut self, method: &str, arguments: Json) -> Answer {
        let (path, name) = method.split_once(' ').unwrap();
        let call = self.client.call(path, name, &to_fields(&arguments).unwrap(), Instant::now() + 2 * SOON);
        self.carry(method, |_, event| match event {
            Event::CallEnded { call: ended, reply } if ended == call => Some(reply.into()),
            _ => None,
        })
    }

    /// The same so many times at once; all are answered well.
    fn call_at_once(&mut self, times: usize, method: &str, arguments: Json) {
        let (path, name) = method.split_once(' ').unwrap();
        let (fields, deadline) = (to_fields(&arguments).unwrap(), Instant::now() + 2 * SOON);
        let mut calls: Vec<CallId> =
            (0..times).map(|_| self.client.call(path, name, &fields, deadline)).collect();
        self.carry(method, |_, event| {
            if let Event::CallEnded { call, reply } = event {
                assert_eq!(reply.status, Status::OK);
                calls.retain(|open| *open != call);
            }
            calls.is_empty().then_some(())
        });
    }

    /// Waits until an event was told; nobody calls meanwhile.
    fn hear(&mut self, line: &str) {
        if !self.heard.iter().any(|heard| heard == line) {
            self.carry(line, |bus, _| bus.heard.iter().any(|heard| heard == line).then_some(()));
        }
        self.heard.clear();
    }
}

impl Running {
    fn start() -> Running {
        let fake = FakeBox::new(vec![distro()]);
        fake.change(|world| world.config = CONFIG.to_string());
        let dir = TempDir::make();
        let socket = dir.path().join("ubus");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (pipe, signal) = UnixStream::pair().unwrap();
        pipe.set_nonblocking(true).unwrap();
        let signals = Signals { pipe, reload: Arc::default(), end: Arc::default() };
        let (reload, end) = (signals.reload.clone(), signals.end.clone());
        let (its_fake, its_dir) = (fake.clone(), dir.path().to_path_buf());
        let thread = thread::spawn(move || {
            let wake = Wake::new()?;
            let mut core = start(&its_fake, &its_dir, wake.sender());
            run(&mut core, &socket, wake, signals)
        });
        let bus = Bus::accept(&listener);
        Running { fake, dir, listener, bus, reload, end, signal, thread }
    }

    /// The configuration is changed, and a signal tells so.
    fn reload(&mut self, config: &str) {
        self.fake.change(|world| world.config = config.to_string());
        self.reload.store(true, Ordering::Relaxed);
        self.signal.write_all(b"x").unwrap();
    }

    /// A signal ends the daemon; tells how long that took.
    fn end(mut self) -> Duration {
        let begun = Instant::now();
        self.end.store(true, Ordering::Relaxed);
        self.signal.write_all(b"x").unwrap();
        while !self.thread.is_finished() {
            assert!(begun.elapsed() < SOON, "the daemon does not end");
            thread::yield_now();
        }
        self.thread.join().unwrap().unwrap();
        begun.elapsed()
    }
}

#[test]
fn calls_jobs_containers_and_signals_wake_the_loop() {
    let mut daemon = Running::start();
    let created = daemon.bus.call("cloudbox.container create", json!({"name": "web", "wait": 15}));
    assert_eq!(created.body["state"], "done", "{created:?}");
    daemon.bus.hear("container.started {\"name\":\"web\"}");
    daemon.fake.end("web");
    daemon.bus.hear("container.stopped {\"name\":\"web\"}");
    daemon.reload(&format!("{CONFIG}{}", sections(&["web", "db"])));
    daemon.bus.hear("container.started {\"name\":\"db\"}");
    let port = daemon.fake.world().alive[&name("db")].record.as_ref().map(|record| record.veth.clone());
    daemon.fake.take_out(&port.unwrap());
    daemon.bus.hear("container.rejoined {\"name\":\"db\",\"bridge\":\"br-lan\"}");
    assert!(daemon.dir.path().join("jobs.json").exists(), "the table of jobs is kept");
    assert!(daemon.end() < LAST_WORDS, "nothing was left to do");
}

/// Answers that many calls share are sent one part after the other, as the bus takes them.
#[test]
fn a_long_answer_to_many_is_sent_to_its_end() {
    let mut daemon = Running::start();
    daemon.bus.call_at_once(800, "cloudbox.service browse", json!({"timeout": 1}));
    daemon.end();
}

#[test]
fn time_wakes_the_loop_and_a_job_that_does_not_end_is_not_waited_for() {
    let mut daemon = Running::start();
    daemon.fake.hold("storage.give_name");
    let begun = Instant::now();
    let created = daemon.bus.call("cloudbox.container create", json!({"name": "web", "wait": 1}));
    assert_eq!(created.body["state"], "running", "{created:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let fake = daemon.fake.clone();
    let took = daemon.end();
    assert!(took >= LAST_WORDS, "it got its last words");
    fake.release("storage.give_name");
}

#[test]
fn the_loop_finds_a_bus_again_that_has_ended() {
    let mut daemon = Running::start();
    daemon.bus.call("cloudbox.container create", json!({"name": "web", "wait": 15}));
    for _ in 0..2 {
        drop(daemon.bus);
        daemon.bus = Bus::accept(&daemon.listener);
        let list = daemon.bus.call("cloudbox.container list", json!({}));
        assert_eq!(list.body["containers"][0]["state"], "running", "{list:?}");
    }
    // Nothing ends while there is no bus.
    drop(daemon.bus);
    daemon.fake.end("web");
    daemon.bus = Bus::accept(&daemon.listener);
    let deadline = Instant::now() + SOON;
    while daemon.bus.call("cloudbox.container list", json!({})).body["containers"][0]["state"] != "stopped" {
        assert!(Instant::now() < deadline, "its end was not seen");
    }
    daemon.end();
}

#[test]
fn containers_are_lined_up_anew_only_when_others_run() {
    let mut bench = Bench::with(&["web"]);
    let lined_up = |bench: &mut Bench| {
        bench.poll_containers();
        bench.fleet.epoll.0.as_raw_fd()
    };
    let before = lined_up(&mut bench);
    assert_eq!(lined_up(&mut bench), before);
    bench.ok("cloudbox.container create", json!({"name": "db", "wait": 15}));
    // The set of before is there until the new one is.
    assert_ne!(lined_up(&mut bench), before);
}
