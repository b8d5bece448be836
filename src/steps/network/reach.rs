//! Where a container may go: `option reach`. Rules in the table of [`super::table`], before those of isolation.
//!
//! What goes to the box itself, to machines of its networks, and beyond, is told by the frame alone: no connection is
//! tracked. So a container that may not go to a machine can answer it all the same: segments of TCP that do not open a
//! connection pass, and datagrams to where one came from ([`ASKED`]).
//!
//! Which addresses are the box's own, and which networks, the daemon says ([`Surroundings`]), and again when they change.
//! Which machines of a network lead out of it: the box, and who is its default route, gave an address by DHCP, or
//! announced itself as a router.

use super::nft::{Batch, Rule, Through, Verdict, ETHERNET, NAME, NETWORK, TRANSPORT};
use super::table::{
    ether, padded, port, udp4, Key, ICMP, ICMPV6, KEYS_MAX, LEARNED, PREFIXES, ROUTERS, SENDER, TCP, UDP,
};
use crate::model::address::parse_mac;
use crate::model::spec::Reach;
use crate::netlink::{assigned_addresses, hardware_addresses};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ports of containers that may not go everywhere.
const KEPT: &str = "kept";
/// Those of them that may go to machines of the box's networks.
const TO_LAN: &str = "kept_to_lan";
/// The box's own addresses, and those that mean everybody in its networks.
const BOX: [&str; 2] = ["box4", "box6"];
/// The box's own networks, and what is never beyond one.
const NEAR: [&str; 2] = ["near4", "near6"];
/// Routers by IPv4, as the box and its containers know them.
const GATEWAYS: &str = "gateways4";
/// Servers of DHCP, as they showed themselves.
const SERVERS: &str = "servers4";
/// Hardware addresses that lead beyond a network: the box's, and as routers showed themselves.
const BOX_MACS: &str = "box_macs";
const ROUTER_MACS: &str = "router_macs";
/// A port of one that may not go everywhere, who sent a datagram of UDP to it, and the ports of that.
const ASKED: [&str; 2] = ["asked4", "asked6"];
/// How long a datagram can be answered. 3 minutes.
const ANSWERED: u64 = 180_000;
/// How long a hardware address of a router is known that does not show itself again. 30 days.
const ROUTES: u64 = 30 * LEARNED;
/// Most of the box's addresses, networks and routers.
const AROUND_MAX: u32 = 4096;

/// The keys of a container's port.
pub fn keys(reach: Reach, veth: &str) -> impl Iterator<Item = Key> {
    let sets: &[&'static str] = match reach {
        Reach::All => &[],
        Reach::Lan => &[KEPT, TO_LAN],
        Reach::Internet => &[KEPT],
    };
    let name = padded(veth);
    sets.iter().map(move |set| Key::of(set, name.clone()))
}

/// The sets that a port may be in for these.
pub fn sets() -> [&'static str; 2] {
    [KEPT, TO_LAN]
}

/// What is around the box's containers, by which it is judged where a frame goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    own: BTreeSet<IpAddr>,
    /// Networks as their first and their last address. None overlaps, none is next to another.
    near: [Vec<(u128, u128)>; 2],
    gateways: BTreeSet<Ipv4Addr>,
    macs: BTreeSet<[u8; 6]>,
}

impl Surroundings {
    /// As it is now. `gateways` are those that containers have.
    pub fn look(gateways: impl Iterator<Item = Ipv4Addr>) -> Surroundings {
        let mut around = Surroundings::default();
        around.gateways.extend(gateways);
        let table =
            |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
        around.gateways.extend(default_routes(&table("route")));
        let assigned = assigned_addresses().unwrap_or_default();
        let mut near = never_beyond();
        for found in &assigned {
            around.own.insert(found.address);
            let (family, bits, address) = match found.address {
                IpAddr::V4(v4) => (0, 32, v4.to_bits().into()),
                IpAddr::V6(v6) => (1, 128, v6.to_bits()),
            };
            let host_bits = bits - u32::from(found.prefix).min(bits);
            if host_bits == bits {
                continue;
            }
            let hosts = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
            let (first, last) = (address & !hosts, address | hosts);
            if let Some(near) = near.get_mut(family) {
                near.push((first, last));
            }
            if family == 1 {
                // Every router answers at its network's first address.
                around.own.insert(Ipv6Addr::from_bits(first).into());
                continue;
            }
            if host_bits > 1 {
                around.own.extend([first, last].map(|all| IpAddr::from(Ipv4Addr::from_bits(all as u32))));
            }
            // The same machines behind a translator of the box.
            let translated = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).to_bits();
            near[1].push((translated | first, translated | last));
        }
        around.near = near.map(joined);
        let numbers: BTreeSet<u32> = assigned.iter().map(|found| found.interface).collect();
        let cards = hardware_addresses().unwrap_or_default();
        around
            .macs
            .extend(cards.into_iter().filter(|(number, _)| numbers.contains(number)).map(|(_, mac)| mac));
        around.macs.extend(neighbours(&table("arp"), &around.gateways));
        around
    }

    /// The box's own networks, as they are written. What is never beyond one is not among them.
    pub fn networks() -> Vec<String> {
        let all = assigned_addresses().unwrap_or_default();
        let here = |address: IpAddr| {
            address.is_loopback() || matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let others = all.iter().filter(|found| !here(found.address));
        let network = |address: IpAddr, prefix: u8| match address {
            IpAddr::V4(v4) => {
                let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                format!("{}/{prefix}", Ipv4Addr::from_bits(v4.to_bits() & !hosts))
            }
            IpAddr::V6(v6) => {
                let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                format!("{}/{prefix}", Ipv6Addr::from_bits(v6.to_bits() & !hosts))
            }
        };
        let mut networks: Vec<String> = others.map(|found| network(found.address, found.prefix)).collect();
        networks.sort();
        networks.dedup();
        networks
    }

    /// Puts it into the table, in the place of what was there.
    pub fn write(&self, batch: &mut Batch) {
        for set in BOX.into_iter().chain(NEAR).chain([GATEWAYS, BOX_MACS]) {
            batch.empty(set);
        }
        for address in &self.own {
            match address {
                IpAddr::V4(v4) => batch.add(BOX[0], &v4.octets()),
                IpAddr::V6(v6) => batch.add(BOX[1], &v6.octets()),
            }
        }
        for (family, bytes) in [(0, 4), (1, 16)] {
            let key = |address: u128| address.to_be_bytes().get(16 - bytes..).unwrap_or_default().to_vec();
            let most = u128::MAX >> (128 - 8 * bytes);
            for (first, last) in self.near.get(family).into_iter().flatten() {
                let end = (*last < most).then(|| key(last + 1));
                batch.add_range(NEAR[family], &key(*first), end.as_deref());
            }
        }
        self.gateways.iter().for_each(|gateway| batch.add(GATEWAYS, &gateway.octets()));
        self.macs.iter().for_each(|mac| batch.add(BOX_MACS, mac));
    }
}

/// What is never beyond a network: this machine, link-local addresses, groups. And IPv4 in the clothes of IPv6.
fn never_beyond() -> [Vec<(u128, u128)>; 2] {
    let four = [([0, 0, 0, 0], 8), ([127, 0, 0, 0], 8), ([169, 254, 0, 0], 16), ([224, 0, 0, 0], 3)];
    let four = four.map(|(net, prefix)| {
        let first = u32::from_be_bytes(net);
        (first.into(), (first | u32::MAX >> prefix).into())
    });
    let six: [(u16, u32); 2] = [(0xfe80, 10), (0xff00, 8)];
    let six = six.map(|(net, prefix)| {
        let first = u128::from(net) << 112;
        (first, first | u128::MAX >> prefix)
    });
    let mapped = 0xffff_u128 << 32;
    let this = [(0, 1), (mapped, mapped | u128::from(u32::MAX))];
    [four.to_vec(), [six, this].concat()]
}

/// The same networks, none of which overlaps or is next to another: the kernel refuses those.
fn joined(mut networks: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    networks.sort_unstable();
    let mut all: Vec<(u128, u128)> = Vec::new();
    for (first, last) in networks {
        match all.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => all.push((first, last)),
        }
    }
    all
}

/// The gateways of default routes in a `/proc/net/route`.
fn default_routes(text: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (words.next()?, words.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        (destination == "00000000").then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

/// The hardware addresses of `wanted` in a `/proc/net/arp`.
fn neighbours<'a>(text: &'a str, wanted: &'a BTreeSet<Ipv4Addr>) -> Vec<[u8; 6]> {
    let mac = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address: Ipv4Addr = words.next()?.parse().ok()?;
        let mac = parse_mac(words.nth(2)?)?;
        (wanted.contains(&address) && mac != [0; 6]).then_some(mac)
    };
    text.lines().filter_map(mac).collect()
}

/// Makes the sets and the chains; [`judge`] leads to them.
pub fn make_rules(batch: &mut Batch) {
    let (name, mac, ipv4, ipv6, service) = (41, 9, 7, 8, 13);
    let learned = libc::NFT_SET_EVAL | libc::NFT_SET_TIMEOUT;
    batch.make_set(KEPT, &[name], NAME, 0, KEYS_MAX);
    batch.make_set(TO_LAN, &[name], NAME, 0, KEYS_MAX);
    for (family, (kind, bytes)) in [(ipv4, 4), (ipv6, 16)].into_iter().enumerate() {
        batch.make_set(BOX[family], &[kind], bytes, 0, AROUND_MAX);
        batch.make_set(NEAR[family], &[kind], bytes, libc::NFT_SET_INTERVAL, AROUND_MAX);
        batch.make_set(ASKED[family], &[name, kind, service, service], NAME + bytes + 8, learned, KEYS_MAX);
    }
    batch.make_set(GATEWAYS, &[ipv4], 4, 0, AROUND_MAX);
    batch.make_set(SERVERS, &[ipv4], 4, learned, AROUND_MAX);
    batch.make_set(BOX_MACS, &[mac], 6, 0, AROUND_MAX);
    batch.make_set(ROUTER_MACS, &[mac], 6, learned, AROUND_MAX);
    for chain in ["reach", "reach4", "to_one4", "to_server4", "beyond4", "reach6", "to_one6", "to_server6"] {
        batch.make_chain(chain);
    }
    use Verdict::{Drop, Goto, Return};
    let mut rule = |chain: &str, rule: Rule| batch.add_rule(chain, &rule);

    rule("reach", ether(0x0806).then(Return));
    rule("reach", ether(0x0800).then(Goto("reach4")));
    rule("reach", ether(0x86dd).then(Goto("reach6")));
    rule("reach", Rule::new().then(Drop));

    let (to4, to6) = ((NETWORK, 16), (NETWORK, 24));
    let mdns = [port(5353), port(5353)].concat();
    let dhcp = udp4().at(TRANSPORT, 0, &[port(68), port(67)].concat());
    rule("reach4", dhcp.then(Return));
    rule("reach4", Rule::new().unicast().then(Goto("to_one4")));
    rule("reach4", udp4().at(to4.0, to4.1, &[224, 0, 0, 251]).at(TRANSPORT, 2, &port(5353)).then(Return));
    rule("reach4", Rule::new().at(NETWORK, 9, &[2]).then(Return));
    rule("reach4", Rule::new().then(Drop));

    // What a fragment is a part of cannot be seen.
    let fragment = ([0x3f, 0xff], [0, 0]);
    rule("to_one4", Rule::new().bits_not((NETWORK, 6), &fragment.0, &fragment.1).then(Goto("beyond4")));
    // Of SYN and ACK not SYN alone: it opens no connection.
    let (flags, opening) = ([0x12], [0x02]);
    let tcp4 = || Rule::new().at(NETWORK, 9, &[TCP]);
    rule("to_one4", tcp4().bits_not((TRANSPORT, 13), &flags, &opening).then(Return));
    let answer4 = [(NETWORK, 16, 4), (TRANSPORT, 2, 2), (TRANSPORT, 0, 2)];
    rule("to_one4", udp4().flow_found_in(ASKED[0], &answer4).then(Return));
    rule("to_one4", udp4().at(TRANSPORT, 0, &mdns).then(Return));
    // Answers and errors.
    let icmp = |kind: u8| Rule::new().at(NETWORK, 9, &[ICMP]).at(TRANSPORT, 0, &[kind]);
    for kind in [0, 3, 11, 12] {
        rule("to_one4", icmp(kind).then(Return));
    }
    rule("to_one4", Rule::new().found_in(BOX[0], to4, 4).then(Goto("to_server4")));
    let group4 = ([0xe0], [0xe0]);
    rule("to_one4", Rule::new().came_in_by(TO_LAN).bits_not(to4, &group4.0, &group4.1).then(Return));
    for server in [GATEWAYS, SERVERS] {
        rule("to_one4", Rule::new().found_in(server, to4, 4).then(Goto("to_server4")));
    }
    rule("to_one4", Rule::new().then(Goto("beyond4")));
    rule("beyond4", Rule::new().found_in(BOX[0], to4, 4).then(Drop));
    rule("beyond4", Rule::new().came_in_by(TO_LAN).bits_not(to4, &group4.0, &group4.1).then(Return));
    rule("beyond4", Rule::new().found_in(NEAR[0], to4, 4).then(Drop));
    rule("to_server4", icmp(8).then(Return));
    rule("to_server4", udp4().at(TRANSPORT, 2, &port(53)).then(Return));
    rule("to_server4", tcp4().at(TRANSPORT, 2, &port(53)).then(Return));
    rule("to_server4", Rule::new().then(Drop));

    let next = |kind: u8| Rule::new().at(NETWORK, 6, &[kind]);
    let icmpv6 = |kind: u8| next(ICMPV6).at(NETWORK, 40, &[kind]);
    // Errors, answers, reports, solicitations and neighbour discovery.
    for kind in [1, 2, 3, 4, 129, 131, 132, 133, 135, 136, 143] {
        rule("reach6", icmpv6(kind).then(Return));
    }
    for kind in [131, 132, 143] {
        rule("reach6", next(0).at(NETWORK, 40, &[ICMPV6]).at(NETWORK, 48, &[kind]).then(Return));
    }
    rule("reach6", next(UDP).at(NETWORK, 40, &[port(546), port(547)].concat()).then(Return));
    rule("reach6", Rule::new().unicast().then(Goto("to_one6")));
    let group = [&[0xff, 2], [0; 13].as_slice(), &[0xfb]].concat();
    rule("reach6", next(UDP).at(to6.0, to6.1, &group).at(NETWORK, 42, &port(5353)).then(Return));
    rule("reach6", Rule::new().then(Drop));

    rule("to_one6", next(TCP).bits_not((NETWORK, 53), &flags, &opening).then(Return));
    let answer6 = [(NETWORK, 24, 16), (NETWORK, 42, 2), (NETWORK, 40, 2)];
    rule("to_one6", next(UDP).flow_found_in(ASKED[1], &answer6).then(Return));
    rule("to_one6", next(UDP).at(NETWORK, 40, &mdns).then(Return));
    rule("to_one6", Rule::new().found_in(BOX[1], to6, 16).then(Goto("to_server6")));
    rule("to_one6", Rule::new().came_in_by(TO_LAN).bits_not(to6, &[0xff], &[0xff]).then(Return));
    rule("to_one6", Rule::new().found_in(ROUTERS, to6, 16).then(Goto("to_server6")));
    rule("to_one6", Rule::new().found_in(NEAR[1], to6, 16).then(Drop));
    let prefix = [[0xff; 8], [0; 8]].concat();
    rule("to_one6", Rule::new().bits_found_in(PREFIXES, to6, &prefix).then(Drop));
    rule("to_server6", icmpv6(128).then(Return));
    rule("to_server6", next(UDP).at(NETWORK, 42, &port(53)).then(Return));
    rule("to_server6", next(TCP).at(NETWORK, 42, &port(53)).then(Return));
    rule("to_server6", Rule::new().then(Drop));

    // What is beyond goes by who leads there: a machine may have addresses that the box knows nothing of.
    for chain in ["beyond4", "to_one6"] {
        for macs in [BOX_MACS, ROUTER_MACS] {
            rule(chain, Rule::new().found_in(macs, (ETHERNET, 0), 6).then(Return));
        }
        rule(chain, Rule::new().then(Drop));
    }
}

/// Adds to `chain`, where frames come in by a port: those of containers that may not go everywhere are judged.
pub fn judge(batch: &mut Batch, chain: &str) {
    batch.add_rule(chain, &Rule::new().came_in_by(KEPT).then(Verdict::Jump("reach")));
}

/// The same: from what a container sends nothing is learned of routers, whether it is isolated or not.
pub fn learn_nothing_from_containers(batch: &mut Batch, chain: &str) {
    batch.add_rule(chain, &Rule::new().came_in_by(KEPT).then(Verdict::Accept));
}

/// The same: who gives addresses, has the address of a gateway, or is the box, leads beyond the network.
pub fn learn_routers(batch: &mut Batch, chain: &str, of_the_box: bool) {
    let mut learn = |rule: Rule| {
        let rule = rule.learn(ROUTER_MACS, SENDER, 6, ROUTES);
        batch.add_rule(chain, &rule);
    };
    let offer = || udp4().at(TRANSPORT, 0, &port(67)).at(TRANSPORT, 8, &[2]);
    if of_the_box {
        learn(ether(0x0806));
        for kind in [135, 136] {
            learn(ether(0x86dd).at(NETWORK, 6, &[ICMPV6]).at(NETWORK, 40, &[kind]));
        }
    } else {
        learn(ether(0x0806).found_in(GATEWAYS, (NETWORK, 14), 4));
        learn(offer());
        batch.add_rule(chain, &offer().learn(SERVERS, (NETWORK, 12), 4, ROUTES));
    }
}

/// A router has announced itself.
pub fn learn_router(rule: Rule) -> Rule {
    rule.learn(ROUTER_MACS, SENDER, 6, ROUTES)
}

/// Adds to `chain`, where frames leave by a port: who asks a container gets an answer.
pub fn remember_askers(batch: &mut Batch, chain: &str) {
    let asks4 = [(NETWORK, 12, 4), (TRANSPORT, 0, 2), (TRANSPORT, 2, 2)];
    let asks6 = [(NETWORK, 8, 16), (NETWORK, 40, 2), (NETWORK, 42, 2)];
    let kept = || Rule::new().leaves_by(KEPT);
    let four = kept().at(ETHERNET, 12, &[8, 0]).at(NETWORK, 9, &[UDP]);
    let six = kept().at(ETHERNET, 12, &[0x86, 0xdd]).at(NETWORK, 6, &[UDP]);
    batch.add_rule(chain, &four.learn_flow(ASKED[0], Through::Out, &asks4, ANSWERED));
    batch.add_rule(chain, &six.learn_flow(ASKED[1], Through::Out, &asks6, ANSWERED));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_joined() {
        assert_eq!(
            joined(vec![(8, 15), (0, 3), (10, 11), (16, 17), (4, 4), (20, 21)]),
            [(0, 4), (8, 17), (20, 21)]
        );
        assert_eq!(joined(vec![(0, u128::MAX), (5, 6)]), [(0, u128::MAX)]);
        assert_eq!(joined(vec![]), []);
    }

    #[test]
    fn gateways_and_their_hardware_addresses() {
        let (gateway, zero) = (u32::from_ne_bytes([10, 7, 0, 254]), 0);
        let route = format!(
            "Iface\tDestination\tGateway\tFlags\nbr0\t00000000\t{gateway:08X}\t0003\nbr0\t0007000A\t{zero:08X}\t0001\n\
             wan\t00000000\t{zero:08X}\t0001\nbad\n"
        );
        let gateways: BTreeSet<Ipv4Addr> = default_routes(&route).collect();
        assert_eq!(gateways, [Ipv4Addr::new(10, 7, 0, 254)].into());
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n\
                   10.7.0.254       0x1         0x2         02:00:00:00:00:09     *        br0\n\
                   10.7.0.3         0x1         0x2         02:00:00:00:00:03     *        br0\n";
        assert_eq!(neighbours(arp, &gateways), [[2, 0, 0, 0, 0, 9]]);
    }
}
