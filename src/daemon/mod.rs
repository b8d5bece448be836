//! The daemon: one thread that decides, jobs that do, and the loop between them and the bus.

mod answers;
mod calls;
mod core;
mod decide;
mod doctor;
mod event_loop;
mod jobs;
mod log_to;
mod start_up;
mod work;

#[cfg(test)]
mod tests;

pub use self::core::Core;

use crate::error::Result;
use crate::machine::Machine;
use crate::steps::config::UciFile;
use crate::steps::image::Store;
use crate::steps::layout::Layout;
use crate::steps::lxc::Lxc;
use crate::steps::network::Host;
use crate::steps::storage::Disk;
use std::path::PathBuf;
use std::process::ExitCode;

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
    /// Log to standard error instead of syslog.
    pub foreground: bool,
    /// Log more.
    pub verbose: bool,
}

/// Runs the daemon until it is told to end. Containers go on running.
pub fn run(options: Options) -> ExitCode {
    log_to::set_up(options.foreground, options.verbose);
    log_to::abort_on_panic();
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Each running container takes two descriptors; the usual soft limit of 1,024 is soon reached.
fn raise_file_limit() {
    use nix::sys::resource::{getrlimit, setrlimit, Resource};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("cannot raise the limit of open files: {error}");
    }
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
    let lxc = Lxc::new(layout.clone())?;
    let cgroups = lxc.cgroups().clone();
    let disk_reserve = crate::model::size::Bytes(loaded.config.settings.disk_reserve);
    let machine = Machine::new(
        Box::new(uci),
        Box::new(Disk::new(layout.clone())?),
        Box::new(lxc),
        Box::new(Store::new(&layout.storage, &layout.run, disk_reserve)),
        Box::new(Host),
    );
    let config_path = options.config_dir.join("cloudbox");
    let mut core = Core::new(machine, layout, config_path, Some(cgroups), wake.sender())?;
    core.storage_given = storage_given;
    core.start_up(loaded)?;
    event_loop::run(&mut core, &options.socket, wake, signals)
}
