//! Sessions and a broker over streams of bytes that are cut: at every byte of a conversation, and at random. The clock is the
//! test's, so a seed repeats a run to the byte.
//!
//! The owners of the sessions do what the owner of a real one does: publish what they have whenever they are connected anew,
//! subscribe, and take what comes. When nothing is cut any more, everybody must know what everybody has.
//!
//! `MQTT_SEEDS=100000` runs that many, `MQTT_SEED=17` repeats one.

mod broker;

use broker::{Broker, Peer};
use mqtt_session::{Event, Options, QoS, Reason, SendError, Session, State, Token, Will};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

const KEEPALIVE: u16 = 4;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A session and who owns it.
struct Owner {
    name: String,
    session: Session,
    /// What is published here, by topic.
    wanted: BTreeMap<String, Vec<u8>>,
    /// What was heard, by topic.
    view: BTreeMap<String, Vec<u8>>,
    pending: BTreeMap<Token, Option<(String, Vec<u8>)>>,
    /// What did not fit.
    waiting: VecDeque<String>,
    connections: usize,
    unsubscribed: bool,
}

impl Owner {
    fn new(name: &str, seed: u64, now: Instant) -> Self {
        let mut options = Options::new(name);
        options.keepalive = NonZeroU16::new(KEEPALIVE).unwrap();
        options.ping_timeout = ms(3000);
        options.connect_timeout = ms(2000);
        options.connack_timeout = ms(2000);
        options.close_timeout = ms(1000);
        options.longest_pause = ms(8000);
        options.will = Some(Will {
            topic: format!("will/{name}"),
            payload: b"lost".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: false,
        });
        Self {
            name: name.to_owned(),
            session: Session::new(options, seed, now).unwrap(),
            wanted: BTreeMap::new(),
            view: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: VecDeque::new(),
            connections: 0,
            unsubscribed: false,
        }
    }

    fn want(&mut self, topic: String, payload: Vec<u8>) {
        self.wanted.insert(topic.clone(), payload);
        if self.session.state().is_connected() {
            self.waiting.push_back(topic);
            self.publish();
        }
    }

    fn publish(&mut self) {
        while let Some(topic) = self.waiting.front() {
            let payload = &self.wanted[topic];
            match self.session.publish(topic, payload, true) {
                Ok(token) => {
                    let what = Some((topic.clone(), payload.clone()));
                    assert!(self.pending.insert(token, what).is_none(), "a token came twice");
                    self.waiting.pop_front();
                }
                Err(SendError::Full) => return,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn settle(&mut self, token: Token) -> Option<(String, Vec<u8>)> {
        self.pending.remove(&token).expect("a token that is not out was told")
    }

    fn handle(&mut self, event: Event, broker: &Broker) {
        match event {
            Event::Connected { session_present } => {
                assert!(!session_present && self.pending.is_empty());
                self.connections += 1;
                self.view.clear();
                self.waiting = self.wanted.keys().cloned().collect();
                let token =
                    self.session.subscribe(&[("of/#", QoS::AtLeastOnce), ("will/+", QoS::AtLeastOnce)]);
                self.pending.insert(token.unwrap(), None);
                let gone = self.session.subscribe(&[("noise/#", QoS::AtMostOnce)]).unwrap();
                self.pending.insert(gone, None);
                self.session.publish_unacknowledged("noise/x", b"", false).unwrap();
                self.unsubscribed = false;
                self.publish();
            }
            Event::Lost { reason, unacknowledged } => {
                assert!(
                    !matches!(reason, Reason::Protocol(_) | Reason::NotReading),
                    "{}: {reason}",
                    self.name
                );
                let told: BTreeSet<_> = unacknowledged.iter().copied().collect();
                assert_eq!(told.len(), unacknowledged.len());
                assert_eq!(told, self.pending.keys().copied().collect());
                self.pending.clear();
                self.waiting.clear();
            }
            Event::Published(token) => {
                let what = self.settle(token).expect("a subscription is not published");
                assert!(broker.published.contains(&what), "{what:?} is told to have arrived");
            }
            Event::Subscribed { token, granted } => {
                assert_eq!(self.settle(token), None);
                if granted == [Some(QoS::AtMostOnce)] {
                    let token = self.session.unsubscribe(&["noise/#"]).unwrap();
                    self.pending.insert(token, None);
                }
            }
            Event::Unsubscribed(token) => {
                assert_eq!(self.settle(token), None);
                self.unsubscribed = true;
            }
            Event::Message(message) if message.topic.starts_with("of/") => {
                let what = (message.topic, message.payload);
                assert!(broker.published.contains(&what), "{what:?} was never published");
                self.view.insert(what.0, what.1);
            }
            Event::Message(message) => {
                assert!(message.topic.starts_with("will/") || message.topic == "noise/x", "{message:?}");
            }
            Event::Room => self.publish(),
            event => panic!("{event:?}"),
        }
    }
}

/// Bytes on their way, with the time each piece arrives.
#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    /// Counted over the life of the connection.
    passed: usize,
}

/// A client's connection, from both ends.
#[derive(Default)]
struct Link {
    up: Pipe,
    down: Pipe,
    peer: Peer,
    /// Nothing passes any more, and nobody was told.
    dead: bool,
    /// When the broker heard something last.
    heard: Option<Instant>,
}

/// What is done to the connections.
enum Faults {
    None,
    /// The first connection ends when so many bytes have passed. What went the other way arrives before, or not.
    Cut {
        upwards: bool,
        after: usize,
        other_arrives: bool,
    },
    Random,
}

struct World {
    now: Instant,
    random: Random,
    faults: Faults,
    broker: Broker,
    owners: Vec<Owner>,
    links: Vec<Option<Link>>,
    trace: Vec<u8>,
}

impl World {
    fn new(owners: usize, seed: u64, faults: Faults) -> Self {
        let now = Instant::now();
        Self {
            now,
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            faults,
            broker: Broker::default(),
            owners: (0..owners).map(|i| Owner::new(&format!("{i}"), seed + i as u64, now)).collect(),
            links: (0..owners).map(|_| None).collect(),
            trace: Vec::new(),
        }
    }

    /// Everything that is due now.
    fn step(&mut self) {
        for i in 0..self.owners.len() {
            self.timeouts(i);
            self.follow(i);
            self.move_bytes(i);
            self.events(i);
            self.send(i);
        }
    }

    fn timeouts(&mut self, i: usize) {
        let session = &mut self.owners[i].session;
        if session.poll_timeout().is_some_and(|due| due <= self.now) {
            session.handle_timeout(self.now);
            let due = session.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now), "it is due again at once: {:?}", session.state());
        }
    }

    /// There is a link when the session wants one.
    fn follow(&mut self, i: usize) {
        match self.owners[i].session.state() {
            State::Connecting { .. } if matches!(self.faults, Faults::Random) => {
                match self.random.below(40) {
                    0 => {
                        let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                        self.owners[i].session.socket_failed(self.now, &error);
                    }
                    1..5 => self.connect(i),
                    _ => {}
                }
            }
            State::Connecting { .. } => self.connect(i),
            state if !state.has_socket() => self.end_link(i),
            _ => {}
        }
    }

    fn connect(&mut self, i: usize) {
        // The broker may not have noticed the end of an earlier one: the new one takes over.
        self.end_link(i);
        self.links[i] = Some(Link { heard: Some(self.now), ..Link::default() });
        self.owners[i].session.socket_connected(self.now);
    }

    /// The broker notices.
    fn end_link(&mut self, i: usize) {
        if let Some(link) = self.links[i].take() {
            let published = self.broker.lose(link.peer);
            self.pass_on(published);
        }
    }

    fn pass_on(&mut self, published: broker::Published) {
        for publish in &published {
            for link in self.links.iter_mut().flatten() {
                link.peer.pass_on(publish);
            }
        }
    }

    fn move_bytes(&mut self, i: usize) {
        self.pieces_up(i);
        self.pieces_down(i);
        let Some(link) = &mut self.links[i] else { return };
        let silent = self.now.duration_since(link.heard.unwrap());
        if silent > ms(u64::from(KEEPALIVE) * 1500) {
            assert!(link.dead, "the session did not ping");
            self.end_link(i);
            return;
        }
        let link = self.links[i].as_mut().unwrap();
        if link.peer.left && link.down.pieces.is_empty() {
            self.end_link(i);
            self.owners[i].session.socket_closed(self.now);
        } else if let (Faults::Cut { upwards, after, other_arrives }, 1 | 0) =
            (&self.faults, self.owners[i].connections)
        {
            let (one, other) = if *upwards { (&link.up, &link.down) } else { (&link.down, &link.up) };
            if one.passed >= *after && (!*other_arrives || other.pieces.is_empty()) {
                self.cut(i);
            }
        } else if matches!(self.faults, Faults::Random) && self.random.one_in(400) {
            match self.random.below(3) {
                0 => self.cut(i),
                // Nobody is told: only pings find out.
                1 => self.links[i].as_mut().unwrap().dead = true,
                _ => self.restart_broker(),
            }
        }
    }

    fn cut(&mut self, i: usize) {
        self.faults = match self.faults {
            Faults::Random => Faults::Random,
            _ => Faults::None,
        };
        self.end_link(i);
        self.owners[i].session.socket_closed(self.now);
    }

    fn restart_broker(&mut self) {
        for i in 0..self.links.len() {
            if self.links[i].take().is_some_and(|link| !link.dead) {
                self.owners[i].session.socket_closed(self.now);
            }
        }
        if self.random.one_in(2) {
            self.broker.retained.clear();
        }
    }

    fn budget(&self, i: usize, upwards: bool) -> usize {
        match (&self.faults, &self.links[i]) {
            (Faults::Cut { upwards: cut, after, .. }, Some(link)) if *cut == upwards => {
                after - if upwards { link.up.passed } else { link.down.passed }
            }
            _ => usize::MAX,
        }
    }

    fn pieces_up(&mut self, i: usize) {
        let mut budget = self.budget(i, true);
        while let Some(link) = self.links[i].as_mut().filter(|link| !link.dead && !link.peer.left) {
            let Some(mut piece) = link.up.pop(self.now) else { return };
            piece.truncate(budget);
            budget -= piece.len();
            link.up.passed += piece.len();
            link.heard = Some(self.now);
            self.trace.extend_from_slice(&piece);
            let published = self.broker.hear(&mut link.peer, &piece);
            self.pass_on(published);
        }
    }

    fn pieces_down(&mut self, i: usize) {
        let mut budget = self.budget(i, false);
        while let Some(link) = self.links[i].as_mut().filter(|link| !link.dead) {
            let Some(mut piece) = link.down.pop(self.now) else { return };
            piece.truncate(budget);
            budget -= piece.len();
            link.down.passed += piece.len();
            self.trace.extend_from_slice(&piece);
            self.owners[i].session.handle_input(self.now, &piece);
            self.events(i);
        }
    }

    fn events(&mut self, i: usize) {
        while let Some(event) = self.owners[i].session.poll_event() {
            self.owners[i].handle(event, &self.broker);
        }
        let session = &self.owners[i].session;
        assert!(session.state().has_socket() || session.transmit().is_empty());
    }

    /// What both ends have to say gets under way.
    fn send(&mut self, i: usize) {
        let smooth = !matches!(self.faults, Faults::Random);
        let session = &mut self.owners[i].session;
        let Some(link) = &mut self.links[i] else {
            // The broker is gone, and nobody has told yet: the socket takes what it is given.
            let n = session.transmit().len();
            session.consumed(n);
            return;
        };
        let n = match (smooth, session.transmit().len()) {
            (true, len) => len,
            (_, 0) => 0,
            (_, len) => self.random.below(len as u64 + 1) as usize,
        };
        link.up.push(self.now, &session.transmit()[..n], &mut self.random, smooth);
        session.consumed(n);
        link.down.push(self.now, &std::mem::take(&mut link.peer.out), &mut self.random, smooth);
    }

    fn run(&mut self, time: Duration, mut each: impl FnMut(&mut Self)) {
        let end = self.now + time;
        while self.now < end {
            each(self);
            self.step();
            self.now += ms(50);
        }
    }

    fn assert_settled(&self) {
        let wanted: BTreeMap<_, _> = self.owners.iter().flat_map(|owner| owner.wanted.clone()).collect();
        assert_eq!(self.broker.retained, wanted, "what the broker has is not what is wanted");
        for owner in &self.owners {
            assert!(owner.session.state().is_connected(), "{}: {:?}", owner.name, owner.session.state());
            assert_eq!(owner.view, wanted, "{} knows something else", owner.name);
            assert!(owner.pending.is_empty() && owner.waiting.is_empty() && owner.unsubscribed);
        }
    }
}

impl Pipe {
    fn push(&mut self, now: Instant, mut bytes: &[u8], random: &mut Random, smooth: bool) {
        while !bytes.is_empty() {
            let (len, delay) = match smooth {
                true => (bytes.len(), 10),
                false => (1 + random.below(bytes.len() as u64) as usize, random.below(400)),
            };
            let (piece, rest) = bytes.split_at(len);
            // None overtakes.
            let due = self.pieces.back().map_or(now, |(due, _)| *due).max(now + ms(delay));
            self.pieces.push_back((due, piece.to_vec()));
            bytes = rest;
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        match self.pieces.front() {
            Some((due, _)) if *due <= now => self.pieces.pop_front().map(|(_, piece)| piece),
            _ => None,
        }
    }
}

/// A short conversation with everything in it.
fn conversation(faults: Faults) -> World {
    let mut world = World::new(1, 1, faults);
    let owner = &mut world.owners[0];
    owner.wanted.insert("of/a".into(), b"one".to_vec());
    owner.wanted.insert("of/b".into(), vec![0xff; 200]);
    world.run(ms(5000), |_| {});
    world.owners[0].want("of/a".into(), b"two".to_vec());
    world.run(ms(10_000), |_| {});
    world
}

#[test]
fn a_connection_is_cut_at_every_byte() {
    let whole = conversation(Faults::None);
    whole.assert_settled();
    assert_eq!((whole.owners[0].connections, whole.broker.wills), (1, 0));
    let link = whole.links[0].as_ref().unwrap();
    assert!(link.up.passed > 300 && link.down.passed > 250, "{} {}", link.up.passed, link.down.passed);
    for (upwards, len) in [(true, link.up.passed), (false, link.down.passed)] {
        for after in 0..=len {
            for other_arrives in [true, false] {
                let world = conversation(Faults::Cut { upwards, after, other_arrives });
                world.assert_settled();
                let before = usize::from(world.owners[0].connections == 2);
                assert!(matches!(world.faults, Faults::None), "it was not cut at {after} of {len}");
                assert!(before == 1 || after < 40, "{} connections", world.owners[0].connections);
            }
        }
    }
}

fn random_run(seed: u64) -> World {
    let mut world = World::new(3, seed, Faults::Random);
    let mut version = 0_u32;
    world.run(ms(120_000), |world| {
        if world.random.one_in(8) {
            version += 1;
            let i = world.random.below(3) as usize;
            let topic = format!("of/{i}/{}", world.random.below(4));
            let mut payload = version.to_be_bytes().to_vec();
            if world.random.one_in(10) {
                payload.resize(world.random.below(60_000) as usize + 4, 7);
            }
            world.owners[i].want(topic, payload);
        }
    });
    world.faults = Faults::None;
    // Silent links are still to be noticed, and the pauses are at most 12 seconds.
    world.run(ms(40_000), |_| {});
    world.assert_settled();

    let wills = world.broker.wills;
    for i in 0..3 {
        world.owners[i].session.close(world.now);
        while !matches!(world.owners[i].session.state(), State::Closed) {
            match world.owners[i].session.poll_event() {
                None => {
                    world.timeouts(i);
                    world.send(i);
                    world.now += ms(50);
                    world.pieces_up(i);
                    world.pieces_down(i);
                    if world.links[i].as_ref().is_some_and(|link| link.peer.left) {
                        world.end_link(i);
                        let now = world.now;
                        world.owners[i].session.socket_closed(now);
                    }
                }
                Some(event) => panic!("{event:?}"),
            }
        }
        let last = world.owners[i].session.poll_event();
        assert_eq!(last, Some(Event::Closed { unacknowledged: vec![] }));
    }
    assert_eq!(world.broker.wills, wills, "a will was published for who has left");
    world
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn everybody_knows_everything_when_the_storm_is_over() {
    let seeds = match number("MQTT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MQTT_SEEDS").unwrap_or(60),
    };
    let (mut connections, mut wills) = (0, 0);
    for seed in seeds.clone() {
        println!("seed {seed}"); // shown if it fails
        let world = random_run(seed);
        connections += world.owners.iter().map(|owner| owner.connections).sum::<usize>();
        wills += world.broker.wills;
    }
    println!("{} seeds, {connections} connections, {wills} wills", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 20 {
        assert!(connections > 100 && wills > 20, "nothing was cut");
    }
}

#[test]
fn a_seed_repeats_a_run_to_the_byte() {
    let trace = random_run(5).trace;
    assert!(trace.len() > 10_000 && trace == random_run(5).trace);
    assert!(trace != random_run(6).trace);
}
