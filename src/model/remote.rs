//! Where images come from: servers, and what images are called there.

use super::image::{parse_sha256, Image};
use super::name::ImageName;
use super::spec::invalid;
use crate::error::{quoted, Code, Error, Result};
use crate::simplestreams::sign::PublicKey;
use std::path::PathBuf;

/// The longest name of a server, and the longest address.
const NAME_MAX: usize = 63;
const URL_MAX: usize = 512;

/// A server of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its name, which is its section's.
    pub name: String,
    /// Its address, without a slash at the end.
    pub url: String,
    /// The keys its lists must be signed with; none for a server that does not sign.
    pub keys: Vec<PublicKey>,
    /// Files with more of them, which are read when the lists are.
    pub key_files: Vec<PathBuf>,
}

impl Remote {
    /// Whether its lists must be signed.
    pub fn is_signed(&self) -> bool {
        !self.keys.is_empty() || !self.key_files.is_empty()
    }
}

/// A `remote` section as it stands there.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `option url`
    pub url: Option<String>,
    /// `option protocol`
    pub protocol: Option<String>,
    /// `list key`
    pub keys: Vec<String>,
    /// `list key_file`
    pub key_files: Vec<String>,
}

impl Asked {
    /// The server it describes. A key that cannot be read makes it useless, never unsigned.
    ///
    /// # Errors
    /// Begins with the option that is wrong.
    pub fn resolve(&self, name: &str) -> Result<Remote> {
        let url = self.url.as_deref().unwrap_or_default();
        match self.protocol.as_deref() {
            None | Some("simplestreams") => {}
            Some(other) => return Err(invalid("protocol", other, "there is only simplestreams")),
        }
        let mut remote =
            Remote { name: name.to_string(), url: parse_url(url)?, keys: Vec::new(), key_files: Vec::new() };
        for text in &self.keys {
            let key = PublicKey::parse(text).map_err(|e| {
                let shown: String = text.chars().take(20).collect();
                invalid("key", &shown, &e.message)
            })?;
            remote.keys.push(key);
        }
        for text in &self.key_files {
            if !text.starts_with('/') {
                return Err(invalid("key_file", text, "write an absolute path"));
            }
            remote.key_files.push(PathBuf::from(text));
        }
        Ok(remote)
    }
}

fn parse_url(text: &str) -> Result<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = |c: char| c.is_ascii_graphic() && !"\"'\\`<>{}|^?#".contains(c);
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(rest)
            if !rest.is_empty()
                && !rest.starts_with('/')
                && text.len() <= URL_MAX
                && rest.chars().all(good) =>
        {
            Ok(text.trim_end_matches('/').to_string())
        }
        _ => {
            let shown: String = text.chars().take(NAME_MAX).collect();
            Err(invalid("url", &shown, "write the server's address, such as https://images.example.org"))
        }
    }
}

/// Checks the name of a server.
///
/// # Errors
/// [`Code::InvalidName`].
pub fn parse_name(text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.len() <= NAME_MAX && text.chars().all(good) {
        return Ok(text.to_string());
    }
    let shown: String = text.chars().take(NAME_MAX).collect();
    Err(Error::new(
        Code::InvalidName,
        format_args!("{} cannot be a remote's name: use letters, digits and '_'", quoted(&shown)),
    ))
}

/// An `image` section: where an image of this name is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name on this box.
    pub name: ImageName,
    /// The server; any when it is not said.
    pub remote: Option<String>,
    /// What it is called there.
    pub alias: String,
    /// The one sha256 it may have.
    pub sha256: Option<String>,
}

/// An `image` section as it stands there.
#[derive(Debug, Clone, Default)]
pub struct AskedImage {
    /// `option remote`
    pub remote: Option<String>,
    /// `option alias`
    pub alias: Option<String>,
    /// `option sha256`
    pub sha256: Option<String>,
}

impl AskedImage {
    /// What it describes.
    ///
    /// # Errors
    /// Begins with the option that is wrong.
    pub fn resolve(&self, name: ImageName) -> Result<Known> {
        let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let alias = set(&self.alias).unwrap_or_else(|| name.to_string());
        local_name(&alias).map_err(|_| invalid("alias", &alias, "write a name such as debian/12"))?;
        Ok(Known {
            name,
            remote: set(&self.remote).map(|remote| parse_name(&remote)).transpose()?,
            alias,
            sha256: set(&self.sha256).map(|text| parse_sha256(&text)).transpose()?,
        })
    }
}

/// What is to be pulled: an image, and where it may be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name it gets, or has, on this box.
    pub name: ImageName,
    /// The servers to ask, in this order.
    pub remotes: Vec<Remote>,
    /// What it is called there.
    pub alias: String,
    /// The one sha256 it may have.
    pub sha256: Option<String>,
}

/// The name on this box of what a server calls `alias`: `debian/12` becomes `debian-12`.
///
/// # Errors
/// [`Code::InvalidName`].
pub fn local_name(alias: &str) -> Result<ImageName> {
    let letter = |c: char| if matches!(c, '/' | ':' | '+') { '-' } else { c.to_ascii_lowercase() };
    ImageName::new(&alias.chars().map(letter).collect::<String>())
}

/// Whether `alias`, one of a server's names of an image, is meant by `asked`: the same, or its name on this box.
pub fn is_meant(alias: &str, asked: &str) -> bool {
    alias == asked || local_name(alias).is_ok_and(|name| name.as_str() == asked)
}

/// Finds out where the image `called` so is to be had: `remote:alias`, a name that has a section, that of an image that
/// was pulled before, or an alias on any server.
///
/// # Errors
/// [`Code::NotFound`] when there is no such server, or none at all; what is wrong with the section of the server.
pub fn find(
    called: &str,
    remote: Option<&str>,
    config: &super::config::Config,
    images: &[Image],
) -> Result<Source> {
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
    config: &super::config::Config,
    remote: Option<&str>,
    name: ImageName,
    alias: &str,
    sha256: Option<String>,
) -> Result<Source> {
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
    Ok(Source { name, remotes, alias: alias.to_string(), sha256 })
}

/// The server called `name`.
///
/// # Errors
/// [`Code::NotFound`]; what is wrong with its section.
pub fn find_remote(config: &super::config::Config, name: &str) -> Result<Remote> {
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
    use super::super::config::{read, Config, Settings};
    use super::*;
    use crate::testing::image;
    use openwrt_uci::Package;

    const KEY: &str = "RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F";

    fn config(text: &str) -> Config {
        read(&Package::parse(text.as_bytes()).unwrap(), &Settings::default())
    }

    fn said(config: &Config) -> Vec<String> {
        config.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn sections_are_read() {
        let config = config(&format!(
            "config remote 'community'\n\toption url 'https://cloud.example.org/images/'\n\tlist key '{KEY}'\n\
             \tlist key_file '/etc/cloudbox/key.pub'\n\toption protocol 'simplestreams'\n\
             config remote 'lan'\n\toption url 'https://10.0.0.1:8080'\n\
             config image 'distro'\n\toption remote 'community'\n\toption alias 'guifi-community-distro'\n\
             \toption sha256 '{}'\n\
             config image 'alpine'\n",
            "AB".repeat(32)
        ));
        assert_eq!(said(&config), Vec::<String>::new());
        let community = config.remotes[0].1.as_ref().unwrap();
        assert_eq!(community.url, "https://cloud.example.org/images");
        assert_eq!((community.keys.len(), community.key_files.len(), community.is_signed()), (1, 1, true));
        assert!(!config.remotes[1].1.as_ref().unwrap().is_signed());
        let distro = &config.images[0];
        assert_eq!(
            (distro.alias.as_str(), distro.remote.as_deref()),
            ("guifi-community-distro", Some("community"))
        );
        assert_eq!(distro.sha256, Some("ab".repeat(32)));
        assert_eq!((config.images[1].alias.as_str(), &config.images[1].remote), ("alpine", &None));
    }

    #[test]
    fn what_is_wrong_is_said_and_a_bad_key_is_never_no_key() {
        let config = config(
            "config remote 'a'\n\toption url 'ftp://x'\nconfig remote 'b'\n\
             config remote 'c'\n\toption url 'https://x'\n\tlist key 'ssh-ed25519 AAAA me'\n\
             config remote 'd'\n\toption url 'https://x'\n\toption protocol 'oci'\n\
             config remote\n\toption url 'https://x'\n\
             config remote 'e'\n\toption url 'https://x'\n\toption colour 'red'\n\
             config remote 'f'\n\toption url 'http://x'\n\
             config image 'g'\n\toption sha256 'x'\n\
             config image 'h'\n\toption remote 'nobody'\n\
             config image 'i'\n\toption alias '../x'\n\
             config image\n",
        );
        let expected = [
            ("line 2: section 'a', option 'url'", "\"ftp://x\""),
            ("line 3: section 'b'", "url"),
            ("line 6: section 'c', option 'key'", "it is an SSH key"),
            ("line 9: section 'd', option 'protocol'", "only simplestreams"),
            ("line 10: section 'remote'", "needs its name"),
            ("line 14: section 'e', option 'colour'", "does not know"),
            ("line 16: section 'f', option 'url'", "anybody on the way"),
            ("line 18: section 'g', option 'sha256'", "is none"),
            ("line 20: section 'h', option 'remote'", "there is no remote"),
            ("line 22: section 'i', option 'alias'", "\"../x\""),
            ("line 23: section 'image'", "needs its name"),
        ];
        let said = said(&config);
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for ((place, what), said) in expected.iter().zip(&said) {
            assert!(said.contains(place) && said.contains(what), "{said} has not {place} and {what}");
        }
        let usable: Vec<_> =
            config.remotes.iter().map(|(name, remote)| (name.as_str(), remote.is_ok())).collect();
        assert_eq!(
            usable,
            [("a", false), ("b", false), ("c", false), ("d", false), ("e", true), ("f", true)]
        );
        assert_eq!(config.images.len(), 1);
    }

    #[test]
    fn addresses() {
        for good in ["https://a", "http://10.0.0.1:80/x/y", "https://[fe80::1]/", "https://a/~me/"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://",
            "https:///",
            "file:///etc",
            "https://a b",
            "https://a\"",
            "https://a?x",
            "-o x",
            "HTTPS://a",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
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
        assert!(is_meant("debian/12", "debian-12") && is_meant("a", "a") && !is_meant("a/b", "ab"));
        let nothing = find("x", None, &Config::default(), &[]).unwrap_err();
        assert!(nothing.message.contains("config remote"), "{}", nothing.message);
    }
}
