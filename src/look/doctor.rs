//! `doctor`: what the daemon knows of the box before it is examined.

use crate::doctor::{failed, orphan, trouble, unreadable, About, Examination, Finding};
use crate::error::Error;
use crate::model::name::Name;
use crate::state::State;
use crate::steps::network::Port;
use serde::Deserialize;
use std::path::Path;

/// `cloudbox doctor`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// Look at what of the promises about security holds, instead of what the box needs.
    pub security: Option<bool>,
}

impl Args {
    /// What is to be looked at.
    pub fn about(&self) -> About {
        match self.security {
            Some(true) => About::Security,
            _ => About::Needs,
        }
    }
}

/// Takes it from the state; the examination itself is for a thread.
pub fn examination(state: &State) -> Examination {
    Examination {
        layout: state.layout.clone(),
        config_dir: state.config_path.parent().map(Path::to_path_buf).unwrap_or_default(),
        settings: state.config.settings.clone(),
        cgroups: state.cgroups.clone(),
        config_warnings: state.config_warnings(),
        images: Ok(state.images.len()),
        guests: state.containers.iter().map(|(name, c)| (name.clone(), c.record.spec.clone())).collect(),
        unsigned_remotes: state.config.unsigned_remotes(),
        brokers: state.config.brokers.clone(),
        ports: ports(state),
        container_findings: findings(state),
        busy: state.jobs.open().map(|job| job.target.to_string()).collect(),
        no_daemon: None,
    }
}

fn ports(state: &State) -> Vec<(Name, Port)> {
    let running =
        state.containers.iter().filter(|(name, c)| c.live.is_some() && state.job_on(name).is_none());
    running.map(|(name, container)| (name.clone(), Port::of(&container.record))).collect()
}

fn findings(state: &State) -> Vec<Finding> {
    let told = |(name, failure): (&Name, &Error)| match state.state_of(name) {
        "deleting" => trouble(&Error::new(failure.code, format_args!("{name}: {}", failure.message))),
        _ => failed(name, failure),
    };
    let mut findings: Vec<Finding> = state.failures().map(told).collect();
    let disks = state.containers.values().filter_map(|c| c.live.as_ref()?.disk_trouble.as_ref());
    findings.extend(disks.map(trouble));
    findings.extend(state.unreadable.values().map(unreadable));
    findings.extend(state.orphans().iter().map(orphan));
    findings
}
