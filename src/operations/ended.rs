//! A container's init ended by itself: it is unmounted, or goes on when the guest rebooted.

use super::stop::stop;
use super::{About, Operation};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::life::{Reason, REBOOTS};
use crate::state::{Live, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::{AfterEnd, StopHow};
use crate::steps::storage::Record;
use log::warn;

/// The kind of a job that sees to a container that ended.
pub const KIND: Kind = Kind {
    cancellable: false,
    waits: true,
    yields: true,
    shown_as: Some("stopping"),
    silence: Some("is stopping"),
    ..Kind::new("ended")
};

/// A container whose init has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its record.
    pub record: Box<Record>,
    /// How often its guest has rebooted in quick succession before.
    pub reboots: u32,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing of it runs any more.
    Stopped,
    /// It has rebooted and runs.
    Rebooted(Box<Live>),
    /// It rebooted again and again, and was ended.
    RebootedTooOften,
}

impl Operation for Ended {
    type Found = Outcome;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    /// LXC's monitor starts a guest that reboots again without a pause, and no limit of the container holds it. So one
    /// that does nothing else is stopped, to be started again later, as one that crashes.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Outcome> {
        let Record { name, init, .. } = &*self.record;
        match machine.runtime.after_end(ctx, name)? {
            AfterEnd::Rebooted(running) if self.reboots < REBOOTS => {
                // LXC's monitor has given it the limits it was once started with.
                if let Err(error) = machine.runtime.set_limits(&self.record) {
                    warn!("{error}");
                }
                let live = Live::watch(machine, &self.record, running);
                Ok(Outcome::Rebooted(Box::new(Live { reboots: self.reboots + 1, ..*live })))
            }
            AfterEnd::Rebooted(_) | AfterEnd::Reboots => {
                stop(machine, ctx, name, *init, StopHow::Kill)?;
                Ok(Outcome::RebootedTooOften)
            }
            AfterEnd::Stopped => {
                machine.storage.unmount(name)?;
                machine.release_image(name)?;
                Ok(Outcome::Stopped)
            }
        }
    }

    fn done(self, state: &mut State, outcome: Outcome) -> Result<()> {
        let name = &self.record.name;
        let mut live = match outcome {
            Outcome::Rebooted(live) => live,
            Outcome::Stopped => {
                state.take_end(name, None);
                return Ok(());
            }
            Outcome::RebootedTooOften => {
                state.take_end(name, Some(Reason::Reboots));
                return Ok(());
            }
        };
        if let Some(container) = state.containers.get_mut(name) {
            // A guest can reboot without end.
            live.announced_at_once = [true; 2];
            container.live = Some(live);
        }
        state.notify_container("container.changed", name);
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        if let Some(container) = state.containers.get_mut(&self.record.name) {
            container.monitor_left = container.live.is_none();
        }
    }
}
