//! What is known of an image.

use super::name::ImageName;
use super::spec::{invalid, Spec};
use crate::error::{quoted, Code, Error, Result};
use serde::{Deserialize, Serialize};

/// The init system inside an image, which decides how it is asked to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd: halts on SIGRTMIN+3.
    Systemd,
    /// System V init, and OpenRC under it: halts on SIGPWR when inittab has a powerfail line.
    Sysvinit,
    /// busybox init: halts on SIGUSR1.
    Busybox,
    /// OpenWrt's procd: halts on SIGUSR1, like busybox.
    Procd,
    /// Something else: SIGPWR is tried.
    Other,
}

/// A service the image offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedService {
    /// Its name in the image, such as `tahoe-introducer`.
    pub name: String,
    /// DNS-SD type, such as `_http._tcp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// TCP or UDP port.
    pub port: u16,
    /// Off until a container is made with it; then the guest itself announces it, not the box.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// The manifest of an image in the store: `images/<sha256>/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// sha256 of the file that was imported, 64 hex digits; the image's identity.
    pub sha256: String,
    /// What the image calls itself.
    #[serde(default)]
    pub name: String,
    /// Its version, or empty.
    #[serde(default)]
    pub version: String,
    /// Operating system as in os-release's ID, such as `debian`.
    #[serde(default)]
    pub os: String,
    /// The system's release as in os-release's VERSION_ID.
    #[serde(default)]
    pub release: String,
    /// Processor architecture as `uname -m` names it.
    #[serde(default)]
    pub arch: String,
    /// Its init system.
    pub init: Init,
    /// Services it offers.
    #[serde(default)]
    pub services: Vec<OfferedService>,
    /// Where it was pulled from, `remote:alias`; empty for one that was not.
    #[serde(default)]
    pub source: String,
    /// Its version there.
    #[serde(default)]
    pub source_version: String,
    /// Bytes of the squashfs on disk.
    pub size: u64,
    /// When it was imported, seconds since 1970.
    pub imported: u64,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its manifest.
    pub manifest: Manifest,
    /// The names that point at it; none for one whose name moved on.
    pub names: Vec<ImageName>,
}

impl Manifest {
    /// The names of the services that are off until a container is made with them.
    pub fn optional(&self) -> impl Iterator<Item = &str> {
        self.services.iter().filter(|offered| offered.optional).map(|offered| offered.name.as_str())
    }
}

impl Image {
    /// Checks that every service with which a container shall be made is one that can be switched on in this image.
    ///
    /// # Errors
    /// [`crate::error::Code::InvalidArgument`], with those there are.
    pub fn check_services(&self, spec: &Spec) -> Result<()> {
        let names: Vec<&str> = self.manifest.optional().collect();
        let Some(unknown) = spec.services.iter().find(|asked| !names.contains(&asked.as_str())) else {
            return Ok(());
        };
        let there = if names.is_empty() { "none".to_string() } else { names.join(", ") };
        Err(invalid("services", unknown, &format!("image {} has {there}", spec.image)))
    }
}

/// Digits of a sha256.
pub const SHA256_DIGITS: usize = 64;

/// Digits by which an image is called that nobody has given a name.
const NAME_DIGITS: usize = 32;

/// What an image is called that is known by its sha256 alone.
pub fn name_by_hash(sha256: &str) -> String {
    sha256.chars().take(NAME_DIGITS).collect()
}

/// Whether `text` is of hex digits.
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `text` as a sha256 in lower case.
///
/// # Errors
/// [`Code::InvalidArgument`].
pub fn parse_sha256(text: &str) -> Result<String> {
    if text.len() == SHA256_DIGITS && is_hex(text) {
        return Ok(text.to_ascii_lowercase());
    }
    let shown: String = text.chars().take(SHA256_DIGITS + 1).collect();
    Err(Error::new(
        Code::InvalidArgument,
        format_args!(
            "sha256 {shown} is none; write the {SHA256_DIGITS} hex digits that sha256sum prints",
            shown = quoted(&shown)
        ),
    ))
}

/// `bytes` of a digest as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_manifest_is_read_and_written_as_ever() {
        let text = r#"{
  "sha256": "ab",
  "name": "Debian",
  "version": "1",
  "os": "debian",
  "release": "12",
  "arch": "x86_64",
  "init": "procd",
  "services": [
    {
      "name": "web",
      "type": "_http._tcp",
      "port": 80
    },
    {
      "name": "tahoe-storage",
      "type": "_tahoe._tcp",
      "port": 3458,
      "optional": true
    }
  ],
  "source": "community:debian/12",
  "source_version": "20261122_05:24",
  "size": 4096,
  "imported": 1795342500
}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string_pretty(&manifest).unwrap(), text);
        let oldest = r#"{"sha256":"ab","init":"other","size":1,"imported":2,"later":[{}]}"#;
        let manifest: Manifest = serde_json::from_str(oldest).unwrap();
        assert_eq!((manifest.init, manifest.name.as_str(), manifest.services.len()), (Init::Other, "", 0));
    }

    #[test]
    fn sha256_texts() {
        assert_eq!(parse_sha256(&"AB".repeat(32)), Ok("ab".repeat(32)));
        assert_eq!(parse_sha256(&hex(&[0xa9; 32])), Ok("a9".repeat(32)));
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(parse_sha256(wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
    }
}
