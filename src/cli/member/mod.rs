//! What members of the commons do: on a box or on any other computer, with nothing but keys and the address of a broker.
//!
//! `place` knows where brokers, keys and known owners are written down, `brokers` speaks to the brokers, `images` asks servers
//! of images for hashes, `files` reads what a slice file names.

pub mod brokers;
pub mod files;
pub mod images;
pub mod place;
