//! The table of nf_tables with all rules about containers' ports: what its parts share.

use super::nft::{self, Batch, Limit, Rule, ETHERNET, NAME, NETWORK};

/// What the table is called.
pub const TABLE: &str = "cloudbox";
/// IPv6 prefixes of 64 bits, as routers announced them.
pub const PREFIXES: &str = "prefixes6";
/// IPv6 addresses that routers announced themselves from. They are nobody else's, whatever a guest took first.
pub const ROUTERS: &str = "routers6";
/// Most keys of a set.
pub const KEYS_MAX: u32 = 65_536;
/// How long what was learned holds: half a lease is its renewal, which teaches it anew. 1 day.
pub const LEARNED: u64 = 86_400_000;
/// Where in an Ethernet frame the sender's address is.
pub const SENDER: (u32, u32) = (ETHERNET, 6);
/// Protocols by number.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// What stands between the parts of a limit's name.
const DASH: char = '-';

/// A key, and the set or the map that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The set's name.
    pub set: &'static str,
    /// Its bytes, as many as keys of that set have.
    pub bytes: Vec<u8>,
    /// In a map: the name of the limit that it leads to, and how much that is.
    limit: Option<(String, Limit)>,
}

impl Key {
    /// A key of a set.
    pub fn of(set: &'static str, bytes: Vec<u8>) -> Key {
        Key { set, bytes, limit: None }
    }

    /// A port in a map, with a limit that no other port shares.
    pub fn limited(map: &'static str, veth: &str, limit: Limit) -> Key {
        let (Limit::Bytes(most) | Limit::Frames(most)) = limit;
        let name = format!("{veth}{DASH}{map}{DASH}{most}");
        Key { set: map, bytes: padded(veth), limit: Some((name, limit)) }
    }

    /// The port as it is in the map, if it is. `limit` says what kind of them are there.
    pub fn left_in(map: &'static str, veth: &str, limit: fn(u64) -> Limit) -> Option<Key> {
        let name = nft::object_of(TABLE, map, &padded(veth)).ok()??;
        let most = name.rsplit(DASH).next()?.parse().ok()?;
        Some(Key::limited(map, veth, limit(most)))
    }

    /// Has `batch` put it into its set or map.
    pub fn put(&self, batch: &mut Batch) {
        match &self.limit {
            None => batch.add(self.set, &self.bytes),
            Some((name, limit)) => batch.add_limit(self.set, &self.bytes, name, *limit),
        }
    }

    /// Takes it out. It must be there.
    pub fn take(&self, batch: &mut Batch) {
        batch.take(self.set, &self.bytes);
        if let Some((name, _)) = &self.limit {
            batch.remove_limit(name);
        }
    }
}

/// A port as a key.
pub fn padded(veth: &str) -> Vec<u8> {
    let mut name = veth.as_bytes().to_vec();
    name.resize(NAME, 0);
    name
}

/// Frames of this kind.
pub fn ether(kind: u16) -> Rule {
    Rule::new().at(ETHERNET, 12, &kind.to_be_bytes())
}

/// Datagrams of UDP over IPv4.
pub fn udp4() -> Rule {
    ether(0x0800).at(NETWORK, 9, &[UDP])
}

/// A port of a protocol, as it is sent.
pub fn port(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}
