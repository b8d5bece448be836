//! Snapshots of a container's layer, and the way back.

use super::run::{start, stop};
use super::undo::Undo;
use super::Made;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::admission::{self, Disk};
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Stop;
use crate::steps::storage::{Record, Snapshot};

/// A snapshot to be made.
#[derive(Debug, Clone)]
pub struct TakeSnapshot {
    /// Of which container.
    pub record: Box<Record>,
    /// Its name.
    pub snapshot: Name,
    /// The time.
    pub now: u64,
    /// The container runs.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

/// Makes a snapshot. A container that runs stands still while its layer is copied, and no longer.
///
/// # Errors
/// Any step's; nothing of the snapshot is left, and the container goes on.
pub fn snapshot(machine: &Machine, ctx: &Ctx, what: &TakeSnapshot) -> Result<()> {
    let TakeSnapshot { record, snapshot, .. } = what;
    let name = &record.name;
    ctx.step("snapshot.measure")?;
    let bytes = machine.storage.layer_size(ctx, record)?;
    admission::admit_copy(what.disk, bytes)?;
    let mut undo = Undo::default();
    undo.push(|| machine.storage.discard_snapshot(name, snapshot));
    let kept = held(machine, ctx, record, what.running, &mut || {
        ctx.step("snapshot.copy")?;
        machine.storage.copy_to_snapshot(ctx, record, snapshot, bytes)
    })
    .and_then(|()| {
        ctx.step("snapshot.name")?;
        let image_sha256 = record.image_sha256.clone();
        let kept = Snapshot { name: snapshot.clone(), created: what.now, bytes, image_sha256 };
        machine.storage.give_snapshot_name(record, &kept)
    });
    match kept {
        Ok(()) => {
            undo.disarm();
            Ok(())
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

/// Removes a snapshot. Once begun a cancel is not heard any more.
///
/// # Errors
/// Any step's; it is then gone or whole.
pub fn delete_snapshot(machine: &Machine, ctx: &Ctx, name: &Name, snapshot: &Name) -> Result<()> {
    ctx.step("snapshot_delete.name")?;
    machine.storage.take_snapshot_name(name, snapshot)?;
    ctx.step("snapshot_delete.erase")?;
    machine.storage.erase_snapshot(name, snapshot)
}

/// A snapshot to be restored.
#[derive(Debug, Clone)]
pub struct Restore {
    /// To which container.
    pub record: Box<Record>,
    /// Which.
    pub snapshot: Snapshot,
    /// The container runs: it is stopped for the moment it takes, and started again.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

/// Puts a snapshot in the place of the container's layer. The snapshot stays.
///
/// It is copied beside the layer first, while a container that runs goes on; then both change places. From the stop on
/// a cancel is not heard any more.
///
/// # Errors
/// Any step's; the layer is then the old one or that of the snapshot.
pub fn restore(machine: &Machine, ctx: &Ctx, what: &Restore) -> Result<Option<Made>> {
    let record = &what.record;
    let name = &record.name;
    admission::admit_copy(what.disk, what.snapshot.bytes)?;
    let mut undo = Undo::default();
    undo.push(|| machine.storage.discard_layer(name));
    if let Err(error) = put_in_place(machine, ctx, what, &mut undo) {
        return Err(undo.unwind(error));
    }
    undo.disarm();
    let ctx = &ctx.deaf()?;
    let started = what.running.then(|| start(machine, ctx, record, None)).transpose();
    let erased = ctx.step("restore.erase").and_then(|()| machine.storage.discard_layer(name));
    match (started, erased) {
        (Err(error), erased) => Err(error.with_leftovers(erased.err().as_slice())),
        (Ok(made), erased) => erased.map(|()| made),
    }
}

fn put_in_place<'a>(machine: &'a Machine, ctx: &Ctx, what: &'a Restore, undo: &mut Undo<'a>) -> Result<()> {
    let record = &what.record;
    ctx.step("restore.copy")?;
    machine.storage.copy_from_snapshot(ctx, record, &what.snapshot)?;
    ctx.step("restore.stop")?;
    let ctx = &ctx.deaf()?;
    if what.running {
        undo.push(move || match machine.runtime.find(&record.name)? {
            Some(_) => Ok(()),
            None => start(machine, &Ctx::silent()?, record, None).map(drop),
        });
    }
    // What it was about to write is given up in any case: there is nothing to wait for.
    stop(machine, ctx, &record.name, record.init, Stop::Kill)?;
    ctx.step("restore.exchange")?;
    machine.storage.exchange_layer(record)
}

/// Does `work` while the container, if it is `running`, stands still: its processes are frozen, and with a quota its
/// file system is at rest. It goes on whatever comes of the work; also after a crash, when the daemon starts again.
///
/// # Errors
/// Those of `work`, or it cannot be held or let go.
pub fn held(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    running: bool,
    work: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    if !running {
        return work();
    }
    let name = &record.name;
    // One that its owner has frozen stays frozen; one that we could not let go does not.
    let ours = machine.storage.held().contains(&(name.clone(), true));
    let freeze = ours || !machine.runtime.is_frozen(name);
    let hold = || {
        ctx.step("held.note")?;
        machine.storage.note_held(name, freeze)?;
        ctx.step("held.flush")?;
        machine.storage.flush_layer(record)?;
        ctx.step("held.freeze")?;
        if freeze {
            machine.runtime.freeze(ctx, name)?;
        }
        machine.storage.hold_layer(record)
    };
    let done = hold().and_then(|()| work());
    let point = crate::fault::point("held.thaw");
    let left: Vec<Error> =
        [point, let_go(machine, name, freeze)].into_iter().filter_map(Result::err).collect();
    match (done, left.first()) {
        (Ok(()), Some(error)) => Err(error.clone()),
        (done, _) => done.map_err(|error| error.with_leftovers(&left)),
    }
}

/// Lets a container go on that was held.
///
/// # Errors
/// When the kernel refuses; the rest is done all the same.
pub fn let_go(machine: &Machine, name: &Name, frozen: bool) -> Result<()> {
    let layer = machine.storage.let_layer_go(name);
    let thawed = if frozen { machine.runtime.thaw(name) } else { Ok(()) };
    // The note goes last: until then a daemon that starts after a crash does all of it.
    layer.and(thawed).and_then(|()| machine.storage.forget_held(name))
}
