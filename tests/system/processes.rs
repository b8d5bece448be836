//! Processes: starting ours (always from here: any other child is reaped as an orphan), reaping those that lost their
//! parent, and looking at those of a container.

use crate::test_box::eventually;
use nix::sys::wait::{waitpid, WaitPidFlag};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Our own children, which their starters wait for. What else becomes a child of ours is reaped.
static OURS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<u32>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adopts what loses its parent, as LXC's monitors do, and reaps it: PID 1 of a build machine may not.
pub fn adopt_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        std::thread::spawn(|| loop {
            reap_strangers();
            std::thread::sleep(Duration::from_millis(20));
        });
    });
}

fn reap_strangers() {
    let ours = ours();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()) {
            if !ours.contains(&child) {
                let _ = waitpid(Pid::from_raw(child as i32), Some(WaitPidFlag::WNOHANG));
            }
        }
    }
}

/// A child that is killed and waited for when it is dropped.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> Process {
        let mut ours = ours();
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        ours.insert(child.id());
        Process(child)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// What it prints; asked for with `Stdio::piped()`.
    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.0.stdout.take().expect("its output is piped, and taken once")
    }

    /// Its input, output and errors, where they are pipes.
    pub fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take())
    }

    pub fn signal(&self, signal: i32) {
        let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
        let _ = nix::sys::signal::kill(Pid::from_raw(self.pid()), signal);
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let status = self.0.wait().unwrap();
        ours().remove(&self.0.id());
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.wait();
    }
}

/// A network namespace, for as long as the process lives, and the file it is.
pub fn network_namespace() -> (Process, String) {
    let mut command = Command::new("unshare");
    command.args(["--net", "sleep", "infinity"]).stdin(Stdio::null());
    let holder = Process::spawn(&mut command);
    let namespace = format!("/proc/{}/ns/net", holder.pid());
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    eventually("a network namespace", || fs::read_link(&namespace).is_ok_and(|it| it != own));
    (holder, namespace)
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = ours();
    let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let pid = child.id();
    guard.insert(pid);
    drop(guard);
    let output = child.wait_with_output().unwrap();
    ours().remove(&pid);
    output
}

/// Runs a shell script that must succeed; returns what it printed.
pub fn sh(script: &str) -> String {
    let output = output(Command::new("/bin/sh").args(["-ec", script]));
    assert!(
        output.status.success(),
        "{script}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All processes that live.
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|pid| lives(*pid)).collect()
}

/// Whether `pid` lives; a zombie does not.
pub fn lives(pid: i32) -> bool {
    !matches!(stat(pid, 3).as_deref(), None | Some("Z" | "X"))
}

/// When a process was started: with its pid, its identity.
pub fn start_time(pid: i32) -> String {
    stat(pid, 22).unwrap_or_else(|| panic!("there is no process {pid}"))
}

/// A field of `/proc/PID/stat`, counted from 1 as proc(5) does; not the name, which may hold spaces.
fn stat(pid: i32, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split_whitespace().nth(field - 3).map(String::from)
}

pub fn parent(pid: i32) -> i32 {
    stat(pid, 4).and_then(|p| p.parse().ok()).unwrap_or(0)
}

/// The lines of `/proc/PID/cgroup`, without what is before the path.
pub fn cgroups(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(String::from).collect()
}

/// Whether `pid` is the first process of a pid namespace just below ours.
pub fn is_init(pid: i32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let levels = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let levels: Vec<&str> = levels.split_whitespace().collect();
    levels.len() == 2 && levels[1] == "1"
}

/// Waits until a process sleeps. Guests take a moment until they have nothing to tell any more: an IPv6 address is looked
/// over for two seconds before it is one.
pub fn wait_for_rest(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while wakings(pid, Duration::from_secs(3)) > 0 {
        assert!(Instant::now() < deadline, "process {pid} never comes to rest");
    }
}

/// How often the threads of a process run within `span`. That of a thread which ends counts as once.
pub fn wakings(pid: i32, span: Duration) -> u64 {
    let before = context_switches(pid);
    std::thread::sleep(span);
    let after = context_switches(pid);
    let of_thread = |(thread, count): (&String, &u64)| match after.get(thread) {
        Some(now) => now - count,
        None => 1,
    };
    let new: u64 =
        after.iter().filter(|(thread, _)| !before.contains_key(*thread)).map(|(_, count)| count).sum();
    new + before.iter().map(of_thread).sum::<u64>()
}

/// Context switches so far of each thread of a process.
fn context_switches(pid: i32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let counts = text.lines().filter(|line| line.contains("ctxt_switches"));
        let count = counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum();
        (task.file_name().to_string_lossy().into_owned(), count)
    };
    tasks.map(of_task).collect()
}

/// How many programs want to run for each processor; at least 1.
#[allow(dead_code)]
pub fn crowd() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load / processors as f64).max(1.0)
}
