//! Secrets of a slice: one random content key in each manifest, sealed to each listed box, and the secrets encrypted under
//! it. A manifest is public; what is sealed is read by the boxes on its list and by nobody else.
//!
//! What is sealed to a box begins with a hash of whose it is: member, slice, box and purpose. Otherwise a peer could copy
//! somebody's sealed key into a manifest of her own, and have the box open it into her guest. It is a hash, and not the names
//! themselves, so that a hundred boxes fit one manifest.

use super::id::Id;
use super::label::Label;
use crate::error::{Code, Error, Result};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use crypto_box::aead::rand_core::RngCore;
use crypto_box::aead::{Aead, KeyInit, OsRng, Payload};
use crypto_box::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

const KEY: usize = 32;
const NONCE: usize = 24;
/// Bytes of the hash that tell whose a sealed key is: nobody finds a second slice with the same 128 bits.
const WHOSE: usize = 16;
/// What a content key is sealed for.
const PURPOSE: &str = "cloudbox-secrets 1";

/// The half of a box's key by which it opens what is sealed to it.
pub struct SealKey(SecretKey);

impl SealKey {
    /// The key that these 32 secret bytes make.
    pub fn new(bytes: [u8; KEY]) -> SealKey {
        SealKey(SecretKey::from(bytes))
    }

    /// What others seal to; it stands in the box's offer.
    pub fn public(&self) -> [u8; KEY] {
        self.0.public_key().to_bytes()
    }
}

/// Whose a sealed content key is.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The slice's owner.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// The box that shall open it.
    pub box_id: Id,
}

impl Whose {
    fn hash(&self) -> [u8; WHOSE] {
        let text = format!("{}/{}\n{}\n{PURPOSE}\n", self.member, self.slice, self.box_id);
        let mut hash = [0; WHOSE];
        hash.copy_from_slice(&Sha256::digest(text)[..WHOSE]);
        hash
    }
}

/// The key that the secrets of one manifest are encrypted under.
pub struct ContentKey([u8; KEY]);

impl ContentKey {
    /// A new one.
    pub fn random() -> ContentKey {
        let mut key = [0; KEY];
        OsRng.fill_bytes(&mut key);
        ContentKey(key)
    }

    /// Seals it to the box whose offer has the public key `to`: 96 bytes.
    ///
    /// # Errors
    /// [`Code::Failed`]: there is no memory for it.
    pub fn seal(&self, to: &[u8; KEY], whose: &Whose) -> Result<Vec<u8>> {
        let sealed = [&whose.hash()[..], &self.0].concat();
        let failed = |_| Error::new(Code::Failed, "the key of the secrets cannot be sealed");
        PublicKey::from(*to).seal(&mut OsRng, &sealed).map_err(failed)
    }

    /// Opens what was sealed to the box.
    ///
    /// # Errors
    /// [`Code::Checksum`]: it was sealed to another box, or was changed. [`Code::InvalidArgument`]: it was sealed for
    /// another slice, and stands here as a copy.
    pub fn open(key: &SealKey, sealed: &[u8], whose: &Whose) -> Result<ContentKey> {
        let other =
            |_| Error::new(Code::Checksum, "the secrets are not sealed to this box; sign the slice again");
        let opened = key.0.unseal(sealed).map_err(other)?;
        match opened.split_at_checked(WHOSE) {
            Some((hash, rest)) if hash == whose.hash() => {
                rest.try_into().map(ContentKey).map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }

    /// Encrypts a secret of `group`, called `name`.
    ///
    /// # Errors
    /// [`Code::Failed`]: there is no memory for it.
    pub fn encrypt(&self, group: Label, name: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = XNonce::default();
        OsRng.fill_bytes(&mut nonce);
        let aad = format!("{group}/{name}");
        let failed = |_| Error::new(Code::Failed, format_args!("the secret {name} cannot be encrypted"));
        let text =
            self.cipher().encrypt(&nonce, Payload { msg: secret, aad: aad.as_bytes() }).map_err(failed)?;
        Ok([&nonce[..], &text].concat())
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// [`Code::Checksum`]: it was changed, or is the secret of another group or name.
    pub fn decrypt(&self, group: Label, name: &str, encrypted: &[u8]) -> Result<Vec<u8>> {
        let aad = format!("{group}/{name}");
        let changed = || {
            Error::new(
                Code::Checksum,
                format_args!("the secret {name} of group {group} is not what was encrypted"),
            )
        };
        let (nonce, text) = encrypted.split_at_checked(NONCE).ok_or_else(changed)?;
        let payload = Payload { msg: text, aad: aad.as_bytes() };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| changed())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&self.0).into())
    }
}

fn wrong() -> Error {
    let why = "the secrets are sealed for another slice: somebody has copied them from there";
    Error::new(Code::InvalidArgument, why)
}

#[cfg(test)]
mod tests {
    use super::super::label::Kind;
    use super::*;

    fn whose(member: &str, slice: &str, box_id: &str) -> Whose {
        Whose {
            member: member.parse().unwrap(),
            slice: Label::new(Kind::Slice, slice).unwrap(),
            box_id: box_id.parse().unwrap(),
        }
    }

    const ANNA: &str = "o6cgvbb4hsvzjf6g";
    const EVE: &str = "7777777777777777";
    const BOX: &str = "aaaaaaaaaaaaaaaa";

    #[test]
    fn what_is_sealed_opens_for_its_box_and_its_slice_only() {
        let (key, other) = (SealKey::new([7; 32]), SealKey::new([8; 32]));
        let wiki = whose(ANNA, "wiki", BOX);
        let content = ContentKey::random();
        let sealed = content.seal(&key.public(), &wiki).unwrap();
        assert_eq!(sealed.len(), 96);
        assert_eq!(ContentKey::open(&key, &sealed, &wiki).unwrap().0, content.0);
        assert_eq!(ContentKey::open(&other, &sealed, &wiki).err().unwrap().code, Code::Checksum);
        // Copied into a manifest of somebody else's, of another slice, for another box.
        for copied in [whose(EVE, "wiki", BOX), whose(ANNA, "blog", BOX), whose(ANNA, "wiki", EVE)] {
            let refusal = ContentKey::open(&key, &sealed, &copied).err().unwrap();
            assert!(refusal.message.contains("sealed for another slice"), "{refusal}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ContentKey::open(&key, &changed, &wiki).is_err(), "byte {at}");
            assert!(ContentKey::open(&key, &sealed[..at], &wiki).is_err(), "{at} bytes of it");
        }
    }

    #[test]
    fn a_secret_is_read_under_its_name_and_group_only() {
        let label = |text| Label::new(Kind::Group, text).unwrap();
        let key = ContentKey::random();
        let encrypted = key.encrypt(label("web"), "db", b"hunter2").unwrap();
        assert_eq!(key.decrypt(label("web"), "db", &encrypted).unwrap(), b"hunter2");
        assert!(key.decrypt(label("db"), "db", &encrypted).is_err());
        let refusal = key.decrypt(label("web"), "tls", &encrypted).unwrap_err();
        assert!(refusal.message.contains("the secret tls of group web"), "{refusal}");
        assert!(ContentKey::random().decrypt(label("web"), "db", &encrypted).is_err());
        for at in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[at] ^= 1;
            assert!(key.decrypt(label("web"), "db", &changed).is_err(), "byte {at}");
            assert!(key.decrypt(label("web"), "db", &encrypted[..at]).is_err(), "{at} bytes of it");
        }
        // Nobody sees that two secrets are the same.
        assert_ne!(key.encrypt(label("web"), "db", b"hunter2").unwrap(), encrypted);
    }
}
