//! LXC.

use super::world::{limits_of, ALIVE};
use super::{impossible, FakeBox};
use crate::error::{Code, Error, Result};
use crate::model::image::Init;
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::cgroup::{Limits, Usage};
use crate::steps::lxc::{AfterEnd, Exec, Foreign, Notice, Output, Running, Runtime, StopHow};
use crate::steps::storage::{Record, Shifted};
use crate::steps::wait;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::Path;

impl Runtime for FakeBox {
    fn start(&self, ctx: &Ctx, record: &Record, _gateway: Option<Ipv4Addr>) -> Result<Running> {
        let name = &record.name;
        wait::for_turn(ctx)?;
        ctx.step("start.lxc")?;
        self.act("runtime.start", name.as_str(), Some(ctx), |state| {
            if state.world.processes.contains_key(name) {
                return Err(Error::new(Code::Running, format_args!("container {name} still lives")));
            }
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("a start without a root", name));
            }
            state.world.limits.insert(name.clone(), limits_of(record));
            state.exits.remove(name);
            Ok(state.begin(name))
        })
    }

    fn find(&self, name: &Name) -> Result<Option<Running>> {
        self.act("runtime.find", name.as_str(), None, |state| {
            let Some(pid) = state.world.processes.get(name) else { return Ok(None) };
            let pidfd = state.inits[name].0.try_clone().unwrap();
            Ok(Some(Running { init: *pid, pidfd, monitor: Some(*pid) }))
        })
    }

    /// As the real one, it begins its steps only while the job is not cancelled.
    fn stop(&self, ctx: &Ctx, name: &Name, _init: Init, how: StopHow) -> Result<bool> {
        if self.state().world.processes.contains_key(name) {
            ctx.step(if how == StopHow::Kill { "stop.kill" } else { "stop.ask" })?;
        }
        self.act("runtime.stop", name.as_str(), Some(ctx), |state| {
            state.kill(name);
            Ok(how == StopHow::Kill)
        })
    }

    fn after_end(&self, ctx: &Ctx, name: &Name) -> Result<AfterEnd> {
        self.act("runtime.after_end", name.as_str(), Some(ctx), |state| {
            if let Some(pid) = state.world.processes.get(name) {
                // It has rebooted before, and nobody has taken that up.
                let pidfd = state.inits[name].0.try_clone().unwrap();
                return Ok(AfterEnd::Rebooted(Running { init: *pid, pidfd, monitor: Some(*pid) }));
            }
            state.inits.remove(name);
            if state.rebooting.remove(name) {
                return Ok(AfterEnd::Rebooted(state.begin(name)));
            }
            Ok(AfterEnd::Stopped)
        })
    }

    fn freeze(&self, ctx: &Ctx, name: &Name) -> Result<bool> {
        self.act("runtime.freeze", name.as_str(), Some(ctx), |state| {
            if !state.world.processes.contains_key(name) {
                return Err(impossible("freezing what does not run", name));
            }
            Ok(state.world.frozen.insert(name.clone()))
        })
    }

    fn thaw(&self, name: &Name) -> Result<()> {
        self.act("runtime.thaw", name.as_str(), None, |state| {
            state.world.frozen.remove(name);
            Ok(())
        })
    }

    fn is_frozen(&self, name: &Name) -> bool {
        self.state().world.frozen.contains(name)
    }

    fn notices_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn notices(&self) -> Vec<(Name, Notice)> {
        std::mem::take(&mut self.state().notices)
    }

    fn exit_status(&self, name: &Name) -> Option<i32> {
        self.state().exits.remove(name)
    }

    /// Every command is an `echo` that ends in a NUL.
    fn exec(&self, ctx: &Ctx, name: &Name, exec: &Exec) -> Result<Output> {
        self.act("runtime.exec", name.as_str(), Some(ctx), |_| {
            let stdout = format!("{}\0", exec.command.join(" ")).into_bytes();
            Ok(Output { code: 3, stdout, stderr: b"\xff".to_vec(), truncated: false })
        })
    }

    fn first_boot(&self, ctx: &Ctx, name: &Name) -> Result<i32> {
        self.act("runtime.first_boot", name.as_str(), Some(ctx), |_| Ok(3))
    }

    fn foreign(&self, _lxcpath: &Path) -> Vec<Foreign> {
        self.state().foreign.clone()
    }

    fn open_foreign(&self, ctx: &Ctx, foreign: &Foreign) -> Result<Shifted> {
        self.enter("runtime.open_foreign", &foreign.name, Some(ctx))?;
        Ok(Shifted::plain(&foreign.lxcpath.join(&foreign.name)))
    }

    fn tidy(&self) {
        let idle = self.state().world.processes.is_empty();
        assert!(idle, "tidied while a container runs");
    }

    fn usage(&self, name: &Name) -> Usage {
        self.state().usages.push(name.clone());
        match self.state().world.processes.contains_key(name) {
            true => Usage { memory: Some(23_456_789), pids: Some(17), cpu_time: Some(1_234_567) },
            false => Usage::default(),
        }
    }

    fn memory_peak(&self, name: &Name) -> Option<u64> {
        self.state().world.processes.contains_key(name).then_some(34_567_890)
    }

    fn set_limits(&self, record: &Record) -> Result<()> {
        self.act("runtime.set_limits", record.name.as_str(), None, |state| {
            state.world.limits.insert(record.name.clone(), limits_of(record));
            Ok(())
        })
    }

    /// Less than the least limit.
    fn memory_held(&self, name: &Name) -> Option<u64> {
        self.state().world.processes.contains_key(name).then_some(12_345_678)
    }

    fn limits(&self, name: &Name) -> Limits {
        let state = self.state();
        state.world.limits.get(name).map_or(Limits::default(), |(memory, cpus, pids)| Limits {
            memory: Some(*memory),
            pids: Some((*pids).into()),
            cpus: Some((*cpus).into()),
            swap: None,
        })
    }
}
