//! Containers' files.

use super::world::{Files, ALIVE, DEAD, UNBORN};
use super::{impossible, FakeBox, State};
use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::model::secrets::Secrets;
use crate::model::size::Bytes;
use crate::steps::ctx::Ctx;
use crate::steps::image::Images;
use crate::steps::storage::{Found, GuestNetwork, Record, Stage, Storage};
use std::collections::BTreeSet;
use std::path::Path;

impl Storage for FakeBox {
    fn box_id(&self) -> Result<String> {
        Ok("7d2a".to_string())
    }

    fn scan(&self) -> Result<Vec<Found>> {
        self.act("storage.scan", "", None, |state| {
            let alive = state.world.alive.iter();
            let whole = alive.filter_map(|(name, files)| Some(files.record.clone()?.called(name)));
            let damaged = state.world.damaged.iter().map(|name| {
                Found::Unreadable(
                    name.clone(),
                    Error::new(Code::Failed, format_args!("{name}/record.json is damaged")),
                )
            });
            Ok(whole.map(|record| Found::Container(Box::new(record))).chain(damaged).collect())
        })
    }

    fn build(&self, ctx: &Ctx, record: &Record) -> Result<()> {
        let name = &record.name;
        ctx.step("create.directory")?;
        self.act("storage.build", name.as_str(), Some(ctx), |state| {
            let files = Files::default();
            state.world.unborn.insert(name.clone(), files);
            Ok(())
        })?;
        let file = |state: &mut State, set: &dyn Fn(&mut Files)| {
            set(state.world.unborn.get_mut(name).ok_or_else(|| impossible("building", name))?);
            Ok(())
        };
        if record.spec.disk.is_some() {
            ctx.step("create.disk")?;
            self.act("storage.disk", name.as_str(), Some(ctx), |state| file(state, &|f| f.disk = true))?;
        }
        ctx.step("create.record")?;
        self.act("storage.record", name.as_str(), Some(ctx), |state| {
            file(state, &|f| f.record = Some(record.clone()))
        })
    }

    fn mount(&self, record: &Record, stage: Stage, image: &Path) -> Result<()> {
        let name = &record.name;
        let mounted = self.images.mounted()?;
        self.act("storage.mount", name.as_str(), None, |state| {
            let world = &mut state.world;
            let (kind, there) = match stage {
                Stage::Unborn => (UNBORN, world.unborn.contains_key(name)),
                Stage::Alive => (ALIVE, world.alive.contains_key(name)),
            };
            let over_image = mounted.iter().any(|sha256| image.ends_with(sha256));
            if !there || !over_image || !world.roots.insert((kind, name.clone())) {
                return Err(impossible("the mount", name));
            }
            Ok(())
        })
    }

    fn unmount(&self, name: &Name) -> Result<()> {
        self.act("storage.unmount", name.as_str(), None, |state| {
            state.world.roots.retain(|(kind, of)| of != name || *kind == DEAD);
            Ok(())
        })
    }

    fn grow(&self, record: &Record) -> Result<bool> {
        let name = &record.name;
        self.act("storage.grow", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("growing the disk", name));
            }
            Ok(!state.world.old_kernel)
        })
    }

    fn disk_size(&self, name: &Name) -> Option<Bytes> {
        self.state().world.small_disks.get(name).copied()
    }

    fn trouble(&self, name: &Name) -> Option<Error> {
        let failed = self.state().world.failed_disks.contains(name);
        failed.then(|| Error::new(Code::Failed, format_args!("container {name}: its disk is read-only; x")))
    }

    fn write_guest_files(&self, record: &Record, network: &GuestNetwork, secrets: &Secrets) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_guest_files", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(UNBORN, name.clone())) {
                return Err(impossible("files of the guest", name));
            }
            let files = state.world.unborn.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(*network);
            files.secrets = secrets.clone();
            Ok(())
        })
    }

    fn write_guest_network(&self, record: &Record, network: &GuestNetwork) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_guest_network", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("the network of the guest", name));
            }
            let files = state.world.alive.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(*network);
            Ok(())
        })
    }

    fn write_guest_label(&self, record: &Record, _label: &str) -> Result<()> {
        self.act("storage.write_guest_label", record.name.as_str(), None, |_| Ok(()))
    }

    fn give_name(&self, name: &Name) -> Result<()> {
        self.act("storage.give_name", name.as_str(), None, |state| {
            let world = &mut state.world;
            if world.alive.contains_key(name) || world.damaged.contains(name) {
                return Err(impossible("the naming", name));
            }
            let files = world.unborn.remove(name).ok_or_else(|| impossible("the naming", name))?;
            world.alive.insert(name.clone(), files);
            if world.roots.remove(&(UNBORN, name.clone())) {
                world.roots.insert((ALIVE, name.clone()));
            }
            Ok(())
        })
    }

    fn discard(&self, name: &Name) -> Result<()> {
        self.act("storage.discard", name.as_str(), None, |state| {
            state.world.roots.retain(|(kind, of)| of != name || *kind == DEAD);
            state.world.unborn.remove(name);
            Ok(())
        })
    }

    fn take_name(&self, name: &Name) -> Result<()> {
        self.act("storage.take_name", name.as_str(), None, |state| {
            let world = &mut state.world;
            world.roots.remove(&(DEAD, name.clone()));
            world.dead.remove(name);
            let nothing = Files::default();
            let damaged = world.damaged.remove(name).then_some(nothing);
            world.snapshots.retain(|(of, _), _| of != name);
            if let Some(files) = world.alive.remove(name).or(damaged) {
                world.dead.insert(name.clone(), files);
                if world.roots.remove(&(ALIVE, name.clone())) {
                    world.roots.insert((DEAD, name.clone()));
                }
            }
            Ok(())
        })
    }

    fn erase(&self, name: &Name) -> Result<()> {
        self.act("storage.erase", name.as_str(), None, |state| {
            if state.world.processes.contains_key(name) {
                return Err(impossible("erasing what runs", name));
            }
            state.world.roots.remove(&(DEAD, name.clone()));
            state.world.dead.remove(name);
            Ok(())
        })
    }

    fn rename(&self, name: &Name, new_name: &Name) -> Result<()> {
        self.act("storage.rename", name.as_str(), None, |state| {
            let world = &mut state.world;
            if !world.alive.contains_key(name) && world.alive.contains_key(new_name) {
                return Ok(());
            }
            if world.processes.contains_key(name) || world.alive.contains_key(new_name) {
                return Err(impossible("the renaming", name));
            }
            let files = world.alive.remove(name).ok_or_else(|| impossible("the renaming", name))?;
            world.roots.retain(|(_, of)| of != name);
            world.alive.insert(new_name.clone(), files);
            Ok(())
        })
    }

    fn save_record(&self, record: &Record) -> Result<()> {
        self.act("storage.save_record", record.name.as_str(), None, |state| {
            let files = state.world.alive.get_mut(&record.name);
            files.ok_or_else(|| impossible("the record", &record.name))?.record = Some(record.clone());
            Ok(())
        })
    }

    fn leftovers(&self) -> Result<Vec<Name>> {
        let state = self.state();
        let names: BTreeSet<&Name> = state.world.unborn.keys().chain(state.world.dead.keys()).collect();
        Ok(names.into_iter().cloned().collect())
    }

    fn sweep(&self) -> Result<Vec<String>> {
        self.act("storage.sweep", "", None, |state| {
            let world = &mut state.world;
            let unborn = world.unborn.keys().map(|name| format!(".new-{name}"));
            let swept = unborn.chain(world.dead.keys().map(|name| format!(".gone-{name}"))).collect();
            world.unborn.clear();
            world.dead.clear();
            world.unborn_snapshots.clear();
            world.dead_snapshots.clear();
            world.beside.clear();
            world.exports.clear();
            world.roots.retain(|(kind, _)| *kind == ALIVE);
            Ok(swept)
        })
    }

    fn used(&self, name: &Name) -> Option<u64> {
        let state = self.state();
        state.world.alive.get(name).filter(|files| files.disk).map(|_| 1 << 20)
    }
}
