//! What every blocking step is given: a way to say how far it is, and to hear that it shall stop.

use crate::error::{Code, Error, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Word from a job to the daemon's loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The job began this step.
    Step(&'static str),
    /// The step handled `done` bytes, of `total` when that is known.
    Bytes {
        /// Bytes handled.
        done: u64,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// What whoever asked for it should know, although nothing failed.
    Note(String),
    /// The container's init runs: nothing else is begun of it but to watch it.
    Runs,
}

/// A request to stop, shared by the loop and the job. Once set it stays set.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<(AtomicBool, EventFd)>);

impl Cancel {
    /// A token nobody has cancelled yet.
    ///
    /// # Errors
    /// No file descriptor could be had.
    pub fn new() -> Result<Cancel> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| Error::os("cannot make an eventfd", e))?;
        Ok(Cancel(Arc::new((AtomicBool::new(false), fd))))
    }

    /// Asks the job to stop.
    pub fn cancel(&self) {
        self.0 .0.store(true, Ordering::SeqCst);
        // A full counter is as readable as a written one.
        let _ = self.0 .1.write(1);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0 .0.load(Ordering::SeqCst)
    }

    /// Readable once cancelled, for waiting on it together with something else.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0 .1.as_fd()
    }

    /// An error when cancelled.
    ///
    /// # Errors
    /// [`Code::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(Code::Cancelled, "the job was cancelled; what it had made is removed"));
        }
        Ok(())
    }
}

/// Where a start waits for its turn, when all that comes before its container's init is done. Once open it stays open.
#[derive(Debug, Clone)]
pub struct Gate(Cancel);

impl Gate {
    /// A closed one.
    ///
    /// # Errors
    /// As [`Cancel::new`].
    pub fn new() -> Result<Gate> {
        Cancel::new().map(Gate)
    }

    /// Lets the job go on.
    pub fn open(&self) {
        self.0.cancel();
    }

    /// Whether it does.
    pub fn is_open(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Readable once open.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}

/// The context of one job.
pub struct Ctx {
    /// Set when the job shall stop.
    pub cancel: Cancel,
    /// Where it waits for its turn to start its container; None: it is its turn.
    pub gate: Option<Gate>,
    report: Arc<dyn Fn(Update) + Send + Sync>,
}

impl Ctx {
    /// A context that sends what the job says to `report`.
    pub fn new(cancel: Cancel, report: impl Fn(Update) + Send + Sync + 'static) -> Ctx {
        Ctx { cancel, gate: None, report: Arc::new(report) }
    }

    /// The same, which starts a container when `gate` is open.
    pub fn behind(self, gate: Option<Gate>) -> Ctx {
        Ctx { gate, ..self }
    }

    /// The same, but deaf to a cancel: for what must not be left half done.
    ///
    /// # Errors
    /// As [`Cancel::new`].
    pub fn deaf(&self) -> Result<Ctx> {
        Ok(Ctx { cancel: Cancel::new()?, gate: None, report: self.report.clone() })
    }

    /// A context nobody listens to.
    ///
    /// # Errors
    /// As [`Cancel::new`].
    pub fn silent() -> Result<Ctx> {
        Ok(Ctx::new(Cancel::new()?, |_| {}))
    }

    /// Begins step `name`. Call it before every change of the system: it is where a cancelled job ends, and where
    /// tests inject faults.
    ///
    /// # Errors
    /// [`Code::Cancelled`], or an injected fault.
    pub fn step(&self, name: &'static str) -> Result<()> {
        self.cancel.check()?;
        (self.report)(Update::Step(name));
        crate::fault::point(name)
    }

    /// Tells whoever asked for the job what is not as they may think, although it did not fail: a sentence without a
    /// full stop.
    pub fn note(&self, text: impl Into<String>) {
        (self.report)(Update::Note(text.into()));
    }

    /// Tells that the container's init runs.
    pub fn runs(&self) {
        (self.report)(Update::Runs);
    }

    /// Tells how many bytes the present step handled.
    pub fn bytes(&self, done: u64, total: Option<u64>) {
        (self.report)(Update::Bytes { done, total });
    }
}
