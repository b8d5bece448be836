//! `cloudbox push` and `pull`: a file into a container, and out of it.
//!
//! The host's root works in a directory tree that a guest may change meanwhile: every path is walked by
//! [`GuestRoot`], and behind the walk only names in an open directory are used. What is there already is replaced by a
//! rename, never written to.

use super::bus::Context;
use super::failure::{Failure, OK, REFUSED};
use super::interrupt;
use super::request;
use super::text::Terminal;
use super::view::View;
use crate::error::{errno_text, os_text, quoted, Error, Result};
use crate::model::idrange::SIZE;
use crate::model::name::Name;
use crate::steps::filesystem::Space;
use crate::steps::guest_root::{is_kernels, GuestRoot};
use crate::steps::layout::Layout;
use crate::steps::lxc::exec::root_of;
use crate::steps::lxc::{Lxc, Runtime};
use crate::steps::storage::{self, PrivateRoot};
use clap::Args;
use nix::errno::Errno;
use nix::fcntl::{openat, renameat, AtFlags, OFlag};
use nix::sys::stat::{fstatat, FileStat, Mode, SFlag};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{fchown, unlinkat, Gid, Uid, UnlinkatFlags};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Bytes copied at once.
const CHUNK: usize = 64 << 10;
/// Of a file's mode, what is copied: no copy of a file acts with the rights of its owner.
const MODE: u32 = 0o777;

#[derive(Args)]
pub struct Push {
    file: PathBuf,
    #[arg(value_name = "NAME:PATH", value_parser = Place::parse)]
    place: Place,
}

#[derive(Args)]
pub struct Pull {
    #[arg(value_name = "NAME:PATH", value_parser = Place::parse)]
    place: Place,
    file: PathBuf,
}

impl Push {
    pub fn run(self, context: &mut Context) -> std::result::Result<u8, Failure> {
        let from = self.file.as_path();
        let (mut source, mode) = open_source(from)?;
        let guest = Guest::open(context, &self.place.name)?;
        let own_name = from.file_name().filter(|_| !is_standard(from));
        let target = guest.target(&self.place.path, own_name).map_err(Failure::refused)?;
        target.fill(&mut source, u64::MAX, mode).map_err(Failure::refused)?;
        Ok(OK)
    }
}

impl Pull {
    pub fn run(self, context: &mut Context) -> std::result::Result<u8, Failure> {
        let Place { name, path } = self.place;
        // Before the container is mounted: there may be other mounts where it is.
        let target = match is_standard(&self.file) {
            true => None,
            false => Some(host_target(&self.file, path.file_name()).map_err(Failure::refused)?),
        };
        let guest = Guest::open(context, &name)?;
        let (mut source, meta) =
            guest.root.open_file(&path).map_err(|e| Failure::refused(guest.unreadable(&path, &e)))?;
        let size = meta.len();
        let copied = match target {
            // A guest's file does not command the terminal of whoever looks at it.
            None if io::stdout().is_terminal() => {
                copy(&mut source, &mut Terminal(io::stdout()), size, "standard output")
            }
            None => copy(&mut source, &mut io::stdout(), size, "standard output"),
            Some(target) => target
                .check_room(size)
                .and_then(|()| target.fill(&mut source, size, meta.permissions().mode())),
        };
        copied.map(|()| OK).map_err(Failure::refused)
    }
}

/// The daemon's directories, as far as they are needed here: those on the disk.
pub fn layout(lxcpath: &str) -> Layout {
    let storage = Path::new(lxcpath).parent().map(Path::to_path_buf).unwrap_or_default();
    Layout { run: storage.join("run"), storage }
}

/// `-`: standard input or output.
fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn error(message: String) -> Error {
    Error::new(crate::error::Code::Failed, message)
}

/// A container and a path in it.
#[derive(Clone)]
struct Place {
    name: Name,
    path: PathBuf,
}

impl Place {
    /// Reads `NAME:PATH`.
    fn parse(text: &str) -> std::result::Result<Place, String> {
        let parts = text.split_once(':').filter(|(_, path)| path.starts_with('/'));
        let Some((name, path)) = parts else {
            return Err("is no place in a container; write NAME:/PATH, such as web:/etc/motd".into());
        };
        let name =
            Name::new(name).map_err(|e| format!("is no place in a container: {}", e.into_message()))?;
        Ok(Place { name, path: PathBuf::from(path) })
    }
}

/// What is pushed, with its mode. `-` is standard input.
fn open_source(from: &Path) -> std::result::Result<(File, u32), Failure> {
    if is_standard(from) {
        let input = nix::unistd::dup(io::stdin())
            .map_err(|e| Failure::usage(format_args!("cannot read: {}", errno_text(e))))?;
        return Ok((File::from(input), 0o644));
    }
    let wrong = |why: String| {
        Failure::usage(format_args!("{} cannot be pushed: {why}", quoted(&from.to_string_lossy())))
    };
    // What is no file is not opened: a pipe would wait.
    let meta = std::fs::metadata(from).map_err(|e| wrong(e.to_string()))?;
    if !meta.is_file() {
        return Err(wrong("it is no regular file; for a directory: tar, and `cloudbox exec`".into()));
    }
    let file = File::open(from).map_err(|e| wrong(e.to_string()))?;
    Ok((file, meta.permissions().mode()))
}

/// A container's root, of one that runs or of one that does not.
struct Guest {
    name: Name,
    // Closed before what it is mounted by.
    root: GuestRoot,
    /// The host's id of its root.
    owner: u32,
    _mounts: Option<PrivateRoot>,
}

impl Guest {
    fn open(context: &mut Context, name: &Name) -> std::result::Result<Guest, Failure> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::new(
                REFUSED,
                format_args!("only root may reach into a container; try as root"),
            ));
        }
        let request = request::container_info(name.as_str())?;
        let layout = layout(&View::new(&context.call(&request)?).raw("lxcpath"));
        let dir = layout.container(name);
        let record = storage::read_record(&dir).map_err(Failure::refused)?;
        let owner = record.ids.base;
        let running = Lxc::new(layout.clone()).and_then(|lxc| lxc.find(name)).map_err(Failure::refused)?;
        if let Some(running) = running {
            let root = root_of(&running).map_err(Failure::refused)?;
            return Ok(Guest { name: name.clone(), root, owner, _mounts: None });
        }
        // Claimed first and asked then: a start that is told of later finds it claimed.
        let claim = storage::claim(&dir).map_err(Failure::refused)?;
        let state = View::new(&context.call(&request)?).text("state");
        if !["stopped", "failed", "orphan"].contains(&state.as_str()) {
            return Err(Failure::new(
                REFUSED,
                format_args!("{name} is {state}; try again when that has ended"),
            ));
        }
        let mounts = PrivateRoot::mount(&layout, &record, claim).map_err(Failure::refused)?;
        let root = GuestRoot::open(&mounts.root(), owner).map_err(Failure::refused)?;
        Ok(Guest { name: name.clone(), root, owner, _mounts: Some(mounts) })
    }

    fn shown(&self, path: &Path) -> String {
        format!("{}:{}", self.name, path.display())
    }

    fn unreadable(&self, path: &Path, e: &io::Error) -> Error {
        let path = self.shown(path);
        error(match e.kind() {
            ErrorKind::InvalidInput => format!("{path} is no regular file; `cloudbox exec` may help"),
            _ => format!("cannot read {path}: {}", os_text(e)),
        })
    }

    /// Where a file pushed to `path` goes: into it, when it is a directory.
    fn target(&self, path: &Path, own_name: Option<&OsStr>) -> Result<Target> {
        let into = self.root.open_dir(path).ok().map(|dir| (dir, own_name));
        let opened = match into {
            Some((dir, name)) => Ok((dir, name)),
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Err(Errno::ENOENT.into()),
            None => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                self.root.open_dir(parent).map(|dir| (dir, path.file_name()))
            }
        };
        let (dir, name) = opened.map_err(|e| {
            let remedy = match e.kind() {
                ErrorKind::NotFound => "; make its directory first: `cloudbox exec NAME -- mkdir -p PATH`",
                _ => "",
            };
            error(format!("cannot write {}: {}{remedy}", self.shown(path), os_text(&e)))
        })?;
        let dir = File::from(dir);
        if is_kernels(&dir).unwrap_or(true) {
            return Err(error(format!(
                "{} belongs to the kernel; nothing is pushed there",
                self.shown(path)
            )));
        }
        Target::new(dir.into(), name, self.shown(path), Some(self.owner))
    }
}

/// Where a file pulled to `path` goes.
fn host_target(path: &Path, own_name: Option<&OsStr>) -> Result<Target> {
    let (dir, name) = if path.is_dir() {
        (path, own_name)
    } else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")), path.file_name())
    };
    let opened = File::open(dir).map_err(|e| Error::io("cannot open", dir, e))?;
    Target::new(opened.into(), name, path.display().to_string(), None)
}

/// A name in an open directory.
struct Target {
    dir: OwnedFd,
    name: CString,
    /// For messages.
    shown: String,
    /// The ids of what is made there begin here; None: they are ours.
    ids: Option<u32>,
}

impl Target {
    fn new(dir: OwnedFd, name: Option<&OsStr>, shown: String, ids: Option<u32>) -> Result<Target> {
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
    fn check_room(&self, size: u64) -> Result<()> {
        let free = fstatvfs(&self.dir).map_or(u64::MAX, |stat| Space::new(&stat).free);
        if size > free {
            return Err(error(format!("{} has room for {free} bytes, not for {size}", self.shown)));
        }
        Ok(())
    }

    /// Fills it with `limit` bytes of `source` at most: whole or not at all.
    fn fill(&self, source: &mut dyn Read, limit: u64, mode: u32) -> Result<()> {
        let hidden = CString::new(format!(".cloudbox-{}", std::process::id()));
        let hidden = hidden.map_err(|e| Error::io("cannot write", Path::new(&self.shown), e))?;
        let remove = |dir: &OwnedFd, hidden: &CStr| {
            let _ = unlinkat(dir.as_fd(), hidden, UnlinkatFlags::NoRemoveDir);
        };
        // A leftover of an earlier process of our number.
        remove(&self.dir, &hidden);
        let (dir, name) = (self.dir.try_clone(), hidden.clone());
        interrupt::before_end(Box::new(move || {
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

fn copy(source: &mut dyn Read, target: &mut dyn Write, limit: u64, shown: &str) -> Result<()> {
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
