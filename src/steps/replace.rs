//! A file in the place of another, in a directory that a guest may change meanwhile: behind the walk that found the
//! directory, only names in it are used. What is there already is replaced by a rename, never written to.

use super::filesystem::Space;
use crate::error::{os_text, Code, Error, Result};
use crate::model::idrange::SIZE;
use nix::fcntl::{openat, renameat, AtFlags, OFlag};
use nix::sys::stat::{fstatat, FileStat, Mode, SFlag};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{fchown, unlinkat, Gid, Uid, UnlinkatFlags};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bytes copied at once.
const CHUNK: usize = 64 << 10;
/// Of a file's mode, what is copied: no copy of a file acts with the rights of its owner.
const MODE: u32 = 0o777;

/// A name in an open directory, where a file is to be.
pub struct Target {
    dir: OwnedFd,
    name: CString,
    /// For messages.
    shown: String,
    /// The ids of what is made there begin here; None: they are ours.
    ids: Option<u32>,
}

impl Target {
    /// `name` in `dir`, which messages call `shown`. What is made there belongs to the host's user, or of a guest, whose ids
    /// begin at `ids`, to whom the file belongs that it replaces, or to the guest's root.
    ///
    /// # Errors
    /// There is no name, or something else than a file or a link has it.
    pub fn new(dir: OwnedFd, name: Option<&OsStr>, shown: String, ids: Option<u32>) -> Result<Target> {
        let Some(name) = name.and_then(|name| CString::new(name.as_bytes()).ok()) else {
            return Err(error(format!("{shown} is a directory; write the file's name behind it")));
        };
        let target = Target { dir, name, shown, ids };
        let kind = target.present().map(|present| SFlag::from_bits_truncate(present.st_mode) & SFlag::S_IFMT);
        match kind {
            None | Some(SFlag::S_IFREG | SFlag::S_IFLNK) => Ok(target),
            Some(_) => {
                Err(error(format!("{} is there and is no regular file; it is left alone", target.shown)))
            }
        }
    }

    /// What has the name now.
    fn present(&self) -> Option<FileStat> {
        fstatat(self.dir.as_fd(), &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
    }

    /// A copy whose size the other side tells must not take all there is.
    ///
    /// # Errors
    /// There is no room for `size` bytes.
    pub fn check_room(&self, size: u64) -> Result<()> {
        let free = fstatvfs(&self.dir).map_or(u64::MAX, |stat| Space::new(&stat).free);
        if size > free {
            return Err(error(format!("{} has room for {free} bytes, not for {size}", self.shown)));
        }
        Ok(())
    }

    /// Fills it with `limit` bytes of `source` at most: whole or not at all. `before_end` is told what removes the half of
    /// it, for a program that is interrupted.
    ///
    /// # Errors
    /// `source` cannot be read, or the file not be made.
    pub fn fill(
        &self,
        source: &mut dyn Read,
        limit: u64,
        mode: u32,
        before_end: impl FnOnce(Box<dyn FnOnce() + Send>),
    ) -> Result<()> {
        let hidden = CString::new(format!(".cloudbox-{}", std::process::id()));
        let hidden = hidden.map_err(|e| Error::io("cannot write", Path::new(&self.shown), e))?;
        let remove = |dir: &OwnedFd, hidden: &CStr| {
            let _ = unlinkat(dir.as_fd(), hidden, UnlinkatFlags::NoRemoveDir);
        };
        // A leftover of an earlier process of our number.
        remove(&self.dir, &hidden);
        let (dir, name) = (self.dir.try_clone(), hidden.clone());
        before_end(Box::new(move || {
            if let Ok(dir) = &dir {
                remove(dir, &name);
            }
        }));
        let filled = self.fill_hidden(&hidden, source, limit, mode);
        if filled.is_err() {
            remove(&self.dir, &hidden);
        }
        filled
    }

    fn fill_hidden(&self, hidden: &CStr, source: &mut dyn Read, limit: u64, mode: u32) -> Result<()> {
        let failed = |e: io::Error| Error::io("cannot write", Path::new(&self.shown), e);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.dir.as_fd(), hidden, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let mut file = File::from(file.map_err(|e| failed(e.into()))?);
        copy(source, &mut file, limit, &self.shown)?;
        let finish = || -> io::Result<()> {
            if let Some(base) = self.ids {
                let (uid, gid) = self.owner(base);
                fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            file.set_permissions(Permissions::from_mode(mode & MODE))?;
            file.sync_all()?;
            Ok(renameat(self.dir.as_fd(), hidden, self.dir.as_fd(), &*self.name)?)
        };
        finish().map_err(failed)
    }

    /// Whose the new file is: who has the present one, if that is one of the guest's, else the guest's root.
    fn owner(&self, base: u32) -> (u32, u32) {
        let guests = |id: u32| if id.wrapping_sub(base) < SIZE { id } else { base };
        self.present().map_or((base, base), |present| (guests(present.st_uid), guests(present.st_gid)))
    }
}

fn error(message: String) -> Error {
    Error::new(Code::Failed, message)
}

/// Copies `limit` bytes at most to `target`, which messages call `shown`.
///
/// # Errors
/// One cannot be read, or the other not be written.
pub fn copy(source: &mut dyn Read, target: &mut dyn Write, limit: u64, shown: &str) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut left = limit;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let read =
            source.read(&mut chunk[..most]).map_err(|e| error(format!("cannot read: {}", os_text(&e))))?;
        if read == 0 {
            break;
        }
        target.write_all(&chunk[..read]).map_err(|e| Error::io("cannot write", Path::new(shown), e))?;
        left -= read as u64;
    }
    target.flush().map_err(|e| Error::io("cannot write", Path::new(shown), e))
}
