//! The one place that decides. It owns the model: configuration, containers, images, jobs. It does no I/O that can
//! block: what does is a job.

use super::adverts::Announcer;
use super::answers::Readings;
use super::calls::Answer;
use super::order::{Boot, Shutdown};
use super::probes::Port;
use super::remotes::Newer;
use super::work::{Report, Sender, Work};
use crate::api::Face;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::config::Config;
use crate::model::idrange::IdRange;
use crate::model::image::Image;
use crate::model::job::{JobId, Jobs};
use crate::model::life::Life;
use crate::model::name::Name;
use crate::ops::Live;
use crate::steps::ctx::Cancel;
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::steps::storage::Record;
use log::{error, info, warn};
use openwrt_ubus::{Connection, Event, ObjectId, Request};
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An object is refused while ubusd still knows that of an earlier daemon: it goes with that one's socket.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// A container whose files are there.
pub struct Container {
    /// What it is.
    pub record: Box<Record>,
    /// What runs of it.
    pub live: Option<Box<Live>>,
    /// Why the last start failed, or why it ended.
    pub failure: Option<Error>,
    /// How its runs ended.
    pub life: Life,
    /// When it is started again.
    pub(super) due: Option<Instant>,
}

/// A job at work or waiting for a place.
pub(super) struct Active {
    pub(super) cancel: Cancel,
    /// Taken when it begins.
    pub(super) work: Option<Work>,
    /// It waits for a guest and takes no place.
    pub(super) waits: bool,
    pub(super) last_progress: Instant,
}

/// A caller whose reply is held back until a job ends.
pub(super) struct Waiter {
    pub(super) job: JobId,
    pub(super) request: Request,
    pub(super) deadline: Instant,
    /// Answer with the whole job, as `job wait` does, whether or not it failed.
    pub(super) whole_job: bool,
}

/// What the loop waits for on behalf of a container.
#[derive(Debug, Clone)]
pub enum Watched {
    /// The end of its init.
    Init(Name),
    /// A change of its addresses.
    Addresses(Name),
    /// avahi's directory, which is missing.
    Avahi,
    /// The end of a try to connect to one of its ports.
    Port(Port),
    /// What LXC and the kernel tell of all of them.
    Notices,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Read the configuration again.
    Reload,
    /// End.
    End,
}

/// The model and what acts on it.
pub struct Core {
    pub(super) machine: Arc<Machine>,
    pub(super) layout: Layout,
    pub(super) config_path: PathBuf,
    /// The storage directory was named by the command line or the environment, not by UCI.
    pub(super) storage_given: bool,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) box_id: String,
    pub(super) config: Config,
    /// Why the configuration file cannot be read at all; what was read before holds.
    pub(super) config_error: Option<Error>,
    pub(super) containers: BTreeMap<Name, Container>,
    /// Directories of containers whose record cannot be read.
    pub(super) unreadable: BTreeMap<Name, Error>,
    /// Declared containers that could not be made.
    pub(super) not_made: BTreeMap<Name, Error>,
    /// Containers being made.
    pub(super) making: BTreeMap<Name, Box<Record>>,
    /// Id ranges of containers that could not be made: something of one may be left until the daemon's next start.
    pub(super) spoiled: Vec<IdRange>,
    pub(super) images: Vec<Image>,
    /// Versions that servers were heard to have and this box has not, of images that were pulled from there.
    pub(super) newer: Vec<Newer>,
    pub(super) jobs: Jobs,
    /// The table of jobs differs from what is kept on disk.
    pub(super) jobs_changed: bool,
    /// So does what is remembered of containers' ends.
    pub(super) lives_changed: bool,
    pub(super) started: Instant,
    /// When to try again to publish what ubusd refused.
    pub(super) publish_again: Option<Instant>,
    /// What shall start at boot has not been started yet, since the configuration could not be used.
    pub(super) boot_pending: bool,
    /// What starts at boot is being started.
    pub(super) boot: Option<Boot>,
    /// The box goes down.
    pub(super) shutdown: Option<Shutdown>,
    pub(super) connection: Connection,
    pub(super) objects: Vec<(ObjectId, Face)>,
    pub(super) active: BTreeMap<JobId, Active>,
    pub(super) queue: VecDeque<JobId>,
    pub(super) waiters: Vec<Waiter>,
    /// What is read when everything is listed.
    pub(super) readings: Readings,
    pub(super) sender: Sender,
    pub(super) ending: bool,
    pub(super) announcer: Announcer,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
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
        sender: Sender,
    ) -> Result<Core> {
        let box_id = machine.storage.box_id()?;
        let mut connection = Connection::new();
        let objects =
            Face::ALL.into_iter().map(|face| (connection.add_object(face.object()), face)).collect();
        Ok(Core {
            machine: Arc::new(machine),
            layout,
            config_path,
            storage_given: false,
            cgroups,
            box_id,
            config: Config::default(),
            config_error: None,
            containers: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            not_made: BTreeMap::new(),
            making: BTreeMap::new(),
            spoiled: Vec::new(),
            images: Vec::new(),
            newer: Vec::new(),
            jobs: Jobs::default(),
            jobs_changed: false,
            lives_changed: false,
            started: Instant::now(),
            publish_again: None,
            boot_pending: false,
            boot: None,
            shutdown: None,
            connection,
            objects,
            active: BTreeMap::new(),
            queue: VecDeque::new(),
            waiters: Vec::new(),
            readings: Readings::default(),
            sender,
            ending: false,
            announcer: Announcer::new(Instant::now()),
        })
    }

    /// The bus, for the loop to carry its bytes.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether no job is at work.
    pub fn is_quiet(&self) -> bool {
        self.active.is_empty()
    }

    /// When [`Core::handle_time`] has something to do next.
    pub fn next_time(&self) -> Option<Instant> {
        let waiter = self.waiters.iter().map(|w| w.deadline).min();
        let adverts = if self.ending { None } else { self.announcer.next_time() };
        let restart = if self.ending { None } else { self.next_restart() };
        let times = [waiter, self.publish_again, self.connection.poll_timeout(), adverts, restart];
        times.into_iter().flatten().min()
    }

    /// The containers whose end and whose addresses the loop shall watch. Those a job works on are the job's.
    pub fn fleet(&self) -> impl Iterator<Item = (&Name, &Live)> {
        let running = self.containers.iter().filter_map(|(name, c)| Some((name, c.live.as_deref()?)));
        running.filter(|(name, _)| !self.ending && self.jobs.active_on(name.as_str()).is_none())
    }

    /// What else the loop shall watch.
    pub fn watched(&self) -> Vec<(BorrowedFd<'_>, Watched)> {
        let mut watched = Vec::new();
        if self.ending {
            return watched;
        }
        watched.extend(self.machine.runtime.notices_fd().map(|fd| (fd, Watched::Notices)));
        watched.extend(self.announcer.watch().map(|fd| (fd, Watched::Avahi)));
        let trying = self.announcer.probes.trying();
        watched.extend(trying.map(|(port, fd)| (fd, Watched::Port(port.clone()))));
        watched
    }

    /// Time has come.
    pub fn handle_time(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        if self.publish_again.is_some_and(|at| at <= now) {
            self.publish_again = None;
            for (object, _) in &self.objects {
                if !self.connection.is_published(*object) {
                    self.connection.publish_again(*object);
                }
            }
        }
        self.answer_waiters(&|waiter| waiter.deadline <= now);
        if !self.ending {
            self.restart_due(now);
            self.try_ports(now);
        }
        self.handle_bus();
    }

    /// The bus brought something.
    pub fn handle_bus(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Call { object, method, arguments, request, .. } => {
                    let face = self.objects.iter().find(|(id, _)| *id == object).map(|(_, face)| *face);
                    let Some(face) = face else { continue };
                    self.call(face, &method, &arguments, request);
                }
                Event::Connected { .. } => info!("connected to ubusd"),
                Event::PublishFailed { object, status } => {
                    let path =
                        self.objects.iter().find(|(id, _)| *id == object).map_or("?", |(_, f)| f.path());
                    error!("ubusd refuses the object {path}: {status}; is another cloudbox running?");
                    self.publish_again = Some(Instant::now() + PUBLISH_AGAIN);
                }
                _ => {}
            }
        }
    }

    /// A signal came.
    pub fn handle_told(&mut self, told: Told) {
        match told {
            Told::Reload => {
                let reply = self.reload();
                for warning in &reply.warnings {
                    warn!("{warning}");
                }
            }
            Told::End => {
                info!("ending; containers go on running");
                self.ending = true;
                for id in std::mem::take(&mut self.queue) {
                    self.finish(id, Err(Error::new(Code::Interrupted, "the daemon was told to end")));
                }
                for active in self.active.values() {
                    active.cancel.cancel();
                }
            }
        }
    }

    /// A container's descriptor is readable.
    pub fn handle_container(&mut self, watched: &Watched) {
        match watched {
            Watched::Init(name) => {
                let Some(container) = self.containers.get(name) else { return };
                if self.jobs.active_on(name.as_str()).is_none() {
                    info!("container {name} ended");
                    let record = container.record.clone();
                    self.start_job(Work::Ended(record));
                }
            }
            Watched::Addresses(name) => {
                let live = self.containers.get_mut(name).and_then(|c| c.live.as_mut());
                let changed = live.and_then(|l| l.addresses.as_mut()).is_some_and(|watch| watch.update());
                if changed {
                    self.notify_container("container.changed", name);
                    self.adverts_changed();
                }
            }
            Watched::Avahi => self.announcer.handle_watch(),
            Watched::Port(port) => self.handle_port(port),
            Watched::Notices => self.handle_notices(),
        }
    }

    /// A thread has something to say.
    pub fn handle_report(&mut self, report: Report) {
        match report {
            Report::Update(id, update) => self.job_update(id, update),
            Report::Done(id, result) => {
                let result = self.absorb(id, result);
                self.finish(id, result);
                self.settle(id);
                self.go_on_in_order();
                self.begin_jobs();
                self.adverts_changed();
            }
            Report::Announced(troubles) => self.handle_announced(troubles),
            Report::Configured(request, result) => {
                self.reload();
                self.send_reply(request, result);
            }
            Report::Archive(request, args, manifest) => {
                let started = manifest.and_then(|manifest| self.import_container(&args, *manifest));
                self.respond(request, started.map(|job| Answer::Job(job, args.wait)));
            }
            Report::Offers(request, offers) => self.answer_available(request, offers),
            Report::Answer(request, result) => self.send_reply(request, result),
        }
    }
}
