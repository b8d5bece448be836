//! rtnetlink: the box's addresses and interfaces, as the kernel tells them.
//!
//! Format: linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h; integers in the machine's own byte order.

use nix::errno::Errno;
use nix::sys::socket::{
    bind, recv, send, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes of what every message begins with: its length, kind, flags, number and sender.
pub const HEADER: usize = 16;
/// Bytes of an ifaddrmsg.
pub const IFADDRMSG: usize = 8;
/// Bytes of an ifinfomsg.
const IFINFOMSG: usize = 16;
/// The kernel never sends more than this at once.
pub const BUFFER: usize = 32 << 10;

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
    pub tentative: bool,
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

/// The numbers and hardware addresses of the box's interfaces.
///
/// # Errors
/// A system call fails.
pub fn hardware_addresses() -> nix::Result<Vec<(u32, [u8; 6])>> {
    let mut all = Vec::new();
    let hardware = |message: &[u8]| {
        let address = attribute(message.get(IFINFOMSG..)?, libc::IFLA_ADDRESS)?;
        Some((u32_at(message, 4)?, address.try_into().ok()?))
    };
    dump(libc::RTM_GETLINK, IFINFOMSG, &mut |message| all.extend(hardware(message)))?;
    Ok(all)
}

/// A socket that hears when the box gets or loses an address.
///
/// # Errors
/// A system call fails.
pub fn address_monitor() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
    Ok(fd)
}

/// Reads all that an [`address_monitor`] has heard: whether there was anything, or too much.
pub fn has_changed(monitor: &OwnedFd) -> bool {
    let mut changed = false;
    loop {
        match recv(monitor.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::ENOBUFS) => changed = true,
            Err(Errno::EINTR) => {}
            Err(_) => return changed,
        }
    }
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

/// Removes the interface called `name`, and returns when it is gone.
///
/// # Errors
/// A system call fails.
pub fn remove_interface(name: &str) -> nix::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    send(fd.as_raw_fd(), &delete_request(name), MsgFlags::empty())?;
    // The acknowledgement comes when it is gone.
    recv(fd.as_raw_fd(), &mut [0; 256], MsgFlags::empty()).map(drop)
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

/// A request for all addresses, of all families.
pub fn address_dump_request() -> Vec<u8> {
    dump_request(libc::RTM_GETADDR, IFADDRMSG)
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
pub fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let message = bytes.get(HEADER..length)?;
    Some((u16_at(bytes, 4)?, message, bytes.get(align(length)..).unwrap_or_default()))
}

/// The address in an ifaddrmsg.
pub fn address(message: &[u8]) -> Option<Assigned> {
    let &[family, prefix, flags, _, ..] = message else { return None };
    let family = i32::from(family);
    let interface = u32_at(message, 4)?;
    let attributes = message.get(IFADDRMSG..)?;
    let of_kind = |kind| attribute(attributes, kind).and_then(|data| ip(family, data));
    let (address, local) = (of_kind(libc::IFA_ADDRESS), of_kind(libc::IFA_LOCAL));
    let tentative = u32::from(flags) & libc::IFA_F_TENTATIVE != 0;
    Some(Assigned { interface, address: local.or(address)?, prefix, tentative })
}

/// The content of the attribute of this kind, if there is one.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(length) = u16_at(attributes, 0).map(usize::from) {
        let data = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == wanted {
            return Some(data);
        }
        attributes = attributes.get(align(length)..).unwrap_or_default();
    }
    None
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
}
