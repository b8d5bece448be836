//! A small `ubusd` on a socket, for tests and demonstrations: `ubus-broker [-A DIRECTORY] [-s SOCKET]`. Whoever is not root
//! may do what the access lists in the directory say, as with `ubusd`; without one, next to nothing.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Group, Uid, User};
use openwrt_ubus::broker::{Access, Broker, ClientId, Credentials};
use openwrt_ubus::conn::DEFAULT_SOCKET;
use openwrt_ubus::descriptors::{receive, send};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut socket, mut lists) = (PathBuf::from(DEFAULT_SOCKET), None);
    let mut args = std::env::args_os().skip(1);
    while let Some(option) = args.next() {
        match (option.to_str(), args.next()) {
            (Some("-s"), Some(path)) => socket = path.into(),
            (Some("-A"), Some(path)) => lists = Some(PathBuf::from(path)),
            _ => {
                eprintln!("usage: ubus-broker [-A DIRECTORY] [-s SOCKET]");
                return ExitCode::from(2);
            }
        }
    }
    let mut broker = match seed() {
        Ok(seed) => Broker::new(seed),
        Err(error) => {
            eprintln!("ubus-broker: /dev/urandom: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(Err((path, why))) = lists.map(|lists| read_lists(&lists, &mut broker)) {
        eprintln!("ubus-broker: {}: {why}", path.display());
        return ExitCode::FAILURE;
    }
    match listen(&socket).and_then(|listener| serve(&listener, broker)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ubus-broker: {}: {error}", socket.display());
            ExitCode::FAILURE
        }
    }
}

/// Reads every access list in a directory. Where `ubusd` passes over what it cannot read, this ends: it is for tests.
fn read_lists(directory: &Path, broker: &mut Broker) -> Result<(), (PathBuf, String)> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| (path.to_path_buf(), error.to_string());
    let entries = fs::read_dir(directory).map_err(|e| failed(directory, &e))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    for path in paths {
        let text = fs::read(&path).map_err(|e| failed(&path, &e))?;
        let json: serde_json::Value = serde_json::from_slice(&text).map_err(|e| failed(&path, &e))?;
        broker.allow(access_of(&json));
    }
    Ok(())
}

fn access_of(json: &serde_json::Value) -> Access {
    let text = |name: &str| json[name].as_str().map(str::to_string);
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_string)).collect()
    };
    let objects = json["access"].as_object().into_iter().flatten();
    Access {
        user: text("user"),
        group: text("group"),
        methods: objects.map(|(path, access)| (path.clone(), texts(&access["methods"]))).collect(),
        publish: texts(&json["publish"]),
        subscribe: texts(&json["subscribe"]),
        listen: texts(&json["listen"]),
        send: texts(&json["send"]),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // What an earlier server left behind, and only that.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Everybody may connect; who they are decides what they may do.
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(listener: &UnixListener, mut broker: Broker) -> io::Result<()> {
    let mut streams: BTreeMap<ClientId, UnixStream> = BTreeMap::new();
    loop {
        let ready = wait(listener, &streams, &broker)?;
        for client in ready {
            let alive = streams.get(&client).is_some_and(|stream| read(stream, client, &mut broker));
            if !alive {
                streams.remove(&client);
                broker.disconnect(client);
            }
        }
        accept(listener, &mut streams, &mut broker);
        let talkative: Vec<ClientId> = broker.talkative().collect();
        for client in talkative {
            let alive = streams.get(&client).is_some_and(|stream| write(stream, client, &mut broker));
            if !alive {
                streams.remove(&client);
                broker.disconnect(client);
            }
        }
    }
}

/// The clients that may be read from.
fn wait(
    listener: &UnixListener,
    streams: &BTreeMap<ClientId, UnixStream>,
    broker: &Broker,
) -> io::Result<Vec<ClientId>> {
    let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    for (client, stream) in streams {
        let mut flags = PollFlags::POLLIN;
        if !broker.transmit(*client).is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        fds.push(PollFd::new(stream.as_fd(), flags));
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| flags.intersects(readable));
    Ok(streams.keys().zip(&fds[1..]).filter(|(_, fd)| ready(fd)).map(|(client, _)| *client).collect())
}

fn accept(listener: &UnixListener, streams: &mut BTreeMap<ClientId, UnixStream>, broker: &mut Broker) {
    while let Ok((stream, _)) = listener.accept() {
        // As ubusd does: whoever has no name is turned away without a word.
        if let (Some(credentials), Ok(())) = (credentials(&stream), stream.set_nonblocking(true)) {
            streams.insert(broker.connect(credentials), stream);
        }
    }
}

fn credentials(stream: &UnixStream) -> Option<Credentials> {
    let peer = getsockopt(stream, PeerCredentials).ok()?;
    let user = User::from_uid(Uid::from_raw(peer.uid())).ok()??.name;
    let group = Group::from_gid(Gid::from_raw(peer.gid())).ok()??.name;
    Some(Credentials { uid: peer.uid(), gid: peer.gid(), user, group })
}

/// False when the client is gone, or makes no sense.
fn read(stream: &UnixStream, client: ClientId, broker: &mut Broker) -> bool {
    let mut buffer = [0; 32 << 10];
    match receive(stream, &mut buffer) {
        Ok((0, _)) => false,
        Ok((n, descriptor)) => broker.handle_input_with(client, &buffer[..n], descriptor).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

fn write(stream: &UnixStream, client: ClientId, broker: &mut Broker) -> bool {
    loop {
        let (bytes, descriptor) = broker.transmit_with(client);
        if bytes.is_empty() {
            return true;
        }
        match send(stream, bytes, descriptor) {
            Ok(n) => broker.consumed(client, n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
