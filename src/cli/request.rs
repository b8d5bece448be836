//! Calls, made of a command's typed arguments. What the values mean is the daemon's to judge: nothing is checked here
//! that it checks.

use super::failure::Failure;
use crate::api::WAIT_MAX;
use crate::error::{os_text, quoted};
use nix::fcntl::OFlag;
use openwrt_ubus::to_fields;
use serde::{Serialize, Serializer};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// The bus objects.
pub const BOX: &str = "cloudbox";
pub const CONTAINER: &str = "cloudbox.container";
pub const IMAGE: &str = "cloudbox.image";
pub const SERVICE: &str = "cloudbox.service";
pub const JOB: &str = "cloudbox.job";
pub const COMMONS: &str = "cloudbox.commons";
pub const SLICE: &str = "cloudbox.slice";

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
    /// The file that goes along with it.
    pub file: Option<Handed>,
}

/// A file that is opened with the rights of whoever typed the command, and handed over: the daemon's own rights are of
/// no account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// One that is there, to be read.
    Read(PathBuf),
    /// One that is not there yet, to be written.
    New(PathBuf),
}

impl Handed {
    /// Opens it.
    ///
    /// # Errors
    /// As open(2), or it is no regular file.
    pub fn open(&self) -> Result<OwnedFd, Failure> {
        match self {
            Handed::Read(path) => {
                let wrong = |why: &str| {
                    Failure::refusal(format_args!("cannot read {}: {why}", quoted(&path.to_string_lossy())))
                };
                // A pipe would make us wait.
                let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
                let file = File::options().read(true).custom_flags(flags.bits()).open(path);
                let file = file.map_err(|e| wrong(&os_text(&e)))?;
                match file.metadata().is_ok_and(|meta| meta.is_file()) {
                    true => Ok(file.into()),
                    false => Err(wrong("it is no regular file")),
                }
            }
            Handed::New(path) => {
                let file = File::options().write(true).create_new(true).mode(0o600).open(path);
                let file = file.map_err(|e| {
                    let shown = quoted(&path.to_string_lossy());
                    Failure::refusal(match e.kind() {
                        ErrorKind::AlreadyExists => {
                            format!("{shown} is there already; choose another name, or remove it first")
                        }
                        _ => format!("cannot write {shown}: {}", os_text(&e)),
                    })
                });
                Ok(file?.into())
            }
        }
    }

    /// Removes what was made for a call that has failed.
    pub fn take_back(&self) {
        if let Handed::New(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Request {
    /// A call with the fields of `arguments`. Those that are `None` are left out.
    ///
    /// # Errors
    /// They cannot be sent: more than 1 MiB, or a NUL inside a text.
    pub fn new(object: &str, method: &str, arguments: &impl Serialize) -> Result<Request, Failure> {
        let fields = to_fields(arguments).map_err(Failure::usage)?;
        Ok(Request { object: object.into(), method: method.into(), fields, patience: PATIENCE, file: None })
    }

    /// One whose reply comes after `seconds` at the latest.
    pub fn taking(mut self, seconds: u32) -> Request {
        self.patience = Duration::from_secs(seconds.into()) + MARGIN;
        self
    }
}

/// The arguments of a method on the thing called `name`.
#[derive(Serialize)]
pub struct NameAnd<'a, T> {
    pub name: &'a str,
    #[serde(flatten)]
    pub options: T,
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
    Request::new(CONTAINER, "info", &NameAnd { name, options: () })
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

/// Several lists are sent as one, and left out when there are none.
pub fn as_one_list<S: Serializer>(lists: &[Vec<String>], serializer: S) -> Result<S::Ok, S::Error> {
    (!lists.is_empty()).then(|| lists.concat()).serialize(serializer)
}

/// A flag is sent when it was given, and left out otherwise.
pub fn if_given<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    flag.then_some(true).serialize(serializer)
}

/// A flag that says no, `--no-start`, is sent as `"start": false` when it was given, and left out otherwise.
pub fn negated<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    flag.then_some(false).serialize(serializer)
}
