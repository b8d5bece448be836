//! The box's network: bridges, addresses that are taken, and the addresses that containers get.

mod netlink;

pub use netlink::{remove_interface, AddressWatch, Change};

use crate::error::{Code, Error, Result};
use crate::model::address::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use std::net::Ipv4Addr;
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

    /// Watches the addresses inside the network namespace of process `pid`.
    ///
    /// # Errors
    /// When the process has ended.
    fn watch(&self, pid: i32) -> Result<AddressWatch>;
}

/// The real one.
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
            format!(
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

    fn watch(&self, pid: i32) -> Result<AddressWatch> {
        AddressWatch::open(pid)
    }
}

/// IPv4 addresses of interface `only`, or of all.
fn ipv4_addresses(only: Option<&str>) -> Vec<Ipv4Net> {
    let Ok(addresses) = getifaddrs() else { return Vec::new() };
    let of_interest = addresses.filter(|a| only.is_none_or(|name| a.interface_name == name));
    let read = |a: nix::ifaddrs::InterfaceAddress| {
        let addr = a.address?.as_sockaddr_in()?.ip();
        let mask = a.netmask?.as_sockaddr_in()?.ip();
        Some(Ipv4Net { addr, prefix: u32::from(mask).count_ones() as u8 })
    };
    of_interest.filter_map(read).collect()
}
