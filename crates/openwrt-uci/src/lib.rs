//! OpenWrt's UCI configuration files.
//!
//! * [`Package`] reads a file exactly as libuci does: bytes in, tree out. The format has more corners than it shows
//!   (concatenated quotes, `;`, abbreviated commands, lists born from options, names of anonymous sections); a reader
//!   that differs in one of them configures another box than the one `uci show` describes.
//! * [`Document`] edits a file and keeps every byte that an edit does not concern: comments, order, indentation, line
//!   endings. `uci commit` drops all comments; a program that edits a person's file should not.
//! * [`ConfigFile`] reads and edits a file on disk under libuci's locking, so that it can be used beside `uci commit`.
//!
//! ```
//! let mut document = openwrt_uci::Document::parse(b"# c\nconfig container 'web'\n\toption memory '256M' # small\n")?;
//! document.set("web", "memory", "1G")?;
//! document.set_list("web", "dns", &["9.9.9.9", "1.1.1.1"])?;
//! assert_eq!(
//!     document.as_bytes(),
//!     b"# c\nconfig container 'web'\n\toption memory '1G' # small\n\tlist dns '9.9.9.9'\n\tlist dns '1.1.1.1'\n"
//! );
//! let web = document.package().section("web").ok_or("web is gone")?;
//! assert_eq!(web.get_str("memory"), Some("1G"));
//! assert_eq!(web.list("dns").count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not read here: the uncommitted changes that `uci set` keeps in `/tmp/.uci`. They stay where they are, and the next
//! `uci commit` applies them on top of what this crate wrote.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod document;
mod file;
mod package;
mod parse;

pub use document::{Document, EditError};
pub use file::{ConfigFile, FileError};
pub use package::{Opt, Package, Repeat, Section, Value};
pub use parse::{is_option_name, is_section_kind, is_section_name, SyntaxError};
