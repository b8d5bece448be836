//! `shutdown`: all containers are stopped, since the box goes down. The daemon does it in order of priority.

use crate::model::job::Kind;
use serde::Deserialize;

/// The kind of the job that tells of it. It has no thread of its own, only those of the stops.
pub const SHUTDOWN: Kind = Kind { cancellable: false, ..Kind::new("shutdown") };

/// How long all containers may take to shut down with the box, in seconds: procd gives an init script no more than 25.
pub const TIMEOUT: u32 = 20;

/// `cloudbox shutdown`
#[derive(Debug, Deserialize)]
pub struct Args {
    /// Seconds it may take in all; what still runs then is killed. 20 unless said otherwise.
    pub timeout: Option<u32>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}
