//! `doctor`: what the box needs, what it lacks, and the command that cures it. It works with a daemon and without.
//!
//! A check is a function in one of the files here and a row of [`CHECKS`], or of [`SECURITY`].

mod commons;
mod config;
mod containers;
mod kernel;
mod network;
mod security;
mod shared;
mod storage;
mod tools;
mod without_daemon;

pub use containers::{failed, orphan, trouble, unreadable};
pub use without_daemon::{examine_without_daemon, Paths};

use crate::api::replies::{Check, DoctorReply};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::commons::Broker;
use crate::model::config::Settings;
use crate::model::name::Name;
use crate::model::spec::Spec;
use crate::steps::avahi::Avahi;
use crate::steps::filesystem;
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::steps::network::{Network, Port};
use crate::steps::storage::Storage;
use log::{error, warn};
use std::fmt::{self, Arguments};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// All checks, in the order in which they are shown: what each is called, and what does it.
const CHECKS: &[(&str, Examine)] = &[
    ("daemon", Examine::Many(config::daemon)),
    ("descriptors", Examine::Many(kernel::descriptors)),
    ("lxc", Examine::One(tools::lxc)),
    ("lxc.conf", Examine::Many(tools::lxc_conf)),
    ("namespaces", Examine::One(kernel::namespaces)),
    ("seccomp", Examine::One(kernel::seccomp)),
    ("overlay", Examine::One(kernel::overlay)),
    ("squashfs", Examine::One(kernel::squashfs)),
    ("loop devices", Examine::One(kernel::loop_devices)),
    ("veth", Examine::One(kernel::veth)),
    ("cgroups", Examine::One(kernel::cgroups)),
    ("bridge", Examine::Many(network::bridges)),
    ("ports", Examine::Many(network::ports)),
    ("addresses", Examine::Many(network::addresses)),
    ("isolation", Examine::One(network::isolation)),
    ("reach", Examine::One(network::reach)),
    ("storage", Examine::One(storage::storage)),
    ("layers", Examine::One(storage::layers)),
    ("user ids", Examine::One(kernel::user_ids)),
    ("clock", Examine::One(config::clock)),
    ("leftovers", Examine::One(storage::leftovers)),
    ("avahi", Examine::Many(network::avahi)),
    ("commons", Examine::Many(commons::commons)),
    ("inotify", Examine::One(kernel::inotify)),
    ("terminals", Examine::One(shared::terminals)),
    ("neighbours", Examine::One(shared::neighbours)),
    ("aio", Examine::One(shared::aio)),
    ("swap", Examine::Many(kernel::swap)),
    ("image tools", Examine::One(tools::image_tools)),
    ("images", Examine::One(storage::images)),
    ("disk quota", Examine::Many(tools::disk_quota)),
    ("ext4", Examine::Many(kernel::ext4)),
    ("container", Examine::Many(containers::containers)),
    ("configuration", Examine::Many(config::configuration)),
];

/// What `doctor --security` looks at instead: the promises of docs/security.md, and what each needs of the box.
const SECURITY: &[(&str, Examine)] = &[
    ("daemon", Examine::Many(config::daemon)),
    ("kernel", Examine::One(security::kernel)),
    ("namespaces", Examine::One(kernel::namespaces)),
    ("user ids", Examine::One(security::user_ids)),
    ("cgroups", Examine::One(security::cgroups)),
    ("swap", Examine::One(security::swap)),
    ("disk weight", Examine::One(security::disk_weight)),
    ("seccomp", Examine::One(kernel::seccomp)),
    ("apparmor", Examine::One(security::apparmor)),
    ("isolation", Examine::One(network::isolation)),
    ("reach", Examine::One(network::reach)),
    ("core dumps", Examine::One(security::core_dumps)),
    ("inotify", Examine::One(kernel::inotify)),
    ("terminals", Examine::One(shared::terminals)),
    ("neighbours", Examine::One(shared::neighbours)),
    ("aio", Examine::One(shared::aio)),
    ("helpers", Examine::One(security::helpers)),
    ("owner's files", Examine::Many(security::owners_files)),
    ("remotes", Examine::One(security::remotes)),
    ("avahi", Examine::One(security::avahi)),
    ("clock", Examine::One(config::clock)),
    ("containers", Examine::Many(security::guests)),
];

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// What the box needs.
    Needs,
    /// What of the promises about security holds.
    Security,
}

impl About {
    fn checks(self) -> &'static [(&'static str, Examine)] {
        match self {
            About::Needs => CHECKS,
            About::Security => SECURITY,
        }
    }
}

/// How a check is done.
enum Examine {
    /// It always finds one thing.
    One(fn(&Subject<'_>) -> Finding),
    /// It finds as many as there are, or none: it may not matter here.
    Many(fn(&Subject<'_>) -> Vec<Finding>),
}

/// The state of a check, from good to bad.
const OK: &str = "ok";
/// Worth knowing, and nothing to be done: it makes the whole no worse.
const NOTE: &str = "note";
const WARNING: &str = "warning";
const ERROR: &str = "error";

/// What a check found.
#[derive(Debug, Clone)]
pub struct Finding {
    state: &'static str,
    message: String,
    remedy: String,
}

/// What is known of the box before it is examined: the daemon takes it from its model, the command without a daemon
/// from the files.
pub struct Examination {
    /// Where everything lies.
    pub layout: Layout,
    /// The directory of the configuration files.
    pub config_dir: PathBuf,
    /// Section `main`.
    pub settings: Settings,
    /// The control groups; None when they were not looked at.
    pub cgroups: Option<Cgroups>,
    /// What is wrong with the configuration.
    pub config_warnings: Vec<String>,
    /// How many images there are.
    pub images: Result<usize>,
    /// The containers, and what each is like.
    pub guests: Vec<(Name, Spec)>,
    /// Servers of images whose lists need not be signed.
    pub unsigned_remotes: Vec<String>,
    /// Who carries what the commons says.
    pub brokers: Vec<Broker>,
    /// The ports of those that run.
    pub ports: Vec<(Name, Port)>,
    /// What is wrong with containers: [`failed`], [`unreadable`], [`orphan`].
    pub container_findings: Vec<Finding>,
    /// Names under which something is just being made or removed.
    pub busy: Vec<String>,
    /// Why there is no daemon to ask, and what to do; None when the daemon itself examines.
    pub no_daemon: Option<String>,
}

/// What checks are given.
struct Subject<'a> {
    known: &'a Examination,
    storage: &'a dyn Storage,
    network: &'a dyn Network,
    avahi: &'a dyn Avahi,
}

/// Examines the box.
pub fn examine(machine: &Machine, known: &Examination, about: About) -> DoctorReply {
    let (storage, network, avahi) = (&*machine.storage, &*machine.network, &*machine.avahi);
    carry_out(&Subject { known, storage, network, avahi }, about)
}

fn carry_out(subject: &Subject<'_>, about: About) -> DoctorReply {
    let mut checks = Vec::new();
    for (name, examine) in about.checks() {
        let findings = match examine {
            Examine::One(check) => vec![check(subject)],
            Examine::Many(check) => check(subject),
        };
        let named = |Finding { state, message, remedy }| Check { name, state, message, remedy };
        checks.extend(findings.into_iter().map(named));
    }
    let worst = [ERROR, WARNING].into_iter().find(|state| checks.iter().any(|c| c.state == *state));
    DoctorReply { state: worst.unwrap_or(OK), checks }
}

/// Says in the log what is not as it should be.
pub fn report(machine: &Machine, known: &Examination) {
    for Check { name, state, message, remedy } in examine(machine, known, About::Needs).checks {
        match state {
            // The configuration's own warnings are in the log already, and avahi-daemon is started after this one.
            _ if matches!(name, "configuration" | "container" | "avahi") => {}
            OK | NOTE => {}
            ERROR => error!("{name}: {message}; {remedy}"),
            _ => warn!("{name}: {message}; {remedy}"),
        }
    }
}

fn ok(message: Arguments) -> Finding {
    Finding { state: OK, message: fmt::format(message), remedy: String::new() }
}

fn note(message: Arguments) -> Finding {
    Finding { state: NOTE, ..ok(message) }
}

fn warning(message: Arguments, remedy: Arguments) -> Finding {
    Finding { state: WARNING, message: fmt::format(message), remedy: fmt::format(remedy) }
}

fn error(message: Arguments, remedy: Arguments) -> Finding {
    Finding { state: ERROR, ..warning(message, remedy) }
}

/// "mksquashfs is not installed; install …": the first is what was found, the rest is the remedy.
fn told(state: &'static str, text: &str) -> Finding {
    let (what, remedy) = text.split_once("; ").unwrap_or((text, ""));
    Finding { state, message: what.to_string(), remedy: remedy.to_string() }
}

/// What a file of the kernel's says; nothing where there is none.
///
/// # Errors
/// It cannot be read, which is no word about what it would say.
fn text_of(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("cannot read", path, e)),
        read => Ok(read.unwrap_or_default()),
    }
}

/// What was found, or that it could not be looked at.
fn seen(found: Result<Finding>) -> Finding {
    found.unwrap_or_else(|error| unseen(&error))
}

/// Something could not be looked at: it is not said to be missing.
fn unseen(why: &Error) -> Finding {
    if is_out_of_descriptors(why) {
        return error(
            format_args!("it could not be looked at: there is no file descriptor left"),
            format_args!("see what stands at `descriptors`"),
        );
    }
    warning(format_args!("it could not be looked at: {}", why.message), format_args!("try as root, or again"))
}

/// Whether an error came from a want of file descriptors.
fn is_out_of_descriptors(why: &Error) -> bool {
    let source = std::error::Error::source(why).and_then(|source| source.downcast_ref());
    source.is_some_and(filesystem::is_out_of_descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_not_missing() {
        assert_eq!(text_of(Path::new("/proc/no-such-file")).unwrap(), "");
        assert_eq!(seen(text_of(Path::new("/proc/self")).map(|_| ok(format_args!("x")))).state, WARNING);
        for errno in [libc::EMFILE, libc::ENFILE] {
            let error =
                Error::io("cannot read", Path::new("/proc/filesystems"), io::Error::from_raw_os_error(errno));
            let found = seen(Err(error));
            assert!(found.message.contains("no file descriptor left"), "{found:?}");
        }
    }

    #[test]
    fn what_is_wrong_and_what_cures_it_are_told_apart() {
        let found = told(ERROR, "xz is not installed; install the package xz; or another");
        assert_eq!(
            (found.message.as_str(), found.remedy.as_str()),
            ("xz is not installed", "install the package xz; or another")
        );
    }
}
