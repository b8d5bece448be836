//! `image pull`: fetching an image from a server.

use super::{About, Operation};
use crate::error::{Code, Error, Result};
use crate::machine::Machine;
use crate::model::image::{name_by_hash, parse_sha256, Image};
use crate::model::image_source::{self, ImageSource};
use crate::model::job::Kind;
use crate::model::name::ImageName;
use crate::state::State;
use crate::steps::ctx::Ctx;
use serde::Deserialize;

/// The kind of a job that pulls an image.
pub const KIND: Kind = Kind { waits: true, ..Kind::new("image_pull") };

/// `cloudbox.image pull`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// The image: its name here, or what a server calls it, such as `debian/12` or `community:debian/12`.
    pub name: String,
    /// The server; any that has it unless said otherwise.
    pub remote: Option<String>,
    /// Take it although it is older than a version that was here from the same server.
    pub allow_older: Option<bool>,
    /// The one version that is wanted, by the sha256 of its file, whichever the server has beside it.
    pub sha256: Option<String>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// An image to be fetched.
#[derive(Debug)]
pub struct ImagePull {
    source: ImageSource,
    /// It is called by its sha256, and nothing is to be done where it is here from one of the servers.
    by_hash: bool,
}

impl ImagePull {
    /// An image that somebody wants to have.
    ///
    /// # Errors
    /// No server is known to have it, [`Code::Busy`]; [`Code::Checksum`] when the configuration wants another version.
    pub fn ask(state: &State, args: &Args) -> Result<ImagePull> {
        state.check_enabled()?;
        let mut source =
            image_source::find(&args.name, args.remote.as_deref(), &state.config, &state.images)?;
        source.allow_older = args.allow_older.unwrap_or(false);
        if let Some(text) = args.sha256.as_deref().filter(|text| !text.is_empty()) {
            let wanted = parse_sha256(text)?;
            if let Some(pin) = source.sha256.filter(|pin| *pin != wanted) {
                let why =
                    format!("`option sha256` of image {} in /etc/config/cloudbox wants {pin}", source.name);
                return Err(Error::new(Code::Checksum, why));
            }
            source.sha256 = Some(wanted);
        }
        state.check_idle_image(source.name.as_str())?;
        Ok(ImagePull { source, by_hash: false })
    }

    /// Exactly this image, which no name of the owner's is to mean.
    ///
    /// # Errors
    /// As [`ImagePull::ask`].
    pub fn by_hash(state: &State, args: &Args, sha256: &str) -> Result<ImagePull> {
        state.check_enabled()?;
        let source = image_source::find(&args.name, args.remote.as_deref(), &state.config, &state.images)?;
        let name = ImageName::new(&name_by_hash(sha256))?;
        let source = ImageSource { name, sha256: Some(sha256.to_string()), ..source };
        state.check_idle_image(source.name.as_str())?;
        Ok(ImagePull { source, by_hash: true })
    }
}

impl Operation for ImagePull {
    type Found = Image;

    fn about(&self) -> About {
        About::image(KIND, self.source.name.as_str())
    }

    fn is_needless(&self, state: &State) -> bool {
        let from =
            |image: &Image| image.manifest.source.split_once(':').map(|(remote, _)| remote.to_string());
        let is_it = |image: &&Image| Some(&image.manifest.sha256) == self.source.sha256.as_ref();
        let has = |image: &Image| {
            self.source.remotes.iter().any(|remote| Some(&remote.name) == from(image).as_ref())
        };
        self.by_hash && state.images.iter().find(is_it).is_some_and(has)
    }

    fn run(&mut self, machine: &Machine, ctx: &Ctx) -> Result<Image> {
        machine.images.pull(ctx, &self.source)
    }

    fn done(self, state: &mut State, image: Image) -> Result<()> {
        state.read_images();
        state.notify_image_added(self.source.name.as_str(), &image.manifest.sha256);
        Ok(())
    }
}
