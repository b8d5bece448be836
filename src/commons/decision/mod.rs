//! What a box does with one member of a slice: a pure function of what the manifest says, what is known of the other boxes
//! that it lists, and the time. Nobody coordinates them. All follow the same order, and err on the side of one too many: what
//! is one too many goes by itself when it sees that it is.

use super::formats::{MemberState, OnLoss};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;

/// How long somebody may take until it is ready. Later it counts as refused.
pub const MADE_WITHIN: u64 = 15 * MINUTE;
/// For how long it counts so, unless it is ready before, or there is a new serial.
pub const GIVEN_UP_FOR: u64 = 24 * 60 * MINUTE;
/// How long one of the first is waited for that lives and says nothing of the slice.
pub const SILENCE: u64 = 60 * SECOND;
/// How long one waits after its claim for each who comes before it.
pub const CLAIM_STEP: u64 = 10 * SECOND;
/// How long enough better ones must be ready until one that is too many goes.
pub const SURPLUS: u64 = 10 * MINUTE;
/// Who was heard within this time is there.
pub const HEARD: u64 = 7 * MINUTE;
/// How long a box that comes back waits to hear those who were there before.
pub const RETURN: u64 = 5 * MINUTE;
/// How long there must be no broker until what ran before is started again.
pub const NO_BROKER: u64 = MINUTE;
/// How long to wait for each better one when an image is changed one after the other.
pub const ROLL_STEP: u64 = MADE_WITHIN;

/// The time, and the earliest time at which a comparison that was made here will come out differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds, of a clock that never goes back.
    pub now: u64,
    next: u64,
}

impl Moment {
    /// One at which nothing was compared yet.
    pub fn new(now: u64) -> Moment {
        Moment { now, next: u64::MAX }
    }

    /// Whether `at` has come.
    pub fn is_past(&mut self, at: u64) -> bool {
        let past = self.now >= at;
        if !past {
            self.next = self.next.min(at);
        }
        past
    }

    /// When to look again; None if time alone changes nothing.
    pub fn next(&self) -> Option<u64> {
        (self.next != u64::MAX).then_some(self.next)
    }
}

/// A time that never comes.
pub const NEVER: u64 = u64::MAX;

/// What is known of another box that the group lists. Times are those of this box's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// Its place in the group's order, from 0.
    pub rank: usize,
    /// What it says of its member; None: nothing yet.
    pub state: Option<MemberState>,
    /// It follows an older serial than this box does.
    pub behind: bool,
    /// In which epoch it was made from a copy; 0: it was not.
    pub restored: u64,
    /// It says that nobody hears it.
    pub unheard: bool,
    /// Since when it says that it is claimed or being made, without a break.
    pub made_since: u64,
    /// It was not ready in time, and counts as refused until then; 0: it does not.
    pub given_up_until: u64,
    /// When it will be absent, if nothing is heard of it until then.
    pub absent_at: u64,
    /// Until when it counts as heard a short while ago; 0: it does not.
    pub heard_until: u64,
    /// Since when it has been heard and this serial known here; None: it was not heard yet.
    pub heard_since: Option<u64>,
    /// Since when this serial is known here.
    pub known_since: u64,
}

impl Other {
    fn is_given_up(&self, moment: &mut Moment) -> bool {
        self.given_up_until > 0 && !moment.is_past(self.given_up_until)
    }

    /// Whether it fills a place.
    fn holds(&self, count: usize, moment: &mut Moment) -> bool {
        if moment.is_past(self.absent_at) {
            return false;
        }
        match self.state {
            // A fault of its guest would be one elsewhere, too.
            Some(MemberState::Ready | MemberState::Failed) => true,
            Some(state) if state.is_made() || state == MemberState::Claimed => {
                !self.is_given_up(moment) && !moment.is_past(self.made_since.saturating_add(MADE_WITHIN))
            }
            // Its member stopped when all did: it has not read yet that they shall run.
            Some(MemberState::Stopped) => {
                self.behind && !moment.is_past(self.known_since.saturating_add(SILENCE))
            }
            Some(_) => false,
            None => {
                let heard = self.heard_since.map_or(NEVER, |since| since.saturating_add(SILENCE));
                self.rank < count && !moment.is_past(heard)
            }
        }
    }

    /// Whether it could fill a place and does not.
    fn is_due(&self, count: usize, moment: &mut Moment) -> bool {
        matches!(self.state, None | Some(MemberState::Spare | MemberState::Claimed))
            && !moment.is_past(self.absent_at)
            && !self.is_given_up(moment)
            && !self.holds(count, moment)
    }

    /// Whether it is ready, without doubt.
    fn is_ready(&self, moment: &mut Moment) -> bool {
        self.state == Some(MemberState::Ready)
            && self.heard_until > 0
            && !moment.is_past(self.heard_until)
            && !moment.is_past(self.absent_at)
    }
}

/// How this box's own member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is not there, or does not run, and could.
    Idle,
    /// It was claimed.
    Claimed {
        /// When.
        since: u64,
        /// For how long it is waited then.
        wait: u64,
    },
    /// It is being made or started.
    Made,
    /// It runs.
    Runs,
}

/// What is known of this box's own member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mine {
    /// Its place in the group's order; None: it is not listed any more.
    pub rank: Option<usize>,
    /// The manifest says that it shall not be here.
    pub not: bool,
    /// How it is.
    pub phase: Phase,
    /// The group was never accepted here before.
    pub first: bool,
    /// It ran when the box or the process went down, and nothing was decided since.
    pub ran: bool,
    /// It was put out, and may not come back yet.
    pub evicted: bool,
    /// In which epoch it was made from a copy; 0: it was not.
    pub restored: u64,
    /// Since when enough better ones are ready; None: they are not.
    pub surplus_since: Option<u64>,
}

/// What is known of the way to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// There is a broker for long enough, and all that stands there about this slice was read.
    pub settled: bool,
    /// Since when there is no broker at all.
    pub alone_since: Option<u64>,
    /// Until when a box that comes back waits for those whom it has not heard.
    pub return_until: u64,
    /// Another box with this box's key is there.
    pub foreign: bool,
    /// Nobody hears this box, and it hears others.
    pub unheard: bool,
}

/// What the manifest says of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How many shall run.
    pub count: usize,
    /// What happens when one is lost.
    pub on_loss: OnLoss,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing now.
    Rest,
    /// Say that it will be made here, and look again after so many milliseconds.
    Claim(u64),
    /// Take the claim back; do not start what ran before.
    Withdraw,
    /// Make it, or start what is there.
    Begin,
    /// Stop it and give up its place; its data stays.
    Retire(Why),
}

/// Why a member is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Enough better ones are ready.
    Surplus,
    /// The manifest does not list this box any more, and enough that it lists are ready.
    Dropped,
    /// The manifest says that it shall not be here.
    Not,
    /// Nobody hears this box, and there must not be two.
    Unheard,
}

/// Decides. The second value is since when enough better ones are ready, for the next time.
pub fn decide(
    wanted: Wanted,
    mine: Mine,
    others: &[Other],
    link: Link,
    moment: &mut Moment,
) -> (Verdict, Option<u64>) {
    match mine.phase {
        Phase::Runs => retire(wanted, mine, others, link, moment),
        Phase::Made if mine.not => (Verdict::Retire(Why::Not), None),
        Phase::Made => (Verdict::Rest, None),
        Phase::Claimed { since, wait } => (look_again(wanted, mine, others, link, since, wait, moment), None),
        Phase::Idle => (begin(wanted, mine, others, link, moment), None),
    }
}

fn begin(wanted: Wanted, mine: Mine, others: &[Other], link: Link, moment: &mut Moment) -> Verdict {
    let Some(rank) = mine.rank.filter(|_| !mine.not && !link.foreign) else { return Verdict::Rest };
    if mine.evicted {
        return Verdict::Rest;
    }
    if mine.first && rank < wanted.count {
        return Verdict::Begin;
    }
    if mine.ran {
        if let Some(since) = link.alone_since {
            return if moment.is_past(since.saturating_add(NO_BROKER)) {
                Verdict::Begin
            } else {
                Verdict::Rest
            };
        }
    }
    if !link.settled || link.unheard {
        return Verdict::Rest;
    }
    if mine.ran {
        return come_back(wanted, rank, others, link, moment);
    }
    let holding = others.iter().filter(|other| other.holds(wanted.count, moment)).count();
    if holding >= wanted.count {
        return Verdict::Rest;
    }
    let due = |other: &&Other| other.rank < rank && other.is_due(wanted.count, moment);
    let before = others.iter().filter(due).count() as u64;
    Verdict::Claim(before * CLAIM_STEP)
}

/// What ran is started again only if its place was not taken. Who is not heard a while after connecting has none. Of several
/// that come back together each says that it claims its place, and the better ones go first.
fn come_back(wanted: Wanted, rank: usize, others: &[Other], link: Link, moment: &mut Moment) -> Verdict {
    let (mut holding, mut surely) = (0, 0);
    for other in others {
        let is_there = other.heard_since.is_some() || !moment.is_past(link.return_until);
        let claims_later = other.state == Some(MemberState::Claimed) && other.rank > rank;
        if is_there && !claims_later && other.holds(wanted.count, moment) {
            holding += 1;
        }
        surely += usize::from(other.is_ready(moment));
    }
    if holding < wanted.count {
        Verdict::Begin
    } else if surely >= wanted.count {
        Verdict::Withdraw
    } else {
        Verdict::Rest
    }
}

fn look_again(
    wanted: Wanted,
    mine: Mine,
    others: &[Other],
    link: Link,
    since: u64,
    wait: u64,
    moment: &mut Moment,
) -> Verdict {
    let Some(rank) = mine.rank.filter(|_| !mine.not) else { return Verdict::Withdraw };
    if !moment.is_past(since.saturating_add(wait)) {
        return Verdict::Rest;
    }
    if !link.settled || link.foreign || link.unheard {
        return Verdict::Withdraw;
    }
    let fills = |other: &&Other| {
        let claims_later = other.state == Some(MemberState::Claimed) && other.rank > rank;
        // Who fills a place otherwise is no claim: ready, being made, or one of the first who is still waited for.
        other.holds(wanted.count, moment) && !claims_later
    };
    let filled = others.iter().filter(fills).count();
    if filled < wanted.count {
        Verdict::Begin
    } else {
        Verdict::Withdraw
    }
}

fn retire(
    wanted: Wanted,
    mine: Mine,
    others: &[Other],
    link: Link,
    moment: &mut Moment,
) -> (Verdict, Option<u64>) {
    if mine.not {
        return (Verdict::Retire(Why::Not), None);
    }
    if link.foreign || !link.settled {
        // What was seen until now may have changed meanwhile.
        return (Verdict::Rest, None);
    }
    if link.unheard && wanted.on_loss == OnLoss::Restore {
        return (Verdict::Retire(Why::Unheard), None);
    }
    let my_order = order(mine.restored, link.unheard, mine.rank.unwrap_or(usize::MAX));
    let better = |other: &&Other| {
        order(other.restored, other.unheard, other.rank) < my_order && other.is_ready(moment)
    };
    if others.iter().filter(better).count() < wanted.count {
        return (Verdict::Rest, None);
    }
    let since = mine.surplus_since.unwrap_or(moment.now);
    if !moment.is_past(since.saturating_add(SURPLUS)) {
        return (Verdict::Rest, Some(since));
    }
    let why = if mine.rank.is_none() { Why::Dropped } else { Why::Surplus };
    (Verdict::Retire(why), Some(since))
}

/// In what order members are kept, the first before all others: a later copy, then who is heard, then the list's order.
fn order(restored: u64, unheard: bool, rank: usize) -> (u64, bool, usize) {
    (u64::MAX - restored, unheard, rank)
}

/// Whether this box may make its member anew now, `since` when the manifest that wants it is known here. It waits for better
/// ones that are there, for each a while; where a guest failed, the change stops.
pub fn may_roll(rank: usize, others: &[Other], since: u64, moment: &mut Moment) -> bool {
    let mut waits = 0;
    for other in others.iter().filter(|other| other.rank < rank) {
        if moment.is_past(other.absent_at) {
            continue;
        }
        match other.state {
            Some(MemberState::Failed) if !other.behind => return false,
            Some(state) if state == MemberState::Ready || state.is_made() => {
                waits += u64::from(other.behind || state != MemberState::Ready);
            }
            // It has no member, or gave it up.
            _ => {}
        }
    }
    moment.is_past(since.saturating_add(waits * ROLL_STEP))
}

#[cfg(test)]
mod tests;
