//! Archives of containers: one tar file with all that another box needs.
//!
//! `manifest.json` comes first: a line of numbers (the format's version, the bytes of the image and of the layer) and
//! the container's record. Then `image.squashfs`, if it comes along, the layer below `layer/` with the guest's own ids,
//! and `sha256`: that of everything before its content. It is a tar that others read: attributes are SCHILY.xattr
//! records, sparse files GNU's of format 1.0.
//!
//! What is read is not to be trusted. Entries are made in the directories that they were preceded by, as a walk holds
//! them: no name is walked, so that none leads outside.

use super::super::image::tar::{
    check_path, check_sum, device, number, path_of, pax_records, record, shown, size_of_entry, Plain, BEGIN,
    BLOCK, MANIFEST,
};
use super::super::image::{bad, hex, Input};
use super::encode;
use super::guest::SECRETS;
use super::tree::{next_data, Node, Progress, Shift};
use super::Record;
use crate::error::{Code, Error, Result};
use crate::model::idrange::SIZE;
use crate::model::image::parse_sha256;
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::{open_regular, read_file};
use crate::steps::outside::HostFile;
use crate::steps::tool::Source;
use crate::steps::walk::{self, at, mounted, open_dir, walk, Descent, Moved, Seen, What, PATH_MAX};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// The format that is written, and the newest that is read.
const VERSION: u64 = 1;
/// The longest manifest, extended header or map of a sparse file: an extended attribute has at most 65,536 bytes.
const SMALL_MAX: u64 = 1 << 20;
/// The most pieces of a sparse file that are written as such; the rest is one piece, holes and all.
const PIECES: usize = 4096;
/// Bytes copied at once.
const CHUNK: usize = 64 << 10;
/// Bytes of a name in an archive: what a walk remembers, and `layer/` in front.
const NAME_BYTES: u64 = PATH_MAX as u64 + 6;
/// Bytes of the extended attributes of directories one in another, which are kept until they are left.
const XATTRS_MAX: usize = 4 << 20;
/// The guest's id of what belongs to none of its users.
const NOBODY: u32 = 65534;
/// What an entry takes of the disk beside its data.
const ENTRY: u64 = 4096;

/// What an archive says of itself, in its first entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The record of the container that was exported.
    pub record: Record,
    /// Where its image begins in the archive, and its bytes; None when it did not come along.
    pub image: Option<(u64, u64)>,
    /// Bytes that its layer takes on the disk.
    pub bytes: u64,
}

/// Whether an extended attribute means the same on another box.
fn travels(name: &CStr) -> bool {
    let name = name.to_bytes();
    let known: [&[u8]; 3] = [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];
    known.contains(&name) || name.starts_with(b"user.") || name.starts_with(b"trusted.overlay.")
}

/// Whether a path of a layer is that of what the container was given to keep.
fn is_secret(path: &[u8]) -> bool {
    let rest = path.strip_prefix(SECRETS.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// An archive being written.
pub struct Writer<'a, 'p> {
    file: File,
    path: &'a Path,
    hash: Sha256,
    /// Bytes that may still be written.
    left: u64,
    /// Extended attributes that do not come along.
    left_out: u64,
    /// What the container was given to keep comes along.
    secrets: bool,
    progress: &'a mut Progress<'p>,
}

impl<'a, 'p> Writer<'a, 'p> {
    /// Begins with the manifest; `image` is the size of the one that comes along, or 0.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(
        file: File,
        path: &'a Path,
        record: &[u8],
        image: u64,
        bytes: u64,
        progress: &'a mut Progress<'p>,
    ) -> Result<Writer<'a, 'p>> {
        let mut writer =
            Writer { file, path, hash: Sha256::new(), left: u64::MAX, left_out: 0, secrets: false, progress };
        let mut manifest = format!("{BEGIN}{VERSION},\"image\":{image},\"bytes\":{bytes},").into_bytes();
        // The record is an object of its own.
        manifest.extend_from_slice(record.strip_prefix(b"{").unwrap_or(record));
        writer.member(MANIFEST, &manifest)?;
        Ok(writer)
    }

    /// Lets it have `bytes` more: files with long paths take more room in an archive than on the disk.
    pub fn limit(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Lets what the container was given to keep come along.
    pub fn with_secrets(&mut self, secrets: bool) {
        self.secrets = secrets;
    }

    fn put(&mut self, data: &[u8]) -> Result<()> {
        self.left = self.left.checked_sub(data.len() as u64).ok_or_else(|| {
            Error::new(
                Code::NoSpace,
                format_args!(
                    "{} becomes larger than there is room for; free some space",
                    self.path.display()
                ),
            )
        })?;
        self.hash.update(data);
        self.file.write_all(data).map_err(|e| Error::io("cannot write", self.path, e))
    }

    fn member(&mut self, name: &[u8], content: &[u8]) -> Result<()> {
        self.header(EntryType::Regular, name, b"", &plain(), content.len() as u64, Vec::new())?;
        self.put(content)?;
        self.pad(content.len() as u64)
    }

    /// Fills the last block of something of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<()> {
        let over = (size % BLOCK as u64) as usize;
        self.put(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    /// Writes an entry's header, with an extended one before it where that is needed.
    fn header(
        &mut self,
        kind: EntryType,
        path: &[u8],
        link: &[u8],
        node: &Node,
        size: u64,
        records: Vec<u8>,
    ) -> Result<()> {
        let plain = Plain {
            kind,
            path,
            link,
            mode: node.mode,
            owner: node.owner,
            mtime: u64::try_from(node.mtime.0).unwrap_or(0),
            size,
        };
        self.put(&plain.to_bytes(records))
    }

    /// Adds the image, a file of `size` bytes.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn image(&mut self, path: &Path, size: u64) -> Result<()> {
        self.header(EntryType::Regular, b"image.squashfs", b"", &plain(), size, Vec::new())?;
        let file = open_regular(path).map_err(|e| Error::io("cannot read", path, e))?;
        self.data(&file, path, &[(0, size)])?;
        self.pad(size)
    }

    fn data(&mut self, file: &File, path: &Path, pieces: &[(u64, u64)]) -> Result<()> {
        let failed = |e: io::Error| Error::io("cannot read", path, e);
        let mut buffer = vec![0; CHUNK];
        for (start, end) in pieces {
            let mut at = *start;
            while at < *end {
                let want = (end - at).min(CHUNK as u64) as usize;
                file.read_exact_at(&mut buffer[..want], at).map_err(failed)?;
                self.put(&buffer[..want])?;
                self.progress.add(want as u64)?;
                at += want as u64;
            }
        }
        Ok(())
    }

    /// Adds the layer at `root`, whose guest's ids begin with `base`. `links` is a directory to be made and removed.
    ///
    /// # Errors
    /// What cannot be read or written, [`Code::Cancelled`], [`Code::NotSupported`] for a path that no archive holds.
    pub fn layer(&mut self, root: &Path, base: u32, links: &Path) -> Result<()> {
        fs::create_dir(links).map_err(|e| Error::io("cannot make", links, e))?;
        let shift = Shift { from: base, to: 0 };
        walk(root, Moved::Fails, &mut |seen| {
            self.progress.add(0)?;
            let (What::Directory(meta) | What::File(meta)) = &seen.what else {
                return if matches!(seen.what, What::Mount) { Err(mounted(&seen.shown())) } else { Ok(()) };
            };
            let Some(path) = seen.path() else {
                return Err(Error::new(
                    Code::NotSupported,
                    format_args!(
                        "{}: its path has more than {PATH_MAX} bytes, and no archive holds that; remove it first",
                        seen.shown().display()
                    ),
                ));
            };
            if !self.secrets && is_secret(path) {
                return Ok(());
            }
            self.node(seen, &[b"layer/", path].concat(), meta, shift, links)
        })?;
        walk::remove(links)
    }

    fn node(
        &mut self,
        seen: &Seen<'_>,
        name: &[u8],
        meta: &fs::Metadata,
        shift: Shift,
        links: &Path,
    ) -> Result<()> {
        let failed = |e: io::Error| Error::io("cannot read", &seen.shown(), e);
        let mut node = Node::read(&seen.at(), meta, shift).map_err(failed)?;
        if !meta.is_dir() && meta.nlink() > 1 {
            let link = links.join(meta.ino().to_string());
            match first_name(&link) {
                Some(first) => return self.header(EntryType::Link, name, &first, &node, 0, Vec::new()),
                None => note_first_name(&link, name).map_err(failed)?,
            }
        }
        let all = node.xattrs.len();
        node.xattrs.retain(|(name, _)| travels(name));
        self.left_out += (all - node.xattrs.len()) as u64;
        if node.kind() != libc::S_IFCHR {
            // What none of its users owns is nobody's in the guest.
            let of_guest =
                |on_disk: u32, id: u32| if on_disk.wrapping_sub(shift.from) < SIZE { id } else { NOBODY };
            node.owner = (of_guest(meta.uid(), node.owner.0), of_guest(meta.gid(), node.owner.1));
        }
        let mut records = Vec::new();
        record(&mut records, b"mtime", format!("{}.{:09}", node.mtime.0, node.mtime.1).as_bytes());
        for (key, value) in &node.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", key.to_bytes()].concat(), value);
        }
        let target = node.target.as_os_str().as_bytes();
        match node.kind() {
            libc::S_IFREG => self.file(seen, name, &node, records),
            libc::S_IFDIR => self.header(EntryType::Directory, name, b"", &node, 0, records),
            libc::S_IFLNK => self.header(EntryType::Symlink, name, target, &node, 0, records),
            libc::S_IFIFO => self.header(EntryType::Fifo, name, b"", &node, 0, records),
            libc::S_IFCHR if node.device == 0 => self.header(EntryType::Char, name, b"", &node, 0, records),
            // A socket is made anew by who listens; a guest makes no device nodes.
            _ => Ok(()),
        }
    }

    fn file(&mut self, seen: &Seen<'_>, name: &[u8], node: &Node, mut records: Vec<u8>) -> Result<()> {
        let failed = |e: io::Error| Error::io("cannot read", &seen.shown(), e);
        let file = seen.open().map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let mut end = 0;
        while let Some((start, stop)) = next_data(&file, end).map_err(failed)?.filter(|(at, _)| *at < length)
        {
            end = if pieces.len() + 1 < PIECES { stop.min(length) } else { length };
            pieces.push((start, end));
        }
        let data: u64 = pieces.iter().map(|(start, end)| end - start).sum();
        if data == length {
            self.header(EntryType::Regular, name, b"", node, length, records)?;
            self.data(&file, &seen.shown(), &[(0, length)])?;
            return self.pad(length);
        }
        // Others take the end of the last piece for that of the file.
        pieces.push((length, length));
        let mut map = format!("{}\n", pieces.len());
        for (start, end) in &pieces {
            map.push_str(&format!("{start}\n{}\n", end - start));
        }
        let mut map = map.into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", name);
        record(&mut records, b"GNU.sparse.realsize", length.to_string().as_bytes());
        let size = map.len() as u64 + data;
        self.header(EntryType::Regular, name, b"", node, size, records)?;
        self.put(&map)?;
        self.data(&file, &seen.shown(), &pieces)?;
        self.pad(size)
    }

    /// Ends it with its sha256, and flushes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(mut self) -> Result<()> {
        self.header(EntryType::Regular, b"sha256", b"", &plain(), 64, Vec::new())?;
        let sha256 = hex(&self.hash.finalize_reset());
        self.put(sha256.as_bytes())?;
        self.pad(64)?;
        self.put(&[0; 2 * BLOCK])?;
        if self.left_out > 0 {
            let left_out = self.left_out;
            self.progress
                .note(format!("{left_out} extended attributes left out: they mean nothing on another box"));
        }
        self.file.sync_all().map_err(|e| Error::io("cannot flush", self.path, e))
    }
}

/// The first name of a file with several, as [`note_first_name`] has kept it at `link`.
fn first_name(link: &Path) -> Option<Vec<u8>> {
    match fs::read_link(link) {
        Ok(name) => Some(name.into_os_string().into_vec()),
        Err(_) => read_file(link, NAME_BYTES).ok(),
    }
}

/// Keeps the first name of a file as a link that nobody follows, which takes no room; the longest as a file.
fn note_first_name(link: &Path, name: &[u8]) -> io::Result<()> {
    match std::os::unix::fs::symlink(OsStr::from_bytes(name), link) {
        Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => fs::write(link, name),
        noted => noted,
    }
}

/// The owner, mode and time of entries that are no files of the guest.
fn plain() -> Node {
    Node {
        mode: libc::S_IFREG | 0o600,
        owner: (0, 0),
        mtime: (0, 0),
        device: 0,
        target: PathBuf::new(),
        xattrs: Vec::new(),
    }
}

/// What the archive `file` says of itself; its layer is not looked at.
///
/// # Errors
/// [`Code::BadImage`], [`Code::NotSupported`] when a newer cloudbox has written it, what cannot be read.
pub fn read_manifest(ctx: &Ctx, file: &HostFile) -> Result<Manifest> {
    let mut input = Input::open(ctx, file)?;
    let read = input.check_no_image().and_then(|()| Reader::of(&mut input).manifest());
    read.map_err(|e| about(file.shown(), e))
}

/// Unpacks the layer of the archive `file` into the empty directory `upper`, for a guest whose ids begin with
/// `base`. It may take `left` bytes. `manifest` is what was read of it before.
///
/// # Errors
/// [`Code::BadImage`], [`Code::Checksum`], [`Code::NoSpace`], [`Code::Cancelled`], what cannot be written.
pub fn unpack(
    ctx: &Ctx,
    file: &HostFile,
    manifest: &Manifest,
    upper: &Path,
    base: u32,
    left: u64,
) -> Result<()> {
    let path = file.shown();
    let mut input = Input::open(ctx, file)?;
    let mut reader = Reader::of(&mut input);
    let unpacked = reader.manifest().and_then(|found| {
        let record = |of: &Manifest| encode(path, &of.record);
        let same = (found.image, found.bytes) == (manifest.image, manifest.bytes);
        if !same || record(&found)? != record(manifest)? {
            return Err(bad("it has changed meanwhile; import it when it is complete"));
        }
        if let Some((_, size)) = found.image {
            reader.skip(size)?;
        }
        reader.layer(upper, base, left)
    });
    unpacked.and_then(|()| reader.end()).map_err(|e| about(path, e))
}

fn about(path: &Path, mut error: Error) -> Error {
    if matches!(error.code, Code::BadImage | Code::Checksum | Code::NotSupported) {
        error.message = format!("{} cannot be imported: {}", path.display(), error.message);
    }
    error
}

/// An entry of an archive.
struct Entry {
    path: Vec<u8>,
    kind: EntryType,
    link: Vec<u8>,
    node: Node,
    size: u64,
    /// The length of a sparse file.
    real_size: Option<u64>,
}

/// An archive being read.
struct Reader<'a, 'c> {
    input: &'a mut Input<'c>,
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

impl<'a, 'c> Reader<'a, 'c> {
    fn of(input: &'a mut Input<'c>) -> Reader<'a, 'c> {
        Reader { input, at: 0, next: None }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..])? {
                0 => return Err(bad("it is cut short; copy it again")),
                got => filled += got,
            }
        }
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

    /// All entries below `layer/`.
    fn layer(&mut self, upper: &Path, base: u32, mut left: u64) -> Result<()> {
        let failed = |e: io::Error| Error::io("cannot open", upper, e);
        let root = File::open(upper).map_err(failed)?;
        let mut open = None;
        loop {
            let mut entry = self.entry()?;
            let Some(path) = entry.path.strip_prefix(b"layer/") else {
                self.next = Some(entry);
                break;
            };
            entry.path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
            let taken = entry.size.saturating_add(ENTRY);
            left = left.checked_sub(taken).ok_or_else(|| {
                Error::new(
                    Code::NoSpace,
                    "the container unpacks to more than there is room for; free some space",
                )
            })?;
            prepare(&mut entry, base).map_err(|why| refused(&entry, &why))?;
            match &mut open {
                Some(open) => self.add(&entry, open, &root, upper)?,
                None if !entry.path.is_empty() => return Err(refused(&entry, "comes without its directory")),
                None if entry.kind != EntryType::Directory => return Err(refused(&entry, "is no directory")),
                None => {
                    let descent = root.try_clone().and_then(Descent::new).map_err(failed)?;
                    let mut begun = Unfinished { descent, path: Vec::new(), nodes: Vec::new(), xattrs: 0 };
                    begun.push(entry.node).map_err(bad)?;
                    open = Some(begun);
                }
            }
        }
        let Some(mut open) = open else { return Err(bad("it has no layer")) };
        while !open.nodes.is_empty() {
            open.close(upper)?;
        }
        Ok(())
    }

    /// Makes `entry` in the last directory of `open` that it is in, below `root`; a directory becomes the last one.
    fn add(&mut self, entry: &Entry, open: &mut Unfinished, root: &File, upper: &Path) -> Result<()> {
        let path = &entry.path;
        if path.is_empty() {
            return Err(refused(entry, "is there twice"));
        }
        check_path(path, "its name", NAME_BYTES as usize).map_err(|why| refused(entry, &why))?;
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], &path[..]),
        };
        while open.path != dir {
            // The layer itself is left last.
            if open.nodes.len() < 2 {
                return Err(refused(entry, "comes without its directory"));
            }
            open.close(upper)?;
        }
        if name.is_empty() || name == b"." {
            return Err(refused(entry, "has a name that none can have"));
        }
        let parent = open.descent.dir();
        let at = at(parent, name);
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => refused(entry, "is there twice"),
            _ => Error::io("cannot unpack", &upper.join(OsStr::from_bytes(path)), e),
        };
        match entry.kind {
            EntryType::Link => {
                let target = entry.link.strip_prefix(b"layer/").unwrap_or(b"");
                check_path(target, "the target of its hard link", NAME_BYTES as usize)
                    .map_err(|why| refused(entry, &why))?;
                return link(root, target, &at).map_err(failed);
            }
            EntryType::Directory => {
                let name = CString::new(name).map_err(|e| failed(e.into()))?;
                fs::create_dir(&at).and_then(|()| open.descent.enter(&name)).map_err(failed)?;
                open.path.clone_from(path);
                return open.push(entry.node.clone()).map_err(|why| refused(entry, why));
            }
            _ => {}
        }
        if let Some(file) = entry.node.make(&at).map_err(failed)? {
            self.content(entry, &file, &|e| {
                Error::io("cannot write", &upper.join(OsStr::from_bytes(path)), e)
            })?;
        }
        entry.node.finish(&at).map_err(failed)
    }

    /// Copies an entry's data to `file`.
    fn content(&mut self, entry: &Entry, file: &File, failed: &dyn Fn(io::Error) -> Error) -> Result<()> {
        let mut pieces = vec![(0, entry.size)];
        let mut total = entry.size;
        if let Some(real_size) = entry.real_size {
            let begun = self.at;
            pieces = self.map(entry.size)?;
            let map = self.at - begun;
            total =
                entry.size.checked_sub(map).ok_or_else(|| bad("it has a sparse file without its data"))?;
            file.set_len(real_size).map_err(failed)?;
        }
        let end = entry.real_size.unwrap_or(entry.size);
        let mut buffer = vec![0; CHUNK];
        let mut read = 0;
        for (start, length) in pieces {
            if start.checked_add(length).is_none_or(|stop| stop > end) || length > total - read {
                return Err(bad("it has a sparse file with pieces outside of it"));
            }
            let mut at = start;
            while at < start + length {
                let part = (start + length - at).min(CHUNK as u64) as usize;
                self.read(&mut buffer[..part])?;
                file.write_all_at(&buffer[..part], at).map_err(failed)?;
                at += part as u64;
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
        // Up to here all was read for the hash, and nothing more.
        let is = self.input.sha256();
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

/// The directories that the next entry may be in, each in the one before it. They get their owners and times when they
/// are left, since what is put into them changes those.
struct Unfinished {
    descent: Descent,
    /// The last one's path in the layer.
    path: Vec<u8>,
    /// All but the name, of each.
    nodes: Vec<Node>,
    /// Bytes of their attributes.
    xattrs: usize,
}

impl Unfinished {
    fn push(&mut self, node: Node) -> std::result::Result<(), &'static str> {
        self.xattrs += xattr_bytes(&node);
        if self.xattrs > XATTRS_MAX {
            return Err("and the directories that it is in have too many extended attributes");
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Leaves the last one.
    fn close(&mut self, upper: &Path) -> Result<()> {
        let Some(node) = self.nodes.pop() else { return Ok(()) };
        self.xattrs -= xattr_bytes(&node);
        let finished = node.finish(&at(self.descent.dir(), b".")).and_then(|()| self.descent.leave());
        finished.map_err(|e| Error::io("cannot unpack", &upper.join(OsStr::from_bytes(&self.path)), e))?;
        self.path.truncate(self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        Ok(())
    }
}

fn xattr_bytes(node: &Node) -> usize {
    node.xattrs.iter().map(|(name, value)| name.count_bytes() + value.len()).sum()
}

fn refused(entry: &Entry, why: &str) -> Error {
    bad(format_args!("its entry {} {why}", shown(&entry.path)))
}

/// Makes `at` another name of `target` below `root`.
fn link(root: &File, target: &[u8], at: &Path) -> io::Result<()> {
    let (dir, name) = match target.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&target[..slash], &target[slash + 1..]),
        None => (&target[..0], target),
    };
    let mut opened = root.try_clone()?;
    // Its path may be longer than a call takes.
    for part in dir.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        opened = open_dir(&opened, &CString::new(part)?)?;
    }
    fs::hard_link(walk::at(&opened, name), at)
}

fn empty() -> Entry {
    Entry {
        path: Vec::new(),
        kind: EntryType::Regular,
        link: Vec::new(),
        node: plain(),
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
                entry.node.xattrs.push((name, value.to_vec()));
            }
        }
    }
    Ok(())
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
    let form = match kind {
        EntryType::Regular | EntryType::Link => libc::S_IFREG,
        EntryType::Directory => libc::S_IFDIR,
        EntryType::Symlink => libc::S_IFLNK,
        EntryType::Fifo => libc::S_IFIFO,
        EntryType::Char if whiteout() => libc::S_IFCHR,
        EntryType::Char | EntryType::Block => {
            return Err(bad(format_args!("its entry {} is a device node", shown(&entry.path))));
        }
        _ => return Err(bad(format_args!("its entry {} is of an unknown type", shown(&entry.path)))),
    };
    if size > 0 && kind != EntryType::Regular {
        return Err(bad(format_args!("its entry {} is no file and has data", shown(&entry.path))));
    }
    (entry.kind, entry.size, entry.node.mode) = (kind, size, form | mode);
    entry.node.target = PathBuf::from(OsStr::from_bytes(&entry.link));
    Ok(())
}

/// Makes an entry one of a guest whose ids begin with `base`.
fn prepare(entry: &mut Entry, base: u32) -> std::result::Result<(), String> {
    let node = &mut entry.node;
    if node.owner.0 >= SIZE || node.owner.1 >= SIZE {
        return Err(format!("belongs to {}:{}, which no guest has", node.owner.0, node.owner.1));
    }
    // A whiteout is the kernel's, not the guest's.
    if node.kind() != libc::S_IFCHR {
        node.shift(Shift { from: 0, to: base });
    }
    if entry.kind == EntryType::Symlink && entry.link.is_empty() {
        return Err("is a symbolic link to nothing".to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{is_root, record};
    use super::super::tree::tests::{fingerprint, make_layer, BASE};
    use super::*;
    use crate::steps::image;
    use crate::testing::TempDir;

    const OTHER: u32 = BASE + 5 * SIZE;

    fn pack(dir: &Path, image: Option<&[u8]>) -> PathBuf {
        let path = dir.join("web.tar");
        let ctx = Ctx::silent().unwrap();
        let progress = &mut Progress::new(&ctx, None);
        let json = serde_json::to_vec_pretty(&record("web")).unwrap();
        let size = image.map_or(0, |image| image.len() as u64);
        let file = File::create(&path).unwrap();
        let mut writer = Writer::begin(file, &path, &json, size, 77, progress).unwrap();
        if let Some(image) = image {
            fs::write(dir.join("image"), image).unwrap();
            writer.image(&dir.join("image"), size).unwrap();
        }
        writer.layer(&dir.join("from"), BASE, &dir.join("links")).unwrap();
        writer.end().unwrap();
        path
    }

    fn unpack_at(path: &Path, to: &Path, left: u64) -> Result<()> {
        let ctx = Ctx::silent().unwrap();
        let file = &HostFile::own(path);
        let manifest = read_manifest(&ctx, file)?;
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to).unwrap();
        unpack(&ctx, file, &manifest, to, OTHER, left)
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        make_layer(&dir.path().join("from"));
        let deep = dir.path().join("from").join(vec!["directory"; 60].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "deep").unwrap();
        fs::hard_link(deep.join("file"), dir.path().join("from/near")).unwrap();
        for path in [dir.path().join("from/directory"), deep] {
            std::os::unix::fs::chown(path, Some(BASE + 3), Some(BASE + 3)).unwrap();
        }
        for image in [None, Some(&[9; 1000][..])] {
            let path = pack(dir.path(), image);
            let manifest = read_manifest(&Ctx::silent().unwrap(), &HostFile::own(&path)).unwrap();
            assert_eq!((manifest.bytes, &manifest.record), (77, &record("web")));
            if let (Some(image), Some((at, size))) = (image, manifest.image) {
                let archive = fs::read(&path).unwrap();
                assert_eq!(&archive[at as usize..(at + size) as usize], image);
            }
            assert_eq!(manifest.image.is_some(), image.is_some());
            let to = dir.path().join("to");
            unpack_at(&path, &to, u64::MAX).unwrap();
            // Root's own directories on the way are root's in both.
            let owners = |lines: Vec<String>| -> Vec<String> {
                lines.into_iter().filter(|line| !line.contains("directory/directory")).collect()
            };
            let (packed, unpacked) =
                (owners(fingerprint(&dir.path().join("from"), BASE)), owners(fingerprint(&to, OTHER)));
            for (is, was) in unpacked.iter().zip(&packed) {
                assert_eq!(is, was);
            }
            assert_eq!(unpacked.len(), packed.len());
            assert!(fs::metadata(&path).unwrap().len() < 1 << 20, "a hole takes no room");
            assert!(fs::metadata(to.join("hole")).unwrap().blocks() * 512 < 1 << 20);
        }
    }

    struct FromFile(File);

    impl Source for FromFile {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            Ok(io::Read::read(&mut self.0, buffer).unwrap())
        }
    }

    #[test]
    fn containers_and_images_are_told_from_each_other() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        make_layer(&dir.path().join("from"));
        for image in [None, Some(&[9; 1000][..])] {
            let path = pack(dir.path(), image);
            let mut out = Nowhere;
            let passed = image::tar::pass(&mut FromFile(File::open(&path).unwrap()), &mut out, None);
            let error = passed.unwrap_err();
            assert!(error.message.contains("`cloudbox import FILE NAME`"), "{error}");
        }
        let path = dir.path().join("file");
        let told = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let error = read_manifest(&Ctx::silent().unwrap(), &HostFile::own(&path)).unwrap_err();
            assert_eq!(error.code, Code::BadImage);
            assert!(error.message.starts_with(path.to_str().unwrap()), "{error}");
            error.into_message()
        };
        assert!(told(b"hsqs").contains("it is an image"));
        assert!(told(b"\x1f\x8b").contains("`gzip -d FILE`"));
        assert!(told(&block(EntryType::Regular, b"etc/passwd", b"", 0)).contains("`cloudbox image import`"));
    }

    struct Nowhere;

    impl image::tar::Sink for Nowhere {
        fn write(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_deep_layer_comes_back_whole() {
        if !is_root() {
            return;
        }
        const DEPTH: usize = 1000;
        let dir = TempDir::make();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("first"), "linked").unwrap();
        let mut descent = Descent::new(File::open(&from).unwrap()).unwrap();
        let name = CString::new("directory").unwrap();
        for _ in 0..DEPTH {
            fs::create_dir(at(descent.dir(), name.to_bytes())).unwrap();
            descent.enter(&name).unwrap();
            fs::write(at(descent.dir(), b"file"), "x").unwrap();
            fs::hard_link(at(descent.dir(), b"file"), at(descent.dir(), b"same file")).unwrap();
        }
        fs::hard_link(from.join("first"), at(descent.dir(), b"last")).unwrap();
        let seen = |root: &Path| {
            let mut seen = Vec::new();
            walk(root, Moved::Fails, &mut |entry| {
                if let What::Directory(meta) | What::File(meta) = &entry.what {
                    let links = if meta.is_dir() { 0 } else { meta.nlink() };
                    seen.push((entry.path().unwrap().to_vec(), links, meta.mode(), meta.mtime(), meta.len()));
                }
                Ok(())
            })
            .unwrap();
            seen.sort();
            seen
        };
        let to = dir.path().join("to");
        unpack_at(&pack(dir.path(), None), &to, u64::MAX).unwrap();
        assert_eq!(seen(&from).len(), 3 * DEPTH + 3);
        assert!(seen(&from) == seen(&to));
        // No archive holds what is deeper than this.
        let long = CString::new("n".repeat(255)).unwrap();
        for _ in 0..=PATH_MAX / 256 {
            fs::create_dir(at(descent.dir(), long.to_bytes())).unwrap();
            descent.enter(&long).unwrap();
        }
        let packed = std::panic::catch_unwind(|| pack(dir.path(), None));
        assert!(packed.is_err());
    }

    #[test]
    fn an_archive_does_not_outgrow_its_room() {
        let dir = TempDir::make();
        let path = dir.path().join("web.tar");
        let ctx = Ctx::silent().unwrap();
        let progress = &mut Progress::new(&ctx, None);
        let file = File::create(&path).unwrap();
        let mut writer = Writer::begin(file, &path, b"{}", 0, 0, progress).unwrap();
        writer.limit(4 * BLOCK as u64);
        let error = (0..9).try_for_each(|_| writer.member(b"name", b"content")).unwrap_err();
        assert_eq!(error.code, Code::NoSpace, "{error}");
    }

    #[test]
    fn other_programs_read_it() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        make_layer(&dir.path().join("from"));
        let path = pack(dir.path(), None);
        let to = dir.path().join("to");
        fs::create_dir(&to).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
            .arg(&to)
            .arg("-f")
            .arg(&path);
        let Ok(output) = tar.output() else {
            println!("skipped: tar is not there");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = |lines: Vec<String>| -> Vec<String> {
            // Attributes with ids in them are the guest's in the archive, and tar knows no time of a link.
            lines.into_iter().filter(|l| !["ping", "listed", "link"].iter().any(|n| l.contains(n))).collect()
        };
        let (is, was) =
            (names(fingerprint(&to.join("layer"), 0)), names(fingerprint(&dir.path().join("from"), BASE)));
        for (is, was) in is.iter().zip(&was) {
            assert_eq!(is, was);
        }
        assert_eq!(is.len(), was.len());
        let told = fs::read_to_string(to.join("sha256")).unwrap();
        assert_eq!(told.len(), 64);
        assert!(
            serde_json::from_slice::<serde_json::Value>(&fs::read(to.join("manifest.json")).unwrap()).is_ok()
        );
    }

    fn block(kind: EntryType, path: &[u8], link: &[u8], size: u64) -> Vec<u8> {
        Plain { kind, path, link, mode: 0o600, owner: (0, 0), mtime: 0, size }.to_bytes(Vec::new())
    }

    /// An archive of these entries, with a good sha256 at its end.
    fn forged(manifest: &str, entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = block(EntryType::Regular, b"manifest.json", b"", manifest.len() as u64);
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes.extend_from_slice(manifest.as_bytes());
        pad(&mut bytes);
        for (header, data) in entries {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(data);
            pad(&mut bytes);
        }
        bytes.extend_from_slice(&block(EntryType::Regular, b"sha256", b"", 64));
        let sha256 = hex(&Sha256::digest(&bytes));
        bytes.extend_from_slice(sha256.as_bytes());
        pad(&mut bytes);
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn manifest(version: u64) -> String {
        let json = serde_json::to_string(&record("web")).unwrap();
        format!("{BEGIN}{version},\"image\":0,\"bytes\":1,\n{}", &json[1..])
    }

    fn entry(
        path: &str,
        kind: EntryType,
        link: &str,
        size: usize,
        change: &dyn Fn(&mut Header),
    ) -> (Header, Vec<u8>) {
        let bytes = block(kind, path.as_bytes(), link.as_bytes(), size as u64);
        let mut header = Header::from_byte_slice(&bytes).clone();
        change(&mut header);
        header.set_cksum();
        (header, vec![b'x'; size])
    }

    fn same(_: &mut Header) {}

    fn extended(records: &[(&str, &[u8])]) -> (Header, Vec<u8>) {
        let mut data = Vec::new();
        for (key, value) in records {
            record_of(&mut data, key, value);
        }
        let (header, _) = entry("PaxHeader", EntryType::XHeader, "", data.len(), &same);
        (header, data)
    }

    fn record_of(data: &mut Vec<u8>, key: &str, value: &[u8]) {
        super::record(data, key.as_bytes(), value);
    }

    #[test]
    fn what_is_hostile_or_broken_is_refused_by_name() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        let (path, to) = (dir.path().join("a.tar"), dir.path().join("to"));
        let top = || entry("layer/", EntryType::Directory, "", 0, &same);
        let file = |path: &str| entry(path, EntryType::Regular, "", 3, &same);
        let link = |path: &str, target: &str| entry(path, EntryType::Link, target, 0, &same);
        let symlink = |path: &str, target: &str| entry(path, EntryType::Symlink, target, 0, &same);
        let owned = |user: u64| entry("layer/f", EntryType::Regular, "", 3, &move |h| h.set_uid(user));
        let device_at = |path: &str, kind: EntryType, major: u32| {
            entry(path, kind, "", 0, &move |h| h.set_device_major(major).and(h.set_device_minor(0)).unwrap())
        };
        let device = |kind: EntryType, major: u32| device_at("layer/d", kind, major);
        let long = [b"layer".to_vec(), b"/d".repeat(PATH_MAX)].concat();
        let value = vec![b'x'; 600 << 10];
        let large = || extended(&[("SCHILY.xattr.user.large", &value)]);
        let mut attributes = vec![top()];
        for depth in 1..=XATTRS_MAX / value.len() + 1 {
            let path = "layer/".to_string() + &"d/".repeat(depth);
            attributes.extend([large(), entry(&path, EntryType::Directory, "", 0, &same)]);
        }
        let sparse = |real: &str, map: &str, data: usize| {
            let mut content = map.as_bytes().to_vec();
            content.resize(content.len().next_multiple_of(BLOCK), 0);
            content.resize(content.len() + data, b'x');
            let (header, _) = entry("layer/s", EntryType::Regular, "", content.len(), &same);
            vec![
                top(),
                extended(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", real.as_bytes())]),
                (header, content),
            ]
        };
        type Row<'a> = (&'a str, Vec<(Header, Vec<u8>)>);
        let rows: Vec<Row> = vec![
            ("contains '..'", vec![top(), file("layer/../../etc/passwd")]),
            ("contains '..'", vec![top(), file("layer/..")]),
            ("is absolute", vec![top(), file("layer//etc/passwd")]),
            ("not known", vec![top(), file("/etc/passwd")]),
            ("not known", vec![top(), file("etc/passwd")]),
            ("contains '..'", vec![top(), file("layer/f"), link("layer/l", "layer/../../etc/passwd")]),
            ("is empty", vec![top(), link("layer/l", "/etc/passwd")]),
            ("is absolute", vec![top(), link("layer/l", "layer//etc/passwd")]),
            ("cannot unpack", vec![top(), link("layer/l", "layer/none")]),
            ("cannot unpack", vec![top(), symlink("layer/s", "/etc"), link("layer/l", "layer/s/passwd")]),
            ("without its directory", vec![top(), symlink("layer/s", "/etc"), file("layer/s/passwd")]),
            ("without its directory", vec![top(), file("layer/none/file")]),
            ("without its directory", vec![file("layer/f")]),
            ("is no directory", vec![device_at("layer/", EntryType::Char, 0), file("layer/f")]),
            ("is no directory", vec![symlink("layer/", "/etc"), file("layer/f")]),
            ("is no directory", vec![link("layer/", "layer/f")]),
            ("is no directory", vec![entry("layer/", EntryType::Fifo, "", 0, &same)]),
            ("is there twice", vec![top(), file("layer/f"), top()]),
            ("is there twice", vec![top(), device_at("layer/", EntryType::Char, 0)]),
            ("longer than a path", vec![top(), extended(&[("path", &long)]), file("")]),
            ("longer than a path", vec![top(), extended(&[("linkpath", &long)]), link("layer/l", "")]),
            ("headers that are too long", vec![top(), large(), large(), file("layer/f")]),
            ("too many extended attributes", attributes),
            ("is there twice", vec![top(), file("layer/f"), file("layer/f")]),
            ("is there twice", vec![top(), symlink("layer/f", "/etc/x"), file("layer/f")]),
            (
                "is there twice",
                vec![
                    top(),
                    symlink("layer/f", "/etc"),
                    entry("layer/f/", EntryType::Directory, "", 0, &same),
                ],
            ),
            ("device node", vec![top(), device(EntryType::Char, 1)]),
            ("device node", vec![top(), device(EntryType::Block, 0)]),
            ("unknown type", vec![top(), entry("layer/x", EntryType::new(b'S'), "", 0, &same)]),
            ("no file and has data", vec![top(), entry("layer/x", EntryType::Directory, "", 3, &same)]),
            ("which no guest has", vec![top(), owned(65_536)]),
            ("which no guest has", vec![top(), owned(1 << 40)]),
            ("to nothing", vec![top(), symlink("layer/s", "")]),
            (
                "extended attribute",
                vec![top(), extended(&[("SCHILY.xattr.trusted.x", b"1")]), file("layer/f")],
            ),
            (
                "extended attribute",
                vec![top(), extended(&[("SCHILY.xattr.security.selinux", b"1")]), file("layer/f")],
            ),
            ("is no number", vec![top(), extended(&[("mtime", b"x.5")]), file("layer/f")]),
            ("is no number", vec![top(), extended(&[("GNU.sparse.realsize", b"-1")]), file("layer/f")]),
            (
                "no list of records",
                vec![
                    top(),
                    (entry("x", EntryType::XHeader, "", 3, &same).0, b"abc".to_vec()),
                    file("layer/f"),
                ],
            ),
            ("damaged map", sparse("100", "x\n", 10)),
            ("damaged map", sparse("100", "1000000000000\n1\n", 10)),
            ("pieces outside", sparse("100", "1\n95\n10\n", 10)),
            ("pieces outside", sparse("100", "1\n18446744073709551\n10\n", 10)),
            ("pieces outside", sparse("100", "1\n0\n99\n", 10)),
            ("more data than pieces", sparse("100", "1\n0\n5\n", 10)),
            ("no layer", vec![]),
        ];
        for (words, entries) in rows {
            fs::write(&path, forged(&manifest(1), &entries)).unwrap();
            let error = unpack_at(&path, &to, u64::MAX).unwrap_err();
            assert!(error.message.contains(words), "{words}: {error}");
            assert!(error.code == Code::BadImage || words == "cannot unpack", "{words}: {error}");
            assert!(!Path::new("/etc/l").exists());
        }
        for (code, text) in [
            (Code::NotSupported, manifest(2)),
            (Code::BadImage, "{}".to_string()),
            (Code::BadImage, format!("{BEGIN}1,\"image\":0,\"bytes\":1,\n\"name\":\"../web\"}}")),
            (Code::BadImage, manifest(1).replace(&"ab".repeat(32), "../x")),
            (
                Code::BadImage,
                format!(
                    "{BEGIN}1,\"image\":5,\"bytes\":1,{}",
                    &manifest(1)[manifest(1).find('\n').unwrap()..]
                ),
            ),
        ] {
            fs::write(&path, forged(&text, &[top()])).unwrap();
            assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, code, "{text}");
        }
        fs::write(&path, forged(&manifest(1), &[top(), file("layer/f")])).unwrap();
        unpack_at(&path, &to, 3 * ENTRY).unwrap();
        assert_eq!(unpack_at(&path, &to, ENTRY + 100).unwrap_err().code, Code::NoSpace);
        fs::write(&path, b"no tar").unwrap();
        assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, Code::BadImage);
    }

    #[test]
    fn an_archive_that_was_changed_or_cut_is_never_taken_for_good() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), vec![1; 700]).unwrap();
        std::os::unix::fs::symlink("x", from.join("b")).unwrap();
        let (path, to) = (pack(dir.path(), Some(&[5; 300])), dir.path().join("to"));
        let good = fs::read(&path).unwrap();
        unpack_at(&path, &to, u64::MAX).unwrap();
        // The two empty blocks at the end say nothing.
        let said = good.len() - 2 * BLOCK;
        for length in (0..said).step_by(100).chain([said - 448 - 1]) {
            fs::write(&path, &good[..length]).unwrap();
            let error = unpack_at(&path, &to, u64::MAX).unwrap_err();
            assert_eq!(error.code, Code::BadImage, "{length}: {error}");
        }
        for at in (0..said - 448).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            fs::write(&path, &bad).unwrap();
            let error = unpack_at(&path, &to, u64::MAX).expect_err(&format!("a changed byte at {at}"));
            assert!(
                matches!(error.code, Code::BadImage | Code::Checksum | Code::NotSupported | Code::NoSpace),
                "{at}: {error}"
            );
        }
        fs::write(&path, [&good[..], b"more"].concat()).unwrap();
        assert_eq!(unpack_at(&path, &to, u64::MAX).unwrap_err().code, Code::BadImage);
    }
}
