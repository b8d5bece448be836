//! `cloudbox push` and `pull`: a file into a container, and out of it.
//!
//! The host's root works in a directory tree that a guest may change meanwhile: every path is walked with the guest's
//! root as root, and behind the walk [`Target`] uses only names in an open directory.

use super::bus::Context;
use super::failure::{Failure, OK};
use super::interrupt;
use super::request::container_info;
use super::text::Terminal;
use super::view::View;
use crate::error::{errno_text, quoted, Error};
use crate::model::name::Name;
use crate::steps::guest_files::GuestFiles;
use crate::steps::layout::Layout;
use crate::steps::replace::{copy, Target};
use clap::Args;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal};
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
        let guest = files_of(context, &self.place.name)?;
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
        let guest = files_of(context, &name)?;
        let (mut source, meta) = guest.open_file(&path)?;
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

/// `-`: standard input or output.
fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
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

/// The files of container `name`.
fn files_of(context: &mut Context, name: &Name) -> Result<GuestFiles, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::refusal("only root may reach into a container; try as root"));
    }
    let request = container_info(name.as_str())?;
    let layout = Layout::around(&View::new(&context.call(&request)?).raw("lxcpath"));
    GuestFiles::open(&layout, name, || match &*View::new(&context.call(&request)?).text("state") {
        "stopped" | "failed" | "orphan" => Ok(()),
        state => Err(Failure::refusal(format!("{name} is {state}; try again when that has ended"))),
    })
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
