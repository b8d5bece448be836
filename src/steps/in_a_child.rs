//! What a stranger wrote is taken apart by a child of this program that may next to nothing: it reads its input, and says
//! in frames what it found. Whoever captures the child can say wrong things, and nothing else; so what it says is
//! checked again.
//!
//! A frame is a byte that says its kind, its length as four bytes, the lowest first, and so many bytes.

use super::ctx::Ctx;
use super::tool::{self, Pipes, RunningTool, Source, Tool};
use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::time::Duration;

/// A frame with bytes of a stream: how many make one is of no meaning.
pub const STREAM: u8 = b's';
/// What is wrong with the input: a [`Wrong`] as JSON, and the last frame.
const WRONG: u8 = b'w';
/// All was said: the last frame, with nothing in it.
const DONE: u8 = b'.';

/// Bytes of a frame's content at most: an extended attribute's name and its value, and some more.
const FRAME_MAX: usize = (1 << 20) + (64 << 10);
/// Bytes of a stream that go together.
const CHUNK: usize = 64 << 10;
const HEAD: usize = 5;

/// An error on its way: its code and its words.
#[derive(Serialize, Deserialize)]
struct Wrong(String, String);

/// The child's output.
pub struct Frames {
    output: BufWriter<File>,
    /// Of the stream, not written yet.
    stream: Vec<u8>,
}

impl Frames {
    /// Says a frame.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn say(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        let stream = std::mem::take(&mut self.stream);
        if !stream.is_empty() {
            self.write(STREAM, &stream)?;
        }
        self.stream = stream;
        self.stream.clear();
        self.write(kind, content)
    }

    /// Says `content` as JSON.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn say_json(&mut self, kind: u8, content: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(content).map_err(|e| Error::new(Code::Failed, e.to_string()))?;
        self.say(kind, &json)
    }

    /// Says `data` in [`STREAM`] frames, together with what comes before and behind.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn stream(&mut self, data: &[u8]) -> Result<()> {
        for part in data.chunks(CHUNK) {
            if self.stream.len() + part.len() > CHUNK {
                let full = std::mem::take(&mut self.stream);
                self.write(STREAM, &full)?;
                self.stream = full;
                self.stream.clear();
            }
            self.stream.extend_from_slice(part);
        }
        Ok(())
    }

    fn write(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        let [a, b, c, d] = (content.len() as u32).to_le_bytes();
        let written =
            self.output.write_all(&[kind, a, b, c, d]).and_then(|()| self.output.write_all(content));
        written.map_err(|e| Error::os("cannot say what was found", e))
    }
}

/// The child's input.
struct Input(File);

impl Source for Input {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(|e| Error::os("cannot read the input", e))
    }
}

/// Has a child, called `name` in messages, do `work` with what is in `source` within `limit`, and shows each frame that it
/// says to `take`, until that returns false: then the rest does not matter.
///
/// # Errors
/// That of `work` by its code and its words, that of `source`, that of `take`, [`strange`]; the child's end where it said
/// nothing of it.
pub fn in_a_child(
    ctx: &Ctx,
    name: &str,
    limit: Duration,
    source: &mut dyn Source,
    work: impl Fn(&mut dyn Source, &mut Frames) -> Result<()> + Send + Sync + 'static,
    take: &mut dyn FnMut(u8, &[u8]) -> Result<bool>,
) -> Result<()> {
    let mut command = Tool::worker(name, move |input, output| {
        let mut frames =
            Frames { output: BufWriter::with_capacity(CHUNK, output), stream: Vec::with_capacity(CHUNK) };
        let said = match work(&mut Input(input), &mut frames) {
            Ok(()) => frames.say(DONE, b""),
            Err(e) => frames.say_json(WRONG, &Wrong(e.code.as_str().to_string(), e.into_message())),
        };
        said.is_ok() && frames.output.flush().is_ok()
    });
    let mut child = RunningTool::start(&mut command, Pipes { stdin: true, stdout: true }, ctx, limit)?;
    let (mut listener, mut chunk) = (Listener::default(), vec![0; CHUNK]);
    loop {
        let got = child.read_feeding(source, &mut chunk)?;
        if got == 0 {
            break;
        }
        if !listener.hear(&chunk[..got], take)? {
            return Ok(());
        }
    }
    let output = child.end()?;
    match listener.is_done && output.status.success() {
        true => Ok(()),
        false => Err(tool::failure(name, output.status, &output.stderr)),
    }
}

/// The child says what it would never say by itself.
pub fn strange() -> Error {
    Error::new(
        Code::Failed,
        "who reads what comes from outside says what it never says: the file may be an attack",
    )
}

/// What was heard of a frame that has not ended.
#[derive(Default)]
struct Listener {
    head: Vec<u8>,
    /// Bytes of its content to come.
    left: usize,
    /// Its content so far, but for a stream's.
    content: Vec<u8>,
    /// The last frame came.
    is_done: bool,
}

impl Listener {
    /// Takes what came; false when no more is wanted.
    fn hear(&mut self, mut data: &[u8], take: &mut dyn FnMut(u8, &[u8]) -> Result<bool>) -> Result<bool> {
        while !data.is_empty() {
            if self.is_done {
                return Err(strange());
            }
            if self.head.len() < HEAD {
                let (head, rest) = data.split_at(data.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                data = rest;
                let [_, a, b, c, d] = self.head[..] else { continue };
                self.left = u32::from_le_bytes([a, b, c, d]) as usize;
                if self.left > FRAME_MAX {
                    return Err(strange());
                }
            }
            let (content, rest) = data.split_at(data.len().min(self.left));
            data = rest;
            self.left -= content.len();
            let kind = self.head[0];
            if kind == STREAM {
                if !content.is_empty() && !take(kind, content)? {
                    return Ok(false);
                }
            } else {
                self.content.extend_from_slice(content);
            }
            if self.left > 0 {
                continue;
            }
            self.head.clear();
            let content = std::mem::take(&mut self.content);
            match kind {
                STREAM => {}
                DONE if content.is_empty() => self.is_done = true,
                WRONG => {
                    let Wrong(code, message) = serde_json::from_slice(&content).map_err(|_| strange())?;
                    return Err(Error::new(Code::from_text(&code), message));
                }
                _ if !take(kind, &content)? => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heard = Vec<(u8, Vec<u8>)>;

    fn hear(bytes: &[u8], piece: usize) -> (Heard, std::result::Result<bool, String>) {
        let (mut heard, mut listener) = (Vec::new(), Listener::default());
        let mut take = |kind: u8, content: &[u8]| {
            match heard.last_mut() {
                Some((STREAM, all)) if kind == STREAM => Vec::extend_from_slice(all, content),
                _ => heard.push((kind, content.to_vec())),
            }
            Ok(content != b"enough")
        };
        let mut end = Ok(true);
        for part in bytes.chunks(piece) {
            end = listener.hear(part, &mut take).map_err(Error::into_message);
            if end != Ok(true) {
                break;
            }
        }
        if end == Ok(true) && !listener.is_done {
            end = Err("not done".to_string());
        }
        (heard, end)
    }

    fn frames(several: &[(u8, &[u8])]) -> Vec<u8> {
        let frame = |(kind, content): &(u8, &[u8])| {
            [&[*kind], &(content.len() as u32).to_le_bytes()[..], content].concat()
        };
        several.iter().flat_map(frame).collect()
    }

    #[test]
    fn frames_are_heard_however_they_come_and_whatever_a_captured_reader_says() {
        let done: (u8, &[u8]) = (DONE, b"");
        for piece in [1, 3, 5, 6, 1000] {
            let said =
                frames(&[(STREAM, b"ab"), (STREAM, b""), (STREAM, b"c"), (b'x', b"d"), (b'y', b""), done]);
            let heard: [(u8, Vec<u8>); 3] =
                [(STREAM, b"abc".into()), (b'x', b"d".into()), (b'y', b"".into())];
            assert_eq!(hear(&said, piece), (heard.to_vec(), Ok(true)));
            let said = frames(&[(b'x', b"enough"), (b'y', b"more"), done]);
            assert_eq!(hear(&said, piece), (vec![(b'x', b"enough".to_vec())], Ok(false)));
            let wrong: &[u8] = br#"["bad_image","it is damaged"]"#;
            assert_eq!(hear(&frames(&[(WRONG, wrong), done]), piece).1, Err("it is damaged".to_string()));
            assert_eq!(hear(&frames(&[(b'x', b"cut")])[..7], piece).1, Err("not done".to_string()));
            let large = [b'x', 0xff, 0xff, 0xff, 0xff];
            for odd in [&large[..], &frames(&[done, (b'x', b"")]), &frames(&[(WRONG, b"{}")])] {
                let said = hear(odd, piece).1.unwrap_err();
                assert!(said.contains("may be an attack"), "{said}");
            }
        }
    }

    struct Bytes<'a>(&'a [u8]);

    impl Source for Bytes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            Ok(self.0.read(buffer).unwrap())
        }
    }

    #[test]
    fn a_child_says_what_it_found_and_what_is_wrong() {
        let ctx = Ctx::silent().unwrap();
        let limit = Duration::from_secs(60);
        let (input, mut heard, mut end) = (vec![7; 300_000], Vec::new(), Vec::new());
        let copy = |source: &mut dyn Source, frames: &mut Frames| {
            let mut chunk = [0; 1000];
            loop {
                match source.read(&mut chunk)? {
                    0 => return frames.say_json(b'x', &"end"),
                    got => frames.stream(&chunk[..got])?,
                }
            }
        };
        in_a_child(&ctx, "copy", limit, &mut Bytes(&input), copy, &mut |kind, content| {
            if kind == STREAM { &mut heard } else { &mut end }.extend_from_slice(content);
            Ok(true)
        })
        .unwrap();
        assert!(heard == input && end == br#""end""#);
        let fail = |_: &mut dyn Source, _: &mut Frames| Err(Error::new(Code::BadImage, "it is damaged"));
        let error =
            in_a_child(&ctx, "fail", limit, &mut Bytes(&input), fail, &mut |_, _| Ok(true)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::BadImage, "it is damaged"));
        // It does not have to be read to its end.
        let talk = |_: &mut dyn Source, frames: &mut Frames| loop {
            frames.say(b'x', b"")?;
        };
        in_a_child(&ctx, "talk", limit, &mut Bytes(&input), talk, &mut |_, _| Ok(false)).unwrap();
    }
}
