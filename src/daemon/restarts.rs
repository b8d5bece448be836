//! Containers that ended by themselves are started again, later and later, as their sections say.

use super::core::Core;
use crate::model::job::JobId;
use crate::model::name::Name;
use crate::model::plan::Link;
use crate::model::spec::Restart;
use crate::operations::Start;
use std::time::Instant;

impl Core {
    /// When a container is to be started again next.
    pub(super) fn next_restart(&self) -> Option<Instant> {
        self.state.containers.values().filter_map(|container| container.due).min()
    }

    /// Starts again what is due.
    pub(super) fn restart_due(&mut self, now: Instant) {
        let due = self.state.containers.iter().filter(|(_, c)| c.due.is_some_and(|due| due <= now));
        let due: Vec<Name> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.start_again(&name);
        }
    }

    fn start_again(&mut self, name: &Name) {
        let state = &mut self.state;
        let wanted = state.config.settings.enabled
            && state.config.containers.get(name).is_some_and(|declared| !declared.deleting)
            && state.declared_spec(name).is_none_or(|spec| spec.restart != Restart::No);
        let bridge = state.declared_spec(name).map(|spec| spec.bridge.as_str());
        let bridge_is_there =
            bridge.is_none_or(|bridge| state.machine.network.link(None, bridge) != Link::NoBridge);
        let Some(container) = state.containers.get_mut(name) else { return };
        container.due = None;
        state.lives_changed = true;
        if !wanted || container.live.is_some() {
            container.life.pending = false;
            return;
        }
        if !bridge_is_there {
            return state.await_bridge(name);
        }
        container.life.restarts = container.life.restarts.saturating_add(1);
        let started: Result<JobId, _> = Start::ask(&self.state, name).map(|task| self.begin_own(task));
        if let Err(error) = started {
            self.state.note_failure(name, error);
            if let Some(container) = self.state.containers.get_mut(name) {
                container.due = Some(Instant::now() + container.life.delay());
            }
        }
    }
}
