//! Has a child that may next to nothing judge an archive ([`tar`]): what comes back is the checked stream, or the names
//! of an archive that is to be read once more.

use super::import::CONVERSION;
use super::tar::{self, Known, LeftOut, Passed, Sink, MAX_ENTRIES, NAME_BYTES};
use crate::error::{Error, Result};
use crate::steps::ctx::Ctx;
use crate::steps::in_a_child::{in_a_child, strange, Frames, STREAM};
use crate::steps::tool::Source;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A frame with some of the archive's names, [`NAME_BYTES`] each.
const NAMES: u8 = b'n';
/// A frame with an [`End`], as JSON.
const END: u8 = b'e';
/// Names that go together.
const TOGETHER: usize = 1000;

/// What the archive came to.
#[derive(Serialize, Deserialize)]
enum End {
    /// It was passed on, without this.
    Whole(LeftOut),
    /// It is to be read once more: what is known but for the names.
    Again(bool, bool),
}

/// What an archive came to.
pub enum Judged {
    /// It was passed on, without this.
    Whole(LeftOut),
    /// Nothing that was passed on counts: it is to be read from its beginning once more, with this.
    Again(Found),
}

/// What is known of an archive before it is read. A million names take a hundred megabytes where they are looked up, and a
/// stranger decides how many there are: the daemon has them in a file, and shows them to the child that looks.
#[derive(Default)]
pub struct Found {
    /// All but the names.
    known: Known,
    /// The names, and how many bytes they take.
    names: Option<(File, u64)>,
}

/// As [`tar::pass`], in a child. `scratch` is where a file can be made, which is removed at once.
///
/// # Errors
/// Those of [`tar::pass`] and of [`in_a_child`]; the file cannot be written.
pub fn pass(
    ctx: &Ctx,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    found: &Found,
    scratch: &Path,
) -> Result<Judged> {
    let (child_knows, names) = (found.known.clone(), found.names.as_ref());
    let bytes = names.map_or(0, |(_, bytes)| *bytes);
    let judge = move |source: &mut dyn Source, frames: &mut Frames| {
        let mut known = child_knows.clone();
        hear_names(source, &mut known, bytes)?;
        match tar::pass(source, frames, &known)? {
            Passed::Whole(left_out) => frames.say_json(END, &End::Whole(left_out)),
            Passed::Again(again) => {
                let mut some = Vec::with_capacity(TOGETHER * NAME_BYTES);
                for name in again.names() {
                    some.extend(name);
                    if some.len() == some.capacity() {
                        frames.say(NAMES, &some)?;
                        some.clear();
                    }
                }
                frames.say(NAMES, &some)?;
                let (complete, unified) = again.head();
                frames.say_json(END, &End::Again(complete, unified))
            }
        }
    };
    let mut source = BehindNames { names: names.map(|(file, _)| file), at: 0, bytes, source };
    let mut told = None;
    let mut end = None;
    in_a_child(ctx, "archive reader", CONVERSION, &mut source, judge, &mut |kind, content| {
        match kind {
            STREAM => sink.write(content)?,
            NAMES => keep_names(&mut told, content, scratch)?,
            END => end = Some(serde_json::from_slice(content).map_err(|_| strange())?),
            _ => return Err(strange()),
        }
        Ok(true)
    })?;
    match end {
        Some(End::Whole(left_out)) => Ok(Judged::Whole(left_out)),
        Some(End::Again(complete, unified)) => {
            Ok(Judged::Again(Found { known: found.known.with_head((complete, unified)), names: told }))
        }
        None => Err(strange()),
    }
}

/// Takes up names that the child tells.
fn keep_names(kept: &mut Option<(File, u64)>, names: &[u8], scratch: &Path) -> Result<()> {
    let failed = |e| Error::io("cannot write", scratch, e);
    if kept.is_none() {
        let file = File::options().read(true).write(true).create_new(true).open(scratch).map_err(failed)?;
        fs::remove_file(scratch).map_err(failed)?;
        *kept = Some((file, 0));
    }
    let Some((file, bytes)) = kept else { return Ok(()) };
    *bytes += names.len() as u64;
    if names.len() % NAME_BYTES != 0 || *bytes > u64::from(MAX_ENTRIES) * NAME_BYTES as u64 {
        return Err(strange());
    }
    file.write_all(names).map_err(failed)
}

/// The names, and the archive behind them.
struct BehindNames<'a> {
    names: Option<&'a File>,
    at: u64,
    bytes: u64,
    source: &'a mut dyn Source,
}

impl Source for BehindNames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(names) = self.names.filter(|_| self.at < self.bytes) else {
            return self.source.read(buffer);
        };
        let most = buffer.len().min((self.bytes - self.at) as usize);
        names
            .read_exact_at(&mut buffer[..most], self.at)
            .map_err(|e| Error::os("cannot read the names of an archive again", e))?;
        self.at += most as u64;
        Ok(most)
    }
}

/// Takes up `bytes` of names, which come first.
fn hear_names(source: &mut dyn Source, known: &mut Known, bytes: u64) -> Result<()> {
    let mut left = bytes;
    let mut some = vec![0; TOGETHER * NAME_BYTES];
    while left > 0 {
        let wanted = left.min(some.len() as u64) as usize;
        let mut filled = 0;
        while filled < wanted {
            match source.read(&mut some[filled..wanted])? {
                0 => return Err(strange()),
                got => filled += got,
            }
        }
        add_names(known, &some[..wanted])?;
        left -= wanted as u64;
    }
    Ok(())
}

fn add_names(known: &mut Known, names: &[u8]) -> Result<()> {
    let added = names.chunks(NAME_BYTES).all(|name| name.try_into().is_ok_and(|name| known.add_name(name)));
    if added {
        Ok(())
    } else {
        Err(strange())
    }
}

impl Sink for Frames {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.stream(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    struct Bytes<'a>(&'a [u8]);

    impl Source for Bytes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            // As a pipe: some of it at a time.
            let most = buffer.len().min(self.0.len()).min(7);
            let (some, rest) = self.0.split_at(most);
            buffer[..most].copy_from_slice(some);
            self.0 = rest;
            Ok(most)
        }
    }

    #[test]
    fn names_are_kept_in_a_file_and_come_before_the_archive() {
        let dir = TempDir::make();
        let scratch = dir.path().join("scratch");
        let name = |number: u32| {
            let mut name = [7; NAME_BYTES];
            name[..4].copy_from_slice(&number.to_le_bytes());
            name[NAME_BYTES - 1] = 1;
            name
        };
        let all: Vec<_> = (0..2500).map(name).collect();
        let mut kept = None;
        for some in all.chunks(1001) {
            keep_names(&mut kept, some.as_flattened(), &scratch).unwrap();
        }
        assert!(!scratch.exists(), "it has no name");
        let (file, bytes) = kept.as_ref().unwrap();
        let mut archive = Bytes(b"archive");
        let mut source = BehindNames { names: Some(file), at: 0, bytes: *bytes, source: &mut archive };
        let mut known = Known::default();
        hear_names(&mut source, &mut known, *bytes).unwrap();
        let mut heard: Vec<_> = known.names().collect();
        heard.sort_by_key(|name| u32::from_le_bytes([name[0], name[1], name[2], name[3]]));
        assert!(heard == all);
        let mut rest = [0; 7];
        assert_eq!((source.read(&mut rest).unwrap(), &rest), (7, b"archive"));

        let error = keep_names(&mut kept, &all[0][1..], &scratch).unwrap_err();
        assert!(error.message.contains("may be an attack"), "{error}");
        // Nobody has more names than an archive may.
        let mut full =
            Some((File::create_new(&scratch).unwrap(), u64::from(MAX_ENTRIES) * NAME_BYTES as u64));
        assert!(keep_names(&mut full, &all[0], &scratch).is_err());
        let cut = hear_names(&mut Bytes(&all[0][1..]), &mut Known::default(), NAME_BYTES as u64);
        assert!(cut.unwrap_err().message.contains("may be an attack"));
    }
}
