//! The box as a whole.

use super::action::{examples, Action, Job, Lazy};
use super::daemon::{self, Daemon};
use super::failure::{Failure, OK, REFUSED, UNREACHABLE};
use super::listing::only_pairs;
use super::page::{write_stdout, Page};
use super::request::{if_given, Request, BOX};
use super::service::Browse;
use super::text::{count, spaces};
use super::value::seconds;
use super::view::View;
use crate::doctor;
use crate::look;
use clap::{Args, Subcommand};
use openwrt_ubus::{from_fields, to_fields};
use serde::Serialize;

/// What `cloudbox version` prints.
pub const VERSION: &str = concat!("cloudbox ", env!("CARGO_PKG_VERSION"), "\n");

#[derive(Subcommand)]
pub enum Command {
    /// show the services that are on the network
    ///
    /// Asks by mDNS and listens for --timeout seconds at most (5 unless said otherwise). BOX is the box a service
    /// belongs to; * marks our own.
    #[command(aliases = ["discover", "neighbours", "find"], after_help = examples! {
        "browse" => "everything",
        "browse _http._tcp" => "only web pages",
    })]
    Browse(Lazy<Browse>),
    /// show how the box is doing
    ///
    /// Memory and disk: what there is, what is free, what is kept for the box, and what is promised to containers.
    #[command(alias = "stat", after_help = examples! { "status" => "at a glance" })]
    Status,
    /// check whether all that is needed is there
    ///
    /// One line for each check, with what cures it. The exit code is 1 when something does not work. Without a daemon
    /// the configuration file and the storage directory are examined, as far as they can be seen.
    ///
    /// With --security it looks instead at what of the promises about security holds on this box, and at containers
    /// that have less around them than the others.
    #[command(aliases = ["check", "diagnose"], after_help = examples! {
        "doctor" => "what is missing, and what to do",
        "doctor --security" => "which walls stand around the containers",
    })]
    Doctor(Lazy<Doctor>),
    /// apply what was changed in /etc/config/cloudbox
    ///
    /// `reload_config` does the same after `uci commit`.
    #[command(aliases = ["refresh", "apply"], after_help = examples! { "reload" => "now" })]
    Reload,
    /// stop all containers, as when the box goes down
    ///
    /// Those with the largest priority stop first, one group after the other. All of them together have --timeout
    /// seconds (20 unless said otherwise); what still runs then is killed. The box itself goes on, and what starts with
    /// it starts with it.
    #[command(aliases = ["poweroff", "stop-all"], after_help = examples! {
        "shutdown --timeout 60" => "with more patience",
    })]
    Shutdown(Lazy<Job<Shutdown>>),
    /// run the service; /etc/init.d/cloudbox does it
    ///
    /// The environment says the same as the options: UBUS_SOCKET, CLOUDBOX_CONFIG_DIR, CLOUDBOX_STORAGE,
    /// CLOUDBOX_RUN_DIR, CLOUDBOX_AVAHI, CLOUDBOX_AVAHI_RUN, CLOUDBOX_HOSTS, CLOUDBOX_DNSMASQ_RUN, CLOUDBOX_LEASES,
    /// CLOUDBOX_HOTPLUG. An option goes first.
    #[command(aliases = ["serve", "server"], after_help = examples! {
        "daemon -f -v" => "in a terminal, with everything it has to say",
    })]
    Daemon(Lazy<Daemon>),
    /// print the version, as `cloudbox --version` does
    #[command(after_help = examples! { "version" => "of this program; `status` shows the daemon's" })]
    Version,
}

#[derive(Args, Serialize)]
pub struct Doctor {
    #[arg(long, help = "look at what of the promises about security holds")]
    #[serde(serialize_with = "if_given")]
    security: bool,
}

#[derive(Args, Serialize)]
pub struct Shutdown {
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long all of them may take")]
    timeout: Option<u32>,
}

impl Command {
    pub fn action(self) -> Result<Action, Failure> {
        match self {
            Command::Browse(Lazy(browse)) => browse.action(),
            Command::Status => Action::ask(BOX, "status", &(), status),
            Command::Doctor(Lazy(asked)) => {
                Ok(Action::Show(Request::new(BOX, "doctor", &asked)?, Box::new(doctor)))
            }
            Command::Reload => Ok(Action::Show(Request::new(BOX, "reload", &())?, Box::new(reload))),
            Command::Shutdown(Lazy(job)) => job.call(BOX, "shutdown"),
            Command::Daemon(Lazy(daemon)) => Ok(Action::Daemon(daemon)),
            Command::Version => Ok(Action::own(|_| write_stdout(VERSION.as_bytes()).map(|()| OK))),
        }
    }
}

const STATUS: &str = "\
cloudbox|{version} (API {api:int}), pid {pid:int}, up {uptime:duration}
enabled|[{enabled:off}: `uci set cloudbox.main.enabled=1` and `uci commit cloudbox`]
containers|[{containers.total:int}, {containers.running:int} running\
[, {containers.failed:some} failed][, {containers.orphans:some} without a section]]
images|{images}
jobs|{jobs:jobs} at work
memory|[{memory.free:size} free of {memory.total:size}; {memory.reserve:size} kept for the box, \
{memory.promised:size} promised to containers]
disk|[{disk.free:size} free of {disk.total:size}; {disk.reserve:size} kept for the box, \
{disk.promised:size} promised to containers]
avahi|[{avahi.state}, {avahi.published:services} announced]
storage|{storage}
config|{config}
arch|{arch}";

fn status(view: &View<'_>, page: &mut Page) {
    only_pairs(STATUS, view, page);
    warnings(view, page);
}

/// The reply to a call that no daemon answered: `doctor`, which is asked just then, finds one of its own.
pub fn without_daemon(request: &Request, failure: Failure) -> Result<Vec<u8>, Failure> {
    if failure.exit != UNREACHABLE || (request.object.as_str(), request.method.as_str()) != (BOX, "doctor") {
        return Err(failure);
    }
    let asked: look::args::Doctor = from_fields(&request.fields).map_err(Failure::usage)?;
    let reply = doctor::examine_without_daemon(daemon::usual_paths(), failure.message.clone(), asked.about());
    to_fields(&reply).map_err(Failure::refusal)
}

/// The exit code is 1 when something does not work.
fn doctor(view: &View<'_>, page: &mut Page) -> u8 {
    let checks = view.tables("checks");
    let width = checks.iter().map(|check| check.text("name").chars().count()).max().unwrap_or(0);
    let mut code = if view.raw("state") == "error" { REFUSED } else { OK };
    for check in &checks {
        let word = match &*check.raw("state") {
            "ok" => "ok",
            "note" => "note",
            "warning" => "warn",
            _ => {
                code = REFUSED;
                "FAIL"
            }
        };
        let (name, remedy) = (check.text("name"), check.text("remedy"));
        let painted = page.painted(word);
        page.text.push_str(&painted);
        spaces(&mut page.text, 6 - word.len());
        page.text.push_str(&name);
        spaces(&mut page.text, width + 2 - name.chars().count());
        page.line(&check.text("message"));
        if !remedy.is_empty() {
            spaces(&mut page.text, width + 8);
            page.line(&remedy);
        }
    }
    code
}

/// The exit code is 1 when the file could not be used.
fn reload(view: &View<'_>, page: &mut Page) -> u8 {
    let jobs = view.texts("jobs");
    let unread = !view.raw("error").is_empty();
    if unread {
        page.line("the configuration is not applied");
    } else if jobs.is_empty() {
        page.line("the configuration is applied; there was nothing to do");
    } else {
        let what = count(jobs.len() as u64, "job");
        let numbers = jobs.join(" ");
        page.line(&format!("the configuration is applied by {what}; `cloudbox job wait {numbers}` follows"));
    }
    page.add("[a restart is needed by {restart_required}]", view);
    warnings(view, page);
    if unread {
        REFUSED
    } else {
        OK
    }
}

fn warnings(view: &View<'_>, page: &mut Page) {
    for warning in view.texts("warnings") {
        let painted = page.painted("warning");
        page.line(&[&painted, ": ", &warning].concat());
    }
}
