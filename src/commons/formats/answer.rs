//! What a box tells a member who asked to be hosted.

use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{Fields, Members};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// The longest note, in bytes.
const NOTE_MAX: usize = 80;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The box.
    pub of: Id,
    /// Who asked.
    pub member: Id,
    /// Whether he is hosted.
    pub allowed: bool,
    /// What the box's owner says to it.
    pub note: Box<str>,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 30 days later.
    pub expires: u64,
}

impl Format for Answer {
    const PURPOSE: Purpose = Purpose::Answer;
    const KNOWN: &'static [&'static str] = &["box", "member", "allowed", "note", "issued"];

    fn read(fields: Fields<'_>) -> Result<Answer> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        Ok(Answer {
            of: fields.id("box")?,
            member: fields.id("member")?,
            allowed: fields.flag("allowed")?,
            note: fields.maybe_line("note", NOTE_MAX)?.unwrap_or_default().into(),
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("box", self.of).with_id("member", self.member);
        let members = members.with("allowed", self.allowed);
        let members = members.with_some("note", (!self.note.is_empty()).then_some(&*self.note));
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Answer(self.of, self.member)
    }
}
