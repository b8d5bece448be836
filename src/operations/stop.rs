//! `stop`: nothing of a container runs any more, and its root is unmounted.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::Init;
use crate::model::job::Kind;
use crate::model::life::Reason;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::state::{Container, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc;
use serde::Deserialize;
use std::time::Duration;

/// The kind of a job that stops a container.
pub const KIND: Kind = Kind {
    waits: true,
    yields: true,
    shown_as: Some("stopping"),
    silence: Some("is stopping"),
    ..Kind::new("stop")
};

/// How long a container is given to shut down, in seconds.
pub const TIMEOUT: u32 = 30;
/// The longest it may be given.
pub const TIMEOUT_MAX: u32 = 3600;

/// `cloudbox.container stop`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// Seconds it may take to shut down before it is killed; 30 unless said otherwise.
    pub timeout: Option<u32>,
    /// Kill it at once.
    pub force: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be stopped.
#[derive(Debug)]
pub struct Stop {
    /// Its name.
    pub name: Name,
    /// What it runs as its init, which knows how it is asked to halt.
    pub init: Init,
    /// How.
    pub how: lxc::StopHow,
}

/// How a container is stopped by somebody who says so.
///
/// # Errors
/// [`Code::InvalidArgument`] for a time that is too long.
pub fn stop_how(timeout: Option<u32>, force: bool) -> Result<lxc::StopHow> {
    let timeout = timeout.unwrap_or(TIMEOUT);
    if timeout > TIMEOUT_MAX {
        return Err(Error::new(
            Code::InvalidArgument,
            format_args!("timeout {timeout}: {TIMEOUT_MAX} seconds are the most"),
        ));
    }
    let kill = force || timeout == 0;
    Ok(if kill { lxc::StopHow::Kill } else { lxc::StopHow::Ask(Duration::from_secs(timeout.into())) })
}

impl Stop {
    /// A container that shall not run. One that does not is fine: the job has nothing to do then.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::Busy`], [`Code::NotRunning`] for one that was never made.
    pub fn ask(state: &State, args: &Args) -> Result<Stop> {
        let name = Name::new(&args.name)?;
        state.check_known(&name)?;
        state.check_can_end(&name)?;
        let how = stop_how(args.timeout, args.force.unwrap_or(false))?;
        match state.containers.get(&name) {
            Some(container) => Ok(Stop { init: container.record.init, name, how }),
            None => Err(Error::new(
                Code::NotRunning,
                format_args!("container {name} was never made, nothing runs of it"),
            )),
        }
    }

    /// A container that is asked to shut down as long as usual.
    pub fn gently(state: &State, name: &Name) -> Stop {
        let init = state.containers.get(name).map_or(Init::Other, |container| container.record.init);
        Stop { name: name.clone(), init, how: lxc::StopHow::Ask(Duration::from_secs(TIMEOUT.into())) }
    }
}

impl Operation for Stop {
    /// Whether it had to be killed.
    type Found = bool;

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    fn is_needless(&self, state: &State) -> bool {
        let is_left = |container: &Container| container.live.is_some() || container.monitor_left;
        !state.containers.get(&self.name).is_some_and(is_left)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<bool> {
        stop(machine, ctx, &self.name, self.init, self.how)
    }

    fn done(self, state: &mut State, killed: bool) -> Result<()> {
        state.take_end(&self.name, Some(if killed { Reason::Killed } else { Reason::Asked }));
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        state.give_up(Action::StopOrphan(self.name));
    }
}

/// Stops a container and unmounts it. Not running is fine: what is still mounted is unmounted. True: it had to be
/// killed.
///
/// # Errors
/// What a step refused. It may be stopped then, and not unmounted.
pub fn stop(machine: &Machine, ctx: &Ctx, name: &Name, init: Init, how: lxc::StopHow) -> Result<bool> {
    let killed = machine.runtime.stop(ctx, name, init, how)?;
    ctx.step("stop.unmount")?;
    machine.storage.unmount(name)?;
    machine.release_image(name)?;
    Ok(killed)
}
