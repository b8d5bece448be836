//! Snapshots, copies and archives.

use super::world::{ALIVE, UNBORN};
use super::{impossible, FakeBox};
use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use crate::steps::storage::{Copies, GuestNetwork, Manifest, Record, Snapshot, ToArchive, WhileHeld};

impl Copies for FakeBox {
    fn snapshots(&self, name: &Name) -> Result<Vec<Snapshot>> {
        self.act("storage.snapshots", name.as_str(), None, |state| {
            let own = state.world.snapshots.iter().filter(|((of, _), _)| of == name);
            Ok(own.map(|(_, (snapshot, _))| snapshot.clone()).collect())
        })
    }

    fn layer_size(&self, ctx: &Ctx, record: &Record) -> Result<u64> {
        self.act("storage.layer_size", record.name.as_str(), Some(ctx), |_| Ok(1 << 20))
    }

    fn flush_layer(&self, record: &Record) -> Result<()> {
        self.act("storage.flush_layer", record.name.as_str(), None, |state| {
            match state.world.held.contains_key(&record.name) {
                true => Ok(()),
                false => Err(impossible("flushing", &record.name)),
            }
        })
    }

    fn note_held(&self, name: &Name, frozen: bool) -> Result<()> {
        self.act("storage.note_held", name.as_str(), None, |state| {
            state.world.held.insert(name.clone(), frozen);
            Ok(())
        })
    }

    fn hold_layer(&self, record: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.hold_layer", name.as_str(), None, |state| {
            let world = &mut state.world;
            if !world.frozen.contains(name) || !world.held.contains_key(name) {
                return Err(impossible("holding the layer", name));
            }
            world.resting.insert(name.clone());
            Ok(())
        })
    }

    fn let_layer_go(&self, name: &Name) -> Result<()> {
        self.act("storage.let_layer_go", name.as_str(), None, |state| {
            state.world.resting.remove(name);
            Ok(())
        })
    }

    fn forget_held(&self, name: &Name) -> Result<()> {
        self.act("storage.forget_held", name.as_str(), None, |state| {
            state.world.held.remove(name);
            Ok(())
        })
    }

    fn held(&self) -> Vec<(Name, bool)> {
        self.state().world.held.iter().map(|(name, frozen)| (name.clone(), *frozen)).collect()
    }

    fn copy_to_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Name, _bytes: u64) -> Result<()> {
        let key = (record.name.clone(), snapshot.clone());
        self.act("storage.copy_to_snapshot", record.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let moves = world.processes.contains_key(&key.0) && !world.resting.contains(&key.0);
            if moves || world.snapshots.contains_key(&key) {
                return Err(impossible("the snapshot", snapshot));
            }
            let layer = world.alive.get(&key.0).map(|files| files.layer);
            world.unborn_snapshots.insert(key, layer.ok_or_else(|| impossible("a layer", snapshot))?);
            Ok(())
        })
    }

    fn give_snapshot_name(&self, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let key = (record.name.clone(), snapshot.name.clone());
        self.act("storage.give_snapshot_name", record.name.as_str(), None, |state| {
            let layer = state.world.unborn_snapshots.remove(&key);
            let layer = layer.ok_or_else(|| impossible("the naming", &snapshot.name))?;
            state.world.snapshots.insert(key, (snapshot.clone(), layer));
            Ok(())
        })
    }

    fn discard_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        self.act("storage.discard_snapshot", name.as_str(), None, |state| {
            state.world.unborn_snapshots.remove(&(name.clone(), snapshot.clone()));
            Ok(())
        })
    }

    fn take_snapshot_name(&self, name: &Name, snapshot: &Name) -> Result<()> {
        let key = (name.clone(), snapshot.clone());
        self.act("storage.take_snapshot_name", name.as_str(), None, |state| {
            if state.world.snapshots.remove(&key).is_some() {
                state.world.dead_snapshots.insert(key);
            }
            Ok(())
        })
    }

    fn erase_snapshot(&self, name: &Name, snapshot: &Name) -> Result<()> {
        self.act("storage.erase_snapshot", name.as_str(), None, |state| {
            state.world.dead_snapshots.remove(&(name.clone(), snapshot.clone()));
            Ok(())
        })
    }

    fn copy_from_snapshot(&self, ctx: &Ctx, record: &Record, snapshot: &Snapshot) -> Result<()> {
        let key = (record.name.clone(), snapshot.name.clone());
        self.act("storage.copy_from_snapshot", record.name.as_str(), Some(ctx), |state| {
            let layer = state.world.snapshots.get(&key).map(|(_, layer)| *layer);
            state.world.beside.insert(key.0, layer.ok_or_else(|| impossible("the copy", &key.1))?);
            Ok(())
        })
    }

    fn exchange_layer(&self, record: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.exchange_layer", name.as_str(), None, |state| {
            let world = &mut state.world;
            if world.processes.contains_key(name) || world.roots.contains(&(ALIVE, name.clone())) {
                return Err(impossible("exchanging a layer in use", name));
            }
            match (world.alive.get_mut(name), world.beside.get_mut(name)) {
                (Some(files), Some(beside)) => std::mem::swap(&mut files.layer, beside),
                _ => return Err(impossible("exchanging", name)),
            }
            Ok(())
        })
    }

    fn copy_layer(
        &self,
        ctx: &Ctx,
        from: &Record,
        snapshot: Option<&Snapshot>,
        to: &Record,
        _bytes: u64,
    ) -> Result<()> {
        self.act("storage.copy_layer", to.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let moves = world.processes.contains_key(&from.name) && !world.resting.contains(&from.name);
            let layer = match snapshot {
                Some(snapshot) => {
                    world.snapshots.get(&(from.name.clone(), snapshot.name.clone())).map(|s| s.1)
                }
                None => world.alive.get(&from.name).filter(|_| !moves).map(|files| files.layer),
            };
            let files = world.unborn.get_mut(&to.name).ok_or_else(|| impossible("a copy", &to.name))?;
            files.layer = layer.ok_or_else(|| impossible("copying", &from.name))?;
            Ok(())
        })
    }

    fn export(&self, ctx: &Ctx, what: &ToArchive<'_>, around: &mut WhileHeld<'_>) -> Result<()> {
        let name = &what.record.name;
        ctx.step("export.copy")?;
        self.act("storage.export", name.as_str(), Some(ctx), |state| {
            state.world.exports.insert(name.clone());
            Ok(())
        })?;
        around(&mut || {
            self.act("storage.export_layer", name.as_str(), Some(ctx), |state| {
                let world = &state.world;
                let moves = world.processes.contains_key(name) && !world.resting.contains(name);
                if moves && what.snapshot.is_none() {
                    return Err(impossible("the export", name));
                }
                Ok(())
            })
        })?;
        ctx.step("export.name")?;
        self.act("storage.name_export", name.as_str(), None, |state| {
            let world = &mut state.world;
            let layer = match what.snapshot {
                Some(snapshot) => world.snapshots[&(name.clone(), snapshot.name.clone())].1,
                None => world.alive[name].layer,
            };
            let image = what.image.map(|(_, size)| (512, size));
            let manifest = Manifest { record: what.told.clone(), image, bytes: what.bytes };
            world.archives.insert(what.file.shown().to_path_buf(), (manifest, layer));
            world.exports.remove(name);
            Ok(())
        })
    }

    fn discard_export(&self, name: &Name) -> Result<()> {
        self.act("storage.discard_export", name.as_str(), None, |state| {
            state.world.exports.remove(name);
            Ok(())
        })
    }

    fn look_at_archive(&self, ctx: &Ctx, file: &HostFile) -> Result<Manifest> {
        self.act("storage.look_at_archive", "", Some(ctx), |state| {
            let found = state.world.archives.get(file.shown()).map(|(manifest, _)| manifest.clone());
            found.ok_or_else(|| {
                Error::new(Code::NotFound, format_args!("{} is not there", file.shown().display()))
            })
        })
    }

    fn unpack(&self, ctx: &Ctx, file: &HostFile, manifest: &Manifest, to: &Record, _left: u64) -> Result<()> {
        self.act("storage.unpack", to.name.as_str(), Some(ctx), |state| {
            let world = &mut state.world;
            let layer =
                world.archives.get(file.shown()).filter(|(is, _)| is == manifest).map(|(_, layer)| *layer);
            let files = world.unborn.get_mut(&to.name).ok_or_else(|| impossible("an import", &to.name))?;
            files.layer = layer.ok_or_else(|| impossible("unpacking", &to.name))?;
            Ok(())
        })
    }

    fn write_identity(&self, record: &Record, _was: &Record) -> Result<()> {
        let name = &record.name;
        self.act("storage.write_identity", name.as_str(), None, |state| {
            if !state.world.roots.contains(&(UNBORN, name.clone())) {
                return Err(impossible("the identity", name));
            }
            let files = state.world.unborn.get_mut(name).ok_or_else(|| impossible("files", name))?;
            files.guest = Some(GuestNetwork::default());
            Ok(())
        })
    }

    fn discard_layer(&self, name: &Name) -> Result<()> {
        self.act("storage.discard_layer", name.as_str(), None, |state| {
            state.world.beside.remove(name);
            Ok(())
        })
    }
}
