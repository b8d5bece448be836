//! Replies that only look: built from the model and from the kernel's files, in milliseconds.

use super::core::{Container, Core};
use crate::api::replies::{
    ContainerEntry, ContainerInfo, ContainerList, Counts, ImageEntry, ImageList, Interface, LastExit, Limits,
    Resource, StatusReply,
};
use crate::error::{Code, Error, Result};
use crate::model::idrange;
use crate::model::image::Image;
use crate::model::job::{JobError, Kind};
use crate::model::life::Reason;
use crate::model::name::Name;
use crate::model::size::Cpus;
use crate::model::spec::Spec;
use crate::ops::Live;
use crate::steps::filesystem::Space;
use crate::steps::network::Traffic;
use crate::sys;
use std::time::Instant;

/// Running containers of which a list reads anew what they use, which takes the kernel some 5 µs each.
const AT_A_TIME: usize = 256;

/// Fields of a list whose values are read for it, and those of them that are in one file for all.
const USAGE: [&str; 6] = ["memory", "pids", "cpu_time", "cpu", TRAFFIC[0], TRAFFIC[1]];
const TRAFFIC: [&str; 2] = ["received", "sent"];

/// Whose usage a list reads anew: everybody's, or that of those whose turn it is, where very many run. The others'
/// figures are as old as some calls of `list`; `info` always reads.
#[derive(Debug)]
pub(super) struct Readings {
    /// How many at a time: [`AT_A_TIME`].
    pub(super) at_a_time: usize,
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

/// A field of `/proc/meminfo`, in bytes.
fn meminfo(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The box's memory, in bytes.
pub fn memory_total() -> u64 {
    meminfo("MemTotal").unwrap_or(0)
}

/// A command's output as text: bytes that are not UTF-8 are replaced, and NUL, which no string on the bus can hold.
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

/// Whole seconds until `at`, rounded up.
fn seconds_until(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

/// Whether one of `names` is among the `fields` that are asked for; none means all.
fn asked_for(fields: &[String], names: &[&str]) -> bool {
    fields.is_empty() || fields.iter().any(|field| names.contains(&field.as_str()))
}

/// What went through the interface whose host's end is called so.
fn traffic_of<'a>(traffic: &'a [Traffic], interface: &str) -> Option<&'a Traffic> {
    let at = traffic.binary_search_by(|t| t.interface.as_str().cmp(interface)).ok()?;
    traffic.get(at)
}

/// The box's architecture as `uname -m` prints it.
pub fn arch() -> String {
    nix::sys::utsname::uname().map(|u| u.machine().to_string_lossy().into_owned()).unwrap_or_default()
}

impl Core {
    pub(super) fn status(&mut self) -> StatusReply {
        let (memory, disk) = (self.memory(), self.disk());
        let space = Space::of(&self.layout.storage).ok();
        let entries: Vec<&'static str> = self.names().iter().map(|name| self.state(name)).collect();
        let count = |state: &str| entries.iter().filter(|s| **s == state).count() as u32;
        StatusReply {
            version: env!("CARGO_PKG_VERSION"),
            api: crate::api::VERSION,
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            enabled: self.config.settings.enabled,
            arch: arch(),
            storage: self.layout.storage.display().to_string(),
            config: self.config_path.display().to_string(),
            containers: Counts {
                total: entries.len() as u32,
                running: count("running") + count("frozen"),
                failed: count("failed"),
                orphans: count("orphan"),
            },
            images: self.images.len() as u32,
            jobs: self.jobs.iter().filter(|job| !job.state.is_final()).count() as u32,
            memory: Resource {
                total: memory.total,
                free: meminfo("MemAvailable").unwrap_or(0),
                reserve: memory.reserve,
                promised: memory.promised,
            },
            disk: Resource {
                total: space.map_or(0, |s| s.total),
                free: disk.free,
                reserve: disk.reserve,
                promised: disk.promised,
            },
            avahi: self.avahi(),
            warnings: self.warnings(),
        }
    }

    /// What is wrong with the configuration and with containers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.config_warnings();
        for (name, error) in self.failures() {
            warnings.push(format!("container {name}: {}", error.message));
        }
        warnings.extend(self.unreadable.values().map(|error| error.message.clone()));
        for name in self.orphans() {
            warnings.push(format!(
                "container {name} has no section in UCI; its data is kept: \
                 `cloudbox delete {name}` removes it, `cloudbox adopt {name}` gives it its section again"
            ));
        }
        warnings
    }

    /// Containers that could not be made or started, and why.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&Name, &Error)> {
        let failures = self.containers.iter().filter_map(|(name, c)| Some((name, c.failure.as_ref()?)));
        failures.chain(&self.not_made)
    }

    /// What is wrong with the configuration.
    pub(super) fn config_warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        if let Some(error) = &self.config_error {
            warnings.push(format!("{}; what it said before holds until it is mended", error.message));
        }
        warnings.extend(self.config.warnings.iter().map(ToString::to_string));
        if !self.storage_given && self.config.settings.storage != self.layout.storage {
            warnings.push(format!(
                "storage is {} until the daemon is restarted; move what is in it to {} first",
                self.layout.storage.display(),
                self.config.settings.storage.display()
            ));
        }
        warnings
    }

    /// Containers that differ from what they run with.
    pub(super) fn restart_required(&self) -> Vec<String> {
        let names =
            self.containers.iter().filter(|(name, container)| !self.differs(name, container).is_empty());
        names.map(|(name, _)| name.to_string()).collect()
    }

    fn differs(&self, name: &Name, container: &Container) -> Vec<&'static str> {
        match self.declared_spec(name) {
            Some(spec) if container.live.is_some() => {
                let applying = self.jobs.active_on(name.as_str()).is_some_and(|job| job.kind == Kind::Set);
                let running = &container.record.spec;
                if applying {
                    spec.needs_restart(running)
                } else {
                    spec.differs_from(running)
                }
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn declared_spec(&self, name: &Name) -> Option<&Spec> {
        self.config.containers.get(name)?.spec.as_ref().ok()
    }

    /// Every container that is known: made, being made, or only declared.
    fn names(&self) -> Vec<&Name> {
        let declared = self.config.containers.keys();
        let made = self.containers.keys().chain(self.making.keys()).chain(self.unreadable.keys());
        // Almost all that are made are declared, and those are in order: sorting a thousand takes longer than looking.
        let mut others: Vec<&Name> =
            made.filter(|name| !self.config.containers.contains_key(*name)).collect();
        if others.is_empty() {
            return declared.collect();
        }
        others.extend(declared);
        others.sort_unstable();
        others.dedup();
        others
    }

    fn state(&self, name: &Name) -> &'static str {
        if let Some(job) = self.jobs.active_on(name.as_str()) {
            match job.kind {
                Kind::Create => return "creating",
                Kind::Clone | Kind::Import if job.target == name.as_str() => return "creating",
                Kind::Start => return "starting",
                Kind::Restart => return "restarting",
                Kind::Delete => return "deleting",
                Kind::Stop | Kind::Ended => return "stopping",
                // What else is done to it leaves it as it is.
                _ => {}
            }
        }
        match self.containers.get(name) {
            Some(Container { live: Some(live), .. }) => {
                if live.frozen {
                    "frozen"
                } else {
                    "running"
                }
            }
            Some(_) if !self.config.containers.contains_key(name) => "orphan",
            Some(container) if container.failure.is_none() => "stopped",
            _ => "failed",
        }
    }

    /// Every container. What none of the `fields` that are asked for needs is not read; none means all.
    pub(super) fn container_list(&mut self, fields: &[String]) -> ContainerList {
        let traffic =
            if asked_for(fields, &USAGE) { self.read_usage(asked_for(fields, &TRAFFIC)) } else { Vec::new() };
        let mut list =
            ContainerList { containers: Vec::new(), orphans: Vec::new(), foreign: self.foreign_entries() };
        for name in self.names() {
            let entry = self.entry(name, &traffic);
            let group = if entry.state == "orphan" { &mut list.orphans } else { &mut list.containers };
            group.push(entry);
        }
        // Nobody needs it any more when the next one reads from the beginning.
        if self.readings.next > 0 && !traffic.is_empty() {
            self.readings.traffic = traffic;
        }
        list
    }

    /// Reads what those whose turn it is use; the answer is what went through the interfaces, if that is wanted.
    fn read_usage(&mut self, wants_traffic: bool) -> Vec<Traffic> {
        let Readings { at_a_time, next, .. } = self.readings;
        let running = || self.containers.iter().filter_map(|(name, c)| Some((name, c.live.as_ref()?)));
        for (name, live) in running().skip(next).take(at_a_time) {
            live.read(self.machine.runtime.usage(name));
        }
        let after = Some(next + at_a_time).filter(|after| *after < running().count()).unwrap_or(0);
        self.readings.next = after;
        match std::mem::take(&mut self.readings.traffic) {
            read if next > 0 && !read.is_empty() => read,
            _ if wants_traffic => self.traffic(),
            _ => Vec::new(),
        }
    }

    /// Containers without a section, that do not run.
    pub(super) fn orphans(&self) -> Vec<Name> {
        self.names().into_iter().filter(|name| self.state(name) == "orphan").cloned().collect()
    }

    /// What went through the interfaces of containers that run.
    fn traffic(&self) -> Vec<Traffic> {
        let any = self.containers.values().any(|container| container.live.is_some());
        if any {
            self.machine.network.traffic()
        } else {
            Vec::new()
        }
    }

    fn entry(&self, name: &Name, traffic: &[Traffic]) -> ContainerEntry {
        let container = self.containers.get(name);
        let record = container.map(|c| &c.record).or_else(|| self.making.get(name));
        let (declared, made) = (self.declared_spec(name), record.map(|record| &record.spec));
        let mut entry = ContainerEntry {
            name: name.to_string(),
            state: self.state(name),
            job: self.jobs.active_on(name.as_str()).map(|job| job.id.to_string()),
            ..ContainerEntry::default()
        };
        if let Some(spec) = made.or(declared) {
            entry.image = spec.image.to_string();
            entry.disk_limit = spec.disk.map(|d| d.get());
        }
        if made.is_some_and(|spec| spec.disk.is_some()) {
            entry.disk = self.machine.storage.used(name);
        }
        if let Some(spec) = declared.or(made) {
            entry.memory_limit = Some(spec.memory.get());
            entry.autostart = spec.autostart;
            entry.description.clone_from(&spec.description);
        }
        if let Some(container) = container {
            entry.restart_required = self.differs(name, container);
            entry.restarts = Some(container.life.restarts).filter(|restarts| *restarts > 0);
            entry.restart_in = container.due.map(seconds_until);
            match &container.live {
                Some(live) => {
                    self.tell_of_live(&mut entry, name, live, traffic_of(traffic, &container.record.veth));
                }
                None => {
                    let exit = container.life.exit.as_ref().filter(|exit| exit.reason != Reason::Asked);
                    entry.exit = exit.map(|exit| exit.reason.as_str());
                }
            }
        }
        let broken = self.config.containers.get(name).and_then(|d| d.spec.as_ref().err());
        let failure = container.and_then(|c| c.failure.as_ref());
        let error = failure.or(broken).or(self.not_made.get(name)).or(self.unreadable.get(name));
        entry.error = error.map(JobError::from);
        entry
    }

    /// What there is to tell of one that runs.
    fn tell_of_live(&self, entry: &mut ContainerEntry, name: &Name, live: &Live, traffic: Option<&Traffic>) {
        let reading = live.reading.get().unwrap_or_else(|| live.read(self.machine.runtime.usage(name)));
        entry.pid = Some(live.running.init);
        entry.memory = reading.usage.memory;
        entry.pids = reading.usage.pids;
        entry.cpu_time = reading.usage.cpu_time;
        entry.cpu = reading.cpu;
        entry.uptime = Some(sys::boottime().saturating_sub(live.began).as_secs());
        if let Some(addresses) = &live.addresses {
            entry.addresses = addresses.addresses().map(ToString::to_string).collect();
        }
        if let Some(traffic) = traffic {
            (entry.received, entry.sent) = (Some(traffic.received), Some(traffic.sent));
        }
    }

    pub(super) fn container_info(&self, name: &Name) -> Result<ContainerInfo> {
        self.known(name)?;
        let container = self.containers.get(name);
        let Some(record) = container.map(|c| &c.record).or_else(|| self.making.get(name)) else {
            let reason = self.config.containers.get(name).and_then(|d| d.spec.as_ref().err());
            return Err(match reason.or(self.not_made.get(name)) {
                Some(error) => {
                    Error::new(error.code, format_args!("container {name} is not made: {}", error.message))
                }
                None => Error::new(
                    Code::NotFound,
                    format_args!("container {name} is not made yet; reload makes it"),
                ),
            });
        };
        let spec = self.declared_spec(name).unwrap_or(&record.spec);
        let live = container.is_some_and(|c| c.live.is_some());
        let in_force = live.then(|| self.machine.runtime.limits(name));
        let dir = self.layout.container(name);
        if let Some(live) = container.and_then(|c| c.live.as_ref()) {
            live.read(self.machine.runtime.usage(name));
        }
        let entry = self.entry(name, &self.traffic());
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
                cpus: Some(spec.cpus.to_string()),
                pids: Some(spec.pids.into()),
                disk: spec.disk.map(|d| d.get()),
            },
            in_force: in_force.map(|limits| Limits {
                memory: limits.memory,
                cpus: limits.cpus.and_then(|c| u32::try_from(c).ok()).map(|c| Cpus(c).to_string()),
                pids: limits.pids,
                disk: record.spec.disk.map(|d| d.get()),
            }),
            memory_peak: live.then(|| self.machine.runtime.memory_peak(name)).flatten(),
            interfaces: vec![Interface {
                name: "eth0",
                host: record.veth.clone(),
                received: entry.received,
                sent: entry.sent,
            }],
            priority: spec.priority.into(),
            restart: spec.restart,
            slice: spec.slice.clone(),
            authorized_keys: spec.authorized_keys.clone(),
            services: record.spec.services.clone(),
            fixed: spec.fixed_since_made(&record.spec),
            last_exit: container.and_then(|c| c.life.exit).map(|exit| LastExit {
                reason: exit.reason.as_str(),
                code: exit.code(),
                signal: exit.signal(),
                at: exit.at,
            }),
            first_boot: self.first_boot(name),
            created: record.created,
            rootfs: dir.rootfs().display().to_string(),
            lxcpath: self.layout.containers().display().to_string(),
            console_log: dir.console_log().display().to_string(),
            entry,
        })
    }

    pub(super) fn image_list(&self) -> ImageList {
        ImageList { images: self.images.iter().map(|image| self.image_entry(image)).collect() }
    }

    pub(super) fn image_entry(&self, image: &Image) -> ImageEntry {
        let manifest = &image.manifest;
        let service = |s: &crate::model::image::OfferedService| format!("{} {} {}", s.name, s.kind, s.port);
        ImageEntry {
            names: image.names.iter().map(ToString::to_string).collect(),
            sha256: manifest.sha256.clone(),
            description: manifest.name.clone(),
            version: manifest.version.clone(),
            os: manifest.os.clone(),
            release: manifest.release.clone(),
            arch: manifest.arch.clone(),
            init: manifest.init,
            size: manifest.size,
            imported: manifest.imported,
            services: manifest.services.iter().map(service).collect(),
            optional_services: manifest.optional().map(ToString::to_string).collect(),
            source: manifest.source.clone(),
            newer: self.newer_than(image),
            used_by: self.users_of(&manifest.sha256),
        }
    }
}
