//! What shall stand in every broker: the box's own words, and what others signed that it repairs.
//!
//! A publish is acknowledged even where an access list refuses it. So what is not read back is published again, ever more
//! seldom. What others signed is published by one after the other, whoever holds it, until one has done it.

use super::super::decision::NEVER;
use super::super::interface::{Broker, Effect, BROKERS_MAX};
use super::super::label::Label;
use super::super::topic::Topic;
use std::collections::VecDeque;
use std::rc::Rc;

/// How long something that was published may take to come back, and the least time between two tries, in milliseconds.
const AGAIN: u64 = 60_000;
/// The most time between two tries.
const SELDOM: u64 = 3_600_000;
/// Somebody should know when it did not hold for so long.
const TELL: u64 = 600_000;
/// What a rank is worth, and the most that one waits.
const RANK_STEP: u64 = 500;
const RANK_MOST: u64 = 30_000;

/// The rank of whoever repairs nothing there.
pub const NOBODY: u64 = u64::MAX;

/// What a broker has at a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    /// It was not heard yet.
    Unknown,
    /// This.
    This,
    /// Nothing, or something that counts less.
    Less,
}

#[derive(Debug, Clone, Copy)]
struct At {
    has: Has,
    /// When it is published there; None: it is not.
    due: Option<u64>,
    /// When it was published there last.
    tried: Option<u64>,
    /// How long until the next try, at least.
    wait: u64,
}

impl At {
    const NEW: At = At { has: Has::Unknown, due: None, tried: None, wait: 0 };

    /// It is not there: it is published after `delay`, if it was not just tried.
    fn lacks(&mut self, delay: u64, now: u64) {
        self.has = Has::Less;
        if delay == NOBODY {
            return;
        }
        if self.tried.is_some_and(|tried| now.saturating_sub(tried) > 2 * SELDOM) {
            self.wait = 0;
        }
        let free = self.tried.map_or(now, |tried| tried + self.wait);
        self.due.get_or_insert((now + delay).max(free));
    }
}

fn delay_of(rank: u64) -> u64 {
    match rank {
        NOBODY => NOBODY,
        rank => rank.saturating_mul(RANK_STEP).min(RANK_MOST),
    }
}

/// Something that shall stand in every broker.
#[derive(Debug)]
pub struct Doc {
    /// Where.
    pub topic: Topic,
    /// What, as it was signed; nothing: it shall be cleared.
    pub bytes: Rc<[u8]>,
    /// The box has signed it itself.
    own: bool,
    delay: u64,
    at: [At; BROKERS_MAX],
}

/// All of it, by topic.
#[derive(Debug)]
pub struct Docs {
    list: Vec<Doc>,
    /// Nothing is due before.
    next: u64,
}

impl Default for Docs {
    fn default() -> Docs {
        Docs { list: Vec::new(), next: NEVER }
    }
}

impl Docs {
    fn find(&self, topic: &Topic) -> Result<usize, usize> {
        self.list.binary_search_by(|doc| doc.topic.cmp(topic))
    }

    /// What shall stand there.
    pub fn get(&self, topic: &Topic) -> Option<&Rc<[u8]>> {
        self.find(topic).ok().and_then(|at| self.list.get(at)).map(|doc| &doc.bytes)
    }

    /// All topics.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.list.iter().map(|doc| &doc.topic)
    }

    /// Bytes that are held.
    pub fn size(&self) -> usize {
        self.list.iter().map(|doc| doc.bytes.len()).sum()
    }

    /// Something of that document may be due earlier than all else.
    fn note(&mut self, at: usize) {
        let due = self.list[at].at.iter().filter_map(|at| at.due).min();
        self.next = self.next.min(due.unwrap_or(NEVER));
    }

    fn note_all(&mut self) {
        let due = self.list.iter().flat_map(|doc| &doc.at).filter_map(|at| at.due).min();
        self.next = due.unwrap_or(NEVER);
    }

    fn put(&mut self, topic: Topic, bytes: Rc<[u8]>, own: bool, rank: u64) -> usize {
        let delay = delay_of(rank);
        match self.find(&topic) {
            Ok(at) => {
                let doc = &mut self.list[at];
                (doc.bytes, doc.own, doc.delay) = (bytes, own, delay);
                at
            }
            Err(at) => {
                self.list.insert(at, Doc { topic, bytes, own, delay, at: [At::NEW; BROKERS_MAX] });
                at
            }
        }
    }

    /// The box says something else from now on: it is published at once wherever `connected` says that there is a way.
    pub fn say(&mut self, topic: Topic, bytes: Rc<[u8]>, connected: &[bool; BROKERS_MAX], now: u64) {
        let found = self.put(topic, bytes, true, 0);
        for (at, connected) in self.list[found].at.iter_mut().zip(connected) {
            // Where what was said before does not stand yet, this is not tried more often either.
            let wait = if at.has == Has::This { 0 } else { at.wait };
            *at = At { has: Has::Less, due: connected.then_some(now), tried: None, wait };
        }
        self.note(found);
    }

    /// Something that another has signed, and `from` which broker it came, is the newest. `rank` says who publishes it first
    /// where it is missing; 0 is the first.
    pub fn hold(
        &mut self,
        topic: Topic,
        bytes: Rc<[u8]>,
        rank: u64,
        from: Option<Broker>,
        connected: &[bool; BROKERS_MAX],
        now: u64,
    ) {
        let found = self.put(topic, bytes, false, rank);
        let doc = &mut self.list[found];
        let delay = doc.delay;
        for (broker, (at, connected)) in doc.at.iter_mut().zip(connected).enumerate() {
            if from.is_some_and(|from| usize::from(from) == broker) {
                *at = At { has: Has::This, due: None, ..*at };
                continue;
            }
            // What stood there is older now. Where nothing was heard yet it will be.
            at.due = None;
            match at.has {
                Has::This | Has::Less if *connected => at.lacks(delay, now),
                Has::This | Has::Less => at.has = Has::Unknown,
                Has::Unknown => {}
            }
        }
        self.note(found);
    }

    /// Somebody else's word has another rank here from now on.
    pub fn rank(&mut self, topic: &Topic, rank: u64, now: u64) {
        let Ok(found) = self.find(topic) else { return };
        let doc = &mut self.list[found];
        let delay = delay_of(rank);
        if doc.own || doc.delay == delay {
            return;
        }
        doc.delay = delay;
        for at in &mut doc.at {
            at.due = None;
            if at.has == Has::Less {
                at.lacks(delay, now);
            }
        }
        self.note(found);
    }

    /// No more of it.
    pub fn drop(&mut self, topic: &Topic) {
        if let Ok(at) = self.find(topic) {
            self.list.remove(at);
        }
    }

    /// Keeps those of others that `keep` says.
    pub fn retain_others(&mut self, keep: impl Fn(&Topic) -> bool) {
        self.list.retain(|doc| doc.own || keep(&doc.topic));
    }

    /// A broker has said something at that topic: the same, or something that counts less.
    pub fn heard(&mut self, broker: Broker, topic: &Topic, same: bool, now: u64) {
        let Ok(found) = self.find(topic) else { return };
        let doc = &mut self.list[found];
        let delay = doc.delay;
        let Some(at) = doc.at.get_mut(usize::from(broker)) else { return };
        if same {
            (at.has, at.due) = (Has::This, None);
        } else {
            at.lacks(delay, now);
            self.note(found);
        }
    }

    /// A broker is there; what it has is not known.
    pub fn connected(&mut self, broker: Broker) {
        for doc in &mut self.list {
            if let Some(at) = doc.at.get_mut(usize::from(broker)) {
                (at.has, at.due) = (Has::Unknown, None);
            }
        }
    }

    /// A broker is gone.
    pub fn lost(&mut self, broker: Broker) {
        self.connected(broker);
    }

    /// A broker has said all that stands there at the topics that `asked` says: what was not heard is missing.
    pub fn marked(&mut self, broker: Broker, asked: impl Fn(&Topic) -> bool, now: u64) {
        for doc in &mut self.list {
            let (delay, is_clear) = (doc.delay, doc.bytes.is_empty());
            let Some(at) = doc.at.get_mut(usize::from(broker)) else { continue };
            if at.has == Has::Unknown && asked(&doc.topic) {
                match is_clear {
                    true => at.has = Has::This,
                    false => at.lacks(delay, now),
                }
            }
        }
        self.note_all();
    }

    /// Whether a broker has what the box says at that topic.
    pub fn holds(&self, broker: Broker, topic: &Topic) -> bool {
        let doc = self.find(topic).ok().and_then(|at| self.list.get(at));
        doc.and_then(|doc| doc.at.get(usize::from(broker))).is_some_and(|at| at.has == Has::This)
    }

    /// Publishes what is due. What does not hold for long is told by its broker and topic.
    pub fn publish(&mut self, network: Label, now: u64, out: &mut VecDeque<Effect>) -> Vec<(Broker, Topic)> {
        let mut troubles = Vec::new();
        if self.next > now {
            return troubles;
        }
        for doc in &mut self.list {
            for (broker, at) in doc.at.iter_mut().enumerate() {
                if at.due.is_none_or(|due| due > now) {
                    continue;
                }
                at.tried = Some(now);
                at.wait = (at.wait * 2).clamp(AGAIN, SELDOM);
                at.due = Some(now + at.wait);
                // At most four.
                let broker = broker as Broker;
                if at.wait / 2 < TELL && TELL <= at.wait {
                    troubles.push((broker, doc.topic));
                }
                let (topic, payload) = (doc.topic.text(network), Rc::clone(&doc.bytes));
                out.push_back(Effect::Publish { broker, topic, payload, retain: true });
            }
        }
        self.note_all();
        troubles
    }

    /// When to look whether something is due.
    pub fn deadline(&self) -> Option<u64> {
        (self.next != NEVER).then_some(self.next)
    }

    /// Forgets the box's own words that are to be cleared and are cleared everywhere.
    pub fn forget_cleared(&mut self, connected: &[bool; BROKERS_MAX]) {
        if !self.list.iter().any(|doc| doc.bytes.is_empty()) {
            return;
        }
        let is_done = |doc: &Doc| {
            let mut places = doc.at.iter().zip(connected).filter(|(_, connected)| **connected).peekable();
            doc.bytes.is_empty() && places.peek().is_some() && places.all(|(at, _)| at.has == Has::This)
        };
        self.list.retain(|doc| !is_done(doc));
    }
}
