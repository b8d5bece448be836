//! A stopped container's root, mounted for this process alone: where nobody else sees it, and gone with it.

use super::super::filesystem;
use super::super::image::{Images, Store};
use super::super::layout::{ContainerDir, Layout};
use super::super::wait;
use super::super::walk;
use super::{make_dir, mount, Record};
use crate::error::{Code, Error, Result};
use crate::model::size::Bytes;
use log::error;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;
use nix::sched::{unshare, CloneFlags};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The right to mount a stopped container's layer, or to read it as it is: nobody else has it meanwhile.
pub struct Claim(#[allow(dead_code)] Flock<File>);

/// Claims the container in `dir`.
///
/// # Errors
/// [`Code::Busy`] when somebody else has it.
pub fn claim(dir: &ContainerDir) -> Result<Claim> {
    let file = File::open(dir.path()).map_err(|e| Error::io("cannot open", dir.path(), e))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Claim(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(Error::new(
            Code::Busy,
            format_args!(
                "somebody else works on {}, such as a push or a pull; try again",
                dir.path().display()
            ),
        )),
        Err((_, e)) => Err(Error::io("cannot lock", dir.path(), e)),
    }
}

/// A stopped container's root. Dropped, it is unmounted: what was written is on the disk.
pub struct PrivateRoot {
    dir: ContainerDir,
    lower: PathBuf,
    _claim: Claim,
}

impl PrivateRoot {
    /// Mounts the root of `record`'s container, which the caller has claimed and knows to be stopped, in a mount
    /// namespace of this thread's own.
    ///
    /// # Errors
    /// The kernel refuses a mount.
    pub fn mount(layout: &Layout, record: &Record, claim: Claim) -> Result<PrivateRoot> {
        let own = enter_namespace(layout)?;
        let dir = own.container(&record.name);
        let lower = own.lower(&record.name);
        make_dir(&lower, 0o700)?;
        let image = Store::new(&own.storage, &own.run, Bytes(0)).mount(&record.image_sha256)?;
        // From here on there is something to unmount.
        let root = PrivateRoot { dir, lower, _claim: claim };
        mount::mount_root(&root.dir, &root.lower, &image, record)?;
        Ok(root)
    }

    /// The directory where it is mounted, in this thread's namespace only.
    pub fn root(&self) -> PathBuf {
        self.dir.rootfs()
    }
}

impl Drop for PrivateRoot {
    fn drop(&mut self) {
        if let Err(error) = mount::unmount_root(&self.dir, &self.lower) {
            error!("{error}");
        }
    }
}

/// Tries whether an overlay can have its upper layer in the storage, in a mount namespace of a thread's own.
///
/// # Errors
/// It cannot have it there, or no thread can be had.
pub fn try_overlay(layout: &Layout) -> Result<()> {
    /// Two that try at the same time would be in each other's way.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = ContainerDir(layout.storage.join(".trial"));
    let lower = place.path().join("lower");
    let mut tried = Ok(());
    let try_it = || {
        for dir in [place.upper(), place.work(), place.rootfs(), lower.clone()] {
            make_dir(&dir, 0o700)?;
        }
        leave_namespace().map_err(|e| Error::io("cannot make a mount namespace with", place.path(), e))?;
        mount::mount_overlay(&place, &lower)?;
        mount::unmount(&place.rootfs())
    };
    let begun = wait::in_thread(&mut || tried = try_it());
    let removed = walk::remove(place.path());
    match begun {
        Ok(()) => tried.and(removed),
        Err(e) => Err(Error::io("cannot start a thread to try", place.path(), e)),
    }
}

/// Leaves the box's mount namespace; the layout that comes back has a runtime directory of its own, in memory.
fn enter_namespace(layout: &Layout) -> Result<Layout> {
    // Any directory will do, and this one is not needed here.
    let run = layout.blanks();
    leave_namespace()
        .and_then(|()| filesystem::mount(Path::new("tmpfs"), &run, "tmpfs", MsFlags::empty(), ""))
        .map_err(|e| Error::io("cannot make a mount namespace with", &run, e))?;
    Ok(Layout { storage: layout.storage.clone(), run })
}

/// Gives this thread a mount namespace of its own, out of which no mount leads.
fn leave_namespace() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    filesystem::mount(Path::new(""), Path::new("/"), "", MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")
}
