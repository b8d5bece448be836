//! avahi-daemon: it runs, and the network has a neighbour called beta.

use super::FakeBox;
use crate::error::Result;
use crate::mdns;
use crate::mdns::lookup::{Expected, Sight, Times};
use crate::steps::avahi::{self, Avahi, Troubles, Wanted};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

impl Avahi for FakeBox {
    fn announce(&self, wanted: &Wanted) -> Troubles {
        let announced = self.act("avahi.announce", "", None, |state| {
            state.announced.clone_from(wanted);
            Ok(())
        });
        announced.err().map(|error| (String::new(), error)).into_iter().collect()
    }

    fn state(&self) -> avahi::State {
        self.watch().0
    }

    fn watch(&self) -> (avahi::State, Option<OwnedFd>) {
        (if self.world().avahi_stopped { avahi::State::Stopped } else { avahi::State::Running }, None)
    }

    fn spoken_on(&self) -> avahi::Spoken {
        avahi::Spoken::All
    }

    fn hosts_trouble(&self) -> Option<String> {
        None
    }

    fn hostname(&self) -> String {
        "alpha".to_string()
    }

    fn read_back(
        &self,
        expected: &[Expected],
        _bridges: &[String],
        _of_containers: Vec<IpAddr>,
        _times: Times,
        _stop: &AtomicBool,
    ) -> Result<Vec<Sight>> {
        let world = self.world();
        let sight = |one: &Expected| {
            let host = one.host.clone().unwrap_or_else(|| self.hostname());
            let is_taken = |name: &str| world.taken.iter().any(|taken| taken == name);
            match (is_taken(&host), is_taken(&one.name)) {
                (true, _) if one.host.is_some() => Sight::HostTaken,
                (_, true) => Sight::NameTaken,
                _ if world.unheard => Sight::Nothing,
                _ => Sight::Seen(host),
            }
        };
        Ok(expected.iter().map(sight).collect())
    }

    fn browse(&self, kind: Option<&str>, _timeout: Duration) -> Result<Vec<mdns::ServiceInstance>> {
        let found = |kind: &str, name: &str, host: &str, last: u8| mdns::ServiceInstance {
            kind: kind.to_string(),
            name: name.to_string(),
            host: host.to_string(),
            addresses: vec![[10, 0, 0, last].into()],
            port: 80,
            txt: vec!["path=/".to_string()],
            from: None,
        };
        let all = [
            found("_http._tcp", "Wiki", "web-beta.local", 7),
            found("_cloudbox._tcp", "beta", "beta.local", 2),
            found("_http._tcp", "Mine", "web-alpha.local", 77),
            found("_http._tcp", "Printer", "printer.local", 9),
        ];
        self.act("avahi.browse", kind.unwrap_or_default(), None, |_| Ok(()))?;
        Ok(all.into_iter().filter(|found| kind.is_none_or(|kind| found.kind == kind)).collect())
    }
}
