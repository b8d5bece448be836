//! Where a member's things are: brokers and network, his key, whose boxes he knows, and what this computer has signed last.
//!
//! All of it lies in `~/.config/cloudbox`. Brokers and network are read from the file `commons` there, which is written like
//! `/etc/config/cloudbox`; on a box without such a file, from that one.

use crate::commons::id::Id;
use crate::commons::invitation::address;
use crate::commons::label::{Kind, Label};
use crate::error::{quoted, Code, Error, Result};
use crate::model::commons::{Broker, BROKERS_MAX};
use crate::model::config::{self, Config, Settings};
use crate::model::remote::Remote;
use crate::usign::{PublicKey, SecretKey};
use clap::Args;
use openwrt_uci::Package;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The key that is used when none is named.
const KEY: &str = "me.sec";
/// Brokers and network; known owners; what was signed last.
const COMMONS: &str = "commons";
const KNOWN: &str = "known";
const SIGNED: &str = "signed";
/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Which network, and by which brokers.
#[derive(Args, Clone, Default)]
pub struct Where {
    #[arg(long = "broker", value_name = "HOST[:PORT]")]
    #[arg(help = "a broker, instead of those written down; can be repeated")]
    brokers: Vec<String>,
    #[arg(long, value_name = "NAME", help = "the network, instead of the one written down")]
    network: Option<String>,
}

/// Who speaks.
#[derive(Args, Clone, Default)]
pub struct Who {
    #[arg(long, value_name = "FILE", help = "your secret key; without, ~/.config/cloudbox/me.sec")]
    key: Option<PathBuf>,
}

/// A network and its brokers.
pub struct Place {
    /// The network.
    pub network: Label,
    /// The zone that the configuration names.
    pub zone: Option<Label>,
    /// One to four; none: this box is its own broker.
    pub brokers: Vec<Broker>,
    /// Servers of images that the configuration names.
    pub remotes: Vec<(String, Result<Remote>)>,
}

impl Where {
    /// The network alone, for whoever needs no broker.
    ///
    /// # Errors
    /// Its name is wrong; the configuration is.
    pub fn network(&self) -> Result<Label> {
        match &self.network {
            Some(text) => Label::new(Kind::Network, text),
            None => {
                let written = written_down()?.unwrap_or_default();
                Label::new(Kind::Network, &written.settings.commons.network)
            }
        }
    }

    /// The network that is meant, with its brokers.
    ///
    /// # Errors
    /// No broker or no network is named anywhere; the configuration is wrong.
    pub fn place(&self) -> Result<Place> {
        let Config { settings, mut brokers, remotes, .. } = written_down()?.unwrap_or_default();
        if !self.brokers.is_empty() {
            brokers = named(&self.brokers)?;
        }
        if brokers.is_empty() && !super::brokers::is_alone() {
            let why = "no broker is known; name one with --broker 10.0.0.1, or join a network: `cloudbox commons join LINE`";
            return Err(Error::new(Code::NotFound, why));
        }
        let network = match &self.network {
            Some(text) => Label::new(Kind::Network, text)?,
            None => Label::new(Kind::Network, &settings.commons.network)?,
        };
        let zone = Label::new(Kind::Zone, &settings.commons.zone).ok();
        Ok(Place { network, zone, brokers, remotes })
    }
}

fn named(hosts: &[String]) -> Result<Vec<Broker>> {
    let mut brokers: Vec<Broker> = Vec::new();
    for text in hosts {
        let (host, port) = address(text).ok_or_else(|| {
            let why =
                format!("--broker {}: write its address, such as 10.0.0.1 or 10.0.0.1:1883", quoted(text));
            Error::new(Code::InvalidArgument, why)
        })?;
        if !brokers.iter().any(|known| known.host == host && known.port == port) {
            brokers.push(Broker { host, port, ..Broker::new(text) });
        }
    }
    if brokers.len() > BROKERS_MAX {
        return Err(Error::new(Code::InvalidArgument, "--broker: 4 brokers are the most"));
    }
    Ok(brokers)
}

/// What the member's own file says, or the box's.
fn written_down() -> Result<Option<Config>> {
    let own = directory().map(|directory| directory.join(COMMONS));
    for path in own.into_iter().chain([box_file()]) {
        let Some(text) = read_if_there(&path)? else { continue };
        let package = Package::parse(&text)
            .map_err(|e| Error::new(Code::Config, format_args!("{}: {e}", path.display())))?;
        return Ok(Some(config::read(&package, &Package::default(), &Settings::default())));
    }
    Ok(None)
}

/// The box's own configuration.
pub fn box_file() -> PathBuf {
    let directory = std::env::var_os("CLOUDBOX_CONFIG_DIR").filter(|directory| !directory.is_empty());
    directory.map_or_else(|| PathBuf::from("/etc/config"), PathBuf::from).join("cloudbox")
}

/// The member's own configuration, where there is a home for it.
pub fn own_file() -> Option<PathBuf> {
    directory().map(|directory| directory.join(COMMONS))
}

fn directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("cloudbox"))
}

fn own_directory() -> Result<PathBuf> {
    let why = "there is no home to keep it in; set HOME";
    let directory = directory().ok_or_else(|| Error::new(Code::NotFound, why))?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(|e| Error::io("cannot make", &directory, e))?;
    Ok(directory)
}

impl Who {
    /// The secret key.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn secret(&self) -> Result<SecretKey> {
        let path = self.path()?;
        let text = read_text(&path)?;
        SecretKey::parse(&text).map_err(|e| about(&path, &e))
    }

    /// Who it is. The public key is enough for it.
    ///
    /// # Errors
    /// There is no key, or it is damaged.
    pub fn id(&self) -> Result<Id> {
        let path = self.path()?;
        let text = read_text(&path)?;
        let secret = SecretKey::parse(&text).map(|key| key.public());
        let key = secret.or_else(|_| PublicKey::parse(&text)).map_err(|e| about(&path, &e))?;
        Ok(Id::of(&key))
    }

    fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.key {
            return Ok(path.clone());
        }
        match directory().map(|directory| directory.join(KEY)).filter(|path| path.exists()) {
            Some(path) => Ok(path),
            None => {
                let why = "whose? Name your key with --key me.sec, or put it where it is looked for, \
                           ~/.config/cloudbox/me.sec; `cloudbox key new me` makes one";
                Err(Error::new(Code::NotFound, why))
            }
        }
    }
}

fn about(path: &Path, error: &Error) -> Error {
    Error::new(error.code, format_args!("{}: {}", path.display(), error.message))
}

fn read_text(path: &Path) -> Result<String> {
    let text = read_if_there(path)?;
    let text =
        text.ok_or_else(|| Error::new(Code::NotFound, format_args!("there is no {}", path.display())))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads a file that may not be there. A pipe is not waited for.
///
/// # Errors
/// It is no file, or cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    let cannot = |e| Error::io("cannot read", path, e);
    let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot(e)),
    };
    if !file.metadata().map_err(cannot)?.is_file() {
        let why = format!("{} is no file, but a directory, a pipe or a device", path.display());
        return Err(Error::new(Code::InvalidArgument, why));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() as u64 > FILE_MAX {
        true => Err(Error::new(Code::InvalidArgument, format_args!("{} is too long", path.display()))),
        false => Ok(Some(bytes)),
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// As write(2) and rename(2).
pub fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, path)).map_err(|e| Error::io("cannot write", path, e))
}

/// Somebody whose boxes the member knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What the member calls him.
    pub name: String,
    /// His key.
    pub key: PublicKey,
}

/// Whose boxes the member knows: a line each, `NAME KEY`.
///
/// # Errors
/// The file cannot be read, or a line of it.
pub fn known() -> Result<Vec<Known>> {
    let Some(path) = directory().map(|directory| directory.join(KNOWN)) else { return Ok(Vec::new()) };
    let Some(text) = read_if_there(&path)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text);
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (name, key) = line.trim().split_once(' ').unwrap_or(("", line));
        let key = PublicKey::parse(key.trim()).map_err(|e| {
            Error::new(Code::Config, format_args!("{} line {}: {}", path.display(), at + 1, e.message))
        })?;
        all.push(Known { name: name.to_string(), key });
    }
    Ok(all)
}

/// Adds somebody to those whose boxes are known.
///
/// # Errors
/// [`Code::Exists`]: somebody else has the name. [`Code::InvalidName`].
pub fn add_known(name: &str, key: &PublicKey) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        let why = format!("{} cannot be a name: use up to 64 letters, digits, and - _ . @", quoted(name));
        return Err(Error::new(Code::InvalidName, why));
    }
    let mut all = known()?;
    if let Some(other) = all.iter().find(|known| known.name == name && known.key.bytes() != key.bytes()) {
        let why = format!(
            "{name} has another key already, that of {}; take another name, or remove the line from the file of those whom \
             you know",
            Id::of(&other.key)
        );
        return Err(Error::new(Code::Exists, why));
    }
    all.retain(|known| known.key.bytes() != key.bytes());
    all.push(Known { name: name.to_string(), key: key.clone() });
    let text: String = all.iter().map(|known| format!("{} {}\n", known.name, known.key.to_line())).collect();
    replace(&own_directory()?.join(KNOWN), text.as_bytes())
}

/// The serial that this computer has signed last for a slice; 0 for none.
///
/// # Errors
/// The file cannot be read.
pub fn last_signed(network: Label, member: Id, slice: Label) -> Result<u64> {
    let Some(path) = directory().map(|directory| directory.join(SIGNED).join(record(network, member, slice)))
    else {
        return Ok(0);
    };
    let text = read_if_there(&path)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).trim().parse().unwrap_or(0))
}

/// Notes it down.
///
/// # Errors
/// The file cannot be written.
pub fn note_signed(network: Label, member: Id, slice: Label, serial: u64) -> Result<()> {
    let directory = own_directory()?.join(SIGNED);
    fs::create_dir_all(&directory).map_err(|e| Error::io("cannot make", &directory, e))?;
    replace(&directory.join(record(network, member, slice)), format!("{serial}\n").as_bytes())
}

fn record(network: Label, member: Id, slice: Label) -> String {
    format!("{network}.{member}.{slice}")
}
