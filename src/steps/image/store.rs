//! The images on disk and their mounts.
//!
//! `<storage>/images/<sha256>/{rootfs.squashfs,manifest.json}` is an image, `<storage>/images/names/<name>` a link to
//! one, `<run>/images/<sha256>` its mount. What begins with a dot is being made or being removed; a crash leaves it to
//! [`Images::clean`].

use super::remote::{self, Fetching, Pulls};
use super::squashfs::{self, Superblock};
use super::{bad, import, is_hex, manifest, parse_sha256, Images, SHA256_DIGITS};
use crate::error::{errno_text, Code, Error, Result};
use crate::model::image::{Image, Manifest};
use crate::model::image_source::ImageSource;
use crate::model::name::ImageName;
use crate::model::remote::Remote;
use crate::model::size::Bytes;
use crate::simplestreams::Offers;
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::{self, entries, Space};
use crate::steps::outside::HostFile;
use crate::steps::walk::remove as remove_tree;
use crate::sys;
use log::warn;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::utsname::uname;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{symlink, DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The image proper, in its directory.
const ROOTFS: &str = "rootfs.squashfs";
const MANIFEST: &str = "manifest.json";
/// A manifest is ours, so it is small; a damaged one must not fill the memory.
const MANIFEST_MAX: u64 = 256 << 10;
/// Which versions were pulled, so that an older one does not come back; beside the images.
const VERSIONS: &str = "image-versions";
const VERSIONS_NEW: &str = ".new-image-versions";
/// The most of them that are remembered, and the most that is read.
const VERSIONS_MAX: usize = 1000;
const VERSIONS_BYTES: u64 = 1 << 20;
/// What is being made, and what is being removed.
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// The real images of a box.
pub struct Store {
    storage: PathBuf,
    run_dir: PathBuf,
    images: PathBuf,
    names: PathBuf,
    mounts: PathBuf,
    disk_reserve: Bytes,
    /// Held while names, image directories or mounts change; never while an image is built.
    changing: Mutex<()>,
    serial: AtomicU32,
    fetching: Fetching,
    /// What is being pulled.
    pub(super) pulls: Pulls,
}

impl Store {
    /// The images below `storage`, mounted below `run_dir`. `disk_reserve` of the storage's disk is never filled.
    /// Nothing is read or made yet.
    pub fn new(storage: &Path, run_dir: &Path, disk_reserve: Bytes) -> Store {
        let images = storage.join("images");
        Store {
            storage: storage.to_path_buf(),
            run_dir: run_dir.to_path_buf(),
            names: images.join("names"),
            images,
            mounts: run_dir.join("images"),
            disk_reserve,
            changing: Mutex::new(()),
            serial: AtomicU32::new(0),
            fetching: Fetching::default(),
            pulls: Pulls::default(),
        }
    }

    /// The same, fetching in this way.
    pub fn fetching(mut self, fetching: Fetching) -> Store {
        self.fetching = fetching;
        self
    }

    /// How files are fetched.
    pub(super) fn how_to_fetch(&self) -> &Fetching {
        &self.fetching
    }

    /// The directory the images are in, for messages.
    pub(super) fn directory(&self) -> &Path {
        &self.images
    }

    /// The disk space kept for the box.
    pub(super) fn disk_reserve(&self) -> Bytes {
        self.disk_reserve
    }

    /// Bytes that images may still fill.
    pub(super) fn free(&self) -> Result<u64> {
        let space = Space::of(&self.images);
        let space = space.map_err(|e| Error::io("cannot tell the free space of", &self.images, e))?;
        Ok(space.free.saturating_sub(self.disk_reserve.get()))
    }

    /// Makes the directories of the store.
    pub(super) fn prepare(&self) -> Result<()> {
        open_directory(&self.storage)?;
        private_directory(&self.images)?;
        private_directory(&self.names)
    }

    /// A new hidden directory to build an image in, and the image file in it.
    pub(super) fn building(&self) -> Result<Building> {
        self.prepare()?;
        let directory = self.hidden(&self.images)?;
        let rootfs = directory.join(ROOTFS);
        Ok(Building { directory, rootfs })
    }

    /// Makes a directory in `parent` that nobody else has.
    pub(super) fn hidden(&self, parent: &Path) -> Result<PathBuf> {
        loop {
            let path = parent.join(self.hidden_name(NEW));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(path),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("cannot create", &path, e)),
            }
        }
    }

    fn prepare_mounts(&self) -> Result<()> {
        open_directory(&self.run_dir)?;
        private_directory(&self.mounts)
    }

    fn hidden_name(&self, prefix: &str) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{}-{serial}", std::process::id())
    }

    /// Mounts the squashfs `file` where nobody looks, hands its root to `look`, and unmounts it.
    pub(super) fn look_into<T>(&self, file: &Path, look: &dyn Fn(&File) -> Result<T>) -> Result<T> {
        self.prepare_mounts()?;
        let target = self.hidden(&self.mounts)?;
        let looked = mount_squashfs(file, &target, MsFlags::MS_NOEXEC).and_then(|()| {
            let looked = File::open(&target).map_err(|e| bad(format_args!("its root cannot be opened: {e}")));
            // The root must be closed again before it can be unmounted.
            let looked = looked.and_then(|root| look(&root));
            let unmounted = unmount_now(&target);
            unmounted.and(looked)
        });
        let removed = fs::remove_dir(&target).map_err(|e| Error::io("cannot remove", &target, e));
        match looked {
            Ok(value) => removed.map(|()| value),
            Err(e) => Err(e.with_leftovers(removed.err().as_slice())),
        }
    }

    /// The manifest of the squashfs `file`, as far as the image itself tells it; and whether it has extended attributes
    /// that the kernel does not read.
    pub(super) fn probe(&self, file: &Path) -> Result<(Manifest, bool)> {
        let arch = uname().map_err(|e| Error::os("cannot tell this box's architecture", e))?;
        let arch = arch.machine().to_string_lossy();
        let has_xattrs = superblock(file).is_some_and(|superblock| superblock.xattrs);
        self.look_into(file, &|root| {
            let drops_xattrs = has_xattrs && !sys::reads_xattrs(root);
            Ok((manifest::probe(root.as_fd(), &arch)?, drops_xattrs))
        })
    }

    /// Makes a built image one of the store, and `name` mean it.
    pub(super) fn publish(
        &self,
        building: &Building,
        manifest: &Manifest,
        name: &ImageName,
    ) -> Result<Image> {
        write_manifest(&building.directory.join(MANIFEST), manifest)?;
        sync(&building.directory)?;
        let _changing = self.changing();
        let place = self.place(&manifest.sha256);
        if self.read(&manifest.sha256).is_err() {
            self.set_aside(&place)?;
            fs::rename(&building.directory, &place).map_err(|e| Error::io("cannot create", &place, e))?;
            if let Err(e) = sync(&self.images).and_then(|()| self.point(name, &manifest.sha256)) {
                return Err(e.with_leftovers(remove_tree(&place).err().as_slice()));
            }
        } else {
            // Somebody imported the same file meanwhile; theirs may be mounted already.
            self.point(name, &manifest.sha256)?;
        }
        self.image(&manifest.sha256)
    }

    /// Lets `name` mean the image `sha256` if that is in the store whole.
    pub(super) fn adopt(&self, sha256: &str, name: &ImageName) -> Result<Option<Image>> {
        let _changing = self.changing();
        if self.read(sha256).is_err() {
            return Ok(None);
        }
        self.point(name, sha256)?;
        self.image(sha256).map(Some)
    }

    /// Remembers where an image that is in the store already can be pulled from.
    pub(super) fn note_origin(&self, image: &mut Image, origin: &import::Origin<'_>) -> Result<()> {
        let manifest = &mut image.manifest;
        if manifest.source == origin.source && manifest.source_version == origin.version {
            return Ok(());
        }
        manifest.source = origin.source.to_string();
        manifest.source_version = origin.version.to_string();
        let place = self.place(&manifest.sha256);
        let temporary = place.join(self.hidden_name(NEW));
        write_manifest(&temporary, manifest)?;
        let path = place.join(MANIFEST);
        fs::rename(&temporary, &path).map_err(|e| Error::io("cannot write", &path, e))
    }

    /// The version that was pulled last of what a server calls so, `remote:alias`.
    pub(super) fn newest_version(&self, alias: &str) -> Result<Option<String>> {
        if let Some((_, version)) = self.versions()?.into_iter().find(|(of, _)| of == alias) {
            return Ok(Some(version));
        }
        // Pulled by an earlier version of this program.
        let images = self.list()?.into_iter().map(|image| image.manifest);
        let here = images.filter(|manifest| manifest.source == alias).map(|manifest| manifest.source_version);
        Ok(here.max())
    }

    /// Remembers which version of what a server calls so was pulled last, also when its image is removed.
    pub(super) fn note_version(&self, alias: &str, version: &str) -> Result<()> {
        let _changing = self.changing();
        let mut versions = self.versions()?;
        versions.retain(|(of, _)| of != alias);
        versions.push((alias.to_string(), version.to_string()));
        let excess = versions.len().saturating_sub(VERSIONS_MAX);
        let lines = versions.drain(excess..).map(|(alias, version)| format!("{alias} {version}\n"));
        let (path, new) = (self.storage.join(VERSIONS), self.storage.join(VERSIONS_NEW));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(lines.collect::<String>().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|e| Error::io("cannot write", &path, e))?;
        sync(&self.storage)
    }

    /// What was pulled, and in which versions: an alias has no blank in it.
    fn versions(&self) -> Result<Vec<(String, String)>> {
        let path = self.storage.join(VERSIONS);
        let text = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.and_then(|file| filesystem::read_up_to(&file, VERSIONS_BYTES)),
        };
        let text = text.map_err(|e| Error::io("cannot read", &path, e))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let pair = |line: &str| {
            line.split_once(' ').map(|(alias, version)| (alias.to_string(), version.to_string()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Moves a damaged image out of the way of a good one.
    fn set_aside(&self, place: &Path) -> Result<()> {
        if !place.exists() {
            return Ok(());
        }
        warn!("{} is damaged and is replaced", place.display());
        remove_tree(&self.move_away(place)?)
    }

    /// Renames the image directory `place` away, which is the moment it is gone, and tells where its data is.
    fn move_away(&self, place: &Path) -> Result<PathBuf> {
        let gone = self.images.join(self.hidden_name(GONE));
        fs::rename(place, &gone).map_err(|e| Error::io("cannot remove", place, e))?;
        sync(&self.images)?;
        Ok(gone)
    }

    /// Lets `name` mean `sha256`, all at once for whoever looks.
    fn point(&self, name: &ImageName, sha256: &str) -> Result<()> {
        let link = self.names.join(name.as_str());
        let target = Path::new("..").join(sha256);
        if fs::read_link(&link).is_ok_and(|now| now == target) {
            return Ok(());
        }
        let hidden = self.names.join(self.hidden_name(NEW));
        // A leftover of a crashed process of our number.
        let _ = fs::remove_file(&hidden);
        symlink(&target, &hidden).map_err(|e| Error::io("cannot create", &hidden, e))?;
        if let Err(e) = fs::rename(&hidden, &link) {
            let _ = fs::remove_file(&hidden);
            return Err(Error::io("cannot create", &link, e));
        }
        sync(&self.names)
    }

    /// Every name and the sha256 it points at.
    fn pointers(&self) -> Result<Vec<(ImageName, String)>> {
        let mut pointers = Vec::new();
        for name in entries(&self.names)? {
            let Ok(target) = fs::read_link(self.names.join(&name)) else { continue };
            let sha256 = target.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
            if let Ok(name) = ImageName::new(&name) {
                pointers.push((name, sha256));
            }
        }
        pointers.sort_unstable();
        Ok(pointers)
    }

    fn image(&self, sha256: &str) -> Result<Image> {
        let pointers = self.pointers()?;
        Ok(with_names(self.read(sha256)?, &pointers))
    }

    /// The manifest of the image `sha256`, which must be whole.
    fn read(&self, sha256: &str) -> Result<Manifest> {
        let place = self.place(sha256);
        let path = place.join(MANIFEST);
        let file = filesystem::open_regular(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => not_found(sha256),
            _ => Error::io("cannot read", &path, e),
        })?;
        let text = filesystem::read_up_to(&file, MANIFEST_MAX);
        let text = text.map_err(|e| Error::io("cannot read", &path, e))?;
        let damaged = |why: &str| {
            let place = place.display();
            Error::new(
                Code::BadImage,
                format_args!("the image at {place} is damaged: {why}; delete it and import it again"),
            )
        };
        let mut manifest: Manifest =
            serde_json::from_slice(&text).map_err(|e| damaged(&format!("its {MANIFEST}: {e}")))?;
        let size = place.join(ROOTFS).metadata().map_or(0, |m| m.len());
        if size != manifest.size {
            return Err(damaged(&format!("{ROOTFS} has {size} bytes, not {}", manifest.size)));
        }
        // The directory's name is what everything else goes by.
        manifest.sha256 = sha256.to_string();
        Ok(manifest)
    }

    fn place(&self, sha256: &str) -> PathBuf {
        self.images.join(sha256)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is mounted at `target`: it is on another filesystem than the directory it is in.
    fn is_mounted(&self, target: &Path) -> Result<bool> {
        let device = |path: &Path| match fs::symlink_metadata(path) {
            Ok(m) => Ok(Some(m.dev())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("cannot look at", path, e)),
        };
        let here = device(target)?;
        Ok(here.is_some() && here != device(&self.mounts)?)
    }

    fn unmount_if_mounted(&self, sha256: &str) -> Result<()> {
        let target = self.mounts.join(sha256);
        if self.is_mounted(&target)? {
            filesystem::unmount(&target, MntFlags::empty()).map_err(|e| match e {
                Errno::EBUSY => Error::new(
                    Code::InUse,
                    format_args!(
                        "the image {sha256} is in use at {}; stop what uses it first",
                        target.display()
                    ),
                ),
                e => Error::io("cannot unmount", &target, e),
            })?;
        }
        match fs::remove_dir(&target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("cannot remove", &target, e)),
            _ => Ok(()),
        }
    }
}

impl Images for Store {
    fn list(&self) -> Result<Vec<Image>> {
        let pointers = self.pointers()?;
        let mut images = Vec::new();
        for sha256 in entries(&self.images)?.into_iter().filter(|name| is_sha256(name)) {
            match self.read(&sha256) {
                Ok(manifest) => images.push(with_names(manifest, &pointers)),
                // Deleted between the two looks.
                Err(e) if e.code == Code::NotFound => {}
                Err(e) => warn!("{}", e.message),
            }
        }
        images.sort_unstable_by(|a, b| {
            (a.manifest.imported, &a.manifest.sha256).cmp(&(b.manifest.imported, &b.manifest.sha256))
        });
        Ok(images)
    }

    fn import(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        name: &ImageName,
        expected_sha256: Option<&str>,
    ) -> Result<Image> {
        import::import(self, ctx, file, name, expected_sha256)
    }

    fn import_part(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        part: (u64, u64),
        name: &ImageName,
        sha256: &str,
    ) -> Result<Image> {
        import::import_part(self, ctx, file, part, name, sha256)
    }

    fn file(&self, ctx: &Ctx, sha256: &str) -> Result<(PathBuf, u64, String)> {
        let path = self.place(&parse_sha256(sha256)?).join(ROOTFS);
        let own = HostFile::own(&path);
        let mut file = import::Input::open(ctx, &own)?;
        let size = file.read_to_end()?;
        let sha256 = file.sha256();
        Ok((path, size, sha256))
    }

    fn pack(&self, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image> {
        import::pack(self, ctx, tree, name)
    }

    fn available(&self, ctx: &Ctx, remote: &Remote, filter: &str, until: Instant) -> Result<Offers> {
        remote::available(self, ctx, remote, filter, until)
    }

    fn pull(&self, ctx: &Ctx, source: &ImageSource) -> Result<Image> {
        remote::pull(self, ctx, source)
    }

    fn partial(&self) -> Result<u64> {
        remote::partial(self)
    }

    fn remove_partial(&self) -> Result<()> {
        remote::remove_partial(self)
    }

    fn delete(&self, ctx: &Ctx, image: &Image) -> Result<()> {
        let sha256 = parse_sha256(&image.manifest.sha256)?;
        ctx.step("image.delete")?;
        let _changing = self.changing();
        let place = self.place(&sha256);
        if !place.exists() {
            return Err(not_found(&sha256));
        }
        self.unmount_if_mounted(&sha256)?;
        let gone = self.move_away(&place)?;
        // Names go after it: should the box crash in between, one that leads nowhere is removed at the next start.
        let mut leftovers = Vec::new();
        for (name, _) in self.pointers()?.iter().filter(|(_, target)| *target == sha256) {
            let link = self.names.join(name.as_str());
            if let Err(e) = fs::remove_file(&link) {
                leftovers.push(Error::io("cannot remove", &link, e));
            }
        }
        leftovers.extend(sync(&self.names).err());
        leftovers.extend(remove_tree(&gone).err());
        first_with_the_others(leftovers)
    }

    fn mount(&self, sha256: &str) -> Result<PathBuf> {
        let sha256 = parse_sha256(sha256)?;
        let target = self.mounts.join(&sha256);
        let _changing = self.changing();
        if self.is_mounted(&target)? {
            return Ok(target);
        }
        self.read(&sha256)?;
        self.prepare_mounts()?;
        private_directory(&target)?;
        mount_squashfs(&self.place(&sha256).join(ROOTFS), &target, MsFlags::empty()).map_err(|mut e| {
            let _ = fs::remove_dir(&target);
            e.message = format!("the image {sha256} cannot be mounted: {}", e.message);
            e
        })?;
        Ok(target)
    }

    fn unmount(&self, sha256: &str) -> Result<()> {
        let sha256 = parse_sha256(sha256)?;
        let _changing = self.changing();
        self.unmount_if_mounted(&sha256)
    }

    fn mounted(&self) -> Result<Vec<String>> {
        let mut mounted = Vec::new();
        for sha256 in entries(&self.mounts)?.into_iter().filter(|name| is_sha256(name)) {
            if self.is_mounted(&self.mounts.join(&sha256))? {
                mounted.push(sha256);
            }
        }
        mounted.sort_unstable();
        Ok(mounted)
    }

    fn clean(&self) -> Result<()> {
        let _changing = self.changing();
        let hidden = |name: &String| name.starts_with(NEW) || name.starts_with(GONE);
        let mut problems = Vec::new();
        for name in entries(&self.mounts)?.into_iter().filter(hidden) {
            let target = self.mounts.join(name);
            if self.is_mounted(&target)? {
                problems.extend(unmount_now(&target).err());
            }
            problems
                .extend(fs::remove_dir(&target).map_err(|e| Error::io("cannot remove", &target, e)).err());
        }
        for name in entries(&self.images)? {
            let image = self.images.join(&name);
            if hidden(&name) {
                problems.extend(remove_tree(&image).err());
            } else if is_sha256(&name) {
                // A manifest that was not given its name.
                for name in entries(&image)?.iter().filter(|name| hidden(name)) {
                    problems.extend(remove_tree(&image.join(name)).err());
                }
            }
        }
        for name in entries(&self.names)? {
            let link = self.names.join(&name);
            let leads_nowhere = link.is_symlink() && !link.exists();
            if hidden(&name) || leads_nowhere {
                problems
                    .extend(fs::remove_file(&link).map_err(|e| Error::io("cannot remove", &link, e)).err());
            }
        }
        first_with_the_others(problems)
    }
}

/// An image being built. [`Building::discard`] removes it, unless it was published.
pub(super) struct Building {
    directory: PathBuf,
    /// The image file to be written.
    pub rootfs: PathBuf,
}

impl Building {
    /// A file to work with, removed with the rest.
    pub fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// Where the names in an archive are kept for a moment.
    pub fn names(&self) -> PathBuf {
        self.directory.join("names")
    }

    /// Removes what there is of it.
    pub fn discard(&self) -> Result<()> {
        remove_tree(&self.directory)
    }
}

/// Mounts the squashfs `file` at `target`.
fn mount_squashfs(file: &Path, target: &Path, more: MsFlags) -> Result<()> {
    let opened = filesystem::open_regular(file).map_err(|e| Error::io("cannot open", file, e))?;
    mount_file(&opened, target, more).map_err(|e| match e {
        Unmountable::NoLoop(e) => match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => {
                Error::new(Code::NotSupported, "this box has no loop devices; install kmod-loop")
            }
            _ => Error::io("cannot attach to a loop device:", file, e),
        },
        Unmountable::Refused(Errno::ENODEV) => {
            Error::new(Code::NotSupported, "this kernel knows no squashfs; install kmod-fs-squashfs")
        }
        Unmountable::Refused(e) => match superblock(file) {
            Some(Superblock { compressor, .. }) if !kernel_reads(compressor, target) => {
                unread(compressor, target).caused_by(e)
            }
            _ => bad(format_args!("the kernel refuses the squashfs: {}; it is damaged", errno_text(e)))
                .caused_by(e),
        },
    })
}

/// Why a squashfs cannot be mounted.
enum Unmountable {
    /// There is no loop device for it.
    NoLoop(io::Error),
    /// The kernel does not want it.
    Refused(Errno),
}

/// Mounts the squashfs that is open as `file` at `target`: read-only, without devices and set-user-ID programs of its own
/// right. The loop device detaches itself at the unmount.
fn mount_file(file: &File, target: &Path, more: MsFlags) -> std::result::Result<(), Unmountable> {
    let (device, path) = sys::loop_attach(file.as_fd(), true).map_err(Unmountable::NoLoop)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | more;
    let mounted = filesystem::mount(&path, target, "squashfs", flags, "");
    drop(device);
    mounted.map_err(Unmountable::Refused)
}

/// The superblock of the squashfs `file`.
fn superblock(file: &Path) -> Option<Superblock> {
    let file = filesystem::open_regular(file).ok()?;
    let length = file.metadata().ok()?.len();
    squashfs::check(&filesystem::read_up_to(&file, squashfs::SUPERBLOCK as u64).ok()?, length).ok()
}

/// Whether the kernel reads what is packed with `compressor`; yes, where that cannot be tried. `target` is a directory to
/// mount on.
fn kernel_reads(compressor: &str, target: &Path) -> bool {
    let Some(empty) = squashfs::empty(compressor) else { return true };
    let Ok(file) = memfd_create(c"squashfs", MFdFlags::MFD_CLOEXEC).map(File::from) else { return true };
    if file.write_all_at(&empty, 0).and_then(|()| file.set_len(import::PADDING)).is_err() {
        return true;
    }
    match mount_file(&file, target, MsFlags::MS_NOEXEC) {
        Ok(()) => unmount_now(target).is_ok(),
        Err(Unmountable::Refused(e)) => e != Errno::EINVAL,
        Err(Unmountable::NoLoop(_)) => true,
    }
}

/// What is said of a squashfs that the kernel does not read.
fn unread(compressor: &str, target: &Path) -> Error {
    let good = squashfs::COMMON.into_iter().find(|good| kernel_reads(good, target)).unwrap_or("xz");
    bad(format_args!(
        "it is packed with {compressor}, which this kernel does not read; repack it with {good} on another machine, as root: \
         `unsquashfs -d root FILE`, then `mksquashfs root NEW -comp {good}`"
    ))
}

/// Unmounts `target` for good: at once, or when its last user is gone.
fn unmount_now(target: &Path) -> Result<()> {
    let unmounted = match filesystem::unmount(target, MntFlags::empty()) {
        Err(Errno::EBUSY) => filesystem::unmount(target, MntFlags::MNT_DETACH),
        other => other,
    };
    unmounted.map_err(|e| Error::io("cannot unmount", target, e))
}

/// Makes `path` and what is above it. Containers' own processes must be able to walk through.
fn open_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.map_err(|e| Error::io("cannot create", path, e))
}

/// Makes `path`, for root alone.
pub(super) fn private_directory(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("cannot create", path, e)),
        _ => Ok(()),
    }
}

fn write_manifest(path: &Path, manifest: &Manifest) -> Result<()> {
    let failed = |e: io::Error| Error::io("cannot write", path, e);
    let mut text = serde_json::to_string_pretty(manifest).map_err(|e| {
        Error::new(Code::Failed, format_args!("cannot write {}: {e}", path.display())).caused_by(e)
    })?;
    text.push('\n');
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Makes the names in `directory` survive a power cut.
fn sync(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::io("cannot sync", directory, e))
}

fn is_sha256(name: &str) -> bool {
    name.len() == SHA256_DIGITS && is_hex(name)
}

fn with_names(manifest: Manifest, pointers: &[(ImageName, String)]) -> Image {
    let names = pointers.iter().filter(|(_, target)| *target == manifest.sha256);
    let names = names.map(|(name, _)| name.clone()).collect();
    Image { manifest, names }
}

fn not_found(sha256: &str) -> Error {
    Error::new(Code::NotFound, format_args!("no image {sha256} on this box; list shows those there are"))
}

pub(super) fn first_with_the_others(mut errors: Vec<Error>) -> Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    let first = errors.remove(0);
    Err(first.with_leftovers(&errors))
}
