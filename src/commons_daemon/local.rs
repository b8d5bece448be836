//! Where no broker is listed the commons works on this box alone: this stands in for the broker. What was said stays here for
//! as long as the process lives; the core keeps on the disk what it needs longer, and says it again.

use crate::error::{Code, Error, Result};
use mqtt_session::topic::matches;
use std::collections::VecDeque;
use std::rc::Rc;

/// The most that is kept, in bytes of texts and topics: far more than one box says.
const BYTES_MAX: usize = 4 << 20;

/// Something that the core is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub topic: String,
    /// What; nothing: it was cleared.
    pub text: Rc<[u8]>,
    /// It stood there before.
    pub retained: bool,
}

/// Topics and what stands there.
#[derive(Debug, Default)]
pub struct LocalBroker {
    kept: Vec<(String, Rc<[u8]>)>,
    filters: Vec<String>,
    said: VecDeque<Said>,
}

impl LocalBroker {
    /// The core asks for what stands at a filter, and for what comes.
    pub fn subscribe(&mut self, filter: String) {
        for (topic, text) in self.kept.iter().filter(|(topic, _)| matches(&filter, topic)) {
            self.said.push_back(Said { topic: topic.clone(), text: Rc::clone(text), retained: true });
        }
        if !self.filters.contains(&filter) {
            self.filters.push(filter);
        }
    }

    /// No more of it.
    pub fn unsubscribe(&mut self, filter: &str) {
        self.filters.retain(|known| known != filter);
    }

    /// Somebody says something; nothing clears what stands there.
    ///
    /// # Errors
    /// [`Code::NoSpace`]: too much is kept already.
    pub fn publish(&mut self, topic: &str, text: &Rc<[u8]>, retain: bool) -> Result<()> {
        if retain {
            self.kept.retain(|(known, _)| known != topic);
            let bytes: usize = self.kept.iter().map(|(topic, text)| topic.len() + text.len()).sum();
            if bytes + topic.len() + text.len() > BYTES_MAX {
                return Err(Error::new(Code::NoSpace, "too much is said on this box already; list a broker"));
            }
            if !text.is_empty() {
                self.kept.push((topic.to_string(), Rc::clone(text)));
            }
        }
        if self.filters.iter().any(|filter| matches(filter, topic)) {
            let (topic, text) = (topic.to_string(), Rc::clone(text));
            self.said.push_back(Said { topic, text, retained: false });
        }
        Ok(())
    }

    /// What the core is to be told next.
    pub fn poll(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// What stands at a filter.
    pub fn at<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> + 'a {
        let here = self.kept.iter().filter(move |(topic, _)| matches(filter, topic));
        here.map(|(topic, text)| (topic.as_str(), &text[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    #[test]
    fn what_was_said_is_told_to_whoever_asks_and_what_comes_to_whoever_listens() {
        let mut broker = LocalBroker::default();
        broker.publish("a/1", &text("x"), true).unwrap();
        broker.publish("a/2", &text("y"), false).unwrap();
        assert_eq!(broker.poll(), None);
        broker.subscribe("a/+".into());
        let said = |topic: &str, what: &str, retained| {
            Some(Said { topic: topic.into(), text: text(what), retained })
        };
        assert_eq!(broker.poll(), said("a/1", "x", true));
        broker.publish("a/2", &text("z"), true).unwrap();
        broker.publish("b", &text("z"), true).unwrap();
        assert_eq!((broker.poll(), broker.poll()), (said("a/2", "z", false), None));
        broker.publish("a/1", &text(""), true).unwrap();
        assert_eq!(broker.poll(), said("a/1", "", false));
        let all: Vec<_> = broker.at("#").collect();
        assert_eq!(all, [("a/2", &b"z"[..]), ("b", b"z")]);
        broker.unsubscribe("a/+");
        broker.publish("a/2", &text("!"), true).unwrap();
        assert_eq!(broker.poll(), None);
        let long = "x".repeat(BYTES_MAX);
        assert_eq!(broker.publish("c", &text(&long), true).unwrap_err().code, Code::NoSpace);
    }
}
