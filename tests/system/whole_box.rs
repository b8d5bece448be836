//! The box of the system tests, for other tests that need a whole one.

pub mod avahi;
pub mod bus;
pub mod processes;
pub mod test_box;
