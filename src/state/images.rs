//! Images: what there is, who uses it, and where else an image is to be had.

use super::State;
use crate::error::{Code, Result};
use crate::model::image::{name_by_hash, Image};
use crate::model::image_source::{self, ImageSource};
use crate::steps::image::find_in;
use crate::steps::storage::Record;
use log::error;

/// Digits of a sha256 that tell images apart.
const SHORT_HASH: usize = 12;

/// A version that this box has not.
#[derive(Debug)]
pub struct Newer {
    /// `remote:alias` of the image.
    pub source: String,
    /// The version.
    pub version: String,
}

/// What an image is called: its first name, or the beginning of its sha256.
pub fn called(image: &Image) -> String {
    let digits = || image.manifest.sha256.chars().take(SHORT_HASH).collect();
    image.names.first().map_or_else(digits, ToString::to_string)
}

impl State {
    /// Looks at the store anew.
    pub fn read_images(&mut self) {
        match self.machine.images.list() {
            Ok(images) => self.images = images,
            Err(error) => error!("{error}"),
        }
    }

    /// The image called so, or whose sha256 begins so.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::InvalidArgument`] when several are meant.
    pub fn find_image(&self, called: &str) -> Result<&Image> {
        find_in(&self.images, called)
    }

    /// The containers that are made of an image.
    pub fn users_of(&self, sha256: &str) -> Vec<String> {
        self.records().filter(|r| r.image_sha256 == sha256).map(|r| r.name.to_string()).collect()
    }

    /// Images that are called by their sha256 alone and of which nothing is made, but for the `newest` of them.
    pub fn idle_by_hash(&self, newest: usize) -> Vec<String> {
        let is_idle = |image: &&Image| {
            let name = name_by_hash(&image.manifest.sha256);
            // One without any name had one of the owner's before.
            matches!(&image.names[..], [only] if only.as_str() == name)
                && self.users_of(&image.manifest.sha256).is_empty()
        };
        let mut idle: Vec<&Image> = self.images.iter().filter(is_idle).collect();
        idle.sort_by_key(|image| std::cmp::Reverse(image.manifest.imported));
        idle.into_iter().skip(newest).map(|image| name_by_hash(&image.manifest.sha256)).collect()
    }

    /// The version that a server was heard to have instead of this one.
    pub fn newer_than(&self, image: &Image) -> Option<String> {
        let manifest = &image.manifest;
        let of_same = |newer: &&Newer| {
            newer.source == manifest.source
                && newer.version != manifest.source_version
                && !image.names.is_empty()
        };
        self.newer.iter().find(of_same).map(|newer| newer.version.clone())
    }

    /// Where `remote:alias` is to be had; None when that is no such thing.
    ///
    /// # Errors
    /// [`Code::NotFound`] when no server of that name is known.
    pub fn source_of(&self, called: Option<&str>) -> Result<Option<ImageSource>> {
        let Some(called) = called.filter(|called| called.contains(':')) else { return Ok(None) };
        image_source::find(called, None, &self.config, &self.images).map(Some)
    }

    /// The image called so, or where to get it.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is neither here nor known to be anywhere.
    pub fn image_for(
        &self,
        called: &str,
        source: Option<ImageSource>,
    ) -> Result<(Option<&Image>, Option<ImageSource>)> {
        let is_it = |image: &Image| {
            let pulled = &image.manifest.source;
            source.as_ref().is_none_or(|source| {
                source.remotes.iter().any(|remote| *pulled == [&remote.name, ":", &source.alias].concat())
            })
        };
        match self.find_image(called) {
            Ok(image) if is_it(image) => Ok((Some(image), None)),
            Err(error) if error.code != Code::NotFound => Err(error),
            // Without servers the error of the search is the better one.
            Err(error) if source.is_none() && self.config.remotes.is_empty() => Err(error),
            _ => match source {
                Some(source) => Ok((None, Some(source))),
                None => Ok((None, Some(image_source::find(called, None, &self.config, &self.images)?))),
            },
        }
    }

    /// Takes notice of the image that a container was made of, which may have been pulled for it.
    pub(super) fn note_image(&mut self, record: &Record) {
        let is_known =
            |state: &State| state.images.iter().any(|image| image.manifest.sha256 == record.image_sha256);
        if is_known(self) {
            return;
        }
        self.read_images();
        if is_known(self) {
            self.notify_image_added(record.spec.image.as_str(), &record.image_sha256);
        }
    }
}
