//! `cloudbox daemon`: the one command that is no client.

use crate::daemon::{self, Options};
use crate::doctor::Paths;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args, Default)]
pub struct Daemon {
    #[arg(short, long, help = "log to standard error instead of syslog")]
    foreground: bool,
    #[arg(short, long, help = "log more")]
    verbose: bool,
    #[arg(long, value_name = "DIRECTORY", help = "UCI's files, instead of /etc/config")]
    config_dir: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "images and containers, instead of what UCI says")]
    storage: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "what lasts until a reboot, instead of /var/run/cloudbox")]
    run_dir: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "avahi-daemon's files, instead of /etc/avahi")]
    avahi: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "its pid file's, instead of /var/run/avahi-daemon")]
    avahi_run: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "dnsmasq's files of host names, instead of /tmp/hosts")]
    hosts: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "its pid files', instead of /var/run/dnsmasq")]
    dnsmasq_run: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "its leases, instead of /tmp/dhcp.leases")]
    leases: Option<PathBuf>,
    #[arg(long, value_name = "DIRECTORY", help = "your scripts, instead of /etc/hotplug.d/cloudbox")]
    hotplug: Option<PathBuf>,
}

impl Daemon {
    /// Runs the daemon on the bus at `socket` until it is told to end.
    pub fn run(self, socket: PathBuf) -> ExitCode {
        daemon::run(self.options(socket, &|name| std::env::var_os(name)))
    }

    /// An option goes before what the environment says, and that before the usual.
    fn options(self, socket: PathBuf, environment: &dyn Fn(&str) -> Option<OsString>) -> Options {
        let said = |option: Option<PathBuf>, variable: &str| {
            let environment = || environment(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
            option.or_else(environment)
        };
        let path = |option, variable, usual: &str| said(option, variable).unwrap_or_else(|| usual.into());
        Options {
            socket,
            config_dir: path(self.config_dir, "CLOUDBOX_CONFIG_DIR", "/etc/config"),
            storage: said(self.storage, "CLOUDBOX_STORAGE"),
            run_dir: path(self.run_dir, "CLOUDBOX_RUN_DIR", "/var/run/cloudbox"),
            avahi: path(self.avahi, "CLOUDBOX_AVAHI", "/etc/avahi"),
            avahi_run: path(self.avahi_run, "CLOUDBOX_AVAHI_RUN", "/var/run/avahi-daemon"),
            hosts: path(self.hosts, "CLOUDBOX_HOSTS", "/tmp/hosts"),
            dnsmasq_run: path(self.dnsmasq_run, "CLOUDBOX_DNSMASQ_RUN", "/var/run/dnsmasq"),
            leases: path(self.leases, "CLOUDBOX_LEASES", "/tmp/dhcp.leases"),
            hotplug: path(self.hotplug, "CLOUDBOX_HOTPLUG", crate::steps::hotplug::DIRECTORY),
            foreground: self.foreground,
            verbose: self.verbose,
        }
    }
}

/// Where a daemon without options has its files.
pub fn usual_paths() -> Paths {
    let environment = |name: &str| std::env::var_os(name);
    let Options { config_dir, storage, run_dir, avahi, avahi_run, .. } =
        Daemon::default().options(PathBuf::new(), &environment);
    Paths { config_dir, storage, run_dir, avahi, avahi_run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        daemon: Daemon,
    }

    fn options_of(words: &[&str], environment: &[(&str, &str)]) -> Options {
        let Line { daemon } = Line::try_parse_from([&["daemon"], words].concat()).unwrap();
        daemon.options("/s".into(), &|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_usual() {
        let usual = options_of(&[], &[("CLOUDBOX_STORAGE", "")]);
        assert_eq!(usual.config_dir, PathBuf::from("/etc/config"));
        assert_eq!((usual.storage, usual.run_dir), (None, PathBuf::from("/var/run/cloudbox")));
        assert!(!usual.foreground && !usual.verbose);

        let environment =
            [("CLOUDBOX_CONFIG_DIR", "/c"), ("CLOUDBOX_STORAGE", "/st"), ("CLOUDBOX_RUN_DIR", "/r")];
        let moved = options_of(&["-fv", "--run-dir=/rr"], &environment);
        assert_eq!((moved.config_dir, moved.run_dir), (PathBuf::from("/c"), PathBuf::from("/rr")));
        assert_eq!(moved.storage, Some(PathBuf::from("/st")));
        assert!(moved.foreground && moved.verbose);
    }
}
