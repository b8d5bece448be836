//! Images from servers: asks for the lists, trusts them for a reason, fetches what is wanted, and hands it to the import.
//!
//! What is being fetched lies in `images/.part-<sha256>/`, on the storage's disk: it outlives the daemon, and a later pull
//! of the same file goes on from its end. An image comes of it only when its sha256 is the one in the list.

use super::import::{self, Origin};
use super::lists;
use super::store::{first_with_the_others, private_directory, Store};
use super::transfer::{Transfer, Trouble};
use crate::error::{Code, Error, Result};
use crate::model::image::{hex, Image};
use crate::model::image_source::ImageSource;
use crate::model::remote::{is_meant, Remote};
use crate::model::size::Bytes;
use crate::simplestreams::{self, Item, ListFile, Offer, Offers, Packing, PassedOver};
use crate::steps::ctx::Ctx;
use crate::steps::filesystem::{self, entries, read_up_to};
use crate::steps::outside::HostFile;
use crate::steps::tool::Tool;
use crate::steps::wait;
use crate::steps::walk::remove as remove_tree;
use crate::usign::{PublicKey, Signature};
use log::info;
use nix::sys::utsname::uname;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is being fetched, or was.
const PART: &str = ".part-";
/// The most bytes of an index, of a list and of a signature.
const INDEX_MAX: u64 = 4 << 20;
const LIST_MAX: u64 = 64 << 20;
const SMALL_MAX: u64 = 4 << 10;
/// Tries that bring nothing, before it is given up.
const TRIES: u32 = 5;
/// The longest wait between two.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Offers that one call returns.
const OFFERS_MAX: usize = 1000;
/// How long whoever wants to know hashes waits for lists.
const LISTS_PATIENCE: Duration = Duration::from_secs(120);
/// How often a pull looks whether another one of the same file has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How files are fetched.
#[derive(Debug, Clone)]
pub struct Fetching {
    /// The program; any that is there unless it is named.
    pub program: Option<&'static str>,
    /// How long to wait after the first try that failed; each further one waits twice as long.
    pub back_off: Duration,
}

impl Default for Fetching {
    fn default() -> Fetching {
        Fetching { program: None, back_off: Duration::from_secs(1) }
    }
}

/// The files that are being pulled, by their sha256: each by one job.
#[derive(Default)]
pub struct Pulls {
    names: Mutex<Vec<String>>,
    ended: Condvar,
}

/// The right to pull a file, until it is dropped.
struct Turn<'a>(&'a Pulls, &'a str);

impl Pulls {
    fn wait_for_turn<'a>(&'a self, ctx: &Ctx, sha256: &'a str) -> Result<Turn<'a>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        while names.iter().any(|name| name == sha256) {
            ctx.cancel.check()?;
            let waited = self.ended.wait_timeout(names, LOOK_AGAIN);
            names = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        names.push(sha256.to_string());
        Ok(Turn(self, sha256))
    }

    fn has(&self, sha256: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|name| name == sha256)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| name != self.1);
        self.0.ended.notify_all();
    }
}

/// See [`super::Images::available`].
pub fn available(store: &Store, ctx: &Ctx, remote: &Remote, filter: &str, until: Instant) -> Result<Offers> {
    let filter = filter.to_ascii_lowercase();
    let mut offers: Vec<Offer> = Vec::new();
    let mut last_other = Vec::new();
    let mut names = 0;
    let query = Query { store, ctx, remote, until: Some(until), archs: None };
    let mut passed_over = query.offers(&mut |_, offer| {
        let named = offer.aliases.iter().any(|alias| alias.to_ascii_lowercase().contains(&filter));
        // Of each product the newest comes first.
        let newest = offers.last().is_none_or(|last| last.aliases != offer.aliases);
        if named && newest && offers.len() < OFFERS_MAX {
            offers.push(offer);
        } else if !named && last_other != offer.aliases {
            names += 1;
            last_other = offer.aliases;
        }
        Ok(())
    })?;
    passed_over.names = names;
    Ok(Offers { offers, passed_over })
}

/// An image that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// For which processors, as the list calls them.
    pub arch: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

/// What a server has under the name `alias` for each of these processors, the newest of each first. For whoever has no
/// store of images.
///
/// # Errors
/// As [`super::Images::available`].
pub fn hashes_on(ctx: &Ctx, remote: &Remote, alias: &str, archs: &[&str]) -> Result<Vec<Listed>> {
    let scratch = std::env::temp_dir().join(format!("cloudbox-lists-{}", std::process::id()));
    // Somebody else's directory of that name is not used.
    let made = fs::DirBuilder::new().mode(0o700).create(&scratch);
    made.map_err(|e| Error::io("cannot make", &scratch, e))?;
    let store = Store::new(&scratch, &scratch, Bytes(0));
    let mut found = Vec::new();
    let until = Some(Instant::now() + LISTS_PATIENCE);
    let query = Query { store: &store, ctx, remote, until, archs: Some(archs) };
    let asked = query.offers(&mut |arch, offer| {
        if offer.aliases.iter().any(|known| is_meant(known, alias)) {
            found.push(Listed { arch: arch.to_string(), sha256: offer.item?.sha256 });
        }
        Ok(())
    });
    let removed = remove_tree(&scratch);
    match asked {
        Ok(_) => removed.map(|()| found),
        Err(error) => Err(error.with_leftovers(removed.err().as_slice())),
    }
}

/// See [`super::Images::pull`].
pub fn pull(store: &Store, ctx: &Ctx, source: &ImageSource) -> Result<Image> {
    store.prepare()?;
    check_on_disk(store.directory())?;
    ctx.step("pull.list")?;
    let found = find(store, ctx, source)?;
    let (alias, version) = (format!("{}:{}", found.remote.name, found.alias), found.version.as_str());
    // Who pins an image by its sha256 has said which one.
    if !source.allow_older && source.sha256.is_none() {
        check_not_older(store, &alias, version, source)?;
    }
    let image =
        Pull { store, ctx, source, found: &found, origin: Origin { source: &alias, version } }.run()?;
    store.note_version(&alias, version)?;
    Ok(image)
}

/// A server that is made to show an old list, rightly signed, cannot bring back an image that has been replaced.
fn check_not_older(store: &Store, alias: &str, version: &str, source: &ImageSource) -> Result<()> {
    match store.newest_version(alias)? {
        Some(newest) if version < newest.as_str() => Err(Error::new(
            Code::Checksum,
            format_args!(
                "{alias} is offered in version {version}, and version {newest} was here already: the server may have \
                 been made to show an old list; `cloudbox image pull {} --allow-older` takes it all the same",
                source.name
            ),
        )),
        _ => Ok(()),
    }
}

/// Checks that the list at `path` is the one that the index meant.
fn check_bound(list: &ListFile, path: &Path) -> Result<()> {
    let Some(expected) = &list.sha256 else { return Ok(()) };
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io("cannot read", path, e))?;
    let sha256 = hex(&hash.finalize());
    if sha256 == *expected {
        return Ok(());
    }
    Err(Error::new(
        Code::Checksum,
        format_args!(
            "it has the sha256 {sha256}, the index names {expected}: one of them is of another time; try again when the \
             server's lists are whole"
        ),
    ))
}

/// What a server has of what is wanted.
struct FoundImage<'a> {
    remote: &'a Remote,
    alias: String,
    version: String,
    item: Item,
}

/// Asks one server after the other.
fn find<'a>(store: &Store, ctx: &Ctx, source: &'a ImageSource) -> Result<FoundImage<'a>> {
    let mut errors = Vec::new();
    let mut without = Vec::new();
    for remote in &source.remotes {
        match find_at(store, ctx, source, remote) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(passed_over)) => without.push(format!("{} ({passed_over})", remote.name)),
            Err(e) if e.code == Code::Cancelled => return Err(e),
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() {
        return Err(Error::new(
            Code::NotFound,
            format_args!(
                "no image {} for {} at {}; `cloudbox image available` lists what there is",
                source.alias,
                box_arch()?,
                without.join(", ")
            ),
        ));
    }
    let first = errors.remove(0);
    let others: Vec<String> = errors.into_iter().map(Error::into_message).collect();
    match others.is_empty() {
        true => Err(first),
        false => Err(Error::new(first.code, [first.into_message(), others.join("; ")].join("; "))),
    }
}

/// Asks one server; what it has instead is the inner error.
fn find_at<'a>(
    store: &Store,
    ctx: &Ctx,
    source: &ImageSource,
    remote: &'a Remote,
) -> Result<std::result::Result<FoundImage<'a>, PassedOver>> {
    let mut found: Option<Result<FoundImage<'a>>> = None;
    let mut others = Vec::new();
    let mut last_other = Vec::new();
    let mut names = 0;
    let query = Query { store, ctx, remote, until: None, archs: None };
    let mut passed_over = query.offers(&mut |_, offer| {
        if found.is_some() {
            return Ok(());
        }
        if !offer.aliases.iter().any(|alias| is_meant(alias, &source.alias)) {
            names += u64::from(last_other != offer.aliases);
            last_other = offer.aliases;
            return Ok(());
        }
        let alias =
            offer.aliases.into_iter().find(|alias| is_meant(alias, &source.alias)).unwrap_or_default();
        let pinned = match (&source.sha256, &offer.item) {
            (Some(pin), Ok(item)) => item.sha256 == *pin,
            (Some(_), Err(_)) => false,
            (None, _) => true,
        };
        match pinned {
            true => {
                found =
                    Some(offer.item.map(|item| FoundImage { remote, alias, version: offer.version, item }))
            }
            false => others.push(offer.version),
        }
        Ok(())
    })?;
    match (found, &source.sha256) {
        (Some(found), _) => found.map(Ok).map_err(|e| {
            let list = format!("the list of remote {} is wrong about {}", remote.name, source.alias);
            Error::new(e.code, [list, e.into_message()].join(": "))
        }),
        (None, Some(pin)) if !others.is_empty() => Err(Error::new(
            Code::Checksum,
            format_args!(
                "remote {} has {} in other versions ({}), none with the sha256 {pin} that is wanted; ask for another, or \
                 change `option sha256` in /etc/config/cloudbox, if that wants it",
                remote.name,
                source.alias,
                others.join(", ")
            ),
        )),
        (None, _) => {
            passed_over.names = names;
            Ok(Err(passed_over))
        }
    }
}

fn box_arch() -> Result<String> {
    let names = uname().map_err(|e| Error::os("cannot tell this box's architecture", e))?;
    Ok(simplestreams::arch(&names.machine().to_string_lossy()).to_string())
}

/// A server that is asked for its lists.
struct Query<'a> {
    store: &'a Store,
    ctx: &'a Ctx,
    remote: &'a Remote,
    /// When whoever asks has lost patience; a job has none to lose.
    until: Option<Instant>,
    /// For which processors, as the lists call them; None: for those of this box.
    archs: Option<&'a [&'a str]>,
}

/// Takes an offer, and for which processors it is.
type Visit<'a> = dyn FnMut(&str, Offer) -> Result<()> + 'a;

impl Query<'_> {
    /// Shows `visit` what the server has for this box, once it is known to say so itself; tells what else there is.
    fn offers(&self, visit: &mut Visit<'_>) -> Result<PassedOver> {
        self.store.prepare()?;
        let directory = self.store.hidden(self.store.directory())?;
        let visited = self.offers_in(&directory, visit);
        let removed = remove_tree(&directory);
        match visited {
            Ok(passed_over) => removed.map(|()| passed_over),
            Err(e) => Err(e.with_leftovers(removed.err().as_slice())),
        }
    }

    fn offers_in(&self, directory: &Path, visit: &mut Visit<'_>) -> Result<PassedOver> {
        let own = box_arch()?;
        let own = [own.as_str()];
        let keys = self.keys()?;
        let path = directory.join("list.json");
        let index = self.fetch_list(simplestreams::INDEX, &path, INDEX_MAX, &keys)?;
        let lists = lists::read_index(self.ctx, open(&path)?).map_err(|e| self.about_list(&index, e))?;
        let mut passed_over = PassedOver::default();
        for list in lists {
            let url = self.fetch_list(&list.path, &path, LIST_MAX, &keys)?;
            if !keys.is_empty() {
                check_bound(&list, &path).map_err(|e| self.about(&url, e))?;
            }
            for arch in self.archs.unwrap_or(&own) {
                let read = lists::read_offers(self.ctx, open(&path)?, arch, &mut |offer| visit(arch, offer));
                passed_over.add(read.map_err(|e| self.about_list(&url, e))?);
            }
        }
        Ok(passed_over)
    }

    /// Fetches a list, and checks its signature when there are keys.
    fn fetch_list(&self, name: &str, path: &Path, most: u64, keys: &[PublicKey]) -> Result<String> {
        let url = format!("{}/{name}", self.remote.url);
        self.fetch(&url, path, most)?;
        if keys.is_empty() {
            return Ok(url);
        }
        let (signature_url, signature_path) =
            (format!("{url}{}", simplestreams::SIGNATURE), path.with_extension("sig"));
        self.fetch(&signature_url, &signature_path, SMALL_MAX).map_err(|e| {
            let why =
                format!("{}; remote {} has keys, so its lists must be signed", e.message, self.remote.name);
            Error::new(e.code, why)
        })?;
        let signature = Signature::parse(&read_small(&signature_path)?).map_err(|mut e| {
            e.code = Code::Checksum;
            e.message.insert_str(0, "the signature is refused: ");
            self.about(&signature_url, e)
        })?;
        signature.verify(&mut open(path)?, keys).map_err(|e| {
            let why = format!(
                "the signature is refused: {}; nothing of remote {} is used",
                e.message, self.remote.name
            );
            self.about(&url, Error::new(e.code, why))
        })?;
        Ok(url)
    }

    /// The same, unless the job was cancelled while the list was read.
    fn about_list(&self, url: &str, error: Error) -> Error {
        match error.code {
            Code::Cancelled => error,
            _ => self.about(url, error),
        }
    }

    fn about(&self, url: &str, error: Error) -> Error {
        Error::new(error.code, format_args!("{url}: {}", error.message))
    }

    fn keys(&self) -> Result<Vec<PublicKey>> {
        let mut keys = self.remote.keys.clone();
        for path in &self.remote.key_files {
            let named = HostFile::named(&path.to_string_lossy(), None, &self.remote.key_dirs, "key_dir");
            let file = named.and_then(|file| file.open("read"))?;
            let text = read_up_to(&file, SMALL_MAX).map_err(|e| Error::io("cannot read", path, e))?;
            let key = PublicKey::parse(&String::from_utf8_lossy(&text));
            keys.push(key.map_err(|e| {
                Error::new(e.code, format_args!("key_file {}: {}", path.display(), e.message))
            })?);
        }
        Ok(keys)
    }

    fn fetch(&self, url: &str, path: &Path, most: u64) -> Result<()> {
        let limit = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let tries = if self.until.is_some() { 1 } else { TRIES };
        remove_if_there(path)?;
        Fetch {
            store: self.store,
            ctx: self.ctx,
            url,
            path,
            most,
            total: None,
            limit,
            tries,
            step: "pull.list",
        }
        .run()
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("cannot remove", path, e)),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<File> {
    filesystem::open_regular(path).map_err(|e| Error::io("cannot open", path, e))
}

/// A text of few bytes; what is not UTF-8 in it is replaced, and refused by its reader.
fn read_small(path: &Path) -> Result<String> {
    let bytes = read_up_to(&open(path)?, SMALL_MAX).map_err(|e| Error::io("cannot read", path, e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file to be fetched, in as many tries as it takes.
struct Fetch<'a> {
    store: &'a Store,
    ctx: &'a Ctx,
    url: &'a str,
    path: &'a Path,
    /// The most bytes it may have.
    most: u64,
    /// What it must have, when that is known: then it goes on where an earlier try ended.
    total: Option<u64>,
    limit: Option<Duration>,
    tries: u32,
    step: &'static str,
}

impl Fetch<'_> {
    fn run(&self) -> Result<()> {
        let failed = |e: std::io::Error| Error::io("cannot write", self.path, e);
        let mut file =
            File::options().write(true).create(true).truncate(false).open(self.path).map_err(failed)?;
        let mut have = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let fetching = self.store.how_to_fetch();
        let (mut left, mut back_off, mut again) = (self.tries, fetching.back_off, true);
        loop {
            if have > self.most || (have > 0 && self.total.is_none()) {
                (file, have) = (self.emptied(file)?, 0);
            }
            if self.total == Some(have) {
                break;
            }
            let before = have;
            let transfer = Transfer {
                ctx: self.ctx,
                program: fetching.program,
                limit: self.limit,
                url: self.url,
                path: self.path,
                most: self.most,
                total: self.total,
            };
            let error = match transfer.run(&mut file, &mut have) {
                Ok(()) => match self.total {
                    Some(total) if have < total => {
                        return Err(Error::new(
                            Code::Checksum,
                            format_args!("{} has {have} bytes, and should have {total}", self.url),
                        ));
                    }
                    _ => break,
                },
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::NoResume) if again => {
                    again = false;
                    (file, have) = (self.emptied(file)?, 0);
                    continue;
                }
                Err(Trouble::NoResume) => {
                    return Err(Error::new(
                        Code::Failed,
                        format_args!("{} cannot be fetched from the middle on", self.url),
                    ))
                }
                Err(Trouble::Passing(error)) => error,
            };
            if have > before {
                (left, back_off) = (self.tries, fetching.back_off);
            }
            left -= 1;
            if left == 0 {
                return Err(error);
            }
            info!("{}; it is tried again in {} s", error.message, back_off.as_secs());
            self.wait(back_off)?;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        file.sync_all().map_err(failed)
    }

    fn emptied(&self, mut file: File) -> Result<File> {
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(|e| Error::io("cannot write", self.path, e))?;
        Ok(file)
    }

    fn wait(&self, time: Duration) -> Result<()> {
        self.ctx.step("pull.wait")?;
        let cancel = &self.ctx.cancel;
        wait::readable(cancel.fd(), Some(cancel), Instant::now() + time)?;
        self.ctx.step(self.step)
    }
}

struct Pull<'a> {
    store: &'a Store,
    ctx: &'a Ctx,
    source: &'a ImageSource,
    found: &'a FoundImage<'a>,
    origin: Origin<'a>,
}

impl Pull<'_> {
    fn run(&self) -> Result<Image> {
        let item = &self.found.item;
        let _turn = self.store.pulls.wait_for_turn(self.ctx, &item.sha256)?;
        if let Some(mut image) = self.store.adopt(&item.sha256, &self.source.name)? {
            self.store.note_origin(&mut image, &self.origin)?;
            return Ok(image);
        }
        // Better known before a hundred megabytes have come.
        if item.packing == Packing::Tar {
            Tool::find("xz")?;
        }
        if item.packing != Packing::Squashfs {
            Tool::find("mksquashfs")?;
        }
        let directory = self.store.directory().join(format!("{PART}{}", item.sha256));
        // uclient-fetch goes on with a file only that is called as on the server.
        let path = directory.join(item.path.rsplit('/').next().unwrap_or("image"));
        private_directory(&directory)?;
        let have = path.metadata().map_or(0, |data| data.len());
        let pulled = self.fetch(&path);
        let pulled = match pulled {
            // A part that was fetched long ago may have suffered since.
            Err(e) if e.code == Code::Checksum && have > 0 => {
                info!("{}; it is fetched again from its beginning", e.message);
                remove_if_there(&path).and_then(|()| self.fetch(&path))
            }
            other => other,
        };
        match pulled {
            Ok(image) => {
                remove_tree(&directory)?;
                Ok(image)
            }
            Err(e) => Err(self.end_early(e, &directory, &path)),
        }
    }

    fn fetch(&self, path: &Path) -> Result<Image> {
        let item = &self.found.item;
        let have = path.metadata().map_or(0, |data| data.len());
        import::check_space(self.store, item.size.saturating_sub(have))?;
        self.ctx.step("pull.fetch")?;
        self.ctx.bytes(have, Some(item.size));
        let url = format!("{}/{}", self.found.remote.url, item.path);
        let fetch = Fetch {
            store: self.store,
            ctx: self.ctx,
            url: &url,
            path,
            most: item.size,
            total: Some(item.size),
            limit: None,
            tries: TRIES,
            step: "pull.fetch",
        };
        fetch.run()?;
        let taken = import::take(self.store, self.ctx, path, &self.source.name, &item.sha256, &self.origin);
        taken.map_err(|e| match e.code {
            Code::Checksum => Error::new(
                e.code,
                format_args!(
                    "{url} is not the file that the list of remote {} names: its sha256 is not {}; nothing of it is used",
                    self.found.remote.name, item.sha256
                ),
            ),
            Code::BadImage => Error::new(e.code, format_args!("{url} cannot be imported: {}", e.message)),
            _ => e,
        })
    }

    /// Keeps what was fetched when the next try can go on from there, and removes it otherwise.
    fn end_early(&self, mut error: Error, directory: &Path, path: &Path) -> Error {
        let useless = matches!(error.code, Code::Checksum | Code::BadImage | Code::NoSpace);
        let have = path.metadata().map_or(0, |data| data.len());
        if useless || have == 0 {
            return error.with_leftovers(remove_tree(directory).err().as_slice());
        }
        if error.code == Code::Cancelled {
            error.message = "the pull was cancelled".to_string();
        }
        let kept = format!("; the first {have} of {} bytes are kept for the next try", self.found.item.size);
        error.message.push_str(&kept);
        error
    }
}

/// Refuses a directory in memory: an image there would take what the box runs in, and be gone after a reboot.
fn check_on_disk(directory: &Path) -> Result<()> {
    if filesystem::Kind::of(directory)?.is_in_memory() {
        return Err(Error::new(Code::NotSupported, format_args!(
            "{} is in memory, and images are not kept there; let `option storage` in /etc/config/cloudbox name a \
             directory on a disk",
            directory.display()
        )));
    }
    Ok(())
}

/// The directories of what was fetched in part and nobody fetches now.
fn parts(store: &Store) -> Result<Vec<PathBuf>> {
    let names = entries(store.directory())?;
    let idle = |name: &String| name.strip_prefix(PART).is_some_and(|sha256| !store.pulls.has(sha256));
    Ok(names.into_iter().filter(idle).map(|name| store.directory().join(name)).collect())
}

/// See [`super::Images::partial`].
pub fn partial(store: &Store) -> Result<u64> {
    let mut bytes = 0;
    for part in parts(store)? {
        for file in entries(&part)? {
            bytes += part.join(file).symlink_metadata().map_or(0, |data| data.len());
        }
    }
    Ok(bytes)
}

/// See [`super::Images::remove_partial`].
pub fn remove_partial(store: &Store) -> Result<()> {
    let errors = parts(store)?.iter().filter_map(|part| remove_tree(part).err()).collect();
    first_with_the_others(errors)
}
