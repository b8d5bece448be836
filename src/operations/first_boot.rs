//! The script that is run once inside a new container.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::network::Neighbourhood;
use crate::steps::wait::{self, Woken};
use std::time::{Duration, Instant};

/// The kind of a job that runs a first-boot script. Its guest may take as long as it likes.
pub const KIND: Kind = Kind { waits: true, beside: true, ..Kind::new("first_boot") };

/// A script may want the network, so it waits for an address; an island may never have one.
const ADDRESS_TIME: Duration = Duration::from_secs(30);

/// A container whose script is to be run, unless it has been.
#[derive(Debug)]
pub struct FirstBoot(pub Name);

impl Operation for FirstBoot {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.0)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        let name = &self.0;
        ctx.step("first_boot.network")?;
        wait_for_address(machine, ctx, name)?;
        ctx.step("first_boot.run")?;
        match machine.runtime.first_boot(ctx, name)? {
            0 => Ok(()),
            code => Err(Error::new(
                Code::Failed,
                format_args!(
                    "the first-boot script of {name} ended with status {code}; `cloudbox log {name} --first-boot` \
                     shows what it said"
                ),
            )),
        }
    }

    fn done(self, _: &mut State, (): ()) -> Result<()> {
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        state.give_up(Action::FirstBoot(self.0));
    }
}

fn wait_for_address(machine: &Machine, ctx: &Ctx, name: &Name) -> Result<()> {
    let Some(running) = machine.runtime.find(name)? else { return Ok(()) };
    let Ok(mut watch) = machine.network.watch(running.init, &Neighbourhood::any()) else { return Ok(()) };
    let deadline = Instant::now() + ADDRESS_TIME;
    watch.update(&Neighbourhood::any());
    while watch.addresses().next().is_none() {
        if wait::readable(watch.fd(), Some(&ctx.cancel), deadline)? == Woken::Deadline {
            break;
        }
        watch.update(&Neighbourhood::any());
    }
    Ok(())
}
