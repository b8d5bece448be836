//! What is said of containers in a word, and what is wrong with them.

use super::{Container, State};
use crate::error::Error;
use crate::model::name::Name;

impl State {
    /// Every container that is known: made, being made, or only declared. By name.
    pub fn names(&self) -> Vec<&Name> {
        let declared = self.config.containers.keys();
        let made = self.containers.keys().chain(self.making.keys()).chain(self.unreadable.keys());
        // Almost all that are made are declared, and those are in order: sorting a thousand takes longer than looking.
        let mut others: Vec<&Name> =
            made.filter(|name| !self.config.containers.contains_key(*name)).collect();
        if others.is_empty() {
            return declared.collect();
        }
        others.extend(declared);
        others.sort_unstable();
        others.dedup();
        others
    }

    /// The container's state, as `list` shows it.
    pub fn state_of(&self, name: &Name) -> &'static str {
        let job = self.job_on(name).filter(|job| job.target.container() == Some(name));
        if let Some(shown) = job.and_then(|job| job.kind.shown_as) {
            return shown;
        }
        if self.config.containers.get(name).is_some_and(|declared| declared.deleting) {
            return "deleting";
        }
        match self.containers.get(name) {
            Some(Container { live: Some(live), .. }) if live.frozen => "frozen",
            Some(Container { live: Some(_), .. }) => "running",
            Some(_) if !self.config.containers.contains_key(name) => "orphan",
            Some(container) if container.failure.is_none() => "stopped",
            _ => "failed",
        }
    }

    /// Containers without a section, that do not run.
    pub fn orphans(&self) -> Vec<Name> {
        self.names().into_iter().filter(|name| self.state_of(name) == "orphan").cloned().collect()
    }

    /// Containers that could not be made or started, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Name, &Error)> {
        let failures = self.containers.iter().filter_map(|(name, c)| Some((name, c.failure.as_ref()?)));
        failures.chain(&self.not_made)
    }

    /// What is wrong with the configuration.
    pub fn config_warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        if let Some(error) = &self.config_error {
            warnings.push(format!("{}; what it said before holds until it is mended", error.message));
        }
        warnings.extend(self.config.warnings.iter().map(ToString::to_string));
        if !self.storage_given && self.config.settings.storage != self.layout.storage {
            warnings.push(format!(
                "storage is {} until the daemon is restarted; move what is in it to {} first",
                self.layout.storage.display(),
                self.config.settings.storage.display()
            ));
        }
        warnings
    }

    /// What is wrong with the configuration and with containers.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.config_warnings();
        for (name, error) in self.failures() {
            warnings.push(format!("container {name}: {}", error.message));
        }
        warnings.extend(self.unreadable.values().map(|error| error.message.clone()));
        for name in self.orphans() {
            warnings.push(format!(
                "container {name} has no section in UCI; its data is kept: \
                 `cloudbox delete {name}` removes it, `cloudbox adopt {name}` gives it its section again"
            ));
        }
        warnings
    }

    /// Options in which a container that runs differs from its section. What a job is applying is not counted.
    pub fn differs(&self, name: &Name, container: &Container) -> Vec<&'static str> {
        let Some(spec) = self.declared_spec(name).filter(|_| container.live.is_some()) else {
            return Vec::new();
        };
        let running = &container.record.spec;
        let applying = self.job_on(name).is_some_and(|job| job.kind.applies);
        if applying {
            spec.needs_restart(running)
        } else {
            spec.differs_from(running)
        }
    }

    /// Containers that differ from what they run with.
    pub fn restart_required(&self) -> Vec<String> {
        let differing = self.containers.iter().filter(|(name, c)| !self.differs(name, c).is_empty());
        differing.map(|(name, _)| name.to_string()).collect()
    }
}
