//! The command `cloudbox`: what people type, and what they get to see.
//!
//! [`line`] has the command line as types, one for each command; its documentation comments are the help pages. The
//! commands are in one file for each family, with what they send and how they show the reply. Every command but
//! `daemon` is a client over ubus and decides nothing.

mod action;
mod bus;
mod call;
mod commons;
mod container;
mod copy;
mod daemon;
mod events;
mod failure;
mod follow;
mod help;
mod image;
mod inside;
mod interrupt;
mod job;
mod key;
mod line;
mod listing;
mod log;
mod member;
mod mistake;
mod page;
mod pattern;
mod progress;
#[cfg(feature = "publish")]
mod publish;
mod request;
mod service;
mod slice;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;
mod the_box;
mod top;
mod value;
mod view;

use self::action::Action;
use self::bus::{socket, Context};
use self::failure::{complain, Failure, USAGE};
pub use self::line::whole as command;
use self::line::Line;
use self::mistake::Stop;
use self::page::{print_json, write_stdout, Page};
use self::view::View;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs the command that the program's arguments ask for.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match Line::read(&words) {
        Ok(line) => {
            let json = line.global.json;
            run(line).unwrap_or_else(|failure| report(&failure, json))
        }
        Err(Stop::Explain(text)) => match write_stdout(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report(&failure, false),
        },
        // Whoever types half a command wants to know what there is, but a script has made a mistake.
        Err(Stop::Incomplete(text)) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(USAGE)
        }
        Err(Stop::Fail(failure)) => report(&failure, false),
    }
}

fn run(line: Line) -> Result<ExitCode, Failure> {
    let json = line.global.json;
    let socket = socket(line.global.socket.as_deref());
    let mut context = Context::new(socket.clone(), json);
    let code = match line.command.action(json)? {
        Action::Show(request, show) => {
            let called = context.call(&request);
            let reply = called.or_else(|failure| the_box::without_daemon(&request, failure))?;
            let mut page = Page::stdout();
            // What the exit code says is the same with --json.
            let code = show(&View::new(&reply), &mut page);
            match json {
                true => print_json(&reply)?,
                false => page.print()?,
            }
            code
        }
        Action::Work(work) => work.run(&mut context)?,
        Action::Own(run) => run(&mut context)?,
        Action::Daemon(daemon) => return Ok(daemon.run(socket)),
        Action::Commons(commons) => return Ok(commons.run(socket)),
    };
    Ok(ExitCode::from(code))
}

/// Says on standard error what went wrong.
fn report(failure: &Failure, json: bool) -> ExitCode {
    if json && !failure.reply.is_empty() && print_json(&failure.reply).is_err() {
        return ExitCode::from(failure.exit);
    }
    complain(&failure.message);
    ExitCode::from(failure.exit)
}
