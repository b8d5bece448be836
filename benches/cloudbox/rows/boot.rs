//! How long a box takes until everything that starts at boot runs.

use super::say;
use crate::bare::Bare;
use crate::measure::{time, Samples};
use crate::options::Options;
use crate::process::{self, pause, within};
use crate::table::{Bar, Row};
use crate::world::{World, DISTRO, WAIT};
use crate::Result;
use serde_json::{json, Value};
use std::thread;
use std::time::Duration;

/// Containers.
const COUNT: usize = 16;
/// Starts at the same time, while they are made.
const AT_ONCE: usize = 4;
/// Sixteen guests boot, or end, all at once.
const SETTLE: Duration = Duration::from_secs(8);

/// Adds the row.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let mut world = World::new(options, &["distro"])?;
    say(&format!("boot of {COUNT} containers"));
    let names: Vec<String> = (0..COUNT).map(|n| format!("bench-{n}")).collect();
    let create = |(n, name): (usize, &String)| {
        let mut arguments = DISTRO.arguments(name);
        // Four groups, one after another.
        arguments["priority"] = json!(10 * (n % 4));
        arguments
    };
    let create: Vec<Value> = names.iter().enumerate().map(create).collect();
    world.call_many("create", &create, AT_ONCE)?;
    pause(SETTLE)?;
    let bare: Vec<Bare> = names.iter().map(|name| Bare::like(&world, name)).collect::<Result<_>>()?;
    stop_all(&mut world, &names)?;

    let [mut ours, mut theirs] = std::array::from_fn(|_| Samples::default());
    for round in 0..1 + options.rounds() / 5 {
        world.stop_daemon();
        std::fs::remove_file(world.layout().boot_marker())?;
        let (booted, ()) = time(|| {
            world.start_daemon()?;
            all_run(&mut world)
        })?;
        pause(SETTLE)?;
        stop_all(&mut world, &names)?;

        bare.iter().try_for_each(Bare::prepare)?;
        let (started, ()) = time(|| all_at_once(&bare))?;
        pause(SETTLE)?;
        bare.iter().try_for_each(Bare::stop_and_remove)?;
        bare.iter().for_each(Bare::tidy);
        pause(SETTLE)?;
        if round > 0 {
            ours.push(booted);
            theirs.push(started);
        }
    }
    let work = format!("daemon started → all {COUNT} run, distro, 4 priorities");
    done.push(Row::times(&work, &ours, "16 × lxc-start -d at once", &theirs, Some(Bar::TimesAtMost(1.5))));
    drop(bare);
    Ok(())
}

fn stop_all(world: &mut World, names: &[String]) -> Result<()> {
    let stop = |name: &String| json!({ "name": name, "force": true, "wait": WAIT });
    world.call_many("stop", &names.iter().map(stop).collect::<Vec<_>>(), AT_ONCE)?;
    process::reap();
    pause(SETTLE)
}

fn all_run(world: &mut World) -> Result<()> {
    within(60, "every container to run", || {
        let list = world.call("cloudbox.container", "list", &json!({}))?;
        let containers = list["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(containers.len() == COUNT && containers.iter().all(|c| c["state"] == "running"))
    })
}

fn all_at_once(bare: &[Bare]) -> Result<()> {
    thread::scope(|scope| {
        let starts: Vec<_> =
            bare.iter().map(|b| scope.spawn(move || b.start().map_err(|e| e.to_string()))).collect();
        starts.into_iter().try_for_each(|start| Ok(start.join().map_err(|_| "a thread ended")??))
    })
}
