//! What the box announces: worked out anew after each change, written by a thread, one at a time.

use super::calls::{encode, Answer};
use super::core::Core;
use super::probes::{Port, Probes};
use super::work::{self, Report};
use crate::api::replies::{AvahiReply, FoundService, FoundServices, ServiceEntry, ServiceId, ServiceList};
use crate::api::{args, Face};
use crate::error::{quoted, Code, Error, Result};
use crate::mdns::ServiceInstance;
use crate::model::advert::{self, Advert, DeclaredBy, Host, OfBox};
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::service::{parse_kind, section_name, DeclaredService, ServiceOptions};
use crate::steps::avahi::{file_of, Avahi, State, Troubles, Wanted};
use log::error;
use serde::Serialize;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What comes within this time is announced at once: several ports of a guest that has just started.
const GATHER: Duration = Duration::from_millis(30);
/// The most that a look around answers with, in bytes; a message on the bus may have a megabyte. Thousands of honest
/// services fit.
const REPLY_MAX: usize = 700 << 10;
/// What a field of a reply takes beside its text, at most.
const ENTRY: usize = 64;
/// At its start the daemon waits this long for the ports to answer, before it withdraws what an earlier one announced.
const FIRST: Duration = Duration::from_secs(1);

/// What is announced, and what is about to be.
#[derive(Debug)]
pub(super) struct Announcer {
    pub(super) probes: Probes,
    /// When to work out what is to be announced; None when nothing has changed.
    due: Option<Instant>,
    /// Nothing is withdrawn before this, while it is not known which ports answer.
    patient_until: Option<Instant>,
    /// A thread writes this.
    at_work: Option<Wanted>,
    /// What was written last.
    done: Wanted,
    troubles: Troubles,
    /// Readable when avahi's directory may have come.
    watch: Option<OwnedFd>,
}

impl Announcer {
    pub(super) fn new(now: Instant) -> Announcer {
        Announcer {
            probes: Probes::default(),
            due: Some(now),
            patient_until: Some(now + FIRST),
            at_work: None,
            done: Wanted::default(),
            troubles: Vec::new(),
            watch: None,
        }
    }

    /// When [`Core::announce`] has something to do.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let due = if self.at_work.is_none() { self.due } else { None };
        let due = due.map(|due| match self.patient_until {
            Some(until) if self.probes.any_unknown() => until,
            _ => due,
        });
        [due, self.probes.next_time()].into_iter().flatten().min()
    }

    /// What the loop shall watch of avahi's directory.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(OwnedFd::as_fd)
    }

    /// avahi's directory changed.
    pub(super) fn handle_watch(&mut self) {
        self.watch = None;
        self.wake(Instant::now() + GATHER);
    }

    /// Something changed that may be announced, or not any more.
    pub(super) fn wake(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    fn trouble_of(&self, advert: &Advert) -> Option<&Error> {
        let file = file_of(advert);
        let of = |name: &str| self.troubles.iter().find(|(file, _)| file == name).map(|(_, error)| error);
        of(&file).or_else(|| of(""))
    }
}

impl Core {
    /// Whether something is to be announced that is not yet.
    #[cfg(test)]
    pub(super) fn is_announcing(&self) -> bool {
        let announcer = &self.announcer;
        announcer.due.is_some() || announcer.at_work.is_some() || announcer.probes.any_unknown()
    }

    /// Something changed: what is announced is worked out anew before the loop sleeps.
    pub(super) fn adverts_changed(&mut self) {
        self.announcer.wake(Instant::now());
    }

    /// Begins the tries of ports that are due.
    pub(super) fn try_ports(&mut self, now: Instant) {
        if self.announcer.probes.next_time().is_none_or(|next| next > now) {
            return;
        }
        let containers = &self.containers;
        let addresses = |name: &Name| containers.get(name).map(addresses_of).unwrap_or_default();
        if self.announcer.probes.handle_time(now, &addresses) {
            self.announcer.wake(now + GATHER);
        }
    }

    /// A try of a port has ended.
    pub(super) fn handle_port(&mut self, port: &Port) {
        let now = Instant::now();
        if self.announcer.probes.handle_ended(port, now) {
            self.announcer.wake(now + GATHER);
        }
    }

    /// Works out what is to be announced, and has it written if that is something new. The loop calls it when all that
    /// came has been handled.
    pub fn announce(&mut self, now: Instant) {
        let announcer = &self.announcer;
        if self.ending || announcer.at_work.is_some() || announcer.due.is_none_or(|due| due > now) {
            return;
        }
        let ports = self.checked_ports();
        self.announcer.probes.line_up(&ports, now);
        self.try_ports(now);
        let announcer = &mut self.announcer;
        if announcer.patient_until.is_some_and(|until| now < until) && announcer.probes.any_unknown() {
            return;
        }
        let first = announcer.patient_until.take().is_some();
        announcer.due = None;
        let wanted = self.wanted();
        if wanted == self.announcer.done && self.announcer.troubles.is_empty() && !first {
            return;
        }
        let machine = self.machine.clone();
        let job = wanted.clone();
        let write = move || Report::Announced(machine.avahi.announce(&job));
        match work::spawn_report(&self.sender, Box::new(write)) {
            Ok(()) => self.announcer.at_work = Some(wanted),
            Err(error) => error!("{error}"),
        }
    }

    /// The thread has written.
    pub(super) fn handle_announced(&mut self, troubles: Troubles) {
        let Some(written) = self.announcer.at_work.take() else { return };
        for (file, error) in &troubles {
            if !self.announcer.troubles.iter().any(|(known, _)| known == file) {
                error!("{error}");
            }
        }
        let nothing_written = troubles.iter().any(|(file, _)| file.is_empty());
        self.announcer.watch = if nothing_written { self.machine.avahi.watch_directory() } else { None };
        // It may have come just before it was watched.
        let was_absent = troubles.iter().any(|(_, error)| error.code == Code::NotFound);
        if was_absent && self.machine.avahi.state() != State::Absent {
            self.adverts_changed();
        }
        let before = std::mem::replace(&mut self.announcer.done, written);
        let failed_before = std::mem::replace(&mut self.announcer.troubles, troubles);
        let was = |advert: &Advert| !failed(&failed_before, advert);
        let is = |advert: &Advert| !failed(&self.announcer.troubles, advert);
        let after = &self.announcer.done.adverts;
        let has = |list: &[Advert], advert: &Advert| {
            list.iter().any(|a| (&a.id, &a.container) == (&advert.id, &advert.container))
        };
        let mut news = Vec::new();
        for gone in before.adverts.iter().filter(|a| was(a) && !has(after, a)) {
            news.push(("service.withdrawn", Subject::of(gone)));
        }
        for new in after.iter().filter(|a| is(a) && (!has(&before.adverts, a) || !was(a))) {
            news.push(("service.published", Subject::of(new)));
        }
        for (what, subject) in news {
            self.notify(Face::Service, what, &subject);
        }
    }

    /// The ports that must be known to answer.
    fn checked_ports(&self) -> Vec<Port> {
        let mut up = self.hosts();
        up.retain(|host| host.down.is_none() && host.advertise);
        if !self.config.settings.advertise {
            return Vec::new();
        }
        let mut ports: Vec<Port> = Vec::new();
        // With every port answering, those are left that nothing else withholds.
        for advert in advert::adverts(&self.config.services, &up, "", &|_, _| true) {
            let Some(container) = advert.container else { continue };
            if advert.service.check && advert.withheld.is_none() {
                ports.push((container, advert.service.port));
            }
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn wanted(&self) -> Wanted {
        if !self.config.settings.advertise || !self.config.settings.enabled {
            return Wanted::default();
        }
        let box_name = self.machine.box_name();
        let mut hosts = Vec::new();
        for host in self.hosts() {
            let label = advert::host_label(host.name, &box_name);
            if host.down.is_none() && host.advertise && label.len() <= 63 {
                hosts.extend(host.addresses.iter().map(|address| (label.clone(), *address)));
            }
        }
        let mut adverts = self.adverts(&box_name);
        adverts.retain(|advert| advert.withheld.is_none() && advert.source != DeclaredBy::Guest);
        Wanted { adverts, hosts }
    }

    /// All services, the box's own first.
    fn adverts(&self, box_name: &str) -> Vec<Advert> {
        let memory = self.memory();
        let free = memory.total.saturating_sub(memory.reserve).saturating_sub(memory.promised);
        let of_box = OfBox {
            api: crate::api::VERSION,
            version: env!("CARGO_PKG_VERSION"),
            arch: &super::answers::arch(),
            memory: free,
            containers: self.containers.len(),
        };
        let answers = |name: &Name, port: u16| self.announcer.probes.answers(&(name.clone(), port));
        let mut adverts = vec![advert::box_advert(box_name, &of_box)];
        adverts.extend(advert::adverts(&self.config.services, &self.hosts(), box_name, &answers));
        adverts
    }

    /// The containers as far as their services are concerned.
    fn hosts(&self) -> Vec<Host<'_>> {
        self.containers
            .iter()
            .map(|(name, container)| {
                let sha256 = &container.record.image_sha256;
                let image = self.images.iter().find(|image| image.manifest.sha256 == *sha256);
                let spec = self.config.containers.get(name).and_then(|d| d.spec.as_ref().ok());
                Host {
                    name,
                    down: self.down(name, container),
                    addresses: addresses_of(container),
                    offered: image.map_or(&[], |image| &image.manifest.services),
                    services: &container.record.spec.services,
                    advertise: spec.unwrap_or(&container.record.spec).advertise,
                }
            })
            .collect()
    }

    /// Why nothing of a container may be announced.
    fn down(&self, name: &Name, container: &super::core::Container) -> Option<&'static str> {
        match self.jobs.active_on(name.as_str()).map(|job| job.kind) {
            Some(Kind::Stop | Kind::Ended) => return Some("is stopping"),
            Some(Kind::Delete) => return Some("is being deleted"),
            Some(Kind::Freeze) => return Some("is being frozen"),
            _ => {}
        }
        match &container.live {
            None => Some("is stopped"),
            Some(live) if live.frozen => Some("is frozen"),
            Some(_) => None,
        }
    }
}

fn addresses_of(container: &super::core::Container) -> Vec<IpAddr> {
    let watch = container.live.as_ref().and_then(|live| live.addresses.as_ref());
    watch.map(|watch| watch.addresses().copied().collect()).unwrap_or_default()
}

fn failed(troubles: &Troubles, advert: &Advert) -> bool {
    let file = file_of(advert);
    troubles.iter().any(|(name, _)| name.is_empty() || *name == file)
}

/// The calls.
impl Core {
    pub(super) fn service_list(&mut self) -> ServiceList {
        self.look_again();
        let off = (!self.config.settings.advertise).then_some("option advertise '0' in section 'main'");
        let entries = self.adverts(&self.machine.box_name()).into_iter().map(|advert| {
            let trouble = self.announcer.trouble_of(&advert).map(|error| error.message.clone());
            let reason = off.map(str::to_string).or(advert.withheld).or(trouble);
            ServiceEntry {
                id: advert.id,
                container: advert.container.map(|name| name.to_string()),
                name: advert.service.name.unwrap_or_default(),
                kind: advert.service.kind,
                port: advert.service.port,
                txt: advert.service.txt,
                protocol: advert.service.family.as_str(),
                check: if advert.service.check { "tcp" } else { "none" },
                source: advert.source.as_str(),
                state: if reason.is_none() { "published" } else { "withheld" },
                reason,
                host: advert.host + ".local",
                addresses: advert.addresses.iter().map(ToString::to_string).collect(),
            }
        });
        ServiceList { services: entries.collect() }
    }

    /// What could not be written is tried again when somebody asks for it.
    fn look_again(&mut self) {
        if !self.announcer.troubles.is_empty() {
            self.adverts_changed();
        }
    }

    pub(super) fn avahi(&mut self) -> AvahiReply {
        self.look_again();
        let state = self.machine.avahi.state();
        let trouble = self.announcer.troubles.first().filter(|_| state != State::Absent);
        let published =
            self.announcer.done.adverts.iter().filter(|a| !failed(&self.announcer.troubles, a)).count();
        AvahiReply {
            state: state.as_str(),
            message: trouble.map_or(state.message().to_string(), |(_, error)| error.message.clone()),
            published: published as u32,
        }
    }

    /// Checks what is to be published; the section's name, and what it shall say.
    pub(super) fn check_publish(&self, args: &args::Publish) -> Result<(String, ServiceOptions)> {
        let asked = args.asked();
        let wanted = asked.resolve("")?;
        self.known(&wanted.container)?;
        let same = |d: &&DeclaredService| advert::is_same(d, &wanted.container, &wanted.service);
        let (kind, port) = (&wanted.service.kind, wanted.service.port);
        match self.config.services.iter().find(same) {
            Some(there) if there.enabled => {
                let (container, id) = (&wanted.container, &there.id);
                Err(Error::new(
                    Code::Exists,
                    format_args!(
                    "container {container} has {kind} on port {port} already, as service {id}; withdraw that \
                     first, or change its section with `uci set cloudbox.{id}...`"
                ),
                ))
            }
            Some(there) => Ok((there.id.clone(), asked)),
            None => Ok((self.free_id(section_name(&wanted.container, kind, port)), asked)),
        }
    }

    /// `id`, or that with a number where another service has it.
    fn free_id(&self, id: String) -> String {
        let taken = |id: &str| self.config.services.iter().any(|d| d.id == id);
        if !taken(&id) {
            return id;
        }
        let numbered = (2..1000).map(|n| format!("{id}_{n}")).find(|id| !taken(id));
        numbered.unwrap_or(id)
    }

    /// What withdrawing a service means for the configuration: a section that switches off what the image offers, or
    /// none any more.
    pub(super) fn check_withdraw(&self, id: &str) -> Result<Option<ServiceOptions>> {
        let adverts = self.adverts("");
        let declared = self.config.services.iter().find(|declared| declared.id == id);
        let offered = |container: &Name, kind: &str, port: u16| {
            let hosts = self.hosts();
            let services = hosts.iter().find(|h| h.name == container).map(|h| h.offered).unwrap_or_default();
            let mut services = services.iter().filter_map(advert::offered_service);
            services.any(|service| service.kind == kind && service.port == port)
        };
        let (container, kind, port) = match (declared, adverts.iter().find(|advert| advert.id == id)) {
            (Some(d), _) => (d.container.clone(), d.service.kind.clone(), d.service.port),
            (None, Some(Advert { source: DeclaredBy::Guest, container: Some(container), .. })) => {
                return Err(Error::new(
                    Code::NotSupported,
                    format_args!(
                    "container {container} announces it itself; switch it off there, in /etc/cloudbox-distro"
                ),
                ));
            }
            (None, Some(Advert { container: Some(container), service, .. })) => {
                (container.clone(), service.kind.clone(), service.port)
            }
            (None, Some(_)) => {
                let why =
                    "this is the box itself; `uci set cloudbox.main.advertise=0` withdraws it with all else";
                return Err(Error::new(Code::NotSupported, why));
            }
            (None, None) => {
                return Err(Error::new(
                    Code::NotFound,
                    format_args!(
                        "there is no service {id}; `cloudbox service list` shows those there are",
                        id = quoted(id)
                    ),
                ));
            }
        };
        if !offered(&container, &kind, port) {
            return Ok(None);
        }
        Ok(Some(ServiceOptions {
            container: Some(container.to_string()),
            kind: Some(kind),
            port: Some(port.to_string()),
            enabled: Some("0".to_string()),
            ..ServiceOptions::default()
        }))
    }

    /// Writes a service's section in a thread, and answers when the configuration was read again.
    pub(super) fn edit_service(&self, id: String, asked: Option<ServiceOptions>) -> Answer {
        let machine = self.machine.clone();
        Answer::Aside(Box::new(move |request| {
            let written = match &asked {
                Some(asked) => machine.config.put_service(&id, asked),
                None => machine.config.remove_service(&id),
            };
            Report::Configured(request, written.and_then(|()| encode(&ServiceId { id })))
        }))
    }
}

/// The look around.
impl Core {
    /// Answers in a thread: the network is listened to for a while.
    pub(super) fn browse(&self, args: &args::Browse) -> Result<Answer> {
        let (looking, machine) = (self.look_around(args)?, self.machine.clone());
        Ok(Answer::aside(move || encode(&looking.look(machine.avahi.as_ref())?)))
    }

    fn look_around(&self, args: &args::Browse) -> Result<LookAround> {
        let asked = args.kind.as_deref().filter(|kind| !kind.is_empty());
        let timeout = args.timeout.unwrap_or(args::BROWSE_TIMEOUT);
        if !(1..=args::BROWSE_TIMEOUT_MAX).contains(&timeout) {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("timeout {timeout}: give 1 to {} seconds", args::BROWSE_TIMEOUT_MAX),
            ));
        }
        let own = self.machine.network.own_addresses();
        let mut addresses: Vec<IpAddr> = own.into_iter().map(IpAddr::from).collect();
        for container in self.containers.values() {
            addresses.append(&mut addresses_of(container));
        }
        Ok(LookAround {
            kind: asked.map(parse_kind).transpose()?,
            timeout: Duration::from_secs(timeout.into()),
            box_name: self.machine.box_name(),
            addresses,
        })
    }
}

/// What to look for, and by what our own is known.
struct LookAround {
    kind: Option<String>,
    timeout: Duration,
    box_name: String,
    addresses: Vec<IpAddr>,
}

impl LookAround {
    fn look(&self, avahi: &dyn Avahi) -> Result<FoundServices> {
        let kind = self.kind.as_deref();
        let boxes_too = kind.is_some_and(|kind| kind != advert::BOX_KIND);
        // Which boxes there are tells whose a service is.
        let mut boxes = Vec::new();
        let mut found = std::thread::scope(|scope| {
            if boxes_too {
                let look: Box<dyn FnOnce() + Send> = Box::new(|| {
                    boxes = avahi.browse(Some(advert::BOX_KIND), self.timeout).unwrap_or_default();
                });
                scope.spawn(look);
            }
            avahi.browse(kind, self.timeout)
        })?;
        let is_box = |found: &&ServiceInstance| found.kind == advert::BOX_KIND && !found.host.is_empty();
        let label = |found: &ServiceInstance| found.host.split('.').next().unwrap_or_default().to_string();
        let mut names: Vec<String> = found.iter().chain(&boxes).filter(is_box).map(label).collect();
        names.push(self.box_name.clone());
        found.sort_unstable_by(|a, b| (&a.kind, &a.name, &a.host).cmp(&(&b.kind, &b.name, &b.host)));
        let mut room = REPLY_MAX;
        let fits = |found: &ServiceInstance| {
            let texts = found.txt.iter().map(|text| text.len() + ENTRY).sum::<usize>();
            room = room.saturating_sub(texts + found.name.len() + found.host.len() + 4 * ENTRY);
            room > 0
        };
        found.retain(fits);
        Ok(FoundServices { services: found.into_iter().map(|found| self.entry(found, &names)).collect() })
    }

    fn entry(&self, found: ServiceInstance, boxes: &[String]) -> FoundService {
        let mut box_name = advert::box_of(&found.host, boxes);
        let ours = box_name == self.box_name || found.addresses.iter().any(|a| self.addresses.contains(a));
        if ours && box_name.is_empty() {
            box_name = &self.box_name;
        }
        FoundService {
            kind: found.kind,
            name: found.name,
            addresses: found.addresses.iter().map(ToString::to_string).collect(),
            port: found.port,
            txt: found.txt,
            box_name: box_name.to_string(),
            host: found.host,
            ours,
        }
    }
}

/// What a notification is about.
#[derive(Serialize)]
struct Subject {
    id: String,
    container: Option<String>,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    port: u16,
}

impl Subject {
    fn of(advert: &Advert) -> Subject {
        Subject {
            id: advert.id.clone(),
            container: advert.container.as_ref().map(ToString::to_string),
            name: advert.name().to_string(),
            kind: advert.service.kind.clone(),
            port: advert.service.port,
        }
    }
}
