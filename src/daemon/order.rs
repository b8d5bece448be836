//! The order of containers when the box starts and when it goes down: by priority, one group after the other.

use super::core::{Active, Begun, Boot, Core, Shutdown};
use super::start_up;
use super::workers::AT_ONCE;
use crate::api::replies::JobReply;
use crate::api::BusObject;
use crate::error::{Code, Error, Result};
use crate::model::job::{JobId, State, Target};
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::operations::{self, args, stop_how, SHUTDOWN};
use crate::state::{now, Container};
use crate::steps::ctx::Gate;
use crate::steps::host::processors;
use crate::steps::lxc::StopHow;
use log::info;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Starts at once for each processor: most of a start is waiting for the kernel.
const STARTS_EACH: usize = 4;

impl Boot {
    /// Nothing has been begun of `queue`.
    pub(super) fn of(queue: VecDeque<(u16, Action)>) -> Boot {
        Boot { queue, begun: Vec::new() }
    }

    /// Whether what starts with `priority` may be prepared while the group of `turn` is started: one group is, and only
    /// what is there already, since a container that is being made cannot give way to a call.
    fn may_prepare(&self, turn: u16, priority: u16, action: &Action) -> bool {
        let others = self.begun.iter().filter(|begun| begun.priority != turn);
        matches!(action, Action::Start(_)) && others.clone().all(|begun| begun.priority == priority)
    }
}

impl Core {
    /// A job has ended: begins what waited for it.
    pub(super) fn go_on_in_order(&mut self) {
        self.go_on_booting();
        self.go_on_shutting_down();
    }

    /// Begins to start what starts at boot and has the smallest priority left, as many at once as the processors can
    /// bear. What the next group needs before its inits run is made meanwhile; they wait until those of this group run,
    /// or cannot.
    pub(super) fn go_on_booting(&mut self) -> Vec<JobId> {
        let mut jobs = Vec::new();
        let places = processors() * STARTS_EACH;
        // While a daemon ends, its jobs are cut short: the next one starts the rest.
        while let Some(boot) = self.boot.as_mut().filter(|_| !self.ending) {
            boot.begun.retain(|begun| self.state.jobs.is_open(begun.job));
            if boot.begun.is_empty() && boot.queue.is_empty() {
                self.boot = None;
                start_up::write_boot_marker(&self.state.layout.boot_marker());
                break;
            }
            // What a job of somebody's works on comes when that has ended, and holds up nobody.
            let is_idle = |(_, action): &(u16, Action)| self.state.job_on(action.name()).is_none();
            let next = boot.queue.iter().position(is_idle);
            let priority = next.and_then(|at| boot.queue.get(at)).map(|(priority, _)| *priority);
            let Some(turn) = boot.begun.iter().map(|begun| begun.priority).chain(priority).min() else {
                break;
            };
            for begun in boot.begun.iter().filter(|begun| begun.priority == turn) {
                if let Some(gate) = self.active.get(&begun.job).and_then(|active| active.gate.as_ref()) {
                    gate.open();
                }
            }
            let (Some(at), Some(priority)) = (next, priority) else { break };
            let beside = boot.begun.iter().filter(|begun| begun.priority == priority).count();
            let is_early = priority != turn;
            if beside >= places || is_early && !boot.may_prepare(turn, priority, &boot.queue[at].1) {
                break;
            }
            // Where no gate can be had, it is begun when its turn has come.
            let Ok(gate) = is_early.then(Gate::new).transpose() else { break };
            let Some((priority, action)) = boot.queue.remove(at) else { break };
            if !self.is_still_to_be_done(&action) {
                continue;
            }
            if let Some(job) = self.act_behind(gate, action.clone()) {
                jobs.push(job);
                if let Some(boot) = &mut self.boot {
                    boot.begun.push(Begun { job, priority, action, put_off: false });
                }
            }
        }
        jobs
    }

    /// A container's init runs: its group waits for it no more.
    pub(super) fn one_more_runs(&mut self, id: JobId) {
        if let Some(boot) = &mut self.boot {
            boot.begun.retain(|begun| begun.job != id);
            self.go_on_booting();
        }
    }

    /// A call is in the way of which job `id` is: a start that waits for its turn gives way, and is begun anew behind the
    /// call. False: it is none.
    pub(super) fn put_off(&mut self, id: JobId) -> bool {
        let waits = self.active.get(&id).is_some_and(Active::is_behind_gate);
        let begun = self.boot.as_mut().and_then(|boot| boot.begun.iter_mut().find(|begun| begun.job == id));
        let Some(begun) = begun.filter(|_| waits) else { return false };
        begun.put_off = true;
        true
    }

    /// A job has ended. If it has given way to a call, what it was to do is to be done again.
    pub(super) fn begin_again_later(&mut self, id: JobId) {
        let Some(boot) = &mut self.boot else { return };
        let Some(at) = boot.begun.iter().position(|begun| begun.job == id && begun.put_off) else { return };
        let Begun { priority, action, .. } = boot.begun.remove(at);
        self.state.containers.get_mut(action.name()).into_iter().for_each(Container::forget_cancelled);
        boot.queue.push_front((priority, action));
    }

    /// Somebody stops the container: neither a crash before nor the box's boot starts it now.
    pub(super) fn start_no_more(&mut self, name: &Name) {
        self.state.forget_restarts(name);
        // A start that was cut short for that is no failure.
        self.state.containers.get_mut(name).into_iter().for_each(Container::forget_cancelled);
        if let Some(boot) = &mut self.boot {
            boot.queue.retain(|(_, action)| !matches!(action, Action::Start(of) if of == name));
        }
    }

    /// Whether nobody has seen to it in the meantime.
    fn is_still_to_be_done(&self, action: &Action) -> bool {
        let (Action::Start(name) | Action::Create { name, .. }) = action else { return true };
        let made = self.state.containers.get(name);
        self.state.config.containers.get(name).is_some_and(|declared| !declared.deleting)
            && made.is_none_or(|container| container.live.is_none())
            && made.is_some() == matches!(action, Action::Start(_))
    }

    /// Stops all containers, those with the largest priority first.
    ///
    /// # Errors
    /// A time that is too long.
    pub(super) fn shut_down(&mut self, args: &args::Shutdown) -> Result<JobId> {
        if let Some(shutdown) = &self.shutdown {
            return Ok(shutdown.job);
        }
        let time = match stop_how(Some(args.timeout.unwrap_or(operations::SHUTDOWN_TIMEOUT)), false)? {
            StopHow::Ask(time) => time,
            StopHow::Kill => Duration::ZERO,
        };
        let job = self.state.jobs.add(SHUTDOWN, Target::AllContainers, None, now());
        if let Some(job) = self.state.jobs.get_mut(job) {
            job.state = State::Running;
        }
        self.state.jobs_changed = true;
        self.boot = None;
        let names: Vec<Name> = self.state.containers.keys().cloned().collect();
        for name in &names {
            self.state.forget_restarts(name);
        }
        // What a container's job would still do is not waited for.
        for job in self.state.jobs.open().filter(|job| job.kind.cancellable && job.kind != operations::STOP) {
            if let Some(active) = self.active.get(&job.id) {
                active.cancel.cancel();
            }
        }
        self.shutdown = Some(Shutdown { job, until: Instant::now() + time, begun: Vec::new(), total: 0 });
        self.state.shutdown = Some(job);
        info!("stopping all containers, the last of the order first, within {} s", time.as_secs());
        self.go_on_shutting_down();
        Ok(job)
    }

    fn go_on_shutting_down(&mut self) {
        let Some(mut shutdown) = self.shutdown.take() else { return };
        let left = self.left_to_stop(&shutdown.begun);
        let mut groups: Vec<u16> = Vec::new();
        for (priority, _) in &left {
            if !groups.contains(priority) {
                groups.push(*priority);
            }
        }
        let Some(first) = groups.iter().max() else {
            let failed: Vec<String> = self.still_running();
            let result = match failed.as_slice() {
                [] => Ok(()),
                names => {
                    Err(Error::new(Code::Failed, format_args!("{} could not be stopped", names.join(", "))))
                }
            };
            self.state.shutdown = None;
            return self.finish(shutdown.job, result);
        };
        let (mut open, mut next) = (0, Vec::new());
        for (priority, name) in &left {
            if self.state.job_on(name).is_some() {
                open += 1;
            } else if priority == first {
                next.push(name.clone());
            }
        }
        next.truncate(AT_ONCE.saturating_sub(open));
        // Each group gets its share of the time that is left, so that one that hangs leaves some to the others.
        let share = shutdown.until.saturating_duration_since(Instant::now()) / groups.len() as u32;
        let how = if share.is_zero() { StopHow::Kill } else { StopHow::Ask(share) };
        shutdown.total = shutdown.total.max(left.len() as u64);
        if let Some(job) = self.state.jobs.get_mut(shutdown.job) {
            (job.bytes, job.total) = (shutdown.total - left.len() as u64, Some(shutdown.total));
            let reply = JobReply::from(&*job);
            self.state.notify(BusObject::Job, "job.progress", &reply);
        }
        shutdown.begun.extend(next.iter().cloned());
        self.shutdown = Some(shutdown);
        for name in next {
            let Some(container) = self.state.containers.get(&name) else { continue };
            let init = container.record.init;
            self.begin_own(Box::new(operations::Stop { name, init, how }));
        }
    }

    /// Containers that run and whose stop was not begun, and those a job works on, with their priorities.
    fn left_to_stop(&self, begun: &[Name]) -> Vec<(u16, Name)> {
        let state = &self.state;
        let mut left = Vec::new();
        for name in state.records().map(|record| &record.name) {
            if state.job_on(name).is_some() || state.runs(name) && !begun.contains(name) {
                left.push((self.priority(name), name.clone()));
            }
        }
        left
    }

    fn still_running(&self) -> Vec<String> {
        let running = self.state.containers.iter().filter(|(_, container)| container.live.is_some());
        running.map(|(name, _)| name.to_string()).collect()
    }

    fn priority(&self, name: &Name) -> u16 {
        let state = &self.state;
        let record = state.containers.get(name).map(|c| &c.record).or(state.making.get(name));
        let made = record.map(|record| &record.spec);
        state.declared_spec(name).or(made).map_or(0, |spec| spec.priority)
    }
}
