//! What the box's daemon tells: the configuration, containers, jobs. Replies are read leniently, as a client does: what a later
//! version adds is passed over.

use super::links::Address;
use crate::commons::formats::{Class, Mode};
use crate::commons::interface::{Container, ContainerState, Fault, Peer, Room, Settings};
use crate::commons::label::{Kind, Label};
use crate::commons::processors::kind;
use crate::error::{Code, Error, Result};
use crate::model::size::Cpus;
use crate::usign::PublicKey;
use serde::Deserialize;

/// `cloudbox.config commons`
#[derive(Debug, Deserialize)]
pub struct Config {
    network: String,
    zone: String,
    state: String,
    notice: u64,
    show_accepts: bool,
    arch: String,
    room: FreeRoom,
    #[serde(default)]
    brokers: Vec<Broker>,
    #[serde(default)]
    peers: Vec<ToldPeer>,
    #[serde(default)]
    denied: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct FreeRoom {
    memory: u64,
    disk: u64,
}

#[derive(Debug, Deserialize)]
struct Broker {
    host: String,
    port: u16,
    #[serde(default)]
    user: String,
    password: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ToldPeer {
    name: String,
    key: String,
    grants: Option<Grants>,
    held: Held,
}

#[derive(Debug, Deserialize)]
struct Grants {
    memory: u64,
    disk: u64,
    cpus: String,
    containers: u64,
    #[serde(default)]
    images: Vec<String>,
    delegate: bool,
    delegate_share: u64,
    publish: bool,
}

#[derive(Debug, Deserialize)]
struct Held {
    memory: u64,
    disk: u64,
    cpus: String,
    containers: u64,
}

/// What the box says of itself beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct OfBox {
    /// What it is called.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Its owner's certificate.
    pub owner: Option<String>,
    /// Its key for what is sealed, the public half.
    pub seal: [u8; 32],
    /// Its processors, in thousandths.
    pub cpus: u64,
    /// It takes nothing new until it is told otherwise.
    pub paused: bool,
}

impl Config {
    /// With whom to speak; and what is wrong with passwords.
    pub fn brokers(&self) -> (Vec<Address>, Vec<String>) {
        let wrong = |broker: &Broker| {
            broker.error.as_ref().map(|why| format!("broker {}:{}: {why}", broker.host, broker.port))
        };
        let address = |broker: &Broker| Address {
            host: broker.host.clone(),
            port: broker.port,
            user: broker.user.clone(),
            password: broker.password.clone().unwrap_or_default(),
        };
        (self.brokers.iter().map(address).collect(), self.brokers.iter().filter_map(wrong).collect())
    }

    /// What the box has for others.
    pub fn room(&self, of_box: &OfBox) -> Room {
        Room { memory: self.room.memory, disk: self.room.disk, cpus: of_box.cpus }
    }

    /// What the core is to know.
    ///
    /// # Errors
    /// A name or a key is none that can be used.
    pub fn settings(&self, of_box: &OfBox) -> Result<Settings> {
        let words = &Mode::WORDS;
        let mode =
            words.iter().find(|(word, _)| *word == self.state).map_or(Mode::Failure, |(_, mode)| *mode);
        let key = |line: &String| PublicKey::parse(line);
        Ok(Settings {
            network: Label::new(Kind::Network, &self.network)?,
            zone: Label::new(Kind::Zone, &self.zone)?,
            name: of_box.name.chars().take(32).collect::<String>().into(),
            mode: if of_box.paused && mode == Mode::Production { Mode::Safe } else { mode },
            notice: self.notice,
            // Its own record is not kept yet: nobody is promised what was not counted.
            class: Class::Any,
            hours: None,
            show_accepts: self.show_accepts,
            arch: kind(&self.arch).into(),
            address: of_box.address.as_str().into(),
            owner: of_box.owner.as_deref().map(Box::from),
            seal: Some(of_box.seal),
            peers: self.peers.iter().map(ToldPeer::peer).collect::<Result<_>>()?,
            deny: self.denied.iter().map(key).collect::<Result<_>>()?,
        })
    }
}

impl ToldPeer {
    fn peer(&self) -> Result<Peer> {
        let (name, key) = (self.name.as_str().into(), PublicKey::parse(&self.key)?);
        let Some(grants) = &self.grants else {
            // Something is wrong in its section: it keeps what it has, and gets nothing new.
            let Held { memory, disk, containers, .. } = self.held;
            return Ok(Peer {
                name,
                key,
                memory,
                disk,
                cpus: thousandths(&self.held.cpus),
                containers,
                images: vec!["any".into()],
                delegate: false,
                share: 0,
                publish: true,
            });
        };
        Ok(Peer {
            name,
            key,
            memory: grants.memory,
            disk: grants.disk,
            cpus: thousandths(&grants.cpus),
            containers: grants.containers,
            images: grants.images.iter().map(|image| image.as_str().into()).collect(),
            delegate: grants.delegate,
            share: u8::try_from(grants.delegate_share.min(100)).unwrap_or(100),
            publish: grants.publish,
        })
    }
}

/// `0.5` in thousandths; what is no number of processors is none.
fn thousandths(text: &str) -> u64 {
    Cpus::parse("cpus", text).map_or(0, |cpus| cpus.milli().into())
}

/// `cloudbox.container list`
#[derive(Debug, Deserialize)]
pub struct List {
    /// Those that have a slice.
    #[serde(default)]
    pub containers: Vec<Listed>,
}

/// A container in a list.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
}

/// `cloudbox.container info`
#[derive(Debug, Deserialize)]
pub struct Info {
    name: String,
    state: String,
    #[serde(default)]
    slice: String,
    #[serde(default)]
    addresses: Vec<String>,
    image_sha256: Option<String>,
    asked: Option<Limits>,
    restart_in: Option<u64>,
    exit: Option<String>,
    error: Option<ToldError>,
}

#[derive(Debug, Deserialize)]
struct Limits {
    memory: Option<u64>,
    cpus: Option<String>,
    disk: Option<u64>,
}

/// An error in a reply.
#[derive(Debug, Clone, Deserialize)]
pub struct ToldError {
    /// For scripts.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl Info {
    /// The container as the core sees it.
    pub fn container(&self) -> Container {
        let limits = self.asked.as_ref();
        let state = match self.state.as_str() {
            "running" | "frozen" => ContainerState::Running,
            "creating" => ContainerState::Creating,
            "starting" | "restarting" => ContainerState::Starting,
            "stopping" | "deleting" => ContainerState::Stopping,
            "stopped" => ContainerState::Stopped,
            // It will be tried again.
            _ if self.restart_in.is_some() => ContainerState::Starting,
            _ => ContainerState::Failed,
        };
        let ended = self.exit.as_ref().map(|exit| Fault {
            code: Code::Failed,
            of_box: false,
            message: format!("its last run ended: {}", exit.replace('_', " ")).into(),
        });
        let address = self.addresses.first().map_or("", |address| address.split('/').next().unwrap_or(""));
        Container {
            name: self.name.as_str().into(),
            slice: self.slice.as_str().into(),
            state,
            image: self.image_sha256.as_deref().and_then(sha256),
            memory: limits.and_then(|limits| limits.memory).unwrap_or(0),
            disk: limits.and_then(|limits| limits.disk).unwrap_or(0),
            cpus: limits.and_then(|limits| limits.cpus.as_deref()).map_or(0, thousandths),
            address: address.into(),
            fault: self.error.as_ref().map(|error| error.fault(false)).or(ended),
        }
    }
}

fn sha256(text: &str) -> Option<crate::commons::fields::Hash> {
    crate::commons::fields::hash("sha256", &serde_json::Value::from(text)).ok()
}

/// A job, or its number alone.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// Its number where it was just begun.
    pub job: Option<String>,
    /// How it is, where it was asked for.
    pub state: Option<String>,
    /// Why it failed.
    pub error: Option<ToldError>,
}

impl ToldError {
    /// Whose fault it is. All of a pull is the box's: another box may reach another server.
    pub fn fault(&self, pulling: bool) -> Fault {
        let code = Code::from_text(&self.code);
        let guests =
            matches!(code, Code::Failed | Code::BadImage | Code::InvalidArgument | Code::InvalidName);
        Fault { code, of_box: pulling || !guests, message: self.message.as_str().into() }
    }
}

/// A fault that the daemon did not tell, because it is not there or does not answer.
pub fn unreachable(why: &str) -> Fault {
    Fault { code: Code::Failed, of_box: true, message: format!("the box's daemon: {why}").into() }
}

/// A fault found here, which is the slice's own.
pub fn of_slice(error: &Error) -> Fault {
    Fault { code: error.code, of_box: false, message: error.message.as_str().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commons::interface::ContainerState as State;

    fn info(json: &str) -> Container {
        serde_json::from_str::<Info>(json).unwrap().container()
    }

    #[test]
    fn a_container_is_what_info_says() {
        let container = info(
            r#"{"name":"wiki-web-ab12cd","state":"running","slice":"o6cgvbb4hsvzjf6g/wiki/web","addresses":["10.0.0.5/24","fd00::5/64"],
               "asked":{"memory":67108864,"cpus":"0.5","disk":1073741824,"pids":512},"later":true}"#,
        );
        assert_eq!((container.state, &*container.address), (State::Running, "10.0.0.5"));
        assert_eq!((container.memory, container.cpus, container.disk), (64 << 20, 500, 1 << 30));
        for (state, more, is) in [
            ("frozen", "", State::Running),
            ("creating", "", State::Creating),
            ("restarting", "", State::Starting),
            ("deleting", "", State::Stopping),
            ("stopped", "", State::Stopped),
            ("failed", "", State::Failed),
            ("failed", ",\"restart_in\":5", State::Starting),
            ("orphan", "", State::Failed),
        ] {
            let container = info(&format!("{{\"name\":\"a\",\"state\":\"{state}\"{more}}}"));
            assert_eq!(container.state, is, "{state}");
        }
    }

    #[test]
    fn a_full_disk_is_the_boxs_fault_and_a_bad_guest_its_own() {
        for (code, of_box) in [
            ("no_space", true),
            ("no_memory", true),
            ("quota", true),
            ("busy", true),
            ("not_found", true),
            ("failed", false),
            ("bad_image", false),
        ] {
            let error = ToldError { code: code.into(), message: "x".into() };
            assert_eq!(error.fault(false).of_box, of_box, "{code}");
            assert!(error.fault(true).of_box, "{code}");
        }
    }

    #[test]
    fn a_peer_with_a_wrong_section_keeps_what_it_has() {
        let key = PublicKey::parse(include_str!("../../tests/data/usign/key.pub")).unwrap().to_line();
        let config: Config = serde_json::from_str(&format!(
            r#"{{"enabled":true,"network":"guifi","zone":"osona","bridge":"br-x","state":"production","notice":86400,
               "show_hours":false,"show_accepts":true,"arch":"x86_64","room":{{"memory":1,"disk":2}},
               "brokers":[{{"name":"one","host":"10.0.0.1","port":1883,"user":"u","password":"p"}},
                          {{"name":"two","host":"10.0.0.2","port":1883,"user":"","error":"no such file"}}],
               "peers":[{{"name":"anna","id":"x","key":"{key}","contact":"","error":"memory",
                          "held":{{"memory":7,"disk":8,"cpus":"0.5","containers":1}}}}],"denied":[]}}"#
        ))
        .unwrap();
        let settings = config.settings(&OfBox::default()).unwrap();
        let anna = &settings.peers[0];
        assert_eq!((anna.memory, anna.disk, anna.cpus, anna.containers), (7, 8, 500, 1));
        let (brokers, wrong) = config.brokers();
        assert_eq!((brokers.len(), brokers[0].password.as_str()), (2, "p"));
        assert_eq!(wrong, ["broker 10.0.0.2:1883: no such file"]);
        assert_eq!(config.room(&OfBox { cpus: 4000, ..OfBox::default() }).cpus, 4000);
        let paused = OfBox { paused: true, ..OfBox::default() };
        assert_eq!(config.settings(&paused).unwrap().mode, Mode::Safe);
    }
}
