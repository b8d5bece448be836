//! The script that is run once inside a new container.

use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::wait::{self, Woken};
use std::time::{Duration, Instant};

/// A script may want the network, so it waits for an address; an island may never have one.
const ADDRESS_TIME: Duration = Duration::from_secs(30);

/// Runs it, if it has not been run.
///
/// # Errors
/// Its own failure, or that it cannot be run.
pub fn first_boot(machine: &Machine, ctx: &Ctx, name: &Name) -> Result<()> {
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

fn wait_for_address(machine: &Machine, ctx: &Ctx, name: &Name) -> Result<()> {
    let Some(running) = machine.runtime.find(name)? else { return Ok(()) };
    let Ok(mut watch) = machine.network.watch(running.init) else { return Ok(()) };
    let deadline = Instant::now() + ADDRESS_TIME;
    watch.update();
    while watch.addresses().next().is_none() {
        if wait::readable(watch.fd(), Some(&ctx.cancel), deadline)? == Woken::Deadline {
            break;
        }
        watch.update();
    }
    Ok(())
}
