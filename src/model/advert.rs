//! What this box announces, and why it does not announce the rest: worked out from what is declared and what runs.
//!
//! A service is announced while its container runs, has an address and, if it is checked, its port answers.

use super::image::OfferedService;
use super::name::Name;
use super::service::{self, section_name, DeclaredService, Family, Service};
use super::size::Bytes;
use std::net::IpAddr;

/// The longest label of a host name, in bytes.
const LABEL_MAX: usize = 63;
/// DNS-SD type of a box.
pub const BOX_KIND: &str = "_cloudbox._tcp";
/// Where a box's own interface is: LuCI and ubus over HTTP.
const BOX_PORT: u16 = 80;
/// What OpenWrt calls every box that nobody gave a name.
const NAMELESS: [&str; 5] = ["openwrt", "lede", "localhost", "none", ""];

/// Who declared a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredBy {
    /// A section of the configuration.
    Config,
    /// The image's manifest.
    Image,
    /// The image's manifest, and the guest announces it by itself.
    Guest,
    /// cloudbox itself.
    Box,
}

impl DeclaredBy {
    /// As it stands in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            DeclaredBy::Config => "config",
            DeclaredBy::Image => "image",
            DeclaredBy::Guest => "guest",
            DeclaredBy::Box => "box",
        }
    }
}

/// A container as far as its services are concerned.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Why nothing of it may be announced now; None while it runs.
    pub down: Option<&'static str>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What its image offers.
    pub offered: &'a [OfferedService],
    /// Which of its image's optional services it was made with.
    pub services: &'a [String],
    /// `option advertise`
    pub advertise: bool,
}

/// A service of this box, announced or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// The section it has or would have.
    pub id: String,
    /// Its container; None for the box's own.
    pub container: Option<Name>,
    /// What it is; its name is filled in.
    pub service: Service,
    /// Who declared it.
    pub source: DeclaredBy,
    /// The host name it points at, without the domain.
    pub host: String,
    /// Addresses of that host.
    pub addresses: Vec<IpAddr>,
    /// Why it is not announced.
    pub withheld: Option<String>,
}

impl Advert {
    /// The name people see.
    pub fn name(&self) -> &str {
        self.service.name.as_deref().unwrap_or_default()
    }
}

/// The host name of a container on the network: `web-alpha`, for `web-alpha.local`.
pub fn host_label(container: &Name, box_name: &str) -> String {
    container.as_str().to_string() + "-" + box_name
}

/// The box that host `host` (`web-alpha.local`) belongs to; empty when it is none's. Of each of `boxes` this is what its
/// hosts are called after, and its name. The longest one goes before: the box `b` must not get what belongs to the box
/// `a-b`.
pub fn box_of<'a>(host: &str, boxes: &'a [(String, String)]) -> &'a str {
    let label = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let belongs = |(name, _): &&(String, String)| {
        let rest = label.strip_suffix(&name.to_ascii_lowercase());
        !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
    };
    boxes.iter().filter(belongs).max_by_key(|(name, _)| name.len()).map_or("", |(_, name)| name)
}

/// The box's name as a DNS label: its host name, with something of its own if it was never given one, or if another box
/// is called the same.
pub fn box_name(hostname: &str, box_id: &str, is_shared: bool) -> String {
    let label = hostname.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let kept: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept = kept.trim_matches('-').get(..kept.trim_matches('-').len().min(32)).unwrap_or_default();
    let kept = kept.trim_end_matches('-');
    let is_nameless = NAMELESS.contains(&kept);
    if !is_nameless && !is_shared {
        return kept.to_string();
    }
    let own: String = box_id.chars().filter(char::is_ascii_alphanumeric).take(4).collect();
    let kept = if is_nameless { "openwrt" } else { kept };
    kept.to_string() + "-" + &own.to_ascii_lowercase()
}

/// `given`, the name of a service that somebody else's has, too, as it is told from that one.
pub fn own_name(given: &str, box_name: &str) -> String {
    let own = format!(" ({box_name})");
    cut(given, service::NAME_MAX.saturating_sub(own.len())).to_string() + &own
}

/// Everything that is declared, with what is announced of it. `answers` tells whether a checked port answers.
pub fn adverts(
    declared: &[DeclaredService],
    hosts: &[Host<'_>],
    box_name: &str,
    answers: &dyn Fn(&Name, u16) -> bool,
) -> Vec<Advert> {
    let mut adverts: Vec<Advert> = Vec::new();
    for declared in declared.iter().filter(|d| d.enabled) {
        let host = hosts.iter().find(|host| *host.name == declared.container);
        let mut advert = of_container(
            &declared.id,
            &declared.container,
            declared.service.clone(),
            DeclaredBy::Config,
            box_name,
        );
        advert.withheld = match host {
            Some(host) => withheld(host, &declared.service, answers),
            None => Some(format!("there is no container {}", declared.container)),
        };
        advert.addresses = host.map(|host| of_family(host, declared.service.family)).unwrap_or_default();
        adverts.push(advert);
    }
    for host in hosts {
        for offered in host.offered {
            if offered.optional && !host.services.contains(&offered.name) {
                continue;
            }
            let Some(service) = offered_service(offered) else { continue };
            let same = |d: &DeclaredService| is_same(d, host.name, &service);
            if declared.iter().any(same) {
                continue;
            }
            let id = section_name(host.name, &service.kind, service.port);
            let withheld = withheld(host, &service, answers);
            let source = if offered.optional { DeclaredBy::Guest } else { DeclaredBy::Image };
            let mut advert = of_container(&id, host.name, service, source, box_name);
            advert.withheld = withheld;
            advert.addresses = of_family(host, Family::Any);
            adverts.push(advert);
        }
    }
    give_names(&mut adverts);
    adverts.sort_unstable_by(|a, b| (&a.container, &a.id).cmp(&(&b.container, &b.id)));
    adverts
}

impl Advert {
    /// The family over which it is announced: that of the host's addresses, when they are of one. Told of a service over
    /// IPv6 whose host has no such address, others look for that in vain for 5 seconds.
    pub fn family(&self) -> Family {
        let (four, six) =
            (self.addresses.iter().any(IpAddr::is_ipv4), self.addresses.iter().any(IpAddr::is_ipv6));
        match (four, six) {
            (true, false) => Family::Ipv4,
            (false, true) => Family::Ipv6,
            _ => self.service.family,
        }
    }
}

/// Whether `declared` is about this type and port of this container.
pub fn is_same(declared: &DeclaredService, container: &Name, service: &Service) -> bool {
    declared.container == *container
        && declared.service.kind == service.kind
        && declared.service.port == service.port
}

/// What an image offers, as a service; None when what it says cannot be announced.
pub fn offered_service(offered: &OfferedService) -> Option<Service> {
    let kind = service::parse_kind(&offered.kind).ok()?;
    let named = service::parse_name(&offered.name).ok();
    let check = kind.ends_with("_tcp");
    (offered.port > 0).then_some(Service {
        name: named,
        kind,
        port: offered.port,
        txt: Vec::new(),
        family: Family::Any,
        check,
    })
}

fn of_container(id: &str, container: &Name, service: Service, source: DeclaredBy, box_name: &str) -> Advert {
    Advert {
        id: id.to_string(),
        container: Some(container.clone()),
        service,
        source,
        host: host_label(container, box_name),
        addresses: Vec::new(),
        withheld: None,
    }
}

fn of_family(host: &Host<'_>, family: Family) -> Vec<IpAddr> {
    let fits = |address: &&IpAddr| match family {
        Family::Any => true,
        Family::Ipv4 => address.is_ipv4(),
        Family::Ipv6 => address.is_ipv6(),
    };
    host.addresses.iter().filter(fits).copied().collect()
}

fn withheld(host: &Host<'_>, service: &Service, answers: &dyn Fn(&Name, u16) -> bool) -> Option<String> {
    let name = host.name;
    if !host.advertise {
        return Some(format!("container {name} has option advertise '0'"));
    }
    if let Some(down) = host.down {
        return Some(format!("container {name} {down}"));
    }
    if of_family(host, service.family).is_empty() {
        return Some(format!(
            "container {name} has no {} yet",
            match service.family {
                Family::Any => "address",
                Family::Ipv4 => "IPv4 address",
                Family::Ipv6 => "IPv6 address",
            }
        ));
    }
    if service.check && !answers(name, service.port) {
        return Some(format!("port {} of container {name} does not answer", service.port));
    }
    None
}

/// Gives those without a name one that is unique on the network, and withholds those that avahi would not tell apart.
fn give_names(adverts: &mut [Advert]) {
    for at in 0..adverts.len() {
        let (before, rest) = adverts.split_at_mut(at);
        let Some(advert) = rest.first_mut() else { continue };
        let taken = |name: &str| {
            let same =
                |a: &&Advert| a.name().eq_ignore_ascii_case(name) && a.service.kind == advert.service.kind;
            before.iter().find(same).map(|a| a.id.clone())
        };
        if advert.host.len() > LABEL_MAX {
            let why =
                "its host name would have more than 63 bytes; give the container or the box a shorter name";
            advert.withheld = Some(format!("{}.local: {why}", advert.host));
        }
        let name = match (&advert.service.name, advert.source) {
            (Some(given), DeclaredBy::Config) => {
                if let Some(other) = taken(given) {
                    let why = "is called the same; give one of them another name";
                    advert.withheld = Some(format!("service {other} of the same type {why}"));
                }
                given.clone()
            }
            (Some(offered), _) if offered.len() + advert.host.len() + 3 <= service::NAME_MAX => {
                format!("{offered} ({})", advert.host)
            }
            _ => advert.host.clone(),
        };
        let name = match (taken(&name), advert.source, &advert.service.name) {
            (None, ..) | (_, DeclaredBy::Config, Some(_)) => name,
            _ => cut(&name, 57).to_string() + " " + &advert.service.port.to_string(),
        };
        advert.service.name = Some(name);
    }
}

/// The first `most` bytes of `text` at most, whole characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// What a box says of itself.
#[derive(Debug, Clone, Copy)]
pub struct OfBox<'a> {
    /// Version of the bus API.
    pub api: u32,
    /// The program's version.
    pub version: &'a str,
    /// As `uname -m` prints it.
    pub arch: &'a str,
    /// Memory that may still be given to containers, in bytes.
    pub memory: u64,
    /// How many containers there are.
    pub containers: usize,
}

/// The box's own advert. `host` is what avahi-daemon calls the box.
pub fn box_advert(box_name: &str, host: &str, of: &OfBox<'_>) -> Advert {
    let txt = vec![
        format!("api={}", of.api),
        format!("version={}", of.version),
        format!("arch={}", of.arch),
        format!("memory={}", memory_class(of.memory)),
        format!("containers={}", of.containers),
        "path=/ubus".to_string(),
    ];
    let name = Some(box_name.to_string());
    let kind = BOX_KIND.to_string();
    Advert {
        id: "box".into(),
        container: None,
        service: Service { name, kind, port: BOX_PORT, txt, family: Family::Any, check: false },
        source: DeclaredBy::Box,
        host: host.to_string(),
        addresses: Vec::new(),
        withheld: None,
    }
}

/// The greatest power of two of megabytes in `bytes`: it changes seldom, and tells who could still take a container.
fn memory_class(bytes: u64) -> String {
    let least = 64 << 20;
    if bytes < least {
        return "0".into();
    }
    Bytes(1 << bytes.ilog2()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn declared(id: &str, container: &str, kind: &str, port: &str, named: Option<&str>) -> DeclaredService {
        let asked = service::ServiceOptions {
            container: Some(container.into()),
            kind: Some(kind.into()),
            port: Some(port.into()),
            name: named.map(str::to_string),
            ..service::ServiceOptions::default()
        };
        asked.resolve(id).unwrap()
    }

    fn host<'a>(name: &'a Name, offered: &'a [OfferedService]) -> Host<'a> {
        let addresses = vec![[10, 0, 0, 7].into()];
        Host { name, down: None, addresses, offered, services: &[], advertise: true }
    }

    fn offer(name: &str, kind: &str, port: u16) -> OfferedService {
        OfferedService { name: name.into(), kind: kind.into(), port, optional: false }
    }

    /// Names, and reasons why not.
    fn said(adverts: &[Advert]) -> Vec<(&str, &str)> {
        adverts.iter().map(|a| (a.name(), a.withheld.as_deref().unwrap_or(""))).collect()
    }

    #[test]
    fn a_service_is_announced_only_while_all_of_it_holds() {
        let web = name("web");
        let services = [declared("s", "web", "_http._tcp", "80", Some("Wiki"))];
        let up = host(&web, &[]);
        let tell = |host: Host<'_>, answers: bool| {
            let adverts = adverts(&services, &[host], "alpha", &|_, _| answers);
            adverts[0].withheld.clone().unwrap_or_default()
        };
        assert_eq!(tell(up.clone(), true), "");
        assert_eq!(tell(up.clone(), false), "port 80 of container web does not answer");
        assert_eq!(tell(Host { addresses: vec![], ..up.clone() }, true), "container web has no address yet");
        assert_eq!(tell(Host { down: Some("is stopped"), ..up.clone() }, true), "container web is stopped");
        assert_eq!(tell(Host { advertise: false, ..up }, true), "container web has option advertise '0'");
        let nobody = adverts(&services, &[], "alpha", &|_, _| true);
        assert_eq!(nobody[0].withheld.as_deref(), Some("there is no container web"));
    }

    #[test]
    fn only_addresses_of_the_family_count() {
        let web = name("web");
        let mut six = declared("s", "web", "_http._tcp", "80", None);
        six.service.family = Family::Ipv6;
        let found = adverts(&[six], &[host(&web, &[])], "alpha", &|_, _| true);
        assert_eq!(found[0].withheld.as_deref(), Some("container web has no IPv6 address yet"));
    }

    #[test]
    fn a_service_is_announced_over_the_family_of_its_addresses() {
        let web = name("web");
        let tell = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let host = Host { addresses, ..host(&web, &[]) };
            adverts(&[declared("s", "web", "_aa._udp", "1", None)], &[host], "alpha", &|_, _| true)[0]
                .family()
        };
        assert_eq!(tell(&["10.0.0.7"]), Family::Ipv4);
        assert_eq!(tell(&["fd00::7"]), Family::Ipv6);
        assert_eq!(tell(&["10.0.0.7", "fd00::7"]), Family::Any);
    }

    #[test]
    fn what_the_image_offers_is_announced_unless_a_section_says_otherwise() {
        let web = name("web");
        let offered =
            [offer("wiki", "_http._tcp", 80), offer("bad", "http", 80), offer("none", "_x._tcp", 0)];
        let hosts = [host(&web, &offered)];
        let by_image = adverts(&[], &hosts, "alpha", &|_, _| true);
        assert_eq!(said(&by_image), [("wiki (web-alpha)", "")]);
        assert_eq!((by_image[0].id.as_str(), by_image[0].source), ("web_http_80", DeclaredBy::Image));
        let mut section = declared("web_http_80", "web", "_http._tcp", "80", Some("Mine"));
        let by_section = adverts(std::slice::from_ref(&section), &hosts, "alpha", &|_, _| true);
        assert_eq!(said(&by_section), [("Mine", "")]);
        section.enabled = false;
        assert_eq!(said(&adverts(&[section], &hosts, "alpha", &|_, _| true)), []);
    }

    #[test]
    fn names_are_unique_or_said_not_to_be() {
        let (web, db) = (name("web"), name("db"));
        let services = [
            declared("a", "web", "_http._tcp", "80", None),
            declared("b", "web", "_http._tcp", "8080", None),
            declared("c", "web", "_ssh._tcp", "22", None),
            declared("d", "db", "_http._tcp", "80", Some("Wiki")),
            declared("e", "db", "_http._tcp", "81", Some("wiki")),
        ];
        let all = adverts(&services, &[host(&web, &[]), host(&db, &[])], "alpha", &|_, _| true);
        let clash = "service d of the same type is called the same; give one of them another name";
        assert_eq!(
            said(&all),
            [("Wiki", ""), ("wiki", clash), ("web-alpha", ""), ("web-alpha 8080", ""), ("web-alpha", "")]
        );
        let long = name(&"x".repeat(60));
        let all = adverts(
            &[declared("a", long.as_str(), "_http._tcp", "80", None)],
            &[host(&long, &[])],
            "alpha",
            &|_, _| true,
        );
        assert!(all[0].withheld.as_ref().unwrap().contains("shorter name"), "{all:?}");
    }

    #[test]
    fn a_host_belongs_to_the_box_with_the_longest_name() {
        let boxes = [("b", "b"), ("a-b", "a-b"), ("OpenWrt-2", "openwrt-3f2a"), ("", "")];
        let boxes = boxes.map(|(label, name)| (label.to_string(), name.to_string()));
        for (host, expected) in [
            ("b.local", "b"),
            ("web-b.local", "b"),
            ("web-a-b.local", "a-b"),
            ("a-b.local", "a-b"),
            ("WEB-openwrt-2.local", "openwrt-3f2a"),
            ("webb.local", ""),
            ("printer.local", ""),
            ("", ""),
        ] {
            assert_eq!(box_of(host, &boxes), expected, "{host}");
        }
    }

    #[test]
    fn a_box_without_a_name_is_told_from_the_next() {
        for (hostname, expected) in [
            ("alpha", "alpha"),
            ("Alpha.guifi.net", "alpha"),
            ("my_box", "my-box"),
            ("-x-", "x"),
            ("OpenWrt", "openwrt-3f2a"),
            ("", "openwrt-3f2a"),
            ("...", "openwrt-3f2a"),
        ] {
            assert_eq!(box_name(hostname, "3f2a9c", false), expected, "{hostname}");
        }
        assert!(box_name(&"ü".repeat(100), "3f2a", false).starts_with("openwrt-"));
        assert_eq!(box_name(&"x".repeat(100), "3f2a", false).len(), 32);
    }

    #[test]
    fn what_is_called_the_same_elsewhere_gets_something_of_its_own() {
        assert_eq!(box_name("Alpha.guifi.net", "3F2a9c", true), "alpha-3f2a");
        assert_eq!(box_name("OpenWrt", "3f2a9c", true), "openwrt-3f2a");
        assert_eq!(own_name("Our wiki", "alpha"), "Our wiki (alpha)");
        let long = own_name(&"ü".repeat(31), "alpha-3f2a");
        assert!(long.len() <= service::NAME_MAX && long.ends_with("ü (alpha-3f2a)"), "{long}");
    }

    #[test]
    fn the_class_of_memory_changes_seldom() {
        for (bytes, class) in [(0, "0"), (63 << 20, "0"), (64 << 20, "64M"), (3 << 30, "2G"), (4 << 30, "4G")]
        {
            assert_eq!(memory_class(bytes), class);
        }
        let of = OfBox { api: 1, version: "0.1.0", arch: "mips", memory: 1 << 30, containers: 3 };
        let advert = box_advert("alpha", "Alpha", &of);
        assert!(advert.service.txt.contains(&"containers=3".to_string()));
        assert!(advert.service.txt.contains(&"memory=1G".to_string()));
    }
}
