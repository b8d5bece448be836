//! What the process of the commons may have done with containers. It is a client like others, but what it says is never the
//! last word about where a stranger's container is, what that may, and how much of the box it has.

use super::{args, Create, ImagePull, Set};
use crate::error::{quoted, Code, Error, Result};
use crate::model::image::{name_by_hash, parse_sha256};
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::slice::SliceGroup;
use crate::state::State;

/// What it may say of a container that is made. All else is the box's: which bridge, which isolation, which limits there are
/// beside these.
const CREATE: [&str; 9] =
    ["image", "memory", "cpus", "disk", "autostart", "authorized_keys", "services", "first_boot", "slice"];

/// What it may change.
const SET: [&str; 4] = ["memory", "cpus", "disk", "autostart"];

/// A container of a member's slice that is to be made.
///
/// # Errors
/// As [`Create::ask`]; [`Code::PermissionDenied`] for what is not the process' to say, or where nobody answers for the
/// member; [`Code::Quota`].
pub fn create(state: &State, args: &args::Create, mut said: OptionValues) -> Result<Create> {
    state.check_hosting()?;
    check_listed(&said, &CREATE)?;
    let name = Name::new(&args.name)?;
    let text = said.text("slice").unwrap_or_default();
    let Some(group) = SliceGroup::parse(text) else {
        let why = format!("slice {}: write <member>/<slice>/<group>", quoted(text));
        return Err(Error::new(Code::InvalidArgument, why).about("slice"));
    };
    if !group.may_be_called(&name) {
        let why = format!(
            "{name} is no name of a container of {text}; call it {}-{}- and six letters or digits",
            group.slice, group.group
        );
        return Err(Error::new(Code::InvalidName, why));
    }
    if let Some(peer) = args.peer.as_deref().filter(|peer| !peer.is_empty()) {
        said.put("peer", peer);
    }
    let sha256 = image(state, said.text("image").unwrap_or_default())?;
    said.put("image", &name_by_hash(&sha256));
    force(state, &mut said);
    let defaults = &state.config.settings.defaults;
    let spec = said.resolve(defaults)?;
    check_disk(spec.disk.is_some())?;
    let may_publish = state.may_publish(&spec)?;
    if !may_publish && args.publish.as_ref().is_some_and(|services| !services.is_empty()) {
        let why = "publish: the peer who answers for it may announce nothing on this box (`option publish`)";
        return Err(Error::new(Code::PermissionDenied, why).about("publish"));
    }
    said.put("advertise", if may_publish { "1" } else { "0" });
    let active = args.start.unwrap_or(true) || spec.autostart;
    state.admit_hosted(&name, &spec, active)?;
    let create = Create::ask(state, args, said)?;
    if create.record.image_sha256 != sha256 {
        // Its owner has given that name to another one.
        let why = format!("{} is the name of another image on this box", name_by_hash(&sha256));
        return Err(Error::new(Code::Exists, why).about("image"));
    }
    Ok(create)
}

/// A container of a slice that is to be changed.
///
/// # Errors
/// As [`Set::ask`], and as [`create`].
pub fn set(state: &State, args: &args::Set, mut said: OptionValues) -> Result<Set> {
    let name = own(state, &args.name)?;
    check_listed(&said, &SET)?;
    let before = state.changeable(&name)?.spec.clone()?;
    if said.is_empty() {
        return Err(Error::new(
            Code::InvalidArgument,
            format_args!("there is nothing to change; give {}", list(&SET)),
        ));
    }
    force(state, &mut said);
    let spec = said.apply(before)?;
    check_disk(spec.disk.is_some())?;
    state.admit_hosted(&name, &spec, spec.autostart || state.runs(&name))?;
    Set::ask(state, args, &said)
}

/// Checks that a container of a slice may run.
///
/// # Errors
/// As [`create`].
pub fn check_start(state: &State, name: &str) -> Result<()> {
    let name = own(state, name)?;
    state.check_hosting()?;
    match state.declared_spec(&name) {
        Some(spec) => state.admit_hosted(&name, spec, true),
        // What is wrong with its section, the start itself says.
        None => Ok(()),
    }
}

/// An image that is to be fetched: exactly one, known by its sha256.
///
/// # Errors
/// As [`ImagePull::ask`]; [`Code::InvalidArgument`] without a sha256.
pub fn pull(state: &State, args: &args::ImagePull) -> Result<ImagePull> {
    state.check_hosting()?;
    let sha256 = parse_sha256(args.sha256.as_deref().unwrap_or_default()).map_err(|e| e.about("sha256"))?;
    ImagePull::by_hash(state, args, &sha256)
}

/// The name of a container that is of a slice.
///
/// # Errors
/// [`Code::PermissionDenied`] for another one, [`Code::NotFound`].
fn own(state: &State, name: &str) -> Result<Name> {
    let name = Name::new(name)?;
    if state.hosted(&name).is_some() {
        return Ok(name);
    }
    state.check_known(&name)?;
    let why = format!("container {name} is of no member's slice: it is the box's owner's alone");
    Err(Error::new(Code::PermissionDenied, why))
}

/// Checks that a container is of a slice.
///
/// # Errors
/// [`Code::PermissionDenied`] for another one, [`Code::NotFound`].
pub fn check_own(state: &State, name: &str) -> Result<()> {
    own(state, name).map(drop)
}

/// The sha256 of an image, which must be here.
fn image(state: &State, sha256: &str) -> Result<String> {
    let sha256 = parse_sha256(sha256).map_err(|e| e.about("image"))?;
    if state.images.iter().any(|image| image.manifest.sha256 == sha256) {
        // It may be about to go.
        return state.check_idle_image(&name_by_hash(&sha256)).map(|()| sha256);
    }
    let why = format!("there is no image {sha256} on this box; pull it first");
    Err(Error::new(Code::NotFound, why).about("image"))
}

/// Where a stranger's container is, and what it can send, the box's owner says.
fn force(state: &State, said: &mut OptionValues) {
    said.put("bridge", &state.config.settings.commons.bridge);
    said.put("isolate", "1");
}

/// Without a quota nobody could tell how much of the disk it takes.
fn check_disk(has_quota: bool) -> Result<()> {
    match has_quota {
        true => Ok(()),
        false => {
            let why = "disk none: a container of a slice has a quota; give a size, such as 1G";
            Err(Error::new(Code::InvalidArgument, why).about("disk"))
        }
    }
}

fn check_listed(said: &OptionValues, listed: &[&str]) -> Result<()> {
    match said.iter().find(|(option, ..)| !listed.contains(option)) {
        None => Ok(()),
        Some((option, ..)) => {
            let why = format!("{option} is not for the commons to say, only {}", list(listed));
            Err(Error::new(Code::PermissionDenied, why).about(option))
        }
    }
}

fn list(options: &[&str]) -> String {
    match options.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
