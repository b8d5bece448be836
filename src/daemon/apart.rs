//! Containers that stand apart: orphans, whose section is gone, those other tools made, and what was left half made.

use super::core::Core;
use super::work::Work;
use crate::api::replies::{ForeignEntry, PruneReply};
use crate::error::{Code, Error, Result};
use crate::model::job::JobId;
use crate::model::name::{ImageName, Name};
use crate::model::spec::Asked;
use crate::ops::TakeOver;
use crate::steps::lxc::Foreign;

impl Core {
    /// Those other tools made.
    pub(super) fn foreign(&self) -> Vec<Foreign> {
        self.machine.runtime.foreign(&self.config.settings.lxcpath)
    }

    pub(super) fn foreign_entries(&self) -> Vec<ForeignEntry> {
        let entry = |foreign: Foreign| ForeignEntry {
            path: foreign.lxcpath.join(&foreign.name).display().to_string(),
            name: foreign.name,
            state: if foreign.running { "running" } else { "stopped" },
        };
        self.foreign().into_iter().map(entry).collect()
    }

    /// Takes in an orphan, or a foreign container.
    pub(super) fn adopt(&mut self, name: &Name) -> Result<JobId> {
        self.idle(name)?;
        if let Some(error) = self.unreadable.get(name) {
            return Err(error.clone());
        }
        if self.config.containers.contains_key(name) {
            return Err(Error::new(
                Code::Exists,
                format_args!("container {name} has its section; there is nothing to adopt"),
            ));
        }
        if let Some(orphan) = self.containers.get(name) {
            return Ok(self.start_job(Work::Adopt(orphan.record.clone())));
        }
        match self.foreign().into_iter().find(|foreign| foreign.name == name.as_str()) {
            Some(foreign) => self.take_over(name, foreign),
            None => {
                let path = self.config.settings.lxcpath.display();
                Err(Error::new(
                    Code::NotFound,
                    format_args!("there is no container {name} without a section, and none in {path}"),
                ))
            }
        }
    }

    fn take_over(&mut self, name: &Name, foreign: Foreign) -> Result<JobId> {
        self.check_enabled()?;
        let image = ImageName::new(&format!("adopted-{name}")).or_else(|_| ImageName::new(name.as_str()))?;
        if self.find_image(image.as_str()).is_ok() {
            return Err(Error::new(
                Code::Exists,
                format_args!("image {image} is there already, of another time; delete or rename it first"),
            ));
        }
        // Both it and the original would start with the box.
        let asked =
            Asked { image: Some(image.to_string()), autostart: Some("0".to_string()), ..Asked::default() };
        let spec = asked.resolve(&self.config.settings.defaults)?;
        self.admit_disk(&spec)?;
        let record = self.new_record(name, spec)?;
        self.making.insert(name.clone(), record.clone());
        Ok(self.start_job(Work::TakeOver(Box::new(TakeOver { foreign, record, asked }))))
    }

    /// Removes orphans and leftovers; without `yes` it only says which.
    pub(super) fn prune(&mut self, yes: bool) -> Result<PruneReply> {
        let mut reply = PruneReply {
            orphans: Vec::new(),
            leftovers: Vec::new(),
            protected: Vec::new(),
            jobs: Vec::new(),
        };
        let (mut orphans, mut leftovers) = (self.orphans(), self.machine.storage.leftovers()?);
        let is_idle = |name: &Name| self.jobs.active_on(name.as_str()).is_none();
        orphans.retain(is_idle);
        orphans.retain(|name| {
            let protected = self.is_protected(name);
            let list = if protected { &mut reply.protected } else { &mut reply.orphans };
            list.push(name.to_string());
            !protected
        });
        leftovers.retain(is_idle);
        reply.leftovers.extend(leftovers.iter().map(Name::to_string));
        if yes {
            // A delete removes what is left under the name, too.
            leftovers.retain(|name| !orphans.contains(name));
            for name in orphans {
                reply.jobs.push(self.start_delete(name).to_string());
            }
            for name in leftovers {
                reply.jobs.push(self.start_job(Work::Prune(name)).to_string());
            }
        }
        Ok(reply)
    }
}
