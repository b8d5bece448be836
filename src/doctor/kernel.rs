//! What the kernel has.

use super::{
    error, is_out_of_descriptors, ok, seen, text_of, told, unseen, warning, Examination, Finding, Subject,
    WARNING,
};
use crate::error::{Error, Result};
use crate::model::idrange;
use crate::model::name::Name;
use crate::steps::lxc::cgroup::{Cgroups, Family};
use crate::steps::lxc::library;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::resource::{getrlimit, Resource};
use std::fs;
use std::path::{Path, PathBuf};

/// Fewer inotify instances than these are soon used up: the kernel's default of 128 by some 60 guests.
const INOTIFY_INSTANCES: u32 = 1024;
/// As many descriptors of a process are looked at.
const DESCRIPTORS_MAX: usize = 65_536;
/// Fewer descriptors than these are as good as none: a start takes some.
const DESCRIPTORS_LEFT: usize = 16;
/// The box itself wants some at any time.
const INOTIFY_LEFT: usize = 32;

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

/// The kernel's filter of system calls, and whether LXC knows how to set it.
pub(super) fn seccomp(_: &Subject<'_>) -> Finding {
    let kernel = text_of(Path::new("/proc/self/status")).map(|text| text.contains("\nSeccomp:"));
    seen(kernel.map(|kernel| judge_seccomp(kernel, library::has(b"libseccomp.so"))))
}

fn judge_seccomp(kernel: bool, lxc: Option<bool>) -> Finding {
    if !kernel {
        return warning(
            format_args!("the kernel has no seccomp: containers may try every system call"),
            format_args!("use a kernel with CONFIG_SECCOMP_FILTER, as OpenWrt's have"),
        );
    }
    if lxc == Some(false) {
        return warning(
            format_args!("LXC is built without seccomp: containers may try every system call"),
            format_args!("install a liblxc that is built with libseccomp (OpenWrt: LXC_SECCOMP)"),
        );
    }
    ok(format_args!("the kernel filters containers' system calls"))
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
    seen(known.and_then(|known| Ok(judge_filesystem(name, openwrt, &known, has_module(name)?))))
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
fn has_module(name: &str) -> Result<bool> {
    let file = format!("{name}.ko");
    let listed = |list: &str| Ok(text_of(&modules().join(list))?.contains(&format!("/{file}")));
    // OpenWrt has no lists, but the modules themselves side by side.
    Ok(listed("modules.dep")? || listed("modules.builtin")? || modules().join(&file).exists())
}

pub(super) fn veth(_: &Subject<'_>) -> Finding {
    seen(has_module("veth").map(judge_veth))
}

fn judge_veth(module: bool) -> Finding {
    if !modules().exists() || module || Path::new("/sys/module/veth").exists() {
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
    seen(limit.map(|limit| judge_ids(subject.known.guests.len(), limit.trim().parse().ok())))
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

/// Every systemd guest takes a few of the inotify instances that all containers share with the box's root: one guest may
/// take all of them.
pub(super) fn inotify(subject: &Subject<'_>) -> Finding {
    seen(look_at_inotify(subject))
}

fn look_at_inotify(subject: &Subject<'_>) -> Result<Finding> {
    let limit = text_of(Path::new("/proc/sys/fs/inotify/max_user_instances"))?;
    let left = inotify_left();
    if left < INOTIFY_LEFT {
        // The kernel has one word for both: no instance, and no descriptor for it.
        open_some(INOTIFY_LEFT)?;
    }
    // Looking at all descriptors of all guests is for when it matters.
    let most = if left < INOTIFY_LEFT { most_inotify(subject.known) } else { None };
    Ok(judge_inotify(limit.trim().parse().ok(), left, most))
}

/// Opens so many descriptors, and closes them again.
fn open_some(number: usize) -> Result<()> {
    let null = Path::new("/dev/null");
    let open = |_| fs::File::open(null).map_err(|e| Error::io("cannot open", null, e));
    (0..number).map(open).collect::<Result<Vec<_>>>().map(drop)
}

/// Nothing to say while there are some.
pub(super) fn descriptors(subject: &Subject<'_>) -> Vec<Finding> {
    let Err(why) = open_some(DESCRIPTORS_LEFT) else { return Vec::new() };
    if !is_out_of_descriptors(&why) {
        return vec![unseen(&why)];
    }
    let who = if subject.known.no_daemon.is_some() { "this command" } else { "the daemon" };
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    vec![error(
        format_args!("{who} has almost no file descriptor left of {limit}, or the box has none: much cannot be looked at"),
        format_args!(
            "`ls -l /proc/$(pidof cloudbox)/fd` shows what it has open, `cat /proc/sys/fs/file-nr` what all have; then \
             `/etc/init.d/cloudbox restart`, which leaves containers running"
        ),
    )]
}

/// The container whose processes hold most inotify instances, and how many; None where nobody's can be seen.
fn most_inotify(known: &Examination) -> Option<(Name, usize)> {
    let cgroups = known.cgroups.as_ref()?;
    let held = |name: &Name| -> usize { cgroups.processes(name).into_iter().map(inotify_of).sum() };
    let counts = known.guests.iter().map(|(name, _)| (name.clone(), held(name)));
    counts.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
}

/// How many inotify instances process `pid` holds.
fn inotify_of(pid: i32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = descriptors.take(DESCRIPTORS_MAX).filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.as_os_str() == "anon_inode:inotify").count()
}

/// How many inotify instances can be had now; it stops counting at [`INOTIFY_LEFT`].
fn inotify_left() -> usize {
    let instances = (0..INOTIFY_LEFT).map_while(|_| Inotify::init(InitFlags::IN_CLOEXEC).ok());
    instances.collect::<Vec<_>>().len()
}

fn judge_inotify(limit: Option<u32>, left: usize, most: Option<(Name, usize)>) -> Finding {
    if left < INOTIFY_LEFT {
        let (taken, remedy) = match &most {
            Some((name, count)) => {
                (format!("{name} holds {count} of the others"), format!("`cloudbox stop {name}`"))
            }
            None => ("others are taken".to_string(), "stop the container that has taken them".to_string()),
        };
        return warning(
            format_args!(
                "{left} inotify instances are left for the box, which shares them with containers: {taken}"
            ),
            format_args!("{remedy}, or `sysctl -w fs.inotify.max_user_instances=16384`"),
        );
    }
    match limit {
        Some(limit) if limit < INOTIFY_INSTANCES => warning(
            format_args!("fs.inotify.max_user_instances is {limit}: about {} systemd guests can run", limit / 2),
            format_args!(
                "`sysctl -w fs.inotify.max_user_instances=8192`, and the same line in /etc/sysctl.d/60-cloudbox.conf"
            ),
        ),
        _ => ok(format_args!("there are enough inotify instances for many guests")),
    }
}

/// Swap that containers are not kept off: a container at its limit would go on into it.
pub(super) fn swap(subject: &Subject<'_>) -> Vec<Finding> {
    let is_on = match text_of(Path::new("/proc/swaps")) {
        Ok(swaps) => swaps.lines().count() > 1,
        Err(error) => return vec![unseen(&error)],
    };
    let counted = subject.known.cgroups.as_ref().is_none_or(Cgroups::counts_swap);
    let found = || {
        warning(
            format_args!(
                "there is swap, and the kernel does not count it: a container at its limit goes on into it"
            ),
            format_args!("`swapoff -a`, or a kernel with swap accounting (CONFIG_MEMCG_SWAP, swapaccount=1)"),
        )
    };
    (is_on && !counted).then(found).into_iter().collect()
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
    fn a_filter_needs_both_the_kernel_and_lxc() {
        for (kernel, lxc, state) in [
            (true, Some(true), OK),
            (true, None, OK),
            (true, Some(false), WARNING),
            (false, Some(true), WARNING),
        ] {
            assert_eq!(judge_seccomp(kernel, lxc).state, state, "{kernel} {lxc:?}");
        }
    }

    #[test]
    fn inotify_instances_are_counted_before_they_are_none() {
        for (limit, left, state) in [
            (Some(8192), INOTIFY_LEFT, OK),
            (Some(128), INOTIFY_LEFT, WARNING),
            (Some(8192), 3, WARNING),
            (None, INOTIFY_LEFT, OK),
        ] {
            assert_eq!(judge_inotify(limit, left, None).state, state, "{limit:?} {left}");
        }
        let nobody = judge_inotify(Some(8192), 3, None);
        assert!(nobody.message.starts_with("3 inotify instances are left"), "{nobody:?}");
        let web = judge_inotify(Some(8192), 0, Some((Name::new("web").unwrap(), 8100)));
        assert!(web.message.ends_with("web holds 8100 of the others"), "{web:?}");
        assert!(web.remedy.starts_with("`cloudbox stop web`"), "{web:?}");
    }

    #[test]
    fn a_process_is_asked_how_many_it_holds() {
        let me = std::process::id() as i32;
        let held: Vec<Inotify> = (0..10).map(|_| Inotify::init(InitFlags::IN_CLOEXEC).unwrap()).collect();
        assert!(inotify_of(me) >= held.len());
        assert_eq!(inotify_of(1 << 23), 0);
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
