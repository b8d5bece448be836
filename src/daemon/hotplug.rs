//! The owner's scripts hear of what has happened, one event after the other.

use super::core::{Core, Report};
use super::workers;
use crate::error::Result;
use crate::steps::ctx::{Cancel, Ctx};
use crate::steps::hotplug::{self, Happening};
use log::{error, warn};
use openwrt_ubus::Fields;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Most events that wait: what is more is not told.
const WAITING_MAX: usize = 32;

/// The events that scripts are told, and what they are called there.
const TOLD: [(&str, &str); 5] = [
    ("container.failed", "failed"),
    ("container.oom", "oom"),
    ("container.disk_failed", "disk_failed"),
    ("disk.nearly_full", "disk_nearly_full"),
    ("image.newer", "image_newer"),
];

/// The scripts, and what they have not been told yet.
#[derive(Debug, Default)]
pub(super) struct Hotplug {
    /// Where they are; None: there are none.
    pub(super) dir: Option<PathBuf>,
    waiting: VecDeque<Happening>,
    /// What ends those that run; None when none does.
    pub(super) at_work: Option<Cancel>,
    /// Some of what happened was left out.
    full: bool,
}

impl Hotplug {
    /// Notes what is told on the bus, if scripts are told it too.
    pub(super) fn hear(&mut self, event: &str, fields: &[u8]) {
        let Some((_, action)) = TOLD.iter().find(|(told, _)| *told == event) else { return };
        let text =
            |field| Fields::new(fields).get(field).and_then(|value| value.as_str().map(str::to_string));
        let (Some(name), true) = (text("name").or_else(|| text("path")), self.dir.is_some()) else { return };
        let happening = Happening { action, name };
        if self.waiting.contains(&happening) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            if !std::mem::replace(&mut self.full, true) {
                warn!("the scripts in {} are slow: not all is told them", hotplug::DIRECTORY);
            }
            return;
        }
        self.waiting.push_back(happening);
    }
}

impl Core {
    /// The owner's scripts are in `dir`.
    pub fn scripts_are_in(&mut self, dir: PathBuf) {
        self.hotplug.dir = Some(dir);
    }

    /// Has the scripts told what happened next, if they are not at work.
    pub(super) fn tell_scripts(&mut self) {
        if self.ending || self.hotplug.at_work.is_some() {
            return;
        }
        let Some(happening) = self.hotplug.waiting.pop_front() else {
            self.hotplug.full = false;
            return;
        };
        if let Err(error) = self.begin_scripts(happening) {
            error!("{error}");
        }
    }

    fn begin_scripts(&mut self, happening: Happening) -> Result<()> {
        let cancel = Cancel::new()?;
        let (ctx, dir) = (Ctx::new(cancel.clone(), |_| {}), self.hotplug.dir.clone().unwrap_or_default());
        workers::spawn_report(&self.sender, move || {
            if let Err(error) = hotplug::run(&ctx, &dir, &happening) {
                let Happening { action, name } = happening;
                error!("a script that was told `{action}` of {name}: {error}");
            }
            Report::ScriptsTold
        })?;
        self.hotplug.at_work = Some(cancel);
        Ok(())
    }

    /// The scripts have been told.
    pub(super) fn scripts_told(&mut self) {
        self.hotplug.at_work = None;
        self.tell_scripts();
    }
}
