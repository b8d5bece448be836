//! Where the log goes.

use crate::error::is_dangerous;
use log::{error, Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

/// Standard error, one line per message.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        // A closed standard error is no reason to fail.
        let _ = writeln!(std::io::stderr(), "cloudbox: {}: {}", record.level(), one_line(record.args()));
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
        Ok(logger) => log::set_boxed_logger(Box::new(Syslog { logger: Mutex::new(logger), connect })).is_ok(),
        Err(_) => false,
    }
}

/// A message on one line, and without what the terminal of whoever reads it would obey: guests' words may be in it.
fn one_line(message: &impl Display) -> String {
    message.to_string().chars().map(|c| if is_dangerous(c) { ' ' } else { c }).collect()
}

type Connection = Logger<LoggerBackend, LogdFormat>;

fn connect() -> syslog::Result<Connection> {
    let logger = syslog::unix(LogdFormat)?;
    match &logger.backend {
        LoggerBackend::Unix(socket) => socket.set_write_timeout(Some(PATIENCE))?,
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_write_timeout(Some(PATIENCE))?,
        LoggerBackend::Udp(..) | LoggerBackend::Tcp(..) => {}
    }
    Ok(logger)
}

/// A line as OpenWrt's logd and every syslogd read it. logd drops 16 bytes behind the priority as the time, stamps its
/// own, and would take a host name for the tag: so a constant time, and no host name. The crate's `Formatter3164` writes
/// the time of day in UTC, reads its format anew for each line, and does not keep to one line.
#[derive(Clone)]
struct LogdFormat;

impl<T: Display> LogFormat<T> for LogdFormat {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, message: T) -> syslog::Result<()> {
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        let line = format!("<{priority}>Jan  1 00:00:00 cloudbox[{}]: {message}", std::process::id());
        // logd reads 1023 bytes at most, and what is not one line would be read as several.
        let line: String = one_line(&line).chars().take(LINE_MAX).collect();
        // At once: what is written is what is sent.
        w.write_all(line.as_bytes())?;
        Ok(())
    }
}

/// How long a message may wait for a log daemon that hangs: it must not take this one with it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Characters of a line; some take more than a byte.
const LINE_MAX: usize = 900;

/// The system's log.
struct Syslog {
    logger: Mutex<Connection>,
    /// Makes the next connection, when this one has ended.
    connect: fn() -> syslog::Result<Connection>,
}

impl Log for Syslog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let mut logger = self.logger.lock().unwrap_or_else(PoisonError::into_inner);
        match write(&mut logger, record) {
            Ok(()) => {}
            Err(syslog::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => {}
            // logd was restarted: its socket is another one now. If it is gone, that is no reason to fail.
            Err(_) => {
                if let Ok(again) = (self.connect)() {
                    *logger = again;
                    let _ = write(&mut logger, record);
                }
            }
        }
    }

    fn flush(&self) {}
}

fn write(logger: &mut Connection, record: &Record) -> syslog::Result<()> {
    let message = record.args();
    match record.level() {
        Level::Error => logger.err(message),
        Level::Warn => logger.warning(message),
        Level::Info => logger.info(message),
        Level::Debug | Level::Trace => logger.debug(message),
    }
}

/// Runs a process of ours to its end, as all of them begin: nothing that it inherited is passed on, and what goes wrong is
/// logged, a panic too. `failed` stands before the error that ends it.
pub fn run_logged(
    foreground: bool,
    verbose: bool,
    failed: &str,
    serve: impl FnOnce() -> crate::error::Result<()>,
) -> ExitCode {
    crate::sys::inherit_no_further(3);
    set_up(foreground, verbose);
    abort_on_panic();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{failed}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A panic is a bug: log it and end, whatever the profile says, so that procd starts a sound daemon. OpenWrt's build
/// unwinds, which would leave a job's thread dead and its caller waiting.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        if !crate::sys::is_worker() {
            error!("bug, the daemon ends: {info}");
        }
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::alone;
    use log::{debug, info};
    use std::os::unix::net::UnixDatagram;
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;

    #[test]
    fn a_line_is_one_datagram_that_logd_can_read() {
        let path = std::env::temp_dir().join(format!("cloudbox-log-{}", std::process::id()));
        let logd = UnixDatagram::bind(&path).unwrap();
        logd.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut logger = syslog::unix_custom(LogdFormat, &path).unwrap();
        std::fs::remove_file(&path).unwrap();
        logger.warning(format_args!("one\ntwo")).unwrap();
        logger.err("x".repeat(5000)).unwrap();
        let mut line = [0; 2000];
        let length = logd.recv(&mut line).unwrap();
        let expected = format!("<28>Jan  1 00:00:00 cloudbox[{}]: one two", std::process::id());
        assert_eq!(String::from_utf8_lossy(&line[..length]), expected);
        let length = logd.recv(&mut line).unwrap();
        assert!(line.starts_with(b"<27>") && length == LINE_MAX, "{length}");
    }

    /// Where this test's log daemon listens.
    fn logd_socket() -> PathBuf {
        std::env::temp_dir().join(format!("cloudbox-logd-{}", std::process::id()))
    }

    fn connect_to_logd() -> syslog::Result<Connection> {
        syslog::unix_custom(LogdFormat, logd_socket())
    }

    #[test]
    fn a_log_daemon_that_is_restarted_is_found_again_and_told_how_bad_it_is() {
        let listen = || {
            let logd = UnixDatagram::bind(logd_socket()).unwrap();
            logd.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            logd
        };
        let mut logd = listen();
        let logger = Mutex::new(connect_to_logd().unwrap());
        let log = Syslog { logger, connect: connect_to_logd };
        for (level, priority) in
            [(Level::Error, "<27>"), (Level::Warn, "<28>"), (Level::Info, "<30>"), (Level::Debug, "<31>")]
        {
            log.log(&Record::builder().level(level).args(format_args!("words")).build());
            let mut line = [0; 100];
            let length = logd.recv(&mut line).unwrap();
            let line = String::from_utf8_lossy(&line[..length]);
            assert!(line.starts_with(priority) && line.ends_with(": words"), "{line}");
            std::fs::remove_file(logd_socket()).unwrap();
            logd = listen();
        }
        std::fs::remove_file(logd_socket()).unwrap();
    }

    #[test]
    fn what_a_guest_said_commands_no_terminal_of_a_log() {
        let said = one_line(&format_args!("it said {}", "\x1b[2J\u{9b}31m\u{202e}\nerr: forged ü"));
        assert_eq!(said, "it said  [2J 31m  err: forged ü");
    }

    #[test]
    fn a_panic_is_logged_and_ends_the_program() {
        let Some(output) = alone("daemon::log_to::tests::a_panic_is_logged_and_ends_the_program") else {
            set_up(true, false);
            info!("told");
            debug!("told to those who want more");
            abort_on_panic();
            let _ = std::thread::spawn(|| panic!("the words of a bug")).join();
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        for part in
            ["cloudbox: INFO: told\n", "cloudbox: ERROR: bug, the daemon ends: ", "the words of a bug"]
        {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("who want more"), "{said}");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
    }

    #[test]
    fn more_is_logged_where_it_is_asked_for() {
        let Some(output) = alone("daemon::log_to::tests::more_is_logged_where_it_is_asked_for") else {
            set_up(true, true);
            return debug!("told to those who want more");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cloudbox: DEBUG: told to those who want more\n"), "{said}");
    }
}
