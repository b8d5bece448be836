//! What goes into the core and what comes out of it. The core has no clock, no descriptor and no randomness of its own: who
//! runs it tells the time with each input, carries bytes to and from brokers, keeps files, and calls the box's daemon.
//!
//! One contract: after each [`Input`] all [`Effect`]s are taken and carried out in their order. Before anything that follows an
//! [`Effect::Keep`] is done, what it keeps must be on the disk.

use super::fields::Hash;
use super::formats::{Class, Group, Mode, RUN};
use super::id::Id;
use super::label::Label;
use super::topic::Topic;
use crate::error::Code;
use crate::usign::{PublicKey, SecretKey};
use std::rc::Rc;

/// The time, told with each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back and begins anywhere. It goes on while the box sleeps.
    pub mono: u64,
    /// Seconds since 1970 by the box's clock, be it right or wrong.
    pub wall: u64,
    /// Whether NTP has answered since the box was switched on: its hotplug said so, or the kernel does.
    pub synced: bool,
}

/// A broker: a number that stands for one host and port as long as the process lives, from 0.
pub type Broker = u8;

/// The most brokers that a box uses.
pub const BROKERS_MAX: usize = 4;

/// Who the box is, and which of its lives this is.
pub struct Identity {
    /// The box's own key.
    pub key: SecretKey,
    /// How often the process began with this key: a counter that was on the disk before it was used. From 1.
    pub session: u32,
    /// Eight random characters of `a–z0–9`, new for each session.
    pub run: [u8; RUN],
    /// Random, for hashes that others shall not foresee.
    pub seed: u64,
}

/// What the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `option network`
    pub network: Label,
    /// `option zone`
    pub zone: Label,
    /// What the box is called.
    pub name: Box<str>,
    /// `option state`
    pub mode: Mode,
    /// `option notice`, in seconds: how long what exceeds a lowered quota may stay.
    pub notice: u64,
    /// How reliable the box is by its own record.
    pub class: Class,
    /// The week's hours, if `option show_hours` is set.
    pub hours: Option<[u8; 84]>,
    /// `option show_accepts`
    pub show_accepts: bool,
    /// The kind of its processor as manifests name it, `x86_64`.
    pub arch: Box<str>,
    /// Where it is reached; empty if nobody shall know.
    pub address: Box<str>,
    /// The certificate by which its owner says that it is his, as it was signed.
    pub owner: Option<Box<str>>,
    /// Its X25519 key, public half.
    pub seal: Option<[u8; 32]>,
    /// `config peer`: whom the box hosts.
    pub peers: Vec<Peer>,
    /// `config deny`: whom it does not, whoever vouches for him.
    pub deny: Vec<PublicKey>,
}

/// A `config peer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The section's name.
    pub name: Box<str>,
    /// `option key`
    pub key: PublicKey,
    /// `option memory`, in bytes.
    pub memory: u64,
    /// `option disk`, in bytes.
    pub disk: u64,
    /// `option cpus`, in thousandths.
    pub cpus: u64,
    /// `option containers`
    pub containers: u64,
    /// `list images`: the remotes whose images he may use, or `any`. Empty: none.
    pub images: Vec<Box<str>>,
    /// `option delegate`: he may vouch for others, within his quota.
    pub delegate: bool,
    /// `option delegate_share`: how much of it each of them may use, in per cent.
    pub share: u8,
    /// `option publish`: his containers may announce services.
    pub publish: bool,
}

/// A container of the box, as `cloudbox.container list` has it. Only those with `option slice` are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// `option slice`: `<member>/<slice>/<group>`.
    pub slice: Box<str>,
    /// What it is doing.
    pub state: ContainerState,
    /// The SHA-256 of the image it is made from, if it is known.
    pub image: Option<Hash>,
    /// Its memory limit, in bytes.
    pub memory: u64,
    /// Its disk quota, in bytes; 0: it has none.
    pub disk: u64,
    /// Its processors, in thousandths.
    pub cpus: u64,
    /// Where it is reached; empty if it has no address yet.
    pub address: Box<str>,
    /// Why it failed or ended: a code and a sentence.
    pub fault: Option<Fault>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// A job makes it.
    Creating,
    /// A job starts it, or the daemon will start it again.
    Starting,
    /// It runs.
    Running,
    /// A job stops or deletes it.
    Stopping,
    /// It does not run, as it was asked to; by whom is known here.
    Stopped,
    /// It could not be made or started, or its guest ended.
    Failed,
}

/// Why something did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For scripts.
    pub code: Code,
    /// Whether the box is the reason, and not the guest: no room, no memory, an image that cannot be fetched. Another box may
    /// fare better.
    pub of_box: bool,
    /// A sentence.
    pub message: Box<str>,
}

/// What the box has for others, and how much of it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Free memory that may be promised, in bytes.
    pub memory: u64,
    /// Free disk that may be promised, in bytes.
    pub disk: u64,
    /// Processors, in thousandths.
    pub cpus: u64,
}

/// What happens.
#[derive(Debug)]
// Settings come once in a while, and are moved then.
#[allow(clippy::large_enum_variant)]
pub enum Input<'a> {
    /// The configuration was read, at first or anew.
    Settings(Settings),
    /// A broker has accepted the connection, and knows nothing of an earlier one.
    Connected(Broker),
    /// The connection is gone.
    Lost(Broker),
    /// A broker says this.
    Message {
        /// Which broker.
        broker: Broker,
        /// The topic as text.
        topic: &'a str,
        /// What stands there; nothing if it was cleared.
        payload: &'a [u8],
        /// Whether it stood there before it was asked for.
        retained: bool,
    },
    /// Somebody on this box gives a manifest, an index or revocations that their member signed: brokers need not have them, and
    /// there need be none.
    Given {
        /// Where it belongs.
        topic: Topic,
        /// What was signed.
        payload: &'a [u8],
    },
    /// All containers that have a slice: once before anything else happens, and whenever one of them has changed. After
    /// [`Input::Done`] only what was looked at after the call had ended.
    Containers(&'a [Container]),
    /// What the box has for others: once, and when it has changed by much.
    Room(Room),
    /// A call has come to its end.
    Done {
        /// Which call.
        call: Call,
        /// How.
        result: Result<(), Fault>,
    },
    /// The time that [`super::core::Core::deadline`] asked for has come, or NTP has answered.
    Tick,
    /// The owner answers who asked to be hosted: he is allowed, or not, with a word to it.
    Answer {
        /// Who asked.
        member: Id,
        /// Whether he is hosted from now on.
        allowed: bool,
        /// What the owner says.
        note: &'a str,
    },
    /// The process is being stopped and will be back soon, or the box is: say so to others.
    Shutdown,
}

/// The number of a call that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u32);

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a broker for what stands at this filter, and for what comes. The end of what stood there is known by a
    /// [`Topic::Mark`].
    Subscribe(Broker, String),
    /// No more of it.
    Unsubscribe(Broker, String),
    /// Publish with QoS 1.
    Publish {
        /// Where.
        broker: Broker,
        /// The topic as text.
        topic: String,
        /// What; nothing clears what is retained.
        payload: Rc<[u8]>,
        /// Whether it shall stand there.
        retain: bool,
    },
    /// Write a file of this name, whole, and have it on the disk before anything that follows. A name has `a–z0–9.-` only.
    Keep(String, Rc<[u8]>),
    /// Remove it.
    Forget(String),
    /// Call the box's daemon. What comes of it is told by [`Input::Done`], once, and what changes by [`Input::Containers`].
    Call(Call, Work),
    /// Somebody should know: an event of `cloudbox.commons`, a line in the log.
    Notice(Notice),
}

/// What the box's daemon is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Fetch an image.
    Pull {
        /// A remote and a name there, to ask first.
        alias: Box<str>,
        /// What it must be.
        sha256: Hash,
    },
    /// Make a container of that image and start it.
    Create(Box<Birth>),
    /// Change its limits while it runs.
    Limit {
        /// Its name.
        name: Box<str>,
        /// Memory, in bytes.
        memory: u64,
        /// Disk, in bytes.
        disk: u64,
        /// Processors, in thousandths.
        cpus: u64,
    },
    /// Start it.
    Start(Box<str>),
    /// Stop it.
    Stop(Box<str>),
    /// Remove it and its data.
    Delete(Box<str>),
}

/// What a container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub member: Id,
    /// His slice.
    pub slice: Label,
    /// What the manifest says of the group.
    pub group: Group,
    /// The image for this box.
    pub image: Hash,
    /// Whether what it publishes may be announced.
    pub publish: bool,
    /// The sealed key of its secrets for this box, in base64.
    pub seal: Option<Box<str>>,
}

/// Something that a person or a program may want to know at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A member of a slice on this box is now like this.
    Member {
        /// Whose slice.
        member: Id,
        /// The slice.
        slice: Label,
        /// The group.
        group: Label,
        /// A word of [`super::formats::MemberState`].
        state: &'static str,
        /// Why, for scripts.
        code: Box<str>,
        /// Why, for people.
        reason: Box<str>,
    },
    /// Four days before it ends: the slice, or the certificate by which its member is known.
    Expires {
        /// Whose slice.
        member: Id,
        /// The slice.
        slice: Label,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// Somebody asks to be hosted.
    Asked {
        /// Who.
        member: Id,
    },
    /// Something that was signed by a key that counts here is wrong, and why.
    Wrong {
        /// Where it stood.
        topic: Topic,
        /// What is wrong.
        why: Box<str>,
    },
    /// Another box uses this box's key: nothing is begun or ended until it is silent.
    Foreign,
    /// This box hears others and nobody hears it, or no more so.
    Unheard(bool),
    /// Something of the box's own is published again and again, and does not stand in the broker: an access list refuses it.
    NotHeld {
        /// Which broker.
        broker: Broker,
        /// What.
        topic: Topic,
    },
}
