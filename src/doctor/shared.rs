//! What the kernel has once for all containers and the box: a guest may take all of it.

use super::{ok, seen, text_of, warning, Examination, Finding, Subject};
use crate::error::Result;
use crate::model::name::Name;
use crate::steps::filesystem::read_up_to;
use crate::steps::lxc::terminals::Terminals;
use nix::sys::stat::{major, minor};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// As many descriptors of a process are looked at.
const DESCRIPTORS_MAX: usize = 65_536;
/// What is read of a container's table of neighbours: a line is some 80 bytes.
const NEIGHBOURS_MAX: u64 = 4 << 20;
/// The device that makes a pseudo terminal of each open(2).
const PTMX: (u64, u64) = (5, 2);

/// Without pseudo terminals no container starts.
pub(super) fn terminals(subject: &Subject<'_>) -> Finding {
    let Some(terminals) = Terminals::look() else {
        return ok(format_args!("the kernel does not count pseudo terminals"));
    };
    // Looking at all descriptors of all guests is for when it matters.
    let most =
        if is_half_taken(terminals.used, terminals.most) { most_terminals(subject.known) } else { None };
    judge_terminals(terminals, most)
}

fn is_half_taken(used: u64, most: u64) -> bool {
    used > most / 2
}

fn judge_terminals(terminals: Terminals, most: Option<(Name, usize)>) -> Finding {
    let Terminals { used, most: all } = terminals;
    if !is_half_taken(used, all) {
        return ok(format_args!("{used} pseudo terminals are open of {all} that containers can have"));
    }
    let end = if terminals.suffice() { "" } else { ", and no container starts" };
    let (who, remedy) = named(most, "has most of them");
    warning(
        format_args!("{used} pseudo terminals are open of {all} that containers can have{end}{who}"),
        format_args!(
            "{remedy}; if all are needed, a higher kernel.pty.max in /etc/sysctl.d/60-cloudbox.conf"
        ),
    )
}

/// Who has most of something, and what ends that.
fn named(most: Option<(Name, usize)>, what: &str) -> (String, String) {
    match most {
        Some((name, count)) => {
            (format!(": {name} {what}, {count}"), format!("`cloudbox stop {name}`, unless it may"))
        }
        None => (String::new(), "stop the container that has taken them".to_string()),
    }
}

/// The container whose processes have most pseudo terminals, and how many; None where nobody's can be seen.
fn most_terminals(known: &Examination) -> Option<(Name, usize)> {
    most_of(known, |pids| pids.iter().map(|pid| terminals_of(*pid)).sum())
}

/// The container that has most of what `count` counts of its processes.
fn most_of(known: &Examination, count: impl Fn(&[i32]) -> usize) -> Option<(Name, usize)> {
    let cgroups = known.cgroups.as_ref()?;
    let counts = known.guests.iter().map(|(name, _)| (name.clone(), count(&cgroups.processes(name))));
    counts.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
}

/// How many pseudo terminals process `pid` has made.
fn terminals_of(pid: i32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // By its number: where a guest has mounted it, it is called as the guest likes.
    let is_one =
        |path: &Path| fs::metadata(path).is_ok_and(|meta| (major(meta.rdev()), minor(meta.rdev())) == PTMX);
    descriptors.take(DESCRIPTORS_MAX).filter(|entry| is_one(&entry.path())).count()
}

/// Without room in the tables of neighbours the box reaches nobody that it has not reached just now.
pub(super) fn neighbours(subject: &Subject<'_>) -> Finding {
    seen(look_at_neighbours(subject))
}

fn look_at_neighbours(subject: &Subject<'_>) -> Result<Finding> {
    let mut tables = Vec::new();
    for (table, family) in [("arp_cache", "ipv4"), ("ndisc_cache", "ipv6")] {
        let entries = entries_in(&text_of(&Path::new("/proc/net/stat").join(table))?);
        let limit = text_of(&Path::new("/proc/sys/net").join(family).join("neigh/default/gc_thresh3"))?;
        if let (Some(entries), Ok(limit)) = (entries, limit.trim().parse()) {
            tables.push(Table { family, entries, limit });
        }
    }
    let full = tables.iter().any(|table| is_half_taken(table.entries, table.limit));
    let most =
        if full { most_of(subject.known, |pids| pids.first().map_or(0, |pid| arp_of(*pid))) } else { None };
    Ok(judge_neighbours(&tables, most))
}

/// The neighbours of one family, of all network namespaces together.
struct Table {
    family: &'static str,
    entries: u64,
    /// The kernel makes no more, but for permanent ones, which it does not count.
    limit: u64,
}

/// `text` is that of a file in /proc/net/stat: a line of names, and one of hexadecimal numbers for each processor, whose
/// first is the number of entries of all.
fn entries_in(text: &str) -> Option<u64> {
    let numbers = text.lines().nth(1)?;
    u64::from_str_radix(numbers.split_whitespace().next()?, 16).ok()
}

/// How many neighbours of IPv4 there are in the network namespace of process `pid`. The kernel leaves out some of the
/// permanent ones.
fn arp_of(pid: i32) -> usize {
    let file = fs::File::open(format!("/proc/{pid}/net/arp"));
    let text = file.and_then(|file| read_up_to(&file, NEIGHBOURS_MAX)).unwrap_or_default();
    text.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1)
}

fn judge_neighbours(tables: &[Table], most: Option<(Name, usize)>) -> Finding {
    let full: Vec<String> = tables
        .iter()
        .filter(|table| is_half_taken(table.entries, table.limit))
        .map(|Table { family, entries, limit }| format!("{entries} of {family} (limit {limit})"))
        .collect();
    if full.is_empty() {
        let entries: u64 = tables.iter().map(|table| table.entries).sum();
        return ok(format_args!("the kernel knows {entries} neighbours of the box and all containers"));
    }
    let (who, remedy) = named(most, "has most of IPv4");
    warning(
        format_args!(
            "the kernel knows very many neighbours of the box and containers, {}; at its limit the box reaches \
             nobody new, and memory for permanent ones has no limit{who}",
            full.join(" and ")
        ),
        format_args!(
            "{remedy}; `cloudbox exec NAME -- ip neigh` shows a container's; if all are real, a higher \
             net.ipv4.neigh.default.gc_thresh3 (or net.ipv6) in /etc/sysctl.d/60-cloudbox.conf"
        ),
    )
}

/// Places for asynchronous input and output, which databases want.
pub(super) fn aio(_: &Subject<'_>) -> Finding {
    let number = |path| Ok(text_of(Path::new(path))?.trim().parse::<u64>().ok());
    let look = || Ok((number("/proc/sys/fs/aio-nr")?, number("/proc/sys/fs/aio-max-nr")?));
    seen(look().map(|(used, most)| judge_aio(used, most)))
}

fn judge_aio(used: Option<u64>, most: Option<u64>) -> Finding {
    match (used, most) {
        (Some(used), Some(most)) if is_half_taken(used, most) => warning(
            format_args!(
                "{used} of {most} places for asynchronous input and output are taken: without any, databases do not \
                 start, in containers or on the box"
            ),
            format_args!(
                "`grep -c '\\[aio\\]' /proc/[0-9]*/maps | grep -v ':0$'` shows which processes have some; stop their \
                 container, or set a higher fs.aio-max-nr in /etc/sysctl.d/60-cloudbox.conf"
            ),
        ),
        _ => ok(format_args!("there are places for asynchronous input and output")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OK, WARNING};
    use super::*;

    fn most() -> Option<(Name, usize)> {
        Some((Name::new("web").unwrap(), 3000))
    }

    #[test]
    fn terminals_are_told_of_before_there_are_none() {
        for (used, state, words) in [
            (5, OK, "5 pseudo terminals are open of 3072"),
            (1536, OK, "1536 pseudo"),
            (1537, WARNING, "can have: web has most of them, 3000"),
            (3070, WARNING, "and no container starts: web"),
        ] {
            let found = judge_terminals(Terminals { used, most: 3072 }, most());
            assert!(found.state == state && found.message.contains(words), "{used}: {found:?}");
        }
        let nobody = judge_terminals(Terminals { used: 3072, most: 3072 }, None);
        assert!(nobody.remedy.starts_with("stop the container"), "{nobody:?}");
    }

    #[test]
    fn a_process_is_asked_how_many_terminals_it_has_made() {
        let me = std::process::id() as i32;
        let before = terminals_of(me);
        let Ok(made) = fs::File::open("/dev/ptmx") else {
            println!("skipped: there are no pseudo terminals");
            return;
        };
        assert!(terminals_of(me) > 0, "{before} before");
        drop(made);
        assert_eq!(terminals_of(1 << 23), 0);
    }

    #[test]
    fn neighbours_are_told_of_before_there_is_no_room() {
        let text = "entries  allocs   destroys\n000001f0 00000001 00000002\n000001f0 00000003 00000004\n";
        assert_eq!((entries_in(text), entries_in(""), entries_in("entries\n")), (Some(0x1f0), None, None));
        let table = |family, entries| Table { family, entries, limit: 1024 };
        for (entries, state, words) in [
            ((0, 0), OK, "0 neighbours"),
            ((512, 512), OK, "1024 neighbours"),
            ((513, 0), WARNING, "513 of ipv4 (limit 1024)"),
            ((0, 200_000), WARNING, "200000 of ipv6 (limit 1024)"),
            ((600, 600), WARNING, "ipv4 (limit 1024) and 600 of ipv6"),
        ] {
            let found = judge_neighbours(&[table("ipv4", entries.0), table("ipv6", entries.1)], most());
            assert!(found.state == state && found.message.contains(words), "{entries:?}: {found:?}");
        }
        assert_eq!(judge_neighbours(&[], None).state, OK);
    }

    #[test]
    fn places_for_asynchronous_work_are_told_of_before_there_are_none() {
        for (used, most, state) in [
            (Some(0), Some(65_536), OK),
            (Some(32_769), Some(65_536), WARNING),
            (None, None, OK),
            (Some(7), None, OK),
        ] {
            assert_eq!(judge_aio(used, most).state, state, "{used:?} {most:?}");
        }
    }
}
