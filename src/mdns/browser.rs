//! Who to ask for what, and what came of it (RFC 6763): packets and the time go in, questions and services come out.
//!
//! Types are asked for their services, and services for what their responder did not add by itself. A question is asked
//! twice, some three times: packets get lost, the more the more there is to say, and a responder does not repeat within
//! a second what it has said to somebody else.

use super::message::{self, labels, Data, Name, Query, Record};
use super::ServiceInstance;
use std::net::IpAddr;

/// After how many milliseconds a question is asked again; RFC 6762 allows no earlier. The next time it is twice that.
const AGAIN: u32 = 1000;
/// For how many milliseconds a new type is not asked for its services: others may name more types.
const GATHER: u32 = 30;
/// For how many milliseconds a new service or host is not asked about: more of it may be on its way.
const MORE: u32 = 150;
/// When there was nothing new for so many milliseconds, and nothing is left to ask, there will be nothing. Responders
/// take up to 120 to answer, and wireless networks keep packets to many receivers back for 300. avahi-daemon does not
/// answer a question within 700 after it heard it with the answer: the next look around is not to begin earlier.
const QUIET: u32 = 600;
/// What is kept of a network full of liars, in bytes.
const ROOM: usize = 1 << 20;
/// The most addresses of one host.
const ADDRESSES_MAX: usize = 16;

/// For how many seconds known answers are said to hold. Less than half of the responder's own would be answered again.
const TTL: u32 = 4500;
/// The domain that all names of interest end in, on the wire.
const LOCAL: &[u8] = b"\x05local";

const SERVICES: u8 = 1;
const TARGET: u8 = 2;
const STRINGS: u8 = 4;
const ADDRESSES: u8 = 8;
/// What a name can lack, and the type of record that says it.
const QUESTIONS: [(u8, u16); 5] = [
    (SERVICES, message::PTR),
    (TARGET, message::SRV),
    (STRINGS, message::TXT),
    (ADDRESSES, message::A),
    (ADDRESSES, message::AAAA),
];

/// One look around. Times are milliseconds since it began.
pub struct Browser {
    /// In the order of their names.
    nodes: Vec<Node>,
    /// The only type that is of interest.
    only: Option<Name>,
    /// How many bytes may still be kept.
    room: usize,
    /// When something was last asked, or heard for the first time.
    stirred: u32,
}

/// What is known of a name: a type, a service or a host.
struct Node {
    name: Name,
    /// What to ask for. A type always lacks services: there may be more.
    lacks: u8,
    /// How often it was asked for.
    asked: u8,
    /// Whether something new was heard before it was asked for, after the first time, after the second.
    answered: [bool; 3],
    /// When to ask next.
    due: u32,
    /// Who said where it is.
    from: Option<IpAddr>,
    target: Option<(Name, u16)>,
    strings: Box<[u8]>,
    addresses: Vec<Address>,
}

/// An address of a host, who said so last, and when.
struct Address {
    ip: IpAddr,
    from: IpAddr,
    at: u32,
}

impl Browser {
    /// Looks for the services of one type, such as `_http._tcp`, of a part of one (`_printer._sub._http._tcp`), or of all.
    /// None when `kind` is no type.
    pub fn new(kind: Option<&str>) -> Option<Browser> {
        let first = kind.unwrap_or("_services._dns-sd._udp");
        let first = Name::new(first.split('.').chain(["local"]))?;
        if kind.is_some() && !is_kind(base(first.wire())) {
            return None;
        }
        let only = kind.map(|_| first.clone());
        let mut browser = Browser { nodes: Vec::new(), only, room: ROOM, stirred: 0 };
        browser.enter(&first, SERVICES, 0, 0);
        Some(browser)
    }

    /// Takes up a packet that came from `from`.
    pub fn input(&mut self, packet: &[u8], from: IpAddr, now: u32) {
        if !message::is_response(packet) {
            return;
        }
        let Some(records) = message::records(packet) else { return };
        // A packet's records have no order: first services, then what these have, then what their hosts have.
        for round in 0..3 {
            for record in &records {
                let holds = record.ttl > 0;
                match (&record.data, round) {
                    (Data::Pointer(to), 0) => self.pointer(record, to, now),
                    (Data::Service { port, host }, 1) if holds => {
                        self.target(&record.name, *port, host, from, now)
                    }
                    (Data::Text(strings), 1) if holds => self.strings(&record.name, strings, now),
                    (Data::Address(ip), 2) => self.address(record, *ip, from, now),
                    _ => {}
                }
            }
        }
    }

    /// The packets to send now: what is asked for the first time, or again. To be called every few dozen milliseconds.
    pub fn output(&mut self, again: bool, now: u32) -> Vec<Vec<u8>> {
        let mut query = Query::default();
        let mut types = Vec::new();
        for node in &mut self.nodes {
            if !node.is_asking() || node.due > now || again != (node.asked > 0) {
                continue;
            }
            for (lacking, kind) in QUESTIONS {
                if node.lacks & lacking != 0 {
                    query.question(&node.name, kind);
                }
            }
            if again && node.lacks & SERVICES != 0 {
                types.push(node.name.clone());
            }
            node.due = now + (AGAIN << node.asked);
            node.asked += 1;
            self.stirred = now;
        }
        for name in types {
            self.put_known(&name, &mut query);
        }
        query.packets()
    }

    /// Adds what is known already: the services of a type, or the types.
    fn put_known(&self, asked: &Name, query: &mut Query) {
        if !is_kind(base(asked.wire())) {
            for node in self.nodes.iter().filter(|node| is_kind(base(node.name.wire()))) {
                query.known(asked, TTL, &node.name);
            }
            return;
        }
        let start = self.nodes.partition_point(|node| node.name.cmp_parent(asked).is_lt());
        let services = self.nodes.iter().skip(start).take_while(|node| node.name.cmp_parent(asked).is_eq());
        // A service that lacks something is not known: whoever has it may add the rest this time.
        for node in services.filter(|node| node.lacks == 0) {
            query.known(asked, TTL, &node.name);
        }
    }

    /// Whether it is not worth to wait longer.
    pub fn is_done(&self, now: u32) -> bool {
        now >= self.stirred + QUIET && !self.nodes.iter().any(Node::is_asking)
    }

    /// What there is, by type, then by name.
    pub fn found(&self) -> Vec<ServiceInstance> {
        let services = self.nodes.iter().filter(|node| self.lists(node.name.parent()));
        services.map(|service| self.describe(service)).collect()
    }

    fn describe(&self, service: &Node) -> ServiceInstance {
        let target = service.target.as_ref();
        let host = target.and_then(|(host, _)| self.nodes.get(self.find(host).ok()?));
        let kind = service.name.parent();
        let strings = labels(&service.strings);
        ServiceInstance {
            kind: dotted(kind.get(..kind.len().saturating_sub(LOCAL.len())).unwrap_or_default()),
            name: harmless(service.name.label()),
            host: target.map_or(String::new(), |(host, _)| dotted(host.wire())),
            addresses: host.map_or(Vec::new(), |host| host.addresses.iter().map(|a| a.ip).collect()),
            port: target.map_or(0, |(_, port)| *port),
            txt: strings.filter(|string| !string.is_empty()).map(harmless).collect(),
            from: service.from,
        }
    }

    /// Whether services of this type are looked for.
    fn wants(&self, kind: &[u8]) -> bool {
        is_kind(kind) && self.only.as_ref().is_none_or(|only| only.wire().eq_ignore_ascii_case(kind))
    }

    /// Whether services of this type are listed: those of a part of it are called after the whole.
    fn lists(&self, kind: &[u8]) -> bool {
        is_kind(kind) && self.only.as_ref().is_none_or(|only| base(only.wire()).eq_ignore_ascii_case(kind))
    }

    /// Where `name` is among the nodes, or would be.
    fn find(&self, name: &Name) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.name.cmp(name))
    }

    /// Enters `name`, if there is room; whether it is new. It is asked about at `due`, if it still lacks something then.
    fn enter(&mut self, name: &Name, lacks: u8, due: u32, now: u32) -> bool {
        let Err(at) = self.find(name) else { return false };
        let has_room = self.take_room(size_of::<Node>() + name.wire().len(), now);
        if has_room {
            let node = Node {
                name: name.clone(),
                lacks,
                asked: 0,
                answered: [false; 3],
                due,
                from: None,
                target: None,
                strings: Box::default(),
                addresses: Vec::new(),
            };
            self.nodes.insert(at, node);
        }
        has_room
    }

    /// Whether there is room for so many bytes of news; they are taken.
    fn take_room(&mut self, bytes: usize, now: u32) -> bool {
        let left = self.room.checked_sub(bytes);
        if let Some(left) = left {
            self.room = left;
            self.stirred = now;
        }
        left.is_some()
    }

    /// A type has a service, or somebody has services of a type.
    fn pointer(&mut self, record: &Record, to: &Name, now: u32) {
        let kind = base(record.name.wire());
        // Who has only a part of a type is heard when that was asked for.
        let is_part = kind.len() < record.name.wire().len();
        let is_asked = is_part && self.find(&record.name).is_ok();
        let is_new = if !is_asked && !self.wants(record.name.wire()) {
            let wanted =
                self.wants(to.wire()) || (self.only.is_none() && is_kind(base(to.wire())) && !is_part);
            wanted && record.ttl > 0 && self.enter(to, SERVICES, now + GATHER, now)
        } else if !to.parent().eq_ignore_ascii_case(kind) {
            false
        } else if record.ttl > 0 {
            self.enter(&record.name, SERVICES, now + GATHER, now);
            self.enter(to, TARGET | STRINGS, now + MORE, now)
        } else {
            if let Ok(at) = self.find(to) {
                self.nodes.remove(at);
            }
            false
        };
        if let (true, Ok(at)) = (is_new, self.find(&record.name)) {
            let kind = &mut self.nodes[at];
            if let Some(answered) = kind.answered.get_mut(usize::from(kind.asked)) {
                *answered = true;
            }
        }
    }

    /// A service is at a port of a host.
    fn target(&mut self, name: &Name, port: u16, host: &Name, from: IpAddr, now: u32) {
        let Ok(at) = self.find(name) else { return };
        let target = Some((host.clone(), port));
        if self.nodes[at].target != target && !self.take_room(host.wire().len(), now) {
            return;
        }
        let service = &mut self.nodes[at];
        service.target = target;
        service.lacks &= !TARGET;
        // Who answers over both IPv4 and IPv6 is shown by the IPv4 address.
        if service.from.is_none_or(|known| known.is_ipv6()) {
            service.from = Some(from);
        }
        self.enter(host, ADDRESSES, now + MORE, now);
    }

    /// A service has these strings.
    fn strings(&mut self, name: &Name, strings: &[u8], now: u32) {
        let Ok(at) = self.find(name) else { return };
        let known = *self.nodes[at].strings == *strings;
        // Each of them becomes a text of its own.
        let cost = strings.len() + size_of::<String>() * labels(strings).count();
        if known || self.take_room(cost, now) {
            let service = &mut self.nodes[at];
            service.strings = strings.into();
            service.lacks &= !STRINGS;
        }
    }

    /// A host has an address, or has it no more.
    fn address(&mut self, record: &Record, ip: IpAddr, from: IpAddr, now: u32) {
        let Ok(at) = self.find(&record.name) else { return };
        let known = self.nodes[at].addresses.iter().any(|address| address.ip == ip);
        if !known && !self.take_room(size_of::<Address>(), now) {
            return;
        }
        let host = &mut self.nodes[at];
        // What the same neighbour said of it a while ago is replaced; what it says in this moment belongs together.
        host.addresses.retain(|old| {
            let replaced = record.flush && old.from == from && old.at + AGAIN <= now;
            old.ip != ip && !(replaced && old.ip.is_ipv4() == ip.is_ipv4())
        });
        if record.ttl > 0 && host.addresses.len() < ADDRESSES_MAX {
            let place = host.addresses.partition_point(|old| old.ip < ip);
            host.addresses.insert(place, Address { ip, from, at: now });
            host.lacks &= !ADDRESSES;
        }
    }
}

impl Node {
    /// Whether there is reason to ask for what it lacks, now or later.
    fn is_asking(&self) -> bool {
        let usual = self.asked < 2;
        // If nobody said anything, whoever knows was busy. If there was something new each time, packets get lost.
        let once_more = self.asked == 2 && matches!(self.answered, [false, false, false] | [_, true, true]);
        self.lacks != 0 && (usual || once_more)
    }
}

/// Whether this is the name of a type: `_http._tcp.local`.
fn is_kind(wire: &[u8]) -> bool {
    let mut labels = labels(wire);
    let protocol = match (labels.next(), labels.next()) {
        // Types are asked for there; it is none itself.
        (Some(name), _) if name.eq_ignore_ascii_case(b"_dns-sd") => return false,
        (Some([b'_', _, ..]), Some(protocol)) => protocol,
        _ => return false,
    };
    (protocol.eq_ignore_ascii_case(b"_tcp") || protocol.eq_ignore_ascii_case(b"_udp"))
        && labels.next().is_some_and(|domain| domain.eq_ignore_ascii_case(b"local"))
        && labels.next().is_none()
}

/// The type that `wire` is a part of, or `wire` itself: `_printer._sub._http._tcp.local` is a part of `_http._tcp.local`.
fn base(wire: &[u8]) -> &[u8] {
    let mut parts = labels(wire);
    match (parts.next(), parts.next()) {
        (Some(part), Some(sub)) if sub.eq_ignore_ascii_case(b"_sub") => {
            wire.get(part.len() + sub.len() + 2..).unwrap_or(wire)
        }
        _ => wire,
    }
}

/// Labels as people write them.
fn dotted(wire: &[u8]) -> String {
    let mut text = String::new();
    for label in labels(wire) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&harmless(label));
    }
    text
}

/// Bytes of a stranger as text that does nothing to a terminal, a log or a NUL-terminated string.
fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // What avahi-daemon 0.8 sent.
    const TYPES: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-types");
    const SERVICE: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-service");
    const GOODBYE: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-goodbye");
    const ALL: &str = "_services._dns-sd._udp.local";

    fn name(text: &str) -> Name {
        Name::new(text.split('.')).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Names of records and their data, as they stand in a packet.
    #[derive(Clone)]
    struct Said(Name, u16, u32, Vec<u8>);

    fn pointer(from: &str, to: &Name) -> Said {
        Said(name(from), message::PTR, 4500, [to.wire(), &[0]].concat())
    }

    fn target(service: &Name, host: &str, port: u16) -> Said {
        let data = [&[0; 4], &port.to_be_bytes()[..], name(host).wire(), &[0]].concat();
        Said(service.clone(), message::SRV, 120, data)
    }

    fn strings(service: &Name, text: &[u8]) -> Said {
        Said(service.clone(), message::TXT, 4500, [&[text.len() as u8], text].concat())
    }

    fn address(host: &str, address: &str) -> Said {
        match ip(address) {
            IpAddr::V4(a) => Said(name(host), message::A, 120, a.octets().to_vec()),
            IpAddr::V6(a) => Said(name(host), message::AAAA, 120, a.octets().to_vec()),
        }
    }

    impl Said {
        fn no_more(mut self) -> Said {
            self.2 = 0;
            self
        }

        fn is(&self, data: &Data) -> bool {
            matches!(data, Data::Pointer(to) if self.3 == [to.wire(), &[0]].concat())
        }
    }

    /// A response with these records; unique ones have the flush bit.
    fn response(all: &[Said]) -> Vec<u8> {
        let mut packet = vec![0, 0, 0x84, 0, 0, 0];
        packet.extend_from_slice(&(all.len() as u16).to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        for Said(name, kind, ttl, data) in all {
            packet.extend_from_slice(name.wire());
            packet.push(0);
            packet.extend_from_slice(&kind.to_be_bytes());
            packet.extend_from_slice(if *kind == message::PTR { &[0, 1] } else { &[0x80, 1] });
            packet.extend_from_slice(&ttl.to_be_bytes());
            packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
            packet.extend_from_slice(data);
        }
        packet
    }

    fn instance(label: &str, kind: &str) -> Name {
        Name::new([label].into_iter().chain(kind.split('.')).chain(["local"])).unwrap()
    }

    /// A neighbour that knows these records and answers after 50 ms, each question alone and without anything added. It
    /// does not say what the questioner knows.
    struct Neighbour {
        knows: Vec<Said>,
        /// Whether it misses each question the first time.
        deaf: bool,
        waits: Vec<(u32, Vec<u8>)>,
        log: Vec<(u32, String)>,
    }

    impl Neighbour {
        fn new(knows: &[Said]) -> Neighbour {
            Neighbour { knows: knows.to_vec(), deaf: false, waits: Vec::new(), log: Vec::new() }
        }

        fn hear(&mut self, packet: &[u8], now: u32) {
            let known = message::records(packet).unwrap();
            for (name, kind) in message::questions(packet).unwrap() {
                let question = format!("{} {kind}", dotted(name.wire()));
                let missed = self.deaf && self.asked(&question).is_empty();
                self.log.push((now, question));
                let is_new = |said: &&Said| !known.iter().any(|r| r.name == said.0 && said.is(&r.data));
                let answers = |said: &&Said| said.0 == name && said.1 == kind && !missed;
                let answer: Vec<Said> = self.knows.iter().filter(answers).filter(is_new).cloned().collect();
                self.waits.extend(answer.chunks(10).map(|some| (now + 50, response(some))));
            }
        }

        /// Lets time go by from `now` until the browser is done or so late.
        fn run(&mut self, browser: &mut Browser, mut now: u32, until: u32) -> u32 {
            while now < until && !browser.is_done(now) {
                for again in [false, true] {
                    browser.output(again, now).iter().for_each(|packet| self.hear(packet, now));
                }
                self.waits.retain(|(at, packet)| {
                    if *at <= now {
                        browser.input(packet, ip("10.0.0.9"), now);
                    }
                    *at > now
                });
                now += 25;
            }
            now
        }

        fn asked(&self, question: &str) -> Vec<u32> {
            self.log.iter().filter(|(_, asked)| asked == question).map(|(at, _)| *at).collect()
        }
    }

    fn rows(browser: &Browser) -> Vec<String> {
        let show = |f: ServiceInstance| {
            let ips: Vec<String> = f.addresses.iter().map(ToString::to_string).collect();
            format!("{} {} {} {} {} {}", f.kind, f.name, f.host, ips.join(","), f.port, f.txt.join(","))
        };
        browser.found().into_iter().map(show).collect()
    }

    fn wiki() -> [Said; 6] {
        let wiki = instance("a wiki", "_http._tcp");
        [
            pointer(ALL, &name("_http._tcp.local")),
            pointer("_http._tcp.local", &wiki),
            target(&wiki, "far.local", 80),
            strings(&wiki, b"path=/"),
            address("far.local", "fe80::1"),
            address("far.local", "10.0.0.9"),
        ]
    }

    const WIKI: &str = "_http._tcp a wiki far.local 10.0.0.9,fe80::1 80 path=/";

    #[test]
    fn what_avahi_says_is_found_and_gone_after_its_goodbye() {
        let mut browser = Browser::new(None).unwrap();
        browser.input(TYPES, ip("10.77.0.2"), 118);
        assert_eq!(browser.output(false, 150).len(), 1);
        browser.input(SERVICE, ip("10.77.0.2"), 270);
        let found = browser.found();
        let wiki = ServiceInstance {
            kind: "_http._tcp".into(),
            name: "Zoë's wiki. <1> & more".into(),
            host: "far.local".into(),
            addresses: vec![ip("10.77.0.2"), ip("fe80::c839:22ff:fe7d:1d61")],
            port: 8080,
            txt: vec!["path=/wiki".into(), "Federated=Yes".into()],
            from: Some(ip("10.77.0.2")),
        };
        assert_eq!(found, [wiki]);
        // Nothing is missing, so nothing but the types and their services is asked again.
        assert_eq!(browser.output(false, 800).len(), 0);
        browser.input(GOODBYE, ip("fe80::c839:22ff:fe7d:1d61"), 812);
        assert_eq!(browser.found(), []);
    }

    #[test]
    fn what_a_responder_does_not_add_is_asked_for() {
        let mut browser = Browser::new(None).unwrap();
        let mut far = Neighbour::new(&wiki());
        let end = far.run(&mut browser, 0, 10_000);
        assert_eq!(rows(&browser), [WIKI]);
        for question in
            ["a wiki._http._tcp.local 33", "a wiki._http._tcp.local 16", "far.local 1", "far.local 28"]
        {
            assert_eq!(far.asked(question).len(), 1, "{question}");
        }
        let twice = far.asked("_http._tcp.local 12");
        assert!(matches!(twice[..], [first, second] if second - first >= AGAIN), "{twice:?}");
        assert!((1500..2000).contains(&end), "{end}");
    }

    #[test]
    fn whoever_missed_a_question_hears_it_again() {
        let mut browser = Browser::new(None).unwrap();
        let mut far = Neighbour::new(&wiki());
        far.deaf = true;
        let end = far.run(&mut browser, 0, 10_000);
        assert_eq!(rows(&browser), [WIKI]);
        for (_, question) in &far.log {
            let times = far.asked(question);
            assert!(matches!(times[..], [first, second] if second - first >= AGAIN), "{question}: {times:?}");
        }
        assert!((3000..6000).contains(&end), "{end}");
    }

    #[test]
    fn an_empty_network_is_left_soon() {
        for kind in [None, Some("_http._tcp")] {
            let mut browser = Browser::new(kind).unwrap();
            let mut nobody = Neighbour::new(&[]);
            assert_eq!(nobody.run(&mut browser, 0, 10_000), 3 * AGAIN + QUIET);
            assert_eq!(nobody.log.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, AGAIN, 3 * AGAIN]);
            assert_eq!(browser.found(), []);
        }
    }

    #[test]
    fn one_type_alone() {
        let mut all = wiki().to_vec();
        let shell = instance("a shell", "_ssh._tcp");
        all.extend([
            pointer("_ssh._tcp.local", &shell),
            target(&shell, "far.local", 22),
            strings(&shell, b""),
        ]);
        let mut browser = Browser::new(Some("_HTTP._tcp")).unwrap();
        browser.input(&response(&all), ip("10.0.0.9"), 0);
        assert_eq!(rows(&browser), [WIKI]);
        // Its services' names are asked for, not those of others.
        let mut far = Neighbour::new(&all);
        far.run(&mut browser, 0, 10_000);
        assert_eq!(far.log.len(), 2, "{:?}", far.log);
        for wrong in
            ["", "http", "_http", "_http._sctp", "_http._tcp.local", "http._tcp", "_._tcp", "_a.b._tcp"]
        {
            assert!(Browser::new(Some(wrong)).is_none(), "{wrong:?}");
        }
        assert!(Browser::new(Some(&format!("_{}._tcp", "x".repeat(63)))).is_none());
    }

    #[test]
    fn a_service_without_an_answer_is_listed_with_what_is_known() {
        let mut browser = Browser::new(None).unwrap();
        let mut far = Neighbour::new(&wiki()[..2]);
        let end = far.run(&mut browser, 0, 10_000);
        assert_eq!(rows(&browser), ["_http._tcp a wiki   0 "]);
        assert_eq!(far.asked("a wiki._http._tcp.local 33").len(), 3);
        assert!((3500..4000).contains(&end), "{end}");
    }

    #[test]
    fn a_type_is_asked_a_third_time_where_packets_get_lost() {
        let mut all = vec![pointer(ALL, &name("_http._tcp.local"))];
        for label in ["first", "second", "third"] {
            let service = instance(label, "_http._tcp");
            all.extend([
                pointer("_http._tcp.local", &service),
                target(&service, "a.local", 1),
                strings(&service, b"x"),
            ]);
        }
        all.push(address("a.local", "10.0.0.1"));
        // How many of them it says each time, and how often it is asked.
        for (said, expected) in
            [([1, 3, 3], 3), ([1, 2, 3], 3), ([3, 3, 3], 2), ([0, 3, 3], 2), ([0, 0, 3], 3)]
        {
            let mut browser = Browser::new(Some("_http._tcp")).unwrap();
            let mut far = Neighbour::new(&[]);
            let mut now = 0;
            for count in said {
                far.knows = all[..1 + 3 * count].iter().chain(&all[10..]).cloned().collect();
                let before = far.asked("_http._tcp.local 12").len();
                while far.asked("_http._tcp.local 12").len() == before && !browser.is_done(now) {
                    now = far.run(&mut browser, now, now + 25);
                }
                now = far.run(&mut browser, now, now + 800);
            }
            assert_eq!(far.asked("_http._tcp.local 12").len(), expected, "{said:?}");
            assert_eq!(browser.found().len(), said[expected - 1]);
        }
    }

    #[test]
    fn the_order_of_a_packets_records_does_not_matter() {
        let mut records = wiki().to_vec();
        records.reverse();
        let mut browser = Browser::new(None).unwrap();
        browser.input(&response(&records), ip("10.0.0.9"), 0);
        assert_eq!(rows(&browser), [WIKI]);
        let shouted: Vec<Said> = records
            .into_iter()
            .map(|said| Said(name(&dotted(said.0.wire()).to_uppercase()), said.1, said.2, said.3))
            .collect();
        browser.input(&response(&shouted), ip("10.0.0.9"), 0);
        assert_eq!(rows(&browser), [WIKI]);
    }

    #[test]
    fn what_was_said_before_is_replaced_by_whoever_said_it() {
        let mut browser = Browser::new(None).unwrap();
        let mut say = |said: &[Said], from: &str, at: u32| {
            browser.input(&response(said), ip(from), at);
            rows(&browser).join(";").replace("_http._tcp a wiki ", "")
        };
        assert_eq!(say(&wiki(), "10.0.0.9", 0), "far.local 10.0.0.9,fe80::1 80 path=/");
        let wiki = instance("a wiki", "_http._tcp");
        // Another address at once: the host has both. Later: it has moved, but only as this neighbour sees it.
        let new = [address("far.local", "10.0.0.10")];
        assert_eq!(say(&new, "10.0.0.9", 500), "far.local 10.0.0.9,10.0.0.10,fe80::1 80 path=/");
        assert_eq!(say(&new, "192.168.1.9", 2000), "far.local 10.0.0.9,10.0.0.10,fe80::1 80 path=/");
        assert_eq!(say(&new, "10.0.0.9", 2000), "far.local 10.0.0.10,fe80::1 80 path=/");
        assert_eq!(say(&new.map(Said::no_more), "10.0.0.9", 2100), "far.local fe80::1 80 path=/");
        let moved = [target(&wiki, "near.local", 81), strings(&wiki, b"path=/new")];
        assert_eq!(say(&moved, "10.0.0.9", 2200), "near.local  81 path=/new");
        // The end of these alone comes with that of the service.
        let gone = moved.map(Said::no_more);
        assert_eq!(say(&gone, "10.0.0.9", 2300), "near.local  81 path=/new");
        assert_eq!(say(&[pointer("_http._tcp.local", &wiki).no_more()], "10.0.0.9", 2400), "");
    }

    #[test]
    fn who_said_it_is_an_ipv4_address_if_there_is_one() {
        let mut browser = Browser::new(None).unwrap();
        for (from, shown) in [("fe80::1", "fe80::1"), ("10.0.0.9", "10.0.0.9"), ("fe80::2", "10.0.0.9")] {
            browser.input(&response(&wiki()), ip(from), 0);
            assert_eq!(browser.found()[0].from, Some(ip(shown)));
        }
    }

    #[test]
    fn who_announces_only_a_part_of_a_type_is_found_where_that_is_asked_for() {
        let part = "_wiki._sub._http._tcp.local";
        let mut all = wiki().to_vec();
        // As a responder that has forgotten the type itself; and one of the type that is not of the part.
        all[1] = pointer(part, &instance("a wiki", "_http._tcp"));
        let other = instance("other", "_http._tcp");
        all.extend([target(&other, "far.local", 81), strings(&other, b"")]);
        let mut of_part = Browser::new(Some("_wiki._sub._http._tcp")).unwrap();
        let mut far = Neighbour::new(&all);
        far.run(&mut of_part, 0, 10_000);
        assert_eq!(rows(&of_part), [WIKI]);
        assert_eq!(far.asked("_http._tcp.local 12"), [0; 0]);
        of_part.input(&response(&[pointer("_http._tcp.local", &other)]), ip("10.0.0.9"), 0);
        assert_eq!(rows(&of_part), [WIKI]);

        // All types: where the part is among them.
        all[0] = pointer(ALL, &name(part));
        let mut browser = Browser::new(None).unwrap();
        let mut far = Neighbour::new(&all);
        far.run(&mut browser, 0, 10_000);
        assert_eq!(rows(&browser), [WIKI]);
        browser.input(&response(&[all[1].clone().no_more()]), ip("10.0.0.9"), 0);
        assert_eq!(rows(&browser), [""; 0]);
        // One type is not all of its parts.
        let mut whole = Browser::new(Some("_http._tcp")).unwrap();
        Neighbour::new(&all).run(&mut whole, 0, 10_000);
        assert_eq!(rows(&whole), [""; 0]);
        for wrong in ["_sub._http._tcp", "_wiki._sub._http", "_a._wiki._sub._http._tcp", "_wiki._sub"] {
            assert!(Browser::new(Some(wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_for_us_changes_nothing() {
        let query = [&[0; 3][..], &response(&wiki())[3..]].concat();
        let other_domain = response(&[pointer("_http._tcp.example", &instance("a", "_http._tcp"))]);
        let other_type = response(&[pointer("_ssh._tcp.local", &instance("a", "_http._tcp"))]);
        let subtype = response(&[pointer("_p._sub._http._tcp.local", &instance("a", "_http._tcp"))]);
        let alone = response(&wiki()[2..]);
        let gone = response(&[wiki()[0].clone().no_more(), wiki()[1].clone().no_more()]);
        for packet in [query, other_domain, other_type, subtype, alone, gone, Vec::new(), vec![0xff; 100]] {
            let mut browser = Browser::new(None).unwrap();
            browser.input(&packet, ip("10.0.0.9"), 0);
            assert_eq!(rows(&browser), [""; 0]);
        }
    }

    #[test]
    fn strangers_texts_are_harmless() {
        let bad = Name::new(["a\x1b[2J\n\0b\u{9b}é", "_http", "_tcp", "local"].into_iter()).unwrap();
        let mut host = target(&bad, "far.local", 80);
        host.3.splice(6.., *b"\x04a\xff\nb\x03x.y\0");
        let said = [pointer("_http._tcp.local", &bad), host, strings(&bad, b"a=\0\x07\xfe")];
        let mut browser = Browser::new(None).unwrap();
        browser.input(&response(&said), ip("10.0.0.9"), 0);
        let found = browser.found();
        let texts = (&found[0].name as &str, &found[0].host as &str, &found[0].txt[0] as &str);
        assert_eq!(
            texts,
            (
                "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}é",
                "a\u{fffd}\u{fffd}b.x.y",
                "a=\u{fffd}\u{fffd}\u{fffd}"
            )
        );
    }

    #[test]
    fn a_service_that_is_its_own_host_or_type() {
        let service = instance("_a", "_tcp");
        let said = [
            pointer(ALL, &service),
            pointer("_tcp.local", &service),
            pointer("_a._tcp.local", &instance("b", "_a._tcp")),
            target(&service, "_a._tcp.local", 1),
            target(&instance("b", "_a._tcp"), "b._a._tcp.local", 2),
            address("b._a._tcp.local", "10.0.0.1"),
        ];
        let mut browser = Browser::new(None).unwrap();
        browser.input(&response(&said), ip("10.0.0.9"), 0);
        assert_eq!(rows(&browser), ["_a._tcp b b._a._tcp.local 10.0.0.1 2 "]);
        assert!(Neighbour::new(&said).run(&mut browser, 0, 10_000) < 6000);
    }

    #[test]
    fn a_thousand_services_are_asked_for_in_few_packets_and_only_once_if_they_answer() {
        let mut all = vec![pointer(ALL, &name("_http._tcp.local"))];
        for i in 0..1000 {
            let service = instance(&format!("number {i}"), "_http._tcp");
            let host = format!("host-{}.local", i % 5);
            all.extend([
                pointer("_http._tcp.local", &service),
                target(&service, &host, 80),
                strings(&service, b"a=b"),
            ]);
        }
        all.extend((0..5).map(|i| address(&format!("host-{i}.local"), &format!("10.0.0.{i}"))));
        let mut browser = Browser::new(None).unwrap();
        let mut far = Neighbour::new(&all);
        let end = far.run(&mut browser, 0, 10_000);
        let found = browser.found();
        assert_eq!(found.len(), 1000);
        assert!(found.iter().all(|f| f.port == 80 && f.addresses.len() == 1 && f.txt == ["a=b"]));
        assert_eq!(far.log.len(), 2 + 2 + 2000 + 10);
        assert!(end < 2000, "{end}");
    }

    #[test]
    fn a_network_full_of_liars_is_kept_within_bounds_and_left() {
        let mut browser = Browser::new(None).unwrap();
        let mut now = 0;
        for i in 0..8_000 {
            let service = instance(&format!("{i} {}", "x".repeat(40)), "_http._tcp");
            let host = format!("{i}-{}.local", "x".repeat(50));
            let said = [
                pointer(ALL, &name(&format!("_{i}._tcp.local"))),
                pointer("_http._tcp.local", &service),
                target(&service, &host, 80),
                Said(service.clone(), message::TXT, 4500, b"\x01x".repeat(1000)),
                address(&host, "10.0.0.1"),
                address(
                    "0-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.local",
                    &format!("10.1.{}.{}", i / 250, i % 250),
                ),
            ];
            browser.input(&response(&said), ip("10.0.0.9"), now);
            now = i / 10;
        }
        assert!((10..ROOM / size_of::<Node>()).contains(&browser.nodes.len()));
        let kept = |f: &ServiceInstance| {
            size_of::<ServiceInstance>() + f.name.len() + f.host.len() + f.txt.len() * size_of::<String>()
        };
        assert!(browser.found().iter().map(kept).sum::<usize>() < 2 * ROOM);
        assert!(browser.found().iter().all(|f| f.addresses.len() <= ADDRESSES_MAX));
        // Nobody answers what that makes us ask.
        assert!(Neighbour::new(&[]).run(&mut browser, now, 60_000) < now + 6000);
    }
}
