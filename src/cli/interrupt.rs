//! Ctrl-C: while a job is followed, it goes on and the person is told so; while a file is copied, nothing is left.

use super::failure::complain;
use super::progress::Progress;
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, PoisonError};

/// The jobs that go on without us.
#[derive(Clone, Default)]
pub struct Followed(Arc<Mutex<Vec<String>>>);

impl Followed {
    /// From now on Ctrl-C and SIGTERM tell what goes on, and end the program.
    pub fn watch() -> Followed {
        let followed = Followed::default();
        let watched = followed.clone();
        before_end(Box::new(move || watched.tell()));
        followed
    }

    /// Says what goes on now.
    pub fn set(&self, jobs: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    fn tell(&self) {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_empty() {
            return;
        }
        Progress::stderr().clear();
        complain(&goes_on(&jobs));
    }
}

/// From now on Ctrl-C, SIGTERM and a closed terminal end the program only behind `last`.
///
/// A thread waits for them: what a signal handler may do is too little, and the client's wait ends for nothing but the
/// bus.
pub fn before_end(last: Box<dyn FnOnce() + Send>) {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    if signals.thread_block().is_err() {
        return;
    }
    let end: Box<dyn FnOnce() + Send> = Box::new(move || {
        // `wait` fails only for signals that do not exist.
        let signal = signals.wait().unwrap_or(Signal::SIGTERM);
        last();
        std::process::exit(128 + signal as i32);
    });
    if std::thread::Builder::new().spawn(end).is_err() {
        // Too poor for a thread: then they end the program without a word.
        let _ = signals.thread_unblock();
    }
}

/// `job 17 goes on; ...`
pub fn goes_on(jobs: &[String]) -> String {
    let (what, verb) = if jobs.len() == 1 { ("job", "goes on") } else { ("jobs", "go on") };
    let numbers = jobs.join(" ");
    format!(
        "{what} {numbers} {verb}; `cloudbox job wait {numbers}` follows, `cloudbox job cancel {}` ends it",
        jobs.first().map_or("", String::as_str)
    )
}
