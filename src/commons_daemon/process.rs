//! The loop: whatever comes from brokers, the bus, the clock and signals goes into the core, and what comes out of it is
//! carried out before anything else is taken in.

use super::bus::{answer, Bus, News as BusNews};
use super::clock::Clock;
use super::disk::Disk;
use super::identity::{boards, random, Identity};
use super::links::{Links, News as LinkNews, Wanted};
use super::local::LocalBroker;
use super::objects::{self, Asked};
use super::told::{Config, OfBox};
use super::work::{account, task};
use super::Options;
use crate::commons::core::Core;
use crate::commons::id::Id;
use crate::commons::interface::{self, Broker, Effect, Input, Notice, Now, Work};
use crate::commons::seal::SealKey;
use crate::commons::signed::Ed25519;
use crate::daemon::Signals;
use crate::error::{errno_text, Code, Error, Result};
use crate::steps::wait;
use log::{info, warn};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use openwrt_ubus::conn::Request;
use serde_json::{json, Value};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The certificate by which the box's owner says that it is his, beside the key.
const OWNER: &str = "box.owner";
/// The longest one, in bytes.
const OWNER_MAX: usize = 1 << 10;
/// What the core keeps, beside the key.
const STATE: &str = "state";
/// When it is told to end, what was said last gets this long to leave. procd kills after 5 s.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The number of the broker that this box is to itself where none is listed.
const LOCAL: Broker = 0;

/// All of it.
pub struct Process {
    options: Options,
    clock: Clock,
    core: Core,
    me: Id,
    seal: SealKey,
    session: u32,
    disk: Disk,
    links: Links,
    local: Option<LocalBroker>,
    bus: Bus,
    config: Option<Box<Config>>,
    of_box: OfBox,
    begun: Instant,
    /// What others have said since the core was asked last.
    ended: Option<Instant>,
}

impl Process {
    /// Reads who the box is and what an earlier process kept.
    ///
    /// # Errors
    /// The key is damaged, or nothing can be written: without a number of its own on the disk, a run must not begin.
    pub fn new(options: Options) -> Result<Process> {
        std::fs::create_dir_all(&options.directory)
            .map_err(|e| Error::io("cannot make", &options.directory, e))?;
        let Identity { key, id, seal, session, run, news } =
            Identity::open(&options.directory, &boards(Path::new("/sys")))?;
        if let Some(news) = news {
            warn!("{news}");
        }
        let disk = Disk::open(&options.directory.join(STATE))?;
        let kept = disk.read_all()?;
        let seed = u64::from_be_bytes(random()?);
        info!("box {id}, session {session}: {} files are kept", kept.len());
        let run_text = String::from_utf8_lossy(&run).into_owned();
        let identity = interface::Identity { key, session, run, seed };
        let begun = Instant::now();
        let clock = Clock::new(options.ntp.clone());
        let core = Core::new(identity, Rc::new(Ed25519), kept, clock.now());
        let bus = Bus::new(options.socket.clone(), objects::slice(), objects::commons());
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64 * 1000;
        let of_box = OfBox { name: hostname(), seal: seal.public(), cpus, ..OfBox::default() };
        let links = Links::new(id, run_text, seed);
        Ok(Process {
            options,
            clock,
            core,
            me: id,
            seal,
            session,
            disk,
            links,
            local: None,
            bus,
            config: None,
            of_box,
            begun,
            ended: None,
        })
    }

    /// Runs until a signal ends it.
    ///
    /// # Errors
    /// What the core wants kept cannot be written, or poll(2) fails.
    pub fn run(mut self, signals: &Signals) -> Result<()> {
        loop {
            let at = Instant::now();
            for news in self.bus.turn(at) {
                self.heard_on_bus(news)?;
            }
            for news in self.links.turn(at) {
                self.heard_of_broker(news)?;
            }
            if self.core.deadline().is_some_and(|due| due <= self.now().mono) {
                self.tell(Input::Tick)?;
            }
            let at = Instant::now();
            self.links.flush(at);
            self.bus.flush();
            if self.ended.is_some_and(|end| self.links.are_closed() || at >= end) {
                return Ok(());
            }
            if self.sleep(signals)? {
                let (to_reload, to_end) = signals.take();
                if to_reload {
                    self.reload();
                }
                if to_end && self.ended.is_none() {
                    self.tell(Input::Shutdown)?;
                    let at = Instant::now();
                    self.links.flush(at);
                    self.links.close(at);
                    self.ended = Some(at + LAST_WORDS);
                }
            }
        }
    }

    /// Waits for something to do; whether a signal has come.
    fn sleep(&self, signals: &Signals) -> Result<bool> {
        let at = Instant::now();
        let core = self.core.deadline().map(|due| at + self.clock.until(due));
        let times = [core, self.links.deadline(), self.bus.deadline(at), self.ended];
        let until = times.into_iter().flatten().min();
        let flags =
            |writing| if writing { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let sockets: Vec<(BorrowedFd<'_>, bool)> =
            self.bus.interest().into_iter().chain(self.links.interest()).collect();
        let mut fds = vec![PollFd::new(signals.fd(), PollFlags::POLLIN)];
        fds.extend(sockets.iter().map(|(fd, writing)| PollFd::new(*fd, flags(*writing))));
        let timeout = until.map_or(PollTimeout::NONE, |until| wait::timeout(until, Instant::now()));
        match poll(&mut fds, timeout) {
            Ok(_) => Ok(fds[0].any() == Some(true)),
            Err(Errno::EINTR) => Ok(true),
            Err(e) => Err(Error::new(Code::Failed, format_args!("cannot wait: {}", errno_text(e)))),
        }
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn reload(&mut self) {
        self.bus.ask_config();
        self.bus.ask_containers();
    }

    /// The core hears something, and all that comes of it is done.
    fn tell(&mut self, input: Input<'_>) -> Result<()> {
        self.core.handle(self.now(), input);
        self.carry_out()
    }

    fn carry_out(&mut self) -> Result<()> {
        loop {
            while let Some(effect) = self.core.poll() {
                self.perform(effect)?;
            }
            // What it said to itself comes back, as it would from a broker.
            let Some(said) = self.local.as_mut().and_then(LocalBroker::poll) else { return Ok(()) };
            let (topic, payload) = (said.topic.as_str(), &said.text[..]);
            let input = Input::Message { broker: LOCAL, topic, payload, retained: said.retained };
            self.core.handle(self.now(), input);
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Subscribe(broker, filter) => match &mut self.local {
                Some(local) => local.subscribe(filter),
                None => self.links.want(broker, Wanted::Subscribe(filter)),
            },
            Effect::Unsubscribe(broker, filter) => match &mut self.local {
                Some(local) => local.unsubscribe(&filter),
                None => self.links.want(broker, Wanted::Unsubscribe(filter)),
            },
            Effect::Publish { broker, topic, payload, retain } => match &mut self.local {
                Some(local) => {
                    if let Err(error) = local.publish(&topic, &payload, retain) {
                        warn!("{error}");
                    }
                }
                None => self.links.want(broker, Wanted::Publish { topic, payload, retain }),
            },
            // What follows rests on it: a box that cannot remember must not act.
            Effect::Keep(name, text) => self.disk.keep(&name, &text)?,
            Effect::Forget(name) => self.disk.forget(&name)?,
            Effect::Call(call, work) => {
                let peer = self.account_of(&work);
                match task(call, &work, self.me, &self.seal, peer) {
                    Ok(task) => self.bus.begin(task),
                    Err(fault) => self.core.handle(self.now(), Input::Done { call, result: Err(fault) }),
                }
            }
            Effect::Notice(notice) => self.notice(&notice),
        }
        Ok(())
    }

    /// On whose account a container that is to be made counts.
    fn account_of(&self, work: &Work) -> Option<Id> {
        let Work::Create(birth) = work else { return None };
        let is_it = |slice: &crate::commons::core::SliceView| {
            (slice.member, slice.slice) == (birth.member, birth.slice)
        };
        self.core.slices().find(is_it).map(|slice| account(&slice.manifest))
    }

    fn notice(&mut self, notice: &Notice) {
        let (name, told, words) = objects::told(notice);
        match notice {
            Notice::Foreign | Notice::NotHeld { .. } | Notice::Wrong { .. } | Notice::Unheard(true) => {
                warn!("{words}")
            }
            _ => info!("{words}"),
        }
        self.bus.notify(name, &told);
    }

    fn heard_of_broker(&mut self, news: LinkNews) -> Result<()> {
        match news {
            LinkNews::Connected(broker) => {
                info!("broker {} is connected", self.name_of(broker));
                self.tell(Input::Connected(broker))
            }
            LinkNews::Lost(broker, why) => {
                info!("broker {} is lost: {why}", self.name_of(broker));
                self.tell(Input::Lost(broker))?;
                self.renew_will();
                Ok(())
            }
            LinkNews::Message(broker, message) => {
                let (topic, payload) = (message.topic.as_str(), &message.payload[..]);
                self.tell(Input::Message { broker, topic, payload, retained: message.retained })
            }
        }
    }

    fn name_of(&self, broker: Broker) -> String {
        let standings = self.links.standings();
        let found = standings.into_iter().find(|standing| standing.number == broker);
        found.map_or_else(|| broker.to_string(), |standing| standing.name)
    }

    fn heard_on_bus(&mut self, news: BusNews) -> Result<()> {
        match news {
            BusNews::Config(config) => self.configure(config),
            BusNews::Containers(containers) => self.tell(Input::Containers(&containers)),
            BusNews::Done(call, result) => self.tell(Input::Done { call, result }),
            BusNews::Called { of_slice, method, arguments, request } => {
                self.called(of_slice, &method, &arguments, request)
            }
        }
    }

    fn configure(&mut self, config: Box<Config>) -> Result<()> {
        let (brokers, wrong) = config.brokers();
        wrong.iter().for_each(|why| warn!("{why}"));
        self.of_box.owner = self.owner();
        let mut addresses = brokers.iter().map(|broker| own_address(&broker.host, broker.port));
        self.of_box.address = addresses.find(|address| !address.is_empty()).unwrap_or_default();
        let settings = config.settings(&self.of_box);
        let room = config.room(&self.of_box);
        self.config = Some(config);
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => {
                warn!("/etc/config/cloudbox: {error}; what it said before holds");
                return Ok(());
            }
        };
        self.tell(Input::Settings(settings))?;
        self.tell(Input::Room(room))?;
        self.renew_will();
        // This box is its own broker where there is no other.
        match (brokers.is_empty(), self.local.is_some()) {
            (true, false) => {
                let (news, _) = self.links.follow(&[], Instant::now());
                for news in news {
                    self.heard_of_broker(news)?;
                }
                self.local = Some(LocalBroker::default());
                self.tell(Input::Connected(LOCAL))?;
            }
            (false, true) => {
                self.local = None;
                self.tell(Input::Lost(LOCAL))?;
            }
            _ => {}
        }
        let (news, told) = self.links.follow(&brokers, Instant::now());
        if let Err(error) = told {
            warn!("{error}");
        }
        for news in news {
            self.heard_of_broker(news)?;
        }
        Ok(())
    }

    /// What a broker is to say from the next connection on, if it loses this box.
    fn renew_will(&mut self) {
        if let Some((topic, payload)) = self.core.will() {
            self.links.set_will(topic, payload);
        }
    }

    /// The certificate of the box's owner.
    fn owner(&self) -> Option<String> {
        let path: PathBuf = self.options.directory.join(OWNER);
        let text = std::fs::read_to_string(&path).ok()?;
        if text.len() > OWNER_MAX {
            warn!("{} is longer than {OWNER_MAX} bytes, and is no certificate", path.display());
            return None;
        }
        Some(text)
    }

    fn called(&mut self, of_slice: bool, method: &str, arguments: &[u8], request: Request) -> Result<()> {
        let asked = match objects::read(of_slice, method, arguments) {
            Ok(asked) => asked,
            Err(error) => {
                answer(self.bus.connection(), request, Err(error));
                return Ok(());
            }
        };
        let replied = self.reply(asked)?;
        answer(self.bus.connection(), request, replied);
        Ok(())
    }

    /// The reply to a call; the outer error is one that ends the process.
    fn reply(&mut self, asked: Asked) -> Result<Result<Value>> {
        Ok(match asked {
            Asked::Look(look) => {
                let standing = objects::Standing {
                    me: self.me,
                    session: self.session,
                    up: self.begun.elapsed().as_secs(),
                    paused: self.of_box.paused,
                    local: self.local.as_ref(),
                    brokers: self.links.standings(),
                    core: &self.core,
                };
                look(&standing)
            }
            Asked::Publish(texts) => {
                let Some(network) =
                    self.config.as_ref().and_then(|config| config.settings(&self.of_box).ok())
                else {
                    return Ok(Err(Error::new(Code::Busy, "the configuration is not read yet; try again")));
                };
                let mut topics = VecDeque::new();
                for text in &texts {
                    match objects::topic_of(text.as_bytes(), network.network) {
                        Ok(topic) => topics.push_back((topic.text(network.network), text)),
                        Err(error) => return Ok(Err(error)),
                    }
                }
                for (topic, text) in topics {
                    self.publish(&topic, text.as_bytes().into());
                }
                self.carry_out()?;
                Ok(json!({ "published": texts.len() }))
            }
            Asked::Answer { member, allowed, note } => {
                self.tell(Input::Answer { member, allowed, note: &note })?;
                Ok(json!({}))
            }
            Asked::Pause(paused) => {
                self.of_box.paused = paused;
                if let Some(config) = self.config.take() {
                    self.configure(config)?;
                }
                Ok(json!({ "paused": paused }))
            }
            Asked::Reload => {
                self.reload();
                Ok(json!({}))
            }
        })
    }

    /// Says something that a member has signed on all brokers, or to this box alone.
    fn publish(&mut self, topic: &str, payload: Rc<[u8]>) {
        if let Some(local) = &mut self.local {
            if let Err(error) = local.publish(topic, &payload, true) {
                warn!("{error}");
            }
            return;
        }
        for standing in self.links.standings() {
            let (topic, payload) = (topic.to_string(), Rc::clone(&payload));
            self.links.want(standing.number, Wanted::Publish { topic, payload, retain: true });
        }
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned())
}

/// The address by which this box would speak to a host; empty if that is not known, or is the box itself. Nothing is sent.
fn own_address(host: &str, port: u16) -> String {
    let Ok(to) = host.parse::<IpAddr>() else { return String::new() };
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let address = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((to, port))?;
        socket.local_addr()
    });
    let elsewhere = address.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback());
    elsewhere.map_or_else(String::new, |ip| ip.to_string())
}
