//! What many running containers cost: their list, the daemon's memory, its wake-ups.

use super::say;
use crate::measure::{time, Samples};
use crate::options::Options;
use crate::process::{self, context_switches, fields, pause, within};
use crate::table::{Bar, Row};
use crate::world::{World, MINI};
use crate::Result;
use serde_json::{json, Value};
use std::time::{Duration, Instant};

/// Containers that the first of each pair of bars is for; the second is for as many as a bridge has ports.
const FEW: usize = 100;
/// Resident memory, in KiB.
const MEMORY_MAX: [u64; 2] = [2048, 6144];
/// A list of many.
const LIST_MAX: Duration = Duration::from_millis(10);
/// Nothing has happened for so long: the guests have settled.
const QUIET: Duration = Duration::from_secs(8);
/// Starts at the same time.
const AT_ONCE: usize = 8;

/// Starts the containers and adds the rows.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let mut world = World::new(options, &["mini"])?;
    say(&format!("starting {} containers", options.count));
    let arguments: Vec<Value> = (1..=options.count).map(|n| MINI.arguments(&format!("bench-{n}"))).collect();
    world.call_many("create", &arguments, AT_ONCE)?;
    process::reap();
    settle(&mut world)?;
    if options.wants("list") {
        say("list");
        list(&mut world, options, done)?;
    }
    if options.wants("memory") {
        memory(&mut world, options, done)?;
    }
    if options.wants("idle") {
        settle(&mut world)?;
        say(&format!("idle for {} s", options.idle().as_secs()));
        idle(&mut world, options, done)?;
    }
    say("removing them");
    Ok(())
}

/// Waits until every guest has its address, and nothing has woken the daemon for a while.
fn settle(world: &mut World) -> Result<()> {
    within(120, "an address for every container", || {
        pause(Duration::from_millis(500))?;
        let list = world.call("cloudbox.container", "list", &json!({}))?;
        let containers = list["containers"].as_array().cloned().unwrap_or_default();
        let has_address = |c: &Value| c["addresses"].as_array().is_some_and(|all| !all.is_empty());
        Ok(containers.iter().all(|c| c["state"] == "running" && has_address(c)))
    })?;
    let daemon = world.daemon()?;
    let (mut last, mut since) = (context_switches(daemon)?, Instant::now());
    let end = Instant::now() + Duration::from_secs(60);
    // A daemon that never falls asleep is a result too.
    while since.elapsed() < QUIET && Instant::now() < end {
        pause(Duration::from_millis(200))?;
        let now = context_switches(daemon)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

fn list(world: &mut World, options: &Options, done: &mut Vec<Row>) -> Result<()> {
    if options.count > FEW {
        return long_list(world, options, done);
    }
    let lxcpath = world.layout().containers();
    let [mut typed, mut called, mut theirs] = std::array::from_fn(|_| Samples::default());
    for round in 0..options.warm_up() + options.rounds() {
        process::go_on()?;
        let (by_command, ()) = time(|| process::run_silent(&mut world.command(&["list"])))?;
        let (by_call, _) = time(|| world.call_encoded("cloudbox.container", "list", &[]))?;
        let mut lxc_ls = process::command("lxc-ls")?;
        lxc_ls.args(["-f", "-P"]).arg(&lxcpath);
        let (by_lxc, ()) = time(|| process::run_silent(&mut lxc_ls))?;
        if round >= options.warm_up() {
            typed.push(by_command);
            called.push(by_call);
            theirs.push(by_lxc);
        }
    }
    let count = options.count;
    let bar = Some(Bar::FasterAtLeast(50.0));
    done.push(Row::times(&format!("`cloudbox list`, {count} running"), &typed, "lxc-ls -f", &theirs, bar));
    done.push(Row::times(&format!("the call `list`, {count} running"), &called, "lxc-ls -f", &theirs, bar));
    Ok(())
}

/// `lxc-ls -f` takes minutes for so many; what is compared with is a time.
fn long_list(world: &mut World, options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let [mut typed, mut called] = std::array::from_fn(|_| Samples::default());
    for round in 0..options.warm_up() + options.rounds() {
        process::go_on()?;
        let (by_command, ()) = time(|| process::run_silent(&mut world.command(&["list"])))?;
        let (by_call, _) = time(|| world.call_encoded("cloudbox.container", "list", &[]))?;
        if round >= options.warm_up() {
            typed.push(by_command);
            called.push(by_call);
        }
    }
    for (what, samples) in [("`cloudbox list`", &typed), ("the call `list`", &called)] {
        let work = format!("{what}, {} running", options.count);
        let met = samples.median() <= LIST_MAX;
        done.push(Row::limit(&work, samples.show(), &format!("≤ {} ms", LIST_MAX.as_millis()), met));
    }
    Ok(())
}

fn memory(world: &mut World, options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let daemon = world.daemon()?;
    let resident = fields(&format!("/proc/{daemon}/status"), &["VmRSS"])?;
    let smaps = format!("/proc/{daemon}/smaps_rollup");
    let (proportional, anonymous) = (fields(&smaps, &["Pss"])?, fields(&smaps, &["Anonymous"])?);
    let figure = format!("{resident} KiB (Pss {proportional}, anonymous {anonymous})");
    let work = format!("resident memory, {} running", options.count);
    let most = MEMORY_MAX[usize::from(options.count > FEW)];
    done.push(Row::limit(&work, figure, &format!("≤ {most} KiB"), resident <= most));
    Ok(())
}

fn idle(world: &mut World, options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let daemon = world.daemon()?;
    let before = context_switches(daemon)?;
    pause(options.idle())?;
    let woken = context_switches(daemon)?.saturating_sub(before);
    let work = format!("wake-ups in {} s, {} running", options.idle().as_secs(), options.count);
    done.push(Row::limit(&work, woken.to_string(), "0", woken == 0));
    Ok(())
}
