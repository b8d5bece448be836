//! Cases of what copies containers.

use super::super::{delete_snapshot, restore, snapshot, Restore, TakeSnapshot};
use super::*;
use crate::model::admission::Disk;
use crate::steps::storage::Snapshot;

pub(super) const CASES: [Case; 6] = [
    Case {
        title: "snapshot",
        before: || Bench::new().with_container("web", false),
        run: |machine, ctx| snapshot(machine, ctx, &to_snapshot(false)),
        failed: Failed::Whole,
    },
    Case {
        title: "snapshot of what runs",
        before: || Bench::new().with_container("web", true),
        run: |machine, ctx| snapshot(machine, ctx, &to_snapshot(true)),
        failed: Failed::Whole,
    },
    Case {
        title: "snapshot of what its owner has frozen",
        before: || {
            let bench = Bench::new().with_container("web", true);
            bench.machine.runtime.freeze(&Ctx::silent().unwrap(), &name("web")).unwrap();
            bench
        },
        run: |machine, ctx| snapshot(machine, ctx, &to_snapshot(true)),
        failed: Failed::Whole,
    },
    Case {
        title: "restore",
        before: || with_snapshot(false),
        run: |machine, ctx| done(restore(machine, ctx, &to_restore(false))),
        failed: Failed::Restored,
    },
    Case {
        title: "restore over what runs",
        before: || with_snapshot(true),
        run: |machine, ctx| done(restore(machine, ctx, &to_restore(true))),
        failed: Failed::Restored,
    },
    Case {
        title: "snapshot_delete",
        before: || with_snapshot(false),
        run: |machine, ctx| delete_snapshot(machine, ctx, &name("web"), &name("first")),
        failed: Failed::Resumable,
    },
];

const PLENTY: Disk = Disk { free: 1 << 40, reserve: 0, promised: 0 };

fn to_snapshot(running: bool) -> TakeSnapshot {
    TakeSnapshot { record: record("web"), snapshot: name("first"), now: 5, running, disk: PLENTY }
}

/// A container whose layer has changed since its snapshot was made.
fn with_snapshot(running: bool) -> Bench {
    let bench = Bench::new().with_container("web", running);
    bench.fake.change(|world| world.alive.get_mut(&name("web")).unwrap().layer = 1);
    snapshot(&bench.machine, &Ctx::silent().unwrap(), &to_snapshot(running)).unwrap();
    bench.fake.change(|world| world.alive.get_mut(&name("web")).unwrap().layer = 2);
    bench
}

fn to_restore(running: bool) -> Restore {
    let image_sha256 = distro().manifest.sha256;
    let snapshot = Snapshot { name: name("first"), created: 5, bytes: 1 << 20, image_sha256 };
    Restore { record: record("web"), snapshot, running, disk: PLENTY }
}
