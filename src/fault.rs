//! Faults injected by tests. Without the feature `faults` every point is empty and costs nothing.
//!
//! `CLOUDBOX_FAULT` says what happens at which point: `kill:create.mount` ends the daemon as `kill -9` would,
//! `fail:create.mount` makes the step fail. `CLOUDBOX_FAULT_TRACE` names a file to which every point passed is
//! appended, so that a test learns which points there are.

use crate::error::Result;

/// A point just before a change of the system.
///
/// # Errors
/// Only an injected one.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_name: &str) -> Result<()> {
    Ok(())
}

/// A point just before a change of the system.
///
/// # Errors
/// The injected one.
#[cfg(feature = "faults")]
pub fn point(name: &str) -> Result<()> {
    use crate::error::{Code, Error};
    use std::io::Write;

    if let Ok(path) = std::env::var("CLOUDBOX_FAULT_TRACE") {
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let _ = writeln!(file, "{name}");
        }
    }
    let Ok(fault) = std::env::var("CLOUDBOX_FAULT") else { return Ok(()) };
    match fault.split_once(':') {
        Some(("kill", at)) if at == name => {
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
            Ok(())
        }
        Some(("fail", at)) if at == name => {
            Err(Error::new(Code::Failed, format_args!("injected fault at {name}")))
        }
        _ => Ok(()),
    }
}
