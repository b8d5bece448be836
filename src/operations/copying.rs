//! What the makers of copies share: a container that stands still while its layer is read, what a copy takes over of the
//! original, and a container made of another one's files.

use super::birth;
use super::undo::Undo;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::address::Address;
use crate::model::image::Image;
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::slice::SliceGroup;
use crate::model::spec::Spec;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::first_boot;
use crate::steps::storage::{Record, Snapshot};
use serde::Deserialize;

/// `cloudbox.container snapshot`, `restore` and `snapshot_delete`
#[derive(Debug, Deserialize)]
pub struct SnapshotArgs {
    /// The container's name.
    pub name: String,
    /// The snapshot's name; a new one is called by the time when nothing is said.
    pub snapshot: Option<String>,
    /// Restore it also when the container is running: it is killed and started again.
    pub force: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// What a copy of the container shall be: what it is, but for what is its own.
pub fn spec_of_copy(state: &State, name: &Name, made: &Spec) -> Spec {
    let mut spec = state.declared_spec(name).unwrap_or(made).for_start(made);
    // What was run once is not run again.
    if first_boot::status(&state.layout.container(name)).is_some() {
        spec.first_boot.clear();
    }
    spec
}

/// A spec without what a container has for itself: its address it gets by DHCP, until somebody gives it one.
pub fn as_newcomer(mut spec: Spec) -> Spec {
    (spec.address, spec.gateway) = (Address::Dhcp, None);
    spec.hostname.clear();
    // A copy is the owner's: no member has asked for it, and on nobody's account it counts.
    if SliceGroup::parse(&spec.slice).is_some() {
        spec.slice.clear();
        spec.peer.clear();
    }
    spec
}

/// The snapshot that a call names, if it names one.
///
/// # Errors
/// There is none of that name.
pub fn named_snapshot(state: &State, name: &Name, called: Option<&str>) -> Result<Option<Snapshot>> {
    match called.unwrap_or_default() {
        "" => Ok(None),
        text => state.machine.storage.find_snapshot(name, &Name::of_snapshot(text)?).map(Some),
    }
}

/// Does `work` while the container, if it is `running`, stands still: its processes are frozen, and with a quota its
/// file system is at rest. It goes on whatever comes of the work; also after a crash, when the daemon starts again.
///
/// # Errors
/// Those of `work`, or it cannot be held or let go.
pub fn held(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    running: bool,
    work: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    if !running {
        return work();
    }
    let name = &record.name;
    // One that its owner has frozen stays frozen; one that we could not let go does not.
    let ours = machine.storage.held().contains(&(name.clone(), true));
    let freeze = ours || !machine.runtime.is_frozen(name);
    let hold = || {
        ctx.step("held.note")?;
        machine.storage.note_held(name, freeze)?;
        ctx.step("held.flush")?;
        machine.storage.flush_layer(record)?;
        ctx.step("held.freeze")?;
        if freeze {
            machine.runtime.freeze(ctx, name)?;
        }
        machine.storage.hold_layer(record)
    };
    let done = hold().and_then(|()| work());
    let point = crate::fault::point("held.thaw");
    let left: Vec<Error> =
        [point, let_go(machine, name, freeze)].into_iter().filter_map(Result::err).collect();
    match (done, left.first()) {
        (Ok(()), Some(error)) => Err(error.clone()),
        (done, _) => done.map_err(|error| error.with_leftovers(&left)),
    }
}

/// Lets a container go on that was held.
///
/// # Errors
/// When the kernel refuses; the rest is done all the same.
pub fn let_go(machine: &Machine, name: &Name, frozen: bool) -> Result<()> {
    let layer = machine.storage.let_layer_go(name);
    let thawed = if frozen { machine.runtime.thaw(name) } else { Ok(()) };
    // The note goes last: until then a daemon that starts after a crash does all of it.
    layer.and(thawed).and_then(|()| machine.storage.forget_held(name))
}

/// Makes the container `record`, whose layer `fill` brings, and which was `was` before.
///
/// Its section comes first, as one that is to be deleted: after a crash the daemon clears away what is half made. Taking
/// that back is what brings the container into being.
///
/// # Errors
/// What a step refused; nothing of the container is left.
pub fn make(
    machine: &Machine,
    ctx: &Ctx,
    record: &Record,
    was: &Record,
    fill: &mut dyn FnMut() -> Result<()>,
) -> Result<Made> {
    let mut undo = Undo::default();
    let built = build(machine, ctx, record, was, fill, &mut undo);
    undo.unless_good(built)?;
    Ok(Made { record: Box::new(record.clone()), live: None })
}

fn build<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    record: &'a Record,
    was: &Record,
    fill: &mut dyn FnMut() -> Result<()>,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let name = &record.name;
    ctx.step("copy.config")?;
    let mut section = OptionValues::of(&record.spec);
    section.put("deleting", "1");
    machine.config.add_container(name, &section)?;
    undo.push(move || machine.config.remove_container(name, true));
    undo.push(move || machine.storage.discard(name));
    machine.storage.build(ctx, record)?;
    fill()?;
    ctx.step("copy.mount")?;
    birth::mount_unborn(machine, name, record, undo)?;
    ctx.step("copy.identity")?;
    machine.storage.write_identity(record, was)?;
    birth::unmount(machine, name)?;
    ctx.step("copy.name")?;
    birth::give_name(machine, name, undo)?;
    ctx.step("copy.done")?;
    machine.config.change(name, &[("deleting", None)]).map(drop)
}

/// A container could not be made of an image that was made for it: the image goes, too.
pub fn without_image(machine: &Machine, image: &Image, error: Error) -> Error {
    // A cancelled job's context would not let it begin.
    let left = Ctx::silent().and_then(|ctx| machine.images.delete(&ctx, image)).err();
    error.with_leftovers(left.as_slice())
}

/// A copy could not be made: its section, which a reload may have seen, went with it.
pub fn forget_copy(state: &mut State, name: &Name) {
    if !state.containers.contains_key(name) {
        state.config.containers.remove(name);
    }
}
