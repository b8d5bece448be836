//! `config commons`: what the process of the commons needs of the configuration. It is not root, and the file is root's
//! alone; so are those with the passwords of brokers.

use crate::api::commons::{BrokerReply, CommonsReply, GrantsReply, HeldReply, Password, PeerReply, Room};
use crate::commons::id::Id;
use crate::error::{Code, Error, Result};
use crate::model::commons::{Grants, Images, Peer};
use crate::model::size::Cpus;
use crate::state::{Held, State};
use crate::steps::filesystem::read_up_to;
use crate::steps::host;
use crate::steps::outside::HostFile;
use std::path::{Path, PathBuf};

/// The longest file with a password, and the longest password.
const FILE_MAX: u64 = 4 << 10;
const PASSWORD_MAX: usize = 1024;

/// The answer, but for the passwords, which a thread reads.
pub struct Commons {
    reply: CommonsReply,
    /// Each broker's file, in their order.
    files: Vec<Option<PathBuf>>,
    /// The directories below which those may lie.
    dirs: Vec<PathBuf>,
}

impl Commons {
    /// What the configuration says.
    pub fn ask(state: &State) -> Commons {
        let (config, settings) = (&state.config, &state.config.settings);
        let commons = &settings.commons;
        let (memory, disk) = (state.memory(), state.disk());
        let left = memory.total.saturating_sub(memory.reserve).saturating_sub(memory.promised);
        let brokers = config.brokers.iter().map(|broker| BrokerReply {
            name: broker.name.clone(),
            host: broker.host.clone(),
            port: broker.port,
            user: broker.user.clone(),
            password: None,
            error: None,
        });
        let reply = CommonsReply {
            enabled: commons.enabled,
            network: commons.network.clone(),
            zone: commons.zone.clone(),
            bridge: commons.bridge.clone(),
            state: commons.state,
            notice: commons.notice,
            show_hours: commons.show_hours,
            show_accepts: commons.show_accepts,
            arch: host::arch(),
            room: Room { memory: left, disk: disk.left() },
            brokers: brokers.collect(),
            peers: config.peers.iter().map(|peer| peer_reply(peer, state.held_of(peer))).collect(),
            denied: config.denied.iter().map(|key| key.to_line()).collect(),
        };
        let files = config.brokers.iter().map(|broker| broker.password_file.clone()).collect();
        Commons { reply, files, dirs: settings.key_dirs.clone() }
    }

    /// The answer, with what is in the files. One that cannot be read is told, and takes nothing else with it.
    pub fn read(mut self) -> CommonsReply {
        for (broker, file) in self.reply.brokers.iter_mut().zip(&self.files) {
            let Some(file) = file else { continue };
            match password(file, &self.dirs) {
                Ok(password) => broker.password = Some(password),
                Err(error) => broker.error = Some(error.into_message()),
            }
        }
        self.reply
    }
}

/// The first line of a file below one of `dirs`. Whoever may write the configuration names it, and whoever is named as
/// broker gets to read it: so it is no file but one that the owner has put there for this, and no key.
fn password(path: &Path, dirs: &[PathBuf]) -> Result<Password> {
    let about = |error: Error| Error::new(error.code, format_args!("password_file: {}", error.message));
    let named = HostFile::named(&path.to_string_lossy(), None, dirs, "key_dir");
    let file = named.and_then(|file| file.open("read")).map_err(about)?;
    let content = read_up_to(&file, FILE_MAX).map_err(|e| Error::io("cannot read", path, e))?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    match text {
        Ok(text)
            if !text.is_empty() && text.len() <= PASSWORD_MAX && !text.starts_with("untrusted comment:") =>
        {
            Ok(Password(text))
        }
        _ => {
            let why = format!("password_file {}: write the password into its first line", path.display());
            Err(Error::new(Code::InvalidArgument, why))
        }
    }
}

fn peer_reply(peer: &Peer, held: Held) -> PeerReply {
    PeerReply {
        name: peer.name.clone(),
        id: Id::of(&peer.key).to_string(),
        key: peer.key.to_line(),
        contact: peer.contact.clone(),
        grants: peer.grants.as_ref().ok().map(grants_reply),
        error: peer.grants.as_ref().err().map(|wrong| wrong.message.clone()),
        held: HeldReply {
            memory: held.memory,
            disk: held.disk,
            cpus: Cpus(u32::try_from(held.cpus).unwrap_or(u32::MAX)).to_string(),
            containers: held.containers,
        },
    }
}

fn grants_reply(grants: &Grants) -> GrantsReply {
    GrantsReply {
        memory: grants.memory.get(),
        disk: grants.disk.get(),
        cpus: grants.cpus.to_string(),
        containers: grants.containers,
        images: match &grants.images {
            Images::Any => vec!["any".into()],
            Images::Of(servers) => servers.clone(),
        },
        delegate: grants.delegate,
        delegate_share: grants.delegate_share,
        publish: grants.publish,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_password_is_a_line_of_a_file_that_the_owner_has_put_there() {
        let dir = TempDir::make();
        let (keys, outside) = (dir.path().join("keys"), dir.path().join("outside"));
        fs::create_dir_all(&keys).unwrap();
        let write = |path: &Path, text: &[u8]| fs::write(path, text).unwrap();
        write(&outside, b"root's\n");
        let dirs = [keys.clone()];
        let read = |name: &str| password(&keys.join(name), &dirs).map(|Password(text)| text);
        for (name, text, found) in [
            ("plain", &b"pa55 word\n"[..], Some("pa55 word")),
            ("bare", b"x", Some("x")),
            ("dos", b"x\r\nnote\r\n", Some("x")),
            ("empty", b"\nx\n", None),
            ("bytes", b"\xff\n", None),
            ("long", &[b'x'; 1025], None),
            ("key.sec", b"untrusted comment: secret key\nRWR\n", None),
        ] {
            write(&keys.join(name), text);
            assert_eq!(read(name).ok().as_deref(), found, "{name}");
        }
        symlink(&outside, keys.join("link")).unwrap();
        for name in ["link", "../outside", "missing"] {
            let error = read(name).unwrap_err();
            assert!(error.message.starts_with("password_file"), "{name}: {}", error.message);
        }
        assert!(password(&outside, &dirs).unwrap_err().message.contains("key_dir"));
        assert_eq!(format!("{:?}", Password("pa55".into())), "…");
    }
}
