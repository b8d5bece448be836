//! Kinds of processors, as offers and manifests name them: as the kernel does, with one name for all that run the same
//! programs.

use crate::simplestreams;

/// The names of the kinds: that of servers of images, which is Debian's, and ours.
pub const KINDS: [(&str, &str); 12] = [
    ("amd64", "x86_64"),
    ("arm64", "aarch64"),
    ("armhf", "armv7l"),
    ("armel", "armv6l"),
    ("i386", "i686"),
    ("mips", "mips"),
    ("mipsel", "mipsel"),
    ("mips64el", "mips64el"),
    ("ppc64el", "ppc64le"),
    ("riscv64", "riscv64"),
    ("s390x", "s390x"),
    ("loong64", "loongarch64"),
];

/// The kind of a machine that calls itself so, by `uname -m`.
pub fn kind(machine: &str) -> &str {
    let debian = simplestreams::arch(machine);
    KINDS.iter().find(|(name, _)| *name == debian).map_or(machine, |(_, kind)| kind)
}

#[cfg(test)]
#[test]
fn machines_that_run_the_same_have_one_name() {
    for (machine, name) in [
        ("x86_64", "x86_64"),
        ("aarch64", "aarch64"),
        ("armv8l", "armv7l"),
        ("armv7l", "armv7l"),
        ("armv5tel", "armv6l"),
        ("i586", "i686"),
        ("mips", "mips"),
        ("strange", "strange"),
    ] {
        assert_eq!(kind(machine), name, "{machine}");
    }
}
