//! The box the pages' commands are typed on: a bus, a daemon, a bridge with DHCP, an avahi-daemon, and the distro.

use crate::avahi::{self, Avahi, Place};
use crate::page::Step;
use crate::processes::Process;
use crate::test_box::{Image, TestBox};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The longest a page may take, in seconds.
const PAGE_SECONDS: &str = "300";
/// Marks of where a command's output begins and ends, which no program prints.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';
/// The network of the pages; the test's own has another number in the place of the 0.
const NETWORK: &str = "10.200.0.";

/// What a command printed, and its exit code.
pub struct Ran {
    pub output: String,
    pub code: i32,
}

pub struct DemoBox {
    the_box: TestBox,
    _avahi: Avahi,
    path: String,
    /// The distro's, once it was imported.
    sha256: Value,
    /// What a page says, and what it is on this box.
    names: Vec<(String, String)>,
}

impl DemoBox {
    /// None where tests with containers cannot run.
    pub fn new() -> Option<DemoBox> {
        let mut the_box = TestBox::bare("the pages' commands", true)?;
        let dir = the_box.dir.clone();
        // The box of the pages is called alpha.
        let call_it = "echo alpha >/proc/sys/kernel/hostname; exec \"$@\"";
        the_box.wrapper = ["unshare", "--uts", "/bin/sh", "-ec", call_it, "sh"].map(String::from).to_vec();
        let place = Place {
            etc: the_box.avahi(),
            run: the_box.avahi_run(),
            bus: the_box.dbus(),
            log: dir.join("avahi.log"),
            enter: Vec::new(),
            interface: the_box.bridge.clone(),
            host_name: "alpha",
        };
        let avahi = Avahi::start_at(place, true);
        the_box.start_bus();

        // Longer names first: one may be the beginning of another.
        let own = |path: PathBuf| path.display().to_string();
        let address = the_box.address(0).to_string();
        let names = vec![
            ("/srv/cloudbox".to_string(), own(the_box.layout.storage.clone())),
            ("/var/run/cloudbox".to_string(), own(the_box.layout.run.clone())),
            ("/etc/config".to_string(), own(dir.join("etc"))),
            ("/etc/avahi".to_string(), own(the_box.avahi())),
            ("/srv/lxc".to_string(), own(dir.join("lxc"))),
            ("/srv/www".to_string(), own(dir.join("www"))),
            ("/mnt/usb".to_string(), own(dir.join("usb"))),
            ("br-lan".to_string(), the_box.bridge.clone()),
            (NETWORK.to_string(), address.strip_suffix('0').unwrap().to_string()),
        ];
        let bin = dir.join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cloudbox"), bin.join("cloudbox")).unwrap();
        let usual = std::env::var("PATH").unwrap_or_default();
        // Last: where the box has the real ones, they are it.
        let stand_ins = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docs/bin");
        let path = format!("{}:{usual}:/usr/sbin:/sbin:{stand_ins}", bin.display());
        Some(DemoBox { the_box, _avahi: avahi, path, sha256: Value::Null, names })
    }

    /// Whether a page's command `program` is there, or what stands in for it.
    pub fn has_program(&self, program: &str) -> bool {
        let program = if program == "usign" { "signify-openbsd" } else { program };
        self.path.split(':').any(|dir| PathBuf::from(dir).join(program).exists())
    }

    /// Types a page's commands in one shell; None for those that were not reached.
    pub fn run(&mut self, steps: &[&Step]) -> Vec<Option<Ran>> {
        self.begin_anew();
        let dir = self.the_box.dir.join("root");
        let mut script = String::new();
        for step in steps {
            script += &format!("printf '{BEGIN}'\n{}\nprintf '{END}%d\\n' $?\n", self.here(&step.command));
        }
        let file = self.the_box.dir.join("page.sh");
        fs::write(&file, script).unwrap();
        let printed = fs::File::create(self.the_box.dir.join("page.out")).unwrap();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", PAGE_SECONDS, "/bin/sh"])
            .arg(&file)
            .current_dir(&dir)
            .env("PATH", &self.path)
            .env("HOME", &dir)
            .env("SOURCES", env!("CARGO_MANIFEST_DIR"))
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .env("UBUS_SOCKET", self.the_box.socket())
            .env("CLOUDBOX_CONFIG_DIR", self.the_box.dir.join("etc"))
            .env("CLOUDBOX_STORAGE", &self.the_box.layout.storage)
            .env("CLOUDBOX_RUN_DIR", &self.the_box.layout.run)
            .env("DBUS_SYSTEM_BUS_ADDRESS", avahi::bus_address(&self.the_box.dbus()))
            .stdin(Stdio::null())
            .stdout(printed.try_clone().unwrap())
            .stderr(printed);
        let mut shell = Process::spawn(&mut command);
        shell.wait();
        // `timeout` leads a group of its own; what a page started in the background is in it.
        let _ = kill(Pid::from_raw(-shell.pid()), Signal::SIGKILL);
        let printed = fs::read(self.the_box.dir.join("page.out")).unwrap();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let mut results: Vec<Option<Ran>> =
            printed.split(BEGIN).skip(1).map(|part| self.result(part)).collect();
        results.resize_with(steps.len(), || None);
        results
    }

    fn result(&self, part: &str) -> Option<Ran> {
        let (output, code) = part.split_once(END)?;
        let code = code.lines().next()?.parse().ok()?;
        let root = self.the_box.dir.join("root").display().to_string();
        let mut output = output.replace(&root, "/root");
        for (page, here) in &self.names {
            output = output.replace(here.as_str(), page);
        }
        Some(Ran { output: output.trim_end().to_string(), code })
    }

    /// A page's command, with this box's names in it.
    fn here(&self, command: &str) -> String {
        let mut command = command.to_string();
        for (page, here) in &self.names {
            command = command.replace(page.as_str(), here);
        }
        command
    }

    /// No container, no image but the distro, a daemon that has done nothing yet, and an empty directory.
    fn begin_anew(&mut self) {
        let the_box = &mut self.the_box;
        // Whatever the last page left, protected or half made. Images stay: importing takes a while.
        the_box.power_cut();
        let _ = fs::remove_dir_all(the_box.layout.containers());
        fs::write(
            the_box.config(),
            format!(
                "config cloudbox 'main'\n\toption image 'distro'\n\toption bridge '{}'\n\toption memory '256M'\n\
                 \toption cpus '1'\n\toption disk '1G'\n\toption memory_reserve '64M'\n\
                 \toption disk_reserve '256M'\n",
                the_box.bridge
            ),
        )
        .unwrap();
        the_box.start_daemon();
        let images = the_box.call("cloudbox.image", "list", json!({})).unwrap();
        let is_distro = |image: &Value| image["names"] == json!(["distro"]) && self.sha256 == image["sha256"];
        if !matches!(images["images"].as_array().unwrap().as_slice(), [image] if is_distro(image)) {
            the_box.stop_daemon();
            let _ = fs::remove_dir_all(the_box.layout.storage.join("images"));
            the_box.start_daemon();
            the_box.import(Image::Distro);
            let info = the_box.call("cloudbox.image", "info", json!({ "name": "distro" })).unwrap();
            self.sha256 = info["sha256"].clone();
        }
        // Jobs count from 1 for the page's reader.
        the_box.stop_daemon();
        let _ = fs::remove_dir_all(&the_box.layout.run);
        the_box.start_daemon();

        let root = the_box.dir.join("root");
        let _ = fs::remove_dir_all(&root);
        for dir in ["root/.ssh", "usb", "www", "lxc"] {
            let _ = fs::remove_dir_all(the_box.dir.join(dir));
            fs::create_dir_all(the_box.dir.join(dir)).unwrap();
        }
        fs::write(root.join(".ssh/id_ed25519.pub"), KEY).unwrap();
        std::os::unix::fs::symlink(Image::Distro.path(), root.join("distro.squashfs")).unwrap();
    }
}

/// Somebody's public key.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9x1h0cK0uVYk3yqX3QJb3e1mEw0nq5xJm1n0Wq5e9k you@laptop\n";
