//! What there is of a box's containers, read from the disk and the kernel without the daemon and without its code: the
//! storage, the configuration file, archives, mounts, loop devices, control groups, processes and interfaces. What does
//! not belong together is told.

use crate::processes;
use crate::test_box::TestBox;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a container's processes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runs {
    Stopped,
    Running,
    Frozen,
}

/// What a container is, as far as somebody who asked for it can tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guest {
    pub runs: Runs,
    /// It has a quota, and so a disk of its own.
    pub disk: bool,
    /// Its section's.
    pub memory: String,
    pub description: String,
    /// What the test wrote into a file of its.
    pub marker: Option<u32>,
    /// Its snapshots, each with that file as it was.
    pub snapshots: BTreeMap<String, Option<u32>>,
}

/// All that there is.
#[derive(Debug, Default)]
pub struct Look {
    pub guests: BTreeMap<String, Guest>,
    /// Archives, with the file of the container that is in each.
    pub archives: BTreeMap<String, Option<u32>>,
    /// What images are called, and the sha256 of each.
    pub images: BTreeMap<String, String>,
    /// What is half made, left over, or contradicts itself.
    pub wrong: Vec<String>,
    /// Programs in a guest still write what a call wanted.
    pub writing: bool,
}

/// The file in a guest that the test writes.
pub const MARKER: &str = "root/marker";
/// What the command line of its writer has in it.
pub const WRITER: &str = "/root/marker.new";

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Looks at everything. `archives` is the directory that the test exports to.
pub fn look(the_box: &TestBox, archives: &Path) -> Look {
    let mut look = Look::default();
    let text = fs::read_to_string(the_box.config()).unwrap_or_default();
    let sections = sections(&text, &mut look.wrong);
    let kernel = Kernel::look(the_box);
    look.writing = kernel.writing;
    containers(the_box, &sections, &kernel, &mut look);
    images(the_box, &kernel, &mut look);
    leftovers(the_box, &kernel, &mut look);
    for name in names(archives) {
        match archive(&archives.join(&name)) {
            Ok(marker) => drop(look.archives.insert(name, marker)),
            Err(why) => look.wrong.push(format!("archive {name}: {why}")),
        }
    }
    look
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Sections of containers, by name.
fn sections(text: &str, wrong: &mut Vec<String>) -> Sections {
    let mut sections = Sections::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let plain = |word: &str| word.trim_matches('\'').to_string();
        match words.as_slice() {
            ["config", "container", name] => {
                let name = plain(name);
                if sections.insert(name.clone(), BTreeMap::new()).is_some() {
                    wrong.push(format!("two sections are called {name}"));
                }
                current = Some(name);
            }
            ["config", ..] => current = None,
            ["option", key, value] => {
                if let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name)) {
                    section.insert((*key).to_string(), plain(value));
                }
            }
            _ => {}
        }
    }
    for (name, section) in &sections {
        for intent in ["deleting", "renaming"] {
            if section.contains_key(intent) {
                wrong.push(format!("the section of {name} says {intent} still"));
            }
        }
    }
    sections
}

/// What the kernel has of this box's containers.
struct Kernel {
    /// The inits and LXC's monitors of each.
    inits: BTreeMap<String, usize>,
    monitors: BTreeMap<String, usize>,
    /// Processes of no container that have to do with this box.
    others: Vec<String>,
    /// Mount points below the box's directory.
    mounts: BTreeSet<PathBuf>,
    /// Files below it that loop devices have.
    loops: Vec<String>,
    /// Control groups by container, a path for each hierarchy.
    groups: BTreeMap<String, Vec<PathBuf>>,
    ports: BTreeSet<String>,
    writing: bool,
}

impl Kernel {
    fn look(the_box: &TestBox) -> Kernel {
        let mut kernel = Kernel {
            inits: BTreeMap::new(),
            monitors: BTreeMap::new(),
            others: Vec::new(),
            mounts: BTreeSet::new(),
            loops: Vec::new(),
            groups: BTreeMap::new(),
            ports: BTreeSet::new(),
            writing: false,
        };
        kernel.look_at_processes(the_box);
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        kernel.mounts = points.filter(|point| point.starts_with(&the_box.dir)).collect();
        for device in names(Path::new("/sys/block")) {
            let file = Path::new("/sys/block").join(device).join("loop/backing_file");
            let file = fs::read_to_string(file).unwrap_or_default();
            if Path::new(file.trim()).starts_with(&the_box.dir) {
                kernel.loops.push(file.trim().to_string());
            }
        }
        let group = the_box.layout.cgroup();
        let top = Path::new("/sys/fs/cgroup");
        let roots: Vec<PathBuf> =
            names(top).iter().map(|name| top.join(name)).chain([top.to_path_buf()]).collect();
        for dir in roots.iter().map(|root| root.join(&group)).filter(|dir| dir.is_dir()) {
            for name in names(&dir).into_iter().filter(|name| dir.join(name).is_dir()) {
                kernel.groups.entry(name.clone()).or_default().push(dir.join(name));
            }
        }
        kernel.ports =
            names(&Path::new("/sys/class/net").join(&the_box.bridge).join("brif")).into_iter().collect();
        kernel
    }

    fn look_at_processes(&mut self, the_box: &TestBox) {
        let group = format!("/{}/", the_box.layout.cgroup());
        let place = the_box.dir.to_string_lossy().into_owned();
        let monitor = format!("[lxc monitor] {} ", the_box.layout.containers().display());
        for pid in processes::all() {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let title = String::from_utf8_lossy(&title).replace('\0', " ");
            let own = |path: &String| path.strip_prefix(&group).map(String::from);
            let below = processes::cgroups(pid).iter().find_map(own);
            if let Some(name) = title.strip_prefix(&monitor) {
                *self.monitors.entry(name.trim().to_string()).or_default() += 1;
            } else if let Some(path) = below {
                let name = path.split('/').next().unwrap_or_default().to_string();
                self.writing |= title.contains(WRITER);
                if processes::is_init(pid) {
                    *self.inits.entry(name).or_default() += 1;
                }
            } else if title.contains(&place) && !is_ours(&title, &place) {
                self.others.push(format!("process {pid}: {title}"));
            }
        }
    }
}

/// Whether it is a part of the test: its DHCP server, its bus, its daemon.
fn is_ours(title: &str, place: &str) -> bool {
    title.starts_with("dnsmasq ") || title.contains(&format!(" -s {place}/bus"))
}

/// Everything that may lie in a container's directory.
const OF_A_CONTAINER: [&str; 12] = [
    "record.json",
    "config",
    "seccomp",
    "disk.img",
    "layer",
    "rootfs",
    "snapshots",
    "first-boot.status",
    "first-boot.log",
    "console.log",
    "console.log.1",
    "lxc.log",
];

fn containers(the_box: &TestBox, sections: &Sections, kernel: &Kernel, look: &mut Look) {
    let wrong = &mut look.wrong;
    let dir = the_box.layout.containers();
    let found = names(&dir);
    for name in sections.keys().filter(|name| !found.contains(name)) {
        wrong.push(format!("{name} has a section and no files"));
    }
    for name in found {
        let own = dir.join(&name);
        let Some(section) = sections.get(&name) else {
            wrong.push(format!("{name} has files and no section: {:?}", names(&own)));
            continue;
        };
        for file in names(&own).iter().filter(|file| !OF_A_CONTAINER.contains(&file.as_str())) {
            wrong.push(format!("{name} has a file {file}"));
        }
        let record = fs::read(own.join("record.json")).ok();
        let record: Value = record.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        if record["name"] != *name {
            wrong.push(format!("the record of {name} is one of {}", record["name"]));
        }
        let disk = own.join("disk.img").exists();
        let runs = runs(&name, kernel, wrong);
        let running = runs != Runs::Stopped;
        check_mounts(&name, &own, disk, running, kernel, wrong);
        let veth = record["veth"].as_str().unwrap_or_default();
        if kernel.ports.contains(veth) != running {
            wrong.push(format!("{name} is {runs:?}, and among the bridge's ports {:?}", kernel.ports));
        }
        let text = |option: &str| section.get(option).cloned().unwrap_or_default();
        if running {
            check_limit(&name, &text("memory"), kernel, wrong);
        }
        let marker = if disk && !running {
            marker_in_disk(&own.join("disk.img"))
        } else {
            read_marker(&own.join("layer/upper").join(MARKER))
        };
        let snapshots = snapshots(&name, &own.join("snapshots"), disk, wrong);
        let guest =
            Guest { runs, disk, memory: text("memory"), description: text("description"), marker, snapshots };
        look.guests.insert(name, guest);
    }
    // LXC's monitor is in a group of its own.
    let of_monitor =
        |name: &String| name.strip_suffix(".monitor").is_some_and(|of| kernel.monitors.get(of) == Some(&1));
    // One that has ended goes to the group of all such, to remove its own.
    let groups = kernel.groups.keys().filter(|name| *name != "pivot" && !of_monitor(name));
    let known: Vec<&String> = kernel.inits.keys().chain(kernel.monitors.keys()).chain(groups).collect();
    let unknown: BTreeSet<&String> = known.into_iter().filter(|n| !look.guests.contains_key(*n)).collect();
    for name in unknown {
        look.wrong.push(format!(
            "of {name}, which is not there, there are {:?} inits, {:?} monitors, groups {:?}",
            kernel.inits.get(name),
            kernel.monitors.get(name),
            kernel.groups.get(name)
        ));
    }
}

fn runs(name: &str, kernel: &Kernel, wrong: &mut Vec<String>) -> Runs {
    let count = |of: &BTreeMap<String, usize>| of.get(name).copied().unwrap_or_default();
    let groups = kernel.groups.get(name).map_or(&[][..], Vec::as_slice);
    match (count(&kernel.inits), count(&kernel.monitors), groups) {
        (0, 0, []) => Runs::Stopped,
        (1, 1, [_, ..]) if groups.iter().any(|group| is_frozen(group)) => Runs::Frozen,
        (1, 1, [_, ..]) => Runs::Running,
        (inits, monitors, groups) => {
            wrong.push(format!("{name} has {inits} inits, {monitors} monitors and groups {groups:?}"));
            if inits > 0 {
                Runs::Running
            } else {
                Runs::Stopped
            }
        }
    }
}

fn is_frozen(group: &Path) -> bool {
    let says = |file: &str, what: &str| fs::read_to_string(group.join(file)).is_ok_and(|t| t.trim() == what);
    says("freezer.state", "FROZEN") || says("cgroup.freeze", "1")
}

fn check_mounts(name: &str, dir: &Path, disk: bool, running: bool, kernel: &Kernel, wrong: &mut Vec<String>) {
    let mut wanted = BTreeSet::new();
    if running {
        wanted.insert(dir.join("rootfs"));
        if disk {
            wanted.insert(dir.join("layer"));
        }
    }
    let found: BTreeSet<PathBuf> = kernel.mounts.iter().filter(|p| p.starts_with(dir)).cloned().collect();
    if found != wanted {
        wrong.push(format!("{name} (running: {running}) has mounts {found:?}"));
    }
    let file = dir.join("disk.img").display().to_string();
    let devices = kernel.loops.iter().filter(|of| **of == file).count();
    if devices != usize::from(running && disk) {
        wrong.push(format!("{name} (running: {running}, disk: {disk}) has {devices} loop devices"));
    }
}

/// What is in force is what its section says.
fn check_limit(name: &str, memory: &str, kernel: &Kernel, wrong: &mut Vec<String>) {
    let groups = kernel.groups.get(name).map_or(&[][..], Vec::as_slice);
    let files = ["memory.limit_in_bytes", "memory.max"];
    let paths = groups.iter().flat_map(|group| files.map(|file| group.join(file)));
    let limit = paths.filter_map(|path| fs::read_to_string(path).ok()).next().unwrap_or_default();
    let mebibytes = limit.trim().parse::<u64>().map_or(0, |bytes| bytes >> 20);
    if format!("{mebibytes}M") != memory {
        wrong.push(format!("{name} may have {memory}, and its limit is {}", limit.trim()));
    }
}

fn read_marker(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The same in a disk that is not mounted.
fn marker_in_disk(disk: &Path) -> Option<u32> {
    let command = format!("cat /upper/{MARKER}");
    let said = processes::output(Command::new("debugfs").args(["-R", &command]).arg(disk));
    String::from_utf8_lossy(&said.stdout).trim().parse().ok()
}

fn snapshots(name: &str, dir: &Path, disk: bool, wrong: &mut Vec<String>) -> BTreeMap<String, Option<u32>> {
    let mut found = BTreeMap::new();
    for snapshot in names(dir) {
        let own = dir.join(&snapshot);
        let files = names(&own);
        let wanted = if disk { ["disk.img", "snapshot"] } else { ["layer", "snapshot"] };
        if snapshot.starts_with('.') || files != wanted {
            wrong.push(format!("snapshot {snapshot} of {name} has {files:?}"));
            continue;
        }
        let marker = match disk {
            true => marker_in_disk(&own.join("disk.img")),
            false => read_marker(&own.join("layer/upper").join(MARKER)),
        };
        found.insert(snapshot, marker);
    }
    found
}

fn images(the_box: &TestBox, kernel: &Kernel, look: &mut Look) {
    let wrong = &mut look.wrong;
    let dir = the_box.layout.storage.join("images");
    for entry in names(&dir).into_iter().filter(|entry| entry != "names") {
        let files = names(&dir.join(&entry));
        if entry.len() != 64 || files != ["manifest.json", "rootfs.squashfs"] {
            wrong.push(format!("among the images there is {entry} with {files:?}"));
        }
        let file = dir.join(&entry).join("rootfs.squashfs").display().to_string();
        let devices = kernel.loops.iter().filter(|of| **of == file).count();
        let mounted = kernel.mounts.contains(&the_box.layout.run.join("images").join(&entry));
        let used = look.guests.values().any(|guest| guest.runs != Runs::Stopped);
        if devices != usize::from(mounted) || (mounted && !used) {
            wrong.push(format!(
                "image {entry:.8} has {devices} loop devices, mounted: {mounted}, used: {used}"
            ));
        }
    }
    for name in names(&dir.join("names")) {
        let target = fs::read_link(dir.join("names").join(&name)).unwrap_or_default();
        let sha256 = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !dir.join(&sha256).is_dir() {
            wrong.push(format!("image {name} is {}", target.display()));
        }
        look.images.insert(name, sha256);
    }
}

/// What belongs to nothing.
fn leftovers(the_box: &TestBox, kernel: &Kernel, look: &mut Look) {
    let (storage, run) = (&the_box.layout.storage, &the_box.layout.run);
    let wrong = &mut look.wrong;
    // A daemon that starts clears it away, but takes a second: another program could be about to rename it.
    let half_written = |name: &String| name.starts_with(".cloudbox.uci-");
    let etc: Vec<String> = names(&the_box.dir.join("etc"));
    let (halves, others): (Vec<String>, Vec<String>) = etc.into_iter().partition(half_written);
    if halves.len() > 1 || others != ["cloudbox", "cloudbox-host"] {
        wrong.push(format!("beside the configuration there is {halves:?} {others:?}"));
    }
    for (dir, known) in [
        (
            storage.as_path(),
            &["archives", "blank", "box-id", "containers", "exports", "image-versions", "images", "lock"][..],
        ),
        (&storage.join("exports"), &[]),
        (&run.join("lower"), &[]),
        (&run.join("held"), &[]),
    ] {
        let unknown: Vec<String> = names(dir).into_iter().filter(|n| !known.contains(&n.as_str())).collect();
        if !unknown.is_empty() {
            wrong.push(format!("in {} there is {unknown:?}", dir.display()));
        }
    }
    for file in names(&storage.join("blank")).iter().filter(|name| !name.starts_with("ext4-")) {
        wrong.push(format!("among the blank disks there is {file}"));
    }
    for file in names(run).iter().filter(|name| name.starts_with('.')) {
        wrong.push(format!("in the runtime directory there is {file}"));
    }
    let of_containers = |path: &Path| path.starts_with(the_box.layout.containers());
    let of_images = |path: &Path| path.starts_with(run.join("images"));
    for mount in kernel.mounts.iter().filter(|m| !of_containers(m) && !of_images(m)) {
        wrong.push(format!("mount {}", mount.display()));
    }
    let hidden = |path: &Path| {
        path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
            && path.starts_with(&the_box.dir)
    };
    for mount in kernel.mounts.iter().filter(|mount| hidden(mount)) {
        wrong.push(format!("mount {}", mount.display()));
    }
    for file in kernel.loops.iter().filter(|file| hidden(Path::new(file)) || file.ends_with("(deleted)")) {
        wrong.push(format!("loop device on {file}"));
    }
    wrong.extend(kernel.others.iter().cloned());
    let running = look.guests.values().filter(|guest| guest.runs != Runs::Stopped).count();
    if kernel.ports.len() != running {
        wrong.push(format!("{running} run, and the bridge has the ports {:?}", kernel.ports));
    }
}

/// The file in an archive that is whole: its last entry is the sha256 of all before.
fn archive(path: &Path) -> Result<Option<u32>, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut marker = None;
    let mut told = None;
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        let name = entry.path_bytes().into_owned();
        let mut text = String::new();
        if name == format!("layer/{MARKER}").as_bytes() {
            entry.read_to_string(&mut text).map_err(|e| e.to_string())?;
            marker = text.trim().parse().ok();
        } else if name == b"sha256" {
            let begin = entry.raw_file_position() as usize;
            entry.read_to_string(&mut text).map_err(|e| e.to_string())?;
            told = Some((begin, text));
        }
    }
    let (begin, told) = told.ok_or("it has no sha256 at its end")?;
    let hash = Sha256::digest(&bytes[..begin]);
    let is: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if is != told {
        return Err(format!("its sha256 is {is}, it says {told}"));
    }
    Ok(marker)
}
