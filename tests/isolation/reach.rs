//! Where a guest can go: the box with a second network and a way to the internet, and somebody in each place.

use super::*;
use std::net::{SocketAddr, UdpSocket};

const OWN4: [u8; 4] = [10, 7, 0, 7];
/// A machine beyond the box's networks.
const BEYOND: [u8; 4] = [203, 0, 113, 9];

/// A [`Net`] with more behind the box: a machine in another network of it, and the internet.
struct World {
    net: Net,
    other: Namespace,
    beyond: Namespace,
}

impl World {
    fn new() -> Option<World> {
        let net = Net::new()?;
        let (other, beyond) = (Namespace::new(), Namespace::new());
        net.the_box.sh(&format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
            ip link set lo up
            ip link add lan2 type veth peer name eth0 netns {}; ip link set lan2 up
            ip addr add 10.8.0.1/24 dev lan2; ip -6 addr add fd00:18::1/64 dev lan2 nodad
            ip link add wan type veth peer name eth0 netns {}; ip link set wan up
            ip addr add 198.51.100.1/30 dev wan; ip -6 addr add 2001:db8:1::1/64 dev wan nodad
            ip route add 203.0.113.0/24 via 198.51.100.2; ip -6 route add 2001:db8:9::/64 via 2001:db8:1::2",
            other.holder.id(),
            beyond.holder.id()
        ));
        other.sh("ip link set lo up; ip link set eth0 up; ip addr add 10.8.0.9/24 dev eth0
            ip -6 addr add fd00:18::9/64 dev eth0 nodad; ip route add default via 10.8.0.1
            ip -6 route add default via fd00:18::1");
        beyond.sh("ip link set lo up; ip link set eth0 up; ip addr add 198.51.100.2/30 dev eth0
            ip addr add 203.0.113.9/32 dev lo; ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
            ip -6 addr add 2001:db8:9::9/128 dev lo nodad
            ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8:1::1");
        net.guest.sh("ip addr add 10.7.0.7/24 dev eth0; ip route add default via 10.7.0.1
            ip -6 addr add fd00:7::7/64 dev eth0 nodad; ip -6 route add default via fd00:7::1");
        net.neighbour.sh("ip -6 addr add fd00:7::9/64 dev eth0 nodad");
        Some(World { net, other, beyond })
    }

    fn allow(&self, reach: Reach, isolate: bool) {
        let port = Port { reach, ..port(isolate, Some(OWN4.into())) };
        self.net.the_box.run(|| self.net.host.isolate(&port)).unwrap();
        let around = self.net.the_box.run(|| self.net.host.neighbourhood("br0"));
        self.net.claim(&[six("fd00:7::7").into()], &around);
    }

    /// Who can be connected to: everybody listens on ports 22 and 53.
    fn listeners(&self) -> Vec<TcpListener> {
        let everybody = [&self.net.the_box, &self.net.neighbour, &self.other, &self.beyond];
        let listen = |port: u16| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
        everybody.into_iter().flat_map(|space| space.run(|| [22, 53].map(listen))).collect()
    }

    /// Whom of `places` the guest can connect to. It waits until those of `expected` are, and for one more.
    fn connects(&self, places: &[&'static str], expected: &[&'static str]) -> Vec<&'static str> {
        let sure = || TcpStream::connect((Ipv4Addr::from(BEYOND), 22)).unwrap();
        self.net.guest.run(|| {
            sure();
            let tried: Vec<_> = places.iter().map(|place| (*place, begin_to_connect(place))).collect();
            let connected = |stream: &TcpStream| stream.peer_addr().is_ok();
            eventually(&format!("{expected:?}"), || {
                tried.iter().all(|(place, stream)| connected(stream) || !expected.contains(place))
            });
            sure();
            tried.iter().filter(|(_, stream)| connected(stream)).map(|(place, _)| *place).collect()
        })
    }
}

/// A socket that connects, and may have done so later.
fn begin_to_connect(place: &str) -> TcpStream {
    use nix::sys::socket::{connect, SockaddrIn, SockaddrIn6};
    let address: SocketAddr = place.parse().unwrap();
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, SockProtocol::Tcp).unwrap();
    let _ = match address {
        SocketAddr::V4(v4) => connect(fd.as_raw_fd(), &SockaddrIn::from(v4)),
        SocketAddr::V6(v6) => connect(fd.as_raw_fd(), &SockaddrIn6::from(v6)),
    };
    TcpStream::from(fd)
}

const SERVICES: [&str; 7] = [
    "10.7.0.1:22",
    "10.8.0.1:22",
    "198.51.100.1:22",
    "[fd00:7::1]:22",
    "[fd00:18::1]:22",
    "[2001:db8:1::1]:22",
    "[fd00:7::]:22",
];
const MACHINES: [&str; 6] = [
    "10.7.0.9:22",
    "10.8.0.9:22",
    "198.51.100.2:22",
    "[fd00:7::9]:22",
    "[fd00:18::9]:22",
    "[2001:db8:1::2]:22",
];
const ALWAYS: [&str; 5] =
    ["203.0.113.9:22", "[2001:db8:9::9]:22", "10.7.0.1:53", "10.8.0.1:53", "[fd00:7::1]:53"];

#[test]
fn a_guest_goes_where_its_word_says() {
    let Some(world) = World::new() else { return };
    let listeners = world.listeners();
    let net = &world.net;
    let places = [SERVICES.as_slice(), &MACHINES, &ALWAYS].concat();
    let of = |parts: &[&[&'static str]]| -> Vec<&'static str> {
        let expected = parts.concat();
        places.iter().filter(|place| expected.contains(place)).copied().collect()
    };
    // Where all routers answer there is no TCP.
    let services = &SERVICES[..SERVICES.len() - 1];
    let internet = of(&[&ALWAYS]);
    net.host.end_adoption();
    for isolate in [true, false] {
        world.allow(Reach::Internet, isolate);
        assert_eq!(world.connects(&places, &internet), internet, "isolate {isolate}");
        net.guest.sh("ping -c1 -W5 10.7.0.1; ping -6 -c1 -W5 fd00:7::1; ping -c1 -W5 203.0.113.9");
        world.allow(Reach::Lan, isolate);
        let lan = of(&[&ALWAYS, &MACHINES]);
        assert_eq!(world.connects(&places, &lan), lan, "isolate {isolate}");
    }
    world.allow(Reach::All, true);
    let all = of(&[&ALWAYS, &MACHINES, services]);
    assert_eq!(world.connects(&places, &all), all);

    // It holds at once, and whatever becomes of the table and of the box's addresses.
    world.allow(Reach::Internet, true);
    net.the_box.sh("nft flush ruleset");
    net.the_box.run(|| net.host.put_back());
    assert_eq!(world.connects(&places, &internet), internet);
    net.the_box.sh("ip addr add 192.168.77.1/24 dev lan2; ip addr del 10.8.0.1/24 dev lan2");
    net.the_box.run(|| {
        net.host.put_back();
        net.host.settle();
    });
    assert_eq!(world.connects(&["192.168.77.1:22", "192.168.77.9:22"], &[]), [""; 0]);
    let networks = net.the_box.run(|| net.host.own_networks());
    assert!(networks.contains(&"192.168.77.0/24".to_string()), "{networks:?}");
    assert!(!networks.contains(&"10.8.0.0/24".to_string()), "{networks:?}");
    drop(listeners);
}

#[test]
fn who_comes_to_a_guest_is_answered() {
    let Some(world) = World::new() else { return };
    let net = &world.net;
    net.host.end_adoption();
    world.allow(Reach::Internet, true);
    let web = net.guest.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap());
    let addresses = [IpAddr::from(OWN4), six("fd00:7::7").into()];
    for from in [&net.the_box, &net.neighbour, &world.other] {
        // The neighbour needs no way to a network that it has an address in.
        for address in addresses {
            let mut came = from.run(|| TcpStream::connect((address, 80))).unwrap();
            let mut served = web.accept().unwrap().0;
            served.write_all(b"served").unwrap();
            drop(served);
            let mut text = String::new();
            came.read_to_string(&mut text).unwrap();
            assert_eq!(text, "served");
        }
    }
    // A datagram is answered to where it came from, and to nowhere else.
    for (ours, theirs) in
        [(addresses[0], IpAddr::from([10, 7, 0, 9])), (addresses[1], six("fd00:7::9").into())]
    {
        let bound = |space: &Namespace, address: IpAddr| {
            let socket = space.run(|| UdpSocket::bind((address, 7000)).unwrap());
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let (server, client, elsewhere) = (
            bound(&net.guest, ours),
            bound(&net.neighbour, theirs),
            net.neighbour.run(|| UdpSocket::bind((theirs, 0)).unwrap()),
        );
        server.send_to(b"unasked", (theirs, 7000)).unwrap();
        client.send_to(b"asked", (ours, 7000)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (b"asked".as_slice(), (theirs, 7000).into()));
        server.send_to(b"unasked", elsewhere.local_addr().unwrap()).unwrap();
        server.send_to(b"answer", from).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        elsewhere.set_nonblocking(true).unwrap();
        assert!(elsewhere.recv(&mut buffer).is_err());
    }
}

/// A segment of TCP with these flags.
fn tcp(flags: u8) -> Vec<u8> {
    [[0x30, 0, 0, 22].as_slice(), &[0; 8], &[0x50, flags, 1, 0], &[0; 4]].concat()
}

#[test]
fn no_frame_goes_around_it() {
    let Some(world) = World::new() else { return };
    let net = &world.net;
    net.host.end_adoption();
    // Not isolated: only where it goes is judged.
    world.allow(Reach::Internet, false);
    let (box_mac, all) = (mac_of(&net.the_box, "br0"), [10, 7, 0, 255]);
    let four = |to, target, protocol, content: &[u8]| ipv4(to, GUEST, OWN4, target, protocol, content);
    let own6 = six("fd00:7::7");
    let any = || udp(9, 9, b"");
    let mut fragment = four(NEIGHBOUR, [10, 7, 0, 9], 6, &tcp(0x10)[..8]);
    fragment[20] = 0x20;
    let mut second = four(NEIGHBOUR, [10, 7, 0, 9], 6, &tcp(0x02)[8..]);
    second[21] = 1;
    let frames: Vec<(&'static str, Vec<u8>)> = vec![
        ("opening", four(NEIGHBOUR, [10, 7, 0, 9], 6, &tcp(0x02))),
        ("opening with more flags", four(NEIGHBOUR, [10, 7, 0, 9], 6, &tcp(0xca))),
        ("head of a segment", fragment),
        ("rest of a segment", second),
        ("echo", four(NEIGHBOUR, [10, 7, 0, 9], 1, &[8, 0, 0, 0, 0, 0, 0, 0])),
        ("gre", four(NEIGHBOUR, [10, 7, 0, 9], 47, &[0; 8])),
        ("dns of a machine", four(NEIGHBOUR, [10, 7, 0, 9], 17, &udp(9, 53, b""))),
        ("an address nobody knows", four(NEIGHBOUR, [172, 17, 0, 1], 17, &any())),
        ("group", four(NEIGHBOUR, [239, 255, 255, 250], 17, &any())),
        ("everybody", four(ALL, [255; 4], 17, &any())),
        ("everybody of the network", four(ALL, all, 17, &any())),
        ("everybody, to the box", four(box_mac, all, 17, &any())),
        ("everybody else, to the box", four(box_mac, [255; 4], 17, &any())),
        ("this machine", four(box_mac, [127, 0, 0, 1], 17, &any())),
        ("group, to the box", four(box_mac, [224, 0, 0, 1], 17, &any())),
        ("udp of ipv6", ipv6(NEIGHBOUR, GUEST, own6, six("fd00:7::9"), 17, &any())),
        ("link-local", ipv6(NEIGHBOUR, GUEST, own6, six("fe80::ff:fe00:9"), 17, &any())),
        (
            "echo of ipv6",
            ipv6(NEIGHBOUR, GUEST, own6, six("fd00:7::9"), 58, &icmpv6(own6, six("fd00:7::9"), 128, &[0; 4])),
        ),
        (
            "ipv6 behind options",
            ipv6(
                NEIGHBOUR,
                GUEST,
                own6,
                six("fd00:7::9"),
                60,
                &[&[17, 0, 1, 4, 0, 0, 0, 0], any().as_slice()].concat(),
            ),
        ),
        ("an ipv6 address nobody knows", ipv6(NEIGHBOUR, GUEST, own6, six("2001:db8:77::1"), 17, &any())),
        ("translated", ipv6(box_mac, GUEST, own6, six("64:ff9b::a07:9"), 17, &any())),
        ("mapped", ipv6(box_mac, GUEST, own6, six("::ffff:10.7.0.9"), 17, &any())),
        ("group of ipv6", ipv6([0x33, 0x33, 0, 0, 0, 1], GUEST, own6, six("ff02::1"), 17, &any())),
        ("group of ipv6 to one", ipv6(NEIGHBOUR, GUEST, own6, six("ff02::1"), 17, &any())),
        ("vlan", frame(ALL, GUEST, 0x8100, &[&[0, 5, 8, 6], &arp(2, GUEST, OWN4, OWN4)[14..]].concat())),
        ("unknown", frame(NEIGHBOUR, GUEST, 0x88b5, &[0; 46])),
    ];
    let marked = |(what, frame): (&'static str, Vec<u8>)| (what, marked(frame, &marker(what)));
    let frames: Vec<_> = frames.into_iter().map(marked).collect();
    let last = last();
    // What is for the box comes up at its bridge, what is for the neighbour goes out to it.
    assert_eq!(net.arriving(&frames, &last), (vec![], vec![]));
    world.allow(Reach::All, false);
    let (neighbour, the_box) = net.arriving(&frames, &last);
    let all: Vec<_> = frames.iter().map(|(what, _)| *what).collect();
    let arrived: Vec<_> =
        all.iter().filter(|what| neighbour.contains(what) || the_box.contains(what)).copied().collect();
    assert_eq!(arrived, all);

    // Who is the router besides the box is learned from its own frames: it has the gateway's address.
    net.the_box.sh("ip route add default via 10.7.0.9");
    world.allow(Reach::Internet, false);
    let beyond: Vec<_> = vec![marked(("beyond", four(NEIGHBOUR, [172, 17, 0, 1], 17, &any())))];
    let dns = vec![marked(("dns", four(NEIGHBOUR, [10, 7, 0, 9], 17, &udp(9, 53, b""))))];
    net.neighbour.run(|| {
        let shown = [[0, 1, 8, 0, 6, 4, 0, 2].as_slice(), &NEIGHBOUR, &[10, 7, 0, 9], &GUEST, &OWN4].concat();
        send(wire("eth0").as_raw_fd(), &frame(GUEST, NEIGHBOUR, 0x0806, &shown), MsgFlags::empty()).unwrap();
    });
    assert_eq!(net.arriving(&beyond, &last).0, ["beyond"]);
    assert_eq!(net.arriving(&dns, &last).0, ["dns"]);
}

fn mac_of(space: &Namespace, interface: &str) -> [u8; 6] {
    let shown =
        space.run(|| Command::new("ip").args(["-o", "link", "show", interface]).output().unwrap().stdout);
    let shown = String::from_utf8(shown).unwrap();
    let mac = shown.split_ascii_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}
