//! What the daemon does by itself: it asks the plan what brings what is to what should be, and begins that.

use super::core::{Boot, Core};
use crate::api::replies::ReloadReply;
use crate::api::BusObject;
use crate::model::job::JobId;
use crate::model::name::Name;
use crate::model::plan::{place, plan, plan_for, Action, Seen};
use crate::operations::{Create, Delete, FirstBoot, ImageDelete, Rename, Set, Start, Stop, Task};
use crate::state::State;
use crate::steps::ctx::Gate;
use crate::steps::lxc::first_boot;
use litemap::LiteMap;
use log::{info, warn};
use std::collections::VecDeque;

/// Images that the commons has pulled and does not use, and that stay.
const IDLE_IMAGES: usize = 8;

impl Core {
    /// Reads the configuration again and does what it says.
    pub(super) fn reload(&mut self) -> ReloadReply {
        self.state.read_configuration();
        self.state.notify(BusObject::Config, "config.changed", &());
        let jobs = self.carry_out();
        self.state.adverts_changed = true;
        ReloadReply {
            jobs: jobs.into_iter().map(|id| id.to_string()).collect(),
            restart_required: self.state.restart_required(),
            warnings: self.state.warnings(),
            error: self.state.config_error.as_ref().map(|error| error.message.clone()),
        }
    }

    /// Starts the jobs that bring what is to what should be.
    pub(super) fn carry_out(&mut self) -> Vec<JobId> {
        self.state.read_anew = false;
        if !self.may_act() {
            return Vec::new();
        }
        let boot = self.boot_pending && self.state.config.settings.enabled;
        let seen: LiteMap<Name, Seen> =
            self.state.names().into_iter().map(|name| (name.clone(), seen(&self.state, name))).collect();
        let actions = plan(&self.state.config, &seen, boot);
        if boot {
            self.boot_pending = false;
            self.boot = Some(Boot::of(VecDeque::new()));
        }
        self.carry_out_actions(actions, boot)
    }

    /// The same for some containers, whose bridge may have come: what starts, starts in order.
    pub(super) fn carry_out_for(&mut self, names: &[Name]) {
        if !self.may_act() {
            return;
        }
        let actions = |name| plan_for(&self.state.config, name, seen(&self.state, name), false);
        let mut actions: Vec<Action> = names.iter().flat_map(actions).collect();
        actions.sort_by_key(|action| place(&self.state.config, action));
        self.carry_out_actions(actions, true);
    }

    /// Does what the plan says. What starts containers is `in_order` of their priorities, or at once.
    fn carry_out_actions(&mut self, actions: Vec<Action>, in_order: bool) -> Vec<JobId> {
        let mut jobs = Vec::new();
        let mut starts = VecDeque::new();
        for action in actions {
            match place(&self.state.config, &action).filter(|_| in_order) {
                Some(priority) => starts.push_back((priority, action)),
                None => jobs.extend(self.act(action)),
            }
        }
        if !starts.is_empty() {
            self.boot.get_or_insert_with(|| Boot::of(VecDeque::new())).queue.append(&mut starts);
        }
        jobs.extend(self.go_on_booting());
        self.join_ports();
        jobs
    }

    /// The same for one container, of which something has changed.
    pub(super) fn reconcile(&mut self, name: &Name) {
        if !self.may_act() {
            return;
        }
        let seen = seen(&self.state, name);
        for action in plan_for(&self.state.config, name, seen, false) {
            self.act(action);
        }
        self.join_ports();
    }

    /// A file that cannot be read says nothing: least of all that a container shall go.
    fn may_act(&self) -> bool {
        self.state.config_error.is_none() && self.shutdown.is_none() && !self.ending
    }

    /// What needs no job of its own: a container that waits, and ports, which [`Core::join_ports`] puts into their bridges
    /// together.
    fn act_at_once(&mut self, action: Action) {
        match action {
            Action::Await(name) => self.state.await_bridge(&name),
            Action::Join(name) => drop(self.apart.insert(name)),
            _ => {}
        }
    }

    /// Removes what the commons has pulled and does not use, but for the newest: spares wait with theirs, and nobody else
    /// would tidy up on a box that is left alone for years.
    pub(super) fn tidy_images(&mut self) {
        if !self.may_act() {
            return;
        }
        for name in self.state.idle_by_hash(IDLE_IMAGES) {
            // One that is busy goes another time.
            if let Ok(delete) = ImageDelete::ask(&self.state, &name) {
                info!("image {name} is removed: the commons has pulled it, and nothing is made of it");
                self.begin_own(Box::new(delete));
            }
        }
    }

    /// Starts the job of an action, unless that was given up.
    fn act(&mut self, action: Action) -> Option<JobId> {
        self.act_behind(None, action)
    }

    /// The same with one that starts its container when `gate` is open.
    pub(super) fn act_behind(&mut self, gate: Option<Gate>, action: Action) -> Option<JobId> {
        if self.state.given_up.contains(&action) {
            return None;
        }
        let name = action.name().clone();
        match task(&self.state, &action) {
            Ok(Some(task)) => Some(self.begin_behind(gate, task)),
            Ok(None) => {
                self.act_at_once(action);
                None
            }
            Err(error) => {
                self.state.note_failure(&name, error);
                self.state.given_up.push(action);
                None
            }
        }
    }
}

/// The job of an action; None for one that needs none.
fn task(state: &State, action: &Action) -> crate::error::Result<Option<Box<dyn Task>>> {
    Ok(Some(match action {
        Action::Await(_) | Action::Join(_) => return Ok(None),
        Action::Create { name, start } => Box::new(Create::declared(state, name, *start)?),
        Action::Start(name) => Start::ask(state, name)?,
        Action::FinishRename(name, new_name) => Box::new(Rename::of(state, name, new_name)?),
        Action::Apply(name) => Box::new(Set::declared(state, name)?),
        Action::FirstBoot(name) => Box::new(FirstBoot(name.clone())),
        Action::StopOrphan(name) => {
            warn!("container {name} has no section any more: it is stopped, its data is kept");
            Box::new(Stop::gently(state, name))
        }
        Action::FinishDelete(name) => Box::new(Delete::of(state, name.clone())),
    }))
}

/// The container as the plan sees it. What cannot be read, or is being made, is left alone.
fn seen(state: &State, name: &Name) -> Seen {
    let making = state.making.contains_key(name);
    let declared = state.declared_spec(name).map(|spec| spec.bridge.as_str());
    let link = |port, bridge: Option<&str>| {
        bridge.map(|bridge| state.machine.network.link(port, bridge)).unwrap_or_default()
    };
    let Some(container) = state.containers.get(name) else {
        let unreadable = state.unreadable.contains_key(name);
        let busy = making || unreadable || state.job_on(name).is_some();
        return Seen { exists: unreadable, busy, link: link(None, declared), ..Seen::default() };
    };
    let running = container.live.is_some();
    let record = &container.record;
    let has_script = running && !record.spec.first_boot.is_empty();
    Seen {
        exists: true,
        running,
        busy: state.job_on(name).is_some(),
        stale: state.is_stale(name),
        first_boot: has_script && has_not_begun(state, name),
        link: match running {
            true => link(Some(record.veth.as_str()), Some(record.spec.bridge.as_str())),
            false => link(None, declared),
        },
        awaits: container.life.awaits,
    }
}

/// Whether the container's first-boot script was never begun, and no job is about to.
fn has_not_begun(state: &State, name: &Name) -> bool {
    let is_it = |job: &&crate::model::job::Job| job.kind.beside && job.target.container() == Some(name);
    !state.jobs.open().any(|job| is_it(&job)) && first_boot::status(&state.layout.container(name)).is_none()
}
