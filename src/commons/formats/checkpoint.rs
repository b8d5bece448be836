//! Where a box has a copy of what a member's guest wrote.

use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{Fields, Hash, Members};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// The longest capability, in bytes: sealed for all listed boxes.
const CAPABILITY_MAX: usize = 3 << 10;

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The box.
    pub of: Id,
    /// Whose slice.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// The group.
    pub group: Label,
    /// The SHA-256 of the archive.
    pub sha256: Hash,
    /// How long it is.
    pub bytes: u64,
    /// How to get it, sealed.
    pub capability: Box<str>,
    /// When it was made.
    pub issued: u64,
    /// When it ends: at most 30 days later.
    pub expires: u64,
}

impl Format for Checkpoint {
    const PURPOSE: Purpose = Purpose::Checkpoint;
    const KNOWN: &'static [&'static str] =
        &["box", "member", "slice", "group", "sha256", "bytes", "capability", "issued"];

    fn read(fields: Fields<'_>) -> Result<Checkpoint> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        Ok(Checkpoint {
            of: fields.id("box")?,
            member: fields.id("member")?,
            slice: fields.label("slice", Kind::Slice)?,
            group: fields.label("group", Kind::Group)?,
            sha256: fields.hash("sha256")?,
            bytes: fields.number("bytes", 0..=1 << 50)?,
            capability: fields.text("capability", CAPABILITY_MAX)?.into(),
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("box", self.of).with_id("member", self.member);
        let members = members.with("slice", self.slice.as_str()).with("group", self.group.as_str());
        let members = members.with_hash("sha256", &self.sha256).with("bytes", self.bytes);
        let members = members.with("capability", &*self.capability);
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Checkpoint(self.of, self.member, self.slice)
    }
}
