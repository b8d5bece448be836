//! Calls on the bus: decoded, answered at once or when a job or a thread has ended.

mod methods;
mod threads;

pub use methods::objects;

use super::core::{Answer, Call, CallerId, Core, Errand, HeldCall, Waiter, Work};
use crate::api::replies::{Failure, JobReply, Started, Waited};
use crate::api::{BusObject, WAIT_MAX};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::{InTheWay, Job, JobId};
use log::error;
use openwrt_ubus::{from_fields, to_chosen_fields, to_fields, Fields, Request, Status};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value as Json;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a call waits for jobs that the daemon made by itself: those are short. Callers wait half a minute.
const OWN_JOBS_TIME: Duration = Duration::from_secs(25);

/// So many calls may wait for them.
const HELD_MAX: usize = 64;

/// The most that a reply may take, in bytes. A message may have a megabyte, with its head.
const REPLY_MAX: usize = (1 << 20) - (4 << 10);

/// The field that says that the ends of a reply's lists are missing.
const TRUNCATED: &str = "truncated";

impl Answer {
    /// At once, with this reply.
    fn reply(reply: &impl Serialize) -> Result<Answer> {
        encode(reply).map(Answer::Fields)
    }

    /// With the job when it has ended: it takes a moment only.
    fn ended(job: JobId) -> Answer {
        Answer::Job(job, Some(WAIT_MAX))
    }

    /// A thread finds the reply.
    fn found<R: Serialize>(kind: Work, find: impl FnOnce(&Machine) -> Result<R> + Send + 'static) -> Answer {
        Answer::Errand(Errand::new(kind, move |machine| {
            let fields = find(machine).and_then(|reply| encode(&reply));
            Box::new(move |_| fields.map(Answer::Fields))
        }))
    }

    /// A thread finds something out, of which `then` makes the answer.
    fn then<T: Send + 'static>(
        kind: Work,
        find: impl FnOnce(&Machine) -> T + Send + 'static,
        then: impl FnOnce(&mut Core, T) -> Result<Answer> + Send + 'static,
    ) -> Answer {
        Answer::Errand(Errand::new(kind, move |machine| {
            let found = find(machine);
            Box::new(move |core| then(core, found))
        }))
    }

    /// The same answer is good for all calls that ask `what`.
    fn shared(self, what: String) -> Answer {
        match self {
            Answer::Errand(errand) => Answer::Errand(errand.shared(what)),
            other => other,
        }
    }
}

impl Core {
    /// A call came.
    pub(super) fn call(
        &mut self,
        caller: u32,
        object: BusObject,
        method: &str,
        arguments: &[u8],
        handed: Option<OwnedFd>,
        request: Request,
    ) {
        match methods::find(object, method) {
            Some(method) => {
                let call = Call { caller, method: method.call, arguments: arguments.to_vec(), handed };
                self.attend_to(call, request, Instant::now() + OWN_JOBS_TIME);
            }
            None => self.connection.complete(request, Status::METHOD_NOT_FOUND),
        }
    }

    /// Does what a call asks for, or puts it aside where a job of the daemon's own is in its way.
    fn attend_to(&mut self, call: Call, request: Request, deadline: Instant) {
        // What takes it does not give it back.
        self.handed = call.handed.as_ref().and_then(|file| file.try_clone().ok());
        let answer = (call.method)(self, &call.arguments);
        // Most methods have no use for one.
        self.handed = None;
        if let Err(error) = &answer {
            if let Some(InTheWay { job, cut }) = InTheWay::of(error).filter(|_| self.held.len() < HELD_MAX) {
                let error = error.clone();
                self.held.push(HeldCall { call, request, job, deadline, error });
                let yields = self.state.jobs.get(job).is_some_and(|job| job.kind.yields);
                if self.put_off(job) || cut && yields {
                    self.cut_short(job);
                    self.go_on_with_calls();
                }
                return;
            }
        }
        // All of rpcd's callers have one connection; each has a session.
        let session = Fields::new(&call.arguments)
            .get("ubus_rpc_session")
            .and_then(|session| session.as_str())
            .unwrap_or_default();
        self.respond((call.caller, session.to_string()), request, answer);
    }

    /// Attends to the calls whose way is free by now, in the order in which they came.
    pub(super) fn go_on_with_calls(&mut self) {
        while let Some(at) = self.held.iter().position(|held| !self.state.jobs.is_open(held.job)) {
            let HeldCall { call, request, deadline, .. } = self.held.remove(at);
            self.attend_to(call, request, deadline);
        }
    }

    /// Answers the calls that have waited long enough for a job of the daemon's own.
    pub(super) fn give_up_calls(&mut self, now: Instant) {
        while let Some(at) = self.held.iter().position(|held| held.deadline <= now) {
            let held = self.held.remove(at);
            self.send_reply(held.request, Err(held.error));
        }
    }

    /// Answers a call, or has it answered.
    pub(super) fn respond(&mut self, caller: CallerId, request: Request, answer: Result<Answer>) {
        let (job, seconds, whole_job) = match answer {
            Ok(Answer::Fields(fields)) => return self.send_reply(request, Ok(fields)),
            Err(error) => return self.send_reply(request, Err(error)),
            Ok(Answer::Errand(errand)) => return self.send_errand(caller, request, errand),
            Ok(Answer::WholeJob(job, seconds)) => (job, seconds, true),
            Ok(Answer::Job(job, wait)) => match wait.unwrap_or(0) {
                0 => return self.send_reply(request, encode(&Started { job: job.to_string() })),
                seconds => (job, seconds, false),
            },
        };
        let deadline = Instant::now() + Duration::from_secs(seconds.min(WAIT_MAX).into());
        let waiter = Waiter { job, request, deadline, whole_job };
        if self.state.jobs.is_open(job) {
            self.waiters.push(waiter);
        } else {
            self.answer_waiter(waiter);
        }
    }

    /// Sends a reply's fields, or an error as data and as status.
    fn send_reply(&mut self, request: Request, result: Result<Vec<u8>>) {
        let (fields, status) = match result {
            Ok(fields) => (fields, Status::OK),
            Err(error) => {
                let failure = Failure { error: (&error).into() };
                (to_fields(&failure).unwrap_or_default(), Status(error.code.ubus_status()))
            }
        };
        match self.connection.reply(&request, &fields) {
            Ok(()) => self.connection.complete(request, status),
            Err(error) => {
                error!("a reply of {} bytes cannot be sent: {error}", fields.len());
                self.connection.complete(request, Status::UNKNOWN_ERROR);
            }
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_waiters(&mut self, is_done: impl Fn(&Waiter) -> bool) {
        let (done, waiting) = std::mem::take(&mut self.waiters).into_iter().partition(is_done);
        self.waiters = waiting;
        for waiter in done {
            self.answer_waiter(waiter);
        }
    }

    fn answer_waiter(&mut self, waiter: Waiter) {
        let answer = match self.state.jobs.get(waiter.job) {
            None => Err(Error::new(Code::NotFound, format_args!("job {} is no longer known", waiter.job))),
            Some(job) if waiter.whole_job => encode(&JobReply::from(job)),
            Some(Job { error: Some(error), .. }) => {
                Err(Error::new(Code::from_text(&error.code), error.message.clone()))
            }
            Some(job) => encode(&Waited { job: job.id.to_string(), state: job.state }),
        };
        self.send_reply(waiter.request, answer);
    }
}

/// The arguments of a call. Unknown fields are ignored, but not damaged ones, nor nesting that nothing could read.
fn decode<T: DeserializeOwned>(arguments: &[u8]) -> Result<T> {
    let damaged = |e| Error::new(Code::InvalidArgument, format_args!("the arguments cannot be read: {e}"));
    Fields::new(arguments).check().map_err(damaged)?;
    from_fields(arguments).map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))
}

fn encode(reply: &impl Serialize) -> Result<Vec<u8>> {
    fit(to_fields(reply), reply, to_fields)
}

/// A reply made of lists, whose entries have their name and those of their other fields that are asked for. None means
/// all.
fn encode_entries(reply: &impl Serialize, mut fields: Vec<String>) -> Result<Vec<u8>> {
    if fields.is_empty() {
        return encode(reply);
    }
    fields.extend(["name".into(), TRUNCATED.into()]);
    let chosen = to_chosen_fields(reply, 2, fields.clone());
    fit(chosen, reply, |shorter| to_chosen_fields(shorter, 2, fields.clone()))
}

/// A reply's fields, or why they cannot be encoded.
type Encoded = std::result::Result<Vec<u8>, openwrt_ubus::Error>;

/// A reply as it was encoded, when it fits into a message. Others can make lists long: one that does not fit loses the
/// ends of its lists, and says so with `truncated`.
fn fit(encoded: Encoded, reply: &impl Serialize, encode_again: impl Fn(&Json) -> Encoded) -> Result<Vec<u8>> {
    let is_good = |encoded: &Encoded| encoded.as_ref().is_ok_and(|fields| fields.len() <= REPLY_MAX);
    if is_good(&encoded) {
        return encoded.map_err(cannot_encode);
    }
    let mut reply = serde_json::to_value(reply).map_err(cannot_encode)?;
    while let Some(lists) = reply.as_object_mut() {
        let lists = lists.values_mut().filter_map(Json::as_array_mut);
        let Some(longest) = lists.max_by_key(|list| list.len()).filter(|list| !list.is_empty()) else {
            break;
        };
        longest.truncate(longest.len() * 3 / 4);
        reply[TRUNCATED] = Json::Bool(true);
        let encoded = encode_again(&reply);
        if is_good(&encoded) {
            return encoded.map_err(cannot_encode);
        }
    }
    Err(Error::new(Code::Failed, "the reply is too long for a message"))
}

fn cannot_encode(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Failed, format_args!("cannot encode the reply: {error}"))
}
