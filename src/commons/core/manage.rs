//! What becomes of a slice's members on this box: whether they may be here at all, whether they are due, and the calls that
//! bring what is to what shall be, one after the other.

use super::super::decision::{decide, may_roll, Link, Mine, Moment, Phase, Verdict, Wanted, Why};
use super::super::fields::Hash;
use super::super::formats::{cut, Group, Manifest, MemberState, Mode, Wish, REASON_MAX};
use super::super::id::Id;
use super::super::interface::{Birth, Call, Container, ContainerState, Effect, Fault, Notice, Work};
use super::super::trust::{self, standing, Amount, Refusal, Standing};
use super::serials::Taken;
use super::slice::{Doing, Member, Slice};
use super::{Core, Pending};
use crate::error::Code;
use std::rc::Rc;

/// What a box could not do is tried again after an hour; a stop that failed after a minute. In milliseconds.
const TRY_AGAIN: u64 = 3_600_000;
const STOP_AGAIN: u64 = 60_000;
/// Who was put out stays out for a day, in seconds of the powered time.
const EVICTED_FOR: u64 = 86_400;
/// For how long a deleted slice can be called back, and how long data is kept that ended, in seconds.
const KEPT_FOR: u64 = 7 * 86_400;
/// How long a serial is remembered after the end, in seconds.
const REMEMBERED: u64 = 120 * 86_400;
/// How long before its end a slice is warned of, in seconds.
const WARNING: u64 = 4 * 86_400;
/// Without a broker what has ended is stopped so long after NTP has answered, in milliseconds.
const ALONE_ENDS: u64 = 24 * 3_600_000;

/// What the manifest wants of a group, as it is seen from this box.
struct Case<'a> {
    manifest: &'a Manifest,
    group: &'a Group,
    standing: &'a Standing<'a>,
    /// The image for this box's kind of processor.
    image: Option<Hash>,
    /// This box's place in the group's order.
    rank: Option<usize>,
}

/// What holds for all members of a slice.
enum Fate<'a> {
    /// They may run.
    Run(Standing<'a>),
    /// What runs goes on, and nothing begins: why.
    Hold(&'static str, String),
    /// They are stopped, and stay: how that is called, and why.
    Stop(MemberState, &'static str, String),
    /// They are removed after a while.
    Gone,
}

impl Core {
    pub(super) fn manage(&mut self, at: usize) {
        let empty = Slice::new(self.slices[at].member, self.slices[at].name);
        let mut slice = std::mem::replace(&mut self.slices[at], empty);
        slice.dirty = false;
        let mut moment = Moment::new(self.clock.mono());
        let mut works = Vec::new();
        if let Some(taken) = slice.serials.taken.clone() {
            self.look_at(&mut slice, &taken, &mut moment, &mut works);
        }
        slice.look_at = moment.next();
        if slice.unsaved {
            self.keep_slice(&mut slice);
        }
        for (member, work) in works {
            self.calls += 1;
            let call = Call(self.calls);
            slice.members[member].call = Some(call);
            let (id, name, group) = (slice.member, slice.name, slice.members[member].group);
            self.pending.push(Pending { call, member: id, slice: name, group, work: work.clone() });
            self.out.push_back(Effect::Call(call, work));
        }
        self.say_state(&mut slice);
        self.slices[at] = slice;
    }

    fn look_at(&self, slice: &mut Slice, taken: &Taken, moment: &mut Moment, works: &mut Vec<(usize, Work)>) {
        let manifest = Rc::clone(&taken.manifest);
        for at in 0..slice.members.len() {
            let container = self.container(&slice.members[at]).cloned();
            self.sync(slice, at, container.as_ref(), manifest.serial);
        }
        slice.peer = self.peer_of(slice);
        let stands = self.stands(slice, &manifest);
        let fate = self.fate(slice, taken, stands, moment);
        for at in 0..slice.members.len() {
            let group = manifest.groups.iter().find(|group| group.name == slice.members[at].group);
            match &fate {
                Fate::Gone => self.remove(slice, at, moment, works),
                Fate::Stop(state, code, why) => self.stop(slice, at, *state, code, why, works),
                Fate::Hold(code, why) => self.hold(slice, at, code, why),
                Fate::Run(standing) => match group {
                    Some(group) => {
                        let case = self.case(&manifest, group, standing);
                        self.run(slice, at, &case, moment, works);
                    }
                    // The manifest has no such group any more.
                    None => self.stop(slice, at, MemberState::Gone, "", "", works),
                },
            }
        }
    }

    /// The container of a member; only one that says whose it is.
    fn container(&self, member: &Member) -> Option<&Container> {
        let all = self.containers.as_deref().unwrap_or_default();
        all.iter().find(|container| container.name == member.container && container.slice == member.option)
    }

    /// By what its member is hosted here.
    fn stands<'a>(&'a self, slice: &Slice, manifest: &Manifest) -> Result<Standing<'a>, Refusal> {
        let Some(settings) = &self.settings else { return Err(Refusal::Unknown) };
        standing(settings, &self.known, slice.member, manifest.via, self.clock.right())
    }

    /// Against whose quota a slice counts.
    pub(super) fn peer_of(&self, slice: &Slice) -> Option<Id> {
        let taken = slice.serials.taken.as_ref()?;
        self.stands(slice, &taken.manifest).ok().map(|standing| standing.peer_id)
    }

    fn fate<'a>(
        &self,
        slice: &mut Slice,
        taken: &Taken,
        stands: Result<Standing<'a>, Refusal>,
        moment: &mut Moment,
    ) -> Fate<'a> {
        let manifest = &taken.manifest;
        if manifest.wish == Wish::Gone {
            return Fate::Gone;
        }
        if stands.is_ok() {
            slice.refused_since = None;
        }
        let standing = match stands {
            Ok(standing) => standing,
            Err(refusal) => {
                let (code, why) = refusal.words();
                let notice = self.settings.as_ref().map_or(0, |settings| settings.notice) * 1000;
                let since = *slice.refused_since.get_or_insert(moment.now);
                let over = match refusal {
                    Refusal::Denied => true,
                    // As an end.
                    Refusal::Ended => self.clock.may_end().is_some() && self.may_end(slice, moment),
                    Refusal::Revoked => self.may_end(slice, moment),
                    Refusal::Unknown | Refusal::NoDelegate => moment.is_past(since.saturating_add(notice)),
                };
                return match over {
                    true => Fate::Stop(MemberState::Refused, code, why.to_string()),
                    false => Fate::Hold(code, why.to_string()),
                };
            }
        };
        if taken.seems_ended(&self.clock) {
            let why = "the slice has expired; its owner renews it with `cloudbox slice renew`";
            return match taken.has_ended(&self.clock) && self.may_end(slice, moment) {
                true => Fate::Stop(MemberState::Stopped, "expired", why.to_string()),
                false => Fate::Hold("expired", why.to_string()),
            };
        }
        match self.settings.as_ref().map(|settings| settings.mode) {
            Some(Mode::Production) => {}
            Some(mode) => {
                let why = format!("the box is in the state {}", mode.as_str());
                return Fate::Stop(MemberState::Refused, mode.as_str(), why);
            }
            None => return Fate::Hold("", String::new()),
        }
        match manifest.wish {
            Wish::Stop => Fate::Stop(MemberState::Stopped, "", String::new()),
            _ => Fate::Run(standing),
        }
    }

    /// Whether something that has ended may be stopped: a broker was read, which could have had a renewal; or there is none for
    /// a day.
    fn may_end(&self, slice: &Slice, moment: &mut Moment) -> bool {
        if self.is_settled(slice, moment) {
            return true;
        }
        let since = self.clock.synced_at();
        self.presence.alone_since().is_some()
            && since.is_none_or(|since| moment.is_past(since.saturating_add(ALONE_ENDS)))
    }

    fn is_settled(&self, slice: &Slice, moment: &mut Moment) -> bool {
        self.links.settled_at(slice.generation).is_some_and(|at| moment.is_past(at))
    }

    /// What a member is doing, by what its container does: others than this process may have had a hand in it.
    fn sync(&self, slice: &mut Slice, at: usize, container: Option<&Container>, serial: u64) {
        let member = &mut slice.members[at];
        if member.call.is_some() {
            return;
        }
        let before = (member.ran, member.by_owner, member.failed_with);
        let state = container.map(|container| container.state);
        member.address = match (state, container) {
            (Some(ContainerState::Running), Some(container)) => container.address.clone(),
            _ => "".into(),
        };
        match (state, member.doing) {
            (Some(ContainerState::Running), Doing::Nothing | Doing::Claimed(..) | Doing::Coming) => {
                member.doing = Doing::Running;
                (member.by_owner, member.failed_with, member.ran) = (false, 0, true);
                if member.placed_at == 0 {
                    member.placed_at = self.clock.powered().max(1);
                }
            }
            (
                Some(ContainerState::Creating | ContainerState::Starting),
                Doing::Nothing | Doing::Claimed(..),
            ) => {
                member.doing = Doing::Coming;
            }
            (Some(ContainerState::Stopped) | None, Doing::Running) => {
                member.doing = Doing::Nothing;
                (member.by_owner, member.ran) = (true, false);
            }
            (Some(ContainerState::Failed), Doing::Running | Doing::Coming) => {
                let fault = container.and_then(|container| container.fault.clone());
                member.doing = Doing::Nothing;
                match fault {
                    Some(fault) if fault.of_box => give_up(member, &fault, self.clock.mono()),
                    fault => fail(member, fault, serial),
                }
            }
            (Some(ContainerState::Stopped | ContainerState::Failed) | None, Doing::Leaving) => {
                member.doing = Doing::Nothing;
                member.ran = false;
            }
            (None, Doing::Remade) => member.doing = Doing::Coming,
            _ => {}
        }
        if before != (member.ran, member.by_owner, member.failed_with) {
            slice.unsaved = true;
        }
    }

    /// It was deleted: it is stopped at once and removed a while later, since that may be undone.
    fn remove(&self, slice: &mut Slice, at: usize, moment: &mut Moment, works: &mut Vec<(usize, Work)>) {
        let gone_at = slice.gone_at.unwrap_or_else(|| self.clock.powered());
        self.stop(slice, at, MemberState::Gone, "", "", works);
        let member = &mut slice.members[at];
        (member.ran, member.by_owner, member.failed_with) = (false, false, 0);
        let is_over = self.clock.powered() >= gone_at + KEPT_FOR;
        let stands_still = self.container(member).is_some_and(|container| {
            matches!(container.state, ContainerState::Stopped | ContainerState::Failed)
        });
        if is_over && stands_still && member.call.is_none() && may_try(member, moment) {
            works.push((at, Work::Delete(member.container.clone())));
        }
    }

    /// It does not run, and what it has stays.
    fn stop(
        &self,
        slice: &mut Slice,
        at: usize,
        state: MemberState,
        code: &'static str,
        why: &str,
        works: &mut Vec<(usize, Work)>,
    ) {
        let now = self.clock.mono();
        let connected = self.presence.clock(now) / 1000;
        let member = &mut slice.members[at];
        if code == "expired" && member.ended_at.is_none() {
            member.ended_at = Some(connected);
            slice.unsaved = true;
        }
        let member = &mut slice.members[at];
        let mut moment = Moment::new(now);
        let runs = self.container(member).is_some_and(|container| {
            matches!(container.state, ContainerState::Running | ContainerState::Starting)
        });
        if runs && member.call.is_none() && may_try(member, &mut moment) {
            works.push((at, Work::Stop(member.container.clone())));
        }
        if member.call.is_none() {
            member.doing = Doing::Nothing;
        }
        // Only what ran is stopped: when all shall run again, it is waited for, and for no spare.
        let never_ran = state == MemberState::Stopped && code.is_empty() && !member.ran && !runs;
        self.tell(member, if never_ran { MemberState::Spare } else { state }, code, why);
    }

    /// What runs goes on, and nothing begins.
    fn hold(&self, slice: &mut Slice, at: usize, code: &'static str, why: &str) {
        let member = &mut slice.members[at];
        if let Doing::Claimed(..) = member.doing {
            member.doing = Doing::Nothing;
        }
        let state = match member.doing {
            Doing::Running => MemberState::Ready,
            Doing::Coming | Doing::Remade => MemberState::Starting,
            Doing::Leaving => MemberState::Retiring,
            _ => MemberState::Refused,
        };
        self.tell(member, state, code, why);
    }

    fn case<'a>(&self, manifest: &'a Manifest, group: &'a Group, standing: &'a Standing<'a>) -> Case<'a> {
        let arch = self.settings.as_ref().map_or("", |settings| &settings.arch);
        let image = group.image.for_arch(arch).copied();
        Case { manifest, group, standing, image, rank: manifest.rank(group, self.me) }
    }

    fn run(
        &self,
        slice: &mut Slice,
        at: usize,
        case: &Case<'_>,
        moment: &mut Moment,
        works: &mut Vec<(usize, Work)>,
    ) {
        if slice.members[at].ended_at.take().is_some() {
            slice.unsaved = true;
        }
        let (manifest, rank, now) = (case.manifest, case.rank, moment.now);
        let member = &mut slice.members[at];
        if member.by_owner {
            return self.tell(member, MemberState::Stopped, "by_owner", "stopped by the box's owner");
        }
        // What failed with an earlier serial has a new chance.
        if member.failed_with > 0 && member.failed_with != manifest.serial && member.call.is_none() {
            member.failed_with = 0;
            member.doing = Doing::Coming;
            slice.unsaved = true;
        }
        let member = &mut slice.members[at];
        if member.failed_with > 0 {
            let (code, reason) = (member.code, std::mem::take(&mut member.reason));
            return self.tell(member, MemberState::Failed, code, &reason);
        }
        let evicted = member.evicted_until > self.clock.powered();
        if evicted && matches!(member.doing, Doing::Running | Doing::Coming | Doing::Remade) {
            member.doing = Doing::Leaving;
            member.ran = false;
            slice.unsaved = true;
        }
        let placed = slice.members[at].is_placed();
        if !placed {
            if let Some((code, why)) = self.refusal(slice, at, case) {
                return self.tell(&mut slice.members[at], MemberState::Refused, code, &why);
            }
            let member = &mut slice.members[at];
            if member.retry_at.is_some_and(|retry| !moment.is_past(retry)) {
                // Its reason stands there since it failed.
                let (code, reason) = (member.code, std::mem::take(&mut member.reason));
                return self.tell(member, MemberState::Refused, code, &reason);
            }
            member.retry_at = None;
        }
        if !evicted {
            self.decide(slice, at, case, moment);
        }
        self.drive(slice, at, case, moment, works);
        let member = &mut slice.members[at];
        let pulling = member.call.is_none()
            && works.iter().any(|(of, work)| *of == at && matches!(work, Work::Pull { .. }));
        let is_pull = |call: Call| {
            let mut pending = self.pending.iter();
            pending.any(|pending| pending.call == call && matches!(pending.work, Work::Pull { .. }))
        };
        let starting =
            self.container(member).is_some_and(|container| container.state == ContainerState::Starting);
        let state = match member.doing {
            Doing::Claimed(..) => MemberState::Claimed,
            Doing::Coming if pulling || member.call.is_some_and(is_pull) => MemberState::Pulling,
            Doing::Coming if starting || self.container(member).is_some() => MemberState::Starting,
            Doing::Coming | Doing::Remade => MemberState::Creating,
            Doing::Running => MemberState::Ready,
            Doing::Leaving => MemberState::Retiring,
            Doing::Nothing if rank.is_none() => MemberState::Gone,
            // Said as a spare it would be replaced before it has looked around.
            Doing::Nothing if member.ran && !evicted => MemberState::Claimed,
            Doing::Nothing => MemberState::Spare,
        };
        let (code, why) = match (state, evicted, self.is_foreign(now)) {
            (MemberState::Spare, true, _) => {
                ("quota", "it was more than the box's owner allows; not again for a day")
            }
            (MemberState::Claimed, ..) if member.doing == Doing::Nothing => {
                ("returns", "it ran before, and is started again unless others took its place")
            }
            (_, _, true) => ("foreign", "another box has the key of this one: nothing is begun or ended"),
            _ => ("", ""),
        };
        self.tell(member, state, code, why);
    }

    /// Why the group cannot be here, whoever is due.
    fn refusal(&self, slice: &Slice, at: usize, case: &Case<'_>) -> Option<(&'static str, String)> {
        let (group, standing) = (case.group, case.standing);
        case.rank?;
        if case.image.is_none() {
            let arch = self.settings.as_ref().map_or("", |settings| &settings.arch);
            return Some(("arch", format!("there is no image for {arch}")));
        }
        let images = &standing.peer.images;
        let remote = group.image.alias.split_once(':').map_or("", |(remote, _)| remote);
        if !images.iter().any(|name| **name == *"any" || **name == *remote) {
            return Some(("images", format!("images of {remote} are not allowed here for this peer")));
        }
        let member = &slice.members[at];
        if let Some(container) = self
            .containers
            .as_deref()
            .unwrap_or_default()
            .iter()
            .find(|container| container.name == member.container && container.slice != member.option)
        {
            return Some(("exists", format!("a container called {} is another's", container.name)));
        }
        let need = amount(group);
        let (of_peer, of_member) = self.usage(standing, slice, Some(at));
        let most = Amount::of(standing.peer);
        let over = of_peer.plus(need).exceeds(most).or(of_member.plus(need).exceeds(standing.most()));
        over.map(|what| {
            let own = self
                .ended_data(slice)
                .map_or_else(String::new, |name| format!("; {name} holds data that has expired"));
            ("quota", format!("more {what} than the box's owner allows{own}"))
        })
    }

    /// A container of the same member whose slice has ended and whose data is still here.
    fn ended_data(&self, but: &Slice) -> Option<String> {
        let slices = self.slices.iter().filter(|slice| slice.member == but.member && slice.name != but.name);
        let mut ended = slices.flat_map(|slice| &slice.members);
        let found = ended.find(|member| member.ended_at.is_some() && self.container(member).is_some());
        found.map(|member| member.container.to_string())
    }

    /// What a peer uses with all whom he vouches for, and what this slice's member uses alone; without one of its groups.
    fn usage(&self, standing: &Standing<'_>, current: &Slice, but: Option<usize>) -> (Amount, Amount) {
        let (mut of_peer, mut of_member) = (Amount::default(), Amount::default());
        let others =
            self.slices.iter().filter(|slice| (slice.member, slice.name) != (current.member, current.name));
        for slice in others.chain([current]) {
            if slice.peer != Some(standing.peer_id) {
                continue;
            }
            let is_current = std::ptr::eq(slice, current);
            for (at, member) in slice.members.iter().enumerate() {
                if is_current && but == Some(at) {
                    continue;
                }
                let used = self.used(slice, member);
                of_peer = of_peer.plus(used);
                if slice.member == current.member {
                    of_member = of_member.plus(used);
                }
            }
        }
        (of_peer, of_member)
    }

    /// What a member uses: all of its limits while it has a place, and disk as long as it has data.
    pub(super) fn used(&self, slice: &Slice, member: &Member) -> Amount {
        let manifest = slice.serials.taken.as_ref().map(|taken| &taken.manifest);
        let group =
            manifest.and_then(|manifest| manifest.groups.iter().find(|group| group.name == member.group));
        let container = self.container(member);
        let need = group.map(amount).unwrap_or_default();
        let runs = container.is_some_and(|container| {
            matches!(
                container.state,
                ContainerState::Running | ContainerState::Starting | ContainerState::Stopping
            )
        });
        let mut used = Amount::default();
        if member.is_placed() || runs {
            used = need;
            if let (true, Some(container)) = (runs, container) {
                used.memory = used.memory.max(container.memory);
                used.cpus = used.cpus.max(container.cpus);
            }
            used.containers = 1;
        }
        used.disk = match container {
            Some(container) if member.is_placed() => container.disk.max(need.disk),
            Some(container) => container.disk,
            None if member.is_placed() => need.disk,
            None => 0,
        };
        used
    }

    fn decide(&self, slice: &mut Slice, at: usize, case: &Case<'_>, moment: &mut Moment) {
        let (manifest, group, rank) = (case.manifest, case.group, case.rank);
        let not = group.not.contains(&self.me);
        let now = moment.now;
        let link = Link {
            settled: self.is_settled(slice, moment),
            alone_since: self.presence.alone_since(),
            return_until: self.return_until,
            foreign: self.is_foreign(now),
            unheard: self.unheard,
        };
        if link.foreign {
            moment.is_past(self.foreign_until);
        }
        let others = slice.view(manifest, group, self.me, &self.presence, now);
        let wanted = Wanted { count: usize::from(group.count), on_loss: group.on_loss };
        // A claim that waits for nobody is looked at again at once.
        for _ in 0..2 {
            let member = &mut slice.members[at];
            let phase = match member.doing {
                Doing::Nothing => Phase::Idle,
                Doing::Claimed(since, wait) => Phase::Claimed { since, wait },
                Doing::Running => Phase::Runs,
                Doing::Coming | Doing::Remade => Phase::Made,
                Doing::Leaving => return,
            };
            let mine = Mine {
                rank,
                not,
                phase,
                first: !member.accepted,
                ran: member.ran,
                evicted: false,
                restored: 0,
                surplus_since: member.surplus_since,
            };
            let before = (member.accepted, member.ran);
            let (verdict, surplus_since) = decide(wanted, mine, &others, link, moment);
            member.surplus_since = surplus_since;
            if !link.foreign && rank.is_some() {
                member.accepted = true;
            }
            match verdict {
                Verdict::Rest => {}
                Verdict::Claim(wait) => {
                    member.doing = Doing::Claimed(now, wait);
                    moment.is_past(now + wait);
                }
                Verdict::Withdraw => (member.doing, member.ran) = (Doing::Nothing, false),
                Verdict::Begin => {
                    (member.doing, member.ran) = (Doing::Coming, true);
                    member.placed_at = self.clock.powered().max(1);
                }
                Verdict::Retire(why) => {
                    (member.doing, member.ran, member.surplus_since) = (Doing::Leaving, false, None);
                    if why == Why::Unheard {
                        member.reason = "nobody hears this box, and there must not be two".into();
                    }
                }
            }
            if before != (member.accepted, member.ran) {
                slice.unsaved = true;
            }
            if !matches!(verdict, Verdict::Claim(_)) {
                break;
            }
        }
    }

    /// The next call that brings the container to what its member is doing.
    fn drive(
        &self,
        slice: &mut Slice,
        at: usize,
        case: &Case<'_>,
        moment: &mut Moment,
        works: &mut Vec<(usize, Work)>,
    ) {
        let Case { manifest, group, standing, rank, .. } = *case;
        let Some(wanted) = case.image else { return };
        let others = slice.view(manifest, group, self.me, &self.presence, moment.now);
        let known_since = slice.known_since;
        let foreign = self.is_foreign(moment.now);
        let seal_at = manifest.boxes.iter().position(|id| *id == self.me);
        let seal = seal_at.and_then(|at| manifest.seals.get(at)).cloned();
        let (id, name) = (slice.member, slice.name);
        let member = &mut slice.members[at];
        if member.call.is_some() || !may_try(member, moment) {
            return;
        }
        let container = self.container(member);
        let pull = || Work::Pull { alias: group.image.alias.clone(), sha256: wanted };
        let is_pulled = member.pulled == Some(wanted);
        let state = container.map(|container| container.state);
        let work = match (member.doing, state) {
            (Doing::Leaving, Some(ContainerState::Running | ContainerState::Starting)) => {
                Work::Stop(member.container.clone())
            }
            (Doing::Coming, None) if !is_pulled => pull(),
            (Doing::Coming, None) => {
                let birth = Birth {
                    name: member.container.clone(),
                    member: id,
                    slice: name,
                    group: group.clone(),
                    image: wanted,
                    publish: standing.peer.publish,
                    seal,
                };
                Work::Create(Box::new(birth))
            }
            (Doing::Coming, Some(ContainerState::Stopped | ContainerState::Failed)) => {
                Work::Start(member.container.clone())
            }
            (Doing::Running, Some(ContainerState::Running)) => {
                let Some(container) = container else { return };
                let made_of = container.image.or(member.made_of);
                let is_other =
                    made_of.is_some_and(|made_of| made_of != wanted) || member.made_reset != group.reset;
                if is_other && !foreign && rank.is_some() {
                    let rank = rank.unwrap_or(usize::MAX);
                    if !may_roll(rank, &others, known_since, moment) {
                        return;
                    }
                    if !is_pulled {
                        pull()
                    } else {
                        member.doing = Doing::Remade;
                        Work::Stop(member.container.clone())
                    }
                } else {
                    let limits = (group.memory, group.disk.max(container.disk), group.cpus);
                    let is_so = (container.memory, container.disk, container.cpus) == limits;
                    if is_so || member.limited == Some(limits) {
                        return;
                    }
                    member.limited = Some(limits);
                    let (memory, disk, cpus) = limits;
                    Work::Limit { name: member.container.clone(), memory, disk, cpus }
                }
            }
            (Doing::Remade, Some(ContainerState::Running | ContainerState::Starting)) => {
                Work::Stop(member.container.clone())
            }
            (Doing::Remade, Some(ContainerState::Stopped | ContainerState::Failed)) => {
                Work::Delete(member.container.clone())
            }
            // A spare has the image before it is needed: its server may be gone then. What is here has its own.
            (Doing::Nothing, None) if !is_pulled && rank.is_some() && !member.ran => pull(),
            _ => return,
        };
        works.push((at, work));
    }

    /// A call has come to its end.
    pub(super) fn done(&mut self, call: Call, result: Result<(), Fault>) {
        let Some(at) = self.pending.iter().position(|pending| pending.call == call) else { return };
        let Pending { member: id, slice: name, group, work, .. } = self.pending.remove(at);
        let now = self.clock.mono();
        match &result {
            Ok(()) => self.suppose(&work),
            Err(_) => self.suppose_failed(&work),
        }
        let Ok(at) = self.slice_at(id, name) else { return };
        let slice = &mut self.slices[at];
        let serial = slice.serials.taken.as_ref().map_or(0, |taken| taken.manifest.serial);
        let Some(member) = slice.members.iter_mut().find(|member| member.group == group) else { return };
        member.call = None;
        (slice.dirty, slice.unsaved) = (true, true);
        match (work, result) {
            (Work::Pull { sha256, .. }, Ok(())) => member.pulled = Some(sha256),
            (Work::Create(birth), Ok(())) => {
                (member.made_of, member.made_reset) = (Some(birth.image), birth.group.reset);
                if member.doing == Doing::Coming {
                    member.doing = Doing::Running;
                }
            }
            (Work::Start(_), Ok(())) if member.doing == Doing::Coming => member.doing = Doing::Running,
            (Work::Stop(_), Ok(())) if member.doing == Doing::Leaving => member.doing = Doing::Nothing,
            (Work::Delete(_), Ok(())) if member.doing == Doing::Remade => member.doing = Doing::Coming,
            (_, Ok(())) => {}
            (Work::Pull { .. }, Err(fault)) => match member.doing {
                // What runs goes on with what it has.
                Doing::Running => member.retry_at = Some(now + TRY_AGAIN),
                _ => give_up(member, &fault, now),
            },
            (Work::Create(_) | Work::Start(_), Err(fault)) if fault.of_box => {
                give_up(member, &fault, now);
                self.make_room(id);
            }
            (Work::Create(_) | Work::Start(_), Err(fault)) => fail(member, Some(fault), serial),
            (Work::Limit { .. }, Err(_)) => member.retry_at = Some(now + TRY_AGAIN),
            (Work::Stop(_) | Work::Delete(_), Err(_)) => member.retry_at = Some(now + STOP_AGAIN),
        }
    }

    /// What a call has brought about is so, until the containers are told anew.
    fn suppose(&mut self, work: &Work) {
        let Some(containers) = &mut self.containers else { return };
        let mut set = |name: &str, state| {
            if let Some(container) = containers.iter_mut().find(|container| *container.name == *name) {
                container.state = state;
            }
        };
        match work {
            Work::Pull { .. } => {}
            Work::Create(birth) => {
                if !containers.iter().any(|container| container.name == birth.name) {
                    containers.push(Container {
                        name: birth.name.clone(),
                        slice: super::super::label::container_slice(
                            birth.member,
                            birth.slice,
                            birth.group.name,
                        )
                        .into(),
                        state: ContainerState::Running,
                        image: Some(birth.image),
                        memory: birth.group.memory,
                        disk: birth.group.disk,
                        cpus: birth.group.cpus,
                        address: "".into(),
                        fault: None,
                    });
                }
            }
            Work::Limit { name, memory, disk, cpus } => {
                if let Some(container) = containers.iter_mut().find(|container| container.name == *name) {
                    (container.memory, container.disk, container.cpus) = (*memory, *disk, *cpus);
                }
            }
            Work::Start(name) => set(name, ContainerState::Running),
            Work::Stop(name) => set(name, ContainerState::Stopped),
            Work::Delete(name) => containers.retain(|container| container.name != *name),
        }
    }

    /// What a call was at is there no more, or stands still, until the containers are told anew.
    fn suppose_failed(&mut self, work: &Work) {
        let Some(containers) = &mut self.containers else { return };
        match work {
            Work::Create(birth) => containers.retain(|container| {
                container.name != birth.name || container.state != ContainerState::Creating
            }),
            Work::Start(name) => {
                let mut started = containers.iter_mut().filter(|container| {
                    container.name == *name && container.state == ContainerState::Starting
                });
                if let Some(container) = started.next() {
                    container.state = ContainerState::Stopped;
                }
            }
            _ => {}
        }
    }

    /// There was no room: what ended longest ago goes, if it was kept long enough for a renewal to have come.
    fn make_room(&mut self, member: Id) {
        let connected = self.presence.clock(self.clock.mono()) / 1000;
        let over =
            |of: &Member| of.ended_at.is_some_and(|ended| connected >= ended + KEPT_FOR) && of.call.is_none();
        let mut oldest: Option<(u64, usize, usize)> = None;
        for (at, slice) in self.slices.iter().enumerate().filter(|(_, slice)| slice.member == member) {
            for (of, each) in slice.members.iter().enumerate().filter(|(_, each)| over(each)) {
                let ended = each.ended_at.unwrap_or(0);
                if self.container(each).is_some() && oldest.is_none_or(|(least, ..)| ended < least) {
                    oldest = Some((ended, at, of));
                }
            }
        }
        let Some((_, at, of)) = oldest else { return };
        self.calls += 1;
        let call = Call(self.calls);
        let slice = &mut self.slices[at];
        let work = Work::Delete(slice.members[of].container.clone());
        slice.members[of].call = Some(call);
        let group = slice.members[of].group;
        self.pending.push(Pending {
            call,
            member: slice.member,
            slice: slice.name,
            group,
            work: work.clone(),
        });
        self.out.push_back(Effect::Call(call, work));
    }

    /// A peer who uses more than he may: after a while what is too much goes, first of those he vouches for, then the newest.
    pub(super) fn quotas(&mut self) {
        let Some(settings) = self.settings.clone() else { return };
        let now = self.clock.mono();
        for (id, peer) in trust::peers(&settings) {
            let mut used = Amount::default();
            let mut newest: Option<((bool, u64), usize, usize)> = None;
            for (at, slice) in self.slices.iter().enumerate().filter(|(_, slice)| slice.peer == Some(id)) {
                for (of, member) in slice.members.iter().enumerate() {
                    used = used.plus(self.used(slice, member));
                    let order = (slice.member != id, member.placed_at);
                    if member.is_placed()
                        && member.doing != Doing::Leaving
                        && newest.is_none_or(|(most, ..)| order > most)
                    {
                        newest = Some((order, at, of));
                    }
                }
            }
            let over = used.exceeds(Amount::of(peer)).is_some();
            let since = self.over.iter().position(|(of, _)| *of == id);
            match (over, since) {
                (false, Some(at)) => drop(self.over.remove(at)),
                (true, None) => self.over.push((id, now)),
                (true, Some(since)) if now >= self.over[since].1 + settings.notice * 1000 => {
                    if let Some((_, at, of)) = newest {
                        let slice = &mut self.slices[at];
                        slice.members[of].evicted_until = self.clock.powered() + EVICTED_FOR;
                        (slice.dirty, slice.unsaved) = (true, true);
                    }
                }
                _ => {}
            }
        }
    }

    /// What is told of a member.
    fn tell(&self, member: &mut Member, state: MemberState, code: &'static str, why: &str) {
        if member.state != state || member.code != code {
            member.since = self.clock.now().wall;
        }
        (member.state, member.code) = (state, code);
        if *member.reason != *why {
            member.reason = cut(why, REASON_MAX).into();
        }
    }

    pub(super) fn is_foreign(&self, now: u64) -> bool {
        self.foreign_until > now
    }

    /// Slices of which nothing is here any more, and whose serials nobody can bring back, are forgotten. The box must have been
    /// powered for long as well: a clock that is years ahead for a day forgets nothing.
    pub(super) fn forget(&mut self) {
        let (now, powered) = (self.clock.may_end(), self.clock.powered());
        let Some(now) = now else { return };
        for at in (0..self.slices.len()).rev() {
            let slice = &self.slices[at];
            let Some(taken) = &slice.serials.taken else { continue };
            let over = now > taken.expires() + REMEMBERED && powered > taken.at + REMEMBERED;
            let is_empty =
                slice.members.iter().all(|member| self.container(member).is_none() && member.call.is_none());
            if over && is_empty {
                let (member, name, file) = (slice.member, slice.name, slice.file());
                self.out.push_back(Effect::Forget(file));
                self.docs.drop(&super::Topic::Slice(member, name));
                self.docs.drop(&super::Topic::Renewal(member, name));
                // What was said of it stands there no more.
                let (connected, mono) = (self.links.connected(), self.clock.mono());
                let state = super::Topic::State(self.me, member, name);
                if self.docs.get(&state).is_some() {
                    self.docs.say(state, Rc::from([]), &connected, mono);
                }
                self.slices.remove(at);
                self.stale = true;
            }
        }
    }

    /// That a slice ends soon is told once for each end.
    pub(super) fn warn(&self, slice: &mut Slice) -> Option<Notice> {
        let taken = slice.serials.taken.as_ref()?;
        let (now, at) = (self.clock.right()?, taken.expires());
        if slice.serials.is_gone() || slice.warned == at || now < at.saturating_sub(WARNING) || now >= at {
            return None;
        }
        slice.warned = at;
        Some(Notice::Expires { member: slice.member, slice: slice.name, at })
    }
}

/// What a group's container needs.
fn amount(group: &Group) -> Amount {
    Amount { memory: group.memory, disk: group.disk, cpus: group.cpus, containers: 1 }
}

/// Whether a member's next call may be made: not right after one that failed.
fn may_try(member: &Member, moment: &mut Moment) -> bool {
    member.retry_at.is_none_or(|retry| moment.is_past(retry))
}

/// The box could not: the place is given up, and it is tried again later.
fn give_up(member: &mut Member, fault: &Fault, now: u64) {
    (member.doing, member.ran) = (Doing::Nothing, false);
    member.retry_at = Some(now + TRY_AGAIN);
    member.code = fault.code.as_str();
    member.reason = cut(&fault.message, REASON_MAX).into();
}

/// The guest could not: it would not elsewhere.
fn fail(member: &mut Member, fault: Option<Fault>, serial: u64) {
    member.doing = Doing::Nothing;
    member.failed_with = serial;
    member.code = fault.as_ref().map_or(Code::Failed, |fault| fault.code).as_str();
    let why = fault.map_or_else(|| "it ended".into(), |fault| fault.message);
    member.reason = cut(&why, REASON_MAX).into();
}
