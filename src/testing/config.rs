//! The configuration file, as text in memory.

use super::FakeBox;
use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::service;
use crate::steps::config::{self, add_options, Change, ConfigStore};
use openwrt_uci::{Document, EditError, Package};

impl FakeBox {
    fn edit(&self, call: &str, name: &str, change: impl FnOnce(&mut Document) -> EditResult) -> Result<()> {
        self.act(call, name, None, |state| {
            let mut document = Document::parse(state.world.config.as_bytes())
                .map_err(|e| Error::new(Code::Config, e.to_string()))?;
            change(&mut document).map_err(|e| Error::new(Code::Config, e.to_string()))?;
            state.world.config = String::from_utf8(document.to_bytes()).unwrap();
            Ok(())
        })
    }
}

type EditResult = std::result::Result<(), EditError>;

impl ConfigStore for FakeBox {
    fn load(&self) -> Result<Package> {
        self.act("config.load", "", None, |state| {
            Package::parse(state.world.config.as_bytes())
                .map_err(|e| Error::new(Code::Config, format_args!("/etc/config/cloudbox: {e}")))
        })
    }

    fn load_host(&self) -> Result<Package> {
        self.act("config.load_host", "", None, |state| {
            Package::parse(state.world.host_config.as_bytes())
                .map_err(|e| Error::new(Code::Config, format_args!("/etc/config/cloudbox-host: {e}")))
        })
    }

    fn add_container(&self, name: &Name, said: &OptionValues) -> Result<()> {
        let section = name.uci_section();
        let mut taken = false;
        self.edit("config.add_container", name.as_str(), |document| {
            taken = document.package().section(&section).is_some();
            if taken {
                return Ok(());
            }
            document.add_section("container", &section)?;
            add_options(document, &section, said)
        })?;
        if taken {
            return Err(Error::new(Code::Exists, format_args!("there is a section '{section}' already")));
        }
        Ok(())
    }

    fn change(&self, name: &Name, changes: &[Change]) -> Result<Vec<Change>> {
        let mut before = None;
        self.edit("config.change", name.as_str(), |document| {
            before = config::change(document, name, changes)?;
            Ok(())
        })?;
        before.ok_or_else(|| config::no_section(name))
    }

    fn rename_container(&self, name: &Name, new_name: &Name) -> Result<()> {
        self.edit("config.rename_container", name.as_str(), |document| {
            config::edit_name(document, name, new_name)
        })
    }

    fn mark_deleting(&self, name: &Name) -> Result<()> {
        let section = name.uci_section();
        self.edit("config.mark_deleting", name.as_str(), |document| {
            match document.package().section(&section) {
                Some(_) => document.set(&section, "deleting", "1"),
                None => Ok(()),
            }
        })
    }

    fn remove_container(&self, name: &Name, services: bool) -> Result<()> {
        self.edit("config.remove_container", name.as_str(), |document| {
            config::edit_out(document, name, services)
        })
    }

    fn put_service(&self, id: &str, asked: &service::ServiceOptions) -> Result<()> {
        self.edit("config.put_service", id, |document| config::edit_service(document, id, asked).map(drop))
    }

    fn remove_service(&self, id: &str) -> Result<()> {
        self.edit("config.remove_service", id, |document| match document.package().section(id) {
            Some(_) => document.remove_section(id),
            None => Ok(()),
        })
    }

    fn sweep(&self) -> Result<()> {
        Ok(())
    }
}
