//! What is signed in the commons, in signify's embedded form: a line of comment, a line of base64, and then what was
//! signed. Its first line says what it is for and in which version, and behind it stands one JSON object.
//!
//! It is verified first and taken apart then. Only the signed bytes are ever compared: the comment is anybody's. Nothing is
//! written anew to be compared with what somebody else wrote.
//!
//! The comment is the signer's public key. Who does not know it finds it there, and knows by its hash whether it is the key
//! of the id in the topic ([`key_of`]). A comment that was changed makes the text useless to him, as any changed byte would.

use super::id::Id;
use crate::error::{quoted, Code, Error, Result};
use crate::usign::{PublicKey, SecretKey, Signature};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;
use serde_json::{Map, Value};
use std::fmt;

/// What a comment begins with.
const COMMENT: &str = "untrusted comment: ";
/// The member that names others which whoever reads it must know.
const MUST: &str = "must";

/// What a signature is for. A text that was signed for one thing is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A slice: what its owner wants, or that it is gone.
    Slice,
    /// What a box has for others.
    Offer,
    /// How a member of a slice is.
    State,
    /// What a box announces.
    Services,
    /// Where a member's checkpoint is.
    Checkpoint,
    /// All slices of a member.
    Index,
    /// Somebody vouches for somebody.
    Cert,
    /// A box is somebody's.
    Owner,
    /// A box may renew a slice.
    Renewer,
    /// A slice is renewed.
    Renewal,
    /// Keys and certificates that count no more.
    Revoked,
    /// A box is there.
    Alive,
    /// Somebody asks to be hosted.
    Ask,
    /// What he is told.
    Answer,
}

/// Of each its word, and how many bytes it has at most, signature and all.
const PURPOSES: [(Purpose, &str, usize); 14] = [
    (Purpose::Slice, "slice", 16 << 10),
    (Purpose::Offer, "offer", 2 << 10),
    (Purpose::State, "state", 2 << 10),
    (Purpose::Services, "services", 16 << 10),
    (Purpose::Checkpoint, "checkpoint", 4 << 10),
    (Purpose::Index, "index", 16 << 10),
    (Purpose::Cert, "cert", 1 << 10),
    (Purpose::Owner, "owner", 1 << 10),
    (Purpose::Renewer, "renewer", 1 << 10),
    (Purpose::Renewal, "renewal", 1 << 10),
    (Purpose::Revoked, "revoked", 16 << 10),
    (Purpose::Alive, "alive", 384),
    (Purpose::Ask, "ask", 1 << 10),
    (Purpose::Answer, "answer", 512),
];

impl Purpose {
    fn row(self) -> (&'static str, usize) {
        let row = PURPOSES.iter().find(|(purpose, ..)| *purpose == self);
        row.map_or(("", 0), |(_, word, most)| (*word, *most))
    }

    /// The first line of what is signed.
    fn line(self) -> String {
        format!("cloudbox-{} 1", self.row().0)
    }

    /// Bytes that such a text has at most.
    pub fn most(self) -> usize {
        self.row().1
    }
}

/// Makes and verifies signatures. The simulator of the commons has a cheap one of its own, so that a day of two hundred boxes
/// passes in seconds; everything else goes the same way.
pub trait Signatures {
    /// Signs `message`.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: the key is damaged.
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Result<Signature>;

    /// Whether `key` made `signature` of `message`.
    ///
    /// # Errors
    /// [`Code::Checksum`]: it did not.
    fn verify(&self, key: &PublicKey, signature: &Signature, message: &[u8]) -> Result<()>;
}

/// Those of usign and signify.
#[derive(Debug, Clone, Copy)]
pub struct Ed25519;

impl Signatures for Ed25519 {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Result<Signature> {
        key.sign(message)
    }

    fn verify(&self, key: &PublicKey, signature: &Signature, message: &[u8]) -> Result<()> {
        signature.verify(&mut &message[..], std::slice::from_ref(key))
    }
}

/// Signs `body` for `purpose`.
///
/// # Errors
/// [`Code::InvalidArgument`]: it is longer than such a text may be; the key is damaged.
pub fn sign(
    signatures: &dyn Signatures,
    key: &SecretKey,
    purpose: Purpose,
    body: Map<String, Value>,
) -> Result<Vec<u8>> {
    let message = format!("{}\n{}\n", purpose.line(), Value::Object(body));
    let signature = signatures.sign(key, message.as_bytes())?.to_line();
    let comment = key.public().to_line();
    let signed = [COMMENT, &comment, "\n", &signature, "\n", &message].concat().into_bytes();
    check_length(purpose, signed.len())?;
    Ok(signed)
}

/// The key that `text` names as its signer's. Nothing is verified yet, and anybody can name any key.
pub fn key_in(text: &[u8]) -> Option<PublicKey> {
    let line = text.split(|byte| *byte == b'\n').next()?.strip_prefix(COMMENT.as_bytes())?;
    // Longer than any key: not worth decoding.
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= 64)?;
    PublicKey::parse(line).ok()
}

/// The key that `text` names as its signer's, if it is the key of `id`. Nothing is verified yet.
pub fn key_of(id: Id, text: &[u8]) -> Option<PublicKey> {
    key_in(text).filter(|key| Id::of(key) == id)
}

fn check_length(purpose: Purpose, length: usize) -> Result<()> {
    let (word, most) = purpose.row();
    if length <= most {
        return Ok(());
    }
    let why = format!("it has {length} bytes, and cloudbox-{word} may have {most}");
    Err(Error::new(Code::InvalidArgument, why))
}

/// A signed text in its parts, of which nothing is known yet.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The signature.
    pub signature: Signature,
    /// What was signed.
    pub message: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes `text` apart, of any purpose.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: it does not begin with the two lines of a signature.
    pub fn of(text: &'a [u8]) -> Result<Parts<'a>> {
        let none = || {
            Error::new(
                Code::InvalidArgument,
                "it does not begin with a signature, a line of comment and a line of base64",
            )
        };
        let mut lines = text.splitn(3, |byte| *byte == b'\n');
        let comment = lines.next().filter(|line| line.starts_with(COMMENT.as_bytes()));
        let (Some(_), Some(base64), Some(message)) = (comment, lines.next(), lines.next()) else {
            return Err(none());
        };
        let base64 = std::str::from_utf8(base64).map_err(|_| none())?;
        Ok(Parts { signature: Signature::parse(base64)?, message })
    }
}

/// A text that `key` has signed for a purpose.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// All that was signed. Two texts are the same if these are.
    pub message: &'a [u8],
    body: &'a [u8],
}

impl<'a> Verified<'a> {
    /// Verifies that `key` has signed `text`, and for `purpose`. That it carries the key's number does not make it the key's.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: it is too long, or no such text. [`Code::Checksum`]: another key has signed it, or another
    /// text was signed.
    pub fn by(
        signatures: &dyn Signatures,
        key: &PublicKey,
        purpose: Purpose,
        text: &'a [u8],
    ) -> Result<Verified<'a>> {
        check_length(purpose, text.len())?;
        let Parts { signature, message } = Parts::of(text)?;
        signatures.verify(key, &signature, message)?;
        let wanted = purpose.line();
        let body = message.strip_prefix(wanted.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
        let body = body.ok_or_else(|| {
            let first = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let shown: String = String::from_utf8_lossy(first).chars().take(40).collect();
            let why = format!("it is signed as {}, and not as {}", quoted(&shown), quoted(&wanted));
            Error::new(Code::InvalidArgument, why)
        })?;
        Ok(Verified { message, body })
    }

    /// What it says. `known` are the members that the caller understands: others are passed over, unless the text names
    /// them in `must`.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: it is no object, has a member twice, or a number with a fraction.
    /// [`Code::NotSupported`]: it says something that nobody must pass over, and that this version does not know.
    pub fn members(&self, known: &[&str]) -> Result<Map<String, Value>> {
        let wrong = |error: serde_json::Error| {
            Error::new(Code::InvalidArgument, format_args!("what is signed: {error}"))
        };
        let mut reader = serde_json::Deserializer::from_slice(self.body);
        let value =
            Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(wrong)?;
        let Value::Object(members) = value else {
            return Err(Error::new(Code::InvalidArgument, "what is signed is no JSON object"));
        };
        check_must(&members, known)?;
        Ok(members)
    }
}

fn check_must(members: &Map<String, Value>, known: &[&str]) -> Result<()> {
    let names = match members.get(MUST) {
        None => return Ok(()),
        Some(Value::Array(names)) => names,
        Some(_) => return Err(Error::new(Code::InvalidArgument, "what is signed: `must` is no list")),
    };
    let is_known = |name: &Value| name.as_str().is_some_and(|name| known.contains(&name));
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let why = format!("it says {}, which must not be passed over, and which this version does not know; upgrade cloudbox", quoted(name.as_str().unwrap_or_default()));
            Err(Error::new(Code::NotSupported, why))
        }
    }
}

/// A value without what two readers could understand in two ways: a member that stands twice, a number with a fraction or
/// an exponent.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> std::result::Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, a text, a list or an object")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Strict)?;
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{} stands twice", quoted(&name))));
            }
            members.insert(name, value);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> SecretKey {
        SecretKey::parse(include_str!("../../tests/data/usign/key.sec")).unwrap()
    }

    /// `text` behind a signature that is right.
    fn signed(text: &str) -> Vec<u8> {
        let signature = key().sign(text.as_bytes()).unwrap();
        [signature.to_text(), text.to_string()].concat().into_bytes()
    }

    fn made(purpose: Purpose, body: Value) -> Result<Vec<u8>> {
        let Value::Object(body) = body else { panic!("{body} is no object") };
        sign(&Ed25519, &key(), purpose, body)
    }

    fn verified(purpose: Purpose, text: &[u8]) -> Result<Verified<'_>> {
        Verified::by(&Ed25519, &key().public(), purpose, text)
    }

    fn ask(text: &[u8]) -> Result<Value> {
        verified(Purpose::Ask, text)?.members(&["memory"]).map(Value::Object)
    }

    #[test]
    fn what_was_signed_is_read_and_whatever_was_changed_is_not() {
        let text = made(Purpose::Ask, json!({ "memory": 1, "contact": "anna" })).unwrap();
        assert_eq!(ask(&text), Ok(json!({ "memory": 1, "contact": "anna" })));
        // The comment is anybody's, and the rest nobody's.
        let comment = text.iter().position(|byte| *byte == b'\n').unwrap();
        let begins = "untrusted comment: ".len();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            let own = (begins..comment).contains(&at) && flipped[at] != b'\n';
            assert_eq!(ask(&flipped).is_ok(), own, "byte {at}");
            if own {
                let read = verified(Purpose::Ask, &flipped).unwrap();
                assert_eq!(read, verified(Purpose::Ask, &text).unwrap());
            }
        }
        for length in 0..text.len() {
            assert!(ask(&text[..length]).is_err(), "{length} bytes of it");
        }
    }

    #[test]
    fn a_signature_holds_for_its_purpose_and_for_its_key() {
        let text = made(Purpose::Answer, json!({})).unwrap();
        let refusal = ask(&text).unwrap_err();
        assert!(
            refusal.message.contains("signed as \"cloudbox-answer 1\", and not as \"cloudbox-ask 1\""),
            "{refusal}"
        );
        let other = SecretKey::new([1; 32], key().number).public();
        let text = made(Purpose::Ask, json!({})).unwrap();
        // The same number, and another key.
        assert_eq!(Verified::by(&Ed25519, &other, Purpose::Ask, &text).unwrap_err().code, Code::Checksum);
        for line in ["cloudbox-ask 2", "cloudbox-ask 1 ", "cloudbox-ask 10", "Cloudbox-ask 1"] {
            assert!(ask(&signed(&format!("{line}\n{{}}\n"))).is_err(), "{line}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        for (body, why) in [
            ("{\"memory\":1,\"memory\":2}", "\"memory\" stands twice"),
            ("{\"a\":{\"b\":1,\"b\":1}}", "\"b\" stands twice"),
            ("{\"memory\":1.0}", "floating point"),
            ("{\"memory\":1e3}", "floating point"),
            ("{\"memory\":99999999999999999999}", "floating point"),
            ("[]", "no JSON object"),
            ("{} {}", "trailing"),
            ("{\"must\":\"memory\"}", "`must` is no list"),
            ("{\"must\":[1]}", "must not be passed over"),
            (
                "{\"must\":[\"memory\",\"later\"],\"later\":1}",
                "it says \"later\", which must not be passed over",
            ),
            ("", "EOF"),
        ] {
            let refusal = ask(&signed(&format!("cloudbox-ask 1\n{body}"))).unwrap_err();
            assert!(refusal.message.contains(why), "{body}: {}", refusal.message);
        }
        let deep = signed(&format!("cloudbox-slice 1\n{}1{}", "{\"a\":".repeat(150), "}".repeat(150)));
        let deep = verified(Purpose::Slice, &deep).unwrap();
        assert!(deep.members(&[]).unwrap_err().message.contains("recursion"));
        // What this version does not know, and may be passed over.
        let text =
            signed("cloudbox-ask 1\n{\"must\":[\"memory\"],\"memory\":1,\"later\":[-1,null,true,\"x\"]}\n");
        assert_eq!(ask(&text).unwrap()["memory"], 1);
    }

    #[test]
    fn the_signers_key_is_found_by_its_id() {
        let text = made(Purpose::Ask, json!({})).unwrap();
        let (id, other) = (Id::of(&key().public()), "7777777777777777".parse().unwrap());
        assert_eq!(key_of(id, &text), Some(key().public()));
        assert_eq!(key_of(other, &text), None);
        for text in [&b""[..], b"untrusted comment: ", b"untrusted comment: RWQ\n", b"\xff", &signed("x")] {
            assert_eq!(key_of(id, text), None);
        }
    }

    #[test]
    fn no_text_is_longer_than_its_kind_may_be() {
        for (purpose, word, most) in PURPOSES {
            let body = |length: usize| json!({ "x": "x".repeat(length) });
            let empty = made(purpose, body(0)).unwrap().len();
            let text = made(purpose, body(most - empty)).unwrap();
            assert_eq!(text.len(), most);
            verified(purpose, &text).unwrap();
            let refusal = made(purpose, body(most - empty + 1)).unwrap_err();
            assert!(refusal.message.contains(&format!("cloudbox-{word} may have {most}")), "{refusal}");
            // The signature does not matter then.
            let long = [text, b" ".to_vec()].concat();
            assert!(verified(purpose, &long).unwrap_err().message.contains("bytes"));
        }
    }
}
