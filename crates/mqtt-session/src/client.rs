//! A blocking client, for programs that do one thing and end.

use crate::driver::Driver;
use crate::error::{OptionsError, Reason, Refusal, SendError};
use crate::event::{Event, QoS, Token};
use crate::options::Options;
use crate::session::Session;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A session with its socket. It does not connect a second time: what is lost is an error, and nothing can be sent after it.
/// Messages that come while it waits for something else are kept, however many.
#[derive(Debug)]
pub struct Client {
    session: Session,
    driver: Driver,
    /// Events met while waiting for something else.
    kept: VecDeque<Event>,
}

/// Why it did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The options cannot be used.
    Options(OptionsError),
    /// The broker's name has no address: the name, and the resolver's error if there is one.
    Name(String, Option<io::Error>),
    /// The broker does not want us.
    Refused(Refusal),
    /// There is no connection, or none any more.
    Lost(Reason),
    /// It was not sent.
    Send(SendError),
    /// The broker has not said anything about it in time.
    Timeout,
    /// poll(2) failed.
    Poll(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Name(name, Some(error)) => write!(f, "the broker's name {name} has no address: {error}"),
            Self::Name(name, None) => write!(f, "the broker's name {name} has no address"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Lost(reason) => reason.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Timeout => f.write_str("the broker does not answer in time"),
            Self::Poll(error) => write!(f, "poll: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<OptionsError> for ClientError {
    fn from(error: OptionsError) -> Self {
        Self::Options(error)
    }
}

impl From<SendError> for ClientError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl Client {
    /// Connects to the first of the host's addresses that greets. The name is looked up by the system, which takes as long as it
    /// takes; all else is done within `timeout`.
    ///
    /// # Errors
    /// Of the address that was tried last.
    pub fn connect(host: &str, port: u16, options: Options, timeout: Duration) -> Result<Self, ClientError> {
        options.check()?;
        let addresses = (host, port).to_socket_addrs();
        let addresses: Vec<_> =
            addresses.map_err(|error| ClientError::Name(host.to_owned(), Some(error)))?.collect();
        let until = deadline(timeout);
        let mut failure = ClientError::Name(host.to_owned(), None);
        for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
            // One that does not answer leaves their share to the others.
            let now = Instant::now();
            let share = until.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
            match Self::connect_to(*address, options.clone(), now + share) {
                Ok(client) => return Ok(client),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn connect_to(address: SocketAddr, options: Options, until: Instant) -> Result<Self, ClientError> {
        // It never comes to a second try, so there is nothing to spread.
        let session = Session::new(options, 0, Instant::now())?;
        let mut client = Self { session, driver: Driver::new(address), kept: VecDeque::new() };
        match client.wait_for(until, |event| matches!(event, Event::Connected { .. }))? {
            Some(_) => Ok(client),
            None => Err(ClientError::Timeout),
        }
    }

    /// Publishes with QoS 1 and waits until the broker has it.
    ///
    /// # Errors
    /// [`ClientError`]. Lost or late, the broker may have it all the same.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        retain: bool,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let until = deadline(timeout);
        let token = self.when_there_is_room(until, |session| session.publish(topic, payload, retain))?;
        match self.wait_for(until, |event| *event == Event::Published(token))? {
            Some(_) => Ok(()),
            None => Err(ClientError::Timeout),
        }
    }

    /// Subscribes and waits for what the broker grants for each filter; `None` where it refuses.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn subscribe(
        &mut self,
        filters: &[(&str, QoS)],
        timeout: Duration,
    ) -> Result<Vec<Option<QoS>>, ClientError> {
        let until = deadline(timeout);
        let wanted = self.when_there_is_room(until, |session| session.subscribe(filters))?;
        match self
            .wait_for(until, |event| matches!(event, Event::Subscribed { token, .. } if *token == wanted))?
        {
            Some(Event::Subscribed { granted, .. }) => Ok(granted),
            _ => Err(ClientError::Timeout),
        }
    }

    /// Waits for the next event. `None` when the time is up.
    ///
    /// # Errors
    /// [`ClientError::Lost`] and poll's.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        match self.kept.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.wait_for(deadline(timeout), |_| true),
        }
    }

    /// The session, for what this client has no word for. What it has to say is sent by the next wait.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Leaves, so that the will is not published.
    ///
    /// # Errors
    /// poll's.
    pub fn close(mut self) -> Result<(), ClientError> {
        let now = Instant::now();
        self.session.close(now);
        // The session gives up by itself.
        self.wait_for(deadline(Duration::MAX), |event| matches!(event, Event::Closed { .. })).map(drop)
    }

    /// Tries again for as long as the broker is too slow.
    fn when_there_is_room(
        &mut self,
        until: Instant,
        mut send: impl FnMut(&mut Session) -> Result<Token, SendError>,
    ) -> Result<Token, ClientError> {
        loop {
            match send(&mut self.session) {
                Err(SendError::Full) => {}
                result => return Ok(result?),
            }
            if self.wait_for(until, |event| *event == Event::Room)?.is_none() {
                return Err(ClientError::Timeout);
            }
        }
    }

    /// Waits for an event that is `wanted`; the others are kept for [`Client::next_event`].
    fn wait_for(
        &mut self,
        until: Instant,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Option<Event>, ClientError> {
        loop {
            let now = Instant::now();
            self.driver.turn(&mut self.session, now);
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Lost { reason, .. } => {
                        self.session.close(now);
                        return Err(ClientError::Lost(reason));
                    }
                    Event::Refused(refusal) => {
                        self.session.close(now);
                        return Err(ClientError::Refused(refusal));
                    }
                    event if wanted(&event) => return Ok(Some(event)),
                    event => self.kept.push_back(event),
                }
            }
            if until <= now {
                return Ok(None);
            }
            let due = self.session.poll_timeout().map_or(until, |due| due.min(until));
            self.sleep(due.saturating_duration_since(now))?;
        }
    }

    fn sleep(&self, time: Duration) -> Result<(), ClientError> {
        // Rounded up: it would wake too early, again and again.
        let time = u32::try_from(time.as_millis().saturating_add(1)).ok();
        let time = time.and_then(|time| PollTimeout::try_from(time).ok()).unwrap_or(PollTimeout::MAX);
        let mut sockets = [];
        let mut socket;
        let sockets: &mut [PollFd<'_>] = match self.driver.interest() {
            Some((fd, writing)) => {
                let flags = if writing { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
                socket = [PollFd::new(fd, flags)];
                &mut socket
            }
            None => &mut sockets,
        };
        match poll(sockets, time) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(ClientError::Poll(error.into())),
        }
    }
}

/// An hour is as good as for ever, and does not overflow.
fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + Duration::from_secs(3600))
}
