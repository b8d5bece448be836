//! System calls that neither std nor nix wraps. The only module with `unsafe`.
//!
//! Every function is a safe wrapper: it takes borrowed descriptors and checked strings, and hands out owned ones.

use nix::errno::Errno;
use nix::sys::signal::{kill, Signal};
use nix::sys::socket::setsockopt;
use nix::sys::wait::waitpid;
use nix::time::{clock_gettime, ClockId};
use nix::unistd::{getpid, Pid};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `path` as the C library takes it.
///
/// # Errors
/// EINVAL when there is a NUL in it.
fn c_path(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Takes ownership of a descriptor the kernel has just handed out.
fn own(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel returned this descriptor to us a moment ago and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor for process `pid` that becomes readable when the process ends, and never means another process.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    own(Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?)
}

/// Sends `signal` to the process behind `pidfd`.
///
/// # Errors
/// ESRCH when it has ended.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means an ordinary kill(2).
    Errno::result(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0)
    })?;
    Ok(())
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

nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
nix::ioctl_none_bad!(loop_set_capacity, 0x4C07);
// Of linux/ext4.h.
nix::ioctl_write_ptr!(ext4_ioc_resize_fs, b'f', 16, u64);
// Of linux/fs.h.
nix::ioctl_write_int!(ficlone, 0x94, 9);
nix::ioctl_readwrite!(fifreeze, b'X', 119, libc::c_int);
nix::ioctl_readwrite!(fithaw, b'X', 120, libc::c_int);

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
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 },
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    let mut tries = 0;
    loop {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = unsafe { loop_ctl_get_free(control.as_raw_fd()) }?;
        let path = loop_node(number)?;
        let device = File::options().read(true).write(!read_only).open(&path)?;
        // SAFETY: `config` has the layout of struct loop_config and outlives the call.
        match unsafe { loop_configure(device.as_raw_fd(), &config) } {
            Ok(_) => return Ok((device.into(), path)),
            Err(Errno::EBUSY) if tries < LOOP_TRIES => tries += 1,
            Err(e) => return Err(e.into()),
        }
    }
}

/// Lets a loop device have the size that its file has got in the meantime.
///
/// # Errors
/// As ioctl(2).
pub fn loop_take_new_size(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    unsafe { loop_set_capacity(device.as_raw_fd()) }?;
    Ok(())
}

/// Grows the mounted ext4 file system that `inside` is a directory of to `blocks` blocks.
///
/// # Errors
/// EPERM without CAP_SYS_RESOURCE, EOPNOTSUPP where the file system cannot.
pub fn ext4_grow(inside: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads an integer of eight bytes, which outlives the call.
    unsafe { ext4_ioc_resize_fs(inside.as_raw_fd(), &blocks) }?;
    Ok(())
}

/// Lets `to` have the data of `from`, without copying it: both share it until one of them is written to.
///
/// # Errors
/// EOPNOTSUPP and others where the file system cannot, EXDEV between two of them.
pub fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: FICLONE takes a descriptor.
    unsafe { ficlone(to.as_raw_fd(), from.as_raw_fd() as _) }?;
    Ok(())
}

/// Brings the file system of directory `dir` to rest, all of it on its disk, or lets it go on. Until then whoever
/// writes to it waits.
///
/// # Errors
/// EBUSY when it is frozen already, EINVAL when it is not frozen, EOPNOTSUPP.
pub fn freeze_filesystem(dir: BorrowedFd<'_>, freeze: bool) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: neither of the two looks at its argument.
    unsafe {
        match freeze {
            true => fifreeze(dir.as_raw_fd(), &mut unused),
            false => fithaw(dir.as_raw_fd(), &mut unused),
        }
    }?;
    Ok(())
}

/// The node of loop device `number`, made when devtmpfs has not: a box without hotplug has eight at most.
fn loop_node(number: libc::c_int) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if !path.exists() {
        let device = nix::sys::stat::makedev(7, u64::try_from(number).unwrap_or(0));
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        match nix::sys::stat::mknod(&path, nix::sys::stat::SFlag::S_IFBLK, mode, device) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(path)
}

/// Mounts a copy of the mount at `source` at `target`, its owners shifted by the id map of user namespace `userns`.
///
/// # Errors
/// EINVAL where the file system or the kernel has no idmapped mounts.
pub fn mount_idmapped(source: &Path, target: &Path, userns: BorrowedFd<'_>) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: `source` ends in NUL.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    let tree = own(Errno::result(tree)?)?;
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.as_raw_fd() as u64,
    };
    // SAFETY: the empty path ends in NUL, and `attr` has the layout and the size the kernel is told.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })?;
    // SAFETY: both paths end in NUL.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// A process that does nothing in a user namespace of its own, so that the namespace can be given a map and opened.
/// It ends when this value is dropped.
pub struct UsernsHolder {
    pid: Pid,
}

impl UsernsHolder {
    /// Starts it. It dies with the thread that starts it, and has none of our descriptors: a lock that is ours would be
    /// its own as well, and outlive us.
    ///
    /// # Errors
    /// EPERM or ENOSYS where the kernel has no user namespaces, EAGAIN when there are too many processes.
    pub fn start() -> io::Result<UsernsHolder> {
        let us = getpid().as_raw();
        // SAFETY: like fork(2), the raw clone copies this one thread. The child calls nothing but async-signal-safe
        // system calls: it pauses until it is killed.
        let pid = unsafe {
            let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
            let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if pid == 0 {
                libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
                die_with_parent(us);
                loop {
                    libc::pause();
                }
            }
            pid
        };
        let pid = Errno::result(pid)?;
        Ok(UsernsHolder { pid: Pid::from_raw(pid as libc::pid_t) })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
}

impl Drop for UsernsHolder {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Has the kernel kill this process, a child of `parent`, when the thread that made it ends.
///
/// # Safety
/// Only between fork(2) and exec(2), or in a child that does nothing else. It is async-signal-safe.
unsafe fn die_with_parent(parent: libc::pid_t) {
    // SAFETY: both calls take integers. Asking for the signal comes first: who died before that, sends none.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if libc::getppid() != parent {
            libc::_exit(1);
        }
    }
}

/// How much sooner than the box's own programs one is killed that works on what a stranger wrote, when the box has no
/// memory left: before the guests, which have 500. Of 1000.
const OOM_SCORE: &[u8] = b"800";

/// Has the kernel kill this process sooner than others. Nobody needs a right for that.
///
/// # Safety
/// Only between fork(2) and exec(2), or in a child that does nothing else. It is async-signal-safe.
unsafe fn be_killed_sooner() {
    // SAFETY: the path ends with a zero byte, and the number is as long as is said. Without /proc nothing is lost.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
            libc::close(file);
        }
    }
}

/// What a program may do of what we may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// All of it.
    All,
    /// What root may without any capability: use root's own files.
    Files,
    /// The same, and read everybody's files.
    ReadAll,
    /// What user nobody may. Its pipes are all it needs.
    Pipes,
}

/// Lets `command` die with the thread that starts it, leaves it no descriptor but its standard ones, and no more than
/// `rights`. Who is left less than all can never get more again, by no set-user-id program either, and makes none of the
/// system calls that only an intruder would.
pub fn confine(command: &mut Command, rights: Rights) {
    let us = getpid().as_raw();
    // SAFETY: what is called between fork and exec is async-signal-safe: it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            // All of ours are close-on-exec already; this is about those of a library. Before Linux 5.11 that is all.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            if rights != Rights::All {
                be_killed_sooner();
                give_up(rights)?;
            }
            // Last: a change of user takes it back.
            die_with_parent(us);
            Ok(())
        });
    }
}

/// Has `command` do `work` in a child of this process instead of a program, with its standard input and output, and end
/// well if that returns true. The child sees a copy of our memory and changes nothing of ours; it has no descriptor but
/// its standard ones and what user nobody may, and opens, connects and starts nothing.
pub fn work_apart(command: &mut Command, work: impl Fn(File, File) -> bool + Send + Sync + 'static) {
    let us = getpid().as_raw();
    // SAFETY: only this thread goes on in the child, as after each fork(2). The C libraries keep their allocator usable
    // there (musl since 1.2.2); `work` takes no lock that another thread may have held, and nothing is logged.
    unsafe {
        command.pre_exec(move || {
            // std waits until a descriptor of its own is closed, as an exec closes it.
            if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) != 0 {
                for fd in 3..DESCRIPTORS_MAX {
                    libc::close(fd);
                }
            }
            // Not by another panic hook: a thread that is left behind may have held the lock of that.
            IS_WORKER.store(true, Ordering::Relaxed);
            be_killed_sooner();
            let confined = give_up(Rights::Pipes).is_ok() && filter_calls(&WORKER_FILTER).is_ok();
            die_with_parent(us);
            let work = || work(File::from_raw_fd(0), File::from_raw_fd(1));
            // Where a panic unwinds, it must not leave this call: behind it the child would be a second daemon.
            match confined.then(|| std::panic::catch_unwind(AssertUnwindSafe(work))) {
                Some(Ok(true)) => libc::_exit(0),
                Some(Ok(false)) | None => libc::_exit(1),
                Some(Err(_)) => std::process::abort(),
            }
        });
    }
}

/// Set in the child that [`work_apart`] makes, which has our memory.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// Whether this is a child that [`work_apart`] has made: its panic is its end, and no word of ours.
pub fn is_worker() -> bool {
    IS_WORKER.load(Ordering::Relaxed)
}

/// More descriptors than a daemon of ours has open; for Linux before 5.9.
const DESCRIPTORS_MAX: RawFd = 65_536;

/// Closes what we have inherited, from `first` on, in each program that we will start: whoever started us may have left
/// descriptors open, and a guest's program has no business with them.
pub fn inherit_no_further(first: RawFd) {
    // SAFETY: close_range(2) takes integers; with this flag it closes nothing now.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Before Linux 5.11.
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        if fd >= first {
            // SAFETY: F_SETFD takes an integer; a number that is no descriptor is refused.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Capabilities, of linux/capability.h.
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SETPCAP: libc::c_ulong = 8;
/// User and group nobody, as every Linux has them.
const NOBODY: u32 = 65_534;

/// `struct __user_cap_header_struct` and `struct __user_cap_data_struct` of linux/capability.h.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: libc::c_int,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
const CAP_VERSION_3: u32 = 0x2008_0522;

/// Leaves this process no more than `rights`, for ever.
///
/// # Safety
/// Only between fork(2) and exec(2). It is async-signal-safe.
unsafe fn give_up(rights: Rights) -> io::Result<()> {
    let last_error = || Err(io::Error::last_os_error());
    let keep = if rights == Rights::ReadAll { 1 << CAP_DAC_READ_SEARCH } else { 0 };
    // SAFETY: integers, and pointers to values that outlive the calls.
    unsafe {
        // Without the right to there is nothing to drop: we are not root.
        if libc::prctl(libc::PR_CAPBSET_READ, CAP_SETPCAP, 0, 0, 0) == 1 && libc::geteuid() == 0 {
            for capability in 0..64_u64 {
                let kept = keep & (1_u64 << capability) != 0;
                // EINVAL is behind the kernel's last one.
                if !kept && libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) != 0 {
                    break;
                }
            }
        }
        if rights == Rights::Pipes && libc::geteuid() == 0 {
            let no_groups: *const libc::gid_t = std::ptr::null();
            if libc::setgroups(0, no_groups) != 0 || libc::setgid(NOBODY) != 0 || libc::setuid(NOBODY) != 0 {
                return last_error();
            }
        }
        let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
        let low = if libc::geteuid() == 0 { keep as u32 } else { 0 };
        let none = CapData { effective: 0, permitted: 0, inheritable: 0 };
        let data = [CapData { effective: low, permitted: low, inheritable: 0 }, none];
        if libc::syscall(libc::SYS_capset, &header, data.as_ptr()) != 0 {
            return last_error();
        }
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return last_error();
        }
    }
    // SAFETY: as promised by our caller.
    unsafe { filter_calls(&FILTER) }
}

/// System calls that no program has a use for which fetches, unpacks or packs. Each is a door to parts of the kernel that
/// were often its weakest.
const REFUSED_CALLS: [libc::c_long; 24] = [
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    // Namespaces, in which one is root again.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // Keys outlive their process.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Machines inside the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    // Files by number, around the paths to them.
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
];

/// What [`work_apart`] is refused besides: whoever reads and writes two pipes opens, connects and starts nothing.
const WORKER_CALLS: [libc::c_long; 14] = [
    OPEN,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_memfd_create,
];

/// open(2), which newer machines have not.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"))]
const OPEN: libc::c_long = libc::SYS_openat;
#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")))]
const OPEN: libc::c_long = libc::SYS_open;

/// The kernel's number of the machine we are built for, of linux/audit.h; None of one that we do not know.
const AUDIT_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "x86") {
    Some(0x4000_0003)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else if cfg!(all(target_arch = "mips", target_endian = "little")) {
    Some(0x4000_0008)
} else if cfg!(target_arch = "mips") {
    Some(0x0000_0008)
} else {
    None
};

pub(crate) const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Of programs, and of our own children.
const FILTER: [libc::sock_filter; REFUSED_CALLS.len() + 6] = filter(&REFUSED_CALLS);
const WORKER_FILTER: [libc::sock_filter; WORKER_CALLS.len() + 6] = filter(&WORKER_CALLS);

/// A filter: a call for another machine, or one of `calls`, is answered with EPERM. `LENGTH` is that of `calls` and 6.
const fn filter<const LENGTH: usize>(calls: &[libc::c_long]) -> [libc::sock_filter; LENGTH] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const IS_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
    let number = calls.len();
    assert!(LENGTH == number + 6);
    let mut filter = [instruction(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW); LENGTH];
    // seccomp_data has the call's number at 0 and the machine at 4.
    filter[0] = instruction(LOAD, 0, 0, 4);
    let machine = match AUDIT_ARCH {
        Some(machine) => machine,
        None => 0,
    };
    filter[1] = instruction(IS, 0, number as u8 + 3, machine);
    filter[2] = instruction(LOAD, 0, 0, 0);
    // x86-64's second set of numbers.
    filter[3] = instruction(IS_AT_LEAST, number as u8 + 1, 0, 0x4000_0000);
    let mut at = 0;
    while at < number {
        filter[4 + at] = instruction(IS, (number - at) as u8, 0, calls[at] as u32);
        at += 1;
    }
    filter[5 + number] = instruction(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    filter
}

/// Whether [`confine`] knows this processor's system calls.
pub fn filters_helpers() -> bool {
    AUDIT_ARCH.is_some()
}

/// Has the kernel refuse this process the calls above. Where it cannot, they are not refused.
///
/// # Safety
/// Only between fork(2) and exec(2). It is async-signal-safe.
unsafe fn filter_calls(filter: &[libc::sock_filter]) -> io::Result<()> {
    if AUDIT_ARCH.is_none() {
        return Ok(());
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the filter, which is as long as is said.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program, 0, 0) };
    match Errno::result(done) {
        // A kernel without filters.
        Ok(_) | Err(Errno::EINVAL | Errno::ENOSYS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Reads entries of the open directory `dir` into `buffer`, as getdents64(2) lays them out, and tells how many bytes of
/// them there are; 0 at the end. For walks that must come back to a place in a directory, which readdir(3) hides.
///
/// # Errors
/// As getdents64(2).
pub fn read_entries(dir: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes no more than the length it is told.
    let got =
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    Ok(Errno::result(got)? as usize)
}

/// Lets two paths change places, at once for whoever looks.
///
/// # Errors
/// As renameat2(2); EINVAL where the file system cannot.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rename(one, other, libc::RENAME_EXCHANGE)
}

/// Renames `one` to `other`, which is not there.
///
/// # Errors
/// As renameat2(2): EEXIST when it is there, EINVAL where the file system cannot look at the same moment.
pub fn rename_new(one: &Path, other: &Path) -> io::Result<()> {
    rename(one, other, libc::RENAME_NOREPLACE)
}

// nix has renameat2 for glibc only.
fn rename(one: &Path, other: &Path, how: libc::c_uint) -> io::Result<()> {
    let (one, other) = (c_path(one)?, c_path(other)?);
    // SAFETY: both paths end in NUL.
    let done = unsafe {
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), how)
    };
    Errno::result(done)?;
    Ok(())
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

/// Whether the file system of `file` reads extended attributes, of which some of its files have some. (Others have none
/// to read.)
pub fn reads_xattrs(file: &File) -> bool {
    let name = c"user.cloudbox";
    // SAFETY: `name` ends in NUL; without room the kernel writes nothing.
    let read = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) };
    Errno::result(read) != Err(Errno::EOPNOTSUPP)
}

/// What `read` puts into a buffer; called with an empty one it tells how much that is.
fn sized(read: &dyn Fn(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let length = Errno::result(read(&mut []))?;
    let mut buffer = vec![0; length as usize];
    if length > 0 {
        let length = Errno::result(read(&mut buffer))?;
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
    Errno::result(done)?;
    Ok(())
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

/// Whether the kernel says that its clock was set by somebody who knows the time.
pub fn clock_is_synchronised() -> bool {
    // SAFETY: `timex` is plain data, and all zeros ask for nothing to be changed.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it points to a `timex` of ours, which is written to.
    let state = unsafe { libc::adjtimex(&mut timex) };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

/// The time since the box's boot.
pub fn boottime() -> Duration {
    // This clock is always there.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
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

/// IP_ADD_MEMBERSHIP with the interface's number. std and nix name the interface by an address of it, which several may
/// have: those of a mesh do.
#[derive(Clone)]
struct AddMembership;
nix::setsockopt_impl!(
    AddMembership,
    libc::IPPROTO_IP,
    libc::IP_ADD_MEMBERSHIP,
    libc::ip_mreqn,
    nix::sys::socket::sockopt::SetStruct<'_, libc::ip_mreqn>
);

/// Lets `socket` have what is sent to `group` on the interface with number `interface`.
///
/// # Errors
/// As setsockopt(2).
pub fn join_multicast_v4(socket: BorrowedFd<'_>, group: Ipv4Addr, interface: u32) -> io::Result<()> {
    let member = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(group.octets()) },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface as libc::c_int,
    };
    Ok(setsockopt(&socket, AddMembership, &member)?)
}

/// A socket for ARP's messages on the interface with number `interface`, without their Ethernet headers; reading from it
/// never waits.
///
/// # Errors
/// As socket(2) and bind(2).
pub fn arp_socket(interface: u32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Of no protocol, so that nothing is heard before it is bound to the interface.
    // SAFETY: socket(2) takes three integers and touches no memory of ours.
    let socket = own(Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?.into())?;
    let at = arp_everywhere(interface);
    // SAFETY: the kernel reads an address of the length it is told, which lives until the call returns.
    Errno::result(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const at).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

/// Sends `message` of ARP to everybody behind the interface.
///
/// # Errors
/// As sendto(2).
pub fn send_arp(socket: BorrowedFd<'_>, interface: u32, message: &[u8]) -> io::Result<()> {
    let to = arp_everywhere(interface);
    // SAFETY: the kernel reads a message and an address of the lengths it is told, which live until the call returns.
    Errno::result(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Everybody's address behind an interface, for ARP.
fn arp_everywhere(interface: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
        sll_ifindex: interface as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    }
}

/// IP_MULTICAST_IF by an interface's number, which nix does not have.
#[derive(Clone)]
struct MulticastInterface;
nix::setsockopt_impl!(
    MulticastInterface,
    libc::IPPROTO_IP,
    libc::IP_MULTICAST_IF,
    libc::ip_mreqn,
    nix::sys::socket::sockopt::SetStruct<'_, libc::ip_mreqn>
);

/// Has what `socket` sends to a group leave on the interface with number `interface`.
///
/// # Errors
/// As setsockopt(2).
pub fn send_multicast_v4(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let out = libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex: interface as libc::c_int };
    Ok(setsockopt(&socket, MulticastInterface, &out)?)
}

/// SO_ATTACH_FILTER, which nix does not have.
#[derive(Clone, Copy, Debug)]
struct AttachFilter;

nix::setsockopt_impl!(
    AttachFilter,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog,
    nix::sys::socket::sockopt::SetStruct<'_, libc::sock_fprog>
);

/// Has the kernel drop the messages to `socket` for which `program` returns 0.
///
/// # Errors
/// EINVAL for a program that is none.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> nix::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    // The kernel copies the instructions, and writes nothing.
    setsockopt(&socket, AttachFilter, &libc::sock_fprog { len, filter: program.as_ptr().cast_mut() })
}

/// Gives memory that was freed back to the kernel where the C library keeps it (glibc does; musl's own malloc returns it by itself).
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn processes_begin_after_the_boot_and_before_now() {
        let began = start_time(std::process::id() as i32).unwrap();
        assert!(began <= boottime() && boottime() - began < Duration::from_secs(600), "{began:?}");
        assert_eq!(start_time(1 << 23), None);
    }

    #[test]
    fn a_holder_has_none_of_our_descriptors() {
        let _ours = File::open("/").unwrap();
        let Ok(holder) = UsernsHolder::start() else {
            println!("skipped: no user namespace can be made here");
            return;
        };
        let begun = std::time::Instant::now();
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", holder.pid())).unwrap().count();
        while descriptors() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it keeps {} descriptors", descriptors());
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_filter_of_calls_jumps_to_its_ends() {
        let end = |at: usize, jump: u8| FILTER[at + 1 + usize::from(jump)].k;
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        assert_eq!((end(1, FILTER[1].jf), end(3, FILTER[3].jt)), (refused, refused));
        for (at, line) in FILTER.iter().enumerate().skip(4).take(REFUSED_CALLS.len()) {
            assert_eq!(end(at, line.jt), refused, "{at}");
        }
        assert_eq!(FILTER[4 + REFUSED_CALLS.len()].k, libc::SECCOMP_RET_ALLOW);
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
