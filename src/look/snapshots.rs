//! `snapshots`: what a container's snapshots are.

use crate::api::replies::{SnapshotEntry, SnapshotList};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::name::Name;
use crate::steps::storage::Snapshot;

/// The reply of `snapshots`. It reads a file of each snapshot, so that a thread does it.
///
/// # Errors
/// The directory cannot be read.
pub fn snapshots(machine: &Machine, name: &Name) -> Result<SnapshotList> {
    let entry = |of: Snapshot| SnapshotEntry {
        name: of.name.to_string(),
        created: of.created,
        bytes: of.bytes,
        image_sha256: of.image_sha256,
    };
    Ok(SnapshotList { snapshots: machine.storage.snapshots(name)?.into_iter().map(entry).collect() })
}
