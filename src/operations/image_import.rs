//! `image import`: bringing a file into the image store.

use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::image::Image;
use crate::model::job::Kind;
use crate::model::name::ImageName;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use serde::Deserialize;
use std::os::fd::OwnedFd;

/// The kind of a job that imports an image.
pub const KIND: Kind = Kind::new("image_import");

/// `cloudbox.image import`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The file on the box, below a directory that is listed as `import_dir`: a squashfs, or a tar, plain or packed with gzip, xz or zstd.
    pub path: String,
    /// The name the image gets.
    pub name: String,
    /// The file's sha256, 64 hex digits, to be checked.
    pub sha256: Option<String>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A file to become an image.
#[derive(Debug)]
pub struct ImageImport {
    file: HostFile,
    name: ImageName,
    sha256: Option<String>,
}

impl ImageImport {
    /// A file that somebody wants to have as an image: `handed` over, or at a path below a listed directory.
    ///
    /// # Errors
    /// A wrong name or path, [`crate::error::Code::Busy`].
    pub fn ask(state: &State, args: &Args, handed: Option<OwnedFd>) -> Result<ImageImport> {
        let name = ImageName::new(&args.name)?;
        state.check_idle_image(name.as_str())?;
        let file = HostFile::named(&args.path, handed, &state.import_dirs(), "import_dir")?;
        Ok(ImageImport { file, name, sha256: args.sha256.clone() })
    }
}

impl Operation for ImageImport {
    type Found = Image;

    fn about(&self) -> About {
        About::image(KIND, self.name.as_str())
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Image> {
        machine.images.import(ctx, &self.file, &self.name, self.sha256.as_deref())
    }

    fn done(self, state: &mut State, image: Image) -> Result<()> {
        state.read_images();
        state.notify_image_added(self.name.as_str(), &image.manifest.sha256);
        Ok(())
    }
}
