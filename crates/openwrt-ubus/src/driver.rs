//! Moves a connection's bytes over a nonblocking socket, from the caller's own poll loop.
//!
//! ```no_run
//! # use openwrt_ubus::{conn::{Connection, DEFAULT_SOCKET}, driver::{Backoff, Driver, Progress}};
//! # use std::{os::fd::AsFd, time::{Duration, Instant}};
//! # fn wait(_: Option<(std::os::fd::BorrowedFd<'_>, bool)>, _: Option<Instant>) {}
//! let mut connection = Connection::new();
//! let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
//! let mut driver: Option<Driver> = None;
//! loop {
//!     let now = Instant::now();
//!     if driver.is_none() && backoff.is_due(now) {
//!         driver = Driver::connect(DEFAULT_SOCKET).ok();
//!         backoff.tried(now);
//!     }
//!     connection.handle_timeout(now);
//!     if let Some(live) = &mut driver {
//!         match live.on_ready(&mut connection) {
//!             Ok(Progress::Open) => {}
//!             Ok(Progress::Closed) | Err(_) => driver = None,
//!         }
//!     }
//!     if connection.is_ready() {
//!         backoff.succeeded();
//!     }
//!     while let Some(event) = connection.poll_event() {
//!         // ...
//!     }
//!     if let Some(live) = &mut driver {
//!         let _ = live.flush(&mut connection); // what the events' handlers had to say
//!     }
//!     let writing = driver.as_ref().map(|live| (live.as_fd(), live.wants_write()));
//!     let until = if driver.is_some() { connection.poll_timeout() } else { backoff.due() };
//!     wait(writing, until);
//! }
//! ```

use crate::conn::Connection;
use crate::descriptors::{receive, send};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes read at a time. On the stack, so that an idle process holds none of it.
const READ_LEN: usize = 16 << 10;

/// Reads in one go before the caller's loop gets its turn again.
const READS_AT_ONCE: usize = 16;

/// One socket to `ubusd`. When it ends it is thrown away, and the next one serves the same [`Connection`].
#[derive(Debug)]
pub struct Driver {
    stream: UnixStream,
    blocked: bool,
}

/// What became of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It is open.
    Open,
    /// `ubusd` has closed it. The connection knows ([`Connection::disconnected`] was called).
    Closed,
}

impl Driver {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// As `connect(2)`: nothing is there, nobody listens, or no permission.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?)
    }

    /// Takes a connected socket.
    ///
    /// # Errors
    /// When it cannot be made nonblocking.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, blocked: false })
    }

    /// Whether the socket is to be polled for writing as well as for reading.
    pub fn wants_write(&self) -> bool {
        self.blocked
    }

    /// Reads and writes what can be, without blocking. To be called when the socket is ready; no harm otherwise.
    ///
    /// # Errors
    /// The socket is of no use any more, or what came from it is not ubus; drop the driver. The connection knows
    /// already.
    pub fn on_ready(&mut self, connection: &mut Connection) -> io::Result<Progress> {
        let result = self.read(connection);
        match result {
            Ok(Progress::Open) => self.flush(connection),
            Ok(Progress::Closed) | Err(_) => {
                connection.disconnected();
                result
            }
        }
    }

    /// Writes what the connection has to say, as far as the socket takes it. To be called before going to sleep.
    ///
    /// # Errors
    /// As [`Driver::on_ready`].
    pub fn flush(&mut self, connection: &mut Connection) -> io::Result<Progress> {
        let result = self.write(connection);
        if !matches!(result, Ok(Progress::Open)) {
            connection.disconnected();
        }
        result
    }

    fn read(&mut self, connection: &mut Connection) -> io::Result<Progress> {
        let mut buffer = [0; READ_LEN];
        for _ in 0..READS_AT_ONCE {
            let (n, descriptor) = match receive(&self.stream, &mut buffer) {
                Ok((0, _)) => return Ok(Progress::Closed),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Progress::Closed),
                Err(error) => return Err(error),
            };
            let input = buffer.get(..n).unwrap_or_default();
            let with_descriptor = descriptor.is_some();
            let handled = connection.handle_input_with(input, descriptor);
            handled.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            // A read ends behind a descriptor, whatever else is there.
            if n < READ_LEN && !with_descriptor {
                break; // most likely all; otherwise poll will tell
            }
        }
        Ok(Progress::Open)
    }

    fn write(&mut self, connection: &mut Connection) -> io::Result<Progress> {
        self.blocked = false;
        loop {
            let (bytes, descriptor) = connection.transmit_with();
            if bytes.is_empty() {
                return Ok(Progress::Open);
            }
            match send(&self.stream, bytes, descriptor) {
                Ok(n) => connection.consumed(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(Progress::Open);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return Ok(Progress::Closed)
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// When to try to connect again: at once, then after ever longer pauses.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    pause: Duration,
    due: Option<Instant>,
}

impl Backoff {
    /// Pauses double from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, pause: first, due: None }
    }

    /// Whether a try is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// When the next try is due; `None` means at once.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A try begins now. Should it fail, the next one is due after a pause.
    pub fn tried(&mut self, now: Instant) {
        self.due = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(self.longest);
    }

    /// The connection stands (`ubusd` said hello): the next pause is short again.
    pub fn succeeded(&mut self) {
        self.pause = self.first;
    }
}
