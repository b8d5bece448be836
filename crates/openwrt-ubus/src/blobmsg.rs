//! The inner encoding (libubox `blobmsg.h`): typed, named fields, which is what JSON becomes on the bus.
//!
//! A field is an extended attribute whose id is the type, and whose data is a 16-bit name length, the name, its NUL,
//! padding to four, and the value. Elements of an array have an empty name.

use crate::blob::{self, Attrs, DecodeError, MAX_DEPTH, MAX_MESSAGE_LEN};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Types of a field, with their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Type {
    /// No value: JSON's null. In a signature: anything.
    Unspec = 0,
    /// Unnamed fields.
    Array = 1,
    /// Named fields.
    Table = 2,
    /// Text of any bytes but NUL.
    String = 3,
    /// 64-bit signed.
    Int64 = 4,
    /// 32-bit signed.
    Int32 = 5,
    /// 16-bit signed.
    Int16 = 6,
    /// One byte, which everybody takes for a boolean.
    Bool = 7,
    /// IEEE 754 binary64.
    Double = 8,
}

impl TryFrom<u8> for Type {
    type Error = DecodeError;

    fn try_from(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            0 => Self::Unspec,
            1 => Self::Array,
            2 => Self::Table,
            3 => Self::String,
            4 => Self::Int64,
            5 => Self::Int32,
            6 => Self::Int16,
            7 => Self::Bool,
            8 => Self::Double,
            other => return Err(DecodeError::Type(other)),
        })
    }
}

/// A field's value, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// JSON's null.
    Null,
    /// Its fields have no names.
    Array(Fields<'a>),
    /// Its fields have names.
    Table(Fields<'a>),
    /// Without its NUL. By custom UTF-8, but nobody checks.
    Str(&'a [u8]),
    /// 64-bit signed.
    Int64(i64),
    /// 32-bit signed.
    Int32(i32),
    /// 16-bit signed.
    Int16(i16),
    /// Zero is false; the byte is kept, as a few writers store small numbers in it.
    Bool(u8),
    /// IEEE 754 binary64.
    Double(f64),
}

impl<'a> Value<'a> {
    fn parse(ty: Type, data: &'a [u8]) -> Result<Self, DecodeError> {
        let size = |_| DecodeError::Size(ty as u8);
        Ok(match ty {
            Type::Unspec => Self::Null,
            Type::Array => Self::Array(Fields::new(data)),
            Type::Table => Self::Table(Fields::new(data)),
            Type::String => match data {
                [text @ .., 0] if !text.contains(&0) => Self::Str(text),
                _ => return Err(DecodeError::Nul),
            },
            Type::Int64 => Self::Int64(i64::from_be_bytes(data.try_into().map_err(size)?)),
            Type::Int32 => Self::Int32(i32::from_be_bytes(data.try_into().map_err(size)?)),
            Type::Int16 => Self::Int16(i16::from_be_bytes(data.try_into().map_err(size)?)),
            Type::Bool => match data {
                [byte] => Self::Bool(*byte),
                _ => return Err(DecodeError::Size(ty as u8)),
            },
            Type::Double => Self::Double(f64::from_be_bytes(data.try_into().map_err(size)?)),
        })
    }

    /// The text, if it is a string of UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The number, if it is an integer of any width.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int64(v) => Some(v),
            Self::Int32(v) => Some(v.into()),
            Self::Int16(v) => Some(v.into()),
            Self::Bool(v) => Some(v.into()),
            _ => None,
        }
    }
}

/// A field: name and value, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Without its NUL. Empty in an array.
    pub name: &'a [u8],
    /// What it holds.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// Reads the field an extended attribute holds.
    ///
    /// # Errors
    /// When name or value are not as their lengths say.
    pub fn parse(attr: blob::Attr<'a>) -> Result<Self, DecodeError> {
        if !attr.extended {
            // libubox writes an unnamed field's header too; a plain attribute is not a field.
            return Err(DecodeError::Name);
        }
        let ty = Type::try_from(attr.id)?;
        let (name, value) = split_name(attr.data).ok_or(DecodeError::Name)?;
        Ok(Self { name, value: Value::parse(ty, value)? })
    }
}

/// The length of a field's name, and what comes after that.
fn split_length(data: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = data.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*len)), rest))
}

fn split_name(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split_length(data)?;
    let name = rest.get(..len)?;
    // A NUL inside would make it another name to a C reader.
    if rest.get(len) != Some(&0) || name.contains(&0) {
        return None;
    }
    // A null's padding may be missing when it is the last of its parent.
    Some((name, data.get(blob::padded(2 + len + 1)..).unwrap_or_default()))
}

/// A bare run of fields: what a call's arguments, a reply's DATA and the inside of a table or an array are.
///
/// Serializes as a map, so that any reply can be printed as JSON without knowing its type; text that is not UTF-8
/// has its wrong bytes replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Views `bytes` as fields. Nothing is checked before they are read.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The fields in order. The first error is returned and ends the iteration.
    pub fn iter(&self) -> Iter<'a> {
        Iter { attrs: Attrs::new(self.bytes) }
    }

    /// The value of the first field called `name`, if it is well-formed. Other fields are not looked at closely: who
    /// shows a reply searches it once for each field.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let called = |attr: &blob::Attr<'_>| {
            let found = split_length(attr.data).and_then(|(len, rest)| rest.get(..len));
            found == Some(name.as_bytes())
        };
        let attr = Attrs::new(self.bytes).map_while(Result::ok).find(called)?;
        Some(Field::parse(attr).ok()?.value)
    }

    /// Checks everything inside, down to [`MAX_DEPTH`].
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), DecodeError> {
        self.check_at(0)
    }

    fn check_at(&self, depth: usize) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::Depth);
        }
        for field in self.iter() {
            if let Value::Array(inner) | Value::Table(inner) = field?.value {
                inner.check_at(depth + 1)?;
            }
        }
        Ok(())
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over fields.
#[derive(Clone, Copy, Debug)]
pub struct Iter<'a> {
    attrs: Attrs<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.attrs.next()?.and_then(Field::parse);
        if field.is_err() {
            self.attrs = Attrs::new(&[]);
        }
        Some(field)
    }
}

impl std::iter::FusedIterator for Iter<'_> {}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested { value: Value::Table(*self), depth: 0 }.serialize(serializer)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested { value: *self, depth: 0 }.serialize(serializer)
    }
}

/// A value that knows how deep it is, so that hostile nesting ends in an error and not in a stack overflow.
struct Nested<'a> {
    value: Value<'a>,
    depth: usize,
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth + 1;
        match self.value {
            Value::Array(_) | Value::Table(_) if self.depth > MAX_DEPTH => {
                Err(S::Error::custom(DecodeError::Depth))
            }
            Value::Null => serializer.serialize_unit(),
            Value::Array(fields) => {
                let mut seq = serializer.serialize_seq(None)?;
                for field in fields {
                    let value = field.map_err(S::Error::custom)?.value;
                    seq.serialize_element(&Nested { value, depth })?;
                }
                seq.end()
            }
            Value::Table(fields) => {
                let mut map = serializer.serialize_map(None)?;
                for field in fields {
                    let Field { name, value } = field.map_err(S::Error::custom)?;
                    map.serialize_entry(&String::from_utf8_lossy(name), &Nested { value, depth })?;
                }
                map.end()
            }
            Value::Str(text) => match String::from_utf8_lossy(text) {
                Cow::Borrowed(text) => serializer.serialize_str(text),
                Cow::Owned(text) => serializer.serialize_str(&text),
            },
            Value::Int64(v) => serializer.serialize_i64(v),
            Value::Int32(v) => serializer.serialize_i32(v),
            Value::Int16(v) => serializer.serialize_i16(v),
            Value::Bool(v) => serializer.serialize_bool(v != 0),
            Value::Double(v) => serializer.serialize_f64(v),
        }
    }
}

/// Why fields cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// More than a message holds ([`MAX_MESSAGE_LEN`]), or a name of more than 65,535 bytes.
    TooLong,
    /// Text with a NUL inside, which C readers would cut there.
    Nul,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
}

impl BuildError {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "the message is longer than ubus allows (1 MiB)",
            Self::Nul => "text with a NUL byte inside cannot be sent over ubus",
            Self::Depth => "the data is nested too deeply to be sent over ubus",
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for BuildError {}

/// Writes fields. Nesting is balanced by construction: a table is what the closure writes into it.
///
/// The first error is remembered, what follows it is not written, and [`Builder::finish`] returns it. Field names
/// are ignored by readers inside an array; give `""` there.
///
/// ```
/// let mut fields = openwrt_ubus::blobmsg::Builder::new();
/// fields.str("name", "web").table("limits", |limits| {
///     limits.int("memory", 256 << 20);
/// });
/// let bytes = fields.finish()?;
/// # Ok::<(), openwrt_ubus::blobmsg::BuildError>(())
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    out: Vec<u8>,
    depth: usize,
    error: Option<BuildError>,
    /// Tables this deep have these fields only.
    choice: Option<(usize, Vec<String>)>,
}

impl Builder {
    /// No fields yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn choosing(depth: usize, named: Vec<String>) -> Self {
        Self { choice: Some((depth, named)), ..Self::default() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        match &self.choice {
            Some((depth, named)) if *depth == self.depth => named.iter().any(|wanted| wanted == name),
            _ => true,
        }
    }

    /// A string. Fails at [`Builder::finish`] when it has a NUL inside.
    pub fn str(&mut self, name: &str, value: &str) -> &mut Self {
        self.scalar(Type::String, name, &[value.as_bytes(), &[0]])
    }

    /// An integer: INT32 when the value fits, INT64 otherwise, which is what JSON numbers become on the bus.
    pub fn int(&mut self, name: &str, value: i64) -> &mut Self {
        match i32::try_from(value) {
            Ok(value) => self.scalar(Type::Int32, name, &[&value.to_be_bytes()]),
            Err(_) => self.scalar(Type::Int64, name, &[&value.to_be_bytes()]),
        }
    }

    /// A boolean.
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.scalar(Type::Bool, name, &[&[value.into()]])
    }

    /// A floating-point number.
    pub fn double(&mut self, name: &str, value: f64) -> &mut Self {
        self.scalar(Type::Double, name, &[&value.to_be_bytes()])
    }

    /// JSON's null.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.scalar(Type::Unspec, name, &[])
    }

    /// A table of what `fill` writes.
    pub fn table(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(Type::Table, name);
        fill(self);
        self.close(start);
        self
    }

    /// An array of what `fill` writes.
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(Type::Array, name);
        fill(self);
        self.close(start);
        self
    }

    /// The encoded fields.
    ///
    /// # Errors
    /// The first error met while writing. A message that adds its own attributes may still be too long; the
    /// connection tells when it is sent.
    pub fn finish(self) -> Result<Vec<u8>, BuildError> {
        match self.error {
            None => Ok(self.out),
            Some(error) => Err(error),
        }
    }

    pub(crate) fn open(&mut self, ty: Type, name: &str) -> usize {
        let start = self.header(ty, name);
        self.descend(start, ty);
        start
    }

    pub(crate) fn close(&mut self, start: usize) {
        self.depth = self.depth.saturating_sub(1);
        self.end(start);
    }

    pub(crate) fn error(&self) -> Option<BuildError> {
        self.error
    }

    fn scalar(&mut self, ty: Type, name: &str, parts: &[&[u8]]) -> &mut Self {
        let start = self.header(ty, name);
        self.value(start, ty, parts);
        self
    }

    /// Begins a field. What follows is [`Builder::value`], or [`Builder::descend`] and [`Builder::close`], or
    /// [`Builder::retract`].
    pub(crate) fn header(&mut self, ty: Type, name: &str) -> usize {
        if name.as_bytes().contains(&0) {
            self.fail(BuildError::Nul);
        }
        let Ok(len) = u16::try_from(name.len()) else {
            self.fail(BuildError::TooLong);
            return 0;
        };
        if self.error.is_some() {
            return 0;
        }
        let start = blob::open(&mut self.out, ty as u8, true);
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(0);
        let name_end = start + blob::HEADER_LEN + blob::padded(2 + name.len() + 1);
        self.out.resize(name_end, 0);
        start
    }

    /// The value of the field that begins at `start`.
    pub(crate) fn value(&mut self, start: usize, ty: Type, parts: &[&[u8]]) {
        if let (Type::String, [text, _]) = (ty, parts) {
            if text.contains(&0) {
                self.fail(BuildError::Nul);
            }
        }
        // Checked before the copy, so that one huge string does not take its size in memory twice.
        if parts.iter().map(|part| part.len()).sum::<usize>() > MAX_MESSAGE_LEN {
            self.fail(BuildError::TooLong);
        }
        self.retype(start, ty);
        if self.error.is_none() {
            for part in parts {
                self.out.extend_from_slice(part);
            }
        }
        self.end(start);
    }

    /// The field that begins at `start` is an array or a table, of what is written until it is closed.
    pub(crate) fn descend(&mut self, start: usize, ty: Type) {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.fail(BuildError::Depth);
        }
        self.retype(start, ty);
    }

    /// The field that begins at `start` and has no value yet is left out.
    pub(crate) fn retract(&mut self, start: usize) {
        if self.error.is_none() {
            self.out.truncate(start);
        }
    }

    fn retype(&mut self, start: usize, ty: Type) {
        if self.error.is_none() {
            blob::retype(&mut self.out, start, ty as u8);
        }
    }

    fn end(&mut self, start: usize) {
        if self.error.is_some() {
            return;
        }
        blob::close(&mut self.out, start);
        if self.out.len() > MAX_MESSAGE_LEN {
            self.fail(BuildError::TooLong);
        }
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<String, DecodeError> {
        let field = Fields::new(bytes).iter().next().unwrap()?;
        Ok(format!("{}={:?}", String::from_utf8_lossy(field.name), field.value))
    }

    #[test]
    fn golden_fields() {
        // From the captured answers: {"ok":1} and {"s":"x"}.
        assert_eq!(one(b"\x85\0\0\x10\0\x02ok\0\0\0\0\0\0\0\x01").unwrap(), "ok=Int32(1)");
        assert_eq!(one(b"\x83\0\0\x0a\0\x01s\0x\0\0\0").unwrap(), "s=Str([120])");
    }

    #[test]
    fn every_length_is_checked() {
        use DecodeError::*;
        let table: &[(&[u8], DecodeError)] = &[
            (b"\x05\0\0\x0c\0\x01n\0\0\0\0\x03", Name),  // not extended
            (b"\x89\0\0\x08\0\x01n\0", Type(9)),         // unknown type
            (b"\x85\0\0\x08\0\0\0\0", Size(5)),          // no value
            (b"\x85\0\0\x0a\0\x01n\0\0\0\0\0", Size(5)), // two bytes of four
            (b"\x84\0\0\x0c\0\x01n\0\0\0\0\0", Size(4)), // four bytes of eight
            (b"\x86\0\0\x09\0\x01n\0\0\0\0\0", Size(6)), // one byte of two
            (b"\x87\0\0\x0c\0\x01n\0\0\0\0\0", Size(7)), // four bytes of one
            (b"\x88\0\0\x0c\0\x01n\0\0\0\0\0", Size(8)), // four bytes of eight
            (b"\x83\0\0\x08\0\x01s\0", Nul),             // string without NUL
            (b"\x83\0\0\x0b\0\x01s\0a\0b\0", Nul),       // does not end in NUL
            (b"\x83\0\0\x0c\0\x01s\0a\0b\0", Nul),       // NUL inside
            (b"\x83\0\0\x04", Name),                     // no name length
            (b"\x83\0\0\x05\0\0\0\0", Name),             // half a name length
            (b"\x83\0\0\x10\0\x03abc", Length),          // cut short
            (b"\x83\0\0\x08\0\x02ab", Name),             // no room for the name's NUL
            (b"\x83\0\0\x08\xff\xffab", Name),           // name longer than the field
            (b"\x83\0\0\x0a\0\x01sxx\0\0\0", Name),      // name not ended
            (b"\x83\0\0\x0c\0\x02a\0\0\0\0\0x\0", Name), // NUL inside the name
        ];
        for (bytes, expected) in table {
            assert_eq!(one(bytes), Err(*expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn an_error_ends_the_iteration() {
        let bytes = b"\x89\0\0\x08\0\x01n\0\x80\0\0\x08\0\x01n\0";
        assert_eq!(Fields::new(bytes).iter().count(), 1);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let mut b = Builder::new();
        b.int("names", 1).int("nam", 2).int("name", 3).int("name", 4).int("", 5);
        let bytes = b.finish().unwrap();
        let find = |name| Fields::new(&bytes).get(name).and_then(|value| value.as_i64());
        assert_eq!([find("name"), find("nam"), find(""), find("n")], [Some(3), Some(2), Some(5), None]);
        // Its own value is checked, another's is not, and a length that does not fit ends the search.
        let [wrong, right] = [b"\x85\0\0\x0a\0\x01w\0\0\x07\0\0", b"\x85\0\0\x0c\0\x01r\0\0\0\0\x07"];
        assert!(Fields::new(wrong).get("w").is_none());
        assert!(Fields::new(&[&wrong[..], right].concat()).get("r").is_some());
        assert!(Fields::new(&[b"\x85\0\0\x03", &right[..]].concat()).get("r").is_none());
    }

    #[test]
    fn nesting_is_bounded() {
        let nest = |depth| {
            let mut fields = b"\x85\0\0\x0c\0\x01n\0\0\0\0\x07".to_vec();
            for _ in 0..depth {
                let mut outer = Vec::new();
                let start = blob::open(&mut outer, Type::Table as u8, true);
                outer.extend_from_slice(&[0, 1, b't', 0]);
                outer.append(&mut fields);
                blob::close(&mut outer, start);
                fields = outer;
            }
            fields
        };
        assert_eq!(Fields::new(&nest(MAX_DEPTH)).check(), Ok(()));
        assert_eq!(Fields::new(&nest(MAX_DEPTH + 1)).check(), Err(DecodeError::Depth));
        let deepest = nest(MAX_DEPTH);
        assert!(serde_json::to_string(&Fields::new(&deepest)).is_ok());
        let value = crate::from_fields::<serde_json::Value>(&deepest).unwrap();
        assert_eq!(crate::to_fields(&value).unwrap(), deepest);
        assert!(serde_json::to_string(&Fields::new(&nest(200))).is_err());
        let deep = nest(200);
        assert!(crate::from_fields::<serde_json::Value>(&deep).is_err());
        assert!(crate::from_fields::<std::collections::HashMap<String, serde::de::IgnoredAny>>(&deep).is_ok());
    }

    #[test]
    fn builder_limits() {
        let big = "x".repeat(MAX_MESSAGE_LEN);
        let mut b = Builder::new();
        b.str("s", &big).int("after", 1);
        assert_eq!(b.finish(), Err(BuildError::TooLong));

        let mut b = Builder::new();
        for _ in 0..3 {
            b.str("s", &big[..400_000]);
        }
        assert_eq!(b.finish(), Err(BuildError::TooLong));

        let mut b = Builder::new();
        b.int(&big[..65_535], 1);
        assert_eq!(Fields::new(&b.finish().unwrap()).get(&big[..65_535]).unwrap().as_i64(), Some(1));

        let mut b = Builder::new();
        b.int(&big[..65_536], 1);
        assert_eq!(b.finish(), Err(BuildError::TooLong));

        let mut b = Builder::new();
        b.table("t", |t| {
            t.str("s", "a\0b");
        });
        assert_eq!(b.finish(), Err(BuildError::Nul));
    }

    #[test]
    fn builder_nests() {
        let mut b = Builder::new();
        b.table("t", |t| {
            t.array("a", |a| {
                a.int("", 1).int("", 1 << 40).str("", "x").bool("", true).double("", 0.5).null("");
            });
        });
        b.int("i", -1);
        let bytes = b.finish().unwrap();
        assert_eq!(
            serde_json::to_string(&Fields::new(&bytes)).unwrap(),
            r#"{"t":{"a":[1,1099511627776,"x",true,0.5,null]},"i":-1}"#
        );
        assert_eq!(Fields::new(&bytes).check(), Ok(()));
    }
}
