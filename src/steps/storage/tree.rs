//! Trees of files, whole: owners, modes, times, extended attributes, hard links, holes, device nodes.
//!
//! For trees that nobody changes meanwhile: the guest is frozen or down. If it does so all the same, the copy fails, or
//! is one of what was there. No link is followed. Whatever a guest has made, neither the stack nor the descriptors grow
//! with it (see [`walk`](super::super::walk)), and hard links are remembered in a directory.

use super::super::ctx::Ctx;
use super::super::filesystem::open_regular;
use super::super::walk::{self, at, mounted, walk, Descent, Moved, Seen, What};
use crate::error::{Error, Result};
use crate::model::idrange::SIZE;
use crate::sys::{self, Xattr};
use nix::errno::Errno;
use nix::fcntl::{copy_file_range, AT_FDCWD};
use nix::sys::stat::{mknod, utimensat, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{lseek, Whence};
use std::ffi::CStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{lchown, symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes copied before a cancel is heard.
const CHUNK: u64 = 8 << 20;
/// How much more is done before it is told.
const TELL_EVERY: u64 = 1 << 20;

/// How far a copy is.
pub struct Progress<'a> {
    ctx: &'a Ctx,
    done: u64,
    told: u64,
    total: Option<u64>,
}

impl<'a> Progress<'a> {
    /// Of a copy of `total` bytes that has not begun yet.
    pub fn new(ctx: &'a Ctx, total: Option<u64>) -> Progress<'a> {
        Progress { ctx, done: 0, told: 0, total }
    }

    /// So many bytes more are done.
    ///
    /// # Errors
    /// [`Code::Cancelled`].
    pub fn add(&mut self, bytes: u64) -> Result<()> {
        self.ctx.cancel.check()?;
        self.done += bytes;
        if self.done - self.told >= TELL_EVERY {
            self.told = self.done;
            self.ctx.bytes(self.done, self.total);
        }
        Ok(())
    }

    /// As [`Ctx::note`].
    pub fn note(&self, text: String) {
        self.ctx.note(text);
    }
}

/// Bytes that the tree below `root` takes on the disk. Whoever lives in it may go on meanwhile.
///
/// # Errors
/// As [`walk`].
pub fn size(ctx: &Ctx, root: &Path) -> Result<u64> {
    let mut bytes: u64 = 0;
    walk(root, Moved::Skipped, &mut |seen| {
        ctx.cancel.check()?;
        bytes += match &seen.what {
            What::Directory(meta) => meta.blocks() * 512,
            What::File(meta) => meta.blocks() * 512 / meta.nlink().max(1),
            What::Mount | What::End => 0,
        };
        Ok(())
    })?;
    Ok(bytes)
}

/// How ids change on the way: those of the range that begins with `from` get their places in the one that begins with
/// `to`, others stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// The first id of the range they come from.
    pub from: u32,
    /// The first id of the one they go to.
    pub to: u32,
}

// Tags of an access list's entries that hold an id, as they are stored.
const ACL_USER: [u8; 2] = [2, 0];
const ACL_GROUP: [u8; 2] = [8, 0];

impl Shift {
    /// What `id` becomes.
    pub fn id(self, id: u32) -> u32 {
        match id.checked_sub(self.from) {
            Some(place) if place < SIZE => self.to + place,
            _ => id,
        }
    }

    /// Shifts an id as it is stored, little-endian.
    fn stored(self, id: &mut [u8]) {
        if let Ok(old) = <[u8; 4]>::try_from(&*id) {
            id.copy_from_slice(&self.id(u32::from_le_bytes(old)).to_le_bytes());
        }
    }

    /// Shifts the ids in an extended attribute's value: that of a capability's root (linux/capability.h, revision 3),
    /// and those of users and groups in an access list (linux/posix_acl_xattr.h). Both are little-endian.
    fn xattr(self, name: &CStr, value: &mut [u8]) {
        match name.to_bytes() {
            b"security.capability" if value.len() == 24 => self.stored(&mut value[20..]),
            b"system.posix_acl_access" | b"system.posix_acl_default" => {
                let (_, entries) = value.split_at_mut(value.len().min(4));
                for entry in entries
                    .chunks_exact_mut(8)
                    .filter(|e| [ACL_USER, ACL_GROUP].iter().any(|tag| e.starts_with(tag)))
                {
                    self.stored(&mut entry[4..]);
                }
            }
            _ => {}
        }
    }
}

/// One file of a tree: all of it but its name and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Its user and group.
    pub owner: (u32, u32),
    /// When it was changed: seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// The device's number; 0 for what is no device node.
    pub device: u64,
    /// Where it leads; empty for what is no symbolic link.
    pub target: PathBuf,
    /// Its extended attributes.
    pub xattrs: Vec<Xattr>,
}

impl Node {
    /// Shifts its ids.
    pub fn shift(&mut self, shift: Shift) {
        self.owner = (shift.id(self.owner.0), shift.id(self.owner.1));
        for (name, value) in &mut self.xattrs {
            shift.xattr(name, value);
        }
    }

    /// The file at `path`, with its ids shifted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path, meta: &Metadata, shift: Shift) -> io::Result<Node> {
        let mut node = Node {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device: meta.rdev(),
            target: if meta.is_symlink() { fs::read_link(path)? } else { PathBuf::new() },
            xattrs: sys::xattrs(path)?,
        };
        node.shift(shift);
        Ok(node)
    }

    /// Its type, `S_IFREG` and the like.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Makes it at `path`, for root alone, to be given the rest of it by [`Node::finish`]. A regular file is returned
    /// to be filled; a directory may be there already.
    ///
    /// # Errors
    /// As the system call that makes it.
    pub fn make(&self, path: &Path) -> io::Result<Option<File>> {
        match self.kind() {
            libc::S_IFREG => return File::options().write(true).create_new(true).open(path).map(Some),
            libc::S_IFDIR => match fs::create_dir(path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            },
            libc::S_IFLNK => symlink(&self.target, path)?,
            kind => mknod(path, SFlag::from_bits_truncate(kind), Mode::empty(), self.device as _)?,
        }
        Ok(None)
    }

    /// Gives it its owner, permissions, attributes and time, in this order: a change of the owner takes the set-user-ID
    /// bit and the capabilities away.
    ///
    /// # Errors
    /// As the first system call that fails.
    pub fn finish(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.owner.0), Some(self.owner.1))?;
        if self.kind() != libc::S_IFLNK {
            fs::set_permissions(path, fs::Permissions::from_mode(self.mode & 0o7777))?;
        }
        for (name, value) in &self.xattrs {
            sys::set_xattr(path, name, value)?;
        }
        // As wide as the platform's time_t.
        let time = TimeSpec::new(self.mtime.0 as _, self.mtime.1 as _);
        utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &time, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }
}

/// Copies the tree below `from` to `to`, which may be an empty directory already, with its ids shifted. `links` is a
/// directory to be made and removed, on the file system of `to`.
///
/// # Errors
/// The first file that cannot be copied, [`Code::Cancelled`]; what was copied stays.
pub fn copy(from: &Path, to: &Path, links: &Path, shift: Shift, progress: &mut Progress<'_>) -> Result<()> {
    fs::create_dir(links).map_err(|e| Error::io("cannot make", links, e))?;
    let mut made: Option<Descent> = None;
    walk(from, Moved::Fails, &mut |seen| {
        let failed = |e: io::Error| Error::io("cannot copy", &seen.shown(), e);
        progress.add(0)?;
        match &seen.what {
            What::Directory(_) => match &mut made {
                None => made = Some(make_root(to).map_err(failed)?),
                Some(made) => {
                    fs::create_dir(at(made.dir(), seen.name.to_bytes())).map_err(failed)?;
                    made.enter(seen.name).map(drop).map_err(failed)?;
                }
            },
            What::File(meta) => {
                let Some(made) = &made else { return Ok(()) };
                copy_file(seen, meta, &at(made.dir(), seen.name.to_bytes()), links, shift, progress)?;
            }
            What::Mount => return Err(mounted(&seen.shown())),
            // Last, since what was put into it has changed its time.
            What::End => {
                let Some(made) = &mut made else { return Ok(()) };
                let meta = fs::symlink_metadata(seen.at()).map_err(failed)?;
                let node = Node::read(&seen.at(), &meta, shift).map_err(failed)?;
                node.finish(&at(made.dir(), b".")).and_then(|()| made.leave()).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    walk::remove(links)
}

fn make_root(to: &Path) -> io::Result<Descent> {
    match fs::create_dir(to) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Descent::new(File::open(to)?),
    }
}

/// Copies what is no directory to `target`.
fn copy_file(
    seen: &Seen<'_>,
    meta: &Metadata,
    target: &Path,
    links: &Path,
    shift: Shift,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let failed = |e: io::Error| Error::io("cannot copy", &seen.shown(), e);
    let link = links.join(meta.ino().to_string());
    let linked = meta.nlink() > 1;
    if linked && fs::hard_link(&link, target).is_ok() {
        return Ok(());
    }
    let node = Node::read(&seen.at(), meta, shift).map_err(failed)?;
    if let Some(file) = node.make(target).map_err(failed)? {
        let source = seen.open().map_err(failed)?;
        copy_open(&source, &file, &failed, progress)?;
    }
    node.finish(target).map_err(failed)?;
    if linked {
        // One that could not be linked to has as many links as it can have.
        let _ = fs::remove_file(&link);
        fs::hard_link(target, &link).map_err(failed)?;
    }
    Ok(())
}

/// Copies the data of the file `from` to the empty file `to` and leaves its holes; shared, where the file system can.
///
/// # Errors
/// What cannot be read or written, [`Code::Cancelled`].
pub fn copy_data(from: &Path, to: &File, progress: &mut Progress<'_>) -> Result<()> {
    let failed = |e: io::Error| Error::io("cannot copy", from, e);
    copy_open(&open_regular(from).map_err(failed)?, to, &failed, progress)
}

fn copy_open(
    source: &File,
    to: &File,
    failed: &dyn Fn(io::Error) -> Error,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let length = source.metadata().map_err(failed)?.len();
    if length == 0 {
        return Ok(());
    }
    if sys::clone_file(source.as_fd(), to.as_fd()).is_ok() {
        return progress.add(length);
    }
    to.set_len(length).map_err(failed)?;
    let mut end = 0;
    while let Some((start, stop)) = next_data(source, end).map_err(failed)? {
        end = start;
        // One that grows meanwhile is copied as long as it was.
        let stop = stop.min(length);
        while end < stop {
            let copied = copy_some(source, to, end, (stop - end).min(CHUNK)).map_err(failed)?;
            progress.add(copied)?;
            end += copied;
        }
        if end >= length {
            break;
        }
    }
    Ok(())
}

/// Copies up to `length` bytes at `at`, and at least one.
fn copy_some(from: &File, to: &File, at: u64, length: u64) -> io::Result<u64> {
    let offset = i64::try_from(at).map_err(|_| Errno::EOVERFLOW)?;
    let (mut from_at, mut to_at) = (offset, offset);
    let most = usize::try_from(length).unwrap_or(isize::MAX as usize);
    match copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), most) {
        Ok(copied) if copied > 0 => Ok(copied as u64),
        Err(e @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EIO)) => Err(e.into()),
        // Not every file system, nor every pair of two, can.
        _ => {
            let mut buffer = vec![0; length.min(128 << 10) as usize];
            let got = from.read_at(&mut buffer, at)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to.write_all_at(&buffer[..got], at)?;
            Ok(got as u64)
        }
    }
}

/// Where the next data at or behind `at` begins and ends; None behind the last.
///
/// # Errors
/// As lseek(2).
pub fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |at: u64, whence| {
        let at = i64::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        match lseek(file.as_fd(), at, whence) {
            Ok(found) => Ok(u64::try_from(found).ok()),
            Err(nix::errno::Errno::ENXIO) => Ok(None),
            Err(e) => Err(io::Error::from(e)),
        }
    };
    let Some(start) = seek(at, Whence::SeekData)? else { return Ok(None) };
    // Behind the last data there is a hole, if only at the end of the file.
    Ok(seek(start, Whence::SeekHole)?.map(|end| (start, end)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Code;
    use crate::steps::ctx::{Cancel, Update};
    use crate::testing::TempDir;
    use nix::sys::stat::makedev;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::{Arc, Mutex};

    pub const BASE: u32 = 0x7000_0000;
    const SAME: Shift = Shift { from: 0, to: 0 };

    fn node(mode: u32, guest_id: u32) -> Node {
        Node {
            mode,
            owner: (BASE + guest_id, BASE + guest_id + 1),
            mtime: (1_000_000_000 + i64::from(mode), 123_456_789),
            device: 0,
            target: PathBuf::new(),
            xattrs: Vec::new(),
        }
    }

    fn xattr(name: &str, value: &[u8]) -> Xattr {
        (std::ffi::CString::new(name).unwrap(), value.to_vec())
    }

    /// A capability of a guest's program, with the id of its root.
    fn capability(root: u32) -> Vec<u8> {
        let mut value = vec![1, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        value.extend(root.to_le_bytes());
        value
    }

    /// An access list: owner, user `id`, group, mask, others.
    fn access_list(id: u32) -> Vec<u8> {
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in
            [(1u16, 6u16, u32::MAX), (2, 4, id), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    /// A layer with everything that one can have. Needs root.
    pub fn make_layer(root: &Path) {
        let put = |path: &str, mut node: Node, xattrs: &[Xattr], data: &[u8]| {
            node.xattrs = xattrs.to_vec();
            let path = root.join(path);
            if let Some(file) = node.make(&path).unwrap() {
                file.write_all_at(data, 0).unwrap();
            }
            node.finish(&path).unwrap();
        };
        let opaque = [xattr("trusted.overlay.opaque", b"y")];
        put("", node(libc::S_IFDIR | 0o755, 0), &[], b"");
        put("etc", node(libc::S_IFDIR | 0o2755, 0), &opaque, b"");
        put("etc/empty", node(libc::S_IFREG | 0o600, 0), &[], b"");
        put(
            "etc/text",
            node(libc::S_IFREG | 0o644, 1000),
            &[xattr("user.note", b"\0\xff=\n1")],
            b"some text",
        );
        put("bin", node(libc::S_IFDIR | 0o1777, 0), &[], b"");
        put("bin/su", node(libc::S_IFREG | 0o6755, 0), &[], &[7; 70_000]);
        put(
            "bin/ping",
            node(libc::S_IFREG | 0o755, 0),
            &[xattr("security.capability", &capability(BASE))],
            b"#!",
        );
        let list = [xattr("system.posix_acl_access", &access_list(BASE + 1000))];
        put("etc/listed", node(libc::S_IFREG | 0o640, 0), &list, b"x");
        fs::hard_link(root.join("bin/su"), root.join("etc/also-su")).unwrap();
        fs::hard_link(root.join("bin/su"), root.join("zz")).unwrap();
        put("pipe", node(libc::S_IFIFO | 0o622, 5), &[], b"");
        put("link", Node { target: "/etc/../nowhere".into(), ..node(libc::S_IFLNK | 0o777, 7) }, &[], b"");
        let whiteout = Node { owner: (0, 0), ..node(libc::S_IFCHR, 0) };
        put("gone", whiteout.clone(), &[], b"");
        fs::hard_link(root.join("gone"), root.join("etc/gone-too")).unwrap();
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"etc/\xff\n\\ name"));
        fs::write(root.join(odd), "odd").unwrap();
        lchown(root.join(odd), Some(BASE), Some(BASE)).unwrap();
        let long = format!("etc/{}", "n".repeat(255));
        put(&long, node(libc::S_IFREG | 0o400, 65_534), &[], b"long");
        let hole = root.join("hole");
        put("hole", node(libc::S_IFREG | 0o644, 0), &[], b"");
        let file = File::options().write(true).open(&hole).unwrap();
        file.write_all_at(b"begin", 1 << 20).unwrap();
        file.write_all_at(&[9; 5000], 5 << 20).unwrap();
        file.set_len(8 << 20).unwrap();
        // The directories' times changed as they were filled.
        put("", node(libc::S_IFDIR | 0o755, 0), &[], b"");
        put("etc", node(libc::S_IFDIR | 0o2755, 0), &opaque, b"");
        put("bin", node(libc::S_IFDIR | 0o1777, 0), &[], b"");
    }

    /// Everything there is of a tree, a line for each file: what is equal is the same tree. Owners are the guest's.
    pub fn fingerprint(root: &Path, base: u32) -> Vec<String> {
        let shift = Shift { from: base, to: 0 };
        let mut inodes: Vec<(u64, PathBuf)> = Vec::new();
        let mut lines = Vec::new();
        let mut paths = Vec::new();
        walk(root, Moved::Fails, &mut |seen| {
            if let What::Directory(meta) | What::File(meta) = &seen.what {
                let path = Path::new(std::ffi::OsStr::from_bytes(seen.path().unwrap()));
                paths.push((path.to_path_buf(), meta.clone()));
            }
            Ok(())
        })
        .unwrap();
        paths.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, meta) in paths {
            let at = if path.as_os_str().is_empty() { root.to_path_buf() } else { root.join(&path) };
            let mut node = Node::read(&at, &meta, shift).unwrap();
            node.xattrs.sort();
            let first = match inodes.iter().find(|(inode, _)| *inode == meta.ino()) {
                Some((_, first)) => first.clone(),
                None => path.clone(),
            };
            inodes.push((meta.ino(), path.clone()));
            let data = if meta.is_file() {
                use sha2::Digest;
                format!("{} {:x}", meta.len(), sha2::Sha256::digest(fs::read(&at).unwrap()))
            } else {
                String::new()
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            lines.push(format!("{path:?} {first:?} {links} {node:?} {data}"));
        }
        lines
    }

    fn is_root() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            println!("skipped: needs root");
        }
        root
    }

    #[test]
    fn a_copy_is_the_same_tree() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        let (from, to, links) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("links"));
        make_layer(&from);
        let ctx = Ctx::silent().unwrap();
        copy(&from, &to, &links, SAME, &mut Progress::new(&ctx, None)).unwrap();
        let original = fingerprint(&from, BASE);
        assert_eq!(original.len(), 17, "{original:#?}");
        assert_eq!(fingerprint(&to, BASE), original);
        assert!(!links.exists());
        assert!(fs::metadata(to.join("hole")).unwrap().blocks() * 512 < 1 << 20, "a hole is a hole");
        let (one, other) = (size(&ctx, &from).unwrap(), size(&ctx, &to).unwrap());
        assert!(one > 70_000 && one.abs_diff(other) < 64 << 10, "{one} {other}");
    }

    #[test]
    fn a_copy_for_another_container_has_its_ids() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make_layer(&from);
        // What root on the host owns is nobody's in the guest, and stays so.
        fs::write(from.join("roots"), "x").unwrap();
        let ctx = Ctx::silent().unwrap();
        let shift = Shift { from: BASE, to: BASE + 3 * SIZE };
        copy(&from, &to, &dir.path().join("links"), shift, &mut Progress::new(&ctx, None)).unwrap();
        assert_eq!(fingerprint(&to, shift.to), fingerprint(&from, BASE));
        let text = fs::metadata(to.join("etc/text")).unwrap();
        assert_eq!((text.uid(), text.gid()), (shift.to + 1000, shift.to + 1001));
        assert_eq!(fs::metadata(to.join("roots")).unwrap().uid(), 0);
        assert_eq!(sys::xattrs(&to.join("bin/ping")).unwrap()[0].1, capability(shift.to));
        assert_eq!(sys::xattrs(&to.join("etc/listed")).unwrap()[0].1, access_list(shift.to + 1000));
    }

    #[test]
    fn ids_beyond_the_range_stay() {
        let shift = Shift { from: BASE, to: 0 };
        for (id, becomes) in
            [(BASE, 0), (BASE + 65_535, 65_535), (BASE + 65_536, BASE + 65_536), (0, 0), (BASE - 1, BASE - 1)]
        {
            assert_eq!(shift.id(id), becomes);
        }
        // Damaged values do not matter.
        for length in [0, 1, 3, 4, 5, 11, 12, 19, 20, 23, 24, 25] {
            let mut value = vec![2; length];
            for name in [c"security.capability", c"system.posix_acl_access"] {
                shift.xattr(name, &mut value);
            }
            assert_eq!(value.len(), length);
        }
    }

    #[test]
    fn a_copy_tells_how_far_it_is_and_hears_a_cancel() {
        let dir = TempDir::make();
        let from = dir.path().join("from");
        fs::write(&from, vec![1; 20 << 20]).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let cancel = Cancel::new().unwrap();
        let (heard, token) = (told.clone(), cancel.clone());
        let ctx = Ctx::new(cancel, move |update| {
            let mut told = heard.lock().unwrap();
            told.push(update);
            if told.len() == 2 {
                token.cancel();
            }
        });
        let progress = &mut Progress::new(&ctx, Some(20 << 20));
        let to = File::create(dir.path().join("to")).unwrap();
        let copied = copy_data(&from, &to, progress);
        if told.lock().unwrap().len() == 1 {
            println!("skipped: the data is shared here, which takes one step");
            return;
        }
        assert_eq!(copied.unwrap_err().code, Code::Cancelled);
        let told = told.lock().unwrap();
        assert!(
            matches!(told[0], Update::Bytes { done, total: Some(20_971_520) } if done <= CHUNK),
            "{told:?}"
        );
        assert!(told.len() == 2, "{told:?}");
    }

    #[test]
    fn a_device_keeps_its_number() {
        if !is_root() {
            return;
        }
        let dir = TempDir::make();
        let path = dir.path().join("null");
        let null = Node { device: makedev(1, 3), ..node(libc::S_IFCHR | 0o600, 0) };
        null.make(&path).unwrap();
        null.finish(&path).unwrap();
        let read = Node::read(&path, &fs::symlink_metadata(&path).unwrap(), SAME).unwrap();
        assert_eq!(read, null);
    }
}
