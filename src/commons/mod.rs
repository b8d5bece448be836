//! The commons: what members and boxes of other people say to each other. Nobody is believed for where a text came from,
//! only for the key that signed it.

pub mod id;
pub mod signed;
