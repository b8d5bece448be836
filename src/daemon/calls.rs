//! Calls on the bus: what each method is answered with, and when.

use super::answers;
use super::core::{Core, Waiter};
use super::doctor;
use super::work;
use crate::api::{args, replies, Face};
use crate::error::{quoted, Code, Error, Result};
use crate::model::job::{Job, JobId};
use crate::model::name::Name;
use crate::steps::console;
use crate::steps::lxc::Exec;
use openwrt_ubus::read::FromTable;
use openwrt_ubus::{from_table, to_chosen_fields, to_fields, Fields, Request, Status};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

impl Core {
    pub(super) fn call(&mut self, face: Face, method: &str, arguments: &[u8], request: Request) {
        let answered = match (face, method) {
            (Face::Box, "status") => encode(&self.status()),
            (Face::Box, "doctor") => return self.doctor(request),
            (Face::Box, "reload") => encode(&self.reload()),
            (Face::Box, "shutdown") => {
                let asked = decode::<args::Shutdown>(arguments);
                let started = asked.and_then(|args| Ok((self.shut_down(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "list") => decode::<args::List>(arguments)
                .and_then(|args| encode_entries(&self.container_list(), args.fields)),
            (Face::Container, "info") => decode::<args::Named>(arguments)
                .and_then(|args| self.container_info(&Name::new(&args.name)?))
                .and_then(|info| encode(&info)),
            (Face::Container, "create") => {
                let asked = decode::<args::Create>(arguments);
                let started = asked.and_then(|args| Ok((self.create(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "delete") => {
                let asked = decode::<args::Delete>(arguments);
                let started = asked.and_then(|args| Ok((self.delete(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "start") => {
                let asked = decode::<args::Start>(arguments);
                let started =
                    asked.and_then(|args| Ok((self.start_by_hand(&Name::new(&args.name)?)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "stop") => {
                let asked = decode::<args::Stop>(arguments);
                let started = asked.and_then(|args| Ok((self.stop(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "restart") => {
                let asked = decode::<args::Restart>(arguments);
                let started = asked.and_then(|args| Ok((self.restart(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "set") => {
                let asked = decode::<args::Set>(arguments);
                let started =
                    asked.and_then(|args| Ok((self.set(&args)?, args.wait.or(Some(args::WAIT_MAX)))));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "rename") => {
                let started = decode::<args::Rename>(arguments).and_then(|args| self.rename(&args));
                return self.reply_with_job(request, started.map(|job| (job, Some(args::WAIT_MAX))));
            }
            (Face::Container, "freeze" | "unfreeze") => {
                let started = decode::<args::Named>(arguments)
                    .and_then(|args| self.freeze(&Name::new(&args.name)?, method == "freeze"));
                return self.reply_with_job(request, started.map(|job| (job, Some(args::WAIT_MAX))));
            }
            (Face::Container, "exec") => {
                return match decode::<args::Exec>(arguments).and_then(|args| self.check_exec(args)) {
                    Ok((name, exec)) => self.exec(request, name, exec),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Container, "adopt") => {
                let asked = decode::<args::Adopt>(arguments);
                let started = asked.and_then(|args| Ok((self.adopt(&Name::new(&args.name)?)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "prune") => decode::<args::Prune>(arguments)
                .and_then(|args| self.prune(args.yes.unwrap_or(false)))
                .and_then(|reply| encode(&reply)),
            (Face::Container, "log") => {
                return match decode::<args::Log>(arguments).and_then(|args| self.check_log(&args)) {
                    Ok((files, lines)) => self.answer(request, move || {
                        let (log, truncated) = console::tail(&files, lines)?;
                        encode(&replies::LogReply { log: answers::printable(&log), truncated })
                    }),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Container, "snapshots") => {
                return match decode::<args::Named>(arguments) {
                    Ok(args) => self.snapshots(request, &args.name),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Container, "snapshot" | "restore" | "snapshot_delete") => {
                let asked = decode::<args::Snapshot>(arguments);
                let started = asked.and_then(|args| Ok((self.work_on_snapshot(method, &args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "export") => {
                let asked = decode::<args::Export>(arguments);
                let started = asked.and_then(|args| Ok((self.export_container(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Container, "import") => {
                let asked = decode::<args::Import>(arguments);
                return match asked.and_then(|args| self.check_import(&args).map(|_| args)) {
                    Ok(args) => self.look_at_archive(request, args),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Container, "clone") => {
                let asked = decode::<args::Clone>(arguments);
                let started = asked.and_then(|args| Ok((self.clone_container(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Image, "list") => encode(&self.image_list()),
            (Face::Image, "info") => decode::<args::Named>(arguments)
                .and_then(|args| Ok(self.image_entry(&self.find_image(&args.name)?)))
                .and_then(|info| encode(&info)),
            (Face::Image, "import") => {
                let asked = decode::<args::ImageImport>(arguments);
                let started = asked.and_then(|args| Ok((self.import(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Image, "delete") => {
                let started = decode::<args::Named>(arguments)
                    .and_then(|args| Ok((self.delete_image(&args.name)?, Some(args::WAIT_MAX))));
                return self.reply_with_job(request, started);
            }
            (Face::Image, "remotes") => encode(&self.remote_list()),
            (Face::Image, "available") => {
                return match decode::<args::Available>(arguments) {
                    Ok(args) => self.available(request, args),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Image, "pull") => {
                let asked = decode::<args::Pull>(arguments);
                let started = asked.and_then(|args| Ok((self.pull(&args)?, args.wait)));
                return self.reply_with_job(request, started);
            }
            (Face::Image, "prune") => decode::<args::Prune>(arguments)
                .and_then(|args| self.prune_images(args.yes.unwrap_or(false)))
                .and_then(|reply| encode(&reply)),
            (Face::Service, "list") => encode(&self.service_list()),
            (Face::Service, "publish") => {
                let checked = decode::<args::Publish>(arguments).and_then(|args| self.check_publish(&args));
                return match checked {
                    Ok((id, asked)) => self.edit_service(request, id, Some(asked)),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Service, "withdraw") => {
                let checked = decode::<args::Withdraw>(arguments)
                    .and_then(|args| Ok((self.check_withdraw(&args.id)?, args.id)));
                return match checked {
                    Ok((asked, id)) => self.edit_service(request, id, asked),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Service, "browse") => {
                return match decode::<args::Browse>(arguments) {
                    Ok(args) => self.browse(request, &args),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Job, "list") => {
                encode(&replies::JobList { jobs: self.jobs.iter().map(replies::JobReply::from).collect() })
            }
            (Face::Job, "status") => decode::<args::JobId>(arguments)
                .and_then(|args| encode(&replies::JobReply::from(self.jobs.find(&args.id.0)?))),
            (Face::Job, "wait") => {
                return match decode::<args::JobWait>(arguments) {
                    Ok(args) => self.job_wait(request, &args),
                    Err(error) => self.send_reply(request, Err(error)),
                };
            }
            (Face::Job, "cancel") => decode::<args::JobId>(arguments)
                .and_then(|args| self.job_cancel(&args.id.0))
                .and_then(|job| encode(&replies::JobReply::from(&job))),
            _ => return self.connection.complete(request, Status::METHOD_NOT_FOUND),
        };
        self.send_reply(request, answered);
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
                log::error!("a reply of {} bytes cannot be sent: {error}", fields.len());
                self.connection.complete(request, Status::UNKNOWN_ERROR);
            }
        }
    }

    /// Answers with the job's number; with `wait`, when it has ended or the time is up.
    pub(super) fn reply_with_job(&mut self, request: Request, started: Result<(JobId, Option<u32>)>) {
        let (job, wait) = match started {
            Ok((job, wait)) => (job, wait.unwrap_or(0)),
            Err(error) => return self.send_reply(request, Err(error)),
        };
        let waiter = Waiter { job, request, deadline: deadline(wait), whole_job: false };
        let open = self.jobs.get(job).is_some_and(|job| !job.state.is_final());
        if wait > 0 && open {
            self.waiters.push(waiter);
        } else if wait > 0 {
            self.answer_waiter(waiter);
        } else {
            self.send_reply(waiter.request, encode(&replies::Started { job: job.to_string() }));
        }
    }

    pub(super) fn answer_waiter(&mut self, waiter: Waiter) {
        let answer = match self.jobs.get(waiter.job) {
            None => Err(Error::new(Code::NotFound, format!("job {} is no longer known", waiter.job))),
            Some(job) if waiter.whole_job => encode(&replies::JobReply::from(job)),
            Some(Job { error: Some(error), .. }) => {
                Err(Error::new(Code::from_text(&error.code), error.message.clone()))
            }
            Some(job) => encode(&replies::Waited { job: job.id.to_string(), state: job.state.as_str() }),
        };
        self.send_reply(waiter.request, answer);
    }

    pub(super) fn job_wait(&mut self, request: Request, args: &args::JobWait) {
        let (id, open) = match self.jobs.find(&args.id.0) {
            Ok(job) => (job.id, !job.state.is_final()),
            Err(error) => return self.send_reply(request, Err(error)),
        };
        let seconds = args.timeout.unwrap_or(args::WAIT_MAX);
        let waiter = Waiter { job: id, request, deadline: deadline(seconds), whole_job: true };
        if open {
            self.waiters.push(waiter);
        } else {
            self.answer_waiter(waiter);
        }
    }

    pub(super) fn job_cancel(&mut self, id: &str) -> Result<Job> {
        let job = self.jobs.find(id)?.clone();
        let Some(active) = self.active.get(&job.id) else { return Ok(job) };
        if !job.kind.can_be_cancelled() {
            return Err(Error::new(
                Code::NotSupported,
                format!("a {} cannot be cancelled: what is gone does not come back", job.kind.as_str()),
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
        if let Err(error) = work::spawn(move || doctor::report(&machine, &examination)) {
            log::error!("{error}");
        }
    }

    pub(super) fn doctor(&mut self, request: Request) {
        let examination = doctor::Examination::of(self);
        let machine = self.machine.clone();
        self.answer(request, move || encode(&doctor::examine(&machine, &examination)));
    }

    /// Answers from a thread what may take longer than the loop should.
    pub(super) fn answer(&self, request: Request, work: impl FnOnce() -> Result<Vec<u8>> + Send + 'static) {
        if let Err(error) = work::spawn_answer(&self.sender, request, work) {
            log::error!("{error}");
        }
    }

    fn check_log(&self, args: &args::Log) -> Result<(Vec<PathBuf>, usize)> {
        let name = Name::new(&args.name)?;
        self.known(&name)?;
        let dir = self.layout.container(&name);
        let files = match args.first_boot.unwrap_or(false) {
            true => vec![dir.first_boot_log()],
            false => console::files(&dir),
        };
        let lines = args.lines.unwrap_or(args::LOG_LINES);
        Ok((files, usize::try_from(lines).unwrap_or(usize::MAX)))
    }

    pub(super) fn check_exec(&self, args: args::Exec) -> Result<(Name, Exec)> {
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
            let why = format!("timeout {timeout}: give 1 to {} seconds", args::EXEC_TIMEOUT_MAX);
            return Err(Error::new(Code::InvalidArgument, why));
        }
        if self.running(&name)?.frozen {
            let why = format!("container {name} is frozen; unfreeze it first");
            return Err(Error::new(Code::NotRunning, why));
        }
        Ok((name, exec))
    }

    pub(super) fn exec(&mut self, request: Request, name: Name, exec: Exec) {
        let machine = self.machine.clone();
        self.answer(request, move || {
            let ctx = crate::steps::ctx::Ctx::silent()?;
            let output = machine.runtime.exec(&ctx, &name, &exec)?;
            encode(&replies::ExecReply {
                code: output.code,
                stdout: answers::printable(&output.stdout),
                stderr: answers::printable(&output.stderr),
                truncated: output.truncated,
            })
        });
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

fn decode<T: FromTable>(arguments: &[u8]) -> Result<T> {
    // Unknown fields are ignored, but not damaged ones, nor nesting that nothing could read.
    let damaged = |e| Error::new(Code::InvalidArgument, format!("the arguments cannot be read: {e}"));
    Fields::new(arguments).check().map_err(damaged)?;
    from_table(arguments).map_err(|e| Error::new(Code::InvalidArgument, e.to_string()))
}

pub(super) fn encode(reply: &impl Serialize) -> Result<Vec<u8>> {
    to_fields(reply).map_err(cannot_encode)
}

/// A reply made of lists, whose entries have their name and those of their other fields that are asked for.
fn encode_entries(reply: &impl Serialize, fields: Option<Vec<String>>) -> Result<Vec<u8>> {
    let Some(mut fields) = fields.filter(|fields| !fields.is_empty()) else { return encode(reply) };
    fields.push("name".into());
    to_chosen_fields(reply, 2, fields).map_err(cannot_encode)
}

fn cannot_encode(error: openwrt_ubus::Error) -> Error {
    Error::new(Code::Failed, format!("cannot encode the reply: {error}"))
}

/// When a reply held back for `seconds` is due.
fn deadline(seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(args::WAIT_MAX).into())
}
