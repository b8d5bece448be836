//! Slice files: what a member writes, in UCI, since that is what people here write.
//!
//! One file is one slice: a section `slice`, and a section `group` for each kind of member. Files that it names (secrets,
//! a first-boot script) are not opened here.

use super::fields::Hash;
use super::formats::{Class, OnLoss, BOXES_MAX, GROUPS_MAX};
use super::id::Id;
use super::label::{Kind, Label};
use super::processors::KINDS;
use crate::error::{quoted, Code, Error, Result};
use crate::model::name::ImageName;
use crate::model::options::OptionValues;
use crate::model::remote::{local_name, parse_name as parse_remote};
use crate::model::service;
use crate::model::size::{Bytes, Cpus};
use crate::model::span::parse_span;
use crate::model::spec::{invalid, parse_number, Defaults};
use openwrt_uci::{Opt, Package, Section};
use serde_json::Value;
use std::path::PathBuf;

/// The longest secret, in bytes: encrypted and in base64 it may have 4 KiB.
pub const SECRET_MAX: usize = 3000;

const DAY: u32 = 86_400;
/// How long a slice lives that does not say, and how long at the most. In seconds, as all below.
const EXPIRES: u32 = 30 * DAY;
const EXPIRES_MIN: u32 = 3600;
const EXPIRES_MAX: u32 = 90 * DAY;
/// How long a box may be silent before another takes its place. A sign of life comes every 150 s: with less than two of
/// them everybody would be replaced all the time.
const GRACE: u32 = 15 * 60;
const GRACE_RESTORE: u32 = 60 * 60;
const GRACE_MIN: u32 = 10 * 60;
const GRACE_MAX: u32 = DAY;

/// A file to begin with, which says what there is.
pub const EXAMPLE: &str = include_str!("slice_example.uci");

/// What a member wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceFile {
    /// The slice's name.
    pub name: Label,
    /// The network whose boxes are meant.
    pub network: Label,
    /// Seconds that it lives when nobody renews it.
    pub expires: u32,
    /// What it consists of, 1 to 10 of them.
    pub groups: Vec<Group>,
}

/// Members that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Label,
    /// How many members it has.
    pub count: Count,
    /// Its image.
    pub image: Image,
    /// What it must be, for each kind of processor; empty: as its server lists it when the slice is signed.
    pub sha256: Vec<(String, Hash)>,
    /// Memory of each member.
    pub memory: Bytes,
    /// Processors of each.
    pub cpus: Cpus,
    /// Disk of each.
    pub disk: Bytes,
    /// Processes of each.
    pub pids: u32,
    /// Services of the image, switched on.
    pub services: Vec<String>,
    /// What is announced of each member.
    pub publish: Vec<Publish>,
    /// What nobody but the boxes may read.
    pub secrets: Vec<Secret>,
    /// SSH keys of each member's root.
    pub authorized_keys: Vec<String>,
    /// What is run in each once.
    pub first_boot: Option<Script>,
    /// The zone whose boxes are meant; None: of the whole network.
    pub zone: Option<Label>,
    /// How steady the boxes must be.
    pub class: Class,
    /// Boxes that stand by; None: as many as members, and three at the least.
    pub spares: Option<u32>,
    /// What happens when a box is lost.
    pub on_loss: OnLoss,
    /// Seconds for which it may be silent before it is lost.
    pub grace: u32,
    /// Only these boxes, if there are any.
    pub boxes: Vec<Id>,
    /// Not these.
    pub not_boxes: Vec<Id>,
    /// A greater number than before makes all members anew.
    pub reset: u32,
}

/// How many of the boxes that say yes when it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Number(u32),
    /// So many of a hundred, 1 to 100.
    Percent(u32),
    /// All of them.
    All,
}

impl Count {
    /// How many that is where `willing` boxes say yes. A share is rounded up: some of them is never none.
    pub fn of(self, willing: usize) -> usize {
        match self {
            Count::Number(number) => number as usize,
            Count::Percent(percent) => (willing * percent as usize).div_ceil(100),
            Count::All => willing,
        }
    }
}

/// An image, as a member calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The server, as the box's owner calls it; None: any.
    pub remote: Option<String>,
    /// What it is called there.
    pub alias: String,
}

/// What is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// DNS-SD's type, `_http._tcp`.
    pub kind: String,
    /// The port in the member.
    pub port: u16,
    /// What people see; None: made of the container's name.
    pub name: Option<String>,
}

/// What is written into a member for its programs, and shown to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its file's name in the member.
    pub name: String,
    /// The file that holds it on this machine.
    pub file: PathBuf,
}

/// What is run once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// The script itself.
    Text(String),
    /// The file on this machine that has it.
    File(PathBuf),
}

/// Reads a slice file.
///
/// # Errors
/// [`Code::InvalidArgument`], [`Code::InvalidName`] or [`Code::Config`]: the first thing that is wrong in it, with its
/// line, its section and its option.
pub fn read(text: &[u8]) -> Result<SliceFile> {
    let package = Package::parse(text).map_err(|error| Error::new(Code::Config, error))?;
    if let Some(repeat) = package.repeats().first() {
        let why = format!(
            "line {}: section '{}' stands in the file twice; keep one of them",
            repeat.line, repeat.section
        );
        return Err(Error::new(Code::Config, why));
    }
    let strange = package.sections().iter().find(|section| !matches!(section.kind(), "slice" | "group"));
    if let Some(section) = strange {
        return Err(at(section, None, no_such("section", section.kind(), &["slice", "group"])));
    }
    let mut slices = package.sections_of("slice");
    let (Some(slice), second) = (slices.next(), slices.next()) else {
        let why = "it has no section 'slice'; `cloudbox slice example` prints a file to begin with";
        return Err(Error::new(Code::Config, why));
    };
    if let Some(section) = second {
        let why = Error::new(Code::Config, "there is a slice before it; write each into a file of its own");
        return Err(at(section, None, why));
    }
    let mut file = read_slice(slice)?;
    for section in package.sections_of("group") {
        file.groups.push(read_group(section)?);
    }
    let why = match file.groups.len() {
        0 => "it has no group; add a section: config group 'web'",
        1..=GROUPS_MAX => return Ok(file),
        _ => "it has more than 10 groups; make two slices of it",
    };
    Err(at(slice, None, Error::new(Code::Config, why)))
}

/// The error with where it was found: line, section, option.
fn at(section: &Section, option: Option<&Opt>, error: Error) -> Error {
    let line = option.map_or(section.line(), Opt::line);
    let place = match section.is_anonymous() {
        true => section.kind().to_string(),
        false => format!("{} '{}'", section.kind(), section.name()),
    };
    let about = option.map_or(String::new(), |option| format!(", option '{}'", option.name()));
    let told = Error::new(error.code, format_args!("line {line}: {place}{about}: {}", error.message));
    match option {
        Some(option) => told.about(option.name()),
        None => told,
    }
}

fn no_such(what: &str, name: &str, known: &[&str]) -> Error {
    let why = format!("there is no {what} {}; there are {}", quoted(name), known.join(", "));
    Error::new(Code::InvalidArgument, why)
}

/// The name of a section, which must have one.
fn name_of(section: &Section, kind: Kind) -> Result<Label> {
    let word = section.kind();
    let named = match section.is_anonymous() {
        true => {
            Err(Error::new(Code::InvalidName, format_args!("it has no name; write config {word} 'NAME'")))
        }
        false => Label::new(kind, section.name()),
    };
    named.map_err(|error| at(section, None, error))
}

/// The options of a section that say something, as texts: (option, its values). The empty text says nothing, as in `uci`.
fn said<'a>(
    section: &'a Section,
    known: &'a [Known],
) -> impl Iterator<Item = Result<(&'a Opt, Vec<&'a str>)>> + 'a {
    let read = move |option: &'a Opt| -> Result<(&'a Opt, Vec<&'a str>)> {
        let wrong = |error| Err(at(section, Some(option), error));
        let Some(row) = known.iter().find(|row| row.name == option.name()) else {
            let names: Vec<&str> = known.iter().map(|row| row.name).collect();
            return wrong(no_such("option", option.name(), &names));
        };
        let texts: Option<Vec<&str>> = option.values().iter().map(|value| value.as_str()).collect();
        match texts {
            None => wrong(Error::new(Code::InvalidArgument, "it is not UTF-8")),
            Some(_) if option.is_list() && !row.list => {
                wrong(Error::new(Code::InvalidArgument, "it is a list; write option, once"))
            }
            Some(texts) => Ok((option, texts.into_iter().filter(|text| !text.is_empty()).collect())),
        }
    };
    section.options().iter().map(read).filter(|said| !matches!(said, Ok((_, texts)) if texts.is_empty()))
}

/// An option that a section may have.
struct Known {
    name: &'static str,
    list: bool,
}

const fn one(name: &'static str) -> Known {
    Known { name, list: false }
}

const fn list(name: &'static str) -> Known {
    Known { name, list: true }
}

const SLICE: [Known; 2] = [one("network"), one("expires")];

const GROUP: [Known; 20] = [
    one("count"),
    one("image"),
    list("sha256"),
    one("memory"),
    one("cpus"),
    one("disk"),
    one("pids"),
    list("service"),
    list("publish"),
    list("secret"),
    list("authorized_keys"),
    one("first_boot"),
    one("zone"),
    one("class"),
    one("spares"),
    one("on_loss"),
    one("grace"),
    list("box"),
    list("not_box"),
    one("reset"),
];

fn read_slice(section: &Section) -> Result<SliceFile> {
    let name = name_of(section, Kind::Slice)?;
    let (mut network, mut expires) = (None, EXPIRES);
    for said in said(section, &SLICE) {
        let (option, texts) = said?;
        let text = texts.first().copied().unwrap_or_default();
        let set = match option.name() {
            "network" => Label::new(Kind::Network, text).map(|label| network = Some(label)),
            _ => parse_span("expires", text, EXPIRES_MIN, EXPIRES_MAX).map(|span| expires = span),
        };
        set.map_err(|error| at(section, Some(option), error))?;
    }
    let network = network.ok_or_else(|| {
        let why = "it says no network; add: option network 'guifi'";
        at(section, None, Error::new(Code::InvalidArgument, why))
    })?;
    Ok(SliceFile { name, network, expires, groups: Vec::new() })
}

fn read_group(section: &Section) -> Result<Group> {
    let mut asked = Asked::nothing();
    for said in said(section, &GROUP) {
        let (option, texts) = said?;
        asked.put(option.name(), &texts).map_err(|error| at(section, Some(option), error))?;
    }
    let name = name_of(section, Kind::Group)?;
    asked.resolve(name).map_err(|error| {
        let culprit = error.option.as_deref().and_then(|name| section.option(name));
        at(section, culprit, error)
    })
}

/// What was said of a group, checked option by option.
struct Asked {
    count: Option<Count>,
    image: Option<Image>,
    sha256: Vec<(String, Hash)>,
    /// What a container on this box could say as well, and is checked like that.
    values: OptionValues,
    publish: Vec<Publish>,
    secrets: Vec<Secret>,
    script: Option<PathBuf>,
    zone: Option<Label>,
    class: Class,
    spares: Option<u32>,
    on_loss: OnLoss,
    grace: Option<u32>,
    boxes: Vec<Id>,
    not_boxes: Vec<Id>,
    reset: u32,
}

impl Asked {
    fn nothing() -> Asked {
        Asked {
            count: None,
            image: None,
            sha256: Vec::new(),
            values: OptionValues::default(),
            publish: Vec::new(),
            secrets: Vec::new(),
            script: None,
            zone: None,
            class: Class::Any,
            spares: None,
            on_loss: OnLoss::Replace,
            grace: None,
            boxes: Vec::new(),
            not_boxes: Vec::new(),
            reset: 0,
        }
    }

    fn put(&mut self, name: &str, texts: &[&str]) -> Result<()> {
        let text = texts.first().copied().unwrap_or_default();
        match name {
            "count" => self.count = Some(parse_count(text)?),
            "image" => self.image = Some(parse_image(text)?),
            "sha256" => self.sha256 = each(texts, parse_sha256)?,
            "memory" => self.values.put("memory", text),
            "cpus" => self.values.put("cpus", text),
            "disk" => self.values.put("disk", text),
            "pids" => self.values.put("pids", text),
            "service" => self.values.put_list("services", owned(texts)),
            "authorized_keys" => self.values.put_list("authorized_keys", owned(texts)),
            "first_boot" if is_file(text) => self.script = Some(text.into()),
            "first_boot" => self.values.put("first_boot", text),
            "publish" => self.publish = each(texts, parse_publish)?,
            "secret" => self.secrets = each(texts, parse_secret)?,
            "zone" => self.zone = Some(Label::new(Kind::Zone, text)?),
            "class" => self.class = word("class", text, &Class::WORDS)?,
            "spares" => self.spares = Some(parse_number("spares", text, 0, BOXES_MAX as u32)?),
            "on_loss" => self.on_loss = word("on_loss", text, &LOSSES)?,
            "grace" => self.grace = Some(parse_span("grace", text, GRACE_MIN, GRACE_MAX)?),
            "box" => self.boxes = each(texts, str::parse)?,
            "not_box" => self.not_boxes = each(texts, str::parse)?,
            _ => self.reset = parse_number("reset", text, 0, u32::MAX)?,
        }
        Ok(())
    }

    fn resolve(self, name: Label) -> Result<Group> {
        let missing = |what: &str, example: &str| {
            let why = format!("it says no {what}; add: option {what} '{example}'");
            Error::new(Code::InvalidArgument, why)
        };
        let count = self.count.ok_or_else(|| missing("count", "3"))?;
        let image = self.image.ok_or_else(|| missing("image", "community:debian"))?;
        // The name of the container's option, where the slice file has another.
        let spec = self.values.resolve(&defaults()?).map_err(|error| match error.option.as_deref() {
            Some("services") => error.about("service"),
            _ => error,
        })?;
        let no_disk =
            || invalid("disk", "none", "other people's disks are shared out; write a size, such as 1G");
        let disk = spec.disk.ok_or_else(no_disk)?;
        for id in &self.boxes {
            if self.not_boxes.contains(id) {
                return Err(invalid(
                    "not_box",
                    &id.to_string(),
                    "it stands in list box as well; keep one of them",
                ));
            }
        }
        let text = Some(spec.first_boot).filter(|text| !text.is_empty()).map(Script::Text);
        let grace = if self.on_loss == OnLoss::Restore { GRACE_RESTORE } else { GRACE };
        Ok(Group {
            name,
            count,
            image,
            sha256: self.sha256,
            memory: spec.memory,
            cpus: spec.cpus,
            disk,
            pids: spec.pids,
            services: spec.services,
            publish: self.publish,
            secrets: self.secrets,
            authorized_keys: spec.authorized_keys,
            first_boot: self.script.map(Script::File).or(text),
            zone: self.zone,
            class: self.class,
            spares: self.spares,
            on_loss: self.on_loss,
            grace: self.grace.unwrap_or(grace),
            boxes: self.boxes,
            not_boxes: self.not_boxes,
            reset: self.reset,
        })
    }
}

/// What a member gets that says nothing: less than at home, since it is another's box.
fn defaults() -> Result<Defaults> {
    Ok(Defaults {
        image: ImageName::new("none")?,
        bridge: String::new(),
        memory: Bytes(128 << 20),
        cpus: Cpus(1000),
        disk: Some(Bytes(1 << 30)),
        pids: 256,
    })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_string()).collect()
}

/// Reads each text. What stands twice is a mistake, and mostly a forgotten change.
fn each<T: PartialEq>(texts: &[&str], parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for text in texts {
        let one = parse(text)?;
        if all.contains(&one) {
            return Err(Error::new(Code::InvalidArgument, format_args!("{} stands twice", quoted(text))));
        }
        all.push(one);
    }
    Ok(all)
}

fn parse_count(text: &str) -> Result<Count> {
    let wrong = || invalid("count", text, "write a number from 1 to 700, a share such as 10%, or all");
    let number = |text: &str, most: u32| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (1..=most).contains(number)).ok_or_else(wrong)
    };
    match text.strip_suffix('%') {
        _ if text == "all" => Ok(Count::All),
        Some(percent) => number(percent, 100).map(Count::Percent),
        None => number(text, BOXES_MAX as u32).map(Count::Number),
    }
}

fn parse_image(text: &str) -> Result<Image> {
    let (remote, alias) = match text.split_once(':') {
        Some((remote, alias)) => (Some(parse_remote(remote)?), alias),
        None => (None, text),
    };
    local_name(alias)?;
    Ok(Image { remote, alias: alias.to_string() })
}

/// `x86_64=<64 hex digits>`
fn parse_sha256(text: &str) -> Result<(String, Hash)> {
    let wrong = || invalid("sha256", text, "write a kind of processor and 64 hex digits: x86_64=9f86d0…");
    let (kind, hex) = text.split_once('=').ok_or_else(wrong)?;
    let known = KINDS.iter().any(|(_, known)| *known == kind);
    let hash = super::fields::hash("sha256", &Value::from(hex.to_ascii_lowercase())).map_err(|_| wrong())?;
    match known {
        true => Ok((kind.to_string(), hash)),
        false => Err(wrong()),
    }
}

/// `_http._tcp 80 Our wiki`
fn parse_publish(text: &str) -> Result<Publish> {
    let mut words = text.splitn(3, ' ');
    let (Some(kind), Some(port)) = (words.next(), words.next()) else {
        return Err(invalid(
            "publish",
            text,
            "write a type, a port and what people see: _http._tcp 80 Our wiki",
        ));
    };
    let name = words.next().map(str::trim).filter(|name| !name.is_empty());
    Ok(Publish {
        kind: service::parse_kind(kind)?,
        port: service::parse_port(port)?,
        name: name.map(service::parse_name).transpose()?,
    })
}

/// `db=./db-password`
fn parse_secret(text: &str) -> Result<Secret> {
    let wrong = |why| Err(invalid("secret", text, why));
    let Some((name, file)) = text.split_once('=') else {
        return wrong("write its name and the file that holds it: db=./db-password");
    };
    if ImageName::new(name).is_err() || name.len() > 32 {
        return wrong("its name has 1 to 32 of a-z and 0-9, and '-', '.', '_' inside");
    }
    if file.is_empty() {
        return wrong("write the file that holds it behind the '='");
    }
    Ok(Secret { name: name.to_string(), file: file.into() })
}

/// Whether what is said of a script is a file's name, and no script.
fn is_file(text: &str) -> bool {
    !text.contains('\n') && ["./", "../", "/"].iter().any(|begin| text.starts_with(begin))
}

const LOSSES: [(&str, OnLoss); 3] =
    [("keep", OnLoss::Keep), ("replace", OnLoss::Replace), ("restore", OnLoss::Restore)];

fn word<T: Copy>(what: &str, text: &str, words: &[(&str, T)]) -> Result<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        invalid(what, text, &format!("write one of {}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "o6cgvbb4hsvzjf6g";

    fn group(options: &str) -> Result<Group> {
        let text = format!(
            "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption count '3'\n\toption image 'a'\n{options}"
        );
        read(text.as_bytes()).map(|file| file.groups[0].clone())
    }

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().into_message()
    }

    #[test]
    fn what_the_example_says_is_what_it_means() {
        let file = read(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((file.name.as_str(), file.network.as_str(), file.expires), ("wiki", "guifi", 30 * DAY));
        let [web] = &file.groups[..] else { panic!("{:?}", file.groups) };
        assert_eq!((web.name.as_str(), web.count, web.memory), ("web", Count::Number(3), Bytes(256 << 20)));
        // What stands in it as a comment can be taken in.
        let all = EXAMPLE.replace("\t#option", "\toption").replace("\t#list", "\tlist");
        let file = read(all.as_bytes()).unwrap();
        let said = |name: &str| {
            all.contains(&format!("\toption {name} ")) || all.contains(&format!("\tlist {name} "))
        };
        for known in SLICE.iter().chain(&GROUP) {
            assert!(said(known.name), "the example says nothing of {}", known.name);
        }
        assert_eq!(file.groups[0].publish[0].name.as_deref(), Some("Our wiki"));
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let group = group("").unwrap();
        assert_eq!(
            group,
            Group {
                name: Label::new(Kind::Group, "web").unwrap(),
                count: Count::Number(3),
                image: Image { remote: None, alias: "a".into() },
                sha256: vec![],
                memory: Bytes(128 << 20),
                cpus: Cpus(1000),
                disk: Bytes(1 << 30),
                pids: 256,
                services: vec![],
                publish: vec![],
                secrets: vec![],
                authorized_keys: vec![],
                first_boot: None,
                zone: None,
                class: Class::Any,
                spares: None,
                on_loss: OnLoss::Replace,
                grace: 900,
                boxes: vec![],
                not_boxes: vec![],
                reset: 0,
            }
        );
    }

    #[test]
    fn every_option_is_read() {
        let group = group(&format!(
            "\toption count '10%'\n\toption image 'community:debian/12'\n\toption memory '64M'\n\toption cpus '0.5'\n\
             \toption disk '2G'\n\toption pids '9'\n\tlist service 'proxy'\n\tlist publish '_http._tcp 80 Our  wiki'\n\
             \tlist publish '_ssh._tcp 22'\n\tlist secret 'db=./db-password'\n\
             \tlist authorized_keys 'ssh-ed25519 AAAA me'\n\toption first_boot './setup.sh'\n\toption zone 'osona'\n\
             \toption class 'steady'\n\toption spares '0'\n\toption on_loss 'restore'\n\tlist box '{ID}'\n\
             \tlist not_box '7777777777777777'\n\toption reset '2'\n"
        ))
        .unwrap();
        assert_eq!(group.count, Count::Percent(10));
        assert_eq!(group.image, Image { remote: Some("community".into()), alias: "debian/12".into() });
        assert_eq!(
            (group.memory, group.cpus, group.disk, group.pids),
            (Bytes(64 << 20), Cpus(500), Bytes(2 << 30), 9)
        );
        assert_eq!(
            (&group.services[..], &group.authorized_keys[..]),
            (&["proxy".to_string()][..], &["ssh-ed25519 AAAA me".to_string()][..])
        );
        let published: Vec<_> =
            group.publish.iter().map(|p| (p.kind.as_str(), p.port, p.name.as_deref())).collect();
        assert_eq!(published, [("_http._tcp", 80, Some("Our  wiki")), ("_ssh._tcp", 22, None)]);
        assert_eq!(group.secrets, [Secret { name: "db".into(), file: "./db-password".into() }]);
        assert_eq!(group.first_boot, Some(Script::File("./setup.sh".into())));
        assert_eq!(
            (group.zone.unwrap().as_str(), group.class, group.spares),
            ("osona", Class::Steady, Some(0))
        );
        // Whose state is kept may be silent for longer.
        assert_eq!((group.on_loss, group.grace), (OnLoss::Restore, 3600));
        assert_eq!((group.boxes[0].to_string().as_str(), group.not_boxes.len(), group.reset), (ID, 1, 2));
        let text = self::group("\toption first_boot '#!/bin/sh\n./go\n'\n").unwrap().first_boot;
        assert_eq!(text, Some(Script::Text("#!/bin/sh\n./go\n".into())));
    }

    #[test]
    fn a_wrong_option_is_said_with_line_section_and_cure() {
        for (option, why) in [
            ("option count '0'", "option 'count': count \"0\": write a number from 1 to 700"),
            ("option count '-1'", "\"-1\": write a number from 1"),
            ("option count '+1'", "\"+1\": write a number from 1"),
            ("option count '701'", "\"701\": write a number from 1"),
            ("option count '101%'", "\"101%\": write a number from 1 to 700, a share such as 10%, or all"),
            ("option count '0%'", "\"0%\""),
            ("option count '%'", "\"%\""),
            ("option count '1.5'", "\"1.5\""),
            ("option count 'All'", "\"All\""),
            ("option colour 'red'", "there is no option \"colour\"; there are count, image, sha256, memory"),
            ("option services 'proxy'", "there is no option \"services\""),
            ("list zone 'osona'", "it is a list; write option, once"),
            ("option image 'a:../b'", "cannot be an image's name"),
            ("option image 'a b:c'", "cannot be a remote's name"),
            ("list sha256 'x86_64'", "write a kind of processor and 64 hex digits"),
            (
                "list sha256 'amd64=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
                "write a kind of",
            ),
            ("list sha256 'x86_64=9f86'", "write a kind of processor"),
            ("option memory '3M'", "nothing starts in less than 4M"),
            ("option memory '10X'", "option 'memory': memory \"10X\""),
            ("option cpus '0'", "is no number of processors"),
            ("option disk 'none'", "write a size, such as 1G"),
            ("option pids '0'", "write a whole number from 1"),
            ("list service '../x'", "option 'service'"),
            ("list publish '_http._tcp'", "write a type, a port and what people see"),
            ("list publish 'http 80'", "write it as _http._tcp"),
            ("list publish '_http._tcp 0'", "write a number from 1 to 65535"),
            ("list secret 'db'", "write its name and the file that holds it"),
            ("list secret 'db='", "write the file that holds it behind"),
            ("list secret '../db=x'", "its name has 1 to 32 of"),
            ("list secret 'Db=x'", "its name has 1 to 32 of"),
            ("list authorized_keys 'AAAA'", "it is no SSH public key"),
            ("option zone 'o/s'", "cannot be a zone's name"),
            ("option zone 'abcdefghijklmnopq'", "cannot be a zone's name"),
            ("option class 'daily'", "write one of any, evening, steady"),
            ("option spares '-1'", "write a whole number from 0"),
            ("option on_loss 'move'", "write one of keep, replace, restore"),
            ("option grace '9m'", "from 10m to 1d"),
            ("option grace '900'", "write a number and s, m, h or d"),
            ("list box 'x'", "\"x\" is no id"),
            ("option reset 'yes'", "write a whole number from 0"),
        ] {
            let text = format!(
                "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption image 'a'\n\toption count '1'\n\t{option}\n"
            );
            let told = refusal(&text);
            let name = option.split(' ').nth(1).unwrap();
            let place = format!("line 6: group 'web', option '{name}': ");
            assert!(told.starts_with(&place) && told.contains(why), "{option}: {told}");
        }
        let twice = format!("\tlist box '{ID}'\n\tlist box '{ID}'\n");
        assert!(group(&twice).unwrap_err().message.contains("stands twice"));
        let both = format!("\tlist box '{ID}'\n\tlist not_box '{ID}'\n");
        let told = group(&both).unwrap_err();
        assert!(
            told.message.contains("option 'not_box'") && told.message.contains("list box as well"),
            "{told}"
        );
    }

    #[test]
    fn a_wrong_file_is_said_with_its_cure() {
        let slice = |name: &str| format!("config slice '{name}'\n\toption network 'guifi'\n");
        let group = |name: &str| format!("config group '{name}'\n\toption count '1'\n\toption image 'a'\n");
        let (wiki, web) = (slice("wiki"), group("web"));
        let many: String = (0..11).map(|n| group(&format!("g{n}"))).collect();
        for (text, why) in [
            (String::new(), "it has no section 'slice'; `cloudbox slice example`"),
            (web.clone(), "it has no section 'slice'"),
            (wiki.clone(), "line 1: slice 'wiki': it has no group; add a section"),
            (format!("{wiki}{many}"), "more than 10 groups; make two slices"),
            (format!("{wiki}{web}{}", slice("blog")), "line 6: slice 'blog': there is a slice before it"),
            (format!("{wiki}{web}{web}"), "line 6: section 'web' stands in the file twice"),
            (format!("{wiki}{web}config box 'x'\n"), "there is no section \"box\"; there are slice, group"),
            (format!("{}{web}", slice("thirteenchars")), "cannot be a slice's name: use 1 to 12 of a-z, 0-9"),
            (
                format!("{wiki}{}", group("ninechars")),
                "line 3: group 'ninechars': \"ninechars\" cannot be a group's name: use 1 to 8",
            ),
            (format!("{}{web}", slice("a_b")), "\"a_b\" cannot be a slice's name"),
            (format!("{}{web}", slice("Wiki")), "\"Wiki\" cannot be a slice's name"),
            (
                format!("{wiki}config group\n\toption count '1'\n\toption image 'a'\n"),
                "group: it has no name",
            ),
            (format!("config slice 'wiki'\n{web}"), "it says no network; add: option network 'guifi'"),
            (format!("config slice 'wiki'\n\toption network 'Guifi'\n{web}"), "option 'network'"),
            (format!("{wiki}\toption expires '91d'\n{web}"), "from 1h to 90d"),
            (format!("{wiki}\toption owner 'me'\n{web}"), "there are network, expires"),
            (
                format!("{wiki}config group 'web'\n\toption image 'a'\n"),
                "it says no count; add: option count '3'",
            ),
            (
                format!("{wiki}config group 'web'\n\toption count '1'\n"),
                "it says no image; add: option image",
            ),
            ("config slice 'wiki\n".to_string(), "line 1"),
        ] {
            assert!(refusal(&text).contains(why), "{text}\n{}", refusal(&text));
        }
        let told = read(b"config slice 'wiki'\n\toption network '\xff'\n").unwrap_err();
        assert!(told.message.contains("it is not UTF-8"), "{told}");
    }

    #[test]
    fn a_count_is_of_those_who_say_yes() {
        for (count, willing, wanted) in [
            (Count::Number(3), 10, 3),
            (Count::Number(3), 2, 3),
            (Count::Percent(10), 100, 10),
            (Count::Percent(10), 11, 2),
            (Count::Percent(1), 1, 1),
            (Count::Percent(100), 7, 7),
            (Count::Percent(50), 0, 0),
            (Count::All, 7, 7),
        ] {
            assert_eq!(count.of(willing), wanted, "{count:?} of {willing}");
        }
    }
}
