//! Programs inside a running container, by lxc-attach: it knows how to join the guest's cgroups and to give up what the
//! guest may not.

use super::super::ctx::Ctx;
use super::super::guest_root::GuestRoot;
use super::super::tool;
use super::Running;
use crate::error::{quoted, Code, Error, Result};
use crate::model::idrange;
use crate::model::name::Name;
use crate::sys;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where a guest's programs are looked for, unless the caller names other places.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A longer `/etc/passwd` is read no further.
const PASSWD_MAX: u64 = 256 << 10;

/// A command to be run inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exec {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Variables, `NAME=value`.
    pub environment: Vec<String>,
    /// Who runs it: a name or a number of the guest's; None is root.
    pub user: Option<String>,
    /// Where it runs: an absolute path in the guest; None is `/`.
    pub directory: Option<String>,
    /// How long it may run.
    pub timeout: Duration,
}

/// The outcome of a command run inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 + the signal when one ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// One of them was longer than is kept.
    pub truncated: bool,
}

/// One of a guest's users.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    /// The shell it logs in with.
    pub shell: String,
}

/// Runs `exec` in container `name`; `attach` is lxc-attach with the words that name the container.
pub fn run(ctx: &Ctx, name: &Name, running: &Running, mut attach: Command, exec: &Exec) -> Result<Output> {
    let root = root_of(running)?;
    let user = match &exec.user {
        Some(who) => find_user(&root, name, who)?,
        None => User::root(),
    };
    let directory = exec.directory.as_deref().unwrap_or("/");
    check_directory(&root, name, directory)?;
    check_program(&root, name, exec, directory)?;
    attach.args(user.attach_words());
    for variable in &exec.environment {
        attach.args(["--set-var", variable]);
    }
    attach.arg("--");
    if directory != "/" {
        // lxc-attach goes to its own directory's path, which is one of the host.
        attach.args(["/bin/sh", "-c", r#"cd "$0" && exec "$@""#, directory]);
    }
    attach.args(&exec.command);
    let output = tool::output(&mut attach, ctx, exec.timeout)?;
    let by_signal = || output.status.signal().map_or(-1, |signal| 128 + signal);
    Ok(Output {
        code: output.status.code().unwrap_or_else(by_signal),
        stdout: output.stdout,
        stderr: output.stderr,
        truncated: output.omitted > 0,
    })
}

/// The root directory of a running container, as its init sees it.
///
/// # Errors
/// It has ended.
pub fn root_of(running: &Running) -> Result<GuestRoot> {
    let path = format!("/proc/{}/root", running.init);
    let root = GuestRoot::open(Path::new(&path), 0)?;
    // It lives: then the number was still its own a moment ago.
    sys::pidfd_send_signal(running.pidfd.as_fd(), 0)
        .map_err(|e| Error::io("the container has ended:", Path::new(&path), e))?;
    Ok(root)
}

impl User {
    /// Root, as every guest has it.
    pub fn root() -> User {
        let root = || "root".to_string();
        User { name: root(), uid: 0, gid: 0, home: "/root".into(), shell: "/bin/sh".into() }
    }

    /// What tells lxc-attach to be this user, in an environment that has nothing of the host's.
    pub fn attach_words(&self) -> Vec<String> {
        let mut words = vec!["--clear-env".to_string()];
        let pairs = [("PATH", PATH), ("HOME", &self.home), ("USER", &self.name), ("LOGNAME", &self.name)];
        for (variable, value) in pairs {
            words.extend(["--set-var".to_string(), format!("{variable}={value}")]);
        }
        if (self.uid, self.gid) != (0, 0) {
            words.extend(["-u".into(), self.uid.to_string(), "-g".into(), self.gid.to_string()]);
        }
        words
    }
}

/// The guest's user called `who`, by name or by number.
///
/// # Errors
/// [`Code::NotFound`]. A number needs no entry.
pub fn find_user(root: &GuestRoot, name: &Name, who: &str) -> Result<User> {
    let passwd = match root.read("etc/passwd", PASSWD_MAX) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock && who.parse::<u32>().is_err() => {
            return Err(Error::new(
                Code::Busy,
                format_args!(
                    "container {name}: a program in it does not let go of its /etc/passwd; give the user's number, or \
                     end that program"
                ),
            ));
        }
        // A guest without the file has no names.
        read => read.unwrap_or_default(),
    };
    if let Some(user) = parse_passwd(&String::from_utf8_lossy(&passwd), who) {
        return Ok(user);
    }
    match who.parse() {
        Ok(0) => Ok(User::root()),
        Ok(uid) if uid < idrange::SIZE => {
            Ok(User { name: who.to_string(), uid, gid: uid, home: "/".into(), shell: "/bin/sh".into() })
        }
        _ => Err(Error::new(
            Code::NotFound,
            format_args!(
                "user {who}: container {name} has none of that name; its /etc/passwd lists them",
                who = quoted(who)
            ),
        )),
    }
}

fn parse_passwd(text: &str, who: &str) -> Option<User> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?, fields.next()?);
        if name.is_empty() || (name != who && uid != who) {
            return None;
        }
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        if uid >= idrange::SIZE || gid >= idrange::SIZE {
            return None;
        }
        // The comment is in between.
        let home = fields.nth(1).filter(|home| home.starts_with('/')).unwrap_or("/");
        let shell = fields.next().filter(|shell| shell.starts_with('/')).unwrap_or("/bin/sh");
        Some(User { name: name.into(), uid, gid, home: home.into(), shell: shell.into() })
    })
}

fn check_directory(root: &GuestRoot, name: &Name, directory: &str) -> Result<()> {
    match root.open_dir(Path::new(directory)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(
            Code::NotFound,
            format_args!(
                "directory {directory}: container {name} has none there",
                directory = quoted(directory)
            ),
        )),
    }
}

/// Looks for the program first: what lxc-attach says of one that is missing is no more than an exit code.
fn check_program(root: &GuestRoot, name: &Name, exec: &Exec, directory: &str) -> Result<()> {
    let Some(program) = exec.command.first() else { return Ok(()) };
    let places = if program.contains('/') {
        vec![Path::new(directory).join(program)]
    } else {
        let own = exec.environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        let directories = own.unwrap_or(PATH).split(':').filter(|dir| dir.starts_with('/'));
        directories.map(|dir| Path::new(dir).join(program)).collect()
    };
    let mut refused = None;
    for place in places {
        match root.find(&place) {
            Ok((_, meta)) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return Ok(()),
            Ok(_) => refused = Some(place),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(place) => Error::new(
            Code::InvalidArgument,
            format_args!("command: {} in container {name} is no program that can be run", place.display()),
        ),
        None => Error::new(
            Code::NotFound,
            format_args!("command: there is no program {program} in container {name}; install it there, or give its path", program = quoted(program)),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_guest() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\
                      # no user\n\
                      :x:7:7::/:/bin/sh\n\
                      www-data:x:33:34:web, and:/var/www:/usr/sbin/nologin\n\
                      short:x:5:5\n\
                      high:x:70000:1::/:/bin/sh\n\
                      relative:x:6:6::home:sh\n\
                      broken:x:-1:x::/:\n";
        let found = |who: &str| parse_passwd(passwd, who).map(|u| (u.uid, u.gid, u.home, u.shell));
        let expect = |uid, gid, home: &str, shell: &str| Some((uid, gid, home.into(), shell.into()));
        assert_eq!(found("root"), expect(0, 0, "/root", "/bin/bash"));
        assert_eq!(found("0"), expect(0, 0, "/root", "/bin/bash"));
        assert_eq!(found("www-data"), expect(33, 34, "/var/www", "/usr/sbin/nologin"));
        assert_eq!(found("33"), found("www-data"));
        assert_eq!(found("short"), expect(5, 5, "/", "/bin/sh"));
        assert_eq!(found("relative"), expect(6, 6, "/", "/bin/sh"));
        for none in ["", "nobody", "high", "70000", "broken", "x", "7", "# no user"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
