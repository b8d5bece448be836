//! How what is known of containers changes: made, started, ended, failed.

use super::{now, Container, Live, Made, State};
use crate::api::{OutOfMemory, Rejoined};
use crate::error::{Code, Error};
use crate::model::config::{self, Config, Declared};
use crate::model::life::{Exit, Life, Reason};
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::model::spec::Restart;
use crate::steps::keep::keep;
use crate::steps::lxc::Notice;
use log::{error, info, warn};
use std::time::{Duration, Instant};

/// How often it is told that a container runs out of memory.
const OOM_EVERY: Duration = Duration::from_secs(1);

impl State {
    /// Reads the configuration files. One that cannot be read changes nothing: what was read before holds.
    pub fn read_configuration(&mut self) {
        let store = &self.machine.config;
        let read = store.load().and_then(|main| {
            let config = config::read(&main, &store.load_host()?, &self.config.settings);
            let lost = config::check_not_lost(&config, self.containers.len());
            store.guard(lost.is_err());
            lost.map(|()| config)
        });
        match read {
            Ok(config) => {
                // What could not be done may be done now.
                self.given_up.clear();
                let containers = self.containers.iter_mut().map(|(_, container)| container);
                for container in containers.filter(|container| container.live.is_some()) {
                    container.failure = None;
                }
                self.remember_what_goes(&config);
                self.config = config;
                self.config_error = None;
                self.read_anew = true;
                self.not_made.retain(|name, _| self.config.containers.contains_key(name));
            }
            Err(error) => self.config_error = Some(error),
        }
    }

    /// Keeps what sections said that are not in `config` any more, of containers that are there: who adopts one wants it
    /// as it was.
    fn remember_what_goes(&mut self, config: &Config) {
        for (name, declared) in &self.config.containers {
            if let (Ok(spec), None, true) =
                (&declared.spec, config.containers.get(name), self.containers.contains_key(name))
            {
                self.last_said.insert(name.clone(), spec.clone());
            }
        }
    }

    /// A container was made, or started.
    pub fn take_up(&mut self, name: &Name, made: Made) {
        let created = !self.containers.contains_key(name);
        if created {
            // A section that has just been written is known without reading the file again.
            let written = Declared::good(made.record.spec.clone());
            let declared = self.config.containers.entry(name.clone()).or_insert(written);
            // Read while it was half made.
            declared.deleting = false;
        }
        self.not_made.remove(name);
        self.note_image(&made.record);
        let running = made.live.is_some();
        let mut life = self.containers.remove(name).map(|container| container.life).unwrap_or_default();
        (life.pending, life.awaits) = (false, false);
        self.lives_changed = true;
        let container = Container { live: made.live, ..Container::stopped(made.record, life) };
        self.containers.insert(name.clone(), container);
        if created {
            info!("container {name} was made");
            self.notify_container("container.created", name);
        }
        if running {
            self.try_again(name);
            info!("container {name} runs");
            self.notify_container("container.started", name);
        }
    }

    /// A run has ended, because somebody wanted it, or, without a reason, by itself.
    pub fn take_end(&mut self, name: &Name, reason: Option<Reason>) {
        let status = self.machine.runtime.exit_status(name);
        self.hear_notices();
        let policy = self.declared_spec(name).map_or(Restart::No, |spec| spec.restart);
        let Some(container) = self.containers.get_mut(name) else { return };
        let live = container.live.take();
        self.machine.network.release(&container.record.veth);
        let exit = match reason {
            Some(reason) => Exit { reason, status: None, at: now() },
            None => Exit::by_itself(status, live.as_ref().is_some_and(|live| live.ooms > 0), now()),
        };
        let ran = live.map_or(0, |live| live.age().as_secs());
        let again = container.life.end(exit, ran, policy);
        container.due = again.map(|again| Instant::now() + again);
        container.failure = None;
        container.monitor_left = false;
        self.lives_changed = true;
        info!("container {name} is stopped ({})", exit.reason.as_str());
        if exit.reason.is_failure() {
            self.note_failure(name, Error::new(Code::Failed, exit.sentence()));
        }
        if let Some(again) = again {
            info!("container {name} is started again in {} s", again.as_secs());
        }
        self.notify_container("container.stopped", name);
        if exit.reason.is_failure() {
            self.notify_container("container.failed", name);
        }
    }

    /// An operation on a container failed: what runs of it is looked at anew, since a failed stop may have stopped it,
    /// and a cancelled one not.
    pub fn look_again(&mut self, name: &Name) {
        let found = self.machine.runtime.find(name).ok().flatten();
        let Some(container) = self.containers.get_mut(name) else { return };
        match (found, &container.live) {
            (None, _) => {
                container.live = None;
                self.machine.network.release(&container.record.veth);
            }
            (Some(found), Some(known)) if found.init == known.running.init => {}
            (Some(found), _) => container.live = Some(Live::watch(&self.machine, &container.record, found)),
        }
        if container.life.pending && container.live.is_none() {
            container.due = Some(Instant::now() + container.life.delay());
            self.lives_changed = true;
        }
    }

    /// Keeps why a container could not be made or started, for `list` and `doctor`.
    pub fn note_failure(&mut self, name: &Name, error: Error) {
        error!("container {name}: {error}");
        match self.containers.get_mut(name) {
            Some(container) => container.failure = Some(error),
            None => {
                self.not_made.insert(name.clone(), error);
            }
        }
    }

    /// The container was to be started, or made, and its bridge is not there. It is when the bridge comes.
    pub fn await_bridge(&mut self, name: &Name) {
        let Some(bridge) = self.declared_spec(name).map(|spec| spec.bridge.clone()) else { return };
        let why = Error::new(
            Code::NotFound,
            format_args!(
                "the bridge {bridge} is not there, the container is started when it comes; make it, or name another: \
                 `cloudbox set {name} --network ...`"
            ),
        );
        let container = self.containers.get_mut(name);
        let known = container.as_ref().map_or(self.not_made.get(name), |c| c.failure.as_ref());
        if known == Some(&why) && container.as_ref().is_none_or(|c| c.life.awaits) {
            return;
        }
        if let Some(container) = container {
            container.life.awaits = true;
            (container.life.pending, container.due) = (false, None);
            self.lives_changed = true;
        }
        self.note_failure(name, why);
        self.notify_container("container.failed", name);
    }

    /// A port is in its bridge again, after it has lost it.
    pub fn take_joined(&mut self, name: &Name) {
        let Some(container) = self.containers.get(name) else { return };
        let bridge = container.record.spec.bridge.clone();
        info!("container {name} is in its bridge {bridge} again");
        self.notify_of(name, "container.rejoined", &Rejoined { name: name.as_str(), bridge: &bridge });
        self.adverts_changed = true;
    }

    /// What the plan wants of a container could not be done: it is not tried again by itself.
    pub fn give_up(&mut self, action: Action) {
        if !self.given_up.contains(&action) {
            self.given_up.push(action);
        }
    }

    /// What the plan wants of the container and could not be done may be tried again.
    pub fn try_again(&mut self, name: &Name) {
        self.given_up.retain(|action| action.name() != name);
    }

    /// The container is to be started again by itself, later each time.
    pub fn start_later(&mut self, name: &Name) {
        if let Some(container) = self.containers.get_mut(name) {
            container.life.pending = true;
            container.due.get_or_insert_with(|| Instant::now() + container.life.delay());
            self.lives_changed = true;
        }
    }

    /// Somebody takes care of the container: it is not started again by itself, and its restarts are counted anew.
    pub fn forget_restarts(&mut self, name: &Name) {
        if let Some(container) = self.containers.get_mut(name) {
            container.due = None;
            container.life.forget();
            self.lives_changed = true;
        }
    }

    /// LXC or the kernel has something to tell of containers that run.
    pub fn hear_notices(&mut self) {
        for (name, notice) in self.machine.runtime.notices() {
            match notice {
                Notice::OutOfMemory(times) => self.hear_of_memory(&name, times),
                Notice::DiskFailed => self.look_at_disk(&name),
            }
        }
    }

    fn hear_of_memory(&mut self, name: &Name, times: u64) {
        let Some(live) = self.containers.get_mut(name).and_then(|c| c.live.as_mut()) else { return };
        live.ooms = live.ooms.saturating_add(times);
        let count = live.ooms;
        // A guest that starts again and again what is killed again and again is not told of each time.
        if live.ooms_told.is_some_and(|told| told.elapsed() < OOM_EVERY) {
            return;
        }
        live.ooms_told = Some(Instant::now());
        warn!("container {name} ran out of memory ({count} times in this run): the kernel ended a process");
        self.notify_of(name, "container.oom", &OutOfMemory { name: name.as_str(), count });
    }

    /// Looks whether the disk of a container that runs does what it should, and tells it if not: once in a run, since what
    /// comes behind the first error follows from it. Not every kernel tells by itself of an error that ends all writing,
    /// so who looks at the container has it looked at, too.
    pub fn look_at_disk(&mut self, name: &Name) {
        let with_quota = |c: &&Container| c.live.is_some() && c.record.spec.disk.is_some();
        if self.containers.get(name).filter(with_quota).is_none() {
            return;
        }
        let trouble = self.machine.storage.trouble(name);
        let Some(live) = self.containers.get_mut(name).and_then(|c| c.live.as_mut()) else { return };
        let is_news = live.disk_trouble.is_none();
        live.disk_trouble = trouble;
        if let Some(trouble) = live.disk_trouble.as_ref().filter(|_| is_news) {
            error!("{}", trouble.message);
            self.notify_container("container.disk_failed", name);
        }
    }

    /// Keeps what is remembered of ends and restarts over a restart of the daemon, if it changed.
    pub fn save_lives(&mut self) {
        if !std::mem::replace(&mut self.lives_changed, false) {
            return;
        }
        let mut text = String::new();
        for (name, container) in self.containers.iter().filter(|(_, c)| c.life != Life::default()) {
            text.extend([name.as_str(), " ", &container.life.line(), "\n"]);
        }
        keep("how containers ended", &self.layout.lives(), &text);
    }
}
