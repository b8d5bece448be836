//! The programs that the daemon runs.

use super::{error, is_out_of_descriptors, ok, told, unseen, warning, Finding, Subject, ERROR, OK, WARNING};
use crate::steps::ctx::Ctx;
use crate::steps::lxc::system_conf;
use crate::steps::tool::{self, Tool};
use std::time::Duration;

/// The oldest LXC that is known to do.
const LXC_MIN: u32 = 4;
/// `lxc-start --version` answers at once.
const VERSION_TIME: Duration = Duration::from_secs(10);

/// LXC's tools, and which LXC it is.
pub(super) fn lxc(_: &Subject<'_>) -> Finding {
    let found = tools(&["lxc-start", "lxc-attach"], ERROR);
    if found.state != OK {
        return found;
    }
    let version = Tool::command("lxc-start")
        .and_then(|mut lxc| tool::run(lxc.arg("--version"), &Ctx::silent()?, VERSION_TIME));
    match version {
        Ok(said) => judge_lxc(String::from_utf8_lossy(&said.stdout).trim()),
        Err(why) if is_out_of_descriptors(&why) => unseen(&why),
        Err(why) => judge_lxc(&why.into_message()),
    }
}

/// What somebody has told LXC for the whole system.
pub(super) fn lxc_conf(_: &Subject<'_>) -> Vec<Finding> {
    let found = |line: String| {
        warning(
            format_args!("{} says {line}: with that no limit could be set; cloudbox starts its containers without it", system_conf::PATH),
            format_args!("take the line out, unless other containers need it: each of ours keeps a mount namespace for it"),
        )
    };
    system_conf::hindrance().map(found).into_iter().collect()
}

fn judge_lxc(version: &str) -> Finding {
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= LXC_MIN => ok(format_args!("LXC {version} is installed")),
        Some(_) => warning(
            format_args!("LXC {version} is older than what cloudbox is tested with, {LXC_MIN}.0"),
            format_args!(
                "install a newer one: `{}`, or Debian 12",
                match Tool::find("apk") {
                    Ok(_) => "apk update; apk add --upgrade lxc liblxc",
                    Err(_) => "opkg update; opkg upgrade lxc liblxc",
                }
            ),
        ),
        None => error(
            format_args!("lxc-start does not say its version: {version}"),
            format_args!("install it again"),
        ),
    }
}

pub(super) fn image_tools(_: &Subject<'_>) -> Finding {
    with_rare(tools(&["mksquashfs", "gzip"], WARNING), tools(&["xz", "zstd"], WARNING))
}

/// What only some tarballs need is told, and no reason to warn: a pull or an import of one says what it lacks.
fn with_rare(found: Finding, rare: Finding) -> Finding {
    match (found.state, rare.state) {
        (OK, OK) => ok(format_args!("{}; {}", found.message, rare.message)),
        (OK, _) => ok(format_args!(
            "{}; {}: tarballs packed with it cannot be imported",
            found.message, rare.message
        )),
        _ => found,
    }
}

pub(super) fn disk_quota(subject: &Subject<'_>) -> Vec<Finding> {
    let quota = subject.known.settings.defaults.disk.is_some();
    quota.then(|| tools(&["mkfs.ext4"], ERROR)).into_iter().collect()
}

/// Whether all of `tools` are there; `missing` is the state when they are not.
fn tools(tools: &[&str], missing: &'static str) -> Finding {
    let errors: Vec<String> =
        tools.iter().filter_map(|tool| Tool::find(tool).err()).map(|e| e.into_message()).collect();
    if errors.is_empty() {
        let are = if tools.len() == 1 { "is" } else { "are" };
        return ok(format_args!("{} {are} installed", tools.join(", ")));
    }
    told(missing, &errors.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_few_need_is_no_warning() {
        let (good, lacking) =
            (ok(format_args!("gzip is installed")), told(WARNING, "xz is not installed; install xz"));
        let noted = with_rare(good.clone(), lacking.clone());
        assert!(
            noted.state == OK && noted.message.contains("xz is not installed: tarballs"),
            "{}",
            noted.message
        );
        assert_eq!(with_rare(lacking, good).state, WARNING);
    }

    #[test]
    fn versions_are_judged() {
        for (version, state) in
            [("5.0.2", OK), ("4.0.12", OK), ("6.0.0-devel", OK), ("3.2.1", WARNING), ("", ERROR)]
        {
            assert_eq!(judge_lxc(version).state, state, "{version}");
        }
    }
}
