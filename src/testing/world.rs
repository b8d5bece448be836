//! What there is of containers, as plain sets.

use crate::model::name::Name;
use crate::model::secrets::Secrets;
use crate::model::size::Bytes;
use crate::steps::storage::{GuestNetwork, Manifest, Record, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A container's directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Its record; None while it is being built.
    pub record: Option<Record>,
    /// It has a file for its quota.
    pub disk: bool,
    /// What was written into the guest.
    pub guest: Option<GuestNetwork>,
    /// What it was given to keep.
    pub secrets: Secrets,
    /// What its layer holds.
    pub layer: u32,
}

/// Everything there is of containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// `/etc/config/cloudbox`.
    pub config: String,
    /// `/etc/config/cloudbox-host`.
    pub host_config: String,
    /// avahi-daemon does not run.
    pub avahi_stopped: bool,
    /// Names of hosts and of services that somebody else on the network has.
    pub taken: Vec<String>,
    /// The network says nothing of what is announced.
    pub unheard: bool,
    /// Containers being built.
    pub unborn: BTreeMap<Name, Files>,
    /// Containers under their own names.
    pub alive: BTreeMap<Name, Files>,
    /// Containers to be erased.
    pub dead: BTreeMap<Name, Files>,
    /// Mounted roots: the kind of directory, and the container.
    pub roots: BTreeSet<(&'static str, Name)>,
    /// Mounted images.
    pub images: BTreeSet<String>,
    /// The limits of running containers: memory, processors, processes.
    pub limits: BTreeMap<Name, (u64, u32, u32)>,
    /// Running containers with the pids of their init.
    pub processes: BTreeMap<Name, i32>,
    /// Frozen containers.
    pub frozen: BTreeSet<Name>,
    /// Disks cannot grow while they are mounted.
    pub old_kernel: bool,
    /// Disks that are smaller than asked for.
    pub small_disks: BTreeMap<Name, Bytes>,
    /// Disks with errors.
    pub failed_disks: BTreeSet<Name>,
    /// Containers noted as held, and whether they are frozen for that.
    pub held: BTreeMap<Name, bool>,
    /// Layers at rest.
    pub resting: BTreeSet<Name>,
    /// Snapshots with what their layers hold: of which container, and called what.
    pub snapshots: BTreeMap<(Name, Name), (Snapshot, u32)>,
    /// Snapshots being copied.
    pub unborn_snapshots: BTreeMap<(Name, Name), u32>,
    /// Snapshots to be erased.
    pub dead_snapshots: BTreeSet<(Name, Name)>,
    /// Archives, with what their layers hold.
    pub archives: BTreeMap<PathBuf, (Manifest, u32)>,
    /// Containers of which an archive is being written.
    pub exports: BTreeSet<Name>,
    /// Layers beside those of containers.
    pub beside: BTreeMap<Name, u32>,
    /// Directories with damaged records.
    pub damaged: BTreeSet<Name>,
}

// The kinds of directories a container's files are in.
pub(super) const UNBORN: &str = "unborn";
pub(super) const ALIVE: &str = "alive";
pub(super) const DEAD: &str = "dead";

/// The limits of `record`, as [`World::limits`] has them.
pub(super) fn limits_of(record: &Record) -> (u64, u32, u32) {
    (record.spec.memory.get(), record.spec.cpus.milli(), record.spec.pids)
}
