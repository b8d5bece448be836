//! The commons, simulated: boxes, owners and brokers in one process, with all that can go wrong, and what must hold all the
//! same. It runs the core of the program itself.
//!
//!     cargo test --test commons_sim                      a short run
//!     scripts/commons-sim.sh SEEDS                       a long one: a number, or FIRST..LAST
//!
//! A seed that fails is told with the fewest things that must happen for it, and with what was done then.

mod checks;
mod faults;
mod machine;
mod owner;
mod parts;
mod traces;
mod world;

use faults::Kind;
use std::collections::BTreeMap;
use std::time::Instant;
use world::{Plan, World, HOUR};

/// How long the short run may take at most, in seconds, and how many seeds it has.
const SHORT: u64 = 30;
const SEEDS: u64 = 300;

/// Seeds that once failed. They are run first, with those that are asked for.
const OLD: &[u64] = &[75, 125, 1018, 1075, 1550, 1725];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        return println!("commons_sim: test");
    }
    let mut words = args.iter().filter(|arg| !arg.starts_with("--"));
    let said = std::env::var("COMMONS_SIM_SEEDS").ok();
    let first_word = words.next().cloned();
    let is_range = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if first_word.as_ref().is_some_and(|word| !is_range(word) && !"commons_sim".contains(word.as_str())) {
        return println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
    }
    let range = said.or(first_word.filter(is_range));
    let plan = std::env::var("COMMONS_SIM_PLAN").ok().or(words.next().cloned()).unwrap_or_default();
    let kind = match plan.as_str() {
        "model" => Kind::Model,
        "large" => Kind::Large,
        "short" => Kind::Short,
        "" if range.is_none() => Kind::Short,
        _ => Kind::Mixed,
    };
    let (first, last) = match range.as_deref().map(|range| range.split_once("..").unwrap_or(("1", range))) {
        Some((first, last)) => (first.parse().unwrap_or(1), last.parse().unwrap_or(SEEDS)),
        None => (1, SEEDS),
    };
    let begun = Instant::now();
    let wrong = if kind == Kind::Large { 0 } else { traces::run() };
    let mut sums = Sums::default();
    let mut failed = 0;
    let old: &[u64] = if kind == Kind::Mixed { OLD } else { &[] };
    for seed in old.iter().copied().chain(first..=last) {
        if range.is_none() && begun.elapsed().as_secs() > SHORT {
            println!("seeds from {seed} on are left to a long run: make commons-sim");
            break;
        }
        let plan = faults::draw(seed, kind);
        let mut world = World::new(plan.clone(), false);
        world.run();
        if let Some(why) = world.violation.clone() {
            failed += 1;
            println!("seed {seed}: {why}");
            if failed <= 3 {
                explain(plan, &why);
            }
            if failed >= 20 {
                break;
            }
        }
        sums.add(&world);
    }
    sums.print(begun.elapsed().as_secs_f64());
    let seldom = sums
        .seldom(std::env::var("COMMONS_SIM_LEAST").ok().and_then(|least| least.parse().ok()).unwrap_or(0));
    let bad = failed + wrong as u64 + seldom;
    let verdict = if bad == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {} passed; {bad} failed; 0 ignored; 0 measured; 0 filtered out",
        sums.runs - failed
    );
    std::process::exit(i32::from(bad > 0));
}

/// What must happen often in a long run.
const FIRED: &[&str] = &[
    "broker down",
    "broker wiped",
    "broker withholds",
    "broker: comment",
    "broker: forged",
    "broker: nothing",
    "broker: older",
    "broker: replay",
    "clock off",
    "crashed at a step",
    "cut off a broker",
    "dead connection",
    "does not hear",
    "flaps",
    "guest fails",
    "no NTP",
    "no server",
    "no space",
    "not heard",
    "owner: calls back",
    "owner: deletes",
    "owner: new image",
    "owner: renews",
    "owner: revokes",
    "owner: signs a serial twice",
    "owner: signs too far ahead",
    "owner: signs without reading",
    "owner: starts",
    "owner: stops",
    "partition",
    "power cut",
    "process killed",
    "pull fails",
    "pull slow",
    "quota lowered",
    "rule: claimed",
    "rule: data removed",
    "rule: evicted",
    "rule: expired",
    "rule: failed by its guest",
    "rule: gone",
    "rule: not held",
    "rule: refused",
    "rule: refused by quota",
    "rule: repair of a manifest",
    "rule: repair of an index",
    "rule: retires",
    "rule: stopped by the box's owner",
    "rule: told of a wrong text",
    "rule: unheard",
    "rule: warned of the end",
    "shutdown",
    "stopped by hand",
];

/// Leaves out whatever is not needed for it to fail in the same way, and shows the end of what was done.
fn explain(mut plan: Plan, why: &str) {
    let kind = |why: &str| why.split(|c: char| c.is_ascii_digit()).collect::<String>();
    let fails = |plan: &Plan| {
        let mut world = World::new(plan.clone(), false);
        world.run();
        world.violation.is_some_and(|other| kind(&other) == kind(why))
    };
    let mut at = 0;
    while at < plan.happens.len() {
        let mut less = plan.clone();
        less.happens.remove(at);
        if fails(&less) {
            plan = less;
        } else {
            at += 1;
        }
    }
    println!(
        "  {} boxes, {} brokers, count {} and {} spares, latency {} ms",
        plan.boxes, plan.brokers, plan.count, plan.spares, plan.latency
    );
    for (time, what) in &plan.happens {
        println!("  {:>3} min  {what:?}", time / 60_000);
    }
    let mut world = World::new(plan, true);
    world.run();
    let trace = world.trace.unwrap_or_default();
    for line in &trace
        [trace.len().saturating_sub(std::env::var("TRACE").ok().and_then(|n| n.parse().ok()).unwrap_or(60))..]
    {
        println!("    {line}");
    }
}

#[derive(Default)]
struct Sums {
    runs: u64,
    counts: BTreeMap<&'static str, u64>,
    groups: u64,
    below: u64,
    above: u64,
    long_below: u64,
    long_above: u64,
    starts: u64,
    retired: u64,
    messages: u64,
    publishes: u64,
    box_hours: u64,
    virtual_minutes: u64,
}

impl Sums {
    fn add(&mut self, world: &World) {
        self.runs += 1;
        for (name, count) in &world.counts {
            *self.counts.entry(name).or_default() += count;
        }
        for fares in world.fares.values() {
            self.groups += 1;
            self.below += fares.below;
            self.above += fares.above;
            self.long_below += u64::from(fares.longest_below > 45);
            self.long_above += u64::from(fares.longest_above > 120);
        }
        self.starts += world.starts;
        self.retired += world.retired;
        self.messages += world.messages;
        self.publishes += world.publishes;
        self.box_hours += world.plan.boxes as u64 * world.now / HOUR;
        self.virtual_minutes += world.now / 60_000;
    }

    /// What fired less often than `least` is told: nobody knows whether it works.
    fn seldom(&self, least: u64) -> u64 {
        let mut seldom = 0;
        for name in FIRED {
            let count = self.counts.get(name).copied().unwrap_or(0);
            if count < least {
                println!("{name}: {count} times, and {least} are the least");
                seldom += 1;
            }
        }
        seldom
    }

    fn print(&self, seconds: f64) {
        let each = |sum: u64| sum as f64 / self.groups.max(1) as f64;
        println!(
            "{} seeds in {seconds:.1} s, {:.0} virtual minutes a second",
            self.runs,
            self.virtual_minutes as f64 / seconds
        );
        println!(
            "groups {}; below their count {:.1} min each, above {:.1}; below for more than 45 min {}, above for more than 2 h {}",
            self.groups, each(self.below), each(self.above), self.long_below, self.long_above
        );
        println!(
            "starts {:.1} a group, retirements {:.1}; publishes {:.1} a box and hour; {} messages",
            each(self.starts),
            each(self.retired),
            self.publishes as f64 / self.box_hours.max(1) as f64,
            self.messages
        );
        for (name, count) in &self.counts {
            println!("{count:>8}  {name}");
        }
    }
}
