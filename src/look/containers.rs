//! `container list` and `container info`.

use crate::api::replies::{
    ContainerEntry, ContainerInfo, ContainerList, FirstBoot, ForeignEntry, Interface, LastExit, Limits,
};
use crate::error::{Code, Error, Result};
use crate::model::idrange;
use crate::model::job::{JobError, Target};
use crate::model::life::Reason;
use crate::model::name::Name;
use crate::model::options;
use crate::model::size::{Bytes, Cpus};
use crate::operations::FIRST_BOOT;
use crate::state::{Live, State};
use crate::steps::lxc::first_boot::{self, Status};
use crate::steps::lxc::Foreign;
use crate::steps::network::Traffic;
use serde::Deserialize;
use std::time::Instant;

/// Running containers of which a list reads anew what they use, which takes the kernel some 5 µs each.
const AT_A_TIME: usize = 256;

/// Fields of a list whose values are read for it, and those of them that are in one file for all.
const USAGE: [&str; 6] = ["memory", "pids", "cpu_time", "cpu", TRAFFIC[0], TRAFFIC[1]];
const TRAFFIC: [&str; 2] = ["received", "sent"];

/// `cloudbox.container list`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// What to say of each container besides its name, as the reply's fields are called; everything unless said
    /// otherwise. Who asks every few seconds asks for what changes.
    pub fields: Option<Vec<String>>,
}

/// Whose usage a list reads anew: everybody's, or that of those whose turn it is, where very many run. The others'
/// figures are as old as some calls of `list`; `info` always reads.
#[derive(Debug)]
pub struct Readings {
    /// How many at a time: 256.
    pub at_a_time: usize,
    /// Which of the running containers is the next.
    next: usize,
    /// What had gone through all interfaces when the first of them was read: it is all in one file.
    traffic: Vec<Traffic>,
}

impl Default for Readings {
    fn default() -> Readings {
        Readings { at_a_time: AT_A_TIME, next: 0, traffic: Vec::new() }
    }
}

impl Readings {
    /// Reads what those whose turn it is use; the answer is what went through the interfaces, if that is wanted.
    fn read(&mut self, state: &State, wants_traffic: bool) -> Vec<Traffic> {
        let Readings { at_a_time, next, .. } = *self;
        let running = || state.containers.iter().filter_map(|(name, c)| Some((name, c.live.as_ref()?)));
        for (name, live) in running().skip(next).take(at_a_time) {
            live.read(state.machine.runtime.usage(name));
        }
        self.next = Some(next + at_a_time).filter(|after| *after < running().count()).unwrap_or(0);
        match std::mem::take(&mut self.traffic) {
            read if next > 0 && !read.is_empty() => read,
            _ if wants_traffic => traffic(state),
            _ => Vec::new(),
        }
    }
}

/// The reply of `container list`. What none of the `fields` that are asked for needs is not read; none means all.
pub fn list(state: &State, readings: &mut Readings, fields: &[String]) -> ContainerList {
    let wanted =
        |names: &[&str]| fields.is_empty() || fields.iter().any(|field| names.contains(&field.as_str()));
    let traffic = if wanted(&USAGE) { readings.read(state, wanted(&TRAFFIC)) } else { Vec::new() };
    let foreign = state.foreign().into_iter().map(foreign_entry).collect();
    let mut list = ContainerList { containers: Vec::new(), orphans: Vec::new(), foreign };
    for name in state.names() {
        let mut entry = entry(state, name, &traffic);
        // `info` has it among the options.
        let made = || Some(&state.containers.get(name)?.record.spec);
        entry.slice =
            state.declared_spec(name).or_else(made).map(|spec| spec.slice.clone()).unwrap_or_default();
        let group = if entry.state == "orphan" { &mut list.orphans } else { &mut list.containers };
        group.push(entry);
    }
    // Nobody needs it any more when the next one reads from the beginning.
    if readings.next > 0 && !traffic.is_empty() {
        readings.traffic = traffic;
    }
    list
}

fn foreign_entry(foreign: Foreign) -> ForeignEntry {
    ForeignEntry {
        path: foreign.lxcpath.join(&foreign.name).display().to_string(),
        name: foreign.name,
        state: if foreign.running { "running" } else { "stopped" },
    }
}

/// What went through the interfaces of containers that run.
fn traffic(state: &State) -> Vec<Traffic> {
    let any = state.containers.values().any(|container| container.live.is_some());
    if any {
        state.machine.network.traffic()
    } else {
        Vec::new()
    }
}

/// What went through the interface whose host's end is called so.
fn traffic_of<'a>(traffic: &'a [Traffic], interface: &str) -> Option<&'a Traffic> {
    let at = traffic.binary_search_by(|t| t.interface.as_str().cmp(interface)).ok()?;
    traffic.get(at)
}

/// Whole seconds until `at`, rounded up.
fn seconds_until(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

fn entry(state: &State, name: &Name, traffic: &[Traffic]) -> ContainerEntry {
    let container = state.containers.get(name);
    let record = container.map(|c| &c.record).or_else(|| state.making.get(name));
    let (declared, made) = (state.declared_spec(name), record.map(|record| &record.spec));
    let mut entry = ContainerEntry {
        name: name.to_string(),
        state: state.state_of(name),
        job: state.job_on(name).map(|job| job.id.to_string()),
        ..ContainerEntry::default()
    };
    if let Some(spec) = made.or(declared) {
        entry.image = spec.image.to_string();
        entry.disk_limit = spec.disk.map(|d| d.get());
    }
    if made.is_some_and(|spec| spec.disk.is_some()) {
        entry.disk = state.machine.storage.used(name);
    }
    if let Some(spec) = declared.or(made) {
        entry.memory_limit = Some(spec.memory.get());
        entry.autostart = spec.autostart;
        entry.description.clone_from(&spec.description);
    }
    if let Some(container) = container {
        entry.restart_required = state.differs(name, container);
        entry.restarts = Some(container.life.restarts).filter(|restarts| *restarts > 0);
        entry.restart_in = container.due.map(seconds_until);
        match &container.live {
            Some(live) => {
                let traffic = traffic_of(traffic, &container.record.veth);
                tell_of_live(state, &mut entry, name, live, traffic);
            }
            None => {
                let exit = container.life.exit.as_ref().filter(|exit| exit.reason != Reason::Asked);
                entry.exit = exit.map(|exit| exit.reason.as_str());
            }
        }
    }
    let broken = state.config.containers.get(name).and_then(|d| d.spec.as_ref().err());
    let failure = container.and_then(|c| c.failure.as_ref());
    let disk = container.and_then(|c| c.live.as_ref()?.disk_trouble.as_ref());
    let error = failure.or(broken).or(state.not_made.get(name)).or(state.unreadable.get(name)).or(disk);
    entry.error = error.map(JobError::from);
    entry
}

/// What there is to tell of one that runs.
fn tell_of_live(
    state: &State,
    entry: &mut ContainerEntry,
    name: &Name,
    live: &Live,
    traffic: Option<&Traffic>,
) {
    let reading = live.reading.get().unwrap_or_else(|| live.read(state.machine.runtime.usage(name)));
    entry.pid = Some(live.running.init);
    entry.memory = reading.usage.memory;
    entry.pids = reading.usage.pids;
    entry.cpu_time = reading.usage.cpu_time;
    entry.cpu = reading.cpu;
    entry.uptime = Some(live.age().as_secs());
    if let Some(addresses) = &live.addresses {
        entry.addresses = addresses.addresses().map(ToString::to_string).collect();
        entry.truncated = addresses.is_truncated().then_some(true);
    }
    if let Some(traffic) = traffic {
        (entry.received, entry.sent) = (Some(traffic.received), Some(traffic.sent));
    }
}

/// The reply of `container info`.
///
/// # Errors
/// [`Code::NotFound`], or why the container is not made.
pub fn info(state: &State, name: &Name) -> Result<ContainerInfo> {
    state.check_known(name)?;
    let container = state.containers.get(name);
    let Some(record) = container.map(|c| &c.record).or_else(|| state.making.get(name)) else {
        let reason = state.config.containers.get(name).and_then(|d| d.spec.as_ref().err());
        return Err(match reason.or(state.not_made.get(name)) {
            Some(error) => {
                Error::new(error.code, format_args!("container {name} is not made: {}", error.message))
            }
            None => {
                Error::new(Code::NotFound, format_args!("container {name} is not made yet; reload makes it"))
            }
        });
    };
    let spec = state.declared_spec(name).unwrap_or(&record.spec);
    let runtime = &state.machine.runtime;
    let live = container.and_then(|c| c.live.as_ref());
    if let Some(live) = live {
        live.read(runtime.usage(name));
    }
    let in_force = live.map(|_| runtime.limits(name));
    let dir = state.layout.container(name);
    let entry = entry(state, name, &traffic(state));
    Ok(ContainerInfo {
        image_sha256: record.image_sha256.clone(),
        section: name.uci_section(),
        network: spec.bridge.clone(),
        address: spec.address.to_string(),
        mac: record.mac.clone(),
        veth: record.veth.clone(),
        id_base: record.ids.base,
        id_count: idrange::SIZE,
        asked: Limits {
            memory: Some(spec.memory.get()),
            swap: spec.swap.map(Bytes::get),
            cpus: Some(spec.cpus.to_string()),
            pids: Some(spec.pids.into()),
            disk: spec.disk.map(|d| d.get()),
        },
        in_force: in_force.map(|limits| Limits {
            memory: limits.memory,
            swap: limits.swap.filter(|swap| *swap > 0),
            cpus: limits.cpus.and_then(|c| u32::try_from(c).ok()).map(|c| Cpus(c).to_string()),
            pids: limits.pids,
            disk: record.spec.disk.map(|asked| state.machine.disk_of(name, asked).get()),
        }),
        memory_peak: live.and_then(|_| runtime.memory_peak(name)),
        interfaces: vec![Interface {
            name: "eth0",
            host: record.veth.clone(),
            received: entry.received,
            sent: entry.sent,
        }],
        options: options::shown(spec, &record.spec),
        fixed: spec.fixed_since_made(&record.spec),
        last_exit: container.and_then(|c| c.life.exit).map(|exit| LastExit {
            reason: exit.reason.as_str(),
            code: exit.code(),
            signal: exit.signal(),
            at: exit.at,
        }),
        first_boot: first_boot_of(state, name),
        created: record.created,
        rootfs: dir.rootfs().display().to_string(),
        lxcpath: state.layout.containers().display().to_string(),
        console_log: dir.console_log().display().to_string(),
        entry,
    })
}

/// How far the first-boot script is, of a container that has one.
fn first_boot_of(state: &State, name: &Name) -> Option<FirstBoot> {
    state.containers.get(name).filter(|c| !c.record.spec.first_boot.is_empty())?;
    let dir = state.layout.container(name);
    let target = Target::Container(name.clone());
    let at_work = state.jobs.open().any(|job| job.kind == FIRST_BOOT && job.target == target);
    let (word, code) = match first_boot::status(&dir) {
        _ if at_work => ("running", None),
        None => ("pending", None),
        Some(Status::Begun) => ("interrupted", None),
        Some(Status::Ended(0)) => ("done", Some(0)),
        Some(Status::Ended(code)) => ("failed", Some(code)),
    };
    Some(FirstBoot { state: word, code, log: dir.first_boot_log().display().to_string() })
}
