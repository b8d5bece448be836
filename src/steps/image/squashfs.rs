//! The superblock of a squashfs, as far as it tells whether the file is one and whole.

use super::bad;
use crate::error::Result;

/// Bytes of the superblock.
pub const SUPERBLOCK: usize = 96;

/// First bytes of every squashfs.
pub const MAGIC: &[u8; 4] = b"hsqs";
/// Compressors by number. lzma (2) is not here: no kernel reads it.
const COMPRESSORS: [(u16, &str); 5] = [(1, "gzip"), (3, "lzo"), (4, "xz"), (5, "lz4"), (6, "zstd")];

/// What a superblock says.
#[derive(Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The compressor's name.
    pub compressor: &'static str,
    /// Bytes of the filesystem; a file may be longer by padding.
    pub bytes_used: u64,
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
    let mut bytes_used = [0; 8];
    bytes_used.copy_from_slice(&head[40..48]);
    let bytes_used = u64::from_le_bytes(bytes_used);
    if bytes_used > length {
        return Err(bad(format_args!(
            "truncated: it has {length} of its {bytes_used} bytes; download or copy it again"
        )));
    }
    if bytes_used < SUPERBLOCK as u64 {
        return Err(bad(format_args!("damaged: its superblock says that it has {bytes_used} bytes")));
    }
    Ok(Superblock { compressor, bytes_used })
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
        assert_eq!(read, Superblock { compressor: "zstd", bytes_used: 5000 });
        assert!(check(&superblock(), 5000).is_ok());
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
            (with(20, &[2]), 8192, "number 2"),
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
