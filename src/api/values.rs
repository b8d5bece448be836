//! Values of arguments that serde has no type for: texts that may be numbers, variables, a container's options.

use crate::model::options::{flag, ContainerOption, OptionValues, Place, Shape, OPTIONS};
use crate::model::secrets::Secrets;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use openwrt_ubus::blobmsg::Type;
use openwrt_ubus::signature::Argument;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A value that people write as text or as a number: `"memory":"256M"`, `"cpus":2`, `"autostart":true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        // Published as a string; the bus' deserializer gives whatever there is.
        deserializer.deserialize_string(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(flag(value).to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    /// A person who writes 2.0 means 2.
    fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}

/// Variables of a program: `{"LANG":"C"}`, or `["LANG=C"]`.
#[derive(Debug)]
pub struct Variables(pub Vec<String>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Variables, D::Error> {
        // Published as a table; a list is read as well.
        deserializer.deserialize_map(VariablesVisitor)
    }
}

struct VariablesVisitor;

impl<'de> Visitor<'de> for VariablesVisitor {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or a list of NAME=value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Variables, A::Error> {
        let mut variables = Vec::new();
        while let Some(variable) = list.next_element()? {
            variables.push(variable);
        }
        Ok(Variables(variables))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variables, A::Error> {
        let mut variables = Vec::new();
        while let Some((name, Text(value))) = table.next_entry::<String, Text>()? {
            variables.push([&name, "=", &value].concat());
        }
        Ok(Variables(variables))
    }
}

/// Secrets of a container: `{"db":"a text"}`, or `{"db":{"base64":"AP8="}}` for what is no text.
#[derive(Debug, Clone, Default)]
pub struct SecretValues(pub Secrets);

impl<'de> Deserialize<'de> for SecretValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretValues, D::Error> {
        deserializer.deserialize_map(SecretsVisitor)
    }
}

struct SecretsVisitor;

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = SecretValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<SecretValues, A::Error> {
        let mut secrets = Secrets::default();
        while let Some((name, SecretValue(content))) = table.next_entry::<String, SecretValue>()? {
            secrets.add(&name, content).map_err(|e| A::Error::custom(e.into_message()))?;
        }
        Ok(SecretValues(secrets))
    }
}

/// One of them.
struct SecretValue(Vec<u8>);

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretValue, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a table with base64")
    }

    fn visit_str<E>(self, text: &str) -> Result<SecretValue, E> {
        Ok(SecretValue(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<SecretValue, A::Error> {
        let mut content = None;
        while let Some((key, text)) = table.next_entry::<String, String>()? {
            if key == "base64" {
                // Not even a part of it is told: it is a secret.
                let decoded = BASE64.decode(text.trim());
                content = Some(decoded.map_err(|_| A::Error::custom("a secret's base64 cannot be read"))?);
            }
        }
        content.map(SecretValue).ok_or_else(|| A::Error::custom("a secret is a text, or a table with base64"))
    }
}

/// The options of a container that `create` takes, out of all that it is called with.
#[derive(Debug)]
pub struct CreateOptions(pub OptionValues);

/// Those that `set` takes.
#[derive(Debug)]
pub struct SetOptions(pub OptionValues);

impl CreateOptions {
    /// As they are published.
    pub fn arguments() -> Vec<Argument> {
        arguments(|place| place.is_in_create())
    }
}

impl SetOptions {
    /// As they are published.
    pub fn arguments() -> Vec<Argument> {
        arguments(|place| place.is_in_set())
    }
}

impl<'de> Deserialize<'de> for CreateOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CreateOptions, D::Error> {
        deserializer.deserialize_map(OptionsVisitor(|place| place.is_in_create())).map(CreateOptions)
    }
}

impl<'de> Deserialize<'de> for SetOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SetOptions, D::Error> {
        deserializer.deserialize_map(OptionsVisitor(|place| place.is_in_set())).map(SetOptions)
    }
}

fn arguments(is_taken: fn(Place) -> bool) -> Vec<Argument> {
    let taken = OPTIONS.iter().filter(|option| is_taken(option.place));
    let argument = |option: &ContainerOption| {
        let ty = match option.shape {
            Shape::Text | Shape::Amount => Type::String,
            Shape::Flag => Type::Bool,
            Shape::List => Type::Array,
        };
        Argument { name: option.on_bus.to_string(), ty }
    };
    taken.map(argument).collect()
}

/// Reads the options that a method takes out of a call's table. Other fields are not its own.
struct OptionsVisitor(fn(Place) -> bool);

impl<'de> Visitor<'de> for OptionsVisitor {
    type Value = OptionValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<OptionValues, A::Error> {
        let mut said = OptionValues::default();
        while let Some(name) = table.next_key::<String>()? {
            let option = OPTIONS.iter().find(|option| option.on_bus == name && (self.0)(option.place));
            let Some(option) = option else {
                table.next_value::<IgnoredAny>()?;
                continue;
            };
            let texts = match option.shape {
                Shape::Text => table.next_value::<Option<String>>()?.into_iter().collect(),
                // Blanks around it are nobody's wish, and are not written down.
                Shape::Amount => {
                    let text = table.next_value::<Option<Text>>()?;
                    text.into_iter().map(|text| text.0.trim().to_string()).collect()
                }
                Shape::Flag => {
                    let value = table.next_value::<Option<bool>>()?;
                    value.into_iter().map(|value| flag(value).to_string()).collect()
                }
                Shape::List => table.next_value::<Option<Vec<String>>>()?.unwrap_or_default(),
            };
            said.put_list(option.name, texts);
        }
        Ok(said)
    }
}
