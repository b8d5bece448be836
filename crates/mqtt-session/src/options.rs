//! Who connects, and how long it waits for what.

use crate::error::OptionsError;
use crate::event::QoS;
use crate::packet::{self, MAX_PACKET_LEN};
use crate::topic::{check_topic, TopicError};
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who connects, and how long it waits for what.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// No two clients of a broker may have the same: the later one ends the earlier one's connection. Empty: the broker makes
    /// one up.
    pub client_id: String,
    /// What the broker asks for, if it does.
    pub credentials: Option<Credentials>,
    /// What the broker publishes when the connection ends without [`Session::close`](crate::Session::close).
    pub will: Option<Will>,
    /// Seconds between pings. The broker gives a client up after one and a half of it.
    pub keepalive: NonZeroU16,
    /// How long the socket may take to connect.
    pub connect_timeout: Duration,
    /// How long the broker may take to greet.
    pub connack_timeout: Duration,
    /// How long the broker may be silent after a ping.
    pub ping_timeout: Duration,
    /// How long the broker may take to close the connection after we have said that we leave.
    pub close_timeout: Duration,
    /// The pause before the second try; each further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer. Each is in truth half to one and a half as long, drawn anew.
    pub longest_pause: Duration,
}

impl Options {
    /// Keepalive and pauses as suits a box in a routed mesh.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            credentials: None,
            will: None,
            keepalive: NonZeroU16::new(20).unwrap_or(NonZeroU16::MIN),
            connect_timeout: Duration::from_secs(20),
            connack_timeout: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
        }
    }

    /// Whether they can be used.
    ///
    /// # Errors
    /// [`OptionsError`] says what is wrong.
    pub fn check(&self) -> Result<(), OptionsError> {
        match check_topic(&self.client_id) {
            // Anything goes that is text.
            Ok(()) | Err(TopicError::Empty | TopicError::Wildcard(_)) => {}
            Err(error) => return Err(OptionsError::ClientId(error)),
        }
        match self.credentials.as_ref().map(|credentials| check_topic(&credentials.user)) {
            None | Some(Ok(()) | Err(TopicError::Wildcard(_))) => {}
            Some(Err(error)) => return Err(OptionsError::User(error)),
        }
        if let Some(will) = &self.will {
            check_topic(&will.topic).map_err(OptionsError::WillTopic)?;
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("connack_timeout", self.connack_timeout),
            ("ping_timeout", self.ping_timeout),
            ("close_timeout", self.close_timeout),
            ("first_pause", self.first_pause),
            ("longest_pause", self.longest_pause),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| *time > DAY) {
            return Err(OptionsError::Time(name));
        }
        match packet::connect_len(self) {
            len if len > MAX_PACKET_LEN => Err(OptionsError::TooLong(len)),
            _ => Ok(()),
        }
    }
}

/// User name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Not empty.
    pub user: String,
    /// An empty one is not sent.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with a password that is not shown", self.user)
    }
}

/// What the broker publishes for us when we are lost. It forgets it when it is itself lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// How surely.
    pub qos: QoS,
    /// Whether it is kept.
    pub retain: bool,
}
