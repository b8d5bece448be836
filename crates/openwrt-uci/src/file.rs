//! Files on disk: libuci's locking, and what it takes not to lose edits beside libuci.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{fchown, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::{Document, EditError, Package, SyntaxError};

/// How long [`ConfigFile::edit`] waits for the lock, unless told otherwise.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The most that is read of a file, in bytes. Thousands of sections fit.
const SIZE_MAX: u64 = 4 << 20;

/// How long a temporary file may stay. The moment between libuci's unlocking and its rename is far shorter; what is
/// older was left by a program that was killed.
const RENAME_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a file was not read or edited. Unless the variant says otherwise the file is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be opened.
    Open(PathBuf, io::Error),
    /// The file could not be locked.
    Lock(PathBuf, io::Error),
    /// Another program held the lock for this long.
    LockTimeout(PathBuf, Duration),
    /// The file could not be read.
    Read(PathBuf, io::Error),
    /// The file is not UCI.
    Syntax(PathBuf, SyntaxError),
    /// The edit is not possible.
    Edit(PathBuf, EditError),
    /// The directory could not be searched for temporary files.
    Directory(PathBuf, io::Error),
    /// The temporary file could not be made.
    Create(PathBuf, io::Error),
    /// The temporary file could not be written; the disk may be full.
    Write(PathBuf, io::Error),
    /// The temporary file could not be given the mode and the owner of the file.
    Attributes(PathBuf, io::Error),
    /// The temporary file could not be flushed to the disk.
    Sync(PathBuf, io::Error),
    /// The temporary file could not take the place of the file.
    Rename(PathBuf, io::Error),
    /// The file **is** changed, but the change may not survive a loss of power.
    SyncDirectory(PathBuf, io::Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Open(path, error) => write!(f, "cannot open {}: {error}", path.display()),
            FileError::Lock(path, error) => write!(f, "cannot lock {}: {error}", path.display()),
            FileError::LockTimeout(path, waited) => {
                write!(
                    f,
                    "cannot lock {}: another program has held it for {} ms; try again when it has let go",
                    path.display(),
                    waited.as_millis() as u64
                )
            }
            FileError::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            FileError::Syntax(path, error) => write!(f, "{}: {error}", path.display()),
            FileError::Edit(path, error) => write!(f, "cannot edit {}: {error}", path.display()),
            FileError::Directory(path, error) => {
                write!(f, "cannot list the directory {}: {error}", path.display())
            }
            FileError::Create(path, error) => {
                write!(f, "cannot create the temporary file {}: {error}", path.display())
            }
            FileError::Write(path, error) => {
                write!(f, "cannot write the temporary file {}: {error}", path.display())
            }
            FileError::Attributes(path, error) => {
                write!(f, "cannot set mode and owner of the temporary file {}: {error}", path.display())
            }
            FileError::Sync(path, error) => {
                write!(f, "cannot flush the temporary file {} to disk: {error}", path.display())
            }
            FileError::Rename(path, error) => write!(f, "cannot replace {}: {error}", path.display()),
            FileError::SyncDirectory(path, error) => {
                write!(f, "{} is changed, but flushing its directory to disk failed: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Open(_, error)
            | FileError::Lock(_, error)
            | FileError::Read(_, error)
            | FileError::Directory(_, error)
            | FileError::Create(_, error)
            | FileError::Write(_, error)
            | FileError::Attributes(_, error)
            | FileError::Sync(_, error)
            | FileError::Rename(_, error)
            | FileError::SyncDirectory(_, error) => Some(error),
            FileError::Syntax(_, error) => Some(error),
            FileError::Edit(_, error) => Some(error),
            FileError::LockTimeout(..) => None,
        }
    }
}

impl FileError {
    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Open(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A configuration file on disk, such as `/etc/config/network`, shared with `uci commit`, rpcd and other programs.
///
/// libuci locks the file, reads it again, writes a hidden temporary file beside it and renames that over it. So does
/// [`edit`](ConfigFile::edit). But a rename leaves those who wait for the lock with the lock of a file that is gone,
/// and libuci has no eye for that: two `uci commit`s at once lose changes. Beside `edit` they do not:
///
/// * libuci unlocks *before* it renames. Who gets the lock in between reads a file that is about to be replaced. Its
///   temporary file gives that moment away: as long as there is one, `edit` waits.
/// * libuci reads the file that it has locked, whether it is still in place or not. So `edit` writes the new content
///   into the replaced file too before it unlocks it.
/// * Then libuci goes on with a lock that nobody else notices. So `edit` keeps the file in place locked until those who
///   waited for the replaced one are done.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    lock_timeout: Duration,
    open_elsewhere: fn(&File) -> bool,
}

impl ConfigFile {
    /// Names a file; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> ConfigFile {
        ConfigFile { path: path.into(), lock_timeout: LOCK_TIMEOUT, open_elsewhere: |_| true }
    }

    /// How long [`edit`](Self::edit) tries to get the lock before it fails; 5 seconds unless set here.
    pub fn lock_timeout(self, lock_timeout: Duration) -> ConfigFile {
        ConfigFile { lock_timeout, ..self }
    }

    /// Sets what tells whether somebody else may have a file open: a lease (`F_SETLEASE` of fcntl(2)) tells it in
    /// microseconds, where this crate, without `unsafe`, must read `/proc/locks`, which takes the kernel 8 to 15 ms
    /// and keeps the next edit waiting. What it says must be true right behind the rename; "yes" is always safe.
    pub fn open_elsewhere(self, open_elsewhere: fn(&File) -> bool) -> ConfigFile {
        ConfigFile { open_elsewhere, ..self }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. Takes no lock and so never waits: the file is only ever replaced as a whole.
    pub fn read(&self) -> Result<Package, FileError> {
        let mut tries = 10;
        loop {
            let file = self.open(OpenOptions::new().read(true))?;
            let bytes = self.read_all(&file)?;
            // A file that was replaced meanwhile may also have been written to (see [`ConfigFile`]). A few file systems
            // count no links at all; hence not for ever.
            let links = file.metadata().map_err(|error| FileError::Read(self.path.clone(), error))?.nlink();
            tries -= 1;
            if links > 0 || tries == 0 {
                return Package::parse(&bytes).map_err(|error| FileError::Syntax(self.path.clone(), error));
            }
        }
    }

    /// Edits the file by libuci's commit protocol, so that nothing is lost to others who do.
    ///
    /// Opens the file (an absent one is created, mode 0600) and locks it, trying again and again until the lock
    /// timeout; reads it under the lock; calls `change`; writes a temporary file in the same directory with mode and
    /// owner of the file, flushes it to disk and renames it over the file. A symbolic link stays one; the file it
    /// points to is replaced. When `change` fails or changes nothing, nothing is written.
    ///
    /// Can wait for the lock and for the disk: not for a thread that must answer at once.
    pub fn edit<T, E: From<FileError>>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, E>,
    ) -> Result<T, E> {
        let locked = self.lock()?;
        let before = self.read_all(&locked)?;
        let mut document =
            Document::parse(&before).map_err(|error| FileError::Syntax(self.path.clone(), error))?;
        let result = change(&mut document)?;
        if document.as_bytes() != before {
            self.replace(locked, document.as_bytes())?;
        }
        Ok(result)
    }

    /// An [`edit`](Self::edit) whose only failures are those of the document.
    pub fn edit_document<T>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, EditError>,
    ) -> Result<T, FileError> {
        self.edit(|document| change(document).map_err(|error| FileError::Edit(self.path.clone(), error)))
    }

    /// Removes what a program has left that was killed in the middle of an edit. An [`edit`](Self::edit) does so too, and
    /// takes up to a second longer for it. Waits for an edit that is under way: not for a thread that must answer at once.
    pub fn sweep(&self) -> Result<(), FileError> {
        match self.temporary_files()?.is_empty() {
            true => Ok(()),
            false => self.lock().map(drop),
        }
    }

    fn lock(&self) -> Result<Locked, FileError> {
        let deadline = Instant::now() + self.lock_timeout;
        let mut pause = Duration::from_millis(1);
        let mut seen = (Vec::new(), Instant::now());
        loop {
            let mut renaming = false;
            if let Some(locked) = self.try_lock()? {
                let temporary = self.temporary_files()?;
                renaming = !temporary.is_empty();
                // Only when no rename is under way can it be told which file is in place.
                if !renaming && self.is_in_place(&locked)? {
                    return Ok(locked);
                }
                if temporary != seen.0 {
                    seen = (temporary, Instant::now());
                } else if seen.1.elapsed() >= RENAME_TIMEOUT {
                    // If its program still lives, its rename fails, rather than undoing what is written now.
                    seen.0.iter().for_each(|leftover| drop(fs::remove_file(leftover)));
                }
            }
            let deadline = if renaming { deadline + 2 * RENAME_TIMEOUT } else { deadline };
            if Instant::now() >= deadline {
                return Err(FileError::LockTimeout(self.path.clone(), self.lock_timeout));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn try_lock(&self) -> Result<Option<Locked>, FileError> {
        let file =
            self.open(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600))?;
        match Locked::lock(file) {
            Ok(locked) => Ok(Some(locked)),
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
            Err((_, error)) => Err(FileError::Lock(self.path.clone(), error.into())),
        }
    }

    /// Whether the locked file is still the one at the path: it may have been replaced while we waited.
    fn is_in_place(&self, locked: &File) -> Result<bool, FileError> {
        let ours = locked.metadata().map_err(|error| FileError::Open(self.path.clone(), error))?;
        match fs::metadata(&self.path) {
            Ok(current) => Ok(current.dev() == ours.dev() && current.ino() == ours.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(FileError::Open(self.path.clone(), error)),
        }
    }

    /// Temporary files of this configuration, ours or libuci's. libuci puts them beside the path, we beside the file
    /// that a symbolic link at the path leads to.
    fn temporary_files(&self) -> Result<Vec<PathBuf>, FileError> {
        let real = self.real_path()?;
        let mut found = Vec::new();
        for path in [&self.path, &real] {
            let directory = directory_of(path);
            let prefix = temporary_prefix(path);
            let entries =
                fs::read_dir(directory).map_err(|error| FileError::Directory(directory.to_owned(), error))?;
            let names = entries.flatten().map(|entry| entry.file_name());
            found.extend(
                names
                    .filter(|name| {
                        let name = name.as_encoded_bytes();
                        name.len() == prefix.len() + SUFFIX_LENGTH && name.starts_with(prefix.as_bytes())
                    })
                    .map(|name| directory.join(name)),
            );
            if real == self.path {
                break;
            }
        }
        Ok(found)
    }

    fn real_path(&self) -> Result<PathBuf, FileError> {
        fs::canonicalize(&self.path).map_err(|error| FileError::Open(self.path.clone(), error))
    }

    /// Opens the file. What is no regular file is refused: a FIFO would never end, a device may never either.
    fn open(&self, options: &mut OpenOptions) -> Result<File, FileError> {
        let mut open = || {
            let file = options.custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.path)?;
            if file.metadata()?.is_file() {
                return Ok(file);
            }
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
        };
        open().map_err(|error| FileError::Open(self.path.clone(), error))
    }

    fn read_all(&self, file: &File) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        let read = file.take(SIZE_MAX + 1).read_to_end(&mut bytes);
        let read = read.and_then(|length| match length as u64 > SIZE_MAX {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 4 MiB")),
            false => Ok(()),
        });
        read.map_err(|error| FileError::Read(self.path.clone(), error))?;
        Ok(bytes)
    }

    fn replace(&self, old: Locked, bytes: &[u8]) -> Result<(), FileError> {
        let real = self.real_path()?;
        let mut temporary = Temporary::create(&real)?;
        temporary.fill(&old, bytes)?;
        // Locked before anybody can see it, so that others wait until those who wait for the old file are done.
        let new = temporary.file.try_clone().ok().and_then(|file| Locked::lock(file).ok());
        fs::rename(&temporary.path, &real).map_err(|error| FileError::Rename(real.clone(), error))?;
        temporary.kept = true;
        let directory = File::open(directory_of(&real)).and_then(|directory| directory.sync_all());
        // A failure costs nothing but what this prevents.
        if (self.open_elsewhere)(&old) && rewrite_replaced(&old, bytes).is_ok() {
            if let Ok(in_place) = temporary.file.try_clone() {
                Settling { config: self.clone(), old, new, in_place, real: real.clone() }.run_aside();
            }
        }
        directory.map_err(|error| FileError::SyncDirectory(real, error))
    }

    /// Lets who waits for the lock of a file that is no longer in place make its change. It gets a lock that the next
    /// one, who locks the file in place, would not notice.
    fn let_waiter_finish(&self, old: Locked, in_place: &File) {
        let Locked::Flock(old) = old else { return };
        let Ok(mut old) = old.unlock() else { return };
        let deadline = Instant::now() + RENAME_TIMEOUT;
        let mut held = false;
        // Done when it has replaced the file, or has let go of the lock without doing so.
        while Instant::now() < deadline && self.is_in_place(in_place).unwrap_or(false) {
            std::thread::sleep(Duration::from_millis(1));
            old = match Locked::lock(old) {
                Ok(Locked::Flock(relocked)) if !held => match relocked.unlock() {
                    Ok(unlocked) => unlocked,
                    Err(_) => return,
                },
                Ok(_) => break,
                Err((locked_by_other, _)) => {
                    held = true;
                    locked_by_other
                }
            };
        }
        while Instant::now() < deadline && self.temporary_files().is_ok_and(|files| !files.is_empty()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What remains to be done after the rename, for the sake of others: the edit itself is done and durable.
struct Settling {
    config: ConfigFile,
    old: Locked,
    /// Keeps the new file locked until this is over.
    new: Option<Locked>,
    in_place: File,
    real: PathBuf,
}

impl Settling {
    /// Runs in a short-lived thread: the kernel takes 8 to 15 ms to tell of all its locks, which no edit shall wait
    /// for but the next one. Ends with the program, whose locks go then too.
    fn run_aside(self) {
        // Where no thread can be had, what this prevents is the smaller evil.
        let run: Box<dyn FnOnce() + Send> = Box::new(move || self.run());
        let _ = std::thread::Builder::new().stack_size(128 << 10).spawn(run);
    }

    fn run(self) {
        let Settling { config, old, new, in_place, real } = self;
        if somebody_waits_for(&old) {
            config.let_waiter_finish(old, &in_place);
            if matches!(config.is_in_place(&in_place), Ok(false)) {
                let _ = fs::read(&real).and_then(|current| rewrite_replaced(&in_place, &current));
            }
        }
        drop(new);
    }
}

/// Whether a process is blocked because it wants to write to this file, which we have locked.
fn somebody_waits_for(file: &File) -> bool {
    let (Ok(metadata), Ok(locks)) = (file.metadata(), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    let inode = format!(":{}", metadata.ino());
    // 12: -> FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF
    locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(
        |fields| matches!(fields[..], [_, "->", "FLOCK", _, "WRITE", _, file, ..] if file.ends_with(&inode)),
    )
}

enum Locked {
    Flock(Flock<File>),
    /// As libuci has it: where there are no locks, go without.
    Bare(File),
}

impl Locked {
    /// Locks a file, if that needs no waiting.
    fn lock(file: File) -> Result<Locked, (File, Errno)> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => Ok(Locked::Flock(locked)),
            Err((file, Errno::ENOSYS)) => Ok(Locked::Bare(file)),
            Err(refused) => Err(refused),
        }
    }
}

impl std::ops::Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Locked::Flock(file) => file,
            Locked::Bare(file) => file,
        }
    }
}

/// A temporary file that goes away unless it is kept.
struct Temporary {
    path: PathBuf,
    file: File,
    kept: bool,
}

/// As many characters as mkstemp fills in.
const SUFFIX_LENGTH: usize = 6;

impl Temporary {
    fn create(real: &Path) -> Result<Temporary, FileError> {
        let prefix = temporary_prefix(real);
        let mut random = RandomState::new().build_hasher();
        loop {
            random.write_u8(0);
            let path = directory_of(real).join(format!("{prefix}{:06x}", random.finish() & 0xff_ffff));
            // The content may be secret: nobody else reads it before it has the mode of the file.
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Temporary { path, file, kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(FileError::Create(path, error)),
            }
        }
    }

    fn fill(&self, old: &File, bytes: &[u8]) -> Result<(), FileError> {
        (&self.file).write_all(bytes).map_err(|error| FileError::Write(self.path.clone(), error))?;
        self.copy_attributes(old).map_err(|error| FileError::Attributes(self.path.clone(), error))?;
        self.file.sync_all().map_err(|error| FileError::Sync(self.path.clone(), error))
    }

    fn copy_attributes(&self, old: &File) -> io::Result<()> {
        let (old, new) = (old.metadata()?, self.file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
        }
        self.file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes the new content into the file that it replaced, for those who wait for its lock. While that is under way the
/// file starts with an invalid command: who reads half of it (the disk is full, or we are killed) gets an error and
/// commits nothing.
fn rewrite_replaced(old: &File, bytes: &[u8]) -> io::Result<()> {
    // A file with another name is not ours to change.
    if old.metadata()?.nlink() > 0 {
        return Ok(());
    }
    old.write_all_at(b"!", 0)?;
    if let [first, rest @ ..] = bytes {
        old.write_all_at(rest, 1)?;
        old.set_len(bytes.len() as u64)?;
        old.write_all_at(&[*first], 0)
    } else {
        old.set_len(0)
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_prefix(path: &Path) -> String {
    format!(".{}.uci-", path.file_name().unwrap_or_default().to_string_lossy())
}
