//! Walks over trees of files that guests have made.
//!
//! A guest makes any tree: deeper than a path can be long, than a stack has room, than there are descriptors. It may move
//! directories while they are walked. So nothing here calls itself, [`OPEN_MAX`] directories are open at most, and only
//! single names in open directories are used: never through a link, never onto another mount. The way up to a directory
//! that is not open any more is `..`, and it counts only if it leads to the device and inode that the walk came down from.

use super::filesystem::open_regular;
use crate::error::{Code, Error, Result};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{openat2, renameat, OFlag, OpenHow, ResolveFlag};
use nix::unistd::{lseek, unlinkat, UnlinkatFlags, Whence};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories that a walk has open at a time.
pub const OPEN_MAX: usize = 16;
/// Directories in one another that a walk goes down. Each takes 16 bytes of memory: 4 MiB for all.
pub const DEPTH_MAX: usize = 1 << 18;
/// Bytes of names, one in another, that are remembered; what is deeper down has no path.
pub const PATH_MAX: usize = 64 << 10;
/// Bytes of a directory's entries that are read at once.
const BUFFER: usize = 4096;
/// Bytes of a path that a message shows.
const SHOWN_MAX: usize = 1024;
/// How often a directory is read again that is filled while it is emptied.
const PASSES: u32 = 256;

/// `name` in the open directory `dir`, whatever that is called now, for calls that take a path. It is short at any depth.
pub fn at(dir: &File, name: &[u8]) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(OsStr::from_bytes(name))
}

/// Opens the directory `name` of the open directory `dir`, which is on the same mount and no link.
///
/// # Errors
/// EXDEV where something is mounted, ENOTDIR, others of openat2(2).
pub fn open_dir(dir: &File, name: &CStr) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let opened = openat2(dir, name, OpenHow::new().flags(flags).resolve(resolve));
    // A link, whatever it leads to, is no directory.
    opened.map(File::from).map_err(|e| if e == Errno::ELOOP { Errno::ENOTDIR } else { e })
}

/// What a directory's entries are read with.
#[derive(Default)]
struct Entries {
    buffer: Vec<u8>,
    at: usize,
    /// Where the directory goes on behind the last entry that was taken.
    after: i64,
}

impl Entries {
    /// The next name but `.` and `..`, and its type as far as the file system tells it (`DT_DIR` and the like).
    fn next(&mut self, dir: &File) -> io::Result<Option<(CString, u8)>> {
        loop {
            if self.at >= self.buffer.len() {
                self.buffer.resize(BUFFER, 0);
                let got = sys::read_entries(dir.as_fd(), &mut self.buffer)?;
                self.buffer.truncate(got);
                self.at = 0;
                if got == 0 {
                    return Ok(None);
                }
            }
            // struct linux_dirent64: inode, where the next one is, its length, its type, the name and a NUL.
            let rest = &self.buffer[self.at..];
            let (Some(after), Some(length)) = (rest.get(8..16), rest.get(16..18)) else {
                return Err(Errno::EIO.into());
            };
            let (after, length) =
                (after.try_into().map(i64::from_ne_bytes), length.try_into().map(u16::from_ne_bytes));
            let (Ok(after), Ok(length)) = (after, length) else { return Err(Errno::EIO.into()) };
            let entry = rest.get(18..usize::from(length)).ok_or(Errno::EIO)?;
            let (kind, name) = entry.split_first().ok_or(Errno::EIO)?;
            let name = CStr::from_bytes_until_nul(name).map_err(|_| Errno::EIO)?.to_owned();
            self.at += usize::from(length);
            self.after = after;
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                return Ok(Some((name, *kind)));
            }
        }
    }

    /// Begins again at the first entry.
    fn rewind(&mut self, dir: &File) -> io::Result<()> {
        *self = Entries::default();
        lseek(dir, 0, Whence::SeekSet)?;
        Ok(())
    }
}

/// A directory of a [`Descent`] that is open.
struct Open {
    level: usize,
    dir: File,
    entries: Entries,
}

/// Where a walk stands: a directory, and the way down to it.
pub struct Descent {
    device: u64,
    /// Of each directory on the way, the first one being the root: its inode, and where its entries go on.
    levels: Vec<(u64, i64)>,
    /// Those that are open: the root always, and the last ones.
    open: Vec<Open>,
}

impl Descent {
    /// Stands in the directory `root`.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn new(root: File) -> io::Result<Descent> {
        let meta = root.metadata()?;
        let open = vec![Open { level: 0, dir: root, entries: Entries::default() }];
        Ok(Descent { device: meta.dev(), levels: vec![(meta.ino(), 0)], open })
    }

    /// The directory it stands in.
    pub fn dir(&self) -> &File {
        // The root is never closed.
        &self.open[self.open.len() - 1].dir
    }

    /// Directories that the one it stands in is in.
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Goes down into the directory `name`.
    ///
    /// # Errors
    /// EXDEV where something is mounted, ENOTDIR, EOVERFLOW behind [`DEPTH_MAX`] of them, others of openat2(2).
    pub fn enter(&mut self, name: &CStr) -> io::Result<Metadata> {
        if self.levels.len() > DEPTH_MAX {
            return Err(Errno::EOVERFLOW.into());
        }
        let dir = open_dir(self.dir(), name)?;
        let meta = dir.metadata()?;
        if meta.dev() != self.device {
            return Err(Errno::EXDEV.into());
        }
        if let Some(last) = self.open.last() {
            self.levels[last.level].1 = last.entries.after;
        }
        self.open.push(Open { level: self.levels.len(), dir, entries: Entries::default() });
        self.levels.push((meta.ino(), 0));
        if self.open.len() > OPEN_MAX {
            self.open.remove(1);
        }
        Ok(meta)
    }

    /// Goes up to the directory it came from; false at the root.
    ///
    /// # Errors
    /// ESTALE when `..` is another directory now. It then stands in the nearest one on its way that is open.
    pub fn leave(&mut self) -> io::Result<bool> {
        if self.depth() == 0 {
            return Ok(false);
        }
        self.levels.pop();
        let Some(left) = self.open.pop() else { return Ok(false) };
        if self.open.last().is_some_and(|open| open.level == self.depth()) {
            return Ok(true);
        }
        let level = self.depth();
        match self.reopen(&left.dir, level) {
            Ok(open) => self.open.push(open),
            Err(e) => {
                self.levels.truncate(self.open.last().map_or(0, |open| open.level) + 1);
                return Err(e);
            }
        }
        Ok(true)
    }

    fn reopen(&self, child: &File, level: usize) -> io::Result<Open> {
        let (inode, after) = self.levels[level];
        let dir = open_dir(child, c"..").map_err(|_| Errno::ESTALE)?;
        let meta = dir.metadata()?;
        if (meta.dev(), meta.ino()) != (self.device, inode) {
            return Err(Errno::ESTALE.into());
        }
        lseek(&dir, after as _, Whence::SeekSet)?;
        Ok(Open { level, dir, entries: Entries { after, ..Entries::default() } })
    }

    /// The next entry of the directory it stands in.
    fn next(&mut self) -> io::Result<Option<(CString, u8)>> {
        let Some(last) = self.open.last_mut() else { return Ok(None) };
        last.entries.next(&last.dir)
    }
}

/// The names on the way down, as far as [`PATH_MAX`] bytes.
#[derive(Default)]
pub struct Trail {
    path: Vec<u8>,
    /// Names that came behind that.
    beyond: usize,
}

impl Trail {
    /// Goes down into `name`.
    pub fn push(&mut self, name: &[u8]) {
        if self.beyond > 0 || self.path.len() + 1 + name.len() > PATH_MAX {
            self.beyond += 1;
            return;
        }
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    /// Goes up again.
    pub fn pop(&mut self) {
        match self.beyond.checked_sub(1) {
            Some(beyond) => self.beyond = beyond,
            None => self.path.truncate(self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
        }
    }

    /// The path, if all of it was remembered.
    pub fn path(&self) -> Option<&[u8]> {
        (self.beyond == 0).then_some(&self.path[..])
    }

    /// It below `root`, for a message: its beginning, if it is long.
    fn below(&self, root: &Path) -> PathBuf {
        if self.path.is_empty() && self.beyond == 0 {
            return root.to_path_buf();
        }
        let shown = &self.path[..self.path.len().min(SHOWN_MAX)];
        let path = root.join(OsStr::from_bytes(shown));
        if shown.len() == self.path.len() && self.beyond == 0 {
            return path;
        }
        path.join("…")
    }
}

/// What a walk has come to.
pub enum What {
    /// A directory, before what is in it.
    Directory(Metadata),
    /// Anything else.
    File(Metadata),
    /// A directory that something is mounted at. The walk does not go there.
    Mount,
    /// The end of a directory, behind what is in it.
    End,
}

/// What a walk has come to, and where.
pub struct Seen<'a> {
    /// What it is.
    pub what: What,
    /// The directory itself, open; for what is none, the one it is in.
    dir: &'a File,
    /// Its name in the directory it is in; nothing for the root.
    pub name: &'a CStr,
    root: &'a Path,
    trail: &'a Trail,
}

impl Seen<'_> {
    /// It as the calls take it that want a path.
    pub fn at(&self) -> PathBuf {
        match self.what {
            What::Directory(_) | What::End => at(self.dir, b"."),
            What::File(_) | What::Mount => at(self.dir, self.name.to_bytes()),
        }
    }

    /// Opens it for reading, if it is a regular file, and the one that was seen.
    ///
    /// # Errors
    /// ESTALE when it is another one now, those of open(2).
    pub fn open(&self) -> io::Result<File> {
        let file = open_regular(&self.at())?;
        match &self.what {
            What::File(seen) if seen.ino() == file.metadata()?.ino() => Ok(file),
            _ => Err(Errno::ESTALE.into()),
        }
    }

    /// Its path below the root, if that has no more than [`PATH_MAX`] bytes.
    pub fn path(&self) -> Option<&[u8]> {
        self.trail.path()
    }

    /// Its path for a message.
    pub fn shown(&self) -> PathBuf {
        self.trail.below(self.root)
    }
}

/// What becomes of a walk when directories that it came down through were moved meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It fails.
    Fails,
    /// It goes on without what is left of them.
    Skipped,
}

/// Calls `visit` with all there is below the directory `root`, itself first. What vanishes meanwhile is left out.
///
/// # Errors
/// Those of `visit`; what cannot be read; [`Code::Busy`] when directories are moved; [`Code::NotSupported`] behind
/// [`DEPTH_MAX`] directories in one another.
pub fn walk(root: &Path, moved: Moved, visit: &mut dyn FnMut(&Seen<'_>) -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Error::io("cannot read", root, e);
    let opened = File::open(root).map_err(failed)?;
    let meta = opened.metadata().map_err(failed)?;
    if !meta.is_dir() {
        return Err(failed(Errno::ENOTDIR.into()));
    }
    let mut descent = Descent::new(opened).map_err(failed)?;
    let mut trail = Trail::default();
    visit(&Seen { what: What::Directory(meta), dir: descent.dir(), name: c"", root, trail: &trail })?;
    loop {
        let failed = |trail: &Trail, e: io::Error| failed_at(root, trail, e);
        let Some((name, _)) = descent.next().map_err(|e| failed(&trail, e))? else {
            visit(&Seen { what: What::End, dir: descent.dir(), name: c"", root, trail: &trail })?;
            let depth = descent.depth();
            match descent.leave() {
                Ok(true) => trail.pop(),
                Ok(false) => return Ok(()),
                Err(_) if moved == Moved::Skipped => {
                    (descent.depth()..depth).for_each(|_| trail.pop());
                }
                Err(e) => return Err(failed(&trail, e)),
            }
            continue;
        };
        trail.push(name.to_bytes());
        let what = match look(&mut descent, &name) {
            Ok(Some(what)) => what,
            Ok(None) => {
                trail.pop();
                continue;
            }
            Err(e) => return Err(failed(&trail, e)),
        };
        let entered = matches!(what, What::Directory(_));
        visit(&Seen { what, dir: descent.dir(), name: &name, root, trail: &trail })?;
        if !entered {
            trail.pop();
        }
    }
}

/// What `name` is, in the directory that `descent` stands in; a directory is entered. None: it is not there any more.
fn look(descent: &mut Descent, name: &CStr) -> io::Result<Option<What>> {
    // Whoever puts something else there each time it is looked at shall not be waited for.
    for _ in 0..PASSES {
        let meta = match fs::symlink_metadata(at(descent.dir(), name.to_bytes())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            meta => meta?,
        };
        if !meta.is_dir() {
            return Ok(Some(What::File(meta)));
        }
        match descent.enter(name) {
            Ok(meta) => return Ok(Some(What::Directory(meta))),
            Err(e) => match e.raw_os_error() {
                Some(libc::EXDEV) => return Ok(Some(What::Mount)),
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                _ => return Err(e),
            },
        }
    }
    Ok(None)
}

fn failed_at(root: &Path, trail: &Trail, e: io::Error) -> Error {
    let path = trail.below(root);
    match e.raw_os_error() {
        Some(libc::ESTALE) => Error::new(
            Code::Busy,
            format_args!("the directories below {} are moved about meanwhile; try again", root.display()),
        ),
        Some(libc::EOVERFLOW) => Error::new(
            Code::NotSupported,
            format_args!("{}: more than {DEPTH_MAX} directories are in one another", path.display()),
        ),
        _ => Error::io("cannot read", &path, e),
    }
}

/// That something is mounted where a walk that must have all would have to go.
pub fn mounted(path: &Path) -> Error {
    Error::new(Code::Busy, format_args!("something is mounted at {}; unmount it first", path.display()))
}

/// Removes `path` with all below it, whatever a guest has made there; a link is removed itself. None is fine.
///
/// It needs no way up: directories that are [`OPEN_MAX`] deep are moved to the top, and emptied from there. If it is
/// broken off, the next one goes on.
///
/// # Errors
/// What cannot be removed; [`Code::Busy`] where something is mounted.
pub fn remove(path: &Path) -> Result<()> {
    let failed = |e: io::Error| Error::io("cannot remove", path, e);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(Errno::EINVAL.into()));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = match File::open(parent) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        parent => parent.map_err(failed)?,
    };
    let name = CString::new(name.as_bytes()).map_err(|e| failed(e.into()))?;
    let mut removal = Removal { parent, open: Vec::new(), moved: 0 };
    removal.run(name).map_err(|e| {
        let at = removal.path(path);
        match e.raw_os_error() {
            Some(libc::EXDEV | libc::EBUSY) => mounted(&at),
            _ => Error::io("cannot remove", &at, e),
        }
    })
}

/// A directory that is being emptied.
struct Doomed {
    dir: File,
    /// Its name in the one before it.
    name: CString,
    entries: Entries,
    /// Whether something of it was removed since it was read from the beginning.
    progress: bool,
    passes: u32,
}

impl Doomed {
    fn new(dir: File, name: CString) -> Doomed {
        Doomed { dir, name, entries: Entries::default(), progress: false, passes: 0 }
    }
}

struct Removal {
    /// The directory that the tree's root is in.
    parent: File,
    /// The tree's root, and directories in one another below it.
    open: Vec<Doomed>,
    /// How many directories were moved to the top.
    moved: u64,
}

impl Removal {
    fn run(&mut self, name: CString) -> io::Result<()> {
        match open_dir(&self.parent, &name) {
            Ok(dir) => self.open.push(Doomed::new(dir, name)),
            Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTDIR) => return Ok(unlinkat(&self.parent, &*name, UnlinkatFlags::NoRemoveDir)?),
            Err(e) => return Err(e.into()),
        }
        while let Some(doomed) = self.open.last_mut() {
            match doomed.entries.next(&doomed.dir)? {
                Some((name, kind)) => self.entry(name, kind)?,
                None => self.end()?,
            }
        }
        Ok(())
    }

    /// Removes an entry of the last directory, or makes it the last one.
    fn entry(&mut self, name: CString, kind: u8) -> io::Result<()> {
        let full = self.open.len() >= OPEN_MAX;
        let Some(doomed) = self.open.last_mut() else { return Ok(()) };
        if kind != libc::DT_DIR {
            match unlinkat(&doomed.dir, &*name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) => {}
                Ok(()) | Err(Errno::ENOENT) => {
                    doomed.progress = true;
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
        match open_dir(&doomed.dir, &name) {
            Ok(_) if full => self.move_to_top(&name),
            Ok(dir) => {
                self.open.push(Doomed::new(dir, name));
                Ok(())
            }
            // It has moved, or something else is there: the next pass sees it.
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                doomed.progress = true;
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Moves `name` of the last directory into the root, under a name that none has there.
    fn move_to_top(&mut self, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let new = CString::new(format!(".moved-{}", self.moved))?;
            let [top, .., doomed] = &mut self.open[..] else { return Err(Errno::EINVAL.into()) };
            match renameat(&doomed.dir, name, &top.dir, &*new) {
                Ok(()) | Err(Errno::ENOENT) => {
                    doomed.progress = true;
                    // The root has more to be emptied of, and that is no harm.
                    (top.progress, top.passes) = (true, 0);
                    return Ok(());
                }
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Removes the last directory, which was read to its end.
    fn end(&mut self) -> io::Result<()> {
        let Some(mut doomed) = self.open.pop() else { return Ok(()) };
        let parent = self.open.last().map_or(&self.parent, |before| &before.dir);
        match unlinkat(parent, &*doomed.name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {
                if let Some(before) = self.open.last_mut() {
                    before.progress = true;
                }
                Ok(())
            }
            // What was removed may have hidden other entries, or somebody fills it.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if doomed.progress && doomed.passes < PASSES => {
                doomed.entries.rewind(&doomed.dir)?;
                doomed.progress = false;
                doomed.passes += 1;
                self.open.push(doomed);
                Ok(())
            }
            Err(e) => {
                self.open.push(doomed);
                Err(e.into())
            }
        }
    }

    /// Where it is, for a message.
    fn path(&self, root: &Path) -> PathBuf {
        let mut path = root.to_path_buf();
        path.extend(self.open.iter().skip(1).map(|doomed| OsStr::from_bytes(doomed.name.to_bytes())));
        path
    }
}

#[cfg(test)]
mod tests;
