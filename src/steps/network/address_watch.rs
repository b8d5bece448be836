//! A container's addresses: one socket inside its network namespace tells what there is and what changes, so that nobody
//! has to ask again and again.

use crate::error::{errno_text, Code, Error, Result};
use crate::netlink::{self, Assigned};
use crate::steps::wait;
use nix::errno::Errno;
use nix::sched::{setns, CloneFlags};
use nix::sys::socket::{
    bind, recv, send, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// What a message says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressChange {
    /// The interface has it.
    Added(IpAddr),
    /// The interface has it no more.
    Removed(IpAddr),
}

/// The addresses of a container, kept up to date by [`AddressWatch::update`] when its descriptor is readable.
///
/// The socket keeps the network namespace alive: drop it when the container has ended.
#[derive(Debug)]
pub struct AddressWatch {
    socket: OwnedFd,
    addresses: Vec<IpAddr>,
}

impl AddressWatch {
    /// Opens the socket in the network namespace of process `pid` and asks for what is there.
    ///
    /// # Errors
    /// When the process has ended, or a system call fails.
    pub fn open(pid: i32) -> Result<AddressWatch> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(Code::Failed, format_args!("cannot watch the addresses of process {pid}: {e}"))
        };
        let theirs = File::open(format!("/proc/{pid}/ns/net")).map_err(|e| failed(&e).caused_by(e))?;
        // A namespace is a thread's own affair, and a job's thread may not come back from it if something fails: a
        // thread for just this.
        let mut opened = Err(Errno::EIO);
        wait::in_thread(&mut || {
            opened = setns(&theirs, CloneFlags::CLONE_NEWNET).and_then(|()| open_socket())
        })
        .map_err(|e| failed(&e).caused_by(e))?;
        Ok(AddressWatch::reading(opened.map_err(|e| failed(&errno_text(e)).caused_by(e))?))
    }

    /// A watch of what `socket` brings; the first of it is there already.
    pub(crate) fn reading(socket: OwnedFd) -> AddressWatch {
        let mut watch = AddressWatch { socket, addresses: Vec::new() };
        watch.update();
        watch
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The addresses, those of the loopback interface and link-local ones left out.
    pub fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter()
    }

    /// Reads what the kernel has to say; true when the addresses differ from before.
    pub fn update(&mut self) -> bool {
        let before = self.addresses.clone();
        let mut buffer = vec![0; netlink::BUFFER];
        while let Ok(length @ 1..) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            for change in parse(&buffer[..length]) {
                match change {
                    AddressChange::Added(address) if self.addresses.contains(&address) => {}
                    AddressChange::Added(address) => self.addresses.push(address),
                    AddressChange::Removed(address) => self.addresses.retain(|known| *known != address),
                }
            }
        }
        self.addresses.sort_unstable();
        self.addresses != before
    }
}

fn open_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
    send(fd.as_raw_fd(), &netlink::address_dump_request(), MsgFlags::empty())?;
    Ok(fd)
}

/// The changes in a buffer of netlink messages. Anything malformed ends it; anything unknown is passed over.
fn parse(mut bytes: &[u8]) -> Vec<AddressChange> {
    let mut changes = Vec::new();
    while let Some((kind, message, rest)) = netlink::next_message(bytes) {
        let address = || netlink::address(message).filter(is_of_interest).map(|found| found.address);
        match kind {
            libc::RTM_NEWADDR => changes.extend(address().map(AddressChange::Added)),
            libc::RTM_DELADDR => changes.extend(address().map(AddressChange::Removed)),
            _ => {}
        }
        bytes = rest;
    }
    changes
}

/// Not the loopback's, not link-local, not still being probed for duplicates.
fn is_of_interest(found: &Assigned) -> bool {
    let link_local = match found.address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !found.address.is_loopback() && !link_local && !found.tentative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{HEADER, IFADDRMSG};

    fn message(kind: u16, family: i32, flags: u8, address: &[u8]) -> Vec<u8> {
        let attribute = (4 + address.len()) as u16;
        let length = (HEADER + IFADDRMSG + usize::from(attribute)) as u32;
        let mut m = length.to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend([0; 10]);
        m.extend([family as u8, 24, flags, 0, 2, 0, 0, 0]);
        m.extend(attribute.to_ne_bytes());
        m.extend(libc::IFA_ADDRESS.to_ne_bytes());
        m.extend(address);
        m
    }

    #[test]
    fn messages_become_changes() {
        let v4 = [10, 0, 0, 7];
        let mut bytes = message(libc::RTM_NEWADDR, libc::AF_INET, 0, &v4);
        bytes.extend(message(libc::RTM_DELADDR, libc::AF_INET, 0, &v4));
        bytes.extend(message(99, libc::AF_INET, 0, &v4));
        bytes.extend(message(libc::RTM_NEWADDR, libc::AF_INET, 0, &[127, 0, 0, 1]));
        let mut link_local = [0; 16];
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        bytes.extend(message(libc::RTM_NEWADDR, libc::AF_INET6, 0, &link_local));
        bytes.extend(message(libc::RTM_NEWADDR, libc::AF_INET6, libc::IFA_F_TENTATIVE as u8, &[0x20; 16]));
        bytes.extend(message(libc::RTM_NEWADDR, libc::AF_INET6, 0, &[0x20; 16]));
        let ip = IpAddr::from(v4);
        let v6 = IpAddr::from([0x20; 16]);
        assert_eq!(
            parse(&bytes),
            [AddressChange::Added(ip), AddressChange::Removed(ip), AddressChange::Added(v6)]
        );
    }

    #[test]
    fn no_length_is_believed() {
        let whole = message(libc::RTM_NEWADDR, libc::AF_INET, 0, &[10, 0, 0, 7]);
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_empty(), "{cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = parse(&bytes);
            }
        }
    }

    #[test]
    fn our_own_namespace_can_be_watched() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let watch = AddressWatch::open(std::process::id() as i32).unwrap();
        let ours: Vec<IpAddr> = watch.addresses().copied().collect();
        for net in super::super::ipv4_addresses(None).iter().filter(|n| !n.addr.is_loopback()) {
            assert!(net.addr.is_link_local() || ours.contains(&net.addr.into()), "{net} in {ours:?}");
        }
    }
}
