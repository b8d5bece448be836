//! A box in memory, behind every trait of the steps: for tests of what is built on them.
//!
//! What there is of containers is a [`World`], a value of plain sets: that nothing is left is the equality of two
//! worlds. Every call is recorded by name; any of them can be told to fail, to wait, or to have the job cancelled while
//! it lasts. Each step looks whether it could really be done: a root is mounted over a mounted image only, a container
//! starts from a mounted root only.

use super::avahi::{self, Avahi, Troubles, Wanted};
use super::config::{self, Change, ConfigStore};
use super::ctx::{Cancel, Ctx};
use super::image::fake::Fake as ImageStore;
use super::image::Images;
use super::lxc::cgroup::{Limits, Usage};
use super::lxc::{AfterEnd, Exec, Foreign, Output, Running, Runtime, Stop};
use super::network::{AddressWatch, Network, Traffic};
use super::storage::{
    Around, Copies, Found, GuestNetwork, Manifest, Record, Shifted, Snapshot, Stage, Storage, ToArchive,
};
use super::wait;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::mdns;
use crate::model::address::Ipv4Net;
use crate::model::image::{Image, Init};
use crate::model::name::{ImageName, Name};
use crate::model::remote::{Remote, Source};
use crate::model::service;
use crate::model::spec::Asked;
use crate::ops::{Live, Made};
use crate::simplestreams::Offer;
use nix::sys::eventfd::{EfdFlags, EventFd};
use openwrt_uci::{Document, EditError, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest a held call waits to be released: a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A container's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Its record; None while it is being built.
    pub record: Option<Record>,
    /// It has a file for its quota.
    pub disk: bool,
    /// What was written into the guest.
    pub guest: Option<GuestNetwork>,
    /// What its layer holds.
    pub layer: u32,
}

/// Everything there is of containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// `/etc/config/cloudbox`.
    pub config: String,
    /// Containers being built.
    pub unborn: BTreeMap<Name, Files>,
    /// Containers under their own names.
    pub alive: BTreeMap<Name, Files>,
    /// Containers to be erased.
    pub dead: BTreeMap<Name, Files>,
    /// Mounted roots: the kind of directory, and the container.
    pub roots: BTreeSet<(&'static str, Name)>,
    /// Mounted images.
    pub images: BTreeSet<String>,
    /// The limits of running containers: memory, processors, processes.
    pub limits: BTreeMap<Name, (u64, u32, u32)>,
    /// Running containers with the pids of their init.
    pub processes: BTreeMap<Name, i32>,
    /// Frozen containers.
    pub frozen: BTreeSet<Name>,
    /// Disks cannot grow while they are mounted.
    pub old_kernel: bool,
    /// Containers noted as held, and whether they are frozen for that.
    pub held: BTreeMap<Name, bool>,
    /// Layers at rest.
    pub resting: BTreeSet<Name>,
    /// Snapshots with what their layers hold: of which container, and called what.
    pub snapshots: BTreeMap<(Name, Name), (Snapshot, u32)>,
    /// Snapshots being copied.
    pub unborn_snapshots: BTreeMap<(Name, Name), u32>,
    /// Snapshots to be erased.
    pub dead_snapshots: BTreeSet<(Name, Name)>,
    /// Archives, with what their layers hold.
    pub archives: BTreeMap<PathBuf, (Manifest, u32)>,
    /// Containers of which an archive is being written.
    pub exports: BTreeSet<Name>,
    /// Layers beside those of containers.
    pub beside: BTreeMap<Name, u32>,
    /// Directories with damaged records.
    pub damaged: BTreeSet<Name>,
}

const UNBORN: &str = "unborn";
const ALIVE: &str = "alive";
const DEAD: &str = "dead";

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
    notices: Vec<(Name, u64)>,
    usages: Vec<Name>,
    announced: Wanted,
    addresses: Vec<IpAddr>,
    foreign: Vec<Foreign>,
    watchers: BTreeMap<i32, UnixDatagram>,
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
        FakeBox { state: Arc::default(), images: Arc::new(ImageStore::new(Path::new("/run"), images)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine of this box's steps.
    pub fn machine(&self) -> Machine {
        let part = || Box::new(self.clone());
        Machine::new(part(), part(), part(), part(), part(), part())
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
    pub fn run(&self, record: Record) -> Made {
        let mut state = self.state();
        let files =
            Files { record: Some(record.clone()), disk: record.spec.disk.is_some(), guest: None, layer: 0 };
        state.world.alive.insert(record.name.clone(), files);
        state.world.roots.insert((ALIVE, record.name.clone()));
        state.world.limits.insert(record.name.clone(), limits_of(&record));
        let running = state.begin(&record.name);
        drop(state);
        let addresses = self.watch(running.init).ok();
        let began = crate::sys::boottime();
        Made {
            record: Box::new(record),
            live: Some(Box::new(Live {
                serial: Live::next_serial(),
                running,
                addresses,
                began,
                reading: Default::default(),
                frozen: false,
                ooms: 0,
                ooms_told: None,
            })),
        }
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
        self.state().notices.push((Name::new(name).unwrap(), 1));
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

    /// Another tool has made this container below /srv/lxc.
    pub fn add_foreign(&self, name: &str, running: bool) {
        let lxcpath = PathBuf::from("/srv/lxc");
        self.state().foreign.push(Foreign { name: name.to_string(), lxcpath, running });
    }

    /// The kernel tells that the container has one address more.
    pub fn add_address(&self, name: &str, address: IpAddr) {
        let state = self.state();
        let pid = state.world.processes[&Name::new(name).unwrap()];
        state.watchers[&pid].send(&address_added(address)).unwrap();
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

    fn edit(&self, call: &str, name: &str, change: impl FnOnce(&mut Document) -> EditResult) -> Result<()> {
        self.act(call, name, None, |state| {
            let mut document = Document::parse(state.world.config.as_bytes())
                .map_err(|e| Error::new(Code::Config, e.to_string()))?;
            change(&mut document).map_err(|e| Error::new(Code::Config, e.to_string()))?;
            state.world.config = String::from_utf8(document.to_bytes()).unwrap();
            Ok(())
        })
    }
}

type EditResult = std::result::Result<(), EditError>;

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

/// The limits of `record`, as [`World::limits`] has them.
fn limits_of(record: &Record) -> (u64, u32, u32) {
    (record.spec.memory.get(), record.spec.cpus.milli(), record.spec.pids)
}

impl ConfigStore for FakeBox {
    fn load(&self) -> Result<Package> {
        self.act("config.load", "", None, |state| {
            Package::parse(state.world.config.as_bytes())
                .map_err(|e| Error::new(Code::Config, format_args!("/etc/config/cloudbox: {e}")))
        })
    }

    fn add_container(&self, name: &Name, asked: &Asked) -> Result<()> {
        let section = name.uci_section();
        let mut taken = false;
        self.edit("config.add_container", name.as_str(), |document| {
            taken = document.package().section(&section).is_some();
            if taken {
                return Ok(());
            }
            document.add_section("container", &section)?;
            for (option, value) in asked.options() {
                document.set(&section, option, value)?;
            }
            for (list, values) in asked.lists() {
                if !values.is_empty() {
                    document.set_list(&section, list, values)?;
                }
            }
            Ok(())
        })?;
        if taken {
            return Err(Error::new(Code::Exists, format_args!("there is a section '{section}' already")));
        }
        Ok(())
    }

    fn change(&self, name: &Name, changes: &[Change]) -> Result<Vec<Change>> {
        let mut before = None;
        self.edit("config.change", name.as_str(), |document| {
            before = config::change(document, name, changes)?;
            Ok(())
        })?;
        before.ok_or_else(|| config::no_section(name))
    }

    fn rename_container(&self, name: &Name, new_name: &Name) -> Result<()> {
        self.edit("config.rename_container", name.as_str(), |document| {
            config::edit_name(document, name, new_name)
        })
    }

    fn mark_deleting(&self, name: &Name) -> Result<()> {
        let section = name.uci_section();
        self.edit("config.mark_deleting", name.as_str(), |document| {
            match document.package().section(&section) {
                Some(_) => document.set(&section, "deleting", "1"),
                None => Ok(()),
            }
        })
    }

    fn remove_container(&self, name: &Name, services: bool) -> Result<()> {
        self.edit("config.remove_container", name.as_str(), |document| {
            super::config::edit_out(document, name, services)
        })
    }

    fn put_service(&self, id: &str, asked: &service::Asked) -> Result<()> {
        self.edit("config.put_service", id, |document| {
            super::config::edit_service(document, id, asked).map(drop)
        })
    }

    fn remove_service(&self, id: &str) -> Result<()> {
        self.edit("config.remove_service", id, |document| match document.package().section(id) {
            Some(_) => document.remove_section(id),
            None => Ok(()),
        })
    }
}

impl Avahi for FakeBox {
    fn announce(&self, wanted: &Wanted) -> Troubles {
        let announced = self.act("avahi.announce", "", None, |state| {
            state.announced.clone_from(wanted);
            Ok(())
        });
        announced.err().map(|error| (String::new(), error)).into_iter().collect()
    }

    fn watch_directory(&self) -> Option<OwnedFd> {
        None
    }

    fn state(&self) -> avahi::State {
        avahi::State::Running
    }

    fn hosts_trouble(&self) -> Option<String> {
        None
    }

    fn hostname(&self) -> String {
        "alpha".to_string()
    }

    fn browse(&self, kind: Option<&str>, _timeout: Duration) -> Result<Vec<mdns::Found>> {
        let found = |kind: &str, name: &str, host: &str, last: u8| mdns::Found {
            kind: kind.to_string(),
            name: name.to_string(),
            host: host.to_string(),
            addresses: vec![[10, 0, 0, last].into()],
            port: 80,
            txt: vec!["path=/".to_string()],
            from: None,
        };
        let all = [
            found("_http._tcp", "Wiki", "web-beta.local", 7),
            found("_cloudbox._tcp", "beta", "beta.local", 2),
            found("_http._tcp", "Mine", "web-alpha.local", 77),
            found("_http._tcp", "Printer", "printer.local", 9),
        ];
        self.act("avahi.browse", kind.unwrap_or_default(), None, |_| Ok(()))?;
        Ok(all.into_iter().filter(|found| kind.is_none_or(|kind| found.kind == kind)).collect())
    }
}

impl Storage for FakeBox {
    fn box_id(&self) -> Result<String> {
        Ok("7d2a".to_string())
    }

    fn scan(&self) -> Result<Vec<Found>> {
        self.act("storage.scan", "", None, |state| {
            let alive = state.world.alive.iter();
            let whole = alive.filter_map(|(name, files)| Some(files.record.clone()?.called(name)));
            let damaged = state.world.damaged.iter().map(|name| {
                Found::Unreadable(
                    name.clone(),
                    Error::new(Code::Failed, format_args!("{name}/record.json is damaged")),
                )
            });
            Ok(whole.map(|record| Found::Container(Box::new(record))).chain(damaged).collect())
        })
    }

    fn build(&self, ctx: &Ctx, record: &Record) -> Result<()> {
        let name = &record.name;
        ctx.step("create.directory")?;
        self.act("storage.build", name.as_str(), Some(ctx), |state| {
            let files = Files { record: None, disk: false, guest: None, layer: 0 };
            state.world.unborn.insert(name.clone(), files);
            Ok(())
        })?;
        let file = |state: &mut State, set: &dyn Fn(&mut Files)| {
            set(state.world.unborn.get_mut(name).ok_or_else(|| impossible("building", name))?);
            Ok(())
        };
        if record.spec.disk.is_some() {
            ctx.step("create.disk")?;
            self.act("storage.disk", name.as_str(), Some(ctx), |state| file(state, &|f| f.disk = true))?;
        }
        ctx.step("create.record")?;
        self.act("storage.record", name.as_str(), Some(ctx), |state| {
            file(state, &|f| f.record = Some(record.clone()))
        })
    }

    fn mount(&self, record: &Record, stage: Stage, image: &Path) -> Result<()> {
        let name = &record.name;
        let mounted = self.images.mounted()?;
        self.act("storage.mount", name.as_str(), None, |state| {
            let world = &mut state.world;
            let (kind, there) = match stage {
                Stage::Unborn => (UNBORN, world.unborn.contains_key(name)),
                Stage::Alive => (ALIVE, world.alive.contains_key(name)),
            };
            let over_image = mounted.iter().any(|sha256| image.ends_with(sha256));
            if !there || !over_image || !world.roots.insert((kind, name.clone())) {
                return Err(impossible("the mount", name));
            }
            Ok(())
        })
    }

    fn unmount(&self, name: &Name) -> Result<()> {
        self.act("storage.unmount", name.as_str(), None, |state| {
            state.world.roots.retain(|(kind, of)| of != name || *kind == DEAD);
            Ok(())
        })
    }

    fn grow(&self, record: &Record) -> Result<bool> {
        let name = &record.name;
        self.act("storage.grow", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("growing the disk", name));
            }
            Ok(!state.world.old_kernel)
        })
    }

    fn write_guest_files(&self, record: &Record, network: &GuestNetwork) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_guest_files", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(UNBORN, name.clone())) {
                return Err(impossible("files of the guest", name));
            }
            let files = state.world.unborn.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(*network);
            Ok(())
        })
    }

    fn write_guest_network(&self, record: &Record, network: &GuestNetwork) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_guest_network", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("the network of the guest", name));
            }
            let files = state.world.alive.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(*network);
            Ok(())
        })
    }

    fn write_guest_label(&self, record: &Record, _label: &str) -> Result<()> {
        self.act("storage.write_guest_label", record.name.as_str(), None, |_| Ok(()))
    }

    fn give_name(&self, name: &Name) -> Result<()> {
        self.act("storage.give_name", name.as_str(), None, |state| {
            let world = &mut state.world;
            if world.alive.contains_key(name) || world.damaged.contains(name) {
                return Err(impossible("the naming", name));
            }
            let files = world.unborn.remove(name).ok_or_else(|| impossible("the naming", name))?;
            world.alive.insert(name.clone(), files);
            if world.roots.remove(&(UNBORN, name.clone())) {
                world.roots.insert((ALIVE, name.clone()));
            }
            Ok(())
        })
    }

    fn discard(&self, name: &Name) -> Result<()> {
        self.act("storage.discard", name.as_str(), None, |state| {
            state.world.roots.retain(|(kind, of)| of != name || *kind == DEAD);
            state.world.unborn.remove(name);
            Ok(())
        })
    }

    fn take_name(&self, name: &Name) -> Result<()> {
        self.act("storage.take_name", name.as_str(), None, |state| {
            let world = &mut state.world;
            world.roots.remove(&(DEAD, name.clone()));
            world.dead.remove(name);
            let nothing = Files { record: None, disk: false, guest: None, layer: 0 };
            let damaged = world.damaged.remove(name).then_some(nothing);
            world.snapshots.retain(|(of, _), _| of != name);
            if let Some(files) = world.alive.remove(name).or(damaged) {
                world.dead.insert(name.clone(), files);
                if world.roots.remove(&(ALIVE, name.clone())) {
                    world.roots.insert((DEAD, name.clone()));
                }
            }
            Ok(())
        })
    }

    fn erase(&self, name: &Name) -> Result<()> {
        self.act("storage.erase", name.as_str(), None, |state| {
            if state.world.processes.contains_key(name) {
                return Err(impossible("erasing what runs", name));
            }
            state.world.roots.remove(&(DEAD, name.clone()));
            state.world.dead.remove(name);
            Ok(())
        })
    }

    fn rename(&self, name: &Name, new_name: &Name) -> Result<()> {
        self.act("storage.rename", name.as_str(), None, |state| {
            let world = &mut state.world;
            if !world.alive.contains_key(name) && world.alive.contains_key(new_name) {
                return Ok(());
            }
            if world.processes.contains_key(name) || world.alive.contains_key(new_name) {
                return Err(impossible("the renaming", name));
            }
            let files = world.alive.remove(name).ok_or_else(|| impossible("the renaming", name))?;
            world.roots.retain(|(_, of)| of != name);
            world.alive.insert(new_name.clone(), files);
            Ok(())
        })
    }

    fn save_record(&self, record: &Record) -> Result<()> {
        self.act("storage.save_record", record.name.as_str(), None, |state| {
            let files = state.world.alive.get_mut(&record.name);
            files.ok_or_else(|| impossible("the record", &record.name))?.record = Some(record.clone());
            Ok(())
        })
    }

    fn leftovers(&self) -> Result<Vec<Name>> {
        let state = self.state();
        let names: BTreeSet<&Name> = state.world.unborn.keys().chain(state.world.dead.keys()).collect();
        Ok(names.into_iter().cloned().collect())
    }

    fn sweep(&self) -> Result<Vec<String>> {
        self.act("storage.sweep", "", None, |state| {
            let world = &mut state.world;
            let unborn = world.unborn.keys().map(|name| format!(".new-{name}"));
            let swept = unborn.chain(world.dead.keys().map(|name| format!(".gone-{name}"))).collect();
            world.unborn.clear();
            world.dead.clear();
            world.unborn_snapshots.clear();
            world.dead_snapshots.clear();
            world.beside.clear();
            world.exports.clear();
            world.roots.retain(|(kind, _)| *kind == ALIVE);
            Ok(swept)
        })
    }

    fn used(&self, name: &Name) -> Option<u64> {
        let state = self.state();
        state.world.alive.get(name).filter(|files| files.disk).map(|_| 1 << 20)
    }
}

impl Copies for FakeBox {
    fn snapshots(&self, name: &Name) -> Result<Vec<Snapshot>> {
        self.act("storage.snapshots", name.as_str(), None, |state| {
            let own = state.world.snapshots.iter().filter(|((of, _), _)| of == name);
            Ok(own.map(|(_, (snapshot, _))| snapshot.clone()).collect())
        })
    }

    fn layer_size(&self, ctx: &Ctx, record: &Record) -> Result<u64> {
        self.act("storage.layer_size", record.name.as_str(), Some(ctx), |_| Ok(1 << 20))
    }

    fn flush_layer(&self, record: &Record) -> Result<()> {
        self.act("storage.flush_layer", record.name.as_str(), None, |state| {
            match state.world.held.contains_key(&record.name) {
                true => Ok(()),
                false => Err(impossible("flushing", &record.name)),
            }
        })
    }

    fn note_held(&self, name: &Name, frozen: bool) -> Result<()> {
        self.act("storage.note_held", name.as_str(), None, |state| {
            state.world.held.insert(name.clone(), frozen);
            Ok(())
        })
    }

    fn hold_layer(&self, record: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.hold_layer", name.as_str(), None, |state| {
            let world = &mut state.world;
            if !world.frozen.contains(name) || !world.held.contains_key(name) {
                return Err(impossible("holding the layer", name));
            }
            world.resting.insert(name.clone());
            Ok(())
        })
    }

    fn let_layer_go(&self, name: &Name) -> Result<()> {
        self.act("storage.let_layer_go", name.as_str(), None, |state| {
            state.world.resting.remove(name);
            Ok(())
        })
    }

    fn forget_held(&self, name: &Name) -> Result<()> {
        self.act("storage.forget_held", name.as_str(), None, |state| {
            state.world.held.remove(name);
            Ok(())
        })
    }

    fn held(&self) -> Vec<(Name, bool)> {
        self.state().world.held.iter().map(|(name, frozen)| (name.clone(), *frozen)).collect()
    }

    fn copy_to_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Name, _bytes: u64) -> Result<()> {
        let key = (record.name.clone(), snapshot.clone());
        self.act("storage.copy_to_snapshot", record.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let moves = world.processes.contains_key(&key.0) && !world.resting.contains(&key.0);
            if moves || world.snapshots.contains_key(&key) {
                return Err(impossible("the snapshot", snapshot));
            }
            let layer = world.alive.get(&key.0).map(|files| files.layer);
            world.unborn_snapshots.insert(key, layer.ok_or_else(|| impossible("a layer", snapshot))?);
            Ok(())
        })
    }

    fn give_snapshot_name(&self, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let key = (record.name.clone(), snapshot.name.clone());
        self.act("storage.give_snapshot_name", record.name.as_str(), None, |state| {
            let layer = state.world.unborn_snapshots.remove(&key);
            let layer = layer.ok_or_else(|| impossible("the naming", &snapshot.name))?;
            state.world.snapshots.insert(key, (snapshot.clone(), layer));
            Ok(())
        })
    }

    fn discard_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        self.act("storage.discard_snapshot", name.as_str(), None, |state| {
            state.world.unborn_snapshots.remove(&(name.clone(), snapshot.clone()));
            Ok(())
        })
    }

    fn take_snapshot_name(&self, name: &Name, snapshot: &Name) -> Result<()> {
        let key = (name.clone(), snapshot.clone());
        self.act("storage.take_snapshot_name", name.as_str(), None, |state| {
            if state.world.snapshots.remove(&key).is_some() {
                state.world.dead_snapshots.insert(key);
            }
            Ok(())
        })
    }

    fn erase_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        self.act("storage.erase_snapshot", name.as_str(), None, |state| {
            state.world.dead_snapshots.remove(&(name.clone(), snapshot.clone()));
            Ok(())
        })
    }

    fn copy_from_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let key = (record.name.clone(), snapshot.name.clone());
        self.act("storage.copy_from_snapshot", record.name.as_str(), Some(ctx), |state| {
            let layer = state.world.snapshots.get(&key).map(|(_, layer)| *layer);
            state.world.beside.insert(key.0, layer.ok_or_else(|| impossible("the copy", &key.1))?);
            Ok(())
        })
    }

    fn exchange_layer(&self, record: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.exchange_layer", name.as_str(), None, |state| {
            let world = &mut state.world;
            if world.processes.contains_key(name) || world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("exchanging a layer in use", name));
            }
            match (world.alive.get_mut(name), world.beside.get_mut(name)) {
                (Some(files), Some(beside)) => std::mem::swap(&mut files.layer, beside),
                _ => return Err(impossible("exchanging", name)),
            }
            Ok(())
        })
    }

    fn copy_layer(
        &self,
        ctx: &Ctx,
        from: &Record,
        snapshot: Option<&Snapshot>,
        to: &Record,
        _bytes: u64,
    ) -> Result<()> {
        self.act("storage.copy_layer", to.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let moves = world.processes.contains_key(&from.name) && !world.resting.contains(&from.name);
            let layer = match snapshot {
                Some(snapshot) => {
                    world.snapshots.get(&(from.name.clone(), snapshot.name.clone())).map(|s| s.1)
                }
                None => world.alive.get(&from.name).filter(|_| !moves).map(|files| files.layer),
            };
            let files = world.unborn.get_mut(&to.name).ok_or_else(|| impossible("a copy", &to.name))?;
            files.layer = layer.ok_or_else(|| impossible("copying", &from.name))?;
            Ok(())
        })
    }

    fn export(&self, ctx: &Ctx, what: &ToArchive<'_>, around: &mut Around<'_>) -> Result<()> {
        let name = &what.record.name;
        ctx.step("export.copy")?;
        self.act("storage.export", name.as_str(), Some(ctx), |state| {
            state.world.exports.insert(name.clone());
            Ok(())
        })?;
        around(&mut || {
            self.act("storage.export_layer", name.as_str(), Some(ctx), |state| {
                let world = &state.world;
                let moves = world.processes.contains_key(name) && !world.resting.contains(name);
                if moves && what.snapshot.is_none() {
                    return Err(impossible("the export", name));
                }
                Ok(())
            })
        })?;
        ctx.step("export.name")?;
        self.act("storage.name_export", name.as_str(), None, |state| {
            let world = &mut state.world;
            let layer = match what.snapshot {
                Some(snapshot) => world.snapshots[&(name.clone(), snapshot.name.clone())].1,
                None => world.alive[name].layer,
            };
            let image = what.image.map(|(_, size)| (512, size));
            let manifest = Manifest { record: what.told.clone(), image, bytes: what.bytes };
            world.archives.insert(what.path.to_path_buf(), (manifest, layer));
            world.exports.remove(name);
            Ok(())
        })
    }

    fn discard_export(&self, name: &Name) -> Result<()> {
        self.act("storage.discard_export", name.as_str(), None, |state| {
            state.world.exports.remove(name);
            Ok(())
        })
    }

    fn look_at_archive(&self, ctx: &Ctx, path: &Path) -> Result<Manifest> {
        self.act("storage.look_at_archive", "", Some(ctx), |state| {
            let found = state.world.archives.get(path).map(|(manifest, _)| manifest.clone());
            found.ok_or_else(|| Error::new(Code::NotFound, format_args!("{} is not there", path.display())))
        })
    }

    fn unpack(&self, ctx: &Ctx, path: &Path, manifest: &Manifest, to: &Record, _left: u64) -> Result<()> {
        self.act("storage.unpack", to.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let layer = world.archives.get(path).filter(|(is, _)| is == manifest).map(|(_, layer)| *layer);
            let files = world.unborn.get_mut(&to.name).ok_or_else(|| impossible("an import", &to.name))?;
            files.layer = layer.ok_or_else(|| impossible("unpacking", &to.name))?;
            Ok(())
        })
    }

    fn write_identity(&self, record: &Record, _was: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_identity", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(UNBORN, name.clone())) {
                return Err(impossible("the identity", name));
            }
            let files = state.world.unborn.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(GuestNetwork::default());
            Ok(())
        })
    }

    fn discard_layer(&self, name: &Name) -> Result<()> {
        self.act("storage.discard_layer", name.as_str(), None, |state| {
            state.world.beside.remove(name);
            Ok(())
        })
    }
}

impl Runtime for FakeBox {
    fn start(&self, ctx: &Ctx, record: &Record, _gateway: Option<Ipv4Addr>) -> Result<Running> {
        let name = &record.name;
        ctx.step("start.lxc")?;
        self.act("runtime.start", name.as_str(), Some(ctx), |state| {
            if state.world.processes.contains_key(name) {
                return Err(Error::new(Code::Running, format_args!("container {name} still lives")));
            }
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("a start without a root", name));
            }
            state.world.limits.insert(name.clone(), limits_of(record));
            state.exits.remove(name);
            Ok(state.begin(name))
        })
    }

    fn find(&self, name: &Name) -> Result<Option<Running>> {
        self.act("runtime.find", name.as_str(), None, |state| {
            let Some(pid) = state.world.processes.get(name) else { return Ok(None) };
            let pidfd = state.inits[name].0.try_clone().unwrap();
            Ok(Some(Running { init: *pid, pidfd, monitor: Some(*pid) }))
        })
    }

    /// As the real one, it begins its steps only while the job is not cancelled.
    fn stop(&self, ctx: &Ctx, name: &Name, _init: Init, how: Stop) -> Result<bool> {
        if self.state().world.processes.contains_key(name) {
            ctx.step(if how == Stop::Kill { "stop.kill" } else { "stop.ask" })?;
        }
        self.act("runtime.stop", name.as_str(), Some(ctx), |state| {
            state.kill(name);
            Ok(how == Stop::Kill)
        })
    }

    fn after_end(&self, ctx: &Ctx, name: &Name) -> Result<AfterEnd> {
        self.act("runtime.after_end", name.as_str(), Some(ctx), |state| {
            state.inits.remove(name);
            if state.rebooting.remove(name) {
                return Ok(AfterEnd::Rebooted(state.begin(name)));
            }
            Ok(AfterEnd::Stopped)
        })
    }

    fn freeze(&self, ctx: &Ctx, name: &Name) -> Result<bool> {
        self.act("runtime.freeze", name.as_str(), Some(ctx), |state| {
            if !state.world.processes.contains_key(name) {
                return Err(impossible("freezing what does not run", name));
            }
            Ok(state.world.frozen.insert(name.clone()))
        })
    }

    fn thaw(&self, name: &Name) -> Result<()> {
        self.act("runtime.thaw", name.as_str(), None, |state| {
            state.world.frozen.remove(name);
            Ok(())
        })
    }

    fn is_frozen(&self, name: &Name) -> bool {
        self.state().world.frozen.contains(name)
    }

    fn notices_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn notices(&self) -> Vec<(Name, u64)> {
        std::mem::take(&mut self.state().notices)
    }

    fn exit_status(&self, name: &Name) -> Option<i32> {
        self.state().exits.remove(name)
    }

    /// Every command is an `echo` that ends in a NUL.
    fn exec(&self, ctx: &Ctx, name: &Name, exec: &Exec) -> Result<Output> {
        self.act("runtime.exec", name.as_str(), Some(ctx), |_| {
            let stdout = format!("{}\0", exec.command.join(" ")).into_bytes();
            Ok(Output { code: 3, stdout, stderr: b"\xff".to_vec(), truncated: false })
        })
    }

    fn first_boot(&self, ctx: &Ctx, name: &Name) -> Result<i32> {
        self.act("runtime.first_boot", name.as_str(), Some(ctx), |_| Ok(3))
    }

    fn foreign(&self, _lxcpath: &Path) -> Vec<Foreign> {
        self.state().foreign.clone()
    }

    fn open_foreign(&self, ctx: &Ctx, foreign: &Foreign) -> Result<Shifted> {
        self.enter("runtime.open_foreign", &foreign.name, Some(ctx))?;
        Ok(Shifted::plain(&foreign.lxcpath.join(&foreign.name)))
    }

    fn tidy(&self) {
        let idle = self.state().world.processes.is_empty();
        assert!(idle, "tidied while a container runs");
    }

    fn usage(&self, name: &Name) -> Usage {
        self.state().usages.push(name.clone());
        match self.state().world.processes.contains_key(name) {
            true => Usage { memory: Some(23_456_789), pids: Some(17), cpu_time: Some(1_234_567) },
            false => Usage::default(),
        }
    }

    fn memory_peak(&self, name: &Name) -> Option<u64> {
        self.state().world.processes.contains_key(name).then_some(34_567_890)
    }

    fn set_limits(&self, record: &Record) -> Result<()> {
        self.act("runtime.set_limits", record.name.as_str(), None, |state| {
            state.world.limits.insert(record.name.clone(), limits_of(record));
            Ok(())
        })
    }

    /// Less than the least limit.
    fn memory_held(&self, name: &Name) -> Option<u64> {
        self.state().world.processes.contains_key(name).then_some(12_345_678)
    }

    fn limits(&self, name: &Name) -> Limits {
        let state = self.state();
        state.world.limits.get(name).map_or(Limits::default(), |(memory, cpus, pids)| Limits {
            memory: Some(*memory),
            pids: Some((*pids).into()),
            cpus: Some((*cpus).into()),
        })
    }
}

impl Network for FakeBox {
    fn check_bridge(&self, bridge: &str) -> Result<()> {
        self.enter("network.check_bridge", "", None)?;
        if bridge == "br-lan" {
            return Ok(());
        }
        Err(Error::new(Code::NotFound, format_args!("the bridge {bridge} does not exist; make it")))
    }

    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net> {
        if bridge == "br-lan" {
            return vec![Ipv4Net { addr: Ipv4Addr::new(10, 0, 0, 1), prefix: 24 }];
        }
        Vec::new()
    }

    fn own_addresses(&self) -> Vec<Ipv4Addr> {
        vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 1, 1)]
    }

    fn traffic(&self) -> Vec<Traffic> {
        let state = self.state();
        let records =
            state.world.processes.keys().filter_map(|name| state.world.alive.get(name)?.record.as_ref());
        let through = |veth: &String| Traffic { interface: veth.clone(), received: 4_567_890, sent: 345_678 };
        let mut traffic: Vec<Traffic> = records.map(|record| through(&record.veth)).collect();
        traffic.sort_by(|a, b| a.interface.cmp(&b.interface));
        traffic
    }

    fn watch(&self, pid: i32) -> Result<AddressWatch> {
        self.act("network.watch", "", None, |state| {
            let (ours, kernels) = UnixDatagram::pair().unwrap();
            for address in &state.addresses {
                kernels.send(&address_added(*address)).unwrap();
            }
            state.watchers.insert(pid, kernels);
            Ok(AddressWatch::reading(ours.into()))
        })
    }
}

/// What the kernel sends when an address was added: a header, an ifaddrmsg, and the attribute IFA_ADDRESS.
fn address_added(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let attribute = 4 + octets.len() as u16;
    let mut message = (24 + u32::from(attribute)).to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWADDR.to_ne_bytes());
    message.extend([0; 10]);
    message.extend([family as u8, 24, 0, 0, 2, 0, 0, 0]);
    message.extend(attribute.to_ne_bytes());
    message.extend(libc::IFA_ADDRESS.to_ne_bytes());
    message.extend(octets);
    message
}

impl Images for FakeBox {
    fn list(&self) -> Result<Vec<Image>> {
        self.enter("images.list", "", None)?;
        self.images.list()
    }

    fn import(&self, ctx: &Ctx, path: &Path, name: &ImageName, sha256: Option<&str>) -> Result<Image> {
        self.enter("images.import", name.as_str(), Some(ctx))?;
        self.images.import(ctx, path, name, sha256)
    }

    fn import_part(
        &self,
        ctx: &Ctx,
        path: &Path,
        part: (u64, u64),
        name: &ImageName,
        sha256: &str,
    ) -> Result<Image> {
        self.enter("images.import_part", name.as_str(), Some(ctx))?;
        self.images.import_part(ctx, path, part, name, sha256)
    }

    fn file(&self, ctx: &Ctx, sha256: &str) -> Result<(PathBuf, u64, String)> {
        self.enter("images.file", "", Some(ctx))?;
        self.images.file(ctx, sha256)
    }

    fn pack(&self, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image> {
        self.enter("images.pack", name.as_str(), Some(ctx))?;
        self.images.pack(ctx, tree, name)
    }

    fn available(&self, ctx: &Ctx, remote: &Remote, filter: &str, until: Instant) -> Result<Vec<Offer>> {
        self.enter("images.available", &remote.name, Some(ctx))?;
        self.images.available(ctx, remote, filter, until)
    }

    fn pull(&self, ctx: &Ctx, source: &Source) -> Result<Image> {
        self.enter("images.pull", source.name.as_str(), Some(ctx))?;
        self.images.pull(ctx, source)
    }

    fn partial(&self) -> Result<u64> {
        self.images.partial()
    }

    fn remove_partial(&self) -> Result<()> {
        self.enter("images.remove_partial", "", None)?;
        self.images.remove_partial()
    }

    fn delete(&self, ctx: &Ctx, image: &Image) -> Result<()> {
        self.enter("images.delete", "", Some(ctx))?;
        self.images.delete(ctx, image)
    }

    fn mount(&self, sha256: &str) -> Result<PathBuf> {
        self.enter("images.mount", "", None)?;
        self.images.mount(sha256)
    }

    fn unmount(&self, sha256: &str) -> Result<()> {
        let late = self.enter("images.unmount", "", None)?;
        self.images.unmount(sha256)?;
        late.map_or(Ok(()), Err)
    }

    fn mounted(&self) -> Result<Vec<String>> {
        self.images.mounted()
    }

    fn clean(&self) -> Result<()> {
        self.enter("images.clean", "", None).map(drop)
    }
}

/// A directory that is gone when the test ends.
pub struct TempDir(PathBuf);

impl TempDir {
    /// An empty one.
    pub fn make() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cloudbox-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
