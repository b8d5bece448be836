//! A container's addresses: one socket inside its network namespace tells what there is and what changes, so that nobody
//! has to ask again and again.

use super::looks::Looks;
use super::{is_link_local, Neighbourhood};
use crate::error::{errno_text, Code, Error, Result};
use crate::netlink::{self, Assigned};
use crate::steps::wait;
use nix::errno::Errno;
use nix::sched::{setns, CloneFlags};
use nix::sys::socket::{recv, send, MsgFlags};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// What a message says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressChange {
    /// An interface has it. True: it can be used from elsewhere, being neither its link's only nor probed for duplicates.
    Added(IpAddr, bool),
    /// The interface has it no more.
    Removed(IpAddr),
    /// That was all of what was asked for.
    AllTold,
}

/// Most addresses that are kept of a container. Its root can give it as many as it likes.
const ADDRESSES_MAX: usize = 16;
/// The same of its link-local ones, of all its interfaces.
const LINK_LOCAL_MAX: usize = 8;
/// Most messages' buffers that are read at once; what is left is read the next time.
const READS_MAX: usize = 16;

/// The addresses of a container, kept up to date by [`AddressWatch::update`] when its descriptor is readable.
///
/// What it brings is the guest's word: of it only so much is believed as [`Neighbourhood::allows`].
///
/// The socket keeps the network namespace alive: drop it when the container has ended.
#[derive(Debug)]
pub struct AddressWatch {
    socket: OwnedFd,
    /// What it has, and whether that can be used from elsewhere.
    addresses: Vec<(IpAddr, bool)>,
    /// It has more than are kept.
    truncated: bool,
    /// Messages were lost: what is kept is out of date until everything has been asked for again.
    lost: bool,
    /// What came of everything that was asked for again.
    anew: Option<Vec<(IpAddr, bool)>>,
    looks: Looks,
}

impl AddressWatch {
    /// Opens the socket in the network namespace of process `pid` and asks for what is there.
    ///
    /// # Errors
    /// When the process has ended, or a system call fails.
    pub fn open(pid: i32, around: &Neighbourhood) -> Result<AddressWatch> {
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
        let opened = opened.map_err(|e| failed(&errno_text(e)).caused_by(e))?;
        Ok(AddressWatch::reading(opened, around))
    }

    /// A watch of what `socket` brings; the first of it is there already.
    pub(crate) fn reading(socket: OwnedFd, around: &Neighbourhood) -> AddressWatch {
        let mut watch = AddressWatch {
            socket,
            addresses: Vec::new(),
            truncated: false,
            lost: false,
            anew: None,
            looks: Looks::new(Instant::now()),
        };
        watch.update(around);
        watch
    }

    /// Readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Until when it shall not be read, since the guest changes its addresses very often.
    pub fn rests_until(&self) -> Option<Instant> {
        self.looks.rest_until()
    }

    /// Ends a rest that is over.
    pub fn handle_time(&mut self, now: Instant) {
        self.looks.handle_time(now);
    }

    /// The addresses, those of the loopback interface and link-local ones left out. At most 16.
    pub fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter().filter(|(_, of_use)| *of_use).map(|(address, _)| address)
    }

    /// These, and those that are link-local or still probed for duplicates.
    pub fn claims(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|(address, _)| *address).collect()
    }

    /// Whether the container has more addresses than are kept.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Reads what the kernel has to say; true when the addresses, or what is claimed, differ from before.
    pub fn update(&mut self, around: &Neighbourhood) -> bool {
        self.looks.pay(Instant::now());
        let before = (self.addresses.clone(), self.truncated);
        let mut buffer = vec![0; netlink::BUFFER];
        for _ in 0..READS_MAX {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length @ 1..) => self.take(&buffer[..length], around),
                // There was more than the socket holds.
                Err(Errno::ENOBUFS) => self.lost = true,
                _ => break,
            }
        }
        // Refused while the kernel still answers the question before: it is asked the next time.
        if self.lost && self.anew.is_none() {
            self.ask_again();
        }
        before != (self.addresses.clone(), self.truncated)
    }

    fn ask_again(&mut self) {
        let request = netlink::address_dump_request();
        if send(self.socket.as_raw_fd(), &request, MsgFlags::MSG_DONTWAIT).is_ok() {
            self.lost = false;
            self.anew = Some(Vec::new());
        }
    }

    fn take(&mut self, bytes: &[u8], around: &Neighbourhood) {
        for change in parse(bytes) {
            match change {
                AddressChange::Added(address, of_use) => {
                    let room = self.anew.as_mut().unwrap_or(&mut self.addresses);
                    let link_local = is_link_local(address);
                    let alike = room.iter().filter(|(known, _)| is_link_local(*known) == link_local).count();
                    if let Some(known) = room.iter_mut().find(|(known, _)| *known == address) {
                        known.1 = of_use;
                    } else if !link_local && !around.allows(address) {
                    } else if alike < if link_local { LINK_LOCAL_MAX } else { ADDRESSES_MAX } {
                        room.push((address, of_use));
                    } else {
                        self.truncated |= !link_local;
                    }
                }
                AddressChange::Removed(address) => {
                    let room = self.anew.as_mut().unwrap_or(&mut self.addresses);
                    let before = room.len();
                    room.retain(|(known, _)| *known != address);
                    // One of those that found no room may have it now.
                    self.lost |= self.truncated && room.len() < before;
                }
                AddressChange::AllTold => {
                    if let Some(anew) = self.anew.take() {
                        self.truncated &= anew.len() >= ADDRESSES_MAX;
                        self.addresses = anew;
                    }
                }
            }
        }
        self.addresses.sort_unstable();
    }
}

fn open_socket() -> nix::Result<OwnedFd> {
    let fd = netlink::listen(netlink::IPV4_ADDRESSES | netlink::IPV6_ADDRESSES)?;
    send(fd.as_raw_fd(), &netlink::address_dump_request(), MsgFlags::empty())?;
    Ok(fd)
}

/// The changes in a buffer of netlink messages. Anything malformed ends it; anything unknown is passed over.
fn parse(mut bytes: &[u8]) -> Vec<AddressChange> {
    let mut changes = Vec::new();
    while let Some((kind, message, rest)) = netlink::next_message(bytes) {
        let found = || netlink::address(message).filter(|found| !found.address.is_loopback());
        let added = |found: Assigned| AddressChange::Added(found.address, is_of_use(&found));
        match kind {
            libc::RTM_NEWADDR => changes.extend(found().map(added)),
            libc::RTM_DELADDR => changes.extend(found().map(|found| AddressChange::Removed(found.address))),
            _ if i32::from(kind) == libc::NLMSG_DONE => changes.push(AddressChange::AllTold),
            _ => {}
        }
        bytes = rest;
    }
    changes
}

/// Not link-local, not still being probed for duplicates.
fn is_of_use(found: &Assigned) -> bool {
    !is_link_local(found.address) && !found.tentative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{HEADER, IFADDRMSG};
    use std::os::unix::net::UnixDatagram;

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
            [
                AddressChange::Added(ip, true),
                AddressChange::Removed(ip),
                AddressChange::Added(IpAddr::from(link_local), false),
                AddressChange::Added(v6, false),
                AddressChange::Added(v6, true)
            ]
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

    fn added(address: impl Into<IpAddr>) -> Vec<u8> {
        match address.into() {
            IpAddr::V4(v4) => message(libc::RTM_NEWADDR, libc::AF_INET, 0, &v4.octets()),
            IpAddr::V6(v6) => message(libc::RTM_NEWADDR, libc::AF_INET6, 0, &v6.octets()),
        }
    }

    fn removed(address: [u8; 4]) -> Vec<u8> {
        message(libc::RTM_DELADDR, libc::AF_INET, 0, &address)
    }

    fn ends() -> (UnixDatagram, AddressWatch) {
        let (kernels, ours) = UnixDatagram::pair().unwrap();
        (kernels, AddressWatch::reading(ours.into(), &Neighbourhood::any()))
    }

    #[test]
    fn a_guest_with_very_many_addresses_has_sixteen() {
        let (kernels, mut watch) = ends();
        let any = Neighbourhood::any();
        for n in 0..100 {
            kernels.send(&added([10, 0, 1, n])).unwrap();
        }
        for _ in 0..10 {
            watch.update(&any);
        }
        assert_eq!((watch.addresses().count(), watch.is_truncated()), (16, true));
        kernels.send(&removed([10, 0, 1, 3])).unwrap();
        assert!(watch.update(&any));
        // What did not find room is asked for now that there is some.
        let mut asked = vec![0; 64];
        assert_eq!(kernels.recv(&mut asked).unwrap(), netlink::address_dump_request().len());
        for n in [0, 77] {
            kernels.send(&added([10, 0, 1, n])).unwrap();
        }
        kernels.send(&[20u32.to_ne_bytes().as_slice(), &[3, 0], &[0; 14]].concat()).unwrap();
        assert!(watch.update(&any));
        let has: Vec<IpAddr> = watch.addresses().copied().collect();
        assert_eq!(has, [IpAddr::from([10, 0, 1, 0]), IpAddr::from([10, 0, 1, 77])]);
        assert!(!watch.is_truncated());
    }

    #[test]
    fn only_what_can_be_a_guests_is_believed() {
        let (kernels, mut watch) = ends();
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        let around = Neighbourhood {
            networks: vec![([10, 89, 0, 1].into(), 24), (v6("fd00:1::1"), 64), (v6("fe80::1"), 64)],
            own: vec![[10, 89, 0, 1].into(), [192, 168, 1, 1].into(), v6("fd00:1::1")],
        };
        let of_it = [IpAddr::from([10, 89, 0, 7]), v6("fd00:1::7")];
        let others = [
            [192, 0, 2, 66].into(),
            [10, 89, 0, 1].into(),
            [10, 89, 1, 7].into(),
            v6("2001:db8::666"),
            v6("fd00:1::1"),
        ];
        for address in of_it.iter().chain(&others) {
            kernels.send(&added(*address)).unwrap();
        }
        watch.update(&around);
        assert_eq!(watch.addresses().copied().collect::<Vec<_>>(), of_it);
        assert!(Neighbourhood { networks: Vec::new(), own: Vec::new() }.allows(v6("2001:db8::666")));
    }

    #[test]
    fn our_own_namespace_can_be_watched() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let watch = AddressWatch::open(std::process::id() as i32, &Neighbourhood::any()).unwrap();
        let ours: Vec<IpAddr> = watch.addresses().copied().collect();
        for net in super::super::ipv4_addresses(None).iter().filter(|n| !n.addr.is_loopback()) {
            assert!(net.addr.is_link_local() || ours.contains(&net.addr.into()), "{net} in {ours:?}");
        }
    }
}
