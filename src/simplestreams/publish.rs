//! Writes the lists of a server: the same images give the same bytes, in whatever order they come.

use super::Packing;
use crate::error::{Code, Error, Result};
use openwrt_ubus::blobmsg::Builder;
use openwrt_ubus::json;

/// Where the list of images is, below the server's address.
pub const IMAGES: &str = "streams/v1/images.json";

/// A file on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is, below the server's address.
    pub path: String,
    /// Its sha256.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The name people ask for.
    pub name: String,
    /// The system, such as `debian`.
    pub os: String,
    /// Its release.
    pub release: String,
    /// The architecture, as Debian calls it.
    pub arch: String,
    /// The version.
    pub version: String,
    /// How it is packed.
    pub packing: Packing,
    /// The image.
    pub image: File,
    /// What its maker says of it.
    pub manifest: Option<File>,
}

impl Version {
    /// The name of its product, which no other image has.
    pub fn product(&self) -> String {
        let or = |text: &str| if text.is_empty() { "-".to_string() } else { text.replace(':', "-") };
        [or(&self.os), or(&self.release), or(&self.arch), or(&self.name)].join(":")
    }
}

/// The index and the list of images.
#[derive(Debug)]
pub struct Lists {
    /// The text of [`super::INDEX`].
    pub index: String,
    /// The text of [`IMAGES`].
    pub images: String,
}

/// The lists of a server with these `versions`.
///
/// # Errors
/// There are too many for one list.
pub fn lists(versions: &[Version]) -> Result<Lists> {
    let mut versions: Vec<&Version> = versions.iter().collect();
    versions.sort_by_key(|version| (version.product(), version.version.clone()));
    let mut products: Vec<String> = versions.iter().map(|version| version.product()).collect();
    products.dedup();

    let mut images = Builder::new();
    images.str("content_id", "images").str("datatype", "image-downloads").str("format", "products:1.0");
    images.table("products", |table| {
        for product in &products {
            table.table(product, |table| {
                let mut of = versions.iter().filter(|version| version.product() == *product);
                write_product(table, &mut of);
            });
        }
    });
    let mut index = Builder::new();
    index.str("format", "index:1.0").table("index", |table| {
        table.table("images", |entry| {
            entry.str("datatype", "image-downloads").str("format", "products:1.0").str("path", IMAGES);
            entry.array("products", |list| {
                for product in &products {
                    list.str("", product);
                }
            });
        });
    });
    Ok(Lists { index: text(index)?, images: text(images)? })
}

fn write_product<'a>(table: &mut Builder, versions: &mut dyn Iterator<Item = &'a &'a Version>) {
    let versions: Vec<_> = versions.collect();
    // What is said of the product is what its newest version says.
    let Some(newest) = versions.last() else { return };
    table.str("aliases", &newest.name).str("arch", &newest.arch).str("os", &newest.os);
    table.str("release", &newest.release).str("variant", &newest.name);
    table.table("versions", |table| {
        for version in &versions {
            table.table(&version.version, |entry| {
                entry.table("items", |items| write_items(items, version));
            });
        }
    });
}

fn write_items(items: &mut Builder, version: &Version) {
    let (name, ftype) = match version.packing {
        Packing::Squashfs => ("root.squashfs", "squashfs"),
        Packing::Tar => ("root.tar.xz", "root.tar.xz"),
    };
    let files = [
        Some((name, ftype, &version.image)),
        version.manifest.as_ref().map(|file| ("manifest.json", "manifest", file)),
    ];
    for (name, ftype, file) in files.into_iter().flatten() {
        items.table(name, |item| {
            item.str("ftype", ftype).str("path", &file.path).str("sha256", &file.sha256);
            item.int("size", i64::try_from(file.size).unwrap_or(i64::MAX));
        });
    }
}

fn text(fields: Builder) -> Result<String> {
    let written = fields.finish().map_err(openwrt_ubus::Error::from);
    let written = written.and_then(|fields| Ok(json::from_fields(&fields, json::Layout::Indented)?));
    let mut text =
        written.map_err(|e| Error::new(Code::Failed, format!("the list cannot be written: {e}")))?;
    text.push('\n');
    Ok(text)
}
