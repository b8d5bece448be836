//! `cloudbox daemon`: the one command that is no client.

use super::args::Args;
use super::bus;
use cloudbox::daemon::Options;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the daemon.
pub fn run(args: &Args) -> ExitCode {
    cloudbox::daemon::run(options(args, &|name| std::env::var_os(name)))
}

fn options(args: &Args, environment: &dyn Fn(&str) -> Option<OsString>) -> Options {
    // `--run-dir`, or what the environment says as CLOUDBOX_RUN_DIR, or the usual.
    let path = |option: &str, usual: &str| {
        let variable = ["CLOUDBOX_", &option.to_ascii_uppercase().replace('-', "_")].concat();
        match (args.value(option), environment(&variable)) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(path)) if !path.is_empty() => PathBuf::from(path),
            _ => PathBuf::from(usual),
        }
    };
    let storage = path("storage", "");
    Options {
        socket: bus::socket(args),
        config_dir: path("config-dir", "/etc/config"),
        storage: Some(storage).filter(|path| !path.as_os_str().is_empty()),
        run_dir: path("run-dir", "/var/run/cloudbox"),
        avahi: path("avahi", "/etc/avahi"),
        avahi_run: path("avahi-run", "/var/run/avahi-daemon"),
        foreground: args.flag("foreground"),
        verbose: args.flag("verbose"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{parse_line, Parsed};

    fn options_of(words: &[&str], environment: &[(&str, &str)]) -> Options {
        let Ok(Parsed::Run(args)) = parse_line(words) else { panic!("{words:?}") };
        options(&args, &|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_usual() {
        let usual = options_of(&["daemon", "-s", "/s"], &[("CLOUDBOX_STORAGE", "")]);
        assert_eq!(usual.config_dir, PathBuf::from("/etc/config"));
        assert_eq!((usual.storage, usual.run_dir), (None, PathBuf::from("/var/run/cloudbox")));
        assert!(!usual.foreground && !usual.verbose && usual.socket.ends_with("s"));

        let environment =
            [("CLOUDBOX_CONFIG_DIR", "/c"), ("CLOUDBOX_STORAGE", "/st"), ("CLOUDBOX_RUN_DIR", "/r")];
        let moved = options_of(&["daemon", "-fv", "--run-dir=/rr"], &environment);
        assert_eq!((moved.config_dir, moved.run_dir), (PathBuf::from("/c"), PathBuf::from("/rr")));
        assert_eq!(moved.storage, Some(PathBuf::from("/st")));
        assert!(moved.foreground && moved.verbose);
    }
}
