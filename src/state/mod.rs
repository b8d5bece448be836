//! What the deciding thread knows: the configuration as it was read, the containers and images there are, the jobs.
//!
//! Only the loop's thread has it. Operations ask it before they begin ([`checks`], [`promises`]) and change it when they
//! have ended ([`fleet`]). Nothing here blocks, starts a thread or knows the bus: what is to be told lies in
//! [`State::notices`] until the daemon sends it.

mod checks;
mod container;
mod fleet;
mod hosting;
mod images;
mod promises;
mod summary;

pub use checks::{never_made, no_container, no_section};
pub use container::{Container, Live, Made, Reading};
pub use hosting::Held;
pub use images::{called, Newer};

use crate::api::replies::JobReply;
use crate::api::{BusObject, ImageSubject, Subject};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::config::Config;
use crate::model::idrange::IdRange;
use crate::model::image::Image;
use crate::model::job::{JobId, Jobs};
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::model::spec::Spec;
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::steps::storage::Record;
use litemap::LiteMap;
use openwrt_ubus::to_fields;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Everything that is decided from.
pub struct State {
    /// The box, as jobs see it.
    pub machine: Arc<Machine>,
    /// Where everything lies.
    pub layout: Layout,
    /// The configuration file.
    pub config_path: PathBuf,
    /// The storage directory was named by the command line or the environment, not by UCI.
    pub storage_given: bool,
    /// Where containers' cgroups are; None where there are none.
    pub cgroups: Option<Cgroups>,
    /// The box's identity, from which hardware addresses are derived.
    pub box_id: String,
    /// What the file says, and what is written to it at this moment.
    pub config: Config,
    /// Why the configuration file cannot be read at all; what was read before holds.
    pub config_error: Option<Error>,
    /// What sections said last that are gone, of containers that are there still.
    pub last_said: LiteMap<Name, Spec>,
    /// Containers whose files are there.
    pub containers: LiteMap<Name, Container>,
    /// Directories of containers whose record cannot be read.
    pub unreadable: LiteMap<Name, Error>,
    /// Declared containers that could not be made.
    pub not_made: LiteMap<Name, Error>,
    /// Containers being made.
    pub making: LiteMap<Name, Box<Record>>,
    /// Id ranges of containers that could not be made: something of one may be left until the daemon's next start.
    pub spoiled: Vec<IdRange>,
    /// The configuration was read and not carried out yet.
    pub read_anew: bool,
    /// What the plan asked for and could not be done. It is not tried again until the file is read again.
    pub given_up: Vec<Action>,
    /// The images in the store.
    pub images: Vec<Image>,
    /// Versions that servers were heard to have and this box has not, of images that were pulled from there.
    pub newer: Vec<Newer>,
    /// The jobs, those that have ended lately too.
    pub jobs: Jobs,
    /// The table of jobs differs from what is kept on disk.
    pub jobs_changed: bool,
    /// What is remembered of containers' ends differs from what is kept on disk.
    pub lives_changed: bool,
    /// Something changed that is announced, or no longer.
    pub adverts_changed: bool,
    /// The job that stops all containers, since the box goes down.
    pub shutdown: Option<JobId>,
    /// When the daemon started.
    pub started: Instant,
    /// What is to be told on the bus, oldest first.
    pub notices: Vec<Notice>,
}

/// Something that subscribers and listeners on the bus are told.
#[derive(Debug)]
pub struct Notice {
    /// Whose subscribers.
    pub object: BusObject,
    /// What has happened: `container.created`.
    pub event: &'static str,
    /// What is said of it, encoded.
    pub fields: Vec<u8>,
    /// It is the process' of the commons to hear, too.
    pub hosted: bool,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl State {
    /// What a daemon knows that has just started: nothing yet.
    ///
    /// # Errors
    /// The box's identity can be neither read nor made.
    pub fn new(
        machine: Machine,
        layout: Layout,
        config_path: PathBuf,
        cgroups: Option<Cgroups>,
    ) -> Result<State> {
        Ok(State {
            box_id: machine.storage.box_id()?,
            machine: Arc::new(machine),
            layout,
            config_path,
            storage_given: false,
            cgroups,
            config: Config::default(),
            config_error: None,
            last_said: LiteMap::new(),
            containers: LiteMap::new(),
            unreadable: LiteMap::new(),
            not_made: LiteMap::new(),
            making: LiteMap::new(),
            spoiled: Vec::new(),
            read_anew: false,
            given_up: Vec::new(),
            images: Vec::new(),
            newer: Vec::new(),
            jobs: Jobs::default(),
            jobs_changed: false,
            lives_changed: false,
            adverts_changed: true,
            shutdown: None,
            started: Instant::now(),
            notices: Vec::new(),
        })
    }

    /// The directories below which a call may have archives written.
    pub fn export_dirs(&self) -> Vec<PathBuf> {
        self.listed(&self.config.settings.export_dirs)
    }

    /// The directories below which a call may name files to be read.
    pub fn import_dirs(&self) -> Vec<PathBuf> {
        self.listed(&self.config.settings.import_dirs)
    }

    fn listed(&self, dirs: &[PathBuf]) -> Vec<PathBuf> {
        match dirs {
            [] => vec![self.layout.archives()],
            dirs => dirs.to_vec(),
        }
    }

    /// Has something told on the bus.
    pub fn notify(&mut self, object: BusObject, event: &'static str, content: &impl Serialize) {
        self.notify_also(false, object, event, content);
    }

    /// The same, which the process of the commons hears, too, if it is `hosted`.
    fn notify_also(
        &mut self,
        hosted: bool,
        object: BusObject,
        event: &'static str,
        content: &impl Serialize,
    ) {
        if let Ok(fields) = to_fields(content) {
            self.notices.push(Notice { object, event, fields, hosted });
        }
    }

    /// Has something told of a container.
    pub fn notify_container(&mut self, event: &'static str, name: &Name) {
        self.notify_of(name, event, &Subject { name: name.as_str() });
    }

    /// The same with more words.
    pub fn notify_of(&mut self, name: &Name, event: &'static str, content: &impl Serialize) {
        self.notify_also(self.hosted(name).is_some(), BusObject::Container, event, content);
    }

    /// Has the end of a job told.
    pub fn notify_job_finished(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(id) {
            let (commons, reply) = (job.commons, JobReply::from(job));
            self.notify_also(commons, BusObject::Job, "job.finished", &reply);
        }
    }

    /// Has an image's coming told.
    pub fn notify_image_added(&mut self, name: &str, sha256: &str) {
        self.notify(BusObject::Image, "image.added", &ImageSubject { name, sha256 });
    }

    /// Has an image's going told.
    pub fn notify_image_removed(&mut self, name: &str) {
        self.notify(BusObject::Image, "image.removed", &Subject { name });
    }
}
