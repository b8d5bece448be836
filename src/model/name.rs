//! Names of containers and images.

use crate::error::{escaped, quoted, Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest DNS label.
const LABEL_MAX: usize = 63;

/// The name of a container: a DNS label, `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, because it becomes a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Code::InvalidName`] with the rule that is broken.
    pub fn new(text: &str) -> Result<Name> {
        Name::of("container", text)
    }

    /// The same for a snapshot, whose name follows the same rule.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn of_snapshot(text: &str) -> Result<Name> {
        Name::of("snapshot", text)
    }

    fn of(what: &str, text: &str) -> Result<Name> {
        let problem = if text.is_empty() {
            "it is empty".to_string()
        } else if text.len() > LABEL_MAX {
            format!("it has {} characters, {LABEL_MAX} are allowed", text.len())
        } else if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            format!("'{}' is not allowed", escaped(&bad.to_string()))
        } else if text.starts_with('-') || text.ends_with('-') {
            "it begins or ends with '-'".to_string()
        } else {
            return Ok(Name(text.to_string()));
        };
        Err(Error::new(
            Code::InvalidName,
            format_args!(
                "{} cannot be a {what}'s name: {problem}; use a-z, 0-9 and '-' inside",
                quoted(&shorten(text))
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The UCI section of this container. UCI knows no `-` in section names and DNS no `_`, so the one stands for the
    /// other.
    pub fn uci_section(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The container that UCI section `section` stands for.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn from_uci_section(section: &str) -> Result<Name> {
        Name::new(&section.replace('_', "-"))
    }
}

/// What a snapshot is called that was given no name: the time (of Greenwich) at which it is made, `seconds` since 1970,
/// `2026-11-22-101500`.
pub fn time_name(seconds: u64) -> String {
    // Years begin in March, so that the leap day is the last (Howard Hinnant's "chrono-compatible date algorithms").
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Name> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// The name of an image: like a container's, with `.` and `_` inside as well, since they carry versions
/// (`debian-12.5`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl ImageName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Code::InvalidName`] with the rule that is broken.
    pub fn new(text: &str) -> Result<ImageName> {
        let inner = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | '_');
        let edge = |c: Option<char>| matches!(c, Some('a'..='z' | '0'..='9'));
        let good = text.len() <= LABEL_MAX
            && text.chars().all(inner)
            && edge(text.chars().next())
            && edge(text.chars().last());
        if good {
            return Ok(ImageName(text.to_string()));
        }
        Err(Error::new(
            Code::InvalidName,
            format_args!(
                "{} cannot be an image's name: use 1 to {LABEL_MAX} of a-z, 0-9, and '-', '.', '_' inside",
                quoted(&shorten(text))
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageName {
    type Error = Error;

    fn try_from(text: String) -> Result<ImageName> {
        ImageName::new(&text)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> String {
        name.0
    }
}

/// `text`, cut so that a hostile name does not fill an error message.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 70 {
        return text.to_string();
    }
    let mut cut: String = text.chars().take(67).collect();
    cut.push_str("...");
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "web", "a-b", "my-2nd-box", longest.as_str()] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in
            ["", "-a", "a-", "A", "Web", "..", ".", "a/b", "a.b", "a_b", "a\n", "ü", "a b", too_long.as_str()]
        {
            let error = Name::new(bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidName, "{bad:?}");
        }
    }

    #[test]
    fn a_section_and_its_container_name_each_other() {
        let name = Name::new("my-2nd-box").unwrap();
        assert_eq!(name.uci_section(), "my_2nd_box");
        assert_eq!(Name::from_uci_section("my_2nd_box").unwrap(), name);
        assert!(Name::from_uci_section("Web").is_err());
    }

    #[test]
    fn a_time_is_a_name() {
        for (seconds, text) in [
            (0, "1970-01-01-000000"),
            (951_782_400, "2000-02-29-000000"),
            (1_795_342_500, "2026-11-22-101500"),
            (4_107_542_399, "2100-02-28-235959"),
            (4_107_542_400, "2100-03-01-000000"),
        ] {
            assert_eq!(time_name(seconds), text);
            assert!(Name::of_snapshot(text).is_ok());
        }
        let error = Name::of_snapshot("a/b").unwrap_err();
        assert!(error.message.contains("a snapshot's name"), "{}", error.message);
    }

    #[test]
    fn image_names() {
        for good in ["distro", "debian-12.5", "a_b"] {
            assert!(ImageName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "a/b", "..", "A", "a.", "a\n"] {
            assert!(ImageName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hostile_name_is_cut_in_the_message() {
        let error = Name::new(&"é".repeat(5000)).unwrap_err();
        assert!(error.message.len() < 400, "{}", error.message.len());
    }
}
