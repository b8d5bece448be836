//! A container's init ended by itself: it is unmounted, or goes on when the guest rebooted.

use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::state::{Live, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::AfterEnd;
use crate::steps::storage::Record;
use log::warn;

/// The kind of a job that sees to a container that ended.
pub const KIND: Kind = Kind {
    cancellable: false,
    waits: true,
    shown_as: Some("stopping"),
    silence: Some("is stopping"),
    ..Kind::new("ended")
};

/// A container whose init has ended.
#[derive(Debug)]
pub struct Ended(pub Box<Record>);

impl Operation for Ended {
    /// What runs of it after a reboot; None: it is stopped and unmounted.
    type Found = Option<Box<Live>>;

    fn about(&self) -> About {
        About::container(KIND, &self.0.name)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Option<Box<Live>>> {
        let name = &self.0.name;
        match machine.runtime.after_end(ctx, name)? {
            AfterEnd::Rebooted(running) => {
                // LXC's monitor has given it the limits it was once started with.
                if let Err(error) = machine.runtime.set_limits(&self.0) {
                    warn!("{error}");
                }
                Ok(Some(Live::watch(machine, &self.0, running)))
            }
            AfterEnd::Stopped => {
                machine.storage.unmount(name)?;
                machine.release_image(name)?;
                Ok(None)
            }
        }
    }

    fn done(self, state: &mut State, rebooted: Option<Box<Live>>) -> Result<()> {
        let name = &self.0.name;
        let Some(mut live) = rebooted else {
            state.take_end(name, None);
            return Ok(());
        };
        if let Some(container) = state.containers.get_mut(name) {
            // A guest can reboot without end.
            live.announced_at_once = [true; 2];
            container.live = Some(live);
        }
        state.notify_container("container.changed", name);
        Ok(())
    }
}
