//! Addresses of containers: as configured, and the hardware address derived from names.

use crate::error::{quoted, Code, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 address with its network's prefix length, `10.139.40.10/27`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Net {
    /// The address.
    pub addr: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
}

impl Ipv4Net {
    /// Reads `a.b.c.d/n`.
    pub fn parse(text: &str) -> Option<Ipv4Net> {
        let (addr, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= 32).then_some(Ipv4Net { addr: addr.parse().ok()?, prefix })
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The prefix as a mask, `255.255.255.224`.
    pub fn netmask(self) -> Ipv4Addr {
        self.mask().into()
    }

    /// Whether `addr` lies in the network.
    pub fn contains(self, addr: Ipv4Addr) -> bool {
        u32::from(self.addr) & self.mask() == u32::from(addr) & self.mask()
    }

    /// Whether the address can be a host's: neither the network's own address nor its broadcast address, and no
    /// multicast, loopback or unspecified one.
    fn is_host(self) -> bool {
        let addr = u32::from(self.addr);
        let edge = self.prefix < 31 && (addr & !self.mask() == 0 || addr | self.mask() == u32::MAX);
        !edge && !self.addr.is_multicast() && !self.addr.is_loopback() && !self.addr.is_unspecified()
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// How a container gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// The guest asks by DHCP.
    #[default]
    Dhcp,
    /// LXC sets it before the guest starts.
    Static(Ipv4Net),
}

impl Address {
    /// Reads `dhcp` or `10.139.40.10/27`.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`].
    pub fn parse(text: &str) -> Result<Address> {
        if text == "dhcp" {
            return Ok(Address::Dhcp);
        }
        let wrong = |why: &str| {
            let shown: String = text.chars().take(60).collect();
            Error::new(
                Code::InvalidArgument,
                format_args!("address {shown}: {why}; write 'dhcp', or an IPv4 address with its prefix such as 10.139.40.10/27", shown = quoted(&shown)),
            )
            .about("address")
        };
        match Ipv4Net::parse(text) {
            None => Err(wrong("it is no address")),
            Some(net) if !net.is_host() => Err(wrong("a host cannot have it")),
            Some(net) => Ok(Address::Static(net)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Dhcp => f.write_str("dhcp"),
            Address::Static(net) => net.fmt(f),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Address> {
        Address::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// Reads the gateway of a container with static address `net`.
///
/// # Errors
/// [`Code::InvalidArgument`] when it is no address or lies outside the network.
pub fn parse_gateway(text: &str, address: Address) -> Result<Ipv4Addr> {
    let shown: String = text.chars().take(60).collect();
    let wrong = |why: String| {
        Error::new(Code::InvalidArgument, format_args!("gateway {shown}: {why}", shown = quoted(&shown)))
            .about("gateway")
    };
    let gateway: Ipv4Addr =
        text.parse().map_err(|_| wrong("it is no IPv4 address; write one such as 10.139.40.1".into()))?;
    match address {
        Address::Dhcp => Err(wrong("with address 'dhcp' the gateway comes from DHCP; leave it out".into())),
        Address::Static(net) if net.addr == gateway => Err(wrong("it is the container's own address".into())),
        Address::Static(net) if !net.contains(gateway) => {
            Err(wrong(format!("it is not in the container's network {net}")))
        }
        Address::Static(_) => Ok(gateway),
    }
}

/// Something derived from the box and the container's name: the same for ever, different on every box.
fn derived(box_id: &str, name: &str, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [purpose, box_id, name] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

/// The hardware address of container `name`'s interface. Locally administered, unicast; constant, since a new one
/// under an old IP address leaves neighbours with a stale ARP entry for seconds.
pub fn mac(box_id: &str, name: &str) -> String {
    let h = derived(box_id, name, "mac");
    format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", h[0], h[1], h[2], h[3], h[4])
}

/// How the host's end of each container's veth pair is called: this, and ten hexadecimal digits.
pub const PORT_NAME: &str = "cb";

/// The name of the host's end of container `name`'s veth pair: at most 15 bytes, the kernel's limit.
pub fn veth(box_id: &str, name: &str) -> String {
    let h = derived(box_id, name, "veth");
    format!("{PORT_NAME}{:02x}{:02x}{:02x}{:02x}{:02x}", h[0], h[1], h[2], h[3], h[4])
}

/// The six bytes of a hardware address such as [`mac`] writes it.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Whether an interface is called as [`veth`] calls them.
pub fn is_veth(interface: &str) -> bool {
    interface.len() == PORT_NAME.len() + 10 && interface.starts_with(PORT_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["dhcp", "10.139.40.10/27", "192.168.1.1/24", "10.0.0.0/31", "10.0.0.1/32"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "DHCP",
            "10.0.0.1",
            "10.0.0.1/33",
            "10.0.0/24",
            "300.0.0.1/24",
            "10.0.0.0/24",
            "10.0.0.255/24",
            "127.0.0.1/8",
            "224.0.0.1/4",
            "0.0.0.0/0",
            "10.0.0.1/24\n",
            "::1/64",
            "x",
        ] {
            assert_eq!(Address::parse(bad).unwrap_err().code, Code::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn gateways() {
        let address = Address::parse("10.139.40.10/27").unwrap();
        assert_eq!(parse_gateway("10.139.40.1", address).unwrap(), Ipv4Addr::new(10, 139, 40, 1));
        for (text, address) in [
            ("10.139.40.10", address),
            ("10.139.41.1", address),
            ("x", address),
            ("10.139.40.1", Address::Dhcp),
        ] {
            assert!(parse_gateway(text, address).is_err(), "{text}");
        }
    }

    #[test]
    fn derived_names_are_constant_and_differ() {
        let address = mac("box", "web");
        assert_eq!(address, mac("box", "web"));
        assert_ne!(address, mac("other", "web"));
        assert_ne!(address, mac("box", "web2"));
        assert_ne!(mac("bo", "xweb"), mac("box", "web"));
        assert!(address.starts_with("02:") && address.len() == 17);
        assert!(veth("box", &"a".repeat(63)).len() <= 15 && is_veth(&veth("box", "web")) && !is_veth("eth0"));
    }
}
