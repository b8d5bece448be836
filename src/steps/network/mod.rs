//! The box's network: bridges, addresses that are taken, and the addresses that containers get.

mod address_watch;

pub use address_watch::AddressWatch;

use crate::error::{errno_text, Code, Error, Result};
use crate::model::address::{self, Ipv4Net};
use crate::netlink::{self, assigned_addresses, Assigned};
use log::{info, warn};
use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The box's network.
pub trait Network: Send + Sync {
    /// Checks that `bridge` is there and is a bridge.
    ///
    /// # Errors
    /// [`Code::NotFound`] with what to do.
    fn check_bridge(&self, bridge: &str) -> Result<()>;

    /// The IPv4 addresses of `bridge`.
    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net>;

    /// All IPv4 addresses of the box itself.
    fn own_addresses(&self) -> Vec<Ipv4Addr>;

    /// What went through the hosts' ends of containers' interfaces, sorted by their names.
    fn traffic(&self) -> Vec<Traffic>;

    /// Watches the addresses inside the network namespace of process `pid`.
    ///
    /// # Errors
    /// When the process has ended.
    fn watch(&self, pid: i32) -> Result<AddressWatch>;
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
pub struct Host;

impl Network for Host {
    fn check_bridge(&self, bridge: &str) -> Result<()> {
        let interface = Path::new("/sys/class/net").join(bridge);
        if interface.join("bridge").is_dir() {
            return Ok(());
        }
        let problem = if interface.exists() { "is no bridge" } else { "does not exist" };
        Err(Error::new(
            Code::NotFound,
            format_args!(
                "the bridge {bridge} {problem}; name another with `uci set cloudbox.main.bridge=...`, \
                 or make it: LuCI's Network > Interfaces > Devices, or `ip link add {bridge} type bridge`"
            ),
        ))
    }

    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net> {
        ipv4_addresses(Some(bridge))
    }

    fn own_addresses(&self) -> Vec<Ipv4Addr> {
        ipv4_addresses(None).into_iter().map(|net| net.addr).collect()
    }

    fn traffic(&self) -> Vec<Traffic> {
        // One read for all: the files below /sys/class/net would be four system calls each.
        parse_traffic(&std::fs::read_to_string("/proc/net/dev").unwrap_or_default())
    }

    fn watch(&self, pid: i32) -> Result<AddressWatch> {
        AddressWatch::open(pid)
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
        Ok(()) => info!("removed the interface {name} that a start had left"),
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
