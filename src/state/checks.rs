//! What is asked before an operation begins. None of it touches anything.

use super::{Container, Live, State};
use crate::error::{Code, Error, Result};
use crate::model::config::Declared;
use crate::model::job::{InTheWay, Job, Target};
use crate::model::name::Name;
use crate::model::spec::Spec;
use crate::steps::lxc::Foreign;

impl State {
    /// That containers may be made and started at all.
    ///
    /// # Errors
    /// [`Code::Busy`] while the box goes down, [`Code::NotSupported`] when cloudbox is switched off.
    pub fn check_enabled(&self) -> Result<()> {
        if let Some(job) = self.shutdown {
            return Err(Error::new(Code::Busy, format_args!("the box is shutting down (job {job})")));
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

    /// That a new container may be called `name`.
    ///
    /// # Errors
    /// [`Code::Busy`] or [`Code::Exists`], with who has the name.
    pub fn check_free(&self, name: &Name) -> Result<()> {
        self.check_idle(name)?;
        self.check_not_deleting(name)?;
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

    /// That no job works on the container.
    ///
    /// # Errors
    /// [`Code::Busy`], with the job.
    pub fn check_idle(&self, name: &Name) -> Result<()> {
        self.check_free_of_jobs(name, false)
    }

    /// The same for a call that wants the container to end: a job that the daemon made by itself gives way.
    ///
    /// # Errors
    /// As [`State::check_idle`].
    pub fn check_can_end(&self, name: &Name) -> Result<()> {
        self.check_free_of_jobs(name, true)
    }

    /// `cut`: what [`InTheWay`] says of a job that the daemon made by itself.
    fn check_free_of_jobs(&self, name: &Name, cut: bool) -> Result<()> {
        let Some(job) = self.job_on(name) else { return Ok(()) };
        let why = format!("job {} works on {name} ({}); wait for its end", job.id, job.kind);
        let busy = Error::new(Code::Busy, why);
        Err(if job.own { busy.caused_by(InTheWay { job: job.id, cut }) } else { busy })
    }

    /// The unfinished job that works on the container and lets no other one.
    pub fn job_on(&self, name: &Name) -> Option<&Job> {
        self.jobs.active_on(name)
    }

    /// That no delete of the container has begun.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub fn check_not_deleting(&self, name: &Name) -> Result<()> {
        if self.config.containers.get(name).is_some_and(|declared| declared.deleting) {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox delete {name}` goes on with it"),
            ));
        }
        Ok(())
    }

    /// That there is such a container, made or only declared.
    ///
    /// # Errors
    /// [`Code::NotFound`], or why its record cannot be read.
    pub fn check_known(&self, name: &Name) -> Result<()> {
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

    /// A container that was made, and on which nothing works.
    ///
    /// # Errors
    /// [`Code::NotFound`] or [`Code::Busy`].
    pub fn whole(&self, name: &Name) -> Result<&Container> {
        self.check_known(name)?;
        self.check_idle(name)?;
        self.check_not_deleting(name)?;
        self.containers.get(name).ok_or_else(|| never_made(name))
    }

    /// What its section says of a container that is to be changed: there is one, and nothing works on it.
    ///
    /// # Errors
    /// [`Code::NotFound`] or [`Code::Busy`].
    pub fn changeable(&self, name: &Name) -> Result<&Declared> {
        self.check_known(name)?;
        self.check_idle(name)?;
        self.check_not_deleting(name)?;
        self.config.containers.get(name).ok_or_else(|| no_section(name))
    }

    /// What runs of a container.
    ///
    /// # Errors
    /// [`Code::NotFound`] or [`Code::NotRunning`].
    pub fn running(&self, name: &Name) -> Result<&Live> {
        self.check_known(name)?;
        self.containers.get(name).and_then(|c| c.live.as_deref()).ok_or_else(|| {
            Error::new(Code::NotRunning, format_args!("container {name} is not running; start it first"))
        })
    }

    /// Whether the container runs.
    pub fn runs(&self, name: &Name) -> bool {
        self.containers.get(name).is_some_and(|container| container.live.is_some())
    }

    /// What the container's section says, if it has a good one.
    pub fn declared_spec(&self, name: &Name) -> Option<&Spec> {
        self.config.containers.get(name)?.spec.as_ref().ok()
    }

    /// Whether its owner has said that it shall not be deleted. A delete that has begun is finished.
    pub fn is_protected(&self, name: &Name) -> bool {
        if self.config.containers.get(name).is_some_and(|declared| declared.deleting) {
            return false;
        }
        let made = self.containers.get(name).map(|container| &container.record.spec);
        self.declared_spec(name).or(made).is_some_and(|spec| spec.protected)
    }

    /// Whether a container runs with other limits than its section says, and could have them.
    pub fn is_stale(&self, name: &Name) -> bool {
        match (self.declared_spec(name), self.containers.get(name)) {
            (Some(spec), Some(container)) if container.live.is_some() => {
                let running = &container.record.spec;
                spec.differs_from(running).len() > spec.needs_restart(running).len()
            }
            _ => false,
        }
    }

    /// Containers that other tools made.
    pub fn foreign(&self) -> Vec<Foreign> {
        self.machine.runtime.foreign(&self.config.settings.lxcpath)
    }

    /// That no job works on the image called so, nor on all of them.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub fn check_idle_image(&self, name: &str) -> Result<()> {
        let busy = self.jobs.iter().filter(|job| !job.state.is_final()).find(|job| match &job.target {
            Target::Image(image) => image == name,
            Target::AllImages => true,
            _ => false,
        });
        match busy {
            Some(job) => Err(Error::new(
                Code::Busy,
                format_args!("job {} works on image {name}; wait for its end", job.id),
            )),
            None => Ok(()),
        }
    }
}

/// A container that is neither declared nor made.
pub fn no_container(name: &Name) -> Error {
    Error::new(Code::NotFound, format_args!("there is no container {name}"))
}

/// A declared container that has no files yet.
pub fn never_made(name: &Name) -> Error {
    Error::new(Code::NotFound, format_args!("container {name} was never made; `cloudbox reload` makes it"))
}

/// A container that the configuration does not name.
pub fn no_section(name: &Name) -> Error {
    crate::steps::config::no_section(name)
}
