//! Calls that a thread answers: how many work at a time, who waits, and who shares an answer.
//!
//! Whoever may call may call often. Without bounds, hundreds of looks at the network would keep everybody else's `list`
//! waiting, and dozens of server lists would fill the disk. So each kind of work has a few threads; calls that ask the
//! same are answered together; and of one caller only so many wait.

use super::super::core::{Answer, CallerId, Core, Errand, Errands, Open, Owed, Report, Run, Then, Work};
use super::super::workers;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use litemap::LiteMap;
use log::error;
use openwrt_ubus::Request;
use std::sync::Arc;

/// Bytes on their way to the bus beyond which shared answers wait. Hundreds of copies of a long one would take all memory,
/// and who asks for little would wait behind them: so there are few of short ones, too.
const ON_THE_WAY: usize = 8 << 10;
/// How many may wait in all.
const WAITING: usize = 512;

impl Work {
    fn at_once(self) -> usize {
        match self {
            Work::Look => 4,
            Work::Listen | Work::Fetch => 2,
            Work::Exec => 64,
            Work::Edit => 1,
        }
    }

    /// How many errands of one caller may wait for a thread. Where each takes seconds, a few are enough.
    fn waiting_each(self) -> usize {
        match self {
            Work::Listen | Work::Fetch => 4,
            Work::Look | Work::Exec | Work::Edit => 32,
        }
    }
}

impl Errand {
    /// An errand that is run by itself.
    pub fn new(kind: Work, run: impl FnOnce(&Machine) -> Then + Send + 'static) -> Errand {
        Errand { kind, same: None, run: Box::new(run) }
    }

    /// The same, whose answer is that of all calls that ask `what`.
    pub fn shared(self, what: String) -> Errand {
        Errand { same: Some(what), ..self }
    }
}

impl Errands {
    /// Adds a call; when it must be refused, with the reason.
    fn add(
        &mut self,
        caller: CallerId,
        request: Request,
        errand: Errand,
    ) -> std::result::Result<(), (Request, Error)> {
        let same =
            |open: &&mut Open| open.kind == errand.kind && errand.same.is_some() && open.same == errand.same;
        if let Some(open) = self.open.iter_mut().map(|(_, open)| open).find(same) {
            open.requests.push((caller, request));
            return Ok(());
        }
        let is_of_caller = |id: &&u32| {
            let open = self.open.get(*id).filter(|open| open.kind == errand.kind);
            open.is_some_and(|open| open.requests.iter().any(|(other, _)| *other == caller))
        };
        let of_caller = self.queue.iter().filter(is_of_caller).count();
        if self.queue.len() >= WAITING || of_caller >= errand.kind.waiting_each() {
            let why = "too many calls wait for an answer already; wait for some of them to end";
            return Err((request, Error::new(Code::Busy, why)));
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let Errand { kind, same, run } = errand;
        self.open.insert(id, Open { kind, same, requests: vec![(caller, request)], run: Some(run) });
        self.queue.push_back(id);
        Ok(())
    }

    /// Takes what may begin now, oldest first.
    fn due(&mut self) -> Vec<(u32, Run)> {
        let mut at_work: LiteMap<Work, usize> = LiteMap::new();
        for open in self.open.values().filter(|open| open.run.is_none()) {
            *at_work.entry(open.kind).or_default() += 1;
        }
        let mut due = Vec::new();
        for id in std::mem::take(&mut self.queue) {
            let Some(open) = self.open.get_mut(&id) else { continue };
            let count = at_work.entry(open.kind).or_default();
            if *count >= open.kind.at_once() {
                self.queue.push_back(id);
                continue;
            }
            *count += 1;
            due.extend(open.run.take().map(|run| (id, run)));
        }
        due
    }
}

impl Core {
    /// Has a call answered by a thread, when one is free.
    pub(super) fn send_errand(&mut self, caller: CallerId, request: Request, errand: Errand) {
        if let Err((request, error)) = self.errands.add(caller, request, errand) {
            return self.send_reply(request, Err(error));
        }
        self.begin_errands();
    }

    fn begin_errands(&mut self) {
        for (id, run) in self.errands.due() {
            let machine: Arc<Machine> = self.state.machine.clone();
            if let Err(error) = workers::spawn_report(&self.sender, move || Report::Errand(id, run(&machine)))
            {
                error!("{error}");
                self.answer_errand(id, Err(error));
            }
        }
    }

    /// A thread has worked for a call.
    pub(crate) fn errand_ended(&mut self, id: u32, then: Then) {
        let answer = then(self);
        self.answer_errand(id, answer);
        self.begin_errands();
    }

    /// Answers all who asked the same.
    fn answer_errand(&mut self, id: u32, answer: Result<Answer>) {
        let Some(open) = self.errands.open.remove(&id) else { return };
        let mut requests = open.requests;
        let Some((caller, last)) = requests.pop() else { return };
        if !requests.is_empty() {
            // Only answers at once are shared.
            let answer = match &answer {
                Ok(Answer::Fields(fields)) => Ok(fields.clone()),
                Ok(_) => Err(Error::new(Code::Failed, "the answer cannot be shared")),
                Err(error) => Err(error.clone()),
            };
            let requests = requests.into_iter().map(|(_, request)| request).collect();
            self.owed.push_back(Owed { answer, requests });
        }
        self.respond(caller, last, answer);
        self.pay();
    }

    /// Sends shared answers, as many as the bus takes soon. To be called again when it has taken them.
    pub fn pay(&mut self) {
        while self.connection.transmit().len() < ON_THE_WAY {
            let Some(owed) = self.owed.front_mut() else { return };
            match owed.requests.pop_front() {
                Some(request) => {
                    let answer = owed.answer.clone();
                    self.send_reply(request, answer);
                }
                None => drop(self.owed.pop_front()),
            }
        }
    }

    /// Whether [`Core::pay`] has something left to send.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }
}
