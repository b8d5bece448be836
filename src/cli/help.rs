//! `--help` and `cloudbox help`, from the table of commands.

use super::args::{unknown_command, Args};
use super::bus::Context;
use super::commands::{self, Command, Opt, COMMANDS, GLOBAL, SECTIONS};
use super::page::write_stdout;
use super::text::Table;
use super::{Failure, OK};

/// Columns that text is wrapped to.
const COLUMNS: usize = 80;

/// What is to be explained.
#[derive(Clone)]
pub enum Topic {
    /// What there is.
    Overview,
    /// `image`
    Group(String),
    /// `image import`
    Command(&'static Command),
}

/// `cloudbox help`
pub fn run(_: &mut Context, args: &Args) -> Result<u8, Failure> {
    let name = args.operands.join(" ");
    let topic = match commands::find(&name) {
        Some(command) => Topic::Command(command),
        None if name.is_empty() => Topic::Overview,
        None if !commands::group(&name).is_empty() => Topic::Group(name),
        None => return Err(unknown_command(&name)),
    };
    write_stdout(text(topic).as_bytes())?;
    Ok(OK)
}

/// The explanation of `topic`.
pub fn text(topic: Topic) -> String {
    match topic {
        Topic::Overview => overview(),
        Topic::Group(name) => {
            let mut out = format!("Usage: cloudbox {name} COMMAND\n\n");
            summaries(&mut out, &commands::group(&name));
            out.push_str(&format!("\n`cloudbox help {name} COMMAND` explains one of them.\n"));
            out
        }
        Topic::Command(command) => explain(command),
    }
}

fn overview() -> String {
    let mut out = String::from(
        "cloudbox makes this box a host of a community cloud: containers on OpenWrt.\n\n\
         Usage: cloudbox [OPTION]... COMMAND [ARGUMENT]...\n",
    );
    let mut members: Vec<&Command> = Vec::new();
    for command in COMMANDS {
        if let Some((section, _)) = SECTIONS.iter().find(|(_, first)| *first == command.name()) {
            summaries(&mut out, &std::mem::take(&mut members));
            out.extend(["\n", section, "\n"]);
        }
        members.push(command);
    }
    summaries(&mut out, &members);
    out.push_str("\nOptions of every command\n");
    options(&mut out, &[GLOBAL]);
    out.push_str(
        "\nTo begin with\n  \
         cloudbox doctor                    is everything there?\n  \
         cloudbox image import FILE distro  an image to make containers from\n  \
         cloudbox create web                a container, running\n  \
         cloudbox exec web -- ip address    a program in it\n\
         \nExit codes\n  \
         0    done\n  \
         1    the daemon refused, or a job failed\n  \
         2    wrong usage\n  \
         3    ubusd or the daemon cannot be reached\n  \
         124  it took too long\n  \
         130  Ctrl-C; a job that was begun goes on\n  \
         `exec` exits as the program did that it ran.\n\
         \n`cloudbox help COMMAND` explains a command and shows examples.\n",
    );
    out
}

fn explain(command: &Command) -> String {
    let mut out = format!("Usage: cloudbox {}\n\n", command.synopsis());
    let mut summary = command.summary().to_string();
    if let Some(first) = summary.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    wrap(&mut out, &format!("{summary}."));
    for paragraph in command.details().split('\n').filter(|paragraph| !paragraph.is_empty()) {
        out.push('\n');
        wrap(&mut out, paragraph);
    }
    out.push_str("\nExamples\n");
    for example in command.examples() {
        let (example, meaning) = example.split_once("  # ").unwrap_or_default();
        out.extend(["  # ", meaning, "\n  cloudbox ", example, "\n"]);
    }
    out.push_str("\nOptions\n");
    options(&mut out, &[&command.options(), GLOBAL]);
    out
}

fn summaries(out: &mut String, commands: &[&Command]) {
    let mut table = Table::default();
    // As wide in every section.
    let width = COMMANDS.iter().map(|command| command.name().len()).max().unwrap_or(0);
    for command in commands {
        table.pair(&format!("{:width$}", command.name()), command.summary().to_string());
    }
    table.write(out, "  ", false);
}

fn options(out: &mut String, groups: &[&[&'static str]]) {
    let mut table = Table::default();
    for line in groups.concat() {
        let option = Opt::of(line);
        let indent = if option.short.is_empty() { "    " } else { "" };
        table.pair(&[indent, option.names].concat(), option.help.to_string());
    }
    table.write(out, "  ", false);
}

/// Adds `text` in lines of at most [`COLUMNS`].
fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > COLUMNS {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal_and_names_everything() {
        let overview = text(Topic::Overview);
        for command in COMMANDS {
            assert!(overview.contains(&format!("\n  {} ", command.name())), "{}", command.name());
            let help = text(Topic::Command(command));
            assert!(command.all_options().iter().all(|option| help.contains(&format!("--{}", option.long))));
            for line in help.lines().chain(overview.lines()) {
                assert!(line.chars().count() <= 100, "{line}");
                assert_eq!(line.trim_end(), line, "{}", command.name());
            }
        }
    }

    #[test]
    fn a_command_is_explained() {
        let Some(command) = commands::find("stop") else { panic!() };
        assert_eq!(
            text(Topic::Command(command)),
            "\
Usage: cloudbox stop NAME... [OPTION]...

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
      --timeout SECONDS  how long it may take to shut down
  -f, --force            kill it at once
      --no-wait          print the job's number at once instead of following the job
  -s, --socket SOCKET    ubusd's socket, instead of UBUS_SOCKET or the usual one
      --json             print replies as JSON, as they came
  -h, --help             print help
"
        );
    }

    #[test]
    fn a_group_is_explained() {
        let help = text(Topic::Group("job".into()));
        assert!(help.contains("\n  job wait "), "{help}");
        assert!(!help.contains("image"), "{help}");
    }
}
