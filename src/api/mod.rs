//! What the bus' callers see: the objects, the replies, and the values that arguments are made of. DESIGN.md section 4.
//!
//! The methods with their arguments are in `daemon/bus/methods.rs`; each one's arguments stand beside what takes them.

pub mod commons;
pub mod replies;
mod values;

pub use values::{CreateOptions, SecretValues, SetOptions, Text, Variables};

use crate::model::advert::Advert;
use serde::Serialize;

/// Version of this API: raised when something a client relies on changes.
pub const VERSION: u32 = 1;

/// The longest a caller may ask to have a reply held back, in seconds: LuCI gives up after 20.
pub const WAIT_MAX: u32 = 15;

/// The user as which the process of the commons runs: by it the daemon knows that process.
pub const COMMONS_USER: &str = "cloudbox-commons";

/// The objects on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusObject {
    /// `cloudbox`
    Box,
    /// `cloudbox.container`
    Container,
    /// `cloudbox.image`
    Image,
    /// `cloudbox.service`
    Service,
    /// `cloudbox.job`
    Job,
    /// `cloudbox.config`
    Config,
}

impl BusObject {
    /// All of them, in the order they are published.
    pub const ALL: [BusObject; 6] = [
        BusObject::Box,
        BusObject::Container,
        BusObject::Image,
        BusObject::Service,
        BusObject::Job,
        BusObject::Config,
    ];

    /// Its path on the bus.
    pub fn path(self) -> &'static str {
        match self {
            BusObject::Box => "cloudbox",
            BusObject::Container => "cloudbox.container",
            BusObject::Image => "cloudbox.image",
            BusObject::Service => "cloudbox.service",
            BusObject::Job => "cloudbox.job",
            BusObject::Config => "cloudbox.config",
        }
    }
}

/// What is told of a container or an image.
#[derive(Serialize)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
}

/// What is told of an image that came.
#[derive(Serialize)]
pub struct ImageSubject<'a> {
    /// The name it was asked for by.
    pub name: &'a str,
    /// sha256 of the file.
    pub sha256: &'a str,
}

/// What is told of a container that has another name.
#[derive(Serialize)]
pub struct Renamed<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name it had.
    pub was: &'a str,
}

/// What is told of a container that ran out of memory.
#[derive(Serialize)]
pub struct OutOfMemory<'a> {
    /// Its name.
    pub name: &'a str,
    /// How often, in this run.
    pub count: u64,
}

/// What is told of a container whose port is in its bridge again.
#[derive(Serialize)]
pub struct Rejoined<'a> {
    /// Its name.
    pub name: &'a str,
    /// The bridge, which was made anew, or which somebody had taken the port out of.
    pub bridge: &'a str,
}

/// What is told of a service that is announced, or no longer.
#[derive(Serialize)]
pub struct AdvertSubject {
    /// The section it has or would have.
    pub id: String,
    /// Its container; None for the box's own.
    pub container: Option<String>,
    /// The name people see.
    pub name: String,
    /// DNS-SD type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its port.
    pub port: u16,
}

impl AdvertSubject {
    /// What is told of `advert`.
    pub fn of(advert: &Advert) -> AdvertSubject {
        AdvertSubject {
            id: advert.id.clone(),
            container: advert.container.as_ref().map(ToString::to_string),
            name: advert.name().to_string(),
            kind: advert.service.kind.clone(),
            port: advert.service.port,
        }
    }
}
