//! The order of containers when the box starts and when it goes down: by priority, one group after the other.

use super::core::{Boot, Core, Shutdown};
use super::start_up;
use super::workers::AT_ONCE;
use crate::api::replies::JobReply;
use crate::api::BusObject;
use crate::error::{Code, Error, Result};
use crate::model::job::{JobId, State, Target};
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::operations::{self, args, stop_how, SHUTDOWN};
use crate::state::now;
use crate::steps::host::processors;
use crate::steps::lxc::Stop;
use log::info;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Starts at once for each processor: most of a start is waiting for the kernel.
const STARTS_EACH: usize = 4;

impl Boot {
    /// Nothing has been begun of `queue`.
    pub(super) fn of(queue: VecDeque<(u16, Action)>) -> Boot {
        Boot { queue, priority: 0, jobs: Vec::new() }
    }
}

impl Core {
    /// A job has ended: begins what waited for it.
    pub(super) fn go_on_in_order(&mut self) {
        self.go_on_booting();
        self.go_on_shutting_down();
    }

    /// Begins to start what starts at boot and has the smallest priority left, as many at once as the processors can
    /// bear. The next group waits until all of this one have been started, or cannot be.
    pub(super) fn go_on_booting(&mut self) -> Vec<JobId> {
        let mut begun = Vec::new();
        // While a daemon ends, its jobs are cut short: the next one starts the rest.
        while let Some(boot) = self.boot.as_mut().filter(|_| !self.ending) {
            boot.jobs.retain(|id| self.state.jobs.is_open(*id));
            let open = boot.jobs.len();
            let Some((priority, _)) = boot.queue.front() else {
                if open == 0 {
                    self.boot = None;
                    start_up::write_boot_marker(&self.state.layout.boot_marker());
                }
                break;
            };
            if open >= processors() * STARTS_EACH || open > 0 && *priority != boot.priority {
                break;
            }
            let Some((priority, action)) = boot.queue.pop_front() else { break };
            boot.priority = priority;
            if self.is_still_to_be_done(&action) {
                let job = self.act(action);
                begun.extend(job);
                if let Some(boot) = &mut self.boot {
                    boot.jobs.extend(job);
                }
            }
        }
        begun
    }

    /// Somebody stops the container: neither a crash before nor the box's boot starts it now.
    pub(super) fn start_no_more(&mut self, name: &Name) {
        self.state.forget_restarts(name);
        // A start that was cut short for that is no failure.
        if let Some(container) = self.state.containers.get_mut(name) {
            container.failure = container.failure.take().filter(|failure| failure.code != Code::Cancelled);
        }
        if let Some(boot) = &mut self.boot {
            boot.queue.retain(|(_, action)| !matches!(action, Action::Start(of) if of == name));
        }
    }

    /// Whether nobody has seen to it in the meantime.
    fn is_still_to_be_done(&self, action: &Action) -> bool {
        let (Action::Start(name) | Action::Create { name, .. }) = action else { return true };
        let made = self.state.containers.get(name);
        self.state.config.containers.get(name).is_some_and(|declared| !declared.deleting)
            && self.state.job_on(name).is_none()
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
            Stop::Ask(time) => time,
            Stop::Kill => Duration::ZERO,
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
        let how = if share.is_zero() { Stop::Kill } else { Stop::Ask(share) };
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
