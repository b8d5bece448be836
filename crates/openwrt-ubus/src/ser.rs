//! From Rust values to fields.

use crate::blobmsg::{Builder, Type};
use crate::error::Error;
use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct,
    Serializer,
};

/// Writes `value` as a bare run of fields: a call's arguments or a reply's DATA.
///
/// The value must be a struct, a map or nothing (`()`, `None`). `None` is left out of structs and maps; `()` (JSON's
/// null) becomes UNSPEC. Integers become INT32 when the value fits and INT64 otherwise, as JSON's do on the bus. Any
/// other serializable value works too, such as a `serde_json::Value` or another reply's [`Fields`](crate::Fields).
///
/// # Errors
/// For an integer above `i64::MAX`, text with a NUL inside, a map's key that is not text or an integer, an enum
/// variant with data, bytes, nesting beyond 32, and more than 1 MiB.
pub fn to_fields<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    to_chosen_fields(value, usize::MAX, Vec::new())
}

/// As [`to_fields`], but a table that lies `depth` arrays and tables deep gets only those of its fields that are `named`:
/// at 2, the entries of a list in a reply.
///
/// # Errors
/// As [`to_fields`].
pub fn to_chosen_fields<T: Serialize + ?Sized>(
    value: &T,
    depth: usize,
    named: Vec<String>,
) -> Result<Vec<u8>, Error> {
    let mut out = Out::new(Builder::choosing(depth, named));
    let written = value.serialize(Ser { out: &mut out });
    out.finish(written)
}

/// What is being written, and where.
///
/// The first error is kept here and nothing is written any more, so that no struct's code, which serde derives, has to
/// look for one behind each of its fields.
struct Out {
    fields: Builder,
    wrong: Option<Error>,
    /// Where the field or element begins whose value comes next; `None`: the bare run of fields itself.
    place: Option<usize>,
    /// The arrays and tables that are open.
    open: Vec<Open>,
}

struct Open {
    /// Where it begins; `None` for the bare run of fields.
    start: Option<usize>,
    /// How many elements it has; `None`: its fields have names.
    elements: Option<usize>,
}

impl Out {
    fn new(fields: Builder) -> Self {
        Self { fields, wrong: None, place: None, open: Vec::new() }
    }

    fn finish(mut self, written: Result<(), Error>) -> Result<Vec<u8>, Error> {
        self.keep(written.err());
        match self.wrong {
            None => Ok(self.fields.finish()?),
            Some(wrong) => Err(wrong),
        }
    }

    fn keep(&mut self, wrong: Option<Error>) {
        if self.wrong.is_none() {
            self.wrong = wrong.or_else(|| self.fields.error().map(Error::from));
        }
    }

    /// Begins the field or the element called `name`. No: it is not wanted.
    fn enter(&mut self, name: &str) -> bool {
        if self.wrong.is_some() || !(self.in_array() || self.fields.wants(name)) {
            return false;
        }
        self.place = Some(self.fields.header(Type::Unspec, name));
        true
    }

    /// Says where the error is, if there is one.
    fn leave(&mut self, name: &str, written: Result<(), Error>) {
        self.keep(written.err());
        let elements = self.open.last_mut().and_then(|open| open.elements.as_mut());
        let index = elements.map(|elements| {
            *elements += 1;
            *elements - 1
        });
        self.wrong = self.wrong.take().map(|wrong| match index {
            Some(index) => wrong.in_element(index),
            None => wrong.in_field(name),
        });
    }

    fn scalar(&mut self, ty: Type, parts: &[&[u8]]) {
        match self.place.take() {
            Some(start) => self.fields.value(start, ty, parts),
            None => self.keep(Some(no_table())),
        }
    }

    fn nest(&mut self, ty: Type) {
        let start = self.place.take();
        match start {
            Some(start) => self.fields.descend(start, ty),
            None if ty != Type::Table => self.keep(Some(no_table())),
            None => {}
        }
        self.open.push(Open { start, elements: (ty == Type::Array).then_some(0) });
    }

    fn close(&mut self) {
        if let Some(Open { start: Some(start), .. }) = self.open.pop() {
            self.fields.close(start);
        }
    }

    /// A field that is absent is left out; an element holds its place.
    fn none(&mut self) {
        if self.in_array() {
            self.scalar(Type::Unspec, &[]);
        } else if let Some(start) = self.place.take() {
            self.fields.retract(start);
        }
    }

    fn in_array(&self) -> bool {
        matches!(self.open.last(), Some(Open { elements: Some(_), .. }))
    }
}

fn no_table() -> Error {
    Error::new("expected a table at the top of a message")
}

/// One value.
struct Ser<'a> {
    out: &'a mut Out,
}

impl<'a> Ser<'a> {
    fn nest(self, ty: Type) -> Nest<'a> {
        self.out.nest(ty);
        Nest { out: self.out }
    }
}

/// Numbers that fit into an `i64`.
macro_rules! integers {
    ($($method:ident($ty:ty))*) => {
        $(fn $method(self, v: $ty) -> Result<(), Error> {
            self.serialize_i64(v.into())
        })*
    };
}

impl<'a> Serializer for Ser<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Nest<'a>;
    type SerializeTuple = Nest<'a>;
    type SerializeTupleStruct = Nest<'a>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Nest<'a>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_bool(self, v: bool) -> Result<(), Error> {
        self.out.scalar(Type::Bool, &[&[v.into()]]);
        Ok(())
    }

    integers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
    }

    fn serialize_i64(self, v: i64) -> Result<(), Error> {
        match i32::try_from(v) {
            Ok(v) => self.out.scalar(Type::Int32, &[&v.to_be_bytes()]),
            Err(_) => self.out.scalar(Type::Int64, &[&v.to_be_bytes()]),
        }
        Ok(())
    }

    fn serialize_u64(self, v: u64) -> Result<(), Error> {
        match i64::try_from(v) {
            Ok(v) => self.serialize_i64(v),
            Err(_) => Err(Error::new("a number above 2^63 - 1 cannot be sent over ubus")),
        }
    }

    fn serialize_f32(self, v: f32) -> Result<(), Error> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<(), Error> {
        self.out.scalar(Type::Double, &[&v.to_be_bytes()]);
        Ok(())
    }

    fn serialize_char(self, v: char) -> Result<(), Error> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), Error> {
        self.out.scalar(Type::String, &[v.as_bytes(), &[0]]);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(Error::new("bytes that are not text cannot be sent over ubus"))
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.out.none();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        if self.out.place.is_some() {
            self.out.scalar(Type::Unspec, &[]);
        }
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(data_variant())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nest<'a>, Error> {
        Ok(self.nest(Type::Array))
    }

    fn serialize_tuple(self, _: usize) -> Result<Nest<'a>, Error> {
        Ok(self.nest(Type::Array))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nest<'a>, Error> {
        Ok(self.nest(Type::Array))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Error>, Error> {
        Err(data_variant())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Error> {
        Ok(Entries { nest: self.nest(Type::Table), key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nest<'a>, Error> {
        Ok(self.nest(Type::Table))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Error>, Error> {
        Err(data_variant())
    }
}

fn data_variant() -> Error {
    Error::new("an enum variant with data cannot be sent over ubus")
}

/// An array or a table that is open.
struct Nest<'a> {
    out: &'a mut Out,
}

impl Nest<'_> {
    #[inline(never)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.out.enter(name) {
            let written = value.serialize(Ser { out: self.out });
            self.out.leave(name, written);
        }
    }

    fn close(self) {
        self.out.close();
    }
}

// Inlined, so that the callers see that these never fail.
macro_rules! elements {
    ($($trait:ident $method:ident)*) => { $(
        impl $trait for Nest<'_> {
            type Ok = ();
            type Error = Error;

            #[inline(always)]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.field("", value);
                Ok(())
            }

            #[inline(always)]
            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )* };
}

elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
}

impl SerializeStruct for Nest<'_> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.field(key, value);
        Ok(())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

/// A map, whose keys are values like others.
struct Entries<'a> {
    nest: Nest<'a>,
    key: String,
}

impl Entries<'_> {
    fn name<T: Serialize + ?Sized>(&mut self, key: &T) {
        match key.serialize(Key) {
            Ok(key) => self.key = key,
            Err(wrong) => self.nest.out.keep(Some(wrong)),
        }
    }

    #[inline(never)]
    fn entry<K: Serialize + ?Sized, T: Serialize + ?Sized>(&mut self, key: &K, value: &T) {
        self.name(key);
        self.value(value);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let key = std::mem::take(&mut self.key);
        self.nest.field(&key, value);
    }
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.name(key);
        Ok(())
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_entry<K: Serialize + ?Sized, T: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &T,
    ) -> Result<(), Error> {
        self.entry(key, value);
        Ok(())
    }

    #[inline(always)]
    fn end(self) -> Result<(), Error> {
        self.nest.close();
        Ok(())
    }
}

/// Turns a map's key into a field's name.
struct Key;

fn bad_key<T>() -> Result<T, Error> {
    Err(Error::new("a map's key must be text or an integer"))
}

macro_rules! integer_keys {
    ($($method:ident $ty:ty;)*) => { $(
        fn $method(self, v: $ty) -> Result<String, Error> {
            Ok(v.to_string())
        }
    )* };
}

macro_rules! bad_keys {
    ($($method:ident $ty:ty;)*) => { $(
        fn $method(self, _: $ty) -> Result<String, Error> {
            bad_key()
        }
    )* };
}

impl Serializer for Key {
    type Ok = String;
    type Error = Error;
    type SerializeSeq = Impossible<String, Error>;
    type SerializeTuple = Impossible<String, Error>;
    type SerializeTupleStruct = Impossible<String, Error>;
    type SerializeTupleVariant = Impossible<String, Error>;
    type SerializeMap = Impossible<String, Error>;
    type SerializeStruct = Impossible<String, Error>;
    type SerializeStructVariant = Impossible<String, Error>;

    integer_keys! {
        serialize_i8 i8; serialize_i16 i16; serialize_i32 i32; serialize_i64 i64;
        serialize_u8 u8; serialize_u16 u16; serialize_u32 u32; serialize_u64 u64; serialize_char char;
    }
    bad_keys! { serialize_bool bool; serialize_f32 f32; serialize_f64 f64; serialize_bytes &[u8]; }

    fn serialize_str(self, v: &str) -> Result<String, Error> {
        Ok(v.to_owned())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<String, Error> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<String, Error> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<String, Error> {
        bad_key()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<String, Error> {
        bad_key()
    }

    fn serialize_unit(self) -> Result<String, Error> {
        bad_key()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<String, Error> {
        bad_key()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, Error> {
        bad_key()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        bad_key()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        bad_key()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        bad_key()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        bad_key()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        bad_key()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
        bad_key()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        bad_key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fields;
    use serde::Serialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Reply<'a> {
        name: &'a str,
        size: Option<u64>,
        list: Vec<Option<i32>>,
        mode: Mode,
        nothing: (),
    }

    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Data(u8),
    }

    #[test]
    fn golden() {
        let bytes = to_fields(&json!({"ok": 1})).unwrap();
        assert_eq!(bytes, b"\x85\0\0\x10\0\x02ok\0\0\0\0\0\0\0\x01");
        let bytes = to_fields(&json!({"s": "x"})).unwrap();
        assert_eq!(bytes, b"\x83\0\0\x0a\0\x01s\0x\0\0\0");
    }

    #[test]
    fn none_is_left_out_but_holds_its_place_in_an_array() {
        let reply = Reply { name: "n", size: None, list: vec![Some(1), None], mode: Mode::Fast, nothing: () };
        let bytes = to_fields(&reply).unwrap();
        let json = serde_json::to_string(&Fields::new(&bytes)).unwrap();
        assert_eq!(json, r#"{"name":"n","list":[1,null],"mode":"fast","nothing":null}"#);
    }

    #[test]
    fn what_was_not_chosen_is_left_out_at_its_depth_alone() {
        let value = json!({"list": [{"a": 1, "b": {"a": 2, "c": 3}}, {"c": 4}], "other": {"c": 5}, "c": 6});
        let chosen = |depth, names: &[&str]| {
            let named = names.iter().map(|name| name.to_string()).collect();
            let bytes = to_chosen_fields(&value, depth, named).unwrap();
            serde_json::to_string(&Fields::new(&bytes)).unwrap()
        };
        assert_eq!(chosen(2, &["b", "nobody"]), r#"{"c":6,"list":[{"b":{"a":2,"c":3}},{}],"other":{"c":5}}"#);
        assert_eq!(chosen(0, &["c"]), r#"{"c":6}"#);
        assert_eq!(chosen(1, &["x"]), r#"{"c":6,"list":[{"a":1,"b":{"a":2,"c":3}},{"c":4}],"other":{}}"#);
        assert_eq!(chosen(usize::MAX, &[]), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn integers_go_by_value() {
        let types = |json| {
            let bytes = to_fields(&json).unwrap();
            Fields::new(&bytes).iter().map(|f| format!("{:?}", f.unwrap().value)).collect::<Vec<_>>()
        };
        let json = json!({"a": 2147483647, "b": 2147483648u32, "c": -2147483648i64, "d": -2147483649i64});
        assert_eq!(
            types(json),
            ["Int32(2147483647)", "Int64(2147483648)", "Int32(-2147483648)", "Int64(-2147483649)"]
        );
    }

    #[test]
    fn refusals() {
        let error = |result: Result<Vec<u8>, Error>| result.unwrap_err().to_string();
        assert_eq!(
            error(to_fields(&json!({"a": [u64::MAX]}))),
            "a[0]: a number above 2^63 - 1 cannot be sent over ubus"
        );
        assert_eq!(error(to_fields(&5)), "expected a table at the top of a message");
        assert_eq!(error(to_fields(&[5])), "expected a table at the top of a message");
        assert_eq!(
            error(to_fields(&json!({"a": {"b": "x\0y"}}))),
            "a.b: text with a NUL byte inside cannot be sent over ubus"
        );
        assert_eq!(
            error(to_fields(&BTreeMap::from([("m", Mode::Data(1))]))),
            "m: an enum variant with data cannot be sent over ubus"
        );
        assert_eq!(
            error(to_fields(&json!({"a": "x".repeat(1 << 20)}))),
            "a: the message is longer than ubus allows (1 MiB)"
        );
        assert!(to_fields(&BTreeMap::from([(true, 1)])).is_err());
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!({ "d": deep });
        }
        assert!(error(to_fields(&deep)).ends_with("nested too deeply to be sent over ubus"));
    }

    #[test]
    fn tops() {
        assert!(to_fields(&()).unwrap().is_empty());
        assert!(to_fields(&None::<i32>).unwrap().is_empty());
        assert!(to_fields(&json!({})).unwrap().is_empty());
        assert_eq!(to_fields(&BTreeMap::from([(7, 1)])).unwrap(), to_fields(&json!({"7": 1})).unwrap());
    }

    #[test]
    fn any_json_survives() {
        let json = json!({"s": "é☃", "n": [1, -5_000_000_000i64, 0.25, true, null], "t": {"": {}, "e": []}});
        let bytes = to_fields(&json).unwrap();
        assert_eq!(serde_json::to_value(Fields::new(&bytes)).unwrap(), json);
        assert_eq!(crate::from_fields::<serde_json::Value>(&bytes).unwrap(), json);
        assert_eq!(to_fields(&Fields::new(&bytes)).unwrap(), bytes);
    }
}
