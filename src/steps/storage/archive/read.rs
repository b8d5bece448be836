//! Takes a container's archive apart, in a child that may next to nothing, and says what is in it: its manifest, then of
//! each entry of the layer its names and attributes, what it is, and its data.

use super::super::super::image::tar::{
    check_sum, device, number, path_of, pax_records, shown, size_of_entry, BLOCK, MANIFEST,
};
use super::super::super::image::{bad, hex, Input};
use super::super::tree::Node;
use super::super::Record;
use super::{plain, travels, Manifest, CHUNK, SMALL_MAX, VERSION, XATTRS_OF_ONE};
use crate::error::{Code, Error, Result};
use crate::model::image::parse_sha256;
use crate::steps::ctx::Ctx;
use crate::steps::in_a_child::{in_a_child, strange, Frames, STREAM};
use crate::steps::outside::HostFile;
use crate::steps::tool::Source;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tar::{EntryType, Header};

/// An archive of a full disk, from a slow one.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A frame with the [`Manifest`], as JSON: the first one.
const WHOLE: u8 = b'm';
/// A frame with the path of the entry to come.
const PATH: u8 = b'p';
/// A frame with the target of its link.
const LINK: u8 = b'l';
/// A frame with one of its extended attributes: the name, a NUL, the value.
const XATTR: u8 = b'x';
/// A frame with the rest of an entry, a [`Rest`] as JSON.
const REST: u8 = b'e';
/// A frame with the place in the file at which the data behind it goes on, as eight bytes, the lowest first.
const PIECE: u8 = b'd';

/// What the child says.
pub(super) enum Said<'a> {
    /// The manifest: first of all.
    Manifest(Box<Manifest>),
    /// An entry below `layer/`, and its path there.
    Entry(Entry),
    /// Where the data to come belongs in the file that was said last.
    Piece(u64),
    /// Data.
    Data(&'a [u8]),
}

/// An entry of an archive.
pub(super) struct Entry {
    /// Its path below the layer.
    pub path: Vec<u8>,
    /// What it is, as the archive has it.
    pub kind: EntryType,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// All else of the file, with the guest's own ids.
    pub node: Node,
    /// Bytes of its extended attributes that were heard.
    xattr_bytes: usize,
    /// Bytes of its data in the archive.
    pub size: u64,
    /// The length of a sparse file.
    pub real_size: Option<u64>,
}

/// What is said of an entry at last.
#[derive(Serialize, Deserialize)]
struct Rest {
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    size: u64,
    real_size: Option<u64>,
}

impl Entry {
    fn say(&self, frames: &mut Frames) -> Result<()> {
        frames.say(PATH, &self.path)?;
        frames.say(LINK, &self.link)?;
        for (name, value) in &self.node.xattrs {
            frames.say(XATTR, &[name.to_bytes_with_nul(), value].concat())?;
        }
        let Node { mode, owner, mtime, .. } = self.node;
        let kind = self.kind.as_byte();
        frames.say_json(REST, &Rest { kind, mode, owner, mtime, size: self.size, real_size: self.real_size })
    }

    /// Takes one of its extended attributes, as a frame has it.
    fn hear_xattr(&mut self, content: &[u8]) -> Result<()> {
        let name = CStr::from_bytes_until_nul(content).map_err(|_| strange())?;
        let value = content[name.count_bytes() + 1..].to_vec();
        self.xattr_bytes += content.len();
        let too_many = self.xattr_bytes > SMALL_MAX as usize || self.node.xattrs.len() == XATTRS_OF_ONE;
        if !travels(name) || too_many {
            return Err(strange());
        }
        self.node.xattrs.push((name.to_owned(), value));
        Ok(())
    }

    /// Takes the rest of it.
    fn hear_rest(&mut self, rest: Rest) -> Result<()> {
        let Rest { kind, mode, owner, mtime, size, real_size } = rest;
        self.kind = EntryType::new(kind);
        let form = form(self.kind).filter(|form| *form == mode & libc::S_IFMT);
        let sizes = [Some(size), real_size].into_iter().flatten().all(|size| i64::try_from(size).is_ok());
        if form.is_none() || !sizes || !(0..1_000_000_000).contains(&mtime.1) {
            return Err(strange());
        }
        (self.node.mode, self.node.owner, self.node.mtime) = (mode, owner, mtime);
        (self.size, self.real_size) = (size, real_size);
        self.node.target = PathBuf::from(OsStr::from_bytes(&self.link));
        Ok(())
    }
}

/// Has a child read the archive `input`, and shows `take` what is in it, until that returns false.
///
/// # Errors
/// [`Code::BadImage`], [`Code::Checksum`], [`Code::NotSupported`] when a newer cloudbox has written it; those of `take`.
pub(super) fn read(
    ctx: &Ctx,
    input: &mut Input<'_>,
    take: &mut dyn FnMut(Said<'_>) -> Result<bool>,
) -> Result<()> {
    input.check_no_image()?;
    let work = |source: &mut dyn Source, frames: &mut Frames| {
        let mut reader = Reader::of(source);
        let manifest = reader.manifest()?;
        frames.say_json(WHOLE, &manifest)?;
        if let Some((_, size)) = manifest.image {
            reader.skip(size)?;
        }
        reader.layer(frames)?;
        reader.end()
    };
    let mut entry = empty();
    in_a_child(ctx, "archive reader", LIMIT, input, work, &mut |kind, content| {
        let said = match kind {
            WHOLE => {
                let manifest: Box<Manifest> = serde_json::from_slice(content).map_err(|_| strange())?;
                parse_sha256(&manifest.record.image_sha256).map_err(|_| strange())?;
                Said::Manifest(manifest)
            }
            PATH => {
                entry.path = content.to_vec();
                return Ok(true);
            }
            LINK => {
                entry.link = content.to_vec();
                return Ok(true);
            }
            XATTR => return entry.hear_xattr(content).map(|()| true),
            REST => {
                entry.hear_rest(serde_json::from_slice(content).map_err(|_| strange())?)?;
                Said::Entry(std::mem::replace(&mut entry, empty()))
            }
            PIECE => Said::Piece(u64::from_le_bytes(content.try_into().map_err(|_| strange())?)),
            STREAM => Said::Data(content),
            _ => return Err(strange()),
        };
        take(said)
    })
}

/// What the archive `file` says of itself; its layer is not looked at.
///
/// # Errors
/// [`Code::BadImage`], [`Code::NotSupported`] when a newer cloudbox has written it, what cannot be read.
pub fn read_manifest(ctx: &Ctx, file: &HostFile) -> Result<Manifest> {
    let mut input = Input::open(ctx, file)?;
    let mut manifest = None;
    let read = read(ctx, &mut input, &mut |said| {
        if let Said::Manifest(said) = said {
            manifest = Some(*said);
        }
        Ok(false)
    });
    read.and_then(|()| manifest.ok_or_else(strange)).map_err(|e| about(file.shown(), e))
}

/// An error of the archive at `path`, which it names.
pub(super) fn about(path: &Path, mut error: Error) -> Error {
    if matches!(error.code, Code::BadImage | Code::Checksum | Code::NotSupported) {
        error.message = format!("{} cannot be imported: {}", path.display(), error.message);
    }
    error
}

/// An archive being read.
struct Reader<'a> {
    input: &'a mut dyn Source,
    /// Of all that was read.
    hash: Sha256,
    at: u64,
    /// The entry that comes next, read already.
    next: Option<Box<Entry>>,
}

/// What a manifest says of its archive, beside the members of the container's record.
#[derive(Deserialize)]
struct About {
    #[serde(rename = "cloudbox")]
    version: u64,
    /// Bytes of the image that comes along; 0 for none.
    image: u64,
    /// Bytes of the layer's files.
    bytes: u64,
}

impl<'a> Reader<'a> {
    fn of(input: &'a mut dyn Source) -> Reader<'a> {
        Reader { input, hash: Sha256::new(), at: 0, next: None }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..])? {
                0 => return Err(bad("it is cut short; copy it again")),
                got => filled += got,
            }
        }
        self.hash.update(&*buffer);
        self.at += buffer.len() as u64;
        Ok(())
    }

    /// Something small, with what fills its last block.
    fn small(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > SMALL_MAX {
            return Err(bad("it has an extended header, a manifest or a map that is too long"));
        }
        let mut data = vec![0; (size as usize).next_multiple_of(BLOCK)];
        self.read(&mut data)?;
        data.truncate(size as usize);
        Ok(data)
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut left = size.next_multiple_of(BLOCK as u64);
        while left > 0 {
            let part = left.min(CHUNK as u64) as usize;
            self.read(&mut buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    /// The next entry, its data not yet read.
    fn entry(&mut self) -> Result<Box<Entry>> {
        if let Some(entry) = self.next.take() {
            return Ok(entry);
        }
        let mut entry = Box::new(empty());
        let mut extended: u64 = 0;
        loop {
            let mut bytes = [0; BLOCK];
            self.read(&mut bytes)?;
            let header = Header::from_byte_slice(&bytes);
            if bytes == [0; BLOCK] {
                return Err(bad("it is cut short: it has no sha256 at its end; copy it again"));
            }
            check_sum(header)?;
            let size = size_of_entry(header)?;
            if header.entry_type() != EntryType::XHeader {
                read_header(header, size, &mut entry)?;
                return Ok(entry);
            }
            extended = extended.saturating_add(size);
            if extended > SMALL_MAX {
                return Err(bad("it has an entry with extended headers that are too long"));
            }
            let records = self.small(size)?;
            for record in pax_records(&records) {
                let (key, value) = record?;
                read_record(key, value, &mut entry)?;
            }
        }
    }

    /// The manifest, and where the image is.
    fn manifest(&mut self) -> Result<Manifest> {
        let none = || {
            bad("it is no archive of a container that `cloudbox export` has written; an image is taken by `cloudbox image import`")
        };
        let entry = self.entry().map_err(|e| {
            if e.code == Code::BadImage && self.at <= BLOCK as u64 {
                none()
            } else {
                e
            }
        })?;
        if entry.path != MANIFEST {
            return Err(none());
        }
        let text = self.small(entry.size)?;
        let About { version, image, bytes } = serde_json::from_slice(&text).map_err(|_| none())?;
        // First of all: a newer one's record may look different.
        if version > VERSION {
            return Err(Error::new(
                Code::NotSupported,
                format_args!("a newer cloudbox has written it (format {version}, this one reads {VERSION}); upgrade this box"),
            ));
        }
        let wrong = |why: &dyn fmt::Display| bad(format_args!("its manifest: {why}"));
        let record: Record = serde_json::from_slice(&text).map_err(|e| wrong(&e))?;
        parse_sha256(&record.image_sha256).map_err(|e| wrong(&e.message))?;
        let image = if image > 0 {
            let entry = self.entry()?;
            if entry.path != b"image.squashfs" || entry.size != image {
                return Err(bad("its image is not what its manifest says"));
            }
            Some((self.at, image))
        } else {
            None
        };
        Ok(Manifest { record, image, bytes })
    }

    /// Says all entries below `layer/`.
    fn layer(&mut self, frames: &mut Frames) -> Result<()> {
        loop {
            let mut entry = self.entry()?;
            let Some(path) = entry.path.strip_prefix(b"layer/") else {
                self.next = Some(entry);
                return Ok(());
            };
            entry.path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
            entry.say(frames)?;
            if entry.kind == EntryType::Regular {
                self.content(&entry, frames)?;
            }
        }
    }

    /// Says an entry's data, piece by piece.
    fn content(&mut self, entry: &Entry, frames: &mut Frames) -> Result<()> {
        let mut pieces = vec![(0, entry.size)];
        let mut total = entry.size;
        if entry.real_size.is_some() {
            let begun = self.at;
            pieces = self.map(entry.size)?;
            let map = self.at - begun;
            total =
                entry.size.checked_sub(map).ok_or_else(|| bad("it has a sparse file without its data"))?;
        }
        let end = entry.real_size.unwrap_or(entry.size);
        let mut buffer = vec![0; CHUNK];
        let mut read = 0;
        for (start, length) in pieces {
            if start.checked_add(length).is_none_or(|stop| stop > end) || length > total - read {
                return Err(bad("it has a sparse file with pieces outside of it"));
            }
            frames.say(PIECE, &start.to_le_bytes())?;
            let mut left = length;
            while left > 0 {
                let part = left.min(CHUNK as u64) as usize;
                self.read(&mut buffer[..part])?;
                frames.stream(&buffer[..part])?;
                left -= part as u64;
            }
            read += length;
        }
        if read != total {
            return Err(bad("it has a sparse file with more data than pieces"));
        }
        let over = (entry.size % BLOCK as u64) as usize;
        self.read(&mut buffer[..(BLOCK - over) % BLOCK])
    }

    /// The map before a sparse file's data: how many pieces there are, and where each begins and how long it is.
    fn map(&mut self, size: u64) -> Result<Vec<(u64, u64)>> {
        let wrong = || bad("it has a sparse file with a damaged map");
        let mut numbers: Vec<u64> = Vec::new();
        let (mut number, mut digits, mut read) = (0_u64, 0, 0);
        let wanted =
            |numbers: &[u64]| numbers.first().map_or(1, |count| count.saturating_mul(2).saturating_add(1));
        while (numbers.len() as u64) < wanted(&numbers) {
            let mut block = [0; BLOCK];
            read += BLOCK as u64;
            if read > size || read > SMALL_MAX {
                return Err(wrong());
            }
            self.read(&mut block)?;
            for byte in block {
                if (numbers.len() as u64) == wanted(&numbers) {
                    break;
                }
                match byte {
                    b'0'..=b'9' if digits < 19 => {
                        number = number * 10 + u64::from(byte - b'0');
                        digits += 1;
                    }
                    b'\n' if digits > 0 => {
                        numbers.push(number);
                        (number, digits) = (0, 0);
                    }
                    _ => return Err(wrong()),
                }
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// The sha256 at the end, and nothing behind it.
    fn end(&mut self) -> Result<()> {
        let entry = self.entry()?;
        if entry.path != b"sha256" || entry.size != 64 {
            return Err(bad(format_args!("it has an entry {} that is not known", shown(&entry.path))));
        }
        let is = hex(&self.hash.clone().finalize());
        let told = self.small(64)?;
        if told != is.as_bytes() {
            return Err(Error::new(
                Code::Checksum,
                format_args!("its sha256 is {is}, it says {}; copy it again", shown(&told)),
            ));
        }
        let mut rest = vec![0; CHUNK];
        loop {
            match self.input.read(&mut rest)? {
                0 => return Ok(()),
                got if rest[..got].iter().all(|b| *b == 0) => {}
                _ => return Err(bad("it has data behind its end")),
            }
        }
    }
}

fn empty() -> Entry {
    Entry {
        path: Vec::new(),
        kind: EntryType::Regular,
        link: Vec::new(),
        node: plain(),
        xattr_bytes: 0,
        size: 0,
        real_size: None,
    }
}

/// Takes an extended header's record.
fn read_record(key: &[u8], value: &[u8], entry: &mut Entry) -> Result<()> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let wrong = || bad(format_args!("it has a {} that is no number", shown(key)));
    match key {
        b"path" | b"GNU.sparse.name" => entry.path = value.to_vec(),
        b"linkpath" => entry.link = value.to_vec(),
        b"GNU.sparse.realsize" => {
            let size: u64 = number(value).ok_or_else(wrong)?;
            entry.real_size = Some(size).filter(|size| i64::try_from(*size).is_ok());
            entry.real_size.ok_or_else(wrong)?;
        }
        b"mtime" => {
            let text = std::str::from_utf8(value).map_err(|_| wrong())?;
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let nanoseconds = fraction.parse().ok().filter(|n| (0..1_000_000_000).contains(n));
            entry.node.mtime = (seconds.parse().map_err(|_| wrong())?, nanoseconds.ok_or_else(wrong)?);
        }
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                let name = CString::new(name).map_err(|_| wrong())?;
                if !travels(&name) {
                    return Err(bad(format_args!("it has an extended attribute {}", shown(key))));
                }
                if entry.node.xattrs.len() == XATTRS_OF_ONE {
                    return Err(bad("it has an entry with too many extended attributes"));
                }
                entry.node.xattrs.push((name, value.to_vec()));
            }
        }
    }
    Ok(())
}

/// The type of what a kind of entry makes, as in `st_mode`. A character device is a removed file of the image.
fn form(kind: EntryType) -> Option<u32> {
    Some(match kind {
        EntryType::Regular | EntryType::Link => libc::S_IFREG,
        EntryType::Directory => libc::S_IFDIR,
        EntryType::Symlink => libc::S_IFLNK,
        EntryType::Fifo => libc::S_IFIFO,
        EntryType::Char => libc::S_IFCHR,
        _ => return None,
    })
}

/// Takes what the header itself says; an extended one before it goes first.
fn read_header(header: &Header, size: u64, entry: &mut Entry) -> Result<()> {
    if entry.path.is_empty() {
        entry.path = path_of(header);
    }
    if entry.link.is_empty() {
        entry.link = header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
    }
    let kind = header.entry_type();
    let fields = header.as_old();
    let number = |field: &[u8]| match number(field) {
        Some(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        None => Err(bad(format_args!("its entry {} has a damaged header", shown(&entry.path)))),
    };
    let mode = number(&fields.mode)? & 0o7777;
    entry.node.owner = (number(&fields.uid)?, number(&fields.gid)?);
    // A removed file of the image is a character device with the number 0:0, and no device at all.
    let whiteout = || device(header) == (Some(0), Some(0));
    if matches!(kind, EntryType::Char | EntryType::Block) && !(kind == EntryType::Char && whiteout()) {
        return Err(bad(format_args!("its entry {} is a device node", shown(&entry.path))));
    }
    let Some(form) = form(kind) else {
        return Err(bad(format_args!("its entry {} is of an unknown type", shown(&entry.path))));
    };
    if size > 0 && kind != EntryType::Regular {
        return Err(bad(format_args!("its entry {} is no file and has data", shown(&entry.path))));
    }
    (entry.kind, entry.size, entry.node.mode) = (kind, size, form | mode);
    entry.node.target = PathBuf::from(OsStr::from_bytes(&entry.link));
    Ok(())
}
