//! The range of user and group ids that each container has to itself.

use serde::{Deserialize, Serialize};

/// Ids per container: as many as a Debian system uses, `nobody` included.
pub const SIZE: u32 = 65536;
/// The first id handed out. 0x70000000 to 0x7FFDFFFF are unused in systemd's table of ids (UIDS-GIDS), and above what
/// shadow's `useradd` gives to subordinate ids.
pub const FIRST: u32 = 0x7000_0000;
/// How many containers fit.
pub const COUNT: u32 = 0x0FFE;

/// A container's range: `base` is the host's id of the guest's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdRange {
    /// The first id of [`SIZE`].
    pub base: u32,
}

/// The lowest range not in `used`, or None when all are taken.
pub fn allocate(used: &[IdRange]) -> Option<IdRange> {
    let mut taken = used.to_vec();
    taken.sort_unstable();
    let mut free = FIRST;
    for range in taken {
        if range.base >= free.saturating_add(SIZE) {
            break;
        }
        free = free.max(range.base.saturating_add(SIZE));
    }
    (free < FIRST + COUNT * SIZE).then_some(IdRange { base: free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_are_used_again() {
        let mut used = Vec::new();
        for n in 0..COUNT {
            let range = allocate(&used).unwrap();
            assert_eq!(range.base, FIRST + n * SIZE);
            used.push(range);
        }
        assert_eq!(allocate(&used), None);
        let freed = IdRange { base: FIRST + 5 * SIZE };
        used.retain(|range| *range != freed);
        assert_eq!(allocate(&used), Some(freed));
        const { assert!(FIRST + COUNT * SIZE <= 0x7FFE_0000) };
    }
}
