//! Archives of containers: one tar file with all that another box needs.
//!
//! `manifest.json` comes first: a line of numbers (the format's version, the bytes of the image and of the layer) and
//! the container's record. Then `image.squashfs`, if it comes along, the layer below `layer/` with the guest's own ids,
//! and `sha256`: that of everything before its content. It is a tar that others read: attributes are SCHILY.xattr
//! records, sparse files GNU's of format 1.0.
//!
//! What is read is not to be trusted. `read.rs` takes it apart in a child that may next to nothing; `unpack.rs` makes the
//! files of what that says. Entries are made in the directories that they were preceded by, as a walk holds them: no name
//! is walked, so that none leads outside.

mod read;
mod unpack;
mod write;

#[cfg(test)]
mod tests;

pub use read::read_manifest;
pub use unpack::unpack;
pub use write::Writer;

use super::tree::Node;
use super::Record;
use crate::steps::walk::PATH_MAX;
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::path::PathBuf;

/// The format that is written, and the newest that is read.
const VERSION: u64 = 1;
/// The longest manifest, extended header or map of a sparse file: an extended attribute has at most 65,536 bytes.
const SMALL_MAX: u64 = 1 << 20;
/// The most pieces of a sparse file: of a map with as many, each of two numbers of 20 digits, no reader says that it is
/// longer than [`SMALL_MAX`].
const PIECES: usize = 24_000;
/// Bytes copied at once.
const CHUNK: usize = 64 << 10;
/// Bytes of a name in an archive: what a walk remembers, and `layer/` in front.
const NAME_BYTES: u64 = PATH_MAX as u64 + 6;
/// Extended attributes of an entry: the kernel lists no more of a file, whose names take 64 KiB together.
const XATTRS_OF_ONE: usize = 10_000;
/// Bytes of the extended attributes of directories one in another, which are kept until they are left.
const XATTRS_MAX: usize = 4 << 20;
/// The guest's id of what belongs to none of its users.
const NOBODY: u32 = 65534;
/// What an entry takes of the disk beside its data.
const ENTRY: u64 = 4096;

/// What an archive says of itself, in its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
