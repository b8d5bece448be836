//! System calls that neither std nor nix wraps. The only module with `unsafe`.
//!
//! Every function is a safe wrapper: it takes borrowed descriptors and checked strings, and hands out owned ones.

use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `path` as the C library takes it. nix makes one by itself, but anew for each of its functions.
///
/// # Errors
/// EINVAL when there is a NUL in it.
pub fn c_path(path: &(impl AsRef<Path> + ?Sized)) -> nix::Result<CString> {
    CString::new(path.as_ref().as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// The result of a raw system call: -1 is an error that errno names.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Takes ownership of a descriptor the kernel has just handed out.
fn own(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel returned this descriptor to us a moment ago and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor for process `pid` that becomes readable when the process ends, and never means another process.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    own(check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?)
}

/// Sends `signal` to the process behind `pidfd`.
///
/// # Errors
/// ESRCH when it has ended.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means an ordinary kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) })?;
    Ok(())
}

/// The number of the first real-time signal that programs may use, for `SIGRTMIN+3` and the like.
pub fn sigrtmin() -> i32 {
    libc::SIGRTMIN()
}

/// `struct open_how` of openat2(2).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How often a walk that others disturb is begun anew: a guest may do so on purpose, for ever.
const WALK_TRIES: u32 = 256;

/// RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS of linux/openat2.h.
const RESOLVE_IN_ROOT: u64 = 0x10 | 0x02;

/// Opens `path` with `root` as the root directory of the walk: `..` and absolute links cannot lead out of it.
///
/// # Errors
/// As open(2).
pub fn openat2_in_root(root: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags =
        u64::try_from(flags | libc::O_CLOEXEC).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let how = OpenHow { flags, mode: u64::from(mode), resolve: RESOLVE_IN_ROOT };
    let mut tries = 0;
    loop {
        // SAFETY: `path` ends in NUL and `how` has the layout and the size the kernel is told.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                std::ptr::from_ref(&how),
                size_of::<OpenHow>(),
            )
        };
        match check(fd) {
            // Somebody renamed or mounted something meanwhile, anywhere, and the walk had a `..` in it.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && tries < WALK_TRIES => tries += 1,
            other => return own(other?),
        }
    }
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_SET_CAPACITY: u64 = 0x4C07;
/// _IOW('f', 16, __u64) of linux/ext4.h; these processors have their own idea of the direction's bits.
const EXT4_IOC_RESIZE_FS: u64 = if cfg!(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64"
)) {
    0x8008_6610
} else {
    0x4008_6610
};
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Others may take the free device between the two calls; so many of them in a row would be a fault.
const LOOP_TRIES: u32 = 64;

/// Attaches `file` to a free loop device and returns it open, with its path. The device detaches itself when its last
/// user is gone: keep the descriptor until it is mounted, then drop it.
///
/// # Errors
/// As open(2) of `/dev/loop-control` and ioctl(2).
pub fn loop_attach(file: BorrowedFd<'_>, read_only: bool) -> io::Result<(OwnedFd, PathBuf)> {
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    let mut tries = 0;
    loop {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number =
            check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) } as libc::c_long)?;
        let path = loop_node(number)?;
        let device = File::options().read(true).write(!read_only).open(&path)?;
        // SAFETY: all-zero bytes are a valid LoopConfig, it holds integers only.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.fd = file.as_raw_fd() as u32;
        config.info.flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
        // SAFETY: `config` has the layout of struct loop_config and outlives the call.
        let done =
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, std::ptr::from_ref(&config)) };
        match check(done as libc::c_long) {
            Ok(_) => return Ok((device.into(), path)),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && tries < LOOP_TRIES => tries += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Lets a loop device have the size that its file has got in the meantime.
///
/// # Errors
/// As ioctl(2).
pub fn loop_take_new_size(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY as _) } as libc::c_long)?;
    Ok(())
}

/// Grows the mounted ext4 file system that `inside` is a directory of to `blocks` blocks.
///
/// # Errors
/// EPERM without CAP_SYS_RESOURCE, EOPNOTSUPP where the file system cannot.
pub fn ext4_grow(inside: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the argument is a pointer to an integer of eight bytes that outlives the call.
    let done =
        unsafe { libc::ioctl(inside.as_raw_fd(), EXT4_IOC_RESIZE_FS as _, std::ptr::from_ref(&blocks)) };
    check(done as libc::c_long)?;
    Ok(())
}

/// The node of loop device `number`, made when devtmpfs has not: a box without hotplug has eight at most.
fn loop_node(number: libc::c_long) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if !path.exists() {
        let device = nix::sys::stat::makedev(7, u64::try_from(number).unwrap_or(0));
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        match nix::sys::stat::mknod(&*c_path(&path)?, nix::sys::stat::SFlag::S_IFBLK, mode, device) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(path)
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const OPEN_TREE_CLONE: u32 = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;

/// Mounts a copy of the mount at `source` at `target`, its owners shifted by the id map of user namespace `userns`.
///
/// # Errors
/// EINVAL where the file system or the kernel has no idmapped mounts.
pub fn mount_idmapped(source: &Path, target: &Path, userns: BorrowedFd<'_>) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32;
    // SAFETY: `source` ends in NUL.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    let tree = own(check(tree)?)?;
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.as_raw_fd() as u64,
    };
    // SAFETY: the empty path ends in NUL, and `attr` has the layout and the size the kernel is told.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    })?;
    // SAFETY: both paths end in NUL.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// A process that does nothing in a user namespace of its own, so that the namespace can be given a map and opened.
/// It ends when this value is dropped.
pub struct UsernsHolder {
    pid: libc::pid_t,
}

impl UsernsHolder {
    /// Starts it.
    ///
    /// # Errors
    /// EPERM or ENOSYS where the kernel has no user namespaces, EAGAIN when there are too many processes.
    pub fn start() -> io::Result<UsernsHolder> {
        // SAFETY: like fork(2), the raw clone copies this one thread. The child calls nothing but async-signal-safe
        // system calls: it pauses until it is killed. PR_SET_PDEATHSIG takes it along if we are killed first.
        let pid = unsafe {
            let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
            let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                loop {
                    libc::pause();
                }
            }
            pid
        };
        let pid = check(pid)?;
        Ok(UsernsHolder { pid: pid as libc::pid_t })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for UsernsHolder {
    fn drop(&mut self) {
        // SAFETY: kill(2) and waitpid(2) on our own child, which nobody else reaps.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Lets `to` have the data of `from`, without copying it: both share it until one of them is written to.
///
/// # Errors
/// EOPNOTSUPP and others where the file system cannot, EXDEV between two of them.
pub fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: FICLONE takes a descriptor.
    let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE as _, from.as_raw_fd()) };
    check(done as libc::c_long).map(drop)
}

/// Copies up to `length` bytes at `at` of `from` to the same place in `to`, and tells how many.
///
/// # Errors
/// As copy_file_range(2).
pub fn copy_range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, at: u64, length: u64) -> io::Result<u64> {
    let (mut from_at, mut to_at) = (at, at);
    let length = usize::try_from(length).unwrap_or(usize::MAX >> 1);
    // SAFETY: both offsets are 64 bits wide, as loff_t is everywhere, and outlive the call.
    let copied = unsafe {
        libc::syscall(
            libc::SYS_copy_file_range,
            from.as_raw_fd(),
            std::ptr::from_mut(&mut from_at),
            to.as_raw_fd(),
            std::ptr::from_mut(&mut to_at),
            length,
            0,
        )
    };
    check(copied).map(|copied| copied as u64)
}

/// FIFREEZE and FITHAW of linux/fs.h; `_IOWR` is the same number on every architecture.
const FIFREEZE: u32 = 0xC004_5877;
const FITHAW: u32 = 0xC004_5878;

/// Brings the file system of directory `dir` to rest, all of it on its disk, or lets it go on. Until then whoever
/// writes to it waits.
///
/// # Errors
/// EBUSY when it is frozen already, EINVAL when it is not frozen, EOPNOTSUPP.
pub fn freeze_filesystem(dir: BorrowedFd<'_>, freeze: bool) -> io::Result<()> {
    let request = if freeze { FIFREEZE } else { FITHAW };
    // SAFETY: neither of the two looks at its argument.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, 0) };
    check(done as libc::c_long).map(drop)
}

/// RENAME_EXCHANGE of linux/fs.h.
const RENAME_EXCHANGE: u32 = 2;

/// Lets two paths change places, at once for whoever looks.
///
/// # Errors
/// As renameat2(2); EINVAL where the file system cannot.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (c_path(one)?, c_path(other)?);
    // SAFETY: both paths end in NUL.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            RENAME_EXCHANGE,
        )
    };
    check(done).map(drop)
}

/// An extended attribute: its name and its value.
pub type Xattr = (CString, Vec<u8>);

/// The extended attributes of `path`, which may be a link itself. None where the file system has none.
///
/// # Errors
/// As lgetxattr(2).
pub fn xattrs(path: &Path) -> io::Result<Vec<Xattr>> {
    let path = c_path(path)?;
    // SAFETY: `path` ends in NUL, and the kernel writes no more than it is told there is room for.
    let names =
        sized(&|buffer| unsafe { libc::llistxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) });
    let names = match names {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut all = Vec::new();
    for name in names.split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // SAFETY: as above; `name` ends in NUL as well.
        let value = sized(&|buffer| unsafe {
            libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        })?;
        all.push((name.to_owned(), value));
    }
    Ok(all)
}

/// What `read` puts into a buffer; called with an empty one it tells how much that is.
fn sized(read: &dyn Fn(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let length = check(read(&mut []) as libc::c_long)?;
    let mut buffer = vec![0; length as usize];
    if length > 0 {
        let length = check(read(&mut buffer) as libc::c_long)?;
        buffer.truncate(length as usize);
    }
    Ok(buffer)
}

/// Sets an extended attribute of `path`, which may be a link itself.
///
/// # Errors
/// As lsetxattr(2).
pub fn set_xattr(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: both strings end in NUL, and `value` is as long as is said.
    let done =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(done as libc::c_long).map(drop)
}

/// Whether somebody else may have `file` open: a lease for writing is given only to a file's sole opener. Yes, when the
/// file system has no leases.
pub fn is_open_elsewhere(file: &File) -> bool {
    // SAFETY: F_SETLEASE takes an integer. The lease is given back at once.
    unsafe {
        let leased = libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0;
        if leased {
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
        }
        !leased
    }
}

/// Locks `file` for whoever has this opening of it, until the last of them closes it. Another one's lock is
/// `WouldBlock`.
///
/// # Errors
/// As flock(2).
pub fn flock(file: &File) -> io::Result<()> {
    // SAFETY: flock(2) takes two integers.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } as libc::c_long)?;
    Ok(())
}

/// Makes the processes that lose their parent below this one its children, so that it can reap them (used by test
/// harnesses where PID 1 does not).
///
/// # Errors
/// As prctl(2).
pub fn set_child_subreaper() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } as libc::c_long)?;
    Ok(())
}

/// The time since the box's boot.
pub fn boottime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock's time is written to a value that outlives the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// When process `pid` began, since the box's boot.
pub fn start_time(pid: i32) -> Option<Duration> {
    /// USER_HZ, which is the same for all the processors we are built for.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may have blanks and parentheses in it.
    let ticks: u64 = stat.rsplit_once(')')?.1.split(' ').nth(20)?.parse().ok()?;
    Some(Duration::from_millis(ticks * (1000 / TICKS)))
}

/// Sets an option of a socket; `value` is the struct or the integer that it takes, in the machine's byte order.
///
/// # Errors
/// As setsockopt(2).
pub fn set_socket_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length =
        libc::socklen_t::try_from(value.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads as many bytes of `value` as it is told, which are there, and keeps none.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    check(done as libc::c_long)?;
    Ok(())
}

/// Gives memory that was freed back to the kernel where the C library keeps it (glibc does; musl's own malloc returns it by itself).
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What std names a new thread with. musl's own can also name other threads, through a file whose path it makes with
/// printf: 10 KB of program that std, which names only the thread it is on, never needs.
#[cfg(target_env = "musl")]
#[no_mangle]
extern "C" fn pthread_setname_np(_thread: libc::pthread_t, name: *const libc::c_char) -> libc::c_int {
    // SAFETY: std passes text that ends with a NUL; prctl(2) reads no more than 16 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name, 0, 0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_walk_cannot_leave_its_root() {
        let dir = std::env::temp_dir().join(format!("cloudbox-sys-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        std::fs::write(dir.join("etc/inside"), "in").unwrap();
        let _ = std::fs::remove_file(dir.join("escape"));
        std::os::unix::fs::symlink("/etc/../../etc/inside", dir.join("escape")).unwrap();
        let root = File::open(&dir).unwrap();
        let file = openat2_in_root(root.as_fd(), Path::new("escape"), libc::O_RDONLY, 0).unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut File::from(file), &mut text).unwrap();
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
            let open = |_| openat2_in_root(root.as_fd(), path, libc::O_DIRECTORY, 0).map(drop);
            let opened = (0..100_000).try_for_each(open);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            opened
        });
        std::fs::remove_dir_all(&dir).unwrap();
        opened.unwrap();
    }

    #[test]
    fn processes_begin_after_the_boot_and_before_now() {
        let began = start_time(std::process::id() as i32).unwrap();
        assert!(began <= boottime() && boottime() - began < Duration::from_secs(600), "{began:?}");
        assert_eq!(start_time(1 << 23), None);
    }

    #[test]
    fn a_second_opener_is_noticed() {
        let path = std::env::temp_dir().join(format!("cloudbox-lease-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let alone = is_open_elsewhere(&file);
        let other = File::open(&path).unwrap();
        let shared = is_open_elsewhere(&file);
        drop(other);
        let alone_again = is_open_elsewhere(&file);
        std::fs::remove_file(&path).unwrap();
        assert_eq!((alone, shared, alone_again), (false, true, false));
    }

    #[test]
    fn a_pidfd_is_readable_once_its_process_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let fd = pidfd_open(child.id() as i32).unwrap();
        pidfd_send_signal(fd.as_fd(), libc::SIGKILL).unwrap();
        let mut fds = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 5000u16), Ok(1));
        child.wait().unwrap();
        assert!(pidfd_send_signal(fd.as_fd(), 0).is_err());
    }
}
