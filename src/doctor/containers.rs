//! Containers that do not do what they should, each with the reason and what cures it.

use super::{error, told, warning, Finding, Subject, ERROR};
use crate::error::Error;
use crate::model::name::Name;

/// Whoever fills in the [`super::Examination`] knows the containers.
pub(super) fn containers(subject: &Subject<'_>) -> Vec<Finding> {
    subject.known.container_findings.clone()
}

/// A container that could not be made or started, or whose run failed.
pub fn failed(name: &Name, failure: &Error) -> Finding {
    error(
        format_args!("{name}: {}", failure.message),
        format_args!("then `cloudbox start {name}`; `cloudbox log {name}` says more"),
    )
}

/// A container that runs and whose disk does not do what it should.
pub fn trouble(error: &Error) -> Finding {
    told(ERROR, &error.message)
}

/// A container whose record cannot be read.
pub fn unreadable(error: &Error) -> Finding {
    told(ERROR, &error.message)
}

/// A container whose section is gone from UCI.
pub fn orphan(name: &Name) -> Finding {
    warning(
        format_args!("{name} has no section in UCI; its data is kept"),
        format_args!(
            "`cloudbox adopt {name}` gives it its section again, `cloudbox delete {name}` removes it"
        ),
    )
}
