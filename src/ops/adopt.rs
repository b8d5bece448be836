//! Taking in what stands apart: containers without a section, and those of other tools.

use super::{create, Create, Made};
use crate::error::Result;
use crate::machine::Machine;
use crate::model::name::{ImageName, Name};
use crate::model::spec::Asked;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Foreign;
use crate::steps::storage::Record;

/// Gives a container without a section one that says what is known of it.
///
/// # Errors
/// The file's.
pub fn adopt(machine: &Machine, ctx: &Ctx, record: &Record) -> Result<()> {
    ctx.step("adopt.config")?;
    machine.config.add_container(&record.name, &Asked::of(&record.spec))
}

/// A container of another tool that is to be taken over.
#[derive(Debug)]
pub struct TakeOver {
    /// It.
    pub foreign: Foreign,
    /// The record of the container it becomes; what is of the image is found out.
    pub record: Box<Record>,
    /// What its section shall say.
    pub asked: Asked,
}

/// Makes an image of its root, and a container of the image, which is not started. Fails whole; the original is never
/// touched.
///
/// # Errors
/// Any step's.
pub fn take_over(machine: &Machine, ctx: &Ctx, what: &TakeOver) -> Result<Made> {
    let name: &ImageName = &what.record.spec.image;
    ctx.step("adopt.look")?;
    let root = machine.runtime.open_foreign(ctx, &what.foreign)?;
    let packed = machine.images.pack(ctx, root.path(), name);
    drop(root);
    let image = packed?;
    let mut record = what.record.clone();
    record.image_sha256.clone_from(&image.manifest.sha256);
    record.init = image.manifest.init;
    let made = Create { record, pull: None, asked: Some(what.asked.clone()), start: false };
    create(machine, ctx, &made).map_err(|error| {
        // A cancelled job's context would not let it begin.
        let undone = Ctx::silent().and_then(|ctx| machine.images.delete(&ctx, &image)).err();
        error.with_leftovers(undone.as_slice())
    })
}

/// Removes what a container left that was half made or half removed.
///
/// # Errors
/// What could not be removed.
pub fn prune(machine: &Machine, ctx: &Ctx, name: &Name) -> Result<()> {
    ctx.step("prune.erase")?;
    machine.storage.discard(name)?;
    machine.storage.erase(name)
}
