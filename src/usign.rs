//! Signatures as usign and OpenBSD's signify make them: ed25519, in base64 below a line of comment.
//!
//! A key has a number, eight random bytes, which its signatures carry: it tells which key is meant and proves nothing.

use crate::error::{quoted, Code, Error, Result};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use ed25519_compact as ed25519;
use std::fmt;
use std::io::{ErrorKind, Read};

/// The algorithm that all three kinds of files begin with.
const ALGORITHM: &[u8; 2] = b"Ed";
const NUMBER: usize = 8;
/// Bytes of a public key, a signature and a secret key, with algorithm and number.
const PUBLIC: usize = 2 + NUMBER + 32;
const SIGNATURE: usize = 2 + NUMBER + 64;
const SECRET: usize = 2 + 2 + 4 + 16 + 8 + NUMBER + 64;
/// Where a secret key has its rounds of hashing a password, its number and the key itself.
const ROUNDS_AT: usize = 4;
const SECRET_NUMBER_AT: usize = 32;
/// Bytes of the secret key's SHA-512 that stand in its file.
const CHECKSUM: usize = 8;

/// The number of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number([u8; NUMBER]);

impl Number {
    /// That of a new key: any bytes will do.
    pub fn new(bytes: [u8; NUMBER]) -> Number {
        Number(bytes)
    }
}

impl fmt::Display for Number {
    /// Sixteen hex digits, as `usign -F` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its number.
    pub number: Number,
    key: [u8; 32],
}

impl PublicKey {
    /// Reads a key file, or its second line alone: `RWQ…`.
    ///
    /// # Errors
    /// It is none, and what it is instead. Nobody has the secret half of one that is no point of the curve, and everybody
    /// that of one of small order, such as 32 zeros.
    pub fn parse(text: &str) -> Result<PublicKey> {
        let bytes = decode(text, "public key")?;
        let (number, rest) = split(&bytes, PUBLIC, "public key")?;
        let key = fixed(rest);
        let weak = |_| wrong("public key", "nothing can be signed for it safely; ask for it once more");
        ed25519::PublicKey::new(key).validate().map_err(weak)?;
        Ok(PublicKey { number, key })
    }

    /// The key itself, without its number.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// The key as one line of base64: `RWQ…`.
    pub fn to_line(&self) -> String {
        BASE64.encode([&ALGORITHM[..], &self.number.0, &self.key].concat())
    }

    /// The key as a file.
    pub fn to_text(&self) -> String {
        format!("untrusted comment: public key {}\n{}\n", self.number, self.to_line())
    }
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The number of the key that made it.
    pub number: Number,
    signature: [u8; 64],
}

impl Signature {
    /// A signature of these bytes, by the key of that number. Nothing is known of it before it is verified.
    pub fn new(number: Number, signature: [u8; 64]) -> Signature {
        Signature { number, signature }
    }

    /// The signature itself, without the key's number.
    pub fn bytes(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Reads a signature file.
    ///
    /// # Errors
    /// It is none, and what it is instead.
    pub fn parse(text: &str) -> Result<Signature> {
        let bytes = decode(text, "signature")?;
        let (number, rest) = split(&bytes, SIGNATURE, "signature")?;
        Ok(Signature { number, signature: fixed(rest) })
    }

    /// The signature as one line of base64.
    pub fn to_line(&self) -> String {
        BASE64.encode([&ALGORITHM[..], &self.number.0, &self.signature].concat())
    }

    /// The signature as a file.
    pub fn to_text(&self) -> String {
        format!("untrusted comment: signed by key {}\n{}\n", self.number, self.to_line())
    }

    /// Whether one of `keys` made it of what `message` holds, which is read in pieces.
    ///
    /// # Errors
    /// It is not; or the message cannot be read.
    pub fn verify(&self, message: &mut dyn Read, keys: &[PublicKey]) -> Result<()> {
        let Some(key) = keys.iter().find(|key| key.number == self.number) else {
            let known: Vec<String> = keys.iter().map(|key| key.number.to_string()).collect();
            return Err(refused(format!(
                "it is signed by key {}, trusted is only {}",
                self.number,
                known.join(", ")
            )));
        };
        let forged = |_| refused(format!("the signature of key {} is not of this content", self.number));
        let public = ed25519::PublicKey::new(key.key);
        let mut state =
            public.verify_incremental(&ed25519::Signature::new(self.signature)).map_err(forged)?;
        let mut chunk = vec![0; 16 << 10];
        loop {
            match message.read(&mut chunk) {
                Ok(0) => return state.verify().map_err(forged),
                Ok(got) => state.absorb(&chunk[..got]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(Code::Failed, format_args!("it cannot be read: {e}"))),
            }
        }
    }
}

/// A secret key without a password, as `usign -G` makes it.
pub struct SecretKey {
    /// Its number.
    pub number: Number,
    key: [u8; 64],
}

impl SecretKey {
    /// Makes the key of these random bytes, which are of no use to anybody afterwards.
    pub fn new(seed: [u8; 32], number: Number) -> SecretKey {
        let pair = ed25519::KeyPair::from_seed(ed25519::Seed::new(seed));
        SecretKey { number, key: fixed(&pair.sk[..]) }
    }

    /// What others verify by.
    pub fn public(&self) -> PublicKey {
        // The second half is the public key.
        PublicKey { number: self.number, key: fixed(&self.key[32..]) }
    }

    /// Another secret, which follows from this key, and from which this key does not follow. Each `purpose` has its own.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let (seed, _) = self.key.split_at(32);
        let mac = hmac_sha512::HMAC::mac(purpose.as_bytes(), seed);
        fixed(&mac)
    }

    /// The key as a file, without a password, as usign and signify read it.
    pub fn to_text(&self) -> String {
        // No rounds of hashing a password: the salt is never used.
        let (rounds, salt) = ([0; 4], [0; 16]);
        let checksum = hmac_sha512::Hash::hash(self.key);
        let bytes = [&ALGORITHM[..], b"BK", &rounds, &salt, &checksum[..CHECKSUM], &self.number.0, &self.key]
            .concat();
        format!("untrusted comment: secret key {}\n{}\n", self.number, BASE64.encode(bytes))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It is none, is damaged, or has a password.
    pub fn parse(text: &str) -> Result<SecretKey> {
        let bytes = decode(text, "secret key")?;
        split(&bytes, SECRET, "secret key")?;
        if bytes[ROUNDS_AT..ROUNDS_AT + 4] != [0; 4] {
            return Err(wrong(
                "secret key",
                "it has a password; make one without: usign -G, or signify -G -n",
            ));
        }
        let rest = &bytes[SECRET_NUMBER_AT..];
        let key: [u8; 64] = fixed(&rest[NUMBER..]);
        let checksum = &bytes[SECRET_NUMBER_AT - CHECKSUM..SECRET_NUMBER_AT];
        if hmac_sha512::Hash::hash(key)[..CHECKSUM] != *checksum
            || ed25519::KeyPair::from_slice(&key).is_err()
        {
            return Err(wrong("secret key", "it is damaged; bring it back from a copy"));
        }
        Ok(SecretKey { number: Number(fixed(rest)), key })
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// The halves of the key do not belong together.
    pub fn sign(&self, message: &[u8]) -> Result<Signature> {
        let damaged = |_| wrong("secret key", "it is damaged");
        let pair = ed25519::KeyPair::from_slice(&self.key).map_err(damaged)?;
        Ok(Signature { number: self.number, signature: fixed(&pair.sk.sign(message, None)[..]) })
    }
}

/// Splits `bytes`, which must have the `length` of a `what`, into the number and what follows it.
fn split<'a>(bytes: &'a [u8], length: usize, what: &str) -> Result<(Number, &'a [u8])> {
    let is = match bytes.len() {
        n if n == length && bytes.starts_with(ALGORITHM) => {
            return Ok((Number(fixed(&bytes[2..])), &bytes[2 + NUMBER..]));
        }
        n if n == length => "it is of another algorithm than ed25519",
        PUBLIC => "it is a public key",
        SIGNATURE => "it is a signature",
        SECRET => "it is a secret key, which nobody else should see",
        _ => "it is too short or too long for one",
    };
    Err(wrong(what, is))
}

/// The first `N` of `bytes`, whose length [`split`] has checked.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("the length was checked")
}

fn wrong(what: &str, why: &str) -> Error {
    Error::new(Code::InvalidArgument, format_args!("it is no {what} of usign: {why}"))
}

fn refused(why: String) -> Error {
    Error::new(Code::Checksum, why)
}

/// The bytes in the last line of `text`, behind a line of comment.
fn decode(text: &str, what: &str) -> Result<Vec<u8>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default();
    if line.starts_with("untrusted comment:") {
        line = lines.next().unwrap_or_default();
    }
    if line.starts_with("ssh-") {
        return Err(wrong(what, "it is an SSH key; `usign -G` makes the right kind"));
    }
    BASE64.decode(line).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        // No more than tells a key from something else: it may be a secret.
        let shown: String = line.chars().take(3).collect();
        wrong(what, &format!("{} is no base64", quoted(&shown)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by usign itself; the message is "hello\n".
    const KEY: &str = include_str!("../tests/data/usign/key.pub");
    const SECRET_KEY: &str = include_str!("../tests/data/usign/key.sec");
    const SIGNED: &str = include_str!("../tests/data/usign/hello.sig");

    fn refusal(text: &str) -> String {
        PublicKey::parse(text).unwrap_err().into_message()
    }

    #[test]
    fn what_usign_signed_is_ours_to_verify_and_the_other_way_round() {
        let (key, signature) = (PublicKey::parse(KEY).unwrap(), Signature::parse(SIGNED).unwrap());
        assert_eq!(signature.number, key.number);
        signature.verify(&mut &b"hello\n"[..], std::slice::from_ref(&key)).unwrap();
        // ed25519 leaves no choice: what we sign is what usign signs.
        let ours = SecretKey::parse(SECRET_KEY).unwrap().sign(b"hello\n").unwrap();
        assert_eq!(ours.to_text(), SIGNED);
    }

    #[test]
    fn a_key_is_written_as_usign_and_signify_write_it() {
        let key = SecretKey::parse(SECRET_KEY).unwrap();
        let bytes = |text: &str| decode(text, "key").unwrap();
        assert_eq!(bytes(&key.public().to_text()), bytes(KEY));
        // usign's salt is random, and is used for nothing.
        let (ours, usigns) = (bytes(&key.to_text()), bytes(SECRET_KEY));
        assert_eq!((&ours[..8], &ours[24..]), (&usigns[..8], &usigns[24..]));
        let new = SecretKey::new([7; 32], Number::new([1; 8]));
        let again = SecretKey::parse(&new.to_text()).unwrap();
        let signature = again.sign(b"hello\n").unwrap();
        signature
            .verify(&mut &b"hello\n"[..], &[PublicKey::parse(&new.public().to_line()).unwrap()])
            .unwrap();
    }

    #[test]
    fn a_damaged_secret_key_is_none_and_nothing_of_it_is_shown() {
        let bytes = decode(SECRET_KEY, "key").unwrap();
        for at in [24, 31, 40, 71, 72, 103] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let refusal = SecretKey::parse(&BASE64.encode(damaged)).err().unwrap();
            assert!(refusal.message.contains("it is damaged"), "byte {at}: {}", refusal.message);
        }
        let (_, secret) = SECRET_KEY.trim_end().rsplit_once('\n').unwrap();
        let cut = secret[60..].trim_end_matches('=');
        let refusal = PublicKey::parse(cut).unwrap_err();
        assert!(!refusal.message.contains(&cut[..4]), "{}", refusal.message);
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let key = PublicKey::parse(KEY).unwrap();
        let signature = Signature::parse(SIGNED).unwrap();
        let verify = |signature: &Signature, message: &[u8], keys: &[PublicKey]| {
            signature.verify(&mut &message[..], keys).map_err(|e| (e.code, e.into_message()))
        };
        let keys = [key];
        assert_eq!(verify(&signature, b"hello\n", &keys), Ok(()));
        for message in [&b"hellO\n"[..], b"hello", b"", b"hello\n\n"] {
            let (code, why) = verify(&signature, message, &keys).unwrap_err();
            assert_eq!(code, Code::Checksum);
            assert!(why.contains("is not of this content"), "{why}");
        }
        for at in [0, 31, 32, 63] {
            let mut flipped = signature.clone();
            flipped.signature[at] ^= 1;
            assert!(verify(&flipped, b"hello\n", &keys).is_err(), "byte {at}");
        }
        for at in [0, 31] {
            let mut flipped = keys[0].clone();
            flipped.key[at] ^= 1;
            assert!(verify(&signature, b"hello\n", &[flipped]).is_err(), "byte {at} of the key");
        }
        let other = Signature { number: Number([7; 8]), ..signature.clone() };
        let (_, why) = verify(&other, b"hello\n", &keys).unwrap_err();
        assert!(why.contains("signed by key 0707070707070707, trusted is only"), "{why}");
    }

    #[test]
    fn a_key_for_which_anybody_could_sign_is_none() {
        let line = |key: &[u8]| BASE64.encode([&ALGORITHM[..], &[7; 8], key].concat());
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        // The points of small order (RFC 7748, section 7, in ed25519's encoding), other ways to write them, and no point.
        for key in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0200000000000000000000000000000000000000000000000000000000000000",
        ] {
            let refusal = refusal(&line(&hex(key)));
            assert!(refusal.contains("nothing can be signed for it safely"), "{key}: {refusal}");
        }
        let good = SecretKey::new([1; 32], Number([7; 8])).public();
        assert_eq!(PublicKey::parse(&line(good.bytes())), Ok(good));
    }

    #[test]
    fn keys_of_the_wrong_kind_are_called_what_they_are() {
        let line = |text: &str| text.lines().nth(1).unwrap().to_string();
        assert_eq!(PublicKey::parse(&line(KEY)), PublicKey::parse(KEY));
        assert_eq!(PublicKey::parse(&KEY.replace('\n', "\r\n")), PublicKey::parse(KEY));
        let other = BASE64.encode([&b"Xx"[..], &[0; 40]].concat());
        for (text, why) in [
            (SECRET_KEY, "it is a secret key"),
            (SIGNED, "it is a signature"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me", "it is an SSH key"),
            ("", "\"\" is no base64"),
            ("untrusted comment: x\n", "\"\" is no base64"),
            ("RWQ\u{e9}\u{e9}\u{e9}", "is no base64"),
            ("RWQ", "is no base64"),
            ("RWQA", "too short or too long"),
            (&other, "another algorithm"),
        ] {
            assert!(refusal(text).contains(why), "{text:?}: {}", refusal(text));
        }
        assert!(Signature::parse(KEY).unwrap_err().message.contains("it is a public key"));
        assert!(SecretKey::parse(KEY).err().unwrap().message.contains("it is a public key"));
    }
}
