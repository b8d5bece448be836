//! The box itself, as the kernel tells of it.

use nix::unistd::{sysconf, SysconfVar};

/// All of its memory, in bytes; 0 where nobody tells.
pub fn memory_total() -> u64 {
    meminfo("MemTotal").unwrap_or(0)
}

/// What programs could still be given of it, in bytes; 0 where nobody tells.
pub fn memory_available() -> u64 {
    meminfo("MemAvailable").unwrap_or(0)
}

/// A field of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Its architecture, as `uname -m` prints it.
pub fn arch() -> String {
    nix::sys::utsname::uname().map(|u| u.machine().to_string_lossy().into_owned()).unwrap_or_default()
}

/// How many processors it has; one where nobody tells.
pub fn processors() -> usize {
    let number = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1)
}
