//! `doctor`: what the box needs, what it lacks, and the command that cures it.

use super::core::{now, Core};
use crate::api::replies::{Check, DoctorReply};
use crate::error::Error;
use crate::machine::Machine;
use crate::model::idrange;
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::steps::avahi::State;
use crate::steps::ctx::Ctx;
use crate::steps::filesystem;
use crate::steps::filesystem::Space;
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::{Cgroups, Family};
use crate::steps::storage::try_overlay;
use crate::steps::tool::{self, Tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The state of a check, from good to bad.
const OK: &str = "ok";
const WARNING: &str = "warning";
const ERROR: &str = "error";

/// The oldest LXC that is known to do.
const LXC_MIN: u32 = 4;
/// `lxc-start --version` answers at once.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// When this was written, in seconds since 1970; and a year's, leap days and all.
const WRITTEN: u64 = 1_767_225_600;
const YEAR: u64 = 31_556_952;

/// Fewer inotify instances than these are soon used up: the kernel's default of 128 by some 60 guests.
const INOTIFY_INSTANCES: u32 = 1024;

/// What the model knows that the examination needs; taken in the loop, examined in a thread.
pub struct Examination {
    layout: Layout,
    bridge: String,
    quota: bool,
    disk_reserve: u64,
    cgroups: Option<Cgroups>,
    warnings: Vec<String>,
    images: usize,
    /// Checks of what only the model knows.
    known: Vec<Check>,
    /// Names under which something is just being made or removed.
    busy: Vec<String>,
    ranges: usize,
}

impl Examination {
    /// Takes it from `core`.
    pub fn of(core: &Core) -> Examination {
        let settings = &core.config.settings;
        Examination {
            layout: core.layout.clone(),
            bridge: settings.defaults.bridge.clone(),
            quota: settings.defaults.disk.is_some(),
            disk_reserve: settings.disk_reserve,
            cgroups: core.cgroups.clone(),
            warnings: core.config_warnings(),
            images: core.images.len(),
            known: containers(core),
            busy: core
                .jobs
                .iter()
                .filter(|job| !job.state.is_final())
                .map(|job| job.target.clone())
                .collect(),
            ranges: core.containers.len(),
        }
    }
}

/// Containers that do not do what they should, each with the reason and what cures it.
fn containers(core: &Core) -> Vec<Check> {
    let failed = |(name, error): (&Name, &Error)| {
        let message = format!("{name}: {}", error.message);
        check(
            "container",
            ERROR,
            &message,
            &format!("then `cloudbox start {name}`; `cloudbox log {name}` says more"),
        )
    };
    let mut checks: Vec<Check> = core.failures().map(failed).collect();
    for error in core.unreadable.values() {
        let (what, remedy) = split_remedy(&error.message);
        checks.push(check("container", ERROR, &what, &remedy));
    }
    for name in core.orphans() {
        let message = format!("{name} has no section in UCI; its data is kept");
        let remedy = format!(
            "`cloudbox adopt {name}` gives it its section again, `cloudbox delete {name}` removes it"
        );
        checks.push(check("container", WARNING, &message, &remedy));
    }
    checks
}

/// Examines the box.
pub fn examine(machine: &Machine, what: &Examination) -> DoctorReply {
    let mut checks = vec![
        lxc(),
        namespaces(),
        seccomp(),
        filesystem("overlay", "one of OpenWrt's own images, which have it"),
        filesystem("squashfs", "kmod-fs-squashfs"),
        loop_devices(),
        veth(),
        cgroups(what.cgroups.as_ref()),
        bridge(machine, &what.bridge),
        storage(&what.layout, what.disk_reserve),
        upper_layer(&what.layout, what.quota),
        ids(what.ranges),
        clock(),
        leftovers(machine, &what.busy),
        avahi(machine),
        inotify(),
        tool("image tools", &["mksquashfs", "gzip", "xz", "zstd"], WARNING),
        images(what.images),
    ];
    if what.quota {
        checks.push(tool("disk quota", &["mkfs.ext4"], ERROR));
        checks.push(filesystem("ext4", "kmod-fs-ext4"));
    }
    checks.extend(what.known.iter().cloned());
    if what.warnings.is_empty() {
        checks.push(check("configuration", OK, "it is read whole and carried out", ""));
    }
    for warning in &what.warnings {
        checks.push(check("configuration", WARNING, warning, "mend it, then `cloudbox reload`"));
    }
    let worst = [ERROR, WARNING].into_iter().find(|state| checks.iter().any(|c| c.state == *state));
    DoctorReply { state: worst.unwrap_or(OK), checks }
}

/// Says in the log what is not as it should be.
pub fn report(machine: &Machine, what: &Examination) {
    for check in examine(machine, what).checks {
        let (name, message, remedy) = (check.name, check.message, check.remedy);
        match check.state {
            // The configuration's own warnings are in the log already, and avahi-daemon is started after this one.
            _ if matches!(name, "configuration" | "container" | "avahi") => {}
            OK => {}
            ERROR => log::error!("{name}: {message}; {remedy}"),
            _ => log::warn!("{name}: {message}; {remedy}"),
        }
    }
}

fn check(name: &'static str, state: &'static str, message: &str, remedy: &str) -> Check {
    Check { name, state, message: message.to_string(), remedy: remedy.to_string() }
}

fn tool(name: &'static str, tools: &[&str], missing: &'static str) -> Check {
    let errors: Vec<String> =
        tools.iter().filter_map(|tool| Tool::find(tool).err()).map(|e| e.into_message()).collect();
    if errors.is_empty() {
        let are = if tools.len() == 1 { "is" } else { "are" };
        return check(name, OK, &format!("{} {are} installed", tools.join(", ")), "");
    }
    let (what, remedy) = split_remedy(&errors.join("; "));
    check(name, missing, &what, &remedy)
}

/// LXC's tools, and which LXC it is.
fn lxc() -> Check {
    let found = tool("lxc", &["lxc-start", "lxc-attach"], ERROR);
    if found.state != OK {
        return found;
    }
    let version = Tool::command("lxc-start")
        .and_then(|mut lxc| tool::run(lxc.arg("--version"), &Ctx::silent()?, VERSION_TIME));
    let version =
        version.map_or_else(|e| e.into_message(), |said| String::from_utf8_lossy(&said.stdout).into_owned());
    judge_lxc(version.trim())
}

fn judge_lxc(version: &str) -> Check {
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= LXC_MIN => check("lxc", OK, &format!("LXC {version} is installed"), ""),
        Some(_) => check(
            "lxc",
            WARNING,
            &format!("LXC {version} is older than what cloudbox is tested with, {LXC_MIN}.0"),
            "install a newer one: `opkg update; opkg upgrade lxc liblxc`, or Debian 12",
        ),
        None => {
            check("lxc", ERROR, &format!("lxc-start does not say its version: {version}"), "install it again")
        }
    }
}

/// "mksquashfs is not installed; install …": the first is what, the rest is the remedy.
fn split_remedy(text: &str) -> (String, String) {
    let (what, remedy) = text.split_once("; ").unwrap_or((text, ""));
    (what.to_string(), remedy.to_string())
}

fn namespaces() -> Check {
    let missing: Vec<&str> = ["user", "pid", "net", "mnt", "uts", "ipc"]
        .into_iter()
        .filter(|n| !Path::new("/proc/self/ns").join(n).exists())
        .collect();
    if missing.is_empty() {
        return check("namespaces", OK, "the kernel has user, pid, net, mount, uts and ipc namespaces", "");
    }
    let message = format!("the kernel has no {} namespaces", missing.join(", "));
    check(
        "namespaces",
        ERROR,
        &message,
        "use a kernel with CONFIG_NAMESPACES and CONFIG_USER_NS, as OpenWrt's x86 images have",
    )
}

/// Whether the kernel knows a file system, or has a module that the first mount loads.
fn filesystem(name: &'static str, openwrt: &str) -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    judge_filesystem(name, openwrt, &known, has_module(name))
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
    let listed = |list: &str| {
        let text = fs::read_to_string(modules().join(list)).unwrap_or_default();
        text.contains(&format!("/{file}"))
    };
    // OpenWrt has no lists, but the modules themselves side by side.
    listed("modules.dep") || listed("modules.builtin") || modules().join(&file).exists()
}

fn veth() -> Check {
    if !modules().exists() || has_module("veth") || Path::new("/sys/module/veth").exists() {
        return check("veth", OK, "the kernel is not known to lack veth, the containers' cables", "");
    }
    let remedy = "install kmod-veth (OpenWrt), or a kernel with CONFIG_VETH";
    check(
        "veth",
        WARNING,
        "there is no module veth: unless it is built in, no container gets a network",
        remedy,
    )
}

fn seccomp() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.contains("\nSeccomp:") {
        return check("seccomp", OK, "the kernel filters containers' system calls", "");
    }
    let remedy = "use a kernel with CONFIG_SECCOMP_FILTER, as OpenWrt's have";
    check("seccomp", WARNING, "the kernel has no seccomp: containers may try every system call", remedy)
}

/// `known` is the text of `/proc/filesystems`.
fn judge_filesystem(name: &'static str, openwrt: &str, known: &str, module: bool) -> Check {
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return check(name, OK, &format!("the kernel has {name}"), "");
    }
    if module {
        return check(name, OK, &format!("the kernel has {name} as a module, loaded when it is needed"), "");
    }
    let remedy = format!("install {openwrt} (OpenWrt), or a kernel with {name} (Debian: linux-image-amd64)");
    check(name, ERROR, &format!("the kernel has no {name}"), &remedy)
}

fn loop_devices() -> Check {
    if Path::new("/dev/loop-control").exists() {
        return check("loop devices", OK, "there is /dev/loop-control", "");
    }
    check(
        "loop devices",
        ERROR,
        "there is no /dev/loop-control",
        "install kmod-loop (OpenWrt), or `modprobe loop`",
    )
}

fn cgroups(cgroups: Option<&Cgroups>) -> Check {
    let Some(cgroups) = cgroups else { return check("cgroups", WARNING, "they were not looked at", "") };
    let family = match cgroups.family() {
        Family::V2 => "v2",
        Family::V1 => "v1",
    };
    let missing: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(|c| !cgroups.has(c)).collect();
    if missing.is_empty() {
        let message = format!("cgroup {family} limits memory, cpu and pids");
        return check("cgroups", OK, &message, "");
    }
    check(
        "cgroups",
        ERROR,
        &format!("cgroup {family} has no {}: these limits are not in force", missing.join(", ")),
        "mount cgroup2 at /sys/fs/cgroup, with these controllers compiled into the kernel",
    )
}

fn bridge(machine: &Machine, name: &str) -> Check {
    match machine.network.check_bridge(name) {
        Ok(()) => check("bridge", OK, &format!("{name} is there"), ""),
        Err(error) => {
            let (what, remedy) = split_remedy(&error.message);
            check("bridge", ERROR, &what, &remedy)
        }
    }
}

/// avahi-daemon, and who else answers for the box on port 5353.
fn avahi(machine: &Machine) -> Check {
    let state = machine.avahi.state();
    if runs("umdns") {
        let message = "umdns and avahi-daemon both want port 5353: what is announced may not be seen";
        let remedy =
            "keep avahi-daemon: `/etc/init.d/umdns stop; /etc/init.d/umdns disable`, or `opkg remove umdns`";
        return check("avahi", WARNING, message, remedy);
    }
    if let Some(trouble) = machine.avahi.hosts_trouble() {
        let (what, remedy) = split_remedy(&trouble);
        return check("avahi", WARNING, &what, &remedy);
    }
    let (what, remedy) = split_remedy(state.message());
    check("avahi", if state == State::Running { OK } else { WARNING }, &what, &remedy)
}

/// Whether a program called `name` runs.
fn runs(name: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let called = |dir: fs::DirEntry| fs::read_to_string(dir.path().join("comm")).unwrap_or_default();
    processes.flatten().any(|process| called(process).trim_end() == name)
}

fn storage(layout: &Layout, reserve: u64) -> Check {
    let path = &layout.storage;
    let shown = path.display();
    let kind = filesystem::Kind::of(path).ok();
    if kind.is_some_and(filesystem::Kind::is_in_memory) {
        return check(
            "storage",
            ERROR,
            &format!("{shown} is in memory: everything there is gone after a reboot"),
            "mount a disk there, or name another directory with `uci set cloudbox.main.storage=...`",
        );
    }
    if kind == Some(filesystem::Kind::OVERLAY) {
        return check(
            "storage",
            WARNING,
            &format!("{shown} is on the box's own overlay: containers without a disk quota cannot start there"),
            "mount a disk there, name another directory with `uci set cloudbox.main.storage=...`, or keep quotas",
        );
    }
    if let Some(closed) = path.ancestors().find(|dir| is_closed(dir)) {
        return check(
            "storage",
            ERROR,
            &format!("{} is closed to others: no container reaches its files below it", closed.display()),
            &format!("`chmod o+x {}`, or name another storage directory", closed.display()),
        );
    }
    let Ok(space) = Space::of(path) else {
        return check("storage", ERROR, &format!("{shown} cannot be examined"), "mount a disk there");
    };
    let message = format!(
        "{shown} has {} free of {}, {} is kept for the box",
        Bytes(space.free),
        Bytes(space.total),
        Bytes(reserve)
    );
    if space.free <= reserve {
        let remedy = "delete containers or images, lower `cloudbox.main.disk_reserve`, or use a larger disk";
        return check("storage", WARNING, &message, remedy);
    }
    check("storage", OK, &message, "")
}

/// Whether the storage's file system can hold a container's layer: it is tried, where nobody else sees it.
fn upper_layer(layout: &Layout, quota: bool) -> Check {
    // Quotas bring a file system of their own.
    let state = if quota { WARNING } else { ERROR };
    match try_overlay(layout) {
        Ok(()) => check("layers", OK, "the storage's file system can hold containers' layers", ""),
        Err(error) => check(
            "layers",
            state,
            &format!("no container without a disk quota can run: {}", error.message),
            "use ext4, xfs or btrfs for the storage, or give every container a quota: \
             `uci set cloudbox.main.disk=4G`",
        ),
    }
}

/// Ranges of user ids, and namespaces to use them in.
fn ids(used: usize) -> Check {
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    judge_ids(used, limit.trim().parse().ok())
}

fn judge_ids(used: usize, namespaces: Option<usize>) -> Check {
    let message = format!("{used} of {} ranges of user ids are taken", idrange::COUNT);
    if let Some(limit) = namespaces.filter(|limit| *limit <= used + 1) {
        let message = format!("{message}, but user.max_user_namespaces allows {limit} namespaces only");
        return check("user ids", ERROR, &message, "`sysctl -w user.max_user_namespaces=16384`");
    }
    check("user ids", OK, &message, "")
}

/// Certificates and the order of jobs want a clock that is not before this program was built.
fn clock() -> Check {
    judge_clock(now(), option_env!("SOURCE_DATE_EPOCH").and_then(|time| time.parse().ok()).unwrap_or(WRITTEN))
}

fn judge_clock(now: u64, built: u64) -> Check {
    if now >= built {
        return check("clock", OK, "it is later than this program", "");
    }
    let year = 1970 + now / YEAR;
    let remedy = "`/etc/init.d/sysntpd restart`, or `date -s`; a box without a battery needs NTP at boot";
    check("clock", ERROR, &format!("the clock says that it is {year}"), remedy)
}

fn leftovers(machine: &Machine, busy: &[String]) -> Check {
    let left = machine.storage.leftovers().unwrap_or_default();
    let left: Vec<&str> =
        left.iter().map(Name::as_str).filter(|name| !busy.iter().any(|b| b == name)).collect();
    if left.is_empty() {
        return check("leftovers", OK, "nothing was left half made", "");
    }
    let message = format!("something was left half made or half removed of {}", left.join(", "));
    check(
        "leftovers",
        WARNING,
        &message,
        "`cloudbox prune` says what it is, `cloudbox prune --yes` removes it",
    )
}

/// Whether others, such as a container's root, cannot pass through directory `dir`.
fn is_closed(dir: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0)
}

/// Every systemd guest takes a few of the inotify instances that all containers share.
fn inotify() -> Check {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    match limit.trim().parse::<u32>() {
        Ok(limit) if limit < INOTIFY_INSTANCES => check(
            "inotify",
            WARNING,
            &format!("fs.inotify.max_user_instances is {limit}: about {} systemd guests can run", limit / 2),
            "`sysctl -w fs.inotify.max_user_instances=8192`, and the same line in /etc/sysctl.d/60-cloudbox.conf",
        ),
        _ => check("inotify", OK, "there are enough inotify instances for many guests", ""),
    }
}

fn images(count: usize) -> Check {
    if count == 0 {
        let remedy = "bring one in: `cloudbox image pull distro`, or `cloudbox image import /path/to/image.squashfs distro`";
        return check("images", WARNING, "there is no image to make a container from", remedy);
    }
    check("images", OK, &format!("{count} in the store"), "")
}

#[cfg(test)]
mod tests {
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
    fn versions_clocks_and_ids_are_judged() {
        for (version, state) in
            [("5.0.2", OK), ("4.0.12", OK), ("6.0.0-devel", OK), ("3.2.1", WARNING), ("", ERROR)]
        {
            assert_eq!(judge_lxc(version).state, state, "{version}");
        }
        assert_eq!(judge_clock(WRITTEN, WRITTEN).state, OK);
        let early = judge_clock(90 * 86_400, WRITTEN);
        assert!(early.state == ERROR && early.message.ends_with("1970"), "{}", early.message);
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

    #[test]
    fn what_is_wrong_and_what_cures_it_are_told_apart() {
        let (what, remedy) = split_remedy("xz is not installed; install the package xz; or another");
        assert_eq!(
            (what.as_str(), remedy.as_str()),
            ("xz is not installed", "install the package xz; or another")
        );
    }
}
