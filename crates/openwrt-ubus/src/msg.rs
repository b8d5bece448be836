//! The messages (`ubusmsg.h`): header, attributes, status codes, and what each message must carry.

use crate::blob::{self, Attrs, MAX_MESSAGE_LEN};
use std::fmt;

/// Bytes of a message's header: version, type, 16-bit sequence number, 32-bit peer; big endian.
pub const HEADER_LEN: usize = 8;

/// The outcome of a request, as the numbers on the wire. A peer may send a number that has no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

#[allow(missing_docs)]
impl Status {
    pub const OK: Self = Self(0);
    pub const INVALID_COMMAND: Self = Self(1);
    pub const INVALID_ARGUMENT: Self = Self(2);
    pub const METHOD_NOT_FOUND: Self = Self(3);
    pub const NOT_FOUND: Self = Self(4);
    pub const NO_DATA: Self = Self(5);
    pub const PERMISSION_DENIED: Self = Self(6);
    /// Made by the caller's side, never sent.
    pub const TIMEOUT: Self = Self(7);
    pub const NOT_SUPPORTED: Self = Self(8);
    pub const UNKNOWN_ERROR: Self = Self(9);
    /// Made by the caller's side, never sent.
    pub const CONNECTION_FAILED: Self = Self(10);
    pub const NO_MEMORY: Self = Self(11);
    pub const PARSE_ERROR: Self = Self(12);
    pub const SYSTEM_ERROR: Self = Self(13);

    /// In words, as the `ubus` command says it.
    pub fn text(self) -> &'static str {
        match self.0 {
            0 => "Success",
            1 => "Invalid command",
            2 => "Invalid argument",
            3 => "Method not found",
            4 => "Not found",
            5 => "No response",
            6 => "Permission denied",
            7 => "Request timed out",
            8 => "Operation not supported",
            9 => "Unknown error",
            10 => "Connection failed",
            11 => "Out of memory",
            12 => "Parsing message data failed",
            13 => "System error",
            _ => "Unknown status",
        }
    }

    /// Whether it is [`Status::OK`].
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({}, {})", self.0, self.text())
    }
}

impl std::error::Error for Status {}

/// Message types.
#[allow(missing_docs)]
pub mod kind {
    pub const HELLO: u8 = 0;
    pub const STATUS: u8 = 1;
    pub const DATA: u8 = 2;
    pub const PING: u8 = 3;
    pub const LOOKUP: u8 = 4;
    pub const INVOKE: u8 = 5;
    pub const ADD_OBJECT: u8 = 6;
    pub const REMOVE_OBJECT: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const UNSUBSCRIBE: u8 = 9;
    pub const NOTIFY: u8 = 10;
    pub const MONITOR: u8 = 11;
}

/// Attribute ids.
#[allow(missing_docs)]
pub mod attr {
    pub const STATUS: u8 = 1;
    pub const OBJPATH: u8 = 2;
    pub const OBJID: u8 = 3;
    pub const METHOD: u8 = 4;
    pub const OBJTYPE: u8 = 5;
    pub const SIGNATURE: u8 = 6;
    pub const DATA: u8 = 7;
    pub const TARGET: u8 = 8;
    pub const ACTIVE: u8 = 9;
    pub const NO_REPLY: u8 = 10;
    pub const SUBSCRIBERS: u8 = 11;
    pub const USER: u8 = 12;
    pub const GROUP: u8 = 13;
}

/// Object ids that `ubusd` itself answers on.
pub mod system_object {
    /// `register {object, pattern}` and `send {id, data}`.
    pub const EVENT: u32 = 1;
    /// Access lists.
    pub const ACL: u32 = 2;
    /// `add` and `remove`.
    pub const MONITOR: u32 = 3;
    /// Ids below are reserved.
    pub const FIRST_FREE: u32 = 1024;
}

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 0. `ubusd` does not look at it; libubus ignores messages with another.
    pub version: u8,
    /// One of [`kind`].
    pub kind: u8,
    /// Chosen by the requester, echoed in every answer.
    pub seq: u16,
    /// A client's or an object's id, depending on the message.
    pub peer: u32,
}

impl Header {
    /// A header of version 0.
    pub fn new(kind: u8, seq: u16, peer: u32) -> Self {
        Self { version: 0, kind, seq, peer }
    }
}

/// A whole message, its outer attribute's data still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// What is inside the outer attribute.
    pub body: &'a [u8],
}

/// A stream that cannot be followed any further; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    /// The length the outer attribute announced, below 4 or above [`MAX_MESSAGE_LEN`].
    pub announced: usize,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a ubus message announces an impossible length ({} bytes)", self.announced)
    }
}

impl std::error::Error for ProtocolError {}

/// Cuts a stream of bytes into messages. Holds at most one message, and no more than 4 KiB between two.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    partial: Vec<u8>,
    /// `partial` was handed out as a whole message.
    delivered: bool,
}

/// What the buffer keeps of its size after a large message.
const KEPT: usize = 4096;

impl Inbox {
    /// The next whole message, from what was kept and then from the front of `input`, which is advanced. `None` when
    /// all input is used up.
    pub(crate) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'a>>, ProtocolError> {
        if self.delivered {
            self.delivered = false;
            self.partial.clear();
            self.partial.shrink_to(KEPT);
        }
        if self.partial.is_empty() {
            if let Some(total) = total_len(input)? {
                if let Some((message, rest)) = input.split_at_checked(total) {
                    *input = rest;
                    return Ok(Some(frame(message)));
                }
            }
        }
        self.fill(input, HEADER_LEN + blob::HEADER_LEN);
        let Some(total) = total_len(&self.partial)? else {
            return Ok(None);
        };
        self.fill(input, total);
        if self.partial.len() < total {
            return Ok(None);
        }
        self.delivered = true;
        Ok(Some(frame(&self.partial)))
    }

    fn fill(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len());
        if missing == 0 || input.is_empty() {
            return;
        }
        self.partial.reserve_exact(missing);
        let (now, later) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(now);
        *input = later;
    }
}

/// Length of the message that begins with `bytes`, if enough of it is there to tell.
fn total_len(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let Some(outer) = bytes.get(HEADER_LEN..HEADER_LEN + blob::HEADER_LEN).and_then(|b| b.try_into().ok())
    else {
        return Ok(None);
    };
    let announced = blob::len_of(u32::from_be_bytes(outer));
    if announced < blob::HEADER_LEN || blob::padded(announced) > MAX_MESSAGE_LEN {
        return Err(ProtocolError { announced });
    }
    // Without the padding: that is how many bytes ubusd and libubus take from the stream.
    Ok(Some(HEADER_LEN + announced))
}

/// Views a whole message, as `total_len` measured it.
fn frame(message: &[u8]) -> Frame<'_> {
    let byte = |index: usize| message.get(index).copied().unwrap_or(0);
    Frame {
        header: Header {
            version: byte(0),
            kind: byte(1),
            seq: u16::from_be_bytes([byte(2), byte(3)]),
            peer: u32::from_be_bytes([byte(4), byte(5), byte(6), byte(7)]),
        },
        body: message.get(HEADER_LEN + blob::HEADER_LEN..).unwrap_or_default(),
    }
}

/// A message's attributes. One that is wrongly typed, malformed or unknown is as if absent; of repeated ones the last
/// counts. Strings are without their NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attributes<'a> {
    pub status: Option<u32>,
    pub objpath: Option<&'a [u8]>,
    pub objid: Option<u32>,
    pub method: Option<&'a [u8]>,
    pub objtype: Option<u32>,
    pub signature: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
    pub target: Option<u32>,
    pub active: Option<u8>,
    pub no_reply: Option<u8>,
    pub subscribers: Option<&'a [u8]>,
    pub user: Option<&'a [u8]>,
    pub group: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    /// Reads a message's body.
    pub fn parse(body: &'a [u8]) -> Self {
        let mut found = Self::default();
        for attr in Attrs::new(body).map_while(Result::ok) {
            match attr.id {
                attr::STATUS => found.status = attr.u32().or(found.status),
                attr::OBJPATH => found.objpath = attr.c_str().or(found.objpath),
                attr::OBJID => found.objid = attr.u32().or(found.objid),
                attr::METHOD => found.method = attr.c_str().or(found.method),
                attr::OBJTYPE => found.objtype = attr.u32().or(found.objtype),
                attr::SIGNATURE => found.signature = Some(attr.data),
                attr::DATA => found.data = Some(attr.data),
                attr::TARGET => found.target = attr.u32().or(found.target),
                attr::ACTIVE => found.active = attr.u8().or(found.active),
                attr::NO_REPLY => found.no_reply = attr.u8().or(found.no_reply),
                attr::SUBSCRIBERS => found.subscribers = Some(attr.data),
                attr::USER => found.user = attr.c_str().or(found.user),
                attr::GROUP => found.group = attr.c_str().or(found.group),
                _ => {}
            }
        }
        found
    }

    fn has(&self, id: u8) -> bool {
        match id {
            attr::STATUS => self.status.is_some(),
            attr::OBJID => self.objid.is_some(),
            attr::METHOD => self.method.is_some(),
            attr::TARGET => self.target.is_some(),
            attr::ACTIVE => self.active.is_some(),
            _ => true,
        }
    }
}

/// What `ubusd` sends to a client, and what each message must carry to be one.
const REQUIRED: [(u8, &[u8]); 6] = [
    (kind::HELLO, &[]),
    (kind::STATUS, &[attr::STATUS]),
    (kind::DATA, &[]),
    (kind::INVOKE, &[attr::OBJID, attr::METHOD]),
    (kind::UNSUBSCRIBE, &[attr::OBJID, attr::TARGET]),
    (kind::NOTIFY, &[attr::OBJID, attr::ACTIVE]),
];

/// A message from `ubusd`, as far as it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The first message; the header's peer is the client's own id.
    Hello,
    /// The end of a request.
    Status {
        /// Its outcome.
        status: Status,
        /// The object that answered. Absent when `ubusd` itself did.
        object: Option<u32>,
    },
    /// Part of a request's answer.
    Data(Attributes<'a>),
    /// A call, a notification or an event.
    Invoke(Invoke<'a>),
    /// An object subscribed to has gone.
    Unsubscribe {
        /// The subscriber.
        object: u32,
        /// What it had subscribed to.
        target: u32,
    },
    /// The first subscriber came, or the last one left.
    Notify {
        /// The object subscribed to.
        object: u32,
        /// Whether it has subscribers now.
        active: bool,
    },
    /// A message of a type not known here, or without an attribute it must have. To be ignored.
    Unknown {
        /// One of [`kind`], or not.
        kind: u8,
    },
}

/// The attributes of an INVOKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoke<'a> {
    /// The object called, or the one that listens.
    pub object: u32,
    /// The method, the notification's name, or the event's.
    pub method: &'a [u8],
    /// The arguments; empty when there were none.
    pub data: &'a [u8],
    /// The caller's user, told by `ubusd` and not by the caller. Absent for an event.
    pub user: Option<&'a [u8]>,
    /// The caller's group, likewise.
    pub group: Option<&'a [u8]>,
    /// The sender wants no answer.
    pub no_reply: bool,
}

impl<'a> From<Frame<'a>> for Incoming<'a> {
    fn from(frame: Frame<'a>) -> Self {
        let kind = frame.header.kind;
        let attributes = Attributes::parse(frame.body);
        let complete = REQUIRED
            .iter()
            .any(|(required_for, ids)| *required_for == kind && ids.iter().all(|id| attributes.has(*id)));
        if !complete {
            return Self::Unknown { kind };
        }
        let Attributes { status, objid, method, data, target, active, no_reply, user, group, .. } =
            attributes;
        let object = objid.unwrap_or_default();
        match kind {
            kind::HELLO => Self::Hello,
            kind::STATUS => Self::Status { status: Status(status.unwrap_or_default()), object: objid },
            kind::DATA => Self::Data(attributes),
            kind::INVOKE => Self::Invoke(Invoke {
                object,
                method: method.unwrap_or_default(),
                data: data.unwrap_or_default(),
                user,
                group,
                no_reply: no_reply.is_some_and(|v| v != 0),
            }),
            kind::UNSUBSCRIBE => Self::Unsubscribe { object, target: target.unwrap_or_default() },
            _ => Self::Notify { object, active: active.is_some_and(|v| v != 0) },
        }
    }
}

/// Begins a message at the end of `out`; `end` must get the returned position.
pub(crate) fn begin(out: &mut Vec<u8>, header: Header) -> usize {
    let start = out.len();
    out.extend_from_slice(&[header.version, header.kind]);
    out.extend_from_slice(&header.seq.to_be_bytes());
    out.extend_from_slice(&header.peer.to_be_bytes());
    blob::open(out, 0, false);
    start
}

/// Ends the message begun at `start`. One that is longer than ubus allows is taken back and is an error.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) -> Result<(), TooLong> {
    if out.len() - start - HEADER_LEN > MAX_MESSAGE_LEN {
        out.truncate(start);
        return Err(TooLong);
    }
    blob::close(out, start + HEADER_LEN);
    Ok(())
}

/// The message would be longer than [`MAX_MESSAGE_LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn check(text: &str, expected: &str) {
        let bytes = hex(text);
        let mut input = &bytes[..];
        let mut inbox = Inbox::default();
        let frame = inbox.next(&mut input).unwrap().expect("a whole message");
        assert_eq!(format!("{:?} {:?}", frame.header.seq, Incoming::from(frame)), expected);
        assert!(input.is_empty());
    }

    /// Captured from ubusd 3cc98db.
    #[test]
    fn golden_messages() {
        check("00000000 636fd369 00000004", "0 Hello");
        check(
            "00010001 00000000 0000000c 01000008 00000000",
            "1 Status { status: Status(0, Success), object: None }",
        );
        check(
            "00010002 ac90937e 00000014 01000008 00000000 03000008 ac90937e",
            "2 Status { status: Status(0, Success), object: Some(2895156094) }",
        );
        check(
            "00050009 636fd369 0000003c 03000008 f90764e1 04000007 6d310000 0c000009 726f6f74 00000000
             0d000009 726f6f74 00000000 07000010 8300000a 00017300 78000000",
            &format!(
                "9 {:?}",
                Incoming::Invoke(Invoke {
                    object: 0xf907_64e1,
                    method: b"m1",
                    data: b"\x83\0\0\x0a\0\x01s\0x\0\0\0",
                    user: Some(b"root"),
                    group: Some(b"root"),
                    no_reply: false,
                })
            ),
        );
        check(
            "000a0001 00000000 00000014 03000008 f90764e1 09000005 01000000",
            "1 Notify { object: 4178011361, active: true }",
        );
        check(
            "00050013 00000000 0000002c 03000008 647373ec 0400000d 77742e68 656c6c6f 00000000 07000010 8500000c 00016b00 00000007",
            &format!(
                "19 {:?}",
                Incoming::Invoke(Invoke {
                    object: 0x6473_73ec,
                    method: b"wt.hello",
                    data: b"\x85\0\0\x0c\0\x01k\0\0\0\0\x07",
                    user: None,
                    group: None,
                    no_reply: false,
                })
            ),
        );
        check(
            "00090001 00000000 00000014 03000008 00000401 08000008 00000402",
            "1 Unsubscribe { object: 1025, target: 1026 }",
        );
    }

    #[test]
    fn attribute_rules() {
        let parse = |text| {
            let bytes = hex(text);
            let found = Attributes::parse(&bytes);
            (found.objid, found.method.map(<[u8]>::to_vec), found.status)
        };
        // The last of repeated ones counts, unless it is malformed.
        assert_eq!(parse("03000008 00000001 03000008 00000002").0, Some(2));
        assert_eq!(parse("03000008 00000001 03000006 00000000").0, Some(1));
        // Wrongly typed is absent.
        assert_eq!(parse("03000005 01000000"), (None, None, None));
        assert_eq!(parse("04000006 61620000"), (None, None, None));
        // Unknown ids are skipped, and the rest is read.
        assert_eq!(parse("7f000008 00000001 04000007 61620000").1, Some(b"ab".to_vec()));
        // What is cut short is absent, and what came before it stays.
        assert_eq!(parse("01000008 00000003 03000008 0000"), (None, None, Some(3)));
    }

    #[test]
    fn without_a_required_attribute_a_message_is_unknown() {
        let table = [
            "00010001 00000000 00000004",                   // STATUS without STATUS
            "00050001 00000000 0000000c 03000008 00000401", // INVOKE without METHOD
            "00050001 00000000 0000000c 04000007 61620000", // INVOKE without OBJID
            "00090001 00000000 0000000c 03000008 00000401", // UNSUBSCRIBE without TARGET
            "000a0001 00000000 0000000c 03000008 00000401", // NOTIFY without ACTIVE
            "000b0001 00000000 00000004",                   // MONITOR
            "00c80001 00000000 00000004",                   // nothing at all
        ];
        for text in table {
            let bytes = hex(text);
            let frame = Inbox::default()
                .next(&mut &bytes[..])
                .unwrap()
                .map(|f| matches!(f.into(), Incoming::Unknown { .. }));
            assert_eq!(frame, Some(true), "{text}");
        }
    }

    #[test]
    fn lengths() {
        let announce = |len: u32| {
            let mut bytes = vec![0; 8];
            bytes.extend_from_slice(&len.to_be_bytes());
            let mut inbox = Inbox::default();
            inbox.next(&mut &bytes[..]).map(|f| f.is_some())
        };
        assert_eq!(announce(3), Err(ProtocolError { announced: 3 }));
        assert_eq!(announce(4), Ok(true));
        assert_eq!(announce(1_048_576), Ok(false));
        assert_eq!(announce(1_048_577), Err(ProtocolError { announced: 1_048_577 }));
    }

    #[test]
    fn the_buffer_grows_to_one_message_and_shrinks_back() {
        let mut bytes = hex("00020001 00000000 00010004");
        bytes.resize(8 + 0x1_0004, 7);
        let mut inbox = Inbox::default();
        for chunk in bytes.chunks(1000) {
            let mut input = chunk;
            while let Some(frame) = inbox.next(&mut input).unwrap() {
                assert_eq!(frame.body.len(), 0x1_0000);
            }
        }
        assert!(inbox.next(&mut &[][..]).unwrap().is_none());
        assert!(inbox.partial.capacity() <= KEPT);
    }
}
