//! A container's files: built under a hidden name, mounted, renamed into being, renamed away, erased.

mod archive;
mod copies;
mod disk;
mod guest;
mod mount;
mod private_root;
pub mod tree;

#[cfg(test)]
mod tests;

use super::ctx::Ctx;
use super::filesystem::{entries, is_read_only, read_file, read_text};
use super::layout::{ContainerDir, Layout};
use super::walk::remove as remove_tree;
use crate::error::{Code, Error, Result};
use crate::model::idrange::IdRange;
use crate::model::image::Init;
use crate::model::name::Name;
use crate::model::secrets::Secrets;
use crate::model::size::Bytes;
use crate::model::spec::Spec;
use log::warn;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{chown, DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use archive::Manifest;
pub use copies::{Copies, Snapshot, ToArchive, WhileHeld};
pub use disk::is_as_large;
pub use guest::{GuestNetwork, FIRST_BOOT_SCRIPT, SECRETS};
pub use mount::Shifted;
pub use private_root::{claim, try_overlay, PrivateRoot};

/// What is known of a container beside its UCI section: facts, not wishes. Kept in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// Names it had before: its guest may still call itself so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<Name>,
    /// What it was made from, or last started with; stands in when the section is broken.
    pub spec: Spec,
    /// What its section said last, where that differs and no start has applied it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<Spec>>,
    /// The image below its layer.
    pub image_sha256: String,
    /// The image's init system.
    pub init: Init,
    /// The host's user and group ids that are its guest's.
    pub ids: IdRange,
    /// Its hardware address.
    pub mac: String,
    /// The host's end of its veth pair.
    pub veth: String,
    /// When it was made, seconds since 1970.
    pub created: u64,
}

impl Record {
    /// What its guest is called.
    pub fn hostname(&self) -> &str {
        match self.spec.hostname.as_str() {
            "" => self.name.as_str(),
            own => own,
        }
    }

    /// What its section said last, as far as the record knows.
    pub fn said(&self) -> &Spec {
        self.said.as_deref().unwrap_or(&self.spec)
    }

    /// The same record, which knows that the section says `spec`.
    pub fn told(mut self, spec: &Spec) -> Record {
        self.said = Some(spec).filter(|spec| **spec != self.spec).cloned().map(Box::new);
        self
    }

    /// The same container under `name`.
    pub fn called(mut self, name: &Name) -> Record {
        if self.name != *name {
            let before = std::mem::replace(&mut self.name, name.clone());
            self.was.retain(|was| was != name && *was != before);
            self.was.push(before);
        }
        self
    }
}

/// A container's directory as found at the start of the daemon.
#[derive(Debug)]
pub enum Found {
    /// A whole container.
    Container(Box<Record>),
    /// A directory whose record cannot be read; it is left alone.
    Unreadable(Name, Error),
}

impl Found {
    /// Its record, where it can be read.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Found::Container(record) => Some(record),
            Found::Unreadable(..) => None,
        }
    }
}

/// Where a container's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Being built, under the hidden name.
    Unborn,
    /// Under its own name.
    Alive,
}

/// A container's files, from their making to their end.
pub trait Storage: Copies + Send + Sync {
    /// The box's identity: random, made once.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    fn box_id(&self) -> Result<String>;

    /// All containers under their own names.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn scan(&self) -> Result<Vec<Found>>;

    /// Builds the container's directory under its hidden name. What it leaves on failure, [`Storage::discard`] removes.
    ///
    /// # Errors
    /// A directory, the disk's file or the record cannot be made, [`Code::NoSpace`], [`Code::Cancelled`].
    fn build(&self, ctx: &Ctx, record: &Record) -> Result<()>;

    /// Mounts the container's root over `image`, the image's mount point.
    ///
    /// # Errors
    /// The kernel refuses a mount; nothing stays mounted then.
    fn mount(&self, record: &Record, stage: Stage, image: &Path) -> Result<()>;

    /// Takes the mounts down, whatever there is of them.
    ///
    /// # Errors
    /// The first mount that will not go.
    fn unmount(&self, name: &Name) -> Result<()>;

    /// Grows the mounted container's disk to what its record says. False: this kernel does it at the next mount only.
    ///
    /// # Errors
    /// The file or the file system in it cannot be grown.
    fn grow(&self, record: &Record) -> Result<bool>;

    /// Writes host name, machine id, keys, network and secrets into the unborn container's mounted root.
    ///
    /// # Errors
    /// A file of the guest cannot be written.
    fn write_guest_files(&self, record: &Record, network: &GuestNetwork, secrets: &Secrets) -> Result<()>;

    /// Writes a changed network into the root of a container that is mounted under its name.
    ///
    /// # Errors
    /// A file of the guest cannot be written.
    fn write_guest_network(&self, record: &Record, network: &GuestNetwork) -> Result<()>;

    /// Tells the avahi-daemon of a mounted guest, if it has one, to call the guest `label`. Two names for one address
    /// cannot live on one link: the box announces it as `label`, too.
    ///
    /// # Errors
    /// avahi-daemon's file in the guest cannot be written.
    fn write_guest_label(&self, record: &Record, label: &str) -> Result<()>;

    /// Gives the unborn container its name, durably.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    fn give_name(&self, name: &Name) -> Result<()>;

    /// Removes the unborn container, whatever there is of it.
    ///
    /// # Errors
    /// What could not be removed.
    fn discard(&self, name: &Name) -> Result<()>;

    /// Takes the name from a container: from now on it is only something to be erased. No such container is fine.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    fn take_name(&self, name: &Name) -> Result<()>;

    /// Erases what [`Storage::take_name`] put aside.
    ///
    /// # Errors
    /// What could not be removed.
    fn erase(&self, name: &Name) -> Result<()>;

    /// Gives a stopped container another name, durably. One that has it already is fine.
    ///
    /// # Errors
    /// The directory cannot be renamed; the name is taken.
    fn rename(&self, name: &Name, new_name: &Name) -> Result<()>;

    /// Writes the container's record anew.
    ///
    /// # Errors
    /// The record cannot be written.
    fn save_record(&self, record: &Record) -> Result<()>;

    /// The containers that were left half built or half erased, and those that are just being so.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn leftovers(&self) -> Result<Vec<Name>>;

    /// Removes what an earlier daemon left half built or half erased, and says what it was.
    ///
    /// # Errors
    /// What could not be removed.
    fn sweep(&self) -> Result<Vec<String>>;

    /// The size of the file system that is the mounted container's quota, as the kernel has it; None where it cannot be
    /// told, or is not mounted.
    fn disk_size(&self, name: &Name) -> Option<Bytes>;

    /// What is wrong with the mounted file system of the container's quota, and what cures it: it has turned read-only,
    /// or writes to it were lost.
    fn trouble(&self, name: &Name) -> Option<Error>;

    /// Bytes the container occupies on disk: of its sparse file, or of nothing where there is no quota (counting a
    /// tree of files is no matter of milliseconds).
    fn used(&self, name: &Name) -> Option<u64>;
}

/// The longest record: a first-boot script has up to 64 KiB, and JSON may write six bytes for each.
const RECORD_MAX: u64 = 1 << 20;
/// The longest of files that have a line.
const LINE_MAX: u64 = 4096;
/// How a file begins that [`write_durably`] has not given its name yet.
const TEMPORARY: &str = ".tmp-";

/// Containers' files on the box's disk.
pub struct Disk {
    layout: Layout,
}

impl Disk {
    /// Containers below `layout.storage`; makes the directories.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn new(layout: Layout) -> Result<Disk> {
        // Others must pass through to a container's root, and see nothing on the way.
        if layout.storage.exists() {
            // It may be shared with others: its mode is its owner's.
            check_passage(&layout.storage);
        } else {
            make_dir(&layout.storage, 0o711)?;
        }
        for (dir, mode) in
            [(layout.containers(), 0o711), (layout.archives(), 0o700), (layout.blanks(), 0o700)]
        {
            match make_dir(&dir, mode) {
                // What runs is to be stopped all the same, and what is wrong to be told.
                Err(error) if is_read_only(&layout.storage) => warn!("{error}"),
                made => made?,
            }
        }
        for dir in [layout.run.clone(), layout.run.join("lower"), layout.run.join("pid")] {
            make_dir(&dir, 0o700)?;
        }
        Ok(Disk { layout })
    }

    /// Containers below `layout.storage`, for looking only: makes no directories.
    pub fn at(layout: Layout) -> Disk {
        Disk { layout }
    }

    fn dir(&self, name: &Name, stage: Stage) -> ContainerDir {
        match stage {
            Stage::Unborn => self.layout.unborn(name),
            Stage::Alive => self.layout.container(name),
        }
    }
}

/// The record in a container's directory.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn read_record(dir: &ContainerDir) -> Result<Record> {
    let path = dir.record();
    let text = read_file(&path, RECORD_MAX).map_err(|e| Error::io("cannot read", &path, e))?;
    serde_json::from_slice(&text).map_err(|e| {
        Error::new(
            Code::Failed,
            format!(
                "{} is damaged: {e}; the container is left alone: save what you need from {} and remove it",
                path.display(),
                dir.path().display()
            ),
        )
    })
}

impl Storage for Disk {
    fn box_id(&self) -> Result<String> {
        let path = self.layout.box_id();
        match read_text(&path, LINE_MAX) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_string()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("cannot read", &path, e)),
        }
        let random = Path::new("/proc/sys/kernel/random/uuid");
        let id = fs::read_to_string(random).map_err(|e| Error::io("cannot read", random, e))?;
        write_durably(&path, id.as_bytes())?;
        Ok(id.trim().to_string())
    }

    fn scan(&self) -> Result<Vec<Found>> {
        let dir = self.layout.containers();
        let entries = fs::read_dir(&dir).map_err(|e| Error::io("cannot read", &dir, e))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("cannot read", &dir, e))?;
            let Some(name) = entry.file_name().to_str().and_then(|n| Name::new(n).ok()) else { continue };
            found.push(match read_record(&self.layout.container(&name)) {
                Ok(record) => Found::Container(Box::new(record.called(&name))),
                Err(error) => Found::Unreadable(name, error),
            });
        }
        Ok(found)
    }

    fn build(&self, ctx: &Ctx, record: &Record) -> Result<()> {
        let dir = self.layout.unborn(&record.name);
        ctx.step("create.directory")?;
        make_dir(dir.path(), 0o710)?;
        // Only the guest's root, as it is known on the host, may pass.
        chown(dir.path(), Some(0), Some(record.ids.base))
            .map_err(|e| Error::io("cannot chown", dir.path(), e))?;
        make_dir(&dir.layer(), 0o700)?;
        make_dir(&dir.rootfs(), 0o755)?;
        match record.spec.disk {
            Some(size) => {
                ctx.step("create.disk")?;
                disk::make(ctx, &self.layout.blanks(), &dir.disk(), size)?;
            }
            None => mount::make_layer(&dir, record.ids)?,
        }
        ctx.step("create.record")?;
        // Flushed when the container gets its name; until then a torn one is swept with all the rest.
        let path = dir.record();
        let text = encode(&path, record)?;
        fs::write(&path, text).map_err(|e| Error::io("cannot write", &path, e))
    }

    fn mount(&self, record: &Record, stage: Stage, image: &Path) -> Result<()> {
        let dir = self.dir(&record.name, stage);
        let lower = self.layout.lower(&record.name);
        let _claim = claim(&dir)?;
        make_dir(&lower, 0o700)?;
        let mounted = mount::mount_root(&dir, &lower, image, record);
        if let Err(error) = mounted {
            let left: Vec<Error> = mount::unmount_root(&dir, &lower).err().into_iter().collect();
            return Err(error.with_leftovers(&left));
        }
        Ok(())
    }

    fn unmount(&self, name: &Name) -> Result<()> {
        let lower = self.layout.lower(name);
        mount::unmount_root(&self.layout.unborn(name), &lower)?;
        mount::unmount_root(&self.layout.container(name), &lower)
    }

    fn grow(&self, record: &Record) -> Result<bool> {
        let dir = self.layout.container(&record.name);
        record.spec.disk.map_or(Ok(true), |size| disk::grow_mounted(&dir, size))
    }

    fn write_guest_files(&self, record: &Record, network: &GuestNetwork, secrets: &Secrets) -> Result<()> {
        let rootfs = self.layout.unborn(&record.name).rootfs();
        let machine_id = guest::machine_id(&self.box_id()?, record);
        guest::write(&rootfs, record, &machine_id, network, secrets)
    }

    fn write_guest_network(&self, record: &Record, network: &GuestNetwork) -> Result<()> {
        guest::write_network(&self.layout.container(&record.name).rootfs(), record, network)
    }

    fn write_guest_label(&self, record: &Record, label: &str) -> Result<()> {
        guest::write_label(&self.layout.container(&record.name).rootfs(), record, label)
    }

    fn give_name(&self, name: &Name) -> Result<()> {
        let (unborn, alive) = (self.layout.unborn(name), self.layout.container(name));
        let record = unborn.record();
        let flushed = fs::File::open(&record).and_then(|file| file.sync_all());
        flushed.map_err(|e| Error::io("cannot flush", &record, e))?;
        rename(&unborn, &alive)?;
        sync_dir(&self.layout.containers()).inspect_err(|_| {
            // What was not named for good is not named: the caller discards the unborn.
            let _ = rename(&alive, &unborn);
        })
    }

    fn discard(&self, name: &Name) -> Result<()> {
        self.unmount(name)?;
        remove_tree(self.layout.unborn(name).path())
    }

    fn take_name(&self, name: &Name) -> Result<()> {
        // A crashed delete may have left one.
        self.erase(name)?;
        let alive = self.layout.container(name);
        if !alive.path().exists() {
            return Ok(());
        }
        rename(&alive, &self.layout.dead(name))?;
        sync_dir(&self.layout.containers())
    }

    fn erase(&self, name: &Name) -> Result<()> {
        let dead = self.layout.dead(name);
        mount::unmount_root(&dead, &self.layout.lower(name))?;
        remove_tree(dead.path())?;
        let _ = fs::remove_file(self.layout.pid_file(name));
        Ok(())
    }

    fn rename(&self, name: &Name, new_name: &Name) -> Result<()> {
        let (old, new) = (self.layout.container(name), self.layout.container(new_name));
        if !old.path().exists() && new.path().exists() {
            return Ok(());
        }
        self.unmount(name)?;
        // A directory with anything in it is never replaced.
        rename(&old, &new)?;
        let _ = fs::remove_file(self.layout.pid_file(name));
        sync_dir(&self.layout.containers())
    }

    fn save_record(&self, record: &Record) -> Result<()> {
        write_record(&self.layout.container(&record.name), record)
    }

    fn leftovers(&self) -> Result<Vec<Name>> {
        let mut left = Vec::new();
        for hidden in entries(&self.layout.containers())? {
            let rest = hidden.strip_prefix(".new-").or(hidden.strip_prefix(".gone-"));
            left.extend(rest.and_then(|rest| Name::new(rest).ok()));
        }
        left.sort_unstable();
        left.dedup();
        Ok(left)
    }

    fn sweep(&self) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        for name in entries(&self.layout.exports())? {
            if let Ok(name) = Name::new(&name) {
                self.discard_export(&name)?;
            }
        }
        let dir = self.layout.containers();
        for place in [&self.layout.storage, &self.layout.blanks()] {
            sweep_temporary(place, &mut swept)?;
        }
        for name in entries(&dir)? {
            if !name.starts_with('.') {
                Disk::sweep_copies(&dir.join(&name), &mut swept)?;
                sweep_temporary(&dir.join(name), &mut swept)?;
            }
        }
        for name in self.leftovers()? {
            self.discard(&name)?;
            self.erase(&name)?;
            swept.push(name.to_string());
        }
        // What is mounted there is needed for a moment only.
        let lower = self.layout.run.join("lower");
        for name in entries(&lower)? {
            let path = lower.join(name);
            mount::unmount(&path)?;
            let _ = fs::remove_dir(&path);
        }
        Ok(swept)
    }

    fn disk_size(&self, name: &Name) -> Option<Bytes> {
        disk::mounted_size(&self.layout.container(name))
    }

    fn trouble(&self, name: &Name) -> Option<Error> {
        let dir = self.layout.container(name);
        let what = disk::trouble(&dir)?;
        Some(Error::new(
            Code::Failed,
            format_args!(
                "container {name}: {what}; free some space on the storage, then `cloudbox stop {name}`, \
                 `e2fsck -f {}`, `cloudbox start {name}`",
                dir.disk().display()
            ),
        ))
    }

    fn used(&self, name: &Name) -> Option<u64> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(self.layout.container(name).disk()).ok()?;
        Some(meta.blocks() * 512)
    }
}

/// `value` as it is kept in the file `path`.
fn encode(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|e| {
        Error::new(Code::Failed, format_args!("cannot write {}: {e}", path.display())).caused_by(e)
    })
}

fn write_record(dir: &ContainerDir, record: &Record) -> Result<()> {
    let path = dir.record();
    let text = encode(&path, record)?;
    write_durably(&path, &text)
}

/// Complains of a directory that guests cannot pass through. Its mode is its owner's to change.
fn check_passage(dir: &Path) {
    let closed = fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0);
    if closed {
        let dir = dir.display();
        warn!("containers cannot reach what is in {dir}; let others pass through it: `chmod o+x {dir}`");
    }
}

/// Makes `path` and its parents, with `mode` whatever the umask says.
pub fn make_dir(path: &Path, mode: u32) -> Result<()> {
    let fail = |e: io::Error| Error::io("cannot make the directory", path, e);
    // Where nothing can be written, what is there already is good.
    if fs::metadata(path).is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o7777 == mode) {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(fail)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail)
}

/// Writes a file so that after a power cut it is there with the old or with the new content: a temporary file beside
/// it, fsync, rename, fsync of the directory.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |e: io::Error| Error::io("cannot write", path, e);
    let temporary = temporary_name(path);
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(fail(error));
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes files in `dir` that were never given their names, and says which.
fn sweep_temporary(dir: &Path, swept: &mut Vec<String>) -> Result<()> {
    // What lies about beside the containers is none of ours.
    let names = if dir.is_dir() { entries(dir)? } else { Vec::new() };
    for name in names.iter().filter(|name| name.starts_with(TEMPORARY)) {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
            swept.push(path.display().to_string());
        }
    }
    Ok(())
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(TEMPORARY);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Makes the entries of directory `path` durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|d| d.sync_all()).map_err(|e| Error::io("cannot sync", path, e))
}

fn rename(from: &ContainerDir, to: &ContainerDir) -> Result<()> {
    fs::rename(from.path(), to.path()).map_err(|e| Error::io("cannot rename to", to.path(), e))
}
