//! Long random lives of a box: whatever is called, fails or is killed in whatever order, what the daemon says agrees
//! with what there is, and in the end everything can be removed without a trace. `WALKS=1000` takes more of them.

use super::*;
use crate::model::job::JobId;
use crate::testing::Numbers;

const NAMES: [&str; 3] = ["a", "b", "c-d"];

/// Calls that may fail once; each is one a disk, a kernel or a lock can really refuse.
const FRAGILE: [&str; 23] = [
    "config.load",
    "config.add_container",
    "config.mark_deleting",
    "config.remove_container",
    "storage.build",
    "storage.record",
    "storage.mount",
    "storage.unmount",
    "storage.write_guest_files",
    "storage.give_name",
    "storage.take_name",
    "storage.erase",
    "storage.save_record",
    "runtime.start",
    "runtime.stop",
    "runtime.after_end",
    "images.mount",
    "images.unmount",
    "config.change",
    "config.rename_container",
    "storage.rename",
    "runtime.set_limits",
    "runtime.freeze",
];

/// Takes one step; what was done is told, for a test that fails.
fn step(bench: &mut Bench, random: &mut Numbers) -> String {
    let name = random.one_of(&NAMES);
    let wait = random.one_of(&[0, 15]);
    let mut call = |method: &str, arguments: Json| {
        let answer = bench.call(method, arguments);
        // Nothing is impossible: no operation may try what cannot be done.
        assert!(!answer.message().contains("impossible"), "{method} {name}: {}", answer.message());
        format!("{method} {name}: {} {}", answer.status, answer.message())
    };
    match random.below(18) {
        0 | 1 => {
            let start = random.below(2) == 0;
            call("cloudbox.container create", json!({"name": name, "start": start, "wait": wait}))
        }
        2 | 3 => call("cloudbox.container start", json!({"name": name, "wait": wait})),
        4 => call("cloudbox.container stop", json!({"name": name, "wait": wait})),
        5 => call("cloudbox.container delete", json!({"name": name, "force": true, "wait": wait})),
        6 => {
            let mut ids: Vec<JobId> = bench.core.state.jobs.iter().map(|job| job.id).collect();
            ids.push(0);
            let id = random.one_of(&ids);
            format!("cancel: {}", bench.call("cloudbox.job cancel", json!({"id": id})).status)
        }
        7 => {
            bench.work();
            let section = name.replace('-', "_");
            bench.fake.change(|world| {
                let kept = world.config.split_inclusive('\n').scan(false, |inside, line| {
                    if line.starts_with("config ") {
                        *inside = line.contains(&format!("'{section}'"));
                    }
                    Some((!*inside).then_some(line))
                });
                world.config = kept.flatten().collect();
            });
            format!("section {section} removed: {}", bench.call("cloudbox reload", json!({})).status)
        }
        8 => format!("reload: {}", bench.call("cloudbox reload", json!({})).status),
        9 => {
            bench.work();
            if bench.fake.world().processes.contains_key(&super::name(name)) {
                match random.below(3) {
                    0 => bench.fake.end(name),
                    1 => bench.fake.crash(name, Some(9)),
                    _ => bench.fake.reboot(name),
                }
                bench.poll_containers();
            }
            format!("{name} ended")
        }
        10 => call("cloudbox.container restart", json!({"name": name, "wait": wait})),
        11 => {
            let method = random.one_of(&["cloudbox.container freeze", "cloudbox.container unfreeze"]);
            call(method, json!({"name": name}))
        }
        12 => {
            let memory = random.one_of(&["12M", "24M", "48M"]);
            call("cloudbox.container set", json!({"name": name, "memory": memory, "wait": wait}))
        }
        13 => {
            let new_name = random.one_of(&NAMES);
            call("cloudbox.container rename", json!({"name": name, "new_name": new_name}))
        }
        14 => {
            bench.pass(Duration::from_secs(600));
            "ten minutes pass".to_string()
        }
        _ => {
            // One at a time: an undo that fails too may leave something, and says so.
            let call = random.one_of(&FRAGILE);
            bench.fake.heal();
            bench.fake.fail(call);
            format!("{call} will fail")
        }
    }
}

/// What the daemon says, and what there is.
fn check(bench: &mut Bench) {
    let world = bench.fake.world();
    let states = bench.states();
    // A delete that could not stop it leaves it running: it is being deleted until that is asked for again.
    let half_gone = |name: &String| states.contains(&format!("{name} deleting"));
    let whole = |names: Vec<&Name>| -> Vec<String> {
        names.into_iter().map(ToString::to_string).filter(|name| !half_gone(name)).collect()
    };
    let running = whole(world.processes.keys().collect());
    let frozen = whole(world.frozen.iter().collect());
    let runs = |s: &String| Some(s.strip_suffix(" running").or(s.strip_suffix(" frozen"))?.to_string());
    assert_eq!(states.iter().filter_map(runs).collect::<Vec<_>>(), running);
    let stands_still = |s: &String| Some(s.strip_suffix(" frozen")?.to_string());
    assert_eq!(states.iter().filter_map(stands_still).collect::<Vec<_>>(), frozen);
    for (name, limits) in &world.limits {
        assert_eq!(Some(limits.0), world.alive[name].record.as_ref().map(|r| r.spec.memory.get()), "{name}");
    }
    for name in world.processes.keys() {
        assert!(world.alive.contains_key(name), "{name} runs from nowhere");
        assert!(world.roots.contains(&("alive", name.clone())), "{name} runs without its root");
        assert_eq!(world.images.len(), 1, "{name} runs without its image");
    }
    let mut ids: Vec<u32> = world
        .alive
        .values()
        .filter_map(|files| files.record.as_ref())
        .map(|record| record.ids.base)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), world.alive.len(), "two containers share their ids");
}

#[test]
fn whatever_happens_the_daemon_tells_the_truth_and_all_can_be_removed() {
    let walks = std::env::var("WALKS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    for seed in 1..=walks {
        let mut random = Numbers(seed);
        let mut slot = Some(Bench::new(CONFIG));
        let mut told = Vec::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..60 {
                let mut bench = slot.take().unwrap();
                if random.below(15) == 0 {
                    bench.work();
                    // An image that cannot be held at the start is unmounted: it is the overlay that keeps it.
                    bench.fake.heal();
                    bench = bench.restarted();
                    told.push("restart of the daemon".into());
                }
                let bench = slot.insert(bench);
                told.push(step(bench, &mut random));
                if number % 4 == 3 {
                    bench.work();
                    check(bench);
                }
            }
            let bench = slot.as_mut().unwrap();
            bench.fake.heal();
            bench.work();
            bench.ok("cloudbox reload", json!({}));
            bench.work();
            for state in bench.states() {
                let name = state.split(' ').next().unwrap().to_string();
                told.push(state);
                bench.ok("cloudbox.container delete", json!({"name": name, "force": true, "wait": 15}));
            }
            let world = bench.fake.world();
            assert_eq!(world.config.trim_end(), CONFIG.trim_end());
            assert!(world.alive.is_empty() && world.processes.is_empty(), "{world:?}");
        }));
        if let Err(panic) = result {
            println!("seed {seed}:\n{}", told.join("\n"));
            std::panic::resume_unwind(panic);
        }
        // What an unmount left behind, the next start clears.
        let clean = Bench::new(CONFIG).fake.world();
        let left = slot.take().unwrap().restarted().fake.world();
        assert_eq!(crate::testing::World { config: clean.config.clone(), ..left }, clean, "seed {seed}");
    }
}
