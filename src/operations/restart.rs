//! `restart`: a container is stopped and started again, with what its section says by now.

use super::start::{note_failed_start, Start};
use super::stop::{stop, stop_how};
use super::{About, Operation, Task};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::StopHow;
use serde::Deserialize;

/// The kind of a job that restarts a container.
pub const KIND: Kind = Kind { waits: true, shown_as: Some("restarting"), ..Kind::new("restart") };

/// `cloudbox.container restart`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// Seconds it may take to shut down before it is killed; 30 unless said otherwise.
    pub timeout: Option<u32>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A running container to be stopped and started.
#[derive(Debug)]
pub struct Restart {
    /// How it is started.
    pub start: Start,
    /// How it is stopped.
    pub how: StopHow,
}

impl Restart {
    /// The restart of a container; one that does not run is only started.
    ///
    /// # Errors
    /// As [`Start::ask`].
    pub fn ask(state: &State, args: &Args) -> Result<Box<dyn Task>> {
        let name = Name::new(&args.name)?;
        let how = stop_how(args.timeout, false)?;
        if !state.runs(&name) {
            return Start::ask(state, &name);
        }
        state.check_enabled()?;
        state.check_idle(&name)?;
        Ok(Box::new(Restart { start: Start::check(state, &name)?, how }))
    }
}

impl Operation for Restart {
    type Found = Made;

    fn about(&self) -> About {
        About::container(KIND, &self.start.record.name)
    }

    /// Until it is stopped nothing has happened; behind that a failure is that of a start.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let record = &self.start.record;
        stop(machine, ctx, &record.name, record.init, self.how)?;
        self.start.start(machine, ctx)
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        self.start.done(state, made)
    }

    fn failed(self, state: &mut State, error: &Error) {
        note_failed_start(state, &self.start.record.name, error);
    }
}
