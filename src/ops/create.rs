//! Making a container.

use super::run::start_mounted;
use super::undo::Undo;
use super::Made;
use crate::error::Result;
use crate::machine::{guest_network, Machine};
use crate::model::image_source::ImageSource;
use crate::model::name::Name;
use crate::model::spec::Asked;
use crate::steps::ctx::Ctx;
use crate::steps::storage::{Record, Stage};

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Create {
    /// The container's record; of its image, what is pulled tells.
    pub record: Box<Record>,
    /// Where to get the image it is made from; None when that is here.
    pub pull: Option<ImageSource>,
    /// What its section shall say; None when the section is there already.
    pub asked: Option<Asked>,
    /// Start it.
    pub start: bool,
}

/// Makes the container, and starts it if that was asked for. Fails whole: nothing of it is left then.
///
/// The section comes first. It is the record of intent: after a crash the daemon finds it and makes the container anew,
/// going on with the pull of its image where that was.
///
/// # Errors
/// Any step's.
pub fn create(machine: &Machine, ctx: &Ctx, what: &Create) -> Result<Made> {
    let mut undo = Undo::default();
    match make(machine, ctx, what, &mut undo) {
        Ok(made) => {
            undo.disarm();
            Ok(made)
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

fn make<'a>(machine: &'a Machine, ctx: &Ctx, what: &'a Create, undo: &mut Undo<'a>) -> Result<Made> {
    let mut record = what.record.clone();
    let name: &Name = &what.record.name;
    let network = guest_network(machine, &record.spec)?;
    if what.start {
        machine.network.check_bridge(&record.spec.bridge)?;
    }
    if let Some(asked) = &what.asked {
        ctx.step("create.config")?;
        machine.config.add_container(name, asked)?;
        undo.push(move || machine.config.remove_container(name, false));
    }
    if let Some(source) = &what.pull {
        let image = machine.images.pull(ctx, source)?;
        image.check_services(&record.spec)?;
        (record.image_sha256, record.init) = (image.manifest.sha256, image.manifest.init);
    }
    let record = &*record;
    undo.push(move || machine.storage.discard(name));
    machine.storage.build(ctx, record)?;

    ctx.step("create.mount")?;
    undo.push(move || machine.release_image(name));
    let image = machine.hold_image(name, &record.image_sha256)?;
    machine.storage.mount(record, Stage::Unborn, &image)?;
    ctx.step("create.guest_files")?;
    machine.storage.write_guest_files(record, &network)?;
    if !what.start {
        machine.storage.unmount(name)?;
        machine.release_image(name)?;
    }

    ctx.step("create.name")?;
    machine.storage.give_name(name)?;
    undo.push(move || {
        machine.storage.take_name(name)?;
        machine.storage.erase(name)
    });
    ctx.step("create.named")?;
    let live = what.start.then(|| start_mounted(machine, ctx, record, network.gateway)).transpose()?;
    Ok(Made { record: Box::new(record.clone()), live })
}
