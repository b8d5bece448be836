//! Into a container: `exec`, `shell`, `console`, its log, and files in and out.

use super::action::{examples, Action, Lazy, Named};
use super::bus::Context;
use super::copy::{Pull, Push};
use super::failure::{complain, Failure};
use super::log::Log;
use super::page::Page;
use super::request::{container_info, Request, CONTAINER};
use super::text::shown;
use super::value::seconds;
use super::view::View;
use crate::error::os_text;
use crate::model::name::Name;
use crate::operations::EXEC_TIMEOUT;
use crate::steps::layout::Layout;
use crate::steps::lxc::exec::{find_user, root_of, User};
use crate::steps::lxc::{Lxc, Runtime};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command as Program;

#[derive(Subcommand)]
pub enum Command {
    /// run a program in a container
    ///
    /// Prints what the program wrote, and exits with its exit code (128 and the signal's number when a signal ended it).
    /// The program gets no input, and is ended after --timeout seconds (10 unless said otherwise). No shell reads the
    /// words; call one if you need it.
    #[command(override_usage = "cloudbox exec [OPTIONS] <NAME> -- <PROGRAM> [ARGUMENT]...")]
    #[command(aliases = ["attach", "enter"], after_help = examples! {
        "exec web -- ls -l /srv" => "one program",
        "exec web -- sh -c 'df -h | tail -1'" => "a line of shell",
        "exec web --timeout 600 -- apt-get update" => "with more time",
        "exec web --user www-data --directory /srv -- git pull" => "as another user, elsewhere",
    })]
    Exec(Lazy<Exec>),
    /// show what a container wrote to its console
    ///
    /// The last lines of 128 KiB at least; what was written before a stop is kept. A guest with systemd has more to say
    /// in its own log: `cloudbox exec NAME -- journalctl`.
    #[command(aliases = ["logs", "journal", "dmesg"], after_help = examples! {
        "log web" => "the last 100 lines",
        "log web --lines 20 --follow" => "and what comes, until Ctrl-C",
    })]
    Log(Lazy<Log>),
    /// open a shell in a container
    ///
    /// The login shell of root, or of --user. Its exit code is passed on. Only root may do it. It needs the program
    /// lxc-attach.
    #[command(aliases = ["login", "bash", "sh", "ssh"], after_help = examples! {
        "shell web" => "as root",
        "shell web --user www-data" => "as somebody else",
    })]
    Shell(Lazy<Shell>),
    /// copy a file into a container, running or not
    ///
    /// The file belongs to the container's root, or to whom the one belongs that it replaces. It keeps its mode. No link
    /// leads out of the container. FILE - is standard input. Only root may do it.
    #[command(aliases = ["upload", "put"], after_help = examples! {
        "push index.html web:/var/www/html/" => "into a directory",
        "push - web:/etc/motd" => "from standard input",
    })]
    Push(Lazy<Push>),
    /// copy a file out of a container, running or not
    ///
    /// No link leads out of the container. FILE - is standard output. Only root may do it.
    #[command(aliases = ["download", "get", "cp"], after_help = examples! {
        "pull web:/etc/fstab ." => "into this directory",
        "pull web:/etc/motd -" => "to the screen",
    })]
    Pull(Lazy<Pull>),
    /// look at a container's console
    ///
    /// One can log in where the container runs a getty on it; the distro does not, and shows its boot only: `cloudbox
    /// shell` is the way in. Leave it by Ctrl-a, then q. Only root may do it. It needs the program lxc-console.
    #[command(alias = "tty", after_help = examples! { "console web" => "the console of web" })]
    Console(Lazy<Named>),
}

#[derive(Args, Serialize)]
pub struct Exec {
    name: String,
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true)]
    command: Vec<String>,
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long it may run")]
    timeout: Option<u32>,
    #[arg(long, help = "who runs it, by name or number; root unless said otherwise")]
    user: Option<String>,
    #[arg(long, value_name = "PATH", help = "where it runs, in the container")]
    directory: Option<String>,
    #[arg(long, value_name = "NAME=VALUE", help = "a variable; may be repeated")]
    #[serde(rename = "environment")]
    env: Option<Vec<String>>,
}

#[derive(Args)]
pub struct Shell {
    name: String,
    #[arg(long, default_value = "root", hide_default_value = true)]
    #[arg(help = "whose shell, by name or number; root unless said otherwise")]
    user: String,
}

impl Command {
    pub fn action(self, json: bool) -> Result<Action, Failure> {
        match self {
            Command::Exec(Lazy(exec)) => {
                let patience = exec.timeout.unwrap_or(EXEC_TIMEOUT);
                let request = Request::new(CONTAINER, "exec", &exec)?.taking(patience);
                Ok(Action::Show(request, Box::new(ran)))
            }
            Command::Log(Lazy(log)) => log.action(json),
            Command::Shell(Lazy(to)) => Ok(Action::own(move |context| shell(context, &to))),
            Command::Push(Lazy(push)) => Ok(Action::own(move |context| push.run(context))),
            Command::Pull(Lazy(pull)) => Ok(Action::own(move |context| pull.run(context))),
            Command::Console(Lazy(Named { name })) => Ok(Action::own(move |context| console(context, &name))),
        }
    }
}

/// What the program wrote: as it wrote it, but for what would take a terminal over. Whoever runs `ls --color` wants its
/// colors. Returns its exit code.
fn ran(view: &View<'_>, page: &mut Page) -> u8 {
    page.text.push_str(&shown(&view.raw("stdout"), &io::stdout()));
    page.errors.push_str(&shown(&view.raw("stderr"), &io::stderr()));
    if view.flag("truncated") {
        page.complain(
            "the middle of a long output was left out; write it to a file in the container instead",
        );
    }
    // What does not fit is still no success.
    u8::try_from(view.int("code")).unwrap_or(u8::MAX)
}

/// `cloudbox console`: becomes lxc-console.
fn console(context: &mut Context, name: &str) -> Result<u8, Failure> {
    let (name, path) = running(context, name)?;
    complain(&format!("the console of {name}; Ctrl-a, then q leaves it"));
    become_program("lxc-console", &["-n", name.as_str(), "-P", &path, "-t", "0"])
}

/// `cloudbox shell`: becomes lxc-attach, which gives the shell a terminal of the container's own.
fn shell(context: &mut Context, to: &Shell) -> Result<u8, Failure> {
    let (name, path) = running(context, &to.name)?;
    let user = user_of(&name, &path, &to.user)?;
    let user_words = user.attach_words();
    // What the terminal can do is known to the terminal only.
    let term = ["TERM=", &std::env::var("TERM").unwrap_or_else(|_| "vt100".to_string())].concat();
    let mut words = vec!["-n", name.as_str(), "-P", &path];
    user_words.iter().for_each(|word| words.push(word));
    words.extend(["--set-var", &term, "--", "/bin/sh", "-c", r#"cd; exec "$0" -l"#, &user.shell]);
    // lxc-attach goes to the path it comes from, which is one of the host.
    let _ = std::env::set_current_dir("/");
    become_program("lxc-attach", &words)
}

/// The name and LXC's path of a container that runs, for one who may enter it.
fn running(context: &mut Context, name: &str) -> Result<(Name, String), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::refusal("only root may enter a container; try as root"));
    }
    let reply = context.call(&container_info(name)?)?;
    let view = View::new(&reply);
    let name = Name::new(&view.raw("name"))?;
    Err(Failure::refusal(match &*view.text("state") {
        "running" => return Ok((name, view.raw("lxcpath").into_owned())),
        "frozen" => format!("{name} is frozen; `cloudbox unfreeze {name}` lets it go on"),
        state => format!("{name} is not running ({state}); `cloudbox start {name}` starts it"),
    }))
}

/// The container's user called `who`.
fn user_of(name: &Name, lxcpath: &str, who: &str) -> crate::error::Result<User> {
    let lxc = Lxc::new(Layout::around(lxcpath))?;
    match lxc.find(name)? {
        Some(running) => find_user(&root_of(&running)?, name, who),
        // lxc-attach will say so.
        None => Ok(User::root()),
    }
}

/// Becomes `program`, or says why not.
fn become_program(program: &str, words: &[&str]) -> Result<u8, Failure> {
    let error = Program::new(program).args(words).exec();
    Err(Failure::refusal(match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is missing; install the package {program}"),
        _ => format!("cannot run {program}: {}", os_text(&error)),
    }))
}
