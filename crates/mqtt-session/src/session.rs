//! The session: a state machine without I/O, clock and randomness of its own.

use crate::backoff::Backoff;
use crate::error::{OptionsError, ProtocolError, Reason, SendError};
use crate::event::{Event, QoS, Token};
use crate::options::{Options, Will};
use crate::packet::{self, Inbox, Incoming, MAX_PACKET_LEN};
use crate::topic::{check_filter, check_topic};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Bytes waiting to be sent above which nothing more is taken.
pub const QUEUE_LIMIT: usize = 256 << 10;

/// How many packets may wait for their acknowledgement.
pub const IN_FLIGHT_LIMIT: usize = 256;

/// What our answers to the broker may add to the queue. Who lets more than that wait does not read.
const ANSWERS_LIMIT: usize = 64 << 10;

/// What the queue keeps of its memory when it has run empty.
const QUEUE_KEPT: usize = 4 << 10;

/// A connection that stood for so long was a good one: the next pause is the first again. Without this, two clients of the same
/// id would throw each other out every second.
const GOOD: Duration = Duration::from_secs(60);

/// Where a session is. The socket is the driver's: it has one in all states but the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no socket.
    Disconnected {
        /// When it is tried again.
        again: Instant,
    },
    /// A socket is being connected.
    Connecting {
        /// Until when at most.
        give_up: Instant,
    },
    /// It is connected, the CONNECT is on its way, and the CONNACK is awaited.
    AwaitingConnack {
        /// Until when at most.
        give_up: Instant,
    },
    /// The broker has greeted.
    Connected {
        /// When it did.
        since: Instant,
        /// When the next ping is due.
        ping: Instant,
        /// Until when something must come, where a ping is not answered yet.
        answer: Option<Instant>,
    },
    /// The DISCONNECT is on its way. The broker closes the connection when it has read it; before that we must not, or it may
    /// get lost and the will be published.
    Closing {
        /// Until when it is waited for.
        give_up: Instant,
    },
    /// We have left, for good.
    Closed,
}

impl State {
    /// Whether messages can be sent.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Whether there is to be a socket.
    pub fn has_socket(&self) -> bool {
        !matches!(self, Self::Disconnected { .. } | Self::Closed)
    }
}

/// A client of one broker.
///
/// **The contract.** After every call of any method, what [`Session::transmit`] returns is to be written to the socket (and
/// reported by [`Session::consumed`]), and [`Session::poll_event`] is to be asked until it returns `None`. When the time of
/// [`Session::poll_timeout`] has come, [`Session::handle_timeout`] is due. When [`Session::state`] comes to be `Connecting`, a
/// socket is to be connected, and its fate told by [`Session::socket_connected`] or [`Session::socket_failed`]; when the
/// state has no socket, it is to be closed. [`Driver`](crate::Driver) does all this but the events.
///
/// What is queued or in flight does not survive a connection: the owner is told, and publishes what still holds.
///
/// Memory is bounded by one incoming packet, the queue ([`QUEUE_LIMIT`]), what is in flight ([`IN_FLIGHT_LIMIT`]), and the
/// events of what was handed in at once: read little at a time.
#[derive(Debug)]
pub struct Session {
    options: Options,
    state: State,
    backoff: Backoff,
    inbox: Inbox,
    out: Vec<u8>,
    /// How much of `out` has been sent.
    sent: usize,
    /// The oldest first, which is what brokers acknowledge first.
    in_flight: VecDeque<InFlight>,
    last_id: u16,
    last_token: u64,
    /// Something was refused as full, and the owner waits for room.
    wanting: bool,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct InFlight {
    id: u16,
    token: Token,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Publish,
    /// With the QoS asked for, filter by filter.
    Subscribe(Vec<QoS>),
    Unsubscribe,
}

/// Bytes, sockets and time.
impl Session {
    /// It begins disconnected, and wants to connect at once. The seed spreads the pauses: it should be another for each client.
    ///
    /// # Errors
    /// The options cannot be used.
    pub fn new(options: Options, seed: u64, now: Instant) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self {
            state: State::Disconnected { again: now },
            backoff: Backoff::new(options.first_pause, options.longest_pause, seed),
            options,
            inbox: Inbox::default(),
            out: Vec::new(),
            sent: 0,
            in_flight: VecDeque::new(),
            last_id: 0,
            last_token: 0,
            wanting: false,
            events: VecDeque::new(),
        })
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The socket is connected. Nothing happens if none was asked for.
    pub fn socket_connected(&mut self, now: Instant) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        packet::put_connect(&mut self.out, &self.options);
        self.state = State::AwaitingConnack { give_up: after(now, self.options.connack_timeout) };
    }

    /// The socket could not be connected, read or written.
    pub fn socket_failed(&mut self, now: Instant, error: &io::Error) {
        let words = error.to_string();
        match self.state {
            State::Connecting { .. } => self.lose(now, Reason::Unreachable(words)),
            _ => self.lose(now, Reason::Socket(words)),
        }
    }

    /// The broker has closed the connection.
    pub fn socket_closed(&mut self, now: Instant) {
        match self.state {
            State::Connecting { .. } | State::AwaitingConnack { .. } => {
                self.lose(now, Reason::ClosedUngreeted)
            }
            _ => self.lose(now, Reason::Closed),
        }
    }

    /// Takes what came from the socket, in pieces of any size. Five bytes may make an event.
    pub fn handle_input(&mut self, now: Instant, mut input: &[u8]) {
        if let State::Connected { answer: Some(answer), .. } = &mut self.state {
            // Whoever sends lives. The answer to a ping may stand behind minutes of messages.
            *answer = after(now, self.options.ping_timeout);
        }
        while matches!(self.state, State::AwaitingConnack { .. } | State::Connected { .. }) {
            let handled = match self.inbox.next(&mut input) {
                Ok(Some(packet)) => self.handle_packet(now, packet),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.lose(now, Reason::Protocol(error));
            } else if self.waiting() > QUEUE_LIMIT + MAX_PACKET_LEN + ANSWERS_LIMIT {
                self.lose(now, Reason::NotReading);
            }
        }
    }

    /// Does what is due: a try to connect, a ping, or the end of waiting.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Disconnected { again } if *again <= now => {
                self.state = State::Connecting { give_up: after(now, self.options.connect_timeout) };
            }
            State::Connecting { give_up } if *give_up <= now => self.lose(now, Reason::ConnectTimeout),
            State::AwaitingConnack { give_up } if *give_up <= now => self.lose(now, Reason::NoConnack),
            State::Connected { answer: Some(answer), .. } if *answer <= now => {
                self.lose(now, Reason::NoAnswer)
            }
            State::Connected { ping, answer, .. } if *ping <= now => {
                *ping = after(now, Duration::from_secs(self.options.keepalive.get().into()));
                answer.get_or_insert(after(now, self.options.ping_timeout));
                self.out.extend_from_slice(packet::PINGREQ);
            }
            State::Closing { give_up } if *give_up <= now => self.end(),
            _ => {}
        }
    }

    /// When [`Session::handle_timeout`] is due. `None` only when we have left.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Disconnected { again } => Some(again),
            State::Connecting { give_up }
            | State::AwaitingConnack { give_up }
            | State::Closing { give_up } => Some(give_up),
            State::Connected { ping, answer, .. } => Some(answer.map_or(ping, |answer| answer.min(ping))),
            State::Closed => None,
        }
    }

    /// What is to be written to the socket.
    pub fn transmit(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// The first `n` bytes of what [`Session::transmit`] returned are written.
    pub fn consumed(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n).min(self.out.len());
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(QUEUE_KEPT);
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        self.tell_room();
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() && self.events.capacity() > 64 {
            self.events.shrink_to(16);
        }
        event
    }
}

/// What the owner wants.
impl Session {
    /// Publishes a message with QoS 1. [`Event::Published`] or the connection's end tells what became of it.
    ///
    /// # Errors
    /// [`SendError`]; nothing is sent then.
    pub fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> Result<Token, SendError> {
        self.check_publish(topic, payload)?;
        let (id, token) = self.take_off(What::Publish)?;
        packet::put_publish(&mut self.out, topic, payload, retain, Some(id));
        Ok(token)
    }

    /// Publishes a message with QoS 0: it arrives, or is lost with the connection, and nobody tells.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub fn publish_unacknowledged(
        &mut self,
        topic: &str,
        payload: &[u8],
        retain: bool,
    ) -> Result<(), SendError> {
        self.check_publish(topic, payload)?;
        self.check_queue()?;
        packet::put_publish(&mut self.out, topic, payload, retain, None);
        Ok(())
    }

    /// Subscribes to filters, for as long as this connection stands. What is retained there comes, and need not come after
    /// [`Event::Subscribed`].
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<Token, SendError> {
        check_filters(filters.iter().map(|(filter, _)| *filter))?;
        let asked = filters.iter().map(|(_, qos)| *qos).collect();
        let (id, token) = self.take_off(What::Subscribe(asked))?;
        packet::put_subscribe(&mut self.out, filters, id);
        Ok(token)
    }

    /// Takes filters back. Messages that were on their way still come.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<Token, SendError> {
        check_filters(filters.iter().copied())?;
        let (id, token) = self.take_off(What::Unsubscribe)?;
        packet::put_unsubscribe(&mut self.out, filters, id);
        Ok(token)
    }

    /// What the broker publishes when we are lost, from the next connection on.
    ///
    /// # Errors
    /// It cannot be used, and the earlier one holds.
    pub fn set_will(&mut self, will: Option<Will>) -> Result<(), OptionsError> {
        let earlier = std::mem::replace(&mut self.options.will, will);
        self.options.check().inspect_err(|_| self.options.will = earlier)
    }

    /// Tries now, if there is a pause: perhaps the network is back.
    pub fn connect_now(&mut self, now: Instant) {
        if let State::Disconnected { again } = &mut self.state {
            *again = now;
        }
    }

    /// Leaves: what waits is sent, the will is not published, and nothing is tried again. [`Event::Closed`] is the last event.
    pub fn close(&mut self, now: Instant) {
        match self.state {
            State::Connected { .. } => {
                self.out.extend_from_slice(packet::DISCONNECT);
                self.state = State::Closing { give_up: after(now, self.options.close_timeout) };
            }
            State::Closing { .. } | State::Closed => {}
            _ => self.end(),
        }
    }
}

/// What the broker says.
impl Session {
    fn handle_packet(&mut self, now: Instant, packet: Incoming) -> Result<(), ProtocolError> {
        if self.state.is_connected() == matches!(packet, Incoming::ConnAck(_)) {
            return Err(ProtocolError::Unexpected(packet.name()));
        }
        match packet {
            Incoming::ConnAck(Ok(session_present)) => {
                let ping = after(now, Duration::from_secs(self.options.keepalive.get().into()));
                self.state = State::Connected { since: now, ping, answer: None };
                self.events.push_back(Event::Connected { session_present });
            }
            Incoming::ConnAck(Err(refusal)) => {
                self.events.push_back(Event::Refused(refusal));
                self.disconnect(now);
            }
            Incoming::Publish(message, id) => {
                self.events.push_back(Event::Message(message));
                self.acknowledge(id);
            }
            Incoming::Skipped(skipped) => {
                self.events.push_back(Event::Skipped { topic: skipped.topic, why: skipped.why });
                self.acknowledge(skipped.id);
            }
            Incoming::PubAck(id) => {
                if let Some(published) = self.land(id, |what| *what == What::Publish) {
                    self.events.push_back(Event::Published(published.token));
                }
            }
            Incoming::SubAck(id, granted) => self.handle_suback(id, granted)?,
            Incoming::UnsubAck(id) => {
                if let Some(unsubscribed) = self.land(id, |what| *what == What::Unsubscribe) {
                    self.events.push_back(Event::Unsubscribed(unsubscribed.token));
                }
            }
            Incoming::PingResp => {
                if let State::Connected { answer, .. } = &mut self.state {
                    *answer = None;
                }
            }
        }
        Ok(())
    }

    fn handle_suback(&mut self, id: u16, granted: Vec<Option<QoS>>) -> Result<(), ProtocolError> {
        let Some(InFlight { token, what: What::Subscribe(asked), .. }) =
            self.land(id, |what| matches!(what, What::Subscribe(_)))
        else {
            return Ok(());
        };
        // None, which is a refusal, is less than any.
        let is_less = |(granted, asked): (&Option<QoS>, &QoS)| *granted <= Some(*asked);
        if granted.len() != asked.len() || !granted.iter().zip(&asked).all(is_less) {
            return Err(ProtocolError::Granted);
        }
        self.events.push_back(Event::Subscribed { token, granted });
        Ok(())
    }

    fn acknowledge(&mut self, id: Option<u16>) {
        if let Some(id) = id {
            packet::put_puback(&mut self.out, id);
        }
    }

    /// Takes out of flight what the broker acknowledges. An acknowledgement of anything else is no news.
    fn land(&mut self, id: u16, is_meant: impl Fn(&What) -> bool) -> Option<InFlight> {
        let index = self.in_flight.iter().position(|flying| flying.id == id && is_meant(&flying.what))?;
        let landed = self.in_flight.remove(index);
        self.tell_room();
        landed
    }
}

/// The connection's end.
impl Session {
    fn lose(&mut self, now: Instant, reason: Reason) {
        match self.state {
            State::Disconnected { .. } | State::Closed => {}
            State::Closing { .. } => self.end(),
            _ => {
                let unacknowledged = self.in_flight.drain(..).map(|flying| flying.token).collect();
                self.events.push_back(Event::Lost { reason, unacknowledged });
                self.disconnect(now);
            }
        }
    }

    fn disconnect(&mut self, now: Instant) {
        if matches!(self.state, State::Connected { since, .. } if now.saturating_duration_since(since) >= GOOD)
        {
            self.backoff.reset();
        }
        self.state = State::Disconnected { again: after(now, self.backoff.next()) };
        self.clear();
    }

    fn end(&mut self) {
        let unacknowledged = self.in_flight.drain(..).map(|flying| flying.token).collect();
        self.events.push_back(Event::Closed { unacknowledged });
        self.state = State::Closed;
        self.clear();
    }

    /// Nothing of one connection may come into the next.
    fn clear(&mut self) {
        self.inbox = Inbox::default();
        self.out = Vec::new();
        self.sent = 0;
        self.in_flight = VecDeque::new();
        self.wanting = false;
    }
}

/// What goes out.
impl Session {
    fn check_publish(&self, topic: &str, payload: &[u8]) -> Result<(), SendError> {
        check_topic(topic).map_err(SendError::Topic)?;
        check_len(packet::publish_len(topic, payload))
    }

    fn check_queue(&mut self) -> Result<(), SendError> {
        if !self.state.is_connected() {
            return Err(SendError::Disconnected);
        }
        if self.waiting() > QUEUE_LIMIT || self.in_flight.len() >= IN_FLIGHT_LIMIT {
            self.wanting = true;
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// A number and a token for what is about to be sent.
    fn take_off(&mut self, what: What) -> Result<(u16, Token), SendError> {
        self.check_queue()?;
        // Far fewer than there are numbers are in flight.
        let id = loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.iter().any(|flying| flying.id == self.last_id) {
                break self.last_id;
            }
        };
        self.last_token += 1;
        let token = Token(self.last_token);
        self.in_flight.push_back(InFlight { id, token, what });
        Ok((id, token))
    }

    fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    fn tell_room(&mut self) {
        if self.wanting && self.waiting() <= QUEUE_LIMIT / 2 && self.in_flight.len() < IN_FLIGHT_LIMIT {
            self.wanting = false;
            self.events.push_back(Event::Room);
        }
    }
}

fn check_filters<'a>(filters: impl Iterator<Item = &'a str> + Clone) -> Result<(), SendError> {
    if filters.clone().next().is_none() {
        return Err(SendError::NoFilter);
    }
    check_len(packet::filters_len(filters.clone()))?;
    for filter in filters {
        check_filter(filter).map_err(SendError::Topic)?;
    }
    Ok(())
}

fn check_len(len: usize) -> Result<(), SendError> {
    match len {
        len if len > MAX_PACKET_LEN => Err(SendError::TooLong(len)),
        _ => Ok(()),
    }
}

/// No time of ours is longer than a day, so it does not overflow where clocks begin at the machine's start.
fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests;
