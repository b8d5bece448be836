//! The contract on the bus: objects, methods, arguments, replies. DESIGN.md section 4.
//!
//! One Rust type per method's arguments gives its published signature, its check and its documentation.

pub mod args;
pub mod replies;

use openwrt_ubus::Object;

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
        let object = Object::new(self.path());
        match self {
            Face::Box => object
                .method::<()>("status")
                .method::<()>("doctor")
                .method::<()>("reload")
                .method::<args::Shutdown>("shutdown"),
            Face::Container => object
                .method::<args::List>("list")
                .method::<args::Named>("info")
                .method::<args::Create>("create")
                .method::<args::Delete>("delete")
                .method::<args::Start>("start")
                .method::<args::Stop>("stop")
                .method::<args::Restart>("restart")
                .method::<args::Set>("set")
                .method::<args::Rename>("rename")
                .method::<args::Named>("freeze")
                .method::<args::Named>("unfreeze")
                .method::<args::Exec>("exec")
                .method::<args::Log>("log")
                .method::<args::Snapshot>("snapshot")
                .method::<args::Named>("snapshots")
                .method::<args::Snapshot>("restore")
                .method::<args::Snapshot>("snapshot_delete")
                .method::<args::Clone>("clone")
                .method::<args::Export>("export")
                .method::<args::Import>("import")
                .method::<args::Adopt>("adopt")
                .method::<args::Prune>("prune"),
            Face::Image => object
                .method::<()>("list")
                .method::<args::Named>("info")
                .method::<args::ImageImport>("import")
                .method::<args::Named>("delete")
                .method::<()>("remotes")
                .method::<args::Available>("available")
                .method::<args::Pull>("pull")
                .method::<args::Prune>("prune"),
            Face::Service => object
                .method::<()>("list")
                .method::<args::Publish>("publish")
                .method::<args::Withdraw>("withdraw")
                .method::<args::Browse>("browse"),
            Face::Job => object
                .method::<()>("list")
                .method::<args::JobId>("status")
                .method::<args::JobWait>("wait")
                .method::<args::JobId>("cancel"),
        }
    }
}
