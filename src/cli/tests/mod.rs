//! The command line as a whole: what words become, and what replies look like.

mod calls;
mod mistakes;
mod pages;

use super::action::Action;
use super::failure::Failure;
use super::line::Line;
use super::mistake::Stop;
use super::request::Request;
use std::ffi::OsString;

/// The words of a command line, in which a word in single quotes may have blanks.
fn words(line: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(OsString::from)),
            _ => words.push(part.into()),
        }
    }
    words
}

/// What a command line does.
fn action(line: &str) -> Result<Action, Failure> {
    action_of(&words(line))
}

fn action_of(words: &[OsString]) -> Result<Action, Failure> {
    match Line::read(words) {
        Ok(line) => line.command.action(line.global.json),
        Err(Stop::Fail(failure)) => Err(failure),
        Err(_) => panic!("{words:?} asks for help"),
    }
}

/// The calls that it makes.
fn requests(action: Action) -> Vec<Request> {
    match action {
        Action::Show(request, _) => vec![request],
        Action::Work(work) => work.requests,
        _ => Vec::new(),
    }
}
