//! Jobs, from the call that begins them to their end.
//!
//! The call is sent without `wait`, so that the job's number is known before anything can go wrong. Then the job is
//! waited for in slices, with the notifications of `cloudbox.job` in between for a line that shows how far it is.
//! A daemon or a ubusd that is restarted in the meantime is waited for.

use super::args::Args;
use super::bus::{self, Context};
use super::interrupt::{goes_on, Followed};
use super::page::{self, Page};
use super::pattern::fill;
use super::request::{self, Request};
use super::text;
use super::view::View;
use super::{complain, Failure, OK, REFUSED, TIMEOUT, UNREACHABLE};
use cloudbox::api::args::WAIT_MAX;
use cloudbox::api::Face;
use openwrt_ubus::conn::{CallId, Reply};
use openwrt_ubus::{Event, Status};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long a daemon or ubusd may be away before we give up.
const ABSENCE: Duration = Duration::from_secs(15);
/// How often a socket that has gone is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Columns of a terminal that is as narrow as they get.
const COLUMNS: usize = 79;

/// Sends `requests` and follows the jobs they become. One that fails does not keep the others from going on.
pub fn work(context: &mut Context, args: &Args, requests: Vec<Request>) -> Result<u8, Failure> {
    let begun = Instant::now();
    let followed = Followed::watch();
    let mut follower = Follower::new(args, followed, Some(begun));
    for request in &requests {
        match context.call(request) {
            Ok(reply) => follower.begun(&reply)?,
            Err(failure) if requests.len() == 1 => return Err(failure),
            // Without a bus the others fail as well.
            Err(failure) if failure.exit == UNREACHABLE => return Err(failure),
            Err(failure) => follower.failed(failure)?,
        }
    }
    if args.flag("no-wait") {
        return Ok(follower.exit);
    }
    follower.follow(context)
}

/// `cloudbox job wait`
pub fn wait(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let mut follower = Follower::new(args, Followed::watch(), None);
    let limit = args.seconds("timeout")?;
    follower.until = limit.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    for id in &args.operands {
        follower.add((*id).to_string());
    }
    follower.follow(context)
}

/// A job that has not ended.
struct Open {
    id: String,
    /// The slice of waiting in flight.
    call: Option<CallId>,
}

struct Follower<'a> {
    args: &'a Args,
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

impl<'a> Follower<'a> {
    fn new(args: &'a Args, followed: Followed, begun: Option<Instant>) -> Follower<'a> {
        Follower {
            args,
            followed,
            open: Vec::new(),
            progress: Progress::stderr(),
            begun,
            until: None,
            away: None,
            met: false,
            exit: OK,
        }
    }

    fn add(&mut self, id: String) {
        if self.open.iter().all(|open| open.id != id) {
            self.open.push(Open { id, call: None });
        }
        self.followed.set(self.ids());
    }

    /// Takes the reply of a call that has begun a job.
    fn begun(&mut self, reply: &[u8]) -> Result<(), Failure> {
        self.met = true;
        let job = View::new(reply).raw("job").into_owned();
        if self.args.flag("no-wait") || job.is_empty() {
            return match job.as_str() {
                _ if self.args.json => page::print_json(reply),
                // Nothing was left to do.
                "" => Ok(()),
                job => page::write_stdout((text::visible(job) + "\n").as_bytes()),
            };
        }
        self.add(job);
        Ok(())
    }

    fn follow(&mut self, context: &mut Context) -> Result<u8, Failure> {
        let result = self.follow_all(context);
        self.progress.clear();
        match result {
            Err(mut failure) if (self.met || failure.exit == TIMEOUT) && !self.open.is_empty() => {
                failure.message = format!("{}; {}", failure.message, goes_on(&self.ids()));
                Err(failure)
            }
            Err(failure) => Err(failure),
            Ok(()) => Ok(self.exit),
        }
    }

    fn follow_all(&mut self, context: &mut Context) -> Result<(), Failure> {
        let mut fresh = true;
        while !self.open.is_empty() {
            if std::mem::take(&mut fresh) {
                self.ask_all(context)?;
                // Sent behind the calls: what is quick has ended before it arrives.
                context.client()?.connection().subscribe(Face::Job.path());
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
        (0..self.open.len()).try_for_each(|index| self.ask(context, index))
    }

    fn ask(&mut self, context: &mut Context, index: usize) -> Result<(), Failure> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()).as_secs() + 1);
        let seconds = left.and_then(|left| u32::try_from(left).ok()).unwrap_or(WAIT_MAX);
        let Some(open) = self.open.get_mut(index).filter(|open| open.call.is_none()) else { return Ok(()) };
        let request = request::job_wait(&open.id, seconds)?;
        let due = Instant::now() + request.patience;
        let connection = context.client()?.connection();
        open.call = Some(connection.call(&request.object, &request.method, &request.fields, due));
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
                self.ask(context, index)
            }
            // Away for a moment, as at an upgrade; it keeps its jobs over a restart.
            Status::NOT_FOUND | Status::CONNECTION_FAILED if !reply.from_callee && self.met => {
                self.away.get_or_insert_with(Instant::now);
                Ok(())
            }
            // A slice that nobody has ended: the daemon stands still.
            status => {
                let id = self.open[index].id.clone();
                let mut failure = bus::failure(&request::job_wait(&id, WAIT_MAX)?, reply);
                if failure.exit == UNREACHABLE || status == Status::TIMEOUT {
                    return Err(failure);
                }
                self.close(index);
                if self.args.operands.len() > 1 {
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
        if self.args.json {
            page::print_json(reply)?;
        }
        if job.raw("state") == "done" {
            self.progress.result(&self.outcome(&job));
            return Ok(());
        }
        // The reply has been printed already.
        let mut failure = bus::told(&[], &job).unwrap_or_else(|| {
            Failure::new(REFUSED, format_args!("job {} has {}", job.text("id"), job.text("state")))
        });
        let target = job.text("target");
        let unclear = self.args.operands.len() > 1 && !failure.message.contains(&target);
        if unclear {
            failure.message.insert_str(0, &format!("{target}: "));
        }
        self.failed(failure)
    }

    fn outcome(&self, job: &View<'_>) -> String {
        let starts = self.begun.is_some() && !self.args.flag("no-start");
        let done = match &*job.raw("kind") {
            "create" if starts => "{target} is running",
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
        if self.args.json && !failure.reply.is_empty() {
            page::print_json(&failure.reply)?;
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
            return Err(Failure::new(TIMEOUT, format_args!("the time is up")));
        }
        if self.away.is_some_and(|since| since + ABSENCE <= now) {
            return Err(Failure::new(
                UNREACHABLE,
                format_args!("the cloudbox daemon has left the bus and does not come back"),
            ));
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

/// Kinds of jobs, what is done while they run, and a pattern of what is so then. The last is for all others.
const KINDS: &[(&str, &str, &str)] = &[
    ("create", "creating", "{target} is made"),
    ("delete", "deleting", "{target} is deleted"),
    ("start", "starting", "{target} is running"),
    ("stop", "stopping", "{target} is stopped"),
    ("ended", "cleaning up after", "{target} is stopped"),
    ("image_import", "importing", "image {target} is imported"),
    ("image_delete", "deleting image", "image {target} is deleted"),
    ("image_pull", "pulling", "image {target} is here"),
    ("image_prune", "working on", "images are pruned"),
    ("", "working on", "{kind} of {target} is done"),
];

/// What is done while a job like this runs, and what is so then.
fn words_of(job: &View<'_>) -> (&'static str, &'static str) {
    let kind = job.raw("kind");
    let mut known = KINDS.iter().filter(|(name, ..)| *name == kind || name.is_empty());
    known.next().map(|(_, doing, done)| (*doing, *done)).unwrap_or_default()
}

/// `creating web: mount 45% 12M/45M`
fn progress_line(job: &View<'_>) -> String {
    let step = if job.raw("state") == "pending" { ": waits for its turn" } else { "[: {step}]" };
    let bytes = match job.number("total") {
        Some(_) => "[ {percent:int}% {bytes:size}/{total:size}]",
        None => "[ {bytes:bytes}]",
    };
    fill(&[words_of(job).0, " {target}", step, bytes].concat(), job, &Page::plain())
}

/// The line on standard error that shows how far a job is. Only for people: nothing is shown but on a terminal.
pub struct Progress {
    terminal: bool,
    color: bool,
    shown: String,
}

impl Progress {
    /// On standard error.
    pub fn stderr() -> Progress {
        let stderr = io::stderr();
        Progress { terminal: stderr.is_terminal(), color: page::wants_color(&stderr), shown: String::new() }
    }

    /// Shows `line` instead of what is there.
    fn draw(&mut self, line: &str) {
        // A line that wraps cannot be taken back.
        let line: String = line.chars().take(COLUMNS).collect();
        if self.terminal && line != self.shown {
            self.write(&format!("\r\x1b[K{line}"));
            self.shown = line;
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.terminal {
            self.write("\r\x1b[K");
            self.shown.clear();
        }
    }

    /// Shows how it ended, to stay.
    fn result(&self, line: &str) {
        let (start, end) = if self.color { (text::tone("done"), "\x1b[0m") } else { ("", "") };
        if self.terminal {
            self.write(&format!("{start}{line}{end}\n"));
        }
    }

    fn write(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::blobmsg::Builder;

    #[test]
    fn progress_lines() {
        let line = |kind, state, step, bytes, total: Option<i64>| {
            let mut job = Builder::new();
            job.str("id", "17").str("kind", kind).str("target", "web").str("state", state).str("step", step);
            job.int("percent", total.map_or(0, |total| bytes * 100 / total)).int("bytes", bytes);
            if let Some(total) = total {
                job.int("total", total);
            }
            progress_line(&View::new(&job.finish().unwrap()))
        };
        for (text, shown) in [
            (line("create", "running", "mount", 12 << 20, Some(48 << 20)), "creating web: mount 25% 12M/48M"),
            (line("create", "pending", "", 0, None), "creating web: waits for its turn"),
            (line("image_import", "running", "unpack", 5 << 20, None), "importing web: unpack 5M"),
            (line("delete", "running", "", 0, None), "deleting web"),
            (line("new", "running", "\x1b[1m", 0, None), "working on web: \\u{1b}[1m"),
        ] {
            assert_eq!(text, shown);
        }
    }
}
