//! What a container can send: a bridge with a guest's port and a neighbour's, in network namespaces of their own, and
//! frames of each kind that somebody makes who wants to be somebody else. Needs root, `ip` and `unshare`.

mod bounds;
mod rate;
mod reach;

use cloudbox::model::spec::Reach;
use cloudbox::steps::network::{Host, Neighbourhood, Network, Port, Rate};
use nix::sched::{setns, CloneFlags};
use nix::sys::socket::{recv, send, socket, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 7];
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 9];
const ALL: [u8; 6] = [0xff; 6];
const VETH: &str = "cb0000000007";

/// A network namespace, for as long as its holder lives.
struct Namespace {
    holder: Child,
    file: File,
}

impl Namespace {
    fn new() -> Namespace {
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let holder = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let path = format!("/proc/{}/ns/net", holder.id());
        eventually("a namespace of its own", || std::fs::read_link(&path).is_ok_and(|theirs| theirs != own));
        let file = File::open(path).unwrap();
        Namespace { holder, file }
    }

    /// Does it in there.
    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
                what()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn sh(&self, script: &str) {
        let said = self.run(|| Command::new("sh").args(["-ec", script]).output().unwrap());
        assert!(said.status.success(), "{script}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A socket that sends and hears whole frames, on one interface of the namespace it is opened in.
fn wire(interface: &str) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as u32;
    // SAFETY: the address is whole and lives longer than the call.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    fd
}

/// Everything that waits there.
fn drain(wire: &OwnedFd) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    let mut frames = Vec::new();
    while let Ok(length) = recv(wire.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        frames.push(buffer[..length].to_vec());
    }
    frames
}

/// A box with a bridge, a guest and a neighbour.
struct Net {
    the_box: Namespace,
    guest: Namespace,
    neighbour: Namespace,
    host: Host,
}

impl Net {
    fn new() -> Option<Net> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let (the_box, guest, neighbour) = (Namespace::new(), Namespace::new(), Namespace::new());
        let (theirs, others) = (guest.holder.id(), neighbour.holder.id());
        the_box.sh(&format!(
            "echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
            ip link add br0 type bridge mcast_snooping 0; ip addr add 10.7.0.1/24 dev br0
            ip -6 addr add fd00:7::1/64 dev br0 nodad; ip link set br0 up
            ip link add {VETH} type veth peer name eth0 netns {theirs}; ip link set {VETH} master br0 up
            ip link add nb0 type veth peer name eth0 netns {others}; ip link set nb0 master br0 up"
        ));
        guest.sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
            ip link set lo up; ip link set eth0 address 02:00:00:00:00:07 up");
        neighbour.sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
            ip link set lo up; ip link set eth0 address 02:00:00:00:00:09 up; ip addr add 10.7.0.9/24 dev eth0
            ip -6 addr add fd00:8::1/64 dev eth0 nodad");
        let host = the_box.run(Host::default);
        if let Err(error) = the_box.run(|| host.check_isolation()) {
            println!("skipped: {}", error.message);
            return None;
        }
        Some(Net { the_box, guest, neighbour, host })
    }

    fn isolate(&self, isolate: bool, address: Option<Ipv4Addr>) {
        self.host.end_adoption();
        self.the_box.run(|| self.host.isolate(&port(isolate, address))).unwrap();
    }

    /// The guest says that it has these, and the kernel knows what of that is true.
    fn claim(&self, addresses: &[IpAddr], around: &Neighbourhood) {
        self.the_box.run(|| {
            self.host.claim(VETH, addresses, around);
            self.host.settle();
        });
    }

    /// Which of the frames that the guest sends reach the neighbour, and which the box. `last` is one that does.
    fn arriving(
        &self,
        frames: &[(&'static str, Vec<u8>)],
        last: &[u8],
    ) -> (Vec<&'static str>, Vec<&'static str>) {
        let wires = [self.neighbour.run(|| wire("eth0")), self.the_box.run(|| wire("br0"))];
        let sender = self.guest.run(|| wire("eth0"));
        for (what, frame) in frames {
            send(sender.as_raw_fd(), frame, MsgFlags::empty()).unwrap_or_else(|e| panic!("{what}: {e}"));
        }
        let heard = wires.map(|wire| {
            let mut heard = Vec::new();
            eventually_with("the last frame", || {
                send(sender.as_raw_fd(), last, MsgFlags::empty()).unwrap();
                heard.extend(drain(&wire));
                heard.iter().filter(|frame| ends_with(frame, b"the-last")).count() > 3
            });
            let is_there = |what: &str| heard.iter().any(|frame| ends_with(frame, marker(what).as_bytes()));
            frames.iter().map(|(what, _)| *what).filter(|what| is_there(what)).collect::<Vec<_>>()
        });
        let [neighbour, the_box] = heard;
        (neighbour, the_box)
    }
}

/// The guest's.
fn port(isolate: bool, address: Option<Ipv4Addr>) -> Port {
    let (veth, mac) = (VETH.into(), "02:00:00:00:00:07".into());
    let (bridge, reach) = ("br0".into(), Reach::All);
    Port { veth, mac, address, bridge, isolate, reach, gateway: None, rate: Rate::default() }
}

fn eventually_with(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn marker(what: &str) -> String {
    format!("<{what}>")
}

fn ends_with(frame: &[u8], what: &[u8]) -> bool {
    frame.windows(what.len()).any(|part| part == what)
}

/// The frame with `mark` at its end. It is a part of the packet: br_netfilter cuts off what is behind one.
fn marked(mut frame: Vec<u8>, mark: &str) -> Vec<u8> {
    frame.extend(mark.as_bytes());
    let length = frame.len() as u16 - 14;
    match frame[12..14] {
        [8, 0] => {
            frame[16..18].copy_from_slice(&length.to_be_bytes());
            frame[24..26].copy_from_slice(&[0; 2]);
            let sum = sum_of(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum);
        }
        [0x86, 0xdd] => frame[18..20].copy_from_slice(&(length - 40).to_be_bytes()),
        _ => {}
    }
    frame
}

/// The sum that Internet protocols check.
fn sum_of(bytes: &[u8]) -> [u8; 2] {
    let pairs =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

fn frame(to: [u8; 6], from: [u8; 6], kind: u16, content: &[u8]) -> Vec<u8> {
    [to.as_slice(), &from, &kind.to_be_bytes(), content].concat()
}

fn arp(operation: u8, mac: [u8; 6], ip: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    frame(ALL, GUEST, 0x0806, &[head.as_slice(), &mac, &ip, &[0; 6], &target].concat())
}

fn ipv4(
    to: [u8; 6],
    from: [u8; 6],
    source: [u8; 4],
    target: [u8; 4],
    protocol: u8,
    content: &[u8],
) -> Vec<u8> {
    let length = (20 + content.len() as u16).to_be_bytes();
    let mut head =
        [[0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0].as_slice(), &source, &target]
            .concat();
    let sum = sum_of(&head);
    head[10..12].copy_from_slice(&sum);
    frame(to, from, 0x0800, &[head.as_slice(), content].concat())
}

fn udp(from: u16, to: u16, content: &[u8]) -> Vec<u8> {
    let length = 8 + content.len() as u16;
    [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0; 2]]
        .concat()
        .into_iter()
        .chain(content.iter().copied())
        .collect()
}

fn dhcp(operation: u8, mac: [u8; 6], given: [u8; 4]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[operation, 1, 6]);
    message[16..20].copy_from_slice(&given);
    message[28..34].copy_from_slice(&mac);
    message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend([53, 1, 5, 255]);
    message
}

fn ipv6(to: [u8; 6], from: [u8; 6], source: Ipv6Addr, target: Ipv6Addr, next: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 255];
    frame(to, from, 0x86dd, &[head.as_slice(), &source.octets(), &target.octets(), content].concat())
}

/// Its sum is right: others than the kernel's own do not count here, but the kernel's do.
fn icmpv6(source: Ipv6Addr, target: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [[kind, 0, 0, 0].as_slice(), rest].concat();
    let length = (message.len() as u32).to_be_bytes();
    let whole = [source.octets().as_slice(), &target.octets(), &length, &[0, 0, 0, 58], &message].concat();
    message[2..4].copy_from_slice(&sum_of(&whole));
    message
}

/// A router's announcement of `prefix`.
fn announcement(prefix: Ipv6Addr) -> Vec<u8> {
    let lifetimes = [0, 0, 7, 8, 0, 0, 7, 8];
    [
        [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &[5, 1, 0, 0, 0, 0, 5, 0xdc],
        &[3, 4, 64, 0xc0],
        &lifetimes,
        &[0; 4],
        &prefix.octets(),
    ]
    .concat()
}

fn six(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Each kind of frame that a guest must not send, with its name at its end.
fn forged() -> Vec<(&'static str, Vec<u8>)> {
    let own6 = six("fe80::ff:fe00:7");
    let (nodes, query) = (six("ff02::1"), [0; 20]);
    let to_all6 = [0x33, 0x33, 0, 0, 0, 1];
    let ra = icmpv6(own6, nodes, 134, &announcement(six("fd99::")));
    let neighbours =
        icmpv6(own6, nodes, 136, &[[0x20, 0, 0, 0].as_slice(), &six("fd00:7::1").octets()].concat());
    let behind = |header: &[u8], content: &[u8]| [header, content].concat();
    let frames = vec![
        ("arp reply for the box", arp(2, GUEST, [10, 7, 0, 1], [10, 7, 0, 1])),
        ("arp request as the box", arp(1, GUEST, [10, 7, 0, 1], [10, 7, 0, 9])),
        ("arp as another mac", arp(2, NEIGHBOUR, [10, 7, 0, 7], [10, 7, 0, 7])),
        ("arp probe for the box", arp(1, GUEST, [0; 4], [10, 7, 0, 1])),
        (
            "another mac",
            ipv4(NEIGHBOUR, [2, 9, 9, 9, 9, 9], [10, 7, 0, 7], [10, 7, 0, 9], 17, &udp(9, 9, b"")),
        ),
        ("another address", ipv4(NEIGHBOUR, GUEST, [10, 7, 0, 8], [10, 7, 0, 9], 17, &udp(9, 9, b""))),
        ("the box's address", ipv4(NEIGHBOUR, GUEST, [10, 7, 0, 1], [10, 7, 0, 9], 1, &[8; 16])),
        (
            "dhcp offer",
            ipv4(ALL, GUEST, [10, 7, 0, 7], [255; 4], 17, &udp(67, 68, &dhcp(2, NEIGHBOUR, [10, 7, 0, 66]))),
        ),
        (
            "dhcp for another",
            ipv4(ALL, GUEST, [0; 4], [255; 4], 17, &udp(68, 67, &dhcp(1, NEIGHBOUR, [0; 4]))),
        ),
        ("broadcast", ipv4(ALL, GUEST, [10, 7, 0, 7], [10, 7, 0, 255], 17, &udp(9, 9, b""))),
        (
            "multicast",
            ipv4(
                [1, 0, 0x5e, 0x7f, 0xff, 0xfa],
                GUEST,
                [10, 7, 0, 7],
                [239, 255, 255, 250],
                17,
                &udp(1900, 1900, b""),
            ),
        ),
        (
            "igmp query",
            ipv4(
                [1, 0, 0x5e, 0, 0, 1],
                GUEST,
                [10, 7, 0, 7],
                [224, 0, 0, 1],
                2,
                &[0x11, 1, 0, 0, 0, 0, 0, 0],
            ),
        ),
        ("ra", ipv6(to_all6, GUEST, own6, nodes, 58, &ra)),
        (
            "ra behind hop-by-hop",
            ipv6(to_all6, GUEST, own6, nodes, 0, &behind(&[58, 0, 5, 2, 0, 0, 1, 0], &ra)),
        ),
        (
            "ra behind options",
            ipv6(to_all6, GUEST, own6, nodes, 60, &behind(&[58, 0, 1, 4, 0, 0, 0, 0], &ra)),
        ),
        (
            "ra behind routing",
            ipv6(to_all6, GUEST, own6, nodes, 43, &behind(&[58, 0, 0, 0, 0, 0, 0, 0], &ra)),
        ),
        ("ra in a fragment", ipv6(to_all6, GUEST, own6, nodes, 44, &behind(&[58, 0, 0, 1, 0, 0, 0, 1], &ra))),
        (
            "ra behind options in a fragment",
            ipv6(
                to_all6,
                GUEST,
                own6,
                nodes,
                44,
                &behind(&[60, 0, 0, 1, 0, 0, 0, 2, 58, 0, 1, 4, 0, 0, 0, 0], &ra),
            ),
        ),
        (
            "redirect",
            ipv6(
                NEIGHBOUR,
                GUEST,
                own6,
                six("fe80::ff:fe00:9"),
                58,
                &icmpv6(own6, six("fe80::ff:fe00:9"), 137, &[0; 36]),
            ),
        ),
        ("na for the box", ipv6(to_all6, GUEST, own6, nodes, 58, &neighbours)),
        (
            "dad for the box",
            ipv6(
                to_all6,
                GUEST,
                six("::"),
                nodes,
                58,
                &icmpv6(six("::"), nodes, 135, &behind(&[0; 4], &six("fd00:7::1").octets())),
            ),
        ),
        (
            "mld query",
            ipv6(
                to_all6,
                GUEST,
                own6,
                nodes,
                0,
                &behind(&[58, 0, 5, 2, 0, 0, 1, 0], &icmpv6(own6, nodes, 130, &query)),
            ),
        ),
        ("mld query alone", ipv6(to_all6, GUEST, own6, nodes, 58, &icmpv6(own6, nodes, 130, &query))),
        (
            "dhcpv6 reply",
            ipv6(NEIGHBOUR, GUEST, own6, six("fe80::ff:fe00:9"), 17, &udp(547, 546, &[7, 0, 0, 1])),
        ),
        (
            "another ipv6 address",
            ipv6(NEIGHBOUR, GUEST, six("fd00:7::9"), six("fd00:8::1"), 17, &udp(9, 9, b"")),
        ),
        (
            "the box's ipv6 address",
            ipv6(NEIGHBOUR, GUEST, six("fd00:7::1"), six("fd00:8::1"), 17, &udp(9, 9, b"")),
        ),
        ("ipv6 multicast", ipv6(to_all6, GUEST, own6, nodes, 17, &udp(9, 9, b""))),
        (
            "vlan",
            frame(
                ALL,
                GUEST,
                0x8100,
                &[&[0, 5, 8, 6], &arp(2, GUEST, [10, 7, 0, 7], [10, 7, 0, 7])[14..]].concat(),
            ),
        ),
        ("bpdu", frame([1, 0x80, 0xc2, 0, 0, 0], GUEST, 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0])),
        ("unknown", frame(ALL, GUEST, 0x88b5, &[0; 46])),
    ];
    let named = |(what, frame): (&'static str, Vec<u8>)| (what, marked(frame, &marker(what)));
    frames.into_iter().map(named).collect()
}

/// Something that a guest with 10.7.0.7 may send to all.
fn last() -> Vec<u8> {
    [arp(1, GUEST, [10, 7, 0, 7], [10, 7, 0, 9]), b"the-last".to_vec()].concat()
}

#[test]
fn what_is_not_its_own_reaches_nobody() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, Some(Ipv4Addr::new(10, 7, 0, 7)));
    let begun = Instant::now();
    let (neighbour, the_box) = net.arriving(&forged(), &last());
    assert_eq!((neighbour, the_box), (vec![], vec![]));
    // Somebody throws all rules away, and the daemon puts them back.
    net.the_box.sh("nft flush ruleset");
    net.the_box.run(|| net.host.put_back());
    let (neighbour, the_box) = net.arriving(&forged(), &last());
    assert_eq!((neighbour, the_box), (vec![], vec![]));
    // The bridge is made anew.
    net.the_box.sh(&format!(
        "ip link del br0; ip link add br1 type bridge mcast_snooping 0; ip link set br1 name br0; ip link set br0 up
        ip link set {VETH} master br0; ip link set nb0 master br0"
    ));
    let (neighbour, the_box) = net.arriving(&forged(), &last());
    assert_eq!((neighbour, the_box), (vec![], vec![]));
    println!("{} kinds of frames, three times: {:?}", forged().len(), begun.elapsed());

    // Without it each kind gets through.
    net.isolate(false, Some(Ipv4Addr::new(10, 7, 0, 7)));
    let (neighbour, _) = net.arriving(&forged(), &last());
    assert_eq!(neighbour, forged().into_iter().map(|(what, _)| what).collect::<Vec<_>>());
    // Nothing is left of it when the daemon of the last one ends.
    let Net { the_box, host, .. } = net;
    the_box.run(move || host.release(VETH));
    the_box.sh("! nft list table bridge cloudbox 2>/dev/null");
}

#[test]
fn a_port_without_rules_passes_nothing() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, Some(Ipv4Addr::new(10, 7, 0, 7)));
    // Somebody else's guest: its port is called as ours are, and nobody has told of it.
    let stranger = Namespace::new();
    let holder = stranger.holder.id();
    net.the_box.sh(&format!(
        "ip link add cbfffffffff0 type veth peer name eth0 netns {holder}; ip link set cbfffffffff0 master br0 up"
    ));
    stranger.sh("ip link set eth0 up");
    let wires = [net.neighbour.run(|| wire("eth0")), net.the_box.run(|| wire("br0"))];
    let (sender, known) = (stranger.run(|| wire("eth0")), net.guest.run(|| wire("eth0")));
    let mac = [2, 0, 0, 0, 0, 8];
    let strange = [arp(1, mac, [10, 7, 0, 8], [10, 7, 0, 9]), b"strange".to_vec()].concat();
    let heard = || {
        let mut heard = wires.each_ref().map(drain);
        eventually_with("the known guest's frame, behind the stranger's", || {
            send(sender.as_raw_fd(), &strange, MsgFlags::empty()).unwrap();
            send(known.as_raw_fd(), &last(), MsgFlags::empty()).unwrap();
            heard.iter_mut().zip(&wires).for_each(|(heard, wire)| heard.extend(drain(wire)));
            heard.iter().all(|heard| heard.iter().filter(|f| ends_with(f, b"the-last")).count() > 3)
        });
        heard.map(|heard| heard.iter().any(|frame| ends_with(frame, b"strange")))
    };
    assert_eq!(heard(), [false; 2]);
    // Known, and not watched: it may do everything.
    let (veth, mac) = ("cbfffffffff0".to_string(), "02:00:00:00:00:08".to_string());
    net.the_box.run(|| net.host.isolate(&Port { veth, mac, ..port(false, None) })).unwrap();
    assert_eq!(heard(), [true; 2]);
}

#[test]
fn who_ran_before_there_were_rules_keeps_what_it_has() {
    let Some(net) = Net::new() else { return };
    let numbered = |name: &str, last: u8| Port {
        veth: name.into(),
        mac: format!("02:00:00:00:00:{last:02x}"),
        ..port(true, None)
    };
    let around = net.the_box.run(|| net.host.neighbourhood("br0"));
    net.the_box.run(|| {
        net.host.isolate(&numbered(VETH, 7)).unwrap();
        let has = [[10, 7, 0, 7].into(), [10, 7, 0, 1].into(), [10, 8, 0, 7].into()];
        net.host.claim(VETH, &has, &around);
        let begun = Instant::now();
        for n in 8..108 {
            net.host.isolate(&numbered(&format!("cb{n:010}"), n)).unwrap();
        }
        println!("100 more ports: {:?}", begun.elapsed());
        // Whoever has it first, keeps it.
        net.host.claim("cb0000000008", &[[10, 7, 0, 7].into()], &around);
        net.host.end_adoption();
        net.host.claim("cb0000000008", &[[10, 7, 0, 8].into()], &around);
        net.host.settle();
    });
    let shown =
        net.the_box.run(|| Command::new("nft").args(["list", "set", "bridge", "cloudbox", "own4"]).output());
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let elements: Vec<&str> = shown.lines().filter(|line| line.contains("10.")).map(str::trim).collect();
    assert_eq!(elements, ["elements = { 02:00:00:00:00:07 . 10.7.0.7 }"], "{shown}");
    assert_eq!(net.arriving(&[], &last()), (vec![], vec![]));
}

#[test]
fn many_guests_have_their_rules_back_at_once() {
    let Some(net) = Net::new() else { return };
    net.host.end_adoption();
    let guests = 1000_u16;
    net.the_box.run(|| {
        for n in 0..guests {
            let [high, low] = n.to_be_bytes();
            let (veth, mac) = (format!("cb{n:010x}"), format!("02:00:00:01:{high:02x}:{low:02x}"));
            let rate = Rate { bytes: Some(1 << 20), connections: Some(100) };
            net.host.isolate(&Port { veth, mac, reach: Reach::Internet, rate, ..port(true, None) }).unwrap();
        }
    });
    net.the_box.sh("nft flush ruleset");
    let begun = Instant::now();
    net.the_box.run(|| net.host.put_back());
    println!("{guests} guests' rules were back after {:?}", begun.elapsed());
    for set in ["set bridge cloudbox macs", "map bridge cloudbox connections"] {
        let list = format!("nft list {set}");
        let shown = net.the_box.run(|| Command::new("sh").args(["-c", &list]).output().unwrap().stdout);
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(
            shown.matches("\"cb").count(),
            usize::from(guests) * if set.starts_with("map") { 2 } else { 1 }
        );
    }
}

#[test]
fn two_daemons_put_back_what_each_of_them_knows() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, None);
    let (veth, mac) = ("cbfffffffff0".to_string(), "02:00:00:00:00:08".to_string());
    let other = net.the_box.run(|| {
        let other = Host::default();
        other.end_adoption();
        other.isolate(&Port { veth, mac, ..port(true, None) }).unwrap();
        other
    });
    net.the_box.sh("nft flush ruleset");
    net.the_box.run(|| {
        for host in [&net.host, &other] {
            host.put_back();
            host.settle();
        }
    });
    net.the_box.sh(&format!("nft get element bridge cloudbox guests '{{ \"{VETH}\" }}'"));
    net.the_box.sh("nft get element bridge cloudbox guests '{ \"cbfffffffff0\" }'");
    net.the_box.run(|| drop(other));
}

#[test]
fn before_it_has_an_address_it_can_ask_for_one_and_nothing_else() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, None);
    // What a guest without an address of IPv4 may send: how often it asks for one is counted.
    let (own6, routers) = (six("fe80::ff:fe00:7"), six("ff02::2"));
    let solicitation = icmpv6(own6, routers, 133, &[0; 4]);
    let other = ipv6([0x33, 0x33, 0, 0, 0, 2], GUEST, own6, routers, 58, &solicitation);
    let other = marked(other, "the-last");
    let ask = ipv4(ALL, GUEST, [0; 4], [255; 4], 17, &udp(68, 67, &dhcp(1, GUEST, [0; 4])));
    let ask = vec![("ask", marked(ask, &marker("ask")))];
    assert_eq!(net.arriving(&ask, &other), (vec!["ask"], vec!["ask"]));
    let own: Vec<(&str, Vec<u8>)> = vec![
        ("arp", marked(arp(2, GUEST, [10, 7, 0, 7], [10, 7, 0, 7]), &marker("arp"))),
        (
            "udp",
            marked(ipv4(NEIGHBOUR, GUEST, [10, 7, 0, 7], [10, 7, 0, 9], 17, &udp(9, 9, b"")), &marker("udp")),
        ),
    ];
    assert_eq!(net.arriving(&own, &other).0, [""; 0]);
    // A server's offer to somebody else is not its own; the one to it is, from the moment it has passed.
    let server = net.neighbour.run(|| wire("eth0"));
    let offer = |mac, given| {
        let message = udp(67, 68, &dhcp(2, mac, given));
        send(
            server.as_raw_fd(),
            &ipv4(ALL, NEIGHBOUR, [10, 7, 0, 9], [255; 4], 17, &message),
            MsgFlags::empty(),
        )
        .unwrap();
    };
    offer([2, 0, 0, 0, 0, 8], [10, 7, 0, 7]);
    offer(GUEST, [10, 7, 0, 8]);
    assert_eq!(net.arriving(&own, &other).0, [""; 0]);
    offer(GUEST, [10, 7, 0, 7]);
    assert_eq!(net.arriving(&own, &last()).0, ["arp", "udp"]);
    // Given to another one, it is that one's alone.
    let next = Port { veth: "cb0000000008".into(), mac: "02:00:00:00:00:08".into(), ..port(true, None) };
    let around = net.the_box.run(|| net.host.neighbourhood("br0"));
    net.the_box.run(|| {
        net.host.isolate(&next).unwrap();
        net.host.claim(&next.veth, &[[10, 7, 0, 7].into()], &around);
        net.host.settle();
    });
    assert_eq!(net.arriving(&own, &other).0, [""; 0]);
    net.the_box.run(|| {
        net.host.release(&next.veth);
        net.host.settle();
    });
    offer(GUEST, [10, 7, 0, 7]);
    // What it says it has is believed if it was offered, and is there also after the table was thrown away.
    let claim = |addresses: &[IpAddr]| net.claim(addresses, &around);
    claim(&[
        Ipv4Addr::new(10, 7, 0, 7).into(),
        Ipv4Addr::new(10, 7, 0, 66).into(),
        Ipv4Addr::new(10, 7, 0, 1).into(),
    ]);
    net.the_box.sh("nft delete table bridge cloudbox");
    net.the_box.run(|| net.host.put_back());
    assert_eq!(net.arriving(&own, &last()).0, ["arp", "udp"]);
    let (neighbour, the_box) = net.arriving(&forged(), &last());
    assert_eq!((neighbour, the_box), (vec![], vec![]));
}

#[test]
fn an_isolated_guest_has_a_network() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, Some(Ipv4Addr::new(10, 7, 0, 7)));
    net.guest.sh("ip addr add 10.7.0.7/24 dev eth0");
    // A router announces a prefix, behind another port: what the guest makes of it is its own.
    let router = net.neighbour.run(|| wire("eth0"));
    let (from, nodes) = (six("fe80::ff:fe00:9"), six("ff02::1"));
    let ra = icmpv6(from, nodes, 134, &announcement(six("fd00:8::")));
    let ra = ipv6([0x33, 0x33, 0, 0, 0, 1], NEIGHBOUR, from, nodes, 58, &ra);
    send(router.as_raw_fd(), &ra, MsgFlags::empty()).unwrap();
    let expected: IpAddr = six("fd00:8::ff:fe00:7").into();
    let pid = net.guest.holder.id() as i32;
    let around = net.the_box.run(|| net.host.neighbourhood("br0"));
    assert!(around.networks.contains(&(six("fd00:8::").into(), 64)), "{around:?}");
    let mut watch = net.the_box.run(|| net.host.watch(pid, &around)).unwrap();
    eventually_with("an address of the announced prefix", || {
        watch.update(&around);
        watch.addresses().any(|address| *address == expected)
    });
    net.claim(&watch.claims(), &around);
    net.guest.sh("ping -c1 -W5 10.7.0.9; ping -c1 -W5 10.7.0.1; ping -6 -c1 -W5 fd00:8::1");

    // Also what a guest takes first is no router's.
    let as_router =
        marked(ipv6(NEIGHBOUR, GUEST, from, six("fd00:8::1"), 17, &udp(9, 9, b"")), &marker("as router"));
    net.claim(&[watch.claims(), vec![from.into()]].concat(), &around);
    assert_eq!(net.arriving(&[("as router", as_router)], &last()), (vec![], vec![]));

    // 100 MB each way of TCP, over both families.
    for address in [IpAddr::from([10, 7, 0, 9]), six("fd00:8::1").into()] {
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            let (neighbour, guest) = (&net.neighbour, &net.guest);
            scope.spawn(move || {
                neighbour.run(|| {
                    let listener = TcpListener::bind((address, 0)).unwrap();
                    tell.send(listener.local_addr().unwrap()).unwrap();
                    let mut stream = listener.accept().unwrap().0;
                    stream.write_all(&vec![7; 100 << 20]).unwrap();
                });
            });
            let mut all = Vec::new();
            let to = told.recv().unwrap();
            guest.run(|| TcpStream::connect(to).unwrap().read_to_end(&mut all).unwrap());
            assert_eq!(all.len(), 100 << 20);
        });
    }

    // mDNS, reports, and what else a network does not work without.
    let own6 = six("fe80::ff:fe00:7");
    let report = icmpv6(own6, six("ff02::16"), 143, &[0, 0, 0, 0]);
    let to_group = [0x33, 0x33, 0, 0, 0, 0x16];
    let frames: Vec<(&str, Vec<u8>)> = vec![
        (
            "mdns",
            ipv4([1, 0, 0x5e, 0, 0, 0xfb], GUEST, [10, 7, 0, 7], [224, 0, 0, 251], 17, &udp(5353, 5353, b"")),
        ),
        (
            "mdns over ipv6",
            ipv6([0x33, 0x33, 0, 0, 0, 0xfb], GUEST, own6, six("ff02::fb"), 17, &udp(5353, 5353, b"")),
        ),
        (
            "igmp report",
            ipv4(
                [1, 0, 0x5e, 0, 0, 22],
                GUEST,
                [10, 7, 0, 7],
                [224, 0, 0, 22],
                2,
                &[0x22, 0, 0, 0, 0, 0, 0, 0],
            ),
        ),
        (
            "mld report",
            ipv6(
                to_group,
                GUEST,
                own6,
                six("ff02::16"),
                0,
                &[[58, 0, 5, 2, 0, 0, 1, 0].as_slice(), &report].concat(),
            ),
        ),
        (
            "router solicitation",
            ipv6(
                [0x33, 0x33, 0, 0, 0, 2],
                GUEST,
                own6,
                six("ff02::2"),
                58,
                &icmpv6(own6, six("ff02::2"), 133, &[0; 4]),
            ),
        ),
        (
            "dhcp renewal",
            ipv4(NEIGHBOUR, GUEST, [10, 7, 0, 7], [10, 7, 0, 9], 17, &udp(68, 67, &dhcp(1, GUEST, [0; 4]))),
        ),
    ];
    let names: Vec<&str> = frames.iter().map(|(what, _)| *what).collect();
    let frames: Vec<(&str, Vec<u8>)> =
        frames.into_iter().map(|(what, frame)| (what, marked(frame, &marker(what)))).collect();
    assert_eq!(net.arriving(&frames, &last()).0, names);
}
