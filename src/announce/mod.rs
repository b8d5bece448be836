//! What the box announces of itself and its containers, through avahi-daemon.

mod adverts;
mod probes;
mod sightings;

pub use adverts::{hosts, Announcer, Writing};
pub use probes::CheckedPort;
pub use sightings::{Looked, Looking};
