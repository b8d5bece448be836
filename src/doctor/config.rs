//! The daemon, its configuration and its clock.

use super::{error, ok, told, warning, Finding, Subject, ERROR};
use std::time::{SystemTime, UNIX_EPOCH};

/// When this was written, in seconds since 1970; and a year's, leap days and all.
const WRITTEN: u64 = 1_767_225_600;
const YEAR: u64 = 31_556_952;

/// Nothing to say while there is one.
pub(super) fn daemon(subject: &Subject<'_>) -> Vec<Finding> {
    subject.known.no_daemon.iter().map(|why| told(ERROR, why)).collect()
}

pub(super) fn configuration(subject: &Subject<'_>) -> Vec<Finding> {
    let warnings = &subject.known.config_warnings;
    if warnings.is_empty() {
        return vec![ok(format_args!("it is read whole and carried out"))];
    }
    let remedy = format_args!("mend it, then `cloudbox reload`");
    warnings.iter().map(|wrong| warning(format_args!("{wrong}"), remedy)).collect()
}

/// Certificates and the order of jobs want a clock that is not before this program was built.
pub(super) fn clock(_: &Subject<'_>) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let built = option_env!("SOURCE_DATE_EPOCH").and_then(|time| time.parse().ok());
    judge_clock(now, built.unwrap_or(WRITTEN))
}

fn judge_clock(now: u64, built: u64) -> Finding {
    if now >= built {
        return ok(format_args!("it is later than this program"));
    }
    error(
        format_args!("the clock says that it is {}", 1970 + now / YEAR),
        format_args!(
            "`/etc/init.d/sysntpd restart`, or `date -s`; a box without a battery needs NTP at boot"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::OK;
    use super::*;

    #[test]
    fn clocks_are_judged() {
        assert_eq!(judge_clock(WRITTEN, WRITTEN).state, OK);
        let early = judge_clock(90 * 86_400, WRITTEN);
        assert!(early.state == ERROR && early.message.ends_with("1970"), "{}", early.message);
    }
}
