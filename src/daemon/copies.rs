//! Calls about copies of containers: snapshots, clones, archives.

use super::calls::{encode, Answer};
use super::core::{now, Container, Core};
use super::work::{Report, Work};
use crate::api::{args, replies};
use crate::error::{quoted, Code, Error, Result};
use crate::model::address::Address;
use crate::model::job::JobId;
use crate::model::name::{time_name, ImageName, Name};
use crate::model::spec::{Asked, Spec};
use crate::ops::{CloneOf, Export, Import, Restore, TakeSnapshot};
use crate::steps::ctx::Ctx;
use crate::steps::storage::{Manifest, Snapshot};
use std::path::{Path, PathBuf};

impl Core {
    /// A container that was made, and on which nothing works.
    fn whole(&self, name: &Name) -> Result<&Container> {
        self.known(name)?;
        self.idle(name)?;
        if self.config.containers.get(name).is_some_and(|declared| declared.deleting) {
            return Err(Error::new(
                Code::Busy,
                format_args!("container {name} is being deleted; `cloudbox delete {name}` goes on with it"),
            ));
        }
        self.containers.get(name).ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format_args!("container {name} was never made; `cloudbox reload` makes it"),
            )
        })
    }

    /// `snapshot`, `restore` and `snapshot_delete`.
    pub(super) fn work_on_snapshot(&mut self, method: &str, args: &args::Snapshot) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let called = match args.snapshot.as_deref().unwrap_or_default() {
            "" if method == "snapshot" => &time_name(now()),
            text => text,
        };
        let snapshot = Name::of_snapshot(called)?;
        let container = self.whole(&name)?;
        let (record, running) = (container.record.clone(), container.live.is_some());
        let found = self.machine.storage.find_snapshot(&name, &snapshot);
        let work = match method {
            "snapshot" if found.is_ok() => {
                return Err(Error::new(
                    Code::Exists,
                    format_args!("container {name} has a snapshot {snapshot} already; choose another name"),
                ));
            }
            "snapshot" => {
                let what = TakeSnapshot { record, snapshot, now: now(), running, disk: self.disk() };
                Work::Snapshot(Box::new(what))
            }
            "restore" => {
                let snapshot = found?;
                if running && !args.force.unwrap_or(false) {
                    return Err(Error::new(
                        Code::Running,
                        format_args!("container {name} is running; stop it first, or restore it with force"),
                    ));
                }
                if snapshot.image_sha256 != record.image_sha256 {
                    return Err(Error::new(
                        Code::NotSupported,
                        format_args!("snapshot {called} of container {name} belongs to another image"),
                    ));
                }
                Work::Restore(Box::new(Restore { record, snapshot, running, disk: self.disk() }))
            }
            _ => found.map(|_| Work::DeleteSnapshot { name, snapshot })?,
        };
        Ok(self.start_job(work))
    }

    /// What a copy of the container shall be: what it is, but for what is its own.
    fn spec_of_copy(&self, name: &Name, made: &Spec) -> Spec {
        let mut spec = self.declared_spec(name).unwrap_or(made).for_start(made);
        // What was run once is not run again.
        if self.first_boot(name).is_none_or(|first_boot| first_boot.state != "pending") {
            spec.first_boot.clear();
        }
        spec
    }

    /// The snapshot that a call names, if it names one.
    fn named_snapshot(&self, name: &Name, called: Option<&str>) -> Result<Option<Snapshot>> {
        match called.unwrap_or_default() {
            "" => Ok(None),
            text => self.machine.storage.find_snapshot(name, &Name::of_snapshot(text)?).map(Some),
        }
    }

    pub(super) fn clone_container(&mut self, args: &args::Clone) -> Result<JobId> {
        let (name, new) = (Name::new(&args.name)?, Name::new(&args.new_name)?);
        self.check_enabled()?;
        let container = self.whole(&name)?;
        self.check_free(&new)?;
        let (from, running) = (container.record.clone(), container.live.is_some());
        let snapshot = self.named_snapshot(&name, args.snapshot.as_deref())?;
        let spec = as_newcomer(self.spec_of_copy(&name, &from.spec));
        self.machine.network.check_bridge(&spec.bridge)?;
        self.admit_disk(&spec)?;
        let disk = self.disk();
        let mut record = self.new_record(&new, spec)?;
        (record.image_sha256, record.init) = (from.image_sha256.clone(), from.init);
        self.making.insert(new, record.clone());
        let what = CloneOf { from, snapshot, record, running, disk };
        Ok(self.start_job(Work::Clone(Box::new(what))))
    }

    pub(super) fn export_container(&mut self, args: &args::Export) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let path = absolute(&args.path)?;
        let container = self.whole(&name)?;
        let (record, running) = (container.record.clone(), container.live.is_some());
        let mut told = record.clone();
        told.spec = self.spec_of_copy(&name, &record.spec);
        let what = Export {
            told,
            record,
            snapshot: self.named_snapshot(&name, args.snapshot.as_deref())?,
            running,
            image: args.image.unwrap_or(false),
            path,
            disk: self.disk(),
        };
        Ok(self.start_job(Work::Export(Box::new(what))))
    }

    pub(super) fn check_import(&self, args: &args::Import) -> Result<Name> {
        let name = Name::new(&args.name)?;
        absolute(&args.path)?;
        self.check_enabled()?;
        self.check_free(&name)?;
        Ok(name)
    }

    /// Reads the archive's first words in a thread: what they say decides whether there is a job.
    pub(super) fn look_at_archive(&self, args: args::Import) -> Answer {
        let machine = self.machine.clone();
        Answer::Aside(Box::new(move |request| {
            let look = |ctx| machine.storage.look_at_archive(&ctx, Path::new(&args.path)).map(Box::new);
            let manifest = Ctx::silent().and_then(look);
            Report::Archive(request, Box::new(args), manifest)
        }))
    }

    pub(super) fn import_container(&mut self, args: &args::Import, manifest: Manifest) -> Result<JobId> {
        // Somebody may have taken the name meanwhile.
        let name = self.check_import(args)?;
        let was = &manifest.record;
        // What an archive says is checked like what anybody else says.
        let defaults = &self.config.settings.defaults;
        let mut spec = as_newcomer(Asked::of(&was.spec).resolve(defaults)?);
        if self.machine.network.check_bridge(&spec.bridge).is_err() {
            spec.bridge.clone_from(&defaults.bridge);
            self.machine.network.check_bridge(&spec.bridge)?;
        }
        // A script named by its path is this box's own file, not the other one's.
        if spec.first_boot.starts_with('/') {
            spec.first_boot.clear();
        }
        self.admit_disk(&spec)?;
        let image_sha256 = was.image_sha256.clone();
        let here = self.images.iter().find(|image| image.manifest.sha256 == image_sha256);
        let (init, image) = match (here, manifest.image) {
            (Some(image), _) => (image.manifest.init, None),
            (None, Some(_)) => (was.init, Some(self.free_image_name(&spec.image, &image_sha256)?)),
            (None, None) => {
                return Err(Error::new(Code::NotFound, format_args!(
                    "{} needs the image {} with the sha256 {image_sha256:.64}, which is not on this box; import that \
                     first, or export the container with its image",
                    args.path, spec.image
                )));
            }
        };
        let disk = self.disk();
        let mut record = self.new_record(&name, spec)?;
        (record.image_sha256, record.init) = (image_sha256, init);
        self.making.insert(name, record.clone());
        let what = Import { path: PathBuf::from(&args.path), manifest, record, image, disk };
        Ok(self.start_job(Work::Unpack(Box::new(what))))
    }

    /// A name for an image that comes along: its own, unless it means another one here.
    fn free_image_name(&self, name: &ImageName, sha256: &str) -> Result<ImageName> {
        if self.find_image(name.as_str()).is_err() {
            return Ok(name.clone());
        }
        let short: String = name.as_str().chars().take(50).collect();
        let digits: String = sha256.chars().take(12).collect();
        ImageName::new(&format!("{short}-{digits}"))
    }

    /// Answers in a thread: it reads a file of each snapshot.
    pub(super) fn snapshots(&self, name: Name) -> Result<Answer> {
        self.known(&name)?;
        let machine = self.machine.clone();
        Ok(Answer::aside(move || {
            let entry = |of: Snapshot| replies::SnapshotEntry {
                name: of.name.to_string(),
                created: of.created,
                bytes: of.bytes,
                image_sha256: of.image_sha256,
            };
            let snapshots = machine.storage.snapshots(&name)?.into_iter().map(entry).collect();
            encode(&replies::SnapshotList { snapshots })
        }))
    }
}

/// A spec without what a container has for itself: its address it gets by DHCP, until somebody gives it one.
fn as_newcomer(mut spec: Spec) -> Spec {
    (spec.address, spec.gateway) = (Address::Dhcp, None);
    spec.hostname.clear();
    spec
}

/// A file on the box.
fn absolute(path: &str) -> Result<PathBuf> {
    let absolute = PathBuf::from(path);
    if absolute.is_absolute() && absolute.file_name().is_some() {
        return Ok(absolute);
    }
    Err(Error::new(
        Code::InvalidArgument,
        format_args!("path {}: give an absolute path of a file on the box", quoted(path)),
    ))
}
