//! The guest's root: an overlay of the container's own layer over an idmapped view of the image.
//!
//! The daemon mounts it on the host. LXC's own `overlay:` mounts inside the user namespace, where removing a directory
//! of the image gives EIO.

use super::super::filesystem;
use super::super::layout::ContainerDir;
use super::{disk, make_dir, Record};
use crate::error::{Code, Error, Result};
use crate::model::idrange::{self, IdRange};
use crate::model::size::Bytes;
use crate::sys;
use log::{error, warn};
use nix::errno::Errno;
use nix::fcntl::FlockArg;
use nix::mount::{MntFlags, MsFlags};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kernel may detach a loop device a moment after its last user has closed it.
const DETACH_TIME: Duration = Duration::from_secs(2);
/// A disk that is to grow waits longer: while containers start, each has all mounts for a moment.
const ALONE_TIME: Duration = Duration::from_secs(10);
/// Between two tries to lock its file.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Makes the upper and work directories inside a layer, owned by the guest's root.
pub fn make_layer(dir: &ContainerDir, ids: IdRange) -> Result<()> {
    make_dir(&dir.upper(), 0o755)?;
    make_dir(&dir.work(), 0o700)?;
    chown(dir.upper(), Some(ids.base), Some(ids.base)).map_err(|e| Error::io("cannot chown", &dir.upper(), e))
}

/// Mounts the layer (with a quota), the idmapped image for a moment, and the overlay.
pub fn mount_root(dir: &ContainerDir, lower: &Path, image: &Path, record: &Record) -> Result<()> {
    if let Some(size) = record.spec.disk {
        mount_disk(dir, size)?;
        make_layer(dir, record.ids)?;
    }
    mount_image(image, lower, record.ids)?;
    let mounted = mount_overlay(dir, lower);
    // The overlay holds the image by itself from now on.
    let unmounted = unmount(lower);
    let _ = fs::remove_dir(lower);
    mounted.and(unmounted)
}

/// Takes down whatever of it is mounted.
pub fn unmount_root(dir: &ContainerDir, lower: &Path) -> Result<()> {
    unmount(lower)?;
    let _ = fs::remove_dir(lower);
    unmount(&dir.rootfs())?;
    unmount(&dir.layer())
}

/// Mounts the sparse file with the layer's file system, grown to `size` if it is smaller.
fn mount_disk(dir: &ContainerDir, size: Bytes) -> Result<()> {
    let path = dir.disk();
    let file = disk::open(&path)?;
    let small = disk::stretch(&file, &path, size)?;
    attach_disk(&file, &path, &dir.layer(), MsFlags::empty())?;
    if !small || disk::grow_mounted(dir, size)? {
        return Ok(());
    }
    let device = filesystem::loop_device(&dir.layer());
    unmount(&dir.layer())?;
    // The device keeps this opening; only another one tells whether the device is gone.
    drop(file);
    let file = disk::open(&path)?;
    if !device.is_some_and(|device| is_kept(&device)) && is_alone(&file, &path)? {
        disk::grow_unmounted(&path)?;
    } else {
        warn!("{} grows at the next start: another mount namespace still has it mounted", path.display());
    }
    attach_disk(&file, &path, &dir.layer(), MsFlags::empty())
}

/// The sparse file `disk` of a layer that is not mounted, with a file system that nobody writes to until it is closed.
/// Another mount namespace may have it mounted for a moment longer than we: what is written last comes to the file when
/// that lets go of it.
///
/// # Errors
/// [`Code::Busy`] when it does not.
pub fn at_rest(disk: &Path) -> Result<File> {
    let file = disk::open(disk)?;
    if is_alone(&file, disk)? {
        return Ok(file);
    }
    Err(Error::new(
        Code::Busy,
        format_args!(
            "another mount namespace still has {} mounted; try again, or end the process that keeps it (`lsns -t mnt`)",
            disk.display()
        ),
    ))
}

/// Whether a process with a mount namespace of its own has the loop device mounted, which is not just starting a
/// container: it may have it for ever, and nobody waits for that.
fn is_kept(device: &str) -> bool {
    let Ok(own) = fs::read_link("/proc/self/ns/mnt") else { return false };
    let mut seen = vec![own];
    for pid in filesystem::entries(Path::new("/proc")).unwrap_or_default() {
        let process = Path::new("/proc").join(&pid);
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else { continue };
        let starts =
            fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "lxc-start");
        if starts || seen.contains(&namespace) {
            continue;
        }
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        let source = format!("/dev/{device}");
        if mounts.lines().any(|line| line.split(' ').any(|word| word == source)) {
            return true;
        }
        seen.push(namespace);
    }
    false
}

/// Waits until no loop device has the file `disk`, open as `file`, and locks it. False: one still has it.
fn is_alone(file: &File, disk: &Path) -> Result<bool> {
    let deadline = Instant::now() + ALONE_TIME;
    while !lock(file, disk)? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}

/// Locks the file `disk`, open as `file`. False: a loop device has it.
fn lock(file: &File, disk: &Path) -> Result<bool> {
    // nix's `Flock` gives the lock back when it is dropped. This one is to stay with the loop device, which keeps the file
    // open beyond that.
    #[allow(deprecated)]
    match nix::fcntl::flock(file.as_raw_fd(), FlockArg::LockExclusiveNonblock) {
        Ok(()) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(e) => Err(Error::io("cannot lock", disk, e)),
    }
}

/// Mounts the sparse file `disk` of a layer that is not in use, for a look at it or to fill it.
pub fn mount_apart(disk: &Path, at: &Path, more: MsFlags) -> Result<()> {
    attach_disk(&disk::open(disk)?, disk, at, more)
}

/// Mounts the sparse file `disk`, which is open as `file`.
fn attach_disk(file: &File, disk: &Path, at: &Path, more: MsFlags) -> Result<()> {
    let (device, node) = device_of(file, disk)?;
    // noinit_itable: the file reads as zeros already; writing them would fill the sparse file in the background.
    // discard: what the guest deletes is freed on the host.
    let options = "noinit_itable,discard";
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV;
    filesystem::mount(&node, at, "ext4", flags, options).map_err(|e| failed("mount", disk, e))?;
    drop(device);
    if more.is_empty() {
        return Ok(());
    }
    // Of the mount and not of the file system, which a container that is starting may have mounted for a moment with
    // all others: the kernel mounts none that is writable there only for reading here, nor the other way.
    let flags = flags | more | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    filesystem::mount(Path::new(""), at, "", flags, "").map_err(|e| {
        let _ = unmount(at);
        failed("mount", disk, e)
    })
}

/// The one loop device of the sparse file `disk`: mounted by two, an ext4 is lost. The file is locked for as long as a
/// device has it, since the lock belongs to the opening that the device keeps. A device outlives the unmount where some
/// other process has a mount namespace of its own that still has the mount: then that device is the one.
fn device_of(file: &File, disk: &Path) -> Result<(OwnedFd, PathBuf)> {
    let deadline = Instant::now() + DETACH_TIME;
    while !lock(file, disk)? {
        if let Some(device) = present_device(disk) {
            return Ok(device);
        }
        if Instant::now() > deadline {
            return Err(Error::new(
                Code::Busy,
                format_args!("somebody else has {} locked; try again when that has ended", disk.display()),
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let attached = sys::loop_attach(file.as_fd(), false);
    attached.map_err(|e| Error::io("cannot attach a loop device to", disk, e))
}

/// The loop device that has the file `disk`, held open.
fn present_device(disk: &Path) -> Option<(OwnedFd, PathBuf)> {
    let disk = filesystem::real_path(disk).ok()?;
    for name in filesystem::entries(Path::new("/sys/block")).ok()? {
        let backing = format!("/sys/block/{name}/loop/backing_file");
        let is_it = || fs::read_to_string(&backing).is_ok_and(|file| Path::new(file.trim_end()) == disk);
        if is_it() {
            let node = Path::new("/dev").join(name);
            let device = File::options().read(true).write(true).open(&node).ok()?;
            // Open, it cannot be given another file any more.
            return is_it().then(|| (device.into(), node));
        }
    }
    None
}

/// A directory tree of another container's, seen with the ids it has inside. Dropped, it is closed.
#[derive(Debug)]
pub struct Shifted {
    path: PathBuf,
    mounted: bool,
}

impl Shifted {
    /// The tree at `path` as it is.
    pub fn plain(path: &Path) -> Shifted {
        Shifted { path: path.to_path_buf(), mounted: false }
    }

    /// The tree at `source` at `target`, where `base` and what is behind it are 0 and what is behind that.
    ///
    /// # Errors
    /// The kernel refuses the mount.
    pub fn mount(source: &Path, target: &Path, base: u32) -> Result<Shifted> {
        if base == 0 {
            return Ok(Shifted::plain(source));
        }
        make_dir(target, 0o700)?;
        mount_shifted(source, target, base, 0)?;
        Ok(Shifted { path: target.to_path_buf(), mounted: true })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        if self.mounted {
            if let Err(error) = unmount(&self.path) {
                error!("{error}");
            }
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Mounts the image with the container's id map.
fn mount_image(image: &Path, lower: &Path, ids: IdRange) -> Result<()> {
    mount_shifted(image, lower, 0, ids.base)
}

/// Mounts the tree at `source` at `target`, its ids from `inside` on as those from `outside` on.
fn mount_shifted(source: &Path, target: &Path, inside: u32, outside: u32) -> Result<()> {
    let no_userns = |e| Error::io("cannot make a user namespace for", target, e);
    let holder = sys::UsernsHolder::start().map_err(no_userns)?;
    let map = format!("{inside} {outside} {}\n", idrange::SIZE);
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.pid()), &map).map_err(no_userns)?;
    }
    let userns = File::open(format!("/proc/{}/ns/user", holder.pid())).map_err(no_userns)?;
    sys::mount_idmapped(source, target, userns.as_fd()).map_err(|e| {
        let unable = e.raw_os_error() == Some(libc::EINVAL);
        let mut error = Error::io("cannot mount with shifted ids", source, e);
        if unable {
            error.code = Code::NotSupported;
            error.message.push_str(
                "; this kernel has no idmapped mounts for its file system: use a newer one, OpenWrt 24.10 has it",
            );
        }
        error
    })
}

pub fn mount_overlay(dir: &ContainerDir, lower: &Path) -> Result<()> {
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        dir.upper().display(),
        dir.work().display()
    );
    let rootfs = dir.rootfs();
    filesystem::mount(Path::new("overlay"), &rootfs, "overlay", MsFlags::MS_NODEV, &options).map_err(|e| {
        let mut error = failed("mount the overlay at", &rootfs, e);
        if e == Errno::ENODEV {
            error.code = Code::NotSupported;
            error
                .message
                .push_str("; the kernel has no overlayfs: load its module, or use a kernel that has it, as OpenWrt's own do");
        }
        error
    })
}

/// Unmounts `path`, lazily when somebody still looks at it; not mounted, or not there, is fine.
pub fn unmount(path: &Path) -> Result<()> {
    match filesystem::unmount(path, MntFlags::empty()) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(Errno::EBUSY) => {
            filesystem::unmount(path, MntFlags::MNT_DETACH).map_err(|e| failed("unmount", path, e))
        }
        Err(e) => Err(failed("unmount", path, e)),
    }
}

fn failed(what: &str, path: &Path, errno: Errno) -> Error {
    Error::io(&format!("cannot {what}"), path, errno)
}
