//! That a box is there: signed anew every 150 s.

use super::{Format, DATES};
use crate::commons::fields::{wrong, Fields, Members};
use crate::commons::id::Id;
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;

/// Letters that tell two sessions of one number apart.
pub const RUN: usize = 8;
/// The longest a box may ask to be waited for after a clean shutdown, in seconds.
pub const BACK: u64 = 3600;

/// Which of two things a box said later: the session, counted by a file of the box, and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// The number of the session, from 1.
    pub session: u32,
    /// The place in it.
    pub seq: u32,
}

impl Stamp {
    pub(super) fn read(fields: Fields<'_>) -> Result<Stamp> {
        let number = |name| fields.number(name, 0..=u32::MAX.into());
        // Within the range.
        Ok(Stamp { session: number("session")? as u32, seq: number("seq")? as u32 })
    }

    pub(super) fn write(self, members: Members) -> Members {
        members.with("session", self.session).with("seq", self.seq)
    }
}

/// The letters of a session.
pub(super) fn read_run(fields: Fields<'_>) -> Result<[u8; RUN]> {
    let run = fields.text("run", RUN)?;
    let good = run.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    match run.as_bytes().try_into() {
        Ok(run) if good => Ok(run),
        _ => Err(wrong("run", "it is not 8 of a-z, 0-9")),
    }
}

pub(super) fn write_run(run: &[u8; RUN]) -> String {
    String::from_utf8_lossy(run).into_owned()
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// The box.
    pub of: Id,
    /// Its session and how often it said something in it.
    pub stamp: Stamp,
    /// The session's letters: another box with the same key has others.
    pub run: [u8; RUN],
    /// When it was signed, in seconds since 1970 by the box's clock.
    pub at: u64,
    /// It goes down on purpose, and shall be waited for so many seconds longer than usual.
    pub back: u64,
    /// It is the will: said by the broker when the connection was lost. It decides nothing.
    pub lost: bool,
}

/// Of no use to anybody so much later.
const HOLDS: u64 = super::DAY;

impl Format for Alive {
    const PURPOSE: Purpose = Purpose::Alive;
    const KNOWN: &'static [&'static str] = &["box", "session", "seq", "run", "at", "back", "lost"];

    fn read(fields: Fields<'_>) -> Result<Alive> {
        fields.number("expires", DATES)?;
        Ok(Alive {
            of: fields.id("box")?,
            stamp: Stamp::read(fields)?,
            run: read_run(fields)?,
            at: fields.number("at", DATES)?,
            back: fields.maybe_number("back", 0..=BACK)?.unwrap_or(0),
            lost: fields.flag("lost")?,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("box", self.of).with("run", write_run(&self.run));
        let members = members.with("at", self.at).with("expires", self.at + HOLDS);
        let members = members.with_some("back", (self.back > 0).then_some(self.back));
        self.stamp.write(members).with_flag("lost", self.lost)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Alive(self.of)
    }
}
