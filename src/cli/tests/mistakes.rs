//! Wrong words, and words that ask for help.

use super::{action, words};
use crate::cli::line::Line;
use crate::cli::mistake::Stop;
use crate::cli::{command, help};

#[test]
fn wrong_usage_is_explained() {
    for (line, message) in [
        ("lsit", "there is no command `lsit`; did you mean `cloudbox list`?"),
        ("images", "there is no command `images`; did you mean `cloudbox image list`?"),
        ("imgae list", "there is no command `imgae`; did you mean `cloudbox image`?"),
        ("image lst", "there is no command `image lst`; did you mean `cloudbox image list`?"),
        ("image frobnicate x", "there is no command `image frobnicate`; `cloudbox help` lists them all"),
        ("frobnicate", "there is no command `frobnicate`; `cloudbox help` lists them all"),
        ("\x1b[1m", "there is no command `\\u{1b}[1m`; `cloudbox help` lists them all"),
        ("--json", "a command is missing; `cloudbox help` lists them all"),
        ("--memory 1 create", "no option --memory before the command; `cloudbox help` lists what there is"),
        ("create web --memroy 1", "`create` has no option --memroy; did you mean --memory?"),
        ("create web --mem 1", "`create` has no option --mem; did you mean --memory?"),
        ("list --frobnicate", "`list` has no option --frobnicate; `cloudbox help list` lists those it has"),
        ("list -x", "`list` has no option -x; `cloudbox help list` lists those it has"),
        ("log web -n 20", "`log` has no option -n; did you mean --lines?"),
        ("log web --tail 20", "`log` has no option --tail; did you mean --lines?"),
        ("info web -f json", "`info` has no option -f; did you mean --json?"),
        (
            "exec -it web bash",
            "`exec` has no option -i and gives the program no terminal; `cloudbox shell` opens one",
        ),
        ("push -r . web:/srv", "`push` has no option -r; for a directory: tar, and `cloudbox exec`"),
        ("list web", "\"web\" is too much for `list`: cloudbox list [OPTIONS]"),
        ("set web memory 512M", "`set` takes memory as an option: --memory 512M"),
        ("set web memory=512M", "`set` takes memory as an option: --memory 512M"),
        ("snapshot delete web s1", "`snapshot delete` is one word: cloudbox snapshot-delete web s1"),
        ("info", "`info` needs NAME: cloudbox info [OPTIONS] <NAME>; `cloudbox help info` shows examples"),
        (
            "exec web",
            "`exec` needs PROGRAM: cloudbox exec [OPTIONS] <NAME> -- <PROGRAM> [ARGUMENT]...; \
             `cloudbox help exec` shows examples",
        ),
        ("create web --memory", "missing argument for option '--memory'"),
        ("list -s", "missing argument for option '--socket'"),
        ("list --json=yes", "unexpected argument for option '--json': \"yes\""),
        ("daemon -fä", "`daemon` has no option -ä; `cloudbox help daemon` lists those it has"),
        ("stop web --timeout -1", "--timeout \"-1\" is no number of seconds; write a whole one, such as 60"),
        ("log web --lines x", "--lines \"x\" is no number of lines; write a whole one, such as 60"),
        ("set web --autostart on", "--autostart \"on\": write yes or no"),
        ("create web --restart x", "--restart \"x\": write no, on-failure or always"),
        ("pull a b", "\"a\" is no place in a container; write NAME:/PATH, such as web:/etc/motd"),
        ("help lsit", "there is no command `lsit`; did you mean `cloudbox list`?"),
    ] {
        let Err(failure) = action(line) else { panic!("{line} is right") };
        assert_eq!((failure.exit, failure.message.as_str()), (2, message), "{line}");
    }
}

/// What is said instead of running `line`, and whether that was asked for.
fn explained(line: &str) -> (String, bool) {
    match Line::read(&words(line)) {
        Err(Stop::Explain(text)) => (text, true),
        Err(Stop::Incomplete(text)) => (text, false),
        _ => panic!("{line} asks for no help"),
    }
}

#[test]
fn help_and_version_need_nothing_else() {
    assert!(explained("").0.starts_with("cloudbox makes") && !explained("").1);
    assert_eq!(explained("-h").0, explained("").0);
    for line in ["job", "job --json", "-s /x job"] {
        let (group, asked) = explained(line);
        assert!(group.contains("\n  job wait ") && !group.contains("image") && !asked, "{group}");
        assert_eq!(explained("job -h"), (group, true));
    }
    for line in ["-V", "--version", "list --version"] {
        assert_eq!(explained(line), (concat!("cloudbox ", env!("CARGO_PKG_VERSION"), "\n").into(), true));
    }
}

#[test]
fn a_command_is_explained() {
    assert_eq!(
        explained("stop web --help").0,
        "\
Usage: cloudbox stop [OPTIONS] <NAME>...

Stop containers.

A container is asked to shut down, and killed when it has not done so after
--timeout seconds (30 unless said otherwise).

Examples
  # gently
  cloudbox stop web
  # with less patience
  cloudbox stop --timeout 5 web
  # at once, as if its plug were pulled
  cloudbox stop --force web

Options
      --timeout <SECONDS>  how long it may take to shut down
  -f, --force              kill it at once
      --no-wait            print the job's number at once instead of following the job
  -s, --socket <SOCKET>    ubusd's socket, instead of UBUS_SOCKET or the usual one
      --json               print replies as JSON, as they came
  -h, --help               print help
"
    );
}

#[test]
fn help_fits_a_terminal_and_names_everything() {
    let (overview, _) = explained("--help");
    let mut root = command();
    root.build();
    for (name, _) in help::leaves(&root) {
        assert!(overview.contains(&format!("\n  {name} ")), "{name}");
        let page = explained(&format!("{name} --help")).0;
        for line in page.lines().chain(overview.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
            assert_eq!(line.trim_end(), line, "{name}");
        }
    }
}
