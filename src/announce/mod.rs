//! What the box announces of itself and its containers, through avahi-daemon.

mod adverts;
mod probes;

pub use adverts::{hosts, Announcer, Writing};
pub use probes::Port;
