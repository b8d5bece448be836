//! `error!`, `warn!` and `info!`: what `log`'s macros do, but for the module, file and line of each, which nothing shows
//! here and every site would carry.

use log::{Level, Record};
use std::fmt;

/// Logs a message.
pub fn say(level: Level, message: fmt::Arguments<'_>) {
    if level <= log::max_level() {
        log::logger().log(&Record::builder().level(level).args(message).build());
    }
}

/// Something failed.
macro_rules! error {
    ($($message:tt)*) => { $crate::say::say(log::Level::Error, format_args!($($message)*)) };
}

/// Something is not as it should be.
macro_rules! warn {
    ($($message:tt)*) => { $crate::say::say(log::Level::Warn, format_args!($($message)*)) };
}

/// Something happened.
macro_rules! info {
    ($($message:tt)*) => { $crate::say::say(log::Level::Info, format_args!($($message)*)) };
}
