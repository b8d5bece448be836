//! What the box announces: worked out anew after each change, written by a thread, one at a time.

use super::probes::{Port, Probes};
use crate::api::replies::AvahiReply;
use crate::api::{AdvertSubject, BusObject};
use crate::error::{Code, Error};
use crate::machine::Machine;
use crate::model::advert::{self, Advert, DeclaredBy, Host, OfBox};
use crate::model::name::Name;
use crate::state::{Container, State};
use crate::steps::avahi::{self, file_of, Troubles, Wanted};
use crate::steps::host;
use log::error;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What comes within this time is announced at once: several ports of a guest that has just started.
const GATHER: Duration = Duration::from_millis(30);
/// At its start the daemon waits this long for the ports to answer, before it withdraws what an earlier one announced.
const FIRST: Duration = Duration::from_secs(1);
/// What guests change by themselves is written no more often: their root can change it without end, and flash wears out.
const GUESTS_EVERY: Duration = Duration::from_secs(5);

/// What is announced, and what is about to be.
#[derive(Debug)]
pub struct Announcer {
    probes: Probes,
    /// When to work out what is to be announced; None when nothing has changed.
    due: Option<Instant>,
    /// Nothing is withdrawn before this, while it is not known which ports answer.
    patient_until: Option<Instant>,
    /// A guest's own change is among what is to be announced.
    by_guest: bool,
    /// When such a change was written last.
    guests_written: Option<Instant>,
    /// A thread writes this.
    at_work: Option<Wanted>,
    /// What was written last.
    done: Wanted,
    troubles: Troubles,
    /// Whether avahi-daemon runs, by the last look at it.
    daemon: avahi::State,
    /// Readable when that may have changed; None before the first look.
    watch: Option<OwnedFd>,
}

/// What a thread is to write, and then to report to [`Announcer::written`].
#[derive(Debug)]
pub struct Writing(Wanted);

impl Writing {
    /// Writes it.
    pub fn run(&self, machine: &Machine) -> Troubles {
        machine.avahi.announce(&self.0)
    }
}

impl Announcer {
    /// One that has announced nothing yet.
    pub fn new(now: Instant) -> Announcer {
        Announcer {
            probes: Probes::default(),
            due: Some(now),
            patient_until: Some(now + FIRST),
            by_guest: false,
            guests_written: None,
            at_work: None,
            done: Wanted::default(),
            troubles: Vec::new(),
            daemon: avahi::State::Absent,
            watch: None,
        }
    }

    /// When [`Announcer::announce`] or [`Announcer::try_ports`] has something to do.
    pub fn next_time(&self) -> Option<Instant> {
        let due = if self.at_work.is_none() { self.due } else { None };
        let due = due.map(|due| match self.patient_until {
            Some(until) if self.probes.any_unknown() => until,
            _ => due,
        });
        [due, self.probes.next_time()].into_iter().flatten().min()
    }

    /// Whether something is to be announced that is not yet.
    pub fn is_at_it(&self) -> bool {
        self.due.is_some() || self.at_work.is_some() || self.probes.any_unknown()
    }

    /// What the loop shall watch of avahi-daemon.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// avahi-daemon may have come or gone, or its directory.
    pub fn handle_watch(&mut self, state: &State) {
        self.look_at_daemon(state);
        self.wake(Instant::now() + GATHER);
    }

    fn look_at_daemon(&mut self, state: &State) {
        (self.daemon, self.watch) = state.machine.avahi.watch();
    }

    /// Something changed that may be announced, or not any more.
    pub fn wake(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// A guest has changed something by itself: it is announced at once, but not if something like it has just been.
    pub fn wake_for_guest(&mut self, now: Instant) {
        self.by_guest = true;
        let at_once = now + GATHER;
        self.wake(self.guests_written.map_or(at_once, |last| at_once.max(last + GUESTS_EVERY)));
    }

    /// The connections to ports that the loop shall watch: writable when they have ended.
    pub fn trying(&self) -> impl Iterator<Item = (&Port, BorrowedFd<'_>)> {
        self.probes.trying()
    }

    /// Begins the tries of ports that are due.
    pub fn try_ports(&mut self, state: &State, now: Instant) {
        if self.probes.next_time().is_none_or(|next| next > now) {
            return;
        }
        let addresses =
            |name: &Name| state.containers.get(name).map(Container::addresses).unwrap_or_default();
        if self.probes.handle_time(now, &addresses) {
            self.wake(now + GATHER);
        }
    }

    /// A try of a port has ended.
    pub fn handle_port(&mut self, port: &Port) {
        let now = Instant::now();
        if self.probes.handle_ended(port, now) {
            self.wake(now + GATHER);
        }
    }

    /// Works out what is to be announced; what a thread shall write, if that is something new. The loop calls it when
    /// all that came has been handled.
    pub fn announce(&mut self, state: &State, now: Instant) -> Option<Writing> {
        if self.at_work.is_some() || self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.probes.line_up(&checked_ports(state), now);
        self.try_ports(state, now);
        if self.patient_until.is_some_and(|until| now < until) && self.probes.any_unknown() {
            return None;
        }
        let first = self.patient_until.take().is_some();
        self.due = None;
        let by_guest = std::mem::take(&mut self.by_guest);
        let wanted = self.wanted(state);
        if wanted == self.done && self.troubles.is_empty() && !first {
            return None;
        }
        if by_guest {
            self.guests_written = Some(now);
        }
        self.at_work = Some(wanted.clone());
        Some(Writing(wanted))
    }

    /// Has everything withdrawn, since the daemon ends; None when nothing is announced, or a thread writes at this moment.
    pub fn withdraw(&mut self) -> Option<Writing> {
        if self.at_work.is_some() || self.done == Wanted::default() {
            return None;
        }
        self.at_work = Some(Wanted::default());
        Some(Writing(Wanted::default()))
    }

    /// Whether a thread writes.
    pub fn is_writing(&self) -> bool {
        self.at_work.is_some()
    }

    /// No thread could be had to write it: it is tried again with the next change.
    pub fn not_written(&mut self) {
        self.at_work = None;
    }

    /// The thread has written, but for `troubles`. What is new is told.
    pub fn written(&mut self, state: &mut State, troubles: Troubles) {
        let Some(written) = self.at_work.take() else { return };
        for (file, error) in &troubles {
            if !self.troubles.iter().any(|(known, _)| known == file) {
                error!("{error}");
            }
        }
        self.look_at_daemon(state);
        // Its directory may have come just before it was watched.
        let was_absent = troubles.iter().any(|(_, error)| error.code == Code::NotFound);
        if was_absent && self.daemon != avahi::State::Absent {
            self.wake(Instant::now());
        }
        let before = std::mem::replace(&mut self.done, written);
        let failed_before = std::mem::replace(&mut self.troubles, troubles);
        let was = |advert: &Advert| !failed(&failed_before, advert);
        let is = |advert: &Advert| !failed(&self.troubles, advert);
        let after = &self.done.adverts;
        let has = |list: &[Advert], advert: &Advert| {
            list.iter().any(|a| (&a.id, &a.container) == (&advert.id, &advert.container))
        };
        for gone in before.adverts.iter().filter(|a| was(a) && !has(after, a)) {
            state.notify(BusObject::Service, "service.withdrawn", &AdvertSubject::of(gone));
        }
        for new in after.iter().filter(|a| is(a) && (!has(&before.adverts, a) || !was(a))) {
            state.notify(BusObject::Service, "service.published", &AdvertSubject::of(new));
        }
    }

    fn wanted(&self, state: &State) -> Wanted {
        let settings = &state.config.settings;
        if !settings.advertise || !settings.enabled {
            return Wanted::default();
        }
        let box_name = state.machine.box_name();
        let mut named = Vec::new();
        for host in hosts(state) {
            let label = advert::host_label(host.name, &box_name);
            if host.down.is_none() && host.advertise && label.len() <= 63 {
                named.extend(host.addresses.iter().map(|address| (label.clone(), *address)));
            }
        }
        let mut adverts = self.adverts(state, &box_name);
        adverts.retain(|advert| advert.withheld.is_none() && advert.source != DeclaredBy::Guest);
        Wanted { adverts, hosts: named }
    }

    /// All services, the box's own first.
    pub fn adverts(&self, state: &State, box_name: &str) -> Vec<Advert> {
        let memory = state.memory();
        let free = memory.total.saturating_sub(memory.reserve).saturating_sub(memory.promised);
        let of_box = OfBox {
            api: crate::api::VERSION,
            version: env!("CARGO_PKG_VERSION"),
            arch: &host::arch(),
            memory: free,
            containers: state.containers.len(),
        };
        let answers = |name: &Name, port: u16| self.probes.answers(&(name.clone(), port));
        let mut adverts = vec![advert::box_advert(box_name, &of_box)];
        adverts.extend(advert::adverts(&state.config.services, &hosts(state), box_name, &answers));
        adverts
    }

    /// What could not be written is tried again when somebody asks for it.
    pub fn look_again(&mut self) {
        if !self.troubles.is_empty() {
            self.wake(Instant::now());
        }
    }

    /// Why an advert could not be written.
    pub fn trouble_of(&self, advert: &Advert) -> Option<&Error> {
        let file = file_of(advert);
        let of = |name: &str| self.troubles.iter().find(|(file, _)| file == name).map(|(_, error)| error);
        of(&file).or_else(|| of(""))
    }

    /// How avahi-daemon is, and how much of what is announced it has.
    pub fn avahi(&mut self, state: &State) -> AvahiReply {
        self.look_again();
        let daemon = state.machine.avahi.state();
        let trouble = self.troubles.first().filter(|_| daemon != avahi::State::Absent);
        let runs = daemon == avahi::State::Running;
        let published = self.done.adverts.iter().filter(|a| runs && !failed(&self.troubles, a)).count();
        AvahiReply {
            state: daemon.as_str(),
            message: trouble.map_or(daemon.message().to_string(), |(_, error)| error.message.clone()),
            published: published as u32,
        }
    }
}

/// The ports that must be known to answer.
fn checked_ports(state: &State) -> Vec<Port> {
    let mut up = hosts(state);
    up.retain(|host| host.down.is_none() && host.advertise);
    if !state.config.settings.advertise {
        return Vec::new();
    }
    let mut ports: Vec<Port> = Vec::new();
    // With every port answering, those are left that nothing else withholds.
    for advert in advert::adverts(&state.config.services, &up, "", &|_, _| true) {
        let Some(container) = advert.container else { continue };
        if advert.service.check && advert.withheld.is_none() {
            ports.push((container, advert.service.port));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The containers as far as their services are concerned.
pub fn hosts(state: &State) -> Vec<Host<'_>> {
    state
        .containers
        .iter()
        .map(|(name, container)| {
            let sha256 = &container.record.image_sha256;
            let image = state.images.iter().find(|image| image.manifest.sha256 == *sha256);
            Host {
                name,
                down: down(state, name, container),
                addresses: container.addresses(),
                offered: image.map_or(&[], |image| &image.manifest.services),
                services: &container.record.spec.services,
                advertise: state.declared_spec(name).unwrap_or(&container.record.spec).advertise,
            }
        })
        .collect()
}

/// Why nothing of a container may be announced.
fn down(state: &State, name: &Name, container: &Container) -> Option<&'static str> {
    let job = state.job_on(name).filter(|job| job.target.container() == Some(name));
    if let Some(silence) = job.and_then(|job| job.kind.silence) {
        return Some(silence);
    }
    match &container.live {
        None => Some("is stopped"),
        Some(live) if live.frozen => Some("is frozen"),
        Some(_) => None,
    }
}

fn failed(troubles: &Troubles, advert: &Advert) -> bool {
    let file = file_of(advert);
    troubles.iter().any(|(name, _)| name.is_empty() || *name == file)
}
