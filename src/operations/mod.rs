//! What can be done, one file per verb: what the call takes, what is checked on the deciding thread, what the job does
//! with its undo, what becomes of the model, and what is told.
//!
//! An operation's `ask` looks at the [`State`] and refuses, or makes a value that holds all the job needs. The job runs
//! in a thread of its own and never sees the state. What it found out is taken over on the deciding thread again.

mod address_check;
mod adopt;
pub mod args;
mod birth;
mod clone;
mod copying;
mod create;
mod delete;
mod ended;
mod exec;
mod export;
mod first_boot;
mod freeze;
pub mod hosting;
mod image_delete;
mod image_import;
mod image_prune;
mod image_pull;
mod import;
mod prune;
mod publish;
mod rename;
mod restart;
mod restore;
mod set;
mod shutdown;
mod snapshot;
mod snapshot_delete;
mod start;
mod stop;
mod undo;
mod withdraw;

#[cfg(test)]
mod tests;

pub use adopt::{adopt, Adopt, TakeOver};
pub use clone::Clone;
pub use copying::let_go;
pub use create::Create;
pub use delete::Delete;
pub use ended::Ended;
pub use exec::{Exec, TIMEOUT as EXEC_TIMEOUT};
pub use export::Export;
pub use first_boot::{FirstBoot, KIND as FIRST_BOOT};
pub use freeze::{Freeze, Unfreeze};
pub use image_delete::ImageDelete;
pub use image_import::ImageImport;
pub use image_prune::ImagePrune;
pub use image_pull::ImagePull;
pub use import::Import;
pub use prune::{Found as Prunable, Prune};
pub use publish::Publish;
pub use rename::Rename;
pub use restart::Restart;
pub use restore::Restore;
pub use set::Set;
pub use shutdown::{SHUTDOWN, TIMEOUT as SHUTDOWN_TIMEOUT};
pub use snapshot::Snapshot;
pub use snapshot_delete::SnapshotDelete;
pub use start::Start;
pub use stop::{stop_how, Stop, KIND as STOP};
pub use withdraw::Withdraw;

use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::{Kind, Target};
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;
use log::{error, info};

/// What is known of an operation before it begins.
#[derive(Debug, Clone)]
pub struct About {
    /// The kind of job that it is.
    pub kind: Kind,
    /// What it works on.
    pub target: Target,
    /// The container it copies from, when that is another one.
    pub source: Option<Name>,
}

impl About {
    /// One that works on a container.
    pub fn container(kind: Kind, name: &Name) -> About {
        About { kind, target: Target::Container(name.clone()), source: None }
    }

    /// One that works on an image, as it was called.
    pub fn image(kind: Kind, called: &str) -> About {
        About { kind, target: Target::Image(called.to_string()), source: None }
    }

    /// One that works on all images.
    pub fn all_images(kind: Kind) -> About {
        About { kind, target: Target::AllImages, source: None }
    }

    /// The same, which copies from another container.
    pub fn copying(self, from: &Name) -> About {
        About { source: Some(from.clone()), ..self }
    }
}

/// Something that a job does.
pub trait Operation: Send + Sized + 'static {
    /// What the job finds out.
    type Found: Send + 'static;

    /// What it is, and what it works on.
    fn about(&self) -> About;

    /// Whether all is as it should be already: the job has nothing to do then.
    fn is_needless(&self, _: &State) -> bool {
        false
    }

    /// The container that it makes: its ids, its memory and its disk are promised from now on.
    fn makes(&self) -> Option<&Record> {
        None
    }

    /// Notes in the model what else is promised from now on. On the deciding thread, when the job is added.
    fn begun(&self, _: &mut State) {}

    /// Does it, in a thread. Fails whole: what was done is undone, but where it says otherwise.
    ///
    /// # Errors
    /// What a step refused.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Self::Found>;

    /// Takes over what the job found out. On the deciding thread.
    ///
    /// # Errors
    /// What of it failed although the rest is done.
    fn done(self, state: &mut State, found: Self::Found) -> Result<()>;

    /// Takes back what was promised. On the deciding thread, when the job failed or was cancelled.
    fn failed(self, _: &mut State, _: &Error) {}
}

/// How a job ends on the deciding thread: with what it found out, or why it failed.
pub type Ending = Box<dyn FnOnce(&mut State) -> Result<()> + Send>;

/// Any [`Operation`], for the queue of jobs.
pub trait Task: Send {
    /// [`Operation::about`].
    fn describe(&self) -> About;

    /// [`Operation::is_needless`].
    fn has_nothing_to_do(&self, state: &State) -> bool;

    /// [`Operation::makes`] and [`Operation::begun`].
    fn promise(&self, state: &mut State);

    /// Does it, in the job's thread.
    fn work(self: Box<Self>, machine: &Machine, ctx: &Ctx) -> Ending;

    /// Takes back what was promised, when it was never begun.
    fn take_back(self: Box<Self>, state: &mut State, error: &Error);
}

impl<O: Operation> Task for O {
    fn describe(&self) -> About {
        self.about()
    }

    fn has_nothing_to_do(&self, state: &State) -> bool {
        self.is_needless(state)
    }

    fn promise(&self, state: &mut State) {
        if let Some(record) = self.makes() {
            state.making.insert(record.name.clone(), Box::new(record.clone()));
        }
        self.begun(state);
    }

    fn work(mut self: Box<Self>, machine: &Machine, ctx: &Ctx) -> Ending {
        match self.run(machine, ctx) {
            Ok(found) => Box::new(move |state| self.done(state, found)),
            Err(error) => Box::new(move |state| {
                take_failure(*self, state, &error);
                Err(error)
            }),
        }
    }

    fn take_back(self: Box<Self>, state: &mut State, error: &Error) {
        self.failed(state, error);
    }
}

/// An operation failed, or was cancelled: what is known of its container is looked at anew.
fn take_failure<O: Operation>(operation: O, state: &mut State, error: &Error) {
    let About { kind, target, .. } = operation.about();
    let Some(name) = target.container().filter(|_| !kind.beside) else {
        return operation.failed(state, error);
    };
    match error.code {
        Code::Cancelled => info!("{kind} of container {name}: {error}"),
        _ => error!("{kind} of container {name}: {error}"),
    }
    state.look_again(name);
    operation.failed(state, error);
    if error.code != Code::Cancelled {
        state.notify_container("container.failed", name);
    }
}
