//! Whether the box can carry one more container. The router comes first: what is reserved for it is never promised
//! to containers, even if they do not use what they were promised.

use super::size::Bytes;
use crate::error::{Code, Error, Result};

/// The box's memory as admission sees it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of the box's memory.
    pub total: u64,
    /// Kept for the box.
    pub reserve: u64,
    /// Sum of the limits of the containers that run or are being started.
    pub promised: u64,
}

/// The file system under the storage directory as admission sees it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free on the file system.
    pub free: u64,
    /// Kept for the box.
    pub reserve: u64,
    /// What containers may still write within their quotas.
    pub promised: u64,
}

/// Checks that a container with memory limit `wanted` may run.
///
/// # Errors
/// [`Code::NoMemory`], with the figures.
pub fn admit_memory(memory: Memory, wanted: Bytes) -> Result<()> {
    let left = memory.total.saturating_sub(memory.reserve).saturating_sub(memory.promised);
    if wanted.get() <= left {
        return Ok(());
    }
    Err(Error::new(
        Code::NoMemory,
        format_args!(
            "memory {}: only {} is left of {} ({} is kept for the box, {} is promised to running containers); \
             ask for less, or stop a container",
            wanted,
            Bytes(left),
            Bytes(memory.total),
            Bytes(memory.reserve),
            Bytes(memory.promised),
        ),
    ))
}

/// Checks that a container with disk quota `wanted` (None: no quota) may be made.
///
/// # Errors
/// [`Code::NoSpace`], with the figures.
pub fn admit_disk(disk: Disk, wanted: Option<Bytes>) -> Result<()> {
    let shown = wanted.map_or_else(|| "none".to_string(), |w| w.to_string());
    admit(disk, wanted.map_or(1, Bytes::get), &format!("disk {shown}"))
}

/// Checks that a copy of `bytes` may be made.
///
/// # Errors
/// [`Code::NoSpace`], with the figures.
pub fn admit_copy(disk: Disk, bytes: u64) -> Result<()> {
    admit(disk, bytes, &format!("the copy needs {}", Bytes(bytes)))
}

impl Disk {
    /// What containers may still be given.
    pub fn left(self) -> u64 {
        self.free.saturating_sub(self.reserve).saturating_sub(self.promised)
    }
}

fn admit(disk: Disk, needed: u64, what: &str) -> Result<()> {
    let left = disk.left();
    if needed <= left {
        return Ok(());
    }
    Err(Error::new(
        Code::NoSpace,
        format_args!(
            "{what}: only {} is left of {} free ({} is kept for the box, {} is promised to containers); \
             ask for less, delete a container or an image, or move the storage to a larger disk",
            Bytes(left),
            Bytes(disk.free),
            Bytes(disk.reserve),
            Bytes(disk.promised),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    #[test]
    fn memory_of_the_box_is_never_promised() {
        let memory = Memory { total: 4 * G, reserve: G, promised: 2 * G };
        assert!(admit_memory(memory, Bytes(G)).is_ok());
        let error = admit_memory(memory, Bytes(G + 1)).unwrap_err();
        assert_eq!(error.code, Code::NoMemory);
        assert!(error.message.contains("1G is left of 4G (1G is kept for the box, 2G"), "{}", error.message);
        assert!(admit_memory(Memory { total: G, reserve: 2 * G, promised: 0 }, Bytes(1)).is_err());
    }

    #[test]
    fn disk_of_the_box_is_never_promised() {
        let disk = Disk { free: 10 * G, reserve: 2 * G, promised: 4 * G };
        assert!(admit_disk(disk, Some(Bytes(4 * G))).is_ok());
        assert_eq!(admit_disk(disk, Some(Bytes(4 * G + 1))).unwrap_err().code, Code::NoSpace);
        assert!(admit_disk(disk, None).is_ok());
        assert!(admit_disk(Disk { free: 2 * G, reserve: 2 * G, promised: 0 }, None).is_err());
    }
}
