//! What a method takes, as it is published: derived from the `Deserialize` of its argument type, so that the signature,
//! the check of the arguments and their documentation have one source.

use crate::blob;
use crate::blobmsg::{Fields, Iter, Type, Value};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{forward_to_deserialize_any, Deserialize};
use std::fmt;

/// One argument of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// As in the call's table.
    pub name: String,
    /// [`Type::Unspec`] when anything goes.
    pub ty: Type,
}

/// The arguments that `T` reads from a call: the fields of a struct, in their order. `()` has none.
///
/// `T`'s own `Deserialize` is run once for each field, with a deserializer that writes down what is asked for and then
/// gives up. So a type with a `Deserialize` written by hand is published as what it asks for first: one that asks for
/// text and takes numbers as well is published as a string; one that asks for anything, as [`Type::Unspec`].
/// Integers of every width are published as INT32: that is how JSON's arrive, and `ubus -v list` has no name for the
/// others.
pub fn arguments<'de, T: Deserialize<'de>>() -> Vec<Argument> {
    let mut found = Vec::new();
    loop {
        let mut argument = None;
        // Always an error: the deserializer gives up when it knows enough.
        let _ = T::deserialize(AskedTable { index: found.len(), argument: &mut argument });
        match argument {
            Some(argument) => found.push(argument),
            None => return found,
        }
    }
}

/// The end of a try, successful or not.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing to read")
    }
}

impl std::error::Error for Enough {}

impl de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// In the place of a call's table: offers the struct one of its fields.
struct AskedTable<'a> {
    /// The field's place in the struct.
    index: usize,
    /// Stays `None` when there are not so many.
    argument: &'a mut Option<Argument>,
}

impl<'de> Deserializer<'de> for AskedTable<'_> {
    type Error = Enough;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        let name = *fields.get(self.index).ok_or(Enough)?;
        let argument = self.argument.insert(Argument { name: name.to_owned(), ty: Type::Unspec });
        visitor.visit_map(OneField { name: Some(name), ty: &mut argument.ty })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        visitor.visit_newtype_struct(self)
    }

    /// Whatever else takes a table names no fields.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        Err(Enough)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct OneField<'a> {
    name: Option<&'static str>,
    ty: &'a mut Type,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Enough;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Enough> {
        let name = self.name.take().ok_or(Enough)?;
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Enough> {
        seed.deserialize(AskedValue { ty: self.ty })
    }
}

/// In the place of a field's value: writes down its type.
struct AskedValue<'a> {
    ty: &'a mut Type,
}

macro_rules! asked {
    ($($ty:ident: $($method:ident($($argument:ty),*))*;)*) => { $($(
        fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, Enough> {
            *self.ty = Type::$ty;
            Err(Enough)
        }
    )*)* };
}

impl<'de> Deserializer<'de> for AskedValue<'_> {
    type Error = Enough;

    asked! {
        Unspec: deserialize_any() deserialize_ignored_any() deserialize_unit() deserialize_unit_struct(&'static str);
        Array: deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize);
        Table: deserialize_map() deserialize_struct(&'static str, &'static [&'static str]);
        String: deserialize_str() deserialize_string() deserialize_char() deserialize_identifier();
        String: deserialize_bytes() deserialize_byte_buf();
        String: deserialize_enum(&'static str, &'static [&'static str]);
        Int32: deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64();
        Int32: deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64();
        Bool: deserialize_bool();
        Double: deserialize_f32() deserialize_f64();
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        visitor.visit_newtype_struct(self)
    }
}

/// Writes a method's signature: a table named like the method, of one INT32 per argument.
pub(crate) fn put_method(out: &mut Vec<u8>, name: &str, arguments: &[Argument]) {
    put_named(out, Type::Table, name, |out| {
        for argument in arguments {
            put_named(out, Type::Int32, &argument.name, |out| {
                out.extend_from_slice(&u32::from(argument.ty as u8).to_be_bytes());
            });
        }
    });
}

fn put_named(out: &mut Vec<u8>, ty: Type, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    let start = blob::open(out, ty as u8, true);
    let name = name.as_bytes();
    let name = &name[..name.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name);
    out.push(0);
    let end = start + blob::HEADER_LEN + blob::padded(2 + name.len() + 1);
    out.resize(end, 0);
    value(out);
    blob::close(out, start);
}

/// The methods in a SIGNATURE attribute, as a lookup returns it.
#[derive(Clone, Copy, Debug)]
pub struct Methods<'a> {
    fields: Iter<'a>,
}

impl<'a> Methods<'a> {
    /// Reads the attribute's data.
    pub fn new(signature: &'a [u8]) -> Self {
        Self { fields: Fields::new(signature).iter() }
    }
}

/// Gives each method's name and arguments; an argument whose type number is unknown is told as [`Type::Unspec`].
/// What is malformed is left out.
impl<'a> Iterator for Methods<'a> {
    type Item = (&'a str, Vec<Argument>);

    fn next(&mut self) -> Option<Self::Item> {
        for field in self.fields.by_ref().map_while(Result::ok) {
            let Value::Table(arguments) = field.value else {
                continue;
            };
            let Ok(name) = std::str::from_utf8(field.name) else {
                continue;
            };
            let argument = |field: crate::blobmsg::Field<'_>| Argument {
                name: String::from_utf8_lossy(field.name).into_owned(),
                ty: field
                    .value
                    .as_i64()
                    .and_then(|ty| Type::try_from(u8::try_from(ty).ok()?).ok())
                    .unwrap_or(Type::Unspec),
            };
            return Some((name, arguments.iter().map_while(Result::ok).map(argument).collect()));
        }
        None
    }
}

#[cfg(test)]
#[allow(dead_code)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    /// Published as what it asks for.
    struct Size;

    impl<'de> Deserialize<'de> for Size {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(de::IgnoredAny).map(|_| Self)
        }
    }

    /// Never satisfied with what a try could offer it.
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Name;

    impl TryFrom<String> for Name {
        type Error = &'static str;

        fn try_from(_: String) -> Result<Self, &'static str> {
            Err("no")
        }
    }

    #[derive(Deserialize)]
    enum Mode {
        Fast,
        Slow,
    }

    #[derive(Deserialize)]
    struct Bytes(u64);

    #[test]
    fn of_every_kind() {
        #[derive(Deserialize)]
        struct Net {
            name: String,
        }
        fn one() -> u8 {
            1
        }
        #[derive(Deserialize)]
        struct Create<'a> {
            name: Name,
            template: Option<&'a str>,
            memory: Option<Bytes>,
            size: Size,
            #[serde(default = "one")]
            cpus: u8,
            #[serde(rename = "auto-start")]
            autostart: bool,
            #[serde(skip)]
            apart: u8,
            mode: Option<Mode>,
            rate: f64,
            nets: Vec<Net>,
            net: Option<Net>,
            env: BTreeMap<String, String>,
            gateway: Ipv4Addr,
        }
        let found = arguments::<Create>();
        let found: Vec<_> = found.iter().map(|a| (a.name.as_str(), a.ty)).collect();
        let expected = [
            ("name", Type::String),
            ("template", Type::String),
            ("memory", Type::Int32),
            ("size", Type::Unspec),
            ("cpus", Type::Int32),
            ("auto-start", Type::Bool),
            ("mode", Type::String),
            ("rate", Type::Double),
            ("nets", Type::Array),
            ("net", Type::Table),
            ("env", Type::Table),
            ("gateway", Type::String),
        ];
        assert_eq!(found, expected);
        assert_eq!(arguments::<()>(), []);
    }

    #[test]
    fn golden_bytes() {
        #[derive(Deserialize)]
        struct M1 {
            s: String,
            n: i64,
        }
        let mut out = Vec::new();
        put_method(&mut out, "m1", &arguments::<M1>());
        put_method(&mut out, "m2", &[]);
        let hex = "82000024 00026d31 00000000 8500000c 00017300 00000003 8500000c 00016e00 00000005 8200000c 00026d32 00000000";
        assert_eq!(out, crate::msg::tests::hex(hex));
        let methods: Vec<_> = Methods::new(&out).collect();
        assert_eq!(methods, [("m1", arguments::<M1>()), ("m2", vec![])]);
    }
}
