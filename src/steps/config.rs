//! The configuration file on disk: read whole, edited by libuci's commit protocol.

use crate::error::{Code, Error, Result};
use crate::model::name::Name;
use crate::model::options::OptionValues;
use crate::model::service;
use crate::sys;
use openwrt_uci::{ConfigFile, Document, EditError, Package, Section};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// An option and its value; None: it is not there.
pub type Change = (&'static str, Option<String>);

/// The option that records that a container shall have another name, so that a crash in the middle does not make two.
pub const RENAMING: &str = "renaming";

/// Where it is written what shall be.
pub trait ConfigStore: Send + Sync {
    /// Reads the file; one that does not exist is empty.
    ///
    /// # Errors
    /// [`Code::Config`] when it cannot be read or has a syntax error.
    fn load(&self) -> Result<Package>;

    /// Reads the file of what is the box's owner's alone, `cloudbox-host`; one that does not exist is empty.
    ///
    /// # Errors
    /// As [`ConfigStore::load`].
    fn load_host(&self) -> Result<Package>;

    /// `lost`: the file has lost all it said. Nothing is written to it then until it has a section again: a new one would
    /// look like all there is.
    fn guard(&self, _lost: bool) {}

    /// Adds a section for container `name`.
    ///
    /// # Errors
    /// [`Code::Exists`] when there is one, [`Code::Config`] when the file cannot be written.
    fn add_container(&self, name: &Name, said: &OptionValues) -> Result<()>;

    /// Sets or removes options of container `name`'s section, all at once, and returns what they were.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it has no section, [`Code::Config`] when the file cannot be written.
    fn change(&self, name: &Name, changes: &[Change]) -> Result<Vec<Change>>;

    /// Gives container `name`'s section another name, ends what [`RENAMING`] says, and lets the sections of its services
    /// follow. A section that has the name already is fine.
    ///
    /// # Errors
    /// [`Code::Config`] when the file cannot be written, or the name is taken.
    fn rename_container(&self, name: &Name, new_name: &Name) -> Result<()>;

    /// Records that container `name` shall be deleted, so that a crash does not resurrect it. No section is fine.
    ///
    /// # Errors
    /// [`Code::Config`] when the file cannot be written.
    fn mark_deleting(&self, name: &Name) -> Result<()>;

    /// Removes container `name`'s section, and with `services` those of its services. None is fine.
    ///
    /// # Errors
    /// [`Code::Config`] when the file cannot be written.
    fn remove_container(&self, name: &Name, services: bool) -> Result<()>;

    /// Writes section `id` for a service, in the place of what it said before.
    ///
    /// # Errors
    /// [`Code::Exists`] when it is a section of another type, [`Code::Config`] when the file cannot be written.
    fn put_service(&self, id: &str, asked: &service::ServiceOptions) -> Result<()>;

    /// Removes section `id` of a service.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none: an unnamed section is called otherwise when the file was edited by hand.
    /// [`Code::Config`] when the file cannot be written.
    fn remove_service(&self, id: &str) -> Result<()>;

    /// Removes what a daemon has left that was killed while it wrote the file. Takes a second, if there is something.
    ///
    /// # Errors
    /// [`Code::Config`] when somebody else has the file locked all the time.
    fn sweep(&self) -> Result<()>;
}

/// Writes what was said of a container into its new section.
pub fn add_options(
    document: &mut Document,
    section: &str,
    said: &OptionValues,
) -> std::result::Result<(), EditError> {
    for (option, texts, is_list) in said.iter() {
        match texts {
            [text] if !is_list => document.set(section, option, text)?,
            _ => document.set_list(section, option, texts)?,
        }
    }
    Ok(())
}

/// Puts a service's section into `document`; false when the section is one of another type.
pub fn edit_service(
    document: &mut Document,
    id: &str,
    asked: &service::ServiceOptions,
) -> std::result::Result<bool, EditError> {
    match document.package().section(id).map(|found| found.kind() == "service") {
        Some(false) => return Ok(false),
        Some(true) => document.remove_section(id)?,
        None => {}
    }
    document.add_section("service", id)?;
    for (option, value) in asked.options() {
        document.set(id, option, value)?;
    }
    if !asked.txt.is_empty() {
        document.set_list(id, "txt", &asked.txt)?;
    }
    Ok(true)
}

/// Removes container `name`'s section from `document`, and with `services` those of its services.
pub fn edit_out(document: &mut Document, name: &Name, services: bool) -> std::result::Result<(), EditError> {
    let own = name.uci_section();
    let its = |section: &Section| match section.kind() {
        "container" => section.name() == own,
        "service" => services && section.get_str("container") == Some(name.as_str()),
        _ => false,
    };
    // One after the other: sections without a name are called by their place, which changes with each removal.
    while let Some(found) = document.package().sections().iter().find(|section| its(section)) {
        let section = found.name().to_string();
        document.remove_section(&section)?;
    }
    Ok(())
}

/// The configuration file on the box's disk.
pub struct UciFile {
    file: ConfigFile,
    /// Never written by us.
    host: ConfigFile,
    /// Held by the job that edits it: those of one daemon wait in line here, and only another program's lock is waited
    /// for no longer than [`ConfigFile`] says.
    turn: Mutex<()>,
    /// The file has lost all it said.
    lost: AtomicBool,
}

fn read(file: &ConfigFile) -> Result<Package> {
    match file.read() {
        Ok(package) => Ok(package),
        Err(e) if e.is_not_found() => Ok(Package::default()),
        Err(e) => Err(Error::new(Code::Config, e.to_string())),
    }
}

impl UciFile {
    /// The files `cloudbox` and `cloudbox-host` in directory `dir`, which is `/etc/config` on a box.
    pub fn new(dir: PathBuf) -> UciFile {
        let file = ConfigFile::new(dir.join("cloudbox")).open_elsewhere(sys::is_open_elsewhere);
        UciFile {
            file,
            host: ConfigFile::new(dir.join("cloudbox-host")),
            turn: Mutex::new(()),
            lost: AtomicBool::new(false),
        }
    }

    fn edit(
        &self,
        change: &mut dyn FnMut(&mut Document) -> std::result::Result<(), EditError>,
    ) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = false;
        let mut guarded = |document: &mut Document| {
            refused = self.lost.load(Ordering::Relaxed) && document.package().sections().is_empty();
            if refused {
                return Ok(());
            }
            change(document)
        };
        self.file.edit_document(&mut guarded).map_err(|e| Error::new(Code::Config, e.to_string()))?;
        if refused {
            return Err(Error::new(
                Code::Config,
                "/etc/config/cloudbox has no section any more, and nothing is written to it; bring it back from a backup, \
                 then `cloudbox reload`",
            ));
        }
        Ok(())
    }
}

impl ConfigStore for UciFile {
    fn load(&self) -> Result<Package> {
        read(&self.file)
    }

    fn load_host(&self) -> Result<Package> {
        read(&self.host)
    }

    fn guard(&self, lost: bool) {
        self.lost.store(lost, Ordering::Relaxed);
    }

    fn add_container(&self, name: &Name, said: &OptionValues) -> Result<()> {
        let section = name.uci_section();
        let mut taken = false;
        self.edit(&mut |document| {
            if document.package().section(&section).is_some() {
                taken = true;
                return Ok(());
            }
            document.add_section("container", &section)?;
            add_options(document, &section, said)
        })?;
        if taken {
            return Err(Error::new(
                Code::Exists,
                format_args!(
                    "/etc/config/cloudbox has a section '{section}' already; choose another name than {name}"
                ),
            ));
        }
        Ok(())
    }

    fn change(&self, name: &Name, changes: &[Change]) -> Result<Vec<Change>> {
        let mut before = None;
        self.edit(&mut |document| {
            before = change(document, name, changes)?;
            Ok(())
        })?;
        before.ok_or_else(|| no_section(name))
    }

    fn rename_container(&self, name: &Name, new_name: &Name) -> Result<()> {
        self.edit(&mut |document| edit_name(document, name, new_name))
    }

    fn mark_deleting(&self, name: &Name) -> Result<()> {
        let section = name.uci_section();
        self.edit(&mut |document| match document.package().section(&section) {
            Some(found) if found.kind() == "container" => document.set(&section, "deleting", "1"),
            _ => Ok(()),
        })
    }

    fn remove_container(&self, name: &Name, services: bool) -> Result<()> {
        self.edit(&mut |document| edit_out(document, name, services))
    }

    fn put_service(&self, id: &str, asked: &service::ServiceOptions) -> Result<()> {
        let mut put = false;
        self.edit(&mut |document| {
            put = edit_service(document, id, asked)?;
            Ok(())
        })?;
        if put {
            return Ok(());
        }
        Err(Error::new(
            Code::Exists,
            format_args!("/etc/config/cloudbox has a section '{id}' of another type; rename that one"),
        ))
    }

    fn remove_service(&self, id: &str) -> Result<()> {
        let mut found = false;
        self.edit(&mut |document| {
            found = document.package().section(id).is_some_and(|section| section.kind() == "service");
            if found {
                document.remove_section(id)
            } else {
                Ok(())
            }
        })?;
        if found {
            return Ok(());
        }
        Err(Error::new(
            Code::NotFound,
            format_args!(
            "/etc/config/cloudbox has no service '{id}' any more; `cloudbox service list` shows what it has"
        ),
        ))
    }

    fn sweep(&self) -> Result<()> {
        match self.file.sweep() {
            Err(e) if !e.is_not_found() => Err(Error::new(Code::Config, e.to_string())),
            _ => Ok(()),
        }
    }
}

/// Gives container `name`'s section, and those of its services, the name of `new_name`.
pub fn edit_name(
    document: &mut Document,
    name: &Name,
    new_name: &Name,
) -> std::result::Result<(), EditError> {
    let (old, new) = (name.uci_section(), new_name.uci_section());
    let services: Vec<String> = document
        .package()
        .sections_of("service")
        .filter(|section| section.get_str("container") == Some(name.as_str()))
        .map(|section| section.name().to_string())
        .collect();
    if document.package().section(&old).is_some_and(|section| section.kind() == "container") {
        document.unset(&old, RENAMING)?;
        document.rename_section(&old, &new)?;
    }
    for id in services {
        document.set(&id, "container", new_name.as_str())?;
        // Those that were called after it are so still.
        let renamed =
            id.strip_prefix(&old).filter(|rest| rest.starts_with('_')).map(|rest| new.clone() + rest);
        if let Some(renamed) = renamed.filter(|renamed| document.package().section(renamed).is_none()) {
            document.rename_section(&id, &renamed)?;
        }
    }
    Ok(())
}

/// Makes `changes` in container `name`'s section and returns what was there; None when there is no such section.
pub(crate) fn change(
    document: &mut Document,
    name: &Name,
    changes: &[Change],
) -> std::result::Result<Option<Vec<Change>>, EditError> {
    let section = name.uci_section();
    let Some(found) = document.package().section(&section).filter(|s| s.kind() == "container") else {
        return Ok(None);
    };
    let was = |option: &'static str| (option, found.get_lossy(option).map(|text| text.into_owned()));
    let before = changes.iter().map(|(option, _)| was(option)).collect();
    for (option, value) in changes {
        document.set(&section, option, value.as_deref().unwrap_or_default())?;
    }
    Ok(Some(before))
}

/// The error about container `name`'s section that is not there.
pub(crate) fn no_section(name: &Name) -> Error {
    let section = name.uci_section();
    Error::new(
        Code::NotFound,
        format_args!(
            "container {name} has no section in UCI any more; give it one with \
             `uci set cloudbox.{section}=container; uci commit cloudbox`, or delete it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_goes_with_its_services_named_or_not() {
        let text =
            "config container 'web'\n\nconfig service\n\toption container 'web'\n\toption port '1'\n\n\
                    config service 'web_b_2'\n\toption container 'web'\n\n\
                    config service\n\toption container 'web'\n\toption port '3'\n\n";
        let others = "config service 'mail_1'\n\toption container 'mail'\n\nconfig container 'mail'\n";
        let left = |services: bool| {
            let mut document = Document::parse((text.to_string() + others).as_bytes()).unwrap();
            edit_out(&mut document, &Name::new("web").unwrap(), services).unwrap();
            document.package().sections().len()
        };
        assert_eq!(left(true), 2);
        assert_eq!(left(false), 5);
    }
}
