//! Answers that change nothing, one file for what they are about. They are built from the [`State`] and from the
//! kernel's files, in milliseconds; what takes longer is a function that a thread calls.
//!
//! [`State`]: crate::state::State

pub mod args;
mod browse;
mod commons;
mod containers;
mod doctor;
mod images;
mod jobs;
mod log;
mod remotes;
mod services;
mod snapshots;
mod status;

pub use browse::{Browse, TIMEOUT as BROWSE_TIMEOUT};
pub use commons::Commons;
pub use containers::{info, list, Readings};
pub use doctor::examination;
pub use images::{image, images};
pub use jobs::jobs;
pub use log::Log;
pub use remotes::{offers, remotes, Available};
pub use services::services;
pub use snapshots::snapshots;
pub use status::status;

/// A program's output as text: bytes that are not UTF-8 are replaced, and NUL, which no string on the bus can hold.
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}
