//! How a command ends badly: an exit code and a sentence.

use super::text::visible;
use crate::error::Error;
use std::fmt;
use std::io::Write;

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

/// Why a command ends badly: an exit code, a sentence, and the reply that told it.
#[derive(Debug, PartialEq)]
pub struct Failure {
    /// One of the constants above.
    pub exit: u8,
    /// What went wrong, and what to do about it.
    pub message: String,
    /// Encoded fields, printed with `--json`.
    pub reply: Vec<u8>,
}

impl Failure {
    pub fn new(exit: u8, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string(), reply: Vec::new() }
    }

    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(USAGE, message)
    }

    pub fn refusal(message: impl fmt::Display) -> Failure {
        Failure::new(REFUSED, message)
    }

    pub fn refused(error: Error) -> Failure {
        Failure::new(REFUSED, error.into_message())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::refused(error)
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
