//! `cloudbox log`: what a container wrote to its console.

use super::args::Args;
use super::bus::Context;
use super::page;
use super::request;
use super::text::harmless;
use super::view::View;
use super::{complain, Failure, OK, REFUSED};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often the file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// Prints the last lines; with `--follow` what comes, too, until Ctrl-C.
pub fn run(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let followed = args.flag("follow").then(|| open(context, args)).transpose()?;
    let reply = context.call(&request::one(args, "cloudbox.container log")?)?;
    if args.json {
        page::print_json(&reply)?;
    } else {
        let view = View::new(&reply);
        show(&view.raw("log"))?;
        if view.flag("truncated") && args.value("lines").is_none() {
            complain("there are earlier lines; --lines 100000 shows all that are kept");
        }
    }
    match followed {
        Some((path, file)) => follow(&path, file),
        None => Ok(OK),
    }
}

/// The container's log, at its present end.
fn open(context: &mut Context, args: &Args) -> Result<(String, File), Failure> {
    let reply = context.call(&request::container_info(args.operand(0))?)?;
    let view = View::new(&reply);
    let first_boot = view.table("first_boot").filter(|_| args.flag("first-boot"));
    let path = first_boot.map_or_else(|| view.raw("console_log"), |it| it.raw("log")).into_owned();
    let opened = File::open(&path).and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
    let file = opened.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "the container was never started",
            _ => "only root may follow a log; try as root",
        };
        Failure::new(REFUSED, format_args!("cannot read {path}: {error}; {remedy}"))
    })?;
    Ok((path, file))
}

/// Shows what is added to `file`, and to the one that takes its place.
fn follow(path: &str, mut file: File) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::new(REFUSED, format_args!("cannot read {path}: {error}"));
    let mut chunk = [0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read > 0 {
            show(&String::from_utf8_lossy(&chunk[..read]))?;
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

/// As it was written, but on a terminal without what could take that over.
fn show(text: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return page::write_stdout(harmless(text).as_bytes());
    }
    page::write_stdout(text.as_bytes())
}
