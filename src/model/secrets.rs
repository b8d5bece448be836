//! What a container is given to keep: files that its own root alone reads. They stand in no section, job, record or reply:
//! after the container is made, nobody but its guest has them.

use super::spec::invalid;
use crate::error::{Code, Error, Result};
use std::fmt;

/// Most secrets of a container, and most bytes of all of them.
const COUNT_MAX: usize = 64;
const BYTES_MAX: usize = 64 << 10;
/// Longest name of one.
const NAME_MAX: usize = 63;

/// Secrets, by their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds one.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: its name is no file's name, or is there already; or it is too much.
    pub fn add(&mut self, name: &str, content: Vec<u8>) -> Result<()> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= NAME_MAX
            && name.chars().all(inner);
        if !good {
            let why =
                format!("name it with 1 to {NAME_MAX} letters, digits, '-', '_' and '.', the first no '.'");
            return Err(invalid("secrets", name, &why));
        }
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(invalid("secrets", name, "it is given twice"));
        }
        let bytes: usize = self.0.iter().map(|(_, content)| content.len()).sum();
        if self.0.len() == COUNT_MAX || bytes + content.len() > BYTES_MAX {
            let why = format!("secrets: {COUNT_MAX} of {} KiB together are the most", BYTES_MAX >> 10);
            return Err(Error::new(Code::InvalidArgument, why).about("secrets"));
        }
        self.0.push((name.to_string(), content));
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }
}

/// Their names alone, whoever prints them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
#[test]
fn secrets_are_named_like_files_and_have_a_bound() {
    let mut secrets = Secrets::default();
    for name in ["db", "A.b_c-1", &"x".repeat(63)] {
        secrets.add(name, b"\0\xff".to_vec()).unwrap();
    }
    for name in ["", ".", "..", ".x", "a/b", "-a", "a b", "a\n", "ü", &"x".repeat(64), "db"] {
        assert!(secrets.add(name, Vec::new()).is_err(), "{name:?}");
    }
    assert!(secrets.add("large", vec![0; BYTES_MAX]).is_err());
    secrets.add("rest", vec![0; BYTES_MAX - 6]).unwrap();
    assert!(secrets.add("one-more", vec![0]).is_err());
    for n in 4..COUNT_MAX {
        secrets.add(&format!("s{n}"), Vec::new()).unwrap();
    }
    assert!(secrets.add("last", Vec::new()).is_err());
    let mut few = Secrets::default();
    few.add("db", b"hunter2".to_vec()).unwrap();
    assert_eq!(format!("{few:?}"), "{\"db\"}");
    assert_eq!(few.iter().collect::<Vec<_>>(), [("db", &b"hunter2"[..])]);
}
