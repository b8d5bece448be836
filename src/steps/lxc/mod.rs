//! LXC: its configuration, its tools, the processes and cgroups of its containers.

pub mod apparmor;
pub mod cgroup;
mod config;
pub mod exec;
pub mod first_boot;
mod foreign;
mod group_tree;
pub mod library;
mod notices;
mod runtime;
pub mod seccomp;
pub mod system_conf;
pub mod terminals;

pub use config::render;
pub use exec::{Exec, Output};
pub use foreign::Foreign;
pub use notices::Notice;
pub use runtime::Lxc;

use super::ctx::Ctx;
use super::storage::{Record, Shifted};
use crate::error::Result;
use crate::model::image::Init;
use crate::model::name::Name;
use cgroup::{Limits, Usage};
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// A running container.
#[derive(Debug)]
pub struct Running {
    /// The host's pid of its init.
    pub init: i32,
    /// Readable when its init has ended.
    pub pidfd: OwnedFd,
    /// The pid of LXC's monitor; None when it was killed and only the container's processes are left.
    pub monitor: Option<i32>,
}

/// How a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopHow {
    /// Its init is asked to halt; if it has not within this time, it is killed.
    Ask(Duration),
    /// It is killed.
    Kill,
}

/// How an ended container's monitor went on.
#[derive(Debug)]
pub enum AfterEnd {
    /// Nothing of it runs any more.
    Stopped,
    /// The guest rebooted.
    Rebooted(Running),
    /// The guest reboots again and again.
    Reboots,
}

/// Starts, finds and stops containers.
pub trait Runtime: Send + Sync {
    /// Starts the container, whose root is mounted, and returns when its init runs.
    ///
    /// # Errors
    /// [`crate::error::Code::Running`] when processes of an earlier run still live, or LXC's own reason.
    fn start(&self, ctx: &Ctx, record: &Record, gateway: Option<Ipv4Addr>) -> Result<Running>;

    /// The container, if it runs.
    ///
    /// # Errors
    /// When its init vanishes again and again while it is looked at.
    fn find(&self, name: &Name) -> Result<Option<Running>>;

    /// The container, if it runs, for a daemon that has just started: waits for a start that an earlier daemon left at
    /// work, and clears what a dead run left.
    ///
    /// # Errors
    /// As [`Runtime::find`].
    fn recover(&self, name: &Name) -> Result<Option<Running>> {
        self.find(name)
    }

    /// Stops the container and returns when nothing of it runs and its cgroups are gone. Not running is fine; a frozen
    /// one is thawed. True: it had to be killed.
    ///
    /// # Errors
    /// [`crate::error::Code::Timeout`] when it cannot even be killed, [`crate::error::Code::Cancelled`].
    fn stop(&self, ctx: &Ctx, name: &Name, init: Init, how: StopHow) -> Result<bool>;

    /// Waits until LXC has cleaned up after a container whose init ended by itself.
    ///
    /// # Errors
    /// [`crate::error::Code::Timeout`] when its monitor neither ends nor starts it again.
    fn after_end(&self, ctx: &Ctx, name: &Name) -> Result<AfterEnd>;

    /// Freezes all of the container's processes and returns when none of them moves any more. False: somebody else has
    /// frozen it before.
    ///
    /// # Errors
    /// [`crate::error::Code::NotSupported`] without a freezer, [`crate::error::Code::Timeout`] when a process hangs in
    /// the kernel, [`crate::error::Code::Cancelled`]; it is thawed then.
    fn freeze(&self, ctx: &Ctx, name: &Name) -> Result<bool>;

    /// Lets them go on. One that is not frozen, or does not run, is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn thaw(&self, name: &Name) -> Result<()>;

    /// Whether the container is frozen.
    fn is_frozen(&self, name: &Name) -> bool;

    /// Readable when [`Runtime::notices`] has something to tell.
    fn notices_fd(&self) -> Option<BorrowedFd<'_>>;

    /// What happened to containers since the last call.
    fn notices(&self) -> Vec<(Name, Notice)>;

    /// The wait status of the container's init that ended last, where LXC told it. It is told once.
    fn exit_status(&self, name: &Name) -> Option<i32>;

    /// Runs a command inside the container. At the end of its time its whole process group is killed.
    ///
    /// # Errors
    /// [`crate::error::Code::Timeout`], or why it cannot be run: no such program, user or directory in there.
    fn exec(&self, ctx: &Ctx, name: &Name, exec: &Exec) -> Result<Output>;

    /// Runs the container's first-boot script to its end, and returns its exit code. Run already, it is left alone.
    ///
    /// # Errors
    /// [`crate::error::Code::NotRunning`] and whatever else keeps it from being begun: it is run another time then;
    /// [`crate::error::Code::Timeout`].
    fn first_boot(&self, ctx: &Ctx, name: &Name) -> Result<i32>;

    /// The containers that other tools made below `lxcpath`.
    fn foreign(&self, lxcpath: &Path) -> Vec<Foreign>;

    /// The root directory of one of them, which must not run.
    ///
    /// # Errors
    /// [`crate::error::Code::Running`]; [`crate::error::Code::NotSupported`] when it is no plain directory.
    fn open_foreign(&self, ctx: &Ctx, foreign: &Foreign) -> Result<Shifted>;

    /// Removes what is common to all containers. Call it when none runs and none is being started.
    fn tidy(&self);

    /// What the container uses, read from the kernel.
    fn usage(&self, name: &Name) -> Usage;

    /// The most memory it has used in this run.
    fn memory_peak(&self, name: &Name) -> Option<u64>;

    /// Sets the limits of the running container to those of its record.
    ///
    /// # Errors
    /// [`crate::error::Code::InUse`] when it holds more memory than it shall have. Some limits may have been set then.
    fn set_limits(&self, record: &Record) -> Result<()>;

    /// The memory it uses that the kernel cannot just drop.
    fn memory_held(&self, name: &Name) -> Option<u64>;

    /// The limits in force, read from the kernel.
    fn limits(&self, name: &Name) -> Limits;
}
