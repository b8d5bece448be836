//! Into a container: `exec` and `console`.

use super::args::Args;
use super::bus::Context;
use super::page::{self, Page};
use super::request;
use super::view::View;
use super::{complain, Failure, REFUSED};
use nix::errno::Errno;
use nix::unistd::execvp;
use std::ffi::CString;
use std::io::{self, Write};

/// `cloudbox exec`: prints what the program wrote, and returns its exit code.
pub fn exec(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let reply = context.call(&request::container_exec(args)?)?;
    let view = View::new(&reply);
    if args.json {
        let mut page = Page::stdout();
        page.json(&reply)?;
        page.print()?;
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
    let refused = |message: String| Failure::new(REFUSED, message);
    if !nix::unistd::geteuid().is_root() {
        return Err(refused("only root may use a container's console; try as root".to_string()));
    }
    let reply = context.call(&request::container_info(args)?)?;
    let view = View::new(&reply);
    let (name, path) = (view.raw("name"), view.raw("lxcpath"));
    let state = view.text("state");
    if state != "running" {
        return Err(refused(format!("{name} is not running ({state}); `cloudbox start {name}` starts it")));
    }
    complain(&format!("the console of {name}; Ctrl-a, then q leaves it"));
    Err(refused(match become_program(&["lxc-console", "-n", &name, "-P", &path, "-t", "0"]) {
        Errno::ENOENT => "lxc-console is missing; install the package lxc-console".to_string(),
        errno => format!("cannot run lxc-console: {}", errno.desc()),
    }))
}

/// Becomes the program `words[0]`, or returns why not. SIGPIPE stays ignored, which a program at a terminal never
/// notices.
fn become_program(words: &[&str]) -> Errno {
    let words: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(*word)).collect();
    let Ok(words) = words else { return Errno::EINVAL };
    let Some(program) = words.first() else { return Errno::EINVAL };
    match execvp(program, &words) {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}
