//! What the owner of a session is told.

use crate::error::{Reason, Refusal};
use crate::topic::TopicError;
use std::fmt;

/// Stands for something that the broker acknowledges. No two of a session are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(crate) u64);

/// How surely a message arrives. Never exactly once: where it matters, the receiver knows the second from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The broker has greeted. There are no subscriptions: each connection begins without. It may be lost again by the time this
    /// is read; then [`Event::Lost`] stands behind it.
    Connected {
        /// It has kept a session of this client id all the same. A broker should not, since none is asked for.
        session_present: bool,
    },
    /// The broker does not want us. It is tried again, ever more seldom.
    Refused(Refusal),
    /// There is no connection any more, or none could be made. It is tried again, ever more seldom.
    Lost {
        /// Why.
        reason: Reason,
        /// What the broker had not acknowledged, the oldest first. It may have got it or not. It is not sent again.
        unacknowledged: Vec<Token>,
    },
    /// We have left, as [`Session::close`](crate::Session::close) asked.
    Closed {
        /// As with [`Event::Lost`].
        unacknowledged: Vec<Token>,
    },
    /// A message.
    Message(Message),
    /// A message came that is of no use. Nothing of it is kept, and the connection goes on: anybody can publish such a one,
    /// and whoever does must not cut off who has subscribed.
    Skipped {
        /// Its topic, as far as it is text.
        topic: String,
        /// Why.
        why: Skip,
    },
    /// The broker has a published message. It does not tell whether it refuses it.
    Published(Token),
    /// The broker has heard what is subscribed to.
    Subscribed {
        /// Which [`Session::subscribe`](crate::Session::subscribe).
        token: Token,
        /// For each filter what was granted; `None` where it was refused.
        granted: Vec<Option<QoS>>,
    },
    /// The broker has taken filters back.
    Unsubscribed(Token),
    /// Something was refused as [`Full`](crate::SendError::Full), and there is room again.
    Room,
}

/// A message from the broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub topic: String,
    /// What it says. Retained and empty means: removed.
    pub payload: Vec<u8>,
    /// How it was sent to us: the lower of what it was published and subscribed with.
    pub qos: QoS,
    /// It was published before, and the broker has kept it. What is published now is not retained, even if it will be.
    pub retained: bool,
    /// It may have come before.
    pub duplicate: bool,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, payload, qos, retained, duplicate } = self;
        write!(f, "{topic:?}, {} bytes, {qos:?}, retained {retained}, duplicate {duplicate}", payload.len())
    }
}

/// Why a message was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// Its packet has so many bytes, more than [`MAX_PACKET_LEN`](crate::MAX_PACKET_LEN).
    TooLong(usize),
    /// Its topic is not UTF-8.
    Utf8,
    /// Its topic is not valid.
    Topic(TopicError),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => {
                write!(f, "the message's packet has {len} bytes, and {} is the most", crate::MAX_PACKET_LEN)
            }
            Self::Utf8 => f.write_str("the message's topic is not UTF-8"),
            Self::Topic(error) => write!(f, "the message's topic {error}"),
        }
    }
}
