//! Help pages, from the command line's types.

use super::text::Table;
use clap::Command;

/// Columns that text is wrapped to.
const COLUMNS: usize = 80;

/// The sections of the overview, and the first command of each.
const SECTIONS: &[(&str, &str)] = &[
    ("Containers", "list"),
    ("Images", "image list"),
    ("Services", "service list"),
    ("The box", "status"),
    ("The commons", "key new"),
    ("Jobs and the bus", "job list"),
];

const BEGIN: &str = "
To begin with
  cloudbox doctor                    is everything there?
  cloudbox image import FILE distro  an image to make containers from
  cloudbox create web                a container, running
  cloudbox exec web -- ip address    a program in it

Exit codes
  0    done
  1    the daemon refused, or a job failed
  2    wrong usage
  3    ubusd or the daemon cannot be reached
  124  it took too long
  130  Ctrl-C; a job that was begun goes on
  `exec` exits as the program did that it ran.

`cloudbox help COMMAND` explains a command and shows examples.
";

/// The explanation of a command, of a group of commands, or of the whole program.
pub fn page(command: &Command) -> String {
    match name(command) {
        "" => overview(command),
        name if command.has_subcommands() => {
            let mut out = format!("Usage: cloudbox {name} COMMAND\n\n");
            summaries(&mut out, &leaves(command));
            out + &format!("\n`cloudbox help {name} COMMAND` explains one of them.\n")
        }
        _ => explanation(command),
    }
}

/// What is typed behind `cloudbox`: `image import`. For a command of a tree that was built.
pub fn name(command: &Command) -> &str {
    let typed = command.get_bin_name().unwrap_or_default();
    typed.split_once(' ').map_or("", |(_, name)| name)
}

fn overview(root: &Command) -> String {
    let about = root.get_about().map(ToString::to_string).unwrap_or_default();
    let mut out = format!("cloudbox {about}.\n\nUsage: cloudbox [OPTION]... COMMAND [ARGUMENT]...\n");
    let mut members = Vec::new();
    for leaf in leaves(root) {
        if let Some((section, _)) = SECTIONS.iter().find(|(_, first)| *first == leaf.0) {
            summaries(&mut out, &std::mem::take(&mut members));
            out.extend(["\n", section, "\n"]);
        }
        members.push(leaf);
    }
    summaries(&mut out, &members);
    out.extend(["\nOptions of every command\n", &options(root), BEGIN]);
    out
}

/// Names of all commands in and below `command`, and what they do.
pub fn leaves(command: &Command) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        if below.has_subcommands() {
            found.extend(leaves(below));
        } else {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            found.push((name(below).to_string(), about));
        }
    }
    found
}

fn summaries(out: &mut String, leaves: &[(String, String)]) {
    let mut table = Table::default();
    for (name, about) in leaves {
        // As wide in every section.
        table.pair(&format!("{name:16}"), about.clone());
    }
    table.write(out, "  ", false);
}

fn explanation(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let details = long.strip_prefix(&*about).unwrap_or_default();
    let mut out = format!("{}\n\n", command.clone().render_usage());
    let mut summary = about.clone();
    if let Some(first) = summary.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    wrap(&mut out, &format!("{summary}."));
    for paragraph in details.split('\n').filter(|paragraph| paragraph.len() > 1) {
        out.push('\n');
        wrap(&mut out, paragraph);
    }
    if let Some(examples) = command.get_after_help() {
        out += &format!("\n{examples}\n");
    }
    out + "\nOptions\n" + &options(command)
}

fn options(command: &Command) -> String {
    let mut plain = command.clone().help_template("{options}").term_width(0);
    format!("{}\n", plain.render_help().to_string().trim_end())
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
