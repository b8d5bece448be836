//! Services that containers offer on the network.

use super::action::{examples, Action, Id, Lazy, Names};
use super::failure::Failure;
use super::listing::Listing;
use super::page::Page;
use super::request::{Request, SERVICE};
use super::value::seconds;
use super::view::View;
use crate::look::BROWSE_TIMEOUT;
use clap::{Args, Subcommand};
use serde::Serialize;

#[derive(Subcommand)]
pub enum Command {
    /// show what this box announces, and why not the rest
    ///
    /// A service is announced while its container runs and its port answers. Those that an image offers are there
    /// without further ado.
    #[command(alias = "ls", after_help = examples! { "service list" => "a table" })]
    List(Lazy<Names>),
    /// announce a container's service on the network
    ///
    /// It gets a section of its own in /etc/config/cloudbox. TYPE is a DNS-SD type such as _http._tcp.
    #[command(aliases = ["announce", "advertise", "add"], after_help = examples! {
        "service publish web _http._tcp 80" => "under the container's name",
        "service publish web _http._tcp 80 --name 'Our wiki' --txt path=/wiki" => "with a name and a path",
        "service publish dns _dns._udp 53" => "over UDP, which is not checked",
    })]
    Publish(Lazy<Publish>),
    /// stop announcing a service
    ///
    /// One that the image offers is switched off by a section with `option enabled '0'`.
    #[command(aliases = ["unpublish", "rm", "delete"], after_help = examples! {
        "service withdraw web_http_80" => "by its id",
    })]
    Withdraw(Lazy<Id>),
}

#[derive(Args, Serialize)]
pub struct Publish {
    container: String,
    r#type: String,
    port: String,
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help = "the name people see")]
    name: Option<String>,
    #[arg(long, value_name = "KEY=VALUE", help = "a TXT record; may be repeated")]
    txt: Option<Vec<String>>,
    #[arg(long, value_name = "FAMILY", value_parser = ["any", "ipv4", "ipv6"])]
    #[arg(help = "announce it over one family")]
    protocol: Option<String>,
    #[arg(long, value_name = "HOW", value_parser = ["tcp", "none"], help = "none: also while its port is silent")]
    check: Option<String>,
}

#[derive(Args, Serialize)]
pub struct Browse {
    r#type: Option<String>,
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long to listen")]
    timeout: Option<u32>,
}

impl Command {
    pub fn action(self) -> Result<Action, Failure> {
        let show_id = |view: &View<'_>, page: &mut Page| page.line(&view.text("id"));
        match self {
            Command::List(Lazy(names)) => names.ask(SERVICE, "list", &LIST),
            Command::Publish(Lazy(publish)) => Action::ask(SERVICE, "publish", &publish, show_id),
            Command::Withdraw(Lazy(id)) => Action::ask(SERVICE, "withdraw", &id, show_id),
        }
    }
}

impl Browse {
    pub fn action(self) -> Result<Action, Failure> {
        let request = Request::new(SERVICE, "browse", &self)?.taking(self.timeout.unwrap_or(BROWSE_TIMEOUT));
        Ok(Action::show(request, |view, page| FOUND.show(view, false, page)))
    }
}

const LIST: Listing = Listing {
    field: "services",
    names: "{id}",
    none: "",
    titles: "ID|STATE|NAME|TYPE|>PORT|HOST|BY",
    cells: "{id}|{state}|{name}|{type}|{port}|{host}|{source}",
    notes: &["[{id}: {reason}]"],
};

const FOUND: Listing = Listing {
    field: "services",
    names: "{name}",
    none: "nobody announces such a service here; `cloudbox doctor` looks for reasons on this box",
    titles: "TYPE|NAME|HOST|ADDRESS|>PORT|BOX|TXT",
    cells: "{type}|{name}|{host}|{addresses:first}|{port}|{box}{ours:star}|{txt:words}",
    notes: &[],
};
