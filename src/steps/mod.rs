//! The steps that touch the system: each behind a small trait, with a fake in `testing`. They block, so only jobs call them.

pub mod avahi;
pub mod config;
pub mod console;
pub mod ctx;
pub mod filesystem;
pub mod guest_files;
pub mod guest_root;
pub mod host;
pub mod hotplug;
pub mod image;
pub mod in_a_child;
pub mod keep;
pub mod layout;
pub mod lxc;
pub mod network;
pub mod outside;
pub mod process;
pub mod replace;
pub mod storage;
pub mod tool;
pub mod wait;
pub mod walk;
