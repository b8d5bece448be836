//! What clap has to say, in words that tell what to do.

use super::failure::Failure;
use super::help;
use super::the_box::VERSION;
use crate::error::{escaped, quoted};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};
use std::ffi::{OsStr, OsString};

/// Why no command is run.
pub enum Stop {
    /// An explanation is what was asked for.
    Explain(String),
    /// More words are needed; the explanation says which there are.
    Incomplete(String),
    /// The words are wrong.
    Fail(Failure),
}

/// Words that people try at another place than where the command is.
const ELSEWHERE: &[(&str, &str)] = &[
    ("images", "image list"),
    ("remotes", "image remotes"),
    ("available", "image available"),
    ("rmi", "image delete"),
    ("services", "service list"),
    ("announce", "service publish"),
    ("advertise", "service publish"),
    ("unpublish", "service withdraw"),
    ("jobs", "job list"),
    ("operation", "job list"),
    ("wait", "job wait"),
    ("cancel", "job cancel"),
];

/// Long names of our options, and what they are in other programs.
const EQUIVALENTS: &[(&str, &[&str])] = &[
    ("lines", &["-n", "--tail"]),
    ("force", &["-f"]),
    ("json", &["-f", "--format", "-o", "--output"]),
    ("remote", &["-r"]),
    ("user", &["-u"]),
    ("directory", &["-w", "--workdir"]),
    ("env", &["-e"]),
    ("memory", &["-m"]),
    ("cpus", &["-c"]),
    ("no-wait", &["-d", "--detach"]),
    ("names", &["-q", "--quiet"]),
    ("timeout", &["-t"]),
];

/// What `error` means, which clap has for `words`.
pub fn explain(error: &Error, mut root: Command, words: &[OsString]) -> Stop {
    root.build();
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (command, operands) = find(&root, &words);
    match error.kind() {
        ErrorKind::DisplayVersion => Stop::Explain(VERSION.to_string()),
        ErrorKind::DisplayHelp => Stop::Explain(help::page(command)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            match help::name(command) {
                "" if !words.is_empty() => {
                    Stop::Fail(Failure::usage("a command is missing; `cloudbox help` lists them all"))
                }
                _ => Stop::Incomplete(help::page(command)),
            }
        }
        _ => Stop::Fail(Failure::usage(Mistake { error, command, operands }.message())),
    }
}

/// The command that the first of `words` name, and the words behind those.
fn find<'a>(mut command: &'a Command, mut words: &'a [String]) -> (&'a Command, &'a [String]) {
    loop {
        words = behind_options(words);
        let named =
            words.split_first().and_then(|(word, behind)| Some((command.find_subcommand(word)?, behind)));
        match named {
            Some(found) => (command, words) = found,
            None => return (command, words),
        }
    }
}

/// `words` without the options that they begin with.
pub fn behind_options<W: AsRef<OsStr>>(mut words: &[W]) -> &[W] {
    while let [word, behind @ ..] = words {
        words = match word.as_ref().as_encoded_bytes() {
            b"-s" | b"--socket" => behind.get(1..).unwrap_or_default(),
            [b'-', ..] => behind,
            _ => break,
        };
    }
    words
}

/// A mistake in the words behind `command`.
struct Mistake<'a> {
    error: &'a Error,
    command: &'a Command,
    operands: &'a [String],
}

impl Mistake<'_> {
    fn message(self) -> String {
        let argument = self.context(ContextKind::InvalidArg);
        // `--memory` of `--memory <SIZE>`.
        let option = argument.split(' ').next().unwrap_or_default();
        let value = self.context(ContextKind::InvalidValue);
        match self.error.kind() {
            ErrorKind::InvalidSubcommand => self.unknown_command(),
            ErrorKind::UnknownArgument if argument.starts_with('-') => self.unknown_option(argument),
            ErrorKind::UnknownArgument => self.too_much(argument),
            ErrorKind::MissingRequiredArgument => {
                let name = help::name(self.command);
                let missing = argument.trim_matches(['<', '>', '.']);
                format!(
                    "`{name}` needs {missing}: {}; `cloudbox help {name}` shows examples",
                    usage(self.command)
                )
            }
            ErrorKind::InvalidValue if value.is_empty() => format!("missing argument for option '{option}'"),
            ErrorKind::InvalidValue => {
                let known = self.contexts(ContextKind::ValidValue);
                format!("{option} {}: write {}", quoted(value), any_of(&known))
            }
            ErrorKind::ValueValidation => {
                let why = std::error::Error::source(self.error).map(ToString::to_string).unwrap_or_default();
                match option.starts_with('-') {
                    true => format!("{option} {} {why}", quoted(value)),
                    false => format!("{} {why}", quoted(value)),
                }
            }
            ErrorKind::TooManyValues => {
                format!("unexpected argument for option '{option}': {}", quoted(value))
            }
            ErrorKind::InvalidUtf8 => {
                let wrong = self.operands.iter().find(|word| word.contains('\u{fffd}'));
                format!("{} is not UTF-8", quoted(wrong.map_or("", String::as_str)))
            }
            _ => {
                let text = self.error.to_string();
                let first = text.lines().next().unwrap_or_default();
                first.strip_prefix("error: ").unwrap_or(first).to_string()
            }
        }
    }

    fn unknown_command(&self) -> String {
        let word = self.context(ContextKind::InvalidSubcommand);
        let group = help::name(self.command);
        let typed = format!("{group} {word}");
        let shown = escaped(typed.trim_start());
        let elsewhere = ELSEWHERE.iter().find(|(try_, _)| group.is_empty() && *try_ == word);
        let near = self.contexts(ContextKind::SuggestedSubcommand).pop();
        // The suggestion may be one of the hidden words.
        let near = near.and_then(|word| self.command.find_subcommand(word)).map(help::name);
        match elsewhere.map(|(_, name)| *name).or(near) {
            Some(name) => format!("there is no command `{shown}`; did you mean `cloudbox {name}`?"),
            None => format!("there is no command `{shown}`; `cloudbox help` lists them all"),
        }
    }

    fn unknown_option(&self, option: &str) -> String {
        let name = help::name(self.command);
        let shown = escaped(option);
        if name.is_empty() {
            return format!("no option {shown} before the command; `cloudbox help` lists what there is");
        }
        let no = format!("`{name}` has no option {shown}");
        match (name, option) {
            ("exec", "-i" | "-t" | "--interactive" | "--tty") => {
                return format!("{no} and gives the program no terminal; `cloudbox shell` opens one");
            }
            ("push" | "pull", "-r" | "-R" | "--recursive") => {
                return format!("{no}; for a directory: tar, and `cloudbox exec`");
            }
            _ => {}
        }
        let has = |long: &str| self.command.get_arguments().any(|arg| arg.get_long() == Some(long));
        let equivalent = EQUIVALENTS.iter().find(|(long, typed)| typed.contains(&option) && has(long));
        let near = self.context(ContextKind::SuggestedArg);
        match equivalent {
            Some((long, _)) => format!("{no}; did you mean --{long}?"),
            None if near.starts_with("--") => format!("{no}; did you mean {near}?"),
            None => format!("{no}; `cloudbox help {name}` lists those it has"),
        }
    }

    /// There is an operand that nothing is done with.
    fn too_much(&self, word: &str) -> String {
        let name = help::name(self.command);
        let behind = self.operands.iter().skip_while(|operand| *operand != word).nth(1);
        let (option, value) = word.split_once('=').unwrap_or((word, behind.map_or("", String::as_str)));
        let takes = |arg: &clap::Arg| arg.get_long() == Some(option) && arg.get_action().takes_values();
        if self.command.get_arguments().any(takes) {
            let hint = format!("--{option} {}", escaped(value));
            return format!("`{name}` takes {option} as an option: {}", hint.trim_end());
        }
        if let ("snapshot", [verb @ ("delete" | "rm" | "remove"), rest @ ..]) =
            (name, &*self.operands.iter().map(String::as_str).collect::<Vec<_>>())
        {
            let rest = escaped(&rest.join(" "));
            return format!("`snapshot {verb}` is one word: cloudbox snapshot-delete {rest}");
        }
        format!("{} is too much for `{name}`: {}", quoted(word), usage(self.command))
    }

    /// The first of what clap says about `kind`.
    fn context(&self, kind: ContextKind) -> &str {
        self.contexts(kind).first().copied().unwrap_or_default()
    }

    fn contexts(&self, kind: ContextKind) -> Vec<&str> {
        match self.error.get(kind) {
            Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
            Some(ContextValue::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }
}

/// `cloudbox info [OPTIONS] <NAME>`
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.strip_prefix("Usage: ").unwrap_or(&usage).to_string()
}

/// `no, on-failure or always`
fn any_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}
