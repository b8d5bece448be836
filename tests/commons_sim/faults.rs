//! What goes wrong, when, and how it is made good.

use super::parts::{Lie, Prng};
use super::world::{Act, Event, Fault, Plan, Planned, World, HOUR, MINUTE, SECOND};
use cloudbox::commons::interface::{ContainerState, Input};

/// What kind of plans are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ten hours of a few boxes, and now and then some days.
    Mixed,
    /// Four hours of a few boxes: for the tests of every day.
    Short,
    /// As the model in which the rules were found: three of six boxes, two brokers, ten hours.
    Model,
    /// 200 boxes and 50 slices, for the speed.
    Large,
}

/// A plan with so many things that happen, drawn from the seed.
pub fn draw(seed: u64, kind: Kind) -> Plan {
    match kind {
        Kind::Mixed if seed % 25 == 0 => draw_days(seed),
        Kind::Mixed => draw_hours(seed, 5 * HOUR, 10 * HOUR),
        Kind::Short => draw_hours(seed, 150 * MINUTE, 230 * MINUTE),
        Kind::Model => draw_model(seed),
        Kind::Large => draw_large(seed),
    }
}

/// Twelve days, in which slices end, are renewed, deleted and called back.
fn draw_days(seed: u64) -> Plan {
    let mut prng = Prng(seed ^ 0xda15);
    let heal = 10 * 24 * HOUR;
    let mut plan = Plan {
        seed,
        boxes: 4,
        brokers: prng.between(1, 2) as usize,
        owners: 1,
        slices: 2,
        count: prng.between(1, 2) as u16,
        spares: 1,
        latency: 500,
        days: prng.between(1, 3),
        heal,
        end: 12 * 24 * HOUR,
        happens: vec![(MINUTE, Planned::Act(0, Act::Apply)), (2 * MINUTE, Planned::Act(0, Act::Apply))],
        vouched: false,
    };
    for _ in 0..prng.between(3, 9) {
        let acts = [Act::Renew, Act::Renew, Act::Renew, Act::Delete, Act::Again, Act::NewImage, Act::Change];
        let act = acts[prng.below(acts.len() as u64) as usize];
        plan.happens.push((prng.between(HOUR, heal), Planned::Act(0, act)));
    }
    for _ in 0..prng.between(2, 10) {
        let fault = draw_fault(&mut prng, &plan);
        plan.happens.push((prng.between(HOUR, heal), Planned::Fault(fault)));
    }
    for _ in 0..2 {
        let off = prng.between(HOUR, 4 * 24 * HOUR);
        let fault = Fault::PowerCut(prng.below(plan.boxes as u64) as usize, off);
        plan.happens.push((prng.between(HOUR, heal), Planned::Fault(fault)));
    }
    // At the end he renews what there still is.
    plan.happens.push((heal - HOUR, Planned::Act(0, Act::RenewAll)));
    plan.happens.sort_by_key(|(time, _)| *time);
    plan
}

/// Three of six, two brokers, and the model's faults in the first five hours.
fn draw_model(seed: u64) -> Plan {
    let mut prng = Prng(seed ^ 0x30de1);
    let mut plan = Plan {
        seed,
        boxes: 6,
        brokers: 2,
        owners: 1,
        slices: 1,
        count: 3,
        spares: 3,
        latency: 5000,
        days: 30,
        heal: 5 * HOUR,
        end: 10 * HOUR,
        happens: vec![(MINUTE, Planned::Act(0, Act::Apply))],
        vouched: false,
    };
    for _ in 0..prng.between(3, 10) {
        let (at, broker) = (prng.below(6) as usize, prng.below(2) as usize);
        let time = prng.between(MINUTE, 2 * HOUR);
        let fault = match prng.below(8) {
            0..=2 => Fault::PowerCut(at, time),
            3 => Fault::PullFails(at, time),
            4 => Fault::BrokerDown(broker, time, false),
            5 => Fault::Mute(at, broker, time),
            6 => Fault::Cut(at, broker, time),
            _ => Fault::Partition(time),
        };
        plan.happens.push((prng.between(5 * MINUTE, plan.heal - 10 * MINUTE), Planned::Fault(fault)));
    }
    plan.happens.sort_by_key(|(time, _)| *time);
    plan
}

/// 200 boxes and 50 slices, each with three of six, and a fault for each box and day.
fn draw_large(seed: u64) -> Plan {
    let mut prng = Prng(seed ^ 0x1a46e);
    let mut plan = Plan {
        seed,
        boxes: 200,
        brokers: 2,
        owners: 10,
        slices: 50,
        count: 3,
        spares: 3,
        latency: 500,
        days: 30,
        heal: 15 * HOUR,
        end: 17 * HOUR,
        happens: Vec::new(),
        vouched: false,
    };
    for slice in 0..50 {
        plan.happens.push((prng.between(MINUTE, 20 * MINUTE), Planned::Act(slice % 10, Act::Apply)));
    }
    for _ in 0..140 {
        let fault = draw_fault(&mut prng, &plan);
        plan.happens.push((prng.between(30 * MINUTE, plan.heal - 10 * MINUTE), Planned::Fault(fault)));
    }
    plan.happens.sort_by_key(|(time, _)| *time);
    plan
}

fn draw_hours(seed: u64, heal: u64, end: u64) -> Plan {
    let mut prng = Prng(seed ^ 0x5eed);
    let brokers = [1, 2, 2, 2, 3][prng.below(5) as usize];
    let boxes = prng.between(6, 10) as usize;
    let mut plan = Plan {
        seed,
        boxes,
        brokers,
        owners: prng.between(1, 3) as usize,
        slices: 0,
        count: prng.between(1, 4) as u16,
        spares: prng.between(1, 3) as u16,
        latency: [20, 200, 5000][prng.below(3) as usize],
        days: 30,
        heal,
        end,
        happens: Vec::new(),
        vouched: false,
    };
    for owner in 0..plan.owners {
        for _ in 0..prng.between(1, 2) {
            plan.slices += 1;
            plan.happens.push((prng.between(MINUTE, 20 * MINUTE), Planned::Act(owner, Act::Apply)));
        }
    }
    for _ in 0..prng.below(6) {
        let act = [
            Act::Change,
            Act::Change,
            Act::NewImage,
            Act::Renew,
            Act::Stop,
            Act::Start,
            Act::Start,
            Act::Delete,
            Act::Again,
            Act::Again,
            Act::Twice,
            Act::Blind,
            Act::TooNew,
            Act::Revoke,
        ][prng.below(14) as usize];
        let owner = prng.below(plan.owners as u64) as usize;
        plan.happens.push((prng.between(30 * MINUTE, heal), Planned::Act(owner, act)));
    }
    plan.vouched = plan.owners > 1 && prng.chance(400);
    for _ in 0..prng.between(2, 12) {
        let fault = draw_fault(&mut prng, &plan);
        plan.happens.push((prng.between(5 * MINUTE, heal - 10 * MINUTE), Planned::Fault(fault)));
    }
    plan.happens.sort_by_key(|(time, _)| *time);
    plan
}

pub fn draw_fault(prng: &mut Prng, plan: &Plan) -> Fault {
    let at = prng.below(plan.boxes as u64) as usize;
    let broker = prng.below(plan.brokers as u64) as usize;
    let time =
        [prng.between(MINUTE, 10 * MINUTE), prng.between(10 * MINUTE, HOUR), prng.between(HOUR, 4 * HOUR)]
            [prng.below(3) as usize];
    let lie = [Lie::Older, Lie::Comment, Lie::Forged, Lie::Nothing, Lie::Replay][prng.below(5) as usize];
    match prng.below(26) {
        0..=3 => Fault::PowerCut(at, time),
        4 => Fault::Shutdown(at, time),
        5 => Fault::Kill(at),
        6 => Fault::Fragile(at, time),
        7 => Fault::BrokerDown(broker, time, false),
        8 => Fault::BrokerDown(broker, time, true),
        9 => Fault::Lies(broker, lie, time),
        10 => Fault::Withholds(broker, at, time),
        11 => Fault::Cut(at, broker, time),
        12 => Fault::Mute(at, broker, time),
        13 => Fault::Deaf(at, broker, time),
        14 => Fault::Partition(time),
        15 => Fault::Dying(at, broker),
        16 => Fault::Clock(at, [86_400 + 100, -86_500, 300_000_000][prng.below(3) as usize], time),
        17 => Fault::NoNtp(at, time),
        18 => Fault::PullFails(at, time),
        19 => Fault::PullSlow(at, time),
        20 => Fault::NoSpace(at, time),
        21 => Fault::GuestFails(at, time),
        22 => Fault::ByHand(at, time),
        23 => Fault::Lowered(at, time),
        24 => Fault::NoServer(at, time),
        _ => Fault::Flaps(at, time),
    }
}

impl World {
    /// A fault begins, and its end is planned. None lasts longer than until all is made good.
    pub fn go_wrong(&mut self, fault: Fault) {
        self.count(fault.name());
        self.log(|| format!("FAULT {fault:?}"));
        let until = |world: &World, time: u64| (world.now + time).min(world.plan.heal);
        let later = |world: &mut World, time: u64, what: Repair| {
            let time = until(world, time);
            world.repairs.push(what);
            let index = world.repairs.len() - 1;
            world.at(time, Event::Repair(index));
        };
        match fault {
            Fault::PowerCut(at, time) if self.boxes[at].on => {
                self.die(at, true);
                later(self, time, Repair::Boot(at));
            }
            Fault::Shutdown(at, time) if self.boxes[at].on => {
                self.feed(at, Input::Shutdown);
                self.die(at, true);
                later(self, time, Repair::Boot(at));
            }
            Fault::Kill(at) if at < self.boxes.len() && self.boxes[at].core.is_some() => self.die(at, false),
            Fault::Fragile(at, time) => {
                self.boxes[at].fragile = 20;
                later(self, time.min(20 * MINUTE), Repair::Firm(at));
            }
            Fault::BrokerDown(broker, time, wiped) => {
                self.broker_down(broker, wiped);
                later(self, time, Repair::Broker(broker));
            }
            Fault::Lies(broker, lie, time) => {
                self.brokers[broker].lie = Some(lie);
                if lie == Lie::Replay {
                    later(self, time.min(MINUTE), Repair::Replay(broker));
                }
                later(self, time, Repair::Honest(broker));
            }
            Fault::Withholds(broker, at, time) => {
                self.brokers[broker].withholds.push(at);
                later(self, time, Repair::Honest(broker));
            }
            Fault::Cut(at, broker, time) => {
                self.cut(at, broker);
                later(self, time, Repair::Way(at, broker));
            }
            Fault::Mute(at, broker, time) => {
                self.boxes[at].ways[broker].mute = true;
                later(self, time, Repair::Way(at, broker));
            }
            Fault::Deaf(at, broker, time) => {
                self.boxes[at].ways[broker].deaf = true;
                later(self, time, Repair::Way(at, broker));
            }
            Fault::Partition(time) => {
                let brokers = self.brokers.len();
                for at in 0..self.boxes.len() {
                    for broker in (0..brokers).filter(|broker| brokers > 1 && at % brokers != *broker) {
                        self.cut(at, broker);
                        later(self, time, Repair::Way(at, broker));
                    }
                }
            }
            Fault::Dying(at, broker) if self.boxes[at].ways[broker].connected => {
                self.boxes[at].ways[broker].dying = true;
                let epoch = self.boxes[at].ways[broker].epoch;
                self.at(self.now + 30 * SECOND, Event::Noticed { at, broker, epoch });
            }
            Fault::Clock(at, offset, time) => {
                self.boxes[at].offset = offset;
                later(self, time, Repair::Clock(at));
            }
            Fault::NoNtp(at, time) if self.boxes[at].on => {
                self.die(at, true);
                self.boxes[at].synced = false;
                self.boxes[at].offset = -1_790_000_000;
                self.at(self.now + MINUTE, Event::Boot(at));
                later(self, time.max(5 * MINUTE), Repair::Clock(at));
            }
            Fault::PullFails(at, time) => {
                self.boxes[at].pull_fails = true;
                self.boxes[at].images.clear();
                later(self, time, Repair::Machine(at));
            }
            Fault::PullSlow(at, time) => {
                self.boxes[at].pull_time = 20 * MINUTE;
                self.boxes[at].images.clear();
                later(self, time, Repair::Machine(at));
            }
            Fault::NoServer(at, time) => {
                self.boxes[at].pull_fails = true;
                later(self, time, Repair::Machine(at));
            }
            Fault::NoSpace(at, time) => {
                self.boxes[at].no_space = true;
                later(self, time, Repair::Machine(at));
            }
            Fault::GuestFails(at, time) => {
                self.boxes[at].guest_fails = true;
                later(self, time, Repair::Machine(at));
            }
            Fault::ByHand(at, time) => {
                self.by_hand(at, ContainerState::Running, ContainerState::Stopped);
                later(self, time, Repair::ByHand(at));
            }
            Fault::Lowered(at, time) => {
                self.boxes[at].lowered = true;
                for peer in &mut self.boxes[at].settings.peers {
                    peer.containers = 1;
                }
                let settings = self.boxes[at].settings.clone();
                self.feed(at, Input::Settings(settings));
                later(self, time, Repair::Quota(at));
            }
            Fault::Flaps(at, time) => {
                let ends = until(self, time);
                let mut when = self.now;
                while when < ends {
                    let off = self.prng.between(MINUTE, 8 * MINUTE);
                    let on = self.prng.between(2 * MINUTE, 12 * MINUTE);
                    self.repairs.push(Repair::Off(at));
                    self.at(when, Event::Repair(self.repairs.len() - 1));
                    self.repairs.push(Repair::Boot(at));
                    self.at((when + off).min(ends), Event::Repair(self.repairs.len() - 1));
                    when += off + on;
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, at: usize, broker: usize) {
        self.boxes[at].ways[broker].cut = true;
        self.disconnect(at, broker, true);
    }

    fn broker_down(&mut self, broker: usize, wiped: bool) {
        if !self.brokers[broker].up {
            return;
        }
        self.brokers[broker].up = false;
        for at in 0..self.boxes.len() {
            self.disconnect(at, broker, true);
        }
        self.brokers[broker].filters.clear();
        self.brokers[broker].wide.clear();
        if wiped {
            self.brokers[broker].retained.clear();
            self.brokers[broker].older.clear();
        }
    }

    fn by_hand(&mut self, at: usize, from: ContainerState, to: ContainerState) {
        if !self.boxes[at].on {
            return;
        }
        for guest in self.boxes[at].guests.values_mut().filter(|guest| guest.state == from) {
            guest.state = to;
        }
        let containers = self.boxes[at].containers();
        self.feed(at, Input::Containers(&containers));
    }

    pub fn make_good(&mut self, what: Repair) {
        self.log(|| format!("repair {what:?}"));
        match what {
            Repair::Boot(at) => self.boot(at),
            Repair::Off(at) => {
                if self.boxes[at].on {
                    self.die(at, true);
                }
            }
            Repair::Firm(at) => self.boxes[at].fragile = 0,
            Repair::Broker(broker) => self.brokers[broker].up = true,
            Repair::Honest(broker) => {
                self.brokers[broker].lie = None;
                self.brokers[broker].withholds.clear();
                // A broker that lied is found out when it is asked again.
                for at in 0..self.boxes.len() {
                    self.disconnect(at, broker, true);
                }
            }
            Repair::Replay(broker) => {
                if self.brokers[broker].lie == Some(Lie::Replay) && self.brokers[broker].up {
                    for _ in 0..20 {
                        let pick = self.prng.below(self.heard.len() as u64) as usize;
                        if let Some((topic, payload)) = self.heard.get(pick).cloned() {
                            for client in self.brokers[broker].audience(&self.topics, topic) {
                                self.send(broker, client, topic, payload.clone(), false);
                            }
                        }
                    }
                    self.repairs.push(Repair::Replay(broker));
                    let again = self.now + MINUTE;
                    self.at(again, Event::Repair(self.repairs.len() - 1));
                }
            }
            Repair::Way(at, broker) => {
                let way = &mut self.boxes[at].ways[broker];
                let was_wrong = way.mute || way.deaf;
                (way.cut, way.mute, way.deaf) = (false, false, false);
                if was_wrong {
                    self.disconnect(at, broker, true);
                }
            }
            Repair::Clock(at) => {
                self.boxes[at].offset = 0;
                self.boxes[at].synced = true;
                self.feed(at, Input::Tick);
            }
            Repair::Machine(at) => {
                let machine = &mut self.boxes[at];
                (machine.pull_fails, machine.no_space, machine.guest_fails) = (false, false, false);
                machine.pull_time = 5 * SECOND;
            }
            Repair::ByHand(at) => self.by_hand(at, ContainerState::Stopped, ContainerState::Running),
            Repair::Quota(at) => {
                self.boxes[at].lowered = false;
                let room = self.plan.slices as u64 + 2;
                for peer in &mut self.boxes[at].settings.peers {
                    peer.containers = room;
                }
                let settings = self.boxes[at].settings.clone();
                self.feed(at, Input::Settings(settings));
            }
        }
    }
}

/// What is made good.
#[derive(Debug, Clone, Copy)]
pub enum Repair {
    Boot(usize),
    Off(usize),
    Firm(usize),
    Broker(usize),
    Honest(usize),
    Replay(usize),
    Way(usize, usize),
    Clock(usize),
    Machine(usize),
    ByHand(usize),
    Quota(usize),
}
