//! What the daemon knows of the box before it is examined.

use super::core::Core;
pub use crate::doctor::{examine, report, Examination};
use crate::doctor::{failed, orphan, unreadable, Finding};

impl Examination {
    /// Takes it from `core`; the examination itself is for a thread.
    pub fn of(core: &Core) -> Examination {
        let active = core.jobs.iter().filter(|job| !job.state.is_final());
        Examination {
            layout: core.layout.clone(),
            settings: core.config.settings.clone(),
            cgroups: core.cgroups.clone(),
            config_warnings: core.config_warnings(),
            images: Ok(core.images.len()),
            containers: core.containers.len(),
            container_findings: containers(core),
            busy: active.map(|job| job.target.clone()).collect(),
            no_daemon: None,
        }
    }
}

fn containers(core: &Core) -> Vec<Finding> {
    let mut findings: Vec<Finding> = core.failures().map(|(name, failure)| failed(name, failure)).collect();
    findings.extend(core.unreadable.values().map(unreadable));
    findings.extend(core.orphans().iter().map(orphan));
    findings
}
