//! The core of the commons on a box: without I/O, clock or randomness of its own. [`super::interface`] is what goes in and what
//! comes out.
//!
//! Each input changes what is known, and marks the slices that it is about. Then each of them is looked at anew (`manage.rs`):
//! what holds of it, what shall become of its members here, and what is said of that. Nothing is done at once by whoever reads
//! a message.

mod clock;
mod docs;
mod keep;
mod link;
mod listen;
mod manage;
mod say;
mod serials;
mod slice;
mod view;

pub use clock::Clock;
pub use serials::{Outcome, Serials, Taken};
pub use slice::{Doing, Elsewhere, Member, Slice};
pub use view::{AskView, MemberView, OtherView, PeerView, SliceView};

use super::formats::{Ask, Offer};
use super::id::Id;
use super::interface::{Broker, Call, Container, Effect, Identity, Input, Now, Room, Settings, Work};
use super::label::Label;
use super::presence::Presence;
use super::signed::Signatures;
use super::topic::{Filter, Topic};
use super::trust::{self, Known};
use crate::usign::PublicKey;
use docs::Docs;
use link::Links;
use std::collections::VecDeque;
use std::rc::Rc;

/// How often a box says that it is there, and looks at what changes slowly, in milliseconds.
pub const ALIVE_EVERY: u64 = 150_000;
/// How long another box with this box's key is taken for there after it was heard.
const FOREIGN: u64 = 600_000;
/// How long a box may not hear itself until it takes itself for unheard.
const UNHEARD: u64 = 900_000;
/// How often what changes all the time is written.
const SAVE_EVERY: u64 = 3_600_000;
/// The most requests that are shown.
const ASKS_MAX: usize = 50;
/// The most slices of one member that are kept.
const SLICES_OF_ONE: usize = 50;

/// How new a member's index or revocations are.
#[derive(Debug, Clone)]
struct Newest {
    serial: u64,
    hash: super::fields::Hash,
}

/// What a key has said of itself: its index and its revocations, as they were signed.
#[derive(Debug, Clone)]
struct Words {
    id: Id,
    index: Option<Newest>,
    /// Slices that the index says list this box.
    slices: Vec<Label>,
    revoked: Option<Newest>,
}

/// A call that is under way.
#[derive(Debug)]
struct Pending {
    call: Call,
    member: Id,
    slice: Label,
    group: Label,
    work: Work,
}

/// The core.
pub struct Core {
    identity: Identity,
    me: Id,
    signatures: Rc<dyn Signatures>,
    settings: Option<Settings>,
    kept: Vec<(String, Vec<u8>)>,
    clock: Clock,
    links: Links,
    docs: Docs,
    presence: Presence,
    /// The highest stamps of boxes, as they stood on the disk.
    stamps: Vec<(Id, super::formats::Stamp)>,
    known: Vec<Known>,
    words: Vec<Words>,
    slices: Vec<Slice>,
    containers: Option<Vec<Container>>,
    room: Room,
    asks: Vec<(Ask, PublicKey)>,
    offered: Option<Offer>,
    out: VecDeque<Effect>,
    pending: Vec<Pending>,
    calls: u32,
    seq: u32,
    subscribed: Vec<Topic>,
    generation: u32,
    /// What is subscribed to may be another thing now.
    stale: bool,
    alive_due: u64,
    save_due: u64,
    /// When this box read its own sign of life back last, by the connected clock.
    echoed: u64,
    unheard: bool,
    foreign_until: u64,
    /// Until when a box that comes back waits for others.
    return_until: u64,
    /// Since when each peer uses more than it may.
    over: Vec<(Id, u64)>,
}

impl Core {
    /// One that was just started at the time `now`, with the files that an earlier one kept: their names and what is in them.
    /// Nothing comes out of it before it knows the settings and the containers.
    pub fn new(
        identity: Identity,
        signatures: Rc<dyn Signatures>,
        kept: Vec<(String, Vec<u8>)>,
        now: Now,
    ) -> Core {
        let me = Id::of(&identity.key.public());
        let saved = keep::Saved::of(&kept);
        Core {
            identity,
            me,
            signatures,
            settings: None,
            kept,
            clock: Clock::new(now, saved.powered),
            links: Links::default(),
            docs: Docs::default(),
            presence: Presence::new(now.mono),
            stamps: saved.stamps,
            known: Vec::new(),
            words: Vec::new(),
            slices: Vec::new(),
            containers: None,
            room: Room::default(),
            asks: Vec::new(),
            offered: None,
            out: VecDeque::new(),
            pending: Vec::new(),
            calls: 0,
            seq: 0,
            subscribed: Vec::new(),
            generation: 1,
            stale: true,
            alive_due: now.mono,
            save_due: now.mono + SAVE_EVERY,
            echoed: 0,
            unheard: false,
            foreign_until: 0,
            return_until: u64::MAX,
            over: Vec::new(),
        }
    }

    /// The box's id.
    pub fn id(&self) -> Id {
        self.me
    }

    /// Something happens. Afterwards all that [`Core::poll`] has is to be carried out.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        if self.clock.tell(now) {
            self.judge_clock();
        }
        match input {
            Input::Settings(settings) => self.configure(settings),
            Input::Connected(broker) => self.connected(broker),
            Input::Lost(broker) => self.lost(broker),
            Input::Message { broker, topic, payload, retained } => {
                self.listen(broker, topic, payload, retained);
            }
            Input::Given { topic, payload } => self.given(payload, &topic),
            Input::Containers(containers) => {
                self.containers = Some(containers.to_vec());
                self.all_dirty();
            }
            Input::Room(room) => {
                self.room = room;
                self.offered = None;
            }
            Input::Done { call, result } => self.done(call, result),
            Input::Tick => {}
            Input::Answer { member, allowed, note } => self.answer(member, allowed, note),
            Input::Shutdown => {
                self.save();
                self.say_alive(super::formats::BACK.min(600));
            }
        }
        self.turn();
    }

    /// What is to be done next; None: nothing now.
    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is wanted at the latest, by the clock that never goes back; None: not by time alone.
    pub fn deadline(&self) -> Option<u64> {
        self.settings.as_ref()?;
        let now = self.clock.mono();
        let slices = self.slices.iter().filter_map(|slice| slice.look_at).min();
        let docs = self.docs.deadline();
        let times = [Some(self.alive_due), Some(self.save_due), slices, docs, self.links.deadline(now)];
        times.into_iter().flatten().min()
    }

    /// What a broker shall say when the connection is lost: its topic and payload, retained.
    pub fn will(&mut self) -> Option<(String, Rc<[u8]>)> {
        let network = self.settings.as_ref()?.network;
        let alive = self.alive(0, true);
        let bytes = self.sign(&alive)?;
        Some((Topic::Alive(self.me).text(network), bytes))
    }

    fn turn(&mut self) {
        if self.settings.is_none() || self.containers.is_none() {
            return;
        }
        let now = self.clock.mono();
        self.subscribe();
        let is_round = now >= self.alive_due;
        if is_round {
            self.round();
        }
        for at in 0..self.slices.len() {
            let slice = &self.slices[at];
            if slice.dirty || slice.look_at.is_some_and(|due| due <= now) {
                self.manage(at);
            }
        }
        // What was taken may list other boxes.
        self.subscribe();
        self.mark();
        if is_round {
            self.alive_due = now + ALIVE_EVERY;
            if self.presence.alone_since().is_none() {
                self.say_alive(0);
            }
        }
        self.say_offer();
        if now >= self.save_due {
            self.save();
            self.save_due = now + SAVE_EVERY;
        }
        self.publish();
    }

    fn publish(&mut self) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        let now = self.clock.mono();
        for (broker, topic) in self.docs.publish(network, now, &mut self.out) {
            self.notice(super::interface::Notice::NotHeld { broker, topic });
        }
        let connected = self.links.connected();
        self.docs.forget_cleared(&connected);
    }

    fn notice(&mut self, notice: super::interface::Notice) {
        self.out.push_back(Effect::Notice(notice));
    }

    fn all_dirty(&mut self) {
        self.slices.iter_mut().for_each(|slice| slice.dirty = true);
    }

    /// What changes slowly.
    fn round(&mut self) {
        let now = self.clock.mono();
        let silent = self.presence.clock(now).saturating_sub(self.echoed) >= UNHEARD;
        let unheard = silent && self.presence.hears_anybody(self.me, now);
        if unheard != self.unheard {
            self.unheard = unheard;
            self.notice(super::interface::Notice::Unheard(unheard));
        }
        self.quotas();
        self.forget();
        self.all_dirty();
    }

    /// NTP has answered: what was taken before is judged.
    fn judge_clock(&mut self) {
        for slice in &mut self.slices {
            if slice.serials.judge(&self.clock) {
                slice.unsaved = true;
                slice.follow(self.me, self.clock.mono());
                if let Some(taken) = &slice.serials.taken {
                    let topic = Topic::Slice(slice.member, slice.name);
                    let (connected, now) = (self.links.connected(), self.clock.mono());
                    self.docs.hold(topic, Rc::clone(&taken.bytes), 0, None, &connected, now);
                } else {
                    self.docs.drop(&Topic::Slice(slice.member, slice.name));
                }
            }
            slice.dirty = true;
        }
        // Its date was wrong.
        self.offered = None;
        self.stale = true;
    }

    fn connected(&mut self, broker: Broker) {
        let now = self.clock.mono();
        let Some(link) = self.links.get_mut(broker) else { return };
        let was_alone = self.presence.alone_since().is_some();
        link.connect(now);
        self.presence.connected(now);
        self.docs.connected(broker);
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        for topic in &self.subscribed {
            self.out.push_back(Effect::Subscribe(broker, topic.text(network)));
        }
        self.out.push_back(Effect::Subscribe(broker, Filter::AsksTo(self.me).text(network)));
        if was_alone {
            self.return_until = now + super::decision::RETURN;
        }
        if self.containers.is_some() {
            self.say_alive(0);
        }
        self.all_dirty();
    }

    fn lost(&mut self, broker: Broker) {
        let now = self.clock.mono();
        let Some(link) = self.links.get_mut(broker) else { return };
        if link.since.is_none() {
            return;
        }
        link.lose();
        self.docs.lost(broker);
        if self.links.iter().next().is_none() {
            self.presence.alone(now);
        }
        self.all_dirty();
    }

    fn configure(&mut self, settings: Settings) {
        let before = self.settings.replace(settings);
        self.offered = None;
        self.stale = true;
        self.know();
        if before.is_none() {
            self.restore();
        }
        self.all_dirty();
    }

    /// Whose texts count: the peers, and whom those vouch for who may.
    fn know(&mut self) {
        let Some(settings) = &self.settings else { return };
        let mut known: Vec<Known> = Vec::new();
        let old = std::mem::take(&mut self.known);
        let mut add = |id: Id, key: &PublicKey, is_peer: bool| {
            if let Err(at) = known.binary_search_by_key(&id, |known: &Known| known.id) {
                let before = old.iter().find(|known| known.id == id);
                let certs = before.filter(|_| is_peer).map_or_else(Vec::new, |known| known.certs.clone());
                let revoked = before.and_then(|known| known.revoked.clone());
                known.insert(at, Known { id, key: key.clone(), is_peer, certs, revoked });
            }
        };
        for (id, peer) in trust::peers(settings) {
            add(id, &peer.key, true);
        }
        let delegates = trust::peers(settings).filter(|(_, peer)| peer.delegate).map(|(id, _)| id);
        for id in delegates {
            for cert in old.iter().filter(|known| known.id == id).flat_map(|known| &known.certs) {
                add(cert.member(), &cert.key, false);
            }
        }
        self.known = known;
        self.words.retain(|words| self.known.iter().any(|known| known.id == words.id));
        let is_known = |id: &Id| self.known.iter().any(|known| known.id == *id);
        self.docs.retain_others(|topic| match topic {
            Topic::Index(id) | Topic::Revoked(id) => is_known(id),
            _ => true,
        });
        self.stale = true;
    }

    fn known(&self, id: Id) -> Option<&Known> {
        let at = self.known.binary_search_by_key(&id, |known| known.id).ok()?;
        self.known.get(at)
    }

    fn words_mut(&mut self, id: Id) -> &mut Words {
        let at = match self.words.binary_search_by_key(&id, |words| words.id) {
            Ok(at) => at,
            Err(at) => {
                self.words.insert(at, Words { id, index: None, slices: Vec::new(), revoked: None });
                at
            }
        };
        &mut self.words[at]
    }

    fn slice_at(&self, member: Id, name: Label) -> Result<usize, usize> {
        self.slices.binary_search_by_key(&(member, name), |slice| (slice.member, slice.name))
    }

    /// Subscribes to what is of concern now, and to no more of what is not.
    fn subscribe(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        let mut wanted = vec![Topic::Mark(self.me), Topic::Alive(self.me)];
        wanted.extend(self.docs.topics().filter(|topic| topic.author() == Some(self.me)));
        for known in &self.known {
            wanted.extend([Topic::Index(known.id), Topic::Revoked(known.id)]);
        }
        let is_known = |id: Id| self.known.iter().any(|known| known.id == id);
        for words in &self.words {
            wanted.extend(words.slices.iter().map(|name| Topic::Slice(words.id, *name)));
        }
        let mut heard = Vec::new();
        for at in 0..self.slices.len() {
            self.slices[at].peer = self.peer_of(&self.slices[at]);
        }
        for slice in &self.slices {
            if is_known(slice.member) {
                wanted.push(Topic::Slice(slice.member, slice.name));
            }
            let Some(taken) = &slice.serials.taken else { continue };
            let manifest = &taken.manifest;
            let concerns = manifest.boxes.contains(&self.me) || slice.members.iter().any(Member::is_placed);
            if !concerns || slice.serials.is_gone() || slice.peer.is_none() {
                continue;
            }
            if !manifest.renewers.is_empty() {
                wanted.push(Topic::Renewal(slice.member, slice.name));
            }
            for id in manifest.boxes.iter().copied().filter(|id| *id != self.me) {
                heard.push(id);
                wanted.extend([Topic::Alive(id), Topic::State(id, slice.member, slice.name)]);
            }
        }
        heard.sort_unstable();
        heard.dedup();
        wanted.sort_unstable();
        wanted.dedup();
        let now = self.clock.mono();
        self.presence.listen(&heard, now);
        for (id, stamp) in &self.stamps {
            self.presence.restore(*id, *stamp);
        }
        let is_new = |topic: &&Topic| self.subscribed.binary_search(topic).is_err();
        let new: Vec<Topic> = wanted.iter().filter(is_new).copied().collect();
        let old: Vec<Topic> =
            self.subscribed.iter().filter(|topic| wanted.binary_search(topic).is_err()).copied().collect();
        if !new.is_empty() {
            self.generation += 1;
            for slice in &mut self.slices {
                let concerns = |topic: &Topic| match topic {
                    Topic::Slice(member, name)
                    | Topic::Renewal(member, name)
                    | Topic::State(_, member, name) => (*member, *name) == (slice.member, slice.name),
                    _ => false,
                };
                if new.iter().any(concerns) {
                    slice.generation = self.generation;
                    slice.dirty = true;
                }
            }
        }
        for slice in self.slices.iter_mut().filter(|slice| slice.generation == u32::MAX) {
            slice.generation = self.generation;
        }
        let brokers: Vec<Broker> = self.links.iter().map(|(broker, _)| broker).collect();
        for broker in brokers {
            for topic in &new {
                self.out.push_back(Effect::Subscribe(broker, topic.text(network)));
            }
            for topic in &old {
                self.out.push_back(Effect::Unsubscribe(broker, topic.text(network)));
            }
        }
        self.subscribed = wanted;
    }

    /// Asks each broker that has something new to say for a word when all is said.
    fn mark(&mut self) {
        let Some(network) = self.settings.as_ref().map(|settings| settings.network) else { return };
        let now = self.clock.mono();
        for broker in self.links.marks(self.generation, now) {
            let run = String::from_utf8_lossy(&self.identity.run);
            let payload = format!("{} {run} {}", self.identity.session, self.generation).into_bytes().into();
            let topic = Topic::Mark(self.me).text(network);
            self.out.push_back(Effect::Publish { broker, topic, payload, retain: false });
        }
    }
}

#[cfg(test)]
mod tests;
