//! The command line: all commands and the options that each of them has.

use super::action::{examples, Action, Lazy};
use super::call::Call;
use super::failure::{Failure, OK};
use super::mistake::{self, behind_options, Stop};
use super::page::write_stdout;
use super::{commons, container, events, image, inside, job, key, service, slice, snapshot, the_box};
use clap::{ArgAction, Args, FromArgMatches, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// What was typed.
pub struct Line {
    pub global: Global,
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
#[command(about = "makes this box a host of a community cloud: containers on OpenWrt")]
pub enum Command {
    #[command(flatten)]
    Container(container::Command),
    #[command(flatten)]
    Inside(inside::Command),
    #[command(flatten)]
    Snapshot(snapshot::Command),
    #[command(flatten)]
    Group(Group),
    #[command(flatten)]
    Box(the_box::Command),
    #[command(flatten)]
    Commons(Commons),
    #[command(flatten)]
    Bus(Bus),
}

/// Groups of commands.
#[derive(Subcommand)]
pub enum Group {
    #[command(subcommand, about = "images that containers are made from")]
    Image(image::Command),
    #[command(subcommand, about = "services that containers offer on the network")]
    Service(service::Command),
}

/// What members of the community do with each other.
#[derive(Subcommand)]
pub enum Commons {
    #[command(subcommand, about = "keys, by which members and boxes know each other")]
    Key(key::Command),
    #[command(subcommand, about = "your containers on boxes of other people")]
    Slice(slice::Command),
    #[command(
        subcommand,
        name = "commons",
        about = "who has room, who hosts whom, and the brokers between them"
    )]
    Board(commons::Command),
}

/// Jobs, and the bus itself.
#[derive(Subcommand)]
pub enum Bus {
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

/// A part of [`Command`], which clap can be told of alone.
pub struct Family {
    /// Whether a command is of it, by its own name.
    has: fn(&str) -> bool,
    /// Describes it to clap.
    pub describe: fn(clap::Command) -> clap::Command,
}

impl Family {
    const fn of<T: Subcommand>() -> Family {
        Family { has: T::has_subcommand, describe: T::augment_subcommands }
    }
}

pub const FAMILIES: [Family; 7] = [
    Family::of::<container::Command>(),
    Family::of::<inside::Command>(),
    Family::of::<snapshot::Command>(),
    Family::of::<Group>(),
    Family::of::<the_box::Command>(),
    Family::of::<Commons>(),
    Family::of::<Bus>(),
];

/// The command line with all its commands.
pub fn whole() -> clap::Command {
    Command::augment_subcommands(root())
}

/// The command line before it has any command.
fn root() -> clap::Command {
    let root = clap::Command::new("cloudbox")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .subcommand_required(true)
        .arg_required_else_help(true);
    Global::augment_args(root)
}

/// As much of the command line as `words` need. To describe all commands to clap, and to have it copy the options of every
/// command into each, would take most of a call's time.
fn needed_for(words: &[OsString]) -> clap::Command {
    let typed = behind_options(words).first().and_then(|name| {
        let by_name = FAMILIES.iter().filter(|family| name.to_str().is_some_and(family.has));
        // Behind those: what else it is called, only its description tells.
        by_name.chain(&FAMILIES).find_map(|family| {
            let mut family = (family.describe)(clap::Command::default());
            family.find_subcommand_mut(name).map(std::mem::take)
        })
    });
    typed.map_or_else(whole, |typed| root().subcommand(typed))
}

impl Line {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// They make no command, or ask for an explanation.
    pub fn read(words: &[OsString]) -> Result<Line, Stop> {
        let line = std::iter::once(OsString::from("cloudbox")).chain(words.iter().cloned());
        let matches = needed_for(words).try_get_matches_from(line);
        let read = matches.and_then(|matches| {
            let global = Global::from_arg_matches(&matches)?;
            Ok(Line { global, command: Command::from_arg_matches(&matches)? })
        });
        read.map_err(|error| mistake::explain(&error, whole(), words))
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
            Command::Group(Group::Image(command)) => command.action(),
            Command::Group(Group::Service(command)) => command.action(),
            Command::Box(command) => command.action(),
            Command::Commons(Commons::Key(command)) => command.action(json),
            Command::Commons(Commons::Slice(command)) => command.action(json),
            Command::Commons(Commons::Board(command)) => command.action(json),
            Command::Bus(Bus::Job(command)) => command.action(),
            Command::Bus(Bus::Events) => Ok(Action::own(events::run)),
            Command::Bus(Bus::Call(Lazy(call))) => Ok(Action::own(move |context| call.run(context))),
            Command::Bus(Bus::Help { command }) => help(command),
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
        _ => Err(Failure::usage("`cloudbox help` lists all commands")),
    }
}
