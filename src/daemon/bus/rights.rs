//! What the process of the commons gets in the place of what others get.

use super::super::core::{Answer, Core};
use super::codec::{decode, encode, encode_entries};
use super::method::Caller;
use crate::api::replies::{JobList, JobReply};
use crate::api::{CreateOptions, SetOptions, Text, WAIT_MAX};
use crate::error::{Code, Error, Result};
use crate::look;
use crate::model::job::Job;
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::slice::SliceGroup;
use crate::operations::{args, hosting};
use serde::Deserialize;

/// The one argument that [`Grant::If`] looks at.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// A job that is called by its number.
#[derive(Debug, Deserialize)]
struct Numbered {
    id: Text,
    timeout: Option<u32>,
}

/// The container that a call names.
///
/// # Errors
/// [`Code::InvalidArgument`]: it names none.
pub fn named(arguments: &[u8]) -> Result<String> {
    decode(arguments).map(|Named { name }| name)
}

/// A refusal.
pub fn denied(why: std::fmt::Arguments<'_>) -> Error {
    Error::new(Code::PermissionDenied, why)
}

/// Checks that a caller may say so of a container: to which member's slice it belongs says root, or the process of the
/// commons, who then counts it.
///
/// # Errors
/// [`Code::PermissionDenied`].
pub fn check_slice(caller: Caller, said: &OptionValues) -> Result<()> {
    let is_members = said.text("slice").and_then(SliceGroup::parse).is_some();
    if is_members && caller != Caller::Root {
        let why = "slice: only root and the process of the commons may say to which member's slice a container belongs";
        return Err(Error::new(Code::PermissionDenied, why).about("slice"));
    }
    Ok(())
}

/// `container list` of what is hosted.
pub fn list(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let fields = decode::<look::args::List>(arguments)?.fields.unwrap_or_default();
    let mut list = look::list(&core.state, &mut core.readings, &fields);
    let is_hosted = |name: &str| Name::new(name).is_ok_and(|name| core.state.hosted(&name).is_some());
    list.containers.retain(|entry| is_hosted(&entry.name));
    list.orphans.clear();
    list.foreign.clear();
    encode_entries(&list, fields).map(Answer::Fields)
}

/// `container create` of what is to be hosted.
pub fn create(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let (args, CreateOptions(said)): (args::Create, _) = (decode(arguments)?, decode(arguments)?);
    Ok(Answer::Job(core.begin(hosting::create(&core.state, &args, said)?), args.wait))
}

/// `container set` of what is hosted.
pub fn set(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let (args, SetOptions(said)): (args::Set, _) = (decode(arguments)?, decode(arguments)?);
    Ok(Answer::Job(core.begin(hosting::set(&core.state, &args, said)?), args.wait.or(Some(WAIT_MAX))))
}

/// `image pull` of one image, known by its sha256.
pub fn pull(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let args: args::ImagePull = decode(arguments)?;
    Ok(Answer::Job(core.begin(hosting::pull(&core.state, &args)?), args.wait))
}

/// `job list` of its own.
pub fn jobs(core: &mut Core, _: &[u8]) -> Result<Answer> {
    let own = core.state.jobs.iter().filter(|job| job.commons);
    Ok(Answer::Fields(encode(&JobList { jobs: own.map(JobReply::from).collect() })?))
}

/// `job status` of one of its own.
pub fn job_status(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let args: Numbered = decode(arguments)?;
    Ok(Answer::Fields(encode(&JobReply::from(own_job(core, &args.id)?))?))
}

/// `job wait` for one of its own.
pub fn job_wait(core: &mut Core, arguments: &[u8]) -> Result<Answer> {
    let args: Numbered = decode(arguments)?;
    Ok(Answer::WholeJob(own_job(core, &args.id)?.id, args.timeout.unwrap_or(WAIT_MAX)))
}

fn own_job<'a>(core: &'a Core, id: &Text) -> Result<&'a Job> {
    let job = core.state.jobs.find(&id.0)?;
    match job.commons {
        true => Ok(job),
        false => {
            Err(denied(format_args!("job {} is none that the process of the commons has asked for", job.id)))
        }
    }
}
