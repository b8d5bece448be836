//! Files on disk: nothing is lost to others, and nothing is left half done.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{chown, symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{poll, PollFd, PollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use openwrt_uci::{ConfigFile, EditError, FileError};

/// A directory with a configuration in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("openwrt-uci-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn config(&self, content: &str) -> PathBuf {
        let path = self.0.join("test");
        fs::write(&path, content).unwrap();
        path
    }

    #[track_caller]
    fn assert_holds(&self, names: &[&str]) {
        let mut found: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn set(path: &Path, option: &str, value: &str) -> Result<(), FileError> {
    ConfigFile::new(path).edit_document(|document| document.set("b", option, value))
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn an_absent_file_is_created() {
    let directory = Directory::new();
    let file = ConfigFile::new(directory.0.join("test"));
    assert!(file.read().unwrap_err().is_not_found());
    file.edit_document(|document| document.add_section("a", "b")).unwrap();
    assert_eq!(content(file.path()), "config a 'b'\n");
    assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o7777, 0o600);
    assert!(file.read().unwrap().section("b").is_some());
    directory.assert_holds(&["test"]);
}

#[test]
fn a_file_that_does_not_change_is_not_written() {
    let directory = Directory::new();
    let path = directory.config("config a b\n\toption v 'x' # c\n");
    let before = fs::metadata(&path).unwrap();
    set(&path, "v", "x").unwrap();
    let failed = set(&path, "v-w", "x").unwrap_err();
    assert!(matches!(&failed, FileError::Edit(_, EditError::OptionName(_))));
    assert!(
        failed.to_string().starts_with(&format!("cannot edit {}: 'v-w' cannot", path.display())),
        "{failed}"
    );
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    directory.assert_holds(&["test"]);
}

#[test]
fn mode_owner_and_link_stay() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if root {
        chown(&path, Some(1234), Some(5678)).unwrap();
    } else {
        println!("skipped in part: a foreign owner needs root");
    }
    fs::create_dir(directory.0.join("links")).unwrap();
    let link = directory.0.join("links/other");
    symlink("../test", &link).unwrap();

    let before = fs::metadata(&path).unwrap();
    set(&link, "v", "x").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
    assert_ne!(before.ino(), after.ino());
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../test"));
    assert_eq!(content(&path), "config a b\n\toption v 'x'\n");
    directory.assert_holds(&["links", "test"]);
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let directory = Directory::new();
    let path = directory.config("config a b\nfoo\n");
    let expected = format!("{}: line 2, byte 1: invalid command", path.display());
    assert_eq!(ConfigFile::new(&path).read().unwrap_err().to_string(), expected);
    assert_eq!(set(&path, "v", "x").unwrap_err().to_string(), expected);
    assert_eq!(content(&path), "config a b\nfoo\n");
}

#[test]
fn a_lock_that_is_never_released_is_reported() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    let _held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockShared).unwrap();
    let file = ConfigFile::new(&path).lock_timeout(Duration::from_millis(50));
    let error = file.edit_document(|document| document.set("b", "v", "x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot lock {}: another program has held it for 50 ms; try again when it has let go",
            path.display()
        )
    );
    // Reading does not wait.
    file.read().unwrap();
}

#[test]
fn a_file_that_is_replaced_while_waiting_is_read_anew() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    let opened = Opened::watch(&path);
    let held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
    let waiting = thread::spawn({
        let path = path.clone();
        move || set(&path, "v", "x")
    });
    // We have, and the other one twice: once in vain.
    opened.wait(3);
    fs::write(directory.0.join("new"), "config a b\n\toption w 'y'\n").unwrap();
    fs::rename(directory.0.join("new"), &path).unwrap();
    drop(held);
    waiting.join().unwrap().unwrap();
    assert_eq!(content(&path), "config a b\n\toption w 'y'\n\toption v 'x'\n");
}

/// libuci unlocks before it renames.
#[test]
fn a_rename_under_way_is_waited_for() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    let temporary = directory.0.join(".test.uci-aBcDeF");
    fs::write(&temporary, "config a b\n\toption w 'y'\n").unwrap();
    let opened = Opened::watch(&path);
    let waiting = thread::spawn({
        let path = path.clone();
        move || set(&path, "v", "x")
    });
    // Once in vain.
    opened.wait(2);
    fs::rename(&temporary, &path).unwrap();
    waiting.join().unwrap().unwrap();
    assert_eq!(content(&path), "config a b\n\toption w 'y'\n\toption v 'x'\n");
}

#[test]
fn a_temporary_file_that_stays_is_swept() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    fs::write(directory.0.join(".test.uci-aBcDeF"), "x").unwrap();
    fs::write(directory.0.join(".test.uci-other"), "not ours").unwrap();
    let start = Instant::now();
    // Even with less patience for the lock.
    let file = ConfigFile::new(&path).lock_timeout(Duration::from_millis(10));
    file.edit_document(|document| document.set("b", "v", "x")).unwrap();
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(content(&path), "config a b\n\toption v 'x'\n");
    directory.assert_holds(&[".test.uci-other", "test"]);
    // Also without an edit.
    fs::write(directory.0.join(".test.uci-aBcDeF"), "x").unwrap();
    ConfigFile::new(&path).sweep().unwrap();
    directory.assert_holds(&[".test.uci-other", "test"]);
    assert!(ConfigFile::new(directory.0.join("absent")).sweep().unwrap_err().is_not_found());
}

/// libuci reads the file that it waited for, whether it is still in place or not.
#[test]
fn who_waits_on_the_replaced_file_reads_the_new_content() {
    for value in ["x", "longer than the file was before, by quite a bit"] {
        let directory = Directory::new();
        let path = directory.config("config a b\n\toption comment 'something to make it long'\n");
        let waiter = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        ConfigFile::new(&path)
            .edit_document(|document| {
                document.unset("b", "comment")?;
                document.set("b", "v", value)
            })
            .unwrap();
        let mut locked = Flock::lock(waiter, FlockArg::LockExclusive).unwrap();
        let mut read = String::new();
        locked.read_to_string(&mut read).unwrap();
        assert_eq!(read, content(&path));
        assert_eq!(read, format!("config a b\n\toption v '{value}'\n"));
    }
}

/// libuci changes the file that it waited for, and its lock on that keeps nobody from the one in place.
#[test]
fn who_waits_on_the_replaced_file_finishes_before_the_next_edit() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    let (ready, is_ready) = mpsc::channel();
    let second_is_done = AtomicBool::new(false);
    let libuci = || {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        ready.send(()).unwrap();
        let mut locked = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let mut read = String::new();
        locked.read_to_string(&mut read).unwrap();
        // The next edit gets its chance to come in between.
        let deadline = Instant::now() + Duration::from_millis(100);
        while Instant::now() < deadline && !second_is_done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        let temporary = directory.0.join(".test.uci-aBcDeF");
        fs::write(&temporary, read + "\toption libuci 'x'\n").unwrap();
        drop(locked);
        fs::rename(&temporary, &path).unwrap();
    };
    thread::scope(|scope| {
        let first = ConfigFile::new(&path).edit_document(|document| {
            scope.spawn(libuci);
            is_ready.recv().unwrap();
            eventually("libuci's waiting", || is_waited_for(&path));
            scope.spawn(|| {
                eventually("the first edit", || content(&path).contains("first"));
                set(&path, "second", "x").unwrap();
                second_is_done.store(true, Ordering::Relaxed);
            });
            document.set("b", "first", "x")
        });
        first.unwrap();
    });
    assert_eq!(content(&path), "config a b\n\toption first 'x'\n\toption libuci 'x'\n\toption second 'x'\n");
    directory.assert_holds(&["test"]);
}

#[test]
fn another_name_of_the_file_keeps_its_content() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    fs::hard_link(&path, directory.0.join("backup")).unwrap();
    set(&path, "v", "x").unwrap();
    assert_eq!(content(&directory.0.join("backup")), "config a b\n");
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let directory = Directory::new();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&directory.0)
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return;
    }
    let path = directory.config("config a b\n");
    // One page is left for the directory's sake, and the value needs several.
    let mut filler = File::create(directory.0.join("filler")).unwrap();
    while filler.write(&[0; 4096]).is_ok() {}
    filler.set_len(filler.metadata().unwrap().len() - 4096).unwrap();
    let result = set(&path, "v", &"x".repeat(20_000));
    let (after, names) = (content(&path), fs::read_dir(&directory.0).unwrap().count());
    drop(filler);
    assert!(Command::new("umount").arg(&directory.0).status().unwrap().success());
    let error = result.unwrap_err();
    assert!(matches!(&error, FileError::Write(_, cause) if cause.raw_os_error() == Some(28)), "{error}");
    assert_eq!((after.as_str(), names), ("config a b\n", 2));
}

const EDITS: usize = 100;

#[test]
fn edits_from_several_threads_and_processes_all_count() {
    let directory = Directory::new();
    let path = directory.config("# kept\nconfig a b\n");
    let children: Vec<_> = ["p", "q"].into_iter().map(|name| editor(&path, name, EDITS)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let editors = ["t", "u"].map(|name| {
            let path = &path;
            scope.spawn(move || {
                (0..EDITS).for_each(|number| set(path, &format!("{name}{number}"), "x").unwrap())
            })
        });
        // Who reads meanwhile always sees a whole file.
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let options = ConfigFile::new(&path).read().unwrap().section("b").unwrap().options().len();
                assert!(options >= seen, "{options} options after {seen}");
                seen = options;
            }
        });
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        editors.into_iter().for_each(|editor| editor.join().unwrap());
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let package = ConfigFile::new(&path).read().unwrap();
    assert_eq!(package.section("b").unwrap().options().len(), 4 * EDITS);
    assert!(content(&path).starts_with("# kept\n"));
    directory.assert_holds(&["test"]);
}

#[test]
fn an_editor_that_is_killed_leaves_a_whole_file() {
    let directory = Directory::new();
    let path = directory.config("config a b\n");
    for round in 0..20 {
        let mut child = editor(&path, &format!("r{round}_"), 100_000);
        thread::sleep(Duration::from_millis(10 + round));
        child.kill().unwrap();
        child.wait().unwrap();
        ConfigFile::new(&path).read().unwrap();
    }
    set(&path, "last", "x").unwrap();
    directory.assert_holds(&["test"]);
}

/// Waits until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Tells how often a file is opened.
struct Opened(Inotify);

impl Opened {
    fn watch(path: &Path) -> Opened {
        let inotify = Inotify::init(InitFlags::empty()).unwrap();
        inotify.add_watch(path, AddWatchFlags::IN_OPEN).unwrap();
        Opened(inotify)
    }

    /// Waits until it has been opened `times`. Whoever waits for its lock opens it for each try.
    fn wait(&self, times: usize) {
        let mut opened = 0;
        while opened < times {
            let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut ready, 30_000u16), Ok(1), "opened only {opened} times");
            opened += self.0.read_events().unwrap().len();
        }
    }
}

/// Whether somebody sleeps in the kernel until the file's lock is free.
fn is_waited_for(path: &Path) -> bool {
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&inode))
}

/// Runs [`child`] as another process.
fn editor(path: &Path, name: &str, edits: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored"])
        .env("UCI_TEST_FILE", path)
        .env("UCI_TEST_NAME", name)
        .env("UCI_TEST_EDITS", edits.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: the other process of those above.
#[test]
#[ignore = "run by other tests"]
fn child() {
    let Ok(path) = std::env::var("UCI_TEST_FILE") else { return };
    let name = std::env::var("UCI_TEST_NAME").unwrap();
    let edits: usize = std::env::var("UCI_TEST_EDITS").unwrap().parse().unwrap();
    for number in 0..edits {
        set(Path::new(&path), &format!("{name}{number}"), "x").unwrap();
    }
}

/// A reader that decides for others must not wait for ever, nor read without end.
#[test]
fn what_is_no_regular_file_or_too_large_is_refused_at_once() {
    let dir = std::env::temp_dir().join(format!("uci-special-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let large = dir.join("large");
    std::fs::File::create(&large).unwrap().set_len(5 << 20).unwrap();
    let device = dir.join("zero");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    for (path, word) in [(&fifo, "regular"), (&device, "regular"), (&large, "larger")] {
        let error = openwrt_uci::ConfigFile::new(path).read().unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(openwrt_uci::ConfigFile::new(path).edit_document(|_| Ok(())).is_err(), "{}", path.display());
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn who_sets_what_tells_of_others_is_asked_behind_each_change() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let directory = Directory::new();
    let config = ConfigFile::new(directory.config("config a b\n")).open_elsewhere(|_| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        false
    });
    for (value, times) in [("1", 1), ("1", 1), ("2", 2)] {
        config.edit_document(|document| document.set("b", "v", value)).unwrap();
        assert_eq!(ASKED.load(Ordering::Relaxed), times);
    }
}
