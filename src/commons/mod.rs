//! The commons: what members and boxes of other people say to each other. Nobody is believed for where a text came from,
//! only for the key that signed it.

pub mod core;
pub mod decision;
pub mod fields;
pub mod formats;
pub mod id;
pub mod interface;
pub mod label;
pub mod presence;
pub mod signed;
pub mod topic;
pub mod trust;
