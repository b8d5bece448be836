//! `service browse`: what is on the network, from every box. The network is listened to for a while, by a thread.

use crate::api::replies::{FoundService, FoundServices};
use crate::error::{Code, Error, Result};
use crate::mdns::ServiceInstance;
use crate::model::advert;
use crate::model::service::parse_kind_or_part;
use crate::state::{Container, State};
use crate::steps::avahi::Avahi;
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// How long it listens to the network, in seconds.
pub const TIMEOUT: u32 = 5;
/// The longest it may be given.
pub const TIMEOUT_MAX: u32 = 15;
/// The most that it answers with, in bytes; a message on the bus may have a megabyte. Thousands of honest services fit.
const REPLY_MAX: usize = 700 << 10;
/// What a field of a reply takes beside its text, at most.
const ENTRY: usize = 64;

/// `cloudbox.service browse`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// Only services of this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Seconds to listen at most; 5 unless said otherwise. It ends earlier when nothing new is said.
    pub timeout: Option<u32>,
}

/// What to look for, and by what our own is known.
pub struct Browse {
    kind: Option<String>,
    timeout: Duration,
    box_name: String,
    addresses: Vec<IpAddr>,
}

impl Browse {
    /// What somebody wants to know.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`].
    pub fn ask(state: &State, args: &Args) -> Result<Browse> {
        let asked = args.kind.as_deref().filter(|kind| !kind.is_empty());
        let timeout = args.timeout.unwrap_or(TIMEOUT);
        if !(1..=TIMEOUT_MAX).contains(&timeout) {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("timeout {timeout}: give 1 to {TIMEOUT_MAX} seconds"),
            ));
        }
        let own = state.machine.network.own_addresses();
        let mut addresses: Vec<IpAddr> = own.into_iter().map(IpAddr::from).collect();
        addresses.extend(state.containers.values().flat_map(Container::addresses));
        Ok(Browse {
            kind: asked.map(parse_kind_or_part).transpose()?,
            timeout: Duration::from_secs(timeout.into()),
            box_name: state.machine.box_name(),
            addresses,
        })
    }

    /// What is asked for, in words: who asks the same gets the same answer.
    pub fn what(&self) -> String {
        format!("{:?} for {} s", self.kind, self.timeout.as_secs())
    }

    /// Listens to the network, in a thread.
    ///
    /// # Errors
    /// There is no network to listen to.
    pub fn run(&self, avahi: &dyn Avahi) -> Result<FoundServices> {
        let kind = self.kind.as_deref();
        let boxes_too = kind.is_some_and(|kind| kind != advert::BOX_KIND);
        // Which boxes there are tells whose a service is.
        let mut boxes = Vec::new();
        let mut found = std::thread::scope(|scope| {
            if boxes_too {
                let look: Box<dyn FnOnce() + Send> = Box::new(|| {
                    boxes = avahi.browse(Some(advert::BOX_KIND), self.timeout).unwrap_or_default();
                });
                scope.spawn(look);
            }
            avahi.browse(kind, self.timeout)
        })?;
        let is_box = |found: &&ServiceInstance| found.kind == advert::BOX_KIND && !found.host.is_empty();
        let mut names = vec![(self.box_name.clone(), self.box_name.clone())];
        for found in found.iter().chain(&boxes).filter(is_box) {
            // Its containers' hosts are called after the box, and that may be what avahi-daemon calls it, or not.
            let label = found.host.split('.').next().unwrap_or_default();
            names.extend([&found.name, label].map(|label| (label.to_string(), found.name.clone())));
        }
        found.sort_unstable_by(|a, b| (&a.kind, &a.name, &a.host).cmp(&(&b.kind, &b.name, &b.host)));
        let mut room = REPLY_MAX;
        let fits = |found: &ServiceInstance| {
            let texts = found.txt.iter().map(|text| text.len() + ENTRY).sum::<usize>();
            room = room.saturating_sub(texts + found.name.len() + found.host.len() + 4 * ENTRY);
            room > 0
        };
        found.retain(fits);
        Ok(FoundServices { services: found.into_iter().map(|found| self.entry(found, &names)).collect() })
    }

    fn entry(&self, found: ServiceInstance, boxes: &[(String, String)]) -> FoundService {
        let mut box_name = advert::box_of(&found.host, boxes);
        let ours = box_name == self.box_name || found.addresses.iter().any(|a| self.addresses.contains(a));
        if ours && box_name.is_empty() {
            box_name = &self.box_name;
        }
        FoundService {
            kind: found.kind,
            name: found.name,
            addresses: found.addresses.iter().map(ToString::to_string).collect(),
            port: found.port,
            txt: found.txt,
            box_name: box_name.to_string(),
            host: found.host,
            ours,
        }
    }
}
