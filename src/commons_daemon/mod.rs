//! The process `cloudbox commons`: the core of the commons with its brokers, its files and the box's daemon around it.
//!
//! It is not root, and a client of the daemon like others. If it dies, nothing stops. One thread, one poll loop: `links` are the
//! brokers, `bus` the daemon and whoever calls, `disk` what must be found again, `identity` who the box is; `work` makes calls
//! of what the core wants done, and `objects` answers.

mod bus;
mod clock;
mod disk;
mod identity;
mod links;
mod local;
mod objects;
mod process;
mod told;
mod work;

use crate::daemon::{log_to, Signals};
use crate::error::Result;
use openwrt_ubus::Object;
use std::path::PathBuf;
use std::process::ExitCode;

/// How the process is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// ubusd's socket.
    pub socket: PathBuf,
    /// The directory with the box's key and what is kept, `/etc/cloudbox/commons` on a box.
    pub directory: PathBuf,
    /// A file that is there once NTP has answered since the box was switched on.
    pub ntp: PathBuf,
    /// Log to standard error instead of syslog.
    pub foreground: bool,
    /// Log more.
    pub verbose: bool,
}

/// Runs until it is told to end. Containers go on running.
pub fn run(options: Options) -> ExitCode {
    log_to::run_logged(options.foreground, options.verbose, "the commons", || serve(options))
}

/// The objects that it offers on the bus.
pub fn offered() -> [Object; 2] {
    [objects::slice(), objects::commons()]
}

fn serve(options: Options) -> Result<()> {
    let signals = Signals::catch()?;
    process::Process::new(options)?.run(&signals)
}
