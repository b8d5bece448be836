//! Decisions about containers that live on: what is changed of them while they run.

use super::core::{now, Container, Core};
use super::work::Work;
use crate::api::replies::FirstBoot;
use crate::api::{args, Face};
use crate::error::{Code, Error, Result};
use crate::model::admission;
use crate::model::job::JobId;
use crate::model::job::{Job, Kind};
use crate::model::life::{Exit, Life, Reason};
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::model::spec::{Restart, Spec};
use crate::ops::Set;
use crate::steps::config::{no_section, Change};
use crate::steps::lxc::first_boot::{self, Status};
use crate::steps::lxc::Stop;
use crate::steps::storage::Record;
use crate::sys;
use log::{info, warn};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often it is told that a container runs out of memory.
const OOM_EVERY: Duration = Duration::from_secs(1);

/// How a container is stopped by somebody who says so.
///
/// # Errors
/// [`Code::InvalidArgument`] for a time that is too long.
pub(super) fn stop_how(timeout: Option<u32>, force: bool) -> Result<Stop> {
    let timeout = timeout.unwrap_or(args::STOP_TIMEOUT);
    if timeout > args::STOP_TIMEOUT_MAX {
        return Err(Error::new(
            Code::InvalidArgument,
            format_args!("timeout {timeout}: {} seconds are the most", args::STOP_TIMEOUT_MAX),
        ));
    }
    Ok(if force || timeout == 0 { Stop::Kill } else { Stop::Ask(Duration::from_secs(timeout.into())) })
}

/// What is told of a container that has another name.
#[derive(Serialize)]
struct Renamed<'a> {
    name: &'a str,
    was: &'a str,
}

/// What is told of a container that ran out of memory.
#[derive(Serialize)]
struct OutOfMemory<'a> {
    name: &'a str,
    count: u64,
}

impl Core {
    /// Runs the first-boot script of a container that has just been started, unless it was begun before.
    pub(super) fn begin_first_boot(&mut self, name: &Name) {
        if self.first_boot(name).is_some_and(|first_boot| first_boot.state == "pending") {
            self.start_job(Work::FirstBoot(name.clone()));
        }
    }

    /// How far the first-boot script is, of a container that has one.
    pub(super) fn first_boot(&self, name: &Name) -> Option<FirstBoot> {
        self.containers.get(name).filter(|c| !c.record.spec.first_boot.is_empty())?;
        let dir = self.layout.container(name);
        let is_it =
            |job: &&Job| job.kind == Kind::FirstBoot && job.target == name.as_str() && !job.state.is_final();
        let at_work = self.jobs.iter().any(|job| is_it(&job));
        let (state, code) = match first_boot::status(&dir) {
            _ if at_work => ("running", None),
            None => ("pending", None),
            Some(Status::Begun) => ("interrupted", None),
            Some(Status::Ended(0)) => ("done", Some(0)),
            Some(Status::Ended(code)) => ("failed", Some(code)),
        };
        Some(FirstBoot { state, code, log: dir.first_boot_log().display().to_string() })
    }

    pub(super) fn set(&mut self, args: &args::Set) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        self.idle(&name)?;
        let declared = self.config.containers.get(&name).ok_or_else(|| no_section(&name))?;
        if declared.deleting {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox delete {name}` goes on with it"),
            ));
        }
        let before = declared.spec.clone()?;
        let asked = args.asked();
        let spec = asked.apply(before.clone())?;
        let said = asked.options();
        if said.is_empty() {
            let why = "there is nothing to change; give memory, cpus, disk, pids, network, address, gateway, autostart, \
                       priority, restart, description, slice or protected";
            return Err(Error::new(Code::InvalidArgument, why));
        }
        let mut changes: Vec<Change> =
            said.into_iter().map(|(option, value)| (option, Some(value.to_string()))).collect();
        if before.gateway.is_some() && spec.gateway.is_none() {
            changes.push(("gateway", None));
        }
        self.check_disk(&name, &spec)?;
        if spec.bridge != before.bridge {
            self.machine.network.check_bridge(&spec.bridge)?;
        }
        self.check_address(&name, &spec)?;
        self.check_memory(&name, &spec, args.force.unwrap_or(false))?;
        // Promised from here on; the file says so in a moment.
        if let Some(declared) = self.config.containers.get_mut(&name) {
            declared.spec = Ok(spec.clone());
        }
        Ok(self.start_set(name, spec, changes))
    }

    /// Lets a running container have what its section says, as far as that can be had while it runs.
    pub(super) fn apply(&mut self, name: &Name) -> Result<JobId> {
        let spec = self.declared_spec(name).cloned().ok_or_else(|| no_section(name))?;
        self.check_memory(name, &spec, false)?;
        if let Some(container) = self.containers.get(name) {
            self.admit_growth(&spec, &container.record.spec)?;
        }
        Ok(self.start_set(name.clone(), spec, Vec::new()))
    }

    pub(super) fn restart(&mut self, args: &args::Restart) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let how = stop_how(args.timeout, false)?;
        let runs = self.containers.get(&name).is_some_and(|c| c.live.is_some());
        if !runs {
            return self.start_by_hand(&name);
        }
        self.check_enabled()?;
        self.idle(&name)?;
        let (record, before) = self.record_for_start(&name)?;
        self.forget_restarts(&name);
        Ok(self.start_job(Work::Restart { record, before, how }))
    }

    /// Starts a container for somebody who asked for it.
    pub(super) fn start_by_hand(&mut self, name: &Name) -> Result<JobId> {
        let job = self.start(name)?;
        self.forget_restarts(name);
        Ok(job)
    }

    /// Somebody takes care of the container: it is not started again by itself, and its restarts are counted anew.
    pub(super) fn forget_restarts(&mut self, name: &Name) {
        if let Some(container) = self.containers.get_mut(name) {
            container.due = None;
            container.life.forget();
            self.lives_changed = true;
        }
    }

    /// A run has ended, because somebody wanted it, or by itself.
    pub(super) fn absorb_end(&mut self, name: &Name, reason: Option<Reason>) {
        let status = self.machine.runtime.exit_status(name);
        self.handle_notices();
        let policy = self.declared_spec(name).map_or(Restart::No, |spec| spec.restart);
        let Some(container) = self.containers.get_mut(name) else { return };
        let live = container.live.take();
        let exit = match reason {
            Some(reason) => Exit { reason, status: None, at: now() },
            None => Exit::by_itself(status, live.as_ref().is_some_and(|live| live.ooms > 0), now()),
        };
        let ran = live.map_or(0, |live| sys::boottime().saturating_sub(live.began).as_secs());
        let again = container.life.end(exit, ran, policy);
        container.due = again.map(|again| Instant::now() + again);
        container.failure = None;
        self.lives_changed = true;
        info!("container {name} is stopped ({})", exit.reason.as_str());
        if exit.reason.is_failure() {
            self.note_failure(name, Error::new(Code::Failed, exit.sentence()));
        }
        if let Some(again) = again {
            info!("container {name} is started again in {} s", again.as_secs());
        }
        self.notify_container("container.stopped", name);
        if exit.reason.is_failure() {
            self.notify_container("container.failed", name);
        }
    }

    /// When a container is to be started again next.
    pub(super) fn next_restart(&self) -> Option<Instant> {
        self.containers.values().filter_map(|container| container.due).min()
    }

    /// Starts again what is due.
    pub(super) fn restart_due(&mut self, now: Instant) {
        let due = self.containers.iter().filter(|(_, c)| c.due.is_some_and(|due| due <= now));
        let due: Vec<Name> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.start_again(&name);
        }
    }

    fn start_again(&mut self, name: &Name) {
        let wanted = self.config.settings.enabled
            && self.config.containers.get(name).is_some_and(|d| !d.deleting)
            && self.declared_spec(name).is_none_or(|spec| spec.restart != Restart::No);
        let Some(container) = self.containers.get_mut(name) else { return };
        container.due = None;
        self.lives_changed = true;
        if !wanted || container.live.is_some() {
            container.life.pending = false;
            return;
        }
        container.life.restarts = container.life.restarts.saturating_add(1);
        if let Err(error) = self.start(name) {
            self.note_failure(name, error);
            if let Some(container) = self.containers.get_mut(name) {
                container.due = Some(Instant::now() + container.life.delay());
            }
        }
    }

    /// LXC or the kernel has something to tell.
    pub(super) fn handle_notices(&mut self) {
        for (name, times) in self.machine.runtime.notices() {
            let Some(live) = self.containers.get_mut(&name).and_then(|c| c.live.as_mut()) else { continue };
            live.ooms = live.ooms.saturating_add(times);
            let count = live.ooms;
            // A guest that starts again and again what is killed again and again is not told of each time.
            if live.ooms_told.is_some_and(|told| told.elapsed() < OOM_EVERY) {
                continue;
            }
            live.ooms_told = Some(Instant::now());
            warn!(
                "container {name} ran out of memory ({count} times in this run): the kernel ended a process"
            );
            self.notify(Face::Container, "container.oom", &OutOfMemory { name: name.as_str(), count });
        }
    }

    /// Keeps what is remembered of ends and restarts over a restart of the daemon, if it changed.
    pub(super) fn save_lives(&mut self) {
        if !std::mem::replace(&mut self.lives_changed, false) {
            return;
        }
        let mut text = String::new();
        for (name, container) in self.containers.iter().filter(|(_, c)| c.life != Life::default()) {
            text.extend([name.as_str(), " ", &container.life.line(), "\n"]);
        }
        super::jobs::keep("how containers ended", &self.layout.lives(), &text);
    }

    pub(super) fn rename(&mut self, args: &args::Rename) -> Result<JobId> {
        let (name, new_name) = (Name::new(&args.name)?, Name::new(&args.new_name)?);
        self.known(&name)?;
        self.idle(&name)?;
        let declared = self.config.containers.get(&name).ok_or_else(|| no_section(&name))?;
        if declared.deleting {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox delete {name}` goes on with it"),
            ));
        }
        self.check_free(&new_name)?;
        self.finish_rename(name, new_name)
    }

    /// Begins a renaming, or goes on with one.
    pub(super) fn finish_rename(&mut self, name: Name, new_name: Name) -> Result<JobId> {
        let container = self.containers.get(&name).or(self.containers.get(&new_name)).ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format_args!("container {name} was never made; `cloudbox reload` makes it"),
            )
        })?;
        if container.live.is_some() {
            return Err(Error::new(
                Code::Running,
                format_args!("container {name} is running; stop it first"),
            ));
        }
        let record = container.record.clone();
        if let Some(declared) = self.config.containers.get_mut(&name) {
            declared.renaming = Some(new_name.clone());
        }
        Ok(self.start_job(Work::Rename { record, name, new_name }))
    }

    /// A container has another name.
    pub(super) fn absorb_renamed(&mut self, name: &Name, record: Box<Record>) {
        let new_name = record.name.clone();
        let before = self.containers.remove(name).or_else(|| self.containers.remove(&new_name));
        let mut life = before.map(|container| container.life).unwrap_or_default();
        life.forget();
        self.containers
            .insert(new_name.clone(), Container { record, live: None, failure: None, life, due: None });
        self.lives_changed = true;
        info!("container {name} is called {new_name} now");
        // Its section and those of its services.
        self.reload();
        self.notify(
            Face::Container,
            "container.changed",
            &Renamed { name: new_name.as_str(), was: name.as_str() },
        );
    }

    fn start_set(&mut self, name: Name, spec: Spec, changes: Vec<Change>) -> JobId {
        let running = self.containers.get(&name).filter(|c| c.live.is_some()).map(|c| c.record.clone());
        self.start_job(Work::Set(Box::new(Set { name, spec, changes, running })))
    }

    /// Whether a container runs with other limits than its section says, and could have them.
    pub(super) fn is_stale(&self, name: &Name) -> bool {
        match (self.declared_spec(name), self.containers.get(name)) {
            (Some(spec), Some(container)) if container.live.is_some() => {
                let running = &container.record.spec;
                spec.differs_from(running).len() > spec.needs_restart(running).len()
            }
            _ => false,
        }
    }

    /// What could not be applied to a running container may be applied now.
    pub(super) fn forget_refusals(&mut self) {
        let running = self.containers.iter().filter(|(_, c)| c.live.is_some() && c.failure.is_some());
        let running: Vec<Name> = running.map(|(name, _)| name.clone()).collect();
        for name in running {
            if let Some(container) = self.containers.get_mut(&name) {
                container.failure = None;
            }
        }
    }

    /// Checks that the disk stays or grows, and that there is room for it.
    fn check_disk(&self, name: &Name, spec: &Spec) -> Result<()> {
        let Some(container) = self.containers.get(name) else { return Ok(()) };
        let made = &container.record.spec;
        if spec.disk != made.disk && !spec.grows(made) {
            let shown =
                |disk: Option<Bytes>| disk.map_or_else(|| "none".to_string(), |size| size.to_string());
            return Err(Error::new(
                Code::NotSupported,
                format_args!(
                "disk {}: container {name} has {}, and a disk can only grow; make a new container instead",
                shown(spec.disk),
                shown(made.disk)
            ),
            ));
        }
        self.admit_growth(spec, made)
    }

    /// Checks that there is room for what the disk grows by.
    pub(super) fn admit_growth(&self, spec: &Spec, made: &Spec) -> Result<()> {
        match (spec.disk, made.disk) {
            (Some(now), Some(before)) if now > before => {
                admission::admit_disk(self.disk(), Some(Bytes(now.get() - before.get())))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the box has the memory, and that a container that runs can do with it.
    fn check_memory(&self, name: &Name, spec: &Spec, force: bool) -> Result<()> {
        let live = self.containers.get(name).filter(|c| c.live.is_some());
        let Some(container) = live else {
            let nobody_else = admission::Memory { promised: 0, ..self.memory() };
            return admission::admit_memory(nobody_else, spec.memory);
        };
        if spec.memory > container.record.spec.memory {
            return self.admit_memory(name, spec);
        }
        let held = self.machine.runtime.memory_held(name).filter(|held| *held > spec.memory.get());
        match held {
            Some(held) if !force => Err(Error::new(Code::InUse, format_args!(
                    "memory {}: container {name} uses {}; give it more, stop programs in it, or use force: the kernel \
                     then kills what does not fit",
                    spec.memory,
                    Bytes(held)
                ),
            )),
            _ => Ok(()),
        }
    }
}
