//! Which time it is, on boxes whose clocks are wrong.
//!
//! Until NTP has answered since the box was switched on nothing ends and no serial is too new. Then the box's own clock alone
//! judges, and nobody's dates. When it jumps by more than a day, nothing ends for an hour. Where NTP never answers, lifetimes
//! are counted in the time for which the box was powered.

use super::super::interface::Now;

/// A jump of the clock by more than this, in seconds, is one.
const JUMP: u64 = 86_400;
/// How long nothing ends after a jump, in milliseconds.
const CALM: u64 = 3_600_000;

/// The box's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    now: Now,
    /// How long the box had run with this process, over all its lives until this one, in seconds.
    powered_before: u64,
    started: u64,
    /// When NTP answered, by the clock that never goes back.
    synced_at: Option<u64>,
    /// Until when nothing ends.
    calm_until: u64,
}

impl Clock {
    /// At the process' start: `powered` seconds were counted before.
    pub fn new(now: Now, powered: u64) -> Clock {
        let mut clock = Clock {
            now: Now { synced: false, ..now },
            powered_before: powered,
            started: now.mono,
            synced_at: None,
            calm_until: 0,
        };
        clock.tell(now);
        clock
    }

    /// The time is told. True: NTP has answered just now.
    pub fn tell(&mut self, now: Now) -> bool {
        let passed = now.mono.saturating_sub(self.now.mono) / 1000;
        let expected = self.now.wall.saturating_add(passed);
        // The first word of NTP is no jump: before it nothing was known.
        if self.now.synced && now.synced && now.wall.abs_diff(expected) > JUMP {
            self.calm_until = now.mono + CALM;
        }
        let news = now.synced && !self.now.synced;
        if news {
            self.synced_at = Some(now.mono);
        }
        // NTP that answered once since the box was switched on has answered.
        self.now = Now { synced: now.synced || self.now.synced, ..now };
        news
    }

    /// The time as it was told.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Milliseconds of the clock that never goes back.
    pub fn mono(&self) -> u64 {
        self.now.mono
    }

    /// Seconds since 1970, if the clock can be right.
    pub fn right(&self) -> Option<u64> {
        self.now.synced.then_some(self.now.wall)
    }

    /// The same, if it may end something: it has not jumped just now.
    pub fn may_end(&self) -> Option<u64> {
        self.right().filter(|_| self.now.mono >= self.calm_until)
    }

    /// Since when NTP has answered.
    pub fn synced_at(&self) -> Option<u64> {
        self.synced_at
    }

    /// For how long the box was powered with this process, in seconds.
    pub fn powered(&self) -> u64 {
        self.powered_before + self.now.mono.saturating_sub(self.started) / 1000
    }

    /// Whether it has ended by the clock as it is, or would have, had it not jumped just now: nothing of it begins.
    pub fn seems_ended(&self, taken: u64, issued: u64, expires: u64) -> bool {
        match self.right() {
            Some(now) => now >= expires,
            None => self.has_ended(taken, issued, expires),
        }
    }

    /// Whether something that was taken at `taken` of the powered time and holds from `issued` to `expires` has ended.
    ///
    /// Without NTP the powered time counts. It is never more than the time that has passed, and nothing was taken before it
    /// was issued: so nothing ends too early.
    pub fn has_ended(&self, taken: u64, issued: u64, expires: u64) -> bool {
        if self.right().is_some() {
            return self.may_end().is_some_and(|now| now >= expires);
        }
        self.powered().saturating_sub(taken) >= expires.saturating_sub(issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_seconds: u64, wall: u64, synced: bool) -> Now {
        Now { mono: mono_seconds * 1000, wall, synced }
    }

    #[test]
    fn nothing_ends_before_the_clock_was_set() {
        let mut clock = Clock::new(at(0, 5, false), 0);
        assert_eq!((clock.right(), clock.has_ended(0, 0, 100)), (None, false));
        clock.tell(at(10, 2_000_000_000, false));
        assert!(!clock.has_ended(0, 0, 100));
        assert!(clock.tell(at(20, 1_700_000_000, true)));
        assert!(clock.has_ended(0, 0, 1_700_000_000) && !clock.has_ended(0, 0, 1_700_000_001));
        assert_eq!(clock.synced_at(), Some(20_000));
        // The kernel takes it back after a while without an answer; it was set all the same.
        assert!(!clock.tell(at(30, 1_700_000_010, false)));
        assert_eq!(clock.right(), Some(1_700_000_010));
    }

    #[test]
    fn a_jump_of_more_than_a_day_ends_nothing_for_an_hour() {
        for (jump, calm) in [(86_400, false), (86_401, true)] {
            for direction in [1, -1] {
                let mut clock = Clock::new(at(0, 1_700_000_000, true), 0);
                let then = 1_700_000_100_u64.wrapping_add_signed(direction * jump);
                clock.tell(at(100, then, true));
                assert_eq!(clock.has_ended(0, 0, 1), !calm, "{jump}");
                clock.tell(at(100 + 3600, then + 3600, true));
                assert!(clock.has_ended(0, 0, 1));
            }
        }
    }

    #[test]
    fn without_ntp_powered_time_counts() {
        let mut clock = Clock::new(at(1000, 5, false), 500);
        assert_eq!(clock.powered(), 500);
        clock.tell(at(1099, 5, false));
        assert!(!clock.has_ended(500, 1_000_000, 1_000_100));
        clock.tell(at(1100, 5, false));
        assert!(clock.has_ended(500, 1_000_000, 1_000_100));
    }
}
