//! Jobs, from the call that begins them to their end.
//!
//! The call is sent without `wait`, so that the job's number is known before anything can go wrong. Then the job is
//! waited for in slices, with the notifications of `cloudbox.job` in between for a line that shows how far it is.
//! A daemon or a ubusd that is restarted in the meantime is waited for.

use super::bus::{self, Context};
use super::failure::{complain, Failure, OK, TIMEOUT, UNREACHABLE};
use super::interrupt::{goes_on, Followed};
use super::page::{print_json, write_stdout, Page};
use super::pattern::fill;
use super::progress::{progress_line, words_of, Progress};
use super::request::{job_wait, Handed, Request, JOB};
use super::text::visible;
use super::view::View;
use crate::api::WAIT_MAX;
use openwrt_ubus::conn::{CallId, Reply};
use openwrt_ubus::{Event, Status};
use std::io;
use std::time::{Duration, Instant};

/// How long a daemon or ubusd may be away before we give up.
const ABSENCE: Duration = Duration::from_secs(15);
/// How often a socket that has gone is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Calls that become jobs.
pub struct Work {
    pub requests: Vec<Request>,
    /// Their numbers are printed; nobody waits for their end.
    pub no_wait: bool,
    /// They make containers that run at the end.
    pub starts: bool,
}

impl Work {
    /// Sends the calls and follows the jobs they become. One that fails does not keep the others from going on.
    pub fn run(self, context: &mut Context) -> Result<u8, Failure> {
        let several = self.requests.len() > 1;
        let follower = Follower::new(context.json, several);
        let mut follower = Follower { begun: Some(Instant::now()), starts: self.starts, ..follower };
        for request in &self.requests {
            match context.call(request) {
                Ok(reply) => follower.begun(&reply, self.no_wait)?,
                // Without a bus the others fail as well.
                Err(failure) if !several || failure.exit == UNREACHABLE => return Err(failure),
                Err(failure) => follower.failed(failure)?,
            }
        }
        if self.no_wait {
            return Ok(follower.exit);
        }
        let exit = follower.follow(context)?;
        if exit != OK {
            // The job has ended, and nobody else would remove what it did not write.
            self.requests.iter().filter_map(|request| request.file.as_ref()).for_each(Handed::take_back);
        }
        Ok(exit)
    }
}

/// `cloudbox job wait`, for `limit` seconds at most.
pub fn wait(context: &mut Context, ids: Vec<String>, limit: Option<u32>) -> Result<u8, Failure> {
    let until = limit.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut follower = Follower { until, ..Follower::new(context.json, ids.len() > 1) };
    ids.into_iter().for_each(|id| follower.add(id));
    follower.follow(context)
}

/// A job that has not ended.
struct Open {
    id: String,
    /// The slice of waiting in flight.
    call: Option<CallId>,
}

#[derive(Default)]
struct Follower {
    json: bool,
    /// There is more than one: messages say which.
    several: bool,
    /// A container that is made runs at the end.
    starts: bool,
    followed: Followed,
    open: Vec<Open>,
    progress: Progress,
    /// When the work was asked for, if by us.
    begun: Option<Instant>,
    /// When to give up.
    until: Option<Instant>,
    /// Since when the daemon is away.
    away: Option<Instant>,
    /// The daemon has answered before: when it is away, it may come back.
    met: bool,
    exit: u8,
}

impl Follower {
    fn new(json: bool, several: bool) -> Follower {
        Follower {
            json,
            several,
            followed: Followed::watch(),
            progress: Progress::stderr(),
            exit: OK,
            ..Follower::default()
        }
    }

    fn add(&mut self, id: String) {
        if self.open.iter().all(|open| open.id != id) {
            self.open.push(Open { id, call: None });
        }
        self.followed.set(self.ids());
    }

    /// Takes the reply of a call that has begun a job.
    fn begun(&mut self, reply: &[u8], no_wait: bool) -> Result<(), Failure> {
        self.met = true;
        let job = View::new(reply).raw("job").into_owned();
        if no_wait || job.is_empty() {
            return match job.as_str() {
                _ if self.json => print_json(reply),
                // Nothing was left to do.
                "" => Ok(()),
                job => write_stdout((visible(job) + "\n").as_bytes()),
            };
        }
        self.add(job);
        Ok(())
    }

    fn follow(&mut self, context: &mut Context) -> Result<u8, Failure> {
        let result = self.follow_all(context);
        self.progress.clear();
        match result {
            Err(mut failure) => {
                if (self.met || failure.exit == TIMEOUT) && !self.open.is_empty() {
                    failure.message = format!("{}; {}", failure.message, goes_on(&self.ids()));
                }
                Err(failure)
            }
            Ok(()) => Ok(self.exit),
        }
    }

    fn follow_all(&mut self, context: &mut Context) -> Result<(), Failure> {
        let mut fresh = true;
        while !self.open.is_empty() {
            if std::mem::take(&mut fresh) {
                self.ask_all(context)?;
                // Sent behind the calls: what is quick has ended before it arrives.
                context.client()?.connection().subscribe(JOB);
            }
            match context.client()?.next_event(self.deadline()) {
                Ok(Some(event)) => self.handle(context, event)?,
                Ok(None) => self.check_time()?,
                Err(error) => {
                    self.reconnect(context, &error)?;
                    fresh = true;
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, context: &mut Context, event: Event) -> Result<(), Failure> {
        match event {
            Event::CallEnded { call, reply } => {
                if let Some(index) = self.open.iter().position(|open| open.call == Some(call)) {
                    self.open[index].call = None;
                    self.slice_ended(context, index, reply)?;
                }
            }
            Event::Notification { name, data, .. } if name == "job.progress" => self.show_progress(&data),
            // The daemon is back, or there from the beginning: then the calls are in flight already.
            Event::Subscribed { .. } => self.ask_all(context)?,
            Event::SubscriptionLost { .. } => {
                // Nobody answers the calls in flight any more.
                self.open.iter_mut().for_each(|open| open.call = None);
                self.away.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins a slice of waiting for each job for which none is in flight.
    fn ask_all(&mut self, context: &mut Context) -> Result<(), Failure> {
        self.away = None;
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()).as_secs() + 1);
        let seconds = left.and_then(|left| u32::try_from(left).ok()).unwrap_or(WAIT_MAX);
        for open in self.open.iter_mut().filter(|open| open.call.is_none()) {
            let request = job_wait(&open.id, seconds)?;
            let due = Instant::now() + request.patience;
            let connection = context.client()?.connection();
            open.call = Some(connection.call(&request.object, &request.method, &request.fields, due));
        }
        Ok(())
    }

    fn slice_ended(&mut self, context: &mut Context, index: usize, reply: Reply) -> Result<(), Failure> {
        match reply.status {
            Status::OK => {
                self.met = true;
                if matches!(&*View::new(&reply.data).raw("state"), "done" | "failed" | "cancelled") {
                    return self.job_ended(index, &reply.data);
                }
                self.show_progress(&reply.data);
                self.ask_all(context)
            }
            // Away for a moment, as at an upgrade; it keeps its jobs over a restart.
            Status::NOT_FOUND | Status::CONNECTION_FAILED if !reply.from_callee && self.met => {
                self.away.get_or_insert_with(Instant::now);
                Ok(())
            }
            // A slice that nobody has ended: the daemon stands still.
            status => {
                let id = self.open[index].id.clone();
                let mut failure = bus::failure(&job_wait(&id, WAIT_MAX)?, reply);
                if failure.exit == UNREACHABLE || status == Status::TIMEOUT {
                    return Err(failure);
                }
                self.close(index);
                if self.several {
                    failure.message = format!("job {id}: {}", failure.message);
                }
                self.failed(failure)
            }
        }
    }

    /// Tells how a job has ended.
    fn job_ended(&mut self, index: usize, reply: &[u8]) -> Result<(), Failure> {
        self.close(index);
        let job = View::new(reply);
        self.progress.clear();
        if self.json {
            print_json(reply)?;
        }
        if job.raw("state") == "done" {
            self.progress.result(&self.outcome(&job));
            job.texts("notes").iter().for_each(|note| complain(note));
            return Ok(());
        }
        // The reply has been printed already.
        let mut failure = bus::told(&[], &job).unwrap_or_else(|| {
            Failure::refusal(format_args!("job {} has {}", job.text("id"), job.text("state")))
        });
        let target = job.text("target");
        if self.several && !failure.message.contains(&target) {
            failure.message.insert_str(0, &format!("{target}: "));
        }
        self.failed(failure)
    }

    fn outcome(&self, job: &View<'_>) -> String {
        let done = match &*job.raw("kind") {
            "create" if self.starts => "{target} is running",
            _ => words_of(job).1,
        };
        let result = fill(done, job, &Page::plain());
        match self.begun {
            Some(begun) => {
                let took = begun.elapsed();
                format!("{result} ({}.{:02} s)", took.as_secs(), took.subsec_millis() / 10)
            }
            None => result,
        }
    }

    /// One of them has failed: says so, and goes on with the others.
    fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        self.progress.clear();
        if self.json && !failure.reply.is_empty() {
            print_json(&failure.reply)?;
        }
        complain(&failure.message);
        self.exit = self.exit.max(failure.exit);
        Ok(())
    }

    fn close(&mut self, index: usize) {
        self.open.remove(index);
        self.followed.set(self.ids());
    }

    fn ids(&self) -> Vec<String> {
        self.open.iter().map(|open| open.id.clone()).collect()
    }

    fn show_progress(&mut self, reply: &[u8]) {
        let job = View::new(reply);
        // Notifications tell of everybody's jobs.
        if self.open.iter().any(|open| open.id == job.raw("id")) && job.raw("state") != "done" {
            self.progress.draw(&progress_line(&job));
        }
    }

    /// When to look at the clock again.
    fn deadline(&self) -> Option<Instant> {
        let back = self.away.map(|since| since + ABSENCE);
        match (self.until, back) {
            (Some(until), Some(back)) => Some(until.min(back)),
            (until, back) => until.or(back),
        }
    }

    fn check_time(&self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            return Err(Failure::new(TIMEOUT, "the time is up"));
        }
        if self.away.is_some_and(|since| since + ABSENCE <= now) {
            let why = "the cloudbox daemon has left the bus and does not come back";
            return Err(Failure::new(UNREACHABLE, why));
        }
        Ok(())
    }

    /// Waits for ubusd to come back.
    fn reconnect(&mut self, context: &mut Context, error: &io::Error) -> Result<(), Failure> {
        let lost = Instant::now();
        if !self.met {
            return Err(context.unreachable(error));
        }
        loop {
            context.disconnect();
            self.open.iter_mut().for_each(|open| open.call = None);
            match context.client() {
                Ok(_) => return Ok(()),
                Err(failure) if lost.elapsed() > ABSENCE => return Err(failure),
                Err(_) => std::thread::sleep(AGAIN),
            }
            self.check_time()?;
        }
    }
}
