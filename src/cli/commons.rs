//! The commons: who has room, who hosts whom, and the brokers between them.

use super::action::{examples, Action, Lazy, NoOptions};
use super::bus::Context;
use super::failure::{complain, Failure, OK, REFUSED};
use super::listing::{only_pairs, Listing};
use super::member::brokers::Brokers;
use super::member::place::{box_file, known, own_file, read_if_there, replace, Place, Where, Who};
use super::page::{push_json, Page};
use super::request::{Request, BOX, COMMONS};
use super::text::{size, Table};
use super::view::View;
use crate::commons::formats::{Ask, Offer, DAY, OFFER_DAYS};
use crate::commons::heard::{newest, order, Heard};
use crate::commons::id::Id;
use crate::commons::invitation::Invitation;
use crate::commons::label::{Kind, Label};
use crate::commons::mosquitto::{self, File, Users};
use crate::commons::offers::owner;
use crate::commons::signed::{Ed25519, Parts};
use crate::commons::signing::signed;
use crate::commons::topic::{Filter, Topic};
use crate::commons_daemon;
use crate::error::{Code, Error, Result};
use crate::model::size::{Bytes, Cpus};
use clap::{ArgAction, Args, Subcommand};
use openwrt_uci::{ConfigFile, Document};
use serde::Serialize;
use serde_json::{json, Value};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long after its end what stands on a broker is swept away, in seconds.
const SWEPT_AFTER: u64 = 30 * DAY;

#[derive(Subcommand)]
pub enum Command {
    /// run the process of the commons on this box
    ///
    /// procd does, as the user cloudbox-commons, where `option enabled '1'` stands in `config commons`. If it ends, nothing that
    /// runs is stopped.
    #[command(after_help = examples! { "commons run -f" => "by hand, with its log on the terminal" })]
    Run(Lazy<RunArgs>),
    /// show how this box takes part
    #[command(after_help = examples! { "commons status" => "its id, brokers, slices and room" })]
    Status(Lazy<NoOptions>),
    /// show who may use how much of this box, and uses how much
    #[command(alias = "peers", after_help = examples! { "commons trust" => "peers, and those they vouch for" })]
    Trust(Lazy<NoOptions>),
    /// show who asks to be hosted
    #[command(after_help = examples! { "commons asks" => "who, how much, and how to reach them" })]
    Asks(Lazy<NoOptions>),
    /// answer who asks to be hosted
    ///
    /// `allow` writes a `config peer` with what was asked for, `never` a `config deny`; `refuse` says no for this time.
    #[command(after_help = examples! {
        "commons answer o6cgvbb4hsvzjf6g allow --name anna" => "she may use what she asked for",
        "commons answer o6cgvbb4hsvzjf6g refuse --note 'no room before June'" => "she is told",
        "commons answer o6cgvbb4hsvzjf6g never" => "nothing of hers is ever taken",
    })]
    Answer(Lazy<AnswerArgs>),
    /// show the brokers of this box
    #[command(after_help = examples! { "commons brokers" => "which are connected, and what is wrong" })]
    Brokers(Lazy<NoOptions>),
    /// take nothing new, and stop what others run here
    ///
    /// Until the process ends, or `--off`. `option state 'safe'` in `config commons` does it for good.
    #[command(after_help = examples! {
        "commons pause" => "now",
        "commons pause --off" => "go on",
    })]
    Pause(Lazy<PauseArgs>),
    /// have the process read the configuration anew
    #[command(after_help = examples! { "commons reload" => "`/etc/init.d/cloudbox reload` does it, too" })]
    Reload(Lazy<NoOptions>),
    /// show which boxes have room, and who hosts you
    #[command(after_help = examples! {
        "commons offers" => "all boxes of the network",
        "commons offers --zone osona" => "those of a zone",
    })]
    Offers(Lazy<Offers>),
    /// ask a box's owner to be hosted
    ///
    /// The request stands on the brokers for 30 days, for everybody to read. The box's owner answers it, or does not.
    #[command(after_help = examples! {
        "commons ask o6cgvbb4hsvzjf6g --memory 1G --contact anna@example.org --key anna.sec" => "for a gigabyte",
    })]
    Ask(Lazy<AskArgs>),
    /// print the line by which others join your network
    #[command(after_help = examples! { "commons invite" => "network, zone and brokers in one line" })]
    Invite(Lazy<Invite>),
    /// join a network by the line that somebody gave you
    ///
    /// On a box, as root, it is written into /etc/config/cloudbox; elsewhere into ~/.config/cloudbox/commons. Brokers that
    /// were there stay.
    #[command(after_help = examples! {
        "commons join cloudbox:guifi/osona@10.0.0.1:1883" => "network, zone and broker",
    })]
    Join(Lazy<Join>),
    /// print a broker's configuration, or sweep a broker
    ///
    /// The configuration is that of mosquitto, for a community. `broker sweep` clears what expired more than 30 days ago. Where boxes log in, it is done as the user sweeper: `option
    /// user` of the broker's section.
    #[command(after_help = examples! {
        "commons broker" => "what to do, and all files",
        "commons broker --plain" => "for /etc/mosquitto/conf.d/cloudbox.conf",
        "commons broker --acl" => "who may write what, for /etc/mosquitto/cloudbox.acl",
        "commons broker sweep --broker 10.0.0.1" => "clear what expired 30 days ago",
    })]
    Broker(Lazy<BrokerArgs>),
}

#[derive(Args)]
pub struct RunArgs {
    #[arg(long, value_name = "DIR", help = "the box's key and what is kept; usually /etc/cloudbox/commons")]
    directory: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "is there once NTP has answered; usually /var/run/cloudbox-ntp")]
    ntp: Option<PathBuf>,
    #[arg(short, long, help = "log to standard error instead of syslog")]
    foreground: bool,
    #[arg(short, long, help = "log more")]
    verbose: bool,
}

impl RunArgs {
    /// Runs the process until a signal ends it.
    pub fn run(self, socket: PathBuf) -> ExitCode {
        let environment = || std::env::var_os("CLOUDBOX_COMMONS_DIR").filter(|dir| !dir.is_empty());
        let directory = self.directory.or_else(|| environment().map(PathBuf::from));
        commons_daemon::run(commons_daemon::Options {
            socket,
            directory: directory.unwrap_or_else(|| "/etc/cloudbox/commons".into()),
            ntp: self.ntp.unwrap_or_else(|| "/var/run/cloudbox-ntp".into()),
            foreground: self.foreground,
            verbose: self.verbose,
        })
    }
}

#[derive(Args, Serialize)]
pub struct PauseArgs {
    #[arg(long = "off", action = ArgAction::SetFalse, help = "go on")]
    on: bool,
}

#[derive(Args)]
pub struct AnswerArgs {
    #[arg(value_name = "MEMBER")]
    member: String,
    #[arg(value_parser = ["allow", "refuse", "never"])]
    answer: String,
    #[arg(long, value_name = "NAME", help = "what the configuration calls the member")]
    name: Option<String>,
    #[arg(long, value_name = "TEXT", default_value = "", help = "a word to it; everybody can read it")]
    note: String,
}

#[derive(Args)]
pub struct Offers {
    #[arg(long, value_name = "NAME", help = "only boxes of this zone")]
    zone: Option<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct AskArgs {
    #[arg(value_name = "BOX")]
    box_id: String,
    #[arg(long, value_name = "SIZE", default_value = "512M", help = "memory for all your containers")]
    memory: String,
    #[arg(long, value_name = "SIZE", default_value = "4G", help = "disk for all of them")]
    disk: String,
    #[arg(long, value_name = "NUMBER", default_value = "1", help = "processors for all of them")]
    cpus: String,
    #[arg(long, value_name = "NUMBER", default_value_t = 4, help = "how many containers")]
    containers: u64,
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        help = "how the owner reaches you; everybody can read it"
    )]
    contact: String,
    #[arg(long, value_name = "TEXT", default_value = "", help = "what it is for")]
    note: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Invite {
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Join {
    line: String,
}

#[derive(Args)]
pub struct BrokerArgs {
    #[arg(value_name = "sweep", value_parser = ["sweep"], help = "clear what expired more than 30 days ago")]
    sweep: Option<String>,
    #[arg(long, conflicts_with_all = ["plain", "acl"], help = "only /etc/config/mosquitto, for OpenWrt")]
    uci: bool,
    #[arg(long, conflicts_with = "acl", help = "only the file for /etc/mosquitto/conf.d, for others")]
    plain: bool,
    #[arg(long, help = "only the list of who may write what")]
    acl: bool,
    #[arg(long, help = "for a broker where boxes do not log in: everybody may write everything")]
    open: bool,
    #[command(flatten)]
    by: Where,
}

impl Command {
    pub fn action(self, json: bool) -> std::result::Result<Action, Failure> {
        let look = |method: &str, show: fn(&View<'_>, &mut Page)| {
            Ok(Action::show(Request::new(COMMONS, method, &NoOptions {})?, show))
        };
        match self {
            Command::Run(Lazy(args)) => Ok(Action::Commons(args)),
            Command::Status(_) => look("status", |view, page| only_pairs(STATUS, view, page)),
            Command::Trust(_) => look("trust", |view, page| TRUST.show(view, false, page)),
            Command::Asks(_) => look("asks", |view, page| ASKS.show(view, false, page)),
            Command::Brokers(_) => look("brokers", |view, page| BROKERS.show(view, false, page)),
            Command::Reload(_) => look("reload", |_, page| page.line("the configuration is being read")),
            Command::Pause(Lazy(args)) => {
                Ok(Action::show(Request::new(COMMONS, "pause", &args)?, |view, page| {
                    page.add("{paused:yes}", view);
                }))
            }
            Command::Answer(Lazy(args)) => Ok(Action::own(move |context| args.run(context))),
            other => Ok(Action::own(move |_| {
                let mut page = Page::stdout();
                let code = other.over_brokers(json, &mut page).map_err(Failure::refused)?;
                page.print()?;
                Ok(code)
            })),
        }
    }

    fn over_brokers(self, json: bool, page: &mut Page) -> Result<u8> {
        match self {
            Command::Offers(Lazy(args)) => args.show(json, page),
            Command::Ask(Lazy(args)) => args.run(page),
            Command::Invite(Lazy(args)) => args.show(page),
            Command::Join(Lazy(args)) => args.run(page),
            Command::Broker(Lazy(args)) => args.run(page),
            // The others ask the bus.
            _ => Ok(OK),
        }
    }
}

/// What `commons status` shows.
const STATUS: &str = "box|{box}
session|{session}
brokers|{connected:int} of {brokers:int} connected
slices|{slices:int}, {ready:int} ready here
asks|{asks:int}
paused|{paused:yes}
free memory|{memory:bytes}
free disk|{disk:bytes}
unheard|{unheard:yes}";

const TRUST: Listing = Listing {
    field: "peers",
    names: "{id}",
    none: "no peers; `config peer` in /etc/config/cloudbox, or `cloudbox commons answer`",
    titles: "MEMBER|NAME|VIA|>MEMORY|>DISK|>CONTAINERS|WHY NOT",
    cells: "{id}|{name}|{via}|{used.memory:bytes}/{most.memory:bytes}|{used.disk:bytes}/{most.disk:bytes}|\
            {used.containers:int}/{most.containers:int}|{refused}",
    notes: &[],
};

const ASKS: Listing = Listing {
    field: "asks",
    names: "{member}",
    none: "nobody asks",
    titles: "MEMBER|>MEMORY|>DISK|>CONTAINERS|CONTACT|NOTE",
    cells: "{member}|{memory:bytes}|{disk:bytes}|{containers:int}|{contact}|{note}",
    notes: &[],
};

const BROKERS: Listing = Listing {
    field: "brokers",
    names: "{name}",
    none: "no broker is listed: the commons works on this box alone",
    titles: "BROKER|CONNECTED|COMPLETE|TROUBLE",
    cells: "{name}|{connected:yes}|{complete:yes}|{trouble}",
    notes: &[],
};

impl AnswerArgs {
    fn run(self, context: &mut Context) -> std::result::Result<u8, Failure> {
        let asks = context.call(&Request::new(COMMONS, "asks", &NoOptions {})?)?;
        let view = View::new(&asks);
        let ask = view.tables("asks").into_iter().find(|ask| ask.raw("member") == self.member);
        let Some(ask) = ask else {
            let why = format!("{} does not ask; `cloudbox commons asks` shows who does", self.member);
            return Err(Failure::refused(Error::new(Code::NotFound, why)));
        };
        self.write(&ask).map_err(Failure::refused)?;
        let told = json!({ "member": self.member, "allow": self.answer == "allow", "note": self.note });
        context.call(&Request::new(COMMONS, "answer", &told)?)?;
        if self.answer != "refuse" {
            context.call(&Request::new(BOX, "reload", &NoOptions {})?)?;
        }
        let mut page = Page::stdout();
        page.line(match self.answer.as_str() {
            "allow" => {
                "it is hosted from now on, within what it asked for; `cloudbox commons trust` shows it"
            }
            "never" => "nothing that it signs is taken, whoever vouches for it",
            _ => "it is told",
        });
        page.print()?;
        Ok(OK)
    }

    /// Writes the section, where there is to be one.
    fn write(&self, ask: &View<'_>) -> Result<()> {
        let path = box_file();
        let name = self.name.clone().unwrap_or_else(|| self.member.clone());
        let key = ask.raw("key").into_owned();
        let amount = |name: &str| Bytes(ask.number(name).unwrap_or(0)).exact();
        let edit = |document: &mut Document| {
            if self.answer == "never" {
                let section = document.add_anonymous("deny")?;
                return document.set(&section, "key", &key);
            }
            document.add_section("peer", &name)?;
            let cpus = Cpus(ask.number("cpus").unwrap_or(0).try_into().unwrap_or(0)).to_string();
            let containers = ask.number("containers").unwrap_or(0).to_string();
            let contact = ask.raw("contact").into_owned();
            for (option, value) in [
                ("key", &key),
                ("contact", &contact),
                ("memory", &amount("memory")),
                ("disk", &amount("disk")),
                ("cpus", &cpus),
                ("containers", &containers),
            ] {
                document.set(&name, option, value)?;
            }
            Ok(())
        };
        if self.answer == "refuse" {
            return Ok(());
        }
        ConfigFile::new(&path).edit_document(edit).map_err(|e| Error::new(Code::Config, e))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Offers {
    fn show(&self, json: bool, page: &mut Page) -> Result<u8> {
        let zone = self.zone.as_deref().map(|zone| Label::new(Kind::Zone, zone)).transpose()?;
        let place = self.by.place()?;
        // Who asks may have no key yet.
        let member = self.who.id().ok();
        let (network, now) = (place.network, now());
        let known = known()?;
        let mut brokers = Brokers::connect(&place)?;
        let heard = brokers.read(&[Filter::Offers(zone).text(network)]);
        let wanted = |topic: &Topic| matches!(topic, Topic::Offer(..));
        let all = newest::<Offer>(&Ed25519, network, &heard, wanted, |offer| order(offer.stamp));
        let mut offers: Vec<Offer> =
            all.newest.into_iter().map(|newest| newest.told).filter(|offer| offer.expires > now).collect();
        offers.sort_by_key(|offer| (offer.zone, offer.of));
        for trouble in brokers.troubles() {
            complain(&trouble);
        }
        if !all.refused.is_empty() {
            complain(&format!(
                "{} offers are passed over: they are not signed by their boxes",
                all.refused.len()
            ));
        }
        let name_of = |offer: &Offer| {
            let id = owner(&Ed25519, network, offer, now)?;
            let known = known.iter().find(|known| Id::of(&known.key) == id);
            Some(known.map_or_else(|| id.to_string(), |known| known.name.clone()))
        };
        let hosts = |offer: &Offer| match (&offer.accepts, member) {
            (None, _) => "not told",
            (Some(accepts), Some(member)) if accepts.contains(&member) => "yes",
            (Some(_), _) => "no",
        };
        if json {
            let one = |offer: &Offer| {
                json!({
                    "box": offer.of.to_string(), "zone": offer.zone.as_str(), "name": &*offer.name,
                    "owner": name_of(offer), "arch": &*offer.arch, "class": offer.class.as_str(),
                    "state": offer.mode.as_str(), "memory": offer.memory, "disk": offer.disk, "cpus": offer.cpus,
                    "containers": offer.containers, "members": offer.members, "hosts_you": hosts(offer),
                })
            };
            let value = json!({ "offers": offers.iter().map(one).collect::<Vec<Value>>() });
            push_json(&mut page.text, &format!("{value:#}\n"));
            return Ok(OK);
        }
        if offers.is_empty() {
            page.line("no box offers anything here");
            return Ok(OK);
        }
        let mut table = Table::titled("BOX|ZONE|NAME|OWNER|ARCH|CLASS|>MEMORY|>DISK|>ROOM|HOSTS YOU");
        for offer in &offers {
            let dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
            table.row(vec![
                offer.of.to_string(),
                offer.zone.to_string(),
                dash(offer.name.to_string()),
                dash(name_of(offer).unwrap_or_default()),
                dash(offer.arch.to_string()),
                offer.class.as_str().to_string(),
                size(Some(offer.memory)),
                size(Some(offer.disk)),
                offer.containers.to_string(),
                hosts(offer).to_string(),
            ]);
        }
        table.write(&mut page.text, "", page.color);
        Ok(OK)
    }
}

impl AskArgs {
    fn run(&self, page: &mut Page) -> Result<u8> {
        let key = self.who.secret()?;
        let member = Id::of(&key.public());
        let of: Id = self.box_id.parse()?;
        let now = now();
        let ask = Ask {
            of,
            member,
            memory: Bytes::parse("memory", &self.memory)?.get(),
            disk: Bytes::parse("disk", &self.disk)?.get(),
            cpus: Cpus::parse("cpus", &self.cpus)?.milli().into(),
            containers: self.containers,
            contact: self.contact.as_str().into(),
            note: self.note.as_str().into(),
            issued: now,
            expires: now + OFFER_DAYS * DAY,
        };
        let place = self.by.place()?;
        let text = signed(&key, place.network, &ask)?;
        let mut brokers = Brokers::connect(&place)?;
        let kept = brokers.publish(&Topic::Ask(of, member), &text);
        let good = kept.iter().filter(|kept| kept.why_not.is_none()).count();
        for one in &kept {
            if let Some(why) = &one.why_not {
                complain(&format!("{}: {why}", one.host));
            }
        }
        if good == 0 {
            return Err(Error::new(Code::Failed, "no broker keeps the request; nobody will read it"));
        }
        page.line(&format!("asked box {of}; its owner sees it by `cloudbox commons asks`, for 30 days"));
        Ok(if good == kept.len() { OK } else { REFUSED })
    }
}

impl Invite {
    fn show(&self, page: &mut Page) -> Result<u8> {
        let Place { network, zone, brokers, .. } = self.by.place()?;
        let zone = zone.ok_or_else(|| Error::new(Code::NotFound, "no zone is written down: option zone"))?;
        let is_here = |host: &str| host == "localhost" || host.starts_with("127.") || host == "::1";
        if let Some(broker) = brokers.iter().find(|broker| is_here(&broker.host)) {
            complain(&format!(
                "{} is this computer only for itself: write the address by which others reach it",
                broker.host
            ));
        }
        page.line(&Invitation::of(network, zone, &brokers).to_string());
        Ok(OK)
    }
}

impl Join {
    fn run(&self, page: &mut Page) -> Result<u8> {
        let invitation: Invitation = self.line.parse()?;
        let on_box = nix::unistd::geteuid().is_root() && box_file().exists();
        let path = if on_box { Some(box_file()) } else { own_file() };
        let path =
            path.ok_or_else(|| Error::new(Code::NotFound, "there is no home to write it to; set HOME"))?;
        if on_box {
            ConfigFile::new(&path)
                .edit_document(|document| write(document, &invitation))
                .map_err(|e| Error::new(Code::Config, e))?;
        } else {
            let text = read_if_there(&path)?.unwrap_or_default();
            let mut document = Document::parse(&text)
                .map_err(|e| Error::new(Code::Config, format_args!("{}: {e}", path.display())))?;
            write(&mut document, &invitation).map_err(|e| Error::new(Code::Config, e))?;
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).map_err(|e| Error::io("cannot make", directory, e))?;
            }
            replace(&path, document.as_bytes())?;
        }
        page.line(&format!(
            "{}: network {}, zone {}, {} brokers",
            path.display(),
            invitation.network,
            invitation.zone,
            invitation.brokers.len()
        ));
        if on_box {
            page.line(
                "the box takes part once it may: uci set cloudbox.commons.enabled=1; uci commit cloudbox; \
                       /etc/init.d/cloudbox reload",
            );
        }
        Ok(OK)
    }
}

/// Puts network, zone and brokers into a configuration. Brokers that it has are left alone.
fn write(
    document: &mut Document,
    invitation: &Invitation,
) -> std::result::Result<(), openwrt_uci::EditError> {
    if document.package().section("commons").is_none() {
        document.add_section("commons", "commons")?;
    }
    document.set("commons", "network", invitation.network.as_str())?;
    document.set("commons", "zone", invitation.zone.as_str())?;
    for (host, port) in &invitation.brokers {
        let port = port.to_string();
        let is_there = document.package().sections_of("broker").any(|section| {
            section.get_str("host") == Some(host) && section.get_str("port").unwrap_or("1883") == port
        });
        if is_there {
            continue;
        }
        let free = |number: &usize| document.package().section(&format!("broker{number}")).is_none();
        let name = (1..).find(free).map_or_else(String::new, |number| format!("broker{number}"));
        document.add_section("broker", &name)?;
        document.set(&name, "host", host)?;
        document.set(&name, "port", &port)?;
    }
    Ok(())
}

impl BrokerArgs {
    fn run(&self, page: &mut Page) -> Result<u8> {
        if self.sweep.is_some() {
            return sweep(&self.by.place()?, page);
        }
        let network = self.by.network()?;
        let users = if self.open { Users::Nobody } else { Users::Boxes };
        let one = [(self.uci, File::Uci), (self.plain, File::Plain), (self.acl, File::Acl)];
        if let Some((_, file)) = one.into_iter().find(|(wanted, _)| *wanted) {
            page.text.push_str(&mosquitto::text(file, network, users));
            return Ok(OK);
        }
        for (file, what) in [
            (File::Uci, "On OpenWrt, with the package mosquitto-nossl: /etc/config/mosquitto"),
            (File::Plain, "Elsewhere: /etc/mosquitto/conf.d/cloudbox.conf"),
            (File::Acl, "Who may write what: /etc/mosquitto/cloudbox.acl"),
        ] {
            let text = mosquitto::text(file, network, users);
            if !text.is_empty() {
                page.line(&format!("# {what}\n\n{text}"));
            }
        }
        if !self.open {
            page.line(
                "# Each box has a password of its own, and is called by its id:\n\n\
                       mosquitto_passwd -b /etc/mosquitto/cloudbox.passwd BOX PASSWORD",
            );
        }
        Ok(OK)
    }
}

/// Clears what expired long ago. What it says of its end is its author's word: whoever clears it takes it as it is, since
/// nothing that has ended is of use to anybody.
fn sweep(place: &Place, page: &mut Page) -> Result<u8> {
    let (network, now) = (place.network, now());
    let mut brokers = Brokers::connect(place)?;
    let everything = format!("cloudbox/1/{network}/#");
    let heard = brokers.read(&[everything]);
    let is_old = |heard: &&Heard| ended(&heard.text).is_some_and(|end| end + SWEPT_AFTER < now);
    let old: Vec<&Heard> = heard.iter().filter(is_old).collect();
    let mut cleared = 0;
    for one in &old {
        match brokers.clear(one.broker, &one.topic) {
            Ok(()) => cleared += 1,
            Err(why) => complain(&why),
        }
    }
    brokers.troubles().iter().for_each(|trouble| complain(trouble));
    page.line(&format!("{cleared} of {} texts expired more than 30 days ago, and are cleared", heard.len()));
    Ok(if cleared == old.len() { OK } else { REFUSED })
}

/// When a text says that it ends, whoever signed it.
fn ended(text: &[u8]) -> Option<u64> {
    let message = Parts::of(text).ok()?.message;
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let value: Value = serde_json::from_slice(message.get(end + 1..)?).ok()?;
    value.get("expires")?.as_u64()
}
