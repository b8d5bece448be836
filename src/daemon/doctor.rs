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
use log::{error, warn};
use std::fmt::{self, Arguments};
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
    let failed = |(name, failure): (&Name, &Error)| {
        error(
            "container",
            format_args!("{name}: {}", failure.message),
            format_args!("then `cloudbox start {name}`; `cloudbox log {name}` says more"),
        )
    };
    let mut checks: Vec<Check> = core.failures().map(failed).collect();
    for error in core.unreadable.values() {
        checks.push(told("container", ERROR, &error.message));
    }
    for name in core.orphans() {
        checks.push(warning(
            "container",
            format_args!("{name} has no section in UCI; its data is kept"),
            format_args!(
                "`cloudbox adopt {name}` gives it its section again, `cloudbox delete {name}` removes it"
            ),
        ));
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
        checks.push(ok("configuration", format_args!("it is read whole and carried out")));
    }
    for wrong in &what.warnings {
        let remedy = format_args!("mend it, then `cloudbox reload`");
        checks.push(warning("configuration", format_args!("{wrong}"), remedy));
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
            ERROR => error!("{name}: {message}; {remedy}"),
            _ => warn!("{name}: {message}; {remedy}"),
        }
    }
}

fn ok(name: &'static str, message: Arguments) -> Check {
    Check { name, state: OK, message: fmt::format(message), remedy: String::new() }
}

fn warning(name: &'static str, message: Arguments, remedy: Arguments) -> Check {
    Check { name, state: WARNING, message: fmt::format(message), remedy: fmt::format(remedy) }
}

fn error(name: &'static str, message: Arguments, remedy: Arguments) -> Check {
    Check { state: ERROR, ..warning(name, message, remedy) }
}

/// "mksquashfs is not installed; install …": the first is what, the rest is the remedy.
fn told(name: &'static str, state: &'static str, text: &str) -> Check {
    let (what, remedy) = text.split_once("; ").unwrap_or((text, ""));
    Check { name, state, message: what.to_string(), remedy: remedy.to_string() }
}

/// What a file of the kernel's says; nothing where there is none.
fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn tool(name: &'static str, tools: &[&str], missing: &'static str) -> Check {
    let errors: Vec<String> =
        tools.iter().filter_map(|tool| Tool::find(tool).err()).map(|e| e.into_message()).collect();
    if errors.is_empty() {
        let are = if tools.len() == 1 { "is" } else { "are" };
        return ok(name, format_args!("{} {are} installed", tools.join(", ")));
    }
    told(name, missing, &errors.join("; "))
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
        Some(major) if major >= LXC_MIN => ok("lxc", format_args!("LXC {version} is installed")),
        Some(_) => warning(
            "lxc",
            format_args!("LXC {version} is older than what cloudbox is tested with, {LXC_MIN}.0"),
            format_args!("install a newer one: `opkg update; opkg upgrade lxc liblxc`, or Debian 12"),
        ),
        None => error(
            "lxc",
            format_args!("lxc-start does not say its version: {version}"),
            format_args!("install it again"),
        ),
    }
}

fn namespaces() -> Check {
    let missing: Vec<&str> = ["user", "pid", "net", "mnt", "uts", "ipc"]
        .into_iter()
        .filter(|n| !Path::new("/proc/self/ns").join(n).exists())
        .collect();
    if missing.is_empty() {
        return ok(
            "namespaces",
            format_args!("the kernel has user, pid, net, mount, uts and ipc namespaces"),
        );
    }
    error(
        "namespaces",
        format_args!("the kernel has no {} namespaces", missing.join(", ")),
        format_args!("use a kernel with CONFIG_NAMESPACES and CONFIG_USER_NS, as OpenWrt's x86 images have"),
    )
}

/// Whether the kernel knows a file system, or has a module that the first mount loads.
fn filesystem(name: &'static str, openwrt: &str) -> Check {
    let known = text_of(Path::new("/proc/filesystems"));
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
    let listed = |list: &str| text_of(&modules().join(list)).contains(&format!("/{file}"));
    // OpenWrt has no lists, but the modules themselves side by side.
    listed("modules.dep") || listed("modules.builtin") || modules().join(&file).exists()
}

fn veth() -> Check {
    if !modules().exists() || has_module("veth") || Path::new("/sys/module/veth").exists() {
        return ok("veth", format_args!("the kernel is not known to lack veth, the containers' cables"));
    }
    warning(
        "veth",
        format_args!("there is no module veth: unless it is built in, no container gets a network"),
        format_args!("install kmod-veth (OpenWrt), or a kernel with CONFIG_VETH"),
    )
}

fn seccomp() -> Check {
    if text_of(Path::new("/proc/self/status")).contains("\nSeccomp:") {
        return ok("seccomp", format_args!("the kernel filters containers' system calls"));
    }
    warning(
        "seccomp",
        format_args!("the kernel has no seccomp: containers may try every system call"),
        format_args!("use a kernel with CONFIG_SECCOMP_FILTER, as OpenWrt's have"),
    )
}

/// `known` is the text of `/proc/filesystems`.
fn judge_filesystem(name: &'static str, openwrt: &str, known: &str, module: bool) -> Check {
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return ok(name, format_args!("the kernel has {name}"));
    }
    if module {
        return ok(name, format_args!("the kernel has {name} as a module, loaded when it is needed"));
    }
    error(
        name,
        format_args!("the kernel has no {name}"),
        format_args!("install {openwrt} (OpenWrt), or a kernel with {name} (Debian: linux-image-amd64)"),
    )
}

fn loop_devices() -> Check {
    if Path::new("/dev/loop-control").exists() {
        return ok("loop devices", format_args!("there is /dev/loop-control"));
    }
    error(
        "loop devices",
        format_args!("there is no /dev/loop-control"),
        format_args!("install kmod-loop (OpenWrt), or `modprobe loop`"),
    )
}

fn cgroups(cgroups: Option<&Cgroups>) -> Check {
    let Some(cgroups) = cgroups else { return told("cgroups", WARNING, "they were not looked at") };
    let family = match cgroups.family() {
        Family::V2 => "v2",
        Family::V1 => "v1",
    };
    let missing: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(|c| !cgroups.has(c)).collect();
    if missing.is_empty() {
        return ok("cgroups", format_args!("cgroup {family} limits memory, cpu and pids"));
    }
    error(
        "cgroups",
        format_args!("cgroup {family} has no {}: these limits are not in force", missing.join(", ")),
        format_args!("mount cgroup2 at /sys/fs/cgroup, with these controllers compiled into the kernel"),
    )
}

fn bridge(machine: &Machine, name: &str) -> Check {
    match machine.network.check_bridge(name) {
        Ok(()) => ok("bridge", format_args!("{name} is there")),
        Err(error) => told("bridge", ERROR, &error.message),
    }
}

/// avahi-daemon, and who else answers for the box on port 5353.
fn avahi(machine: &Machine) -> Check {
    let state = machine.avahi.state();
    if runs("umdns") {
        return warning(
            "avahi",
            format_args!("umdns and avahi-daemon both want port 5353: what is announced may not be seen"),
            format_args!(
                "keep avahi-daemon: `/etc/init.d/umdns stop; /etc/init.d/umdns disable`, or `opkg remove umdns`"
            ),
        );
    }
    if let Some(trouble) = machine.avahi.hosts_trouble() {
        return told("avahi", WARNING, &trouble);
    }
    told("avahi", if state == State::Running { OK } else { WARNING }, state.message())
}

/// Whether a program called `name` runs.
fn runs(name: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| text_of(&process.path().join("comm")).trim_end() == name)
}

fn storage(layout: &Layout, reserve: u64) -> Check {
    let path = &layout.storage;
    let shown = path.display();
    let kind = filesystem::Kind::of(path).ok();
    if kind.is_some_and(filesystem::Kind::is_in_memory) {
        return error(
            "storage",
            format_args!("{shown} is in memory: everything there is gone after a reboot"),
            format_args!(
                "mount a disk there, or name another directory with `uci set cloudbox.main.storage=...`"
            ),
        );
    }
    if kind == Some(filesystem::Kind::OVERLAY) {
        return warning(
            "storage",
            format_args!("{shown} is on the box's own overlay: containers without a disk quota cannot start there"),
            format_args!(
                "mount a disk there, name another directory with `uci set cloudbox.main.storage=...`, or keep quotas"
            ),
        );
    }
    if let Some(closed) = path.ancestors().find(|dir| is_closed(dir)) {
        return error(
            "storage",
            format_args!("{} is closed to others: no container reaches its files below it", closed.display()),
            format_args!("`chmod o+x {}`, or name another storage directory", closed.display()),
        );
    }
    let Ok(space) = Space::of(path) else {
        return error(
            "storage",
            format_args!("{shown} cannot be examined"),
            format_args!("mount a disk there"),
        );
    };
    let (free, total, kept) = (Bytes(space.free), Bytes(space.total), Bytes(reserve));
    let message = format!("{shown} has {free} free of {total}, {kept} is kept for the box");
    if space.free <= reserve {
        let remedy = "delete containers or images, lower `cloudbox.main.disk_reserve`, or use a larger disk";
        return warning("storage", format_args!("{message}"), format_args!("{remedy}"));
    }
    ok("storage", format_args!("{message}"))
}

/// Whether the storage's file system can hold a container's layer: it is tried, where nobody else sees it.
fn upper_layer(layout: &Layout, quota: bool) -> Check {
    // Quotas bring a file system of their own.
    let state = if quota { WARNING } else { ERROR };
    match try_overlay(layout) {
        Ok(()) => ok("layers", format_args!("the storage's file system can hold containers' layers")),
        Err(error) => {
            let found = warning(
                "layers",
                format_args!("no container without a disk quota can run: {}", error.message),
                format_args!(
                    "use ext4, xfs or btrfs for the storage, or give every container a quota: \
                     `uci set cloudbox.main.disk=4G`"
                ),
            );
            Check { state, ..found }
        }
    }
}

/// Ranges of user ids, and namespaces to use them in.
fn ids(used: usize) -> Check {
    let limit = text_of(Path::new("/proc/sys/user/max_user_namespaces"));
    judge_ids(used, limit.trim().parse().ok())
}

fn judge_ids(used: usize, namespaces: Option<usize>) -> Check {
    let found = ok("user ids", format_args!("{used} of {} ranges of user ids are taken", idrange::COUNT));
    match namespaces.filter(|limit| *limit <= used + 1) {
        Some(limit) => error(
            found.name,
            format_args!("{}, but user.max_user_namespaces allows {limit} namespaces only", found.message),
            format_args!("`sysctl -w user.max_user_namespaces=16384`"),
        ),
        None => found,
    }
}

/// Certificates and the order of jobs want a clock that is not before this program was built.
fn clock() -> Check {
    judge_clock(now(), option_env!("SOURCE_DATE_EPOCH").and_then(|time| time.parse().ok()).unwrap_or(WRITTEN))
}

fn judge_clock(now: u64, built: u64) -> Check {
    if now >= built {
        return ok("clock", format_args!("it is later than this program"));
    }
    error(
        "clock",
        format_args!("the clock says that it is {}", 1970 + now / YEAR),
        format_args!(
            "`/etc/init.d/sysntpd restart`, or `date -s`; a box without a battery needs NTP at boot"
        ),
    )
}

fn leftovers(machine: &Machine, busy: &[String]) -> Check {
    let left = machine.storage.leftovers().unwrap_or_default();
    let left: Vec<&str> =
        left.iter().map(Name::as_str).filter(|name| !busy.iter().any(|b| b == name)).collect();
    if left.is_empty() {
        return ok("leftovers", format_args!("nothing was left half made"));
    }
    warning(
        "leftovers",
        format_args!("something was left half made or half removed of {}", left.join(", ")),
        format_args!("`cloudbox prune` says what it is, `cloudbox prune --yes` removes it"),
    )
}

/// Whether others, such as a container's root, cannot pass through directory `dir`.
fn is_closed(dir: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0)
}

/// Every systemd guest takes a few of the inotify instances that all containers share.
fn inotify() -> Check {
    let limit = text_of(Path::new("/proc/sys/fs/inotify/max_user_instances"));
    match limit.trim().parse::<u32>() {
        Ok(limit) if limit < INOTIFY_INSTANCES => warning(
            "inotify",
            format_args!("fs.inotify.max_user_instances is {limit}: about {} systemd guests can run", limit / 2),
            format_args!(
                "`sysctl -w fs.inotify.max_user_instances=8192`, and the same line in /etc/sysctl.d/60-cloudbox.conf"
            ),
        ),
        _ => ok("inotify", format_args!("there are enough inotify instances for many guests")),
    }
}

fn images(count: usize) -> Check {
    if count == 0 {
        return warning(
            "images",
            format_args!("there is no image to make a container from"),
            format_args!(
                "bring one in: `cloudbox image pull distro`, or `cloudbox image import /path/to/image.squashfs distro`"
            ),
        );
    }
    ok("images", format_args!("{count} in the store"))
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
        let check = told("x", ERROR, "xz is not installed; install the package xz; or another");
        assert_eq!(
            (check.message.as_str(), check.remedy.as_str()),
            ("xz is not installed", "install the package xz; or another")
        );
    }
}
