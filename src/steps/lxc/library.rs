//! What LXC's library was built with: nobody tells, so it is looked at.

use super::super::filesystem::read_up_to;
use std::fs::{self, File};
use std::path::PathBuf;

/// Where liblxc may be; Debian has a directory for each processor.
const PLACES: [&str; 3] = ["/usr/lib", "/lib", "/usr/lib64"];
/// liblxc has 1 MiB.
const LIBRARY_MAX: u64 = 16 << 20;

/// Whether liblxc has `word` in it; None where it is not found, as one that is part of the tools.
pub fn has(word: &[u8]) -> Option<bool> {
    let below = |dir: &str| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = PLACES.iter().flat_map(|dir| below(dir).chain([PathBuf::from(dir)]));
    let file = places.map(|dir| dir.join("liblxc.so.1")).find(|file| file.is_file())?;
    let library = read_up_to(&File::open(file).ok()?, LIBRARY_MAX).ok()?;
    Some(library.windows(word.len()).any(|window| window == word))
}
