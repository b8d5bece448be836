//! Directories of a test's own.

use nix::mount::{umount2, MntFlags};
use std::fs;
use std::path::Path;

/// Removes `base` with all that is in it, and what is mounted below it.
pub fn remove(base: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<&str> = points.filter(|point| Path::new(point).starts_with(base)).collect();
    // What is mounted last lies on top.
    for point in below.into_iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(base);
}
