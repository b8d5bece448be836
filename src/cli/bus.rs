//! The connection to the daemon, and what a call that fails means to a person.

use super::failure::{Failure, REFUSED, TIMEOUT, UNREACHABLE};
use super::request::{Handed, Request};
use super::view::View;
use crate::error::os_text;
use openwrt_ubus::client::{CallError, Client};
use openwrt_ubus::conn::{Reply, DEFAULT_SOCKET};
use openwrt_ubus::Status;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What commands work with.
pub struct Context {
    socket: PathBuf,
    client: Option<Client>,
    /// Whether replies are printed as JSON.
    pub json: bool,
}

impl Context {
    /// Connects when first needed.
    pub fn new(socket: PathBuf, json: bool) -> Context {
        Context { socket, client: None, json }
    }

    /// The connection.
    ///
    /// # Errors
    /// Nobody listens on the socket.
    pub fn client(&mut self) -> Result<&mut Client, Failure> {
        match self.client {
            Some(ref mut client) => Ok(client),
            None => {
                let client = Client::connect(&self.socket).map_err(|error| self.unreachable(&error))?;
                Ok(self.client.insert(client))
            }
        }
    }

    /// Makes a call and returns the reply's fields.
    ///
    /// # Errors
    /// As [`failure`], and when the bus cannot be reached.
    pub fn call(&mut self, request: &Request) -> Result<Vec<u8>, Failure> {
        let file = request.file.as_ref().map(Handed::open).transpose()?;
        let Request { object, method, fields, patience, .. } = request;
        let called = match self.client() {
            Ok(client) => match client.call_with(object, method, fields, file, *patience) {
                Ok(reply) => Ok(reply.data),
                Err(CallError::Failed(reply)) => Err(failure(request, reply)),
                Err(CallError::Io(error)) => Err(self.unreachable(&error)),
                Err(error) => Err(Failure::new(UNREACHABLE, error)),
            },
            Err(unreachable) => Err(unreachable),
        };
        called.inspect_err(|_| request.file.iter().for_each(Handed::take_back))
    }

    /// Forgets a connection that has ended.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    /// The failure of a socket.
    pub fn unreachable(&self, error: &io::Error) -> Failure {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "try as root",
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "try again",
            _ => "is ubusd running? --socket or UBUS_SOCKET names another socket",
        };
        let why = format!("cannot reach ubusd on {}: {}; {remedy}", self.socket.display(), os_text(error));
        Failure::new(UNREACHABLE, why)
    }
}

/// Where ubusd listens: as the option says, or the environment, or where it always does.
pub fn socket(option: Option<&Path>) -> PathBuf {
    match (option, std::env::var_os("UBUS_SOCKET")) {
        (Some(path), _) => path.to_path_buf(),
        (None, Some(path)) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from(DEFAULT_SOCKET),
    }
}

/// What a reply with a bad status means.
pub fn failure(request: &Request, reply: Reply) -> Failure {
    if let Some(failure) = told(&reply.data, &View::new(&reply.data)) {
        return failure;
    }
    let Request { object, method, patience, .. } = request;
    let ours = object == "cloudbox" || object.starts_with("cloudbox.");
    let status = reply.status;
    let (exit, message) = match status {
        Status::NOT_FOUND if !reply.from_callee && ours => (UNREACHABLE, daemon_missing()),
        Status::NOT_FOUND if !reply.from_callee => {
            (REFUSED, format!("there is no object {object} on the bus; `ubus list` shows all"))
        }
        Status::METHOD_NOT_FOUND => {
            (REFUSED, format!("{object} has no method {method}; is the daemon older?"))
        }
        Status::PERMISSION_DENIED if !reply.from_callee => {
            (REFUSED, format!("{object} {method} is not for you to call; try as root"))
        }
        Status::TIMEOUT => (TIMEOUT, format!("{object} {method}: no answer in {} s", patience.as_secs())),
        Status::CONNECTION_FAILED => {
            (UNREACHABLE, "the connection to ubusd has ended; try again".to_string())
        }
        _ => (REFUSED, format!("{object} {method}: {} (status {})", status.text(), status.0)),
    };
    Failure { exit, message, reply: reply.data }
}

/// The error in a reply or in a job, as the daemon told it.
pub fn told(reply: &[u8], place: &View<'_>) -> Option<Failure> {
    let error = place.table("error")?;
    let message = match error.text("message") {
        message if message.is_empty() => error.text("code"),
        message => message,
    };
    let exit = if error.raw("code") == "timeout" { TIMEOUT } else { REFUSED };
    Some(Failure { exit, message, reply: reply.to_vec() })
}

/// The failure of a bus without our daemon.
fn daemon_missing() -> String {
    let hint = if nix::unistd::geteuid().is_root() { "" } else { ", or try as root" };
    format!("the cloudbox daemon is not on the bus; start it by `/etc/init.d/cloudbox start`{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::blobmsg::Builder;

    #[test]
    fn failures_tell_what_to_do() {
        let status = |object: &str, status, from_callee| {
            let request = Request::new(object, "m", &()).unwrap();
            let failure = failure(&request, Reply { status, data: Vec::new(), from_callee });
            (failure.exit, failure.message.clone())
        };
        let (exit, message) = status("cloudbox.container", Status::NOT_FOUND, false);
        assert_eq!(exit, UNREACHABLE);
        assert!(message.contains("/etc/init.d/cloudbox start"), "{message}");
        assert_eq!(status("cloudboxes", Status::NOT_FOUND, false).0, REFUSED);
        assert_eq!(status("cloudbox", Status::NOT_FOUND, true).0, REFUSED);
        assert_eq!(
            status("cloudbox", Status::TIMEOUT, false),
            (TIMEOUT, "cloudbox m: no answer in 30 s".into())
        );
        assert_eq!(status("cloudbox", Status::CONNECTION_FAILED, false).0, UNREACHABLE);
    }

    #[test]
    fn the_daemons_own_words_go_first() {
        for (code, exit) in [("exists", REFUSED), ("timeout", TIMEOUT)] {
            let mut fields = Builder::new();
            fields.table("error", |error| {
                error.str("code", code).str("message", "a container named web already exists");
            });
            let data = fields.finish().unwrap();
            let request = Request::new("cloudbox", "m", &()).unwrap();
            let reply = Reply { status: Status::UNKNOWN_ERROR, data: data.clone(), from_callee: true };
            let failure = failure(&request, reply);
            assert_eq!(
                failure,
                Failure { exit, message: "a container named web already exists".into(), reply: data }
            );
        }
    }
}
