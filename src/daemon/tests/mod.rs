//! The daemon's core with a bus, a client and a box in memory: no root, no sockets, no waiting for a clock.
//!
//! Jobs run in real threads; [`Bench`] hands their reports to the core one by one. What the calls answer is compared
//! with `tests/golden`, the API's contract; `UPDATE_GOLDEN=1 cargo test --lib` writes these files anew.

mod addresses;
mod adverts;
mod apart;
mod bus;
mod copies;
mod errors;
mod first_boot;
mod hotplug;
mod jobs;
mod life;
mod links;
mod outside;
mod reload;
mod remotes;
mod replies;
mod rights;
mod start_up;
mod walk;

use super::core::Report;
use super::core::{Core, Watched};
use super::event_loop::Fleet;
use super::start_up::load;
use super::workers::Sender;
use crate::model::image::Image;
use crate::model::name::Name;
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::testing::image;
use crate::testing::{FakeBox, TempDir};
use openwrt_ubus::broker::{Broker, ClientId, Credentials};
use openwrt_ubus::conn::{CallId, Reply};
use openwrt_ubus::{to_fields, Connection, Event, Fields};
use serde_json::{json, Value as Json};
use std::path::Path;
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

/// How long a job may take before the test gives it up; none takes more than a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// Small containers without quotas, and nothing kept for the box: the machine of the tests may be small.
const CONFIG: &str = "config cloudbox 'main'\n\toption memory '16M'\n\toption disk 'none'\n\
                      \toption memory_reserve '0'\n\toption disk_reserve '0'\n";

/// Sections of containers, to stand behind [`CONFIG`].
fn sections(names: &[&str]) -> String {
    names.iter().map(|name| format!("config container '{name}'\n")).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn distro() -> Image {
    image(&"ab".repeat(32), &["distro"])
}

/// Containers and orphans of a list, by name.
fn everything(list: &Json) -> Vec<Json> {
    let mut all = [list["containers"].as_array().unwrap(), list["orphans"].as_array().unwrap()]
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<Json>>();
    all.sort_by_key(|entry| entry["name"].as_str().unwrap().to_string());
    all
}

/// What a call was answered with.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u32,
    body: Json,
    /// The body as it came, fields in their order.
    text: String,
}

impl Answer {
    /// The code of its error, or "".
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }

    /// The message of its error, or "".
    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or("")
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        let fields = Fields::new(&reply.data);
        Answer {
            status: reply.status.0,
            body: serde_json::to_value(fields).unwrap(),
            text: serde_json::to_string_pretty(&fields).unwrap(),
        }
    }
}

/// A daemon's core with all it needs, and a client that calls it.
struct Bench {
    core: Core,
    fleet: Fleet,
    fake: FakeBox,
    dir: TempDir,
    broker: Broker,
    daemon_at: ClientId,
    client: Connection,
    client_at: ClientId,
    reports: mpsc::Receiver<Report>,
    answers: Vec<(CallId, Answer)>,
    /// Notifications and events of the bus, `container.created {"name":"web"}`, in their order.
    heard: Vec<String>,
}

impl Bench {
    /// A daemon on a fresh box with the image distro and this configuration.
    fn new(config: &str) -> Bench {
        let fake = FakeBox::new(vec![distro()]);
        fake.change(|world| world.config = config.to_string());
        Bench::of(fake, TempDir::make())
    }

    /// A daemon with these containers, made and running, or stopped where the name ends in `-`.
    fn with(containers: &[&str]) -> Bench {
        let mut bench = Bench::new(CONFIG);
        for container in containers {
            let (name, start) = container.strip_suffix('-').map_or((*container, true), |name| (name, false));
            bench.ok("cloudbox.container create", json!({"name": name, "start": start, "wait": 15}));
        }
        bench
    }

    /// A daemon that starts on `fake`; `dir` is its storage and runtime directory.
    fn of(fake: FakeBox, dir: TempDir) -> Bench {
        let layout = Layout { storage: dir.path().to_path_buf(), run: dir.path().to_path_buf() };
        let (sender, reports) = mpsc::channel();
        // Fails only when the test is over.
        let sender: Sender<Report> = Arc::new(move |report| drop(sender.send(report)));
        let config_path = Path::new("/etc/config/cloudbox").to_path_buf();
        let cgroups = Cgroups::detect("cloudbox-test").ok();
        let mut core =
            Core::new(fake.machine(), layout, config_path, cgroups, super::objects(), sender).unwrap();
        core.storage_is_given(true);
        core.start_up(load(&fake)).unwrap();
        let mut broker = Broker::new(1);
        let daemon_at = broker.connect(Credentials::root());
        let client_at = broker.connect(Credentials::root());
        let mut bench = Bench {
            core,
            fleet: Fleet::new().unwrap(),
            fake,
            dir,
            broker,
            daemon_at,
            client: Connection::new(),
            client_at,
            reports,
            answers: Vec::new(),
            heard: Vec::new(),
        };
        bench.pump();
        bench
    }

    /// The daemon ends, and another one starts on the same box.
    fn restarted(self) -> Bench {
        Bench::of(self.fake, self.dir)
    }

    /// Carries bytes until nobody has any.
    fn pump(&mut self) {
        loop {
            let mut moved = false;
            for (at, connection) in
                [(self.daemon_at, self.core.connection()), (self.client_at, &mut self.client)]
            {
                let (bytes, descriptor) = connection.transmit_with();
                let descriptor = descriptor.map(|descriptor| descriptor.try_clone_to_owned().unwrap());
                moved |= !bytes.is_empty();
                self.broker.handle_input_with(at, bytes, descriptor).unwrap();
                let sent = bytes.len();
                connection.consumed(sent);
                let (bytes, descriptor) = self.broker.transmit_with(at);
                let descriptor = descriptor.map(|descriptor| descriptor.try_clone_to_owned().unwrap());
                moved |= !bytes.is_empty();
                connection.handle_input_with(bytes, descriptor).unwrap();
                let sent = bytes.len();
                self.broker.consumed(at, sent);
            }
            self.core.handle_bus();
            while let Some(event) = self.client.poll_event() {
                self.hear(event);
            }
            if !moved {
                self.core.save_jobs();
                return;
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let text = |data: &[u8]| serde_json::to_string(&Fields::new(data)).unwrap();
        match event {
            Event::CallEnded { call, reply } => self.answers.push((call, reply.into())),
            Event::Notification { name, data, .. } => self.heard.push(format!("{name} {}", text(&data))),
            Event::BusEvent { id, data } => self.heard.push(format!("event {id} {}", text(&data))),
            _ => {}
        }
    }

    /// Sends a call, `cloudbox.container list`.
    fn begin(&mut self, method: &str, arguments: Json) -> CallId {
        let (path, method) = method.split_once(' ').unwrap();
        let deadline = Instant::now() + Duration::from_secs(3600);
        let call = self.client.call(path, method, &to_fields(&arguments).unwrap(), deadline);
        self.pump();
        call
    }

    /// The answer of a call, if it is there.
    fn answer(&mut self, call: CallId) -> Option<Answer> {
        let at = self.answers.iter().position(|(id, _)| *id == call)?;
        Some(self.answers.remove(at).1)
    }

    /// Waits for the next report of a thread, and lets the core see it.
    fn report(&mut self) {
        let report = self.reports.recv_timeout(PATIENCE).expect("no thread has anything to say");
        self.core.handle_report(report);
        self.pump();
    }

    /// Calls and waits for the answer, while jobs go on.
    fn call(&mut self, method: &str, arguments: Json) -> Answer {
        let call = self.begin(method, arguments);
        self.wait_for(call)
    }

    fn wait_for(&mut self, call: CallId) -> Answer {
        loop {
            if let Some(answer) = self.answer(call) {
                return answer;
            }
            self.report();
        }
    }

    /// The same for a call that goes well.
    #[track_caller]
    fn ok(&mut self, method: &str, arguments: Json) -> Json {
        let answer = self.call(method, arguments);
        assert_eq!(answer.status, 0, "{method}: {}", answer.text);
        answer.body
    }

    /// The same for a call that fails with this code.
    #[track_caller]
    fn fails(&mut self, code: &str, method: &str, arguments: Json) -> String {
        let answer = self.call(method, arguments.clone());
        assert_eq!(answer.code(), code, "{method} {arguments}: {}", answer.text);
        answer.message().to_string()
    }

    /// Begins a call that is answered at once with a job's number.
    fn job(&mut self, method: &str, arguments: Json) -> String {
        self.ok(method, arguments)["job"].as_str().unwrap().to_string()
    }

    /// Lets all jobs end.
    fn work(&mut self) {
        while !self.core.is_quiet() {
            self.report();
        }
    }

    /// Handles reports until the container's job is held at a call.
    fn work_until_held(&mut self, call: &str) {
        self.work_until_called(call, 1);
    }

    /// Handles reports until a call was made so often.
    fn work_until_called(&mut self, call: &str, times: usize) {
        let started = Instant::now();
        while self.fake.calls().iter().filter(|c| *c == call).count() < times {
            assert!(started.elapsed() < PATIENCE, "{call} was not made {times} times");
            if let Ok(report) = self.reports.try_recv() {
                self.core.handle_report(report);
            }
            std::thread::yield_now();
        }
        self.pump();
    }

    /// Lets everything be announced that is to be, once its ports were tried.
    fn settle(&mut self) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            self.try_ports();
            self.core.announce(Instant::now() + Duration::from_millis(100));
            if let Ok(report) = self.reports.try_recv() {
                self.core.handle_report(report);
                self.pump();
            } else if !self.core.is_announcing() {
                return;
            }
            std::thread::yield_now();
        }
        panic!("there is no end of announcing");
    }

    /// Lets the tries under way end.
    fn try_ports(&mut self) {
        let trying: Vec<Watched> = self.core.watched().into_iter().map(|(_, watched)| watched).collect();
        for watched in trying {
            if matches!(watched, Watched::Port(_)) {
                self.core.handle_watched(&watched);
            }
        }
    }

    /// Time passes until every port is tried again.
    fn pass_until_tried(&mut self) {
        while let Some(next) = self.core.next_time().filter(|next| *next > Instant::now()) {
            self.core.handle_time(next);
            self.try_ports();
            if self.core.is_announcing() {
                break;
            }
        }
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.core.handle_time(Instant::now() + time);
        self.pump();
    }

    /// The client hears of everything from now on.
    fn listen(&mut self) {
        for path in ["cloudbox.container", "cloudbox.image", "cloudbox.job", "cloudbox.service"] {
            self.client.subscribe(path);
        }
        self.client.register_event("*");
        self.pump();
        self.heard.clear();
    }

    /// What was heard since the last time, but for the progress and end of jobs.
    fn heard(&mut self) -> Vec<String> {
        let of_interest = |line: &String| !line.contains("job.");
        std::mem::take(&mut self.heard).into_iter().filter(of_interest).collect()
    }

    /// The same, as the subscribers of objects heard it.
    fn notified(&mut self) -> Vec<String> {
        self.heard().into_iter().filter(|line| !line.starts_with("event ")).collect()
    }

    /// `name state` of every container.
    fn states(&mut self) -> Vec<String> {
        let list = self.ok("cloudbox.container list", json!({}));
        let entries = everything(&list);
        let shown = |c: &Json| format!("{} {}", c["name"].as_str().unwrap(), c["state"].as_str().unwrap());
        entries.iter().map(shown).collect()
    }

    /// What `list` says of one container.
    fn entry(&mut self, name: &str) -> Json {
        let list = self.ok("cloudbox.container list", json!({}));
        everything(&list).into_iter().find(|c| c["name"] == name).unwrap_or(Json::Null)
    }

    fn warnings(&mut self) -> Vec<String> {
        let status = self.ok("cloudbox status", json!({}));
        status["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_string()).collect()
    }

    /// Changes the configuration file and reloads it; all jobs that brings end.
    fn reload(&mut self, config: &str) -> Json {
        self.fake.change(|world| world.config = config.to_string());
        let reply = self.ok("cloudbox reload", json!({}));
        self.work();
        reply
    }

    /// Lets the core see every container's descriptor that is readable, as the loop does.
    fn poll_containers(&mut self) -> usize {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        self.fleet.follow(&self.core).unwrap();
        let mut ready = self.fleet.happened(&self.core);
        let is_ready = |fd| {
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, PollTimeout::ZERO).unwrap();
            fds[0].any() == Some(true)
        };
        for (fd, what) in self.core.watched() {
            if is_ready(fd) {
                ready.push(what);
            }
        }
        for what in &ready {
            self.core.handle_watched(what);
        }
        self.pump();
        ready.len()
    }
}
