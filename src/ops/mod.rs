//! The operations that jobs run: each a straight line of steps, with what undoes them.
//!
//! An operation never touches the model. It is given all it needs, and what it found out is its result.

mod adopt;
mod archive;
mod copy;
mod create;
mod delete;
mod first_boot;
mod images;
mod rename;
mod run;
mod set;
mod snapshot;
mod undo;

#[cfg(test)]
mod tests;

pub use adopt::{adopt, prune, take_over, TakeOver};
pub use archive::{export, import, Export, Import};
pub use copy::{clone, CloneOf};
pub use create::{create, Create};
pub use delete::delete;
pub use first_boot::first_boot;
pub use images::prune_images;
pub use rename::rename;
pub use run::{ended, live, restart, start, stop, Ended};
pub use set::{set, Set};
pub use snapshot::{delete_snapshot, held, let_go, restore, snapshot, Restore, TakeSnapshot};

use crate::steps::lxc::Running;
use crate::steps::network::AddressWatch;
use crate::steps::storage::Record;
use crate::sys;
use std::cell::Cell;
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
    /// The processor time it had used when it was last asked for, in microseconds, and when that was.
    pub cpu_seen: Cell<Option<(u64, Instant)>>,
    /// It is frozen: none of its processes runs.
    pub frozen: bool,
    /// How often it ran out of memory in this run.
    pub ooms: u64,
    /// When that was told last.
    pub ooms_told: Option<Instant>,
}

impl Live {
    /// The thousandths of a processor it used since the last call, or since its start; `used` is its processor time by
    /// now, in microseconds.
    pub fn cpu_share(&self, used: u64) -> Option<u64> {
        let now = Instant::now();
        let (before, time) = match self.cpu_seen.replace(Some((used, now))) {
            Some((before, seen)) => (before, now - seen),
            None => (0, sys::boottime().saturating_sub(self.began)),
        };
        let microseconds = u64::try_from(time.as_micros()).ok().filter(|time| *time > 0)?;
        Some(used.saturating_sub(before).saturating_mul(1000) / microseconds)
    }
}

/// A container that was made or started.
#[derive(Debug)]
pub struct Made {
    /// Its record.
    pub record: Record,
    /// What runs of it.
    pub live: Option<Live>,
}
