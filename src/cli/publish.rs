//! `cloudbox image publish`: images into the files of a web server, from which boxes pull them.

use super::failure::{Failure, OK};
use super::page::Page;
use super::text::count;
use crate::simplestreams::publish::Version;
use crate::steps::image::server::{secret_key, GivenFacts, ServerTree};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Publish {
    directory: PathBuf,
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", help = "the secret key to sign the lists with")]
    key: Option<PathBuf>,
    #[arg(long, help = "what the image is called")]
    name: Option<String>,
    #[arg(long, value_name = "VERSION")]
    #[arg(help = "its version; the last in order of the letters is the newest")]
    serial: Option<String>,
    #[arg(long, value_name = "SYSTEM", help = "its system, such as debian")]
    os: Option<String>,
    #[arg(long, help = "the system's release")]
    release: Option<String>,
    #[arg(long, help = "the processors it is for, such as amd64")]
    arch: Option<String>,
}

impl Publish {
    pub fn run(self) -> Result<u8, Failure> {
        let said: GivenFacts = [self.name, self.serial, self.os, self.release, self.arch];
        if self.images.len() > 1 && said.iter().any(Option::is_some) {
            let why = "several images cannot have the same name or version; publish them one by one";
            return Err(Failure::usage(why));
        }
        let key = self.key.as_deref().map(secret_key).transpose()?;
        let tree = ServerTree { root: self.directory, key };
        let mut page = Page::stdout();
        for image in &self.images {
            let Version { name, version, arch, .. } = tree.add(image, &said)?;
            page.line(&format!("{}: {name} {version} for {arch}", image.display()));
        }
        let versions = count(tree.write_lists()?, "version");
        let signed = match &tree.key {
            Some(key) => format!("signed by key {}", key.number),
            None => "not signed".to_string(),
        };
        page.line(&format!("{}: {versions}, {signed}", tree.root.display()));
        page.print()?;
        Ok(OK)
    }
}
