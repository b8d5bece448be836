//! The steps that touch the system: each behind a small trait with a fake. They block, so only jobs call them.

pub mod avahi;
pub mod config;
pub mod console;
pub mod ctx;
#[cfg(test)]
pub mod fake;
pub mod filesystem;
pub mod guest_root;
pub mod image;
pub mod layout;
pub mod lxc;
pub mod network;
pub mod storage;
pub mod tool;
pub mod wait;
