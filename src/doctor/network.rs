//! The bridge, and who announces what is here.

use super::{error, note, ok, told, unseen, warning, Finding, Subject, ERROR, OK, WARNING};
use crate::error::Result;
use crate::model::address::Address;
use crate::model::name::Name;
use crate::model::plan::Link;
use crate::model::spec::Spec;
use crate::steps::avahi::{Spoken, State};
use crate::steps::filesystem::entries;
use crate::steps::network::{is_younger, master, stray, Bridge, Port};
use crate::steps::process::Process;
use crate::steps::tool::Tool;
use std::path::Path;

/// Most networks that are named: a line is read at one glance.
const NETWORKS_SHOWN: usize = 6;

/// The bridge of new containers, and those of the containers that run.
pub(super) fn bridges(subject: &Subject<'_>) -> Vec<Finding> {
    bridges_of(subject).into_iter().map(|name| bridge(subject, name)).collect()
}

pub(super) fn bridges_of<'a>(subject: &Subject<'a>) -> Vec<&'a str> {
    let mut names = vec![subject.known.settings.defaults.bridge.as_str()];
    for (_, port) in &subject.known.ports {
        if !names.contains(&port.bridge.as_str()) {
            names.push(&port.bridge);
        }
    }
    names
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
pub(super) fn avahi(subject: &Subject<'_>) -> Vec<Finding> {
    let state = subject.avahi.state();
    let mut findings = vec![match subject.avahi.hosts_trouble() {
        Some(trouble) if state == State::Running => told(WARNING, &trouble),
        _ => told(if state == State::Running { OK } else { WARNING }, state.message()),
    }];
    let spoken = judge_spoken(&subject.avahi.spoken_on(), &bridges_of(subject));
    if state == State::Running && spoken.state != OK {
        findings.push(spoken);
    }
    match runs("umdns") {
        Ok(true) => findings.push(beside_umdns(state, Tool::find("apk").is_ok())),
        Ok(false) => {}
        Err(error) => findings.push(unseen(&error)),
    }
    findings
}

/// Whether avahi-daemon speaks where containers are, and nowhere else.
pub(super) fn judge_spoken(spoken: &Spoken, bridges: &[&str]) -> Finding {
    let silent: Vec<&str> = bridges.iter().filter(|bridge| !spoken.includes(bridge)).copied().collect();
    let cure = "of section [server] in /etc/avahi/avahi-daemon.conf, then restart avahi-daemon; on OpenWrt \
                `/etc/init.d/cloudbox reload` does both, unless you have named interfaces there yourself";
    if !silent.is_empty() {
        let silent = silent.join(", ");
        return warning(
            format_args!(
                "avahi-daemon does not speak on {silent}: what its containers offer is not announced there"
            ),
            format_args!("add {silent} to `allow-interfaces` {cure}"),
        );
    }
    match spoken {
        Spoken::Only(interfaces) => {
            ok(format_args!("what containers offer is announced on {}", interfaces.join(", ")))
        }
        Spoken::AllBut(interfaces) => {
            ok(format_args!("what containers offer is announced everywhere but on {}", interfaces.join(", ")))
        }
        Spoken::All => warning(
            format_args!(
                "what containers offer is announced on every interface, a router's way to the internet too"
            ),
            format_args!("`allow-interfaces={}` as a line {cure}", bridges.join(",")),
        ),
    }
}

/// What it means that umdns runs, too; `apk` is how packages are removed here.
fn beside_umdns(avahi: State, apk: bool) -> Finding {
    let remove = if apk { "apk del umdns" } else { "opkg remove umdns" };
    let what = match avahi {
        State::Running => "umdns and avahi-daemon both want port 5353: what is announced may not be seen",
        _ => "umdns runs: it announces nothing of cloudbox's, and wants the same port 5353 as avahi-daemon",
    };
    warning(
        format_args!("{what}"),
        format_args!("keep avahi-daemon: `/etc/init.d/umdns stop; /etc/init.d/umdns disable`, or `{remove}`"),
    )
}

/// Whether a program called `name` runs on the box; what runs in a container is not the box's.
pub(super) fn runs(name: &str) -> Result<bool> {
    let processes = entries(Path::new("/proc"))?;
    let own = processes.iter().filter_map(|pid| Process::own(pid.parse().ok()?));
    Ok(own.into_iter().any(|process| process.name().trim_end() == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn where_avahi_speaks_is_judged() {
        let on = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (spoken, bridges, state, words) in [
            (Spoken::Only(on(&["br-lan"])), &["br-lan"][..], OK, ""),
            (Spoken::AllBut(on(&["wan"])), &["br-lan"], OK, ""),
            (Spoken::All, &["br-lan", "br-x"], WARNING, "allow-interfaces=br-lan,br-x"),
            (Spoken::Only(on(&["br-lan"])), &["br-lan", "br-x"], WARNING, "does not speak on br-x"),
            (Spoken::AllBut(on(&["br-lan"])), &["br-lan"], WARNING, "does not speak on br-lan"),
        ] {
            let found = judge_spoken(&spoken, bridges);
            assert_eq!(found.state, state, "{spoken:?}");
            assert!(format!("{}; {}", found.message, found.remedy).contains(words), "{found:?}");
        }
    }

    #[test]
    fn umdns_is_told_of_with_avahi_and_without() {
        for (avahi, apk, words) in [
            (State::Running, false, ["both want port 5353", "`opkg remove umdns`"]),
            (State::Running, true, ["both want port 5353", "`apk del umdns`"]),
            (State::Stopped, true, ["umdns runs", "`apk del umdns`"]),
        ] {
            let found = beside_umdns(avahi, apk);
            assert_eq!(found.state, WARNING);
            let said = format!("{}; {}", found.message, found.remedy);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_a_guest_runs_is_not_the_boxs() {
        let dir = crate::testing::TempDir::make();
        let program = dir.path().join("cb-not-umdns");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let name = "cb-not-umdns";
        assert!(!runs(name).unwrap());
        let has_begun = |child: &std::process::Child| {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let pid = std::fs::read_to_string(children).unwrap_or_default();
            let of = |pid: &str| std::fs::read_to_string(format!("/proc/{}/comm", pid.trim()));
            [pid, child.id().to_string()].iter().any(|pid| of(pid).is_ok_and(|comm| comm.trim() == name))
        };
        for (command, is_own) in [(vec![], true), (vec!["unshare", "--pid", "--fork", "--kill-child"], false)]
        {
            if !is_own && !nix::unistd::geteuid().is_root() {
                println!("skipped: unshare --pid needs root");
                continue;
            }
            let line: Vec<_> = command
                .into_iter()
                .map(Into::into)
                .chain([program.clone().into_os_string(), "60".into()])
                .collect();
            let line: Vec<std::ffi::OsString> = line;
            let mut child = Command::new(&line[0]).args(&line[1..]).spawn().unwrap();
            while !has_begun(&child) {
                std::thread::yield_now();
            }
            assert_eq!(runs(name).unwrap(), is_own);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
