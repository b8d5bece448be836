//! A box of its own for each test: directories, a bridge with a DHCP server, a bus and a daemon. Nothing of it is left
//! when the test ends, however it ends.

use crate::bus::{self, Answer, Listener, Refusal};
use crate::processes::{self, output, sh, Process};
use cloudbox::model::name::Name;
use cloudbox::steps::layout::{ContainerDir, Layout};
use nix::mount::{umount2, MntFlags};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// How long anything may take that is not measured: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(5);
/// How long the kernel may take to let go of what nobody uses any more.
const SETTLE: Duration = Duration::from_secs(10);

/// Tests that measure run alone, the others together.
static TURN: RwLock<()> = RwLock::new(());

enum Turn {
    Shared(#[allow(dead_code)] RwLockReadGuard<'static, ()>),
    Alone(#[allow(dead_code)] RwLockWriteGuard<'static, ()>),
    /// The test has it by [`alone`].
    #[allow(dead_code)]
    Beside,
}

/// The turn of a test that runs while no other one does, and has more than one box.
#[allow(dead_code)]
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// The images the tests are given.
#[derive(Clone, Copy)]
pub enum Image {
    /// Debian with systemd.
    Distro,
    /// One busybox.
    Mini,
}

impl Image {
    pub fn name(self) -> &'static str {
        match self {
            Image::Distro => "distro",
            Image::Mini => "mini",
        }
    }

    pub fn path(self) -> PathBuf {
        let variable = match self {
            Image::Distro => "CLOUDBOX_TEST_IMAGE",
            Image::Mini => "CLOUDBOX_TEST_MINI",
        };
        PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set")))
    }
}

pub struct TestBox {
    /// Everything of this box lies here.
    pub dir: PathBuf,
    pub layout: Layout,
    /// The bridge its containers join.
    pub bridge: String,
    /// The first two and a half bytes of its network; the bridge has `.1`, DHCP gives `.100` and up.
    network: [u8; 3],
    /// Environment of the daemon besides where things are.
    pub environment: BTreeMap<&'static str, String>,
    /// A command line before the daemon's own, such as `unshare`.
    pub wrapper: Vec<String>,
    /// The same before the bus'.
    pub bus_wrapper: Vec<String>,
    /// The directory of the bus' access lists, instead of the usual one.
    pub bus_lists: Option<PathBuf>,
    /// Mounts of the test itself, which are no leftovers.
    pub own_mounts: Vec<PathBuf>,
    dhcp: Option<Process>,
    bus: Option<Process>,
    daemon: Option<Process>,
    /// Held to the end: a test may take its bridge away for a while, and nobody else is to get the name then.
    _claim: UnixListener,
    _turn: Turn,
}

impl TestBox {
    /// A box with a bus and a daemon, and the mini image imported. None where system tests cannot run.
    pub fn new(what: &str) -> Option<TestBox> {
        let mut the_box = TestBox::bare(what, false)?;
        the_box.start_bus();
        the_box.start_daemon();
        the_box.import(Image::Mini);
        Some(the_box)
    }

    /// The same, with the container `web`, which runs.
    pub fn with_web(what: &str) -> Option<TestBox> {
        let the_box = TestBox::new(what)?;
        the_box.create("web", json!({}));
        Some(the_box)
    }

    /// As [`TestBox::new`], while no other test runs.
    pub fn alone(what: &str) -> Option<TestBox> {
        let mut the_box = TestBox::bare(what, true)?;
        the_box.start_bus();
        the_box.start_daemon();
        the_box.import(Image::Mini);
        Some(the_box)
    }

    #[allow(dead_code)]
    /// One of several, for a test that has its turn by [`alone`].
    pub fn beside(what: &str) -> Option<TestBox> {
        let mut the_box = TestBox::with_turn(what, || Turn::Beside)?;
        the_box.start_bus();
        the_box.start_daemon();
        the_box.import(Image::Mini);
        Some(the_box)
    }

    /// The same as [`TestBox::bare`], as one of several for a test that has its turn by [`alone`].
    #[allow(dead_code)]
    pub fn bare_beside(what: &str) -> Option<TestBox> {
        TestBox::with_turn(what, || Turn::Beside)
    }

    /// Directories, bridge and DHCP server only.
    pub fn bare(what: &str, is_alone: bool) -> Option<TestBox> {
        TestBox::with_turn(what, || match is_alone {
            true => Turn::Alone(alone()),
            false => Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner)),
        })
    }

    fn with_turn(what: &str, turn: impl FnOnce() -> Turn) -> Option<TestBox> {
        if std::env::var_os("CLOUDBOX_TEST_IMAGE").is_none() {
            println!("skipped: {what}: CLOUDBOX_TEST_IMAGE is not set; scripts/test.sh sets it");
            return None;
        }
        assert!(nix::unistd::geteuid().is_root(), "system tests need root");
        for image in [Image::Distro, Image::Mini] {
            assert!(
                image.path().exists(),
                "{} is missing: scripts/image.sh makes it",
                image.path().display()
            );
        }
        for tool in ["lxc-start", "lxc-attach", "ip", "dnsmasq", "ping", "mkfs.ext4"] {
            cloudbox::steps::tool::Tool::find(tool).unwrap_or_else(|e| panic!("{e}"));
        }
        processes::adopt_orphans();
        let turn = turn();
        let (bridge, network, claim) = new_bridge();
        // A container's root must reach its files: a checkout below a closed directory, such as /root, is no place.
        let place = std::env::var_os("CLOUDBOX_TEST_DIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").into());
        let dir = Path::new(&place).join(&bridge);
        // What a test left that was killed: guests' trees may be deeper than a stack.
        let _ = cloudbox::steps::walk::remove(&dir);
        // Guests' roots pass through on their way to their own files.
        fs::create_dir_all(dir.join("etc")).unwrap();
        fs::create_dir_all(dir.join("avahi/services")).unwrap();
        fs::create_dir_all(dir.join("avahi-run")).unwrap();
        let dir = dir.canonicalize().unwrap();
        let layout = Layout { storage: dir.join("storage"), run: dir.join("run") };
        let mut the_box = TestBox {
            dir,
            layout,
            bridge,
            network,
            environment: BTreeMap::new(),
            wrapper: Vec::new(),
            bus_wrapper: Vec::new(),
            bus_lists: None,
            own_mounts: Vec::new(),
            dhcp: None,
            bus: None,
            daemon: None,
            _claim: claim,
            _turn: turn,
        };
        the_box.write_config("");
        the_box.write_host_config("\tlist key_dir '/'\n");
        the_box.start_dhcp(100);
        Some(the_box)
    }

    // ---- the box's parts

    pub fn config(&self) -> PathBuf {
        self.dir.join("etc/cloudbox")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("bus")
    }

    /// What `/etc/avahi` is on a real box.
    pub fn avahi(&self) -> PathBuf {
        self.dir.join("avahi")
    }

    /// What `/tmp/hosts` is on a real box.
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// Where this box's avahi-daemon keeps `pid` and `socket`.
    pub fn avahi_run(&self) -> PathBuf {
        self.dir.join("avahi-run")
    }

    /// The socket of this box's D-Bus, if it has one.
    pub fn dbus(&self) -> PathBuf {
        self.dir.join("dbus")
    }

    /// The port of the bridge behind which the neighbour lives.
    pub fn neighbour_port(&self) -> String {
        format!("{}n", self.bridge)
    }

    pub fn container(&self, name: &str) -> ContainerDir {
        self.layout.container(&Name::new(name).unwrap())
    }

    /// An address in the bridge's network.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Section `main` of this box, and `more` below it.
    pub fn write_config(&self, more: &str) {
        let text = format!(
            "# The owner's own words.\n\
             config cloudbox 'main'\n\
             \toption image 'mini'\n\
             \toption bridge '{}'\n\
             \toption memory '64M'\n\
             \toption disk 'none'\n\
             \toption memory_reserve '256M'\n\
             \toption disk_reserve '256M'\n\
             {more}",
            self.bridge
        );
        fs::write(self.config(), text).unwrap();
    }

    /// The file that is the owner's alone. This owner lets calls name any file.
    pub fn write_host_config(&self, more: &str) {
        let text = format!("config host 'host'\n\tlist export_dir '/'\n\tlist import_dir '/'\n{more}");
        fs::write(self.dir.join("etc/cloudbox-host"), text).unwrap();
    }

    pub fn config_text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    /// Changes the file as an editor would.
    pub fn edit_config(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.config(), change(self.config_text())).unwrap();
    }

    /// Gives addresses from `first` on.
    fn start_dhcp(&mut self, first: u8) {
        let log = fs::File::create(self.dir.join("dhcp.log")).unwrap();
        let mut command = Command::new("dnsmasq");
        command
            .args(["--conf-file=/dev/null", "--keep-in-foreground", "--port=0", "--bind-interfaces"])
            .args(["--except-interface=lo", "--dhcp-authoritative", "--no-ping", "--user=root"])
            .arg(format!("--interface={}", self.bridge))
            .arg(format!("--dhcp-range={},{},255.255.255.0,1h", self.address(first), self.address(250)))
            .arg(format!("--dhcp-leasefile={}", self.dir.join("leases").display()))
            .arg("--pid-file=")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.dhcp = Some(Process::spawn(&mut command));
    }

    /// Another DHCP server, which knows nothing of the first one's leases.
    pub fn new_dhcp(&mut self, first: u8) {
        drop(self.dhcp.take());
        let _ = fs::remove_file(self.dir.join("leases"));
        self.start_dhcp(first);
    }

    pub fn start_bus(&mut self) {
        let log = fs::File::create(self.dir.join("bus.log")).unwrap();
        let line: Vec<OsString> =
            self.bus_wrapper.iter().map(OsString::from).chain([bus_program().into_os_string()]).collect();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        if let Some(lists) = &self.bus_lists {
            command.arg("-A").arg(lists);
        }
        command
            .arg("-s")
            .arg(self.socket())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.bus = Some(Process::spawn(&mut command));
        let socket = self.socket();
        eventually("a bus", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn kill_bus(&mut self) {
        drop(self.bus.take());
    }

    /// Starts the daemon without waiting for it.
    pub fn launch_daemon(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        self.daemon = Some(Process::spawn(&mut self.daemon_command()));
    }

    /// What starts a daemon of this box.
    pub fn daemon_command(&self) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("daemon.log")).unwrap();
        let line: Vec<String> = self.wrapper.iter().cloned().chain([program()]).collect();
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .args(["daemon", "--foreground"])
            .env("UBUS_SOCKET", self.socket())
            .env("CLOUDBOX_CONFIG_DIR", self.dir.join("etc"))
            .env("CLOUDBOX_STORAGE", &self.layout.storage)
            .env("CLOUDBOX_RUN_DIR", &self.layout.run)
            .env("CLOUDBOX_AVAHI", self.avahi())
            .env("CLOUDBOX_AVAHI_RUN", self.avahi_run())
            .env("CLOUDBOX_HOSTS", self.hosts())
            .env("CLOUDBOX_DNSMASQ_RUN", self.dir.join("dnsmasq-run"))
            .env("CLOUDBOX_LEASES", self.dir.join("leases"))
            .env("CLOUDBOX_HOTPLUG", self.dir.join("hotplug"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", crate::avahi::bus_address(&self.dbus()))
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// Starts the daemon and waits until it answers.
    pub fn start_daemon(&mut self) {
        self.launch_daemon();
        self.wait_for_daemon();
    }

    pub fn wait_for_daemon(&self) {
        eventually("an answer of the daemon", || self.call("cloudbox", "status", json!({})).is_ok());
    }

    pub fn daemon_pid(&self) -> i32 {
        self.daemon.as_ref().expect("the daemon runs").pid()
    }

    /// `kill -9`.
    pub fn kill_daemon(&mut self) {
        drop(self.daemon.take());
    }

    /// Ends it as procd does, and waits.
    pub fn stop_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(nix::libc::SIGTERM);
            assert!(daemon.wait().success(), "the daemon's end was no good one");
        }
    }

    /// Whether the daemon has died, by an injected fault.
    #[cfg(feature = "faults")]
    pub fn daemon_has_ended(&mut self) -> bool {
        let ended = self.daemon.as_mut().is_none_or(Process::has_ended);
        if ended {
            self.daemon = None;
        }
        ended
    }

    /// Another daemon in the place of this one.
    pub fn restart_daemon(&mut self) {
        self.stop_daemon();
        self.start_daemon();
    }

    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default()
    }

    // ---- calls

    pub fn call(&self, object: &str, method: &str, arguments: Value) -> Answer {
        bus::call(&self.socket(), object, method, &arguments)
    }

    /// A call of `cloudbox.container` that must succeed.
    pub fn container_call(&self, method: &str, arguments: Value) -> Value {
        let shown = arguments.to_string();
        self.call("cloudbox.container", method, arguments)
            .unwrap_or_else(|e| panic!("{method} {shown}: {e:?}"))
    }

    pub fn listener(&self) -> Listener {
        Listener::new(&self.socket())
    }

    /// Waits until a job has ended.
    pub fn job_end(&self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.call("cloudbox.job", "wait", json!({ "id": id })).unwrap();
            if is_final(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "job {id} does not end: {job}");
        }
    }

    /// Makes a call that becomes a job, and waits for it.
    pub fn whole(&self, object: &str, method: &str, arguments: Value) -> Result<(), Refusal> {
        let reply = self.call(object, method, arguments)?;
        let job = self.job_end(reply["job"].as_str().unwrap());
        if job["state"] == "done" {
            return Ok(());
        }
        let text = |field: &str| job["error"][field].as_str().unwrap_or_default().to_string();
        Err(Refusal { status: 0, code: text("code"), message: text("message") })
    }

    pub fn import(&self, image: Image) {
        let args = json!({ "path": image.path(), "name": image.name() });
        self.whole("cloudbox.image", "import", args).unwrap();
    }

    /// Creates a container, and returns when it runs.
    pub fn create(&self, name: &str, mut arguments: Value) {
        arguments["name"] = name.into();
        self.whole("cloudbox.container", "create", arguments)
            .unwrap_or_else(|e| panic!("create {name}: {e:?}"));
    }

    pub fn start(&self, name: &str) {
        self.whole("cloudbox.container", "start", json!({ "name": name })).unwrap();
    }

    pub fn stop(&self, name: &str) {
        self.whole("cloudbox.container", "stop", json!({ "name": name })).unwrap();
    }

    pub fn kill(&self, name: &str) {
        self.whole("cloudbox.container", "stop", json!({ "name": name, "force": true })).unwrap();
    }

    pub fn delete(&self, name: &str) {
        self.whole("cloudbox.container", "delete", json!({ "name": name, "force": true })).unwrap();
    }

    /// Deletes the only container that there still is: nothing of any may be left.
    pub fn delete_last(&self, name: &str) {
        self.delete(name);
        self.assert_nothing_left();
    }

    pub fn reload(&self) -> Value {
        self.call("cloudbox", "reload", json!({})).unwrap()
    }

    /// All that are ours, orphans too.
    pub fn list(&self) -> Vec<Value> {
        let list = self.container_call("list", json!({}));
        ["containers", "orphans"].iter().flat_map(|kind| list[kind].as_array().unwrap().clone()).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.list().iter().map(|c| c["name"].as_str().unwrap().to_string()).collect()
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.call("cloudbox.job", "list", json!({})).unwrap()["jobs"].as_array().unwrap().clone()
    }

    /// Waits until no job is at work.
    pub fn quiet(&self) {
        for job in self.jobs().iter().filter(|job| !is_final(job)) {
            self.job_end(job["id"].as_str().unwrap());
        }
    }

    pub fn info(&self, name: &str) -> Value {
        self.container_call("info", json!({ "name": name }))
    }

    /// `running`, `stopped`, …, or `absent`.
    pub fn state(&self, name: &str) -> String {
        let list = self.list();
        let entry = list.iter().find(|c| c["name"] == name);
        entry.map_or("absent", |c| c["state"].as_str().unwrap()).to_string()
    }

    pub fn wait_for_state(&self, name: &str, state: &str) {
        eventually(&format!("{name} is {state}"), || self.state(name) == state);
    }

    /// The host's pid of a running container's init.
    pub fn init(&self, name: &str) -> i32 {
        let info = self.info(name);
        info["pid"].as_i64().unwrap_or_else(|| panic!("{name} does not run: {info}")) as i32
    }

    /// Waits for the container's address.
    pub fn wait_for_address(&self, name: &str) -> IpAddr {
        let find = || -> Option<IpAddr> {
            let info = self.info(name);
            let mut addresses = info["addresses"]
                .as_array()?
                .iter()
                .filter_map(|a| a.as_str()?.split('/').next()?.parse::<IpAddr>().ok());
            addresses.find(IpAddr::is_ipv4)
        };
        let mut found = None;
        eventually(&format!("an address of {name}"), || {
            found = find();
            found.is_some()
        });
        found.unwrap()
    }

    /// Runs a command inside.
    pub fn exec(&self, name: &str, command: &[&str]) -> Value {
        self.container_call("exec", json!({ "name": name, "command": command, "timeout": 60 }))
    }

    /// Waits until a guest with systemd has booted whole.
    pub fn booted(&self, name: &str) {
        let mut last = Value::Null;
        // Before systemd listens, systemctl says "offline" at once instead of waiting.
        eventually(&format!("the boot of {name}"), || {
            last = self.exec(name, &["systemctl", "is-system-running", "--wait"]);
            last["stdout"] != "offline\n" && last["stdout"] != ""
        });
        let failed = || self.exec(name, &["systemctl", "--failed", "--no-pager"]);
        assert_eq!(last["stdout"], "running\n", "{last} {}", failed());
    }

    /// Runs a shell script inside, which must succeed; returns what it printed.
    pub fn inside(&self, name: &str, script: &str) -> String {
        let reply = self.exec(name, &["/bin/sh", "-ec", script]);
        assert_eq!(reply["code"], 0, "{script}: {reply}");
        reply["stdout"].as_str().unwrap().trim_end().to_string()
    }

    // ---- what the kernel says, asked without the daemon

    /// Processes in the container's cgroup, whatever LXC called it.
    pub fn processes(&self, name: &str) -> Vec<i32> {
        let group = format!("/{}/{name}", self.layout.cgroup());
        let is_of = |path: &str| {
            let rest = path.strip_prefix(&group);
            rest.is_some_and(|rest| {
                let rest = rest.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
                rest.is_empty() || rest.starts_with('/')
            })
        };
        processes::all().into_iter().filter(|pid| processes::cgroups(*pid).iter().any(|c| is_of(c))).collect()
    }

    /// Init processes of the container: two would be two instances.
    pub fn inits(&self, name: &str) -> Vec<i32> {
        self.processes(name).into_iter().filter(|pid| processes::is_init(*pid)).collect()
    }

    /// The pid of LXC's monitor.
    pub fn monitor(&self, name: &str) -> i32 {
        let monitor = processes::parent(self.init(name));
        let title = fs::read_to_string(format!("/proc/{monitor}/cmdline")).unwrap();
        assert!(title.starts_with("[lxc monitor]"), "{monitor}: {title}");
        monitor
    }

    /// A file of the container's cgroup; `v1` and `v2` are its names in the two families.
    pub fn limit(&self, name: &str, controller: &str, v1: &str, v2: &str) -> String {
        let below = format!("{}/{name}", self.layout.cgroup());
        let old = Path::new("/sys/fs/cgroup").join(controller).join(&below).join(v1);
        let new = Path::new("/sys/fs/cgroup").join(&below).join(v2);
        let path = if old.exists() { old } else { new };
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_string()
    }

    /// Mount points below the box, the deepest last.
    fn mounts(&self) -> Vec<PathBuf> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|p| p.starts_with(&self.dir) && !self.own_mounts.contains(p)).collect()
    }

    fn cgroup_dirs(&self) -> Vec<PathBuf> {
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        roots.extend(fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|e| e.path()));
        roots.into_iter().map(|root| root.join(self.layout.cgroup())).filter(|dir| dir.exists()).collect()
    }

    /// Processes of containers, and of LXC on the way to becoming such.
    fn group_processes(&self) -> Vec<i32> {
        let group = format!("/{}/", self.layout.cgroup());
        let containers = self.layout.containers().display().to_string();
        let is_lxcs = |pid: i32| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let title = String::from_utf8_lossy(&title);
            let program = title.split('\0').next().unwrap_or_default();
            (program.ends_with("lxc-start") || program.starts_with("[lxc monitor]"))
                && title.contains(&containers)
        };
        let of_group = |pid: &i32| {
            processes::cgroups(*pid).iter().any(|c| format!("{c}/").starts_with(&group)) || is_lxcs(*pid)
        };
        processes::all().into_iter().filter(of_group).collect()
    }

    /// Everything that containers leave when they are not removed whole.
    fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self.mounts().iter().map(|m| format!("mount {}", m.display())).collect();
        for device in fs::read_dir("/sys/block").unwrap().flatten() {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if file.starts_with(self.layout.storage.to_str().unwrap()) {
                left.push(format!("loop device on {}", file.trim()));
            }
        }
        for dir in self.cgroup_dirs() {
            let inside = fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir());
            let inside: Vec<_> = inside.map(|e| e.file_name()).collect();
            left.push(format!("cgroup {} with {inside:?}", dir.display()));
        }
        left.extend(self.group_processes().iter().map(|p| format!("process {p}")));
        for (what, dir) in [
            ("container directory", self.layout.containers()),
            ("lower mount point", self.layout.run.join("lower")),
            ("pid file", self.layout.run.join("pid")),
            ("interface", Path::new("/sys/class/net").join(&self.bridge).join("brif")),
        ] {
            let names = fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.file_name());
            let names = names.filter(|name| *name != *self.neighbour_port());
            left.extend(names.map(|name| format!("{what} {}", name.to_string_lossy())));
        }
        let config = fs::read_to_string(self.config()).unwrap_or_default();
        left.extend(config.lines().filter(|l| l.starts_with("config container")).map(String::from));
        left
    }

    /// Fails unless every trace of every container is gone, to the last kernel object.
    pub fn assert_nothing_left(&self) {
        let begun = Instant::now();
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < SETTLE, "left behind: {left:#?}");
            std::thread::sleep(LOOK);
        }
    }

    /// As a power cut and a boot: everything that is not on the disk is gone.
    pub fn power_cut(&mut self) {
        self.kill_daemon();
        self.tear_down();
        let _ = fs::remove_dir_all(&self.layout.run);
    }

    fn tear_down(&self) {
        self.cgroup_dirs().iter().for_each(|dir| thaw(dir));
        let deadline = Instant::now() + SETTLE;
        while !self.group_processes().is_empty() && Instant::now() < deadline {
            for pid in self.group_processes() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            std::thread::sleep(LOOK);
        }
        for mount in self.mounts().iter().rev() {
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
        for dir in self.cgroup_dirs() {
            remove_cgroup(&dir);
        }
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.daemon_log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the daemon's last words:");
            tail.iter().rev().for_each(|line| eprintln!("    {line}"));
        }
        self.kill_daemon();
        self.tear_down();
        for mount in std::mem::take(&mut self.own_mounts) {
            let _ = umount2(&mount, MntFlags::MNT_DETACH);
        }
        self.dhcp = None;
        self.bus = None;
        let _ = cloudbox::steps::walk::remove(&self.dir);
        for lxc in ["/run/lxc", "/run/lxc/lock"] {
            let _ = fs::remove_dir_all(Path::new(lxc).join(self.dir.strip_prefix("/").unwrap()));
        }
        // Last: whoever gets the bridge's name next gets the directory with it.
        output(Command::new("ip").args(["link", "delete", &self.bridge]));
    }
}

/// The groups just below a group.
fn groups_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).map(|entry| entry.path()).collect()
}

/// Processes that are frozen do not even die.
fn thaw(dir: &Path) {
    for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if dir.join(file).exists() {
            let _ = fs::write(dir.join(file), word);
        }
    }
    groups_in(dir).iter().for_each(|group| thaw(group));
}

fn remove_cgroup(dir: &Path) {
    groups_in(dir).iter().for_each(|group| remove_cgroup(group));
    let _ = fs::remove_dir(dir);
}

pub fn is_final(job: &Value) -> bool {
    ["done", "failed", "cancelled"].iter().any(|state| job["state"] == *state)
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A bridge nobody else has, its network, and the claim on its name. The kernel decides who gets a name: an abstract
/// socket is bound once, and is free again when its process ends, however that happens.
fn new_bridge() -> (String, [u8; 3], UnixListener) {
    for number in 0..=u16::MAX {
        let name = format!("cbt{number}");
        let address = SocketAddr::from_abstract_name(format!("cloudbox-test-{name}")).unwrap();
        let Ok(claim) = UnixListener::bind_addr(&address) else { continue };
        if !output(Command::new("ip").args(["link", "add", &name, "type", "bridge"])).status.success() {
            continue;
        }
        let network = [10, 200 + (number / 256) as u8 % 50, (number % 256) as u8];
        let [a, b, c] = network;
        sh(&format!("ip addr add {a}.{b}.{c}.1/24 dev {name}; ip link set {name} up"));
        return (name, network, claim);
    }
    panic!("no bridge can be made");
}

/// The program under test: the one just built, unless CLOUDBOX_TEST_PROGRAM names another, such as an older one.
pub fn program() -> String {
    std::env::var("CLOUDBOX_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cloudbox").to_string())
}

/// OpenWrt's ubusd where there is one, else our broker.
fn bus_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        if let Some(ubusd) = std::env::var_os("UBUSD") {
            return PathBuf::from(ubusd);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(ubusd) = std::env::split_paths(&path).map(|d| d.join("ubusd")).find(|p| p.exists()) {
            return ubusd;
        }
        // Cargo builds no other package's programs for a test.
        let profile = Path::new(env!("CARGO_BIN_EXE_cloudbox")).parent().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--package", "openwrt-ubus", "--features", "broker"])
            .args(["--bin", "ubus-broker", "--target-dir"])
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let built = output(&mut cargo);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.join("ubus-broker")
    };
    PROGRAM.get_or_init(find).clone()
}
