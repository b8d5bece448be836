//! The one place that decides: events in; calls answered, jobs begun, notifications sent. It owns the [`State`], and does
//! no I/O that can block: what does is a job.

use super::bus::method::{Caller, Method};
use super::hotplug::Hotplug;
use super::workers::{self, Sender};
use crate::announce::{Announcer, Looked, Port, Writing};
use crate::api::BusObject;
use crate::doctor;
use crate::error::{Code, Error, Result};
use crate::look::{self, Readings};
use crate::machine::Machine;
use crate::model::job::JobId;
use crate::model::life::GOOD_RUN;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::operations::{Ended, Ending, Task};
use crate::state::{Live, Notice, State};
use crate::steps::avahi::Troubles;
use crate::steps::ctx::{Cancel, Gate, Update};
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::steps::network::LinkWatch;
use litemap::LiteMap;
use log::{error, info, warn};
use openwrt_ubus::{Connection, Event, ObjectId, Request};
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An object is refused while ubusd still knows that of an earlier daemon: it goes with that one's socket.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// How long procd may take to pass a signal on.
const PROCD_TIME: Duration = Duration::from_secs(5);

/// What procd takes for a signal to a service.
#[derive(Serialize)]
struct Signal {
    name: &'static str,
    signal: i32,
}

/// What the loop waits for on behalf of a container.
#[derive(Debug, Clone)]
pub enum Watched {
    /// The end of its init.
    Init(Name),
    /// A change of its addresses.
    Addresses(Name),
    /// The end of avahi-daemon, or its beginning.
    Avahi,
    /// The end of a try to connect to one of its ports.
    Port(Port),
    /// What LXC and the kernel tell of all of them.
    Notices,
    /// A change of the rules of what they may send.
    Isolation,
    /// A change of the box's bridges and their ports.
    Links,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// End.
    End,
}

/// Word from a thread to the loop.
pub enum Report {
    /// A job is at another point.
    Update(JobId, Update),
    /// A job has ended.
    Done(JobId, Ending),
    /// What avahi-daemon shall announce is written, but for this.
    Announced(Troubles),
    /// What of that the network says.
    Looked(Looked),
    /// A thread has put ports into their bridges again, or could not.
    Joined(Vec<(Name, Result<()>)>),
    /// The owner's scripts have been told of an event.
    ScriptsTold,
    /// A thread has worked for a call, whose answer comes of this.
    Errand(u32, Then),
}

/// How a call is answered.
pub enum Answer {
    /// At once, with these fields.
    Fields(Vec<u8>),
    /// With a job's number; if the caller waits so many seconds, with how it ended.
    Job(JobId, Option<u32>),
    /// With the whole job, when it has ended or so many seconds are up.
    WholeJob(JobId, u32),
    /// By a thread: it may take longer than the loop should.
    Errand(Errand),
}

/// A caller whose reply is held back until a job ends.
pub struct Waiter {
    /// The job.
    pub job: JobId,
    pub(super) request: Request,
    /// When it is answered at the latest.
    pub deadline: Instant,
    /// It is answered with the whole job, whether or not that failed.
    pub(super) whole_job: bool,
}

/// A call that waits for the end of a job which the daemon made by itself.
pub(super) struct HeldCall {
    pub(super) call: Call,
    pub(super) request: Request,
    /// The job.
    pub(super) job: JobId,
    /// When it is answered at the latest, and with what.
    pub(super) deadline: Instant,
    pub(super) error: Error,
}

/// A call as it came.
pub(super) struct Call {
    pub(super) caller: u32,
    pub(super) who: Caller,
    pub(super) method: &'static Method,
    pub(super) arguments: Vec<u8>,
    pub(super) handed: Option<OwnedFd>,
}

/// What the loop does when a thread has worked for a call, which ends in an answer.
pub type Then = Box<dyn FnOnce(&mut Core) -> Result<Answer> + Send>;

/// A kind of work, and how many threads may do it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Reads files of the box.
    Look,
    /// Listens to the network for some seconds.
    Listen,
    /// Fetches the lists of servers, which may be megabytes each.
    Fetch,
    /// Runs a program in a container, for as long as its caller lets it.
    Exec,
    /// Edits the configuration file, one after the other.
    Edit,
}

/// The work of an errand, in its thread.
pub type Run = Box<dyn FnOnce(&Machine) -> Then + Send>;

/// What a thread does for one call, or for several that ask the same.
pub struct Errand {
    pub(super) kind: Work,
    /// Calls with the same words are answered together.
    pub(super) same: Option<String>,
    pub(super) run: Run,
}

/// Who calls: a connection to the bus, and behind rpcd's the session of a person.
pub type CallerId = (u32, String);

/// An errand that waits or is under way, with those who will be answered.
pub struct Open {
    pub(super) kind: Work,
    pub(super) same: Option<String>,
    pub(super) requests: Vec<(CallerId, Request)>,
    /// Until a thread has it.
    pub(super) run: Option<Run>,
}

/// All errands that have not ended.
#[derive(Default)]
pub struct Errands {
    pub(super) next: u32,
    pub(super) open: LiteMap<u32, Open>,
    pub(super) queue: VecDeque<u32>,
}

/// An answer that many calls share, and those that have not got it yet.
pub(super) struct Owed {
    pub(super) answer: Result<Vec<u8>>,
    pub(super) requests: VecDeque<Request>,
}

/// A job at work or waiting for a place.
pub struct Active {
    /// What it is cancelled by.
    pub cancel: Cancel,
    /// What it does; taken when it begins.
    pub task: Option<Box<dyn Task>>,
    /// It waits for a guest and takes no place.
    pub(super) waits: bool,
    /// Where it waits for its turn, when the box boots.
    pub(super) gate: Option<Gate>,
    pub(super) last_progress: Instant,
}

/// What starts at boot is being started.
#[derive(Debug)]
pub(super) struct Boot {
    /// What has not been begun, by priority.
    pub(super) queue: VecDeque<(u16, Action)>,
    /// What has been begun and does not run yet.
    pub(super) begun: Vec<Begun>,
}

impl Active {
    /// Whether it waits for its turn, so that others may have its place.
    pub(super) fn is_behind_gate(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.is_open())
    }
}

/// A start at boot that has been begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) job: JobId,
    pub(super) priority: u16,
    pub(super) action: Action,
    /// Somebody's call comes first: it is begun anew when its job has given way.
    pub(super) put_off: bool,
}

/// The box goes down: its containers are stopped.
#[derive(Debug)]
pub(super) struct Shutdown {
    /// The job that tells of it. It has no thread of its own, only those of the stops.
    pub(super) job: JobId,
    /// What still runs then is killed.
    pub(super) until: Instant,
    /// Whose stop was begun.
    pub(super) begun: Vec<Name>,
    /// How many there were at the beginning.
    pub(super) total: u64,
}

/// What is known, and what acts on it.
pub struct Core {
    pub(super) state: State,
    pub(super) announcer: Announcer,
    /// What tells of the box's bridges and their ports; None where that cannot be heard.
    pub(super) links: Option<LinkWatch>,
    /// Containers whose ports are to be put into their bridges again.
    pub(super) apart: BTreeSet<Name>,
    /// A thread puts some of them there.
    pub(super) joining: bool,
    /// Whose turn it is when everything is listed.
    pub(super) readings: Readings,
    pub(super) connection: Connection,
    pub(super) objects: Vec<(ObjectId, BusObject)>,
    /// When to try again to publish what ubusd refused.
    publish_again: Option<Instant>,
    /// The file that came with the call which is being answered.
    pub(super) handed: Option<OwnedFd>,
    /// Who made that call.
    pub(super) caller: Caller,
    /// Jobs at work or waiting for a place.
    pub(super) active: LiteMap<JobId, Active>,
    /// Those that wait, in their order.
    pub(super) queue: VecDeque<JobId>,
    /// Calls whose reply is held back until a job ends.
    pub(super) waiters: Vec<Waiter>,
    /// Calls that come to their turn when a job of the daemon's own ends.
    pub(super) held: Vec<HeldCall>,
    /// Calls that threads answer.
    pub(super) errands: Errands,
    pub(super) owed: VecDeque<Owed>,
    pub(super) sender: Sender<Report>,
    /// What shall start at boot has not been started yet, since the configuration could not be used.
    pub(super) boot_pending: bool,
    /// What starts at boot is being started.
    pub(super) boot: Option<Boot>,
    /// The box goes down.
    pub(super) shutdown: Option<Shutdown>,
    pub(super) hotplug: Hotplug,
    pub(super) ending: bool,
}

impl Core {
    /// A core that knows nothing yet; [`Core::start_up`] comes next.
    ///
    /// # Errors
    /// The box's identity cannot be had.
    pub fn new(
        machine: Machine,
        layout: Layout,
        config_path: PathBuf,
        cgroups: Option<Cgroups>,
        objects: impl Iterator<Item = (BusObject, openwrt_ubus::Object)>,
        sender: Sender<Report>,
    ) -> Result<Core> {
        let mut connection = Connection::new();
        let objects = objects.map(|(object, published)| (connection.add_object(published), object)).collect();
        let state = State::new(machine, layout, config_path, cgroups)?;
        let mut announcer = Announcer::new(Instant::now());
        announcer.recall(&state);
        Ok(Core {
            state,
            announcer,
            links: None,
            apart: BTreeSet::new(),
            joining: false,
            readings: Readings::default(),
            connection,
            objects,
            publish_again: None,
            handed: None,
            caller: Caller::default(),
            active: LiteMap::new(),
            queue: VecDeque::new(),
            waiters: Vec::new(),
            held: Vec::new(),
            errands: Errands::default(),
            owed: VecDeque::new(),
            sender,
            boot_pending: false,
            boot: None,
            shutdown: None,
            hotplug: Hotplug::default(),
            ending: false,
        })
    }

    /// The storage directory was named by the command line or the environment: UCI's does not count.
    pub fn storage_is_given(&mut self, given: bool) {
        self.state.storage_given = given;
    }

    /// Logs what `doctor` would complain of.
    pub fn report_health(&self) {
        let (machine, examination) = (self.state.machine.clone(), look::examination(&self.state));
        if let Err(error) = workers::spawn(move || doctor::report(&machine, &examination)) {
            error!("{error}");
        }
    }

    /// The bus, for the loop to carry its bytes.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether something is to be announced that is not yet.
    #[cfg(test)]
    pub(super) fn is_announcing(&self) -> bool {
        self.state.adverts_changed || self.announcer.is_at_it()
    }

    /// Whether no thread is at work on a job or on what is announced.
    pub fn is_quiet(&self) -> bool {
        self.active.is_empty() && !self.joining && !self.announcer.is_writing()
    }

    /// When [`Core::handle_time`] or [`Core::announce`] has something to do next.
    pub fn next_time(&self) -> Option<Instant> {
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        let waiter = waiters.chain(self.held.iter().map(|held| held.deadline)).min();
        let (mut adverts, mut restart) = (None, None);
        if !self.ending {
            adverts = self.announcer.next_time();
            restart = self.next_restart();
        }
        let rests =
            self.state.containers.values().filter_map(|c| c.live.as_ref()?.addresses.as_ref()?.rests_until());
        let links = self.links.as_ref().and_then(LinkWatch::rests_until);
        let times = [
            rests.min(),
            links,
            waiter,
            self.publish_again,
            self.connection.poll_timeout(),
            adverts,
            restart,
        ];
        times.into_iter().flatten().min()
    }

    /// The containers whose end and whose addresses the loop shall watch. Those a job works on are the job's.
    pub fn fleet(&self) -> impl Iterator<Item = (&Name, &Live)> {
        let containers = self.state.containers.iter();
        let running = containers.filter_map(|(name, c)| Some((name, c.live.as_deref()?)));
        running.filter(|(name, _)| !self.ending && self.state.job_on(name).is_none())
    }

    /// What else the loop shall watch.
    pub fn watched(&self) -> Vec<(BorrowedFd<'_>, Watched)> {
        let mut watched = Vec::new();
        if self.ending {
            return watched;
        }
        watched.extend(self.state.machine.runtime.notices_fd().map(|fd| (fd, Watched::Notices)));
        watched.extend(self.state.machine.network.monitors().into_iter().map(|fd| (fd, Watched::Isolation)));
        watched.extend(self.links.as_ref().and_then(LinkWatch::fd).map(|fd| (fd, Watched::Links)));
        watched.extend(self.announcer.watch().map(|fd| (fd, Watched::Avahi)));
        let trying = self.announcer.trying();
        watched.extend(trying.map(|(port, fd)| (fd, Watched::Port(port.clone()))));
        watched
    }

    /// Time has come.
    pub fn handle_time(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.pay();
        if self.publish_again.is_some_and(|at| at <= now) {
            self.publish_again = None;
            for (id, _) in &self.objects {
                if !self.connection.is_published(*id) {
                    self.connection.publish_again(*id);
                }
            }
        }
        self.answer_waiters(|waiter| waiter.deadline <= now);
        self.give_up_calls(now);
        for (_, container) in &mut self.state.containers {
            if let Some(watch) = container.live.as_mut().and_then(|live| live.addresses.as_mut()) {
                watch.handle_time(now);
            }
        }
        if let Some(links) = &mut self.links {
            links.handle_time(now);
        }
        if !self.ending {
            self.restart_due(now);
            self.announcer.try_ports(&self.state, now);
        }
        self.handle_bus();
    }

    /// The bus brought something.
    pub fn handle_bus(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Call { object, method, arguments, caller, descriptor, request } => {
                    if let Some(object) = self.object(object) {
                        self.call(&caller, object, &method, &arguments, descriptor, request);
                    }
                }
                Event::Connected { .. } => info!("connected to ubusd"),
                Event::PublishFailed { object, status } => {
                    let path = self.object(object).map_or("?", BusObject::path);
                    error!("ubusd refuses the object {path}: {status}; is another cloudbox running?");
                    self.publish_again = Some(Instant::now() + PUBLISH_AGAIN);
                }
                _ => {}
            }
        }
        self.send_notices();
    }

    fn object(&self, id: ObjectId) -> Option<BusObject> {
        self.objects.iter().find(|(known, _)| *known == id).map(|(_, object)| *object)
    }

    /// Tells subscribers and listeners what has happened.
    fn send_notices(&mut self) {
        for notice in std::mem::take(&mut self.state.notices) {
            self.tell_subscribers(notice.object, &notice);
            if notice.hosted {
                self.tell_subscribers(BusObject::Config, &notice);
            }
            // What is the process' of the commons alone is no event for everybody.
            if notice.object != BusObject::Config {
                self.hotplug.hear(notice.event, &notice.fields);
                let _ = self.connection.send_event(notice.event, &notice.fields);
            }
        }
        self.tell_scripts();
    }

    fn tell_subscribers(&mut self, object: BusObject, notice: &Notice) {
        let id = self.objects.iter().find(|(_, known)| *known == object).map(|(id, _)| *id);
        if let Some(id) = id.filter(|id| self.connection.has_subscribers(*id)) {
            // Full or disconnected: notifications may be lost, replies may not.
            let _ = self.connection.notify(id, notice.event, &notice.fields);
        }
    }

    /// A signal came.
    pub fn handle_order(&mut self, order: Order) {
        match order {
            Order::Reload => {
                let reply = self.reload();
                for warning in &reply.warnings {
                    warn!("{warning}");
                }
            }
            Order::End => {
                info!("ending; containers go on running");
                self.ending = true;
                self.withdraw_if_nothing_runs();
                for id in std::mem::take(&mut self.queue) {
                    self.finish(id, Err(Error::new(Code::Interrupted, "the daemon was told to end")));
                }
                for active in self.active.values() {
                    active.cancel.cancel();
                }
                if let Some(scripts) = &self.hotplug.at_work {
                    scripts.cancel();
                }
                self.go_on_with_calls();
            }
        }
        self.send_notices();
    }

    /// Where no container runs, nobody is left to announce, and no daemon to keep it true.
    fn withdraw_if_nothing_runs(&mut self) {
        if self.state.containers.values().all(|container| container.live.is_none()) {
            let writing = self.announcer.withdraw();
            self.write_adverts(writing);
        }
    }

    fn write_adverts(&mut self, writing: Option<Writing>) {
        let Some(writing) = writing else { return };
        let machine = self.state.machine.clone();
        if let Err(error) =
            workers::spawn_report(&self.sender, move || Report::Announced(writing.run(&machine)))
        {
            error!("{error}");
            self.announcer.not_written();
        }
    }

    /// A descriptor is readable, or a connection has ended.
    pub fn handle_watched(&mut self, watched: &Watched) {
        match watched {
            Watched::Init(name) => {
                let Some(container) = self.state.containers.get(name) else { return };
                if self.state.job_on(name).is_none() {
                    info!("container {name} ended");
                    let live = container.live.as_deref().filter(|live| live.age().as_secs() < GOOD_RUN);
                    let reboots = live.map_or(0, |live| live.reboots);
                    self.begin_own(Box::new(Ended { record: container.record.clone(), reboots }));
                }
            }
            Watched::Addresses(name) => {
                let Some(container) = self.state.containers.get_mut(name) else { return };
                let live = container.live.as_mut();
                let changed =
                    live.and_then(|live| live.update_addresses(&self.state.machine, &container.record));
                if let Some(at_once) = changed {
                    self.state.notify_container("container.changed", name);
                    if at_once {
                        self.state.adverts_changed = true;
                    } else {
                        self.announcer.wake_for_guest(Instant::now());
                    }
                }
            }
            Watched::Avahi => self.announcer.handle_watch(&mut self.state),
            Watched::Port(port) => self.announcer.handle_port(port),
            Watched::Notices => self.state.hear_notices(),
            Watched::Isolation => self.state.machine.network.put_back(),
            Watched::Links => self.hear_links(),
        }
        self.send_notices();
    }

    /// A thread has something to say.
    pub fn handle_report(&mut self, report: Report) {
        match report {
            Report::Update(id, update) => self.job_update(id, update),
            Report::Done(id, ending) => self.job_ended(id, ending),
            Report::Joined(ports) => self.joined(ports),
            Report::Announced(troubles) => {
                if self.announcer.written(&mut self.state, troubles) {
                    self.have_names_read();
                }
            }
            Report::ScriptsTold => self.scripts_told(),
            Report::Looked(looked) => self.announcer.looked(&mut self.state, looked),
            Report::Errand(id, then) => self.errand_ended(id, then),
        }
        self.send_notices();
    }

    /// Has procd tell dnsmasq that there are other names. Elsewhere there is nobody who hears it.
    fn have_names_read(&mut self) {
        let signal = Signal { name: "dnsmasq", signal: nix::sys::signal::Signal::SIGHUP as i32 };
        if let Ok(fields) = openwrt_ubus::to_fields(&signal) {
            self.connection.call("service", "signal", &fields, Instant::now() + PROCD_TIME);
        }
    }

    /// Has written what is to be announced by now, if that is something new, and looks for it on the network. The loop
    /// calls it when all that came has been handled.
    pub fn announce(&mut self, now: Instant) {
        if std::mem::take(&mut self.state.adverts_changed) {
            self.announcer.wake(now);
        }
        if self.ending {
            return;
        }
        let writing = self.announcer.announce(&self.state, now);
        self.write_adverts(writing);
        let Some(looking) = self.announcer.look(&self.state) else { return };
        let machine = self.state.machine.clone();
        if let Err(error) = workers::spawn_report(&self.sender, move || Report::Looked(looking.run(&machine)))
        {
            error!("{error}");
            self.announcer.not_looked();
        }
    }
}
