//! What must hold, whatever happens.

use super::machine::{Machine, EPOCH};
use super::owner::Owner;
use super::world::{wall, World, MINUTE};
use cloudbox::commons::formats::{Manifest, MemberState, Wish, DAY};
use cloudbox::commons::id::Id;
use cloudbox::commons::interface::{ContainerState, Notice, Work};
use cloudbox::commons::label::{container_slice, Label};

/// How long after all is made good the right number runs.
const HEALED: u64 = 20 * MINUTE;
/// Beside what the contract gives: retired members stop, connections come back, an owner repairs.
const SLACK: u64 = 20 * MINUTE;

impl World {
    fn signed(&self, member: Id, name: Label) -> Option<&super::owner::Own> {
        let owner = self.owners.iter().find(|owner| owner.id == member)?;
        owner.slices.iter().find(|own| own.name == name)
    }

    /// A call is about to be made: by which manifest, and may that be?
    pub fn check_begun(&mut self, at: usize, work: &Work) {
        let machine = &self.boxes[at];
        let Some(core) = &machine.core else { return };
        let name: &str = match work {
            Work::Create(birth) => &birth.name,
            Work::Start(name) | Work::Delete(name) => name,
            _ => return,
        };
        let found = core.slices().find_map(|view| {
            let member = view.members.iter().find(|member| *member.container == *name)?;
            Some((view.manifest.clone(), view.expires, member.clone()))
        });
        let Some((manifest, expires, _)) = found else {
            return self.violate(format!("box {at} begins something of no slice: {name}"));
        };
        let manifest: &Manifest = &manifest;
        let key = (manifest.member, manifest.slice.to_string());
        if let Work::Delete(_) = work {
            let now = wall(self.now);
            // What the owner wants and has not ended is only removed to be made anew. All else is kept for a week.
            let since = match manifest.wish {
                Wish::Gone => manifest.issued,
                _ if now >= expires => expires,
                _ => return,
            };
            if now < since + 7 * DAY {
                self.violate(format!("box {at} removes data too early: {name}"));
            }
            self.count("rule: data removed");
            return;
        }
        let Some(own) = self.signed(manifest.member, manifest.slice) else {
            return self.violate(format!("box {at} applies what nobody signed: {name}"));
        };
        if !own.signed.iter().any(|(signed, _)| signed == manifest) {
            return self.violate(format!("box {at} applies a manifest of {name} that nobody signed"));
        }
        if manifest.wish != Wish::Run {
            return self.violate(format!("box {at} begins {name}, which shall not run"));
        }
        let synced = machine.synced && machine.offset == 0;
        if synced && wall(self.now) >= expires {
            return self.violate(format!("box {at} begins {name}, which has ended"));
        }
        let greatest = self.boxes[at].greatest.get(&key).copied();
        let void = own.too_new.clone();
        if greatest.is_some_and(|greatest| manifest.precedence() < greatest && !void.contains(&greatest.2)) {
            let why =
                format!("box {at} begins {name} by serial {}, older than {greatest:?}", manifest.serial);
            return self.violate(why);
        }
        self.boxes[at].greatest.insert(key, manifest.precedence());
    }

    /// Something was stopped because it had ended.
    pub fn check_expired(&mut self, at: usize, notice: &Notice) {
        let Notice::Member { member, slice, .. } = notice else { return };
        let machine = &self.boxes[at];
        let core = machine.core.as_ref();
        let ends = core
            .and_then(|core| core.slices().find(|view| (view.member, view.slice) == (*member, *slice)))
            .map(|view| view.expires);
        // Without NTP the powered time counts, which is never more than the time that has passed.
        if !machine.synced && ends.is_some_and(|ends| wall(self.now) < ends) {
            return self.violate(format!("box {at} ends {slice} before NTP has answered"));
        }
        if ends.is_some_and(|ends| wall(self.now) < ends) && machine.offset == 0 && machine.synced {
            self.violate(format!("box {at} ends {slice}, which has not ended"));
        }
    }

    /// What runs of each peer is within what the box allows.
    pub fn check_quotas(&mut self, at: usize) {
        let machine = &self.boxes[at];
        if machine.lowered || !machine.on {
            return;
        }
        for peer in &machine.settings.peers {
            let id = Id::of(&peer.key);
            let below: Vec<String> = self
                .owners
                .iter()
                .filter(|owner| owner.id == id || owner.via == Some(id))
                .map(|owner| format!("{}/", owner.id))
                .collect();
            let of_peer = machine
                .guests
                .values()
                .filter(|guest| below.iter().any(|prefix| guest.slice.starts_with(prefix)));
            let running = of_peer.filter(|guest| guest.state == ContainerState::Running);
            let (mut memory, mut containers) = (0, 0);
            for guest in running {
                memory += guest.memory;
                containers += 1;
            }
            if memory > peer.memory || containers > peer.containers {
                return self.violate(format!("box {at}: {} uses more than it may", peer.name));
            }
        }
    }

    /// Once a minute: how many run, and whether that is right.
    pub fn look(&mut self) {
        let mut troubles = Vec::new();
        for owner in &self.owners {
            for own in &owner.slices {
                let Some(manifest) = Owner::wins(own) else { continue };
                let name = own.name.to_string();
                let is_over = wall(self.now) >= manifest.expires || owner.revoked_at.is_some();
                let group = manifest.groups.first().filter(|_| manifest.wish == Wish::Run && !is_over);
                let Some(group) = group else {
                    self.fares.remove(&(owner.id, name.clone(), "web".into()));
                    continue;
                };
                let option = container_slice(owner.id, own.name, group.name);
                let listed = || manifest.boxes.iter().filter_map(|id| self.boxes.get(*self.places.get(id)?));
                let running = listed().filter(|machine| machine.runs(&option)).count();
                let count = usize::from(group.count);
                let changed_at = own.changed_at;
                let since_change = self.now.saturating_sub(changed_at.max(self.plan.heal));
                let fares = self.fares.entry((owner.id, name.clone(), "web".into())).or_default();
                fares.placed |= running >= count;
                if running < count && fares.placed {
                    fares.below += 1;
                    fares.below_now += 1;
                    fares.longest_below = fares.longest_below.max(fares.below_now);
                } else {
                    fares.below_now = 0;
                }
                if running > count {
                    fares.above += 1;
                    fares.above_now += 1;
                    fares.longest_above = fares.longest_above.max(fares.above_now);
                } else {
                    fares.above_now = 0;
                }
                if self.now < self.plan.heal + HEALED + SLACK || since_change < HEALED + SLACK {
                    continue;
                }
                if running > count {
                    troubles.push(format!(
                        "{running} of {name} run and {count} are wanted, long after all was made good"
                    ));
                }
                if running == count {
                    continue;
                }
                let willing = listed().filter(|machine| is_willing(machine, owner.id, own.name)).count();
                // A fault of a guest moves nothing: its place is not free.
                let failed = |machine: &&Machine| is_like(machine, owner.id, own.name, MemberState::Failed);
                let filled = running + listed().filter(failed).count();
                if filled < count && willing > 0 {
                    troubles.push(format!(
                        "{running} of {name} run, {count} are wanted, and {willing} spares would, long after all was made good"
                    ));
                }
            }
        }
        for owner in &self.owners {
            for own in &owner.slices {
                let Some(manifest) = Owner::wins(own) else { continue };
                let ended_at = manifest.expires.saturating_sub(EPOCH) * 1000;
                let over = match (manifest.wish, owner.revoked_at) {
                    (Wish::Run, None) => ended_at,
                    (Wish::Run, Some(at)) => at.min(ended_at),
                    _ => own.changed_at,
                };
                if self.now < self.plan.heal.max(over) + HEALED + SLACK {
                    continue;
                }
                let prefix = format!("{}/{}/", owner.id, own.name);
                let runs = |machine: &&Machine| {
                    let mut guests = machine.guests.values();
                    machine.on
                        && guests.any(|guest| {
                            guest.slice.starts_with(&prefix) && guest.state == ContainerState::Running
                        })
                };
                if self.boxes.iter().any(|machine| runs(&machine)) {
                    troubles.push(format!("{} runs, and shall not, long after all was made good", own.name));
                }
            }
        }
        if let Some(trouble) = troubles.into_iter().next() {
            self.violate(trouble);
        }
    }
}

fn is_like(machine: &Machine, member: Id, slice: Label, state: MemberState) -> bool {
    let Some(core) = machine.core.as_ref().filter(|_| machine.on) else { return false };
    let found = core.slices().find(|view| (view.member, view.slice) == (member, slice));
    found.is_some_and(|view| view.members.iter().any(|member| member.state == state))
}

/// Whether the box would take the member of that slice, and has none.
fn is_willing(machine: &Machine, member: Id, slice: Label) -> bool {
    let Some(core) = machine.core.as_ref().filter(|_| machine.on) else { return false };
    let found = core.slices().find(|view| (view.member, view.slice) == (member, slice));
    found.is_some_and(|view| {
        view.members.iter().any(|member| member.state == MemberState::Spare && member.code.is_empty())
    })
}
