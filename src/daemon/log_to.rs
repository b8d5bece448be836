//! Where the log goes.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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

/// Logs to syslog, or to standard error when asked to, when a person reads it, or when there is no syslog.
pub fn set_up(foreground: bool, verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Info };
    if foreground || std::io::stderr().is_terminal() || !to_syslog() {
        let _ = log::set_logger(&Stderr);
    }
    log::set_max_level(level);
}

fn to_syslog() -> bool {
    match connect() {
        Ok(socket) => log::set_boxed_logger(Box::new(Syslog(Mutex::new(socket)))).is_ok(),
        Err(_) => false,
    }
}

/// The socket of logd and of every syslogd.
fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log")?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A line as OpenWrt's logd and every syslogd read it. logd drops 16 bytes behind the priority as the time, stamps its
/// own, and would take a host name for the tag: so a constant time, and no host name.
fn line(record: &Record) -> String {
    let severity = match record.level() {
        Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    };
    let priority = libc::LOG_DAEMON | severity;
    let line = format!("<{priority}>Jan  1 00:00:00 cloudbox[{}]: {}", std::process::id(), record.args());
    // logd reads 1023 bytes at most, and what is not one line would be read as several.
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect()
}

/// How long a message may wait for a log daemon that hangs: it must not take this one with it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Characters of a line; some take more than a byte.
const LINE_MAX: usize = 900;

/// The system's log.
struct Syslog(Mutex<UnixDatagram>);

impl Log for Syslog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let line = line(record);
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match socket.send(line.as_bytes()) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            // logd was restarted: its socket is another one now. If it is gone, that is no reason to fail.
            Err(_) => {
                if let Ok(again) = connect() {
                    *socket = again;
                    let _ = socket.send(line.as_bytes());
                }
            }
        }
    }

    fn flush(&self) {}
}

/// A panic is a bug: log it and end, whatever the profile says, so that procd starts a sound daemon. OpenWrt's build
/// unwinds, which would leave a job's thread dead and its caller waiting.
pub fn abort_on_panic() {
    // There it is never asked.
    #[cfg(not(panic = "immediate-abort"))]
    std::panic::set_hook(Box::new(|info| {
        error!("bug, the daemon ends: {info}");
        std::process::abort();
    }));
}
