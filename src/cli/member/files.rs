//! The files that a slice file names: secrets and scripts. They lie beside it.

use super::place::read_if_there;
use crate::commons::slice_file::{Group, Script, SECRET_MAX};
use crate::error::{Code, Error, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The longest script, in bytes: everything together has 16 KiB.
const SCRIPT_MAX: usize = 8 << 10;

/// The script of a group, if it has one. `beside` is the slice file's directory.
///
/// # Errors
/// Its file cannot be read, or is too long.
pub fn first_boot(group: &Group, beside: &Path) -> Result<Option<String>> {
    let text = match &group.first_boot {
        None => return Ok(None),
        Some(Script::Text(text)) => text.clone(),
        Some(Script::File(file)) => {
            let path = beside.join(file);
            String::from_utf8(read(&path)?).map_err(|_| wrong(&path, "it is not UTF-8"))?
        }
    };
    if text.len() > SCRIPT_MAX {
        let why = format!(
            "group '{}': first_boot has {} bytes, and 8 KiB are the most; have it fetch what is more",
            group.name,
            text.len()
        );
        return Err(Error::new(Code::InvalidArgument, why).about("first_boot"));
    }
    Ok(Some(text))
}

/// Names and contents of a group's secrets.
///
/// # Errors
/// A file cannot be read, is too long, or can be read by others on this computer.
pub fn secrets(group: &Group, beside: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let read = |secret: &crate::commons::slice_file::Secret| {
        let path = beside.join(&secret.file);
        let text = read(&path)?;
        let mode = fs::metadata(&path).map_err(|e| Error::io("cannot read", &path, e))?.mode();
        if mode & 0o077 != 0 {
            let why = format!("others on this computer can read it; chmod 600 {}", path.display());
            return Err(wrong(&path, &why));
        }
        if text.len() > SECRET_MAX {
            return Err(wrong(&path, &format!("it has {} bytes, and {SECRET_MAX} are the most", text.len())));
        }
        Ok((secret.name.clone(), text))
    };
    group.secrets.iter().map(read).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    read_if_there(path)?.ok_or_else(|| wrong(path, "there is no such file"))
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::new(Code::InvalidArgument, format_args!("{}: {why}", path.display()))
}
