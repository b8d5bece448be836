//! Jobs: what is being done, and what was done last.

use super::action::{examples, Action, Id, Lazy, Names};
use super::failure::Failure;
use super::follow;
use super::listing::{only_pairs, Listing};
use super::page::Page;
use super::request::JOB;
use super::value::seconds;
use super::view::View;
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum Command {
    /// show what is being done, and what was done last
    #[command(alias = "ls", after_help = examples! {
        "job list" => "a table",
        "job list --names" => "numbers only, one a line",
    })]
    List(Lazy<Names>),
    /// show how far a job is
    #[command(aliases = ["info", "show"], after_help = examples! { "job status 17" => "about job 17" })]
    Status(Lazy<Id>),
    /// follow jobs until they end
    ///
    /// The exit code is 1 when one of them failed, and 124 when --timeout seconds have passed before.
    #[command(alias = "follow", after_help = examples! {
        "job wait 17" => "follow job 17",
        "job wait --timeout 60 17 18" => "for a minute at most",
    })]
    Wait(Lazy<Wait>),
    /// end a job early
    ///
    /// What it has done so far is undone.
    #[command(aliases = ["delete", "stop"], after_help = examples! { "job cancel 17" => "job 17" })]
    Cancel(Lazy<Id>),
}

#[derive(Args)]
pub struct Wait {
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long to wait")]
    timeout: Option<u32>,
}

impl Command {
    pub fn action(self) -> Result<Action, Failure> {
        match self {
            Command::List(Lazy(names)) => names.ask(JOB, "list", &LIST),
            Command::Status(Lazy(id)) => Action::ask(JOB, "status", &id, status),
            Command::Wait(Lazy(Wait { ids, timeout })) => {
                Ok(Action::own(move |context| follow::wait(context, ids, timeout)))
            }
            Command::Cancel(Lazy(id)) => Action::ask(JOB, "cancel", &id, status),
        }
    }
}

const LIST: Listing = Listing {
    field: "jobs",
    names: "{id}",
    none: "there are no jobs",
    titles: ">ID|KIND|TARGET|STATE|STEP|>DONE|BEGUN|TOOK",
    cells: "{id}|{kind}|{target}|{state}|{step}|{percent:int}%|{started:ago}|{finished:took}",
    notes: &["[{id}: {error.message}]"],
};

const STATUS: &str = "\
job|{id}: {kind} {target}
state|{state}
step|{step}
done|{percent:int}%[ {bytes:bytes}]
begun|{started:ago}
took|{finished:took}
error|{error.message}";

fn status(view: &View<'_>, page: &mut Page) {
    only_pairs(STATUS, view, page);
}
