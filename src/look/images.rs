//! `image list` and `image info`.

use crate::api::replies::{ImageEntry, ImageList};
use crate::model::image::{Image, OfferedService};
use crate::state::State;

/// The reply of `image list`.
pub fn images(state: &State) -> ImageList {
    ImageList { images: state.images.iter().map(|found| image(state, found)).collect() }
}

/// The reply of `image info`.
pub fn image(state: &State, image: &Image) -> ImageEntry {
    let manifest = &image.manifest;
    let service = |s: &OfferedService| format!("{} {} {}", s.name, s.kind, s.port);
    ImageEntry {
        names: image.names.iter().map(ToString::to_string).collect(),
        sha256: manifest.sha256.clone(),
        description: manifest.name.clone(),
        version: manifest.version.clone(),
        os: manifest.os.clone(),
        release: manifest.release.clone(),
        arch: manifest.arch.clone(),
        init: manifest.init,
        size: manifest.size,
        imported: manifest.imported,
        services: manifest.services.iter().map(service).collect(),
        optional_services: manifest.optional().map(ToString::to_string).collect(),
        source: manifest.source.clone(),
        newer: state.newer_than(image),
        used_by: state.users_of(&manifest.sha256),
    }
}
