//! The owner's own scripts, which are told what has happened: those in `/etc/hotplug.d/cloudbox/`, as OpenWrt has them for
//! its other events.

use super::ctx::Ctx;
use super::filesystem::entries;
use super::tool::{self, Tool};
use crate::error::Result;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the owner's scripts are on a box.
pub const DIRECTORY: &str = "/etc/hotplug.d/cloudbox";
/// OpenWrt's program that runs those of one kind of event, and what it is to be told.
const CALLER: (&str, &str) = ("hotplug-call", "cloudbox");
/// How long all of them may take together.
const TIME: Duration = Duration::from_secs(60);

/// Something that scripts are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What has happened: `failed`.
    pub action: &'static str,
    /// The container it happened to.
    pub name: String,
}

/// Has every script in `dir` run, one after the other. Where OpenWrt's own caller is, it does that.
///
/// # Errors
/// One ended badly or took too long; the others have been run all the same, but for those behind the end of the time.
pub fn run(ctx: &Ctx, dir: &Path, happening: &Happening) -> Result<()> {
    let mut scripts = entries(dir).unwrap_or_default();
    scripts.retain(|script| !script.starts_with('.') && dir.join(script).is_file());
    if scripts.is_empty() {
        return Ok(());
    }
    if dir == Path::new(DIRECTORY) {
        if let Ok(mut caller) = Tool::command(CALLER.0) {
            return run_one(ctx, caller.arg(CALLER.1), happening);
        }
    }
    scripts.sort_unstable();
    let mut result = Ok(());
    for script in scripts {
        let ended = Tool::command("sh").and_then(|mut sh| run_one(ctx, sh.arg(dir.join(script)), happening));
        ctx.cancel.check()?;
        result = result.and(ended);
    }
    result
}

fn run_one(ctx: &Ctx, command: &mut Command, happening: &Happening) -> Result<()> {
    command.env("ACTION", happening.action).env("NAME", &happening.name).current_dir("/");
    tool::run(command, ctx, TIME).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::testing::TempDir;
    use std::fs;

    #[test]
    fn scripts_are_told_in_order_and_a_bad_one_hinders_no_other() {
        let dir = TempDir::make();
        let said = dir.path().join("said");
        let scripts = dir.path().join("scripts");
        let ctx = Ctx::silent().unwrap();
        let happening = Happening { action: "oom", name: "web".into() };
        run(&ctx, &scripts, &happening).unwrap();
        fs::create_dir(&scripts).unwrap();
        for (name, line) in [
            ("20-last", "echo last"),
            ("10-first", "echo \"$ACTION $NAME $PWD $(id -u)\""),
            ("15-bad", "echo why >&2; exit 3"),
            (".hidden", "echo hidden"),
        ] {
            fs::write(scripts.join(name), format!("{{ {line}; }} >>{}\n", said.display())).unwrap();
        }
        fs::create_dir(scripts.join("directory")).unwrap();
        let error = run(&ctx, &scripts, &happening).unwrap_err();
        assert!(error.message.contains("why"), "{}", error.message);
        let id = nix::unistd::geteuid();
        assert_eq!(fs::read_to_string(&said).unwrap(), format!("oom web / {id}\nlast\n"));
        ctx.cancel.cancel();
        assert_eq!(run(&ctx, &scripts, &happening).unwrap_err().code, Code::Cancelled);
    }
}
