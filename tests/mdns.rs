//! The look around by mDNS on a network with real avahi-daemons, compared with what avahi-browse sees there.
//!
//! Each test has a network namespace of its own with a bridge; each neighbour is one more, with its own daemon.

use cloudbox::error::Code;
use cloudbox::mdns::message::{questions, Name, A, PTR, SRV, TXT};
use cloudbox::mdns::{browse, ServiceInstance};
use nix::sched::{unshare, CloneFlags};
use nix::sys::socket::{bind, setsockopt, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrIn};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the tests can run: as root.
fn can_run(what: &str) -> bool {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: {what} needs root");
        return false;
    }
    for program in ["avahi-daemon", "avahi-browse", "dbus-daemon", "ip", "unshare", "nsenter"] {
        let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let is_there = dirs.iter().any(|dir| Path::new(dir).join(program).exists());
        assert!(is_there, "{program} is missing: scripts/install-deps.sh test installs it");
    }
    true
}

// ---- A network with neighbours -----------------------------------------------------------------------------------

/// A bridge in a network namespace of this thread's own.
struct Net {
    dir: PathBuf,
    neighbours: u8,
}

impl Net {
    /// Moves this thread to a new network namespace with the bridge br0, 10.77.0.1, and what a box has besides.
    fn new() -> Net {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("cloudbox-mdns-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        sh("sysctl -qw net.ipv6.conf.default.accept_dad=0 && ip link set lo up && ip link add br0 type bridge && \
            ip address add 10.77.0.1/24 dev br0 && ip link set br0 up");
        Net { dir, neighbours: 0 }
    }

    /// A host on the bridge with these services, each a name, a type, a port and strings. They are announced when this
    /// returns.
    fn neighbour(&mut self, host: &str, services: &[Service]) -> Neighbour {
        self.neighbour_with(host, services, "")
    }

    /// The same, with these lines in the section `[server]` of its configuration.
    fn neighbour_with(&mut self, host: &str, services: &[Service], settings: &str) -> Neighbour {
        self.neighbours += 1;
        let number = self.neighbours + 1;
        let arrive = format!(
            "until ip link set eth0 up 2>/dev/null; do sleep 0.01; done; ip address add 10.77.0.{number}/24 dev eth0"
        );
        let neighbour = Neighbour::start(&self.dir.join(host), host, services, settings, &["--net"], &arrive);
        let pid = neighbour.process.id();
        let name = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        wait_for("the neighbour's network namespace", || {
            name(&pid.to_string()).is_ok_and(|theirs| theirs != name("thread-self").unwrap())
        });
        sh(&format!("ip link add v{number} type veth peer name eth0 netns {pid} && ip link set v{number} master br0 up"));
        neighbour.wait(services.len());
        neighbour
    }

    /// An avahi-daemon in the box's own network namespace.
    fn daemon(&mut self, host: &str, services: &[Service]) -> Neighbour {
        let daemon = Neighbour::start(&self.dir.join(host), host, services, "", &[], ":");
        daemon.wait(services.len());
        daemon
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[derive(Clone)]
struct Service {
    name: String,
    kind: String,
    port: u16,
    txt: Vec<String>,
}

fn service(name: &str, kind: &str, port: u16, txt: &[&str]) -> Service {
    let txt = txt.iter().map(ToString::to_string).collect();
    Service { name: name.into(), kind: kind.into(), port, txt }
}

impl Service {
    fn xml(&self) -> String {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let mut xml = format!("<service-group><name>{}</name><service>", escaped(&self.name));
        let _ = write!(xml, "<type>{}</type><port>{}</port>", self.kind, self.port);
        for record in &self.txt {
            let _ = write!(xml, "<txt-record>{}</txt-record>", escaped(record));
        }
        xml + "</service></service-group>"
    }
}

/// An avahi-daemon with a D-Bus of its own, in namespaces that end with it.
struct Neighbour {
    process: Child,
    lines: Receiver<String>,
}

impl Neighbour {
    fn start(
        dir: &Path,
        host: &str,
        services: &[Service],
        settings: &str,
        namespaces: &[&str],
        arrive: &str,
    ) -> Neighbour {
        let config = dir.join("avahi");
        std::fs::create_dir_all(config.join("services")).unwrap();
        let settings = format!("[server]\nhost-name={host}\n{settings}\n[publish]\npublish-workstation=no\n");
        std::fs::write(config.join("avahi-daemon.conf"), settings).unwrap();
        for (i, service) in services.iter().enumerate() {
            std::fs::write(config.join(format!("services/{i}.service")), service.xml()).unwrap();
        }
        let script = format!(
            "set -e; mount -t tmpfs none /run; mkdir /run/dbus; mount --bind {} /etc/avahi; ip link set lo up; {arrive}
            dbus-daemon --system --fork; exec avahi-daemon --no-rlimits --no-drop-root --no-chroot",
            config.display()
        );
        // With its first process everything in a PID namespace ends.
        let mut process = Command::new("unshare")
            .args(["--mount", "--pid", "--mount-proc", "--fork", "--kill-child"])
            .args(namespaces)
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Neighbour { process, lines }
    }

    /// Waits until the daemon runs and announces so many services.
    fn wait(&self, services: usize) {
        let deadline = Instant::now() + PATIENCE;
        let (mut up, mut established, mut seen) = (false, 0, String::new());
        while !up || established < services {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    up |= line.contains("Server startup complete");
                    established += usize::from(line.contains("successfully established"));
                    seen = seen + &line + "\n";
                }
                Err(_) => panic!("{established} of {services} services are up: {seen}"),
            }
        }
    }

    /// Runs a command where the daemon lives.
    fn run(&self, command: &str) -> String {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let child = std::fs::read_to_string(children).unwrap();
        let child = child.trim();
        let output = Command::new("nsenter")
            .args(["--target", child, "--mount", "--net", "--pid", "sh", "-c", command])
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sh(command: &str) -> Output {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    output
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

// ---- What there is -----------------------------------------------------------------------------------------------

/// `count` services of a host, over five types.
fn services(host: &str, count: u16) -> Vec<Service> {
    let kinds = ["_http._tcp", "_ssh._tcp", "_tahoe-lafs._tcp", "_ntp._udp", "_syncthing._tcp"];
    let number = |i| {
        let kind = kinds[usize::from(i) % kinds.len()];
        service(&format!("{host} {i}"), kind, 1000 + i, &[&format!("number={i}"), "path=/some/where"])
    };
    (0..count).map(number).collect()
}

/// Type, name, host, IPv4 addresses, port, strings.
type Row = (String, String, String, BTreeSet<IpAddr>, u16, Vec<String>);

fn row(found: ServiceInstance) -> Row {
    let addresses = found.addresses.into_iter().filter(IpAddr::is_ipv4).collect();
    (found.kind, found.name, found.host, addresses, found.port, found.txt)
}

/// The same from `avahi-browse --parsable`: it escapes what is no letter or digit as \DDD.
fn avahi_rows(text: &str) -> BTreeSet<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('=')) {
        let fields: Vec<&str> = line.splitn(10, ';').collect();
        let address: IpAddr = fields[7].parse().unwrap();
        let strings = fields[9].trim_matches('"').split("\" \"").filter(|s| !s.is_empty()).map(unescaped);
        // It lists them from the last to the first.
        let strings = strings.collect::<Vec<_>>().into_iter().rev().collect();
        let port = fields[8].parse().unwrap();
        let (name, kind, host) = (unescaped(fields[3]), fields[4].into(), fields[6].into());
        let addresses = BTreeSet::from_iter([address].into_iter().filter(IpAddr::is_ipv4));
        match rows.iter_mut().find(|r| (&r.0, &r.1) == (&kind, &name)) {
            Some(row) => row.3.extend(addresses),
            None => rows.push((kind, name, host, addresses, port, strings)),
        }
    }
    rows.into_iter().collect()
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut next = || rest.next().unwrap();
        match byte {
            b'\\' => match next() {
                digit @ b'0'..=b'9' => {
                    let digits = [digit, next(), next()].map(|d| u32::from(d - b'0'));
                    bytes.push((digits[0] * 100 + digits[1] * 10 + digits[2]) as u8);
                }
                other => bytes.push(other),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Checks that avahi-browse sees the same. It ends when it has asked once, and what was lost then is not in its list:
/// it is asked again and again.
fn assert_avahi_agrees(ours: &BTreeSet<Row>, mut avahi: impl FnMut() -> BTreeSet<Row>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let theirs = avahi();
        let only_ours: Vec<&Row> = ours.difference(&theirs).collect();
        let only_theirs: Vec<&Row> = theirs.difference(ours).collect();
        if only_ours.is_empty() && only_theirs.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "ours: {only_ours:#?}\navahi's: {only_theirs:#?}");
    }
}

#[test]
fn two_hundred_services_of_one_host_and_our_own() {
    if !can_run("browsing beside avahi-daemon") {
        return;
    }
    let mut net = Net::new();
    let _neighbour = net.neighbour("far", &services("far", 200));
    let daemon = net.daemon("box", &services("box", 3));
    let began = Instant::now();
    let found = browse(None, PATIENCE).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(found.len(), 203);
    let theirs = |of: &str| {
        // It knows its own machine from an interface that is no network as well.
        let networks = daemon.run(&format!("avahi-browse -rptk {of} | grep -v ';lo;'"));
        avahi_rows(&networks)
    };
    assert_avahi_agrees(&found.iter().cloned().map(row).collect(), || theirs("--all"));
    let from = |host: &str| found.iter().find(|f| f.host == host).unwrap().from;
    assert_eq!([from("far.local"), from("box.local")], ["10.77.0.2", "10.77.0.1"].map(|ip| ip.parse().ok()));
    let some = browse(Some("_tahoe-lafs._tcp"), PATIENCE).unwrap();
    assert_avahi_agrees(&some.into_iter().map(row).collect(), || theirs("_tahoe-lafs._tcp"));
}

#[test]
fn names_as_people_write_them_and_services_that_end() {
    if !can_run("browsing without a daemon of the box") {
        return;
    }
    let mut net = Net::new();
    let names = ["Zoë's wiki. <1> & more", "a\\b;c", "x.y._http._tcp.local", "数据", &"long".repeat(15)];
    let wikis =
        names.map(|name| service(name, "_http._tcp", 80, &["a=b=c", "ünï", "flag", &"x".repeat(255)]));
    let far = net.neighbour("far", &wikis);
    let found: BTreeSet<Row> = browse(None, PATIENCE).unwrap().into_iter().map(row).collect();
    let seen: BTreeSet<&str> = found.iter().map(|row| &row.1 as &str).collect();
    assert_eq!(seen, names.into());
    assert!(found.iter().all(|row| row.5 == wikis[0].txt), "{found:?}");
    assert_avahi_agrees(&found, || avahi_rows(&far.run("avahi-browse -rptka | grep ';eth0;'")));
    // It says goodbye. A second look has nothing left of the first one.
    far.run("kill $(cat /run/avahi-daemon/pid)");
    assert_eq!(browse(None, PATIENCE).unwrap(), []);
}

#[test]
fn every_network_is_asked_and_interfaces_without_an_address_are_not() {
    if !can_run("browsing on several networks") {
        return;
    }
    let mut net = Net::new();
    sh("for i in $(seq 40); do ip link add p$i type veth peer name q$i; ip link set p$i up; ip link set q$i master br0 up; \
        done; ip link add br1 type bridge; ip address add 10.78.0.1/24 dev br1; ip link set br1 up; \
        ip link add down0 type bridge; ip address add 10.79.0.1/24 dev down0");
    let _old = net.neighbour("old", &services("old", 5));
    let _new = net.neighbour_with("new", &services("new", 5), "use-ipv4=no");
    let _other = net.neighbour("other", &services("other", 5));
    sh("ip link set v4 master br1");
    let watch = thread::spawn(|| {
        let mut most = 0;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            // 5353 in the kernel's words.
            let count = |path: &str| std::fs::read_to_string(path).unwrap().matches(":14E9 ").count();
            most = most.max(count("/proc/thread-self/net/udp") + count("/proc/thread-self/net/udp6"));
        }
        most
    });
    let found = browse(None, PATIENCE).unwrap();
    let count = |host: &str| found.iter().filter(|f| f.host == host && !f.addresses.is_empty()).count();
    assert_eq!(["old.local", "new.local", "other.local"].map(count), [5, 5, 5]);
    let new = found.iter().find(|f| f.host == "new.local").unwrap();
    assert!(new.from.unwrap().is_ipv6());
    // br0 and br1, each by IPv4 and by IPv6.
    assert_eq!(watch.join().unwrap(), 4);
}

#[test]
fn a_network_with_ipv6_only_is_asked() {
    if !can_run("browsing without IPv4") {
        return;
    }
    let mut net = Net::new();
    let _far = net.neighbour("far", &services("far", 5));
    sh("ip -4 address flush dev br0");
    let found = browse(None, PATIENCE).unwrap();
    let whole = |f: &&ServiceInstance| f.host == "far.local" && f.port >= 1000 && !f.addresses.is_empty();
    assert_eq!(found.iter().filter(whole).count(), 5, "{found:?}");
    assert!(found.iter().all(|f| f.from.unwrap().is_ipv6()), "{found:?}");
}

/// Answers questions for a name with records: a name, a type, its data. Until it is told to stop.
fn responder(stop: &Arc<AtomicBool>, records: Vec<(Vec<u8>, u16, Vec<u8>)>) -> thread::JoinHandle<()> {
    let (stop, socket) = (stop.clone(), shared_socket());
    let group = std::net::Ipv4Addr::new(224, 0, 0, 251);
    socket.join_multicast_v4(&group, &[10, 77, 0, 1].into()).unwrap();
    socket.set_multicast_ttl_v4(255).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    thread::spawn(move || {
        let mut packet = [0; 9000];
        while !stop.load(Ordering::Relaxed) {
            let Ok(length) = socket.recv(&mut packet) else { continue };
            if length < 12 || packet[2] & 0x80 != 0 {
                continue;
            }
            for (name, kind) in questions(&packet[..length]).unwrap_or_default() {
                let asked =
                    |(of, of_kind, _): &&(Vec<u8>, u16, Vec<u8>)| *of == *name.wire() && *of_kind == kind;
                for (of, kind, data) in records.iter().filter(asked) {
                    let mut answer = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
                    answer.extend_from_slice(
                        &[of, &[0][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 120]].concat(),
                    );
                    answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
                    answer.extend_from_slice(data);
                    socket.send_to(&answer, (group, 5353)).unwrap();
                }
            }
        }
    })
}

#[test]
fn who_announces_only_a_part_of_a_type_is_found_as_avahi_browse_finds_it() {
    if !can_run("browsing for a part of a type") {
        return;
    }
    let mut net = Net::new();
    sh("ip route add 224.0.0.0/4 dev br0");
    let far = net.neighbour("far", &[]);
    let name = |dotted: &str| Name::new(dotted.split('.')).unwrap().wire().to_vec();
    let (part, service) = ("_wiki._sub._http._tcp.local", name("Part._http._tcp.local"));
    let whole = |name: &[u8]| [name, &[0]].concat();
    let stop = Arc::new(AtomicBool::new(false));
    let records = vec![
        (name("_services._dns-sd._udp.local"), PTR, whole(&name(part))),
        (name(part), PTR, whole(&service)),
        (service.clone(), SRV, [&[0, 0, 0, 0, 0, 80][..], &whole(&name("part.local"))].concat()),
        (service.clone(), TXT, b"\x06path=/".to_vec()),
        (name("part.local"), A, vec![10, 77, 0, 1]),
    ];
    let responder = responder(&stop, records);
    for (kind, arguments) in [(Some("_wiki._sub._http._tcp"), "_wiki._sub._http._tcp"), (None, "--all")] {
        let found: BTreeSet<Row> = browse(kind, PATIENCE).unwrap().into_iter().map(row).collect();
        let names: Vec<_> = found.iter().map(|row| (&row.0 as &str, &row.1 as &str, row.4)).collect();
        assert_eq!(names, [("_http._tcp", "Part", 80)], "{kind:?}");
        assert_avahi_agrees(&found, || {
            avahi_rows(&far.run(&format!("avahi-browse -rptk {arguments} | grep ';eth0;'")))
        });
    }
    stop.store(true, Ordering::Relaxed);
    responder.join().unwrap();
}

/// What is found while somebody says this over and over, by a socket for mDNS or by another.
fn found_while(say: impl Fn(&UdpSocket, &UdpSocket) + Send + 'static) -> Vec<ServiceInstance> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let stranger = thread::spawn(move || {
        let (mdns, other) = (shared_socket(), UdpSocket::bind("10.77.0.1:0").unwrap());
        while !stopped.load(Ordering::Relaxed) {
            say(&mdns, &other);
        }
    });
    let began = Instant::now();
    let found = browse(None, Duration::from_secs(3));
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    stranger.join().unwrap();
    assert!(took < Duration::from_millis(3500), "{took:?}");
    found.unwrap()
}

#[test]
fn strangers_cannot_disturb() {
    if !can_run("browsing among strangers") {
        return;
    }
    const SERVICE: &[u8] = include_bytes!("../fuzz/corpus/mdns_message/avahi-service");
    const EVERYBODY: &str = "224.0.0.251:5353";
    let _net = Net::new();
    sh("ip route add 224.0.0.0/4 dev br0");
    let pause = || thread::sleep(Duration::from_millis(5));
    let from_another_port = found_while(move |_, other| {
        other.send_to(SERVICE, EVERYBODY).unwrap();
        pause();
    });
    assert_eq!(from_another_port, []);
    let to_us_alone = found_while(move |mdns, _| {
        mdns.send_to(SERVICE, "10.77.0.1:5353").unwrap();
        pause();
    });
    assert_eq!(to_us_alone, []);
    // As fast as it can.
    let nonsense = found_while(|mdns, _| {
        for length in 0..SERVICE.len() {
            let _ = mdns.send_to(&SERVICE[..length], EVERYBODY);
        }
    });
    assert_eq!(nonsense, []);
    let as_it_should_be = found_while(move |mdns, _| {
        mdns.send_to(SERVICE, EVERYBODY).unwrap();
        pause();
    });
    assert_eq!(as_it_should_be.len(), 1);
}

/// A socket as mDNS programs have it, on all addresses of the box.
fn shared_socket() -> UdpSocket {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 5353)).unwrap();
    socket.into()
}

#[test]
fn what_is_sent_to_a_daemon_of_the_box_stays_its_own() {
    if !can_run("browsing beside another program") {
        return;
    }
    let _net = Net::new();
    let daemon = shared_socket();
    daemon.set_read_timeout(Some(PATIENCE)).unwrap();
    let browser = thread::spawn(|| browse(None, PATIENCE));
    let senders: Vec<UdpSocket> = (0..50).map(|_| UdpSocket::bind("10.77.0.1:0").unwrap()).collect();
    while !browser.is_finished() {
        // The kernel would deal them out by sender.
        for (i, sender) in senders.iter().enumerate() {
            sender.send_to(&[i as u8], "10.77.0.1:5353").unwrap();
            let mut packet = [0; 9000];
            // It hears the questions as well.
            while daemon.recv(&mut packet).unwrap() > 1 {}
            assert_eq!(packet[0], i as u8);
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(browser.join().unwrap().unwrap(), []);
}

#[test]
fn what_is_in_the_way_is_named() {
    if !can_run("browsing where it cannot work") {
        return;
    }
    let error = browse(Some("http"), PATIENCE).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "\"http\" is no type of service; write it like _http._tcp");

    let _net = Net::new();
    let alone = UdpSocket::bind("0.0.0.0:5353").unwrap();
    let error = browse(None, PATIENCE).unwrap_err();
    assert_eq!(error.code, Code::InUse);
    assert!(error.message.starts_with("another program has UDP port 5353 for itself"), "{error}");
    drop(alone);

    sh("ip address flush dev br0");
    let error = browse(None, PATIENCE).unwrap_err();
    assert!(error.message.starts_with("no network interface is up and has an IPv4 address"), "{error}");
    // The time is up at once.
    sh("ip address add 10.77.0.1/24 dev br0");
    assert_eq!(browse(None, Duration::ZERO).unwrap(), []);
}

/// `cargo test --test mdns -- --ignored --nocapture measure`
#[test]
#[ignore = "prints figures"]
fn measure() {
    for hosts in [1, 5] {
        let mut net = Net::new();
        let hosts: Vec<String> = (0..hosts).map(|i| format!("far{i}")).collect();
        let neighbours: Vec<Neighbour> =
            hosts.iter().map(|host| net.neighbour(host, &services(host, 200))).collect();
        // What they announced a moment ago they do not repeat when they are asked.
        thread::sleep(Duration::from_secs(10));
        println!("before: {}", memory());
        for kind in [None, None, Some("_http._tcp"), Some("_nothing._tcp")] {
            let (before, began) = (sent_and_received(), Instant::now());
            let found = browse(kind, PATIENCE).unwrap();
            let took = began.elapsed();
            let (sent, received) = sent_and_received();
            let whole = |f: &&ServiceInstance| f.port > 0 && !f.addresses.is_empty() && f.txt.len() == 2;
            println!(
                "{} hosts, {kind:?}: {} services, {} of them whole, in {took:?}; {} packets sent, {} received; {}",
                neighbours.len(),
                found.len(),
                found.iter().filter(whole).count(),
                sent - before.0,
                received - before.1,
                memory(),
            );
        }
    }
}

/// Packets on the bridge.
fn sent_and_received() -> (u64, u64) {
    let all = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let bridge = all.lines().find_map(|line| line.trim().strip_prefix("br0:")).unwrap();
    let number = |i| bridge.split_whitespace().nth(i).unwrap().parse().unwrap();
    (number(9), number(1))
}

/// What the test's process has at most needed.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().into()
}
