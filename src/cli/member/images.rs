//! What an image is, by its hashes: a manifest names no server that could give something else the next day.

use super::place::Place;
use crate::cli::bus::Context;
use crate::cli::request::{Request, IMAGE};
use crate::cli::view::View;
use crate::commons::fields::Hash;
use crate::commons::formats::Image;
use crate::commons::processors::{kind, KINDS};
use crate::commons::slice_file::Group;
use crate::error::{Code, Error, Result};
use crate::model::remote::{local_name, Remote};
use crate::steps::ctx::Ctx;
use crate::steps::image::{hashes_on, Listed};

/// Finds out what a group's image is: as the slice file says, or as a server of images lists it, or as it is on this box.
///
/// # Errors
/// Nobody knows it; the server cannot be asked.
pub fn resolve(group: &Group, place: &Place, context: &mut Context) -> Result<Image> {
    let alias = match &group.image.remote {
        Some(remote) => format!("{remote}:{}", group.image.alias),
        None => group.image.alias.clone(),
    };
    let alias: Box<str> = alias.into();
    if !group.sha256.is_empty() {
        let sha256 = group.sha256.iter().map(|(arch, hash)| (arch.as_str().into(), *hash)).collect();
        return Ok(Image { alias, sha256 });
    }
    for (name, remote) in &place.remotes {
        if group.image.remote.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let sha256 = listed(&remote.clone()?, &group.image.alias)?;
        if !sha256.is_empty() {
            return Ok(Image { alias, sha256 });
        }
    }
    if let Some(here) = on_this_box(context, &group.image.alias) {
        return Ok(Image { alias, sha256: vec![here] });
    }
    let why = format!(
        "group '{}': what image {alias} is, nobody here knows: name its server (config remote) in the configuration, or say it: \
         list sha256 'x86_64=…'",
        group.name
    );
    Err(Error::new(Code::NotFound, why).about("image"))
}

fn listed(remote: &Remote, alias: &str) -> Result<Vec<(Box<str>, Hash)>> {
    let archs: Vec<&str> = KINDS.iter().map(|(debian, _)| *debian).collect();
    let mut all: Vec<(Box<str>, Hash)> = Vec::new();
    for Listed { arch, sha256 } in hashes_on(&Ctx::silent()?, remote, alias, &archs)? {
        let Some((_, kind)) = KINDS.iter().find(|(debian, _)| *debian == arch) else { continue };
        // The first is the newest.
        if let (Some(hash), false) = (from_hex(&sha256), all.iter().any(|(known, _)| &**known == *kind)) {
            all.push(((*kind).into(), hash));
        }
    }
    Ok(all)
}

/// An image of this box, where there is a daemon that knows it.
fn on_this_box(context: &mut Context, alias: &str) -> Option<(Box<str>, Hash)> {
    let name = local_name(alias).ok()?;
    let request = Request::new(IMAGE, "list", &()).ok()?;
    let reply = context.call(&request).ok()?;
    let images = View::new(&reply).tables("images");
    let image =
        images.into_iter().find(|image| image.texts("names").iter().any(|known| known == name.as_str()))?;
    Some((kind(&image.raw("arch")).into(), from_hex(&image.raw("sha256"))?))
}

fn from_hex(text: &str) -> Option<Hash> {
    crate::commons::fields::hash("sha256", &serde_json::Value::from(text)).ok()
}
