//! Whom a box hosts, through whom, and how much of what its owner allows each may use.
//!
//! A peer stands in the box's configuration. Who does not may be vouched for by one peer who may do that (`delegate`): one
//! certificate, and no longer chain. Whatever is below a peer counts against that peer. `deny` wins over all.

use super::formats::{Cert, Revoked};
use super::id::Id;
use super::interface::{Peer, Settings};
use crate::usign::PublicKey;

/// What somebody uses, or may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Memory, in bytes.
    pub memory: u64,
    /// Disk, in bytes.
    pub disk: u64,
    /// Processors, in thousandths.
    pub cpus: u64,
    /// Containers.
    pub containers: u64,
}

impl Amount {
    /// All that a peer may use.
    pub fn of(peer: &Peer) -> Amount {
        Amount { memory: peer.memory, disk: peer.disk, cpus: peer.cpus, containers: peer.containers }
    }

    /// Both together.
    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            memory: self.memory.saturating_add(other.memory),
            disk: self.disk.saturating_add(other.disk),
            cpus: self.cpus.saturating_add(other.cpus),
            containers: self.containers.saturating_add(other.containers),
        }
    }

    /// So many per cent of it. Of containers at least one, or a share would be worth nothing.
    pub fn share(self, percent: u8) -> Amount {
        let part = |all: u64| all / 100 * u64::from(percent) + all % 100 * u64::from(percent) / 100;
        let containers = part(self.containers).max(self.containers.min(1));
        Amount { memory: part(self.memory), disk: part(self.disk), cpus: part(self.cpus), containers }
    }

    /// What of it is more than `most`, as a word; None: it is within.
    pub fn exceeds(self, most: Amount) -> Option<&'static str> {
        [
            ("memory", self.memory, most.memory),
            ("disk", self.disk, most.disk),
            ("cpus", self.cpus, most.cpus),
            ("containers", self.containers, most.containers),
        ]
        .into_iter()
        .find(|(_, is, most)| is > most)
        .map(|(word, ..)| word)
    }
}

/// Why somebody is not hosted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// He is neither a peer nor vouched for.
    Unknown,
    /// The box's owner denies him, or the peer who vouches for him.
    Denied,
    /// He, or who vouches for him, has given up the key, or vouches for him no more.
    Revoked,
    /// The peer whom the slice names may not vouch for others.
    NoDelegate,
    /// The certificate has ended.
    Ended,
}

impl Refusal {
    /// A word for scripts, and a sentence.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::Unknown => ("unknown_key", "no peer of the box, and nobody vouches for this key"),
            Refusal::Denied => ("denied", "the box's owner denies this key"),
            Refusal::Revoked => ("revoked", "the key, or what was said for it, was revoked"),
            Refusal::NoDelegate => ("no_delegate", "who vouches for this key may not do that on this box"),
            Refusal::Ended => ("cert_ended", "the certificate for this key has ended"),
        }
    }
}

/// By what somebody is hosted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Against whose quota it counts.
    pub peer: &'a Peer,
    /// The peer's id.
    pub peer_id: Id,
    /// How much of it, in per cent, if he is vouched for.
    pub share: Option<u8>,
    /// When what is said for him ends, if he is vouched for.
    pub until: Option<u64>,
}

impl Standing<'_> {
    /// The most that he may use.
    pub fn most(&self) -> Amount {
        let all = Amount::of(self.peer);
        self.share.map_or(all, |share| all.share(share))
    }
}

/// A key that is known, and what it has said about others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: Id,
    /// The key.
    pub key: PublicKey,
    /// Whether it stands in the configuration.
    pub is_peer: bool,
    /// Whom it vouches for, by its newest index.
    pub certs: Vec<Cert>,
    /// What it revoked, by its newest list.
    pub revoked: Option<Revoked>,
}

impl Known {
    fn revokes(&self, id: Id) -> bool {
        self.revoked.as_ref().is_some_and(|list| list.keys.contains(&id))
    }
}

/// The peers of `settings`, by id.
pub fn peers(settings: &Settings) -> impl Iterator<Item = (Id, &Peer)> {
    settings.peers.iter().map(|peer| (Id::of(&peer.key), peer))
}

/// Whether the owner denies that key.
pub fn is_denied(settings: &Settings, id: Id) -> bool {
    settings.deny.iter().any(|key| Id::of(key) == id)
}

/// By what `member` is hosted whose slice names `via`. `now` is the time by a clock that is right; without one nothing ends.
///
/// # Errors
/// Why he is not.
pub fn standing<'a>(
    settings: &'a Settings,
    known: &[Known],
    member: Id,
    via: Option<Id>,
    now: Option<u64>,
) -> Result<Standing<'a>, Refusal> {
    let find = |id: Id| known.iter().find(|known| known.id == id);
    if is_denied(settings, member) {
        return Err(Refusal::Denied);
    }
    if find(member).is_some_and(|known| known.revokes(member)) {
        return Err(Refusal::Revoked);
    }
    // A peer counts as himself, whatever his slice says.
    if let Some((peer_id, peer)) = peers(settings).find(|(id, _)| *id == member) {
        return Ok(Standing { peer, peer_id, share: None, until: None });
    }
    let via = via.ok_or(Refusal::Unknown)?;
    if is_denied(settings, via) {
        return Err(Refusal::Denied);
    }
    let (peer_id, peer) = peers(settings).find(|(id, _)| *id == via).ok_or(Refusal::Unknown)?;
    if !peer.delegate {
        return Err(Refusal::NoDelegate);
    }
    let issuer = find(via).ok_or(Refusal::Unknown)?;
    if issuer.revokes(via) || issuer.revokes(member) {
        return Err(Refusal::Revoked);
    }
    let certs = issuer.certs.iter().filter(|cert| cert.issuer == via && cert.member() == member);
    let cert = certs.max_by_key(|cert| cert.expires).ok_or(Refusal::Unknown)?;
    if now.is_some_and(|now| now >= cert.expires) {
        return Err(Refusal::Ended);
    }
    Ok(Standing { peer, peer_id, share: Some(cert.share.min(peer.share)), until: Some(cert.expires) })
}

#[cfg(test)]
mod tests;
