//! What went wrong in the model in which the rules were found, each as a plan of its own, with what it may cost now. The
//! numbers in names are the rows of the list of cases.

use super::world::{Act, Fault, Plan, Planned, World, HOUR, MINUTE};

/// What is known at the end.
pub struct Told {
    /// Minutes for which fewer ran than are wanted, and for which more did.
    pub below: u64,
    pub above: u64,
    pub starts: u64,
}

struct Trace {
    name: &'static str,
    plan: Plan,
    /// The most that it may cost.
    most: Told,
}

fn plan(boxes: usize, brokers: usize, end: u64, happens: Vec<(u64, Fault)>) -> Plan {
    let mut all = vec![(MINUTE, Planned::Act(0, Act::Apply))];
    all.extend(happens.into_iter().map(|(time, fault)| (time, Planned::Fault(fault))));
    Plan {
        seed: 7,
        boxes,
        brokers,
        owners: 1,
        slices: 1,
        count: 3,
        spares: 3,
        latency: 200,
        days: 30,
        vouched: false,
        // Nothing is made good before its time, and nothing is looked at when that is over.
        heal: end,
        end,
        happens: all,
    }
}

/// The boxes as the first slice of the seed lists them: which of them are the first is drawn.
fn listed(seed_plan: &Plan) -> Vec<usize> {
    let mut world = World::new(
        Plan { end: 2 * MINUTE, happens: seed_plan.happens[..1].to_vec(), ..seed_plan.clone() },
        false,
    );
    world.run();
    let manifest = &world.owners[0].slices[0].signed[0].0;
    manifest.boxes.iter().filter_map(|id| world.places.get(id).copied()).collect()
}

fn traces() -> Vec<Trace> {
    let day = 24 * HOUR;
    let first = listed(&plan(6, 2, day, vec![]));
    let [a, b, ..] = first[..] else { return Vec::new() };
    let one = listed(&plan(6, 1, day, vec![]))[0];
    let every = |from: u64, step: u64, fault: Fault| {
        (0..day / step)
            .map(move |at| (from + at * step, fault))
            .filter(move |(time, _)| *time < day)
            .collect::<Vec<_>>()
    };
    let mut traces = Vec::new();
    let mut add = |name, plan, below, above, starts| {
        traces.push(Trace { name, plan, most: Told { below, above, starts } })
    };
    // It was "refused for a day" after 15 minutes, and others and it took turns: 194 starts a day.
    add("a pull of 20 minutes", plan(6, 2, day, vec![(30_000, Fault::PullSlow(a, day))]), 16, 30, 5);
    // It was waited for without an end.
    let silent = vec![(30_000, Fault::Withholds(0, a, day)), (30_000, Fault::Withholds(1, a, day))];
    add("one of the first lives and says nothing", plan(6, 2, day, silent), 5, 0, 4);
    // Nobody was ever settled: 865 minutes a day below.
    let broker = every(20 * MINUTE, 18 * MINUTE, Fault::BrokerDown(0, 6 * MINUTE, false));
    let mut ups = broker.clone();
    ups.push((5 * HOUR, Fault::PowerCut(one, day)));
    add("a broker that is 12 minutes up and 6 down", plan(6, 1, day, ups), 45, 60, 8);
    // Each came back to its place and was too many: 2.5 starts a day.
    let nights: Vec<(u64, Fault)> =
        [(16 * HOUR, Fault::PowerCut(a, 8 * HOUR)), (16 * HOUR, Fault::PowerCut(b, 8 * HOUR))].to_vec();
    add("two boxes are off at night", plan(6, 2, 2 * day, nights), 20, 30, 7);
    // One broker kept that it is ready: 586 minutes below.
    let refused = vec![(HOUR, Fault::Mute(a, 1, 10 * HOUR)), (2 * HOUR, Fault::ByHand(a, 8 * HOUR))];
    add("a refusal reaches one broker, and the other keeps 'ready'", plan(6, 2, 10 * HOUR, refused), 3, 1, 4);
    // Four of three for ever, or two.
    let lost = vec![(2 * HOUR, Fault::Dying(one, 0)), (2 * HOUR + 1000, Fault::ByHand(one, 6 * HOUR))];
    add("a state whose publish was lost", plan(6, 1, 8 * HOUR, lost), 3, 1, 4);
    // "A box before it", read by its letters: one that died started all spares.
    add("one of the first dies", plan(6, 2, day, vec![(2 * HOUR, Fault::PowerCut(a, day))]), 17, 0, 4);
    // Nobody was there for longer than the grace, and the first who came back saw nobody: 9.4 of 20 were made twice.
    let both = vec![
        (2 * HOUR, Fault::BrokerDown(0, 40 * MINUTE, false)),
        (2 * HOUR, Fault::BrokerDown(1, 40 * MINUTE, false)),
    ];
    add("case 7: all brokers are away for longer than the grace", plan(6, 2, 8 * HOUR, both), 0, 0, 3);
    // Brokers that come back with nothing are told everything by the boxes.
    let wiped = vec![
        (2 * HOUR, Fault::BrokerDown(0, MINUTE, true)),
        (2 * HOUR, Fault::BrokerDown(1, MINUTE, true)),
        (3 * HOUR, Fault::PowerCut(a, day)),
    ];
    add("wiped brokers, and one of the first dies", plan(6, 2, day, wiped), 17, 0, 4);
    // It is alive and nobody hears it: it is replaced, and goes.
    let mute = vec![(2 * HOUR, Fault::Mute(a, 0, 6 * HOUR)), (2 * HOUR, Fault::Mute(a, 1, 6 * HOUR))];
    add("case 8: one hears and is not heard", plan(6, 2, 8 * HOUR, mute), 2, 45, 5);
    // A fault of the guest is one everywhere.
    let crash: Vec<(u64, Fault)> = (0..6).map(|at| (30_000, Fault::GuestFails(at, day))).collect();
    add("case 5: a guest that crashes burns no spare", plan(6, 2, 4 * HOUR, crash), 240, 0, 0);
    // The image's server is gone when it is needed.
    let gone: Vec<(u64, Fault)> = (0..6)
        .map(|at| (HOUR, Fault::NoServer(at, day)))
        .chain([(2 * HOUR, Fault::PowerCut(a, day))])
        .collect();
    add("case 14: the image's server is gone", plan(6, 2, 8 * HOUR, gone), 17, 0, 4);
    traces
}

/// Runs them. What went wrong is told, and how many.
pub fn run() -> usize {
    let mut failed = 0;
    for trace in traces() {
        let mut world = World::new(trace.plan.clone(), std::env::var("TRACE").is_ok());
        world.run();
        let fares = world.fares.values().next().copied().unwrap_or_default();
        let told = Told { below: fares.below, above: fares.above, starts: world.starts };
        let most = &trace.most;
        // Where guests crash none ever runs.
        let runs = most.starts == 0 || (fares.placed && fares.below_now == 0);
        let good = runs && told.below <= most.below && told.above <= most.above && told.starts <= most.starts;
        let verdict = if good && world.violation.is_none() { "ok" } else { "FAILED" };
        println!(
            "trace {}: below {} min (at most {}), above {} ({}), starts {} ({}) ... {verdict}",
            trace.name, told.below, most.below, told.above, most.above, told.starts, most.starts
        );
        if verdict != "ok" {
            failed += 1;
            println!("  {}", world.violation.clone().unwrap_or_default());
            for line in world.trace.iter().flatten().take(80) {
                println!("    {line}");
            }
        }
    }
    failed
}
