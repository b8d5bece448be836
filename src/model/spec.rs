//! What a container shall be: the typed form of a UCI section or of a `create` call.

use super::address::{parse_gateway, Address};
use super::name::{ImageName, Name};
use super::size::{Bytes, Cpus};
use crate::error::{quoted, Code, Error, Result};
use serde::de::{value, IntoDeserializer};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Longest description, in bytes.
const DESCRIPTION_MAX: usize = 256;
/// Longest authorized key, in bytes: an RSA key of 16384 bits is 2,800.
const KEY_MAX: usize = 4096;
/// Longest first-boot script, in bytes.
pub const SCRIPT_MAX: usize = 64 << 10;
/// Most processes a container may be allowed.
const PIDS_MAX: u32 = 1_000_000;
/// Where a container stands in the order of starts that says nothing, and the last place.
const PRIORITY: u16 = 50;
const PRIORITY_MAX: u16 = 999;
/// The least memory a container can start in.
const MEMORY_MIN: u64 = 4 << 20;
/// The least disk that can be formatted and used.
const DISK_MIN: u64 = 16 << 20;

/// Whether a container that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    No,
    /// When its init crashed or ran out of memory, but not when the guest shut itself down.
    #[default]
    OnFailure,
    /// However it ended, unless somebody stopped it.
    Always,
}

/// As it stands in UCI and in JSON.
impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Everything a person can say about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The image it is made from.
    pub image: ImageName,
    /// Memory limit.
    pub memory: Bytes,
    /// Processors.
    pub cpus: Cpus,
    /// Disk quota; None is no quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Most processes.
    pub pids: u32,
    /// The bridge its interface joins.
    pub bridge: String,
    /// Its address.
    pub address: Address,
    /// Default route of a static address; None: the bridge's own address, when it is in the same network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Started at boot.
    pub autostart: bool,
    /// Its place in the order of starts at boot; the smallest goes first, and is stopped last.
    #[serde(default = "default_priority")]
    pub priority: u16,
    /// Whether it is started again when it ended by itself.
    #[serde(default)]
    pub restart: Restart,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// SSH keys of root.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// The slice it belongs to, or empty.
    #[serde(default)]
    pub slice: String,
    /// Its services are announced.
    #[serde(default = "yes")]
    pub advertise: bool,
    /// It is not deleted.
    #[serde(default)]
    pub protected: bool,
    /// What its guest calls itself; empty: as the container is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Its time zone, `Europe/Madrid`; empty: the image's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timezone: String,
    /// The script that is run once inside, or the path of a file on the box that holds it; or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first_boot: String,
    /// Services of its image that are switched on in it before its first start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// What a record says that was written before there was the field.
fn yes() -> bool {
    true
}

fn default_priority() -> u16 {
    PRIORITY
}

/// What is said of a container before defaults: None where nothing was said. One value per UCI option; `create` fills
/// the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// `option image`
    pub image: Option<String>,
    /// `option memory`
    pub memory: Option<String>,
    /// `option cpus`
    pub cpus: Option<String>,
    /// `option disk`
    pub disk: Option<String>,
    /// `option pids`
    pub pids: Option<String>,
    /// `option bridge`
    pub bridge: Option<String>,
    /// `option address`
    pub address: Option<String>,
    /// `option gateway`
    pub gateway: Option<String>,
    /// `option autostart`
    pub autostart: Option<String>,
    /// `option priority`
    pub priority: Option<String>,
    /// `option restart`
    pub restart: Option<String>,
    /// `option description`
    pub description: Option<String>,
    /// `list authorized_keys`
    pub authorized_keys: Vec<String>,
    /// `option slice`
    pub slice: Option<String>,
    /// `option advertise`
    pub advertise: Option<String>,
    /// `option protected`
    pub protected: Option<String>,
    /// `option hostname`
    pub hostname: Option<String>,
    /// `option timezone`
    pub timezone: Option<String>,
    /// `option first_boot`
    pub first_boot: Option<String>,
    /// `list services`
    pub services: Vec<String>,
    /// `option deleting`: what is half made shall be gone after a crash.
    pub deleting: Option<String>,
}

/// Values for what was not said, from section `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// `option image`
    pub image: ImageName,
    /// `option bridge`
    pub bridge: String,
    /// `option memory`
    pub memory: Bytes,
    /// `option cpus`
    pub cpus: Cpus,
    /// `option disk`
    pub disk: Option<Bytes>,
    /// `option pids`
    pub pids: u32,
}

impl Asked {
    /// What says all of `spec`, whatever the defaults are.
    pub fn of(spec: &Spec) -> Asked {
        let flag = |value: bool| Some(if value { "1" } else { "0" }.to_string());
        let text = |value: &str| Some(value.to_string()).filter(|text| !text.is_empty());
        Asked {
            image: text(spec.image.as_str()),
            memory: Some(spec.memory.exact()),
            cpus: Some(spec.cpus.to_string()),
            disk: Some(spec.disk.map_or_else(|| "none".to_string(), Bytes::exact)),
            pids: Some(spec.pids.to_string()),
            bridge: text(&spec.bridge),
            address: Some(spec.address.to_string()),
            gateway: spec.gateway.map(|gateway| gateway.to_string()),
            autostart: flag(spec.autostart),
            priority: Some(spec.priority.to_string()),
            restart: text(&spec.restart.to_string()),
            description: text(&spec.description),
            authorized_keys: spec.authorized_keys.clone(),
            slice: text(&spec.slice),
            advertise: flag(spec.advertise),
            protected: flag(spec.protected).filter(|_| spec.protected),
            hostname: text(&spec.hostname),
            timezone: text(&spec.timezone),
            first_boot: text(&spec.first_boot),
            services: spec.services.clone(),
            deleting: None,
        }
    }

    /// The lists that were said, as they are written to UCI.
    pub fn lists(&self) -> [(&'static str, &[String]); 2] {
        [("authorized_keys", &self.authorized_keys), ("services", &self.services)]
    }

    /// The options that were said, with their values, as they are written to UCI.
    pub fn options(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("image", &self.image),
            ("memory", &self.memory),
            ("cpus", &self.cpus),
            ("disk", &self.disk),
            ("pids", &self.pids),
            ("bridge", &self.bridge),
            ("address", &self.address),
            ("gateway", &self.gateway),
            ("autostart", &self.autostart),
            ("priority", &self.priority),
            ("restart", &self.restart),
            ("description", &self.description),
            ("slice", &self.slice),
            ("advertise", &self.advertise),
            ("protected", &self.protected),
            ("hostname", &self.hostname),
            ("timezone", &self.timezone),
            ("first_boot", &self.first_boot),
            ("deleting", &self.deleting),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }

    /// Checks every value and fills in the defaults.
    ///
    /// # Errors
    /// The first wrong value, by its option's name.
    pub fn resolve(&self, defaults: &Defaults) -> Result<Spec> {
        self.apply(defaults.spec())
    }

    /// Checks every value and puts what was said over `spec`. A gateway outside of a new address's network goes.
    ///
    /// # Errors
    /// The first wrong value, by its option's name.
    pub fn apply(&self, mut spec: Spec) -> Result<Spec> {
        if let Some(text) = &self.image {
            spec.image = ImageName::new(text)?;
        }
        if let Some(text) = &self.memory {
            spec.memory = parse_memory(text)?;
        }
        if let Some(text) = &self.cpus {
            spec.cpus = Cpus::parse("cpus", text)?;
        }
        if let Some(text) = &self.disk {
            spec.disk = parse_disk(text)?;
        }
        if let Some(text) = &self.pids {
            spec.pids = parse_pids(text)?;
        }
        put(&mut spec.bridge, &self.bridge, check_bridge)?;
        if let Some(text) = &self.address {
            spec.address = Address::parse(text)?;
        }
        let address = spec.address;
        spec.gateway = match &self.gateway {
            Some(text) => Some(parse_gateway(text, address)?),
            None => spec.gateway.filter(|gateway| parse_gateway(&gateway.to_string(), address).is_ok()),
        };
        put_flag(&mut spec.autostart, "autostart", &self.autostart)?;
        if let Some(text) = &self.priority {
            spec.priority = parse_number("priority", text, 0, PRIORITY_MAX.into())? as u16;
        }
        if let Some(text) = &self.restart {
            spec.restart = parse_restart(text)?;
        }
        put(&mut spec.description, &self.description, check_description)?;
        put_list(&mut spec.authorized_keys, &self.authorized_keys, check_key)?;
        put(&mut spec.slice, &self.slice, check_slice)?;
        put_flag(&mut spec.advertise, "advertise", &self.advertise)?;
        put_flag(&mut spec.protected, "protected", &self.protected)?;
        put(&mut spec.hostname, &self.hostname, check_hostname)?;
        put(&mut spec.timezone, &self.timezone, check_timezone)?;
        put(&mut spec.first_boot, &self.first_boot, check_script)?;
        put_list(&mut spec.services, &self.services, check_service)?;
        Ok(spec)
    }
}

/// Puts a text that was said and is good in its place.
fn put(field: &mut String, said: &Option<String>, check: fn(&str) -> Result<()>) -> Result<()> {
    if let Some(text) = said {
        check(text)?;
        field.clone_from(text);
    }
    Ok(())
}

fn put_flag(field: &mut bool, what: &str, said: &Option<String>) -> Result<()> {
    if let Some(text) = said {
        *field = parse_bool(what, text)?;
    }
    Ok(())
}

/// The same with the texts of a list; `check` says what stays of one.
fn put_list(field: &mut Vec<String>, said: &[String], check: fn(&str) -> Result<&str>) -> Result<()> {
    if said.is_empty() {
        return Ok(());
    }
    field.clear();
    for text in said {
        field.push(check(text)?.to_string());
    }
    Ok(())
}

impl Defaults {
    /// What a container is of which nothing is said.
    fn spec(&self) -> Spec {
        Spec {
            image: self.image.clone(),
            memory: self.memory,
            cpus: self.cpus,
            disk: self.disk,
            pids: self.pids,
            bridge: self.bridge.clone(),
            address: Address::Dhcp,
            gateway: None,
            autostart: true,
            priority: PRIORITY,
            restart: Restart::default(),
            description: String::new(),
            authorized_keys: Vec::new(),
            slice: String::new(),
            advertise: true,
            protected: false,
            hostname: String::new(),
            timezone: String::new(),
            first_boot: String::new(),
            services: Vec::new(),
        }
    }
}

impl Spec {
    /// Names of the options in which `made` differs and that a container keeps from its making to its end.
    pub fn fixed_since_made(&self, made: &Spec) -> Vec<&'static str> {
        names_of([
            ("image", self.image != made.image),
            ("disk", self.disk != made.disk && !self.grows(made)),
            ("authorized_keys", self.authorized_keys != made.authorized_keys),
            ("hostname", self.hostname != made.hostname),
            ("timezone", self.timezone != made.timezone),
            ("first_boot", self.first_boot != made.first_boot),
            ("services", self.services != made.services),
        ])
    }

    /// The spec a start applies to a container made by `made`: this one, but for what stays as it was made.
    pub fn for_start(&self, made: &Spec) -> Spec {
        Spec {
            image: made.image.clone(),
            disk: if self.grows(made) { self.disk } else { made.disk },
            authorized_keys: made.authorized_keys.clone(),
            hostname: made.hostname.clone(),
            timezone: made.timezone.clone(),
            first_boot: made.first_boot.clone(),
            services: made.services.clone(),
            ..self.clone()
        }
    }

    /// Names of the options in which `running` differs from what shall be in force.
    pub fn differs_from(&self, running: &Spec) -> Vec<&'static str> {
        let mut names = names_of([
            ("memory", self.memory != running.memory),
            ("cpus", self.cpus != running.cpus),
            ("pids", self.pids != running.pids),
            ("disk", self.grows(running)),
        ]);
        names.extend(self.needs_restart(running));
        names
    }

    /// Those of them that only a start applies.
    pub fn needs_restart(&self, running: &Spec) -> Vec<&'static str> {
        names_of([
            ("bridge", self.bridge != running.bridge),
            ("address", self.address != running.address),
            ("gateway", self.gateway != running.gateway),
        ])
    }

    /// The spec of a container that runs as `running` after everything else is applied.
    pub fn while_running(&self, running: &Spec) -> Spec {
        Spec {
            bridge: running.bridge.clone(),
            address: running.address,
            gateway: running.gateway,
            ..self.for_start(running)
        }
    }

    /// Whether the quota is larger than that of `made`. It cannot be made smaller, nor be given or taken away.
    pub fn grows(&self, made: &Spec) -> bool {
        matches!((self.disk, made.disk), (Some(now), Some(before)) if now > before)
    }
}

fn names_of<const N: usize>(differs: [(&'static str, bool); N]) -> Vec<&'static str> {
    differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// An error about the value of an argument or option.
pub fn invalid(option: &str, text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(60).collect();
    Error::new(Code::InvalidArgument, format_args!("{option} {}: {why}", quoted(&shown))).about(option)
}

/// Reads a memory limit.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_memory(text: &str) -> Result<Bytes> {
    let size = Bytes::parse("memory", text)?;
    if size.get() < MEMORY_MIN {
        return Err(invalid("memory", text, "nothing starts in less than 4M"));
    }
    Ok(size)
}

/// Reads a disk quota; `none` is no quota.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_disk(text: &str) -> Result<Option<Bytes>> {
    if text == "none" {
        return Ok(None);
    }
    let size = Bytes::parse("disk", text).map_err(|e| {
        Error::new(e.code, format_args!("{}, or 'none' for no quota", e.message)).about("disk")
    })?;
    if size.get() < DISK_MIN {
        return Err(invalid("disk", text, "16M is the least; 'none' is no quota"));
    }
    Ok(Some(size))
}

/// Reads a whole number from `least` to `most`.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_number(what: &str, text: &str, least: u32, most: u32) -> Result<u32> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| invalid(what, text, &format!("write a whole number from {least} to {most}")))
}

/// Reads a limit of processes.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_pids(text: &str) -> Result<u32> {
    parse_number("pids", text, 1, PIDS_MAX)
}

fn parse_restart(text: &str) -> Result<Restart> {
    Restart::deserialize(text.into_deserializer())
        .map_err(|_: value::Error| invalid("restart", text, "write no, on-failure or always"))
}

/// Checks the name of a network interface: at most 15 bytes, as the kernel allows, and nothing that could end a line.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn check_bridge(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if text.is_empty() || text.len() > 15 || !text.chars().all(good) || text == "." || text == ".." {
        return Err(invalid("bridge", text, "it is no name of a network interface, such as br-lan"));
    }
    Ok(())
}

/// Reads a UCI boolean: every word libuci's users know.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_bool(what: &str, text: &str) -> Result<bool> {
    match text {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        _ => Err(invalid(what, text, "write 1 or 0")),
    }
}

fn check_description(text: &str) -> Result<()> {
    if text.len() > DESCRIPTION_MAX || text.chars().any(char::is_control) {
        return Err(invalid("description", text, "write one line of at most 256 bytes"));
    }
    Ok(())
}

fn check_key(text: &str) -> Result<&str> {
    let text = text.trim();
    let kind = text.split(' ').next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|k| kind.starts_with(k));
    let one_line = text.len() <= KEY_MAX && !text.chars().any(char::is_control);
    if !known || !one_line || text.split(' ').nth(1).is_none_or(str::is_empty) {
        return Err(invalid(
            "authorized_keys",
            text,
            "it is no SSH public key, such as 'ssh-ed25519 AAAA... me'",
        ));
    }
    Ok(text)
}

/// Checks the name of a service of an image. It becomes the name of a file.
fn check_service(text: &str) -> Result<&str> {
    Name::new(text).map_err(|_| invalid("services", text, "use a-z, 0-9 and '-' inside"))?;
    Ok(text)
}

/// Checks a host name: labels as DNS has them, 64 bytes in all, as Linux has it.
fn check_hostname(text: &str) -> Result<()> {
    let label = |label: &str| crate::model::name::Name::new(label).is_ok();
    if text.is_empty() || (text.len() <= 64 && text.split('.').all(label)) {
        return Ok(());
    }
    Err(invalid("hostname", text, "write one such as web or web.example.org, of a-z, 0-9 and '-'"))
}

/// Checks a time zone's name: a path below /usr/share/zoneinfo that leads nowhere else.
fn check_timezone(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let part = |part: &str| !part.is_empty() && part.chars().all(good);
    if text.is_empty() || (text.len() <= 64 && text.split('/').all(part)) {
        return Ok(());
    }
    Err(invalid("timezone", text, "write one such as Europe/Madrid"))
}

/// Checks a script: its text, or the absolute path of a file on the box.
fn check_script(text: &str) -> Result<()> {
    if text.len() > SCRIPT_MAX || text.contains('\0') {
        return Err(invalid(
            "first_boot",
            text,
            "write a script of at most 64 KiB, or the path of one on the box",
        ));
    }
    Ok(())
}

fn check_slice(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.len() > 63 || !text.chars().all(good) {
        return Err(invalid("slice", text, "use at most 63 letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn defaults() -> Defaults {
        Defaults {
            image: ImageName::new("distro").unwrap(),
            bridge: "br-lan".into(),
            memory: Bytes(512 << 20),
            cpus: Cpus(1000),
            disk: Some(Bytes(4 << 30)),
            pids: 512,
        }
    }

    #[test]
    fn nothing_said_is_all_defaults() {
        let spec = Asked::default().resolve(&defaults()).unwrap();
        assert_eq!((spec.memory, spec.pids, spec.autostart), (Bytes(512 << 20), 512, true));
        assert_eq!(
            (spec.image.as_str(), spec.bridge.as_str(), spec.address),
            ("distro", "br-lan", Address::Dhcp)
        );
    }

    #[test]
    fn a_spec_is_said_whole() {
        let nothing = Asked::default().resolve(&defaults()).unwrap();
        let asked = Asked {
            memory: Some("100000001".into()),
            cpus: Some("0.5".into()),
            disk: Some("none".into()),
            pids: Some("7".into()),
            bridge: Some("br-x".into()),
            address: Some("10.0.0.2/24".into()),
            gateway: Some("10.0.0.1".into()),
            autostart: Some("0".into()),
            priority: Some("9".into()),
            restart: Some("always".into()),
            description: Some("two words".into()),
            authorized_keys: vec!["ssh-ed25519 AAAA me".into()],
            slice: Some("s".into()),
            advertise: Some("0".into()),
            protected: Some("1".into()),
            hostname: Some("web.example.org".into()),
            timezone: Some("Europe/Madrid".into()),
            first_boot: Some("#!/bin/sh\necho 'a' \"b\" \\ $c\n".into()),
            services: vec!["proxy".into()],
            deleting: None,
            image: Some("other".into()),
        };
        let all = asked.resolve(&defaults()).unwrap();
        let elsewhere = Defaults { memory: Bytes(1 << 30), disk: Some(Bytes(1 << 33)), ..defaults() };
        for spec in [nothing, all] {
            assert_eq!(Asked::of(&spec).resolve(&elsewhere).unwrap(), spec);
        }
    }

    #[test]
    fn every_wrong_value_is_named() {
        let ask = |set: fn(&mut Asked, String), value: &str| {
            let mut asked = Asked::default();
            set(&mut asked, value.to_string());
            asked.resolve(&defaults())
        };
        type Row = (&'static str, fn(&mut Asked, String), &'static [&'static str]);
        let rows: [Row; 15] = [
            ("memory", |a, v| a.memory = Some(v), &["-1", "0", "10X", "1M", ""]),
            ("cpus", |a, v| a.cpus = Some(v), &["-1", "0", "x"]),
            ("disk", |a, v| a.disk = Some(v), &["-1", "0", "10X", "1M", "no"]),
            ("pids", |a, v| a.pids = Some(v), &["0", "-1", "x", "1.5", "1000001"]),
            (
                "bridge",
                |a, v| a.bridge = Some(v),
                &["", "a b", "x/y", "br-lan\nlxc.hook", "0123456789abcdef"],
            ),
            ("address", |a, v| a.address = Some(v), &["x", "10.0.0.1"]),
            ("autostart", |a, v| a.autostart = Some(v), &["maybe", ""]),
            ("priority", |a, v| a.priority = Some(v), &["", "-1", "1000", "x", "99999999999"]),
            ("restart", |a, v| a.restart = Some(v), &["", "yes", "1", "onfailure"]),
            ("description", |a, v| a.description = Some(v), &["two\nlines"]),
            (
                "authorized_keys",
                |a, v| a.authorized_keys = vec![v],
                &["x", "ssh-rsa", "ssh-rsa A\nB", "rm -rf"],
            ),
            ("slice", |a, v| a.slice = Some(v), &["a b", "a/b"]),
            ("hostname", |a, v| a.hostname = Some(v), &["a b", "-a", "a..b", "a\nb", "A", "a/b"]),
            ("timezone", |a, v| a.timezone = Some(v), &["../etc", "/etc/passwd", "a//b", "a b", "a\nb", "."]),
            ("first_boot", |a, v| a.first_boot = Some(v), &["a\0b"]),
        ];
        for (option, set, values) in rows {
            for value in values {
                let error = ask(set, value).unwrap_err();
                assert_eq!(error.code, Code::InvalidArgument, "{option}={value:?}");
                assert!(error.message.contains(option), "{option}={value:?}: {}", error.message);
            }
        }
        assert_eq!(ask(|a, v| a.disk = Some(v), "none").unwrap().disk, None);
    }

    #[test]
    fn what_differs_is_told_by_what_applies_it() {
        let old = Asked::default().resolve(&defaults()).unwrap();
        let mut new = old.clone();
        new.description = "x".into();
        new.autostart = false;
        assert!(new.differs_from(&old).is_empty());
        new.memory = Bytes(1 << 30);
        new.address = Address::parse("10.0.0.2/24").unwrap();
        assert_eq!(new.differs_from(&old), ["memory", "address"]);
        assert_eq!(new.needs_restart(&old), ["address"]);
        let applied = new.while_running(&old);
        assert_eq!((applied.memory, applied.address), (new.memory, old.address));
        assert_eq!(new.differs_from(&applied), ["address"]);
    }

    #[test]
    fn a_quota_only_grows() {
        let made = Asked::default().resolve(&defaults()).unwrap();
        let with = |disk| Spec { disk, ..made.clone() };
        for (disk, grows) in
            [(made.disk, false), (Some(Bytes(8 << 30)), true), (Some(Bytes(1 << 30)), false), (None, false)]
        {
            let new = with(disk);
            assert_eq!(new.grows(&made), grows, "{disk:?}");
            assert_eq!(
                new.fixed_since_made(&made).contains(&"disk"),
                !grows && disk != made.disk,
                "{disk:?}"
            );
            assert_eq!(new.for_start(&made).disk, if grows { disk } else { made.disk });
        }
        assert!(!with(Some(Bytes(8 << 30))).grows(&with(None)));
    }

    #[test]
    fn what_is_not_said_stays_but_for_a_gateway_that_no_longer_fits() {
        let first = Asked {
            memory: Some("64M".into()),
            address: Some("10.0.0.2/24".into()),
            gateway: Some("10.0.0.9".into()),
            restart: Some("always".into()),
            priority: Some("7".into()),
            ..Asked::default()
        };
        let first = first.resolve(&defaults()).unwrap();
        let change = |set: fn(&mut Asked)| {
            let mut asked = Asked::default();
            set(&mut asked);
            asked.apply(first.clone())
        };
        assert_eq!(change(|_| {}).unwrap(), first);
        let lighter = change(|a| a.memory = Some("32M".into())).unwrap();
        assert_eq!(Spec { memory: first.memory, ..lighter }, first);
        let near = change(|a| a.address = Some("10.0.0.3/24".into())).unwrap();
        assert_eq!(near.gateway, first.gateway);
        for far in ["dhcp", "10.1.0.3/24"] {
            let mut asked = Asked { address: Some(far.into()), ..Asked::default() };
            assert_eq!(asked.apply(first.clone()).unwrap().gateway, None, "{far}");
            asked.gateway = Some("10.0.0.9".into());
            assert!(asked.apply(first.clone()).is_err(), "{far}");
        }
        assert_eq!((first.restart, first.priority), (Restart::Always, 7));
    }
}
