//! `snapshot`: keeping what a container has changed of its image.

use super::copying::{held, SnapshotArgs};
use super::undo::Undo;
use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::admission::{self, Disk};
use crate::model::job::Kind;
use crate::model::name::{time_name, Name};
use crate::state::{now, State};
use crate::steps::ctx::Ctx;
use crate::steps::storage::{self, Record};

/// The kind of a job that makes a snapshot.
pub const KIND: Kind = Kind::new("snapshot");

/// A snapshot to be made.
#[derive(Debug)]
pub struct Snapshot {
    /// The record of its container.
    pub record: Box<Record>,
    /// Its name.
    pub snapshot: Name,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// The container runs.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

impl Snapshot {
    /// A snapshot that somebody wants to have.
    ///
    /// # Errors
    /// [`Code::Exists`], [`Code::Busy`], [`Code::NotFound`].
    pub fn ask(state: &State, args: &SnapshotArgs) -> Result<Snapshot> {
        let name = Name::new(&args.name)?;
        let snapshot = match args.snapshot.as_deref().unwrap_or_default() {
            "" => free_name(&state.machine, &name)?,
            text => Name::of_snapshot(text)?,
        };
        let container = state.whole(&name)?;
        if state.machine.storage.find_snapshot(&name, &snapshot).is_ok() {
            return Err(Error::new(
                Code::Exists,
                format_args!("container {name} has a snapshot {snapshot} already; choose another name"),
            ));
        }
        Ok(Snapshot {
            record: container.record.clone(),
            snapshot,
            now: now(),
            running: container.live.is_some(),
            disk: state.disk(),
        })
    }
}

impl Operation for Snapshot {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    /// A container that runs stands still while its layer is copied, and no longer.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        let Snapshot { record, snapshot, .. } = &*self;
        let name = &record.name;
        ctx.step("snapshot.measure")?;
        let bytes = machine.storage.layer_size(ctx, record)?;
        admission::admit_copy(self.disk, bytes)?;
        let mut undo = Undo::default();
        undo.push(|| machine.storage.discard_snapshot(name, snapshot));
        let kept = held(machine, ctx, record, self.running, &mut || {
            ctx.step("snapshot.copy")?;
            machine.storage.copy_to_snapshot(ctx, record, snapshot, bytes)
        })
        .and_then(|()| {
            ctx.step("snapshot.name")?;
            let image_sha256 = record.image_sha256.clone();
            let kept = storage::Snapshot { name: snapshot.clone(), created: self.now, bytes, image_sha256 };
            machine.storage.give_snapshot_name(record, &kept)
        });
        undo.unless_good(kept)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        state.notify_container("container.changed", &self.record.name);
        Ok(())
    }
}

/// A name for a snapshot of container `name`: the time, with a number behind it where one is called so already. A box
/// without a battery has the same time again after each boot.
fn free_name(machine: &Machine, name: &Name) -> Result<Name> {
    let taken = machine.storage.snapshots(name)?;
    let time = time_name(now());
    let mut candidate = Name::of_snapshot(&time)?;
    let mut number = 1_u32;
    while taken.iter().any(|snapshot| snapshot.name == candidate) {
        number += 1;
        candidate = Name::of_snapshot(&format!("{time}-{number}"))?;
    }
    Ok(candidate)
}
