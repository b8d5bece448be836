//! `image delete`: removing an image that no container is made of.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::Image;
use crate::model::job::Kind;
use crate::state::State;
use crate::steps::ctx::Ctx;

/// The kind of a job that removes an image.
pub const KIND: Kind = Kind { cancellable: false, ..Kind::new("image_delete") };

/// An image to be removed.
#[derive(Debug)]
pub struct ImageDelete {
    image: Image,
    /// By which name it was called.
    called: String,
}

impl ImageDelete {
    /// An image that somebody wants to be gone.
    ///
    /// # Errors
    /// [`Code::InUse`], [`Code::NotFound`], [`Code::Busy`].
    pub fn ask(state: &State, called: &str) -> Result<ImageDelete> {
        state.check_idle_image(called)?;
        let image = state.find_image(called)?;
        let users = state.users_of(&image.manifest.sha256);
        if !users.is_empty() {
            return Err(Error::new(
                Code::InUse,
                format_args!("image {called} is used by {}; delete these containers first", users.join(", ")),
            ));
        }
        Ok(ImageDelete { image: image.clone(), called: called.to_string() })
    }
}

impl Operation for ImageDelete {
    type Found = ();

    fn about(&self) -> About {
        About::image(KIND, &self.called)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        machine.images.delete(ctx, &self.image)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        state.read_images();
        state.notify_image_removed(&self.called);
        Ok(())
    }
}
