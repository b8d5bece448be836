//! `image prune`: removing images that nobody uses, and what pulls that ended early have left.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::Image;
use crate::model::job::Kind;
use crate::state::{called, State};
use crate::steps::ctx::Ctx;

/// The kind of a job that removes unused images.
pub const KIND: Kind = Kind { cancellable: false, ..Kind::new("image_prune") };

/// The images to be removed.
#[derive(Debug)]
pub struct ImagePrune {
    /// Those that no container is made of and the configuration does not name.
    pub images: Vec<Image>,
    /// Bytes that pulls have left.
    pub partial: u64,
}

impl ImagePrune {
    /// What could be removed.
    ///
    /// # Errors
    /// [`Code::Config`] while the configuration cannot be read, so that nobody knows what is used.
    pub fn ask(state: &State) -> Result<ImagePrune> {
        if state.config_error.is_some() {
            return Err(Error::new(
                Code::Config,
                "the configuration cannot be read, so nobody knows what is used",
            ));
        }
        Ok(ImagePrune { images: unused(state), partial: state.machine.images.partial()? })
    }

    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.partial == 0
    }

    /// That no job works on images, nor fetches one for a container.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub fn check_idle(state: &State) -> Result<()> {
        let needs_images =
            |job: &&crate::model::job::Job| job.target.is_of_images() || job.kind == super::create::KIND;
        match state.jobs.open().find(needs_images) {
            Some(job) => Err(Error::new(
                Code::Busy,
                format_args!("job {} ({}) may need images; wait for its end", job.id, job.kind),
            )),
            None => Ok(()),
        }
    }
}

fn unused(state: &State) -> Vec<Image> {
    let config = &state.config;
    let is_named = |image: &Image| {
        image.names.iter().any(|name| {
            *name == config.settings.defaults.image
                || config.images.iter().any(|known| known.name == *name)
                || config.containers.values().any(|d| d.spec.as_ref().is_ok_and(|spec| spec.image == *name))
        })
    };
    let is_used = |image: &&Image| is_named(image) || !state.users_of(&image.manifest.sha256).is_empty();
    state.images.iter().filter(|image| !is_used(image)).cloned().collect()
}

impl Operation for ImagePrune {
    /// The images that are gone, and what kept the others.
    type Found = (Vec<Image>, Option<Error>);

    fn about(&self) -> About {
        About::all_images(KIND)
    }

    /// One that cannot be removed does not keep the others.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Self::Found> {
        let mut errors = Vec::new();
        let mut gone = Vec::new();
        for image in std::mem::take(&mut self.images) {
            match machine.images.delete(ctx, &image) {
                Ok(()) => gone.push(image),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(machine.images.remove_partial().err());
        let first = (!errors.is_empty()).then(|| errors.remove(0));
        Ok((gone, first.map(|error| error.with_leftovers(&errors))))
    }

    fn done(self, state: &mut State, (gone, error): Self::Found) -> Result<()> {
        state.read_images();
        for image in gone {
            state.notify_image_removed(&called(&image));
        }
        error.map_or(Ok(()), Err)
    }
}
