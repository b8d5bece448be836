//! `service publish`: declaring a service of a container. It is no job: the file is written, and read again.

use crate::api::Text;
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::advert;
use crate::model::service::{section_name, DeclaredService, ServiceOptions};
use crate::state::State;
use serde::Deserialize;

/// `cloudbox.service publish`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The container it runs in.
    pub container: String,
    /// The name people see; made from the container's and the box's unless said.
    pub name: Option<String>,
    /// DNS-SD type, such as `_http._tcp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its port.
    pub port: Text,
    /// TXT records, such as `path=/wiki`.
    pub txt: Option<Vec<String>>,
    /// `any`, `ipv4`, `ipv6`
    pub protocol: Option<String>,
    /// `tcp`: announced only while the port answers; `none`
    pub check: Option<String>,
}

/// A service to be declared.
#[derive(Debug)]
pub struct Publish {
    /// Its section's name.
    pub id: String,
    section: ServiceOptions,
}

impl Publish {
    /// A service that somebody wants to be announced.
    ///
    /// # Errors
    /// A wrong value, [`Code::NotFound`], [`Code::Exists`].
    pub fn ask(state: &State, args: Args) -> Result<Publish> {
        let section = ServiceOptions {
            container: Some(args.container),
            name: args.name,
            kind: Some(args.kind),
            port: Some(args.port.0),
            txt: args.txt.unwrap_or_default(),
            protocol: args.protocol,
            check: args.check,
            enabled: None,
        };
        let wanted = section.resolve("")?;
        state.check_known(&wanted.container)?;
        let same = |d: &&DeclaredService| advert::is_same(d, &wanted.container, &wanted.service);
        let (kind, port) = (&wanted.service.kind, wanted.service.port);
        match state.config.services.iter().find(same) {
            Some(there) if there.enabled => {
                let (container, id) = (&wanted.container, &there.id);
                Err(Error::new(
                    Code::Exists,
                    format_args!(
                        "container {container} has {kind} on port {port} already, as service {id}; withdraw that \
                         first, or change its section with `uci set cloudbox.{id}...`"
                    ),
                ))
            }
            Some(there) => Ok(Publish { id: there.id.clone(), section }),
            None => Ok(Publish { id: free_id(state, section_name(&wanted.container, kind, port)), section }),
        }
    }

    /// Writes its section, in a thread.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn run(&self, machine: &Machine) -> Result<()> {
        machine.config.put_service(&self.id, &self.section)
    }
}

/// `id`, or that with a number where another service has it.
pub(super) fn free_id(state: &State, id: String) -> String {
    let taken = |id: &str| state.config.services.iter().any(|d| d.id == id);
    if !taken(&id) {
        return id;
    }
    let numbered = (2..1000).map(|n| format!("{id}_{n}")).find(|id| !taken(id));
    numbered.unwrap_or(id)
}
