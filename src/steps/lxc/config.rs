//! LXC's configuration file: the one place that writes it.
//!
//! It includes none of the distribution's files, so that a container is the same on every box; lxcfs's hook in
//! Debian's common.conf would also make each stop half a second slower. What common.conf and userns.conf bring and is
//! needed stands here. All values come from checked types: none can end a line.

use super::super::ctx::Ctx;
use super::super::layout::Layout;
use super::super::storage::Record;
use super::apparmor::{self, Profile};
use super::cgroup::{quota, Cgroups, Family, CPU_PERIOD};
use crate::model::address::Address;
use crate::model::idrange;
use crate::model::image::Init;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Capabilities that are of no use in a user namespace: the kernel asks for them in its first one. docs/security.md says of
/// the others what a guest with systemd needs them for. The names are those that every LXC knows.
const DROPPED: &str =
    "audit_control block_suspend linux_immutable mac_admin mac_override sys_module sys_pacct sys_rawio \
                       sys_time syslog wake_alarm";
/// How much sooner a guest's processes are killed than the box's when the box has no memory left, of 1000.
const OOM_SCORE: u32 = 500;
/// Groups that a guest may make below its own, and how many in one another, on v2: each takes the box's memory, and one of
/// the 65,535 numbers there are. A systemd guest makes some fifty.
pub const GROUPS: u32 = 1000;
pub const GROUPS_DEPTH: u32 = 32;
/// Bytes of a console log. A full one becomes the earlier one, whose place it takes: so much is kept at least, and twice
/// as much at most.
pub const CONSOLE_LOG_SIZE: u64 = 128 << 10;

/// What the host is like, as far as the configuration depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// The guest's profile of AppArmor.
    pub apparmor: Profile,
    /// The kernel filters system calls.
    pub seccomp: bool,
}

impl Host {
    /// Looks at this host, for a container that is about to start.
    pub fn prepare(ctx: &Ctx) -> Host {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Host { apparmor: apparmor::prepare(ctx), seccomp: status.contains("\nSeccomp:") }
    }
}

/// The signal that asks init to shut down.
pub fn halt_signal(init: Init) -> i32 {
    match init {
        Init::Systemd => libc::SIGRTMIN() + 3,
        Init::Busybox | Init::Procd => libc::SIGUSR1,
        Init::Sysvinit | Init::Other => libc::SIGPWR,
    }
}

/// The configuration of `record`'s container. `gateway` is the default route of a static address.
pub fn render(
    layout: &Layout,
    cgroups: &Cgroups,
    host: Host,
    record: &Record,
    gateway: Option<Ipv4Addr>,
) -> String {
    let mut text = String::with_capacity(2048);
    let dir = layout.container(&record.name);
    let group = layout.cgroup();
    let Record { name, spec, ids, .. } = record;
    let _ = write!(
        text,
        "# Written by cloudbox at each start; change the container with uci or ubus.
lxc.uts.name = {}
lxc.rootfs.path = dir:{}
lxc.idmap = u 0 {base} {size}
lxc.idmap = g 0 {base} {size}
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
lxc.pty.max = 1024
lxc.tty.max = 4
lxc.console.logfile = {}
lxc.console.size = {CONSOLE_LOG_SIZE}
lxc.console.rotate = 1
lxc.signal.halt = {}
lxc.cap.drop = {DROPPED}
lxc.proc.oom_score_adj = {OOM_SCORE}
",
        record.hostname(),
        dir.rootfs().display(),
        dir.console_log().display(),
        halt_signal(record.init),
        base = ids.base,
        size = idrange::SIZE,
    );
    if host.seccomp {
        let _ = writeln!(text, "lxc.seccomp.profile = {}", dir.seccomp().display());
    }
    text.push_str(host.apparmor.lines());
    let _ = write!(
        text,
        "lxc.net.0.type = veth
lxc.net.0.link = {}
lxc.net.0.veth.pair = {}
lxc.net.0.hwaddr = {}
lxc.net.0.name = eth0
lxc.net.0.flags = up
",
        spec.bridge, record.veth, record.mac,
    );
    if let Address::Static(address) = spec.address {
        let _ = writeln!(text, "lxc.net.0.ipv4.address = {address}");
        if let Some(gateway) = gateway {
            let _ = writeln!(text, "lxc.net.0.ipv4.gateway = {gateway}");
        }
    }
    let (memory, pids, quota) = (spec.memory.get(), spec.pids, quota(spec));
    // The monitor gets a cgroup of its own, away from the daemon's, which procd may kill with the daemon. And limits
    // for both families: LXC ignores the one that is not mounted.
    let _ = write!(
        text,
        "lxc.cgroup.dir.container = {group}/{name}
lxc.cgroup.dir.monitor = {group}/{name}.monitor
lxc.cgroup.dir.monitor.pivot = {group}/pivot
lxc.cgroup.memory.limit_in_bytes = {memory}
lxc.cgroup.pids.max = {pids}
lxc.cgroup.cpu.cfs_period_us = {CPU_PERIOD}
lxc.cgroup.cpu.cfs_quota_us = {quota}
",
    );
    // On pure v2 a limit whose controller is not there would make the start fail; `doctor` reports it instead.
    let v2 = |controller: &str| cgroups.family() != Family::V2 || cgroups.has(controller);
    if v2("memory") {
        let _ = writeln!(text, "lxc.cgroup2.memory.max = {memory}");
    }
    if v2("pids") {
        let _ = writeln!(text, "lxc.cgroup2.pids.max = {pids}");
    }
    if cgroups.family() == Family::V2 {
        let _ = writeln!(
            text,
            "lxc.cgroup2.cgroup.max.descendants = {GROUPS}\nlxc.cgroup2.cgroup.max.depth = {GROUPS_DEPTH}"
        );
    }
    if v2("cpu") {
        let _ = writeln!(text, "lxc.cgroup2.cpu.max = {quota} {CPU_PERIOD}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of linux/capability.h.
    const CAPABILITIES: &str = "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap \
        linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio \
        sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease \
        audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon \
        bpf checkpoint_restore";

    #[test]
    fn each_capability_is_dropped_or_has_its_reason() {
        let page = include_str!("../../../docs/security.md");
        let table = page.split_once("| capabilities |").unwrap().1.split_once("\n\n").unwrap().0;
        let said = page.split_once("these are dropped").unwrap().1.split_once("The others stay").unwrap().0;
        let dropped: Vec<&str> = DROPPED.split_whitespace().collect();
        for name in CAPABILITIES.split_whitespace() {
            let quoted = format!("`{name}`");
            let is_dropped = dropped.contains(&name);
            assert_eq!(
                table.matches(&quoted).count(),
                usize::from(!is_dropped),
                "{name} in the table of kept ones"
            );
            assert_eq!(
                said.contains(&quoted),
                is_dropped,
                "{name} among those that the page says are dropped"
            );
        }
        assert!(dropped.iter().all(|name| CAPABILITIES.split_whitespace().any(|known| known == *name)));
    }
}
