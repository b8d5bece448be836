//! The network: one bridge, br-lan, and a veth for each container that runs.

use super::FakeBox;
use crate::error::{Code, Error, Result};
use crate::model::address::Ipv4Net;
use crate::model::plan::Link;
use crate::steps::network::{
    AddressWatch, Bridge, LinkWatch, Neighbourhood, Network, Port, Question, Traffic,
};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;

impl Network for FakeBox {
    fn check_bridge(&self, bridge: &str) -> Result<()> {
        self.enter("network.check_bridge", "", None)?;
        if self.state().has_bridge(bridge) {
            return Ok(());
        }
        Err(Error::new(Code::NotFound, format_args!("the bridge {bridge} does not exist; make it")))
    }

    fn link(&self, port: Option<&str>, bridge: &str) -> Link {
        let state = self.state();
        match port {
            _ if !state.has_bridge(bridge) => Link::NoBridge,
            Some(port) if state.unbridged.contains(port) => Link::NotJoined,
            _ => Link::Joined,
        }
    }

    fn look_at_bridge(&self, _: &str) -> Bridge {
        Bridge { up: true, follows_guests: false, hides_new_ports: false }
    }

    fn watch_links(&self) -> Result<LinkWatch> {
        let (ours, kernels) = UnixDatagram::pair().unwrap();
        self.state().links = Some(kernels);
        Ok(LinkWatch::reading(ours.into()))
    }

    fn join(&self, port: &Port) -> Result<()> {
        self.act("network.join", &port.veth, None, |state| {
            state.unbridged.remove(&port.veth);
            Ok(())
        })
    }

    fn bridge_addresses(&self, bridge: &str) -> Vec<Ipv4Net> {
        if bridge == "br-lan" {
            return vec![Ipv4Net { addr: Ipv4Addr::new(10, 0, 0, 1), prefix: 24 }];
        }
        Vec::new()
    }

    fn own_addresses(&self) -> Vec<Ipv4Addr> {
        vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 1, 1)]
    }

    fn who_has(&self, _: &str, address: Ipv4Addr) -> Option<Question> {
        let (ours, network) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let holder = self.state().neighbours.get(&address).copied()?;
        let mut answer = vec![0, 1, 8, 0, 6, 4, 0, 2];
        answer.extend([[holder; 6].as_slice(), &address.octets(), &[0; 10]].concat());
        network.send(&answer).unwrap();
        Some(Question::on(ours.into(), 1, [2; 6], address))
    }

    fn leased_to(&self, address: Ipv4Addr, _: &str) -> Option<String> {
        self.state().leases.get(&address).cloned()
    }

    fn traffic(&self) -> Vec<Traffic> {
        let state = self.state();
        let records =
            state.world.processes.keys().filter_map(|name| state.world.alive.get(name)?.record.as_ref());
        let through = |veth: &String| Traffic { interface: veth.clone(), received: 4_567_890, sent: 345_678 };
        let mut traffic: Vec<Traffic> = records.map(|record| through(&record.veth)).collect();
        traffic.sort_by(|a, b| a.interface.cmp(&b.interface));
        traffic
    }

    fn watch(&self, pid: i32, around: &Neighbourhood) -> Result<AddressWatch> {
        self.act("network.watch", "", None, |state| {
            let (ours, kernels) = UnixDatagram::pair().unwrap();
            for address in &state.addresses {
                kernels.send(&address_added(*address)).unwrap();
            }
            state.watchers.insert(pid, kernels);
            Ok(AddressWatch::reading(ours.into(), around))
        })
    }

    fn neighbourhood(&self, _: &str) -> Neighbourhood {
        // The addresses of this machine stand for containers'.
        Neighbourhood::any()
    }

    fn isolate(&self, port: &Port) -> Result<()> {
        self.act("network.isolate", &port.veth, None, |state| {
            state.ports.insert(port.veth.clone(), port.clone());
            Ok(())
        })
    }

    fn release(&self, _: &str) {}

    fn claim(&self, _: &str, _: &[IpAddr], _: &Neighbourhood) {}

    fn end_adoption(&self) {}

    fn monitors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn put_back(&self) {}

    fn check_isolation(&self) -> Result<()> {
        Ok(())
    }

    fn own_networks(&self) -> Vec<String> {
        vec!["10.0.0.0/24".into(), "192.168.1.0/24".into()]
    }
}

/// What the kernel sends when an address was added: a header, an ifaddrmsg, and the attribute IFA_ADDRESS.
pub(super) fn address_added(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let attribute = 4 + octets.len() as u16;
    let mut message = (24 + u32::from(attribute)).to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWADDR.to_ne_bytes());
    message.extend([0; 10]);
    message.extend([family as u8, 24, 0, 0, 2, 0, 0, 0]);
    message.extend(attribute.to_ne_bytes());
    message.extend(libc::IFA_ADDRESS.to_ne_bytes());
    message.extend(octets);
    message
}

/// What the kernel sends of an interface that is up: a header, an ifinfomsg, and the attributes IFLA_IFNAME, IFLA_MASTER and
/// IFLA_LINKINFO.
pub fn link_message(
    kind: u16,
    family: i32,
    number: u32,
    name: &str,
    master: u32,
    is_bridge: bool,
) -> Vec<u8> {
    let attribute = |kind: u16, data: &[u8]| {
        let mut bytes = [((4 + data.len()) as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let mut message = vec![0; 16];
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message.extend([family as u8, 0, 0, 0]);
    message.extend(number.to_ne_bytes());
    message.extend((libc::IFF_UP as u32).to_ne_bytes());
    message.extend([0; 4]);
    message.extend(attribute(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()));
    if master != 0 {
        message.extend(attribute(libc::IFLA_MASTER, &master.to_ne_bytes()));
    }
    if is_bridge {
        message.extend(attribute(libc::IFLA_LINKINFO, &attribute(1, b"bridge\0")));
    }
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}
