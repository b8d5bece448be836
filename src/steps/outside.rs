//! Files of the box that others name: over the bus, in UCI, on the command line. This module alone decides about them.
//!
//! A path that arrives is looked for below directories that the box's owner has listed in `/etc/config/cloudbox-host`,
//! and is walked without any link, `..` or other way out. Whoever runs the command line opens the file himself and
//! hands over the descriptor, so that it opens no more than he may. In both cases nothing but a regular file is read,
//! and nothing that is there is written to.

use super::filesystem::{open_beneath, open_without_links, path_of};
use super::guest_root::is_kernels;
use crate::error::{quoted, Code, Error, Result};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{fcntl, openat, FcntlArg, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{unlinkat, UnlinkatFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Where a browser's upload lies: LuCI's server puts it there for the session of whoever may write.
const UPLOAD: (&str, &str) = ("/tmp", "cloudbox-upload");

/// What the name of a file begins with that is being written.
const HIDDEN: &str = ".new-";

/// A file of the box that somebody has named, or opened and handed over.
#[derive(Debug, Clone)]
pub struct HostFile {
    shown: PathBuf,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// `below` a directory that is listed.
    Listed { dir: PathBuf, below: PathBuf },
    /// Opened by the caller.
    Handed(Arc<OwnedFd>),
    /// A file of ours, which nobody else has named.
    Own,
}

impl HostFile {
    /// The file that a call names: `handed` over by it, or at `path` below one of `dirs`, which are listed as `option`.
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] when the path is not absolute, names no file, or lies below none of them.
    pub fn named(path: &str, handed: Option<OwnedFd>, dirs: &[PathBuf], option: &str) -> Result<HostFile> {
        let shown = PathBuf::from(path);
        if let Some(descriptor) = handed {
            return Ok(HostFile { shown, place: Place::Handed(Arc::new(descriptor)) });
        }
        if !shown.is_absolute() || shown.file_name().is_none() {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("path {}: give an absolute path of a file on the box", quoted(path)),
            ));
        }
        if option == "import_dir" && shown == Path::new(UPLOAD.0).join(UPLOAD.1) {
            return Ok(HostFile {
                shown,
                place: Place::Listed { dir: UPLOAD.0.into(), below: UPLOAD.1.into() },
            });
        }
        let straight = !shown.components().any(|part| part == Component::ParentDir);
        // The longest one: what is listed within another one may be a link out of that.
        let beneath = dirs.iter().filter_map(|dir| Some((dir, shown.strip_prefix(dir).ok()?)));
        let beneath = beneath.filter(|(_, below)| below.file_name().is_some());
        let found = beneath.filter(|_| straight).max_by_key(|(dir, _)| dir.as_os_str().len());
        let Some((dir, below)) = found else {
            let listed: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!(
                    "path {} is not below {}; the box's owner lists other directories as `{option}` in \
                     /etc/config/cloudbox-host, and the command `cloudbox` opens files itself",
                    quoted(path),
                    listed.join(" or ")
                ),
            ));
        };
        let place = Place::Listed { dir: dir.clone(), below: below.to_path_buf() };
        Ok(HostFile { shown, place })
    }

    /// A file that nobody but this program has named: it is opened as it stands.
    pub fn own(path: &Path) -> HostFile {
        HostFile { shown: path.to_path_buf(), place: Place::Own }
    }

    /// What it is called in messages; never to be opened.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Opens it to be read from its beginning. `what` is done with it, in messages.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::InvalidArgument`] when it is no regular file, or not to be reached without a link.
    pub fn open(&self, what: &str) -> Result<File> {
        let shown = self.shown.display();
        let wrong =
            |why: &str| Error::new(Code::InvalidArgument, format_args!("cannot {what} {shown}: {why}"));
        let opened = match &self.place {
            Place::Listed { dir, below } => open_regular(dir, below),
            Place::Handed(descriptor) => take_readable(descriptor),
            Place::Own => open_own(&self.shown),
        };
        opened.map_err(|error| match error {
            Refusal::Irregular => wrong("it is no regular file; name a squashfs or a tarball"),
            Refusal::System(e) if e.kind() == io::ErrorKind::NotFound => {
                Error::new(Code::NotFound, format_args!("cannot {what} {shown}: there is no such file"))
            }
            Refusal::System(e) if e.raw_os_error() == Some(libc::ELOOP) => {
                wrong("there is a symbolic link on the way; name the file itself")
            }
            Refusal::System(e) => wrong(&e.to_string()),
        })
    }

    /// Prepares to write it, which is not to be there yet.
    ///
    /// # Errors
    /// [`Code::Exists`]; its directory is not there, or not to be reached without a link.
    pub fn create(&self) -> Result<NewFile> {
        let failed = |e: io::Error| match e.raw_os_error() {
            Some(libc::ELOOP) => Error::new(
                Code::InvalidArgument,
                format_args!("cannot write {}: there is a symbolic link on the way", self.shown.display()),
            ),
            _ => Error::io("cannot write", &self.shown, e),
        };
        let shown = self.shown.clone();
        let (dir, below) = match &self.place {
            Place::Handed(descriptor) => {
                let file = take_writable(descriptor).map_err(failed)?;
                return Ok(NewFile { shown, place: NewPlace::Handed(file) });
            }
            Place::Listed { dir, below } => (dir.as_path(), below.as_path()),
            Place::Own => (Path::new("/"), self.shown.strip_prefix("/").unwrap_or(&self.shown)),
        };
        let name = below.file_name().map(OsString::from).ok_or_else(|| failed(Errno::EISDIR.into()))?;
        let top = open_directory(dir).map_err(failed)?;
        let parent = below.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let dir = open_beneath(top.as_fd(), parent.unwrap_or(Path::new(".")), flags).map_err(failed)?;
        let new = NewFile { shown, place: NewPlace::Named { dir: dir.into(), name } };
        match new.at_name().symlink_metadata() {
            Ok(_) => Err(new.exists()),
            Err(_) => Ok(new),
        }
    }
}

/// Why a file is not opened.
enum Refusal {
    Irregular,
    System(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Refusal {
        Refusal::System(e)
    }
}

fn open_directory(dir: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).open(dir)
}

/// Looks at what is there before it is opened: a pipe would make us wait, a device may do anything.
fn open_regular(dir: &Path, below: &Path) -> std::result::Result<File, Refusal> {
    let top = open_directory(dir)?;
    let found = File::from(open_beneath(top.as_fd(), below, OFlag::O_PATH | OFlag::O_NOFOLLOW)?);
    check_regular(&found)?;
    Ok(File::open(path_to(&found))?)
}

fn open_own(path: &Path) -> std::result::Result<File, Refusal> {
    if !path.is_absolute() {
        return Err(Refusal::System(io::Error::other("write its absolute path, one that begins with /")));
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check_regular(&file)?;
    Ok(file)
}

fn check_regular(file: &File) -> std::result::Result<(), Refusal> {
    if !file.metadata()?.is_file() || is_kernels(file)? {
        return Err(Refusal::Irregular);
    }
    Ok(())
}

/// A descriptor that its opener may read from: one that only names a file, or writes to it, opens no more here.
fn take_readable(descriptor: &OwnedFd) -> std::result::Result<File, Refusal> {
    let mut file = File::from(descriptor.try_clone()?);
    check_regular(&file)?;
    check_access(descriptor, OFlag::O_RDONLY)?;
    file.rewind()?;
    Ok(file)
}

fn take_writable(descriptor: &OwnedFd) -> io::Result<File> {
    let file = File::from(descriptor.try_clone()?);
    if !file.metadata()?.is_file() || is_kernels(&file)? {
        return Err(Errno::EINVAL.into());
    }
    check_access(descriptor, OFlag::O_WRONLY)?;
    if file.metadata()?.len() > 0 {
        return Err(Errno::EEXIST.into());
    }
    Ok(file)
}

fn check_access(descriptor: &OwnedFd, wanted: OFlag) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL)?);
    let access = flags & OFlag::O_ACCMODE;
    if flags.contains(OFlag::O_PATH) || (access != wanted && access != OFlag::O_RDWR) {
        return Err(Errno::EBADF.into());
    }
    Ok(())
}

/// The way to an open file, whatever becomes of its name.
fn path_to(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A file to be written: it gets its name when it is whole, where it gets one from us.
pub struct NewFile {
    shown: PathBuf,
    place: NewPlace,
}

enum NewPlace {
    Named { dir: File, name: OsString },
    Handed(File),
}

impl NewFile {
    /// A path on the file system that it will take room of.
    pub fn near(&self) -> PathBuf {
        match &self.place {
            NewPlace::Named { dir, .. } => path_to(dir),
            NewPlace::Handed(file) => path_to(file),
        }
    }

    /// The file that [`remove_hidden`] is to remove after a crash; None when whoever handed it over takes care of that.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn hidden(&self) -> io::Result<Option<PathBuf>> {
        match &self.place {
            NewPlace::Named { dir, name } => Ok(Some(path_of(dir)?.join(hidden_name(name)))),
            NewPlace::Handed(_) => Ok(None),
        }
    }

    /// Opens it for writing, under a hidden name.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(&self) -> Result<File> {
        let opened = match &self.place {
            NewPlace::Handed(file) => file.try_clone(),
            NewPlace::Named { dir, name } => {
                let flags =
                    OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mode = Mode::S_IRUSR | Mode::S_IWUSR;
                openat(dir.as_fd(), &*hidden_name(name), flags, mode).map(File::from).map_err(Into::into)
            }
        };
        opened.map_err(|e| Error::io("cannot write", &self.shown, e))
    }

    /// Gives it its name, durably; it is flushed already.
    ///
    /// # Errors
    /// [`Code::Exists`] when somebody has made one of that name meanwhile.
    pub fn give_name(&self) -> Result<()> {
        let NewPlace::Named { dir, name } = &self.place else { return Ok(()) };
        let hidden = path_to(dir).join(hidden_name(name));
        let failed = |e: io::Error| Error::io("cannot write", &self.shown, e);
        match sys::rename_new(&hidden, &self.at_name()) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(self.exists()),
            // The file system does not know how; nothing was there when we began.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                std::fs::rename(&hidden, self.at_name()).map_err(failed)?;
            }
            renamed => renamed.map_err(failed)?,
        }
        dir.sync_all().map_err(failed)
    }

    /// Takes back what was written into a file that was handed over.
    pub fn empty(&self) {
        if let NewPlace::Handed(file) = &self.place {
            let _ = file.set_len(0);
        }
    }

    fn at_name(&self) -> PathBuf {
        match &self.place {
            NewPlace::Named { dir, name } => path_to(dir).join(name),
            NewPlace::Handed(file) => path_to(file),
        }
    }

    fn exists(&self) -> Error {
        let shown = self.shown.display();
        Error::new(
            Code::Exists,
            format_args!("{shown} is there already; choose another name, or remove it first"),
        )
    }
}

fn hidden_name(name: &std::ffi::OsStr) -> OsString {
    let mut hidden = OsString::from(HIDDEN);
    hidden.push(name);
    hidden
}

/// Removes a file that [`NewFile::hidden`] told of; none is fine, and so is one behind a link that was not there then.
///
/// # Errors
/// As unlink(2).
pub fn remove_hidden(path: &Path) -> Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    if !name.as_encoded_bytes().starts_with(HIDDEN.as_bytes()) {
        return Ok(());
    }
    let removed = open_without_links(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
        .and_then(|dir| Ok(unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir)?));
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ELOOP) => Ok(()),
        removed => removed.map_err(|e| Error::io("cannot remove", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;

    fn named(path: &Path, dirs: &[PathBuf]) -> Result<HostFile> {
        HostFile::named(path.to_str().unwrap(), None, dirs, "export_dir")
    }

    /// What comes of reading `path`: its content, or the code.
    fn read(path: &Path, dirs: &[PathBuf]) -> std::result::Result<String, Code> {
        let file = named(path, dirs).and_then(|file| file.open("read")).map_err(|e| e.code)?;
        Ok(io::read_to_string(file).unwrap())
    }

    #[test]
    fn only_regular_files_below_what_is_listed_are_read() {
        let temp = TempDir::make();
        let dir = temp.path().canonicalize().unwrap();
        let at = |name: &str| dir.join(name);
        fs::create_dir_all(at("listed/deep")).unwrap();
        fs::create_dir_all(at("else")).unwrap();
        fs::write(at("listed/deep/good"), "good").unwrap();
        fs::write(at("else/secret"), "secret").unwrap();
        symlink(at("else/secret"), at("listed/link")).unwrap();
        symlink(at("else"), at("listed/way")).unwrap();
        symlink("deep", at("listed/near")).unwrap();
        nix::unistd::mkfifo(&at("listed/pipe"), Mode::S_IRWXU).unwrap();
        let dirs = [at("listed"), at("none")];
        assert_eq!(read(&at("listed/deep/good"), &dirs), Ok("good".into()));
        assert_eq!(read(&at("listed//deep/./good"), &dirs), Ok("good".into()));
        for wrong in [
            "else/secret",
            "listed",
            "listed/../else/secret",
            "listed/deep/../deep/good",
            "listed/link",
            "listed/way/secret",
            "listed/near/good",
            "listed/deep",
            "listed/pipe",
            "listedelse",
        ] {
            assert_eq!(read(&at(wrong), &dirs), Err(Code::InvalidArgument), "{wrong}");
        }
        assert_eq!(read(&at("listed/missing"), &dirs), Err(Code::NotFound));
        assert_eq!(read(&at("none/missing"), &dirs), Err(Code::NotFound));
        assert_eq!(read(Path::new("/etc/shadow"), &dirs), Err(Code::InvalidArgument));
        // The box's owner may list everything; what is the kernel's is no file all the same.
        assert_eq!(read(Path::new("/proc/self/environ"), &["/".into()]), Err(Code::InvalidArgument));
        assert_eq!(read(&at("else/secret"), &["/".into()]), Ok("secret".into()));
    }

    #[test]
    fn nothing_that_is_there_is_written_to() {
        let temp = TempDir::make();
        let dir = temp.path().canonicalize().unwrap();
        let at = |name: &str| dir.join(name);
        fs::create_dir_all(at("listed")).unwrap();
        fs::create_dir_all(at("else")).unwrap();
        fs::write(at("listed/there"), "old").unwrap();
        symlink(at("else"), at("listed/way")).unwrap();
        symlink(at("else/new"), at("listed/link")).unwrap();
        let dirs = [at("listed")];
        let create = |path: &str| named(&at(path), &dirs)?.create();
        let code = |path: &str| create(path).err().map(|e| e.code);
        assert_eq!(code("listed/there"), Some(Code::Exists));
        assert_eq!(code("listed/link"), Some(Code::Exists));
        assert_eq!(code("listed/way/new"), Some(Code::InvalidArgument));
        assert_eq!(code("else/new"), Some(Code::InvalidArgument));
        assert_eq!(code("listed/../else/new"), Some(Code::InvalidArgument));
        assert_eq!(code("listed/none/new"), Some(Code::Failed));

        let new = create("listed/new").unwrap();
        let hidden = new.hidden().unwrap().unwrap();
        assert_eq!(hidden, at("listed/.new-new"));
        new.open().unwrap().write_all(b"whole").unwrap();
        assert!(hidden.exists() && !at("listed/new").exists());
        // Its directory is held, whatever its name means by now.
        fs::rename(at("listed"), at("moved")).unwrap();
        symlink(at("else"), at("listed")).unwrap();
        new.give_name().unwrap();
        assert_eq!(fs::read_to_string(at("moved/new")).unwrap(), "whole");
        assert_eq!(fs::read_dir(at("else")).unwrap().count(), 0);

        // A crash later nothing is removed behind a link, and nothing but what is hidden.
        fs::write(at("else/.new-new"), "another's").unwrap();
        remove_hidden(&hidden).unwrap();
        remove_hidden(&at("moved/new")).unwrap();
        assert!(at("else/.new-new").exists() && at("moved/new").exists());
        fs::write(at("moved/.new-x"), "half").unwrap();
        remove_hidden(&at("moved/.new-x")).unwrap();
        remove_hidden(&at("moved/.new-x")).unwrap();
        assert!(!at("moved/.new-x").exists());
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_stays_whose_it_is() {
        let temp = TempDir::make();
        let dir = temp.path().canonicalize().unwrap();
        let new = named(&dir.join("new"), std::slice::from_ref(&dir)).unwrap().create().unwrap();
        new.open().unwrap();
        fs::write(dir.join("new"), "another's").unwrap();
        assert_eq!(new.give_name().unwrap_err().code, Code::Exists);
        assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "another's");
    }

    #[test]
    fn what_is_handed_over_opens_no_more_than_its_opener_could() {
        let temp = TempDir::make();
        let path = temp.path().join("file");
        fs::write(&path, "text").unwrap();
        let handed = |file: File| HostFile::named("called so", Some(file.into()), &[], "import_dir").unwrap();
        let mut read = File::open(&path).unwrap();
        read.read_exact(&mut [0; 2]).unwrap();
        // From its beginning, and as often as need be.
        let file = handed(read);
        for _ in 0..2 {
            assert_eq!(io::read_to_string(file.open("read").unwrap()).unwrap(), "text");
        }
        assert!(file.create().is_err(), "it was opened for reading");
        let write = || File::options().write(true).open(&path).unwrap();
        assert!(handed(write()).open("read").is_err(), "it was opened for writing");
        let only = File::options().read(true).custom_flags(libc::O_PATH).open(&path).unwrap();
        assert!(handed(only).open("read").is_err(), "it was not opened at all");
        assert!(handed(write()).create().is_err(), "it has something in it");
        write().set_len(0).unwrap();
        let new = handed(write()).create().unwrap();
        assert_eq!(new.hidden().unwrap(), None);
        new.open().unwrap().write_all(b"whole").unwrap();
        new.give_name().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        new.empty();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
