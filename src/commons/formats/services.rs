//! What a box announces to other networks: its own, never what it heard there.

use super::alive::Stamp;
use super::{dates, Format, OFFER_DAYS};
use crate::commons::fields::{line, Fields, Members};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use crate::model::service::NAME_MAX;
use serde_json::Value;

/// The most that a box announces.
const ANNOUNCED_MAX: usize = 64;
/// The longest type, address and record of text, and the most of these.
const KIND_MAX: usize = 32;
const ADDRESS_MAX: usize = 45;
const TXT_MAX: usize = 255;
const TXTS_MAX: usize = 16;

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Its type, `_http._tcp`.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Where it answers.
    pub address: Box<str>,
    /// On which port.
    pub port: u16,
    /// Its text.
    pub txt: Vec<Box<str>>,
}

impl Announced {
    fn read(name: &str, value: &Value) -> Result<Announced> {
        let fields = Fields::of(name, value)?;
        let line = |name, most| Ok::<Box<str>, _>(fields.maybe_line(name, most)?.unwrap_or_default().into());
        Ok(Announced {
            kind: line("type", KIND_MAX)?,
            name: line("name", NAME_MAX)?,
            address: line("address", ADDRESS_MAX)?,
            // Within the range.
            port: fields.number("port", 1..=u16::MAX.into())? as u16,
            txt: fields.list("txt", TXTS_MAX, txt)?,
        })
    }

    fn write(&self) -> Value {
        let members = Members::default().with("type", &*self.kind).with("name", &*self.name);
        let members = members.with("address", &*self.address).with("port", self.port);
        members.with_texts("txt", &self.txt).into()
    }
}

fn txt(name: &str, value: &Value) -> Result<Box<str>> {
    line(name, value, TXT_MAX).map(Box::from)
}

/// All services of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// The box.
    pub of: Id,
    /// Its zone.
    pub zone: Label,
    /// When it was said, beside its signs of life.
    pub stamp: Stamp,
    /// What it announces.
    pub services: Vec<Announced>,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 30 days later.
    pub expires: u64,
}

impl Format for Services {
    const PURPOSE: Purpose = Purpose::Services;
    const KNOWN: &'static [&'static str] = &["box", "zone", "session", "seq", "services", "issued"];

    fn read(fields: Fields<'_>) -> Result<Services> {
        let (issued, expires) = dates(fields, OFFER_DAYS)?;
        Ok(Services {
            of: fields.id("box")?,
            zone: fields.label("zone", Kind::Zone)?,
            stamp: Stamp::read(fields)?,
            services: fields.list("services", ANNOUNCED_MAX, Announced::read)?,
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("box", self.of).with("zone", self.zone.as_str());
        let members = members.with_list("services", &self.services, Announced::write);
        self.stamp.write(members).with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Services(self.zone, self.of)
    }
}
