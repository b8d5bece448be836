//! The sparse file that makes a quota real: an ext4 file system of exactly that size.
//!
//! Formatting takes longer than starting a container, so one blank of each size is kept and copied.

use super::super::ctx::Ctx;
use super::super::filesystem;
use super::super::layout::ContainerDir;
use super::super::tool::{self, Tool};
use super::tree::{self, Progress};
use super::TEMPORARY;
use crate::error::{Error, Result};
use crate::model::size::Bytes;
use crate::sys;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Formatting the largest quota takes well under a second; a disk that needs longer is broken.
const FORMAT_TIME: Duration = Duration::from_secs(60);
/// Where ext4's superblock has the file system's UUID (s_uuid of fs/ext4/ext4.h).
const UUID_AT: u64 = SUPERBLOCK_AT + 0x68;
/// Where the superblock is.
const SUPERBLOCK_AT: u64 = 1024;
// Fields of the superblock (ext4's s_blocks_count_lo and _hi, s_log_block_size, s_feature_incompat), and one feature.
const BLOCKS_LOW: u64 = 0x4;
const LOG_BLOCK_SIZE: u64 = 0x18;
const INCOMPATIBLE: u64 = 0x60;
const BLOCKS_HIGH: u64 = 0x150;
const FEATURE_64BIT: u32 = 0x80;
/// A file system may end before its file does, by less than the tables of one of its groups take.
const ROUNDING: u64 = 8 << 20;
/// Growing writes the tables of the new part: seconds for hundreds of gigabytes.
const GROW_TIME: Duration = Duration::from_secs(120);

/// Makes `path`: a formatted file system of `size`, taking no more room than what is written to it.
pub fn make(ctx: &Ctx, blanks: &Path, path: &Path, size: Bytes) -> Result<()> {
    let blank = blank(ctx, blanks, size)?;
    let disk = File::options().write(true).create_new(true).open(path);
    let disk = disk.map_err(|e| Error::io("cannot make", path, e))?;
    tree::copy_data(&blank, &disk, &mut Progress::new(ctx, None))?;
    give_uuid(path).map_err(|e| Error::io("cannot give a UUID to", path, e))
}

/// The blank of that size; formatted now if there is none.
fn blank(ctx: &Ctx, blanks: &Path, size: Bytes) -> Result<PathBuf> {
    let blank = blanks.join(format!("ext4-{}", size.get()));
    if has_its_holes(&blank) {
        return Ok(blank);
    }
    // Two jobs may format at once: each its own file, and the last rename wins with an equal one.
    static MADE: AtomicU32 = AtomicU32::new(0);
    let unique = MADE.fetch_add(1, Ordering::Relaxed);
    let temporary = blanks.join(format!("{TEMPORARY}{}-{}-{unique}", size.get(), std::process::id()));
    let made = format(ctx, &temporary, size)
        .and_then(|()| fs::rename(&temporary, &blank).map_err(|e| Error::io("cannot rename to", &blank, e)));
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map(|()| blank)
}

/// Whether the blank is there, and as sparse as it was made. One that came back from a backup may take all of its size:
/// every copy of it would.
fn has_its_holes(blank: &Path) -> bool {
    fs::metadata(blank).is_ok_and(|meta| meta.blocks().saturating_mul(512) <= meta.len() / 2)
}

fn format(ctx: &Ctx, path: &Path, size: Bytes) -> Result<()> {
    let mut command = Tool::command("mkfs.ext4")?;
    File::create(path).and_then(|f| f.set_len(size.get())).map_err(|e| Error::io("cannot make", path, e))?;
    // Without metadata_csum the UUID is in no checksum, so that a copy can be given another by sixteen bytes' writing.
    // No block is kept for root: the guest's root is not the host's.
    command
        .args(["-q", "-F", "-m", "0", "-O", "^metadata_csum,^orphan_file"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(path);
    tool::run(&mut command, ctx, FORMAT_TIME).map(drop)
}

/// Opens the disk's file.
pub fn open(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).map_err(|e| Error::io("cannot open", path, e))
}

/// Makes the disk's file at least `size` long. True: the file system in it is to be grown.
pub fn stretch(file: &File, path: &Path, size: Bytes) -> Result<bool> {
    let stretch = || -> io::Result<bool> {
        if file.metadata()?.len() < size.get() {
            return file.set_len(size.get()).map(|()| true);
        }
        let (blocks, block_size) = geometry(file)?;
        Ok(size.get().saturating_sub(blocks.saturating_mul(block_size)) > ROUNDING)
    };
    stretch().map_err(|e| Error::io("cannot grow", path, e))
}

/// The blocks of the file system in the disk's file, and the bytes of each.
fn geometry(file: &File) -> io::Result<(u64, u64)> {
    let field = |at: u64| -> io::Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, SUPERBLOCK_AT + at)?;
        Ok(u32::from_le_bytes(bytes))
    };
    let blocks_low = field(BLOCKS_LOW)?;
    // Without the feature 64bit something else is there.
    let blocks_high = if field(INCOMPATIBLE)? & FEATURE_64BIT != 0 { field(BLOCKS_HIGH)? } else { 0 };
    let blocks = (u64::from(blocks_high) << 32) + u64::from(blocks_low);
    Ok((blocks, 1024 << field(LOG_BLOCK_SIZE)?.min(16)))
}

/// The size of the file system that is mounted at the layer. The superblock is read as the kernel has it, which is behind
/// the device: the file may have an older one.
pub fn mounted_size(dir: &ContainerDir) -> Option<Bytes> {
    let device = Path::new("/dev").join(filesystem::loop_device(&dir.layer())?);
    let (blocks, block_size) = geometry(&File::open(device).ok()?).ok()?;
    Some(Bytes(blocks.saturating_mul(block_size)))
}

/// Whether a file system of `size` is what was asked for: tables at its end may be missing.
pub fn is_as_large(size: Bytes, asked: Bytes) -> bool {
    asked.get().saturating_sub(size.get()) <= ROUNDING
}

/// What is wrong with the file system that is mounted at the layer.
pub fn trouble(dir: &ContainerDir) -> Option<String> {
    let told = filesystem::ext4_of_loop(&dir.layer())?;
    let count = |file: &str| {
        let text = fs::read_to_string(told.join(file)).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let (errors, warnings, layer) = (count("errors_count"), count("warning_count"), dir.layer());
    if filesystem::is_flagged_read_only(&layer) || errors > 0 && filesystem::is_read_only(&layer) {
        let why = "its disk has become read-only, since writes to it failed; the last of them are lost";
        return Some(why.into());
    }
    match (errors, warnings) {
        (0, 0) => None,
        (0, _) => Some(format!("{warnings} writes to its disk failed or were in doubt, and may be lost")),
        _ => Some(format!("the file system of its disk has {errors} errors")),
    }
}

/// Grows the file system that is mounted at the layer, with the loop device and the file below it, to `size`. False:
/// this kernel does not do that, or not for us; all is as it was then.
pub fn grow_mounted(dir: &ContainerDir, size: Bytes) -> Result<bool> {
    let path = dir.disk();
    let failed = |e: io::Error| Error::io("cannot grow", &path, e);
    let file = open(&path)?;
    let before = file.metadata().map_err(failed)?.len();
    let mounted = File::open(dir.layer()).map_err(failed)?;
    let number = mounted.metadata().map(|m| nix::sys::stat::minor(m.dev())).map_err(failed)?;
    let device = File::open(format!("/dev/loop{number}")).map_err(failed)?;
    let grow = || {
        file.set_len(size.get().max(before))?;
        sys::loop_take_new_size(device.as_fd())?;
        sys::ext4_grow(mounted.as_fd(), size.get() / geometry(&file)?.1)
    };
    let Err(error) = grow() else { return Ok(true) };
    let back = file.set_len(before).and_then(|()| sys::loop_take_new_size(device.as_fd()));
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOTTY) => back.map(|()| false).map_err(failed),
        _ => Err(failed(error)),
    }
}

/// Grows the file system in the disk's file, which is not mounted, to the length of the file.
pub fn grow_unmounted(path: &Path) -> Result<()> {
    let mut command = Tool::command("resize2fs")?;
    // It was mounted a moment ago, so that its journal is clean; without -f a check of all of it would be wanted.
    command.arg("-f").arg(path);
    tool::run(&mut command, &Ctx::silent()?, GROW_TIME).map(drop)
}

/// Gives the copy a UUID of its own, for whatever on the box looks file systems up by it.
fn give_uuid(path: &Path) -> io::Result<()> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let uuid = u128::from_str_radix(&digits, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&uuid.to_be_bytes(), UUID_AT)
}
