//! The editor: changes what an edit concerns and keeps every other byte.
//!
//! An edit splices text into the bytes and reads the result again. That costs one pass over the file for each edit and
//! leaves one truth, the bytes: the tree cannot say something else than what libuci will read.

use std::fmt;
use std::ops::Range;

use crate::package::{Package, Section};
use crate::parse::{self, is_option_name, is_section_kind, is_section_name, is_space};
use crate::parse::{Line, Parsed, Statement, SyntaxError, Verb};

/// Why an edit was not made. The document is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The file has no section of this name.
    NoSection(String),
    /// The file has a section of this name already.
    SectionExists(String),
    /// Not a section name: it may have letters, digits and `_`.
    SectionName(String),
    /// Not a section type: it may have printable ASCII without spaces.
    SectionKind(String),
    /// Not an option name: it may have letters, digits and `_`.
    OptionName(String),
    /// The value of this option holds a NUL byte, which UCI cannot store.
    NulInValue(String),
    /// The edit would give an anonymous section the name that another section bears, and libuci would confuse them.
    NameClash,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NoSection(name) => write!(f, "there is no section '{}'", name.escape_default()),
            EditError::SectionExists(name) => {
                write!(f, "a section '{}' exists already", name.escape_default())
            }
            EditError::SectionName(name) => write!(
                f,
                "'{}' cannot name a section: only letters, digits and '_' can stand in a name",
                name.escape_default()
            ),
            EditError::SectionKind(kind) => write!(
                f,
                "'{}' cannot be a section type: only printable ASCII without spaces can",
                kind.escape_default()
            ),
            EditError::OptionName(name) => write!(
                f,
                "'{}' cannot name an option: only letters, digits and '_' can stand in a name",
                name.escape_default()
            ),
            EditError::NulInValue(option) => write!(f, "the value of option '{option}' holds a NUL byte"),
            EditError::NameClash => write!(f, "an unnamed section would take the name of another section"),
        }
    }
}

impl std::error::Error for EditError {}

/// A configuration file that can be edited.
///
/// Sections are addressed by name; an anonymous one by its `cfgXXXXXX` name, which counts the sections before it and so
/// changes when one of them is removed.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Vec<u8>,
    parsed: Parsed,
}

/// Text that takes the place of a range of the file.
type Splice = (Range<usize>, Vec<u8>);

impl Document {
    /// Reads a file. The empty file is a document without sections.
    pub fn parse(bytes: &[u8]) -> Result<Document, SyntaxError> {
        Ok(Document { parsed: parse::parse(bytes)?, bytes: bytes.to_vec() })
    }

    /// The tree as it is after the edits so far.
    pub fn package(&self) -> &Package {
        &self.parsed.package
    }

    /// The file as it is after the edits so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file as it is after the edits so far, as a copy.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Adds a section at the end of the file, with a blank line before it.
    pub fn add_section(&mut self, kind: &str, name: &str) -> Result<(), EditError> {
        check_section_name(name)?;
        if self.package().section(name).is_some() {
            return Err(EditError::SectionExists(name.to_owned()));
        }
        self.append_section(kind, name)
    }

    /// Adds a section without a name at the end of the file, and returns the name that libuci gives it.
    pub fn add_anonymous(&mut self, kind: &str) -> Result<String, EditError> {
        self.append_section(kind, "")?;
        Ok(self.package().sections().last().map(|section| section.name().to_owned()).unwrap_or_default())
    }

    /// Gives an option a value. A list of that name becomes an option. An empty value removes the option, as it does in
    /// `uci set`: the format has no empty options.
    pub fn set(&mut self, section: &str, option: &str, value: impl AsRef<[u8]>) -> Result<(), EditError> {
        self.set_bytes(section, option, value.as_ref())
    }

    fn set_bytes(&mut self, section: &str, option: &str, value: &[u8]) -> Result<(), EditError> {
        check_value(option, value)?;
        if value.is_empty() {
            return self.unset(section, option);
        }
        let (index, current) = self.section(section)?;
        if current.get(option) == Some(value) {
            return Ok(());
        }
        let own = self.untangle_option(index, option)?;
        let Some(&keep) = own.iter().find(|&&statement| self.is_effective(statement)).or(own.first()) else {
            return self.append_to_section(index, &[command(b"option", option, value)]);
        };
        let mut splices = Vec::new();
        for &statement in &own {
            if statement == keep {
                splices.extend(self.with_value(statement, value));
            } else {
                splices.push(self.without_line(statement));
            }
        }
        self.splice(splices, 0)
    }

    /// Gives a list its items; an option of that name becomes a list. Lines of items that stay are not touched. No
    /// items: the list is removed.
    pub fn set_list<V: AsRef<[u8]>>(
        &mut self,
        section: &str,
        option: &str,
        values: &[V],
    ) -> Result<(), EditError> {
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        self.set_items(section, option, &values)
    }

    fn set_items(&mut self, section: &str, option: &str, values: &[&[u8]]) -> Result<(), EditError> {
        for value in values {
            check_value(option, value)?;
        }
        if values.is_empty() {
            return self.unset(section, option);
        }
        let (index, current) = self.section(section)?;
        let before: Vec<&[u8]> = current.list(option).map(|value| value.as_bytes()).collect();
        let was_list = current.option(option).is_some_and(|option| option.is_list());
        if was_list && before == values {
            return Ok(());
        }
        // Items at both ends that stay keep their lines, if each item is a line of its own.
        let (mut same, mut same_end) = (0, 0);
        let lists_only = self.own(index, option).all(|statement| statement.verb == Verb::List);
        if lists_only {
            same = before.iter().zip(values).take_while(|(old, new)| old == new).count();
            let (before, values) = (&before[same..], &values[same..]);
            same_end =
                before.iter().rev().zip(values.iter().rev()).take_while(|(old, new)| old == new).count();
        }
        let commands: Vec<Vec<u8>> = values[same..values.len() - same_end]
            .iter()
            .map(|value| command(b"list", option, value))
            .collect();

        let own = self.untangle_option(index, option)?;
        let Some(&last) = own.last() else {
            return self.append_to_section(index, &commands);
        };
        let place =
            if lists_only { same } else { own.iter().position(|&s| self.is_effective(s)).unwrap_or(0) };
        let mut splices = Vec::new();
        for (at, &statement) in own.iter().enumerate() {
            if at == place {
                splices.push(self.insert_before(statement, &commands));
            }
            if at >= same && at < own.len() - same_end {
                splices.push(self.without_line(statement));
            }
        }
        if place == own.len() {
            splices.push(self.insert_after(last, &commands));
        }
        self.splice(splices, 0)
    }

    /// Removes an option or a list, with the comments on its lines. Nothing to do when it is not there.
    pub fn unset(&mut self, section: &str, option: &str) -> Result<(), EditError> {
        check_option_name(option)?;
        let (index, current) = self.section(section)?;
        if current.option(option).is_none() {
            return Ok(());
        }
        let own = self.untangle_option(index, option)?;
        let splices = own.iter().map(|&statement| self.without_line(statement)).collect();
        self.splice(splices, 0)
    }

    /// Removes a section: its commands, the comments between them, and indented comments right below them. Other
    /// comments stay, those above the section too: they may well speak of more than it.
    pub fn remove_section(&mut self, section: &str) -> Result<(), EditError> {
        let (index, _) = self.section(section)?;
        self.untangle(&|statement| statement.section == Some(index))?;
        let removed = self.lines_of_section(index);
        let lines = self.parsed.lines.iter().zip(&removed);
        let splices =
            lines.filter(|(_, &removed)| removed).map(|(line, _)| (line.span.clone(), Vec::new())).collect();
        self.splice(splices, -1)
    }

    /// Gives a section another name; an anonymous section becomes a named one.
    pub fn rename_section(&mut self, section: &str, name: &str) -> Result<(), EditError> {
        check_section_name(name)?;
        let (index, current) = self.section(section)?;
        if current.name() == name && !current.is_anonymous() {
            return Ok(());
        }
        if current.name() != name && self.package().section(name).is_some() {
            return Err(EditError::SectionExists(name.to_owned()));
        }
        let opens =
            |statement: &Statement| statement.verb == Verb::Config && statement.section == Some(index);
        self.untangle(&opens)?;
        let splices = self.parsed.statements.iter().filter(|&statement| opens(statement));
        let splices = splices.map(|statement| set_second_word(statement, name.as_bytes())).collect();
        self.splice(splices, 0)
    }

    fn section(&self, name: &str) -> Result<(usize, &Section), EditError> {
        let index = self.package().position(name).ok_or_else(|| EditError::NoSection(name.to_owned()))?;
        Ok((index, &self.package().sections()[index]))
    }

    fn own<'a>(&'a self, section: usize, option: &'a str) -> impl Iterator<Item = &'a Statement> + 'a {
        self.parsed.statements.iter().filter(move |statement| is_own(statement, section, option))
    }

    /// Whether a command gives its option a value.
    fn is_effective(&self, statement: usize) -> bool {
        let statement = &self.parsed.statements[statement];
        statement.verb == Verb::List || !statement.words[1].text.is_empty()
    }

    /// Sees to it that each command of an option has a line of its own, and lists these commands.
    fn untangle_option(&mut self, section: usize, option: &str) -> Result<Vec<usize>, EditError> {
        self.untangle(&|statement| is_own(statement, section, option))?;
        let statements = self.parsed.statements.iter().enumerate();
        Ok(statements.filter(|(_, statement)| is_own(statement, section, option)).map(|(at, _)| at).collect())
    }

    /// Rewrites lines with such a command in OpenWrt's formatting, a line for each command, if they hold more than the
    /// command and a comment. After that a command can be changed or removed as a line.
    fn untangle(&mut self, concerned: &dyn Fn(&Statement) -> bool) -> Result<(), EditError> {
        let tangled = self.parsed.lines.iter().filter(|line| {
            self.parsed.statements[line.statements.clone()].iter().any(concerned) && !self.is_plain(line)
        });
        let splices: Vec<Splice> = tangled.map(|line| (line.span.clone(), self.rewritten(line))).collect();
        if splices.is_empty() {
            return Ok(());
        }
        self.splice(splices, 0)
    }

    /// Whether a line holds one command, and nothing behind it but white space and a comment.
    fn is_plain(&self, line: &Line) -> bool {
        let [statement] = &self.parsed.statements[line.statements.clone()] else { return false };
        let mut tail = &self.bytes[last_word_end(statement)..line.span.end];
        while let [first, rest @ ..] = tail {
            if !is_space(*first) {
                break;
            }
            tail = rest;
        }
        !line.dangling && matches!(tail, [] | [b'#', ..])
    }

    fn rewritten(&self, line: &Line) -> Vec<u8> {
        let mut text = Vec::new();
        for statement in &self.parsed.statements[line.statements.clone()] {
            if !text.is_empty() {
                text.extend_from_slice(self.end_of_line());
            }
            let [first, second] = &statement.words;
            match statement.verb {
                Verb::Package => {
                    text.extend_from_slice(b"package ");
                    quote(&mut text, &first.text);
                }
                Verb::Config => config(&mut text, &first.text, &second.text),
                Verb::Option | Verb::List => {
                    text.push(b'\t');
                    let keyword: &[u8] = if statement.verb == Verb::List { b"list" } else { b"option" };
                    text.extend(command(keyword, &String::from_utf8_lossy(&first.text), &second.text));
                }
            }
        }
        if let Some(comment) = line.comment {
            text.push(b' ');
            text.extend_from_slice(self.bytes[comment..line.span.end].trim_ascii_end());
        }
        text.extend_from_slice(self.end_of_line());
        text
    }

    fn append_section(&mut self, kind: &str, name: &str) -> Result<(), EditError> {
        if !is_section_kind(kind) {
            return Err(EditError::SectionKind(kind.to_owned()));
        }
        // What ends the file may not bear a newline behind it: a backslash would join lines, a `;` wants a command.
        if self.parsed.lines.last().is_some_and(|line| line.dangling) || !self.bytes.ends_with(b"\n") {
            let last = self.parsed.lines.len().saturating_sub(1);
            self.untangle(&|statement| statement.line == last)?;
        }
        let mut text = Vec::new();
        if let Some(line) = self.parsed.lines.last() {
            let line = &self.bytes[line.span.clone()];
            if !line.ends_with(b"\n") {
                text.extend_from_slice(self.end_of_line());
            }
            if !is_blank(line) {
                text.extend_from_slice(self.end_of_line());
            }
        }
        config(&mut text, kind.as_bytes(), name.as_bytes());
        text.extend_from_slice(self.end_of_line());
        let end = self.bytes.len();
        self.splice(vec![(end..end, text)], 1)
    }

    /// Puts commands behind the last command of a section.
    fn append_to_section(&mut self, section: usize, commands: &[Vec<u8>]) -> Result<(), EditError> {
        let last_of = |statements: &[Statement]| {
            statements.iter().rposition(|statement| statement.section == Some(section)).unwrap_or(0)
        };
        // The line may open the next section further right.
        let line = self.parsed.statements.get(last_of(&self.parsed.statements)).map_or(0, |last| last.line);
        self.untangle(&|statement| statement.line == line)?;
        let last = last_of(&self.parsed.statements);
        self.splice(vec![self.insert_after(last, commands)], 0)
    }

    fn insert_before(&self, statement: usize, commands: &[Vec<u8>]) -> Splice {
        let start = self.line_of(statement).span.start;
        (start..start, self.block(statement, commands))
    }

    fn insert_after(&self, statement: usize, commands: &[Vec<u8>]) -> Splice {
        let line = self.line_of(statement).span.clone();
        let mut text = Vec::new();
        if !self.bytes[line.clone()].ends_with(b"\n") {
            text.extend_from_slice(self.end_of_line());
        }
        text.extend(self.block(statement, commands));
        (line.end..line.end, text)
    }

    /// Commands as lines, indented as a neighbour is.
    fn block(&self, neighbour: usize, commands: &[Vec<u8>]) -> Vec<u8> {
        let statement = &self.parsed.statements[neighbour];
        let indent = match statement.verb {
            Verb::Option | Verb::List => {
                &self.bytes[self.line_of(neighbour).span.start..statement.keyword.start]
            }
            _ => b"\t",
        };
        let mut text = Vec::new();
        for command in commands {
            text.extend_from_slice(indent);
            text.extend_from_slice(command);
            text.extend_from_slice(self.end_of_line());
        }
        text
    }

    /// Makes a command `option <name> '<value>'`; its place, its name as written and its comment stay.
    fn with_value(&self, statement: usize, value: &[u8]) -> Vec<Splice> {
        let statement = &self.parsed.statements[statement];
        let mut splices = Vec::new();
        if statement.verb == Verb::List {
            splices.push((statement.keyword.clone(), b"option".to_vec()));
        }
        splices.push(set_second_word(statement, value));
        splices
    }

    fn without_line(&self, statement: usize) -> Splice {
        (self.line_of(statement).span.clone(), Vec::new())
    }

    fn line_of(&self, statement: usize) -> &Line {
        &self.parsed.lines[self.parsed.statements[statement].line]
    }

    /// Marks the lines that go when a section goes. Each of its commands has a line of its own by now.
    fn lines_of_section(&self, section: usize) -> Vec<bool> {
        let lines = &self.parsed.lines;
        let mut removed = vec![false; lines.len()];
        let mut at = 0;
        while at < lines.len() {
            if !self.is_of(section, &lines[at]) {
                at += 1;
                continue;
            }
            // One piece of the section: up to its last command before another section opens.
            let mut end = at + 1;
            let mut next = end;
            while next < lines.len()
                && (lines[next].statements.is_empty() || self.is_of(section, &lines[next]))
            {
                next += 1;
                if !lines[next - 1].statements.is_empty() {
                    end = next;
                }
            }
            while end < next && self.is_indented_comment(&lines[end]) {
                end += 1;
            }
            removed[at..end].fill(true);
            // Blank lines around it become one.
            let blank_follows = lines.get(end).is_none_or(|line| is_blank(&self.bytes[line.span.clone()]));
            if at > 0
                && !removed[at - 1]
                && blank_follows
                && is_blank(&self.bytes[lines[at - 1].span.clone()])
            {
                removed[at - 1] = true;
            }
            at = end;
        }
        removed
    }

    fn is_of(&self, section: usize, line: &Line) -> bool {
        self.parsed.statements[line.statements.clone()]
            .iter()
            .any(|statement| statement.section == Some(section))
    }

    fn is_indented_comment(&self, line: &Line) -> bool {
        line.comment.is_some_and(|comment| comment > line.span.start)
    }

    fn end_of_line(&self) -> &'static [u8] {
        match self.bytes.iter().position(|&byte| byte == b'\n') {
            Some(newline) if newline > 0 && self.bytes[newline - 1] == b'\r' => b"\r\n",
            _ => b"\n",
        }
    }

    /// Replaces ranges of the file, given in their order, unless the number of sections then differs from what the
    /// edit means.
    fn splice(&mut self, splices: Vec<Splice>, added: isize) -> Result<(), EditError> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut copied = 0;
        for (range, text) in splices {
            bytes.extend_from_slice(&self.bytes[copied..range.start]);
            bytes.extend(text);
            copied = range.end;
        }
        bytes.extend_from_slice(&self.bytes[copied..]);
        // Only names of anonymous sections can get in each other's way: they follow from the sections before them.
        let parsed = parse::parse(&bytes).map_err(|_| EditError::NameClash)?;
        if parsed.package.sections.len() as isize != self.parsed.package.sections.len() as isize + added {
            return Err(EditError::NameClash);
        }
        self.bytes = bytes;
        self.parsed = parsed;
        Ok(())
    }
}

fn is_own(statement: &Statement, section: usize, option: &str) -> bool {
    matches!(statement.verb, Verb::Option | Verb::List)
        && statement.section == Some(section)
        && statement.words[0].text == option.as_bytes()
}

fn check_section_name(name: &str) -> Result<(), EditError> {
    if is_section_name(name) {
        Ok(())
    } else {
        Err(EditError::SectionName(name.to_owned()))
    }
}

fn check_option_name(option: &str) -> Result<(), EditError> {
    if is_option_name(option) {
        Ok(())
    } else {
        Err(EditError::OptionName(option.to_owned()))
    }
}

fn check_value(option: &str, value: &[u8]) -> Result<(), EditError> {
    check_option_name(option)?;
    if value.contains(&0) {
        return Err(EditError::NulInValue(option.to_owned()));
    }
    Ok(())
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|&byte| is_space(byte))
}

/// Where the last word of a command ends that is there.
fn last_word_end(statement: &Statement) -> usize {
    let [first, second] = &statement.words;
    if second.span.is_empty() {
        first.span.end
    } else {
        second.span.end
    }
}

/// The name of a section or the value of an option, put in or replaced.
fn set_second_word(statement: &Statement, text: &[u8]) -> Splice {
    let [first, second] = &statement.words;
    let (range, mut new) = if second.span.is_empty() {
        (first.span.end..first.span.end, b" ".to_vec())
    } else {
        (second.span.clone(), Vec::new())
    };
    quote(&mut new, text);
    (range, new)
}

fn command(keyword: &[u8], option: &str, value: &[u8]) -> Vec<u8> {
    let mut text = keyword.to_vec();
    text.push(b' ');
    text.extend_from_slice(option.as_bytes());
    text.push(b' ');
    quote(&mut text, value);
    text
}

fn config(text: &mut Vec<u8>, kind: &[u8], name: &[u8]) {
    text.extend_from_slice(b"config ");
    if kind.iter().any(|byte| b"'\"\\#;".contains(byte)) {
        quote(text, kind);
    } else {
        text.extend_from_slice(kind);
    }
    if !name.is_empty() {
        text.push(b' ');
        quote(text, name);
    }
}

/// Within single quotes nothing is special but the single quote.
fn quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'\'');
    for &byte in value {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            _ => text.push(byte),
        }
    }
    text.push(b'\'');
}
