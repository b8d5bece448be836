//! `job list`.

use crate::api::replies::{JobList, JobReply};
use crate::state::State;

/// The reply of `job list`.
pub fn jobs(state: &State) -> JobList {
    JobList { jobs: state.jobs.iter().map(JobReply::from).collect() }
}
