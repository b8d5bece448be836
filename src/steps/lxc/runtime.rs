//! LXC's tools and the processes they leave behind.

use super::super::console;
use super::super::ctx::Ctx;
use super::super::filesystem::{entries, open_regular, read_up_to};
use super::super::guest_root::GuestRoot;
use super::super::layout::{ContainerDir, Layout};
use super::super::network;
use super::super::process::{is_init_of_namespace, Process};
use super::super::storage::{Record, Shifted};
use super::super::tool::{self, Tool};
use super::super::wait::{self, Woken};
use super::cgroup::{Cgroups, Limits, Meter, Usage};
use super::config::{self, Host};
use super::exec::{self, Exec, Output};
use super::first_boot;
use super::foreign::{self, Foreign};
use super::notices::{Notice, Notices};
use super::seccomp;
use super::system_conf;
use super::terminals;
use super::{AfterEnd, Running, Runtime, StopHow};
use crate::error::{quoted, Code, Error, Result};
use crate::model::image::Init;
use crate::model::life::REBOOTS;
use crate::model::name::Name;
use crate::sys;
use litemap::LiteMap;
use log::{error, warn};
use nix::sys::resource::{getrlimit, Resource};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What is read of LXC's log, which begins anew with each start: the first error is near its beginning.
const LOG_MAX: u64 = 256 << 10;
/// Lines of it that go into our own.
const LOG_LINES: usize = 20;
/// Characters of a guest's last line that are told.
const SAID_MAX: usize = 200;
/// `lxc-start` returns when init runs: tens of milliseconds, seconds on a slow, busy box.
const START_TIME: Duration = Duration::from_secs(60);
/// Between a container's last process and the end of its monitor: tens of milliseconds.
const MONITOR_TIME: Duration = Duration::from_secs(15);
/// A killed init is gone at once unless a process hangs in the kernel.
const KILL_TIME: Duration = Duration::from_secs(20);
/// A process whose pid namespace has lost its init is being killed by the kernel: milliseconds.
const END_TIME: Duration = Duration::from_secs(1);
/// Descriptors that a container takes with its meters open. Where there are not enough for all, the others' are opened
/// each time.
const DESCRIPTORS: u64 = 8;
/// How often a monitor that outlives its container's init is looked at, and the first time between two requests to
/// halt. Only while a job waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a process that was told to stand still is looked at.
const STOP_LOOK: Duration = Duration::from_millis(1);
/// What shuts a guest down whose init is asked by no signal, or by one that means something else: System V init takes
/// SIGPWR for a loss of power, and lets two minutes pass.
const HALT: &str = "for halt in 'shutdown -h now' 'openrc-shutdown -p now' halt poweroff; do \
                    if command -v ${halt%% *} >/dev/null; then exec $halt </dev/null >/dev/null 2>&1; fi; done; exit 127";
/// How long that may take: it tells init, and ends.
const HALT_TIME: Duration = Duration::from_secs(10);
/// The longest time between two requests to halt.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Containers by LXC's tools.
pub struct Lxc {
    layout: Layout,
    cgroups: Cgroups,
    meters: Mutex<LiteMap<Name, Meter>>,
    meters_max: usize,
    notices: Notices,
    /// What there was of LXC's processes when this daemon began.
    earlier: OnceLock<Vec<(i32, String)>>,
}

impl Lxc {
    /// LXC with containers below `layout.storage`; `layout.run` must be there.
    ///
    /// # Errors
    /// When the cgroup file systems cannot be found out.
    pub fn new(layout: Layout) -> Result<Lxc> {
        let cgroups = Cgroups::detect(&layout.cgroup())?;
        let notices = Notices::open(&layout)?;
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let meters_max = usize::try_from(descriptors / DESCRIPTORS).unwrap_or(usize::MAX);
        Ok(Lxc { layout, cgroups, meters: Mutex::default(), meters_max, notices, earlier: OnceLock::new() })
    }

    fn meters(&self) -> MutexGuard<'_, LiteMap<Name, Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The box's control groups.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// Refuses when something of the container still runs, and clears what dead runs left: LXC refuses a cgroup that
    /// exists already.
    fn make_way(&self, name: &Name) -> Result<()> {
        // Without its init the kernel is just killing the rest of a pid namespace.
        let first_look = self.cgroups.processes(name);
        if !first_look.iter().any(|pid| is_init_of_namespace(*pid)) {
            first_look.iter().for_each(|pid| wait_for_end(*pid));
        }
        let alive = self.cgroups.processes(name);
        if let Some(pid) = alive.first() {
            return Err(Error::new(
                Code::Running,
                format_args!(
                    "{} processes of container {name} still live (pid {pid}); stop it with force first",
                    alive.len()
                ),
            ));
        }
        self.remove_groups(name);
        Ok(())
    }

    fn write_config(&self, ctx: &Ctx, record: &Record, gateway: Option<Ipv4Addr>) -> Result<()> {
        let path = self.layout.container(&record.name).lxc_config();
        let text = config::render(&self.layout, &self.cgroups, Host::prepare(ctx), record, gateway);
        fs::write(&path, text).map_err(|e| Error::io("cannot write", &path, e))?;
        let path = self.layout.container(&record.name).seccomp();
        fs::write(&path, seccomp::render(&record.spec)).map_err(|e| Error::io("cannot write", &path, e))
    }

    /// LXC says "The container failed to start"; the reason is in its log.
    fn start_failed(&self, name: &Name, error: Error) -> Error {
        let log = self.layout.container(name).lxc_log();
        let text = open_regular(&log).and_then(|file| read_up_to(&file, LOG_MAX)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // The first error of a start is the cause, the others follow from it. The file goes with a container that could
        // not be made.
        let mut said = text.lines().filter(|line| line.contains(" ERROR "));
        said.clone().take(LOG_LINES).for_each(|line| error!("container {name}: {line}"));
        let reason = said.find_map(|line| line.splitn(3, " - ").nth(2));
        let code = error.code;
        let reason = reason.map_or_else(|| error.into_message(), without_source_place);
        Error::new(
            code,
            format_args!("container {name} does not start: {reason}; the daemon's log has all that LXC said"),
        )
    }

    /// What runs of a container, and lxc-attach with the words that name it.
    fn attach(&self, name: &Name) -> Result<(Running, Command)> {
        let Some(running) = self.find(name)? else {
            return Err(Error::new(
                Code::NotRunning,
                format_args!("container {name} is not running; start it first"),
            ));
        };
        let mut attach = Tool::command("lxc-attach")?;
        attach.args(["-n", name.as_str(), "-P"]).arg(self.layout.containers());
        Ok((running, attach))
    }

    fn running(&self, init: i32, monitor: Option<i32>) -> Option<Running> {
        let pidfd = sys::pidfd_open(init).ok()?;
        // Between reading the pid and opening it, it may have been given to another process.
        is_init_of_namespace(init).then_some(Running { init, pidfd, monitor })
    }

    /// LXC's monitor of the container, with what tells of its end.
    fn monitor(&self, name: &Name) -> Option<(i32, OwnedFd)> {
        let pid = read_pid(&self.layout.pid_file(name)).filter(|pid| self.is_monitor_of(name, *pid))?;
        let pidfd = sys::pidfd_open(pid).ok()?;
        // Between reading the pid and opening it, it may have been given to another process.
        self.is_monitor_of(name, pid).then_some((pid, pidfd))
    }

    /// Whether process `pid` is LXC's monitor of this container and of no other.
    fn is_monitor_of(&self, name: &Name, pid: i32) -> bool {
        Process::of_root(pid).is_some_and(|process| self.is_monitors_title(name, &process.title()))
    }

    fn is_monitors_title(&self, name: &Name, title: &str) -> bool {
        let path = self.layout.containers();
        title.trim_end_matches('\0') == format!("[lxc monitor] {} {name}", path.display())
    }

    /// Waits until the monitor of a container whose init has ended is gone, and clears what it may have left. It starts
    /// a guest that reboots again: then it is killed, with what it has begun, as one that hangs is. True: it was.
    fn end_monitor(&self, name: &Name, monitor: Option<(i32, OwnedFd)>) -> Result<bool> {
        let mut killed = false;
        if let Some((pid, pidfd)) = monitor {
            let deadline = Instant::now() + MONITOR_TIME;
            // Not cancellable: the container is down, what is left takes a moment.
            while wait::readable(pidfd.as_fd(), None, (Instant::now() + LOOK_AGAIN).min(deadline))?
                != Woken::Ready
            {
                let hangs = Instant::now() >= deadline;
                if hangs {
                    let seconds = MONITOR_TIME.as_secs();
                    warn!("container {name}: LXC's monitor still runs {seconds} s after the container's end; it is killed");
                }
                if hangs
                    || only_child(pid).and_then(|child| self.running(child, None)).is_some_and(|r| lives(&r))
                {
                    kill_with_children(pid, &pidfd);
                    killed = true;
                    break;
                }
            }
        }
        self.remove_groups(name);
        Ok(killed)
    }

    /// Has the guest's own command shut it down, where no signal is known to do. False: it has none, or that failed.
    fn halt_inside(&self, ctx: &Ctx, name: &Name, init: Init, timeout: Duration) -> bool {
        if !matches!(init, Init::Sysvinit | Init::Other) {
            return false;
        }
        let command = ["/bin/sh", "-c", HALT].map(str::to_string).to_vec();
        let exec = Exec { command, timeout: timeout.min(HALT_TIME), ..Exec::default() };
        self.exec(ctx, name, &exec).is_ok_and(|output| output.code == 0)
    }

    /// Asks init to halt. True: it has ended.
    fn ask(&self, ctx: &Ctx, name: &Name, running: &Running, init: Init, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let signal = config::halt_signal(init);
        let is_asked = self.halt_inside(ctx, name, init, timeout);
        // An init that has not set up its handlers yet never hears of a signal, and /proc does not show one that waits
        // in sigtimedwait(2), as busybox's does: ask again and again, less and less often. Every init takes a second
        // request for the same as the first.
        let mut pause = LOOK_AGAIN;
        loop {
            if !is_asked && sys::pidfd_send_signal(running.pidfd.as_fd(), signal).is_err() {
                return Ok(true);
            }
            let next = (Instant::now() + pause).min(deadline);
            match wait::readable(running.pidfd.as_fd(), Some(&ctx.cancel), next)? {
                Woken::Ready => return Ok(true),
                Woken::Deadline if Instant::now() >= deadline => return Ok(false),
                Woken::Deadline => pause = (pause * 2).min(ASK_AGAIN),
            }
        }
    }

    fn kill(&self, name: &Name, running: &Running) -> Result<()> {
        // ESRCH: it has ended in the meantime.
        let _ = sys::pidfd_send_signal(running.pidfd.as_fd(), libc::SIGKILL);
        // Only now, so that a frozen one gets no more time to run.
        self.thaw(name)?;
        if wait::readable(running.pidfd.as_fd(), None, Instant::now() + END_TIME)? == Woken::Ready {
            return Ok(());
        }
        // Its guest may have frozen init itself, or processes that init's end waits for.
        let deadline = Instant::now() + KILL_TIME;
        loop {
            self.cgroups.kill(name);
            let next = (Instant::now() + LOOK_AGAIN).min(deadline);
            match wait::readable(running.pidfd.as_fd(), None, next)? {
                Woken::Ready => return Ok(()),
                Woken::Deadline if Instant::now() < deadline => {}
                Woken::Deadline => {
                    return Err(Error::new(
                        Code::Timeout,
                        format_args!(
                            "container {name}: pid {} does not end even by SIGKILL; its storage may hang",
                            running.init
                        ),
                    ))
                }
            }
        }
    }

    /// Its groups are new ones, or new to us.
    fn taken_up(&self, name: &Name) {
        self.cgroups.settle(name);
        self.notices.watch(&self.cgroups, name, &self.layout.container(name).layer());
    }

    fn remove_groups(&self, name: &Name) {
        self.meters().remove(name);
        self.notices.forget(name);
        self.cgroups.remove(name);
    }

    /// Removes the cgroups of a container of which nothing runs. A monitor that is ending no longer shows that it is
    /// one, but its cgroup stays as long as it does.
    fn clear(&self, name: &Name) {
        self.cgroups.ending_monitors(name).into_iter().for_each(wait_for_end);
        self.remove_groups(name);
    }

    /// Kills what is left without an init of its own: processes that joined late.
    fn kill_rest(&self, name: &Name) {
        let deadline = Instant::now() + KILL_TIME;
        while let Some(first) = self.cgroups.processes(name).first() {
            if Instant::now() >= deadline {
                warn!("container {name}: pid {first} does not end even by SIGKILL");
                return;
            }
            self.cgroups.kill(name);
            if let Ok(pidfd) = sys::pidfd_open(*first) {
                let _ = wait::readable(pidfd.as_fd(), None, Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Kills what a start that failed or was cut short has left: `lxc-start` has put itself into a session of its own
    /// by then, and would go on.
    fn kill_half_started(&self, name: &Name) {
        for pid in self.starters(name) {
            kill_and_wait(pid);
        }
        self.kill_rest(name);
        self.remove_groups(name);
    }

    /// The pids of `lxc-start` and of LXC's monitor for container `name`.
    fn starters(&self, name: &Name) -> Vec<i32> {
        let titles = titles().into_iter();
        titles.filter(|(_, title)| self.is_starter(name, title)).map(|(pid, _)| pid).collect()
    }

    /// Whether a process with this title is `lxc-start` or LXC's monitor for container `name`.
    fn is_starter(&self, name: &Name, title: &str) -> bool {
        let path = self.layout.containers().display().to_string();
        let words: Vec<&str> = title.split('\0').collect();
        let has = |pair: [&str; 2]| words.windows(2).any(|w| *w == pair);
        let starts = words.first().is_some_and(|w| w.ends_with("lxc-start"))
            && has(["-n", name.as_str()])
            && has(["-P", &path]);
        starts || self.is_monitors_title(name, title)
    }
}

impl Runtime for Lxc {
    fn start(&self, ctx: &Ctx, record: &Record, gateway: Option<Ipv4Addr>) -> Result<Running> {
        let name = &record.name;
        let mut command = Tool::command("lxc-start")?;
        self.make_way(name)?;
        network::remove_interface(&record.veth);
        self.write_config(ctx, record, gateway)?;
        let dir = self.layout.container(name);
        check_mount_points(name, &GuestRoot::open(&dir.rootfs(), record.ids.base)?)?;
        let pid_file = self.layout.pid_file(name);
        let _ = fs::remove_file(&pid_file);
        let _ = fs::remove_file(dir.lxc_log());
        // How an earlier run ended is no word about this one.
        self.notices.exit_status(name);
        set_long_log_aside(&dir);
        wait::for_turn(ctx)?;
        ctx.step("start.lxc")?;
        terminals::check()?;
        // Without PATH LXC finds no newuidmap, and writes the id map itself instead of asking /etc/subuid.
        command
            .env_clear()
            .args(["-d", "-n", name.as_str(), "-P"])
            .arg(self.layout.containers())
            .arg("-f")
            .arg(dir.lxc_config())
            .arg("-o")
            .arg(dir.lxc_log())
            .args(["-l", "ERROR", "-p"])
            .arg(&pid_file);
        let mut start = || tool::run(&mut command, ctx, START_TIME).map(drop);
        let started = match system_conf::hindrance() {
            Some(_) => system_conf::without(&self.layout, name, &mut start),
            None => start(),
        };
        if let Err(error) = started {
            // LXC says of it that it has failed to allocate a console.
            let error = terminals::check().err().unwrap_or_else(|| self.start_failed(name, error));
            self.kill_half_started(name);
            network::remove_interface(&record.veth);
            return Err(error);
        }
        if let Some(running) = self.find(name)? {
            self.taken_up(name);
            if record.spec.swap.is_some() {
                // LXC has no word that every kernel understands.
                self.cgroups.set_limits(name, &record.spec).unwrap_or_else(|error| warn!("{error}"));
            }
            return Ok(running);
        }
        self.end_monitor(name, self.monitor(name))?;
        self.kill_rest(name);
        self.clear(name);
        let (said, _) = console::tail(&console::files(&dir), 1).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said: String = said.trim().chars().take(SAID_MAX).collect();
        let said = if said.is_empty() { "nothing".to_string() } else { quoted(&said) };
        Err(Error::new(
            Code::Failed,
            format_args!(
                "container {name} started and ended at once; what it said last on its console: {said}"
            ),
        ))
    }

    fn find(&self, name: &Name) -> Result<Option<Running>> {
        // The monitor, where it lives, is the shortest way.
        if let Some(monitor) = read_pid(&self.layout.pid_file(name)).filter(|pid| is_monitor(*pid)) {
            if let Some(running) = only_child(monitor).and_then(|init| self.running(init, Some(monitor))) {
                return Ok(Some(running));
            }
        }
        let processes = self.cgroups.processes(name);
        let init = processes.iter().copied().find(|pid| is_init_of_namespace(*pid));
        let Some(init) = init else { return Ok(None) };
        let monitor = parent(init).filter(|pid| is_monitor(*pid));
        Ok(self.running(init, monitor))
    }

    fn recover(&self, name: &Name) -> Result<Option<Running>> {
        let deadline = Instant::now() + START_TIME;
        loop {
            if let Some(running) = self.find(name)? {
                self.taken_up(name);
                return Ok(Some(running));
            }
            // Looking through all processes takes long, and an earlier daemon begins nothing any more.
            if !self.earlier.get_or_init(titles).iter().any(|(_, title)| self.is_starter(name, title)) {
                self.kill_rest(name);
                self.remove_groups(name);
                return Ok(None);
            }
            let starter = self.starters(name).first().and_then(|pid| sys::pidfd_open(*pid).ok());
            let Some(starter) = starter.filter(|_| Instant::now() < deadline) else { break };
            wait::readable(starter.as_fd(), None, Instant::now() + LOOK_AGAIN)?;
        }
        self.kill_half_started(name);
        Ok(None)
    }

    fn stop(&self, ctx: &Ctx, name: &Name, init: Init, how: StopHow) -> Result<bool> {
        let mut killed = false;
        let running = self.find(name)?;
        let parent = running.as_ref().and_then(|running| running.monitor);
        let monitor = self.monitor(name).or_else(|| Some((parent?, sys::pidfd_open(parent?).ok()?)));
        if let Some(running) = running {
            let ended = match how {
                StopHow::Ask(timeout) => {
                    ctx.step("stop.ask")?;
                    self.thaw(name)?;
                    self.ask(ctx, name, &running, init, timeout)?
                }
                StopHow::Kill => false,
            };
            if !ended {
                ctx.step("stop.kill")?;
                self.kill(name, &running)?;
                killed = true;
            }
        }
        killed |= self.end_monitor(name, monitor)?;
        self.kill_rest(name);
        self.clear(name);
        Ok(killed)
    }

    fn after_end(&self, ctx: &Ctx, name: &Name) -> Result<AfterEnd> {
        let deadline = Instant::now() + MONITOR_TIME;
        let Some((monitor, pidfd)) = self.monitor(name) else {
            self.kill_rest(name);
            self.clear(name);
            return Ok(AfterEnd::Stopped);
        };
        let (mut last, mut inits) = (None, 0);
        loop {
            let next = (Instant::now() + LOOK_AGAIN).min(deadline);
            if wait::readable(pidfd.as_fd(), Some(&ctx.cancel), next)? == Woken::Ready {
                self.remove_groups(name);
                return Ok(AfterEnd::Stopped);
            }
            let child = only_child(monitor);
            if child.is_some() && child != last {
                (last, inits) = (child, inits + 1);
            }
            // The first one may be the one that has ended.
            if inits > 1 + REBOOTS {
                return Ok(AfterEnd::Reboots);
            }
            let again = child.filter(|init| has_executed(*init, monitor));
            let again = again.and_then(|init| self.running(init, Some(monitor))).filter(lives);
            if let Some(running) = again {
                // Its groups are new ones.
                self.meters().remove(name);
                self.taken_up(name);
                return Ok(AfterEnd::Rebooted(running));
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    Code::Timeout,
                    format_args!("container {name} ended, but LXC's monitor (pid {monitor}) did not; stop it with force"),
                ));
            }
        }
    }

    fn freeze(&self, ctx: &Ctx, name: &Name) -> Result<bool> {
        if self.cgroups.is_frozen(name) {
            return Ok(false);
        }
        self.cgroups.freeze(name, &ctx.cancel).map(|()| true)
    }

    fn thaw(&self, name: &Name) -> Result<()> {
        self.cgroups.thaw(name)
    }

    fn is_frozen(&self, name: &Name) -> bool {
        self.cgroups.is_frozen(name)
    }

    fn notices_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.notices.fd())
    }

    fn notices(&self) -> Vec<(Name, Notice)> {
        self.notices.read()
    }

    fn exit_status(&self, name: &Name) -> Option<i32> {
        self.notices.exit_status(name)
    }

    fn exec(&self, ctx: &Ctx, name: &Name, exec: &Exec) -> Result<Output> {
        let (running, attach) = self.attach(name)?;
        exec::run(ctx, name, &running, attach, exec)
    }

    fn first_boot(&self, ctx: &Ctx, name: &Name) -> Result<i32> {
        let (running, attach) = self.attach(name)?;
        first_boot::run(ctx, &self.layout.container(name), &running, attach)
    }

    fn foreign(&self, lxcpath: &Path) -> Vec<Foreign> {
        if lxcpath == self.layout.containers() {
            return Vec::new();
        }
        foreign::scan(lxcpath)
    }

    fn open_foreign(&self, ctx: &Ctx, foreign: &Foreign) -> Result<Shifted> {
        let mount_point = self.layout.foreign_root(&foreign.name);
        foreign::open(ctx, foreign, &self.layout.storage, &mount_point)
    }

    fn tidy(&self) {
        self.cgroups.remove_empty_parent();
    }

    fn usage(&self, name: &Name) -> Usage {
        let mut meters = self.meters();
        if let Some(usage) = meters.get(name).map(Meter::read).filter(|usage| usage.pids.is_some()) {
            return usage;
        }
        // None yet, or one of an earlier run, whose groups are gone.
        let meter = self.cgroups.meter(name);
        let usage = meter.read();
        meters.remove(name);
        if usage.pids.is_some() && meters.len() < self.meters_max {
            meters.insert(name.clone(), meter);
        }
        usage
    }

    fn memory_peak(&self, name: &Name) -> Option<u64> {
        self.cgroups.memory_peak(name)
    }

    fn set_limits(&self, record: &Record) -> Result<()> {
        self.cgroups.set_limits(&record.name, &record.spec)
    }

    fn memory_held(&self, name: &Name) -> Option<u64> {
        self.cgroups.memory_held(name)
    }

    fn limits(&self, name: &Name) -> Limits {
        self.cgroups.limits(name)
    }
}

/// Whether `monitor`'s child is the guest's program and no longer LXC's own, whose limits LXC may still be about to set.
fn has_executed(child: i32, monitor: i32) -> bool {
    let program = |pid: i32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    program(child).is_some_and(|child| program(monitor).is_some_and(|monitor| monitor != child))
}

/// Root's processes that are called as LXC's are, with their titles.
fn titles() -> Vec<(i32, String)> {
    let mut titles = Vec::new();
    for name in entries(Path::new("/proc")).unwrap_or_default() {
        let Ok(pid) = name.parse::<i32>() else { continue };
        let Some(title) = Process::of_root(pid).map(|process| process.title()) else { continue };
        if title.starts_with("[lxc monitor]") || title.contains("lxc-start") {
            titles.push((pid, title));
        }
    }
    titles
}

/// Where LXC mounts the kernel's file systems in a guest's root.
const MOUNT_POINTS: [&str; 3] = ["proc", "sys", "dev"];

/// Whether LXC can mount what it mounts in container `name`: a guest that has put a pipe there would hold it up for as
/// long as a start may take. What is missing it makes.
fn check_mount_points(name: &Name, root: &GuestRoot) -> Result<()> {
    let is_other = |point: &&str| root.find(Path::new(point)).is_ok_and(|(_, meta)| !meta.is_dir());
    let Some(point) = MOUNT_POINTS.into_iter().find(|point| is_other(point)) else { return Ok(()) };
    Err(Error::new(
        Code::Failed,
        format_args!(
            "container {name} does not start: its /{point} is no directory; bring a snapshot back with \
             `cloudbox restore {name} SNAPSHOT`, or delete it"
        ),
    ))
}

/// `text` without LXC's "../src/lxc/network.c:function:1234 - " before it.
fn without_source_place(text: &str) -> String {
    let text =
        text.split_once(" - ").filter(|(place, _)| place.contains(".c:")).map_or(text, |(_, rest)| rest);
    text.trim().chars().take(300).collect()
}

/// LXC changes to a new console log when one is full, and writes no more at all to one that is longer.
fn set_long_log_aside(dir: &ContainerDir) {
    let log = dir.console_log();
    if fs::metadata(&log).is_ok_and(|m| m.len() > config::CONSOLE_LOG_SIZE) {
        let _ = fs::rename(log, dir.earlier_console_log());
    }
}

fn read_pid(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The value of field `key` of `/proc/PID/status`.
fn status_field(pid: i32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_string())
}

fn parent(pid: i32) -> Option<i32> {
    status_field(pid, "PPid")?.parse().ok()
}

/// Whether `pid` is a monitor of LXC, which sets its title so, and root's.
fn is_monitor(pid: i32) -> bool {
    Process::of_root(pid).is_some_and(|process| process.title().starts_with("[lxc monitor]"))
}

/// The only child of `pid`: a monitor has no other than the container's init.
fn only_child(pid: i32) -> Option<i32> {
    children(pid).first().copied()
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether its init has not ended.
fn lives(running: &Running) -> bool {
    wait::readable(running.pidfd.as_fd(), None, Instant::now()).is_ok_and(|woken| woken == Woken::Deadline)
}

/// Kills process `pid` and waits until it is gone.
fn kill_and_wait(pid: i32) {
    if let Ok(pidfd) = sys::pidfd_open(pid) {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = wait::readable(pidfd.as_fd(), None, Instant::now() + KILL_TIME);
    }
}

/// Kills the monitor `pid` and what it has begun, so that it cannot begin another one in between.
fn kill_with_children(pid: i32, pidfd: &OwnedFd) {
    if sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGSTOP).is_err() {
        return;
    }
    let deadline = Instant::now() + END_TIME;
    let stands = || status_field(pid, "State").is_none_or(|state| state.starts_with(['T', 'Z']));
    while !stands() && wait::pause(STOP_LOOK, deadline).is_ok() {}
    let mut children: Vec<OwnedFd> =
        children(pid).into_iter().filter_map(|pid| sys::pidfd_open(pid).ok()).collect();
    if sys::pidfd_send_signal(pidfd.as_fd(), 0).is_err() {
        // It has ended meanwhile, and its number may be another's, whose children these are.
        children.clear();
    }
    for process in children.iter().chain([pidfd]) {
        let _ = sys::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
        let _ = wait::readable(process.as_fd(), None, Instant::now() + END_TIME);
    }
}

/// Waits until process `pid` is gone, a moment at most.
fn wait_for_end(pid: i32) {
    if let Ok(pidfd) = sys::pidfd_open(pid) {
        let _ = wait::readable(pidfd.as_fd(), None, Instant::now() + END_TIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_guest_without_a_place_for_the_kernels_file_systems_is_refused_at_once() {
        let dir = TempDir::make();
        let (root, name) = (dir.path(), Name::new("web").unwrap());
        let check = || check_mount_points(&name, &GuestRoot::open(root, 0).unwrap());
        let told = |point: &str| {
            let error = check().unwrap_err();
            assert!(error.message.contains(&format!("its /{point} is no directory")), "{error}");
        };
        check().unwrap();
        fs::create_dir(root.join("proc")).unwrap();
        fs::create_dir(root.join("sys")).unwrap();
        nix::unistd::mkfifo(&root.join("dev"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        told("dev");
        fs::remove_file(root.join("dev")).unwrap();
        fs::remove_dir(root.join("proc")).unwrap();
        fs::write(root.join("proc"), "").unwrap();
        told("proc");
        // A link is walked in the guest's root only.
        fs::remove_file(root.join("proc")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        symlink("/file", root.join("proc")).unwrap();
        told("proc");
        fs::remove_file(root.join("proc")).unwrap();
        symlink("/sys", root.join("proc")).unwrap();
        check().unwrap();
    }
}
