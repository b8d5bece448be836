use std::sync::{Arc, Mutex, PoisonError};

/// A call to one of our objects that still waits for its end. Nobody else will answer the caller, so this must reach
/// [`Connection::complete`](super::Connection::complete) sooner or later; it may be kept meanwhile, and moved to
/// another thread. When it is dropped instead, the connection answers UNKNOWN_ERROR the next time it is used.
///
/// It may outlive the connection to `ubusd` it came from; answering it then does nothing.
#[derive(Debug)]
#[must_use = "the caller waits until this request is completed"]
pub struct Request {
    ticket: Option<Ticket>,
    abandoned: Abandoned,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// Which connect it belongs to; ids mean nothing in another.
    pub(super) epoch: u32,
    pub(super) seq: u16,
    pub(super) peer: u32,
    pub(super) object: u32,
    pub(super) no_reply: bool,
}

/// Requests dropped without an answer. Shared, because a request is dropped where its connection is out of reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Abandoned(Arc<Mutex<Vec<Ticket>>>);

impl Abandoned {
    pub(super) fn take(&self) -> Vec<Ticket> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, ticket: Ticket) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }
}

impl Request {
    pub(super) fn new(ticket: Ticket, abandoned: &Abandoned) -> Self {
        Self { ticket: Some(ticket), abandoned: abandoned.clone() }
    }

    /// The ticket, if this request came from the connection that `abandoned` belongs to.
    pub(super) fn ticket(&self, abandoned: &Abandoned) -> Option<Ticket> {
        self.ticket.filter(|_| Arc::ptr_eq(&self.abandoned.0, &abandoned.0))
    }

    pub(super) fn into_ticket(mut self, abandoned: &Abandoned) -> Option<Ticket> {
        let ticket = self.ticket(abandoned)?;
        self.ticket = None;
        Some(ticket)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.abandoned.push(ticket);
        }
    }
}
