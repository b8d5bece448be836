//! Removing a container.

use crate::error::Result;
use crate::machine::Machine;
use crate::model::image::Init;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Stop;

/// Removes a container with all its data; what runs of it is killed.
///
/// The intent is recorded first, so that after a crash at any later step the daemon finishes the work. From there on a
/// cancel is not heard any more.
///
/// # Errors
/// Any step's; the container is then gone in part, and the daemon goes on with it at its next start or the next call.
pub fn delete(machine: &Machine, ctx: &Ctx, name: &Name, init: Init) -> Result<()> {
    ctx.step("delete.intent")?;
    machine.config.mark_deleting(name)?;
    ctx.step("delete.stop")?;
    machine.runtime.stop(ctx, name, init, Stop::Kill)?;
    ctx.step("delete.unmount")?;
    machine.storage.unmount(name)?;
    machine.release_image(name)?;
    ctx.step("delete.name")?;
    machine.storage.take_name(name)?;
    ctx.step("delete.config")?;
    machine.config.remove_container(name, true)?;
    ctx.step("delete.erase")?;
    machine.storage.erase(name)
}
