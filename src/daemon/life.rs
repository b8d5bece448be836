//! Decisions about containers that live on: what is changed of them while they run.

use super::core::Core;
use super::work::Work;
use crate::api::args;
use crate::error::{Code, Error, Result};
use crate::model::admission;
use crate::model::job::JobId;
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::model::spec::Spec;
use crate::ops::Set;
use crate::steps::config::{no_section, Change};

impl Core {
    pub(super) fn set(&mut self, args: &args::Set) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        self.idle(&name)?;
        let declared = self.config.containers.get(&name).ok_or_else(|| no_section(&name))?;
        if declared.deleting {
            let why = format!("container {name} is being deleted; `cloudbox delete {name}` goes on with it");
            return Err(Error::new(Code::Busy, why));
        }
        let before = declared.spec.clone()?;
        let asked = args.asked();
        let spec = asked.apply(before.clone())?;
        let said = asked.options();
        if said.is_empty() {
            let why = "there is nothing to change; give memory, cpus, disk, pids, network, address, gateway, autostart, \
                       priority, restart, description or slice";
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
            let why = format!(
                "disk {}: container {name} has {}, and a disk can only grow; make a new container instead",
                shown(spec.disk),
                shown(made.disk)
            );
            return Err(Error::new(Code::NotSupported, why));
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
            Some(held) if !force => Err(Error::new(
                Code::InUse,
                format!(
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
