//! Calls about copies of containers: snapshots and clones.

use super::calls::encode;
use super::core::{now, Container, Core};
use super::work::Work;
use crate::api::{args, replies};
use crate::error::{Code, Error, Result};
use crate::model::address::Address;
use crate::model::job::JobId;
use crate::model::name::{time_name, Name};
use crate::ops::{CloneOf, Restore, TakeSnapshot};
use crate::steps::storage::Record;
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

    /// `snapshot`, `restore` and `snapshot_delete`.
    pub(super) fn work_on_snapshot(&mut self, method: &str, args: &args::Snapshot) -> Result<JobId> {
        let name = Name::new(&args.name)?;
        let called = match args.snapshot.as_deref().unwrap_or_default() {
            "" if method == "snapshot" => &time_name(now()),
            text => text,
        };
        let snapshot = Name::of_snapshot(called)?;
        let container = self.whole(&name)?;
        let (record, running) = (container.record.clone(), container.live.is_some());
        let found = self.machine.storage.find_snapshot(&name, &snapshot);
        let work = match method {
            "snapshot" if found.is_ok() => {
                let why = format!("container {name} has a snapshot {snapshot} already; choose another name");
                return Err(Error::new(Code::Exists, why));
            }
            "snapshot" => {
                let what = TakeSnapshot { record, snapshot, now: now(), running, disk: self.disk() };
                Work::Snapshot(Box::new(what))
            }
            "restore" => {
                let snapshot = found?;
                if running && !args.force.unwrap_or(false) {
                    let why = format!("container {name} is running; stop it first, or restore it with force");
                    return Err(Error::new(Code::Running, why));
                }
                if snapshot.image_sha256 != record.image_sha256 {
                    let why = format!("snapshot {called} of container {name} belongs to another image");
                    return Err(Error::new(Code::NotSupported, why));
                }
                Work::Restore(Box::new(Restore { record, snapshot, running, disk: self.disk() }))
            }
            _ => found.map(|_| Work::DeleteSnapshot { name, snapshot })?,
        };
        Ok(self.start_job(work))
    }

    pub(super) fn clone_container(&mut self, args: &args::Clone) -> Result<JobId> {
        let (name, new) = (Name::new(&args.name)?, Name::new(&args.new_name)?);
        self.check_enabled()?;
        let container = self.whole(&name)?;
        self.check_free(&new)?;
        let (from, running) = (container.record.clone(), container.live.is_some());
        let snapshot = match args.snapshot.as_deref() {
            None | Some("") => None,
            Some(text) => Some(self.machine.storage.find_snapshot(&name, &Name::of_snapshot(text)?)?),
        };
        let declared = self.declared_spec(&name).unwrap_or(&from.spec);
        let mut spec = declared.for_start(&from.spec);
        // An address of its own it gets by DHCP, until somebody gives it another.
        (spec.address, spec.gateway) = (Address::Dhcp, None);
        spec.hostname.clear();
        // What was run once is not run again.
        if self.first_boot(&name).is_none_or(|first_boot| first_boot.state != "pending") {
            spec.first_boot.clear();
        }
        self.machine.network.check_bridge(&spec.bridge)?;
        self.admit_disk(&spec)?;
        let disk = self.disk();
        let record = Record {
            image_sha256: from.image_sha256.clone(),
            init: from.init,
            ..self.new_record(&new, spec)?
        };
        self.making.insert(new, record.clone());
        let what = CloneOf { from, snapshot, record, running, disk };
        Ok(self.start_job(Work::Clone(Box::new(what))))
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
}
