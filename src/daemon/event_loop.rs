//! The loop: waits for the bus, the jobs, signals and containers; never for anything else.

use super::core::{Core, Report, Signal, Watched};
use super::workers::Sender;
use crate::error::{errno_text, Code, Error, Result};
use crate::state::Live;
use crate::steps::network::AddressWatch;
use crate::steps::wait;
use log::warn;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use openwrt_ubus::driver::{Backoff, Driver, Progress};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After a lost bus: the first and the longest time between two tries to reach it.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LONGEST: Duration = Duration::from_secs(5);
/// When the daemon is told to end, jobs get this long to undo or finish what they do. procd kills after 5 s.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(4);

/// Where threads put their reports.
pub struct Wake(Arc<Letterbox>);

struct Letterbox {
    /// Readable when there may be a report.
    event: EventFd,
    reports: Mutex<Vec<Report>>,
}

impl Letterbox {
    fn put(&self, report: Report) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        // A counter that is full wakes the loop as well.
        let _ = self.event.write(1);
    }

    /// All that have come, the first one first.
    fn take(&self) -> Vec<Report> {
        let _ = self.event.read();
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake {
    /// One without reports.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new() -> Result<Wake> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags).map_err(|e| failed("make an eventfd", e))?;
        Ok(Wake(Arc::new(Letterbox { event, reports: Mutex::default() })))
    }

    /// What threads hand their reports to.
    pub fn sender(&self) -> Sender<Report> {
        let letterbox = self.0.clone();
        Arc::new(move |report| letterbox.put(report))
    }
}

/// The signals the daemon listens to.
///
/// Not by a signalfd: what that reads has to be blocked, and programs that are started would have it blocked as well,
/// containers' inits among them.
pub struct Signals {
    /// Readable when there may be one.
    pub(super) pipe: UnixStream,
    /// SIGHUP.
    pub(super) reload: Arc<AtomicBool>,
    /// SIGTERM and SIGINT.
    pub(super) end: Arc<AtomicBool>,
}

impl Signals {
    /// Handles them from now on.
    ///
    /// # Errors
    /// As sigaction(2) and socketpair(2).
    pub fn catch() -> Result<Signals> {
        let catch = || -> io::Result<Signals> {
            let (pipe, other_end) = UnixStream::pair()?;
            pipe.set_nonblocking(true)?;
            let signals = Signals { pipe, reload: Arc::default(), end: Arc::default() };
            let wanted = [(SIGHUP, &signals.reload), (SIGTERM, &signals.end), (SIGINT, &signals.end)];
            for (signal, came) in wanted {
                // In this order: whoever is woken finds it.
                signal_hook::flag::register(signal, came.clone())?;
                signal_hook::low_level::pipe::register(signal, other_end.try_clone()?)?;
            }
            Ok(signals)
        };
        catch().map_err(|e| Error::os("cannot handle signals", e))
    }

    /// Readable when there may be one.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Which have come since: one to reload, one to end.
    pub fn take(&self) -> (bool, bool) {
        let mut bytes = [0; 64];
        while matches!((&self.pipe).read(&mut bytes), Ok(1..)) {}
        (self.reload.swap(false, Ordering::Relaxed), self.end.swap(false, Ordering::Relaxed))
    }
}

/// The descriptors of the containers, kept by the kernel: they are many and seldom change, and what happens on the bus
/// shall not cost a look at each.
pub(super) struct Fleet {
    pub(super) epoll: Epoll,
    /// Whose they are, in the order of [`Core::fleet`], and whether their addresses are watched at the time.
    members: Vec<(u32, bool)>,
}

impl Fleet {
    /// Without a container.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub(super) fn new() -> Result<Fleet> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| failed("make an epoll", e))?;
        Ok(Fleet { epoll, members: Vec::new() })
    }

    /// Watches who is there now.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub(super) fn follow(&mut self, core: &Core) -> Result<()> {
        let members = || core.fleet().map(|(_, live)| (live.serial, addresses_of(live).is_some()));
        if members().eq(self.members.iter().copied()) {
            return Ok(());
        }
        let fleet = Fleet { members: members().collect(), ..Fleet::new()? };
        for (place, (_, live)) in core.fleet().enumerate() {
            let init = Some(live.running.pidfd.as_fd());
            for (fd, which) in [(init, 0), (addresses_of(live), 1)] {
                let Some(fd) = fd else { continue };
                let event = EpollEvent::new(EpollFlags::EPOLLIN, 2 * place as u64 + which);
                fleet.epoll.add(fd, event).map_err(|e| failed("watch a container", e))?;
            }
        }
        *self = fleet;
        Ok(())
    }

    /// What has happened, a part of it when it is much.
    pub(super) fn happened(&self, core: &Core) -> Vec<Watched> {
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let mut happened = Vec::new();
        for event in events.iter().take(count) {
            let Some((name, _)) = core.fleet().nth((event.data() / 2) as usize) else { continue };
            let told = if event.data() % 2 == 0 { Watched::Init } else { Watched::Addresses };
            happened.push(told(name.clone()));
        }
        happened
    }
}

/// What tells of a container's addresses, unless that has a rest.
fn addresses_of(live: &Live) -> Option<BorrowedFd<'_>> {
    live.addresses.as_ref().filter(|watch| watch.rests_until().is_none()).map(AddressWatch::fd)
}

/// What woke the loop.
enum Woken {
    Bus,
    Jobs,
    Signal,
    Container(Watched),
}

/// Runs until a signal ends it.
///
/// # Errors
/// When poll(2) fails.
pub fn run(core: &mut Core, socket: &Path, wake: Wake, signals: Signals) -> Result<()> {
    let mut bus: Option<Driver> = None;
    let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST);
    let mut told_of_no_bus = false;
    let mut end: Option<Instant> = None;
    let mut fleet = Fleet::new()?;
    loop {
        let now = Instant::now();
        if bus.is_none() && backoff.is_due(now) {
            match Driver::connect(socket) {
                Ok(driver) => {
                    backoff.succeeded();
                    told_of_no_bus = false;
                    bus = Some(driver);
                }
                Err(e) => {
                    backoff.tried(now);
                    if !std::mem::replace(&mut told_of_no_bus, true) {
                        warn!("cannot reach ubusd at {}: {e}; trying again", socket.display());
                    }
                }
            }
        }
        core.handle_time(now);
        core.announce(now);
        // What is owed goes a little at a time: between two parts, calls that came meanwhile are answered.
        let mut owes = false;
        if let Some(driver) = &mut bus {
            core.pay();
            let flushed = driver.flush(core.connection());
            owes = core.owes() && !driver.wants_write();
            if !matches!(flushed, Ok(Progress::Open)) {
                bus = None;
                backoff.tried(now);
                continue;
            }
        }
        core.save_jobs();
        if end.is_some_and(|end| core.is_quiet() || now >= end) {
            return Ok(());
        }

        let reconnect = bus.is_none().then(|| backoff.due().unwrap_or(now));
        let next = [core.next_time(), end, reconnect, owes.then_some(now)];
        let deadline = next.into_iter().flatten().min();
        fleet.follow(core)?;
        for woken in sleep(core, &fleet, bus.as_ref(), &wake, &signals, deadline)? {
            match woken {
                Woken::Bus => {
                    let open = bus.as_mut().map(|driver| driver.on_ready(core.connection()));
                    if !matches!(open, Some(Ok(Progress::Open)) | None) {
                        bus = None;
                        backoff.tried(Instant::now());
                    }
                    core.handle_bus();
                }
                Woken::Jobs => {
                    for report in wake.0.take() {
                        core.handle_report(report);
                    }
                }
                Woken::Signal => {
                    let (to_reload, to_end) = signals.take();
                    if to_reload {
                        core.handle_signal(Signal::Reload);
                    }
                    if to_end {
                        core.handle_signal(Signal::End);
                        end.get_or_insert(Instant::now() + LAST_WORDS);
                    }
                }
                Woken::Container(watched) => core.handle_watched(&watched),
            }
        }
    }
}

/// Sleeps until something happens or the deadline.
fn sleep(
    core: &Core,
    fleet: &Fleet,
    bus: Option<&Driver>,
    wake: &Wake,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Vec<Woken>> {
    let watched = core.watched();
    let mut fds: Vec<PollFd> = Vec::with_capacity(watched.len() + 4);
    let of_interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
    fds.push(of_interest(wake.0.event.as_fd()));
    fds.push(of_interest(signals.pipe.as_fd()));
    fds.push(of_interest(fleet.epoll.0.as_fd()));
    if let Some(driver) = bus {
        let write = if driver.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
        fds.push(PollFd::new(driver.as_fd(), PollFlags::POLLIN | write));
    }
    let watched_from = fds.len();
    fds.extend(watched.iter().map(|(fd, what): &(BorrowedFd, Watched)| match what {
        Watched::Port(_) => PollFd::new(*fd, PollFlags::POLLOUT),
        _ => of_interest(*fd),
    }));

    let timeout = deadline.map_or(PollTimeout::NONE, |at| wait::timeout(at, Instant::now()));
    match poll(&mut fds, timeout) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Vec::new()),
        Err(e) => return Err(failed("wait", e)),
    }
    let ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any() == Some(true));
    let mut woken = Vec::new();
    if ready(0) {
        woken.push(Woken::Jobs);
    }
    if ready(1) {
        woken.push(Woken::Signal);
    }
    if bus.is_some() && ready(3) {
        woken.push(Woken::Bus);
    }
    if ready(2) {
        woken.extend(fleet.happened(core).into_iter().map(Woken::Container));
    }
    for (index, (_, what)) in watched.into_iter().enumerate() {
        if ready(watched_from + index) {
            woken.push(Woken::Container(what));
        }
    }
    Ok(woken)
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::new(Code::Failed, format_args!("cannot {what}: {}", errno_text(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::ctx::{Ctx, Update};
    use crate::steps::tool::{self, Tool};
    use nix::sys::signal::{raise, Signal as Posix};

    #[test]
    fn reports_wake_the_loop_and_come_in_their_order() {
        let wake = Wake::new().unwrap();
        let is_awake = || poll(&mut [PollFd::new(wake.0.event.as_fd(), PollFlags::POLLIN)], 0u16) == Ok(1);
        assert!(!is_awake() && wake.0.take().is_empty());
        let send = wake.sender();
        for number in [7, 8] {
            send(Report::Update(number, Update::Step("mount")));
        }
        assert!(is_awake());
        let numbers = wake.0.take().into_iter().map(|report| match report {
            Report::Update(number, _) => number,
            _ => 0,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [7, 8]);
        assert!(!is_awake() && wake.0.take().is_empty());
    }

    #[test]
    fn signals_are_told_and_programs_have_none_blocked() {
        let signals = Signals::catch().unwrap();
        assert_eq!(signals.take(), (false, false));
        raise(Posix::SIGHUP).unwrap();
        let mut fds = [PollFd::new(signals.pipe.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, 5000u16), Ok(1));
        assert_eq!(signals.take(), (true, false));
        raise(Posix::SIGTERM).unwrap();
        raise(Posix::SIGTERM).unwrap();
        assert_eq!(signals.take(), (false, true));
        assert_eq!(poll(&mut fds, 0u16), Ok(0));

        let mut status = Tool::command("grep").unwrap();
        status.args(["SigBlk", "/proc/self/status"]);
        let output = tool::run(&mut status, &Ctx::silent().unwrap(), Duration::from_secs(60)).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "SigBlk:\t0000000000000000\n");
    }
}
