//! Tests that need a process to themselves: they change what all threads of one share, or end it.

use std::process::{Command, Output};

/// Set in such a process.
const ALONE: &str = "CLOUDBOX_TEST_ALONE";

/// Runs `test`, called by its whole name, once more in a process of its own, and returns how that went; None: this is that
/// process.
pub fn alone(test: &str) -> Option<Output> {
    if std::env::var_os(ALONE).is_some() {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    Some(command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap())
}
