//! Jobs: begun when there is a place, followed, and what they found out taken over into the model.

use super::core::{now, Active, Container, Core};
use super::remotes::called;
use super::work::{self, Outcome, Work};
use crate::api::{replies, Face};
use crate::error::{Code, Error, Result};
use crate::model::config::Declared;
use crate::model::job::{JobId, Kind, State};
use crate::model::life::Reason;
use crate::model::name::Name;
use crate::ops::{Ended, Made};
use crate::steps::ctx::{Cancel, Update};
use log::{error, info, warn};
use openwrt_ubus::to_fields;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// `job.progress` is sent at most so often for each job.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

impl Core {
    /// Adds a job and begins it as soon as there is a place.
    pub(super) fn start_job(&mut self, work: Work) -> JobId {
        let id = self.jobs.add(work.kind(), work.target(), now());
        if let Some(job) = self.jobs.get_mut(id) {
            job.source = work.source();
        }
        // One that stops is not announced any more.
        self.adverts_changed();
        match Cancel::new() {
            Ok(cancel) if !self.ending => {
                let waits = work.waits();
                let active = Active { cancel, work: Some(work), waits, last_progress: Instant::now() };
                self.active.insert(id, active);
                self.queue.push_back(id);
                self.begin_jobs();
            }
            Ok(_) => self.finish(id, Err(Error::new(Code::Interrupted, "the daemon is ending"))),
            Err(error) => self.finish(id, Err(error)),
        }
        id
    }

    /// Adds a job that has nothing to do, such as starting what runs.
    pub(super) fn finished_job(&mut self, work: Work) -> JobId {
        let id = self.jobs.add(work.kind(), work.target(), now());
        self.jobs.finish(id, &Ok(()), now());
        self.jobs_changed = true;
        id
    }

    /// Begins queued jobs while there are places.
    pub(super) fn begin_jobs(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let mut working = self.active.values().filter(|a| a.work.is_none() && !a.waits).count();
        for id in std::mem::take(&mut self.queue) {
            let Some(active) = self.active.get_mut(&id) else { continue };
            if !active.waits && working >= work::AT_ONCE {
                self.queue.push_back(id);
                continue;
            }
            let Some(work) = active.work.take() else { continue };
            working += usize::from(!active.waits);
            if let Some(job) = self.jobs.get_mut(id) {
                job.state = State::Running;
            }
            let cancel = active.cancel.clone();
            if let Err(error) = work::spawn_job(self.machine.clone(), &self.sender, id, work, cancel) {
                self.making.retain(|name, _| self.jobs.get(id).is_none_or(|job| job.target != name.as_str()));
                self.finish(id, Err(error));
            }
        }
        self.jobs_changed = true;
    }

    pub(super) fn job_update(&mut self, id: JobId, update: Update) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match update {
            Update::Step(step) => {
                // Steps are named "create.mount"; the kind is in the job already.
                job.step = step.split_once('.').map_or(step, |(_, rest)| rest).to_string();
                (job.bytes, job.total) = (0, None);
            }
            Update::Bytes { done, total } => (job.bytes, job.total) = (done, total),
        }
        let reply = replies::JobReply::from(&*job);
        let Some(active) = self.active.get_mut(&id) else { return };
        if active.last_progress.elapsed() >= PROGRESS_EVERY {
            active.last_progress = Instant::now();
            self.notify(Face::Job, "job.progress", &reply);
        }
    }

    /// Takes over what a job found out.
    pub(super) fn absorb(&mut self, id: JobId, result: Result<Outcome>) -> Result<()> {
        let Some((kind, target)) = self.jobs.get(id).map(|job| (job.kind, job.target.clone())) else {
            return Ok(());
        };
        let name = Name::new(&target);
        if let Ok(name) = &name {
            if kind.holds_container() {
                if let (Some(record), Err(_)) = (self.making.remove(name), &result) {
                    self.spoiled.push(record.ids);
                }
            }
        }
        match (result, name) {
            (Ok(Outcome::Made(made)), Ok(name)) => {
                if kind == Kind::Import {
                    // Its image may have come along.
                    self.read_images();
                }
                self.absorb_made(&name, made);
            }
            (Ok(Outcome::Exported), _) => {}
            (Ok(Outcome::Stopped(killed)), Ok(name)) => {
                let reason = if killed { Reason::Killed } else { Reason::Asked };
                self.absorb_end(&name, Some(reason));
            }
            (Ok(Outcome::Deleted), Ok(name)) => {
                self.containers.remove(&name);
                self.config.containers.remove(&name);
                // Their sections went with its own.
                self.config.services.retain(|declared| declared.container != name);
                self.not_made.remove(&name);
                self.unreadable.remove(&name);
                self.notify_container("container.deleted", &name);
            }
            (Ok(Outcome::Ended(Ended::Stopped)), Ok(name)) => self.absorb_end(&name, None),
            (Ok(Outcome::Ended(Ended::Rebooted(live))), Ok(name)) => {
                if let Some(container) = self.containers.get_mut(&name) {
                    container.live = Some(live);
                }
                self.notify_container("container.changed", &name);
            }
            (Ok(Outcome::Set(record)), Ok(name)) => {
                if let (Some(container), Some(record)) = (self.containers.get_mut(&name), record) {
                    container.record = record;
                }
                self.read_again(&name);
                self.notify_container("container.changed", &name);
            }
            (Ok(Outcome::Renamed(record)), Ok(name)) => self.absorb_renamed(&name, record),
            (Ok(Outcome::Frozen(frozen)), Ok(name)) => {
                if let Some(live) = self.containers.get_mut(&name).and_then(|c| c.live.as_mut()) {
                    live.frozen = frozen;
                }
                info!("container {name} {}", if frozen { "is frozen" } else { "goes on" });
                self.notify_container("container.changed", &name);
            }
            (Ok(Outcome::SnapshotsChanged | Outcome::Restored(None)), Ok(name)) => {
                self.notify_container("container.changed", &name);
            }
            (Ok(Outcome::Restored(Some(made))), Ok(name)) => self.absorb_made(&name, made),
            (Ok(Outcome::Adopted(record)), Ok(name)) => {
                let declared = Declared { spec: Ok(record.spec.clone()), deleting: false, renaming: None };
                self.config.containers.insert(name.clone(), declared);
                self.notify_container("container.changed", &name);
            }
            (Ok(Outcome::TakenOver(made)), Ok(name)) => {
                self.read_images();
                let image = made.record.spec.image.to_string();
                self.notify_image_added(&image, &made.record.image_sha256);
                self.absorb_made(&name, made);
            }
            (Ok(Outcome::Pruned | Outcome::FirstBootDone), Ok(_)) => {}
            (Ok(Outcome::Imported(image)), _) => {
                self.read_images();
                self.notify_image_added(&target, &image.manifest.sha256);
            }
            (Ok(Outcome::ImagesPruned(images, error)), _) => {
                self.read_images();
                for image in images {
                    self.notify(Face::Image, "image.removed", &Subject { name: &called(&image) });
                }
                return error.map_or(Ok(()), Err);
            }
            (Ok(Outcome::ImageDeleted), _) => {
                self.read_images();
                self.notify(Face::Image, "image.removed", &Subject { name: &target });
            }
            (Ok(_), Err(error)) => return Err(error),
            (Err(error), name) => {
                if kind == Kind::Create && !self.config.remotes.is_empty() {
                    // What it pulled is no part of it, and stays.
                    self.read_images();
                }
                if let (true, Ok(name)) = (kind.holds_container(), name) {
                    self.absorb_failure(&name, kind, &error);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn absorb_made(&mut self, name: &Name, made: Made) {
        let created = !self.containers.contains_key(name);
        if created && !self.config.containers.contains_key(name) {
            // A section that has just been written is known without reading the file again.
            let declared = Declared { spec: Ok(made.record.spec.clone()), deleting: false, renaming: None };
            self.config.containers.insert(name.clone(), declared);
        }
        if let Some(declared) = self.config.containers.get_mut(name).filter(|_| created) {
            // Read while it was half made.
            declared.deleting = false;
        }
        self.not_made.remove(name);
        self.note_image(&made.record);
        let running = made.live.is_some();
        let mut life = self.containers.remove(name).map(|container| container.life).unwrap_or_default();
        life.pending = false;
        self.lives_changed = true;
        let container = Container { record: made.record, live: made.live, failure: None, life, due: None };
        self.containers.insert(name.clone(), container);
        if created {
            info!("container {name} was made");
            self.notify_container("container.created", name);
        }
        if running {
            info!("container {name} runs");
            self.notify_container("container.started", name);
            self.begin_first_boot(name);
        }
    }

    /// Does what a reload left to job `id`, which worked on the container: stops one whose section went, and applies
    /// changed limits.
    pub(super) fn settle(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id).filter(|job| job.kind.holds_container()) else { return };
        let (kind, names) = (job.kind, [Some(job.target.clone()), job.source.clone()]);
        for name in names.iter().flatten().filter_map(|name| Name::new(name).ok()) {
            self.settle_container(kind, name);
        }
    }

    fn settle_container(&mut self, kind: Kind, name: Name) {
        // What failed or was cancelled is not begun again by itself.
        if kind != Kind::Set && self.is_stale(&name) && self.idle(&name).is_ok() {
            if let Err(error) = self.apply(&name) {
                self.note_failure(&name, error);
            }
        }
        if kind == Kind::Stop {
            return;
        }
        let runs = self.containers.get(&name).is_some_and(|c| c.live.is_some());
        let declared = self.config.containers.contains_key(&name) || self.config_error.is_some();
        if runs && !declared && self.idle(&name).is_ok() {
            if let Err(error) = self.stop_orphan(&name) {
                self.note_failure(&name, error);
            }
        }
    }

    pub(super) fn absorb_failure(&mut self, name: &Name, kind: Kind, error: &Error) {
        error!("{} of container {name}: {error}", kind);
        // What runs of it is looked at anew: a failed stop may have stopped it, a cancelled one not.
        let live = self.machine.runtime.find(name).ok().flatten();
        let declared = self.config.containers.contains_key(name);
        if let Some(container) = self.containers.get_mut(name) {
            match (live, &container.live) {
                (None, _) => container.live = None,
                (Some(found), Some(known)) if found.init == known.running.init => {}
                (Some(found), _) => container.live = Some(crate::ops::live(&self.machine, name, found)),
            }
            if matches!(kind, Kind::Start | Kind::Restart) {
                container.failure = Some(error.clone());
            }
            if container.life.pending && container.live.is_none() {
                let again = container.life.delay();
                container.due = Some(Instant::now() + again);
                self.lives_changed = true;
            }
        } else if kind == Kind::Create && declared {
            // Made because the configuration says so: it says so still.
            self.not_made.insert(name.clone(), error.clone());
        }
        match kind {
            Kind::Delete | Kind::Clone | Kind::Import => self.read_deleting(name),
            Kind::Set | Kind::Rename => self.read_again(name),
            _ => {}
        }
        if error.code != Code::Cancelled {
            self.notify_container("container.failed", name);
        }
    }

    /// Reads again what the file says of a container: a job has written it, or not.
    fn read_again(&mut self, name: &Name) {
        let Ok(package) = self.machine.config.load() else { return };
        let file = crate::model::config::read(&package, &self.config.settings);
        if let (Some(declared), Some(found)) =
            (self.config.containers.get_mut(name), file.containers.get(name))
        {
            *declared = found.clone();
        }
    }

    /// Whether a delete that failed has got so far that it must be finished, only the file knows.
    fn read_deleting(&mut self, name: &Name) {
        let Ok(package) = self.machine.config.load() else { return };
        let file = crate::model::config::read(&package, &self.config.settings);
        match (self.config.containers.get_mut(name), file.containers.get(name)) {
            (Some(declared), Some(found)) => declared.deleting = found.deleting,
            // Its section is gone already: what is left of it is only to be deleted.
            _ => drop(self.config.containers.remove(name)),
        }
    }

    /// Records the end of a job and tells everybody who waits for it.
    pub(super) fn finish(&mut self, id: JobId, result: Result<()>) {
        let result = result.map_err(|error| match error.code {
            Code::Cancelled if self.ending => {
                Error::new(Code::Interrupted, "the daemon was told to end; it goes on with it or undid it")
            }
            _ => error,
        });
        self.active.remove(&id);
        if result.is_err() {
            let target =
                self.jobs.get(id).filter(|job| job.kind.holds_container()).map(|job| job.target.clone());
            self.making.retain(|name, _| Some(name.as_str()) != target.as_deref());
        }
        self.jobs.finish(id, &result, now());
        self.jobs_changed = true;
        if let Some(job) = self.jobs.get(id) {
            let reply = replies::JobReply::from(job);
            self.notify(Face::Job, "job.finished", &reply);
        }
        self.answer_waiters(&|waiter| waiter.job == id);
        if self.active.is_empty() {
            if self.containers.values().all(|c| c.live.is_none()) {
                self.machine.runtime.tidy();
            }
            // What a burst of work needed is not kept through the quiet that follows.
            crate::sys::trim_heap();
        }
    }

    /// Keeps the table of jobs over a restart of the daemon, if it changed. It lies in memory: no reason to wait for a
    /// disk. The loop calls it when replies are on their way.
    pub fn save_jobs(&mut self) {
        self.save_lives();
        if !std::mem::replace(&mut self.jobs_changed, false) {
            return;
        }
        let path = self.layout.jobs();
        match serde_json::to_string(&self.jobs) {
            Ok(text) => keep("the jobs", &path, &text),
            Err(error) => warn!("cannot keep the jobs in {}: {error}", path.display()),
        }
    }

    pub(super) fn read_images(&mut self) {
        match self.machine.images.list() {
            Ok(images) => self.images = images,
            Err(error) => error!("{error}"),
        }
    }
}

impl Core {
    pub(super) fn notify_container(&mut self, what: &str, name: &Name) {
        self.notify(Face::Container, what, &Subject { name: name.as_str() });
    }

    pub(super) fn notify_image_added(&mut self, name: &str, sha256: &str) {
        self.notify(Face::Image, "image.added", &ImageSubject { name, sha256 });
    }

    /// Tells the subscribers of an object, and the listeners of the bus.
    pub(super) fn notify(&mut self, face: Face, what: &str, content: &impl Serialize) {
        let Ok(fields) = to_fields(content) else { return };
        let object = self.objects.iter().find(|(_, f)| *f == face).map(|(id, _)| *id);
        if let Some(object) = object.filter(|o| self.connection.has_subscribers(*o)) {
            // Full or disconnected: notifications may be lost, replies may not.
            let _ = self.connection.notify(object, what, &fields);
        }
        let _ = self.connection.send_event(what, &fields);
    }
}

/// Writes what is remembered over a restart of the daemon.
pub(super) fn keep(what: &str, path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    if let Err(error) = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)) {
        warn!("cannot keep {what} in {}: {error}", path.display());
    }
}

/// What a notification is about.
#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct ImageSubject<'a> {
    name: &'a str,
    sha256: &'a str,
}
