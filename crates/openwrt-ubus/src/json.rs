//! JSON, which is how people write fields and how programs keep them, to fields and back.
//!
//! What cannot be said on the bus is refused: text with a NUL inside, integers beyond 64 bits, nesting beyond 32, more
//! than 1 MiB. A name may come twice in an object; readers of fields take the first.
//!
//! A module of its own instead of `serde_json`, which is 46 KB in a small program: one parser and one printer, for any
//! type by way of its fields.
//!
//! ```
//! use openwrt_ubus::json;
//!
//! let fields = json::to_fields(r#"{"name": "web", "limits": {"memory": 268435456}}"#)?;
//! assert_eq!(json::from_fields(&fields, json::Layout::Line)?, r#"{"name":"web","limits":{"memory":268435456}}"#);
//! # Ok::<(), openwrt_ubus::Error>(())
//! ```

use crate::blob::{DecodeError, MAX_DEPTH};
use crate::blobmsg::{Builder, Fields, Type, Value};
use crate::error::Error;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// How JSON is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On one line, without spaces.
    Line,
    /// Every value on a line of its own, indented by two spaces for each level.
    Indented,
}

/// Reads the object `text` as a bare run of fields.
///
/// # Errors
/// It is no JSON, no object, or cannot be said on the bus; tells the line and the column.
pub fn to_fields(text: &str) -> Result<Vec<u8>, Error> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, out: Builder::new() };
    match parser.document() {
        Ok(()) => Ok(parser.out.finish()?),
        Err(wrong) => Err(parser.error(wrong)),
    }
}

/// Writes fields as an object. Text that is not UTF-8 has its wrong bytes replaced.
///
/// # Errors
/// The bytes are malformed, or nested deeper than [`MAX_DEPTH`].
pub fn from_fields(fields: &[u8], layout: Layout) -> Result<String, DecodeError> {
    from_value(Value::Table(Fields::new(fields)), layout)
}

/// Writes one value.
///
/// # Errors
/// As [`from_fields`].
pub fn from_value(value: Value<'_>, layout: Layout) -> Result<String, DecodeError> {
    let mut printer = Printer { out: String::new(), layout, depth: 0 };
    printer.value(value)?;
    Ok(printer.out)
}

/// Writes a text.
pub fn string(text: &str) -> String {
    let mut printer = Printer { out: String::new(), layout: Layout::Line, depth: 0 };
    printer.string(text.as_bytes());
    printer.out
}

/// Reads a `T` from the object `text`, as [`crate::from_fields`] does.
///
/// # Errors
/// As [`to_fields`] and [`crate::from_fields`].
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    crate::from_fields(&to_fields_of_bytes(text)?)
}

fn to_fields_of_bytes(text: &[u8]) -> Result<Vec<u8>, Error> {
    to_fields(std::str::from_utf8(text).map_err(|_| Error::new("it is not UTF-8 text"))?)
}

/// Writes `value` as an object, as [`crate::to_fields`] does: what is `None` is left out.
///
/// # Errors
/// As [`crate::to_fields`].
pub fn to_string<T: Serialize + ?Sized>(value: &T, layout: Layout) -> Result<String, Error> {
    Ok(from_fields(&crate::to_fields(value)?, layout)?)
}

/// A double as JSON: the fewest of 15 or 17 digits that say which one it is. What JSON cannot say is `null`.
///
/// Neither core's shortest digits nor its parser, which are a tenth of a small program each.
pub fn double(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let exact = Decimal::of(value.abs());
    let short = exact.rounded(15);
    let digits = if short.is_exact() && short.value() == value.abs() { short } else { exact.rounded(17) };
    [sign, &digits.text()].concat()
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    out: Builder,
}

/// What is wrong where the parser stands.
type Wrong = &'static str;

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Wrong> {
        if self.peek() != Some(b'{') {
            return Err("expected an object");
        }
        self.at += 1;
        self.members(b'}')?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err("expected nothing more"),
        }
    }

    /// What is between the brackets, and the closing one.
    fn members(&mut self, close: u8) -> Result<(), Wrong> {
        if self.take(close) {
            return Ok(());
        }
        loop {
            let mut name = String::new();
            if close == b'}' {
                if !self.take(b'"') {
                    return Err("expected a name in quotes");
                }
                name = self.string()?;
                if !self.take(b':') {
                    return Err("expected ':'");
                }
            }
            self.value(&name)?;
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(if close == b'}' { "expected ',' or '}'" } else { "expected ',' or ']'" });
            }
        }
    }

    fn value(&mut self, name: &str) -> Result<(), Wrong> {
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                self.at += 1;
                let (ty, close) = if open == b'{' { (Type::Table, b'}') } else { (Type::Array, b']') };
                let start = self.out.open(ty, name);
                // Asked at once: the depth of this recursion is what it limits.
                self.refused()?;
                self.members(close)?;
                self.out.close(start);
            }
            Some(b'"') => {
                self.at += 1;
                let text = self.string()?;
                self.out.str(name, &text);
            }
            Some(b'-' | b'0'..=b'9') => self.number(name)?,
            _ if self.word(b"true") => {
                self.out.bool(name, true);
            }
            _ if self.word(b"false") => {
                self.out.bool(name, false);
            }
            _ if self.word(b"null") => {
                self.out.null(name);
            }
            _ => return Err("expected a value"),
        }
        self.refused()
    }

    fn refused(&self) -> Result<(), Wrong> {
        self.out.error().map_or(Ok(()), |error| Err(error.as_str()))
    }

    /// The rest of a string whose quote has been read.
    fn string(&mut self) -> Result<String, Wrong> {
        let mut text = Vec::new();
        loop {
            let byte = self.next().ok_or("the text has no end")?;
            match byte {
                // No part of a longer character is below 0x80.
                b'"' => return String::from_utf8(text).map_err(|_| "the text is not UTF-8"),
                b'\\' => {
                    let character = self.escaped()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err("write a control character in text as \\n, \\t or \\u001f"),
                byte => text.push(byte),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Wrong> {
        const UNKNOWN: Wrong = "expected one of \" \\ / b f n r t u after the backslash";
        Ok(match self.next().ok_or(UNKNOWN)? {
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            byte @ (b'"' | b'\\' | b'/') => byte.into(),
            b'u' => {
                const HALF: Wrong = "expected both halves of a character, such as \\ud83d\\ude00";
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) {
                    if self.next() != Some(b'\\') || self.next() != Some(b'u') {
                        return Err(HALF);
                    }
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(HALF);
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                char::from_u32(code).ok_or(HALF)?
            }
            _ => return Err(UNKNOWN),
        })
    }

    fn hex(&mut self) -> Result<u32, Wrong> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|byte| char::from(byte).to_digit(16));
            code = code << 4 | digit.ok_or("expected four hex digits after \\u")?;
        }
        Ok(code)
    }

    fn number(&mut self, name: &str) -> Result<(), Wrong> {
        let start = self.at;
        let negative = self.step(b"-");
        let mut decimal = Decimal { digits: Vec::new(), exponent: 0 };
        let first = self.at;
        self.digits(&mut decimal)?;
        if self.at - first > 1 && self.text[first] == b'0' {
            return Err("a number does not begin with 0");
        }
        let whole = !matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E'));
        if self.step(b".") {
            decimal.exponent -= self.digits(&mut decimal)?;
        }
        if self.step(b"eE") {
            let down = self.step(b"-");
            if !down {
                self.step(b"+");
            }
            let mut power = Decimal { digits: Vec::new(), exponent: 0 };
            self.digits(&mut power)?;
            let power = power
                .digits
                .iter()
                .fold(0_i32, |power, digit| power.saturating_mul(10).saturating_add((*digit).into()));
            decimal.exponent = decimal.exponent.saturating_add(if down { -power } else { power });
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if whole {
            // No double instead: it would be another number.
            self.out.int(name, text.parse().map_err(|_| "a number beyond 64 bits cannot be sent over ubus")?);
            return Ok(());
        }
        let value = decimal.value();
        if !value.is_finite() {
            return Err("the number is too large");
        }
        self.out.double(name, if negative { -value } else { value });
        Ok(())
    }

    /// Adds at least one digit; returns how many.
    fn digits(&mut self, decimal: &mut Decimal) -> Result<i32, Wrong> {
        let start = decimal.digits.len();
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            decimal.digits.push(digit - b'0');
            self.at += 1;
        }
        match decimal.digits.len() - start {
            0 => Err("expected a digit"),
            count => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// The byte at hand, without white space before it.
    fn peek(&mut self) -> Option<u8> {
        while self.step(b" \t\r\n") {}
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// Goes past one of `bytes`, if one is at hand.
    fn step(&mut self, bytes: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// The same past white space.
    fn take(&mut self, byte: u8) -> bool {
        self.peek();
        self.step(&[byte])
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn error(&self, wrong: Wrong) -> Error {
        let read = &self.text[..self.at];
        let line = 1 + read.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + read.iter().rev().take_while(|byte| **byte != b'\n').count();
        Error::new(format!("{wrong} at line {line} column {column}"))
    }
}

struct Printer {
    out: String,
    layout: Layout,
    depth: usize,
}

impl Printer {
    fn value(&mut self, value: Value<'_>) -> Result<(), DecodeError> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Array(fields) => return self.members(fields, None),
            Value::Table(fields) => return self.members(fields, Some(())),
            Value::Str(text) => self.string(text),
            Value::Int64(v) => self.out.push_str(&v.to_string()),
            Value::Int32(v) => self.out.push_str(&i64::from(v).to_string()),
            Value::Int16(v) => self.out.push_str(&i64::from(v).to_string()),
            Value::Bool(v) => self.out.push_str(if v == 0 { "false" } else { "true" }),
            Value::Double(v) => self.out.push_str(&double(v)),
        }
        Ok(())
    }

    fn members(&mut self, fields: Fields<'_>, names: Option<()>) -> Result<(), DecodeError> {
        if self.depth > MAX_DEPTH {
            return Err(DecodeError::Depth);
        }
        self.out.push(if names.is_some() { '{' } else { '[' });
        self.depth += 1;
        let mut separator = "";
        for field in fields {
            let field = field?;
            self.out.push_str(separator);
            separator = ",";
            self.line();
            if names.is_some() {
                self.string(field.name);
                self.out.push_str(if self.layout == Layout::Indented { ": " } else { ":" });
            }
            self.value(field.value)?;
        }
        self.depth -= 1;
        if !separator.is_empty() {
            self.line();
        }
        self.out.push(if names.is_some() { '}' } else { ']' });
        Ok(())
    }

    fn line(&mut self) {
        if self.layout == Layout::Indented {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("  ");
            }
        }
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push('"');
        for character in String::from_utf8_lossy(text).chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                '\0'..='\x1f' => {
                    self.out.push_str("\\u00");
                    for digit in [character as u32 >> 4, character as u32 & 15] {
                        self.out.push(char::from_digit(digit, 16).unwrap_or('0'));
                    }
                }
                character => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}

/// The powers of ten up to this one are doubles.
const POWERS: i32 = 22;

/// `digits` times ten to the power of `exponent`.
struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    /// All digits of a number that is finite and not negative.
    fn of(value: f64) -> Decimal {
        let bits = value.to_bits();
        let (fraction, power) = (bits & ((1 << 52) - 1), (bits >> 52) as i32 & 0x7ff);
        // Without a power it is subnormal, and has no hidden bit.
        let mantissa = fraction | if power == 0 { 0 } else { 1 << 52 };
        let power = power.max(1) - 1075;
        let mut decimal = Decimal {
            digits: mantissa.to_string().into_bytes().iter().map(|digit| digit - b'0').collect(),
            exponent: power.min(0),
        };
        // A half is five tenths.
        let factor = if power < 0 { 5 } else { 2 };
        for _ in 0..power.unsigned_abs() {
            decimal.multiply(factor);
        }
        decimal
    }

    fn multiply(&mut self, factor: u8) {
        let mut carry = 0;
        for digit in self.digits.iter_mut().rev() {
            let product = *digit * factor + carry;
            (*digit, carry) = (product % 10, product / 10);
        }
        if carry > 0 {
            self.digits.insert(0, carry);
        }
    }

    /// The nearest with no more than `count` digits, and no zeros at its end.
    fn rounded(&self, count: usize) -> Decimal {
        let mut digits = self.digits.clone();
        let mut exponent = self.exponent;
        let up = digits.get(count).is_some_and(|digit| *digit >= 5);
        exponent += i32::try_from(digits.len().saturating_sub(count)).unwrap_or(i32::MAX);
        digits.truncate(count);
        if up {
            match digits.iter().rposition(|digit| *digit < 9) {
                Some(last) => {
                    digits[last] += 1;
                    digits[last + 1..].fill(0);
                }
                None => {
                    digits.fill(0);
                    digits.insert(0, 1);
                }
            }
        }
        while digits.len() > 1 && digits.ends_with(&[0]) {
            digits.pop();
            exponent += 1;
        }
        Decimal { digits, exponent }
    }

    /// Whether [`Decimal::value`] is the nearest double: all factors are doubles themselves.
    fn is_exact(&self) -> bool {
        self.digits.len() <= 15 && self.exponent.abs() <= POWERS
    }

    /// Within a few units of the last place, where it is not exact.
    fn value(&self) -> f64 {
        let (mut mantissa, mut exponent) = (0_u64, self.exponent);
        for digit in &self.digits {
            if mantissa < u64::MAX / 10 - 9 {
                mantissa = mantissa * 10 + u64::from(*digit);
            } else {
                exponent = exponent.saturating_add(1);
            }
        }
        let mut value = mantissa as f64;
        // A power of ten that is out of range may bring the product back into it.
        let mut left = exponent.clamp(-400, 400);
        while left != 0 && value != 0.0 {
            let step = left.clamp(-POWERS, POWERS);
            left -= step;
            let power = (0..step.abs()).fold(1.0, |power, _| power * 10.0);
            value = if step > 0 { value * power } else { value / power };
        }
        value
    }

    fn text(&self) -> String {
        let mut text: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        if text == "0" {
            return "0.0".to_owned();
        }
        let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
        // Where the point is, counted from the first digit.
        let point = length.saturating_add(self.exponent);
        match usize::try_from(point) {
            Ok(point @ 1..=16) if point < text.len() => text.insert(point, '.'),
            Ok(point @ 1..=16) => {
                text.extend(std::iter::repeat_n('0', point - text.len()));
                text.push_str(".0");
            }
            _ if (-4..=0).contains(&point) => {
                let zeros = "0000".get(..point.unsigned_abs() as usize).unwrap_or_default();
                text = ["0.", zeros, &text].concat();
            }
            _ => {
                if text.len() > 1 {
                    text.insert(1, '.');
                }
                text.push_str(if point > 0 { "e+" } else { "e" });
                text.push_str(&(point - 1).to_string());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        to_fields(text).unwrap_err().to_string()
    }

    /// What serde_json makes of `text`, by way of our own fields.
    fn expected(text: &str) -> Vec<u8> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        crate::to_fields(&value).unwrap()
    }

    const GOOD: &[&str] = &[
        "{}",
        " {\t\"a\" :\r\n null } \n",
        r#"{"a":true,"b":false,"c":[],"d":{},"e":[[],{}],"f":[1,[2,[3]]]}"#,
        r#"{"":"","a":"é☃😀","b":"\"\\\/\b\f\n\r\t\u00e9\u2603\ud83d\ude00\u001f"}"#,
        r#"{"a":0,"b":-1,"c":2147483647,"d":2147483648,"e":-2147483648,"f":-2147483649}"#,
        r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
        r#"{"a":0.5,"b":-0.25,"c":1e3,"d":1E+3,"e":1.5e-3,"f":0.1,"g":123456.789,"h":1e22,"i":0.0,"j":-0.0}"#,
        r#"{"a":[{"b":[{"c":"d"}]}]}"#,
    ];

    #[test]
    fn reads_and_writes_what_serde_json_does() {
        for text in GOOD {
            let fields = to_fields(text).unwrap();
            assert_eq!(fields, expected(text), "{text}");
            let view = Fields::new(&fields);
            assert_eq!(from_fields(&fields, Layout::Line).unwrap(), serde_json::to_string(&view).unwrap());
            let indented = serde_json::to_string_pretty(&view).unwrap();
            assert_eq!(from_fields(&fields, Layout::Indented).unwrap(), indented);
            assert_eq!(to_fields(&indented).unwrap(), fields);
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_read_as_serde_json_reads_it() {
        let mut refused = 0;
        for text in GOOD {
            for at in 0..text.len() {
                for byte in *b"\"\\{}[],:-+.eE019x \n\x07" {
                    let mut changed = text.as_bytes().to_vec();
                    changed[at] = byte;
                    let Ok(changed) = String::from_utf8(changed) else { continue };
                    for text in [text.get(..at).unwrap_or_default(), &changed] {
                        let theirs = serde_json::from_str::<serde_json::Map<_, _>>(text);
                        match to_fields(text) {
                            Ok(_) => assert!(theirs.is_ok(), "{text}"),
                            // Theirs are a few that the bus cannot carry.
                            Err(e) if e.to_string().contains("64 bits") => {}
                            Err(e) => {
                                refused += 1;
                                assert!(theirs.is_err(), "{text}: {e}");
                            }
                        }
                    }
                }
            }
        }
        assert!(refused > 1000);
    }

    #[test]
    fn errors_tell_where() {
        for (text, wrong) in [
            ("", "expected an object at line 1 column 1"),
            ("[1]", "expected an object at line 1 column 1"),
            ("{} x", "expected nothing more at line 1 column 4"),
            ("{\"a\":\n  tru}", "expected a value at line 2 column 3"),
            ("{a:1}", "expected a name in quotes at line 1 column 2"),
            ("{\"a\" 1}", "expected ':' at line 1 column 6"),
            ("{\"a\":1 \"b\"}", "expected ',' or '}' at line 1 column 8"),
            ("{\"a\":[1 2]}", "expected ',' or ']' at line 1 column 9"),
            ("{\"a\":[1,]}", "expected a value at line 1 column 9"),
            ("{\"a\":\"b", "the text has no end at line 1 column 8"),
            ("{\"a\":\"\\ud800x\"}", "expected both halves"),
            ("{\"a\":\"\\udc00\"}", "expected both halves"),
            ("{\"a\":18446744073709551615}", "a number beyond 64 bits cannot be sent over ubus"),
            ("{\"a\":1e999}", "the number is too large"),
            ("{\"a\":\"\\u0000\"}", "text with a NUL byte inside cannot be sent over ubus"),
        ] {
            assert!(error(text).starts_with(wrong), "{text}: {}", error(text));
        }
        assert_eq!(from_slice::<()>(b"{\"\xff\":1}").unwrap_err().to_string(), "it is not UTF-8 text");
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
    fn damaged_fields_are_no_json() {
        let good = to_fields("{\"a\":{\"b\":[1,2]}}").unwrap();
        for length in 1..good.len() {
            assert!(from_fields(&good[..length], Layout::Line).is_err(), "{length}");
        }
    }

    #[test]
    fn doubles_are_the_same_when_read_again() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.3, "0.3"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.33333333333333331"),
            (123_456_789.125, "123456789.125"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (999_999_999_999_999.9, "999999999999999.88"),
            (0.000_012, "0.000012"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::from_bits(1), "4.9406564584124654e-324"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(double(value), text);
        }
        // A generator of the test's own, so that a failure comes again.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..500 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = double(value);
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
                let read = to_fields(&["{\"a\":", &text, "}"].concat()).unwrap();
                let Some(Value::Double(read)) = Fields::new(&read).get("a") else { panic!("{text}") };
                assert!((read / value - 1.0).abs() < 1e-14 || value.abs() < 1e-300, "{text}: {read}");
            }
        }
    }

    #[test]
    fn typed() {
        #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Record {
            name: String,
            size: Option<u64>,
        }
        let record = Record { name: "web".into(), size: None };
        let text = to_string(&record, Layout::Indented).unwrap();
        assert_eq!(text, "{\n  \"name\": \"web\"\n}");
        assert_eq!(from_slice::<Record>(text.as_bytes()).unwrap(), record);
        assert_eq!(from_slice::<Record>(b"{\"size\":1}").unwrap_err().to_string(), "name: is missing");
    }
}
