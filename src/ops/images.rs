//! Removing images that nobody uses.

use crate::error::Error;
use crate::machine::Machine;
use crate::model::image::Image;
use crate::steps::ctx::Ctx;

/// Removes `images`, and what pulls that ended early have left. Returns those that are gone; one that cannot be removed
/// does not keep the others.
pub fn prune_images(machine: &Machine, ctx: &Ctx, images: Vec<Image>) -> (Vec<Image>, Option<Error>) {
    let mut errors = Vec::new();
    let mut gone = Vec::new();
    for image in images {
        match machine.images.delete(ctx, &image) {
            Ok(()) => gone.push(image),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(machine.images.remove_partial().err());
    let first = (!errors.is_empty()).then(|| errors.remove(0));
    (gone, first.map(|error| error.with_leftovers(&errors)))
}
