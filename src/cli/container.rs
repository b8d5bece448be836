//! Containers: what they are, and what becomes of them.

use super::action::{examples, Action, Each, Job, Lazy, Named, Names, NoOptions};
use super::failure::Failure;
use super::follow::Work;
use super::listing::{pairs, Listing};
use super::page::Page;
use super::pattern::fill;
use super::request::{container_list, if_given, negated, Request, CONTAINER};
use super::text::Table;
use super::top::Top;
use super::value::{as_table, content, keys, seconds, yes_or_no, Secret};
use super::view::View;
use crate::error::quoted;
use clap::{Args, Subcommand};
use serde::Serialize;

#[derive(Subcommand)]
pub enum Command {
    /// show all containers with their state, addresses and usage
    ///
    /// CPU is the share of one processor since somebody asked last. MEMORY and DISK are what is used and what is
    /// allowed. A disk without a quota is not measured.
    #[command(aliases = ["ls", "ps", "lst"], after_help = examples! {
        "list" => "a table",
        "list --names" => "names only, one a line, for scripts",
        "list --json" => "everything that is known, as JSON",
    })]
    List(Lazy<Names>),
    /// show everything about a container
    ///
    /// Limits are shown as they were asked for and, while it runs, as the kernel enforces them.
    #[command(aliases = ["show", "inspect"], after_help = examples! { "info web" => "about the container web" })]
    Info(Lazy<Named>),
    /// show who uses what, again and again, until Ctrl-C
    ///
    /// CPU is the share of one processor. Where the output is no terminal, it is shown once.
    #[command(alias = "htop", after_help = examples! { "top --interval 5" => "every five seconds" })]
    Top(Lazy<Top>),
    /// make a container and start it
    ///
    /// What is not said comes from the section `main` of /etc/config/cloudbox. The container gets a section of its own
    /// there.
    ///
    /// NAME may have small letters, digits and hyphens, 63 at most: it becomes the container's host name.
    #[command(aliases = ["launch", "new", "add", "run", "init"], after_help = examples! {
        "create web" => "with all defaults",
        "create web --memory 256M --cpus 0.5 --disk 2G" => "with limits",
        "create web --key ~/.ssh/id_ed25519.pub" => "so that root can log in with ssh",
        "create web --address 10.139.40.10/27 --gateway 10.139.40.1" => "with a fixed address",
        "create store --service tahoe-storage" => "with a service of its image; `image info` shows them",
        "create web --no-start --no-autostart" => "only make it",
    })]
    Create(Lazy<Job<Create>>),
    /// change a container
    ///
    /// Limits are changed while it runs; so is the disk, which can only grow. The network is changed when it is started
    /// again. /etc/config/cloudbox says the same afterwards.
    #[command(aliases = ["config", "update", "edit", "resize"], after_help = examples! {
        "set web --memory 512M --cpus 2" => "more of both",
        "set web --autostart no --restart always" => "not at boot, but whenever it ends",
    })]
    Set(Lazy<Job<Set>>),
    /// remove containers with their data
    ///
    /// There is no way back. A container that runs is left alone unless --force is given.
    #[command(aliases = ["rm", "remove", "destroy"], after_help = examples! {
        "delete web" => "one that is stopped",
        "delete --force web db" => "two, running or not",
    })]
    Delete(Lazy<Job<Each<Delete>>>),
    /// take in containers that stand apart in `list`
    ///
    /// An orphan gets back the section that was removed from /etc/config/cloudbox. One that another tool made must be
    /// stopped and have its root in a directory: that becomes an image, and the image a container that is not started
    /// and does not start at boot. Host name and machine id are its own then. The files of the other tool stay as they
    /// are.
    #[command(aliases = ["recover", "takeover"], after_help = examples! { "adopt web" => "one of either kind" })]
    Adopt(Lazy<Job<Each<NoOptions>>>),
    /// remove orphans and what was left half made
    ///
    /// Says what it would remove, and does it with --yes. Protected ones stay, and what other tools made.
    #[command(aliases = ["clean", "gc"], after_help = examples! {
        "prune" => "what would go",
        "prune --yes" => "remove it",
    })]
    Prune(Lazy<Prune>),
    /// start containers
    #[command(aliases = ["boot", "up"], after_help = examples! { "start web db" => "both at a time" })]
    Start(Lazy<Job<Each<NoOptions>>>),
    /// stop containers
    ///
    /// A container is asked to shut down, and killed when it has not done so after --timeout seconds (30 unless said
    /// otherwise).
    #[command(aliases = ["halt", "kill", "down"], after_help = examples! {
        "stop web" => "gently",
        "stop --timeout 5 web" => "with less patience",
        "stop --force web" => "at once, as if its plug were pulled",
    })]
    Stop(Lazy<Job<Each<Stop>>>),
    /// stop containers and start them again
    ///
    /// What was changed since the last start and needs one is applied. One that does not run is started.
    #[command(aliases = ["reboot", "reset"], after_help = examples! {
        "restart web" => "gently",
        "restart --timeout 0 web" => "as if its plug were pulled",
    })]
    Restart(Lazy<Job<Each<Timeout>>>),
    /// give a stopped container another name
    ///
    /// Its section in /etc/config/cloudbox, its services and its snapshots go along; it keeps its hardware address. Its
    /// guest is told its new name at the next start, unless it calls itself something else.
    #[command(aliases = ["mv", "move"], after_help = examples! { "rename web www" => "web becomes www" })]
    Rename(Lazy<Job<Rename>>),
    /// let containers stand still
    ///
    /// Their processes get no processor time until `unfreeze`; their memory stays as it is.
    #[command(aliases = ["pause", "suspend"], after_help = examples! { "freeze web" => "until it is told to go on" })]
    Freeze(Lazy<Job<Each<NoOptions>>>),
    /// let frozen containers go on
    #[command(aliases = ["thaw", "resume", "unpause"], after_help = examples! { "unfreeze web" => "where it stood" })]
    Unfreeze(Lazy<Job<Each<NoOptions>>>),
}

#[derive(Args, Serialize)]
pub struct Create {
    name: String,
    #[arg(long, help = "the image it is made from")]
    image: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
    #[arg(long, help = "do not start it when the box starts")]
    #[serde(rename = "autostart", serialize_with = "negated")]
    no_autostart: bool,
    #[arg(long, help = "do not start it now")]
    #[serde(rename = "start", serialize_with = "negated")]
    no_start: bool,
    #[arg(long, help = "SSH key of its root, or a file of keys; may be repeated")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    #[serde(skip)]
    key: Vec<String>,
    /// What is found in those files.
    #[arg(skip)]
    authorized_keys: Option<Vec<String>>,
    #[arg(long, value_name = "NAME", help = "a service of its image to switch on; may be repeated")]
    #[serde(rename = "services")]
    service: Option<Vec<String>>,
    #[arg(long, help = "refuse to delete it")]
    #[serde(serialize_with = "if_given")]
    protected: bool,
    #[arg(long, help = "let it have containers of its own inside")]
    #[serde(serialize_with = "if_given")]
    nesting: bool,
    #[arg(long, help = "let its programs use io_uring")]
    #[serde(serialize_with = "if_given")]
    io_uring: bool,
    #[arg(long, value_name = "NAME", help = "what it calls itself, instead of its name")]
    hostname: Option<String>,
    #[arg(long, value_name = "ZONE", help = "such as Europe/Madrid")]
    timezone: Option<String>,
    #[arg(long, value_name = "FILE", value_parser = content, help = "a script that is run once inside")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    first_boot: Option<String>,
    #[arg(long, value_name = "NAME=FILE", value_parser = Secret::read)]
    #[arg(help = "give it a file to keep, in /var/lib/cloudbox/secrets; may be repeated")]
    #[serde(rename = "secrets", serialize_with = "as_table")]
    secret: Vec<Secret>,
}

#[derive(Args, Serialize)]
pub struct Set {
    name: String,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), hide_possible_values = true)]
    #[arg(help = "whether to start it when the box starts")]
    autostart: Option<bool>,
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), hide_possible_values = true)]
    #[arg(help = "whether it is safe from delete")]
    protected: Option<bool>,
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), hide_possible_values = true)]
    #[arg(help = "whether it may have containers of its own inside")]
    nesting: Option<bool>,
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), hide_possible_values = true)]
    #[arg(help = "whether its programs may use io_uring")]
    io_uring: Option<bool>,
    #[arg(long, help = "also less memory than it uses: what does not fit is killed")]
    #[serde(serialize_with = "if_given")]
    force: bool,
}

/// What can be said at `create` and changed by `set`.
#[derive(Args, Serialize)]
struct Settings {
    #[arg(long, value_name = "SIZE", help = "most memory, such as 256M")]
    memory: Option<String>,
    #[arg(long, value_name = "SIZE", help = "swap beside its memory, such as 256M, or none")]
    swap: Option<String>,
    #[arg(long, value_name = "NUMBER", help = "processors, such as 1 or 0.5")]
    cpus: Option<String>,
    #[arg(long, value_name = "SIZE", help = "disk quota, such as 4G, or none; it can only grow")]
    disk: Option<String>,
    #[arg(long, value_name = "NUMBER", help = "most processes")]
    pids: Option<String>,
    #[arg(long, value_name = "BRIDGE", help = "the bridge it joins")]
    network: Option<String>,
    #[arg(long, help = "dhcp, or an address such as 10.0.0.2/24")]
    address: Option<String>,
    #[arg(long, value_name = "ADDRESS", help = "default route of a fixed address")]
    gateway: Option<String>,
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), hide_possible_values = true)]
    #[arg(help = "whether it can send in its own name only; yes unless said otherwise")]
    isolate: Option<bool>,
    #[arg(long, value_name = "WHERE", value_parser = ["internet", "lan", "all"], hide_possible_values = true)]
    #[arg(help = "where it may go: internet, lan or all")]
    reach: Option<String>,
    #[arg(long, value_name = "SIZE", help = "most bytes in a second each way, such as 2M, or none")]
    rate: Option<String>,
    #[arg(long, value_name = "NUMBER", help = "most new connections in a second, or none")]
    connections: Option<String>,
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    #[arg(help = "0 to 999, 50 unless said otherwise; at boot the smallest starts first")]
    priority: Option<String>,
    #[arg(long, value_name = "WHEN", value_parser = ["no", "on-failure", "always"], hide_possible_values = true)]
    #[arg(help = "no, on-failure or always: what to do when it ended by itself")]
    restart: Option<String>,
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help = "what it is for")]
    description: Option<String>,
    #[arg(long, help = "the slice it belongs to")]
    slice: Option<String>,
}

#[derive(Args, Serialize)]
pub struct Delete {
    #[arg(short, long, help = "also when it is running")]
    #[serde(serialize_with = "if_given")]
    force: bool,
}

#[derive(Args, Serialize)]
pub struct Prune {
    #[arg(short, long, help = "do it")]
    #[serde(serialize_with = "if_given")]
    pub yes: bool,
}

#[derive(Args, Serialize)]
pub struct Timeout {
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long it may take to shut down")]
    timeout: Option<u32>,
}

#[derive(Args, Serialize)]
pub struct Stop {
    #[command(flatten)]
    #[serde(flatten)]
    timeout: Timeout,
    #[arg(short, long, help = "kill it at once")]
    #[serde(serialize_with = "if_given")]
    force: bool,
}

#[derive(Args, Serialize)]
pub struct Rename {
    name: String,
    new_name: String,
}

impl Command {
    pub fn action(self, json: bool) -> Result<Action, Failure> {
        match self {
            Command::List(Lazy(Names { names })) => {
                let wanted: &[&str] = if names { &["name"] } else { LIST_FIELDS };
                let request = container_list(Some(wanted).filter(|_| !json))?;
                Ok(Action::show(request, move |view, page| list(view, names, page)))
            }
            Command::Info(Lazy(named)) => Ok(Action::show(Request::new(CONTAINER, "info", &named)?, info)),
            Command::Top(Lazy(top)) => Ok(Action::own(move |context| top.run(context))),
            Command::Create(Lazy(job)) => job.create(),
            Command::Set(Lazy(job)) => job.call(CONTAINER, "set"),
            Command::Delete(Lazy(job)) => job.call_each(CONTAINER, "delete"),
            Command::Adopt(Lazy(job)) => job.call_each(CONTAINER, "adopt"),
            Command::Prune(Lazy(prune)) => {
                let request = Request::new(CONTAINER, "prune", &prune)?;
                Ok(Action::show(request, move |view, page| pruned(view, prune.yes, page)))
            }
            Command::Start(Lazy(job)) => job.call_each(CONTAINER, "start"),
            Command::Stop(Lazy(job)) => job.call_each(CONTAINER, "stop"),
            Command::Restart(Lazy(job)) => job.call_each(CONTAINER, "restart"),
            Command::Rename(Lazy(job)) => job.call(CONTAINER, "rename"),
            Command::Freeze(Lazy(job)) => job.call_each(CONTAINER, "freeze"),
            Command::Unfreeze(Lazy(job)) => job.call_each(CONTAINER, "unfreeze"),
        }
    }
}

impl Job<Create> {
    fn create(mut self) -> Result<Action, Failure> {
        let not_started = self.task.no_start;
        for text in &self.task.key {
            let found =
                keys(text).map_err(|why| Failure::usage(format_args!("--key {} {why}", quoted(text))))?;
            self.task.authorized_keys.get_or_insert_default().extend(found);
        }
        match self.call(CONTAINER, "create")? {
            Action::Work(work) => Ok(Action::Work(Work { starts: !not_started, ..work })),
            other => Ok(other),
        }
    }
}

const LIST: Listing = Listing {
    field: "containers",
    names: "{name}",
    none: "there are no containers yet; `cloudbox create web` makes one",
    titles: "NAME|STATE|ADDRESS|>CPU|MEMORY|>PIDS|DISK|UP|IMAGE",
    cells: "{name}|{state}|{addresses:first}|{cpu:percent}|{memory:share}|{pids}|{disk:share}|{uptime:duration}|{image}",
    notes: &[
        "[{name}: {error.message}[; it is started again in {restart_in:duration} (so far {restarts:restarts})]]",
        "[{name}: a restart applies {restart_required}]",
    ],
};

/// What [`list`] shows of each, besides its name. What passes through the interfaces takes the daemon a while.
#[rustfmt::skip]
pub const LIST_FIELDS: &[&str] = &[
    "state", "addresses", "cpu", "memory", "memory_limit", "pids", "disk", "disk_limit", "uptime", "image", "error",
    "restart_in", "restarts", "restart_required", "path",
];

/// All containers, and what stands apart from those that are declared.
fn list(view: &View<'_>, names: bool, page: &mut Page) {
    LIST.show(view, names, page);
    if names {
        return;
    }
    let orphans: Vec<String> = view.tables("orphans").iter().map(|orphan| orphan.text("name")).collect();
    if !orphans.is_empty() {
        page.line(&format!(
            "orphans, whose section is gone and whose data is kept: {}; `cloudbox adopt` brings one back, \
             `cloudbox prune` removes them",
            orphans.join(", ")
        ));
    }
    for foreign in &view.tables("foreign") {
        page.add("{name} ({state}) in {path} is another tool's; `cloudbox adopt` takes it over", foreign);
    }
}

fn pruned(view: &View<'_>, yes: bool, page: &mut Page) {
    page.add("[orphans, with all their data: {orphans}]", view);
    page.add("[left half made or half removed: {leftovers}]", view);
    let nothing = page.text.is_empty();
    page.add("[protected, and stay: {protected}]", view);
    if nothing {
        page.line("there is nothing to remove");
    } else if view.texts("jobs").is_empty() && !yes {
        page.line("`cloudbox prune --yes` removes them; there is no way back");
    } else {
        page.add("they are being removed; `cloudbox job wait {jobs:words}` follows", view);
    }
}

/// What is told of a container in front of its interfaces.
const INFO: &str = "\
name|{name}
state|{state:painted}[ (pid {pid})]
error|{error.message}
job|{job}
description|{description}
image|{image} {image_sha256:short}
made|{created:ago}
autostart|{autostart:yes}
priority|{priority}
restart|{restart}
slice|{slice}
addresses|{addresses}
network|{address} on {network}
interface|{veth}, MAC {mac}
memory|{memory:share}[, {memory_peak:size} at most]
disk|{disk:share}";

/// And behind them.
const INFO_MORE: &str = "\
processes|{pids}
cpu time|[{cpu_time:micro}[, {cpu:percent} now]]
up|{uptime:duration}
last end|{last_exit.reason}[, exit code {last_exit.code}][, signal {last_exit.signal}][ {last_exit.at:ago}]
restarts|{restarts}
asked for|{asked:limits}
in force|{in_force:limits}
restart for|{restart_required}
not changed|{fixed}
host ids|{id_base:ids}
root|{rootfs}
lxcpath|{lxcpath}
console|{console_log}
section|{section}
first boot|{first_boot.state}[, status {first_boot.code:some}]
services|{services}";

fn info(view: &View<'_>, page: &mut Page) {
    let mut table = Table::default();
    pairs(INFO, view, page, &mut table);
    for interface in &view.tables("interfaces") {
        let traffic = fill("[{received:size} in, {sent:size} out]", interface, page);
        table.pair(&interface.text("name"), traffic);
    }
    pairs(INFO_MORE, view, page, &mut table);
    for key in view.texts("authorized_keys") {
        table.pair("ssh key", key);
    }
    table.write(&mut page.text, "", false);
}
