//! Threads: each does one thing and ends with it.

use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::operations::{Ending, Task};
use crate::steps::ctx::{Cancel, Ctx, Gate, Update};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Jobs that work at the same time. A start is bound by the processor: more at once do not end sooner.
pub const AT_ONCE: usize = 8;
/// A job needs little stack; the largest buffers are on the heap.
const STACK: usize = 256 << 10;
/// How often a job's bytes are worth telling.
const BYTES_EVERY: Duration = Duration::from_millis(100);

/// Where threads send their reports; wakes the loop.
pub type Sender<R> = Arc<dyn Fn(R) + Send + Sync>;

/// Does a job's work in a thread, with its start behind `gate`: `update` hears at which point it is, `done` how it ended.
///
/// # Errors
/// No thread can be had.
pub fn spawn_job(
    machine: Arc<Machine>,
    task: Box<dyn Task>,
    cancel: Cancel,
    gate: Option<Gate>,
    update: impl Fn(Update) + Send + Sync + 'static,
    done: impl FnOnce(Ending) + Send + 'static,
) -> Result<()> {
    let update = throttled(update);
    spawn(move || done(task.work(&machine, &Ctx::new(cancel, update).behind(gate))))
}

/// Reports what `work` finds, from a thread.
///
/// # Errors
/// No thread can be had.
pub fn spawn_report<R: 'static>(sender: &Sender<R>, work: impl FnOnce() -> R + Send + 'static) -> Result<()> {
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
fn throttled(update: impl Fn(Update) + Send + Sync) -> impl Fn(Update) + Send + Sync {
    let last = Mutex::new(None::<Instant>);
    move |news| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Update::Bytes { .. } = news {
            if last.is_some_and(|at| at.elapsed() < BYTES_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        } else {
            // The first bytes of a step tell how many there are in all, and others may be long in coming.
            *last = None;
        }
        drop(last);
        update(news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_now_and_then_and_steps_at_once() {
        let told = Mutex::new(Vec::new());
        let update = throttled(|news| {
            told.lock().unwrap().push(match news {
                Update::Step(step) => step.to_string(),
                Update::Bytes { done, .. } => done.to_string(),
                _ => String::new(),
            });
        });
        let bytes = |done| Update::Bytes { done, total: None };
        update(Update::Step("copy"));
        let first = Instant::now();
        update(bytes(1));
        update(bytes(2));
        // The first of another step tell how many there are.
        update(Update::Step("flush"));
        update(bytes(3));
        let at_once = first.elapsed() < BYTES_EVERY;
        let last = Instant::now();
        while last.elapsed() <= BYTES_EVERY {
            std::thread::yield_now();
        }
        update(bytes(4));
        drop(update);
        let told = told.into_inner().unwrap();
        assert!(!at_once || told == ["copy", "1", "flush", "3", "4"], "{told:?}");
        assert_eq!(told.last().map(String::as_str), Some("4"));
    }
}
