//! Values on the command line: how they are read, and what is said about those that cannot be.

use crate::error::quoted;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::path::Path;

/// A whole number of seconds.
pub fn seconds(text: &str) -> Result<u32, String> {
    number(text, "seconds")
}

/// A whole number of lines.
pub fn lines(text: &str) -> Result<u32, String> {
    number(text, "lines")
}

fn number(text: &str, what: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("is no number of {what}; write a whole one, such as 60"))
}

/// `yes` or `no`.
pub fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["yes", "no"]).map(|word| word == "yes")
}

/// A path as the daemon knows it, which works in another directory than the person who types.
pub fn path(text: &str) -> Result<String, String> {
    let absolute = std::path::absolute(text).map_err(|error| format!("is no path: {error}"))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|_| "lies below a directory that is not UTF-8".to_string())
}

/// The content of the file at `path`.
pub fn content(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// What a container is given to keep: the content of a file, under a name.
#[derive(Clone)]
pub struct Secret {
    name: String,
    content: Vec<u8>,
}

impl Secret {
    /// Reads `NAME=FILE`.
    pub fn read(text: &str) -> Result<Secret, String> {
        let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
        let (name, path) =
            parts.ok_or("is no name with a file; write NAME=FILE, such as db=./db-password")?;
        let content = std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
        Ok(Secret { name: name.to_string(), content })
    }
}

#[derive(Serialize)]
struct Encoded {
    base64: String,
}

/// Secrets as the bus takes them; none is nothing. What they hold may be no text.
pub fn as_table<S: Serializer>(secrets: &[Secret], serializer: S) -> Result<S::Ok, S::Error> {
    if secrets.is_empty() {
        return serializer.serialize_none();
    }
    let mut table = serializer.serialize_map(Some(secrets.len()))?;
    for Secret { name, content } in secrets {
        table.serialize_entry(name, &Encoded { base64: BASE64.encode(content) })?;
    }
    table.end()
}

/// The SSH keys that `text` gives: one key, or a file with one in each line.
pub fn keys(text: &str) -> Result<Vec<String>, String> {
    let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind));
    if is_key && text.contains(' ') {
        return Ok(vec![text.to_string()]);
    }
    let content = std::fs::read_to_string(text)
        .map_err(|error| format!("is neither an SSH key nor a file that can be read: {error}"))?;
    // The private half lies beside the public one, and its name is shorter to type.
    if content.contains("PRIVATE KEY") {
        return Err(format!("is a private key; give the public one, {text}.pub"));
    }
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_string).collect())
}

/// What an image from the file at `path` is called: the file's name without its ending, made a valid name.
pub fn image_name(path: &str) -> Result<String, String> {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let lower = file.to_ascii_lowercase();
    let mut stem = lower.as_str();
    for ending in [".gz", ".xz", ".zst", ".tar", ".tgz", ".txz", ".squashfs", ".sqfs", ".img"] {
        stem = stem.strip_suffix(ending).unwrap_or(stem);
    }
    let name = stem.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    match name.trim_matches('-') {
        "" => Err(format!("{} makes no name; write one behind it", quoted(path))),
        name => Ok(name.to_string()),
    }
}
