//! Bytes as packets of mDNS, one after the other, from strangers, and what we ask because of them.
#![no_main]

use cloudbox::mdns::browser::Browser;
use cloudbox::mdns::message::{is_response, questions, records, Data, Name, Query, PTR};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

/// What stands between two packets.
const BETWEEN: &[u8] = b"\xff\xfe\xff";

fuzz_target!(|data: &[u8]| {
    for packet in split(data) {
        let _ = (is_response(packet), questions(packet));
        written_reads_the_same(packet);
    }
    for kind in [None, Some("_http._tcp")] {
        let mut browser = Browser::new(kind).expect("a type");
        let mut now = 0;
        for (i, packet) in split(data).enumerate() {
            browser.input(packet, IpAddr::from([10, 0, 0, i as u8]), now);
            now += 300;
            for again in [false, true] {
                for packet in browser.output(again, now) {
                    assert!(!questions(&packet).expect("our own questions").is_empty() || packet[7] > 0);
                    assert!(records(&packet).is_some() && packet.len() <= 1400);
                }
            }
        }
        for found in browser.found() {
            let mut texts = [&found.kind, &found.name, &found.host].into_iter().chain(&found.txt);
            assert!(texts.all(|text| !text.contains(char::is_control)));
            assert!(kind.is_none_or(|kind| kind.eq_ignore_ascii_case(&found.kind)));
        }
        // Nobody answers: it ends.
        for _ in 0..8 {
            now += 1000;
            let _ = (browser.output(false, now), browser.output(true, now));
        }
        assert!(browser.is_done(now + 1000));
    }
});

fn split(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let whole = rest?;
        let at = whole.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = at.map(|at| &whole[at + BETWEEN.len()..]);
        Some(&whole[..at.unwrap_or(whole.len())])
    })
}

/// Names that can be read can be written, compressed, and read the same.
fn written_reads_the_same(packet: &[u8]) {
    let pointers: Vec<(Name, Name)> = records(packet)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|record| match record.data {
            Data::Pointer(to) => Some((record.name, to)),
            _ => None,
        })
        .collect();
    let mut query = Query::default();
    for (name, _) in &pointers {
        query.question(name, PTR);
    }
    for (name, to) in &pointers {
        query.known(name, 1, to);
    }
    let packets = query.packets();
    let asked = packets.iter().flat_map(|packet| questions(packet).expect("our own questions"));
    assert!(asked
        .map(|(name, _)| name.wire().to_vec())
        .eq(pointers.iter().map(|(name, _)| name.wire().to_vec())));
    let known = packets.iter().flat_map(|packet| records(packet).expect("our own records"));
    let known = known.map(|record| match record.data {
        Data::Pointer(to) => (record.name.wire().to_vec(), to.wire().to_vec()),
        other => panic!("{other:?}"),
    });
    assert!(known.eq(pointers.iter().map(|(name, to)| (name.wire().to_vec(), to.wire().to_vec()))));
}
