//! Writes a container's archive.

use super::super::super::image::hex;
use super::super::super::image::tar::{record, Plain, BEGIN, BLOCK, MANIFEST};
use super::super::guest::SECRETS;
use super::super::tree::{next_data, Node, Progress, Shift};
use super::{plain, travels, CHUNK, NAME_BYTES, NOBODY, PIECES, VERSION};
use crate::error::{Code, Error, Result};
use crate::model::idrange::SIZE;
use crate::steps::filesystem::{open_regular, read_file};
use crate::steps::walk::{self, mounted, walk, Moved, Seen, What, PATH_MAX};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use tar::EntryType;

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

    pub(super) fn member(&mut self, name: &[u8], content: &[u8]) -> Result<()> {
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
        let pieces = pieces_of(&file, &seen.shown(), length, PIECES, &mut || self.progress.add(0))?;
        let Some(mut pieces) = pieces else {
            return Err(Error::new(
                Code::NotSupported,
                format_args!(
                    "{}: it has data in more than {PIECES} places with wide holes between, and no archive holds \
                     that; copy it without holes (`cp --sparse=never`) or remove it first",
                    seen.shown().display()
                ),
            ));
        };
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

/// Where in a file of `length` bytes there is data, in `most` pieces at most: where there are more, the narrowest holes
/// are taken for data. None when these would be more than the data: a guest makes a file that takes megabytes of its
/// disk, and would take terabytes of an archive. `tick` is called again and again.
///
/// # Errors
/// The file cannot be looked at; what `tick` says.
fn pieces_of(
    file: &File,
    path: &Path,
    length: u64,
    most: usize,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<Option<Vec<(u64, u64)>>> {
    let next = |at| next_data(file, at).map_err(|e| Error::io("cannot read", path, e));
    let mut widest = 0;
    loop {
        tick()?;
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let (mut at, mut data, mut holes, mut all) = (0, 0_u64, 0_u64, true);
        while let Some((start, stop)) = next(at)?.filter(|(start, _)| *start < length) {
            at = stop.min(length);
            data += at - start;
            let full = pieces.len() == most;
            match pieces.last_mut().filter(|(_, end)| start - *end <= widest) {
                Some((_, end)) => {
                    holes += start - *end;
                    *end = at;
                }
                None if full => {
                    all = false;
                    break;
                }
                None => pieces.push((start, at)),
            }
        }
        if all {
            return Ok(Some(pieces).filter(|_| holes <= data));
        }
        // With holes as wide as the file there is one piece.
        widest = (widest * 2).max(BLOCK as u64);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    /// What is wide apart on every file system.
    const BLOCK: u64 = 64 << 10;

    /// Of a file with data in these blocks, and as long as that.
    fn pieces(blocks: &[u64], length: u64, most: usize) -> Option<Vec<(u64, u64)>> {
        let dir = TempDir::make();
        let path = dir.path().join("file");
        let file = File::create_new(&path).unwrap();
        blocks.iter().for_each(|at| file.write_all_at(&[7; BLOCK as usize], at * BLOCK).unwrap());
        file.set_len(length * BLOCK).unwrap();
        let file = File::open(&path).unwrap();
        let found = pieces_of(&file, &path, length * BLOCK, most, &mut || Ok(())).unwrap();
        found.map(|pieces| pieces.iter().map(|(start, end)| (start / BLOCK, end / BLOCK)).collect())
    }

    /// The blocks with data, the file's length, the most pieces, and what they are.
    type Case = (&'static [u64], u64, usize, Option<&'static [(u64, u64)]>);

    #[test]
    fn the_narrowest_holes_are_taken_for_data_but_no_wide_ones() {
        let cases: [Case; 7] = [
            (&[], 9, 3, Some(&[])),
            (&[0, 1, 4], 9, 3, Some(&[(0, 2), (4, 5)])),
            (&[0, 2, 4], 9, 3, Some(&[(0, 1), (2, 3), (4, 5)])),
            (&[0, 2, 900, 1800], 1 << 20, 3, Some(&[(0, 3), (900, 901), (1800, 1801)])),
            (&[0, 2, 4, 6], 7, 3, Some(&[(0, 7)])),
            (&[0, 900, 1800, 2700], 1 << 20, 3, None),
            (&[0, 900, 1800, 1 << 24], 1 << 25, 3, None),
        ];
        for (blocks, length, most, expected) in cases {
            assert_eq!(pieces(blocks, length, most).as_deref(), expected, "{blocks:?} of {length}");
        }
    }
}
