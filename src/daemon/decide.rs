//! Decisions: what a call or a changed configuration leads to. Everything that can be checked without touching
//! anything is checked here, before a job begins.

use super::answers;
use super::core::{now, Container, Core};
use super::life::stop_how;
use super::order::Boot;
use super::work::Work;
use crate::api::{args, replies};
use crate::error::{quoted, Code, Error, Result};
use crate::model::address::{self, Address};
use crate::model::admission;
use crate::model::config::Declared;
use crate::model::idrange;
use crate::model::image::{Image, Init};
use crate::model::image_source::ImageSource;
use crate::model::job::{JobId, Kind};
use crate::model::name::{ImageName, Name};
use crate::model::plan::{place, plan, Action, Seen};
use crate::model::spec::{Asked, Spec};
use crate::ops::{Create, Live};
use crate::steps::config::no_section;
use crate::steps::filesystem::Space;
use crate::steps::lxc::Stop;
use crate::steps::storage::Record;
use log::{error, warn};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

impl Core {
    /// Checks everything that can be checked without touching anything, and starts the job.
    pub(super) fn create(&mut self, args: &args::Create) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        self.check_enabled()?;
        self.check_free(&name)?;
        let mut asked = args.asked();
        // Its section says what the image is called here.
        let source = self.source_of(asked.image.as_deref())?;
        if let Some(source) = &source {
            asked.image = Some(source.name.to_string());
        }
        let spec = asked.resolve(&self.config.settings.defaults)?;
        self.make(name, spec, Some(asked), args.start.unwrap_or(true), source)
    }

    pub(super) fn check_enabled(&self) -> Result<()> {
        if let Some(shutdown) = &self.shutdown {
            return Err(Error::new(
                Code::Busy,
                format_args!("the box is shutting down (job {})", shutdown.job),
            ));
        }
        if self.config.settings.enabled {
            return Ok(());
        }
        Err(Error::new(
            Code::NotSupported,
            "cloudbox is switched off on this box; \
             `uci set cloudbox.main.enabled=1; uci commit cloudbox; cloudbox reload` switches it on",
        ))
    }

    pub(super) fn check_free(&self, name: &Name) -> Result<()> {
        if let Some(job) = self.jobs.active_on(name.as_str()) {
            return Err(Error::new(
                Code::Busy,
                format_args!("job {} works on {name} ({}); wait for its end", job.id, job.kind),
            ));
        }
        if self.config.containers.get(name).is_some_and(|d| d.deleting) {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox reload` goes on with it"),
            ));
        }
        let given = self.config.containers.iter().find(|(_, d)| d.renaming.as_ref() == Some(name));
        if let Some((before, _)) = given {
            return Err(Error::new(
                Code::Exists,
                format_args!("container {before} is being given the name {name}"),
            ));
        }
        if self.config.containers.contains_key(name) || self.containers.contains_key(name) {
            return Err(Error::new(
                Code::Exists,
                format_args!(
                    "a container named {name} already exists; choose another name, or delete it first"
                ),
            ));
        }
        if self.unreadable.contains_key(name) {
            let dir = self.layout.container(name);
            return Err(Error::new(
                Code::Exists,
                format_args!(
                    "{} is in the way: its record cannot be read; move it away",
                    dir.path().display()
                ),
            ));
        }
        Ok(())
    }

    /// Starts the job that makes `name`. `asked`: what its section shall say, when it has none yet. `source`: where its
    /// image is to be had, when somebody said so.
    pub(super) fn make(
        &mut self,
        name: Name,
        spec: Spec,
        asked: Option<Asked>,
        start: bool,
        source: Option<ImageSource>,
    ) -> Result<JobId> {
        let (image, pull) = self.image_for(spec.image.as_str(), source)?;
        image.map_or(Ok(()), |image| image.check_services(&spec))?;
        self.machine.network.check_bridge(&spec.bridge)?;
        self.check_address(&name, &spec)?;
        self.admit_disk(&spec)?;
        if start {
            self.admit_memory(&name, &spec)?;
        } else {
            let memory = admission::Memory { promised: 0, ..self.memory() };
            admission::admit_memory(memory, spec.memory)?;
        }
        let mut record = self.new_record(&name, spec)?;
        if let Some(image) = image {
            (record.image_sha256, record.init) = (image.manifest.sha256.clone(), image.manifest.init);
        }
        self.making.insert(name, record.clone());
        Ok(self.start_job(Work::Create(Box::new(Create { record, pull, asked, start }))))
    }

    /// The record of a container that is to be made; of what image, others know.
    pub(super) fn new_record(&self, name: &Name, spec: Spec) -> Result<Box<Record>> {
        let (mac, veth) = self.free_interface(name);
        Ok(Box::new(Record {
            mac,
            veth,
            name: name.clone(),
            was: Vec::new(),
            image_sha256: String::new(),
            init: Init::Other,
            ids: self.free_ids()?,
            created: now(),
            spec,
        }))
    }

    /// The records of containers that are made, or being made.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let made = self.containers.values().map(|container| &container.record);
        made.chain(self.making.values()).map(|record| &**record)
    }

    /// A hardware address and a name of an interface for container `name`: always the same, unless another one has them,
    /// which was called so before.
    pub(super) fn free_interface(&self, name: &Name) -> (String, String) {
        let mut label = name.to_string();
        loop {
            let (mac, veth) = (address::mac(&self.box_id, &label), address::veth(&self.box_id, &label));
            if !self.records().any(|record| record.mac == mac || record.veth == veth) {
                return (mac, veth);
            }
            label.push('~');
        }
    }

    pub(super) fn free_ids(&self) -> Result<idrange::IdRange> {
        let used: Vec<_> = self.records().map(|record| record.ids).collect();
        let with_spoiled = [used.clone(), self.spoiled.clone()].concat();
        idrange::allocate(&with_spoiled).or_else(|| idrange::allocate(&used)).ok_or_else(|| {
            Error::new(
                Code::NoSpace,
                format_args!("all {} ranges of user ids are taken; delete a container", idrange::COUNT),
            )
        })
    }

    /// Checks that nobody has the static address of `spec` yet.
    pub(super) fn check_address(&self, name: &Name, spec: &Spec) -> Result<()> {
        let Address::Static(wanted) = spec.address else { return Ok(()) };
        let has_it = |other: &Name, spec: &Spec| {
            other != name && matches!(spec.address, Address::Static(net) if net.addr == wanted.addr)
        };
        let says_so =
            |other: &Name, declared: &Declared| declared.spec.as_ref().is_ok_and(|spec| has_it(other, spec));
        let declared = self.config.containers.iter().find(|(other, declared)| says_so(other, declared));
        let made = || self.records().find(|record| has_it(&record.name, &record.spec));
        if let Some(holder) = declared.map(|(name, _)| name).or_else(|| made().map(|record| &record.name)) {
            return Err(Error::new(
                Code::Exists,
                format_args!("address {wanted}: container {holder} has it; choose another one"),
            ));
        }
        if self.machine.network.own_addresses().contains(&wanted.addr) {
            return Err(Error::new(
                Code::Exists,
                format_args!("address {wanted}: the box itself has it; choose another one"),
            ));
        }
        Ok(())
    }

    pub(super) fn admit_memory(&self, name: &Name, spec: &Spec) -> Result<()> {
        admission::admit_memory(self.memory_but(Some(name)), spec.memory)
    }

    /// The box's memory, and what is promised to containers that run or are being started.
    pub(super) fn memory(&self) -> admission::Memory {
        self.memory_but(None)
    }

    /// The same without what container `but` was promised.
    fn memory_but(&self, but: Option<&Name>) -> admission::Memory {
        let promised =
            self.containers.iter().filter(|(name, _)| Some(*name) != but).filter_map(|(name, container)| {
                let busy = self.jobs.active_on(name.as_str()).is_some();
                if container.live.is_none() && !busy {
                    return None;
                }
                let made = container.record.spec.memory;
                // One that is being started or changed gets what its section says now; its record says so only then.
                let declared = self.config.containers.get(name).and_then(|d| d.spec.as_ref().ok());
                let coming = declared.filter(|_| busy).map_or(made, |spec| spec.memory);
                Some(coming.max(made).get())
            });
        let making = self.making.iter().filter(|(name, _)| Some(*name) != but);
        admission::Memory {
            total: answers::memory_total(),
            reserve: self.config.settings.memory_reserve,
            promised: promised.chain(making.map(|(_, record)| record.spec.memory.get())).sum(),
        }
    }

    pub(super) fn admit_disk(&self, spec: &Spec) -> Result<()> {
        admission::admit_disk(self.disk(), spec.disk)
    }

    /// The storage's file system, and what containers may still write.
    pub(super) fn disk(&self) -> admission::Disk {
        let unused = |record: &Record| {
            let Some(limit) = record.spec.disk else { return 0 };
            limit.get().saturating_sub(self.machine.storage.used(&record.name).unwrap_or(0))
        };
        admission::Disk {
            free: Space::of(&self.layout.storage).map_or(0, |space| space.free),
            reserve: self.config.settings.disk_reserve,
            promised: self.records().map(unused).sum(),
        }
    }

    /// The container, if nothing works on it.
    pub(super) fn idle(&self, name: &Name) -> Result<()> {
        if let Some(job) = self.jobs.active_on(name.as_str()) {
            return Err(Error::new(
                Code::Busy,
                format_args!("job {} works on {name} ({}); wait for its end", job.id, job.kind),
            ));
        }
        Ok(())
    }

    /// That there is such a container, made or only declared.
    pub(super) fn known(&self, name: &Name) -> Result<()> {
        let known = self.containers.contains_key(name)
            || self.config.containers.contains_key(name)
            || self.making.contains_key(name);
        if known {
            return Ok(());
        }
        if let Some(error) = self.unreadable.get(name) {
            return Err(error.clone());
        }
        let foreign = self.foreign().iter().any(|foreign| foreign.name == name.as_str());
        let why = match foreign {
            true => {
                format!("container {name} was made by another tool; `cloudbox adopt {name}` takes it over")
            }
            false => format!("there is no container {name}; `cloudbox list` shows those there are"),
        };
        Err(Error::new(Code::NotFound, why))
    }

    pub(super) fn delete(&mut self, args: &args::Delete) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        if !self.unreadable.contains_key(&name) {
            self.known(&name)?;
        }
        self.idle(&name)?;
        let container = self.containers.get(&name);
        if container.is_some_and(|c| c.live.is_some()) && !args.force.unwrap_or(false) {
            return Err(Error::new(
                Code::Running,
                format_args!("container {name} is running; stop it first, or delete it with force"),
            ));
        }
        if self.is_protected(&name) {
            let cure = match self.config.containers.contains_key(&name) {
                true => format!("`cloudbox set {name} --protected no` ends that"),
                false => {
                    format!("`cloudbox adopt {name}` gives it a section again, where that can be changed")
                }
            };
            return Err(Error::new(Code::Protected, format_args!("container {name} is protected; {cure}")));
        }
        Ok(self.start_delete(name))
    }

    /// Whether its owner has said that it shall not be deleted. A delete that has begun is finished.
    pub(super) fn is_protected(&self, name: &Name) -> bool {
        let declared = self.config.containers.get(name);
        if declared.is_some_and(|declared| declared.deleting) {
            return false;
        }
        let made = self.containers.get(name).map(|c| c.record.spec.protected);
        declared.and_then(|d| d.spec.as_ref().ok()).map_or(made.unwrap_or(false), |spec| spec.protected)
    }

    pub(super) fn start_delete(&mut self, name: Name) -> JobId {
        let init = self.containers.get(&name).map_or(Init::Other, |c| c.record.init);
        if let Some(declared) = self.config.containers.get_mut(&name) {
            declared.deleting = true;
        }
        self.start_job(Work::Delete { name, init })
    }

    pub(super) fn start(&mut self, name: &Name) -> Result<JobId> {
        self.check_enabled()?;
        self.known(name)?;
        self.idle(name)?;
        if self.config.containers.get(name).is_some_and(|d| d.deleting) {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox delete {name}` goes on with it"),
            ));
        }
        let Some(container) = self.containers.get(name) else {
            // Declared, but it could not be made: starting it means trying again.
            let spec = match self.config.containers.get(name) {
                Some(Declared { spec, .. }) => spec.clone()?,
                None => return Err(Error::new(Code::NotFound, format_args!("there is no container {name}"))),
            };
            return self.make(name.clone(), spec, None, true, None);
        };
        if container.live.is_some() {
            return Ok(self.finished_job(Work::Start { record: container.record.clone(), before: None }));
        }
        let (record, before) = self.record_for_start(name)?;
        Ok(self.start_job(Work::Start { record, before }))
    }

    /// The record a container is started with, and the one on disk when that differs.
    pub(super) fn record_for_start(&self, name: &Name) -> Result<(Box<Record>, Option<Box<Record>>)> {
        let Some(Container { record: made, .. }) = self.containers.get(name) else {
            return Err(Error::new(Code::NotFound, format_args!("there is no container {name}")));
        };
        let spec = match self.config.containers.get(name) {
            Some(Declared { spec: Ok(spec), .. }) => spec.for_start(&made.spec),
            Some(Declared { spec: Err(error), .. }) => return Err(error.clone()),
            None => return Err(no_section(name)),
        };
        self.check_address(name, &spec)?;
        self.admit_memory(name, &spec)?;
        self.admit_growth(&spec, &made.spec)?;
        let mut record = made.clone();
        record.spec = spec;
        let before = (record != *made).then(|| made.clone());
        Ok((record, before))
    }

    pub(super) fn stop(&mut self, args: &args::Stop) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        self.idle(&name)?;
        let how = stop_how(args.timeout, args.force.unwrap_or(false))?;
        let Some(container) = self.containers.get(&name) else {
            return Err(Error::new(
                Code::NotRunning,
                format_args!("container {name} was never made, nothing runs of it"),
            ));
        };
        let (runs, work) =
            (container.live.is_some(), Work::Stop { name: name.clone(), init: container.record.init, how });
        self.forget_restarts(&name);
        if !runs {
            return Ok(self.finished_job(work));
        }
        Ok(self.start_job(work))
    }

    /// What runs of a container.
    pub(super) fn running(&self, name: &Name) -> Result<&Live> {
        self.known(name)?;
        self.containers.get(name).and_then(|c| c.live.as_deref()).ok_or_else(|| {
            Error::new(Code::NotRunning, format_args!("container {name} is not running; start it first"))
        })
    }

    pub(super) fn freeze(&mut self, name: &Name, freeze: bool) -> Result<JobId> {
        self.known(name)?;
        self.idle(name)?;
        let work = Work::Freeze { name: name.clone(), freeze };
        if self.running(name)?.frozen == freeze {
            return Ok(self.finished_job(work));
        }
        Ok(self.start_job(work))
    }

    pub(super) fn import(&mut self, args: &args::ImageImport) -> Result<JobId> {
        let name = ImageName::new(&args.name)?;
        self.idle_image(name.as_str())?;
        let path = PathBuf::from(&args.path);
        if !path.is_absolute() {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("path {}: give an absolute path of a file on the box", quoted(&args.path)),
            ));
        }
        Ok(self.start_job(Work::Import { path, name, sha256: args.sha256.clone() }))
    }

    pub(super) fn idle_image(&self, name: &str) -> Result<()> {
        let busy = self.jobs.iter().find(|job| {
            let same = job.target == name || job.kind == Kind::ImagePrune;
            !job.state.is_final() && same && job.kind.is_of_image()
        });
        match busy {
            Some(job) => Err(Error::new(
                Code::Busy,
                format_args!("job {} works on image {name}; wait for its end", job.id),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn delete_image(&mut self, called: &str) -> Result<JobId> {
        self.idle_image(called)?;
        let image = self.find_image(called)?;
        let users = self.users_of(&image.manifest.sha256);
        if !users.is_empty() {
            return Err(Error::new(
                Code::InUse,
                format_args!("image {called} is used by {}; delete these containers first", users.join(", ")),
            ));
        }
        Ok(self.start_job(Work::DeleteImage { image: Box::new(image.clone()), called: called.to_string() }))
    }

    pub(super) fn users_of(&self, sha256: &str) -> Vec<String> {
        self.records().filter(|r| r.image_sha256 == sha256).map(|r| r.name.to_string()).collect()
    }

    pub(super) fn find_image(&self, called: &str) -> Result<&Image> {
        crate::steps::image::find_in(&self.images, called)
    }

    /// Reads the configuration again and does what it says.
    pub(super) fn reload(&mut self) -> replies::ReloadReply {
        match self.machine.config.load() {
            Ok(package) => {
                self.forget_refusals();
                self.config = crate::model::config::read(&package, &self.config.settings);
                self.config_error = None;
                self.not_made.retain(|name, _| self.config.containers.contains_key(name));
            }
            Err(error) => self.config_error = Some(error),
        }
        let jobs = self.carry_out();
        self.adverts_changed();
        replies::ReloadReply {
            jobs: jobs.into_iter().map(|id| id.to_string()).collect(),
            restart_required: self.restart_required(),
            warnings: self.warnings(),
        }
    }

    /// Starts the jobs that bring what is to what should be.
    pub(super) fn carry_out(&mut self) -> Vec<JobId> {
        // A file that cannot be read says nothing: least of all that a container shall go.
        if self.config_error.is_some() || self.shutdown.is_some() {
            return Vec::new();
        }
        let boot = self.boot_pending && self.config.settings.enabled;
        let mut jobs = Vec::new();
        let mut starts = VecDeque::new();
        for action in plan(&self.config, &self.seen(), boot) {
            match place(&self.config, &action).filter(|_| boot) {
                Some(priority) => starts.push_back((priority, action)),
                None => jobs.extend(self.begin(action)),
            }
        }
        if boot {
            self.boot_pending = false;
            self.boot = Some(Boot::of(starts));
            jobs.extend(self.go_on_booting());
        }
        jobs
    }

    /// Starts the job of an action.
    pub(super) fn begin(&mut self, action: Action) -> Option<JobId> {
        let (name, started) = match action {
            Action::Create { name, start } => (name.clone(), self.make_declared(name, start)),
            Action::Start(name) => (name.clone(), self.start(&name)),
            Action::FinishRename(name, new_name) => (name.clone(), self.finish_rename(name, new_name)),
            Action::Apply(name) => (name.clone(), self.apply(&name)),
            Action::StopOrphan(name) => (name.clone(), self.stop_orphan(&name)),
            Action::FinishDelete(name) => (name.clone(), Ok(self.start_delete(name))),
        };
        started.map_err(|error| self.note_failure(&name, error)).ok()
    }

    pub(super) fn seen(&self) -> BTreeMap<Name, Seen> {
        let mut seen = BTreeMap::new();
        for (name, container) in &self.containers {
            let running = container.live.is_some();
            let busy = self.jobs.active_on(name.as_str()).is_some();
            seen.insert(name.clone(), Seen { exists: true, running, busy, stale: self.is_stale(name) });
        }
        let left_alone = |exists| Seen { exists, running: false, busy: true, stale: false };
        for name in self.making.keys() {
            seen.insert(name.clone(), left_alone(false));
        }
        for name in self.unreadable.keys() {
            seen.insert(name.clone(), left_alone(true));
        }
        seen
    }

    pub(super) fn make_declared(&mut self, name: Name, start: bool) -> Result<JobId> {
        let spec = match self.config.containers.get(&name) {
            Some(declared) => declared.spec.clone()?,
            None => return Err(Error::new(Code::NotFound, format_args!("there is no container {name}"))),
        };
        self.make(name, spec, None, start, None)
    }

    pub(super) fn stop_orphan(&mut self, name: &Name) -> Result<JobId> {
        warn!("container {name} has no section any more: it is stopped, its data is kept");
        let init = self.containers.get(name).map_or(Init::Other, |c| c.record.init);
        let how = Stop::Ask(Duration::from_secs(args::STOP_TIMEOUT.into()));
        Ok(self.start_job(Work::Stop { name: name.clone(), init, how }))
    }

    /// Keeps why a container could not be made or started, for `list` and `doctor`.
    pub(super) fn note_failure(&mut self, name: &Name, error: Error) {
        error!("container {name}: {error}");
        match self.containers.get_mut(name) {
            Some(container) => container.failure = Some(error),
            None => {
                self.not_made.insert(name.clone(), error);
            }
        }
    }
}
