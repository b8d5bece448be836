//! All slices of a member, so that a box finds those that list it without a filter over everything.

use super::{dates, inner, Format, MANIFEST_DAYS};
use crate::commons::fields::{wrong, Fields, Members, DATES};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use serde_json::Value;

/// The most slices of a member.
pub const SLICES_MAX: usize = 200;
/// The most certificates of a member.
pub const CERTS_MAX: usize = 20;
/// Bytes of a box's id that stand in an index. Two boxes may have them in common: one of them then reads a manifest in vain.
const HASH: usize = 3;

/// A slice in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The slice.
    pub slice: Label,
    /// The serial of its newest manifest or tombstone.
    pub serial: u64,
    boxes: Vec<[u8; HASH]>,
}

impl Entry {
    /// That of a slice which lists `boxes`.
    pub fn new(slice: Label, serial: u64, boxes: &[Id]) -> Entry {
        Entry { slice, serial, boxes: boxes.iter().map(|id| hash(*id)).collect() }
    }

    /// Whether the slice may list that box.
    pub fn lists(&self, id: Id) -> bool {
        self.boxes.contains(&hash(id))
    }

    fn read(name: &str, value: &Value) -> Result<Entry> {
        let fields = Fields::of(name, value)?;
        let boxes = BASE64.decode(fields.text("boxes", 16 << 10)?);
        let boxes = boxes.ok().filter(|bytes| bytes.len() % HASH == 0);
        let boxes = boxes.ok_or_else(|| wrong("boxes", "it is no base64 of three bytes a box"))?;
        let boxes = boxes.chunks_exact(HASH).map(|hash| [hash[0], hash[1], hash[2]]).collect();
        let slice = fields.label("name", Kind::Slice)?;
        Ok(Entry { slice, serial: fields.number("serial", DATES)?, boxes })
    }

    fn write(&self) -> Value {
        let members = Members::default().with("name", self.slice.as_str()).with("serial", self.serial);
        members.with("boxes", BASE64.encode(self.boxes.concat())).into()
    }
}

fn hash(id: Id) -> [u8; HASH] {
    let [a, b, c, ..] = *id.bytes();
    [a, b, c]
}

/// A member's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Whose it is.
    pub member: Id,
    /// Of two the one with the greater serial is the newer.
    pub serial: u64,
    /// His slices, also those that are gone, for as long as their tombstones stand.
    pub slices: Vec<Entry>,
    /// Signed certificates for members whom he vouches for.
    pub certs: Vec<Box<str>>,
    /// When it was signed.
    pub issued: u64,
    /// When it may be cleared from brokers: at most 90 days later.
    pub expires: u64,
}

impl Format for Index {
    const PURPOSE: Purpose = Purpose::Index;
    const KNOWN: &'static [&'static str] = &["member", "serial", "slices", "certs", "issued"];

    fn read(fields: Fields<'_>) -> Result<Index> {
        let (issued, expires) = dates(fields, MANIFEST_DAYS)?;
        let index = Index {
            member: fields.id("member")?,
            serial: fields.number("serial", DATES)?,
            slices: fields.list("slices", SLICES_MAX, Entry::read)?,
            certs: fields.list("certs", CERTS_MAX, inner)?,
            issued,
            expires,
        };
        let mut names: Vec<Label> = index.slices.iter().map(|entry| entry.slice).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong("slices", &format!("{} stands twice", pair[0]))),
            None => Ok(index),
        }
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with("serial", self.serial);
        let members = members.with_list("slices", &self.slices, Entry::write);
        let members = members.with_texts("certs", &self.certs);
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Index(self.member)
    }
}
