//! `adopt`: taking in a container without a section, or one that another tool made.

use super::copying::without_image;
use super::create::Create;
use super::{About, Operation, Task};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::config::Declared;
use crate::model::job::Kind;
use crate::model::name::{ImageName, Name};
use crate::model::options::OptionValues;
use crate::model::secrets::Secrets;
use crate::model::spec::Spec;
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Foreign;
use crate::steps::storage::Record;
use serde::Deserialize;

/// The kind of a job that adopts a container.
pub const KIND: Kind = Kind::new("adopt");

/// `cloudbox.container adopt`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The orphan's or the foreign container's name.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// What somebody wants to adopt: an orphan, or a foreign container.
///
/// # Errors
/// [`Code::Exists`] when it has its section, [`Code::NotFound`], [`Code::Busy`].
pub fn adopt(state: &State, args: &Args) -> Result<Box<dyn Task>> {
    let name = Name::new(&args.name)?;
    state.check_idle(&name)?;
    if let Some(error) = state.unreadable.get(&name) {
        return Err(error.clone());
    }
    if state.config.containers.contains_key(&name) {
        return Err(Error::new(
            Code::Exists,
            format_args!("container {name} has its section; there is nothing to adopt"),
        ));
    }
    if let Some(orphan) = state.containers.get(&name) {
        let spec = state.last_said.get(&name).unwrap_or(orphan.record.said()).clone();
        return Ok(Box::new(Adopt { name, spec }));
    }
    match state.foreign().into_iter().find(|foreign| foreign.name == name.as_str()) {
        Some(foreign) => Ok(Box::new(TakeOver::ask(state, &name, foreign)?)),
        None => {
            let path = state.config.settings.lxcpath.display();
            Err(Error::new(
                Code::NotFound,
                format_args!("there is no container {name} without a section, and none in {path}"),
            ))
        }
    }
}

/// An orphan that is given its section again.
#[derive(Debug)]
pub struct Adopt {
    /// Its name.
    pub name: Name,
    /// What the section said last.
    pub spec: Spec,
}

impl Operation for Adopt {
    type Found = ();

    fn about(&self) -> About {
        About::container(KIND, &self.name)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<()> {
        ctx.step("adopt.config")?;
        machine.config.add_container(&self.name, &OptionValues::of(&self.spec))
    }

    fn done(self, state: &mut State, (): ()) -> Result<()> {
        let Adopt { name, spec } = self;
        state.last_said.remove(&name);
        state.config.containers.insert(name.clone(), Declared::good(spec));
        state.notify_container("container.changed", &name);
        Ok(())
    }
}

/// A container of another tool that is taken over.
#[derive(Debug)]
pub struct TakeOver {
    /// The original, which is never touched.
    pub foreign: Foreign,
    /// The record of the container it becomes; what is of the image is found out.
    pub record: Box<Record>,
    /// What its section shall say.
    pub section: OptionValues,
}

impl TakeOver {
    fn ask(state: &State, name: &Name, foreign: Foreign) -> Result<TakeOver> {
        state.check_enabled()?;
        let image = ImageName::new(&format!("adopted-{name}")).or_else(|_| ImageName::new(name.as_str()))?;
        if state.find_image(image.as_str()).is_ok() {
            return Err(Error::new(
                Code::Exists,
                format_args!("image {image} is there already, of another time; delete or rename it first"),
            ));
        }
        let mut section = OptionValues::default();
        section.put("image", image.as_str());
        // Both it and the original would start with the box.
        section.put("autostart", "0");
        let spec = section.resolve(&state.config.settings.defaults)?;
        state.admit_disk(&spec)?;
        Ok(TakeOver { foreign, record: state.new_record(name, spec)?, section })
    }
}

impl Operation for TakeOver {
    type Found = Made;

    fn about(&self) -> About {
        About::container(KIND, &self.record.name)
    }

    fn makes(&self) -> Option<&Record> {
        Some(&self.record)
    }

    /// Makes an image of its root, and a container of the image, which is not started.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let name: &ImageName = &self.record.spec.image;
        ctx.step("adopt.look")?;
        let root = machine.runtime.open_foreign(ctx, &self.foreign)?;
        let packed = machine.images.pack(ctx, root.path(), name);
        drop(root);
        let image = packed?;
        let mut record = self.record.clone();
        record.image_sha256.clone_from(&image.manifest.sha256);
        record.init = image.manifest.init;
        let mut create = Create {
            record,
            pull: None,
            section: Some(self.section.clone()),
            start: false,
            secrets: Secrets::default(),
            services: Vec::new(),
        };
        create.run(machine, ctx).map_err(|error| without_image(machine, &image, error))
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        state.read_images();
        let image = made.record.spec.image.to_string();
        state.notify_image_added(&image, &made.record.image_sha256);
        state.take_up(&self.record.name, made);
        Ok(())
    }
}
