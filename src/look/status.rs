//! `status`: the box at a glance.

use crate::announce::Announcer;
use crate::api::replies::{Counts, Resource, StatusReply};
use crate::state::State;
use crate::steps::filesystem::Space;
use crate::steps::host;

/// The reply of `status`. What could not be announced is tried again when somebody looks.
pub fn status(state: &State, announcer: &mut Announcer) -> StatusReply {
    let (memory, disk) = (state.memory(), state.disk());
    let space = Space::of(&state.layout.storage).ok();
    let words: Vec<&'static str> = state.names().iter().map(|name| state.state_of(name)).collect();
    let count = |word: &str| words.iter().filter(|w| **w == word).count() as u32;
    StatusReply {
        version: env!("CARGO_PKG_VERSION"),
        api: crate::api::VERSION,
        pid: std::process::id(),
        uptime: state.started.elapsed().as_secs(),
        enabled: state.config.settings.enabled,
        arch: host::arch(),
        storage: state.layout.storage.display().to_string(),
        config: state.config_path.display().to_string(),
        containers: Counts {
            total: words.len() as u32,
            running: count("running") + count("frozen"),
            failed: count("failed"),
            orphans: count("orphan"),
        },
        images: state.images.len() as u32,
        jobs: state.jobs.open().count() as u32,
        memory: Resource {
            total: memory.total,
            free: host::memory_available(),
            reserve: memory.reserve,
            promised: memory.promised,
        },
        disk: Resource {
            total: space.map_or(0, |s| s.total),
            free: disk.free,
            reserve: disk.reserve,
            promised: disk.promised,
        },
        avahi: announcer.avahi(state),
        warnings: state.warnings(),
    }
}
