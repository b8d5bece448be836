//! Images: read-only root filesystems, each known by the sha256 of the file it was imported from.
//!
//! The rooms: `store` keeps them and mounts them, `import` brings a file in, `remote` brings one from a server by way of
//! `transfer`, `tar` and `squashfs` judge what the file holds, `manifest` looks into the finished image,
//! `server` makes the files of a server.
//!
//! **An image on disk is whole or absent**: it is built in a hidden directory and renamed to its sha256. **Nothing of an
//! image is ever unpacked on the host**: a tarball streams through our checks into mksquashfs.

mod import;
mod judge;
mod lists;
mod manifest;
mod remote;
#[cfg(feature = "publish")]
pub mod server;
mod squashfs;
mod store;
pub(super) mod tar;
mod transfer;

pub(super) use import::Input;
pub use remote::{hashes_on, Fetching, Listed};
pub use store::Store;

use super::ctx::Ctx;
use super::outside::HostFile;
use crate::error::{quoted, Code, Error, Result};
pub(super) use crate::model::image::hex;
use crate::model::image::{is_hex, parse_sha256, Image, SHA256_DIGITS};
use crate::model::image_source::ImageSource;
use crate::model::name::ImageName;
use crate::model::remote::Remote;
use crate::simplestreams::Offers;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The least hex digits by which an image can be named.
const SHORTEST_PREFIX: usize = 12;

/// The images of this box.
pub trait Images: Send + Sync {
    /// Every image, the oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list(&self) -> Result<Vec<Image>>;

    /// The image called `name_or_sha`: its name, its sha256, or the first twelve or more digits of that.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::InvalidArgument`] when the digits are those of several images.
    fn find(&self, name_or_sha: &str) -> Result<Image> {
        find_in(&self.list()?, name_or_sha).cloned()
    }

    /// Brings in the squashfs or tarball `file` and lets `name` mean it. A file already imported is not imported
    /// again; a name that meant another image moves, and that image stays without it. On an error nothing is left.
    ///
    /// # Errors
    /// [`Code::BadImage`], [`Code::Checksum`], [`Code::NoSpace`], [`Code::InvalidArgument`], [`Code::MissingTool`],
    /// [`Code::Cancelled`].
    fn import(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        name: &ImageName,
        expected_sha256: Option<&str>,
    ) -> Result<Image>;

    /// Brings in the squashfs of which `file` has `size` bytes at `at`, whose sha256 is known.
    ///
    /// # Errors
    /// As [`Images::import`].
    fn import_part(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        part: (u64, u64),
        name: &ImageName,
        sha256: &str,
    ) -> Result<Image>;

    /// The image's own file, its bytes, and the sha256 of just that file: it is another than the image's, where that was
    /// made of a tarball.
    ///
    /// # Errors
    /// It cannot be read, [`Code::Cancelled`].
    fn file(&self, ctx: &Ctx, sha256: &str) -> Result<(PathBuf, u64, String)>;

    /// Makes an image of the directory tree at `tree` and lets `name` mean it. On an error nothing is left.
    ///
    /// # Errors
    /// As [`Images::import`].
    fn pack(&self, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image>;

    /// What the server has for this box: of each image the newest version, if `filter` is in one of its names. It is
    /// given up at `until`.
    ///
    /// # Errors
    /// It cannot be asked, or what it says cannot be trusted ([`Code::Checksum`]) or read.
    fn available(&self, ctx: &Ctx, remote: &Remote, filter: &str, until: Instant) -> Result<Offers>;

    /// Fetches the newest version of an image from a server and lets its name mean it. What was fetched when it ends
    /// early is kept, and the next try goes on from there. On an error the name means what it meant.
    ///
    /// # Errors
    /// As [`Images::available`] and [`Images::import`]; [`Code::NotFound`] when no server has it.
    fn pull(&self, ctx: &Ctx, source: &ImageSource) -> Result<Image>;

    /// Bytes of what pulls that ended early have left.
    ///
    /// # Errors
    /// The store cannot be read.
    fn partial(&self) -> Result<u64>;

    /// Removes what pulls that ended early have left.
    ///
    /// # Errors
    /// The first thing that could not be removed, with the others.
    fn remove_partial(&self) -> Result<()>;

    /// Removes `image` and its names. The caller has checked that no container uses it.
    ///
    /// # Errors
    /// [`Code::InUse`] when its mount is busy, [`Code::NotFound`] when it is gone already.
    fn delete(&self, ctx: &Ctx, image: &Image) -> Result<()>;

    /// Mounts the image read-only and shared, or finds it mounted, and tells where.
    ///
    /// # Errors
    /// [`Code::NotFound`], or the kernel cannot mount it.
    fn mount(&self, sha256: &str) -> Result<PathBuf>;

    /// Unmounts the image; one that is not mounted is fine.
    ///
    /// # Errors
    /// [`Code::InUse`] when something still has it open.
    fn unmount(&self, sha256: &str) -> Result<()>;

    /// The sha256 of every image mounted now.
    ///
    /// # Errors
    /// The mount table cannot be read.
    fn mounted(&self) -> Result<Vec<String>>;

    /// Removes what an import or delete left that a crash cut short. For the daemon's start, before any other call.
    ///
    /// # Errors
    /// The first thing that could not be removed, with the others; everything else is removed all the same.
    fn clean(&self) -> Result<()>;
}

/// The one of `images` that `name_or_sha` means. A name goes before digits.
pub fn find_in<'a>(images: &'a [Image], name_or_sha: &str) -> Result<&'a Image> {
    if let Some(image) = images.iter().find(|i| i.names.iter().any(|n| n.as_str() == name_or_sha)) {
        return Ok(image);
    }
    let shown: String = name_or_sha.chars().take(SHA256_DIGITS).collect();
    let digits = name_or_sha.to_ascii_lowercase();
    if digits.len() >= SHORTEST_PREFIX && is_hex(&digits) {
        let mut found = images.iter().filter(|i| i.manifest.sha256.starts_with(&digits));
        if let Some(image) = found.next() {
            return match found.next() {
                None => Ok(image),
                Some(_) => Err(Error::new(
                    Code::InvalidArgument,
                    format_args!("several images begin with {shown}; write more of the sha256"),
                )),
            };
        }
    }
    Err(Error::new(
        Code::NotFound,
        format_args!(
            "no image {shown} on this box; list shows those there are, pull or import brings one in",
            shown = quoted(&shown)
        ),
    ))
}

/// A file that cannot be an image, and why. The import puts the file's name in front.
pub(super) fn bad(why: impl std::fmt::Display) -> Error {
    Error::new(Code::BadImage, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::image;

    #[test]
    fn an_image_is_found_by_name_and_digits() {
        let (a, b) =
            ("aabbccddeeff0".to_string() + &"0".repeat(51), "aabbccddeeff1".to_string() + &"1".repeat(51));
        let images = vec![image(&a, &["web", "aabbccddeeff1"]), image(&b, &[])];
        let sha = |text: &str| find_in(&images, text).map(|i| i.manifest.sha256.clone()).map_err(|e| e.code);
        assert_eq!(sha("web"), Ok(a.clone()));
        assert_eq!(sha(&b), Ok(b.clone()));
        assert_eq!(sha("aabbccddeeff1"), Ok(a.clone()), "a name goes before digits");
        assert_eq!(sha("AABBCCDDEEFF11"), Ok(b.clone()));
        assert_eq!(sha("aabbccddeeff"), Err(Code::InvalidArgument));
        for missing in ["", "webb", "aabbccddeef", "ffffffffffff", "../web"] {
            assert_eq!(sha(missing), Err(Code::NotFound), "{missing}");
        }
    }
}
