//! The tree that a configuration file describes.

use std::borrow::Cow;

use crate::parse::{self, SyntaxError};

/// One configuration file: its sections in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    pub(crate) sections: Vec<Section>,
    pub(crate) repeats: Vec<Repeat>,
}

impl Package {
    /// Reads a file by libuci's rules (strict mode, as `uci` and `rpcd` run it).
    ///
    /// One deliberate difference: a file with a NUL byte is refused. libuci cuts lines at NULs in a way that depends
    /// on the size of its buffer.
    pub fn parse(bytes: &[u8]) -> Result<Package, SyntaxError> {
        parse::parse(bytes).map(|parsed| parsed.package)
    }

    /// All sections, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections of one type, in the order of the file.
    pub fn sections_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Section> + 'a {
        self.sections.iter().filter(move |section| section.kind == kind)
    }

    /// The section with this name; an anonymous section is found by its `cfgXXXXXX` name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.position(name).map(|index| &self.sections[index])
    }

    /// Places where a section that already stood further up was opened again. libuci merges them silently; mostly
    /// they are a copied block whose name a person forgot to change, worth a warning.
    pub fn repeats(&self) -> &[Repeat] {
        &self.repeats
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.sections.iter().position(|section| section.name == name)
    }
}

/// A section that was opened a second time under the same name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The section's name.
    pub section: String,
    /// Where it was first opened.
    pub first_line: usize,
    /// Where it was opened again.
    pub line: usize,
}

/// One `config` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) anonymous: bool,
    pub(crate) line: usize,
    pub(crate) options: Vec<Opt>,
}

impl Section {
    /// The section's type: the first word after `config`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The section's name; for an anonymous section the `cfgXXXXXX` name that libuci gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the file gives the section no name.
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// The line, counted from 1, on which the section was first opened.
    pub fn line(&self) -> usize {
        self.line
    }

    /// All options and lists, in the order in which they first appear.
    pub fn options(&self) -> &[Opt] {
        &self.options
    }

    /// The option or list of this name.
    pub fn option(&self, name: &str) -> Option<&Opt> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The value of an option. `None` when it is absent or a list (libuci's own look-up answers the same).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.option(name).and_then(Opt::single).map(Value::as_bytes)
    }

    /// The value of an option as text. `None` when it is absent, a list or not UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.option(name).and_then(Opt::single).and_then(Value::as_str)
    }

    /// The value of an option as text, with U+FFFD in place of what is not UTF-8.
    pub fn get_lossy(&self, name: &str) -> Option<Cow<'_, str>> {
        self.option(name).and_then(Opt::single).map(Value::to_str_lossy)
    }

    /// The items of a list. A plain option counts as a list of one; an absent one as an empty list.
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> + 'a {
        self.option(name).map_or(&[][..], Opt::values).iter()
    }
}

/// An option or a list within a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    pub(crate) name: String,
    pub(crate) list: bool,
    pub(crate) values: Vec<Value>,
}

impl Opt {
    /// The option's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a list. A list may have one item, and items may repeat.
    pub fn is_list(&self) -> bool {
        self.list
    }

    /// The items; an option that is not a list has exactly one.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The line, counted from 1, that gave the option its value (a list: its first item).
    pub fn line(&self) -> usize {
        self.values.first().map_or(0, Value::line)
    }

    fn single(&self) -> Option<&Value> {
        if self.list {
            None
        } else {
            self.values.first()
        }
    }
}

/// A value: bytes, because nothing in UCI demands UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub(crate) bytes: Vec<u8>,
    pub(crate) line: usize,
}

impl Value {
    /// The bytes between the quotes, with quoting and escapes undone.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// The value as text, with U+FFFD in place of what is not UTF-8.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The line, counted from 1, on which the value's `option` or `list` command starts.
    pub fn line(&self) -> usize {
        self.line
    }
}
