//! How a command ends badly: an exit code and a sentence.

use super::text::visible;
use crate::error::Error;
use std::fmt;
use std::io::Write;
use std::ops::{Deref, DerefMut};

/// Everything went well.
pub const OK: u8 = 0;
/// The daemon refused, or a job failed.
pub const REFUSED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// ubusd or the daemon cannot be reached.
pub const UNREACHABLE: u8 = 3;
/// It took too long.
pub const TIMEOUT: u8 = 124;

/// Why a command ends badly. One word, since it travels through many `?`.
#[derive(Debug, PartialEq)]
pub struct Failure(Box<Ending>);

/// An exit code, a sentence, and the reply that told it.
#[derive(Debug, PartialEq)]
pub struct Ending {
    /// One of the constants above.
    pub exit: u8,
    /// What went wrong, and what to do about it.
    pub message: String,
    /// Encoded fields, printed with `--json`.
    pub reply: Vec<u8>,
}

impl Failure {
    pub fn new(exit: u8, message: fmt::Arguments<'_>) -> Failure {
        Failure::with_reply(exit, message.to_string(), Vec::new())
    }

    pub fn with_reply(exit: u8, message: String, reply: Vec<u8>) -> Failure {
        Failure(Box::new(Ending { exit, message, reply }))
    }

    pub fn usage(message: fmt::Arguments<'_>) -> Failure {
        Failure::new(USAGE, message)
    }

    pub fn refused(error: Error) -> Failure {
        Failure::with_reply(REFUSED, error.into_message(), Vec::new())
    }
}

impl Deref for Failure {
    type Target = Ending;

    fn deref(&self) -> &Ending {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Ending {
        &mut self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.message))
    }
}

/// One line on standard error. Nothing can be done when even that is closed.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "cloudbox: {}", visible(message));
}
