//! The commons: what members and boxes of other people say to each other. Nobody is believed for where a text came from,
//! only for the key that signed it.

pub mod core;
pub mod decision;
pub mod fields;
pub mod formats;
pub mod heard;
pub mod id;
pub mod interface;
pub mod invitation;
pub mod label;
pub mod mosquitto;
pub mod offers;
pub mod plan;
pub mod presence;
pub mod processors;
pub mod roll_up;
pub mod seal;
pub mod signed;
pub mod signing;
pub mod slice_file;
pub mod topic;
pub mod trust;
