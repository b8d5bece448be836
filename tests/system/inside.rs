//! Into a container from the command line: files pushed and pulled, and a shell.

use crate::processes::{output, Process};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a command printed, its words and its exit code.
struct Said {
    out: String,
    err: String,
    code: i32,
}

impl TestBox {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
        command.args(words).env("UBUS_SOCKET", self.socket()).current_dir(&self.dir);
        command
    }

    fn begin(&self, words: &[&str]) -> (Process, ChildStdin) {
        let mut child = Process::spawn(self.command(words).stdin(Stdio::piped()));
        let stdin = child.pipes().0.unwrap();
        (child, stdin)
    }

    fn type_into(&self, words: &[&str], input: &str) -> Said {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Process::spawn(&mut command);
        let (stdin, stdout, stderr) = child.pipes();
        // Some end before they have read all of it.
        let _ = stdin.unwrap().write_all(input.as_bytes());
        let text = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (out, err) = (text(&mut stdout.unwrap()), text(&mut stderr.unwrap()));
        Said { out, err, code: child.wait().code().unwrap_or(-1) }
    }

    fn say(&self, words: &[&str]) -> Said {
        self.type_into(words, "")
    }

    /// A file of the test's own on the host.
    fn host_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Said {
    #[track_caller]
    fn well(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    #[track_caller]
    fn refused(self, part: &str) {
        assert!(self.code != 0 && self.err.contains(part), "{} {} lacks {part:?}", self.code, self.err);
    }
}

/// A container that runs, and one with a quota that never did.
fn both(the_box: &TestBox) -> [&'static str; 2] {
    the_box.create("web", json!({}));
    the_box.create("still", json!({ "start": false, "disk": "32M" }));
    ["web", "still"]
}

#[test]
fn files_go_in_and_out_of_a_container_that_runs_and_of_one_that_does_not() {
    let Some(the_box) = TestBox::new("push and pull") else { return };
    let script = the_box.host_file("script", "#!/bin/sh\necho hello\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4751)).unwrap();
    for name in both(&the_box) {
        let at = |path: &str| format!("{name}:{path}");
        the_box.say(&["push", "script", &at("/etc/")]).well();
        the_box.say(&["push", "script", &at("/etc/other")]).well();
        the_box.type_into(&["push", "-", &at("/etc/motd")], "welcome\n").well();
        the_box.say(&["pull", &at("/etc/script"), "back"]).well();
        let back = fs::metadata(the_box.dir.join("back")).unwrap();
        assert_eq!((back.mode() & 0o7777, back.uid()), (0o751, 0), "{name}");
        assert_eq!(fs::read(the_box.dir.join("back")).unwrap(), fs::read(&script).unwrap());
        // Into a directory, and over what is there.
        fs::create_dir_all(the_box.dir.join("d")).unwrap();
        the_box.say(&["pull", &at("/etc/motd"), "d"]).well();
        the_box.say(&["pull", &at("/etc/motd"), "d"]).well();
        assert_eq!(fs::read_to_string(the_box.dir.join("d/motd")).unwrap(), "welcome\n");
        assert_eq!(the_box.say(&["pull", &at("/etc/motd"), "-"]).well(), "welcome\n");
        the_box.type_into(&["push", "-", &at("/etc/empty")], "").well();
        assert_eq!(the_box.say(&["pull", &at("/etc/empty"), "-"]).well(), "");
        // A link at the end is replaced, one on the way is followed inside.
        let large = "x".repeat(3_000_000);
        the_box.type_into(&["push", "-", &at("/tmp/large")], &large).well();
        assert!(the_box.say(&["pull", &at("/tmp/large"), "-"]).well() == large);
    }
    assert_eq!(
        the_box.inside("web", "/etc/script; stat -c '%u %g %a' /etc/script /etc/motd"),
        "hello\n0 0 751\n0 0 644"
    );
    // Whose a file was, it stays.
    the_box.inside("web", "echo mine > /tmp/joes; chown 1000:1001 /tmp/joes; chmod 600 /tmp/joes");
    the_box.say(&["push", "script", "web:/tmp/joes"]).well();
    assert_eq!(the_box.inside("web", "stat -c '%u %g %a' /tmp/joes"), "1000 1001 751");
    // What was pushed into the one that did not run is there when it does.
    the_box.start("still");
    assert_eq!(
        the_box.inside("still", "cat /etc/motd; /etc/other; stat -c '%u %g' /etc/other"),
        "welcome\nhello\n0 0"
    );
    // One that stands still.
    the_box.call("cloudbox.container", "freeze", json!({ "name": "web" })).unwrap();
    the_box.say(&["push", "script", "web:/tmp/frozen"]).well();
    the_box.say(&["pull", "web:/tmp/frozen", "-"]).well();
    the_box.say(&["shell", "web"]).refused("frozen");
    for name in ["web", "still"] {
        the_box.delete(name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn no_path_leads_out_of_a_container() {
    let Some(the_box) = TestBox::new("push and pull of what tries to get out") else { return };
    let canary = the_box.host_file("canary", "the host's own\n");
    the_box.host_file("evil", "evil\n");
    the_box.create("web", json!({}));
    let up = "../".repeat(20);
    // Every way out that a guest can make, to a directory and to a file.
    let (host, deep) = (the_box.dir.display(), format!("{up}{}", the_box.dir.display()));
    the_box.inside(
        "web",
        &format!(
            "mkdir -p /l; cd /l; ln -s / root; ln -s {host} absolute; ln -s {up} up; ln -s {deep} deep; \
             ln -s {host}/canary file; ln -s {deep}/canary deepfile; ln -s /proc/1/root magic; \
             ln -s /proc/self/cwd cwd; ln -s loop loop; mkfifo pipe; ln -s /dev/zero zero; \
             ln -s /proc/kcore kcore; ln -s /proc/sysrq-trigger sysrq; ln -s /sys sys; mkdir dir"
        ),
    );
    the_box.kill("web");
    for running in [false, true] {
        if running {
            the_box.start("web");
        }
        let inside = |path: &str| the_box.say(&["pull", &format!("web:{path}"), "-"]).well();
        // They stay inside, where there is such a place.
        the_box.say(&["push", "evil", "web:/l/root/one"]).well();
        assert_eq!(inside("/one"), "evil\n");
        the_box.say(&["push", "evil", "web:/l/up/two"]).well();
        assert_eq!(inside("/two"), "evil\n");
        the_box.say(&["push", "evil", &format!("web:/{up}/tmp/three")]).well();
        assert_eq!(inside("/tmp/three"), "evil\n");
        the_box.say(&["push", "evil", "web:/l/file"]).well();
        the_box.say(&["push", "evil", "web:/l/deepfile"]).well();
        assert_eq!(fs::read_to_string(&canary).unwrap(), "the host's own\n");
        assert_eq!(inside("/l/file"), "evil\n");
        for path in
            ["absolute/x", "deep/x", "magic/tmp/x", "cwd/x", "loop/x", "nothing/x", "absolute/", "nothing/"]
        {
            the_box.say(&["push", "evil", &format!("web:/l/{path}")]).refused("cannot write");
        }
        for path in ["pipe", "dir/../pipe"] {
            the_box.say(&["push", "evil", &format!("web:/l/{path}")]).refused("no regular file");
        }
        for path in ["absolute/canary", "deep/canary", "magic/etc/passwd", "loop", "nothing"] {
            the_box.say(&["pull", &format!("web:/l/{path}"), "got"]).refused("cannot read");
        }
        for path in ["pipe", "zero", "dir", "root"] {
            the_box.say(&["pull", &format!("web:/l/{path}"), "got"]).refused("");
        }
        the_box.say(&["pull", "web:/l/kcore", "got"]).refused("");
        assert!(!the_box.dir.join("got").exists());
        if running {
            the_box.say(&["push", "evil", "web:/l/sys/x"]).refused("kernel");
            the_box.say(&["pull", "web:/proc/version", "got"]).refused("no regular file");
            the_box.say(&["push", "evil", "web:/proc/sys/kernel/x"]).refused("kernel");
        }
        // As they were, for the second round.
        let again = format!("cd /l; ln -sf {host}/canary file; ln -sf {deep}/canary deepfile");
        if running {
            the_box.inside("web", &again);
        }
    }
    assert_eq!(fs::read_to_string(&canary).unwrap(), "the host's own\n");
    let strangers: Vec<_> = fs::read_dir(&the_box.dir).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(
        strangers.iter().all(|n| n != "x" && !n.to_string_lossy().starts_with(".cloudbox")),
        "{strangers:?}"
    );
    the_box.delete_last("web");
}

#[test]
fn a_guest_that_changes_the_path_meanwhile_gains_nothing() {
    let Some(the_box) = TestBox::new("push and pull against a racing guest") else { return };
    let canary = the_box.host_file("canary", "the host's own\n");
    the_box.host_file("evil", "evil\n");
    the_box.create("web", json!({}));
    let host = the_box.dir.display().to_string();
    the_box.inside(
        "web",
        &format!(
            "mkdir -p /r/a{host} /r/b; echo guests > /r/a/canary; echo guests > /r/b/canary; ln -s {host} /r/link; \
             (while :; do rm -rf /r/p; ln -s {host} /r/p; rm -f /r/p; mkdir /r/p; echo guests > /r/p/canary; \
              rm -f /r/p/.cloudbox-*; ln -sf {host}/canary /r/p/evil; done) >/dev/null 2>&1 &"
        ),
    );
    let done = AtomicBool::new(false);
    let mut pushed = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..60 {
                let got = the_box.say(&["pull", "web:/r/p/canary", "-"]);
                assert!(
                    got.code != 0 || got.out == "guests\n" || got.out.is_empty() || got.out == "evil\n",
                    "{}",
                    got.out
                );
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            pushed += usize::from(the_box.say(&["push", "evil", "web:/r/p/canary"]).code == 0);
            pushed += usize::from(the_box.say(&["push", "evil", "web:/r/p/"]).code == 0);
        }
    });
    println!("{pushed} pushes went through");
    assert_eq!(fs::read_to_string(&canary).unwrap(), "the host's own\n");
    assert_eq!(fs::read_to_string(the_box.dir.join("evil")).unwrap(), "evil\n");
    the_box.delete_last("web");
}

#[test]
fn what_cannot_be_copied_is_refused_and_leaves_nothing() {
    let Some(mut the_box) = TestBox::new("push and pull of what cannot be copied") else { return };
    the_box.create("web", json!({ "disk": "16M" }));
    the_box.host_file("small", "small\n");
    for (words, part) in [
        (&["push", "small", "web"][..], "NAME:/PATH"),
        (&["push", "small", "web:etc/x"], "NAME:/PATH"),
        (&["push", "small", "We b:/etc/x"], "We b"),
        (&["push", "small", "nobody:/etc/x"], "nobody"),
        (&["push", "nothing", "web:/etc/x"], "nothing"),
        (&["push", ".", "web:/etc/x"], "no regular file"),
        (&["push", "/dev/zero", "web:/etc/x"], "no regular file"),
        (&["push", "-", "web:/etc"], "is a directory"),
        (&["push", "small", "web:/etc/x/y"], "mkdir"),
        (&["push", "small", "web:/etc/hostname/y"], "cannot write"),
        (&["pull", "web:/etc/hostname", "/nowhere/x"], "/nowhere"),
        (&["pull", "web:/etc/hostname", "/dev/null"], "left alone"),
        (&["pull", "web:/", "."], "directory"),
    ] {
        the_box.say(words).refused(part);
    }
    // More than its quota.
    for running in [true, false] {
        if !running {
            the_box.kill("web");
        }
        the_box
            .type_into(&["push", "-", "web:/root/large"], &"x".repeat(20_000_000))
            .refused("No space left");
        the_box.say(&["push", "small", "web:/root/small"]).well();
    }
    // More than there is: a file of holes.
    the_box.start("web");
    assert_eq!(the_box.inside("web", "ls -A /root"), "small");
    the_box.inside(
        "web",
        "dd if=/dev/zero of=/root/holes bs=1 count=1 seek=2000000000000 2>/dev/null; ls /root",
    );
    the_box.say(&["pull", "web:/root/holes", "holes"]).refused("room");
    assert!(!the_box.dir.join("holes").exists());

    // Two at once on one that is stopped, and a start meanwhile.
    the_box.kill("web");
    let (mut slow, mut keys) = the_box.begin(&["push", "-", "web:/root/slow"]);
    // It has a mount namespace of its own, with the container's root.
    let root = the_box.container("web").rootfs().display().to_string();
    let claimed = |push: &Process| {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", push.pid())).unwrap();
        mounts.contains(&root)
    };
    eventually("a push at work", || claimed(&slow));
    the_box.say(&["push", "small", "web:/root/other"]).refused("works on");
    let refused = the_box.whole("cloudbox.container", "start", json!({ "name": "web" })).unwrap_err();
    assert_eq!(refused.code, "busy");
    // The daemon comes and goes; the claim is not its.
    the_box.restart_daemon();
    let refused = the_box.whole("cloudbox.container", "start", json!({ "name": "web" })).unwrap_err();
    assert_eq!(refused.code, "busy");
    // Ctrl-C and kill -9: what was begun is gone, or hidden, and nothing stays mounted.
    keys.write_all(&[b'x'; 100_000]).unwrap();
    slow.signal(nix::libc::SIGINT);
    assert_eq!(slow.wait().code(), Some(130));
    the_box.start("web");
    assert_eq!(the_box.inside("web", "ls -A /root"), "holes\nsmall");
    the_box.kill("web");
    for _ in 0..5 {
        let (killed, _keys) = the_box.begin(&["push", "-", "web:/root/killed"]);
        eventually("a push at work", || claimed(&killed));
        drop(killed);
        the_box.start("web");
        the_box.inside("web", "touch /root/alive; sync");
        the_box.kill("web");
    }
    let disk = the_box.container("web").disk();
    // A mount namespace that another test made meanwhile may have it still.
    eventually("the end of its mounts", || {
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let mut files = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
        files.all(|file| file.trim() != disk.to_str().unwrap())
    });
    let check = output(Command::new("e2fsck").args(["-fn"]).arg(disk));
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    the_box.delete_last("web");
}

#[test]
fn a_shell_is_a_login_shell_on_a_terminal_of_its_own() {
    let Some(the_box) = TestBox::new("shell") else { return };
    the_box.import(Image::Distro);
    the_box.create("web", json!({}));
    the_box.create("deb", json!({ "image": "distro", "memory": "256M" }));
    for name in ["web", "deb"] {
        // A pipe that nobody reads ends a program (141), as in any shell.
        let pipe = "{ yes; echo $? >/tmp/end; } | head -n 1; cat /tmp/end";
        let keys = format!("pwd; echo $HOME $USER $CLOUDBOX_X; hostname; {pipe}; exit 7\n");
        let said = the_box.type_into(&["shell", name], &keys);
        let expected = format!("/root\n/root root\n{name}\ny\n141\n");
        assert_eq!((said.out.as_str(), said.code), (expected.as_str(), 7), "{}", said.err);
        // On a terminal: one of the container's, of the kind of ours.
        let line = format!("{} shell {name}", env!("CARGO_BIN_EXE_cloudbox"));
        let mut script = Command::new("script");
        script
            .args(["-qefc", &line, "/dev/null"])
            .env("UBUS_SOCKET", the_box.socket())
            .env("TERM", "xterm-256color");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Process::spawn(&mut script);
        let (stdin, stdout, _) = child.pipes();
        let (mut keyboard, mut screen) = (stdin.unwrap(), stdout.unwrap());
        // What is typed before the prompt is lost, as on every terminal.
        let (mut out, mut chunk) = (String::new(), [0; 1024]);
        let mut keys = Some(b"tty; echo TERM=$TERM $0; exit 9\n");
        while let Ok(read @ 1..) = screen.read(&mut chunk) {
            out.push_str(&String::from_utf8_lossy(&chunk[..read]));
            if out.contains("# ") {
                if let Some(keys) = keys.take() {
                    keyboard.write_all(keys).unwrap();
                }
            }
        }
        assert_eq!(child.wait().code(), Some(9), "{out}");
        assert!(out.contains("/dev/pts/") && out.contains("TERM=xterm-256color"), "{out}");
    }
    let said = the_box.type_into(&["shell", "deb", "--user", "nobody"], "id -u\n");
    assert_ne!(said.code, 0, "nobody has no shell");
    the_box.say(&["shell", "web", "--user", "nobody-there"]).refused("nobody-there");
    the_box.say(&["shell", "nobody"]).refused("nobody");
    the_box.kill("web");
    the_box.say(&["shell", "web"]).refused("cloudbox start web");
    the_box.say(&["console", "web"]).refused("cloudbox start web");
    the_box.delete("web");
    the_box.delete_last("deb");
}

#[test]
fn a_layer_that_another_mount_namespace_still_has_is_not_mounted_by_a_second_device() {
    // The namespace keeps the mounts of all boxes.
    let Some(the_box) = TestBox::alone("a mount that somebody keeps") else { return };
    the_box.create("web", json!({ "disk": "32M" }));
    let device = |the_box: &TestBox| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let layer = the_box.container("web").layer().display().to_string();
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(&layer)).unwrap().to_string();
        line.split(" - ext4 ").nth(1).unwrap().split(' ').next().unwrap().to_string()
    };
    let before = device(&the_box);
    let mut keeper = Command::new("unshare");
    keeper.args(["--mount", "--propagation", "private", "sleep", "infinity"]);
    let keeper = Process::spawn(&mut keeper);
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let theirs = format!("/proc/{}/ns/mnt", keeper.pid());
    eventually("its namespace", || fs::read_link(&theirs).is_ok_and(|it| it != own));
    the_box.inside("web", "echo kept > /root/kept; sync");
    the_box.kill("web");
    the_box.start("web");
    assert_eq!(device(&the_box), before);
    assert_eq!(the_box.inside("web", "cat /root/kept"), "kept");

    // A snapshot of it has all that was written, as soon as it can.
    the_box.kill("web");
    let snapshot = json!({ "name": "web", "snapshot": "s" });
    let refused = the_box.whole("cloudbox.container", "snapshot", snapshot.clone()).unwrap_err();
    assert_eq!(refused.code, "busy", "{refused:?}");
    the_box.start("web");

    // Nor is it grown by resize2fs behind the back of those who have it mounted.
    the_box.stop("web");
    the_box.container_call("set", json!({ "name": "web", "disk": "96M", "wait": 15 }));
    the_box.start("web");
    the_box.inside("web", "dd if=/dev/urandom of=/root/more bs=1M count=8; sync");
    the_box.inside("web", "echo last > /root/last");
    the_box.kill("web");
    let job = the_box.container_call("snapshot", snapshot);
    drop(keeper);
    assert_eq!(the_box.job_end(job["job"].as_str().unwrap())["state"], "done");
    the_box.whole("cloudbox.container", "restore", json!({ "name": "web", "snapshot": "s" })).unwrap();
    the_box.start("web");
    assert_eq!(the_box.inside("web", "cat /root/last"), "last");
    let size = the_box.inside("web", "df -m / | tail -1");
    let size: u64 = size.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((64..96).contains(&size), "{size} M");
    assert_eq!(the_box.inside("web", "cat /root/kept"), "kept");
    the_box.stop("web");
    let disk = the_box.container("web").disk();
    eventually("its device to go", || {
        let check = output(Command::new("e2fsck").arg("-fn").arg(&disk));
        check.status.success()
    });
    the_box.delete_last("web");
}
