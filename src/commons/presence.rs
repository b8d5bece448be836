//! Which boxes are there: by their signs of life, and by nothing else.
//!
//! Only a sign above all that were seen renews. One that a broker kept says that the box was there once. Ages count the time
//! for which this box had a broker at all: who hears nobody knows of nobody that he is gone.

use super::decision::{HEARD, NEVER};
use super::formats::{Alive, Stamp, RUN};
use super::id::Id;
use super::interface::Now;

const SECOND: u64 = 1000;
/// After so long without a broker nobody is all but absent.
const OUTAGE: u64 = 5 * 60 * SECOND;
/// A sign of life that was signed longer ago renews nothing, where both clocks are right. In seconds.
const OLD: u64 = 600;
/// A clock before 2020 was never set. In seconds.
const CLOCK_SET: u64 = 1_577_836_800;

/// What is known of a box.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: Id,
    /// The highest that was seen, whoever kept it.
    high: Stamp,
    /// The letters of that session.
    run: [u8; RUN],
    /// When it was heard last, by the connected clock.
    heard: Option<u64>,
    /// When it was heard first since it is listened to.
    first: Option<u64>,
    /// Since when it is listened to, by the connected clock.
    base: u64,
    /// For how many milliseconds it asked to be waited for, in addition.
    back: u64,
    /// A hash of the last text that was verified: it comes once from each broker.
    last: u64,
}

/// What a sign of life was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The box is there.
    Renewed,
    /// It was there once.
    Known,
    /// Nothing new.
    Old,
}

/// The signs of life of all boxes that are listened to.
#[derive(Debug, Default)]
pub struct Presence {
    boxes: Vec<Seen>,
    /// For how long there was a broker, until `since`.
    connected: u64,
    /// Since when there is one.
    since: Option<u64>,
    /// Since when there is none.
    alone: Option<u64>,
    /// When the last long time without one ended, by the connected clock.
    clamp: Option<u64>,
}

impl Presence {
    /// None, at the time `now` of the process' start.
    pub fn new(now: u64) -> Presence {
        Presence { alone: Some(now), ..Presence::default() }
    }

    /// The first broker is there.
    pub fn connected(&mut self, now: u64) {
        if self.since.is_none() {
            self.since = Some(now);
            let alone = self.alone.take().map_or(0, |since| now.saturating_sub(since));
            if alone > OUTAGE {
                self.clamp = Some(self.connected);
            }
        }
    }

    /// The last broker is gone.
    pub fn alone(&mut self, now: u64) {
        self.connected = self.clock(now);
        self.since = None;
        self.alone = Some(now);
    }

    /// Since when there is no broker; None: there is one.
    pub fn alone_since(&self) -> Option<u64> {
        self.alone
    }

    /// The time for which there was a broker, in milliseconds.
    pub fn clock(&self, now: u64) -> u64 {
        self.connected + self.since.map_or(0, |since| now.saturating_sub(since))
    }

    fn find(&self, id: Id) -> Result<usize, usize> {
        self.boxes.binary_search_by_key(&id, |seen| seen.id)
    }

    fn get(&self, id: Id) -> Option<&Seen> {
        self.find(id).ok().and_then(|at| self.boxes.get(at))
    }

    /// Listens to exactly `ids`, in order and each once. What is known of others is dropped.
    pub fn listen(&mut self, ids: &[Id], now: u64) {
        let base = self.clock(now);
        self.boxes.retain(|seen| ids.binary_search(&seen.id).is_ok());
        for id in ids {
            if let Err(at) = self.find(*id) {
                let (high, run) = (Stamp::default(), [0; RUN]);
                self.boxes.insert(
                    at,
                    Seen { id: *id, high, run, heard: None, first: None, base, back: 0, last: 0 },
                );
            }
        }
    }

    /// Raises what was seen of a box, as it stood on the disk.
    pub fn restore(&mut self, id: Id, high: Stamp) {
        if let Some(seen) = self.find(id).ok().and_then(|at| self.boxes.get_mut(at)) {
            seen.high = seen.high.max(high);
        }
    }

    /// The highest that was seen of each box, for the disk.
    pub fn highest(&self) -> impl Iterator<Item = (Id, Stamp)> + '_ {
        self.boxes.iter().map(|seen| (seen.id, seen.high)).filter(|(_, high)| *high != Stamp::default())
    }

    /// Whether this is the text that was verified last. Another with the same hash would be taken for known, and mean nothing.
    pub fn is_echo(&self, id: Id, text: &[u8]) -> bool {
        self.get(id).is_some_and(|seen| seen.last == hash(text))
    }

    /// This text was verified.
    pub fn remember(&mut self, id: Id, text: &[u8]) {
        if let Some(seen) = self.find(id).ok().and_then(|at| self.boxes.get_mut(at)) {
            seen.last = hash(text);
        }
    }

    /// Whether it was heard a short while ago.
    pub fn is_heard(&self, id: Id, now: u64) -> bool {
        self.heard_until(id, u64::MAX, now) > 0
    }

    /// A sign of life was read; `retained`: a broker had kept it.
    pub fn hear(&mut self, alive: &Alive, retained: bool, now: Now) -> Heard {
        let clock = self.clock(now.mono);
        let Some(seen) = self.find(alive.of).ok().and_then(|at| self.boxes.get_mut(at)) else {
            return Heard::Old;
        };
        // A will was signed long before it is said.
        if alive.lost || alive.stamp <= seen.high {
            return Heard::Old;
        }
        (seen.high, seen.run) = (alive.stamp, alive.run);
        let is_old = now.synced && alive.at > CLOCK_SET && alive.at.saturating_add(OLD) < now.wall;
        if retained || is_old {
            return Heard::Known;
        }
        seen.heard = Some(clock);
        seen.first.get_or_insert(now.mono);
        seen.back = alive.back * SECOND;
        Heard::Renewed
    }

    /// For how long nothing was heard of a box, in milliseconds; `grace` is how long it may be silent.
    fn age(&self, seen: &Seen, grace: u64, now: u64) -> u64 {
        let clock = self.clock(now);
        let last = seen.heard.unwrap_or(seen.base);
        let age = clock.saturating_sub(last);
        match self.clamp {
            Some(clamp) if last < clamp => {
                let then = (clamp - last).min(grace.saturating_sub(HEARD));
                then + clock.saturating_sub(clamp)
            }
            _ => age,
        }
    }

    /// When that box will be absent, if it is silent for `grace` milliseconds.
    pub fn absent_at(&self, id: Id, grace: u64, now: u64) -> u64 {
        // Of whom nobody listens to nothing is known.
        let Some(seen) = self.get(id) else { return NEVER };
        let age = self.age(seen, grace, now);
        match (age >= grace + seen.back, self.since) {
            (true, _) => now,
            // Without a broker nobody grows older.
            (false, None) => NEVER,
            (false, Some(_)) => now + (grace + seen.back - age),
        }
    }

    /// Until when that box counts as heard; 0: it does not.
    pub fn heard_until(&self, id: Id, grace: u64, now: u64) -> u64 {
        let Some(seen) = self.get(id).filter(|seen| seen.heard.is_some()) else { return 0 };
        let age = self.age(seen, grace, now);
        match (age >= HEARD, self.since) {
            (true, _) => 0,
            (false, None) => NEVER,
            (false, Some(_)) => now + (HEARD - age),
        }
    }

    /// Since when that box has been heard; None: it was not yet.
    pub fn first_heard(&self, id: Id) -> Option<u64> {
        self.get(id).and_then(|seen| seen.first)
    }

    /// For how long nothing was heard of it, in milliseconds, for people; None: never anything.
    pub fn silent_for(&self, id: Id, now: u64) -> Option<u64> {
        let heard = self.get(id)?.heard?;
        Some(self.clock(now).saturating_sub(heard))
    }

    /// Whether anybody at all was heard within the last minutes.
    pub fn hears_anybody(&self, but: Id, now: u64) -> bool {
        let clock = self.clock(now);
        let heard = |seen: &Seen| seen.heard.is_some_and(|heard| clock.saturating_sub(heard) < HEARD);
        self.boxes.iter().any(|seen| seen.id != but && heard(seen))
    }
}

/// Eight bytes at a time: it is worked out for each message of each broker.
fn hash(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 15 * 60 * SECOND;

    fn id() -> Id {
        "o6cgvbb4hsvzjf6g".parse().unwrap()
    }

    fn alive(session: u32, seq: u32) -> Alive {
        Alive { of: id(), stamp: Stamp { session, seq }, run: *b"abcdefgh", at: 0, back: 0, lost: false }
    }

    fn at(seconds: u64) -> Now {
        Now { mono: seconds * SECOND, wall: CLOCK_SET + 1_000_000 + seconds, synced: true }
    }

    fn listening() -> Presence {
        let mut presence = Presence::new(0);
        presence.listen(&[id()], 0);
        presence.connected(0);
        presence
    }

    #[test]
    fn only_a_later_word_renews() {
        let mut presence = listening();
        assert_eq!(presence.hear(&alive(1, 5), true, at(1)), Heard::Known);
        assert_eq!((presence.heard_until(id(), GRACE, 1000), presence.first_heard(id())), (0, None));
        for (session, seq, live, worth) in [
            (1, 5, true, Heard::Old),
            (1, 4, true, Heard::Old),
            (0, 9, true, Heard::Old),
            (1, 6, true, Heard::Renewed),
            (1, 6, true, Heard::Old),
            (2, 1, false, Heard::Known),
            (1, 7, true, Heard::Old),
            (2, 2, true, Heard::Renewed),
        ] {
            assert_eq!(presence.hear(&alive(session, seq), !live, at(2)), worth, "{session}/{seq}");
        }
        assert_eq!(presence.first_heard(id()), Some(2000));
        assert_eq!(presence.absent_at(id(), GRACE, 2000), 2000 + GRACE);
        assert_eq!(presence.heard_until(id(), GRACE, 2000), 2000 + HEARD);
        // Nobody listens to others.
        let other = Alive { of: "7777777777777777".parse().unwrap(), ..alive(9, 9) };
        assert_eq!(presence.hear(&other, false, at(2)), Heard::Old);
    }

    #[test]
    fn a_will_decides_nothing_and_an_old_word_renews_nothing() {
        let mut presence = listening();
        assert_eq!(presence.hear(&Alive { lost: true, ..alive(1, 1) }, false, at(1)), Heard::Old);
        let old = |seconds| Alive { at: at(0).wall - seconds, ..alive(1, 1) };
        assert_eq!(presence.hear(&old(601), false, at(0)), Heard::Known);
        // Where a clock is not set nothing is known of its time.
        let mut presence = listening();
        let unset = Now { synced: false, ..at(0) };
        assert_eq!(presence.hear(&old(601), false, unset), Heard::Renewed);
        assert_eq!(presence.hear(&Alive { at: 5, ..alive(1, 2) }, false, at(0)), Heard::Renewed);
        assert_eq!(
            presence.hear(&Alive { stamp: alive(1, 3).stamp, ..old(599) }, false, at(0)),
            Heard::Renewed
        );
    }

    #[test]
    fn who_is_never_heard_is_absent_after_the_grace() {
        let presence = listening();
        assert_eq!(presence.absent_at(id(), GRACE, 5000), GRACE);
        assert_eq!(presence.absent_at(id(), GRACE, GRACE), GRACE);
        assert_eq!(presence.absent_at("7777777777777777".parse().unwrap(), GRACE, 5000), NEVER);
    }

    #[test]
    fn a_clean_shutdown_is_waited_for_longer_once() {
        let mut presence = listening();
        presence.hear(&Alive { back: 600, ..alive(1, 1) }, false, at(0));
        assert_eq!(presence.absent_at(id(), GRACE, 0), GRACE + 600 * SECOND);
        presence.hear(&alive(2, 1), false, at(10));
        assert_eq!(presence.absent_at(id(), GRACE, 10_000), 10_000 + GRACE);
    }

    /// Brokers were away for longer than the grace, and the first who came back saw nobody: it made all anew.
    #[test]
    fn case_07_nobody_grows_older_without_a_broker() {
        let mut presence = listening();
        presence.hear(&alive(1, 1), false, at(0));
        let minutes = |count: u64| count * 60 * SECOND;
        presence.alone(minutes(10));
        assert_eq!(presence.absent_at(id(), GRACE, minutes(100)), NEVER);
        // A short time without changes nothing else.
        presence.connected(minutes(14));
        assert_eq!(presence.absent_at(id(), GRACE, minutes(14)), minutes(14 + 5));
        assert_eq!(presence.heard_until(id(), GRACE, minutes(14)), 0);
        // After a long one there are seven minutes to be heard.
        presence.alone(minutes(18));
        presence.connected(minutes(30));
        assert_eq!(presence.absent_at(id(), GRACE, minutes(30)), minutes(37));
        assert_eq!(presence.absent_at(id(), GRACE, minutes(37)), minutes(37));
        // And again, however long it takes.
        presence.alone(minutes(36));
        presence.connected(minutes(46));
        assert_eq!(presence.absent_at(id(), GRACE, minutes(46)), minutes(53));
    }
}
