//! The bridge, and who announces what is here.

use super::{ok, text_of, told, warning, Finding, Subject, ERROR, OK, WARNING};
use crate::steps::avahi::State;
use std::fs;

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
