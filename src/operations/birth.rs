//! What the making of a container and of a copy have in common: its root is mounted, and it gets its name.

use super::undo::Undo;
use crate::error::Result;
use crate::machine::Machine;
use crate::model::name::Name;
use crate::steps::storage::{Record, Stage};

/// Mounts the root of `record`'s container, which is to be called `name` and has no name yet.
///
/// # Errors
/// What a step refused; `undo` takes back what was done.
pub fn mount_unborn<'a>(
    machine: &'a Machine,
    name: &'a Name,
    record: &Record,
    undo: &mut Undo<'a>,
) -> Result<()> {
    undo.push(move || machine.release_image(name));
    let image = machine.hold_image(name, &record.image_sha256)?;
    machine.storage.mount(record, Stage::Unborn, &image)
}

/// Unmounts it again: it does not run yet.
///
/// # Errors
/// As [`mount_unborn`].
pub fn unmount(machine: &Machine, name: &Name) -> Result<()> {
    machine.storage.unmount(name)?;
    machine.release_image(name)
}

/// Gives what was built its name.
///
/// # Errors
/// As [`mount_unborn`].
pub fn give_name<'a>(machine: &'a Machine, name: &'a Name, undo: &mut Undo<'a>) -> Result<()> {
    machine.storage.give_name(name)?;
    undo.push(move || {
        machine.storage.take_name(name)?;
        machine.storage.erase(name)
    });
    Ok(())
}
