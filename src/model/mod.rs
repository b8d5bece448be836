//! What should be, what is, and what to do about it: pure functions and plain values. No I/O, no clock.

pub mod image;
pub mod name;
pub mod size;
