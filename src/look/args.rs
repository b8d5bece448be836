//! The arguments of the calls, by method: each stands beside what takes it.

pub use super::browse::Args as Browse;
pub use super::containers::Args as List;
pub use super::doctor::Args as Doctor;
pub use super::log::Args as Log;
pub use super::remotes::Args as Available;
