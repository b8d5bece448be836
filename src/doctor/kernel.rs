//! What the kernel has.

use super::{error, ok, text_of, told, warning, Finding, Subject, WARNING};
use crate::model::idrange;
use crate::steps::lxc::cgroup::Family;
use std::path::{Path, PathBuf};

/// Fewer inotify instances than these are soon used up: the kernel's default of 128 by some 60 guests.
const INOTIFY_INSTANCES: u32 = 1024;

pub(super) fn namespaces(_: &Subject<'_>) -> Finding {
    let missing: Vec<&str> = ["user", "pid", "net", "mnt", "uts", "ipc"]
        .into_iter()
        .filter(|n| !Path::new("/proc/self/ns").join(n).exists())
        .collect();
    if missing.is_empty() {
        return ok(format_args!("the kernel has user, pid, net, mount, uts and ipc namespaces"));
    }
    error(
        format_args!("the kernel has no {} namespaces", missing.join(", ")),
        format_args!("use a kernel with CONFIG_NAMESPACES and CONFIG_USER_NS, as OpenWrt's x86 images have"),
    )
}

pub(super) fn seccomp(_: &Subject<'_>) -> Finding {
    if text_of(Path::new("/proc/self/status")).contains("\nSeccomp:") {
        return ok(format_args!("the kernel filters containers' system calls"));
    }
    warning(
        format_args!("the kernel has no seccomp: containers may try every system call"),
        format_args!("use a kernel with CONFIG_SECCOMP_FILTER, as OpenWrt's have"),
    )
}

pub(super) fn overlay(_: &Subject<'_>) -> Finding {
    filesystem("overlay", "one of OpenWrt's own images, which have it")
}

pub(super) fn squashfs(_: &Subject<'_>) -> Finding {
    filesystem("squashfs", "kmod-fs-squashfs")
}

/// Only quotas need it.
pub(super) fn ext4(subject: &Subject<'_>) -> Vec<Finding> {
    let quota = subject.known.settings.defaults.disk.is_some();
    quota.then(|| filesystem("ext4", "kmod-fs-ext4")).into_iter().collect()
}

/// Whether the kernel knows a file system, or has a module that the first mount loads.
fn filesystem(name: &str, openwrt: &str) -> Finding {
    let known = text_of(Path::new("/proc/filesystems"));
    judge_filesystem(name, openwrt, &known, has_module(name))
}

/// `known` is the text of `/proc/filesystems`.
fn judge_filesystem(name: &str, openwrt: &str, known: &str, module: bool) -> Finding {
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return ok(format_args!("the kernel has {name}"));
    }
    if module {
        return ok(format_args!("the kernel has {name} as a module, loaded when it is needed"));
    }
    error(
        format_args!("the kernel has no {name}"),
        format_args!("install {openwrt} (OpenWrt), or a kernel with {name} (Debian: linux-image-amd64)"),
    )
}

/// Where the kernel's modules are.
fn modules() -> PathBuf {
    let uname = nix::sys::utsname::uname();
    let release = uname.map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    Path::new("/lib/modules").join(release)
}

/// Whether there is a module called `name`, to be loaded or built in.
fn has_module(name: &str) -> bool {
    let file = format!("{name}.ko");
    let listed = |list: &str| text_of(&modules().join(list)).contains(&format!("/{file}"));
    // OpenWrt has no lists, but the modules themselves side by side.
    listed("modules.dep") || listed("modules.builtin") || modules().join(&file).exists()
}

pub(super) fn veth(_: &Subject<'_>) -> Finding {
    if !modules().exists() || has_module("veth") || Path::new("/sys/module/veth").exists() {
        return ok(format_args!("the kernel is not known to lack veth, the containers' cables"));
    }
    warning(
        format_args!("there is no module veth: unless it is built in, no container gets a network"),
        format_args!("install kmod-veth (OpenWrt), or a kernel with CONFIG_VETH"),
    )
}

pub(super) fn loop_devices(_: &Subject<'_>) -> Finding {
    if Path::new("/dev/loop-control").exists() {
        return ok(format_args!("there is /dev/loop-control"));
    }
    error(
        format_args!("there is no /dev/loop-control"),
        format_args!("install kmod-loop (OpenWrt), or `modprobe loop`"),
    )
}

pub(super) fn cgroups(subject: &Subject<'_>) -> Finding {
    let Some(cgroups) = &subject.known.cgroups else { return told(WARNING, "they were not looked at") };
    let family = match cgroups.family() {
        Family::V2 => "v2",
        Family::V1 => "v1",
    };
    let missing: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(|c| !cgroups.has(c)).collect();
    if missing.is_empty() {
        return ok(format_args!("cgroup {family} limits memory, cpu and pids"));
    }
    error(
        format_args!("cgroup {family} has no {}: these limits are not in force", missing.join(", ")),
        format_args!("mount cgroup2 at /sys/fs/cgroup, with these controllers compiled into the kernel"),
    )
}

/// Ranges of user ids, and namespaces to use them in.
pub(super) fn user_ids(subject: &Subject<'_>) -> Finding {
    let limit = text_of(Path::new("/proc/sys/user/max_user_namespaces"));
    judge_ids(subject.known.containers, limit.trim().parse().ok())
}

fn judge_ids(used: usize, namespaces: Option<usize>) -> Finding {
    let found = ok(format_args!("{used} of {} ranges of user ids are taken", idrange::COUNT));
    match namespaces.filter(|limit| *limit <= used + 1) {
        Some(limit) => error(
            format_args!("{}, but user.max_user_namespaces allows {limit} namespaces only", found.message),
            format_args!("`sysctl -w user.max_user_namespaces=16384`"),
        ),
        None => found,
    }
}

/// Every systemd guest takes a few of the inotify instances that all containers share.
pub(super) fn inotify(_: &Subject<'_>) -> Finding {
    let limit = text_of(Path::new("/proc/sys/fs/inotify/max_user_instances"));
    match limit.trim().parse::<u32>() {
        Ok(limit) if limit < INOTIFY_INSTANCES => warning(
                format_args!("fs.inotify.max_user_instances is {limit}: about {} systemd guests can run", limit / 2),
            format_args!(
                "`sysctl -w fs.inotify.max_user_instances=8192`, and the same line in /etc/sysctl.d/60-cloudbox.conf"
            ),
        ),
        _ => ok(format_args!("there are enough inotify instances for many guests")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ERROR, OK};
    use super::*;

    #[test]
    fn a_kernel_without_overlay_is_told_from_one_with_a_module() {
        let known = "nodev\tproc\n\text4\nnodev\toverlay\n";
        assert_eq!(judge_filesystem("overlay", "an image", known, false).state, OK);
        assert_eq!(judge_filesystem("squashfs", "kmod-fs-squashfs", known, true).state, OK);
        let missing = judge_filesystem("squashfs", "kmod-fs-squashfs", known, false);
        assert_eq!(missing.state, ERROR);
        assert!(missing.remedy.contains("kmod-fs-squashfs"), "{}", missing.remedy);
    }

    #[test]
    fn ids_are_judged() {
        for (used, limit, state) in [
            (0, None, OK),
            (0, Some(0), ERROR),
            (9, Some(10), ERROR),
            (9, Some(11), OK),
            (3, Some(16_384), OK),
        ] {
            assert_eq!(judge_ids(used, limit).state, state, "{used} {limit:?}");
        }
    }
}
