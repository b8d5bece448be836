//! `export`: writing a container into one file, for another box.

use super::copying::{held, named_snapshot, spec_of_copy};
use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::admission::Disk;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use crate::steps::storage::{Record, Snapshot, ToArchive};
use serde::Deserialize;
use std::os::fd::OwnedFd;

/// The kind of a job that exports a container.
pub const KIND: Kind = Kind::new("export");

/// `cloudbox.container export`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// The archive on the box, below a directory that is listed as `export_dir`; there must be no such file yet.
    pub path: String,
    /// A snapshot to export instead of what there is now.
    pub snapshot: Option<String>,
    /// Put the image into it, for a box that has not got it.
    pub image: Option<bool>,
    /// Put the container's secrets into it, too: what is in `/var/lib/cloudbox/secrets`.
    pub secrets: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be exported.
#[derive(Debug)]
pub struct Export {
    /// Its record.
    pub record: Box<Record>,
    /// What the archive says of it.
    pub told: Box<Record>,
    /// A snapshot of it, instead of what there is now.
    pub snapshot: Option<Snapshot>,
    /// It runs.
    pub running: bool,
    /// Its image comes along.
    pub image: bool,
    /// What it was given to keep comes along.
    pub secrets: bool,
    /// The archive.
    pub file: HostFile,
    /// What may be taken of the disk.
    pub disk: Disk,
}

impl Export {
    /// An archive that somebody wants to have, in the file that was `handed` over, or at a path below a listed directory.
    ///
    /// # Errors
    /// A wrong path, no such snapshot, [`crate::error::Code::Busy`], [`crate::error::Code::NotFound`].
    pub fn ask(state: &State, args: &Args, handed: Option<OwnedFd>) -> Result<Export> {
        let name = Name::new(&args.name)?;
        let file = HostFile::named(&args.path, handed, &state.export_dirs(), "export_dir")?;
        let container = state.whole(&name)?;
        let record = container.record.clone();
        let mut told = record.clone();
        told.spec = spec_of_copy(state, &name, &record.spec);
        Ok(Export {
            told,
            record,
            snapshot: named_snapshot(state, &name, args.snapshot.as_deref())?,
            running: container.live.is_some(),
            image: args.image.unwrap_or(false),
            secrets: args.secrets.unwrap_or(false),
            file,
            disk: state.disk(),
        })
    }
}

impl Operation for Export {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    /// One that runs is held while its layer is read, unless it is a snapshot that is.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        let record = &self.record;
        ctx.step("export.measure")?;
        let bytes = match &self.snapshot {
            Some(snapshot) => snapshot.bytes,
            None => machine.storage.layer_size(ctx, record)?,
        };
        let mut told = self.told.clone();
        let image = match self.image {
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
            snapshot: self.snapshot.as_ref(),
            image: image.as_ref().map(|(path, size, _)| (path.as_path(), *size)),
            bytes,
            file: &self.file,
            disk: self.disk,
            secrets: self.secrets,
        };
        let hold = self.running && self.snapshot.is_none();
        let exported = machine.storage.export(ctx, &to, &mut |work| held(machine, ctx, record, hold, work));
        exported.map_err(|error| {
            let left = machine.storage.discard_export(&record.name).err();
            error.with_leftovers(left.as_slice())
        })
    }

    fn done(self, _: &mut State, (): ()) -> Result<()> {
        Ok(())
    }
}
