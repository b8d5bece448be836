//! What the box announces: worked out anew after each change, written by a thread, one at a time.

use super::probes::{CheckedPort, Probes};
use super::sightings::{Looked, Looking, News, Sightings};
use crate::api::replies::AvahiReply;
use crate::api::{AdvertSubject, BusObject};
use crate::error::{Code, Error};
use crate::machine::Machine;
use crate::mdns::lookup::Sight;
use crate::model::advert::{self, Advert, DeclaredBy, Host, OfBox};
use crate::model::name::Name;
use crate::model::service::Service;
use crate::state::{Container, State};
use crate::steps::avahi::{self, file_of, may_be_named, Troubles, Wanted};
use crate::steps::filesystem::read_text;
use crate::steps::host;
use crate::steps::keep::keep;
use litemap::LiteMap;
use log::{error, warn};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What comes within this time is announced at once: several ports of a guest that has just started.
const GATHER: Duration = Duration::from_millis(30);
/// At its start the daemon waits this long for the ports to answer, before it withdraws what an earlier one announced.
const FIRST: Duration = Duration::from_secs(1);
/// What guests change by themselves is written no more often: their root can change it without end, and flash wears out.
const GUESTS_EVERY: Duration = Duration::from_secs(5);
/// What the box says of itself is written no more often. avahi-daemon says goodbye at each change, and a service that
/// has changed fifteen times in a row, with less than 5 seconds between, is left out for 20 seconds each time.
const BOX_EVERY: Duration = Duration::from_secs(10);
/// What is read of the file of names.
const SHARED_MAX: u64 = 1 << 20;

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
    /// When the box's own words were written last, and when newer ones are to be.
    box_written: Option<Instant>,
    box_due: Option<Instant>,
    /// A thread writes this.
    at_work: Option<Wanted>,
    /// What was written last.
    done: Wanted,
    troubles: Troubles,
    /// Which of that is seen on the network.
    sightings: Sightings,
    /// Services, by id, whose given name somebody else's has as well.
    shared: LiteMap<String, String>,
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
            box_written: None,
            box_due: None,
            at_work: None,
            done: Wanted::default(),
            troubles: Vec::new(),
            sightings: Sightings::default(),
            shared: LiteMap::new(),
            daemon: avahi::State::Absent,
            watch: None,
        }
    }

    /// When [`Announcer::announce`] or [`Announcer::try_ports`] has something to do.
    pub fn next_time(&self) -> Option<Instant> {
        let due = [self.due, self.box_due].into_iter().flatten().min().filter(|_| self.at_work.is_none());
        let due = due.map(|due| match self.patient_until {
            Some(until) if self.probes.any_unknown() => until,
            _ => due,
        });
        [due, self.probes.next_time()].into_iter().flatten().min()
    }

    /// Whether something is to be announced that is not yet.
    pub fn is_at_it(&self) -> bool {
        self.due.is_some()
            || self.at_work.is_some()
            || self.probes.any_unknown()
            || self.sightings.is_looking()
    }

    /// What the loop shall watch of avahi-daemon.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// avahi-daemon may have come or gone, or its directory.
    pub fn handle_watch(&mut self, state: &mut State) {
        self.look_at_daemon(state);
        self.wake(Instant::now() + GATHER);
    }

    fn look_at_daemon(&mut self, state: &mut State) {
        (self.daemon, self.watch) = state.machine.avahi.watch();
        let announced: Vec<&Advert> = match self.daemon {
            avahi::State::Running => {
                self.done.adverts.iter().filter(|a| !failed(&self.troubles, a)).collect()
            }
            avahi::State::Stopped | avahi::State::Absent => Vec::new(),
        };
        for gone in self.sightings.follow(&announced, Instant::now()) {
            state.notify(BusObject::Service, "service.withdrawn", &AdvertSubject::of(&gone));
        }
    }

    /// What a thread shall ask the network, if what is announced was not seen there yet.
    pub fn look(&mut self, state: &State) -> Option<Looking> {
        if !self.sightings.is_due() {
            return None;
        }
        let mut bridges = vec![state.config.settings.defaults.bridge.clone()];
        let used = state.containers.values().map(|container| container.record.spec.bridge.clone());
        bridges.extend(used);
        bridges.sort_unstable();
        bridges.dedup();
        self.sightings.look(bridges, state.containers.values().flat_map(Container::addresses).collect())
    }

    /// A thread has asked the network. What is new is told, and names that others have as well are changed.
    pub fn looked(&mut self, state: &mut State, looked: Looked) {
        for news in self.sightings.answered(looked, Instant::now()) {
            match news {
                News::Seen(advert) => {
                    state.notify(BusObject::Service, "service.published", &AdvertSubject::of(&advert));
                }
                News::Lost(advert) => {
                    state.notify(BusObject::Service, "service.withdrawn", &AdvertSubject::of(&advert));
                }
                News::Taken(advert, sight) => self.give_way(state, &advert, &sight),
            }
        }
    }

    /// No thread could be had to ask.
    pub fn not_looked(&mut self) {
        self.sightings.not_looked(Instant::now());
        self.sightings.give_up();
    }

    /// Somebody else on the network has the name of a service or of its host: ours gets something of its own.
    fn give_way(&mut self, state: &State, advert: &Advert, sight: &Sight) {
        let machine = &state.machine;
        let hostname = machine.avahi.hostname();
        let was_shared = machine.box_name() == machine.own_name();
        if !was_shared && (*sight == Sight::HostTaken || advert.container.is_none()) {
            machine.share_name(&hostname);
            warn!(
                "another box on the network is called {hostname}, too: this one announces itself as {}",
                machine.box_name()
            );
        } else if *sight == Sight::NameTaken && advert.container.is_some() && !self.is_told_apart(advert) {
            let (name, own) = (advert.name(), advert::own_name(advert.name(), &machine.own_name()));
            warn!("somebody else on the network announces {name} as well: ours is announced as {own}");
            self.shared.insert(advert.id.clone(), name.to_string());
        } else {
            return;
        }
        let lines = self.shared.iter().map(|(id, name)| format!("service {id} {name}\n"));
        let text = format!("box {}\n", machine.shared_name()) + &lines.collect::<String>();
        keep("which names others have, too,", &state.layout.shared_names(), &text);
        self.wake(Instant::now());
    }

    fn is_told_apart(&self, advert: &Advert) -> bool {
        self.shared.get(&advert.id).is_some_and(|given| given != advert.name())
    }

    /// Takes up what an earlier daemon of this boot has found out about names.
    pub fn recall(&mut self, state: &State) {
        let text = read_text(&state.layout.shared_names(), SHARED_MAX).unwrap_or_default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or_default() {
                ("box", hostname) => state.machine.share_name(hostname),
                ("service", rest) => {
                    let given = rest.split_once(' ').map(|(id, name)| (id.to_string(), name.to_string()));
                    if let Some((id, name)) = given {
                        self.shared.insert(id, name);
                    }
                }
                _ => {}
            }
        }
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
    pub fn trying(&self) -> impl Iterator<Item = (&CheckedPort, BorrowedFd<'_>)> {
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
    pub fn handle_port(&mut self, port: &CheckedPort) {
        let now = Instant::now();
        if self.probes.handle_ended(port, now) {
            self.wake(now + GATHER);
        }
    }

    /// Works out what is to be announced; what a thread shall write, if that is something new. The loop calls it when
    /// all that came has been handled.
    pub fn announce(&mut self, state: &State, now: Instant) -> Option<Writing> {
        let is_due = [self.due, self.box_due].into_iter().flatten().any(|due| due <= now);
        if self.at_work.is_some() || !is_due {
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
        let mut wanted = self.wanted(state);
        self.hold_back_the_box(&mut wanted, now);
        if wanted == self.done && self.troubles.is_empty() && !first {
            return None;
        }
        if by_guest {
            self.guests_written = Some(now);
        }
        self.at_work = Some(wanted.clone());
        Some(Writing(wanted))
    }

    /// What the box says of itself is gathered: it changes with each container that comes or goes.
    fn hold_back_the_box(&mut self, wanted: &mut Wanted, now: Instant) {
        self.box_due = None;
        let (Some(is), Some(new)) = (self.done.adverts.first(), wanted.adverts.first_mut()) else { return };
        let of_both = is.container.is_none() && new.container.is_none();
        let only_text = Advert { service: new.service.clone(), ..is.clone() } == *new
            && Service { txt: new.service.txt.clone(), ..is.service.clone() } == new.service;
        if !of_both || is == new || self.daemon != avahi::State::Running {
            return;
        }
        match self.box_written.map(|last| last + BOX_EVERY).filter(|next| only_text && now < *next) {
            Some(next) => {
                self.box_due = Some(next);
                new.clone_from(is);
            }
            None => self.box_written = Some(now),
        }
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

    /// The thread has written, but for `troubles`. What is new is told. Returns whether there are other names than before
    /// for the box's name server.
    pub fn written(&mut self, state: &mut State, troubles: Troubles) -> bool {
        let Some(written) = self.at_work.take() else { return false };
        for (file, error) in &troubles {
            if !self.troubles.iter().any(|(known, _)| known == file) {
                error!("{error}");
            }
        }
        let named_anew = self.done.names != written.names;
        (self.done, self.troubles) = (written, troubles);
        self.look_at_daemon(state);
        // Its directory may have come just before it was watched.
        let was_absent = self.troubles.iter().any(|(_, error)| error.code == Code::NotFound);
        if was_absent && self.daemon != avahi::State::Absent {
            self.wake(Instant::now());
        }
        named_anew
    }

    fn wanted(&self, state: &State) -> Wanted {
        let settings = &state.config.settings;
        if !settings.advertise || !settings.enabled {
            return Wanted::default();
        }
        let (box_name, hostname) = (state.machine.box_name(), state.machine.avahi.hostname());
        let (mut named, mut names) = (Vec::new(), Vec::new());
        for host in hosts(state) {
            let label = advert::host_label(host.name, &box_name);
            if host.down.is_none() && host.advertise && label.len() <= 63 {
                named.extend(host.addresses.iter().map(|address| (label.clone(), *address)));
                if may_be_named(host.name.as_str(), &hostname) {
                    names.extend(host.addresses.iter().map(|address| (host.name.to_string(), *address)));
                }
            }
        }
        let mut adverts = self.adverts(state, &box_name);
        adverts.retain(|advert| advert.withheld.is_none() && advert.source != DeclaredBy::Guest);
        Wanted { adverts, hosts: named, names }
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
        let hostname = state.machine.avahi.hostname();
        let host = hostname.split('.').next().filter(|label| !label.is_empty()).unwrap_or(box_name);
        let mut adverts = vec![advert::box_advert(box_name, host, &of_box)];
        adverts.extend(advert::adverts(&state.config.services, &hosts(state), box_name, &answers));
        for advert in &mut adverts {
            if let Some(given) = self.shared.get(&advert.id).filter(|given| *given == advert.name()) {
                advert.service.name = Some(advert::own_name(given, &state.machine.own_name()));
            }
        }
        adverts
    }

    /// When somebody asks, what could not be written is tried again, and the network is asked again now and then.
    pub fn look_again(&mut self) {
        if !self.troubles.is_empty() {
            self.wake(Instant::now());
        }
        self.sightings.look_again(Instant::now());
    }

    /// The host that an advert points at, as the network says it.
    pub fn host_of(&self, advert: &Advert) -> String {
        self.sightings.host(advert).unwrap_or(&advert.host).to_string() + ".local"
    }

    /// Why an advert is not seen on the network; None when it is.
    pub fn why_unseen(&self, advert: &Advert) -> Option<String> {
        self.sightings.why_unseen(advert)
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
        let published = if daemon == avahi::State::Running { self.sightings.seen() } else { 0 };
        AvahiReply {
            state: daemon.as_str(),
            message: trouble.map_or(daemon.message().to_string(), |(_, error)| error.message.clone()),
            published: published as u32,
        }
    }
}

/// The ports that must be known to answer.
fn checked_ports(state: &State) -> Vec<CheckedPort> {
    let mut up = hosts(state);
    up.retain(|host| host.down.is_none() && host.advertise);
    if !state.config.settings.advertise {
        return Vec::new();
    }
    let mut ports: Vec<CheckedPort> = Vec::new();
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
