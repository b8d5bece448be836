//! Jobs: begun when there is a place, followed, ended.

use super::bus::method::Caller;
use super::core::{Active, Core, Report};
use super::workers;
use crate::api::replies::JobReply;
use crate::api::BusObject;
use crate::error::{Code, Error, Result};
use crate::model::job::{Job, JobId, State};
use crate::operations::{About, Ending, Operation, Task};
use crate::state::now;
use crate::steps::ctx::{Cancel, Gate, Update};
use crate::steps::keep::keep;
use crate::steps::storage::Record;
use log::warn;
use std::time::{Duration, Instant};

/// `job.progress` is sent at most so often for each job.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

impl Core {
    /// Adds a job that somebody asked for, and begins it as soon as there is a place.
    pub(super) fn begin(&mut self, operation: impl Operation) -> JobId {
        self.begin_task(Box::new(operation))
    }

    /// The same with any of them.
    pub(super) fn begin_task(&mut self, task: Box<dyn Task>) -> JobId {
        self.add_and_begin(task, false, None)
    }

    /// The same with one that nobody asked for: a person's call about the same container waits for its end.
    pub(super) fn begin_own(&mut self, task: Box<dyn Task>) -> JobId {
        self.add_and_begin(task, true, None)
    }

    /// The same with one that starts its container when `gate` is open.
    pub(super) fn begin_behind(&mut self, gate: Option<Gate>, task: Box<dyn Task>) -> JobId {
        self.add_and_begin(task, true, gate)
    }

    fn add_and_begin(&mut self, task: Box<dyn Task>, own: bool, gate: Option<Gate>) -> JobId {
        let About { kind, target, source } = task.describe();
        let waits = kind.waits;
        let id = self.state.jobs.add(kind, target, source, now());
        if let Some(job) = self.state.jobs.get_mut(id) {
            job.own = own;
            job.commons = !own && self.caller == Caller::Commons;
        }
        self.state.jobs_changed = true;
        if task.has_nothing_to_do(&self.state) {
            self.state.jobs.finish(id, &Ok(()), now());
            return id;
        }
        // One that stops is not announced any more.
        self.state.adverts_changed = true;
        let cancel = match Cancel::new() {
            Ok(cancel) if !self.ending => cancel,
            Ok(_) => {
                self.finish(id, Err(Error::new(Code::Interrupted, "the daemon is ending")));
                return id;
            }
            Err(error) => {
                self.finish(id, Err(error));
                return id;
            }
        };
        task.promise(&mut self.state);
        let active = Active { cancel, task: Some(task), waits, gate, last_progress: Instant::now() };
        self.active.insert(id, active);
        self.queue.push_back(id);
        self.begin_queued();
        id
    }

    /// Begins queued jobs while there are places.
    fn begin_queued(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let takes_place = |active: &Active| !active.waits && !active.is_behind_gate();
        let mut working = self.active.values().filter(|a| a.task.is_none() && takes_place(a)).count();
        for id in std::mem::take(&mut self.queue) {
            let Some(active) = self.active.get_mut(&id) else { continue };
            if takes_place(active) && working >= workers::AT_ONCE {
                self.queue.push_back(id);
                continue;
            }
            let Some(task) = active.task.take() else { continue };
            working += usize::from(takes_place(active));
            if let Some(job) = self.state.jobs.get_mut(id) {
                job.state = State::Running;
            }
            let (machine, cancel, gate) =
                (self.state.machine.clone(), active.cancel.clone(), active.gate.clone());
            let (sender, at_end) = (self.sender.clone(), self.sender.clone());
            let update = move |update| sender(Report::Update(id, update));
            let done = move |ending| at_end(Report::Done(id, ending));
            if let Err(error) = workers::spawn_job(machine, task, cancel, gate, update, done) {
                // What it was promised is known again when the file is read again.
                self.forget_made(id);
                self.finish(id, Err(error));
            }
        }
        self.state.jobs_changed = true;
    }

    /// A job is at another point.
    pub(super) fn job_update(&mut self, id: JobId, update: Update) {
        let Some(job) = self.state.jobs.get_mut(id) else { return };
        match update {
            Update::Step(step) => {
                // Steps are named "create.mount"; the kind is in the job already.
                job.step = step.split_once('.').map_or(step, |(_, rest)| rest).to_string();
                (job.bytes, job.total) = (0, None);
            }
            Update::Bytes { done, total } => (job.bytes, job.total) = (done, total),
            Update::Note(text) => {
                warn!("{} of {}: {text}", job.kind, job.target);
                job.note(&text);
            }
            Update::Runs => return self.one_more_runs(id),
        }
        let reply = JobReply::from(&*job);
        let Some(active) = self.active.get_mut(&id) else { return };
        if active.last_progress.elapsed() >= PROGRESS_EVERY {
            active.last_progress = Instant::now();
            self.state.notify(BusObject::Job, "job.progress", &reply);
        }
    }

    /// A job has ended: what it found out becomes part of what is known, and what waited for it goes on.
    pub(super) fn job_ended(&mut self, id: JobId, ending: Ending) {
        let held: Vec<_> = self.state.jobs.get(id).into_iter().flat_map(Job::held).cloned().collect();
        let made = self.forget_made(id);
        let result = ending(&mut self.state);
        if let (Some(record), Err(_)) = (made, &result) {
            self.state.spoiled.push(record.ids);
        }
        self.finish(id, result);
        // Before the daemon makes up its mind what comes next: a person's wish counts first.
        self.go_on_with_calls();
        let beside = self.state.jobs.get(id).and_then(|job| job.target.container().cloned());
        if self.state.jobs.get(id).is_some_and(|job| job.commons && job.target.is_of_images()) {
            self.tidy_images();
        }
        if self.state.read_anew {
            self.carry_out();
        }
        for name in held.into_iter().chain(beside) {
            self.reconcile(&name);
        }
        self.go_on_in_order();
        self.begin_queued();
        self.state.adverts_changed = true;
    }

    /// Records the end of a job and tells everybody who waits for it.
    pub(super) fn finish(&mut self, id: JobId, result: Result<()>) {
        let result = result.map_err(|error| match error.code {
            Code::Cancelled if self.ending => {
                Error::new(Code::Interrupted, "the daemon was told to end; it goes on with it or undid it")
            }
            _ => error,
        });
        let waiting = self.active.remove(&id).and_then(|active| active.task);
        if let (Some(task), Err(error)) = (waiting, &result) {
            self.forget_made(id);
            task.take_back(&mut self.state, error);
        }
        self.begin_again_later(id);
        self.state.jobs.finish(id, &result, now());
        self.state.jobs_changed = true;
        self.state.notify_job_finished(id);
        self.answer_waiters(|waiter| waiter.job == id);
        if self.active.is_empty() {
            if self.state.containers.values().all(|c| c.live.is_none()) {
                self.state.machine.runtime.tidy();
            }
            // What a burst of work needed is not kept through the quiet that follows.
            crate::sys::trim_heap();
        }
    }

    /// The record of the container that job `id` makes, which is no longer being made.
    fn forget_made(&mut self, id: JobId) -> Option<Box<Record>> {
        let name = self.state.jobs.get(id)?.held().next()?;
        self.state.making.remove(name)
    }

    /// Cancels a job, if it can be cancelled.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::NotSupported`].
    pub(super) fn cancel(&mut self, id: &str) -> Result<JobReply> {
        let job = self.state.jobs.find(id)?.clone();
        if !self.active.contains_key(&job.id) {
            return Ok(JobReply::from(&job));
        }
        if !job.kind.cancellable {
            return Err(Error::new(
                Code::NotSupported,
                format_args!("a {} cannot be cancelled: what is gone does not come back", job.kind),
            ));
        }
        self.cut_short(job.id);
        self.go_on_with_calls();
        Ok(JobReply::from(self.state.jobs.get(job.id).unwrap_or(&job)))
    }

    /// Cancels a job, whatever it is; one that waits for a place has ended then.
    pub(super) fn cut_short(&mut self, id: JobId) {
        let Some(active) = self.active.get(&id) else { return };
        active.cancel.cancel();
        if active.task.is_some() {
            self.queue.retain(|queued| *queued != id);
            self.finish(id, Err(Error::new(Code::Cancelled, "the job was cancelled before it began")));
        }
    }

    /// Keeps the table of jobs over a restart of the daemon, if it changed. The loop calls it when replies are on their
    /// way.
    pub fn save_jobs(&mut self) {
        self.state.save_lives();
        if !std::mem::replace(&mut self.state.jobs_changed, false) {
            return;
        }
        let path = self.state.layout.jobs();
        match serde_json::to_string(&self.state.jobs) {
            Ok(text) => keep("the jobs", &path, &text),
            Err(error) => warn!("cannot keep the jobs in {}: {error}", path.display()),
        }
    }
}
