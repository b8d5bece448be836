//! The bus: the box's daemon is asked there, and the objects of the commons are offered.
//!
//! What the core wants done becomes a job of the daemon, which is followed until it has ended. Containers are listed anew when
//! the daemon says that something has changed, never by the clock.

use super::told::{unreachable, Config, Info, Job, List, ToldError};
use crate::commons::interface::{Call, Container, Fault};
use crate::error::{Code, Result};
use crate::model::slice::SliceGroup;
use log::{info, warn};
use openwrt_ubus::conn::{CallId, Connection, Event, ObjectId, Reply, Request, SubscriptionId};
use openwrt_ubus::driver::{Backoff, Driver, Progress};
use openwrt_ubus::{to_fields, Object, Status};
use serde::Deserialize;
use serde_json::{json, Value};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CONTAINER: &str = "cloudbox.container";
const JOB: &str = "cloudbox.job";
const CONFIG: &str = "cloudbox.config";
/// How long a call may take, and how many seconds the daemon is asked to hold back the end of a job.
const PATIENCE: Duration = Duration::from_secs(30);
const WAIT: u32 = 15;
/// Pause before the daemon is asked again that was not there.
const AGAIN: Duration = Duration::from_secs(3);
/// How long a job is asked for while the daemon is not there: it may be starting anew, and then knows its jobs.
const LOST_JOB: Duration = Duration::from_secs(90);
/// After a lost bus: the first and the longest time between two tries to reach it.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LONGEST: Duration = Duration::from_secs(5);

/// A call to be made for the core.
#[derive(Debug, Clone)]
pub struct Task {
    /// The core's number of it.
    pub call: Call,
    /// Object and method.
    pub to: (&'static str, &'static str),
    /// Its arguments.
    pub arguments: Value,
    /// These refusals mean that it is so already.
    pub fine: &'static [Code],
    /// It fetches something: whatever goes wrong is the box's fault.
    pub pulls: bool,
}

/// What came over the bus.
#[derive(Debug)]
pub enum News {
    /// The configuration.
    Config(Box<Config>),
    /// All containers of slices.
    Containers(Vec<Container>),
    /// A task has ended.
    Done(Call, std::result::Result<(), Fault>),
    /// Somebody calls a method of ours.
    Called {
        /// `cloudbox.slice`, and not `cloudbox.commons`.
        of_slice: bool,
        /// The method.
        method: String,
        /// Its encoded arguments.
        arguments: Vec<u8>,
        /// To be answered.
        request: Request,
    },
}

/// What a call of ours is about.
#[derive(Debug, Clone)]
enum Asked {
    Config,
    List,
    Info,
    Begin(Task),
    Follow(Followed),
}

/// A job that is followed.
#[derive(Debug, Clone)]
struct Followed {
    task: Task,
    job: String,
    /// Since when the daemon does not answer.
    lost: Option<Instant>,
}

/// A look at all containers.
#[derive(Debug, Default)]
struct Round {
    left: usize,
    found: Vec<Container>,
    /// Something has changed meanwhile.
    stale: bool,
}

/// The connection.
pub struct Bus {
    connection: Connection,
    driver: Option<Driver>,
    backoff: Backoff,
    socket: PathBuf,
    of_slice: ObjectId,
    of_commons: ObjectId,
    subscription: SubscriptionId,
    asked: Vec<(CallId, Asked)>,
    round: Option<Round>,
    /// What is asked later, since the daemon was not there.
    later: Vec<(Instant, Asked)>,
    told_of_no_bus: bool,
    told_of_no_daemon: bool,
}

impl Bus {
    /// For the socket of ubusd, with these objects.
    pub fn new(socket: PathBuf, of_slice: Object, of_commons: Object) -> Bus {
        let mut connection = Connection::new();
        let (of_slice, of_commons) = (connection.add_object(of_slice), connection.add_object(of_commons));
        let subscription = connection.subscribe(CONFIG);
        Bus {
            connection,
            driver: None,
            backoff: Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST),
            socket,
            of_slice,
            of_commons,
            subscription,
            asked: Vec::new(),
            round: None,
            later: Vec::new(),
            told_of_no_bus: false,
            told_of_no_daemon: false,
        }
    }

    /// Asks for the configuration.
    pub fn ask_config(&mut self) {
        self.ask(Asked::Config);
    }

    /// Asks for all containers.
    pub fn ask_containers(&mut self) {
        match &mut self.round {
            Some(round) => round.stale = true,
            None => {
                self.round = Some(Round::default());
                self.ask(Asked::List);
            }
        }
    }

    /// Begins a task. Its end is told by [`News::Done`].
    pub fn begin(&mut self, task: Task) {
        self.ask(Asked::Begin(task));
    }

    /// The connection, for answers and notifications.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Tells whoever has subscribed to `cloudbox.commons`.
    pub fn notify(&mut self, name: &str, told: &Value) {
        if let Ok(fields) = to_fields(told) {
            // Whoever does not read fast enough asks for what there is.
            let _ = self.connection.notify(self.of_commons, name, &fields);
        }
    }

    fn ask(&mut self, what: Asked) {
        let call = match &what {
            Asked::Config => self.send(CONFIG, "commons", &json!({}), PATIENCE),
            Asked::List => self.send(CONTAINER, "list", &json!({ "fields": ["slice"] }), PATIENCE),
            Asked::Info => return,
            Asked::Begin(task) => self.send(task.to.0, task.to.1, &task.arguments, PATIENCE),
            Asked::Follow(followed) => {
                let patience = PATIENCE + Duration::from_secs(WAIT.into());
                self.send(JOB, "wait", &json!({ "id": followed.job, "timeout": WAIT }), patience)
            }
        };
        self.asked.push((call, what));
    }

    fn send(&mut self, object: &str, method: &str, arguments: &Value, patience: Duration) -> CallId {
        let fields = to_fields(arguments).unwrap_or_default();
        self.connection.call(object, method, &fields, Instant::now() + patience)
    }

    /// Does what is due and what can be done without waiting.
    pub fn turn(&mut self, now: Instant) -> Vec<News> {
        if self.driver.is_none() && self.backoff.is_due(now) {
            self.backoff.tried(now);
            match Driver::connect(&self.socket) {
                Ok(driver) => self.driver = Some(driver),
                Err(e) if !std::mem::replace(&mut self.told_of_no_bus, true) => {
                    warn!("cannot reach ubusd at {}: {e}; trying again", self.socket.display());
                }
                Err(_) => {}
            }
        }
        self.connection.handle_timeout(now);
        if let Some(driver) = &mut self.driver {
            if !matches!(driver.on_ready(&mut self.connection), Ok(Progress::Open)) {
                self.driver = None;
            }
        }
        if self.connection.is_ready() {
            self.backoff.succeeded();
            self.told_of_no_bus = false;
        }
        let mut due = Vec::new();
        self.later.retain(|(at, asked)| {
            let is_due = *at <= now;
            if is_due {
                due.push(asked.clone());
            }
            !is_due
        });
        due.into_iter().for_each(|asked| self.ask(asked));
        let mut news = Vec::new();
        while let Some(event) = self.connection.poll_event() {
            self.handle(event, now, &mut news);
        }
        news
    }

    /// Writes what was said since.
    pub fn flush(&mut self) {
        if let Some(driver) = &mut self.driver {
            if !matches!(driver.flush(&mut self.connection), Ok(Progress::Open)) {
                self.driver = None;
            }
        }
    }

    /// The socket to be polled, and whether for writing as well.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.driver.as_ref().map(|driver| (driver.as_fd(), driver.wants_write()))
    }

    /// When the next turn is due at the latest.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let later = self.later.iter().map(|(at, _)| *at).min();
        let bus = match self.driver {
            Some(_) => self.connection.poll_timeout(),
            None => Some(self.backoff.due().unwrap_or(now)),
        };
        [later, bus].into_iter().flatten().min()
    }

    fn handle(&mut self, event: Event, now: Instant, news: &mut Vec<News>) {
        match event {
            // The daemon may have been somebody else's while we did not hear it.
            Event::Subscribed { subscription } if subscription == self.subscription => {
                self.ask_config();
                self.ask_containers();
            }
            Event::Notification { name, .. } => {
                if name == "config.changed" {
                    self.ask_config();
                }
                self.ask_containers();
            }
            Event::PublishFailed { status, .. } => {
                warn!("an object of the commons is not on the bus: {} (status {})", status.text(), status.0);
            }
            Event::Call { object, method, arguments, request, .. } => {
                let of_slice = object == self.of_slice;
                news.push(News::Called { of_slice, method, arguments, request });
            }
            Event::CallEnded { call, reply } => {
                let Some(at) = self.asked.iter().position(|(id, _)| *id == call) else { return };
                let (_, asked) = self.asked.swap_remove(at);
                self.ended(asked, &reply, now, news);
            }
            _ => {}
        }
    }

    fn ended(&mut self, asked: Asked, reply: &Reply, now: Instant, news: &mut Vec<News>) {
        match asked {
            Asked::Config => match read::<Config>(reply) {
                Ok(config) => {
                    self.told_of_no_daemon = false;
                    news.push(News::Config(Box::new(config)));
                }
                Err(error) => self.ask_later(Asked::Config, &error.message, now),
            },
            Asked::List => match read::<List>(reply) {
                Ok(list) => self.inquire(list, news),
                Err(error) => {
                    self.ask_later(Asked::List, &error.message, now);
                }
            },
            Asked::Info => {
                let Some(round) = &mut self.round else { return };
                round.left = round.left.saturating_sub(1);
                // One that is gone meanwhile is told by the next round.
                round.found.extend(read::<Info>(reply).ok().map(|info| info.container()));
                if round.left == 0 {
                    self.end_round(news);
                }
            }
            Asked::Begin(task) => self.begun(task, reply, news),
            Asked::Follow(followed) => self.followed(followed, reply, now, news),
        }
    }

    /// The daemon is asked again after a while.
    fn ask_later(&mut self, asked: Asked, why: &str, now: Instant) {
        if !std::mem::replace(&mut self.told_of_no_daemon, true) {
            info!("the box's daemon: {why}; asked again every {} s", AGAIN.as_secs());
        }
        self.later.push((now + AGAIN, asked));
    }

    /// Asks for each container of a list.
    fn inquire(&mut self, list: List, news: &mut Vec<News>) {
        let count = list.containers.len();
        for listed in list.containers {
            let call = self.send(CONTAINER, "info", &json!({ "name": listed.name }), PATIENCE);
            self.asked.push((call, Asked::Info));
        }
        if let Some(round) = &mut self.round {
            round.left = count;
        }
        if count == 0 {
            self.end_round(news);
        }
    }

    fn end_round(&mut self, news: &mut Vec<News>) {
        let Some(mut round) = self.round.take() else { return };
        // Root sees others as well: those of nobody's slice, and with an owner's own label.
        round.found.retain(|container| SliceGroup::parse(&container.slice).is_some());
        round.found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        news.push(News::Containers(round.found));
        if round.stale {
            self.ask_containers();
        }
    }

    fn begun(&mut self, task: Task, reply: &Reply, news: &mut Vec<News>) {
        match read::<Job>(reply) {
            Ok(Job { job: Some(job), .. }) => self.ask(Asked::Follow(Followed { task, job, lost: None })),
            Ok(_) => self.done(&task, Ok(()), news),
            Err(error) => self.done(&task, Err(error), news),
        }
    }

    fn followed(&mut self, mut followed: Followed, reply: &Reply, now: Instant, news: &mut Vec<News>) {
        let job = match read::<Job>(reply) {
            Ok(job) => job,
            // The daemon is there, and does not know the job any more.
            Err(error) if reply.from_callee => return self.done(&followed.task, Err(error), news),
            Err(error) => {
                let since = *followed.lost.get_or_insert(now);
                if now.saturating_duration_since(since) < LOST_JOB {
                    self.later.push((now + AGAIN, Asked::Follow(followed)));
                } else {
                    self.done(&followed.task, Err(error), news);
                }
                return;
            }
        };
        followed.lost = None;
        match job.state.as_deref() {
            Some("done") => self.done(&followed.task, Ok(()), news),
            Some("failed" | "cancelled") => {
                let cancelled =
                    || ToldError { code: "cancelled".into(), message: "somebody cancelled it".into() };
                self.done(&followed.task, Err(job.error.unwrap_or_else(cancelled)), news);
            }
            _ => self.ask(Asked::Follow(followed)),
        }
    }

    fn done(&mut self, task: &Task, result: std::result::Result<(), ToldError>, news: &mut Vec<News>) {
        let result = match result {
            Err(error) if task.fine.contains(&Code::from_text(&error.code)) && error.code != "failed" => {
                Ok(())
            }
            Err(error) if error.code.is_empty() => Err(unreachable(&error.message)),
            Err(error) => Err(error.fault(task.pulls)),
            Ok(()) => Ok(()),
        };
        news.push(News::Done(task.call, result));
        self.ask_containers();
    }
}

/// What a reply says, or the daemon's own words against it; one without a code is nobody's.
fn read<'de, T: Deserialize<'de>>(reply: &'de Reply) -> std::result::Result<T, ToldError> {
    #[derive(Deserialize)]
    struct Failure {
        error: ToldError,
    }
    let nobody = |message: String| ToldError { code: String::new(), message };
    if reply.status == Status::OK {
        return reply.read::<T>().map_err(|error| nobody(error.to_string()));
    }
    match reply.read::<Failure>() {
        Ok(failure) => Err(failure.error),
        Err(_) => Err(nobody(format!("{} (status {})", reply.status.text(), reply.status.0))),
    }
}

/// The answer to a call of ours.
pub fn answer(connection: &mut Connection, request: Request, result: Result<Value>) {
    let (value, status) = match result {
        Ok(value) => (value, Status::OK),
        Err(error) => {
            let told = json!({ "error": { "code": error.code.as_str(), "message": error.message } });
            (told, Status(error.code.ubus_status()))
        }
    };
    let fields = to_fields(&value).unwrap_or_default();
    match connection.reply(&request, &fields) {
        Ok(()) => connection.complete(request, status),
        Err(error) => {
            warn!("a reply of {} bytes cannot be sent: {error}", fields.len());
            connection.complete(request, Status::UNKNOWN_ERROR);
        }
    }
}
