//! What a container may send: rules of nf_tables, of the family bridge, in a table of our own. Where frames come in by a
//! container's port they are looked at before the bridge learns from them, passes them on, or hands them to the box.
//!
//! The rules are made once; a container is a few keys in their sets, which stand before its port is there and go when it
//! has stopped. A port of a container's name without keys passes nothing. The rules know a port by its name, so that neither a guest's reboot nor a bridge made anew takes them away.
//!
//! Which addresses are a container's own, nobody asks its guest:
//!
//! - Its **hardware address** is ours to give.
//! - **IPv4**: the static address of its section. Or what a DHCP server has offered to its hardware address, in a frame
//!   that came in by a port that is not watched, or from the box itself: the kernel reads it as it passes
//!   ([`LEASED`]). So a guest has its address with no delay, and while no daemon runs. What it says of its interface is a
//!   hint only, upon which the kernel is asked whether it was offered ([`Isolation::claims`]); what was is kept, so
//!   that it can be put back. Once only a guest's word counts: when a daemon finds containers that run and no table, as
//!   after an upgrade.
//! - **IPv6**: its link-local address of the form EUI-64; and, since an address is whose takes it first, what it says it
//!   has, if that is link-local, of its bridge's networks, or of a prefix that a router announced by another port
//!   ([`PREFIXES`]); if nobody else has it, and not the box; and 16 at most.
//!
//! Frames for many machines are let through only where a network does not work without: ARP, DHCP, neighbour discovery,
//! multicast reports, mDNS.

use super::bridge;
use super::nft::{self, Batch, Often, Rule, Verdict, NAME, NETWORK, TRANSPORT};
use super::rate::{self, Rate};
use super::reach::{self, Surroundings};
use super::table::{
    ether, padded, port, udp4, Key, ICMPV6, KEYS_MAX, LEARNED, PREFIXES, ROUTERS, SENDER, TABLE, TCP, UDP,
};
use super::Neighbourhood;
use crate::error::{errno_text, Code, Error, Result};
use crate::model::address::{parse_mac, Address, PORT_NAME};
use crate::model::size::Bytes;
use crate::model::spec::Reach;
use crate::netlink;
use crate::steps::storage::Record;
use litemap::LiteMap;
use log::{info, warn};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All ports of containers. One that has a port's name and is not here is nobody's, and passes nothing.
const PORTS: &str = "ports";
/// Ports that are watched.
const GUESTS: &str = "guests";
/// A port and its hardware address.
const MACS: &str = "macs";
/// A hardware address and an IPv4 address of its own.
const OWN4: &str = "own4";
/// The same, as DHCP servers gave them.
const LEASED: &str = "leased4";
/// A hardware address and an IPv6 address of its own.
const OWN6: &str = "own6";
/// The same once more, kept while a container is stopped: an address that it gets again is not counted as a new one.
const HAD: &str = "had4";
/// How many requests of DHCP came in by each port.
const ASKED: &str = "requests4";
/// How many new addresses each hardware address was given.
const GIVEN_ANEW: &str = "given4";
/// Hardware addresses that were given too many: they may not ask for [`PAUSE`].
const GREEDY: &str = "greedy4";
/// How many reports of IGMP and MLD came in by each port, and how many of those that are about several groups.
const REPORTED: &str = "reported";
const LISTED: &str = "listed";
/// A client asks twice for an address, and a few times more where nobody answers.
const ASKING: Often = Often { at_once: 10, every: 5 };
/// New addresses of one hardware address. Of a DHCP server each is held for half a day, whoever uses it: by an
/// identifier of its own in each request (option 61), whose place in a message nf_tables cannot find, a guest would get
/// all that the server has.
const NEW_ADDRESSES: Often = Often { at_once: 6, every: 3600 };
/// How long who was given too many may not ask. Milliseconds: 1 hour, less than half of the usual leases.
const PAUSE: u64 = 3_600_000;
/// Reports: a bridge knows 4096 groups and stops telling them apart for good when there are more; it forgets one after
/// 260 seconds. With these some 450 are one container's.
const REPORTS: Often = Often { at_once: 60, every: 2 };
const LISTS: Often = Often { at_once: 8, every: 30 };
/// Most addresses of a container of one family.
const ADDRESSES_MAX: usize = 16;
/// Where in a DHCP message the client's hardware address is, and the address it is given, behind the header of UDP.
const CLIENT: (u32, u32) = (TRANSPORT, 8 + 28);
const GIVEN: (u32, u32) = (TRANSPORT, 8 + 16);
/// Protocols that go from one machine to one: GRE, ESP, SCTP, UDP-Lite.
const OTHERS: [u8; 4] = [47, 50, 132, 136];

/// The host's end of a container's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// What it is called on the host: `cb…`.
    pub veth: String,
    /// The container's hardware address, `02:…`.
    pub mac: String,
    /// The container's static address.
    pub address: Option<Ipv4Addr>,
    /// The bridge it joins.
    pub bridge: String,
    /// Whether it is watched: `option isolate`.
    pub isolate: bool,
    /// Where it may go.
    pub reach: Reach,
    /// The container's default route, if its section says one.
    pub gateway: Option<Ipv4Addr>,
    /// How much it may send and get.
    pub rate: Rate,
}

impl Port {
    /// The port of the container with this record.
    pub fn of(record: &Record) -> Port {
        let address = match record.spec.address {
            Address::Static(net) => Some(net.addr),
            Address::Dhcp => None,
        };
        Port {
            veth: record.veth.clone(),
            mac: record.mac.clone(),
            address,
            bridge: record.spec.bridge.clone(),
            isolate: record.spec.isolate,
            reach: record.spec.reach(),
            gateway: record.spec.gateway,
            rate: Rate { bytes: record.spec.rate.map(Bytes::get), connections: record.spec.connections },
        }
    }
}

#[derive(Debug)]
struct Guest {
    mac: [u8; 6],
    bridge: String,
    isolate: bool,
    reach: Reach,
    gateway: Option<Ipv4Addr>,
    rate: Rate,
    /// What it has for sure: its static address, its link-local one.
    given: Vec<IpAddr>,
    /// Addresses it was seen to take besides.
    taken: Vec<IpAddr>,
}

impl Guest {
    fn of(port: &Port) -> Option<Guest> {
        let mac = parse_mac(&port.mac)?;
        let mut given = vec![IpAddr::from(link_local(mac))];
        given.extend(port.address.map(IpAddr::from));
        let Port { bridge, isolate, reach, gateway, rate, .. } = port.clone();
        Some(Guest { mac, bridge, isolate, reach, gateway, rate, given, taken: Vec::new() })
    }

    fn has(&self, address: &IpAddr) -> bool {
        self.given.contains(address) || self.taken.contains(address)
    }

    /// What stands in nf_tables' sets for it.
    fn keys(&self, veth: &str) -> Vec<Key> {
        let mut keys = vec![Key::of(PORTS, padded(veth)), Key::of(MACS, port_key(veth, self.mac))];
        if self.isolate {
            keys.push(Key::of(GUESTS, padded(veth)));
        }
        let own = self.given.iter().chain(&self.taken);
        keys.extend(own.map(|address| self.key_of(address)));
        keys.extend(reach::keys(self.reach, veth));
        keys.extend(rate::keys(self.rate, veth));
        keys
    }

    /// The key of an address of its own.
    fn key_of(&self, address: &IpAddr) -> Key {
        Key::of(set_of(address), address_key(self.mac, address))
    }
}

/// A change of the sets.
#[derive(Debug)]
enum Change {
    /// The key shall be in its set.
    Put(Key),
    /// The key shall not be in its set.
    Take(Key),
    /// The box's own addresses and networks are these now.
    Around(Surroundings),
    /// What DHCP servers gave to this hardware address is free again.
    Forget([u8; 6]),
}

/// What is to be changed, in this order. After each transaction the kernel waits until no processor uses the old sets any
/// more. This takes tens of milliseconds, and the thread that decides shall answer meanwhile. So a thread does it that
/// is there as long as there is something to change.
#[derive(Debug, Default)]
struct Changes {
    guests: Mutex<LiteMap<String, Guest>>,
    /// What the table says of the box's own addresses and networks; None: as long as all containers may go everywhere,
    /// nobody needs it.
    around: Mutex<Option<Surroundings>>,
    waiting: Mutex<Vec<Change>>,
    /// Held by who changes the sets.
    at_work: Mutex<()>,
}

/// Most changes of a transaction: their acknowledgements must fit a socket's buffer.
const AT_ONCE: usize = 128;
/// The changing thread's stack. Bytes.
const STACK: usize = 256 * 1024;

impl Changes {
    fn later(self: &Arc<Changes>, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = locked(&self.waiting);
        let idle = waiting.is_empty();
        waiting.extend(changes);
        if !idle || waiting.is_empty() {
            return;
        }
        drop(waiting);
        let changes = Arc::clone(self);
        if std::thread::Builder::new().stack_size(STACK).spawn(move || changes.finish()).is_err() {
            self.finish();
        }
    }

    /// Makes all changes that wait.
    fn finish(&self) {
        let _at_work = locked(&self.at_work);
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        let leased = if waiting.iter().any(|change| matches!(change, Change::Forget(_))) {
            nft::keys(TABLE, LEASED).unwrap_or_default()
        } else {
            Vec::new()
        };
        let simple: Vec<Change> = waiting
            .into_iter()
            .flat_map(|change| match change {
                Change::Forget(mac) => {
                    let its = leased.iter().filter(|key| key.starts_with(&mac));
                    its.map(|key| Change::Take(Key::of(LEASED, key.clone()))).collect()
                }
                simple => vec![simple],
            })
            .collect();
        for some in simple.chunks(AT_ONCE) {
            if commit(some).is_ok() {
                continue;
            }
            // One key may never have been there, and then nothing is changed; or the whole table is gone.
            for change in some {
                let refused = commit(std::slice::from_ref(change)).err();
                let what = match change {
                    Change::Put(key) => key.set,
                    Change::Around(_) => "its surroundings",
                    Change::Take(_) | Change::Forget(_) => continue,
                };
                let refused = match refused {
                    Some(Errno::ENOENT) => self.load().err(),
                    other => other,
                };
                if let Some(errno) = refused.filter(|errno| !is_lacking(*errno)) {
                    warn!("cannot tell what a container may send ({what}): nf_tables: {}", errno_text(errno));
                }
            }
        }
    }

    /// Makes the table, with all guests.
    fn load(&self) -> nix::Result<()> {
        let mut batch = Batch::new(TABLE);
        make_rules(&mut batch);
        if let Some(around) = &*locked(&self.around) {
            around.write(&mut batch);
        }
        for (veth, guest) in &*locked(&self.guests) {
            guest.keys(veth).iter().for_each(|key| key.put(&mut batch));
        }
        batch.commit()
    }

    /// The box's own addresses and networks, if they are others than those in the table.
    fn look_around(&self) -> Option<Surroundings> {
        let guests = locked(&self.guests);
        if guests.values().all(|guest| guest.reach == Reach::All) {
            return None;
        }
        let now = Surroundings::look(guests.values().filter_map(|guest| guest.gateway));
        drop(guests);
        let mut known = locked(&self.around);
        if known.as_ref() == Some(&now) {
            return None;
        }
        *known = Some(now.clone());
        Some(now)
    }
}

fn commit(changes: &[Change]) -> nix::Result<()> {
    let mut batch = Batch::new(TABLE);
    for change in changes {
        match change {
            Change::Put(key) => key.put(&mut batch),
            Change::Take(key) => key.take(&mut batch),
            Change::Around(around) => around.write(&mut batch),
            Change::Forget(_) => {}
        }
    }
    batch.commit()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The containers' ports, and what they may send.
#[derive(Debug)]
pub struct Isolation {
    changes: Arc<Changes>,
    /// Hears when the table is removed; None without nf_tables.
    tables: Option<OwnedFd>,
    /// Hears when the box gets or loses an address.
    addresses: Option<OwnedFd>,
    /// There was no table when this began: containers that run already keep what they have, until it is settled.
    from_nothing: bool,
    settled: AtomicBool,
}

impl Default for Isolation {
    fn default() -> Isolation {
        remove_older_table();
        let from_nothing = matches!(nft::has_table(TABLE), Ok(false));
        let (changes, settled) = (Arc::default(), AtomicBool::new(false));
        let (tables, addresses) =
            (nft::monitor().ok(), netlink::listen(netlink::IPV4_ADDRESSES | netlink::IPV6_ADDRESSES).ok());
        Isolation { changes, tables, addresses, from_nothing, settled }
    }
}

/// With the last container of the last cloudbox the table goes. Not before that: to remove it takes the kernel long.
impl Drop for Isolation {
    fn drop(&mut self) {
        self.changes.finish();
        let unused = || nft::keys(TABLE, MACS).is_ok_and(|keys| keys.is_empty());
        if self.settled.load(Ordering::Relaxed) && self.guests().is_empty() && unused() {
            remove_table();
        }
    }
}

fn remove_table() {
    let mut batch = Batch::new(TABLE);
    batch.remove_table();
    let _ = batch.commit();
}

/// A table that an older version of this program has made knows less: it goes, and the containers that run keep what they
/// have.
fn remove_older_table() {
    let has_newest_set = nft::keys(TABLE, LISTED) != Err(Errno::ENOENT);
    if nft::has_table(TABLE) == Ok(true) && !has_newest_set {
        remove_table();
    }
}

/// What an earlier daemon may have said of a port besides its addresses.
fn left_by_an_earlier_daemon(veth: &str) -> Vec<Key> {
    let sets = [GUESTS, rate::set()].into_iter().chain(reach::sets());
    let keys = sets.map(|set| Key::of(set, padded(veth)));
    keys.filter(|key| nft::has_key(TABLE, key.set, &key.bytes) == Ok(true)).chain(rate::left(veth)).collect()
}

impl Isolation {
    fn guests(&self) -> MutexGuard<'_, LiteMap<String, Guest>> {
        locked(&self.changes.guests)
    }

    /// The container at `port` can send what is its own and nothing else, from now on; or everything, if it says so.
    /// Where the kernel cannot do that, it is logged only.
    ///
    /// # Errors
    /// The kernel can, and refuses.
    pub fn isolate(&self, port: &Port) -> Result<()> {
        let Some(mut guest) = Guest::of(port) else { return Ok(()) };
        let mut guests = self.guests();
        let before = guests.remove(&port.veth);
        guest.taken = before
            .as_ref()
            .filter(|before| before.mac == guest.mac)
            .map_or(Vec::new(), |before| before.taken.clone());
        let keys = guest.keys(&port.veth);
        guests.insert(port.veth.clone(), guest);
        drop(guests);
        let had = match before {
            Some(before) => before.keys(&port.veth),
            None if self.settled.load(Ordering::Relaxed) => Vec::new(),
            None => left_by_an_earlier_daemon(&port.veth),
        };
        let gone = had.into_iter().filter(|had| !keys.contains(had));
        self.changes.later(gone.map(Change::Take));
        // What an earlier run of it left goes first.
        self.changes.finish();
        let around = self.changes.look_around().map(Change::Around);
        let keys: Vec<Change> = around.into_iter().chain(keys.into_iter().map(Change::Put)).collect();
        let added = match commit(&keys) {
            Err(Errno::ENOENT) => match self.changes.load() {
                Err(Errno::EEXIST) => commit(&keys),
                loaded => loaded,
            },
            added => added,
        };
        match added {
            Err(errno) if is_lacking(errno) => {
                if port.isolate || port.reach != Reach::All || port.rate != Rate::default() {
                    warn!("{} is not isolated, and goes where it wants: {}", port.veth, lacking().message);
                }
                Ok(())
            }
            Err(errno) => {
                self.guests().remove(&port.veth);
                Err(Error::new(
                    Code::Failed,
                    format_args!(
                        "cannot isolate {}: nf_tables: {}; install kmod-nft-bridge and nftables (OpenWrt), or \
                         switch it off: `option isolate '0'`, and no `reach`, `rate` and `connections`",
                        port.veth,
                        errno_text(errno)
                    ),
                ))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether the kernel has all keys of the container at `port`.
    pub fn has(&self, port: &Port) -> bool {
        let keys = Guest::of(port).map(|guest| guest.keys(&port.veth)).unwrap_or_default();
        keys.iter().all(|key| nft::has_key(TABLE, key.set, &key.bytes) == Ok(true))
    }

    /// The port is there no more.
    pub fn release(&self, veth: &str) {
        let Some(guest) = self.guests().remove(veth) else { return };
        let keys = guest.keys(veth).into_iter().map(Change::Take);
        // It asks for an address anew when it is started, and may not get this one.
        self.changes.later(keys.chain([Change::Forget(guest.mac)]));
    }

    /// The guest behind port `veth` says that its interface has `addresses`, and no others. What of that can be true is
    /// its own from now on.
    pub fn claims(&self, veth: &str, addresses: &[IpAddr], around: &Neighbourhood) {
        let adopting = self.from_nothing && !self.settled.load(Ordering::Relaxed);
        let mut guests = self.guests();
        let Some(guest) = guests.get(veth) else { return };
        if guest.isolate {
            bridge::guard(&guest.bridge, veth);
        }
        let (mac, new): (_, Vec<IpAddr>) =
            (guest.mac, addresses.iter().filter(|address| !guest.has(address)).copied().collect());
        let gone: Vec<IpAddr> = guest
            .taken
            .iter()
            .filter(|a| !addresses.contains(a) || around.own.contains(a))
            .copied()
            .collect();
        let mut changes: Vec<Change> =
            gone.iter().map(|address| Change::Take(guest.key_of(address))).collect();
        if let Some(guest) = guests.get_mut(veth) {
            guest.taken.retain(|address| !gone.contains(address));
        }
        for address in new {
            let free = |guests: &LiteMap<String, Guest>| !guests.values().any(|other| other.has(&address));
            let can = match address {
                IpAddr::V4(_) if adopting => around.allows(address) && free(&guests),
                IpAddr::V4(_) => {
                    // The second: an earlier daemon has asked already.
                    let key = address_key(mac, &address);
                    let given = [LEASED, OWN4].iter().any(|set| nft::has_key(TABLE, set, &key) == Ok(true));
                    if given && !around.own.contains(&address) {
                        changes.extend(take_from_others(&mut guests, veth, &address));
                    }
                    given && free(&guests) && !around.own.contains(&address)
                }
                IpAddr::V6(v6) => {
                    let here = v6.is_unicast_link_local() || around.allows(address);
                    here && !around.own.contains(&address) && free(&guests)
                }
            };
            let Some(guest) = guests.get_mut(veth).filter(|_| can) else { continue };
            let of_family = guest.taken.iter().filter(|taken| taken.is_ipv4() == address.is_ipv4());
            if of_family.count() < ADDRESSES_MAX {
                guest.taken.push(address);
                changes.push(Change::Put(guest.key_of(&address)));
            }
        }
        drop(guests);
        self.changes.later(changes);
    }

    /// Returns when the kernel knows all of what was released and claimed so far.
    pub fn settle(&self) {
        self.changes.finish();
    }

    /// The containers that ran already have been looked at: from now on nobody keeps what was not given. The rules are
    /// made, which takes the kernel tens of milliseconds, so that the first start need not wait for it.
    pub fn end_adoption(&self) {
        self.settled.store(true, Ordering::Relaxed);
        if nft::has_table(TABLE) == Ok(false) {
            // Whoever starts a container is told why it cannot be.
            let _ = self.changes.load();
        }
    }

    /// What is readable when [`Isolation::put_back`] may have something to do.
    pub fn monitors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tables.iter().chain(&self.addresses).map(OwnedFd::as_fd)
    }

    /// Makes the table anew, if somebody has removed it; and says in it what has changed of the box's own addresses and
    /// networks.
    pub fn put_back(&self) {
        if self.addresses.as_ref().is_some_and(netlink::has_changed) {
            self.changes.later(self.changes.look_around().map(Change::Around));
        }
        let Some(tables) = &self.tables else { return };
        if !nft::was_removed(tables, TABLE) {
            return;
        }
        if self.guests().is_empty() {
            return;
        }
        match self.changes.load() {
            // The changing thread was first, or another daemon, which knows its own containers only.
            Err(Errno::EEXIST) => {
                let keys: Vec<Key> =
                    self.guests().iter().flat_map(|(veth, guest)| guest.keys(veth)).collect();
                self.changes.later(keys.into_iter().map(Change::Put));
            }
            Ok(()) => info!("somebody removed the table of what containers may send; it is there again"),
            Err(errno) => warn!("cannot isolate the containers again: nf_tables: {}", errno_text(errno)),
        }
    }

    /// The prefixes that routers announced, as networks.
    pub fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        let keys = nft::keys(TABLE, PREFIXES).unwrap_or_default();
        let prefix = |key: Vec<u8>| {
            let mut octets = [0; 16];
            octets.get_mut(..8)?.copy_from_slice(key.get(..8)?);
            Some((IpAddr::from(octets), 64)).filter(|(address, _)| !address.is_unspecified())
        };
        keys.into_iter().filter_map(prefix).take(ADDRESSES_MAX).collect()
    }
}

/// Whether this kernel can do it: all rules are made, and removed again, in one.
///
/// # Errors
/// [`Code::NotSupported`] with the remedy.
pub fn check() -> Result<()> {
    if nft::has_table(TABLE) == Ok(true) {
        return Ok(());
    }
    let mut batch = Batch::new(TABLE);
    make_rules(&mut batch);
    batch.remove_table();
    match batch.commit() {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) if is_lacking(errno) => Err(lacking()),
        Err(errno) => {
            let why = errno_text(errno);
            Err(Error::new(
                Code::Failed,
                format_args!("nf_tables refuses the rules: {why}; look at `nft list tables`"),
            ))
        }
    }
}

fn lacking() -> Error {
    Error::new(
        Code::NotSupported,
        "this kernel has no nf_tables of the family bridge, a container can send anything in anybody's name; install \
         kmod-nft-bridge (OpenWrt), or a kernel with CONFIG_NF_TABLES_BRIDGE",
    )
}

fn is_lacking(errno: Errno) -> bool {
    matches!(errno, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT | Errno::ENOENT)
}

/// A DHCP server has given `address` to another one than before: what the others lose.
fn take_from_others(guests: &mut LiteMap<String, Guest>, veth: &str, address: &IpAddr) -> Vec<Change> {
    let Some(mac) = guests.get(veth).map(|guest| guest.mac) else { return Vec::new() };
    let own = address_key(mac, address);
    let mut lost = Vec::new();
    for set in [OWN4, LEASED] {
        let keys = nft::keys(TABLE, set).unwrap_or_default().into_iter();
        let others = keys.filter(|key| *key != own && key.get(8..) == own.get(8..));
        lost.extend(others.map(|key| Change::Take(Key::of(set, key))));
    }
    for (_, other) in guests.iter_mut().filter(|(name, _)| *name != veth) {
        other.taken.retain(|taken| taken != address);
    }
    lost
}

fn set_of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() {
        OWN4
    } else {
        OWN6
    }
}

/// Each part of a key takes whole registers of four bytes.
fn port_key(veth: &str, mac: [u8; 6]) -> Vec<u8> {
    [padded(veth).as_slice(), &mac, &[0; 2]].concat()
}

fn address_key(mac: [u8; 6], address: &IpAddr) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    [mac.as_slice(), &[0; 2], &octets].concat()
}

/// RFC 4291, appendix A.
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The reports among `reports` that are about more than `most` groups, which is one less than a power of two. How many
/// they are about stands at `number`, in two bytes.
fn about_more_than(reports: Rule, number: (u32, u32), most: u8) -> Rule {
    reports.bits_not(number, &[0xff, !most], &[0, 0])
}

fn make_rules(batch: &mut Batch) {
    let (name, mac, ipv4, ipv6) = (41, 9, 7, 8);
    let learned = libc::NFT_SET_EVAL | libc::NFT_SET_TIMEOUT;
    batch.make_table();
    batch.make_set(PORTS, &[name], NAME, 0, KEYS_MAX);
    batch.make_set(GUESTS, &[name], NAME, 0, KEYS_MAX);
    batch.make_set(MACS, &[name, mac], NAME + 8, 0, KEYS_MAX);
    batch.make_set(OWN4, &[mac, ipv4], 12, 0, KEYS_MAX);
    batch.make_set(LEASED, &[mac, ipv4], 12, learned, KEYS_MAX);
    batch.make_set(OWN6, &[mac, ipv6], 24, 0, KEYS_MAX);
    batch.make_set(PREFIXES, &[ipv6], 16, learned, 64);
    batch.make_set(ROUTERS, &[ipv6], 16, learned, 64);
    batch.make_set(HAD, &[mac, ipv4], 12, learned, KEYS_MAX);
    for (set, kind, length) in [
        (ASKED, name, NAME),
        (GIVEN_ANEW, mac, 6),
        (GREEDY, mac, 6),
        (REPORTED, name, NAME),
        (LISTED, name, NAME),
    ] {
        batch.make_set(set, &[kind], length, learned, KEYS_MAX);
    }
    for chain in [
        "guest",
        "arp",
        "ipv4",
        "from_own4",
        "dhcp",
        "lease",
        "igmp",
        "ipv6",
        "from_own6",
        "icmpv6",
        "mld",
        "fragment",
        "router",
    ] {
        batch.make_chain(chain);
    }
    // Before everybody else's, also before br_netfilter's.
    let first = libc::NF_BR_PRI_NAT_DST_BRIDGED;
    batch.make_base_chain("prerouting", libc::NF_BR_PRE_ROUTING, first);
    batch.make_base_chain("output", libc::NF_BR_LOCAL_OUT, first);
    // Behind everybody else's.
    batch.make_base_chain("postrouting", libc::NF_BR_POST_ROUTING, libc::NF_BR_PRI_LAST);
    reach::make_rules(batch);
    rate::make_rules(batch);
    batch.add_rule(
        "prerouting",
        &Rule::new().came_in_by_name_of(PORT_NAME).came_in_by_none_of(PORTS).then(Verdict::Drop),
    );
    rate::limit_sent(batch, "prerouting");
    reach::judge(batch, "prerouting");
    rate::limit_connections(batch, "prerouting");
    batch.add_rule("prerouting", &Rule::new().came_in_by(GUESTS).then(Verdict::Goto("guest")));
    reach::learn_nothing_from_containers(batch, "prerouting");
    for (base, of_the_box) in [("prerouting", false), ("output", true)] {
        reach::learn_routers(batch, base, of_the_box);
    }
    rate::limit_got(batch, "postrouting");
    reach::remember_askers(batch, "postrouting");
    use Verdict::{Accept, Drop, Goto, Jump, Return};
    let mut rule = |chain: &str, rule: Rule| batch.add_rule(chain, &rule);

    for base in ["prerouting", "output"] {
        // A reply to a client with an Ethernet address, which gives it one of IPv4.
        let reply =
            udp4().at(TRANSPORT, 0, &port(67)).at(TRANSPORT, 8, &[2, 1, 6]).not_at(GIVEN.0, GIVEN.1, &[0; 4]);
        rule(base, reply.then(Jump("lease")));
        rule(base, ether(0x86dd).at(NETWORK, 6, &[ICMPV6]).at(NETWORK, 40, &[134, 0]).then(Goto("router")));
    }
    rule("lease", Rule::new().learn_pair(LEASED, CLIENT, GIVEN, LEARNED));
    let known = Rule::new().mac_and_address(HAD, CLIENT, GIVEN, 4);
    rule("lease", known.learn_pair(HAD, CLIENT, GIVEN, LEARNED).then(Return));
    rule("lease", Rule::new().learn_pair(HAD, CLIENT, GIVEN, LEARNED));
    rule(
        "lease",
        Rule::new().too_often(GIVEN_ANEW, CLIENT, 6, NEW_ADDRESSES).learn(GREEDY, CLIENT, 6, PAUSE),
    );

    // Where an announcement's options are is its router's to say: they come in pieces of 8 bytes.
    for option in (56..160).step_by(8) {
        let prefix = Rule::new().at(NETWORK, option, &[3, 4, 64]);
        rule("router", prefix.learn(PREFIXES, (NETWORK, option + 16), 16, LEARNED));
    }
    rule("router", Rule::new().learn(ROUTERS, (NETWORK, 8), 16, LEARNED));
    rule("router", reach::learn_router(Rule::new()));
    rule("router", Rule::new().then(Accept));

    rule("guest", Rule::new().port_and_mac(MACS, SENDER.0, SENDER.1, false).then(Drop));
    rule("guest", ether(0x0806).then(Goto("arp")));
    rule("guest", ether(0x0800).then(Goto("ipv4")));
    rule("guest", ether(0x86dd).then(Goto("ipv6")));
    // VLAN tags, spanning tree, link layer discovery, and what else there is.
    rule("guest", Rule::new().then(Drop));

    // Ethernet and IPv4; the sender is the sender.
    let arp = || Rule::new().at(NETWORK, 0, &[0, 1, 8, 0, 6, 4, 0]).port_and_mac(MACS, NETWORK, 8, true);
    let of_arp = (NETWORK, 8);
    for set in [OWN4, LEASED] {
        rule("arp", arp().mac_and_address(set, of_arp, (NETWORK, 14), 4).then(Accept));
        // Whether somebody else has what is its own.
        let probe = arp().at(NETWORK, 7, &[1]).at(NETWORK, 14, &[0; 4]);
        rule("arp", probe.mac_and_address(set, of_arp, (NETWORK, 24), 4).then(Accept));
    }
    rule("arp", Rule::new().then(Drop));

    rule("ipv4", Rule::new().at(NETWORK, 12, &[0; 4]).at(NETWORK, 16, &[255; 4]).then(Goto("dhcp")));
    for set in [OWN4, LEASED] {
        rule("ipv4", Rule::new().mac_and_address(set, SENDER, (NETWORK, 12), 4).then(Goto("from_own4")));
    }
    rule("ipv4", Rule::new().then(Drop));
    rule("dhcp", Rule::new().port_too_often(ASKED, ASKING).then(Drop));
    // A renewal, too: by what stands in front in a message it cannot be told from the request for another address.
    rule("dhcp", Rule::new().found_in(GREEDY, SENDER, 6).then(Drop));
    let to_server = || udp4().at(TRANSPORT, 0, &[port(68), port(67)].concat());
    rule("dhcp", to_server().port_and_mac(MACS, CLIENT.0, CLIENT.1, true).then(Accept));
    rule("dhcp", Rule::new().then(Drop));
    rule("from_own4", udp4().at(TRANSPORT, 0, &port(67)).then(Drop));
    rule("from_own4", udp4().at(TRANSPORT, 2, &port(68)).then(Drop));
    rule("from_own4", udp4().at(TRANSPORT, 2, &port(67)).then(Goto("dhcp")));
    rule("from_own4", Rule::new().at(NETWORK, 9, &[2]).then(Goto("igmp")));
    rule("from_own4", Rule::new().unicast().then(Accept));
    rule("from_own4", udp4().at(NETWORK, 16, &[224, 0, 0, 251]).at(TRANSPORT, 2, &port(5353)).then(Accept));
    rule("from_own4", Rule::new().then(Drop));
    // How many groups a report is about: in 16 bits, of the newer protocols.
    rule("igmp", about_more_than(Rule::new().at(TRANSPORT, 0, &[0x22]), (TRANSPORT, 6), 15).then(Drop));
    let list = about_more_than(Rule::new().at(TRANSPORT, 0, &[0x22]), (TRANSPORT, 6), 1);
    rule("igmp", list.port_too_often(LISTED, LISTS).then(Drop));
    rule("igmp", Rule::new().port_too_often(REPORTED, REPORTS).then(Drop));
    // Reports and leaves, no queries.
    for kind in [0x12, 0x16, 0x17, 0x22] {
        rule("igmp", Rule::new().at(TRANSPORT, 0, &[kind]).then(Accept));
    }
    rule("igmp", Rule::new().then(Drop));

    rule("ipv6", Rule::new().found_in(ROUTERS, (NETWORK, 8), 16).then(Drop));
    // Which header is the next; the others are not needed, and can hide what is.
    rule("ipv6", Rule::new().at(NETWORK, 6, &[ICMPV6]).then(Goto("icmpv6")));
    rule("ipv6", Rule::new().at(NETWORK, 6, &[0]).then(Goto("mld")));
    rule("ipv6", Rule::new().at(NETWORK, 6, &[44]).then(Goto("fragment")));
    let own6 = || Rule::new().mac_and_address(OWN6, SENDER, (NETWORK, 8), 16);
    for protocol in [TCP, UDP].into_iter().chain(OTHERS) {
        rule("ipv6", own6().at(NETWORK, 6, &[protocol]).then(Goto("from_own6")));
    }
    rule("ipv6", Rule::new().then(Drop));
    let udp6 = || Rule::new().at(NETWORK, 6, &[UDP]);
    rule("from_own6", udp6().at(NETWORK, 40, &port(547)).then(Drop));
    rule("from_own6", udp6().at(NETWORK, 42, &port(546)).then(Drop));
    rule("from_own6", Rule::new().unicast().then(Accept));
    let group = |last: [u8; 3]| [&[0xff, 2], [0; 11].as_slice(), &last].concat();
    rule("from_own6", udp6().at(NETWORK, 24, &group([0, 0, 0xfb])).at(NETWORK, 42, &port(5353)).then(Accept));
    rule("from_own6", udp6().at(NETWORK, 24, &group([1, 0, 2])).at(NETWORK, 42, &port(547)).then(Accept));
    rule("from_own6", Rule::new().then(Drop));

    // A first fragment with a server's port.
    let first_of_udp = Rule::new().at(NETWORK, 40, &[UDP]).at(NETWORK, 42, &[0, 1]);
    rule("fragment", first_of_udp.at(NETWORK, 48, &port(547)).then(Drop));
    for protocol in [TCP, UDP] {
        rule("fragment", own6().at(NETWORK, 40, &[protocol]).unicast().then(Accept));
    }
    rule("fragment", Rule::new().then(Drop));

    // Reports and leaves behind a header of 8 bytes, no queries.
    let newer = || Rule::new().at(NETWORK, 48, &[143]);
    rule("mld", about_more_than(newer(), (NETWORK, 54), 15).then(Drop));
    rule("mld", about_more_than(newer(), (NETWORK, 54), 1).port_too_often(LISTED, LISTS).then(Drop));
    rule("mld", Rule::new().port_too_often(REPORTED, REPORTS).then(Drop));
    let nobody = || Rule::new().at(NETWORK, 8, &[0; 16]);
    for kind in [131, 132, 143] {
        rule("mld", own6().at(NETWORK, 40, &[ICMPV6, 0]).at(NETWORK, 48, &[kind]).then(Accept));
        rule("mld", nobody().at(NETWORK, 40, &[ICMPV6, 0]).at(NETWORK, 48, &[kind]).then(Accept));
    }
    rule("mld", Rule::new().then(Drop));

    let target = |rule: Rule| rule.mac_and_address(OWN6, SENDER, (NETWORK, 48), 16);
    let (router_solicitation, solicitation, advertisement) = (133, 135, 136);
    rule("icmpv6", target(nobody().at(NETWORK, 40, &[solicitation])).then(Accept));
    rule("icmpv6", own6().at(NETWORK, 40, &[solicitation]).then(Accept));
    let of_router = Rule::new().at(NETWORK, 40, &[advertisement]).found_in(ROUTERS, (NETWORK, 48), 16);
    rule("icmpv6", of_router.then(Drop));
    rule("icmpv6", target(own6().at(NETWORK, 40, &[advertisement])).then(Accept));
    rule("icmpv6", nobody().at(NETWORK, 40, &[router_solicitation]).then(Accept));
    rule("icmpv6", own6().at(NETWORK, 40, &[router_solicitation]).then(Accept));
    // Errors and echoes.
    for kind in [1, 2, 3, 4, 128, 129] {
        rule("icmpv6", own6().at(NETWORK, 40, &[kind]).unicast().then(Accept));
    }
    rule("icmpv6", Rule::new().then(Drop));
}
