//! An avahi-daemon of a test's own: the real one, with its own configuration, runtime directory and D-Bus. It may run
//! beside the machine's and those of other tests.

use crate::processes::Process;
use crate::test_box::{eventually, TestBox};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where one avahi-daemon lives.
pub struct Place {
    /// Its `/etc/avahi`.
    pub etc: PathBuf,
    /// Its `/run/avahi-daemon`.
    pub run: PathBuf,
    /// The socket of its D-Bus.
    pub bus: PathBuf,
    pub log: PathBuf,
    /// The command that enters its network namespace; empty for the host's.
    pub enter: Vec<String>,
    /// The interface it works on.
    pub interface: String,
    /// Empty for the machine's.
    pub host_name: &'static str,
}

pub struct Avahi {
    place: Place,
    with_dbus: bool,
    bus: Option<Process>,
    daemon: Option<Process>,
}

/// Its directories are all it sees of the machine's. The mounts go with the last process in their namespace.
const SCRIPT: &str = "mount --bind \"$1\" /etc/avahi; mount -t tmpfs none /run; mkdir /run/avahi-daemon; \
    mount --bind \"$2\" /run/avahi-daemon; exec avahi-daemon --no-rlimits";

impl Avahi {
    /// The box's avahi-daemon, on its bridge.
    pub fn of(the_box: &TestBox) -> Avahi {
        Avahi::start_at(Avahi::place_of(the_box), true)
    }

    /// The same as OpenWrt's avahi-nodbus-daemon.
    pub fn without_dbus(the_box: &TestBox) -> Avahi {
        Avahi::start_at(Avahi::place_of(the_box), false)
    }

    fn place_of(the_box: &TestBox) -> Place {
        Place {
            etc: the_box.avahi(),
            run: the_box.avahi_run(),
            bus: the_box.dbus(),
            log: the_box.dir.join("avahi.log"),
            enter: Vec::new(),
            interface: the_box.bridge.clone(),
            host_name: "",
        }
    }

    pub fn start_at(place: Place, with_dbus: bool) -> Avahi {
        for tool in ["avahi-daemon", "avahi-browse", "dbus-daemon", "unshare", "nsenter"] {
            cloudbox::steps::tool::Tool::find(tool).unwrap_or_else(|e| panic!("{e}"));
        }
        fs::write(place.etc.join("avahi-daemon.conf"), configuration(&place, with_dbus)).unwrap();
        let mut avahi = Avahi { place, with_dbus, bus: None, daemon: None };
        avahi.start();
        avahi
    }

    /// Returns when it publishes.
    pub fn start(&mut self) {
        self.launch();
        let daemon = self.daemon.as_mut().expect("it was just launched");
        let log = &self.place.log;
        let says = || fs::read_to_string(log).unwrap_or_default();
        eventually("avahi-daemon", || {
            assert!(!daemon.has_ended(), "avahi-daemon: {}", says());
            says().contains("Server startup complete")
        });
    }

    fn launch(&mut self) {
        assert!(self.daemon.is_none(), "avahi-daemon runs already");
        if self.with_dbus && self.bus.is_none() {
            self.bus = Some(start_dbus(&self.place.bus));
        }
        let log = fs::File::create(&self.place.log).unwrap();
        let unshare = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", SCRIPT, "sh"];
        let line: Vec<String> = self.place.enter.iter().cloned().chain(unshare.map(String::from)).collect();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .args([&self.place.etc, &self.place.run])
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(&self.place.bus))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.daemon = Some(Process::spawn(&mut command));
    }

    /// `kill -9`: it leaves its files, and says goodbye to nobody.
    pub fn kill(&mut self) {
        drop(self.daemon.take());
    }

    /// It says goodbye for everything it published.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(nix::libc::SIGTERM);
            daemon.wait();
        }
    }

    /// Puts a whole file among its services.
    pub fn write_service(&self, file: &str, text: &str) {
        let services = self.place.etc.join("services");
        fs::write(services.join(".new"), text).unwrap();
        fs::rename(services.join(".new"), services.join(file)).unwrap();
    }

    /// Its file of host names.
    pub fn write_hosts(&self, text: &str) {
        fs::write(self.place.etc.join("hosts.new"), text).unwrap();
        fs::rename(self.place.etc.join("hosts.new"), self.place.etc.join("hosts")).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.place.log).unwrap_or_default()
    }

    /// Asks it for an address of a name, which takes five seconds where nobody has it.
    pub fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.ask(&format!("RESOLVE-HOSTNAME {host}"))
    }

    pub fn resolve_ipv6(&self, host: &str) -> Option<IpAddr> {
        self.ask(&format!("RESOLVE-HOSTNAME-IPV6 {host}"))
    }

    /// The simple protocol, which needs no D-Bus.
    fn ask(&self, question: &str) -> Option<IpAddr> {
        let mut stream = UnixStream::connect(self.place.run.join("socket")).ok()?;
        stream.write_all(format!("{question}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        // `+ INTERFACE PROTOCOL NAME ADDRESS`, or `-CODE MESSAGE`.
        let found = answer.strip_prefix("+ ")?;
        found.split_whitespace().last()?.parse().ok()
    }

    /// A program that asks this avahi-daemon over D-Bus.
    pub fn client(&self, program: &str) -> Command {
        let line: Vec<&str> = self.place.enter.iter().map(String::as_str).chain([program]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(&self.place.bus));
        command
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("avahi-daemon on {}:", self.place.interface);
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            tail.iter().rev().for_each(|line| eprintln!("    {line}"));
        }
    }
}

pub fn bus_address(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}

fn configuration(place: &Place, with_dbus: bool) -> String {
    let host_name = match place.host_name {
        "" => String::new(),
        name => format!("host-name={name}\n"),
    };
    let dbus = if with_dbus { "yes" } else { "no" };
    format!(
        "[server]\n{host_name}use-ipv4=yes\nuse-ipv6=yes\nallow-interfaces={}\nenable-dbus={dbus}\n\
         ratelimit-interval-usec=1000000\nratelimit-burst=1000\n\
         [wide-area]\nenable-wide-area=no\n\
         [publish]\npublish-hinfo=no\npublish-workstation=no\n",
        place.interface
    )
}

/// A bus for one avahi-daemon and those who ask it; it starts nothing by itself.
fn start_dbus(socket: &Path) -> Process {
    let config = socket.with_extension("conf");
    let text = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
         <busconfig><type>system</type><listen>{}</listen><auth>EXTERNAL</auth>\n\
         <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
         <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/></policy></busconfig>\n",
        bus_address(socket)
    );
    fs::write(&config, text).unwrap();
    let _ = fs::remove_file(socket);
    let mut command = Command::new("dbus-daemon");
    command.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nosyslog"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let bus = Process::spawn(&mut command);
    eventually("a D-Bus", || UnixStream::connect(socket).is_ok());
    bus
}
