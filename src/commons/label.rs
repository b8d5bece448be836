//! The short names of the commons: networks, zones, slices and groups. They are parts of topics, and slices and groups also
//! of containers' names.

use super::id::Id;
use crate::error::{quoted, Code, Error, Result};
use base32::Alphabet;
use sha2::{Digest, Sha256};
use std::fmt;

/// The longest name, in bytes.
const LONGEST: usize = 16;

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network: up to 16 of `a–z0–9-`.
    Network,
    /// A zone of it: up to 16 of `a–z0–9-`.
    Zone,
    /// A slice: up to 12 of `a–z0–9`.
    Slice,
    /// A group of a slice: up to 8 of `a–z0–9`.
    Group,
}

impl Kind {
    /// What it is called, its longest name, and whether one may have a `-` inside. Names of slices and groups may not: they
    /// stand with one between them in the name of a container.
    fn row(self) -> (&'static str, usize, bool) {
        match self {
            Kind::Network => ("network", LONGEST, true),
            Kind::Zone => ("zone", LONGEST, true),
            Kind::Slice => ("slice", 12, false),
            Kind::Group => ("group", 8, false),
        }
    }
}

/// A short name, without a heap of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Label {
    /// Checks `text` as the name of a `kind`.
    ///
    /// # Errors
    /// [`Code::InvalidName`] with the rule that is broken.
    pub fn new(kind: Kind, text: &str) -> Result<Label> {
        let (what, most, dash) = kind.row();
        let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || (dash && byte == b'-');
        let good = (1..=most).contains(&text.len())
            && text.bytes().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !good {
            let shown: String = text.chars().take(40).collect();
            let inside = if dash { " and - inside" } else { "" };
            let why =
                format!("{} cannot be a {what}'s name: use 1 to {most} of a-z, 0-9{inside}", quoted(&shown));
            return Err(Error::new(Code::InvalidName, why));
        }
        let mut bytes = [0; LONGEST];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        // At most 16.
        Ok(Label { bytes, length: text.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // It was text when it came.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What `option slice` of a member's container says: `<member>/<slice>/<group>`. Only a container that says so is touched.
pub fn container_slice(member: Id, slice: Label, group: Label) -> String {
    format!("{member}/{slice}/{group}")
}

/// What a member's container is called: `<slice>-<group>-<6 letters>`, the letters from a hash of all three names, since two
/// members may have a slice of one name.
pub fn container_name(member: Id, slice: Label, group: Label) -> String {
    let hash = Sha256::digest(container_slice(member, slice, group));
    let letters = base32::encode(Alphabet::Rfc4648Lower { padding: false }, &hash[..4]);
    format!("{slice}-{group}-{}", &letters[..6])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Name;

    #[test]
    fn names_are_short_and_of_few_letters() {
        for (kind, good, bad) in [
            (Kind::Network, "guifi-osona-2026", "guifi-osona-20266"),
            (Kind::Zone, "a", "-a"),
            (Kind::Zone, "a-b", "a-"),
            (Kind::Slice, "wikiwikiwiki", "wikiwikiwikiw"),
            (Kind::Slice, "1", "a-b"),
            (Kind::Group, "webwebwe", "webwebweb"),
            (Kind::Group, "0", ""),
            (Kind::Group, "w", "W"),
            (Kind::Network, "n", "a/b"),
            (Kind::Network, "n", "+"),
            (Kind::Network, "n", "#"),
            (Kind::Network, "n", "ü"),
        ] {
            assert_eq!(Label::new(kind, good).unwrap().as_str(), good);
            assert_eq!(Label::new(kind, bad).unwrap_err().code, Code::InvalidName, "{bad:?}");
        }
    }

    /// `a-b` and `c` were called as `a` and `b-c`, and host names were too long.
    #[test]
    fn case_17_a_containers_name_is_one_whatever_its_parts() {
        let id: Id = "o6cgvbb4hsvzjf6g".parse().unwrap();
        let label = |kind, text| Label::new(kind, text).unwrap();
        let name = |slice, group| container_name(id, label(Kind::Slice, slice), label(Kind::Group, group));
        assert!(Name::new(&name("wikiwikiwiki", "webwebwe")).is_ok());
        // printf o6cgvbb4hsvzjf6g/wiki/web | sha256sum | xxd -r -p | base32 | head -c 6 | tr A-Z a-z
        assert_eq!(name("wiki", "web"), "wiki-web-kqrruu");
        assert_ne!(name("ab", "c")[4..], name("a", "bc")[4..]);
    }
}
