//! What a box has for others.

use super::alive::Stamp;
use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{id, wrong, Fields, Members};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;

/// How much a box can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It comes and goes.
    Any,
    /// It is there in the evenings.
    Evening,
    /// At least 95 % of the hours of 30 days.
    Steady,
}

impl Class {
    /// The words of UCI and of what is signed.
    pub const WORDS: [(&'static str, Class); 3] =
        [("any", Class::Any), ("evening", Class::Evening), ("steady", Class::Steady)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&Class::WORDS, self)
    }
}

/// Whether a box takes members of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Production,
    /// Its owner wants nothing new, and members stopped.
    Safe,
    /// Something is wrong with it, likewise.
    Failure,
}

impl Mode {
    /// The words of UCI and of what is signed.
    pub const WORDS: [(&'static str, Mode); 3] =
        [("production", Mode::Production), ("safe", Mode::Safe), ("failure", Mode::Failure)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&Mode::WORDS, self)
    }
}

/// The word of `meaning`, which stands among `words`.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, each)| *each == meaning).map_or("", |(word, _)| *word)
}

/// The longest name of an architecture, of an address and of a box.
const ARCH_MAX: usize = 24;
const ADDRESS_MAX: usize = 45;
const NAME_MAX: usize = 32;
/// The most ids of whom a box accepts.
const ACCEPTS_MAX: usize = 60;
/// Half a byte for each hour of a week.
const HOURS: usize = 84;
/// More than any box has.
const MOST: u64 = 1 << 50;

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The box.
    pub of: Id,
    /// Its zone.
    pub zone: Label,
    /// What its owner calls it.
    pub name: Box<str>,
    /// When it was said, beside its signs of life.
    pub stamp: Stamp,
    /// Its processor's kind, `x86_64`, `aarch64`, as manifests name images by.
    pub arch: Box<str>,
    /// Where it is reached; empty if it does not say.
    pub address: Box<str>,
    /// Memory free for others, in bytes, rounded.
    pub memory: u64,
    /// Disk free for others, in bytes, rounded.
    pub disk: u64,
    /// Processors free for others, in thousandths.
    pub cpus: u64,
    /// How many containers more.
    pub containers: u64,
    /// How many members of slices it runs.
    pub members: u64,
    /// By its own word.
    pub class: Class,
    /// Whether it takes members now.
    pub mode: Mode,
    /// The signed certificate of its owner.
    pub owner: Option<Box<str>>,
    /// Its X25519 key, for which secrets are sealed.
    pub seal: Option<[u8; 32]>,
    /// Whom it accepts; None if its owner does not show it.
    pub accepts: Option<Vec<Id>>,
    /// How much of each hour of the week it is up, in 4 bits: 15 is always. From Monday, 0 h, the first hour in the upper half.
    pub hours: Option<[u8; HOURS]>,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 30 days later.
    pub expires: u64,
}

/// Base64 of exactly `N` bytes.
fn bytes<const N: usize>(fields: Fields<'_>, name: &str) -> Result<Option<[u8; N]>> {
    let Some(text) = fields.maybe_text(name, N * 2)? else { return Ok(None) };
    let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| wrong(name, &format!("it is no base64 of {N} bytes")))
}

impl Format for Offer {
    const PURPOSE: Purpose = Purpose::Offer;
    const KNOWN: &'static [&'static str] = &[
        "box",
        "zone",
        "name",
        "session",
        "seq",
        "arch",
        "address",
        "memory",
        "disk",
        "cpus",
        "containers",
        "members",
        "class",
        "mode",
        "owner",
        "seal",
        "accepts",
        "hours",
        "issued",
    ];

    fn read(fields: Fields<'_>) -> Result<Offer> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        let line = |name, most| Ok::<Box<str>, _>(fields.maybe_line(name, most)?.unwrap_or_default().into());
        let amount = |name| Ok::<u64, _>(fields.maybe_number(name, 0..=MOST)?.unwrap_or(0));
        // The difference between nobody and no word.
        let accepts = match fields.iter().any(|(name, _)| name == "accepts") {
            true => Some(fields.list("accepts", ACCEPTS_MAX, id)?),
            false => None,
        };
        Ok(Offer {
            of: fields.id("box")?,
            zone: fields.label("zone", Kind::Zone)?,
            name: line("name", NAME_MAX)?,
            stamp: Stamp::read(fields)?,
            arch: line("arch", ARCH_MAX)?,
            address: line("address", ADDRESS_MAX)?,
            memory: amount("memory")?,
            disk: amount("disk")?,
            cpus: amount("cpus")?,
            containers: amount("containers")?,
            members: amount("members")?,
            class: fields.word("class", &Class::WORDS)?,
            mode: fields.word("mode", &Mode::WORDS)?,
            owner: fields.maybe_text("owner", 1 << 10)?.map(Box::from),
            seal: bytes(fields, "seal")?,
            accepts,
            hours: bytes(fields, "hours")?,
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        let members = Members::default().with_id("box", self.of).with("zone", self.zone.as_str());
        let members = members.with_some("name", some(&self.name)).with_some("arch", some(&self.arch));
        let members = members.with_some("address", some(&self.address));
        let members = members.with("memory", self.memory).with("disk", self.disk).with("cpus", self.cpus);
        let members = members.with("containers", self.containers).with("members", self.members);
        let members = members.with("class", self.class.as_str()).with("mode", self.mode.as_str());
        let members = members.with_some("owner", self.owner.as_deref());
        let members = members.with_some("seal", self.seal.map(|key| BASE64.encode(key)));
        let accepts = |ids: &Vec<Id>| ids.iter().map(Id::to_string).collect::<Vec<String>>();
        let members = members.with_some("accepts", self.accepts.as_ref().map(accepts));
        let members = members.with_some("hours", self.hours.map(|hours| BASE64.encode(hours)));
        self.stamp.write(members).with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Offer(self.zone, self.of)
    }
}
