//! From a box's offer to what a plan reckons with.

use super::formats::{open, Mode, Offer, Owner};
use super::heard::Newest;
use super::id::Id;
use super::label::Label;
use super::plan::{Candidate, Hours};
use super::signed::{key_in, Signatures};
use crate::model::size::Bytes;

/// What an offer is worth at `now`, in seconds since 1970. That its author has signed it was verified.
pub fn candidate(signatures: &dyn Signatures, network: Label, offer: &Newest<Offer>, now: u64) -> Candidate {
    let told = &offer.told;
    let closed = match told.mode {
        _ if told.expires <= now => Some("its offer has expired: it was not heard for long".to_string()),
        Mode::Production => None,
        other => Some(format!("it takes nothing new: its state is {}", other.as_str())),
    };
    Candidate {
        box_id: told.of,
        zone: told.zone,
        owner: owner(signatures, network, told, now),
        closed,
        arch: told.arch.to_string(),
        class: told.class,
        hours: told.hours.map(|packed| unpacked(&packed)),
        accepts: told.accepts.clone(),
        memory: Bytes(told.memory),
        disk: Bytes(told.disk),
        cpus: told.cpus,
        containers: told.containers,
        address: told.address.to_string(),
        brokers: offer.seen_on.clone(),
    }
}

/// Who has signed that the box is his. That he says so does not make it true: the box, too, must show his words.
pub fn owner(signatures: &dyn Signatures, network: Label, offer: &Offer, now: u64) -> Option<Id> {
    let text = offer.owner.as_deref()?.as_bytes();
    let key = key_in(text)?;
    let id = Id::of(&key);
    let told: Owner = open(signatures, &key, network, text).ok()?;
    (told.member == id && told.of == offer.of && told.expires > now).then_some(id)
}

/// Levels of four bits, two in a byte, the first hour in the upper half.
fn unpacked(packed: &[u8]) -> Hours {
    std::array::from_fn(|hour| {
        let byte = packed.get(hour / 2).copied().unwrap_or(0);
        if hour % 2 == 0 {
            byte >> 4
        } else {
            byte & 15
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::formats::{make, Class, Stamp};
    use super::super::label::Kind;
    use super::super::signed::Ed25519;
    use super::super::topic::Topic;
    use super::*;
    use crate::usign::{Number, SecretKey};

    const NOW: u64 = 1_800_000_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::new([seed; 32], Number::new([seed; 8]))
    }

    fn offer(change: impl Fn(&mut Offer)) -> Newest<Offer> {
        let of = Id::of(&key(1).public());
        let mut told = Offer {
            of,
            zone: Label::new(Kind::Zone, "osona").unwrap(),
            name: "alpha".into(),
            stamp: Stamp::default(),
            arch: "x86_64".into(),
            address: "10.0.0.1".into(),
            memory: 1 << 30,
            disk: 2 << 30,
            cpus: 2000,
            containers: 3,
            members: 0,
            class: Class::Any,
            mode: Mode::Production,
            owner: None,
            seal: None,
            accepts: None,
            hours: None,
            issued: NOW,
            expires: NOW + 1,
        };
        change(&mut told);
        let topic = Topic::Offer(told.zone, told.of);
        Newest { topic, told, text: vec![], brokers: vec![0], seen_on: vec![0, 1], twice: false }
    }

    fn network() -> Label {
        Label::new(Kind::Network, "guifi").unwrap()
    }

    #[test]
    fn an_owner_is_who_has_signed_for_this_box_and_for_now() {
        let of = Id::of(&key(1).public());
        let signed = |signer: &SecretKey, member: Id, of: Id, expires: u64| {
            let text =
                make(&Ed25519, signer, network(), &Owner { member, of, issued: NOW - 9, expires }).unwrap();
            String::from_utf8(text).unwrap()
        };
        let anna = Id::of(&key(2).public());
        let owner = |text: String| {
            candidate(&Ed25519, network(), &offer(|o| o.owner = Some(text.as_str().into())), NOW).owner
        };
        assert_eq!(owner(signed(&key(2), anna, of, NOW + 9)), Some(anna));
        assert_eq!(owner(signed(&key(3), anna, of, NOW + 9)), None, "another signed it");
        assert_eq!(owner(signed(&key(2), anna, anna, NOW + 9)), None, "it is of another box");
        assert_eq!(owner(signed(&key(2), anna, of, NOW)), None, "it has ended");
        assert_eq!(owner(String::new()), None);
        assert_eq!(candidate(&Ed25519, network(), &offer(|_| ()), NOW).owner, None);
    }

    #[test]
    fn an_offer_is_closed_when_it_has_ended_or_its_owner_says_so() {
        let closed = |offer: Newest<Offer>, now| candidate(&Ed25519, network(), &offer, now).closed;
        assert_eq!(closed(offer(|_| ()), NOW), None);
        assert!(closed(offer(|_| ()), NOW + 1).unwrap().contains("has expired"));
        assert!(closed(offer(|o| o.mode = Mode::Safe), NOW).unwrap().contains("its state is safe"));
    }

    #[test]
    fn hours_are_unpacked_in_their_order() {
        let mut packed = [0; 84];
        (packed[0], packed[83]) = (0xf1, 0x2e);
        let hours = unpacked(&packed);
        assert_eq!((hours[0], hours[1], hours[2], hours[166], hours[167]), (15, 1, 0, 2, 14));
    }
}
