//! By what members and boxes are known: the first 10 bytes of the SHA-256 of the public key, in base32.
//!
//! A key's own number will not do: whoever makes a key can choose it.

use crate::error::{quoted, Code, Error, Result};
use crate::usign::PublicKey;
use base32::Alphabet;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// How much of the hash counts.
const BYTES: usize = 10;

/// The id of a member or of a box: 16 letters of `a–z2–7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; BYTES]);

impl Id {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// That of whoever has the key's secret half.
    pub fn of(key: &PublicKey) -> Id {
        let hash = Sha256::digest(key.bytes());
        let mut id = [0; BYTES];
        id.copy_from_slice(&hash[..BYTES]);
        Id(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(BASE32, &self.0))
    }
}

const BASE32: Alphabet = Alphabet::Rfc4648Lower { padding: false };

impl FromStr for Id {
    type Err = Error;

    /// # Errors
    /// [`Code::InvalidArgument`]: it is no id. One in capitals is none, so that each has one way to be written.
    fn from_str(text: &str) -> Result<Id> {
        // One way to write it: the crate also reads capitals, and what has bits left over.
        let bytes = base32::decode(BASE32, text).filter(|bytes| base32::encode(BASE32, bytes) == text);
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Id).ok_or_else(|| {
            let why =
                format!("{} is no id: it has 16 letters, as `cloudbox key id` prints them", quoted(text));
            Error::new(Code::InvalidArgument, why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../tests/data/usign/key.pub");

    #[test]
    fn an_id_is_made_of_the_key_and_of_nothing_else() {
        let id = Id::of(&PublicKey::parse(KEY).unwrap());
        // sed 1d key.pub | base64 -d | tail -c 32 | sha256sum | xxd -r -p | head -c 10 | base32 | tr A-Z a-z
        assert_eq!(id.to_string(), "o6cgvbb4hsvzjf6g");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let id = Id([0xff; BYTES]).to_string();
        assert_eq!(id, "7777777777777777");
        for text in [
            "",
            "777777777777777",
            "77777777777777777",
            "777777777777777=",
            "ABCDEFGHIJKLMNOP",
            "1777777777777777",
            "ä77777777777777",
        ] {
            let refusal = text.parse::<Id>().unwrap_err();
            assert!(refusal.message.contains("is no id"), "{text:?}: {}", refusal.message);
        }
    }
}
