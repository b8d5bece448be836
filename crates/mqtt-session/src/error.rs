//! What can go wrong, a variant for each step.

use crate::packet::MAX_PACKET_LEN;
use crate::session::{IN_FLIGHT_LIMIT, QUEUE_LIMIT};
use crate::topic::TopicError;
use std::fmt;

/// The broker's answer when it does not want a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 1: it does not speak MQTT 3.1.1.
    ProtocolVersion,
    /// 2: the client id.
    ClientId,
    /// 3: it serves nobody now.
    Unavailable,
    /// 4: user name or password.
    Credentials,
    /// 5: not allowed. Most brokers say this of a wrong password, too.
    NotAuthorized,
    /// A code that MQTT 3.1.1 does not have.
    Other(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtocolVersion => f.write_str("the broker does not speak MQTT 3.1.1"),
            Self::ClientId => f.write_str("the broker refuses the client id"),
            Self::Unavailable => f.write_str("the broker is there, but serves nobody now"),
            Self::Credentials => f.write_str("the broker refuses the user name or the password"),
            Self::NotAuthorized => {
                f.write_str("the broker does not let us in: user name and password are wrong or missing, or its access list says no")
            }
            Self::Other(code) => write!(f, "the broker refuses us with code {code}, which MQTT 3.1.1 does not have"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The socket could not be connected: the system's words.
    Unreachable(String),
    /// Nobody answered when it was tried to connect.
    ConnectTimeout,
    /// The socket was connected, and no CONNACK came in time.
    NoConnack,
    /// The broker has closed the connection before it sent a CONNACK.
    ClosedUngreeted,
    /// The broker has closed the connection. It does so when another client comes with the same id.
    Closed,
    /// The socket failed: the system's words.
    Socket(String),
    /// Nothing came after a ping, not even its answer.
    NoAnswer,
    /// The broker sends and does not read.
    NotReading,
    /// What came is not MQTT.
    Protocol(ProtocolError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the broker cannot be reached: {error}"),
            Self::ConnectTimeout => f.write_str("the broker cannot be reached: no answer"),
            Self::NoConnack => f.write_str("the broker does not greet: is it one?"),
            Self::ClosedUngreeted => f.write_str(
                "the broker has closed the connection instead of greeting: does it speak MQTT 3.1.1?",
            ),
            Self::Closed => f.write_str("the broker has closed the connection"),
            Self::Socket(error) => write!(f, "the connection to the broker failed: {error}"),
            Self::NoAnswer => f.write_str("the broker does not answer any more"),
            Self::NotReading => f.write_str("the broker sends and does not read"),
            Self::Protocol(error) => write!(f, "the broker sent what is not MQTT 3.1.1: {error}"),
        }
    }
}

impl std::error::Error for Reason {}

/// What is wrong with what came. Packets are named as in the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// No broker sends a packet of this type.
    Kind(u8),
    /// A packet's flags are not possible.
    Flags(&'static str, u8),
    /// The length has more than four bytes.
    Length,
    /// A packet that always has the same length has another.
    WrongLength(&'static str, usize),
    /// A packet is longer than [`MAX_PACKET_LEN`], and no message.
    TooLong(&'static str, usize),
    /// A packet's content cannot be read: the codec's error.
    Unreadable(&'static str, mqttbytes::Error),
    /// A packet came at the wrong time: before the CONNACK, or a second one.
    Unexpected(&'static str),
    /// A SUBACK grants more than was asked for, or another number of filters.
    Granted,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => {
                write!(f, "a packet of type {kind}, which no broker sends to a client with QoS 1")
            }
            Self::Flags(name, flags) => write!(f, "a {name} with flags {flags:#x}"),
            Self::Length => f.write_str("a packet whose length has more than four bytes"),
            Self::WrongLength(name, len) => write!(f, "a {name} of length {len}"),
            Self::TooLong(name, len) => {
                write!(f, "a {name} of {len} bytes, and {MAX_PACKET_LEN} is the most")
            }
            Self::Unreadable(name, error) => write!(f, "a {name} that cannot be read: {error:?}"),
            Self::Unexpected(name) => write!(f, "a {name} at the wrong time"),
            Self::Granted => f.write_str("a SUBACK that grants what was not asked for"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Why something was not sent. Nothing is changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection now.
    Disconnected,
    /// Too much waits to be sent or to be acknowledged. [`Event::Room`](crate::Event::Room) comes when it is less.
    Full,
    /// The packet would have up to so many bytes.
    TooLong(usize),
    /// The topic or a filter is not valid.
    Topic(TopicError),
    /// There is no filter.
    NoFilter,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("there is no connection to the broker"),
            Self::Full => write!(
                f,
                "the broker is too slow: {QUEUE_LIMIT} bytes wait to be sent, or {IN_FLIGHT_LIMIT} packets to be acknowledged"
            ),
            Self::TooLong(len) => write!(f, "the packet would have {len} bytes, and {MAX_PACKET_LEN} is the most"),
            Self::Topic(error) => write!(f, "the topic or filter {error}"),
            Self::NoFilter => f.write_str("there is no filter to subscribe to"),
        }
    }
}

impl std::error::Error for SendError {}

/// What is wrong with [`Options`](crate::Options).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// The client id has a character that brokers refuse.
    ClientId(TopicError),
    /// The user name is empty, or has a character that brokers refuse.
    User(TopicError),
    /// The will's topic is not valid.
    WillTopic(TopicError),
    /// The CONNECT with client id, user name, password and will would have up to so many bytes.
    TooLong(usize),
    /// A time is longer than a day: which one.
    Time(&'static str),
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientId(error) => write!(f, "the client id {error}"),
            Self::User(error) => write!(f, "the user name {error}"),
            Self::WillTopic(error) => write!(f, "the will's topic {error}"),
            Self::TooLong(len) => write!(
                f,
                "client id, user name, password and will make a packet of {len} bytes, and {MAX_PACKET_LEN} is the most"
            ),
            Self::Time(name) => write!(f, "{name} is longer than a day"),
        }
    }
}

impl std::error::Error for OptionsError {}
