use super::{CallId, LookupId, ObjectId, Request, SubscriptionId};
use crate::error::Error;
use crate::msg::Status;
use crate::signature::Methods;
use serde::Deserialize;
use std::os::fd::OwnedFd;

/// What happened, in the order it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// `ubusd` said hello. Whatever was declared is being published.
    Connected {
        /// Our id, as callees see it.
        client: u32,
    },
    /// An object is on the bus.
    Published {
        /// Which one.
        object: ObjectId,
    },
    /// An object is not on the bus: its path is taken (INVALID_ARGUMENT), or publishing is not allowed. It stays
    /// declared; [`Connection::publish_again`](super::Connection::publish_again) tries once more.
    PublishFailed {
        /// Which one.
        object: ObjectId,
        /// Why.
        status: Status,
    },
    /// Somebody calls a method of ours.
    Call {
        /// Our object.
        object: ObjectId,
        /// One of its declared methods; the connection itself answers calls of others.
        method: String,
        /// Encoded fields, for [`from_fields`](crate::from_fields). Not checked against the signature.
        arguments: Vec<u8>,
        /// Who calls.
        caller: Caller,
        /// An open file that the caller hands over. Nothing is known of it but that the caller could open it.
        descriptor: Option<OwnedFd>,
        /// To be answered.
        request: Request,
    },
    /// A call of ours has ended.
    CallEnded {
        /// Which one.
        call: CallId,
        /// How.
        reply: Reply,
    },
    /// A lookup has ended.
    LookupEnded {
        /// Which one.
        lookup: LookupId,
        /// NOT_FOUND when nothing matched.
        status: Status,
        /// What was found and may be seen by us, in order of path.
        objects: Vec<ObjectInfo>,
    },
    /// The first subscriber of an object came, or the last one left.
    SubscribersChanged {
        /// Our object.
        object: ObjectId,
        /// Whether it has any now.
        active: bool,
    },
    /// A subscription is in force, from the beginning or again.
    Subscribed {
        /// Which one.
        subscription: SubscriptionId,
    },
    /// A subscription is not in force: nothing has that path now (NOT_FOUND), or it is not allowed. It stays declared
    /// and is tried again when an object of that path appears.
    SubscribeFailed {
        /// Which one.
        subscription: SubscriptionId,
        /// Why.
        status: Status,
    },
    /// The object subscribed to has gone. The subscription stays declared, as above.
    SubscriptionLost {
        /// Which one.
        subscription: SubscriptionId,
    },
    /// An object subscribed to notifies.
    Notification {
        /// By which subscription.
        subscription: SubscriptionId,
        /// The notification's name.
        name: String,
        /// Encoded fields.
        data: Vec<u8>,
    },
    /// Somebody sent an event that matches a registered pattern.
    BusEvent {
        /// The event's name.
        id: String,
        /// Encoded fields.
        data: Vec<u8>,
    },
    /// Listening to a pattern is not allowed.
    ListenFailed {
        /// The pattern.
        pattern: String,
        /// Why.
        status: Status,
    },
}

/// Who calls, as `ubusd` knows it; a caller cannot forge this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The caller's client id.
    pub client: u32,
    /// Its user's name, such as `root`.
    pub user: Option<String>,
    /// Its primary group's name.
    pub group: Option<String>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Also made here: TIMEOUT and CONNECTION_FAILED. NOT_FOUND is either the callee's word, or nothing has that
    /// path; see `from_callee`.
    pub status: Status,
    /// What came before the status, even when that is an error; empty if nothing did. The fields of several DATA
    /// messages are joined; when they pass 1 MiB together only the latest message stays.
    pub data: Vec<u8>,
    /// The object called has answered; otherwise `ubusd` did, or nobody.
    pub from_callee: bool,
}

impl Reply {
    /// The data as a `T`.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Error> {
        crate::from_fields(&self.data)
    }
}

/// An object found by a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its path.
    pub path: String,
    /// Its id, until its owner or `ubusd` restarts.
    pub id: u32,
    /// Its type's id; objects of the same type share a signature.
    pub type_id: u32,
    /// The SIGNATURE attribute's data.
    pub signature: Vec<u8>,
}

impl ObjectInfo {
    /// The methods we may call, with their arguments.
    pub fn methods(&self) -> Methods<'_> {
        Methods::new(&self.signature)
    }
}
