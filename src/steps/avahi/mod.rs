//! avahi-daemon: what it is to announce, in its own files, and whether it is there to do so.
//!
//! And the box's own name server, for those who do not ask it: [`dnsmasq`].
//!
//! Its static files work with and without D-Bus, and whenever it is started: nothing is lost when it restarts.

mod dnsmasq;
mod hosts;
mod service_file;

pub use dnsmasq::may_be_named;

use super::filesystem::read_text;
use super::process::Process;
use crate::error::{Code, Error, Result};
use crate::mdns::lookup::{self, Expected, Sight, Times};
use crate::mdns::{self, ServiceInstance};
use crate::model::advert::Advert;
use crate::sys;
use litemap::LiteMap;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{utimensat, UtimensatFlags};
use nix::sys::time::TimeSpec;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What our files begin with; the box's own is called just that.
const STEM: &str = "cloudbox";
/// What avahi reads.
const SUFFIX: &str = ".service";
/// What a file is called while it is written: hidden, so that avahi does not read it.
const TEMPORARY: &str = ".cloudbox-new";

/// avahi-daemon.conf has 2 KiB.
const CONF_MAX: u64 = 64 << 10;

/// Everything this box announces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What is announced; those of a container make one file.
    pub adverts: Vec<Advert>,
    /// Host names, without the domain, and their addresses.
    pub hosts: Vec<(String, IpAddr)>,
    /// What the box's name server is to know: containers' own names, and their addresses.
    pub names: Vec<(String, IpAddr)>,
}

/// What avahi-daemon is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It is installed and does not run.
    Stopped,
    /// Its directory of services is not there.
    Absent,
}

impl State {
    /// As it stands in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Stopped => "stopped",
            State::Absent => "absent",
        }
    }

    /// What it means, and what to do.
    pub fn message(self) -> &'static str {
        match self {
            State::Running => "avahi-daemon announces what the containers offer",
            State::Stopped => {
                "avahi-daemon does not run, nothing is announced; start it: `/etc/init.d/avahi-daemon start`, \
                 or `service avahi-daemon start` on Debian"
            }
            State::Absent => {
                "avahi-daemon is not installed, nothing is announced; install avahi-dbus-daemon or \
                 avahi-nodbus-daemon (OpenWrt), or avahi-daemon (Debian)"
            }
        }
    }
}

/// On which of the box's interfaces it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// On every one.
    All,
    /// On these.
    Only(Vec<String>),
    /// On all others.
    AllBut(Vec<String>),
}

impl Spoken {
    /// Whether it speaks on this one.
    pub fn includes(&self, interface: &str) -> bool {
        match self {
            Spoken::All => true,
            Spoken::Only(interfaces) => interfaces.iter().any(|name| name == interface),
            Spoken::AllBut(interfaces) => !interfaces.iter().any(|name| name == interface),
        }
    }
}

/// What was not written, by the file it belongs to.
pub type Troubles = Vec<(String, Error)>;

/// avahi-daemon, by its files.
pub trait Avahi: Send + Sync {
    /// Makes its files say what is wanted, and nothing else of ours. A file that says it already is left alone. Returns
    /// what could not be done; the rest was.
    fn announce(&self, wanted: &Wanted) -> Troubles;

    /// Whether it runs.
    fn state(&self) -> State;

    /// The same, and what becomes readable when that may have changed: its process ends, or a file comes where its pid
    /// file or its directory of services will be.
    fn watch(&self) -> (State, Option<OwnedFd>);

    /// Where it speaks, by its configuration.
    fn spoken_on(&self) -> Spoken;

    /// What is wrong with its file of host names.
    fn hosts_trouble(&self) -> Option<String>;

    /// The box's host name.
    fn hostname(&self) -> String;

    /// Asks the network for what was announced: [`lookup::look`]; `of_containers` are addresses of the box's containers.
    /// It is asked where avahi-daemon speaks, on `bridges` unless its configuration names interfaces.
    ///
    /// # Errors
    /// There is no network to ask.
    fn read_back(
        &self,
        expected: &[Expected],
        bridges: &[String],
        of_containers: Vec<IpAddr>,
        times: Times,
        stop: &AtomicBool,
    ) -> Result<Vec<Sight>>;

    /// The services on the network, of all types or of one; it takes as long as `timeout`. The network is where
    /// avahi-daemon speaks.
    ///
    /// # Errors
    /// The network cannot be asked.
    fn browse(&self, kind: Option<&str>, timeout: Duration) -> Result<Vec<ServiceInstance>>;
}

/// The name of the file in which `advert` stands. A file has one name for all its services: a container's services that
/// are called as its host share one, those with a name of their own have a file each.
pub fn file_of(advert: &Advert) -> String {
    let Some(container) = &advert.container else { return format!("{STEM}{SUFFIX}") };
    let (dot, id) = if advert.name() == advert.host { ("", "") } else { (".", advert.id.as_str()) };
    format!("{STEM}-{container}{dot}{id}{SUFFIX}")
}

/// Files, and what stands in each.
fn files_of(adverts: &[Advert]) -> Vec<(String, Vec<&Advert>)> {
    let mut files: Vec<(String, Vec<&Advert>)> = Vec::new();
    for advert in adverts {
        let file = file_of(advert);
        match files.iter_mut().find(|(name, _)| *name == file) {
            Some((_, shared)) => shared.push(advert),
            None => files.push((file, vec![advert])),
        }
    }
    files
}

/// avahi-daemon by its files, below `/etc` and `/var/run`.
pub struct Files {
    /// `/etc/avahi`
    etc: PathBuf,
    /// `/var/run/avahi-daemon`
    run: PathBuf,
    /// `/tmp/hosts` and `/var/run/dnsmasq`
    dnsmasq: Option<(PathBuf, PathBuf)>,
    /// The last modification time of each file that was ours, in seconds: also of those that are gone.
    times: Mutex<LiteMap<String, i64>>,
}

impl Files {
    /// Those of the avahi-daemon whose configuration is in `etc` and whose pid file is in `run`.
    pub fn new(etc: PathBuf, run: PathBuf) -> Files {
        Files { etc, run, dnsmasq: None, times: Mutex::default() }
    }

    /// The same, with the dnsmasq that reads the files in `hosts` and has its pid files in `run`.
    pub fn with_dnsmasq(self, hosts: PathBuf, run: PathBuf) -> Files {
        Files { dnsmasq: Some((hosts, run)), ..self }
    }

    fn announce_names(&self, wanted: &Wanted) -> Result<()> {
        if let Some((hosts, run)) = &self.dnsmasq {
            if dnsmasq::announce(hosts, &wanted.names)? {
                dnsmasq::reread(run);
            }
        }
        Ok(())
    }

    fn services(&self) -> PathBuf {
        self.etc.join("services")
    }

    /// Its process, if it runs.
    fn pid(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.run.join("pid")).ok()?.trim().parse().ok()?;
        Process::own(pid)?.name().starts_with("avahi-daemon").then_some(pid)
    }

    /// Readable when something comes where its files will be.
    fn watch_files(&self) -> Option<OwnedFd> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        // The pid stands in its file when that is closed.
        let events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB;
        for wanted in [&self.services(), &self.run] {
            let there = wanted.ancestors().find(|dir| dir.is_dir())?;
            inotify.add_watch(there, events).ok()?;
        }
        inotify.as_fd().try_clone_to_owned().ok()
    }

    fn announce_services(&self, wanted: &Wanted) -> Result<Troubles> {
        let dir = self.services();
        let ours = our_files(&dir)?;
        let mut troubles = Vec::new();
        let mut named: Vec<String> = Vec::new();
        for (file, adverts) in files_of(&wanted.adverts) {
            if let Err(error) = self.write_service(&dir.join(&file), &file, &service_file::render(&adverts)) {
                troubles.push((file.clone(), error));
            }
            named.push(file);
        }
        for file in ours.into_iter().filter(|file| !named.contains(file)) {
            if let Err(error) = self.remove_service(&dir.join(&file), &file) {
                troubles.push((file, error));
            }
        }
        Ok(troubles)
    }

    /// avahi compares times in whole seconds, and does not see a second change within one. So each version is newer
    /// than the one before by a second at least.
    fn write_service(&self, path: &Path, file: &str, text: &str) -> Result<()> {
        let before = fs::metadata(path).ok();
        if before.is_some() && fs::read(path).is_ok_and(|is| is == text.as_bytes()) {
            return Ok(());
        }
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let last = times.get(file).copied().max(before.map(|meta| meta.mtime()));
        let now = now();
        let time = last.map_or(now, |last| now.max(last.saturating_add(1)));
        replace(path, text.as_bytes(), 0o644, Some(time))?;
        times.insert(file.to_string(), time);
        Ok(())
    }

    fn remove_service(&self, path: &Path, file: &str) -> Result<()> {
        let time = fs::metadata(path).map_or(0, |meta| meta.mtime());
        fs::remove_file(path).map_err(|e| Error::io("cannot remove", path, e))?;
        self.times.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_string(), time);
        Ok(())
    }

    fn announce_hosts(&self, wanted: &Wanted) -> Result<()> {
        let path = self.etc.join("hosts");
        let (before, mode) = match fs::read(&path) {
            Ok(text) => (text, fs::metadata(&path).map_or(0o644, |meta| meta.permissions().mode())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o644),
            Err(e) => return Err(Error::io("cannot read", &path, e)),
        };
        let after = hosts::with_block(&before, &wanted.hosts);
        if after == before {
            return Ok(());
        }
        // The file may be a link to where a read-only /etc allows writing.
        let path = super::filesystem::real_path(&path).unwrap_or(path);
        replace(&path, &after, mode & 0o7777, None)
    }
}

impl Avahi for Files {
    fn announce(&self, wanted: &Wanted) -> Troubles {
        let names = self.announce_names(wanted).err().map(|error| ("names".to_string(), error));
        if self.state() == State::Absent {
            let error = Error::new(
                Code::NotFound,
                format_args!("{} is not there: {}", self.services().display(), State::Absent.message()),
            );
            return [(String::new(), error)].into_iter().chain(names).collect();
        }
        // A name is there before what points at it, and goes after it.
        let hosts = self.announce_hosts(wanted);
        let mut troubles = match self.announce_services(wanted) {
            Ok(troubles) => troubles,
            Err(error) => vec![(String::new(), error)],
        };
        troubles.extend(hosts.err().map(|error| ("hosts".to_string(), error)));
        troubles.extend(names);
        troubles
    }

    fn state(&self) -> State {
        if !self.services().is_dir() {
            return State::Absent;
        }
        if self.pid().is_some() {
            State::Running
        } else {
            State::Stopped
        }
    }

    fn watch(&self) -> (State, Option<OwnedFd>) {
        loop {
            let before = self.state();
            let watch = match before {
                State::Running => self.pid().and_then(|pid| sys::pidfd_open(pid).ok()),
                State::Stopped | State::Absent => self.watch_files(),
            };
            // What changed just before it was watched is seen here.
            if self.state() == before {
                return (before, watch);
            }
        }
    }

    fn spoken_on(&self) -> Spoken {
        spoken(&read_text(&self.etc.join("avahi-daemon.conf"), CONF_MAX).unwrap_or_default())
    }

    fn hosts_trouble(&self) -> Option<String> {
        let path = self.etc.join("hosts");
        let line = hosts::bad_line(&fs::read(&path).ok()?)?;
        Some(format!(
            "{} line {line}: avahi-daemon stops reading here; write an address and one name, or '#' before it",
            path.display()
        ))
    }

    fn hostname(&self) -> String {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn read_back(
        &self,
        expected: &[Expected],
        bridges: &[String],
        of_containers: Vec<IpAddr>,
        times: Times,
        stop: &AtomicBool,
    ) -> Result<Vec<Sight>> {
        let spoken = self.spoken_on();
        let interfaces = match spoken {
            Spoken::Only(interfaces) => interfaces,
            _ => bridges.iter().filter(|name| spoken.includes(name)).cloned().collect(),
        };
        lookup::look(expected, &interfaces, of_containers, times, stop)
    }

    // Not by asking avahi-daemon: without D-Bus it tells nobody.
    fn browse(&self, kind: Option<&str>, timeout: Duration) -> Result<Vec<ServiceInstance>> {
        let spoken = self.spoken_on();
        mdns::browse_on(kind, timeout, &|interface| spoken.includes(interface))
    }
}

/// `conf` is the text of avahi-daemon.conf.
fn spoken(conf: &str) -> Spoken {
    let list = |key: &str| -> Vec<String> {
        let mut lines = conf.lines().filter_map(|line| line.split_once('='));
        let value = lines.find(|(word, _)| word.trim() == key).map_or("", |(_, value)| value);
        value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect()
    };
    match (list("allow-interfaces"), list("deny-interfaces")) {
        (allowed, _) if !allowed.is_empty() => Spoken::Only(allowed),
        (_, denied) if !denied.is_empty() => Spoken::AllBut(denied),
        _ => Spoken::All,
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().and_then(|time| i64::try_from(time.as_secs()).ok()).unwrap_or(0)
}

/// Names of the files in `dir` that we wrote. A file that is only called as ours are is somebody else's.
fn our_files(dir: &Path) -> Result<Vec<String>> {
    let failed = |e: io::Error| Error::io("cannot read", dir, e);
    let mut ours = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        if file == TEMPORARY {
            let _ = fs::remove_file(entry.path());
        }
        let called = file.strip_prefix(STEM).and_then(|rest| rest.strip_suffix(SUFFIX));
        let as_ours = called.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        // One cut short by a loss of power says nothing, and was ours.
        let text = if as_ours { fs::read_to_string(entry.path()).ok() } else { None };
        if text.is_some_and(|text| text.is_empty() || text.contains(service_file::MARK)) {
            ours.push(file);
        }
    }
    Ok(ours)
}

/// Puts a whole new file in the place of `path`. It is not flushed: what it says is worked out anew at each start.
fn replace(path: &Path, text: &[u8], mode: u32, mtime: Option<i64>) -> Result<()> {
    let temporary = path.with_file_name(TEMPORARY);
    let write = || -> io::Result<()> {
        fs::write(&temporary, text)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
        if let Some(seconds) = mtime {
            let time = TimeSpec::new(seconds as _, 0);
            utimensat(nix::fcntl::AT_FDCWD, &temporary, &time, &time, UtimensatFlags::FollowSymlink)?;
        }
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Error::io("cannot write", path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::advert::{box_advert, OfBox};
    use crate::testing::TempDir;

    #[test]
    fn where_it_speaks_stands_in_its_configuration() {
        for (conf, spoken_on) in [
            ("", Spoken::All),
            ("[server]\n#allow-interfaces=eth0\nuse-ipv4=yes\n", Spoken::All),
            ("[server]\nallow-interfaces=br-lan, eth1\n", Spoken::Only(vec!["br-lan".into(), "eth1".into()])),
            ("[server]\ndeny-interfaces = wan\n", Spoken::AllBut(vec!["wan".into()])),
            ("allow-interfaces=br-lan\ndeny-interfaces=wan\n", Spoken::Only(vec!["br-lan".into()])),
            ("allow-interfaces=\n", Spoken::All),
        ] {
            assert_eq!(spoken(conf), spoken_on, "{conf}");
        }
    }

    fn advert(containers: usize) -> Wanted {
        let of = OfBox { api: 1, version: "0", arch: "mips", memory: 0, containers };
        Wanted {
            adverts: vec![box_advert("alpha", "alpha", &of)],
            hosts: vec![("web-alpha".into(), [10, 0, 0, 7].into())],
            names: vec![("web".into(), [10, 0, 0, 7].into())],
        }
    }

    fn files(dir: &TempDir) -> Files {
        fs::create_dir_all(dir.path().join("services")).unwrap();
        Files::new(dir.path().to_path_buf(), dir.path().join("run"))
    }

    fn mtime(dir: &TempDir) -> i64 {
        fs::metadata(dir.path().join("services/cloudbox.service")).unwrap().mtime()
    }

    #[test]
    fn each_version_is_newer_by_a_second_also_over_a_removal() {
        let dir = TempDir::make();
        let files = files(&dir);
        let mut last = 0;
        for round in 0..5 {
            assert_eq!(files.announce(&advert(round)), []);
            assert!(mtime(&dir) > last);
            last = mtime(&dir);
        }
        assert_eq!(files.announce(&Wanted::default()), []);
        assert_eq!(fs::read_dir(dir.path().join("services")).unwrap().count(), 0);
        files.announce(&advert(9));
        assert!(mtime(&dir) > last);
    }

    #[test]
    fn what_says_so_already_is_left_alone() {
        let dir = TempDir::make();
        let files = files(&dir);
        files.announce(&advert(1));
        let inode = |file: &str| fs::metadata(dir.path().join(file)).unwrap().ino();
        let before = (inode("services/cloudbox.service"), inode("hosts"));
        files.announce(&advert(1));
        assert_eq!((inode("services/cloudbox.service"), inode("hosts")), before);
    }

    #[test]
    fn only_what_we_wrote_is_removed() {
        let dir = TempDir::make();
        let files = files(&dir);
        let services = dir.path().join("services");
        fs::write(services.join("cloudbox-mine.service"), "<service-group/>").unwrap();
        fs::write(services.join("cloudboxes.service"), service_file::MARK).unwrap();
        fs::write(services.join("ssh.service"), service_file::MARK).unwrap();
        fs::write(services.join("cloudbox-stale.service"), service_file::MARK).unwrap();
        fs::write(services.join("cloudbox-cut.service"), "").unwrap();
        fs::write(services.join(TEMPORARY), "half").unwrap();
        assert_eq!(files.announce(&Wanted::default()), []);
        let mut left: Vec<String> =
            fs::read_dir(&services).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["cloudbox-mine.service", "cloudboxes.service", "ssh.service"]);
        assert!(!dir.path().join("hosts").exists());
    }

    #[test]
    fn what_cannot_be_written_does_not_harm_the_rest() {
        let dir = TempDir::make();
        let files = files(&dir);
        fs::create_dir(dir.path().join("hosts")).unwrap();
        let troubles = files.announce(&advert(1));
        assert_eq!(troubles.len(), 1);
        assert_eq!(troubles[0].0, "hosts");
        assert!(dir.path().join("services/cloudbox.service").exists());
    }

    #[test]
    fn avahi_that_is_not_there_is_said_to_be() {
        let dir = TempDir::make();
        let files = Files::new(dir.path().to_path_buf(), dir.path().join("run"));
        assert_eq!(files.state(), State::Absent);
        assert!(files.announce(&advert(1))[0].1.message.contains("avahi-nodbus-daemon"));
        let is_ready = |watch: &OwnedFd| {
            let mut fds = [nix::poll::PollFd::new(watch.as_fd(), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 1
        };
        let watch = files.watch().1.unwrap();
        assert!(!is_ready(&watch));
        fs::create_dir(dir.path().join("services")).unwrap();
        assert!(is_ready(&watch));
        let (state, watch) = files.watch();
        assert_eq!(state, State::Stopped);
        fs::create_dir(dir.path().join("run")).unwrap();
        assert!(is_ready(&watch.unwrap()));
        let watch = files.watch().1.unwrap();
        fs::write(dir.path().join("run/pid"), format!("{}\n", std::process::id())).unwrap();
        assert!(is_ready(&watch));
        assert_eq!(files.state(), State::Stopped, "a pid file may outlive its process");
    }

    #[test]
    fn its_end_is_seen_by_its_process() {
        let dir = TempDir::make();
        let files = files(&dir);
        fs::create_dir(dir.path().join("run")).unwrap();
        let program = dir.path().join("avahi-daemon");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut daemon = std::process::Command::new(&program).arg("60").spawn().unwrap();
        fs::write(dir.path().join("run/pid"), format!("{}\n", daemon.id())).unwrap();
        let (state, watch) = files.watch();
        assert_eq!(state, State::Running);
        daemon.kill().unwrap();
        let watch = watch.unwrap();
        let mut fds = [nix::poll::PollFd::new(watch.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 20_000u16).unwrap(), 1);
        daemon.wait().unwrap();
        assert_eq!(files.watch().0, State::Stopped);
    }
}
