//! How much a container may send and get: `option rate` and `option connections`. Rules in the table of
//! [`super::table`].
//!
//! The kernel counts by nf_tables, which the table needs anyway: it has limits in its core, also on OpenWrt, while a
//! queueing discipline would be another package (kmod-sched-core), and would not survive a bridge or veth made anew. What
//! is more than the rate is dropped, and who sends by TCP slows down.
//!
//! A connection is what the box, should it be the router, would have to remember: a flow of datagrams is one, too. No
//! connection is tracked for that: a flow is known for [`KNOWN`], and is counted again after that.

use super::nft::{Batch, Limit, Rule, Through, Verdict, NAME, NETWORK, TRANSPORT};
use super::table::{ether, padded, Key, ICMP, ICMPV6, KEYS_MAX};

/// Ports with a limit of connections.
const COUNTED: &str = "counted";
/// The limits of connections.
const CONNECTIONS: &str = "connections";
/// Ports with a limit of bytes: of what their containers send, and of what they get.
const SENT: &str = "sent";
const GOT: &str = "got";
/// The flows of counted ports, for as long as they are known.
const FLOWS: [&str; 2] = ["flows4", "flows6"];
/// How long a flow is known. Milliseconds.
const KNOWN: u64 = 20_000;
/// Most flows of all: enough for twelve containers that make as many as any may.
const FLOWS_MAX: u32 = 1 << 18;

/// How much a container may send and get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Bytes in a second, each way.
    pub bytes: Option<u64>,
    /// New connections in a second.
    pub connections: Option<u32>,
}

/// The keys of a container's port.
pub fn keys(rate: Rate, veth: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    if let Some(bytes) = rate.bytes {
        keys.extend([SENT, GOT].map(|map| Key::limited(map, veth, Limit::Bytes(bytes))));
    }
    if let Some(connections) = rate.connections {
        keys.push(Key::of(COUNTED, padded(veth)));
        keys.push(Key::limited(CONNECTIONS, veth, Limit::Frames(connections.into())));
    }
    keys
}

/// The limits that a port has.
pub fn left(veth: &str) -> impl Iterator<Item = Key> + '_ {
    let of_bytes = [SENT, GOT].into_iter().filter_map(|map| Key::left_in(map, veth, Limit::Bytes));
    of_bytes.chain(Key::left_in(CONNECTIONS, veth, Limit::Frames))
}

/// The set that a port may be in for these.
pub fn set() -> &'static str {
    COUNTED
}

/// Makes the sets and the chains.
pub fn make_rules(batch: &mut Batch) {
    let (name, protocol, ipv4, ipv6, service) = (41, 12, 7, 8, 13);
    batch.make_set(COUNTED, &[name], NAME, 0, KEYS_MAX);
    for map in [SENT, GOT, CONNECTIONS] {
        batch.make_map_of_limits(map, name, KEYS_MAX);
    }
    let learned = libc::NFT_SET_EVAL | libc::NFT_SET_TIMEOUT;
    for (set, (kind, bytes)) in FLOWS.into_iter().zip([(ipv4, 4), (ipv6, 16)]) {
        let kinds = [name, protocol, kind, service, service];
        batch.make_set(set, &kinds, NAME + 4 + bytes + 8, learned, FLOWS_MAX);
    }
    for chain in ["flow", "flow4", "flow6"] {
        batch.make_chain(chain);
    }
    use Verdict::{Drop, Goto, Return};
    let mut rule = |chain: &str, rule: Rule| batch.add_rule(chain, &rule);
    // Behind the first fragment there are no ports.
    rule("flow4", Rule::new().bits_not((NETWORK, 6), &[0x1f, 0xff], &[0, 0]).then(Return));
    rule(
        "flow6",
        Rule::new().at(NETWORK, 6, &[44]).bits_not((NETWORK, 42), &[0xff, 0xf8], &[0, 0]).then(Return),
    );
    rule("flow", ether(0x0800).then(Goto("flow4")));
    rule("flow", ether(0x86dd).then(Goto("flow6")));
    // The protocol, where to, and the ports. Of an echo its number: its ports would be its sum.
    let parts = |protocol: u32, (to, length): (u32, u32), ports: u32| {
        let ports = [(TRANSPORT, ports, 2), (TRANSPORT, if ports == 0 { 2 } else { ports }, 2)];
        [[(NETWORK, protocol, 1), (NETWORK, to, length)], ports].concat()
    };
    for (chain, set, at, to, (icmp, echo)) in
        [("flow4", FLOWS[0], 9, (16, 4), (ICMP, 8)), ("flow6", FLOWS[1], 6, (24, 16), (ICMPV6, 128))]
    {
        let echoes = Rule::new().at(NETWORK, at, &[icmp]).at(TRANSPORT, 0, &[echo]);
        let others = Rule::new().not_at(NETWORK, at, &[icmp]);
        for (which, ports) in [(echoes, 4), (others, 0)] {
            let flow = parts(at, to, ports);
            rule(chain, which.clone().flow_found_in(set, &flow).then(Return));
            rule(chain, which.clone().over(CONNECTIONS, Through::In).then(Drop));
            rule(chain, which.learn_flow(set, Through::In, &flow, KNOWN));
        }
    }
}

/// Adds to `chain`, where frames come in by a port: what is too much of a container's is dropped.
pub fn limit_sent(batch: &mut Batch, chain: &str) {
    batch.add_rule(chain, &Rule::new().over(SENT, Through::In).then(Verdict::Drop));
}

/// The same with what opens connections.
pub fn limit_connections(batch: &mut Batch, chain: &str) {
    batch.add_rule(chain, &Rule::new().came_in_by(COUNTED).then(Verdict::Jump("flow")));
}

/// Adds to `chain`, where frames leave by a port: what is too much for a container is dropped.
pub fn limit_got(batch: &mut Batch, chain: &str) {
    batch.add_rule(chain, &Rule::new().over(GOT, Through::Out).then(Verdict::Drop));
}
