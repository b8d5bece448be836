//! Fetches a file from a web server with the program for that which the box has.
//!
//! The program writes to us, not to the disk: so we see each byte, know how far it is, and end it when more comes than
//! shall. What it says when it fails is passed on.

use crate::error::{Code, Error, Result};
use crate::steps::ctx::Ctx;
use crate::steps::filesystem;
use crate::steps::tool::{failure, Output, Pipes, RunningTool, Tool};
use crate::sys::Rights;
use log::debug;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The programs that do, the best one first. Whoever has curl has installed it; uclient-fetch is on every OpenWrt.
const PROGRAMS: [&str; 3] = ["curl", "uclient-fetch", "wget"];
/// A server that is silent for so long, in seconds, has gone.
const SILENCE: &str = "60";
/// Redirects that are followed.
const REDIRECTS: &str = "10";
/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// The longest a transfer may take: 1 GB at 100 kbit/s.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Why a transfer did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// It may go well the next time.
    Passing(Error),
    /// The server does not go on in the middle of a file.
    NoResume,
    /// It will fail the next time as well.
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Lasting(error)
    }
}

/// What to fetch.
pub struct Transfer<'a> {
    /// The job it belongs to.
    pub ctx: &'a Ctx,
    /// The program that fetches; the best one that is installed when none is named.
    pub program: Option<&'static str>,
    /// The longest it may take, when that is less than usual.
    pub limit: Option<Duration>,
    /// Its address.
    pub url: &'a str,
    /// The file it is written to.
    pub path: &'a Path,
    /// The most bytes it may have.
    pub most: u64,
    /// What it has, when that is known.
    pub total: Option<u64>,
}

impl Transfer<'_> {
    /// Adds to `file`, which has `have` bytes of it, what is missing.
    pub fn run(&self, file: &mut File, have: &mut u64) -> std::result::Result<(), Trouble> {
        let resumed = *have > 0;
        let (mut command, kind) = self.command(*have)?;
        let pipes = Pipes { stdin: false, stdout: true };
        let mut program = RunningTool::start(&mut command, pipes, self.ctx, self.limit.unwrap_or(LIMIT))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let got = program.read(&mut chunk).map_err(|e| self.about(e))?;
            if got == 0 {
                break;
            }
            if *have + got as u64 > self.most {
                if resumed {
                    return Err(Trouble::NoResume);
                }
                return Err(Error::new(
                    Code::Checksum,
                    format_args!("{} is longer than the {} bytes it should have", self.url, self.most),
                )
                .into());
            }
            file.write_all(&chunk[..got]).map_err(|e| Error::io("cannot write", self.path, e))?;
            *have += got as u64;
            self.ctx.bytes(*have, self.total);
        }
        let output = program.end().map_err(|e| self.about(e))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.explain(kind, output)),
        }
    }

    /// The command that writes the file from byte `have` on to its output, and the program's own name.
    fn command(&self, have: u64) -> Result<(Command, &'static str)> {
        let mut found = PROGRAMS.iter().filter(|name| self.program.is_none_or(|only| only == **name));
        let Some(name) = found.find(|name| Tool::find(name).is_ok()) else {
            return Err(Error::new(
                Code::MissingTool,
                "there is no program to fetch files with; install uclient-fetch or curl",
            ));
        };
        let kind = if *name == "wget" { kind_of_wget(&Tool::find(name)?) } else { name };
        // uclient-fetch looks at the file that it goes on with; the others are told how much there is.
        let rights = if kind == "uclient-fetch" { Rights::Files } else { Rights::Pipes };
        let mut command = Tool::confined(name, rights)?;
        let from = have.to_string();
        match kind {
            "curl" => {
                command.args(["--fail", "--silent", "--show-error", "--location", "--max-redirs", REDIRECTS]);
                // A redirect away from TLS would undo what it is for.
                let allowed = if self.url.starts_with("https:") { "=https" } else { "=http,https" };
                command.args(["--proto", allowed, "--proto-redir", allowed]);
                command.args(["--connect-timeout", SILENCE, "--speed-limit", "1", "--speed-time", SILENCE]);
                if have > 0 {
                    command.args(["--continue-at", &from]);
                }
                command.args(["--output", "-", "--url", self.url]);
            }
            "uclient-fetch" => {
                // It goes on behind the end of the file of the address's name in its directory, which is ours.
                command.args(["-T", SILENCE, "-O", "-"]);
                if have > 0 {
                    command.arg("-c");
                }
                command.arg(self.url);
                command.current_dir(self.path.parent().unwrap_or(Path::new("/")));
            }
            "busybox" => {
                if have > 0 {
                    // A guess: what is sent anew is longer than what is missing, and noticed by that.
                    debug!("busybox wget fetches {} from its beginning", self.url);
                }
                command.args(["-T", SILENCE, "-O", "-", "--", self.url]);
            }
            _ => {
                command.args([
                    "--no-verbose",
                    "--tries=1",
                    "--timeout",
                    SILENCE,
                    "--max-redirect",
                    REDIRECTS,
                ]);
                if have > 0 {
                    command.args(["--start-pos", &from]);
                }
                command.args(["-O", "-", "--", self.url]);
            }
        }
        Ok((command, kind))
    }

    /// An error of the program, with what it was to fetch.
    fn about(&self, mut error: Error) -> Error {
        if error.code != Code::Cancelled {
            error.message = format!("cannot fetch {}: {}", self.url, error.message);
        }
        error
    }

    fn explain(&self, kind: &str, output: Output) -> Trouble {
        let said = without_chatter(kind, &String::from_utf8_lossy(&output.stderr));
        let status = output.status.code().unwrap_or(0);
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let busy =
            has(&["error: 50", "error: 429", "ERROR 50", "ERROR 429", "HTTP error 50", "HTTP error 429"]);
        let unlucky: &[i32] = match kind {
            "curl" => &[6, 7, 16, 18, 28, 35, 52, 55, 56, 92],
            _ => &[4],
        };
        if (kind, status) == ("curl", 33) || has(&["error: 416", "ERROR 416", "HTTP error 416"]) {
            return Trouble::NoResume;
        }
        let name = if kind == "busybox" { "wget" } else { kind };
        let error = self.about(failure(name, output.status, said.as_bytes()));
        match busy || unlucky.contains(&status) {
            true => Trouble::Passing(error),
            false => Trouble::Lasting(error),
        }
    }
}

/// What a program called wget is.
fn kind_of_wget(path: &Path) -> &'static str {
    let real = filesystem::real_path(path).unwrap_or_default();
    match real.file_name().map(|name| name.to_string_lossy()) {
        Some(name) if name.starts_with("busybox") => "busybox",
        Some(name) if name == "uclient-fetch" => "uclient-fetch",
        _ => "wget",
    }
}

/// What a program said, without what it says when all is well: uclient-fetch is either silent or talks of everything.
fn without_chatter(kind: &str, said: &str) -> String {
    const CHATTER: [&str; 5] = ["Downloading '", "Connecting to ", "Writing to ", "Redirected to ", "-  "];
    if kind != "uclient-fetch" {
        return said.to_string();
    }
    let is_news = |line: &&str| {
        !line.is_empty() && !CHATTER.iter().any(|chatter| line.starts_with(chatter)) && !line.contains("% |")
    };
    let lines: Vec<&str> = said.split(['\n', '\r']).map(str::trim).filter(is_news).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uclient_fetch_is_heard_without_its_chatter() {
        let said = "Downloading 'http://127.0.0.1:1/x'\nConnecting to 127.0.0.1:1\nConnection error: Connection failed\n";
        assert_eq!(without_chatter("uclient-fetch", said), "Connection error: Connection failed");
        let said = "Downloading 'x'\nWriting to stdout\n\r-   12% |***   | 10 0:00:01 ETA\rConnection reset prematurely\n";
        assert_eq!(without_chatter("uclient-fetch", said), "Connection reset prematurely");
        assert_eq!(without_chatter("curl", "a\nb"), "a\nb");
    }
}
