//! `doctor`: what the daemon knows of the box before it is examined.

use crate::doctor::{failed, orphan, unreadable, Examination, Finding};
use crate::state::State;

/// Takes it from the state; the examination itself is for a thread.
pub fn examination(state: &State) -> Examination {
    Examination {
        layout: state.layout.clone(),
        settings: state.config.settings.clone(),
        cgroups: state.cgroups.clone(),
        config_warnings: state.config_warnings(),
        images: Ok(state.images.len()),
        containers: state.containers.len(),
        container_findings: findings(state),
        busy: state.jobs.open().map(|job| job.target.to_string()).collect(),
        no_daemon: None,
    }
}

fn findings(state: &State) -> Vec<Finding> {
    let mut findings: Vec<Finding> = state.failures().map(|(name, failure)| failed(name, failure)).collect();
    findings.extend(state.unreadable.values().map(unreadable));
    findings.extend(state.orphans().iter().map(orphan));
    findings
}
