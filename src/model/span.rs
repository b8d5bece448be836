//! Spans of time, as people write them.

use super::spec::invalid;
use crate::error::Result;

/// Seconds of each unit.
const UNITS: [(char, u32); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

/// Reads a span of `least` to `most` seconds: a whole number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`], naming `what`.
pub fn parse_span(what: &str, text: &str, least: u32, most: u32) -> Result<u32> {
    let unit = UNITS.iter().find_map(|(letter, seconds)| Some((text.strip_suffix(*letter)?, seconds)));
    let digits = unit.filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let span = digits.and_then(|(digits, seconds)| digits.parse::<u32>().ok()?.checked_mul(*seconds));
    span.filter(|span| (least..=most).contains(span)).ok_or_else(|| {
        let why = format!("write a number and s, m, h or d, from {} to {}", shown(least), shown(most));
        invalid(what, text, &why)
    })
}

/// In the largest unit of which it is a whole number.
fn shown(seconds: u32) -> String {
    let fits = UNITS.iter().rev().find(|(_, unit)| seconds > 0 && seconds % unit == 0);
    fits.map_or_else(|| format!("{seconds}s"), |(letter, unit)| format!("{}{letter}", seconds / unit))
}

#[cfg(test)]
#[test]
fn spans_are_read() {
    for (text, seconds) in [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000)] {
        assert_eq!(parse_span("notice", text, 0, 2_592_000), Ok(seconds), "{text}");
    }
    for text in ["", "h", "24", "1.5h", "-1h", "+1h", "1w", "1 h", "31d", "99999999999h", "4294967295d"] {
        let error = parse_span("notice", text, 60, 2_592_000).unwrap_err();
        assert_eq!(error.option.as_deref(), Some("notice"), "{text}");
        assert!(error.message.ends_with("from 1m to 30d"), "{}", error.message);
    }
    assert!(parse_span("notice", "59s", 60, 120).is_err());
}
