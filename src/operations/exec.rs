//! `exec`: running one program inside a container. It is no job: its output is the answer.

use crate::api::{Text, Variables};
use crate::error::{quoted, Code, Error, Result};
use crate::machine::Machine;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::lxc;
use serde::Deserialize;
use std::time::Duration;

/// How long a program may run, in seconds.
pub const TIMEOUT: u32 = 10;
/// The longest it may be given.
pub const TIMEOUT_MAX: u32 = 3600;
/// The longest argument or variable a program can be given: the kernel's MAX_ARG_STRLEN, less its NUL.
pub const WORD_MAX: usize = (128 << 10) - 1;

/// `cloudbox.container exec`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Variables: a table, or a list of `NAME=value`.
    pub environment: Option<Variables>,
    /// Who runs it, by name or number in the container; root unless said otherwise.
    pub user: Option<Text>,
    /// Where it runs, an absolute path in the container; `/` unless said otherwise.
    pub directory: Option<String>,
    /// Seconds it may run; 10 unless said otherwise.
    pub timeout: Option<u32>,
}

/// A program to be run.
#[derive(Debug)]
pub struct Exec {
    name: Name,
    exec: lxc::Exec,
}

impl Exec {
    /// A program that somebody wants to be run.
    ///
    /// # Errors
    /// It could not be started at all, [`Code::NotRunning`], [`Code::NotFound`].
    pub fn ask(state: &State, args: Args) -> Result<Exec> {
        let name = Name::new(&args.name)?;
        state.check_known(&name)?;
        let timeout = args.timeout.unwrap_or(TIMEOUT);
        let exec = lxc::Exec {
            command: args.command,
            environment: args.environment.map_or_else(Vec::new, |variables| variables.0),
            user: args.user.map(|user| user.0).filter(|user| !user.is_empty()),
            directory: args.directory.filter(|directory| !directory.is_empty()),
            timeout: Duration::from_secs(timeout.into()),
        };
        check_words(&exec)?;
        if !(1..=TIMEOUT_MAX).contains(&timeout) {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("timeout {timeout}: give 1 to {TIMEOUT_MAX} seconds"),
            ));
        }
        if state.running(&name)?.frozen {
            return Err(Error::new(
                Code::NotRunning,
                format_args!("container {name} is frozen; unfreeze it first"),
            ));
        }
        Ok(Exec { name, exec })
    }

    /// Runs it to its end, in a thread.
    ///
    /// # Errors
    /// [`Code::Timeout`], or why it cannot be run.
    pub fn run(&self, machine: &Machine) -> Result<lxc::Output> {
        machine.runtime.exec(&Ctx::silent()?, &self.name, &self.exec)
    }
}

/// What a program can be started with at all.
fn check_words(exec: &lxc::Exec) -> Result<()> {
    let wrong = |why: String| Err(Error::new(Code::InvalidArgument, why));
    if exec.command.first().is_none_or(String::is_empty) {
        return wrong(
            "command: it is empty; give the program and its arguments as a list, such as [\"ip\",\"address\"]".into(),
        );
    }
    for word in exec.command.iter().chain(&exec.environment) {
        if word.len() > WORD_MAX {
            let start: String = word.chars().take(20).collect();
            return wrong(format!(
                "command: {}... has {} bytes, and Linux passes no argument or variable of more than {WORD_MAX}; \
                 push a file into the container instead",
                quoted(&start),
                word.len(),
            ));
        }
    }
    if let Some(variable) = exec.environment.iter().find(|v| v.find('=').is_none_or(|at| at == 0)) {
        return wrong(format!("environment: {} is no variable; write NAME=value", quoted(variable)));
    }
    match &exec.directory {
        Some(path) if !path.starts_with('/') => {
            wrong(format!("directory {}: give an absolute path in the container", quoted(path)))
        }
        _ => Ok(()),
    }
}
