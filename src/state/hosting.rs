//! What the box hosts for members of the commons: which containers these are, on whose account each counts, and whether
//! there is room on it.
//!
//! It is reckoned from UCI and from what was made, never from what the process of the commons says: a process that has gone
//! wrong can fill the accounts that the box's owner has opened, and nothing else.

use super::State;
use crate::commons::id::Id;
use crate::error::{Code, Error, Result};
use crate::model::commons::{Grants, NodeState, Peer};
use crate::model::name::Name;
use crate::model::size::{Bytes, Cpus};
use crate::model::slice::SliceGroup;
use crate::model::spec::Spec;

/// Jobs of the commons that may be under way: each pull has a thread, and who asks for thousands shall not have them.
const JOBS_MAX: usize = 32;

/// What containers have of a peer's grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Bytes of memory of those that run, or start with the box.
    pub memory: u64,
    /// Bytes of disk of all of them.
    pub disk: u64,
    /// Thousandths of a processor, as memory.
    pub cpus: u64,
    /// How many there are, as memory.
    pub containers: u64,
}

impl Held {
    /// What a container has that shall be `spec`; `active`: it runs, or starts with the box.
    fn by(spec: &Spec, active: bool) -> Held {
        let disk = spec.disk.map_or(0, Bytes::get);
        if !active {
            return Held { disk, ..Held::default() };
        }
        let (memory, cpus) = (spec.promised_memory().get(), spec.cpus.0.into());
        Held { memory, disk, cpus, containers: 1 }
    }

    fn plus(self, other: Held) -> Held {
        Held {
            memory: self.memory.saturating_add(other.memory),
            disk: self.disk.saturating_add(other.disk),
            cpus: self.cpus.saturating_add(other.cpus),
            containers: self.containers.saturating_add(other.containers),
        }
    }

    /// The larger of each.
    fn or(self, other: Held) -> Held {
        Held {
            memory: self.memory.max(other.memory),
            disk: self.disk.max(other.disk),
            cpus: self.cpus.max(other.cpus),
            containers: self.containers.max(other.containers),
        }
    }

    /// What `grants` allow, as far as `percent` of it.
    fn granted(grants: &Grants, percent: u32) -> Held {
        let percent = u64::from(percent);
        let share = |all: u64| all / 100 * percent + all % 100 * percent / 100;
        Held {
            memory: share(grants.memory.get()),
            disk: share(grants.disk.get()),
            cpus: share(grants.cpus.0.into()),
            containers: share(grants.containers.into()),
        }
    }
}

/// On whose account a container counts.
#[derive(Debug, Clone, Copy)]
struct Account<'a> {
    peer: &'a Peer,
    /// The member, where it is somebody else for whom the peer has vouched.
    vouched: Option<&'a str>,
}

impl State {
    /// The group of a slice that a container is of, if its section says so. One that is just being made has none yet.
    pub fn hosted(&self, name: &Name) -> Option<SliceGroup<'_>> {
        let spec = match self.config.containers.get(name).map(|declared| &declared.spec) {
            Some(Ok(spec)) => Some(spec),
            // A section with a wrong value: what it said last holds.
            Some(Err(_)) => self.containers.get(name).map(|container| container.record.said()),
            None => self.making.get(name).map(|record| &record.spec),
        };
        SliceGroup::parse(&spec?.slice)
    }

    /// That the box's owner lets it host at all, and that not too much is under way for the commons already.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::Busy`].
    pub fn check_hosting(&self) -> Result<()> {
        if self.jobs.open().filter(|job| job.commons).count() >= JOBS_MAX {
            let why = format!(
                "{JOBS_MAX} jobs that the commons has asked for have not ended; wait for some of them"
            );
            return Err(Error::new(Code::Busy, why));
        }
        let commons = &self.config.settings.commons;
        let why = match commons.state {
            _ if !commons.enabled => "the commons is switched off on this box",
            NodeState::Production => return Ok(()),
            NodeState::Safe => "this box takes nothing new, its owner says (`option state 'safe'`)",
            NodeState::Failure => "this box is broken, its owner says (`option state 'failure'`)",
        };
        Err(Error::new(Code::PermissionDenied, why))
    }

    /// Whether services of a container that shall be `spec` may be announced.
    ///
    /// # Errors
    /// As [`State::admit_hosted`].
    pub fn may_publish(&self, spec: &Spec) -> Result<bool> {
        let accounts = Accounts::of(self);
        accounts.open(spec)?.peer.grants.clone().map(|grants| grants.publish)
    }

    /// Checks that container `name` of a slice may be `spec` on its peer's account; `active`: it is to run, or to start
    /// with the box. What it has already it keeps, also when the peer was granted less since.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when nobody answers for its member, [`Code::Quota`] with the figures; what is wrong with
    /// the peer's section.
    pub fn admit_hosted(&self, name: &Name, spec: &Spec, active: bool) -> Result<()> {
        let accounts = Accounts::of(self);
        let account = accounts.open(spec)?;
        let peer = account.peer;
        let grants = peer.grants.as_ref().map_err(|wrong| {
            let why =
                format!("peer {}: {}; until that is mended it gets nothing new", peer.name, wrong.message);
            Error::new(wrong.code, why)
        })?;
        let with = |other: &Account<'_>| other.peer.key == peer.key;
        let before = if accounts.has(name, &with) { self.held_by(name) } else { Held::default() };
        let wanted = Held::by(spec, active);
        let others = accounts.held(Some(name), &with);
        check(&format!("peer {}", peer.name), Held::granted(grants, 100), others, wanted, before)?;
        let Some(member) = account.vouched else { return Ok(()) };
        let of_member = |other: &Account<'_>| with(other) && other.vouched == Some(member);
        let who = format!("{member}, for whom peer {} vouches,", peer.name);
        let share = Held::granted(grants, grants.delegate_share);
        check(&who, share, accounts.held(Some(name), &of_member), wanted, before)
    }

    /// What the containers on a peer's account have.
    pub fn held_of(&self, peer: &Peer) -> Held {
        Accounts::of(self).held(None, &|account| account.peer.key == peer.key)
    }

    /// What container `name` has: what its section says, and what it was made with or runs with, whichever is more.
    fn held_by(&self, name: &Name) -> Held {
        let runs = self.runs(name) || self.making.contains_key(name) || self.job_on(name).is_some();
        let declared = self.config.containers.contains_key(name);
        let held = |spec: &Spec| Held::by(spec, runs || (spec.autostart && declared));
        self.specs_of(name).into_iter().fold(Held::default(), |most, spec| most.or(held(spec)))
    }

    /// What is said of container `name`, and what there is of it.
    fn specs_of(&self, name: &Name) -> Vec<&Spec> {
        let made = self.containers.get(name).map(|container| &container.record);
        let made = made.or_else(|| self.making.get(name)).map(|record| &record.spec);
        self.declared_spec(name).into_iter().chain(made).collect()
    }
}

/// The peers, with the ids of their keys.
struct Accounts<'a> {
    state: &'a State,
    peers: Vec<(String, &'a Peer)>,
}

impl<'a> Accounts<'a> {
    fn of(state: &'a State) -> Accounts<'a> {
        let with_id = |peer: &'a Peer| (Id::of(&peer.key).to_string(), peer);
        Accounts { state, peers: state.config.peers.iter().map(with_id).collect() }
    }

    /// On whose account a container counts that shall be `spec`.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`]: nobody answers for its member, or the owner denies one of them.
    fn open<'b>(&self, spec: &'b Spec) -> Result<Account<'b>>
    where
        'a: 'b,
    {
        let denied = |why: String| Error::new(Code::PermissionDenied, why);
        let group = SliceGroup::parse(&spec.slice);
        let group = group.ok_or_else(|| denied("the container is of no member's slice".into()))?;
        let denied_ids = || self.state.config.denied.iter().map(|key| Id::of(key).to_string());
        if let Some(id) = denied_ids().find(|id| id == group.member || *id == spec.peer) {
            return Err(denied(format!("the box's owner denies {id} (`config deny`)")));
        }
        let account = self.find(spec).ok_or_else(|| {
            let who = if spec.peer.is_empty() { group.member } else { &spec.peer };
            denied(format!("{who} is no peer of this box; its owner makes one: `config peer`"))
        })?;
        match (account.vouched, &account.peer.grants) {
            (Some(_), Ok(grants)) if !grants.delegate => Err(denied(format!(
                "peer {} may vouch for nobody on this box (`option delegate`)",
                account.peer.name
            ))),
            _ => Ok(account),
        }
    }

    /// The same of a container that is there already, whatever the owner says of its account by now.
    fn find<'b>(&self, spec: &'b Spec) -> Option<Account<'b>>
    where
        'a: 'b,
    {
        let member = SliceGroup::parse(&spec.slice)?.member;
        let payer = if spec.peer.is_empty() { member } else { &spec.peer };
        let (_, peer) = self.peers.iter().find(|(id, _)| id == payer)?;
        Some(Account { peer, vouched: Some(member).filter(|member| *member != payer) })
    }

    /// Whether container `name` counts on an account that `which` means.
    fn has(&self, name: &Name, which: &dyn Fn(&Account<'_>) -> bool) -> bool {
        let specs = self.state.specs_of(name);
        specs.into_iter().any(|spec| self.find(spec).is_some_and(|account| which(&account)))
    }

    /// What all containers on such accounts have, but for one.
    fn held(&self, without: Option<&Name>, which: &dyn Fn(&Account<'_>) -> bool) -> Held {
        let names = self.state.names().into_iter();
        let counting = names.filter(|name| Some(*name) != without && self.has(name, which));
        counting.fold(Held::default(), |sum, name| sum.plus(self.state.held_by(name)))
    }
}

/// Checks that `wanted` fits into what is `granted`, beside what `others` have. What a container had `before` it may keep.
fn check(who: &str, granted: Held, others: Held, wanted: Held, before: Held) -> Result<()> {
    let bytes = |bytes: u64| Bytes(bytes).to_string();
    let cpus = |thousandths: u64| Cpus(u32::try_from(thousandths).unwrap_or(u32::MAX)).to_string();
    let count = |number: u64| number.to_string();
    type Row<'a> = (&'a str, u64, u64, u64, u64, &'a dyn Fn(u64) -> String);
    let rows: [Row<'_>; 4] = [
        ("memory", granted.memory, others.memory, wanted.memory, before.memory, &bytes),
        ("disk", granted.disk, others.disk, wanted.disk, before.disk, &bytes),
        ("cpus", granted.cpus, others.cpus, wanted.cpus, before.cpus, &cpus),
        ("containers", granted.containers, others.containers, wanted.containers, before.containers, &count),
    ];
    for (what, granted, others, wanted, before, shown) in rows {
        if wanted > before && others.saturating_add(wanted) > granted {
            return Err(Error::new(
                Code::Quota,
                format_args!(
                    "{what} {}: {who} may have {} on this box, and others of its containers have {}; ask for less, \
                     delete one, or ask the box's owner for more",
                    shown(wanted),
                    shown(granted),
                    shown(others),
                ),
            ));
        }
    }
    Ok(())
}
