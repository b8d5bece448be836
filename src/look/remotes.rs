//! `image remotes` and `image available`: servers of images, and what they have.

use crate::api::replies::{OfferEntry, OfferList, RemoteEntry, RemoteList};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::model::image_source;
use crate::model::remote::Remote;
use crate::simplestreams::{self, Offer};
use crate::state::State;
use crate::steps::ctx::Ctx;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long all servers together may take to say what they have: LuCI gives up after 20 seconds.
const PATIENCE: Duration = Duration::from_secs(18);

/// The reply of `image remotes`.
pub fn remotes(state: &State) -> RemoteList {
    let entry = |(name, remote): &(String, Result<Remote>)| {
        let good = remote.as_ref().ok();
        RemoteEntry {
            name: name.clone(),
            url: good.map(|remote| remote.url.clone()).unwrap_or_default(),
            signed: good.is_some_and(Remote::is_signed),
            keys: good
                .map(|remote| remote.keys.iter().map(|key| key.number.to_string()).collect())
                .unwrap_or_default(),
            error: remote.as_ref().err().map(Into::into),
        }
    };
    RemoteList { remotes: state.config.remotes.iter().map(entry).collect() }
}

/// `cloudbox.image available`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// Only this server; all of them unless said otherwise.
    pub remote: Option<String>,
    /// Only images with this in one of their names.
    pub filter: Option<String>,
}

/// Servers that are to be asked what they have.
pub struct Available {
    remotes: Vec<(String, Result<Remote>)>,
    filter: String,
}

/// What servers have, each by its name, or why it could not be asked.
pub type Offers = Vec<(String, Result<simplestreams::Offers>)>;

impl Available {
    /// What somebody wants to know.
    pub fn ask(state: &State, args: Args) -> Available {
        let remotes = match args.remote.filter(|name| !name.is_empty()) {
            Some(name) => vec![(name.clone(), image_source::find_remote(&state.config, &name))],
            None => state.config.remotes.clone(),
        };
        Available { remotes, filter: args.filter.unwrap_or_default() }
    }

    /// What is asked for, in words: who asks the same gets the same answer.
    pub fn what(&self) -> String {
        let names: Vec<&str> = self.remotes.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} of {names:?}", self.filter)
    }

    /// Asks them, one after the other, in a thread.
    pub fn run(self, machine: &Machine) -> Offers {
        let until = Instant::now() + PATIENCE;
        let ask = |remote: Result<Remote>| {
            let remote = remote?;
            machine.images.available(&Ctx::silent()?, &remote, &self.filter, until)
        };
        self.remotes.into_iter().map(|(name, remote)| (name, ask(remote))).collect()
    }
}

/// The reply of `image available`. What is newer than what is here is remembered.
///
/// # Errors
/// That of the first server, when none of them could be asked.
pub fn offers(state: &mut State, offers: Offers) -> Result<OfferList> {
    let mut reply = OfferList { images: Vec::new(), errors: Vec::new() };
    let mut first: Option<Error> = None;
    let mut without = Vec::new();
    let all_failed = !offers.is_empty() && offers.iter().all(|(_, offers)| offers.is_err());
    for (remote, offers) in offers {
        match offers {
            Ok(offers) => {
                without.push(format!("{remote}: {}", offers.passed_over));
                reply.images.extend(offers.offers.into_iter().map(|offer| entry(state, &remote, offer)));
            }
            Err(error) => {
                reply.errors.push(format!("{remote}: {}", error.message));
                first.get_or_insert(error);
            }
        }
    }
    if reply.images.is_empty() {
        reply.errors.append(&mut without);
    }
    match first {
        Some(error) if all_failed => Err(error),
        _ => Ok(reply),
    }
}

fn entry(state: &mut State, remote: &str, offer: Offer) -> OfferEntry {
    let sources: Vec<String> = offer.aliases.iter().map(|alias| [remote, ":", alias].concat()).collect();
    let item = offer.item.as_ref().ok();
    let here = state.images.iter().any(|image| item.is_some_and(|item| item.sha256 == image.manifest.sha256));
    let pulled = state.images.iter().find(|i| !i.names.is_empty() && sources.contains(&i.manifest.source));
    let pulled =
        pulled.and_then(|image| Some((image.names.first()?.to_string(), image.manifest.source.clone())));
    let word = match (here, pulled) {
        (false, Some((name, source))) => {
            state.note_newer(&name, source, offer.version.clone());
            "newer"
        }
        (here, _) => {
            state.newer.retain(|newer| !sources.contains(&newer.source));
            if here {
                "here"
            } else {
                "new"
            }
        }
    };
    OfferEntry {
        remote: remote.to_string(),
        os: offer.os,
        release: offer.release,
        variant: offer.variant,
        version: offer.version,
        packing: item.map(|item| item.packing.as_str()),
        size: item.map(|item| item.size),
        sha256: item.map(|item| item.sha256.clone()),
        aliases: offer.aliases,
        state: word,
        error: offer.item.err().as_ref().map(Into::into),
    }
}
