//! The package on a box: its own scripts, run as OpenWrt runs them, and real containers. The box's root is this machine's
//! with a layer above it, in a mount namespace; `on_box/` stands in for what OpenWrt has and Debian has not.

use crate::processes::{self, output, sh, Process};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A box on which the package can be installed.
pub struct OnBox {
    pub the_box: TestBox,
    first: Process,
    /// What `/dev/log` is on a real box.
    syslog: UnixDatagram,
    log: Arc<Mutex<String>>,
}

impl OnBox {
    pub fn new(what: &str) -> Option<OnBox> {
        let on_box = OnBox::with_silent_log(what)?;
        let (syslog, log) = (on_box.syslog.try_clone().unwrap(), on_box.log.clone());
        std::thread::spawn(move || read_log(&syslog, &log));
        Some(on_box)
    }

    /// One whose log daemon hangs.
    fn with_silent_log(what: &str) -> Option<OnBox> {
        let mut the_box = TestBox::bare(what, false)?;
        let dir = the_box.dir.clone();
        the_box.layout.run = dir.join("run/cloudbox");
        fs::remove_file(the_box.config()).unwrap();
        fs::create_dir_all(dir.join("run/ubus")).unwrap();
        fs::copy(Image::Mini.path(), dir.join("mini.squashfs")).unwrap();
        let syslog = UnixDatagram::bind(dir.join("run/log")).unwrap();
        the_box.start_bus();
        Some(OnBox { first: enter(&dir), the_box, syslog, log: Arc::default() })
    }

    /// Another root in the place of the box's own, which has shut down, as sysupgrade leaves it: of all that was written,
    /// the `kept` files are there, and the disk with the storage.
    pub fn renew_root(&mut self, kept: &[&str]) {
        let dir = self.the_box.dir.clone();
        let files: Vec<(&str, Vec<u8>)> =
            kept.iter().map(|file| (*file, fs::read(self.path(file)).unwrap())).collect();
        self.first.signal(nix::libc::SIGKILL);
        self.first.wait();
        self.the_box.power_cut();
        for written in ["root", "upper", "work", "etc", "run/ubus", "run/procd"] {
            fs::remove_dir_all(dir.join(written)).unwrap();
        }
        fs::create_dir_all(dir.join("etc")).unwrap();
        fs::create_dir_all(dir.join("run/ubus")).unwrap();
        self.first = enter(&dir);
        for (file, content) in files {
            fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
            fs::write(self.path(file), content).unwrap();
        }
    }

    /// A path of the box as this test reaches it.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.first.pid())).join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Runs a script on the box.
    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.first.pid().to_string(),
            "--mount",
            "--wd=/",
            "/bin/sh",
            "-c",
            script,
        ]);
        for variable in
            ["UBUS_SOCKET", "CLOUDBOX_CONFIG_DIR", "CLOUDBOX_STORAGE", "CLOUDBOX_RUN_DIR", "IPKG_INSTROOT"]
        {
            command.env_remove(variable);
        }
        output(&mut command)
    }

    /// Runs what must succeed and complain of nothing; returns what it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{script}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the box's log holds.
    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn wait_for_log(&self, words: &[&str]) {
        eventually(&format!("a line with {words:?} in the log"), || {
            self.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// Installs the package, lets its daemon run, and imports the mini image.
    fn install_and_start(&self) {
        self.opkg_install(&package(&self.the_box.dir), false);
        self.configure();
        self.init("restart");
        self.the_box.wait_for_daemon();
        let mini = self.the_box.dir.join("mini.squashfs");
        self.the_box.whole("cloudbox.image", "import", json!({ "path": mini, "name": "mini" })).unwrap();
    }

    pub fn opkg_install(&self, ipk: &Path, upgrade: bool) -> String {
        let here = self.the_box.dir.join("new.ipk");
        fs::copy(ipk, &here).unwrap();
        self.sh(&format!("opkg {} {}", if upgrade { "upgrade" } else { "install" }, here.display()))
    }

    fn opkg_remove(&self) -> String {
        self.sh("opkg remove cloudbox")
    }

    /// Configures it as its owner would, for this test's bridge and storage.
    fn configure(&self) {
        let the_box = &self.the_box;
        fs::create_dir_all(&the_box.layout.storage).unwrap();
        self.sh(&format!(
            "uci set cloudbox-host.host.storage={}
            uci set cloudbox.main.bridge={}
            uci set cloudbox.main.image=mini
            uci set cloudbox.main.memory=64M
            uci set cloudbox.main.disk=none
            uci set cloudbox.main.memory_reserve=64M
            uci set cloudbox.main.disk_reserve=64M
            uci commit cloudbox; uci commit cloudbox-host",
            the_box.layout.storage.display(),
            the_box.bridge
        ));
    }

    pub fn init(&self, action: &str) {
        let said = self.sh(&format!("/etc/init.d/cloudbox {action}"));
        assert_eq!(said, "", "the init script is not quiet");
    }

    pub fn doctor(&self) -> Vec<Value> {
        self.the_box.call("cloudbox", "doctor", json!({})).unwrap()["checks"].as_array().unwrap().clone()
    }

    fn finding(&self, check: &str) -> (String, String) {
        let checks = self.doctor();
        let found = checks.iter().find(|c| c["name"] == check && c["state"] != "ok");
        let found = found.or_else(|| checks.iter().find(|c| c["name"] == check)).unwrap();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_string();
        (text("state"), text("message"))
    }

    pub fn daemon_pid(&self) -> i32 {
        self.read("/run/procd/cloudbox.pid").trim().parse().unwrap()
    }

    /// The power goes: everything that is not on the disk is gone.
    fn lose_power(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.daemon_pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        self.the_box.power_cut();
        fs::remove_dir_all(self.path("/run/procd")).unwrap();
    }
}

/// Makes the root of the box in `dir`, and starts its first process.
fn enter(dir: &Path) -> Process {
    let stand_ins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/on_box");
    let told = fs::File::create(dir.join("entered")).unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(stand_ins.join("enter.sh")).arg(dir).arg(&stand_ins);
    let complaints = fs::File::create(dir.join("enter.log")).unwrap();
    let first = Process::spawn(command.stdin(Stdio::null()).stdout(told).stderr(complaints));
    eventually("the box", || {
        let said = fs::read_to_string(dir.join("enter.log")).unwrap();
        assert_eq!(said, "", "the box's root cannot be made");
        fs::read_to_string(dir.join("entered")).unwrap() == "entered\n"
    });
    first
}

/// Reads what the daemon sends to syslog, as logd would show it.
fn read_log(syslog: &UnixDatagram, log: &Mutex<String>) {
    let mut line = [0; 2048];
    while let Ok(length @ 1..) = syslog.recv(&mut line) {
        let line = std::str::from_utf8(&line[..length]).unwrap();
        let shown = shown_by_logd(line).unwrap_or_else(|| format!("DAMAGED: {line:?}\n"));
        log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&shown);
    }
}

/// None when logd would not find the tag, or would cut the line.
fn shown_by_logd(line: &str) -> Option<String> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    let severities = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    let priority: usize = priority.parse().ok().filter(|priority: &usize| *priority >> 3 == 3usize)?;
    // It takes 16 bytes for the time when the last of them is a blank.
    let message = if rest.as_bytes().get(15) == Some(&b' ') { rest.get(16..)? } else { rest };
    let (_, text) = message.strip_prefix("cloudbox[")?.split_once("]: ")?;
    let whole = line.len() < 1023 && !line.contains('\n');
    whole.then(|| format!("{}: {text}\n", severities[priority & 7]))
}

impl Drop for OnBox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the box's log:\n{}", self.log());
        }
        let pid =
            fs::read_to_string(self.path("/run/procd/cloudbox.pid")).ok().and_then(|p| p.trim().parse().ok());
        if let Some(pid) = pid {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// The package with the program under test, without what only a debugger needs.
pub fn package(dir: &Path) -> PathBuf {
    package_of(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        Path::new(env!("CARGO_BIN_EXE_cloudbox")),
        &dir.join("packed"),
    )
}

/// The package of the sources in `tree` with `program`, made in `out`.
pub fn package_of(tree: &Path, program: &Path, out: &Path) -> PathBuf {
    sh(&format!(
        "mkdir -p '{out}'; cp '{}' '{out}/cloudbox'; strip '{out}/cloudbox'
        '{}/scripts/package.sh' --binary '{out}/cloudbox' --out '{out}' x86_64",
        program.display(),
        tree.display(),
        out = out.display(),
    ));
    let found = fs::read_dir(out.join("x86_64")).unwrap().map(|e| e.unwrap().path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cloudbox_"));
    found.into_iter().find(is_it).unwrap()
}

#[test]
fn from_the_installation_to_the_removal() {
    let Some(on_box) = OnBox::new("the package's story") else { return };
    let ipk = package(&on_box.the_box.dir);
    let storage = on_box.the_box.layout.storage.clone();

    // OnBox: it runs, is started at boot, has sizes that fit the box, and says what the box lacks.
    let said = on_box.opkg_install(&ipk, false);
    assert_eq!(said, "");
    on_box.the_box.wait_for_daemon();
    assert_eq!(on_box.sh("cloudbox --version"), format!("cloudbox {VERSION}\n"));
    assert!(!on_box.path("/etc/uci-defaults/60-cloudbox").exists(), "it would run at every boot");
    assert_eq!(on_box.sh("ls /etc/rc.d"), "K10cloudbox\nS60cloudbox\n");
    assert_eq!(fs::metadata(on_box.the_box.config()).unwrap().permissions().mode() & 0o777, 0o600);
    let told = on_box.read("/run/procd/cloudbox.told");
    for line in [
        "command /usr/bin/cloudbox daemon",
        "file /usr/bin/cloudbox",
        "respawn 3600 1 0",
        "stderr 1",
        "reload on cloudbox cloudbox-host",
        "mounted on mount of /srv/cloudbox",
    ] {
        assert!(told.lines().any(|l| l == line), "procd was not told {line:?}: {told}");
    }
    assert!(on_box.the_box.config_text().contains("\toption memory_reserve '"));
    on_box.wait_for_log(&["warn: images: there is no image"]);

    // Configured by uci, which another storage makes a restart of, not a reload.
    on_box.configure();
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    let mini = on_box.the_box.dir.join("mini.squashfs");
    let import = json!({ "path": mini, "name": "mini" });
    on_box.the_box.whole("cloudbox.image", "import", import).unwrap();
    let web = json!({ "name": "web", "priority": "10", "wait": 15 });
    let created = on_box.the_box.call("cloudbox.container", "create", web).unwrap();
    assert_eq!(created["state"], "done", "{created}");
    on_box.the_box.create("idle", json!({ "autostart": false }));
    on_box.the_box.kill("idle");

    // A change by uci is taken up at a reload, by the same daemon.
    let daemon = on_box.daemon_pid();
    on_box.sh("printf \"config container 'declared'\\n\\toption priority '90'\\n\" >> /etc/config/cloudbox");
    on_box.init("reload");
    on_box.the_box.wait_for_state("declared", "running");
    assert_eq!(on_box.daemon_pid(), daemon);

    // Upgraded: another daemon, the same processes; the owner's configuration stays.
    let identity = |on_box: &OnBox| {
        let mut all: Vec<(i32, String)> = Vec::new();
        for name in ["web", "declared"] {
            let pids = on_box.the_box.processes(name).into_iter().filter(|pid| processes::lives(*pid));
            all.extend(pids.map(|pid| (pid, processes::start_time(pid))));
        }
        all.retain(|(pid, _)| processes::is_init(*pid) || processes::is_init(processes::parent(*pid)));
        all
    };
    on_box.the_box.inside("web", "(exec sleep 100000) > /dev/null 2>&1 &");
    let (before, config) = (identity(&on_box), on_box.the_box.config_text());
    assert!(before.len() >= 2, "{before:?}");
    on_box.opkg_install(&ipk, true);
    on_box.the_box.wait_for_daemon();
    assert_ne!(on_box.daemon_pid(), daemon);
    assert_eq!(on_box.the_box.config_text(), config);
    assert!(on_box.path("/etc/config/cloudbox-opkg").exists(), "the new version's file is lost");
    let after = identity(&on_box);
    assert!(before.iter().all(|process| after.contains(process)), "{before:?} became {after:?}");
    assert_eq!(on_box.the_box.state("web"), "running");

    // apk does it without a stop: the files are other ones, and the service is started.
    let opkgs = on_box.daemon_pid();
    on_box.sh("cp /usr/bin/cloudbox /tmp/new && echo >> /tmp/new && mv /tmp/new /usr/bin/cloudbox");
    on_box.init("start");
    on_box.the_box.wait_for_daemon();
    let apks = on_box.daemon_pid();
    assert_ne!(apks, opkgs, "the old program goes on");
    assert!(before.iter().all(|process| identity(&on_box).contains(process)));
    on_box.init("start");
    assert_eq!(on_box.daemon_pid(), apks, "nothing has changed");

    // Stopped, the service leaves them running; started, it finds them.
    on_box.init("stop");
    assert!(before.iter().all(|(pid, _)| processes::lives(*pid)));
    on_box.init("start");
    on_box.the_box.wait_for_daemon();
    assert_eq!(on_box.the_box.state("web"), "running");

    // The box shuts down: every guest is asked to, in reverse order, and has time to. That one was asked is seen by what its
    // init does then.
    for name in ["web", "declared"] {
        on_box
            .the_box
            .inside(name, "printf '#!/bin/sh\\n: > /root/gently\\nexec poweroff -nf\\n' > /etc/init.d/rcK");
    }
    fs::create_dir_all(on_box.path("/etc/avahi/services")).unwrap();
    on_box.init("shutdown");
    eventually("the end of the containers", || before.iter().all(|(pid, _)| !processes::lives(*pid)));
    for name in ["web", "declared"] {
        let mark = on_box.the_box.container(name).upper().join("root/gently");
        assert!(mark.exists(), "{name} was not asked to shut down");
    }
    assert!(!on_box.path("/run/procd/cloudbox.pid").exists());
    let log = on_box.log();
    let place = |name: &str| log.rfind(&format!("container {name} is stopped"));
    assert!(place("declared").is_some() && place("declared") < place("web"), "not in reverse order");

    // It boots, with adverts of the last run that a loss of power left: they go before avahi-daemon reads them.
    let services = on_box.path("/etc/avahi/services");
    let ours = "<?xml version=\"1.0\"?>\n<!-- written by cloudbox: changes are lost -->\n";
    for (file, text) in [
        ("cloudbox.service", ours),
        ("cloudbox-gone.service", ours),
        ("cloudbox-cut.service", ""),
        ("cloudbox-mine.service", "<service-group/>\n"),
        ("ssh.service", "<service-group/>\n"),
    ] {
        fs::write(services.join(file), text).unwrap();
    }
    let hosts = "10.0.0.1 printer.local\n# cloudbox: begin (written by cloudbox)\n10.0.0.7 web-a.local\n\
                 # cloudbox: end\n10.0.0.2 nas.local\n";
    fs::write(on_box.path("/etc/avahi/hosts"), hosts).unwrap();
    fs::remove_dir_all(&on_box.the_box.layout.run).unwrap();
    // Nothing else is at work: what the script removes is what is gone when it ends.
    on_box.sh("chmod -x /usr/bin/cloudbox");
    assert!(String::from_utf8_lossy(&on_box.run("/etc/init.d/cloudbox boot").stderr)
        .contains("does not run on this"));
    let mut left: Vec<_> =
        fs::read_dir(&services).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    left.retain(|name| name.starts_with("cloudbox") || name == "ssh.service");
    assert_eq!(left, ["cloudbox-mine.service", "ssh.service"]);
    assert_eq!(on_box.read("/etc/avahi/hosts"), "10.0.0.1 printer.local\n10.0.0.2 nas.local\n");
    on_box.sh("chmod +x /usr/bin/cloudbox");
    on_box.init("boot");
    on_box.the_box.wait_for_daemon();
    on_box.the_box.wait_for_state("web", "running");
    on_box.the_box.wait_for_state("declared", "running");
    assert_eq!(on_box.the_box.state("idle"), "stopped");

    // Removed: the containers are stopped, also those that a stopped service left; their data and the words about it stay.
    on_box.init("stop");
    let said = on_box.opkg_remove();
    assert!(said.contains(&format!("rm -rf {}", storage.display())), "{said}");
    assert!(!on_box.path("/usr/bin/cloudbox").exists() && !on_box.path("/etc/init.d/cloudbox").exists());
    assert_eq!(on_box.sh("ls /etc/rc.d"), "");
    eventually("the end of the containers", || on_box.the_box.processes("web").is_empty());
    assert!(on_box.the_box.container("web").record().exists());
    assert!(on_box.the_box.config_text().contains("config container 'web'"));

    // OnBox again, it is as if nothing had been.
    on_box.opkg_install(&ipk, false);
    on_box.the_box.wait_for_daemon();
    on_box.the_box.wait_for_state("web", "running");
    for name in ["web", "declared", "idle"] {
        on_box.the_box.delete(name);
    }
    on_box.the_box.assert_nothing_left();
    on_box.init("stop");
}

#[test]
fn a_box_that_is_not_fit_starts_the_service_and_hears_why() {
    let Some(on_box) = OnBox::new("a box that is not fit") else { return };
    let ipk = package(&on_box.the_box.dir);
    on_box.opkg_install(&ipk, false);
    on_box.the_box.wait_for_daemon();
    // What most boxes have for a root.
    let (state, message) = on_box.finding("storage");
    assert_eq!(state, "warning", "{message}");
    on_box.wait_for_log(&["warn: storage: /srv/cloudbox is on", "overlay"]);

    // A bridge that is not there.
    on_box.configure();
    on_box.sh("uci set cloudbox.main.bridge=br-nosuch");
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    on_box.wait_for_log(&["err: bridge: ", "br-nosuch"]);
    assert_eq!(on_box.finding("bridge").0, "error");

    // Storage in memory.
    let storage = on_box.the_box.layout.storage.display().to_string();
    let in_memory = format!("{storage}-in-memory");
    on_box.sh(&format!(
        "mkdir {in_memory}; mount -t tmpfs -o size=16M tmpfs {in_memory}; uci set cloudbox-host.host.storage={in_memory}"
    ));
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    on_box.wait_for_log(&["err: storage: ", "is in memory"]);
    assert_eq!(on_box.finding("storage").0, "error");

    // Storage smaller than what is kept of it: nothing is put there.
    on_box.sh(&format!(
        "truncate -s 24M {storage}.img; mkfs.ext4 -q {storage}.img; mkdir {storage}-small
        mount -o loop {storage}.img {storage}-small
        uci set cloudbox-host.host.storage={storage}-small; uci set cloudbox.main.disk_reserve=2G"
    ));
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    on_box.wait_for_log(&["warn: storage: ", "-small has", "2G is kept"]);
    let mini = on_box.the_box.dir.join("mini.squashfs");
    let refused = on_box.the_box.whole("cloudbox.image", "import", json!({ "path": mini, "name": "mini" }));
    assert_eq!(refused.unwrap_err().code, "no_space");

    // The configuration of another version: what is unknown is named, the rest holds.
    let config = on_box.the_box.config_text();
    on_box.the_box.edit_config(|text| {
        text.replace("config cloudbox 'main'\n", "config cloudbox 'main'\n\toption turbo '1'\n")
            + "\nconfig galaxy 'milky_way'\n\toption stars '100'\n"
    });
    on_box.init("restart");
    on_box.the_box.wait_for_daemon();
    on_box.wait_for_log(&["warn: ", "turbo"]);
    on_box.wait_for_log(&["warn: ", "galaxy"]);
    assert_eq!(on_box.finding("configuration").0, "warning");
    on_box.the_box.edit_config(|_| config);

    // Another architecture's program: said once, and not tried again and again.
    on_box.init("stop");
    on_box.sh("mv /usr/bin/cloudbox /tmp/cloudbox; printf '\\177ELF\\2\\2\\1' > /usr/bin/cloudbox; chmod 755 /usr/bin/cloudbox");
    let started = on_box.run("/etc/init.d/cloudbox start");
    assert!(started.stdout.is_empty());
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(said.contains("does not run on this processor"), "{said}");
    assert!(!on_box.path("/run/procd/cloudbox.pid").exists(), "procd was given a program that cannot run");
    on_box.sh(&format!(
        "mv /tmp/cloudbox /usr/bin/cloudbox; umount {in_memory} {storage}-small; rm -r {storage}*"
    ));
}

#[test]
fn a_log_daemon_that_hangs_does_not_hold_up_the_service() {
    let Some(on_box) = OnBox::with_silent_log("a log daemon that hangs") else { return };
    on_box.install_and_start();
    // More lines than the socket holds.
    for round in 0..8 {
        on_box.the_box.create("web", json!({}));
        on_box.the_box.delete("web");
        assert_eq!(on_box.the_box.names(), Vec::<String>::new(), "round {round}");
    }
    on_box.the_box.assert_nothing_left();
    on_box.init("stop");
}

#[test]
fn a_disk_that_is_mounted_late_brings_its_containers_to_life() {
    let Some(mut on_box) = OnBox::new("a late disk") else { return };
    on_box.install_and_start();
    on_box.the_box.create("web", json!({}));
    on_box.lose_power();

    // The disk is not there when the service starts: nothing is made in its place, since there is no image either.
    let storage = on_box.the_box.layout.storage.clone();
    let away = storage.with_extension("away");
    fs::rename(&storage, &away).unwrap();
    on_box.init("boot");
    on_box.the_box.wait_for_daemon();
    on_box.the_box.quiet();
    assert_eq!(on_box.the_box.state("web"), "failed");
    assert!(!on_box.the_box.container("web").path().exists());

    // In one go: the daemon may be writing its list of jobs.
    let empty = storage.with_extension("empty");
    fs::rename(&storage, &empty).unwrap();
    fs::rename(&away, &storage).unwrap();
    fs::remove_dir_all(&empty).unwrap();
    on_box.init("mounted");
    on_box.the_box.wait_for_daemon();
    on_box.the_box.wait_for_state("web", "running");
    on_box.the_box.delete("web");
    on_box.the_box.assert_nothing_left();
    on_box.init("stop");
}
