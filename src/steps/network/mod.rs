//! The box's network: bridges, addresses that are taken, and the addresses that containers get.

mod address_watch;
mod arp;
mod bridge;
mod isolation;
mod leases;
mod link_watch;
mod looks;
mod nft;
mod rate;
mod reach;
mod table;

pub use address_watch::AddressWatch;
pub use arp::Question;
pub use bridge::{is_younger, master, Bridge};
pub use isolation::{Isolation, Port};
pub use leases::Leases;
pub use link_watch::{Heard, LinkWatch};
pub use rate::Rate;

use crate::error::{errno_text, Code, Error, Result};
use crate::model::address::{self, Address, Ipv4Net};
use crate::model::plan::Link;
use crate::netlink::{self, assigned_addresses, Assigned};
use log::{info, warn};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The box's network.
pub trait Network: Send + Sync {
    /// Checks that `bridge` is there and is a bridge.
    ///
    /// # Errors
    /// [`Code::NotFound`] with what to do.
    fn check_bridge(&self, bridge: &str) -> Result<()>;

    /// How a container is to `bridge`; `port` is the host's end of its interface, if it runs.
    fn link(&self, port: Option<&str>, bridge: &str) -> Link;

    /// What is worth telling of the bridge called `name`.
    fn look_at_bridge(&self, name: &str) -> Bridge;

    /// Watches the box's bridges, and containers' ports.
    ///
    /// # Errors
    /// No socket can be had.
    fn watch_links(&self) -> Result<LinkWatch>;

    /// Makes `port` a port of its bridge again; before that, what it may send is settled.
    ///
    /// # Errors
    /// The bridge or the port is gone; the kernel refuses.
    fn join(&self, port: &Port) -> Result<()>;

    /// The IPv4 addresses of `bridge`.
    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net>;

    /// All IPv4 addresses of the box itself.
    fn own_addresses(&self) -> Vec<Ipv4Addr>;

    /// Begins to ask who has `address` in the network of `bridge`; None where that cannot be asked.
    fn who_has(&self, bridge: &str, address: Ipv4Addr) -> Option<Question>;

    /// Who has a lease of `address` from the box's own DHCP server, as it is told to people; not the container with the
    /// hardware address `own`.
    fn leased_to(&self, address: Ipv4Addr, own: &str) -> Option<String>;

    /// What went through the hosts' ends of containers' interfaces, sorted by their names.
    fn traffic(&self) -> Vec<Traffic>;

    /// Watches the addresses inside the network namespace of process `pid`, whose interface is to be in `around`.
    ///
    /// # Errors
    /// When the process has ended.
    fn watch(&self, pid: i32, around: &Neighbourhood) -> Result<AddressWatch>;

    /// What a container at `bridge` finds there.
    fn neighbourhood(&self, bridge: &str) -> Neighbourhood;

    /// The container at `port` can send what is its own and nothing else from now on, if it shall be isolated. The port
    /// need not be there yet. Where the kernel cannot do it, that is logged only. Its bridge keeps its hardware address
    /// from now on.
    ///
    /// # Errors
    /// The kernel can, and refuses.
    fn isolate(&self, port: &Port) -> Result<()>;

    /// The container at port `veth` has stopped.
    fn release(&self, veth: &str);

    /// The guest behind port `veth` says that it has `addresses`, and no others: those that it can have are its own.
    fn claim(&self, veth: &str, addresses: &[IpAddr], around: &Neighbourhood);

    /// The containers that ran before this daemon have all been looked at.
    fn end_adoption(&self);

    /// What is readable when [`Network::put_back`] may have something to do.
    fn monitors(&self) -> Vec<BorrowedFd<'_>>;

    /// Isolates the containers again, if somebody has removed the rules; and keeps them from the box's own addresses and
    /// networks as these are now.
    fn put_back(&self);

    /// Whether containers can be isolated.
    ///
    /// # Errors
    /// Why not, with the remedy.
    fn check_isolation(&self) -> Result<()>;

    /// The networks that a container reaches by its word only: those that the box has an address in.
    fn own_networks(&self) -> Vec<String>;
}

/// Why `address` is none for a container at `bridge`, which has these addresses: it lies in no network of these. On a bridge
/// without any, which only joins others, all may be.
pub fn stray(bridge_has: &[Ipv4Net], bridge: &str, address: Ipv4Addr) -> Option<String> {
    if bridge_has.is_empty() || bridge_has.iter().any(|net| net.contains(address)) {
        return None;
    }
    let networks: Vec<String> = bridge_has.iter().map(Ipv4Net::to_string).collect();
    Some(format!("address {address} is in no network of the bridge {bridge} ({})", networks.join(", ")))
}

/// What there is around a container's interface, by which its word about its own addresses is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbourhood {
    /// The networks of its bridge, as an address and the length of its prefix, and the addresses that its owner gave it.
    pub networks: Vec<(IpAddr, u8)>,
    /// The box's own addresses, which nobody else can have.
    pub own: Vec<IpAddr>,
}

impl Neighbourhood {
    /// Where any address may be.
    pub fn any() -> Neighbourhood {
        Neighbourhood::default()
    }

    /// Also with the static address of a container, whatever its bridge has.
    pub fn with_static(mut self, address: Address) -> Neighbourhood {
        if let Address::Static(net) = address {
            if !self.networks.is_empty() {
                self.networks.push((net.addr.into(), 32));
            }
        }
        self
    }

    /// Whether `address` can be a container's: one of the bridge's networks, and not the box's own. On a bridge without
    /// any network of its own, which only joins others, all addresses can.
    pub fn allows(&self, address: IpAddr) -> bool {
        let any = self.networks.is_empty();
        !self.own.contains(&address) && (any || self.networks.iter().any(|net| is_within(address, *net)))
    }
}

/// Whether `address` lies in the network `(of, prefix)`.
fn is_within(address: IpAddr, (of, prefix): (IpAddr, u8)) -> bool {
    let same = |bits: u32, differing: u128| {
        differing.checked_shr(bits - u32::from(prefix).min(bits)).unwrap_or(0) == 0
    };
    match (address, of) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(32, (one.to_bits() ^ other.to_bits()).into()),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(128, one.to_bits() ^ other.to_bits()),
        _ => false,
    }
}

/// What went through an interface of a container, as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The name of the host's end.
    pub interface: String,
    /// Bytes that came in.
    pub received: u64,
    /// Bytes that went out.
    pub sent: u64,
}

/// The network of the box that this program runs on.
#[derive(Debug, Default)]
pub struct Host {
    isolation: Isolation,
    leases: Leases,
}

impl Host {
    /// One whose DHCP servers keep there whom they gave addresses to.
    pub fn with_leases(leases: Leases) -> Host {
        Host { leases, ..Host::default() }
    }

    /// Returns when the kernel knows all of what was released and claimed so far.
    pub fn settle(&self) {
        self.isolation.settle();
    }
}

impl Network for Host {
    fn check_bridge(&self, bridge: &str) -> Result<()> {
        if bridge::is_there(bridge) {
            return Ok(());
        }
        let exists = Path::new("/sys/class/net").join(bridge).exists();
        let problem = if exists { "is no bridge" } else { "does not exist" };
        Err(Error::new(
            Code::NotFound,
            format_args!(
                "the bridge {bridge} {problem}; name another with `uci set cloudbox.main.bridge=...`, \
                 or make it: LuCI's Network > Interfaces > Devices, or `ip link add {bridge} type bridge`"
            ),
        ))
    }

    fn link(&self, port: Option<&str>, bridge: &str) -> Link {
        match port {
            _ if !bridge::is_there(bridge) => Link::NoBridge,
            Some(port) if bridge::master(port).as_deref() != Some(bridge) => Link::NotJoined,
            _ => Link::Joined,
        }
    }

    fn look_at_bridge(&self, name: &str) -> Bridge {
        Bridge::look(name)
    }

    fn watch_links(&self) -> Result<LinkWatch> {
        LinkWatch::open()
    }

    fn join(&self, port: &Port) -> Result<()> {
        bridge::keep_address(&port.bridge);
        if !self.isolation.has(port) {
            self.isolation.isolate(port)?;
        }
        let joined = if_nametoindex(port.bridge.as_str()).and_then(|to| netlink::set_master(&port.veth, to));
        joined.map_err(|e| {
            let why = errno_text(e);
            let (veth, bridge) = (&port.veth, &port.bridge);
            Error::new(
                Code::Failed,
                format_args!("cannot put the port {veth} into the bridge {bridge}: {why}"),
            )
        })?;
        if port.isolate {
            bridge::guard(&port.bridge, &port.veth);
        }
        Ok(())
    }

    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net> {
        ipv4_addresses(Some(bridge))
    }

    fn own_addresses(&self) -> Vec<Ipv4Addr> {
        ipv4_addresses(None).into_iter().map(|net| net.addr).collect()
    }

    fn who_has(&self, bridge: &str, address: Ipv4Addr) -> Option<Question> {
        Question::ask(bridge, address)
    }

    fn leased_to(&self, address: Ipv4Addr, own: &str) -> Option<String> {
        self.leases.holder(address, own)
    }

    fn traffic(&self) -> Vec<Traffic> {
        // One read for all: the files below /sys/class/net would be four system calls each.
        parse_traffic(&std::fs::read_to_string("/proc/net/dev").unwrap_or_default())
    }

    fn watch(&self, pid: i32, around: &Neighbourhood) -> Result<AddressWatch> {
        AddressWatch::open(pid, around)
    }

    fn neighbourhood(&self, bridge: &str) -> Neighbourhood {
        let index = if_nametoindex(bridge).unwrap_or(0);
        let all = assigned_addresses().unwrap_or_default();
        let networks = all.iter().filter(|found| found.interface == index && !is_link_local(found.address));
        Neighbourhood {
            networks: networks
                .map(|found| (found.address, found.prefix))
                .chain(self.isolation.prefixes())
                .collect(),
            own: all.iter().map(|found| found.address).collect(),
        }
    }

    fn isolate(&self, port: &Port) -> Result<()> {
        bridge::keep_address(&port.bridge);
        self.isolation.isolate(port)
    }

    fn release(&self, veth: &str) {
        self.isolation.release(veth);
    }

    fn claim(&self, veth: &str, addresses: &[IpAddr], around: &Neighbourhood) {
        self.isolation.claims(veth, addresses, around);
    }

    fn end_adoption(&self) {
        self.isolation.end_adoption();
    }

    fn monitors(&self) -> Vec<BorrowedFd<'_>> {
        self.isolation.monitors().collect()
    }

    fn put_back(&self) {
        self.isolation.put_back();
    }

    fn check_isolation(&self) -> Result<()> {
        isolation::check()
    }

    fn own_networks(&self) -> Vec<String> {
        reach::Surroundings::networks()
    }
}

/// Whether an address is its link's only, and is the same on many links.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// IPv4 addresses of interface `only`, or of all.
fn ipv4_addresses(only: Option<&str>) -> Vec<Ipv4Net> {
    let index = only.map(|name| if_nametoindex(name).unwrap_or(0));
    let all = assigned_addresses().unwrap_or_default();
    let of_interest = all.into_iter().filter(|found| index.is_none_or(|index| index == found.interface));
    let ipv4 = |found: Assigned| match found.address {
        IpAddr::V4(addr) => Some(Ipv4Net { addr, prefix: found.prefix }),
        IpAddr::V6(_) => None,
    };
    of_interest.filter_map(ipv4).collect()
}

/// Removes interface `name` of the box: the host's end of a veth pair whose start was cut short. None is the usual case.
pub fn remove_interface(name: &str) {
    if !Path::new("/sys/class/net").join(name).exists() {
        return;
    }
    match netlink::remove_interface(name) {
        Ok(()) | Err(Errno::ENODEV) => info!("removed the interface {name} that a start had left"),
        Err(e) => warn!("cannot remove the interface {name}: {}", errno_text(e)),
    }
}

/// What a `/proc/net/dev` says of our interfaces. What the host's end receives, the container has sent.
fn parse_traffic(text: &str) -> Vec<Traffic> {
    let line = |line: &str| {
        let (interface, counts) =
            line.trim_start().split_once(':').filter(|(name, _)| address::is_veth(name))?;
        let mut counts = counts.split_ascii_whitespace().map(str::parse);
        let sent = counts.next()?.ok()?;
        // Bytes, packets and six kinds of trouble, then the same the other way.
        let received = counts.nth(7)?.ok()?;
        Some(Traffic { interface: interface.to_string(), received, sent })
    };
    let mut traffic: Vec<Traffic> = text.lines().filter_map(line).collect();
    traffic.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
    traffic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_as_the_container_sees_it() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  123 1 0 0 0 0 0 0  123 1 0 0 0 0 0 0
cb00000000ff: 98765432109 7 0 0 0 0 0 0   42 3 0 0 0 0 0 0
cb0000000001:10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
cb0000000002: 10 1 0 0 0
";
        let of = |interface: &str, received, sent| Traffic { interface: interface.into(), received, sent };
        assert_eq!(parse_traffic(text), [of("cb0000000001", 20, 10), of("cb00000000ff", 42, 98_765_432_109)]);
    }
}
