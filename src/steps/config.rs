//! The configuration file on disk: read whole, edited by libuci's commit protocol.

use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::model::spec::Asked;
use crate::sys;
use openwrt_uci::{ConfigFile, Document, EditError, Package};
use std::path::PathBuf;

/// The record of intent.
pub trait ConfigStore: Send + Sync {
    /// Reads the file; one that does not exist is empty.
    ///
    /// # Errors
    /// [`Code::Config`] when it cannot be read or has a syntax error.
    fn load(&self) -> Result<Package>;

    /// Adds a section for container `name`.
    ///
    /// # Errors
    /// [`Code::Exists`] when there is one, [`Code::Config`] when the file cannot be written.
    fn add_container(&self, name: &Name, asked: &Asked) -> Result<()>;

    /// Records that container `name` shall be deleted, so that a crash does not resurrect it. No section is fine.
    ///
    /// # Errors
    /// [`Code::Config`] when the file cannot be written.
    fn mark_deleting(&self, name: &Name) -> Result<()>;

    /// Removes container `name`'s section. None is fine.
    ///
    /// # Errors
    /// [`Code::Config`] when the file cannot be written.
    fn remove_container(&self, name: &Name) -> Result<()>;
}

/// The file itself.
pub struct UciFile(ConfigFile);

impl UciFile {
    /// The file `cloudbox` in directory `dir`, which is `/etc/config` on a box.
    pub fn new(dir: PathBuf) -> UciFile {
        UciFile(ConfigFile::new(dir.join("cloudbox")).open_elsewhere(sys::is_open_elsewhere))
    }

    fn edit(&self, change: impl FnOnce(&mut Document) -> std::result::Result<(), EditError>) -> Result<()> {
        self.0.edit_document(change).map_err(|e| Error::new(Code::Config, e.to_string()))
    }
}

impl ConfigStore for UciFile {
    fn load(&self) -> Result<Package> {
        match self.0.read() {
            Ok(package) => Ok(package),
            Err(e) if e.is_not_found() => Ok(Package::default()),
            Err(e) => Err(Error::new(Code::Config, e.to_string())),
        }
    }

    fn add_container(&self, name: &Name, asked: &Asked) -> Result<()> {
        let section = name.uci_section();
        let mut taken = false;
        self.edit(|document| {
            if document.package().section(&section).is_some() {
                taken = true;
                return Ok(());
            }
            document.add_section("container", &section)?;
            for (option, value) in asked.options() {
                document.set(&section, option, value)?;
            }
            if !asked.authorized_keys.is_empty() {
                document.set_list(&section, "authorized_keys", &asked.authorized_keys)?;
            }
            Ok(())
        })?;
        if taken {
            return Err(Error::new(
                Code::Exists,
                format!(
                    "/etc/config/cloudbox has a section '{section}' already; choose another name than {name}"
                ),
            ));
        }
        Ok(())
    }

    fn mark_deleting(&self, name: &Name) -> Result<()> {
        let section = name.uci_section();
        self.edit(|document| match document.package().section(&section) {
            Some(found) if found.kind() == "container" => document.set(&section, "deleting", "1"),
            _ => Ok(()),
        })
    }

    fn remove_container(&self, name: &Name) -> Result<()> {
        let section = name.uci_section();
        self.edit(|document| match document.package().section(&section) {
            Some(found) if found.kind() == "container" => document.remove_section(&section),
            _ => Ok(()),
        })
    }
}
