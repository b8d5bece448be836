//! Containers that other tools made: looked at, never changed.

use super::super::ctx::Ctx;
use super::super::filesystem::entries;
use super::super::storage::Shifted;
use super::super::tool::{self, Tool};
use crate::error::{Code, Error, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `lxc-info` answers at once.
const INFO_TIME: Duration = Duration::from_secs(20);

/// A container of another tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its name; not always one that we would give.
    pub name: String,
    /// Where all of its tool's containers are.
    pub lxcpath: PathBuf,
    /// It runs.
    pub running: bool,
}

/// The containers below `lxcpath`, by name. None when there is no such directory.
pub fn scan(lxcpath: &Path) -> Vec<Foreign> {
    let mut names = entries(lxcpath).unwrap_or_default();
    names.retain(|name| lxcpath.join(name).join("config").is_file());
    names.sort_unstable();
    if names.is_empty() {
        return Vec::new();
    }
    // Whoever runs one listens for commands here.
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = lxcpath.display();
    let running = |name: &String| sockets.contains(&format!("@{path}/{name}/command\n"));
    names
        .into_iter()
        .map(|name| Foreign { running: running(&name), lxcpath: lxcpath.to_path_buf(), name })
        .collect()
}

/// Its root directory, with the ids that it has inside.
///
/// # Errors
/// It runs, or its root is no plain directory.
pub fn open(ctx: &Ctx, foreign: &Foreign, mount_point: &Path) -> Result<Shifted> {
    let Foreign { name, lxcpath, .. } = foreign;
    let mut info = Tool::command("lxc-info")?;
    info.args(["-n", name, "-s", "-H", "-P"]).arg(lxcpath);
    let state = tool::run(&mut info, ctx, INFO_TIME)?.stdout;
    if !state.starts_with(b"STOPPED") {
        let path = lxcpath.display();
        return Err(Error::new(
            Code::Running,
            format_args!("container {name} of {path} runs; stop it first: `lxc-stop -n {name} -P {path}`"),
        ));
    }
    let config = lxcpath.join(name).join("config");
    let text = fs::read_to_string(&config).map_err(|e| Error::io("cannot read", &config, e))?;
    let by_hand = |why: &str| {
        let how =
            "mount it, pack it with `tar --numeric-owner`, `cloudbox image import` that and create from it";
        Error::new(Code::NotSupported, format_args!("container {name} cannot be taken over: {why}; {how}"))
    };
    let Some(root) = root_of(&text) else {
        return Err(by_hand("its root is no plain directory"));
    };
    let meta = fs::symlink_metadata(&root).map_err(|e| Error::io("cannot look at", &root, e))?;
    if !meta.is_dir() || !root.join("etc").is_dir() {
        return Err(by_hand(&format!("{} is no root directory", root.display())));
    }
    // Its root's owner is its root.
    Shifted::mount(&root, mount_point, meta.uid())
}

/// The directory that a configuration names as root.
fn root_of(config: &str) -> Option<PathBuf> {
    let value = config.lines().rev().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        ["lxc.rootfs.path", "lxc.rootfs"].contains(&key.trim()).then_some(value.trim())
    })?;
    let path = value.strip_prefix("dir:").unwrap_or(value);
    path.starts_with('/').then(|| PathBuf::from(path)).filter(|path| path.parent().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_can_be_taken_over() {
        for (config, root) in [
            ("lxc.rootfs.path = dir:/srv/lxc/a/rootfs\n", Some("/srv/lxc/a/rootfs")),
            ("lxc.rootfs.path=/a/b", Some("/a/b")),
            ("lxc.rootfs = /old\n", Some("/old")),
            ("lxc.rootfs.path = /first\n#\nlxc.rootfs.path = /last\n", Some("/last")),
            ("#lxc.rootfs.path = /a\n", None),
            ("lxc.rootfs.path = overlay:/a:/b\n", None),
            ("lxc.rootfs.path = btrfs:/a\n", None),
            ("lxc.rootfs.path = /\n", None),
            ("lxc.rootfs.path = a/b\n", None),
            ("", None),
        ] {
            assert_eq!(root_of(config), root.map(PathBuf::from), "{config:?}");
        }
    }
}
