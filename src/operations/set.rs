//! `set`: changing a container; what the kernel allows holds at once.

use super::undo::Undo;
use super::{address_check, About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::options::{settable, OptionValues};
use crate::model::plan::Action;
use crate::model::size::Bytes;
use crate::model::spec::Spec;
use crate::state::{no_section, State};
use crate::steps::config::Change;
use crate::steps::ctx::Ctx;
use crate::steps::network::Port;
use crate::steps::storage::Record;
use log::info;
use serde::Deserialize;

/// The kind of a job that changes a container.
pub const KIND: Kind = Kind { yields: true, applies: true, ..Kind::new("set") };

/// `cloudbox.container set`, beside the options that can be changed.
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// Also a memory limit below what it uses: the kernel then kills what does not fit.
    pub force: Option<bool>,
    /// Seconds to hold back the reply until it is done; 15 unless said otherwise.
    pub wait: Option<u32>,
}

/// A container to be changed.
#[derive(Debug)]
pub struct Set {
    /// Its name.
    pub name: Name,
    /// What it shall be.
    pub spec: Spec,
    /// What its section said before, when this changes it.
    pub before: Option<Spec>,
    /// What its section shall say anew; nothing, when it says it already.
    pub changes: Vec<Change>,
    /// Its record; None of one that was never made.
    pub record: Option<Box<Record>>,
    /// It runs: what the kernel allows is applied at once. To one that does not, the next start applies everything.
    pub running: bool,
}

impl Set {
    /// A container of which somebody wants something else.
    ///
    /// # Errors
    /// A wrong value, nothing to change, no room for it.
    pub fn ask(state: &State, args: &Args, said: &OptionValues) -> Result<Set> {
        let name = Name::new(&args.name)?;
        let before = state.changeable(&name)?.spec.clone()?;
        let spec = said.apply(before.clone())?;
        if said.is_empty() {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("there is nothing to change; give {}", settable()),
            ));
        }
        let mut changes: Vec<Change> =
            said.iter().map(|(option, texts, _)| (option, texts.first().cloned())).collect();
        if before.gateway.is_some() && spec.gateway.is_none() {
            changes.push(("gateway", None));
        }
        check_disk(state, &name, &spec)?;
        if spec.bridge != before.bridge {
            state.machine.network.check_bridge(&spec.bridge)?;
        }
        state.check_address(&name, &spec)?;
        check_memory(state, &name, &spec, args.force.unwrap_or(false))?;
        Ok(Set::of(state, name, spec, Some(before), changes))
    }

    /// A running container that shall have what its section says, as far as that can be had while it runs.
    ///
    /// # Errors
    /// No room for it.
    pub fn declared(state: &State, name: &Name) -> Result<Set> {
        let spec = state.declared_spec(name).cloned().ok_or_else(|| no_section(name))?;
        check_memory(state, name, &spec, false)?;
        if let Some(container) = state.containers.get(name) {
            state.admit_growth(&spec, &container.record.spec)?;
        }
        Ok(Set::of(state, name.clone(), spec, None, Vec::new()))
    }

    fn of(state: &State, name: Name, spec: Spec, before: Option<Spec>, changes: Vec<Change>) -> Set {
        let running = state.runs(&name);
        let record = state.containers.get(&name).map(|container| container.record.clone());
        Set { name, spec, before, changes, record, running }
    }
}

/// Checks that the disk stays or grows, and that there is room for it.
fn check_disk(state: &State, name: &Name, spec: &Spec) -> Result<()> {
    let Some(container) = state.containers.get(name) else { return Ok(()) };
    let made = &container.record.spec;
    if spec.disk != made.disk && !spec.grows(made) {
        let shown = |disk: Option<Bytes>| disk.map_or_else(|| "none".to_string(), |size| size.to_string());
        return Err(Error::new(
            Code::NotSupported,
            format_args!(
                "disk {}: container {name} has {}, and a disk can only grow; make a new container instead",
                shown(spec.disk),
                shown(made.disk)
            ),
        ));
    }
    state.admit_growth(spec, made)
}

/// Checks that the box has the memory, and that a container that runs can do with it.
fn check_memory(state: &State, name: &Name, spec: &Spec, force: bool) -> Result<()> {
    let Some(container) = state.containers.get(name).filter(|container| container.live.is_some()) else {
        return state.admit_memory_alone(spec);
    };
    if spec.promised_memory() > container.record.spec.promised_memory() {
        state.admit_memory(name, spec)?;
    }
    if spec.memory >= container.record.spec.memory {
        return Ok(());
    }
    let held = state.machine.runtime.memory_held(name).filter(|held| *held > spec.memory.get());
    match held {
        Some(held) if !force => Err(Error::new(
            Code::InUse,
            format_args!(
                "memory {}: container {name} uses {}; give it more, stop programs in it, or use force: the kernel \
                 then kills what does not fit",
                spec.memory,
                Bytes(held)
            ),
        )),
        _ => Ok(()),
    }
}

impl Operation for Set {
    /// The record as it is now, with what is in force of one that runs.
    type Found = Option<Box<Record>>;

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    /// Promised from here on; the file says so in a moment.
    fn begun(&self, state: &mut State) {
        if let Some(declared) = state.config.containers.get_mut(&self.name) {
            declared.spec = Ok(self.spec.clone());
        }
    }

    /// Writes the section, and applies what can be applied. A disk that has grown stays so, whatever fails behind that.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Option<Box<Record>>> {
        let mut undo = Undo::default();
        let changed = change_and_apply(machine, ctx, self, &mut undo);
        undo.unless_good(changed)
    }

    fn done(self, state: &mut State, record: Option<Box<Record>>) -> Result<()> {
        if let (Some(container), Some(record)) = (state.containers.get_mut(&self.name), record) {
            container.record = record;
        }
        if state.is_stale(&self.name) && state.declared_spec(&self.name) == Some(&self.spec) {
            // This kernel applies the rest when the container is started again.
            state.give_up(Action::Apply(self.name.clone()));
        }
        state.notify_container("container.changed", &self.name);
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        state.give_up(Action::Apply(self.name.clone()));
        if let (Some(before), Some(declared)) = (self.before, state.config.containers.get_mut(&self.name)) {
            // Unless the file was read again meanwhile, and says something else.
            if declared.spec == Ok(self.spec) {
                declared.spec = Ok(before);
            }
        }
    }
}

fn change_and_apply<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    what: &'a Set,
    undo: &mut Undo<'a>,
) -> Result<Option<Box<Record>>> {
    let name = &what.name;
    let is_new = |was: &Spec| (was.address, &was.bridge) != (what.spec.address, &what.spec.bridge);
    let mac = what.record.as_ref().map_or("", |record| record.mac.as_str());
    let asked = what.before.as_ref().filter(|was| is_new(was));
    let asked = asked.map(|_| address_check::begin(machine, mac, &what.spec));
    if !what.changes.is_empty() {
        ctx.step("set.config")?;
        let was = machine.config.change(name, &what.changes)?;
        undo.push(move || machine.config.change(name, &was).map(drop));
    }
    let changed = match &what.record {
        Some(before) => apply_to(machine, ctx, what, before, undo).map(Some),
        None => Ok(None),
    }?;
    if let Some(asked) = asked {
        asked.end(ctx);
    }
    Ok(changed)
}

/// Applies it to a container that was made; its record then.
fn apply_to<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    what: &Set,
    before: &'a Record,
    undo: &mut Undo<'a>,
) -> Result<Box<Record>> {
    let mut after = before.clone();
    if what.running {
        after.spec = what.spec.while_running(&before.spec);
        apply(machine, ctx, before, &mut after, undo)?;
    }
    let after = Box::new(after.told(&what.spec));
    if *after != *before {
        ctx.step("set.record")?;
        undo.push(move || machine.storage.save_record(before));
        machine.storage.save_record(&after)?;
    }
    Ok(after)
}

/// Applies to a container that runs what `after` has and `before` has not; what cannot be had stays in `after` as it was.
fn apply<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    before: &'a Record,
    after: &mut Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let name = &before.name;
    ctx.step("set.limits")?;
    undo.push(move || machine.runtime.set_limits(before));
    machine.runtime.set_limits(after)?;
    ctx.step("set.isolation")?;
    undo.push(move || machine.network.isolate(&Port::of(before)));
    machine.network.isolate(&Port::of(after))?;
    if after.spec.grows(&before.spec) {
        ctx.step("set.disk")?;
        if !machine.storage.grow(after)? {
            info!("this kernel grows the disk of container {name} when it is started again");
            after.spec.disk = before.spec.disk;
        }
    }
    Ok(())
}
