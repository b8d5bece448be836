//! What a tree of files is, to the last bit: whatever of it differs, two lists of lines differ.

use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A line for each file below `root`: path, type, mode, owner as the guest sees it, attributes, the first of its names,
/// links, time, content.
pub fn tree_hash(root: &Path, id_base: u32) -> Vec<String> {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        let full = root.join(&path);
        if fs::symlink_metadata(&full).unwrap().is_dir() {
            let entries = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
            paths.extend(entries.map(|name| path.join(name)));
        }
    }
    paths.sort();
    let mut first_names: Vec<(u64, PathBuf)> = Vec::new();
    let mut lines = Vec::new();
    for path in paths {
        let full = if path.as_os_str().is_empty() { root.to_path_buf() } else { root.join(&path) };
        let meta = fs::symlink_metadata(&full).unwrap();
        let known = first_names.iter().find(|(inode, _)| *inode == meta.ino()).map(|(_, name)| name.clone());
        let first = known.unwrap_or_else(|| {
            first_names.push((meta.ino(), path.clone()));
            path.clone()
        });
        let content = if meta.is_file() {
            format!("{} {:x}", meta.len(), Sha256::digest(fs::read(&full).unwrap()))
        } else if meta.is_symlink() {
            format!("{:?}", fs::read_link(&full).unwrap())
        } else {
            String::new()
        };
        // The kernel makes a whiteout for itself, whoever removed the file: nobody asks for its owner, and what else
        // it is linked to, such as one that is kept for later.
        let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        let id = |id: u32| if whiteout { 0 } else { i64::from(id) - i64::from(id_base) };
        let links = if meta.is_dir() || whiteout { 0 } else { meta.nlink() };
        let mut xattrs = cloudbox::sys::xattrs(&full).unwrap();
        xattrs.sort();
        lines.push(format!(
            "{path:?} {:o} {}:{} dev {} {xattrs:?} {first:?} {links} {}.{} {content}",
            meta.mode(),
            id(meta.uid()),
            id(meta.gid()),
            meta.rdev(),
            meta.mtime(),
            meta.mtime_nsec(),
        ));
    }
    lines
}
