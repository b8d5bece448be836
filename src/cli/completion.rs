//! Completion scripts for shells, from the table of commands. BusyBox's ash has nothing of the kind.

use super::args::Args;
use super::bus::Context;
use super::commands::{self, bare, Command, Opt, COMMANDS, GLOBAL};
use super::page::write_stdout;
use super::{Failure, OK};
use cloudbox::error::quoted;
use std::fmt::Write;

/// Shells there is a script for.
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// What a word is.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    /// Anything.
    Any,
    /// A container's name.
    Container,
    /// An image's name.
    Image,
    /// A service's id.
    Service,
    /// A job's number.
    Job,
    /// A file.
    File,
    /// A command of the table.
    Command,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// What an operand of `command` is.
fn of_operand(command: &Command, operand: &str) -> Values {
    match (command.name(), bare(operand)) {
        ("create" | "import" | "image import", "NAME") => Values::Any,
        (name, "NAME") if name.starts_with("image ") => Values::Image,
        (_, "NAME" | "CONTAINER") => Values::Container,
        (_, "PATH" | "FILE" | "DIRECTORY" | "IMAGE") => Values::File,
        ("service withdraw", "ID") => Values::Service,
        (_, "ID") => Values::Job,
        ("browse", "TYPE") => Values::OneOf(&["_http._tcp", "_ssh._tcp", "_cloudbox._tcp"]),
        (_, "TYPE") => Values::OneOf(&["_http._tcp", "_ssh._tcp", "_https._tcp"]),
        (_, "OBJECT") => Values::OneOf(&[
            "cloudbox",
            "cloudbox.container",
            "cloudbox.image",
            "cloudbox.service",
            "cloudbox.job",
        ]),
        (_, "SHELL") => Values::OneOf(SHELLS),
        (_, "COMMAND") => Values::Command,
        _ => Values::Any,
    }
}

/// What the first operand of `command` is.
fn of_first(command: &Command) -> Values {
    command.operands().first().map_or(Values::Any, |first| of_operand(command, first))
}

/// What the value of `option` is.
fn of_option(option: &Opt) -> Values {
    match (option.long, option.value) {
        ("address", _) => Values::OneOf(&["dhcp"]),
        ("restart", _) => Values::OneOf(&["no", "on-failure", "always"]),
        ("protocol", _) => Values::OneOf(&["any", "ipv4", "ipv6"]),
        ("check", _) => Values::OneOf(&["tcp", "none"]),
        (_, "YES|NO") => Values::OneOf(&["yes", "no"]),
        (_, "IMAGE") => Values::Image,
        (_, "FILE" | "KEY" | "DIRECTORY" | "SOCKET") => Values::File,
        _ => Values::Any,
    }
}

fn global() -> Vec<Opt> {
    GLOBAL.iter().map(|line| Opt::of(line)).collect()
}

fn own(command: &Command) -> Vec<Opt> {
    command.options().iter().map(|line| Opt::of(line)).collect()
}

/// `cloudbox completion`
pub fn run(_: &mut Context, args: &Args) -> Result<u8, Failure> {
    let script = match args.operand(0) {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        other => {
            let known = SHELLS.join(", ");
            return Err(Failure::usage(format_args!(
                "there is no completion for {other}, only for {known}",
                other = quoted(other)
            )));
        }
    };
    write_stdout(script.as_bytes())?;
    Ok(OK)
}

/// The command that prints the values of this kind; empty when there is none.
fn source(values: Values) -> &'static str {
    match values {
        Values::Container => "cloudbox list --names 2>/dev/null",
        Values::Image => "cloudbox image list --names 2>/dev/null",
        Values::Service => "cloudbox service list --names 2>/dev/null",
        Values::Job => "cloudbox job list --names 2>/dev/null",
        _ => "",
    }
}

/// Words that may stand first, and first words that another one follows.
fn first_words() -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut all, mut groups) = (Vec::new(), Vec::new());
    for command in COMMANDS {
        let (word, group) = match command.name().split_once(' ') {
            Some((group, _)) => (group, true),
            None => (command.name(), false),
        };
        if !all.contains(&word) {
            all.push(word);
            if group {
                groups.push(word);
            }
        }
    }
    (all, groups)
}

/// What a first word leads to.
fn summary(word: &str) -> &'static str {
    commands::find(word).map_or("several commands", |command| command.summary())
}

fn second_words(group: &str) -> Vec<&'static str> {
    let words = COMMANDS.iter().filter_map(|command| command.name().split_once(' '));
    words.filter(|(first, _)| *first == group).map(|(_, second)| second).collect()
}

/// What completes a word, for bash.
fn bash_words(values: Values) -> String {
    match values {
        Values::Any => String::new(),
        Values::OneOf(words) => format!("words='{}'", words.join(" ")),
        Values::Command => format!("words='{}'", first_words().0.join(" ")),
        Values::File => "files=1".to_string(),
        _ => format!("words=$({})", source(values)),
    }
}

fn bash() -> String {
    let (first, groups) = first_words();
    let mut out = format!(
        "# bash completion of cloudbox\n\
         _cloudbox() {{\n\
         \tlocal cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \tlocal cmd='' i word words='' opts='' files=''\n\
         \tfor ((i = 1; i < COMP_CWORD; i++)); do\n\
         \t\tword=${{COMP_WORDS[i]}}\n\
         \t\tcase $word in\n\
         \t\t-s | --socket) ((i++)) ;;\n\
         \t\t--) return ;;\n\
         \t\t-*) ;;\n\
         \t\t*)\n\
         \t\t\tcase $cmd in\n\
         \t\t\t'' | {}) cmd=${{cmd:+$cmd }}$word ;;\n\
         \t\t\tesac\n\
         \t\t\t;;\n\
         \t\tesac\n\
         \tdone\n\
         \tcase $cmd in\n\
         \t'') words='{}' opts='{} --version' ;;\n",
        groups.join(" | "),
        first.join(" "),
        long_options(&global()),
    );
    for group in groups {
        let _ = writeln!(out, "\t{group}) words='{}' ;;", second_words(group).join(" "));
    }
    for command in COMMANDS {
        let operand = bash_words(of_first(command));
        let options = long_options(&command.all_options());
        let _ = writeln!(out, "\t'{}') opts='{options}' {operand} ;;", command.name());
    }
    out.push_str("\tesac\n\tcase \"$cmd $prev\" in\n");
    for option in global().iter().filter(|option| !option.value.is_empty()) {
        let short = if option.short.is_empty() { "" } else { &format!(" | *' {}'", option.short) };
        let _ = writeln!(out, "\t*' --{}'{short}) opts='' {} ;;", option.long, bash_words(of_option(option)));
    }
    for command in COMMANDS {
        for option in own(command).iter().filter(|option| !option.value.is_empty()) {
            let words = match of_option(option) {
                Values::Any => ":".to_string(),
                values => bash_words(values),
            };
            let _ = writeln!(
                out,
                "\t'{} --{}') opts='' words='' files=''; {words} ;;",
                command.name(),
                option.long
            );
        }
    }
    out.push_str(
        "\tesac\n\
         \t[[ $cur == -* ]] && words=$opts files=''\n\
         \tif [[ $files ]]; then\n\
         \t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\
         \t\tcompopt -o filenames 2>/dev/null\n\
         \telse\n\
         \t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n\
         \tfi\n\
         }\n\
         complete -F _cloudbox cloudbox\n",
    );
    out
}

fn long_options(options: &[Opt]) -> String {
    let names: Vec<String> = options.iter().map(|option| format!("--{}", option.long)).collect();
    names.join(" ")
}

/// What completes a word, as the action of zsh's `_arguments`.
fn zsh_action(values: Values) -> String {
    match values {
        Values::Any => " ".to_string(),
        Values::OneOf(words) => format!("({})", words.join(" ")),
        Values::Command => format!("({})", first_words().0.join(" ")),
        Values::File => "_files".to_string(),
        _ => format!("{{compadd -- ${{(f)\"$({})\"}}}}", source(values)),
    }
}

fn zsh_option(option: &Opt) -> String {
    let repeat = if option.long == "key" { "*" } else { "" };
    let value = match option.value {
        "" => String::new(),
        value => format!(":{value}:{}", zsh_action(of_option(option))),
    };
    let help = zsh_text(option.help);
    let long = option.long;
    match option.short {
        "" => format!("'{repeat}--{long}[{help}]{value}'"),
        short => format!("'({short} --{long})'{{{short},--{long}}}'[{help}]{value}'"),
    }
}

/// Text within single quotes and brackets of `_arguments`.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh() -> String {
    let (first, groups) = first_words();
    let mut out = String::from("#compdef cloudbox\n# zsh completion of cloudbox\n_cloudbox() {\n");
    out.push_str("\tlocal cmd= word\n\tlocal -i i at=1\n\tlocal -a list\n");
    let _ = write!(
        out,
        "\tfor ((i = 2; i < CURRENT; i++)); do\n\
         \t\tword=$words[i]\n\
         \t\tcase $word in\n\
         \t\t(-s|--socket) ((i++)) ;;\n\
         \t\t(-*) ;;\n\
         \t\t(*)\n\
         \t\t\tcase $cmd in\n\
         \t\t\t(''|{}) cmd=${{cmd:+$cmd }}$word; at=i ;;\n\
         \t\t\tesac\n\
         \t\t\t;;\n\
         \t\tesac\n\
         \tdone\n\
         \tcase $cmd in\n\
         \t('')\n\t\tlist=(",
        groups.join("|")
    );
    for word in first {
        let summary = summary(word);
        let _ = write!(out, "'{word}:{}' ", summary.replace('\'', "'\\''"));
    }
    let global: Vec<String> = global().iter().map(zsh_option).collect();
    let _ = writeln!(
        out,
        ")\n\t\tif [[ $words[CURRENT] == -* || $words[CURRENT-1] == (-s|--socket) ]]; then\n\
         \t\t\t_arguments {} '--version[print the version]'\n\
         \t\telse\n\t\t\t_describe command list\n\t\tfi\n\t\treturn ;;",
        global.join(" ")
    );
    for group in groups {
        let _ = writeln!(out, "\t({group}) compadd -- {}; return ;;", second_words(group).join(" "));
    }
    out.push_str(
        "\tesac\n\twords=(\"$cmd\" \"${(@)words[at+1,-1]}\")\n\t((CURRENT -= at - 1))\n\tcase $cmd in\n",
    );
    for command in COMMANDS {
        let mut rules: Vec<String> = command.all_options().iter().map(zsh_option).collect();
        rules.extend(command.operands().iter().enumerate().map(|(index, operand)| {
            let (name, action) = (bare(operand), zsh_action(of_operand(command, operand)));
            match *operand {
                "[COMMAND]" => format!("'*::{name}:{action}'"),
                _ if operand.starts_with("-- ") => format!("'*::{name}:{action}'"),
                _ if operand.ends_with("...") => format!("'*:{name}:{action}'"),
                _ if operand.starts_with('[') => format!("'{}::{name}:{action}'", index + 1),
                _ => format!("'{}:{name}:{action}'", index + 1),
            }
        }));
        let _ = writeln!(out, "\t('{}') _arguments {} ;;", command.name(), rules.join(" "));
    }
    out.push_str("\tesac\n}\nif [[ $funcstack[1] == _cloudbox ]]; then _cloudbox \"$@\"; else compdef _cloudbox cloudbox; fi\n");
    out
}

fn fish() -> String {
    let (first, groups) = first_words();
    let mut out = String::from("# fish completion of cloudbox\ncomplete -c cloudbox -f\n");
    for option in &global() {
        fish_option(&mut out, "", option);
    }
    for word in &first {
        let summary = summary(word);
        let _ = writeln!(
            out,
            "complete -c cloudbox -n __fish_use_subcommand -a {word} -d {}",
            fish_text(summary)
        );
    }
    for command in COMMANDS {
        let condition = fish_condition(command, &groups);
        if let Some((group, second)) = command.name().split_once(' ') {
            let others = second_words(group).join(" ");
            let _ = writeln!(
                out,
                "complete -c cloudbox -n '__fish_seen_subcommand_from {group}; and not __fish_seen_subcommand_from {others}' -a {second} -d {}",
                fish_text(command.summary())
            );
        }
        for option in &own(command) {
            fish_option(&mut out, &condition, option);
        }
        match of_first(command) {
            Values::Any => {}
            Values::File => {
                let _ = writeln!(out, "complete -c cloudbox{condition} -F");
            }
            values => {
                let _ = writeln!(out, "complete -c cloudbox{condition} -a {}", fish_words(values));
            }
        }
    }
    out
}

fn fish_condition(command: &Command, groups: &[&str]) -> String {
    match command.name().split_once(' ') {
        Some((group, second)) => {
            format!(" -n '__fish_seen_subcommand_from {group}; and __fish_seen_subcommand_from {second}'")
        }
        None => format!(
            " -n '__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}'",
            command.name(),
            groups.join(" ")
        ),
    }
}

fn fish_option(out: &mut String, condition: &str, option: &Opt) {
    let short = match option.short.strip_prefix('-') {
        Some(letter) => format!(" -s {letter}"),
        None => String::new(),
    };
    let value = match (option.value, of_option(option)) {
        ("", _) => String::new(),
        (_, Values::Any) => " -x".to_string(),
        (_, Values::File) => " -r -F".to_string(),
        (_, values) => format!(" -x -a {}", fish_words(values)),
    };
    let help = fish_text(option.help);
    let _ = writeln!(out, "complete -c cloudbox{condition}{short} -l {}{value} -d {help}", option.long);
}

fn fish_words(values: Values) -> String {
    match values {
        Values::OneOf(words) => format!("'{}'", words.join(" ")),
        Values::Command => format!("'{}'", first_words().0.join(" ")),
        _ => format!("'({})'", source(values)),
    }
}

fn fish_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What bash offers for `words`, the last of which is being typed.
    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "cloudbox() {{ case \"$*\" in 'list --names') echo web db;; 'image list --names') echo distro;; esac; }}\n\
             {}\nCOMP_WORDS=({}); COMP_CWORD={}\n_cloudbox\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            bash(),
            words.join(" "),
            words.len() - 1
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn bash_offers_what_fits() {
        if Command::new("bash").arg("--version").output().is_err() {
            eprintln!("skipped: there is no bash here");
            return;
        }
        for (words, expected) in [
            (&["cloudbox", "cre"][..], &["create"][..]),
            (
                &["cloudbox", "image", ""],
                &["list", "info", "import", "remotes", "available", "pull", "prune", "publish", "delete"],
            ),
            (&["cloudbox", "start", ""], &["web", "db"]),
            (&["cloudbox", "-s", "/x", "--json", "stop", "web", "d"], &["db"]),
            (&["cloudbox", "create", "web", "--image", ""], &["distro"]),
            (&["cloudbox", "create", "web", "--memory", ""], &[]),
            (&["cloudbox", "create", "web", "--no-"], &["--no-autostart", "--no-start", "--no-wait"]),
            (&["cloudbox", "image", "info", "d"], &["distro"]),
            (&["cloudbox", "completion", ""], SHELLS),
            (&["cloudbox", "exec", "web", "--", "l"], &[]),
        ] {
            assert_eq!(offered(words), expected, "{words:?}");
        }
    }

    #[test]
    fn every_script_knows_every_command_and_option() {
        for (script, dashes) in [(bash(), "--"), (zsh(), "--"), (fish(), "-l ")] {
            for command in COMMANDS {
                let last = command.name().rsplit(' ').next().unwrap_or_default();
                assert!(script.contains(last), "{last}");
                for option in command.all_options() {
                    assert!(script.contains(&format!("{dashes}{}", option.long)), "{}", option.long);
                }
            }
        }
    }
}
