//! `prune`: removing orphans, and what containers left that were half made or half removed.

use super::delete::Delete;
use super::{About, Operation, Task};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;

/// The kind of a job that removes what was left half made.
pub const KIND: Kind = Kind { cancellable: false, ..Kind::new("prune") };

/// What could be removed.
#[derive(Debug, Default)]
pub struct Found {
    /// Containers without a section.
    pub orphans: Vec<Name>,
    /// Names under which something half made or half removed lies.
    pub leftovers: Vec<Name>,
    /// Orphans that are protected, and stay.
    pub protected: Vec<Name>,
}

impl Found {
    /// What there is that nothing works on.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn ask(state: &State) -> Result<Found> {
        let mut leftovers = state.machine.storage.leftovers()?;
        leftovers.retain(|name| state.job_on(name).is_none());
        let orphans = state.orphans().into_iter().filter(|name| state.job_on(name).is_none());
        let (protected, orphans) = orphans.partition(|name| state.is_protected(name));
        Ok(Found { orphans, leftovers, protected })
    }

    /// The jobs that remove it.
    pub fn tasks(self, state: &State) -> Vec<Box<dyn Task>> {
        let mut tasks: Vec<Box<dyn Task>> = Vec::new();
        for name in self.leftovers {
            // A delete removes what is left under the name, too.
            if !self.orphans.contains(&name) {
                tasks.push(Box::new(Prune(name)));
            }
        }
        let deletes = self.orphans.into_iter().map(|name| Box::new(Delete::of(state, name)) as Box<dyn Task>);
        deletes.chain(tasks).collect()
    }
}

/// What a container left that was half made or half removed.
#[derive(Debug)]
pub struct Prune(pub Name);

impl Operation for Prune {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.0)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        ctx.step("prune.erase")?;
        machine.storage.discard(&self.0)?;
        machine.storage.erase(&self.0)
    }

    fn done(self, _: &mut State, (): ()) -> Result<()> {
        Ok(())
    }
}
