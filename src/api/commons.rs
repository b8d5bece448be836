//! What the process of the commons is told of the configuration, whose file it cannot read.

use crate::model::commons::NodeState;
use serde::Serialize;

/// `cloudbox.config commons`
#[derive(Debug, Serialize)]
pub struct CommonsReply {
    /// Off: the process need not run.
    pub enabled: bool,
    /// The network of the community.
    pub network: String,
    /// Where in the network the box is.
    pub zone: String,
    /// The bridge that containers of others join.
    pub bridge: String,
    /// `production`, `safe`, `failure`
    pub state: NodeState,
    /// How long what a peer may no longer have goes on, in seconds.
    pub notice: u32,
    /// The offer says at which hours the box is on.
    pub show_hours: bool,
    /// The offer says whom the box hosts.
    pub show_accepts: bool,
    /// The kind of processor, as `uname -m` calls it.
    pub arch: String,
    /// What the box could still give away.
    pub room: Room,
    /// With whom to speak.
    pub brokers: Vec<BrokerReply>,
    /// Whom the box hosts.
    pub peers: Vec<PeerReply>,
    /// Keys of those whom it does not, `RWQ…`.
    pub denied: Vec<String>,
}

/// What the box could still give away, in bytes.
#[derive(Debug, Serialize)]
pub struct Room {
    /// Memory.
    pub memory: u64,
    /// Disk.
    pub disk: u64,
}

/// A broker.
#[derive(Debug, Serialize)]
pub struct BrokerReply {
    /// Its section's name.
    pub name: String,
    /// Its address or host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom to log in; empty: without.
    pub user: String,
    /// The password.
    pub password: Option<Password>,
    /// Why the password cannot be had.
    pub error: Option<String>,
}

/// A password: it is sent, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A member whom the box hosts.
#[derive(Debug, Serialize)]
pub struct PeerReply {
    /// Its section's name.
    pub name: String,
    /// The id of its key.
    pub id: String,
    /// Its key, `RWQ…`.
    pub key: String,
    /// How the owner reaches it.
    pub contact: String,
    /// What it may have; not there when the section has a wrong value.
    pub grants: Option<GrantsReply>,
    /// That wrong value: the peer gets nothing new until it is mended, and keeps what it has.
    pub error: Option<String>,
    /// What it has.
    pub held: HeldReply,
}

/// What a peer may have.
#[derive(Debug, Serialize)]
pub struct GrantsReply {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
    /// Processors, `0.5`.
    pub cpus: String,
    /// Containers.
    pub containers: u32,
    /// Servers whose images it may have, or `any`.
    pub images: Vec<String>,
    /// It may vouch for others.
    pub delegate: bool,
    /// How much of all this each of those may have, in percent.
    pub delegate_share: u32,
    /// Its services may be announced.
    pub publish: bool,
}

/// What a peer has, with all whom it vouches for. Memory, processors and containers count of what runs or starts with the
/// box, disk of all there is.
#[derive(Debug, Serialize)]
pub struct HeldReply {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
    /// Processors, `0.5`; `0` is none.
    pub cpus: String,
    /// Containers.
    pub containers: u64,
}
