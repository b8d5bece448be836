//! Samples, and the clock they are taken with.

use crate::Result;
use std::time::{Duration, Instant};

/// Durations of the same thing, done again and again.
#[derive(Default, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub fn median(&self) -> Duration {
        let sorted = self.sorted();
        let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        match (sorted.len() % 2, sorted.len() / 2) {
            (0, half @ 1..) => (sorted.get(half - 1).copied().unwrap_or_default() + upper) / 2,
            _ => upper,
        }
    }

    /// `24.1 ms (20.0–31.2)`: the median, the least and the most.
    pub fn show(&self) -> String {
        let sorted = self.sorted();
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return "-".into() };
        let (unit, factor, digits) = match self.median() {
            median if median < Duration::from_millis(1) => ("µs", 1e6, 1),
            median if median < Duration::from_secs(1) => ("ms", 1e3, 1),
            _ => ("s", 1.0, 2),
        };
        let number = |d: &Duration| format!("{:.digits$}", d.as_secs_f64() * factor);
        format!("{} {unit} ({}–{})", number(&self.median()), number(least), number(most))
    }
}

/// How long `work` takes.
pub fn time<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed(), value))
}

/// `ours / theirs`, of medians.
pub fn ratio(ours: &Samples, theirs: &Samples) -> f64 {
    ours.median().as_secs_f64() / theirs.median().as_secs_f64()
}
