//! Paths of files on the box that callers name.

use crate::error::{quoted, Code, Error, Result};
use std::path::PathBuf;

/// The absolute path of a file on the box.
///
/// # Errors
/// [`Code::InvalidArgument`] when it is not absolute, or names no file.
pub fn file_on_the_box(path: &str) -> Result<PathBuf> {
    let absolute = PathBuf::from(path);
    if absolute.is_absolute() && absolute.file_name().is_some() {
        return Ok(absolute);
    }
    Err(Error::new(
        Code::InvalidArgument,
        format_args!("path {}: give an absolute path of a file on the box", quoted(path)),
    ))
}
