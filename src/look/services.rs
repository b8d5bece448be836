//! `service list`: what is announced, and why the rest is not.

use crate::announce::Announcer;
use crate::api::replies::{ServiceEntry, ServiceList};
use crate::model::advert::{Advert, DeclaredBy};
use crate::state::State;
use crate::steps::avahi;

/// The reply of `service list`. What could not be announced is tried again when somebody looks.
pub fn services(state: &State, announcer: &mut Announcer) -> ServiceList {
    announcer.look_again();
    let off = (!state.config.settings.advertise).then_some("option advertise '0' in section 'main'");
    let daemon = state.machine.avahi.state();
    // A guest announces its own by itself.
    let silent = |advert: &Advert| daemon != avahi::State::Running && advert.source != DeclaredBy::Guest;
    let entry = |advert: Advert| {
        let trouble = announcer.trouble_of(&advert).map(|error| error.message.clone());
        let silent = silent(&advert).then(|| daemon.message().to_string());
        let withheld = off.map(str::to_string).or(advert.withheld.clone()).or(trouble).or(silent);
        let unseen = announcer.why_unseen(&advert).filter(|_| advert.source != DeclaredBy::Guest);
        let (state, reason) = match (withheld, unseen) {
            (Some(why), _) => ("withheld", Some(why)),
            (None, Some(why)) => ("announced", Some(why)),
            (None, None) => ("published", None),
        };
        ServiceEntry {
            host: announcer.host_of(&advert),
            id: advert.id,
            container: advert.container.map(|name| name.to_string()),
            name: advert.service.name.unwrap_or_default(),
            kind: advert.service.kind,
            port: advert.service.port,
            txt: advert.service.txt,
            protocol: advert.service.family.as_str(),
            check: if advert.service.check { "tcp" } else { "none" },
            source: advert.source.as_str(),
            state,
            reason,
            addresses: advert.addresses.iter().map(ToString::to_string).collect(),
        }
    };
    let adverts = announcer.adverts(state, &state.machine.box_name());
    ServiceList { services: adverts.into_iter().map(entry).collect() }
}
