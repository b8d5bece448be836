//! Calls about copies of containers: snapshots.

use super::calls::encode;
use super::core::{now, Container, Core};
use super::work::Work;
use crate::api::{args, replies};
use crate::error::{Code, Error, Result};
use crate::model::job::JobId;
use crate::model::name::{time_name, Name};
use crate::ops::{Restore, TakeSnapshot};
use openwrt_ubus::Request;

impl Core {
    /// A container that was made, and on which nothing works.
    fn whole(&self, name: &Name) -> Result<&Container> {
        self.known(name)?;
        self.idle(name)?;
        if self.config.containers.get(name).is_some_and(|declared| declared.deleting) {
            let why = format!("container {name} is being deleted; `cloudbox delete {name}` goes on with it");
            return Err(Error::new(Code::Busy, why));
        }
        self.containers.get(name).ok_or_else(|| {
            Error::new(Code::NotFound, format!("container {name} was never made; `cloudbox reload` makes it"))
        })
    }

    pub(super) fn snapshot(&mut self, args: &args::Snapshot) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let snapshot = match args.snapshot.as_deref() {
            None | Some("") => Name::of_snapshot(&time_name(now()))?,
            Some(text) => Name::of_snapshot(text)?,
        };
        let container = self.whole(&name)?;
        if self.machine.storage.find_snapshot(&name, &snapshot).is_ok() {
            let why = format!("container {name} has a snapshot {snapshot} already; choose another name");
            return Err(Error::new(Code::Exists, why));
        }
        let (record, running) = (container.record.clone(), container.live.is_some());
        let what = TakeSnapshot { record, snapshot, now: now(), running, disk: self.disk() };
        Ok(self.start_job(Work::Snapshot(Box::new(what))))
    }

    /// Answers in a thread: it reads a file of each snapshot.
    pub(super) fn snapshots(&mut self, request: Request, name: &str) {
        let name = match Name::new(name).and_then(|name| self.known(&name).map(|()| name)) {
            Ok(name) => name,
            Err(error) => return self.send_reply(request, Err(error)),
        };
        let machine = self.machine.clone();
        let work = move || {
            let entry = |of: crate::steps::storage::Snapshot| replies::SnapshotEntry {
                name: of.name.to_string(),
                created: of.created,
                bytes: of.bytes,
                image_sha256: of.image_sha256,
            };
            let snapshots = machine.storage.snapshots(&name)?.into_iter().map(entry).collect();
            encode(&replies::SnapshotList { snapshots })
        };
        self.answer(request, work);
    }

    pub(super) fn restore(&mut self, args: &args::Restore) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let snapshot = Name::of_snapshot(&args.snapshot)?;
        let container = self.whole(&name)?;
        let snapshot = self.machine.storage.find_snapshot(&name, &snapshot)?;
        let running = container.live.is_some();
        if running && !args.force.unwrap_or(false) {
            let why = format!("container {name} is running; stop it first, or restore it with force");
            return Err(Error::new(Code::Running, why));
        }
        if snapshot.image_sha256 != container.record.image_sha256 {
            let why = format!("snapshot {} of container {name} belongs to another image", snapshot.name);
            return Err(Error::new(Code::NotSupported, why));
        }
        let what = Restore { record: container.record.clone(), snapshot, running, disk: self.disk() };
        Ok(self.start_job(Work::Restore(Box::new(what))))
    }

    pub(super) fn delete_snapshot(&mut self, args: &args::Snapshot) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let snapshot = Name::of_snapshot(args.snapshot.as_deref().unwrap_or_default())?;
        self.whole(&name)?;
        self.machine.storage.find_snapshot(&name, &snapshot)?;
        Ok(self.start_job(Work::DeleteSnapshot { name, snapshot }))
    }
}
