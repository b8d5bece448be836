//! `create`: making a container.

use super::publish::free_id;
use super::start::start_mounted;
use super::undo::Undo;
use super::{address_check, birth, About, Operation};
use crate::api::SecretValues;
use crate::error::{quoted, Code, Error, Result};
use crate::machine::{guest_network, Machine};
use crate::model::advert::is_same;
use crate::model::image_source::ImageSource;
use crate::model::job::Kind;
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::plan::Action;
use crate::model::secrets::Secrets;
use crate::model::service::{section_name, DeclaredService, ServiceOptions};
use crate::model::spec::{check_first_boot, Spec};
use crate::state::{Made, State};
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;
use serde::Deserialize;

/// The kind of a job that makes a container.
pub const KIND: Kind = Kind { shown_as: Some("creating"), ..Kind::new("create") };

/// Most services that a call may say beside.
const SERVICES_MAX: usize = 16;

/// `cloudbox.container create`, beside the container's options.
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container's name: a DNS label.
    pub name: String,
    /// Start it now; yes unless said otherwise.
    pub start: Option<bool>,
    /// Of a container of the commons: the id of the peer on whose account it counts, when that is not the slice's member.
    pub peer: Option<String>,
    /// Services of it to be announced, each as type, port and perhaps what people see: `_http._tcp 80 Our wiki`. They get
    /// sections of their own, as by `service publish`.
    pub publish: Option<Vec<String>>,
    /// Files that its root alone reads, below `/var/lib/cloudbox/secrets`: a name and a text each, or a name and
    /// `{"base64":…}`. Nobody but the guest has them afterwards.
    pub secrets: Option<SecretValues>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// A container to be made.
#[derive(Debug)]
pub struct Create {
    /// The container's record; of its image, what is pulled tells.
    pub record: Box<Record>,
    /// Where to get the image it is made from; None when that is here.
    pub pull: Option<ImageSource>,
    /// What its section shall say; None when the section is there already.
    pub section: Option<OptionValues>,
    /// Start it.
    pub start: bool,
    /// What it is given to keep.
    pub secrets: Secrets,
    /// Its services that get sections.
    pub services: Vec<(DeclaredService, ServiceOptions)>,
}

impl Create {
    /// A container that somebody asks for, with what is said of it.
    ///
    /// # Errors
    /// A wrong value, a name that is taken, no room for it, no such image.
    pub fn ask(state: &State, args: &Args, mut said: OptionValues) -> Result<Create> {
        let name = Name::new(&args.name)?;
        state.check_enabled()?;
        state.check_free(&name)?;
        // Its section says what the image is called here.
        let source = state.source_of(said.text("image"))?;
        if let Some(source) = &source {
            said.put("image", source.name.as_str());
        }
        // Whether it is started at boot is always written, being the owner's to see.
        if said.text("autostart").is_none() {
            said.put("autostart", "1");
        }
        if let Some(peer) = args.peer.as_deref().filter(|peer| !peer.is_empty()) {
            said.put("peer", peer);
        }
        let spec = said.resolve(&state.config.settings.defaults)?;
        let secrets = args.secrets.clone().unwrap_or_default().0;
        let create = Create::check(state, name, spec, Some(said), args.start.unwrap_or(true), source)?;
        let lines = args.publish.as_deref().unwrap_or_default();
        let services = services(state, &create.record.name, lines)?;
        Ok(Create { secrets, services, ..create })
    }

    /// A container whose section is there.
    ///
    /// # Errors
    /// What is wrong with the section, or no room for it.
    pub fn declared(state: &State, name: &Name, start: bool) -> Result<Create> {
        let Some(declared) = state.config.containers.get(name) else {
            return Err(crate::state::no_container(name));
        };
        Create::check(state, name.clone(), declared.spec.clone()?, None, start, None)
    }

    fn check(
        state: &State,
        name: Name,
        spec: Spec,
        section: Option<OptionValues>,
        start: bool,
        source: Option<ImageSource>,
    ) -> Result<Create> {
        check_first_boot(&spec.first_boot)?;
        let (image, pull) = state.image_for(spec.image.as_str(), source)?;
        image.map_or(Ok(()), |image| image.check_services(&spec))?;
        state.machine.network.check_bridge(&spec.bridge)?;
        state.check_address(&name, &spec)?;
        state.admit_disk(&spec)?;
        if start {
            state.admit_memory(&name, &spec)?;
        } else {
            state.admit_memory_alone(&spec)?;
        }
        let mut record = state.new_record(&name, spec)?;
        if let Some(image) = image {
            (record.image_sha256, record.init) = (image.manifest.sha256.clone(), image.manifest.init);
        }
        Ok(Create { record, pull, section, start, secrets: Secrets::default(), services: Vec::new() })
    }
}

impl Operation for Create {
    type Found = Made;

    fn about(&self) -> About {
        About::container(Kind { waits: self.pull.is_some(), ..KIND }, &self.record.name)
    }

    fn makes(&self) -> Option<&Record> {
        Some(&self.record)
    }

    /// The section comes first. It is the record of intent: after a crash the daemon finds it and makes the container
    /// anew, going on with the pull of its image where that was. But one with secrets it could only make without them, and of
    /// one with services it could not tell whether it has all: until it has, its section says that it is to be deleted.
    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Made> {
        let mut undo = Undo::default();
        let made = make(machine, ctx, self, &mut undo);
        undo.unless_good(made)
    }

    fn done(self, state: &mut State, made: Made) -> Result<()> {
        // The file may have been read meanwhile.
        let known = |state: &State, id: &str| state.config.services.iter().any(|known| known.id == id);
        for (service, _) in self.services {
            if !known(state, &service.id) {
                state.config.services.push(service);
            }
        }
        state.take_up(&self.record.name, made);
        Ok(())
    }

    fn failed(self, state: &mut State, error: &Error) {
        if self.pull.is_some() {
            // What it pulled is no part of it, and stays.
            state.read_images();
        }
        let name = &self.record.name;
        if state.config.containers.contains_key(name) && !state.containers.contains_key(name) {
            // Made because the configuration says so: it says so still.
            state.not_made.insert(name.clone(), error.clone());
        }
        for start in [true, false] {
            state.give_up(Action::Create { name: name.clone(), start });
        }
    }
}

/// The services that `lines` say of container `name`, and their sections.
///
/// # Errors
/// A wrong value, one that stands there twice, too many.
fn services(state: &State, name: &Name, lines: &[String]) -> Result<Vec<(DeclaredService, ServiceOptions)>> {
    let mut services: Vec<(DeclaredService, ServiceOptions)> = Vec::new();
    if lines.len() > SERVICES_MAX {
        let why = format!("publish: {SERVICES_MAX} services are the most");
        return Err(Error::new(Code::InvalidArgument, why).about("publish"));
    }
    for line in lines {
        let said = ServiceOptions::of_line(name, line);
        let wrong = |e: Error| Error::new(e.code, format_args!("publish {}: {}", quoted(line), e.message));
        let mut service = said.resolve("").map_err(|e| wrong(e).about("publish"))?;
        if services.iter().any(|(known, _)| is_same(known, name, &service.service)) {
            return Err(wrong(Error::new(Code::InvalidArgument, "it stands there twice")).about("publish"));
        }
        service.id = free_id(state, section_name(name, &service.service.kind, service.service.port));
        services.push((service, said));
    }
    Ok(services)
}

fn make<'a>(machine: &'a Machine, ctx: &Ctx, what: &'a Create, undo: &mut Undo<'a>) -> Result<Made> {
    let mut record = what.record.clone();
    let name: &Name = &what.record.name;
    let asked = address_check::begin(machine, &what.record.mac, &what.record.spec);
    let network = guest_network(machine, &record.spec)?;
    if what.start {
        machine.network.check_bridge(&record.spec.bridge)?;
    }
    let has_more = !what.secrets.is_empty() || !what.services.is_empty();
    let unfinished = what.section.is_some() && has_more;
    if let Some(section) = &what.section {
        ctx.step("create.config")?;
        let mut section = section.clone();
        if unfinished {
            section.put("deleting", "1");
        }
        machine.config.add_container(name, &section)?;
        undo.push(move || machine.config.remove_container(name, false));
        for (service, said) in &what.services {
            // These alone: others of that container may have been there before it.
            undo.push(move || match machine.config.remove_service(&service.id) {
                Err(error) if error.code == Code::NotFound => Ok(()),
                removed => removed,
            });
            machine.config.put_service(&service.id, said)?;
        }
    }
    if let Some(source) = &what.pull {
        let image = machine.images.pull(ctx, source)?;
        image.check_services(&record.spec)?;
        (record.image_sha256, record.init) = (image.manifest.sha256, image.manifest.init);
    }
    let record = &*record;
    undo.push(move || machine.storage.discard(name));
    machine.storage.build(ctx, record)?;

    ctx.step("create.mount")?;
    birth::mount_unborn(machine, name, record, undo)?;
    ctx.step("create.guest_files")?;
    machine.storage.write_guest_files(record, &network, &what.secrets)?;
    if !what.start {
        birth::unmount(machine, name)?;
    }

    ctx.step("create.name")?;
    birth::give_name(machine, name, undo)?;
    ctx.step("create.named")?;
    if unfinished {
        machine.config.change(name, &[("deleting", None)])?;
    }
    let live = what.start.then(|| start_mounted(machine, ctx, record, network.gateway)).transpose()?;
    asked.end(ctx);
    Ok(Made { record: Box::new(record.clone()), live })
}
