//! A container's files, for a program beside the daemon: those of one that runs, or of one that does not.

use super::guest_root::{is_kernels, GuestRoot};
use super::layout::Layout;
use super::lxc::exec::root_of;
use super::lxc::{Lxc, Runtime};
use super::replace::Target;
use super::storage::{self, PrivateRoot};
use crate::error::{os_text, Code, Error, Result};
use crate::model::name::Name;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::Path;

/// A container whose files can be reached.
pub struct GuestFiles {
    name: Name,
    // Closed before what it is mounted by.
    root: GuestRoot,
    /// The host's id of its root.
    owner: u32,
    _mounts: Option<PrivateRoot>,
}

impl GuestFiles {
    /// Opens the root of container `name`. Of one that does not run it is mounted for this thread alone; `is_at_rest` is
    /// asked when the container is claimed: a start that is told of later finds it so.
    ///
    /// # Errors
    /// Its record cannot be read, its root not be opened or mounted, somebody else has claimed it; what `is_at_rest` says.
    pub fn open<E: From<Error>>(
        layout: &Layout,
        name: &Name,
        is_at_rest: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<GuestFiles, E> {
        let dir = layout.container(name);
        let record = storage::read_record(&dir)?;
        let (name, owner) = (name.clone(), record.ids.base);
        let running = Lxc::new(layout.clone()).and_then(|lxc| lxc.find(&name))?;
        if let Some(running) = running {
            return Ok(GuestFiles { name, root: root_of(&running)?, owner, _mounts: None });
        }
        let claim = storage::claim(&dir)?;
        is_at_rest()?;
        let mounts = PrivateRoot::mount(layout, &record, claim)?;
        let root = GuestRoot::open(&mounts.root(), owner)?;
        Ok(GuestFiles { name, root, owner, _mounts: Some(mounts) })
    }

    fn shown(&self, path: &Path) -> String {
        format!("{}:{}", self.name, path.display())
    }

    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    /// There is none, or it is no regular one, or one of the kernel's.
    pub fn open_file(&self, path: &Path) -> Result<(File, Metadata)> {
        self.root.open_file(path).map_err(|e| {
            let path = self.shown(path);
            failed(match e.kind() {
                ErrorKind::InvalidInput => format!("{path} is no regular file; `cloudbox exec` may help"),
                _ => format!("cannot read {path}: {}", os_text(&e)),
            })
        })
    }

    /// Where a file for `path` goes: into it under `own_name`, when it is a directory.
    ///
    /// # Errors
    /// Its directory is not there, or is the kernel's; as [`Target::new`].
    pub fn target(&self, path: &Path, own_name: Option<&OsStr>) -> Result<Target> {
        let into = self.root.open_dir(path).ok().map(|dir| (dir, own_name));
        let opened = match into {
            Some((dir, name)) => Ok((dir, name)),
            None if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Err(Errno::ENOENT.into()),
            None => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                self.root.open_dir(parent).map(|dir| (dir, path.file_name()))
            }
        };
        let shown = self.shown(path);
        let (dir, name) = opened.map_err(|e| {
            let remedy = match e.kind() {
                ErrorKind::NotFound => "; make its directory first: `cloudbox exec NAME -- mkdir -p PATH`",
                _ => "",
            };
            failed(format!("cannot write {shown}: {}{remedy}", os_text(&e)))
        })?;
        let dir = File::from(dir);
        if is_kernels(&dir).unwrap_or(true) {
            return Err(failed(format!("{shown} belongs to the kernel; nothing is pushed there")));
        }
        Target::new(dir.into(), name, shown, Some(self.owner))
    }
}

fn failed(message: String) -> Error {
    Error::new(Code::Failed, message)
}
