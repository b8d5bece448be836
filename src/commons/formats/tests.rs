use super::*;
use crate::commons::fields::Hash;
use crate::commons::id::Id;
use crate::commons::signed::{key_of, Ed25519};
use crate::error::Code;
use serde_json::{json, Map};

fn secret() -> SecretKey {
    SecretKey::parse(include_str!("../../../tests/data/usign/key.sec")).unwrap()
}

fn me() -> Id {
    Id::of(&secret().public())
}

fn id(byte: u8) -> Id {
    Id::of(&SecretKey::new([byte; 32], secret().number).public())
}

fn label(kind: Kind, text: &str) -> Label {
    Label::new(kind, text).unwrap()
}

fn network() -> Label {
    label(Kind::Network, "0123456789abcdef")
}

const NOW: u64 = 1_790_000_000;
const HASH: Hash = [0xab; 32];

fn group(name: &str) -> Group {
    Group {
        name: label(Kind::Group, name),
        count: 2,
        places: vec![0, 1, 2],
        not: vec![],
        image: Image { alias: "community:distro".into(), sha256: vec![("x86_64".into(), HASH)] },
        memory: 256 << 20,
        disk: 1 << 30,
        cpus: 500,
        pids: Some(200),
        services: vec!["proxy".into()],
        publish: vec![Published { kind: "_http._tcp".into(), port: 80, name: "Our wiki".into() }],
        authorized_keys: vec!["ssh-ed25519 AAAA me".into()],
        first_boot: Some("#!/bin/sh\necho \"ü\"\n".into()),
        secrets: vec![],
        reset: 1,
        on_loss: OnLoss::Restore,
        grace: 3600,
    }
}

fn manifest() -> Manifest {
    Manifest {
        member: me(),
        slice: label(Kind::Slice, "wikiwikiwiki"),
        serial: NOW,
        prev: Some(NOW - 5),
        again: Some(NOW - 9),
        void: vec![NOW + 999_999],
        via: Some(id(9)),
        wish: Wish::Run,
        boxes: vec![id(1), id(2), id(3)],
        groups: vec![group("web"), Group { places: vec![2, 0], not: vec![id(7)], ..group("db") }],
        seals: vec![],
        renewers: vec!["a\nb\n".into()],
        issued: NOW,
        expires: NOW + 90 * DAY,
    }
}

fn stamp() -> Stamp {
    Stamp { session: u32::MAX, seq: u32::MAX }
}

fn alive() -> Alive {
    Alive { of: me(), stamp: stamp(), run: *b"abcd0123", at: NOW, back: 600, lost: true }
}

fn reported(name: &str) -> Reported {
    Reported {
        group: label(Kind::Group, name),
        state: MemberState::Refused,
        since: NOW,
        code: "no_memory".into(),
        reason: "\"".repeat(REASON_MAX).into(),
        address: "2001:db8:1234:5678:9abc:def0:1234:5678".into(),
        restored: NOW,
    }
}

fn state(groups: Vec<Reported>) -> State {
    State {
        of: me(),
        member: id(1),
        slice: label(Kind::Slice, "wiki"),
        stamp: stamp(),
        run: *b"abcd0123",
        seen: NOW,
        applied: NOW - 1,
        skipped: Some(NOW - 2),
        twice: true,
        unheard: true,
        groups,
        expires: NOW + DAY,
    }
}

fn offer() -> Offer {
    let owner = Owner { member: id(1), of: me(), issued: NOW, expires: NOW + 90 * DAY };
    let owner = String::from_utf8(make(&Ed25519, &secret(), network(), &owner).unwrap()).unwrap();
    Offer {
        of: me(),
        zone: label(Kind::Zone, "0123456789abcdef"),
        name: "box".into(),
        stamp: stamp(),
        arch: "x86_64".into(),
        address: "10.0.0.1".into(),
        memory: 1 << 30,
        disk: 1 << 34,
        cpus: 2000,
        containers: 4,
        members: 3,
        class: Class::Steady,
        mode: Mode::Production,
        owner: Some(owner.into()),
        seal: Some([7; 32]),
        accepts: Some((1..31).map(id).collect()),
        hours: Some([0xf0; 84]),
        issued: NOW,
        expires: NOW + 30 * DAY,
    }
}

/// Signed, read again, and the same; and nothing of it may be missing.
fn check<T: Format + PartialEq + std::fmt::Debug>(
    told: &T,
    topic: Option<Topic>,
    optional: &[&str],
) -> usize {
    let text = make(&Ed25519, &secret(), network(), told).unwrap();
    let key = key_of(me(), &text).unwrap();
    assert_eq!(&open::<T>(&Ed25519, &key, network(), &text).unwrap(), told);
    if let Some(topic) = topic {
        assert_eq!(&open_at::<T>(&Ed25519, &key, network(), &topic, &text).unwrap(), told);
        assert_eq!(Topic::parse(network(), &topic.text(network())), Some(topic));
    }
    let elsewhere = open_at::<T>(&Ed25519, &key, network(), &Topic::Mark(me()), &text).unwrap_err();
    assert!(elsewhere.message.contains("does not belong at"), "{elsewhere}");
    let other = open::<T>(&Ed25519, &key, label(Kind::Network, "other"), &text).unwrap_err();
    assert!(other.message.contains("it is of the network 0123456789abcdef, and this is other"), "{other}");

    let whole = told.write().done();
    for name in whole.keys() {
        assert!(T::KNOWN.contains(&&**name) || name == "expires", "{name} is written and not known");
        let mut less = whole.clone();
        less.remove(name);
        let is_optional = optional.contains(&&**name);
        assert_eq!(T::read(Fields::new(&less)).is_ok(), is_optional, "without {name}");
        for nonsense in [json!(null), json!(-1), json!({ "a": 1 }), json!("\u{1b}[1m"), json!([null])] {
            // What is only looked into later, by whoever understands it.
            if nonsense.is_string() && ["owner", "capability"].contains(&&**name) {
                continue;
            }
            let mut wrong = whole.clone();
            wrong.insert(name.clone(), nonsense.clone());
            assert!(T::read(Fields::new(&wrong)).is_err(), "{name}: {nonsense}");
        }
    }
    text.len()
}

#[test]
fn each_is_read_as_it_was_written() {
    let (issued, expires) = (NOW, NOW + 30 * DAY);
    let slice = label(Kind::Slice, "wiki");
    let manifest_topic = Topic::Slice(me(), manifest().slice);
    let optional = ["prev", "again", "void", "via", "renewers"];
    check(&manifest(), Some(manifest_topic), &optional);
    let tombstone = Manifest { wish: Wish::Gone, groups: vec![], ..manifest() };
    check(&tombstone, Some(manifest_topic), &["prev", "again", "void", "via", "renewers", "boxes"]);
    let cert = Cert {
        issuer: me(),
        key: PublicKey::parse(&SecretKey::new([9; 32], secret().number).public().to_line()).unwrap(),
        share: 25,
        issued,
        expires,
    };
    check(&cert, None, &[]);
    assert_eq!(cert.member(), id(9));
    let certs = vec![String::from_utf8(make(&Ed25519, &secret(), network(), &cert).unwrap()).unwrap().into()];
    let slices = vec![Entry::new(slice, NOW, &[id(1), id(2)]), Entry::new(manifest().slice, 7, &[])];
    let index = Index { member: me(), serial: NOW, slices, certs, issued, expires };
    assert!(index.slices[0].lists(id(1)) && index.slices[0].lists(id(2)) && !index.slices[0].lists(id(3)));
    check(&index, Some(Topic::Index(me())), &["slices", "certs"]);
    let revoked = Revoked { member: me(), serial: 7, keys: vec![id(1), me()], issued, expires };
    assert!(revoked.is_final());
    check(&revoked, Some(Topic::Revoked(me())), &["keys"]);
    check(&Owner { member: me(), of: id(1), issued, expires }, None, &[]);
    check(&Renewer { member: me(), slice, of: id(1), issued, expires }, None, &[]);
    let renewal = Renewal { member: id(1), slice, manifest: HASH, of: me(), issued, expires };
    check(&renewal, Some(Topic::Renewal(id(1), slice)), &[]);
    let optional = [
        "name",
        "arch",
        "address",
        "memory",
        "disk",
        "cpus",
        "containers",
        "members",
        "owner",
        "seal",
        "accepts",
        "hours",
    ];
    check(&offer(), Some(Topic::Offer(offer().zone, me())), &optional);
    let announced = Announced {
        kind: "_http._tcp".into(),
        name: "Our wiki".into(),
        address: "10.0.0.7".into(),
        port: 80,
        txt: vec!["path=/".into()],
    };
    let services =
        Services { of: me(), zone: offer().zone, stamp: stamp(), services: vec![announced], issued, expires };
    check(&services, Some(Topic::Services(offer().zone, me())), &["services"]);
    let group = label(Kind::Group, "web");
    let checkpoint = Checkpoint {
        of: me(),
        member: id(1),
        slice,
        group,
        sha256: HASH,
        bytes: 7,
        capability: "x".into(),
        issued,
        expires,
    };
    check(&checkpoint, Some(Topic::Checkpoint(me(), id(1), slice)), &[]);
    let optional = ["applied", "skipped", "twice", "unheard", "groups"];
    check(&state(vec![reported("web")]), Some(Topic::State(me(), id(1), slice)), &optional);
    check(&alive(), Some(Topic::Alive(me())), &["back", "lost"]);
    let ask = Ask {
        of: id(1),
        member: me(),
        memory: 1,
        disk: 2,
        cpus: 3,
        containers: 4,
        contact: "anna@…".into(),
        note: "ü".into(),
        issued,
        expires,
    };
    check(&ask, Some(Topic::Ask(id(1), me())), &["contact", "note"]);
    let answer = Answer { of: me(), member: id(1), allowed: true, note: "welcome".into(), issued, expires };
    check(&answer, Some(Topic::Answer(me(), id(1))), &["note", "allowed"]);
}

/// The longest of each kind that stands for long in a broker, as long as the network's and the zone's names can be.
#[test]
fn what_is_usual_is_as_short_as_it_may_be() {
    let length = |text: Result<Vec<u8>>| text.unwrap().len();
    let made = length(make(&Ed25519, &secret(), network(), &alive()));
    assert!(made <= Purpose::Alive.most(), "{made}");
    let made = length(make(&Ed25519, &secret(), network(), &offer()));
    assert!(made <= Purpose::Offer.most(), "{made}");
    // As many groups as there may be, with all they can say, are too many; with less they fit.
    let names: Vec<String> = (0..GROUPS_MAX).map(|number| format!("group{number:03}")).collect();
    let mut all = state(names.iter().map(|name| reported(name)).collect());
    assert!(make(&Ed25519, &secret(), network(), &all).is_err());
    all.shorten(true);
    let made = length(make(&Ed25519, &secret(), network(), &all));
    assert!(made <= Purpose::State.most(), "{made}");
}

/// All of a thousand boxes did not fit: seven hundred do.
#[test]
fn case_30_the_most_boxes_fit() {
    let boxes: Vec<Id> = (1..=BOXES_MAX as u32)
        .map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            Id::of(&SecretKey::new(seed, secret().number).public())
        })
        .collect();
    let places = (0..BOXES_MAX as u16).collect();
    let many = Manifest { boxes, groups: vec![Group { places, ..group("web") }], ..manifest() };
    let made = make(&Ed25519, &secret(), network(), &many).unwrap().len();
    assert!(made <= Purpose::Slice.most(), "{made}");
}

/// A grace that is shorter than what counts as heard made members come and go.
#[test]
fn case_29_the_grace_is_longer_than_what_counts_as_heard() {
    let least = |seconds: u64| read_manifest(|members| members["groups"][0]["grace"] = json!(seconds));
    assert!(least(crate::commons::decision::HEARD / 1000).is_err());
    assert!(least(599).is_err() && least(600).is_ok());
}

fn read_manifest(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Manifest> {
    let mut members = manifest().write().done();
    change(&mut members);
    Manifest::read(Fields::new(&members))
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused_by_name() {
    let ids = |ids: &[u8]| Value::from(ids.iter().map(|byte| id(*byte).to_string()).collect::<Vec<_>>());
    let in_group = |name: &'static str, value: Value| {
        move |members: &mut Map<String, Value>| members["groups"][0][name] = value
    };
    type Change = Box<dyn FnOnce(&mut Map<String, Value>)>;
    let set = |name: &'static str, value: Value| -> Change {
        Box::new(move |members| {
            members.insert(name.to_string(), value);
        })
    };
    let cases: Vec<(Change, &str)> = vec![
        (set("expires", json!(NOW)), "`expires`"),
        (set("expires", json!(NOW + 90 * DAY + 1)), "is not within 90 days after `issued`"),
        (set("serial", json!(0)), "`serial`: 0 is no whole number from 1"),
        (set("serial", json!("1")), "`serial`"),
        (set("boxes", ids(&[1, 2, 1])), "stands twice"),
        (set("boxes", ids(&[1])), "`places`: it lists 2, and 1 is the most"),
        (set("state", json!("later")), "\"later\" is none of run, stop, gone"),
        (set("state", json!("gone")), "its tombstone has none"),
        (set("groups", json!([])), "a slice has some"),
        (set("groups", json!([1])), "`groups`: it is no object"),
        (set("seals", json!(["x"])), "`seals`: there are 1, for 3 boxes"),
        (set("slice", json!("Wiki")), "`slice`"),
        (set("renewers", json!(["x".repeat(1025)])), "`renewers`: it has 1025 bytes"),
        (Box::new(in_group("count", json!(0))), "`count`: 0 is no whole number from 1 to 700"),
        (Box::new(in_group("count", json!(701))), "`count`"),
        (Box::new(in_group("places", json!([0, 0]))), "`places`: a box stands twice"),
        (Box::new(in_group("memory", json!(1))), "`memory`"),
        (Box::new(in_group("grace", json!(299))), "`grace`"),
        (Box::new(in_group("name", json!("db"))), "`groups`: db stands twice"),
        (Box::new(in_group("on_loss", json!("panic"))), "`on_loss`"),
        (Box::new(in_group("image", json!({ "sha256": { "x86_64": "AB" } }))), "is no SHA-256"),
        (Box::new(in_group("image", json!({}))), "`sha256`: it is missing"),
        (Box::new(in_group("secrets", json!([{ "name": "../x", "text": "" }]))), "a name is no file's"),
        (Box::new(in_group("secrets", json!([{ "name": "x", "text": "" }]))), "there are none, but secrets"),
        (Box::new(in_group("authorized_keys", json!(["a\nb"]))), "characters that are not shown"),
        (Box::new(in_group("must", json!(["later"]))), "`later`: it must not be passed over"),
        (Box::new(in_group("must", json!("later"))), "`must`: it is no list"),
    ];
    for (change, why) in cases {
        let refusal = read_manifest(change).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(refusal.message.contains(why), "{why}: {}", refusal.message);
    }
    // What is not said has a usual value.
    let told = read_manifest(|members| {
        let group = members["groups"][0].as_object_mut().unwrap();
        for name in ["on_loss", "grace", "places", "pids", "reset", "later"] {
            group.remove(name);
        }
        group.insert("later".to_string(), json!(1));
        group.insert("must".to_string(), json!(["count"]));
    });
    let told = &told.unwrap().groups[0];
    assert_eq!((told.on_loss, told.grace, told.reset), (OnLoss::Replace, 900, 0));
    assert_eq!(told.places, [0, 1, 2]);
}

#[test]
fn a_rank_is_a_groups_own() {
    let manifest = manifest();
    let [web, db] = &manifest.groups[..] else { panic!() };
    assert_eq!([1, 2, 3, 4].map(|byte| manifest.rank(web, id(byte))), [Some(0), Some(1), Some(2), None]);
    assert_eq!([1, 2, 3, 4].map(|byte| manifest.rank(db, id(byte))), [Some(1), None, Some(0), None]);
    assert_eq!(manifest.boxes_of(db).collect::<Vec<Id>>(), [id(3), id(1)]);
}

#[test]
fn nobody_vouches_for_himself_and_no_slice_is_listed_twice() {
    let mut cert = Cert { issuer: me(), key: secret().public(), share: 25, issued: NOW, expires: NOW + DAY };
    assert!(Cert::read(Fields::new(&cert.write().done())).unwrap_err().message.contains("for himself"));
    cert.issuer = id(1);
    assert!(Cert::read(Fields::new(&cert.write().done())).is_ok());
    let entry = Entry::new(label(Kind::Slice, "wiki"), 1, &[id(1)]);
    let index = Index {
        member: me(),
        serial: 1,
        slices: vec![entry.clone(), entry],
        certs: vec![],
        issued: NOW,
        expires: NOW + DAY,
    };
    assert!(Index::read(Fields::new(&index.write().done()))
        .unwrap_err()
        .message
        .contains("wiki stands twice"));
    for boxes in ["", "AAAA", "AAA", "AAAAAA==", "?"] {
        let mut members = index.write().done();
        members.insert("slices".to_string(), json!([{ "name": "wiki", "serial": 1, "boxes": boxes }]));
        assert_eq!(Index::read(Fields::new(&members)).is_ok(), ["", "AAAA"].contains(&boxes), "{boxes}");
    }
}
