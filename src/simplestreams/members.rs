//! Goes through an object of JSON that may be megabytes long, and holds one member of it at a time.
//!
//! What is kept in memory is the text of one member; that is then read as a whole. What nobody asked for is
//! passed over, and only as far judged as finding its end needs.

use crate::error::{quoted, Code, Error, Result};
use std::io::{ErrorKind, Read};

/// The longest member that is kept, and the longest name of one.
const MEMBER_MAX: usize = 512 << 10;
const NAME_MAX: usize = 512;
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// Shows `visit` each member of the object `list` in the object that `input` holds: its name, and the JSON text of its
/// value. Other members of the whole come the same way, with `false`, when they are no objects or lists.
///
/// # Errors
/// It is no such JSON; or what `visit` says.
pub fn each(input: &mut dyn Read, list: &str, visit: &mut Visit<'_>) -> Result<()> {
    let mut scanner = Scanner { input, chunk: vec![0; CHUNK], at: 0, end: 0, kept: None };
    match scanner.space()? {
        Some(b'{') => {}
        None => return Err(wrong("it is empty")),
        Some(b'<') => return Err(wrong("it is a web page; is the address that of a simplestreams server?")),
        Some(_) => return Err(wrong("it does not begin with {")),
    }
    scanner.members(&mut |scanner, name| match scanner.space()? {
        Some(b'{') if name == list => {
            scanner.members(&mut |scanner, name| visit(true, &name, &scanner.keep()?))
        }
        Some(b'{' | b'[') => scanner.value(),
        _ => {
            let text = scanner.keep()?;
            visit(false, &name, &text)
        }
    })?;
    match scanner.space()? {
        None => Ok(()),
        Some(_) => Err(wrong("something follows its end")),
    }
}

/// Is shown members: whether it is one of the list, its name, its text.
pub type Visit<'a> = dyn FnMut(bool, &str, &str) -> Result<()> + 'a;

struct Scanner<'a> {
    input: &'a mut dyn Read,
    chunk: Vec<u8>,
    /// The byte at hand, and the end of what was read.
    at: usize,
    end: usize,
    /// What was gone past since [`Scanner::keep`] began.
    kept: Option<Vec<u8>>,
}

type Member<'m, 'a> = dyn FnMut(&mut Scanner<'a>, String) -> Result<()> + 'm;

impl<'a> Scanner<'a> {
    /// Goes through the members of the object at hand.
    fn members(&mut self, each: &mut Member<'_, 'a>) -> Result<()> {
        self.next()?;
        if self.space()? == Some(b'}') {
            return self.next().map(drop);
        }
        loop {
            if self.space()? != Some(b'"') {
                return Err(self.unlike("a name in quotes"));
            }
            let name = self.name()?;
            if self.space()? != Some(b':') {
                return Err(self.unlike("':' behind a name"));
            }
            self.next()?;
            each(self, name)?;
            let end = self.space()?;
            match end {
                Some(b',') => drop(self.next()?),
                Some(b'}') => return self.next().map(drop),
                _ => return Err(self.unlike("',' or '}' behind a value")),
            }
        }
    }

    fn name(&mut self) -> Result<String> {
        let text = self.keep()?;
        if text.len() > NAME_MAX {
            return Err(wrong("a name in it is too long"));
        }
        serde_json::from_str(&text).map_err(|e| wrong(&e.to_string()))
    }

    /// Goes past the value at hand and returns its text.
    fn keep(&mut self) -> Result<String> {
        self.space()?;
        self.kept = Some(Vec::new());
        let passed = self.value();
        let kept = self.kept.take().unwrap_or_default();
        passed?;
        String::from_utf8(kept).map_err(|_| wrong("it is not UTF-8"))
    }

    /// Goes past the value at hand.
    fn value(&mut self) -> Result<()> {
        let mut depth = 0_u32;
        loop {
            match self.space()? {
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    depth = depth.saturating_add(1);
                    self.next()?;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.next()?;
                }
                Some(b',' | b':') if depth > 0 => drop(self.next()?),
                Some(b',' | b':' | b'}' | b']') => return Err(self.unlike("a value")),
                // A number or a word; what follows it ends it.
                Some(_) => self.word()?,
                None => return Err(cut()),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Result<()> {
        while !matches!(self.peek()?, None | Some(b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')) {
            self.next()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<()> {
        self.next()?;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => drop(self.next()?),
                _ => {}
            }
        }
    }

    /// The byte at hand behind white space.
    fn space(&mut self) -> Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => drop(self.next()?),
                other => return Ok(other),
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        while self.at == self.end {
            match self.input.read(&mut self.chunk) {
                Ok(0) => return Ok(None),
                Ok(got) => (self.at, self.end) = (0, got),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(wrong(&format!("it cannot be read: {e}"))),
            }
        }
        Ok(self.chunk.get(self.at).copied())
    }

    fn next(&mut self) -> Result<u8> {
        let byte = self.peek()?.ok_or_else(cut)?;
        self.at += 1;
        if let Some(kept) = &mut self.kept {
            if kept.len() == MEMBER_MAX {
                return Err(wrong("one entry of it is too long"));
            }
            kept.push(byte);
        }
        Ok(byte)
    }

    /// What stands there is not what should.
    fn unlike(&mut self, wanted: &str) -> Error {
        match self.peek() {
            Ok(Some(byte)) => {
                let found = quoted(&char::from(byte).to_string());
                wrong(&format!("{found} stands where {wanted} should"))
            }
            _ => cut(),
        }
    }
}

fn cut() -> Error {
    wrong("it ends in the middle")
}

/// What is wrong with the whole.
pub(super) fn wrong(why: &str) -> Error {
    Error::new(Code::Failed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(1);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn seen(text: &str) -> std::result::Result<Vec<String>, String> {
        let mut seen = Vec::new();
        let mut visit = |inside: bool, name: &str, text: &str| {
            seen.push(format!("{}{name} {text}", if inside { "/" } else { "" }));
            Ok(())
        };
        let whole = each(&mut text.as_bytes(), "list", &mut visit);
        let dropped = each(&mut Drops(text.as_bytes()), "list", &mut |_, _, _| Ok(()));
        assert_eq!(whole, dropped, "{text}");
        whole.map(|()| seen).map_err(Error::into_message)
    }

    #[test]
    fn members_are_shown_as_they_stand() {
        let none: Vec<String> = Vec::new();
        assert_eq!(seen("{}"), Ok(none.clone()));
        assert_eq!(seen(" { \"list\" : { } } \n"), Ok(none));
        let text = r#"{"a":1,"skip":[1,{"list":2}],"list":{"x\u0041":{"k":["}","\""]},"y": -1.5e3 },"b":"t\"}","c":true}"#;
        let members = seen(text).unwrap();
        assert_eq!(members, ["a 1", "/xA {\"k\":[\"}\",\"\\\"\"]}", "/y -1.5e3", "b \"t\\\"}\"", "c true"]);
    }

    #[test]
    fn what_is_no_such_json_is_refused() {
        for (text, why) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("<!DOCTYPE html><html>", "it is a web page"),
            ("[]", "does not begin with {"),
            ("{", "ends in the middle"),
            ("{\"list\"", "ends in the middle"),
            ("{\"list\":{\"a\":{\"b\":1}", "ends in the middle"),
            ("{\"list\":{\"a\":\"b", "ends in the middle"),
            ("{\"list\":{\"a\":\"b\\", "ends in the middle"),
            ("{\"a\":1", "ends in the middle"),
            ("{a:1}", "\"a\" stands where a name in quotes should"),
            ("{\"a\" 1}", "\"1\" stands where ':' behind a name should"),
            ("{\"a\":,}", "\",\" stands where a value should"),
            ("{\"a\":1 2}", "\"2\" stands where ',' or '}' behind a value should"),
            ("{\"a\":1,}", "\"}\" stands where a name in quotes should"),
            ("{}{}", "something follows its end"),
            ("{\"\\x\":1}", "invalid escape"),
        ] {
            let said = seen(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        let long = format!("{{\"list\":{{\"a\":\"{}\"}}}}", "x".repeat(MEMBER_MAX));
        assert!(seen(&long).unwrap_err().contains("too long"));
        let long = format!("{{\"{}\":1}}", "x".repeat(NAME_MAX));
        assert!(seen(&long).unwrap_err().contains("too long"));
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(seen(&deep).unwrap_err().contains("in the middle"));
        assert!(each(&mut &b"{\"list\":{\"\xff\":1}}"[..], "list", &mut |_, _, _| Ok(())).is_err());
    }

    #[test]
    fn what_the_visitor_says_is_passed_on() {
        let refuse = |_: bool, _: &str, _: &str| Err(wrong("no"));
        assert_eq!(each(&mut &b"{\"list\":{\"a\":1}}"[..], "list", &mut { refuse }), Err(wrong("no")));
    }
}
