//! Daemons are killed, at any moment and at any step, while much is under way; what there is afterwards is compared with
//! what was answered. `storage.rs` looks at it without the daemon.
//!
//! Containers are in lanes, one operation at a time in each. What a lane has is known but for the one operation that a
//! kill left without an answer: that is done whole, or not at all.

use crate::bus;
use crate::is_long;
use crate::processes;
use crate::random::Random;
use crate::storage::{self, Guest, Look, Runs, MARKER, WRITER};
use crate::test_box::{self, eventually, is_final, TestBox, PATIENCE};
use openwrt_ubus::client::Client;
use openwrt_ubus::conn::{CallId, Event};
use openwrt_ubus::to_fields;
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Boxes at once, each with a daemon of its own.
const BOXES: usize = 3;
/// Operations in flight at once, in each.
const LANES: usize = 4;
/// How soon the next daemon answers, on a machine that has not more to do than it can.
const ANSWER: Duration = Duration::from_secs(2);
/// How soon after the last job's end nothing is left over, loop devices above all. What is later is counted.
const SETTLED: Duration = Duration::from_secs(1);
/// What is there still then, stays: an end of a namespace may take a while on a busy machine, but not so long.
const LEAKED: Duration = Duration::from_secs(10);
/// When a call is taken for lost.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether a daemon lives.
const LOOK: Duration = Duration::from_millis(5);

/// How many daemons are killed: `KILLS`, or 500, or 10,000 in the long form.
fn wanted() -> usize {
    let told = std::env::var("KILLS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(if is_long() { 10_000 } else { 500 })
}

#[test]
fn whatever_is_killed_nothing_is_lost_risen_half_made_or_left_over() {
    let _turn = test_box::alone();
    let (mut random, seed) = Random::of_environment("random kills");
    let begun = Instant::now();
    let each = wanted().div_ceil(BOXES);
    let seeds: Vec<Random> = (0..BOXES).map(|_| random.fork()).collect();
    let counts: Option<Vec<Count>> = std::thread::scope(|scope| {
        let murder = |random| Some(Murderer::new(TestBox::beside("random kills")?, random).kill(each));
        let threads: Vec<_> = seeds.into_iter().map(|random| scope.spawn(move || murder(random))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let Some(counts) = counts else { return };
    let mut total = Count::default();
    counts.into_iter().for_each(|count| total.add(count));
    let Count {
        kills,
        at_points,
        young,
        answered,
        refused,
        unanswered,
        slowest,
        slow,
        late,
        findings,
        by_kind,
    } = &total;
    println!(
        "{kills} daemons killed ({at_points} at a step, {young} before they answered) in {:?}: {answered} operations \
         answered, {unanswered} not any more, {refused} refused; the slowest next daemon answered after {slowest:?}, \
         {slow} later than {ANSWER:?} (the machine has {:.1} times as much to do as it can); \
         {} times something was left for longer than {SETTLED:?}; {} findings",
        begun.elapsed(),
        processes::crowd(),
        late.len(),
        findings.len()
    );
    println!("operations: {by_kind:?}");
    late.iter().for_each(|late| println!("left for {late}"));
    for finding in findings {
        println!("{finding}");
    }
    assert!(findings.is_empty(), "SEED={seed}: {} findings, above", findings.len());
    assert!(*kills >= wanted());
}

#[derive(Default)]
struct Count {
    kills: usize,
    at_points: usize,
    young: usize,
    answered: usize,
    refused: usize,
    unanswered: usize,
    slowest: Duration,
    /// Daemons that answered later than [`ANSWER`], all the same.
    slow: usize,
    /// What was there longer than [`SETTLED`].
    late: Vec<String>,
    findings: Vec<String>,
    by_kind: BTreeMap<&'static str, usize>,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.kills += other.kills;
        self.at_points += other.at_points;
        self.young += other.young;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.slowest = self.slowest.max(other.slowest);
        self.slow += other.slow;
        self.late.extend(other.late);
        self.findings.extend(other.findings);
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
    }
}

/// What a lane has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    guests: BTreeMap<String, Guest>,
    /// Archives, each with the container that it is one of.
    archives: BTreeMap<String, Guest>,
}

impl State {
    /// Whether this is what there is.
    fn is(&self, other: &State) -> bool {
        let markers = |of: &BTreeMap<String, Guest>| -> Vec<(String, Option<u32>)> {
            of.iter().map(|(name, guest)| (name.clone(), guest.marker)).collect()
        };
        self.guests == other.guests && markers(&self.archives) == markers(&other.archives)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    Create { name: String, guest: Guest },
    Start { name: String },
    Stop { name: String, force: bool },
    Restart { name: String },
    Delete { name: String },
    Snapshot { name: String, snapshot: String },
    SnapshotDelete { name: String, snapshot: String },
    Restore { name: String, snapshot: String },
    Clone { name: String, to: String, snapshot: Option<String> },
    Rename { name: String, to: String },
    Memory { name: String, memory: String },
    Describe { name: String, description: String },
    Export { name: String, archive: String, snapshot: Option<String> },
    Import { archive: String, name: String },
    Mark { name: String, marker: u32 },
    Freeze { name: String },
    Unfreeze { name: String },
}

use Operation as Op;

impl Operation {
    /// The call that asks for it.
    fn call(&self, archives: &std::path::Path) -> (&'static str, Value) {
        let (method, mut arguments) = match self {
            Op::Create { name, guest } => {
                let disk = if guest.disk { "16M" } else { "none" };
                let start = guest.runs == Runs::Running;
                let (memory, description) = (&guest.memory, &guest.description);
                let all = json!({ "name": name, "disk": disk, "start": start, "memory": memory,
                                  "description": description });
                ("create", all)
            }
            Op::Start { name } => ("start", json!({ "name": name })),
            Op::Stop { name, force } => ("stop", json!({ "name": name, "force": force, "timeout": 5 })),
            Op::Restart { name } => ("restart", json!({ "name": name, "timeout": 0 })),
            Op::Delete { name } => ("delete", json!({ "name": name, "force": true })),
            Op::Snapshot { name, snapshot } => ("snapshot", json!({ "name": name, "snapshot": snapshot })),
            Op::SnapshotDelete { name, snapshot } => {
                ("snapshot_delete", json!({ "name": name, "snapshot": snapshot }))
            }
            Op::Restore { name, snapshot } => {
                ("restore", json!({ "name": name, "snapshot": snapshot, "force": true }))
            }
            Op::Clone { name, to, snapshot } => (
                "clone",
                json!({ "name": name, "new_name": to, "snapshot": snapshot.clone().unwrap_or_default() }),
            ),
            Op::Rename { name, to } => return ("rename", json!({ "name": name, "new_name": to })),
            Op::Memory { name, memory } => ("set", json!({ "name": name, "memory": memory })),
            Op::Describe { name, description } => {
                ("set", json!({ "name": name, "description": description }))
            }
            Op::Export { name, archive, snapshot } => {
                let snapshot = snapshot.clone().unwrap_or_default();
                ("export", json!({ "name": name, "path": archives.join(archive), "snapshot": snapshot }))
            }
            Op::Import { archive, name } => {
                ("import", json!({ "name": name, "path": archives.join(archive) }))
            }
            Op::Mark { name, marker } => {
                let script = format!("echo {marker} > {WRITER}; mv {WRITER} /{MARKER}");
                let command = ["/bin/sh", "-c", &script];
                return ("exec", json!({ "name": name, "command": command }));
            }
            Op::Freeze { name } => return ("freeze", json!({ "name": name })),
            Op::Unfreeze { name } => return ("unfreeze", json!({ "name": name })),
        };
        arguments["wait"] = 15.into();
        (method, arguments)
    }

    /// What `state` becomes when it is done.
    fn done(&self, mut state: State) -> State {
        let at = |state: &State, name: &String| state.guests[name].clone();
        let guest = |state: &mut State, name: &String, change: &dyn Fn(&mut Guest)| {
            change(state.guests.get_mut(name).unwrap());
        };
        match self {
            Op::Create { name, guest } => drop(state.guests.insert(name.clone(), guest.clone())),
            Op::Start { name } | Op::Restart { name } | Op::Unfreeze { name } => {
                guest(&mut state, name, &|guest| guest.runs = Runs::Running);
            }
            Op::Stop { name, .. } => guest(&mut state, name, &|guest| guest.runs = Runs::Stopped),
            Op::Freeze { name } => guest(&mut state, name, &|guest| guest.runs = Runs::Frozen),
            Op::Delete { name } => drop(state.guests.remove(name)),
            Op::Snapshot { name, snapshot } => guest(&mut state, name, &|guest| {
                guest.snapshots.insert(snapshot.clone(), guest.marker);
            }),
            Op::SnapshotDelete { name, snapshot } => guest(&mut state, name, &|guest| {
                guest.snapshots.remove(snapshot);
            }),
            Op::Restore { name, snapshot } => guest(&mut state, name, &|guest| {
                guest.marker = guest.snapshots[snapshot];
                if guest.runs == Runs::Frozen {
                    guest.runs = Runs::Running;
                }
            }),
            Op::Clone { name, to, snapshot } => {
                let copy = copy(&at(&state, name), snapshot.as_ref());
                state.guests.insert(to.clone(), copy);
            }
            Op::Rename { name, to } => {
                let guest = state.guests.remove(name).unwrap();
                state.guests.insert(to.clone(), guest);
            }
            Op::Memory { name, memory } => guest(&mut state, name, &|guest| guest.memory.clone_from(memory)),
            Op::Describe { name, description } => {
                guest(&mut state, name, &|guest| guest.description.clone_from(description));
            }
            Op::Export { name, archive, snapshot } => {
                let copy = copy(&at(&state, name), snapshot.as_ref());
                state.archives.insert(archive.clone(), copy);
            }
            Op::Import { archive, name } => {
                let copy = state.archives[archive].clone();
                state.guests.insert(name.clone(), copy);
            }
            Op::Mark { name, marker } => guest(&mut state, name, &|guest| guest.marker = Some(*marker)),
        }
        state
    }

    /// What it may have left besides, where it was killed in the middle.
    fn in_between(&self, state: &State) -> Vec<State> {
        let with = |state: &State, name: &String, runs: Runs| {
            let mut state = state.clone();
            state.guests.get_mut(name).unwrap().runs = runs;
            state
        };
        match self {
            // It is made from its section, which says that it is started.
            Op::Create { name, .. } => [Runs::Stopped, Runs::Running]
                .map(|runs| with(&self.done(state.clone()), name, runs))
                .to_vec(),
            // What was frozen had to go on to end.
            Op::Stop { name, .. } => vec![with(state, name, Runs::Running)],
            // It was stopped and not started again.
            Op::Restart { name } | Op::Restore { name, .. } => {
                let after = self.done(state.clone());
                let mut between = vec![with(state, name, Runs::Stopped), with(&after, name, Runs::Stopped)];
                if state.guests[name].runs == Runs::Frozen {
                    between.push(with(state, name, Runs::Running));
                }
                between
            }
            _ => Vec::new(),
        }
    }

    fn kind(&self) -> &'static str {
        self.call(std::path::Path::new("/")).0
    }
}

/// What is copied of a container is its layer and its section; it does not run.
fn copy(of: &Guest, snapshot: Option<&String>) -> Guest {
    let marker = snapshot.map_or(of.marker, |name| of.snapshots[name]);
    Guest { runs: Runs::Stopped, marker, snapshots: BTreeMap::new(), ..of.clone() }
}

/// One after another.
struct Lane {
    /// What its containers and archives are called.
    names: [String; 2],
    archives: [String; 2],
    /// What it may have: one thing, but for a guest that was told to end and has not, when its daemon was killed.
    may: Vec<State>,
    under_way: Option<(CallId, Operation)>,
    /// What its daemon did not live to answer.
    unanswered: Option<Operation>,
    random: Random,
    number: u32,
}

impl Lane {
    /// The next operation.
    fn next(&mut self) -> Operation {
        self.number += 1;
        let number = self.number;
        let state = self.may[0].clone();
        if let Some(other) = self.may.get(1) {
            let differs = |name: &&String| state.guests.get(*name) != other.guests.get(*name);
            let name = state.guests.keys().find(differs).unwrap().clone();
            return Op::Stop { name, force: true };
        }
        let free: Vec<&String> = self.names.iter().filter(|n| !state.guests.contains_key(*n)).collect();
        let random = &mut self.random;
        let memory = |random: &mut Random| format!("{}M", 40 + random.below(40));
        let known: Vec<(&String, &Guest)> = state.guests.iter().collect();
        if known.is_empty() || (!free.is_empty() && random.chance(12)) {
            let name = (*random.pick(&free)).clone();
            if let (Some(archive), true) = (state.archives.keys().next(), random.chance(40)) {
                return Op::Import { archive: archive.clone(), name };
            }
            let guest = Guest {
                runs: if random.chance(60) { Runs::Running } else { Runs::Stopped },
                disk: random.chance(50),
                memory: memory(random),
                description: format!("d{number}"),
                marker: None,
                snapshots: BTreeMap::new(),
            };
            return Op::Create { name, guest };
        }
        let (name, guest) = *random.pick(&known);
        let name = name.clone();
        let snapshot = guest.snapshots.keys().next().cloned();
        let some_snapshot = snapshot.clone().filter(|_| random.chance(50));
        loop {
            let operation = match random.below(17) {
                0 | 1 if guest.runs == Runs::Stopped => Op::Start { name },
                2 if guest.runs != Runs::Stopped => Op::Stop { name, force: random.chance(50) },
                3 if guest.runs != Runs::Stopped => Op::Restart { name },
                4 | 5 => Op::Delete { name },
                6 if guest.snapshots.len() < 2 => Op::Snapshot { name, snapshot: format!("s{number}") },
                7 => match snapshot {
                    Some(snapshot) => Op::SnapshotDelete { name, snapshot },
                    None => Op::Snapshot { name, snapshot: format!("s{number}") },
                },
                8 => match snapshot {
                    Some(snapshot) => Op::Restore { name, snapshot },
                    None => Op::Snapshot { name, snapshot: format!("s{number}") },
                },
                9 if !free.is_empty() => Op::Clone { name, to: free[0].clone(), snapshot: some_snapshot },
                10 if !free.is_empty() && guest.runs == Runs::Stopped => {
                    Op::Rename { name, to: free[0].clone() }
                }
                11 => Op::Memory { name, memory: memory(random) },
                12 => Op::Describe { name, description: format!("d{number}") },
                13 => match self.archives.iter().find(|archive| !state.archives.contains_key(*archive)) {
                    Some(archive) => Op::Export { name, archive: archive.clone(), snapshot: some_snapshot },
                    None => Op::Describe { name, description: format!("d{number}") },
                },
                14 | 15 if guest.runs == Runs::Running => Op::Mark { name, marker: number },
                16 if guest.runs == Runs::Running => Op::Freeze { name },
                16 if guest.runs == Runs::Frozen => Op::Unfreeze { name },
                _ => continue,
            };
            return operation;
        }
    }

    /// Its operation was answered.
    fn answered(&mut self, operation: &Operation) {
        let mut may = Vec::new();
        for state in &self.may {
            let after = operation.done(state.clone());
            if !may.contains(&after) {
                may.push(after);
            }
        }
        self.may = may;
    }

    /// Its operation will not be answered any more.
    fn leave_unanswered(&mut self, operation: Operation) {
        let mut may = self.may.clone();
        for state in &self.may {
            may.push(operation.done(state.clone()));
            may.extend(operation.in_between(state));
        }
        self.may = may;
        self.unanswered = Some(operation);
    }

    fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.unanswered.is_none()
    }

    /// What there is of this lane.
    fn found(&self, look: &Look) -> State {
        let guests = look.guests.iter().filter(|(name, _)| self.names.contains(name));
        let guests = guests.map(|(name, guest)| (name.clone(), guest.clone())).collect();
        let archives = look.archives.iter().filter(|(name, _)| self.archives.contains(name));
        let told = |name: &String, marker: Option<u32>| {
            let mut known = self.may.iter().filter_map(|state| state.archives.get(name));
            known.rfind(|guest| guest.marker == marker).cloned().unwrap_or(Guest {
                runs: Runs::Stopped,
                disk: false,
                memory: String::new(),
                description: String::new(),
                marker,
                snapshots: BTreeMap::new(),
            })
        };
        let archives = archives.map(|(name, marker)| (name.clone(), told(name, *marker))).collect();
        State { guests, archives }
    }

    /// Why what there is cannot be.
    fn complaint(&self, look: &Look) -> Option<String> {
        let found = self.found(look);
        let fits = self.may.iter().any(|state| state.is(&found));
        (!fits).then(|| {
            format!(
                "there is {found:?}, which is none of {:#?}",
                self.may.iter().map(|s| format!("{s:?}")).collect::<BTreeSet<_>>()
            )
        })
    }

    /// From now on it has what was found.
    fn settle(&mut self, look: &Look) {
        let found = self.found(look);
        self.may = vec![found.clone()];
        if let Some(Op::Stop { name, force: false }) = self.unanswered.take() {
            if found.guests.get(&name).is_some_and(|guest| guest.runs != Runs::Stopped) {
                self.may.push(Op::Stop { name, force: true }.done(found));
            }
        }
    }
}

struct Murderer {
    the_box: TestBox,
    random: Random,
    lanes: Vec<Lane>,
    archives: PathBuf,
    /// Steps at which a daemon can be told to die.
    points: BTreeSet<String>,
    count: Count,
    /// What was asked last, for whoever reads of a finding.
    history: Vec<String>,
}

impl Murderer {
    fn new(the_box: TestBox, mut random: Random) -> Murderer {
        let archives = the_box.dir.join("archives");
        fs::create_dir_all(&archives).unwrap();
        let lane = |number: usize| {
            let letter = char::from(b'a' + number as u8);
            Lane {
                names: [format!("{letter}0"), format!("{letter}1")],
                archives: [format!("{letter}0.tar"), format!("{letter}1.tar")],
                may: vec![State::default()],
                under_way: None,
                unanswered: None,
                random: random.fork(),
                number: 0,
            }
        };
        let lanes = (0..LANES).map(lane).collect();
        Murderer {
            the_box,
            random,
            lanes,
            archives,
            points: BTreeSet::new(),
            count: Count::default(),
            history: Vec::new(),
        }
    }

    /// Kills so many daemons; stops at the first finding.
    fn kill(mut self, number: usize) -> Count {
        while self.count.kills < number && self.count.findings.is_empty() {
            self.live();
            self.take_death();
            self.next_daemon();
            // The next may be killed while it clears up.
            if self.random.chance(15) {
                std::thread::sleep(Duration::from_millis(self.random.below(100) as u64));
                self.take_death();
                self.next_daemon();
            }
            self.check();
        }
        if self.count.findings.is_empty() {
            self.the_box.environment.clear();
            self.the_box.restart_daemon();
            for name in self.the_box.names() {
                self.the_box.delete(&name);
            }
            self.the_box.assert_nothing_left();
            let etc = self.the_box.dir.join("etc");
            eventually("a clean directory of the configuration", || fs::read_dir(&etc).unwrap().count() == 2);
        } else {
            self.tell();
        }
        self.count
    }

    fn is_dead(&self) -> bool {
        !processes::lives(self.the_box.daemon_pid())
    }

    /// Much is asked for, until the daemon's hour has come: some moment behind some answer, however fast the machine is.
    fn live(&mut self) {
        let born = Instant::now();
        let enough = self.count.answered + *self.random.pick(&[0, 0, 1, 2, 3, 5, 8]);
        let moment = Duration::from_micros(self.random.below(100_000) as u64);
        let mut hour: Option<Instant> = None;
        let mut client = Client::connect(self.the_box.socket()).unwrap();
        while hour.is_none_or(|hour| Instant::now() < hour) && !self.is_dead() {
            if hour.is_none() && (self.count.answered >= enough || born.elapsed() > PATIENCE) {
                hour = Some(Instant::now() + moment);
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.is_idle()) {
                // An archive is the test's own.
                if lane.may.len() == 1 && lane.may[0].archives.len() == 2 && lane.random.chance(30) {
                    let (name, _) = lane.may[0].archives.pop_first().unwrap();
                    fs::remove_file(self.archives.join(name)).unwrap();
                }
                let operation = lane.next();
                let (method, arguments) = operation.call(&self.archives);
                let fields = to_fields(&arguments).unwrap();
                let deadline = Instant::now() + PATIENCE;
                let call = client.connection().call("cloudbox.container", method, &fields, deadline);
                self.history.push(format!("{method} {arguments}"));
                *self.count.by_kind.entry(operation.kind()).or_default() += 1;
                lane.under_way = Some((call, operation));
            }
            let look_up = Instant::now() + LOOK;
            let until = hour.map_or(look_up, |hour| hour.min(look_up));
            let Ok(Some(event)) = client.next_event(Some(until)) else { continue };
            if let Event::CallEnded { call, reply, .. } = event {
                self.take_answer(call, &bus::answer(&reply));
            }
        }
    }

    /// One call, unless the daemon dies meanwhile: the bus does not answer for who is dead. Right behind a death it may not
    /// even know of it: what is not answered soon is asked again by the caller.
    fn ask(&self, object: &str, method: &str) -> Option<Value> {
        let mut client = Client::connect(self.the_box.socket()).unwrap();
        let deadline = Instant::now() + ASK_AGAIN;
        let asked = client.connection().call(object, method, &to_fields(&json!({})).unwrap(), deadline);
        while !self.is_dead() && Instant::now() < deadline {
            match client.next_event(Some(Instant::now() + LOOK)) {
                Ok(Some(Event::CallEnded { call, reply, .. })) if call == asked => {
                    return bus::answer(&reply).ok();
                }
                _ => {}
            }
        }
        None
    }

    fn take_answer(&mut self, call: CallId, answer: &bus::Answer) {
        let of_call = |lane: &&mut Lane| lane.under_way.as_ref().is_some_and(|(of, _)| *of == call);
        let Some(lane) = self.lanes.iter_mut().find(of_call) else { return };
        let (_, operation) = lane.under_way.take().unwrap();
        let code = match answer {
            Ok(data) if data["state"] == "failed" => data["error"]["code"].as_str().unwrap_or_default(),
            Ok(data) if operation.kind() == "exec" && data["code"] != 0 => "failed",
            Ok(data) if data.get("state").is_some_and(|state| state != "done") => {
                // Fifteen seconds are more than enough for any of them.
                self.count.findings.push(format!("{operation:?} is not done yet: {data}"));
                return;
            }
            Ok(_) => {
                self.count.answered += 1;
                self.history.push(format!("done: {operation:?}"));
                return lane.answered(&operation);
            }
            // It died before it could.
            Err(refusal) if refusal.code.is_empty() => {
                self.count.unanswered += 1;
                return lane.leave_unanswered(operation);
            }
            Err(refusal) => &refusal.code,
        };
        self.count.refused += 1;
        if code != "busy" {
            self.count.findings.push(format!("{operation:?} was refused: {answer:?}"));
        }
    }

    /// The daemon is dead, or is killed now.
    fn take_death(&mut self) {
        self.count.at_points += usize::from(self.is_dead());
        self.the_box.kill_daemon();
        self.count.kills += 1;
        self.history.push("--- killed".to_string());
        for lane in &mut self.lanes {
            if let Some((_, operation)) = lane.under_way.take() {
                self.count.unanswered += 1;
                lane.leave_unanswered(operation);
            }
        }
        let trace = self.the_box.dir.join("trace");
        self.points.extend(fs::read_to_string(&trace).unwrap_or_default().lines().map(String::from));
        let _ = fs::remove_file(&trace);
    }

    /// Starts the next one and waits until it answers. Some die on the way.
    fn next_daemon(&mut self) {
        loop {
            self.the_box.environment.clear();
            if cfg!(feature = "faults") {
                let trace = self.the_box.dir.join("trace").display().to_string();
                self.the_box.environment.insert("CLOUDBOX_FAULT_TRACE", trace);
                if !self.points.is_empty() && self.random.chance(30) {
                    let points: Vec<&String> = self.points.iter().collect();
                    let fault = format!("kill:{}", self.random.pick(&points));
                    self.history.push(format!("--- the next dies at {fault}"));
                    self.the_box.environment.insert("CLOUDBOX_FAULT", fault);
                }
            }
            let begun = Instant::now();
            self.the_box.launch_daemon();
            let hour = self.random.chance(10).then(|| Duration::from_millis(self.random.below(60) as u64));
            let dies =
                |murderer: &Murderer| murderer.is_dead() || hour.is_some_and(|hour| begun.elapsed() >= hour);
            loop {
                if dies(self) {
                    self.count.young += 1;
                    break self.take_death();
                }
                if self.ask("cloudbox.container", "list").is_some() {
                    let took = begun.elapsed();
                    self.count.slowest = self.count.slowest.max(took);
                    if took > ANSWER {
                        self.count.slow += 1;
                    }
                    if took > ANSWER.mul_f64(processes::crowd()) {
                        self.count.findings.push(format!("the next daemon answers after {took:?}"));
                    }
                    return;
                }
                if begun.elapsed() > PATIENCE {
                    return self.count.findings.push("the next daemon does not answer".to_string());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Waits until no job is at work; a daemon that dies is followed by another one.
    fn quiet(&mut self) {
        let begun = Instant::now();
        loop {
            if self.is_dead() {
                self.take_death();
                self.next_daemon();
            }
            let jobs = self.ask("cloudbox.job", "list").unwrap_or_default();
            if jobs["jobs"].as_array().is_some_and(|jobs| jobs.iter().all(is_final)) {
                return;
            }
            if begun.elapsed() > PATIENCE {
                return self.count.findings.push(format!("jobs do not end: {jobs:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Compares what there is with what was answered.
    fn check(&mut self) {
        self.quiet();
        let begun = Instant::now();
        let mut late: Option<Vec<String>> = None;
        loop {
            let look = storage::look(&self.the_box, &self.archives);
            let mut wrong: Vec<String> = self.lanes.iter().filter_map(|lane| lane.complaint(&look)).collect();
            wrong.extend(look.wrong.iter().cloned());
            if wrong.is_empty() {
                wrong.extend(self.compare_with_list(&look));
            }
            if wrong.is_empty() && !look.writing {
                self.lanes.iter_mut().for_each(|lane| lane.settle(&look));
                self.count.late.extend(late.map(|wrong| format!("{:?}: {wrong:?}", begun.elapsed())));
                return;
            }
            if begun.elapsed() > SETTLED && !look.wrong.is_empty() {
                late.get_or_insert(look.wrong);
            }
            if begun.elapsed() > LEAKED {
                self.count.findings.push(format!("{wrong:#?}"));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the daemon says is what there is.
    fn compare_with_list(&self, look: &Look) -> Option<String> {
        let list = self.ask("cloudbox.container", "list")?;
        let told: BTreeMap<&str, &str> = list["containers"]
            .as_array()?
            .iter()
            .filter_map(|c| Some((c["name"].as_str()?, c["state"].as_str()?)))
            .collect();
        let word = |runs: Runs| match runs {
            Runs::Stopped => "stopped",
            Runs::Running => "running",
            Runs::Frozen => "frozen",
        };
        let is: BTreeMap<&str, &str> =
            look.guests.iter().map(|(name, guest)| (name.as_str(), word(guest.runs))).collect();
        (told != is).then(|| format!("list says {told:?}, and there is {is:?}"))
    }

    /// For whoever reads of a finding.
    fn tell(&mut self) {
        let log = self.the_box.daemon_log();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        let history: Vec<&String> = self.history.iter().rev().take(40).collect();
        let text = format!(
            "after {} kills:\n{}\n--- asked, the last at the end:\n{}\n--- the daemons' last words:\n{}",
            self.count.kills,
            self.count.findings.join("\n"),
            history.iter().rev().map(|line| line.as_str()).collect::<Vec<_>>().join("\n"),
            tail.iter().rev().copied().collect::<Vec<_>>().join("\n")
        );
        self.count.findings = vec![text];
    }
}
