//! `delete`: removing a container with all its data.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::Init;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::state::State;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Stop;
use serde::Deserialize;

/// The kind of a job that removes a container.
pub const KIND: Kind = Kind {
    cancellable: false,
    shown_as: Some("deleting"),
    silence: Some("is being deleted"),
    ..Kind::new("delete")
};

/// `cloudbox.container delete`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// Also when it is running.
    pub force: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be removed.
#[derive(Debug)]
pub struct Delete {
    pub(super) name: Name,
    pub(super) init: Init,
    /// How far its section is.
    pub(super) section: Section,
}

/// What the file says of a container that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// What it said before.
    Untouched,
    /// That the delete must be finished.
    Marked,
    /// Nothing any more.
    Gone,
}

impl Delete {
    /// A container that somebody wants to be gone.
    ///
    /// # Errors
    /// [`Code::Running`] without force, [`Code::Protected`], [`Code::Busy`], [`Code::NotFound`].
    pub fn ask(state: &State, args: &Args) -> Result<Delete> {
        let name = Name::new(&args.name)?;
        if !state.unreadable.contains_key(&name) {
            state.check_known(&name)?;
        }
        let force = args.force.unwrap_or(false);
        if force || !state.runs(&name) {
            // It may be about to start, which nobody waits for.
            state.check_can_end(&name)?;
        }
        state.check_idle(&name)?;
        if state.runs(&name) && !force {
            return Err(Error::new(
                Code::Running,
                format_args!("container {name} is running; stop it first, or delete it with force"),
            ));
        }
        if state.is_protected(&name) {
            let cure = match state.config.containers.contains_key(&name) {
                true => format!("`cloudbox set {name} --protected no` ends that"),
                false => {
                    format!("`cloudbox adopt {name}` gives it a section again, where that can be changed")
                }
            };
            return Err(Error::new(Code::Protected, format_args!("container {name} is protected; {cure}")));
        }
        Ok(Delete::of(state, name))
    }

    /// A container that is to be gone in any case: its delete has begun, or it is pruned.
    pub fn of(state: &State, name: Name) -> Delete {
        let init = state.containers.get(&name).map_or(Init::Other, |container| container.record.init);
        let marked = state.config.containers.get(&name).is_some_and(|declared| declared.deleting);
        Delete { name, init, section: if marked { Section::Marked } else { Section::Untouched } }
    }
}

impl Operation for Delete {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    fn begun(&self, state: &mut State) {
        if let Some(declared) = state.config.containers.get_mut(&self.name) {
            declared.deleting = true;
        }
    }

    /// The intent is recorded first, so that after a crash at any later step the daemon finishes the work. What fails is
    /// then gone in part, and the next call or the daemon's next start goes on with it.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        let name = &self.name;
        ctx.step("delete.intent")?;
        machine.config.mark_deleting(name)?;
        self.section = Section::Marked;
        ctx.step("delete.stop")?;
        machine.runtime.stop(ctx, name, self.init, Stop::Kill)?;
        ctx.step("delete.unmount")?;
        machine.storage.unmount(name)?;
        machine.release_image(name)?;
        ctx.step("delete.name")?;
        machine.storage.take_name(name)?;
        ctx.step("delete.config")?;
        machine.config.remove_container(name, true)?;
        self.section = Section::Gone;
        ctx.step("delete.erase")?;
        machine.storage.erase(name)
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        let name = &self.name;
        // Who hears of it stands in its section.
        state.notify_container("container.deleted", name);
        if let Some(container) = state.containers.remove(name) {
            state.machine.network.release(&container.record.veth);
        }
        state.config.containers.remove(name);
        // Their sections went with its own.
        state.config.services.retain(|declared| declared.container != *name);
        state.last_said.remove(name);
        state.not_made.remove(name);
        state.unreadable.remove(name);
        state.try_again(name);
        Ok(())
    }

    fn failed(self, state: &mut State, error: &Error) {
        state.give_up(Action::FinishDelete(self.name.clone()));
        if let (Section::Marked, Some(container)) = (self.section, state.containers.get_mut(&self.name)) {
            let why = format!(
                "its delete has begun and failed: {}; `cloudbox delete {}` goes on with it, or the daemon's next start",
                error.message, self.name
            );
            container.failure = Some(Error::new(error.code, why));
        }
        match (self.section, state.config.containers.get_mut(&self.name)) {
            (Section::Untouched, Some(declared)) => declared.deleting = false,
            // What is left of it is only to be deleted.
            (Section::Gone, _) => drop(state.config.containers.remove(&self.name)),
            _ => {}
        }
    }
}
