//! Writes the lists of a server: the same images give the same bytes, in whatever order they come.

use super::Packing;
use crate::model::image::hex;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};

/// Where the list of images is, below the server's address.
pub const IMAGES: &str = "streams/v1/images.json";

/// A file on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it is, below the server's address.
    pub path: String,
    /// Its sha256.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<File>,
    /// What Incus wants beside it; a version that was published long ago has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incus: Option<Incus>,
}

/// An image's metadata for Incus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incus {
    /// The tar archive that they are in, packed with xz.
    pub file: File,
    /// The sha256 of that and the image, one after the other: by this Incus knows the image.
    pub combined: String,
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
pub fn lists(versions: &[Version]) -> Lists {
    let mut versions: Vec<(String, &Version)> = versions.iter().map(|v| (v.product(), v)).collect();
    versions.sort_unstable_by(|a, b| (&a.0, &a.1.version).cmp(&(&b.0, &b.1.version)));
    let mut products = Map::new();
    for (product, version) in versions {
        let (name, ftype, combined) = match version.packing {
            Packing::Squashfs => ("root.squashfs", "squashfs", "combined_squashfs_sha256"),
            Packing::Tar => ("root.tar.xz", "root.tar.xz", "combined_rootxz_sha256"),
            Packing::Unified => ("incus_combined.tar.gz", "incus_combined.tar.gz", "combined_sha256"),
        };
        let mut items = json!({ name: item(ftype, &version.image) });
        if let Some(manifest) = &version.manifest {
            items["manifest.json"] = item("manifest", manifest);
        }
        if let Some(incus) = &version.incus {
            items["incus.tar.xz"] = item("incus.tar.xz", &incus.file);
            items["incus.tar.xz"][combined] = json!(incus.combined);
        }
        // What is said of a product is what its newest version says, which comes last.
        let entry = products.entry(product).or_insert_with(|| json!({ "versions": {} }));
        entry["aliases"] = json!(version.name);
        entry["arch"] = json!(version.arch);
        entry["os"] = json!(version.os);
        entry["release"] = json!(version.release);
        entry["release_title"] = json!(version.release);
        entry["variant"] = json!(version.name);
        entry["versions"][&version.version] = json!({ "items": items });
    }
    let names: Vec<String> = products.keys().cloned().collect();
    let images = text(&json!({
        "content_id": "images",
        "datatype": "image-downloads",
        "format": "products:1.0",
        "products": products,
    }));
    let sha256 = hex(&Sha256::digest(&images));
    // Incus reads no list of which it is not told the products.
    let of_images = json!({
        "datatype": "image-downloads",
        "format": "products:1.0",
        "path": IMAGES,
        "products": names,
        "sha256": sha256,
    });
    Lists { index: text(&json!({"format": "index:1.0", "index": {"images": of_images}})), images }
}

fn item(ftype: &str, file: &File) -> Value {
    json!({"ftype": ftype, "path": file.path, "sha256": file.sha256, "size": file.size})
}

fn text(list: &Value) -> String {
    format!("{list}\n")
}
