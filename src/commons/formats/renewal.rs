//! A box renews a slice, by the certificate in its manifest.

use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{Fields, Hash, Members};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// A later end for a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Whose slice.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// Which manifest: the SHA-256 of all that was signed of it.
    pub manifest: Hash,
    /// The box that renews, whose key signs this.
    pub of: Id,
    /// When it was signed.
    pub issued: u64,
    /// The new end: at most 30 days later.
    pub expires: u64,
}

impl Format for Renewal {
    const PURPOSE: Purpose = Purpose::Renewal;
    const KNOWN: &'static [&'static str] = &["member", "slice", "manifest", "box", "issued"];

    fn read(fields: Fields<'_>) -> Result<Renewal> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        let (member, slice) = (fields.id("member")?, fields.label("slice", Kind::Slice)?);
        let manifest = fields.hash("manifest")?;
        Ok(Renewal { member, slice, manifest, of: fields.id("box")?, issued, expires })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with("slice", self.slice.as_str());
        let members = members.with_hash("manifest", &self.manifest).with_id("box", self.of);
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Renewal(self.member, self.slice)
    }
}
