//! The configuration files, read into types: `/etc/config/cloudbox`, and `/etc/config/cloudbox-host`, which holds what
//! reaches outside of the containers. rpcd grants by the file, and no group of ours may write the second one.
//!
//! A wrong value never takes the rest of the file with it: it becomes a warning, and the section it stands in keeps
//! what it had before.

use super::commons::{self, Broker, CommonsSettings, Grants, Images, Peer};
use super::name::{ImageName, Name};
use super::options::{self, OptionValues, Shape};
use super::remote::{self, KnownImage, Remote};
use super::service;
use super::size::{Bytes, Cpus};
use super::spec::{
    check_bridge, check_first_boot, invalid, parse_bool, parse_disk, parse_memory, parse_pids, Defaults, Spec,
};
use crate::error::{Code, Error, Result};
use crate::usign::PublicKey;
use litemap::LiteMap;
use openwrt_uci::{Opt, Package, Section};
use std::fmt;
use std::path::{Component, PathBuf};

/// Where images and containers are kept unless UCI or the environment says otherwise.
pub const DEFAULT_STORAGE: &str = "/srv/cloudbox";

/// Where key files lie unless the box's owner says otherwise.
const DEFAULT_KEY_DIR: &str = "/etc/cloudbox";

/// The file that anybody may write who may make containers, and the one that only the box's owner may.
const MAIN: &str = "cloudbox";
const HOST: &str = "cloudbox-host";

/// Something wrong in the file that did not stop the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file's name in `/etc/config`.
    pub file: &'static str,
    /// Line in the file, from 1.
    pub line: usize,
    /// Section, by its name or, for an anonymous one, its type.
    pub section: String,
    /// Option, or empty.
    pub option: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/etc/config/{} line {}: section '{}'", self.file, self.line, self.section)?;
        if !self.option.is_empty() {
            write!(f, ", option '{}'", self.option)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Sections that other parts of the commons read, or will: they are no mistake.
const READ_ELSEWHERE: [&str; 3] = ["directory", "guifi", "checkpoint"];

/// Sections `main` and `commons`, and section `host` of the other file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Off: nothing is created or started; what runs goes on.
    pub enabled: bool,
    /// Where images and containers are kept.
    pub storage: PathBuf,
    /// What a container gets that says nothing.
    pub defaults: Defaults,
    /// Memory kept for the box.
    pub memory_reserve: u64,
    /// Disk kept for the box.
    pub disk_reserve: u64,
    /// Off: this box and its containers' services are not announced.
    pub advertise: bool,
    /// Where other tools keep their containers.
    pub lxcpath: PathBuf,
    /// Where calls may have archives written; none: the storage's own directory for them.
    pub export_dirs: Vec<PathBuf>,
    /// Where calls may have archives and images read from; none: as above.
    pub import_dirs: Vec<PathBuf>,
    /// Where the files lie that remotes name as `key_file`, and brokers as `password_file`.
    pub key_dirs: Vec<PathBuf>,
    /// Section `commons`.
    pub commons: CommonsSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            enabled: true,
            lxcpath: PathBuf::from("/srv/lxc"),
            export_dirs: Vec::new(),
            import_dirs: Vec::new(),
            key_dirs: vec![PathBuf::from(DEFAULT_KEY_DIR)],
            storage: PathBuf::from(DEFAULT_STORAGE),
            defaults: Defaults {
                image: ImageName::new("distro").unwrap_or_else(|_| unreachable!("a valid name")),
                bridge: "br-lan".into(),
                memory: Bytes(512 << 20),
                cpus: Cpus(1000),
                disk: Some(Bytes(4 << 30)),
                pids: 512,
            },
            memory_reserve: 512 << 20,
            disk_reserve: 2 << 30,
            advertise: true,
            commons: CommonsSettings::default(),
        }
    }
}

/// A `container` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it says, checked; or why it cannot be used.
    pub spec: Result<Spec>,
    /// A delete has begun and must be finished.
    pub deleting: bool,
    /// It is being given this name, which must be finished.
    pub renaming: Option<Name>,
}

impl Declared {
    /// A section that says this, and nothing else is under way.
    pub fn good(spec: Spec) -> Declared {
        Declared { spec: Ok(spec), deleting: false, renaming: None }
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Section `main`.
    pub settings: Settings,
    /// The containers that shall exist.
    pub containers: LiteMap<Name, Declared>,
    /// Their services.
    pub services: Vec<service::DeclaredService>,
    /// Servers of images, in the order of the file; or what is wrong with one.
    pub remotes: Vec<(String, Result<Remote>)>,
    /// Images of which the file says where they are to be had.
    pub images: Vec<KnownImage>,
    /// Who carries what the commons says, in the order of the file.
    pub brokers: Vec<Broker>,
    /// Whom the box hosts.
    pub peers: Vec<Peer>,
    /// Whom it does not, whoever says otherwise.
    pub denied: Vec<PublicKey>,
    /// What is wrong in the file, in its order.
    pub warnings: Vec<Warning>,
    /// The file has no section at all, or is not there.
    pub is_empty: bool,
}

/// Checks that the file has not lost all that it said, by a power cut, an editor, or a backup without it: `containers` are
/// known, and nobody undeclares all of them and what holds for the box at once.
///
/// # Errors
/// [`Code::Config`].
pub fn check_not_lost(config: &Config, containers: usize) -> Result<()> {
    if !config.is_empty || containers == 0 {
        return Ok(());
    }
    Err(Error::new(
        Code::Config,
        format_args!(
            "/etc/config/cloudbox has no section any more, and there are {containers} containers; bring it back from a \
             backup, or write \"config cloudbox 'main'\" into it if all of them shall stop, then `cloudbox reload`"
        ),
    ))
}

impl Config {
    /// The servers of images whose lists need not be signed, by their names.
    pub fn unsigned_remotes(&self) -> Vec<String> {
        let unsigned = |remote: &Result<Remote>| remote.as_ref().is_ok_and(|remote| !remote.is_signed());
        self.remotes.iter().filter(|(_, remote)| unsigned(remote)).map(|(name, _)| name.clone()).collect()
    }
}

/// Reads `package`, and `host`, the file that is the owner's alone. Sections `main` and `host` keep the value of `before`
/// where the new one is wrong.
pub fn read(package: &Package, host: &Package, before: &Settings) -> Config {
    let moved = host.section("host").is_some_and(|section| section.kind() == "host");
    let config = Config { is_empty: package.sections().is_empty(), ..Config::default() };
    let mut reader = Reader { config, before, file: HOST, moved };
    for section in host.sections() {
        match section.kind() {
            "host" if section.name() == "host" => reader.host(section),
            kind => {
                let why = format!(
                    "sections of type '{kind}' are not known to this version of cloudbox and do nothing; there is \
                     one: config host 'host'"
                );
                reader.warn_of(section, None, &why);
            }
        }
    }
    reader.file = MAIN;
    for repeat in package.repeats() {
        reader.warn(
            repeat.line,
            &repeat.section,
            "",
            "the section stands in the file twice; keep one of them",
        );
    }
    for section in package.sections() {
        match section.kind() {
            "cloudbox" if section.name() == "main" => reader.main(section),
            "commons" if section.name() == "commons" => reader.commons(section),
            "commons" => {
                let why = "the section does nothing; there is one: config commons 'commons'";
                reader.warn_of(section, None, why);
            }
            "broker" => reader.broker(section),
            "peer" => reader.peer(section),
            "deny" => reader.deny(section),
            "container" | "service" | "remote" | "image" => {}
            kind if READ_ELSEWHERE.contains(&kind) => {}
            kind => {
                let why = format!(
                    "sections of type '{kind}' are not known to this version of cloudbox and do nothing"
                );
                reader.warn_of(section, None, &why);
            }
        }
    }
    for section in package.sections_of("container") {
        let repeated = package.repeats().iter().any(|r| r.section == section.name());
        reader.container(section, repeated);
    }
    for section in package.sections_of("service") {
        reader.service(section);
    }
    for section in package.sections_of("remote") {
        reader.remote(section);
    }
    for section in package.sections_of("image") {
        reader.image(section);
    }
    reader.config
}

struct Reader<'a> {
    config: Config,
    before: &'a Settings,
    /// The file that is being read.
    file: &'static str,
    /// What is the owner's alone stands in its own file.
    moved: bool,
}

impl Reader<'_> {
    fn warn(&mut self, line: usize, section: &str, option: &str, message: &str) {
        self.config.warnings.push(Warning {
            file: self.file,
            line,
            section: section.into(),
            option: option.into(),
            message: message.into(),
        });
    }

    /// Warns of an option, or of the whole section.
    fn warn_of(&mut self, section: &Section, option: Option<&Opt>, message: &str) {
        // An anonymous section's made-up name says nothing to a person: its type does.
        let label = if section.is_anonymous() { section.kind() } else { section.name() };
        let line = option.map_or(section.line(), Opt::line);
        self.warn(line, label, option.map_or("", Opt::name), message);
    }

    /// Section `host`: what reaches outside of the containers.
    fn host(&mut self, section: &Section) {
        let mut settings = Settings::default();
        for option in section.options() {
            match set_host(&mut settings, option) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => {
                    copy_host(self.before, &mut settings, option.name());
                    let message = format!("{}; the earlier value stays", error.message);
                    self.warn_of(section, Some(option), &message);
                }
            }
        }
        self.config.settings = settings;
    }

    /// An option of the other file that was not moved there yet, as after an upgrade by hand: nothing may be lost.
    fn not_moved(&mut self, settings: &mut Settings, section: &Section, option: &Opt) {
        let why = match set_host(settings, option) {
            Ok(_) => "the option is the box's owner's; it belongs to /etc/config/cloudbox-host, section 'host', and \
                      does nothing here any more once there is that section"
                .into(),
            Err(error) => {
                copy_host(self.before, settings, option.name());
                format!("{}; the earlier value stays", error.message)
            }
        };
        self.warn_of(section, Some(option), &why);
    }

    fn main(&mut self, section: &Section) {
        let mut settings = self.config.settings.clone();
        for option in section.options() {
            let is_owners = matches!(option.name(), "storage" | "lxcpath");
            if is_owners && !self.moved {
                self.not_moved(&mut settings, section, option);
                continue;
            }
            if is_owners {
                let why = "the option does nothing here; it is the box's owner's, and stands in \
                           /etc/config/cloudbox-host, section 'host'";
                self.warn_of(section, Some(option), why);
                continue;
            }
            let Some(text) = self.text(section, option) else { continue };
            if let Err(error) = set(&mut settings, option.name(), text) {
                let _ = copy(self.before, &mut settings, option.name());
                let message = format!("{}; the earlier value stays", error.message);
                self.warn_of(section, Some(option), &message);
            }
        }
        self.config.settings = settings;
    }

    fn commons(&mut self, section: &Section) {
        for option in section.options() {
            let Some(text) = self.text(section, option) else { continue };
            match self.config.settings.commons.set(option.name(), text) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => {
                    self.config.settings.commons.take(option.name(), &self.before.commons);
                    let message = format!("{}; the earlier value stays", error.message);
                    self.warn_of(section, Some(option), &message);
                }
            }
        }
    }

    /// A broker with a wrong value is none: nobody shall be spoken to as he was not meant to be.
    fn broker(&mut self, section: &Section) {
        if self.is_nameless(section, "broker 'one'") {
            return;
        }
        let mut broker = Broker::new(section.name());
        for option in section.options() {
            match single(option).and_then(|text| broker.set(option.name(), text)) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => return self.warn_of(section, Some(option), &error.message),
            }
        }
        if let Err(error) = broker.check() {
            return self.blame(section, &error);
        }
        let same = |known: &&Broker| (&known.host, known.port) == (&broker.host, broker.port);
        if let Some(first) = self.config.brokers.iter().find(same) {
            let why = format!("it is the broker of section '{}' already; this one does nothing", first.name);
            return self.warn_of(section, None, &why);
        }
        if self.config.brokers.len() >= commons::BROKERS_MAX {
            let why = format!("{} brokers are the most; this one does nothing", commons::BROKERS_MAX);
            return self.warn_of(section, None, &why);
        }
        self.config.brokers.push(broker);
    }

    /// A peer is its key. One whose key cannot be read is nobody; one with another wrong value stays known, and gets nothing
    /// new: what it has shall not end by a slip of the pen.
    fn peer(&mut self, section: &Section) {
        if self.is_nameless(section, "peer 'anna'") {
            return;
        }
        let key = section.option("key").map(single).transpose();
        let key = match key.and_then(commons::parse_key) {
            Ok(key) => key,
            Err(error) => return self.blame(section, &error),
        };
        if let Some(first) = self.config.peers.iter().find(|known| known.key.bytes() == key.bytes()) {
            let why = format!("it has the key of section '{}'; this one does nothing", first.name);
            return self.warn_of(section, section.option("key"), &why);
        }
        let (mut grants, mut contact, mut wrong) = (Grants::default(), String::new(), None);
        for option in section.options() {
            match grant(&mut grants, &mut contact, option) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => {
                    let message = format!("{}; until then it gets nothing new", error.message);
                    self.warn_of(section, Some(option), &message);
                    wrong.get_or_insert(error);
                }
            }
        }
        let grants = wrong.map_or(Ok(grants), Err);
        self.config.peers.push(Peer { name: section.name().to_string(), key, contact, grants });
    }

    fn deny(&mut self, section: &Section) {
        for option in section.options().iter().filter(|option| option.name() != "key") {
            self.unknown(section, option);
        }
        let key = section.option("key").map(single).transpose();
        match key.and_then(commons::parse_key) {
            Ok(key) => self.config.denied.push(key),
            Err(error) => {
                let message = format!("{}; until then nobody is denied by this section", error.message);
                self.warn_of(section, section.option("key"), &message);
            }
        }
    }

    fn container(&mut self, section: &Section, repeated: bool) {
        let named = if section.is_anonymous() {
            let why = "a container's section needs its name: config container 'web'";
            Err(Error::new(Code::InvalidName, why))
        } else {
            Name::from_uci_section(section.name())
        };
        let name = match named {
            Ok(name) => name,
            Err(error) => return self.warn_of(section, None, &error.message),
        };
        let mut said = OptionValues::default();
        let mut wrong: Option<(&Opt, Error)> = None;
        let (mut deleting, mut renaming) = (false, None);
        for option in section.options() {
            match say(&mut said, &mut deleting, &mut renaming, option) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => {
                    wrong.get_or_insert((option, error));
                }
            }
        }
        let mut spec = match wrong {
            Some((option, error)) => {
                self.warn_of(section, Some(option), &error.message);
                Err(error)
            }
            None => {
                let resolved = said.resolve(&self.config.settings.defaults);
                // What was made already keeps the script it got; what is to be made is refused.
                if let Some(error) =
                    resolved.as_ref().ok().and_then(|s| check_first_boot(&s.first_boot).err())
                {
                    self.blame(section, &error);
                }
                resolved.inspect_err(|error| self.blame(section, error))
            }
        };
        if repeated {
            spec = Err(Error::new(
                Code::Config,
                format_args!(
                    "section '{}' stands twice in /etc/config/cloudbox; keep one of them",
                    section.name()
                ),
            ));
        }
        self.config.containers.insert(name, Declared { spec, deleting, renaming });
    }

    /// A service's section needs no name of its own: nobody types it.
    fn service(&mut self, section: &Section) {
        let mut asked = service::ServiceOptions::default();
        for option in section.options() {
            match ask_service(&mut asked, option) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => return self.warn_of(section, Some(option), &error.message),
            }
        }
        let declared = match asked.resolve(section.name()) {
            Ok(declared) => declared,
            Err(error) => return self.blame(section, &error),
        };
        if !self.config.containers.contains_key(&declared.container) {
            let why = format!("there is no container {}; the service does nothing", declared.container);
            self.warn_of(section, section.option("container"), &why);
        }
        let same =
            |d: &&service::DeclaredService| super::advert::is_same(d, &declared.container, &declared.service);
        if let Some(first) = self.config.services.iter().find(same) {
            let why = format!(
                "container {} has {} on port {} in section '{}' already; this one does nothing",
                declared.container, declared.service.kind, declared.service.port, first.id
            );
            return self.warn_of(section, None, &why);
        }
        self.config.services.push(declared);
    }

    /// A section that must have a name, and has none.
    fn is_nameless(&mut self, section: &Section, example: &str) -> bool {
        if section.is_anonymous() {
            let why = format!("the section needs its name: config {example}");
            self.warn_of(section, None, &why);
        }
        section.is_anonymous()
    }

    /// A server with a wrong value stays known, and cannot be used.
    fn remote(&mut self, section: &Section) {
        if self.is_nameless(section, "remote 'community'") {
            return;
        }
        let mut asked = remote::RemoteOptions::default();
        let mut wrong = None;
        for option in section.options() {
            match ask_remote(&mut asked, option) {
                Ok(true) => {}
                Ok(false) => self.unknown(section, option),
                Err(error) => drop(wrong.get_or_insert(error)),
            }
        }
        let name = remote::parse_name(section.name());
        let resolved = wrong.map_or(Ok(()), Err).and_then(|()| asked.resolve(&name?));
        match &resolved {
            Err(error) => self.blame(section, error),
            Ok(found) if found.url.starts_with("http:") && !found.is_signed() => {
                let why = "anybody on the way can change what comes; use https, or a server that signs, with its key";
                self.warn_of(section, section.option("url"), why);
            }
            Ok(_) => {}
        }
        let resolved =
            resolved.map(|remote| Remote { key_dirs: self.config.settings.key_dirs.clone(), ..remote });
        self.config.remotes.push((section.name().to_string(), resolved));
    }

    fn image(&mut self, section: &Section) {
        if self.is_nameless(section, "image 'distro'") {
            return;
        }
        let mut asked = remote::ImageOptions::default();
        for option in section.options() {
            let field = match option.name() {
                "remote" => &mut asked.remote,
                "alias" => &mut asked.alias,
                "sha256" => &mut asked.sha256,
                _ => {
                    self.unknown(section, option);
                    continue;
                }
            };
            match single(option) {
                Ok(text) => *field = Some(text.to_string()),
                Err(error) => return self.warn_of(section, Some(option), &error.message),
            }
        }
        let known = match ImageName::new(section.name()).and_then(|name| asked.resolve(name)) {
            Ok(known) => known,
            Err(error) => return self.blame(section, &error),
        };
        if let Some(remote) = known.remote.as_deref() {
            if !self.config.remotes.iter().any(|(name, _)| name == remote) {
                let why = format!("there is no remote {remote}");
                self.warn_of(section, section.option("remote"), &why);
            }
        }
        self.config.images.push(known);
    }

    fn unknown(&mut self, section: &Section, option: &Opt) {
        let message = "this version of cloudbox does not know the option; it does nothing";
        self.warn_of(section, Some(option), message);
    }

    /// Warns of the option that `error` is about.
    fn blame(&mut self, section: &Section, error: &Error) {
        let culprit = error.option.as_deref().and_then(|name| section.option(name));
        self.warn_of(section, culprit, &error.message);
    }

    fn text<'o>(&mut self, section: &Section, option: &'o Opt) -> Option<&'o str> {
        match single(option) {
            Ok(text) => Some(text),
            Err(error) => {
                self.warn_of(section, Some(option), &error.message);
                None
            }
        }
    }
}

/// The value of an option that is no list.
fn single(option: &Opt) -> Result<&str> {
    match option.values() {
        [value] => {
            value.as_str().ok_or_else(|| invalid(option.name(), &value.to_str_lossy(), "it is not UTF-8"))
        }
        _ => Err(invalid(option.name(), "", "it is a list; write one 'option'")),
    }
}

/// Adds the values of a list to `texts`.
fn texts(texts: &mut Vec<String>, option: &Opt) -> Result<bool> {
    for value in option.values() {
        let text = value.as_str().ok_or_else(|| invalid(option.name(), "", "it is not UTF-8"))?;
        texts.push(text.to_string());
    }
    Ok(true)
}

/// Puts one option of a container where it belongs; false when there is no such option.
fn say(
    said: &mut OptionValues,
    deleting: &mut bool,
    renaming: &mut Option<Name>,
    option: &Opt,
) -> Result<bool> {
    match (options::find(option.name()), option.name()) {
        (Some(known), _) if known.shape == Shape::List => {
            let mut values = Vec::new();
            texts(&mut values, option)?;
            said.put_list(known.name, values);
        }
        (Some(known), _) => said.put(known.name, single(option)?),
        (None, "deleting") => *deleting = parse_bool("deleting", single(option)?)?,
        (None, "renaming") => *renaming = Some(Name::new(single(option)?)?),
        (None, _) => return Ok(false),
    }
    Ok(true)
}

/// Puts one option of a service where it belongs; false when there is no such option.
fn ask_service(asked: &mut service::ServiceOptions, option: &Opt) -> Result<bool> {
    let field = match option.name() {
        "container" => &mut asked.container,
        "name" => &mut asked.name,
        "type" => &mut asked.kind,
        "port" => &mut asked.port,
        "protocol" => &mut asked.protocol,
        "check" => &mut asked.check,
        "enabled" => &mut asked.enabled,
        "txt" => return texts(&mut asked.txt, option),
        _ => return Ok(false),
    };
    *field = Some(single(option)?.to_string());
    Ok(true)
}

/// Puts one option of a server where it belongs; false when there is no such option.
fn ask_remote(asked: &mut remote::RemoteOptions, option: &Opt) -> Result<bool> {
    let field = match option.name() {
        "url" => &mut asked.url,
        "protocol" => &mut asked.protocol,
        "key" => return texts(&mut asked.keys, option),
        "key_file" => return texts(&mut asked.key_files, option),
        _ => return Ok(false),
    };
    *field = Some(single(option)?.to_string());
    Ok(true)
}

/// Puts one option of a peer where it belongs; false when there is no such option.
fn grant(grants: &mut Grants, contact: &mut String, option: &Opt) -> Result<bool> {
    match option.name() {
        "key" => {}
        "contact" => *contact = commons::parse_contact(single(option)?)?,
        "images" => {
            let mut names = Vec::new();
            texts(&mut names, option)?;
            grants.images = Images::parse(&names)?;
        }
        name => return grants.set(name, single(option)?),
    }
    Ok(true)
}

/// Sets one option of section `main`.
fn set(settings: &mut Settings, option: &str, text: &str) -> Result<()> {
    let defaults = &mut settings.defaults;
    match option {
        "enabled" => settings.enabled = parse_bool(option, text)?,
        "image" => defaults.image = ImageName::new(text)?,
        "bridge" => {
            check_bridge(text)?;
            defaults.bridge = text.into();
        }
        "memory" => defaults.memory = parse_memory(text)?,
        "cpus" => defaults.cpus = Cpus::parse(option, text)?,
        "disk" => defaults.disk = parse_disk(text)?,
        "pids" => defaults.pids = parse_pids(text)?,
        "memory_reserve" => settings.memory_reserve = parse_reserve(option, text)?,
        "disk_reserve" => settings.disk_reserve = parse_reserve(option, text)?,
        "advertise" => settings.advertise = parse_bool(option, text)?,
        _ => return Err(invalid("option", option, "this version of cloudbox does not know it")),
    }
    Ok(())
}

/// Sets one option of section `host`; false when there is no such option.
fn set_host(settings: &mut Settings, option: &Opt) -> Result<bool> {
    match option.name() {
        name @ "storage" => settings.storage = parse_storage(name, single(option)?)?,
        name @ "lxcpath" => settings.lxcpath = parse_storage(name, single(option)?)?,
        "export_dir" => settings.export_dirs = parse_dirs(option)?,
        "import_dir" => settings.import_dirs = parse_dirs(option)?,
        "key_dir" => settings.key_dirs = parse_dirs(option)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Copies the value of one option of section `host`.
fn copy_host(from: &Settings, to: &mut Settings, option: &str) {
    match option {
        "storage" => to.storage.clone_from(&from.storage),
        "lxcpath" => to.lxcpath.clone_from(&from.lxcpath),
        "export_dir" => to.export_dirs.clone_from(&from.export_dirs),
        "import_dir" => to.import_dirs.clone_from(&from.import_dirs),
        _ => to.key_dirs.clone_from(&from.key_dirs),
    }
}

/// The directories that an option lists. `/` is one, too: the whole box, if its owner wants that.
fn parse_dirs(option: &Opt) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for value in option.values() {
        let text = value.as_str().ok_or_else(|| invalid(option.name(), "", "it is not UTF-8"))?;
        let dir = PathBuf::from(text);
        let straight = dir.components().all(|part| part != Component::ParentDir);
        if !dir.is_absolute() || !straight || text.contains('\n') {
            return Err(invalid(option.name(), text, "write the absolute path of a directory"));
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

/// Copies the value of one option of section `main`; None for one that does not exist.
fn copy(from: &Settings, to: &mut Settings, option: &str) -> Option<()> {
    match option {
        "enabled" => to.enabled = from.enabled,
        "image" => to.defaults.image = from.defaults.image.clone(),
        "bridge" => to.defaults.bridge.clone_from(&from.defaults.bridge),
        "memory" => to.defaults.memory = from.defaults.memory,
        "cpus" => to.defaults.cpus = from.defaults.cpus,
        "disk" => to.defaults.disk = from.defaults.disk,
        "pids" => to.defaults.pids = from.defaults.pids,
        "memory_reserve" => to.memory_reserve = from.memory_reserve,
        "disk_reserve" => to.disk_reserve = from.disk_reserve,
        "advertise" => to.advertise = from.advertise,
        _ => return None,
    }
    Some(())
}

fn parse_reserve(what: &str, text: &str) -> Result<u64> {
    if text == "0" {
        return Ok(0);
    }
    Bytes::parse(what, text).map(Bytes::get)
}

/// Checks a storage directory: absolute, and without what separates options of a mount or words of LXC's
/// configuration.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_storage(what: &str, text: &str) -> Result<PathBuf> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '+');
    let plain = text.chars().all(good) && !text.split('/').any(|part| part == "..");
    if !text.starts_with('/') || text.len() > 128 || !plain || text.trim_end_matches('/').is_empty() {
        return Err(invalid(what, text, "write an absolute path of letters, digits, '/', '-', '_' and '.'"));
    }
    Ok(PathBuf::from(text.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        read(&Package::parse(text.as_bytes()).unwrap(), &Package::default(), &Settings::default())
    }

    fn with_host(text: &str, host: &str) -> Config {
        let package = |text: &str| Package::parse(text.as_bytes()).unwrap();
        read(&package(text), &package(host), &Settings::default())
    }

    /// The keys of a server may be files, and the owner says where those may be.
    #[test]
    fn a_servers_keys_are_read_where_the_owner_lets_them_be() {
        let remote = "config remote 'community'\n\toption url 'https://images.example.org'\n";
        for (host, dir) in
            [("", DEFAULT_KEY_DIR), ("config host 'host'\n\tlist key_dir '/mnt/keys'\n", "/mnt/keys")]
        {
            let config = with_host(remote, host);
            let (name, found) = &config.remotes[0];
            assert_eq!(name, "community");
            assert_eq!(found.as_ref().unwrap().key_dirs, [PathBuf::from(dir)]);
        }
    }

    #[test]
    fn what_reaches_outside_stands_in_a_file_of_its_own() {
        let config = with_host(
            "config cloudbox 'main'\n\toption storage '/tmp'\n\toption lxcpath '/srv/guest'\n\toption cpus '2'\n",
            "config host 'host'\n\toption storage '/mnt/data/cloudbox/'\n\toption lxcpath '/mnt/lxc'\n\
             \tlist export_dir '/mnt/usb'\n\tlist export_dir '/mnt/nas'\n\tlist import_dir '/'\n\toption smell 'x'\n\
             config gizmo 'g'\n",
        );
        let settings = &config.settings;
        assert_eq!(settings.storage, PathBuf::from("/mnt/data/cloudbox"));
        assert_eq!(settings.lxcpath, PathBuf::from("/mnt/lxc"));
        assert_eq!(settings.export_dirs, [PathBuf::from("/mnt/usb"), PathBuf::from("/mnt/nas")]);
        assert_eq!((&*settings.import_dirs, settings.defaults.cpus), (&[PathBuf::from("/")][..], Cpus(2000)));
        let said = warnings(&config);
        let expected = [
            "/etc/config/cloudbox-host line 7: section 'host', option 'smell'",
            "/etc/config/cloudbox-host line 8: section 'g'",
            "/etc/config/cloudbox line 2: section 'main', option 'storage': the option does nothing here",
            "/etc/config/cloudbox line 3: section 'main', option 'lxcpath': the option does nothing here",
        ];
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
        let before = with_host("config cloudbox 'main'\n\toption storage '/mnt/data'\n", "# none\n");
        assert_eq!(before.settings.storage, PathBuf::from("/mnt/data"), "it was not moved yet");
        assert!(
            warnings(&before)[0].contains("it belongs to /etc/config/cloudbox-host"),
            "{:?}",
            warnings(&before)
        );
        let wrong =
            with_host("", "config host 'host'\n\tlist export_dir 'mnt'\n\toption storage '/a/../b'\n");
        assert_eq!((wrong.settings, wrong.warnings.len()), (Settings::default(), 2));
    }

    #[test]
    fn a_path_instead_of_a_script_is_named() {
        let config = config("config container 'a'\n\toption first_boot '/etc/shadow'\n");
        assert!(config.containers[&Name::new("a").unwrap()].spec.is_ok(), "what was made of it goes on");
        let said = warnings(&config);
        assert!(said[0].contains("line 2: section 'a', option 'first_boot'"), "{said:?}");
        assert!(said[0].contains("not its path"), "{said:?}");
    }

    fn warnings(config: &Config) -> Vec<String> {
        config.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_shipped_shape_is_read_whole() {
        let config = config(
            "config cloudbox 'main'\n\toption enabled '1'\n\toption image 'distro'\n\toption bridge 'br-lan'\n\toption memory '256M'\n\toption cpus '0.5'\n\
             \toption disk 'none'\n\toption memory_reserve '512M'\n\toption disk_reserve '0'\n\
             config container 'my_web'\n\toption memory '128M'\n\toption address '10.0.0.2/24'\n\
             \tlist authorized_keys 'ssh-ed25519 AAAA me'\n\toption autostart '0'\n",
        );
        assert_eq!(warnings(&config), Vec::<String>::new());
        assert_eq!((config.settings.defaults.disk, config.settings.disk_reserve), (None, 0));
        let (name, declared) = config.containers.iter().next().unwrap();
        let spec = declared.spec.as_ref().unwrap();
        assert_eq!(name.as_str(), "my-web");
        assert_eq!((spec.memory, spec.cpus, spec.autostart), (Bytes(128 << 20), Cpus(500), false));
        assert_eq!(spec.authorized_keys.len(), 1);
    }

    #[test]
    fn the_shipped_file_says_what_holds_without_it() {
        let shipped = config(include_str!("../../files/etc/config/cloudbox"));
        assert_eq!(warnings(&shipped), Vec::<String>::new());
        assert_eq!(shipped.settings, Settings::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_line_section_option_and_the_rest_holds() {
        let config = config(
            "config cloudbox 'main'\n\toption memory '10X'\n\toption cpus '2'\n\toption colour 'red'\n\
             config container 'a'\n\toption memory '-1'\n\
             config container 'b'\n\toption smell 'x'\n\
             config container 'C'\n\
             config container\n\
             config gizmo 'g'\n\
             config cloudbox 'second'\n\toption cpus '4'\n\
             config container 'd'\n\tlist memory '64M'\n\tlist memory '96M'\n\
             config container 'e'\n\tlist authorized_keys 'ssh-rsa A'\n\tlist authorized_keys 'ssh-rsa B'\n",
        );
        assert_eq!(config.settings.defaults.memory, Bytes(512 << 20));
        assert_eq!(config.settings.defaults.cpus, Cpus(2000));
        let a = &config.containers[&Name::new("a").unwrap()];
        assert_eq!(a.spec.as_ref().unwrap_err().code, Code::InvalidArgument);
        assert!(config.containers[&Name::new("b").unwrap()].spec.is_ok());
        let e = &config.containers[&Name::new("e").unwrap()];
        assert_eq!(e.spec.as_ref().unwrap().authorized_keys, ["ssh-rsa A", "ssh-rsa B"]);
        assert_eq!(config.containers.len(), 4);
        let said = warnings(&config);
        let expected = [
            ("line 2: section 'main', option 'memory'", "\"10X\""),
            ("line 4: section 'main', option 'colour'", "does not know"),
            ("line 11: section 'g'", "'gizmo'"),
            ("line 12: section 'second'", "'cloudbox'"),
            ("line 6: section 'a', option 'memory'", "\"-1\""),
            ("line 8: section 'b', option 'smell'", "does not know"),
            ("line 9: section 'C'", "\"C\""),
            ("line 10: section 'container'", "needs its name"),
            ("line 15: section 'd', option 'memory'", "it is a list"),
        ];
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for ((place, what), said) in expected.iter().zip(&said) {
            assert!(said.contains(place) && said.contains(what), "{said} has not {place} and {what}");
        }
    }

    #[test]
    fn a_wrong_value_keeps_the_one_before() {
        // A good value of each option, which is not the default.
        let main = [
            ("enabled", "0"),
            ("image", "other"),
            ("bridge", "br-x"),
            ("memory", "64M"),
            ("cpus", "0.5"),
            ("disk", "none"),
            ("pids", "7"),
            ("memory_reserve", "9M"),
            ("disk_reserve", "0"),
            ("advertise", "0"),
        ];
        let host = [
            ("storage", "/mnt/a"),
            ("lxcpath", "/mnt/b"),
            ("export_dir", "/mnt/c"),
            ("import_dir", "/mnt/d"),
            ("key_dir", "/mnt/e"),
        ];
        let with = |wrong: &str, before: &Settings| {
            let package = |section: &str, options: &[(&str, &str)]| {
                let value = |(name, value)| if name == wrong { "?/?" } else { value };
                let lines = options.iter().map(|o| format!("\tlist {} '{}'\n", o.0, value(*o)));
                let text = format!("config {section}\n{}", lines.collect::<String>());
                Package::parse(text.as_bytes()).unwrap()
            };
            read(&package("cloudbox 'main'", &main), &package("host 'host'", &host), before)
        };
        let before = with("", &Settings::default());
        assert_eq!(warnings(&before), Vec::<String>::new());
        for (option, _) in main.into_iter().chain(host) {
            let wrong = with(option, &before.settings);
            assert_eq!(wrong.settings, before.settings, "{option}");
            let without = with(option, &Settings::default());
            assert_ne!(without.settings, before.settings, "{option}: there was nothing to keep");
            let said = warnings(&wrong);
            assert!(said.len() == 1 && said[0].contains(&format!("option '{option}'")), "{said:?}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_not_guessed_at() {
        let config = config(
            "config container 'a'\n\toption memory '64M'\nconfig container 'a'\n\toption memory '128M'\nconfig container 'b'\n",
        );
        assert_eq!(config.containers[&Name::new("a").unwrap()].spec.as_ref().unwrap_err().code, Code::Config);
        assert!(config.containers[&Name::new("b").unwrap()].spec.is_ok());
        assert!(warnings(&config)[0].contains("line 3: section 'a'"), "{:?}", warnings(&config));
    }

    #[test]
    fn storage_paths() {
        let longest = format!("/{}", "x".repeat(127));
        for good in ["/srv/cloudbox", "/mnt/sda1/x-y_z.1/", &longest] {
            assert!(parse_storage("storage", good).is_ok(), "{good}");
        }
        for bad in
            [&format!("{longest}x"), "", "/", "//", "srv", "/a b", "/a,b", "/a:b", "/a/../b", "/a\nb", "/a=b"]
        {
            assert!(parse_storage("storage", bad).is_err(), "{bad:?}");
        }
    }
}
