//! The box's own links: one socket tells when a bridge comes and when a container's port is in none any more, so that
//! nobody has to ask again and again.

use super::looks::Looks;
use crate::error::{errno_text, Code, Error, Result};
use crate::model::address::is_veth;
use crate::netlink::{self, Interface};
use crate::sys::{self, instruction};
use litemap::LiteMap;
use nix::errno::Errno;
use nix::sys::socket::{recv, MsgFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Most messages' buffers that are read at once; what is left is read the next time.
const READS_MAX: usize = 64;

/// From where on the filter finds fields of the kernel's own making instead of a message's bytes, and the one that finds an
/// attribute: it takes where to begin from A, and what to look for from X.
const FIND_ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
/// Where a message has its kind, its family, and its first attribute.
const KIND: u32 = 4;
const FAMILY: u32 = 16;
const ATTRIBUTES: u32 = 32;

/// What the socket need not hear: that a port of a bridge is still one. A guest that sets its interface up and down makes
/// such messages, and so does each port 15 seconds after it has joined. The others are let through: interfaces that go,
/// ports that leave a bridge, and everything of interfaces that are no port, or not one end of a pair.
const FILTER: [libc::sock_filter; 14] = {
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_RET, BPF_W};
    // The filter reads as if the machine's were the network's order.
    let gone = u16::from_be_bytes(libc::RTM_DELLINK.to_ne_bytes()) as u32;
    let bridges = libc::AF_BRIDGE as u32;
    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    [
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, KIND),
        instruction(equal, 11, 0, gone),
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, FAMILY),
        instruction(equal, 8, 0, bridges),
        instruction(BPF_LD | BPF_IMM, 0, 0, ATTRIBUTES),
        instruction(BPF_LDX | BPF_IMM, 0, 0, libc::IFLA_MASTER as u32),
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, FIND_ATTRIBUTE),
        instruction(equal, 5, 0, 0),
        instruction(BPF_LD | BPF_IMM, 0, 0, ATTRIBUTES),
        instruction(BPF_LDX | BPF_IMM, 0, 0, libc::IFLA_LINK as u32),
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, FIND_ATTRIBUTE),
        instruction(equal, 1, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ]
};

/// What became of the box's links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Bridges that came and are up: whoever makes one adds its ports before that, as a rule.
    pub bridges: Vec<String>,
    /// Containers' ports that are in no bridge.
    pub ports: Vec<String>,
    /// Messages were lost: it may have been anything.
    pub lost: bool,
}

/// What tells of the box's links. Most messages are about nothing that matters here: [`LinkWatch::read`] leaves those out.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    /// Names of the bridges that were heard to be up, by their numbers.
    bridges: LiteMap<u32, String>,
    /// A guest that sets its interface up and down again and again makes messages of it.
    looks: Looks,
}

impl LinkWatch {
    /// Hears of what happens from now on.
    ///
    /// # Errors
    /// No socket can be had.
    pub fn open() -> Result<LinkWatch> {
        let failed = |e: Errno| {
            Error::new(Code::Failed, format_args!("cannot watch the box's bridges: {}", errno_text(e)))
        };
        let socket = netlink::listen(netlink::LINKS).map_err(failed)?;
        sys::attach_filter(socket.as_fd(), &FILTER).map_err(failed)?;
        Ok(LinkWatch::reading(socket))
    }

    /// A watch of what `socket` brings.
    pub(crate) fn reading(socket: OwnedFd) -> LinkWatch {
        LinkWatch { socket, bridges: LiteMap::new(), looks: Looks::new(Instant::now()) }
    }

    /// Readable when something has happened; None while it shall not be read.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.looks.rest_until().is_none().then(|| self.socket.as_fd())
    }

    /// Until when it shall not be read.
    pub fn rests_until(&self) -> Option<Instant> {
        self.looks.rest_until()
    }

    /// Ends a rest that is over.
    pub fn handle_time(&mut self, now: Instant) {
        self.looks.handle_time(now);
    }

    /// Reads what the kernel has to say.
    pub fn read(&mut self) -> Heard {
        self.looks.pay(Instant::now());
        let mut heard = Heard::default();
        let mut buffer = vec![0; netlink::BUFFER];
        for _ in 0..READS_MAX {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length @ 1..) => self.take(&buffer[..length], &mut heard),
                Err(Errno::ENOBUFS) => {
                    heard.lost = true;
                    self.bridges.clear();
                }
                _ => break,
            }
        }
        heard.ports.sort_unstable();
        heard.ports.dedup();
        heard
    }

    fn take(&mut self, mut bytes: &[u8], heard: &mut Heard) {
        while let Some((kind, message, rest)) = netlink::next_message(bytes) {
            if let (Some(interface), libc::RTM_NEWLINK | libc::RTM_DELLINK) =
                (netlink::interface(message), kind)
            {
                self.take_interface(interface, kind == libc::RTM_NEWLINK, heard);
            }
            bytes = rest;
        }
    }

    fn take_interface(&mut self, interface: Interface, is_there: bool, heard: &mut Heard) {
        let Interface { number, name, master, is_bridge, up, of_port } = interface;
        if is_bridge && !of_port {
            // Not each time that one gets or loses a port.
            let before = self.bridges.remove(&number);
            if is_there && up {
                self.bridges.insert(number, name.clone());
                if before.as_ref() != Some(&name) {
                    heard.bridges.push(name);
                }
            }
        } else if is_veth(&name) && if is_there { master == 0 } else { of_port } {
            heard.ports.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::link_message;
    use std::os::unix::net::UnixDatagram;

    const PORT: &str = "cb0000000001";

    fn ends() -> (UnixDatagram, LinkWatch) {
        let (kernels, ours) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (kernels, LinkWatch::reading(ours.into()))
    }

    fn bridges(names: &[&str]) -> Heard {
        Heard { bridges: names.iter().map(ToString::to_string).collect(), ..Heard::default() }
    }

    fn ports(names: &[&str]) -> Heard {
        Heard { ports: names.iter().map(ToString::to_string).collect(), ..Heard::default() }
    }

    #[test]
    fn a_bridge_is_told_of_when_it_comes_and_when_it_is_renamed() {
        let (kernels, mut watch) = ends();
        let send = |message: Vec<u8>| assert!(kernels.send(&message).is_ok());
        send(link_message(libc::RTM_NEWLINK, 0, 7, "br-lan", 0, true));
        assert_eq!(watch.read(), bridges(&["br-lan"]));
        send(link_message(libc::RTM_NEWLINK, 0, 7, "br-lan", 0, true));
        assert_eq!(watch.read(), bridges(&[]), "it only got a port");
        send(link_message(libc::RTM_NEWLINK, 0, 7, "br-old", 0, true));
        assert_eq!(watch.read(), bridges(&["br-old"]));
        let mut down = link_message(libc::RTM_NEWLINK, 0, 7, "br-old", 0, true);
        down[24..28].fill(0);
        send(down);
        assert_eq!(watch.read(), bridges(&[]));
        send(link_message(libc::RTM_NEWLINK, 0, 7, "br-old", 0, true));
        assert_eq!(watch.read(), bridges(&["br-old"]));
        send(link_message(libc::RTM_DELLINK, 0, 7, "br-old", 0, true));
        assert_eq!(watch.read(), bridges(&[]));
        send(link_message(libc::RTM_NEWLINK, 0, 8, "br-old", 0, true));
        send(link_message(libc::RTM_NEWLINK, 0, 9, "eth0", 0, false));
        assert_eq!(watch.read(), bridges(&["br-old"]));
    }

    #[test]
    fn a_port_is_told_of_when_it_is_in_no_bridge() {
        let (kernels, mut watch) = ends();
        for (kind, family, master, told) in [
            (libc::RTM_NEWLINK, 0, 7, false),
            (libc::RTM_NEWLINK, 0, 0, true),
            (libc::RTM_NEWLINK, libc::AF_BRIDGE, 7, false),
            (libc::RTM_DELLINK, libc::AF_BRIDGE, 7, true),
            // Its container has stopped.
            (libc::RTM_DELLINK, 0, 0, false),
        ] {
            kernels.send(&link_message(kind, family, 3, PORT, master, false)).unwrap();
            let told = if told { ports(&[PORT]) } else { Heard::default() };
            assert_eq!(watch.read(), told, "{kind} {family} {master}");
        }
        kernels.send(&link_message(libc::RTM_NEWLINK, 0, 4, "eth0", 0, false)).unwrap();
        assert_eq!(watch.read(), Heard::default());
    }

    #[test]
    fn no_length_is_believed() {
        let (_kernels, mut watch) = ends();
        let whole = link_message(libc::RTM_NEWLINK, 0, 7, "br-lan", 3, true);
        let mut heard = Heard::default();
        for cut in 0..whole.len() {
            watch.take(&whole[..cut], &mut heard);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                watch.take(&bytes, &mut heard);
            }
        }
    }
}
