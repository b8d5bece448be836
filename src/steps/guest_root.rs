//! A guest's root directory, as the host works in it.
//!
//! The guest's own files are not to be trusted: every path is walked with the guest's root as root, so that no link
//! leads the host's root to a file of the host, and what is found is looked at before it is opened, so that no pipe
//! makes it wait and no file of a kernel's file system is read with its rights.

use super::filesystem::{entries, open_in_root, read_up_to};
use crate::error::{Code, Error, Result};
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{mkdirat, Mode};
use nix::unistd::{fchown, fchownat, symlinkat, unlinkat, Gid, Uid, UnlinkatFlags};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// statfs(2)'s f_type of proc, sysfs, cgroup and cgroup2: to whoever reads or writes there the kernel grants what it
/// grants to the host's root.
const KERNELS: [u32; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];

/// How long a program of a guest's is given to let go of a file on which it has a lease, as file servers have them, and
/// how often it is looked.
const LEASE_WAIT: Duration = Duration::from_secs(1);
const LEASE_LOOK: Duration = Duration::from_millis(10);

/// A guest's root directory.
pub struct GuestRoot {
    path: PathBuf,
    dir: OwnedFd,
    owner: u32,
    /// Files written and not yet on disk: flushed one behind the other, all but the first find their names there
    /// already.
    unsynced: RefCell<Vec<File>>,
}

impl GuestRoot {
    /// The root mounted at `path`, or `/proc/PID/root`; the guest's own root is the host's user `owner`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, owner: u32) -> Result<GuestRoot> {
        let dir = File::open(path).map_err(|e| Error::io("cannot open", path, e))?;
        Ok(GuestRoot { path: path.to_path_buf(), dir: dir.into(), owner, unsynced: RefCell::default() })
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// A directory on the way, or the file itself, cannot be opened or written.
    pub fn sync(&self) -> Result<()> {
        let unsynced = self.unsynced.take();
        let synced = unsynced.iter().try_for_each(File::sync_all);
        synced.map_err(|e| Error::io("cannot flush what was written below", &self.path, e))
    }

    /// Whether there is a directory `dir`.
    pub fn has(&self, dir: &str) -> bool {
        self.open_dir(Path::new(dir)).is_ok()
    }

    /// What is at `path`, unopened: its metadata can be read, and [`reopen`] opens it.
    ///
    /// # Errors
    /// As open(2).
    pub fn find(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let found = File::from(open_in_root(self.dir.as_fd(), relative(path), OFlag::O_PATH)?);
        let meta = found.metadata()?;
        Ok((found, meta))
    }

    /// Opens the file at `path` for reading: a regular one, and none of the kernel's.
    ///
    /// # Errors
    /// As open(2); what is no file one can copy is `InvalidInput`.
    pub fn open_file(&self, path: &Path) -> io::Result<(File, Metadata)> {
        let (found, meta) = self.find(path)?;
        if !meta.is_file() || is_kernels(&found)? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((reopen(&found)?, meta))
    }

    /// The content of the file at `path`, as far as `max` bytes.
    ///
    /// # Errors
    /// As [`GuestRoot::open_file`].
    pub fn read(&self, path: &str, max: u64) -> io::Result<Vec<u8>> {
        let (file, _) = self.open_file(Path::new(path))?;
        read_up_to(&file, max)
    }

    /// Opens directory `dir`.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_dir(&self, dir: &Path) -> io::Result<OwnedFd> {
        open_in_root(self.dir.as_fd(), relative(dir), OFlag::O_DIRECTORY | OFlag::O_RDONLY)
    }

    /// The names in directory `dir`; none when there is no such directory.
    pub fn entries(&self, dir: &str) -> Vec<String> {
        let opened = self.open_dir(Path::new(dir)).ok();
        let path = opened.as_ref().map(|dir| format!("/proc/self/fd/{}", dir.as_raw_fd()));
        path.and_then(|path| entries(Path::new(&path)).ok()).unwrap_or_default()
    }

    /// Opens directory `dir`, making what is missing of it.
    fn reach_dir(&self, dir: &Path, mode: u32) -> io::Result<OwnedFd> {
        match self.open_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let parent = self.reach_dir(dir.parent().unwrap_or(Path::new("")), 0o755)?;
        mkdirat(parent.as_fd(), name_of(dir)?, Mode::from_bits_truncate(mode))?;
        let made = self.open_dir(dir)?;
        self.own(&made, mode)?;
        Ok(made)
    }

    /// Makes directory `dir`, with what is missing above it; one that is there is fine.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn make_dir(&self, dir: &str, mode: u32) -> Result<()> {
        self.reach_dir(Path::new(dir), mode).map(drop).map_err(|e| self.failed(dir, e))
    }

    /// The same of one that the guest's root alone reads, also where the image has it otherwise.
    ///
    /// # Errors
    /// As mkdir(2); [`Code::NotSupported`] where a link of the image's leads elsewhere: others go by the path.
    pub fn make_private_dir(&self, dir: &str) -> Result<()> {
        let place = |of: BorrowedFd<'_>| std::fs::read_link(format!("/proc/self/fd/{}", of.as_raw_fd()));
        let make = || -> io::Result<bool> {
            let made = self.reach_dir(Path::new(dir), 0o700)?;
            if place(made.as_fd())? != place(self.dir.as_fd())?.join(dir) {
                return Ok(false);
            }
            self.own(&made, 0o700).map(|()| true)
        };
        match make() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let why =
                    format!("/{dir} of the image is a link, or below one; use an image in which it is none");
                Err(Error::new(Code::NotSupported, why))
            }
            Err(e) => Err(self.failed(dir, e)),
        }
    }

    /// Removes a file; none is fine.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> io::Result<()> {
            let path = Path::new(path);
            let dir = self.open_dir(path.parent().unwrap_or(Path::new("")))?;
            Ok(unlinkat(dir.as_fd(), name_of(path)?, UnlinkatFlags::NoRemoveDir)?)
        };
        match remove() {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed(path, e)),
            _ => Ok(()),
        }
    }

    /// Puts a new file in place of whatever is there, which may be a link.
    ///
    /// # Errors
    /// As open(2) and write(2).
    pub fn put(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        self.put_bytes(path, mode, content.as_bytes())
    }

    /// The same with what may be no text.
    ///
    /// # Errors
    /// As [`GuestRoot::put`].
    pub fn put_bytes(&self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.replace(path, &|dir, name| {
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(0o600))?;
            let mut file = File::from(file);
            file.write_all(content)?;
            self.own(&file, mode)?;
            self.unsynced.borrow_mut().push(file);
            Ok(())
        })
    }

    /// The same with what `format_args!` makes.
    ///
    /// # Errors
    /// As [`GuestRoot::put`].
    pub fn put_text(&self, path: &str, mode: u32, text: fmt::Arguments<'_>) -> Result<()> {
        self.put(path, mode, &fmt::format(text))
    }

    /// Puts a symbolic link in place of whatever is there.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        self.replace(path, &|dir, name| {
            symlinkat(target, dir, name)?;
            let (uid, gid) = (Uid::from_raw(self.owner), Gid::from_raw(self.owner));
            Ok(fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
        })
    }

    /// Lets `make` put something at `path`, by its name in its directory, once nothing is there any more.
    fn replace(&self, path: &str, make: &dyn Fn(BorrowedFd<'_>, &OsStr) -> io::Result<()>) -> Result<()> {
        self.remove(path)?;
        let put = || -> io::Result<()> {
            let path = Path::new(path);
            let dir = self.reach_dir(path.parent().unwrap_or(Path::new("")), 0o755)?;
            make(dir.as_fd(), name_of(path)?)
        };
        put().map_err(|e| self.failed(path, e))
    }

    /// Gives a file to the guest's root. Capabilities and modes are set after the owner, which resets them.
    fn own(&self, file: &impl AsFd, mode: u32) -> io::Result<()> {
        fchown(file.as_fd(), Some(Uid::from_raw(self.owner)), Some(Gid::from_raw(self.owner)))?;
        let file = File::from(file.as_fd().try_clone_to_owned()?);
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    fn failed(&self, path: &str, error: io::Error) -> Error {
        Error::io("cannot write", &self.path.join(path), error)
    }
}

/// The last name of `path`.
fn name_of(path: &Path) -> io::Result<&OsStr> {
    Ok(path.file_name().ok_or(io::ErrorKind::NotFound)?)
}

/// openat2(2) knows no empty path.
fn relative(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        return Path::new(".");
    }
    path
}

/// Opens what [`GuestRoot::find`] has found, and nothing else: its name is not looked at again.
///
/// # Errors
/// As open(2); `WouldBlock` when a program of the guest's has a lease on it and does not let go.
fn reopen(found: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let deadline = Instant::now() + LEASE_WAIT;
    loop {
        // Without this open(2) waits for whoever has a lease as long as the kernel does: 45 s, for each file.
        match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(LEASE_LOOK);
            }
            opened => return opened,
        }
    }
}

/// Whether a file is one of the kernel's own.
///
/// # Errors
/// As statfs(2).
pub fn is_kernels(file: &File) -> io::Result<bool> {
    // The type is as wide as the platform's long, and signed on some; the constants fit in 32 bits.
    #[allow(clippy::unnecessary_cast)]
    let kind = nix::sys::statfs::fstatfs(file)?.filesystem_type().0 as u32;
    Ok(KERNELS.contains(&kind))
}
