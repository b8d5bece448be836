//! Judges a tar stream, and writes one that mksquashfs cannot misunderstand.
//!
//! Nothing is extracted, so no entry could write outside a directory here; yet an archive that tries is hostile or
//! broken, and is refused with the name of the entry. The headers are read one block after another, because the limits
//! must hold before anything is kept in memory: a long name or an extended header claims any size it likes.
//!
//! Programs read the same header differently: whether a prefix counts, whether a directory has data. So no header is
//! passed on: each is written anew, of what was understood and checked. What is checked is what is unpacked.
//!
//! Of several entries of one name the last one holds, as for tar, while mksquashfs takes the first. Whether there will
//! be another one only the end tells. So an archive is passed on as it comes; where a name turns out to come twice, it is
//! read once more, by what is [`Known`] then.

use super::bad;
use crate::error::{quoted, Code, Error, Result};
use crate::steps::tool::Source;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::{DefaultHasher, RandomState};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use tar::{EntryType, Header};

/// What tar counts in.
pub const BLOCK: usize = 512;
/// Entries in one image, and names in it. Debian with a desktop has some 200,000.
pub const MAX_ENTRIES: u32 = 1_000_000;
/// Bytes of the long names and extended headers before one entry. The longest path is 4,096 bytes, an extended attribute
/// 65,536.
const MAX_EXTENSION: u64 = 1 << 20;
/// Longest path, as the kernel has it.
const MAX_PATH: usize = 4096;
/// Longest component of a path that squashfs holds.
const MAX_COMPONENT: usize = 255;
/// Extended attributes of an entry, each of which is compared with the others. A file of a distribution has some three.
const XATTRS_MAX: usize = 1000;
/// Longest name in a header; longer ones are in an extended header.
const NAME_MAX: usize = 100;

/// Bytes of a name as [`Known::names`] tells it.
pub const NAME_BYTES: usize = 17;

/// The first entry of a container's archive, in every version of the format.
pub const MANIFEST: &[u8] = b"manifest.json";
/// How the content of [`MANIFEST`] begins.
pub const BEGIN: &str = "{\"cloudbox\":";

/// Where the checked stream goes.
pub trait Sink {
    /// Takes all of `data`.
    ///
    /// # Errors
    /// Whatever keeps it from taking more.
    fn write(&mut self, data: &[u8]) -> Result<()>;
}

/// What an archive came to.
#[derive(Debug)]
pub enum Passed {
    /// It was passed on, without this.
    Whole(LeftOut),
    /// Nothing that was passed on counts: it is to be read from its beginning once more, with this.
    Again(Known),
}

/// What a squashfs cannot hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// POSIX access lists.
    pub acls: u64,
    /// Other extended attributes.
    pub xattrs: u64,
}

impl LeftOut {
    /// Counts the extended attribute `name` if a squashfs cannot hold it; tells whether it can.
    pub fn keeps(&mut self, name: &[u8]) -> bool {
        let kept = [&b"user."[..], b"trusted.", b"security."].iter().any(|prefix| name.starts_with(prefix));
        match name {
            _ if kept => {}
            b"system.posix_acl_access" | b"system.posix_acl_default" => self.acls += 1,
            _ => self.xattrs += 1,
        }
        kept
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |n: u64, one: &str, more: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {more}")),
        };
        let acls = many(self.acls, "access list (ACL)", "access lists (ACLs)");
        let xattrs = many(self.xattrs, "other extended attribute", "other extended attributes");
        let all: Vec<String> = acls.into_iter().chain(xattrs).collect();
        write!(f, "{}", all.join(" and "))
    }
}

/// What is known of an archive before it is read: nothing, or what an earlier reading to its end came to.
#[derive(Debug, Default, Clone)]
pub struct Known {
    names: Names,
    /// `names` has all of the archive's.
    complete: bool,
    unified: bool,
}

impl Known {
    /// Whether all names are known, and whether it is an image of Incus or LXD.
    pub fn head(&self) -> (bool, bool) {
        (self.complete, self.unified)
    }

    /// What has this `head`, and no names yet; their hashes are those of `self`.
    pub fn with_head(&self, (complete, unified): (bool, bool)) -> Known {
        let names = Names { hash: self.names.hash.clone(), names: HashMap::new() };
        Known { names, complete, unified }
    }

    /// Its names, each as [`NAME_BYTES`] bytes, in no order.
    pub fn names(&self) -> impl Iterator<Item = [u8; NAME_BYTES]> + '_ {
        self.names.names.iter().map(|(key, name)| {
            let mut bytes = [0; NAME_BYTES];
            bytes[..8].copy_from_slice(&key.to_le_bytes());
            bytes[8..12].copy_from_slice(&name.last.to_le_bytes());
            bytes[12..16].copy_from_slice(&name.file.to_le_bytes());
            bytes[16] = name.left_out.into();
            bytes
        })
    }

    /// Takes up a name that [`Known::names`] told; false when there are more than an archive may have.
    pub fn add_name(&mut self, bytes: [u8; NAME_BYTES]) -> bool {
        let [k0, k1, k2, k3, k4, k5, k6, k7, l0, l1, l2, l3, f0, f1, f2, f3, left_out] = bytes;
        let name = Name {
            last: u32::from_le_bytes([l0, l1, l2, l3]),
            file: u32::from_le_bytes([f0, f1, f2, f3]),
            left_out: left_out != 0,
        };
        self.names.names.insert(u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]), name);
        self.names.names.len() <= MAX_ENTRIES as usize
    }
}

/// Passes the archive in `source` on to `sink`, to its end marker; then reads `source` to its end.
///
/// # Errors
/// [`Code::BadImage`] naming the first entry that breaks a rule, or those of `source` and `sink`.
pub fn pass(source: &mut dyn Source, sink: &mut dyn Sink, known: &Known) -> Result<Passed> {
    let mut archive = Archive {
        source,
        sink,
        block: [0; BLOCK],
        entries: 0,
        next: Extension::default(),
        names: known.with_head(known.head()).names,
        known: known.complete.then_some(&known.names),
        unified: known.unified,
        has_root: false,
        useless: Useless::No,
        left_out: LeftOut::default(),
    };
    while archive.entry()? {}
    archive.rest()?;
    let complete = match archive.useless {
        Useless::No if archive.unified && !archive.has_root => {
            return Err(bad(
                "it has a metadata.yaml, as images of Incus and LXD have, but no rootfs beside it",
            ));
        }
        Useless::No => return Ok(Passed::Whole(archive.left_out)),
        Useless::Replaced => true,
        Useless::Misunderstood => false,
    };
    let mut again = known.with_head((complete, archive.unified));
    if complete {
        again.names = archive.names;
    }
    Ok(Passed::Again(again))
}

/// Whether what was passed on does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Useless {
    No,
    /// Something took the place of what was passed on.
    Replaced,
    /// It was taken for the root, and is what Incus says of it.
    Misunderstood,
}

struct Archive<'a> {
    source: &'a mut dyn Source,
    sink: &'a mut dyn Sink,
    block: [u8; BLOCK],
    /// Entries of all kinds that were begun.
    entries: u32,
    /// What extension headers said of the entry to come.
    next: Extension,
    /// Those that came so far; of no use where all are known.
    names: Names,
    /// All, of an earlier reading.
    known: Option<&'a Names>,
    /// It is an image of Incus or LXD: the root is below `rootfs/`, beside what they say of it.
    unified: bool,
    /// There is something below that.
    has_root: bool,
    useless: Useless,
    left_out: LeftOut,
}

/// What a GNU long name or a pax header says of the entry behind it.
#[derive(Default)]
struct Extension {
    /// Bytes of all of them.
    bytes: u64,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    owner: (Option<u32>, Option<u32>),
    mtime: Option<i64>,
    /// Extended attributes by their names: the record of each, or nothing for what a squashfs does not hold.
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    left_out: LeftOut,
}

impl Archive<'_> {
    /// Passes on one entry; false when it was the end marker.
    fn entry(&mut self) -> Result<bool> {
        self.read_block()?;
        if self.block == [0; BLOCK] {
            return self.end_marker();
        }
        let header = *Header::from_byte_slice(&self.block).as_bytes();
        let header = Header::from_byte_slice(&header);
        check_sum(header)?;
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(bad(format_args!("it has more than {MAX_ENTRIES} entries")));
        }
        let size = size_of_entry(header)?;
        match (header.entry_type(), header.entry_type().as_byte()) {
            (EntryType::GNULongName, _) => self.next.path = Some(self.long_name(size)?),
            (EntryType::GNULongLink, _) => self.next.link = Some(self.long_name(size)?),
            // Solaris wrote its extended headers as X before pax had them.
            (EntryType::XHeader, _) | (_, b'X') => {
                let records = self.extension(size)?;
                self.next.read_pax(&records)?;
            }
            (EntryType::XGlobalHeader, _) => {
                let records = self.extension(size)?;
                check_global_pax(&records)?;
            }
            // The archive's own label.
            (_, b'V') => drop(self.extension(size)?),
            // Solaris' access list of the next entry.
            (_, b'A') => {
                self.extension(size)?;
                self.next.left_out.acls += 1;
            }
            _ => self.member(header, size)?,
        }
        Ok(true)
    }

    /// A member proper: checked before a byte of it is passed on.
    fn member(&mut self, header: &Header, size: u64) -> Result<()> {
        let next = std::mem::take(&mut self.next);
        let mut member = Member::read(header, size, next)?;
        let passes = member.check().and_then(|()| Ok(self.enter_root(&mut member)? && self.passes(&member)?));
        let about = |why: String| bad(format_args!("its entry {} {why}", shown(&member.told)));
        let passes = passes.map_err(about)?;
        if passes {
            self.left_out.acls += member.left_out.acls;
            self.left_out.xattrs += member.left_out.xattrs;
            self.put(&member.to_bytes())?;
        }
        self.data(&member, passes)
    }

    /// Gives an entry its name in the root; false for one that is elsewhere. In an image of Incus or LXD the root is below
    /// `rootfs`; as a rule, its metadata.yaml comes first.
    fn enter_root(&mut self, member: &mut Member) -> std::result::Result<bool, String> {
        if member.path == b"metadata.yaml" && member.kind == EntryType::Regular && !self.unified {
            self.unified = true;
            if !self.names.names.is_empty() {
                self.useless = Useless::Misunderstood;
                self.names.names.clear();
            }
        }
        if self.unified {
            let Some(path) = below_rootfs(&member.path) else { return Ok(false) };
            self.has_root = true;
            member.path = path;
            if member.kind == EntryType::Link {
                member.target =
                    below_rootfs(&member.target).ok_or("is a hard link to what is not below rootfs")?;
            }
        }
        // The root itself is there without an entry.
        Ok(!member.path.is_empty())
    }

    /// Whether an entry is one of the image's, and nothing behind it takes its place.
    fn passes(&mut self, member: &Member) -> std::result::Result<bool, String> {
        let (path, entry) = (&member.path, self.entries);
        let target = (member.kind == EntryType::Link).then_some(member.target.as_slice());
        if let Some(names) = self.known {
            return names.holds(path, target, entry);
        }
        let left_out = member.is_in_dev() || target.is_some_and(|target| self.names.is_left_out(target));
        let seen = Seen { entry, is_directory: member.kind == EntryType::Directory, left_out };
        if self.names.add(path, target, seen)? && self.useless == Useless::No {
            self.useless = Useless::Replaced;
        }
        Ok(!left_out)
    }

    /// The data of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        self.next.bytes = self.next.bytes.saturating_add(size);
        if self.next.bytes > MAX_EXTENSION {
            return Err(bad(format_args!(
                "it has extended headers or a name of {} bytes, {MAX_EXTENSION} are allowed",
                self.next.bytes
            )));
        }
        let mut data = Vec::new();
        let mut left = size;
        while left > 0 {
            self.read_block()?;
            let part = left.min(BLOCK as u64);
            data.extend_from_slice(&self.block[..part as usize]);
            left -= part;
        }
        Ok(data)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        Ok(to_nul(&self.extension(size)?).to_vec())
    }

    /// Reads an entry's data, and passes it on.
    fn data(&mut self, member: &Member, passes: bool) -> Result<()> {
        let ended = |e: Error| match e.code {
            Code::BadImage => bad(format_args!("{} (in its entry {})", e.message, shown(&member.told))),
            _ => e,
        };
        // The size is at most i64::MAX, so rounding it up to a block cannot overflow.
        let mut left = member.size.div_ceil(BLOCK as u64) * BLOCK as u64;
        let mut chunk = vec![0; (left.min(64 << 10)) as usize];
        while left > 0 {
            let part = left.min(chunk.len() as u64) as usize;
            let got = self.source.read(&mut chunk[..part]).map_err(ended)?;
            if got == 0 {
                return Err(ended(ends_early()));
            }
            if self.entries == 1 && member.path == MANIFEST && chunk.starts_with(BEGIN.as_bytes()) {
                return Err(bad(
                    "it is a container that `cloudbox export` has written, and no image; `cloudbox import FILE NAME` makes the \
                     container of it (unpack it first, if it is packed)",
                ));
            }
            if passes {
                self.put(&chunk[..got])?;
            }
            left -= got as u64;
        }
        Ok(())
    }

    /// Passes `data` on, as long as that is of use.
    fn put(&mut self, data: &[u8]) -> Result<()> {
        match self.useless {
            Useless::No => self.sink.write(data),
            _ => Ok(()),
        }
    }

    /// The first of the two zero blocks at the end is read; the second must follow. Both are passed in one go:
    /// mksquashfs is content with the first, and may have ended before it is given another.
    fn end_marker(&mut self) -> Result<bool> {
        self.read_block()?;
        if self.block != [0; BLOCK] {
            return Err(bad("damaged: it has an empty block between its entries"));
        }
        self.put(&[0; 2 * BLOCK])?;
        Ok(false)
    }

    /// Behind the end marker there is only padding. It is read to the end, so that a decompressor checks its sums and
    /// the file's sha256 covers all of it, but not passed on: mksquashfs has stopped reading.
    fn rest(&mut self) -> Result<()> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            let got = self.source.read(&mut chunk)?;
            if got == 0 {
                return Ok(());
            }
            if chunk[..got].iter().any(|b| *b != 0) {
                return Err(bad("it has data behind the end of the archive"));
            }
        }
    }

    fn read_block(&mut self) -> Result<()> {
        let mut filled = 0;
        while filled < BLOCK {
            let got = self.source.read(&mut self.block[filled..])?;
            if got == 0 {
                return Err(ends_early());
            }
            filled += got;
        }
        Ok(())
    }
}

/// What `path` is below `rootfs`; None for what is elsewhere.
fn below_rootfs(path: &[u8]) -> Option<Vec<u8>> {
    let below = path.strip_prefix(b"rootfs")?;
    let below = below.strip_prefix(b"/").or_else(|| below.is_empty().then_some(below))?;
    Some(below.to_vec())
}

/// The names of an archive, as far as it was read, and which entries hold.
///
/// A name is kept as a hash of 64 bits that nobody can foresee. Should two of a million names share theirs (1 in 10^7),
/// they are taken for one.
#[derive(Debug, Default, Clone)]
struct Names {
    hash: RandomState,
    names: HashMap<u64, Name>,
}

/// A name: entries are counted from 1, and 0 is none.
#[derive(Debug, Default, Clone, Copy)]
struct Name {
    /// Its last entry; 0 for a directory that only others are in.
    last: u32,
    /// The last entry by which it was no directory.
    file: u32,
    left_out: bool,
}

impl Name {
    fn is_directory(self) -> bool {
        self.last == 0 || self.last != self.file
    }
}

/// An entry of a name.
#[derive(Debug, Clone, Copy)]
struct Seen {
    entry: u32,
    is_directory: bool,
    left_out: bool,
}

impl Names {
    /// The keys of the directories that `path` is in, the outermost first, then its own.
    fn keys<'a>(&self, path: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
        components(path).scan(self.hash.build_hasher(), |hasher: &mut DefaultHasher, component| {
            hasher.write(component);
            hasher.write_u8(b'/');
            Some(hasher.finish())
        })
    }

    fn get(&self, path: &[u8]) -> Option<Name> {
        self.names.get(&self.keys(path).last()?).copied()
    }

    fn is_left_out(&self, path: &[u8]) -> bool {
        self.get(path).is_some_and(|name| name.left_out)
    }

    /// Takes up an entry for `path`, a hard link to `link` if that is one. Tells whether an earlier entry should not have
    /// been passed on.
    fn add(&mut self, path: &[u8], link: Option<&[u8]>, seen: Seen) -> std::result::Result<bool, String> {
        if let Some(target) = link {
            if !self.get(target).is_some_and(|name| name.last != 0 && !name.is_directory()) {
                return Err(format!("is a hard link to {}, which is no file before it", shown(target)));
            }
        }
        let mut keys: Vec<u64> = self.keys(path).collect();
        let own = keys.pop().unwrap_or_default();
        for (depth, key) in keys.into_iter().enumerate() {
            if !self.names.entry(key).or_default().is_directory() {
                let above: Vec<&[u8]> = components(path).take(depth + 1).collect();
                return Err(format!("is below {}, which is no directory", shown(&above.join(&b'/'))));
            }
        }
        let is_new = !self.names.contains_key(&own);
        let name = self.names.entry(own).or_default();
        let replaces = !is_new && (name.last != 0 || !seen.is_directory);
        name.last = seen.entry;
        if !seen.is_directory {
            name.file = seen.entry;
        }
        name.left_out = seen.left_out;
        if self.names.len() > MAX_ENTRIES as usize {
            return Err(format!("and those before it have more than {MAX_ENTRIES} names"));
        }
        Ok(replaces)
    }

    /// Whether `entry` of `path` is there at the end: it is the last of its name, and nothing that it is in became
    /// something else behind it.
    fn holds(&self, path: &[u8], link: Option<&[u8]>, entry: u32) -> std::result::Result<bool, String> {
        let stays = |path: &[u8], entry: u32| {
            let above = components(path).count().saturating_sub(1);
            let mut keys = self.keys(path);
            keys.by_ref().take(above).all(|key| self.names.get(&key).is_some_and(|name| name.file < entry))
                && keys.next().is_some_and(|key| self.names.get(&key).is_some_and(|name| name.last == entry))
        };
        if !stays(path, entry) || self.is_left_out(path) {
            return Ok(false);
        }
        let Some((target, name)) = link.and_then(|target| Some((target, self.get(target)?))) else {
            return Ok(true);
        };
        if name.last > entry || !stays(target, name.last) {
            return Err(format!(
                "is a hard link to {}, in whose place there is something else behind it; make the archive anew",
                shown(target)
            ));
        }
        Ok(true)
    }
}

impl Extension {
    /// Takes the records of a pax header.
    fn read_pax(&mut self, records: &[u8]) -> Result<()> {
        for record in pax_records(records) {
            let (key, value) = record?;
            let text = std::str::from_utf8(value).ok();
            let wrong = || bad(format_args!("an extended header has the {} {}", shown(key), shown(value)));
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size: Option<u64> = text.and_then(|text| text.parse().ok());
                    self.size = Some(size.filter(|size| i64::try_from(*size).is_ok()).ok_or_else(wrong)?);
                }
                b"uid" => self.owner.0 = Some(text.and_then(|text| text.parse().ok()).ok_or_else(wrong)?),
                b"gid" => self.owner.1 = Some(text.and_then(|text| text.parse().ok()).ok_or_else(wrong)?),
                b"mtime" => {
                    let seconds = text.map(|text| text.split_once('.').map_or(text, |(seconds, _)| seconds));
                    self.mtime = Some(seconds.and_then(|text| text.parse().ok()).ok_or_else(wrong)?);
                }
                // As `tar --acls` writes them, with --xattrs in both forms; the last is NFS' kind.
                b"SCHILY.acl.access" => self.xattr(b"SCHILY.xattr.system.posix_acl_access", value)?,
                b"SCHILY.acl.default" => self.xattr(b"SCHILY.xattr.system.posix_acl_default", value)?,
                b"SCHILY.acl.ace" => self.left_out.acls += 1,
                b"RHT.security.selinux" => self.left_out.xattrs += 1,
                _ if key.starts_with(b"GNU.sparse.") => return Err(bad(SPARSE)),
                _ => self.xattr(key, value)?,
            }
        }
        Ok(())
    }

    /// Takes the record of an extended attribute, if it is one. Some programs write each in two forms.
    fn xattr(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let name =
            [&b"SCHILY.xattr."[..], b"LIBARCHIVE.xattr."].iter().find_map(|form| key.strip_prefix(*form));
        let Some(name) = name.filter(|name| self.xattrs.iter().all(|(known, _)| known != name)) else {
            return Ok(());
        };
        if self.xattrs.len() == XATTRS_MAX {
            return Err(bad(format_args!("an entry has more than {XATTRS_MAX} extended attributes")));
        }
        let mut written = Vec::new();
        if self.left_out.keeps(name) {
            record(&mut written, key, value);
        }
        self.xattrs.push((name.to_vec(), written));
        Ok(())
    }
}

/// A global header may carry comments and times, not the names of all entries to come.
fn check_global_pax(records: &[u8]) -> Result<()> {
    for record in pax_records(records) {
        let (key, _) = record?;
        if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
            return Err(bad(format_args!("a global header sets {} for all entries", shown(key))));
        }
    }
    Ok(())
}

/// A sparse file claims any size for a few bytes. No distribution's root has one.
const SPARSE: &str = "it has a sparse file; make the archive without --sparse";

/// The records `LENGTH KEY=VALUE\n` of a pax header. Values are binary: only the length tells where one ends.
pub fn pax_records(mut data: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8])>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let record = pax_record(data);
        data = record.map_or(&[], |(_, _, rest)| rest);
        Some(
            record
                .map(|(key, value, _)| (key, value))
                .ok_or_else(|| bad("damaged: a pax header is no list of records")),
        )
    })
}

fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let record = data.get(space + 1..length)?;
    let (newline, record) = record.split_last()?;
    let equals = record.iter().position(|b| *b == b'=')?;
    (*newline == b'\n').then(|| (&record[..equals], &record[equals + 1..], &data[length..]))
}

/// Adds `LENGTH KEY=VALUE\n`, where the length counts its own digits.
pub fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// What a header that we write says.
pub struct Plain<'a> {
    /// The type.
    pub kind: EntryType,
    /// The entry's name.
    pub path: &'a [u8],
    /// Where a link leads; empty for others.
    pub link: &'a [u8],
    /// Permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub mtime: u64,
    /// Bytes of data behind it.
    pub size: u64,
}

impl Plain<'_> {
    /// It as it stands in an archive: an extended header before it has `records`, and names that are too long for its own
    /// fields.
    pub fn to_bytes(&self, mut records: Vec<u8>) -> Vec<u8> {
        for (key, value) in [(&b"path"[..], self.path), (b"linkpath", self.link)] {
            if value.len() > NAME_MAX {
                record(&mut records, key, value);
            }
        }
        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let length = records.len();
            let extended = Plain {
                kind: EntryType::XHeader,
                path: b"PaxHeader",
                link: b"",
                mode: 0o600,
                owner: (0, 0),
                mtime: 0,
                size: length as u64,
            };
            bytes.extend_from_slice(&extended.block());
            bytes.append(&mut records);
            bytes.resize(BLOCK + length.next_multiple_of(BLOCK), 0);
        }
        bytes.extend_from_slice(&self.block());
        bytes
    }

    fn block(&self) -> [u8; BLOCK] {
        // GNU's own kind of header would make its tar look for another kind of sparse files.
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        for (field, value) in [(&mut old.name, self.path), (&mut old.linkname, self.link)] {
            let length = value.len().min(NAME_MAX);
            field[..length].copy_from_slice(&value[..length]);
        }
        header.set_entry_type(self.kind);
        header.set_mode(self.mode & 0o7777);
        header.set_uid(self.owner.0.into());
        header.set_gid(self.owner.1.into());
        header.set_mtime(self.mtime);
        header.set_size(self.size);
        if let (EntryType::Char, Some(ustar)) = (self.kind, header.as_ustar_mut()) {
            ustar.set_device_major(0);
            ustar.set_device_minor(0);
        }
        header.set_cksum();
        *header.as_bytes()
    }
}

/// An entry of the archive that is none of its own workings.
struct Member {
    /// Its name, as it came.
    told: Vec<u8>,
    /// The same in the root, by its components alone; nothing for the root itself.
    path: Vec<u8>,
    kind: EntryType,
    /// Where a link leads, as it came.
    link: Vec<u8>,
    /// A hard link's target, likewise.
    target: Vec<u8>,
    /// Bytes of data behind it.
    size: u64,
    mode: u32,
    owner: (u32, u32),
    /// Seconds since 1970, as a squashfs holds them.
    mtime: u32,
    device: (Option<u32>, Option<u32>),
    /// Records of its extended attributes.
    xattrs: Vec<u8>,
    left_out: LeftOut,
}

impl Member {
    fn read(header: &Header, size: u64, next: Extension) -> Result<Member> {
        let told = next.path.unwrap_or_else(|| path_of(header));
        let link = next.link.unwrap_or_else(|| to_nul(&header.as_old().linkname).to_vec());
        let fields = header.as_old();
        let field = |field: &[u8]| match number(field).and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(number),
            None => Err(bad(format_args!("its entry {} has a damaged header", shown(&told)))),
        };
        // A directory was written with a last slash before there was a type for it.
        let kind = match header.entry_type() {
            EntryType::Regular if fields.linkflag[0] == 0 && told.ends_with(b"/") => EntryType::Directory,
            // A file that was to lie in one piece.
            EntryType::Continuous => EntryType::Regular,
            kind => kind,
        };
        // What other programs say of the size of what is no file means nothing: no data follows.
        let size = if kind == EntryType::Regular { next.size.unwrap_or(size) } else { 0 };
        let mtime = next.mtime.unwrap_or_else(|| {
            number(&fields.mtime).map_or(0, |time| i64::try_from(time).unwrap_or(i64::MAX))
        });
        Ok(Member {
            path: normal(&told),
            kind,
            target: if kind == EntryType::Link { normal(&link) } else { Vec::new() },
            link,
            size,
            mode: field(&fields.mode)?,
            owner: (
                next.owner.0.map_or_else(|| field(&fields.uid), Ok)?,
                next.owner.1.map_or_else(|| field(&fields.gid), Ok)?,
            ),
            mtime: u32::try_from(mtime.max(0)).unwrap_or(u32::MAX),
            device: device(header),
            xattrs: next.xattrs.into_iter().flat_map(|(_, record)| record).collect(),
            left_out: next.left_out,
            told,
        })
    }

    /// The rule it breaks.
    fn check(&self) -> std::result::Result<(), String> {
        check_path(&self.told, "its name", MAX_PATH)?;
        match self.kind {
            EntryType::Regular | EntryType::Directory | EntryType::Fifo => Ok(()),
            // Its target may be anything, absolute too: every Debian has such links. Nothing on the host follows them:
            // inside the container they lead to the container's own root, and we walk images with RESOLVE_IN_ROOT.
            EntryType::Symlink if self.link.is_empty() => Err("is a symbolic link to nothing".into()),
            EntryType::Symlink => Ok(()),
            // A hard link names another entry, so the rules of names hold for its target.
            EntryType::Link => check_path(&self.link, "the target of its hard link", MAX_PATH),
            EntryType::Char | EntryType::Block if self.is_in_dev() => Ok(()),
            EntryType::Char | EntryType::Block => {
                let number = |n: Option<u32>| n.map_or_else(|| "?".to_string(), |n| n.to_string());
                let (major, minor) = (number(self.device.0), number(self.device.1));
                Err(format!(
                    "is a device node ({major}:{minor}) outside of dev; make the archive without it, a container gets its own"
                ))
            }
            EntryType::GNUSparse => Err(SPARSE.replace("it has", "is")),
            other => Err(format!("is of the unknown type {}", shown(&[other.as_byte()]))),
        }
    }

    /// Whether it is a device node where they are usual. No image needs one: it is mounted `nodev`, and a container has a
    /// /dev of its own.
    fn is_in_dev(&self) -> bool {
        let above = self.path.rsplitn(2, |byte| *byte == b'/').nth(1).unwrap_or_default();
        matches!(self.kind, EntryType::Char | EntryType::Block)
            && components(above).any(|name| name == b"dev")
    }

    /// It as mksquashfs is given it.
    fn to_bytes(&self) -> Vec<u8> {
        let plain = Plain {
            kind: self.kind,
            path: &self.path,
            link: if self.kind == EntryType::Link { &self.target } else { &self.link },
            mode: self.mode,
            owner: self.owner,
            mtime: self.mtime.into(),
            size: self.size,
        };
        plain.to_bytes(self.xattrs.clone())
    }
}

/// `path` by its components alone.
fn normal(path: &[u8]) -> Vec<u8> {
    let components: Vec<&[u8]> = components(path).collect();
    components.join(&b'/')
}

/// What of a field is before its NUL.
fn to_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The name in a header. Its prefix counts where the magic number says that it has one, in whatever version.
pub fn path_of(header: &Header) -> Vec<u8> {
    let bytes = header.as_bytes();
    let (name, magic, prefix) = (to_nul(&bytes[..100]), &bytes[257..263], to_nul(&bytes[345..500]));
    if magic == b"ustar\0" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// The components of `path` that name something.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// A path that stays within the archive and has `most` bytes at most. `what` is the path in the sentence.
pub fn check_path(path: &[u8], what: &str, most: usize) -> std::result::Result<(), String> {
    if path.is_empty() {
        return Err(format!("breaks a rule: {what} is empty"));
    }
    if path.starts_with(b"/") {
        return Err(format!("breaks a rule: {what}, {}, is absolute", shown(path)));
    }
    if components(path).any(|c| c == b"..") {
        return Err(format!("breaks a rule: {what}, {}, contains '..'", shown(path)));
    }
    if path.contains(&0) {
        return Err(format!("breaks a rule: {what} contains a NUL"));
    }
    if path.len() > most || components(path).any(|c| c.len() > MAX_COMPONENT) {
        return Err(format!("breaks a rule: {what} is longer than a path can be"));
    }
    Ok(())
}

/// Whether `block` is one by its checksum; what has none of the letters of a name is not.
pub fn is_header(block: &[u8]) -> bool {
    block.len() == BLOCK && block[0] != 0 && check_sum(Header::from_byte_slice(block)).is_ok()
}

pub fn check_sum(header: &Header) -> Result<()> {
    let bytes = header.as_bytes();
    // The sum counts its own field as eight spaces.
    let sum = bytes[..148].iter().chain(&bytes[156..]).fold(8 * 32, |sum: u32, b| sum + u32::from(*b));
    match number(&header.as_old().cksum) {
        Some(told) if told == u64::from(sum) => Ok(()),
        _ => Err(bad("damaged: it has a header with a wrong checksum, or is no tar archive")),
    }
}

pub fn size_of_entry(header: &Header) -> Result<u64> {
    match number(&header.as_old().size) {
        Some(size) if i64::try_from(size).is_ok() => Ok(size),
        _ => Err(bad(format_args!(
            "its entry {} has a size that is no number or too large",
            shown(&header.path_bytes())
        ))),
    }
}

/// A number of a header: octal digits, or behind a first byte of 0x80 digits to the base of 256. The library's own
/// reader overlooks digits in front of the last eight, and makes an error with the entry's path for each field.
pub fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, digits @ ..] = field {
        return digits
            .iter()
            .try_fold(0_u64, |number, digit| number.checked_mul(256)?.checked_add((*digit).into()));
    }
    let digits = field.split(|byte| *byte == 0).next()?;
    match std::str::from_utf8(digits).ok()?.trim() {
        "" => Some(0),
        digits => u64::from_str_radix(digits, 8).ok(),
    }
}

/// Major and minor number, in the formats that have them.
pub fn device(header: &Header) -> (Option<u32>, Option<u32>) {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
        (None, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
        (None, None) => return (None, None),
    };
    let number = |field: &[u8]| number(field)?.try_into().ok();
    (number(major), number(minor))
}

fn ends_early() -> Error {
    bad("truncated: the archive ends early; download or copy it again")
}

/// A name out of the archive as it may stand in a message.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= 120 {
        return quoted(&text);
    }
    let cut: String = text.chars().take(117).collect();
    quoted(&cut) + "..."
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::Builder;

    struct Memory(Vec<u8>, usize);

    impl Source for Memory {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            // An odd piece at a time, as a pipe gives them.
            let n = buffer.len().min(self.0.len() - self.1).min(700);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    impl Sink for Vec<u8> {
        fn write(&mut self, data: &[u8]) -> Result<()> {
            self.extend_from_slice(data);
            Ok(())
        }
    }

    /// A reader that leaves at the first block of zeros, as mksquashfs may.
    struct Hasty {
        ended: bool,
    }

    impl Sink for Hasty {
        fn write(&mut self, data: &[u8]) -> Result<()> {
            assert!(!self.ended, "nobody reads any more");
            self.ended = data[..data.len().min(BLOCK)].iter().all(|byte| *byte == 0);
            Ok(())
        }
    }

    #[test]
    fn nothing_is_passed_to_a_reader_that_left_at_the_end_marker() {
        let passed =
            pass(&mut Memory(one(b"file", b'0', b""), 0), &mut Hasty { ended: false }, &Known::default());
        assert!(matches!(passed, Ok(Passed::Whole(_))));
    }

    /// What mksquashfs is given of an archive, and what is left out.
    fn passed(archive: &[u8]) -> std::result::Result<(Vec<u8>, LeftOut), String> {
        let mut again = Known::default();
        for _ in 0..3 {
            let mut out = Vec::new();
            let passed = pass(&mut Memory(archive.to_vec(), 0), &mut out, &again).map_err(|e| {
                assert_eq!(e.code, Code::BadImage, "{}", e.message);
                e.into_message()
            })?;
            match passed {
                Passed::Whole(left_out) => return Ok((out, left_out)),
                Passed::Again(known) => again = known,
            }
        }
        panic!("read three times, and still not known");
    }

    /// The entries that mksquashfs is given: type, name, where a link leads, bytes.
    fn check(archive: &[u8]) -> std::result::Result<Vec<String>, String> {
        let (out, _) = passed(archive)?;
        let mut archive = tar::Archive::new(&out[..]);
        let entry = |entry: std::io::Result<tar::Entry<&[u8]>>| {
            let entry = entry.unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let kind = char::from(entry.header().entry_type().as_byte());
            let link = entry.link_name_bytes().map_or(String::new(), |link| format!(" -> {}", text(&link)));
            format!("{kind} {}{link} {}", text(&entry.path_bytes()), entry.size())
        };
        let entries = archive.entries().unwrap().map(entry).collect();
        Ok(entries)
    }

    /// A header with raw names, as no careful program would write it.
    fn header(name: &[u8], kind: u8, size: u64, change: impl Fn(&mut Header)) -> Header {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkflag = [kind];
        header.set_size(size);
        header.set_mode(0o644);
        change(&mut header);
        header.set_cksum();
        header
    }

    fn archive(parts: &[(&Header, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (header, data) in parts {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn one(name: &[u8], kind: u8, link: &[u8]) -> Vec<u8> {
        archive(&[(
            &header(name, kind, 0, |h| h.as_old_mut().linkname[..link.len()].copy_from_slice(link)),
            b"",
        )])
    }

    fn device(name: &str, kind: u8, major: u32, minor: u32) -> Vec<u8> {
        let set = |h: &mut Header| {
            h.set_device_major(major).unwrap();
            h.set_device_minor(minor).unwrap();
        };
        archive(&[(&header(name.as_bytes(), kind, 0, set), b"")])
    }

    fn pax(records: &[u8]) -> Vec<u8> {
        let x = header(b"PaxHeader", b'x', records.len() as u64, |_| {});
        archive(&[(&x, records), (&header(b"file", b'0', 3, |_| {}), b"abc")])
    }

    /// A pax header of one record, and a file behind it.
    fn pax_of(key: &str, value: &str) -> Vec<u8> {
        let mut length = key.len() + value.len() + 3;
        while length.to_string().len() + key.len() + value.len() + 3 > length {
            length += 1;
        }
        pax(format!("{length} {key}={value}\n").as_bytes())
    }

    #[test]
    fn what_every_image_has_passes() {
        for (what, bytes) in [
            ("the root", one(b"./", b'5', b"")),
            ("a file", one(b"./etc/passwd", b'0', b"")),
            ("an old file", one(b"etc/passwd", 0, b"")),
            ("dots in a name", one(b"a/..b/c..", b'0', b"")),
            ("a relative symlink", one(b"a", b'2', b"b")),
            ("an absolute symlink", one(b"etc/mtab", b'2', b"/proc/self/mounts")),
            ("a symlink upwards", one(b"a/b", b'2', b"../../../etc/passwd")),
            ("a fifo", one(b"run/initctl", b'6', b"")),
            ("an empty archive", vec![0; 1024]),
            ("more padding", vec![0; 10240]),
        ] {
            assert!(check(&bytes).is_ok(), "{what}: {:?}", check(&bytes));
        }
    }

    #[test]
    fn a_real_archive_with_long_names_passes() {
        let mut builder = Builder::new(Vec::new());
        let long = "d/".repeat(150) + "file";
        for (name, size) in [("a", 0_usize), ("b", 1), ("c", 512), ("d/e", 100_000), (long.as_str(), 513)] {
            let mut header = Header::new_gnu();
            header.set_size(size as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, name, &vec![7; size][..]).unwrap();
        }
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(EntryType::Link);
        builder.append_link(&mut header, "link", &long).unwrap();
        // A file capability is binary, with newlines and '=' in it.
        builder
            .append_pax_extensions([("SCHILY.xattr.security.capability", &b"\x01=\n\n\x00\n"[..])])
            .unwrap();
        let mut header = Header::new_gnu();
        header.set_size(0);
        builder.append_data(&mut header, "ping", &b""[..]).unwrap();
        let archive = builder.into_inner().unwrap();
        let entries = check(&archive).unwrap();
        let long_one = |start: &str, end: &str| [start, long.as_str(), end].concat();
        assert_eq!(
            entries,
            [
                "0 a 0",
                "0 b 1",
                "0 c 512",
                "0 d/e 100000",
                &long_one("0 ", " 513"),
                &long_one("1 link -> ", " 0"),
                "0 ping 0"
            ]
        );
        let (out, left_out) = passed(&archive).unwrap();
        let capability = b"SCHILY.xattr.security.capability=\x01=\n\n\x00\n\n";
        assert!(out.windows(capability.len()).any(|window| window == capability));
        assert_eq!(left_out, LeftOut::default());
    }

    /// An archive of entries with a type, a name, and where a link leads or what is in a file.
    fn entries(all: &[(u8, &str, &str)]) -> Vec<u8> {
        let mut parts = Vec::new();
        for (kind, name, text) in all {
            let size = if *kind == b'0' { text.len() as u64 } else { 0 };
            let link = if size > 0 { "" } else { text };
            let set = |h: &mut Header| h.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            parts.push((
                header(name.as_bytes(), *kind, size, set),
                if size > 0 { text.as_bytes() } else { b"" },
            ));
        }
        let parts: Vec<(&Header, &[u8])> = parts.iter().map(|(header, data)| (header, *data)).collect();
        archive(&parts)
    }

    #[test]
    fn the_last_entry_of_a_name_holds() {
        for (what, archive, left) in [
            ("a file", entries(&[(b'0', "f", "first"), (b'0', "./f", "2")]), vec!["0 f 1"]),
            (
                "a directory, with what is in it",
                entries(&[(b'5', "d", ""), (b'0', "d/f", "x"), (b'5', "d/", "")]),
                vec!["0 d/f 1", "5 d 0"],
            ),
            (
                "a directory that had no entry",
                entries(&[(b'0', "d/f", "x"), (b'5', "d", "")]),
                vec!["0 d/f 1", "5 d 0"],
            ),
            (
                "a link in the place of a directory",
                entries(&[(b'0', "d/e/f", "x"), (b'0', "d2", "y"), (b'2', "d", "e")]),
                vec!["0 d2 1", "2 d -> e 0"],
            ),
            (
                "a directory in the place of a file",
                entries(&[(b'0', "d", "x"), (b'5', "d", ""), (b'0', "d/f", "y")]),
                vec!["5 d 0", "0 d/f 1"],
            ),
            (
                "both names of a file",
                entries(&[(b'0', "a", "old"), (b'1', "b", "a"), (b'0', "a", "new!"), (b'1', "b", "./a")]),
                vec!["0 a 4", "1 b -> a 0"],
            ),
            ("the root", entries(&[(b'5', ".", ""), (b'0', "f", "x"), (b'5', "./", "")]), vec!["0 f 1"]),
        ] {
            assert_eq!(check(&archive).unwrap(), left, "{what}");
        }
        for (archive, why) in [
            (
                entries(&[(b'0', "a", "old"), (b'1', "b", "a"), (b'0', "a", "new")]),
                "\"b\" is a hard link to \"a\", in whose place there is something else",
            ),
            (
                entries(&[(b'2', "l", "usr"), (b'0', "l/f", "x")]),
                "\"l/f\" is below \"l\", which is no directory",
            ),
            (
                entries(&[(b'1', "a", "b"), (b'0', "b", "x")]),
                "\"a\" is a hard link to \"b\", which is no file before it",
            ),
            (entries(&[(b'5', "d", ""), (b'1', "a", "d")]), "which is no file before it"),
        ] {
            let error = check(&archive).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_other_programs_write_is_understood() {
        let sized = |kind, name: &str, link: &str| {
            let set = |h: &mut Header| h.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            let file = header(b"f", b'0', 1, |_| {});
            archive(&[(&file, b"x"), (&header(name.as_bytes(), kind, 4096, set), b"")])
        };
        let prefix = |magic: &[u8]| {
            archive(&[(
                &header(b"f", b'0', 1, |h| {
                    h.as_mut_bytes()[257..265].copy_from_slice(magic);
                    h.as_mut_bytes()[345..348].copy_from_slice(b"a/b");
                }),
                b"x",
            )])
        };
        for (what, archive, left) in [
            ("a directory with a size", sized(b'5', "d", ""), vec!["0 f 1", "5 d 0"]),
            ("a symbolic link with a size", sized(b'2', "l", "f"), vec!["0 f 1", "2 l -> f 0"]),
            ("a hard link with a size", sized(b'1', "h", "f"), vec!["0 f 1", "1 h -> f 0"]),
            ("a label", entries(&[(b'V', "label", ""), (b'0', "f", "x")]), vec!["0 f 1"]),
            ("a contiguous file", entries(&[(b'7', "f", "")]), vec!["0 f 0"]),
            ("a directory of old", entries(&[(0, "d/", "")]), vec!["5 d 0"]),
            ("a prefix", prefix(b"ustar\x0000"), vec!["0 a/b/f 1"]),
            ("a prefix of another version", prefix(b"ustar\0  "), vec!["0 a/b/f 1"]),
            ("no prefix, but times", prefix(b"ustar  \0"), vec!["0 f 1"]),
            ("null", device("./dev/null", b'3', 1, 3), vec![]),
            ("a disk", device("dev/sda", b'4', 8, 0), vec![]),
            ("a tun", device("dev//net/tun", b'3', 10, 200), vec![]),
            ("a chroot's null", device("var/chroot/dev/null", b'3', 1, 3), vec![]),
            (
                "a hard link to a device",
                archive(&[
                    (&header(b"dev/a", b'3', 0, |_| {}), b""),
                    (
                        &header(b"dev/b", b'1', 0, |h| {
                            h.as_old_mut().linkname[..5].copy_from_slice(b"dev/a")
                        }),
                        b"",
                    ),
                    (
                        &header(b"dev/c", b'1', 0, |h| {
                            h.as_old_mut().linkname[..5].copy_from_slice(b"dev/b")
                        }),
                        b"",
                    ),
                ]),
                vec![],
            ),
        ] {
            assert_eq!(check(&archive), Ok(left.into_iter().map(String::from).collect()), "{what}");
        }
        let upwards = archive(&[(
            &header(b"evil", b'0', 0, |h| {
                h.as_mut_bytes()[257..265].copy_from_slice(b"ustar\0  ");
                h.as_mut_bytes()[345..350].copy_from_slice(b"../..");
            }),
            b"",
        )]);
        let error = check(&upwards).unwrap_err();
        assert!(error.contains("\"../../evil\", contains '..'"), "{error}");
        // GNU's sparse file, which has data of another size than the file.
        let sparse = archive(&[(&header(b"a", b'S', 9, |_| {}), b"123456789")]);
        assert!(check(&sparse).unwrap_err().contains("sparse file"));
    }

    #[test]
    fn a_header_is_known_by_its_checksum() {
        let label = header(b"label", b'V', 0, |h| h.as_mut_bytes()[257..].fill(0));
        assert!(is_header(label.as_bytes()));
        assert!(
            !is_header(&label.as_bytes()[..511]) && !is_header(&[0; BLOCK]) && !is_header(&[b'x'; BLOCK])
        );
    }

    #[test]
    fn times_are_those_of_a_squashfs() {
        let mtime = |archive: &[u8]| {
            let (out, _) = passed(archive).unwrap();
            let mut archive = tar::Archive::new(&out[..]);
            let entry = archive.entries().unwrap().last().unwrap().unwrap();
            entry.header().mtime().unwrap()
        };
        let field =
            |field: [u8; 12]| archive(&[(&header(b"a", b'0', 0, |h| h.as_old_mut().mtime = field), b"")]);
        assert_eq!(mtime(&field(*b"14524745400\0")), 0o14_524_745_400);
        assert_eq!(mtime(&field([255; 12])), 0);
        assert_eq!(mtime(&field([0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])), u64::from(u32::MAX));
        assert_eq!(mtime(&pax_of("mtime", "1700000000.123456789")), 1_700_000_000);
        assert_eq!(mtime(&pax_of("mtime", "-100.5")), 0);
    }

    fn pax_records_of(key: &str) -> Vec<u8> {
        let mut records = Vec::new();
        record(&mut records, key.as_bytes(), b"x");
        records
    }

    #[test]
    fn what_a_squashfs_cannot_hold_is_counted() {
        let left_out = |archive: &[u8]| passed(archive).unwrap().1;
        let acls = |acls| LeftOut { acls, xattrs: 0 };
        let xattrs = |xattrs| LeftOut { acls: 0, xattrs };
        for (key, counted) in [
            ("SCHILY.acl.access", acls(1)),
            ("SCHILY.acl.default", acls(1)),
            ("SCHILY.xattr.system.posix_acl_access", acls(1)),
            ("LIBARCHIVE.xattr.system.posix_acl_default", acls(1)),
            ("SCHILY.xattr.system.nfs4_acl", xattrs(1)),
            ("RHT.security.selinux", xattrs(1)),
            ("SCHILY.xattr.security.capability", xattrs(0)),
            ("SCHILY.xattr.user.mime_type", xattrs(0)),
            ("comment", xattrs(0)),
        ] {
            assert_eq!(left_out(&pax_of(key, "x")), counted, "{key}");
        }
        let solaris = header(b"a", b'A', 3, |_| {});
        assert_eq!(left_out(&archive(&[(&solaris, b"acl"), (&header(b"f", b'0', 0, |_| {}), b"")])), acls(1));
        // One list in two forms is one.
        let both =
            [pax_records_of("SCHILY.acl.access"), pax_records_of("SCHILY.xattr.system.posix_acl_access")]
                .concat();
        assert_eq!(left_out(&pax(&both)), acls(1));
        // Each is compared with all before it.
        let many = |count: usize| -> Vec<u8> {
            (0..count).flat_map(|number| pax_records_of(&format!("SCHILY.xattr.user.{number}"))).collect()
        };
        assert_eq!(left_out(&pax(&many(XATTRS_MAX))), xattrs(0));
        let error = passed(&pax(&many(XATTRS_MAX + 1))).unwrap_err();
        assert!(error.contains("more than 1000 extended attributes"), "{error}");
        // What does not get into the image has nothing that is missed there.
        let twice =
            [&pax_of("SCHILY.acl.access", "x")[..3 * BLOCK + BLOCK], &one(b"file", b'0', b"")].concat();
        assert_eq!(left_out(&twice), acls(0));
        assert_eq!(acls(1).to_string(), "1 access list (ACL)");
        let both = LeftOut { acls: 2, xattrs: 3 };
        assert_eq!(both.to_string(), "2 access lists (ACLs) and 3 other extended attributes");
    }

    #[test]
    fn an_image_of_incus_is_its_rootfs() {
        let metadata = (b'0', "metadata.yaml", "architecture: x86_64");
        let root = [(b'5', "rootfs/", ""), (b'0', "rootfs/a", "x"), (b'1', "rootfs/b", "rootfs/a")];
        let template = (b'0', "templates/hostname.tpl", "x");
        let first = entries(&[&[metadata, template][..], &root].concat());
        let last = entries(&[&root[..], &[template, metadata]].concat());
        for archive in [first, last] {
            assert_eq!(check(&archive).unwrap(), ["0 a 1", "1 b -> a 0"]);
        }
        for (archive, why) in [
            (entries(&[metadata, template]), "no rootfs beside it"),
            (entries(&[metadata, root[0], (b'1', "rootfs/m", "metadata.yaml")]), "not below rootfs"),
        ] {
            let error = check(&archive).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // Without it, a directory is a directory.
        assert_eq!(check(&entries(&root[..2])).unwrap(), ["5 rootfs 0", "0 rootfs/a 1"]);
    }

    #[test]
    fn bad_entries_are_named() {
        let long = vec![b'x'; 300];
        let long_name = header(b"././@LongLink", b'L', 300, |_| {});
        let long_evil = header(b"././@LongLink", b'L', 10, |_| {});
        let file = header(b"file", b'0', 0, |_| {});
        for (what, bytes, why) in [
            ("absolute", one(b"/etc/passwd", b'0', b""), "\"/etc/passwd\", is absolute"),
            ("upwards", one(b"../evil", b'0', b""), "\"../evil\", contains '..'"),
            ("upwards inside", one(b"a/../../evil", b'5', b""), "contains '..'"),
            ("upwards at the end", one(b"a/..", b'5', b""), "contains '..'"),
            ("no name", one(b"", b'0', b""), "is empty"),
            ("hard link out", one(b"a", b'1', b"/etc/shadow"), "hard link, \"/etc/shadow\", is absolute"),
            ("hard link up", one(b"a", b'1', b"x/../../y"), "contains '..'"),
            ("hard link to nothing", one(b"a", b'1', b""), "is empty"),
            ("symlink to nothing", one(b"a", b'2', b""), "to nothing"),
            ("disk", device("sda", b'4', 8, 0), "\"sda\" is a device node (8:0)"),
            ("null elsewhere", device("etc/null", b'3', 1, 3), "device node"),
            ("a whiteout", device("etc/dev", b'3', 0, 0), "device node (0:0) outside of dev"),
            ("unknown type", one(b"a", b'Z', b""), "unknown type \"Z\""),
            ("multi-volume", one(b"a", b'M', b""), "unknown type"),
            ("sparse", one(b"a", b'S', b""), "sparse"),
            (
                "directory with data",
                archive(&[(&header(b"d", b'5', 9, |_| {}), b"123456789")]),
                "wrong checksum",
            ),
            ("uid that is none", pax_of("uid", "-1"), "the \"uid\" \"-1\""),
            ("pax path", pax_of("path", "../../evil"), "\"../../evil\", contains '..'"),
            ("pax sparse", pax_of("GNU.sparse.major", "1"), "sparse"),
            ("pax size", pax_of("size", "9223372036854775808"), "size"),
            ("pax size in words", pax_of("size", "two"), "size"),
            ("pax nonsense", pax(b"nonsense"), "no list of records"),
            ("pax length", pax(b"99 path=a\n"), "no list of records"),
            ("pax zero length", pax(b"0 path=a\n"), "no list of records"),
            ("long name", archive(&[(&long_evil, b"../../evil"), (&file, b"")]), "contains '..'"),
            ("long component", archive(&[(&long_name, &long), (&file, b"")]), "longer than"),
            (
                "a name of a gigabyte",
                archive(&[(&header(b"l", b'L', 1 << 30, |_| {}), b"")]),
                "1073741824 bytes",
            ),
            (
                "a global name",
                archive(&[(&header(b"g", b'g', 10, |_| {}), b"10 path=a\n"), (&file, b"")]),
                "for all entries",
            ),
            (
                "a wrong sum",
                {
                    let mut bytes = one(b"a", b'0', b"");
                    bytes[0] = b'b';
                    bytes
                },
                "wrong checksum",
            ),
            (
                "data behind the end",
                [one(b"a", b'0', b""), one(b"../b", b'0', b"")].concat(),
                "behind the end",
            ),
            ("garbage", vec![b'x'; 2048], "wrong checksum"),
        ] {
            match check(&bytes) {
                Ok(_) => panic!("{what} passed"),
                Err(message) => assert!(message.contains(why), "{what}: {message}"),
            }
        }
    }

    #[test]
    fn sizes_that_overflow() {
        for field in [
            [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            *b"-00000000001",
            *b"99999999999\0",
        ] {
            let bytes = archive(&[(&header(b"a", b'0', 0, |h| h.as_old_mut().size = field), b"")]);
            let message = check(&bytes).unwrap_err();
            assert!(message.contains("too large"), "{message}");
        }
        // The largest that is a size at all: rounded up to blocks it must not overflow either.
        let field = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let bytes = archive(&[(&header(b"a", b'0', 0, |h| h.as_old_mut().size = field), b"")]);
        assert!(check(&bytes).unwrap_err().contains("truncated"));
    }

    #[test]
    fn every_shorter_archive_is_truncated() {
        let whole =
            archive(&[(&header(b"a", b'0', 700, |_| {}), &[0; 700]), (&header(b"b", b'0', 0, |_| {}), b"")]);
        assert_eq!(check(&whole).unwrap(), ["0 a 700", "0 b 0"]);
        for length in (0..whole.len()).step_by(64) {
            let message = check(&whole[..length]).unwrap_err();
            assert!(message.contains("truncated"), "{length}: {message}");
        }
    }
}
