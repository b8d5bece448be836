//! What the box's owner says of the commons: section `commons`, whom the box speaks to (`broker`), whom it hosts (`peer`),
//! and whom it does not (`deny`).

use super::remote;
use super::size::{Bytes, Cpus};
use super::span::parse_span;
use super::spec::{check_bridge, invalid, parse_bool, parse_number};
use crate::error::{Error, Result};
use crate::usign::PublicKey;
use serde::Serialize;
use std::path::PathBuf;

/// Most brokers that the box speaks to: each costs a connection for ever.
pub const BROKERS_MAX: usize = 4;
/// Most letters of a network's and of a zone's name: both stand in every topic.
const WORD_MAX: usize = 16;
/// Most bytes of a host name, of a user's name and of how a peer is reached.
const HOST_MAX: usize = 253;
const USER_MAX: usize = 64;
const CONTACT_MAX: usize = 256;
/// Where MQTT is spoken.
const PORT: u16 = 1883;
/// How long what a peer may no longer have goes on, unless said otherwise, and at the most, in seconds.
const NOTICE: u32 = 24 * 3600;
const NOTICE_MAX: u32 = 30 * 86_400;
/// Most containers that a peer may be given.
const CONTAINERS_MAX: u32 = 1000;

/// What the owner lets the box do in the commons; CONFINE's words for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It hosts.
    Production,
    /// It takes nothing new, and what it hosts is stopped.
    Safe,
    /// It is broken, and says so.
    Failure,
}

/// Section `commons`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonsSettings {
    /// Off: the process does not run.
    pub enabled: bool,
    /// The network of the community, which stands in every topic and in all that is signed.
    pub network: String,
    /// Where in the network the box is.
    pub zone: String,
    /// The bridge that containers of others join.
    pub bridge: String,
    /// What the box does now.
    pub state: NodeState,
    /// How long what a peer may no longer have goes on, in seconds.
    pub notice: u32,
    /// The offer says at which hours of the week the box is on.
    pub show_hours: bool,
    /// The offer says whom the box hosts.
    pub show_accepts: bool,
}

impl Default for CommonsSettings {
    fn default() -> CommonsSettings {
        CommonsSettings {
            enabled: false,
            network: "guifi".into(),
            zone: "osona".into(),
            bridge: "br-cloudbox".into(),
            state: NodeState::Production,
            notice: NOTICE,
            show_hours: false,
            show_accepts: true,
        }
    }
}

impl CommonsSettings {
    /// Sets one option; false when there is none of that name.
    ///
    /// # Errors
    /// Its value is wrong.
    pub fn set(&mut self, option: &str, text: &str) -> Result<bool> {
        match option {
            "enabled" => self.enabled = parse_bool(option, text)?,
            "network" => self.network = parse_word(option, text)?,
            "zone" => self.zone = parse_word(option, text)?,
            "bridge" => {
                check_bridge(text)?;
                self.bridge = text.into();
            }
            "state" => self.state = parse_state(text)?,
            "notice" => self.notice = parse_span(option, text, 0, NOTICE_MAX)?,
            "show_hours" => self.show_hours = parse_bool(option, text)?,
            "show_accepts" => self.show_accepts = parse_bool(option, text)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the value of one option of `other`.
    pub fn take(&mut self, option: &str, other: &CommonsSettings) {
        match option {
            "enabled" => self.enabled = other.enabled,
            "network" => self.network.clone_from(&other.network),
            "zone" => self.zone.clone_from(&other.zone),
            "bridge" => self.bridge.clone_from(&other.bridge),
            "state" => self.state = other.state,
            "notice" => self.notice = other.notice,
            "show_hours" => self.show_hours = other.show_hours,
            _ => self.show_accepts = other.show_accepts,
        }
    }
}

fn parse_state(text: &str) -> Result<NodeState> {
    match text {
        "production" => Ok(NodeState::Production),
        "safe" => Ok(NodeState::Safe),
        "failure" => Ok(NodeState::Failure),
        _ => Err(invalid("state", text, "write production, safe or failure")),
    }
}

/// A word that stands between two slashes of a topic.
fn parse_word(what: &str, text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > WORD_MAX || !text.chars().all(good) {
        let why = format!("use 1 to {WORD_MAX} letters, digits, '-', '_' and '.'");
        return Err(invalid(what, text, &why));
    }
    Ok(text.to_string())
}

/// A `broker` section: somebody who carries what is signed, and is believed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The section's name.
    pub name: String,
    /// Its address or host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom the box logs in; empty: it does not.
    pub user: String,
    /// The file that holds the password; none: there is no password.
    pub password_file: Option<PathBuf>,
}

impl Broker {
    /// One of which nothing is said yet.
    pub fn new(name: &str) -> Broker {
        Broker {
            name: name.to_string(),
            host: String::new(),
            port: PORT,
            user: String::new(),
            password_file: None,
        }
    }

    /// Sets one option; false when there is none of that name.
    ///
    /// # Errors
    /// Its value is wrong.
    pub fn set(&mut self, option: &str, text: &str) -> Result<bool> {
        match option {
            "host" => self.host = parse_host(text)?,
            "port" => self.port = parse_number(option, text, 1, u16::MAX.into())? as u16,
            "user" => self.user = parse_line(option, text, USER_MAX)?,
            "password_file" if text.is_empty() => self.password_file = None,
            "password_file" if text.starts_with('/') => self.password_file = Some(PathBuf::from(text)),
            "password_file" => return Err(invalid(option, text, "write an absolute path")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is missing of it.
    ///
    /// # Errors
    /// It has no host.
    pub fn check(&self) -> Result<()> {
        match self.host.is_empty() {
            true => Err(invalid("host", "", "write the broker's address, such as 10.0.0.1")),
            false => Ok(()),
        }
    }
}

fn parse_host(text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if text.is_empty() || text.len() > HOST_MAX || !text.chars().all(good) {
        return Err(invalid("host", text, "write the broker's address, such as 10.0.0.1"));
    }
    Ok(text.to_string())
}

fn parse_line(what: &str, text: &str, most: usize) -> Result<String> {
    if text.len() > most || text.chars().any(char::is_control) {
        return Err(invalid(what, text, &format!("write one line of at most {most} bytes")));
    }
    Ok(text.to_string())
}

/// Whose images a peer's containers may be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// Those of every server.
    Any,
    /// Those of these servers.
    Of(Vec<String>),
}

/// A `peer` section: a member whom the box hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The section's name.
    pub name: String,
    /// The member's key.
    pub key: PublicKey,
    /// How the owner reaches the member.
    pub contact: String,
    /// What the member may have; or what is wrong in the section. Then nothing new is granted, and what runs goes on.
    pub grants: Result<Grants>,
}

/// What a peer may have, with all whom it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// Memory of its containers that run or start with the box, together.
    pub memory: Bytes,
    /// Disk of all its containers.
    pub disk: Bytes,
    /// Processors, as memory.
    pub cpus: Cpus,
    /// How many containers, as memory.
    pub containers: u32,
    /// Of which images they may be made.
    pub images: Images,
    /// Whether it may vouch for others.
    pub delegate: bool,
    /// How much of all this each of those may have, in percent.
    pub delegate_share: u32,
    /// Whether services of its containers are announced.
    pub publish: bool,
}

impl Default for Grants {
    fn default() -> Grants {
        Grants {
            memory: Bytes(1 << 30),
            disk: Bytes(10 << 30),
            cpus: Cpus(1000),
            containers: 4,
            images: Images::Of(vec!["community".into()]),
            delegate: false,
            delegate_share: 25,
            publish: true,
        }
    }
}

impl Grants {
    /// Sets one option; false when there is none of that name. `images` is a list: see [`Images::parse`].
    ///
    /// # Errors
    /// Its value is wrong.
    pub fn set(&mut self, option: &str, text: &str) -> Result<bool> {
        match option {
            "memory" => self.memory = Bytes::parse(option, text)?,
            "disk" => self.disk = Bytes::parse(option, text)?,
            "cpus" => self.cpus = Cpus::parse(option, text)?,
            "containers" => self.containers = parse_number(option, text, 0, CONTAINERS_MAX)?,
            "delegate" => self.delegate = parse_bool(option, text)?,
            "delegate_share" => self.delegate_share = parse_share(text)?,
            "publish" => self.publish = parse_bool(option, text)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Images {
    /// Reads what `list images` has: names of servers, or `any`.
    ///
    /// # Errors
    /// One is no name of a server.
    pub fn parse(texts: &[String]) -> Result<Images> {
        if texts.iter().any(|text| text == "any") {
            return Ok(Images::Any);
        }
        let names = texts.iter().map(|text| remote::parse_name(text).map_err(|e| e.about("images")));
        names.collect::<Result<_>>().map(Images::Of)
    }
}

fn parse_share(text: &str) -> Result<u32> {
    let percent = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    percent
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| invalid("delegate_share", text, "write a share from 1% to 100%"))
}

/// Reads how a peer is reached.
///
/// # Errors
/// It is more than a line.
pub fn parse_contact(text: &str) -> Result<String> {
    parse_line("contact", text, CONTACT_MAX)
}

/// Reads the key of a `peer` or a `deny` section.
///
/// # Errors
/// It is none, or there is none.
pub fn parse_key(text: Option<&str>) -> Result<PublicKey> {
    let text = text.unwrap_or_default();
    PublicKey::parse(text).map_err(|e: Error| {
        // No more than tells which it is: somebody may have written a secret key by mistake.
        let shown: String = text.chars().take(20).collect();
        invalid("key", &shown, &e.message)
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::{read, Config, Settings};
    use super::*;
    use openwrt_uci::Package;

    const KEY: &str = "RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F";

    fn config(text: &str) -> Config {
        after(text, &Settings::default())
    }

    fn after(text: &str, before: &Settings) -> Config {
        read(&Package::parse(text.as_bytes()).unwrap(), &Package::default(), before)
    }

    fn said(config: &Config) -> Vec<String> {
        config.warnings.iter().map(ToString::to_string).collect()
    }

    /// Another key: the first one with another letter in the middle of it.
    fn other_key() -> String {
        KEY.replace("FPDH5", "FPDH6")
    }

    #[test]
    fn nothing_said_is_off_and_what_is_said_is_read() {
        let nothing = config("");
        assert_eq!(nothing.settings.commons, CommonsSettings::default());
        assert!(!nothing.settings.commons.enabled && nothing.brokers.is_empty() && nothing.peers.is_empty());
        let config = config(&format!(
            "config commons 'commons'\n\toption enabled '1'\n\toption network 'guifi'\n\toption zone 'vic'\n\
             \toption bridge 'br-c'\n\toption state 'safe'\n\toption notice '2h'\n\toption show_hours '1'\n\
             \toption show_accepts '0'\n\
             config broker 'one'\n\toption host '10.0.0.1'\n\toption port '1884'\n\toption user 'box'\n\
             \toption password_file '/etc/cloudbox/one'\n\
             config broker 'two'\n\toption host 'fd00::1'\n\toption user ''\n\toption password_file ''\n\
             config peer 'anna'\n\toption key '{KEY}'\n\toption contact 'anna@example.org'\n\toption memory '2G'\n\
             \toption disk '20G'\n\toption cpus '0.5'\n\toption containers '7'\n\tlist images 'community'\n\
             \tlist images 'lan'\n\toption delegate '1'\n\toption delegate_share '10%'\n\toption publish '0'\n\
             config peer 'bob'\n\toption key '{}'\n\
             config deny\n\toption key '{KEY}'\n\
             config directory 'directory'\n\toption enabled '1'\n\tlist zone 'osona'\n\
             config guifi 'guifi'\n\toption node '54321'\n\
             config checkpoint 'checkpoint'\n\toption gateway 'http://127.0.0.1:3456'\n",
            other_key()
        ));
        assert_eq!(said(&config), Vec::<String>::new());
        let settings = &config.settings.commons;
        assert_eq!(
            *settings,
            CommonsSettings {
                enabled: true,
                network: "guifi".into(),
                zone: "vic".into(),
                bridge: "br-c".into(),
                state: NodeState::Safe,
                notice: 7200,
                show_hours: true,
                show_accepts: false,
            }
        );
        let [one, two] = &config.brokers[..] else { panic!("{:?}", config.brokers) };
        assert_eq!((one.host.as_str(), one.port, one.user.as_str()), ("10.0.0.1", 1884, "box"));
        assert_eq!(one.password_file.as_deref(), Some(std::path::Path::new("/etc/cloudbox/one")));
        assert_eq!((two.host.as_str(), two.port, &two.password_file), ("fd00::1", 1883, &None));
        let [anna, bob] = &config.peers[..] else { panic!("{:?}", config.peers) };
        assert_eq!((anna.name.as_str(), anna.contact.as_str()), ("anna", "anna@example.org"));
        assert_eq!(
            anna.grants,
            Ok(Grants {
                memory: Bytes(2 << 30),
                disk: Bytes(20 << 30),
                cpus: Cpus(500),
                containers: 7,
                images: Images::Of(vec!["community".into(), "lan".into()]),
                delegate: true,
                delegate_share: 10,
                publish: false,
            })
        );
        assert_eq!(bob.grants, Ok(Grants::default()));
        assert_eq!(config.denied, std::slice::from_ref(&anna.key));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line() {
        let other = other_key();
        let text = format!(
            "config commons 'commons'\n\toption zone 'a/b'\n\toption network '12345678901234567'\n\
             \toption state 'on'\n\toption notice '1w'\n\toption bridge 'a b'\n\toption colour 'red'\n\
             config commons 'another'\n\
             config broker\n\toption host 'x'\n\
             config broker 'a'\n\
             config broker 'b'\n\toption host 'a b'\n\
             config broker 'c'\n\toption host 'x'\n\toption port '0'\n\
             config broker 'd'\n\toption host 'x'\n\toption password_file 'etc/x'\n\
             config broker 'e'\n\toption host 'x'\n\toption smell 'y'\n\
             config broker 'f'\n\toption host 'x'\n\
             config peer 'g'\n\toption memory '1G'\n\
             config peer 'h'\n\toption key 'RWQnokey'\n\
             config peer 'i'\n\toption key '{KEY}'\n\toption containers '-1'\n\toption delegate_share '101%'\n\
             config peer 'j'\n\toption key '{KEY}'\n\
             config peer 'k'\n\toption key '{other}'\n\tlist images 'a/b'\n\
             config peer\n\toption key '{KEY}'\n\
             config deny\n\
             config deny 'm'\n\toption key 'x'\n\toption name 'y'\n"
        );
        let config = config(&text);
        let expected = [
            ("line 2: section 'commons', option 'zone'", "; the earlier value stays"),
            ("line 3: section 'commons', option 'network'", "1 to 16"),
            ("line 4: section 'commons', option 'state'", "production, safe or failure"),
            ("line 5: section 'commons', option 'notice'", "from 0s to 30d"),
            ("line 6: section 'commons', option 'bridge'", "network interface"),
            ("line 7: section 'commons', option 'colour'", "does not know the option"),
            ("line 8: section 'another'", "config commons 'commons'"),
            ("line 9: section 'broker'", "needs its name"),
            ("line 11: section 'a'", "the broker's address"),
            ("line 13: section 'b', option 'host'", "the broker's address"),
            ("line 16: section 'c', option 'port'", "from 1 to 65535"),
            ("line 19: section 'd', option 'password_file'", "absolute path"),
            ("line 22: section 'e', option 'smell'", "does not know the option"),
            ("line 23: section 'f'", "the broker of section 'e' already"),
            ("line 25: section 'g'", "key"),
            ("line 28: section 'h', option 'key'", "it is no public key of usign"),
            ("line 31: section 'i', option 'containers'", "until then it gets nothing new"),
            ("line 32: section 'i', option 'delegate_share'", "from 1% to 100%"),
            ("line 34: section 'j', option 'key'", "the key of section 'i'"),
            ("line 37: section 'k', option 'images'", "until then it gets nothing new"),
            ("line 38: section 'peer'", "needs its name"),
            ("line 40: section 'deny'", "until then nobody is denied"),
            ("line 43: section 'm', option 'name'", "does not know the option"),
            ("line 42: section 'm', option 'key'", "until then nobody is denied"),
        ];
        let said = said(&config);
        for ((place, why), line) in expected.iter().zip(&said) {
            assert!(line.contains(place) && line.contains(why), "{place} … {why}:\n{line}");
        }
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        assert_eq!(config.settings.commons, CommonsSettings::default());
        assert_eq!(config.brokers.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["e"]);
        let peers: Vec<_> = config.peers.iter().map(|p| (p.name.as_str(), p.grants.is_ok())).collect();
        assert_eq!(peers, [("i", false), ("k", false)]);
        assert!(config.denied.is_empty());
    }

    #[test]
    fn a_wrong_value_leaves_what_was_before_and_a_fifth_broker_is_one_too_many() {
        let mut before = Settings::default();
        before.commons.zone = "vic".into();
        before.commons.notice = 60;
        let brokers: String =
            (1..=5).map(|n| format!("config broker 'b{n}'\n\toption host '10.0.0.{n}'\n")).collect();
        let config = after(
            &format!("config commons 'commons'\n\toption zone '+'\n\toption notice 'x'\n{brokers}"),
            &before,
        );
        assert_eq!((config.settings.commons.zone.as_str(), config.settings.commons.notice), ("vic", 60));
        assert_eq!(config.brokers.len(), BROKERS_MAX);
        assert!(said(&config)[2].contains("section 'b5': 4 brokers are the most"), "{:?}", said(&config));
    }
}
