//! What a guest wrote to its console: LXC keeps it in two files, the present one and the one before.

use super::filesystem::{open_regular, read_up_to};
use super::layout::ContainerDir;
use crate::error::{Error, Result};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The most that is shown at once: with every byte replaced by three it still fits a message.
const SHOWN_MAX: u64 = 256 << 10;

/// The files of a container's console, the earlier one first.
pub fn files(dir: &ContainerDir) -> Vec<PathBuf> {
    vec![dir.earlier_console_log(), dir.console_log()]
}

/// The last `lines` lines of a log in these files, and whether there are earlier ones. Nothing written yet is fine.
///
/// # Errors
/// It cannot be read.
pub fn tail(files: &[PathBuf], lines: usize) -> Result<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    let mut whole = true;
    // The later one is the longer the later it is read: then nothing is missing in between.
    for path in files {
        whole &= append(path, &mut text).map_err(|e| Error::io("cannot read", path, e))?;
    }
    let start = last_lines(&text, lines).max(text.len().saturating_sub(SHOWN_MAX as usize));
    text.drain(..start);
    Ok((text, start > 0 || !whole))
}

/// Adds the end of the file at `path` to `text`; true when that is all of it.
fn append(path: &Path, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut file = match open_regular(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let skipped = file.metadata()?.len().saturating_sub(SHOWN_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    text.append(&mut read_up_to(&file, SHOWN_MAX)?);
    Ok(skipped == 0)
}

/// Where the last `lines` lines of `text` begin. What follows the last newline is a line, too.
pub fn last_lines(text: &[u8], lines: usize) -> usize {
    let inner = text.strip_suffix(b"\n").unwrap_or(text);
    let newlines = inner.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => text.len(),
        Some(before) => newlines.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn lines_are_counted_from_the_end() {
        for (text, lines, expected) in [
            ("", 5, ""),
            ("a", 5, "a"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\nc\n", 3, "a\nb\nc\n"),
            ("a\nb\nc\n", 0, ""),
            ("\n\n\n", 1, "\n"),
        ] {
            assert_eq!(&text[last_lines(text.as_bytes(), lines)..], expected, "{text:?} {lines}");
        }
    }

    #[test]
    fn both_files_are_one_log() {
        let temp = TempDir::make();
        let dir = ContainerDir(temp.path().to_path_buf());
        let read = |lines| {
            tail(&files(&dir), lines).map(|(text, more)| (String::from_utf8(text).unwrap(), more)).unwrap()
        };
        assert_eq!(read(9), (String::new(), false));
        std::fs::write(dir.console_log(), "lf\nsecond\n").unwrap();
        assert_eq!(read(9), ("lf\nsecond\n".into(), false));
        std::fs::write(dir.earlier_console_log(), "first\nha").unwrap();
        assert_eq!(read(9), ("first\nhalf\nsecond\n".into(), false));
        assert_eq!(read(2), ("half\nsecond\n".into(), true));
        std::fs::write(dir.earlier_console_log(), "x".repeat(400_000)).unwrap();
        let (text, more) = read(usize::MAX);
        assert!(text.len() == SHOWN_MAX as usize && text.ends_with("xlf\nsecond\n") && more);
    }
}
