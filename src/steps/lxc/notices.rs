//! What LXC and the kernel tell of containers by themselves: how their inits ended, that they ran out of memory, and that
//! writes to their disks failed.
//!
//! LXC's monitor, as its init's parent, is the only one to learn how it ended. It tells whoever reads a FIFO that has a
//! name of LXC's choice, and goes on when nobody does. Its messages are `struct lxc_msg` of lxc/src/lxc/monitor.h.

use super::super::filesystem::ext4_of_loop;
use super::super::layout::Layout;
use super::cgroup::{Cgroups, Family};
use crate::error::{errno_text, Error, Result};
use crate::model::name::Name;
use log::warn;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where LXC keeps what lasts until a reboot; which of them was chosen when it was built.
const RUN_DIRS: [&str; 2] = ["/run", "/var/run"];
/// `enum lxc_msg_type_t`: the wait status of a container's init.
const EXIT_CODE: i32 = 2;
/// A type, the container's name, a value.
const MESSAGE: usize = 4 + NAME + 4;
const NAME: usize = 256;
/// What the FIFO is called in the epoll set; containers are numbered from 1.
const FIFO: u64 = 0;
/// So many at once are read; the others wake the loop again.
const AT_ONCE: usize = 16;

/// All of it behind one descriptor.
pub struct Notices {
    epoll: Epoll,
    fifo: Option<File>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    watched: Vec<Watched>,
    /// What [`Notices::read`] has not told yet.
    left: Vec<(Name, Notice)>,
    exits: Vec<(Name, i32)>,
}

struct Watched {
    id: u64,
    name: Name,
    source: Source,
}

/// What happened to a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It ran out of memory so often.
    OutOfMemory(u64),
    /// The file system of its quota has errors.
    DiskFailed,
}

/// The descriptors by which the kernel tells.
enum Source {
    Memory(Memory),
    /// The kernel changes this file, which has the number of errors of an ext4 (since Linux 5.9).
    Disk(File),
}

/// Where the kernel tells that a container ran out of memory.
enum Memory {
    /// It counts up an eventfd, once more when the group goes: then the group's file cannot be read any more.
    V1 { count: EventFd, control: File },
    /// It changes a file, which has the number of kills.
    V2 { events: File, kills: u64 },
}

impl Notices {
    /// Opens the FIFO of containers below `layout.storage`. Without it the ends of containers are told without their
    /// reasons.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn open(layout: &Layout) -> Result<Notices> {
        let failed = |e: Errno| Error::os("cannot make an epoll set", e);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let fifo = open_fifo(layout).inspect_err(|e| warn!("{e}; it stays unknown how containers end")).ok();
        if let Some(fifo) = &fifo {
            epoll.add(fifo, EpollEvent::new(EpollFlags::EPOLLIN, FIFO)).map_err(failed)?;
        }
        Ok(Notices { epoll, fifo, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when there is something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Listens to what the kernel says of the memory of `name`, which runs, and of the disk that is mounted at `layer`. It
    /// is told of a failure only in the log.
    pub fn watch(&self, cgroups: &Cgroups, name: &Name, layer: &Path) {
        let mut state = self.state();
        state.forget(name);
        if let Some(dir) = cgroups.dir("memory", name) {
            let memory = match cgroups.family() {
                Family::V1 => watch_v1(&dir),
                Family::V2 => watch_v2(&dir),
            };
            let added = memory.and_then(|memory| self.add(&mut state, name, Source::Memory(memory)));
            if let Err(e) = added {
                warn!("cannot watch the memory of container {name}: {}", errno_text(e));
            }
        }
        let errors = ext4_of_loop(layer).and_then(|told| File::open(told.join("errors_count")).ok());
        if let Some(errors) = errors {
            // One that had errors before says so at once.
            if count(&errors) > 0 {
                state.left.push((name.clone(), Notice::DiskFailed));
            }
            if let Err(e) = self.add(&mut state, name, Source::Disk(errors)) {
                warn!("cannot watch the disk of container {name}: {}", errno_text(e));
            }
        }
    }

    fn add(&self, state: &mut State, name: &Name, source: Source) -> nix::Result<()> {
        let (fd, flags) = match &source {
            Source::Memory(Memory::V1 { count, .. }) => (count.as_fd(), EpollFlags::EPOLLIN),
            Source::Memory(Memory::V2 { events: file, .. }) | Source::Disk(file) => {
                (file.as_fd(), EpollFlags::EPOLLPRI)
            }
        };
        let id = state.last + 1;
        self.epoll.add(fd, EpollEvent::new(flags, id))?;
        state.last = id;
        state.watched.push(Watched { id, name: name.clone(), source });
        Ok(())
    }

    /// Listens no longer to what is said of `name`.
    pub fn forget(&self, name: &Name) {
        self.state().forget(name);
    }

    /// What has been told since the last time.
    pub fn read(&self) -> Vec<(Name, Notice)> {
        let mut state = self.state();
        self.read_exits(&mut state);
        let mut ready = [EpollEvent::empty(); AT_ONCE];
        let number = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        let mut told = std::mem::take(&mut state.left);
        for event in ready.iter().take(number) {
            let Some(watched) = state.watched.iter_mut().find(|w| w.id == event.data()) else { continue };
            told.extend(watched.source.read().map(|notice| (watched.name.clone(), notice)));
        }
        told
    }

    /// The wait status of the last init of `name` that ended, if LXC told it and nobody has asked since.
    pub fn exit_status(&self, name: &Name) -> Option<i32> {
        let mut state = self.state();
        self.read_exits(&mut state);
        let at = state.exits.iter().position(|(of, _)| of == name)?;
        Some(state.exits.swap_remove(at).1)
    }

    fn read_exits(&self, state: &mut State) {
        let Some(mut fifo) = self.fifo.as_ref() else { return };
        let mut message = [0; MESSAGE];
        // Messages are shorter than PIPE_BUF: each is there as a whole.
        while matches!(fifo.read(&mut message), Ok(MESSAGE)) {
            if let Some((name, status)) = parse(&message) {
                state.exits.retain(|(of, _)| *of != name);
                state.exits.push((name, status));
            }
        }
    }
}

impl State {
    fn forget(&mut self, name: &Name) {
        while let Some(at) = self.watched.iter().position(|watched| watched.name == *name) {
            let last = self.watched.swap_remove(at).source.read();
            self.left.extend(last.map(|notice| (name.clone(), notice)));
        }
    }
}

/// The container and its init's wait status in a message that is about that.
fn parse(message: &[u8; MESSAGE]) -> Option<(Name, i32)> {
    let number = |at: usize| Some(i32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?));
    if number(0)? != EXIT_CODE {
        return None;
    }
    let name = message.get(4..4 + NAME)?.split(|byte| *byte == 0).next()?;
    let name = Name::new(std::str::from_utf8(name).ok()?).ok()?;
    Some((name, number(4 + NAME)?))
}

impl Source {
    /// What it has to tell since the last time.
    fn read(&mut self) -> Option<Notice> {
        match self {
            Source::Memory(memory) => Some(memory.read()).filter(|times| *times > 0).map(Notice::OutOfMemory),
            Source::Disk(errors) => (count(errors) > 0).then_some(Notice::DiskFailed),
        }
    }
}

/// The number in a file of sysfs; 0 when its device is gone.
fn count(file: &File) -> u64 {
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

impl Memory {
    /// How often it ran out of memory since the last time.
    fn read(&mut self) -> u64 {
        match self {
            Memory::V1 { count, control } => {
                let gone = control.read_at(&mut [0; 1], 0).is_err();
                count.read().unwrap_or(0).saturating_sub(u64::from(gone))
            }
            Memory::V2 { events, kills } => {
                let now = oom_kills(events).unwrap_or(*kills);
                now.saturating_sub(std::mem::replace(kills, now))
            }
        }
    }
}

fn watch_v1(dir: &Path) -> nix::Result<Memory> {
    let io = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let count = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let control = File::open(dir.join("memory.oom_control")).map_err(io)?;
    let listen = format!("{} {}", count.as_fd().as_raw_fd(), control.as_raw_fd());
    fs::write(dir.join("cgroup.event_control"), listen).map_err(io)?;
    Ok(Memory::V1 { count, control })
}

fn watch_v2(dir: &Path) -> nix::Result<Memory> {
    let io = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let events = File::open(dir.join("memory.events")).map_err(io)?;
    let kills = oom_kills(&events).unwrap_or(0);
    Ok(Memory::V2 { events, kills })
}

/// The number of kills in `memory.events`.
fn oom_kills(events: &File) -> Option<u64> {
    let mut text = [0; 512];
    let length = events.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Makes the FIFO where it is ours, and gives it the names under which LXC looks for it.
fn open_fifo(layout: &Layout) -> Result<File> {
    let path = layout.exits();
    match mkfifo(&path, Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(e) => return Err(Error::io("cannot make", &path, e)),
    }
    for run in RUN_DIRS.map(Path::new).into_iter().filter(|run| run.is_dir()) {
        // LXC puts the two together as they are, so that there are two slashes.
        let dir = run.join("lxc").join(layout.containers().strip_prefix("/").unwrap_or(&layout.containers()));
        let name = dir.join("monitor-fifo");
        let _ = fs::remove_file(&name);
        let linked = fs::create_dir_all(&dir).and_then(|()| std::os::unix::fs::symlink(&path, &name));
        linked.map_err(|e| Error::io("cannot make", &name, e))?;
    }
    // Open for writing too: without any writer it would always be readable, as if at its end.
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    options.open(&path).map_err(|e| Error::io("cannot open", &path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, name: &[u8], value: i32) -> [u8; MESSAGE] {
        let mut message = [0; MESSAGE];
        message[..4].copy_from_slice(&kind.to_ne_bytes());
        message[4..4 + name.len()].copy_from_slice(name);
        message[4 + NAME..].copy_from_slice(&value.to_ne_bytes());
        message
    }

    #[test]
    fn messages_of_the_monitor() {
        assert_eq!(parse(&message(EXIT_CODE, b"web", 9)), Some((Name::new("web").unwrap(), 9)));
        assert_eq!(parse(&message(0, b"web", 9)), None);
        for name in [&b""[..], b"../web", b"\xff", &[b'a'; NAME]] {
            assert_eq!(parse(&message(EXIT_CODE, name, 9)), None);
        }
    }
}
