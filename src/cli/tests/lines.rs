//! What command lines lead to: calls, help, or a reason why not.

use super::{action, in_words, read, requests, words};
use crate::cli::line::FAMILIES;
use crate::cli::mistake::Stop;
use crate::cli::{command, help};
use crate::testing::golden;

/// `tests/golden/command-line.txt`: the calls that command lines lead to, or what is said instead.
#[test]
fn command_lines() {
    golden::compare_answers("command-line.txt", |line, _| match read(&words(line)) {
        Ok(action) => requests(action).iter().map(|request| in_words(request) + "\n").collect(),
        Err(Stop::Explain(text)) => text,
        Err(Stop::Incomplete(text)) => text + "exit 2\n",
        Err(Stop::Fail(failure)) => format!("cloudbox: {failure}\nexit {}\n", failure.exit),
    });
    let Err(failure) = action("\x1b[1m") else { panic!("there is such a command") };
    assert!(failure.message.starts_with("there is no command `\\u{1b}[1m`;"), "{failure}");
}

/// The page that `line` asks for.
fn explained(line: &str) -> String {
    match read(&words(line)) {
        Err(Stop::Explain(text)) => text,
        _ => panic!("{line} asks for no help"),
    }
}

#[test]
fn the_version_is_told_at_any_place() {
    for line in ["-V", "--version", "list --version"] {
        assert_eq!(explained(line), concat!("cloudbox ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn help_fits_a_terminal_and_names_everything() {
    let overview = explained("--help");
    let mut root = command();
    root.build();
    for (name, _) in help::leaves(&root) {
        assert!(overview.contains(&format!("\n  {name} ")), "{name}");
        let page = explained(&format!("{name} --help"));
        for line in page.lines().chain(overview.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
            assert_eq!(line.trim_end(), line, "{name}");
        }
    }
}

#[test]
fn every_command_is_of_a_family() {
    let families = FAMILIES.iter().fold(clap::Command::new("cloudbox"), |all, family| (family.describe)(all));
    let names = |all: &clap::Command| -> Vec<String> {
        all.get_subcommands().map(|command| command.get_name().to_string()).collect()
    };
    assert_eq!(names(&families), names(&command()));
}
