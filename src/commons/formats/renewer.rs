//! A member lets the key of a box renew one of his slices, and nothing else. It stands in the manifest.

use super::{dates, Format, RENEWER_DAYS};
use crate::commons::fields::{Fields, Members};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// Which box may renew what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewer {
    /// Whose slice.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// The box whose key may sign renewals.
    pub of: Id,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most a year later. No renewal holds longer.
    pub expires: u64,
}

impl Format for Renewer {
    const PURPOSE: Purpose = Purpose::Renewer;
    const KNOWN: &'static [&'static str] = &["member", "slice", "box", "issued"];

    fn read(fields: Fields<'_>) -> Result<Renewer> {
        let (issued, expires) = dates(fields, RENEWER_DAYS)?;
        let (member, slice) = (fields.id("member")?, fields.label("slice", Kind::Slice)?);
        Ok(Renewer { member, slice, of: fields.id("box")?, issued, expires })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with("slice", self.slice.as_str());
        members.with_id("box", self.of).with("issued", self.issued).with("expires", self.expires)
    }

    /// Nowhere by itself.
    fn belongs(&self, _: &Topic) -> bool {
        false
    }
}
