//! `service withdraw`: a service is not announced any more. It is no job: the file is written, and read again.

use crate::error::{quoted, Code, Error, Result};
use crate::machine::Machine;
use crate::model::advert::{self, Advert, DeclaredBy, Host};
use crate::model::name::Name;
use crate::model::service::ServiceOptions;
use crate::state::State;
use serde::Deserialize;

/// `cloudbox.service withdraw`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The service's id, as `list` shows it.
    pub id: String,
}

/// A service to be withdrawn.
#[derive(Debug)]
pub struct Withdraw {
    /// Its section's name.
    pub id: String,
    /// The section that switches off what the image offers; None: its section goes.
    section: Option<ServiceOptions>,
}

impl Withdraw {
    /// A service that somebody wants to be silent. `adverts` are all of the box's, `hosts` its containers.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::NotSupported`] for what only the guest or the box itself can withdraw.
    pub fn ask(state: &State, args: Args, adverts: &[Advert], hosts: &[Host<'_>]) -> Result<Withdraw> {
        let id = args.id;
        let declared = state.config.services.iter().find(|declared| declared.id == id);
        let (container, kind, port) = match (declared, adverts.iter().find(|advert| advert.id == id)) {
            (Some(d), _) => (&d.container, &d.service.kind, d.service.port),
            (None, Some(Advert { source: DeclaredBy::Guest, container: Some(container), .. })) => {
                return Err(Error::new(
                    Code::NotSupported,
                    format_args!(
                        "container {container} announces it itself; switch it off there, in /etc/cloudbox-distro"
                    ),
                ));
            }
            (None, Some(Advert { container: Some(container), service, .. })) => {
                (container, &service.kind, service.port)
            }
            (None, Some(_)) => {
                let why =
                    "this is the box itself; `uci set cloudbox.main.advertise=0` withdraws it with all else";
                return Err(Error::new(Code::NotSupported, why));
            }
            (None, None) => {
                return Err(Error::new(
                    Code::NotFound,
                    format_args!(
                        "there is no service {}; `cloudbox service list` shows those there are",
                        quoted(&id)
                    ),
                ));
            }
        };
        let section = is_offered(hosts, container, kind, port).then(|| ServiceOptions {
            container: Some(container.to_string()),
            kind: Some(kind.clone()),
            port: Some(port.to_string()),
            enabled: Some("0".to_string()),
            ..ServiceOptions::default()
        });
        Ok(Withdraw { id, section })
    }

    /// Writes its section or removes it, in a thread.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn run(&self, machine: &Machine) -> Result<()> {
        match &self.section {
            Some(section) => machine.config.put_service(&self.id, section),
            None => machine.config.remove_service(&self.id),
        }
    }
}

/// Whether the container's image offers such a service.
fn is_offered(hosts: &[Host<'_>], container: &Name, kind: &str, port: u16) -> bool {
    let offered = hosts.iter().find(|host| host.name == container).map(|host| host.offered);
    let mut services = offered.unwrap_or_default().iter().filter_map(advert::offered_service);
    services.any(|service| service.kind == kind && service.port == port)
}
