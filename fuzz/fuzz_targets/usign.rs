//! Any text as a key and as a signature, and as the message that is signed.
#![no_main]

use cloudbox::usign::{PublicKey, SecretKey, Signature};
use libfuzzer_sys::fuzz_target;

const KEY: &str = include_str!("../../tests/data/usign/key.pub");

fuzz_target!(|text: &str| {
    let key = PublicKey::parse(KEY).unwrap();
    let (public, signature, secret) =
        (PublicKey::parse(text), Signature::parse(text), SecretKey::parse(text));
    // One text is one kind of thing.
    let kinds = [public.is_ok(), signature.is_ok(), secret.is_ok()];
    assert!(kinds.iter().filter(|is| **is).count() <= 1);
    if let Ok(signature) = &signature {
        assert_eq!(Signature::parse(&signature.to_text()).as_ref(), Ok(signature));
        // Nobody here knows how to sign for that key.
        assert!(signature.verify(&mut text.as_bytes(), &[key.clone()]).is_err());
    }
    if let (Ok(public), Ok(signature)) =
        (public, Signature::parse(include_str!("../../tests/data/usign/hello.sig")))
    {
        let hello = signature.verify(&mut &b"hello\n"[..], &[public.clone()]);
        assert!(hello.is_err() || public == key);
    }
    if let Ok(Ok(made)) = secret.map(|secret| secret.sign(text.as_bytes())) {
        assert_eq!(Signature::parse(&made.to_text()), Ok(made));
    }
});
