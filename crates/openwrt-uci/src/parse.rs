//! The reader: libuci's parser, rule for rule.
//!
//! libuci splits a line *in place*: it decodes each word into the buffer that it reads from and ends it with a NUL.
//! Some visible behaviour is an effect of that (after `option v x;y` the NUL falls on the `;`, and the rest of the line
//! is gone). So this reader keeps the same buffer and the same two positions in it, rather than a grammar that would
//! agree only on files a person would write.

use std::fmt;
use std::ops::Range;

use crate::package::{Opt, Package, Repeat, Section, Value};

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// The byte within the line, counted from 1, at which reading stopped.
    pub column: usize,
    /// What is wrong there, in libuci's words.
    pub message: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, byte {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// Whether libuci takes this as the name of a section: letters, digits and `_`.
pub fn is_section_name(name: &str) -> bool {
    is_name(name.as_bytes())
}

/// Whether libuci takes this as the name of an option: letters, digits and `_`.
pub fn is_option_name(name: &str) -> bool {
    is_name(name.as_bytes())
}

/// Whether libuci takes this as the type of a section: printable ASCII without spaces.
pub fn is_section_kind(kind: &str) -> bool {
    is_kind(kind.as_bytes())
}

/// What a file says, and where it says it.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub package: Package,
    pub lines: Vec<Line>,
    pub statements: Vec<Statement>,
}

/// What libuci reads in one go: a line of the file, with those that quotes or a backslash join to it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub span: Range<usize>,
    /// Which of the statements stand on it.
    pub statements: Range<usize>,
    /// Where a `#` ends its commands.
    pub comment: Option<usize>,
    /// A backslash at the end of the file would join the line with one written after it.
    pub dangling: bool,
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub verb: Verb,
    /// The section it belongs to or opens.
    pub section: Option<usize>,
    /// Which of the lines it stands on.
    pub line: usize,
    pub keyword: Range<usize>,
    /// `config`: type and name. `option`, `list`: name and value. `package`: name and nothing.
    pub words: [Word; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Package,
    Config,
    Option,
    List,
}

/// An argument: its decoded text, and where it stands in the file (an empty span: nowhere).
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    pub text: Vec<u8>,
    pub span: Range<usize>,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut lexer = Lexer::new(bytes);
    if let Some(nul) = bytes.iter().position(|&byte| byte == 0) {
        return Err(lexer.error_at(nul, "NUL byte"));
    }
    let mut parsed = Parsed { package: Package::default(), lines: Vec::new(), statements: Vec::new() };
    let mut open = None;
    while lexer.read < bytes.len() {
        let start = lexer.read;
        let first = parsed.statements.len();
        lexer.start_line();
        while let Some(mut statement) = lexer.statement(open.is_some())? {
            statement.line = parsed.lines.len();
            let line = lexer.line_at(statement.keyword.start);
            open =
                apply(&mut parsed.package, open, &statement, line).map_err(|message| lexer.error(message))?;
            statement.section = if statement.verb == Verb::Package { None } else { open };
            parsed.statements.push(statement);
        }
        parsed.lines.push(Line {
            span: start..lexer.read,
            statements: first..parsed.statements.len(),
            comment: lexer.comment,
            dangling: lexer.dangling,
        });
    }
    Ok(parsed)
}

/// Carries a command out on the tree. Returns the section that is open after it.
fn apply(
    package: &mut Package,
    open: Option<usize>,
    statement: &Statement,
    line: usize,
) -> Result<Option<usize>, &'static str> {
    let [first, second] = &statement.words;
    match statement.verb {
        // The name of the file wins over the name in it.
        Verb::Package => Ok(open),
        Verb::Config => open_section(package, ascii(&first.text), ascii(&second.text), line).map(Some),
        Verb::Option | Verb::List => {
            let section = open.and_then(|index| package.sections.get_mut(index)).ok_or(NO_SECTION)?;
            let value = Value { bytes: second.text.clone(), line };
            set_option(section, ascii(&first.text), value, statement.verb == Verb::List);
            Ok(open)
        }
    }
}

fn open_section(
    package: &mut Package,
    kind: String,
    name: String,
    line: usize,
) -> Result<usize, &'static str> {
    let anonymous = name.is_empty();
    if !anonymous {
        if let Some(index) = package.position(&name) {
            let earlier = &package.sections[index];
            if earlier.kind != kind {
                return Err("section of different type overwrites prior section with same name");
            }
            package.repeats.push(Repeat { section: name, first_line: earlier.line, line });
            return Ok(index);
        }
    }
    let index = package.sections.len();
    let name = if anonymous { anonymous_name(index + 1, &kind) } else { name };
    package.sections.push(Section { kind, name, anonymous, line, options: Vec::new() });
    Ok(index)
}

/// The name that libuci gives the `number`th section of a file: a counter, and a hash (DJB's) of its type.
fn anonymous_name(number: usize, kind: &str) -> String {
    let hash = kind.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
    format!("cfg{number:02x}{:04x}", hash & 0xffff)
}

fn set_option(section: &mut Section, name: String, value: Value, list: bool) {
    // An empty option is no option, and leaves an earlier value alone; an empty item of a list is an item.
    if !list && value.bytes.is_empty() {
        return;
    }
    match section.options.iter_mut().find(|option| option.name == name) {
        None => section.options.push(Opt { name, list, values: vec![value] }),
        Some(option) if list => {
            option.list = true;
            option.values.push(value);
        }
        Some(option) => {
            option.list = false;
            option.values = vec![value];
        }
    }
}

const NO_SECTION: &str = "option/list command found before the first section";

/// What a word must consist of.
#[derive(Clone, Copy, PartialEq)]
enum Charset {
    Any,
    Kind,
    Name,
    PackageName,
}

struct Lexer<'a> {
    input: &'a [u8],
    /// How much of the input has gone into the buffer.
    read: usize,
    /// The line being split; behind its end one reads NULs.
    buf: Vec<u8>,
    pos: usize,
    comment: Option<usize>,
    dangling: bool,
    /// An offset whose line number is known, so that lines are counted once.
    counted: (usize, usize),
}

impl<'a> Lexer<'a> {
    fn new(input: &'a [u8]) -> Self {
        Lexer { input, read: 0, buf: Vec::new(), pos: 0, comment: None, dangling: false, counted: (0, 1) }
    }

    fn start_line(&mut self) {
        self.pos = 0;
        self.comment = None;
        self.dangling = false;
        self.fetch();
        self.skip_whitespace();
    }

    /// The next command of the line.
    fn statement(&mut self, section_open: bool) -> Result<Option<Statement>, SyntaxError> {
        let mut start = self.pos;
        while matches!(self.at(start), b' ' | b'\t') {
            start += 1;
        }
        let mut end = start;
        while !matches!(self.at(end), 0 | b' ' | b'\t') {
            end += 1;
        }
        let verb = match &self.buf[start..end] {
            [] => return Ok(None),
            [b'#', ..] => {
                self.comment = Some(self.source(start));
                return Ok(None);
            }
            b"p" | b"package" => Verb::Package,
            b"c" | b"config" => Verb::Config,
            b"o" | b"option" => Verb::Option,
            b"l" | b"list" => Verb::List,
            _ => return Err(self.error("invalid command")),
        };
        if matches!(verb, Verb::Option | Verb::List) && !section_open {
            return Err(self.error(NO_SECTION));
        }
        let keyword = self.source(start)..self.source(end);
        if end >= self.buf.len() {
            return Err(self.error(match verb {
                Verb::Package => "package without name",
                Verb::Config => "config without name",
                Verb::Option | Verb::List => "option without name",
            }));
        }
        self.pos = end + 1;
        let words = match verb {
            Verb::Package => [self.word(true, Charset::PackageName)?, Word::default()],
            Verb::Config => [self.word(true, Charset::Kind)?, self.word(false, Charset::Name)?],
            Verb::Option | Verb::List => [self.word(true, Charset::Name)?, self.word(false, Charset::Any)?],
        };
        if !self.word(false, Charset::Any)?.text.is_empty() {
            return Err(self.error("too many arguments"));
        }
        Ok(Some(Statement { verb, section: None, line: 0, keyword, words }))
    }

    /// The next argument. One that is not there, or `''`, is empty.
    fn word(&mut self, required: bool, charset: Charset) -> Result<Word, SyntaxError> {
        self.skip_whitespace();
        let word = if self.current() == b';' {
            let at = self.source(self.pos);
            self.end_at(self.pos);
            self.pos += 1;
            Word { text: Vec::new(), span: at..at }
        } else {
            self.parts()?
        };
        if word.text.is_empty() {
            return if required { Err(self.error("insufficient arguments")) } else { Ok(word) };
        }
        match charset {
            Charset::Kind if !is_kind(&word.text) => Err(self.error("invalid character in type field")),
            Charset::Name if !is_name(&word.text) => Err(self.error(BAD_NAME)),
            Charset::PackageName if !is_package_name(&word.text) => Err(self.error(BAD_NAME)),
            _ => Ok(word),
        }
    }

    /// Quoted and unquoted parts that stand without white space between them make one word.
    fn parts(&mut self) -> Result<Word, SyntaxError> {
        let start = self.pos;
        let mut target = start;
        let source = self.source(start);
        let mut semicolon = false;
        loop {
            match self.current() {
                b'\'' => self.single_quoted(&mut target)?,
                b'"' => self.double_quoted(&mut target)?,
                b'#' => {
                    self.comment = Some(self.source(self.pos));
                    self.end_at(self.pos);
                    break;
                }
                0 => break,
                b';' => {
                    semicolon = true;
                    break;
                }
                b'\\' if !self.escaped() => {}
                _ => self.take(&mut target),
            }
            if self.current() == 0 || is_space(self.current()) {
                break;
            }
        }
        let span = source..self.source(self.pos);
        let text = self.buf[start..target].to_vec();
        // The white space behind the word gives its place to the NUL. A `;` does not step aside: when nothing in the
        // word was quoted, the NUL falls on it, and with it the rest of the line is lost.
        if self.current() != 0 && !semicolon {
            self.pos += 1;
        }
        self.end_at(target);
        Ok(Word { text, span })
    }

    fn single_quoted(&mut self, target: &mut usize) -> Result<(), SyntaxError> {
        self.pos += 1;
        loop {
            match self.current() {
                b'\'' => {
                    self.pos += 1;
                    return Ok(());
                }
                0 if !self.fetch() => return Err(self.error("EOF with unterminated '")),
                0 => {}
                _ => self.take(target),
            }
        }
    }

    fn double_quoted(&mut self, target: &mut usize) -> Result<(), SyntaxError> {
        self.pos += 1;
        loop {
            match self.current() {
                b'"' => {
                    self.pos += 1;
                    return Ok(());
                }
                0 if !self.fetch() => return Err(self.error("EOF with unterminated \"")),
                0 => {}
                b'\\' if !self.escaped() => {}
                _ => self.take(target),
            }
        }
    }

    /// Steps over a backslash. Says whether a character follows that it protects; at the end of a line there is none,
    /// and the next line takes its place.
    fn escaped(&mut self) -> bool {
        self.pos += 1;
        let line_ends = match self.current() {
            0 | b'\n' => true,
            b'\r' => self.at(self.pos + 1) == b'\n' && self.at(self.pos + 2) == 0,
            _ => false,
        };
        // A CR that ends the file is taken as it is, until a newline follows it.
        let file_ends =
            if line_ends { !self.fetch() } else { self.current() == b'\r' && self.at(self.pos + 1) == 0 };
        self.dangling |= file_ends;
        !line_ends
    }

    /// Moves one character from where reading is to where the word grows.
    fn take(&mut self, target: &mut usize) {
        self.buf[*target] = self.buf[self.pos];
        *target += 1;
        self.pos += 1;
    }

    fn end_at(&mut self, pos: usize) {
        if let Some(byte) = self.buf.get_mut(pos) {
            *byte = 0;
        }
    }

    fn skip_whitespace(&mut self) {
        while is_space(self.current()) {
            self.pos += 1;
        }
    }

    /// Reads a line of the file to where reading is. Says whether there was one.
    fn fetch(&mut self) -> bool {
        let rest = &self.input[self.read..];
        let line =
            &rest[..rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1)];
        self.buf.truncate(self.pos);
        self.buf.extend_from_slice(line);
        self.read += line.len();
        !line.is_empty()
    }

    fn current(&self) -> u8 {
        self.at(self.pos)
    }

    fn at(&self, pos: usize) -> u8 {
        self.buf.get(pos).copied().unwrap_or(0)
    }

    /// Where a position of the buffer stands in the file: both end at the same byte. Holds from the current position
    /// on; what is further left has moved when lines were joined.
    fn source(&self, pos: usize) -> usize {
        self.read - (self.buf.len() - pos)
    }

    /// The number of the line that an offset lies on. Offsets must not fall.
    fn line_at(&mut self, offset: usize) -> usize {
        let (from, line) = self.counted;
        let line = line + count_newlines(&self.input[from..offset]);
        self.counted = (offset, line);
        line
    }

    fn error(&self, message: &'static str) -> SyntaxError {
        let offset = self.source(self.pos);
        // Behind the newline that ended a word is still the line of that word.
        let newline = self.pos > 0 && self.input[offset - 1] == b'\n';
        self.error_at(offset - usize::from(newline), message)
    }

    fn error_at(&self, offset: usize, message: &'static str) -> SyntaxError {
        let before = &self.input[..offset];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        SyntaxError { line: count_newlines(before) + 1, column: offset - start + 1, message }
    }
}

const BAD_NAME: &str = "invalid character in name field";

fn count_newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// C's isspace: one more than `u8::is_ascii_whitespace`, the vertical tab.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_package_name(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_kind(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// Names and types are ASCII once they have passed their check.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
