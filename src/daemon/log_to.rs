//! Where the log goes.

use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;

/// Standard error, one line per message.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        // A closed standard error is no reason to fail.
        let _ = writeln!(std::io::stderr(), "cloudbox: {}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// Logs to syslog, or to standard error when asked to or when there is no syslog.
pub fn set_up(foreground: bool, verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Info };
    if foreground || !to_syslog() {
        let _ = log::set_logger(&Stderr);
    }
    log::set_max_level(level);
}

fn to_syslog() -> bool {
    // OpenWrt's logd drops 16 bytes behind the priority as the time, and would take a host name for the tag.
    let formatter = syslog::Formatter3164 {
        facility: syslog::Facility::LOG_DAEMON,
        hostname: None,
        process: "cloudbox".into(),
        pid: std::process::id(),
    };
    match syslog::unix(formatter) {
        Ok(logger) => log::set_boxed_logger(Box::new(syslog::BasicLogger::new(logger))).is_ok(),
        Err(_) => false,
    }
}

/// A panic is a bug: log it and end, whatever the profile says, so that procd starts a sound daemon. OpenWrt's build
/// unwinds, which would leave a job's thread dead and its caller waiting.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        log::error!("bug, the daemon ends: {info}");
        std::process::abort();
    }));
}
