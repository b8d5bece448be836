//! A directory for a test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is gone when the test ends.
pub struct TempDir(PathBuf);

impl TempDir {
    /// An empty one.
    pub fn make() -> TempDir {
        TempDir::make_in(&std::env::temp_dir())
    }

    /// An empty one below `parent`.
    pub fn make_in(parent: &Path) -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("cloudbox-test-{}-{number}", std::process::id()));
        let _ = crate::steps::walk::remove(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = crate::steps::walk::remove(&self.0);
    }
}
