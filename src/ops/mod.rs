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

use crate::steps::lxc::cgroup::Usage;
use crate::steps::lxc::Running;
use crate::steps::network::AddressWatch;
use crate::steps::storage::Record;
use crate::sys;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A container that runs, with what the loop watches of it.
#[derive(Debug)]
pub struct Live {
    /// No other has it: whose descriptors have been seen is known by it, while their numbers are used again.
    pub serial: u32,
    /// Its processes.
    pub running: Running,
    /// Its addresses; None when they cannot be watched.
    pub addresses: Option<AddressWatch>,
    /// When its init began, since the box's boot.
    pub began: Duration,
    /// What it used when that was last read.
    pub reading: Cell<Option<Reading>>,
    /// It is frozen: none of its processes runs.
    pub frozen: bool,
    /// How often it ran out of memory in this run.
    pub ooms: u64,
    /// When that was told last.
    pub ooms_told: Option<Instant>,
}

impl Live {
    /// A [`Live::serial`].
    pub fn next_serial() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes down what it uses now, and what share of a processor it had since the last time, or since its start.
    pub fn read(&self, usage: Usage) -> Reading {
        let at = Instant::now();
        let share = |used: u64| {
            let last = self.reading.get().and_then(|last| Some((last.usage.cpu_time?, last.at)));
            let (before, time) = match last {
                Some((before, seen)) => (before, at - seen),
                None => (0, sys::boottime().saturating_sub(self.began)),
            };
            let microseconds = u64::try_from(time.as_micros()).ok().filter(|time| *time > 0)?;
            Some(used.saturating_sub(before).saturating_mul(1000) / microseconds)
        };
        let reading = Reading { usage, cpu: usage.cpu_time.and_then(share), at };
        self.reading.set(Some(reading));
        reading
    }
}

/// What a container used at a time.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Memory, processes, processor time.
    pub usage: Usage,
    /// Thousandths of a processor since the reading before.
    pub cpu: Option<u64>,
    /// When it was read.
    pub at: Instant,
}

/// A container that was made or started.
#[derive(Debug)]
pub struct Made {
    /// Its record.
    pub record: Box<Record>,
    /// What runs of it.
    pub live: Option<Box<Live>>,
}
