//! OpenWrt's UCI configuration files.
//!
//! [`Package`] reads a file exactly as libuci does: bytes in, tree out. The format has more corners than it shows
//! (concatenated quotes, `;`, abbreviated commands, lists born from options, names of anonymous sections); a reader
//! that differs in one of them configures another box than the one `uci show` describes.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod package;
mod parse;

pub use package::{Opt, Package, Repeat, Section, Value};
pub use parse::{is_option_name, is_section_kind, is_section_name, SyntaxError};
