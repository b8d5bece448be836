//! A container's addresses by rtnetlink: one socket inside its network namespace tells what there is and what changes,
//! so that nobody has to ask again and again.
//!
//! Format: linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h; integers in the machine's own byte order.

use crate::error::{errno_text, Code, Error, Result};
use crate::steps::wait;
use log::{info, warn};
use nix::errno::Errno;
use nix::sched::{setns, CloneFlags};
use nix::sys::socket::{
    bind, recv, send, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const HEADER: usize = 16;
const IFADDRMSG: usize = 8;
const IFINFOMSG: usize = 16;
/// A whole dump of a container's few addresses; the kernel never sends more than this at once.
const BUFFER: usize = 32 << 10;

/// What a message says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Added(IpAddr),
    /// It is gone.
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
        let theirs = File::open(format!("/proc/{pid}/ns/net")).map_err(|e| failed(&e))?;
        // A namespace is a thread's own affair, and a job's thread may not come back from it if something fails: a
        // thread for just this.
        let mut opened = Err(Errno::EIO);
        wait::in_thread(&mut || {
            opened = setns(&theirs, CloneFlags::CLONE_NEWNET).and_then(|()| open_socket())
        })
        .map_err(|e| failed(&e))?;
        Ok(AddressWatch::reading(opened.map_err(|e| failed(&errno_text(e)))?))
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
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            for change in parse(&buffer[..length]) {
                match change {
                    Change::Added(address) if self.addresses.contains(&address) => {}
                    Change::Added(address) => self.addresses.push(address),
                    Change::Removed(address) => self.addresses.retain(|known| *known != address),
                }
            }
        }
        self.addresses.sort_unstable();
        self.addresses != before
    }
}

/// An address of one of the box's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The interface's number.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Its network's prefix length.
    pub prefix: u8,
    /// It is still being probed for duplicates.
    tentative: bool,
}

/// All addresses of the box, those of IPv4 first.
///
/// # Errors
/// A system call fails.
pub fn assigned_addresses() -> nix::Result<Vec<Assigned>> {
    let mut all = Vec::new();
    dump(libc::RTM_GETADDR, IFADDRMSG, &mut |message| all.extend(address(message)))?;
    Ok(all)
}

/// The numbers and flags (`IFF_…`) of the box's interfaces.
///
/// # Errors
/// A system call fails.
pub fn interface_flags() -> nix::Result<Vec<(u32, u32)>> {
    let mut all = Vec::new();
    let flags = |message: &[u8]| Some((u32_at(message, 4)?, u32_at(message, 8)?));
    dump(libc::RTM_GETLINK, IFINFOMSG, &mut |message| all.extend(flags(message)))?;
    Ok(all)
}

/// Hands `take` the kernel's answers to a dump request, whose own header has `size` bytes.
fn dump(kind: u16, size: usize, take: &mut dyn FnMut(&[u8])) -> nix::Result<()> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    send(fd.as_raw_fd(), &dump_request(kind, size), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut bytes = &buffer[..length];
        while let Some((kind, message, rest)) = next_message(bytes) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                // A negative errno, as a system call's.
                libc::NLMSG_ERROR => {
                    let errno = u32_at(message, 0).map_or(libc::EIO, |code| (code as i32).wrapping_neg());
                    return Err(Errno::from_raw(errno));
                }
                _ => take(message),
            }
            bytes = rest;
        }
    }
}

/// Removes interface `name` of the box: the host's end of a veth pair whose start was cut short. None is the usual case.
pub fn remove_interface(name: &str) {
    if !std::path::Path::new("/sys/class/net").join(name).exists() {
        return;
    }
    let removed = (|| -> nix::Result<()> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        send(fd.as_raw_fd(), &delete_request(name), MsgFlags::empty())?;
        // The acknowledgement comes when it is gone.
        recv(fd.as_raw_fd(), &mut [0; 256], MsgFlags::empty()).map(drop)
    })();
    match removed {
        Ok(()) => info!("removed the interface {name} that a start had left"),
        Err(e) => warn!("cannot remove the interface {name}: {}", errno_text(e)),
    }
}

/// RTM_DELLINK for the interface called `name`.
fn delete_request(name: &str) -> Vec<u8> {
    let attribute = 4 + name.len() + 1;
    let length = HEADER + IFINFOMSG + align(attribute);
    let mut request = Vec::with_capacity(length);
    request.extend_from_slice(&(length as u32).to_ne_bytes());
    request.extend_from_slice(&libc::RTM_DELLINK.to_ne_bytes());
    request.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8 + IFINFOMSG]);
    request.extend_from_slice(&(attribute as u16).to_ne_bytes());
    request.extend_from_slice(&libc::IFLA_IFNAME.to_ne_bytes());
    request.extend_from_slice(name.as_bytes());
    request.resize(length, 0);
    request
}

fn open_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
    send(fd.as_raw_fd(), &dump_request(libc::RTM_GETADDR, IFADDRMSG), MsgFlags::empty())?;
    Ok(fd)
}

/// A request for all there is, of all families.
fn dump_request(kind: u16, size: usize) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER + size);
    request.extend_from_slice(&((HEADER + size) as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.resize(HEADER + size, 0);
    request
}

/// The first message of a buffer: its kind, what is in it, and what is behind it. None where it is malformed.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let message = bytes.get(HEADER..length)?;
    Some((u16_at(bytes, 4)?, message, bytes.get(align(length)..).unwrap_or_default()))
}

/// The changes in a buffer of netlink messages. Anything malformed ends it; anything unknown is passed over.
fn parse(mut bytes: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some((kind, message, rest)) = next_message(bytes) {
        let address = || address(message).filter(is_of_interest).map(|found| found.address);
        match kind {
            libc::RTM_NEWADDR => changes.extend(address().map(Change::Added)),
            libc::RTM_DELADDR => changes.extend(address().map(Change::Removed)),
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

/// The address in an ifaddrmsg.
fn address(message: &[u8]) -> Option<Assigned> {
    let &[family, prefix, flags, _, ..] = message else { return None };
    let family = i32::from(family);
    let interface = u32_at(message, 4)?;
    let mut attributes = message.get(IFADDRMSG..)?;
    let (mut address, mut local) = (None, None);
    while let Some(length) = u16_at(attributes, 0).map(usize::from) {
        let Some(data) = attributes.get(4..length) else { break };
        match u16_at(attributes, 2)? {
            libc::IFA_ADDRESS => address = ip(family, data),
            libc::IFA_LOCAL => local = ip(family, data),
            _ => {}
        }
        attributes = attributes.get(align(length)..).unwrap_or_default();
    }
    let tentative = u32::from(flags) & libc::IFA_F_TENTATIVE != 0;
    Some(Assigned { interface, address: local.or(address)?, prefix, tentative })
}

fn ip(family: i32, data: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Netlink pads messages and attributes to four bytes.
fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(parse(&bytes), [Change::Added(ip), Change::Removed(ip), Change::Added(v6)]);
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
    fn the_loopback_interface_is_there() {
        let flags = interface_flags().unwrap();
        let wanted = (libc::IFF_LOOPBACK | libc::IFF_UP) as u32;
        let loopback = flags.iter().find(|(_, flags)| flags & wanted == wanted);
        let (index, _) = *loopback.expect("the loopback interface is up");
        let here =
            Assigned { interface: index, address: Ipv4Addr::LOCALHOST.into(), prefix: 8, tentative: false };
        assert!(assigned_addresses().unwrap().contains(&here));
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
