//! `rename`: giving a stopped container another name.

use super::undo::Undo;
use super::{About, Operation};
use crate::api::{BusObject, Renamed};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::plan::Action;
use crate::state::{never_made, Container, State};
use crate::steps::config::RENAMING;
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;
use log::info;
use serde::Deserialize;
use std::cell::Cell;

/// The kind of a job that renames a container.
pub const KIND: Kind = Kind::new("rename");

/// `cloudbox.container rename`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name.
    pub name: String,
    /// The name it gets: a DNS label.
    pub new_name: String,
}

/// A container to be called otherwise.
#[derive(Debug)]
pub struct Rename {
    /// Its record. After a crash it may be called by its new name already.
    pub record: Box<Record>,
    /// The name its section has.
    pub name: Name,
    /// The name it gets.
    pub new_name: Name,
    /// The file says that it is being renamed.
    pub(super) recorded: Cell<bool>,
}

impl Rename {
    /// A container that somebody wants to be called otherwise.
    ///
    /// # Errors
    /// [`Code::Exists`], [`Code::Running`], [`Code::Busy`], [`Code::NotFound`].
    pub fn ask(state: &State, args: &Args) -> Result<Rename> {
        let (name, new_name) = (Name::new(&args.name)?, Name::new(&args.new_name)?);
        state.changeable(&name)?;
        state.check_free(&new_name)?;
        Rename::of(state, &name, &new_name)
    }

    /// A renaming that is begun, or gone on with.
    ///
    /// # Errors
    /// [`Code::Running`], [`Code::NotFound`] when the container was never made.
    pub fn of(state: &State, name: &Name, new_name: &Name) -> Result<Rename> {
        let container = state.containers.get(name).or(state.containers.get(new_name));
        let container = container.ok_or_else(|| never_made(name))?;
        if container.live.is_some() {
            return Err(Error::new(
                Code::Running,
                format_args!("container {name} is running; stop it first"),
            ));
        }
        let recorded = state.config.containers.get(name).is_some_and(|d| d.renaming.is_some());
        Ok(Rename {
            record: container.record.clone(),
            name: name.clone(),
            new_name: new_name.clone(),
            recorded: Cell::new(recorded),
        })
    }
}

impl Operation for Rename {
    /// The record with the new name.
    type Found = Box<Record>;

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    fn begun(&self, state: &mut State) {
        if let Some(declared) = state.config.containers.get_mut(&self.name) {
            declared.renaming = Some(self.new_name.clone());
        }
    }

    /// The intent is recorded first, so that after a crash at any later step the daemon finishes the work; a directory
    /// without its section, or a section without its directory, would look like something else.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Box<Record>> {
        let mut undo = Undo::default();
        let renamed = give_name(machine, ctx, self, &mut undo);
        undo.unless_good(renamed)
    }

    fn done(self, state: &mut State, record: Box<Record>) -> Result<()> {
        let (name, new_name) = (&self.name, &self.new_name);
        let before = state.containers.remove(name).or_else(|| state.containers.remove(new_name));
        let mut life = before.map(|container| container.life).unwrap_or_default();
        life.forget();
        let container = Container::stopped(record, life);
        state.containers.insert(new_name.clone(), container);
        state.lives_changed = true;
        info!("container {name} is called {new_name} now");
        // Its section and those of its services are called otherwise.
        state.read_configuration();
        let renamed = Renamed { name: new_name.as_str(), was: name.as_str() };
        state.notify(BusObject::Container, "container.changed", &renamed);
        Ok(())
    }

    fn failed(self, state: &mut State, _: &Error) {
        state.give_up(Action::FinishRename(self.name.clone(), self.new_name.clone()));
        if let Some(declared) = state.config.containers.get_mut(&self.name) {
            declared.renaming = self.recorded.get().then(|| self.new_name.clone());
        }
    }
}

fn give_name<'a>(
    machine: &'a Machine,
    ctx: &Ctx,
    what: &'a Rename,
    undo: &mut Undo<'a>,
) -> Result<Box<Record>> {
    let Rename { record, name, new_name, recorded } = what;
    ctx.step("rename.intent")?;
    undo.push(move || {
        machine.config.change(name, &[(RENAMING, None)])?;
        recorded.set(false);
        Ok(())
    });
    machine.config.change(name, &[(RENAMING, Some(new_name.to_string()))])?;
    recorded.set(true);
    ctx.step("rename.name")?;
    let (back, renamed) = (record.clone().called(name), record.clone().called(new_name));
    undo.push(move || machine.storage.save_record(&back));
    undo.push(move || machine.storage.rename(new_name, name));
    machine.storage.rename(name, new_name)?;
    ctx.step("rename.record")?;
    machine.storage.save_record(&renamed)?;
    ctx.step("rename.config")?;
    undo.push(move || machine.config.rename_container(new_name, name));
    machine.config.rename_container(name, new_name)?;
    Ok(Box::new(renamed))
}
