//! From fields to structs without serde.
//!
//! What serde derives for a struct is 1 to 5 KB of machine code, a twentieth of a small program for thirty structs.
//! [`tables!`](crate::tables) makes a list of names and places of a struct instead, and one reader serves them all. The
//! list is also the signature that a method publishes of its arguments.

use crate::blob::{DecodeError, MAX_DEPTH};
use crate::blobmsg::{Fields, Type, Value};
use crate::error::Error;
use std::net::Ipv4Addr;

/// Reads a `T` from a bare run of fields: a call's arguments, a reply's DATA, or a file's object.
///
/// The rules are those of [`from_fields`](crate::from_fields):
/// - fields that `T` does not know are ignored;
/// - an integer of any width fits any integer type that can hold its value;
/// - for an `Option` the empty string, null and absence all mean `None`; for any other field null means absence;
/// - of fields with the same name the first one counts.
///
/// # Errors
/// Names the field and what was expected there; also when the bytes are malformed or nested deeper than
/// [`MAX_DEPTH`].
pub fn from_table<T: FromTable>(fields: &[u8]) -> Result<T, Error> {
    T::from_value(Value::Table(Fields::new(fields)), 0)
}

/// A field of a struct, as it stands in a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the table.
    pub name: &'static str,
    /// What its method's signature says.
    pub ty: Type,
    /// Whether a table without it is wrong.
    pub required: bool,
}

/// A struct that is read from a table. [`tables!`](crate::tables) makes it one.
pub trait FromTable: Sized {
    /// Its fields, in the order they are published.
    const FIELDS: &'static [Field];

    /// The struct before anything is read: defaults, and in the place of what is required [`FromValue::blank`].
    fn blank() -> Self;

    /// Where the field of this index in [`FIELDS`](Self::FIELDS) is kept.
    fn slot(&mut self, index: usize) -> Option<&mut dyn Slot>;
}

/// No arguments: any fields are ignored.
impl FromTable for () {
    const FIELDS: &'static [Field] = &[];

    fn blank() -> Self {}

    fn slot(&mut self, _: usize) -> Option<&mut dyn Slot> {
        None
    }
}

/// What a field's value can be read as.
pub trait FromValue: Sized {
    /// What a method's signature says of it. Integers of every width are published as INT32: that is how JSON's arrive,
    /// and `ubus -v list` prints the other widths as unknown.
    const TYPE: Type;
    /// Whether a table without it is wrong.
    const REQUIRED: bool = true;

    /// What stands in its place until it is read. Of what is required nobody ever sees it.
    fn blank() -> Self;

    /// Reads it. `depth` is how many tables and arrays it is in.
    ///
    /// # Errors
    /// What was expected instead.
    fn from_value(value: Value<'_>, depth: usize) -> Result<Self, Error>;
}

/// A place that takes a value of its type.
pub trait Slot {
    /// Reads `value` into it.
    ///
    /// # Errors
    /// As [`FromValue::from_value`].
    fn read(&mut self, value: Value<'_>, depth: usize) -> Result<(), Error>;
}

impl<T: FromValue> Slot for T {
    fn read(&mut self, value: Value<'_>, depth: usize) -> Result<(), Error> {
        *self = T::from_value(value, depth)?;
        Ok(())
    }
}

/// Defines structs that are read from tables: their fields are what the table may have.
///
/// A field is found by its name, or by the one behind `as`; with a value behind `=` it may be absent and is that then.
/// Other fields must be there, unless they are an `Option`.
///
/// ```
/// openwrt_ubus::tables! {
///     /// A service on the network.
///     #[derive(Debug)]
///     pub struct Service {
///         /// What it is called.
///         pub name: String,
///         /// DNS-SD type.
///         pub kind as "type": String,
///         /// Its port.
///         pub port: u16 = 80,
///         /// Words about it.
///         pub text: Option<String>,
///     }
/// }
///
/// let fields = openwrt_ubus::json::to_fields(r#"{"name": "wiki", "type": "_http._tcp"}"#)?;
/// let service: Service = openwrt_ubus::from_table(&fields)?;
/// assert_eq!((service.port, service.text), (80, None));
/// # Ok::<(), openwrt_ubus::Error>(())
/// ```
#[macro_export]
macro_rules! tables {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $table:ident {
            $(
                $(#[$field_meta:meta])*
                $field_vis:vis $field:ident $(as $name:literal)? : $ty:ty $(= $default:expr)?
            ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        $vis struct $table {
            $( $(#[$field_meta])* $field_vis $field: $ty, )*
        }

        impl $crate::read::FromTable for $table {
            const FIELDS: &'static [$crate::read::Field] = &[
                $( $crate::read::Field {
                    name: $crate::tables!(@name $field $($name)?),
                    ty: <$ty as $crate::read::FromValue>::TYPE,
                    required: $crate::tables!(@required $ty $(, $default)?),
                }, )*
            ];

            fn blank() -> Self {
                $table { $( $field: $crate::tables!(@blank $ty $(, $default)?), )* }
            }

            fn slot(&mut self, index: usize) -> Option<&mut dyn $crate::read::Slot> {
                #[allow(non_camel_case_types)]
                enum At { $( $field, )* }
                $( if index == At::$field as usize {
                    return Some(&mut self.$field);
                } )*
                None
            }
        }
    )* };
    (@name $field:ident $name:literal) => { $name };
    (@name $field:ident) => { stringify!($field) };
    (@required $ty:ty, $default:expr) => { false };
    (@required $ty:ty) => { <$ty as $crate::read::FromValue>::REQUIRED };
    (@blank $ty:ty, $default:expr) => { $default };
    (@blank $ty:ty) => { <$ty as $crate::read::FromValue>::blank() };
}

/// Defines enums that are words in tables, JSON and messages.
///
/// ```
/// openwrt_ubus::words! {
///     /// How fast.
///     #[derive(Clone, Copy, Debug, PartialEq)]
///     pub enum Mode {
///         /// As fast as can be.
///         Fast = "fast",
///         /// Slower than that.
///         VerySlow = "very-slow",
///     }
/// }
///
/// assert_eq!(Mode::VerySlow.as_str(), "very-slow");
/// assert_eq!(Mode::from_text("fast"), Some(Mode::Fast));
/// ```
#[macro_export]
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        $vis:vis enum $words:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        $vis enum $words {
            $( $(#[$variant_meta])* $variant, )*
        }

        impl $words {
            /// All of them, in their order.
            $vis const ALL: &'static [Self] = &[$( Self::$variant ),*];
            const WORDS: &'static [&'static str] = &[$( $word ),*];

            /// Its word.
            $vis fn as_str(self) -> &'static str {
                Self::WORDS[self as usize]
            }

            /// The one whose word `text` is.
            $vis fn from_text(text: &str) -> Option<Self> {
                Some(Self::ALL[Self::WORDS.iter().position(|word| *word == text)?])
            }
        }

        impl $crate::read::FromValue for $words {
            const TYPE: $crate::blobmsg::Type = $crate::blobmsg::Type::String;

            fn blank() -> Self {
                Self::ALL[0]
            }

            fn from_value(value: $crate::blobmsg::Value<'_>, _: usize) -> std::result::Result<Self, $crate::Error> {
                Ok(Self::ALL[$crate::read::word(Self::WORDS, value)?])
            }
        }

        impl $crate::serde::Serialize for $words {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )* };
}

impl<T: FromTable> FromValue for T {
    const TYPE: Type = Type::Table;

    fn blank() -> Self {
        <T as FromTable>::blank()
    }

    fn from_value(value: Value<'_>, depth: usize) -> Result<Self, Error> {
        let mut table = <T as FromTable>::blank();
        read_fields(T::FIELDS, value, depth, &mut |index, value, depth| match table.slot(index) {
            Some(slot) => slot.read(value, depth),
            None => Ok(()),
        })?;
        Ok(table)
    }
}

/// Takes the value of the known field of this index, which is in so many tables and arrays.
type Take<'a> = dyn FnMut(usize, Value<'_>, usize) -> Result<(), Error> + 'a;

fn read_fields(known: &[Field], value: Value<'_>, depth: usize, take: &mut Take<'_>) -> Result<(), Error> {
    let Value::Table(fields) = value else { return Err(expected("a table", value)) };
    let depth = deeper(depth)?;
    let mut seen = vec![false; known.len()];
    let mut taken = vec![false; known.len()];
    for field in fields.iter() {
        let field = field?;
        // A name that is not UTF-8 is one of the unknown.
        let Some(index) = known.iter().position(|known| known.name.as_bytes() == field.name) else {
            continue;
        };
        let first = !std::mem::replace(&mut seen[index], true);
        if first && !matches!(field.value, Value::Null) {
            take(index, field.value, depth).map_err(|error| error.in_field(known[index].name))?;
            taken[index] = true;
        }
    }
    match known.iter().zip(taken).find(|(known, taken)| known.required && !taken) {
        Some((missing, _)) => Err(Error::new("is missing").in_field(missing.name)),
        None => Ok(()),
    }
}

/// The depth of what is inside a value of this depth.
///
/// # Errors
/// Deeper than [`MAX_DEPTH`].
pub fn deeper(depth: usize) -> Result<usize, Error> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Depth.into());
    }
    Ok(depth + 1)
}

/// The error of a value that is not what was `expected`, such as `a table`.
pub fn expected(expected: &str, found: Value<'_>) -> Error {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Str(text) => ["the text \"", std::str::from_utf8(text).unwrap_or("?"), "\""].concat(),
        Value::Bool(v) => (v != 0).to_string(),
        Value::Double(_) => "a fraction".to_owned(),
        integer => integer.as_i64().unwrap_or_default().to_string(),
    };
    Error::unfit(expected, &found)
}

/// The text that `value` is.
///
/// # Errors
/// It is something else, or not UTF-8.
pub fn text(value: Value<'_>) -> Result<&str, Error> {
    match value {
        Value::Str(text) => std::str::from_utf8(text).map_err(|_| Error::new("is not UTF-8 text")),
        other => Err(expected("text", other)),
    }
}

/// The one of `words` whose text `value` is, by its index.
///
/// # Errors
/// It is none of them; says which there are.
pub fn word(words: &[&str], value: Value<'_>) -> Result<usize, Error> {
    let text = text(value)?;
    let found = words.iter().position(|word| *word == text);
    found.ok_or_else(|| Error::unfit(&["one of ", &words.join(", ")].concat(), &["\"", text, "\""].concat()))
}

fn integer(value: Value<'_>, range: std::ops::RangeInclusive<i64>, words: &str) -> Result<i64, Error> {
    // A byte is a boolean to everybody, but some C programs keep small numbers in it.
    match value.as_i64() {
        Some(number) if range.contains(&number) => Ok(number),
        Some(number) => Err(Error::unfit(words, &number.to_string())),
        None => Err(expected(words, value)),
    }
}

macro_rules! integers {
    ($($ty:ident $words:literal)*) => { $(
        impl FromValue for $ty {
            const TYPE: Type = Type::Int32;

            fn blank() -> Self {
                0
            }

            fn from_value(value: Value<'_>, _: usize) -> Result<Self, Error> {
                let highest = i64::try_from($ty::MAX).unwrap_or(i64::MAX);
                let lowest = i64::try_from($ty::MIN).unwrap_or(i64::MIN);
                // The range holds whatever the type does, of what a field can be.
                Ok(integer(value, lowest..=highest, $words)? as $ty)
            }
        }
    )* };
}

integers! {
    u8 "an integer from 0 to 255"
    u16 "an integer from 0 to 65535"
    u32 "an integer from 0 to 4294967295"
    u64 "a non-negative integer"
    i8 "an integer from -128 to 127"
    i16 "an integer from -32768 to 32767"
    i32 "an integer from -2147483648 to 2147483647"
    i64 "an integer"
}

impl FromValue for bool {
    const TYPE: Type = Type::Bool;

    fn blank() -> Self {
        false
    }

    fn from_value(value: Value<'_>, _: usize) -> Result<Self, Error> {
        match value {
            Value::Bool(v) => Ok(v != 0),
            other => Err(expected("true or false", other)),
        }
    }
}

impl FromValue for String {
    const TYPE: Type = Type::String;

    fn blank() -> Self {
        Self::new()
    }

    fn from_value(value: Value<'_>, _: usize) -> Result<Self, Error> {
        Ok(text(value)?.to_owned())
    }
}

impl FromValue for Ipv4Addr {
    const TYPE: Type = Type::String;

    fn blank() -> Self {
        Self::UNSPECIFIED
    }

    fn from_value(value: Value<'_>, _: usize) -> Result<Self, Error> {
        text(value)?.parse().map_err(|_| expected("an IPv4 address", value))
    }
}

/// What is not there, null or an empty text is `None`.
impl<T: FromValue> FromValue for Option<T> {
    const TYPE: Type = T::TYPE;
    const REQUIRED: bool = false;

    fn blank() -> Self {
        None
    }

    fn from_value(value: Value<'_>, depth: usize) -> Result<Self, Error> {
        match value {
            Value::Null | Value::Str([]) => Ok(None),
            value => T::from_value(value, depth).map(Some),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    const TYPE: Type = Type::Array;

    fn blank() -> Self {
        Self::new()
    }

    fn from_value(value: Value<'_>, depth: usize) -> Result<Self, Error> {
        let mut list = Self::new();
        read_elements(value, depth, &mut |_, value, depth| {
            list.push(T::from_value(value, depth)?);
            Ok(())
        })?;
        Ok(list)
    }
}

fn read_elements(value: Value<'_>, depth: usize, take: &mut Take<'_>) -> Result<(), Error> {
    let Value::Array(fields) = value else { return Err(expected("an array", value)) };
    let depth = deeper(depth)?;
    for (index, field) in fields.iter().enumerate() {
        let taken = field.map_err(Error::from).and_then(|field| take(index, field.value, depth));
        taken.map_err(|error| error.in_element(index))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_fields;
    use serde_json::{json, Value as Json};

    words! {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Mode {
            Fast = "fast",
            VerySlow = "very-slow",
        }
    }

    tables! {
        #[derive(Debug, PartialEq)]
        struct Net {
            name: String,
            mtu: u16,
        }

        #[derive(Debug, PartialEq)]
        struct Args {
            name: String = "?".to_owned(),
            size: Option<u64>,
            small: i8 = 7,
            on: bool = false,
            mode: Option<Mode>,
            nets: Vec<Net> = Vec::new(),
            text: Option<String>,
            gateway as "default-route": Option<Ipv4Addr>,
        }
    }

    fn read(json: Json) -> Result<Args, String> {
        from_table(&to_fields(&json).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn values() {
        let args = read(json!({
            "ubus_rpc_session": "0".repeat(32), "name": "web", "size": 5_000_000_000u64, "small": -3, "on": true,
            "mode": "very-slow", "nets": [{"name": "lan", "mtu": 1500}], "text": "t", "default-route": "10.0.0.1",
            "unknown": [[[{}]]],
        }));
        let expected = Args {
            name: "web".into(),
            size: Some(5_000_000_000),
            small: -3,
            on: true,
            mode: Some(Mode::VerySlow),
            nets: vec![Net { name: "lan".into(), mtu: 1500 }],
            text: Some("t".into()),
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        assert_eq!(args, Ok(expected));
    }

    #[test]
    fn words_both_ways() {
        for mode in Mode::ALL {
            assert_eq!(Mode::from_text(mode.as_str()), Some(*mode));
            let fields = to_fields(&json!({"mode": mode})).unwrap();
            assert_eq!(from_table::<Args>(&fields).unwrap().mode, Some(*mode));
        }
        assert_eq!(Mode::from_text("slow"), None);
    }

    #[test]
    fn empty_null_and_absent_mean_nothing_said() {
        let nothing = read(json!({}));
        assert_eq!(nothing.as_ref().map(|args| (args.name.as_str(), args.small)), Ok(("?", 7)));
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
            (
                json!({"default-route": "10.0.0"}),
                "default-route: expected an IPv4 address, found the text \"10.0.0\"",
            ),
        ];
        for (json, expected) in table {
            assert_eq!(read(json.clone()).unwrap_err(), expected, "{json}");
        }
    }

    #[test]
    fn any_width_fits_any_integer() {
        tables! {
            #[derive(Debug, PartialEq)]
            struct Numbers {
                n: u8,
            }
            #[derive(Debug, PartialEq)]
            struct Wide {
                n: Option<i64>,
            }
        }
        let field = |id: u8, value: &[u8]| {
            let mut out = vec![0x80 | id, 0, 0, 8 + value.len() as u8, 0, 1, b'n', 0];
            out.extend_from_slice(value);
            out
        };
        for bytes in
            [field(4, &7i64.to_be_bytes()), field(5, &7i32.to_be_bytes()), field(6, &[0, 7]), field(7, &[7])]
        {
            assert_eq!(from_table(&bytes), Ok(Numbers { n: 7 }));
            assert_eq!(from_table(&bytes), Ok(Wide { n: Some(7) }));
        }
        assert!(from_table::<Numbers>(&field(5, &256i32.to_be_bytes())).is_err());
        assert_eq!(from_table(&field(4, &i64::MIN.to_be_bytes())), Ok(Wide { n: Some(i64::MIN) }));
    }

    #[test]
    fn the_first_of_duplicates_wins() {
        let mut b = crate::blobmsg::Builder::new();
        b.str("text", "first").str("text", "second").null("size");
        b.int("size", 3);
        let args: Args = from_table(&b.finish().unwrap()).unwrap();
        assert_eq!((args.text.as_deref(), args.size), (Some("first"), None));
    }

    #[test]
    fn text_must_be_utf8() {
        let bytes = b"\x83\0\0\x0e\0\x04text\0\0\xe9\0\0\0";
        assert_eq!(from_table::<Args>(bytes).unwrap_err().to_string(), "text: is not UTF-8 text");
        // An unknown field's bytes are nobody's business, nor is its name.
        assert!(from_table::<Args>(b"\x83\0\0\x0a\0\x01s\0\xe9\0\0\0").is_ok());
        assert!(from_table::<Args>(b"\x83\0\0\x0a\0\x01\xe9\0x\0\0\0").is_ok());
    }

    #[test]
    fn no_arguments_accept_any() {
        assert_eq!(from_table::<()>(&[]), Ok(()));
        assert_eq!(from_table::<()>(&to_fields(&json!({"ubus_rpc_session": "x"})).unwrap()), Ok(()));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let error = from_table::<Args>(&[0x83, 0, 0, 9]).unwrap_err().to_string();
        assert_eq!(error, "an attribute's length does not fit");
    }

    #[test]
    fn nesting_ends_somewhere() {
        tables! {
            #[derive(Debug)]
            struct Nest {
                inner: Vec<Nest> = Vec::new(),
            }
        }
        let nested = |levels: usize| {
            let mut json = json!({});
            for _ in 0..levels {
                json = json!({"inner": [json]});
            }
            json
        };
        assert!(from_table::<Nest>(&to_fields(&nested(10)).unwrap()).is_ok());
        let mut value = Value::Table(Fields::new(&[]));
        assert!(Nest::from_value(value, MAX_DEPTH).is_ok());
        assert!(Nest::from_value(value, MAX_DEPTH + 1).is_err());
        value = Value::Array(Fields::new(&[]));
        assert!(Vec::<Nest>::from_value(value, MAX_DEPTH + 1).is_err());
    }
}
