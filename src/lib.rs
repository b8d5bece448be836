//! cloudbox: makes an OpenWrt box a host of a community cloud. ARCHITECTURE.md is the map.

pub mod announce;
pub mod api;
pub mod cli;
pub mod commons;
pub mod commons_daemon;
pub mod daemon;
pub mod doctor;
pub mod error;
pub mod fault;
pub mod look;
pub mod machine;
pub mod mdns;
pub mod model;
pub mod netlink;
pub mod operations;
pub mod simplestreams;
pub mod state;
pub mod steps;
pub mod sys;
#[cfg(test)]
pub mod testing;
pub mod usign;
