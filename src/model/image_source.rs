//! Where an image is to be had: a name becomes servers to ask and what it is called there.

use super::config::Config;
use super::image::Image;
use super::name::ImageName;
use super::remote::{local_name, Remote, NAME_MAX};
use crate::error::{quoted, Code, Error, Result};

/// An image to be pulled, and where it may be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// The name it gets, or has, on this box.
    pub name: ImageName,
    /// The servers to ask, in this order.
    pub remotes: Vec<Remote>,
    /// What it is called there.
    pub alias: String,
    /// The one sha256 it may have.
    pub sha256: Option<String>,
    /// A version older than one that was here is welcome.
    pub allow_older: bool,
}

/// Finds out where the image `called` so is to be had: `remote:alias`, a name that has a section, that of an image that
/// was pulled before, or an alias on any server.
///
/// # Errors
/// [`Code::NotFound`] when there is no such server, or none at all; what is wrong with the section of the server.
pub fn find(called: &str, remote: Option<&str>, config: &Config, images: &[Image]) -> Result<ImageSource> {
    let remote = remote.filter(|remote| !remote.is_empty());
    if let (None, Some((remote, alias))) = (remote, called.split_once(':')) {
        return from(config, Some(remote), local_name(alias)?, alias, None);
    }
    let known = config.images.iter().find(|known| known.name.as_str() == called);
    if let Some(known) = known.filter(|known| remote.is_none() || known.remote.as_deref() == remote) {
        let remote = known.remote.as_deref().or(remote);
        return from(config, remote, known.name.clone(), &known.alias, known.sha256.clone());
    }
    let name = local_name(called)?;
    let pulled = images
        .iter()
        .find(|image| image.names.contains(&name))
        .and_then(|image| image.manifest.source.split_once(':'));
    match pulled.filter(|(from, _)| remote.is_none_or(|remote| remote == *from)) {
        Some((remote, alias)) => from(config, Some(remote), name, alias, None),
        None => from(config, remote, name, called, None),
    }
}

fn from(
    config: &Config,
    remote: Option<&str>,
    name: ImageName,
    alias: &str,
    sha256: Option<String>,
) -> Result<ImageSource> {
    let mut remotes = Vec::new();
    match remote {
        Some(remote) => remotes.push(find_remote(config, remote)?),
        // One that cannot be used is said so in the warnings; the others can be asked.
        None => remotes.extend(config.remotes.iter().filter_map(|(_, remote)| remote.as_ref().ok()).cloned()),
    }
    if remotes.is_empty() {
        return Err(Error::new(
            Code::NotFound,
            "no server of images is known; add one to /etc/config/cloudbox: config remote 'community'",
        ));
    }
    Ok(ImageSource { name, remotes, alias: alias.to_string(), sha256, allow_older: false })
}

/// The server called `name`.
///
/// # Errors
/// [`Code::NotFound`]; what is wrong with its section.
pub fn find_remote(config: &Config, name: &str) -> Result<Remote> {
    match config.remotes.iter().find(|(known, _)| known == name) {
        Some((_, remote)) => remote.clone(),
        None => {
            let shown: String = name.chars().take(NAME_MAX).collect();
            let known: Vec<&str> = config.remotes.iter().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            Err(Error::new(
                Code::NotFound,
                format_args!(
                    "there is no remote {} in /etc/config/cloudbox; known is {known}",
                    quoted(&shown)
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{read, Settings};
    use super::*;
    use crate::testing::image;
    use openwrt_uci::Package;

    fn config(text: &str) -> Config {
        read(&Package::parse(text.as_bytes()).unwrap(), &Package::default(), &Settings::default())
    }

    #[test]
    fn a_name_leads_to_its_source() {
        let config = config(
            "config remote 'one'\n\toption url 'https://one'\nconfig remote 'two'\n\toption url 'https://two'\n\
             config remote 'bad'\n\toption url 'x'\n\
             config image 'distro'\n\toption remote 'two'\n\toption alias 'guifi'\n",
        );
        let mut pulled = image(&"ab".repeat(32), &["debian-12"]);
        pulled.manifest.source = "two:debian/12".into();
        let images = [pulled];
        let found = |called: &str, remote: Option<&str>| {
            find(called, remote, &config, &images)
                .map(|source| {
                    let remotes: Vec<_> = source.remotes.iter().map(|r| r.name.as_str()).collect();
                    format!("{} {} {}", source.name, remotes.join(","), source.alias)
                })
                .map_err(|e| e.into_message())
        };
        for (called, remote, source) in [
            ("distro", None, "distro two guifi"),
            ("distro", Some("two"), "distro two guifi"),
            ("distro", Some("one"), "distro one distro"),
            ("one:alpine/3.20", None, "alpine-3.20 one alpine/3.20"),
            ("debian-12", None, "debian-12 two debian/12"),
            ("debian-12", Some("one"), "debian-12 one debian-12"),
            ("alpine", None, "alpine one,two alpine"),
            ("Alpine/3.20", Some(""), "alpine-3.20 one,two Alpine/3.20"),
        ] {
            assert_eq!(found(called, remote), Ok(source.to_string()), "{called} {remote:?}");
        }
        assert!(found("x", Some("three")).unwrap_err().contains("there is no remote \"three\""));
        assert!(found("bad:x", None).unwrap_err().contains("url"));
        assert!(found("one:../x", None).is_err());
        let nothing = find("x", None, &Config::default(), &[]).unwrap_err();
        assert!(nothing.message.contains("config remote"), "{}", nothing.message);
    }
}
