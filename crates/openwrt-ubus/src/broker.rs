//! A small `ubusd`: the other side of the wire, for tests and demonstrations. Like [`Connection`](crate::Connection)
//! it has no I/O; the program `ubus-broker` adds sockets.
//!
//! It answers as openwrt/ubus' `ubusd` does, also to odd input, with these differences:
//! - root may do everything, and others what an [`Access`] list grants; without one they see no methods, may call and
//!   publish nothing, may neither listen nor send. A list's `tags` and `acl` are not read, and of a client's groups only
//!   the primary one counts;
//! - file descriptors are passed on with calls only;
//! - a call that its USER and GROUP make too long gets INVALID_ARGUMENT, instead of breaking the callee's connection.

mod access;

pub use access::Access;

use crate::blob::{self, MAX_MESSAGE_LEN};
use crate::blobmsg::{Field, Fields, Value};
use crate::conn::ProtocolError;
use crate::msg::{self, attr, kind, system_object, Attributes, Frame, Header, Inbox, Status};
use crate::signature;
use access::Lists;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes waiting for a client above which further messages to it are dropped: `ubusd`'s own queue
/// (`UBUS_CLIENT_MAX_TXQ_LEN`, 1 MiB) and what the kernel's socket buffer takes besides. Without the latter, the status
/// that follows the largest reply would find the queue full.
pub const QUEUE_LIMIT: usize = (1 << 20) + (208 << 10);

/// Bytes waiting for a client above which a lookup of many objects pauses.
const LOOKUP_PAUSE: usize = 64 << 10;

/// Paused lookups per client; more are refused.
const MAX_PAUSED: usize = 64;

/// Who a client is, as the operating system tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// 0 is root, who may do everything.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The user's name; callees get it.
    pub user: String,
    /// The group's name; callees get it.
    pub group: String,
}

impl Credentials {
    /// Root, of group root.
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, user: "root".into(), group: "root".into() }
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// A connected client. Its number is its id on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Broker {
    clients: BTreeMap<ClientId, Client>,
    objects: BTreeMap<u32, Object>,
    types: BTreeMap<u32, ObjectType>,
    paths: BTreeMap<Vec<u8>, u32>,
    patterns: Vec<Pattern>,
    lists: Lists,
    event_seq: u16,
    random: u64,
}

#[derive(Debug)]
struct Client {
    credentials: Credentials,
    inbox: Inbox,
    out: Vec<u8>,
    sent: usize,
    /// Descriptors, each with where its message begins and ends in `out`.
    handed: VecDeque<(usize, usize, OwnedFd)>,
    /// The one that came with the beginning of a message that is not whole yet.
    received: Option<OwnedFd>,
    paused: VecDeque<Lookup>,
    /// Counts the monitor frames, for a client that wants them.
    monitor: Option<u16>,
}

#[derive(Debug)]
struct Object {
    owner: ClientId,
    path: Option<Vec<u8>>,
    ty: Option<u32>,
    /// Objects of other clients.
    subscribers: Vec<u32>,
    targets: Vec<u32>,
    /// Numbers the notices about it.
    seq: u16,
}

#[derive(Debug)]
struct ObjectType {
    users: usize,
    signature: Vec<u8>,
    methods: usize,
}

#[derive(Debug)]
struct Pattern {
    object: u32,
    text: Vec<u8>,
    prefix: bool,
}

#[derive(Debug)]
struct Lookup {
    seq: u16,
    peer: u32,
    prefix: Vec<u8>,
    /// The path last told.
    after: Option<Vec<u8>>,
}

/// What a request comes to: a status to send, or nothing (it was forwarded, or will be answered later).
type Outcome = Option<Status>;

/// Bytes.
impl Broker {
    /// A bus with nobody on it. Ids are drawn from `seed`, which a server takes from the operating system's random
    /// numbers, and a test from its own.
    pub fn new(seed: u64) -> Self {
        Self {
            clients: BTreeMap::new(),
            objects: BTreeMap::new(),
            types: BTreeMap::new(),
            paths: BTreeMap::new(),
            patterns: Vec::new(),
            lists: Lists::default(),
            event_seq: 0,
            random: seed,
        }
    }

    /// Lets somebody do from now on what the list says.
    pub fn allow(&mut self, access: Access) {
        self.lists.add(access);
    }

    /// A client has come. It is greeted.
    pub fn connect(&mut self, credentials: Credentials) -> ClientId {
        let id = loop {
            let id = ClientId(self.random_id());
            if !self.clients.contains_key(&id) {
                break id;
            }
        };
        self.clients.insert(
            id,
            Client {
                credentials,
                inbox: Inbox::default(),
                out: Vec::new(),
                sent: 0,
                handed: VecDeque::new(),
                received: None,
                paused: VecDeque::new(),
                monitor: None,
            },
        );
        self.send(id, Header::new(kind::HELLO, 0, id.0), |_| {});
        id
    }

    /// A client has gone, with all that is its own.
    pub fn disconnect(&mut self, client: ClientId) {
        if self.clients.remove(&client).is_none() {
            return;
        }
        let own: Vec<u32> =
            self.objects.iter().filter(|(_, o)| o.owner == client).map(|(id, _)| *id).collect();
        for object in own {
            self.free_object(object);
        }
    }

    /// Takes what came from a client, in pieces of any size.
    ///
    /// # Errors
    /// The client's messages cannot be followed any further: close its socket and [`Broker::disconnect`] it.
    pub fn handle_input(&mut self, client: ClientId, input: &[u8]) -> Result<(), ProtocolError> {
        self.handle_input_with(client, input, None)
    }

    /// The same with a descriptor that came with it; as [`Connection`](crate::Connection::handle_input_with).
    ///
    /// # Errors
    /// As [`Broker::handle_input`].
    pub fn handle_input_with(
        &mut self,
        client: ClientId,
        mut input: &[u8],
        mut descriptor: Option<OwnedFd>,
    ) -> Result<(), ProtocolError> {
        let Some(it) = self.clients.get_mut(&client) else { return Ok(()) };
        let (mut inbox, mut earlier) = (std::mem::take(&mut it.inbox), it.received.take());
        let result = loop {
            match inbox.next(&mut input) {
                Ok(Some(frame)) => {
                    let with = earlier.take().or_else(|| descriptor.take_if(|_| input.is_empty()));
                    self.handle_frame(client, frame, with);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(client) = self.clients.get_mut(&client) {
            client.inbox = inbox;
            client.received = descriptor.or(earlier);
        }
        result
    }

    /// What is to be written to a client's socket.
    pub fn transmit(&self, client: ClientId) -> &[u8] {
        self.transmit_with(client).0
    }

    /// What is to be written to a client's socket, and the descriptor to be sent along with its first byte.
    pub fn transmit_with(&self, client: ClientId) -> (&[u8], Option<BorrowedFd<'_>>) {
        let Some(client) = self.clients.get(&client) else { return (&[], None) };
        match client.handed.front() {
            Some((start, end, descriptor)) if *start == client.sent => {
                (&client.out[client.sent..*end], Some(descriptor.as_fd()))
            }
            Some((start, ..)) => (&client.out[client.sent..*start], None),
            None => (&client.out[client.sent..], None),
        }
    }

    /// The first `n` bytes of what [`Broker::transmit`] returned are written.
    pub fn consumed(&mut self, id: ClientId, n: usize) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.sent = client.sent.saturating_add(n).min(client.out.len());
        while client.handed.front().is_some_and(|(start, ..)| *start < client.sent) {
            client.handed.pop_front();
        }
        if client.sent == client.out.len() || client.sent > client.out.len() / 2 {
            client.out.drain(..client.sent);
            for (start, end, _) in &mut client.handed {
                (*start, *end) = (*start - client.sent, *end - client.sent);
            }
            client.out.shrink_to(client.out.len().max(4096));
            client.sent = 0;
        }
        while let Some(client) = self.clients.get_mut(&id).filter(|client| client.waiting() < LOOKUP_PAUSE) {
            let Some(lookup) = client.paused.pop_front() else {
                break;
            };
            self.run_lookup(id, lookup);
        }
    }

    /// The clients that have something to be written to them.
    pub fn talkative(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.clients.iter().filter(|(_, client)| client.waiting() > 0).map(|(id, _)| *id)
    }

    fn send(&mut self, to: ClientId, header: Header, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut message = Vec::new();
        let start = msg::begin(&mut message, header);
        fill(&mut message);
        if msg::end(&mut message, start).is_ok() {
            self.enqueue(to, header, &message, None);
        }
    }

    /// As `ubusd` does, drops without a word what finds the queue full.
    fn enqueue(&mut self, to: ClientId, header: Header, message: &[u8], descriptor: Option<OwnedFd>) {
        if header.kind != kind::MONITOR {
            self.monitor(
                to,
                header,
                message.get(msg::HEADER_LEN + blob::HEADER_LEN..).unwrap_or_default(),
                true,
            );
        }
        if let Some(client) = self.clients.get_mut(&to) {
            let waiting = client.waiting();
            if waiting == 0 || waiting + message.len() <= QUEUE_LIMIT {
                let start = client.out.len();
                client.out.extend_from_slice(message);
                client.handed.extend(descriptor.map(|descriptor| (start, client.out.len(), descriptor)));
            }
        }
    }

    fn status(&mut self, to: ClientId, seq: u16, peer: u32, status: Status) {
        self.send(to, Header::new(kind::STATUS, seq, peer), |out| blob::put_u32(out, attr::STATUS, status.0));
    }

    /// Ids are random and at least 1024.
    fn random_id(&mut self) -> u32 {
        loop {
            // SplitMix64.
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = (z ^ (z >> 31)) as u32;
            if id >= system_object::FIRST_FREE {
                return id;
            }
        }
    }
}

impl Client {
    fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }
}

/// Requests.
impl Broker {
    fn handle_frame(&mut self, from: ClientId, frame: Frame<'_>, descriptor: Option<OwnedFd>) {
        let Header { seq, peer, .. } = frame.header;
        self.monitor(from, frame.header, frame.body, false);
        let attributes = Attributes::parse(frame.body);
        let outcome = match frame.header.kind {
            kind::PING => {
                self.send(from, Header { kind: kind::DATA, ..frame.header }, |out| {
                    out.extend_from_slice(frame.body)
                });
                Some(Status::OK)
            }
            kind::LOOKUP => self.handle_lookup(from, seq, peer, &attributes),
            kind::INVOKE => self.handle_invoke(from, seq, &attributes, descriptor),
            kind::ADD_OBJECT => Some(self.handle_add(from, seq, peer, &attributes)),
            kind::REMOVE_OBJECT => Some(self.handle_remove(from, seq, peer, &attributes)),
            kind::SUBSCRIBE => Some(self.handle_subscribe(from, &attributes)),
            kind::UNSUBSCRIBE => Some(self.handle_unsubscribe(from, &attributes)),
            kind::NOTIFY => self.handle_notify(from, seq, peer, &attributes),
            kind::STATUS | kind::DATA => {
                self.handle_answer(from, frame, &attributes);
                None
            }
            _ => Some(Status::INVALID_COMMAND),
        };
        if let Some(status) = outcome {
            self.status(from, seq, peer, status);
        }
    }

    fn handle_lookup(&mut self, from: ClientId, seq: u16, peer: u32, attributes: &Attributes<'_>) -> Outcome {
        let prefix = match attributes.objpath {
            None => &[][..],
            Some([]) => return Some(Status::INVALID_ARGUMENT),
            Some([prefix @ .., b'*']) => prefix,
            Some(path) => {
                let Some(object) = self.paths.get(path).copied() else {
                    return Some(Status::NOT_FOUND);
                };
                self.tell_object(from, seq, peer, object);
                return Some(Status::OK);
            }
        };
        let any = attributes.objpath.is_none() || self.next_path(prefix, None).is_some();
        if !any {
            return Some(Status::NOT_FOUND);
        }
        let lookup = Lookup { seq, peer, prefix: prefix.to_owned(), after: None };
        let paused = self.clients.get(&from).map_or(0, |client| client.paused.len());
        match paused {
            0 => self.run_lookup(from, lookup),
            1..MAX_PAUSED => self.pause(from, lookup),
            _ => return Some(Status::NO_MEMORY),
        }
        None
    }

    /// Tells objects until the client has enough to read for now.
    fn run_lookup(&mut self, to: ClientId, mut lookup: Lookup) {
        while let Some((path, object)) = self.next_path(&lookup.prefix, lookup.after.as_deref()) {
            if self.clients.get(&to).is_some_and(|client| client.waiting() >= LOOKUP_PAUSE) {
                return self.pause(to, lookup);
            }
            self.tell_object(to, lookup.seq, lookup.peer, object);
            lookup.after = Some(path);
        }
        self.status(to, lookup.seq, lookup.peer, Status::OK);
    }

    fn pause(&mut self, client: ClientId, lookup: Lookup) {
        if let Some(client) = self.clients.get_mut(&client) {
            match lookup.after {
                Some(_) => client.paused.push_front(lookup), // under way, so it stays the first
                None => client.paused.push_back(lookup),
            }
        }
    }

    fn next_path(&self, prefix: &[u8], after: Option<&[u8]>) -> Option<(Vec<u8>, u32)> {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let (path, object) = self.paths.range::<[u8], _>((from, Bound::Unbounded)).next()?;
        path.starts_with(prefix).then(|| (path.clone(), *object))
    }

    fn tell_object(&mut self, to: ClientId, seq: u16, peer: u32, id: u32) {
        let Some(client) = self.clients.get(&to) else { return };
        let Some(Object { path: Some(path), ty: Some(ty), .. }) = self.objects.get(&id) else {
            return;
        };
        let Some(signature) = self.types.get(ty) else {
            return;
        };
        let shown = match client.credentials.is_root() || signature.methods == 0 {
            true => signature.signature.clone(),
            false => self.granted_methods(&client.credentials, path, &signature.signature),
        };
        if shown.is_empty() && signature.methods > 0 {
            return;
        }
        let (path, ty, signature) = (path.clone(), *ty, shown);
        self.send(to, Header::new(kind::DATA, seq, peer), |out| {
            blob::put_str(out, attr::OBJPATH, &path);
            blob::put_u32(out, attr::OBJID, id);
            blob::put_u32(out, attr::OBJTYPE, ty);
            blob::put(out, attr::SIGNATURE, &signature);
        });
    }

    /// The part of an object's signature that a client may see.
    fn granted_methods(&self, client: &Credentials, path: &[u8], whole: &[u8]) -> Vec<u8> {
        let mut granted = Vec::new();
        for (method, arguments) in signature::Methods::new(whole) {
            if self.lists.may_call(client, path, method.as_bytes()) {
                signature::put_method(&mut granted, method, &arguments);
            }
        }
        granted
    }

    fn handle_invoke(
        &mut self,
        from: ClientId,
        seq: u16,
        attributes: &Attributes<'_>,
        descriptor: Option<OwnedFd>,
    ) -> Outcome {
        let (Some(method), Some(id)) = (attributes.method, attributes.objid) else {
            return Some(Status::INVALID_ARGUMENT);
        };
        match id {
            system_object::EVENT => return Some(self.handle_event_call(from, method, attributes.data)),
            system_object::ACL => return Some(Status::NOT_SUPPORTED),
            system_object::MONITOR => return Some(self.handle_monitor_call(from, method)),
            _ => {}
        }
        let Some(object) = self.objects.get(&id) else {
            return Some(Status::NOT_FOUND);
        };
        if let (Some(path), Some(client)) = (&object.path, self.clients.get(&from)) {
            if !self.lists.may_call(&client.credentials, path, method) {
                return Some(Status::PERMISSION_DENIED);
            }
        }
        match self.forward_invoke(from, seq, id, method, attributes.data, false, descriptor) {
            true => None,
            false => Some(Status::INVALID_ARGUMENT),
        }
    }

    /// Builds the INVOKE anew, so that nothing but method, data and descriptor is the caller's. False when it is too
    /// long.
    #[allow(clippy::too_many_arguments)] // what a call consists of
    fn forward_invoke(
        &mut self,
        from: ClientId,
        seq: u16,
        object: u32,
        method: &[u8],
        data: Option<&[u8]>,
        no_reply: bool,
        descriptor: Option<OwnedFd>,
    ) -> bool {
        let (Some(caller), Some(owner)) =
            (self.clients.get(&from), self.objects.get(&object).map(|o| o.owner))
        else {
            return true;
        };
        let header = Header::new(kind::INVOKE, seq, from.0);
        let mut message = Vec::new();
        let start = msg::begin(&mut message, header);
        if no_reply {
            blob::put(&mut message, attr::NO_REPLY, &[1]);
        }
        blob::put_u32(&mut message, attr::OBJID, object);
        blob::put_str(&mut message, attr::METHOD, method);
        blob::put_str(&mut message, attr::USER, caller.credentials.user.as_bytes());
        blob::put_str(&mut message, attr::GROUP, caller.credentials.group.as_bytes());
        if let Some(data) = data {
            blob::put(&mut message, attr::DATA, data);
        }
        let fits = msg::end(&mut message, start).is_ok();
        if fits {
            self.enqueue(owner, header, &message, descriptor);
        }
        fits
    }

    /// Passes an answer on as it is, but for the peer. There is no record of calls: whoever owns the object may
    /// answer anybody, and the caller must know what it asked.
    fn handle_answer(&mut self, from: ClientId, frame: Frame<'_>, attributes: &Attributes<'_>) {
        let complete = match frame.header.kind {
            kind::STATUS => attributes.status.is_some(),
            _ => attributes.data.is_some(),
        };
        let Some(object) = attributes.objid.filter(|id| complete && self.owns(from, *id)) else {
            return;
        };
        let header = Header { peer: object, ..frame.header };
        self.send(ClientId(frame.header.peer), header, |out| out.extend_from_slice(frame.body));
    }

    fn handle_add(&mut self, from: ClientId, seq: u16, peer: u32, attributes: &Attributes<'_>) -> Status {
        if let Some(path) = attributes.objpath {
            if !self.may(from, |lists, client| lists.may_publish(client, path))
                || self.paths.contains_key(path)
            {
                return Status::INVALID_ARGUMENT;
            }
        }
        let ty = match (attributes.objtype, attributes.signature) {
            (Some(known), _) => Some(known).filter(|ty| self.types.contains_key(ty)),
            (None, Some(signature)) => self.make_type(signature),
            (None, None) => None,
        };
        if let Some(ty) = ty.and_then(|ty| self.types.get_mut(&ty)) {
            ty.users += 1;
        }
        let id = loop {
            let id = self.random_id();
            if !self.objects.contains_key(&id) {
                break id;
            }
        };
        let path = attributes.objpath.map(<[u8]>::to_owned);
        let object = Object {
            owner: from,
            path: path.clone(),
            ty,
            subscribers: Vec::new(),
            targets: Vec::new(),
            seq: 0,
        };
        self.objects.insert(id, object);
        if let Some(path) = path {
            self.object_event("ubus.object.add", id, &path);
            self.paths.insert(path, id);
        }
        self.send(from, Header::new(kind::DATA, seq, peer), |out| {
            blob::put_u32(out, attr::OBJID, id);
            if let (Some(ty), Some(_)) = (ty, attributes.signature) {
                blob::put_u32(out, attr::OBJTYPE, ty);
            }
        });
        Status::OK
    }

    /// `None` for a malformed signature: its object exists, but no lookup shows it.
    fn make_type(&mut self, signature: &[u8]) -> Option<u32> {
        let mut methods = 0;
        for method in Fields::new(signature) {
            let Ok(Field { name: [_, ..], .. }) = method else {
                return None;
            };
            methods += 1;
        }
        let id = loop {
            let id = self.random_id();
            if !self.types.contains_key(&id) {
                break id;
            }
        };
        self.types.insert(id, ObjectType { users: 0, signature: signature.to_owned(), methods });
        Some(id)
    }

    fn handle_remove(&mut self, from: ClientId, seq: u16, peer: u32, attributes: &Attributes<'_>) -> Status {
        let Some(id) = attributes.objid else {
            return Status::INVALID_ARGUMENT;
        };
        let ty = match self.objects.get(&id) {
            None => return Status::NOT_FOUND,
            Some(object) if object.owner != from => return Status::PERMISSION_DENIED,
            Some(object) => object.ty,
        };
        let dying = ty.filter(|ty| self.types.get(ty).is_some_and(|ty| ty.users == 1));
        self.send(from, Header::new(kind::DATA, seq, peer), |out| {
            blob::put_u32(out, attr::OBJID, id);
            if let Some(ty) = dying {
                blob::put_u32(out, attr::OBJTYPE, ty);
            }
        });
        self.free_object(id);
        Status::OK
    }

    fn free_object(&mut self, id: u32) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        let targets = std::mem::take(&mut object.targets);
        for target in targets {
            self.unlink(id, target);
        }
        while let Some(subscriber) =
            self.objects.get(&id).and_then(|object| object.subscribers.first()).copied()
        {
            self.tell_unsubscribed(subscriber, id);
            self.unlink(subscriber, id);
        }
        self.patterns.retain(|pattern| pattern.object != id);
        let Some(object) = self.objects.remove(&id) else {
            return;
        };
        if let Some(path) = object.path {
            self.object_event("ubus.object.remove", id, &path);
            self.paths.remove(&path);
        }
        if let Some(ty) = object.ty {
            if let Some(known) = self.types.get_mut(&ty) {
                known.users -= 1;
                if known.users == 0 {
                    self.types.remove(&ty);
                }
            }
        }
    }

    fn owns(&self, client: ClientId, object: u32) -> bool {
        self.objects.get(&object).is_some_and(|object| object.owner == client)
    }

    fn may(&self, client: ClientId, granted: impl Fn(&Lists, &Credentials) -> bool) -> bool {
        self.clients.get(&client).is_some_and(|client| granted(&self.lists, &client.credentials))
    }
}

/// Subscriptions.
impl Broker {
    fn handle_subscribe(&mut self, from: ClientId, attributes: &Attributes<'_>) -> Status {
        let (Some(subscriber), Some(target)) = (attributes.objid, attributes.target) else {
            return Status::INVALID_ARGUMENT;
        };
        match self.objects.get(&subscriber) {
            None => return Status::NOT_FOUND,
            Some(object) if object.owner != from => return Status::INVALID_ARGUMENT,
            Some(_) => {}
        }
        let first = match self.objects.get(&target) {
            None => return Status::NOT_FOUND,
            Some(object) if object.owner == from => return Status::INVALID_ARGUMENT,
            Some(object) if !self.may_subscribe(from, object) => return Status::NOT_FOUND,
            Some(object) => object.subscribers.is_empty(),
        };
        self.objects.entry(target).and_modify(|object| object.subscribers.push(subscriber));
        self.objects.entry(subscriber).and_modify(|object| object.targets.push(target));
        if first {
            self.tell_active(target);
        }
        Status::OK
    }

    fn may_subscribe(&self, client: ClientId, target: &Object) -> bool {
        let (Some(client), Some(owner)) = (self.clients.get(&client), self.clients.get(&target.owner)) else {
            return false;
        };
        let (own, other) = (&client.credentials, &owner.credentials);
        match &target.path {
            Some(path) => self.lists.may_subscribe(own, path),
            None => own.user == other.user || own.group == other.group,
        }
    }

    fn handle_unsubscribe(&mut self, from: ClientId, attributes: &Attributes<'_>) -> Status {
        let (Some(subscriber), Some(target)) = (attributes.objid, attributes.target) else {
            return Status::INVALID_ARGUMENT;
        };
        match self.objects.get(&subscriber) {
            None => Status::NOT_FOUND,
            Some(object) if object.owner != from => Status::INVALID_ARGUMENT,
            Some(object) if !object.targets.contains(&target) => Status::NOT_FOUND,
            Some(_) => {
                self.unlink(subscriber, target);
                Status::OK
            }
        }
    }

    fn unlink(&mut self, subscriber: u32, target: u32) {
        if let Some(object) = self.objects.get_mut(&subscriber) {
            remove_first(&mut object.targets, target);
        }
        let Some(object) = self.objects.get_mut(&target) else {
            return;
        };
        if remove_first(&mut object.subscribers, subscriber) && object.subscribers.is_empty() {
            self.tell_active(target);
        }
    }

    fn tell_active(&mut self, target: u32) {
        let Some(object) = self.objects.get_mut(&target) else {
            return;
        };
        object.seq = object.seq.wrapping_add(1);
        let (owner, seq, active) = (object.owner, object.seq, !object.subscribers.is_empty());
        self.send(owner, Header::new(kind::NOTIFY, seq, 0), |out| {
            blob::put_u32(out, attr::OBJID, target);
            blob::put(out, attr::ACTIVE, &[active.into()]);
        });
    }

    fn tell_unsubscribed(&mut self, subscriber: u32, target: u32) {
        let Some(object) = self.objects.get_mut(&subscriber) else {
            return;
        };
        object.seq = object.seq.wrapping_add(1);
        let (owner, seq) = (object.owner, object.seq);
        self.send(owner, Header::new(kind::UNSUBSCRIBE, seq, 0), |out| {
            blob::put_u32(out, attr::OBJID, subscriber);
            blob::put_u32(out, attr::TARGET, target);
        });
    }

    fn handle_notify(&mut self, from: ClientId, seq: u16, peer: u32, attributes: &Attributes<'_>) -> Outcome {
        let (Some(method), Some(id)) = (attributes.method, attributes.objid) else {
            return Some(Status::INVALID_ARGUMENT);
        };
        let no_reply = attributes.no_reply.is_some_and(|v| v != 0);
        let subscribers = match self.objects.get(&id) {
            None => return Some(Status::NOT_FOUND),
            Some(object) if object.owner != from => return Some(Status::PERMISSION_DENIED),
            Some(object) => object.subscribers.clone(),
        };
        if !no_reply {
            self.send(from, Header::new(kind::STATUS, seq, peer), |out| {
                blob::put_u32(out, attr::OBJID, id);
                let list = blob::open(out, attr::SUBSCRIBERS, false);
                for subscriber in &subscribers {
                    blob::put_u32(out, 0, *subscriber);
                }
                blob::close(out, list);
                blob::put_u32(out, attr::STATUS, Status::OK.0);
            });
        }
        for subscriber in subscribers {
            self.forward_invoke(from, seq, subscriber, method, attributes.data, no_reply, None);
        }
        None
    }
}

fn remove_first(list: &mut Vec<u32>, id: u32) -> bool {
    match list.iter().position(|known| *known == id) {
        Some(index) => {
            list.remove(index);
            true
        }
        None => false,
    }
}

/// Events and the monitor.
impl Broker {
    fn handle_event_call(&mut self, from: ClientId, method: &[u8], data: Option<&[u8]>) -> Status {
        let Some(arguments) = data.map(Fields::new) else {
            return Status::INVALID_ARGUMENT;
        };
        match method {
            b"register" => self.handle_register(from, arguments),
            b"send" => self.handle_send_event(from, arguments),
            _ => Status::INVALID_COMMAND,
        }
    }

    fn handle_register(&mut self, from: ClientId, arguments: Fields<'_>) -> Status {
        let (Some(Value::Int32(object)), Some(Value::Str(pattern))) =
            (arguments.get("object"), arguments.get("pattern"))
        else {
            return Status::INVALID_ARGUMENT;
        };
        let object = object as u32; // blobmsg has no unsigned numbers
        if object < system_object::FIRST_FREE {
            return Status::PERMISSION_DENIED;
        }
        if !self.objects.contains_key(&object) {
            return Status::NOT_FOUND;
        }
        let (text, prefix) = match pattern {
            [text @ .., b'*'] => (text, true),
            text => (text, false),
        };
        let may = self.may(from, |lists, client| lists.may_listen(client, text));
        if !self.owns(from, object) || pattern.is_empty() || !may {
            return Status::PERMISSION_DENIED;
        }
        self.patterns.push(Pattern { object, text: text.to_owned(), prefix });
        Status::OK
    }

    fn handle_send_event(&mut self, from: ClientId, arguments: Fields<'_>) -> Status {
        let (Some(Value::Str(id)), Some(Value::Table(data))) = (arguments.get("id"), arguments.get("data"))
        else {
            return Status::INVALID_ARGUMENT;
        };
        if id.starts_with(b"ubus.") || !self.may(from, |lists, client| lists.may_send(client, id)) {
            return Status::PERMISSION_DENIED;
        }
        self.deliver_event(Some(from), id, data.as_bytes());
        Status::OK
    }

    fn object_event(&mut self, event: &str, id: u32, path: &[u8]) {
        let mut data = crate::blobmsg::Builder::new();
        data.int("id", i64::from(id as i32)).str("path", &String::from_utf8_lossy(path));
        if let Ok(data) = data.finish() {
            self.deliver_event(None, event.as_bytes(), &data);
        }
    }

    /// To each listening object once, and not back to the sender.
    fn deliver_event(&mut self, from: Option<ClientId>, id: &[u8], data: &[u8]) {
        let matches = |pattern: &&Pattern| match pattern.prefix {
            true => id.starts_with(&pattern.text),
            false => id == pattern.text,
        };
        let listeners: BTreeSet<u32> =
            self.patterns.iter().filter(matches).map(|pattern| pattern.object).collect();
        for listener in listeners {
            let Some(owner) = self.objects.get(&listener).map(|object| object.owner) else {
                continue;
            };
            if from == Some(owner) {
                continue;
            }
            self.event_seq = self.event_seq.wrapping_add(1);
            self.send(owner, Header::new(kind::INVOKE, self.event_seq, 0), |out| {
                blob::put_u32(out, attr::OBJID, listener);
                blob::put_str(out, attr::METHOD, id);
                blob::put(out, attr::DATA, data);
            });
        }
    }

    fn handle_monitor_call(&mut self, from: ClientId, method: &[u8]) -> Status {
        let Some(client) = self.clients.get_mut(&from) else {
            return Status::UNKNOWN_ERROR;
        };
        if client.credentials.uid != 0 || client.credentials.gid != 0 {
            return Status::PERMISSION_DENIED;
        }
        match method {
            b"add" => client.monitor = Some(0),
            b"remove" => client.monitor = None,
            _ => return Status::METHOD_NOT_FOUND,
        }
        Status::OK
    }

    /// Shows a message to whoever monitors the bus.
    fn monitor(&mut self, client: ClientId, header: Header, body: &[u8], sent: bool) {
        let monitors: Vec<ClientId> =
            self.clients.iter().filter(|(_, c)| c.monitor.is_some()).map(|(id, _)| *id).collect();
        for monitor in monitors {
            let Some(Client { monitor: Some(seq), .. }) = self.clients.get_mut(&monitor) else {
                continue;
            };
            *seq = seq.wrapping_add(1);
            let seq = *seq;
            if body.len() > MAX_MESSAGE_LEN / 2 {
                continue; // a monitor may miss messages; the gap in the numbers shows it
            }
            self.send(monitor, Header::new(kind::MONITOR, seq, 0), |out| {
                blob::put_u32(out, 0, client.0);
                blob::put_u32(out, 1, header.peer);
                blob::put_u32(out, 3, header.seq.into());
                blob::put_u32(out, 4, header.kind.into());
                blob::put(out, 2, &[sent.into()]);
                blob::put(out, 5, body);
            });
        }
    }
}
