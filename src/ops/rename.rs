//! Giving a container another name.

use super::undo::Undo;
use crate::error::Result;
use crate::machine::Machine;
use crate::model::name::Name;
use crate::steps::config::RENAMING;
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;

/// Gives the stopped container of `record`, whose section is called after `name`, another name. Returns its record.
///
/// The intent is recorded first, so that after a crash at any later step the daemon finishes the work; a directory
/// without its section, or a section without its directory, would look like something else.
///
/// # Errors
/// Any step's; it has its name then.
pub fn rename(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    name: &Name,
    new_name: &Name,
) -> Result<Box<Record>> {
    let mut undo = Undo::default();
    match give_name(machine, ctx, record, name, new_name, &mut undo) {
        Ok(record) => {
            undo.disarm();
            Ok(record)
        }
        Err(error) => Err(undo.unwind(error)),
    }
}

fn give_name<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    record: &'a Record,
    name: &'a Name,
    new_name: &'a Name,
    undo: &mut Undo<'a>,
) -> Result<Box<Record>> {
    ctx.step("rename.intent")?;
    undo.push(move || machine.config.change(name, &[(RENAMING, None)]).map(drop));
    machine.config.change(name, &[(RENAMING, Some(new_name.to_string()))])?;
    ctx.step("rename.name")?;
    let (back, renamed) = (record.clone().called(name), record.clone().called(new_name));
    undo.push(move || machine.storage.save_record(&back));
    undo.push(move || machine.storage.rename(new_name, name));
    machine.storage.rename(name, new_name)?;
    ctx.step("rename.record")?;
    machine.storage.save_record(&renamed)?;
    ctx.step("rename.config")?;
    undo.push(move || machine.config.rename_container(new_name, name));
    machine.config.rename_container(name, new_name)?;
    Ok(Box::new(renamed))
}
