//! simplestreams, in which servers of images tell what they have: the public ones of LXC and Incus do, and any web server
//! that serves three kinds of files can.
//!
//! `streams/v1/index.json` names files of products, `images.json` one as a rule. A product is an image for one kind of
//! processor; it has versions, each with files of several kinds, with their paths, sizes and sha256.
//!
//! **Trust.** With keys, every one of these lists must have a signature beside it, made by one of the keys: `index.json.sig`,
//! `images.json.sig`. So each list stands for itself, and with its sha256 for every image; the format itself stays as it
//! is. An index of ours also has the sha256 of its lists, so that a new one cannot be shown with old lists. What a signature
//! cannot say is that there is nothing newer: a box remembers the versions that it has had.
//!
//! The rooms: `members` goes through a long list, `publish` writes what is read here.

mod members;
pub mod publish;

use crate::error::{quoted, Error, Result};
use crate::model::image::parse_sha256;
use members::wrong;
use openwrt_ubus::blobmsg::Value;
use openwrt_ubus::{json, Fields};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;

/// Where a server's index is, below its address.
pub const INDEX: &str = "streams/v1/index.json";
/// What a signature's name ends in.
pub const SIGNATURE: &str = ".sig";

/// The most lists one index names that are read.
const LISTS_MAX: usize = 16;
/// The longest path, and the longest other text.
const PATH_MAX: usize = 512;
const TEXT_MAX: usize = 128;

/// How an image's file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packing {
    /// A squashfs.
    #[serde(rename = "squashfs")]
    Squashfs,
    /// A tar archive packed with xz.
    #[serde(rename = "tar.xz")]
    Tar,
    /// A tar archive of Incus or LXD, with the root below `rootfs`, packed in some way.
    #[serde(rename = "tar")]
    Unified,
}

impl Packing {
    /// The one that `ftype` in a list means.
    fn of(ftype: &str) -> Option<Packing> {
        match ftype {
            "squashfs" => Some(Packing::Squashfs),
            "root.tar.xz" | "rootfs.tar.xz" => Some(Packing::Tar),
            "incus_combined.tar.gz" | "lxd_combined.tar.gz" => Some(Packing::Unified),
            _ => None,
        }
    }

    /// Its name in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Packing::Squashfs => "squashfs",
            Packing::Tar => "tar.xz",
            Packing::Unified => "tar",
        }
    }
}

/// A file on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// How it is packed.
    pub packing: Packing,
    /// Where it is, below the server's address.
    pub path: String,
    /// Its sha256, in lower case.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// One version of an image that a server has for this box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The names it goes by, such as `debian/12`; the first is the one to use.
    pub aliases: Vec<String>,
    /// The system, such as `debian`.
    pub os: String,
    /// Its release, such as `bookworm`.
    pub release: String,
    /// The variant, such as `default`.
    pub variant: String,
    /// The version, which counts up: `20261122_05:24`.
    pub version: String,
    /// Its file; or why it cannot be had.
    pub item: Result<Item>,
}

/// What a server has for this box.
#[derive(Debug, Default)]
pub struct Offers {
    /// Its offers.
    pub offers: Vec<Offer>,
    /// What else there is.
    pub passed_over: PassedOver,
}

/// How many products of a server are not offered, and why.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// They are for other processors.
    pub processors: u64,
    /// Some of those.
    pub archs: BTreeSet<String>,
    /// They have no file that a container could be made of: virtual machines have none.
    pub files: u64,
    /// They have other names than what was asked for.
    pub names: u64,
}

/// The most processors that are named.
const ARCHS_MAX: usize = 4;

impl PassedOver {
    /// Adds those of another list.
    pub fn add(&mut self, other: PassedOver) {
        self.processors = self.processors.saturating_add(other.processors);
        self.files = self.files.saturating_add(other.files);
        self.names = self.names.saturating_add(other.names);
        other.archs.into_iter().for_each(|arch| self.add_arch(arch));
    }

    fn add_arch(&mut self, arch: String) {
        if self.archs.len() < ARCHS_MAX {
            self.archs.insert(arch);
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archs: Vec<&str> = self.archs.iter().map(String::as_str).collect();
        let reasons = [
            (self.processors, format!("for other processors ({})", archs.join(", "))),
            (self.files, "without a root file system for containers".to_string()),
            (self.names, "with other names".to_string()),
        ];
        let reasons: Vec<String> =
            reasons.into_iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
        match reasons.is_empty() {
            true => f.write_str("it lists nothing"),
            false => write!(f, "of what it lists, {} passed over", reasons.join(", ")),
        }
    }
}

/// The architecture as Debian calls it, for the one that `uname -m` names. Servers' lists call it by either name.
pub fn arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv8l" => "armhf",
        "armv6l" | "armv5tel" => "armel",
        "i386" | "i486" | "i586" | "i686" => "i386",
        "ppc64le" => "ppc64el",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// A list that an index names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFile {
    /// Where it is, below the server's address.
    pub path: String,
    /// Its sha256, where the index says one: then no other list can stand beside it.
    pub sha256: Option<String>,
}

impl ListFile {
    /// Checks that it can have come of [`read_index`].
    ///
    /// # Errors
    /// It leads elsewhere.
    pub fn check(&self) -> Result<()> {
        path(&self.path)?;
        self.sha256.as_deref().map_or(Ok(()), |sha256| parse_sha256(sha256).map(drop))
    }
}

impl Offer {
    /// Checks that it can have come of [`read_offers`].
    ///
    /// # Errors
    /// Its file lies elsewhere, or its names are none.
    pub fn check(&self) -> Result<()> {
        if let Ok(item) = &self.item {
            path(&item.path)?;
            parse_sha256(&item.sha256)?;
        }
        match !self.aliases.is_empty()
            && self.aliases.iter().all(|alias| is_alias(alias))
            && is_plain(&self.version)
        {
            true => Ok(()),
            false => Err(wrong("its names are none")),
        }
    }
}

/// The lists that the index in `input` names.
///
/// # Errors
/// It is no index, or names no list of images.
pub fn read_index(input: &mut dyn Read) -> Result<Vec<ListFile>> {
    let mut paths = Vec::new();
    let mut format = String::new();
    members::each(input, "index", &mut |inside, name, text| {
        if !inside {
            if name == "format" {
                format = text.to_string();
            }
            return Ok(());
        }
        let entry = Entry::read(name, text)?;
        if entry.text("datatype") == "image-downloads" && paths.len() < LISTS_MAX {
            let path = path(&entry.text("path")).map_err(|e| in_entry(name, e))?;
            let sha256 = Some(entry.text("sha256")).filter(|text| !text.is_empty());
            let sha256 = sha256.map(|text| parse_sha256(&text)).transpose().map_err(|e| in_entry(name, e))?;
            paths.push(ListFile { path, sha256 });
        }
        Ok(())
    })?;
    check_format(&format, "index:1.0")?;
    if paths.is_empty() {
        return Err(wrong("it names no list of images"));
    }
    Ok(paths)
}

/// Shows `visit` the offers for `arch` in the list in `input`: of each product its versions, the newest first. Tells what
/// it was not shown.
///
/// # Errors
/// It is no such list; or what `visit` says.
pub fn read_offers(
    input: &mut dyn Read,
    arch: &str,
    visit: &mut dyn FnMut(Offer) -> Result<()>,
) -> Result<PassedOver> {
    let mut format = String::new();
    let mut passed_over = PassedOver::default();
    members::each(input, "products", &mut |inside, name, text| {
        if !inside {
            if name == "format" {
                format = text.to_string();
            }
            return Ok(());
        }
        let product = Entry::read(name, text)?;
        let of = product.text("arch");
        if self::arch(&of) != arch {
            passed_over.processors += 1;
            passed_over.add_arch(short(&of));
            return Ok(());
        }
        let mut offers = product.offers(name);
        passed_over.files += u64::from(offers.is_empty());
        offers.sort_unstable_by(|a, b| b.version.cmp(&a.version));
        offers.into_iter().try_for_each(&mut *visit)
    })?;
    check_format(&format, "products:1.0")?;
    Ok(passed_over)
}

fn check_format(text: &str, wanted: &str) -> Result<()> {
    if text.trim_matches('"') == wanted {
        return Ok(());
    }
    let found: String = text.chars().take(TEXT_MAX).collect();
    Err(wrong(&format!(
        "its format is {}, not \"{wanted}\"",
        if found.is_empty() { "not said" } else { &found }
    )))
}

fn in_entry(name: &str, error: Error) -> Error {
    Error::new(error.code, format_args!("{}: {}", quoted(&short(name)), error.message))
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// An entry of a list.
struct Entry(Vec<u8>);

impl Entry {
    fn read(name: &str, text: &str) -> Result<Entry> {
        json::to_fields(text).map(Entry).map_err(|e| in_entry(name, wrong(&e.to_string())))
    }

    fn text(&self, key: &str) -> String {
        text_in(&Fields::new(&self.0), key)
    }

    /// The versions of a product.
    fn offers(&self, name: &str) -> Vec<Offer> {
        let aliases = self.text("aliases");
        let mut aliases: Vec<String> =
            aliases.split(',').map(str::trim).filter(|alias| is_alias(alias)).map(str::to_string).collect();
        if aliases.is_empty() && is_alias(name) {
            aliases.push(name.to_string());
        }
        let tables = |fields: &Fields<'_>, key: &str| match fields.get(key) {
            Some(Value::Table(versions)) => versions.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let versions = tables(&Fields::new(&self.0), "versions");
        let versions = Fields::new(&versions);
        let versions = versions.iter().map_while(std::result::Result::ok);
        let mut offers = Vec::new();
        for version in versions {
            let Value::Table(content) = version.value else { continue };
            let items = tables(&content, "items");
            let Some(item) = best_item(&Fields::new(&items)) else { continue };
            let version = String::from_utf8_lossy(version.name).into_owned();
            if aliases.is_empty() || !is_plain(&version) {
                continue;
            }
            offers.push(Offer {
                aliases: aliases.clone(),
                os: self.text("os"),
                release: self.text("release"),
                variant: self.text("variant"),
                item: item.map_err(|e| in_entry(name, e)),
                version,
            });
        }
        offers
    }
}

/// A text without control characters; empty when there is none.
fn text_in(fields: &Fields<'_>, key: &str) -> String {
    let text = fields.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    // Aliases are a list in one text.
    let most = if key == "aliases" { 8 * TEXT_MAX } else { PATH_MAX + 1 };
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// Whether `text` can be an alias: it is typed behind `remote:`, and becomes a name.
fn is_alias(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "/.-_:+".contains(c);
    is_plain(text) && text.chars().all(good)
}

/// The squashfs among the files of a version, or the tarball; None when it has neither.
fn best_item(items: &Fields<'_>) -> Option<Result<Item>> {
    let mut best: Option<(Packing, Fields<'_>)> = None;
    for item in items.iter().map_while(std::result::Result::ok) {
        let Value::Table(item) = item.value else { continue };
        let Some(packing) = Packing::of(&text_in(&item, "ftype")) else { continue };
        if text_in(&item, "combined_type") == "virtual-machine" {
            continue;
        }
        if best.is_none() || packing == Packing::Squashfs {
            best = Some((packing, item));
        }
    }
    best.map(|(packing, item)| read_item(packing, &item))
}

fn read_item(packing: Packing, item: &Fields<'_>) -> Result<Item> {
    let size = item.get("size").and_then(|value| value.as_i64()).and_then(|size| u64::try_from(size).ok());
    Ok(Item {
        packing,
        path: path(&text_in(item, "path"))?,
        sha256: parse_sha256(&text_in(item, "sha256"))?,
        size: size.filter(|size| *size > 0).ok_or_else(|| wrong("its size is no number of bytes"))?,
    })
}

/// Checks a path below the server's address: it stays there, on this server, and is nothing but a path.
fn path(text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "/._-:+~%@,=".contains(c);
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 200;
    // A percent could hide a dot.
    let hidden = text.to_ascii_lowercase().contains("%2e") || text.to_ascii_lowercase().contains("%2f");
    let scheme = text.split('/').next().is_some_and(|first| first.ends_with(':'));
    let bad =
        text.len() > PATH_MAX || !text.chars().all(good) || text.split('/').any(odd) || hidden || scheme;
    if bad {
        return Err(wrong(&format!(
            "the path {} leads out of the server's directory, or is none",
            quoted(&short(text))
        )));
    }
    Ok(text.to_string())
}

#[cfg(test)]
mod tests;
