//! A client's connection to `ubusd`, without I/O and without a clock.
//!
//! **The contract.** Bytes from the socket go into [`Connection::handle_input`]. After every call of any method, what
//! [`Connection::transmit`] returns is to be written to the socket (and reported by [`Connection::consumed`]), and
//! [`Connection::poll_event`] is to be asked until it returns `None`. When the time of [`Connection::poll_timeout`]
//! has come, [`Connection::handle_timeout`] is due. When the socket ends, [`Connection::disconnected`] must be
//! called; the same `Connection` is then used with the next socket. [`driver::Driver`](crate::driver::Driver) does
//! the part with the socket.
//!
//! What is declared (objects, subscriptions, event patterns) stays declared until it is taken back, and is published
//! after every hello of `ubusd`; our handles for it ([`ObjectId`], [`SubscriptionId`]) stay the same, whatever ids
//! `ubusd` hands out. What is in flight does not survive: calls end with CONNECTION_FAILED.
//!
//! Memory is bounded by what is declared and in flight, one incoming message, and the transmit queue.

mod event;
mod object;
mod request;

pub use event::{Caller, Event, ObjectInfo, Reply};
pub use object::Object;
pub use request::Request;

use crate::blob::{self, MAX_MESSAGE_LEN};
use crate::blobmsg::{Builder, Fields};
use crate::error::Error;
use crate::msg::{
    self, attr, kind, system_object, Attributes, Frame, Header, Inbox, Incoming, Invoke, Status, TooLong,
};
use crate::to_fields;
use litemap::LiteMap;
use request::{Abandoned, Ticket};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

pub use crate::msg::ProtocolError;

/// Where `ubusd` listens, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/ubus/ubus.sock";

/// Bytes waiting to be sent above which [`Connection::notify`] and [`Connection::send_event`] refuse.
pub const QUEUE_LIMIT: usize = 256 << 10;

/// What the transmit queue keeps of its size when it has run empty.
const QUEUE_KEPT: usize = 16 << 10;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);
    )* };
}

handles! {
    /// An object we declared. Stays the same over reconnects.
    ObjectId;
    /// A call we made.
    CallId;
    /// A lookup we made.
    LookupId;
    /// A subscription we declared. Stays the same over reconnects.
    SubscriptionId;
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Longer than ubus allows ([`MAX_MESSAGE_LEN`]).
    TooLong,
    /// More than [`QUEUE_LIMIT`] bytes wait to be sent already; this one was dropped.
    Full,
    /// There is no connection to `ubusd` now.
    Disconnected,
    /// The name has a NUL inside, and C readers would cut it there.
    Nul,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is longer than ubus allows (1 MiB)",
            Self::Full => "too much waits to be sent over ubus already",
            Self::Disconnected => "there is no connection to ubusd",
            Self::Nul => "a name with a NUL byte inside cannot be sent over ubus",
        })
    }
}

impl std::error::Error for SendError {}

impl From<TooLong> for SendError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// See the [module's documentation](self).
#[derive(Debug, Default)]
pub struct Connection {
    inbox: Inbox,
    out: Vec<u8>,
    /// How much of `out` has been sent.
    sent: usize,
    /// Descriptors, each with where its message begins and ends in `out`.
    handed: VecDeque<(usize, usize, Arc<OwnedFd>)>,
    /// The one that came with the beginning of a message that is not whole yet.
    received: Option<OwnedFd>,
    events: VecDeque<Event>,
    /// `ubusd` has said hello on this socket.
    ready: bool,
    /// Counts the sockets, so that a request from an earlier one is known.
    epoch: u32,
    seq: u16,
    last_handle: u32,
    /// Our requests that `ubusd` has not ended yet, by sequence number.
    requests: LiteMap<u16, Waiting>,
    objects: Vec<Declared>,
    calls: LiteMap<CallId, Call>,
    lookups: LiteMap<LookupId, Lookup>,
    /// Ids of objects called before, by path. An id is random, so an outdated one meets nothing rather than another.
    known: LiteMap<String, u32>,
    subscriptions: Vec<Subscription>,
    ear: Ear,
    abandoned: Abandoned,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The answer's peer must be this: a late answer to an earlier user of the same number has another.
    peer: u32,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Publish(ObjectId),
    Find(CallId),
    Invoke(CallId),
    Lookup(LookupId),
    MakeEar,
    /// Registering the ear's pattern of this index.
    Listen(usize),
    MakeSubscriber(SubscriptionId),
    FindTarget(SubscriptionId),
    Subscribe(SubscriptionId),
    /// Nothing to be done whatever the outcome.
    Nothing,
}

#[derive(Debug)]
struct Declared {
    handle: ObjectId,
    object: Object,
    id: Option<u32>,
    publishing: bool,
    subscribers: bool,
}

#[derive(Debug)]
struct Call {
    path: String,
    method: String,
    fields: Vec<u8>,
    /// Handed over with it.
    descriptor: Option<Arc<OwnedFd>>,
    deadline: Instant,
    /// The request in flight for it; none before the hello.
    seq: Option<u16>,
    found: Option<u32>,
    /// The id came from an earlier lookup, and may be outdated.
    from_memory: bool,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Lookup {
    pattern: String,
    deadline: Instant,
    seq: Option<u16>,
    objects: Vec<ObjectInfo>,
}

/// Each has an object of its own: a notification names the subscriber, not the object it is about.
#[derive(Debug)]
struct Subscription {
    handle: SubscriptionId,
    path: String,
    subscriber: Option<u32>,
    state: Link,
    /// An object of that path appeared while an earlier one was asked for.
    appeared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Idle,
    Looking(Option<u32>),
    Asking(u32),
    Linked(u32),
}

/// The object that events are delivered to.
#[derive(Debug, Default)]
struct Ear {
    made: bool,
    id: Option<u32>,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// Asked for by our user; otherwise only we need it.
    wanted: bool,
}

impl Pattern {
    fn matches(&self, id: &[u8]) -> bool {
        match self.text.strip_suffix('*') {
            Some(prefix) => id.starts_with(prefix.as_bytes()),
            None => id == self.text.as_bytes(),
        }
    }
}

const OBJECT_ADDED: &str = "ubus.object.add";

/// Bytes and time.
impl Connection {
    /// Waits for the first socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what came from the socket, in pieces of any size.
    ///
    /// # Errors
    /// The stream cannot be followed any further: close the socket and call [`Connection::disconnected`].
    pub fn handle_input(&mut self, input: &[u8]) -> Result<(), ProtocolError> {
        self.handle_input_with(input, None)
    }

    /// The same with a descriptor that came with it: it belongs to the message that began last, since `ubusd` sends it
    /// with the first byte of one, and a read ends behind what had one.
    ///
    /// # Errors
    /// As [`Connection::handle_input`].
    pub fn handle_input_with(
        &mut self,
        mut input: &[u8],
        mut descriptor: Option<OwnedFd>,
    ) -> Result<(), ProtocolError> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let result = loop {
            match inbox.next(&mut input) {
                Ok(Some(frame)) => {
                    let earlier = self.received.take();
                    let with = earlier.or_else(|| descriptor.take_if(|_| input.is_empty()));
                    self.handle_frame(frame, with);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.received = descriptor.or_else(|| self.received.take());
        self.inbox = inbox;
        result
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() && self.events.capacity() > 64 {
            self.events.shrink_to(16);
        }
        event
    }

    /// What is to be written to the socket.
    pub fn transmit(&mut self) -> &[u8] {
        self.transmit_with().0
    }

    /// What is to be written to the socket, and the descriptor to be sent along with its first byte. What is behind it
    /// comes the next time.
    pub fn transmit_with(&mut self) -> (&[u8], Option<BorrowedFd<'_>>) {
        for ticket in self.abandoned.take() {
            self.end_request(ticket, Status::UNKNOWN_ERROR);
        }
        match self.handed.front() {
            Some((start, end, descriptor)) if *start == self.sent => {
                (&self.out[self.sent..*end], Some(descriptor.as_fd()))
            }
            Some((start, ..)) => (&self.out[self.sent..*start], None),
            None => (&self.out[self.sent..], None),
        }
    }

    /// The first `n` bytes of what [`Connection::transmit`] returned are written.
    pub fn consumed(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n).min(self.out.len());
        while self.handed.front().is_some_and(|(start, ..)| *start < self.sent) {
            self.handed.pop_front();
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(QUEUE_KEPT);
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            for (start, end, _) in &mut self.handed {
                (*start, *end) = (*start - self.sent, *end - self.sent);
            }
            self.sent = 0;
        }
    }

    /// When [`Connection::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().map(|call| call.deadline);
        calls.chain(self.lookups.values().map(|lookup| lookup.deadline)).min()
    }

    /// Ends what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = |deadline: Instant| deadline <= now;
        let calls: Vec<_> = self.calls.iter().filter(|(_, c)| late(c.deadline)).map(|(id, _)| *id).collect();
        for call in calls {
            self.end_call(call, Status::TIMEOUT, false);
        }
        let lookups: Vec<_> =
            self.lookups.iter().filter(|(_, l)| late(l.deadline)).map(|(id, _)| *id).collect();
        for lookup in lookups {
            self.end_lookup(lookup, Status::TIMEOUT);
        }
    }

    /// The socket has ended. Calls and lookups in flight end with CONNECTION_FAILED; those not yet sent wait for the
    /// next socket, or their deadline.
    ///
    /// Nobody is told that objects and subscriptions are without a bus now; [`Event::Connected`], [`Event::Published`]
    /// and [`Event::Subscribed`] tell when they are back. Harmless when called twice.
    pub fn disconnected(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.ready = false;
        self.inbox = Inbox::default();
        self.out = Vec::new();
        self.sent = 0;
        self.handed.clear();
        self.received = None;
        self.requests.clear();
        self.known.clear();
        for declared in &mut self.objects {
            declared.id = None;
            declared.publishing = false;
            declared.subscribers = false;
        }
        for subscription in &mut self.subscriptions {
            subscription.subscriber = None;
            subscription.state = Link::Idle;
            subscription.appeared = false;
        }
        self.ear.made = false;
        self.ear.id = None;
        let calls: Vec<_> = self.calls.iter().filter(|(_, c)| c.seq.is_some()).map(|(id, _)| *id).collect();
        for call in calls {
            self.end_call(call, Status::CONNECTION_FAILED, false);
        }
        let lookups: Vec<_> =
            self.lookups.iter().filter(|(_, l)| l.seq.is_some()).map(|(id, _)| *id).collect();
        for lookup in lookups {
            self.end_lookup(lookup, Status::CONNECTION_FAILED);
        }
    }

    /// Whether `ubusd` has said hello on the present socket.
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

/// Serving.
impl Connection {
    /// Declares an object. [`Event::Published`] or [`Event::PublishFailed`] follows now or after the next hello.
    pub fn add_object(&mut self, object: Object) -> ObjectId {
        let handle = ObjectId(self.next_handle());
        self.objects.push(Declared { handle, object, id: None, publishing: false, subscribers: false });
        self.publish(handle);
        handle
    }

    /// Takes an object back. Calls of it that are not answered yet will not be heard any more.
    pub fn remove_object(&mut self, object: ObjectId) {
        let Some(index) = self.objects.iter().position(|declared| declared.handle == object) else {
            return;
        };
        // One whose id is not known yet is removed when the id comes.
        if let Some(id) = self.objects.remove(index).id {
            self.remove_id(id);
        }
    }

    /// Tries again to publish an object that was refused. Does nothing for one that is published.
    pub fn publish_again(&mut self, object: ObjectId) {
        self.publish(object);
    }

    /// Whether the object is on the bus now.
    pub fn is_published(&self, object: ObjectId) -> bool {
        self.declared(object).is_some_and(|declared| declared.id.is_some())
    }

    /// Answers with `fields`. May be repeated, and must be followed by [`Connection::complete`]; a caller sees the
    /// fields even when that completes with an error.
    ///
    /// # Errors
    /// [`SendError::TooLong`]; nothing was sent.
    pub fn reply(&mut self, request: &Request, fields: &[u8]) -> Result<(), SendError> {
        let Some(ticket) = request.ticket(&self.abandoned).filter(|ticket| self.can_be_heard(ticket)) else {
            return Ok(());
        };
        let start = msg::begin(&mut self.out, Header::new(kind::DATA, ticket.seq, ticket.peer));
        blob::put_u32(&mut self.out, attr::OBJID, ticket.object);
        put_data(&mut self.out, fields);
        Ok(msg::end(&mut self.out, start)?)
    }

    /// Ends the request.
    pub fn complete(&mut self, request: Request, status: Status) {
        if let Some(ticket) = request.into_ticket(&self.abandoned) {
            self.end_request(ticket, status);
        }
    }

    /// Answers with a value and ends the request: with OK, or, when the value cannot be sent, UNKNOWN_ERROR.
    ///
    /// # Errors
    /// Why the value cannot be sent.
    pub fn answer<T: Serialize + ?Sized>(&mut self, request: Request, value: &T) -> Result<(), Error> {
        let sent = to_fields(value)
            .and_then(|fields| self.reply(&request, &fields).map_err(|error| Error::new(error.to_string())));
        self.complete(request, if sent.is_ok() { Status::OK } else { Status::UNKNOWN_ERROR });
        sent
    }

    /// Whether anybody has subscribed to the object.
    pub fn has_subscribers(&self, object: ObjectId) -> bool {
        self.declared(object).is_some_and(|declared| declared.subscribers)
    }

    /// Notifies the object's subscribers. Costs nothing without any.
    ///
    /// # Errors
    /// [`SendError::Full`] when the queue is, [`SendError::TooLong`], [`SendError::Nul`]; nothing was sent.
    pub fn notify(&mut self, object: ObjectId, name: &str, fields: &[u8]) -> Result<(), SendError> {
        let Some(&Declared { id: Some(id), subscribers: true, .. }) = self.declared(object) else {
            return Ok(());
        };
        self.check_queue()?;
        check_name(name)?;
        // Without an answer to wait for, the number need not be kept; it only must not be that of another request.
        let seq = self.next_seq().ok_or(SendError::Full)?;
        let start = msg::begin(&mut self.out, Header::new(kind::NOTIFY, seq, id));
        blob::put_u32(&mut self.out, attr::OBJID, id);
        blob::put_str(&mut self.out, attr::METHOD, name.as_bytes());
        blob::put(&mut self.out, attr::NO_REPLY, &[1]);
        put_data(&mut self.out, fields);
        Ok(msg::end(&mut self.out, start)?)
    }

    fn declared(&self, object: ObjectId) -> Option<&Declared> {
        self.objects.iter().find(|declared| declared.handle == object)
    }

    fn publish(&mut self, object: ObjectId) {
        if !self.ready {
            return;
        }
        let Some(index) = self.objects.iter().position(|declared| declared.handle == object) else {
            return;
        };
        if self.objects[index].id.is_some() || self.objects[index].publishing {
            return;
        }
        let Some(seq) = self.await_answer(0, Purpose::Publish(object)) else {
            return;
        };
        let declared = &mut self.objects[index];
        declared.publishing = true;
        let start = msg::begin(&mut self.out, Header::new(kind::ADD_OBJECT, seq, 0));
        blob::put_str(&mut self.out, attr::OBJPATH, declared.object.path().as_bytes());
        let signature = blob::open(&mut self.out, attr::SIGNATURE, false);
        declared.object.put_signature(&mut self.out);
        blob::close(&mut self.out, signature);
        let impossible = declared.object.path().contains('\0');
        if impossible {
            self.out.truncate(start);
        }
        if impossible || msg::end(&mut self.out, start).is_err() {
            self.finish(seq, 0, Status::INVALID_ARGUMENT, false);
        }
    }

    fn remove_id(&mut self, id: u32) {
        self.send_ids(kind::REMOVE_OBJECT, Purpose::Nothing, &[(attr::OBJID, id)]);
    }

    fn can_be_heard(&self, ticket: &Ticket) -> bool {
        ticket.epoch == self.epoch && !ticket.no_reply
    }

    fn end_request(&mut self, ticket: Ticket, status: Status) {
        if self.can_be_heard(&ticket) {
            self.send_status(ticket.seq, ticket.peer, ticket.object, status);
        }
    }

    fn send_status(&mut self, seq: u16, peer: u32, object: u32, status: Status) {
        let start = msg::begin(&mut self.out, Header::new(kind::STATUS, seq, peer));
        blob::put_u32(&mut self.out, attr::STATUS, status.0);
        blob::put_u32(&mut self.out, attr::OBJID, object);
        blob::close(&mut self.out, start + msg::HEADER_LEN);
    }
}

/// Calling, listening, subscribing.
impl Connection {
    /// Calls a method of the object at `path` with encoded `fields`. Ends with [`Event::CallEnded`], in every case
    /// and exactly once.
    pub fn call(&mut self, path: &str, method: &str, fields: &[u8], deadline: Instant) -> CallId {
        self.call_with(path, method, fields, None, deadline)
    }

    /// The same, and hands over a descriptor: the callee gets an open file that we could open, and needs no right of its
    /// own to it.
    pub fn call_with(
        &mut self,
        path: &str,
        method: &str,
        fields: &[u8],
        descriptor: Option<OwnedFd>,
        deadline: Instant,
    ) -> CallId {
        let id = CallId(self.next_handle());
        let call = Call {
            path: path.to_owned(),
            method: method.to_owned(),
            fields: fields.to_owned(),
            descriptor: descriptor.map(Arc::new),
            deadline,
            seq: None,
            found: None,
            from_memory: false,
            data: Vec::new(),
        };
        self.calls.insert(id, call);
        if !is_path(path) {
            self.end_call(id, Status::NOT_FOUND, false);
        } else if method.contains('\0') {
            self.end_call(id, Status::METHOD_NOT_FOUND, false);
        } else if self.ready {
            self.start_call(id);
        }
        id
    }

    /// Looks for objects: by path, by the beginning of a path (`net*`), or all (`*` or nothing). Ends with
    /// [`Event::LookupEnded`].
    pub fn lookup(&mut self, pattern: &str, deadline: Instant) -> LookupId {
        let id = LookupId(self.next_handle());
        self.lookups
            .insert(id, Lookup { pattern: pattern.to_owned(), deadline, seq: None, objects: Vec::new() });
        if self.ready {
            self.start_lookup(id);
        }
        id
    }

    /// Subscribes to the notifications of the object at `path`, for as long as it is there and whenever it comes back.
    pub fn subscribe(&mut self, path: &str) -> SubscriptionId {
        let handle = SubscriptionId(self.next_handle());
        self.subscriptions.push(Subscription {
            handle,
            path: path.to_owned(),
            subscriber: None,
            state: Link::Idle,
            appeared: false,
        });
        self.add_pattern(OBJECT_ADDED, false);
        self.make_subscriber(handle);
        handle
    }

    /// Takes a subscription back.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) {
        let Some(index) = self.subscriptions.iter().position(|s| s.handle == subscription) else {
            return;
        };
        // Its object's end is its end.
        if let Some(id) = self.subscriptions.remove(index).subscriber {
            self.remove_id(id);
        }
    }

    /// Sends an event. Nobody hears whether anybody heard it.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    pub fn send_event(&mut self, id: &str, fields: &[u8]) -> Result<(), SendError> {
        if !self.ready {
            return Err(SendError::Disconnected);
        }
        self.check_queue()?;
        check_name(id)?;
        let mut arguments = Builder::new();
        arguments.str("id", id);
        let arguments = arguments.finish().map_err(|_| SendError::TooLong)?;
        let seq = self.next_seq().ok_or(SendError::Full)?;
        let start = self.begin_invoke(seq, system_object::EVENT, b"send");
        let data = blob::open(&mut self.out, attr::DATA, false);
        self.out.extend_from_slice(&arguments);
        // A field "data" of type table, its fields copied as they are.
        let table = blob::open(&mut self.out, crate::blobmsg::Type::Table as u8, true);
        self.out.extend_from_slice(b"\0\x04data\0\0");
        self.out.extend_from_slice(fields);
        blob::close(&mut self.out, table);
        blob::close(&mut self.out, data);
        msg::end(&mut self.out, start)?;
        self.requests.insert(seq, Waiting { peer: system_object::EVENT, purpose: Purpose::Nothing });
        Ok(())
    }

    /// Listens to events: of one name, of names that begin alike (`net*`), or all (`*`). For good: ubus cannot take a
    /// pattern back. A pattern registered already is not registered twice.
    pub fn register_event(&mut self, pattern: &str) {
        self.add_pattern(pattern, true);
    }

    fn start_call(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let Some(object) = self.known.get(&call.path).copied() {
            call.from_memory = true;
            self.invoke(id, object);
            return;
        }
        call.from_memory = false;
        let path = call.path.clone();
        match self.send_lookup(&path, Purpose::Find(id)) {
            Ok(seq) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.seq = Some(seq);
                }
            }
            Err(status) => self.end_call(id, status, false),
        }
    }

    fn invoke(&mut self, id: CallId, object: u32) {
        let Some(seq) = self.await_answer(object, Purpose::Invoke(id)) else {
            return self.end_call(id, Status::NO_MEMORY, false);
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.seq = Some(seq);
        let method = std::mem::take(&mut call.method);
        let fields = std::mem::take(&mut call.fields);
        let descriptor = call.descriptor.clone();
        let start = self.begin_invoke(seq, object, method.as_bytes());
        put_data(&mut self.out, &fields);
        if msg::end(&mut self.out, start).is_err() {
            return self.end_call(id, Status::INVALID_ARGUMENT, false);
        }
        self.handed.extend(descriptor.map(|descriptor| (start, self.out.len(), descriptor)));
        if let Some(call) = self.calls.get_mut(&id).filter(|call| call.from_memory) {
            // To be said again, should the id be outdated.
            call.method = method;
            call.fields = fields;
        }
    }

    fn begin_invoke(&mut self, seq: u16, object: u32, method: &[u8]) -> usize {
        let start = msg::begin(&mut self.out, Header::new(kind::INVOKE, seq, object));
        blob::put_u32(&mut self.out, attr::OBJID, object);
        blob::put_str(&mut self.out, attr::METHOD, method);
        start
    }

    fn end_call(&mut self, id: CallId, status: Status, from_callee: bool) {
        if let Some(call) = self.calls.remove(&id) {
            if let Some(seq) = call.seq {
                self.requests.remove(&seq);
            }
            let reply = Reply { status, data: call.data, from_callee };
            self.events.push_back(Event::CallEnded { call: id, reply });
        }
    }

    fn start_lookup(&mut self, id: LookupId) {
        let Some(lookup) = self.lookups.get(&id) else {
            return;
        };
        let pattern = lookup.pattern.clone();
        match self.send_lookup(&pattern, Purpose::Lookup(id)) {
            Ok(seq) => {
                if let Some(lookup) = self.lookups.get_mut(&id) {
                    lookup.seq = Some(seq);
                }
            }
            Err(status) => self.end_lookup(id, status),
        }
    }

    fn end_lookup(&mut self, id: LookupId, status: Status) {
        if let Some(lookup) = self.lookups.remove(&id) {
            if let Some(seq) = lookup.seq {
                self.requests.remove(&seq);
            }
            self.events.push_back(Event::LookupEnded { lookup: id, status, objects: lookup.objects });
        }
    }

    fn send_lookup(&mut self, pattern: &str, purpose: Purpose) -> Result<u16, Status> {
        let seq = self.await_answer(0, purpose).ok_or(Status::NO_MEMORY)?;
        let start = msg::begin(&mut self.out, Header::new(kind::LOOKUP, seq, 0));
        if !matches!(pattern, "" | "*") {
            blob::put_str(&mut self.out, attr::OBJPATH, pattern.as_bytes());
        }
        if msg::end(&mut self.out, start).is_err() {
            self.requests.remove(&seq);
            return Err(Status::INVALID_ARGUMENT);
        }
        Ok(seq)
    }

    fn add_pattern(&mut self, text: &str, wanted: bool) {
        match self.ear.patterns.iter_mut().find(|pattern| pattern.text == text) {
            Some(pattern) => pattern.wanted |= wanted,
            None => {
                self.ear.patterns.push(Pattern { text: text.to_owned(), wanted });
                self.listen(self.ear.patterns.len() - 1);
            }
        }
        self.make_ear();
    }

    fn make_ear(&mut self) {
        if self.ready && !self.ear.made && !self.ear.patterns.is_empty() {
            self.ear.made = self.send_ids(kind::ADD_OBJECT, Purpose::MakeEar, &[]);
        }
    }

    /// Registers a pattern, once there is an ear to deliver to.
    fn listen(&mut self, index: usize) {
        let (Some(ear), Some(pattern)) = (self.ear.id, self.ear.patterns.get(index)) else {
            return;
        };
        let mut arguments = Builder::new();
        arguments.int("object", i64::from(ear as i32)).str("pattern", &pattern.text);
        let Ok(fields) = arguments.finish() else {
            return self.listen_failed(index, Status::INVALID_ARGUMENT);
        };
        let Some(seq) = self.await_answer(system_object::EVENT, Purpose::Listen(index)) else {
            return self.listen_failed(index, Status::NO_MEMORY);
        };
        let start = self.begin_invoke(seq, system_object::EVENT, b"register");
        put_data(&mut self.out, &fields);
        if msg::end(&mut self.out, start).is_err() {
            self.finish(seq, system_object::EVENT, Status::INVALID_ARGUMENT, false);
        }
    }

    fn listen_failed(&mut self, index: usize, status: Status) {
        // Our own pattern only serves to subscribe again; whoever may not listen does without.
        if let Some(pattern) = self.ear.patterns.get(index).filter(|pattern| pattern.wanted) {
            self.events.push_back(Event::ListenFailed { pattern: pattern.text.clone(), status });
        }
    }

    fn make_subscriber(&mut self, handle: SubscriptionId) {
        if self.ready {
            self.send_ids(kind::ADD_OBJECT, Purpose::MakeSubscriber(handle), &[]);
        }
    }

    fn subscription(&mut self, handle: SubscriptionId) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.handle == handle)
    }

    /// Looks for what is to be subscribed to. Sent after the ear's registration, so that an object which appears
    /// later than the lookup is heard of.
    fn find_target(&mut self, handle: SubscriptionId) {
        let Some(path) = self.subscription(handle).map(|subscription| subscription.path.clone()) else {
            return;
        };
        let sent = is_path(&path) && self.send_lookup(&path, Purpose::FindTarget(handle)).is_ok();
        if sent {
            self.set_link(handle, Link::Looking(None));
        } else {
            self.subscribe_failed(handle, Status::NOT_FOUND);
        }
    }

    fn link(&mut self, handle: SubscriptionId, target: u32) {
        let Some(subscriber) = self.subscription(handle).and_then(|subscription| subscription.subscriber)
        else {
            return;
        };
        let ids = [(attr::OBJID, subscriber), (attr::TARGET, target)];
        if self.send_ids(kind::SUBSCRIBE, Purpose::Subscribe(handle), &ids) {
            self.set_link(handle, Link::Asking(target));
        }
    }

    fn set_link(&mut self, handle: SubscriptionId, state: Link) {
        if let Some(subscription) = self.subscription(handle) {
            subscription.state = state;
        }
    }

    fn subscribe_failed(&mut self, handle: SubscriptionId, status: Status) {
        let Some(subscription) = self.subscription(handle) else {
            return;
        };
        subscription.state = Link::Idle;
        if std::mem::take(&mut subscription.appeared) {
            return self.find_target(handle);
        }
        self.events.push_back(Event::SubscribeFailed { subscription: handle, status });
    }
}

/// What comes in.
impl Connection {
    fn handle_frame(&mut self, frame: Frame<'_>, descriptor: Option<OwnedFd>) {
        let Header { version, seq, peer, .. } = frame.header;
        if version != 0 {
            return;
        }
        match Incoming::from(frame) {
            Incoming::Hello => self.handle_hello(peer),
            Incoming::Status { status, object } => self.finish(seq, peer, status, object.is_some()),
            Incoming::Data(attributes) => self.handle_data(seq, peer, &attributes),
            Incoming::Invoke(invoke) => self.handle_invoke(seq, peer, invoke, descriptor),
            Incoming::Unsubscribe { object, target } => self.handle_unsubscribe(object, target),
            Incoming::Notify { object, active } => self.handle_notify(object, active),
            Incoming::Unknown { .. } => {}
        }
    }

    fn handle_hello(&mut self, client: u32) {
        if self.ready {
            return;
        }
        self.ready = true;
        self.events.push_back(Event::Connected { client });
        let objects: Vec<_> = self.objects.iter().map(|declared| declared.handle).collect();
        for object in objects {
            self.publish(object);
        }
        self.make_ear();
        let subscriptions: Vec<_> =
            self.subscriptions.iter().map(|subscription| subscription.handle).collect();
        for subscription in subscriptions {
            self.make_subscriber(subscription);
        }
        let calls: Vec<_> = self.calls.keys().copied().collect();
        for call in calls {
            self.start_call(call);
        }
        let lookups: Vec<_> = self.lookups.keys().copied().collect();
        for lookup in lookups {
            self.start_lookup(lookup);
        }
    }

    fn handle_data(&mut self, seq: u16, peer: u32, attributes: &Attributes<'_>) {
        let Some(waiting) = self.requests.get(&seq).filter(|waiting| waiting.peer == peer) else {
            return;
        };
        match waiting.purpose {
            Purpose::Publish(object) => self.handle_published(object, attributes.objid),
            Purpose::Find(call) => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.found = attributes.objid.or(call.found);
                }
            }
            Purpose::Invoke(call) => {
                if let (Some(call), Some(data)) = (self.calls.get_mut(&call), attributes.data) {
                    join(&mut call.data, data);
                }
            }
            Purpose::Lookup(lookup) => self.handle_found(lookup, attributes),
            Purpose::MakeEar => {
                self.ear.id = attributes.objid;
                for index in 0..self.ear.patterns.len() {
                    self.listen(index);
                }
            }
            Purpose::MakeSubscriber(handle) => match (self.subscription(handle), attributes.objid) {
                (Some(subscription), Some(id)) => {
                    subscription.subscriber = Some(id);
                    self.find_target(handle);
                }
                (None, Some(id)) => self.remove_id(id), // taken back meanwhile
                _ => {}
            },
            Purpose::FindTarget(handle) => self.set_link(handle, Link::Looking(attributes.objid)),
            Purpose::Listen(_) | Purpose::Subscribe(_) | Purpose::Nothing => {}
        }
    }

    /// A request has ended.
    fn finish(&mut self, seq: u16, peer: u32, status: Status, from_callee: bool) {
        if self.requests.get(&seq).is_none_or(|waiting| waiting.peer != peer) {
            return;
        }
        let Some(waiting) = self.requests.remove(&seq) else {
            return;
        };
        match waiting.purpose {
            Purpose::Publish(object) => self.publish_ended(object, status),
            Purpose::Find(id) => match self.calls.get_mut(&id) {
                Some(&mut Call { found: Some(object), ref path, .. }) if status.is_ok() => {
                    self.known.insert(path.clone(), object);
                    self.invoke(id, object);
                }
                // OK without data: there, but not for us.
                _ if status.is_ok() => self.end_call(id, Status::NOT_FOUND, false),
                _ => self.end_call(id, status, false),
            },
            Purpose::Invoke(id) => self.invoke_ended(id, status, from_callee),
            Purpose::Lookup(lookup) => self.end_lookup(lookup, status),
            Purpose::Listen(index) if !status.is_ok() => self.listen_failed(index, status),
            Purpose::FindTarget(handle) => match self.subscription(handle).map(|s| s.state) {
                Some(Link::Looking(Some(target))) if status.is_ok() => self.link(handle, target),
                Some(Link::Looking(_)) if status.is_ok() => self.subscribe_failed(handle, Status::NOT_FOUND),
                Some(Link::Looking(_)) => self.subscribe_failed(handle, status),
                _ => {}
            },
            Purpose::Subscribe(handle) => match self.subscription(handle).map(|s| s.state) {
                Some(Link::Asking(target)) if status.is_ok() => {
                    self.set_link(handle, Link::Linked(target));
                    self.events.push_back(Event::Subscribed { subscription: handle });
                }
                Some(Link::Asking(_)) => self.subscribe_failed(handle, status),
                _ => {}
            },
            Purpose::MakeSubscriber(handle) if !status.is_ok() => self.subscribe_failed(handle, status),
            Purpose::Listen(_) | Purpose::MakeEar | Purpose::MakeSubscriber(_) | Purpose::Nothing => {}
        }
    }

    fn handle_published(&mut self, object: ObjectId, id: Option<u32>) {
        let Some(id) = id else {
            return;
        };
        match self.objects.iter_mut().find(|declared| declared.handle == object) {
            Some(declared) => declared.id = Some(id),
            None => self.remove_id(id), // taken back meanwhile
        }
    }

    fn publish_ended(&mut self, object: ObjectId, status: Status) {
        let Some(declared) = self.objects.iter_mut().find(|declared| declared.handle == object) else {
            return;
        };
        declared.publishing = false;
        self.events.push_back(match (status, declared.id) {
            (Status::OK, Some(_)) => Event::Published { object },
            (Status::OK, None) => Event::PublishFailed { object, status: Status::NO_DATA },
            (status, _) => Event::PublishFailed { object, status },
        });
    }

    fn invoke_ended(&mut self, id: CallId, status: Status, from_callee: bool) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.seq = None;
            if status == Status::NOT_FOUND && !from_callee && call.from_memory {
                // The object has got another id, or is gone; a lookup tells.
                self.known.remove(&call.path);
                return self.start_call(id);
            }
        }
        self.end_call(id, status, from_callee);
    }

    fn handle_found(&mut self, lookup: LookupId, attributes: &Attributes<'_>) {
        if let (Some(lookup), Some(path), Some(id)) =
            (self.lookups.get_mut(&lookup), attributes.objpath, attributes.objid)
        {
            lookup.objects.push(ObjectInfo {
                path: lossy(path),
                id,
                type_id: attributes.objtype.unwrap_or_default(),
                signature: attributes.signature.unwrap_or_default().to_owned(),
            });
        }
    }

    fn handle_invoke(&mut self, seq: u16, peer: u32, invoke: Invoke<'_>, descriptor: Option<OwnedFd>) {
        if self.ear.id == Some(invoke.object) {
            self.handle_event(&invoke);
        } else if let Some(subscription) =
            self.subscriptions.iter().find(|subscription| subscription.subscriber == Some(invoke.object))
        {
            let (name, data) = (lossy(invoke.method), invoke.data.to_owned());
            self.events.push_back(Event::Notification { subscription: subscription.handle, name, data });
            if !invoke.no_reply {
                self.send_status(seq, peer, invoke.object, Status::OK);
            }
        } else if let Some(declared) = self.objects.iter().find(|declared| declared.id == Some(invoke.object))
        {
            if declared.object.has_method(invoke.method) {
                self.events.push_back(Event::Call {
                    object: declared.handle,
                    method: lossy(invoke.method),
                    arguments: invoke.data.to_owned(),
                    caller: Caller {
                        client: peer,
                        user: invoke.user.map(lossy),
                        group: invoke.group.map(lossy),
                    },
                    descriptor,
                    request: Request::new(
                        Ticket {
                            epoch: self.epoch,
                            seq,
                            peer,
                            object: invoke.object,
                            no_reply: invoke.no_reply,
                        },
                        &self.abandoned,
                    ),
                });
            } else if !invoke.no_reply {
                self.send_status(seq, peer, invoke.object, Status::METHOD_NOT_FOUND);
            }
        }
    }

    fn handle_event(&mut self, invoke: &Invoke<'_>) {
        if invoke.method == OBJECT_ADDED.as_bytes() {
            self.handle_object_added(invoke.data);
        }
        if self.ear.patterns.iter().any(|pattern| pattern.wanted && pattern.matches(invoke.method)) {
            self.events.push_back(Event::BusEvent { id: lossy(invoke.method), data: invoke.data.to_owned() });
        }
    }

    fn handle_object_added(&mut self, data: &[u8]) {
        let fields = Fields::new(data);
        let (Some(path), Some(id)) =
            (fields.get("path").and_then(|path| path.as_str()), fields.get("id").and_then(|id| id.as_i64()))
        else {
            return;
        };
        let mut idle = Vec::new();
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.path == path) {
            match subscription.state {
                Link::Idle => idle.push(subscription.handle),
                Link::Looking(_) | Link::Asking(_) => subscription.appeared = true,
                Link::Linked(_) => {}
            }
        }
        for handle in idle {
            self.link(handle, id as u32); // INT32 on the wire, whatever its sign
        }
    }

    fn handle_unsubscribe(&mut self, object: u32, target: u32) {
        let gone = |s: &&mut Subscription| s.subscriber == Some(object) && s.state == Link::Linked(target);
        if let Some(subscription) = self.subscriptions.iter_mut().find(gone) {
            subscription.state = Link::Idle;
            let subscription = subscription.handle;
            self.events.push_back(Event::SubscriptionLost { subscription });
        }
    }

    fn handle_notify(&mut self, object: u32, active: bool) {
        if let Some(declared) = self.objects.iter_mut().find(|declared| declared.id == Some(object)) {
            declared.subscribers = active;
            let object = declared.handle;
            self.events.push_back(Event::SubscribersChanged { object, active });
        }
    }
}

/// What goes out.
impl Connection {
    fn next_handle(&mut self) -> u32 {
        self.last_handle = self.last_handle.wrapping_add(1);
        self.last_handle
    }

    /// A sequence number not in flight; none when all 65,536 are.
    fn next_seq(&mut self) -> Option<u16> {
        if self.requests.len() > usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.seq = self.seq.wrapping_add(1);
            if !self.requests.contains_key(&self.seq) {
                return Some(self.seq);
            }
        }
    }

    fn await_answer(&mut self, peer: u32, purpose: Purpose) -> Option<u16> {
        let seq = self.next_seq()?;
        self.requests.insert(seq, Waiting { peer, purpose });
        Some(seq)
    }

    /// Sends a request that consists of ids only. False when too many are in flight.
    fn send_ids(&mut self, kind: u8, purpose: Purpose, ids: &[(u8, u32)]) -> bool {
        let Some(seq) = self.await_answer(0, purpose) else {
            return false;
        };
        let start = msg::begin(&mut self.out, Header::new(kind, seq, 0));
        for (attribute, id) in ids {
            blob::put_u32(&mut self.out, *attribute, *id);
        }
        blob::close(&mut self.out, start + msg::HEADER_LEN);
        true
    }

    fn check_queue(&self) -> Result<(), SendError> {
        match self.out.len() - self.sent {
            waiting if waiting > QUEUE_LIMIT => Err(SendError::Full),
            _ => Ok(()),
        }
    }
}

/// A pattern is not a path, though a lookup of one may find something.
fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.ends_with('*') && !path.contains('\0')
}

fn check_name(name: &str) -> Result<(), SendError> {
    match name.contains('\0') {
        true => Err(SendError::Nul),
        false => Ok(()),
    }
}

fn put_data(out: &mut Vec<u8>, fields: &[u8]) {
    blob::put(out, attr::DATA, fields);
}

/// Adds a DATA message's fields to those of earlier ones.
fn join(all: &mut Vec<u8>, data: &[u8]) {
    if all.len() + data.len() > MAX_MESSAGE_LEN {
        all.clear();
    }
    all.resize(blob::padded(all.len()), 0);
    all.extend_from_slice(data);
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
