//! `image pull`: fetching an image from a server.

use super::{About, Operation};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::image::Image;
use crate::model::image_source::{self, ImageSource};
use crate::model::job::Kind;
use crate::state::State;
use crate::steps::ctx::Ctx;
use serde::Deserialize;

/// The kind of a job that pulls an image.
pub const KIND: Kind = Kind { waits: true, ..Kind::new("image_pull") };

/// `cloudbox.image pull`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The image: its name here, or what a server calls it, such as `debian/12` or `community:debian/12`.
    pub name: String,
    /// The server; any that has it unless said otherwise.
    pub remote: Option<String>,
    /// Take it although it is older than a version that was here from the same server.
    pub allow_older: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// An image to be fetched.
#[derive(Debug)]
pub struct ImagePull(ImageSource);

impl ImagePull {
    /// An image that somebody wants to have.
    ///
    /// # Errors
    /// No server is known to have it, [`crate::error::Code::Busy`].
    pub fn ask(state: &State, args: &Args) -> Result<ImagePull> {
        state.check_enabled()?;
        let mut source =
            image_source::find(&args.name, args.remote.as_deref(), &state.config, &state.images)?;
        source.allow_older = args.allow_older.unwrap_or(false);
        state.check_idle_image(source.name.as_str())?;
        Ok(ImagePull(source))
    }
}

impl Operation for ImagePull {
    type Found = Image;

    fn about(&self) -> About {
        About::image(KIND, self.0.name.as_str())
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Image> {
        machine.images.pull(ctx, &self.0)
    }

    fn done(self, state: &mut State, image: Image) -> Result<()> {
        state.read_images();
        state.notify_image_added(self.0.name.as_str(), &image.manifest.sha256);
        Ok(())
    }
}
