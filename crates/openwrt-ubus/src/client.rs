//! A blocking client, for programs that do one thing and end.

use crate::conn::{Connection, Event, ObjectInfo, ProtocolError, Reply};
use crate::descriptors::send;
use crate::msg::Status;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the bus may take to read what we send.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with its socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    connection: Connection,
    /// Events met while waiting for something else.
    events: VecDeque<Event>,
}

/// Why a call did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The socket failed, or `ubusd` ended the connection.
    Io(io::Error),
    /// The call ended with a status other than OK; there may be data as well.
    Failed(Reply),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Failed(reply) => reply.status.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Client {
    /// Connects to the socket at `path`, such as [`DEFAULT_SOCKET`](crate::conn::DEFAULT_SOCKET).
    ///
    /// # Errors
    /// As `connect(2)`: nothing is there, nobody listens, or no permission.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        // A bus that does not read must not hold us for ever.
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self { stream, connection: Connection::new(), events: VecDeque::new() })
    }

    /// Calls a method and waits for the end.
    ///
    /// # Errors
    /// [`CallError`]; a call that takes longer than `timeout` fails with status TIMEOUT.
    pub fn call(
        &mut self,
        path: &str,
        method: &str,
        fields: &[u8],
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        self.call_with(path, method, fields, None, timeout)
    }

    /// The same, and hands over a descriptor ([`Connection::call_with`]).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_with(
        &mut self,
        path: &str,
        method: &str,
        fields: &[u8],
        descriptor: Option<OwnedFd>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let wanted = self.connection.call_with(path, method, fields, descriptor, deadline(timeout));
        let ended =
            self.wait_for(None, |event| matches!(event, Event::CallEnded { call, .. } if *call == wanted))?;
        match ended {
            Some(Event::CallEnded { reply, .. }) if reply.status.is_ok() => Ok(reply),
            Some(Event::CallEnded { reply, .. }) => Err(CallError::Failed(reply)),
            _ => Err(CallError::Failed(Reply {
                status: Status::TIMEOUT,
                data: Vec::new(),
                from_callee: false,
            })),
        }
    }

    /// Looks for objects ([`Connection::lookup`]); nothing found is an empty list.
    ///
    /// # Errors
    /// The socket's, and `TimedOut`.
    pub fn lookup(&mut self, pattern: &str, timeout: Duration) -> io::Result<Vec<ObjectInfo>> {
        let wanted = self.connection.lookup(pattern, deadline(timeout));
        let ended = self.wait_for(
            None,
            |event| matches!(event, Event::LookupEnded { lookup, .. } if *lookup == wanted),
        )?;
        match ended {
            Some(Event::LookupEnded { status: Status::OK | Status::NOT_FOUND, objects, .. }) => Ok(objects),
            Some(Event::LookupEnded { status: Status::TIMEOUT, .. }) | None => {
                Err(ErrorKind::TimedOut.into())
            }
            Some(Event::LookupEnded { status, .. }) => Err(io::Error::other(status)),
            Some(_) => Ok(Vec::new()),
        }
    }

    /// The connection, to subscribe, listen, or offer objects. What it has to say is sent by the next wait.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Waits for the next event, until `until` or for ever. `None` when the time is up.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` when `ubusd` ends the connection.
    pub fn next_event(&mut self, until: Option<Instant>) -> io::Result<Option<Event>> {
        match self.events.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.wait_for(until, |_| true),
        }
    }

    /// Sends what is to be sent, such as the answer to a call.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            let (bytes, descriptor) = self.connection.transmit_with();
            if bytes.is_empty() {
                return Ok(());
            }
            match send(&self.stream, bytes, descriptor) {
                Ok(n) => self.connection.consumed(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for an event that is `wanted`; the others are kept for [`Client::next_event`].
    fn wait_for(
        &mut self,
        until: Option<Instant>,
        wanted: impl Fn(&Event) -> bool,
    ) -> io::Result<Option<Event>> {
        loop {
            while let Some(event) = self.connection.poll_event() {
                if wanted(&event) {
                    return Ok(Some(event));
                }
                self.events.push_back(event);
            }
            self.flush()?;
            let due = [until, self.connection.poll_timeout()].into_iter().flatten().min();
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(None);
            }
            if due.is_some_and(|due| due <= now) {
                self.connection.handle_timeout(now);
                continue;
            }
            self.read(due.map(|due| due.saturating_duration_since(now)))?;
        }
    }

    fn read(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // Zero would mean "for ever".
        self.stream.set_read_timeout(timeout.map(|timeout| timeout.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, Ended)),
            Ok(n) => self
                .connection
                .handle_input(buffer.get(..n).unwrap_or_default())
                .map_err(|error: ProtocolError| io::Error::new(ErrorKind::InvalidData, error)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// An hour is as good as for ever, and does not overflow.
fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + Duration::from_secs(3600))
}

/// Why nothing more comes. A type of its own: a text as an error brings a table of Unicode's printable characters along,
/// for its `Debug`.
#[derive(Debug)]
struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ubusd has ended the connection")
    }
}

impl std::error::Error for Ended {}
