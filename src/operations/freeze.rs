//! `freeze` and `unfreeze`: the kernel lets none of a container's processes go on, and lets them again.

use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;
use log::info;

/// The kind of a job that freezes a container.
pub const FREEZE: Kind = Kind { waits: true, silence: Some("is being frozen"), ..Kind::new("freeze") };

/// The kind of a job that lets one go on.
pub const UNFREEZE: Kind = Kind { cancellable: false, waits: true, ..Kind::new("unfreeze") };

/// A running container to be frozen.
#[derive(Debug)]
pub struct Freeze(Name);

/// A frozen container that shall go on.
#[derive(Debug)]
pub struct Unfreeze(Name);

impl Freeze {
    /// A container that somebody wants to stand still.
    ///
    /// # Errors
    /// [`crate::error::Code::NotRunning`], [`crate::error::Code::Busy`].
    pub fn ask(state: &State, name: &Name) -> Result<Freeze> {
        check(state, name)?;
        Ok(Freeze(name.clone()))
    }
}

impl Unfreeze {
    /// A container that somebody wants to go on.
    ///
    /// # Errors
    /// [`crate::error::Code::NotRunning`], [`crate::error::Code::Busy`].
    pub fn ask(state: &State, name: &Name) -> Result<Unfreeze> {
        check(state, name)?;
        Ok(Unfreeze(name.clone()))
    }
}

fn check(state: &State, name: &Name) -> Result<()> {
    state.check_known(name)?;
    state.check_idle(name)?;
    state.running(name).map(drop)
}

impl Operation for Freeze {
    type Found = ();

    fn about(&self) -> About {
        About::container(FREEZE, &self.0)
    }

    fn is_needless(&self, state: &State) -> bool {
        state.running(&self.0).is_ok_and(|live| live.frozen)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        ctx.step("freeze.ask")?;
        machine.runtime.freeze(ctx, &self.0).map(drop)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        take_over(state, &self.0, true);
        Ok(())
    }
}

impl Operation for Unfreeze {
    type Found = ();

    fn about(&self) -> About {
        About::container(UNFREEZE, &self.0)
    }

    fn is_needless(&self, state: &State) -> bool {
        state.running(&self.0).is_ok_and(|live| !live.frozen)
    }

    fn run(&mut self, machine: &Machine, _: &Ctx) -> Result<()> {
        machine.runtime.thaw(&self.0)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        take_over(state, &self.0, false);
        Ok(())
    }
}

fn take_over(state: &mut State, name: &Name, frozen: bool) {
    if let Some(live) = state.containers.get_mut(name).and_then(|container| container.live.as_mut()) {
        live.frozen = frozen;
    }
    info!("container {name} {}", if frozen { "is frozen" } else { "goes on" });
    state.notify_container("container.changed", name);
}
