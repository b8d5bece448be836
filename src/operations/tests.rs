//! Operations on a box in memory: every call fails once, every step is cancelled once, and the world must show it.

mod copies;

use super::ended::Outcome;
use super::{Adopt, Create, Delete, Ended, Operation, Prune, Rename, Restart, Set, Start, Stop, TakeOver};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::idrange::IdRange;
use crate::model::image::{Image, Init};
use crate::model::life::REBOOTS;
use crate::model::name::{ImageName, Name};
use crate::model::options::OptionValues;
use crate::model::secrets::Secrets;
use crate::model::service::ServiceOptions;
use crate::model::size::{Bytes, Cpus};
use crate::model::spec::Defaults;
use crate::state::Made;
use crate::steps::ctx::{Cancel, Ctx, Update};
use crate::steps::lxc::{self, Foreign};
use crate::steps::storage::Record;
use crate::testing::image;
use crate::testing::{FakeBox, Files, When, World};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONFIG: &str = "# mine\nconfig cloudbox 'main'\n\toption enabled '1'\n";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn distro() -> Image {
    image(&"ab".repeat(32), &["distro"])
}

fn said() -> OptionValues {
    let mut said = OptionValues::default();
    said.put("memory", "64M");
    said.put("address", "10.0.0.7/24");
    said.put("authorized_keys", "ssh-ed25519 AAAA me");
    said
}

fn record(of: &str) -> Box<Record> {
    let defaults = Defaults {
        image: ImageName::new("distro").unwrap(),
        bridge: "br-lan".into(),
        memory: Bytes(512 << 20),
        cpus: Cpus(1000),
        disk: Some(Bytes(1 << 30)),
        pids: 512,
    };
    Box::new(Record {
        name: name(of),
        was: Vec::new(),
        spec: said().resolve(&defaults).unwrap(),
        said: None,
        image_sha256: distro().manifest.sha256,
        init: Init::Systemd,
        ids: IdRange { base: 0x7000_0000 },
        mac: "02:00:00:00:00:01".into(),
        veth: "cb0000000001".into(),
        created: 1_700_000_000,
    })
}

/// A box with the machine that works on it.
struct Bench {
    fake: FakeBox,
    machine: Machine,
}

impl Bench {
    fn new() -> Bench {
        let fake = FakeBox::new(vec![distro()]);
        fake.change(|world| world.config = CONFIG.into());
        let machine = fake.machine();
        Bench { fake, machine }
    }

    fn with_container(self, of: &str, running: bool) -> Bench {
        let what = Create {
            record: record(of),
            pull: None,
            section: Some(said()),
            start: running,
            secrets: Secrets::default(),
            services: Vec::new(),
        };
        run_now(&self, what).unwrap();
        self
    }
}

/// An operation, with what there must be before it.
struct Case {
    title: &'static str,
    before: fn() -> Bench,
    run: fn(&Machine, &Ctx) -> Result<()>,
    /// What it has changed when it failed; nothing, for most.
    failed: Failed,
}

#[derive(Clone, Copy, PartialEq)]
enum Failed {
    /// All is as it was.
    Whole,
    /// It is half done, and doing it again does the rest.
    Resumable,
    /// All is as it was, or the layer is that of the snapshot, and doing it again does the rest.
    Restored,
}

fn run(machine: &Machine, ctx: &Ctx, mut operation: impl Operation) -> Result<()> {
    operation.run(machine, ctx).map(drop)
}

fn run_now<O: Operation>(bench: &Bench, mut operation: O) -> Result<O::Found> {
    operation.run(&bench.machine, &Ctx::silent().unwrap())
}

fn to_start(record: Box<Record>, before: Option<Box<Record>>) -> Start {
    Start { record, before }
}

fn to_stop(how: lxc::Stop) -> Stop {
    Stop { name: name("web"), init: Init::Systemd, how }
}

fn to_delete(init: Init) -> Delete {
    Delete { name: name("web"), init, section: super::delete::Section::Untouched }
}

fn to_rename(record: Box<Record>, from: &str, to: &str) -> Rename {
    Rename { record, name: name(from), new_name: name(to), recorded: Default::default() }
}

const CASES: [Case; 25] = [
    Case {
        title: "create and start",
        before: Bench::new,
        run: |machine, ctx| run(machine, ctx, to_create(true, true)),
        failed: Failed::Whole,
    },
    Case {
        title: "create",
        before: Bench::new,
        run: |machine, ctx| run(machine, ctx, to_create(true, false)),
        failed: Failed::Whole,
    },
    Case {
        title: "create and start from a section",
        before: with_section,
        run: |machine, ctx| run(machine, ctx, to_create(false, true)),
        failed: Failed::Whole,
    },
    Case {
        title: "create without a quota, beside one that shares the image",
        before: || Bench::new().with_container("other", true),
        run: |machine, ctx| {
            let mut what = to_create(true, true);
            what.record.spec.disk = None;
            run(machine, ctx, what)
        },
        failed: Failed::Whole,
    },
    Case {
        title: "start",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_start(record("web"), None)),
        failed: Failed::Whole,
    },
    Case {
        title: "start with a changed record",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_start(changed_record(), Some(record("web")))),
        failed: Failed::Whole,
    },
    Case {
        title: "stop",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, to_stop(lxc::Stop::Ask(Duration::from_secs(30)))),
        failed: Failed::Resumable,
    },
    Case {
        title: "kill, beside one that shares the image",
        before: || Bench::new().with_container("web", true).with_container("other", true),
        run: |machine, ctx| run(machine, ctx, to_stop(lxc::Stop::Kill)),
        failed: Failed::Resumable,
    },
    Case {
        title: "stop what is stopped",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_stop(lxc::Stop::Kill)),
        failed: Failed::Resumable,
    },
    Case {
        title: "delete",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_delete(Init::Systemd)),
        failed: Failed::Resumable,
    },
    Case {
        title: "delete what runs",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, to_delete(Init::Systemd)),
        failed: Failed::Resumable,
    },
    Case {
        title: "delete what was never made",
        before: with_section,
        run: |machine, ctx| run(machine, ctx, to_delete(Init::Other)),
        failed: Failed::Resumable,
    },
    Case {
        title: "an end",
        before: || {
            let bench = Bench::new().with_container("web", true);
            bench.fake.end("web");
            bench
        },
        run: |machine, ctx| run(machine, ctx, Ended { record: record("web"), reboots: 0 }),
        failed: Failed::Resumable,
    },
    Case {
        title: "a reboot too many",
        before: || {
            let bench = Bench::new().with_container("web", true);
            bench.fake.reboot("web");
            bench
        },
        run: |machine, ctx| run(machine, ctx, Ended { record: record("web"), reboots: REBOOTS }),
        failed: Failed::Resumable,
    },
    Case {
        title: "restart",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| {
            let start = to_start(changed_record(), Some(record("web")));
            run(machine, ctx, Restart { start, how: lxc::Stop::Kill })
        },
        failed: Failed::Resumable,
    },
    Case {
        title: "restart of what is stopped",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| {
            let start = to_start(record("web"), None);
            run(machine, ctx, Restart { start, how: lxc::Stop::Kill })
        },
        failed: Failed::Resumable,
    },
    Case {
        title: "rename",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_rename(record("web"), "web", "www")),
        failed: Failed::Whole,
    },
    Case {
        title: "rename that goes on behind a crash",
        before: || {
            let bench = Bench::new().with_container("web", false);
            bench.machine.config.change(&name("web"), &[("renaming", Some("www".into()))]).unwrap();
            bench.machine.storage.rename(&name("web"), &name("www")).unwrap();
            bench
        },
        run: |machine, ctx| {
            let record = record("web").called(&name("www"));
            run(machine, ctx, to_rename(Box::new(record), "web", "www"))
        },
        failed: Failed::Resumable,
    },
    Case {
        title: "set of one that runs",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, to_set(true)),
        failed: Failed::Whole,
    },
    Case {
        title: "set of one that does not run",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_set(false)),
        failed: Failed::Whole,
    },
    Case {
        title: "set by a reload",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, Set { changes: Vec::new(), ..to_set(true) }),
        failed: Failed::Whole,
    },
    Case {
        title: "adopt an orphan",
        before: orphan,
        run: |machine, ctx| run(machine, ctx, Adopt { name: name("web"), spec: record("web").spec }),
        failed: Failed::Whole,
    },
    Case {
        title: "take over what another tool made",
        before: Bench::new,
        run: |machine, ctx| {
            let foreign = Foreign { name: "web".into(), lxcpath: "/srv/lxc".into(), running: false };
            let mut record = record("web");
            record.spec.image = ImageName::new("adopted-web").unwrap();
            run(machine, ctx, TakeOver { foreign, record, section: said() })
        },
        failed: Failed::Whole,
    },
    Case {
        title: "prune what was left",
        before: || {
            let bench = Bench::new();
            let nothing = Files::default;
            bench.fake.change(|world| drop(world.unborn.insert(name("web"), nothing())));
            bench.fake.change(|world| drop(world.dead.insert(name("web"), nothing())));
            bench
        },
        run: |machine, ctx| run(machine, ctx, Prune(name("web"))),
        failed: Failed::Resumable,
    },
    Case {
        title: "create and start with secrets and services",
        before: Bench::new,
        run: |machine, ctx| {
            let mut what = to_create(true, true);
            what.secrets.add("db", b"x".to_vec())?;
            for line in ["_http._tcp 80 Our wiki", "_ssh._tcp 22"] {
                let said = ServiceOptions::of_line(&name("web"), line);
                let id = format!("web_{}", what.services.len());
                what.services.push((said.resolve(&id)?, said));
            }
            run(machine, ctx, what)
        },
        failed: Failed::Whole,
    },
];

fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(&copies::CASES)
}

fn to_set(running: bool) -> Set {
    let mut spec = changed_record().spec;
    spec.disk = Some(Bytes(2 << 30));
    spec.address = crate::model::address::Address::Dhcp;
    let changes = vec![("memory", Some("128M".into())), ("disk", Some("2G".into())), ("slice", None)];
    Set { name: name("web"), spec, before: None, changes, record: Some(record("web")), running }
}

fn to_create(with_section: bool, start: bool) -> Create {
    Create {
        record: record("web"),
        pull: None,
        section: with_section.then(said),
        start,
        secrets: Secrets::default(),
        services: Vec::new(),
    }
}

fn orphan() -> Bench {
    let bench = Bench::new().with_container("web", false);
    bench.fake.change(|world| world.config = CONFIG.into());
    bench
}

fn with_section() -> Bench {
    let bench = Bench::new();
    bench.fake.change(|world| world.config.push_str("\nconfig container 'web'\n\toption memory '64M'\n"));
    bench
}

fn changed_record() -> Box<Record> {
    let mut record = record("web");
    record.spec.memory = Bytes(128 << 20);
    record
}

/// Calls that are done whole or not at all by what their traits promise, so that none of them fails late.
fn is_whole_or_nothing(call: &str) -> bool {
    let call = call.split(' ').next().unwrap();
    [
        "config.add_container",
        "config.change",
        "images.mount",
        "storage.mount",
        "storage.give_name",
        "runtime.start",
        "runtime.open_foreign",
        "images.pack",
    ]
    .contains(&call)
        || ["storage.name_export", "images.import_part", "images.file"].contains(&call)
        || ["storage.give_snapshot_name", "storage.exchange_layer", "runtime.freeze"].contains(&call)
        || call.starts_with("network.")
}

/// Calls that let a container go on. When the kernel refuses, only trying again helps.
fn lets_go(call: &str) -> bool {
    ["runtime.thaw", "storage.let_layer_go", "storage.forget_held"]
        .iter()
        .any(|lets_go| call.starts_with(lets_go))
}

/// Either nothing has changed, or the layer of web is that of its snapshot.
fn assert_restored_or(before: &World, after: &World, at: &str) {
    if after.alive[&name("web")].layer == 1 {
        assert_eq!(after.snapshots, before.snapshots, "{at}");
    } else {
        assert_eq!(but_pids(after.clone()), but_pids(before.clone()), "{at}");
    }
}

/// The names of the calls a case makes, and the world it ends with.
fn rehearse(case: &Case) -> (usize, Vec<String>, World) {
    let bench = (case.before)();
    let first = bench.fake.calls().len();
    (case.run)(&bench.machine, &Ctx::silent().unwrap()).unwrap_or_else(|e| panic!("{}: {e}", case.title));
    (first, bench.fake.calls().split_off(first), bench.fake.world())
}

#[test]
fn what_fails_at_any_call_says_so_and_leaves_nothing_half() {
    let mut tried = 0;
    for case in cases() {
        let (first, calls, goal) = rehearse(case);
        for when in [When::Before, When::After] {
            for (k, call) in calls.iter().enumerate() {
                if when == When::After && is_whole_or_nothing(call) {
                    continue;
                }
                tried += 1;
                let at = format!("{}: {call} fails, {when:?} its work", case.title);
                let bench = (case.before)();
                let before = bench.fake.world();
                bench.fake.fail_at(first + k, when);
                let result = (case.run)(&bench.machine, &Ctx::silent().unwrap());
                if call == "network.watch" || call.starts_with("storage.write_guest_label") {
                    // A container whose addresses cannot be watched, or whose avahi is not named, runs all the same.
                    assert_eq!(result, Ok(()), "{at}");
                    continue;
                }
                let error = result.expect_err(&at);
                assert_eq!(error.message, format!("injected failure of {call}"), "{at}");
                let after = bench.fake.world();
                match case.failed {
                    Failed::Whole if lets_go(call) => {}
                    Failed::Whole => assert_eq!(after, before, "{at}"),
                    Failed::Resumable => {}
                    Failed::Restored => assert_restored_or(&before, &after, &at),
                }
                (case.run)(&bench.machine, &Ctx::silent().unwrap())
                    .unwrap_or_else(|e| panic!("{at}; done again: {e}"));
                assert_eq!(but_pids(bench.fake.world()), but_pids(goal.clone()), "{at}; done again");
            }
        }
    }
    println!("{tried} failures");
}

/// A world whose processes are numbered anew: a second start has other pids than a first.
fn but_pids(mut world: World) -> World {
    for (pid, init) in world.processes.values_mut().enumerate() {
        *init = pid as i32;
    }
    world
}

/// The steps that a case reports.
fn steps(case: &Case) -> usize {
    let bench = (case.before)();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let ctx = Ctx::new(Cancel::new().unwrap(), move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (case.run)(&bench.machine, &ctx).unwrap();
    count.load(Ordering::Relaxed)
}

/// What a case that was cancelled has come to: all or nothing, as far as a cancelled one promises that.
fn check_cancelled(case: &Case, at: &str, before: &World, goal: &World, bench: &Bench, result: Result<()>) {
    let after = bench.fake.world();
    match (result, case.failed) {
        (Ok(()), _) => assert_eq!(but_pids(after), but_pids(goal.clone()), "{at}"),
        (Err(error), failed) => {
            assert_eq!(error.code, Code::Cancelled, "{at}: {error}");
            assert!(!error.message.contains("cleaning up"), "{at}: {error}");
            match failed {
                Failed::Whole => assert_eq!(&after, before, "{at}"),
                Failed::Restored => assert_restored_or(before, &after, at),
                Failed::Resumable => {
                    (case.run)(&bench.machine, &Ctx::silent().unwrap()).unwrap();
                    assert_eq!(but_pids(bench.fake.world()), but_pids(goal.clone()), "{at}; done again");
                }
            }
        }
    }
}

#[test]
fn a_cancel_at_any_step_is_heard_whole_or_not_at_all() {
    for case in cases() {
        let (_, _, goal) = rehearse(case);
        for step in 0..=steps(case) {
            let at = format!("{}: cancelled at step {step}", case.title);
            let bench = (case.before)();
            let before = bench.fake.world();
            let cancel = Cancel::new().unwrap();
            if step == 0 {
                cancel.cancel();
            }
            let (left, token) = (AtomicUsize::new(step), cancel.clone());
            let ctx = Ctx::new(cancel, move |update| {
                if update == Update::Runs {
                    return;
                }
                assert!(matches!(update, Update::Step(_)));
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    token.cancel();
                }
            });
            let result = (case.run)(&bench.machine, &ctx);
            check_cancelled(case, &at, &before, &goal, &bench, result);
        }
    }
}

#[test]
fn a_cancel_during_any_call_is_heard_whole_or_not_at_all() {
    for case in cases() {
        let (first, calls, goal) = rehearse(case);
        for (k, call) in calls.iter().enumerate() {
            let at = format!("{}: cancelled during {call}", case.title);
            let bench = (case.before)();
            let before = bench.fake.world();
            let ctx = Ctx::silent().unwrap();
            bench.fake.cancel_at(first + k, &ctx.cancel);
            let result = (case.run)(&bench.machine, &ctx);
            check_cancelled(case, &at, &before, &goal, &bench, result);
        }
    }
}

#[test]
fn what_could_not_be_undone_is_told_with_the_error() {
    for (failures, told) in [
        (
            &["runtime.start", "storage.take_name", "images.unmount"][..],
            "injected failure of runtime.start web; \
             cleaning up: injected failure of storage.take_name web; \
             cleaning up: injected failure of images.unmount",
        ),
        (
            &["storage.write_guest_files", "storage.discard", "config.remove_container"],
            "injected failure of storage.write_guest_files web; \
             cleaning up: injected failure of storage.discard web; \
             cleaning up: injected failure of config.remove_container web",
        ),
    ] {
        let bench = Bench::new();
        for call in failures {
            bench.fake.fail(call);
        }
        let error = run_now(&bench, to_create(true, true)).unwrap_err();
        assert_eq!(error, Error::new(Code::Failed, told));
    }
}

#[test]
fn an_undo_goes_on_behind_what_fails_of_it() {
    let bench = Bench::new();
    let before = bench.fake.world();
    bench.fake.fail("runtime.start");
    bench.fake.fail("storage.take_name");
    run_now(&bench, to_create(true, true)).unwrap_err();
    let mut after = bench.fake.world();
    assert!(after.alive.remove(&name("web")).is_some(), "the only thing that is left");
    assert_eq!(after, before);
}

#[test]
fn a_failed_start_tells_what_it_could_not_clean_up() {
    let bench = Bench::new().with_container("web", false);
    bench.fake.fail("runtime.start");
    bench.fake.fail("images.unmount");
    let error = run_now(&bench, to_start(record("web"), None)).unwrap_err();
    assert_eq!(
        error.message,
        "injected failure of runtime.start web; cleaning up: injected failure of images.unmount"
    );
}

#[test]
fn create_makes_a_section_a_container_and_a_process() {
    let bench = Bench::new();
    let Made { record: made, live } = run_now(&bench, to_create(true, true)).unwrap();
    assert_eq!(made, record("web"));
    let world = bench.fake.world();
    assert_eq!(live.unwrap().running.init, world.processes[&name("web")]);
    let added = world.config.strip_prefix(CONFIG).unwrap();
    assert_eq!(
        added.trim_start(),
        "config container 'web'\n\toption memory '64M'\n\toption address '10.0.0.7/24'\n\
         \tlist authorized_keys 'ssh-ed25519 AAAA me'\n"
    );
    let files = &world.alive[&name("web")];
    assert_eq!((files.record.as_ref(), files.disk), (Some(&*record("web")), true));
    let gateway = Some(std::net::Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(files.guest.map(|g| (g.gateway, g.dns)), Some((gateway, gateway)));
    assert!(world.unborn.is_empty() && world.dead.is_empty());
    assert_eq!((world.roots.len(), world.images.len()), (1, 1));
}

#[test]
fn create_without_start_leaves_nothing_mounted() {
    let world = rehearse(&CASES[1]).2;
    assert_eq!(world.alive.len(), 1);
    assert!(world.roots.is_empty() && world.images.is_empty() && world.processes.is_empty());
}

#[test]
fn create_from_a_section_leaves_the_file_alone() {
    let before = with_section().fake.world().config;
    assert_eq!(rehearse(&CASES[2]).2.config, before);
}

#[test]
fn a_name_taken_in_the_file_is_refused_and_its_section_stays() {
    let bench = with_section();
    let before = bench.fake.world();
    let error = run_now(&bench, to_create(true, true)).unwrap_err();
    assert_eq!((error.code, bench.fake.world()), (Code::Exists, before));
}

#[test]
fn a_start_beside_the_bridges_own_address_is_refused() {
    let bench = Bench::new();
    let before = bench.fake.world();
    let mut what = to_create(true, true);
    what.record.spec.address = crate::model::address::Address::parse("10.0.0.1/24").unwrap();
    let error = run_now(&bench, what).unwrap_err();
    assert_eq!((error.code, bench.fake.world()), (Code::Exists, before));
}

#[test]
fn a_changed_record_is_saved_and_an_unchanged_one_is_not() {
    for (changed, memory) in [(false, 64 << 20), (true, 128 << 20)] {
        let bench = Bench::new().with_container("web", false);
        let before = changed.then(|| record("web"));
        run_now(&bench, to_start(changed_record(), before)).unwrap();
        let saved = bench.fake.world().alive[&name("web")].record.clone().unwrap();
        assert_eq!(saved.spec.memory, Bytes(memory));
    }
}

#[test]
fn an_image_is_mounted_once_and_until_its_last_container_is_down() {
    let bench = Bench::new().with_container("a", true).with_container("b", true);
    assert_eq!(bench.fake.world().images.len(), 1);
    assert!(bench.machine.is_held(&distro().manifest.sha256));
    run_now(&bench, Stop { name: name("a"), ..to_stop(lxc::Stop::Kill) }).unwrap();
    assert_eq!(bench.fake.world().images.len(), 1);
    run_now(&bench, Stop { name: name("b"), ..to_stop(lxc::Stop::Kill) }).unwrap();
    assert!(bench.fake.world().images.is_empty());
    assert!(!bench.machine.is_held(&distro().manifest.sha256));
}

#[test]
fn what_an_earlier_daemon_mounted_goes_unless_it_is_held() {
    let (held, left) = (distro(), image(&"cd".repeat(32), &["old"]));
    let fake = FakeBox::new(vec![held.clone(), left.clone()]);
    let earlier = fake.machine();
    for image in [&held, &left] {
        earlier.images.mount(&image.manifest.sha256).unwrap();
    }
    let machine = fake.machine();
    machine.hold_image(&name("web"), &held.manifest.sha256).unwrap();
    machine.release_unheld_images().unwrap();
    assert_eq!(fake.world().images.into_iter().collect::<Vec<_>>(), [held.manifest.sha256]);
}

#[test]
fn delete_leaves_nothing() {
    for case in &CASES[9..11] {
        let goal = rehearse(case).2;
        let clean = Bench::new().fake.world();
        assert_eq!(goal, World { config: goal.config.clone(), ..clean }, "{}", case.title);
        assert_eq!(goal.config.trim_end(), CONFIG.trim_end());
    }
}

#[test]
fn a_delete_records_its_intent_before_anything_is_gone() {
    let (_, calls, _) = rehearse(&CASES[10]);
    assert_eq!(calls[0], "config.mark_deleting web");
    let at = |call: &str| calls.iter().position(|c| c.starts_with(call)).unwrap();
    assert!(
        at("storage.take_name") < at("config.remove_container"),
        "a section never goes before its container"
    );
    assert!(at("config.remove_container") < at("storage.erase"));
}

#[test]
fn a_reboot_gives_a_new_init_and_takes_no_mount_down() {
    let bench = Bench::new().with_container("web", true);
    let before = bench.fake.world();
    bench.fake.reboot("web");
    let Ok(Outcome::Rebooted(live)) = run_now(&bench, Ended { record: record("web"), reboots: 0 }) else {
        panic!("it was taken for stopped");
    };
    assert_eq!(live.reboots, 1);
    let after = bench.fake.world();
    assert_eq!(after.processes[&name("web")], live.running.init);
    assert_ne!(before.processes, after.processes);
    assert_eq!(World { processes: before.processes.clone(), ..after }, before);
}

#[test]
fn a_set_writes_its_section_and_applies_what_the_kernel_allows() {
    for old_kernel in [false, true] {
        let bench = Bench::new().with_container("web", true);
        bench.fake.change(|world| world.old_kernel = old_kernel);
        let before = bench.fake.world();
        let after = run_now(&bench, to_set(true)).unwrap().unwrap();
        let world = bench.fake.world();
        assert_eq!(world.alive[&name("web")].record.as_ref(), Some(&*after));
        assert_eq!(world.limits[&name("web")], (128 << 20, 1000, 512));
        assert_eq!(
            after.spec.address,
            record("web").spec.address,
            "it has its address until it is started again"
        );
        assert_eq!(after.spec.disk, Some(Bytes(if old_kernel { 1 << 30 } else { 2 << 30 })));
        let config = before.config.replace("'64M'", "'128M'");
        let with_disk = config.replace("\toption address", "\toption disk '2G'\n\toption address").len();
        assert_eq!(world.config.len(), with_disk);
        assert!(
            world.config.contains("\toption memory '128M'\n")
                && world.config.contains("\toption disk '2G'\n")
        );
    }
}

#[test]
fn a_set_without_a_section_is_refused() {
    let bench = Bench::new().with_container("web", true);
    bench.fake.change(|world| world.config = CONFIG.into());
    let before = bench.fake.world();
    let error = run_now(&bench, to_set(true)).unwrap_err();
    assert_eq!((error.code, bench.fake.world()), (Code::NotFound, before));
}

#[test]
fn a_renamed_container_keeps_all_but_its_name() {
    let bench = Bench::new().with_container("web", false);
    bench.fake.change(|world| {
        world.config = world.config.replace("\nconfig container", "\n# a wiki\nconfig container")
            + "\nconfig service 'web_http_80'\n\toption container 'web'\n\toption type '_http._tcp'\n\
               \nconfig service 'mine'\n\toption container 'web'\n\
               \nconfig service 'web2_http_80'\n\toption container 'web2'\n";
    });
    let before = bench.fake.world();
    let renamed = run_now(&bench, to_rename(record("web"), "web", "my-www")).unwrap();
    let was = Record { name: name("my-www"), was: vec![name("web")], ..*record("web") };
    assert_eq!(*renamed, was);
    let world = bench.fake.world();
    assert_eq!(world.alive.keys().collect::<Vec<_>>(), [&name("my-www")]);
    assert_eq!(world.alive[&name("my-www")].record, Some(was));
    let config = before
        .config
        .replace("config container 'web'", "config container 'my_www'")
        .replace("option container 'web'\n", "option container 'my-www'\n")
        .replace("'web_http_80'", "'my_www_http_80'");
    assert_eq!(world.config, config);
    // And back.
    run_now(&bench, to_rename(renamed, "my-www", "web")).unwrap();
    assert_eq!(bench.fake.world().config, before.config);
}
