//! A box in memory, behind every trait of the steps: for tests of what is built on them.
//!
//! What there is of containers is a [`World`], a value of plain sets: that nothing is left is the equality of two
//! worlds. Every call is recorded by name; any of them can be told to fail, to wait, or to have the job cancelled while
//! it lasts. Each step looks whether it could really be done: a root is mounted over a mounted image only, a container
//! starts from a mounted root only.
//!
//! This file is how a test drives the box; each trait has a file of its own.

mod avahi;
mod config;
mod copies;
pub mod golden;
mod images;
mod network;
mod record;
mod runtime;
mod storage;
mod temp_dir;
mod world;

pub use images::{image, ImageStore};
pub use network::link_message;
pub use record::record;
pub use temp_dir::TempDir;
pub use world::{Files, World};

use crate::error::{Code, Error, Result};
use crate::model::image::Image;
use crate::model::name::Name;
use crate::steps::avahi::Wanted;
use crate::steps::ctx::{Cancel, Ctx};
use crate::steps::image::Images;
use crate::steps::lxc::{Foreign, Notice, Running};
use crate::steps::network::Port;
use crate::steps::storage::Record;
use crate::steps::wait;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use world::{limits_of, ALIVE};

/// The longest a held call waits to be released: a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a failing call has done its work all the same, as an fsync that fails after its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was done.
    Before,
    /// It was done.
    After,
}

enum On {
    /// The call of this number, counted from 0 since the box was made.
    Number(usize),
    /// The next call of this name, or of this name and target.
    Named(String),
    /// All calls of it.
    Every(String),
}

#[derive(Default)]
struct State {
    world: World,
    calls: Vec<String>,
    faults: Vec<(On, When, Error)>,
    cancel: Option<(usize, Cancel)>,
    gates: BTreeMap<String, Arc<EventFd>>,
    last_pid: i32,
    /// Both ends of the pipe that stands for a container's init: dropping the second one makes the first readable.
    inits: BTreeMap<Name, (OwnedFd, Option<OwnedFd>)>,
    rebooting: BTreeSet<Name>,
    exits: BTreeMap<Name, i32>,
    notices: Vec<(Name, Notice)>,
    usages: Vec<Name>,
    announced: Wanted,
    addresses: Vec<IpAddr>,
    foreign: Vec<Foreign>,
    watchers: BTreeMap<i32, UnixDatagram>,
    /// What was asked last for each port.
    ports: BTreeMap<String, Port>,
    /// Where the daemon hears of the box's links.
    links: Option<UnixDatagram>,
    no_bridge: bool,
    /// Machines in the bridge's network, by their address, with each byte of their hardware address.
    neighbours: BTreeMap<Ipv4Addr, u8>,
    /// Who has a lease.
    leases: BTreeMap<Ipv4Addr, String>,
    /// Ports that are in no bridge.
    apart: BTreeSet<String>,
}

impl State {
    fn has_bridge(&self, name: &str) -> bool {
        matches!(name, "br-lan" | "br-commons") && !self.no_bridge
    }

    fn tell(&self, message: Vec<u8>) {
        if let Some(links) = &self.links {
            links.send(&message).unwrap();
        }
    }
}

/// The box. Clones are the same box.
#[derive(Clone)]
pub struct FakeBox {
    state: Arc<Mutex<State>>,
    images: Arc<ImageStore>,
}

impl FakeBox {
    /// A box with `images`, the bridge br-lan with 10.0.0.1/24, and nothing else.
    pub fn new(images: Vec<Image>) -> FakeBox {
        let fake =
            FakeBox { state: Arc::default(), images: Arc::new(ImageStore::new(Path::new("/run"), images)) };
        // Its owner lets calls name any file.
        let everywhere = "config host 'host'\n\tlist export_dir '/'\n\tlist import_dir '/'\n";
        fake.change(|world| world.host_config = everywhere.into());
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody removes br-lan: all ports are in no bridge.
    pub fn remove_bridge(&self) {
        let mut state = self.state();
        state.no_bridge = true;
        let world = &state.world;
        let running = world.processes.keys().filter_map(|name| world.alive.get(name)?.record.as_ref());
        let ports: Vec<String> = running.map(|record| record.veth.clone()).collect();
        for port in &ports {
            state.tell(link_message(libc::RTM_DELLINK, libc::AF_BRIDGE, 3, port, 7, false));
        }
        state.apart.extend(ports);
    }

    /// Somebody makes br-lan anew.
    pub fn make_bridge(&self) {
        let mut state = self.state();
        state.no_bridge = false;
        state.tell(link_message(libc::RTM_NEWLINK, 0, 9, "br-lan", 0, true));
    }

    /// A port is in no bridge any more, and nobody tells.
    pub fn lose_port(&self, port: &str) {
        self.state().apart.insert(port.to_string());
    }

    /// Somebody takes a port out of br-lan.
    pub fn take_out(&self, port: &str) {
        self.lose_port(port);
        self.state().tell(link_message(libc::RTM_NEWLINK, 0, 3, port, 0, false));
    }

    /// What avahi-daemon is told to announce.
    pub fn announced(&self) -> Wanted {
        self.state().announced.clone()
    }

    /// The image store and its servers.
    pub fn image_store(&self) -> &ImageStore {
        &self.images
    }

    /// What there is.
    pub fn world(&self) -> World {
        let images = self.images.mounted().unwrap_or_default().into_iter().collect();
        World { images, ..self.state().world.clone() }
    }

    /// Changes what there is, as another program may.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.state().world);
    }

    /// Every call up to now, `storage.mount web`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Lets the call of this number fail.
    pub fn fail_at(&self, number: usize, when: When) {
        self.fault(On::Number(number), when, Code::Failed);
    }

    /// Lets the next call named `call` fail, `storage.mount` or `storage.mount web`.
    pub fn fail(&self, call: &str) {
        self.fail_with(call, Code::Failed);
    }

    /// The same, with a code.
    pub fn fail_with(&self, call: &str, code: Code) {
        self.fault(On::Named(call.to_string()), When::Before, code);
    }

    /// Lets every call named `call` fail.
    pub fn fail_always(&self, call: &str) {
        self.fault(On::Every(call.to_string()), When::Before, Code::Failed);
    }

    fn fault(&self, on: On, when: When, code: Code) {
        self.state().faults.push((on, when, Error::new(code, "injected failure")));
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Cancels a job while the call of this number lasts.
    pub fn cancel_at(&self, number: usize, cancel: &Cancel) {
        self.state().cancel = Some((number, cancel.clone()));
    }

    /// Lets every call named `call` wait until [`FakeBox::release`].
    pub fn hold(&self, call: &str) {
        let gate = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        self.state().gates.insert(call.to_string(), Arc::new(gate));
    }

    /// Lets the calls held at `call` go on.
    pub fn release(&self, call: &str) {
        if let Some(gate) = self.state().gates.remove(call) {
            gate.write(1).unwrap();
        }
    }

    /// Another box in the same state, on which nothing fails or waits, and which the first one's machines do not reach.
    pub fn twin(&self) -> FakeBox {
        let images = self.images.list().unwrap_or_default();
        let twin = FakeBox::new(images);
        for sha256 in self.images.mounted().unwrap_or_default() {
            twin.images.mount(&sha256).unwrap();
        }
        let state = self.state();
        {
            let mut other = twin.state();
            other.world = state.world.clone();
            other.last_pid = state.last_pid;
            for (name, pid) in &state.world.processes {
                other.begin(name);
                other.world.processes.insert(name.clone(), *pid);
            }
        }
        drop(state);
        twin
    }

    /// The container is there and runs, without anybody having made it.
    pub fn run(&self, record: &Record) -> Running {
        let mut state = self.state();
        let files =
            Files { record: Some(record.clone()), disk: record.spec.disk.is_some(), ..Files::default() };
        state.world.alive.insert(record.name.clone(), files);
        state.world.roots.insert((ALIVE, record.name.clone()));
        state.world.limits.insert(record.name.clone(), limits_of(record));
        state.begin(&record.name)
    }

    /// Whose usage has been read since the last time.
    pub fn take_usages(&self) -> Vec<Name> {
        std::mem::take(&mut self.state().usages)
    }

    /// The container's init ends by itself.
    pub fn end(&self, name: &str) {
        let mut state = self.state();
        let name = Name::new(name).unwrap();
        state.world.processes.remove(&name).unwrap();
        state.world.limits.remove(&name);
        state.world.frozen.remove(&name);
        // A poweroff, unless it is told otherwise.
        state.exits.insert(name.clone(), 2);
        // A child that another test is just starting may have the other end too, for a moment: what is written counts.
        if let Some(end) = state.inits.get_mut(&name).unwrap().1.take() {
            nix::unistd::write(end, b"x").unwrap();
        }
    }

    /// The container's init ends by itself with this wait status; None: LXC does not tell.
    pub fn crash(&self, name: &str, status: Option<i32>) {
        self.end(name);
        let exits = &mut self.state().exits;
        exits.remove(&Name::new(name).unwrap());
        if let Some(status) = status {
            exits.insert(Name::new(name).unwrap(), status);
        }
    }

    /// The kernel tells that the container ran out of memory.
    pub fn run_out_of_memory(&self, name: &str) {
        self.state().notices.push((Name::new(name).unwrap(), Notice::OutOfMemory(1)));
    }

    /// The file system of the container's disk has errors.
    pub fn fail_disk(&self, name: &str) {
        let name = Name::new(name).unwrap();
        let mut state = self.state();
        state.world.failed_disks.insert(name.clone());
        state.notices.push((name, Notice::DiskFailed));
    }

    /// The container reboots: its init ends, and LXC starts it again.
    pub fn reboot(&self, name: &str) {
        self.end(name);
        self.state().rebooting.insert(Name::new(name).unwrap());
    }

    /// The addresses of every container that is started or found from now on.
    pub fn give_addresses(&self, addresses: &[IpAddr]) {
        self.state().addresses = addresses.to_vec();
    }

    /// A machine in the bridge's network has this address.
    pub fn add_neighbour(&self, address: Ipv4Addr, byte: u8) {
        self.state().neighbours.insert(address, byte);
    }

    /// The DHCP server has given this address away.
    pub fn add_lease(&self, address: Ipv4Addr, holder: &str) {
        self.state().leases.insert(address, holder.to_string());
    }

    /// Another tool has made this container below /srv/lxc.
    pub fn add_foreign(&self, name: &str, running: bool) {
        let lxcpath = PathBuf::from("/srv/lxc");
        self.state().foreign.push(Foreign { name: name.to_string(), lxcpath, running });
    }

    /// What was asked last for each port, by its name.
    pub fn ports(&self) -> BTreeMap<String, Port> {
        self.state().ports.clone()
    }

    /// The kernel tells that the container has one address more.
    pub fn add_address(&self, name: &str, address: IpAddr) {
        let state = self.state();
        let pid = state.world.processes[&Name::new(name).unwrap()];
        state.watchers[&pid].send(&network::address_added(address)).unwrap();
    }

    /// Every call passes here first: it is recorded, held, cancelled and told whether to fail.
    fn enter(&self, call: &str, target: &str, ctx: Option<&Ctx>) -> Result<Option<Error>> {
        let whole = if target.is_empty() { call.to_string() } else { format!("{call} {target}") };
        let (gate, fault) = {
            let mut state = self.state();
            let number = state.calls.len();
            state.calls.push(whole.clone());
            if let Some((_, cancel)) = state.cancel.take_if(|(at, _)| *at == number) {
                cancel.cancel();
            }
            let is = |name: &String| *name == whole || name == call;
            let found = state.faults.iter().position(|(on, ..)| match on {
                On::Number(at) => *at == number,
                On::Named(name) | On::Every(name) => is(name),
            });
            let fault = found.map(|at| match &state.faults[at] {
                (On::Every(_), when, error) => (*when, error.clone()),
                _ => {
                    let (_, when, error) = state.faults.remove(at);
                    (when, error)
                }
            });
            (state.gates.get(&whole).or(state.gates.get(call)).cloned(), fault)
        };
        if let Some(gate) = gate {
            let woken = wait::readable(gate.as_fd(), ctx.map(|ctx| &ctx.cancel), Instant::now() + PATIENCE)?;
            assert_eq!(woken, wait::Woken::Ready, "{whole} was held for ever");
        }
        match fault {
            None => Ok(None),
            Some((When::Before, error)) => Err(named(error, &whole)),
            Some((When::After, error)) => Ok(Some(named(error, &whole))),
        }
    }

    fn act<T>(
        &self,
        call: &str,
        target: &str,
        ctx: Option<&Ctx>,
        act: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let late = self.enter(call, target, ctx)?;
        let result = act(&mut self.state())?;
        late.map_or(Ok(result), Err)
    }
}

fn named(error: Error, call: &str) -> Error {
    Error::new(error.code, format_args!("{} of {call}", error.message))
}

fn impossible(what: &str, name: &Name) -> Error {
    Error::new(Code::Failed, format_args!("impossible: {what} of {name}"))
}

impl State {
    /// A new init for `name`.
    fn begin(&mut self, name: &Name) -> Running {
        self.last_pid += 1;
        // Above the kernel's largest pid: nobody's.
        let pid = (1 << 22) + self.last_pid;
        let (init, end) = nix::unistd::pipe().unwrap();
        let pidfd = init.try_clone().unwrap();
        self.inits.insert(name.clone(), (init, Some(end)));
        self.world.processes.insert(name.clone(), pid);
        Running { init: pid, pidfd, monitor: Some(pid) }
    }

    fn kill(&mut self, name: &Name) {
        if self.world.processes.remove(name).is_some() {
            self.inits.remove(name);
            self.world.frozen.remove(name);
            self.world.limits.remove(name);
        }
    }
}
