//! What goes to standard output.

use super::failure::Failure;
use super::pattern::fill;
use super::text::{tone, visible};
use super::view::View;
use crate::error::is_dangerous;
use openwrt_ubus::Fields;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

/// Text that is being put together.
pub struct Page {
    /// For standard output.
    pub text: String,
    /// For standard error.
    pub errors: String,
    /// Whether states are painted.
    pub color: bool,
    /// Seconds since 1970, for "3m ago".
    pub now: u64,
}

impl Page {
    /// For standard output.
    pub fn stdout() -> Page {
        Page { color: wants_color(&io::stdout()), now: now(), ..Page::plain() }
    }

    /// Without colors or a clock.
    pub const fn plain() -> Page {
        Page { text: String::new(), errors: String::new(), color: false, now: 0 }
    }

    /// Adds a line.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Adds a line on standard error.
    pub fn complain(&mut self, message: &str) {
        self.errors.push_str(&format!("cloudbox: {}\n", visible(message)));
    }

    /// Adds a line made of the reply by a [pattern](super::pattern), unless it is empty.
    pub fn add(&mut self, pattern: &str, view: &View<'_>) {
        let line = fill(pattern, view, self);
        if !line.is_empty() {
            self.line(&line);
        }
    }

    /// A state in its color.
    pub fn painted(&self, state: &str) -> String {
        match tone(state) {
            tone if self.color && !tone.is_empty() => [tone, state, "\x1b[0m"].concat(),
            _ => state.to_string(),
        }
    }

    /// Adds encoded fields as JSON, over several lines.
    pub fn json(&mut self, fields: &[u8]) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(&Fields::new(fields))
            .map_err(|error| Failure::refusal(format_args!("the reply cannot be decoded: {error}")))?;
        push_json(&mut self.text, &json);
        self.text.push('\n');
        Ok(())
    }

    /// Prints what has come together.
    pub fn print(&mut self) -> Result<(), Failure> {
        write_stdout(std::mem::take(&mut self.text).as_bytes())?;
        let _ = io::stderr().write_all(std::mem::take(&mut self.errors).as_bytes());
        Ok(())
    }
}

/// Prints encoded fields as JSON.
pub fn print_json(fields: &[u8]) -> Result<(), Failure> {
    let mut page = Page::plain();
    page.json(fields)?;
    page.print()
}

/// Adds `json` to `out`. JSON escapes most control characters, and the few others may be: the value stays the same.
pub fn push_json(out: &mut String, json: &str) {
    for c in json.chars() {
        match c {
            // The line ends between the values.
            '\n' => out.push(c),
            c if is_dangerous(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Writes to standard output. A reader who has seen enough (`| head -1`) ends the program, as it ends others.
pub fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::refusal(format_args!("cannot write to standard output: {error}"))),
    }
}

/// Colors are for people, and not for all of them: <https://no-color.org>.
pub fn wants_color(stream: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::blobmsg::Builder;

    #[test]
    fn json_is_exact_and_harmless() {
        let mut fields = Builder::new();
        fields.int("big", 9_007_199_254_740_993).int("small", -1).bool("yes", true);
        fields.str("text", "a\x1b[1m\u{9b}31m\u{202e}\nb\"");
        let fields = fields.finish().unwrap();
        let mut page = Page::plain();
        page.json(&fields).unwrap();
        assert_eq!(
            page.text,
            "{\n  \"big\": 9007199254740993,\n  \"small\": -1,\n  \"yes\": true,\n  \"text\": \"a\\u001b[1m\\u009b31m\\u202e\\nb\\\"\"\n}\n"
        );
        let back: serde_json::Value = serde_json::from_str(&page.text).unwrap();
        assert_eq!(back["text"], "a\x1b[1m\u{9b}31m\u{202e}\nb\"");
    }
}
