//! Processes: those we start, and what the kernel tells of them.

use crate::Result;
use nix::errno::Errno;
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::sys::signal::{kill, SigSet, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on a signal to end is only remembered, so that what was made is taken down in order.
pub fn catch_signals() -> Result<()> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    // std gives children an empty mask again.
    set.thread_block()?;
    std::thread::spawn(move || {
        while set.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// An error once a signal has come. To be called in every loop.
pub fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    Ok(())
}

/// Sleeps, unless a signal comes.
pub fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        go_on()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(200)));
    }
}

/// Waits until `ready` says so.
pub fn within(seconds: u64, what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !ready()? {
        if Instant::now() >= end {
            return Err(format!("{what}: not within {seconds} s").into());
        }
        pause(Duration::from_millis(20))?;
    }
    Ok(())
}

/// Where the program `name` is, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A command that needs the program `name`.
pub fn command(name: &str) -> Result<Command> {
    let program = find(name).ok_or_else(|| format!("{name} is not installed"))?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Runs `command`, which has to succeed; returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command`, which has to succeed, with nothing between its end and ours: for what is timed.
pub fn run_silent(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(())
}

/// A process that serves us until it is dropped.
pub struct Server {
    name: &'static str,
    child: Child,
}

impl Server {
    /// Starts it, what it prints going to the file `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Server> {
        use std::os::unix::process::CommandExt;
        let log = fs::File::create(log)?;
        // In a process group of its own it does not get the Ctrl-C that we get.
        let command = command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
        Ok(Server { name, child })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap_or(i32::MAX)
    }

    /// An error when it has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(format!("{} has ended", self.name).into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid());
        let end = Instant::now() + Duration::from_secs(6);
        if self.alive().is_ok() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        while self.alive().is_ok() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.alive().is_ok() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Takes note of the end of LXC's monitors, which became our children. Not to be called while a child of ours runs
/// whose status is wanted.
pub fn reap() {
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
        waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG))
    {}
}

/// Kills the LXC monitors whose containers lie below `dir`, and all that runs in these.
pub fn kill_monitors(dir: &Path) {
    let title = format!("[lxc monitor] {}/", dir.display());
    for monitor in pids() {
        let command_line = fs::read(format!("/proc/{monitor}/cmdline")).unwrap_or_default();
        if !command_line.starts_with(title.as_bytes()) {
            continue;
        }
        let children =
            fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap_or_default();
        for init in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while is_alive(monitor) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if is_alive(monitor) {
            let _ = kill(Pid::from_raw(monitor), Signal::SIGKILL);
        }
    }
    reap();
}

/// Removes the control group `name`, and those below, from every hierarchy; returns what would not go.
pub fn remove_cgroups(name: &str) -> Vec<String> {
    fn remove(group: &Path) {
        for child in fs::read_dir(group).into_iter().flatten().flatten() {
            if child.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&child.path());
            }
        }
        let _ = fs::remove_dir(group);
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, point, "cgroup" | "cgroup2", ..] => Some(Path::new(point).join(name)),
        _ => None,
    });
    let groups = hierarchies.filter(|group| group.exists());
    groups.inspect(|group| remove(group)).filter(|g| g.exists()).map(|g| g.display().to_string()).collect()
}

fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn is_alive(pid: i32) -> bool {
    reap();
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Sum of the numbers in the fields `names` of the file's lines `name: number`.
pub fn fields(path: &str, names: &[&str]) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let number = |line: &str| {
        let (name, value) = line.split_once(':')?;
        names.contains(&name).then(|| value.split_whitespace().next()?.parse::<u64>().ok())?
    };
    Ok(text.lines().filter_map(number).sum())
}

/// How often the threads of `pid` have been put to sleep or moved aside: each time they had been woken before.
pub fn context_switches(pid: i32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = thread?.path().join("status");
        sum += fields(&status.to_string_lossy(), &["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"])?;
    }
    Ok(sum)
}

/// While it lives, this thread and what it starts run on one processor.
pub struct OneCpu(CpuSet);

impl OneCpu {
    /// Pins them.
    pub fn pin() -> Result<OneCpu> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this)?;
        let first = (0..CpuSet::count()).find(|cpu| before.is_set(*cpu).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(first.ok_or("no processor to run on")?)?;
        sched_setaffinity(this, &one)?;
        Ok(OneCpu(before))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}
