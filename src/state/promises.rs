//! What the box has promised to containers, and whether it can promise more: memory, disk, ids, addresses.

use super::{now, State};
use crate::api::{BusObject, DiskSubject};
use crate::error::{Code, Error, Result};
use crate::model::address::{self, Address};
use crate::model::admission;
use crate::model::config::Declared;
use crate::model::idrange::{self, IdRange};
use crate::model::image::Init;
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::model::spec::Spec;
use crate::steps::filesystem::Space;
use crate::steps::host;
use crate::steps::storage::Record;
use log::warn;

impl State {
    /// The records of containers that are made, or being made.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let made = self.containers.values().map(|container| &container.record);
        made.chain(self.making.values()).map(|record| &**record)
    }

    /// The record of a container that is to be made; of what image, others know.
    ///
    /// # Errors
    /// [`Code::NoSpace`] when all ranges of ids are taken.
    pub fn new_record(&self, name: &Name, spec: Spec) -> Result<Box<Record>> {
        let (mac, veth) = self.free_interface(name);
        Ok(Box::new(Record {
            mac,
            veth,
            name: name.clone(),
            was: Vec::new(),
            said: None,
            image_sha256: String::new(),
            init: Init::Other,
            ids: self.free_ids()?,
            created: now(),
            spec,
        }))
    }

    /// A hardware address and a name of an interface for container `name`: always the same, unless another one has
    /// them, which was called so before.
    fn free_interface(&self, name: &Name) -> (String, String) {
        let mut label = name.to_string();
        loop {
            let (mac, veth) = (address::mac(&self.box_id, &label), address::veth(&self.box_id, &label));
            if !self.records().any(|record| record.mac == mac || record.veth == veth) {
                return (mac, veth);
            }
            label.push('~');
        }
    }

    fn free_ids(&self) -> Result<IdRange> {
        let used: Vec<_> = self.records().map(|record| record.ids).collect();
        let with_spoiled = [used.clone(), self.spoiled.clone()].concat();
        idrange::allocate(&with_spoiled).or_else(|| idrange::allocate(&used)).ok_or_else(|| {
            Error::new(
                Code::NoSpace,
                format_args!("all {} ranges of user ids are taken; delete a container", idrange::COUNT),
            )
        })
    }

    /// Checks that nobody has the static address of `spec` yet.
    ///
    /// # Errors
    /// [`Code::Exists`], with who has it.
    pub fn check_address(&self, name: &Name, spec: &Spec) -> Result<()> {
        let Address::Static(wanted) = spec.address else { return Ok(()) };
        let has_it = |other: &Name, spec: &Spec| {
            other != name && matches!(spec.address, Address::Static(net) if net.addr == wanted.addr)
        };
        let says_so =
            |other: &Name, declared: &Declared| declared.spec.as_ref().is_ok_and(|spec| has_it(other, spec));
        let declared = self.config.containers.iter().find(|(other, declared)| says_so(other, declared));
        let made = || self.records().find(|record| has_it(&record.name, &record.spec));
        if let Some(holder) = declared.map(|(name, _)| name).or_else(|| made().map(|record| &record.name)) {
            return Err(Error::new(
                Code::Exists,
                format_args!("address {wanted}: container {holder} has it; choose another one"),
            ));
        }
        if self.machine.network.own_addresses().contains(&wanted.addr) {
            return Err(Error::new(
                Code::Exists,
                format_args!("address {wanted}: the box itself has it; choose another one"),
            ));
        }
        Ok(())
    }

    /// The box's memory, and what is promised to containers that run or are being started.
    pub fn memory(&self) -> admission::Memory {
        self.memory_without(None)
    }

    /// The same without what container `name` was promised.
    fn memory_without(&self, name: Option<&Name>) -> admission::Memory {
        let others = self.containers.iter().filter(|(other, _)| Some(*other) != name);
        let promised = others.filter_map(|(other, container)| {
            let busy = self.job_on(other).is_some();
            if container.live.is_none() && !busy {
                return None;
            }
            let made = container.record.spec.promised_memory();
            // One that is being started or changed gets what its section says now; its record says so only then.
            let coming = self.declared_spec(other).filter(|_| busy).map_or(made, Spec::promised_memory);
            Some(coming.max(made).get())
        });
        let making = self.making.iter().filter(|(other, _)| Some(*other) != name);
        admission::Memory {
            total: host::memory_total(),
            reserve: self.config.settings.memory_reserve,
            promised: promised.chain(making.map(|(_, record)| record.spec.promised_memory().get())).sum(),
        }
    }

    /// Checks that the box has the memory for container `name`, beside the others that run.
    ///
    /// # Errors
    /// [`Code::NoMemory`], with the figures.
    pub fn admit_memory(&self, name: &Name, spec: &Spec) -> Result<()> {
        admission::admit_memory(self.memory_without(Some(name)), spec.promised_memory())
    }

    /// Checks that the box has the memory for a container that does not run, were it the only one.
    ///
    /// # Errors
    /// [`Code::NoMemory`], with the figures.
    pub fn admit_memory_alone(&self, spec: &Spec) -> Result<()> {
        admission::admit_memory(admission::Memory { promised: 0, ..self.memory() }, spec.promised_memory())
    }

    /// The storage's file system, and what containers may still write.
    pub fn disk(&self) -> admission::Disk {
        let unused = |record: &Record| {
            let Some(limit) = record.spec.disk else { return 0 };
            limit.get().saturating_sub(self.machine.storage.used(&record.name).unwrap_or(0))
        };
        admission::Disk {
            free: Space::of(&self.layout.storage).map_or(0, |space| space.free),
            reserve: self.config.settings.disk_reserve,
            promised: self.records().map(unused).sum(),
        }
    }

    /// Tells, once, that the storage's disk has no more free than what is kept for the box. It is told again when there
    /// was more room meanwhile, by an eighth, so that what is written and removed in turn does not tell it each time.
    pub fn tell_of_a_full_disk(&mut self) {
        let Ok(space) = Space::of(&self.layout.storage) else { return };
        let reserve = self.config.settings.disk_reserve;
        if space.free > reserve.saturating_add(reserve / 8) {
            self.full_disk_told = false;
        } else if space.free <= reserve && !std::mem::replace(&mut self.full_disk_told, true) {
            let path = self.layout.storage.display().to_string();
            warn!(
                "{path} has {} free, {} is kept for the box: delete containers or images",
                Bytes(space.free),
                Bytes(reserve)
            );
            self.notify(BusObject::Box, "disk.nearly_full", &DiskSubject { path: &path, free: space.free });
        }
    }

    /// Checks that there is room for a new container's disk.
    ///
    /// # Errors
    /// [`Code::NoSpace`], with the figures.
    pub fn admit_disk(&self, spec: &Spec) -> Result<()> {
        admission::admit_disk(self.disk(), spec.disk)
    }

    /// Checks that there is room for what the disk grows by.
    ///
    /// # Errors
    /// [`Code::NoSpace`], with the figures.
    pub fn admit_growth(&self, spec: &Spec, made: &Spec) -> Result<()> {
        match (spec.disk, made.disk) {
            (Some(now), Some(before)) if now > before => {
                admission::admit_disk(self.disk(), Some(Bytes(now.get() - before.get())))
            }
            _ => Ok(()),
        }
    }
}
