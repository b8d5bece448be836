//! Files written into a guest before its first start: who it is, who may enter, how it reaches the network.
//!
//! The guest's own files are not to be trusted: every path is walked with the guest's root as root, so that no link
//! in an image leads the daemon to a file of the host.

use super::Record;
use crate::error::{Error, Result};
use crate::model::address::{Address, Ipv4Net};
use crate::sys;
use nix::fcntl::OFlag;
use nix::sys::stat::{mkdirat, Mode};
use nix::unistd::{fchown, unlinkat, Gid, Uid, UnlinkatFlags};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a guest with a static address must know of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuestNetwork {
    /// Its default route.
    pub gateway: Option<Ipv4Addr>,
    /// Its name server.
    pub dns: Option<Ipv4Addr>,
}

/// The guest's machine id: its own for ever, without asking for random numbers at boot.
pub fn machine_id(box_id: &str, record: &Record) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("machine-id\0{box_id}\0{}\0{}", record.name, record.created));
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes all of them into the root mounted at `rootfs`.
pub fn write(rootfs: &Path, record: &Record, machine_id: &str, network: &GuestNetwork) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    let name = record.name.as_str();
    root.put("etc/hostname", 0o644, &format!("{name}\n"))?;
    root.put("etc/machine-id", 0o444, &format!("{machine_id}\n"))?;
    root.put(
        "etc/hosts",
        0o644,
        &format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
    )?;
    if !record.spec.authorized_keys.is_empty() {
        root.make_dir("root/.ssh", 0o700)?;
        root.put(
            "root/.ssh/authorized_keys",
            0o600,
            &format!("{}\n", record.spec.authorized_keys.join("\n")),
        )?;
    }
    // Images ask by DHCP by themselves.
    if let Address::Static(address) = record.spec.address {
        set_static(&root, address, network)?;
    }
    root.sync()
}

/// Writes the network anew into the root mounted at `rootfs`, after the container's address was changed.
pub fn write_network(rootfs: &Path, record: &Record, network: &GuestNetwork) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    match record.spec.address {
        Address::Dhcp => set_dhcp(&root)?,
        Address::Static(address) => set_static(&root, address, network)?,
    }
    root.sync()
}

/// systemd-networkd's file for a static address; it goes before the image's own.
const NETWORKD_FILE: &str = "etc/systemd/network/10-cloudbox.network";
const INTERFACES: &str = "auto lo\niface lo inet loopback\n\nauto eth0\n";

/// Takes back what [`set_static`] wrote.
fn set_dhcp(root: &GuestRoot) -> Result<()> {
    root.remove(NETWORKD_FILE)?;
    if !root.has("etc/systemd/network") && root.has("etc/network") {
        root.put("etc/network/interfaces", 0o644, &format!("{INTERFACES}iface eth0 inet dhcp\n"))?;
    }
    Ok(())
}

/// LXC has set the address when the guest starts; the guest's own tools must not ask for another one.
fn set_static(root: &GuestRoot, address: Ipv4Net, network: &GuestNetwork) -> Result<()> {
    if root.has("etc/systemd/network") {
        let mut text = format!("[Match]\nName=eth0\n\n[Network]\nAddress={address}\n");
        if let Some(gateway) = network.gateway {
            let _ = writeln!(text, "Gateway={gateway}");
        }
        if let Some(dns) = network.dns {
            let _ = writeln!(text, "DNS={dns}");
        }
        return root.put(NETWORKD_FILE, 0o644, &text);
    }
    if root.has("etc/network") {
        // busybox's ifup does not know the prefix behind the address.
        let mask = address.netmask();
        let address = address.addr;
        let mut text = format!("{INTERFACES}iface eth0 inet static\n\taddress {address}\n\tnetmask {mask}\n");
        if let Some(gateway) = network.gateway {
            let _ = writeln!(text, "\tgateway {gateway}");
        }
        root.put("etc/network/interfaces", 0o644, &text)?;
    }
    if let Some(dns) = network.dns {
        root.put("etc/resolv.conf", 0o644, &format!("nameserver {dns}\n"))?;
    }
    Ok(())
}

/// A guest's root directory.
struct GuestRoot {
    path: PathBuf,
    dir: OwnedFd,
    owner: u32,
    /// Files written and not yet on disk: flushed one behind the other, all but the first find their names there
    /// already.
    unsynced: RefCell<Vec<File>>,
}

impl GuestRoot {
    fn open(path: &Path, owner: u32) -> Result<GuestRoot> {
        let dir = File::open(path).map_err(|e| Error::io("cannot open", path, &e))?;
        Ok(GuestRoot { path: path.to_path_buf(), dir: dir.into(), owner, unsynced: RefCell::default() })
    }

    /// Makes all that was written durable.
    fn sync(&self) -> Result<()> {
        let unsynced = self.unsynced.take();
        let synced = unsynced.iter().try_for_each(File::sync_all);
        synced.map_err(|e| Error::io("cannot flush what was written below", &self.path, &e))
    }

    fn has(&self, dir: &str) -> bool {
        self.open_dir(Path::new(dir)).is_ok()
    }

    fn open_dir(&self, dir: &Path) -> io::Result<OwnedFd> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        sys::openat2_in_root(self.dir.as_fd(), dir, libc::O_DIRECTORY | libc::O_RDONLY, 0)
    }

    /// Opens directory `dir`, making what is missing of it.
    fn reach_dir(&self, dir: &Path, mode: u32) -> io::Result<OwnedFd> {
        match self.open_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let parent = self.reach_dir(dir.parent().unwrap_or(Path::new("")), 0o755)?;
        let name = dir.file_name().ok_or(io::ErrorKind::NotFound)?;
        mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(mode))?;
        let made = self.open_dir(dir)?;
        self.own(&made, mode)?;
        Ok(made)
    }

    fn make_dir(&self, dir: &str, mode: u32) -> Result<()> {
        self.reach_dir(Path::new(dir), mode).map(drop).map_err(|e| self.failed(dir, &e))
    }

    /// Removes a file; none is fine.
    fn remove(&self, path: &str) -> Result<()> {
        let remove = || -> io::Result<()> {
            let path = Path::new(path);
            let dir = self.open_dir(path.parent().unwrap_or(Path::new("")))?;
            let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
            Ok(unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir)?)
        };
        match remove() {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed(path, &e)),
            _ => Ok(()),
        }
    }

    /// Puts a new file in place of whatever is there, which may be a link.
    fn put(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        let put = || -> io::Result<()> {
            let path = Path::new(path);
            let dir = self.reach_dir(path.parent().unwrap_or(Path::new("")), 0o755)?;
            let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
            match unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
                Err(e) => return Err(e.into()),
            }
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = nix::fcntl::openat(dir.as_fd(), name, flags, Mode::from_bits_truncate(0o600))?;
            let mut file = File::from(file);
            file.write_all(content.as_bytes())?;
            self.own(&file, mode)?;
            self.unsynced.borrow_mut().push(file);
            Ok(())
        };
        put().map_err(|e| self.failed(path, &e))
    }

    /// Gives a file to the guest's root. Capabilities and modes are set after the owner, which resets them.
    fn own(&self, file: &impl AsFd, mode: u32) -> io::Result<()> {
        fchown(file.as_fd(), Some(Uid::from_raw(self.owner)), Some(Gid::from_raw(self.owner)))?;
        let file = File::from(file.as_fd().try_clone_to_owned()?);
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    fn failed(&self, path: &str, error: &io::Error) -> Error {
        Error::io("cannot write", &self.path.join(path), error)
    }
}
