//! `snapshot_delete`: removing a snapshot.

use super::copying::SnapshotArgs;
use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;

/// The kind of a job that removes a snapshot.
pub const KIND: Kind = Kind { cancellable: false, ..Kind::new("snapshot_delete") };

/// A snapshot to be removed.
#[derive(Debug)]
pub struct SnapshotDelete {
    /// The container it belongs to.
    pub name: Name,
    /// Its name.
    pub snapshot: Name,
}

impl SnapshotDelete {
    /// A snapshot that somebody wants to be gone.
    ///
    /// # Errors
    /// [`crate::error::Code::NotFound`], [`crate::error::Code::Busy`].
    pub fn ask(state: &State, args: &SnapshotArgs) -> Result<SnapshotDelete> {
        let name = Name::new(&args.name)?;
        let snapshot = Name::of_snapshot(args.snapshot.as_deref().unwrap_or_default())?;
        state.whole(&name)?;
        state.machine.storage.find_snapshot(&name, &snapshot)?;
        Ok(SnapshotDelete { name, snapshot })
    }
}

impl Operation for SnapshotDelete {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    /// What fails leaves it gone or whole.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        ctx.step("snapshot_delete.name")?;
        machine.storage.take_snapshot_name(&self.name, &self.snapshot)?;
        ctx.step("snapshot_delete.erase")?;
        machine.storage.erase_snapshot(&self.name, &self.snapshot)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        state.notify_container("container.changed", &self.name);
        Ok(())
    }
}
