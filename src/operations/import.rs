//! `import`: making a container of an archive.

use super::copying::{as_newcomer, forget_copy, make, without_image};
use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::admission::Disk;
use crate::model::job::Kind;
use crate::model::name::{ImageName, Name};
use crate::model::options::OptionValues;
use crate::model::spec::is_path;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use crate::steps::storage::{Manifest, Record};
use serde::Deserialize;
use std::os::fd::OwnedFd;

/// The kind of a job that imports a container.
pub const KIND: Kind = Kind { shown_as: Some("creating"), ..Kind::new("import") };

/// `cloudbox.container import`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The archive on the box, below a directory that is listed as `import_dir`.
    pub path: String,
    /// The name the container gets.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be imported.
#[derive(Debug)]
pub struct Import {
    /// The archive.
    pub file: HostFile,
    /// What it says.
    pub manifest: Manifest,
    /// The container that it becomes.
    pub record: Box<Record>,
    /// What its image is to be called; None: the image is here.
    pub image: Option<ImageName>,
    /// What may be taken of the disk.
    pub disk: Disk,
}

impl Import {
    /// What can be checked before the archive is opened, and the archive: the file that was `handed` over, or at a path
    /// below a listed directory.
    ///
    /// # Errors
    /// A wrong path, [`Code::Exists`].
    pub fn check(state: &State, args: &Args, handed: Option<OwnedFd>) -> Result<HostFile> {
        let name = Name::new(&args.name)?;
        let file = HostFile::named(&args.path, handed, &state.import_dirs(), "import_dir")?;
        Import::check_name(state, &name)?;
        Ok(file)
    }

    fn check_name(state: &State, name: &Name) -> Result<()> {
        state.check_enabled()?;
        state.check_free(name)
    }

    /// Reads the archive's first words, in a thread: what they say decides whether there is a job.
    ///
    /// # Errors
    /// It is no archive of ours.
    pub fn look(machine: &Machine, file: &HostFile) -> Result<Box<Manifest>> {
        machine.storage.look_at_archive(&Ctx::silent()?, file).map(Box::new)
    }

    /// A container that somebody wants to be made of an archive, which says this of itself.
    ///
    /// # Errors
    /// What is wrong with it, no room for it, an image that is neither here nor in it.
    pub fn ask(state: &State, args: &Args, file: HostFile, manifest: Manifest) -> Result<Import> {
        // Somebody may have taken the name meanwhile.
        let name = Name::new(&args.name)?;
        Import::check_name(state, &name)?;
        let was = &manifest.record;
        // What an archive says is checked like what anybody else says.
        let defaults = &state.config.settings.defaults;
        let mut spec = as_newcomer(OptionValues::of(&was.spec).resolve(defaults)?);
        if state.machine.network.check_bridge(&spec.bridge).is_err() {
            spec.bridge.clone_from(&defaults.bridge);
            state.machine.network.check_bridge(&spec.bridge)?;
        }
        // A script named by its path is this box's own file, not the other one's.
        if is_path(&spec.first_boot) {
            spec.first_boot.clear();
        }
        state.admit_disk(&spec)?;
        let image_sha256 = was.image_sha256.clone();
        let here = state.images.iter().find(|image| image.manifest.sha256 == image_sha256);
        let (init, image) = match (here, manifest.image) {
            (Some(image), _) => (image.manifest.init, None),
            (None, Some(_)) => (was.init, Some(free_image_name(state, &spec.image, &image_sha256)?)),
            (None, None) => {
                return Err(Error::new(
                    Code::NotFound,
                    format_args!(
                        "{} needs the image {} with the sha256 {image_sha256:.64}, which is not on this box; import \
                         that first, or export the container with its image",
                        args.path, spec.image
                    ),
                ));
            }
        };
        let disk = state.disk();
        let mut record = state.new_record(&name, spec)?;
        (record.image_sha256, record.init) = (image_sha256, init);
        Ok(Import { file, manifest, record, image, disk })
    }
}

/// A name for an image that comes along: its own, unless it means another one here.
fn free_image_name(state: &State, name: &ImageName, sha256: &str) -> Result<ImageName> {
    if state.find_image(name.as_str()).is_err() {
        return Ok(name.clone());
    }
    let short: String = name.as_str().chars().take(50).collect();
    let digits: String = sha256.chars().take(12).collect();
    ImageName::new(&format!("{short}-{digits}"))
}

impl Operation for Import {
    type Found = Made;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    fn makes(&self) -> Option<&Record> {
        Some(&self.record)
    }

    /// It does not run yet. Its image is made, too, when that came along and is not here.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let record = &self.record;
        ctx.step("import.check")?;
        let image = match (&self.image, self.manifest.image) {
            (Some(name), Some(part)) => {
                Some(machine.images.import_part(ctx, &self.file, part, name, &record.image_sha256)?)
            }
            _ => None,
        };
        // With a quota its own file system is the limit.
        let left = if record.spec.disk.is_none() { self.disk.left() } else { u64::MAX };
        let made = make(machine, ctx, record, &self.manifest.record, &mut || {
            ctx.step("import.unpack")?;
            machine.storage.unpack(ctx, &self.file, &self.manifest, record, left)
        });
        made.map_err(|error| match &image {
            Some(image) => without_image(machine, image, error),
            None => error,
        })
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        // Its image may have come along.
        state.read_images();
        state.take_up(&self.record.name, made);
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        forget_copy(state, &self.record.name);
    }
}
