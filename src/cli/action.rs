//! What a command does, and the arguments that many commands share.

use super::bus::Context;
use super::commons::RunArgs;
use super::daemon::Daemon;
use super::failure::{Failure, OK};
use super::follow::Work;
use super::listing::Listing;
use super::page::Page;
use super::request::{Handed, NameAnd, Request};
use super::view::View;
use clap::builder::Resettable;
use clap::{ArgMatches, Args, FromArgMatches};
use serde::Serialize;

/// Makes the examples of a help page: command lines (without `cloudbox`) and what they do.
macro_rules! examples {
    ($($line:literal => $what:literal),* $(,)?) => {
        concat!("Examples" $(, "\n  # ", $what, "\n  cloudbox ", $line)*)
    };
}
pub(super) use examples;

/// Writes a reply for people and returns the exit code.
pub type Show = Box<dyn FnOnce(&View<'_>, &mut Page) -> u8>;

/// Does something with the bus and returns the exit code.
pub type Run = Box<dyn FnOnce(&mut Context) -> Result<u8, Failure>>;

/// What a command does.
pub enum Action {
    /// One call, whose reply is shown.
    Show(Request, Show),
    /// Calls that become jobs, which are followed.
    Work(Work),
    /// Something else; returns the exit code.
    Own(Run),
    /// The daemon, which is no client.
    Daemon(Daemon),
    /// The process of the commons.
    Commons(RunArgs),
}

impl Action {
    /// One call with `arguments`, whose reply `show` writes.
    pub fn ask(
        object: &str,
        method: &str,
        arguments: &impl Serialize,
        show: impl FnOnce(&View<'_>, &mut Page) + 'static,
    ) -> Result<Action, Failure> {
        Ok(Action::show(Request::new(object, method, arguments)?, show))
    }

    /// One call, whose reply `show` writes.
    pub fn show(request: Request, show: impl FnOnce(&View<'_>, &mut Page) + 'static) -> Action {
        let show = |view: &View<'_>, page: &mut Page| {
            show(view, page);
            OK
        };
        Action::Show(request, Box::new(show))
    }

    /// Something else.
    pub fn own(run: impl FnOnce(&mut Context) -> Result<u8, Failure> + 'static) -> Action {
        Action::Own(Box::new(run))
    }
}

/// What a command takes, described to clap only when that command is the one that was typed: a call should not take
/// longer for all that other commands have.
pub struct Lazy<T>(pub T);

impl<T: Args> Args for Lazy<T> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.defer(|command| {
            let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
            // The type's own comment is for who reads the source.
            T::augment_args(command).about(Resettable::from(about)).long_about(Resettable::from(long))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Lazy)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// A thing by its id.
#[derive(Args, Serialize)]
pub struct Id {
    id: String,
}

/// A thing by its name.
#[derive(Args, Serialize)]
pub struct Named {
    pub name: String,
}

/// A command that has no options of its own.
#[derive(Args, Serialize)]
pub struct NoOptions {}

/// Whether a table is wanted, or only names.
#[derive(Args)]
pub struct Names {
    #[arg(long, help = "print names only")]
    pub names: bool,
}

impl Names {
    /// What `object` tells by `method`, which takes nothing.
    pub fn ask(self, object: &str, method: &str, listing: &'static Listing) -> Result<Action, Failure> {
        Action::ask(object, method, &(), move |view, page| listing.show(view, self.names, page))
    }
}

/// Several things by their names, with one call for each.
#[derive(Args)]
pub struct Each<T: Args> {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    options: T,
}

/// Something that becomes a job.
#[derive(Args)]
pub struct Job<T: Args> {
    #[command(flatten)]
    pub task: T,
    #[arg(long, help = "print the job's number at once instead of following the job")]
    pub no_wait: bool,
}

impl<T: Args + Serialize> Job<T> {
    /// One call.
    pub fn call(self, object: &str, method: &str) -> Result<Action, Failure> {
        self.call_with(object, method, None)
    }

    /// One call, which a file may go along with.
    pub fn call_with(self, object: &str, method: &str, file: Option<Handed>) -> Result<Action, Failure> {
        let requests = vec![Request { file, ..Request::new(object, method, &self.task)? }];
        Ok(Action::Work(Work { requests, no_wait: self.no_wait, starts: false }))
    }
}

impl<T: Args + Serialize> Job<Each<T>> {
    /// A call for each name. A name given twice is meant once.
    pub fn call_each(self, object: &str, method: &str) -> Result<Action, Failure> {
        let Each { names, options } = self.task;
        let mut requests = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if !names[..at].contains(name) {
                requests.push(Request::new(object, method, &NameAnd { name, options: &options })?);
            }
        }
        Ok(Action::Work(Work { requests, no_wait: self.no_wait, starts: false }))
    }
}
