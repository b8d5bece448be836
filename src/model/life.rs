//! How the runs of a container end, and when it is started again.

use super::name::Name;
use super::spec::Restart;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The longest time between two tries to start a container that ends again and again.
const LONGEST: u64 = 300;
/// After a run of this many seconds a container is no longer one that ends again and again.
pub const GOOD_RUN: u64 = 60;
/// So many reboots in quick succession are a guest's own business: an upgrade may want two. One more is no good run.
pub const REBOOTS: u32 = 3;
/// How the kernel ends the init of a pid namespace whose reboot(2) asked for a halt or a poweroff.
const HALTED: i32 = 2;
const SIGKILL: i32 = 9;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody stopped it.
    Asked,
    /// Somebody stopped it, and it had to be killed.
    Killed,
    /// The guest shut itself down.
    Poweroff,
    /// Its init ended in another way.
    Crashed,
    /// The kernel killed its init for want of memory.
    OutOfMemory,
    /// Its guest rebooted again and again.
    Reboots,
    /// Nobody was there to see.
    Unknown,
}

impl Reason {
    const ALL: [Reason; 7] = [
        Reason::Asked,
        Reason::Killed,
        Reason::Poweroff,
        Reason::Crashed,
        Reason::OutOfMemory,
        Reason::Reboots,
        Reason::Unknown,
    ];

    /// As it stands in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Asked => "asked",
            Reason::Killed => "killed",
            Reason::Poweroff => "poweroff",
            Reason::Crashed => "crashed",
            Reason::OutOfMemory => "out_of_memory",
            Reason::Reboots => "reboots",
            Reason::Unknown => "unknown",
        }
    }

    /// Whether it should not have ended.
    pub fn is_failure(self) -> bool {
        matches!(self, Reason::Crashed | Reason::OutOfMemory | Reason::Reboots)
    }

    /// Whether a container is to be started again that ended so.
    pub fn restarts(self, policy: Restart) -> bool {
        match policy {
            Restart::No => false,
            Restart::OnFailure => self.is_failure(),
            Restart::Always => !matches!(self, Reason::Asked | Reason::Killed),
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Why it ended.
    pub reason: Reason,
    /// The wait status of its init, where LXC told it.
    pub status: Option<i32>,
    /// When it ended, in seconds since 1970.
    pub at: u64,
}

impl Exit {
    /// The end of a run that nobody asked for.
    pub fn by_itself(status: Option<i32>, out_of_memory: bool, at: u64) -> Exit {
        let reason = match status {
            None => Reason::Unknown,
            Some(0 | HALTED) => Reason::Poweroff,
            Some(SIGKILL) if out_of_memory => Reason::OutOfMemory,
            Some(_) => Reason::Crashed,
        };
        Exit { reason, status, at }
    }

    /// Its init's exit code, unless a signal ended it.
    pub fn code(&self) -> Option<i32> {
        ExitStatus::from_raw(self.status?).code()
    }

    /// The signal that ended its init.
    pub fn signal(&self) -> Option<i32> {
        ExitStatus::from_raw(self.status?).signal()
    }

    /// What happened, for people.
    pub fn sentence(&self) -> String {
        let mut text = "its init ".to_string();
        match (self.reason, self.code(), self.signal()) {
            (Reason::OutOfMemory, ..) => return "it ran out of memory; give it more with `set`".into(),
            (Reason::Reboots, ..) => {
                return "its guest rebooted again and again; its console log may say why".into();
            }
            (_, Some(code), _) => drop(write!(text, "ended with exit code {code}")),
            (_, _, Some(signal)) => drop(write!(text, "was ended by signal {signal}")),
            _ => text.push_str("ended"),
        }
        text + "; its console log may say why"
    }
}

/// What is remembered of a container's ends and restarts, until the box boots again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Life {
    /// How often it was started again since somebody started it.
    pub restarts: u32,
    /// How many of them in a row did no good.
    pub tries: u32,
    /// It is to be started again.
    pub pending: bool,
    /// It is to be started as soon as its bridge is there.
    pub awaits: bool,
    /// How its last run ended.
    pub exit: Option<Exit>,
}

impl Life {
    /// A run of `seconds` has ended. Returns how long to wait before it is started again, if it is.
    pub fn end(&mut self, exit: Exit, seconds: u64, policy: Restart) -> Option<Duration> {
        if seconds >= GOOD_RUN {
            self.tries = 0;
        }
        self.exit = Some(exit);
        self.pending = exit.reason.restarts(policy);
        self.pending.then(|| self.delay())
    }

    /// How long to wait before the next start; longer each time.
    pub fn delay(&mut self) -> Duration {
        let seconds = 1_u64.checked_shl(self.tries).unwrap_or(LONGEST).min(LONGEST);
        self.tries = self.tries.saturating_add(1).min(31);
        Duration::from_secs(seconds)
    }

    /// How long to wait for a start that was waited for already, when an earlier daemon ended.
    pub fn same_delay(&mut self) -> Duration {
        self.tries = self.tries.saturating_sub(1);
        self.delay()
    }

    /// Somebody takes care of it: it begins anew.
    pub fn forget(&mut self) {
        *self = Life { exit: self.exit, ..Life::default() };
    }

    /// One line, to be kept over a restart of the daemon.
    pub fn line(&self) -> String {
        let due = u8::from(self.pending) | u8::from(self.awaits) << 1;
        let mut line = format!("{} {} {due}", self.restarts, self.tries);
        if let Some(exit) = self.exit {
            let _ = write!(line, " {} {}", exit.reason.as_str(), exit.at);
            if let Some(status) = exit.status {
                let _ = write!(line, " {status}");
            }
        }
        line
    }

    /// Reads it back; what is damaged is left out.
    pub fn parse(line: &str) -> Life {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (restarts, tries, due) = (number(), number(), number());
        let reason = words.next().and_then(|word| Reason::ALL.into_iter().find(|r| r.as_str() == word));
        let at = words.next().and_then(|word| word.parse().ok());
        let status = words.next().and_then(|word| word.parse().ok());
        let exit = reason.zip(at).map(|(reason, at)| Exit { reason, status, at });
        Life { restarts, tries, pending: due & 1 != 0, awaits: due & 2 != 0, exit }
    }
}

/// What `lines` of a name and a life's line remember of container `name`.
pub fn find(lines: &str, name: &Name) -> Life {
    let line = lines.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(' '));
    line.map(Life::parse).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_wait_status_says() {
        for (status, oom, reason, code, signal) in [
            (Some(HALTED), false, Reason::Poweroff, None, Some(2)),
            (Some(0), true, Reason::Poweroff, Some(0), None),
            (Some(3 << 8), false, Reason::Crashed, Some(3), None),
            (Some(9), false, Reason::Crashed, None, Some(9)),
            (Some(9), true, Reason::OutOfMemory, None, Some(9)),
            (Some(11 | 0x80), true, Reason::Crashed, None, Some(11)),
            (Some(1), false, Reason::Crashed, None, Some(1)),
            (None, true, Reason::Unknown, None, None),
        ] {
            let exit = Exit::by_itself(status, oom, 7);
            assert_eq!((exit.reason, exit.code(), exit.signal()), (reason, code, signal), "{status:?}");
        }
    }

    #[test]
    fn who_is_started_again() {
        use Reason::*;
        for (reason, on_failure, always) in [
            (Asked, false, false),
            (Killed, false, false),
            (Poweroff, false, true),
            (Crashed, true, true),
            (OutOfMemory, true, true),
            (Reboots, true, true),
            (Unknown, false, true),
        ] {
            let restarts = [Restart::No, Restart::OnFailure, Restart::Always].map(|p| reason.restarts(p));
            assert_eq!(restarts, [false, on_failure, always], "{reason:?}");
        }
    }

    #[test]
    fn each_try_waits_longer_until_a_good_run() {
        let mut life = Life::default();
        let crash = Exit::by_itself(Some(9), false, 1);
        let mut waits = Vec::new();
        for _ in 0..11 {
            waits.push(life.end(crash, 0, Restart::OnFailure).unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for _ in 0..100 {
            assert_eq!(life.same_delay().as_secs(), LONGEST);
            assert_eq!(life.delay().as_secs(), LONGEST);
        }
        assert_eq!(life.end(crash, 60, Restart::OnFailure).unwrap().as_secs(), 1);
        assert_eq!(life.end(crash, 59, Restart::OnFailure).unwrap().as_secs(), 2);
        assert_eq!(life.end(crash, 0, Restart::No), None);
        assert!(!life.pending);
        life.forget();
        assert_eq!(life, Life { exit: Some(crash), ..Life::default() });
    }

    #[test]
    fn a_line_is_read_back() {
        for life in [
            Life::default(),
            Life { restarts: 7, tries: 3, pending: true, awaits: false, exit: None },
            Life { awaits: true, ..Life::default() },
            Life {
                exit: Some(Exit { reason: Reason::OutOfMemory, status: Some(9), at: 1_700_000_000 }),
                ..Life::default()
            },
            Life { exit: Some(Exit { reason: Reason::Reboots, status: None, at: 5 }), ..Life::default() },
            Life { exit: Some(Exit { reason: Reason::Unknown, status: None, at: 5 }), ..Life::default() },
        ] {
            assert_eq!(Life::parse(&life.line()), life, "{}", life.line());
        }
        for damaged in ["", "x", "1 2", "9999999999999 0 1 crashed", "1 1 1 nothing 7 9", "0 0 0 asked x"] {
            assert_eq!(Life::parse(damaged).exit, None, "{damaged}");
        }
    }
}
