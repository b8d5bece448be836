//! The members of a JSON object, taken out one by one and checked on the way. Whoever signed it may be wrong or lie, so each
//! text and list has a most, and each number a range; what is said of a wrong one names it.

use super::id::Id;
use super::label::{Kind, Label};
use crate::error::{is_dangerous, quoted, Code, Error, Result};
use crate::model::image::hex;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// What a date may be, in seconds since 1970: enough for 30,000 years, and sums of two stay numbers.
pub const DATES: RangeInclusive<u64> = 0..=1 << 40;

/// A SHA-256.
pub type Hash = [u8; 32];

/// An object of which members are taken.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Those of `members`.
    pub fn new(members: &'a Map<String, Value>) -> Fields<'a> {
        Fields(members)
    }

    /// Those of an object in a list, which is called `name`.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: it is no object. So are all errors here.
    pub fn of(name: &str, value: &'a Value) -> Result<Fields<'a>> {
        value.as_object().map(Fields).ok_or_else(|| wrong(name, "it is no object"))
    }

    fn get<T>(self, name: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<T> {
        self.maybe(name, read)?.ok_or_else(|| wrong(name, "it is missing"))
    }

    fn maybe<T>(self, name: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
        self.0.get(name).map(read).transpose()
    }

    /// A text of at most `most` bytes, of whatever characters.
    ///
    /// # Errors
    /// It is missing, no text, or too long.
    pub fn text(self, name: &str, most: usize) -> Result<&'a str> {
        self.get(name, |value| text(name, value, most))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// It is no text, or too long.
    pub fn maybe_text(self, name: &str, most: usize) -> Result<Option<&'a str>> {
        self.maybe(name, |value| text(name, value, most))
    }

    /// A line of at most `most` bytes that can be shown to a person.
    ///
    /// # Errors
    /// It is missing, no text, too long, or has control characters.
    pub fn line(self, name: &str, most: usize) -> Result<&'a str> {
        self.get(name, |value| line(name, value, most))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// It is no text, too long, or has control characters.
    pub fn maybe_line(self, name: &str, most: usize) -> Result<Option<&'a str>> {
        self.maybe(name, |value| line(name, value, most))
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is missing, no number, or out of `range`.
    pub fn number(self, name: &str, range: RangeInclusive<u64>) -> Result<u64> {
        self.get(name, |value| number(name, value, &range))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// It is no number, or out of `range`.
    pub fn maybe_number(self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        self.maybe(name, |value| number(name, value, &range))
    }

    /// Yes or no; no if it is not there.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(self, name: &str) -> Result<bool> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| wrong(name, "it is neither true nor false"));
        Ok(self.maybe(name, read)?.unwrap_or(false))
    }

    /// An id.
    ///
    /// # Errors
    /// It is missing or none.
    pub fn id(self, name: &str) -> Result<Id> {
        self.get(name, |value| id(name, value))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// It is none.
    pub fn maybe_id(self, name: &str) -> Result<Option<Id>> {
        self.maybe(name, |value| id(name, value))
    }

    /// The name of a `kind`.
    ///
    /// # Errors
    /// It is missing or none.
    pub fn label(self, name: &str, kind: Kind) -> Result<Label> {
        self.get(name, |value| {
            let text = text(name, value, usize::MAX)?;
            Label::new(kind, text).map_err(|error| wrong(name, &error.message))
        })
    }

    /// A SHA-256 in 64 hex digits.
    ///
    /// # Errors
    /// It is missing or none.
    pub fn hash(self, name: &str) -> Result<Hash> {
        self.get(name, |value| hash(name, value))
    }

    /// One of these words, and what it stands for.
    ///
    /// # Errors
    /// It is missing or another one.
    pub fn word<T: Copy>(self, name: &str, words: &[(&str, T)]) -> Result<T> {
        let said = self.text(name, usize::MAX)?;
        let found = words.iter().find(|(word, _)| *word == said);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(name, &format!("{} is none of {}", shown(said), words.join(", ")))
        })
    }

    /// A list of at most `most`, each made by `read`; an empty one if it is not there.
    ///
    /// # Errors
    /// It is no list, too long, or one of it is wrong.
    pub fn list<T>(
        self,
        name: &str,
        most: usize,
        read: impl Fn(&str, &'a Value) -> Result<T>,
    ) -> Result<Vec<T>> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let values = value.as_array().ok_or_else(|| wrong(name, "it is no list"))?;
        if values.len() > most {
            return Err(wrong(name, &format!("it lists {}, and {most} is the most", values.len())));
        }
        values.iter().map(|value| read(name, value)).collect()
    }

    /// The members of an object in it; none if it is not there.
    ///
    /// # Errors
    /// It is no object.
    pub fn object(self, name: &str) -> Result<Option<Fields<'a>>> {
        self.maybe(name, |value| Fields::of(name, value))
    }

    /// All of them, with their names.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// What is wrong with the member called `name`.
pub fn wrong(name: &str, why: &str) -> Error {
    Error::new(Code::InvalidArgument, format_args!("`{name}`: {why}"))
}

fn shown(text: &str) -> String {
    quoted(&text.chars().take(40).collect::<String>())
}

/// A text of at most `most` bytes.
///
/// # Errors
/// It is none, or too long.
pub fn text<'a>(name: &str, value: &'a Value, most: usize) -> Result<&'a str> {
    let text = value.as_str().ok_or_else(|| wrong(name, "it is no text"))?;
    if text.len() > most {
        return Err(wrong(name, &format!("it has {} bytes, and {most} is the most", text.len())));
    }
    Ok(text)
}

/// A line of at most `most` bytes that can be shown to a person.
///
/// # Errors
/// It is no text, too long, or has control characters.
pub fn line<'a>(name: &str, value: &'a Value, most: usize) -> Result<&'a str> {
    let text = text(name, value, most)?;
    match text.chars().any(is_dangerous) {
        true => Err(wrong(name, &format!("{} has characters that are not shown", shown(text)))),
        false => Ok(text),
    }
}

/// A whole number.
///
/// # Errors
/// It is none, or out of `range`.
pub fn number(name: &str, value: &Value, range: &RangeInclusive<u64>) -> Result<u64> {
    value.as_u64().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        let said: String = value.to_string().chars().take(40).collect();
        wrong(name, &format!("{said} is no whole number from {least} to {most}"))
    })
}

/// An id.
///
/// # Errors
/// It is none.
pub fn id(name: &str, value: &Value) -> Result<Id> {
    text(name, value, usize::MAX)?.parse().map_err(|error: Error| wrong(name, &error.message))
}

/// A SHA-256 in 64 hex digits.
///
/// # Errors
/// It is none.
pub fn hash(name: &str, value: &Value) -> Result<Hash> {
    let text = text(name, value, usize::MAX)?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    let mut good = text.len() == 64;
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => good = false,
        }
    }
    match good {
        true => Ok(hash),
        false => Err(wrong(name, &format!("{} is no SHA-256 of 64 hex digits", shown(text)))),
    }
}

/// An object that is being written. What is not there is left out: there is no null.
#[derive(Debug, Default)]
pub struct Members(Map<String, Value>);

impl Members {
    /// One that says `name`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Members {
        self.0.insert(name.to_string(), value.into());
        self
    }

    /// One that says `name` if there is something to say.
    pub fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Members {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// One that says `name` if it is so.
    pub fn with_flag(self, name: &str, value: bool) -> Members {
        self.with_some(name, value.then_some(true))
    }

    /// One with the list called `name` if there is something in it.
    pub fn with_list<T>(self, name: &str, values: &[T], write: impl Fn(&T) -> Value) -> Members {
        let list: Vec<Value> = values.iter().map(write).collect();
        self.with_some(name, (!list.is_empty()).then_some(list))
    }

    /// One with the list of texts called `name` if there is something in it.
    pub fn with_texts(self, name: &str, texts: &[Box<str>]) -> Members {
        self.with_list(name, texts, |text| Value::from(&**text))
    }

    /// One with an id.
    pub fn with_id(self, name: &str, id: Id) -> Members {
        self.with(name, id.to_string())
    }

    /// One with a SHA-256.
    pub fn with_hash(self, name: &str, hash: &Hash) -> Members {
        self.with(name, hex(hash))
    }

    /// What it is.
    pub fn done(self) -> Map<String, Value> {
        self.0
    }
}

impl From<Members> for Value {
    fn from(members: Members) -> Value {
        Value::Object(members.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named() {
        let Value::Object(object) = json!({
            "text": "abc", "line": "a\nb", "number": 7, "less": -1, "list": [1, 2, 3], "id": "x", "word": "later",
            "hash": "AB", "flag": 1, "null": null,
        }) else {
            unreachable!()
        };
        let fields = Fields::new(&object);
        let told = |told: Result<()>| told.unwrap_err().into_message();
        for (is, why) in [
            (fields.text("none", 3).map(drop), "`none`: it is missing"),
            (fields.text("number", 3).map(drop), "`number`: it is no text"),
            (fields.text("text", 2).map(drop), "`text`: it has 3 bytes, and 2 is the most"),
            (fields.text("null", 2).map(drop), "`null`: it is no text"),
            (fields.maybe_line("line", 9).map(drop), "`line`: \"a\\nb\" has characters that are not shown"),
            (fields.number("number", 8..=9).map(drop), "`number`: 7 is no whole number from 8 to 9"),
            (fields.number("less", 0..=9).map(drop), "`less`: -1 is no whole number from 0 to 9"),
            (fields.list("list", 2, |_, _| Ok(())).map(drop), "`list`: it lists 3, and 2 is the most"),
            (fields.list("text", 2, |_, _| Ok(())).map(drop), "`text`: it is no list"),
            (fields.id("id").map(drop), "`id`: \"x\" is no id"),
            (fields.word("word", &[("now", 1), ("then", 2)]).map(drop), "\"later\" is none of now, then"),
            (fields.hash("hash").map(drop), "`hash`: \"AB\" is no SHA-256"),
            (fields.flag("flag").map(drop), "`flag`: it is neither true nor false"),
            (fields.object("flag").map(drop), "`flag`: it is no object"),
        ] {
            let is = told(is);
            assert!(is.contains(why), "{is}");
        }
        assert_eq!(fields.maybe_number("none", 0..=1), Ok(None));
        assert_eq!(fields.flag("none"), Ok(false));
        assert_eq!(fields.list("none", 0, |_, _| Ok(())), Ok(vec![]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let hash: Hash = std::array::from_fn(|i| i as u8 * 8);
        let object =
            Members::default().with_hash("hash", &hash).with_flag("no", false).with_flag("yes", true);
        let object = object.with_list("empty", &[0; 0], |_| Value::Null).done();
        assert_eq!(object.len(), 2);
        let fields = Fields::new(&object);
        assert_eq!(
            (fields.hash("hash"), fields.flag("yes"), fields.flag("no")),
            (Ok(hash), Ok(true), Ok(false))
        );
    }
}
