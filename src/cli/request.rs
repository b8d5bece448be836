//! Calls, made of a command's typed arguments. What the values mean is the daemon's to judge: nothing is checked here
//! that it checks.

use super::failure::Failure;
use crate::api::WAIT_MAX;
use openwrt_ubus::to_fields;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The bus objects.
pub const BOX: &str = "cloudbox";
pub const CONTAINER: &str = "cloudbox.container";
pub const IMAGE: &str = "cloudbox.image";
pub const SERVICE: &str = "cloudbox.service";
pub const JOB: &str = "cloudbox.job";

/// How long a reply may take: as long as `ubus call` waits.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a reply may take beyond the time that was asked for.
const MARGIN: Duration = Duration::from_secs(5);

/// A call to be made.
#[derive(Debug)]
pub struct Request {
    /// Path of the object.
    pub object: String,
    /// The method.
    pub method: String,
    /// Its encoded arguments.
    pub fields: Vec<u8>,
    /// How long the reply may take.
    pub patience: Duration,
}

impl Request {
    /// A call with the fields of `arguments`. Those that are `None` are left out.
    ///
    /// # Errors
    /// They cannot be sent: more than 1 MiB, or a NUL inside a text.
    pub fn new(object: &str, method: &str, arguments: &impl Serialize) -> Result<Request, Failure> {
        let fields = to_fields(arguments).map_err(|error| Failure::usage(format_args!("{error}")))?;
        Ok(Request { object: object.into(), method: method.into(), fields, patience: PATIENCE })
    }

    /// As [`Request::new`], about the thing called `name`.
    ///
    /// # Errors
    /// As there.
    pub fn about(
        name: &str,
        object: &str,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<Request, Failure> {
        let mut request = Request::new(object, method, &Named { name })?;
        request.fields.extend(Request::new(object, method, arguments)?.fields);
        Ok(request)
    }

    /// One whose reply comes after `seconds` at the latest.
    pub fn taking(mut self, seconds: u32) -> Request {
        self.patience = Duration::from_secs(seconds.into()) + MARGIN;
        self
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

/// Of all containers the names and the `wanted` fields; everything, if none are wanted in particular.
pub fn container_list(wanted: Option<&[&str]>) -> Result<Request, Failure> {
    #[derive(Serialize)]
    struct List<'a> {
        fields: Option<&'a [&'a str]>,
    }
    Request::new(CONTAINER, "list", &List { fields: wanted })
}

/// What `info` tells of container `name`.
pub fn container_info(name: &str) -> Result<Request, Failure> {
    Request::new(CONTAINER, "info", &Named { name })
}

/// One slice of waiting for job `id`, of `seconds` at most.
pub fn job_wait(id: &str, seconds: u32) -> Result<Request, Failure> {
    #[derive(Serialize)]
    struct Wait<'a> {
        id: &'a str,
        timeout: u32,
    }
    let timeout = seconds.min(WAIT_MAX);
    Ok(Request::new(JOB, "wait", &Wait { id, timeout })?.taking(timeout))
}

/// A flag is sent when it was given, and left out otherwise.
pub fn if_given<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    flag.then_some(true).serialize(serializer)
}

/// A flag that says no, `--no-start`, is sent as `"start": false` when it was given, and left out otherwise.
pub fn negated<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    flag.then_some(false).serialize(serializer)
}
