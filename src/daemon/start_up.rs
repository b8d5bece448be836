//! The daemon's start: finding again what runs, clearing what an earlier daemon left in the middle.

use super::core::Core;
use super::workers;
use crate::error::{Code, Error, Result};
use crate::model::config::{self, Config, Declared, Settings};
use crate::model::job::Jobs;
use crate::model::life;
use crate::operations;
use crate::state::{now, Container, Live};
use crate::steps::config::ConfigStore;
use crate::steps::filesystem::{read_file, read_text};
use crate::steps::network::Port;
use crate::steps::storage::{Found, Record};
use log::{error, info, warn};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// The longest table of jobs, and the longest list of containers' lives: both are of few hundred lines.
const JOBS_MAX: u64 = 4 << 20;
const LIVES_MAX: u64 = 4 << 20;

/// The configuration as read at the start.
pub struct Loaded {
    /// What it says; nothing when it cannot be read.
    pub config: Config,
    /// Why it cannot be read.
    pub error: Option<Error>,
}

/// Reads the configuration.
pub fn load(store: &dyn ConfigStore) -> Loaded {
    match store.load().and_then(|main| Ok((main, store.load_host()?))) {
        Ok((main, host)) => Loaded { config: config::read(&main, &host, &Settings::default()), error: None },
        Err(error) => {
            error!("{error}");
            Loaded { config: Config::default(), error: Some(error) }
        }
    }
}

impl Core {
    /// Finds out what there is, and starts what must be done.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn start_up(&mut self, loaded: Loaded) -> Result<()> {
        for warning in &loaded.config.warnings {
            warn!("{warning}");
        }
        let state = &mut self.state;
        state.config = loaded.config;
        state.config_error = loaded.error;
        state.jobs = read_jobs(&state.layout.jobs());
        state.jobs.interrupt_unfinished(now());
        let lives = read_text(&state.layout.lives(), LIVES_MAX).unwrap_or_default();
        self.clear_leftovers();
        self.state.read_images();
        // Before the ports are looked at: nothing that happens meanwhile is lost.
        self.links = self.state.machine.network.watch_links().inspect_err(|error| error!("{error}")).ok();
        let mut quiet = true;
        let scanned = self.state.machine.storage.scan()?;
        let made = scanned.iter().filter(|found| matches!(found, Found::Container(_))).count();
        if let Err(error) = config::check_not_lost(&self.state.config, made) {
            error!("{error}");
            self.state.machine.config.guard(true);
            self.state.config_error.get_or_insert(error);
        }
        for found in scanned {
            match found {
                Found::Container(record) => quiet &= self.take_up(record, &lives),
                Found::Unreadable(name, error) => {
                    error!("{error}");
                    self.state.unreadable.insert(name, error);
                }
            }
        }
        self.state.machine.network.end_adoption();
        if let Err(error) = self.state.machine.release_unheld_images() {
            warn!("{error}");
        }
        if quiet {
            self.state.machine.runtime.tidy();
        }
        self.boot_pending = !boot_is_done(&self.state.layout.boot_marker());
        self.carry_out();
        Ok(())
    }

    fn clear_leftovers(&self) {
        for (name, frozen) in self.state.machine.storage.held() {
            info!("container {name} was held for a copy; it goes on");
            if let Err(error) = operations::let_go(&self.state.machine, &name, frozen) {
                error!("{error}");
            }
        }
        match self.state.machine.storage.sweep() {
            Ok(swept) if !swept.is_empty() => info!("removed what was left of {}", swept.join(", ")),
            Ok(_) => {}
            Err(error) => error!("{error}"),
        }
        if let Err(error) = self.state.machine.images.clean() {
            error!("{error}");
        }
        let machine = self.state.machine.clone();
        let swept = workers::spawn(move || {
            if let Err(error) = machine.config.sweep() {
                warn!("{error}");
            }
        });
        if let Err(error) = swept {
            warn!("{error}");
        }
    }

    /// Takes up a container: watches it if it runs, and unmounts what a stopped one has still mounted. Returns whether
    /// nothing of it runs, for sure.
    fn take_up(&mut self, record: Box<Record>, lives: &str) -> bool {
        let name = record.name.clone();
        let found = self.state.machine.runtime.recover(&name);
        let stopped = matches!(found, Ok(None));
        let live = match found {
            Err(error) => {
                error!("{error}");
                None
            }
            Ok(Some(running)) => {
                if let Err(error) = self.state.machine.hold_image(&name, &record.image_sha256) {
                    warn!("{error}");
                }
                if let Err(error) = self.state.machine.network.isolate(&Port::of(&record)) {
                    error!("container {name}: {error}");
                }
                Some(Live::watch(&self.state.machine, &record, running))
            }
            Ok(None) => {
                if let Err(error) = self.state.machine.storage.unmount(&name) {
                    warn!("{error}");
                }
                None
            }
        };
        if self.state.config_error.is_some() {
            // The file cannot be read; what it said last is in the record.
            self.state.config.containers.insert(name.clone(), Declared::good(record.said().clone()));
        }
        let mut life = life::find(lives, &name);
        let exit = life.exit.filter(|exit| live.is_none() && exit.reason.is_failure());
        let failure = exit.map(|exit| Error::new(Code::Failed, exit.sentence()));
        if live.is_some() {
            life.awaits = false;
        }
        let due = (live.is_none() && life.pending).then(|| Instant::now() + life.same_delay());
        self.state
            .containers
            .insert(name, Container { record, live, failure, life, due, monitor_left: false });
        stopped
    }
}

fn read_jobs(path: &Path) -> Jobs {
    // A damaged table is worth no more than none.
    read_file(path, JOBS_MAX).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Whether what starts at boot was started since the box booted.
fn boot_is_done(marker: &Path) -> bool {
    fs::read_to_string(marker).is_ok_and(|last| last == boot_id())
}

/// Remembers that what starts at boot was started.
pub fn write_boot_marker(marker: &Path) {
    if let Err(error) = fs::write(marker, boot_id()) {
        warn!("cannot write {}: {error}", marker.display());
    }
}
