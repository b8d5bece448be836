//! Bytes as an index and as a list of images, from a server that may be anybody.
#![no_main]

use cloudbox::model::remote::local_name;
use cloudbox::simplestreams::{read_index, read_offers, Offer};
use libfuzzer_sys::fuzz_target;
use std::io::Read;

/// Gives a few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.len().min(buffer.len()).min(3);
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fuzz_target!(|data: &[u8]| {
    let index = read_index(&mut &data[..]);
    assert_eq!(index, read_index(&mut Drops(data)));
    for path in index.iter().flatten() {
        stays_below(path);
    }
    let offers = |input: &mut dyn Read| {
        let mut offers: Vec<Offer> = Vec::new();
        let read = read_offers(input, "amd64", &mut |offer| {
            offers.push(offer);
            Ok(())
        });
        (offers, read)
    };
    let (found, read) = offers(&mut &data[..]);
    assert_eq!((&found, &read), (&offers(&mut Drops(data)).0, &offers(&mut Drops(data)).1));
    for offer in &found {
        assert!(!offer.aliases.is_empty() && !offer.version.is_empty());
        let texts =
            [&offer.os, &offer.release, &offer.variant, &offer.version].into_iter().chain(&offer.aliases);
        assert!(texts.into_iter().all(|text| !text.contains(char::is_control)));
        for alias in &offer.aliases {
            assert!(
                local_name(alias).is_ok_and(|name| !name.as_str().contains('/'))
                    || local_name(alias).is_err()
            );
        }
        if let Ok(item) = &offer.item {
            stays_below(&item.path);
            assert!(item.size > 0 && item.sha256.len() == 64);
            assert!(item.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        }
    }
});

fn stays_below(path: &str) {
    assert!(!path.is_empty() && !path.starts_with('/') && !path.contains(['?', '#', '\\', '"', ' ', '\n']));
    assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
}
