//! The system calls that a guest is refused, and why: the one table of them.
//!
//! A guest's root is root in its user namespace, and the kernel asks it for rights there. What stands here is reached
//! without rights, or was again and again the way out through a hole in the kernel, or takes memory that no limit counts.
//! It is refused so that programs find another way: as if the kernel had not got it, where they have one for that.
//! docs/security.md has the same for people.

use crate::model::spec::Spec;
use std::fmt::Write;

/// What a refused program is told.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// "Operation not permitted".
    Eperm = 1,
    /// "Function not implemented": programs and libraries go on without.
    Enosys = 38,
}
use Answer::{Enosys, Eperm};

/// Refused unless this holds.
type Unless = fn(&Spec) -> bool;

const NEVER: Unless = |_| false;
/// Runtimes of containers give each of theirs a keyring.
const NESTING: Unless = |spec| spec.nesting;
const IO_URING: Unless = |spec| spec.io_uring;

/// Each with what it is told, what it is permitted by, and why it is refused.
const REFUSED: &[(&str, Answer, Unless, &str)] = &[
    ("add_key", Enosys, NESTING, "keys lie in kernel memory that no limit of a container counts"),
    ("keyctl", Enosys, NESTING, "the same"),
    ("request_key", Enosys, NESTING, "the same; and it has the box's root start a program"),
    (
        "io_uring_setup",
        Enosys,
        IO_URING,
        "a third of the kernel's known holes of late; seccomp does not see its work",
    ),
    ("io_uring_enter", Enosys, IO_URING, "the same"),
    ("io_uring_register", Enosys, IO_URING, "the same"),
    ("bpf", Eperm, NEVER, "programs of a guest in the kernel"),
    ("perf_event_open", Eperm, NEVER, "measures the box and its other guests"),
    (
        "userfaultfd",
        Enosys,
        NEVER,
        "holds the kernel up in the middle of its work, which holes are used with",
    ),
    ("mount_setattr", Enosys, NEVER, "changes mounts by other users' id maps; programs fall back to mount"),
    ("open_by_handle_at", Eperm, NEVER, "opens files by their number, around every directory"),
    ("kexec_load", Eperm, NEVER, "another kernel for the box"),
    ("kexec_file_load", Eperm, NEVER, "the same"),
    ("init_module", Eperm, NEVER, "code for the box's kernel"),
    ("finit_module", Eperm, NEVER, "the same"),
    ("delete_module", Eperm, NEVER, "takes code from the box's kernel"),
    ("swapon", Eperm, NEVER, "the box's memory"),
    ("swapoff", Eperm, NEVER, "the same"),
    ("syslog", Eperm, NEVER, "the box's kernel log, with other guests' doings and addresses of the kernel"),
    ("acct", Eperm, NEVER, "the box's accounting of processes"),
    ("quotactl", Eperm, NEVER, "the box's quotas"),
    ("lookup_dcookie", Eperm, NEVER, "paths of the box, for profilers"),
];

/// The profile of a container, as LXC reads it. A call that this box's libseccomp does not know, LXC leaves out with a
/// warning in its log.
pub fn render(spec: &Spec) -> String {
    // `umount -f` takes a file system away from under others that have it mounted.
    let mut text = String::from("2\ndenylist\nreject_force_umount\n[all]\n");
    for (call, answer, unless, _) in REFUSED {
        if !unless(spec) {
            let _ = writeln!(text, "{call} errno {}", *answer as i32);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn what_is_refused_depends_on_the_options() {
        let spec = record("web").spec;
        let all = render(&spec);
        assert!(all.starts_with("2\ndenylist\n") && all.lines().count() == REFUSED.len() + 4, "{all}");
        for line in ["keyctl errno 38", "io_uring_setup errno 38", "bpf errno 1", "init_module errno 1"] {
            assert!(all.lines().any(|l| l == line), "{line}");
        }
        let nesting = render(&Spec { nesting: true, ..spec.clone() });
        assert!(!nesting.contains("key") && nesting.contains("io_uring_setup"), "{nesting}");
        let io_uring = render(&Spec { io_uring: true, ..spec });
        assert!(io_uring.contains("keyctl") && !io_uring.contains("io_uring"), "{io_uring}");
    }

    #[test]
    fn the_page_about_security_has_each_of_them() {
        let page = include_str!("../../../docs/security.md");
        for (call, answer, unless, reason) in REFUSED {
            let row = page.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{call}`")));
            let row = row.unwrap_or_else(|| panic!("docs/security.md has no row for {call}: {reason}"));
            let said = match answer {
                Eperm => "| not permitted |",
                Enosys => "| not there |",
            };
            assert!(row.contains(said), "{call} is answered otherwise: {row}");
            let base = record("web").spec;
            for (option, spec) in [
                ("`nesting`", Spec { nesting: true, ..base.clone() }),
                ("`io_uring`", Spec { io_uring: true, ..base }),
            ] {
                assert_eq!(
                    row.contains(&format!("Option {option}")),
                    unless(&spec),
                    "{call} and {option}: {row}"
                );
            }
            assert!(!reason.is_empty());
        }
    }

    /// What LXC's common.seccomp has refused since LXC 1: dropping one of them would take a wall away.
    #[test]
    fn what_lxcs_own_list_refuses_is_refused() {
        let all = render(&Spec { nesting: true, io_uring: true, ..record("web").spec });
        for call in ["kexec_load", "open_by_handle_at", "init_module", "finit_module", "delete_module"] {
            assert!(all.lines().any(|line| line.starts_with(&format!("{call} errno "))), "{call}");
        }
        assert!(all.lines().any(|line| line == "reject_force_umount"));
    }
}
