//! A box of the bench's own: directories, bridge, DHCP, bus, daemon. Nothing of it is left when it is dropped.

use crate::options::Options;
use crate::process::{self, Server};
use crate::Result;
use cloudbox::steps::layout::Layout;
use nix::mount::{umount2, MntFlags};
use openwrt_ubus::client::{CallError, Client};
use openwrt_ubus::{from_fields, to_fields, Event};
use serde_json::{json, Value};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A create or delete, held back until it is done, on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds the daemon holds back a reply.
pub const WAIT: u32 = 15;

/// The box.
pub struct World {
    dir: PathBuf,
    binary: PathBuf,
    bridge: Option<String>,
    bus: Option<Server>,
    dhcp: Option<Server>,
    daemon: Option<Server>,
    client: Option<Client>,
}

/// What a container is made from, and with.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The image.
    pub image: &'static str,
    /// Its memory limit.
    pub memory: &'static str,
    /// Its disk quota; the box's own when None.
    pub disk: Option<&'static str>,
    /// How long it takes to boot, generously.
    pub boot: Duration,
    /// What holds it in the network.
    pub held: Held,
}

/// What holds a container in the network.
#[derive(Clone, Copy)]
pub enum Held {
    /// Nothing.
    Free,
    /// What holds each one.
    Isolated,
    /// All there is.
    Most,
}

/// The distro without a quota.
pub const DISTRO: Kind = Kind {
    image: "distro",
    memory: "256M",
    disk: Some("none"),
    boot: Duration::from_millis(1500),
    held: Held::Isolated,
};
/// The small image without a quota.
pub const MINI: Kind = Kind {
    image: "mini",
    memory: "24M",
    disk: Some("none"),
    boot: Duration::from_millis(300),
    held: Held::Isolated,
};

impl Kind {
    /// The same with the box's default quota.
    pub const fn with_quota(self) -> Kind {
        Kind { disk: None, ..self }
    }

    /// The same, held so.
    pub const fn held(self, held: Held) -> Kind {
        Kind { held, ..self }
    }

    /// Arguments of `create`.
    pub fn arguments(&self, name: &str) -> Value {
        let mut arguments = json!({ "name": name, "image": self.image, "memory": self.memory, "wait": WAIT });
        if let Some(disk) = self.disk {
            arguments["disk"] = disk.into();
        }
        match self.held {
            Held::Isolated => {}
            Held::Free => arguments["isolate"] = false.into(),
            Held::Most => {
                arguments["reach"] = "internet".into();
                arguments["rate"] = "10M".into();
                arguments["connections"] = "200".into();
            }
        }
        arguments
    }
}

impl World {
    /// Makes it, with the images `images` imported, and waits until the daemon answers.
    pub fn new(options: &Options, images: &[&str]) -> Result<World> {
        let dir = make_directory(&options.place)?;
        let binary = options.binary.clone();
        let mut world =
            World { dir, binary, bridge: None, bus: None, dhcp: None, daemon: None, client: None };
        world.start_network()?;
        let socket = world.socket();
        let mut bus = Command::new(&options.bus);
        bus.arg("-s").arg(&socket);
        world.bus = Some(Server::start("the bus", &mut bus, &world.dir.join("bus.log"))?);
        process::within(10, "the bus", || Ok(socket.exists()))?;
        world.start_daemon()?;
        for image in images {
            let path = fs::canonicalize(format!("target/image/{image}.squashfs"))?;
            world.call("cloudbox.image", "import", &json!({ "name": image, "path": path, "wait": WAIT }))?;
        }
        Ok(world)
    }

    /// The directory all of it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bus.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("ubus.sock")
    }

    /// Where the daemon keeps what.
    pub fn layout(&self) -> Layout {
        Layout { storage: self.dir.join("storage"), run: self.dir.join("run") }
    }

    /// The daemon's pid.
    pub fn daemon(&mut self) -> Result<i32> {
        let daemon = self.daemon.as_mut().ok_or("there is no daemon")?;
        daemon.alive().map_err(|e| format!("{e}: {}", last_lines(&self.dir.join("daemon.log"))))?;
        Ok(daemon.pid())
    }

    /// The bench's own connection to the bus.
    pub fn client(&mut self) -> Result<&mut Client> {
        self.client.as_mut().ok_or_else(|| "not connected to the bus".into())
    }

    /// The command `cloudbox`, talking to this box.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let layout = self.layout();
        command
            .args(words)
            .env("UBUS_SOCKET", self.socket())
            .env("CLOUDBOX_CONFIG_DIR", self.dir.join("config"))
            .env("CLOUDBOX_STORAGE", layout.storage)
            // Directories that are not there: the machine's own avahi-daemon is none of the bench's business.
            .env("CLOUDBOX_AVAHI", layout.run.join("avahi"))
            .env("CLOUDBOX_AVAHI_RUN", layout.run.join("avahi-run"))
            .env("CLOUDBOX_HOSTS", layout.run.join("hosts"))
            .env("CLOUDBOX_DNSMASQ_RUN", layout.run.join("dnsmasq"))
            .env("CLOUDBOX_LEASES", layout.run.join("leases"))
            .env("CLOUDBOX_HOTPLUG", layout.run.join("hotplug"))
            .env("CLOUDBOX_RUN_DIR", layout.run);
        command
    }

    /// Calls a method that has to succeed.
    pub fn call(&mut self, object: &str, method: &str, arguments: &Value) -> Result<Value> {
        let fields = to_fields(arguments)?;
        let data = self.call_encoded(object, method, &fields)?;
        Ok(from_fields(&data)?)
    }

    /// The same with nothing to encode and decode: for what is timed.
    pub fn call_encoded(&mut self, object: &str, method: &str, fields: &[u8]) -> Result<Vec<u8>> {
        match self.client()?.call(object, method, fields, PATIENCE) {
            Ok(reply) => Ok(reply.data),
            Err(CallError::Failed(reply)) => {
                let said: Value = from_fields(&reply.data).unwrap_or_default();
                let said = said["error"]["message"].as_str().unwrap_or_default().to_string();
                Err(format!("{object} {method}: {}: {said}", reply.status).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Calls a method of `cloudbox.container` for each of `arguments`, `at_once` in flight.
    pub fn call_many(&mut self, method: &str, arguments: &[Value], at_once: usize) -> Result<()> {
        let client = self.client()?;
        let mut flying = HashSet::new();
        let mut waiting = arguments.iter();
        loop {
            process::go_on()?;
            for arguments in waiting.by_ref().take(at_once - flying.len()) {
                let fields = to_fields(arguments)?;
                let deadline = Instant::now() + PATIENCE;
                flying.insert(client.connection().call("cloudbox.container", method, &fields, deadline));
            }
            if flying.is_empty() {
                return Ok(());
            }
            if let Some(Event::CallEnded { call, reply }) = client.next_event(None)? {
                flying.remove(&call);
                if !reply.status.is_ok() {
                    let said: Value = from_fields(&reply.data).unwrap_or_default();
                    return Err(format!("{method}: {}: {said}", reply.status).into());
                }
            }
        }
    }

    fn start_network(&mut self) -> Result<()> {
        let routes = process::run(process::command("ip")?.args(["-4", "route"]))?;
        let free = (0..16).map(|n| n * 16).find(|third| {
            let taken = |n: i32| routes.contains(&format!("10.214.{n}."));
            !(*third..third + 16).any(taken) && !Path::new(&format!("/sys/class/net/cbbench{third}")).exists()
        });
        let third = free.ok_or("no network among sixteen in 10.214.0.0/16 is free")?;
        let (bridge, address) = (format!("cbbench{third}"), format!("10.214.{third}.1"));
        process::run(process::command("ip")?.args(["link", "add", &bridge, "type", "bridge"]))?;
        self.bridge = Some(bridge.clone());
        let with_length = format!("{address}/20");
        process::run(process::command("ip")?.args(["address", "add", &with_length, "dev", &bridge]))?;
        process::run(process::command("ip")?.args(["link", "set", &bridge, "up"]))?;

        let mut dhcp = process::command("dnsmasq")?;
        dhcp.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-ping",
            "--no-hosts",
            "--no-resolv",
        ])
        .args(["--port=0", "--bind-interfaces", "--except-interface=lo", "--dhcp-authoritative"])
        .args(["--pid-file=", "--dhcp-lease-max=4000"])
        .arg(format!("--interface={bridge}"))
        .arg(format!("--dhcp-range=10.214.{third}.10,10.214.{}.250,255.255.240.0,12h", third + 15))
        .arg(format!("--dhcp-leasefile={}", self.dir.join("leases").display()))
        .arg("--log-facility=-");
        self.dhcp = Some(Server::start("dnsmasq", &mut dhcp, &self.dir.join("dhcp.log"))?);
        Ok(())
    }

    /// Ends the daemon; its containers stay as they are.
    pub fn stop_daemon(&mut self) {
        self.client = None;
        self.daemon = None;
    }

    /// Starts the daemon, and waits until it answers.
    pub fn start_daemon(&mut self) -> Result<()> {
        let bridge = self.bridge.as_deref().unwrap_or_default();
        let storage = self.layout().storage;
        let config = self.dir.join("config");
        fs::create_dir_all(&config)?;
        let text = format!(
            "config cloudbox 'main'\n\toption enabled '1'\n\toption bridge '{bridge}'\n\
             \toption disk '1G'\n\toption memory_reserve '64M'\n\toption disk_reserve '256M'\n"
        );
        let host =
            format!("config host 'host'\n\toption storage '{}'\n\tlist import_dir '/'\n", storage.display());
        fs::write(config.join("cloudbox-host"), host)?;
        // One that begins again finds its containers there.
        if !config.join("cloudbox").exists() {
            fs::write(config.join("cloudbox"), text)?;
        }
        let log = self.dir.join("daemon.log");
        let mut daemon = self.command(&["daemon", "--foreground"]);
        self.daemon = Some(Server::start("the daemon", &mut daemon, &log)?);
        let mut client = Client::connect(self.socket())?;
        process::within(20, "an answer of the daemon", || {
            self.daemon()?;
            Ok(client.call("cloudbox", "status", &[], Duration::from_secs(1)).is_ok())
        })?;
        self.client = Some(client);
        Ok(())
    }

    fn delete_containers(&mut self) -> Result<()> {
        let list = self.call("cloudbox.container", "list", &json!({}))?;
        let containers = list["containers"].as_array().cloned().unwrap_or_default();
        let delete = |c: &Value| json!({ "name": c["name"], "force": true, "wait": WAIT });
        let arguments: Vec<Value> = containers.iter().map(delete).collect();
        self.call_many("delete", &arguments, 8)
    }

    /// Takes everything down, however far it had come; returns what is left of it.
    fn take_down(&mut self) -> Vec<String> {
        if self.client.is_some() {
            // What this does not get is found below.
            let _ = self.delete_containers();
        }
        self.client = None;
        self.daemon = None;
        process::kill_monitors(&self.dir);
        self.dhcp = None;
        self.bus = None;
        // What is mounted last lies on top.
        for mount in mounts_below(&self.dir).iter().rev() {
            if umount2(mount, MntFlags::empty()).is_err() {
                let _ = umount2(mount, MntFlags::MNT_DETACH);
            }
        }
        if let Some(bridge) = self.bridge.take() {
            let delete =
                process::command("ip").and_then(|mut ip| process::run(ip.args(["link", "delete", &bridge])));
            if let Err(error) = delete {
                eprintln!("bench: {error}");
            }
        }
        let mut left: Vec<String> =
            mounts_below(&self.dir).iter().map(|mount| format!("mounted {}", mount.display())).collect();
        if left.is_empty() {
            if let Err(error) = fs::remove_dir_all(&self.dir) {
                left.push(format!("{}: {error}", self.dir.display()));
            }
        }
        left.extend(process::remove_cgroups(&self.layout().cgroup()));
        process::reap();
        left
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for what in self.take_down() {
            eprintln!("bench: left behind: {what}");
        }
    }
}

fn make_directory(place: &Path) -> Result<PathBuf> {
    let place = fs::canonicalize(place).map_err(|e| format!("{}: {e}", place.display()))?;
    let dir =
        (0..).map(|n| place.join(format!("bench.{}-{n}", std::process::id()))).find(|dir| !dir.exists());
    let dir = dir.ok_or("no name for a directory is free")?;
    fs::create_dir(&dir)?;
    // A container's root has to pass on the way to its files.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Mount points below `dir`, in the order they were mounted in.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}
