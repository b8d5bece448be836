//! Packets: cut out of the stream, read and written.
//!
//! The codec is mqttbytes. It is called only here, and only behind these guards, each for something it does:
//!
//! - It looks at type, flags and fixed lengths after the whole packet has come. [`Inbox`] looks at the first bytes, and keeps
//!   nothing of a packet that is too long or that no broker sends.
//! - It reads packets out of a shared buffer, which a kept payload of a byte then holds in memory. It is given one packet.
//! - Its readers of SUBSCRIBE and UNSUBSCRIBE make a string of each two or three bytes. They are never called.
//! - Its `write` of a CONNECT sets flags at a fixed place of the buffer, as if that had been empty; that of a PUBLISH leaves
//!   half a packet when it fails. Each packet is written to a buffer of its own.
//! - It cuts lengths of texts to 16 bits. No packet of ours is longer than [`MAX_PACKET_LEN`].
//! - Its `matches` panics on topics that begin with a character of several bytes, and its checks of topics let empty ones and
//!   `a+` pass. [`topic`](crate::topic) has its own.

use crate::error::{ProtocolError, Refusal};
use crate::event::{Message, QoS, Skip};
use crate::options::Options;
use crate::topic::TopicError;
use bytes::{Bytes, BytesMut};
use mqttbytes::{v4, FixedHeader};
use std::mem;

/// The longest packet that is kept or sent, with its header.
pub const MAX_PACKET_LEN: usize = 64 << 10;

/// A type and four bytes of length.
const MAX_HEADER_LEN: usize = 5;

/// What a broker may send, by the upper half of a packet's first byte.
mod kind {
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGRESP: u8 = 13;
}

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    /// With whether it has kept a session of ours.
    ConnAck(Result<bool, Refusal>),
    /// With its number, if it is to be acknowledged.
    Publish(Message, Option<u16>),
    /// A PUBLISH that was not kept.
    Skipped(Skipped),
    PubAck(u16),
    /// For each filter what was granted; nothing where it was refused.
    SubAck(u16, Vec<Option<QoS>>),
    UnsubAck(u16),
    PingResp,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Skipped {
    pub(crate) topic: String,
    pub(crate) why: Skip,
    pub(crate) id: Option<u16>,
}

impl Incoming {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ConnAck(_) => "CONNACK",
            Self::Publish(..) | Self::Skipped(_) => "PUBLISH",
            Self::PubAck(_) => "PUBACK",
            Self::SubAck(..) => "SUBACK",
            Self::UnsubAck(_) => "UNSUBACK",
            Self::PingResp => "PINGRESP",
        }
    }
}

/// Cuts packets out of the stream. Holds at most one, and of none more than [`MAX_PACKET_LEN`].
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    packet: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// Type and length are not complete.
    #[default]
    Header,
    /// Until there are `total` bytes.
    Body { header: usize, total: usize },
    /// Topic and number of a PUBLISH that is too long: it is told, and acknowledged, or the broker would not send the others.
    Head { header: usize, total: usize },
    /// So many bytes are let go by.
    Skip { left: usize, skipped: Skipped },
}

impl Inbox {
    /// The next packet of `input`, of which the rest is left. `None` when all of it is taken.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        loop {
            match self.stage {
                Stage::Header => {
                    let Some((byte, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    *input = rest;
                    self.packet.push(*byte);
                    match self.packet.as_slice() {
                        [first] => check_first(*first)?,
                        [..] if byte & 0x80 == 0 => self.stage = self.stage_after_header()?,
                        [..] if self.packet.len() == MAX_HEADER_LEN => return Err(ProtocolError::Length),
                        [..] => {}
                    }
                }
                Stage::Body { header, total } => {
                    if !self.fill(input, total) {
                        return Ok(None);
                    }
                    self.stage = Stage::Header;
                    return parse(mem::take(&mut self.packet), header).map(Some);
                }
                Stage::Head { header, total } => {
                    if !self.fill(input, header + 2) {
                        return Ok(None);
                    }
                    let head = head_len(&self.packet, header).filter(|head| *head <= total);
                    let head =
                        head.ok_or(ProtocolError::Unreadable("PUBLISH", mqttbytes::Error::MalformedPacket))?;
                    if head > MAX_PACKET_LEN {
                        return Err(ProtocolError::TooLong("PUBLISH", total));
                    }
                    if !self.fill(input, head) {
                        return Ok(None);
                    }
                    let skipped = skip(&self.packet, header, Skip::TooLong(total))?;
                    self.packet = Vec::new();
                    self.stage = Stage::Skip { left: total - head, skipped };
                }
                Stage::Skip { ref mut left, .. } => {
                    let n = input.len().min(*left);
                    *input = input.get(n..).unwrap_or_default();
                    *left -= n;
                    if *left > 0 {
                        return Ok(None);
                    }
                    if let Stage::Skip { skipped, .. } = mem::take(&mut self.stage) {
                        return Ok(Some(Incoming::Skipped(skipped)));
                    }
                }
            }
        }
    }

    /// What follows a header that is complete.
    fn stage_after_header(&self) -> Result<Stage, ProtocolError> {
        let (first, length) = self.packet.split_first().unwrap_or((&0, &[]));
        // At most four times seven bits.
        let len = length.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let header = self.packet.len();
        let (name, wanted) = shape(first >> 4).ok_or(ProtocolError::Kind(*first >> 4))?;
        if wanted.is_some_and(|wanted| wanted != len) {
            return Err(ProtocolError::WrongLength(name, len));
        }
        let total = header + len;
        match first >> 4 {
            _ if total <= MAX_PACKET_LEN => Ok(Stage::Body { header, total }),
            kind::PUBLISH => Ok(Stage::Head { header, total }),
            _ => Err(ProtocolError::TooLong(name, total)),
        }
    }

    /// Takes of `input` until there are `wanted` bytes. False when there are not yet.
    fn fill(&mut self, input: &mut &[u8], wanted: usize) -> bool {
        let n = input.len().min(wanted.saturating_sub(self.packet.len()));
        // Only for what has come: an announced length alone takes no memory.
        self.packet.reserve_exact(n);
        let (taken, rest) = input.split_at(n);
        self.packet.extend_from_slice(taken);
        *input = rest;
        self.packet.len() >= wanted
    }
}

/// The name of a kind of packet that brokers send, and its length, where that is always the same.
fn shape(kind: u8) -> Option<(&'static str, Option<usize>)> {
    Some(match kind {
        kind::CONNACK => ("CONNACK", Some(2)),
        kind::PUBLISH => ("PUBLISH", None),
        kind::PUBACK => ("PUBACK", Some(2)),
        kind::SUBACK => ("SUBACK", None),
        kind::UNSUBACK => ("UNSUBACK", Some(2)),
        kind::PINGRESP => ("PINGRESP", Some(0)),
        _ => return None,
    })
}

fn check_first(first: u8) -> Result<(), ProtocolError> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    let (name, _) = shape(kind).ok_or(ProtocolError::Kind(kind))?;
    match (kind, flags) {
        // We subscribe with QoS 1 at most, and a broker must not send with more.
        (kind::PUBLISH, flags) if flags & 0b0110 > 0b0010 => Err(ProtocolError::Flags(name, flags)),
        (kind::PUBLISH, _) | (_, 0) => Ok(()),
        (_, flags) => Err(ProtocolError::Flags(name, flags)),
    }
}

/// `packet` is whole, its first `header` bytes type and length.
fn parse(packet: Vec<u8>, header: usize) -> Result<Incoming, ProtocolError> {
    let first = packet.first().copied().unwrap_or_default();
    if first >> 4 == kind::PUBLISH {
        return parse_publish(packet, header);
    }
    let fixed = FixedHeader::new(first, header - 1, packet.len() - header);
    let bytes = Bytes::from(packet);
    match first >> 4 {
        kind::CONNACK => match v4::ConnAck::read(fixed, bytes) {
            Ok(connack) => {
                Ok(Incoming::ConnAck(Refusal::check(connack.code).map(|()| connack.session_present)))
            }
            Err(mqttbytes::Error::InvalidConnectReturnCode(code)) => {
                Ok(Incoming::ConnAck(Err(Refusal::Other(code))))
            }
            Err(error) => Err(ProtocolError::Unreadable("CONNACK", error)),
        },
        kind::PUBACK => {
            let puback = v4::PubAck::read(fixed, bytes);
            puback.map(|puback| Incoming::PubAck(puback.pkid)).map_err(unreadable("PUBACK"))
        }
        kind::SUBACK => {
            let suback = v4::SubAck::read(fixed, bytes).map_err(unreadable("SUBACK"))?;
            let granted: Result<_, _> = suback.return_codes.into_iter().map(granted).collect();
            Ok(Incoming::SubAck(suback.pkid, granted?))
        }
        kind::UNSUBACK => {
            let unsuback = v4::UnsubAck::read(fixed, bytes);
            unsuback.map(|unsuback| Incoming::UnsubAck(unsuback.pkid)).map_err(unreadable("UNSUBACK"))
        }
        kind::PINGRESP => Ok(Incoming::PingResp),
        other => Err(ProtocolError::Kind(other)),
    }
}

fn parse_publish(packet: Vec<u8>, header: usize) -> Result<Incoming, ProtocolError> {
    let first = packet.first().copied().unwrap_or_default();
    let fixed = FixedHeader::new(first, header - 1, packet.len() - header);
    // Held for the case that its topic is none. It is no copy.
    let packet = Bytes::from(packet);
    let publish = match v4::Publish::read(fixed, packet.clone()) {
        Ok(publish) => publish,
        Err(mqttbytes::Error::TopicNotUtf8) => {
            return skip(&packet, header, Skip::Utf8).map(Incoming::Skipped);
        }
        Err(error) => return Err(ProtocolError::Unreadable("PUBLISH", error)),
    };
    if let Err(error) = check_heard(&publish.topic) {
        return skip(&packet, header, Skip::Topic(error)).map(Incoming::Skipped);
    }
    let qos = match publish.qos {
        mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let message = Message {
        topic: publish.topic,
        payload: publish.payload.to_vec(),
        qos,
        retained: publish.retain,
        duplicate: publish.dup,
    };
    let id = (publish.pkid != 0).then_some(publish.pkid);
    Ok(Incoming::Publish(message, id))
}

/// What no broker may pass on. Others than mosquitto do pass on control characters, and anybody can publish those.
fn check_heard(topic: &str) -> Result<(), TopicError> {
    match topic.chars().find(|c| matches!(c, '\0' | '+' | '#')) {
        Some('\0') => Err(TopicError::Character('\0')),
        Some(wildcard) => Err(TopicError::Wildcard(wildcard)),
        None if topic.is_empty() => Err(TopicError::Empty),
        None => Ok(()),
    }
}

/// Where the topic and the number of a PUBLISH end. `None` when the topic's length has not come.
fn head_len(packet: &[u8], header: usize) -> Option<usize> {
    let topic = packet.get(header..)?.first_chunk()?;
    let id = if is_acknowledged(packet) { 2 } else { 0 };
    Some(header + 2 + usize::from(u16::from_be_bytes(*topic)) + id)
}

/// A PUBLISH that has come as far as its number.
fn skip(packet: &[u8], header: usize, why: Skip) -> Result<Skipped, ProtocolError> {
    let malformed = ProtocolError::Unreadable("PUBLISH", mqttbytes::Error::MalformedPacket);
    let Some(head) = head_len(packet, header).and_then(|end| packet.get(header + 2..end)) else {
        return Err(malformed);
    };
    let (topic, id) = match head.split_last_chunk() {
        Some((topic, id)) if is_acknowledged(packet) => (topic, Some(u16::from_be_bytes(*id))),
        _ => (head, None),
    };
    match id {
        Some(0) => Err(ProtocolError::Unreadable("PUBLISH", mqttbytes::Error::PacketIdZero)),
        id => Ok(Skipped { topic: String::from_utf8_lossy(topic).into_owned(), why, id }),
    }
}

fn is_acknowledged(publish: &[u8]) -> bool {
    publish.first().is_some_and(|first| first & 0b0110 != 0)
}

fn granted(code: v4::SubscribeReasonCode) -> Result<Option<QoS>, ProtocolError> {
    match code {
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtMostOnce) => Ok(Some(QoS::AtMostOnce)),
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtLeastOnce) => Ok(Some(QoS::AtLeastOnce)),
        v4::SubscribeReasonCode::Success(mqttbytes::QoS::ExactlyOnce) => Err(ProtocolError::Granted),
        v4::SubscribeReasonCode::Failure => Ok(None),
    }
}

fn unreadable(name: &'static str) -> impl Fn(mqttbytes::Error) -> ProtocolError {
    move |error| ProtocolError::Unreadable(name, error)
}

impl Refusal {
    fn check(code: v4::ConnectReturnCode) -> Result<(), Self> {
        match code {
            v4::ConnectReturnCode::Success => Ok(()),
            v4::ConnectReturnCode::RefusedProtocolVersion => Err(Self::ProtocolVersion),
            v4::ConnectReturnCode::BadClientId => Err(Self::ClientId),
            v4::ConnectReturnCode::ServiceUnavailable => Err(Self::Unavailable),
            v4::ConnectReturnCode::BadUserNamePassword => Err(Self::Credentials),
            v4::ConnectReturnCode::NotAuthorized => Err(Self::NotAuthorized),
        }
    }
}

pub(crate) const PINGREQ: &[u8] = &[0xc0, 0];
pub(crate) const DISCONNECT: &[u8] = &[0xe0, 0];

/// How long the CONNECT is, with its header.
pub(crate) fn connect_len(options: &Options) -> usize {
    MAX_HEADER_LEN + connect(options).len()
}

pub(crate) fn put_connect(out: &mut Vec<u8>, options: &Options) {
    put(out, connect_len(options), |buffer| connect(options).write(buffer));
}

fn connect(options: &Options) -> v4::Connect {
    let mut connect = v4::Connect::new(options.client_id.as_str());
    connect.keep_alive = options.keepalive.get();
    connect.login =
        options.credentials.as_ref().map(|c| v4::Login::new(c.user.as_str(), c.password.as_str()));
    connect.last_will = options.will.as_ref().map(|will| {
        v4::LastWill::new(will.topic.as_str(), will.payload.as_slice(), codec_qos(will.qos), will.retain)
    });
    connect
}

/// How long a PUBLISH is, with its header.
pub(crate) fn publish_len(topic: &str, payload: &[u8]) -> usize {
    // Two lengths of 16 bits: the topic's and the number.
    MAX_HEADER_LEN.saturating_add(4).saturating_add(topic.len()).saturating_add(payload.len())
}

/// `id` is not 0; without one nobody acknowledges it.
pub(crate) fn put_publish(out: &mut Vec<u8>, topic: &str, payload: &[u8], retain: bool, id: Option<u16>) {
    let qos = if id.is_some() { mqttbytes::QoS::AtLeastOnce } else { mqttbytes::QoS::AtMostOnce };
    let mut publish = v4::Publish::from_bytes(topic, qos, Bytes::copy_from_slice(payload));
    publish.retain = retain;
    publish.pkid = id.unwrap_or_default();
    put(out, publish_len(topic, payload), |buffer| publish.write(buffer));
}

/// How long a SUBSCRIBE or an UNSUBSCRIBE is, with its header.
pub(crate) fn filters_len<'a>(filters: impl Iterator<Item = &'a str>) -> usize {
    filters.fold(MAX_HEADER_LEN + 2, |sum, filter| sum.saturating_add(3).saturating_add(filter.len()))
}

pub(crate) fn put_subscribe(out: &mut Vec<u8>, filters: &[(&str, QoS)], id: u16) {
    let len = filters_len(filters.iter().map(|(filter, _)| *filter));
    let mut subscribe = v4::Subscribe::empty_subscribe();
    subscribe.pkid = id;
    for (filter, qos) in filters {
        subscribe.add((*filter).to_owned(), codec_qos(*qos));
    }
    put(out, len, |buffer| subscribe.write(buffer));
}

pub(crate) fn put_unsubscribe(out: &mut Vec<u8>, filters: &[&str], id: u16) {
    let len = filters_len(filters.iter().copied());
    let topics = filters.iter().map(|filter| (*filter).to_owned()).collect();
    put(out, len, |buffer| v4::Unsubscribe { pkid: id, topics }.write(buffer));
}

pub(crate) fn put_puback(out: &mut Vec<u8>, id: u16) {
    put(out, 4, |buffer| v4::PubAck::new(id).write(buffer));
}

fn put(out: &mut Vec<u8>, len: usize, write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>) {
    let mut buffer = BytesMut::with_capacity(len);
    let written = write(&mut buffer);
    // It fails on packets of 256 MiB and on number 0, and our callers make neither.
    debug_assert!(written.is_ok(), "{written:?}");
    out.extend_from_slice(&buffer);
}

fn codec_qos(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
    }
}

#[cfg(test)]
mod tests;
