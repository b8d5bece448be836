//! Servers of images, and what images are called there: sections `remote` and `image`.

use super::image::parse_sha256;
use super::name::ImageName;
use super::spec::invalid;
use crate::error::{quoted, Code, Error, Result};
use crate::usign::PublicKey;
use std::path::PathBuf;

/// The longest name of a server.
pub const NAME_MAX: usize = 63;
/// The longest address of one.
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
    /// The directories below which those may lie.
    pub key_dirs: Vec<PathBuf>,
}

impl Remote {
    /// Whether its lists must be signed.
    pub fn is_signed(&self) -> bool {
        !self.keys.is_empty() || !self.key_files.is_empty()
    }
}

/// A `remote` section as it stands there.
#[derive(Debug, Clone, Default)]
pub struct RemoteOptions {
    /// `option url`
    pub url: Option<String>,
    /// `option protocol`
    pub protocol: Option<String>,
    /// `list key`
    pub keys: Vec<String>,
    /// `list key_file`
    pub key_files: Vec<String>,
}

impl RemoteOptions {
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
        let mut remote = Remote {
            name: name.to_string(),
            url: parse_url(url)?,
            keys: Vec::new(),
            key_files: Vec::new(),
            key_dirs: Vec::new(),
        };
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
pub struct KnownImage {
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
pub struct ImageOptions {
    /// `option remote`
    pub remote: Option<String>,
    /// `option alias`
    pub alias: Option<String>,
    /// `option sha256`
    pub sha256: Option<String>,
}

impl ImageOptions {
    /// What it describes.
    ///
    /// # Errors
    /// Begins with the option that is wrong.
    pub fn resolve(&self, name: ImageName) -> Result<KnownImage> {
        let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let alias = set(&self.alias).unwrap_or_else(|| name.to_string());
        local_name(&alias).map_err(|_| invalid("alias", &alias, "write a name such as debian/12"))?;
        Ok(KnownImage {
            name,
            remote: set(&self.remote)
                .map(|remote| parse_name(&remote).map_err(|e| e.about("remote")))
                .transpose()?,
            alias,
            sha256: set(&self.sha256)
                .map(|text| parse_sha256(&text).map_err(|e| e.about("sha256")))
                .transpose()?,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::super::config::{read, Config, Settings};
    use super::*;
    use openwrt_uci::Package;

    const KEY: &str = "RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F";

    fn config(text: &str) -> Config {
        read(&Package::parse(text.as_bytes()).unwrap(), &Package::default(), &Settings::default())
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
        let longest = format!("https://a/{}", "x".repeat(URL_MAX - 10));
        for good in ["https://a", "http://10.0.0.1:80/x/y", "https://[fe80::1]/", "https://a/~me/", &longest]
        {
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
            &format!("{longest}x"),
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        let longest = "a".repeat(NAME_MAX);
        for good in ["a", "lan_2", "my-remote", "X9", &longest] {
            assert_eq!(parse_name(good).unwrap(), good);
        }
        for bad in ["", "a b", "a/b", "a.b", "ä", &format!("{longest}a")] {
            assert_eq!(parse_name(bad).unwrap_err().code, Code::InvalidName, "{bad:?}");
        }
    }

    #[test]
    fn an_alias_is_meant_by_itself_and_by_its_name_here() {
        assert!(is_meant("debian/12", "debian-12") && is_meant("a", "a") && !is_meant("a/b", "ab"));
    }
}
