//! Calls on the bus: decoded, answered at once or when a job or a thread has ended.

mod codec;
pub(super) mod method;
mod methods;
mod rights;
mod threads;

pub use methods::{objects, of_the_commons};

use self::codec::encode;
use self::method::{Caller, Grant, Method};
use self::rights::{denied, named};
use super::core::{Answer, Call, CallerId, Core, Errand, HeldCall, Waiter, Work};
use crate::api::replies::{Failure, JobReply, Started, Waited};
use crate::api::{BusObject, WAIT_MAX};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::{InTheWay, Job, JobId};
use log::error;
use openwrt_ubus::{to_fields, Fields, Request, Status};
use serde::Serialize;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a call waits for jobs that the daemon made by itself: those are short. Callers wait half a minute.
const OWN_JOBS_TIME: Duration = Duration::from_secs(25);

/// So many calls may wait for them.
const HELD_MAX: usize = 64;

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
        caller: &openwrt_ubus::conn::Caller,
        object: BusObject,
        method: &str,
        arguments: &[u8],
        handed: Option<OwnedFd>,
        request: Request,
    ) {
        match methods::find(object, method) {
            Some(method) => {
                let who = Caller::of(caller.user.as_deref());
                let call = Call { caller: caller.client, who, method, arguments: arguments.to_vec(), handed };
                self.attend_to(call, request, Instant::now() + OWN_JOBS_TIME);
            }
            None => self.connection.complete(request, Status::METHOD_NOT_FOUND),
        }
    }

    /// Does what a call asks for, or puts it aside where a job of the daemon's own is in its way.
    fn attend_to(&mut self, call: Call, request: Request, deadline: Instant) {
        // What takes it does not give it back.
        self.handed = call.handed.as_ref().and_then(|file| file.try_clone().ok());
        self.caller = call.who;
        let answer = self.attend_as(call.who, call.method, &call.arguments);
        // Most methods have no use for one.
        self.handed = None;
        // What begins by itself is nobody's.
        self.caller = Caller::default();
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

    /// The same, as far as its caller may ask for it.
    fn attend_as(&mut self, who: Caller, method: &Method, arguments: &[u8]) -> Result<Answer> {
        match (who, &method.commons) {
            (Caller::Commons, Grant::Nothing) => {
                let why = "it is the box's owner's";
                Err(denied(format_args!("the process of the commons may not call `{}`: {why}", method.name)))
            }
            (Caller::Commons, Grant::If(check)) => {
                check(&self.state, &named(arguments)?)?;
                (method.call)(self, arguments)
            }
            (Caller::Commons, Grant::Instead(call)) => call(self, arguments),
            (Caller::Other, Grant::Alone) => {
                let who = "only root and the process of the commons";
                Err(denied(format_args!("{who} may call `{}`", method.name)))
            }
            _ => (method.call)(self, arguments),
        }
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
