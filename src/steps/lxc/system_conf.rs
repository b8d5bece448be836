//! LXC's own configuration of the whole system, of which our containers need nothing: somebody who uses LXC by hand may
//! have said there which control groups it shall leave alone, and then no limit can be set.

use super::super::filesystem::{mount, read_text, unmount};
use super::super::layout::Layout;
use super::super::wait;
use crate::error::{Error, Result};
use crate::model::name::Name;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::{unshare, CloneFlags};
use std::fs;
use std::path::Path;

/// Where LXC has it, unless it was built otherwise.
pub const PATH: &str = "/etc/lxc/lxc.conf";
/// It has a few lines.
const CONF_MAX: u64 = 64 << 10;

/// The first line of it that our containers do not start with.
pub fn hindrance() -> Option<String> {
    find_hindrance(&read_text(Path::new(PATH), CONF_MAX).ok()?)
}

fn find_hindrance(text: &str) -> Option<String> {
    let is_it = |line: &&str| line.trim_start().starts_with("lxc.cgroup.");
    text.lines().find(is_it).map(|line| line.trim().to_string())
}

/// Does `work`, which starts container `name`, where LXC finds nothing in its file: in a mount namespace of a thread's own,
/// which LXC's monitor keeps. Nothing of other containers is mounted there, so that it holds none of them.
///
/// # Errors
/// Those of `work`; no such namespace can be made.
pub fn without(layout: &Layout, name: &Name, work: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
    let mut done = Ok(());
    let begun = wait::in_thread(&mut || {
        done = leave(layout, name)
            .map_err(|e| Error::os("cannot make a mount namespace", e))
            .and_then(|()| work());
    });
    begun.map_err(|e| Error::os("cannot start a thread", e)).and(done)
}

fn leave(layout: &Layout, name: &Name) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What is unmounted on the box goes here, too.
    mount(Path::new(""), Path::new("/"), "", MsFlags::MS_REC | MsFlags::MS_SLAVE, "")?;
    mount(Path::new("/dev/null"), Path::new(PATH), "", MsFlags::MS_BIND, "")?;
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let own = layout.container(name);
    let others = |point: &&Path| {
        let is_ours = point.starts_with(layout.containers()) || point.starts_with(&layout.run);
        is_ours && !point.starts_with(own.path()) && **point != layout.run
    };
    // What was mounted last lies on top.
    for point in points.filter(others).collect::<Vec<_>>().into_iter().rev() {
        let _ = unmount(point, MntFlags::MNT_DETACH);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hinders_is_found() {
        for (text, line) in [
            ("", None),
            ("# lxc.cgroup.use = memory\nlxc.lxcpath = /srv/lxc\n", None),
            ("lxc.lxcpath=/x\n  lxc.cgroup.use = memory,cpu \n", Some("lxc.cgroup.use = memory,cpu")),
            ("lxc.cgroup.pattern=lxc/%n", Some("lxc.cgroup.pattern=lxc/%n")),
        ] {
            assert_eq!(find_hindrance(text).as_deref(), line, "{text:?}");
        }
    }
}
