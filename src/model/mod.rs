//! What should be, what is, and what to do about it: pure functions and plain values. No I/O, no clock.

pub mod address;
pub mod admission;
pub mod advert;
pub mod commons;
pub mod config;
pub mod idrange;
pub mod image;
pub mod image_source;
pub mod job;
pub mod life;
pub mod name;
pub mod options;
pub mod plan;
pub mod remote;
pub mod secrets;
pub mod service;
pub mod size;
pub mod slice;
pub mod span;
pub mod spec;
