//! Writes the lists of a server: the same images give the same bytes, in whatever order they come.

use super::Packing;
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
pub fn lists(versions: &[Version]) -> Lists {
    let mut versions: Vec<(String, &Version)> = versions.iter().map(|v| (v.product(), v)).collect();
    versions.sort_unstable_by(|a, b| (&a.0, &a.1.version).cmp(&(&b.0, &b.1.version)));
    let mut index = Object::new("\n");
    index.texts(&[("format", "index:1.0")]).open("index").open("images");
    index.texts(&[("datatype", "image-downloads"), ("format", "products:1.0"), ("path", IMAGES)]);
    let mut images = Object::new("\n");
    images.texts(&[("content_id", "images"), ("datatype", "image-downloads"), ("format", "products:1.0")]);
    images.open("products");
    for (at, (product, version)) in versions.iter().enumerate() {
        // What is said of a product is what its newest version says.
        let same = |other: Option<&(String, &Version)>| other.is_some_and(|(name, _)| name == product);
        if !same(at.checked_sub(1).and_then(|before| versions.get(before))) {
            let newest =
                versions.iter().rev().find(|(name, _)| name == product).map_or(*version, |(_, v)| *v);
            let (name, arch) = (&newest.name, &newest.arch);
            images.open(product).texts(&[("aliases", name), ("arch", arch), ("os", &newest.os)]);
            images.texts(&[("release", &newest.release), ("variant", name)]).open("versions");
        }
        let (name, ftype) = match version.packing {
            Packing::Squashfs => ("root.squashfs", "squashfs"),
            Packing::Tar => ("root.tar.xz", "root.tar.xz"),
        };
        images.open(&version.version).open("items").file(name, ftype, &version.image);
        if let Some(manifest) = &version.manifest {
            images.file("manifest.json", "manifest", manifest);
        }
        images.close().close();
        if !same(versions.get(at + 1)) {
            images.close().close();
        }
    }
    Lists { index: index.end(), images: images.end() }
}

/// An object of JSON that is being written.
pub struct Object {
    text: String,
    depth: usize,
    /// What separates members.
    between: &'static str,
}

impl Object {
    /// One without members; `between` stands behind the comma between two.
    pub fn new(between: &'static str) -> Object {
        Object { text: "{".to_string(), depth: 1, between }
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
            self.text.push_str(self.between);
        }
        self.text.push_str(&json::string(name));
        self.text.push(':');
    }

    /// Adds texts.
    pub fn texts(&mut self, members: &[(&str, &str)]) -> &mut Object {
        for (name, text) in members {
            self.name(name);
            self.text.push_str(&json::string(text));
        }
        self
    }

    /// Begins an object inside.
    pub fn open(&mut self, name: &str) -> &mut Object {
        self.name(name);
        self.text.push('{');
        self.depth += 1;
        self
    }

    /// Ends it.
    pub fn close(&mut self) -> &mut Object {
        self.text.push('}');
        self.depth -= 1;
        self
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, ftype: &str, file: &File) -> &mut Object {
        self.open(name)
            .texts(&[("ftype", ftype), ("path", &file.path), ("sha256", &file.sha256)])
            .name("size");
        self.text.push_str(&file.size.to_string());
        self.close()
    }

    /// Ends all that is open; the text.
    pub fn end(mut self) -> String {
        while self.depth > 0 {
            self.close();
        }
        self.text.push('\n');
        self.text
    }
}
