//! What /proc says of processes, as far as it can be believed.
//!
//! A guest's processes stand in the box's /proc like any other, and their names, titles and children are what the guest
//! says. So nothing is read of a process before it is known whose it is: reading the title of a guest's may even wait for
//! the guest, which decides where its memory comes from.

use nix::fcntl::{open, openat, AtFlags, OFlag};
use nix::sys::stat::{fstat, fstatat, stat, FileStat, Mode};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// Longest name or title that is read, in bytes: that of LXC's monitor has a path in it.
const TITLE_MAX: u64 = 8 << 10;

/// A process of the box itself: its user and pid namespace are ours. It never means another one, even when its number is
/// given away anew.
pub struct Process(OwnedFd);

impl Process {
    /// Process `pid`, if it lives and is the box's own.
    pub fn own(pid: i32) -> Option<Process> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(format!("/proc/{pid}").as_str(), flags, Mode::empty()).ok()?;
        let ours = ["user", "pid"].into_iter().all(|kind| {
            let theirs = fstatat(&dir, format!("ns/{kind}").as_str(), AtFlags::empty());
            let ours = stat(format!("/proc/self/ns/{kind}").as_str());
            matches!((theirs, ours), (Ok(a), Ok(b)) if is_same(&a, &b))
        });
        ours.then_some(Process(dir))
    }

    /// The same, if it is root's.
    pub fn of_root(pid: i32) -> Option<Process> {
        Process::own(pid).filter(|process| fstat(&process.0).is_ok_and(|stat| stat.st_uid == 0))
    }

    /// Its title, which it gives itself; the arguments of most, with a NUL behind each.
    pub fn title(&self) -> String {
        self.read("cmdline")
    }

    /// The name of its program, which it gives itself.
    pub fn name(&self) -> String {
        self.read("comm")
    }

    fn read(&self, name: &str) -> String {
        let file = openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut text = Vec::new();
        // Of a process that ended meanwhile nothing can be read.
        let _ = file.map(|fd| File::from(fd).take(TITLE_MAX).read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Whether `pid` is the first process of a pid namespace directly below ours.
pub fn is_init_of_namespace(pid: i32) -> bool {
    let levels = |pid: &str| -> Option<Vec<i32>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        Some(line.split_whitespace().filter_map(|n| n.parse().ok()).collect())
    };
    match (levels(&pid.to_string()), levels("self")) {
        (Some(theirs), Some(ours)) => theirs.len() == ours.len() + 1 && theirs.last() == Some(&1),
        _ => false,
    }
}

fn is_same(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn only_the_boxs_own_processes_are_believed() {
        let me = Process::own(std::process::id() as i32).unwrap();
        assert!(me.title().contains("cloudbox"), "{}", me.title());
        assert!(Process::own(1 << 23).is_none());
        let mut other = Command::new("sleep").arg0("[lxc monitor] /srv web").arg("60").spawn().unwrap();
        // Its title is there a moment after it began.
        let title = || Process::own(other.id() as i32).unwrap().title();
        while !title().starts_with("[lxc monitor]") {
            std::thread::yield_now();
        }
        let is_root = nix::unistd::geteuid().is_root();
        assert_eq!(Process::of_root(other.id() as i32).is_some(), is_root);
        other.kill().unwrap();
        // A zombie is nobody's.
        let pid = other.id() as i32;
        while Process::own(pid).is_some_and(|process| !process.title().is_empty()) {}
        other.wait().unwrap();
    }

    /// As a guest does: a process with the title of a monitor, in namespaces of its own.
    #[test]
    fn a_process_in_a_namespace_of_its_own_is_nobodys() {
        for namespaces in ["--user", "--pid"] {
            let mut guest = Command::new("unshare");
            guest.args([namespaces, "--fork", "--kill-child", "sh", "-c", "echo $$; exec sleep 60"]);
            let Ok(mut guest) = guest.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else { return };
            let mut said = [0; 1];
            if guest.stdout.as_mut().unwrap().read_exact(&mut said).is_err() {
                println!("skipped: unshare {namespaces} is not possible here");
                guest.wait().unwrap();
                continue;
            }
            let children =
                std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", guest.id())).unwrap();
            let child: i32 = children.trim().parse().unwrap();
            assert!(Process::own(child).is_none() && Process::of_root(child).is_none(), "{namespaces}");
            guest.kill().unwrap();
            guest.wait().unwrap();
        }
    }

    #[test]
    fn a_user_is_not_root() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can be somebody else");
            return;
        }
        let mut other = Command::new("sleep").arg("60").uid(65534).spawn().unwrap();
        assert!(Process::own(other.id() as i32).is_some());
        assert!(Process::of_root(other.id() as i32).is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
