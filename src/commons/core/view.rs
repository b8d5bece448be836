//! What is known, for people and their programs.

use super::super::formats::{Ask, Manifest, MemberState};
use super::super::id::Id;
use super::super::interface::{Broker, Room};
use super::super::label::Label;
use super::super::topic::Topic;
use super::super::trust::{self, standing, Amount};
use super::slice::{Member, Slice};
use super::Core;
use crate::usign::PublicKey;
use std::rc::Rc;

/// A slice on this box.
#[derive(Debug, Clone)]
pub struct SliceView {
    /// Whose it is.
    pub member: Id,
    /// Its name.
    pub slice: Label,
    /// Its manifest.
    pub manifest: Rc<Manifest>,
    /// When it ends, renewals and all, in seconds since 1970.
    pub expires: u64,
    /// The highest serial that was seen.
    pub seen: u64,
    /// A serial that it is based on and that never came here.
    pub skipped: Option<u64>,
    /// Two texts have the highest serial.
    pub twice: bool,
    /// Against whose quota it counts; None: nobody stands for it.
    pub peer: Option<Id>,
    /// Its groups here.
    pub members: Vec<MemberView>,
    /// What other boxes say of it.
    pub others: Vec<OtherView>,
}

/// A group's member on this box.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// The group.
    pub group: Label,
    /// Its container.
    pub container: Box<str>,
    /// How it is.
    pub state: MemberState,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Why, for scripts.
    pub code: &'static str,
    /// Why, for people.
    pub reason: Box<str>,
}

/// What another box says of a slice.
#[derive(Debug, Clone)]
pub struct OtherView {
    /// The box.
    pub id: Id,
    /// Of each group what it says; None: nothing.
    pub groups: Vec<(Label, Option<MemberState>)>,
    /// The serial that it follows.
    pub applied: u64,
    /// For how many seconds nothing was heard of it; None: never anything.
    pub silent_for: Option<u64>,
}

/// Who may use how much, and uses how much.
#[derive(Debug, Clone)]
pub struct PeerView {
    /// Who.
    pub id: Id,
    /// What he is called in the configuration; empty: he is not in it.
    pub name: Box<str>,
    /// Through whom; None: through himself.
    pub via: Option<Id>,
    /// The most that he may use.
    pub most: Amount,
    /// What he uses; with all whom he vouches for, if he is a peer.
    pub used: Amount,
    /// When what was said for him ends, in seconds since 1970.
    pub until: Option<u64>,
    /// Why he is not hosted; None: he is.
    pub refused: Option<&'static str>,
}

/// Somebody who asks to be hosted.
#[derive(Debug, Clone)]
pub struct AskView {
    /// What he asks for.
    pub ask: Ask,
    /// His key, for the configuration.
    pub key: PublicKey,
}

impl Core {
    /// All slices of which there is something here.
    pub fn slices(&self) -> impl Iterator<Item = SliceView> + '_ {
        self.slices.iter().filter_map(|slice| self.slice_view(slice))
    }

    fn slice_view(&self, slice: &Slice) -> Option<SliceView> {
        let taken = slice.serials.taken.as_ref()?;
        let now = self.clock.mono();
        let groups: Vec<Label> = taken.manifest.groups.iter().map(|group| group.name).collect();
        let other = |other: &super::slice::Elsewhere| OtherView {
            id: other.id,
            groups: groups.iter().map(|group| (*group, other.state(*group))).collect(),
            applied: other.applied,
            silent_for: self.presence.silent_for(other.id, now).map(|silent| silent / 1000),
        };
        Some(SliceView {
            member: slice.member,
            slice: slice.name,
            manifest: Rc::clone(&taken.manifest),
            expires: taken.expires(),
            seen: slice.serials.seen,
            skipped: slice.serials.skipped,
            twice: slice.serials.twice > 0,
            peer: slice.peer,
            members: slice.members.iter().map(member_view).collect(),
            others: slice.others.iter().map(other).collect(),
        })
    }

    /// Who may use how much.
    pub fn trust(&self) -> Vec<PeerView> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let mut views = Vec::new();
        for known in &self.known {
            let used = |is: &dyn Fn(&Slice) -> bool| {
                let slices = self.slices.iter().filter(|slice| is(slice));
                let members =
                    slices.flat_map(|slice| slice.members.iter().map(move |member| (slice, member)));
                members.fold(Amount::default(), |sum, (slice, member)| sum.plus(self.used(slice, member)))
            };
            if let Some((_, peer)) = trust::peers(settings).find(|(id, _)| *id == known.id) {
                let stands = standing(settings, &self.known, known.id, None, self.clock.right());
                views.push(PeerView {
                    id: known.id,
                    name: peer.name.clone(),
                    via: None,
                    most: Amount::of(peer),
                    used: used(&|slice| slice.peer == Some(known.id)),
                    until: None,
                    refused: stands.err().map(|refusal| refusal.words().1),
                });
                continue;
            }
            for (via, _) in trust::peers(settings) {
                let vouches =
                    self.known(via).is_some_and(|of| of.certs.iter().any(|cert| cert.member() == known.id));
                if !vouches {
                    continue;
                }
                let stands = standing(settings, &self.known, known.id, Some(via), self.clock.right());
                let used = used(&|slice| slice.member == known.id && slice.peer == Some(via));
                views.push(PeerView {
                    id: known.id,
                    name: "".into(),
                    via: Some(via),
                    most: stands.map_or_else(|_| Amount::default(), |stands| stands.most()),
                    used,
                    until: stands.ok().and_then(|stands| stands.until),
                    refused: stands.err().map(|refusal| refusal.words().1),
                });
            }
        }
        views
    }

    /// Who asks to be hosted and has no answer yet.
    pub fn asks(&self) -> Vec<AskView> {
        let now = self.clock.right().unwrap_or(0);
        let open = self.asks.iter().filter(|(ask, _)| ask.expires > now);
        open.map(|(ask, key)| AskView { ask: ask.clone(), key: key.clone() }).collect()
    }

    /// What the box has for others.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Whether that broker has all that this box says of itself.
    pub fn stands_in(&self, broker: Broker) -> bool {
        let mut own = self.docs.topics().filter(|topic| topic.author() == Some(self.me));
        own.all(|topic| self.docs.holds(broker, topic))
    }

    /// Whether nobody hears this box.
    pub fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// Since when there is no broker, by the clock that never goes back.
    pub fn alone_since(&self) -> Option<u64> {
        self.presence.alone_since()
    }

    /// Whether some broker has said all that stands there about a slice, and has been there for long enough.
    pub fn is_read(&self, member: Id, slice: Label) -> bool {
        let Ok(at) = self.slice_at(member, slice) else { return false };
        let at = self.links.settled_at(self.slices[at].generation);
        at.is_some_and(|at| at <= self.clock.mono())
    }

    /// The payload at a topic that this box would publish.
    pub fn text_at(&self, topic: &Topic) -> Option<&Rc<[u8]>> {
        self.docs.get(topic)
    }

    /// Bytes of payloads that are held, for measurements.
    pub fn held_bytes(&self) -> usize {
        self.docs.size()
    }
}

fn member_view(member: &Member) -> MemberView {
    MemberView {
        group: member.group,
        container: member.container.clone(),
        state: member.state,
        since: member.since,
        code: member.code,
        reason: member.reason.clone(),
    }
}
