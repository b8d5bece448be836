//! JSON, which is how people write fields, to fields; as libubox's `blobmsg_add_json_from_string` does.
//!
//! What cannot be said on the bus is refused: text with a NUL inside, integers of 64 bits that are not signed, nesting
//! beyond 32, more than 1 MiB. A name may come twice in an object; readers of fields take the first.
//!
//! For the other way there is nothing here: [`Fields`](crate::Fields) and [`Value`](crate::blobmsg::Value) implement
//! `Serialize`.
//!
//! ```
//! use openwrt_ubus::{json, Fields};
//!
//! let fields = json::to_fields(r#"{"name": "web", "limits": {"memory": 268435456}}"#)?;
//! let text = serde_json::to_string(&Fields::new(&fields))?;
//! assert_eq!(text, r#"{"name":"web","limits":{"memory":268435456}}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::blobmsg::{Builder, Type};
use crate::error::Error;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads the object `text` as a bare run of fields.
///
/// # Errors
/// It is no JSON, no object, or cannot be said on the bus; tells the line and the column.
pub fn to_fields(text: &str) -> Result<Vec<u8>, Error> {
    let mut fields = Builder::new();
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = parser.deserialize_map(Object { fields: &mut fields }).and_then(|()| parser.end());
    read.map_err(|error| Error::new(error.to_string()))?;
    Ok(fields.finish()?)
}

/// The object at the top, which has no name and no header.
struct Object<'a> {
    fields: &'a mut Builder,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            members.next_value_seed(Member { fields: self.fields, name: &name })?;
        }
        Ok(())
    }
}

/// A value that becomes the field `name`.
struct Member<'a> {
    fields: &'a mut Builder,
    name: &'a str,
}

/// Asked behind each value, so that the parser tells where the wrong one is.
fn accepted<E: de::Error>(fields: &Builder) -> Result<(), E> {
    fields.error().map_or(Ok(()), |error| Err(E::custom(error)))
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        accepted(self.fields.null(self.name))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        accepted(self.fields.bool(self.name, value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        accepted(self.fields.int(self.name, value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        // No double instead: it would be another number.
        let value = i64::try_from(value);
        self.visit_i64(value.map_err(|_| E::custom("a number above 2^63 - 1 cannot be sent over ubus"))?)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        accepted(self.fields.double(self.name, value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        accepted(self.fields.str(self.name, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let start = self.fields.open(Type::Array, self.name);
        // Asked at once: it ends the nesting.
        accepted(self.fields)?;
        while elements.next_element_seed(Member { fields: self.fields, name: "" })?.is_some() {}
        self.fields.close(start);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        let start = self.fields.open(Type::Table, self.name);
        accepted(self.fields)?;
        Object { fields: self.fields }.visit_map(members)?;
        self.fields.close(start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobmsg::Value;
    use crate::Fields;

    fn error(text: &str) -> String {
        to_fields(text).unwrap_err().to_string()
    }

    /// What serde_json makes of `text`, by way of our own fields.
    fn expected(text: &str) -> Vec<u8> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        crate::to_fields(&value).unwrap()
    }

    #[test]
    fn reads_what_serde_json_reads_and_comes_back() {
        for text in [
            "{}",
            " {\t\"a\" :\r\n null } \n",
            r#"{"a":true,"b":false,"c":[],"d":{},"e":[[],{}],"f":[1,[2,[3]]]}"#,
            r#"{"":"","a":"é☃😀","b":"\"\\\/\b\f\n\r\t\u00e9\u2603\ud83d\ude00\u001f"}"#,
            r#"{"a":0,"b":-1,"c":2147483647,"d":2147483648,"e":-2147483648,"f":-2147483649}"#,
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
            r#"{"a":0.5,"b":-0.25,"c":1e3,"d":1E+3,"e":1.5e-3,"f":0.1,"g":123456.789,"h":1e22,"i":0.0,"j":-0.0}"#,
            r#"{"a":[{"b":[{"c":"d"}]}]}"#,
        ] {
            let fields = to_fields(text).unwrap();
            assert_eq!(fields, expected(text), "{text}");
            let written = serde_json::to_string_pretty(&Fields::new(&fields)).unwrap();
            assert_eq!(to_fields(&written).unwrap(), fields, "{written}");
        }
    }

    #[test]
    fn members_keep_their_order_and_may_come_twice() {
        let fields = to_fields(r#"{"b":1,"a":2,"b":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&Fields::new(&fields)).unwrap(), r#"{"b":1,"a":2,"b":3}"#);
        assert_eq!(Fields::new(&fields).get("b").and_then(|b| b.as_i64()), Some(1));
    }

    #[test]
    fn errors_tell_where() {
        for (text, wrong) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[1]", "invalid type: sequence, expected an object"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("{\"a\":\n  tru}", "expected ident at line 2 column 6"),
            ("{\"a\":\"\\ud800x\"}", "unexpected end of hex escape"),
            ("{\"a\":18446744073709551615}", "a number above 2^63 - 1 cannot be sent over ubus"),
            ("{\"a\":1e999}", "number out of range"),
            ("{\"a\":[\n1,\"\\u0000\"]}", "text with a NUL byte inside cannot be sent over ubus at line 2"),
            ("{\"\\u0000\":1}", "text with a NUL byte inside cannot be sent over ubus"),
        ] {
            assert!(error(text).starts_with(wrong), "{text}: {}", error(text));
        }
    }

    #[test]
    fn hostile_sizes() {
        let deep = |depth| ["{\"a\":".repeat(depth), "1".into(), "}".repeat(depth)].concat();
        assert_eq!(to_fields(&deep(33)).unwrap(), expected(&deep(33)));
        assert!(error(&deep(34)).starts_with("the data is nested too deeply"));
        assert!(error(&"{\"a\":".repeat(100_000)).starts_with("the data is nested too deeply"));
        assert!(
            error(&["{\"a\":", &"[".repeat(100_000)].concat()).starts_with("the data is nested too deeply")
        );
        let long = ["{\"a\":\"", &"x".repeat(1 << 20), "\"}"].concat();
        assert!(error(&long).starts_with("the message is longer"));
        let zeros = "0".repeat(100_000);
        for one in [["1", &zeros, "e-100000"].concat(), ["0.", &zeros, "1e+100001"].concat()] {
            assert_eq!(to_fields(&["{\"a\":", &one, "}"].concat()).unwrap(), expected("{\"a\":1.0}"));
        }
        assert_eq!(to_fields("{\"a\":1e-99999999999999999999}").unwrap(), expected("{\"a\":0.0}"));
    }

    #[test]
    fn doubles_are_read_as_the_standard_library_reads_them() {
        // A generator of the test's own, so that a failure comes again.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..2_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            if value.is_finite() {
                // All digits there could be, and the fewest that will do.
                for text in [format!("{value:.17e}"), format!("{value:e}")] {
                    let fields = to_fields(&["{\"a\":", &text, "}"].concat()).unwrap();
                    let Some(Value::Double(read)) = Fields::new(&fields).get("a") else { panic!("{text}") };
                    assert_eq!(read.to_bits(), value.to_bits(), "{text}");
                    let written = serde_json::to_string(&Fields::new(&fields)).unwrap();
                    assert_eq!(to_fields(&written).unwrap(), fields, "{written}");
                }
            }
        }
    }
}
