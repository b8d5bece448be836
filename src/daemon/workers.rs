//! Threads: each does one thing and ends with it.

use super::bus::Then;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::JobId;
use crate::operations::{Ending, Task};
use crate::steps::avahi::Troubles;
use crate::steps::ctx::{Cancel, Ctx, Update};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Jobs that work at the same time. A start is bound by the processor: more at once do not end sooner.
pub const AT_ONCE: usize = 8;
/// A job needs little stack; the largest buffers are on the heap.
const STACK: usize = 256 << 10;
/// How often a job's bytes are worth telling.
const BYTES_EVERY: Duration = Duration::from_millis(100);

/// Word from a thread to the loop.
pub enum Report {
    /// A job is at another point.
    Update(JobId, Update),
    /// A job has ended.
    Done(JobId, Ending),
    /// What avahi-daemon shall announce is written, but for this.
    Announced(Troubles),
    /// A thread has worked for a call, whose answer comes of this.
    Errand(u32, Then),
}

/// Where threads send their reports; wakes the loop.
pub type Sender = Arc<dyn Fn(Report) + Send + Sync>;

/// Does a job's work in a thread.
///
/// # Errors
/// No thread can be had.
pub fn spawn_job(
    machine: Arc<Machine>,
    sender: &Sender,
    id: JobId,
    task: Box<dyn Task>,
    cancel: Cancel,
) -> Result<()> {
    let updates = throttled(sender.clone(), id);
    spawn_report(sender, move || Report::Done(id, task.work(&machine, &Ctx::new(cancel, updates))))
}

/// Reports what `work` finds, from a thread.
///
/// # Errors
/// No thread can be had.
pub fn spawn_report(sender: &Sender, work: impl FnOnce() -> Report + Send + 'static) -> Result<()> {
    let sender = sender.clone();
    spawn(move || sender(work()))
}

/// Runs something of which nobody needs to hear.
///
/// # Errors
/// No thread can be had.
pub fn spawn(run: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.map(drop).map_err(|e| Error::new(Code::Failed, format_args!("cannot start a thread: {e}")))
}

/// Passes a job's updates on, bytes only now and then.
fn throttled(sender: Sender, id: JobId) -> impl Fn(Update) + Send + Sync {
    let last = Mutex::new(None::<Instant>);
    move |update| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Update::Bytes { .. } = update {
            if last.is_some_and(|at| at.elapsed() < BYTES_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        } else {
            // The first bytes of a step tell how many there are in all, and others may be long in coming.
            *last = None;
        }
        drop(last);
        sender(Report::Update(id, update));
    }
}
