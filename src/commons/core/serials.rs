//! Which manifest of a slice holds: the newest that was signed and may count. The highest that was seen stays on the disk, so
//! that nobody can bring back an older one.

use super::super::fields::Hash;
use super::super::formats::{Manifest, Wish};
use super::clock::Clock;
use std::rc::Rc;

/// How far ahead of a right clock a serial may be, in seconds.
const AHEAD: u64 = 48 * 3600;
/// The most serials that are remembered for never counting.
const VOID_MAX: usize = 40;

/// A manifest that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What it says.
    pub manifest: Rc<Manifest>,
    /// The payload, as it came.
    pub bytes: Rc<[u8]>,
    /// The SHA-256 of all that was signed.
    pub hash: Hash,
    /// The box's powered time when it came, in seconds.
    pub at: u64,
    /// The later end that a box with a certificate has given it.
    pub renewed: Option<Renewed>,
}

/// A later end of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// When that was signed.
    pub issued: u64,
    /// The end.
    pub expires: u64,
    /// The box's powered time when it came, in seconds.
    pub at: u64,
}

impl Taken {
    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.manifest.expires.max(self.renewed.map_or(0, |renewed| renewed.expires))
    }

    /// Whether it has ended, or would have, had the clock not jumped just now.
    pub fn seems_ended(&self, clock: &Clock) -> bool {
        let renewed = |renewed: Renewed| clock.seems_ended(renewed.at, renewed.issued, renewed.expires);
        clock.seems_ended(self.at, self.manifest.issued, self.manifest.expires)
            && self.renewed.is_none_or(renewed)
    }

    /// Whether it has ended.
    pub fn has_ended(&self, clock: &Clock) -> bool {
        let renewed = |renewed: Renewed| clock.has_ended(renewed.at, renewed.issued, renewed.expires);
        clock.has_ended(self.at, self.manifest.issued, self.manifest.expires)
            && self.renewed.is_none_or(renewed)
    }
}

/// What became of a manifest that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds from now on.
    Taken,
    /// It holds already.
    Same,
    /// Another one counts more.
    Less,
    /// Its serial is too far ahead of the clock, and never counts.
    TooNew,
}

/// What is known of a slice's manifests.
#[derive(Debug, Clone, Default)]
pub struct Serials {
    /// The one that holds.
    pub taken: Option<Taken>,
    /// The one before, as long as the clock has not said that the serial of the one that holds may be.
    pub before: Option<Taken>,
    /// Serials that never count.
    pub void: Vec<u64>,
    /// The serial of which there are two; 0: of none.
    pub twice: u64,
    /// The serial that the one that holds is based on, if another one held here before.
    pub skipped: Option<u64>,
    /// The highest that was seen and may count.
    pub seen: u64,
}

impl Serials {
    /// A manifest of this slice was read.
    pub fn offer(&mut self, taken: Taken, clock: &Clock) -> Outcome {
        let manifest = &taken.manifest;
        let serial = manifest.serial;
        if self.void.contains(&serial) {
            return Outcome::Less;
        }
        if clock.right().is_some_and(|now| serial > now + AHEAD) {
            self.put_void(serial);
            return Outcome::TooNew;
        }
        // One that the member takes back holds no more, and the one before it counts again.
        if self.taken.as_ref().is_some_and(|held| manifest.void.contains(&held.manifest.serial)) {
            self.put_aside();
        }
        for serial in &manifest.void {
            self.put_void(*serial);
        }
        self.seen = self.seen.max(serial);
        let Some(held) = &self.taken else {
            self.hold(taken, clock);
            return Outcome::Taken;
        };
        if held.hash == taken.hash {
            return Outcome::Same;
        }
        if held.manifest.serial == serial {
            self.twice = serial;
        }
        let key = |taken: &Taken| (taken.manifest.precedence(), taken.hash);
        if key(&taken) <= key(held) {
            return Outcome::Less;
        }
        let is_next = manifest.prev.is_none() || manifest.prev == Some(held.manifest.serial);
        self.skipped = manifest.prev.filter(|_| !is_next);
        if self.twice != serial {
            self.twice = 0;
        }
        self.hold(taken, clock);
        Outcome::Taken
    }

    fn hold(&mut self, taken: Taken, clock: &Clock) {
        let before = self.taken.replace(taken);
        // With a right clock the serial was just found good.
        match clock.right() {
            Some(_) => self.before = None,
            None => self.before = self.before.take().or(before),
        }
    }

    fn put_void(&mut self, serial: u64) {
        if !self.void.contains(&serial) {
            if self.void.len() == VOID_MAX {
                self.void.remove(0);
            }
            self.void.push(serial);
        }
    }

    /// The one that holds never counted.
    fn put_aside(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.put_void(taken.manifest.serial);
        }
        self.taken = self.before.take();
        self.seen = self.taken.as_ref().map_or(0, |taken| taken.manifest.serial);
        (self.twice, self.skipped) = (0, None);
    }

    /// The clock is right now: what was taken before is judged by it. Whether the one that held does no more.
    pub fn judge(&mut self, clock: &Clock) -> bool {
        let Some(now) = clock.right() else { return false };
        let too_new = |taken: &Taken| taken.manifest.serial > now + AHEAD;
        let aside = self.taken.as_ref().is_some_and(too_new);
        if aside {
            self.put_aside();
            // The one before may be no better.
            while self.taken.as_ref().is_some_and(too_new) {
                self.put_aside();
            }
        }
        self.before = None;
        aside
    }

    /// Whether it is deleted.
    pub fn is_gone(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.manifest.wish == Wish::Gone)
    }
}
