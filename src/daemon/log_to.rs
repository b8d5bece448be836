//! Where the log goes.

use log::{error, Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use syslog::{LogFormat, Logger, Severity};

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
        Ok(logger) => log::set_boxed_logger(Box::new(Syslog(Mutex::new(logger)))).is_ok(),
        Err(_) => false,
    }
}

fn connect() -> io::Result<Logger<DevLog, LogdFormat>> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log").or_else(|_| socket.connect("/var/run/log"))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(Logger::new(DevLog(socket), LogdFormat))
}

/// The socket of logd and of every syslogd; one that cannot write to /dev has it in /run. syslog's own backends would bring
/// TCP and UDP along.
struct DevLog(UnixDatagram);

impl Write for DevLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line as OpenWrt's logd and every syslogd read it. logd drops 16 bytes behind the priority as the time, stamps its
/// own, and would take a host name for the tag: so a constant time, and no host name.
#[derive(Clone)]
struct LogdFormat;

impl<T: Display> LogFormat<T> for LogdFormat {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, message: T) -> syslog::Result<()> {
        let priority = syslog::Facility::LOG_DAEMON as u8 | severity as u8;
        let line = format!("<{priority}>Jan  1 00:00:00 cloudbox[{}]: {message}", std::process::id());
        // logd reads 1023 bytes at most, and what is not one line would be read as several.
        let line: String =
            line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect();
        w.write_all(line.as_bytes()).map_err(syslog::Error::Io)
    }
}

/// How long a message may wait for a log daemon that hangs: it must not take this one with it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Characters of a line; some take more than a byte.
const LINE_MAX: usize = 900;

/// The system's log.
struct Syslog(Mutex<Logger<DevLog, LogdFormat>>);

impl Log for Syslog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let mut logger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match write(&mut logger, record) {
            Ok(()) => {}
            Err(syslog::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => {}
            // logd was restarted: its socket is another one now. If it is gone, that is no reason to fail.
            Err(_) => {
                if let Ok(again) = connect() {
                    *logger = again;
                    let _ = write(&mut logger, record);
                }
            }
        }
    }

    fn flush(&self) {}
}

fn write(logger: &mut Logger<DevLog, LogdFormat>, record: &Record) -> syslog::Result<()> {
    let severity = match record.level() {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    };
    logger.formatter.format(&mut logger.backend, severity, record.args())
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
