//! A client for MQTT 3.1.1.
//!
//! - [`Session`]: one broker's client as a state machine without I/O, clock or randomness of its own. Bytes and time go in;
//!   bytes, [`Event`]s and deadlines come out. It connects again after ever longer pauses, until it is closed.
//! - [`Driver`]: moves the bytes over a nonblocking socket, from the caller's own poll loop.
//! - [`Client`]: blocks, for command lines.
//! - [`topic`]: which topics and filters are valid, and which match.
//!
//! What it has: a will, user name and password, retained messages, QoS 0 and 1, keepalive. What it does without, on purpose:
//!
//! - *Sessions that a broker keeps.* Each connection begins clean: the owner subscribes, takes what is retained, and publishes
//!   what is newer here. What was not acknowledged when the connection was lost is told by its [`Token`], and not sent again.
//! - *QoS 2.* Receivers know a message that comes twice.
//! - *TLS.* A tunnel does that.
//!
//! A broker is not trusted, nor who else publishes there. Input never panics. No packet of more than [`MAX_PACKET_LEN`] is kept:
//! a longer message is let go by and told ([`Event::Skipped`]), anything else ends the connection. It still passes the line: how
//! long messages may be is for the broker to say (mosquitto: `message_size_limit`). The codec is the crate mqttbytes, guarded in
//! `packet.rs`.
//!
//! What MQTT 3.1.1 does not tell, nobody can know from here: a broker acknowledges a message that its access list refuses
//! (subscribe to it and see whether it comes), or closes the connection on it; and it may drop retained messages of a wide
//! filter without a word (mosquitto: those beyond `max_queued_messages`).
//!
//! ```no_run
//! use mqtt_session::{Client, Event, Options, QoS};
//! use std::time::Duration;
//!
//! let patience = Duration::from_secs(10);
//! let mut client = Client::connect("10.0.0.1", 1883, Options::new("me"), patience)?;
//! client.publish("door/state", b"open", true, patience)?;
//! client.subscribe(&[("door/#", QoS::AtLeastOnce)], patience)?;
//! while let Some(event) = client.next_event(patience)? {
//!     if let Event::Message(message) = event {
//!         println!("{} {}", message.topic, String::from_utf8_lossy(&message.payload));
//!     }
//! }
//! client.close()?;
//! # Ok::<(), mqtt_session::ClientError>(())
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backoff;
mod client;
mod driver;
mod error;
mod event;
mod options;
mod packet;
mod session;
pub mod topic;

pub use client::{Client, ClientError};
pub use driver::Driver;
pub use error::{OptionsError, ProtocolError, Reason, Refusal, SendError};
pub use event::{Event, Message, QoS, Skip, Token};
pub use options::{Credentials, Options, Will};
pub use packet::MAX_PACKET_LEN;
pub use session::{Session, State, IN_FLIGHT_LIMIT, QUEUE_LIMIT};
