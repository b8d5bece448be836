//! Brings a file into the store: a squashfs is copied, a tarball becomes a squashfs on the way.

use super::judge::{self, Found, Judged};
use super::squashfs;
use super::store::{Building, Store};
use super::tar::{self, LeftOut, Sink};
use super::{bad, hex, parse_sha256};
use crate::error::{Code, Error, Result};
use crate::model::idrange;
use crate::model::image::Image;
use crate::model::name::ImageName;
use crate::model::size::Bytes;
use crate::steps::ctx::Ctx;
use crate::steps::outside::HostFile;
use crate::steps::tool::{Pipes, RunningTool, Source, Tool};
use crate::steps::walk::{walk, Moved, What};
use crate::sys::{self, Rights};
use log::warn;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most a conversion may take. An Atom needs some minutes for a Debian; a hung disk must not hold a worker for ever.
pub(super) const CONVERSION: Duration = Duration::from_secs(3600);
/// Making a squashfs of nothing.
const TRIAL: Duration = Duration::from_secs(60);
/// Bytes copied at once.
const CHUNK: usize = 128 << 10;
/// How much more is done before it is told.
const TELL_EVERY: u64 = 1 << 20;
/// Loop devices count in blocks; a filesystem that ends within one would lose its end.
pub(super) const PADDING: u64 = 4096;
/// What mksquashfs may take of the box's memory: a router has other work.
const MKSQUASHFS_MEMORY: &str = "64M";
/// What xz may take; `xz -9` asks for 65 MiB, a hostile file for 4 GiB. The busybox xz ignores it.
const XZ_LIMIT: &str = "--memlimit-decompress=256MiB";

/// Compressors for mksquashfs with their options, the best one first. zstd's own default, level 15, takes five times as
/// long as level 9 for an image 7 % smaller.
const COMPRESSORS: [&[&str]; 3] = [&["zstd", "-Xcompression-level", "9"], &["xz"], &["gzip"]];

/// See [`super::Images::import`].
pub fn import(
    store: &Store,
    ctx: &Ctx,
    file: &HostFile,
    name: &ImageName,
    expected: Option<&str>,
) -> Result<Image> {
    let expected = expected.map(parse_sha256).transpose()?;
    about(file, ImageImport { store, ctx, file, name, expected, part: None, origin: None }.run())
}

/// See [`super::Images::import_part`].
pub fn import_part(
    store: &Store,
    ctx: &Ctx,
    file: &HostFile,
    part: (u64, u64),
    name: &ImageName,
    sha256: &str,
) -> Result<Image> {
    let expected = Some(parse_sha256(sha256)?);
    about(file, ImageImport { store, ctx, file, name, expected, part: Some(part), origin: None }.run())
}

fn about(file: &HostFile, imported: Result<Image>) -> Result<Image> {
    imported.map_err(|mut e| {
        if e.code == Code::BadImage {
            e.message = format!("{} cannot be imported: {}", file.shown().display(), e.message);
        }
        e
    })
}

/// Where an image was pulled from.
pub struct Origin<'a> {
    /// `remote:alias`
    pub source: &'a str,
    /// The version there.
    pub version: &'a str,
}

/// Makes an image of the file at `path`, which was pulled and lies beside the images: a squashfs is moved, not copied.
pub fn take(
    store: &Store,
    ctx: &Ctx,
    path: &Path,
    name: &ImageName,
    sha256: &str,
    origin: &Origin<'_>,
) -> Result<Image> {
    let expected = Some(sha256.to_string());
    let file = &HostFile::own(path);
    ImageImport { store, ctx, file, name, expected, part: None, origin: Some(origin) }.run()
}

/// See [`super::Images::pack`].
pub fn pack(store: &Store, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image> {
    let file = &HostFile::own(tree);
    let import = ImageImport { store, ctx, file, name, expected: None, part: None, origin: None };
    import.build(|building| import.pack(building))
}

struct ImageImport<'a> {
    store: &'a Store,
    ctx: &'a Ctx,
    /// What is imported; for [`pack`], a directory.
    file: &'a HostFile,
    name: &'a ImageName,
    expected: Option<String>,
    /// Where in the file it is, and its bytes; None: all of the file.
    part: Option<(u64, u64)>,
    /// Where it was pulled from; the file is then ours to move.
    origin: Option<&'a Origin<'a>>,
}

impl ImageImport<'_> {
    fn run(&self) -> Result<Image> {
        self.ctx.step("image.check")?;
        let mut input = Input::open(self.ctx, self.file)?;
        if let Some(part) = self.part {
            input.limit_to(part)?;
        }
        let format = input.format()?;
        if !matches!(format, Format::Squashfs) {
            // Read once more than needed: no byte reaches a decompressor before its sha256 is known to be the expected
            // one, and a tarball that is here already is not converted for nothing.
            input.read_to_end()?;
            let sha256 = input.sha256();
            self.check_expected(&sha256)?;
            if let Some(image) = self.store.adopt(&sha256, self.name)? {
                return Ok(image);
            }
            return self.build(|building| self.convert(input, &sha256, &format, building));
        }
        match self.origin {
            Some(_) => self.build(|building| self.move_in(input, building)),
            None => self.build(|building| self.copy(input, building)),
        }
    }

    /// Builds an image with `fill`, which returns its sha256, and makes it one of the store. Leaves nothing on an error.
    fn build(&self, fill: impl FnOnce(&Building) -> Result<String>) -> Result<Image> {
        let building = self.store.building()?;
        let built = fill(&building).and_then(|sha256| self.finish(&building, sha256));
        // Published, the directory has moved on, and there is nothing to discard; unless it was there already.
        let discarded = building.discard();
        match built {
            Ok(image) => {
                if let Err(e) = discarded {
                    warn!("{}", e.message);
                }
                Ok(image)
            }
            Err(e) => Err(e.with_leftovers(discarded.err().as_slice())),
        }
    }

    /// Copies a squashfs while hashing it.
    fn copy(&self, mut input: Input<'_>, building: &Building) -> Result<String> {
        squashfs::check(&input.head, input.size)?;
        self.check_space(input.size)?;
        self.ctx.step("image.copy")?;
        let failed = |e: std::io::Error| Error::io("cannot write", &building.rootfs, e);
        let mut out = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&building.rootfs)
            .map_err(failed)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let got = input.read(&mut chunk)?;
            if got == 0 {
                break;
            }
            out.write_all(&chunk[..got]).map_err(failed)?;
        }
        // What was copied counts, should the file have changed since it was looked at.
        let mut head = [0; squashfs::SUPERBLOCK];
        let length = input.done;
        out.rewind().and_then(|()| out.read_exact(&mut head)).map_err(failed)?;
        squashfs::check(&head, length)?;
        out.set_len(length.next_multiple_of(PADDING)).and_then(|()| out.sync_all()).map_err(failed)?;
        let sha256 = input.sha256();
        self.check_expected(&sha256)?;
        Ok(sha256)
    }

    /// Moves a squashfs that was pulled, once it is the right one.
    fn move_in(&self, mut input: Input<'_>, building: &Building) -> Result<String> {
        squashfs::check(&input.head, input.size)?;
        input.read_to_end()?;
        let sha256 = input.sha256();
        self.check_expected(&sha256)?;
        self.ctx.step("image.move")?;
        let moved = fs::rename(self.file.shown(), &building.rootfs);
        moved.map_err(|e| Error::io("cannot create", &building.rootfs, e))?;
        let file = File::options().write(true).open(&building.rootfs);
        file.and_then(|file| file.set_len(input.done.next_multiple_of(PADDING)))
            .map_err(|e| Error::io("cannot write", &building.rootfs, e))?;
        keep(&building.rootfs)?;
        Ok(sha256)
    }

    /// Streams a tarball through the checks into mksquashfs.
    fn convert(
        &self,
        mut input: Input<'_>,
        sha256: &str,
        format: &Format,
        building: &Building,
    ) -> Result<String> {
        self.check_space(1)?;
        let compressor = self.compressor(building)?;
        let mut found = Found::default();
        loop {
            self.ctx.step("image.convert")?;
            input.rewind()?;
            let passed = self.stream(&mut input, format, building, compressor, &found)?;
            // A decompressor may have stopped before the end of the file.
            input.read_to_end()?;
            if input.sha256() != sha256 {
                return Err(bad("it changed while it was read; import it when it is complete"));
            }
            match passed {
                Judged::Again(again) => found = again,
                Judged::Whole(left_out) => {
                    self.tell(left_out);
                    break;
                }
            }
        }
        keep(&building.rootfs)?;
        Ok(sha256.to_string())
    }

    /// Streams a tarball from its beginning to its end.
    fn stream(
        &self,
        input: &mut Input<'_>,
        format: &Format,
        building: &Building,
        compressor: &[&str],
        found: &Found,
    ) -> Result<Judged> {
        let mut mksquashfs = self.mksquashfs(Path::new("-"), &building.rootfs, compressor)?;
        let filter = match format {
            Format::Packed(tool) => Some(self.decompressor(tool)?),
            _ => None,
        };
        let mut unpacked = Unpacked { input, filter, left: self.store.free()?, store: self.store };
        let mut packed = ToMksquashfs(&mut mksquashfs);
        let passed = judge::pass(self.ctx, &mut unpacked, &mut packed, found, &building.names());
        let passed = passed.map_err(|e| self.explain(e))?;
        // What does not count is not waited for.
        if let Judged::Whole(_) = passed {
            mksquashfs.finish().map_err(|e| self.explain(e))?;
        }
        Ok(passed)
    }

    /// Says what the image has not got of what it was made of.
    fn tell(&self, left_out: LeftOut) {
        if left_out != LeftOut::default() {
            self.ctx.note(format!("{left_out} left out: an image cannot hold them"));
        }
    }

    /// Packs a directory tree.
    fn pack(&self, building: &Building) -> Result<String> {
        self.check_space(1)?;
        let left_out = look_through(self.ctx, self.file.shown())?;
        let compressor = self.compressor(building)?;
        self.ctx.step("image.pack")?;
        let mksquashfs = self.mksquashfs(self.file.shown(), &building.rootfs, compressor)?;
        mksquashfs.finish().map_err(|e| self.explain(e))?;
        // Nobody knows before how small it becomes.
        self.check_space(1)?;
        self.tell(left_out);
        keep(&building.rootfs)?;
        let packed = HostFile::own(&building.rootfs);
        let mut packed = Input::open(self.ctx, &packed)?;
        packed.read_to_end()?;
        Ok(packed.sha256())
    }

    fn decompressor(&self, tool: &str) -> Result<RunningTool<'_>> {
        let mut command = Tool::confined(tool, Rights::Pipes)?;
        command.arg("-dc").env("XZ_DEFAULTS", XZ_LIMIT);
        RunningTool::start(&mut command, Pipes { stdin: true, stdout: true }, self.ctx, CONVERSION)
    }

    /// mksquashfs of a directory, or waiting for a tar stream. The options keep it to half the processors, and the root
    /// directory from being writable for everybody, which is its default for tar streams.
    fn mksquashfs(&self, from: &Path, out: &Path, compressor: &[&str]) -> Result<RunningTool<'_>> {
        let processors = processors().div_ceil(2);
        let from_tar = from == Path::new("-");
        // A tree's files may be anybody's.
        let rights = if from_tar { Rights::Files } else { Rights::ReadAll };
        let mut command = Tool::confined("mksquashfs", rights)?;
        command.arg(from).arg(out);
        if from_tar {
            command.arg("-tar");
        }
        command.args(["-quiet", "-no-progress", "-noappend", "-comp"]).args(compressor);
        command.args(["-root-mode", "0755", "-root-uid", "0", "-root-gid", "0", "-mem", MKSQUASHFS_MEMORY]);
        command.args(["-processors", &processors.to_string()]);
        RunningTool::start(&mut command, Pipes { stdin: true, stdout: false }, self.ctx, CONVERSION)
    }

    /// The best compressor that both mksquashfs and the kernel have. OpenWrt's kernels differ; trying tells for sure.
    fn compressor(&self, building: &Building) -> Result<&'static [&'static str]> {
        let trial = building.scratch();
        let mut last = None;
        for compressor in COMPRESSORS {
            match self.try_compressor(&trial, compressor[0]) {
                Ok(()) => return Ok(compressor),
                Err(e) if matches!(e.code, Code::Failed | Code::BadImage) => last = Some(e),
                Err(e) => return Err(e),
            }
        }
        let last = last.map_or_else(String::new, Error::into_message);
        Err(Error::new(
            Code::NotSupported,
            format_args!(
                "no squashfs that mksquashfs makes can be mounted here; import a squashfs instead ({last})"
            ),
        ))
    }

    fn try_compressor(&self, trial: &Path, compressor: &str) -> Result<()> {
        let mut command = Tool::confined("mksquashfs", Rights::Files)?;
        command.arg("-").arg(trial).args([
            "-tar",
            "-quiet",
            "-no-progress",
            "-noappend",
            "-comp",
            compressor,
        ]);
        let mut mksquashfs =
            RunningTool::start(&mut command, Pipes { stdin: true, stdout: false }, self.ctx, TRIAL)?;
        // An archive of nothing but its end marker.
        let made = mksquashfs.write_all(&[0; 1024]).and_then(|()| mksquashfs.finish());
        let tried = made.map_err(|e| self.explain(e)).and_then(|_| self.store.look_into(trial, &|_| Ok(())));
        let _ = fs::remove_file(trial);
        tried
    }

    /// What mksquashfs says of a full disk or a bad archive, as an error of that kind.
    fn explain(&self, e: Error) -> Error {
        if e.code != Code::Failed {
            return e;
        }
        if e.message.contains("No space left") || e.message.contains("Disk quota exceeded") {
            let place = self.store.directory().display();
            return Error::new(
                Code::NoSpace,
                format_args!("the disk of {place} became full while the image was built; free some space on it and try again"),
            );
        }
        if e.message.contains("tar file") || e.message.contains("tarfile") {
            return bad(e.into_message());
        }
        e
    }

    /// Looks into the built image, writes its manifest, and publishes it.
    fn finish(&self, building: &Building, sha256: String) -> Result<Image> {
        self.ctx.step("image.probe")?;
        let (mut manifest, drops_xattrs) = self.store.probe(&building.rootfs)?;
        if drops_xattrs {
            self.ctx.note(
                "this kernel reads no extended attributes of a squashfs (it lacks SQUASHFS_XATTR): those of the image, such \
                 as capabilities of its programs, are not in force",
            );
        }
        let strangers =
            self.store.look_into(&building.rootfs, &|root| Ok(count_strangers(self.ctx, root)))?;
        self.ctx.cancel.check()?;
        if strangers > 0 {
            self.ctx.note(format!(
                "{strangers} of its files belong to users or groups of {} and above, which a container does not have: they \
                 are nobody's there",
                idrange::SIZE
            ));
        }
        let file =
            building.rootfs.metadata().map_err(|e| Error::io("cannot look at", &building.rootfs, e))?;
        manifest.sha256 = sha256;
        if let Some(origin) = self.origin {
            manifest.source = origin.source.to_string();
            manifest.source_version = origin.version.to_string();
        }
        manifest.size = file.len();
        manifest.imported = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        self.ctx.step("image.store")?;
        self.store.publish(building, &manifest, self.name)
    }

    fn check_expected(&self, sha256: &str) -> Result<()> {
        match &self.expected {
            Some(expected) if expected != sha256 => Err(Error::new(
                Code::Checksum,
                format_args!(
                    "{} has the sha256 {sha256}, expected is {expected}; download or copy it again",
                    self.file.shown().display()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_space(&self, need: u64) -> Result<()> {
        check_space(self.store, need)
    }
}

/// Checks that mksquashfs can pack the tree below `root`, and tells what it will leave out. It goes down by paths and calls
/// itself: what has a path longer than the kernel takes it leaves out without an error.
fn look_through(ctx: &Ctx, root: &Path) -> Result<LeftOut> {
    /// With the NUL at its end.
    const LONGEST: usize = libc::PATH_MAX as usize - 1;
    let above = root.as_os_str().len() + 1;
    let mut left_out = LeftOut::default();
    walk(root, Moved::Fails, &mut |seen| {
        ctx.cancel.check()?;
        if seen.path().is_none_or(|path| above + path.len() > LONGEST) {
            let path = seen.shown();
            let path = path.display();
            return Err(Error::new(
                Code::NotSupported,
                format_args!(
                    "{path}: its path is longer than mksquashfs can pack; remove it or move it up first"
                ),
            ));
        }
        if let What::Directory(_) | What::File(_) = seen.what {
            let xattrs = sys::xattrs(&seen.at()).map_err(|e| Error::io("cannot read", &seen.shown(), e))?;
            for (name, _) in xattrs {
                left_out.keeps(name.to_bytes());
            }
        }
        Ok(())
    })?;
    Ok(left_out)
}

/// How many files of a mounted image have owners that no container has. What cannot be read is not counted: who starts
/// from it will be told.
fn count_strangers(ctx: &Ctx, root: &File) -> u64 {
    let mut count = 0;
    let path = format!("/proc/self/fd/{}", root.as_raw_fd());
    let _ = walk(Path::new(&path), Moved::Skipped, &mut |seen| {
        ctx.cancel.check()?;
        if let What::Directory(meta) | What::File(meta) = &seen.what {
            count += u64::from(meta.uid() >= idrange::SIZE || meta.gid() >= idrange::SIZE);
        }
        Ok(())
    });
    count
}

/// Checks that the store has room for `need` bytes.
pub fn check_space(store: &Store, need: u64) -> Result<()> {
    let have = store.free()?;
    if need <= have {
        return Ok(());
    }
    Err(no_space(store, &format!("the image needs {}", Bytes(need)), have))
}

/// Makes a built image durable, and ours alone.
fn keep(rootfs: &Path) -> Result<()> {
    let kept = || {
        let file = File::open(rootfs)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.sync_all()
    };
    kept().map_err(|e| Error::io("cannot write", rootfs, e))
}

fn no_space(store: &Store, need: &str, have: u64) -> Error {
    Error::new(
        Code::NoSpace,
        format_args!(
            "{need} in {}, {} may be used there beyond the {} kept for the box; free some space",
            store.directory().display(),
            Bytes(have),
            store.disk_reserve()
        ),
    )
}

/// What a file's first bytes say that it is.
enum Format {
    Squashfs,
    Tar,
    /// Compressed, for this tool; a tar, one hopes.
    Packed(&'static str),
}

/// First bytes of compressed files.
const PACKED: [(&[u8], &str); 3] =
    [(b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];
/// "ustar" in the header of a tar.
const USTAR_AT: usize = 257;

/// The file to import: read while it is hashed, told of, and watched for a cancel.
pub struct Input<'a> {
    ctx: &'a Ctx,
    path: &'a Path,
    file: File,
    /// The byte of the file that the image begins at.
    start: u64,
    size: u64,
    /// It ends before the file does.
    limited: bool,
    head: Vec<u8>,
    hash: Sha256,
    done: u64,
    told: u64,
}

impl<'a> Input<'a> {
    /// Opens the regular file that `from` is.
    pub fn open(ctx: &'a Ctx, from: &'a HostFile) -> Result<Input<'a>> {
        let (path, file) = (from.shown(), from.open("import")?);
        let data = file.metadata().map_err(|e| Error::io("cannot look at", path, e))?;
        let mut input = Input {
            ctx,
            path,
            file,
            start: 0,
            size: data.len(),
            limited: false,
            head: vec![0; 512],
            hash: Sha256::new(),
            done: 0,
            told: 0,
        };
        input.read_head()?;
        Ok(input)
    }

    /// Reads only a part of the file: `size` bytes at `start`.
    fn limit_to(&mut self, (start, size): (u64, u64)) -> Result<()> {
        (self.start, self.size, self.limited) = (start, size, true);
        self.head = vec![0; 512];
        self.read_head()?;
        self.rewind()
    }

    fn read_head(&mut self) -> Result<()> {
        let mut filled = 0;
        while filled < self.head.len() {
            let got = self.file.read_at(&mut self.head[filled..], self.start + filled as u64);
            match got.map_err(|e| Error::io("cannot read", self.path, e))? {
                0 => break,
                n => filled += n,
            }
        }
        self.head.truncate(filled);
        Ok(())
    }

    fn format(&self) -> Result<Format> {
        if self.head.is_empty() {
            return Err(bad("it is empty"));
        }
        if self.head.starts_with(squashfs::MAGIC) {
            return Ok(Format::Squashfs);
        }
        if let Some((_, tool)) = PACKED.iter().find(|(magic, _)| self.head.starts_with(magic)) {
            return Ok(Format::Packed(tool));
        }
        // The label that GNU's tar writes first has no magic number, nor had anything of old.
        if self.head.get(USTAR_AT..).is_some_and(|h| h.starts_with(b"ustar")) || tar::is_header(&self.head) {
            return Ok(Format::Tar);
        }
        Err(bad("it is neither a squashfs nor a tar archive (plain, or packed with gzip, xz or zstd)"))
    }

    /// Checks that it may be a container's archive, which is never packed.
    ///
    /// # Errors
    /// [`Code::BadImage`]: it is packed, or an image.
    pub fn check_no_image(&self) -> Result<()> {
        match self.format() {
            Ok(Format::Squashfs) => Err(bad(
                "it is an image, and no container; `cloudbox image import` takes it, and `cloudbox create` makes containers of it",
            )),
            Ok(Format::Packed(tool)) => Err(bad(format_args!(
                "it is packed with {tool}; unpack it first: `{tool} -d FILE` (but if it is an image, `cloudbox image import` \
                 takes it as it is)"
            ))),
            _ => Ok(()),
        }
    }

    /// Reads, and hashes, what is left; tells how many bytes that makes in all.
    pub fn read_to_end(&mut self) -> Result<u64> {
        let mut chunk = vec![0; CHUNK];
        while self.read(&mut chunk)? > 0 {}
        Ok(self.done)
    }

    /// Begins again, with the hash as well.
    fn rewind(&mut self) -> Result<()> {
        let begun = self.file.seek(SeekFrom::Start(self.start));
        begun.map_err(|e| Error::io("cannot read", self.path, e))?;
        (self.done, self.told) = (0, 0);
        Ok(())
    }

    /// The sha256 of all that was read since the beginning.
    pub fn sha256(&mut self) -> String {
        hex(&self.hash.finalize_reset())
    }
}

impl Source for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.ctx.cancel.check()?;
        let most = if self.limited { self.size.saturating_sub(self.done) } else { u64::MAX };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let got = loop {
            match self.file.read(buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| Error::io("cannot read", self.path, e))?,
            }
        };
        self.hash.update(&buffer[..got]);
        self.done += got as u64;
        if self.done > self.size {
            // Room was looked for when it was shorter.
            return Err(bad("it grew while it was read; import it when it is complete"));
        }
        if got == 0 || self.done - self.told >= TELL_EVERY {
            self.told = self.done;
            self.ctx.bytes(self.done, Some(self.size));
        }
        Ok(got)
    }
}

/// The tar stream in the input, at most as long as there is room.
struct Unpacked<'a, 'i> {
    input: &'a mut Input<'i>,
    filter: Option<RunningTool<'a>>,
    left: u64,
    store: &'a Store,
}

impl Source for Unpacked<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let got = match &mut self.filter {
            Some(filter) => filter.read_feeding(self.input, buffer)?,
            None => self.input.read(buffer)?,
        };
        if got == 0 {
            // That it ended well the decompressor alone knows, and its word on a damaged file is the better one.
            if let Some(filter) = self.filter.take() {
                filter.finish().map_err(|e| match e.code {
                    Code::Failed => {
                        bad(format_args!("it cannot be unpacked: {}; download or copy it again", e.message))
                    }
                    _ => e,
                })?;
            }
        }
        self.left = self.left.checked_sub(got as u64).ok_or_else(|| {
            no_space(
                self.store,
                "the image unpacks to more than there is room for",
                self.store.free().unwrap_or(0),
            )
        })?;
        Ok(got)
    }
}

/// mksquashfs as the checks' sink.
struct ToMksquashfs<'a, 'b>(&'a mut RunningTool<'b>);

impl Sink for ToMksquashfs<'_, '_> {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.0.write_all(data)
    }
}
/// The box's processors.
fn processors() -> usize {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|n| usize::try_from(n).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn what_mksquashfs_would_leave_out_is_refused() {
        let dir = TempDir::make();
        let ctx = Ctx::silent().unwrap();
        let directory = "d".repeat(99);
        let room = libc::PATH_MAX as usize - 1 - dir.path().as_os_str().len();
        let deepest = dir.path().join(vec![directory; room / 100].join("/"));
        fs::create_dir_all(&deepest).unwrap();
        let left = libc::PATH_MAX as usize - 2 - deepest.as_os_str().len();
        let file = "f".repeat(left);
        fs::write(deepest.join(&file), "").unwrap();
        look_through(&ctx, dir.path()).unwrap();
        let open = File::open(&deepest).unwrap();
        fs::write(crate::steps::walk::at(&open, (file + "f").as_bytes()), "").unwrap();
        let error = look_through(&ctx, dir.path()).unwrap_err();
        assert!(error.code == Code::NotSupported && error.message.contains("mksquashfs"), "{error}");
    }
}
