//! All steps together: what a job works with.

use crate::error::{Code, Error, Result};
use crate::model::advert;
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::steps::avahi::Avahi;
use crate::steps::config::ConfigStore;
use crate::steps::image::Images;
use crate::steps::lxc::Runtime;
use crate::steps::network::Network;
use crate::steps::storage::{is_as_large, Storage};
use litemap::LiteMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The box as jobs see it.
pub struct Machine {
    /// The configuration file.
    pub config: Box<dyn ConfigStore>,
    /// Containers' files.
    pub storage: Box<dyn Storage>,
    /// LXC.
    pub runtime: Box<dyn Runtime>,
    /// The image store.
    pub images: Box<dyn Images>,
    /// The network.
    pub network: Box<dyn Network>,
    /// avahi-daemon.
    pub avahi: Box<dyn Avahi>,
    holds: Mutex<LiteMap<Name, String>>,
    shared_name: Mutex<String>,
}

impl Machine {
    /// A machine of these parts.
    pub fn new(
        config: Box<dyn ConfigStore>,
        storage: Box<dyn Storage>,
        runtime: Box<dyn Runtime>,
        images: Box<dyn Images>,
        network: Box<dyn Network>,
        avahi: Box<dyn Avahi>,
    ) -> Machine {
        Machine {
            config,
            storage,
            runtime,
            images,
            network,
            avahi,
            holds: Mutex::default(),
            shared_name: Mutex::default(),
        }
    }

    /// The box's name on the network.
    pub fn box_name(&self) -> String {
        let hostname = self.avahi.hostname();
        let is_shared = *self.shared_name.lock().unwrap_or_else(PoisonError::into_inner) == hostname;
        advert::box_name(&hostname, &self.storage.box_id().unwrap_or_default(), is_shared)
    }

    /// The box's name with something of its own, whether or not another one is called the same.
    pub fn own_name(&self) -> String {
        advert::box_name(&self.avahi.hostname(), &self.storage.box_id().unwrap_or_default(), true)
    }

    /// The host name that another box has as well, if that is known; empty otherwise.
    pub fn shared_name(&self) -> String {
        self.shared_name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another box has this host name as well: from now on ours is told from it, for as long as it is called so.
    pub fn share_name(&self, hostname: &str) {
        *self.shared_name.lock().unwrap_or_else(PoisonError::into_inner) = hostname.to_string();
    }

    fn holds(&self) -> MutexGuard<'_, LiteMap<Name, String>> {
        // A panic aborts the daemon, so that the lock is never found poisoned.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts image `sha256` for container `name` and returns its mount point. It stays mounted while a container
    /// holds it: those that share an image share its page cache.
    ///
    /// # Errors
    /// The image cannot be mounted.
    pub fn hold_image(&self, name: &Name, sha256: &str) -> Result<PathBuf> {
        let mut holds = self.holds();
        let mounted = self.images.mount(sha256)?;
        holds.insert(name.clone(), sha256.to_string());
        Ok(mounted)
    }

    /// Ends container `name`'s hold; the last one unmounts the image, and lasts until that is done.
    ///
    /// # Errors
    /// The image cannot be unmounted.
    pub fn release_image(&self, name: &Name) -> Result<()> {
        let mut holds = self.holds();
        let Some(sha256) = holds.remove(name) else { return Ok(()) };
        if holds.values().any(|other| *other == sha256) {
            return Ok(());
        }
        let unmounted = self.images.unmount(&sha256);
        if unmounted.is_err() {
            holds.insert(name.clone(), sha256);
        }
        unmounted
    }

    /// Unmounts what an earlier daemon mounted and no container holds.
    ///
    /// # Errors
    /// The image cannot be unmounted.
    pub fn release_unheld_images(&self) -> Result<()> {
        let holds = self.holds();
        for sha256 in self.images.mounted()? {
            if !holds.values().any(|held| *held == sha256) {
                self.images.unmount(&sha256)?;
            }
        }
        Ok(())
    }

    /// The size of container `name`'s disk, which is mounted and shall be as large as `asked`: a kernel that does not grow
    /// it leaves it as it was.
    pub fn disk_of(&self, name: &Name, asked: Bytes) -> Bytes {
        let found = self.storage.disk_size(name);
        found.filter(|size| !is_as_large(*size, asked)).unwrap_or(asked)
    }

    /// Whether a container holds image `sha256` mounted.
    pub fn is_held(&self, sha256: &str) -> bool {
        self.holds().values().any(|held| held == sha256)
    }
}

/// The default route and name server of a guest with a static address: what it was told, or the bridge itself.
///
/// # Errors
/// [`Code::InvalidArgument`] when the gateway is neither told nor to be guessed. Not having one is no error: a network
/// may be an island.
pub fn guest_network(
    machine: &Machine,
    spec: &crate::model::spec::Spec,
) -> Result<crate::steps::storage::GuestNetwork> {
    use crate::model::address::Address;
    let Address::Static(address) = spec.address else { return Ok(Default::default()) };
    let bridge = machine.network.bridge_addresses(&spec.bridge);
    let own = bridge.iter().find(|net| net.contains(address.addr)).map(|net| net.addr);
    if own == Some(address.addr) {
        return Err(Error::new(
            Code::Exists,
            format_args!("address {address} is the bridge's own; choose another one of its network"),
        ));
    }
    let gateway = spec.gateway.or(own);
    Ok(crate::steps::storage::GuestNetwork { gateway, dns: own.or(gateway) })
}

#[cfg(test)]
impl crate::testing::FakeBox {
    /// A machine of this box's steps.
    pub fn machine(&self) -> Machine {
        let part = || Box::new(self.clone());
        Machine::new(part(), part(), part(), part(), part(), part())
    }
}
