//! The daemon: one thread that decides, jobs that do, and the loop between them and the bus.

mod bus;
mod core;
mod event_loop;
mod hotplug;
mod jobs;
mod links;
pub mod log_to;
mod order;
mod reconcile;
mod restarts;
mod start_up;
mod workers;

#[cfg(test)]
mod tests;

pub use self::bus::{objects, of_the_commons};
pub use self::core::Core;
pub use self::event_loop::Signals;

use crate::error::{errno_text, Code, Error, Result};
use crate::machine::Machine;
use crate::steps::avahi::Files;
use crate::steps::config::UciFile;
use crate::steps::filesystem::read_file;
use crate::steps::image::Store;
use crate::steps::layout::Layout;
use crate::steps::lxc::Lxc;
use crate::steps::network::{Host, Leases};
use crate::steps::storage::Disk;
use log::warn;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a daemon waits for an earlier one to end, and how often it looks.
const LOCK_TIME: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Descriptors for some thousand containers.
const FILES: u64 = 16 << 10;

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// ubusd's socket.
    pub socket: PathBuf,
    /// The directory with the file `cloudbox`, `/etc/config` on a box.
    pub config_dir: PathBuf,
    /// The storage directory, instead of the one UCI names.
    pub storage: Option<PathBuf>,
    /// The runtime directory, `/var/run/cloudbox` on a box.
    pub run_dir: PathBuf,
    /// avahi-daemon's configuration, `/etc/avahi` on a box.
    pub avahi: PathBuf,
    /// Where its pid file is, `/var/run/avahi-daemon` on a box.
    pub avahi_run: PathBuf,
    /// Files with host names that dnsmasq reads, `/tmp/hosts` on a box.
    pub hosts: PathBuf,
    /// Where its pid files are, `/var/run/dnsmasq` on a box.
    pub dnsmasq_run: PathBuf,
    /// Its file of leases, `/tmp/dhcp.leases` on a box.
    pub leases: PathBuf,
    /// The owner's scripts, `/etc/hotplug.d/cloudbox` on a box.
    pub hotplug: PathBuf,
    /// Log to standard error instead of syslog.
    pub foreground: bool,
    /// Log more.
    pub verbose: bool,
}

/// Runs the daemon until it is told to end. Containers go on running.
pub fn run(options: Options) -> ExitCode {
    log_to::run_logged(options.foreground, options.verbose, "cannot start", || serve(options))
}

/// Two daemons on one storage would clear away what the other is building. An earlier one that is just ending is
/// waited for.
fn lock(path: &Path) -> Result<Flock<File>> {
    let deadline = Instant::now() + LOCK_TIME;
    loop {
        // One that is there can be locked where nothing can be written.
        let file = File::create(path).or_else(|e| match e.kind() {
            ErrorKind::ReadOnlyFilesystem => File::open(path),
            _ => Err(e),
        });
        let file = file.map_err(|e| Error::io("cannot open", path, e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < deadline => std::thread::sleep(LOCK_AGAIN),
            Err((_, Errno::EWOULDBLOCK)) => {
                let what = "another cloudbox daemon holds";
                let why = format!("{what} {}; stop it first, or name another storage", path.display());
                return Err(Error::new(Code::Busy, why));
            }
            Err((_, errno)) => return Err(Error::io("cannot lock", path, errno)),
        }
    }
}

/// Each running container takes eight descriptors; the usual limits of 1,024 and 4,096 are soon reached.
fn raise_file_limit() {
    use nix::sys::resource::{getrlimit, setrlimit, Resource};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        // More than the hard limit is for those only who may.
        let wanted = hard.max(FILES);
        let more = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted);
        more.or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
    });
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files: {}", errno_text(error));
    }
}

/// Counts in the file at `path` that the daemon starts; tells how often others began since one ended well. procd says
/// nothing of what it starts again.
fn count_start(path: &Path) -> u32 {
    let before = read_file(path, 16).ok().and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
    let before: u32 = before.unwrap_or(0);
    if before > 0 {
        warn!(
            "the daemon is started again: {before} before it did not end well; `logread -e cloudbox` shows what they said last"
        );
    }
    if let Err(error) = std::fs::write(path, before.saturating_add(1).to_string()) {
        warn!("cannot write {}: {error}", path.display());
    }
    before
}

fn serve(options: Options) -> Result<()> {
    raise_file_limit();
    let wake = event_loop::Wake::new()?;
    let signals = event_loop::Signals::catch()?;
    let uci = UciFile::new(options.config_dir.clone());
    let loaded = start_up::load(&uci);
    let storage_given = options.storage.is_some();
    let storage = options.storage.unwrap_or_else(|| loaded.config.settings.storage.clone());
    let layout = Layout { storage, run: options.run_dir };
    let disk = Disk::new(layout.clone())?;
    let lxc = Lxc::new(layout.clone())?;
    let cgroups = lxc.cgroups().clone();
    let disk_reserve = crate::model::size::Bytes(loaded.config.settings.disk_reserve);
    let _lock = lock(&layout.lock())?;
    let starts = layout.starts();
    count_start(&starts);
    let leases = Leases { dnsmasq: options.leases, config: options.config_dir.join("dhcp") };
    let machine = Machine::new(
        Box::new(uci),
        Box::new(disk),
        Box::new(lxc),
        Box::new(Store::new(&layout.storage, &layout.run, disk_reserve)),
        Box::new(Host::with_leases(leases)),
        Box::new(
            Files::new(options.avahi, options.avahi_run).with_dnsmasq(options.hosts, options.dnsmasq_run),
        ),
    );
    let config_path = options.config_dir.join("cloudbox");
    let mut core = Core::new(machine, layout, config_path, Some(cgroups), objects(), wake.sender())?;
    core.storage_is_given(storage_given);
    core.scripts_are_in(options.hotplug);
    core.start_up(loaded)?;
    core.report_health();
    event_loop::run(&mut core, &options.socket, wake, signals)?;
    let _ = std::fs::remove_file(starts);
    Ok(())
}

#[cfg(test)]
mod tests_of_starts {
    use super::{count_start, raise_file_limit};
    use crate::testing::{alone, TempDir};
    use nix::sys::resource::{getrlimit, setrlimit, Resource};

    #[test]
    fn starts_are_counted_until_one_ends_well() {
        let dir = TempDir::make();
        let path = dir.path().join("starts");
        assert_eq!([count_start(&path), count_start(&path), count_start(&path)], [0, 1, 2]);
        std::fs::write(&path, "garbage, and more of it than a number has").unwrap();
        assert_eq!([count_start(&path), count_start(&path)], [0, 1]);
    }

    #[test]
    fn there_are_descriptors_for_many_containers() {
        let name = "daemon::tests_of_starts::there_are_descriptors_for_many_containers";
        if let Some(output) = alone(name) {
            assert!(output.status.success(), "{output:?}");
            return;
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let most = 4096.min(hard);
        setrlimit(Resource::RLIMIT_NOFILE, 256, most).unwrap();
        // Whoever may have more than the hard limit, has more.
        let expected = match setrlimit(Resource::RLIMIT_NOFILE, 256, 16_384) {
            Ok(()) => 16_384,
            Err(_) => most,
        };
        setrlimit(Resource::RLIMIT_NOFILE, 256, most).unwrap();
        raise_file_limit();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((expected, expected)));
    }
}
