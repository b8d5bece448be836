//! What the box forwards while four guests do all they can. A namespace on its bridge sends to another one behind it,
//! which the box is the router between.

use crate::processes::{network_namespace, sh, Process};
use crate::test_box::{eventually, Image, TestBox, PATIENCE};
use nix::sched::{setns, CloneFlags};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// What may be lost, of a hundred.
const LOSS_MAX: f64 = 5.0;
/// Between two datagrams: 1,000 in a second, what a few calls and a film are.
const PACE: Duration = Duration::from_millis(1);
/// How long it is measured, unless CLOUDBOX_LOAD_SECONDS says something else.
const SECONDS: u64 = 5;
const GUESTS: [&str; 4] = ["a", "b", "c", "d"];

/// Somebody besides the box, for as long as this is there.
struct Place {
    holder: Process,
}

impl Place {
    /// With an interface of this address; `port` is the box's end.
    fn new(port: &str, address: &str, gateway: Ipv4Addr) -> Place {
        let (holder, namespace) = network_namespace();
        sh(&format!(
            "ip link add {port} type veth peer name eth0 netns {pid}; ip link set {port} up; \
             nsenter --net={namespace} sh -ec 'ip link set lo up; ip addr add {address}/24 dev eth0; \
             ip link set eth0 up; ip route add default via {gateway}'",
            pid = holder.pid(),
        ));
        Place { holder }
    }

    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.holder.pid())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                what()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// How many of a hundred datagrams do not get from one place to the other.
fn loss(from: &Place, to: &Place, address: Ipv4Addr, time: Duration) -> f64 {
    let receiver = to.run(|| UdpSocket::bind((address, 0)).unwrap());
    // All of them have room: what is lost is lost on the way.
    setsockopt(&receiver, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let there = receiver.local_addr().unwrap();
    let sender = from.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    sender.connect(there).unwrap();
    // Longer than what is sent: the guests' datagrams, which come here by chance, are cut to what there is room for.
    let mut buffer = [0; 16];
    let number = size_of::<u64>();
    // The way is known when the first is there.
    eventually("a way", || {
        sender.send(&[]).unwrap();
        receiver.recv(&mut buffer).is_ok()
    });
    let begun = Instant::now();
    let mut sent = 0_u64;
    while begun.elapsed() < time {
        sent += u64::from(sender.send(&sent.to_be_bytes()).is_ok());
        let next = PACE * sent as u32;
        thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let mut came = 0_u64;
    let begun = Instant::now();
    while let Ok(length) = receiver.recv(&mut buffer) {
        came += u64::from(length == number);
        assert!(begun.elapsed() < PATIENCE);
        if length == number && buffer[..number] == (sent - 1).to_be_bytes() {
            break;
        }
    }
    println!("{came} of {sent} came");
    100.0 * (sent - came) as f64 / sent as f64
}

/// How many frames the guest has sent.
fn frames_of(the_box: &TestBox, name: &str) -> u64 {
    let info = the_box.info(name);
    let port = info["veth"].as_str().unwrap();
    let count = fs::read_to_string(format!("/sys/class/net/{port}/statistics/rx_packets")).unwrap();
    count.trim().parse().unwrap()
}

/// Takes all it can of processors, disk and network, until it is stopped.
const LOAD: &str = r#"
for i in 1 2; do setsid sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null & done
setsid sh -c 'while :; do dd if=/dev/zero of=/root/load bs=1M count=32 conv=fsync; done' >/dev/null 2>&1 </dev/null &
for to in $1 $2 $3; do
    setsid perl -MSocket -e '
        socket(my $s, PF_INET, SOCK_DGRAM, 0);
        while (1) { send($s, "x" x 1000, 0, pack_sockaddr_in(1024 + int(rand(60000)), inet_aton($ARGV[0]))) for 1..100 }
    ' $to >/dev/null 2>&1 </dev/null &
done
"#;

#[test]
fn the_box_forwards_while_its_guests_do_all_they_can() {
    let Some(the_box) = TestBox::alone("the router under load") else { return };
    the_box.import(Image::Distro);
    let seconds = std::env::var("CLOUDBOX_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let bridge = &the_box.bridge;
    let (lan_port, wan_port) = (the_box.neighbour_port(), format!("{bridge}w"));
    let wan = |last: u8| {
        let [_, b, c, _] = the_box.address(1).octets();
        Ipv4Addr::new(172, 16 + b % 16, c, last)
    };
    let lan = Place::new(&lan_port, &the_box.address(5).to_string(), the_box.address(1));
    let beyond = Place::new(&wan_port, &wan(2).to_string(), wan(1));
    sh(&format!(
        "ip link set {lan_port} master {bridge}; ip addr add {}/24 dev {wan_port}
        echo 1 > /proc/sys/net/ipv4/conf/{bridge}/forwarding; echo 1 > /proc/sys/net/ipv4/conf/{wan_port}/forwarding",
        wan(1)
    ));
    let idle = loss(&lan, &beyond, wan(2), time);

    for name in GUESTS {
        the_box.create(name, json!({ "image": "distro", "memory": "128M" }));
        the_box.wait_for_address(name);
    }
    for name in GUESTS {
        // To the neighbour, to the box, and through it.
        let to = [the_box.address(5), the_box.address(1), wan(2)].map(|to| to.to_string());
        let load = format!("set -- {}; {LOAD}", to.join(" "));
        the_box.inside(name, &load);
    }
    let frames = || GUESTS.map(|name| frames_of(&the_box, name)).iter().sum::<u64>();
    eventually("a flood", || frames() > 10_000);
    let (before, begun) = (frames(), Instant::now());
    let loaded = loss(&lan, &beyond, wan(2), time);
    let flood = (frames() - before) as f64 / begun.elapsed().as_secs_f64();
    println!("the guests sent {flood:.0} frames in a second");
    for name in GUESTS {
        let limits = json!({ "name": name, "rate": "1M", "connections": 50, "reach": "internet" });
        the_box.whole("cloudbox.container", "set", limits).unwrap();
    }
    let limited = loss(&lan, &beyond, wan(2), time);
    println!("lost of what was forwarded: {idle:.2} % alone, {loaded:.2} % beside 4 guests, {limited:.2} % with a rate");
    for name in GUESTS {
        the_box.delete(name);
    }
    drop((lan, beyond));
    assert!(
        idle.max(loaded).max(limited) <= LOSS_MAX,
        "{idle} % alone, {loaded} % loaded, {limited} % limited"
    );
    the_box.assert_nothing_left();
}
