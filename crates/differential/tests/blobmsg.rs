//! openwrt-ubus's blobmsg against libubox.
//!
//! What one writes the other reads, byte for byte the same. Of damaged messages each may refuse some that the other
//! takes, for the reasons listed in [`Excuses`] and no others; when both take one they read the same.

#[path = "../../openwrt-uci/tests/common/mod.rs"]
mod common;
mod libubox;

use common::Random;
use libubox::{Excuses, Message};
use openwrt_ubus::blob::DecodeError;
use openwrt_ubus::blobmsg::{Builder, Fields, Value};

/// A value with a name; the numbers as they are on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: Vec<u8>,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Null,
    Array(Vec<Node>),
    Table(Vec<Node>),
    Text(Vec<u8>),
    Int64(i64),
    Int32(i32),
    Int16(i16),
    Bool(u8),
    /// The bits, so that NaN equals itself.
    Double(u64),
}

#[test]
fn both_write_the_same_bytes() {
    for seed in 0..20_000 {
        let tree = nodes(&mut Random::new(seed), 0, true, false);
        let mut builder = Builder::new();
        tree.iter().for_each(|node| build(&mut builder, node));
        let (ours, theirs) = (builder.finish().unwrap(), libubox::encode(&tree));
        assert_eq!(ours, theirs, "{tree:?}");
        // What libubox reads in it.
        let read = Message::new(&ours).decode().unwrap_or_else(|| panic!("libubox refuses {tree:?}"));
        assert_eq!(read, (tree.clone(), Excuses::default()));
        for (at, node) in tree.iter().enumerate() {
            let first = tree.iter().position(|other| other.name == node.name) == Some(at);
            let found = Message::new(&ours).find(&node.name);
            assert!(!first || found == Some(node.clone()), "{node:?} {found:?}");
        }
    }
}

#[test]
fn we_read_what_libubox_writes() {
    for seed in 0..20_000 {
        let tree = nodes(&mut Random::new(1_000_000 + seed), 0, true, true);
        let bytes = libubox::encode(&tree);
        Fields::new(&bytes).check().unwrap();
        assert_eq!(decode(Fields::new(&bytes)).unwrap(), tree);
    }
}

#[test]
fn damaged_messages_read_alike_or_are_refused() {
    let (mut both, mut neither, mut one) = (0, 0, 0);
    for seed in 0..200_000 {
        let mut random = Random::new(2_000_000 + seed);
        let mut bytes = libubox::encode(&nodes(&mut random, 0, true, true));
        for _ in 0..1 + random.below(4) {
            damage(&mut random, &mut bytes);
        }
        let ours = Fields::new(&bytes).check().and_then(|()| decode(Fields::new(&bytes)));
        let theirs = Message::new(&bytes).decode();
        let agree = match (&ours, &theirs) {
            (Ok(ours), Some((theirs, excuses))) => {
                both += 1;
                // Where the last attribute's padding is missing, libubox drops it and openwrt-ubus reads it.
                ours == theirs || excuses.rest && lacks_padding(&bytes)
            }
            (Err(_), None) => {
                neither += 1;
                true
            }
            (Err(error), Some((_, excuses))) => {
                one += 1;
                match error {
                    // What libubox passes over may be wrong in any way.
                    _ if excuses.rest => true,
                    DecodeError::Nul => excuses.inner_nul,
                    DecodeError::Name => excuses.plain || excuses.inner_nul,
                    DecodeError::Size(_) => excuses.long_double,
                    _ => false,
                }
            }
            (Ok(ours), None) => {
                one += 1;
                has_nameless(ours, false) || lacks_padding(&bytes)
            }
        };
        assert!(agree, "seed {seed}: {}\nours:   {ours:?}\ntheirs: {theirs:?}", bytes.escape_ascii());
    }
    println!("{both} read alike, {neither} refused by both, {one} by one of them");
    assert!(both > 10_000 && neither > 10_000);
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&[random.below(256) as u8; 4]);
    }
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 => bytes.truncate(at),
        3 => bytes[at] = bytes[at].wrapping_add(1),
        4 => bytes[at] = bytes[at].wrapping_sub(1),
        _ => {
            // The length of some attribute.
            let at = at & !3;
            if let Some(low) = bytes.get_mut(at + 3) {
                *low = random.below(40) as u8;
            }
        }
    }
}

/// Trees to send. Without `all`: what [`Builder`] can write.
fn nodes(random: &mut Random, depth: usize, named: bool, all: bool) -> Vec<Node> {
    let count = random.below(if depth == 0 { 6 } else { 4 });
    let node = |random: &mut Random| {
        let name = if named {
            random.pick(&["a", "b", "memory", "long name", "é", "x.y"]).as_bytes().to_vec()
        } else {
            Vec::new()
        };
        let number = match random.below(4) {
            0 => random.below(3) as i64 - 1,
            1 => i64::from(i32::MAX) + random.below(3) as i64 - 1,
            2 => i64::from(i32::MIN) + random.below(3) as i64 - 1,
            _ => i64::MAX - random.below(1 << 30) as i64,
        };
        let data = match random.below(if all { 10 } else { 7 }) {
            0 => Data::Null,
            1 if depth < 5 => Data::Array(nodes(random, depth + 1, false, all)),
            2 if depth < 5 => Data::Table(nodes(random, depth + 1, true, all)),
            3 => Data::Bool(random.below(2) as u8),
            4 => Data::Double((number as f64 / 3.0).to_bits()),
            5 => i32::try_from(number).map_or(Data::Int64(number), Data::Int32),
            7 => Data::Int16(number as i16),
            8 => Data::Int64(number),
            9 => Data::Bool(number as u8),
            _ => Data::Text(String::from_utf8_lossy(&random.value()).into_owned().into_bytes()),
        };
        Node { name, data }
    };
    (0..count).map(|_| node(random)).collect()
}

fn build(builder: &mut Builder, node: &Node) {
    let name = std::str::from_utf8(&node.name).unwrap();
    match &node.data {
        Data::Null => builder.null(name),
        Data::Array(inner) => {
            builder.array(name, |builder| inner.iter().for_each(|node| build(builder, node)))
        }
        Data::Table(inner) => {
            builder.table(name, |builder| inner.iter().for_each(|node| build(builder, node)))
        }
        Data::Text(text) => builder.str(name, std::str::from_utf8(text).unwrap()),
        Data::Int64(number) => builder.int(name, *number),
        Data::Int32(number) => builder.int(name, i64::from(*number)),
        Data::Bool(flag) => builder.bool(name, *flag != 0),
        Data::Double(bits) => builder.double(name, f64::from_bits(*bits)),
        Data::Int16(_) => unreachable!("Builder has no 16-bit numbers"),
    };
}

fn decode(fields: Fields) -> Result<Vec<Node>, DecodeError> {
    let node = |field: Result<openwrt_ubus::blobmsg::Field, DecodeError>| {
        let field = field?;
        let data = match field.value {
            Value::Null => Data::Null,
            Value::Array(inner) => Data::Array(decode(inner)?),
            Value::Table(inner) => Data::Table(decode(inner)?),
            Value::Str(text) => Data::Text(text.to_vec()),
            Value::Int64(number) => Data::Int64(number),
            Value::Int32(number) => Data::Int32(number),
            Value::Int16(number) => Data::Int16(number),
            Value::Bool(flag) => Data::Bool(flag),
            Value::Double(number) => Data::Double(number.to_bits()),
        };
        Ok(Node { name: field.name.to_vec(), data })
    };
    fields.iter().map(node).collect()
}

/// libubox wants names in a table; the outermost fields may go without.
fn has_nameless(nodes: &[Node], named: bool) -> bool {
    nodes.iter().any(|node| {
        named && node.name.is_empty()
            || match &node.data {
                Data::Array(inner) => has_nameless(inner, false),
                Data::Table(inner) => has_nameless(inner, true),
                _ => false,
            }
    })
}

/// libubox wants the padding of the last attribute, and that behind a name without value.
fn lacks_padding(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [a, b, c, d, ..] = *rest {
        let length = u32::from_be_bytes([0, b, c, d]) as usize;
        let padded = (length + 3) & !3;
        if padded > rest.len() {
            return true;
        }
        if a & 0x80 != 0 {
            let name = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            let header = 4 + ((name + 3 + 3) & !3);
            if header > length || matches!(a & 0x7f, 1 | 2) && lacks_padding(&rest[header..length]) {
                return true;
            }
        }
        rest = &rest[padded..];
    }
    false
}
