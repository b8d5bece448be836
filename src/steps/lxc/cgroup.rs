//! Control groups of both families, read and tidied directly: `list` starts no process.

use super::super::ctx::Cancel;
use super::super::wait;
use super::config::{GROUPS, GROUPS_DEPTH};
use super::group_tree;
use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::model::spec::Spec;
use log::debug;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long processes may take to freeze: one that waits for a slow disk freezes only then.
const FREEZE_TIME: Duration = Duration::from_secs(10);
/// How often a group that freezes is looked at: v1 tells nobody when it is done.
const FREEZE_LOOK: Duration = Duration::from_millis(1);

/// Which family the limits are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Only cgroup2 is mounted: OpenWrt, and Debian with systemd.
    V2,
    /// Controllers are in hierarchies of their own.
    V1,
}

/// The cgroup file systems of this box.
#[derive(Debug, Clone)]
pub struct Cgroups {
    family: Family,
    /// Controllers with the directory each is mounted at; on v2 all with the same.
    controllers: Vec<(String, PathBuf)>,
    /// Every hierarchy's mount point, those without controllers too.
    roots: Vec<PathBuf>,
    /// The group below which our containers live, relative to each root.
    group: String,
}

/// What a container uses; None where the controller is missing or nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processor time, in microseconds.
    pub cpu_time: Option<u64>,
}

/// Limits in force; None is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Thousandths of a processor.
    pub cpus: Option<u64>,
    /// Bytes of swap beside the memory.
    pub swap: Option<u64>,
}

impl Cgroups {
    /// Looks at what is mounted; our containers are below `group`.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read.
    pub fn detect(group: &str) -> Result<Cgroups> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(|e| Error::io("cannot read", path, e))?;
        let read = |root: &Path| fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        Ok(Cgroups::from_mountinfo(&text, read, group))
    }

    /// The same from the text of a mountinfo; `controllers_of` reads a v2 root's `cgroup.controllers`.
    fn from_mountinfo(text: &str, controllers_of: impl Fn(&Path) -> String, group: &str) -> Cgroups {
        let mut controllers: Vec<(String, PathBuf)> = Vec::new();
        let mut roots = Vec::new();
        let mut unified = None;
        for line in text.lines() {
            let Some((mount, fs)) = line.split_once(" - ") else { continue };
            let (Some(root), mut fs) = (mount.split(' ').nth(4), fs.split(' ')) else { continue };
            let root = PathBuf::from(root);
            match fs.next() {
                Some("cgroup2") => unified = Some(root.clone()),
                Some("cgroup") => {
                    let options = fs.nth(1).unwrap_or_default();
                    let known = ["cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio"];
                    let here = options.split(',').filter(|option| known.contains(option));
                    controllers.extend(here.map(|c| (c.to_string(), root.clone())));
                }
                _ => continue,
            }
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let family = if controllers.is_empty() { Family::V2 } else { Family::V1 };
        if let (Family::V2, Some(root)) = (family, unified) {
            let text = controllers_of(&root);
            controllers.extend(text.split_whitespace().map(|c| (c.to_string(), root.clone())));
        }
        Cgroups { family, controllers, roots, group: group.to_string() }
    }

    /// Which family the limits are in.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether `controller` can be used.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|(name, _)| name == controller)
    }

    /// Whether swap can be limited; v2 shows that in groups only, and has it since Linux 5.19 unless told otherwise.
    pub fn counts_swap(&self) -> bool {
        let root =
            |controller: &str| self.controllers.iter().find(|(c, _)| c == controller).map(|(_, dir)| dir);
        let Some(root) = root("memory") else { return false };
        match self.family {
            Family::V1 => root.join("memory.memsw.limit_in_bytes").exists(),
            Family::V2 => {
                let groups = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
                let mut with_memory = groups.filter(|group| group.join("memory.max").exists());
                with_memory.next().is_none_or(|group| group.join("memory.swap.max").exists())
            }
        }
    }

    /// Whether what one group reads and writes can be weighed against another's; None while no group tells.
    pub fn weighs_disks(&self) -> Option<bool> {
        let (_, root) = self.controllers.iter().find(|(c, _)| c == "blkio" || c == "io")?;
        let group =
            fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).find(|path| path.is_dir())?;
        let weights = WEIGHTS.iter().map(|(file, _)| *file).filter(|file| !file.starts_with("cpu."));
        Some(weights.into_iter().any(|file| group.join(file).exists()))
    }

    /// The directory of `name`'s group in the hierarchy of `controller`.
    pub(super) fn dir(&self, controller: &str, name: &Name) -> Option<PathBuf> {
        let (_, root) = self.controllers.iter().find(|(c, _)| c == controller)?;
        Some(root.join(&self.group).join(name.as_str()))
    }

    /// The pids of all processes in `name`'s group and below, in no order.
    pub fn processes(&self, name: &Name) -> Vec<i32> {
        // One hierarchy holds them all. On v1 take one that a guest's init does not reorganise.
        let preferred = ["pids", "memory", "cpu"].iter().find_map(|c| self.dir(c, name));
        let dir = preferred.or_else(|| Some(self.roots.first()?.join(&self.group).join(name.as_str())));
        let mut pids = Vec::new();
        if let Some(dir) = dir {
            collect_processes(&dir, &mut pids);
        }
        pids
    }

    /// The pids of LXC's monitors that are about to end: `name`'s own, and those that have moved to where monitors go
    /// while they remove the rest.
    pub fn ending_monitors(&self, name: &Name) -> Vec<i32> {
        let mut pids = Vec::new();
        if let Some(root) = self.roots.first() {
            let ours = root.join(&self.group);
            collect_processes(&ours.join(format!("{name}.monitor")), &mut pids);
            collect_processes(&ours.join("pivot"), &mut pids);
        }
        pids
    }

    /// Removes `name`'s groups and its monitor's, in every hierarchy, and ours when it was the last. Groups in which a
    /// process lives stay.
    pub fn remove(&self, name: &Name) {
        for root in &self.roots {
            let ours = root.join(&self.group);
            remove_groups(&ours.join(name.as_str()));
            remove_groups(&ours.join(format!("{name}.monitor")));
        }
    }

    /// Removes the group of all containers where it is empty. Call it when no container is being started: LXC makes
    /// the groups of a container one by one.
    pub fn remove_empty_parent(&self) {
        for root in &self.roots {
            let ours = root.join(&self.group);
            remove_groups(&ours.join("pivot"));
            let _ = fs::remove_dir(ours);
        }
    }

    /// The file that freezes `name`'s group, what to write into it to freeze and to thaw, and the file and the word in
    /// it that tell of a frozen group.
    fn freezer(&self, name: &Name) -> Option<(PathBuf, [&'static str; 2], PathBuf, &'static str)> {
        if let Some(state) = self.dir("freezer", name).map(|dir| dir.join("freezer.state")) {
            return Some((state.clone(), ["THAWED", "FROZEN"], state, "FROZEN"));
        }
        let mut groups = self.roots.iter().map(|root| root.join(&self.group).join(name.as_str()));
        let group = groups.find(|group| group.join("cgroup.freeze").exists())?;
        Some((group.join("cgroup.freeze"), ["0", "1"], group.join("cgroup.events"), "frozen 1"))
    }

    /// Whether all of `name`'s processes are frozen.
    pub fn is_frozen(&self, name: &Name) -> bool {
        let Some((.., path, word)) = self.freezer(name) else { return false };
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == word))
    }

    /// Freezes all of `name`'s processes, and returns when none of them moves any more.
    ///
    /// # Errors
    /// [`Code::NotSupported`] without a freezer, [`Code::Timeout`] when a process hangs in the kernel,
    /// [`Code::Cancelled`]; it is thawed then.
    pub fn freeze(&self, name: &Name, cancel: &Cancel) -> Result<()> {
        self.write_freezer(name, true)?;
        let deadline = Instant::now() + FREEZE_TIME;
        while !self.is_frozen(name) {
            let waited = cancel.check().and_then(|()| wait::pause(FREEZE_LOOK, deadline));
            if let Err(mut error) = waited {
                if error.code == Code::Timeout {
                    error.message = format!("container {name} does not freeze: one of its processes hangs");
                }
                return Err(error.with_leftovers(self.thaw(name).err().as_slice()));
            }
            // v1 tells each process once. One that began to wait for its vfork behind that never freezes, as its child
            // is frozen; told again, it does.
            self.write_freezer(name, true)?;
        }
        Ok(())
    }

    /// Lets them go on. A group that is gone is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self, name: &Name) -> Result<()> {
        match self.freezer(name) {
            Some((path, ..)) if path.exists() => self.write_freezer(name, false),
            _ => Ok(()),
        }
    }

    fn write_freezer(&self, name: &Name, frozen: bool) -> Result<()> {
        let (path, words, ..) = self.freezer(name).ok_or_else(|| {
            Error::new(
                Code::NotSupported,
                "this kernel has no freezer: it needs CONFIG_CGROUP_FREEZER or cgroup v2",
            )
        })?;
        fs::write(&path, words[usize::from(frozen)]).map_err(|e| Error::io("cannot write", &path, e))
    }

    /// Sends SIGKILL to all of `name`'s processes, and lets those that are frozen take it: in `name`'s group or, on v1,
    /// in any below it, where a guest may have frozen them by itself. Call it until there are none: who has no
    /// `cgroup.kill` (before Linux 5.14) may fork meanwhile.
    pub fn kill(&self, name: &Name) {
        let mut at_once = false;
        for root in &self.roots {
            at_once |= fs::write(root.join(&self.group).join(name.as_str()).join("cgroup.kill"), "1").is_ok();
        }
        if !at_once {
            // So that none of them makes another, or freezes one behind us.
            let _ = self.write_freezer(name, true);
            for pid in self.processes(name) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.thaw(name);
        // v2's freezer holds nobody off a SIGKILL.
        if let Some(dir) = self.dir("freezer", name) {
            group_tree::each(&dir, &mut |group| {
                let _ = group.write("freezer.state", "THAWED");
            });
        }
    }

    /// What LXC does not set on the groups of `name`, which runs: the box's own processes come before all containers
    /// together, no memory is taken beyond the limit by way of swap, and the kernel memory that groups take is bounded.
    /// Where a file is not there, the kernel cannot do it.
    pub fn settle(&self, name: &Name) {
        let set = |path: PathBuf, value: &str| match fs::File::options().write(true).open(&path) {
            Ok(mut file) => {
                let _ = file.write_all(value.as_bytes()).map_err(|e| debug!("{}: {e}", path.display()));
            }
            Err(e) => debug!("{}: {e}", path.display()),
        };
        for root in &self.roots {
            let all = root.join(&self.group);
            WEIGHTS.iter().for_each(|(file, value)| set(all.join(file), value));
        }
        if let (Family::V1, Some(root)) = (self.family, self.roots.iter().find(|root| is_v2(root))) {
            let dir = root.join(&self.group).join(name.as_str());
            set(dir.join("cgroup.max.descendants"), &GROUPS.to_string());
            set(dir.join("cgroup.max.depth"), &GROUPS_DEPTH.to_string());
        }
        let Some(memory) = self.dir("memory", name) else { return };
        match self.family {
            // Where nothing is said yet; its record may allow some.
            Family::V2 if self.limits(name).swap.is_none() => set(memory.join("memory.swap.max"), "0"),
            Family::V2 => {}
            Family::V1 => {
                let limits = self.limits(name);
                if let (Some(limit), None) = (limits.memory, limits.swap) {
                    set(memory.join("memory.memsw.limit_in_bytes"), &limit.to_string());
                }
                // LXC has made the guest's root its owner. A group of memory takes some 50 KiB of the box's own, and one
                // of 65,535 numbers; v1 has no limit for that. From the top down: nothing can be made behind us.
                group_tree::each(&memory, &mut |group| group.give_to_root());
            }
        }
    }

    /// Opens the files that tell what `name` uses.
    pub fn meter(&self, name: &Name) -> Meter {
        let v1 = self.family == Family::V1;
        let memory = if v1 { "memory.usage_in_bytes" } else { "memory.current" };
        let open = |controller: &str, file: &str| fs::File::open(self.dir(controller, name)?.join(file)).ok();
        Meter {
            memory: open("memory", memory),
            pids: open("pids", "pids.current"),
            cpu: if v1 { open("cpuacct", "cpuacct.usage") } else { open("cpu", "cpu.stat") },
            nanoseconds: v1,
        }
    }

    /// The most memory `name` has used in this run.
    pub fn memory_peak(&self, name: &Name) -> Option<u64> {
        let file = if self.family == Family::V1 { "memory.max_usage_in_bytes" } else { "memory.peak" };
        self.number("memory", name, file)
    }

    /// The number in a file of `name`'s group.
    fn number(&self, controller: &str, name: &Name, file: &str) -> Option<u64> {
        read_number(&fs::File::open(self.dir(controller, name)?.join(file)).ok()?)
    }

    /// Sets the limits of `name`: the files of both families, as far as they are there.
    ///
    /// # Errors
    /// A limit cannot be written; those before it stay as written.
    pub fn set_limits(&self, name: &Name, spec: &Spec) -> Result<()> {
        let (memory, quota) = (spec.memory.get(), quota(spec));
        // v1's limit of memory and swap together is never below that of memory: it goes up before, and down behind.
        let together = spec.promised_memory().get().to_string();
        let write = |controller: &str, file: &str, value: &str| -> Option<(PathBuf, io::Result<()>)> {
            let path = self.dir(controller, name)?.join(file);
            match fs::File::options().write(true).open(&path).and_then(|mut f| f.write_all(value.as_bytes()))
            {
                // This kernel, or this family, has none.
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                written => Some((path, written)),
            }
        };
        let _ = write("memory", "memory.memsw.limit_in_bytes", &together);
        for (controller, file, value) in [
            ("pids", "pids.max", spec.pids.to_string()),
            ("cpu", "cpu.cfs_quota_us", quota.to_string()),
            ("cpu", "cpu.max", format!("{quota} {CPU_PERIOD}")),
            ("memory", "memory.max", memory.to_string()),
            ("memory", "memory.limit_in_bytes", memory.to_string()),
            ("memory", "memory.swap.max", spec.swap_bytes().to_string()),
            ("memory", "memory.memsw.limit_in_bytes", together.clone()),
        ] {
            let Some((path, written)) = write(controller, file, &value) else { continue };
            if written.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY)) {
                let used = Bytes(self.memory_held(name).unwrap_or(0));
                return Err(Error::new(
                    Code::InUse,
                    format_args!(
                        "memory {}: container {name} uses {used}, and no less of it, or of its swap, can be freed; \
                         stop programs in it first",
                        spec.memory
                    ),
                ));
            }
            written.map_err(|e| Error::io("cannot write", &path, e))?;
        }
        Ok(())
    }

    /// The memory of `name` that is no copy of a file, and so cannot just be dropped.
    pub fn memory_held(&self, name: &Name) -> Option<u64> {
        let dir = self.dir("memory", name)?;
        let (used, files) = match self.family {
            Family::V1 => ("memory.usage_in_bytes", ["total_inactive_file ", "total_active_file "]),
            Family::V2 => ("memory.current", ["inactive_file ", "active_file "]),
        };
        let text = fs::read_to_string(dir.join("memory.stat")).ok()?;
        let value = |line: &str| files.iter().find_map(|key| line.strip_prefix(key)?.parse::<u64>().ok());
        let files: u64 = text.lines().filter_map(value).sum();
        Some(self.number("memory", name, used)?.saturating_sub(files))
    }

    /// The limits in force on `name`.
    pub fn limits(&self, name: &Name) -> Limits {
        let read = |controller: &str, file: &str| {
            fs::read_to_string(self.dir(controller, name)?.join(file))
                .ok()
                .map(|text| text.trim().to_string())
        };
        match self.family {
            Family::V1 => Limits {
                memory: read("memory", "memory.limit_in_bytes").and_then(|t| v1_limit(&t)),
                swap: read("memory", "memory.memsw.limit_in_bytes")
                    .and_then(|t| v1_limit(&t))
                    .zip(read("memory", "memory.limit_in_bytes").and_then(|t| v1_limit(&t)))
                    .map(|(together, memory)| together.saturating_sub(memory)),
                pids: read("pids", "pids.max").and_then(|t| t.parse().ok()),
                cpus: read("cpu", "cpu.cfs_quota_us")
                    .zip(read("cpu", "cpu.cfs_period_us"))
                    .and_then(|(quota, period)| milli_cpus(&quota, &period)),
            },
            Family::V2 => Limits {
                memory: read("memory", "memory.max").and_then(|t| t.parse().ok()),
                swap: read("memory", "memory.swap.max").and_then(|t| t.parse().ok()),
                pids: read("pids", "pids.max").and_then(|t| t.parse().ok()),
                cpus: read("cpu", "cpu.max").and_then(|t| {
                    let (quota, period) = t.split_once(' ')?;
                    milli_cpus(quota, period)
                }),
            },
        }
    }
}

/// The files that tell what a container uses, open: `list` asks all of them each time, and opening a file of a cgroup
/// takes several times as long as reading it.
#[derive(Debug)]
pub struct Meter {
    memory: Option<fs::File>,
    pids: Option<fs::File>,
    cpu: Option<fs::File>,
    /// `cpu` counts these and no microseconds.
    nanoseconds: bool,
}

impl Meter {
    /// What the container uses now; None of all when its groups are gone.
    pub fn read(&self) -> Usage {
        let read = |file: &Option<fs::File>| read_number(file.as_ref()?);
        let cpu_time = read(&self.cpu).map(|time| if self.nanoseconds { time / 1000 } else { time });
        Usage { memory: read(&self.memory), pids: read(&self.pids), cpu_time }
    }
}

/// What all containers together get of processors and disks when the box wants them too: half of what it gets.
const WEIGHTS: [(&str, &str); 5] = [
    ("cpu.shares", "512"),
    ("cpu.weight", "50"),
    ("blkio.bfq.weight", "50"),
    ("io.bfq.weight", "50"),
    ("io.weight", "50"),
];

fn is_v2(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

/// The period of the processor quota, in microseconds: the kernel's default.
pub const CPU_PERIOD: u64 = 100_000;

/// The processor time of each period, in microseconds.
pub fn quota(spec: &Spec) -> u64 {
    u64::from(spec.cpus.milli()) * CPU_PERIOD / 1000
}

/// The number at the beginning of a file, which v2's cpu.stat names.
fn read_number(file: &fs::File) -> Option<u64> {
    let mut text = [0; 40];
    let length = file.read_at(&mut text, 0).ok()?;
    let line = text.get(..length)?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("usage_usec ").unwrap_or(line).trim().parse().ok()
}

/// v1 writes "no limit" as the largest multiple of the page size.
fn v1_limit(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes < 1 << 62)
}

fn milli_cpus(quota: &str, period: &str) -> Option<u64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota * 1000).checked_div(period)
}

fn collect_processes(dir: &Path, pids: &mut Vec<i32>) {
    group_tree::each(dir, &mut |group| {
        let text = group.read("cgroup.procs").unwrap_or_default();
        // A 0 stands for one that we cannot see, and for ourselves in kill(2).
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    });
}

/// Removes a group and those below.
fn remove_groups(dir: &Path) {
    if let Err(e) = group_tree::remove(dir) {
        debug!("cgroup {} stays: {e}", dir.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::os::fd::AsFd;
    use std::process::{Child, Command};

    const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";
    const PURE: &str = "25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_hybrid_keeps_its_limits_in_v1() {
        let cgroups = Cgroups::from_mountinfo(HYBRID, |_| "hugetlb".into(), "cloudbox");
        assert_eq!(cgroups.family(), Family::V1);
        assert!(
            cgroups.has("memory")
                && cgroups.has("cpuacct")
                && !cgroups.has("pids")
                && !cgroups.has("hugetlb")
        );
        assert_eq!(cgroups.roots.len(), 4);
        let web = Name::new("web").unwrap();
        assert_eq!(cgroups.dir("cpu", &web), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/cloudbox/web")));
    }

    #[test]
    fn pure_v2_has_what_its_root_lists() {
        let cgroups = Cgroups::from_mountinfo(PURE, |_| "cpu memory pids\n".into(), "cloudbox");
        assert_eq!(cgroups.family(), Family::V2);
        assert!(cgroups.has("memory") && cgroups.has("pids") && !cgroups.has("io"));
        assert!(!Cgroups::from_mountinfo("", |_| String::new(), "x").has("memory"));
    }

    /// A process in a group of its own, in every hierarchy where one can be made; gone when the test ends.
    struct InGroup(Cgroups, Name, Child);

    impl InGroup {
        fn new(group: &str, process: &mut Command) -> Option<InGroup> {
            let cgroups = Cgroups::detect(&format!("{group}-{}", std::process::id())).unwrap();
            let name = Name::new("web").unwrap();
            let child = process.spawn().unwrap();
            for root in &cgroups.roots {
                let dir = root.join(&cgroups.group).join("web");
                let _ = fs::create_dir_all(&dir);
                let _ = fs::write(dir.join("cgroup.procs"), child.id().to_string());
            }
            let of = InGroup(cgroups, name, child);
            (of.0.freezer(&of.1).is_some_and(|(path, ..)| path.exists())).then_some(of)
        }
    }

    impl Drop for InGroup {
        fn drop(&mut self) {
            let _ = self.0.thaw(&self.1);
            let _ = self.2.kill();
            let _ = self.2.wait();
            // A child of its own may need a moment more.
            let group = |root: &PathBuf| root.join(&self.0.group).join(self.1.as_str()).join("cgroup.procs");
            let busy = |root| fs::read_to_string(group(root)).is_ok_and(|processes| !processes.is_empty());
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.0.roots.iter().any(busy) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.remove(&self.1);
            self.0.remove_empty_parent();
        }
    }

    #[test]
    fn a_frozen_group_stands_still_until_it_is_thawed() {
        let Some(mut of) = InGroup::new("cloudbox-freeze", Command::new("sleep").arg("60")) else {
            println!("skipped: no cgroup can be made here");
            return;
        };
        let v1 = of.0.has("freezer") && of.0.family() == Family::V1;
        // On a hybrid both families' freezers are there: each is tried.
        for controllers in [of.0.controllers.clone(), Vec::new()] {
            of.0.controllers = controllers;
            let cancel = Cancel::new().unwrap();
            assert!(!of.0.is_frozen(&of.1));
            of.0.freeze(&of.1, &cancel).unwrap();
            assert!(of.0.is_frozen(&of.1));
            of.0.thaw(&of.1).unwrap();
            assert!(!of.0.is_frozen(&of.1));
            cancel.cancel();
            match of.0.freeze(&of.1, &cancel) {
                Ok(()) => of.0.thaw(&of.1).unwrap(),
                Err(error) => assert_eq!(error.code, Code::Cancelled),
            }
            assert!(!of.0.is_frozen(&of.1));
        }
        println!("v1 freezer: {v1}");
        let nobody = Name::new("nobody").unwrap();
        of.0.thaw(&nobody).unwrap();
        assert!(!of.0.is_frozen(&nobody) && of.0.freeze(&nobody, &Cancel::new().unwrap()).is_err());
    }

    /// Makes group `x` below, in all hierarchies, with the process in it, and freezes it by v1's freezer where there is one.
    fn freeze_below(of: &InGroup) {
        for root in &of.0.roots {
            let dir = root.join(&of.0.group).join("web/x");
            let _ = fs::create_dir(&dir);
            let _ = fs::write(dir.join("cgroup.procs"), of.2.id().to_string());
        }
        let below = of.0.freezer(&of.1).unwrap().0;
        let below = below.parent().unwrap().join("x").join(below.file_name().unwrap());
        fs::write(&below, if below.ends_with("freezer.state") { "FROZEN" } else { "1" }).unwrap();
    }

    #[test]
    fn what_a_guest_has_frozen_itself_is_killed_all_the_same() {
        // With all there is, and without v2's cgroup.kill.
        for keep in [|_: &PathBuf| true, |root: &PathBuf| !root.join("cgroup.controllers").exists()] {
            let Some(mut of) = InGroup::new("cloudbox-kill", Command::new("sleep").arg("60")) else {
                println!("skipped: no cgroup can be made here");
                return;
            };
            freeze_below(&of);
            of.0.roots.retain(keep);
            let ended = sys::pidfd_open(of.2.id() as i32).unwrap();
            let soon = Instant::now() + Duration::from_secs(20);
            while wait::readable(ended.as_fd(), None, Instant::now()).unwrap() != wait::Woken::Ready {
                assert!(Instant::now() < soon, "it cannot be killed");
                of.0.kill(&of.1);
                std::thread::sleep(Duration::from_millis(1));
            }
            of.2.wait().unwrap();
            of.0.kill(&of.1);
            assert_eq!(of.0.processes(&of.1), [0_i32; 0]);
            of.0 = Cgroups::detect(&of.0.group.clone()).unwrap();
        }
    }

    const STARTER: &str = "steps::lxc::cgroup::tests::start_one_program_after_the_other";

    #[test]
    #[ignore = "it takes a minute; the test below has it in a group, and kills it"]
    fn start_one_program_after_the_other() {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            Command::new("true").status().unwrap();
        }
    }

    /// Programs are started with vfork, by systemd too: the parent sleeps in the kernel until they are loaded.
    #[test]
    fn who_waits_for_a_program_to_begin_freezes_too() {
        let mut starter = Command::new(std::env::current_exe().unwrap());
        starter.args(["--exact", STARTER, "--ignored", "--quiet"]).stdout(std::process::Stdio::null());
        let Some(of) = InGroup::new("cloudbox-vfork", &mut starter) else {
            println!("skipped: no cgroup can be made here");
            return;
        };
        let cancel = Cancel::new().unwrap();
        for round in 0..300 {
            of.0.freeze(&of.1, &cancel).unwrap_or_else(|error| panic!("round {round}: {error}"));
            of.0.thaw(&of.1).unwrap();
            // Where it is frozen next is another place each time.
            std::thread::sleep(Duration::from_micros(round * 17 % 1000));
        }
    }

    #[test]
    fn numbers_as_the_kernel_writes_them() {
        let path = std::env::temp_dir().join(format!("cloudbox-number-{}", std::process::id()));
        for (text, number) in [
            ("123\n", Some(123)),
            ("usage_usec 987654321012\nuser_usec 5\nsystem_usec 6\nnr_periods 7\n", Some(987_654_321_012)),
            ("18446744073709551615\n", Some(u64::MAX)),
            ("max\n", None),
            ("", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_number(&fs::File::open(&path).unwrap()), number, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn limits_as_the_kernel_writes_them() {
        assert_eq!(v1_limit("9223372036854771712"), None);
        assert_eq!(v1_limit("67108864"), Some(67_108_864));
        assert_eq!(milli_cpus("50000", "100000"), Some(500));
        assert_eq!(milli_cpus("max", "100000"), None);
        assert_eq!(milli_cpus("-1", "100000"), None);
        assert_eq!(milli_cpus("1", "0"), None);
    }
}
