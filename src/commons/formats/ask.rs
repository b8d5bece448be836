//! A member asks a box to host him.

use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{Fields, Members};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// The longest contact and the longest note, in bytes.
const LINE_MAX: usize = 120;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The box that is asked.
    pub of: Id,
    /// Who asks. His key stands in the text's comment.
    pub member: Id,
    /// Memory for all his containers, in bytes.
    pub memory: u64,
    /// Disk for all of them, in bytes.
    pub disk: u64,
    /// Processors for all of them, in thousandths.
    pub cpus: u64,
    /// How many containers.
    pub containers: u64,
    /// How the box's owner reaches him.
    pub contact: Box<str>,
    /// What it is for.
    pub note: Box<str>,
    /// When it was signed.
    pub issued: u64,
    /// When it is void: at most 30 days later.
    pub expires: u64,
}

/// More than any box has.
const MOST: u64 = 1 << 50;

impl Format for Ask {
    const PURPOSE: Purpose = Purpose::Ask;
    const KNOWN: &'static [&'static str] =
        &["box", "member", "memory", "disk", "cpus", "containers", "contact", "note", "issued"];

    fn read(fields: Fields<'_>) -> Result<Ask> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        Ok(Ask {
            of: fields.id("box")?,
            member: fields.id("member")?,
            memory: fields.number("memory", 0..=MOST)?,
            disk: fields.number("disk", 0..=MOST)?,
            cpus: fields.number("cpus", 0..=MOST)?,
            containers: fields.number("containers", 0..=MOST)?,
            contact: fields.maybe_line("contact", LINE_MAX)?.unwrap_or_default().into(),
            note: fields.maybe_line("note", LINE_MAX)?.unwrap_or_default().into(),
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        let members = Members::default().with_id("box", self.of).with_id("member", self.member);
        let members = members.with("memory", self.memory).with("disk", self.disk).with("cpus", self.cpus);
        let members = members.with("containers", self.containers);
        let members = members.with_some("contact", some(&self.contact)).with_some("note", some(&self.note));
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Ask(self.of, self.member)
    }
}
