//! Connections to the brokers: one session each, driven by the process' one poll loop. What cannot be sent because a broker is
//! slow waits here, and is forgotten with the connection: the core says it anew on the next one.

use crate::commons::id::Id;
use crate::commons::interface::{Broker as Number, BROKERS_MAX};
use crate::error::{Error, Result};
use mqtt_session::{Credentials, Driver, Event, Message, Options, QoS, SendError, Session, Will};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::mpsc::{channel, Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// What waits for a slow broker, at most. A core that says more than that in one connection says it in vain.
const WAITING_MAX: usize = 4096;
/// How long a name is believed to have the same address, and how long until one without an address is looked up again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(300);
const NO_ADDRESS_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at whether the name server has answered.
const LOOK: Duration = Duration::from_millis(200);
/// Pauses between two tries: a box that comes back should not be waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A broker, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its address or name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom the box logs in; empty: it does not.
    pub user: String,
    /// Its password; empty: there is none.
    pub password: String,
}

/// What came of a connection.
#[derive(Debug)]
pub enum News {
    /// It stands.
    Connected(Number),
    /// It is gone; why, for people.
    Lost(Number, String),
    /// Something was said.
    Message(Number, Message),
}

/// All connections.
pub struct Links {
    all: Vec<Link>,
    id: Id,
    run: String,
    /// What a broker publishes when it loses this box: where, and what.
    will: Option<(String, Rc<[u8]>)>,
    seed: u64,
}

struct Link {
    number: Number,
    address: Address,
    session: Session,
    driver: Option<Driver>,
    look_up_at: Instant,
    /// Where an address comes that was asked for.
    asked: Option<Receiver<Option<SocketAddr>>>,
    waiting: VecDeque<Wanted>,
    /// What was wrong with it last, which is told once.
    trouble: String,
    was_connected: bool,
}

/// What shall be said to a broker.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Ask for what stands at a filter and what comes.
    Subscribe(String),
    /// No more of it.
    Unsubscribe(String),
    /// Say something.
    Publish {
        /// Where.
        topic: String,
        /// What.
        payload: Rc<[u8]>,
        /// Whether it stays there.
        retain: bool,
    },
}

/// How a connection is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The broker's number.
    pub number: Number,
    /// Its host and port.
    pub name: String,
    /// Whether it stands.
    pub connected: bool,
    /// What was wrong last; empty: nothing.
    pub trouble: String,
}

impl Links {
    /// None yet. `run` tells this life of the box from others.
    pub fn new(id: Id, run: String, seed: u64) -> Links {
        Links { all: Vec::new(), id, run, will: None, seed }
    }

    /// From the next connection on, a broker that loses this box publishes this.
    pub fn set_will(&mut self, topic: String, payload: Rc<[u8]>) {
        self.will = Some((topic, payload));
    }

    /// Connects to these brokers, and to no others. A broker that stays keeps its number and its connection.
    ///
    /// # Errors
    /// An address cannot be used; the others are followed all the same.
    pub fn follow(&mut self, wanted: &[Address], now: Instant) -> (Vec<News>, Result<()>) {
        let mut news = Vec::new();
        let gone = |link: &Link| !wanted.contains(&link.address);
        news.extend(
            self.all
                .iter()
                .filter(|link| gone(link) && link.was_connected)
                .map(|link| News::Lost(link.number, "it is not in the configuration any more".to_string())),
        );
        // Without a word, the broker publishes the will, which decides nothing.
        self.all.retain(|link| !gone(link));
        let mut told = Ok(());
        for address in wanted.iter().take(BROKERS_MAX) {
            if self.all.iter().any(|link| link.address == *address) {
                continue;
            }
            match self.link(address, now) {
                Ok(link) => self.all.push(link),
                Err(error) => told = Err(error),
            }
        }
        (news, told)
    }

    fn link(&self, address: &Address, now: Instant) -> Result<Link> {
        let is_free = |number: &Number| self.all.iter().all(|link| link.number != *number);
        let number = (0..BROKERS_MAX as Number).find(is_free).unwrap_or_default();
        let mut options = Options::new(format!("{}-{}", self.id, self.run));
        options.longest_pause = LONGEST_PAUSE;
        if !address.user.is_empty() {
            let (user, password) = (address.user.clone(), address.password.clone());
            options.credentials = Some(Credentials { user, password });
        }
        let seed = self.seed.wrapping_add(u64::from(number));
        let session = Session::new(options, seed, now).map_err(|e| {
            let name = format!("{}:{}", address.host, address.port);
            Error::new(crate::error::Code::Config, format_args!("broker {name}: {e}"))
        })?;
        Ok(Link {
            number,
            address: address.clone(),
            session,
            driver: None,
            look_up_at: now,
            asked: None,
            waiting: VecDeque::new(),
            trouble: String::new(),
            was_connected: false,
        })
    }

    /// Does what is due and what can be done without waiting, and tells what came of it.
    pub fn turn(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for link in &mut self.all {
            link.turn(now, self.will.as_ref(), &mut news);
        }
        news
    }

    /// Says something to a broker. What nobody listens to is let go.
    pub fn want(&mut self, number: Number, wanted: Wanted) {
        if let Some(link) = self.all.iter_mut().find(|link| link.number == number) {
            if link.session.state().is_connected() && link.waiting.len() < WAITING_MAX {
                link.waiting.push_back(wanted);
            }
        }
    }

    /// Writes what was said since the last turn.
    pub fn flush(&mut self, now: Instant) {
        for link in &mut self.all {
            link.send_waiting();
            if let Some(driver) = &mut link.driver {
                driver.flush(&mut link.session, now);
            }
        }
    }

    /// The sockets to be polled, and whether for writing as well.
    pub fn interest(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.all.iter().filter_map(|link| link.driver.as_ref()?.interest())
    }

    /// When the next turn is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |link: &Link| match link.driver {
            Some(_) if link.asked.is_none() => link.session.poll_timeout(),
            _ => Some(link.look_up_at),
        };
        self.all.iter().filter_map(of).min()
    }

    /// Leaves all brokers, so that no will is published.
    pub fn close(&mut self, now: Instant) {
        self.all.iter_mut().for_each(|link| link.session.close(now));
    }

    /// Whether all have been left.
    pub fn are_closed(&self) -> bool {
        self.all.iter().all(|link| !link.session.state().has_socket())
    }

    /// How each is.
    pub fn standings(&self) -> Vec<Standing> {
        let of = |link: &Link| Standing {
            number: link.number,
            name: link.name(),
            connected: link.session.state().is_connected(),
            trouble: link.trouble.clone(),
        };
        self.all.iter().map(of).collect()
    }
}

impl Link {
    fn name(&self) -> String {
        format!("{}:{}", self.address.host, self.address.port)
    }

    fn turn(&mut self, now: Instant, will: Option<&(String, Rc<[u8]>)>, news: &mut Vec<News>) {
        let again = !self.session.state().has_socket() && now >= self.look_up_at;
        if self.driver.is_none() || self.asked.is_some() || again {
            self.look_up(now);
        }
        let Some(driver) = &mut self.driver else { return };
        // A broker forgets the will with the connection: each has that of its own time.
        if !self.session.state().has_socket() {
            let will = will.map(|(topic, payload)| Will {
                topic: topic.clone(),
                payload: payload.to_vec(),
                qos: QoS::AtLeastOnce,
                retain: true,
            });
            let _ = self.session.set_will(will);
        }
        driver.turn(&mut self.session, now);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { .. } => {
                    self.was_connected = true;
                    self.trouble = String::new();
                    news.push(News::Connected(self.number));
                }
                Event::Message(message) => news.push(News::Message(self.number, message)),
                Event::Lost { reason, .. } => self.lost(reason.to_string(), news),
                Event::Refused(refusal) => self.lost(refusal.to_string(), news),
                _ => {}
            }
        }
        self.send_waiting();
    }

    fn lost(&mut self, why: String, news: &mut Vec<News>) {
        self.waiting.clear();
        self.trouble.clone_from(&why);
        if std::mem::take(&mut self.was_connected) {
            news.push(News::Lost(self.number, why));
        }
    }

    fn send_waiting(&mut self) {
        while let Some(wanted) = self.waiting.pop_front() {
            let sent = match &wanted {
                Wanted::Subscribe(filter) => self.session.subscribe(&[(filter, QoS::AtLeastOnce)]).map(drop),
                Wanted::Unsubscribe(filter) => self.session.unsubscribe(&[filter]).map(drop),
                Wanted::Publish { topic, payload, retain } => {
                    self.session.publish(topic, payload, *retain).map(drop)
                }
            };
            match sent {
                Err(SendError::Full) => return self.waiting.push_front(wanted),
                Err(error) => log::warn!("broker {}: {error}", self.name()),
                Ok(()) => {}
            }
        }
    }

    /// Finds the address of the broker's name, without waiting: a name server may take its time, and has a thread of its own
    /// for it.
    fn look_up(&mut self, now: Instant) {
        let found = match (self.address.host.parse::<IpAddr>(), &self.asked) {
            (Ok(ip), _) => Some(SocketAddr::new(ip, self.address.port)),
            (Err(_), Some(asked)) => match asked.try_recv() {
                Ok(found) => found,
                Err(TryRecvError::Empty) => {
                    self.look_up_at = now + LOOK;
                    return;
                }
                Err(TryRecvError::Disconnected) => None,
            },
            (Err(_), None) if now < self.look_up_at => return,
            (Err(_), None) => {
                let (sender, receiver) = channel();
                let (host, port) = (self.address.host.clone(), self.address.port);
                std::thread::spawn(move || {
                    let found = (host.as_str(), port).to_socket_addrs().ok().and_then(|mut all| all.next());
                    // The link may be gone.
                    let _ = sender.send(found);
                });
                (self.asked, self.look_up_at) = (Some(receiver), now + LOOK);
                return;
            }
        };
        self.asked = None;
        self.look_up_at = now + if found.is_some() { LOOK_UP_AGAIN } else { NO_ADDRESS_AGAIN };
        match (found, &mut self.driver) {
            (None, _) => self.trouble = format!("the name {} has no address", self.address.host),
            (Some(address), Some(driver)) => driver.set_address(address),
            (Some(address), driver) => *driver = Some(Driver::new(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn links() -> Links {
        Links::new("aaaaaaaaaaaaaaaa".parse().unwrap(), "run".into(), 1)
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port, user: String::new(), password: String::new() }
    }

    /// Turns until `is_done`, or for ten seconds.
    fn turn_until(links: &mut Links, is_done: impl Fn(&Links) -> bool) -> Vec<News> {
        let end = Instant::now() + Duration::from_secs(10);
        let mut news = Vec::new();
        while !is_done(links) {
            assert!(Instant::now() < end, "{:?}", links.standings());
            news.extend(links.turn(Instant::now()));
            std::thread::sleep(Duration::from_millis(5));
        }
        news
    }

    #[test]
    fn a_broker_that_stays_keeps_its_number_and_one_that_comes_gets_a_free_one() {
        let mut links = links();
        let now = Instant::now();
        let numbers = |links: &Links| -> Vec<(String, Number)> {
            links.standings().into_iter().map(|standing| (standing.name, standing.number)).collect()
        };
        let all: Vec<Address> = (1..=5).map(|last| address(&format!("192.0.2.{last}"), 1883)).collect();
        links.follow(&all, now).1.unwrap();
        assert_eq!(links.standings().len(), BROKERS_MAX);
        links.follow(&[all[1].clone(), all[4].clone()], now).1.unwrap();
        assert_eq!(numbers(&links), [("192.0.2.2:1883".to_string(), 1), ("192.0.2.5:1883".to_string(), 0)]);
        // The same host with another password is another connection.
        let other = Address { password: "x".into(), user: "u".into(), ..all[1].clone() };
        links.follow(std::slice::from_ref(&other), now).1.unwrap();
        assert_eq!(numbers(&links), [("192.0.2.2:1883".to_string(), 0)]);
        links.follow(&[], now).1.unwrap();
        assert_eq!((links.deadline(), links.are_closed()), (None, true));
    }

    #[test]
    fn a_name_is_looked_up_beside_the_loop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut links = links();
        links.follow(&[address("localhost", port)], Instant::now()).1.unwrap();
        let begun = Instant::now();
        links.turn(begun);
        assert!(begun.elapsed() < Duration::from_secs(1));
        turn_until(&mut links, |links| links.interest().count() == 1);
        links.follow(&[address("no-such-host.invalid", port)], Instant::now()).1.unwrap();
        turn_until(&mut links, |links| links.standings()[0].trouble.contains("has no address"));
    }

    #[test]
    fn what_nobody_listens_to_is_let_go() {
        let mut links = links();
        links.follow(&[address("192.0.2.1", 1883)], Instant::now()).1.unwrap();
        links.want(0, Wanted::Subscribe("a".into()));
        links.want(7, Wanted::Unsubscribe("a".into()));
        assert!(links.all[0].waiting.is_empty());
    }
}
