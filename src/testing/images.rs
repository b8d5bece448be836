//! Images that exist in memory only, and the servers that have more.

use super::FakeBox;
use crate::error::{Code, Error, Result};
use crate::model::image::{hex, parse_sha256, Image, Init, Manifest};
use crate::model::image_source::ImageSource;
use crate::model::name::ImageName;
use crate::model::remote::Remote;
use crate::simplestreams::{Item, Offer, Offers, Packing, PassedOver};
use crate::steps::ctx::Ctx;
use crate::steps::image::Images;
use crate::steps::outside::HostFile;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Images in memory. A mount is a path below `run`, where nothing is.
pub struct ImageStore {
    run: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: Vec<Image>,
    mounted: Vec<String>,
    failure: Option<Error>,
    offers: Vec<(String, Offer)>,
    partial: u64,
}

impl ImageStore {
    /// A store that holds `images`.
    pub fn new(run: &Path, images: Vec<Image>) -> ImageStore {
        ImageStore { run: run.to_path_buf(), state: Mutex::new(State { images, ..State::default() }) }
    }

    /// Lets the next call that changes something fail with `error`.
    pub fn fail_next(&self, error: Error) {
        self.state().failure = Some(error);
    }

    /// Lets the server `remote` have a version of an image, whose sha256 is made of `digits`.
    pub fn offer(&self, remote: &str, alias: &str, version: &str, digits: &str) {
        let item = Item {
            packing: Packing::Squashfs,
            path: "images/x".to_string(),
            sha256: digits.chars().cycle().take(64).collect(),
            size: 1 << 20,
        };
        let offer = Offer {
            aliases: vec![alias.to_string()],
            os: "debian".to_string(),
            release: "12".to_string(),
            variant: "default".to_string(),
            version: version.to_string(),
            item: Ok(item),
        };
        let mut state = self.state();
        state.offers.retain(|(at, known)| at != remote || known.aliases != offer.aliases);
        state.offers.push((remote.to_string(), offer));
    }

    /// Lets a pull have left so many bytes.
    pub fn leave(&self, bytes: u64) {
        self.state().partial = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.failure.take() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

/// An image with nothing in it but its sha256 and names.
pub fn image(sha256: &str, names: &[&str]) -> Image {
    let manifest = Manifest {
        sha256: sha256.to_string(),
        name: String::new(),
        version: String::new(),
        os: "debian".to_string(),
        release: "12".to_string(),
        arch: "x86_64".to_string(),
        init: Init::Systemd,
        services: Vec::new(),
        source: String::new(),
        source_version: String::new(),
        size: 4096,
        imported: 1,
    };
    Image { manifest, names: names.iter().filter_map(|name| ImageName::new(name).ok()).collect() }
}

impl Images for ImageStore {
    fn list(&self) -> Result<Vec<Image>> {
        Ok(self.state().images.clone())
    }

    /// Any path is a good image, whose sha256 is the expected one or is made of the path's bytes.
    fn import(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        name: &ImageName,
        expected_sha256: Option<&str>,
    ) -> Result<Image> {
        ctx.step("image.check")?;
        let mut state = self.change()?;
        let sha256 = match expected_sha256 {
            Some(text) => parse_sha256(text)?,
            None => format!("{:0<64}", hex(file.shown().as_os_str().as_encoded_bytes()))
                .chars()
                .take(64)
                .collect(),
        };
        for image in &mut state.images {
            image.names.retain(|n| n != name);
        }
        let place = match state.images.iter().position(|i| i.manifest.sha256 == sha256) {
            Some(place) => place,
            None => {
                state.images.push(image(&sha256, &[]));
                state.images.len() - 1
            }
        };
        state.images[place].names.push(name.clone());
        Ok(state.images[place].clone())
    }

    fn import_part(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        _part: (u64, u64),
        name: &ImageName,
        sha256: &str,
    ) -> Result<Image> {
        self.import(ctx, file, name, Some(sha256))
    }

    fn file(&self, _ctx: &Ctx, sha256: &str) -> Result<(PathBuf, u64, String)> {
        Ok((self.run.join(sha256), 4096, sha256.to_string()))
    }

    fn pack(&self, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image> {
        self.import(ctx, &HostFile::own(tree), name, None)
    }

    fn available(&self, _: &Ctx, remote: &Remote, filter: &str, _: Instant) -> Result<Offers> {
        let state = self.change()?;
        let at = state.offers.iter().filter(|(name, offer)| {
            *name == remote.name && offer.aliases.iter().any(|alias| alias.contains(filter))
        });
        let offers = at.map(|(_, offer)| offer.clone()).collect();
        Ok(Offers { offers, passed_over: PassedOver { names: 1, ..PassedOver::default() } })
    }

    /// What is offered at the first of its servers that has it.
    fn pull(&self, ctx: &Ctx, source: &ImageSource) -> Result<Image> {
        ctx.step("pull.list")?;
        let mut found = None;
        for remote in &source.remotes {
            let offers = self.available(ctx, remote, "", Instant::now())?.offers;
            found = found.or(offers
                .into_iter()
                .find(|offer| offer.aliases.contains(&source.alias))
                .map(|o| (remote, o)));
        }
        let Some((remote, offer)) = found else {
            return Err(Error::new(Code::NotFound, format_args!("no image {}", source.alias)));
        };
        ctx.step("pull.fetch")?;
        let item = offer.item?;
        if source.sha256.as_ref().is_some_and(|pin| *pin != item.sha256) {
            return Err(Error::new(Code::Checksum, "the server has other versions"));
        }
        ctx.bytes(item.size, Some(item.size));
        self.import(ctx, &HostFile::own(Path::new("/pulled")), &source.name, Some(&item.sha256))?;
        let mut state = self.state();
        let pulled = state.images.iter_mut().find(|image| image.manifest.sha256 == item.sha256);
        let Some(image) = pulled else { return Err(Error::new(Code::Failed, "it has gone")) };
        image.manifest.source = [&remote.name, ":", &source.alias].concat();
        // A version that is a number is when it came.
        image.manifest.imported = offer.version.parse().unwrap_or(image.manifest.imported);
        image.manifest.source_version = offer.version;
        Ok(image.clone())
    }

    fn partial(&self) -> Result<u64> {
        Ok(self.state().partial)
    }

    fn remove_partial(&self) -> Result<()> {
        self.change()?.partial = 0;
        Ok(())
    }

    fn delete(&self, ctx: &Ctx, image: &Image) -> Result<()> {
        ctx.step("image.delete")?;
        let mut state = self.change()?;
        state.images.retain(|i| i.manifest.sha256 != image.manifest.sha256);
        state.mounted.retain(|m| *m != image.manifest.sha256);
        Ok(())
    }

    fn mount(&self, sha256: &str) -> Result<PathBuf> {
        let mut state = self.change()?;
        if !state.images.iter().any(|i| i.manifest.sha256 == sha256) {
            return Err(Error::new(Code::NotFound, format_args!("no image {sha256}")));
        }
        if !state.mounted.iter().any(|m| m == sha256) {
            state.mounted.push(sha256.to_string());
        }
        Ok(self.run.join("images").join(sha256))
    }

    fn unmount(&self, sha256: &str) -> Result<()> {
        self.change()?.mounted.retain(|m| m != sha256);
        Ok(())
    }

    fn mounted(&self) -> Result<Vec<String>> {
        Ok(self.state().mounted.clone())
    }

    fn clean(&self) -> Result<()> {
        self.change().map(drop)
    }
}

impl Images for FakeBox {
    fn list(&self) -> Result<Vec<Image>> {
        self.enter("images.list", "", None)?;
        self.images.list()
    }

    fn import(&self, ctx: &Ctx, file: &HostFile, name: &ImageName, sha256: Option<&str>) -> Result<Image> {
        self.enter("images.import", name.as_str(), Some(ctx))?;
        self.images.import(ctx, file, name, sha256)
    }

    fn import_part(
        &self,
        ctx: &Ctx,
        file: &HostFile,
        part: (u64, u64),
        name: &ImageName,
        sha256: &str,
    ) -> Result<Image> {
        self.enter("images.import_part", name.as_str(), Some(ctx))?;
        self.images.import_part(ctx, file, part, name, sha256)
    }

    fn file(&self, ctx: &Ctx, sha256: &str) -> Result<(PathBuf, u64, String)> {
        self.enter("images.file", "", Some(ctx))?;
        self.images.file(ctx, sha256)
    }

    fn pack(&self, ctx: &Ctx, tree: &Path, name: &ImageName) -> Result<Image> {
        self.enter("images.pack", name.as_str(), Some(ctx))?;
        self.images.pack(ctx, tree, name)
    }

    fn available(&self, ctx: &Ctx, remote: &Remote, filter: &str, until: Instant) -> Result<Offers> {
        self.enter("images.available", &remote.name, Some(ctx))?;
        self.images.available(ctx, remote, filter, until)
    }

    fn pull(&self, ctx: &Ctx, source: &ImageSource) -> Result<Image> {
        self.enter("images.pull", source.name.as_str(), Some(ctx))?;
        self.images.pull(ctx, source)
    }

    fn partial(&self) -> Result<u64> {
        self.images.partial()
    }

    fn remove_partial(&self) -> Result<()> {
        self.enter("images.remove_partial", "", None)?;
        self.images.remove_partial()
    }

    fn delete(&self, ctx: &Ctx, image: &Image) -> Result<()> {
        self.enter("images.delete", "", Some(ctx))?;
        self.images.delete(ctx, image)
    }

    fn mount(&self, sha256: &str) -> Result<PathBuf> {
        self.enter("images.mount", "", None)?;
        self.images.mount(sha256)
    }

    fn unmount(&self, sha256: &str) -> Result<()> {
        let late = self.enter("images.unmount", "", None)?;
        self.images.unmount(sha256)?;
        late.map_or(Ok(()), Err)
    }

    fn mounted(&self) -> Result<Vec<String>> {
        self.images.mounted()
    }

    fn clean(&self) -> Result<()> {
        self.enter("images.clean", "", None).map(drop)
    }
}
