//! The one error type that reaches a person: a code from a closed set, and a sentence.
//!
//! The codes are part of the bus contract (DESIGN.md section 4). The sentence names the thing and the value, and says
//! what to do next. Modules build their errors with the constructors here, one call per step that can fail.

use nix::errno::Errno;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;

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
    /// Whoever calls may not do this.
    PermissionDenied,
    /// The peer on whose account it would count may not have so much.
    Quota,
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
    pub const ALL: [Code; 22] = [
        Code::InvalidArgument,
        Code::InvalidName,
        Code::NotFound,
        Code::Exists,
        Code::Busy,
        Code::Running,
        Code::NotRunning,
        Code::InUse,
        Code::Protected,
        Code::PermissionDenied,
        Code::Quota,
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
            Code::PermissionDenied => "permission_denied",
            Code::Quota => "quota",
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
            Code::NoMemory | Code::NoSpace | Code::Protected | Code::PermissionDenied | Code::Quota => {
                status::PERMISSION_DENIED
            }
            Code::Timeout => status::TIMEOUT,
            Code::MissingTool | Code::NotSupported => status::NOT_SUPPORTED,
            _ => status::UNKNOWN_ERROR,
        }
    }
}

/// An error a person will read: [`ErrorParts`] says of what it is made. It is one pointer wide, since every step hands
/// it up; 72 bytes at each of them were a tenth of the program.
#[derive(Debug, Clone)]
pub struct Error(Box<ErrorParts>);

/// What an [`Error`] consists of. Its fields are read through the error itself.
#[derive(Debug, Clone)]
pub struct ErrorParts {
    /// Its kind, for scripts.
    pub code: Code,
    /// A sentence: what is wrong, with names and values, and what to do.
    pub message: String,
    /// The option or argument that it is about, as UCI calls it.
    pub option: Option<String>,
    /// What it came from; its words are in the sentence already. Shared, since an [`io::Error`] cannot be copied.
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of kind `code`. A sentence of several parts is best given as `format_args!`.
    pub fn new(code: Code, message: impl fmt::Display) -> Error {
        Error(Box::new(ErrorParts { code, message: message.to_string(), option: None, source: None }))
    }

    /// The same error, about this option of UCI.
    pub fn about(mut self, option: &str) -> Error {
        self.option = Some(option.to_string());
        self
    }

    /// The same error, which came from `source`.
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Arc::new(source));
        self
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
        let told = format!("{what} {}: {}{remedy}", path.display(), os_text(&error));
        Error::new(code, told).caused_by(error)
    }

    /// A system call that is about no path failed while doing `what` ("cannot wait").
    pub fn os(what: impl fmt::Display, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        Error::new(Code::Failed, format_args!("{what}: {}", os_text(&error))).caused_by(error)
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

impl Deref for Error {
    type Target = ErrorParts;

    fn deref(&self) -> &ErrorParts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorParts {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Equal is what says the same, whatever it came from.
impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        (self.code, &self.message, &self.option) == (other.code, &other.message, &other.option)
    }
}

impl Eq for Error {}

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
            c if is_dangerous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Whether a terminal would do something else than show it: control characters, and the marks that turn the direction of
/// writing, which could make one name look like another.
pub fn is_dangerous(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

    #[test]
    fn what_a_system_call_said_is_the_source() {
        let error = Error::io("cannot write", Path::new("/srv/x"), Errno::EROFS);
        let copy = error.clone();
        let source = std::error::Error::source(&copy).and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EROFS));
        let told_otherwise = Error::new(Code::Failed, "cannot write /srv/x: Read-only file system");
        assert!(error == told_otherwise && error != told_otherwise.about("storage"));
    }
}
