//! What a container shall be: the typed form of a UCI section or of a `create` call.

use super::address::Address;
use super::name::{ImageName, Name};
use super::size::{Bytes, Cpus};
use super::slice::{is_id, SliceGroup};
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
pub(super) const PRIORITY_MAX: u16 = 999;
/// The least memory a container can start in.
const MEMORY_MIN: u64 = 4 << 20;
/// The least disk that can be formatted and used.
const DISK_MIN: u64 = 16 << 20;

/// The least and the most bytes in a second: with less nothing works, and more is no limit.
const RATE_MIN: u64 = 16 << 10;
const RATE_MAX: u64 = 10 << 30;
/// Most new connections in a second: the kernel keeps each in memory for a while.
const CONNECTIONS_MAX: u32 = 1000;

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

/// Where a container may go in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Beyond the box's own networks only.
    Internet,
    /// Also to machines of these; but to no service of the box.
    Lan,
    /// Everywhere.
    All,
}

/// As it stands in UCI and in JSON.
impl fmt::Display for Reach {
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
    /// Swap beside its memory; None is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Bytes>,
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
    /// The slice it belongs to, or empty: see [`super::slice`].
    #[serde(default)]
    pub slice: String,
    /// The id of the peer on whose account it counts, when that is not the slice's member; or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Its services are announced.
    #[serde(default = "yes")]
    pub advertise: bool,
    /// It is not deleted.
    #[serde(default)]
    pub protected: bool,
    /// It can send in its own name only.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub isolate: bool,
    /// Where it may go; None: see [`Spec::reach`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// Bytes in a second that it may send, and get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Bytes>,
    /// New connections in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// It may have containers of its own inside.
    #[serde(default, skip_serializing_if = "is_no")]
    pub nesting: bool,
    /// Its programs may use io_uring.
    #[serde(default, skip_serializing_if = "is_no")]
    pub io_uring: bool,
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

impl Spec {
    /// Where the container may go. Who is of a slice is a stranger here, unless the owner says otherwise.
    pub fn reach(&self) -> Reach {
        self.reach.unwrap_or(if self.slice.is_empty() { Reach::All } else { Reach::Internet })
    }
}

/// What a record says that was written before there was the field.
fn yes() -> bool {
    true
}

/// What a record need not say.
fn is_yes(value: &bool) -> bool {
    *value
}

/// The same of what is off unless said otherwise.
fn is_no(value: &bool) -> bool {
    !value
}

fn default_priority() -> u16 {
    PRIORITY
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

impl Defaults {
    /// What a container is of which nothing is said.
    pub fn spec(&self) -> Spec {
        Spec {
            image: self.image.clone(),
            memory: self.memory,
            swap: None,
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
            peer: String::new(),
            advertise: true,
            isolate: true,
            reach: None,
            rate: None,
            connections: None,
            protected: false,
            nesting: false,
            io_uring: false,
            hostname: String::new(),
            timezone: String::new(),
            first_boot: String::new(),
            services: Vec::new(),
        }
    }
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

impl Spec {
    /// Bytes of swap that it may use.
    pub fn swap_bytes(&self) -> u64 {
        self.swap.map_or(0, Bytes::get)
    }

    /// What of the box's memory is promised to it: its limit, and its swap, which a router has in its own memory.
    pub fn promised_memory(&self) -> Bytes {
        Bytes(self.memory.get().saturating_add(self.swap_bytes()))
    }
}

/// Reads an amount of swap; `none` and 0 are none.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_swap(text: &str) -> Result<Option<Bytes>> {
    if matches!(text, "none" | "0") {
        return Ok(None);
    }
    let size = Bytes::parse("swap", text);
    size.map(Some).map_err(|e| Error::new(e.code, format_args!("{}, or 'none'", e.message)).about("swap"))
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

pub(super) fn parse_restart(text: &str) -> Result<Restart> {
    Restart::deserialize(text.into_deserializer())
        .map_err(|_: value::Error| invalid("restart", text, "write no, on-failure or always"))
}

pub(super) fn parse_reach(text: &str) -> Result<Reach> {
    Reach::deserialize(text.into_deserializer())
        .map_err(|_: value::Error| invalid("reach", text, "write internet, lan or all"))
}

/// Reads bytes in a second; `none` is no limit.
pub(super) fn parse_rate(text: &str) -> Result<Option<Bytes>> {
    if text == "none" {
        return Ok(None);
    }
    let rate = Bytes::parse("rate", text)?;
    if !(RATE_MIN..=RATE_MAX).contains(&rate.get()) {
        return Err(invalid("rate", text, "write bytes in a second from 16K to 10G; 'none' is no limit"));
    }
    Ok(Some(rate))
}

/// Reads new connections in a second; `none` is no limit.
pub(super) fn parse_connections(text: &str) -> Result<Option<u32>> {
    if text == "none" {
        return Ok(None);
    }
    match text.parse() {
        Ok(number @ 1..=CONNECTIONS_MAX) => Ok(Some(number)),
        _ => Err(invalid(
            "connections",
            text,
            &format!("write a whole number from 1 to {CONNECTIONS_MAX}; 'none' is no limit"),
        )),
    }
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

pub(super) fn check_description(text: &str) -> Result<()> {
    if text.len() > DESCRIPTION_MAX || text.chars().any(char::is_control) {
        return Err(invalid("description", text, "write one line of at most 256 bytes"));
    }
    Ok(())
}

pub(super) fn check_key(text: &str) -> Result<&str> {
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
pub(super) fn check_service(text: &str) -> Result<&str> {
    Name::new(text).map_err(|_| invalid("services", text, "use a-z, 0-9 and '-' inside"))?;
    Ok(text)
}

/// Checks a host name: labels as DNS has them, 64 bytes in all, as Linux has it.
pub(super) fn check_hostname(text: &str) -> Result<()> {
    let label = |label: &str| crate::model::name::Name::new(label).is_ok();
    if text.is_empty() || (text.len() <= 64 && text.split('.').all(label)) {
        return Ok(());
    }
    Err(invalid("hostname", text, "write one such as web or web.example.org, of a-z, 0-9 and '-'"))
}

/// Checks a time zone's name: a path below /usr/share/zoneinfo that leads nowhere else.
pub(super) fn check_timezone(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let part = |part: &str| !part.is_empty() && part.chars().all(good);
    if text.is_empty() || (text.len() <= 64 && text.split('/').all(part)) {
        return Ok(());
    }
    Err(invalid("timezone", text, "write one such as Europe/Madrid"))
}

/// Whether what is said of a first-boot script is a path, as it could be once: the daemon opens no file for it.
pub fn is_path(script: &str) -> bool {
    script.starts_with('/') && !script.contains('\n')
}

/// Checks that a first-boot script is one, and not the path of one.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn check_first_boot(script: &str) -> Result<()> {
    if is_path(script) {
        return Err(invalid(
            "first_boot",
            script,
            "write the script itself, not its path; the command reads the file: `cloudbox create --first-boot FILE`",
        ));
    }
    Ok(())
}

/// Checks a script's size, and that it can be written to a file of the configuration.
pub(super) fn check_script(text: &str) -> Result<()> {
    if text.len() > SCRIPT_MAX || text.contains('\0') {
        return Err(invalid("first_boot", text, "write a script of at most 64 KiB"));
    }
    Ok(())
}

/// Checks a group of a slice, or a label.
pub(super) fn check_slice(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_label = text.len() <= 63 && text.chars().all(good);
    if !is_label && SliceGroup::parse(text).is_none() {
        let why = "write <member>/<slice>/<group> as the commons does, or at most 63 letters, digits, '-', '_' and '.'";
        return Err(invalid("slice", text, why));
    }
    Ok(())
}

/// Checks the id of a peer.
pub(super) fn check_peer(text: &str) -> Result<()> {
    if !text.is_empty() && !is_id(text) {
        return Err(invalid("peer", text, "write its id, 16 letters as `cloudbox key id` prints them"));
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

    /// What the record of an earlier version does not say is as in a section that does not say it.
    #[test]
    fn an_old_record_has_what_is_so_unless_it_is_said() {
        let mut record = serde_json::to_value(defaults().spec()).unwrap();
        let fields = record.as_object_mut().unwrap();
        for field in ["advertise", "isolate"] {
            fields.remove(field);
        }
        let spec: Spec = serde_json::from_value(record).unwrap();
        assert!(spec.advertise && spec.isolate);
    }
}
