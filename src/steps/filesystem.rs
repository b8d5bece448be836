//! What kind of file system a directory is on, and mounts.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, ResolveFlag};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{major, minor};
use nix::sys::statfs::statfs;
use nix::sys::statvfs::{statvfs, FsFlags, Statvfs};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A kind of file system: f_type of statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(u32);

impl Kind {
    /// The root of most boxes. No overlay can have its upper layer there.
    pub const OVERLAY: Kind = Kind(0x794c_7630);
    const TMPFS: Kind = Kind(0x0102_1994);
    const RAMFS: Kind = Kind(0x8584_58f6);

    /// That of the file system which `path` is on.
    ///
    /// # Errors
    /// As statfs(2).
    pub fn of(path: &Path) -> Result<Kind> {
        let stat = statfs(path).map_err(|e| Error::io("cannot look at", path, e))?;
        // As wide as the platform's long, and signed on some; the numbers have 32 bits.
        #[allow(clippy::cast_possible_truncation, clippy::unnecessary_cast)]
        Ok(Kind(stat.filesystem_type().0 as u32))
    }

    /// Whether what is stored there lies in the box's memory, and is gone after a reboot.
    pub fn is_in_memory(self) -> bool {
        self == Kind::TMPFS || self == Kind::RAMFS
    }
}

/// Loop devices, in the kernel's list of devices.
const LOOP_MAJOR: u64 = 7;

/// How often a walk that others disturb is begun anew: a guest may do so on purpose, for ever.
const WALK_TRIES: u32 = 256;

/// Opens `path` with `root` as the root directory of the walk: `..` and absolute links cannot lead out of it.
///
/// # Errors
/// As openat2(2).
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    open_resolving(root, path, flags, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn open_resolving(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let mut tries = 0;
    loop {
        match openat2(root, path, how) {
            // Somebody renamed or mounted something meanwhile, anywhere, and the walk had a `..` in it.
            Err(Errno::EAGAIN) if tries < WALK_TRIES => tries += 1,
            opened => return Ok(opened?),
        }
    }
}

/// Opens `path` below the directory `top`, where no link, no `..` and no mount of the kernel's magic leads out of it.
///
/// # Errors
/// As openat2(2): ELOOP when there is a link on the way, EXDEV when it leads out.
pub fn open_beneath(top: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    open_resolving(top, path, flags, resolve)
}

/// Opens the absolute `path`, on whose way there is no link.
///
/// # Errors
/// As openat2(2).
pub fn open_without_links(path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let root = File::open("/")?;
    let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    open_resolving(root.as_fd(), path, flags, resolve)
}

/// Where `path` leads to, without a link on the way, as the kernel says: the C library's realpath walks it by itself.
///
/// # Errors
/// As open(2).
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
    path_of(&file)
}

/// The path of an open file.
///
/// # Errors
/// As readlink(2).
pub fn path_of(file: &impl AsRawFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The names in `directory`; none when there is no such directory.
///
/// # Errors
/// It cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<String>> {
    let failed = |e: io::Error| Error::io("cannot read", directory, e);
    let listing = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    listing.map(name).collect::<io::Result<_>>().map_err(failed)
}

/// Opens the file at `path` for reading: a regular one, and no link. A pipe or a device does not make it wait.
///
/// # Errors
/// As open(2); `InvalidInput` when it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// All that is in the regular file at `path`, which has `max` bytes at most.
///
/// # Errors
/// As [`open_regular`] and read(2); `FileTooLarge` when there is more.
pub fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let content = read_up_to(&open_regular(path)?, max.saturating_add(1))?;
    if content.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {max} bytes")));
    }
    Ok(content)
}

/// The same as text.
///
/// # Errors
/// As [`read_file`]; `InvalidData` when it is no UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read_file(path, max)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8"))
}

/// What is in `file` from where it stands, as far as `max` bytes.
///
/// # Errors
/// As read(2).
pub fn read_up_to(mut file: &File, max: u64) -> io::Result<Vec<u8>> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let (mut content, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let want = chunk.len().min(max - content.len());
        match file.read(&mut chunk[..want]) {
            Ok(0) => return Ok(content),
            Ok(got) => content.extend_from_slice(&chunk[..got]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether nothing can be written to the file system which `path` is on: it was mounted so, or the kernel found an error.
pub fn is_read_only(path: &Path) -> bool {
    let flagged = is_flagged_read_only(path);
    // Since Linux 6.15 ext4 says so only among the options of its mount.
    flagged || super_options(path).is_some_and(|options| options.split(',').any(|o| o == "emergency_ro"))
}

/// The same as far as statvfs(3) says so, which is soon read.
pub fn is_flagged_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// The options of the file system which `path` is on, as /proc/self/mountinfo has them behind its " - ".
fn super_options(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    let numbers = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(numbers.as_str()))?;
    line.split_once(" - ")?.1.split(' ').nth(2).map(str::to_string)
}

/// What the kernel tells of the ext4 of a loop device that is mounted at `path`; None: something else is.
pub fn ext4_of_loop(path: &Path) -> Option<PathBuf> {
    let told = Path::new("/sys/fs/ext4").join(loop_device(path)?);
    told.is_dir().then_some(told)
}

/// The loop device that the file system at `path` is on, as /dev calls it.
pub fn loop_device(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    (major(device) == LOOP_MAJOR).then(|| format!("loop{}", minor(device)))
}

/// Whether a call failed because this process, or the box, has no file descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The room of a file system, in bytes.
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is free for root.
    pub free: u64,
}

impl Space {
    /// That of the file system which `path` is on.
    ///
    /// # Errors
    /// As statvfs(3).
    pub fn of(path: &Path) -> nix::Result<Space> {
        statvfs(path).map(|stat| Space::new(&stat))
    }

    /// What statvfs(3) has told.
    pub fn new(stat: &Statvfs) -> Space {
        // The fields are as wide as the platform's long.
        #[allow(clippy::useless_conversion)]
        let (unit, blocks, free) =
            (u64::from(stat.fragment_size()), u64::from(stat.blocks()), u64::from(stat.blocks_available()));
        Space { total: blocks.saturating_mul(unit), free: free.saturating_mul(unit) }
    }
}

/// Mounts `source`, a file system of kind `kind`, at `target`.
///
/// # Errors
/// As mount(2).
pub fn mount(source: &Path, target: &Path, kind: &str, flags: MsFlags, options: &str) -> nix::Result<()> {
    nix::mount::mount(Some(source), target, Some(kind), flags, Some(options))
}

/// Unmounts `target`, which is no link.
///
/// # Errors
/// As umount2(2).
pub fn unmount(target: &Path, flags: MntFlags) -> nix::Result<()> {
    nix::mount::umount2(target, flags | MntFlags::UMOUNT_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_cannot_leave_its_root() {
        let dir = std::env::temp_dir().join(format!("cloudbox-sys-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        std::fs::write(dir.join("etc/inside"), "in").unwrap();
        let _ = std::fs::remove_file(dir.join("escape"));
        std::os::unix::fs::symlink("/etc/../../etc/inside", dir.join("escape")).unwrap();
        let root = File::open(&dir).unwrap();
        let file = open_in_root(root.as_fd(), Path::new("escape"), OFlag::O_RDONLY).unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(text, "in");
    }

    #[test]
    fn renames_elsewhere_do_not_end_a_walk() {
        let dir = std::env::temp_dir().join(format!("cloudbox-walk-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("in/etc")).unwrap();
        std::fs::create_dir_all(dir.join("a/moved")).unwrap();
        std::fs::create_dir_all(dir.join("b")).unwrap();
        let root = File::open(dir.join("in")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let opened: io::Result<()> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::rename(dir.join("a/moved"), dir.join("b/moved")).unwrap();
                    std::fs::rename(dir.join("b/moved"), dir.join("a/moved")).unwrap();
                }
            });
            let path = Path::new("etc/../etc/../etc/..");
            let open = |_| open_in_root(root.as_fd(), path, OFlag::O_DIRECTORY).map(drop);
            let opened = (0..100_000).try_for_each(open);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            opened
        });
        std::fs::remove_dir_all(&dir).unwrap();
        opened.unwrap();
    }

    #[test]
    fn a_real_path_has_no_links() {
        assert_eq!(real_path(Path::new("/proc/self/../sys/kernel/")).unwrap(), Path::new("/proc/sys/kernel"));
        let me = Path::new("/proc").join(std::process::id().to_string());
        assert_eq!(real_path(Path::new("/proc/self")).unwrap(), me);
        assert!(real_path(Path::new("/proc/nothing")).is_err());
    }
}
