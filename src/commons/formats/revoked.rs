//! Keys that a member vouched for and does not any more, or his own: that is final.

use super::{dates, Format, REVOKED_DAYS};
use crate::commons::fields::{id, Fields, Members, DATES};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// The most keys in a list.
const KEYS_MAX: usize = 500;

/// A list of revocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Whose it is.
    pub member: Id,
    /// Of two lists the one with the greater serial is the newer.
    pub serial: u64,
    /// Whom he vouches for no more. His own id: nothing that this key signs holds any more.
    pub keys: Vec<Id>,
    /// When it was signed.
    pub issued: u64,
    /// When it may be cleared from brokers.
    pub expires: u64,
}

impl Revoked {
    /// Whether the key itself is given up.
    pub fn is_final(&self) -> bool {
        self.keys.contains(&self.member)
    }
}

impl Format for Revoked {
    const PURPOSE: Purpose = Purpose::Revoked;
    const KNOWN: &'static [&'static str] = &["member", "serial", "keys", "issued"];

    fn read(fields: Fields<'_>) -> Result<Revoked> {
        let (issued, expires) = dates(fields, REVOKED_DAYS)?;
        let (member, serial) = (fields.id("member")?, fields.number("serial", DATES)?);
        Ok(Revoked { member, serial, keys: fields.list("keys", KEYS_MAX, id)?, issued, expires })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with("serial", self.serial);
        let members = members.with_list("keys", &self.keys, |key| key.to_string().into());
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Revoked(self.member)
    }
}
