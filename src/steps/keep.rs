//! Files that remember something over a restart of the daemon. They lie in memory: no disk is waited for.

use log::warn;
use std::fs;
use std::path::Path;

/// Writes `text` to `path`, whole or not at all. `what` it is stands in the log when that fails: the daemon goes on.
pub fn keep(what: &str, path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    if let Err(error) = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)) {
        warn!("cannot keep {what} in {}: {error}", path.display());
    }
}
