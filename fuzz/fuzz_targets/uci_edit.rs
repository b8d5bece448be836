//! Makes any edits in any file; each must give the tree that it means.
//!
//! The input is text: the file, and behind a NUL each an edit. An edit is a letter, the number of a section as one
//! character, and words that end with \x01: `s0memory\x01256M` sets an option.
#![no_main]

#[path = "../../crates/openwrt-uci/tests/common/mod.rs"]
mod common;

use common::edits::{apply_and_check, Edit};
use libfuzzer_sys::fuzz_target;
use openwrt_uci::Document;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|&byte| byte == 0);
    let Ok(mut document) = Document::parse(parts.next().unwrap_or_default()) else { return };
    for edit in parts.filter_map(decode).take(20) {
        apply_and_check(&mut document, &edit);
    }
});

fn decode(edit: &[u8]) -> Option<Edit> {
    let [letter, section, words @ ..] = edit else { return None };
    let section = usize::from(section.wrapping_sub(b'0'));
    let mut words = words.split(|&byte| byte == 1);
    let mut text = || words.next().map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
    Some(match letter {
        b'a' => Edit::Add { kind: text(), name: text() },
        b'n' => Edit::AddAnonymous { kind: text() },
        b's' => Edit::Set { section, option: text(), value: words.next().unwrap_or_default().to_vec() },
        b'l' => Edit::SetList { section, option: text(), values: words.map(<[u8]>::to_vec).collect() },
        b'u' => Edit::Unset { section, option: text() },
        b'r' => Edit::Remove { section },
        b'm' => Edit::Rename { section, name: text() },
        _ => return None,
    })
}
