//! cloudbox: makes an OpenWrt box a host of a community cloud. ARCHITECTURE.md is the map.

pub mod error;
pub mod fault;
pub mod model;
pub mod steps;
pub mod sys;
