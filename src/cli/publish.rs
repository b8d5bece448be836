//! `cloudbox image publish`: images into the files of a web server, from which boxes pull them.
//!
//! The lists are made anew from what lies in the tree each time: what is published is what is there. A version, once
//! published, stays as it is: boxes may be fetching it.

use super::failure::{Failure, OK};
use super::page::Page;
use super::text::count;
use crate::error::{quoted, Code, Error, Result};
use crate::model::image::hex;
use crate::model::name::{time_name, ImageName};
use crate::simplestreams::publish::{self, File as Listed, Incus, Version};
use crate::simplestreams::{self, Packing, SIGNATURE};
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::entries;
use crate::steps::tool::{self, Tool};
use crate::usign::SecretKey;
use clap::Args;
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
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
const CHUNK: usize = 128 << 10;
/// What an image says of itself, and can be told otherwise.
const FACTS: [&str; 5] = ["name", "version", "os", "release", "arch"];

/// The option for a fact; `--version` is everywhere the program's own.
fn option_of(fact: &str) -> &str {
    match fact {
        "version" => "serial",
        other => other,
    }
}

#[derive(Args)]
pub struct Publish {
    directory: PathBuf,
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", help = "the secret key to sign the lists with")]
    key: Option<PathBuf>,
    #[command(flatten)]
    said: Said,
}

/// What is said of an image on the command line.
#[derive(Args)]
struct Said {
    #[arg(long, help = "what the image is called")]
    name: Option<String>,
    #[arg(
        long,
        value_name = "VERSION",
        help = "its version; the last in order of the letters is the newest"
    )]
    serial: Option<String>,
    #[arg(long, value_name = "SYSTEM", help = "its system, such as debian")]
    os: Option<String>,
    #[arg(long, help = "the system's release")]
    release: Option<String>,
    #[arg(long, help = "the processors it is for, such as amd64")]
    arch: Option<String>,
}

impl Said {
    /// In the order of [`FACTS`].
    fn facts(&self) -> [&Option<String>; 5] {
        [&self.name, &self.serial, &self.os, &self.release, &self.arch]
    }
}

impl Publish {
    pub fn run(self) -> std::result::Result<u8, Failure> {
        if self.images.len() > 1 && self.said.facts().iter().any(|fact| fact.is_some()) {
            return Err(Failure::usage(format_args!(
                "several images cannot have the same name or version; publish them one by one",
            )));
        }
        let mut page = Page::stdout();
        self.write(&mut page).map_err(Failure::refused)?;
        page.print()?;
        Ok(OK)
    }

    fn write(self, page: &mut Page) -> Result<()> {
        let key = self.key.as_deref().map(secret_key).transpose()?;
        let tree = Tree { root: self.directory, key };
        for image in &self.images {
            let Version { name, version, arch, .. } = tree.add(image, &self.said)?;
            page.line(&format!("{}: {name} {version} for {arch}", image.display()));
        }
        let versions = count(tree.write_lists()?, "version");
        let signed = match &tree.key {
            Some(key) => format!("signed by key {}", key.number),
            None => "not signed".to_string(),
        };
        page.line(&format!("{}: {versions}, {signed}", tree.root.display()));
        Ok(())
    }
}

fn secret_key(path: &Path) -> Result<SecretKey> {
    let about = |e: Error| Error::new(e.code, format!("--key {}: {}", path.display(), e.message));
    SecretKey::parse(&read(path)?).map_err(about)
}

/// The files of a server.
struct Tree {
    root: PathBuf,
    key: Option<SecretKey>,
}

impl Tree {
    /// Copies the image at `path` into the tree.
    fn add(&self, path: &Path, said: &Said) -> Result<Version> {
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
        for part in [&target, path] {
            through(part, &mut |chunk| {
                combined.update(chunk);
                Ok(())
            })?;
        }
        let file = Listed { path: [below, "/", INCUS].concat(), sha256, size };
        Ok(Incus { file, combined: hex(&combined.finalize()) })
    }

    /// Writes the lists of all that is in the tree.
    fn write_lists(&self) -> Result<u64> {
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
    let failed = |e: std::io::Error| Error::io("cannot read", path, e);
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
fn facts(path: &Path, packing: Packing, said: &Said) -> Result<Vec<String>> {
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
    for (at, name) in FACTS.into_iter().enumerate() {
        let found = sources.iter().find_map(|fields| fields.get(name)?.as_str().map(str::to_string));
        let mut fact = said.facts()[at].clone().or(found).unwrap_or_default();
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
                option_of(name)
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

fn digest(path: &Path) -> Result<(String, u64)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    through(path, &mut |chunk| {
        hash.update(chunk);
        size += chunk.len() as u64;
        Ok(())
    })?;
    Ok((hex(&hash.finalize()), size))
}

fn through(path: &Path, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut file = File::open(path).map_err(|e| Error::io("cannot open", path, e))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(got) => each(&chunk[..got])?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("cannot read", path, e)),
        }
    }
}

/// Copies `from` to `to`, whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<()> {
    filled(to, &mut |file, failed| through(from, &mut |chunk| file.write_all(chunk).map_err(failed)))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    filled(path, &mut |file, failed| file.write_all(content).map_err(failed))
}

type Fill<'a> = dyn FnMut(&mut File, &dyn Fn(std::io::Error) -> Error) -> Result<()> + 'a;

/// A file at `path` with what `fill` writes, whole or not at all: web servers may be reading it.
fn filled(path: &Path, fill: &mut Fill<'_>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name([".", &name, ".new"].concat());
    let failed = |e: std::io::Error| Error::io("cannot write", path, e);
    let made = File::create(&hidden).map_err(failed).and_then(|mut file| {
        fill(&mut file, &failed)?;
        file.sync_all().map_err(failed)
    });
    let made = made.and_then(|()| fs::rename(&hidden, path).map_err(failed));
    made.inspect_err(|_| drop(fs::remove_file(&hidden)))
}
