//! Has a child of this program that may next to nothing judge an archive (`tar.rs`): what a stranger wrote is taken
//! apart there. What comes back are frames: the checked stream, the names of an archive that is to be read once more,
//! and one word at the end.
//!
//! A frame is a byte that says its kind, its length as four bytes, the lowest first, and so many bytes.

use super::tar::{self, Known, LeftOut, Passed, Sink, NAME_BYTES};
use crate::error::{Code, Error, Result};
use crate::steps::ctx::Ctx;
use crate::steps::tool::{self, Pipes, Running, Source, Tool};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

/// As long as a conversion may take.
const LIMIT: Duration = super::import::CONVERSION;
/// Bytes of a frame's content at most.
const FRAME_MAX: usize = 64 << 10;
const HEAD: usize = 5;

/// Bytes of the checked stream.
const STREAM: u8 = b's';
/// Names of the archive, [`NAME_BYTES`] each.
const NAMES: u8 = b'n';
/// An [`End`] as JSON: the last frame.
const END: u8 = b'e';

/// How it ended.
#[derive(Serialize, Deserialize)]
enum End {
    /// It was passed on, without this.
    Whole(LeftOut),
    /// It is to be read once more: what is known but for the names.
    Again(bool, bool),
    /// What is wrong with it, by its code and in words.
    Wrong(String, String),
}

/// As [`tar::pass`], in a child.
pub fn pass(ctx: &Ctx, source: &mut dyn Source, sink: &mut dyn Sink, known: &Known) -> Result<Passed> {
    let child_knows = known.clone();
    let mut command = Tool::worker("archive reader", move |input, output| {
        let mut frames = Frames { output, content: Vec::with_capacity(FRAME_MAX) };
        let end = match tar::pass(&mut Pipe(input), &mut frames, &child_knows) {
            Ok(Passed::Whole(left_out)) => Ok(End::Whole(left_out)),
            Ok(Passed::Again(again)) => frames.names(&again).map(|()| {
                let (complete, unified) = again.head();
                End::Again(complete, unified)
            }),
            Err(e) => Ok(End::Wrong(e.code.as_str().to_string(), e.into_message())),
        };
        end.and_then(|end| frames.end(&end)).is_ok()
    });
    let mut child = Running::start(&mut command, Pipes { stdin: true, stdout: true }, ctx, LIMIT)?;
    let mut reading = Reading { sink, known, names: Vec::new(), head: Vec::new(), left: 0, end: Vec::new() };
    let mut chunk = vec![0; FRAME_MAX];
    loop {
        let got = child.read_feeding(source, &mut chunk)?;
        if got == 0 {
            break;
        }
        reading.take(&chunk[..got])?;
    }
    let output = child.end()?;
    if !output.status.success() {
        return Err(tool::failure("the reader of archives", output.status, &output.stderr));
    }
    reading.passed()
}

fn strange() -> Error {
    Error::new(Code::Failed, "the reader of archives says what it never says: the archive may be an attack")
}

/// The child's input.
struct Pipe(File);

impl Source for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(|e| Error::os("cannot read the archive", e))
    }
}

/// The child's output.
struct Frames {
    output: File,
    /// Of the checked stream, not written yet.
    content: Vec<u8>,
}

impl Frames {
    fn write(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        for part in content.chunks(FRAME_MAX) {
            let [a, b, c, d] = (part.len() as u32).to_le_bytes();
            let written =
                self.output.write_all(&[kind, a, b, c, d]).and_then(|()| self.output.write_all(part));
            written.map_err(|e| Error::os("cannot write a frame", e))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let content = std::mem::take(&mut self.content);
        self.write(STREAM, &content)?;
        self.content = content;
        self.content.clear();
        Ok(())
    }

    fn names(&mut self, known: &Known) -> Result<()> {
        let mut several = Vec::with_capacity(FRAME_MAX);
        for name in known.names() {
            several.extend_from_slice(&name);
            if several.len() + NAME_BYTES > FRAME_MAX {
                self.write(NAMES, &several)?;
                several.clear();
            }
        }
        self.write(NAMES, &several)
    }

    fn end(&mut self, end: &End) -> Result<()> {
        self.flush()?;
        let end = serde_json::to_vec(end).map_err(|e| Error::new(Code::Failed, e.to_string()))?;
        self.write(END, &end)
    }
}

impl Sink for Frames {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        if self.content.len() + data.len() > FRAME_MAX {
            self.flush()?;
        }
        if data.len() > FRAME_MAX {
            return Frames::write(self, STREAM, data);
        }
        self.content.extend_from_slice(data);
        Ok(())
    }
}

/// What the child has said so far.
struct Reading<'a> {
    sink: &'a mut dyn Sink,
    known: &'a Known,
    /// As they came, to their last frame.
    names: Vec<u8>,
    /// Of the frame that is being read.
    head: Vec<u8>,
    /// Bytes of its content to come.
    left: usize,
    end: Vec<u8>,
}

impl Reading<'_> {
    fn take(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            if self.head.len() < HEAD {
                let missing = data.len().min(HEAD - self.head.len());
                self.head.extend_from_slice(&data[..missing]);
                data = &data[missing..];
                if let [_, a, b, c, d] = self.head[..] {
                    self.left = u32::from_le_bytes([a, b, c, d]) as usize;
                    if self.left == 0 || self.left > FRAME_MAX || !self.end.is_empty() {
                        return Err(strange());
                    }
                }
                continue;
            }
            let (content, rest) = data.split_at(data.len().min(self.left));
            match self.head[0] {
                STREAM => self.sink.write(content)?,
                NAMES if self.names.len() < tar::MAX_ENTRIES as usize * NAME_BYTES => {
                    self.names.extend_from_slice(content);
                }
                END => self.end.extend_from_slice(content),
                _ => return Err(strange()),
            }
            self.left -= content.len();
            if self.left == 0 {
                self.head.clear();
            }
            data = rest;
        }
        Ok(())
    }

    fn passed(self) -> Result<Passed> {
        match serde_json::from_slice(&self.end).map_err(|_| strange())? {
            End::Whole(left_out) => Ok(Passed::Whole(left_out)),
            End::Wrong(code, message) => Err(Error::new(Code::from_text(&code), message)),
            End::Again(complete, unified) => {
                let mut again = self.known.with_head((complete, unified));
                for name in self.names.chunks(NAME_BYTES) {
                    let name = name.try_into().map_err(|_| strange())?;
                    if !again.add_name(name) {
                        return Err(strange());
                    }
                }
                Ok(Passed::Again(again))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frames: &[(u8, &[u8])], piece: usize) -> (Vec<u8>, std::result::Result<Passed, String>) {
        let mut bytes = Vec::new();
        for (kind, content) in frames {
            bytes.push(*kind);
            bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
            bytes.extend_from_slice(content);
        }
        let (mut out, known) = (Vec::new(), Known::default());
        let mut reading = Reading {
            sink: &mut out,
            known: &known,
            names: Vec::new(),
            head: Vec::new(),
            left: 0,
            end: Vec::new(),
        };
        let taken = bytes.chunks(piece).try_for_each(|part| reading.take(part));
        let passed = taken.and_then(|()| reading.passed()).map_err(Error::into_message);
        (out, passed)
    }

    #[test]
    fn frames_are_read_however_they_come_and_whatever_a_captured_reader_says() {
        let whole: &[u8] = br#"{"Whole":{"acls":1,"xattrs":0}}"#;
        let again: &[u8] = br#"{"Again":[true,false]}"#;
        let mut name = [7; NAME_BYTES];
        name[NAME_BYTES - 1] = 1;
        for piece in [1, 3, 5, 1000] {
            let (out, passed) = read(&[(STREAM, b"ab"), (STREAM, b"c"), (END, whole)], piece);
            assert_eq!(out, b"abc");
            assert!(matches!(passed, Ok(Passed::Whole(LeftOut { acls: 1, xattrs: 0 }))));
            let (_, passed) = read(&[(NAMES, &name), (END, again)], piece);
            let Ok(Passed::Again(known)) = passed else { panic!("{passed:?}") };
            assert_eq!((known.head(), known.names().collect::<Vec<_>>()), ((true, false), vec![name]));
            let wrong: &[u8] = br#"{"Wrong":["bad_image","it is damaged"]}"#;
            assert_eq!(read(&[(END, wrong)], piece).1.unwrap_err(), "it is damaged");
            for strange in [
                &[(STREAM, &b"ab"[..])][..],
                &[(b'x', b"ab"), (END, whole)],
                &[(STREAM, b""), (END, whole)],
                &[(STREAM, &[0; FRAME_MAX + 1]), (END, whole)],
                &[(END, whole), (STREAM, b"a")],
                &[(END, b"{}")],
                &[(NAMES, &name[1..]), (END, again)],
            ] {
                let said = read(strange, piece).1.unwrap_err();
                assert!(said.contains("may be an attack"), "{said}");
            }
        }
    }
}
