//! `log`: what a container wrote to its console, or its first-boot script said.

use super::printable;
use crate::api::replies::LogReply;
use crate::error::Result;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::console;
use serde::Deserialize;
use std::path::PathBuf;

/// How many lines are shown.
pub const LINES: u32 = 100;

/// `cloudbox.container log`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// The last so many lines; 100 unless said otherwise.
    pub lines: Option<u32>,
    /// What the first-boot script said, instead of the console.
    pub first_boot: Option<bool>,
}

/// The end of a log that is to be read.
#[derive(Debug)]
pub struct Log {
    files: Vec<PathBuf>,
    lines: usize,
}

impl Log {
    /// A log that somebody wants to see.
    ///
    /// # Errors
    /// [`crate::error::Code::NotFound`].
    pub fn ask(state: &State, args: &Args) -> Result<Log> {
        let name = Name::new(&args.name)?;
        state.check_known(&name)?;
        let dir = state.layout.container(&name);
        let files = match args.first_boot.unwrap_or(false) {
            true => vec![dir.first_boot_log()],
            false => console::files(&dir),
        };
        Ok(Log { files, lines: usize::try_from(args.lines.unwrap_or(LINES)).unwrap_or(usize::MAX) })
    }

    /// Reads it, in a thread.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<LogReply> {
        let (log, truncated) = console::tail(&self.files, self.lines)?;
        Ok(LogReply { log: printable(&log), truncated })
    }
}
