//! What brokers say. Each text is verified by the key of whoever must have signed it, and only if it is about something that
//! was asked for. It changes what is known; what is to be done is looked at later.

use super::super::fields::Hash;
use super::super::formats::{open_at, Alive, Ask, Cert, Index, Manifest, Renewal, Renewer, Revoked, State};
use super::super::id::Id;
use super::super::interface::{Broker, Effect, Notice};
use super::super::label::Label;
use super::super::presence::Heard;
use super::super::signed::key_of;
use super::super::topic::Topic;
use super::docs::NOBODY;
use super::serials::{Outcome, Renewed, Taken};
use super::slice::Slice;
use super::{Core, Newest, ASKS_MAX, FOREIGN, SLICES_OF_ONE};
use crate::error::Result;
use std::rc::Rc;

/// Where a text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The box's own disk.
    Disk,
    /// Somebody on this box.
    Here,
    /// A broker.
    Broker(Broker),
}

impl From {
    fn of(broker: Option<Broker>) -> From {
        broker.map_or(From::Here, From::Broker)
    }

    fn broker(self) -> Option<Broker> {
        match self {
            From::Broker(broker) => Some(broker),
            _ => None,
        }
    }
}

impl Core {
    pub(super) fn listen(&mut self, broker: Broker, topic: &str, payload: &[u8], retained: bool) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        if self.links.get(broker).is_none_or(|link| link.since.is_none()) {
            return;
        }
        let Some(topic) = Topic::parse(network, topic) else { return };
        if let Topic::Ask(to, member) = topic {
            if to == self.me {
                self.hear_ask(member, &topic, payload);
            }
            return;
        }
        if self.subscribed.binary_search(&topic).is_err() {
            return;
        }
        let broker = Some(broker);
        match topic {
            Topic::Mark(_) => self.hear_mark(broker, payload),
            _ if topic.author() == Some(self.me) => self.hear_own(broker, &topic, payload, retained),
            Topic::Slice(member, name) => self.hear_manifest(broker, member, name, payload),
            Topic::Renewal(member, name) => self.hear_renewal(broker, member, name, payload),
            Topic::Index(member) => self.hear_index(broker, member, payload),
            Topic::Revoked(member) => self.hear_revoked(broker, member, payload),
            Topic::Alive(from) => self.hear_alive(from, &topic, payload, retained),
            Topic::State(from, member, name) => self.hear_state(from, member, name, &topic, payload),
            _ => {}
        }
    }

    /// Somebody on this box has a text that its member signed, for brokers that do not have it yet, or where there is none.
    pub(super) fn given(&mut self, payload: &[u8], topic: &Topic) {
        match *topic {
            Topic::Slice(member, name) => self.hear_manifest(None, member, name, payload),
            Topic::Index(member) => self.hear_index(None, member, payload),
            Topic::Revoked(member) => self.hear_revoked(None, member, payload),
            _ => {}
        }
    }

    /// What a broker has at a topic is the same as what counts, or less. Of what somebody gave on this box there is no broker.
    fn is_there(&mut self, broker: Option<Broker>, topic: &Topic, same: bool) {
        if let Some(broker) = broker {
            self.docs.heard(broker, topic, same, self.clock.mono());
        }
    }

    /// A mark has come back: all that stood there was said before it.
    fn hear_mark(&mut self, broker: Option<Broker>, payload: &[u8]) {
        let Some(broker) = broker else { return };
        let run = String::from_utf8_lossy(&self.identity.run);
        let before = format!("{} {run} ", self.identity.session);
        let text = std::str::from_utf8(payload).ok().and_then(|text| text.strip_prefix(&before));
        let Some(generation) = text.and_then(|text| text.parse().ok()) else { return };
        if self.links.marked(broker, generation) {
            let (subscribed, now) = (&self.subscribed, self.clock.mono());
            // What was asked for since then is said behind the next mark.
            if generation == self.generation {
                self.docs.marked(broker, |topic| subscribed.binary_search(topic).is_ok(), now);
            }
            self.all_dirty();
        }
    }

    /// What stands at the box's own topics: it should be what the box says.
    fn hear_own(&mut self, broker: Option<Broker>, topic: &Topic, payload: &[u8], retained: bool) {
        let now = self.clock.mono();
        let same = self.docs.get(topic).is_some_and(|own| **own == *payload);
        self.is_there(broker, topic, same);
        if same {
            if matches!(topic, Topic::Alive(_)) {
                self.echoed = self.presence.clock(now);
                if std::mem::take(&mut self.unheard) {
                    self.notice(Notice::Unheard(false));
                    self.all_dirty();
                }
            }
            return;
        }
        // An earlier word of this box, or another box with its key.
        if let (Topic::Alive(_), false) = (topic, retained) {
            let key = self.identity.key.public();
            if let Ok((alive, _)) = self.verify::<Alive>(&key, payload) {
                let is_later = alive.stamp.session >= self.identity.session && alive.run != self.identity.run;
                if is_later && !alive.lost {
                    if self.foreign_until <= now {
                        self.notice(Notice::Foreign);
                    }
                    self.foreign_until = now + FOREIGN;
                    self.all_dirty();
                }
            }
        }
    }

    fn hear_manifest(&mut self, broker: Option<Broker>, member: Id, name: Label, payload: &[u8]) {
        let topic = Topic::Slice(member, name);
        let now = self.clock.mono();
        if self.docs.get(&topic).is_some_and(|held| **held == *payload) {
            self.is_there(broker, &topic, true);
            return;
        }
        let Some(key) = self.known(member).map(|known| known.key.clone()) else { return };
        let told: Result<(Manifest, Hash)> = self.verify(&key, payload);
        let (manifest, hash) = match told {
            Ok((manifest, hash)) if manifest.member == member && manifest.slice == name => (manifest, hash),
            other => {
                // An empty one means nothing, and a forged one is nothing; both are made good.
                self.is_there(broker, &topic, false);
                if let Some(error) = other.err().filter(|error| error.code != crate::error::Code::Checksum) {
                    if !payload.is_empty() {
                        self.notice(Notice::Wrong { topic, why: error.into_message().into() });
                    }
                }
                return;
            }
        };
        let at = match self.slice_at(member, name) {
            Ok(at) => at,
            Err(at) => {
                let of_one = self.slices.iter().filter(|slice| slice.member == member).count();
                if !manifest.boxes.contains(&self.me) || of_one >= SLICES_OF_ONE {
                    return;
                }
                self.slices.insert(at, Slice::new(member, name));
                at
            }
        };
        let bytes: Rc<[u8]> = payload.into();
        let powered = self.clock.powered();
        let taken =
            Taken { manifest: manifest.into(), bytes: Rc::clone(&bytes), hash, at: powered, renewed: None };
        let slice = &mut self.slices[at];
        let before = (slice.serials.twice, slice.serials.void.len(), slice.serials.seen);
        let outcome = slice.serials.offer(taken, &self.clock);
        let after = (slice.serials.twice, slice.serials.void.len(), slice.serials.seen);
        if before != after {
            (slice.dirty, slice.unsaved) = (true, true);
        }
        match outcome {
            Outcome::Taken => {
                slice.follow(self.me, now);
                slice.unsaved = true;
                slice.gone_at = slice.serials.is_gone().then(|| slice.gone_at.unwrap_or(powered));
                let connected = self.links.connected();
                self.docs.hold(topic, bytes, NOBODY, broker, &connected, now);
                self.rank_all();
                self.stale = true;
            }
            Outcome::Same => self.is_there(broker, &topic, true),
            Outcome::Less => self.is_there(broker, &topic, false),
            Outcome::TooNew => {
                self.is_there(broker, &topic, false);
                let why = "its serial is more than 48 hours ahead of this box's clock, and never counts here";
                self.notice(Notice::Wrong { topic, why: why.into() });
            }
        }
        let mut slice = std::mem::replace(&mut self.slices[at], Slice::new(member, name));
        if slice.unsaved {
            // Before anything is done with it.
            self.keep_slice(&mut slice);
        }
        self.slices[at] = slice;
    }

    fn hear_renewal(&mut self, broker: Option<Broker>, member: Id, name: Label, payload: &[u8]) {
        let topic = Topic::Renewal(member, name);
        let same = self.docs.get(&topic).is_some_and(|own| **own == *payload);
        if same {
            return self.is_there(broker, &topic, true);
        }
        let Ok(at) = self.slice_at(member, name) else { return };
        let Some(taken) = self.slices[at].serials.taken.clone() else { return };
        let Some(renewed) = self.read_renewal(&taken, payload) else {
            return self.is_there(broker, &topic, false);
        };
        // Another box's word that holds as long as this one's is as good.
        if renewed.expires >= taken.expires() {
            self.docs.drop(&topic);
        }
        if renewed.expires > taken.expires() {
            let slice = &mut self.slices[at];
            if let Some(taken) = &mut slice.serials.taken {
                taken.renewed = Some(renewed);
            }
            (slice.dirty, slice.unsaved) = (true, true);
        }
    }

    /// What a renewal of that manifest is worth that a box with a certificate has signed.
    fn read_renewal(&self, taken: &Taken, payload: &[u8]) -> Option<Renewed> {
        let (member, name) = (taken.manifest.member, taken.manifest.slice);
        let key = &self.known(member)?.key;
        let certs = taken.manifest.renewers.iter();
        let certs = certs.filter_map(|cert| self.verified::<Renewer>(key, cert.as_bytes()));
        let mut certs =
            certs.map(|(cert, _)| cert).filter(|cert| (cert.member, cert.slice) == (member, name));
        certs.find_map(|cert| {
            let by = key_of(cert.of, payload)?;
            let (renewal, _) = self.verified::<Renewal>(&by, payload)?;
            let is_this = (renewal.member, renewal.slice, renewal.of) == (member, name, cert.of)
                && renewal.manifest == taken.hash;
            // Of one that was signed by a wrong clock no more than 30 days count from here.
            let most = self.clock.right().map_or(u64::MAX, |now| now + 31 * 86_400);
            let expires = renewal.expires.min(cert.expires);
            let renewed = Renewed { issued: renewal.issued, expires, at: self.clock.powered() };
            (is_this && expires <= most).then_some(renewed)
        })
    }

    fn hear_index(&mut self, broker: Option<Broker>, member: Id, payload: &[u8]) {
        let topic = Topic::Index(member);
        if self.docs.get(&topic).is_some_and(|held| **held == *payload) {
            return self.is_there(broker, &topic, true);
        }
        let Some(key) = self.known(member).map(|known| known.key.clone()) else { return };
        match self.verified::<Index>(&key, payload).filter(|(index, _)| index.member == member) {
            Some((index, hash)) => self.take_index(index, hash, payload, From::of(broker)),
            None => self.is_there(broker, &topic, false),
        }
    }

    /// Of an index that was verified; `from` which broker it came, or from the disk.
    pub(super) fn take_index(&mut self, index: Index, hash: Hash, bytes: &[u8], from: From) {
        let (id, topic, now) = (index.member, Topic::Index(index.member), self.clock.mono());
        let too_new = self.clock.right().is_some_and(|now| index.serial > now + 48 * 3600);
        let held = self.words.iter().find(|words| words.id == id).and_then(|words| words.index.as_ref());
        let order = held.map(|held| (held.serial, held.hash));
        if too_new || order.is_some_and(|order| (index.serial, hash) <= order) {
            if let From::Broker(broker) = from {
                self.is_there(Some(broker), &topic, order.is_some_and(|(_, held)| held == hash));
            }
            return;
        }
        let certs = index.certs.iter().filter_map(|cert| self.read_cert(id, cert)).collect();
        let me = self.me;
        let bytes: Rc<[u8]> = bytes.into();
        let words = self.words_mut(id);
        let lists_me = index.slices.iter().filter(|entry| entry.lists(me)).take(SLICES_OF_ONE);
        words.slices = lists_me.map(|entry| entry.slice).collect();
        words.index = Some(Newest { serial: index.serial, hash });
        if let Some(known) = self.known.iter_mut().find(|known| known.id == id && known.is_peer) {
            known.certs = certs;
        }
        if from != From::Disk {
            self.out.push_back(Effect::Keep(format!("index.{id}"), Rc::clone(&bytes)));
        }
        let connected = self.links.connected();
        self.docs.hold(topic, bytes, NOBODY, from.broker(), &connected, now);
        self.know();
        self.rank_all();
        self.all_dirty();
    }

    fn read_cert(&self, issuer: Id, text: &str) -> Option<Cert> {
        let key = self.known(issuer).map(|known| known.key.clone())?;
        let (cert, _) = self.verified::<Cert>(&key, text.as_bytes())?;
        (cert.issuer == issuer).then_some(cert)
    }

    fn hear_revoked(&mut self, broker: Option<Broker>, member: Id, payload: &[u8]) {
        let topic = Topic::Revoked(member);
        if self.docs.get(&topic).is_some_and(|held| **held == *payload) {
            return self.is_there(broker, &topic, true);
        }
        let Some(key) = self.known(member).map(|known| known.key.clone()) else { return };
        match self.verified::<Revoked>(&key, payload).filter(|(list, _)| list.member == member) {
            Some((list, hash)) => self.take_revoked(list, hash, payload, From::of(broker)),
            None => self.is_there(broker, &topic, false),
        }
    }

    /// Of revocations that were verified.
    pub(super) fn take_revoked(&mut self, list: Revoked, hash: Hash, bytes: &[u8], from: From) {
        let (id, topic, now) = (list.member, Topic::Revoked(list.member), self.clock.mono());
        let held = self.words.iter().find(|words| words.id == id).and_then(|words| words.revoked.as_ref());
        let order = held.map(|held| (held.serial, held.hash));
        // Whoever has given up his key says nothing more.
        let was_final =
            self.known(id).and_then(|known| known.revoked.as_ref()).is_some_and(Revoked::is_final);
        let is_less =
            order.is_some_and(|order| (list.serial, hash) <= order) || (was_final && !list.is_final());
        if is_less {
            if let From::Broker(broker) = from {
                self.is_there(Some(broker), &topic, order.is_some_and(|(_, held)| held == hash));
            }
            return;
        }
        let bytes: Rc<[u8]> = bytes.into();
        self.words_mut(id).revoked = Some(Newest { serial: list.serial, hash });
        if let Some(known) = self.known.iter_mut().find(|known| known.id == id) {
            known.revoked = Some(list);
        }
        if from != From::Disk {
            self.out.push_back(Effect::Keep(format!("revoked.{id}"), Rc::clone(&bytes)));
        }
        let connected = self.links.connected();
        self.docs.hold(topic, bytes, NOBODY, from.broker(), &connected, now);
        self.rank_all();
        self.all_dirty();
    }

    fn hear_alive(&mut self, from: Id, topic: &Topic, payload: &[u8], retained: bool) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        if self.presence.is_echo(from, payload) {
            return;
        }
        let Some(key) = key_of(from, payload) else { return };
        let Ok(alive) = open_at::<Alive>(&*self.signatures, &key, network, topic, payload) else { return };
        let now = self.clock.mono();
        let was_there = self.presence.is_heard(from, now);
        if self.presence.hear(&alive, retained, self.clock.now()) == Heard::Renewed {
            self.presence.remember(from, payload);
            // Of whoever is there it changes nothing that he still is.
            if !was_there || alive.back > 0 {
                let lists =
                    |slice: &&mut Slice| slice.others.binary_search_by_key(&from, |other| other.id).is_ok();
                self.slices.iter_mut().filter(lists).for_each(|slice| slice.dirty = true);
            }
        }
    }

    fn hear_state(&mut self, from: Id, member: Id, name: Label, topic: &Topic, payload: &[u8]) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        let Ok(at) = self.slice_at(member, name) else { return };
        if self.slices[at].others.binary_search_by_key(&from, |other| other.id).is_err() {
            return;
        }
        let Some(key) = key_of(from, payload) else { return };
        let Ok(state) = open_at::<State>(&*self.signatures, &key, network, topic, payload) else { return };
        let now = self.clock.mono();
        let slice = &mut self.slices[at];
        if slice.other_mut(from).is_some_and(|other| other.tell(&state, now)) {
            slice.dirty = true;
        }
    }

    fn hear_ask(&mut self, member: Id, topic: &Topic, payload: &[u8]) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        let Some(key) = key_of(member, payload) else { return };
        let Ok(ask) = open_at::<Ask>(&*self.signatures, &key, network, topic, payload) else { return };
        if self.clock.right().is_some_and(|now| ask.expires <= now) {
            return;
        }
        let held = self.asks.iter().position(|(other, _)| other.member == member);
        let is_full = self.asks.len() >= ASKS_MAX;
        match held.map(|at| &mut self.asks[at]) {
            Some((held, _)) if held.issued >= ask.issued => {}
            Some(held) => *held = (ask, key),
            None if is_full => {}
            None => {
                self.asks.push((ask, key));
                self.notice(Notice::Asked { member });
            }
        }
    }

    /// Works out anew who repairs what, and this box's place in it: the boxes that a slice lists, its texts and its member's.
    pub(super) fn rank_all(&mut self) {
        let now = self.clock.mono();
        let mut ranks: Vec<(Topic, u64)> = Vec::new();
        for slice in &self.slices {
            let Some(taken) = &slice.serials.taken else { continue };
            let manifest = &taken.manifest;
            if !manifest.boxes.contains(&self.me) {
                continue;
            }
            let topic = Topic::Slice(slice.member, slice.name);
            let own = place(self.me, slice.member, slice.name);
            let others = manifest.boxes.iter().map(|id| place(*id, slice.member, slice.name));
            let rank = others.filter(|other| *other < own).count() as u64;
            ranks.push((topic, rank));
            for id in [Some(slice.member), manifest.via].into_iter().flatten() {
                ranks.extend([(Topic::Index(id), rank), (Topic::Revoked(id), rank)]);
            }
        }
        ranks.sort_unstable();
        ranks.dedup_by_key(|(topic, _)| *topic);
        for (topic, rank) in ranks {
            self.docs.rank(&topic, rank, now);
        }
    }
}

/// A box's place among those that repair a slice: the same for all who work it out, and another for each slice. (FNV-1a.)
fn place(id: Id, member: Id, slice: Label) -> u64 {
    let bytes = id.bytes().iter().chain(member.bytes()).chain(slice.as_str().as_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
