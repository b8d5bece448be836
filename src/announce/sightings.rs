//! Which of the announced services are seen on the network: each is read back from there before it is called published.
//!
//! The network is asked when something new is announced, when avahi-daemon has come, and when a person looks, never by
//! the clock.

use crate::error::Result;
use crate::machine::Machine;
use crate::mdns::lookup::{Expected, Sight, Times};
use crate::model::advert::{Advert, DeclaredBy};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a service is looked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// avahi-daemon needs longer than this until it says something new: it asks three times whether the name is free.
const SETTLE: Duration = Duration::from_millis(400);
/// A name that somebody else has by then is his.
const CLAIM: Duration = Duration::from_millis(1500);
/// When a person looks, what was seen longer ago than this is looked at again, and what was not seen.
const AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// All that is announced.
#[derive(Debug, Default)]
pub struct Sightings {
    list: Vec<Sighting>,
    /// Ends the look that is under way.
    stop: Option<Arc<AtomicBool>>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Why the network could not be asked.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Sighting {
    advert: Advert,
    since: Instant,
    /// It is looked for until then.
    until: Option<Instant>,
    /// What came of the last look.
    last: Sight,
    /// It was told to be published.
    told: bool,
}

/// What a thread shall ask the network, and then report to [`Sightings::answered`].
#[derive(Debug)]
pub struct Looking {
    asked: Vec<Advert>,
    bridges: Vec<String>,
    of_containers: Vec<IpAddr>,
    times: Times,
    stop: Arc<AtomicBool>,
}

/// What came of it.
pub struct Looked {
    asked: Vec<Advert>,
    sights: Result<Vec<Sight>>,
}

/// Something to be told.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// It is seen, and was not before.
    Seen(Advert),
    /// It is not seen any more.
    Lost(Advert),
    /// Its name or its host's is somebody else's.
    Taken(Advert, Sight),
}

impl Looking {
    /// Asks.
    pub fn run(self, machine: &Machine) -> Looked {
        let expected: Vec<Expected> = self.asked.iter().map(expected).collect();
        let sights =
            machine.avahi.read_back(&expected, &self.bridges, self.of_containers, self.times, &self.stop);
        Looked { asked: self.asked, sights }
    }
}

impl Sightings {
    /// `adverts` are announced from now on, and no others. Returns those that were published, and are not any more.
    pub fn follow(&mut self, adverts: &[&Advert], now: Instant) -> Vec<Advert> {
        let mut before = std::mem::take(&mut self.list);
        for advert in adverts {
            let old =
                before.iter().position(|old| old.advert.id == advert.id).map(|at| before.swap_remove(at));
            let sighting = match old {
                Some(old) if is_same(&old.advert, advert) => Sighting { advert: (*advert).clone(), ..old },
                old => {
                    self.stop_looking();
                    Sighting {
                        advert: (*advert).clone(),
                        since: now,
                        until: Some(now + PATIENCE),
                        last: Sight::Nothing,
                        told: old.is_some_and(|old| old.told),
                    }
                }
            };
            self.list.push(sighting);
        }
        before.into_iter().filter(|gone| gone.told).map(|gone| gone.advert).collect()
    }

    /// A look that is under way ends soon.
    pub fn stop_looking(&self) {
        if let Some(stop) = &self.stop {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// What is to be asked now, if something is. avahi-daemon is asked about on `bridges`; `of_containers` are addresses
    /// of the box's containers.
    pub fn look(&mut self, bridges: Vec<String>, of_containers: Vec<IpAddr>) -> Option<Looking> {
        let open = || self.list.iter().filter(|sighting| sighting.until.is_some());
        let (first, last) = (open().map(|s| s.since).min()?, open().map(|s| s.since).max()?);
        let until = open().filter_map(|sighting| sighting.until).min()?;
        if self.stop.is_some() {
            return None;
        }
        let looking = Looking {
            asked: open().map(|sighting| sighting.advert.clone()).collect(),
            bridges,
            of_containers,
            times: Times { from: first + SETTLE, taken: last + CLAIM, until },
            stop: Arc::default(),
        };
        self.stop = Some(looking.stop.clone());
        Some(looking)
    }

    /// A thread has asked.
    pub fn answered(&mut self, looked: Looked, now: Instant) -> Vec<News> {
        self.not_looked(now);
        self.trouble = looked.sights.as_ref().err().map(|error| error.message.clone());
        let failed = looked.sights.is_err();
        let sights = looked.sights.unwrap_or_default().into_iter().chain(std::iter::repeat(Sight::Nothing));
        let mut news = Vec::new();
        for (asked, sight) in looked.asked.into_iter().zip(sights) {
            let is = self.list.iter_mut().find(|is| is.advert.id == asked.id);
            let Some(is) = is.filter(|is| is_same(&is.advert, &asked)) else { continue };
            let is_over = failed || is.until.is_none_or(|until| until <= now);
            let settled = match sight {
                Sight::Seen(_) => true,
                Sight::NameTaken | Sight::HostTaken => is_over || is.since + CLAIM <= now,
                Sight::Nothing => is_over,
            };
            if !settled {
                continue;
            }
            (is.until, is.last) = (None, sight);
            match (&is.last, is.told) {
                (Sight::Seen(_), false) => news.push(News::Seen(is.advert.clone())),
                (Sight::Seen(_), true) | (_, false) => {}
                (_, true) => news.push(News::Lost(is.advert.clone())),
            }
            is.told = matches!(is.last, Sight::Seen(_));
            if matches!(is.last, Sight::NameTaken | Sight::HostTaken) {
                news.push(News::Taken(is.advert.clone(), is.last.clone()));
            }
        }
        news
    }

    /// No thread could be had, or it has ended.
    pub fn not_looked(&mut self, now: Instant) {
        self.stop = None;
        self.ended = Some(now);
    }

    /// Nothing is asked any more, until something new is announced or a person looks.
    pub fn give_up(&mut self) {
        self.list.iter_mut().for_each(|sighting| sighting.until = None);
    }

    /// A person looks: what he is told shall not be too old.
    pub fn look_again(&mut self, now: Instant) {
        let seen = |sighting: &Sighting| matches!(sighting.last, Sight::Seen(_));
        let age = if self.list.iter().all(seen) { AGAIN.0 } else { AGAIN.1 };
        if self.is_looking() || self.ended.is_none_or(|ended| now < ended + age) {
            return;
        }
        for sighting in &mut self.list {
            // As if it had been written a moment ago.
            sighting.since = now.checked_sub(SETTLE).unwrap_or(now);
            sighting.until = Some(now + PATIENCE);
        }
    }

    /// Whether a look can begin.
    pub fn is_due(&self) -> bool {
        self.stop.is_none() && self.is_looking()
    }

    /// Whether something is looked for.
    pub fn is_looking(&self) -> bool {
        self.stop.is_some() || self.list.iter().any(|sighting| sighting.until.is_some())
    }

    /// How many are seen.
    pub fn seen(&self) -> usize {
        self.list.iter().filter(|sighting| matches!(sighting.last, Sight::Seen(_))).count()
    }

    fn of(&self, advert: &Advert) -> Option<&Sighting> {
        self.list.iter().find(|sighting| sighting.advert.id == advert.id)
    }

    /// The host that the service points at on the network, without the domain.
    pub fn host(&self, advert: &Advert) -> Option<&str> {
        match &self.of(advert)?.last {
            Sight::Seen(host) => Some(host),
            _ => None,
        }
    }

    /// Why it is not published although it is announced; None when it is.
    pub fn why_unseen(&self, advert: &Advert) -> Option<String> {
        let Some(sighting) = self.of(advert).filter(|is| is_same(&is.advert, advert)) else {
            return Some("avahi-daemon is about to be told".to_string());
        };
        let name = advert.name();
        match &sighting.last {
            Sight::Seen(_) => None,
            Sight::NameTaken => Some(format!(
                "somebody else on the network announces a service of this type called {name}; give it another name"
            )),
            Sight::HostTaken => Some(format!(
                "another machine on the network is called {}.local; give the container or the box another name",
                advert.host
            )),
            Sight::Nothing if sighting.until.is_some() => {
                Some("avahi-daemon was told; it has not been seen on the network yet".to_string())
            }
            Sight::Nothing => Some(match &self.trouble {
                Some(trouble) => format!("avahi-daemon was told; the network cannot be asked: {trouble}"),
                None => "avahi-daemon was told, and does not say it on the network; its log may say why, and \
                         `cloudbox doctor`"
                    .to_string(),
            }),
        }
    }
}

/// Whether both are seen as the same: text that is added may change.
fn is_same(a: &Advert, b: &Advert) -> bool {
    let port = |advert: &Advert| advert.service.port;
    (a.name(), &a.service.kind, port(a), &a.host) == (b.name(), &b.service.kind, port(b), &b.host)
        && a.addresses == b.addresses
}

fn expected(advert: &Advert) -> Expected {
    Expected {
        name: advert.name().to_string(),
        kind: advert.service.kind.clone(),
        // The box's own host name is avahi's to say.
        host: (advert.source != DeclaredBy::Box).then(|| advert.host.clone()),
        port: advert.service.port,
        addresses: advert.addresses.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};
    use crate::model::advert::{box_advert, OfBox};

    fn advert(name: &str) -> Advert {
        let of = OfBox { api: 1, version: "0", arch: "mips", memory: 0, containers: 0 };
        Advert { id: name.into(), ..box_advert(name, name, &of) }
    }

    fn look(sightings: &mut Sightings) -> Option<Vec<Advert>> {
        sightings.look(Vec::new(), Vec::new()).map(|looking| looking.asked)
    }

    fn answer(sightings: &mut Sightings, sights: &[Sight], now: Instant) -> Vec<News> {
        let asked = look(sightings).unwrap();
        sightings.answered(Looked { asked, sights: Ok(sights.to_vec()) }, now)
    }

    fn seen() -> Sight {
        Sight::Seen("alpha".into())
    }

    #[test]
    fn what_is_seen_is_told_once_and_asked_no_more() {
        let (mut all, now, [a, b]) = (Sightings::default(), Instant::now(), ["a", "b"].map(advert));
        assert!(look(&mut all).is_none());
        assert_eq!(all.follow(&[&a, &b], now), []);
        assert!(all.why_unseen(&a).unwrap().contains("not been seen"));
        let news = answer(&mut all, &[seen(), Sight::Nothing], now + SETTLE);
        assert_eq!(news, [News::Seen(a.clone())]);
        assert_eq!((all.seen(), all.host(&a), all.host(&b)), (1, Some("alpha"), None));
        // The other one goes on, until its time is up.
        assert_eq!(look(&mut all).unwrap(), std::slice::from_ref(&b));
        assert!(look(&mut all).is_none(), "one look at a time");
        all.not_looked(now);
        assert_eq!(answer(&mut all, &[Sight::Nothing], now + PATIENCE), []);
        assert!(!all.is_looking() && look(&mut all).is_none());
        assert!(all.why_unseen(&b).unwrap().contains("does not say it"));
        assert_eq!(all.follow(&[&b], now), [a]);
        assert_eq!(all.follow(&[], now), []);
    }

    #[test]
    fn another_address_is_looked_for_anew_and_other_text_is_not() {
        let (mut all, now, a) = (Sightings::default(), Instant::now(), advert("a"));
        all.follow(&[&a], now);
        answer(&mut all, &[seen()], now);
        let mut text = a.clone();
        text.service.txt.push("containers=7".into());
        all.follow(&[&text], now);
        assert!(!all.is_looking() && all.why_unseen(&a).is_none());
        let moved = Advert { addresses: vec![[10, 0, 0, 7].into()], ..a };
        assert_eq!(all.follow(&[&moved], now), []);
        assert!(all.is_looking() && all.why_unseen(&moved).is_some());
        assert_eq!(answer(&mut all, &[seen()], now), [], "it was told before");
    }

    #[test]
    fn a_name_is_somebody_elses_when_he_still_has_it_after_a_while() {
        let (mut all, now, a) = (Sightings::default(), Instant::now(), advert("a"));
        all.follow(&[&a], now);
        assert_eq!(answer(&mut all, &[Sight::NameTaken], now + SETTLE), []);
        assert!(all.is_looking());
        let news = answer(&mut all, &[Sight::NameTaken], now + CLAIM);
        assert_eq!(news, [News::Taken(a.clone(), Sight::NameTaken)]);
        assert!(!all.is_looking() && all.why_unseen(&a).unwrap().contains("somebody else"));
    }

    #[test]
    fn who_looks_is_not_told_what_was_seen_long_ago() {
        let (mut all, now, a) = (Sightings::default(), Instant::now(), advert("a"));
        all.look_again(now);
        all.follow(&[&a], now);
        answer(&mut all, &[seen()], now);
        all.look_again(now + AGAIN.0 - Duration::from_secs(1));
        assert!(!all.is_looking());
        all.look_again(now + AGAIN.0);
        assert!(all.is_looking() && all.why_unseen(&a).is_none());
        let over = now + AGAIN.0 + PATIENCE;
        assert_eq!(answer(&mut all, &[Sight::Nothing], over), [News::Lost(a.clone())]);
        // What is not seen is looked for sooner.
        all.look_again(over + AGAIN.1);
        assert_eq!(answer(&mut all, &[seen()], over), [News::Seen(a)]);
    }

    #[test]
    fn a_network_that_cannot_be_asked_is_told_and_left() {
        let (mut all, now, a) = (Sightings::default(), Instant::now(), advert("a"));
        all.follow(&[&a], now);
        let asked = look(&mut all).unwrap();
        let sights = Err(Error::new(Code::Failed, "no network"));
        assert_eq!(all.answered(Looked { asked, sights }, now), []);
        assert!(!all.is_looking());
        assert!(all.why_unseen(&a).unwrap().contains("no network"));
    }
}
