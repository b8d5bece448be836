//! Where images and containers are kept, and what is there.

use super::{error, is_out_of_descriptors, ok, unseen, warning, Finding, Subject, ERROR, WARNING};
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::steps::filesystem::{self, Space};
use crate::steps::storage::try_overlay;
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(super) fn storage(subject: &Subject<'_>) -> Finding {
    let (path, reserve) = (&subject.known.layout.storage, subject.known.settings.disk_reserve);
    let shown = path.display();
    // The daemon makes it at its first start.
    let path = path.ancestors().find(|dir| dir.exists()).unwrap_or(path);
    let kind = filesystem::Kind::of(path).ok();
    if kind.is_some_and(filesystem::Kind::is_in_memory) {
        return error(
            format_args!("{shown} is in memory: everything there is gone after a reboot"),
            format_args!(
                "mount a disk there, or name another directory with `uci set cloudbox-host.host.storage=...`"
            ),
        );
    }
    if filesystem::is_read_only(path) {
        return error(
            format_args!("{shown} is read-only: nothing there can be made, changed or deleted"),
            format_args!(
                "`dmesg` tells why: after an error of the disk stop all containers, `umount` it, check it with `fsck` (the \
                 disk may be failing), and mount it again"
            ),
        );
    }
    if kind == Some(filesystem::Kind::OVERLAY) {
        return warning(
                format_args!("{shown} is on the box's own overlay: containers without a disk quota cannot start there"),
            format_args!(
                "mount a disk there, name another directory with `uci set cloudbox-host.host.storage=...`, or keep quotas"
            ),
        );
    }
    if let Some(closed) = path.ancestors().find(|dir| is_closed(dir)) {
        return error(
            format_args!("{} is closed to others: no container reaches its files below it", closed.display()),
            format_args!("`chmod o+x {}`, or name another storage directory", closed.display()),
        );
    }
    let Ok(space) = Space::of(path) else {
        return error(format_args!("{shown} cannot be examined"), format_args!("mount a disk there"));
    };
    let (free, total, kept) = (Bytes(space.free), Bytes(space.total), Bytes(reserve));
    let message = format!("{shown} has {free} free of {total}, {kept} is kept for the box");
    if space.free <= reserve {
        let remedy = "delete containers or images, lower `cloudbox.main.disk_reserve`, or use a larger disk";
        return warning(format_args!("{message}"), format_args!("{remedy}"));
    }
    ok(format_args!("{message}"))
}

/// Whether others, such as a container's root, cannot pass through directory `dir`.
fn is_closed(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0)
}

/// Whether the storage's file system can hold a container's layer: it is tried, where nobody else sees it.
pub(super) fn layers(subject: &Subject<'_>) -> Finding {
    let layout = &subject.known.layout;
    if !geteuid().is_root() {
        return warning(format_args!("only root can try them"), format_args!("try as root"));
    }
    if !layout.storage.exists() {
        return warning(
            format_args!("{} is not there yet", layout.storage.display()),
            format_args!("the daemon makes it: `/etc/init.d/cloudbox start`"),
        );
    }
    if filesystem::is_read_only(&layout.storage) {
        return warning(
            format_args!("they could not be looked at: {} is read-only", layout.storage.display()),
            format_args!("see to the storage first"),
        );
    }
    // Quotas bring a file system of their own.
    let state = if subject.known.settings.defaults.disk.is_some() { WARNING } else { ERROR };
    match try_overlay(layout) {
        Ok(()) => ok(format_args!("the storage's file system can hold containers' layers")),
        Err(error) if is_out_of_descriptors(&error) => unseen(&error),
        Err(error) => {
            let found = warning(
                format_args!("no container without a disk quota can run: {}", error.message),
                format_args!(
                    "use ext4, xfs or btrfs for the storage, or give every container a quota: \
                     `uci set cloudbox.main.disk=4G`"
                ),
            );
            Finding { state, ..found }
        }
    }
}

pub(super) fn leftovers(subject: &Subject<'_>) -> Finding {
    let left = match subject.storage.leftovers() {
        Ok(left) => left,
        Err(error) => return unseen(&error),
    };
    let left: Vec<&str> =
        left.iter().map(Name::as_str).filter(|name| !subject.known.busy.iter().any(|b| b == name)).collect();
    if left.is_empty() {
        return ok(format_args!("nothing was left half made"));
    }
    warning(
        format_args!("something was left half made or half removed of {}", left.join(", ")),
        format_args!("`cloudbox prune` says what it is, `cloudbox prune --yes` removes it"),
    )
}

pub(super) fn images(subject: &Subject<'_>) -> Finding {
    match &subject.known.images {
        Ok(0) => warning(
            format_args!("there is no image to make a container from"),
            format_args!(
                "bring one in: `cloudbox image pull distro`, or `cloudbox image import /path/to/image.squashfs distro`"
            ),
        ),
        Ok(count) => ok(format_args!("{count} in the store")),
        Err(error) => warning(format_args!("{}", error.message), format_args!("try as root")),
    }
}
