//! Judges a tar stream while it passes on its way into mksquashfs.
//!
//! Nothing is extracted, so no entry could write outside a directory here; yet an archive that tries is hostile or
//! broken, and is refused with the name of the entry. The headers are read one block after another, because the limits
//! must hold before anything is kept in memory: a long name or an extended header claims any size it likes.

use super::bad;
use crate::error::{quoted, Code, Error, Result};
use crate::steps::tool::Source;
use tar::{EntryType, Header};

/// What tar counts in.
pub const BLOCK: usize = 512;
/// Entries in one image. Debian with a desktop has some 200,000.
const MAX_ENTRIES: u64 = 1_000_000;
/// Bytes of one long name or extended header. The longest path is 4,096 bytes, an extended attribute 65,536.
const MAX_EXTENSION: u64 = 1 << 20;
/// Longest path, as the kernel has it.
const MAX_PATH: usize = 4096;
/// Longest component of a path that squashfs holds.
const MAX_COMPONENT: usize = 255;

/// The device nodes of a plain /dev, which debootstrap puts into every image: path, major, minor. They do no harm: the
/// image is mounted `nodev`, and a container has a /dev of its own above them.
const USUAL_DEVICES: [(&str, u32, u32); 8] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
    ("dev/console", 5, 1),
    ("dev/ptmx", 5, 2),
];

/// Where the checked stream goes.
pub trait Sink {
    /// Takes all of `data`.
    ///
    /// # Errors
    /// Whatever keeps it from taking more.
    fn write(&mut self, data: &[u8]) -> Result<()>;
}

/// Passes the archive in `source` on to `sink`, to its end marker; then reads `source` to its end. Tells the number of
/// entries.
///
/// # Errors
/// [`Code::BadImage`] naming the first entry that breaks a rule, or those of `source` and `sink`.
pub fn pass(source: &mut dyn Source, sink: &mut dyn Sink) -> Result<u64> {
    let mut archive = Archive { source, sink, block: [0; BLOCK], entries: 0, next: Extension::default() };
    while archive.entry()? {}
    archive.rest()?;
    Ok(archive.entries)
}

struct Archive<'a> {
    source: &'a mut dyn Source,
    sink: &'a mut dyn Sink,
    block: [u8; BLOCK],
    entries: u64,
    /// What extension headers said of the entry to come.
    next: Extension,
}

/// What a GNU long name or a pax header says of the entry behind it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
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
        match header.entry_type() {
            EntryType::GNULongName => self.next.path = Some(self.long_name(size)?),
            EntryType::GNULongLink => self.next.link = Some(self.long_name(size)?),
            EntryType::XHeader => {
                let records = self.extension(size)?;
                self.next.read_pax(&records)?;
            }
            EntryType::XGlobalHeader => {
                let records = self.extension(size)?;
                check_global_pax(&records)?;
            }
            kind => self.member(header, kind, size)?,
        }
        Ok(true)
    }

    /// A member proper: checked before a byte of it is passed on.
    fn member(&mut self, header: &Header, kind: EntryType, size: u64) -> Result<()> {
        let extension = std::mem::take(&mut self.next);
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link =
            extension.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        let size = extension.size.unwrap_or(size);
        let device = device(header);
        let member = Member { path: &path, kind, link: &link, size, device };
        if let Err(why) = member.check() {
            return Err(bad(format_args!("its entry {} {why}", shown(&path))));
        }
        self.pass_block()?;
        self.pass_data(size).map_err(|e| match e.code {
            Code::BadImage => bad(format_args!("{} (in its entry {})", e.message, shown(&path))),
            _ => e,
        })
    }

    /// The header of an extension, then its data, kept.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(bad(format_args!(
                "it has an extended header or a name of {size} bytes, {MAX_EXTENSION} are allowed"
            )));
        }
        self.pass_block()?;
        let mut data = Vec::new();
        let mut left = size;
        while left > 0 {
            self.read_block()?;
            let part = left.min(BLOCK as u64);
            data.extend_from_slice(&self.block[..part as usize]);
            self.pass_block()?;
            left -= part;
        }
        Ok(data)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.extension(size)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn pass_data(&mut self, size: u64) -> Result<()> {
        // The size is at most i64::MAX, so rounding it up to a block cannot overflow.
        let mut left = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        let mut chunk = vec![0; (left.min(64 << 10)) as usize];
        while left > 0 {
            let part = left.min(chunk.len() as u64) as usize;
            let got = self.source.read(&mut chunk[..part])?;
            if got == 0 {
                return Err(ends_early());
            }
            self.sink.write(&chunk[..got])?;
            left -= got as u64;
        }
        Ok(())
    }

    /// The first of the two zero blocks at the end is read; the second must follow. Both are passed in one go:
    /// mksquashfs is content with the first, and may have ended before it is given another.
    fn end_marker(&mut self) -> Result<bool> {
        self.read_block()?;
        if self.block != [0; BLOCK] {
            return Err(bad("damaged: it has an empty block between its entries"));
        }
        self.sink.write(&[0; 2 * BLOCK])?;
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

    fn pass_block(&mut self) -> Result<()> {
        self.sink.write(&self.block)
    }
}

impl Extension {
    /// Takes the records of a pax header.
    fn read_pax(&mut self, records: &[u8]) -> Result<()> {
        for record in pax_records(records) {
            let (key, value) = record?;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                    match size {
                        Some(size) if i64::try_from(size).is_ok() => self.size = Some(size),
                        _ => {
                            return Err(bad(format_args!("an extended header has the size {}", shown(value))))
                        }
                    }
                }
                _ if key.starts_with(b"GNU.sparse.") => return Err(bad(SPARSE)),
                _ => {}
            }
        }
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

/// What the rules look at.
struct Member<'a> {
    path: &'a [u8],
    kind: EntryType,
    link: &'a [u8],
    size: u64,
    device: (Option<u32>, Option<u32>),
}

impl Member<'_> {
    /// The rule it breaks.
    fn check(&self) -> std::result::Result<(), String> {
        check_path(self.path, "its name", MAX_PATH)?;
        if !matches!(self.kind, EntryType::Regular) && self.size > 0 {
            // Programs disagree on whether data follows; what they disagree on we cannot check.
            return Err(format!("is no file and has a size of {} bytes", self.size));
        }
        match self.kind {
            EntryType::Regular | EntryType::Directory | EntryType::Fifo => Ok(()),
            // Its target may be anything, absolute too: every Debian has such links. Nothing on the host follows them:
            // inside the container they lead to the container's own root, and we walk images with RESOLVE_IN_ROOT.
            EntryType::Symlink if self.link.is_empty() => Err("is a symbolic link to nothing".into()),
            EntryType::Symlink => Ok(()),
            // A hard link names another entry, so the rules of names hold for its target.
            EntryType::Link => check_path(self.link, "the target of its hard link", MAX_PATH),
            EntryType::Char | EntryType::Block => self.check_device(),
            EntryType::GNUSparse => Err(SPARSE.replace("it has", "is")),
            other => Err(format!("is of the unknown type {}", shown(&[other.as_byte()]))),
        }
    }

    fn check_device(&self) -> std::result::Result<(), String> {
        let normal: Vec<&[u8]> = components(self.path).collect();
        let normal = normal.join(&b'/');
        let usual = USUAL_DEVICES.iter().any(|(path, major, minor)| {
            self.kind == EntryType::Char
                && normal == path.as_bytes()
                && self.device == (Some(*major), Some(*minor))
        });
        if usual {
            return Ok(());
        }
        let number = |n: Option<u32>| n.map_or_else(|| "?".to_string(), |n| n.to_string());
        Err(format!(
            "is a device node ({}:{}); make the archive without /dev, a container gets its own",
            number(self.device.0),
            number(self.device.1)
        ))
    }
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
    u64::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 8).ok()
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
        let entries = pass(&mut Memory(one(b"file", b'0', b""), 0), &mut Hasty { ended: false });
        assert_eq!(entries.unwrap(), 1);
    }

    fn check(archive: &[u8]) -> std::result::Result<u64, String> {
        let mut passed = Vec::new();
        let entries = pass(&mut Memory(archive.to_vec(), 0), &mut passed).map_err(|e| {
            assert_eq!(e.code, Code::BadImage, "{}", e.message);
            e.into_message()
        })?;
        assert!(archive.starts_with(&passed), "what is passed on is what came in");
        assert!(archive[passed.len()..].iter().all(|b| *b == 0));
        Ok(entries)
    }

    /// A header with raw names, as no careful program would write it.
    fn header(name: &[u8], kind: u8, size: u64, change: impl Fn(&mut Header)) -> Header {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::new(kind));
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
            ("a hard link", one(b"bin/b", b'1', b"./bin/a")),
            ("a fifo", one(b"run/initctl", b'6', b"")),
            ("null", device("./dev/null", b'3', 1, 3)),
            ("console", device("dev//console", b'3', 5, 1)),
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
        assert_eq!(check(&builder.into_inner().unwrap()), Ok(7 + 3));
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
            ("disk", device("dev/sda", b'4', 8, 0), "\"dev/sda\" is a device node (8:0)"),
            ("mem", device("dev/mem", b'3', 1, 1), "device node (1:1)"),
            ("null elsewhere", device("etc/null", b'3', 1, 3), "device node"),
            ("null that is a disk", device("dev/null", b'4', 1, 3), "device node"),
            ("null that is mem", device("dev/null", b'3', 1, 1), "device node"),
            ("unknown type", one(b"a", b'Z', b""), "unknown type \"Z\""),
            ("multi-volume", one(b"a", b'M', b""), "unknown type"),
            ("sparse", one(b"a", b'S', b""), "sparse"),
            ("directory with data", archive(&[(&header(b"d", b'5', 9, |_| {}), b"123456789")]), "no file"),
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
        assert_eq!(check(&whole), Ok(2));
        for length in (0..whole.len()).step_by(64) {
            let message = check(&whole[..length]).unwrap_err();
            assert!(message.contains("truncated"), "{length}: {message}");
        }
    }
}
