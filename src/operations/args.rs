//! The arguments of the calls, by method: each stands beside what takes it.

pub use super::adopt::Args as Adopt;
pub use super::clone::Args as Clone;
pub use super::copying::SnapshotArgs as Snapshot;
pub use super::create::Args as Create;
pub use super::delete::Args as Delete;
pub use super::exec::Args as Exec;
pub use super::export::Args as Export;
pub use super::image_import::Args as ImageImport;
pub use super::image_pull::Args as ImagePull;
pub use super::import::Args as Import;
pub use super::publish::Args as Publish;
pub use super::rename::Args as Rename;
pub use super::restart::Args as Restart;
pub use super::set::Args as Set;
pub use super::shutdown::Args as Shutdown;
pub use super::start::Args as Start;
pub use super::stop::Args as Stop;
pub use super::withdraw::Args as Withdraw;
