//! Carrying a container to another box in one file.

use super::copy::make;
use super::snapshot::held;
use super::Made;
use crate::error::Result;
use crate::machine::Machine;
use crate::model::admission::Disk;
use crate::model::name::ImageName;
use crate::steps::ctx::Ctx;
use crate::steps::storage::{Manifest, Record, Snapshot, ToArchive};
use std::path::PathBuf;

/// A container to be exported.
#[derive(Debug, Clone)]
pub struct Export {
    /// Which.
    pub record: Box<Record>,
    /// What the archive says of it.
    pub told: Box<Record>,
    /// A snapshot of it, instead of what there is now.
    pub snapshot: Option<Snapshot>,
    /// It runs.
    pub running: bool,
    /// Its image comes along.
    pub image: bool,
    /// The archive.
    pub path: PathBuf,
    /// What may be taken of the disk.
    pub disk: Disk,
}

/// Writes a container's archive. One that runs is held while its layer is read, unless it is a snapshot that is.
///
/// # Errors
/// Any step's; nothing of the archive is left.
pub fn export(machine: &Machine, ctx: &Ctx, what: &Export) -> Result<()> {
    let record = &what.record;
    ctx.step("export.measure")?;
    let bytes = match &what.snapshot {
        Some(snapshot) => snapshot.bytes,
        None => machine.storage.layer_size(ctx, record)?,
    };
    let mut told = what.told.clone();
    let image = match what.image {
        true => Some(machine.images.file(ctx, &record.image_sha256)?),
        false => None,
    };
    if let Some((.., sha256)) = &image {
        // What arrives is known by what it is, not by the tarball it was made of.
        told.image_sha256.clone_from(sha256);
    }
    let to = ToArchive {
        record,
        told: &told,
        snapshot: what.snapshot.as_ref(),
        image: image.as_ref().map(|(path, size, _)| (path.as_path(), *size)),
        bytes,
        path: &what.path,
        disk: what.disk,
    };
    let hold = what.running && what.snapshot.is_none();
    let exported = machine.storage.export(ctx, &to, &mut |work| held(machine, ctx, record, hold, work));
    exported.map_err(|error| {
        let left = machine.storage.discard_export(&record.name).err();
        error.with_leftovers(left.as_slice())
    })
}

/// A container to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// The archive.
    pub path: PathBuf,
    /// What it says.
    pub manifest: Manifest,
    /// The container that it becomes.
    pub record: Box<Record>,
    /// What its image is to be called; None: the image is here.
    pub image: Option<ImageName>,
    /// What may be taken of the disk.
    pub disk: Disk,
}

/// Makes a container of an archive, which does not run yet; its image, too, when that came along and is not here.
///
/// # Errors
/// Any step's; nothing of the container is left.
pub fn import(machine: &Machine, ctx: &Ctx, what: &Import) -> Result<Made> {
    let record = &what.record;
    ctx.step("import.check")?;
    let image = match (&what.image, what.manifest.image) {
        (Some(name), Some(part)) => {
            Some(machine.images.import_part(ctx, &what.path, part, name, &record.image_sha256)?)
        }
        _ => None,
    };
    // With a quota its own file system is the limit.
    let left = if record.spec.disk.is_none() { what.disk.left() } else { u64::MAX };
    let made = make(machine, ctx, record, &what.manifest.record, &mut || {
        ctx.step("import.unpack")?;
        machine.storage.unpack(ctx, &what.path, &what.manifest, record, left)
    });
    made.map_err(|error| {
        let delete = |image| Ctx::silent().and_then(|ctx| machine.images.delete(&ctx, image));
        let left = image.as_ref().and_then(|image| delete(image).err());
        error.with_leftovers(left.as_slice())
    })
}
