//! Cases of what copies containers.

use super::super::{Clone, Export, Import, Restore, Snapshot, SnapshotDelete};
use super::*;
use crate::model::admission::Disk;
use crate::steps::outside::HostFile;
use crate::steps::storage::{self, Manifest};

pub(super) const CASES: [Case; 15] = [
    Case {
        title: "snapshot",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_snapshot(false)),
        failed: Failed::Whole,
    },
    Case {
        title: "snapshot of what runs",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, to_snapshot(true)),
        failed: Failed::Whole,
    },
    Case {
        title: "snapshot of what its owner has frozen",
        before: || {
            let bench = Bench::new().with_container("web", true);
            bench.machine.runtime.freeze(&Ctx::silent().unwrap(), &name("web")).unwrap();
            bench
        },
        run: |machine, ctx| run(machine, ctx, to_snapshot(true)),
        failed: Failed::Whole,
    },
    Case {
        title: "restore",
        before: || with_snapshot(false),
        run: |machine, ctx| run(machine, ctx, to_restore(false)),
        failed: Failed::Restored,
    },
    Case {
        title: "restore over what runs",
        before: || with_snapshot(true),
        run: |machine, ctx| run(machine, ctx, to_restore(true)),
        failed: Failed::Restored,
    },
    Case {
        title: "snapshot_delete",
        before: || with_snapshot(false),
        run: |machine, ctx| run(machine, ctx, SnapshotDelete { name: name("web"), snapshot: name("first") }),
        failed: Failed::Resumable,
    },
    Case {
        title: "clone",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_clone(false, false)),
        failed: Failed::Whole,
    },
    Case {
        title: "clone of what runs",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| run(machine, ctx, to_clone(true, false)),
        failed: Failed::Whole,
    },
    Case {
        title: "clone without a quota",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| {
            let mut what = to_clone(false, false);
            what.record.spec.disk = None;
            run(machine, ctx, what)
        },
        failed: Failed::Whole,
    },
    Case {
        title: "clone of a snapshot of what runs",
        before: || with_snapshot(true),
        run: |machine, ctx| run(machine, ctx, to_clone(true, true)),
        failed: Failed::Whole,
    },
    Case {
        title: "export",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| run(machine, ctx, to_export(false, false)),
        failed: Failed::Whole,
    },
    Case {
        title: "export of what runs, with its image",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| {
            let what = Export { image: true, ..to_export(true, false) };
            run(machine, ctx, what)
        },
        failed: Failed::Whole,
    },
    Case {
        title: "export of a snapshot of what runs",
        before: || with_snapshot(true),
        run: |machine, ctx| run(machine, ctx, to_export(true, true)),
        failed: Failed::Whole,
    },
    Case {
        title: "import",
        before: with_archive,
        run: |machine, ctx| run(machine, ctx, to_import(None)),
        failed: Failed::Whole,
    },
    Case {
        title: "import with an image",
        before: with_archive,
        run: |machine, ctx| run(machine, ctx, to_import(Some("other"))),
        failed: Failed::Whole,
    },
];

const PLENTY: Disk = Disk { free: 1 << 40, reserve: 0, promised: 0 };

fn to_snapshot(running: bool) -> Snapshot {
    Snapshot { record: record("web"), snapshot: name("first"), now: 5, running, disk: PLENTY }
}

/// A container whose layer has changed since its snapshot was made.
fn with_snapshot(running: bool) -> Bench {
    let bench = Bench::new().with_container("web", running);
    bench.fake.change(|world| world.alive.get_mut(&name("web")).unwrap().layer = 1);
    run_now(&bench, to_snapshot(running)).unwrap();
    bench.fake.change(|world| world.alive.get_mut(&name("web")).unwrap().layer = 2);
    bench
}

fn first() -> storage::Snapshot {
    storage::Snapshot {
        name: name("first"),
        created: 5,
        bytes: 1 << 20,
        image_sha256: distro().manifest.sha256,
    }
}

fn to_restore(running: bool) -> Restore {
    Restore { record: record("web"), snapshot: first(), running, disk: PLENTY }
}

fn to_clone(running: bool, of_snapshot: bool) -> Clone {
    let mut copy = record("copy");
    (copy.spec.address, copy.ids.base) = (crate::model::address::Address::Dhcp, 0x7001_0000);
    Clone { from: record("web"), snapshot: of_snapshot.then(first), record: copy, running, disk: PLENTY }
}

fn to_export(running: bool, of_snapshot: bool) -> Export {
    Export {
        record: record("web"),
        told: record("web"),
        snapshot: of_snapshot.then(first),
        running,
        image: false,
        secrets: false,
        file: HostFile::own("/mnt/web.tar".as_ref()),
        disk: PLENTY,
    }
}

fn manifest(image: bool) -> Manifest {
    Manifest { record: *record("web"), image: image.then_some((512, 4096)), bytes: 1 << 20 }
}

/// An archive of a container that is on another box.
fn with_archive() -> Bench {
    let bench = Bench::new();
    bench.fake.change(|world| {
        world.archives.insert("/mnt/web.tar".into(), (manifest(false), 7));
        world.archives.insert("/mnt/with-image.tar".into(), (manifest(true), 7));
    });
    bench
}

/// `image`: what the image that comes along is called.
fn to_import(image: Option<&str>) -> Import {
    let sha256 = if image.is_some() { "cd".repeat(32) } else { distro().manifest.sha256 };
    Import {
        file: HostFile::own(if image.is_some() { "/mnt/with-image.tar" } else { "/mnt/web.tar" }.as_ref()),
        manifest: manifest(image.is_some()),
        record: Box::new(Record { image_sha256: sha256, ..*to_clone(false, false).record }),
        image: image.map(|image| ImageName::new(image).unwrap()),
        disk: PLENTY,
    }
}

#[test]
fn an_import_that_fails_takes_the_image_along_that_it_brought() {
    for (call, images) in [("storage.unpack", 1), ("config.change", 1), ("storage.none", 2)] {
        let bench = with_archive();
        bench.fake.fail(call);
        let made = run_now(&bench, to_import(Some("other")));
        assert_eq!(made.is_ok(), images == 2, "{call}");
        assert_eq!(bench.machine.images.list().unwrap().len(), images, "{call}");
    }
    let bench = with_archive();
    bench.fake.fail("storage.unpack");
    run_now(&bench, to_import(None)).unwrap_err();
    assert_eq!(bench.machine.images.list().unwrap().len(), 1, "one that was here stays");
}

#[test]
fn a_clone_has_what_it_was_cloned_from_and_is_said_to_be_there_at_last() {
    let bench = with_snapshot(true);
    run_now(&bench, to_clone(true, false)).unwrap();
    let world = bench.fake.world();
    assert_eq!(world.alive[&name("copy")].layer, 2);
    assert_eq!(world.alive[&name("copy")].record, Some(*to_clone(true, false).record));
    assert!(world.frozen.is_empty() && world.held.is_empty());
    let section = world.config.split("config container 'copy'").nth(1).unwrap();
    assert!(
        section.contains("option memory '64M'") && section.contains("option address 'dhcp'"),
        "{section}"
    );
    assert!(!section.contains("deleting"), "{section}");
    let calls = bench.fake.calls();
    let at = |call: &str| calls.iter().position(|c| c == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(at("config.add_container copy") < at("storage.build copy"));
    assert!(at("storage.give_name copy") < at("config.change copy"));

    let bench = with_snapshot(true);
    run_now(&bench, to_clone(true, true)).unwrap();
    assert_eq!(bench.fake.world().alive[&name("copy")].layer, 1);
    assert_eq!(
        bench.fake.calls().iter().filter(|call| *call == "runtime.freeze web").count(),
        1,
        "by the snapshot"
    );
}
