use super::*;
use crate::commons::formats::{Class, Mode};
use crate::commons::label::{Kind, Label};
use crate::usign::{Number, SecretKey};

fn key(byte: u8) -> PublicKey {
    SecretKey::new([byte; 32], Number::new([byte; 8])).public()
}

fn id(byte: u8) -> Id {
    Id::of(&key(byte))
}

fn peer(byte: u8, delegate: bool) -> Peer {
    Peer {
        name: "anna".into(),
        key: key(byte),
        memory: 1 << 30,
        disk: 10 << 30,
        cpus: 1000,
        containers: 4,
        images: vec!["any".into()],
        delegate,
        share: 25,
        publish: true,
    }
}

fn settings(peers: Vec<Peer>, deny: Vec<PublicKey>) -> Settings {
    Settings {
        network: Label::new(Kind::Network, "guifi").unwrap(),
        zone: Label::new(Kind::Zone, "osona").unwrap(),
        name: "box".into(),
        mode: Mode::Production,
        notice: 86_400,
        class: Class::Any,
        hours: None,
        show_accepts: true,
        arch: "x86_64".into(),
        address: "".into(),
        owner: None,
        seal: None,
        peers,
        deny,
    }
}

fn known(byte: u8, is_peer: bool, vouches: &[(u8, u8, u64)], revokes: &[u8]) -> Known {
    let cert = |&(of, share, expires): &(u8, u8, u64)| Cert {
        issuer: id(byte),
        key: key(of),
        share,
        issued: 0,
        expires,
    };
    let keys: Vec<Id> = revokes.iter().map(|byte| id(*byte)).collect();
    let revoked = Revoked { member: id(byte), serial: 1, keys, issued: 0, expires: 1 };
    Known {
        id: id(byte),
        key: key(byte),
        is_peer,
        certs: vouches.iter().map(cert).collect(),
        revoked: (!revokes.is_empty()).then_some(revoked),
    }
}

#[test]
fn who_is_hosted_and_by_whose_word() {
    let (anna, bert, carla) = (1, 2, 3);
    let told = |settings: &Settings, known: &[Known], member: u8, via: Option<u8>| {
        standing(settings, known, id(member), via.map(id), Some(50))
            .map(|standing| (standing.peer_id, standing.share))
    };
    let both = settings(vec![peer(anna, true), peer(bert, false)], vec![]);
    let says = [
        known(anna, true, &[(carla, 50, 100), (7, 10, 50), (8, 10, 51)], &[]),
        known(bert, true, &[(carla, 90, 100)], &[]),
    ];
    for (member, via, expected) in [
        (anna, None, Ok((id(anna), None))),
        (anna, Some(bert), Ok((id(anna), None))),
        (carla, Some(anna), Ok((id(anna), Some(25)))),
        (8, Some(anna), Ok((id(anna), Some(10)))),
        (carla, None, Err(Refusal::Unknown)),
        (carla, Some(bert), Err(Refusal::NoDelegate)),
        (carla, Some(9), Err(Refusal::Unknown)),
        // One certificate, and no longer chain.
        (8, Some(carla), Err(Refusal::Unknown)),
        (7, Some(anna), Err(Refusal::Ended)),
        (9, Some(anna), Err(Refusal::Unknown)),
    ] {
        assert_eq!(told(&both, &says, member, via), expected, "{member} via {via:?}");
    }
    // Without a clock nothing ends.
    assert!(standing(&both, &says, id(7), Some(id(anna)), None).is_ok());

    for (deny, member, via) in [(anna, anna, None), (carla, carla, Some(anna)), (anna, carla, Some(anna))] {
        let settings = settings(vec![peer(anna, true)], vec![key(deny)]);
        assert_eq!(told(&settings, &says, member, via), Err(Refusal::Denied), "{deny} is denied");
    }
    for (revoker, revoked, member, via) in [
        (anna, anna, anna, None),
        (anna, anna, carla, Some(anna)),
        (anna, carla, carla, Some(anna)),
        (carla, carla, carla, Some(anna)),
    ] {
        let mut says = vec![known(anna, true, &[(carla, 50, 100)], &[]), known(carla, false, &[], &[])];
        let at = says.iter().position(|known| known.id == id(revoker)).unwrap();
        says[at].revoked = known(revoker, true, &[], &[revoked]).revoked;
        assert_eq!(told(&both, &says, member, via), Err(Refusal::Revoked), "{revoker} revoked {revoked}");
    }
}

/// Nobody gets twice a quota because two peers vouch for him: his slice names one.
#[test]
fn case_20_a_slice_uses_one_chain() {
    let both = settings(vec![peer(1, true), peer(2, true)], vec![]);
    let says = [known(1, true, &[(3, 50, 100)], &[]), known(2, true, &[(3, 50, 100)], &[])];
    for via in [1, 2] {
        let standing = standing(&both, &says, id(3), Some(id(via)), Some(50)).unwrap();
        assert_eq!(standing.peer_id, id(via));
        assert_eq!(standing.most(), Amount { memory: 1 << 28, disk: 10 << 28, cpus: 250, containers: 1 });
    }
}

#[test]
fn what_exceeds_is_named() {
    let most = Amount { memory: 10, disk: 10, cpus: 10, containers: 10 };
    assert_eq!(most.exceeds(most), None);
    for (word, more) in [
        ("memory", Amount { memory: 1, ..Amount::default() }),
        ("disk", Amount { disk: u64::MAX, ..Amount::default() }),
        ("cpus", Amount { cpus: 1, ..Amount::default() }),
        ("containers", Amount { containers: 1, ..Amount::default() }),
    ] {
        assert_eq!(most.plus(more).exceeds(most), Some(word));
    }
    let all = Amount { memory: u64::MAX, disk: 199, cpus: 0, containers: 0 };
    assert_eq!(all.share(100), all);
    assert_eq!(all.share(50).disk, 99);
    assert_eq!(all.share(1).containers, 0);
}
