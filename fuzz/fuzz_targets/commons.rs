//! Any text as each kind of what is signed in the commons. Half of them are changed before they are signed with a key that
//! counts, or no change would get past the signature; and all of them go through the core of a box as well.
#![no_main]

use cloudbox::commons::core::Core;
use cloudbox::commons::formats::*;
use cloudbox::commons::id::Id;
use cloudbox::commons::interface::{Identity, Input, Now, Peer, Settings};
use cloudbox::commons::label::{Kind, Label};
use cloudbox::commons::signed::{key_of, Ed25519, Parts, Purpose, Signatures};
use cloudbox::commons::topic::Topic;
use cloudbox::error::Result;
use cloudbox::usign::{Number, PublicKey, SecretKey, Signature};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

/// Every signature is good: what is looked for is behind it.
struct Believing;

impl Signatures for Believing {
    fn sign(&self, key: &SecretKey, _: &[u8]) -> Result<Signature> {
        Ok(Signature::new(key.number, [0; 64]))
    }

    fn verify(&self, _: &PublicKey, _: &Signature, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

const WORDS: [&str; 14] = [
    "slice", "offer", "state", "services", "checkpoint", "index", "cert", "owner", "renewer", "renewal", "revoked",
    "alive", "ask", "answer",
];

fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Number::new([byte; 8]))
}

/// What was read is written and read again, the same.
fn check<T: Format + PartialEq + std::fmt::Debug>(network: Label, text: &[u8]) {
    let public = key(1).public();
    assert!(text.len() <= 64 << 10 || open::<T>(&Believing, &public, network, text).is_err());
    let Ok(told) = open::<T>(&Believing, &public, network, text) else { return };
    // Written with our spaces it may be longer than it may be.
    if let Ok(again) = make(&Believing, &key(1), network, &told) {
        assert_eq!(open::<T>(&Believing, &public, network, &again), Ok(told));
    }
}

fn peer() -> Peer {
    Peer {
        name: "peer".into(),
        key: key(1).public(),
        memory: 1 << 40,
        disk: 1 << 50,
        cpus: 1 << 30,
        containers: 1000,
        images: vec!["any".into()],
        delegate: true,
        share: 100,
        publish: true,
    }
}

fuzz_target!(|data: &[u8]| {
    let network = Label::new(Kind::Network, "n").unwrap();
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    // As it is: anybody may publish that.
    let _ = Parts::of(rest).map(|parts| parts.message.len());
    let _ = key_of(Id::of(&key(1).public()), rest);
    if let Ok(text) = std::str::from_utf8(rest) {
        if let Some(topic) = Topic::parse(network, text) {
            assert_eq!(topic.text(network), text);
        }
    }
    // Behind a signature.
    let line = key(1).public().to_line();
    let signature = Signature::new(key(1).number, [0; 64]).to_line();
    let word = WORDS[first % WORDS.len()];
    let head = format!("untrusted comment: {line}\n{signature}\ncloudbox-{word} 1\n");
    let text = [head.as_bytes(), rest].concat();
    match word {
        "slice" => check::<Manifest>(network, &text),
        "offer" => check::<Offer>(network, &text),
        "state" => check::<State>(network, &text),
        "services" => check::<Services>(network, &text),
        "checkpoint" => check::<Checkpoint>(network, &text),
        "index" => check::<Index>(network, &text),
        "cert" => check::<Cert>(network, &text),
        "owner" => check::<Owner>(network, &text),
        "renewer" => check::<Renewer>(network, &text),
        "renewal" => check::<Renewal>(network, &text),
        "revoked" => check::<Revoked>(network, &text),
        "alive" => check::<Alive>(network, &text),
        "ask" => check::<Ask>(network, &text),
        _ => check::<Answer>(network, &text),
    }
    assert!(Purpose::Slice.most() <= 16 << 10);
    // Nobody can sign it for a stranger.
    assert!(open::<Ask>(&Ed25519, &key(2).public(), network, &text).is_err());
    core(network, &text);
});

/// A box whose peer signs whatever he likes hears it at every topic at which it could stand, and after a restart reads its own
/// files, or anything instead.
fn core(network: Label, text: &[u8]) {
    let me = Id::of(&key(3).public());
    let (peer_id, slice) = (Id::of(&key(1).public()), Label::new(Kind::Slice, "s").unwrap());
    let settings = || Settings {
        network,
        zone: Label::new(Kind::Zone, "z").unwrap(),
        name: "box".into(),
        mode: Mode::Production,
        notice: 0,
        class: Class::Any,
        hours: None,
        show_accepts: true,
        arch: "x86_64".into(),
        address: "".into(),
        owner: None,
        seal: None,
        peers: vec![peer()],
        deny: Vec::new(),
    };
    let mut kept = vec![(format!("slice.{peer_id}.s"), text.to_vec()), ("clock".to_string(), text.to_vec())];
    for session in 1..=2 {
        let now = Now { mono: 10_000, wall: 1_800_000_000, synced: session == 1 };
        let identity = Identity { key: key(3), session, run: *b"aaaaaaaa", seed: 1 };
        let mut core = Core::new(identity, Rc::new(Believing), std::mem::take(&mut kept), now);
        core.handle(now, Input::Settings(settings()));
        core.handle(now, Input::Containers(&[]));
        core.handle(now, Input::Connected(0));
        for topic in [
            Topic::Index(peer_id),
            Topic::Slice(peer_id, slice),
            Topic::Renewal(peer_id, slice),
            Topic::Revoked(peer_id),
            Topic::Alive(peer_id),
            Topic::Alive(me),
            Topic::State(peer_id, peer_id, slice),
            Topic::Ask(me, peer_id),
            Topic::Mark(me),
        ] {
            let topic = topic.text(network);
            core.handle(now, Input::Message { broker: 0, topic: &topic, payload: text, retained: session == 2 });
        }
        let later = Now { mono: now.mono + 10_000_000, ..now };
        core.handle(later, Input::Tick);
        while let Some(effect) = core.poll() {
            if let cloudbox::commons::interface::Effect::Keep(name, bytes) = effect {
                kept.retain(|(other, _)| *other != name);
                kept.push((name, bytes.to_vec()));
            }
        }
        assert!(core.held_bytes() < 256 << 10);
    }
}
