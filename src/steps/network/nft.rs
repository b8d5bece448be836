//! What nf_tables is told, as netlink messages: the kernel is asked directly, since `nft` would take longer than the rest
//! of a container's start.
//!
//! Format: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Numbers are big-endian; those of attributes are not
//! in libc.

use crate::netlink::{self, HEADER};
use nix::errno::Errno;
use nix::sys::socket::{
    bind, recv, send, setsockopt, socket, sockopt, AddressFamily, MsgFlags, NetlinkAddr, SockFlag,
    SockProtocol, SockType,
};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where a rule reads: the Ethernet header, that of the network, that of the transport.
pub const ETHERNET: u32 = libc::NFT_PAYLOAD_LL_HEADER as u32;
pub const NETWORK: u32 = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
pub const TRANSPORT: u32 = libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32;

/// Bytes of an interface's name in a key.
pub const NAME: usize = 16;
/// The group of sockets that hear of changed tables.
const GROUP: u32 = 1 << 6;
/// The first register of four bytes; the others follow.
const REGISTER: u32 = libc::NFT_REG32_00 as u32;
const NFPROTO_BRIDGE: u8 = 7;
const NESTED: u16 = 0x8000;
/// The kind of an object that is a limit, and of a set that leads to objects.
const LIMIT: u32 = 4;
const TO_OBJECTS: i32 = 0x40;
/// Bytes that a limit of bytes lets through beyond those of a second: frames of up to 64 KiB pass between containers.
const BURST: u64 = 128 << 10;
/// Room of a socket for what is sent at once, where nothing is said. Bytes.
const SEND_ROOM: usize = 64 << 10;

/// Attributes, one behind another.
#[derive(Debug, Clone, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    fn put(&mut self, kind: u16, data: &[u8]) -> &mut Attributes {
        self.0.extend(((4 + data.len()) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(&mut self, kind: u16, text: &str) -> &mut Attributes {
        self.put(kind, &[text.as_bytes(), &[0]].concat())
    }

    fn number(&mut self, kind: u16, number: u32) -> &mut Attributes {
        self.put(kind, &number.to_be_bytes())
    }

    fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Attributes)) -> &mut Attributes {
        let mut nested = Attributes::default();
        inside(&mut nested);
        self.put(kind | NESTED, &nested.0)
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// It is let through.
    Accept,
    /// It is dropped.
    Drop,
    /// What another chain says.
    Goto(&'static str),
    /// What another chain says; where that says nothing, what stands behind.
    Jump(&'static str),
    /// Back to where the last jump was.
    Return,
}

/// How much a limit lets through in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Bytes of frames.
    Bytes(u64),
    /// Frames.
    Frames(u64),
}

/// How often something may happen: some times at once, and after that once in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Often {
    /// Times at once.
    pub at_once: u32,
    /// Seconds until it may happen once more.
    pub every: u32,
}

impl Often {
    /// After which nothing is to be remembered: all that was used up is there again. Milliseconds.
    fn forgotten(self) -> u64 {
        u64::from(self.at_once) * u64::from(self.every) * 1000
    }
}

/// By which port of a bridge a frame passes.
#[derive(Debug, Clone, Copy)]
pub enum Through {
    /// The one that it came in by.
    In,
    /// The one that it leaves by.
    Out,
}

/// A rule: what it asks of a frame, one thing after another, and what becomes of one that has it all.
#[derive(Debug, Clone, Default)]
pub struct Rule(Attributes);

impl Rule {
    /// One that asks nothing yet.
    pub fn new() -> Rule {
        Rule::default()
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Attributes)) -> Rule {
        self.0.nest(1, |element| {
            element.text(1, name).nest(2, data);
        });
        self
    }

    fn load(self, register: u32, base: u32, offset: u32, length: u32) -> Rule {
        self.expression("payload", |data| {
            data.number(1, REGISTER + register).number(2, base).number(3, offset).number(4, length);
        })
    }

    fn interface(self, through: Through) -> Rule {
        let which = match through {
            Through::In => libc::NFT_META_IIFNAME,
            Through::Out => libc::NFT_META_OIFNAME,
        };
        self.expression("meta", |data| {
            data.number(1, REGISTER).number(2, which as u32);
        })
    }

    /// Of the bytes there, the bits of `mask`, in the first register.
    fn load_bits(self, at: (u32, u32), mask: &[u8]) -> Rule {
        self.load(0, at.0, at.1, mask.len() as u32).expression("bitwise", |data| {
            data.number(1, REGISTER).number(2, REGISTER).number(3, mask.len() as u32);
            data.nest(4, |bits| {
                bits.put(1, mask);
            });
            data.nest(5, |xor| {
                xor.put(1, &vec![0; mask.len()]);
            });
        })
    }

    fn compare(self, how: i32, value: &[u8]) -> Rule {
        self.compare_register(0, how, value)
    }

    fn compare_register(self, register: u32, how: i32, value: &[u8]) -> Rule {
        self.expression("cmp", |data| {
            data.number(1, REGISTER + register).number(2, how as u32).nest(3, |v| {
                v.put(1, value);
            });
        })
    }

    fn lookup(self, set: &str, flags: u32) -> Rule {
        self.expression("lookup", |data| {
            data.text(1, set).number(2, REGISTER).number(5, flags);
        })
    }

    /// These bytes stand there.
    pub fn at(self, base: u32, offset: u32, bytes: &[u8]) -> Rule {
        self.load(0, base, offset, bytes.len() as u32).compare(libc::NFT_CMP_EQ, bytes)
    }

    /// Other bytes stand there.
    pub fn not_at(self, base: u32, offset: u32, bytes: &[u8]) -> Rule {
        self.load(0, base, offset, bytes.len() as u32).compare(libc::NFT_CMP_NEQ, bytes)
    }

    /// It goes to one machine, not to many.
    pub fn unicast(self) -> Rule {
        self.load_bits((ETHERNET, 0), &[1]).compare(libc::NFT_CMP_EQ, &[0])
    }

    /// Of the bytes there, the bits of `mask` are other ones than these.
    pub fn bits_not(self, at: (u32, u32), mask: &[u8], bits: &[u8]) -> Rule {
        self.load_bits(at, mask).compare(libc::NFT_CMP_NEQ, bits)
    }

    /// The bits of `mask` of the bytes there are in `set`.
    pub fn bits_found_in(self, set: &str, at: (u32, u32), mask: &[u8]) -> Rule {
        self.load_bits(at, mask).lookup(set, 0)
    }

    /// The port it came in by is in `set`.
    pub fn came_in_by(self, set: &str) -> Rule {
        self.interface(Through::In).lookup(set, 0)
    }

    /// The port it came in by is not in `set`.
    pub fn came_in_by_none_of(self, set: &str) -> Rule {
        self.interface(Through::In).lookup(set, libc::NFT_LOOKUP_F_INV as u32)
    }

    /// The port it came in by has a name that begins so, and is of 9 to 12 bytes: registers are of four.
    pub fn came_in_by_name_of(self, beginning: &str) -> Rule {
        let named = self.interface(Through::In).compare(libc::NFT_CMP_EQ, beginning.as_bytes());
        named.compare_register(2, libc::NFT_CMP_NEQ, &[0; 4]).compare_register(3, libc::NFT_CMP_EQ, &[0; 4])
    }

    /// The port it leaves by is in `set`.
    pub fn leaves_by(self, set: &str) -> Rule {
        self.interface(Through::Out).lookup(set, 0)
    }

    /// The port it passes by has a limit in `map`, and with this frame there was more than that.
    pub fn over(self, map: &str, through: Through) -> Rule {
        self.interface(through).expression("objref", |data| {
            data.number(3, REGISTER).text(4, map);
        })
    }

    /// The port, and these parts of the frame (where they are, and their bytes) one after another.
    fn load_flow(self, through: Through, parts: &[(u32, u32, u32)]) -> Rule {
        let mut register = 4;
        parts.iter().fold(self.interface(through), |rule, (base, offset, length)| {
            let at = register;
            register += length.div_ceil(4);
            rule.load(at, *base, *offset, *length)
        })
    }

    /// The port it came in by and these parts of it are in `set` together.
    pub fn flow_found_in(self, set: &str, parts: &[(u32, u32, u32)]) -> Rule {
        self.load_flow(Through::In, parts).lookup(set, 0)
    }

    /// The port and these parts are put into `set` together, for `milliseconds`.
    pub fn learn_flow(
        self,
        set: &str,
        through: Through,
        parts: &[(u32, u32, u32)],
        milliseconds: u64,
    ) -> Rule {
        self.load_flow(through, parts).put_into(set, milliseconds)
    }

    /// The port it came in by and the hardware address at this place are, or are not, in `set` together.
    pub fn port_and_mac(self, set: &str, base: u32, offset: u32, are: bool) -> Rule {
        self.interface(Through::In).load(4, base, offset, 6).lookup(set, u32::from(!are))
    }

    /// The hardware address and the other address of these places are in `set` together.
    pub fn mac_and_address(self, set: &str, mac: (u32, u32), address: (u32, u32), length: u32) -> Rule {
        self.load(0, mac.0, mac.1, 6).load(2, address.0, address.1, length).lookup(set, 0)
    }

    /// These bytes are in `set`.
    pub fn found_in(self, set: &str, at: (u32, u32), length: u32) -> Rule {
        self.load(0, at.0, at.1, length).lookup(set, 0)
    }

    /// They are put into `set` together, for `milliseconds`.
    pub fn learn_pair(self, set: &str, mac: (u32, u32), address: (u32, u32), milliseconds: u64) -> Rule {
        self.load(0, mac.0, mac.1, 6).load(2, address.0, address.1, 4).put_into(set, milliseconds)
    }

    /// These bytes are put into `set`, for `milliseconds`.
    pub fn learn(self, set: &str, at: (u32, u32), length: u32, milliseconds: u64) -> Rule {
        self.load(0, at.0, at.1, length).put_into(set, milliseconds)
    }

    fn put_into(self, set: &str, milliseconds: u64) -> Rule {
        self.expression("dynset", |data| put_first_register(data, set, milliseconds))
    }

    /// The port it came in by has sent such a frame more often than that. `set` counts for each port.
    pub fn port_too_often(self, set: &str, often: Often) -> Rule {
        self.interface(Through::In).count_in(set, often)
    }

    /// There was a frame with these bytes more often than that. `set` counts for each of them.
    pub fn too_often(self, set: &str, at: (u32, u32), length: u32, often: Often) -> Rule {
        self.load(0, at.0, at.1, length).count_in(set, often)
    }

    fn count_in(self, set: &str, often: Often) -> Rule {
        self.expression("dynset", |data| {
            put_first_register(data, set, often.forgotten());
            data.nest(7, |expression| {
                expression.text(1, "limit").nest(2, |limit| {
                    let once = 1_u64;
                    limit.put(1, &once.to_be_bytes()).put(2, &u64::from(often.every).to_be_bytes());
                    limit.number(3, often.at_once).number(4, libc::NFT_LIMIT_PKTS as u32);
                    limit.number(5, libc::NFT_LIMIT_F_INV as u32);
                });
            });
        })
    }

    /// What becomes of a frame that has it all.
    pub fn then(self, verdict: Verdict) -> Rule {
        let (code, chain) = match verdict {
            Verdict::Accept => (1, None),
            Verdict::Drop => (0, None),
            Verdict::Goto(chain) => (-4i32, Some(chain)),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Return => (-5, None),
        };
        self.expression("immediate", |data| {
            data.number(1, libc::NFT_REG_VERDICT as u32).nest(2, |value| {
                value.nest(2, |verdict| {
                    verdict.number(1, code as u32);
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        })
    }
}

/// What puts the bytes of the first register into `set`, for `milliseconds`.
fn put_first_register(data: &mut Attributes, set: &str, milliseconds: u64) {
    data.text(1, set).number(3, libc::NFT_DYNSET_OP_UPDATE as u32).number(4, REGISTER);
    data.put(6, &milliseconds.to_be_bytes());
}

/// Changes of a table, made all together or not at all.
pub struct Batch {
    table: &'static str,
    bytes: Vec<u8>,
    number: u32,
    /// Where the last message begins.
    last: usize,
}

impl Batch {
    /// One that changes nothing yet.
    pub fn new(table: &'static str) -> Batch {
        let mut batch = Batch { table, bytes: Vec::new(), number: 0, last: 0 };
        batch.edge(libc::NFNL_MSG_BATCH_BEGIN);
        batch
    }

    fn edge(&mut self, kind: i32) {
        let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
        self.message(kind as u16, 0, &[0, 0, high, low]);
    }

    fn message(&mut self, kind: u16, flags: i32, body: &[u8]) {
        self.number += 1;
        self.last = self.bytes.len();
        write_message(&mut self.bytes, kind, libc::NLM_F_REQUEST | flags, self.number, body);
    }

    fn change(&mut self, kind: i32, flags: i32, change: impl FnOnce(&mut Attributes)) {
        let body = body_of(self.table, change);
        self.message(of_nftables(kind), flags, &body);
    }

    /// Makes the table. It must not be there yet.
    pub fn make_table(&mut self) {
        self.change(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |_| {});
    }

    /// Removes the table with all there is in it.
    pub fn remove_table(&mut self) {
        self.change(libc::NFT_MSG_DELTABLE, 0, |_| {});
    }

    /// Makes a set with keys of `length` bytes. `kinds` are the numbers by which `nft` knows what they are, one after
    /// another; `flags` are `NFT_SET_…`.
    pub fn make_set(&mut self, name: &str, kinds: &[u32], length: usize, flags: i32, size: u32) {
        self.make_set_or_map(name, kinds, length, flags, size, None);
    }

    /// Makes a map from ports to limits.
    pub fn make_map_of_limits(&mut self, name: &str, kind: u32, size: u32) {
        self.make_set_or_map(name, &[kind], NAME, TO_OBJECTS, size, Some(LIMIT));
    }

    fn make_set_or_map(
        &mut self,
        name: &str,
        kinds: &[u32],
        length: usize,
        flags: i32,
        size: u32,
        objects: Option<u32>,
    ) {
        let kind = kinds.iter().fold(0, |all, kind| all << 6 | kind);
        let id = self.number;
        self.change(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, |set| {
            set.text(2, name).number(3, flags as u32).number(4, kind).number(5, length as u32).number(10, id);
            set.nest(9, |description| {
                description.number(1, size);
            });
            // For `nft list`: names are in the machine's byte order, everything else in the network's.
            let order: u32 = if length == NAME { 1 } else { 2 };
            set.put(13, &[[0, 4].as_slice(), &order.to_ne_bytes()].concat());
            if let Some(objects) = objects {
                set.number(15, objects);
            }
        });
    }

    /// Makes a chain that others lead to.
    pub fn make_chain(&mut self, name: &str) {
        self.change(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, |chain| {
            chain.text(3, name);
        });
    }

    /// Makes a chain that frames pass at `hook`; what no rule of it decides is let through.
    pub fn make_base_chain(&mut self, name: &str, hook: i32, priority: i32) {
        self.change(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, |chain| {
            chain.text(3, name).nest(4, |at| {
                at.number(1, hook as u32).number(2, priority as u32);
            });
            chain.text(7, "filter");
        });
    }

    /// Adds a rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) {
        self.change(libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, |attributes| {
            attributes.text(2, chain).put(4 | NESTED, &rule.0 .0);
        });
    }

    /// Puts a key into a set; one that is there stays.
    pub fn add(&mut self, set: &str, key: &[u8]) {
        self.change(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, |list| elements(list, set, key));
    }

    /// Puts the keys from `first` to the one before `end` into a set of intervals; without an end, all from there.
    pub fn add_range(&mut self, set: &str, first: &[u8], end: Option<&[u8]>) {
        self.add(set, first);
        let Some(end) = end else { return };
        self.change(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, |list| {
            element(list, set, end, |element| {
                element.number(3, libc::NFT_SET_ELEM_INTERVAL_END as u32);
            });
        });
    }

    /// Puts a port into a map, with a limit of its own called `name`.
    pub fn add_limit(&mut self, map: &str, key: &[u8], name: &str, limit: Limit) {
        let (rate, burst, kind) = match limit {
            Limit::Bytes(bytes) => (bytes, BURST, libc::NFT_LIMIT_PKT_BYTES),
            Limit::Frames(frames) => (frames, frames, libc::NFT_LIMIT_PKTS),
        };
        self.change(libc::NFT_MSG_NEWOBJ, libc::NLM_F_CREATE, |object| {
            object.text(2, name).number(3, LIMIT).nest(4, |limit| {
                let a_second = 1_u64;
                limit.put(1, &rate.to_be_bytes()).put(2, &a_second.to_be_bytes());
                limit.number(3, burst as u32).number(4, kind as u32).number(5, libc::NFT_LIMIT_F_INV as u32);
            });
        });
        self.change(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, |list| {
            element(list, map, key, |element| {
                element.text(9, name);
            });
        });
    }

    /// Takes a limit away that no port has any more.
    pub fn remove_limit(&mut self, name: &str) {
        self.change(libc::NFT_MSG_DELOBJ, 0, |object| {
            object.text(2, name).number(3, LIMIT);
        });
    }

    /// Takes a key out of a set. It must be there: ENOENT otherwise.
    pub fn take(&mut self, set: &str, key: &[u8]) {
        self.change(libc::NFT_MSG_DELSETELEM, 0, |list| elements(list, set, key));
    }

    /// Takes all keys out of a set.
    pub fn empty(&mut self, set: &str) {
        self.change(libc::NFT_MSG_DELSETELEM, 0, |list| {
            list.text(2, set);
        });
    }

    /// Has the kernel make all changes of the batch.
    ///
    /// # Errors
    /// The first thing that it refuses; nothing is changed then.
    pub fn commit(mut self) -> nix::Result<()> {
        // What is refused is told of each; that all was done, of the last.
        let last = self.number;
        let flags = self.last + 6;
        if let Some(flags) = self.bytes.get_mut(flags..flags + 2) {
            let now = u16::from_ne_bytes([flags[0], flags[1]]) | libc::NLM_F_ACK as u16;
            flags.copy_from_slice(&now.to_ne_bytes());
        }
        self.edge(libc::NFNL_MSG_BATCH_END);
        let socket = open(0)?;
        if self.bytes.len() > SEND_ROOM {
            // The kernel counts what it needs besides.
            setsockopt(&socket, sockopt::SndBufForce, &(self.bytes.len() * 2))?;
        }
        send(socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        let mut answered = false;
        answers(&socket, |kind, number, message| {
            if i32::from(kind) == libc::NLMSG_ERROR {
                answered |= number == last;
                return error_of(message);
            }
            Ok(())
        })?;
        if answered {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }
}

fn elements(list: &mut Attributes, set: &str, key: &[u8]) {
    element(list, set, key, |_| {});
}

/// A list of one element, with what it has besides its key.
fn element(list: &mut Attributes, set: &str, key: &[u8], rest: impl FnOnce(&mut Attributes)) {
    list.text(2, set).nest(3, |elements| {
        elements.nest(1, |element| {
            element.nest(1, |value| {
                value.put(1, key);
            });
            rest(element);
        });
    });
}

/// Whether there is such a table.
///
/// # Errors
/// The kernel cannot be asked.
pub fn has_table(table: &str) -> nix::Result<bool> {
    found(ask(libc::NFT_MSG_GETTABLE, 0, &body_of(table, |_| {})))
}

/// Whether `key` is in `set`.
///
/// # Errors
/// The kernel cannot be asked.
pub fn has_key(table: &str, set: &str, key: &[u8]) -> nix::Result<bool> {
    found(ask(libc::NFT_MSG_GETSETELEM, 0, &body_of(table, |list| elements(list, set, key))))
}

/// The name of the object that `key` leads to in `map`, if it is there.
///
/// # Errors
/// The kernel cannot be asked.
pub fn object_of(table: &str, map: &str, key: &[u8]) -> nix::Result<Option<String>> {
    let answers = match ask(libc::NFT_MSG_GETSETELEM, 0, &body_of(table, |list| elements(list, map, key))) {
        Err(Errno::ENOENT) => return Ok(None),
        answers => answers?,
    };
    let name = elements_in(&answers).find_map(|element| attribute(element, 9)).unwrap_or_default();
    Ok(name.strip_suffix(&[0]).map(|name| String::from_utf8_lossy(name).into_owned()))
}

/// All keys of `set`.
///
/// # Errors
/// The kernel cannot be asked, or there is no such set.
pub fn keys(table: &str, set: &str) -> nix::Result<Vec<Vec<u8>>> {
    let body = body_of(table, |list| {
        list.text(2, set);
    });
    let answers = ask(libc::NFT_MSG_GETSETELEM, libc::NLM_F_DUMP, &body)?;
    let key = |element| attribute(attribute(element, 1)?, 1).map(<[u8]>::to_vec);
    Ok(elements_in(&answers).filter_map(key).collect())
}

/// The elements that the kernel told of.
fn elements_in(answers: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    let lists = answers.iter().filter_map(|answer| attribute(answer.get(4..)?, 3));
    lists.flat_map(Each).map(|(_, element)| element)
}

fn found(asked: nix::Result<Vec<Vec<u8>>>) -> nix::Result<bool> {
    match asked {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A socket that hears of changes of tables.
///
/// # Errors
/// The kernel has no nf_tables.
pub fn monitor() -> nix::Result<OwnedFd> {
    open(GROUP)
}

/// Reads what a [`monitor`] has heard: whether a table of this name was removed, or it cannot be known.
pub fn was_removed(monitor: &OwnedFd, table: &str) -> bool {
    let mut removed = false;
    let mut take = |kind: u16, _: u32, message: &[u8]| {
        let ours = message.first() == Some(&NFPROTO_BRIDGE)
            && message
                .get(4..)
                .and_then(|all| attribute(all, 1))
                .is_some_and(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()));
        removed |= ours && kind == of_nftables(libc::NFT_MSG_DELTABLE);
        Ok(())
    };
    let lost = answers(monitor, &mut take) == Err(Errno::ENOBUFS);
    removed || lost
}

fn open(groups: u32) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// Asks one question; what is told, without acknowledgements.
fn ask(kind: i32, flags: i32, body: &[u8]) -> nix::Result<Vec<Vec<u8>>> {
    let socket = open(0)?;
    let mut bytes = Vec::new();
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
    write_message(&mut bytes, of_nftables(kind), flags, 1, body);
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    let mut told = Vec::new();
    answers(&socket, |kind, _, message| {
        match i32::from(kind) {
            libc::NLMSG_ERROR => return error_of(message),
            libc::NLMSG_DONE => {}
            _ => told.push(message.to_vec()),
        }
        Ok(())
    })?;
    Ok(told)
}

/// Hands `take` the kind, number and content of all messages that are there: the kernel has answered before send(2) is
/// back.
fn answers(socket: &OwnedFd, mut take: impl FnMut(u16, u32, &[u8]) -> nix::Result<()>) -> nix::Result<()> {
    let mut buffer = vec![0; netlink::BUFFER];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let mut bytes = buffer.get(..length).unwrap_or_default();
        while let Some((kind, message, rest)) = netlink::next_message(bytes) {
            let number = bytes.get(8..12).and_then(|n| n.try_into().ok()).map_or(0, u32::from_ne_bytes);
            take(kind, number, message)?;
            bytes = rest;
        }
    }
}

/// What an acknowledgement says.
fn error_of(message: &[u8]) -> nix::Result<()> {
    let code = message.get(..4).and_then(|code| code.try_into().ok()).map_or(-libc::EIO, i32::from_ne_bytes);
    if code == 0 {
        return Ok(());
    }
    Err(Errno::from_raw(code.wrapping_neg()))
}

fn of_nftables(kind: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES << 8 | kind) as u16
}

/// A message's content: an nfgenmsg, and attributes that begin with the table's name.
fn body_of(table: &str, rest: impl FnOnce(&mut Attributes)) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.text(1, table);
    rest(&mut attributes);
    [&[NFPROTO_BRIDGE, 0, 0, 0], attributes.0.as_slice()].concat()
}

fn write_message(bytes: &mut Vec<u8>, kind: u16, flags: i32, number: u32, body: &[u8]) {
    bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Attributes, one after another.
struct Each<'a>(&'a [u8]);

impl<'a> Iterator for Each<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?);
        let data = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, data))
    }
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Each(attributes).find(|(kind, _)| *kind == wanted).map(|(_, data)| data)
}
