//! Images, and the servers they come from.

use super::action::{examples, Action, Each, Job, Lazy, Named, Names, NoOptions};
use super::container::Prune;
use super::failure::Failure;
use super::listing::{pairs, Listing};
use super::page::Page;
#[cfg(feature = "publish")]
use super::publish::Publish;
use super::request::{if_given, Handed, Request, IMAGE};
use super::text::Table;
use super::value::{image_name, path};
use super::view::View;
use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

#[derive(Subcommand)]
pub enum Command {
    /// show all images
    #[command(aliases = ["ls"], after_help = examples! {
        "image list" => "a table",
        "image list --names" => "names only, one a line",
    })]
    List(Lazy<Names>),
    /// show everything about an image
    #[command(aliases = ["show", "inspect"], after_help = examples! { "image info distro" => "about the image distro" })]
    Info(Lazy<Named>),
    /// make an image from a file
    ///
    /// PATH is a squashfs, or a tar, plain or packed with gzip, xz or zstd. Without a NAME the image
    /// is called as the file is.
    #[command(aliases = ["add", "create"], after_help = examples! {
        "image import /tmp/debian.tar.xz" => "becomes the image debian",
        "image import distro-amd64.squashfs distro" => "becomes the image distro",
    })]
    Import(Lazy<Job<Import>>),
    /// show the servers that images come from
    ///
    /// They are sections `remote` of /etc/config/cloudbox. SIGNED: what a server lists must be signed with one of the
    /// keys there.
    #[command(aliases = ["remote", "servers"], after_help = examples! { "image remotes" => "a table" })]
    Remotes(Lazy<Names>),
    /// show what servers have for this box
    ///
    /// STATE is `here` for what this box has, and `newer` for what was pulled from there in an older version.
    #[command(aliases = ["search", "find"], after_help = examples! {
        "image available" => "everything",
        "image available debian --remote community" => "what has debian in its name, at one server",
    })]
    Available(Lazy<Available>),
    /// fetch images from a server, or their newer version
    ///
    /// NAME is that of an image on this box, what a server calls it, or both: community:debian/12 becomes the image
    /// debian-12. Containers keep the version they were made from. A pull that ended early is gone on with by the next
    /// one.
    #[command(aliases = ["fetch", "update", "download"], after_help = examples! {
        "image pull distro" => "the newest version of what /etc/config/cloudbox calls distro",
        "image pull community:debian/12" => "from one server",
    })]
    Pull(Lazy<Job<Each<Pull>>>),
    /// remove images that nobody uses
    ///
    /// Says what it would remove, and does it with --yes. What /etc/config/cloudbox names stays.
    #[command(aliases = ["clean", "gc"], after_help = examples! {
        "image prune" => "what would go",
        "image prune --yes" => "remove it",
    })]
    Prune(Lazy<Prune>),
    /// put images where a web server serves them to boxes
    ///
    /// DIRECTORY becomes, or is, a simplestreams server's: any web server can serve it. IMAGE is a squashfs, or a tar
    /// packed with xz; what it does not say of itself, nor a manifest beside it, the options say. --key is a secret key
    /// made by `usign -G`; its public half goes into `list key` of the boxes. Needs no daemon.
    #[cfg(feature = "publish")]
    #[command(aliases = ["upload", "push"], after_help = examples! {
        "image publish /srv/www/images distro.squashfs --key community.sec" => "signed",
        "image publish /srv/www/images alpine.tar.xz --name alpine --serial 3.20 --arch amd64" =>
            "a tar, which says less",
    })]
    Publish(Lazy<Publish>),
    /// remove images that no container uses
    #[command(aliases = ["rm", "remove"], after_help = examples! { "image delete debian" => "the image debian" })]
    Delete(Lazy<Job<Each<NoOptions>>>),
}

#[derive(Args, Serialize)]
pub struct Import {
    #[arg(value_parser = path, value_hint = ValueHint::FilePath)]
    path: String,
    name: Option<String>,
    #[arg(long, value_name = "HASH", help = "refuse the file when this is not its sha256")]
    sha256: Option<String>,
}

#[derive(Args, Serialize)]
pub struct Available {
    #[arg(value_name = "WORD")]
    filter: Option<String>,
    #[arg(long, help = "ask only this server")]
    remote: Option<String>,
    #[arg(long, help = "print names only, as `image pull` takes them")]
    #[serde(skip)]
    names: bool,
}

#[derive(Args, Serialize)]
pub struct Pull {
    #[arg(long, help = "the server; any that has it unless said otherwise")]
    remote: Option<String>,
    #[arg(long, help = "also when a newer version was here")]
    #[serde(serialize_with = "if_given")]
    allow_older: bool,
    #[arg(long, value_name = "HASH", help = "the one version that has this sha256")]
    sha256: Option<String>,
}

impl Command {
    pub fn action(self) -> Result<Action, Failure> {
        match self {
            Command::List(Lazy(Names { names })) => {
                let request = Request::new(IMAGE, "list", &())?;
                Ok(Action::show(request, move |view, page| IMAGES.show(view, names, page)))
            }
            Command::Info(Lazy(named)) => Ok(Action::show(Request::new(IMAGE, "info", &named)?, info)),
            Command::Import(Lazy(mut job)) => {
                if job.task.name.is_none() {
                    let name =
                        image_name(&job.task.path).map_err(|why| Failure::usage(format_args!("{why}")))?;
                    job.task.name = Some(name);
                }
                let file = Handed::Read(job.task.path.clone().into());
                job.call_with(IMAGE, "import", Some(file))
            }
            Command::Remotes(Lazy(Names { names })) => {
                let request = Request::new(IMAGE, "remotes", &())?;
                Ok(Action::show(request, move |view, page| REMOTES.show(view, names, page)))
            }
            Command::Available(Lazy(asked)) => {
                let request = Request::new(IMAGE, "available", &asked)?;
                Ok(Action::show(request, move |view, page| available(view, asked.names, page)))
            }
            Command::Pull(Lazy(job)) => job.call_each(IMAGE, "pull"),
            Command::Prune(Lazy(prune)) => {
                let request = Request::new(IMAGE, "prune", &prune)?;
                Ok(Action::show(request, move |view, page| pruned(view, prune.yes, page)))
            }
            #[cfg(feature = "publish")]
            Command::Publish(Lazy(publish)) => Ok(Action::own(move |_| publish.run())),
            Command::Delete(Lazy(job)) => job.call_each(IMAGE, "delete"),
        }
    }
}

const IMAGES: Listing = Listing {
    field: "images",
    names: "{names:lines}",
    none: "there are no images yet; `cloudbox image pull` fetches one, `cloudbox image import` makes one of a file",
    titles: "NAME|SYSTEM|ARCH|>SIZE|SHA256|IMPORTED|USED BY",
    cells: "{names}|{os}[ {release}]|{arch}|{size:size}|{sha256:short}|{imported:ago}|{used_by}",
    notes: &["[{names}: version {newer} is there; `cloudbox image pull {names}` fetches it]"],
};

const REMOTES: Listing = Listing {
    field: "remotes",
    names: "{name}",
    none: "there are no remotes; a section `remote` in /etc/config/cloudbox names one",
    titles: "NAME|ADDRESS|SIGNED|KEYS",
    cells: "{name}|{url}|{signed:yes}|{keys}",
    notes: &["[{name}: {error.message}]"],
};

const OFFERS: Listing = Listing {
    field: "images",
    names: "{remote}:{aliases:alone}",
    none: "there is nothing; `cloudbox image remotes` shows who was asked",
    titles: "REMOTE|NAME|SYSTEM|VERSION|>SIZE|STATE",
    cells: "{remote}|{aliases:alone}|{os}[ {release}]|{version}|{size:size}|{state}",
    notes: &["[{aliases:alone} cannot be had: {error.message}]"],
};

fn available(view: &View<'_>, names: bool, page: &mut Page) {
    OFFERS.show(view, names, page);
    if !names {
        page.add("{errors:lines}", view);
    }
}

fn pruned(view: &View<'_>, yes: bool, page: &mut Page) {
    page.add("[nobody uses: {images} ({bytes:size})]", view);
    page.add("[pulls that ended early have left {partial:bytes}]", view);
    if page.text.is_empty() {
        page.line("there is nothing to remove");
    } else if view.text("job").is_empty() && !yes {
        page.line("`cloudbox image prune --yes` removes it; there is no way back");
    } else {
        page.add("it is being removed; `cloudbox job wait {job}` follows", view);
    }
}

const INFO: &str = "\
name|{names}
description|{description}
version|{version}
system|{os}[ {release}]
arch|{arch}
init|{init}
size|{size:size}
sha256|{sha256}
imported|{imported:ago}
pulled from|{source}
newer|{newer}
used by|{used_by}";

fn info(view: &View<'_>, page: &mut Page) {
    let mut table = Table::default();
    pairs(INFO, view, page, &mut table);
    for service in view.texts("services") {
        table.pair("service", service);
    }
    table.write(&mut page.text, "", false);
}
