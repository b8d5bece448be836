//! Jobs: work that takes longer than a call may. The table of them, and what is kept over a restart.

use crate::error::{quoted, Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Finished jobs that are remembered.
pub const KEPT: usize = 64;

/// A job's number. On the bus it is a string.
pub type JobId = u32;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Makes a container.
    Create,
    /// Removes a container.
    Delete,
    /// Starts a container.
    Start,
    /// Stops a container.
    Stop,
    /// Stops a container and starts it again.
    Restart,
    /// Changes a container.
    Set,
    /// Stops all containers.
    Shutdown,
    /// Gives a container another name.
    Rename,
    /// Freezes a container.
    Freeze,
    /// Lets a frozen container go on.
    Unfreeze,
    /// Cleans up after a container that ended by itself.
    Ended,
    /// Copies a container's layer.
    Snapshot,
    /// Puts a snapshot in the place of a container's layer.
    Restore,
    /// Removes a snapshot.
    SnapshotDelete,
    /// Takes in a container without a section, or one another tool made.
    Adopt,
    /// Removes what was left half made.
    Prune,
    /// Runs a container's first-boot script, beside whatever else is done to the container.
    FirstBoot,
    /// Copies a container.
    Clone,
    /// Writes a container's archive.
    Export,
    /// Makes a container of an archive.
    Import,
    /// Brings an image into the store.
    ImageImport,
    /// Removes an image from the store.
    ImageDelete,
    /// Fetches an image from a server.
    ImagePull,
    /// Removes images that nobody uses.
    ImagePrune,
}

/// As it stands in JSON.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Kind {
    /// Whether its target is an image and not a container.
    pub fn is_of_image(self) -> bool {
        matches!(self, Kind::ImageImport | Kind::ImageDelete | Kind::ImagePull | Kind::ImagePrune)
    }

    /// Whether a container is its own while it lasts.
    pub fn holds_container(self) -> bool {
        !self.is_of_image() && self != Kind::FirstBoot
    }

    /// Whether it can be undone in the middle.
    pub fn can_be_cancelled(self) -> bool {
        !matches!(
            self,
            Kind::Delete
                | Kind::Prune
                | Kind::Ended
                | Kind::Shutdown
                | Kind::Unfreeze
                | Kind::SnapshotDelete
                | Kind::ImageDelete
                | Kind::ImagePrune
        )
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a free worker.
    Pending,
    /// Is at work.
    Running,
    /// Ended well.
    Done,
    /// Ended with an error.
    Failed,
    /// Was cancelled.
    Cancelled,
}

impl State {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, State::Done | State::Failed | State::Cancelled)
    }
}

/// An error as it is kept with a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// [`Code::as_str`].
    pub code: String,
    /// [`Error::message`].
    pub message: String,
}

impl From<&Error> for JobError {
    fn from(error: &Error) -> JobError {
        JobError { code: error.code.as_str().to_string(), message: error.message.clone() }
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// The container or image it works on.
    pub target: String,
    /// The container it copies from, when that is another one: both are busy.
    #[serde(skip)]
    pub source: Option<String>,
    /// How far it is.
    pub state: State,
    /// The present step, or the last one.
    #[serde(default)]
    pub step: String,
    /// Bytes handled in this step.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes in all, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// When it began, seconds since 1970.
    pub started: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

impl Job {
    /// 0 to 100: of the bytes when they are known, else 100 at the end and 0 before.
    pub fn percent(&self) -> u32 {
        match (self.state, self.total) {
            (State::Done, _) => 100,
            (_, Some(total)) if total > 0 => (self.bytes.min(total).saturating_mul(100) / total) as u32,
            _ => 0,
        }
    }
}

/// All jobs that are known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    next: JobId,
    /// In the order of their numbers.
    jobs: Vec<Job>,
}

impl Jobs {
    /// Adds a pending job.
    pub fn add(&mut self, kind: Kind, target: &str, now: u64) -> JobId {
        self.next = self.next.wrapping_add(1).max(1);
        let job = Job {
            id: self.next,
            kind,
            target: target.to_string(),
            source: None,
            state: State::Pending,
            step: String::new(),
            bytes: 0,
            total: None,
            started: now,
            finished: None,
            error: None,
        };
        self.jobs.push(job);
        self.next
    }

    /// The job numbered `id`.
    pub fn get(&self, id: JobId) -> Option<&Job> {
        let at = self.jobs.binary_search_by_key(&id, |job| job.id).ok()?;
        self.jobs.get(at)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        let at = self.jobs.binary_search_by_key(&id, |job| job.id).ok()?;
        self.jobs.get_mut(at)
    }

    /// The job a caller means by `text`.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn find(&self, text: &str) -> Result<&Job> {
        text.parse().ok().and_then(|id| self.get(id)).ok_or_else(|| {
            let shown: String = text.chars().take(20).collect();
            Error::new(
                Code::NotFound,
                format_args!(
                    "there is no job {shown}; `cloudbox job list` shows those known",
                    shown = quoted(&shown)
                ),
            )
        })
    }

    /// All jobs, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// The unfinished job that works on container `name`.
    pub fn active_on(&self, name: &str) -> Option<&Job> {
        // Asked for every container again and again, while almost all jobs have ended.
        self.jobs.iter().filter(|job| !job.state.is_final()).find(|job| {
            let meant = job.target == name || job.source.as_deref() == Some(name);
            meant && job.kind.holds_container()
        })
    }

    /// Records how job `id` ended, and forgets the oldest finished jobs beyond [`KEPT`].
    pub fn finish(&mut self, id: JobId, result: &Result<()>, now: u64) {
        if let Some(job) = self.get_mut(id) {
            job.finished = Some(now);
            job.error = result.as_ref().err().map(JobError::from);
            job.state = match result {
                Ok(()) => State::Done,
                Err(error) if error.code == Code::Cancelled => State::Cancelled,
                Err(_) => State::Failed,
            };
        }
        // The one that ended first goes first. A long job is older than those that ended while it worked: it must not
        // be forgotten at the moment somebody wants to know what came of it.
        let finished = self.jobs.iter().filter(|job| job.state.is_final());
        let mut finished: Vec<_> = finished.map(|job| (job.id == id, job.finished, job.id)).collect();
        finished.sort_unstable();
        for (.., old) in finished.iter().take(finished.len().saturating_sub(KEPT)) {
            self.jobs.retain(|job| job.id != *old);
        }
    }

    /// Marks what was unfinished when the daemon ended, after a restart.
    pub fn interrupt_unfinished(&mut self, now: u64) {
        let open: Vec<JobId> = self.jobs.iter().filter(|j| !j.state.is_final()).map(|j| j.id).collect();
        let error = Error::new(
            Code::Interrupted,
            "the daemon was stopped in the middle of it; what it had begun was finished or undone at the restart",
        );
        for id in open {
            self.finish(id, &Err(error.clone()), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_finished_jobs_are_kept_and_no_unfinished_one_is_lost() {
        let mut jobs = Jobs::default();
        let open = jobs.add(Kind::Create, "open", 1);
        for n in 0..100 {
            let id = jobs.add(Kind::Start, &format!("c{n}"), 1);
            jobs.finish(id, &Ok(()), 2);
        }
        assert_eq!(jobs.iter().count(), KEPT + 1);
        assert_eq!(jobs.get(open).unwrap().state, State::Pending);
        assert_eq!(jobs.find("101").unwrap().target, "c99");
        assert_eq!(jobs.find("2").unwrap_err().code, Code::NotFound);
        assert_eq!(jobs.find("x").unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_restart_interrupts_what_was_open_and_goes_on_counting() {
        let mut jobs = Jobs::default();
        let id = jobs.add(Kind::Create, "web", 1);
        let text = serde_json::to_string(&jobs).unwrap();
        let mut jobs: Jobs = serde_json::from_str(&text).unwrap();
        jobs.interrupt_unfinished(5);
        let job = jobs.get(id).unwrap();
        assert_eq!((job.state, job.finished), (State::Failed, Some(5)));
        assert_eq!(job.error.as_ref().unwrap().code, "interrupted");
        assert!(jobs.active_on("web").is_none());
        assert_eq!(jobs.add(Kind::Start, "web", 6), id + 1);
    }

    /// The file outlives an upgrade of the daemon.
    #[test]
    fn the_file_of_jobs_is_read_and_written_as_ever() {
        let text = r#"{"next":3,"jobs":[{"id":1,"kind":"image_import","target":"debian","state":"done","step":"","bytes":7,"total":7,"started":1795342500,"finished":1795342501},{"id":2,"kind":"snapshot_delete","target":"web","state":"failed","step":"remove","bytes":0,"started":1795342502,"finished":1795342503,"error":{"code":"failed","message":"cannot remove \"x\""}},{"id":3,"kind":"create","target":"db","state":"pending","step":"","bytes":0,"started":1795342504}]}"#;
        let jobs: Jobs = serde_json::from_str(text).unwrap();
        assert_eq!(
            jobs.iter().map(|job| job.kind.to_string()).collect::<Vec<_>>(),
            ["image_import", "snapshot_delete", "create"]
        );
        assert_eq!(serde_json::to_string(&jobs).unwrap(), text);
    }

    #[test]
    fn percent() {
        let mut jobs = Jobs::default();
        let id = jobs.add(Kind::ImageImport, "distro", 1);
        let job = jobs.get_mut(id).unwrap();
        assert_eq!(job.percent(), 0);
        (job.bytes, job.total) = (50, Some(200));
        assert_eq!(job.percent(), 25);
        (job.bytes, job.total) = (300, Some(200));
        assert_eq!(job.percent(), 100);
        (job.bytes, job.total) = (u64::MAX / 2, Some(u64::MAX));
        assert!(job.percent() <= 100);
    }
}
