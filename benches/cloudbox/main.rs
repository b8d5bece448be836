//! `make bench`: cloudbox side by side with what it is compared with, in one run (DESIGN.md section 9).
//!
//! `scripts/bench.sh` prepares what is needed and says how to call it. Everything happens on directories, a bridge and
//! a bus of the bench's own; nothing of them is left.

mod bare;
mod measure;
mod options;
mod process;
mod rows;
mod table;
mod world;

use options::{Mode, Options};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let result = match options::parse() {
        Ok(Mode::Measure(options)) => measure_all(&options),
        Ok(Mode::Object(socket)) => rows::bus::serve(&socket),
        Ok(Mode::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(options: &Options) -> Result<()> {
    process::catch_signals()?;
    // LXC's monitors lose their parent. They become ours, so that they are reaped whatever this machine's init does.
    nix::sys::prctl::set_child_subreaper(true)?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    // What has been measured is worth seeing even if something fails later on.
    let mut done = Vec::new();
    let result = rows::measure(options, &mut done);
    println!("\n{}", table::heading(options, &load));
    print!("{}", table::render(&done));
    result
}
