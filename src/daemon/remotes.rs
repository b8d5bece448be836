//! Servers of images: what they have, what is to be pulled from them, and what of what was pulled nobody uses.

use super::calls::{encode, Answer};
use super::core::Core;
use super::work::{Report, Work};
use crate::api::{args, replies};
use crate::error::{Code, Error, Result};
use crate::model::image::Image;
use crate::model::image_source::{self, ImageSource};
use crate::model::job::JobId;
use crate::model::remote::Remote;
use crate::simplestreams::Offer;
use crate::steps::ctx::Ctx;
use crate::steps::storage::Record;
use openwrt_ubus::Request;
use std::time::{Duration, Instant};

/// How long all servers together may take to say what they have: LuCI gives up after 20 seconds.
const PATIENCE: Duration = Duration::from_secs(18);
/// Digits of a sha256 that tell images apart.
const SHORT_HASH: usize = 12;

/// A version that this box has not.
#[derive(Debug)]
pub struct Newer {
    /// `remote:alias` of the image.
    source: String,
    version: String,
}

/// What an image is called: its first name, or the beginning of its sha256.
pub fn called(image: &Image) -> String {
    let digits = || image.manifest.sha256.chars().take(SHORT_HASH).collect();
    image.names.first().map_or_else(digits, ToString::to_string)
}

impl Core {
    pub(super) fn remote_list(&self) -> replies::RemoteList {
        let entry = |(name, remote): &(String, Result<Remote>)| {
            let good = remote.as_ref().ok();
            replies::RemoteEntry {
                name: name.clone(),
                url: good.map(|remote| remote.url.clone()).unwrap_or_default(),
                signed: good.is_some_and(Remote::is_signed),
                keys: good
                    .map(|r| r.keys.iter().map(|key| key.number.to_string()).collect())
                    .unwrap_or_default(),
                error: remote.as_ref().err().map(Into::into),
            }
        };
        replies::RemoteList { remotes: self.config.remotes.iter().map(entry).collect() }
    }

    /// Asks servers what they have, in a thread.
    pub(super) fn available(&self, args: args::Available) -> Answer {
        let remotes: Vec<(String, Result<Remote>)> = match args.remote.filter(|name| !name.is_empty()) {
            Some(name) => vec![(name.clone(), image_source::find_remote(&self.config, &name))],
            None => self.config.remotes.clone(),
        };
        let machine = self.machine.clone();
        let filter = args.filter.unwrap_or_default();
        Answer::Aside(Box::new(move |request| {
            let until = Instant::now() + PATIENCE;
            let ask = |remote: Result<Remote>| {
                let remote = remote?;
                machine.images.available(&Ctx::silent()?, &remote, &filter, until)
            };
            let offers = remotes.into_iter().map(|(name, remote)| (name, ask(remote))).collect();
            Report::Offers(request, offers)
        }))
    }

    /// Answers with what they have. One that cannot be asked is an error only when it is the only one.
    pub(super) fn answer_available(&mut self, request: Request, offers: Vec<(String, Result<Vec<Offer>>)>) {
        let mut reply = replies::OfferList { images: Vec::new(), errors: Vec::new() };
        let mut first = None;
        let all_failed = !offers.is_empty() && offers.iter().all(|(_, offers)| offers.is_err());
        for (remote, offers) in offers {
            match offers {
                Ok(offers) => {
                    for offer in offers {
                        let entry = self.offer_entry(&remote, offer);
                        reply.images.push(entry);
                    }
                }
                Err(error) => {
                    reply.errors.push(format!("{remote}: {}", error.message));
                    first.get_or_insert(error);
                }
            }
        }
        let answered = match first {
            Some(error) if all_failed => Err(error),
            _ => encode(&reply),
        };
        self.send_reply(request, answered);
        crate::sys::trim_heap();
    }

    /// An offer as it stands in the reply; remembers what is newer than what is here.
    fn offer_entry(&mut self, remote: &str, offer: Offer) -> replies::OfferEntry {
        let sources: Vec<String> = offer.aliases.iter().map(|alias| [remote, ":", alias].concat()).collect();
        let item = offer.item.as_ref().ok();
        let here =
            self.images.iter().any(|image| item.is_some_and(|item| item.sha256 == image.manifest.sha256));
        let pulled = self.images.iter().find(|i| !i.names.is_empty() && sources.contains(&i.manifest.source));
        self.newer.retain(|newer| !sources.contains(&newer.source));
        let state = match (here, pulled) {
            (true, _) => "here",
            (false, Some(image)) => {
                let source = image.manifest.source.clone();
                self.newer.push(Newer { source, version: offer.version.clone() });
                "newer"
            }
            (false, None) => "new",
        };
        replies::OfferEntry {
            remote: remote.to_string(),
            os: offer.os,
            release: offer.release,
            variant: offer.variant,
            version: offer.version,
            packing: item.map(|item| item.packing.as_str()),
            size: item.map(|item| item.size),
            sha256: item.map(|item| item.sha256.clone()),
            aliases: offer.aliases,
            state,
            error: offer.item.err().as_ref().map(Into::into),
        }
    }

    /// The version that a server was heard to have instead of this one.
    pub(super) fn newer_than(&self, image: &Image) -> Option<String> {
        let manifest = &image.manifest;
        let of_same = |newer: &&Newer| {
            newer.source == manifest.source
                && newer.version != manifest.source_version
                && !image.names.is_empty()
        };
        self.newer.iter().find(of_same).map(|newer| newer.version.clone())
    }

    pub(super) fn pull(&mut self, args: &args::Pull) -> Result<JobId> {
        self.check_enabled()?;
        let source = image_source::find(&args.name, args.remote.as_deref(), &self.config, &self.images)?;
        self.idle_image(source.name.as_str())?;
        Ok(self.start_job(Work::Pull(Box::new(source))))
    }

    /// Where `remote:alias` is to be had; None when that is no such thing, or is here.
    pub(super) fn source_of(&self, called: Option<&str>) -> Result<Option<ImageSource>> {
        let Some(called) = called.filter(|called| called.contains(':')) else { return Ok(None) };
        image_source::find(called, None, &self.config, &self.images).map(Some)
    }

    /// The image `called` so, or where to get it.
    pub(super) fn image_for(
        &self,
        called: &str,
        source: Option<ImageSource>,
    ) -> Result<(Option<&Image>, Option<ImageSource>)> {
        let here = self.find_image(called);
        let is_it = |image: &Image| {
            let pulled = &image.manifest.source;
            source.as_ref().is_none_or(|source| {
                source.remotes.iter().any(|remote| *pulled == [&remote.name, ":", &source.alias].concat())
            })
        };
        match here {
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
        if self.images.iter().any(|image| image.manifest.sha256 == record.image_sha256) {
            return;
        }
        self.read_images();
        if self.images.iter().any(|image| image.manifest.sha256 == record.image_sha256) {
            self.notify_image_added(record.spec.image.as_str(), &record.image_sha256);
        }
    }

    /// Images that no container is made of and the configuration does not name.
    fn unused_images(&self) -> Vec<Image> {
        let settings = &self.config.settings;
        let declared = |image: &Image| {
            image.names.iter().any(|name| {
                *name == settings.defaults.image
                    || self.config.images.iter().any(|known| known.name == *name)
                    || self
                        .config
                        .containers
                        .values()
                        .any(|d| d.spec.as_ref().is_ok_and(|spec| spec.image == *name))
            })
        };
        let mut unused = Vec::new();
        for image in &self.images {
            if !declared(image) && self.users_of(&image.manifest.sha256).is_empty() {
                unused.push(image.clone());
            }
        }
        unused
    }

    /// Removes images that nobody uses; without `yes` it only says which.
    pub(super) fn prune_images(&mut self, yes: bool) -> Result<replies::ImagePruneReply> {
        if self.config_error.is_some() {
            return Err(Error::new(
                Code::Config,
                "the configuration cannot be read, so nobody knows what is used",
            ));
        }
        let images = self.unused_images();
        let partial = self.machine.images.partial()?;
        let mut reply = replies::ImagePruneReply {
            images: images.iter().map(called).collect(),
            bytes: images.iter().map(|image| image.manifest.size).sum(),
            partial,
            job: None,
        };
        if yes && (!images.is_empty() || partial > 0) {
            self.idle_images()?;
            reply.job = Some(self.start_job(Work::PruneImages(images)).to_string());
        }
        Ok(reply)
    }

    /// That no job works on images, nor fetches one for a container.
    fn idle_images(&self) -> Result<()> {
        match self.jobs.iter().find(|job| {
            !job.state.is_final() && (job.kind.is_of_image() || job.kind == crate::model::job::Kind::Create)
        }) {
            Some(job) => Err(Error::new(
                Code::Busy,
                format_args!("job {} ({}) may need images; wait for its end", job.id, job.kind),
            )),
            None => Ok(()),
        }
    }
}
