//! The operations that jobs run: each a straight line of steps, with what undoes them.
//!
//! An operation never touches the model. It is given all it needs, and what it found out is its result.

mod adopt;
mod create;
mod delete;
mod first_boot;
mod rename;
mod run;
mod set;
mod snapshot;
mod undo;

#[cfg(test)]
mod tests;

pub use adopt::{adopt, prune, take_over, TakeOver};
pub use create::{create, Create};
pub use delete::delete;
pub use first_boot::first_boot;
pub use rename::rename;
pub use run::{ended, live, restart, start, stop, Ended};
pub use set::{set, Set};
pub use snapshot::{delete_snapshot, held, let_go, restore, snapshot, Restore, TakeSnapshot};

use crate::steps::lxc::Running;
use crate::steps::network::AddressWatch;
use crate::steps::storage::Record;
use std::time::{Duration, Instant};

/// A container that runs, with what the loop watches of it.
#[derive(Debug)]
pub struct Live {
    /// Its processes.
    pub running: Running,
    /// Its addresses; None when they cannot be watched.
    pub addresses: Option<AddressWatch>,
    /// When its init began, since the box's boot.
    pub began: Duration,
    /// It is frozen: none of its processes runs.
    pub frozen: bool,
    /// How often it ran out of memory in this run.
    pub ooms: u64,
    /// When that was told last.
    pub ooms_told: Option<Instant>,
}

/// A container that was made or started.
#[derive(Debug)]
pub struct Made {
    /// Its record.
    pub record: Record,
    /// What runs of it.
    pub live: Option<Live>,
}
