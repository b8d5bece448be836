//! A container's life: create → RUNNING, and stop + delete.

use super::say;
use crate::bare::Bare;
use crate::measure::{time, Samples};
use crate::options::Options;
use crate::process::{self, pause};
use crate::table::{Bar, Row};
use crate::world::{Held, Kind, World, DISTRO, MINI, WAIT};
use crate::Result;
use openwrt_ubus::to_fields;
use serde_json::json;
use std::time::Duration;

/// Between two containers: the kernel takes a network namespace apart after its last process is gone.
const REST: Duration = Duration::from_millis(150);

/// One way to make a container and to remove it.
#[derive(Default)]
struct Times {
    create: Samples,
    delete: Samples,
}

/// Adds the rows of both images.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let mut world = World::new(options, &["distro", "mini"])?;
    for kind in [DISTRO, MINI] {
        measure_image(&mut world, options, kind, done)?;
    }
    Ok(())
}

fn measure_image(world: &mut World, options: &Options, kind: Kind, done: &mut Vec<Row>) -> Result<()> {
    let image = kind.image;
    say(&format!("create and delete, {image}"));
    let first = first_of_image(world, options, kind)?;

    // From here on the image is in use, as on a box with more than one container.
    world.call("cloudbox.container", "create", &kind.arguments("keeper"))?;
    world.call("cloudbox.container", "create", &kind.arguments("bench"))?;
    let bare = Bare::like(world, "bench")?;
    world.call("cloudbox.container", "delete", &json!({ "name": "bench", "force": true, "wait": WAIT }))?;
    pause(kind.boot * 2)?;

    let [mut ours, mut theirs, mut quota, mut typed, mut free, mut most] =
        std::array::from_fn(|_| Times::default());
    for round in 0..options.warm_up() + options.rounds() {
        let counts = round >= options.warm_up();
        once(&mut ours, counts, kind, world, by_call(kind), delete_by_call)?;
        bare.prepare()?;
        once(&mut theirs, counts, kind, &mut (), |()| bare.start(), |()| bare.stop_and_remove())?;
        bare.tidy();
        once(&mut quota, counts, kind, world, by_call(kind.with_quota()), delete_by_call)?;
        once(&mut free, counts, kind, world, by_call(kind.held(Held::Free)), delete_by_call)?;
        once(&mut most, counts, kind, world, by_call(kind.held(Held::Most)), delete_by_call)?;
        once(&mut typed, counts, kind, world, |w| create_by_command(w, kind), delete_by_command)?;
    }
    drop(bare);
    world.call("cloudbox.container", "delete", &json!({ "name": "keeper", "force": true, "wait": WAIT }))?;

    if options.wants("create") {
        let row = |what: &str, times: &Samples, bar| {
            let work = format!("create → RUNNING, {image}, {what}");
            Row::times(&work, times, "lxc-start -d", &theirs.create, bar)
        };
        done.push(row("no quota", &ours.create, Some(Bar::TimesAtMost(1.3))));
        done.push(row("1G quota", &quota.create, None));
        done.push(row("not isolated", &free.create, None));
        done.push(row("reach, rate, connections", &most.create, None));
        done.push(row("`cloudbox create`", &typed.create, None));
        done.push(row("first of its image", &first.create, None));
    }
    if options.wants("delete") {
        let row = |what: &str, times: &Samples, bar| {
            let work = format!("stop + delete, {image}, {what}");
            Row::times(&work, times, "lxc-stop -k, umount, rm -r", &theirs.delete, bar)
        };
        done.push(row("no quota", &ours.delete, Some(Bar::TimesAtMost(1.2))));
        done.push(row("1G quota", &quota.delete, None));
        done.push(row("`cloudbox delete`", &typed.delete, None));
        done.push(row("last of its image", &first.delete, None));
    }
    Ok(())
}

/// With the image's own mount and unmount in it.
fn first_of_image(world: &mut World, options: &Options, kind: Kind) -> Result<Times> {
    let mut first = Times::default();
    for round in 0..1 + options.rounds().div_ceil(2) {
        once(&mut first, round > 0, kind, world, by_call(kind), delete_by_call)?;
    }
    Ok(first)
}

/// Creates, lets it boot, deletes, rests. `context` is what both work with.
fn once<C: ?Sized>(
    times: &mut Times,
    counts: bool,
    kind: Kind,
    context: &mut C,
    create: impl FnOnce(&mut C) -> Result<()>,
    delete: impl FnOnce(&mut C) -> Result<()>,
) -> Result<()> {
    process::go_on()?;
    let (created, ()) = time(|| create(context))?;
    pause(kind.boot)?;
    let (deleted, ()) = time(|| delete(context))?;
    if counts {
        times.create.push(created);
        times.delete.push(deleted);
    }
    process::reap();
    pause(REST)
}

fn by_call(kind: Kind) -> impl FnOnce(&mut World) -> Result<()> {
    move |world| {
        let fields = to_fields(&kind.arguments("bench"))?;
        world.call_encoded("cloudbox.container", "create", &fields).map(drop)
    }
}

fn delete_by_call(world: &mut World) -> Result<()> {
    let fields = to_fields(&json!({ "name": "bench", "force": true, "wait": WAIT }))?;
    world.call_encoded("cloudbox.container", "delete", &fields).map(drop)
}

fn create_by_command(world: &mut World, kind: Kind) -> Result<()> {
    let words = ["create", "bench", "--image", kind.image, "--memory", kind.memory, "--disk", "none"];
    process::run_silent(&mut world.command(&words))
}

fn delete_by_command(world: &mut World) -> Result<()> {
    process::run_silent(&mut world.command(&["delete", "bench", "--force"]))
}
