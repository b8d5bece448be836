//! Replies put into words by patterns: what a page says stands in one piece, and one function fills it in.
//!
//! `{name}` is the field's text, or its texts with commas between; `{error.message}` is a field of a table in the reply;
//! `{memory:share}` is a field put into words as [`Filler::in_words`] says. What stands in brackets is left out when one
//! of its own fields is empty or is not there: `{state}[ (pid {pid})]`.

use super::page::Page;
use super::text::{count, duration, percent, share, size};
use super::view::View;
use std::borrow::Cow;

/// Hex digits of a sha256 that tell images apart.
const SHORT_HASH: usize = 12;

/// Bytes that hold nearly every cell of a table.
const USUAL_CELL: usize = 24;

/// The text that `pattern` makes of the reply.
pub fn fill(pattern: &str, view: &View<'_>, page: &Page) -> String {
    let mut out = String::with_capacity(USUAL_CELL);
    Filler { rest: pattern, brackets: 0, passing: false, view: *view, page }.fill(&mut out);
    out
}

struct Filler<'a> {
    /// Of the pattern, what is still to be filled in.
    rest: &'a str,
    /// How many are open.
    brackets: usize,
    /// A field of the open brackets is not there: they are left out, and no other is asked for.
    passing: bool,
    view: View<'a>,
    page: &'a Page,
}

impl<'a> Filler<'a> {
    /// Fills in what comes before the next closing bracket. Says whether all fields were there.
    fn fill(&mut self, out: &mut String) -> bool {
        let mut whole = true;
        while let Some(at) = self.rest.bytes().position(|byte| matches!(byte, b'{' | b'[' | b']')) {
            let (text, rest) = self.rest.split_at(at);
            out.push_str(text);
            let (mark, rest) = rest.split_at(1);
            self.rest = rest;
            match mark {
                "{" => {
                    let (field, rest) = rest.split_once('}').unwrap_or_default();
                    self.rest = rest;
                    if self.passing {
                        // Looked at for its verb only.
                        debug_assert!(self.field(field).len() < usize::MAX);
                        continue;
                    }
                    let text = self.field(field);
                    if text.is_empty() {
                        whole = false;
                        self.passing = self.brackets > 0;
                    }
                    out.push_str(&text);
                }
                "[" => {
                    let (before, passing) = (out.len(), self.passing);
                    self.brackets += 1;
                    if !self.fill(out) {
                        out.truncate(before);
                    }
                    self.brackets -= 1;
                    self.passing = passing;
                }
                _ => return whole,
            }
        }
        out.push_str(self.rest);
        whole
    }

    /// A field put into words; empty when it is not there.
    fn field(&self, field: &str) -> Cow<'a, str> {
        let (mut name, how) = field.split_once(':').unwrap_or((field, ""));
        let mut view = self.view;
        while let Some((table, inner)) = name.split_once('.') {
            let Some(inner_view) = view.table(table) else { return "".into() };
            (view, name) = (inner_view, inner);
        }
        match how {
            "" => view.shown(name),
            how => self.in_words(view, name, how).into(),
        }
    }

    /// The field `name` as `how` says; empty when it is not there.
    fn in_words(&self, view: View<'_>, name: &str, how: &str) -> String {
        let number = view.number(name);
        match how {
            "share" => share(number, view.number(&[name, "_limit"].concat())),
            // If there are any; a job may know of how many.
            "bytes" => match share(number.filter(|bytes| *bytes > 0), view.number("total")) {
                neither if neither == "-" => String::new(),
                bytes => bytes,
            },
            "yes" => if view.flag(name) { "yes" } else { "no" }.to_string(),
            "off" => if view.flag(name) { "" } else { "no" }.to_string(),
            "star" => if view.flag(name) { "*" } else { "" }.to_string(),
            "int" => view.int(name).to_string(),
            "jobs" | "restarts" | "services" => {
                count(number.unwrap_or(0), how.strip_suffix('s').unwrap_or(how))
            }
            // The first and how many more there are: a container may have a dozen of IPv6.
            "first" => match view.texts(name).as_slice() {
                [] => String::new(),
                [only] => only.clone(),
                [first, more @ ..] => format!("{first} +{}", more.len()),
            },
            "alone" => view.texts(name).into_iter().next().unwrap_or_default(),
            "words" => view.texts(name).join(" "),
            "lines" => view.texts(name).join("\n"),
            "short" => view.text(name).chars().take(SHORT_HASH).collect(),
            "limits" => limits(&view, name),
            "painted" => self.page.painted(&view.text(name)),
            "size" => number.map(|bytes| size(Some(bytes))).unwrap_or_default(),
            "percent" => number.map(percent).unwrap_or_default(),
            "duration" => number.map(duration).unwrap_or_default(),
            "micro" => number.map(|microseconds| duration(microseconds / 1_000_000)).unwrap_or_default(),
            // A box without a clock battery may think that it is yet to come.
            "ago" => match number {
                None | Some(0) => String::new(),
                Some(then) => duration(self.page.now.saturating_sub(then)) + " ago",
            },
            "took" => match (view.number("started"), number) {
                (Some(started), Some(finished)) => duration(finished.saturating_sub(started)),
                _ => String::new(),
            },
            "some" => {
                number.filter(|number| *number > 0).map(|number| number.to_string()).unwrap_or_default()
            }
            "ids" => match (number, view.number("id_count")) {
                (Some(first), Some(ids)) => {
                    format!("{first} to {}", first.saturating_add(ids).saturating_sub(1))
                }
                _ => String::new(),
            },
            // A test shows every pattern there is.
            unknown => {
                debug_assert!(false, "a pattern has the unknown verb {unknown}");
                String::new()
            }
        }
    }
}

/// `memory 256M, cpus 0.5`
fn limits(view: &View<'_>, field: &str) -> String {
    let Some(limits) = view.table(field) else { return String::new() };
    let mut shown = String::new();
    for name in ["memory", "swap", "cpus", "pids", "disk"] {
        let value = match limits.number(name) {
            bytes @ Some(_) if matches!(name, "memory" | "swap" | "disk") => size(bytes),
            _ => limits.text(name),
        };
        if !value.is_empty() {
            shown.extend([if shown.is_empty() { "" } else { ", " }, name, " ", &value]);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::to_fields;

    #[test]
    fn patterns_are_filled_in() {
        let json = r#"{"name":"web","pid":7,"addresses":["a","b","c"],"none":[],"error":{"message":"bad","at":90},
            "memory":1024,"memory_limit":2048,"flag":true,"empty":"","odd":"[{x}]"}"#;
        let fields = to_fields(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap();
        let page = Page { color: true, now: 100, ..Page::plain() };
        for (pattern, text) in [
            ("", ""),
            ("plain", "plain"),
            ("{name} ({pid})", "web (7)"),
            ("{nothing}", ""),
            ("{name}[ {nothing}][ {empty}][ {none}]", "web"),
            ("[{name}[, {nothing}], {pid}]", "web, 7"),
            ("[[{name}] {nothing}]x", "x"),
            ("{odd}[: {odd}]", "[{x}]: [{x}]"),
            (
                "{addresses}, {addresses:first}, {addresses:alone}, {addresses:words}",
                "a, b, c, a +2, a, a b c",
            ),
            ("{error.message} {error.at:ago}[, {error.nothing}][, {nothing.at:int}]", "bad 10s ago"),
            ("{memory:share} {memory:bytes} {pid:share} {nothing:share}", "1K/2K 1K 7 -"),
            ("{flag:yes} {nothing:yes} {flag:off}{nothing:off}", "yes no no"),
            ("{pid:jobs}, {nothing:jobs}, {nothing:int}", "7 jobs, 0 jobs, 0"),
            // A pattern that is wrong is no reason to panic.
            ("{name", ""),
            ("[{name}", "web"),
            ("{name}]{name}", "web"),
        ] {
            assert_eq!(fill(pattern, &View::new(&fields), &page), text, "{pattern}");
        }
    }
}
