//! How long to wait before the next try to connect.

use std::time::Duration;

/// Pauses that double, each drawn anew from half to one and a half of what it is in the middle: a broker that comes back does
/// not meet all its clients in the same second.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    pause: Duration,
    random: Random,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, pause: first, random: Random(seed) }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let middle = self.pause;
        self.pause = middle.saturating_mul(2).min(self.longest);
        // In milliseconds, and no pause is longer than a day: far from the borders of 64 bits.
        let half = u64::try_from(middle.as_millis() / 2).unwrap_or(u64::MAX);
        middle / 2 + Duration::from_millis(self.random.below(half.saturating_mul(2).saturating_add(1)))
    }

    /// The connection stood for long: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.pause = self.first;
    }
}

/// SplitMix64. Good enough to spread clients; nothing secret hangs on it.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn pauses_double_up_to_the_longest() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(FIRST, LONGEST, seed);
            for middle in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(Duration::from_secs) {
                let pause = backoff.next();
                assert!(pause >= middle / 2 && pause <= middle * 3 / 2, "{pause:?} is not around {middle:?}");
            }
            backoff.reset();
            assert!(backoff.next() <= FIRST * 3 / 2);
        }
    }

    #[test]
    fn clients_spread() {
        let mut pauses: Vec<_> = (0..1000).map(|seed| Backoff::new(FIRST, LONGEST, seed).next()).collect();
        pauses.sort();
        // In no tenth of the time more than twice its share.
        for start in pauses.windows(201) {
            assert!(start[200] - start[0] > Duration::from_millis(100), "{start:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let run = |seed| {
            let mut backoff = Backoff::new(FIRST, LONGEST, seed);
            [backoff.next(), backoff.next(), backoff.next()]
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn no_pause_at_all_is_possible() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO, 1).next(), Duration::ZERO);
    }
}
