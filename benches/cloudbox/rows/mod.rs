//! The rows, one module for each group that shares its preparation.

mod boot;
pub mod bus;
mod fleet;
mod incus;
mod life;
mod size;

use crate::options::Options;
use crate::table::Row;
use crate::Result;

/// Measures what is wanted and adds it to `done`.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    if options.wants("create") || options.wants("delete") {
        life::measure(options, done)?;
    }
    if options.wants("boot") {
        boot::measure(options, done)?;
    }
    if options.wants("incus") {
        incus::measure(options, done)?;
    }
    if options.wants("bus") {
        bus::measure(options, done)?;
    }
    if options.wants("size") {
        size::measure(options, done)?;
    }
    if ["list", "memory", "idle"].iter().any(|row| options.wants(row)) {
        fleet::measure(options, done)?;
    }
    Ok(())
}

/// Tells what is being measured; on standard error, the table being the output.
fn say(what: &str) {
    eprintln!("bench: {what}");
}
