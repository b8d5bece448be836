//! The table of all methods: what each is called, what it takes, and what it does.

use super::super::core::{Answer, Core, Work};
use super::{decode, encode, encode_entries};
use crate::announce::hosts;
use crate::api::replies::{ExecReply, ImagePruneReply, JobReply, PruneReply, ServiceId};
use crate::api::{BusObject, CreateOptions, SetOptions, Text, WAIT_MAX};
use crate::doctor;
use crate::error::Result;
use crate::look::{self, printable, Available, Browse, Log};
use crate::machine::Machine;
use crate::model::job::JobId;
use crate::model::name::Name;
use crate::operations::{
    self, adopt, args, Create, Delete, Exec, Export, Freeze, ImageDelete, ImageImport, ImagePrune, ImagePull,
    Import, Publish, Rename, Restart, Restore, Set, Snapshot, SnapshotDelete, Start, Stop, Unfreeze,
    Withdraw,
};
use crate::state::called;
use openwrt_ubus::signature::{arguments, Argument};
use serde::Deserialize;

/// A method.
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it takes, as it is published.
    pub arguments: fn() -> Vec<Argument>,
    /// What it does. The slice holds the call's arguments, as they came.
    pub call: fn(&mut Core, &[u8]) -> Result<Answer>,
}

/// The method of an object that is called so.
pub fn find(object: BusObject, name: &str) -> Option<&'static Method> {
    methods(object).iter().find(|method| method.name == name)
}

/// All objects, as they are published.
pub fn objects() -> impl Iterator<Item = (BusObject, openwrt_ubus::Object)> {
    BusObject::ALL.into_iter().map(|object| {
        let published = openwrt_ubus::Object::new(object.path());
        let with = |published: openwrt_ubus::Object, method: &Method| {
            published.method_of(method.name, (method.arguments)())
        };
        (object, methods(object).iter().fold(published, with))
    })
}

/// A method on one thing: `info`, `delete` of an image.
#[derive(Debug, Deserialize)]
struct Named {
    /// Its name.
    name: String,
}

impl Named {
    fn container(&self) -> Result<Name> {
        Name::new(&self.name)
    }
}

/// `cloudbox.container prune` and `cloudbox.image prune`
#[derive(Debug, Deserialize)]
struct Prune {
    /// Remove it; without, the reply says what there is.
    yes: Option<bool>,
}

/// `cloudbox.job status` and `cancel`
#[derive(Debug, Deserialize)]
struct JobArgs {
    /// The job's number.
    id: Text,
}

/// `cloudbox.job wait`
#[derive(Debug, Deserialize)]
struct JobWait {
    /// The job's number.
    id: Text,
    /// Seconds to hold back the reply; 15 is the most, and what is taken when nothing is said.
    timeout: Option<u32>,
}

/// Rows of the table: a name, the type of the arguments, and what is done with them. With a second type, the
/// container's options are among the arguments.
macro_rules! table {
    ($($name:literal: $args:ty $(, $options:ty)? => $call:expr,)*) => {
        &[$(Method {
            name: $name,
            arguments: || table!(@arguments $args $(, $options)?),
            call: |core, fields| table!(@call core, fields, $call, $args $(, $options)?),
        }),*]
    };
    (@arguments $args:ty) => { arguments::<$args>() };
    (@arguments $args:ty, $options:ty) => { with_options(arguments::<$args>(), <$options>::arguments()) };
    (@call $core:ident, $fields:ident, $call:expr, $args:ty) => {{
        let call: fn(&mut Core, $args) -> Result<Answer> = $call;
        call($core, decode($fields)?)
    }};
    (@call $core:ident, $fields:ident, $call:expr, $args:ty, $options:ty) => {{
        let call: fn(&mut Core, $args, $options) -> Result<Answer> = $call;
        call($core, decode($fields)?, decode($fields)?)
    }};
}

/// The name first, then the options, then the rest.
fn with_options(mut fields: Vec<Argument>, options: Vec<Argument>) -> Vec<Argument> {
    let place = fields.len().min(1);
    fields.splice(place..place, options);
    fields
}

fn methods(object: BusObject) -> &'static [Method] {
    match object {
        BusObject::Box => BOX,
        BusObject::Container => CONTAINER,
        BusObject::Image => IMAGE,
        BusObject::Service => SERVICE,
        BusObject::Job => JOB,
    }
}

const BOX: &[Method] = table! {
    "status": () => |core, ()| Answer::reply(&look::status(&core.state, &mut core.announcer)),
    "doctor": look::args::Doctor => |core, args| {
        let names: Vec<Name> = core.state.containers.keys().cloned().collect();
        names.iter().for_each(|name| core.state.look_at_disk(name));
        let (about, examination) = (args.about(), look::examination(&core.state));
        let examine = move |machine: &Machine| Ok(doctor::examine(machine, &examination, about));
        Ok(Answer::found(Work::Look, examine).shared(format!("doctor {about:?}")))
    },
    "reload": () => |core, ()| Answer::reply(&core.reload()),
    "shutdown": args::Shutdown => |core, args| Ok(Answer::Job(core.shut_down(&args)?, args.wait)),
};

const CONTAINER: &[Method] = table! {
    "list": look::args::List => |core, args| {
        let fields = args.fields.unwrap_or_default();
        let list = look::list(&core.state, &mut core.readings, &fields);
        encode_entries(&list, fields).map(Answer::Fields)
    },
    "info": Named => |core, args| {
        let name = args.container()?;
        core.state.look_at_disk(&name);
        Answer::reply(&look::info(&core.state, &name)?)
    },
    "create": args::Create, CreateOptions => |core, args, CreateOptions(said)| {
        Ok(Answer::Job(core.begin(Create::ask(&core.state, &args, said)?), args.wait))
    },
    "delete": args::Delete => |core, args| {
        Ok(Answer::Job(core.begin(Delete::ask(&core.state, &args)?), args.wait))
    },
    "start": args::Start => |core, args| {
        let name = Name::new(&args.name)?;
        let job = core.begin_task(Start::ask(&core.state, &name)?);
        core.state.forget_restarts(&name);
        Ok(Answer::Job(job, args.wait))
    },
    "stop": args::Stop => |core, args| {
        let stop = Stop::ask(&core.state, &args)?;
        core.start_no_more(&stop.name);
        Ok(Answer::Job(core.begin(stop), args.wait))
    },
    "restart": args::Restart => |core, args| {
        let job = core.begin_task(Restart::ask(&core.state, &args)?);
        core.state.forget_restarts(&Name::new(&args.name)?);
        Ok(Answer::Job(job, args.wait))
    },
    "set": args::Set, SetOptions => |core, args, SetOptions(said)| {
        Ok(Answer::Job(core.begin(Set::ask(&core.state, &args, &said)?), args.wait.or(Some(WAIT_MAX))))
    },
    "rename": args::Rename => |core, args| Ok(Answer::ended(core.begin(Rename::ask(&core.state, &args)?))),
    "freeze": Named => |core, args| {
        Ok(Answer::ended(core.begin(Freeze::ask(&core.state, &args.container()?)?)))
    },
    "unfreeze": Named => |core, args| {
        Ok(Answer::ended(core.begin(Unfreeze::ask(&core.state, &args.container()?)?)))
    },
    "exec": args::Exec => |core, args| {
        let exec = Exec::ask(&core.state, args)?;
        Ok(Answer::found(Work::Exec, move |machine| {
            let output = exec.run(machine)?;
            Ok(ExecReply {
                code: output.code,
                stdout: printable(&output.stdout),
                stderr: printable(&output.stderr),
                truncated: output.truncated,
            })
        }))
    },
    "log": look::args::Log => |core, args| {
        let log = Log::ask(&core.state, &args)?;
        Ok(Answer::found(Work::Look, move |_| log.read()))
    },
    "snapshot": args::Snapshot => |core, args| {
        Ok(Answer::Job(core.begin(Snapshot::ask(&core.state, &args)?), args.wait))
    },
    "snapshots": Named => |core, args| {
        let name = args.container()?;
        core.state.check_known(&name)?;
        Ok(Answer::found(Work::Look, move |machine| look::snapshots(machine, &name)))
    },
    "restore": args::Snapshot => |core, args| {
        Ok(Answer::Job(core.begin(Restore::ask(&core.state, &args)?), args.wait))
    },
    "snapshot_delete": args::Snapshot => |core, args| {
        Ok(Answer::Job(core.begin(SnapshotDelete::ask(&core.state, &args)?), args.wait))
    },
    "clone": args::Clone => |core, args| {
        Ok(Answer::Job(core.begin(operations::Clone::ask(&core.state, &args)?), args.wait))
    },
    "export": args::Export => |core, args| {
        Ok(Answer::Job({
            let handed = core.handed.take();
            core.begin(Export::ask(&core.state, &args, handed)?)
        }, args.wait))
    },
    "import": args::Import => |core, args| {
        let handed = core.handed.take();
        let file = Import::check(&core.state, &args, handed)?;
        let archive = file.clone();
        Ok(Answer::then(
            Work::Look,
            move |machine| Import::look(machine, &archive),
            move |core, manifest| {
                Ok(Answer::Job(core.begin(Import::ask(&core.state, &args, file, *manifest?)?), args.wait))
            },
        ))
    },
    "adopt": args::Adopt => |core, args| {
        Ok(Answer::Job(core.begin_task(adopt(&core.state, &args)?), args.wait))
    },
    "prune": Prune => |core, args| {
        let found = operations::Prunable::ask(&core.state)?;
        let names = |names: &[Name]| names.iter().map(Name::to_string).collect();
        let mut reply = PruneReply {
            orphans: names(&found.orphans),
            leftovers: names(&found.leftovers),
            protected: names(&found.protected),
            jobs: Vec::new(),
        };
        if args.yes.unwrap_or(false) {
            for task in found.tasks(&core.state) {
                reply.jobs.push(core.begin_task(task).to_string());
            }
        }
        Answer::reply(&reply)
    },
};

const IMAGE: &[Method] = table! {
    "list": () => |core, ()| Answer::reply(&look::images(&core.state)),
    "info": Named => |core, args| {
        Answer::reply(&look::image(&core.state, core.state.find_image(&args.name)?))
    },
    "import": args::ImageImport => |core, args| {
        Ok(Answer::Job({
            let handed = core.handed.take();
            core.begin(ImageImport::ask(&core.state, &args, handed)?)
        }, args.wait))
    },
    "delete": Named => |core, args| Ok(Answer::ended(core.begin(ImageDelete::ask(&core.state, &args.name)?))),
    "remotes": () => |core, ()| Answer::reply(&look::remotes(&core.state)),
    "available": look::args::Available => |core, args| {
        let available = Available::ask(&core.state, args);
        let what = available.what();
        Ok(Answer::then(
            Work::Fetch,
            move |machine| available.run(machine),
            |core, offers| {
                let reply = look::offers(&mut core.state, offers).and_then(|reply| encode(&reply));
                // A server's list may be megabytes.
                crate::sys::trim_heap();
                reply.map(Answer::Fields)
            },
        )
        .shared(what))
    },
    "pull": args::ImagePull => |core, args| {
        Ok(Answer::Job(core.begin(ImagePull::ask(&core.state, &args)?), args.wait))
    },
    "prune": Prune => |core, args| {
        let prune = ImagePrune::ask(&core.state)?;
        let mut reply = ImagePruneReply {
            images: prune.images.iter().map(called).collect(),
            bytes: prune.images.iter().map(|image| image.manifest.size).sum(),
            partial: prune.partial,
            job: None,
        };
        if args.yes.unwrap_or(false) && !prune.is_empty() {
            ImagePrune::check_idle(&core.state)?;
            reply.job = Some(core.begin(prune).to_string());
        }
        Answer::reply(&reply)
    },
};

const SERVICE: &[Method] = table! {
    "list": () => |core, ()| Answer::reply(&look::services(&core.state, &mut core.announcer)),
    "publish": args::Publish => |core, args| {
        let publish = Publish::ask(&core.state, args)?;
        let id = publish.id.clone();
        Ok(configured(id, move |machine| publish.run(machine)))
    },
    "withdraw": args::Withdraw => |core, args| {
        let adverts = core.announcer.adverts(&core.state, "");
        let withdraw = Withdraw::ask(&core.state, args, &adverts, &hosts(&core.state))?;
        let id = withdraw.id.clone();
        Ok(configured(id, move |machine| withdraw.run(machine)))
    },
    "browse": look::args::Browse => |core, args| {
        let browse = Browse::ask(&core.state, &args)?;
        let what = browse.what();
        Ok(Answer::found(Work::Listen, move |machine| browse.run(machine.avahi.as_ref())).shared(what))
    },
};

/// A thread writes the section of service `id`; the file is read again before that is answered.
fn configured(id: String, write: impl FnOnce(&Machine) -> Result<()> + Send + 'static) -> Answer {
    Answer::then(Work::Edit, write, |core, written| {
        core.reload();
        written?;
        Answer::reply(&ServiceId { id })
    })
}

const JOB: &[Method] = table! {
    "list": () => |core, ()| Answer::reply(&look::jobs(&core.state)),
    "status": JobArgs => |core, args| Answer::reply(&JobReply::from(core.state.jobs.find(&args.id.0)?)),
    "wait": JobWait => |core, args| {
        let job: JobId = core.state.jobs.find(&args.id.0)?.id;
        Ok(Answer::WholeJob(job, args.timeout.unwrap_or(WAIT_MAX)))
    },
    "cancel": JobArgs => |core, args| Answer::reply(&core.cancel(&args.id.0)?),
};
