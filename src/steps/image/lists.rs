//! Reads the lists of a server in a child of this program that may next to nothing: what a stranger wrote is taken apart
//! there, and what comes back is a line for each thing found, in our own words, checked again.

use crate::error::{Code, Error, Result};
use crate::simplestreams::{self, Item, ListFile, Offer, PassedOver};
use crate::steps::ctx::Ctx;
use crate::steps::in_a_child::{in_a_child, strange, Frames};
use crate::steps::tool::Source;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// A list of 64 MiB takes an Atom some seconds.
const LIMIT: Duration = Duration::from_secs(300);
/// What is found in a list, as JSON: an offer with all of its texts as long as they may be, each of their bytes escaped, has
/// a quarter of this.
const FOUND_MAX: usize = 64 << 10;

/// A frame with something that stands in the list.
const FOUND: u8 = b'f';
/// A frame with what is to be told of a list that was read to its end.
const END: u8 = b'e';

/// An [`Offer`] on its way from the child.
#[derive(Serialize, Deserialize)]
struct SaidOffer {
    aliases: Vec<String>,
    os: String,
    release: String,
    variant: String,
    version: String,
    item: std::result::Result<Item, (String, String)>,
}

impl From<Offer> for SaidOffer {
    fn from(offer: Offer) -> SaidOffer {
        let Offer { aliases, os, release, variant, version, item } = offer;
        let item = item.map_err(|e| (e.code.as_str().to_string(), e.into_message()));
        SaidOffer { aliases, os, release, variant, version, item }
    }
}

impl SaidOffer {
    fn checked(self) -> Result<Offer> {
        let SaidOffer { aliases, os, release, variant, version, item } = self;
        let item = item.map_err(|(code, message)| Error::new(Code::from_text(&code), message));
        let offer = Offer { aliases, os, release, variant, version, item };
        offer.check().map(|()| offer)
    }
}

/// As [`simplestreams::read_index`], in a child.
pub fn read_index(ctx: &Ctx, list: File) -> Result<Vec<ListFile>> {
    let mut lists = Vec::new();
    read_in_a_child(
        ctx,
        list,
        |input, found| simplestreams::read_index(input)?.into_iter().try_for_each(found),
        &mut |list: ListFile| {
            list.check()?;
            lists.push(list);
            Ok(())
        },
    )?;
    Ok(lists)
}

/// As [`simplestreams::read_offers`], in a child.
pub fn read_offers(
    ctx: &Ctx,
    list: File,
    arch: &str,
    visit: &mut dyn FnMut(Offer) -> Result<()>,
) -> Result<PassedOver> {
    let arch = arch.to_string();
    read_in_a_child(
        ctx,
        list,
        move |input, found| simplestreams::read_offers(input, &arch, &mut |offer| found(offer.into())),
        &mut |said: SaidOffer| visit(said.checked()?),
    )
}

/// Has a child `read` what is in `list`, and shows `visit` what it finds; returns what it tells at the end.
fn read_in_a_child<T: Serialize + DeserializeOwned, E: Serialize + DeserializeOwned>(
    ctx: &Ctx,
    list: File,
    read: impl Fn(&mut dyn Read, &mut dyn FnMut(T) -> Result<()>) -> Result<E> + Send + Sync + 'static,
    visit: &mut dyn FnMut(T) -> Result<()>,
) -> Result<E> {
    let work = move |source: &mut dyn Source, frames: &mut Frames| {
        let told = read(&mut Reading(source), &mut |found| frames.say_json(FOUND, &found))?;
        frames.say_json(END, &told)
    };
    let mut end = None;
    in_a_child(ctx, "list reader", LIMIT, &mut Whole(list), work, &mut |kind, content| {
        match kind {
            FOUND if content.len() <= FOUND_MAX => {
                visit(serde_json::from_slice(content).map_err(|_| strange())?)?;
            }
            END => end = Some(serde_json::from_slice(content).map_err(|_| strange())?),
            _ => return Err(strange()),
        }
        Ok(true)
    })?;
    end.ok_or_else(strange)
}

/// The child's input, as a parser takes it.
struct Reading<'a>(&'a mut dyn Source);

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|e| io::Error::other(e.to_string()))
    }
}

/// A file from where it stands to its end.
struct Whole(File);

impl Source for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(|e| Error::os("cannot read the list", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn file_with(dir: &TempDir, text: &str) -> File {
        let path = dir.path().join("list.json");
        std::fs::write(&path, text).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn a_list_is_read_by_a_child_as_by_ourselves() {
        let (dir, ctx) = (TempDir::make(), Ctx::silent().unwrap());
        let index = r#"{"format":"index:1.0","index":{"i":{"datatype":"image-downloads","path":"streams/v1/images.json"}}}"#;
        let lists = read_index(&ctx, file_with(&dir, index)).unwrap();
        assert_eq!(lists, simplestreams::read_index(&mut index.as_bytes()).unwrap());
        let sha256 = "a".repeat(64);
        let list = format!(
            r#"{{"format":"products:1.0","products":{{"x":{{"arch":"amd64","aliases":"os/1,os","os":"Os \"1\"","release":"","variant":"default","versions":{{
            "2":{{"items":{{"s":{{"ftype":"squashfs","path":"images/s","sha256":"{sha256}","size":9}}}}}},
            "1":{{"items":{{"s":{{"ftype":"squashfs","path":"../s","sha256":"{sha256}","size":9}}}}}}}}}}}}}}"#
        );
        let (mut ours, mut childs) = (Vec::new(), Vec::new());
        let keep = |into: &mut Vec<Offer>, offer| {
            into.push(offer);
            Ok(())
        };
        simplestreams::read_offers(&mut list.as_bytes(), "amd64", &mut |offer| keep(&mut ours, offer))
            .unwrap();
        read_offers(&ctx, file_with(&dir, &list), "amd64", &mut |offer| keep(&mut childs, offer)).unwrap();
        assert_eq!(childs, ours);
        assert!(ours.len() == 2 && ours[1].item.is_err(), "{ours:?}");
        for wrong in ["", "[]", r#"{"format":"products:1.0","products":{"x":3"#, r#"{"format":"other"}"#] {
            let ours = simplestreams::read_index(&mut wrong.as_bytes()).unwrap_err();
            let childs = read_index(&ctx, file_with(&dir, wrong)).unwrap_err();
            assert_eq!((childs.code, &childs.message), (ours.code, &ours.message), "{wrong}");
        }
        let stopped = read_offers(&ctx, file_with(&dir, &list), "amd64", &mut |_| {
            Err(Error::new(Code::Busy, "enough"))
        });
        assert_eq!(stopped.unwrap_err().code, Code::Busy);
    }

    #[test]
    fn what_a_captured_reader_says_is_checked_again() {
        let (dir, ctx) = (TempDir::make(), Ctx::silent().unwrap());
        for path in ["../../etc/shadow", "http://elsewhere/x", ""] {
            let path = path.to_string();
            let captured = read_in_a_child(
                &ctx,
                file_with(&dir, ""),
                move |_, found| found(ListFile { path: path.clone(), sha256: None }),
                &mut |list: ListFile| list.check(),
            );
            assert!(captured.is_err());
        }
        let long = read_in_a_child(
            &ctx,
            file_with(&dir, ""),
            |_, found| found("x".repeat(FOUND_MAX)),
            &mut |_: String| Ok(()),
        );
        assert!(long.unwrap_err().message.contains("never says"));
    }

    #[test]
    fn the_reader_has_no_rights_and_its_end_is_no_end_of_ours() {
        let (dir, ctx) = (TempDir::make(), Ctx::silent().unwrap());
        let mut status = String::new();
        // What it can still see of itself tells what it is: the file was opened before it gave its rights up.
        let own = std::path::PathBuf::from("/proc/self/status");
        read_in_a_child(
            &ctx,
            file_with(&dir, ""),
            move |_, found| found(std::fs::read_to_string(&own).unwrap_or_default()),
            &mut |said: String| {
                status = said;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(status, "", "it opens files");
        let panicked: Result<()> =
            read_in_a_child(&ctx, file_with(&dir, ""), |_, _| panic!("hostile"), &mut |_: String| Ok(()));
        assert!(panicked.unwrap_err().message.contains("signal"));
    }
}
