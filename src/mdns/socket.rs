//! Sockets for mDNS, beside those of others on the box.
//!
//! Each is bound to the group's address: what is sent to the box alone on this port stays avahi-daemon's. Each is bound
//! to an interface: what it asks leaves there, whatever the routes say.

use crate::error::{Code, Error, Result};
use crate::netlink::{assigned_addresses, links, Assigned, Link};
use crate::sys;
use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    bind, setsockopt, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrStorage,
};
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

const PORT: u16 = 5353;
const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Neighbours look whether a packet came through a router.
const HOPS: u32 = 255;
/// The largest packet that mDNS allows.
const PACKET_MAX: usize = 9000;
/// How many bytes may wait to be read: a thousand services answer within a tenth of a second.
const QUEUE: usize = 1 << 20;
const SOCKETS_MAX: usize = 64;

/// A socket for each network of the box and each kind of address.
pub struct Sockets {
    list: Vec<Socket>,
    buffer: Vec<u8>,
}

struct Socket {
    socket: UdpSocket,
    group: SocketAddr,
    /// It is the interface's only one, or that of IPv4: nearly everybody hears IPv4.
    is_first: bool,
}

/// All addresses of the box.
///
/// # Errors
/// A system call fails.
pub fn own_addresses() -> Result<Vec<IpAddr>> {
    let addresses = assigned_addresses().map_err(|e| Error::os("cannot list the box's addresses", e))?;
    Ok(addresses.into_iter().map(|assigned| assigned.address).collect())
}

/// Where mDNS can be spoken: an interface, and whether by IPv4.
fn places() -> Result<Vec<(u32, bool)>> {
    let unknown = |e: Errno| Error::os("cannot list the network interfaces", e);
    Ok(choose(&assigned_addresses().map_err(unknown)?, &links().map_err(unknown)?))
}

/// Those that have an IPv4 address, and those that have a link-local IPv6 address. That every interface has: a port of a
/// bridge is no place of its own, nor is an end of a wire (veth) whose other end is one.
fn choose(addresses: &[Assigned], links: &[Link]) -> Vec<(u32, bool)> {
    // Up and a network of many, neither the loopback nor a tunnel.
    let wanted = (libc::IFF_UP | libc::IFF_MULTICAST) as u32;
    let counts = wanted | (libc::IFF_LOOPBACK | libc::IFF_POINTOPOINT) as u32;
    let link = |number| links.iter().find(|link| link.number == number);
    let is_port = |number| link(number).is_some_and(|link| link.master != 0);
    let suits = |number| link(number).is_some_and(|link| link.flags & counts == wanted);
    let apart = |number| !is_port(number) && !link(number).is_some_and(|link| is_port(link.other));
    let mut places: Vec<(u32, bool)> = Vec::new();
    for Assigned { interface, address, .. } in addresses {
        // IPv4 addresses are listed before those of IPv6.
        let (ipv4, wanted) = match address {
            IpAddr::V4(_) => (true, true),
            IpAddr::V6(six) => (
                false,
                six.is_unicast_link_local() && (places.contains(&(*interface, true)) || apart(*interface)),
            ),
        };
        let place = (*interface, ipv4);
        if wanted && !places.contains(&place) && places.len() < SOCKETS_MAX && suits(*interface) {
            places.push(place);
        }
    }
    places
}

fn is_first(places: &[(u32, bool)], interface: u32, ipv4: bool) -> bool {
    ipv4 || !places.contains(&(interface, true))
}

/// The places that are on one of these interfaces.
fn places_on(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<(u32, bool)>> {
    let named = |index| if_indextoname(index).is_ok_and(|name| name.to_str().is_ok_and(wanted));
    Ok(places()?.into_iter().filter(|(index, _)| named(*index)).collect())
}

impl Sockets {
    /// Opens them on these interfaces, by name.
    ///
    /// # Errors
    /// When there is not one, with the reason.
    pub fn open_on(wanted: &dyn Fn(&str) -> bool) -> Result<Sockets> {
        Sockets::at(places_on(wanted)?)
    }

    fn at(places: Vec<(u32, bool)>) -> Result<Sockets> {
        let mut list: Vec<Socket> = Vec::new();
        let mut error = None;
        let mut refused = Vec::new();
        for (interface, ipv4) in &places {
            let is_first = is_first(&places, *interface, *ipv4);
            // Where another program has IPv4's port for itself, IPv6 would find a part, and nobody would know.
            if !is_first && refused.contains(interface) {
                continue;
            }
            match open(*interface, *ipv4) {
                Ok((socket, group)) => list.push(Socket { socket, group, is_first }),
                Err(e) => {
                    refused.push(*interface);
                    error = Some(e);
                }
            }
        }
        match error {
            Some(e) if list.is_empty() => Err(not_opened(e)),
            None if list.is_empty() => Err(nobody()),
            _ => Ok(Sockets { list, buffer: vec![0; PACKET_MAX] }),
        }
    }

    /// Sends a packet to everybody on all networks, by IPv4 where there is that, and by IPv6 elsewhere, or everywhere if
    /// wanted.
    ///
    /// # Errors
    /// When it could be sent on none of them.
    pub fn send(&self, packet: &[u8], by_ipv6: bool) -> Result<()> {
        let mut error = None;
        let mut sent = false;
        for to in self.list.iter().filter(|to| by_ipv6 || to.is_first) {
            match to.socket.send_to(packet, to.group) {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => error = Some(e),
                // A full queue loses it; what is missing then is asked for again.
                _ => sent = true,
            }
        }
        match error {
            Some(e) if !sent => Err(Error::os("cannot send to any network interface", e)),
            _ => Ok(()),
        }
    }

    /// Hands the packets that come until then to `take`.
    ///
    /// # Errors
    /// When poll(2) fails.
    pub fn receive(&mut self, until: Instant, take: &mut dyn FnMut(&[u8], IpAddr)) -> Result<()> {
        loop {
            let mut fds: Vec<PollFd> =
                self.list.iter().map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN)).collect();
            wait(&mut fds, until)?;
            for from in &self.list {
                while let Ok((length, sender)) = from.socket.recv_from(&mut self.buffer) {
                    // Another port than this cannot be a responder.
                    if sender.port() == PORT {
                        take(self.buffer.get(..length).unwrap_or_default(), sender.ip());
                    }
                    if Instant::now() >= until {
                        return Ok(());
                    }
                }
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }
}

/// Sockets whose questions are answered to them alone.
///
/// They are on no interface: an answer of the box itself does not come by the one that was asked on.
pub struct Asking {
    list: Vec<Socket>,
    buffer: Vec<u8>,
}

impl Asking {
    /// Opens them for these interfaces.
    ///
    /// # Errors
    /// There is none that could be asked on.
    pub fn open(interfaces: &[String]) -> Result<Asking> {
        let places = places_on(&|name| interfaces.iter().any(|one| one == name))?;
        let open = |(index, ipv4): &(u32, bool)| {
            let socket = open_asking(*index, *ipv4).ok()?;
            Some(Socket { socket, group: group(*index, *ipv4), is_first: is_first(&places, *index, *ipv4) })
        };
        let list: Vec<Socket> = places.iter().filter_map(open).collect();
        if list.is_empty() {
            return Err(nobody());
        }
        Ok(Asking { list, buffer: vec![0; PACKET_MAX] })
    }

    /// Asks everybody, as [`Sockets::send`]. What cannot be sent is lost, as packets get lost.
    pub fn send(&self, packet: &[u8], by_ipv6: bool) {
        for to in self.list.iter().filter(|to| by_ipv6 || to.is_first) {
            let _ = to.socket.send_to(packet, to.group);
        }
    }

    /// Hands what comes until then to `take`, and returns when there was something: answers, and what `others` heard,
    /// which was said to everybody.
    ///
    /// # Errors
    /// When poll(2) fails.
    pub fn receive(
        &mut self,
        others: Option<&mut Sockets>,
        until: Instant,
        take: &mut dyn FnMut(&[u8], IpAddr, bool),
    ) -> Result<()> {
        let others = others.map_or(&[][..], |others| &others.list);
        let mut fds: Vec<PollFd> = self
            .list
            .iter()
            .chain(others)
            .map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        wait(&mut fds, until)?;
        for (from, to_us) in self.list.iter().map(|s| (s, true)).chain(others.iter().map(|s| (s, false))) {
            while let Ok((length, sender)) = from.socket.recv_from(&mut self.buffer) {
                if sender.port() == PORT {
                    take(self.buffer.get(..length).unwrap_or_default(), sender.ip(), to_us);
                }
                if Instant::now() >= until {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Waits until one is readable, or until then.
fn wait(fds: &mut [PollFd], until: Instant) -> Result<()> {
    // One more than whole milliseconds, so that the last one is not spent in a busy loop.
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(Error::os("cannot wait for answers", e)),
    }
}

/// A socket that asks on an interface.
fn open_asking(index: u32, ipv4: bool) -> io::Result<UdpSocket> {
    let socket = match ipv4 {
        true => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        false => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.set_nonblocking(true)?;
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE);
    if ipv4 {
        sys::send_multicast_v4(socket.as_fd(), index)?;
        socket.set_multicast_ttl_v4(HOPS)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6MulticastHops, &(HOPS as i32))?;
    }
    Ok(socket)
}

/// Where what is meant for everybody on an interface is sent.
fn group(index: u32, ipv4: bool) -> SocketAddr {
    match ipv4 {
        true => (GROUP_IPV4, PORT).into(),
        false => SocketAddrV6::new(GROUP_IPV6, PORT, 0, index).into(),
    }
}

/// A socket on an interface, and where what is meant for everybody there is sent.
fn open(index: u32, ipv4: bool) -> io::Result<(UdpSocket, SocketAddr)> {
    let interface = if_indextoname(index)?;
    let family = if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let group = group(index, ipv4);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    setsockopt(&socket, sockopt::BindToDevice, &OsStr::from_bytes(interface.as_bytes()).to_owned())?;
    // Only root may have more than the box's limit; the limit does as well where less is announced.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE);
    bind(socket.as_raw_fd(), &SockaddrStorage::from(group))?;
    let socket = UdpSocket::from(socket);
    if ipv4 {
        sys::join_multicast_v4(socket.as_fd(), GROUP_IPV4, index)?;
        socket.set_multicast_ttl_v4(HOPS)?;
    } else {
        socket.join_multicast_v6(&GROUP_IPV6, index)?;
        setsockopt(&socket, sockopt::Ipv6MulticastHops, &(HOPS as i32))?;
    }
    Ok((socket, group))
}

fn nobody() -> Error {
    Error::new(
        Code::Failed,
        "no network interface is up and has an IPv4 address or a link-local one of IPv6, so there is nobody to ask; \
         `ip address` shows what is missing",
    )
}

fn not_opened(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => Error::new(
            Code::InUse,
            "another program has UDP port 5353 for itself; `netstat -lnup` names it: stop it, or tell it to share the port",
        ),
        _ => Error::os("cannot open UDP port 5353 on any network interface", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_are_asked_on_and_their_ports_are_not() {
        let up = (libc::IFF_UP | libc::IFF_MULTICAST) as u32;
        let (loopback, tunnel) = (libc::IFF_LOOPBACK as u32, libc::IFF_POINTOPOINT as u32);
        let link = |number, flags, master, other| Link { number, flags, master, other };
        let links = [
            link(1, up | loopback, 0, 0),
            link(2, up, 0, 0),
            link(3, up, 0, 0),
            // Its port, as a container's: the other end is elsewhere. A wire of which one end is its port.
            link(4, up, 3, 0),
            link(5, up, 3, 6),
            link(6, up, 0, 5),
            link(7, libc::IFF_MULTICAST as u32, 0, 0),
            link(8, up | tunnel, 0, 0),
            // A VLAN of a network card.
            link(9, up, 0, 10),
            link(10, up, 0, 0),
        ];
        let at = |interface, address: &str| Assigned {
            interface,
            address: address.parse().unwrap(),
            prefix: 64,
            tentative: false,
        };
        let mut addresses = vec![at(1, "127.0.0.1"), at(2, "10.0.0.1"), at(2, "10.0.0.2"), at(6, "10.1.0.1")];
        addresses.extend((2..=10).map(|number| at(number, "fe80::1")));
        addresses.push(at(10, "fd00::1"));
        let expected = [(2, true), (6, true), (2, false), (3, false), (6, false), (9, false), (10, false)];
        assert_eq!(choose(&addresses, &links), expected);
        assert!(
            is_first(&expected, 2, true) && !is_first(&expected, 2, false) && is_first(&expected, 3, false)
        );
    }
}
