//! The bridge, and who announces what is here.

use super::{error, note, ok, text_of, told, unseen, warning, Finding, Subject, ERROR, OK, WARNING};
use crate::error::Result;
use crate::model::address::Address;
use crate::model::name::Name;
use crate::model::plan::Link;
use crate::model::spec::Spec;
use crate::steps::avahi::State;
use crate::steps::filesystem::entries;
use crate::steps::network::{is_younger, master, stray, Bridge, Port};
use std::path::Path;

/// Most networks that are named: a line is read at one glance.
const NETWORKS_SHOWN: usize = 6;

/// The bridge of new containers, and those of the containers that run.
pub(super) fn bridges(subject: &Subject<'_>) -> Vec<Finding> {
    let mut names = vec![subject.known.settings.defaults.bridge.as_str()];
    for (_, port) in &subject.known.ports {
        if !names.contains(&port.bridge.as_str()) {
            names.push(&port.bridge);
        }
    }
    names.into_iter().map(|name| bridge(subject, name)).collect()
}

fn bridge(subject: &Subject<'_>, name: &str) -> Finding {
    if let Err(error) = subject.network.check_bridge(name) {
        return told(ERROR, &error.message);
    }
    let Bridge { up, follows_guests, hides_new_ports } = subject.network.look_at_bridge(name);
    if !up {
        return error(
            format_args!("{name} is down: no container reaches anything"),
            format_args!("`ip link set {name} up`; `logread -e netifd` may say why"),
        );
    }
    if hides_new_ports {
        return warning(
            format_args!("{name} filters VLANs and puts new ports into none: containers reach nothing"),
            format_args!(
                "name the bridge of one VLAN for them (`uci set cloudbox.main.bridge=...`), or give new ports one: \
                 `ip link set {name} type bridge vlan_default_pvid 1`"
            ),
        );
    }
    if follows_guests {
        return warning(
            format_args!(
                "the hardware address (MAC) of {name} changes with the containers that come and go: the others lose \
                 the box for half a minute each time"
            ),
            format_args!(
                "set it: `ip link set {name} address $(cat /sys/class/net/{name}/address)`, and `option macaddr` in \
                 the bridge's section of /etc/config/network"
            ),
        );
    }
    ok(format_args!("{name} is there, and keeps its hardware address (MAC)"))
}

/// Containers whose ports are not in their bridge, or were not for a while.
pub(super) fn ports(subject: &Subject<'_>) -> Vec<Finding> {
    let finding = |(name, port): &(Name, Port)| {
        let Port { veth, bridge, .. } = port;
        match subject.network.link(Some(veth), bridge) {
            Link::Joined if is_younger(bridge, veth) => Some(note(format_args!(
                "{name} has lost its bridge: {bridge} was made anew since {name} was started; its port {veth} was \
                 put back"
            ))),
            Link::Joined => None,
            Link::NoBridge => Some(error(
                format_args!("{name} has lost its bridge: there is no {bridge}, and its port {veth} {}", is_in(veth)),
                format_args!("make {bridge} again: it is put back then; `logread -e netifd` may say who removed it"),
            )),
            Link::Apart => Some(error(
                format_args!("{name} is not in its bridge {bridge}: its port {veth} {}", is_in(veth)),
                format_args!("`cloudbox reload` puts it back; `cloudbox log --daemon` may say why it could not be"),
            )),
        }
    };
    subject.known.ports.iter().filter_map(finding).collect()
}

/// Containers whose static address is in no network of their bridge: it was given another one since.
pub(super) fn addresses(subject: &Subject<'_>) -> Vec<Finding> {
    let finding = |(name, spec): &(Name, Spec)| {
        let Address::Static(net) = spec.address else { return None };
        let networks = subject.network.bridge_addresses(&spec.bridge);
        let why = stray(&networks, &spec.bridge, net.addr)?;
        Some(warning(
            format_args!("{name}: {why}: few reach it"),
            format_args!(
                "`cloudbox set {name} --address` with one of that network, or `--address dhcp`; then `cloudbox restart {name}`"
            ),
        ))
    };
    subject.known.guests.iter().filter_map(finding).collect()
}

fn is_in(port: &str) -> String {
    master(port).map_or("is in none".to_string(), |bridge| format!("is in {bridge}"))
}

/// Whether containers can be kept from sending in others' names.
pub(super) fn isolation(subject: &Subject<'_>) -> Finding {
    match subject.network.check_isolation() {
        Ok(()) => ok(format_args!("containers send in their own name only")),
        Err(error) => told(WARNING, &error.message),
    }
}

/// Whether containers can be kept from networks, and from which, and be held to a rate.
pub(super) fn reach(subject: &Subject<'_>) -> Finding {
    let networks = subject.network.own_networks();
    match subject.network.check_isolation() {
        Ok(()) if networks.is_empty() => warning(
            format_args!("the box has no address in any network: `reach` keeps containers from none"),
            format_args!("give its bridge an address"),
        ),
        Ok(()) => {
            ok(format_args!("`reach` and `rate` can be set; the box's own networks: {}", some_of(&networks)))
        }
        Err(_) => warning(
            format_args!("`reach`, `rate` and `connections` hold no container: there is no isolation"),
            format_args!("see isolation"),
        ),
    }
}

/// The first of many.
fn some_of(networks: &[String]) -> String {
    let shown = networks.get(..NETWORKS_SHOWN).unwrap_or(networks).join(", ");
    match networks.len().checked_sub(NETWORKS_SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// avahi-daemon, and who else answers for the box on port 5353.
pub(super) fn avahi(subject: &Subject<'_>) -> Finding {
    let state = subject.avahi.state();
    let umdns = match runs("umdns") {
        Ok(runs) => runs,
        Err(error) => return unseen(&error),
    };
    if umdns {
        return warning(
                format_args!("umdns and avahi-daemon both want port 5353: what is announced may not be seen"),
            format_args!(
                "keep avahi-daemon: `/etc/init.d/umdns stop; /etc/init.d/umdns disable`, or `opkg remove umdns`"
            ),
        );
    }
    if let Some(trouble) = subject.avahi.hosts_trouble() {
        return told(WARNING, &trouble);
    }
    told(if state == State::Running { OK } else { WARNING }, state.message())
}

/// Whether a program called `name` runs.
fn runs(name: &str) -> Result<bool> {
    let processes = entries(Path::new("/proc"))?;
    // One that has ended meanwhile runs no more.
    let is_it = |pid: &String| {
        text_of(&Path::new("/proc").join(pid).join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    Ok(processes.iter().filter(|pid| pid.starts_with(|c: char| c.is_ascii_digit())).any(is_it))
}
