//! Bridges, as the kernel's files tell them.

use crate::error::errno_text;
use crate::model::address::{is_veth, parse_mac};
use crate::netlink;
use log::{info, warn};
use std::fs;
use std::path::{Path, PathBuf};

/// `addr_assign_type` of an address that somebody has set. Another one is the kernel's choice: the lowest address of the
/// bridge's ports.
const SET: &str = "3";

fn interface(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

/// A short file of interface `name`; empty where there is none.
fn read(name: &str, file: &str) -> String {
    fs::read_to_string(interface(name).join(file)).unwrap_or_default().trim().to_string()
}

/// Whether there is a bridge called `name`.
pub(super) fn is_there(name: &str) -> bool {
    interface(name).join("bridge").is_dir()
}

/// The bridge whose port `port` is.
pub fn master(port: &str) -> Option<String> {
    let link = fs::read_link(interface(port).join("master")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// What is worth telling of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridge {
    /// It is up.
    pub up: bool,
    /// Its hardware address changes with the containers that come and go.
    pub follows_guests: bool,
    /// It sorts by VLAN, and a new port is in none.
    pub hides_new_ports: bool,
}

impl Bridge {
    /// The bridge called `name`, as it is now.
    pub fn look(name: &str) -> Bridge {
        let flags = u32::from_str_radix(read(name, "flags").trim_start_matches("0x"), 16).unwrap_or(0);
        let (own, others) = ports(name);
        let filters = read(name, "bridge/vlan_filtering") == "1" && read(name, "bridge/default_pvid") == "0";
        Bridge {
            up: flags & libc::IFF_UP as u32 != 0,
            follows_guests: own > 0 && others == 0 && !has_own_address(name),
            hides_new_ports: filters,
        }
    }
}

/// Whether the bridge called `bridge` was made after the port called `port`: that has lost its bridge then, once at least.
pub fn is_younger(bridge: &str, port: &str) -> bool {
    let number = |name: &str| read(name, "ifindex").parse::<u32>();
    matches!((number(bridge), number(port)), (Ok(bridge), Ok(port)) if bridge > port)
}

fn has_own_address(bridge: &str) -> bool {
    read(bridge, "addr_assign_type") == SET
}

/// How many of the bridge's ports are containers', and how many are not.
fn ports(bridge: &str) -> (usize, usize) {
    let entries = fs::read_dir(interface(bridge).join("brif")).into_iter().flatten().flatten();
    let (own, others): (Vec<bool>, Vec<bool>) =
        entries.map(|entry| entry.file_name().to_str().is_some_and(is_veth)).partition(|is_own| *is_own);
    (own.len(), others.len())
}

/// Sees to it that the bridge keeps its hardware address. Where only containers are its ports, the kernel gives it the lowest
/// of theirs, and another one when that container stops: its neighbours then send into the void for half a minute. One
/// that has another port, such as the box's own, or an address that somebody has set, is left alone.
pub(super) fn keep_address(bridge: &str) {
    if !is_there(bridge) || has_own_address(bridge) || ports(bridge).1 > 0 {
        return;
    }
    let text = read(bridge, "address");
    let Some(address) = parse_mac(&text) else { return };
    match netlink::set_hardware_address(bridge, address) {
        Ok(()) => info!("the bridge {bridge} keeps the hardware address {text}, whatever its ports have"),
        Err(e) => warn!("the bridge {bridge} does not keep its hardware address: {}", errno_text(e)),
    }
}

/// Frames to a bridge itself, such as those of spanning tree, pass no rules. So the bridge shall learn nothing from them,
/// and hear no spanning tree from a container: its port is closed then. Not every kernel has both.
pub(super) fn guard(bridge: &str, port: &str) {
    let switches =
        [interface(bridge).join("bridge/no_linklocal_learn"), interface(port).join("brport/bpdu_guard")];
    for switch in switches {
        if fs::read_to_string(&switch).is_ok_and(|is| is.trim() == "0") {
            let _ = fs::write(&switch, "1");
        }
    }
}
