//! A box: its disk, its containers, its clocks, and the core that runs on it.

use super::parts::Quick;
use cloudbox::commons::core::Core;
use cloudbox::commons::fields::Hash;
use cloudbox::commons::id::Id;
use cloudbox::commons::interface::{Container, ContainerState, Identity, Now, Settings};
use cloudbox::usign::{Number, SecretKey};
use std::collections::BTreeMap;
use std::rc::Rc;

/// When the simulation begins, in seconds since 1970.
pub const EPOCH: u64 = 1_800_000_000;

/// A container.
#[derive(Debug, Clone)]
pub struct Guest {
    pub slice: String,
    pub state: ContainerState,
    pub image: Hash,
    pub memory: u64,
    pub disk: u64,
    pub cpus: u64,
    /// How often it was started.
    pub starts: u32,
}

/// The way to a broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    pub connected: bool,
    /// Raised at each connection: what was sent before it is lost.
    pub epoch: u32,
    /// When the last message on it arrives: none overtakes another.
    pub last_at: u64,
    /// It cannot be reached.
    pub cut: bool,
    /// What the box publishes there is acknowledged and dropped.
    pub mute: bool,
    /// What others publish there does not arrive.
    pub deaf: bool,
    /// The connection is dead, and nobody has noticed yet.
    pub dying: bool,
    /// Failed tries to connect.
    pub tries: u32,
}

/// What a broker says when a connection is lost: where, and what.
pub type Will = (Rc<str>, Rc<[u8]>);

pub struct Machine {
    pub id: Id,
    pub number: u64,
    pub settings: Settings,
    pub core: Option<Core>,
    pub on: bool,
    pub disk: BTreeMap<String, Rc<[u8]>>,
    pub session: u32,
    /// Raised with each process.
    pub process: u32,
    /// Raised with each boot.
    pub boot: u32,
    pub guests: BTreeMap<String, Guest>,
    pub ways: Vec<Way>,
    pub booted_at: u64,
    /// What the clock is off, in seconds.
    pub offset: i64,
    pub synced: bool,
    pub wake_at: u64,
    /// Pulls take so long, in milliseconds, if they do not fail.
    pub pull_time: u64,
    pub pull_fails: bool,
    pub no_space: bool,
    pub guest_fails: bool,
    /// Of each step so many of a thousand are the process' last.
    pub fragile: u64,
    pub images: Vec<Hash>,
    /// The greatest manifest that it ever held of each slice.
    pub greatest: BTreeMap<(Id, String), (u64, bool, u64)>,
    /// A will for each broker.
    pub wills: Vec<Option<Will>>,
    pub lowered: bool,
}

impl Machine {
    pub fn key(number: u64) -> SecretKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number + 1).to_le_bytes());
        SecretKey::new(seed, Number::new(number.to_le_bytes()))
    }

    pub fn new(number: u64, settings: Settings, brokers: usize) -> Machine {
        Machine {
            id: Id::of(&Machine::key(number).public()),
            number,
            settings,
            core: None,
            on: false,
            disk: BTreeMap::new(),
            session: 0,
            process: 0,
            boot: 0,
            guests: BTreeMap::new(),
            ways: vec![Way::default(); brokers],
            booted_at: 0,
            offset: 0,
            synced: true,
            wake_at: u64::MAX,
            pull_time: 5_000,
            pull_fails: false,
            no_space: false,
            guest_fails: false,
            fragile: 0,
            images: Vec::new(),
            greatest: BTreeMap::new(),
            wills: vec![None; brokers],
            lowered: false,
        }
    }

    /// The time as the box has it, when it is `now` in the world.
    pub fn now(&self, now: u64) -> Now {
        let wall = (EPOCH + now / 1000).saturating_add_signed(self.offset);
        Now { mono: now - self.booted_at + 5000, wall, synced: self.synced }
    }

    /// When that time of the box' is, in the world.
    pub fn world_time(&self, mono: u64) -> u64 {
        (mono + self.booted_at).saturating_sub(5000)
    }

    /// A new process with what is on the disk.
    pub fn start_process(&mut self, now: u64, run: u64) {
        self.session += 1;
        self.process += 1;
        let letters = b"abcdefghijklmnopqrstuvwxyz012345";
        let run = std::array::from_fn(|at| letters[(run >> (at * 5)) as usize % 32]);
        let identity =
            Identity { key: Machine::key(self.number), session: self.session, run, seed: self.number };
        let kept = self.disk.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect();
        self.core = Some(Core::new(identity, Rc::new(Quick), kept, self.now(now)));
        for way in &mut self.ways {
            *way = Way { connected: false, epoch: way.epoch + 1, tries: 0, dying: false, ..*way };
        }
        self.wake_at = u64::MAX;
    }

    pub fn containers(&self) -> Vec<Container> {
        let told = |(name, guest): (&String, &Guest)| Container {
            name: name.as_str().into(),
            slice: guest.slice.as_str().into(),
            state: guest.state,
            image: Some(guest.image),
            memory: guest.memory,
            disk: guest.disk,
            cpus: guest.cpus,
            address: "10.0.0.9".into(),
            fault: None,
        };
        self.guests.iter().map(told).collect()
    }

    /// Whether the member of that group runs here.
    pub fn runs(&self, slice: &str) -> bool {
        self.on
            && self
                .guests
                .values()
                .any(|guest| guest.slice == slice && guest.state == ContainerState::Running)
    }
}
