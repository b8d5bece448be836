//! What of the promises of docs/security.md holds on this box, for `doctor --security`.

use super::network::{bridges_of, judge_spoken};
use super::{error, kernel, ok, seen, text_of, told, unseen, warning, Finding, Subject, OK, WARNING};
use crate::model::idrange;
use crate::model::name::Name;
use crate::model::spec::Spec;
use crate::steps::avahi::State;
use crate::steps::filesystem::read_text;
use crate::steps::lxc::apparmor::{self, Profile};
use crate::steps::lxc::cgroup::{Cgroups, Family};
use crate::steps::lxc::seccomp;
use crate::steps::process::is_init_of_namespace;
use crate::steps::tool::Tool;
use crate::sys;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Linux that can close what a child must not have at its exec.
const KERNEL_MIN: (u32, u32) = (5, 11);
/// The lists of users are short.
const USERS_MAX: u64 = 256 << 10;
/// Writable by somebody else than its owner.
const OTHERS_WRITE: u32 = 0o022;

pub(super) fn kernel(_: &Subject<'_>) -> Finding {
    let uname = nix::sys::utsname::uname();
    judge_kernel(&uname.map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default())
}

fn judge_kernel(release: &str) -> Finding {
    let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return ok(format_args!("Linux {release}; a hole in it is a hole for all containers"));
    }
    warning(
        format_args!(
            "Linux {release} is old: it has known holes, and lacks what keeps descriptors from children"
        ),
        format_args!(
            "use OpenWrt 22.03 or later, or Debian 12: Linux {}.{} at least",
            KERNEL_MIN.0, KERNEL_MIN.1
        ),
    )
}

/// Ranges of user ids that nobody else of the box has.
pub(super) fn user_ids(subject: &Subject<'_>) -> Finding {
    let text = |path: &str| read_text(Path::new(path), USERS_MAX).unwrap_or_default();
    match shared_ids(&text("/etc/passwd"), &text("/etc/subuid")) {
        Some(who) => error(
            format_args!(
                "{who}, among the ids of containers: who has these reaches their files and processes"
            ),
            format_args!(
                "give other ids: {} to {} are for containers",
                idrange::FIRST,
                idrange::FIRST + idrange::COUNT * idrange::SIZE - 1
            ),
        ),
        None => kernel::user_ids(subject),
    }
}

/// Who has an id that containers are given, by the texts of `/etc/passwd` and `/etc/subuid`.
fn shared_ids(passwd: &str, subuid: &str) -> Option<String> {
    let (first, end) =
        (u64::from(idrange::FIRST), u64::from(idrange::FIRST + idrange::COUNT * idrange::SIZE));
    let is_shared = |from: u64, count: u64| from < end && from.saturating_add(count) > first;
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1).and_then(|id| id.parse().ok()));
        if id.is_some_and(|id| is_shared(id, 1)) {
            return Some(format!("user {name} has id {}", id?));
        }
    }
    for line in subuid.lines() {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut number = || fields.next().and_then(|number| number.trim().parse::<u64>().ok());
        if let (Some(from), Some(count)) = (number(), number()) {
            if is_shared(from, count) {
                return Some(format!("/etc/subuid gives {name} {count} ids from {from} on"));
            }
        }
    }
    None
}

/// What bounds a guest's groups, and its use of the box.
pub(super) fn cgroups(subject: &Subject<'_>) -> Finding {
    let found = kernel::cgroups(subject);
    let family = subject.known.cgroups.as_ref().map(Cgroups::family);
    if found.state != OK || family != Some(Family::V1) {
        return found;
    }
    warning(
        format_args!("cgroup v1 limits memory, cpu and pids, but not how many groups a container makes"),
        format_args!("boot with cgroup v2 alone, as OpenWrt 22.03 and later do, and Debian without `systemd.unified_cgroup_hierarchy=0`"),
    )
}

/// There is no swap, or it is counted.
pub(super) fn swap(subject: &Subject<'_>) -> Finding {
    let found = kernel::swap(subject).pop();
    found.unwrap_or_else(|| ok(format_args!("no container gets more memory by way of swap")))
}

/// Whether the box's own reads and writes go first.
pub(super) fn disk_weight(subject: &Subject<'_>) -> Finding {
    match subject.known.cgroups.as_ref().and_then(Cgroups::weighs_disks) {
        Some(true) => ok(format_args!("the box's own reads and writes go before those of containers")),
        None => ok(format_args!("no group says yet whether reads and writes are weighed")),
        Some(false) => warning(
            format_args!("the kernel weighs no reads and writes: a container can slow down the box's own"),
            format_args!("a kernel with CONFIG_BLK_CGROUP_IOCOST or the scheduler bfq; or a disk of their own for containers"),
        ),
    }
}

pub(super) fn apparmor(_: &Subject<'_>) -> Finding {
    judge_apparmor(apparmor::Found::look())
}

fn judge_apparmor(found: apparmor::Found) -> Finding {
    match found.best() {
        Profile::Guest | Profile::Loadable => {
            ok(format_args!("containers have the profile {}", apparmor::GUEST))
        }
        Profile::Generated => warning(
            format_args!("containers have a profile that LXC makes; {} is not there", apparmor::GUEST),
            format_args!("copy files/etc/apparmor.d/{0} of the sources to /etc/apparmor.d", apparmor::GUEST),
        ),
        Profile::Unconfined if !found.mounts => warning(
            format_args!("the kernel's AppArmor knows no mounts: LXC confines no container by it"),
            format_args!(
                "use a kernel whose AppArmor does, such as Debian's; the other walls stand without it"
            ),
        ),
        Profile::Unconfined => warning(
            format_args!("AppArmor is on, but no program loads profiles: containers have none"),
            format_args!("install the package apparmor"),
        ),
        Profile::Unsaid if found.kernel => warning(
            format_args!("AppArmor is on, but LXC is built without it: containers have no profile"),
            format_args!("install a liblxc that is built with AppArmor, as Debian's is"),
        ),
        Profile::Unsaid => ok(format_args!("the kernel has no AppArmor; the other walls stand without it")),
    }
}

/// Whom the kernel tells of a crash: a program that it starts is root's on the box, wherever the crash was.
pub(super) fn core_dumps(_: &Subject<'_>) -> Finding {
    let pattern = text_of(Path::new("/proc/sys/kernel/core_pattern"));
    seen(pattern.map(|pattern| judge_core_pattern(pattern.trim())))
}

fn judge_core_pattern(pattern: &str) -> Finding {
    match pattern.strip_prefix('|') {
        Some(program) => warning(
            format_args!(
                "a crash inside a container starts {} as the box's root",
                program.split(' ').next().unwrap_or_default()
            ),
            format_args!("`sysctl -w kernel.core_pattern=core`, unless that program is made for it"),
        ),
        None => ok(format_args!("a crash inside a container starts nothing on the box")),
    }
}

/// The programs that read what strangers wrote.
pub(super) fn helpers(_: &Subject<'_>) -> Finding {
    let status = text_of(Path::new("/proc/self/status"));
    seen(status.map(|status| judge_helpers(sys::filters_helpers() && status.contains("\nSeccomp:"))))
}

fn judge_helpers(filtered: bool) -> Finding {
    if !filtered {
        return warning(
            format_args!(
                "programs that fetch and unpack have no rights, but nothing filters their system calls"
            ),
            format_args!(
                "use a kernel with CONFIG_SECCOMP_FILTER, on a processor that cloudbox's filter knows"
            ),
        );
    }
    let own_user = ["curl", "wget"].into_iter().any(|fetcher| Tool::find(fetcher).is_ok());
    match own_user {
        true => ok(format_args!("programs that fetch and unpack are nobody, and have no rights")),
        false => warning(
            format_args!("uclient-fetch fetches as root without rights: it could still change root's files"),
            format_args!("install curl, which fetches as nobody"),
        ),
    }
}

/// Files that only the box's owner may change, and the directories above them.
pub(super) fn owners_files(subject: &Subject<'_>) -> Vec<Finding> {
    let known = subject.known;
    let host = known.config_dir.join("cloudbox-host");
    let settings = &known.settings;
    let listed = [&settings.export_dirs, &settings.import_dirs].into_iter().flatten();
    let dirs = settings.key_dirs.iter().chain([&known.layout.storage, &known.config_dir]);
    // What a call may write below, somebody else may own; but a key that others can change is none.
    let mut wrong: Vec<Finding> = dirs.filter_map(|dir| not_the_owners(dir)).collect();
    wrong.extend(listed.filter_map(|dir| leads_elsewhere(dir)));
    match fs::symlink_metadata(&host) {
        Ok(_) => wrong.extend(not_the_owners(&host)),
        Err(_) => wrong.push(warning(
            format_args!("{} is not there: what calls may reach outside is the default", host.display()),
            format_args!("install the package again, which makes it"),
        )),
    }
    if wrong.is_empty() {
        wrong.push(ok(format_args!("{} and what it lists are root's alone", host.display())));
    }
    wrong
}

/// What is wrong with who may change `path`; nothing where it is not there.
fn not_the_owners(path: &Path) -> Option<Finding> {
    let meta = fs::symlink_metadata(path).ok()?;
    if meta.is_symlink() {
        return leads_elsewhere(path);
    }
    judge_owner(path, meta.uid(), meta.mode())
}

fn leads_elsewhere(path: &Path) -> Option<Finding> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    let found = || {
        warning(
            format_args!(
                "{} is a link: whoever may change where it leads decides what is reached",
                path.display()
            ),
            format_args!("name what it leads to"),
        )
    };
    is_link.then(found)
}

fn judge_owner(path: &Path, owner: u32, mode: u32) -> Option<Finding> {
    let path = path.display();
    if owner != 0 {
        return Some(error(
            format_args!("{path} is user {owner}'s, who may change it"),
            format_args!("`chown root:root {path}`"),
        ));
    }
    // In a directory such as /tmp others' files stay others'.
    if mode & OTHERS_WRITE != 0 && mode & 0o1000 == 0 {
        let found = format_args!("others than root may write {path} (mode {:o})", mode & 0o7777).to_string();
        return Some(error(format_args!("{found}"), format_args!("`chmod go-w {path}`")));
    }
    None
}

/// Servers whose lists anybody could have made who is on the way to them.
pub(super) fn remotes(subject: &Subject<'_>) -> Finding {
    let unsigned = &subject.known.unsigned_remotes;
    if unsigned.is_empty() {
        return ok(format_args!("images come from no server whose lists are not signed"));
    }
    warning(
        format_args!(
            "lists of images are not signed: {}; whoever is on the way can put in others",
            unsigned.join(", ")
        ),
        format_args!("add `list key` to their sections, with the key of who makes the images"),
    )
}

/// On which networks containers' services are announced.
pub(super) fn avahi(subject: &Subject<'_>) -> Finding {
    if subject.avahi.state() != State::Running {
        return ok(format_args!("avahi-daemon does not run: nothing is announced"));
    }
    judge_spoken(&subject.avahi.spoken_on(), &bridges_of(subject))
}

/// Containers that have less around them than the others: by their owner's wish, or since they started before.
pub(super) fn guests(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(cgroups) = &subject.known.cgroups else { return vec![told(WARNING, "they were not looked at")] };
    let mut findings = Vec::new();
    for (name, spec) in &subject.known.guests {
        let init = cgroups.processes(name).into_iter().find(|pid| is_init_of_namespace(*pid));
        let status = init.map(|pid| text_of(Path::new(&format!("/proc/{pid}/status")))).transpose();
        let status = match status {
            Ok(status) => status,
            Err(error) => return vec![unseen(&error)],
        };
        let filter = match text_of(&subject.known.layout.container(name).seccomp()) {
            Ok(filter) => filter,
            Err(error) => return vec![unseen(&error)],
        };
        findings.extend(judge_guest(name, spec, status.as_deref(), &filter));
    }
    if findings.is_empty() {
        findings
            .push(ok(format_args!("each of the {} has every wall around it", subject.known.guests.len())));
    }
    findings
}

/// `status` is the text of `/proc/INIT/status`, where it runs, and `filter` that of the filter it was started with.
fn judge_guest(name: &Name, spec: &Spec, status: Option<&str>, filter: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_filtered = |status: &str| !status.lines().any(|line| line == "Seccomp:\t0");
    let lacks = match status.map(is_filtered) {
        Some(false) => Some("without the"),
        Some(true) if filter != seccomp::render(spec) => Some("with an earlier"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        findings.push(warning(
            format_args!("{name} runs {lacks} filter of system calls, as it was started"),
            format_args!("`cloudbox restart {name}`"),
        ));
    }
    for (lifted, what, remedy) in [
        (!spec.isolate, "may send in anybody's name", "--isolate yes"),
        (spec.nesting, "may use the kernel's keys", "--nesting no"),
        (spec.io_uring, "may use io_uring, past the filter", "--io-uring no"),
    ] {
        if lifted {
            findings.push(warning(
                format_args!("{name} {what}, since its owner says so"),
                format_args!("`cloudbox set {name} {remedy}`, unless it must"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::ERROR;
    use super::*;
    use crate::steps::lxc::apparmor::Found;
    use crate::testing::record;

    #[test]
    fn kernels_are_judged() {
        for (release, state) in [
            ("6.18.44-fc", OK),
            ("5.11.0", OK),
            ("5.10.176", WARNING),
            ("4.4.0-openwrt", WARNING),
            ("", WARNING),
        ] {
            assert_eq!(judge_kernel(release).state, state, "{release}");
        }
    }

    #[test]
    fn nobody_else_has_a_containers_ids() {
        let passwd = "root:x:0:0::/root:/bin/ash\nnobody:x:65534:65534::/:/bin/false\n";
        let subuid = "root:100000:65536\nme:165536:65536\n";
        assert_eq!(shared_ids(passwd, subuid), None);
        let first = idrange::FIRST;
        let user = format!("{passwd}eve:x:{}:0::/:/bin/sh\n", first + 5);
        assert_eq!(shared_ids(&user, subuid).unwrap(), format!("user eve has id {}", first + 5));
        let range = format!("{subuid}incus:{}:1000000000\n", first - 10);
        assert!(shared_ids(passwd, &range).unwrap().contains("gives incus 1000000000 ids"));
        let below = format!("{subuid}incus:{}:10\n", first - 10);
        assert_eq!(shared_ids(passwd, &below), None);
        assert_eq!(shared_ids("odd\n::\n", "odd\n:x:y\n"), None);
    }

    #[test]
    fn apparmor_is_judged() {
        let all =
            Found { kernel: true, lxc: Some(true), mounts: true, loaded: true, file: true, parser: true };
        for (found, state, word) in [
            (all, OK, "cloudbox-guest"),
            (Found { kernel: false, lxc: None, ..all }, OK, "no AppArmor"),
            (Found { lxc: Some(false), ..all }, WARNING, "built without"),
            (Found { mounts: false, ..all }, WARNING, "mounts"),
            (Found { loaded: false, file: false, ..all }, WARNING, "LXC makes"),
            (Found { loaded: false, parser: false, ..all }, WARNING, "no program"),
        ] {
            let judged = judge_apparmor(found);
            assert!(judged.state == state && judged.message.contains(word), "{found:?}: {judged:?}");
        }
    }

    #[test]
    fn who_is_told_of_a_crash_is_judged() {
        assert_eq!(judge_core_pattern("core").state, OK);
        assert_eq!(judge_core_pattern("/tmp/%e.%t.core").state, OK);
        let piped = judge_core_pattern("|/usr/share/apport/apport -p%p");
        assert!(piped.state == WARNING && piped.message.contains("/usr/share/apport/apport as"), "{piped:?}");
    }

    #[test]
    fn only_root_changes_what_is_the_owners() {
        let path = Path::new("/etc/config/cloudbox-host");
        for (owner, mode, state) in [
            (0, 0o100_600, None),
            (0, 0o100_644, None),
            (0, 0o100_664, Some(ERROR)),
            (0, 0o100_606, Some(ERROR)),
            (1000, 0o100_600, Some(ERROR)),
            (0, 0o041_777, None),
            (0, 0o040_777, Some(ERROR)),
        ] {
            assert_eq!(judge_owner(path, owner, mode).map(|f| f.state), state, "{owner} {mode:o}");
        }
    }

    #[test]
    fn a_guest_without_a_wall_is_named() {
        let (name, spec) = (Name::new("web").unwrap(), record("web").spec);
        let (filtered, bare) =
            ("Name:\tinit\nSeccomp:\t2\nSeccomp_filters:\t1\n", "Seccomp:\t0\nSeccomp_filters:\t0\n");
        let told = |spec: &Spec, status| -> Vec<String> {
            let filter = seccomp::render(&record("web").spec);
            judge_guest(&name, spec, status, &filter)
                .into_iter()
                .map(|f| format!("{}; {}", f.message, f.remedy))
                .collect()
        };
        assert_eq!(told(&spec, Some(filtered)), Vec::<String>::new());
        assert_eq!(told(&spec, None), Vec::<String>::new());
        assert!(told(&spec, Some(bare))[0].contains("restart web"));
        let earlier = judge_guest(&name, &spec, Some(filtered), "2\ndenylist\n");
        assert!(earlier[0].message.contains("with an earlier filter"), "{earlier:?}");
        let open = Spec { isolate: false, nesting: true, io_uring: true, ..spec };
        let told = told(&open, Some(filtered));
        assert_eq!(told.len(), 4, "{told:?}");
        for (line, words) in
            told.iter().zip(["restart web", "--isolate yes", "--nesting no", "--io-uring no"])
        {
            assert!(line.contains(words), "{line}");
        }
    }
}
