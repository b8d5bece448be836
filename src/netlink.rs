//! rtnetlink: the box's addresses and interfaces, as the kernel tells them, and which interface is a bridge's port.
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
/// Groups of [`listen`]: what becomes of interfaces, of IPv4 addresses, of IPv6 addresses.
pub const LINKS: u32 = libc::RTMGRP_LINK as u32;
pub const IPV4_ADDRESSES: u32 = libc::RTMGRP_IPV4_IFADDR as u32;
pub const IPV6_ADDRESSES: u32 = libc::RTMGRP_IPV6_IFADDR as u32;
/// What is inside of IFLA_LINKINFO: the kind of interface.
const IFLA_INFO_KIND: u16 = 1;
/// The kind of an attribute without the flags in it. Not every libc has it.
const NLA_TYPE_MASK: u16 = 0x3fff;

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

/// An interface of the box, as a message about it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number, which no other one gets while the box is up.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The number of the bridge whose port it is; 0 for none.
    pub master: u32,
    /// It is a bridge.
    pub is_bridge: bool,
    /// It is up, as far as that is its owner's to say.
    pub up: bool,
    /// The message is a bridge's, about this port of its.
    pub of_port: bool,
}

/// A socket that hears what becomes of `groups`: [`LINKS`] and others. It does not block.
///
/// # Errors
/// A system call fails.
pub fn listen(groups: u32) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
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

/// How an interface of the box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u32,
    /// `IFF_…`
    pub flags: u32,
    /// The number of the bridge whose port it is, or of what else has it; 0 for none.
    pub master: u32,
    /// The number of the interface here that is its other end, or that it lies on; 0 for none.
    pub other: u32,
}

/// All interfaces of the box.
///
/// # Errors
/// A system call fails.
pub fn links() -> nix::Result<Vec<Link>> {
    let mut all = Vec::new();
    let link = |message: &[u8]| {
        let attributes = message.get(IFINFOMSG..)?;
        let number_of = |kind| attribute(attributes, kind).and_then(|data| u32_at(data, 0)).unwrap_or(0);
        let is_here = attribute(attributes, libc::IFLA_LINK_NETNSID).is_none();
        Some(Link {
            number: u32_at(message, 4)?,
            flags: u32_at(message, 8)?,
            master: number_of(libc::IFLA_MASTER),
            other: if is_here { number_of(libc::IFLA_LINK) } else { 0 },
        })
    };
    dump(libc::RTM_GETLINK, IFINFOMSG, &mut |message| all.extend(link(message)))?;
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

/// Reads all that a [`listen`]ing socket has heard: whether there was anything, or too much.
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
                libc::NLMSG_ERROR => return acknowledged(message),
                _ => take(message),
            }
            bytes = rest;
        }
    }
}

/// Removes the interface called `name`, and returns when it is gone.
///
/// # Errors
/// ENODEV when there is none; a system call fails.
pub fn remove_interface(name: &str) -> nix::Result<()> {
    tell(libc::RTM_DELLINK, &[(libc::IFLA_IFNAME, text(name).as_slice())])
}

/// Makes the interface called `name` a port of the bridge of number `master`, whatever it was a port of.
///
/// # Errors
/// ENODEV when one of them is gone; a system call fails.
pub fn set_master(name: &str, master: u32) -> nix::Result<()> {
    let master = master.to_ne_bytes();
    tell(libc::RTM_SETLINK, &[(libc::IFLA_IFNAME, text(name).as_slice()), (libc::IFLA_MASTER, &master)])
}

/// Gives the interface called `name` a hardware address, to be kept from now on.
///
/// # Errors
/// ENODEV when there is none; a system call fails.
pub fn set_hardware_address(name: &str, address: [u8; 6]) -> nix::Result<()> {
    tell(libc::RTM_SETLINK, &[(libc::IFLA_IFNAME, text(name).as_slice()), (libc::IFLA_ADDRESS, &address)])
}

/// Text as the kernel takes it.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Has the kernel do something with an interface, and returns when that is done.
fn tell(kind: u16, attributes: &[(u16, &[u8])]) -> nix::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    send(fd.as_raw_fd(), &link_request(kind, attributes), MsgFlags::empty())?;
    let mut buffer = [0; 1024];
    let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    match next_message(buffer.get(..length).unwrap_or_default()) {
        Some((_, message, _)) => acknowledged(message),
        None => Err(Errno::EBADMSG),
    }
}

/// What an NLMSG_ERROR says: a negative errno as a system call's, or 0.
fn acknowledged(message: &[u8]) -> nix::Result<()> {
    match u32_at(message, 0).map_or(-libc::EIO, |code| code as i32) {
        0 => Ok(()),
        code => Err(Errno::from_raw(code.wrapping_neg())),
    }
}

/// A request about one interface, to be acknowledged.
fn link_request(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut request = vec![0; HEADER + IFINFOMSG];
    for (attribute, data) in attributes {
        request.extend_from_slice(&((4 + data.len()) as u16).to_ne_bytes());
        request.extend_from_slice(&attribute.to_ne_bytes());
        request.extend_from_slice(data);
        request.resize(align(request.len()), 0);
    }
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
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
fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, data)| (kind == wanted).then_some(data))
}

/// The interface that an ifinfomsg is about.
pub fn interface(message: &[u8]) -> Option<Interface> {
    let number = u32_at(message, 4)?;
    let up = u32_at(message, 8)? & libc::IFF_UP as u32 != 0;
    let of_port = i32::from(*message.first()?) == libc::AF_BRIDGE;
    let (mut name, mut master, mut is_bridge) = (None, 0, false);
    for (kind, data) in attributes(message.get(IFINFOMSG..)?) {
        match kind {
            libc::IFLA_IFNAME => name = Some(String::from_utf8_lossy(until_nul(data)).into_owned()),
            libc::IFLA_MASTER => master = u32_at(data, 0)?,
            libc::IFLA_LINKINFO => {
                is_bridge = attributes(data)
                    .any(|(kind, data)| kind == IFLA_INFO_KIND && until_nul(data) == b"bridge");
            }
            _ => {}
        }
    }
    Some(Interface { number, name: name?, master, is_bridge, up, of_port })
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Attributes, each with its kind. One that is malformed ends them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let data = bytes.get(4..length)?;
        // The kernel marks some as nested ones.
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, data))
    })
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
        let links = links().unwrap();
        let wanted = (libc::IFF_LOOPBACK | libc::IFF_UP) as u32;
        let loopback = links.iter().find(|link| link.flags & wanted == wanted);
        let Link { number, .. } = *loopback.expect("the loopback interface is up");
        let here =
            Assigned { interface: number, address: Ipv4Addr::LOCALHOST.into(), prefix: 8, tentative: false };
        assert!(assigned_addresses().unwrap().contains(&here));
    }
}
