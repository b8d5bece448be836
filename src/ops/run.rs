//! Starting and stopping a container.

use super::{Live, Made};
use crate::error::{Error, Result};
use crate::machine::{guest_network, Machine};
use crate::model::image::Init;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::{AfterEnd, Running, Stop};
use crate::steps::storage::{Record, Stage};
use std::net::Ipv4Addr;

/// Starts a container as `record` describes it; `changed`: the record differs from the one on disk.
///
/// # Errors
/// Any step's; its mounts are down again then.
pub fn start(machine: &Machine, ctx: &Ctx, record: &Record, changed: bool) -> Result<Made> {
    let name = &record.name;
    let network = guest_network(machine, &record.spec)?;
    machine.network.check_bridge(&record.spec.bridge)?;
    if changed {
        ctx.step("start.record")?;
        machine.storage.save_record(record)?;
    }
    ctx.step("start.mount")?;
    let image = machine.hold_image(name, &record.image_sha256)?;
    let started = machine
        .storage
        .unmount(name)
        .and_then(|()| machine.storage.mount(record, Stage::Alive, &image))
        .and_then(|()| if changed { machine.storage.write_guest_network(record, &network) } else { Ok(()) })
        .and_then(|()| start_mounted(machine, ctx, record, network.gateway));
    match started {
        Ok(live) => Ok(Made { record: record.clone(), live: Some(live) }),
        Err(error) => Err(error.with_leftovers(&clean_up(machine, name))),
    }
}

/// Starts a container whose root is mounted.
pub fn start_mounted(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    gateway: Option<Ipv4Addr>,
) -> Result<Live> {
    let running = machine.runtime.start(ctx, record, gateway)?;
    if let Err(error) = ctx.step("start.watch") {
        // A cancelled job's context would not let the kill begin.
        let stop = |ctx: Ctx| machine.runtime.stop(&ctx, &record.name, record.init, Stop::Kill);
        let left = Ctx::silent().and_then(stop).err();
        return Err(error.with_leftovers(left.as_slice()));
    }
    Ok(live(machine, running))
}

/// `running` with its addresses watched.
pub fn live(machine: &Machine, running: Running) -> Live {
    let addresses = machine.network.watch(running.init).inspect_err(|e| log::warn!("{e}")).ok();
    Live { running, addresses }
}

/// Stops a container. Not running is fine: what is still mounted is unmounted.
///
/// # Errors
/// Any step's.
pub fn stop(machine: &Machine, ctx: &Ctx, name: &Name, init: Init, how: Stop) -> Result<()> {
    machine.runtime.stop(ctx, name, init, how)?;
    ctx.step("stop.unmount")?;
    machine.storage.unmount(name)?;
    machine.release_image(name)
}

/// What became of a container whose init ended.
#[derive(Debug)]
pub enum Ended {
    /// It is stopped and unmounted.
    Stopped,
    /// The guest rebooted.
    Rebooted(Live),
}

/// Sees to a container whose init ended by itself.
///
/// # Errors
/// Any step's.
pub fn ended(machine: &Machine, ctx: &Ctx, name: &Name) -> Result<Ended> {
    match machine.runtime.after_end(ctx, name)? {
        AfterEnd::Rebooted(running) => Ok(Ended::Rebooted(live(machine, running))),
        AfterEnd::Stopped => {
            machine.storage.unmount(name)?;
            machine.release_image(name)?;
            Ok(Ended::Stopped)
        }
    }
}

/// Takes the mounts of a container down that did not start; returns what would not go.
fn clean_up(machine: &Machine, name: &Name) -> Vec<Error> {
    let steps = [machine.storage.unmount(name), machine.release_image(name)];
    steps.into_iter().filter_map(Result::err).collect()
}
