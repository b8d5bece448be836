//! Chance that a seed repeats, signatures that cost nothing, and brokers.

use cloudbox::commons::signed::Signatures;
use cloudbox::error::{Code, Error, Result};
use cloudbox::usign::{PublicKey, SecretKey, Signature};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// SplitMix64.
#[derive(Clone)]
pub struct Prng(pub u64);

impl Prng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// Signatures of nobody's strength: a hash of key and message. Nobody in the simulation tries to find one, and it takes a
/// hundredth of the time. All else of a text is as it is outside.
pub struct Quick;

fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let mut lanes = [0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344];
    for chunk in key.chunks(8).chain(message.chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word) ^ chunk.len() as u64;
        lanes[0] = (lanes[0] ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        lanes[1] = lanes[1].wrapping_add(word).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31) ^ lanes[0];
    }
    let mut mac = [0; 64];
    for (at, part) in mac.chunks_mut(8).enumerate() {
        part.copy_from_slice(&lanes[at % 2].wrapping_add(at as u64).to_le_bytes());
    }
    mac
}

impl Signatures for Quick {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Result<Signature> {
        Ok(Signature::new(key.number, mac(key.public().bytes(), message)))
    }

    fn verify(&self, key: &PublicKey, signature: &Signature, message: &[u8]) -> Result<()> {
        match signature.number == key.number && *signature.bytes() == mac(key.bytes(), message) {
            true => Ok(()),
            false => Err(Error::new(Code::Checksum, "it is forged")),
        }
    }
}

/// How a broker lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It gives what stood there before.
    Older,
    /// It changes the comment, which nobody signs.
    Comment,
    /// It changes a byte of what was signed.
    Forged,
    /// It says that nothing is there.
    Nothing,
    /// It says old signs of life again, as if they were new.
    Replay,
}

/// Topics as numbers, so that thousands of boxes need not compare texts.
#[derive(Default)]
pub struct Topics {
    numbers: HashMap<Rc<str>, usize>,
    texts: Vec<Rc<str>>,
    /// Of each the number of what stands before its last part.
    parents: Vec<Option<usize>>,
}

impl Topics {
    pub fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len();
        let text: Rc<str> = text.into();
        self.texts.push(Rc::clone(&text));
        self.parents.push(None);
        self.numbers.insert(Rc::clone(&text), number);
        if let Some((parent, _)) = text.rsplit_once('/') {
            self.parents[number] = Some(self.number(parent));
        }
        number
    }

    pub fn text(&self, number: usize) -> &Rc<str> {
        &self.texts[number]
    }
}

/// A broker, which anybody may use. Topics are numbers.
#[derive(Default)]
pub struct Broker {
    pub up: bool,
    pub retained: BTreeMap<usize, Rc<[u8]>>,
    /// What stood there before.
    pub older: BTreeMap<usize, Rc<[u8]>>,
    pub filters: Vec<Vec<usize>>,
    /// Filters with a wildcard at the end, by what stands before it.
    pub wide: BTreeMap<usize, Vec<usize>>,
    pub lie: Option<Lie>,
    /// Of these clients it passes on nothing about slices.
    pub withholds: Vec<usize>,
}

impl Broker {
    pub fn forget_client(&mut self, client: usize) {
        for clients in self.filters.iter_mut().chain(self.wide.values_mut()) {
            clients.retain(|each| *each != client);
        }
    }

    pub fn filter(&mut self, topic: usize) -> &mut Vec<usize> {
        if self.filters.len() <= topic {
            self.filters.resize(topic + 1, Vec::new());
        }
        &mut self.filters[topic]
    }

    /// Who hears that topic, in order.
    pub fn audience(&self, topics: &Topics, topic: usize) -> Vec<usize> {
        let mut clients = self.filters.get(topic).cloned().unwrap_or_default();
        if let Some(wide) = topics.parents[topic].and_then(|parent| self.wide.get(&parent)) {
            clients.extend(wide);
            clients.sort_unstable();
            clients.dedup();
        }
        clients
    }

    /// What it gives for what is retained.
    pub fn given(&self, topic: usize, payload: &Rc<[u8]>) -> Option<Rc<[u8]>> {
        match self.lie {
            None | Some(Lie::Replay) => Some(Rc::clone(payload)),
            Some(Lie::Older) => Some(self.older.get(&topic).cloned().unwrap_or_else(|| Rc::clone(payload))),
            Some(Lie::Nothing) => None,
            Some(Lie::Comment) => {
                let mut changed = payload.to_vec();
                if let Some(byte) = changed.get_mut(25) {
                    *byte = b'x';
                }
                Some(changed.into())
            }
            Some(Lie::Forged) => {
                let mut changed = payload.to_vec();
                let at = changed.len().saturating_sub(30);
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1;
                }
                Some(changed.into())
            }
        }
    }
}
