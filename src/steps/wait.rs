//! Waiting in a job: for a descriptor, for a deadline, for a cancel; whichever is first.

use super::ctx::{Cancel, Ctx};
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// What a thread needs that does one thing only.
const STACK: usize = 128 << 10;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The descriptor is readable or hung up.
    Ready,
    /// The time is up.
    Deadline,
}

/// Waits until `fd` is readable, at most until `deadline`.
///
/// # Errors
/// [`Code::Cancelled`] when `cancel` is given and set first.
pub fn readable(fd: BorrowedFd<'_>, cancel: Option<&Cancel>, deadline: Instant) -> Result<Woken> {
    loop {
        let mut fds = vec![PollFd::new(fd, PollFlags::POLLIN)];
        if let Some(cancel) = cancel {
            cancel.check()?;
            fds.push(PollFd::new(cancel.fd(), PollFlags::POLLIN));
        }
        let now = Instant::now();
        match poll(&mut fds, timeout(deadline, now)) {
            Ok(0) if Instant::now() >= deadline => return Ok(Woken::Deadline),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) if fds[0].any() == Some(true) => return Ok(Woken::Ready),
            Ok(_) => {}
            Err(e) => return Err(Error::os("cannot wait", e)),
        }
    }
}

/// How long a turn is waited for at once: any time will do, since what opens the gate is waited for.
const TURN: Duration = Duration::from_secs(3600);

/// Waits until it is the job's turn to start its container.
///
/// # Errors
/// [`Code::Cancelled`].
pub fn for_turn(ctx: &Ctx) -> Result<()> {
    let Some(gate) = &ctx.gate else { return Ok(()) };
    while readable(gate.fd(), Some(&ctx.cancel), Instant::now() + TURN)? != Woken::Ready {}
    Ok(())
}

/// Sleeps for `time`, between two looks at something that tells nobody when it changes.
///
/// # Errors
/// [`Code::Timeout`] when `deadline` has passed.
pub fn pause(time: Duration, deadline: Instant) -> Result<()> {
    if Instant::now() >= deadline {
        return Err(Error::new(Code::Timeout, "it takes too long"));
    }
    std::thread::sleep(time);
    Ok(())
}

/// Runs `work` in a thread of its own, and waits for its end: what it does to itself, such as entering a namespace, goes
/// with it.
///
/// # Errors
/// No thread can be had.
pub fn in_thread(work: &mut (dyn FnMut() + Send)) -> io::Result<()> {
    std::thread::scope(|scope| {
        let work: Box<dyn FnOnce() + Send + '_> = Box::new(work);
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        // A panic aborts the daemon.
        let _ = thread.join();
        Ok(())
    })
}

/// The time from `now` to `deadline` for poll(2), rounded up to whole milliseconds: rounded down, the last one would
/// be spent in a busy loop.
pub fn timeout(deadline: Instant, now: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(now);
    let up = left.saturating_add(Duration::from_nanos(999_999));
    PollTimeout::try_from(up.as_millis()).unwrap_or(PollTimeout::MAX)
}
