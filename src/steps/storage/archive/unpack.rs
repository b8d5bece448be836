//! Makes the files of a container's archive, of what `read.rs` says is in it.

use super::super::super::image::bad;
use super::super::super::image::tar::{check_path, shown};
use super::super::encode;
use super::super::tree::{Node, Shift};
use super::read::{about, read, Entry, Said};
use super::{Manifest, ENTRY, NAME_BYTES, XATTRS_MAX};
use crate::error::{Code, Error, Result};
use crate::model::idrange::SIZE;
use crate::steps::ctx::Ctx;
use crate::steps::image::Input;
use crate::steps::in_a_child::strange;
use crate::steps::outside::HostFile;
use crate::steps::walk::{self, at, open_dir, Descent};
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tar::EntryType;

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
    let root = File::open(upper).map_err(|e| Error::io("cannot open", upper, e))?;
    let mut layer = Layer { root, upper, base, left, open: None, file: None };
    let unpacked = read(ctx, &mut input, &mut |said| {
        match said {
            Said::Manifest(found) => check_same(path, &found, manifest)?,
            Said::Entry(entry) => layer.entry(entry)?,
            Said::Piece(start) => layer.file.as_mut().ok_or_else(strange)?.at = start,
            Said::Data(data) => layer.data(data)?,
        }
        Ok(true)
    });
    unpacked.and_then(|()| layer.end()).map_err(|e| about(path, e))
}

/// Checks that the archive at `path` is still the one of which `before` was read.
fn check_same(path: &Path, found: &Manifest, before: &Manifest) -> Result<()> {
    let record = |of: &Manifest| encode(path, &of.record);
    let same = (found.image, found.bytes) == (before.image, before.bytes);
    if !same || record(found)? != record(before)? {
        return Err(bad("it has changed meanwhile; import it when it is complete"));
    }
    Ok(())
}

/// A layer that is made.
struct Layer<'a> {
    root: File,
    upper: &'a Path,
    base: u32,
    /// Bytes that it may still take.
    left: u64,
    /// None until the layer's own directory has come.
    open: Option<Unfinished>,
    /// The file whose data comes.
    file: Option<Content>,
}

/// A file whose data comes.
struct Content {
    file: File,
    entry: Entry,
    /// Where the data to come belongs.
    at: u64,
}

impl Layer<'_> {
    /// Takes up an entry; a file's data comes behind it.
    fn entry(&mut self, mut entry: Entry) -> Result<()> {
        self.finish_file()?;
        let taken = entry.size.saturating_add(ENTRY);
        self.left = self.left.checked_sub(taken).ok_or_else(|| {
            Error::new(Code::NoSpace, "the container unpacks to more than there is room for; free some space")
        })?;
        prepare(&mut entry, self.base).map_err(|why| refused(&entry, &why))?;
        match &mut self.open {
            Some(_) => self.add(entry),
            None if !entry.path.is_empty() => Err(refused(&entry, "comes without its directory")),
            None if entry.kind != EntryType::Directory => Err(refused(&entry, "is no directory")),
            None => {
                let descent = self.root.try_clone().and_then(Descent::new);
                let descent = descent.map_err(|e| Error::io("cannot open", self.upper, e))?;
                let mut begun = Unfinished { descent, path: Vec::new(), nodes: Vec::new(), xattrs: 0 };
                begun.push(entry.node).map_err(bad)?;
                self.open = Some(begun);
                Ok(())
            }
        }
    }

    /// Makes `entry` in the last open directory that it is in; a directory becomes the last one.
    fn add(&mut self, entry: Entry) -> Result<()> {
        let Some(open) = &mut self.open else { return Err(strange()) };
        let upper = self.upper;
        let path = &entry.path;
        if path.is_empty() {
            return Err(refused(&entry, "is there twice"));
        }
        check_path(path, "its name", NAME_BYTES as usize).map_err(|why| refused(&entry, &why))?;
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], &path[..]),
        };
        while open.path != dir {
            // The layer itself is left last.
            if open.nodes.len() < 2 {
                return Err(refused(&entry, "comes without its directory"));
            }
            open.close(upper)?;
        }
        if name.is_empty() || name == b"." {
            return Err(refused(&entry, "has a name that none can have"));
        }
        let at = at(open.descent.dir(), name);
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => refused(&entry, "is there twice"),
            _ => Error::io("cannot unpack", &upper.join(OsStr::from_bytes(path)), e),
        };
        match entry.kind {
            EntryType::Link => {
                let target = entry.link.strip_prefix(b"layer/").unwrap_or(b"");
                check_path(target, "the target of its hard link", NAME_BYTES as usize)
                    .map_err(|why| refused(&entry, &why))?;
                return link(&self.root, target, &at).map_err(failed);
            }
            EntryType::Directory => {
                let name = CString::new(name).map_err(|e| failed(e.into()))?;
                fs::create_dir(&at).and_then(|()| open.descent.enter(&name)).map_err(failed)?;
                open.path.clone_from(path);
                return open.push(entry.node.clone()).map_err(|why| refused(&entry, why));
            }
            _ => {}
        }
        let Some(file) = entry.node.make(&at).map_err(failed)? else {
            return entry.node.finish(&at).map_err(failed);
        };
        if let Some(size) = entry.real_size {
            file.set_len(size).map_err(failed)?;
        }
        self.file = Some(Content { file, entry, at: 0 });
        Ok(())
    }

    /// Writes `data` where it belongs in the file that is open.
    fn data(&mut self, data: &[u8]) -> Result<()> {
        let Content { file, entry, at } = self.file.as_mut().ok_or_else(strange)?;
        let end = at.checked_add(data.len() as u64).ok_or_else(strange)?;
        if end > entry.real_size.unwrap_or(entry.size) {
            return Err(strange());
        }
        let written = file.write_all_at(data, *at);
        written
            .map_err(|e| Error::io("cannot write", &self.upper.join(OsStr::from_bytes(&entry.path)), e))?;
        *at = end;
        Ok(())
    }

    /// Gives the file whose data has come its owner, mode and time.
    fn finish_file(&mut self) -> Result<()> {
        let (Some(Content { entry, .. }), Some(open)) = (self.file.take(), &self.open) else { return Ok(()) };
        let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let finished = entry.node.finish(&at(open.descent.dir(), name));
        finished.map_err(|e| Error::io("cannot unpack", &self.upper.join(OsStr::from_bytes(&entry.path)), e))
    }

    /// Leaves all directories.
    fn end(mut self) -> Result<()> {
        self.finish_file()?;
        let Some(mut open) = self.open else { return Err(bad("it has no layer")) };
        while !open.nodes.is_empty() {
            open.close(self.upper)?;
        }
        Ok(())
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

    /// Leaves the directory that was entered last, and finishes it.
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
