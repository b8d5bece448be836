//! Changing a container while it runs.

use super::undo::Undo;
use crate::error::Result;
use crate::machine::Machine;
use crate::model::name::Name;
use crate::model::spec::Spec;
use crate::steps::config::Change;
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;
use log::info;

/// What is to be changed.
#[derive(Debug, Clone)]
pub struct Set {
    /// Which container.
    pub name: Name,
    /// What it shall be.
    pub spec: Spec,
    /// What its section shall say anew; nothing, when it says it already.
    pub changes: Vec<Change>,
    /// The record of one that runs: what the kernel allows is applied at once. To one that does not, the next start
    /// applies everything.
    pub running: Option<Box<Record>>,
}

/// Writes the section, and applies what can be applied. Returns the record of what is in force then, if it runs.
///
/// # Errors
/// Any step's; nothing is changed then, but for a disk that has grown already.
pub fn set(machine: &Machine, ctx: &Ctx, what: &Set) -> Result<Option<Box<Record>>> {
    let mut undo = Undo::default();
    match change_and_apply(machine, ctx, what, &mut undo) {
        Ok(record) => {
            undo.disarm();
            Ok(record)
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

fn change_and_apply<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    what: &'a Set,
    undo: &mut Undo<'a>,
) -> Result<Option<Box<Record>>> {
    let name = &what.name;
    if !what.changes.is_empty() {
        ctx.step("set.config")?;
        let was = machine.config.change(name, &what.changes)?;
        undo.push(move || machine.config.change(name, &was).map(drop));
    }
    let Some(before) = &what.running else { return Ok(None) };
    let mut after = before.clone();
    after.spec = what.spec.while_running(&before.spec);
    ctx.step("set.limits")?;
    undo.push(move || machine.runtime.set_limits(before));
    machine.runtime.set_limits(&after)?;
    if after.spec.grows(&before.spec) {
        ctx.step("set.disk")?;
        if !machine.storage.grow(&after)? {
            info!("this kernel grows the disk of container {name} when it is started again");
            after.spec.disk = before.spec.disk;
        }
    }
    ctx.step("set.record")?;
    undo.push(move || machine.storage.save_record(before));
    machine.storage.save_record(&after)?;
    Ok(Some(after))
}
