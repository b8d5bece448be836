//! Real brokers, started by the test on loopback with files of their own. The machine's own broker, if it runs, is not met.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Mosquitto,
    Nats,
}

pub struct Server {
    pub kind: Kind,
    program: PathBuf,
    directory: PathBuf,
    pub address: SocketAddr,
    child: Child,
}

/// Where a broker's program is: where the environment says, or on the PATH or in sbin, which is not on everybody's.
pub fn program(kind: Kind) -> Result<PathBuf, String> {
    let (variable, name) = match kind {
        Kind::Mosquitto => ("MOSQUITTO", "mosquitto"),
        Kind::Nats => ("NATS_SERVER", "nats-server"),
    };
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), "/usr/local/sbin".into()]);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file())).ok_or_else(|| {
        format!("there is no {name} on the PATH, nor in {variable} (scripts/install-deps.sh test)")
    })
}

impl Server {
    /// With `more` lines of configuration. In them `DIR` is the server's directory.
    pub fn start(kind: Kind, program: &Path, more: &str) -> Self {
        Self::start_with(kind, program, more, |_| {})
    }

    /// The same with files that are made first.
    pub fn start_with(kind: Kind, program: &Path, more: &str, prepare: impl FnOnce(&Path)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mqtt-session-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        prepare(&directory);
        // A port that was free just now may be taken by the time: another is tried then.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            configure(kind, &directory, address, more);
            if let Some(child) = spawn(kind, program, &directory, address) {
                return Self { kind, program: program.to_owned(), directory, address, child };
            }
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        panic!("{} does not start: {log}", program.display());
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Holds it still. The signal alone takes some time to reach all its threads.
    pub fn hold(&self) {
        self.signal(Signal::SIGSTOP);
        let held = waitpid(Pid::from_raw(self.child.id() as i32), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(held, WaitStatus::Stopped(..)), "{held:?}");
    }

    pub fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(self.kind, &self.program, &self.directory, self.address).expect("it starts again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!(
                "the broker said: {}",
                fs::read_to_string(self.directory.join("log")).unwrap_or_default()
            );
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn configure(kind: Kind, directory: &Path, address: SocketAddr, more: &str) {
    let dir = directory.to_str().unwrap();
    let port = address.port();
    let text = match kind {
        // As root it would become a user that cannot write there.
        Kind::Mosquitto => format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {dir}/\nlog_dest file {dir}/log\n{more}"
        ),
        Kind::Nats => format!(
            "host: 127.0.0.1\nport: -1\nserver_name: alone\nlog_file: \"{dir}/log\"\njetstream {{ store_dir: \"{dir}/store\" }}\nmqtt {{ host: 127.0.0.1, port: {port} }}\n{more}"
        ),
    };
    fs::write(directory.join("conf"), text.replace("DIR", dir)).unwrap();
}

/// None when it does not listen.
fn spawn(kind: Kind, program: &Path, directory: &Path, address: SocketAddr) -> Option<Child> {
    let mut command = Command::new(program);
    command.arg("-c").arg(directory.join("conf"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if greets(kind, address) {
            return Some(child);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Whether it serves: NATS listens some time before its JetStream does.
fn greets(kind: Kind, address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
    if kind == Kind::Mosquitto {
        return true;
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 4];
    let hello = b"\x10\x10\0\x04MQTT\x04\x02\0\x14\0\x04test";
    stream.write_all(hello).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == [0x20, 2, 0, 0]
}
