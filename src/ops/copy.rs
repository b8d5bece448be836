//! Making a container out of another one's files.

use super::snapshot::held;
use super::undo::Undo;
use super::Made;
use crate::error::Result;
use crate::machine::Machine;
use crate::model::admission::{self, Disk};
use crate::model::spec::Asked;
use crate::steps::ctx::Ctx;
use crate::steps::storage::{Record, Snapshot, Stage};

/// A container to be copied.
#[derive(Debug, Clone)]
pub struct CloneOf {
    /// Which.
    pub from: Box<Record>,
    /// A snapshot of it, instead of what there is now.
    pub snapshot: Option<Snapshot>,
    /// The copy.
    pub record: Box<Record>,
    /// The one that is copied runs.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

/// Makes a copy with an identity of its own, which does not run yet. One that runs is held for the copy.
///
/// # Errors
/// Any step's; nothing of the copy is left, and the other one is as it was.
pub fn clone(machine: &Machine, ctx: &Ctx, what: &CloneOf) -> Result<Made> {
    let (from, record) = (&what.from, &what.record);
    ctx.step("clone.measure")?;
    let bytes = match &what.snapshot {
        Some(snapshot) => snapshot.bytes,
        None => machine.storage.layer_size(ctx, from)?,
    };
    if record.spec.disk.is_none() {
        admission::admit_copy(what.disk, bytes)?;
    }
    make(machine, ctx, record, from, &mut || {
        held(machine, ctx, from, what.running && what.snapshot.is_none(), &mut || {
            ctx.step("clone.copy")?;
            machine.storage.copy_layer(ctx, from, what.snapshot.as_ref(), record, bytes)
        })
    })
}

/// Makes the container `record`, whose layer `fill` brings, and which was `was` before.
///
/// Its section comes first, as one that is to be deleted: after a crash the daemon clears away what is half made. Taking
/// that back is what brings the container into being.
pub fn make(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    was: &Record,
    fill: &mut dyn FnMut() -> Result<()>,
) -> Result<Made> {
    let mut undo = Undo::default();
    match build(machine, ctx, record, was, fill, &mut undo) {
        Ok(()) => {
            undo.disarm();
            Ok(Made { record: Box::new(record.clone()), live: None })
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

fn build<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    record: &'a Record,
    was: &Record,
    fill: &mut dyn FnMut() -> Result<()>,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let name = &record.name;
    ctx.step("copy.config")?;
    let asked = Asked { deleting: Some("1".to_string()), ..Asked::of(&record.spec) };
    machine.config.add_container(name, &asked)?;
    undo.push(move || machine.config.remove_container(name, true));
    undo.push(move || machine.storage.discard(name));
    machine.storage.build(ctx, record)?;
    fill()?;
    ctx.step("copy.mount")?;
    undo.push(move || machine.release_image(name));
    let image = machine.hold_image(name, &record.image_sha256)?;
    machine.storage.mount(record, Stage::Unborn, &image)?;
    ctx.step("copy.identity")?;
    machine.storage.write_identity(record, was)?;
    machine.storage.unmount(name)?;
    machine.release_image(name)?;
    ctx.step("copy.name")?;
    machine.storage.give_name(name)?;
    undo.push(move || {
        machine.storage.take_name(name)?;
        machine.storage.erase(name)
    });
    ctx.step("copy.done")?;
    machine.config.change(name, &[("deleting", None)]).map(drop)
}
