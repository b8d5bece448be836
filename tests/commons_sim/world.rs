//! Boxes, owners and brokers in one process, in a time of their own. All that happens is drawn from the seed.

use super::machine::{Guest, Machine, EPOCH};
use super::owner::Owner;
use super::parts::{Broker, Lie, Prng, Topics};
use cloudbox::commons::formats::{Class, Manifest, Mode};
use cloudbox::commons::id::Id;
use cloudbox::commons::interface::{
    Call, ContainerState, Effect, Fault as CallFault, Input, Notice, Peer, Room, Settings, Work,
};
use cloudbox::commons::label::{Kind, Label};
use cloudbox::error::Code;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;

/// Something that happens.
pub enum Event {
    /// A message arrives at a box.
    Message { at: usize, broker: usize, epoch: u32, topic: usize, payload: Rc<[u8]>, retained: bool },
    /// The box asked to be woken.
    Wake { at: usize, process: u32 },
    /// A call ends.
    CallEnds { at: usize, process: u32, boot: u32, call: Call, work: Work },
    /// A box tries to reach a broker.
    Connect { at: usize, broker: usize, process: u32 },
    /// A connection that was dead is noticed to be.
    Noticed { at: usize, broker: usize, epoch: u32 },
    /// A box is switched on.
    Boot(usize),
    /// A process begins after one that died.
    Respawn(usize, u32),
    /// Something goes wrong, or right again.
    Fault(usize),
    /// It is made good.
    Repair(usize),
    /// An owner looks whether all brokers have what is his.
    Act(usize),
    /// The invariants that are about time are looked at.
    Look,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power of a box is cut, for so long.
    PowerCut(usize, u64),
    /// It is shut down as it should be.
    Shutdown(usize, u64),
    /// Its process is killed.
    Kill(usize),
    /// The process dies at some step of the next minutes.
    Fragile(usize, u64),
    /// A broker is down, and comes back with all, or with nothing.
    BrokerDown(usize, u64, bool),
    /// A broker lies for a while.
    Lies(usize, Lie, u64),
    /// A broker keeps slices from a box.
    Withholds(usize, usize, u64),
    /// A box cannot reach a broker.
    Cut(usize, usize, u64),
    /// A box is not heard at a broker.
    Mute(usize, usize, u64),
    /// A box hears nothing of a broker.
    Deaf(usize, usize, u64),
    /// Half of the boxes reach one broker only, the other half the other.
    Partition(u64),
    /// A connection dies, and it takes a while until anybody notices.
    Dying(usize, usize),
    /// A clock is off by so many seconds, for a while.
    Clock(usize, i64, u64),
    /// At the next boot the clock is at this time, and NTP answers only later.
    NoNtp(usize, u64),
    /// Images cannot be fetched, or slowly.
    PullFails(usize, u64),
    PullSlow(usize, u64),
    /// What is not here yet cannot be fetched; what is stays.
    NoServer(usize, u64),
    /// There is no room.
    NoSpace(usize, u64),
    /// What is made of the image fails.
    GuestFails(usize, u64),
    /// The box's owner stops all members by hand, and starts them again later.
    ByHand(usize, u64),
    /// The box's owner allows less.
    Lowered(usize, u64),
    /// It comes and goes.
    Flaps(usize, u64),
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::PowerCut(..) => "power cut",
            Fault::Shutdown(..) => "shutdown",
            Fault::Kill(_) => "process killed",
            Fault::Fragile(..) => "crash at a step",
            Fault::BrokerDown(_, _, false) => "broker down",
            Fault::BrokerDown(_, _, true) => "broker wiped",
            Fault::Lies(_, Lie::Older, _) => "broker: older",
            Fault::Lies(_, Lie::Comment, _) => "broker: comment",
            Fault::Lies(_, Lie::Forged, _) => "broker: forged",
            Fault::Lies(_, Lie::Nothing, _) => "broker: nothing",
            Fault::Lies(_, Lie::Replay, _) => "broker: replay",
            Fault::Withholds(..) => "broker withholds",
            Fault::Cut(..) => "cut off a broker",
            Fault::Mute(..) => "not heard",
            Fault::Deaf(..) => "does not hear",
            Fault::Partition(_) => "partition",
            Fault::Dying(..) => "dead connection",
            Fault::Clock(..) => "clock off",
            Fault::NoNtp(..) => "no NTP",
            Fault::PullFails(..) => "pull fails",
            Fault::PullSlow(..) => "pull slow",
            Fault::NoServer(..) => "no server",
            Fault::NoSpace(..) => "no space",
            Fault::GuestFails(..) => "guest fails",
            Fault::ByHand(..) => "stopped by hand",
            Fault::Lowered(..) => "quota lowered",
            Fault::Flaps(..) => "flaps",
        }
    }
}

/// What an owner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A new slice, with so many of so many boxes.
    Apply,
    /// The same with another count, list or limit.
    Change,
    /// The same with a new image.
    NewImage,
    /// A later end.
    Renew,
    /// Of all his slices.
    RenewAll,
    /// He vouches no more for whom he vouched.
    Revoke,
    Stop,
    Start,
    Delete,
    /// The slice is called back.
    Again,
    /// Another laptop signs something with the same serial.
    Twice,
    /// Another laptop signs without having read the brokers.
    Blind,
    /// The clock of the laptop is years ahead.
    TooNew,
    /// He looks whether all brokers have it.
    Repair,
}

#[derive(Debug, Clone, Copy)]
pub enum Planned {
    Fault(Fault),
    Act(usize, Act),
}

/// How large, how long, and what happens.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub boxes: usize,
    pub brokers: usize,
    pub owners: usize,
    pub slices: usize,
    pub count: u16,
    pub spares: u16,
    /// The most time that a message takes.
    pub latency: u64,
    /// How many days a manifest holds.
    pub days: u64,
    /// The second owner is known by the word of the first.
    pub vouched: bool,
    /// Faults end here.
    pub heal: u64,
    pub end: u64,
    pub happens: Vec<(u64, Planned)>,
}

/// How a group fares.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fares {
    pub below: u64,
    pub above: u64,
    /// For how long now.
    pub below_now: u64,
    pub above_now: u64,
    pub longest_below: u64,
    pub longest_above: u64,
    pub placed: bool,
}

pub struct World {
    pub plan: Plan,
    pub now: u64,
    pub prng: Prng,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    pub brokers: Vec<Broker>,
    pub boxes: Vec<Machine>,
    pub owners: Vec<Owner>,
    pub network: Label,
    pub counts: BTreeMap<&'static str, u64>,
    pub fares: BTreeMap<(Id, String, String), Fares>,
    pub starts: u64,
    pub retired: u64,
    pub messages: u64,
    pub publishes: u64,
    pub trace: Option<Vec<String>>,
    pub violation: Option<String>,
    /// What will be made good.
    pub repairs: Vec<super::faults::Repair>,
    /// Old signs of life, for a broker that says them again.
    pub heard: Vec<(usize, Rc<[u8]>)>,
    pub topics: Topics,
    /// Where each box is.
    pub places: BTreeMap<Id, usize>,
}

impl World {
    pub fn new(plan: Plan, trace: bool) -> World {
        let network = Label::new(Kind::Network, "sim").unwrap();
        let mut owners: Vec<Owner> = (0..plan.owners).map(|number| Owner::new(number as u64)).collect();
        if plan.vouched {
            let cert = super::owner::vouch(network, &owners[0], &owners[1]);
            owners[0].certs.push(cert);
            owners[1].via = Some(owners[0].id);
        }
        let peers: Vec<Peer> =
            owners.iter().filter(|owner| owner.via.is_none()).map(|owner| peer(owner, &plan)).collect();
        let settings = |_: usize| Settings {
            network,
            zone: Label::new(Kind::Zone, "zone").unwrap(),
            name: "box".into(),
            mode: Mode::Production,
            notice: 3600,
            class: Class::Any,
            hours: None,
            show_accepts: true,
            arch: "x86_64".into(),
            address: "".into(),
            owner: None,
            seal: None,
            peers: peers.clone(),
            deny: Vec::new(),
        };
        let boxes =
            (0..plan.boxes).map(|at| Machine::new(1000 + at as u64, settings(at), plan.brokers)).collect();
        let brokers = (0..plan.brokers).map(|_| Broker { up: true, ..Broker::default() }).collect();
        let mut world = World {
            now: 0,
            prng: Prng(plan.seed),
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            order: 0,
            brokers,
            boxes,
            owners,
            network,
            counts: BTreeMap::new(),
            fares: BTreeMap::new(),
            starts: 0,
            retired: 0,
            messages: 0,
            publishes: 0,
            trace: trace.then(Vec::new),
            violation: None,
            repairs: Vec::new(),
            heard: Vec::new(),
            topics: Topics::default(),
            places: BTreeMap::new(),
            plan,
        };
        for at in 0..world.boxes.len() {
            world.places.insert(world.boxes[at].id, at);
            let begins = world.prng.below(30 * SECOND);
            world.at(begins, Event::Boot(at));
        }
        for index in 0..world.plan.happens.len() {
            let (time, _) = world.plan.happens[index];
            world.at(time, Event::Fault(index));
        }
        world.at(MINUTE, Event::Look);
        world
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.heap.push(Reverse((time.max(self.now), self.order, slot)));
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn log(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            let text = text();
            trace.push(format!(
                "{:>4}:{:02}:{:02}.{:03} {text}",
                now / HOUR,
                now / MINUTE % 60,
                now / SECOND % 60,
                now % 1000
            ));
        }
    }

    pub fn violate(&mut self, why: String) {
        self.log(|| format!("VIOLATION {why}"));
        if self.violation.is_none() {
            self.violation = Some(why);
        }
    }

    /// Runs until the end, or until something is wrong.
    pub fn run(&mut self) {
        while let Some(Reverse((time, _, slot))) = self.heap.pop() {
            if time > self.plan.end || self.violation.is_some() {
                return;
            }
            self.now = time;
            let event = self.events[slot].take();
            self.free.push(slot);
            if let Some(event) = event {
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Message { at, broker, epoch, topic, payload, retained } => {
                let way = &self.boxes[at].ways[broker];
                if way.connected && way.epoch == epoch && !way.dying {
                    self.messages += 1;
                    let broker = broker as u8;
                    let topic = Rc::clone(self.topics.text(topic));
                    self.feed(at, Input::Message { broker, topic: &topic, payload: &payload, retained });
                }
            }
            Event::Wake { at, process } => {
                if self.boxes[at].process == process && self.boxes[at].wake_at <= self.now {
                    self.boxes[at].wake_at = u64::MAX;
                    self.feed(at, Input::Tick);
                }
            }
            Event::CallEnds { at, process, boot, call, work } => {
                self.call_ends(at, process, boot, call, work)
            }
            Event::Connect { at, broker, process } => self.connect(at, broker, process),
            Event::Noticed { at, broker, epoch } => {
                if self.boxes[at].ways[broker].epoch == epoch {
                    self.disconnect(at, broker, true);
                }
            }
            Event::Boot(at) => self.boot(at),
            Event::Respawn(at, process) => {
                if self.boxes[at].on && self.boxes[at].core.is_none() && self.boxes[at].process == process {
                    self.start_process(at);
                }
            }
            Event::Fault(index) => match self.plan.happens[index].1 {
                Planned::Fault(fault) => self.go_wrong(fault),
                Planned::Act(owner, act) => self.act(owner, act),
            },
            Event::Repair(index) => self.make_good(self.repairs[index]),
            Event::Act(owner) => self.act(owner, Act::Repair),
            Event::Look => {
                self.look();
                self.at(self.now + MINUTE, Event::Look);
            }
        }
    }

    pub fn boot(&mut self, at: usize) {
        let now = self.now;
        let machine = &mut self.boxes[at];
        if machine.on {
            return;
        }
        machine.on = true;
        machine.boot += 1;
        machine.booted_at = now;
        machine.guests.retain(|_, guest| guest.state != ContainerState::Creating);
        for guest in machine.guests.values_mut() {
            guest.state = ContainerState::Stopped;
        }
        self.log(|| format!("box {at} boots"));
        self.start_process(at);
    }

    pub fn start_process(&mut self, at: usize) {
        let run = self.prng.next();
        let now = self.now;
        let machine = &mut self.boxes[at];
        machine.start_process(now, run);
        let settings = machine.settings.clone();
        let containers = machine.containers();
        self.feed(at, Input::Settings(settings));
        self.feed(at, Input::Room(Room { memory: 1 << 30, disk: 1 << 34, cpus: 1000 }));
        self.feed(at, Input::Containers(&containers));
        let process = self.boxes[at].process;
        for broker in 0..self.brokers.len() {
            let soon = self.now + self.prng.between(10, 2000);
            self.at(soon, Event::Connect { at, broker, process });
        }
    }

    /// The power is cut, or the process dies.
    pub fn die(&mut self, at: usize, power: bool) {
        for broker in 0..self.brokers.len() {
            self.disconnect(at, broker, false);
        }
        let machine = &mut self.boxes[at];
        machine.core = None;
        if power {
            machine.on = false;
        } else {
            let process = machine.process;
            let again = self.now + 5 * SECOND;
            self.at(again, Event::Respawn(at, process));
        }
        self.log(|| format!("box {at} {}", if power { "loses its power" } else { "loses its process" }));
    }

    fn connect(&mut self, at: usize, broker: usize, process: u32) {
        let machine = &mut self.boxes[at];
        if machine.process != process || machine.core.is_none() || machine.ways[broker].connected {
            return;
        }
        let way = &mut machine.ways[broker];
        if !self.brokers[broker].up || way.cut {
            way.tries += 1;
            let wait = (SECOND << way.tries.min(9)).min(5 * MINUTE);
            let again = self.now + wait / 2 + self.prng.below(wait / 2 + 1);
            self.at(again, Event::Connect { at, broker, process });
            return;
        }
        let now = self.now;
        way.connected = true;
        way.epoch += 1;
        way.last_at = now;
        way.tries = 0;
        way.dying = false;
        let will = machine.core.as_mut().and_then(|core| core.will());
        machine.wills[broker] = will.map(|(topic, payload)| (topic.into(), payload));
        self.log(|| format!("box {at} connects to broker {broker}"));
        self.feed(at, Input::Connected(broker as u8));
    }

    /// A connection ends; `told`: the box notices, and tries again.
    pub fn disconnect(&mut self, at: usize, broker: usize, told: bool) {
        if !self.boxes[at].ways[broker].connected {
            return;
        }
        let way = &mut self.boxes[at].ways[broker];
        way.connected = false;
        way.dying = false;
        way.epoch += 1;
        self.brokers[broker].forget_client(at);
        if self.brokers[broker].up {
            if let Some((topic, payload)) = self.boxes[at].wills[broker].take() {
                self.publish(broker, &topic, payload, true);
            }
        }
        if told && self.boxes[at].core.is_some() {
            let process = self.boxes[at].process;
            self.feed(at, Input::Lost(broker as u8));
            let again = self.now + SECOND + self.prng.below(SECOND);
            self.at(again, Event::Connect { at, broker, process });
        }
    }

    /// Tells the core of a box something, and does what it wants.
    pub fn feed(&mut self, at: usize, input: Input<'_>) {
        let now = self.now;
        let machine = &mut self.boxes[at];
        let time = machine.now(now);
        let Some(core) = &mut machine.core else { return };
        core.handle(time, input);
        self.drain(at);
        if self.boxes[at].core.is_some() {
            self.schedule(at);
        }
    }

    fn schedule(&mut self, at: usize) {
        let machine = &self.boxes[at];
        let Some(deadline) = machine.core.as_ref().and_then(|core| core.deadline()) else { return };
        let time = machine.world_time(deadline).max(self.now + 1);
        if time < machine.wake_at {
            self.boxes[at].wake_at = time;
            let process = self.boxes[at].process;
            self.at(time, Event::Wake { at, process });
        }
    }

    fn drain(&mut self, at: usize) {
        loop {
            let machine = &mut self.boxes[at];
            let Some(effect) = machine.core.as_mut().and_then(|core| core.poll()) else { return };
            if machine.fragile > 0 {
                let fragile = machine.fragile;
                if self.prng.chance(fragile) {
                    self.count("crashed at a step");
                    let power = self.prng.chance(300);
                    self.die(at, power);
                    if power {
                        let again = self.now + self.prng.between(MINUTE, 20 * MINUTE);
                        self.at(again, Event::Boot(at));
                    }
                    return;
                }
            }
            self.carry_out(at, effect);
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Subscribe(broker, filter) => self.subscribe(at, usize::from(broker), &filter),
            Effect::Unsubscribe(broker, filter) => {
                let way = self.boxes[at].ways[usize::from(broker)];
                if way.connected && !way.dying {
                    let topic = self.topics.number(&filter);
                    self.brokers[usize::from(broker)].filter(topic).retain(|client| *client != at);
                }
            }
            Effect::Publish { broker, topic, payload, retain } => {
                let broker = usize::from(broker);
                let way = self.boxes[at].ways[broker];
                if way.connected && !way.dying && !way.mute {
                    self.publishes += 1;
                    if topic.starts_with("cloudbox/1/sim/slice/") {
                        self.count("rule: repair of a manifest");
                    } else if topic.starts_with("cloudbox/1/sim/index/") {
                        self.count("rule: repair of an index");
                    }
                    self.publish(broker, &topic, payload, retain);
                }
            }
            Effect::Keep(name, bytes) => {
                self.boxes[at].disk.insert(name, bytes);
            }
            Effect::Forget(name) => {
                self.boxes[at].disk.remove(&name);
            }
            Effect::Call(call, work) => self.begin_call(at, call, work),
            Effect::Notice(notice) => self.noticed(at, notice),
        }
    }

    fn noticed(&mut self, at: usize, notice: Notice) {
        self.log(|| format!("box {at} tells {notice:?}"));
        match &notice {
            Notice::Member { state, code, .. } => {
                self.count(match (*state, &**code) {
                    ("refused", "quota") => "rule: refused by quota",
                    ("refused", _) => "rule: refused",
                    ("spare", "quota") => "rule: evicted",
                    ("spare", _) => "rule: spare",
                    ("claimed", _) => "rule: claimed",
                    ("pulling", _) => "rule: pulling",
                    ("ready", _) => "rule: ready",
                    ("failed", _) => "rule: failed by its guest",
                    ("retiring", _) => "rule: retires",
                    ("stopped", "by_owner") => "rule: stopped by the box's owner",
                    ("stopped", "expired") => "rule: expired",
                    ("stopped", _) => "rule: stopped",
                    ("gone", _) => "rule: gone",
                    _ => "rule: other",
                });
                if *state == "retiring" {
                    self.retired += 1;
                }
                if &**code == "expired" && *state == "stopped" {
                    self.check_expired(at, &notice);
                }
            }
            Notice::Expires { .. } => self.count("rule: warned of the end"),
            Notice::Wrong { .. } => self.count("rule: told of a wrong text"),
            Notice::Foreign => self.count("rule: foreign"),
            Notice::Unheard(true) => self.count("rule: unheard"),
            Notice::NotHeld { .. } => self.count("rule: not held"),
            _ => {}
        }
    }

    fn subscribe(&mut self, at: usize, broker: usize, filter: &str) {
        let way = self.boxes[at].ways[broker];
        if !way.connected || way.dying {
            return;
        }
        let topic = self.topics.number(filter);
        let held = &mut self.brokers[broker];
        let mut gives: Vec<(usize, Rc<[u8]>)> = Vec::new();
        if let Some(prefix) = filter.strip_suffix("/+") {
            let prefix = self.topics.number(prefix);
            held.wide.entry(prefix).or_default().push(at);
            for (topic, payload) in &held.retained {
                if mqtt_session::topic::matches(filter, self.topics.text(*topic)) {
                    gives.push((*topic, Rc::clone(payload)));
                }
            }
        } else {
            let clients = held.filter(topic);
            if !clients.contains(&at) {
                clients.push(at);
            }
            if let Some(payload) = held.retained.get(&topic) {
                gives.push((topic, Rc::clone(payload)));
            }
        }
        for (topic, payload) in gives {
            if let Some(given) = self.brokers[broker].given(topic, &payload) {
                self.send(broker, at, topic, given, true);
            }
        }
    }

    /// Somebody publishes.
    pub fn publish(&mut self, broker: usize, topic: &str, payload: Rc<[u8]>, retain: bool) {
        let number = self.topics.number(topic);
        let held = &mut self.brokers[broker];
        if !held.up {
            return;
        }
        if retain {
            let before = match payload.is_empty() {
                true => held.retained.remove(&number),
                false => held.retained.insert(number, Rc::clone(&payload)),
            };
            if let Some(before) = before.filter(|before| *before != payload) {
                held.older.insert(number, before);
            }
        }
        if self.heard.len() < 300 && topic.ends_with("/alive") {
            self.heard.push((number, Rc::clone(&payload)));
        }
        for client in self.brokers[broker].audience(&self.topics, number) {
            self.send(broker, client, number, Rc::clone(&payload), false);
        }
    }

    /// A broker gives a client something.
    pub fn send(&mut self, broker: usize, at: usize, topic: usize, payload: Rc<[u8]>, retained: bool) {
        let way = &mut self.boxes[at].ways[broker];
        let text = self.topics.text(topic);
        let own = text.ends_with("/mark");
        if !way.connected || way.dying || (way.deaf && !own) {
            return;
        }
        if self.brokers[broker].withholds.contains(&at) && !own && text.contains("slice") {
            return;
        }
        let time = way.last_at.max(self.now + 1 + self.prng.below(self.plan.latency));
        way.last_at = time;
        let epoch = way.epoch;
        self.at(time, Event::Message { at, broker, epoch, topic, payload, retained });
    }

    fn begin_call(&mut self, at: usize, call: Call, work: Work) {
        self.log(|| format!("box {at} begins {}", brief(&work)));
        self.check_begun(at, &work);
        let machine = &mut self.boxes[at];
        let mut time = self.prng.between(200, 3000);
        match &work {
            Work::Pull { sha256, .. } => {
                time = if machine.images.contains(sha256) { 50 } else { machine.pull_time };
            }
            Work::Create(birth) => {
                time = self.prng.between(2 * SECOND, 10 * SECOND);
                let guest = Guest {
                    slice: cloudbox::commons::label::container_slice(
                        birth.member,
                        birth.slice,
                        birth.group.name,
                    ),
                    state: ContainerState::Creating,
                    image: birth.image,
                    memory: birth.group.memory,
                    disk: birth.group.disk,
                    cpus: birth.group.cpus,
                    starts: 0,
                };
                machine.guests.entry(birth.name.to_string()).or_insert(guest);
            }
            Work::Start(name) => set(machine, name, ContainerState::Starting),
            Work::Stop(name) => set(machine, name, ContainerState::Stopping),
            Work::Delete(_) | Work::Limit { .. } => {}
        }
        let (process, boot) = (machine.process, machine.boot);
        let ends = self.now + time;
        self.at(ends, Event::CallEnds { at, process, boot, call, work });
        self.tell_containers(at);
    }

    fn tell_containers(&mut self, _at: usize) {
        // The core is told when the call has ended; it has begun it itself.
    }

    fn call_ends(&mut self, at: usize, process: u32, boot: u32, call: Call, work: Work) {
        let machine = &mut self.boxes[at];
        // What the daemon was at goes on when the process dies, and not when the box does.
        if !machine.on || machine.boot != boot {
            return;
        }
        let fault = |code, of_box, message: &str| Err(CallFault { code, of_box, message: message.into() });
        let mut result = Ok(());
        match &work {
            Work::Pull { sha256, .. } => {
                if machine.pull_fails && !machine.images.contains(sha256) {
                    result = fault(Code::Failed, true, "the server of images is gone");
                } else if !machine.images.contains(sha256) {
                    machine.images.push(*sha256);
                }
            }
            Work::Create(birth) => {
                if machine.no_space {
                    machine.guests.remove(&*birth.name);
                    result = fault(Code::NoSpace, true, "the disk is full");
                } else if machine.guest_fails {
                    set(machine, &birth.name, ContainerState::Failed);
                    result = fault(Code::Failed, false, "its init crashed");
                } else {
                    set(machine, &birth.name, ContainerState::Running);
                    self.starts += 1;
                }
            }
            Work::Start(name) => {
                if machine.guest_fails {
                    set(machine, name, ContainerState::Failed);
                    result = fault(Code::Failed, false, "its init crashed");
                } else {
                    set(machine, name, ContainerState::Running);
                    self.starts += 1;
                }
            }
            Work::Stop(name) => set(machine, name, ContainerState::Stopped),
            Work::Delete(name) => drop(machine.guests.remove(&**name)),
            Work::Limit { name, memory, disk, cpus } => {
                if let Some(guest) = machine.guests.get_mut(&**name) {
                    (guest.memory, guest.disk, guest.cpus) = (*memory, *disk, *cpus);
                }
            }
        }
        if let Work::Create(birth) = &work {
            if let (true, Some(guest)) = (result.is_ok(), machine.guests.get_mut(&*birth.name)) {
                guest.starts += 1;
            }
        } else if let (Work::Start(name), true) = (&work, result.is_ok()) {
            if let Some(guest) = machine.guests.get_mut(&**name) {
                guest.starts += 1;
            }
        }
        let containers = machine.containers();
        let is_same = machine.process == process;
        self.log(|| {
            format!("box {at} ended {} {}", brief(&work), if result.is_ok() { "well" } else { "badly" })
        });
        self.check_quotas(at);
        if is_same {
            self.feed(at, Input::Done { call, result });
        }
        self.feed(at, Input::Containers(&containers));
    }

    fn act(&mut self, at: usize, act: Act) {
        let at = at % self.owners.len();
        let mut owner = std::mem::replace(&mut self.owners[at], Owner::new(99));
        owner.act(self, act);
        self.owners[at] = owner;
    }
}

fn set(machine: &mut Machine, name: &str, state: ContainerState) {
    if let Some(guest) = machine.guests.get_mut(name) {
        guest.state = state;
    }
}

pub fn brief(work: &Work) -> String {
    match work {
        Work::Pull { sha256, .. } => format!("pull {:02x}", sha256[0]),
        Work::Create(birth) => format!("create {}", birth.name),
        Work::Limit { name, .. } => format!("limit {name}"),
        Work::Start(name) => format!("start {name}"),
        Work::Stop(name) => format!("stop {name}"),
        Work::Delete(name) => format!("delete {name}"),
    }
}

pub fn peer(owner: &Owner, plan: &Plan) -> Peer {
    let room = plan.slices as u64 + 2;
    Peer {
        name: format!("owner{}", owner.number).into(),
        key: owner.key().public(),
        memory: room * (64 << 20),
        disk: 4 * room * (64 << 20),
        cpus: room * 200,
        containers: room,
        images: vec!["any".into()],
        delegate: true,
        share: 50,
        publish: true,
    }
}

/// What the newest manifest of a slice wants, whoever has it: the one that counts most of all that were signed.
pub fn wins<'a>(manifests: impl Iterator<Item = &'a (Manifest, [u8; 32])>) -> Option<&'a Manifest> {
    manifests.max_by_key(|(manifest, hash)| (manifest.precedence(), *hash)).map(|(manifest, _)| manifest)
}

pub fn wall(now: u64) -> u64 {
    EPOCH + now / 1000
}
