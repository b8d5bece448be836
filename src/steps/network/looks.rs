//! How often it is looked at what a guest can change without end: often at first, then seldom.

use std::time::{Duration, Instant};

/// How many changes in a row are read as they come: what a guest does while it starts. After that one each
/// [`CREDIT_EVERY`].
const CREDITS_MAX: u32 = 16;
/// How soon one more change is read.
const CREDIT_EVERY: Duration = Duration::from_millis(500);

/// Counts looks. Each costs a credit, and time brings new ones; without any left it is time for a rest.
#[derive(Debug)]
pub(super) struct Looks {
    credits: u32,
    /// Since when credits are counted.
    counted: Instant,
    /// Nothing is read before this.
    rest: Option<Instant>,
}

impl Looks {
    /// With all credits.
    pub(super) fn new(now: Instant) -> Looks {
        Looks { credits: CREDITS_MAX, counted: now, rest: None }
    }

    /// Until when nothing shall be read.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.rest
    }

    /// Ends a rest that is over.
    pub(super) fn handle_time(&mut self, now: Instant) {
        self.rest = self.rest.filter(|until| *until > now);
    }

    /// Counts a look.
    pub(super) fn pay(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        let earned = u32::try_from(passed.as_millis() / CREDIT_EVERY.as_millis()).unwrap_or(CREDITS_MAX);
        if self.credits.saturating_add(earned) >= CREDITS_MAX {
            (self.credits, self.counted) = (CREDITS_MAX, now);
        } else {
            self.credits += earned;
            self.counted += CREDIT_EVERY * earned;
        }
        self.credits = self.credits.saturating_sub(1);
        if self.credits == 0 {
            self.rest = Some(now + CREDIT_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_without_end_is_seldom_looked_at() {
        let mut looks = Looks::new(Instant::now());
        while looks.rest_until().is_none() {
            looks.pay(Instant::now());
        }
        let rest = looks.rest_until().unwrap();
        looks.handle_time(rest - Duration::from_millis(1));
        assert!(looks.rest_until().is_some());
        looks.handle_time(rest);
        assert_eq!(looks.rest_until(), None);
        looks.pay(rest);
        assert!(looks.rest_until().is_some(), "one look, and it rests again");
        looks.handle_time(rest + Duration::from_secs(60));
        looks.pay(rest + Duration::from_secs(60));
        assert_eq!(looks.rest_until(), None, "after a quiet minute all is well");
    }
}
