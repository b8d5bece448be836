//! How a box has a slice.

use super::alive::{read_run, write_run, Stamp, RUN};
use super::manifest::GROUPS_MAX;
use super::offer::word;
use super::Format;
use crate::commons::fields::{Fields, Members, DATES};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use serde_json::Value;

/// The longest reason, in bytes.
pub const REASON_MAX: usize = 120;
/// The longest code and the longest address, in bytes.
const CODE_MAX: usize = 24;
const ADDRESS_MAX: usize = 45;

/// How a member of a slice is, on a box that the slice lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// The box does not take it, or could not; why is in the reason.
    Refused,
    /// It would, if it were due. It may have the data of one that ran here.
    Spare,
    /// It will, in a moment, unless others do.
    Claimed,
    /// Its image is being fetched.
    Pulling,
    /// It is being made.
    Creating,
    /// It is being started.
    Starting,
    /// It runs.
    Ready,
    /// It is there, and nobody wants it to run, or the box's owner stopped it.
    Stopped,
    /// It is there and does not run, by a fault of its guest.
    Failed,
    /// It is being stopped, and its place is given up.
    Retiring,
    /// It was removed.
    Gone,
}

impl MemberState {
    /// The words of what is signed.
    pub const WORDS: [(&'static str, MemberState); 11] = [
        ("refused", MemberState::Refused),
        ("spare", MemberState::Spare),
        ("claimed", MemberState::Claimed),
        ("pulling", MemberState::Pulling),
        ("creating", MemberState::Creating),
        ("starting", MemberState::Starting),
        ("ready", MemberState::Ready),
        ("stopped", MemberState::Stopped),
        ("failed", MemberState::Failed),
        ("retiring", MemberState::Retiring),
        ("gone", MemberState::Gone),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&MemberState::WORDS, self)
    }

    /// Whether it is on its way to be ready.
    pub fn is_made(self) -> bool {
        matches!(self, MemberState::Pulling | MemberState::Creating | MemberState::Starting)
    }
}

/// How the member of a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The group.
    pub group: Label,
    /// How it is.
    pub state: MemberState,
    /// Since when, in seconds since 1970 by the box's clock.
    pub since: u64,
    /// Why, for scripts: an error's code, or a word of the commons. Empty: there is nothing to say.
    pub code: Box<str>,
    /// Why, for people.
    pub reason: Box<str>,
    /// Where what it publishes is reached.
    pub address: Box<str>,
    /// It was made from a copy of another's data, in this epoch: of two the later wins, whatever their ranks.
    pub restored: u64,
}

impl Reported {
    fn read(name: &str, value: &Value) -> Result<Reported> {
        let fields = Fields::of(name, value)?;
        let line = |name, most| Ok::<Box<str>, _>(fields.maybe_line(name, most)?.unwrap_or_default().into());
        Ok(Reported {
            group: fields.label("name", Kind::Group)?,
            state: fields.word("state", &MemberState::WORDS)?,
            since: fields.maybe_number("since", DATES)?.unwrap_or(0),
            code: line("code", CODE_MAX)?,
            reason: line("reason", REASON_MAX)?,
            address: line("address", ADDRESS_MAX)?,
            restored: fields.maybe_number("restored", DATES)?.unwrap_or(0),
        })
    }

    fn write(&self) -> Value {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        let members = Members::default().with("name", self.group.as_str());
        let members = members.with("state", self.state.as_str()).with("since", self.since);
        let members = members.with_some("code", some(&self.code));
        let members = members.with_some("reason", some(&self.reason));
        let members = members.with_some("address", some(&self.address));
        members.with_some("restored", (self.restored > 0).then_some(self.restored)).into()
    }
}

/// The state of a slice on a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The box.
    pub of: Id,
    /// Whose slice.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// When it was said, beside its signs of life: of two the greater holds, whichever broker kept it.
    pub stamp: Stamp,
    /// The letters of its session.
    pub run: [u8; RUN],
    /// The highest serial that it has seen.
    pub seen: u64,
    /// The serial that it follows; 0: none.
    pub applied: u64,
    /// A serial that the followed one says it was based on, and which never came here.
    pub skipped: Option<u64>,
    /// Two texts with the serial `seen` came here.
    pub twice: bool,
    /// Nobody hears the box, but it hears others: it ranks last.
    pub unheard: bool,
    /// Its members.
    pub groups: Vec<Reported>,
    /// When it may be cleared from brokers.
    pub expires: u64,
}

impl State {
    /// The same with shorter reasons, and with `bare` without reasons, codes and addresses: what many groups could say is
    /// longer than a state may be.
    pub fn shorten(&mut self, bare: bool) {
        for group in &mut self.groups {
            if bare {
                (group.code, group.address) = Default::default();
            }
            group.reason = cut(&group.reason, if bare { 0 } else { 24 }).into();
        }
    }
}

/// The first `most` bytes of `text`, and no half characters.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Format for State {
    const PURPOSE: Purpose = Purpose::State;
    const KNOWN: &'static [&'static str] = &[
        "box", "member", "slice", "session", "seq", "run", "seen", "applied", "skipped", "twice", "unheard",
        "groups",
    ];

    fn read(fields: Fields<'_>) -> Result<State> {
        Ok(State {
            of: fields.id("box")?,
            member: fields.id("member")?,
            slice: fields.label("slice", Kind::Slice)?,
            stamp: Stamp::read(fields)?,
            run: read_run(fields)?,
            seen: fields.number("seen", DATES)?,
            applied: fields.maybe_number("applied", DATES)?.unwrap_or(0),
            skipped: fields.maybe_number("skipped", DATES)?,
            twice: fields.flag("twice")?,
            unheard: fields.flag("unheard")?,
            groups: fields.list("groups", GROUPS_MAX, Reported::read)?,
            expires: fields.number("expires", DATES)?,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("box", self.of).with_id("member", self.member);
        let members = members.with("slice", self.slice.as_str()).with("run", write_run(&self.run));
        let members = members.with("seen", self.seen).with("applied", self.applied);
        let members = members.with_some("skipped", self.skipped).with_flag("twice", self.twice);
        let members = members.with_flag("unheard", self.unheard);
        let members = members.with_list("groups", &self.groups, Reported::write);
        self.stamp.write(members).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::State(self.of, self.member, self.slice)
    }
}
