//! The table of all methods: what each is called, what it takes, and what it does.

use super::super::core::{Answer, Core, Work};
use super::codec::{decode, encode, encode_entries};
use super::method::{Grant, Method};
use super::rights;
use crate::announce::hosts;
use crate::api::replies::{ExecReply, ImagePruneReply, JobReply, PruneReply, ServiceId};
use crate::api::{BusObject, CreateOptions, SetOptions, Text, WAIT_MAX};
use crate::doctor;
use crate::error::Result;
use crate::look::{self, printable, Available, Browse, Commons, Log};
use crate::machine::Machine;
use crate::model::job::JobId;
use crate::model::name::Name;
use crate::operations::{
    self, adopt, args, hosting, Create, Delete, Exec, Export, Freeze, ImageDelete, ImageImport, ImagePrune,
    ImagePull, Import, Publish, Rename, Restart, Restore, Set, Snapshot, SnapshotDelete, Start, Stop,
    Unfreeze, Withdraw,
};
use crate::state::called;
use openwrt_ubus::signature::{arguments, Argument};
use serde::Deserialize;

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

/// The methods, `object method`, that the process of the commons may call at all.
pub fn of_the_commons() -> impl Iterator<Item = String> {
    BusObject::ALL.into_iter().flat_map(|object| {
        let granted = methods(object).iter().filter(|method| !matches!(method.commons, Grant::Nothing));
        granted.map(move |method| [object.path(), " ", method.name].concat())
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

/// Rows of the table: a name, the type of the arguments, what the process of the commons may do, and what is done for
/// everybody else. With a second type, the container's options are among the arguments.
macro_rules! table {
    ($($name:literal: $args:ty $(, $options:ty)?; $commons:expr => $call:expr,)*) => {
        &[$(Method {
            name: $name,
            arguments: || table!(@arguments $args $(, $options)?),
            call: |core, fields| table!(@call core, fields, $call, $args $(, $options)?),
            commons: $commons,
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
        BusObject::Config => CONFIG,
    }
}

/// What the process of the commons may do with most methods.
const NOT: Grant = Grant::Nothing;
/// The same with a container that it may look at, and end.
const ITS_OWN: Grant = Grant::If(hosting::check_own);
/// The same with one that it may let run.
const MAY_START: Grant = Grant::If(hosting::check_start);

const BOX: &[Method] = table! {
    "status": (); NOT => |core, ()| Answer::reply(&look::status(&core.state, &mut core.announcer)),
    "doctor": look::args::Doctor; NOT => |core, args| {
        let names: Vec<Name> = core.state.containers.keys().cloned().collect();
        names.iter().for_each(|name| core.state.look_at_disk(name));
        let (about, examination) = (args.about(), look::examination(&core.state));
        let examine = move |machine: &Machine| Ok(doctor::examine(machine, &examination, about));
        Ok(Answer::found(Work::Look, examine).shared(format!("doctor {about:?}")))
    },
    "reload": (); NOT => |core, ()| Answer::reply(&core.reload()),
    "shutdown": args::Shutdown; NOT => |core, args| Ok(Answer::Job(core.shut_down(&args)?, args.wait)),
};

const CONTAINER: &[Method] = table! {
    "list": look::args::List; Grant::Instead(rights::list) => |core, args| {
        let fields = args.fields.unwrap_or_default();
        let list = look::list(&core.state, &mut core.readings, &fields);
        encode_entries(&list, fields).map(Answer::Fields)
    },
    "info": Named; ITS_OWN => |core, args| {
        let name = args.container()?;
        core.state.look_at_disk(&name);
        Answer::reply(&look::info(&core.state, &name)?)
    },
    "create": args::Create, CreateOptions; Grant::Instead(rights::create) => |core, args, CreateOptions(said)| {
        rights::check_slice(core.caller, &said)?;
        Ok(Answer::Job(core.begin(Create::ask(&core.state, &args, said)?), args.wait))
    },
    "delete": args::Delete; ITS_OWN => |core, args| {
        Ok(Answer::Job(core.begin(Delete::ask(&core.state, &args)?), args.wait))
    },
    "start": args::Start; MAY_START => |core, args| {
        let name = Name::new(&args.name)?;
        let job = core.begin_task(Start::ask(&core.state, &name)?);
        core.state.forget_restarts(&name);
        Ok(Answer::Job(job, args.wait))
    },
    "stop": args::Stop; ITS_OWN => |core, args| {
        let stop = Stop::ask(&core.state, &args)?;
        core.start_no_more(&stop.name);
        Ok(Answer::Job(core.begin(stop), args.wait))
    },
    "restart": args::Restart; MAY_START => |core, args| {
        let job = core.begin_task(Restart::ask(&core.state, &args)?);
        core.state.forget_restarts(&Name::new(&args.name)?);
        Ok(Answer::Job(job, args.wait))
    },
    "set": args::Set, SetOptions; Grant::Instead(rights::set) => |core, args, SetOptions(said)| {
        rights::check_slice(core.caller, &said)?;
        Ok(Answer::Job(core.begin(Set::ask(&core.state, &args, &said)?), args.wait.or(Some(WAIT_MAX))))
    },
    "rename": args::Rename; NOT => |core, args| Ok(Answer::ended(core.begin(Rename::ask(&core.state, &args)?))),
    "freeze": Named; NOT => |core, args| {
        Ok(Answer::ended(core.begin(Freeze::ask(&core.state, &args.container()?)?)))
    },
    "unfreeze": Named; NOT => |core, args| {
        Ok(Answer::ended(core.begin(Unfreeze::ask(&core.state, &args.container()?)?)))
    },
    "exec": args::Exec; NOT => |core, args| {
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
    "log": look::args::Log; NOT => |core, args| {
        let log = Log::ask(&core.state, &args)?;
        Ok(Answer::found(Work::Look, move |_| log.read()))
    },
    "snapshot": args::Snapshot; NOT => |core, args| {
        Ok(Answer::Job(core.begin(Snapshot::ask(&core.state, &args)?), args.wait))
    },
    "snapshots": Named; NOT => |core, args| {
        let name = args.container()?;
        core.state.check_known(&name)?;
        Ok(Answer::found(Work::Look, move |machine| look::snapshots(machine, &name)))
    },
    "restore": args::Snapshot; NOT => |core, args| {
        Ok(Answer::Job(core.begin(Restore::ask(&core.state, &args)?), args.wait))
    },
    "snapshot_delete": args::Snapshot; NOT => |core, args| {
        Ok(Answer::Job(core.begin(SnapshotDelete::ask(&core.state, &args)?), args.wait))
    },
    "clone": args::Clone; NOT => |core, args| {
        Ok(Answer::Job(core.begin(operations::Clone::ask(&core.state, &args)?), args.wait))
    },
    "export": args::Export; NOT => |core, args| {
        Ok(Answer::Job({
            let handed = core.handed.take();
            core.begin(Export::ask(&core.state, &args, handed)?)
        }, args.wait))
    },
    "import": args::Import; NOT => |core, args| {
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
    "adopt": args::Adopt; NOT => |core, args| {
        Ok(Answer::Job(core.begin_task(adopt(&core.state, &args)?), args.wait))
    },
    "prune": Prune; NOT => |core, args| {
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
    "list": (); NOT => |core, ()| Answer::reply(&look::images(&core.state)),
    "info": Named; NOT => |core, args| {
        Answer::reply(&look::image(&core.state, core.state.find_image(&args.name)?))
    },
    "import": args::ImageImport; NOT => |core, args| {
        Ok(Answer::Job({
            let handed = core.handed.take();
            core.begin(ImageImport::ask(&core.state, &args, handed)?)
        }, args.wait))
    },
    "delete": Named; NOT => |core, args| Ok(Answer::ended(core.begin(ImageDelete::ask(&core.state, &args.name)?))),
    "remotes": (); NOT => |core, ()| Answer::reply(&look::remotes(&core.state)),
    "available": look::args::Available; NOT => |core, args| {
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
    "pull": args::ImagePull; Grant::Instead(rights::pull) => |core, args| {
        Ok(Answer::Job(core.begin(ImagePull::ask(&core.state, &args)?), args.wait))
    },
    "prune": Prune; NOT => |core, args| {
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
    "list": (); NOT => |core, ()| Answer::reply(&look::services(&core.state, &mut core.announcer)),
    "publish": args::Publish; NOT => |core, args| {
        let publish = Publish::ask(&core.state, args)?;
        let id = publish.id.clone();
        Ok(configured(id, move |machine| publish.run(machine)))
    },
    "withdraw": args::Withdraw; NOT => |core, args| {
        let adverts = core.announcer.adverts(&core.state, "");
        let withdraw = Withdraw::ask(&core.state, args, &adverts, &hosts(&core.state))?;
        let id = withdraw.id.clone();
        Ok(configured(id, move |machine| withdraw.run(machine)))
    },
    "browse": look::args::Browse; NOT => |core, args| {
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
    "list": (); Grant::Instead(rights::jobs) => |core, ()| Answer::reply(&look::jobs(&core.state)),
    "status": JobArgs; Grant::Instead(rights::job_status) => |core, args| Answer::reply(&JobReply::from(core.state.jobs.find(&args.id.0)?)),
    "wait": JobWait; Grant::Instead(rights::job_wait) => |core, args| {
        let job: JobId = core.state.jobs.find(&args.id.0)?.id;
        Ok(Answer::WholeJob(job, args.timeout.unwrap_or(WAIT_MAX)))
    },
    "cancel": JobArgs; NOT => |core, args| Answer::reply(&core.cancel(&args.id.0)?),
};

const CONFIG: &[Method] = table! {
    "commons": (); Grant::Alone => |core, ()| {
        let commons = Commons::ask(&core.state);
        Ok(Answer::found(Work::Look, move |_| Ok(commons.read())))
    },
};
