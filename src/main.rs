//! The program: a daemon, and a command that talks to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudbox::cli::main()
}
