//! A container whose files are there, and what runs of it.

use crate::error::{Code, Error};
use crate::machine::Machine;
use crate::model::life::Life;
use crate::model::spec::Spec;
use crate::steps::lxc::cgroup::Usage;
use crate::steps::lxc::Running;
use crate::steps::network::{AddressWatch, Neighbourhood};
use crate::steps::storage::Record;
use crate::sys;
use log::warn;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A container whose files are there.
pub struct Container {
    /// What is known of it beside its section.
    pub record: Box<Record>,
    /// What runs of it.
    pub live: Option<Box<Live>>,
    /// Why the last start failed, or why it ended.
    pub failure: Option<Error>,
    /// How its runs ended.
    pub life: Life,
    /// When it is started again.
    pub due: Option<Instant>,
    /// Its init has ended, and nobody has seen what LXC's monitor does next: it may start it again.
    pub monitor_left: bool,
}

impl Container {
    /// One that does not run, and of which nothing is amiss.
    pub fn stopped(record: Box<Record>, life: Life) -> Container {
        Container { record, live: None, failure: None, life, due: None, monitor_left: false }
    }

    /// A start that was cut short for a call is no failure.
    pub fn forget_cancelled(&mut self) {
        self.failure.take_if(|failure| failure.code == Code::Cancelled);
    }

    /// Its addresses, as far as they are known; none while it does not run.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let watch = self.live.as_ref().and_then(|live| live.addresses.as_ref());
        watch.map(|watch| watch.addresses().copied().collect()).unwrap_or_default()
    }
}

/// A container that was made or started.
#[derive(Debug)]
pub struct Made {
    /// What is known of it beside its section.
    pub record: Box<Record>,
    /// What runs of it.
    pub live: Option<Box<Live>>,
}

/// A container that runs, with what the loop watches of it.
#[derive(Debug)]
pub struct Live {
    /// A number that no other run has. Descriptors are known by it, since their numbers are used again.
    pub serial: u32,
    /// Its processes.
    pub running: Running,
    /// Its addresses; None when they cannot be watched.
    pub addresses: Option<AddressWatch>,
    /// Which of its families have been announced at once in this run, IPv4 and IPv6: what comes later is the guest's own
    /// doing, and can wait.
    pub announced_at_once: [bool; 2],
    /// When its init began, since the box's boot.
    pub began: Duration,
    /// How often its guest has rebooted in quick succession before.
    pub reboots: u32,
    /// What it used when that was last read.
    pub reading: Cell<Option<Reading>>,
    /// It is frozen: none of its processes runs.
    pub frozen: bool,
    /// How often it ran out of memory in this run.
    pub ooms: u64,
    /// When that was told last.
    pub ooms_told: Option<Instant>,
    /// What is wrong with its disk.
    pub disk_trouble: Option<Error>,
}

impl Live {
    /// Container `name`, which is `running`, with its addresses watched.
    pub fn watch(machine: &Machine, record: &Record, running: Running) -> Box<Live> {
        let name = &record.name;
        let around = around(machine, &record.spec);
        let addresses = machine.network.watch(running.init, &around).inspect_err(|e| warn!("{e}")).ok();
        if let Some(watch) = &addresses {
            machine.network.claim(&record.veth, &watch.claims(), &around);
        }
        let began = sys::start_time(running.init).unwrap_or_else(sys::boottime);
        Box::new(Live {
            serial: Live::next_serial(),
            running,
            addresses,
            announced_at_once: [false; 2],
            began,
            reboots: 0,
            reading: Cell::default(),
            frozen: machine.runtime.is_frozen(name),
            ooms: 0,
            ooms_told: None,
            disk_trouble: None,
        })
    }

    /// Its addresses may have changed. None: they have not. True: it has one of a family for the first time in this run,
    /// which is a part of its start; false: the guest has changed them by itself.
    pub fn update_addresses(&mut self, machine: &Machine, record: &Record) -> Option<bool> {
        let watch = self.addresses.as_mut()?;
        let around = around(machine, &record.spec);
        let before: Vec<IpAddr> = watch.addresses().copied().collect();
        if !watch.update(&around) {
            return None;
        }
        machine.network.claim(&record.veth, &watch.claims(), &around);
        if watch.addresses().eq(&before) && !watch.is_truncated() {
            return None;
        }
        let mut at_once = false;
        let is_of: [fn(&IpAddr) -> bool; 2] = [IpAddr::is_ipv4, IpAddr::is_ipv6];
        for (is_of, announced) in is_of.iter().zip(&mut self.announced_at_once) {
            let first = !*announced && watch.addresses().any(is_of);
            *announced |= first;
            at_once |= first;
        }
        Some(at_once)
    }

    /// How long its init has run.
    pub fn age(&self) -> Duration {
        sys::boottime().saturating_sub(self.began)
    }

    /// A number that no other run of a container has.
    pub fn next_serial() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes down what it uses now, and what share of a processor it had since the last time, or since its start.
    pub fn read(&self, usage: Usage) -> Reading {
        let at = Instant::now();
        let share = |used: u64| {
            let last = self.reading.get().and_then(|last| Some((last.usage.cpu_time?, last.at)));
            let (before, time) = match last {
                Some((before, seen)) => (before, at - seen),
                None => (0, sys::boottime().saturating_sub(self.began)),
            };
            let microseconds = u64::try_from(time.as_micros()).ok().filter(|time| *time > 0)?;
            Some(used.saturating_sub(before).saturating_mul(1000) / microseconds)
        };
        let reading = Reading { usage, cpu: usage.cpu_time.and_then(share), at };
        self.reading.set(Some(reading));
        reading
    }
}

/// What there is around the interface of a container that shall be as `spec` says.
fn around(machine: &Machine, spec: &Spec) -> Neighbourhood {
    machine.network.neighbourhood(&spec.bridge).with_static(spec.address)
}

/// What a container used at a time.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Memory, processes, processor time.
    pub usage: Usage,
    /// Thousandths of a processor since the reading before.
    pub cpu: Option<u64>,
    /// When it was read.
    pub at: Instant,
}
