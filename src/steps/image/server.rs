//! The files of a server of images, from which boxes pull them.
//!
//! The lists are made anew from what lies in the tree each time: what is published is what is there. A version, once
//! published, stays as it is: boxes may be fetching it.

use crate::error::{quoted, Code, Error, Result};
use crate::model::image::hex;
use crate::model::name::{time_name, ImageName};
use crate::simplestreams::publish::{self, File as Listed, Incus, Version};
use crate::simplestreams::{self, Packing, SIGNATURE};
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::entries;
use crate::steps::tool::{self, Tool};
use crate::usign::SecretKey;
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is known of a published version, beside its files.
const ENTRY: &str = "entry.json";
const MANIFEST: &str = "manifest.json";
/// What Incus wants to know of it.
const INCUS: &str = "incus.tar.xz";
/// The longest of these.
const ENTRY_MAX: u64 = 256 << 10;
/// How long a look into an image may take.
const LOOK: Duration = Duration::from_secs(60);
/// What an image says of itself, and can be told otherwise; with the option that tells it. `--version` is everywhere the
/// program's own.
const FACTS: [(&str, &str); 5] =
    [("name", "name"), ("version", "serial"), ("os", "os"), ("release", "release"), ("arch", "arch")];

/// What is said of an image: name, version, system, release and architecture. It goes before what the image says.
pub type GivenFacts = [Option<String>; FACTS.len()];

/// The key in the file at `path`, by which lists are signed.
///
/// # Errors
/// It cannot be read, or is none.
pub fn secret_key(path: &Path) -> Result<SecretKey> {
    let about = |e: Error| Error::new(e.code, format!("--key {}: {}", path.display(), e.message));
    SecretKey::parse(&read(path)?).map_err(about)
}

/// The files of a server.
pub struct ServerTree {
    /// Where it is, or will be.
    pub root: PathBuf,
    /// What its lists are signed by, if they are.
    pub key: Option<SecretKey>,
}

impl ServerTree {
    /// Copies the image at `path` into the tree, and tells as what.
    ///
    /// # Errors
    /// [`Code::BadImage`]; [`Code::InvalidArgument`] where nobody says what it is; [`Code::Exists`] when this version is
    /// published with another content; what cannot be read or written.
    pub fn add(&self, path: &Path, said: &GivenFacts) -> Result<Version> {
        let (packing, file_name) = packing(path)?;
        let mut facts = facts(path, packing, said)?;
        let made = made(path, packing)?;
        facts[1] = self.dated(&facts, made)?;
        let fact = |at: usize| facts[at].clone();
        let (sha256, size) = digest(path)?;
        let below = ["images", &facts[0], &facts[4], &facts[1]].join("/");
        let place = self.root.join(&below);
        let make = fs::create_dir_all(&place);
        make.map_err(|e| Error::io("cannot create", &place, e))?;
        let known = read_entry(&place.join(ENTRY)).ok();
        if let Some(known) = known.filter(|known| known.image.sha256 != sha256) {
            let why = format!(
                "{} {} for {} is published already, with the sha256 {}; give the new one another --serial",
                facts[0], facts[1], facts[4], known.image.sha256
            );
            return Err(Error::new(Code::Exists, why));
        }
        copy(path, &place.join(file_name))?;
        let manifest = manifest_beside(path);
        let manifest = match &manifest {
            Some(manifest) => {
                copy(manifest, &place.join(MANIFEST))?;
                let (sha256, size) = digest(manifest)?;
                Some(Listed { path: [&below, "/", MANIFEST].concat(), sha256, size })
            }
            None => None,
        };
        let incus = self.add_metadata(&below, &facts, made, path)?;
        let version = Version {
            name: fact(0),
            version: fact(1),
            os: fact(2),
            release: fact(3),
            arch: fact(4),
            packing,
            image: Listed { path: [&below, "/", file_name].concat(), sha256, size },
            manifest,
            incus: Some(incus),
        };
        write(&place.join(ENTRY), &write_entry(&version)?)?;
        Ok(version)
    }

    /// What the version in `facts` is called in the lists, of an image that was made at `made`. Incus overlooks one that
    /// does not begin with a date. One that is published already keeps its name; and where there are others without a date,
    /// one with a date would be older than those.
    fn dated(&self, facts: &[String], made: u64) -> Result<String> {
        let version = &facts[1];
        let published = sorted(&self.root.join("images").join(&facts[0]).join(&facts[4]))?;
        let same = |name: &&String| {
            name.split_once('_')
                .is_some_and(|(date, rest)| begins_with_date(date) && rest == version.as_str())
        };
        if begins_with_date(version) || published.contains(version) {
            return Ok(version.clone());
        }
        if let Some(name) = published.iter().find(same) {
            return Ok(name.clone());
        }
        if published.iter().any(|name| !begins_with_date(name)) {
            log::warn!(
                "{version} does not begin with a date, as those before it do not: Incus will not see it"
            );
            return Ok(version.clone());
        }
        let date: String = time_name(made).chars().take(10).filter(char::is_ascii_digit).collect();
        Ok(format!("{date}_{version}"))
    }

    /// Puts what Incus wants to know of the image at `path` into its directory, `below` the tree's.
    fn add_metadata(&self, below: &str, facts: &[String], made: u64, path: &Path) -> Result<Incus> {
        let [name, version, os, release, arch] = facts else {
            return Err(Error::new(Code::Failed, "an image without its facts"));
        };
        // JSON is YAML, too.
        let metadata = json!({
            "architecture": arch,
            "creation_date": made,
            "properties": {
                "architecture": arch,
                "description": format!("{name} {version}"),
                "name": name,
                "os": os,
                "release": release,
                "serial": version,
                "variant": name,
            },
        });
        let metadata = format!("{metadata}\n");
        let mut header = tar::Header::new_ustar();
        header.set_size(metadata.len() as u64);
        header.set_mode(0o644);
        let mut archive = tar::Builder::new(Vec::new());
        let packed = archive.append_data(&mut header, "metadata.yaml", metadata.as_bytes());
        let packed = packed.and_then(|()| archive.into_inner());
        let place = self.root.join(below);
        let plain = place.join(".incus.tar");
        write(&plain, &packed.map_err(|e| Error::io("cannot pack", &plain, e))?)?;
        let mut xz = Tool::command("xz")?;
        let packed = tool::run(xz.args(["-zc", "-T1"]).arg(&plain), &Ctx::silent()?, LOOK);
        fs::remove_file(&plain).map_err(|e| Error::io("cannot remove", &plain, e))?;
        let target = place.join(INCUS);
        write(&target, &packed?.stdout)?;
        let (sha256, size) = digest(&target)?;
        let mut combined = Sha256::new();
        add_to(&mut combined, &target)?;
        add_to(&mut combined, path)?;
        let file = Listed { path: [below, "/", INCUS].concat(), sha256, size };
        Ok(Incus { file, combined: hex(&combined.finalize()) })
    }

    /// Writes the lists of all that is in the tree. Tells how many versions that are.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] when lists that are signed would not be any more; what cannot be read or written.
    pub fn write_lists(&self) -> Result<u64> {
        let mut versions = Vec::new();
        let images = self.root.join("images");
        for name in sorted(&images)? {
            for arch in sorted(&images.join(&name))? {
                for version in sorted(&images.join(&name).join(&arch))? {
                    let entry = images.join(&name).join(&arch).join(&version).join(ENTRY);
                    match entry.exists() {
                        true => versions.push(read_entry(&entry)?),
                        false => log::warn!("{} is not there; the version is left out", entry.display()),
                    }
                }
            }
        }
        let lists = publish::lists(&versions);
        // The index comes last: it leads to the others.
        for (name, text) in [(publish::IMAGES, &lists.images), (simplestreams::INDEX, &lists.index)] {
            let path = self.root.join(name);
            let signature = self.root.join([name, SIGNATURE].concat());
            let directory = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(directory).map_err(|e| Error::io("cannot create", directory, e))?;
            match &self.key {
                Some(key) => write(&signature, key.sign(text.as_bytes())?.to_text().as_bytes())?,
                None if signature.exists() => {
                    let why =
                        format!("{} is signed; give --key, or remove its signatures", self.root.display());
                    return Err(Error::new(Code::InvalidArgument, why));
                }
                None => {}
            }
            write(&path, text.as_bytes())?;
        }
        Ok(versions.len() as u64)
    }
}

/// Whether `version` begins with a date as in 20261129.
fn begins_with_date(version: &str) -> bool {
    let number = |from: usize, to: usize| version.get(from..to).and_then(|text| text.parse::<u32>().ok());
    let all_digits = version.bytes().take(8).filter(u8::is_ascii_digit).count() == 8;
    let (month, day) = (number(4, 6).unwrap_or(0), number(6, 8).unwrap_or(0));
    all_digits && (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// When an image was made, in seconds since 1970: a squashfs says it, of a tarball it is the file's time.
fn made(path: &Path, packing: Packing) -> Result<u64> {
    let failed = |e: io::Error| Error::io("cannot read", path, e);
    let mut file = File::open(path).map_err(failed)?;
    if packing == Packing::Squashfs {
        let mut head = [0; 12];
        file.read_exact(&mut head).map_err(failed)?;
        return Ok(head[8..].iter().rev().fold(0, |time, byte| time << 8 | u64::from(*byte)));
    }
    let time = file.metadata().and_then(|data| data.modified()).map_err(failed)?;
    Ok(time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn sorted(directory: &Path) -> Result<Vec<String>> {
    let mut names = entries(directory)?;
    names.retain(|name| directory.join(name).is_dir());
    names.sort();
    Ok(names)
}

/// How the image is packed, and what its file is called on the server.
fn packing(path: &Path) -> Result<(Packing, &'static str)> {
    let mut head = [0; 6];
    let opened = File::open(path).map_err(|e| Error::io("cannot open", path, e))?;
    let read = opened.take(6).read(&mut head);
    read.map_err(|e| Error::io("cannot read", path, e))?;
    match head {
        [b'h', b's', b'q', b's', ..] => Ok((Packing::Squashfs, "rootfs.squashfs")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Ok((Packing::Tar, "rootfs.tar.xz")),
        _ => {
            let why = format!("{} is neither a squashfs nor a tar archive packed with xz", path.display());
            Err(Error::new(Code::BadImage, why))
        }
    }
}

/// Name, version, system, release and architecture: of the options, of the manifest beside the image, of the image.
fn facts(path: &Path, packing: Packing, said: &GivenFacts) -> Result<Vec<String>> {
    let beside = manifest_beside(path).map(|manifest| read(&manifest)).transpose()?;
    let inside = match packing {
        Packing::Squashfs => look_inside(path)?,
        Packing::Tar | Packing::Unified => String::new(),
    };
    let mut sources = Vec::new();
    for text in [beside.unwrap_or_default(), inside] {
        if !text.trim().is_empty() {
            let fields: serde_json::Result<Map<String, Value>> = serde_json::from_str(&text);
            sources.push(fields.map_err(|e| {
                Error::new(Code::BadImage, format!("what {} says of itself: {e}", path.display()))
            })?);
        }
    }
    let mut facts = Vec::new();
    for (at, (name, option)) in FACTS.into_iter().enumerate() {
        let found = sources.iter().find_map(|fields| fields.get(name)?.as_str().map(str::to_string));
        let mut fact = said[at].clone().or(found).unwrap_or_default();
        if name == "arch" {
            fact = simplestreams::arch(&fact).to_string();
        }
        let needed = at < 2 || at == 4;
        let good = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
        if (needed && fact.is_empty()) || !fact.chars().all(good) || fact.starts_with('.') {
            let shown = quoted(&fact);
            let why = format!(
                "{}: its {name} is {shown}; say it with --{}, in letters, digits and '.'",
                path.display(),
                option
            );
            return Err(Error::new(Code::InvalidArgument, why));
        }
        facts.push(fact);
    }
    ImageName::new(&facts[0])?;
    Ok(facts)
}

/// What a squashfs says of itself; empty when it says nothing.
fn look_inside(path: &Path) -> Result<String> {
    let mut command = Tool::command("unsquashfs")?;
    command.arg("-cat").arg(path).arg("usr/share/cloudbox/image.json");
    let output = tool::output(&mut command, &Ctx::silent()?, LOOK)?;
    Ok(if output.status.success() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        String::new()
    })
}

/// The manifest that its maker has left beside the image: `x.manifest.json` or `x.json` for `x.squashfs`.
fn manifest_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = [".squashfs", ".tar.xz"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let beside = [".manifest.json", ".json"].map(|ending| path.with_file_name([stem, ending].concat()));
    beside.into_iter().find(|manifest| manifest.is_file())
}

fn write_entry(version: &Version) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(version).map_err(|e| Error::new(Code::Failed, e.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

fn read_entry(path: &Path) -> Result<Version> {
    serde_json::from_str(&read(path)?)
        .map_err(|e| Error::new(Code::Failed, format_args!("{}: {e}", path.display())))
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|e| Error::io("cannot open", path, e))?;
    file.take(ENTRY_MAX).read_to_string(&mut text).map_err(|e| Error::io("cannot read", path, e))?;
    Ok(text)
}

/// The sha256 of a file, and its bytes.
fn digest(path: &Path) -> Result<(String, u64)> {
    let mut hash = Sha256::new();
    let size = add_to(&mut hash, path)?;
    Ok((hex(&hash.finalize()), size))
}

fn add_to(hash: &mut Sha256, path: &Path) -> Result<u64> {
    let added = File::open(path).and_then(|mut file| io::copy(&mut file, hash));
    added.map_err(|e| Error::io("cannot read", path, e))
}

/// Copies `from` to `to`, whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(|e| Error::io("cannot open", from, e))?;
    filled(to, |file| io::copy(&mut source, file).map(drop))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    filled(path, |file| file.write_all(content))
}

/// A file at `path` with what `fill` writes, whole or not at all: web servers may be reading it.
fn filled(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name([".", &name, ".new"].concat());
    let made = File::create(&hidden).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&hidden, path)
    });
    made.map_err(|e| {
        let _ = fs::remove_file(&hidden);
        Error::io("cannot write", path, e)
    })
}
