//! The calls of libubox that the tests need, and its inline functions, which no binding has.

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::null_mut;

use libubox_sys as c;

use crate::{Data, Node};

/// Why libubox takes a message that openwrt-ubus refuses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Excuses {
    /// It silently passes over a rest that is no attribute.
    pub rest: bool,
    /// It takes an attribute without a name, where no name is needed, and openwrt-ubus none without the field for it.
    pub plain: bool,
    /// It takes a text or a name for what stands in front of a NUL inside.
    pub inner_nul: bool,
    /// It reads the first eight bytes of a double that has more.
    pub long_double: bool,
}

/// Writes fields with libubox.
pub fn encode(nodes: &[Node]) -> Vec<u8> {
    // SAFETY: all zeroes is how a buffer starts. It is alive until it is freed, and the head is read before that.
    unsafe {
        let mut buffer: c::blob_buf = std::mem::zeroed();
        assert_eq!(c::blob_buf_init(&mut buffer, 0), 0);
        nodes.iter().for_each(|node| add(&mut buffer, node));
        let length = length(buffer.head);
        let bytes = std::slice::from_raw_parts(buffer.head.cast::<u8>(), length)[4..].to_vec();
        c::blob_buf_free(&mut buffer);
        bytes
    }
}

fn add(buffer: &mut c::blob_buf, node: &Node) {
    let name = CString::new(node.name.clone()).unwrap();
    let (kind, data): (c_int, Vec<u8>) = match &node.data {
        Data::Array(inner) | Data::Table(inner) => {
            // SAFETY: the buffer was initialised, and libubox copies the name.
            unsafe {
                let array = matches!(node.data, Data::Array(_));
                let cookie = c::blobmsg_open_nested(buffer, name.as_ptr(), array);
                inner.iter().for_each(|node| add(buffer, node));
                c::blob_nest_end(buffer, cookie);
            }
            return;
        }
        Data::Null => (0, Vec::new()),
        Data::Text(text) => (3, [text.as_slice(), &[0]].concat()),
        Data::Int64(number) => (4, number.to_be_bytes().to_vec()),
        Data::Int32(number) => (5, number.to_be_bytes().to_vec()),
        Data::Int16(number) => (6, number.to_be_bytes().to_vec()),
        Data::Bool(flag) => (7, vec![*flag]),
        Data::Double(bits) => (8, bits.to_be_bytes().to_vec()),
    };
    // SAFETY: the buffer was initialised, and libubox copies name and data.
    let result =
        unsafe { c::blobmsg_add_field(buffer, kind, name.as_ptr(), data.as_ptr().cast(), data.len() as u32) };
    assert_eq!(result, 0);
}

/// Fields as libubox gets them: at an address that it can read numbers from.
pub struct Message {
    words: Vec<u32>,
    length: usize,
}

impl Message {
    pub fn new(bytes: &[u8]) -> Message {
        let word = |chunk: &[u8]| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_ne_bytes(word)
        };
        // One more, so that there is an address even without fields.
        Message { words: bytes.chunks(4).map(word).chain([0]).collect(), length: bytes.len() }
    }

    /// Reads everything, as `blobmsg_for_each_attr` with `blobmsg_check_attr_len` does. `None`: a check failed.
    pub fn decode(&self) -> Option<(Vec<Node>, Excuses)> {
        let mut excuses = Excuses::default();
        // SAFETY: so many bytes are there.
        let nodes = unsafe { decode(self.words.as_ptr().cast(), self.length, false, &mut excuses) }?;
        Some((nodes, excuses))
    }

    /// The field that `blobmsg_parse` finds for a name.
    pub fn find(&self, name: &[u8]) -> Option<Node> {
        let name = CString::new(name).unwrap();
        let policy = c::blobmsg_policy { name: name.as_ptr(), type_: 0 };
        let mut found = null_mut();
        // SAFETY: libubox only reads the message, and stays within its length. One entry of the policy, one result.
        unsafe {
            let data = self.words.as_ptr() as *mut c_void;
            if c::blobmsg_parse(&policy, 1, &mut found, data, self.length as u32) != 0 || found.is_null() {
                return None;
            }
            node(found, &mut Excuses::default())
        }
    }
}

/// # Safety
/// So many bytes must be there.
unsafe fn decode(
    data: *const c_char,
    length: usize,
    named: bool,
    excuses: &mut Excuses,
) -> Option<Vec<Node>> {
    let (mut at, mut nodes) = (0, Vec::new());
    // SAFETY: what is read of an attribute is within the bytes: its header, or all of it after its check.
    unsafe {
        // __blob_for_each_attr
        while length - at >= 4 {
            let attr = data.add(at).cast::<c::blob_attr>();
            let padded = (self::length(attr) + 3) & !3;
            if padded > length - at || padded < 4 {
                break;
            }
            if !c::blobmsg_check_attr_len(attr, named, length - at) {
                return None;
            }
            nodes.push(node(attr, excuses)?);
            at += padded;
        }
    }
    excuses.rest |= at < length;
    Some(nodes)
}

/// # Safety
/// The attribute must have passed its check.
unsafe fn node(attr: *const c::blob_attr, excuses: &mut Excuses) -> Option<Node> {
    // SAFETY: name and value are within the length of the attribute: that is what the check is for.
    unsafe {
        let bytes = std::slice::from_raw_parts(attr.cast::<u8>(), length(attr));
        let (name, value) = if bytes[0] & 0x80 != 0 {
            let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
            (&bytes[6..6 + length], &bytes[4 + ((length + 3 + 3) & !3)..])
        } else {
            excuses.plain = true;
            (&[][..], &bytes[4..])
        };
        excuses.inner_nul |= name.contains(&0);
        let data = match bytes[0] & 0x7f {
            0 => Data::Null,
            kind @ (1 | 2) => {
                let inner = decode(value.as_ptr().cast(), value.len(), kind == 2, excuses)?;
                if kind == 1 {
                    Data::Array(inner)
                } else {
                    Data::Table(inner)
                }
            }
            3 => {
                let text = value.split(|&byte| byte == 0).next()?;
                excuses.inner_nul |= text.len() + 1 < value.len();
                Data::Text(text.to_vec())
            }
            4 => Data::Int64(i64::from_be_bytes(value.try_into().ok()?)),
            5 => Data::Int32(i32::from_be_bytes(value.try_into().ok()?)),
            6 => Data::Int16(i16::from_be_bytes(value.try_into().ok()?)),
            7 => Data::Bool(value[0]),
            _ => {
                excuses.long_double |= value.len() > 8;
                Data::Double(u64::from_be_bytes(value[..8].try_into().ok()?))
            }
        };
        Some(Node { name: name.to_vec(), data })
    }
}

/// blob_raw_len
///
/// # Safety
/// The header must be there.
unsafe fn length(attr: *const c::blob_attr) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (u32::from_be((*attr).id_len) & 0x00ff_ffff) as usize }
}
