//! Moves a session's bytes over a nonblocking socket, from the caller's own poll loop.

use crate::session::{Session, State};
use nix::errno::Errno;
use nix::sys::socket::{connect, socket, AddressFamily, SockFlag, SockType, SockaddrStorage};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

/// Bytes read before the owner gets to see the events: each may be a fifth of a message. On the stack, so that an idle process
/// holds none of it.
const READ_LEN: usize = 8 << 10;

/// Connects, reads, writes and closes as its session wants.
///
/// ```no_run
/// # use mqtt_session::{Driver, Options, Session};
/// # use std::{os::fd::BorrowedFd, time::Instant};
/// # fn wait(_: Option<(BorrowedFd<'_>, bool)>, _: Option<Instant>) {}
/// let mut session = Session::new(Options::new("me"), 4711, Instant::now())?;
/// let mut driver = Driver::new("10.0.0.1:1883".parse()?);
/// loop {
///     driver.turn(&mut session, Instant::now());
///     while let Some(event) = session.poll_event() {
///         // ...
///     }
///     driver.flush(&mut session, Instant::now()); // what the events' handlers had to say
///     wait(driver.interest(), session.poll_timeout());
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Driver {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// It waits until the socket can be written.
    blocked: bool,
}

impl Driver {
    /// For the broker at `address`. To find it by its name takes time, and is the caller's.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, blocked: false }
    }

    /// The next try goes there.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Does what is due and what can be done without blocking. To be called when the socket is ready or the session's time has
    /// come; no harm otherwise.
    pub fn turn(&mut self, session: &mut Session, now: Instant) {
        session.handle_timeout(now);
        self.follow(session, now);
        // Not before the session knows that it is connected: what is read would be lost.
        if !matches!(session.state(), State::Connecting { .. }) {
            self.read(session, now);
        }
        self.flush(session, now);
    }

    /// Writes what the session has to say, as far as the socket takes it. To be called before going to sleep, when something
    /// was published since the last turn.
    pub fn flush(&mut self, session: &mut Session, now: Instant) {
        self.write(session, now);
        // What has failed is closed.
        self.follow(session, now);
    }

    /// The socket to be polled for reading, and whether for writing as well. None while there is none.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.stream.as_ref().map(|stream| (stream.as_fd(), self.blocked))
    }

    /// There is a socket when the session wants one.
    fn follow(&mut self, session: &mut Session, now: Instant) {
        let State::Connecting { .. } = session.state() else {
            if !session.state().has_socket() {
                self.stream = None;
                self.blocked = false;
            }
            return;
        };
        let connected = match &self.stream {
            Some(stream) => is_connected(stream),
            None => connect_to(self.address).and_then(|stream| is_connected(self.stream.insert(stream))),
        };
        match connected {
            Ok(connected) => {
                self.blocked = !connected;
                if connected {
                    session.socket_connected(now);
                }
            }
            Err(error) => {
                self.stream = None;
                self.blocked = false;
                session.socket_failed(now, &error);
            }
        }
    }

    fn read(&mut self, session: &mut Session, now: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut buffer = [0; READ_LEN];
        match stream.read(&mut buffer) {
            Ok(0) => session.socket_closed(now),
            Ok(n) => session.handle_input(now, buffer.get(..n).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It was closed with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => session.socket_closed(now),
            Err(error) => session.socket_failed(now, &error),
        }
    }

    fn write(&mut self, session: &mut Session, now: Instant) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if matches!(session.state(), State::Connecting { .. }) {
            return;
        }
        self.blocked = false;
        while session.state().has_socket() && !session.transmit().is_empty() {
            match stream.write(session.transmit()) {
                Ok(n) => session.consumed(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                // The next read has what the broker said before, and tells that it has closed.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return
                }
                Err(error) => return session.socket_failed(now, &error),
            }
        }
    }
}

/// std's own blocks until the other end answers.
fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let stream = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
    // Packets are small, and each is meant to go now.
    stream.set_nodelay(true)?;
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connect that was begun has ended well.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
