//! The contract on the bus: objects, methods, arguments, replies. DESIGN.md section 4.
//!
//! One Rust type per method's arguments gives its published signature, its check and its documentation.

pub mod args;
pub mod replies;

use openwrt_ubus::read::{Field, FromTable};
use openwrt_ubus::Object;

/// A method's name, and what it takes.
type Method = (&'static str, &'static [Field]);

/// What a method takes that takes nothing.
const NONE: &[Field] = <()>::FIELDS;

/// Version of this API: raised when something a client relies on changes.
pub const VERSION: u32 = 1;

/// The bus objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// `cloudbox`
    Box,
    /// `cloudbox.container`
    Container,
    /// `cloudbox.image`
    Image,
    /// `cloudbox.service`
    Service,
    /// `cloudbox.job`
    Job,
}

impl Face {
    /// All of them, in the order they are published.
    pub const ALL: [Face; 5] = [Face::Box, Face::Container, Face::Image, Face::Service, Face::Job];

    /// Its path on the bus.
    pub fn path(self) -> &'static str {
        match self {
            Face::Box => "cloudbox",
            Face::Container => "cloudbox.container",
            Face::Image => "cloudbox.image",
            Face::Service => "cloudbox.service",
            Face::Job => "cloudbox.job",
        }
    }

    /// The object with its methods and their signatures.
    pub fn object(self) -> Object {
        Object::of(self.path(), self.methods())
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Face::Box => {
                &[("status", NONE), ("doctor", NONE), ("reload", NONE), ("shutdown", args::Shutdown::FIELDS)]
            }
            Face::Container => &[
                ("list", args::List::FIELDS),
                ("info", args::Named::FIELDS),
                ("create", args::Create::FIELDS),
                ("delete", args::Delete::FIELDS),
                ("start", args::Start::FIELDS),
                ("stop", args::Stop::FIELDS),
                ("restart", args::Restart::FIELDS),
                ("set", args::Set::FIELDS),
                ("rename", args::Rename::FIELDS),
                ("freeze", args::Named::FIELDS),
                ("unfreeze", args::Named::FIELDS),
                ("exec", args::Exec::FIELDS),
                ("log", args::Log::FIELDS),
                ("snapshot", args::Snapshot::FIELDS),
                ("snapshots", args::Named::FIELDS),
                ("restore", args::Snapshot::FIELDS),
                ("snapshot_delete", args::Snapshot::FIELDS),
                ("clone", args::Clone::FIELDS),
                ("export", args::Export::FIELDS),
                ("import", args::Import::FIELDS),
                ("adopt", args::Adopt::FIELDS),
                ("prune", args::Prune::FIELDS),
            ],
            Face::Image => &[
                ("list", NONE),
                ("info", args::Named::FIELDS),
                ("import", args::ImageImport::FIELDS),
                ("delete", args::Named::FIELDS),
                ("remotes", NONE),
                ("available", args::Available::FIELDS),
                ("pull", args::Pull::FIELDS),
                ("prune", args::Prune::FIELDS),
            ],
            Face::Service => &[
                ("list", NONE),
                ("publish", args::Publish::FIELDS),
                ("withdraw", args::Withdraw::FIELDS),
                ("browse", args::Browse::FIELDS),
            ],
            Face::Job => &[
                ("list", NONE),
                ("status", args::JobId::FIELDS),
                ("wait", args::JobWait::FIELDS),
                ("cancel", args::JobId::FIELDS),
            ],
        }
    }
}
