//! A container's control group and those below it, which its guest makes as it likes: 10,000 in one another, 10,000 side
//! by side, some of them frozen.
//!
//! So there is no recursion, a walk holds two descriptors however deep it is, and no path is longer than one name. The
//! way up is checked: a guest may remove a group while we are in it.

use nix::fcntl::{openat, OFlag, AT_FDCWD};
use nix::sys::stat::{fstat, Mode};
use nix::unistd::{fchown, unlinkat, Gid, Uid, UnlinkatFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// A group, open.
pub struct Group(OwnedFd);

impl Group {
    fn open(at: impl AsFd, name: &OsStr) -> nix::Result<Group> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(at, name, flags, Mode::empty()).map(Group)
    }

    fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        Ok(File::from(openat(&self.0, name, flags | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    /// What stands in file `name` of this group.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn read(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        self.file(name, OFlag::O_RDONLY)?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Writes `text` into file `name` of this group.
    ///
    /// # Errors
    /// As open(2) and write(2).
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.file(name, OFlag::O_WRONLY)?.write_all(text.as_bytes())
    }

    /// Takes it from whoever it was given to, who can make no group in it any more.
    pub fn give_to_root(&self) {
        let root = (Some(Uid::from_raw(0)), Some(Gid::from_raw(0)));
        let _ = fchown(&self.0, root.0, root.1);
    }

    /// The names of the groups just below.
    fn below(&self) -> Vec<OsString> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.file_name()).collect()
    }

    fn inode(&self) -> Option<(u64, u64)> {
        // As wide as the platform's types.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
        fstat(&self.0).ok().map(|stat| (u64::from(stat.st_dev), stat.st_ino as u64))
    }
}

/// Calls `visit` with the group at `top` and each below it, a group before those in it. None at all is fine.
pub fn each(top: &Path, visit: &mut dyn FnMut(&Group)) {
    walk(top, visit, &mut |_, _| ());
}

/// Removes the group at `top` and those below, the deepest first. One in which a process lives stays, with those it is in.
///
/// # Errors
/// What keeps the group at `top` itself.
pub fn remove(top: &Path) -> io::Result<()> {
    let mut rmdir = |parent: &Group, name: &OsStr| {
        let _ = unlinkat(&parent.0, name, UnlinkatFlags::RemoveDir);
    };
    walk(top, &mut |_| (), &mut rmdir);
    match fs::remove_dir(top) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Goes through the groups: `enter` is called with each, `leave` behind all that are in it, with its parent and its name;
/// not for `top`.
fn walk(top: &Path, enter: &mut dyn FnMut(&Group), leave: &mut dyn FnMut(&Group, &OsStr)) {
    let Ok(mut here) = Group::open(AT_FDCWD, top.as_os_str()) else { return };
    enter(&here);
    // From the top to where we are: which group each is, and those in it that are still to be looked at. The last of
    // these is the one we are in.
    let mut way = vec![(here.inode(), here.below())];
    while let Some((_, names)) = way.last_mut() {
        if let Some(name) = names.last() {
            match Group::open(&here.0, name) {
                Ok(group) => {
                    here = group;
                    enter(&here);
                    way.push((here.inode(), here.below()));
                }
                // It went meanwhile.
                Err(_) => drop(names.pop()),
            }
            continue;
        }
        way.pop();
        let Some((inode, names)) = way.last_mut() else { return };
        let up = Group::open(&here.0, OsStr::new("..")).ok().filter(|group| group.inode() == *inode);
        // Removed under us: nothing lived in it, and what is left is for the next walk.
        let Some(up) = up else { return };
        here = up;
        if let Some(name) = names.pop() {
            leave(&here, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn count(top: &Path) -> usize {
        let mut number = 0;
        each(top, &mut |_| number += 1);
        number
    }

    /// Directories stand for groups here: what is walked is the same.
    #[test]
    fn ten_thousand_in_one_another_are_walked_and_removed_on_a_small_stack() {
        let dir = TempDir::make();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("wide")).unwrap();
        for number in 0..3000 {
            fs::create_dir(top.join("wide").join(number.to_string())).unwrap();
        }
        let mut here = Group::open(AT_FDCWD, top.as_os_str()).unwrap();
        for _ in 0..10_000 {
            nix::sys::stat::mkdirat(&here.0, "d", Mode::S_IRWXU).unwrap();
            here = Group::open(&here.0, OsStr::new("d")).unwrap();
        }
        drop(here);
        let walked = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            assert_eq!(count(&top), 13_002);
            remove(&top).unwrap();
            assert!(!top.exists());
            remove(&top).unwrap();
            assert_eq!(count(&top), 0);
        });
        walked.unwrap().join().unwrap();
    }

    #[test]
    fn a_group_that_goes_while_we_are_in_it_ends_the_walk() {
        let dir = TempDir::make();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        let mut seen = 0;
        each(&top, &mut |_| {
            seen += 1;
            if seen == 3 {
                fs::rename(top.join("a/b"), top.join("b")).unwrap();
                fs::remove_dir(top.join("a")).unwrap();
            }
        });
        assert_eq!(seen, 3);
        assert_eq!(count(&top), 2);
    }
}
