//! The outer encoding (libubox `blob.h`): a run of attributes, each a 4-byte header and its data, padded to four.
//!
//! Header, big endian: bit 31 *extended* (the data begins with a blobmsg name), bits 30..24 the id, bits 23..0 the
//! length including the header and excluding the padding.

use std::fmt;

/// Bytes of an attribute's header.
pub const HEADER_LEN: usize = 4;
/// Longest attribute the 24-bit length can tell, header included.
pub const MAX_ATTR_LEN: usize = 0x00ff_ffff;
/// Longest outer attribute `ubusd` accepts, header and padding included (`UBUS_MAX_MSGLEN`).
pub const MAX_MESSAGE_LEN: usize = 1 << 20;
/// Deepest nesting of tables and arrays this crate reads or writes. Ours; the format has no limit.
pub const MAX_DEPTH: usize = 32;

const EXTENDED: u32 = 1 << 31;

/// What is wrong with encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Bytes remain, but too few for an attribute's header.
    Truncated,
    /// An attribute is shorter than its own header, or longer than what holds it.
    Length,
    /// A blobmsg field is not marked as one, or its name does not fit or does not end in its only NUL.
    Name,
    /// A blobmsg type above the known ones (its number).
    Type(u8),
    /// A value's length does not fit its type (the type's number).
    Size(u8),
    /// A string that does not end in NUL, or has one inside.
    Nul,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the data ends inside an attribute's header",
            Self::Length => "an attribute's length does not fit",
            Self::Name => "a field's name is malformed",
            Self::Type(_) => "a field has an unknown type",
            Self::Size(_) => "a value's length does not fit its type",
            Self::Nul => "a string does not end in its only NUL",
            Self::Depth => "the data is nested too deeply",
        })
    }
}

impl std::error::Error for DecodeError {}

/// One attribute, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// 0 to 127. Its meaning is the message's, or the blobmsg type when extended.
    pub id: u8,
    /// Whether the data begins with a blobmsg name.
    pub extended: bool,
    /// Without header and padding.
    pub data: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The data as a 32-bit number; `None` when it is not exactly four bytes.
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.data.try_into().ok()?))
    }

    /// The data as one byte; `None` when it is not exactly one.
    pub fn u8(&self) -> Option<u8> {
        match self.data {
            [byte] => Some(*byte),
            _ => None,
        }
    }

    /// The data as a C string, without its NUL: up to the first NUL, as `ubusd` reads it. `None` when the data does
    /// not end in NUL.
    pub fn c_str(&self) -> Option<&'a [u8]> {
        match self.data {
            [.., 0] => self.data.split(|byte| *byte == 0).next(),
            _ => None,
        }
    }
}

/// Iterates over a run of attributes. The first error is returned and ends the iteration.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// Reads attributes from `bytes`, the data of whatever contains them. The last one's padding may be missing.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Attr<'a>, DecodeError> {
        let header =
            self.rest.get(..HEADER_LEN).and_then(|h| h.try_into().ok()).ok_or(DecodeError::Truncated)?;
        let id_len = u32::from_be_bytes(header);
        let len = len_of(id_len);
        let data = self.rest.get(HEADER_LEN..len).ok_or(DecodeError::Length)?;
        self.rest = self.rest.get(padded(len)..).unwrap_or_default();
        Ok(Attr { id: ((id_len >> 24) & 0x7f) as u8, extended: id_len & EXTENDED != 0, data })
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attr = self.read();
        if attr.is_err() {
            self.rest = &[];
        }
        Some(attr)
    }
}

impl std::iter::FusedIterator for Attrs<'_> {}

/// The length field of a header word: header included, padding excluded.
pub(crate) fn len_of(id_len: u32) -> usize {
    (id_len & MAX_ATTR_LEN as u32) as usize
}

/// `len` rounded up to a multiple of four. For lengths of at most 24 bits, so it cannot overflow.
pub(crate) fn padded(len: usize) -> usize {
    (len + 3) & !3
}

// The writers below append to any buffer, so that a connection can write a message straight into its transmit queue.
// They trust that the whole stays below 24 bits; `Connection` and `blobmsg::Builder` check before the bytes leave.

/// Begins an attribute; `close` must get the returned position.
pub(crate) fn open(out: &mut Vec<u8>, id: u8, extended: bool) -> usize {
    let start = out.len();
    let extended = if extended { EXTENDED } else { 0 };
    out.extend_from_slice(&(extended | u32::from(id & 0x7f) << 24).to_be_bytes());
    start
}

/// Gives the attribute begun at `start` another id.
pub(crate) fn retype(out: &mut [u8], start: usize, id: u8) {
    if let Some(first) = out.get_mut(start) {
        *first = *first & 0x80 | id & 0x7f;
    }
}

/// Ends the attribute begun at `start`: fills in its length and pads it.
pub(crate) fn close(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    if let [_, length @ ..] = &mut out[start..start + HEADER_LEN] {
        length.copy_from_slice(&(len as u32).to_be_bytes()[1..]);
    }
    out.resize(start + padded(len), 0);
}

pub(crate) fn put(out: &mut Vec<u8>, id: u8, data: &[u8]) {
    let start = open(out, id, false);
    out.extend_from_slice(data);
    close(out, start);
}

pub(crate) fn put_u32(out: &mut Vec<u8>, id: u8, value: u32) {
    put(out, id, &value.to_be_bytes());
}

pub(crate) fn put_str(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    let start = open(out, id, false);
    out.extend_from_slice(value);
    out.push(0);
    close(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = Result<(u8, bool, &'a [u8]), DecodeError>;

    fn check(bytes: &[u8], expected: &[Read<'_>]) {
        let found: Vec<_> = Attrs::new(bytes).map(|a| a.map(|a| (a.id, a.extended, a.data))).collect();
        assert_eq!(found, expected, "{bytes:02x?}");
    }

    #[test]
    fn attributes() {
        use DecodeError::*;
        check(&[], &[]);
        check(&[3, 0, 0, 8, 0, 0, 0, 5], &[Ok((3, false, &[0, 0, 0, 5]))]);
        check(&[7, 0, 0, 4, 1, 0, 0, 4], &[Ok((7, false, &[])), Ok((1, false, &[]))]);
        check(&[0xff, 0, 0, 5, 9, 0, 0, 0], &[Ok((127, true, &[9]))]);
        check(&[9, 0, 0, 5, 1], &[Ok((9, false, &[1]))]); // the last padding may be missing
        check(&[0], &[Err(Truncated)]);
        check(&[0, 0, 0], &[Err(Truncated)]);
        check(&[0, 0, 0, 0], &[Err(Length)]);
        check(&[0, 0, 0, 3], &[Err(Length)]);
        check(&[0, 0, 0, 5], &[Err(Length)]);
        check(&[0, 0xff, 0xff, 0xff], &[Err(Length)]);
        check(&[9, 0, 0, 5, 1, 0, 0, 0, 1, 2], &[Ok((9, false, &[1])), Err(Truncated)]);
    }

    #[test]
    fn scalars_want_their_exact_length() {
        let attr = |data| Attr { id: 1, extended: false, data };
        assert_eq!(attr(&[0, 0, 1, 0]).u32(), Some(256));
        assert_eq!(attr(&[0, 1, 0]).u32(), None);
        assert_eq!(attr(&[0; 5]).u32(), None);
        assert_eq!(attr(&[7]).u8(), Some(7));
        assert_eq!(attr(&[]).u8(), None);
        assert_eq!(attr(b"ab\0").c_str(), Some(&b"ab"[..]));
        assert_eq!(attr(b"a\0b\0").c_str(), Some(&b"a"[..]));
        assert_eq!(attr(b"\0").c_str(), Some(&b""[..]));
        assert_eq!(attr(b"ab").c_str(), None);
        assert_eq!(attr(b"").c_str(), None);
    }

    #[test]
    fn writing_matches_the_wire() {
        let mut out = Vec::new();
        put_u32(&mut out, 3, 0xac90_937e);
        put_str(&mut out, 4, b"ping");
        put(&mut out, 7, &[]);
        assert_eq!(out, b"\x03\0\0\x08\xac\x90\x93\x7e\x04\0\0\x09ping\0\0\0\0\x07\0\0\x04");
    }
}
