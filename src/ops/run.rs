//! Starting and stopping a container.

use super::undo::Undo;
use super::{Live, Made};
use crate::error::Result;
use crate::machine::{guest_network, Machine};
use crate::model::advert::host_label;
use crate::model::image::Init;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::{AfterEnd, Running, Stop};
use crate::steps::storage::{Record, Stage};
use crate::sys;
use log::warn;
use std::net::Ipv4Addr;

/// Starts a container as `record` describes it; `before` is the record on disk when that differs.
///
/// # Errors
/// Any step's; its mounts are down and its record is the old one again then.
pub fn start(machine: &Machine, ctx: &Ctx, record: &Record, before: Option<&Record>) -> Result<Made> {
    let mut undo = Undo::default();
    match mount_and_start(machine, ctx, record, before, &mut undo) {
        Ok(live) => {
            undo.disarm();
            Ok(Made { record: Box::new(record.clone()), live: Some(live) })
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

fn mount_and_start<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    record: &'a Record,
    before: Option<&'a Record>,
    undo: &mut Undo<'a>,
) -> Result<Box<Live>> {
    let name = &record.name;
    let network = guest_network(machine, &record.spec)?;
    machine.network.check_bridge(&record.spec.bridge)?;
    ctx.step("start.mount")?;
    undo.push(move || machine.release_image(name));
    let image = machine.hold_image(name, &record.image_sha256)?;
    undo.push(move || machine.storage.unmount(name));
    machine.storage.unmount(name)?;
    machine.storage.mount(record, Stage::Alive, &image)?;
    if let Some(before) = before {
        // The record comes behind what it tells of: cut short in between, the next start does both again.
        ctx.step("start.network")?;
        undo.push(move || {
            machine.storage.write_guest_network(before, &guest_network(machine, &before.spec)?)
        });
        machine.storage.write_guest_network(record, &network)?;
        ctx.step("start.record")?;
        undo.push(move || machine.storage.save_record(before));
        machine.storage.save_record(record)?;
    }
    start_mounted(machine, ctx, record, network.gateway)
}

/// Starts a container whose root is mounted.
pub fn start_mounted(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    gateway: Option<Ipv4Addr>,
) -> Result<Box<Live>> {
    let label = host_label(&record.name, &machine.box_name());
    if let Err(error) = machine.storage.write_guest_label(record, &label) {
        warn!("{error}");
    }
    let running = machine.runtime.start(ctx, record, gateway)?;
    if let Err(error) = ctx.step("start.watch") {
        // A cancelled job's context would not let the kill begin.
        let stop = |ctx: Ctx| machine.runtime.stop(&ctx, &record.name, record.init, Stop::Kill);
        let left = Ctx::silent().and_then(stop).err();
        return Err(error.with_leftovers(left.as_slice()));
    }
    Ok(live(machine, &record.name, running))
}

/// Container `name`, which is `running`, with its addresses watched.
pub fn live(machine: &Machine, name: &Name, running: Running) -> Box<Live> {
    let addresses = machine.network.watch(running.init).inspect_err(|e| warn!("{e}")).ok();
    let began = sys::start_time(running.init).unwrap_or_else(sys::boottime);
    Box::new(Live {
        serial: Live::next_serial(),
        running,
        addresses,
        began,
        reading: Default::default(),
        frozen: machine.runtime.is_frozen(name),
        ooms: 0,
        ooms_told: None,
    })
}

/// Stops a container. Not running is fine: what is still mounted is unmounted. True: it had to be killed.
///
/// # Errors
/// Any step's.
pub fn stop(machine: &Machine, ctx: &Ctx, name: &Name, init: Init, how: Stop) -> Result<bool> {
    let killed = machine.runtime.stop(ctx, name, init, how)?;
    ctx.step("stop.unmount")?;
    machine.storage.unmount(name)?;
    machine.release_image(name)?;
    Ok(killed)
}

/// Stops a container and starts it again, as [`start`] does.
///
/// # Errors
/// Any step's. Before it is stopped nothing has happened, behind that it is as after a failed start.
pub fn restart(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    before: Option<&Record>,
    how: Stop,
) -> Result<Made> {
    stop(machine, ctx, &record.name, record.init, how)?;
    start(machine, ctx, record, before)
}

/// What became of a container whose init ended.
#[derive(Debug)]
pub enum Ended {
    /// It is stopped and unmounted.
    Stopped,
    /// The guest rebooted.
    Rebooted(Box<Live>),
}

/// Sees to a container whose init ended by itself.
///
/// # Errors
/// Any step's.
pub fn ended(machine: &Machine, ctx: &Ctx, record: &Record) -> Result<Ended> {
    let name = &record.name;
    match machine.runtime.after_end(ctx, name)? {
        AfterEnd::Rebooted(running) => {
            // LXC's monitor has given it the limits it was once started with.
            if let Err(error) = machine.runtime.set_limits(record) {
                warn!("{error}");
            }
            Ok(Ended::Rebooted(live(machine, name, running)))
        }
        AfterEnd::Stopped => {
            machine.storage.unmount(name)?;
            machine.release_image(name)?;
            Ok(Ended::Stopped)
        }
    }
}
