//! The one error type that reaches a person: a code from a closed set, and a sentence.
//!
//! The codes are part of the bus contract (DESIGN.md section 4). The sentence names the thing and the value, and says
//! what to do next. Modules build their errors with the constructors here, one call per step that can fail.

use nix::errno::Errno;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;

/// What kind of failure it is. Scripts match on [`Code::as_str`]; a new code is an API change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// An argument or option has a value it cannot have.
    InvalidArgument,
    /// A name is not a DNS label.
    InvalidName,
    /// No container, image or job of that name.
    NotFound,
    /// The name or address is taken.
    Exists,
    /// Another job works on the same thing.
    Busy,
    /// The container is running and the call needs it stopped, or needs `force`.
    Running,
    /// The container is not running and the call needs it to.
    NotRunning,
    /// Something still uses it.
    InUse,
    /// Its owner has said that it shall not be deleted.
    Protected,
    /// Memory kept for the box would be touched.
    NoMemory,
    /// Disk space kept for the box would be touched, or the disk is full.
    NoSpace,
    /// The file is no image, or a dangerous one.
    BadImage,
    /// The file's sha256 is not the expected one.
    Checksum,
    /// A program this needs is not installed.
    MissingTool,
    /// The kernel or this version cannot do it.
    NotSupported,
    /// It took longer than allowed.
    Timeout,
    /// Somebody cancelled the job.
    Cancelled,
    /// The configuration file cannot be read or written.
    Config,
    /// The daemon was stopped in the middle of the job.
    Interrupted,
    /// Anything else: a system call or a tool failed.
    Failed,
}

/// ubus status codes used by the API; LuCI cannot name those above 10.
mod status {
    pub const INVALID_ARGUMENT: u32 = 2;
    pub const NOT_FOUND: u32 = 4;
    pub const PERMISSION_DENIED: u32 = 6;
    pub const TIMEOUT: u32 = 7;
    pub const NOT_SUPPORTED: u32 = 8;
    pub const UNKNOWN_ERROR: u32 = 9;
}

impl Code {
    /// Every code, for tests and documentation.
    pub const ALL: [Code; 20] = [
        Code::InvalidArgument,
        Code::InvalidName,
        Code::NotFound,
        Code::Exists,
        Code::Busy,
        Code::Running,
        Code::NotRunning,
        Code::InUse,
        Code::Protected,
        Code::NoMemory,
        Code::NoSpace,
        Code::BadImage,
        Code::Checksum,
        Code::MissingTool,
        Code::NotSupported,
        Code::Timeout,
        Code::Cancelled,
        Code::Config,
        Code::Interrupted,
        Code::Failed,
    ];

    /// The code as it stands in `error.code` of a reply.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid_argument",
            Code::InvalidName => "invalid_name",
            Code::NotFound => "not_found",
            Code::Exists => "exists",
            Code::Busy => "busy",
            Code::Running => "running",
            Code::NotRunning => "not_running",
            Code::InUse => "in_use",
            Code::Protected => "protected",
            Code::NoMemory => "no_memory",
            Code::NoSpace => "no_space",
            Code::BadImage => "bad_image",
            Code::Checksum => "checksum",
            Code::MissingTool => "missing_tool",
            Code::NotSupported => "not_supported",
            Code::Timeout => "timeout",
            Code::Cancelled => "cancelled",
            Code::Config => "config",
            Code::Interrupted => "interrupted",
            Code::Failed => "failed",
        }
    }

    /// The code named `text`, as read back from a saved job; unknown text is [`Code::Failed`].
    pub fn from_text(text: &str) -> Code {
        Code::ALL.into_iter().find(|c| c.as_str() == text).unwrap_or(Code::Failed)
    }

    /// The ubus status that goes with it: 2, 4, 6, 7, 8 or 9.
    pub fn ubus_status(self) -> u32 {
        match self {
            Code::InvalidArgument | Code::InvalidName => status::INVALID_ARGUMENT,
            Code::NotFound => status::NOT_FOUND,
            Code::NoMemory | Code::NoSpace | Code::Protected => status::PERMISSION_DENIED,
            Code::Timeout => status::TIMEOUT,
            Code::MissingTool | Code::NotSupported => status::NOT_SUPPORTED,
            _ => status::UNKNOWN_ERROR,
        }
    }
}

/// An error a person will read. One word, since it travels through hundreds of `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

/// What an [`Error`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Its kind, for scripts.
    pub code: Code,
    /// A sentence: what is wrong, with names and values, and what to do.
    pub message: String,
}

impl Deref for Error {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What an [`Error`] can be told in. With `format_args!` no text is made, kept and dropped where the error arises, but
/// in one place for all: of hundreds of errors that is some kilobytes.
pub trait Message {
    /// The text.
    fn into_text(self) -> String;
}

impl Message for fmt::Arguments<'_> {
    fn into_text(self) -> String {
        fmt::format(self)
    }
}

impl Message for String {
    fn into_text(self) -> String {
        self
    }
}

impl Message for &str {
    fn into_text(self) -> String {
        self.to_string()
    }
}

impl Error {
    /// An error of kind `code`. A sentence of several parts is best given as `format_args!`.
    pub fn new(code: Code, message: impl Message) -> Error {
        Error(Box::new(Parts { code, message: message.into_text() }))
    }

    /// The sentence alone.
    pub fn into_message(self) -> String {
        self.0.message
    }

    /// A system call on `path` failed while doing `what` ("cannot create"). A full disk becomes [`Code::NoSpace`].
    pub fn io(what: &str, path: &Path, error: impl Into<io::Error>) -> Error {
        Error::of_path(what, path, error.into())
    }

    fn of_path(what: &str, path: &Path, error: io::Error) -> Error {
        let (code, remedy) = match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => (Code::NoSpace, "; free some space on it and try again"),
            _ => (Code::Failed, ""),
        };
        Error::new(code, format_args!("{what} {}: {}{remedy}", path.display(), os_text(&error)))
    }

    /// The same error with what the undo could not clean up, so that nothing is left behind unsaid.
    pub fn with_leftovers(mut self, leftovers: &[Error]) -> Error {
        for left in leftovers {
            self.message.push_str("; cleaning up: ");
            self.message.push_str(&left.message);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for Error {}

/// `text` in quotes, as it stands in a message: on one line, whatever is in it.
pub fn quoted(text: &str) -> String {
    ["\"", &escaped(text), "\""].concat()
}

/// The same without the quotes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The operating system's words for `errno`: the C library's, which come along anyway; nix has a second table.
pub fn errno_text(errno: Errno) -> String {
    os_text(&errno.into())
}

/// The operating system's words for `error`, without Rust's "(os error N)".
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_luci_can_name_their_status() {
        for (i, a) in Code::ALL.iter().enumerate() {
            assert!(a.ubus_status() <= 10, "{a:?}");
            assert_eq!(Code::from_text(a.as_str()), *a);
            for b in &Code::ALL[i + 1..] {
                assert_ne!(a.as_str(), b.as_str());
            }
        }
    }

    #[test]
    fn what_is_quoted_stays_on_its_line() {
        assert_eq!(quoted("a b'ä☃"), "\"a b'ä☃\"");
        assert_eq!(quoted("\"\\\n\r\t\x1b\u{9b}\0"), r#""\"\\\n\r\t\u{1b}\u{9b}\u{0}""#);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let error =
            Error::io("cannot write", Path::new("/srv/x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.code, Code::NoSpace);
        assert!(
            error.message.starts_with("cannot write /srv/x: No space left on device"),
            "{}",
            error.message
        );
    }
}
