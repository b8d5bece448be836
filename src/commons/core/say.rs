//! What the box says of itself: that it is there, what it offers, how each slice is, and what it answers. Each word has a later
//! stamp than all before it.

use super::super::formats::{
    make, Alive, Answer, Format, Offer, Renewal, Renewer, Reported, Stamp, State, Wish, DAY,
};
use super::super::id::Id;
use super::super::interface::{Effect, Notice};
use super::super::topic::Topic;
use super::super::trust;
use super::slice::{Doing, Slice};
use super::Core;
use std::rc::Rc;

/// How long a state stands after a slice is gone, in seconds.
const GONE_STANDS: u64 = 7 * DAY;
/// How long an offer and an answer hold, and when an offer is made anew, in seconds.
const HOLDS: u64 = 30 * DAY;
const OFFER_AGAIN: u64 = 7 * DAY;
/// A slice is renewed when it ends in less than this, in seconds.
const RENEW_BEFORE: u64 = 15 * DAY;
/// Free memory and disk are told in steps of this, so that they change seldom.
const STEP: u64 = 64 << 20;

impl Core {
    /// The next stamp.
    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        Stamp { session: self.identity.session, seq: self.seq }
    }

    pub(super) fn sign<T: Format>(&self, told: &T) -> Option<Rc<[u8]>> {
        let network = self.settings.as_ref()?.network;
        make(&*self.signatures, &self.identity.key, network, told).ok().map(Rc::from)
    }

    pub(super) fn alive(&mut self, back: u64, lost: bool) -> Alive {
        let stamp = match lost {
            true => Stamp { session: self.identity.session, seq: self.seq },
            false => self.stamp(),
        };
        Alive { of: self.me, stamp, run: self.identity.run, at: self.clock.now().wall, back, lost }
    }

    /// Says that the box is there; with `back`, that it goes down on purpose and for how long it shall be waited for.
    pub(super) fn say_alive(&mut self, back: u64) {
        let alive = self.alive(back, false);
        let (connected, now) = (self.links.connected(), self.clock.mono());
        if let Some(bytes) = self.sign(&alive) {
            self.docs.say(Topic::Alive(self.me), bytes, &connected, now);
        }
    }

    /// Says how a slice is, if that is not what was said last.
    pub(super) fn say_state(&mut self, slice: &mut Slice) {
        if let Some(notice) = self.warn(slice) {
            self.notice(notice);
        }
        self.renew(slice);
        let topic = Topic::State(self.me, slice.member, slice.name);
        let (connected, now) = (self.links.connected(), self.clock.mono());
        let Some(taken) = &slice.serials.taken else { return };
        let is_known = slice.said.is_some();
        if slice.serials.is_gone() {
            // Whoever never had it says nothing of its end, and whoever had it not for ever.
            let over = slice.gone_at.is_some_and(|at| self.clock.powered() >= at + GONE_STANDS);
            if over || slice.members.is_empty() {
                if is_known {
                    slice.said = None;
                    self.docs.say(topic, Rc::from([]), &connected, now);
                }
                return;
            }
        }
        let is_listed = taken.manifest.boxes.contains(&self.me);
        let has_some = slice.members.iter().any(|member| member.doing != Doing::Nothing);
        if !is_listed && !has_some && !is_known {
            return;
        }
        let serials = &slice.serials;
        let manifest = &taken.manifest;
        let follows = slice.members.iter().all(|member| {
            let group = manifest.groups.iter().find(|group| group.name == member.group);
            let rolls = group.is_some_and(|group| {
                let arch = self.settings.as_ref().map_or("", |settings| &settings.arch);
                let wanted = group.image.for_arch(arch).copied();
                member.made_reset != group.reset || (member.made_of.is_some() && member.made_of != wanted)
            });
            !(member.doing == Doing::Remade || (member.doing == Doing::Running && rolls))
        });
        let before = slice.said.as_ref().map_or(0, |said| said.applied);
        let mut state = State {
            of: self.me,
            member: slice.member,
            slice: slice.name,
            stamp: Stamp::default(),
            run: self.identity.run,
            seen: serials.seen,
            applied: if follows { manifest.serial } else { before },
            skipped: serials.skipped,
            twice: serials.twice > 0 && serials.twice == serials.seen,
            unheard: self.unheard,
            groups: Vec::new(),
            expires: taken.expires() + GONE_STANDS,
        };
        for member in &slice.members {
            let is_wanted = manifest.groups.iter().any(|group| group.name == member.group);
            if !is_wanted && member.doing == Doing::Nothing && manifest.wish != Wish::Gone {
                continue;
            }
            state.groups.push(Reported {
                group: member.group,
                state: member.state,
                since: member.since,
                code: member.code.into(),
                reason: member.reason.clone(),
                address: member.address.clone(),
                restored: 0,
            });
        }
        state.groups.truncate(super::super::formats::GROUPS_MAX);
        if slice.said.as_ref() == Some(&state) {
            return;
        }
        self.tell_changes(slice, &state);
        slice.said = Some(state.clone());
        state.stamp = self.stamp();
        let mut bytes = self.sign(&state);
        for bare in [false, true] {
            if bytes.is_none() {
                state.shorten(bare);
                bytes = self.sign(&state);
            }
        }
        if let Some(bytes) = bytes {
            // Its topic is read back, too.
            self.stale |= self.docs.get(&topic).is_none();
            self.docs.say(topic, bytes, &connected, now);
        }
    }

    fn tell_changes(&mut self, slice: &Slice, state: &State) {
        for group in &state.groups {
            let before = slice
                .said
                .as_ref()
                .and_then(|said| said.groups.iter().find(|before| before.group == group.group));
            if before.is_none_or(|before| (before.state, &before.code) != (group.state, &group.code)) {
                self.out.push_back(Effect::Notice(Notice::Member {
                    member: slice.member,
                    slice: slice.name,
                    group: group.group,
                    state: group.state.as_str(),
                    code: group.code.clone(),
                    reason: group.reason.clone(),
                }));
            }
        }
    }

    /// Renews a slice whose manifest lets this box do that, before it ends. The second of them waits a day for the first.
    fn renew(&mut self, slice: &mut Slice) {
        let (Some(taken), Some(now)) = (&slice.serials.taken, self.clock.may_end()) else { return };
        if taken.manifest.renewers.is_empty() || taken.manifest.wish == Wish::Gone {
            return;
        }
        let Some(key) = self.known(slice.member).map(|known| known.key.clone()) else { return };
        let certs = taken.manifest.renewers.iter().enumerate();
        let mut certs =
            certs.filter_map(|(at, cert)| Some((at, self.verified::<Renewer>(&key, cert.as_bytes())?.0)));
        let mine =
            certs.find(|(_, cert)| (cert.of, cert.member, cert.slice) == (self.me, slice.member, slice.name));
        let Some((at, cert)) = mine else { return };
        let due = taken.expires().saturating_sub(RENEW_BEFORE) + at as u64 * DAY;
        let expires = (now + HOLDS).min(cert.expires);
        if now < due || expires <= taken.expires() || now >= cert.expires {
            return;
        }
        let renewal = Renewal {
            member: slice.member,
            slice: slice.name,
            manifest: taken.hash,
            of: self.me,
            issued: now,
            expires,
        };
        let (connected, mono, powered) = (self.links.connected(), self.clock.mono(), self.clock.powered());
        let topic = Topic::Renewal(slice.member, slice.name);
        if let Some(bytes) = self.sign(&renewal) {
            self.docs.say(topic, bytes, &connected, mono);
            if let Some(taken) = &mut slice.serials.taken {
                taken.renewed = Some(super::serials::Renewed { issued: now, expires, at: powered });
            }
            (slice.unsaved, slice.dirty) = (true, true);
        }
    }

    /// Says what the box has for others, if that has changed or was said long ago.
    pub(super) fn say_offer(&mut self) {
        let Some(settings) = &self.settings else { return };
        // Its dates mean nothing before.
        let Some(now) = self.clock.right() else { return };
        if self
            .offered
            .as_ref()
            .is_some_and(|offered| now < offered.issued + OFFER_AGAIN && now >= offered.issued)
        {
            return;
        }
        let round = |bytes: u64| bytes / STEP * STEP;
        let placed = self.slices.iter().flat_map(|slice| &slice.members).filter(|member| member.is_placed());
        let containers: u64 = settings.peers.iter().map(|peer| peer.containers).sum();
        let members = placed.count() as u64;
        let accepts =
            settings.show_accepts.then(|| trust::peers(settings).map(|(id, _)| id).take(60).collect());
        let mut offer = Offer {
            of: self.me,
            zone: settings.zone,
            name: settings.name.clone(),
            stamp: Stamp::default(),
            arch: settings.arch.clone(),
            address: settings.address.clone(),
            memory: round(self.room.memory),
            disk: round(self.room.disk),
            cpus: self.room.cpus,
            containers: containers.saturating_sub(members),
            members,
            class: settings.class,
            mode: settings.mode,
            owner: settings.owner.clone(),
            seal: settings.seal,
            accepts,
            hours: settings.hours,
            issued: now,
            expires: now + HOLDS,
        };
        offer.stamp = self.stamp();
        let topic = Topic::Offer(offer.zone, self.me);
        let mut bytes = self.sign(&offer);
        if bytes.is_none() {
            // Who is accepted can be asked as well.
            offer.accepts = None;
            bytes = self.sign(&offer);
        }
        self.offered = Some(offer);
        let (connected, mono) = (self.links.connected(), self.clock.mono());
        if let Some(bytes) = bytes {
            self.stale |= self.docs.get(&topic).is_none();
            self.docs.say(topic, bytes, &connected, mono);
        }
    }

    /// The owner's answer to a request.
    pub(super) fn answer(&mut self, member: Id, allowed: bool, note: &str) {
        let issued = self.clock.now().wall;
        let note = super::super::formats::cut(note, 80).into();
        let answer = Answer { of: self.me, member, allowed, note, issued, expires: issued + HOLDS };
        self.asks.retain(|(ask, _)| ask.member != member);
        let (connected, now) = (self.links.connected(), self.clock.mono());
        if let Some(bytes) = self.sign(&answer) {
            self.docs.say(Topic::Answer(self.me, member), bytes, &connected, now);
            self.stale = true;
        }
    }
}
