//! LXC's configuration file: the one place that writes it.
//!
//! It includes none of the distribution's files, so that a container is the same on every box; lxcfs's hook in
//! Debian's common.conf would also make each stop half a second slower. What common.conf and userns.conf bring and is
//! needed stands here. All values come from checked types: none can end a line.

use super::super::layout::Layout;
use super::super::storage::Record;
use super::cgroup::{quota, Cgroups, Family, CPU_PERIOD};
use crate::model::address::Address;
use crate::model::idrange;
use crate::model::image::Init;
use crate::sys;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

/// What LXC's own configuration denies: kexec, module loading and the like.
const SECCOMP: &str = "/usr/share/lxc/config/common.seccomp";
/// Bytes of a console log. A full one becomes the earlier one, whose place it takes: so much is kept at least, and twice
/// as much at most.
pub const CONSOLE_LOG_SIZE: u64 = 128 << 10;

/// What the host is like, as far as the configuration depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// AppArmor is on.
    pub apparmor: bool,
    /// LXC's seccomp profile is there.
    pub seccomp: bool,
}

impl Host {
    /// Looks at this host.
    pub fn detect() -> Host {
        let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        Host { apparmor: apparmor.is_ok_and(|text| text.trim() == "Y"), seccomp: Path::new(SECCOMP).exists() }
    }
}

/// The signal that asks init to shut down.
pub fn halt_signal(init: Init) -> i32 {
    match init {
        Init::Systemd => sys::sigrtmin() + 3,
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
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{key} = {value}");
    };
    let dir = layout.container(&record.name);
    let group = layout.cgroup();
    let name = &record.name;

    let hostname = record.hostname();
    line(
        "# Written by cloudbox at each start; change the container with uci or ubus.\nlxc.uts.name",
        &hostname,
    );
    line("lxc.rootfs.path", &format_args!("dir:{}", dir.rootfs().display()));
    for kind in ["u", "g"] {
        line("lxc.idmap", &format_args!("{kind} 0 {} {}", record.ids.base, idrange::SIZE));
    }
    line("lxc.mount.auto", &"cgroup:mixed proc:mixed sys:mixed");
    line("lxc.pty.max", &1024);
    line("lxc.tty.max", &4);
    line("lxc.console.logfile", &dir.console_log().display());
    line("lxc.console.size", &CONSOLE_LOG_SIZE);
    line("lxc.console.rotate", &1);
    line("lxc.signal.halt", &halt_signal(record.init));
    if host.seccomp {
        line("lxc.seccomp.profile", &SECCOMP);
    }
    if host.apparmor {
        line("lxc.apparmor.profile", &"generated");
        line("lxc.apparmor.allow_nesting", &1);
    }

    line("lxc.net.0.type", &"veth");
    line("lxc.net.0.link", &record.spec.bridge);
    line("lxc.net.0.veth.pair", &record.veth);
    line("lxc.net.0.hwaddr", &record.mac);
    line("lxc.net.0.name", &"eth0");
    line("lxc.net.0.flags", &"up");
    if let Address::Static(address) = record.spec.address {
        line("lxc.net.0.ipv4.address", &address);
        if let Some(gateway) = gateway {
            line("lxc.net.0.ipv4.gateway", &gateway);
        }
    }

    // The monitor gets a cgroup of its own, away from the daemon's, which procd may kill with the daemon.
    line("lxc.cgroup.dir.container", &format_args!("{group}/{name}"));
    line("lxc.cgroup.dir.monitor", &format_args!("{group}/{name}.monitor"));
    line("lxc.cgroup.dir.monitor.pivot", &format_args!("{group}/pivot"));
    let spec = &record.spec;
    let quota = quota(spec);
    // Both families: LXC ignores the one that is not mounted.
    line("lxc.cgroup.memory.limit_in_bytes", &spec.memory.get());
    line("lxc.cgroup.pids.max", &spec.pids);
    line("lxc.cgroup.cpu.cfs_period_us", &CPU_PERIOD);
    line("lxc.cgroup.cpu.cfs_quota_us", &quota);
    // On pure v2 a limit whose controller is not there would make the start fail; `doctor` reports it instead.
    let v2 = |controller: &str| cgroups.family() != Family::V2 || cgroups.has(controller);
    if v2("memory") {
        line("lxc.cgroup2.memory.max", &spec.memory.get());
    }
    if v2("pids") {
        line("lxc.cgroup2.pids.max", &spec.pids);
    }
    if v2("cpu") {
        line("lxc.cgroup2.cpu.max", &format_args!("{quota} {CPU_PERIOD}"));
    }
    text
}
