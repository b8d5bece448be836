//! A peer vouches for a member whom the box's owner does not know. It stands in the peer's index.

use super::{dates, key, Format, MANIFEST_DAYS};
use crate::commons::fields::{wrong, Fields, Members};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use crate::usign::PublicKey;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cert {
    /// Who vouches.
    pub issuer: Id,
    /// For whom: his key, so that whoever reads it needs nothing else.
    pub key: PublicKey,
    /// How much of the issuer's quota he may use, in per cent: 1 to 100. What a box's owner allows is less if that is less.
    pub share: u8,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 90 days later.
    pub expires: u64,
}

impl Cert {
    /// For whom it vouches.
    pub fn member(&self) -> Id {
        Id::of(&self.key)
    }
}

impl Format for Cert {
    const PURPOSE: Purpose = Purpose::Cert;
    const KNOWN: &'static [&'static str] = &["issuer", "key", "share", "issued"];

    fn read(fields: Fields<'_>) -> Result<Cert> {
        let (issued, expires) = dates(fields, MANIFEST_DAYS)?;
        let issuer = fields.id("issuer")?;
        let key = key(fields, "key")?;
        if Id::of(&key) == issuer {
            return Err(wrong("key", "nobody vouches for himself"));
        }
        // Within the range.
        let share = fields.number("share", 1..=100)? as u8;
        Ok(Cert { issuer, key, share, issued, expires })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("issuer", self.issuer).with("key", self.key.to_line());
        members.with("share", self.share).with("issued", self.issued).with("expires", self.expires)
    }

    /// Nowhere by itself.
    fn belongs(&self, _: &Topic) -> bool {
        false
    }
}
