//! `clone`: making a copy of a container that is somebody else.

use super::copying::{as_newcomer, forget_copy, held, make, named_snapshot, spec_of_copy};
use super::{About, Operation};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::admission::{self, Disk};
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::storage::{Record, Snapshot};
use serde::Deserialize;

/// The kind of a job that copies a container.
pub const KIND: Kind = Kind { shown_as: Some("creating"), ..Kind::new("clone") };

/// `cloudbox.container clone`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container that is copied.
    pub name: String,
    /// The copy's name.
    pub new_name: String,
    /// A snapshot to copy instead of what there is now.
    pub snapshot: Option<String>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be copied.
#[derive(Debug)]
pub struct Clone {
    /// The record of the original.
    pub from: Box<Record>,
    /// A snapshot of it, instead of what there is now.
    pub snapshot: Option<Snapshot>,
    /// The record of the copy.
    pub record: Box<Record>,
    /// The original runs.
    pub running: bool,
    /// What may be taken of the disk.
    pub disk: Disk,
}

impl Clone {
    /// A copy that somebody wants to have.
    ///
    /// # Errors
    /// [`crate::error::Code::Exists`], no room for it, no such snapshot, [`crate::error::Code::Busy`].
    pub fn ask(state: &State, args: &Args) -> Result<Clone> {
        let (name, new) = (Name::new(&args.name)?, Name::new(&args.new_name)?);
        state.check_enabled()?;
        let container = state.whole(&name)?;
        state.check_free(&new)?;
        let (from, running) = (container.record.clone(), container.live.is_some());
        let snapshot = named_snapshot(state, &name, args.snapshot.as_deref())?;
        let spec = as_newcomer(spec_of_copy(state, &name, &from.spec));
        state.machine.network.check_bridge(&spec.bridge)?;
        state.admit_disk(&spec)?;
        let mut record = state.new_record(&new, spec)?;
        (record.image_sha256, record.init) = (from.image_sha256.clone(), from.init);
        Ok(Clone { from, snapshot, record, running, disk: state.disk() })
    }
}

impl Operation for Clone {
    type Found = Made;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name).copying(&self.from.name)
    }

    fn makes(&self) -> Option<&Record> {
        Some(&self.record)
    }

    /// The copy has an identity of its own, and does not run yet. An original that runs stands still meanwhile.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let (from, record) = (&self.from, &self.record);
        ctx.step("clone.measure")?;
        let bytes = match &self.snapshot {
            Some(snapshot) => snapshot.bytes,
            None => machine.storage.layer_size(ctx, from)?,
        };
        if record.spec.disk.is_none() {
            admission::admit_copy(self.disk, bytes)?;
        }
        make(machine, ctx, record, from, &mut || {
            held(machine, ctx, from, self.running && self.snapshot.is_none(), &mut || {
                ctx.step("clone.copy")?;
                machine.storage.copy_layer(ctx, from, self.snapshot.as_ref(), record, bytes)
            })
        })
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        state.take_up(&self.record.name, made);
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        forget_copy(state, &self.record.name);
    }
}
