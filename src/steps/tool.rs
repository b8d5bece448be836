//! Runs other programs for the steps.
//!
//! A program is looked up in fixed directories, gets an environment of ours and no descriptor but its standard ones, and
//! never outlives its job: at the deadline, on a cancel and on every error its whole process group is killed and reaped,
//! and with the daemon it dies by the kernel's hand. LXC's tools are the exception to the last: lxc-start must outlive us.
//! What comes from strangers is read by programs that may next to nothing: see [`Tool::confined`].
//! Waiting is one poll(2) on the
//! program's pidfd, its pipes and the job's cancel descriptor; nothing is asked twice, no thread is needed.

use super::ctx::Ctx;
use crate::error::{Code, Error, Result};
use crate::sys::{self, Rights};
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where programs are looked up: never in a directory somebody else names.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The same as a `PATH`, for tools that start helpers of their own.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Program, Debian package, OpenWrt package; an lxc-* tool has an OpenWrt package of its own name.
const PACKAGES: [(&str, &str, &str); 18] = [
    ("mksquashfs", "squashfs-tools", "squashfs-tools-mksquashfs"),
    ("unsquashfs", "squashfs-tools", "squashfs-tools-unsquashfs"),
    ("mkfs.ext4", "e2fsprogs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs", "e2fsprogs"),
    ("resize2fs", "e2fsprogs", "resize2fs"),
    ("tar", "tar", "tar"),
    ("xz", "xz-utils", "xz"),
    ("zstd", "zstd", "zstd"),
    ("gzip", "gzip", "gzip"),
    ("nft", "nftables", "nftables"),
    ("ip", "iproute2", "ip-full"),
    ("uclient-fetch", "uclient-fetch", "uclient-fetch"),
    ("curl", "curl", "curl"),
    ("wget", "wget", "wget-ssl"),
    ("usign", "signify-openbsd", "usign"),
    ("avahi-daemon", "avahi-daemon", "avahi-dbus-daemon"),
    ("busybox", "busybox", "busybox"),
    ("ssh-keygen", "openssh-client", "openssh-keygen"),
];

/// What is kept of an output: its head and its tail, this many bytes each.
const KEEP: usize = 64 << 10;
/// How much of a failing program's last words goes into the message.
const LAST_WORDS: usize = 400;
/// Bytes read from or written to a pipe at once: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// Finds programs.
pub struct Tool;

impl Tool {
    /// The program called `name`.
    ///
    /// # Errors
    /// [`Code::MissingTool`] with the packages that have it.
    pub fn find(name: &str) -> Result<PathBuf> {
        for directory in DIRECTORIES {
            let path = Path::new(directory).join(name);
            if path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0) {
                return Ok(path);
            }
        }
        let (debian, openwrt) = packages(name);
        Err(Error::new(
            Code::MissingTool,
            format_args!(
                "{name} is not installed; install the package {openwrt} (OpenWrt) or {debian} (Debian)"
            ),
        ))
    }

    /// A command that runs `name` in a process group of its own, with an empty environment but for `PATH` and the C
    /// locale, which our reading of messages relies on. Add arguments and variables to it.
    ///
    /// # Errors
    /// As [`Tool::find`].
    pub fn command(name: &str) -> Result<Command> {
        let mut command = Tool::plain(name)?;
        // LXC's tools are what others wait for, and begin in half the time as they are; all our descriptors are
        // close-on-exec, so that there is nothing to close for them.
        if !name.starts_with("lxc-") {
            sys::confine(&mut command, Rights::All);
        }
        Ok(command)
    }

    /// The same for a program that reads what a stranger wrote: it has no more than `rights`.
    ///
    /// # Errors
    /// As [`Tool::find`].
    pub fn confined(name: &str, rights: Rights) -> Result<Command> {
        let mut command = Tool::plain(name)?;
        sys::confine(&mut command, rights);
        Ok(command)
    }

    /// A child of this program itself, called `name` in messages, that does `work` with its input and output and ends
    /// well if that returns true. It reads what a stranger wrote: it opens nothing, connects to nothing and starts nothing,
    /// and has what user nobody may.
    pub fn worker(name: &str, work: impl Fn(File, File) -> bool + Send + Sync + 'static) -> Command {
        let mut command = Command::new(name);
        command.process_group(0);
        sys::work_apart(&mut command, work);
        command
    }

    fn plain(name: &str) -> Result<Command> {
        let mut command = Command::new(Tool::find(name)?);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").process_group(0);
        Ok(command)
    }
}

/// The name of `command`'s program, for messages.
fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn packages(name: &str) -> (&str, &str) {
    if name.starts_with("lxc-") {
        return ("lxc", name);
    }
    match PACKAGES.iter().find(|(tool, _, _)| *tool == name) {
        Some((_, debian, openwrt)) => (debian, openwrt),
        None => (name, name),
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; of a long one the head and the tail.
    pub stdout: Vec<u8>,
    /// Its standard error, likewise.
    pub stderr: Vec<u8>,
    /// Bytes left out of the two.
    pub omitted: u64,
}

/// Runs `command` to its end, which must come within `limit` and be a success.
///
/// # Errors
/// [`Code::Timeout`], [`Code::Cancelled`], or [`Code::Failed`] with the program's last words.
pub fn run(command: &mut Command, ctx: &Ctx, limit: Duration) -> Result<Output> {
    let output = output(command, ctx, limit)?;
    if output.status.success() {
        return Ok(output);
    }
    Err(failure(&name_of(command), output.status, &output.stderr))
}

/// As [`run`], for a caller to whom every exit status says something.
///
/// # Errors
/// [`Code::Timeout`] or [`Code::Cancelled`].
pub fn output(command: &mut Command, ctx: &Ctx, limit: Duration) -> Result<Output> {
    RunningTool::start(command, Pipes { stdin: false, stdout: true }, ctx, limit)?.end()
}

/// Which ends of a [`RunningTool`] program are ours; the others are /dev/null. Its standard error is always read.
#[derive(Debug, Clone, Copy)]
pub struct Pipes {
    /// We write its input.
    pub stdin: bool,
    /// We read its output.
    pub stdout: bool,
}

/// Something read piece by piece, with errors for people. Zero bytes are the end.
pub trait Source {
    /// Reads into `buffer` and tells how many bytes.
    ///
    /// # Errors
    /// Whatever keeps it from reading on.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;
}

/// A program at work that we feed or read. Dropped before its end, it is killed with its whole group.
pub struct RunningTool<'a> {
    ctx: &'a Ctx,
    name: String,
    child: Child,
    pidfd: OwnedFd,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    said: Kept,
    /// Input taken from a source and not yet written.
    pending: Vec<u8>,
    started: Instant,
    limit: Duration,
    reaped: bool,
}

impl<'a> RunningTool<'a> {
    /// Starts `command` in a process group of its own; it may take `limit` in all.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        command: &mut Command,
        pipes: Pipes,
        ctx: &'a Ctx,
        limit: Duration,
    ) -> Result<RunningTool<'a>> {
        let name = name_of(command);
        let failed = |what: &str, e: io::Error| {
            Error::new(Code::Failed, format_args!("cannot {what} {name}: {e}")).caused_by(e)
        };
        let end = |ours| if ours { Stdio::piped() } else { Stdio::null() };
        command.stdin(end(pipes.stdin)).stdout(end(pipes.stdout)).stderr(end(true));
        let mut child = command.spawn().map_err(|e| failed("start", e))?;
        let (pidfd, [stdin, stdout, stderr]) = watch(&mut child).map_err(|e| {
            kill_group(&mut child);
            failed("watch", e)
        })?;
        Ok(RunningTool {
            ctx,
            name,
            child,
            pidfd,
            stdin,
            stdout,
            stderr,
            said: Kept::default(),
            pending: Vec::new(),
            started: Instant::now(),
            limit,
            reaped: false,
        })
    }

    /// Writes all of `data` to the program. Only for one whose output is not ours: that could fill up meanwhile.
    ///
    /// # Errors
    /// [`Code::Timeout`], [`Code::Cancelled`]; the program's own failure when it ended early.
    pub fn write_all(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let Some(stdin) = self.stdin.as_mut() else { return Err(self.ended_early()) };
            match stdin.write(data) {
                Ok(written) => data = &data[written..],
                Err(e) if try_later(&e) => {
                    self.wait(Want { input: true, ..Want::default() })?;
                }
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                Err(e) => return Err(self.failed("write to", e)),
            }
        }
        Ok(())
    }

    /// Reads the program's output into `buffer`; zero bytes are its end.
    ///
    /// # Errors
    /// [`Code::Timeout`], [`Code::Cancelled`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.read_feeding(&mut Nothing, buffer)
    }

    /// Reads the program's output into `buffer` while writing `source` to its input, as a filter wants it.
    ///
    /// # Errors
    /// [`Code::Timeout`], [`Code::Cancelled`], and those of `source`.
    pub fn read_feeding(&mut self, source: &mut dyn Source, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let Some(stdout) = self.stdout.as_mut() else { return Ok(0) };
            match stdout.read(buffer) {
                Ok(0) => self.stdout = None,
                Ok(n) => return Ok(n),
                Err(e) if try_later(&e) => {}
                Err(e) => return Err(self.failed("read from", e)),
            }
            if self.stdout.is_some() {
                self.take_from(source)?;
                let input = self.stdin.is_some();
                let ready = self.wait(Want { input, output: true, ..Want::default() })?;
                if ready.input {
                    self.feed_pending()?;
                }
            }
        }
    }

    /// Fills the pending input from `source`; at its end the program's input is closed.
    fn take_from(&mut self, source: &mut dyn Source) -> Result<()> {
        if self.stdin.is_none() || !self.pending.is_empty() {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK];
        let taken = source.read(&mut chunk)?;
        if taken == 0 {
            self.stdin = None;
        }
        chunk.truncate(taken);
        self.pending = chunk;
        Ok(())
    }

    fn feed_pending(&mut self) -> Result<()> {
        let Some(stdin) = self.stdin.as_mut() else { return Ok(()) };
        match stdin.write(&self.pending) {
            Ok(written) => {
                self.pending.drain(..written);
            }
            Err(e) if try_later(&e) => {}
            // It wants no more; whether that is well its exit status will tell.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
            Err(e) => return Err(self.failed("write to", e)),
        }
        Ok(())
    }

    /// Ends the program's input and waits for its success.
    ///
    /// # Errors
    /// [`Code::Timeout`], [`Code::Cancelled`], or [`Code::Failed`] with its last words.
    pub fn finish(self) -> Result<Output> {
        let name = self.name.clone();
        let output = self.end()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(failure(&name, output.status, &output.stderr))
    }

    /// Ends the program's input and waits for its end, keeping what it still says.
    ///
    /// # Errors
    /// [`Code::Timeout`] or [`Code::Cancelled`].
    pub fn end(mut self) -> Result<Output> {
        self.stdin = None;
        let mut out = Kept::default();
        loop {
            let ready = self.wait(Want { output: self.stdout.is_some(), end: true, ..Want::default() })?;
            // A background child may hold the pipes open for ever, so the program's own end decides; what it wrote
            // before that is in the pipes by then.
            if keep_available(&mut self.stdout, &mut out) {
                self.stdout = None;
            }
            if ready.end {
                break;
            }
        }
        if keep_available(&mut self.stderr, &mut self.said) {
            self.stderr = None;
        }
        let status = self.reap()?;
        let ((stdout, out), (stderr, said)) = (out.finish(), std::mem::take(&mut self.said).finish());
        Ok(Output { status, stdout, stderr, omitted: out + said })
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait();
        self.reaped = true;
        status.map_err(|e| self.failed("wait for", e))
    }

    /// Waits for one of the things in `want`, the deadline or a cancel; reads the standard error on the way.
    fn wait(&mut self, want: Want) -> Result<Want> {
        loop {
            let left = self.limit.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Err(Error::new(
                    Code::Timeout,
                    format_args!(
                        "{} was stopped: it did not end within {} s",
                        self.name,
                        self.limit.as_secs()
                    ),
                ));
            }
            let mut fds = vec![PollFd::new(self.ctx.cancel.fd(), PollFlags::POLLIN)];
            let mut which = vec![Waited::Cancel];
            let mut add = |fd, flags, waited| {
                fds.push(PollFd::new(fd, flags));
                which.push(waited);
            };
            if let Some(pipe) = &self.stderr {
                add(pipe.as_fd(), PollFlags::POLLIN, Waited::Stderr);
            }
            if let (true, Some(pipe)) = (want.input, &self.stdin) {
                add(pipe.as_fd(), PollFlags::POLLOUT, Waited::Input);
            }
            if let (true, Some(pipe)) = (want.output, &self.stdout) {
                add(pipe.as_fd(), PollFlags::POLLIN, Waited::Output);
            }
            if want.end {
                add(self.pidfd.as_fd(), PollFlags::POLLIN, Waited::End);
            }
            // One millisecond more than is left: rounding down would spin through the last one.
            let timeout = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            match poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => {
                    return Err(Error::os(format_args!("cannot wait for {}", self.name), e));
                }
            }
            let is_ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
            let ready = |waited| fds.iter().zip(&which).any(|(fd, w)| *w == waited && is_ready(fd));
            let (said, found) = (
                ready(Waited::Stderr),
                Want { input: ready(Waited::Input), output: ready(Waited::Output), end: ready(Waited::End) },
            );
            self.ctx.cancel.check()?;
            if said && keep_available(&mut self.stderr, &mut self.said) {
                self.stderr = None;
            }
            if found.input || found.output || found.end {
                return Ok(found);
            }
        }
    }

    /// Why the program took no more input: its own failure, when it has one.
    fn ended_early(&mut self) -> Error {
        if let Err(e) = self.wait(Want { end: true, ..Want::default() }) {
            return e;
        }
        keep_available(&mut self.stderr, &mut self.said);
        match self.reap() {
            Ok(status) if status.success() => {
                Error::new(Code::Failed, format_args!("{} ended before it had read all its input", self.name))
            }
            Ok(status) => failure(&self.name, status, &std::mem::take(&mut self.said).finish().0),
            Err(e) => e,
        }
    }

    fn failed(&self, what: &str, e: io::Error) -> Error {
        Error::new(Code::Failed, format_args!("cannot {what} {}: {e}", self.name)).caused_by(e)
    }
}

impl Drop for RunningTool<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            kill_group(&mut self.child);
        }
    }
}

/// A descriptor for the end of `child`, and our ends of its standard input, output and error that are pipes. Ours never
/// block; the program's are open files of their own and stay as they are.
fn watch(child: &mut Child) -> io::Result<(OwnedFd, [Option<File>; 3])> {
    let pipes: [Option<OwnedFd>; 3] = [
        child.stdin.take().map(OwnedFd::from),
        child.stdout.take().map(OwnedFd::from),
        child.stderr.take().map(OwnedFd::from),
    ];
    for pipe in pipes.iter().flatten() {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((sys::pidfd_open(child.id() as i32)?, pipes.map(|pipe| pipe.map(File::from))))
}

/// What [`RunningTool::wait`] is to wait for, and what it found.
#[derive(Default, Clone, Copy)]
struct Want {
    input: bool,
    output: bool,
    end: bool,
}

/// What a polled descriptor stands for.
#[derive(Clone, Copy, PartialEq)]
enum Waited {
    Cancel,
    Stderr,
    Input,
    Output,
    End,
}

/// A source that has ended.
struct Nothing;

impl Source for Nothing {
    fn read(&mut self, _: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
}

/// Kills the program's group and reaps the program. It has not been waited for, so its number is still its own.
fn kill_group(child: &mut Child) {
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = child.wait();
}

/// Head and tail of an output.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    omitted: u64,
}

impl Kept {
    fn add(&mut self, data: &[u8]) {
        let room = (KEEP - self.head.len()).min(data.len());
        self.head.extend_from_slice(&data[..room]);
        self.tail.extend_from_slice(&data[room..]);
        // Seldom, since what stays is moved.
        if self.tail.len() > 2 * KEEP {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let excess = self.tail.len().saturating_sub(KEEP);
        self.tail.drain(..excess);
        self.omitted += excess as u64;
    }

    /// Head and tail, and how many bytes were left out between them.
    fn finish(mut self) -> (Vec<u8>, u64) {
        self.trim();
        self.head.append(&mut self.tail);
        (self.head, self.omitted)
    }
}

/// Adds what `pipe` has now to `kept`; true at its end.
fn keep_available(pipe: &mut Option<File>, kept: &mut Kept) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut chunk = [0; 4096];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return true,
            Ok(n) => kept.add(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return e.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

fn try_later(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The error of a program that ended with `status`.
pub fn failure(name: &str, status: ExitStatus, stderr: &[u8]) -> Error {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended strangely".to_string(),
    };
    let words = last_words(stderr);
    let said = if words.is_empty() { "without a word".to_string() } else { words };
    Error::new(Code::Failed, format_args!("{name} {how}: {said}"))
}

/// The last lines of `text`, bounded, and without what would upset a terminal.
fn last_words(text: &[u8]) -> String {
    let tail = &text[text.len().saturating_sub(LAST_WORDS)..];
    let tail = String::from_utf8_lossy(tail);
    let mut lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.len().saturating_sub(3);
    lines.drain(..first);
    let printable = |c: char| if c.is_control() || c == '\u{fffd}' { '?' } else { c };
    lines.join("; ").chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::ctx::Cancel;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Tool::command("sh").unwrap();
        command.arg("-c").arg(script);
        command
    }

    struct Bytes(Vec<u8>, usize);

    impl Source for Bytes {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let n = buffer.len().min(self.0.len() - self.1);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    /// Whether a process of group `group` still runs; a zombie whose parent is somebody else's does not.
    fn group_lives(group: i32) -> bool {
        let Ok(processes) = std::fs::read_dir("/proc") else { return false };
        processes.flatten().any(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let fields: Vec<&str> = after.split(' ').collect();
            fields.len() > 2 && fields[2] == group.to_string() && fields[0] != "Z" && fields[0] != "X"
        })
    }

    #[test]
    fn a_missing_tool_names_its_packages() {
        let error = Tool::find("lxc-frobnicate").unwrap_err();
        assert_eq!(error.code, Code::MissingTool);
        assert!(error.message.contains("lxc-frobnicate (OpenWrt) or lxc (Debian)"), "{}", error.message);
        for path in ["../bin/sh", "/bin/sh/x"] {
            // Only names of this program's own choice come here; still, one that is no name finds nothing odd.
            let _ = Tool::find(path);
        }
        assert!(Tool::find("sh").unwrap().is_absolute());
    }

    #[test]
    fn output_and_environment() {
        let ctx = Ctx::silent().unwrap();
        let mut command = shell("env; echo oops >&2; cat");
        command.env("GIVEN", "1");
        let output = run(&mut command, &ctx, LONG).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("GIVEN=1") && text.contains("LC_ALL=C"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
        assert_eq!(output.stderr, b"oops\n");
        assert_eq!(output.omitted, 0);
    }

    #[test]
    fn a_program_runs_where_it_shall_and_with_the_signals_of_a_login() {
        let ctx = Ctx::silent().unwrap();
        let mut command = shell("pwd; grep SigBlk /proc/self/status; kill -PIPE $$");
        command.current_dir(Path::new("/proc"));
        let output = output(&mut command, &ctx, LONG).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "/proc\nSigBlk:\t0000000000000000\n");
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE));
        let elsewhere = run(command.current_dir(Path::new("/proc/none")), &ctx, LONG).unwrap_err();
        assert_eq!(elsewhere.message, "cannot start sh: No such file or directory (os error 2)");
        let nul = run(shell("true").arg("a\0b"), &ctx, LONG).unwrap_err();
        assert_eq!(nul.message, "cannot start sh: nul byte found in provided data");
    }

    /// What a program says of the fields of its own status.
    fn status(rights: Rights, script: &str) -> String {
        let mut command = Tool::confined("sh", rights).unwrap();
        command.arg("-c").arg(script);
        let output = output(&mut command, &Ctx::silent().unwrap(), LONG).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn who_reads_what_strangers_wrote_has_no_rights_and_gets_none() {
        let script = "grep -E '^(Uid|Cap(Prm|Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status; \
                      ! unshare -U true 2>/dev/null; ! touch /proc/cloudbox 2>/dev/null";
        let root = nix::unistd::geteuid().is_root();
        for (rights, kept, uid) in
            [(Rights::Files, 0, 0), (Rights::ReadAll, 4, 0), (Rights::Pipes, 0, 65_534)]
        {
            let said = status(rights, script);
            let field = |name: &str| {
                let line = said.lines().find(|line| line.starts_with(&format!("{name}:")));
                line.unwrap().split_whitespace().nth(1).unwrap().to_string()
            };
            assert_eq!(
                (field("NoNewPrivs"), field("Seccomp")),
                ("1".into(), "2".into()),
                "{rights:?}: {said}"
            );
            if root {
                let kept = format!("{kept:016x}");
                for set in ["CapPrm", "CapEff", "CapBnd"] {
                    assert_eq!(field(set), kept, "{rights:?}: {said}");
                }
                assert_eq!(field("Uid"), uid.to_string(), "{rights:?}");
            }
        }
        // It is also killed sooner than others when the box has no memory left.
        for (rights, score) in [(Rights::All, "0"), (Rights::Files, "800"), (Rights::Pipes, "800")] {
            let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
            let expected = if score == "0" { own.trim() } else { score };
            assert_eq!(status(rights, "cat /proc/self/oom_score_adj").trim(), expected, "{rights:?}");
        }
        let shadow = "! cat /etc/shadow >/dev/null 2>&1";
        assert!(!root || status(Rights::Pipes, shadow).is_empty());
    }

    #[test]
    fn no_program_gets_a_descriptor_of_ours() {
        // One that a library left open for all.
        let careless = File::open("/").unwrap();
        fcntl(&careless, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        for rights in [Rights::All, Rights::Files, Rights::Pipes] {
            let listed = status(rights, "exec ls /proc/self/fd");
            assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{rights:?}");
        }
    }

    #[test]
    fn a_program_dies_with_the_thread_that_started_it() {
        let pid = std::thread::spawn(|| {
            // Waited for below, by its number.
            #[allow(clippy::zombie_processes)]
            let child = shell("exec sleep 1000").stdin(Stdio::null()).spawn().unwrap();
            child.id() as i32
        });
        let pid = pid.join().unwrap();
        let ended = nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap();
        let killed = nix::sys::wait::WaitStatus::Signaled(Pid::from_raw(pid), Signal::SIGKILL, false);
        assert_eq!(ended, killed);
    }

    #[test]
    fn a_failure_has_the_last_words() {
        let ctx = Ctx::silent().unwrap();
        let error =
            run(&mut shell("echo one >&2; printf 'two\\033[1m\\n\\n' >&2; exit 3"), &ctx, LONG).unwrap_err();
        assert_eq!(error.message, "sh ended with status 3: one; two?[1m");
        let error = run(&mut shell("kill -9 $$"), &ctx, LONG).unwrap_err();
        assert_eq!(error.message, "sh was killed by signal 9: without a word");
        let error =
            run(&mut shell("head -c 300000 /dev/zero | tr '\\0' a >&2; exit 1"), &ctx, LONG).unwrap_err();
        assert!(error.message.len() < 500, "{}", error.message.len());
    }

    #[test]
    fn a_long_output_keeps_head_and_tail() {
        let ctx = Ctx::silent().unwrap();
        let output = run(&mut shell("echo head; head -c 1000000 /dev/zero; echo tail"), &ctx, LONG).unwrap();
        assert!(output.stdout.starts_with(b"head\n") && output.stdout.ends_with(b"tail\n"));
        assert_eq!(output.stdout.len() as u64 + output.omitted, 1_000_010);
        assert_eq!(output.stdout.len(), 2 * KEEP);
    }

    #[test]
    fn the_deadline_ends_the_whole_group() {
        let ctx = Ctx::silent().unwrap();
        let limit = Duration::from_millis(300);
        let running = RunningTool::start(
            &mut shell("sleep 1000 & sleep 1000"),
            Pipes { stdin: false, stdout: true },
            &ctx,
            limit,
        )
        .unwrap();
        let group = running.child.id() as i32;
        let error = running.finish().unwrap_err();
        assert_eq!(error.code, Code::Timeout);
        let begun = Instant::now();
        while group_lives(group) {
            assert!(begun.elapsed() < LONG, "group {group} lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_background_child_does_not_hold_us() {
        let ctx = Ctx::silent().unwrap();
        let output = run(&mut shell("sleep 1000 & echo $!"), &ctx, LONG).unwrap();
        let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_cancel_ends_a_blocked_read_write_and_wait() {
        for what in ["read", "write", "wait"] {
            let cancel = Cancel::new().unwrap();
            let ctx = Ctx::new(cancel.clone(), |_| {});
            let pipes = Pipes { stdin: what == "write", stdout: what == "read" };
            let mut running = RunningTool::start(&mut shell("exec sleep 1000"), pipes, &ctx, LONG).unwrap();
            let canceller = std::thread::spawn(move || cancel.cancel());
            let error = match what {
                "read" => running.read(&mut [0; 10]).unwrap_err(),
                "write" => loop {
                    if let Err(e) = running.write_all(&[0; 100_000]) {
                        break e;
                    }
                },
                _ => running.finish().unwrap_err(),
            };
            assert_eq!(error.code, Code::Cancelled, "{what}");
            canceller.join().unwrap();
        }
    }

    #[test]
    fn a_filter_passes_everything_on() {
        let ctx = Ctx::silent().unwrap();
        let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut source = Bytes(data.clone(), 0);
        let mut filter =
            RunningTool::start(&mut shell("exec cat"), Pipes { stdin: true, stdout: true }, &ctx, LONG)
                .unwrap();
        let mut got = Vec::new();
        let mut chunk = [0; 70_000];
        loop {
            let n = filter.read_feeding(&mut source, &mut chunk).unwrap();
            if n == 0 {
                break;
            }
            got.extend_from_slice(&chunk[..n]);
        }
        filter.finish().unwrap();
        assert!(got == data);
    }

    #[test]
    fn a_program_that_ends_early_tells_why() {
        let ctx = Ctx::silent().unwrap();
        let mut sink = RunningTool::start(
            &mut shell("head -c 5 >/dev/null; echo full >&2; exit 4"),
            Pipes { stdin: true, stdout: false },
            &ctx,
            LONG,
        )
        .unwrap();
        let error = sink.write_all(&vec![0; 5_000_000]).unwrap_err();
        assert_eq!(error.message, "sh ended with status 4: full");
    }
}
