//! Attacks on the whole: what guests, neighbours, servers of images, callers and a murderer of daemons can do. Each promise
//! of docs/security.md that somebody could try to break is tried here or by a test that `rows.rs` names.
//!
//! They need what the system tests need, and `gcc` for the guests' program. `cargo test` runs the short form;
//! `CLOUDBOX_ATTACK=long`, as `make attack` sets it, the long one. `SEED` repeats a row of random numbers.

// The box of the system tests: not all of it is used here.
#[allow(dead_code)]
#[path = "../system/avahi.rs"]
mod avahi;
#[allow(dead_code)]
#[path = "../system/bus.rs"]
mod bus;
#[allow(dead_code)]
#[path = "../system/processes.rs"]
mod processes;
#[allow(dead_code)]
#[path = "../system/test_box.rs"]
mod test_box;

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

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var("CLOUDBOX_ATTACK").is_ok_and(|form| form == "long")
}
