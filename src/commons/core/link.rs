//! The way to each broker: since when it is there, and how much of what was asked it has answered.

use super::super::interface::{Broker, BROKERS_MAX};

/// How long a broker must be there until anything is concluded from what it does not say, in milliseconds.
pub const SETTLE: u64 = 60_000;
/// How long a mark may take to come back.
const MARK_AGAIN: u64 = 30_000;

/// A broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Since when it is connected.
    pub since: Option<u64>,
    /// What of the subscriptions it was asked for: all up to this generation.
    pub asked: u32,
    /// Up to which it has said all that stood there.
    pub read: u32,
    /// When the mark is sent again.
    mark_due: Option<u64>,
}

/// All brokers.
#[derive(Debug, Default)]
pub struct Links([Link; BROKERS_MAX]);

impl Links {
    /// One of them; None: there is no such.
    pub fn get_mut(&mut self, broker: Broker) -> Option<&mut Link> {
        self.0.get_mut(usize::from(broker))
    }

    /// Which are connected.
    pub fn connected(&self) -> [bool; BROKERS_MAX] {
        self.0.map(|link| link.since.is_some())
    }

    /// Those that are connected.
    pub fn iter(&self) -> impl Iterator<Item = (Broker, &Link)> {
        // At most four.
        let numbered = self.0.iter().enumerate().map(|(at, link)| (at as Broker, link));
        numbered.filter(|(_, link)| link.since.is_some())
    }

    /// Connected or not.
    pub fn get(&self, broker: Broker) -> Option<&Link> {
        self.0.get(usize::from(broker))
    }

    /// When some broker will have been there for long enough and has read `generation`; None: none will without a word.
    pub fn settled_at(&self, generation: u32) -> Option<u64> {
        let read = self.iter().filter(|(_, link)| link.read >= generation);
        read.filter_map(|(_, link)| link.since).map(|since| since + SETTLE).min()
    }

    /// Marks that are to be sent now, with their generation.
    pub fn marks(&mut self, generation: u32, now: u64) -> Vec<Broker> {
        let mut due = Vec::new();
        for (at, link) in self.0.iter_mut().enumerate() {
            let again = link.mark_due.is_some_and(|due| due <= now);
            if link.since.is_some() && (link.asked < generation || (again && link.read < link.asked)) {
                link.asked = generation;
                link.mark_due = Some(now + MARK_AGAIN);
                due.push(at as Broker);
            }
        }
        due
    }

    /// A mark has come back.
    pub fn marked(&mut self, broker: Broker, generation: u32) -> bool {
        let Some(link) = self.get_mut(broker) else { return false };
        let news = link.since.is_some() && generation <= link.asked && generation > link.read;
        if news {
            link.read = generation;
            if link.read == link.asked {
                link.mark_due = None;
            }
        }
        news
    }

    /// When a mark is sent again, or a broker has been there for long enough.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let marks = self.0.iter().filter_map(|link| link.mark_due);
        let settle = self.iter().filter_map(|(_, link)| link.since).map(|since| since + SETTLE);
        marks.chain(settle.filter(|at| *at > now)).min()
    }
}

impl Link {
    /// It is there, and knows nothing of what was asked before.
    pub fn connect(&mut self, now: u64) {
        *self = Link { since: Some(now), ..Link::default() };
    }

    /// It is gone.
    pub fn lose(&mut self) {
        *self = Link::default();
    }
}
