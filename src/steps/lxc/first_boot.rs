//! Running a container's first-boot script, once.

use super::super::ctx::Ctx;
use super::super::filesystem::read_text;
use super::super::layout::ContainerDir;
use super::super::storage::{write_durably, FIRST_BOOT_SCRIPT};
use super::super::tool::{Pipes, RunningTool};
use super::exec::{root_of, User};
use super::Running;
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// It is another file before it begins, so that it never begins twice; and its output is one.
const COMMAND: &str = "cd / && mv -f /var/lib/cloudbox/first-boot /var/lib/cloudbox/first-boot.ran && \
                       exec /var/lib/cloudbox/first-boot.ran 2>&1";
/// How long it may take. A first upgrade of a Debian over a slow line does.
const TIME: Duration = Duration::from_secs(4 * 3600);
/// What is kept of what it says.
const LOG_MAX: usize = 256 << 10;
const CHUNK: usize = 4 << 10;
/// Its status is a word.
const STATUS_MAX: u64 = 64;
const RUNNING: &str = "running";

/// How far it is, as kept in the container's directory; None: it has not begun.
pub enum Status {
    /// It was begun.
    Begun,
    /// It ended with this exit code.
    Ended(i32),
}

/// How far the script of the container in `dir` is.
pub fn status(dir: &ContainerDir) -> Option<Status> {
    let text = read_text(&dir.first_boot_status(), STATUS_MAX).ok()?;
    Some(text.trim().parse().map_or(Status::Begun, Status::Ended))
}

/// Runs it; `attach` is lxc-attach with the words that name the container.
pub fn run(ctx: &Ctx, dir: &ContainerDir, running: &Running, mut attach: Command) -> Result<i32> {
    // A copy of a container that has run it has it no more.
    if root_of(running)?.find(Path::new(FIRST_BOOT_SCRIPT)).is_err() {
        set_status(dir, "0")?;
        return Ok(0);
    }
    let log = dir.first_boot_log();
    let failed = |e: std::io::Error| Error::io("cannot write", &log, e);
    let mut file = File::create(&log).map_err(failed)?;
    set_status(dir, RUNNING)?;
    attach.args(User::root().attach_words()).args(["--", "/bin/sh", "-c", COMMAND]);
    let begun = RunningTool::start(&mut attach, Pipes { stdin: false, stdout: true }, ctx, TIME);
    let mut program = begun.inspect_err(|_| {
        let _ = fs::remove_file(dir.first_boot_status());
    })?;
    let (mut left, mut chunk) = (LOG_MAX, vec![0; CHUNK]);
    loop {
        let read = program.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        let kept = read.min(left);
        left -= kept;
        file.write_all(&chunk[..kept]).map_err(failed)?;
    }
    let status = program.end()?.status;
    let code = status.code().unwrap_or_else(|| status.signal().map_or(-1, |signal| 128 + signal));
    set_status(dir, &code.to_string())?;
    Ok(code)
}

fn set_status(dir: &ContainerDir, text: &str) -> Result<()> {
    write_durably(&dir.first_boot_status(), text.as_bytes())
}
