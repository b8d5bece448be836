//! Calls on the bus: what each method is answered with, and when.

use super::answers;
use super::core::{Core, Waiter};
use super::doctor;
use super::work::{self, Aside, Report};
use crate::api::{args, replies, Face};
use crate::error::{quoted, Code, Error, Result};
use crate::model::job::{Job, JobId};
use crate::model::name::Name;
use crate::steps::console;
use crate::steps::ctx::Ctx;
use crate::steps::lxc::Exec;
use log::error;
use openwrt_ubus::{from_fields, to_chosen_fields, to_fields, Fields, Request, Status};
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How a call is answered.
pub(super) enum Answer {
    /// At once, with these fields.
    Fields(Vec<u8>),
    /// With a job's number; if the caller waits so many seconds, with how it ended.
    Job(JobId, Option<u32>),
    /// With the whole job, when it has ended or so many seconds are up.
    WholeJob(JobId, u32),
    /// By a thread: it may take longer than the loop should.
    Aside(Aside),
    /// There is no such method.
    NoMethod,
}

impl Answer {
    /// A thread finds the reply's fields.
    pub(super) fn aside(work: impl FnOnce() -> Result<Vec<u8>> + Send + 'static) -> Answer {
        Answer::Aside(Box::new(move |request| Report::Answer(request, work())))
    }

    /// With the job when it has ended: it takes a moment only.
    fn ended(job: JobId) -> Answer {
        Answer::Job(job, Some(args::WAIT_MAX))
    }
}

fn fields(reply: &impl Serialize) -> Result<Answer> {
    encode(reply).map(Answer::Fields)
}

/// The name that is all a call says.
fn name(arguments: &[u8]) -> Result<String> {
    decode::<args::Named>(arguments).map(|args| args.name)
}

fn container_name(arguments: &[u8]) -> Result<Name> {
    Name::new(&name(arguments)?)
}

fn yes(arguments: &[u8]) -> Result<bool> {
    decode::<args::Prune>(arguments).map(|args| args.yes.unwrap_or(false))
}

fn job_id(arguments: &[u8]) -> Result<String> {
    decode::<args::JobId>(arguments).map(|args| args.id.0)
}

impl Core {
    pub(super) fn call(&mut self, face: Face, method: &str, arguments: &[u8], request: Request) {
        let answer = match face {
            Face::Box => self.call_box(method, arguments),
            Face::Container => self.call_container(method, arguments),
            Face::Image => self.call_image(method, arguments),
            Face::Service => self.call_service(method, arguments),
            Face::Job => self.call_job(method, arguments),
        };
        self.respond(request, answer);
    }

    fn call_box(&mut self, method: &str, arguments: &[u8]) -> Result<Answer> {
        match method {
            "status" => fields(&self.status()),
            "doctor" => Ok(self.doctor()),
            "reload" => fields(&self.reload()),
            "shutdown" => {
                let args: args::Shutdown = decode(arguments)?;
                Ok(Answer::Job(self.shut_down(&args)?, args.wait))
            }
            _ => Ok(Answer::NoMethod),
        }
    }

    fn call_container(&mut self, method: &str, arguments: &[u8]) -> Result<Answer> {
        Ok(match method {
            "list" => {
                let args: args::List = decode(arguments)?;
                let fields = args.fields.unwrap_or_default();
                Answer::Fields(encode_entries(&self.container_list(&fields), fields)?)
            }
            "info" => fields(&self.container_info(&container_name(arguments)?)?)?,
            "create" => {
                let args: args::Create = decode(arguments)?;
                Answer::Job(self.create(&args)?, args.wait)
            }
            "delete" => {
                let args: args::Delete = decode(arguments)?;
                Answer::Job(self.delete(&args)?, args.wait)
            }
            "start" => {
                let args: args::Start = decode(arguments)?;
                Answer::Job(self.start_by_hand(&Name::new(&args.name)?)?, args.wait)
            }
            "stop" => {
                let args: args::Stop = decode(arguments)?;
                Answer::Job(self.stop(&args)?, args.wait)
            }
            "restart" => {
                let args: args::Restart = decode(arguments)?;
                Answer::Job(self.restart(&args)?, args.wait)
            }
            "set" => {
                let args: args::Set = decode(arguments)?;
                Answer::Job(self.set(&args)?, args.wait.or(Some(args::WAIT_MAX)))
            }
            "rename" => Answer::ended(self.rename(&decode(arguments)?)?),
            "freeze" | "unfreeze" => {
                Answer::ended(self.freeze(&container_name(arguments)?, method == "freeze")?)
            }
            "exec" => self.exec(decode(arguments)?)?,
            "adopt" => {
                let args: args::Adopt = decode(arguments)?;
                Answer::Job(self.adopt(&Name::new(&args.name)?)?, args.wait)
            }
            "prune" => fields(&self.prune(yes(arguments)?)?)?,
            "log" => self.log(&decode(arguments)?)?,
            "snapshots" => self.snapshots(container_name(arguments)?)?,
            "snapshot" | "restore" | "snapshot_delete" => {
                let args: args::Snapshot = decode(arguments)?;
                Answer::Job(self.work_on_snapshot(method, &args)?, args.wait)
            }
            "export" => {
                let args: args::Export = decode(arguments)?;
                Answer::Job(self.export_container(&args)?, args.wait)
            }
            "import" => {
                let args: args::Import = decode(arguments)?;
                self.check_import(&args)?;
                self.look_at_archive(args)
            }
            "clone" => {
                let args: args::Clone = decode(arguments)?;
                Answer::Job(self.clone_container(&args)?, args.wait)
            }
            _ => Answer::NoMethod,
        })
    }

    fn call_image(&mut self, method: &str, arguments: &[u8]) -> Result<Answer> {
        Ok(match method {
            "list" => fields(&self.image_list())?,
            "info" => fields(&self.image_entry(self.find_image(&name(arguments)?)?))?,
            "import" => {
                let args: args::ImageImport = decode(arguments)?;
                Answer::Job(self.import(&args)?, args.wait)
            }
            "delete" => Answer::ended(self.delete_image(&name(arguments)?)?),
            "remotes" => fields(&self.remote_list())?,
            "available" => self.available(decode(arguments)?),
            "pull" => {
                let args: args::Pull = decode(arguments)?;
                Answer::Job(self.pull(&args)?, args.wait)
            }
            "prune" => fields(&self.prune_images(yes(arguments)?)?)?,
            _ => Answer::NoMethod,
        })
    }

    fn call_service(&mut self, method: &str, arguments: &[u8]) -> Result<Answer> {
        match method {
            "list" => fields(&self.service_list()),
            "publish" => {
                let (id, asked) = self.check_publish(&decode(arguments)?)?;
                Ok(self.edit_service(id, Some(asked)))
            }
            "withdraw" => {
                let args: args::Withdraw = decode(arguments)?;
                let asked = self.check_withdraw(&args.id)?;
                Ok(self.edit_service(args.id, asked))
            }
            "browse" => self.browse(&decode(arguments)?),
            _ => Ok(Answer::NoMethod),
        }
    }

    fn call_job(&mut self, method: &str, arguments: &[u8]) -> Result<Answer> {
        match method {
            "list" => {
                fields(&replies::JobList { jobs: self.jobs.iter().map(replies::JobReply::from).collect() })
            }
            "status" => fields(&replies::JobReply::from(self.jobs.find(&job_id(arguments)?)?)),
            "wait" => {
                let args: args::JobWait = decode(arguments)?;
                let job = self.jobs.find(&args.id.0)?.id;
                Ok(Answer::WholeJob(job, args.timeout.unwrap_or(args::WAIT_MAX)))
            }
            "cancel" => fields(&replies::JobReply::from(&self.job_cancel(&job_id(arguments)?)?)),
            _ => Ok(Answer::NoMethod),
        }
    }

    /// Answers a call, or has it answered.
    pub(super) fn respond(&mut self, request: Request, answer: Result<Answer>) {
        let (job, seconds, whole_job) = match answer {
            Ok(Answer::Fields(fields)) => return self.send_reply(request, Ok(fields)),
            Err(error) => return self.send_reply(request, Err(error)),
            Ok(Answer::NoMethod) => return self.connection.complete(request, Status::METHOD_NOT_FOUND),
            Ok(Answer::Aside(work)) => return self.aside(request, work),
            Ok(Answer::WholeJob(job, seconds)) => (job, seconds, true),
            Ok(Answer::Job(job, wait)) => match wait.unwrap_or(0) {
                0 => return self.send_reply(request, encode(&replies::Started { job: job.to_string() })),
                seconds => (job, seconds, false),
            },
        };
        let waiter = Waiter { job, request, deadline: deadline(seconds), whole_job };
        if self.jobs.get(job).is_some_and(|job| !job.state.is_final()) {
            self.waiters.push(waiter);
        } else {
            self.answer_waiter(waiter);
        }
    }

    /// Has a call answered by a thread. Where none can be had, the connection answers the request when it is dropped.
    fn aside(&self, request: Request, work: Aside) {
        if let Err(error) = work::spawn_report(&self.sender, Box::new(move || work(request))) {
            error!("{error}");
        }
    }

    /// Sends a reply's fields, or an error as data and as status.
    pub(super) fn send_reply(&mut self, request: Request, result: Result<Vec<u8>>) {
        let (fields, status) = match result {
            Ok(fields) => (fields, Status::OK),
            Err(error) => {
                let failure = replies::Failure { error: (&error).into() };
                (to_fields(&failure).unwrap_or_default(), Status(error.code.ubus_status()))
            }
        };
        match self.connection.reply(&request, &fields) {
            Ok(()) => self.connection.complete(request, status),
            Err(error) => {
                error!("a reply of {} bytes cannot be sent: {error}", fields.len());
                self.connection.complete(request, Status::UNKNOWN_ERROR);
            }
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_waiters(&mut self, is_done: &dyn Fn(&Waiter) -> bool) {
        let mut at = 0;
        while let Some(waiter) = self.waiters.get(at) {
            if is_done(waiter) {
                let waiter = self.waiters.remove(at);
                self.answer_waiter(waiter);
            } else {
                at += 1;
            }
        }
    }

    fn answer_waiter(&mut self, waiter: Waiter) {
        let answer = match self.jobs.get(waiter.job) {
            None => Err(Error::new(Code::NotFound, format_args!("job {} is no longer known", waiter.job))),
            Some(job) if waiter.whole_job => encode(&replies::JobReply::from(job)),
            Some(Job { error: Some(error), .. }) => {
                Err(Error::new(Code::from_text(&error.code), error.message.clone()))
            }
            Some(job) => encode(&replies::Waited { job: job.id.to_string(), state: job.state }),
        };
        self.send_reply(waiter.request, answer);
    }

    pub(super) fn job_cancel(&mut self, id: &str) -> Result<Job> {
        let job = self.jobs.find(id)?.clone();
        let Some(active) = self.active.get(&job.id) else { return Ok(job) };
        if !job.kind.can_be_cancelled() {
            return Err(Error::new(
                Code::NotSupported,
                format_args!("a {} cannot be cancelled: what is gone does not come back", job.kind),
            ));
        }
        active.cancel.cancel();
        if active.work.is_some() {
            self.queue.retain(|queued| *queued != job.id);
            self.finish(job.id, Err(Error::new(Code::Cancelled, "the job was cancelled before it began")));
        }
        Ok(self.jobs.get(job.id).cloned().unwrap_or(job))
    }

    /// Logs what `doctor` would complain of.
    pub(super) fn report_health(&self) {
        let (machine, examination) = (self.machine.clone(), doctor::Examination::of(self));
        if let Err(error) = work::spawn(Box::new(move || doctor::report(&machine, &examination))) {
            error!("{error}");
        }
    }

    fn doctor(&self) -> Answer {
        let (machine, examination) = (self.machine.clone(), doctor::Examination::of(self));
        Answer::aside(move || encode(&doctor::examine(&machine, &examination)))
    }

    fn log(&self, args: &args::Log) -> Result<Answer> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        let dir = self.layout.container(&name);
        let files = match args.first_boot.unwrap_or(false) {
            true => vec![dir.first_boot_log()],
            false => console::files(&dir),
        };
        let lines = usize::try_from(args.lines.unwrap_or(args::LOG_LINES)).unwrap_or(usize::MAX);
        Ok(Answer::aside(move || {
            let (log, truncated) = console::tail(&files, lines)?;
            encode(&replies::LogReply { log: answers::printable(&log), truncated })
        }))
    }

    fn check_exec(&self, args: args::Exec) -> Result<(Name, Exec)> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        let timeout = args.timeout.unwrap_or(args::EXEC_TIMEOUT);
        let exec = Exec {
            command: args.command,
            environment: args.environment.map_or_else(Vec::new, |variables| variables.0),
            user: args.user.map(|user| user.0).filter(|user| !user.is_empty()),
            directory: args.directory.filter(|directory| !directory.is_empty()),
            timeout: Duration::from_secs(timeout.into()),
        };
        check_words(&exec)?;
        if !(1..=args::EXEC_TIMEOUT_MAX).contains(&timeout) {
            return Err(Error::new(
                Code::InvalidArgument,
                format_args!("timeout {timeout}: give 1 to {} seconds", args::EXEC_TIMEOUT_MAX),
            ));
        }
        if self.running(&name)?.frozen {
            return Err(Error::new(
                Code::NotRunning,
                format_args!("container {name} is frozen; unfreeze it first"),
            ));
        }
        Ok((name, exec))
    }

    fn exec(&self, args: args::Exec) -> Result<Answer> {
        let ((name, exec), machine) = (self.check_exec(args)?, self.machine.clone());
        Ok(Answer::aside(move || {
            let output = machine.runtime.exec(&Ctx::silent()?, &name, &exec)?;
            encode(&replies::ExecReply {
                code: output.code,
                stdout: answers::printable(&output.stdout),
                stderr: answers::printable(&output.stderr),
                truncated: output.truncated,
            })
        }))
    }
}

/// What a program can be started with at all.
fn check_words(exec: &Exec) -> Result<()> {
    let wrong = |why: String| Err(Error::new(Code::InvalidArgument, why));
    if exec.command.first().is_none_or(String::is_empty) {
        return wrong(
            "command: it is empty; give the program and its arguments as a list, such as [\"ip\",\"address\"]".into(),
        );
    }
    for word in exec.command.iter().chain(&exec.environment) {
        if word.len() > args::EXEC_WORD_MAX {
            let start: String = word.chars().take(20).collect();
            return wrong(format!(
                "command: {start}... has {} bytes, and Linux passes no argument or variable of more than {}; \
                 push a file into the container instead",
                word.len(),
                args::EXEC_WORD_MAX, start = quoted(&start)
            ));
        }
    }
    if let Some(variable) = exec.environment.iter().find(|v| v.find('=').is_none_or(|at| at == 0)) {
        return wrong(format!(
            "environment: {variable} is no variable; write NAME=value",
            variable = quoted(variable)
        ));
    }
    match &exec.directory {
        Some(path) if !path.starts_with('/') => {
            wrong(format!("directory {path}: give an absolute path in the container", path = quoted(path)))
        }
        _ => Ok(()),
    }
}

fn decode<T: DeserializeOwned>(arguments: &[u8]) -> Result<T> {
    check(arguments)?;
    from_fields(arguments).map_err(unreadable)
}

/// Unknown fields are ignored, but not damaged ones, nor nesting that nothing could read.
fn check(arguments: &[u8]) -> Result<()> {
    let damaged = |e| Error::new(Code::InvalidArgument, format_args!("the arguments cannot be read: {e}"));
    Fields::new(arguments).check().map_err(damaged)
}

fn unreadable(error: openwrt_ubus::Error) -> Error {
    Error::new(Code::InvalidArgument, error.to_string())
}

pub(super) fn encode(reply: &impl Serialize) -> Result<Vec<u8>> {
    to_fields(reply).map_err(cannot_encode)
}

/// A reply made of lists, whose entries have their name and those of their other fields that are asked for.
/// None means all.
fn encode_entries(reply: &impl Serialize, mut fields: Vec<String>) -> Result<Vec<u8>> {
    if fields.is_empty() {
        return encode(reply);
    }
    fields.push("name".into());
    to_chosen_fields(reply, 2, fields).map_err(cannot_encode)
}

fn cannot_encode(error: openwrt_ubus::Error) -> Error {
    Error::new(Code::Failed, format_args!("cannot encode the reply: {error}"))
}

/// When a reply held back for `seconds` is due.
fn deadline(seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(args::WAIT_MAX).into())
}
