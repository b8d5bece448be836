//! What a reader makes of what brokers have: of each topic the newest that its author has signed, whichever broker kept it.
//! A broker may leave out, repeat and invent; what is not signed by its author is passed over, and counted.

use super::formats::{open_at, Format, Stamp};
use super::label::Label;
use super::signed::{key_of, Parts, Signatures};
use super::topic::Topic;
use sha2::{Digest, Sha256};

/// A text as a broker had it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Which broker, by its place in the list of brokers.
    pub broker: usize,
    /// Where it stood.
    pub topic: Topic,
    /// What stood there; nothing, where somebody has cleared it.
    pub text: Vec<u8>,
}

/// The newest that stands at a topic.
#[derive(Debug, Clone)]
pub struct Newest<T> {
    /// Where.
    pub topic: Topic,
    /// What it says.
    pub told: T,
    /// All of it, as it came.
    pub text: Vec<u8>,
    /// Brokers that have this one.
    pub brokers: Vec<usize>,
    /// Brokers that have one that is signed by its author, be it this one or an older one.
    pub seen_on: Vec<usize>,
    /// Its author has signed two of the same age. Of these, that with the greater hash is taken.
    pub twice: bool,
}

/// All the newest of a kind, and how many texts of it were passed over.
#[derive(Debug)]
pub struct All<T> {
    /// In the order in which their topics were first heard.
    pub newest: Vec<Newest<T>>,
    /// Why each of the others is passed over.
    pub refused: Vec<(Topic, String)>,
}

impl<T> All<T> {
    /// That of a topic.
    pub fn at(&self, topic: &Topic) -> Option<&Newest<T>> {
        self.newest.iter().find(|newest| newest.topic == *topic)
    }
}

/// The newest of the kind `T`, at the topics that are `wanted`. `age` is greater for what is newer. The author's key is taken
/// from the text itself, where its hash says that it is the author's.
pub fn newest<T: Format>(
    signatures: &dyn Signatures,
    network: Label,
    heard: &[Heard],
    wanted: impl Fn(&Topic) -> bool,
    age: impl Fn(&T) -> u64,
) -> All<T> {
    let mut all: All<T> = All { newest: Vec::new(), refused: Vec::new() };
    for one in heard.iter().filter(|one| !one.text.is_empty() && wanted(&one.topic)) {
        let key = one.topic.author().and_then(|author| key_of(author, &one.text));
        let Some(key) = key else {
            all.refused.push((one.topic, "it does not name its author's key".to_string()));
            continue;
        };
        let told = match open_at::<T>(signatures, &key, network, &one.topic, &one.text) {
            Ok(told) => told,
            Err(error) => {
                all.refused.push((one.topic, error.into_message()));
                continue;
            }
        };
        let found = all.newest.iter_mut().find(|newest| newest.topic == one.topic);
        let Some(known) = found else {
            let (brokers, seen_on) = (vec![one.broker], vec![one.broker]);
            let (topic, text) = (one.topic, one.text.clone());
            all.newest.push(Newest { topic, told, text, brokers, seen_on, twice: false });
            continue;
        };
        if !known.seen_on.contains(&one.broker) {
            known.seen_on.push(one.broker);
        }
        let (new, old) = (age(&told), age(&known.told));
        let is_same = message(&one.text) == message(&known.text);
        if is_same {
            known.brokers.push(one.broker);
        } else if new > old || (new == old && hash(&one.text) > hash(&known.text)) {
            known.told = told;
            known.text = one.text.clone();
            known.brokers = vec![one.broker];
        }
        if new > old {
            known.twice = false;
        } else if new == old && !is_same {
            known.twice = true;
        }
    }
    all
}

/// The age of what a box said, as [`newest`] wants it: sessions count before places in them.
pub fn order(stamp: Stamp) -> u64 {
    u64::from(stamp.session) << 32 | u64::from(stamp.seq)
}

/// What was signed of a text: the comment before it is anybody's.
fn message(text: &[u8]) -> &[u8] {
    Parts::of(text).map_or(text, |parts| parts.message)
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(message(text)).into()
}

#[cfg(test)]
mod tests {
    use super::super::formats::{make, Answer};
    use super::super::id::Id;
    use super::super::label::Kind;
    use super::super::signed::Ed25519;
    use super::*;
    use crate::usign::{Number, SecretKey};

    fn key(seed: u8) -> SecretKey {
        SecretKey::new([seed; 32], Number::new([seed; 8]))
    }

    fn answer(of: Id, issued: u64, note: &str) -> Answer {
        let member = "7777777777777777".parse().unwrap();
        Answer { of, member, allowed: true, note: note.into(), issued, expires: issued + 1 }
    }

    #[test]
    fn the_newest_that_its_author_signed_is_taken_from_whichever_broker() {
        let network = Label::new(Kind::Network, "guifi").unwrap();
        let (mine, other) = (key(1), key(2));
        let id = Id::of(&mine.public());
        let topic = Topic::Answer(id, "7777777777777777".parse().unwrap());
        let made =
            |key: &SecretKey, issued, note| make(&Ed25519, key, network, &answer(id, issued, note)).unwrap();
        let heard = |texts: &[(usize, Vec<u8>)]| {
            let heard: Vec<Heard> = texts
                .iter()
                .map(|(broker, text)| Heard { broker: *broker, topic, text: text.clone() })
                .collect();
            newest::<Answer>(&Ed25519, network, &heard, |_| true, |answer| answer.issued)
        };
        let (old, new) = (made(&mine, 5, "old"), made(&mine, 6, "new"));
        for texts in [[(0, old.clone()), (1, new.clone())], [(0, new.clone()), (1, old.clone())]] {
            let all = heard(&texts);
            let found = all.at(&topic).unwrap();
            assert_eq!((&*found.told.note, found.twice), ("new", false));
            assert_eq!(found.seen_on, [0, 1]);
            assert_eq!(found.brokers, [usize::from(texts[1].1 == new)]);
        }
        // Two of one age: the same is taken whatever comes first.
        let (a, b) = (made(&mine, 6, "a"), made(&mine, 6, "b"));
        let one = heard(&[(0, a.clone()), (1, b.clone())]);
        let two = heard(&[(0, b), (1, a)]);
        assert!(one.newest[0].twice && two.newest[0].twice);
        assert_eq!(one.newest[0].told, two.newest[0].told);
        // What somebody else has signed, with his own name or the author's, and what is damaged.
        let mut named = made(&other, 9, "forged");
        let comment = format!("untrusted comment: {}\n", mine.public().to_line());
        named.splice(..comment.len(), comment.bytes());
        let mut damaged = new.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for text in [made(&other, 9, "forged"), named, damaged, b"x".to_vec()] {
            let all = heard(&[(0, new.clone()), (1, text)]);
            assert_eq!(all.refused.len(), 1);
            assert_eq!((&*all.newest[0].told.note, &all.newest[0].seen_on[..]), ("new", &[0][..]));
        }
        // What was cleared is not there, and says nothing.
        let all = heard(&[(0, Vec::new()), (1, new)]);
        assert_eq!((all.newest.len(), all.refused.len()), (1, 0));
    }
}
