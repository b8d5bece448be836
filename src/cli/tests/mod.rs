//! The command line as a whole: what words become, and what replies look like.

mod calls;
mod lines;
mod pages;

use super::action::Action;
use super::failure::Failure;
use super::line::Line;
use super::mistake::Stop;
use super::request::Request;
use openwrt_ubus::Fields;
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
    match read(words) {
        Ok(action) => Ok(action),
        Err(Stop::Fail(failure)) => Err(failure),
        Err(_) => panic!("{words:?} asks for help"),
    }
}

fn read(words: &[OsString]) -> Result<Action, Stop> {
    let line = Line::read(words)?;
    line.command.action(line.global.json).map_err(Stop::Fail)
}

/// A call as `object method json`.
fn in_words(request: &Request) -> String {
    let json = serde_json::to_string(&Fields::new(&request.fields)).unwrap();
    format!("{} {} {json}", request.object, request.method)
}

/// The calls that it makes.
fn requests(action: Action) -> Vec<Request> {
    match action {
        Action::Show(request, _) => vec![request],
        Action::Work(work) => work.requests,
        _ => Vec::new(),
    }
}
