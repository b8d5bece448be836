//! Waiting in a job: for a descriptor, for a deadline, for a cancel; whichever is first.

use super::ctx::Cancel;
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

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
            Err(e) => return Err(Error::new(Code::Failed, format_args!("cannot wait: {}", e.desc()))),
        }
    }
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

/// The time from `now` to `deadline` for poll(2), rounded up to whole milliseconds: rounded down, the last one would
/// be spent in a busy loop.
pub fn timeout(deadline: Instant, now: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(now);
    let up = left.saturating_add(Duration::from_nanos(999_999));
    PollTimeout::try_from(up.as_millis()).unwrap_or(PollTimeout::MAX)
}
