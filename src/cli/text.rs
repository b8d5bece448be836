//! Text for people: harmless, short, aligned.

use crate::error::is_dangerous;
use crate::model::size::Bytes;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// `text` without what a terminal would obey: control characters are written as escapes, and so are the marks that
/// turn the direction of writing, which could make one name look like another.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            c if is_dangerous(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Lines as a program wrote them, without what a terminal would obey but for colors and tabs.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '\n' | '\t' => shown.push(c),
            // Before a newline it is usual, and elsewhere it would write over what stands there.
            '\r' => {}
            '\x1b' if color(rest) > 0 => {
                length = color(rest);
                shown.push_str(&rest[..length]);
            }
            c if is_dangerous(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        rest = &rest[length..];
    }
    if shown.contains('\x1b') {
        shown.push_str("\x1b[0m");
    }
    shown
}

/// Lines as a program wrote them; [`harmless`] where `stream`, to which they go, is a terminal.
pub fn shown<'a>(text: &'a str, stream: &impl IsTerminal) -> Cow<'a, str> {
    match stream.is_terminal() {
        true => harmless(text).into(),
        false => text.into(),
    }
}

/// Bytes of the color, `ESC[0;32m`, that `text` begins with.
fn color(text: &str) -> usize {
    let Some(inner) = text.strip_prefix("\x1b[") else { return 0 };
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(0);
    if inner[end..].starts_with('m') {
        end + 3
    } else {
        0
    }
}

/// A terminal that a file's content is written to: it gets of it only what is [`harmless`].
pub struct Terminal<W>(pub W);

impl<W: Write> Write for Terminal<W> {
    // A character that two writes share is shown as one that cannot be.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(harmless(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `256M`; nothing known is `-`.
pub fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(dash, |bytes| Bytes(bytes).to_string())
}

/// `23.4M/256M`; without either, `-`.
pub fn share(used: Option<u64>, limit: Option<u64>) -> String {
    match (used, limit) {
        (None, None) => dash(),
        (Some(used), None) => size(Some(used)),
        (used, limit) => format!("{}/{}", size(used), size(limit)),
    }
}

/// `12.3%`, of thousandths.
pub fn percent(thousandths: u64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// `text`, or `-` when it is empty.
pub fn or_dash(text: String) -> String {
    if text.is_empty() {
        dash()
    } else {
        text
    }
}

fn dash() -> String {
    "-".to_string()
}

/// `5s`, `3m 4s`, `2h 5m`, `3d 4h`: two units are enough for anybody.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `one thing`, `2 things`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Columns as wide as what is in them.
#[derive(Default)]
pub struct Table {
    titles: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With a line of titles: `NAME|>SIZE|STATE`. Columns marked with `>` are numbers; that of states is painted.
    pub fn titled(titles: &'static str) -> Table {
        let row =
            titles.split('|').map(|title| title.strip_prefix('>').unwrap_or(title).to_string()).collect();
        Table { titles, rows: vec![row] }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a line of a name and a value, unless there is no value.
    pub fn pair(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.rows.push(vec![name.to_string(), value]);
        }
    }

    /// Writes it to `out`, each line after `indent`.
    pub fn write(&self, out: &mut String, indent: &str, color: bool) {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        for row in &self.rows {
            out.push_str(indent);
            let mut titles = self.titles.split('|');
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let title = titles.next().unwrap_or_default();
                let padding = width - cell.chars().count();
                let right = title.starts_with('>');
                if right {
                    spaces(out, padding);
                }
                match if color && title == "STATE" { tone(cell) } else { "" } {
                    "" => out.push_str(cell),
                    tone => out.extend([tone, cell, "\x1b[0m"]),
                }
                if column + 1 < row.len() {
                    spaces(out, if right { 2 } else { padding + 2 });
                }
            }
            out.push('\n');
        }
    }
}

/// The color of a state; empty for one that is neither good nor bad.
pub fn tone(state: &str) -> &'static str {
    match state {
        "running" | "done" | "ok" => "\x1b[32m",
        "failed" | "error" | "FAIL" | "orphan" => "\x1b[31m",
        "warning" | "warn" | "cancelled" | "frozen" => "\x1b[33m",
        _ => "",
    }
}

/// Adds blanks.
pub fn spaces(out: &mut String, number: usize) {
    out.extend(std::iter::repeat_n(' ', number));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_colors_and_nothing_else() {
        for (text, shown) in [
            ("plain\r\n\ttab", "plain\n\ttab"),
            ("\x1b[0;32mOK\x1b[m", "\x1b[0;32mOK\x1b[m\x1b[0m"),
            ("\x1b[2J\x1b]0;title\x07", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\x1b[1", "\\u{1b}[1"),
            ("\x1b", "\\u{1b}"),
            ("\u{9b}31m\u{202e}\u{1f980}", "\\u{9b}31m\\u{202e}\u{1f980}"),
        ] {
            assert_eq!(harmless(text), shown);
            let mut terminal = Terminal(Vec::new());
            terminal.write_all(text.as_bytes()).unwrap();
            assert_eq!(terminal.0, shown.as_bytes());
        }
        let mut terminal = Terminal(Vec::new());
        terminal.write_all(b"\x9b31m\xff").unwrap();
        assert_eq!(terminal.0, "\u{fffd}31m\u{fffd}".as_bytes());
    }

    #[test]
    fn a_terminal_is_not_to_be_commanded() {
        for (text, shown) in [
            ("plain ü", "plain ü"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("a\nb\tc\r", "a\\nb\\tc\\u{d}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}fdp.exe", "abc\\u{202e}fdp.exe"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(size(None), "-");
        assert_eq!(size(Some(256 << 20)), "256M");
        assert_eq!(share(Some(24_537_907), Some(256 << 20)), "23.4M/256M");
        assert_eq!(share(None, Some(256 << 20)), "-/256M");
        assert_eq!(share(None, None), "-");
        for (seconds, shown) in
            [(0, "0s"), (59, "59s"), (184, "3m 4s"), (7500, "2h 5m"), (273_600, "3d 4h"), (3600, "1h 0m")]
        {
            assert_eq!(duration(seconds), shown);
        }
        assert_eq!(count(1, "job"), "1 job");
        assert_eq!(count(2, "job"), "2 jobs");
    }

    #[test]
    fn columns_fit_their_content_and_no_line_ends_in_blanks() {
        let mut table = Table::titled("NAME|>N|STATE");
        table.row(vec!["a".into(), "10".into(), "running".into()]);
        table.row(vec!["longer".into(), "7".into(), "stopped".into()]);
        let mut out = String::new();
        table.write(&mut out, "", false);
        assert_eq!(out, "NAME     N  STATE\na       10  running\nlonger   7  stopped\n");
        out.clear();
        table.write(&mut out, "", true);
        assert!(out.contains("\x1b[32mrunning\x1b[0m\n"), "{out:?}");
    }
}
