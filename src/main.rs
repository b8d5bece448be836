//! The program: a daemon, and a command that talks to it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&mut std::env::args_os().skip(1))
}
