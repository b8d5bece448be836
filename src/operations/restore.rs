//! `restore`: putting a snapshot in the place of a container's layer.

use super::copying::SnapshotArgs;
use super::start::Start;
use super::stop::stop;
use super::undo::Undo;
use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::admission::{self, Disk};
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::StopHow;
use crate::steps::storage::{Record, Snapshot};

/// The kind of a job that restores a snapshot.
pub const KIND: Kind = Kind::new("restore");

/// A snapshot to be restored.
#[derive(Debug)]
pub struct Restore {
    /// The record of its container.
    pub record: Box<Record>,
    /// The snapshot, which stays.
    pub snapshot: Snapshot,
    /// The container runs: it is stopped for the moment it takes, and started again.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

impl Restore {
    /// A snapshot that somebody wants to have back.
    ///
    /// # Errors
    /// [`Code::Running`] without force, [`Code::NotSupported`] for one of another image, [`Code::NotFound`],
    /// [`Code::Busy`].
    pub fn ask(state: &State, args: &SnapshotArgs) -> Result<Restore> {
        let name = Name::new(&args.name)?;
        let called = Name::of_snapshot(args.snapshot.as_deref().unwrap_or_default())?;
        let container = state.whole(&name)?;
        let snapshot = state.machine.storage.find_snapshot(&name, &called)?;
        let (record, running) = (container.record.clone(), container.live.is_some());
        if running && !args.force.unwrap_or(false) {
            return Err(Error::new(
                Code::Running,
                format_args!("container {name} is running; stop it first, or restore it with force"),
            ));
        }
        if snapshot.image_sha256 != record.image_sha256 {
            return Err(Error::new(
                Code::NotSupported,
                format_args!("snapshot {called} of container {name} belongs to another image"),
            ));
        }
        Ok(Restore { record, snapshot, running, disk: state.disk() })
    }

    fn start(&self) -> Start {
        Start { record: self.record.clone(), before: None }
    }
}

impl Operation for Restore {
    /// What runs again; None when it did not run.
    type Found = Option<Made>;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    /// It is copied beside the layer first, while a container that runs goes on; then both change places. From the stop
    /// on a cancel is not heard any more. What fails leaves the old layer or that of the snapshot.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Option<Made>> {
        let name = &self.record.name;
        admission::admit_copy(self.disk, self.snapshot.bytes)?;
        let mut undo = Undo::default();
        undo.push(|| machine.storage.discard_layer(name));
        let placed = put_in_place(machine, ctx, self, &mut undo);
        undo.unless_good(placed)?;
        let ctx = &ctx.deaf()?;
        let started = self.running.then(|| self.start().start(machine, ctx)).transpose();
        let erased = ctx.step("restore.erase").and_then(|()| machine.storage.discard_layer(name));
        match (started, erased) {
            (Err(error), erased) => Err(error.with_leftovers(erased.err().as_slice())),
            (Ok(made), erased) => erased.map(|()| made),
        }
    }

    fn done(self, state: &mut State, made: Option<Made>) -> Result<()> {
        match made {
            Some(made) => state.take_up(&self.record.name, made),
            None => state.notify_container("container.changed", &self.record.name),
        }
        Ok(())
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
            None => what.start().start(machine, &Ctx::silent()?).map(drop),
        });
    }
    // What it was about to write is given up in any case: there is nothing to wait for.
    stop(machine, ctx, &record.name, record.init, StopHow::Kill)?;
    ctx.step("restore.exchange")?;
    machine.storage.exchange_layer(record)
}
