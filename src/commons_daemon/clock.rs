//! The clocks that the core is told.

use crate::commons::interface::Now;
use crate::sys;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// In a program for tests: how many times as fast the clock runs by which the core waits, so that a test need not wait for
/// a quarter of an hour.
#[cfg(feature = "faults")]
const SPEED: &str = "CLOUDBOX_COMMONS_SPEED";

/// Reads the clocks.
pub struct Clock {
    /// It is there once NTP has answered since the box was switched on, as its hotplug script notes it.
    ntp: PathBuf,
    speed: u64,
}

impl Clock {
    /// With the file that says that NTP has answered.
    pub fn new(ntp: PathBuf) -> Clock {
        Clock { ntp, speed: speed() }
    }

    /// What they say now.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mono = u64::try_from(sys::boottime().as_millis()).unwrap_or(u64::MAX).saturating_mul(self.speed);
        Now { mono, wall, synced: sys::clock_is_synchronised() || self.ntp.exists() }
    }

    /// How long it is until the core's clock says `due`.
    pub fn until(&self, due: u64) -> Duration {
        let left = due.saturating_sub(self.now().mono);
        // Rounded up, or whoever sleeps would wake too early, again and again.
        Duration::from_millis(left / self.speed + 1)
    }
}

#[cfg(feature = "faults")]
fn speed() -> u64 {
    let said = std::env::var(SPEED).ok();
    said.and_then(|text| text.parse().ok()).filter(|speed| *speed > 0).unwrap_or(1)
}

#[cfg(not(feature = "faults"))]
fn speed() -> u64 {
    1
}
