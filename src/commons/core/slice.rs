//! What is known of a slice, of its members here, and of those elsewhere.

use super::super::decision::{Other, GIVEN_UP_FOR, MADE_WITHIN, NEVER};
use super::super::fields::Hash;
use super::super::formats::{Group, Manifest, MemberState, OnLoss, Stamp, State};
use super::super::id::Id;
use super::super::interface::Call;
use super::super::label::{container_name, container_slice, Label};
use super::super::presence::Presence;
use super::serials::Serials;

/// What another box says of a group.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    group: Label,
    state: MemberState,
    restored: u64,
    made_since: u64,
    given_up_until: u64,
}

/// What another box says of the slice.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The box.
    pub id: Id,
    /// When it said so.
    pub stamp: Stamp,
    /// The serial that it follows.
    pub applied: u64,
    /// The serial that it has seen.
    pub seen: u64,
    unheard: bool,
    groups: Vec<Told>,
}

impl Elsewhere {
    /// Of which nothing is known.
    pub fn new(id: Id) -> Elsewhere {
        Elsewhere { id, stamp: Stamp::default(), applied: 0, seen: 0, unheard: false, groups: Vec::new() }
    }

    /// It says this now. False: that is no news.
    pub fn tell(&mut self, state: &State, now: u64) -> bool {
        if state.stamp <= self.stamp {
            return false;
        }
        // A new serial is a new chance.
        let is_new = state.applied > self.applied;
        let mut groups = Vec::with_capacity(state.groups.len());
        for told in &state.groups {
            let before = self.groups.iter().find(|before| before.group == told.group);
            let was_made = before.filter(|before| is_underway(before.state));
            let made_since = was_made.filter(|_| !is_new).map_or(now, |before| before.made_since);
            let mut given_up_until = before.filter(|_| !is_new).map_or(0, |before| before.given_up_until);
            if told.state == MemberState::Ready {
                given_up_until = 0;
            } else if was_made.is_some_and(|before| now >= before.made_since + MADE_WITHIN) && !is_new {
                given_up_until = given_up_until.max(made_since + MADE_WITHIN + GIVEN_UP_FOR);
            }
            let (group, state, restored) = (told.group, told.state, told.restored);
            groups.push(Told { group, state, restored, made_since, given_up_until });
        }
        self.groups = groups;
        (self.stamp, self.applied, self.seen, self.unheard) =
            (state.stamp, state.applied, state.seen, state.unheard);
        true
    }

    /// A new serial is known here: whoever was given up has a new chance.
    pub fn forgive(&mut self) {
        for told in &mut self.groups {
            told.given_up_until = 0;
        }
    }

    /// What it says of a group.
    pub fn state(&self, group: Label) -> Option<MemberState> {
        self.groups.iter().find(|told| told.group == group).map(|told| told.state)
    }
}

fn is_underway(state: MemberState) -> bool {
    state.is_made() || state == MemberState::Claimed
}

/// The member of a group on this box.
#[derive(Debug, Clone)]
pub struct Member {
    /// The group.
    pub group: Label,
    /// What its container is called.
    pub container: Box<str>,
    /// What `option slice` of that container says.
    pub option: Box<str>,
    /// How it is, as others are told.
    pub state: MemberState,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Why, for scripts.
    pub code: &'static str,
    /// Why, for people.
    pub reason: Box<str>,
    /// Where it is reached.
    pub address: Box<str>,
    /// What it is doing.
    pub doing: Doing,
    /// The group was accepted here once.
    pub accepted: bool,
    /// It ran, or shall run: after the box was down it is looked at whether it still shall.
    pub ran: bool,
    /// The box's owner stopped it by hand.
    pub by_owner: bool,
    /// When its place was taken here first, in seconds of the powered time.
    pub placed_at: u64,
    /// Until when it may not come back, in seconds of the powered time.
    pub evicted_until: u64,
    /// What the box could not do is tried again then.
    pub retry_at: Option<u64>,
    /// The serial with which its guest failed; 0: it did not.
    pub failed_with: u64,
    /// The image that is known to be here.
    pub pulled: Option<Hash>,
    /// The image that it was made from by this process, and the group's reset then.
    pub made_of: Option<Hash>,
    /// What `reset` was when it was made.
    pub made_reset: u64,
    /// The memory, disk and processors that were set last: what the daemon shows may be rounded.
    pub limited: Option<(u64, u64, u64)>,
    /// Since when enough better ones are ready.
    pub surplus_since: Option<u64>,
    /// The call that is under way.
    pub call: Option<Call>,
    /// How long others had been connected when it ended, in seconds; None: it did not.
    pub ended_at: Option<u64>,
}

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It does not run.
    Nothing,
    /// It was claimed: since when, and for how long it is waited.
    Claimed(u64, u64),
    /// It is on its way to run.
    Coming,
    /// It runs.
    Running,
    /// It is made anew: what is there goes first.
    Remade,
    /// It is being stopped, and gives up its place.
    Leaving,
}

impl Member {
    /// One of which nothing is known.
    pub fn new(member: Id, slice: Label, group: Label) -> Member {
        Member {
            group,
            container: container_name(member, slice, group).into(),
            option: container_slice(member, slice, group).into(),
            state: MemberState::Spare,
            since: 0,
            code: "",
            reason: "".into(),
            address: "".into(),
            doing: Doing::Nothing,
            accepted: false,
            ran: false,
            by_owner: false,
            placed_at: 0,
            evicted_until: 0,
            retry_at: None,
            failed_with: 0,
            pulled: None,
            made_of: None,
            made_reset: 0,
            limited: None,
            surplus_since: None,
            call: None,
            ended_at: None,
        }
    }

    /// Whether it fills a place of its peer's quota.
    pub fn is_placed(&self) -> bool {
        self.doing != Doing::Nothing || self.failed_with > 0
    }
}

/// A slice that lists this box, or has something here.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Whose it is.
    pub member: Id,
    /// Its name.
    pub name: Label,
    /// Its manifests.
    pub serials: Serials,
    /// Against whose quota it counts.
    pub peer: Option<Id>,
    /// Its groups here.
    pub members: Vec<Member>,
    /// The other boxes that it lists.
    pub others: Vec<Elsewhere>,
    /// Since when the manifest that holds is known here, by the clock that never goes back.
    pub known_since: u64,
    /// With which subscriptions all that concerns it was asked for; the greatest: it was not yet.
    pub generation: u32,
    /// What was said of it last, without its stamp.
    pub said: Option<State>,
    /// Since when nobody stands for it any more.
    pub refused_since: Option<u64>,
    /// When its tombstone came, in seconds of the powered time.
    pub gone_at: Option<u64>,
    /// That it ends soon was told for this end.
    pub warned: u64,
    /// Something has changed that it depends on.
    pub dirty: bool,
    /// When it depends on the time.
    pub look_at: Option<u64>,
    /// What is on the disk of it is not what is known.
    pub unsaved: bool,
}

impl Slice {
    /// One of which nothing is known.
    pub fn new(member: Id, name: Label) -> Slice {
        Slice {
            member,
            name,
            serials: Serials::default(),
            peer: None,
            members: Vec::new(),
            others: Vec::new(),
            known_since: 0,
            generation: u32::MAX,
            said: None,
            refused_since: None,
            gone_at: None,
            warned: 0,
            dirty: true,
            look_at: None,
            unsaved: false,
        }
    }

    /// What it is called in files.
    pub fn file(&self) -> String {
        format!("slice.{}.{}", self.member, self.name)
    }

    /// Its lists of boxes and groups are those of the manifest that holds. What groups left here stays.
    pub fn follow(&mut self, me: Id, now: u64) {
        let Some(taken) = &self.serials.taken else { return };
        let manifest = std::rc::Rc::clone(&taken.manifest);
        for group in &manifest.groups {
            if !self.members.iter().any(|member| member.group == group.name) {
                self.members.push(Member::new(self.member, self.name, group.name));
            }
        }
        let mut others: Vec<Id> = manifest.boxes.iter().copied().filter(|id| *id != me).collect();
        others.sort_unstable();
        self.others.retain(|other| others.binary_search(&other.id).is_ok());
        for id in others {
            if let Err(at) = self.others.binary_search_by_key(&id, |other| other.id) {
                self.others.insert(at, Elsewhere::new(id));
            }
        }
        self.others.iter_mut().for_each(Elsewhere::forgive);
        self.known_since = now;
        self.dirty = true;
    }

    /// What is known of another box.
    pub fn other_mut(&mut self, id: Id) -> Option<&mut Elsewhere> {
        let at = self.others.binary_search_by_key(&id, |other| other.id).ok()?;
        self.others.get_mut(at)
    }

    /// The other boxes of a group, as the decision sees them.
    pub fn view(
        &self,
        manifest: &Manifest,
        group: &Group,
        me: Id,
        presence: &Presence,
        now: u64,
    ) -> Vec<Other> {
        let grace = group.grace * 1000;
        let mut view = Vec::with_capacity(group.places.len());
        for (rank, id) in manifest.boxes_of(group).enumerate() {
            let other = self.others.binary_search_by_key(&id, |other| other.id);
            let Some(other) = other.ok().and_then(|at| self.others.get(at)).filter(|_| id != me) else {
                continue;
            };
            let told = other.groups.iter().find(|told| told.group == group.name);
            let state = told.map(|told| told.state);
            // Whoever shall not have it does not count.
            let is_out = group.not.contains(&id);
            let first = presence.first_heard(id);
            // With `keep` a place waits for its box, however long that is away. One that never said anything has none.
            let keeps = group.on_loss == OnLoss::Keep && state.is_some();
            view.push(Other {
                rank,
                state: if is_out { Some(MemberState::Refused) } else { state },
                behind: other.applied < manifest.serial,
                restored: told.map_or(0, |told| told.restored),
                unheard: other.unheard,
                made_since: told.map_or(now, |told| told.made_since),
                given_up_until: told.map_or(0, |told| told.given_up_until.max(overdue(told, now))),
                absent_at: if keeps { NEVER } else { presence.absent_at(id, grace, now) },
                heard_until: presence.heard_until(id, grace, now),
                heard_since: first.map(|first| first.max(self.known_since)),
                known_since: self.known_since,
            });
        }
        view
    }
}

/// Who is still on its way after its time is given up from then on.
fn overdue(told: &Told, now: u64) -> u64 {
    let due = told.made_since + MADE_WITHIN;
    if is_underway(told.state) && now >= due {
        due + GIVEN_UP_FOR
    } else {
        0
    }
}
