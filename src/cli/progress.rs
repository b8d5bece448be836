//! How far a job is, for people.

use super::page::{wants_color, Page};
use super::pattern::fill;
use super::text::tone;
use super::view::View;
use std::io::{self, IsTerminal, Write};

/// Columns of a terminal that is as narrow as they get.
const COLUMNS: usize = 79;

/// Kinds of jobs, what is done while they run, and a pattern of what is so then. The last is for all others.
const KINDS: &[(&str, &str, &str)] = &[
    ("create", "creating", "{target} is made"),
    ("delete", "deleting", "{target} is deleted"),
    ("start", "starting", "{target} is running"),
    ("stop", "stopping", "{target} is stopped"),
    ("ended", "cleaning up after", "{target} is stopped"),
    ("image_import", "importing", "image {target} is imported"),
    ("image_delete", "deleting image", "image {target} is deleted"),
    ("image_pull", "pulling", "image {target} is here"),
    ("image_prune", "working on", "images are pruned"),
    ("", "working on", "{kind} of {target} is done"),
];

/// What is done while a job like this runs, and a pattern of what is so then.
pub fn words_of(job: &View<'_>) -> (&'static str, &'static str) {
    let kind = job.raw("kind");
    let mut known = KINDS.iter().filter(|(name, ..)| *name == kind || name.is_empty());
    known.next().map(|(_, doing, done)| (*doing, *done)).unwrap_or_default()
}

/// `creating web: mount 45% 12M/45M`
pub fn progress_line(job: &View<'_>) -> String {
    let step = if job.raw("state") == "pending" { ": waits for its turn" } else { "[: {step}]" };
    let bytes = match job.number("total") {
        Some(_) => "[ {percent:int}% {bytes:size}/{total:size}]",
        None => "[ {bytes:bytes}]",
    };
    fill(&[words_of(job).0, " {target}", step, bytes].concat(), job, &Page::plain())
}

/// The line on standard error that shows how far a job is. Only for people: nothing is shown but on a terminal.
#[derive(Default)]
pub struct Progress {
    terminal: bool,
    color: bool,
    shown: String,
}

impl Progress {
    /// On standard error.
    pub fn stderr() -> Progress {
        let stderr = io::stderr();
        Progress { terminal: stderr.is_terminal(), color: wants_color(&stderr), shown: String::new() }
    }

    /// Shows `line` instead of what is there.
    pub fn draw(&mut self, line: &str) {
        // A line that wraps cannot be taken back.
        let line: String = line.chars().take(COLUMNS).collect();
        if self.terminal && line != self.shown {
            self.write(&format!("\r\x1b[K{line}"));
            self.shown = line;
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.terminal {
            self.write("\r\x1b[K");
            self.shown.clear();
        }
    }

    /// Shows how it ended, to stay.
    pub fn result(&self, line: &str) {
        let (start, end) = if self.color { (tone("done"), "\x1b[0m") } else { ("", "") };
        if self.terminal {
            self.write(&format!("{start}{line}{end}\n"));
        }
    }

    fn write(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::blobmsg::Builder;

    #[test]
    pub fn progress_lines() {
        let line = |kind, state, step, bytes, total: Option<i64>| {
            let mut job = Builder::new();
            job.str("id", "17").str("kind", kind).str("target", "web").str("state", state).str("step", step);
            job.int("percent", total.map_or(0, |total| bytes * 100 / total)).int("bytes", bytes);
            if let Some(total) = total {
                job.int("total", total);
            }
            progress_line(&View::new(&job.finish().unwrap()))
        };
        for (text, shown) in [
            (line("create", "running", "mount", 12 << 20, Some(48 << 20)), "creating web: mount 25% 12M/48M"),
            (line("create", "pending", "", 0, None), "creating web: waits for its turn"),
            (line("image_import", "running", "unpack", 5 << 20, None), "importing web: unpack 5M"),
            (line("delete", "running", "", 0, None), "deleting web"),
            (line("new", "running", "\x1b[1m", 0, None), "working on web: \\u{1b}[1m"),
        ] {
            assert_eq!(text, shown);
        }
    }
}
