//! From fields to Rust values.

use crate::blob::{DecodeError, MAX_DEPTH};
use crate::blobmsg::{self, Fields, Value};
use crate::error::Error;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Reads a `T` from a bare run of fields: a call's arguments or a reply's DATA.
///
/// Written for arguments that came from a person, by way of JSON, a shell or a web page:
/// - fields `T` does not know are ignored (uhttpd adds `ubus_rpc_session` to every call);
/// - an integer of any width fits any integer type that can hold its value, and any float;
/// - for an `Option` the empty string, null and absence all mean `None`; for any field of a struct, null means absence;
/// - of fields with the same name the first one counts;
/// - a unit enum is read from a string; enums with data are not supported;
/// - text may be borrowed (`&'a str`) and must be UTF-8;
/// - `()` accepts any fields.
///
/// # Errors
/// Names the field and what was expected there; also when the bytes are malformed or nested deeper than
/// [`MAX_DEPTH`].
pub fn from_fields<'de, T: Deserialize<'de>>(fields: &'de [u8]) -> Result<T, Error> {
    T::deserialize(De { value: Value::Table(Fields::new(fields)), depth: 0 })
}

struct De<'de> {
    value: Value<'de>,
    depth: usize,
}

impl<'de> De<'de> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Array(fields) => self.visit_array(fields, visitor),
            Value::Table(fields) => self.visit_table(fields, None, visitor),
            Value::Str(text) => visitor.visit_borrowed_str(utf8(text)?),
            Value::Int64(v) => visitor.visit_i64(v),
            Value::Int32(v) => visitor.visit_i64(v.into()),
            Value::Int16(v) => visitor.visit_i64(v.into()),
            Value::Bool(v) => visitor.visit_bool(v != 0),
            Value::Double(v) => visitor.visit_f64(v),
        }
    }

    fn visit_integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            // A byte is a boolean to everybody, but some C programs keep small numbers in it.
            Value::Bool(v) => visitor.visit_i64(v.into()),
            _ => self.visit(visitor),
        }
    }

    fn visit_array<V: Visitor<'de>>(&self, fields: Fields<'de>, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { fields: fields.iter(), index: 0, depth: self.deeper()? })
    }

    fn visit_table<V: Visitor<'de>>(
        &self,
        fields: Fields<'de>,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Entries {
            fields: fields.iter(),
            depth: self.deeper()?,
            current: None,
            known,
            seen: vec![false; known.map_or(0, <[_]>::len)],
            names: BTreeSet::new(),
        })
    }

    /// The depth of what is inside.
    fn deeper(&self) -> Result<usize, Error> {
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Depth.into());
        }
        Ok(self.depth + 1)
    }
}

fn utf8(text: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(text).map_err(|_| Error::new("is not UTF-8 text"))
}

macro_rules! integers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.visit_integer(visitor)
        }
    )* };
}

macro_rules! any {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.visit(visitor)
        }
    )* };
}

impl<'de> Deserializer<'de> for De<'de> {
    type Error = Error;

    integers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    integers!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    any!(deserialize_any deserialize_bool deserialize_char deserialize_str deserialize_string deserialize_f32);
    any!(deserialize_f64 deserialize_seq deserialize_map deserialize_identifier);

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Str(text) => visitor.visit_borrowed_bytes(text),
            _ => self.visit(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null | Value::Str([]) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            // Arguments to a method that takes none: ignored like any unknown field.
            Value::Null | Value::Table(_) => visitor.visit_unit(),
            _ => self.visit(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Table(fields) => self.visit_table(fields, Some(known), visitor),
            value => Err(Error::invalid_type(unexpected(value), &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Str(text) => visitor.visit_enum(BorrowedStrDeserializer::new(utf8(text)?)),
            value => Err(Error::invalid_type(unexpected(value), &"text")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // Without going down into it: what is ignored need not be well-formed, nor shallow.
        visitor.visit_unit()
    }
}

fn unexpected(value: Value<'_>) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Array(_) => Unexpected::Seq,
        Value::Table(_) => Unexpected::Map,
        Value::Str(text) => Unexpected::Str(std::str::from_utf8(text).unwrap_or("?")),
        Value::Int64(v) => Unexpected::Signed(v),
        Value::Int32(v) => Unexpected::Signed(v.into()),
        Value::Int16(v) => Unexpected::Signed(v.into()),
        Value::Bool(v) => Unexpected::Bool(v != 0),
        Value::Double(v) => Unexpected::Float(v),
    }
}

struct Elements<'de> {
    fields: blobmsg::Iter<'de>,
    index: usize,
    depth: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        field
            .map_err(Error::from)
            .and_then(|field| seed.deserialize(De { value: field.value, depth: self.depth }))
            .map(Some)
            .map_err(|error| error.in_element(index))
    }
}

struct Entries<'de> {
    fields: blobmsg::Iter<'de>,
    depth: usize,
    current: Option<(&'de str, Value<'de>)>,
    /// A struct's fields, and which of them came already.
    known: Option<&'static [&'static str]>,
    seen: Vec<bool>,
    /// The names that came already, when the keys are not known beforehand.
    names: BTreeSet<&'de str>,
}

impl<'de> Entries<'de> {
    /// Whether the field counts: the first one of its name, and for a struct not null.
    fn counts(&mut self, name: &'de str, value: Value<'de>) -> bool {
        let Some(known) = self.known else {
            return self.names.insert(name);
        };
        let Some(index) = known.iter().position(|known| *known == name) else {
            return true;
        };
        let first = !std::mem::replace(&mut self.seen[index], true);
        first && !matches!(value, Value::Null)
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some(field) = self.fields.next() {
            let field = field?;
            let name = match std::str::from_utf8(field.name) {
                Ok(name) => name,
                // No struct has such a field, so it is one of the unknown.
                Err(_) if self.known.is_some() => continue,
                Err(_) => return Err(Error::new("a field's name is not UTF-8 text")),
            };
            if self.counts(name, field.value) {
                self.current = Some((name, field.value));
                return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (name, value) = self.current.take().unwrap_or(("", Value::Null));
        seed.deserialize(De { value, depth: self.depth }).map_err(|error| error.in_field(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_fields;
    use serde_json::{json, Value as Json};
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Net {
        name: String,
        mtu: u16,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Fast,
        VerySlow,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Args {
        name: String,
        size: Option<u64>,
        small: i8,
        on: bool,
        rate: f64,
        mode: Option<Mode>,
        nets: Vec<Net>,
        env: BTreeMap<String, String>,
        text: Option<String>,
        gateway: Option<Ipv4Addr>,
    }

    fn read(json: Json) -> Result<Args, String> {
        from_fields(&to_fields(&json).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn values() {
        let args = read(json!({
            "ubus_rpc_session": "0".repeat(32), "name": "web", "size": 5_000_000_000u64, "small": -3, "on": true,
            "rate": 2, "mode": "very-slow", "nets": [{"name": "lan", "mtu": 1500}], "env": {"A": "b"}, "text": "t",
            "gateway": "10.0.0.1",
            "unknown": [[[{}]]],
        }));
        let expected = Args {
            name: "web".into(),
            size: Some(5_000_000_000),
            small: -3,
            on: true,
            rate: 2.0,
            mode: Some(Mode::VerySlow),
            nets: vec![Net { name: "lan".into(), mtu: 1500 }],
            env: [("A".into(), "b".into())].into(),
            text: Some("t".into()),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        assert_eq!(args, Ok(expected));
    }

    #[test]
    fn empty_null_and_absent_mean_none() {
        let nothing = Ok(Args::default());
        assert_eq!(read(json!({})), nothing);
        assert_eq!(read(json!({"size": "", "mode": "", "text": ""})), nothing);
        assert_eq!(read(json!({"size": null, "mode": null, "text": null})), nothing);
        assert_eq!(read(json!({"name": null, "nets": null, "small": null})), nothing);
    }

    #[test]
    fn errors_say_where_and_what() {
        let table = [
            (
                json!({"nets": [{"name": "a", "mtu": 1}, {"name": "b", "mtu": -1}]}),
                "nets[1].mtu: expected an integer from 0 to 65535, found -1",
            ),
            (json!({"nets": [{"name": "a"}]}), "nets[0].mtu: is missing"),
            (json!({"nets": [{"name": null, "mtu": 1}]}), "nets[0].name: is missing"),
            (json!({"nets": {"a": 1}}), "nets: expected an array, found a table"),
            (json!({"nets": [[1]]}), "nets[0]: expected a table, found an array"),
            (json!({"small": 128}), "small: expected an integer from -128 to 127, found 128"),
            (json!({"small": 1.5}), "small: expected an integer from -128 to 127, found a fraction"),
            (json!({"size": -1}), "size: expected a non-negative integer, found -1"),
            (json!({"size": "12"}), "size: expected a non-negative integer, found the text \"12\""),
            (json!({"on": 1}), "on: expected true or false, found 1"),
            (json!({"name": 5}), "name: expected text, found 5"),
            (json!({"name": true}), "name: expected text, found true"),
            (json!({"name": [5]}), "name: expected text, found an array"),
            (json!({"mode": "slow"}), "mode: expected one of fast, very-slow, found \"slow\""),
            (json!({"mode": 3}), "mode: expected text, found 3"),
            (json!({"gateway": 5}), "gateway: expected an IPv4 address, found 5"),
            (json!({"env": {"A": 1}}), "env.A: expected text, found 1"),
            (json!({"rate": "x"}), "rate: expected a number, found the text \"x\""),
        ];
        for (json, expected) in table {
            assert_eq!(read(json.clone()).unwrap_err(), expected, "{json}");
        }
    }

    #[test]
    fn any_width_fits_any_integer() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct N<T> {
            n: T,
        }
        let field = |id: u8, value: &[u8]| {
            let mut out = vec![0x80 | id, 0, 0, 8 + value.len() as u8, 0, 1, b'n', 0];
            out.extend_from_slice(value);
            out
        };
        for bytes in
            [field(4, &7i64.to_be_bytes()), field(5, &7i32.to_be_bytes()), field(6, &[0, 7]), field(7, &[7])]
        {
            assert_eq!(from_fields(&bytes), Ok(N { n: 7u8 }));
            assert_eq!(from_fields(&bytes), Ok(N { n: 7i16 }));
            assert_eq!(from_fields(&bytes), Ok(N { n: 7u32 }));
            assert_eq!(from_fields(&bytes), Ok(N { n: 7i64 }));
            assert_eq!(from_fields(&bytes), Ok(N { n: Some(7u64) }));
        }
        assert!(from_fields::<N<u8>>(&field(5, &256i32.to_be_bytes())).is_err());
        assert!(from_fields::<N<u64>>(&field(4, &i64::MIN.to_be_bytes())).is_err());
        assert_eq!(from_fields(&field(7, &[1])), Ok(N { n: true }));
        assert_eq!(from_fields(&field(6, &[0, 7])), Ok(N { n: 7.0f64 }));
    }

    #[test]
    fn the_first_of_duplicates_wins() {
        let mut b = crate::blobmsg::Builder::new();
        b.str("text", "first").str("text", "second").null("text").str("x", "1").str("x", "2");
        let bytes = b.finish().unwrap();
        assert_eq!(from_fields::<Args>(&bytes).unwrap().text.as_deref(), Some("first"));
        let map: BTreeMap<String, String> = from_fields(&bytes[..bytes.len()]).unwrap_or_default();
        assert_eq!(map.get("x").map(String::as_str), Some("1"));
    }

    #[test]
    fn text_borrows_and_must_be_utf8() {
        #[derive(Deserialize)]
        struct B<'a> {
            s: &'a str,
        }
        let bytes = b"\x83\0\0\x0a\0\x01s\0x\0\0\0";
        assert_eq!(from_fields::<B<'_>>(bytes).unwrap().s, "x");
        let bytes = b"\x83\0\0\x0a\0\x01s\0\xe9\0\0\0";
        assert_eq!(from_fields::<B<'_>>(bytes).err().unwrap().to_string(), "s: is not UTF-8 text");
        // An unknown field's bytes are nobody's business, nor is its name.
        assert!(from_fields::<Args>(bytes).is_ok());
        assert!(from_fields::<Args>(b"\x83\0\0\x0a\0\x01\xe9\0x\0\0\0").is_ok());
    }

    #[test]
    fn a_visitor_may_take_text_and_number() {
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(untagged)]
        enum Size {
            Bytes(u64),
            Text(String),
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct A {
            size: Size,
        }
        let a: A = from_fields(&to_fields(&json!({"size": 7})).unwrap()).unwrap();
        assert_eq!(a.size, Size::Bytes(7));
        let a: A = from_fields(&to_fields(&json!({"size": "7M"})).unwrap()).unwrap();
        assert_eq!(a.size, Size::Text("7M".into()));
    }

    #[test]
    fn no_arguments_accept_any() {
        assert_eq!(from_fields::<()>(&[]), Ok(()));
        assert_eq!(from_fields::<()>(&to_fields(&json!({"ubus_rpc_session": "x"})).unwrap()), Ok(()));
    }

    #[test]
    fn nesting_ends_somewhere() {
        #[derive(Debug, Deserialize)]
        struct Nest {
            #[serde(default, rename = "inner")]
            _inner: Vec<Nest>,
        }
        let table = |depth| Nest::deserialize(De { value: Value::Table(Fields::new(&[])), depth });
        let array = |depth| Vec::<Nest>::deserialize(De { value: Value::Array(Fields::new(&[])), depth });
        assert!(table(MAX_DEPTH).is_ok() && array(MAX_DEPTH).is_ok());
        assert!(table(MAX_DEPTH + 1).is_err() && array(MAX_DEPTH + 1).is_err());
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        assert_eq!(
            from_fields::<Args>(&[0x83, 0, 0, 9]).unwrap_err().to_string(),
            "an attribute's length does not fit"
        );
    }
}
