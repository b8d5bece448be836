//! Our file among those that the box's own name server reads: phones and Windows machines ask no mDNS.
//!
//! OpenWrt's dnsmasq reads every file in `/tmp/hosts`, when it starts and at SIGHUP; `web` there is `web.lan` too. Nothing
//! of `/etc/config/dhcp` is touched.

use super::super::process::Process;
use super::replace;
use crate::error::{Error, Result};
use crate::sys;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What our file is called.
const FILE: &str = "cloudbox";
const HEADER: &str = "# written by cloudbox: changes are lost\n";
/// Names that are not a container's to have: whoever asks for one of them means something else. Browsers and Windows look
/// for a proxy and a tunnel under two of them.
const OTHERS: [&str; 4] = ["localhost", "broadcasthost", "wpad", "isatap"];

/// Whether the name server may give out `name` for a container of the box called `hostname`.
pub fn may_be_named(name: &str, hostname: &str) -> bool {
    let own = hostname.split('.').next().unwrap_or_default();
    !OTHERS.contains(&name) && !name.eq_ignore_ascii_case(own)
}

/// Makes our file in `dir` say `names`; without any there is none. Returns whether it says something new. Where there is no
/// such directory there is no name server that reads it.
///
/// # Errors
/// It cannot be written.
pub fn announce(dir: &Path, names: &[(String, IpAddr)]) -> Result<bool> {
    // It is in a directory where everybody may make one.
    let is_roots = |meta: fs::Metadata| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0;
    if !fs::symlink_metadata(dir).is_ok_and(is_roots) {
        return Ok(false);
    }
    let path = dir.join(FILE);
    if names.is_empty() {
        return match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("cannot remove", &path, e)),
        };
    }
    let mut text = HEADER.to_string();
    for (name, address) in names {
        let _ = writeln!(text, "{address} {name}");
    }
    if fs::read(&path).is_ok_and(|is| is == text.as_bytes()) {
        return Ok(false);
    }
    replace(&path, text.as_bytes(), 0o644, None)?;
    Ok(true)
}

/// Has every dnsmasq whose pid file is in `run` read its files again. On OpenWrt it is in a jail, where its number is
/// another one: procd tells it.
pub fn reread(run: &Path) {
    let pid_files = fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in pid_files.filter(|path: &PathBuf| path.extension().is_some_and(|word| word == "pid")) {
        let Some(pid) = fs::read_to_string(path).ok().and_then(|pid| pid.trim().parse::<i32>().ok()) else {
            continue;
        };
        let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
        if Process::own(pid).is_some_and(|process| process.name().trim_end() == "dnsmasq") {
            let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGHUP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::os::unix::fs::PermissionsExt;

    fn names(names: &[(&str, &str)]) -> Vec<(String, IpAddr)> {
        names.iter().map(|(name, ip)| (name.to_string(), ip.parse().unwrap())).collect()
    }

    #[test]
    fn the_file_comes_changes_and_goes_and_is_written_only_then() {
        let dir = TempDir::make();
        let path = dir.path().join("cloudbox");
        let web = names(&[("web", "10.0.0.7"), ("web", "fd00::7")]);
        assert!(!announce(&dir.path().join("none"), &web).unwrap());
        if !nix::unistd::geteuid().is_root() {
            assert!(!announce(dir.path(), &web).unwrap(), "whoever made it could put a link there");
            return;
        }
        assert!(announce(dir.path(), &web).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, [HEADER, "10.0.0.7 web\nfd00::7 web\n"].concat());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644, "dnsmasq is nobody");
        let inode = fs::metadata(&path).unwrap().ino();
        assert!(!announce(dir.path(), &web).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        assert!(announce(dir.path(), &web[..1]).unwrap());
        assert!(announce(dir.path(), &[]).unwrap());
        assert!(!path.exists());
        assert!(!announce(dir.path(), &[]).unwrap());
        // Somebody else may change what is in there.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!announce(dir.path(), &web).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn some_names_mean_something_else() {
        for (name, may) in
            [("web", true), ("wpad", false), ("localhost", false), ("alpha", false), ("alphas", true)]
        {
            assert_eq!(may_be_named(name, "Alpha.lan"), may, "{name}");
        }
    }
}
