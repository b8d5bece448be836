//! Into a container: `exec`, `shell` and `console`.

use super::args::Args;
use super::bus::Context;
use super::page;
use super::request;
use super::view::View;
use super::{complain, Failure, REFUSED};
use cloudbox::error::errno_text;
use cloudbox::model::name::Name;
use cloudbox::steps::layout::Layout;
use cloudbox::steps::lxc::exec::{find_user, root_of, User};
use cloudbox::steps::lxc::{Lxc, Runtime};
use nix::errno::Errno;
use nix::unistd::execvp;
use std::ffi::CString;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

/// `cloudbox exec`: prints what the program wrote, and returns its exit code.
pub fn exec(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let reply = context.call(&request::one(args, "cloudbox.container exec")?)?;
    let view = View::new(&reply);
    if args.json {
        page::print_json(&reply)?;
    } else {
        // As the program wrote it: whoever runs `ls --color` wants its colors.
        page::write_stdout(view.raw("stdout").as_bytes())?;
        let _ = io::stderr().write_all(view.raw("stderr").as_bytes());
        if view.flag("truncated") {
            complain("the middle of a long output was left out; write it to a file in the container instead");
        }
    }
    // What does not fit is still no success.
    Ok(u8::try_from(view.int("code")).unwrap_or(u8::MAX))
}

/// `cloudbox console`: becomes lxc-console.
pub fn console(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let (name, path) = running(context, args)?;
    complain(&format!("the console of {name}; Ctrl-a, then q leaves it"));
    become_program(&["lxc-console", "-n", name.as_str(), "-P", &path, "-t", "0"])
}

/// `cloudbox shell`: becomes lxc-attach, which gives the shell a terminal of the container's own.
pub fn shell(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let (name, path) = running(context, args)?;
    let who = args.value("user").unwrap_or("root");
    let user = user_of(&name, &path, who).map_err(Failure::refused)?;
    let user_words = user.attach_words();
    // What the terminal can do is known to the terminal only.
    let term = ["TERM=", &std::env::var("TERM").unwrap_or_else(|_| "vt100".to_string())].concat();
    let mut words = vec!["lxc-attach", "-n", name.as_str(), "-P", &path];
    user_words.iter().for_each(|word| words.push(word));
    words.extend(["--set-var", &term, "--", "/bin/sh", "-c", r#"cd; exec "$0" -l"#, &user.shell]);
    // lxc-attach goes to the path it comes from, which is one of the host.
    let _ = std::env::set_current_dir("/");
    become_program(&words)
}

/// The name and LXC's path of a container that runs, for one who may enter it.
fn running(context: &mut Context, args: &Args) -> Result<(Name, String), Failure> {
    let refused = |message: fmt::Arguments<'_>| Err(Failure::new(REFUSED, message));
    if !nix::unistd::geteuid().is_root() {
        return refused(format_args!("only root may enter a container; try as root"));
    }
    let reply = context.call(&request::container_info(args.operand(0))?)?;
    let view = View::new(&reply);
    let name = Name::new(&view.raw("name")).map_err(Failure::refused)?;
    match &*view.text("state") {
        "running" => Ok((name, view.raw("lxcpath").into_owned())),
        "frozen" => refused(format_args!("{name} is frozen; `cloudbox unfreeze {name}` lets it go on")),
        state => refused(format_args!("{name} is not running ({state}); `cloudbox start {name}` starts it")),
    }
}

/// The container's user called `who`.
fn user_of(name: &Name, lxcpath: &str, who: &str) -> cloudbox::error::Result<User> {
    let lxc = Lxc::new(layout(lxcpath))?;
    match lxc.find(name)? {
        Some(running) => find_user(&root_of(&running)?, name, who),
        // lxc-attach will say so.
        None => Ok(User::root()),
    }
}

/// The daemon's directories, as far as they are needed here: those on the disk.
pub fn layout(lxcpath: &str) -> Layout {
    let storage = Path::new(lxcpath).parent().map(Path::to_path_buf).unwrap_or_default();
    Layout { run: storage.join("run"), storage }
}

/// Becomes the program `words[0]`, or says why not. SIGPIPE stays ignored, which a program at a terminal never notices.
fn become_program(words: &[&str]) -> Result<u8, Failure> {
    let program = words.first().copied().unwrap_or_default();
    Err(match execute(words) {
        Errno::ENOENT => {
            Failure::new(REFUSED, format_args!("{program} is missing; install the package {program}"))
        }
        errno => Failure::new(REFUSED, format_args!("cannot run {program}: {}", errno_text(errno))),
    })
}

fn execute(words: &[&str]) -> Errno {
    let mut strings: Vec<CString> = Vec::new();
    for word in words {
        match CString::new(*word) {
            Ok(word) => strings.push(word),
            Err(_) => return Errno::EINVAL,
        }
    }
    match strings.first().map(|program| execvp(program, &strings)) {
        Some(Err(errno)) => errno,
        _ => Errno::EINVAL,
    }
}
