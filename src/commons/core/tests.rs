//! One box by itself, told what a broker could say. Many boxes together are in `tests/commons_sim`.

use super::super::formats::{
    make, Alive, Ask, Cert, Class, Entry, Format, Group, Image, Index, Manifest, MemberState, Mode, OnLoss,
    Renewal, Renewer, Reported, Revoked, Stamp, State, Wish, DAY,
};
use super::super::interface::{ContainerState, Fault, Notice, Peer};
use super::super::label::{container_name, container_slice, Kind};
use super::super::signed::{Ed25519, Parts};
use super::*;
use crate::error::Code;
use crate::usign::{Number, SecretKey};
use sha2::{Digest, Sha256};

const T: u64 = 1_800_000_000;
const MINUTE: u64 = 60;
const HASH: [u8; 32] = [0xab; 32];

fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Number::new([byte; 8]))
}

fn id(byte: u8) -> Id {
    Id::of(&key(byte).public())
}

/// Anna is a peer; the boxes are 1, which is this one, to 4.
const ANNA: u8 = 50;
const BERT: u8 = 51;
const ME: u8 = 1;

fn label(kind: Kind, text: &str) -> Label {
    Label::new(kind, text).unwrap()
}

fn network() -> Label {
    label(Kind::Network, "guifi")
}

fn wiki() -> Label {
    label(Kind::Slice, "wiki")
}

fn peer(byte: u8) -> Peer {
    Peer {
        name: "peer".into(),
        key: key(byte).public(),
        memory: 1 << 30,
        disk: 10 << 30,
        cpus: 4000,
        containers: 4,
        images: vec!["community".into()],
        delegate: true,
        share: 50,
        publish: true,
    }
}

fn settings() -> Settings {
    Settings {
        network: network(),
        zone: label(Kind::Zone, "osona"),
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
        peers: vec![peer(ANNA)],
        deny: vec![],
    }
}

fn group() -> Group {
    Group {
        name: label(Kind::Group, "web"),
        count: 1,
        places: vec![0, 1],
        not: vec![],
        image: Image { alias: "community:distro".into(), sha256: vec![("x86_64".into(), HASH)] },
        memory: 256 << 20,
        disk: 1 << 30,
        cpus: 500,
        pids: None,
        services: vec![],
        publish: vec![],
        authorized_keys: vec![],
        first_boot: None,
        secrets: vec![],
        reset: 0,
        on_loss: OnLoss::Replace,
        grace: 900,
    }
}

/// Anna's wiki on this box, with another as a spare.
fn manifest(serial: u64) -> Manifest {
    Manifest {
        member: id(ANNA),
        slice: wiki(),
        serial,
        prev: None,
        again: None,
        void: vec![],
        via: None,
        wish: Wish::Run,
        boxes: vec![id(ME), id(2)],
        groups: vec![group()],
        seals: vec![],
        renewers: vec![],
        issued: T,
        expires: T + 30 * DAY,
    }
}

fn signed<T: Format>(by: u8, told: &T) -> Vec<u8> {
    make(&Ed25519, &key(by), network(), told).unwrap()
}

/// A box with its broker, daemon and disk played by the test.
struct Bench {
    core: Core,
    now: Now,
    effects: Vec<Effect>,
    disk: Vec<(String, Vec<u8>)>,
    containers: Vec<Container>,
    session: u32,
}

impl Bench {
    fn new() -> Bench {
        Bench::on(Vec::new(), Vec::new(), 1, Now { mono: 1_000_000, wall: T, synced: true }, settings())
    }

    fn on(
        disk: Vec<(String, Vec<u8>)>,
        containers: Vec<Container>,
        session: u32,
        now: Now,
        settings: Settings,
    ) -> Bench {
        let identity = Identity { key: key(ME), session, run: *b"aaaaaaaa", seed: 1 };
        let core = Core::new(identity, Rc::new(Ed25519), disk.clone(), now);
        let mut bench =
            Bench { core, now, effects: Vec::new(), disk, containers: containers.clone(), session };
        bench.feed(Input::Settings(settings));
        bench.feed(Input::Containers(&containers));
        bench
    }

    /// The same box after its power was cut, `seconds` later.
    fn reboot(self, seconds: u64, synced: bool, wall: u64) -> Bench {
        let mut containers = self.containers;
        containers.iter_mut().for_each(|container| container.state = ContainerState::Stopped);
        let now = Now { mono: 5000 + seconds, wall, synced };
        Bench::on(self.disk, containers, self.session + 1, now, settings())
    }

    fn feed(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input);
        while let Some(effect) = self.core.poll() {
            if let Effect::Keep(name, bytes) = &effect {
                self.disk.retain(|(other, _)| other != name);
                self.disk.push((name.clone(), bytes.to_vec()));
            }
            self.effects.push(effect);
        }
    }

    fn connect(&mut self, broker: Broker) {
        self.feed(Input::Connected(broker));
        self.echo(broker);
    }

    /// The broker gives back all that is published, as it does.
    fn echo(&mut self, broker: Broker) {
        loop {
            let at = self
                .effects
                .iter()
                .position(|effect| matches!(effect, Effect::Publish { broker: to, .. } if *to == broker));
            let Some(at) = at else { return };
            let Effect::Publish { topic, payload, .. } = self.effects.remove(at) else { return };
            self.feed(Input::Message { broker, topic: &topic, payload: &payload, retained: false });
        }
    }

    fn hear(&mut self, topic: Topic, payload: &[u8]) {
        self.hear_from(0, topic, payload, false);
    }

    fn hear_from(&mut self, broker: Broker, topic: Topic, payload: &[u8], retained: bool) {
        let topic = topic.text(network());
        self.feed(Input::Message { broker, topic: &topic, payload, retained });
    }

    /// Anna's index says that the wiki lists this box, and the manifest comes.
    fn learn(&mut self, manifest: &Manifest) {
        self.hear(Topic::Index(id(ANNA)), &signed(ANNA, &index(manifest)));
        self.hear(Topic::Slice(id(ANNA), wiki()), &signed(ANNA, manifest));
        self.echo(0);
    }

    /// Time passes, in steps as the core asks for them; of days not all steps are taken.
    fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + seconds * 1000;
        let least = if seconds > 8 * 3600 { seconds * 10 } else { 1 };
        while self.now.mono < end {
            let next = self.core.deadline().unwrap_or(end).clamp((self.now.mono + least).min(end), end);
            // The wall clock has the seconds that the other has.
            self.now.wall = self.now.wall + next / 1000 - self.now.mono / 1000;
            self.now.mono = next;
            self.feed(Input::Tick);
            self.echo(0);
        }
    }

    /// What the daemon is asked to do next; it does it.
    fn work(&mut self) -> Option<Work> {
        self.work_with(Ok(()))
    }

    fn work_with(&mut self, result: Result<(), Fault>) -> Option<Work> {
        let at = self.effects.iter().position(|effect| matches!(effect, Effect::Call(..)))?;
        let Effect::Call(call, work) = self.effects.remove(at) else { return None };
        if result.is_ok() {
            self.carry_out(&work);
        }
        self.feed(Input::Done { call, result });
        let containers = self.containers.clone();
        self.feed(Input::Containers(&containers));
        self.echo(0);
        Some(work)
    }

    fn carry_out(&mut self, work: &Work) {
        let mut set = |name: &str, state| {
            self.containers
                .iter_mut()
                .filter(|container| *container.name == *name)
                .for_each(|container| container.state = state);
        };
        match work {
            Work::Create(birth) => self.containers.push(Container {
                name: birth.name.clone(),
                slice: container_slice(birth.member, birth.slice, birth.group.name).into(),
                state: ContainerState::Running,
                image: Some(birth.image),
                memory: birth.group.memory,
                disk: birth.group.disk,
                cpus: birth.group.cpus,
                address: "10.0.0.7".into(),
                fault: None,
            }),
            Work::Start(name) => set(name, ContainerState::Running),
            Work::Stop(name) => set(name, ContainerState::Stopped),
            Work::Delete(name) => self.containers.retain(|container| container.name != *name),
            _ => {}
        }
    }

    /// Does all that is asked, and says it in words.
    fn all_work(&mut self) -> Vec<&'static str> {
        let mut words = Vec::new();
        while let Some(work) = self.work() {
            words.push(match work {
                Work::Pull { .. } => "pull",
                Work::Create(_) => "create",
                Work::Limit { .. } => "limit",
                Work::Start(_) => "start",
                Work::Stop(_) => "stop",
                Work::Delete(_) => "delete",
            });
        }
        words
    }

    fn state(&self) -> (MemberState, &'static str) {
        let slice = self.core.slices().find(|slice| slice.slice == wiki()).unwrap();
        let member = &slice.members[0];
        (member.state, member.code)
    }

    fn notices(&self) -> Vec<&Notice> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::Notice(notice) = effect { Some(notice) } else { None })
            .collect()
    }

    fn published(&self, topic: Topic) -> usize {
        let text = topic.text(network());
        self.effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Publish { topic, .. } if *topic == text))
            .count()
    }
}

fn index(manifest: &Manifest) -> Index {
    let entry = Entry::new(manifest.slice, manifest.serial, &manifest.boxes);
    let (issued, expires) = (manifest.issued, manifest.issued + 30 * DAY);
    Index { member: id(ANNA), serial: manifest.serial, slices: vec![entry], certs: vec![], issued, expires }
}

fn other_state(of: u8, seq: u32, state: MemberState, applied: u64) -> Vec<u8> {
    let reported = Reported {
        group: group().name,
        state,
        since: T,
        code: "".into(),
        reason: "".into(),
        address: "".into(),
        restored: 0,
    };
    let state = State {
        of: id(of),
        member: id(ANNA),
        slice: wiki(),
        stamp: Stamp { session: 1, seq },
        run: *b"bbbbbbbb",
        seen: applied,
        applied,
        skipped: None,
        twice: false,
        unheard: false,
        groups: vec![reported],
        expires: T + 90 * DAY,
    };
    signed(of, &state)
}

fn other_alive(of: u8, seq: u32, at: u64) -> Vec<u8> {
    signed(
        of,
        &Alive { of: id(of), stamp: Stamp { session: 1, seq }, run: *b"bbbbbbbb", at, back: 0, lost: false },
    )
}

/// One that has made its member.
fn ready() -> Bench {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&manifest(T));
    assert_eq!(bench.all_work(), ["pull", "create"]);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
    bench
}

#[test]
fn one_of_the_first_begins_at_once_and_says_each_step() {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&manifest(T));
    assert_eq!(bench.state().0, MemberState::Pulling);
    bench.work();
    assert_eq!(bench.state().0, MemberState::Creating);
    bench.work();
    assert_eq!(bench.state().0, MemberState::Ready);
    let told: Vec<&str> = bench
        .notices()
        .iter()
        .filter_map(|notice| if let Notice::Member { state, .. } = notice { Some(*state) } else { None })
        .collect();
    assert_eq!(told, ["pulling", "creating", "ready"]);
    // The serial was on the disk before anything was done with it.
    let kept = bench
        .effects
        .iter()
        .position(|effect| matches!(effect, Effect::Keep(name, _) if name.starts_with("slice.")));
    assert!(kept.is_some());
    assert!(bench.core.stands_in(0));
}

/// No filter is wider than one topic, but for who asks this box.
#[test]
fn case_03_nothing_is_asked_for_by_a_wildcard_over_members() {
    let bench = ready();
    let filters: Vec<&String> = bench
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Subscribe(_, filter) = effect { Some(filter) } else { None })
        .collect();
    let wide: Vec<&&String> = filters.iter().filter(|filter| filter.contains(['+', '#'])).collect();
    assert_eq!(wide, [&&format!("cloudbox/1/guifi/ask/{}/+", id(ME))]);
    assert!(filters.len() > 8, "{filters:?}");
    // What nobody asked for is not read.
    let mut bench = bench;
    let strange = Manifest { member: id(BERT), ..manifest(T) };
    bench.hear(Topic::Slice(id(BERT), wiki()), &signed(BERT, &strange));
    assert_eq!(bench.core.slices().count(), 1);
}

/// Nobody's date moves this box' clock: its own alone judges, once NTP has answered.
#[test]
fn case_02_a_date_far_ahead_ends_nothing() {
    let mut bench = ready();
    let far = T + 5 * 365 * DAY;
    let later = Manifest { issued: far, expires: far + DAY, prev: Some(T), ..manifest(far) };
    bench.learn(&later);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
    let wrong = bench
        .notices()
        .iter()
        .any(|notice| matches!(notice, Notice::Wrong { why, .. } if why.contains("48 hours ahead")));
    assert!(wrong);
    // It never counts later, either.
    bench.now.wall = far;
    bench.pass(2 * 3600);
    bench.learn(&later);
    let slice = bench.core.slices().next().unwrap();
    assert_eq!(slice.manifest.serial, T);
}

/// Taken while the clock was not set, such a serial is put aside when it is: the one before counts again.
#[test]
fn what_was_taken_too_far_ahead_without_a_clock_is_put_aside() {
    let mut bench = ready();
    bench.pass(10);
    let mut bench = bench.reboot(0, false, 5);
    bench.connect(0);
    let far = T + 5 * 365 * DAY;
    bench.learn(&Manifest { issued: far, expires: far + DAY, wish: Wish::Stop, ..manifest(far) });
    let serial = |bench: &Bench| bench.core.slices().next().unwrap().manifest.serial;
    assert_eq!(serial(&bench), far);
    bench.now = Now { wall: T + DAY, synced: true, ..bench.now };
    bench.feed(Input::Tick);
    assert_eq!(serial(&bench), T);
    // Also after a reboot.
    let bench = bench.reboot(0, true, T + DAY);
    assert_eq!(serial(&bench), T);
}

/// A deleted slice does not rise by a later serial of a laptop that does not know of it, in whichever order they come.
#[test]
fn case_11_a_tombstone_is_not_undone_but_by_its_serial() {
    let tombstone = Manifest { wish: Wish::Gone, groups: vec![], prev: Some(T), ..manifest(T + 10) };
    let blind = Manifest { prev: Some(T), ..manifest(T + 20) };
    let again = Manifest { again: Some(T + 10), prev: Some(T + 10), ..manifest(T + 30) };
    let next = Manifest { again: Some(T + 10), prev: Some(T + 30), ..manifest(T + 40) };
    for order in [[&tombstone, &blind], [&blind, &tombstone]] {
        let mut bench = ready();
        order.iter().for_each(|manifest| bench.learn(manifest));
        assert_eq!(bench.all_work(), ["stop"]);
        assert_eq!(bench.state().0, MemberState::Gone);
        assert!(bench.core.slices().next().unwrap().manifest.wish == Wish::Gone);
        // Its bytes are what this box gives back to brokers.
        let text = bench.core.text_at(&Topic::Slice(id(ANNA), wiki())).unwrap();
        assert_eq!(**text, *signed(ANNA, &tombstone));
        bench.learn(&again);
        bench.pass(61);
        bench.learn(&tombstone);
        assert_eq!(bench.core.slices().next().unwrap().manifest.serial, T + 30);
    }
    // A tombstone that comes after the slice was called back and changed is an old one.
    let mut bench = ready();
    bench.learn(&next);
    bench.learn(&tombstone);
    assert_eq!(bench.state().0, MemberState::Ready);
}

/// What is deleted can be called back for a week, with its data; then it is removed.
#[test]
fn what_is_deleted_is_kept_for_a_week() {
    let tombstone = Manifest { wish: Wish::Gone, groups: vec![], prev: Some(T), ..manifest(T + 10) };
    let mut bench = ready();
    bench.learn(&tombstone);
    assert_eq!(bench.all_work(), ["stop"]);
    bench.pass(7 * DAY - 600);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(1200);
    assert_eq!(bench.all_work(), ["delete"]);
    // Its state is cleared in the brokers, and its serial is still known.
    let topic = Topic::State(id(ME), id(ANNA), wiki());
    assert!(bench.core.text_at(&topic).is_none_or(|text| text.is_empty()));
    bench.learn(&manifest(T + 5));
    assert_eq!(bench.core.slices().next().unwrap().manifest.serial, T + 10);
}

/// Whoever changes the comment, which nobody signs, has changed nothing.
#[test]
fn case_12_another_comment_is_the_same_text() {
    let mut bench = ready();
    let text = String::from_utf8(signed(ANNA, &manifest(T))).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    bench.hear(Topic::Slice(id(ANNA), wiki()), format!("untrusted comment: x\n{rest}").as_bytes());
    bench.echo(0);
    let slice = bench.core.slices().next().unwrap();
    assert!(!slice.twice);
    // Nor is it repaired: what counts stands there.
    bench.pass(120);
    assert_eq!(bench.published(Topic::Slice(id(ANNA), wiki())), 0);
}

/// Of two texts with one serial all boxes follow the same one, whichever came first, and say that there are two.
#[test]
fn two_texts_with_one_serial_are_told_and_decided_by_their_hash() {
    let (a, b) = (manifest(T), Manifest { expires: T + 20 * DAY, ..manifest(T) });
    let hash = |manifest: &Manifest| -> [u8; 32] {
        Sha256::digest(Parts::of(&signed(ANNA, manifest)).unwrap().message).into()
    };
    let wins = if hash(&a) > hash(&b) { &a } else { &b };
    for order in [[&a, &b], [&b, &a]] {
        let mut bench = Bench::new();
        bench.connect(0);
        order.iter().for_each(|manifest| bench.learn(manifest));
        let slice = bench.core.slices().next().unwrap();
        assert_eq!((&*slice.manifest, slice.twice), (wins, true));
        bench.learn(&Manifest { prev: Some(T), ..manifest(T + 1) });
        assert!(!bench.core.slices().next().unwrap().twice);
    }
}

#[test]
fn a_serial_that_was_skipped_is_told() {
    let mut bench = ready();
    bench.learn(&Manifest { prev: Some(T + 1), ..manifest(T + 2) });
    assert_eq!(bench.core.slices().next().unwrap().skipped, Some(T + 1));
    bench.learn(&Manifest { prev: Some(T + 2), ..manifest(T + 3) });
    assert_eq!(bench.core.slices().next().unwrap().skipped, None);
}

/// A broker that takes nothing is tried ever more seldom: after a minute, two, four, to an hour.
#[test]
fn case_13_a_repair_that_does_not_hold_is_tried_ever_more_seldom() {
    let mut bench = ready();
    let topic = Topic::Slice(id(ANNA), wiki());
    let mut tries = Vec::new();
    let begun = bench.now.mono;
    bench.feed(Input::Connected(1));
    let older = signed(ANNA, &manifest(T - 100));
    while bench.now.mono < begun + 8 * 3600 * 1000 {
        // It says that it has an older one, and gives marks back, and nothing else.
        let next = bench.core.deadline().unwrap().max(bench.now.mono + 1);
        bench.now.wall = bench.now.wall + next / 1000 - bench.now.mono / 1000;
        bench.now.mono = next;
        bench.feed(Input::Tick);
        bench.echo(0);
        let effects = std::mem::take(&mut bench.effects);
        for effect in effects {
            let Effect::Publish { broker: 1, topic: to, payload, .. } = effect else { continue };
            if to == topic.text(network()) {
                tries.push((bench.now.mono - begun) / 1000);
                bench.hear_from(1, topic, &older, false);
                // A closed connection does not make it forget.
                bench.feed(Input::Lost(1));
                bench.feed(Input::Connected(1));
            } else if to.ends_with("/mark") {
                bench.feed(Input::Message { broker: 1, topic: &to, payload: &payload, retained: false });
            }
        }
    }
    let steps: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((10..=16).contains(&tries.len()), "{tries:?}");
    assert!(
        steps.windows(2).all(|pair| pair[1] + 60 >= pair[0]) && steps.iter().all(|step| *step >= 60),
        "{steps:?}"
    );
    assert!(steps.last().is_some_and(|step| (3600..4000).contains(step)), "{steps:?}");
}

/// Of several that hold it only one repairs, if that one does it.
#[test]
fn repair_goes_by_rank() {
    let mut bench = ready();
    let topic = Topic::Slice(id(ANNA), wiki());
    bench.feed(Input::Connected(1));
    bench.echo(1);
    // Nothing stood there. One second is the second rank's time.
    bench.pass(2);
    let by_me = bench.published(topic);
    assert_eq!(by_me, 1);
    bench.effects.clear();
    // Somebody else was first.
    let mut bench = ready();
    bench.feed(Input::Connected(1));
    bench.hear_from(1, topic, &signed(ANNA, &manifest(T)), false);
    bench.echo(1);
    bench.pass(120);
    assert_eq!(bench.published(topic), 0);
}

/// A box was off while its slice ended and was renewed: it takes its data back.
#[test]
fn case_10_what_ended_is_kept_for_a_renewal_that_is_read_later() {
    let mut bench = ready();
    bench.pass(10);
    let end = T + 30 * DAY;
    let mut bench = bench.reboot(0, true, end + 10 * DAY);
    // No broker yet: it is not begun, and nothing is removed.
    bench.pass(600);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.connect(0);
    bench.pass(61);
    assert_eq!(bench.state(), (MemberState::Stopped, "expired"));
    let renewed =
        Manifest { issued: end - DAY, expires: end + 29 * DAY, prev: Some(T), ..manifest(end - DAY) };
    bench.learn(&renewed);
    bench.pass(61);
    assert_eq!(bench.all_work(), ["start"]);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
}

#[test]
fn nothing_ends_before_ntp_has_answered_and_what_ends_is_stopped_after_reading() {
    let mut bench = ready();
    bench.pass(10);
    let mut bench = bench.reboot(0, false, T + 365 * DAY);
    bench.connect(0);
    bench.pass(61);
    assert_eq!(bench.all_work(), ["start"]);
    bench.pass(600);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
    bench.now.synced = true;
    bench.feed(Input::Tick);
    bench.pass(1);
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state(), (MemberState::Stopped, "expired"));
}

/// A clock that has jumped says of nothing that it has ended, nor that it has not.
#[test]
fn a_jump_of_the_clock_ends_nothing_for_an_hour_and_begins_nothing() {
    let mut bench = ready();
    bench.now.wall += 100 * DAY;
    bench.feed(Input::Tick);
    bench.pass(3500);
    assert_eq!(bench.all_work(), [""; 0]);
    assert_eq!(bench.state(), (MemberState::Ready, "expired"));
    bench.pass(200);
    assert_eq!(bench.all_work(), ["stop"]);
    // It has ended; another jump does not bring it back.
    bench.now.wall += 2 * DAY;
    bench.feed(Input::Tick);
    bench.pass(600);
    assert_eq!(bench.all_work(), [""; 0]);
    // The clock was wrong, and is right again.
    bench.now.wall -= 102 * DAY;
    bench.feed(Input::Tick);
    bench.pass(600);
    assert_eq!(bench.all_work(), ["start"]);
}

/// While one call fails the containers may be told for another reason: what the failed one was at is not on its way.
#[test]
fn what_failed_is_not_taken_for_coming() {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&manifest(T));
    bench.work();
    let name = container_name(id(ANNA), wiki(), group().name);
    let option = container_slice(id(ANNA), wiki(), group().name);
    let creating = Container {
        name: name.into(),
        slice: option.into(),
        state: ContainerState::Creating,
        image: None,
        memory: 0,
        disk: 0,
        cpus: 0,
        address: "".into(),
        fault: None,
    };
    bench.feed(Input::Containers(std::slice::from_ref(&creating)));
    bench.work_with(Err(Fault { code: Code::NoSpace, of_box: true, message: "full".into() }));
    assert_eq!(bench.state(), (MemberState::Refused, "no_space"));
}

/// Without any broker what ran is started again a minute later, whatever the clock says.
#[test]
fn a_reboot_without_a_broker_starts_what_ran() {
    let mut bench = ready();
    bench.pass(10);
    let mut bench = bench.reboot(0, false, 5);
    bench.pass(59);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(2);
    assert_eq!(bench.all_work(), ["start"]);
}

/// Two boxes with one key: the later session of another begins and ends nothing here while it is heard.
#[test]
fn case_16_another_box_with_this_key_is_told() {
    let mut bench = Bench::new();
    bench.connect(0);
    let foreign = |session: u32, run: &[u8; 8]| {
        signed(
            ME,
            &Alive { of: id(ME), stamp: Stamp { session, seq: 9 }, run: *run, at: T, back: 0, lost: false },
        )
    };
    // An earlier word of this box is none, nor is one that a broker kept.
    bench.hear(Topic::Alive(id(ME)), &foreign(0, b"zzzzzzzz"));
    bench.hear_from(0, Topic::Alive(id(ME)), &foreign(7, b"zzzzzzzz"), true);
    bench.hear(Topic::Alive(id(ME)), &foreign(1, b"aaaaaaaa"));
    assert!(!bench.notices().contains(&&Notice::Foreign));
    bench.hear(Topic::Alive(id(ME)), &foreign(1, b"zzzzzzzz"));
    assert!(bench.notices().contains(&&Notice::Foreign));
    bench.learn(&manifest(T));
    bench.pass(500);
    assert_eq!(bench.all_work(), ["pull"]);
    assert_eq!(bench.state(), (MemberState::Spare, "foreign"));
    bench.pass(200);
    assert_eq!(bench.all_work(), ["create"]);
}

#[test]
fn whom_nobody_stands_for_is_refused_and_what_he_has_stays_a_while() {
    let mut bench = ready();
    bench.feed(Input::Settings(Settings { peers: vec![], ..settings() }));
    bench.pass(3599);
    assert_eq!(bench.state(), (MemberState::Ready, "unknown_key"));
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(2);
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state(), (MemberState::Refused, "unknown_key"));
    // Its data stays for ever: it is the owner's to remove.
    bench.pass(30 * DAY);
    assert_eq!(bench.all_work(), [""; 0]);
    // Denied is at once.
    let mut bench = ready();
    bench.feed(Input::Settings(Settings { deny: vec![key(ANNA).public()], ..settings() }));
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state(), (MemberState::Refused, "denied"));
}

#[test]
fn a_box_that_is_safe_stops_members_and_takes_none() {
    let mut bench = ready();
    bench.feed(Input::Settings(Settings { mode: Mode::Safe, ..settings() }));
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state(), (MemberState::Refused, "safe"));
    bench.feed(Input::Settings(settings()));
    bench.pass(61);
    assert_eq!(bench.all_work(), ["start"]);
}

/// Without any broker a slice works on this box alone; a broker that comes later is given it.
#[test]
fn what_is_given_here_needs_no_broker() {
    let mut bench = Bench::new();
    let (topic, text) = (Topic::Slice(id(ANNA), wiki()), signed(ANNA, &manifest(T)));
    bench.feed(Input::Given { topic: Topic::Index(id(ANNA)), payload: &signed(ANNA, &index(&manifest(T))) });
    bench.feed(Input::Given { topic, payload: &text });
    assert_eq!(bench.all_work(), ["pull", "create"]);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
    // By nobody whom this box does not know.
    let strange = signed(BERT, &Manifest { member: id(BERT), ..manifest(T) });
    bench.feed(Input::Given { topic: Topic::Slice(id(BERT), wiki()), payload: &strange });
    assert_eq!(bench.core.slices().count(), 1);
    bench.feed(Input::Connected(0));
    bench.pass(2);
    let kept = |name: &str| bench.disk.iter().any(|(file, _)| file.starts_with(name));
    assert!(kept("index.") && kept("slice."));
    assert!(bench.core.stands_in(0));
    let stop = Manifest { wish: Wish::Stop, prev: Some(T), ..manifest(T + 1) };
    bench.feed(Input::Given { topic, payload: &signed(ANNA, &stop) });
    assert_eq!(bench.all_work(), ["stop"]);
}

#[test]
fn what_cannot_be_here_says_why() {
    let with = |change: &dyn Fn(&mut Group)| {
        let mut manifest = manifest(T);
        change(&mut manifest.groups[0]);
        manifest
    };
    for (manifest, code) in [
        (with(&|group| group.image.sha256[0].0 = "riscv".into()), "arch"),
        (with(&|group| group.image.alias = "other:distro".into()), "images"),
        (with(&|group| group.memory = 2 << 30), "quota"),
        (with(&|group| group.disk = 11 << 30), "quota"),
    ] {
        let mut bench = Bench::new();
        bench.connect(0);
        bench.learn(&manifest);
        assert_eq!(bench.all_work(), [""; 0], "{code}");
        assert_eq!(bench.state(), (MemberState::Refused, code));
    }
}

/// What is more than a lowered quota goes after the notice, and does not come back for a day.
#[test]
fn case_28_what_is_too_much_goes_after_the_notice() {
    let mut bench = ready();
    let less = Settings { peers: vec![Peer { memory: 1 << 20, ..peer(ANNA) }], ..settings() };
    bench.feed(Input::Settings(less));
    bench.pass(3500);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(400);
    assert_eq!(bench.all_work(), ["stop"]);
    bench.feed(Input::Settings(settings()));
    bench.pass(23 * 3600);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(2 * 3600);
    assert_eq!(bench.all_work(), ["start"]);
}

#[test]
fn what_the_boxs_owner_stops_stays_stopped() {
    let mut bench = ready();
    bench.containers[0].state = ContainerState::Stopped;
    let containers = bench.containers.clone();
    bench.feed(Input::Containers(&containers));
    assert_eq!(bench.state(), (MemberState::Stopped, "by_owner"));
    bench.pass(3600);
    assert_eq!(bench.all_work(), [""; 0]);
    // Over a reboot, too.
    let mut bench = bench.reboot(0, true, T + 2 * 3600);
    bench.connect(0);
    bench.pass(600);
    assert_eq!(bench.all_work(), [""; 0]);
    assert_eq!(bench.state(), (MemberState::Stopped, "by_owner"));
    bench.containers[0].state = ContainerState::Running;
    let containers = bench.containers.clone();
    bench.feed(Input::Containers(&containers));
    assert_eq!(bench.state(), (MemberState::Ready, ""));
}

#[test]
fn a_fault_of_the_box_gives_the_place_up_and_one_of_the_guest_keeps_it() {
    let fault = |of_box, code| Err(Fault { code, of_box, message: "so it is".into() });
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&manifest(T));
    bench.work_with(fault(true, Code::Failed));
    assert_eq!(bench.state(), (MemberState::Refused, "failed"));
    bench.pass(3590);
    assert_eq!(bench.all_work(), [""; 0]);
    bench.pass(120);
    assert_eq!(bench.all_work(), ["pull", "create"]);
    assert_eq!(bench.state(), (MemberState::Ready, ""));

    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&manifest(T));
    bench.work();
    bench.work_with(fault(false, Code::Failed));
    assert_eq!(bench.state(), (MemberState::Failed, "failed"));
    bench.pass(7200);
    assert_eq!(bench.all_work(), [""; 0]);
    // A new serial is a new chance.
    bench.learn(&Manifest { prev: Some(T), ..manifest(T + 7) });
    assert_eq!(bench.all_work(), ["create"]);
}

#[test]
fn limits_change_live_and_a_new_image_or_reset_makes_anew() {
    let mut bench = ready();
    let mut next = Manifest { prev: Some(T), ..manifest(T + 1) };
    next.groups[0].memory = 128 << 20;
    bench.learn(&next);
    assert_eq!(bench.all_work(), ["limit"]);
    next.groups[0].reset = 1;
    bench.learn(&Manifest { serial: T + 2, ..next.clone() });
    assert_eq!(bench.all_work(), ["stop", "delete", "create"]);
    next.groups[0].image.sha256[0].1 = [1; 32];
    bench.learn(&Manifest { serial: T + 3, ..next.clone() });
    // What runs goes on until the image is here.
    assert_eq!(bench.state().0, MemberState::Ready);
    assert_eq!(bench.all_work(), ["pull", "stop", "delete", "create"]);
}

/// A spare claims when the first is absent, and makes its member; it has had the image since it was accepted.
#[test]
fn case_14_a_spare_has_the_image_before_it_is_due() {
    let mut bench = Bench::new();
    bench.connect(0);
    let spare = Manifest { boxes: vec![id(2), id(ME)], ..manifest(T) };
    bench.learn(&spare);
    assert_eq!(bench.all_work(), ["pull"]);
    bench.hear(Topic::Alive(id(2)), &other_alive(2, 1, T));
    bench.hear(Topic::State(id(2), id(ANNA), wiki()), &other_state(2, 2, MemberState::Ready, T));
    bench.pass(14 * MINUTE);
    assert_eq!(bench.state().0, MemberState::Spare);
    bench.pass(2 * MINUTE);
    assert_eq!(bench.all_work(), ["create"]);
    // The first is back: after ten minutes of it the spare goes.
    for minute in 0..14 {
        bench.hear(Topic::Alive(id(2)), &other_alive(2, 10 + minute, bench.now.wall));
        bench.pass(60);
    }
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state().0, MemberState::Spare);
}

/// A dead box' words that a broker kept, or says again, make it no more alive.
#[test]
fn case_06_kept_words_of_a_dead_box_do_not_make_it_live() {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&Manifest { boxes: vec![id(2), id(ME)], ..manifest(T) });
    bench.all_work();
    bench.hear_from(
        0,
        Topic::State(id(2), id(ANNA), wiki()),
        &other_state(2, 2, MemberState::Ready, T),
        true,
    );
    let old = other_alive(2, 1, T);
    bench.hear(Topic::Alive(id(2)), &old);
    for _ in 0..16 {
        bench.pass(60);
        // At each reconnection, and whenever somebody likes.
        bench.hear_from(0, Topic::Alive(id(2)), &old, true);
        bench.hear(Topic::Alive(id(2)), &old);
    }
    assert_eq!(bench.all_work(), ["create"]);
}

#[test]
fn who_is_vouched_for_is_hosted_until_the_word_is_taken_back() {
    let mut bench = Bench::new();
    bench.connect(0);
    let cert =
        Cert { issuer: id(ANNA), key: key(BERT).public(), share: 50, issued: T, expires: T + 60 * DAY };
    let cert = String::from_utf8(signed(ANNA, &cert)).unwrap();
    let vouches = Index { certs: vec![cert.into()], slices: vec![], ..index(&manifest(T)) };
    bench.hear(Topic::Index(id(ANNA)), &signed(ANNA, &vouches));
    let of_bert = Manifest { member: id(BERT), via: Some(id(ANNA)), ..manifest(T) };
    let listed = Index { member: id(BERT), ..index(&of_bert) };
    bench.hear(Topic::Index(id(BERT)), &signed(BERT, &listed));
    bench.hear(Topic::Slice(id(BERT), wiki()), &signed(BERT, &of_bert));
    bench.echo(0);
    assert_eq!(bench.all_work(), ["pull", "create"]);
    let trust = bench.core.trust();
    let [anna, bert] = [id(ANNA), id(BERT)].map(|id| trust.iter().find(|view| view.id == id).unwrap());
    assert_eq!((anna.used.containers, bert.used.containers, bert.via), (1, 1, Some(id(ANNA))));
    assert_eq!((bert.most.memory, bert.until), (512 << 20, Some(T + 60 * DAY)));
    // After a reboot all of it is known again, from the disk.
    let mut bench = bench.reboot(0, true, T + DAY);
    bench.connect(0);
    bench.pass(61);
    assert_eq!(bench.all_work(), ["start"]);
    let list =
        Revoked { member: id(ANNA), serial: 1, keys: vec![id(BERT)], issued: T, expires: T + 90 * DAY };
    bench.hear(Topic::Revoked(id(ANNA)), &signed(ANNA, &list));
    bench.echo(0);
    assert_eq!(bench.all_work(), ["stop"]);
    assert_eq!(bench.state(), (MemberState::Refused, "revoked"));
}

/// A key that was given up is given up for ever, and nothing that it signs holds any more.
#[test]
fn case_21_who_gives_up_his_key_says_nothing_more() {
    let mut bench = ready();
    let list = |serial: u64, keys: Vec<Id>| {
        signed(ANNA, &Revoked { member: id(ANNA), serial, keys, issued: T, expires: T + 90 * DAY })
    };
    bench.pass(61);
    bench.hear(Topic::Revoked(id(ANNA)), &list(1, vec![id(ANNA)]));
    assert_eq!(bench.all_work(), ["stop"]);
    bench.hear(Topic::Revoked(id(ANNA)), &list(2, vec![]));
    bench.pass(61);
    assert_eq!(bench.all_work(), [""; 0]);
    assert_eq!(bench.state(), (MemberState::Refused, "revoked"));
    // Nor after a reboot before any broker is there.
    let mut bench = bench.reboot(0, true, T + DAY);
    bench.pass(600);
    assert_eq!(bench.all_work(), [""; 0]);
}

#[test]
fn a_box_with_a_certificate_renews_and_others_believe_it() {
    let renewer = |of: u8| {
        let cert = Renewer { member: id(ANNA), slice: wiki(), of: id(of), issued: T, expires: T + 300 * DAY };
        String::from_utf8(signed(ANNA, &cert)).unwrap().into()
    };
    let with = Manifest { renewers: vec![renewer(ME), renewer(2)], ..manifest(T) };
    let mut bench = Bench::new();
    bench.connect(0);
    bench.learn(&with);
    bench.all_work();
    bench.pass(14 * DAY);
    let expires = |bench: &Bench| bench.core.slices().next().unwrap().expires;
    assert_eq!(expires(&bench), T + 30 * DAY);
    bench.pass(2 * DAY);
    let renewed = expires(&bench);
    assert!(renewed > T + 44 * DAY, "{renewed}");
    // It is on the disk.
    let mut bench = bench.reboot(0, true, T + 20 * DAY);
    assert_eq!(expires(&bench), renewed);
    // The other's word counts as well, and nobody else's, nor one for another text.
    bench.connect(0);
    let hash: [u8; 32] = Sha256::digest(Parts::of(&signed(ANNA, &with)).unwrap().message).into();
    let word = |of: u8, manifest: [u8; 32]| {
        let (issued, expires) = (T + 19 * DAY, T + 49 * DAY);
        signed(of, &Renewal { member: id(ANNA), slice: wiki(), manifest, of: id(of), issued, expires })
    };
    for text in [word(3, hash), word(2, [0; 32])] {
        bench.hear(Topic::Renewal(id(ANNA), wiki()), &text);
        assert_eq!(expires(&bench), renewed);
    }
    bench.hear(Topic::Renewal(id(ANNA), wiki()), &word(2, hash));
    assert_eq!(expires(&bench), T + 49 * DAY);
}

#[test]
fn who_asks_is_shown_once_and_answered() {
    let mut bench = Bench::new();
    bench.connect(0);
    let ask = |by: u8, of: u8| {
        let ask = Ask {
            of: id(of),
            member: id(by),
            memory: 1,
            disk: 1,
            cpus: 1,
            containers: 1,
            contact: "anna@…".into(),
            note: "".into(),
            issued: T,
            expires: T + DAY,
        };
        signed(by, &ask)
    };
    bench.hear(Topic::Ask(id(ME), id(60)), &ask(60, ME));
    bench.hear(Topic::Ask(id(ME), id(60)), &ask(60, ME));
    // To somebody else, by somebody else.
    bench.hear(Topic::Ask(id(ME), id(61)), &ask(61, 2));
    bench.hear(Topic::Ask(id(ME), id(61)), &ask(60, ME));
    assert_eq!(bench.core.asks().len(), 1);
    assert_eq!(bench.core.asks()[0].key, key(60).public());
    for byte in 61..=250 {
        bench.hear(Topic::Ask(id(ME), id(byte)), &ask(byte, ME));
    }
    assert_eq!(bench.core.asks().len(), ASKS_MAX);
    bench.feed(Input::Answer { member: id(60), allowed: true, note: "welcome" });
    assert!(bench.core.asks().iter().all(|view| view.ask.member != id(60)));
    assert_eq!(bench.published(Topic::Answer(id(ME), id(60))), 1);
}

/// Of what cannot be read nothing is believed, and nothing breaks.
#[test]
fn nonsense_changes_nothing() {
    let mut bench = ready();
    let before = bench.core.slices().next().unwrap().manifest;
    let topics = [
        Topic::Slice(id(ANNA), wiki()),
        Topic::Index(id(ANNA)),
        Topic::Revoked(id(ANNA)),
        Topic::Alive(id(2)),
        Topic::Alive(id(ME)),
        Topic::State(id(2), id(ANNA), wiki()),
        Topic::State(id(ME), id(ANNA), wiki()),
        Topic::Mark(id(ME)),
        Topic::Ask(id(ME), id(2)),
    ];
    for topic in topics {
        let right = signed(ANNA, &manifest(T + 99));
        for payload in [&b""[..], b"x", &[0xff; 600], &right[..200], &[b' '; 70_000]] {
            bench.hear(topic, payload);
        }
        // Signed by the wrong key, or for something else.
        bench.hear(topic, &signed(BERT, &Manifest { member: id(ANNA), ..manifest(T + 99) }));
        if topic != topics[0] {
            bench.hear(topic, &right);
        }
    }
    assert_eq!(bench.core.slices().next().unwrap().manifest, before);
    assert_eq!(bench.state(), (MemberState::Ready, ""));
    assert_eq!(bench.all_work(), [""; 0]);
}
