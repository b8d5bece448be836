//! Which services there are on the network: a look around by mDNS (RFC 6762, RFC 6763), without help of a daemon.

pub mod message;
