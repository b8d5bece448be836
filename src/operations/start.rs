//! `start`: a container's root is mounted, and its init runs.

use super::create::Create;
use super::undo::Undo;
use super::{About, Operation, Task};
use crate::error::{Code, Error, Result};
use crate::machine::{guest_network, Machine};
use crate::model::advert::host_label;
use crate::model::config::Declared;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::model::size::Bytes;
use crate::model::spec::Restart;
use crate::state::{no_container, no_section, Live, Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::StopHow;
use crate::steps::network::Port;
use crate::steps::storage::{Record, Stage};
use log::warn;
use serde::Deserialize;
use std::net::Ipv4Addr;

/// The kind of a job that starts a container.
pub const KIND: Kind = Kind { yields: true, shown_as: Some("starting"), ..Kind::new("start") };

/// `cloudbox.container start`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be started.
#[derive(Debug)]
pub struct Start {
    /// As it shall run.
    pub record: Box<Record>,
    /// The one on disk, when that differs.
    pub before: Option<Box<Record>>,
}

impl Start {
    /// A container that shall run. One that could not be made before is made.
    ///
    /// # Errors
    /// What is wrong with its section, no room for it, [`crate::error::Code::Busy`].
    pub fn ask(state: &State, name: &Name) -> Result<Box<dyn Task>> {
        state.check_enabled()?;
        state.check_known(name)?;
        state.check_idle(name)?;
        state.check_not_deleting(name)?;
        Ok(match state.containers.get(name) {
            None => Box::new(Create::declared(state, name, true)?),
            Some(container) if container.live.is_some() => {
                Box::new(Start { record: container.record.clone(), before: None })
            }
            Some(_) => Box::new(Start::check(state, name)?),
        })
    }

    /// The record the container is started with.
    ///
    /// # Errors
    /// As [`Start::ask`].
    pub fn check(state: &State, name: &Name) -> Result<Start> {
        let made = &state.containers.get(name).ok_or_else(|| no_container(name))?.record;
        let spec = match state.config.containers.get(name) {
            Some(Declared { spec: Ok(spec), .. }) => spec.for_start(&made.spec),
            Some(Declared { spec: Err(error), .. }) => return Err(error.clone()),
            None => return Err(no_section(name)),
        };
        state.check_address(name, &spec)?;
        state.admit_memory(name, &spec)?;
        state.admit_growth(&spec, &made.spec)?;
        let mut record = made.clone();
        record.spec = spec;
        record.said = None;
        let before = (record != *made).then(|| made.clone());
        Ok(Start { record, before })
    }

    /// Mounts and starts it. Fails whole: its mounts are down and its record is the old one again.
    ///
    /// # Errors
    /// What a step refused.
    pub fn start(&self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let mut undo = Undo::default();
        let made = mount_and_start(machine, ctx, &self.record, self.before.as_deref(), &mut undo);
        undo.unless_good(made)
    }
}

impl Operation for Start {
    type Found = Made;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    fn is_needless(&self, state: &State) -> bool {
        state.runs(&self.record.name)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        self.start(machine, ctx)
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        let name = &self.record.name;
        state.take_up(name, made);
        if state.is_stale(name)
            && state
                .declared_spec(name)
                .is_some_and(|spec| spec.for_start(&self.record.spec) == self.record.spec)
        {
            // What could not be had at a start is not to be had while it runs.
            state.give_up(Action::Apply(name.clone()));
        }
        Ok(())
    }

    fn failed(self, state: &mut State, error: &Error) {
        note_failed_start(state, &self.record.name, error);
    }
}

/// Keeps why a container was not started. What something else used up for now is tried again as a crash is, whoever asked
/// for the start: a guest that takes what all share would else have put down every other that was restarted meanwhile.
pub fn note_failed_start(state: &mut State, name: &Name, error: &Error) {
    let restarts = state.declared_spec(name).is_some_and(|spec| spec.restart != Restart::No);
    if error.code == Code::InUse && restarts {
        state.start_later(name);
    }
    if let Some(container) = state.containers.get_mut(name) {
        container.failure = Some(error.clone());
    }
}

fn mount_and_start<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    record: &'a Record,
    before: Option<&'a Record>,
    undo: &mut Undo<'a>,
) -> Result<Made> {
    let name = &record.name;
    let network = guest_network(machine, &record.spec)?;
    machine.network.check_bridge(&record.spec.bridge)?;
    ctx.step("start.mount")?;
    undo.push(move || machine.release_image(name));
    let image = machine.hold_image(name, &record.image_sha256)?;
    undo.push(move || machine.storage.unmount(name));
    machine.storage.unmount(name)?;
    machine.storage.mount(record, Stage::Alive, &image)?;
    let record = Box::new(as_mounted(machine, record, before));
    if let Some(before) = before {
        // The record comes behind what it tells of: cut short in between, the next start does both again.
        ctx.step("start.network")?;
        undo.push(move || {
            machine.storage.write_guest_network(before, &guest_network(machine, &before.spec)?)
        });
        machine.storage.write_guest_network(&record, &network)?;
        ctx.step("start.record")?;
        undo.push(move || machine.storage.save_record(before));
        machine.storage.save_record(&record)?;
    }
    let live = start_mounted(machine, ctx, &record, network.gateway)?;
    Ok(Made { record, live: Some(live) })
}

/// The record of a container that was to be mounted as `asked`, with the disk that there is: not every kernel grows one,
/// and none does while somebody else has it mounted.
fn as_mounted(machine: &Machine, asked: &Record, before: Option<&Record>) -> Record {
    let mut record = asked.clone();
    let small = |disk: Bytes| machine.disk_of(&asked.name, disk) < disk;
    match (asked.spec.disk, before.and_then(|before| before.spec.disk)) {
        (Some(disk), Some(was)) if disk > was && small(disk) => {
            warn!("the disk of container {} has {was} still; it grows at another start", asked.name);
            record.spec.disk = Some(was);
            record.told(&asked.spec)
        }
        _ => record,
    }
}

/// Starts a container whose root is mounted.
///
/// # Errors
/// LXC's reason, or [`crate::error::Code::Cancelled`]; nothing of it runs then.
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
    // Before its port is there, so that it can never send anything else.
    machine.network.isolate(&Port::of(record))?;
    let running =
        machine.runtime.start(ctx, record, gateway).inspect_err(|_| machine.network.release(&record.veth))?;
    ctx.runs();
    if let Err(error) = ctx.step("start.watch") {
        // A cancelled job's context would not let the kill begin.
        let stop = |ctx: Ctx| machine.runtime.stop(&ctx, &record.name, record.init, StopHow::Kill);
        let left = Ctx::silent().and_then(stop).err();
        machine.network.release(&record.veth);
        return Err(error.with_leftovers(left.as_slice()));
    }
    Ok(Live::watch(machine, record, running))
}
