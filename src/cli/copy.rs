//! `cloudbox push` and `pull`: a file into a container, and out of it.
//!
//! The host's root works in a directory tree that a guest may change meanwhile: every path is walked by
//! [`GuestRoot`], and behind the walk [`Target`] uses only names in an open directory.

use super::bus::Context;
use super::failure::{Failure, OK};
use super::interrupt;
use super::request;
use super::text::Terminal;
use super::view::View;
use crate::error::{errno_text, os_text, quoted, Code, Error};
use crate::model::name::Name;
use crate::steps::guest_root::{is_kernels, GuestRoot};
use crate::steps::layout::Layout;
use crate::steps::lxc::exec::root_of;
use crate::steps::lxc::{Lxc, Runtime};
use crate::steps::replace::{copy, Target};
use crate::steps::storage::{self, PrivateRoot};
use clap::Args;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
    pub fn run(self, context: &mut Context) -> Result<u8, Failure> {
        let from = self.file.as_path();
        let (mut source, mode) = open_source(from)?;
        let guest = Guest::open(context, &self.place.name)?;
        let own_name = from.file_name().filter(|_| !is_standard(from));
        let target = guest.target(&self.place.path, own_name)?;
        target.fill(&mut source, u64::MAX, mode, interrupt::before_end)?;
        Ok(OK)
    }
}

impl Pull {
    pub fn run(self, context: &mut Context) -> Result<u8, Failure> {
        let Place { name, path } = self.place;
        // Before the container is mounted: there may be other mounts where it is.
        let target = match is_standard(&self.file) {
            true => None,
            false => Some(host_target(&self.file, path.file_name())?),
        };
        let guest = Guest::open(context, &name)?;
        let (mut source, meta) = guest.root.open_file(&path).map_err(|e| guest.unreadable(&path, &e))?;
        let size = meta.len();
        match target {
            // A guest's file does not command the terminal of whoever looks at it.
            None if io::stdout().is_terminal() => {
                copy(&mut source, &mut Terminal(io::stdout()), size, "standard output")?;
            }
            None => copy(&mut source, &mut io::stdout(), size, "standard output")?,
            Some(target) => {
                target.check_room(size)?;
                target.fill(&mut source, size, meta.permissions().mode(), interrupt::before_end)?;
            }
        }
        Ok(OK)
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
    Error::new(Code::Failed, message)
}

/// A container and a path in it.
#[derive(Clone)]
struct Place {
    name: Name,
    path: PathBuf,
}

impl Place {
    /// Reads `NAME:PATH`.
    fn parse(text: &str) -> Result<Place, String> {
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
fn open_source(from: &Path) -> Result<(File, u32), Failure> {
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
    fn open(context: &mut Context, name: &Name) -> Result<Guest, Failure> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::refusal("only root may reach into a container; try as root"));
        }
        let request = request::container_info(name.as_str())?;
        let layout = layout(&View::new(&context.call(&request)?).raw("lxcpath"));
        let dir = layout.container(name);
        let record = storage::read_record(&dir)?;
        let owner = record.ids.base;
        let running = Lxc::new(layout.clone()).and_then(|lxc| lxc.find(name))?;
        if let Some(running) = running {
            let root = root_of(&running)?;
            return Ok(Guest { name: name.clone(), root, owner, _mounts: None });
        }
        // Claimed first and asked then: a start that is told of later finds it claimed.
        let claim = storage::claim(&dir)?;
        let state = View::new(&context.call(&request)?).text("state");
        if !["stopped", "failed", "orphan"].contains(&state.as_str()) {
            let why = format!("{name} is {state}; try again when that has ended");
            return Err(Failure::refusal(why));
        }
        let mounts = PrivateRoot::mount(&layout, &record, claim)?;
        let root = GuestRoot::open(&mounts.root(), owner)?;
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
    fn target(&self, path: &Path, own_name: Option<&OsStr>) -> Result<Target, Error> {
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
fn host_target(path: &Path, own_name: Option<&OsStr>) -> Result<Target, Error> {
    let (dir, name) = if path.is_dir() {
        (path, own_name)
    } else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")), path.file_name())
    };
    let opened = File::open(dir).map_err(|e| Error::io("cannot open", dir, e))?;
    Target::new(opened.into(), name, path.display().to_string(), None)
}
