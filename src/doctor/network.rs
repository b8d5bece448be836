//! The bridge, and who announces what is here.

use super::{ok, text_of, told, warning, Finding, Subject, ERROR, OK, WARNING};
use crate::steps::avahi::State;
use std::fs;

/// Most networks that are named: a line is read at one glance.
const NETWORKS_SHOWN: usize = 6;

pub(super) fn bridge(subject: &Subject<'_>) -> Finding {
    let name = &subject.known.settings.defaults.bridge;
    match subject.network.check_bridge(name) {
        Ok(()) => ok(format_args!("{name} is there")),
        Err(error) => told(ERROR, &error.message),
    }
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
    if runs("umdns") {
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
fn runs(name: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| text_of(&process.path().join("comm")).trim_end() == name)
}
