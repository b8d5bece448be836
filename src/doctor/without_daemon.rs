//! The examination without a daemon: from the configuration file and the storage directory alone. It leaves nothing
//! behind.

use super::{carry_out, containers, About, Examination, Finding, Subject};
use crate::api::replies::DoctorReply;
use crate::error::{Code, Error};
use crate::model::config::{self, Config, Settings};
use crate::model::life;
use crate::model::name::Name;
use crate::model::size::Bytes;
use crate::steps::avahi::Files;
use crate::steps::config::{ConfigStore, UciFile};
use crate::steps::image::{Images, Store};
use crate::steps::layout::Layout;
use crate::steps::lxc::cgroup::Cgroups;
use crate::steps::network::{Host, Port};
use crate::steps::storage::{Disk, Found, Storage};
use std::fs;
use std::path::PathBuf;

/// Where a daemon would look.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The directory with the file `cloudbox`, `/etc/config` on a box.
    pub config_dir: PathBuf,
    /// The storage directory, instead of the one UCI names.
    pub storage: Option<PathBuf>,
    /// The runtime directory, `/var/run/cloudbox` on a box.
    pub run_dir: PathBuf,
    /// avahi-daemon's configuration, `/etc/avahi` on a box.
    pub avahi: PathBuf,
    /// Where its pid file is, `/var/run/avahi-daemon` on a box.
    pub avahi_run: PathBuf,
}

/// Examines the box when no daemon can be asked; `why` says so, and behind "; " what to do.
pub fn examine_without_daemon(paths: Paths, why: String, about: About) -> DoctorReply {
    let files = UciFile::new(paths.config_dir.clone());
    let loaded = files.load().and_then(|main| Ok((main, files.load_host()?)));
    let readable = loaded.is_ok();
    let (config, config_error) = match loaded {
        Ok((main, host)) => (config::read(&main, &host, &Settings::default()), None),
        Err(error) => (Config::default(), Some(error.message.to_string())),
    };
    let storage = paths.storage.unwrap_or_else(|| config.settings.storage.clone());
    let layout = Layout { storage, run: paths.run_dir };
    let images = Store::new(&layout.storage, &layout.run, Bytes(config.settings.disk_reserve));
    let disk = Disk::at(layout.clone());
    let scanned = if layout.containers().exists() { disk.scan() } else { Ok(Vec::new()) };
    let mut known = Examination {
        settings: config.settings.clone(),
        cgroups: Cgroups::detect(&layout.cgroup()).ok(),
        config_warnings: config.warnings.iter().map(ToString::to_string).chain(config_error).collect(),
        images: images.list().map(|images| images.len()),
        guests: Vec::new(),
        unsigned_remotes: config.unsigned_remotes(),
        brokers: config.brokers.clone(),
        ports: Vec::new(),
        container_findings: Vec::new(),
        busy: Vec::new(),
        no_daemon: Some(why),
        layout,
        config_dir: paths.config_dir,
    };
    match scanned {
        Ok(found) => {
            known.guests =
                found.iter().filter_map(Found::record).map(|r| (r.name.clone(), r.spec.clone())).collect();
            known.ports = ports(&found, &known);
            known.container_findings = look_at_containers(&found, &known, readable.then_some(&config));
        }
        Err(error) => known.container_findings.push(containers::unreadable(&error)),
    }
    let avahi = Files::new(paths.avahi, paths.avahi_run);
    carry_out(&Subject { known: &known, storage: &disk, network: &Host::default(), avahi: &avahi }, about)
}

/// The ports of those that run.
fn ports(found: &[Found], known: &Examination) -> Vec<(Name, Port)> {
    let runs =
        |name: &Name| known.cgroups.as_ref().is_some_and(|cgroups| !cgroups.processes(name).is_empty());
    let running = found.iter().filter_map(|found| match found {
        Found::Container(record) if runs(&record.name) => Some((record.name.clone(), Port::of(record))),
        _ => None,
    });
    running.collect()
}

/// What is wrong with the containers that are there; without a `config` nothing is known of their sections.
fn look_at_containers(found: &[Found], known: &Examination, config: Option<&Config>) -> Vec<Finding> {
    let lives = fs::read_to_string(known.layout.lives()).unwrap_or_default();
    let mut findings = Vec::new();
    for found in found {
        let name = match found {
            Found::Container(record) => &record.name,
            Found::Unreadable(_, error) => {
                findings.push(containers::unreadable(error));
                continue;
            }
        };
        let runs = known.cgroups.as_ref().is_some_and(|cgroups| !cgroups.processes(name).is_empty());
        if let Some(exit) = life::find(&lives, name).exit.filter(|exit| !runs && exit.reason.is_failure()) {
            findings.push(containers::failed(name, &Error::new(Code::Failed, exit.sentence())));
        }
        if config.is_some_and(|config| !config.containers.contains_key(name)) {
            findings.push(containers::orphan(name));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, TempDir};

    #[test]
    fn the_files_alone_say_much() {
        let dir = TempDir::make();
        let path = |name: &str| dir.path().join(name);
        let container = |name: &str, record: &str| {
            fs::create_dir_all(path("storage/containers").join(name)).unwrap();
            fs::write(path("storage/containers").join(name).join("record.json"), record).unwrap();
        };
        container("torn", "{");
        for name in ["lost", "web"] {
            container(name, &serde_json::to_string(&record(name)).unwrap());
        }
        fs::create_dir_all(path("run")).unwrap();
        fs::write(path("run/lives"), "web 1 1 0 crashed 100 256\nlost 0 0 0 poweroff 100 0\n").unwrap();
        fs::create_dir_all(path("etc")).unwrap();
        let text = "config cloudbox 'main'\n\toption memory 'x'\n\nconfig container 'web'\n";
        fs::write(path("etc/cloudbox"), text).unwrap();
        let paths = Paths {
            config_dir: path("etc"),
            storage: Some(path("storage")),
            run_dir: path("run"),
            avahi: path("avahi"),
            avahi_run: path("avahi-run"),
        };
        let reply = examine_without_daemon(paths, "nobody answers; start it".into(), About::Needs);
        assert_eq!(reply.state, "error");
        let of = |name: &str| {
            let of = reply.checks.iter().filter(|check| check.name == name);
            of.map(|check| (check.state, check.message.as_str(), check.remedy.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(of("daemon"), [("error", "nobody answers", "start it")]);
        let containers = of("container");
        assert!(containers.iter().any(|c| c.0 == "error" && c.1.contains("torn/record.json is damaged")));
        assert!(containers.iter().any(|c| c.0 == "warning" && c.1.starts_with("lost has no section")));
        assert!(containers.iter().any(|c| c.0 == "error" && c.1.starts_with("web: its init ")));
        assert_eq!(containers.len(), 3, "{containers:?}");
        assert!(of("configuration")[0].1.contains("option 'memory'"), "{:?}", of("configuration"));
        assert!(of("user ids")[0].1.starts_with("2 of "), "{:?}", of("user ids"));
        assert!(of("images")[0].1.contains("no image"), "{:?}", of("images"));
        let left: Vec<_> = fs::read_dir(path("storage")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["containers"]);
    }

    #[test]
    fn nothing_is_made_where_nothing_is() {
        let dir = TempDir::make();
        let path = |name: &str| dir.path().join(name);
        let paths = Paths {
            config_dir: path("etc"),
            storage: None,
            run_dir: path("run"),
            avahi: path("avahi"),
            avahi_run: path("avahi-run"),
        };
        let moved = Paths { storage: Some(path("storage")), ..paths };
        let reply = examine_without_daemon(moved, "x".into(), About::Needs);
        let layers = reply.checks.iter().find(|check| check.name == "layers").unwrap();
        assert_eq!(layers.state, "warning", "{layers:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
