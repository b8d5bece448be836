//! What a method takes, as it is published: made of the list of its argument type's fields
//! ([`tables!`](crate::tables)), so that the signature, the check of the arguments and their documentation have one
//! source.

use crate::blob;
use crate::blobmsg::{Fields, Iter, Type, Value};
use crate::read::{Field, FromTable};

/// One argument of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// As in the call's table.
    pub name: String,
    /// [`Type::Unspec`] when anything goes.
    pub ty: Type,
}

/// The arguments that `T` reads from a call. `()` has none.
pub fn arguments<T: FromTable>() -> Vec<Argument> {
    of_fields(T::FIELDS)
}

pub(crate) fn of_fields(fields: &[Field]) -> Vec<Argument> {
    fields.iter().map(|field| Argument { name: field.name.to_owned(), ty: field.ty }).collect()
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
    use crate::read::FromValue;
    use crate::tables;
    use crate::Error;
    use std::net::Ipv4Addr;

    /// Published as it says itself.
    struct Size;

    impl FromValue for Size {
        const TYPE: Type = Type::Unspec;

        fn blank() -> Self {
            Self
        }

        fn from_value(_: Value<'_>, _: usize) -> Result<Self, Error> {
            Ok(Self)
        }
    }

    #[test]
    fn of_every_kind() {
        tables! {
            struct Net {
                name: String,
            }
            struct Create {
                name: String,
                template: Option<String>,
                memory: Option<u64>,
                size: Size,
                cpus: u8 = 1,
                autostart as "auto-start": bool,
                nets: Vec<Net>,
                net: Option<Net>,
                gateway: Ipv4Addr,
            }
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
            ("nets", Type::Array),
            ("net", Type::Table),
            ("gateway", Type::String),
        ];
        assert_eq!(found, expected);
        assert_eq!(arguments::<()>(), []);
    }

    #[test]
    fn golden_bytes() {
        tables! {
            struct M1 {
                s: String,
                n: i64,
            }
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
