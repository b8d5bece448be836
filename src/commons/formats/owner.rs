//! Somebody says that a box is his. It stands in the box's offer, and vouches for nobody.

use super::{dates, Format, MANIFEST_DAYS};
use crate::commons::fields::{Fields, Members};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// Whose a box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The member.
    pub member: Id,
    /// His box.
    pub of: Id,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 90 days later.
    pub expires: u64,
}

impl Format for Owner {
    const PURPOSE: Purpose = Purpose::Owner;
    const KNOWN: &'static [&'static str] = &["member", "box", "issued"];

    fn read(fields: Fields<'_>) -> Result<Owner> {
        let (issued, expires) = dates(fields, MANIFEST_DAYS)?;
        Ok(Owner { member: fields.id("member")?, of: fields.id("box")?, issued, expires })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with_id("box", self.of);
        members.with("issued", self.issued).with("expires", self.expires)
    }

    /// Nowhere by itself.
    fn belongs(&self, _: &Topic) -> bool {
        false
    }
}
