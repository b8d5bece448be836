//! Jobs: work that takes longer than a call may. The table of them, and what is kept over a restart.

use super::name::Name;
use crate::error::{quoted, Code, Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Finished jobs that are remembered.
pub const KEPT: usize = 64;

/// A job's number. On the bus it is a string.
pub type JobId = u32;

/// A kind of job: its word, and what others need to know of it. Each operation's file has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kind {
    /// `kind` on the bus.
    pub word: &'static str,
    /// It can be undone in the middle, so that a cancel is heard.
    pub cancellable: bool,
    /// It mostly waits for a guest or a server, so that it must not keep a place from others.
    pub waits: bool,
    /// It works beside whatever else is done to its container.
    pub beside: bool,
    /// A person's stop or delete of its container cuts it short where the daemon has made it by itself.
    pub yields: bool,
    /// It brings into force what its container's section says, as far as that can be had while it runs.
    pub applies: bool,
    /// What `list` calls its container meanwhile; None: what it is.
    pub shown_as: Option<&'static str>,
    /// Why nothing of its container is announced meanwhile; None: it is announced.
    pub silence: Option<&'static str>,
}

impl Kind {
    /// A kind that can be cancelled, keeps its container from other jobs, and shows nothing of itself.
    pub const fn new(word: &'static str) -> Kind {
        Kind {
            word,
            cancellable: true,
            waits: false,
            beside: false,
            yields: false,
            applies: false,
            shown_as: None,
            silence: None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

/// What a job works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One container.
    Container(Name),
    /// All containers.
    AllContainers,
    /// One image, as it was called.
    Image(String),
    /// All images.
    AllImages,
    /// What an earlier daemon's job worked on: only to be shown.
    Earlier(String),
}

impl Target {
    /// The container, when it is one.
    pub fn container(&self) -> Option<&Name> {
        match self {
            Target::Container(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is images.
    pub fn is_of_images(&self) -> bool {
        matches!(self, Target::Image(_) | Target::AllImages)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Container(name) => name.as_str(),
            Target::Image(text) | Target::Earlier(text) => text,
            Target::AllContainers | Target::AllImages => "*",
        })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Target, D::Error> {
        String::deserialize(deserializer).map(Target::Earlier)
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
    /// As it stands in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

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
    /// What it does: [`Kind::word`].
    #[serde(rename = "kind")]
    pub word: String,
    /// The same, with what others need to know of it. Of a job that an earlier daemon kept nothing is known any more.
    #[serde(skip)]
    pub kind: Kind,
    /// The container or image it works on.
    pub target: Target,
    /// The container it copies from, when that is another one: both are busy.
    #[serde(skip)]
    pub source: Option<Name>,
    /// The daemon made it by itself: nobody has asked for it, and nobody is refused for its sake.
    #[serde(skip)]
    pub own: bool,
    /// The process of the commons has asked for it: it may see it, and no other one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub commons: bool,
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
    /// What whoever asked for it should know, although it did not fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The most notes of a job.
const NOTES_MAX: usize = 8;
/// The most characters of one.
const NOTE_MAX: usize = 500;

impl Job {
    /// Adds a note; what is more than a list of jobs can hold is left out.
    pub fn note(&mut self, text: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text.chars().take(NOTE_MAX).collect());
        }
    }

    /// 0 to 100: of the bytes when they are known, else 100 at the end and 0 before.
    pub fn percent(&self) -> u32 {
        match (self.state, self.total) {
            (State::Done, _) => 100,
            (_, Some(total)) if total > 0 => (self.bytes.min(total).saturating_mul(100) / total) as u32,
            _ => 0,
        }
    }

    /// The containers that are its own until it ends.
    pub fn held(&self) -> impl Iterator<Item = &Name> {
        let target = self.target.container().filter(|_| !self.kind.beside);
        target.into_iter().chain(&self.source)
    }
}

/// Why a person's call cannot be answered yet: a job is in its way that the daemon made by itself. It is the source of a
/// [`Code::Busy`]; who takes calls waits for the job's end instead of passing that on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTheWay {
    /// The job.
    pub job: JobId,
    /// The call wants its container to end, so that the job is cut short where it [yields](Kind::yields).
    pub cut: bool,
}

impl InTheWay {
    /// What `error` came from, if it is that.
    pub fn of(error: &Error) -> Option<InTheWay> {
        std::error::Error::source(error).and_then(|source| source.downcast_ref()).copied()
    }
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} of the daemon's own has not ended", self.job)
    }
}

impl std::error::Error for InTheWay {}

/// All jobs that are known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    next: JobId,
    /// In the order of their numbers.
    jobs: Vec<Job>,
}

impl Jobs {
    /// Adds a pending job. `source` is the container it copies from.
    pub fn add(&mut self, kind: Kind, target: Target, source: Option<Name>, now: u64) -> JobId {
        self.next = self.next.wrapping_add(1).max(1);
        let job = Job {
            id: self.next,
            word: kind.word.to_string(),
            kind,
            target,
            source,
            own: false,
            commons: false,
            state: State::Pending,
            step: String::new(),
            bytes: 0,
            total: None,
            started: now,
            finished: None,
            error: None,
            notes: Vec::new(),
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

    /// Whether job `id` has not ended.
    pub fn is_open(&self, id: JobId) -> bool {
        self.get(id).is_some_and(|job| !job.state.is_final())
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

    /// Those that have not ended, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| !job.state.is_final())
    }

    /// The unfinished job that container `name` belongs to.
    pub fn active_on(&self, name: &Name) -> Option<&Job> {
        self.open().find(|job| job.held().any(|held| held == name))
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
        let open: Vec<JobId> = self.open().map(|job| job.id).collect();
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

    const CREATE: Kind = Kind::new("create");

    fn web() -> Name {
        Name::new("web").unwrap()
    }

    fn add(jobs: &mut Jobs, of: &str, now: u64) -> JobId {
        jobs.add(CREATE, Target::Container(Name::new(of).unwrap()), None, now)
    }

    #[test]
    fn the_last_64_finished_jobs_are_kept_and_no_unfinished_one_is_lost() {
        let mut jobs = Jobs::default();
        let open = add(&mut jobs, "open", 1);
        for n in 0..100 {
            let id = add(&mut jobs, &format!("c{n}"), 1);
            jobs.finish(id, &Ok(()), 2);
        }
        assert_eq!(jobs.iter().count(), KEPT + 1);
        assert_eq!(jobs.get(open).unwrap().state, State::Pending);
        assert_eq!(jobs.find("101").unwrap().target.to_string(), "c99");
        assert_eq!(jobs.find("2").unwrap_err().code, Code::NotFound);
        assert_eq!(jobs.find("x").unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_restart_interrupts_what_was_open_and_goes_on_counting() {
        let mut jobs = Jobs::default();
        let id = add(&mut jobs, "web", 1);
        let text = serde_json::to_string(&jobs).unwrap();
        let mut jobs: Jobs = serde_json::from_str(&text).unwrap();
        jobs.interrupt_unfinished(5);
        let job = jobs.get(id).unwrap();
        assert_eq!((job.state, job.finished), (State::Failed, Some(5)));
        assert_eq!(job.error.as_ref().unwrap().code, "interrupted");
        assert!(jobs.active_on(&web()).is_none());
        assert_eq!(add(&mut jobs, "web", 6), id + 1);
    }

    /// The file outlives an upgrade of the daemon.
    #[test]
    fn the_file_of_jobs_is_read_and_written_as_ever() {
        let text = r#"{"next":3,"jobs":[{"id":1,"kind":"image_import","target":"debian","state":"done","step":"","bytes":7,"total":7,"started":1795342500,"finished":1795342501},{"id":2,"kind":"snapshot_delete","target":"web","state":"failed","step":"remove","bytes":0,"started":1795342502,"finished":1795342503,"error":{"code":"failed","message":"cannot remove \"x\""},"notes":["an access list was left out"]},{"id":3,"kind":"create","target":"db","state":"pending","step":"","bytes":0,"started":1795342504}]}"#;
        let jobs: Jobs = serde_json::from_str(text).unwrap();
        let words: Vec<&str> = jobs.iter().map(|job| job.word.as_str()).collect();
        assert_eq!(words, ["image_import", "snapshot_delete", "create"]);
        assert_eq!(serde_json::to_string(&jobs).unwrap(), text);
    }

    #[test]
    fn a_container_belongs_to_the_job_that_works_on_it_or_copies_it() {
        let mut jobs = Jobs::default();
        let (copy, other) = (Name::new("copy").unwrap(), Name::new("other").unwrap());
        let id = jobs.add(Kind::new("clone"), Target::Container(copy.clone()), Some(web()), 1);
        for (name, held) in [(&copy, true), (&web(), true), (&other, false)] {
            assert_eq!(jobs.active_on(name).map(|job| job.id), held.then_some(id), "{name}");
        }
        let beside = Kind { beside: true, ..Kind::new("first_boot") };
        jobs.add(beside, Target::Container(other.clone()), None, 1);
        assert!(jobs.active_on(&other).is_none());
    }

    #[test]
    fn notes_are_few_and_short() {
        let mut jobs = Jobs::default();
        let id = add(&mut jobs, "web", 1);
        let job = jobs.get_mut(id).unwrap();
        (0..100).for_each(|_| job.note(&"é".repeat(1000)));
        assert_eq!(job.notes, vec!["é".repeat(NOTE_MAX); NOTES_MAX]);
    }

    #[test]
    fn percent() {
        let mut jobs = Jobs::default();
        let id = jobs.add(Kind::new("image_import"), Target::Image("distro".into()), None, 1);
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
