//! `cloudbox log`: what a container wrote to its console.

use super::action::Action;
use super::bus::Context;
use super::failure::{Failure, OK};
use super::page::{write_stdout, Page};
use super::request::{container_info, if_given, Request, CONTAINER};
use super::text::shown;
use super::value::lines;
use super::view::View;
use clap::Args;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often the file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

#[derive(Args, Serialize)]
pub struct Log {
    name: String,
    #[arg(long, value_name = "NUMBER", value_parser = lines, allow_negative_numbers = true)]
    #[arg(help = "how many lines; 100 unless said otherwise")]
    lines: Option<u32>,
    #[arg(short, long, help = "go on with what comes")]
    #[serde(skip)]
    follow: bool,
    #[arg(long, help = "what the first-boot script said, instead")]
    #[serde(serialize_with = "if_given")]
    first_boot: bool,
}

impl Log {
    /// Shows the last lines; with `--follow` what comes, too, until Ctrl-C.
    pub fn action(self, json: bool) -> Result<Action, Failure> {
        let request = Request::new(CONTAINER, "log", &self)?;
        if !self.follow {
            return Ok(Action::show(request, move |view, page| self.show(view, page)));
        }
        Ok(Action::own(move |context| {
            // Opened first: what is written in between is shown twice rather than never.
            let (path, file) = self.open(context)?;
            let reply = context.call(&request)?;
            let mut page = Page::stdout();
            match json {
                true => page.json(&reply)?,
                false => self.show(&View::new(&reply), &mut page),
            }
            page.print()?;
            follow(&path, file)
        }))
    }

    fn show(&self, view: &View<'_>, page: &mut Page) {
        page.text.push_str(&shown(&view.raw("log"), &io::stdout()));
        if view.flag("truncated") && self.lines.is_none() {
            page.complain("there are earlier lines; --lines 100000 shows all that are kept");
        }
    }

    /// The container's log, at its present end.
    fn open(&self, context: &mut Context) -> Result<(String, File), Failure> {
        let reply = context.call(&container_info(&self.name)?)?;
        let view = View::new(&reply);
        let first_boot = view.table("first_boot").filter(|_| self.first_boot);
        let path = first_boot.map_or_else(|| view.raw("console_log"), |it| it.raw("log")).into_owned();
        let opened = File::open(&path).and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        let file = opened.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "the container was never started",
                _ => "only root may follow a log; try as root",
            };
            Failure::refusal(format_args!("cannot read {path}: {error}; {remedy}"))
        })?;
        Ok((path, file))
    }
}

/// Shows what is added to `file`, and to the one that takes its place.
fn follow(path: &str, mut file: File) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::refusal(format_args!("cannot read {path}: {error}"));
    let mut chunk = [0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read > 0 {
            write_stdout(shown(&String::from_utf8_lossy(&chunk[..read]), &io::stdout()).as_bytes())?;
            continue;
        }
        match Path::new(path).metadata() {
            Ok(now) if now.ino() == file.metadata().map_err(failed)?.ino() => std::thread::sleep(LOOK),
            Ok(_) => file = File::open(path).map_err(failed)?,
            // The container was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OK),
            Err(error) => return Err(failed(error)),
        }
    }
}
