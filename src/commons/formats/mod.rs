//! What is signed, one file for each kind. A text is verified first and read then; what it says is checked here, and whoever
//! has one of these types need not check it again: lengths, ranges, dates, and that it is of this network.
//!
//! Reading and writing are each other's inverse, but nobody relies on it: what was signed is kept as it came.

mod alive;
mod answer;
mod ask;
mod cert;
mod checkpoint;
mod index;
mod manifest;
mod offer;
mod owner;
mod renewal;
mod renewer;
mod revoked;
mod services;
mod state;

pub use alive::{Alive, Stamp, BACK, RUN};
pub use answer::Answer;
pub use ask::Ask;
pub use cert::Cert;
pub use checkpoint::Checkpoint;
pub use index::{Entry, Index, CERTS_MAX, SLICES_MAX};
pub use manifest::{
    Group, Image, Manifest, OnLoss, Published, Secret, Wish, BOXES_MAX, GROUPS_MAX, SEALS_MAX,
};
pub use offer::{Class, Mode, Offer};
pub use owner::Owner;
pub use renewal::Renewal;
pub use renewer::Renewer;
pub use revoked::Revoked;
pub use services::{Announced, Services};
pub use state::{cut, MemberState, Reported, State, REASON_MAX};

use super::fields::{wrong, Fields, Members, DATES};
use super::label::{Kind, Label};
use super::signed::{sign, Purpose, Signatures, Verified};
use super::topic::Topic;
use crate::error::Result;
use crate::usign::{PublicKey, SecretKey};
use serde_json::Value;

/// Seconds of a day.
pub const DAY: u64 = 86_400;
/// How long a manifest or a certificate may hold.
pub const MANIFEST_DAYS: u64 = 90;
/// How long an offer, a request or its answer, a renewal and what is announced may hold.
pub const OFFER_DAYS: u64 = 30;
/// How long a box may be trusted to renew.
pub const RENEWER_DAYS: u64 = 366;
/// How long a revocation stays in the brokers. Whoever has seen it keeps it for ever.
pub const REVOKED_DAYS: u64 = 3660;

/// The members that all have: of which network it is, when it ends, and what of it must be understood.
const COMMON: [&str; 3] = ["network", "expires", "must"];

/// Something that is signed.
pub trait Format: Sized {
    /// What its signature is for.
    const PURPOSE: Purpose;
    /// The members that are understood, beside those that all have.
    const KNOWN: &'static [&'static str];

    /// Takes it out of `fields`.
    ///
    /// # Errors
    /// [`crate::error::Code::InvalidArgument`], naming the member that is wrong.
    fn read(fields: Fields<'_>) -> Result<Self>;

    /// All it says but the network.
    fn write(&self) -> Members;

    /// Whether it may stand at `topic`.
    fn belongs(&self, topic: &Topic) -> bool;
}

/// Verifies `text` with `key` and reads what it says.
///
/// # Errors
/// As [`Verified::by`], [`Verified::members`] and [`Format::read`]; it is of another network.
pub fn open<T: Format>(
    signatures: &dyn Signatures,
    key: &PublicKey,
    network: Label,
    text: &[u8],
) -> Result<T> {
    read(&Verified::by(signatures, key, T::PURPOSE, text)?, network)
}

/// Reads what was verified.
///
/// # Errors
/// As [`Verified::members`] and [`Format::read`]; it is of another network.
pub fn read<T: Format>(verified: &Verified<'_>, network: Label) -> Result<T> {
    let members = verified.members(&[&COMMON[..], T::KNOWN].concat())?;
    let fields = Fields::new(&members);
    let said = fields.label("network", Kind::Network)?;
    if said != network {
        return Err(wrong("network", &format!("it is of the network {said}, and this is {network}")));
    }
    T::read(fields)
}

/// Verifies `text`, which stands at `topic`, with `key` and reads what it says.
///
/// # Errors
/// As [`open`]; it is about something else than its topic.
pub fn open_at<T: Format>(
    signatures: &dyn Signatures,
    key: &PublicKey,
    network: Label,
    topic: &Topic,
    text: &[u8],
) -> Result<T> {
    let told: T = open(signatures, key, network, text)?;
    match told.belongs(topic) {
        true => Ok(told),
        false => Err(wrong("topic", &format!("what is signed does not belong at {}", topic.text(network)))),
    }
}

/// Writes what `told` says and signs it.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`]: it would be longer than its kind may be; the key is damaged.
pub fn make<T: Format>(
    signatures: &dyn Signatures,
    key: &SecretKey,
    network: Label,
    told: &T,
) -> Result<Vec<u8>> {
    sign(signatures, key, T::PURPOSE, told.write().with("network", network.as_str()).done())
}

/// When it was signed and when it ends: at most `days` later.
fn dates(fields: Fields<'_>, days: u64) -> Result<(u64, u64)> {
    let issued = fields.number("issued", DATES)?;
    let expires = fields.number("expires", DATES)?;
    if expires <= issued || expires - issued > days * DAY {
        let why = format!("{expires} is not within {days} days after `issued`, {issued}");
        return Err(wrong("expires", &why));
    }
    Ok((issued, expires))
}

/// A public key, `RWQ…`.
fn key(fields: Fields<'_>, name: &str) -> Result<PublicKey> {
    // 56 letters, and no second line.
    PublicKey::parse(fields.text(name, 64)?).map_err(|error| wrong(name, &error.message))
}

/// A signed text within another.
fn inner(name: &str, value: &Value) -> Result<Box<str>> {
    super::fields::text(name, value, 1 << 10).map(Box::from)
}

#[cfg(test)]
mod tests;
