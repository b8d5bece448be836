//! What jobs do, each in a thread of its own that ends with it.

use crate::api::args;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::{Image, Init};
use crate::model::image_source::ImageSource;
use crate::model::job::{JobId, Kind};
use crate::model::name::{ImageName, Name};
use crate::ops::{self, CloneOf, Create, Ended, Made, Restore, Set, TakeOver, TakeSnapshot};
use crate::simplestreams::Offer;
use crate::steps::avahi::Troubles;
use crate::steps::ctx::{Cancel, Ctx, Update};
use crate::steps::lxc::Stop;
use crate::steps::storage::{Manifest, Record};
use openwrt_ubus::Request;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Jobs that work at the same time. A start is bound by the processor: more at once do not end sooner.
pub const AT_ONCE: usize = 8;
/// A job needs little stack; the largest buffers are on the heap.
const STACK: usize = 256 << 10;
/// How often a job's bytes are worth telling.
const BYTES_EVERY: Duration = Duration::from_millis(100);

/// A job's work.
#[derive(Debug)]
pub enum Work {
    /// Makes a container.
    Create(Box<Create>),
    /// Starts one.
    Start {
        /// As it shall run.
        record: Box<Record>,
        /// The one on disk, when that differs.
        before: Option<Box<Record>>,
    },
    /// Stops one and starts it again.
    Restart {
        /// As it shall run.
        record: Box<Record>,
        /// The one on disk, when that differs.
        before: Option<Box<Record>>,
        /// How it is stopped.
        how: Stop,
    },
    /// Stops one.
    Stop {
        /// Which.
        name: Name,
        /// Its init system.
        init: Init,
        /// How.
        how: Stop,
    },
    /// Removes one.
    Delete {
        /// Which.
        name: Name,
        /// Its init system.
        init: Init,
    },
    /// Changes one.
    Set(Box<Set>),
    /// Gives one another name.
    Rename {
        /// Its record.
        record: Box<Record>,
        /// The name its section has.
        name: Name,
        /// The name it gets.
        new_name: Name,
    },
    /// Freezes one, or lets it go on.
    Freeze {
        /// Which.
        name: Name,
        /// Freeze it.
        freeze: bool,
    },
    /// Sees to one that ended by itself.
    Ended(Box<Record>),
    /// Makes a snapshot.
    Snapshot(Box<TakeSnapshot>),
    /// Restores one.
    Restore(Box<Restore>),
    /// Removes one.
    DeleteSnapshot {
        /// Of which container.
        name: Name,
        /// Which.
        snapshot: Name,
    },
    /// Gives one without a section a section.
    Adopt(Box<Record>),
    /// Makes a container of one that another tool made.
    TakeOver(Box<TakeOver>),
    /// Removes what one left half made.
    Prune(Name),
    /// Runs one's first-boot script.
    FirstBoot(Name),
    /// Copies one.
    Clone(Box<CloneOf>),
    /// Writes its archive.
    Export(Box<ops::Export>),
    /// Makes one of an archive.
    Unpack(Box<ops::Import>),
    /// Imports an image.
    Import {
        /// The file.
        path: PathBuf,
        /// The image's name.
        name: ImageName,
        /// Its expected sha256.
        sha256: Option<String>,
    },
    /// Fetches an image from a server.
    Pull(Box<ImageSource>),
    /// Removes these images, and what pulls have left.
    PruneImages(Vec<Image>),
    /// Removes an image.
    DeleteImage {
        /// Which.
        image: Box<Image>,
        /// By which name it was called.
        called: String,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// A container was made or started.
    Made(Made),
    /// It is stopped; true: it had to be killed.
    Stopped(bool),
    /// It is gone.
    Deleted,
    /// It is changed; the record of what is in force, if it runs.
    Set(Option<Box<Record>>),
    /// It has another name; its record.
    Renamed(Box<Record>),
    /// It is frozen, or goes on.
    Frozen(bool),
    /// It ended, or rebooted.
    Ended(Ended),
    /// Its archive is written.
    Exported,
    /// It has other snapshots than before.
    SnapshotsChanged,
    /// Its layer is that of a snapshot; a container that ran was started again.
    Restored(Option<Made>),
    /// It has a section again.
    Adopted(Box<Record>),
    /// It is ours now, with an image.
    TakenOver(Made),
    /// Nothing is left.
    Pruned,
    /// The first-boot script ended well.
    FirstBootDone,
    /// The image is in the store.
    Imported(Box<Image>),
    /// The image is gone.
    ImageDeleted,
    /// These are, as far as it went; and what kept the others.
    ImagesPruned(Vec<Image>, Option<Error>),
}

impl Work {
    /// The kind of job.
    pub fn kind(&self) -> Kind {
        match self {
            Work::Create(_) => Kind::Create,
            Work::Start { .. } => Kind::Start,
            Work::Restart { .. } => Kind::Restart,
            Work::Stop { .. } => Kind::Stop,
            Work::Delete { .. } => Kind::Delete,
            Work::Set(_) => Kind::Set,
            Work::Rename { .. } => Kind::Rename,
            Work::Freeze { freeze: true, .. } => Kind::Freeze,
            Work::Freeze { freeze: false, .. } => Kind::Unfreeze,
            Work::Ended(_) => Kind::Ended,
            Work::Snapshot(_) => Kind::Snapshot,
            Work::Restore(_) => Kind::Restore,
            Work::DeleteSnapshot { .. } => Kind::SnapshotDelete,
            Work::Adopt(_) | Work::TakeOver(_) => Kind::Adopt,
            Work::Prune(_) => Kind::Prune,
            Work::FirstBoot(_) => Kind::FirstBoot,
            Work::Clone(_) => Kind::Clone,
            Work::Export(_) => Kind::Export,
            Work::Unpack(_) => Kind::Import,
            Work::Import { .. } => Kind::ImageImport,
            Work::DeleteImage { .. } => Kind::ImageDelete,
            Work::Pull(_) => Kind::ImagePull,
            Work::PruneImages(_) => Kind::ImagePrune,
        }
    }

    /// The container or image it works on.
    pub fn target(&self) -> &str {
        let record = match self {
            Work::Start { record, .. }
            | Work::Restart { record, .. }
            | Work::Ended(record)
            | Work::Adopt(record) => record,
            Work::Create(what) => &what.record,
            Work::TakeOver(what) => &what.record,
            Work::Snapshot(what) => &what.record,
            Work::Restore(what) => &what.record,
            Work::Clone(what) => &what.record,
            Work::Export(what) => &what.record,
            Work::Unpack(what) => &what.record,
            Work::Set(set) => return set.name.as_str(),
            Work::Prune(name)
            | Work::FirstBoot(name)
            | Work::Rename { name, .. }
            | Work::Stop { name, .. }
            | Work::Delete { name, .. }
            | Work::Freeze { name, .. }
            | Work::DeleteSnapshot { name, .. } => return name.as_str(),
            Work::Import { name, .. } => return name.as_str(),
            Work::DeleteImage { called, .. } => return called,
            Work::Pull(source) => return source.name.as_str(),
            // No image can be called so, and all of them are meant.
            Work::PruneImages(_) => return "*",
        };
        record.name.as_str()
    }

    /// The container it copies from, when that is another one.
    pub fn source(&self) -> Option<String> {
        match self {
            Work::Clone(what) => Some(what.from.name.to_string()),
            _ => None,
        }
    }

    /// Whether it mostly waits for a guest or a server, so that it must not keep a place from others.
    pub fn waits(&self) -> bool {
        if let Work::Create(create) = self {
            return create.pull.is_some();
        }
        matches!(
            self,
            Work::Pull(_)
                | Work::Restart { .. }
                | Work::Stop { .. }
                | Work::Freeze { .. }
                | Work::Ended(_)
                | Work::FirstBoot(_)
        )
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Outcome> {
        match self {
            Work::Create(what) => ops::create(machine, ctx, what).map(Outcome::Made),
            Work::Start { record, before } => {
                ops::start(machine, ctx, record, before.as_deref()).map(Outcome::Made)
            }
            Work::Restart { record, before, how } => {
                ops::restart(machine, ctx, record, before.as_deref(), *how).map(Outcome::Made)
            }
            Work::Stop { name, init, how } => {
                ops::stop(machine, ctx, name, *init, *how).map(Outcome::Stopped)
            }
            Work::Delete { name, init } => ops::delete(machine, ctx, name, *init).map(|()| Outcome::Deleted),
            Work::Set(what) => ops::set(machine, ctx, what).map(Outcome::Set),
            Work::Rename { record, name, new_name } => {
                ops::rename(machine, ctx, record, name, new_name).map(Outcome::Renamed)
            }
            Work::Freeze { name, freeze: true } => {
                ctx.step("freeze.ask")?;
                machine.runtime.freeze(ctx, name).map(|_| Outcome::Frozen(true))
            }
            Work::Freeze { name, .. } => machine.runtime.thaw(name).map(|()| Outcome::Frozen(false)),
            Work::Ended(record) => ops::ended(machine, ctx, record).map(Outcome::Ended),
            Work::Snapshot(what) => ops::snapshot(machine, ctx, what).map(|()| Outcome::SnapshotsChanged),
            Work::Restore(what) => ops::restore(machine, ctx, what).map(Outcome::Restored),
            Work::Clone(what) => ops::clone(machine, ctx, what).map(Outcome::Made),
            Work::Export(what) => ops::export(machine, ctx, what).map(|()| Outcome::Exported),
            Work::Unpack(what) => ops::import(machine, ctx, what).map(Outcome::Made),
            Work::DeleteSnapshot { name, snapshot } => {
                ops::delete_snapshot(machine, ctx, name, snapshot).map(|()| Outcome::SnapshotsChanged)
            }
            Work::Adopt(record) => {
                ops::adopt(machine, ctx, record).map(|()| Outcome::Adopted(record.clone()))
            }
            Work::TakeOver(what) => ops::take_over(machine, ctx, what).map(Outcome::TakenOver),
            Work::Prune(name) => ops::prune(machine, ctx, name).map(|()| Outcome::Pruned),
            Work::FirstBoot(name) => ops::first_boot(machine, ctx, name).map(|()| Outcome::FirstBootDone),
            Work::Import { path, name, sha256 } => {
                let imported = machine.images.import(ctx, path, name, sha256.as_deref());
                imported.map(|image| Outcome::Imported(Box::new(image)))
            }
            Work::DeleteImage { image, .. } => {
                machine.images.delete(ctx, image).map(|()| Outcome::ImageDeleted)
            }
            Work::Pull(source) => {
                machine.images.pull(ctx, source).map(|image| Outcome::Imported(Box::new(image)))
            }
            Work::PruneImages(images) => {
                let (pruned, error) = ops::prune_images(machine, ctx, std::mem::take(images));
                Ok(Outcome::ImagesPruned(pruned, error))
            }
        }
    }
}

/// Word from a thread to the loop.
#[derive(Debug)]
pub enum Report {
    /// A job is at another point.
    Update(JobId, Update),
    /// A job has ended.
    Done(JobId, Result<Outcome>),
    /// What avahi-daemon shall announce is written, but for this.
    Announced(Troubles),
    /// The configuration was changed for a call; with the reply's fields.
    Configured(Request, Result<Vec<u8>>),
    /// What an archive that shall be imported says of itself, and the call that asked for it.
    Archive(Request, Box<args::Import>, Result<Box<Manifest>>),
    /// What servers have, each by its name, for the call that asked.
    Offers(Request, Vec<(String, Result<Vec<Offer>>)>),
    /// A call that needed a thread is answered: its request, and the reply's fields.
    Answer(Request, Result<Vec<u8>>),
}

/// What a thread does for a call, whose request its report takes along.
pub type Aside = Box<dyn FnOnce(Request) -> Report + Send>;

/// Where threads send their reports; wakes the loop.
pub type Sender = Arc<dyn Fn(Report) + Send + Sync>;

/// Runs a job in a thread.
///
/// # Errors
/// No thread can be had.
pub fn spawn_job(
    machine: Arc<Machine>,
    sender: &Sender,
    id: JobId,
    mut work: Work,
    cancel: Cancel,
) -> Result<()> {
    let updates = throttled(sender.clone(), id);
    let done = move || Report::Done(id, work.run(&machine, &Ctx::new(cancel, updates)));
    spawn_report(sender, Box::new(done))
}

/// Reports what `work` finds, from a thread.
///
/// # Errors
/// No thread can be had.
pub fn spawn_report(sender: &Sender, work: Box<dyn FnOnce() -> Report + Send>) -> Result<()> {
    let sender = sender.clone();
    spawn(Box::new(move || sender(work())))
}

/// Runs something of which nobody needs to hear.
///
/// # Errors
/// No thread can be had.
pub fn spawn(run: Box<dyn FnOnce() + Send>) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run);
    thread.map(drop).map_err(|e| Error::new(Code::Failed, format_args!("cannot start a thread: {e}")))
}

/// Passes a job's updates on, bytes only now and then.
fn throttled(sender: Sender, id: JobId) -> impl Fn(Update) + Send + Sync {
    let last = Mutex::new(None::<Instant>);
    move |update| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Update::Bytes { .. } = update {
            if last.is_some_and(|at| at.elapsed() < BYTES_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        } else {
            // The first bytes of a step tell how many there are in all, and others may be long in coming.
            *last = None;
        }
        drop(last);
        sender(Report::Update(id, update));
    }
}
