//! OpenWrt's bus, `ubus`, spoken from Rust.
//!
//! - [`blob`] and [`blobmsg`]: the binary encoding, as borrowed views and a builder. No allocation to read.
//! - [`from_fields`] and [`to_fields`]: the same through serde, for any type.
//! - `json` (feature `json`): fields of JSON text. The other way serde_json writes any [`Fields`].
//! - [`signature`]: what a method takes, derived from its argument type, for `ubus -v list`.
//! - [`conn`]: the protocol as a state machine without I/O or clock. Bytes and time go in, bytes and events come
//!   out; it survives a restart of `ubusd`.
//! - [`driver`]: moves the bytes over a nonblocking socket, from the caller's own poll loop.
//! - [`client`]: a blocking client for command lines.
//! - `broker` (feature `broker`): the other side of the wire, for tests and demonstrations.
//!
//! Input never panics: whatever arrives is either understood, ignored, or an error. A call can hand over a file
//! descriptor ([`client::Client::call_with`]).
//!
//! The wire format is that of openwrt/ubus (`ubusmsg.h`) and openwrt/libubox (`blob.h`, `blobmsg.h`).
//!
//! ```no_run
//! use openwrt_ubus::{client::Client, conn::DEFAULT_SOCKET, from_fields, to_fields};
//! use std::{collections::BTreeMap, time::Duration};
//!
//! let mut client = Client::connect(DEFAULT_SOCKET)?;
//! let arguments = to_fields(&BTreeMap::from([("config", "system")]))?;
//! let reply = client.call("uci", "get", &arguments, Duration::from_secs(30))?;
//! let answer: serde_json::Value = from_fields(&reply.data)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod blob;
pub mod blobmsg;
#[cfg(feature = "broker")]
pub mod broker;
pub mod client;
pub mod conn;
mod de;
pub mod descriptors;
pub mod driver;
mod error;
#[cfg(feature = "json")]
pub mod json;
pub mod msg;
mod ser;
pub mod signature;

pub use blobmsg::Fields;
pub use conn::{Connection, Event, Object, ObjectId, Request};
pub use de::from_fields;
pub use error::Error;
pub use msg::Status;
pub use ser::{to_chosen_fields, to_fields};
