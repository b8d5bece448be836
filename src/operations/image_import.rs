//! `image import`: bringing a file into the image store.

use super::{About, Operation};
use crate::error::{quoted, Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::Image;
use crate::model::job::Kind;
use crate::model::name::ImageName;
use crate::state::State;
use crate::steps::ctx::Ctx;
use serde::Deserialize;
use std::path::PathBuf;

/// The kind of a job that imports an image.
pub const KIND: Kind = Kind::new("image_import");

/// `cloudbox.image import`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The file on the box: a squashfs, or a tar, plain or packed with gzip, xz or zstd.
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
    path: PathBuf,
    name: ImageName,
    sha256: Option<String>,
}

impl ImageImport {
    /// A file that somebody wants to have as an image.
    ///
    /// # Errors
    /// A wrong name or path, [`Code::Busy`].
    pub fn ask(state: &State, args: &Args) -> Result<ImageImport> {
        let name = ImageName::new(&args.name)?;
        state.check_idle_image(name.as_str())?;
        let path = PathBuf::from(&args.path);
        if !path.is_absolute() {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("path {}: give an absolute path of a file on the box", quoted(&args.path)),
            ));
        }
        Ok(ImageImport { path, name, sha256: args.sha256.clone() })
    }
}

impl Operation for ImageImport {
    type Found = Image;

    fn about(&self) -> About {
        About::image(KIND, self.name.as_str())
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Image> {
        machine.images.import(ctx, &self.path, &self.name, self.sha256.as_deref())
    }

    fn done(self, state: &mut State, image: Image) -> Result<()> {
        state.read_images();
        state.notify_image_added(self.name.as_str(), &image.manifest.sha256);
        Ok(())
    }
}
