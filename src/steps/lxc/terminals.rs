//! Pseudo terminals: all containers and the box share one number of them, and a guest's own mount of devpts bounds it to
//! no fewer. A container does not start where there are none for its consoles.

use super::super::filesystem::read_text;
use crate::error::{Code, Error, Result};
use std::path::Path;

/// How many there can be, how many of these are kept from everybody but the box's own programs, and how many there are.
const FILES: [&str; 3] =
    ["/proc/sys/kernel/pty/max", "/proc/sys/kernel/pty/reserve", "/proc/sys/kernel/pty/nr"];
/// What a container takes: its console and four terminals.
const OF_ONE: u64 = 5;
/// A number and a line's end.
const NUMBER_MAX: u64 = 64;

/// How many pseudo terminals there are, and how many containers can have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminals {
    /// Those that are open.
    pub used: u64,
    /// With as many, containers get no more.
    pub most: u64,
}

impl Terminals {
    /// As it is now; None where the kernel does not say.
    pub fn look() -> Option<Terminals> {
        let number = |path| read_text(Path::new(path), NUMBER_MAX).ok()?.trim().parse::<u64>().ok();
        let [max, reserve, used] = FILES.map(number);
        Some(Terminals { used: used?, most: max?.saturating_sub(reserve?) })
    }

    /// Whether there are enough for one more container.
    pub fn suffice(self) -> bool {
        self.used.saturating_add(OF_ONE) <= self.most
    }
}

/// Whether a container can have its consoles.
///
/// # Errors
/// [`Code::InUse`]: it cannot now, and may later.
pub fn check() -> Result<()> {
    judge(Terminals::look())
}

fn judge(found: Option<Terminals>) -> Result<()> {
    let Some(Terminals { used, most }) = found.filter(|terminals| !terminals.suffice()) else {
        return Ok(());
    };
    Err(Error::new(
        Code::InUse,
        format_args!(
            "{used} pseudo terminals are open of {most} that containers can have, none is left for its console; \
             `cloudbox doctor` tells which container has most of them: stop that one"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_needs_some_terminals() {
        for (found, good) in [
            (None, true),
            (Some((0, 3072)), true),
            (Some((3067, 3072)), true),
            (Some((3068, 3072)), false),
            (Some((4000, 3072)), false),
        ] {
            let judged = judge(found.map(|(used, most)| Terminals { used, most }));
            assert_eq!(judged.as_ref().err().map(|e| e.code), (!good).then_some(Code::InUse), "{found:?}");
        }
        assert!(Terminals::look().is_none_or(|found| found.most > 0));
    }
}
