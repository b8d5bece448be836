//! The superblock of a squashfs, as far as it tells whether the file is one and whole, and how it is packed.

use super::bad;
use crate::error::Result;

/// Bytes of the superblock.
pub const SUPERBLOCK: usize = 96;

/// First bytes of every squashfs.
pub const MAGIC: &[u8; 4] = b"hsqs";
/// Compressors by number. No kernel reads lzma.
const COMPRESSORS: [(u16, &str); 6] =
    [(1, "gzip"), (2, "lzma"), (3, "lzo"), (4, "xz"), (5, "lz4"), (6, "zstd")];
/// What somebody may repack it with, the best one for a small box first: OpenWrt's own kernels read xz alone.
pub const COMMON: [&str; 3] = ["xz", "zstd", "gzip"];
/// The flag of one without extended attributes, and the place of their table where there is none.
const NO_XATTRS: u16 = 0x200;
const NO_TABLE: u64 = u64::MAX;

/// What a superblock says.
#[derive(Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The compressor's name.
    pub compressor: &'static str,
    /// Bytes of the filesystem; a file may be longer by padding.
    pub bytes_used: u64,
    /// Some of its files have extended attributes.
    pub xattrs: bool,
}

/// Reads the superblock in `head`, the beginning of a file of `length` bytes.
///
/// # Errors
/// [`crate::error::Code::BadImage`]: it is no squashfs this kernel could read, or not all of one.
pub fn check(head: &[u8], length: u64) -> Result<Superblock> {
    let Some(head) = head.first_chunk::<SUPERBLOCK>() else {
        return Err(bad(format_args!(
            "truncated: it has {length} bytes, a squashfs has {SUPERBLOCK} at least"
        )));
    };
    if &head[..4] != MAGIC {
        return Err(bad("it is no squashfs"));
    }
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (major, minor) = (u16_at(28), u16_at(30));
    if (major, minor) != (4, 0) {
        return Err(bad(format_args!(
            "it is a squashfs of version {major}.{minor}; make one of version 4.0"
        )));
    }
    let number = u16_at(20);
    let Some((_, compressor)) = COMPRESSORS.iter().find(|(n, _)| *n == number) else {
        return Err(bad(format_args!(
            "its compressor, number {number}, is unknown; make it with zstd, xz or gzip"
        )));
    };
    let u64_at = |at: usize| (0..8).rev().fold(0, |number, byte| number << 8 | u64::from(head[at + byte]));
    let bytes_used = u64_at(40);
    if bytes_used > length {
        return Err(bad(format_args!(
            "truncated: it has {length} of its {bytes_used} bytes; download or copy it again"
        )));
    }
    if bytes_used < SUPERBLOCK as u64 {
        return Err(bad(format_args!("damaged: its superblock says that it has {bytes_used} bytes")));
    }
    let xattrs = u16_at(24) & NO_XATTRS == 0 && u64_at(56) != NO_TABLE;
    Ok(Superblock { compressor, bytes_used, xattrs })
}

/// A squashfs with nothing in it that says that it is packed with `compressor`: whether a kernel mounts it tells whether
/// it reads such ones. None for a compressor that there is not.
pub fn empty(compressor: &str) -> Option<Vec<u8>> {
    const INODES: u64 = SUPERBLOCK as u64;
    const IDS: u64 = INODES + 2 + 32;
    const ID_TABLE: u64 = IDS + 2 + 4;
    let (number, _) = COMPRESSORS.iter().find(|(_, name)| *name == compressor)?;
    let mut bytes = MAGIC.to_vec();
    let mut put = |values: &[(u64, usize)]| {
        values.iter().for_each(|(value, size)| bytes.extend_from_slice(&value.to_le_bytes()[..*size]));
    };
    // One inode, no time, blocks of 128 KiB, no fragments.
    put(&[
        (1, 4),
        (0, 4),
        (1 << 17, 4),
        (0, 4),
        (u64::from(*number), 2),
        (17, 2),
        (NO_XATTRS.into(), 2),
        (1, 2),
        (4, 2),
        (0, 2),
    ]);
    // The root's inode, the length, and the tables: ids, attributes, inodes, directories, fragments, exports.
    put(&[
        (0, 8),
        (ID_TABLE + 8, 8),
        (ID_TABLE, 8),
        (NO_TABLE, 8),
        (INODES, 8),
        (IDS, 8),
        (NO_TABLE, 8),
        (NO_TABLE, 8),
    ]);
    // A directory, in a block that is not packed: type, mode, ids, time, number, place, links, size, offset, parent.
    put(&[
        (0x8000 | 32, 2),
        (1, 2),
        (0o755, 2),
        (0, 2),
        (0, 2),
        (0, 4),
        (1, 4),
        (0, 4),
        (2, 4),
        (3, 2),
        (0, 2),
        (2, 4),
    ]);
    // The id of root, and where that is.
    put(&[(0x8000 | 4, 2), (0, 4), (IDS, 8)]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Vec<u8> {
        let mut head = vec![0; SUPERBLOCK];
        head[..4].copy_from_slice(MAGIC);
        head[20] = 6;
        head[28] = 4;
        head[40..48].copy_from_slice(&5000_u64.to_le_bytes());
        head
    }

    #[test]
    fn a_whole_one() {
        let read = check(&superblock(), 8192).unwrap();
        assert_eq!(read, Superblock { compressor: "zstd", bytes_used: 5000, xattrs: true });
        assert!(check(&superblock(), 5000).is_ok());
    }

    #[test]
    fn attributes_and_empty_ones() {
        let mut head = superblock();
        head[56..64].fill(255);
        assert!(!check(&head, 8192).unwrap().xattrs);
        head = superblock();
        head[25] = 2;
        assert!(!check(&head, 8192).unwrap().xattrs);
        for (_, compressor) in COMPRESSORS {
            let bytes = empty(compressor).unwrap();
            let read = check(&bytes, bytes.len() as u64).unwrap();
            assert_eq!(read, Superblock { compressor, bytes_used: bytes.len() as u64, xattrs: false });
        }
        assert_eq!(empty("bzip2"), None);
    }

    #[test]
    fn bad_ones_say_why() {
        let with = |at: usize, bytes: &[u8]| {
            let mut head = superblock();
            head[at..at + bytes.len()].copy_from_slice(bytes);
            head
        };
        for (head, length, why) in [
            (vec![], 0, "truncated: it has 0 bytes"),
            (superblock()[..95].to_vec(), 95, "truncated: it has 95 bytes"),
            (superblock(), 4999, "truncated: it has 4999 of its 5000 bytes"),
            (with(0, b"sqsh"), 8192, "no squashfs"),
            (with(28, &[3]), 8192, "version 3.0"),
            (with(30, &[1]), 8192, "version 4.1"),
            (with(20, &[7]), 8192, "number 7"),
            (with(20, &[0, 1]), 8192, "number 256"),
            (with(40, &[255; 8]), 8192, "truncated"),
            (with(40, &[0; 8]), 8192, "damaged"),
        ] {
            let error = check(&head, length).unwrap_err();
            assert_eq!(error.code, crate::error::Code::BadImage);
            assert!(error.message.contains(why), "{why}: {}", error.message);
        }
    }
}
