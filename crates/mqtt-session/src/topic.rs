//! Topics and filters: which are valid, and which filter matches which topic.

use std::fmt;

/// The most bytes of a topic or filter: its length is sent in 16 bits.
pub const MAX_TOPIC_LEN: usize = u16::MAX as usize;

/// Why a topic or a filter cannot be sent. Brokers close the connection on these, without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// It has no character.
    Empty,
    /// It has more than [`MAX_TOPIC_LEN`] bytes: so many.
    TooLong(usize),
    /// It has a control character, or one that Unicode says is none. MQTT forbids NUL only; mosquitto all of them.
    Character(char),
    /// A topic has `+` or `#`, which only filters may have.
    Wildcard(char),
    /// A filter's `+` or `#` does not stand alone between slashes.
    PartOfLevel(char),
    /// A filter's `#` is not at its end.
    HashInside,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong(len) => write!(f, "has {len} bytes, and {MAX_TOPIC_LEN} is the most"),
            Self::Character(c) => {
                write!(f, "has the character U+{:04X}, which brokers refuse", u32::from(*c))
            }
            Self::Wildcard(c) => write!(f, "has a '{c}': only a filter may have it"),
            Self::PartOfLevel(c) => {
                write!(f, "has a '{c}' with something beside it: it stands for a whole level")
            }
            Self::HashInside => f.write_str("has a '#' before its end: it can only be the last level"),
        }
    }
}

impl std::error::Error for TopicError {}

/// Whether a message can be published there.
///
/// # Errors
/// [`TopicError`] says what is wrong.
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check_text(topic)?;
    match topic.chars().find(|c| is_wildcard(*c)) {
        Some(wildcard) => Err(TopicError::Wildcard(wildcard)),
        None => Ok(()),
    }
}

/// Whether it can be subscribed to.
///
/// # Errors
/// [`TopicError`] says what is wrong.
pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    check_text(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level.chars().find(|c| is_wildcard(*c)) {
            Some(wildcard) if level.len() > 1 => return Err(TopicError::PartOfLevel(wildcard)),
            Some('#') if levels.peek().is_some() => return Err(TopicError::HashInside),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a message with this topic goes to who has subscribed to this filter. Both must be valid.
pub fn matches(filter: &str, topic: &str) -> bool {
    // Topics such as $SYS/… are the broker's own: a wildcard in the first place does not mean them.
    if topic.starts_with('$') && filter.starts_with(is_wildcard) {
        return false;
    }
    let mut topic = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, topic.next()) {
            // Also the level above it: a/# matches a.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong(text.len()));
    }
    match text.chars().find(|c| c.is_control() || is_noncharacter(*c)) {
        Some(bad) => Err(TopicError::Character(bad)),
        None => Ok(()),
    }
}

fn is_wildcard(c: char) -> bool {
    matches!(c, '+' | '#')
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        let long = "x".repeat(MAX_TOPIC_LEN);
        let too_long = "x".repeat(MAX_TOPIC_LEN + 1);
        let table: &[(&str, Result<(), TopicError>)] = &[
            ("a", Ok(())),
            ("a/b", Ok(())),
            ("/", Ok(())),
            ("//a//", Ok(())),
            (" ", Ok(())),
            ("$SYS/uptime", Ok(())),
            ("é/日本", Ok(())),
            (&long, Ok(())),
            ("", Err(TopicError::Empty)),
            (&too_long, Err(TopicError::TooLong(MAX_TOPIC_LEN + 1))),
            ("a/+", Err(TopicError::Wildcard('+'))),
            ("a#", Err(TopicError::Wildcard('#'))),
            ("a\0b", Err(TopicError::Character('\0'))),
            ("a\n", Err(TopicError::Character('\n'))),
            ("\u{7f}", Err(TopicError::Character('\u{7f}'))),
            ("\u{85}", Err(TopicError::Character('\u{85}'))),
            ("\u{fdd0}", Err(TopicError::Character('\u{fdd0}'))),
            ("\u{fffe}", Err(TopicError::Character('\u{fffe}'))),
            ("\u{10ffff}", Err(TopicError::Character('\u{10ffff}'))),
            ("\u{fffd}", Ok(())),
        ];
        for (topic, expected) in table {
            assert_eq!(check_topic(topic), *expected, "{:?}", topic.get(..20).unwrap_or(topic));
        }
    }

    #[test]
    fn filters() {
        let table: &[(&str, Result<(), TopicError>)] = &[
            ("#", Ok(())),
            ("+", Ok(())),
            ("a/#", Ok(())),
            ("/#", Ok(())),
            ("+/+/#", Ok(())),
            ("a/+/b", Ok(())),
            ("", Err(TopicError::Empty)),
            ("a#", Err(TopicError::PartOfLevel('#'))),
            ("a+/b", Err(TopicError::PartOfLevel('+'))),
            ("a/+é", Err(TopicError::PartOfLevel('+'))),
            ("++", Err(TopicError::PartOfLevel('+'))),
            ("#/a", Err(TopicError::HashInside)),
            ("a/#/", Err(TopicError::HashInside)),
            ("a/#/#", Err(TopicError::HashInside)),
            ("a\0", Err(TopicError::Character('\0'))),
        ];
        for (filter, expected) in table {
            assert_eq!(check_filter(filter), *expected, "{filter:?}");
        }
    }

    #[test]
    fn filters_match_topics() {
        let table = [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a/", false),
            ("a/", "a", false),
            ("#", "a", true),
            ("#", "a/b", true),
            ("#", "/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+", "/a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("a/b/c", "a/b", false),
            ("é/+", "é/日", true),
            ("#", "é", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a/#", "a/$SYS", true),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
