//! Snapshots and copies of containers.

use super::action::{examples, Action, Job, Lazy};
use super::failure::Failure;
use super::listing::Listing;
use super::page::Page;
use super::request::{if_given, Handed, CONTAINER};
use super::value::path;
use super::view::View;
use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

#[derive(Subcommand)]
pub enum Command {
    /// keep a container's files as they are now
    ///
    /// What is kept is what the container has changed of its image. A container that runs stands still while it is
    /// copied. Without a name of its own the snapshot is called by the time.
    #[command(aliases = ["snap", "checkpoint"], after_help = examples! {
        "snapshot web" => "called by the time",
        "snapshot web before-upgrade" => "called so",
    })]
    Snapshot(Lazy<Job<Snapshot>>),
    /// show a container's snapshots
    #[command(aliases = ["snapshot-list", "snaps"], after_help = examples! {
        "snapshots web" => "a table",
        "snapshots web --names" => "names only, one a line",
    })]
    Snapshots(Lazy<Snapshots>),
    /// give a container the files of a snapshot back
    ///
    /// What it has changed since then is lost; the snapshot stays. A container that runs is left alone unless --force
    /// is given: then it is killed for the moment it takes, and started again.
    #[command(aliases = ["rollback", "revert"], after_help = examples! {
        "restore web before-upgrade" => "one that is stopped",
        "restore --force web before-upgrade" => "running or not",
    })]
    Restore(Lazy<Job<Restore>>),
    /// remove a snapshot
    #[command(aliases = ["delete-snapshot", "snapshot-rm"], after_help = examples! {
        "snapshot-delete web before-upgrade" => "the container stays as it is",
    })]
    SnapshotDelete(Lazy<Job<SnapshotDelete>>),
    /// make a copy of a container
    ///
    /// The copy has an identity of its own: name, machine id, hardware address, user ids; its SSH server makes new keys,
    /// and its address comes by DHCP. It does not run yet. A container that runs stands still while it is copied. Its
    /// services are not copied.
    #[command(aliases = ["copy", "duplicate"], after_help = examples! {
        "clone web web-2" => "as it is now",
        "clone web web-2 --snapshot before-upgrade" => "as it was",
    })]
    Clone(Lazy<Job<Clone>>),
    /// write a container into one file
    ///
    /// PATH is a tar that others read as well; there must be no such file yet. It is made as whoever types this. It holds what the container
    /// has changed of its image, and with --image the image, too. A container that runs stands still meanwhile; a
    /// snapshot can be exported while it runs on.
    #[command(aliases = ["backup", "dump"], after_help = examples! {
        "export web /mnt/usb/web.tar" => "for a box that has the image",
        "export web /mnt/usb/web.tar --image" => "for any other",
        "export web /mnt/usb/web.tar --snapshot before-upgrade" => "as it was",
    })]
    Export(Lazy<Job<Export>>),
    /// make a container from an exported file
    ///
    /// The container gets an identity of its own, as a clone does, and does not run yet. Its image must be on the box,
    /// or in the file. For an image from a file see `image import`.
    #[command(alias = "unpack", after_help = examples! { "import /mnt/usb/web.tar web" => "called web" })]
    Import(Lazy<Job<Import>>),
}

#[derive(Args, Serialize)]
pub struct Snapshot {
    name: String,
    snapshot: Option<String>,
}

#[derive(Args, Serialize)]
pub struct Snapshots {
    name: String,
    #[arg(long, help = "print names only")]
    #[serde(skip)]
    names: bool,
}

#[derive(Args, Serialize)]
pub struct Restore {
    name: String,
    snapshot: String,
    #[arg(short, long, help = "also when it is running")]
    #[serde(serialize_with = "if_given")]
    force: bool,
}

#[derive(Args, Serialize)]
pub struct SnapshotDelete {
    name: String,
    snapshot: String,
}

#[derive(Args, Serialize)]
pub struct Clone {
    name: String,
    new_name: String,
    #[arg(long, help = "copy this snapshot of it")]
    snapshot: Option<String>,
}

#[derive(Args, Serialize)]
pub struct Export {
    name: String,
    #[arg(value_parser = archive, value_hint = ValueHint::FilePath)]
    path: String,
    #[arg(long, help = "export this snapshot of it")]
    snapshot: Option<String>,
    #[arg(long, help = "put the image into the file")]
    #[serde(serialize_with = "if_given")]
    image: bool,
    #[arg(long, help = "put what it was given to keep into the file, too")]
    #[serde(serialize_with = "if_given")]
    secrets: bool,
}

/// The file of a new archive, as [`path`]. It is written with a flush at its end, which standard output cannot.
fn archive(text: &str) -> Result<String, String> {
    if text == "-" {
        return Err(
            "an archive goes to a file, not to standard output; name one, such as web.tar".to_string()
        );
    }
    path(text)
}

#[derive(Args, Serialize)]
pub struct Import {
    #[arg(value_parser = path, value_hint = ValueHint::FilePath)]
    path: String,
    name: String,
}

impl Command {
    pub fn action(self) -> Result<Action, Failure> {
        match self {
            Command::Snapshot(Lazy(job)) => job.call(CONTAINER, "snapshot"),
            Command::Snapshots(Lazy(asked)) => {
                let show = move |view: &View<'_>, page: &mut Page| SNAPSHOTS.show(view, asked.names, page);
                Action::ask(CONTAINER, "snapshots", &asked, show)
            }
            Command::Restore(Lazy(job)) => job.call(CONTAINER, "restore"),
            Command::SnapshotDelete(Lazy(job)) => job.call(CONTAINER, "snapshot_delete"),
            Command::Clone(Lazy(job)) => job.call(CONTAINER, "clone"),
            Command::Export(Lazy(job)) => {
                let file = Handed::New(job.task.path.clone().into());
                job.call_with(CONTAINER, "export", Some(file))
            }
            Command::Import(Lazy(job)) => {
                let file = Handed::Read(job.task.path.clone().into());
                job.call_with(CONTAINER, "import", Some(file))
            }
        }
    }
}

const SNAPSHOTS: Listing = Listing {
    field: "snapshots",
    names: "{name}",
    none: "",
    titles: "NAME|>SIZE|MADE",
    cells: "{name}|{bytes:size}|{created:ago}",
    notes: &[],
};
