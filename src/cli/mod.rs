//! The command `cloudbox`: what people type, and what they get to see.
//!
//! [`commands`] is the one table of all commands; parsing, help and completions come from it. Every command but
//! `daemon` is a client over ubus: it turns arguments into a [`request::Request`] and a reply into text, and decides
//! nothing.

mod args;
mod bus;
mod commands;
#[cfg(feature = "completion")]
mod completion;
mod copy;
mod daemon;
mod enter;
mod events;
mod follow;
mod help;
mod interrupt;
mod log;
mod page;
mod pattern;
#[cfg(feature = "publish")]
mod publish;
mod request;
mod show;
mod text;
mod top;
mod view;

use self::args::{Args, Parsed};
use self::bus::Context;
use self::commands::Action;
use self::page::Page;
use cloudbox::error::Error;
use std::fmt;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::process::ExitCode;

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
    exit: u8,
    message: String,
    /// Encoded fields, printed with `--json`.
    reply: Vec<u8>,
}

impl Failure {
    fn new(exit: u8, message: fmt::Arguments<'_>) -> Failure {
        Failure::with_reply(exit, message.to_string(), Vec::new())
    }

    fn with_reply(exit: u8, message: String, reply: Vec<u8>) -> Failure {
        Failure(Box::new(Ending { exit, message, reply }))
    }

    fn usage(message: fmt::Arguments<'_>) -> Failure {
        Failure::new(USAGE, message)
    }

    fn refused(error: Error) -> Failure {
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
        f.write_str(&text::visible(&self.message))
    }
}

/// Runs the command that `words` (without the program's name) ask for.
pub fn main(words: &mut dyn Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let parsed = match args::parse(words) {
        Ok(parsed) => parsed,
        Err(failure) => return report(&failure, false),
    };
    match parsed {
        Parsed::Help(topic) => print(&help::text(topic)),
        Parsed::Version => print(concat!("cloudbox ", env!("CARGO_PKG_VERSION"), "\n")),
        // Whoever types the bare name wants to know what there is, but a script has made a mistake.
        Parsed::Nothing => {
            let _ = std::io::stderr().write_all(help::text(help::Topic::Overview).as_bytes());
            ExitCode::from(USAGE)
        }
        Parsed::Run(args) => match run(&args) {
            Ok(code) => code,
            Err(failure) => report(&failure, args.json),
        },
    }
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut context = Context::new(args);
    let code = match args.command.action {
        Action::Show { call, show } => {
            let reply = context.call(&request::one(args, call)?)?;
            let mut page = Page::stdout();
            // What the exit code says is the same with --json.
            let code = page.reply(&reply, show, args);
            if args.json {
                page::print_json(&reply)?;
            } else {
                page.print()?;
            }
            code
        }
        Action::Work { call } => follow::work(&mut context, args, request::of(args, call)?)?,
        Action::Own(run) => run(&mut context, args)?,
        Action::Daemon => return Ok(daemon::run(args)),
    };
    Ok(ExitCode::from(code))
}

/// Says on standard error what went wrong.
fn report(failure: &Failure, json: bool) -> ExitCode {
    if json && !failure.reply.is_empty() && page::print_json(&failure.reply).is_err() {
        return ExitCode::from(failure.exit);
    }
    complain(&failure.message);
    ExitCode::from(failure.exit)
}

/// One line on standard error. Nothing can be done when even that is closed.
fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "cloudbox: {}", text::visible(message));
}

fn print(text: &str) -> ExitCode {
    match page::write_stdout(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, false),
    }
}
