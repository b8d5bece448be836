//! Looking into a reply. Whatever is missing or of another type is simply not shown: an older daemon answers less.

use super::text::visible;
use openwrt_ubus::blobmsg::Value;
use openwrt_ubus::Fields;
use std::borrow::Cow;

/// A table of a reply.
#[derive(Clone, Copy)]
pub struct View<'a>(Fields<'a>);

impl<'a> View<'a> {
    /// Looks into encoded `fields`.
    pub fn new(fields: &'a [u8]) -> View<'a> {
        View(Fields::new(fields))
    }

    /// The text called `name`, fit for a terminal; empty when there is none.
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).map(show).unwrap_or_default().into_owned()
    }

    /// What is called `name`, be it one value or an array of them, with commas between; empty when there is nothing.
    pub fn shown(&self, name: &str) -> Cow<'a, str> {
        match self.0.get(name) {
            Some(Value::Array(_)) => self.texts(name).join(", ").into(),
            value => value.map(show).unwrap_or_default(),
        }
    }

    /// The text called `name` as it came, control characters and all.
    pub fn raw(&self, name: &str) -> Cow<'a, str> {
        match self.0.get(name) {
            Some(Value::Str(text)) => String::from_utf8_lossy(text),
            _ => Cow::Borrowed(""),
        }
    }

    /// The number called `name`, unless it is missing or negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_i64()?.try_into().ok()
    }

    /// The number called `name`, or 0.
    pub fn int(&self, name: &str) -> i64 {
        self.0.get(name).and_then(|value| value.as_i64()).unwrap_or(0)
    }

    /// Whether `name` is true.
    pub fn flag(&self, name: &str) -> bool {
        self.int(name) != 0
    }

    /// The table called `name`.
    pub fn table(&self, name: &str) -> Option<View<'a>> {
        match self.0.get(name) {
            Some(Value::Table(fields)) => Some(View(fields)),
            _ => None,
        }
    }

    /// The tables in the array called `name`.
    pub fn tables(&self, name: &str) -> Vec<View<'a>> {
        let is_table = |value| match value {
            Value::Table(fields) => Some(View(fields)),
            _ => None,
        };
        self.values(name).into_iter().filter_map(is_table).collect()
    }

    /// The texts in the array called `name`, fit for a terminal.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.values(name).into_iter().map(|value| show(value).into_owned()).collect()
    }

    /// Names and values of what is not a table or an array, fit for a terminal.
    pub fn scalars(&self) -> Vec<(String, String)> {
        let fields = self.0.iter().map_while(Result::ok);
        let scalar = |value| !matches!(value, Value::Null | Value::Array(_) | Value::Table(_));
        fields
            .filter(|field| scalar(field.value))
            .map(|field| (text(field.name).into_owned(), show(field.value).into_owned()))
            .collect()
    }

    fn values(&self, name: &str) -> Vec<Value<'a>> {
        match self.0.get(name) {
            Some(Value::Array(fields)) => {
                fields.iter().map_while(Result::ok).map(|field| field.value).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn show(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Str(bytes) => text(bytes),
        Value::Bool(flag) => if flag == 0 { "false" } else { "true" }.into(),
        Value::Double(number) => serde_json::Value::from(number).to_string().into(),
        other => other.as_i64().map(|number| number.to_string()).unwrap_or_default().into(),
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => visible(text),
        Cow::Owned(text) => visible(&text).into_owned().into(),
    }
}
