//! The command line: all commands and the options that each of them has.

use super::action::{examples, Action, Lazy};
use super::call::Call;
use super::failure::{Failure, OK};
use super::mistake::{self, Stop};
use super::page::write_stdout;
use super::{container, events, image, inside, job, service, snapshot, the_box};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// makes this box a host of a community cloud: containers on OpenWrt.
#[derive(Parser)]
#[command(
    name = "cloudbox",
    version,
    propagate_version = true,
    args_override_self = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true
)]
pub struct Line {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args)]
pub struct Global {
    #[arg(short, long, global = true, display_order = 901)]
    #[arg(help = "ubusd's socket, instead of UBUS_SOCKET or the usual one")]
    pub socket: Option<PathBuf>,
    #[arg(long, global = true, display_order = 902, help = "print replies as JSON, as they came")]
    pub json: bool,
    #[arg(short, long, global = true, display_order = 903, help = "print help", action = ArgAction::HelpShort)]
    help: Option<bool>,
    #[arg(short = 'V', long, global = true, hide = true, help = "print the version", action = ArgAction::Version)]
    version: Option<bool>,
}

/// All commands, in the order in which the overview shows them.
// There is one in a program's life: its size is no matter.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand)]
pub enum Command {
    #[command(flatten)]
    Container(container::Command),
    #[command(flatten)]
    Inside(inside::Command),
    #[command(flatten)]
    Snapshot(snapshot::Command),
    #[command(subcommand, about = "images that containers are made from")]
    Image(image::Command),
    #[command(subcommand, about = "services that containers offer on the network")]
    Service(service::Command),
    #[command(flatten)]
    Box(the_box::Command),
    #[command(subcommand, about = "what is being done, and what was done last")]
    Job(job::Command),
    /// print what happens, one line each, until Ctrl-C
    ///
    /// Shows ubus events whose names begin with container, image, service or job. With --json each line is an object, as
    /// `ubus listen` prints it.
    #[command(aliases = ["monitor", "listen", "watch"], after_help = examples! {
        "events" => "follow along",
        "events --json | jq ." => "for scripts",
    })]
    Events,
    /// call any method and print the reply as JSON
    ///
    /// Like `ubus call`. Data that came with an error is printed, too.
    #[command(alias = "ubus", after_help = examples! {
        "call cloudbox.container info '{\"name\":\"web\"}'" => "what `info web --json` prints",
        "call system board" => "any object on the bus",
    })]
    Call(Lazy<Call>),
    /// explain a command
    #[command(aliases = ["man", "usage"], after_help = examples! {
        "help create" => "the same as `create --help`",
        "help image" => "all commands about images",
    })]
    Help { command: Vec<String> },
}

impl Line {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// They make no command, or ask for an explanation.
    pub fn read(words: &[OsString]) -> Result<Line, Stop> {
        let line = std::iter::once(OsString::from("cloudbox")).chain(words.iter().cloned());
        Line::try_parse_from(line).map_err(|error| mistake::explain(&error, Line::command(), words))
    }
}

impl Command {
    /// What it does; with `json`, for a script.
    ///
    /// # Errors
    /// What it was given cannot be sent.
    pub fn action(self, json: bool) -> Result<Action, Failure> {
        match self {
            Command::Container(command) => command.action(json),
            Command::Inside(command) => command.action(json),
            Command::Snapshot(command) => command.action(),
            Command::Image(command) => command.action(),
            Command::Service(command) => command.action(),
            Command::Box(command) => command.action(),
            Command::Job(command) => command.action(),
            Command::Events => Ok(Action::own(events::run)),
            Command::Call(Lazy(call)) => Ok(Action::own(move |context| call.run(context))),
            Command::Help { command } => help(command),
        }
    }
}

/// `help image list` is `image list --help`.
fn help(command: Vec<String>) -> Result<Action, Failure> {
    let words: Vec<OsString> =
        command.into_iter().chain(["--help".to_string()]).map(OsString::from).collect();
    match Line::read(&words) {
        Err(Stop::Explain(text)) => Ok(Action::own(move |_| write_stdout(text.as_bytes()).map(|()| OK))),
        Err(Stop::Fail(failure)) => Err(failure),
        _ => Err(Failure::usage(format_args!("`cloudbox help` lists all commands"))),
    }
}
