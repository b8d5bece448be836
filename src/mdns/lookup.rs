//! Whether the network says of a service what it should. It is asked anew each time, by questions that whoever knows
//! answers at once and to the questioner alone (RFC 6762, section 6.7): what was heard before does not count.

use super::message::{self, Data, Name, Query};
use super::socket::{own_addresses, Asking, Sockets};
use crate::error::Result;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many services are asked for at once: their answers fit a socket's queue.
const AT_ONCE: usize = 32;
/// How long answers are waited for before the next questions: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Between two questions, when the box's avahi-daemon has just said something to everybody; and how often that is heeded.
const AT_LEAST: Duration = Duration::from_millis(15);
const EARLY_MAX: u32 = 20;
/// How often it is looked whether somebody wants it to end.
const STEP: Duration = Duration::from_millis(50);
/// What is kept of answers.
const ANSWERS_MAX: usize = 4096;

/// A service as it should be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// The host it points at, without the domain. None: whatever the box itself is called.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Addresses of that host. One of them is enough. The box's own are known.
    pub addresses: Vec<IpAddr>,
}

/// What the network says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// What is expected; it points at this host.
    Seen(String),
    /// Its name is that of somebody else's service.
    NameTaken,
    /// Its host's name is that of somebody else's.
    HostTaken,
    /// Nothing, or not all of it.
    Nothing,
}

/// Whose word is whose.
#[derive(Debug, Default)]
struct Own {
    /// The box's addresses: those of now, and those that it had a moment ago.
    of_box: Vec<IpAddr>,
    /// Those of its containers.
    of_containers: Vec<IpAddr>,
}

/// When to ask.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Not before this.
    pub from: Instant,
    /// A name that is somebody else's is believed to be his from then on.
    pub taken: Instant,
    /// Not after this.
    pub until: Instant,
}

/// Asks for `expected` on `interfaces`, over and over until there is something new to tell: some are seen, or somebody
/// else's, or the time is up. `stop` ends it early. `of_containers` are addresses of the box's containers.
///
/// # Errors
/// None of the interfaces can be asked on, in all that time.
pub fn look(
    expected: &[Expected],
    interfaces: &[String],
    of_containers: Vec<IpAddr>,
    times: Times,
    stop: &AtomicBool,
) -> Result<Vec<Sight>> {
    let mut look = Look::new(expected, Own { of_box: Vec::new(), of_containers });
    let id = RandomState::new().build_hasher().finish() as u16;
    let (mut pause, mut turn, mut by_ipv6, mut early) = (PAUSE.0, 0, false, 0);
    let is_over = |now| now >= times.until || stop.load(Ordering::Relaxed);
    while Instant::now() < times.from && !is_over(Instant::now()) {
        std::thread::sleep(STEP.min(times.from.saturating_duration_since(Instant::now())));
    }
    // A bridge may get its address later than avahi-daemon its services, as at boot.
    let mut asking = loop {
        match Asking::open(interfaces) {
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(vec![Sight::Nothing; expected.len()]),
            Err(_) if !is_over(Instant::now()) => std::thread::sleep(STEP),
            opened => break opened?,
        }
    };
    // Only to hear when something new is said. Where another program has the port for itself, the pauses must do.
    let mut listening = Sockets::open_on(&|name| interfaces.iter().any(|one| one == name)).ok();
    loop {
        // An answer of our own from a new address is nobody else's.
        for address in own_addresses()? {
            if !look.own.of_box.contains(&address) {
                look.own.of_box.push(address);
            }
        }
        let unseen: Vec<usize> =
            (0..expected.len()).filter(|at| !matches!(look.sight(*at), Sight::Seen(_))).collect();
        let begin = turn % unseen.len().max(1);
        let asked: Vec<usize> =
            unseen.iter().cycle().skip(begin).take(AT_ONCE.min(unseen.len())).copied().collect();
        turn = begin + asked.len();
        for at in &asked {
            for packet in look.questions(*at, id) {
                asking.send(&packet, by_ipv6);
            }
        }
        by_ipv6 = true;
        let began = Instant::now();
        let mut heard = false;
        loop {
            let now = Instant::now();
            let answered = asked.iter().all(|at| matches!(look.sight(*at), Sight::Seen(_)));
            let enough =
                answered || now >= began + pause || (heard && early < EARLY_MAX && now >= began + AT_LEAST);
            if enough || is_over(now) {
                break;
            }
            let until = now + STEP.min((began + pause).saturating_duration_since(now));
            asking.receive(listening.as_mut(), until, &mut |packet, from, to_us| match to_us {
                true => look.input(packet, from, id),
                false => heard |= message::is_response(packet) && look.own.of_box.contains(&from),
            })?;
        }
        early += u32::from(heard);
        let now = Instant::now();
        let sights: Vec<Sight> = (0..expected.len()).map(|at| look.sight(at)).collect();
        let is_news = |sight: &Sight| match sight {
            Sight::Seen(_) => true,
            Sight::NameTaken | Sight::HostTaken => now >= times.taken,
            Sight::Nothing => false,
        };
        if is_over(now) || sights.iter().any(is_news) {
            return Ok(sights);
        }
        pause = (pause * 3 / 2).min(PAUSE.1);
    }
}

/// What was asked and answered.
struct Look<'a> {
    expected: &'a [Expected],
    own: Own,
    /// Name of the service and of its host, as they are asked for.
    names: Vec<Option<(Name, Option<Name>)>>,
    services: Vec<(Name, Name, u16, IpAddr)>,
    addresses: Vec<(Name, IpAddr, IpAddr)>,
}

impl<'a> Look<'a> {
    fn new(expected: &'a [Expected], own: Own) -> Look<'a> {
        let name = |one: &Expected| {
            let kind = one.kind.split('.');
            let service = Name::new([one.name.as_str()].into_iter().chain(kind).chain(["local"]))?;
            let host = one.host.as_deref().map(|host| Name::new([host, "local"].into_iter()));
            match host {
                Some(host) => Some((service, Some(host?))),
                None => Some((service, None)),
            }
        };
        let names = expected.iter().map(name).collect();
        Look { expected, own, names, services: Vec::new(), addresses: Vec::new() }
    }

    /// What to ask for one service. An answer to one alone has 512 bytes at most: each is asked for by itself.
    fn questions(&self, at: usize, id: u16) -> Vec<Vec<u8>> {
        let mut query = Query::default();
        if let Some(Some((service, host))) = self.names.get(at) {
            query.question(service, message::SRV);
            if let (Some(host), Some(one)) = (host, self.expected.get(at)) {
                for (kind, wanted) in [
                    (message::A, one.addresses.iter().any(IpAddr::is_ipv4)),
                    (message::AAAA, one.addresses.iter().any(IpAddr::is_ipv6)),
                ] {
                    if wanted {
                        query.question(host, kind);
                    }
                }
            }
        }
        let mut packets = query.packets();
        for packet in &mut packets {
            packet[..2].copy_from_slice(&id.to_be_bytes());
        }
        packets
    }

    /// Takes up an answer that came from `from`.
    fn input(&mut self, packet: &[u8], from: IpAddr, id: u16) {
        if !message::is_response(packet) || packet.get(..2) != Some(&id.to_be_bytes()) {
            return;
        }
        for record in message::records(packet).unwrap_or_default() {
            if record.ttl == 0 || self.services.len() + self.addresses.len() >= ANSWERS_MAX {
                continue;
            }
            match record.data {
                Data::Service { port, host } => {
                    let said = (record.name, host, port, from);
                    if !self.services.contains(&said) {
                        self.services.push(said);
                    }
                }
                Data::Address(ip) => {
                    let said = (record.name, ip, from);
                    if !self.addresses.contains(&said) {
                        self.addresses.push(said);
                    }
                }
                _ => {}
            }
        }
    }

    /// What is known of one service.
    fn sight(&self, at: usize) -> Sight {
        let (Some(one), Some(Some((name, host)))) = (self.expected.get(at), self.names.get(at)) else {
            return Sight::Nothing;
        };
        let of_box = |from: &IpAddr| self.own.of_box.contains(from);
        let mut said = self.services.iter().filter(|(service, ..)| service == name);
        let ours = said.clone().find(|(_, target, port, from)| {
            *port == one.port && host.as_ref().map_or(of_box(from), |host| host == target)
        });
        let host = host.as_ref().or(ours.map(|(_, target, ..)| target));
        let is_box = one.host.is_none();
        let wanted = if is_box { &self.own.of_box } else { &one.addresses };
        let of_host = self.addresses.iter().filter(|(of, ip, _)| Some(of) == host && counts(wanted, *ip));
        let has_ours = of_host.clone().any(|(_, ip, _)| wanted.contains(ip));
        // An address that is good for one link may be a container's of ours: nothing is known of those.
        let is_foreign =
            |from: &IpAddr| !of_box(from) && !self.own.of_containers.contains(from) && !is_link_local(*from);
        if let (Some((_, target, ..)), true) = (ours, has_ours) {
            return Sight::Seen(String::from_utf8_lossy(target.label()).into_owned());
        }
        if !is_box && !has_ours && of_host.clone().any(|(_, _, from)| is_foreign(from)) {
            return Sight::HostTaken;
        }
        // The box gives way to strangers only, a service to whoever has its name.
        if ours.is_none() && said.any(|(.., from)| if is_box { is_foreign(from) } else { !of_box(from) }) {
            return Sight::NameTaken;
        }
        Sight::Nothing
    }
}

/// Whether an address says anything about whose the host is: every guest has some of its own that are good for one link.
fn counts(wanted: &[IpAddr], ip: IpAddr) -> bool {
    wanted.contains(&ip) || (!is_link_local(ip) && wanted.iter().any(|a| a.is_ipv4() == ip.is_ipv4()))
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn name(labels: &[&str]) -> Name {
        Name::new(labels.iter().copied()).unwrap()
    }

    /// An answer with a service's host and port, and an address of a host.
    fn answer(id: u16, service: &Name, host: &str, port: u16, at: &str, address: &str) -> Vec<u8> {
        let (target, at) = (name(&[host, "local"]), name(&[at, "local"]));
        let target = [&[0; 4], &port.to_be_bytes()[..], target.wire(), &[0]].concat();
        let (kind, address) = match ip(address) {
            IpAddr::V4(a) => (message::A, a.octets().to_vec()),
            IpAddr::V6(a) => (message::AAAA, a.octets().to_vec()),
        };
        let mut packet = [&id.to_be_bytes()[..], &[0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0]].concat();
        for (name, kind, data) in [(service, message::SRV, target), (&at, kind, address)] {
            packet
                .extend_from_slice(&[name.wire(), &[0], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 10]].concat());
            packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
            packet.extend_from_slice(&data);
        }
        packet
    }

    #[test]
    fn name_address_and_port_are_compared_and_whose_word_it_is() {
        let wiki = name(&["Our wiki", "_http", "_tcp", "local"]);
        let of_container = Expected {
            name: "Our wiki".into(),
            kind: "_http._tcp".into(),
            host: Some("web-alpha".into()),
            port: 80,
            addresses: vec![ip("10.0.0.7")],
        };
        let of_box = Expected { host: None, addresses: Vec::new(), ..of_container.clone() };
        let seen = |host: &str| Sight::Seen(host.into());
        let us = "10.0.0.1";
        for (expected, host, port, at, address, from, sight) in [
            (&of_container, "web-alpha", 80, "web-alpha", "10.0.0.7", us, seen("web-alpha")),
            (&of_container, "WEB-alpha", 80, "Web-Alpha", "10.0.0.7", us, seen("WEB-alpha")),
            (&of_container, "web-alpha", 81, "web-alpha", "10.0.0.7", us, Sight::Nothing),
            (&of_container, "web-alpha", 80, "web-alpha", "10.0.0.8", us, Sight::Nothing),
            // Another box of this name, and another one.
            (&of_container, "web-alpha", 80, "web-alpha", "10.0.0.8", "10.0.0.2", Sight::HostTaken),
            (&of_container, "web-beta", 80, "web-beta", "10.0.0.8", "10.0.0.2", Sight::NameTaken),
            // What a container of ours says of its host is no reason to give way to it.
            (&of_container, "web-alpha", 80, "web-alpha", "10.0.0.8", "10.0.0.7", Sight::Nothing),
            (&of_container, "web-alpha", 80, "web-alpha", "fe80::8", "10.0.0.2", Sight::Nothing),
            (&of_container, "web-alpha", 80, "web-alpha", "10.0.0.8", "fe80::7", Sight::Nothing),
            // A service of that name it may have.
            (&of_container, "web-beta", 80, "web-beta", "10.0.0.7", "10.0.0.7", Sight::NameTaken),
            (&of_box, "OpenWrt-2", 80, "OpenWrt-2", "10.0.0.1", us, seen("OpenWrt-2")),
            (&of_box, "OpenWrt", 80, "OpenWrt", "10.0.0.2", "10.0.0.2", Sight::NameTaken),
            (&of_box, "OpenWrt", 80, "OpenWrt", "10.0.0.7", "10.0.0.7", Sight::Nothing),
        ] {
            let one = [expected.clone()];
            let own = Own { of_box: vec![ip("10.0.0.1")], of_containers: vec![ip("10.0.0.7")] };
            let mut look = Look::new(&one, own);
            let packet = answer(7, &wiki, host, port, at, address);
            look.input(&packet, ip(from), 8);
            assert_eq!(look.sight(0), Sight::Nothing, "the answer to another question");
            look.input(&packet, ip(from), 7);
            assert_eq!(look.sight(0), sight, "{host} {port} {address} from {from}");
        }
    }

    #[test]
    fn each_service_is_asked_for_by_itself() {
        let one = Expected {
            name: "Our wiki".into(),
            kind: "_http._tcp".into(),
            host: Some("web-alpha".into()),
            port: 80,
            addresses: vec![ip("10.0.0.7"), ip("fd00::7")],
        };
        let all = [
            one.clone(),
            Expected { host: None, ..one },
            Expected { name: "x".repeat(64), ..all_of_nothing() },
        ];
        let look = Look::new(&all, Own::default());
        let kinds = |at: usize| -> Vec<u16> {
            let packets = look.questions(at, 0x1234);
            assert!(packets.iter().all(|packet| packet.starts_with(&[0x12, 0x34])));
            packets.iter().flat_map(|p| message::questions(p).unwrap()).map(|(_, kind)| kind).collect()
        };
        assert_eq!(kinds(0), [message::SRV, message::A, message::AAAA]);
        assert_eq!(kinds(1), [message::SRV]);
        assert_eq!(kinds(2), [0; 0], "no name at all");
    }

    fn all_of_nothing() -> Expected {
        Expected { name: String::new(), kind: "_a._tcp".into(), host: None, port: 1, addresses: Vec::new() }
    }
}
