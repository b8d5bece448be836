//! Copies of a container's layer: snapshots and what is restored from them, clones, archives.
//!
//! With a quota a copy is one of the sparse file, else of the tree of files. It is made under a hidden name, flushed,
//! and named; what a crash leaves is swept.

use super::archive::{self, Manifest, Writer};
use super::tree::{self, Progress, Shift};
use super::{
    claim, encode, guest, make_dir, mount, rename, sync_dir, write_durably, Disk, Record, Storage, LINE_MAX,
};
use crate::error::{Code, Error, Result};
use crate::model::admission;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::{entries, read_file, read_text, Space};
use crate::steps::layout::ContainerDir;
use crate::steps::outside::{remove_hidden, HostFile, NewFile};
use crate::steps::walk::remove as remove_tree;
use crate::sys;
use log::warn;
use nix::mount::MsFlags;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::Path;

/// What is known of a snapshot. Kept in its directory: the numbers and the sha256 in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: Name,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// Bytes of the layer then.
    pub bytes: u64,
    /// The image below the layer: a container keeps its image, so it is that of the container.
    pub image_sha256: String,
}

/// An archive to be written.
#[derive(Debug, Clone, Copy)]
pub struct ToArchive<'a> {
    /// The container, as it is on the disk.
    pub record: &'a Record,
    /// The record that goes into the archive.
    pub told: &'a Record,
    /// A snapshot of it, instead of what there is now.
    pub snapshot: Option<&'a Snapshot>,
    /// The image that comes along: its file, and that file's bytes.
    pub image: Option<(&'a Path, u64)>,
    /// Bytes of its layer.
    pub bytes: u64,
    /// The archive's own file.
    pub file: &'a HostFile,
    /// What may be taken of the storage's disk, in case it is there.
    pub disk: admission::Disk,
    /// What the container was given to keep comes along.
    pub secrets: bool,
}

/// Does some work while a container is held.
pub type WhileHeld<'a> = dyn FnMut(&mut dyn FnMut() -> Result<()>) -> Result<()> + 'a;

/// Copies of containers' layers.
pub trait Copies {
    /// All snapshots of container `name`, the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn snapshots(&self, name: &Name) -> Result<Vec<Snapshot>>;

    /// One of them.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    fn find_snapshot(&self, name: &Name, snapshot: &Name) -> Result<Snapshot> {
        self.snapshots(name)?.into_iter().find(|found| found.name == *snapshot).ok_or_else(|| {
            let why = format!(
                "container {name} has no snapshot {snapshot}; `cloudbox snapshots {name}` shows its own"
            );
            Error::new(Code::NotFound, why)
        })
    }

    /// Bytes that a copy of the container's layer takes.
    ///
    /// # Errors
    /// When it cannot be read, [`Code::Cancelled`].
    fn layer_size(&self, ctx: &Ctx, record: &Record) -> Result<u64>;

    /// Writes to the disk what of a running container's layer is not there yet, so that little is left to be written
    /// when it is held. It must be noted as held already.
    ///
    /// # Errors
    /// The layer cannot be flushed.
    fn flush_layer(&self, record: &Record) -> Result<()>;

    /// Notes that the container is about to be held, so that a daemon that starts after a crash lets it go; `frozen`:
    /// its processes, too.
    ///
    /// # Errors
    /// The note cannot be written.
    fn note_held(&self, name: &Name, frozen: bool) -> Result<()>;

    /// Brings the layer of a running container, whose processes are frozen, to rest.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn hold_layer(&self, record: &Record) -> Result<()>;

    /// Lets the layer go on. One that is not at rest is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn let_layer_go(&self, name: &Name) -> Result<()>;

    /// Forgets that the container was held. One that was not is fine.
    ///
    /// # Errors
    /// When the note cannot be removed.
    fn forget_held(&self, name: &Name) -> Result<()>;

    /// The containers that are noted as held, and whether their processes are frozen for that.
    fn held(&self) -> Vec<(Name, bool)>;

    /// Copies the container's layer, of `bytes`, to an unborn snapshot. What it leaves on failure,
    /// [`Copies::discard_snapshot`] removes.
    ///
    /// # Errors
    /// A file cannot be read or written, [`Code::NoSpace`], [`Code::Cancelled`].
    fn copy_to_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Name, bytes: u64) -> Result<()>;

    /// Makes the unborn snapshot durable and gives it its name: all of that or nothing.
    ///
    /// # Errors
    /// The copy cannot be flushed, or not be renamed.
    fn give_snapshot_name(&self, record: &Record, snapshot: &Snapshot) -> Result<()>;

    /// Removes the unborn snapshot, whatever there is of it.
    ///
    /// # Errors
    /// What could not be removed.
    fn discard_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()>;

    /// Takes the name from a snapshot: from now on it is only something to be erased. None is fine.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    fn take_snapshot_name(&self, name: &Name, snapshot: &Name) -> Result<()>;

    /// Erases what [`Copies::take_snapshot_name`] put aside.
    ///
    /// # Errors
    /// What could not be removed.
    fn erase_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()>;

    /// Copies a snapshot beside the container's layer, durably.
    ///
    /// # Errors
    /// A file cannot be read or written, [`Code::NoSpace`], [`Code::Cancelled`].
    fn copy_from_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Snapshot) -> Result<()>;

    /// Lets that copy and the layer of the container, which is unmounted, change places: durably or not at all.
    ///
    /// # Errors
    /// The layers cannot be renamed.
    fn exchange_layer(&self, record: &Record) -> Result<()>;

    /// Copies the layer of `from`, of `bytes`, or a snapshot of it, into the unborn container `to`, durably.
    ///
    /// # Errors
    /// A file cannot be read or written, [`Code::NoSpace`], [`Code::Cancelled`].
    fn copy_layer(
        &self,
        ctx: &Ctx,
        from: &Record,
        snapshot: Option<&Snapshot>,
        to: &Record,
        bytes: u64,
    ) -> Result<()>;

    /// Writes an archive, durably, under a hidden name beside its own, and gives it that. The layer is read inside
    /// `around`. What it leaves on failure, [`Copies::discard_export`] removes.
    ///
    /// # Errors
    /// [`Code::Exists`], [`Code::NoSpace`], [`Code::Cancelled`], a file cannot be read or written.
    fn export(&self, ctx: &Ctx, what: &ToArchive<'_>, around: &mut WhileHeld<'_>) -> Result<()>;

    /// Removes what an export of container `name` left. Nothing is fine.
    ///
    /// # Errors
    /// What could not be removed.
    fn discard_export(&self, name: &Name) -> Result<()>;

    /// What the archive `file` says of itself.
    ///
    /// # Errors
    /// [`Code::BadImage`], [`Code::NotSupported`] when a newer cloudbox has written it, [`Code::NotFound`].
    fn look_at_archive(&self, ctx: &Ctx, file: &HostFile) -> Result<Manifest>;

    /// Unpacks the layer in the archive `file` into the unborn container `to`, durably. It may take `left` bytes.
    ///
    /// # Errors
    /// [`Code::BadImage`], [`Code::Checksum`], [`Code::NoSpace`], [`Code::Cancelled`], a file cannot be read or written.
    fn unpack(&self, ctx: &Ctx, file: &HostFile, manifest: &Manifest, to: &Record, left: u64) -> Result<()>;

    /// Writes who it is into the mounted root of an unborn container that was `was` before.
    ///
    /// # Errors
    /// A file of the guest cannot be written.
    fn write_identity(&self, record: &Record, was: &Record) -> Result<()>;

    /// Removes what stands beside the container's layer. Nothing is fine.
    ///
    /// # Errors
    /// What could not be removed.
    fn discard_layer(&self, name: &Name) -> Result<()>;
}

impl Copies for Disk {
    fn snapshots(&self, name: &Name) -> Result<Vec<Snapshot>> {
        let dir = self.layout.container(name);
        let mut found: Vec<Snapshot> = Vec::new();
        for entry in entries(&dir.snapshots())? {
            let Ok(name) = Name::of_snapshot(&entry) else { continue };
            let path = dir.snapshot(&name).snapshot_record();
            match read_text(&path, LINE_MAX).ok().and_then(|line| decode(name, &line)) {
                Some(snapshot) => {
                    let at = found
                        .partition_point(|of| (of.created, &of.name) < (snapshot.created, &snapshot.name));
                    found.insert(at, snapshot);
                }
                None => warn!("{} is damaged", path.display()),
            }
        }
        Ok(found)
    }

    fn layer_size(&self, ctx: &Ctx, record: &Record) -> Result<u64> {
        match self.used(&record.name) {
            Some(bytes) => Ok(bytes),
            None => tree::size(ctx, &self.layout.container(&record.name).upper()),
        }
    }

    fn flush_layer(&self, record: &Record) -> Result<()> {
        sync_filesystem(&self.layout.container(&record.name).layer())?;
        // The journal is emptied by coming to rest: most of it now, so that it takes a moment only when it is held.
        self.hold_layer(record)?;
        self.let_layer_go(&record.name)
    }

    fn note_held(&self, name: &Name, frozen: bool) -> Result<()> {
        make_dir(&self.layout.held(), 0o700)?;
        let note = self.layout.held().join(name.as_str());
        fs::write(&note, if frozen { "frozen" } else { "" }).map_err(|e| Error::io("cannot write", &note, e))
    }

    fn hold_layer(&self, record: &Record) -> Result<()> {
        // Without a quota the layer lies on the box's own file system, and with the guest nobody writes to it.
        if record.spec.disk.is_none() {
            return Ok(());
        }
        let layer = self.layout.container(&record.name).layer();
        let held = File::open(&layer).and_then(|dir| sys::freeze_filesystem(dir.as_fd(), true));
        held.map_err(|e| Error::io("cannot bring to rest", &layer, e))
    }

    fn let_layer_go(&self, name: &Name) -> Result<()> {
        let layer = self.layout.container(name).layer();
        // Where nothing is mounted this would mean the box's own file system.
        if !is_mounted(&layer) {
            return Ok(());
        }
        match File::open(&layer).and_then(|dir| sys::freeze_filesystem(dir.as_fd(), false)) {
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(Error::io("cannot let go on", &layer, e)),
            _ => Ok(()),
        }
    }

    fn forget_held(&self, name: &Name) -> Result<()> {
        let note = self.layout.held().join(name.as_str());
        match fs::remove_file(&note) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("cannot remove", &note, e)),
            _ => Ok(()),
        }
    }

    fn held(&self) -> Vec<(Name, bool)> {
        let dir = self.layout.held();
        let mut held = Vec::new();
        for note in entries(&dir).unwrap_or_default() {
            let frozen = read_file(&dir.join(&note), LINE_MAX).is_ok_and(|text| !text.is_empty());
            held.extend(Name::new(&note).map(|name| (name, frozen)));
        }
        held
    }

    fn copy_to_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Name, bytes: u64) -> Result<()> {
        let dir = self.layout.container(&record.name);
        if dir.snapshot(snapshot).path().exists() {
            return Err(Error::new(
                Code::Exists,
                format_args!(
                    "container {} has a snapshot {snapshot} already; choose another name",
                    record.name
                ),
            ));
        }
        make_dir(&dir.snapshots(), 0o700)?;
        let _claim = claim(&dir)?;
        copy_files(ctx, record, &dir, &dir.unborn_snapshot(snapshot), bytes)
    }

    fn give_snapshot_name(&self, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let dir = self.layout.container(&record.name);
        let (unborn, named) = (dir.unborn_snapshot(&snapshot.name), dir.snapshot(&snapshot.name));
        flush_files(record, &unborn)?;
        let line = format!("{} {} {}\n", snapshot.created, snapshot.bytes, snapshot.image_sha256);
        write_durably(&unborn.snapshot_record(), line.as_bytes())?;
        rename(&unborn, &named)?;
        sync_dir(&dir.snapshots()).inspect_err(|_| {
            let _ = rename(&named, &unborn);
        })
    }

    fn discard_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        remove_tree(self.layout.container(name).unborn_snapshot(snapshot).path())
    }

    fn take_snapshot_name(&self, name: &Name, snapshot: &Name) -> Result<()> {
        let dir = self.layout.container(name);
        remove_tree(dir.dead_snapshot(snapshot).path())?;
        if !dir.snapshot(snapshot).path().exists() {
            return Ok(());
        }
        rename(&dir.snapshot(snapshot), &dir.dead_snapshot(snapshot))?;
        sync_dir(&dir.snapshots())
    }

    fn erase_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        remove_tree(self.layout.container(name).dead_snapshot(snapshot).path())
    }

    fn copy_from_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let dir = self.layout.container(&record.name);
        let copy = dir.restored();
        remove_tree(copy.path())?;
        copy_files(ctx, record, &dir.snapshot(&snapshot.name), &copy, snapshot.bytes)?;
        if record.spec.disk.is_none() {
            make_dir(&copy.work(), 0o700)?;
        }
        flush_files(record, &copy)
    }

    fn exchange_layer(&self, record: &Record) -> Result<()> {
        let dir = self.layout.container(&record.name);
        let _claim = claim(&dir)?;
        let part = |dir: &ContainerDir| if record.spec.disk.is_some() { dir.disk() } else { dir.layer() };
        let (layer, copy) = (part(&dir), part(&dir.restored()));
        let swapped = sys::exchange(&layer, &copy);
        swapped.map_err(|e| Error::io("cannot put the snapshot in the place of", &layer, e))?;
        sync_dir(dir.path()).inspect_err(|_| {
            let _ = sys::exchange(&layer, &copy);
        })
    }

    fn copy_layer(
        &self,
        ctx: &Ctx,
        from: &Record,
        snapshot: Option<&Snapshot>,
        to: &Record,
        bytes: u64,
    ) -> Result<()> {
        self.with_new_layer(to, &mut |upper, links| {
            self.with_layer(from, snapshot, &mut |source| {
                let shift = Shift { from: from.ids.base, to: to.ids.base };
                tree::copy(source, upper, links, shift, &mut Progress::new(ctx, Some(bytes)))
            })
        })
    }

    fn export(&self, ctx: &Ctx, what: &ToArchive<'_>, around: &mut WhileHeld<'_>) -> Result<()> {
        let new = what.file.create()?;
        let written = self.write_archive(ctx, what, &new, around);
        written.inspect_err(|_| new.empty())
    }

    fn discard_export(&self, name: &Name) -> Result<()> {
        let note = self.layout.export(name);
        if let Ok(hidden) = fs::read_link(note.join("file")) {
            remove_hidden(&hidden)?;
        }
        remove_tree(&note)
    }

    fn look_at_archive(&self, ctx: &Ctx, file: &HostFile) -> Result<Manifest> {
        archive::read_manifest(ctx, file)
    }

    fn unpack(&self, ctx: &Ctx, file: &HostFile, manifest: &Manifest, to: &Record, left: u64) -> Result<()> {
        self.with_new_layer(to, &mut |upper, _| {
            archive::unpack(ctx, file, manifest, upper, to.ids.base, left)
        })
    }

    fn write_identity(&self, record: &Record, was: &Record) -> Result<()> {
        let rootfs = self.layout.unborn(&record.name).rootfs();
        guest::write_identity(&rootfs, record, &guest::machine_id(&self.box_id()?, record), was)
    }

    fn discard_layer(&self, name: &Name) -> Result<()> {
        remove_tree(self.layout.container(name).restored().path())
    }
}

impl Disk {
    fn write_archive(
        &self,
        ctx: &Ctx,
        what: &ToArchive<'_>,
        new: &NewFile,
        around: &mut WhileHeld<'_>,
    ) -> Result<()> {
        let path = what.file.shown();
        let failed = |e: io::Error| Error::io("cannot write", path, e);
        let size = what.image.map_or(0, |(_, size)| size);
        let room = self.room(&new.near(), what.disk)?;
        admission::admit_copy(room, what.bytes.saturating_add(size))?;
        let note = self.layout.export(&what.record.name);
        ctx.step("export.begin")?;
        make_dir(&note, 0o700)?;
        if let Some(hidden) = new.hidden().map_err(failed)? {
            symlink(&hidden, note.join("file")).map_err(failed)?;
        }
        let file = new.open()?;
        let record = encode(path, what.told)?;
        ctx.step("export.copy")?;
        let progress = &mut Progress::new(ctx, Some(what.bytes.saturating_add(size)));
        let mut writer = Writer::begin(file, path, &record, size, what.bytes, progress)?;
        writer.limit(room.left());
        writer.with_secrets(what.secrets);
        if let Some((image, size)) = what.image {
            writer.image(image, size)?;
        }
        around(&mut || {
            self.with_layer(what.record, what.snapshot, &mut |layer| {
                writer.layer(layer, what.record.ids.base, &note.join("links"))
            })
        })?;
        writer.end()?;
        ctx.step("export.name")?;
        new.give_name()?;
        // From here on it is there; what is left is only the note.
        remove_tree(&note)
    }

    /// Does `work` with the tree of the container's layer, or of a snapshot's, which is mounted for that if it must be.
    fn with_layer(
        &self,
        record: &Record,
        snapshot: Option<&Snapshot>,
        work: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<()> {
        let container = self.layout.container(&record.name);
        let dir = snapshot.map_or_else(|| container.clone(), |snapshot| container.snapshot(&snapshot.name));
        let _claim = claim(&container)?;
        if record.spec.disk.is_none() || is_mounted(&dir.layer()) {
            return work(&dir.upper());
        }
        let at = self.layout.lower(&record.name);
        make_dir(&at, 0o700)?;
        let done =
            mount::mount_apart(&dir.disk(), &at, MsFlags::MS_RDONLY).and_then(|()| work(&at.join("upper")));
        let unmounted = mount::unmount(&at);
        let _ = fs::remove_dir(&at);
        done.and(unmounted)
    }

    /// What may be taken of the file system that holds `dir`: on the storage's own, `disk`.
    fn room(&self, dir: &Path, disk: admission::Disk) -> Result<admission::Disk> {
        let failed = |e: io::Error| Error::io("cannot look at", dir, e);
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).map_err(failed);
        if device(dir)? == device(&self.layout.storage)? {
            return Ok(disk);
        }
        let free = Space::of(dir).map_err(|e| failed(e.into()))?.free;
        Ok(admission::Disk { free, reserve: 0, promised: 0 })
    }

    /// Does `work` with the empty upper directory of the unborn container, and a directory beside it to be made; what
    /// comes of it is durable.
    fn with_new_layer(
        &self,
        record: &Record,
        work: &mut dyn FnMut(&Path, &Path) -> Result<()>,
    ) -> Result<()> {
        let dir = self.layout.unborn(&record.name);
        if record.spec.disk.is_some() {
            mount::mount_apart(&dir.disk(), &dir.layer(), MsFlags::empty())?;
            mount::make_layer(&dir, record.ids)?;
        }
        work(&dir.upper(), &dir.layer().join("links"))?;
        mount::unmount(&dir.layer())?;
        flush_files(record, &dir)
    }

    /// Removes what an earlier daemon left of copies that belong to the container in `dir`, and says what it was.
    pub(super) fn sweep_copies(dir: &Path, swept: &mut Vec<String>) -> Result<()> {
        let dir = ContainerDir(dir.to_path_buf());
        let mut hidden = vec![dir.restored().0];
        for entry in entries(&dir.snapshots()).unwrap_or_default() {
            if entry.starts_with('.') {
                hidden.push(dir.snapshots().join(entry));
            }
        }
        for path in hidden {
            if path.exists() {
                remove_tree(&path)?;
                swept.push(path.display().to_string());
            }
        }
        Ok(())
    }
}

/// The snapshot called `name` of which `line` tells.
fn decode(name: Name, line: &str) -> Option<Snapshot> {
    let mut words = line.split_whitespace();
    let created = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    Some(Snapshot { name, created, bytes, image_sha256: words.next()?.to_string() })
}

/// Copies the layer in `from`, of `bytes`, to the new directory `to`.
fn copy_files(ctx: &Ctx, record: &Record, from: &ContainerDir, to: &ContainerDir, bytes: u64) -> Result<()> {
    make_dir(to.path(), 0o700)?;
    let progress = &mut Progress::new(ctx, Some(bytes));
    if record.spec.disk.is_some() {
        // A container that runs is held. Of one that does not, somebody else may still have the file system.
        let _rest = if is_mounted(&from.layer()) { None } else { Some(mount::at_rest(&from.disk())?) };
        let disk = File::options().write(true).create_new(true).open(to.disk());
        let disk = disk.map_err(|e| Error::io("cannot make", &to.disk(), e))?;
        return tree::copy_data(&from.disk(), &disk, progress);
    }
    make_dir(&to.layer(), 0o700)?;
    let same = Shift { from: 0, to: 0 };
    tree::copy(&from.upper(), &to.upper(), &to.path().join("links"), same, progress)
}

/// Makes the copy in `dir` durable.
fn flush_files(record: &Record, dir: &ContainerDir) -> Result<()> {
    if record.spec.disk.is_none() {
        return sync_filesystem(dir.path());
    }
    let synced = File::open(dir.disk())
        .and_then(|disk| disk.sync_all())
        .and_then(|()| File::open(dir.path())?.sync_all());
    synced.map_err(|e| Error::io("cannot flush", dir.path(), e))
}

/// Writes all that is not on the disk yet of the file system that holds `path`.
fn sync_filesystem(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|dir| Ok(nix::unistd::syncfs(dir.as_fd())?));
    synced.map_err(|e| Error::io("cannot flush", path, e))
}

/// Whether something is mounted at `path`: it is on another file system than the directory it is in.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    device(path).is_some_and(|own| path.parent().and_then(device) != Some(own))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{disk, layout, name, record};
    use super::super::tree::tests::{fingerprint, make_layer, BASE};
    use super::*;
    use crate::model::size::Bytes;
    use crate::steps::storage::mount::{make_layer as make_empty, unmount};
    use crate::testing::TempDir;

    fn snapshot(called: &str) -> Snapshot {
        Snapshot { name: name(called), created: 5, bytes: 1, image_sha256: "ab".repeat(32) }
    }

    fn take(disk: &Disk, record: &Record, called: &str) -> Result<()> {
        disk.copy_to_snapshot(&Ctx::silent().unwrap(), record, &name(called), 1)?;
        disk.give_snapshot_name(record, &snapshot(called))
    }

    fn attach(container: &ContainerDir) {
        mount::mount_apart(&container.disk(), &container.layer(), MsFlags::empty()).unwrap();
    }

    #[test]
    fn a_snapshot_gives_every_byte_back() {
        if !super::super::tests::is_root() {
            return;
        }
        let dir = TempDir::make();
        let (disk, layout, record) = (disk(&dir), layout(&dir), record("web"));
        let ctx = Ctx::silent().unwrap();
        let container = layout.container(&record.name);
        make_dir(&container.layer(), 0o700).unwrap();
        make_dir(&container.work(), 0o700).unwrap();
        make_layer(&container.upper());
        let before = fingerprint(&container.upper(), BASE);
        assert!(disk.layer_size(&ctx, &record).unwrap() > 70_000);
        take(&disk, &record, "one").unwrap();
        assert_eq!(disk.snapshots(&record.name).unwrap(), [snapshot("one")]);
        assert_eq!(disk.find_snapshot(&record.name, &name("two")).unwrap_err().code, Code::NotFound);
        assert_eq!(disk.copy_to_snapshot(&ctx, &record, &name("one"), 1).unwrap_err().code, Code::Exists);
        assert_eq!(fingerprint(&container.snapshot(&name("one")).upper(), BASE), before);

        fs::remove_dir_all(container.upper().join("etc")).unwrap();
        fs::write(container.upper().join("bin/su"), "changed").unwrap();
        for _ in 0..2 {
            disk.copy_from_snapshot(&ctx, &record, &snapshot("one")).unwrap();
            disk.exchange_layer(&record).unwrap();
            assert_eq!(fingerprint(&container.upper(), BASE), before);
            assert!(container.work().is_dir());
            disk.discard_layer(&record.name).unwrap();
        }
        disk.take_snapshot_name(&record.name, &name("one")).unwrap();
        assert_eq!(disk.snapshots(&record.name).unwrap(), []);
        disk.erase_snapshot(&record.name, &name("one")).unwrap();
        assert_eq!(fs::read_dir(container.snapshots()).unwrap().count(), 0);
    }

    /// A container that is starting has all mounts for a moment, in a mount namespace of its own.
    #[test]
    fn a_disk_is_read_that_is_still_mounted_elsewhere_and_mounted_that_is_still_read() {
        if !super::super::tests::is_root() {
            return;
        }
        let dir = TempDir::make();
        let (layout, record) = (layout(&dir), record("web"));
        let container = layout.container(&record.name);
        let ctx = Ctx::silent().unwrap();
        let (layer, apart) = (container.layer(), dir.path().join("apart"));
        for place in [&layer, &apart, &layout.blanks()] {
            make_dir(place, 0o700).unwrap();
        }
        super::super::disk::make(&ctx, &layout.blanks(), &container.disk(), Bytes(64 << 20)).unwrap();
        let read = || mount::mount_apart(&container.disk(), &apart, MsFlags::MS_RDONLY).unwrap();
        attach(&container);
        fs::write(layer.join("file"), "text").unwrap();
        read();
        assert_eq!(fs::read_to_string(apart.join("file")).unwrap(), "text");
        let error = fs::write(apart.join("file"), "").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        unmount(&layer).unwrap();
        attach(&container);
        fs::write(layer.join("file"), "more").unwrap();
        assert_eq!(fs::read_to_string(apart.join("file")).unwrap(), "more");
        unmount(&layer).unwrap();
        unmount(&apart).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        if !super::super::tests::is_root() {
            return;
        }
        let dir = TempDir::make();
        let (disk, layout, record) = (disk(&dir), layout(&dir), record("web"));
        let ctx = Ctx::silent().unwrap();
        let container = layout.container(&record.name);
        make_dir(container.path(), 0o710).unwrap();
        disk.save_record(&record).unwrap();
        make_dir(&container.layer(), 0o700).unwrap();
        make_layer(&container.upper());
        for called in ["one", "two"] {
            take(&disk, &record, called).unwrap();
        }
        disk.copy_to_snapshot(&ctx, &record, &name("three"), 1).unwrap();
        disk.take_snapshot_name(&record.name, &name("two")).unwrap();
        disk.copy_from_snapshot(&ctx, &record, &snapshot("one")).unwrap();
        assert_eq!(disk.snapshots(&record.name).unwrap().len(), 1, "what has no name is no snapshot");
        fs::write(container.snapshot(&name("one")).snapshot_record(), "5 x").unwrap();
        assert_eq!(disk.snapshots(&record.name).unwrap(), [], "a damaged one is left alone");
        assert_eq!(disk.sweep().unwrap().len(), 3);
        let left: Vec<_> =
            fs::read_dir(container.snapshots()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["one"]);
        assert!(!container.restored().path().exists());
        assert_eq!(disk.sweep().unwrap(), [] as [String; 0]);
    }

    #[test]
    fn with_a_quota_the_file_system_rests_while_it_is_copied() {
        if !super::super::tests::is_root() {
            return;
        }
        let dir = TempDir::make();
        let (disk, layout, mut record) = (disk(&dir), layout(&dir), record("web"));
        record.spec.disk = Some(Bytes(64 << 20));
        let ctx = Ctx::silent().unwrap();
        let container = layout.container(&record.name);
        make_dir(&container.layer(), 0o700).unwrap();
        super::super::disk::make(&ctx, &layout.blanks(), &container.disk(), Bytes(64 << 20)).unwrap();
        attach(&container);
        make_empty(&container, record.ids).unwrap();
        make_layer(&container.upper());
        let before = fingerprint(&container.upper(), BASE);

        disk.note_held(&record.name, true).unwrap();
        disk.flush_layer(&record).unwrap();
        disk.hold_layer(&record).unwrap();
        assert_eq!(disk.held(), [(record.name.clone(), true)]);
        take(&disk, &record, "one").unwrap();
        for _ in 0..2 {
            disk.let_layer_go(&record.name).unwrap();
            disk.forget_held(&record.name).unwrap();
        }
        assert!(disk.held().is_empty());
        fs::write(container.upper().join("etc/text"), "changed").unwrap();
        unmount(&container.layer()).unwrap();
        // Nothing is mounted here now: this must not thaw the box's own file system, nor fail.
        disk.let_layer_go(&record.name).unwrap();

        disk.copy_from_snapshot(&ctx, &record, &snapshot("one")).unwrap();
        disk.exchange_layer(&record).unwrap();
        disk.discard_layer(&record.name).unwrap();
        attach(&container);
        let after = fingerprint(&container.upper(), BASE);
        unmount(&container.layer()).unwrap();
        assert_eq!(after, before);
        assert!(fs::metadata(container.disk()).unwrap().blocks() * 512 < 16 << 20, "it is sparse still");
    }
}
