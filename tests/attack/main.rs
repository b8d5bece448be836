//! Attacks on the whole: what guests, neighbours, servers of images, callers and a murderer of daemons can do. Each promise
//! of docs/security.md that somebody could try to break is tried here or by a test that `rows.rs` names.
//!
//! They need what the system tests need, and `gcc` for the guests' program. `cargo test` runs the short form;
//! `CLOUDBOX_ATTACK=long`, as `make attack` sets it, the long one. `SEED` repeats a row of random numbers.

// The box of the system tests: not all of it is used here.
#[allow(dead_code)]
#[path = "../system/whole_box.rs"]
mod whole_box;

mod archives;
mod callers;
mod fuzz;
mod guests;
mod kills;
mod load;
mod random;
mod rows;
mod servers;
mod storage;

#[allow(unused_imports)]
use whole_box::{avahi, bus, processes, test_box};

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var("CLOUDBOX_ATTACK").is_ok_and(|form| form == "long")
}
