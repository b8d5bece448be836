//! What a method takes, found out from its argument type.
//!
//! A method's published signature, the check of its arguments and its documentation then have one source, without a
//! macro of ours: the type's own `Deserialize` is run against a recorder, once per field. Nothing is built, so types
//! that refuse empty values are no obstacle.

use crate::blob;
use crate::blobmsg::{Fields, Iter, Type, Value};
use crate::de::{De, Input};
use crate::error::Error;
use serde::de::Expected;
use serde::Deserialize;
use std::cell::Cell;

/// One argument of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// As in the call's table.
    pub name: String,
    /// [`Type::Unspec`] when anything goes.
    pub ty: Type,
}

/// The arguments that `T`, a struct, reads from a call. `()` and types other than structs have none.
///
/// - Integers of every width are published as INT32: that is how JSON's arrive, and `ubus -v list` prints the other
///   widths as unknown. Every width is accepted all the same.
/// - A type that asks for no particular value (`deserialize_any`) is published as STRING when what it says it
///   expects has the word "string" in it, and as [`Type::Unspec`] otherwise.
/// - Fields behind `#[serde(flatten)]` cannot be seen, nor can those beside it.
pub fn arguments<'de, T: Deserialize<'de>>() -> Vec<Argument> {
    let probe = Probe { asked: Cell::new(None), known: Cell::new(&[]), found: Cell::new(Type::Unspec) };
    let run = || {
        probe.found.set(Type::Unspec);
        // Always an error: the probe stops the deserialization as soon as it knows.
        drop(T::deserialize(De { input: Input::Probe(&probe), depth: 0 }));
    };
    run();
    let known = probe.known.get();
    let argument = |(index, name): (usize, &&'static str)| {
        probe.asked.set(Some(Asked::Struct(index)));
        run();
        Argument { name: (*name).to_owned(), ty: probe.found.get() }
    };
    known.iter().enumerate().map(argument).collect()
}

/// What a type is being asked, and what it said.
pub(crate) struct Probe {
    asked: Cell<Option<Asked>>,
    known: Cell<&'static [&'static str]>,
    found: Cell<Type>,
}

#[derive(Clone, Copy)]
enum Asked {
    /// The field of this index, once the struct is met.
    Struct(usize),
    /// The value now offered.
    Value,
}

impl Probe {
    /// A struct is met, of these fields: gives the one to offer it, or the error to stop with.
    pub(crate) fn enter_struct(&self, known: &'static [&'static str]) -> Result<&'static str, Error> {
        match self.asked.get() {
            None => {
                self.known.set(known);
                Err(stop())
            }
            Some(Asked::Struct(index)) => {
                self.asked.set(Some(Asked::Value));
                known.get(index).copied().ok_or_else(stop)
            }
            Some(Asked::Value) => Err(self.saw(Type::Table)),
        }
    }

    pub(crate) fn saw(&self, ty: Type) -> Error {
        self.found.set(ty);
        stop()
    }

    pub(crate) fn saw_any(&self, visitor: &dyn Expected) -> Error {
        let text = visitor.to_string().contains("string");
        self.saw(if text { Type::String } else { Type::Unspec })
    }
}

fn stop() -> Error {
    Error::new(String::new())
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
    use serde::de::{Deserializer, IgnoredAny, Visitor};
    use std::collections::BTreeMap;

    fn check<T: for<'de> Deserialize<'de>>(expected: &[(&str, Type)]) {
        let found = arguments::<T>();
        let found: Vec<_> = found.iter().map(|a| (a.name.as_str(), a.ty)).collect();
        assert_eq!(found, expected);
    }

    #[derive(Deserialize)]
    struct Net {
        name: String,
    }

    #[derive(Deserialize)]
    enum Mode {
        Fast,
    }

    /// Refuses every empty value, as a validated name does.
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Picky(String);

    impl TryFrom<String> for Picky {
        type Error = &'static str;

        fn try_from(_: String) -> Result<Self, &'static str> {
            Err("never")
        }
    }

    struct Size;

    impl<'de> Deserialize<'de> for Size {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct V;
            impl Visitor<'_> for V {
                type Value = Size;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a number of bytes or a string such as 512M")
                }
            }
            d.deserialize_any(V)
        }
    }

    #[test]
    fn of_every_kind() {
        #[derive(Deserialize)]
        struct Create {
            name: Picky,
            #[serde(default)]
            template: Option<String>,
            memory: Option<u64>,
            size: Size,
            cpus: u8,
            rate: f32,
            #[serde(rename = "auto-start")]
            autostart: bool,
            nets: Vec<Net>,
            net: Option<Net>,
            pair: (u8, u8),
            env: BTreeMap<String, String>,
            mode: Mode,
            letter: char,
            any: IgnoredAny,
            nothing: (),
        }
        use Type::{Array, Bool, Double, Int32, Table, Unspec};
        check::<Create>(&[
            ("name", Type::String),
            ("template", Type::String),
            ("memory", Int32),
            ("size", Type::String),
            ("cpus", Int32),
            ("rate", Double),
            ("auto-start", Bool),
            ("nets", Array),
            ("net", Table),
            ("pair", Array),
            ("env", Table),
            ("mode", Type::String),
            ("letter", Type::String),
            ("any", Unspec),
            ("nothing", Unspec),
        ]);
        #[derive(Deserialize)]
        struct Wrapped(Create);
        assert_eq!(arguments::<Wrapped>().len(), 15);
        assert_eq!(arguments::<Option<Create>>().len(), 15);
    }

    #[test]
    fn of_nothing() {
        #[derive(Deserialize)]
        struct Empty {}
        #[derive(Deserialize)]
        struct Unit;
        check::<()>(&[]);
        check::<Empty>(&[]);
        check::<Unit>(&[]);
        check::<String>(&[]);
        check::<Size>(&[]);
        check::<BTreeMap<String, String>>(&[]);
        check::<serde_json::Value>(&[]);
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
