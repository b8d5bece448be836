//! What the core wants to find again: a file for each thing, each whole or not there, and on the disk when `keep` returns.

use super::identity::replace;
use crate::error::{Error, Result};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read back, in bytes. None that was written is longer by far.
const FILE_MAX: u64 = 1 << 20;
/// The most files that are read back.
const FILES_MAX: usize = 20_000;

/// A directory of the core's.
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// The directory, which is made if it is not there.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn open(directory: &Path) -> Result<Disk> {
        fs::create_dir_all(directory).map_err(|e| Error::io("cannot make", directory, e))?;
        Ok(Disk { directory: directory.to_path_buf() })
    }

    /// All files, by name. What a crash has left half written is not one.
    ///
    /// # Errors
    /// The directory or a file cannot be read.
    pub fn read_all(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let cannot = |e| Error::io("cannot read", &self.directory, e);
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(cannot)?.take(FILES_MAX) {
            let entry = entry.map_err(cannot)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_name(&name) {
                continue;
            }
            let (path, mut text) = (entry.path(), Vec::new());
            let read = fs::File::open(&path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
            read.map_err(|e| Error::io("cannot read", &path, e))?;
            all.push((name, text));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Writes a file. It is on the disk when this returns.
    ///
    /// # Errors
    /// As write(2) and fsync(2).
    pub fn keep(&self, name: &str, text: &[u8]) -> Result<()> {
        replace(&self.directory.join(name), text)
    }

    /// Removes a file. One that is not there is fine.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn forget(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("cannot remove", &path, e)),
            _ => Ok(()),
        }
    }
}

/// Whether a file is one of ours, and not half of one.
fn is_name(name: &str) -> bool {
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    !name.starts_with('.') && !name.ends_with(".new") && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn what_is_kept_is_found_again_whole() {
        let dir = TempDir::make();
        let disk = Disk::open(&dir.path().join("state")).unwrap();
        assert_eq!(disk.read_all(), Ok(vec![]));
        disk.keep("slice.b", b"2").unwrap();
        disk.keep("slice.a", b"1").unwrap();
        disk.keep("slice.a", b"3").unwrap();
        // A crash in the middle of writing.
        fs::write(dir.path().join("state/slice.b.new"), "half").unwrap();
        fs::write(dir.path().join("state/README"), "somebody's").unwrap();
        let found = |name: &str, text: &[u8]| (name.to_string(), text.to_vec());
        assert_eq!(disk.read_all(), Ok(vec![found("slice.a", b"3"), found("slice.b", b"2")]));
        disk.forget("slice.a").unwrap();
        disk.forget("slice.a").unwrap();
        assert_eq!(disk.read_all(), Ok(vec![found("slice.b", b"2")]));
    }
}
