//! Containers that other tools made: looked at, never changed.

use super::super::ctx::Ctx;
use super::super::filesystem::{entries, read_up_to, real_path};
use super::super::storage::Shifted;
use super::super::tool::{self, Tool};
use crate::error::{Code, Error, Result};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `lxc-info` answers at once.
const INFO_TIME: Duration = Duration::from_secs(20);
/// The most that is read of a configuration.
const CONFIG_MAX: u64 = 256 << 10;

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
/// It runs, its root is no plain directory, or somebody other than root may change where that is.
pub fn open(ctx: &Ctx, foreign: &Foreign, storage: &Path, mount_point: &Path) -> Result<Shifted> {
    let Foreign { name, lxcpath, .. } = foreign;
    // First of all: lxc-info reads the configuration, too.
    let root = find_root(name, lxcpath, storage)?;
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
    let meta = fs::symlink_metadata(&root).map_err(|e| Error::io("cannot look at", &root, e))?;
    // Its root's owner is its root.
    Shifted::mount(&root, mount_point, meta.uid())
}

/// The root directory of the container `name` below `lxcpath`. What a guest or another user could have laid down is not
/// taken: all of it on the way is root's own, and none of it in our `storage`.
fn find_root(name: &str, lxcpath: &Path, storage: &Path) -> Result<PathBuf> {
    let by_hand = |why: String| {
        let how =
            "mount it, pack it with `tar --numeric-owner`, `cloudbox image import` that and create from it";
        Error::new(Code::NotSupported, format_args!("container {name} cannot be taken over: {why}; {how}"))
    };
    let real = |path: &Path| real_path(path).map_err(|e| Error::io("cannot look at", path, e));
    let (top, storage) = (real(lxcpath)?, real(storage)?);
    if top.starts_with(&storage) {
        return Err(by_hand(format!("{} lies in cloudbox's own storage", top.display())));
    }
    check_way(&top, Path::new(name)).map_err(by_hand)?;
    let text = read_config(&top.join(name).join("config")).map_err(by_hand)?;
    let Some(root) = root_of(&text) else {
        return Err(by_hand("its root is no plain directory".into()));
    };
    let root = real(&root)?;
    let Some(below) = root.strip_prefix(&top).ok().filter(|below| below.file_name().is_some()) else {
        return Err(by_hand(format!("its root {} is not below {}", root.display(), top.display())));
    };
    if root.starts_with(&storage) || storage.starts_with(&root) {
        return Err(by_hand(format!("its root {} meets cloudbox's own storage", root.display())));
    }
    check_way(&top, below.parent().unwrap_or(Path::new(""))).map_err(by_hand)?;
    if !fs::symlink_metadata(&root).is_ok_and(|meta| meta.is_dir()) || !root.join("etc").is_dir() {
        return Err(by_hand(format!("{} is no root directory", root.display())));
    }
    Ok(root)
}

/// Checks that nobody but root may change the directories from `top` down to `below` it.
fn check_way(top: &Path, below: &Path) -> std::result::Result<(), String> {
    let mut at = top.to_path_buf();
    let mut rest = below.components();
    loop {
        let meta = fs::symlink_metadata(&at).map_err(|e| format!("cannot look at {}: {e}", at.display()))?;
        if !meta.is_dir() {
            return Err(format!("{} is no directory", at.display()));
        }
        check_roots_own(&at, &meta)?;
        let Some(next) = rest.next() else { return Ok(()) };
        at.push(next);
    }
}

fn check_roots_own(path: &Path, meta: &fs::Metadata) -> std::result::Result<(), String> {
    let by_others = meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && meta.gid() != 0);
    if meta.uid() != 0 || by_others {
        return Err(format!("others than root may change {}", path.display()));
    }
    Ok(())
}

/// A configuration: a regular file of root's own, of a size that such a file has.
fn read_config(path: &Path) -> std::result::Result<String, String> {
    let failed = |e: io::Error| format!("cannot read {}: {e}", path.display());
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    check_roots_own(path, &meta)?;
    let text = read_up_to(&file, CONFIG_MAX).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
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
    use crate::testing::TempDir;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_could_have_laid_down_is_not_taken_over() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = TempDir::make();
        let dir = temp.path().canonicalize().unwrap();
        let (lxc, storage) = (dir.join("lxc"), dir.join("storage"));
        fs::create_dir_all(storage.join("guest/lx/evil")).unwrap();
        fs::create_dir_all(dir.join("host/etc")).unwrap();
        fs::create_dir_all(lxc.join("web/rootfs/etc")).unwrap();
        let config = |root: &str| {
            fs::write(lxc.join("web/config"), format!("lxc.rootfs.path = dir:{root}\n")).unwrap()
        };
        let lxc_text = lxc.display();
        config(&format!("{lxc_text}/web/rootfs"));
        let good = || find_root("web", &lxc, &storage);
        assert_eq!(good().unwrap(), lxc.join("web/rootfs"));
        // A guest's own root has a guest's ids; what leads there has not.
        let own = |path: &Path, owner: u32| std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
        own(&lxc.join("web/rootfs"), 1_000_000);
        assert_eq!(good().unwrap(), lxc.join("web/rootfs"));
        let refused = |lxcpath: &Path, name: &str, why: &str| {
            let error = find_root(name, lxcpath, &storage).unwrap_err();
            assert!(error.code == Code::NotSupported && error.message.contains(why), "{error}");
        };
        for root in [format!("{}/host", dir.display()), format!("{lxc_text}/../host"), lxc_text.to_string()] {
            config(&root);
            refused(&lxc, "web", "is not below");
        }
        std::os::unix::fs::symlink(dir.join("host"), lxc.join("web/link")).unwrap();
        config(&format!("{lxc_text}/web/link"));
        refused(&lxc, "web", "is not below");
        config(&format!("{lxc_text}/web/rootfs"));
        for path in ["web/config", "web", "."] {
            own(&lxc.join(path), 1_000_000);
            refused(&lxc, "web", "others than root may change");
            own(&lxc.join(path), 0);
            fs::set_permissions(lxc.join(path), fs::Permissions::from_mode(0o777)).unwrap();
            refused(&lxc, "web", "others than root may change");
            fs::set_permissions(lxc.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
        good().unwrap();
        // Below a guest's root, where everything is the guest's to write.
        let inside = storage.join("guest/lx");
        fs::write(inside.join("evil/config"), format!("lxc.rootfs.path = dir:{}/host\n", dir.display()))
            .unwrap();
        refused(&inside, "evil", "lies in cloudbox's own storage");
        // A directory above the storage.
        fs::create_dir_all(dir.join("etc")).unwrap();
        let (above, top) = (dir.parent().unwrap(), dir.file_name().unwrap().to_str().unwrap());
        fs::write(dir.join("config"), format!("lxc.rootfs.path = dir:{}\n", dir.display())).unwrap();
        let error = find_root(top, above, &storage).unwrap_err();
        assert!(
            error.message.contains("meets cloudbox") || error.message.contains("others than root"),
            "{error}"
        );
        fs::remove_file(lxc.join("web/config")).unwrap();
        nix::unistd::mkfifo(&lxc.join("web/config"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        refused(&lxc, "web", "is no regular file");
    }

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
